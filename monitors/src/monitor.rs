//! The trait of monitors, and the tables by which a monitor describes itself.

use crate::cursors::Cursors;
use crate::followed::FollowedLogs;
use crate::options::{OptionSpec, Options};
use crate::{Emitter, Error};
use common::rotating::Rotation;
use serde_json::Value as Json;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Something that is asked once an interval what it sees, or that serves until it is told to stop:
/// its [`Cadence`] says which. Each has a thread of its own, so it may block; it should then look at
/// [`Emitter::stop`] now and then.
///
/// A monitor is made anew after a panic. Making one has no side effects: files and sockets are
/// opened in the first `gather`.
pub trait Monitor: Send {
    /// Takes one sample and hands what it finds to `out`.
    ///
    /// # Errors
    /// The sample as a whole failed. It is logged and counted once, and the monitor is asked again
    /// at the next tick. What was emitted before the error is kept. One that serves is asked again
    /// after a pause that grows up to five minutes.
    fn gather(&mut self, out: &mut Emitter) -> Result<(), Error>;
}

/// The kind of a metric's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// A state that goes up and down.
    Gauge,
    /// A count that only grows, until its source is reset.
    Counter,
}

/// One declared metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricSpec {
    /// Its name; a `*` at the end stands for names that the host decides.
    pub name: &'static str,
    /// Gauge or counter.
    pub measure: Measure,
    /// The unit, as the reference page shows it; empty for plain counts.
    pub unit: &'static str,
    /// Its fields, in the order in which they are written; `name=value` for one that is always the
    /// same.
    pub fields: &'static [&'static str],
    /// One sentence of the reference page.
    pub text: &'static str,
}

impl MetricSpec {
    /// One row of a monitor's table: see the fields.
    pub const fn new(
        name: &'static str,
        measure: Measure,
        unit: &'static str,
        fields: &'static [&'static str],
        text: &'static str,
    ) -> MetricSpec {
        MetricSpec {
            name,
            measure,
            unit,
            fields,
            text,
        }
    }
}

/// Everything about a monitor that is known before it runs: one per monitor, in its own file.
#[derive(Debug)]
pub struct Description {
    /// The name that configurations use, e.g. `scalyr_agent.builtin_monitors.shell_monitor`.
    pub module: &'static str,
    /// A description of the monitor, for the reference page.
    pub text: &'static str,
    /// Its own options; those that all monitors have are in [`crate::options::COMMON`].
    pub options: &'static [OptionSpec],
    /// The metrics that it may write.
    pub metrics: &'static [MetricSpec],
    /// Whether keys that no option declares are the monitor's business ([`Options::entry`]), as
    /// plug-ins have them. Otherwise each is a warning.
    pub open: bool,
    /// Where its lines go.
    pub log: Log,
    /// Default write limit of its log: bytes per second and burst in bytes; negative for none.
    pub write_limit: (i64, i64),
    /// When `gather` is called.
    pub cadence: Cadence,
    /// Set if a sample asks a server that the entry names.
    pub service: Option<Service>,
    /// Checks options beyond what their declarations say, and makes the monitor.
    pub make: Make,
}

/// A monitor that asks a server which its entry names. `check` takes one sample of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Service {
    /// An entry of `monitors`, for the reference page.
    pub entry: &'static str,
    /// The least privilege that it needs, with the statements or lines that give it, for the reference page.
    pub grants: &'static str,
}

/// When a monitor's `gather` is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cadence {
    /// Once an interval, the first time after a random part of it.
    Sampled,
    /// Once an interval, the first time at once.
    AtOnce,
    /// Once: it serves until [`Emitter::stop`]. If it ends before that, it is called again after a
    /// pause.
    Serving,
}

/// Where the lines of a monitor go.
#[derive(Clone, Copy)]
pub enum Log {
    /// Into `<short name>.log` by way of the [`Emitter`].
    Metrics {
        /// The parser that the server applies to it.
        parser: &'static str,
        /// The option with its further attributes, if there is one.
        attributes: Option<&'static str>,
    },
    /// Into files that the monitor itself writes; what it emits goes nowhere. The logs that are
    /// there from the start; others may come by [`FollowedLogs`].
    Own(fn(&Setup) -> Vec<MonitorLog>),
}

impl Log {
    /// A metric log like most.
    pub const METRICS: Log = Log::Metrics {
        parser: "agent-metrics",
        attributes: None,
    };
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(match self {
            Log::Metrics { .. } => "Metrics",
            Log::Own(_) => "Own",
        })
    }
}

/// A log as the copier has to know it.
#[derive(Debug, Clone, PartialEq)]
pub struct MonitorLog {
    /// Absolute if [`Place::log_dir`] is.
    pub path: PathBuf,
    /// The server's parser for it.
    pub parser: String,
    /// Further attributes, in the order in which they are sent.
    pub attributes: Vec<(String, Json)>,
    /// The entry of the configuration whose rules (sampling, redaction, renaming, ...) hold for it.
    pub like: Option<Like>,
    /// It is what an [`Emitter`] writes, so it may be in memory instead of in a file.
    pub metrics: bool,
    /// It grows once an interval only: nobody waits for its lines, and it need not be looked at often.
    pub sampled: bool,
}

impl MonitorLog {
    /// A metric log like most.
    pub fn metrics(path: &Path) -> MonitorLog {
        MonitorLog {
            path: path.to_owned(),
            parser: "agent-metrics".to_owned(),
            attributes: Vec::new(),
            like: None,
            metrics: true,
            sampled: false,
        }
    }
}

/// An element of one of the configuration's arrays of logs, by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Like {
    /// An entry of `logs`, by its place in [`Place::log_rules`].
    Logs(usize),
    /// An entry of `journald_logs`, by its place in [`Place::journald_rules`].
    Journald(usize),
}

/// Everything that a monitor is made from.
#[derive(Debug, Clone, Copy)]
pub struct Setup<'a> {
    /// Its validated options.
    pub options: &'a Options,
    /// Its surroundings.
    pub place: &'a Place,
    /// The full module name that its entry gives.
    pub module: &'a str,
    /// The instance's id; empty for the only one of its kind.
    pub id: &'a str,
}

/// Makes a monitor, having checked its options beyond what their declarations say.
///
/// # Errors
/// The options are wrong: the configuration is refused.
pub type Make = fn(&Setup) -> Result<Box<dyn Monitor>, Error>;

/// The host and the agent as monitors see them.
#[derive(Debug, Clone)]
pub struct Place {
    /// Where `/proc` and `/sys` are looked for: `/`, or a stored tree in tests.
    pub root: PathBuf,
    /// `agent_log_path`: where monitors' logs are written.
    pub log_dir: PathBuf,
    /// `agent_data_path`: where a monitor may keep files of its own. Its positions are in `cursors`.
    pub data_dir: PathBuf,
    /// Defaults of rotation: `log_rotation_max_bytes`, `log_rotation_backup_count`.
    pub rotation: Rotation,
    /// Seconds between two samples of the monitor.
    pub sample_interval: f64,
    /// The agent's version, for User-Agent headers.
    pub agent_version: &'static str,
    /// `allow_http_monitors`: whether addresses without TLS stay as they are.
    pub allow_http: bool,
    /// Where plug-ins are looked for, in order.
    pub plugin_dirs: Vec<PathBuf>,
    /// Takes logs that come and go.
    pub followed: Arc<FollowedLogs>,
    /// Remembers where streams were read to.
    pub cursors: Arc<Cursors>,
    /// The parts of the entries of `logs` that monitors need, in the order of the configuration.
    pub log_rules: Arc<[LogRule]>,
    /// The same of `journald_logs`.
    pub journald_rules: Arc<[JournaldRule]>,
}

impl Place {
    /// Whether a monitor would find the same here.
    pub(crate) fn same_as(&self, other: &Place) -> bool {
        self.root == other.root
            && self.log_dir == other.log_dir
            && self.data_dir == other.data_dir
            && self.rotation == other.rotation
            && self.allow_http == other.allow_http
            && self.plugin_dirs == other.plugin_dirs
            && Arc::ptr_eq(&self.followed, &other.followed)
            && Arc::ptr_eq(&self.cursors, &other.cursors)
            && self.log_rules == other.log_rules
            && self.journald_rules == other.journald_rules
    }

    /// A host at `root` whose agent writes into `dir`, with the defaults of everything else.
    pub fn new(root: impl Into<PathBuf>, dir: impl Into<PathBuf>) -> Self {
        let dir = dir.into();
        Place {
            root: root.into(),
            log_dir: dir.clone(),
            data_dir: dir,
            rotation: Rotation::default(),
            sample_interval: 30.0,
            agent_version: env!("CARGO_PKG_VERSION"),
            allow_http: true,
            plugin_dirs: Vec::new(),
            followed: Arc::default(),
            cursors: Arc::default(),
            log_rules: Arc::default(),
            journald_rules: Arc::default(),
        }
    }
}

/// An entry of `logs`.
#[derive(Debug, Clone, PartialEq)]
pub struct LogRule {
    /// Its absolute path or pattern.
    pub path: PathBuf,
    /// Its attributes, `parser` included if it is set.
    pub attributes: Vec<(String, Json)>,
}

/// An entry of `journald_logs`.
#[derive(Debug, Clone, PartialEq)]
pub struct JournaldRule {
    /// `journald_unit`: an expression for the beginning of the unit's name.
    pub unit: Option<String>,
    /// `journald_globs`: a shell pattern for each of these fields.
    pub globs: Vec<(String, String)>,
    /// Its attributes, `parser` included if it is set.
    pub attributes: Vec<(String, Json)>,
    /// `emit_raw_details`
    pub raw_details: bool,
    /// `detect_escaped_strings`
    pub detect_escaped: bool,
}

impl Description {
    /// The last part of the module name: `shell_monitor`.
    pub fn short_name(&self) -> &'static str {
        short_name(self.module)
    }

    /// The default write limit of metric logs.
    pub const WRITE_LIMIT: (i64, i64) = (2000, 100_000);
}

/// The last dotted part of a module's name.
pub fn short_name(module: &str) -> &str {
    module.rsplit('.').next().unwrap_or(module)
}
