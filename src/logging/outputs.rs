//! Which record goes where.

use super::echo::Echo;
use super::layout;
use super::severity::Severity;
use common::limit::{self, Admission, WriteLimit};
use common::rotating::{RotatingFile, Rotation};
use common::stamp;
use log::{Level, LevelFilter};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Instant;

/// The rate limit of agent.log and its copies, as the Python agent's: bytes per second, and bytes at
/// once.
const RATE: (i64, i64) = (2000, 100_000);

/// Where agent.log is and how it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// `agent_log_path`.
    pub dir: PathBuf,
    /// `log_rotation_max_bytes`; 0 for no rotation.
    pub max_bytes: u64,
    /// `log_rotation_backup_count`.
    pub backups: u32,
    /// With `--no-fork`: `stdout_severity`. None in the background.
    pub stdout: Option<Severity>,
    /// `debug_level`, 0 to 5.
    pub debug_level: u8,
    /// `debug_level_logger_names`: what has level 5 whatever `debug_level` says.
    pub debug_names: Vec<String>,
}

impl LogSettings {
    fn rotation(&self) -> Rotation {
        Rotation {
            max_bytes: self.max_bytes,
            backups: self.backups,
        }
    }
}

/// Records that did not reach their place, since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogStats {
    /// Dropped by the rate limit of agent.log.
    pub dropped: u64,
    /// Records that agent.log or agent_debug.log could not take (disk full, no directory).
    pub lost: u64,
    /// Copies that stdout did not take.
    pub not_shown: u64,
}

pub(super) struct Outputs {
    files: Option<Files>,
    limit: WriteLimit,
    echo: Echo,
    stdout: Option<Severity>,
    debug_level: u8,
    debug_names: Vec<String>,
    /// The marker or a notice, and the record behind it.
    block: Vec<u8>,
    /// Records since agent.log last took one, and why it did not.
    missing: Option<(u64, String)>,
    lost: u64,
}

struct Files {
    settings: LogSettings,
    main: RotatingFile,
    debug: RotatingFile,
}

impl Files {
    fn new(settings: &LogSettings) -> Self {
        let file = |name| RotatingFile::new(settings.dir.join(name), settings.rotation());
        Files {
            settings: settings.clone(),
            main: file("agent.log"),
            debug: file("agent_debug.log"),
        }
    }

    fn open(settings: &LogSettings) -> io::Result<(Self, u64)> {
        let mut files = Files::new(settings);
        match files.main.open() {
            Ok(size) => Ok((files, size)),
            Err(error) => Err(io::Error::new(
                error.kind(),
                format!("cannot open {}: {error}", files.main.path().display()),
            )),
        }
    }
}

/// The finest records that a `debug_level` lets through.
pub(super) fn finest(debug_level: u8) -> LevelFilter {
    match debug_level {
        0 => LevelFilter::Info,
        1 => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    }
}

impl Outputs {
    pub(super) fn new(stdout: Box<dyn AsFd + Send>) -> Self {
        Outputs {
            files: None,
            limit: WriteLimit::new(RATE.0, RATE.1),
            echo: Echo::new(stdout),
            stdout: None,
            debug_level: 0,
            debug_names: Vec::new(),
            block: Vec::new(),
            missing: None,
            lost: 0,
        }
    }

    pub(super) fn open(&mut self, settings: &LogSettings) -> io::Result<u64> {
        let (files, size) = Files::open(settings)?;
        self.files = Some(files);
        self.stdout = settings.stdout;
        self.debug_level = settings.debug_level;
        self.debug_names = settings.debug_names.clone();
        Ok(size)
    }

    pub(super) fn reconfigure(&mut self, settings: &LogSettings) -> io::Result<()> {
        self.debug_level = settings.debug_level;
        self.debug_names = settings.debug_names.clone();
        let Some(files) = &mut self.files else {
            return Ok(());
        };
        self.stdout = settings.stdout;
        files.main.set_rotation(settings.rotation());
        files.debug.set_rotation(settings.rotation());
        if files.settings.dir != settings.dir {
            self.open(settings)?;
        }
        Ok(())
    }

    pub(super) fn set_debug_level(&mut self, level: u8) {
        self.debug_level = level;
    }

    /// The finest records that somebody wants to see.
    pub(super) fn finest(&self) -> LevelFilter {
        match self.debug_names.is_empty() {
            true => finest(self.debug_level),
            false => LevelFilter::Trace,
        }
    }

    pub(super) fn stats(&self) -> LogStats {
        LogStats {
            dropped: self.limit.dropped(),
            lost: self.lost,
            not_shown: self.echo.lost(),
        }
    }

    /// Takes a formatted record with its newline.
    pub(super) fn write(&mut self, level: Level, record: &[u8]) {
        if level > finest(self.debug_level) && !self.is_named(record) {
            return;
        }
        if self.files.is_none() {
            if level <= Level::Info {
                // There is no one left to tell if that fails.
                let _ = io::stderr().write_all(record);
            }
        } else if level <= Level::Info {
            self.write_main(level, record);
        } else {
            self.write_debug(level, record);
        }
    }

    /// Whether a record is of a logger that `debug_level_logger_names` has: a module or one above it
    /// (`scalyr_agent.tail`), or a monitor, with or without what stands before its name
    /// (`scalyr_agent.builtin_monitors.shell_monitor(2)`).
    fn is_named(&self, record: &[u8]) -> bool {
        if self.debug_names.is_empty() {
            return false;
        }
        let Some((component, module)) = layout::origin(record) else {
            return false;
        };
        self.debug_names.iter().any(|name| {
            let below = module.strip_prefix(name.as_str());
            let monitor = component.strip_prefix("monitor:");
            below.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
                || monitor.is_some_and(|monitor| {
                    let before = name.strip_suffix(monitor);
                    before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
                })
        })
    }

    fn write_main(&mut self, level: Level, record: &[u8]) {
        self.block.clear();
        let bytes = record.len().saturating_sub(1);
        match self.limit.admit(bytes, Instant::now()) {
            Admission::Drop => return,
            Admission::PassAfter(skipped) => limit::marker(&mut self.block, skipped),
            Admission::Pass => {}
        }
        self.block.extend_from_slice(record);
        if self.stdout.is_some_and(|severity| severity.shows(level)) {
            self.echo.write(&self.block);
        }
        if let Some((records, why)) = &self.missing {
            let mut notice = Vec::with_capacity(200);
            stamp::write(&mut notice, stamp::now_ms());
            let _ = writeln!(
                notice,
                " WARNING [core] [scalyr_agent.logging:{}] {records} records are missing here: {why}",
                line!()
            );
            self.block.splice(..0, notice);
        }
        let Some(files) = &mut self.files else { return };
        match files.main.write_lines(&self.block) {
            Ok(()) => self.missing = None,
            Err(error) => {
                self.lost = self.lost.saturating_add(1);
                let records = self.missing.as_ref().map_or(0, |(records, _)| *records);
                self.missing = Some((records.saturating_add(1), error.to_string()));
            }
        }
    }

    fn write_debug(&mut self, level: Level, record: &[u8]) {
        if self.stdout.is_some_and(|severity| severity.shows(level)) {
            self.echo.write(record);
        }
        if let Some(files) = &mut self.files {
            if files.debug.write_lines(record).is_err() {
                self.lost = self.lost.saturating_add(1);
            }
        }
    }
}
