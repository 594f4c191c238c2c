//! One instance of a plug-in: when its process is started and ended, and what becomes of its output.

use super::child::{self, Event, Next, Running};
use super::logs::Logs;
use super::lookup::{self, Found, Kind};
use super::protocol::{self, Hello, Line, Lines, TooLong};
#[cfg(feature = "python-plugins")]
use super::python;
use super::{environment, OPTIONS};
use crate::monitor::{short_name, Monitor, Setup};
use crate::{Emitter, Error};
use common::limit::{Admission, WriteLimit};
use log::Level;
use nix::sys::signal::Signal;
use nix::unistd::User;
use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longer lines of a plug-in are skipped.
const LONGEST_LINE: usize = 64 * 1024;
/// At most this many bytes of a line of stderr go into agent.log.
const LONGEST_COMPLAINT: usize = 1024;
/// At most this many bytes of a text go into agent.log.
const LONGEST_TEXT: usize = 8 * 1024;
/// At most this many bytes of a line that is not understood are shown.
const SHOWN: usize = 200;
/// A plug-in's share of agent.log: bytes per second, and bytes at once.
const VOICE: (i64, i64) = (200, 20_000);
/// A pause of this length ends what a plug-in that serves has written at once.
const QUIET: Duration = Duration::from_millis(500);
/// The same mistake is spoken of once in this time.
const SAME: Duration = Duration::from_secs(300);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Auto,
    Sample,
    Serve,
}

/// A plug-in as a monitor.
#[derive(Debug)]
pub struct Plugin {
    module: String,
    name: String,
    dirs: Vec<PathBuf>,
    mode: Mode,
    interval: Duration,
    timeout: Option<Duration>,
    user: Option<User>,
    allowed: Vec<String>,
    #[cfg(feature = "python-plugins")]
    python: String,
    hello: Vec<u8>,
    logs: Logs,
    voice: WriteLimit,
    /// The first start, from which ticks are counted.
    began: Option<Instant>,
    /// No start before this.
    next: Option<Instant>,
    /// The last run has written something that is part of no sample yet.
    uncounted: bool,
}

impl Plugin {
    /// Without starting anything.
    ///
    /// # Errors
    /// An option is wrong.
    pub fn new(setup: &Setup) -> Result<Self, Error> {
        let options = setup.options;
        let mode = match options.text("plugin_mode") {
            "auto" => Mode::Auto,
            "sample" => Mode::Sample,
            "serve" => Mode::Serve,
            other => {
                return Err(Error::of_option(
                    "plugin_mode",
                    format!("Field \"plugin_mode\": \"{other}\" is none of auto, sample, serve"),
                ))
            }
        };
        let seconds = setup.place.sample_interval;
        let timeout = match options.float("plugin_timeout") {
            Some(seconds) if seconds > 0.0 => Some(seconds),
            None if mode == Mode::Sample => Some(seconds.max(1.0)),
            _ => None,
        };
        let name = format!("{}({})", short_name(setup.module), setup.id);
        // Its working directory is another one
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let (data_dir, log_dir) = (
            absolute(&setup.place.data_dir),
            absolute(&setup.place.log_dir),
        );
        let hello = Hello {
            name: &name,
            module: setup.module,
            id: setup.id,
            sample_interval: seconds,
            entry: options.entry(),
            version: setup.place.agent_version,
            data_dir: &data_dir,
            log_dir: &log_dir,
        };
        let user = user(options.text("plugin_user"))?;
        let short = short_name(setup.module);
        Ok(Plugin {
            logs: Logs::new(&name, short, user.is_some(), &log_dir, setup.place),
            hello: hello.line(OPTIONS),
            module: setup.module.to_owned(),
            dirs: setup.place.plugin_dirs.clone(),
            mode,
            interval: Duration::from_secs_f64(seconds.clamp(0.1, 1e9)),
            timeout: timeout.map(|seconds| Duration::from_secs_f64(seconds.min(1e9))),
            user,
            allowed: options.strings("plugin_env").to_vec(),
            #[cfg(feature = "python-plugins")]
            python: options.text("plugin_python").to_owned(),
            voice: WriteLimit::new(VOICE.0, VOICE.1),
            name,
            began: None,
            next: None,
            uncounted: false,
        })
    }

    /// The line that it is sent at its start.
    #[cfg(test)]
    pub fn hello(&self) -> &[u8] {
        &self.hello
    }

    /// The program of the moment: it may have been replaced since the last start.
    fn start(&self) -> Result<Running, Error> {
        let found = lookup::find(&self.module, &self.dirs)?
            .ok_or_else(|| Error::new(format!("the plug-in {} is no longer there", self.module)))?;
        let mut environment = environment::for_plugin(std::env::vars_os(), &self.allowed);
        if let Some(user) = &self.user {
            environment::of_user(&mut environment, &user.name, &user.dir);
        }
        let (mut command, hello) = self.command(&found, &environment)?;
        if let Some(user) = &self.user {
            // Supplementary groups are given up as well.
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        child::start(command, environment, hello, &self.name).map_err(|error| {
            let hint = match error.raw_os_error() {
                Some(libc::ENOEXEC) => "; does it begin with #! and its interpreter?",
                Some(libc::ENOENT) => "; is the interpreter of its first line there?",
                Some(libc::EPERM) => "; only root may set plugin_user",
                _ => "",
            };
            Error::new(format!(
                "the plug-in {} cannot be started: {error}{hint}",
                found.path.display()
            ))
        })
    }

    /// How it is run, and all that it is told.
    fn command(
        &self,
        found: &Found,
        environment: &[(OsString, OsString)],
    ) -> Result<(Command, Vec<u8>), Error> {
        #[cfg(not(feature = "python-plugins"))]
        let _ = environment;
        match found.kind {
            Kind::Executable => Ok((Command::new(&found.path), self.hello.clone())),
            #[cfg(feature = "python-plugins")]
            Kind::Python { dotted } => {
                let path = environment.iter().find(|(name, _)| name == "PATH");
                let path = path.map(|(_, value)| value.as_os_str());
                let command = python::command(&self.python, path, &self.name)?;
                let mut hello = python::bundle(found, dotted, &self.dirs);
                hello.extend_from_slice(&self.hello);
                Ok((command, hello))
            }
            #[cfg(not(feature = "python-plugins"))]
            Kind::Python { .. } => Err(super::without_python(&found.path)),
        }
    }

    /// From the start of its process to its end. None if the end was asked for.
    fn run(&mut self, out: &mut Emitter) -> Result<Option<ExitStatus>, Error> {
        let mut running = self.start()?;
        let stop = out.stop().clone();
        out.counter("plugin_starts").fetch_add(1, Relaxed);
        let deadline = self.timeout.map(|timeout| Instant::now() + timeout);
        let mut ear = Ear::new(out);
        let why = loop {
            if out.status().is_enough() {
                break Next::Stop;
            }
            let until = self.sample_ends(&ear, out);
            let until = [deadline, until].into_iter().flatten().min();
            match running.next(until, Some(&stop)) {
                Next::Event(event) => self.hear(&mut ear, event, out),
                Next::Deadline if deadline.is_none_or(|at| Instant::now() < at) => {
                    out.sampled(true);
                    ear.spoke = None;
                    ear.counted = true;
                }
                other => break other,
            }
        };
        let status = match why {
            Next::Exited => running.reap(),
            _ => self.end(running, &mut ear, out),
        };
        ear.finish(self, out);
        out.flush();
        self.uncounted = !ear.counted || ear.spoke.is_some();
        match (why, status) {
            (Next::Stop, _) => Ok(None),
            (Next::Deadline, _) => {
                out.counter("plugin_timeouts").fetch_add(1, Relaxed);
                let seconds = self.timeout.unwrap_or_default().as_secs_f64();
                Err(Error::new(format!(
                    "the plug-in did not end within {seconds} s (plugin_timeout) and was stopped"
                )))
            }
            (Next::Mute, _) => Err(Error::new(
                "the plug-in closed its stdout and went on; it was stopped",
            )),
            (_, None) => Err(Error::new("the plug-in's process cannot be ended")),
            (_, Some(status)) => match ear.fatal {
                Some(text) => Err(Error::new(text)),
                None => Ok(Some(status)),
            },
        }
    }

    /// When what it has written is a sample, of one that stays and does not tell where one ends.
    fn sample_ends(&self, ear: &Ear, out: &Emitter) -> Option<Instant> {
        let (first, last) = ear.spoke.filter(|_| out.status().is_limited())?;
        let whole = first + self.interval;
        match self.mode {
            Mode::Sample => None,
            Mode::Auto => Some(whole),
            Mode::Serve => Some(whole.min(last + QUIET)),
        }
    }

    /// Asks it to end ever more firmly, listening on.
    fn end(
        &mut self,
        mut running: Running,
        ear: &mut Ear,
        out: &mut Emitter,
    ) -> Option<ExitStatus> {
        running.close_stdin();
        if !self.drain(&mut running, ear, out) {
            running.kill(Signal::SIGTERM);
            if !self.drain(&mut running, ear, out) {
                out.counter("plugin_kills").fetch_add(1, Relaxed);
                let pid = running.pid();
                if out.once_in(SAME, "killed") {
                    out.warn(format_args!(
                        "The plug-in (process {pid}) ended neither at the end of its stdin nor at SIGTERM; it was killed."
                    ));
                }
            }
        }
        let status = running.reap();
        if status.is_none() && out.once_in(SAME, "undead") {
            out.warn(format_args!(
                "The plug-in's process {} does not end even though it was killed: it hangs in the kernel.",
                running.pid()
            ));
        }
        status
    }

    /// Listens for [`child::GRACE`]. True if it has ended.
    fn drain(&mut self, running: &mut Running, ear: &mut Ear, out: &mut Emitter) -> bool {
        let deadline = Instant::now() + child::GRACE;
        loop {
            match running.next(Some(deadline), None) {
                Next::Event(event) => self.hear(ear, event, out),
                Next::Exited => return true,
                _ => return false,
            }
        }
    }

    fn hear(&mut self, ear: &mut Ear, event: Event, out: &mut Emitter) {
        match event {
            Event::Out(chunk) => {
                let mut lines = std::mem::replace(&mut ear.out, Lines::new(0));
                lines.feed(&chunk, |line| self.line(ear, line, out));
                ear.out = lines;
                // It may be minutes until the next one.
                out.flush();
            }
            // [`Running::next`] keeps it to itself.
            Event::OutClosed => {}
            Event::Err(chunk) => {
                let mut lines = std::mem::replace(&mut ear.err, Lines::new(0));
                lines.feed(&chunk, |line| self.complaint(ear, line, out));
                ear.err = lines;
            }
        }
    }

    fn line(&mut self, ear: &mut Ear, line: Result<&[u8], TooLong>, out: &mut Emitter) {
        let bad = |reason: &str, shown: &[u8], out: &mut Emitter| {
            ear.bad_lines.fetch_add(1, Relaxed);
            if out.once_in(SAME, "bad line") {
                let shown = String::from_utf8_lossy(cut(shown, SHOWN));
                out.warn(format_args!(
                    "The plug-in wrote a line that is not understood: {reason}: {shown:?}. Further ones are counted in the status report."
                ));
            }
        };
        let line = match line {
            Ok(line) => line,
            Err(TooLong) => {
                return bad(&format!("it has more than {LONGEST_LINE} bytes"), b"", out);
            }
        };
        if line.iter().all(u8::is_ascii_whitespace) {
            return;
        }
        // It may have gone on before it learned that it is to end
        if out.status().is_enough() {
            return;
        }
        match protocol::read(line) {
            Err(reason) => bad(&reason, line, out),
            Ok(Line::Metric {
                name,
                value,
                fields,
                timestamp,
                id,
            }) => {
                let fields: Vec<_> = fields
                    .iter()
                    .map(|(field, value)| (field.as_str(), value.value()))
                    .collect();
                out.set_id(id.as_deref());
                match timestamp {
                    Some(ms) => out.emit_at(ms, &name, value.value(), &fields),
                    None => out.emit(&name, value.value(), &fields),
                }
                out.set_id(None);
                out.alive();
                ear.speaks();
            }
            Ok(Line::Message { text, id }) => {
                out.set_id(id.as_deref());
                out.message(&text.replace(char::is_control, " "));
                out.set_id(None);
                out.alive();
                ear.speaks();
            }
            Ok(Line::OwnLog(config)) => {
                let done = self.logs.own(config, out);
                self.refused(done, out);
            }
            Ok(Line::Follow(config)) => {
                let done = self.logs.follow(config).map(|new| {
                    if let Some(path) = new {
                        let text = format!("{} is copied from now on", path.display());
                        self.speak(Level::Info, &text, out);
                    }
                });
                self.refused(done, out);
            }
            Ok(Line::Unfollow(path)) => {
                let done = self.logs.unfollow(&path);
                self.refused(done, out);
            }
            Ok(Line::Log(level, text)) => self.speak(level, &text, out),
            Ok(Line::Sample(None)) => {
                ear.marks();
                out.sampled(true);
            }
            Ok(Line::Sample(Some(text))) => {
                ear.marks();
                out.sampled(false);
                let text = cut_text(&text, LONGEST_TEXT);
                // The last line of a traceback is its message.
                let last = text.lines().next_back().unwrap_or_default();
                let key = format!("sample {}", cut_text(last, SHOWN));
                if out.once_in(SAME, &key) {
                    self.speak(
                        Level::Error,
                        &format!("Failed to gather sample: {text}"),
                        out,
                    );
                } else {
                    out.error_once_in(SAME, &key, format_args!("Failed to gather sample: {text}"));
                }
            }
            Ok(Line::Fatal(text)) => {
                ear.fatal = Some(cut_text(&text, LONGEST_TEXT).replace('\n', " / "));
            }
        }
    }

    fn complaint(&mut self, ear: &Ear, line: Result<&[u8], TooLong>, out: &mut Emitter) {
        ear.err_lines.fetch_add(1, Relaxed);
        match line {
            Ok(line) if line.iter().all(u8::is_ascii_whitespace) => {}
            Ok(line) => {
                let text = String::from_utf8_lossy(cut(line, LONGEST_COMPLAINT));
                self.speak(Level::Warn, &format!("stderr: {text}"), out);
            }
            Err(TooLong) => {
                let text = format!("stderr: a line of more than {LONGEST_LINE} bytes was left out");
                self.speak(Level::Warn, &text, out);
            }
        }
    }

    /// Tells what of its wishes for its logs is not done.
    fn refused(&mut self, done: Result<(), String>, out: &mut Emitter) {
        if let Err(why) = done {
            let text = format!("a wish of the plug-in for its logs is refused: {why}");
            self.speak(Level::Error, &text, out);
        }
    }

    /// Into agent.log, as far as the plug-in's share of it goes.
    fn speak(&mut self, level: Level, text: &str, out: &mut Emitter) {
        // An error counts also where it is not shown.
        if level > log::max_level() && level != Level::Error {
            return;
        }
        let text = cut_text(text, LONGEST_TEXT);
        match self.voice.admit(text.len(), Instant::now()) {
            Admission::Drop => {
                out.counter("plugin_log_lines_left_out").fetch_add(1, Relaxed);
                if level == Level::Error {
                    let text = "the plug-in reports more errors than are shown";
                    out.error_once_in(SAME, "errors left out", format_args!("{text}"));
                }
                return;
            }
            Admission::PassAfter(skipped) => out.warn(format_args!(
                "Left out here: {} of the plug-in, which may write {} bytes per second into agent.log.",
                common::words::count(skipped, "line"),
                VOICE.0
            )),
            Admission::Pass => {}
        }
        match level {
            Level::Error => out.error(format_args!("{text}")),
            _ => out.log(level, format_args!("{text}")),
        }
    }

    /// The first tick that is not past.
    fn tick(&self) -> Option<Instant> {
        let began = self.began?;
        let steps = began.elapsed().as_nanos() / self.interval.as_nanos().max(1) + 1;
        let steps = u32::try_from(steps).ok()?;
        began.checked_add(self.interval.checked_mul(steps)?)
    }
}

impl Monitor for Plugin {
    fn gather(&mut self, out: &mut Emitter) -> Result<(), Error> {
        loop {
            if let Some(next) = self.next.take() {
                if out.stop().sleep_until(next) {
                    return Ok(());
                }
            }
            if out.stop().is_set() {
                return Ok(());
            }
            self.began.get_or_insert_with(Instant::now);
            let result = self.run(out);
            if self.mode == Mode::Sample {
                self.next = self.tick();
            }
            let is_life = self.mode != Mode::Sample;
            let failed = |text: String, out: &mut Emitter| {
                out.counter("plugin_failures").fetch_add(1, Relaxed);
                if is_life {
                    // Not just a sample: stop_agent_on_failure is about it
                    out.begins_anew();
                }
                Err(Error::new(text))
            };
            match result {
                Ok(None) => return Ok(()),
                Ok(Some(status)) if status.success() && self.mode != Mode::Serve => {
                    match self.uncounted {
                        true => out.sampled(true),
                        false => out.alive(),
                    }
                    if out.status().is_enough() {
                        return Ok(());
                    }
                    self.next = self.tick();
                }
                Ok(Some(status)) if status.success() => {
                    let text = "the plug-in ended by itself, although plugin_mode is serve";
                    return failed(text.to_owned(), out);
                }
                Ok(Some(status)) => {
                    return failed(format!("the plug-in ended {}", child::ending(status)), out);
                }
                Err(error) => return failed(error.to_string(), out),
            }
        }
    }
}

/// The complete and incomplete lines that a process has written.
struct Ear {
    out: Lines,
    err: Lines,
    bad_lines: Arc<AtomicU64>,
    err_lines: Arc<AtomicU64>,
    /// Why it says that it must end.
    fatal: Option<String>,
    /// When it wrote the first and the last line of the present sample.
    spoke: Option<(Instant, Instant)>,
    /// It tells itself where a sample ends.
    marks: bool,
    /// Something of what it wrote has been counted as a sample.
    counted: bool,
}

impl Ear {
    fn new(out: &Emitter) -> Self {
        Ear {
            out: Lines::new(LONGEST_LINE),
            err: Lines::new(LONGEST_LINE),
            bad_lines: out.counter("plugin_bad_lines"),
            err_lines: out.counter("plugin_stderr_lines"),
            fatal: None,
            spoke: None,
            marks: false,
            counted: false,
        }
    }

    fn speaks(&mut self) {
        if !self.marks {
            let now = Instant::now();
            self.spoke = Some((self.spoke.map_or(now, |(first, _)| first), now));
        }
    }

    fn marks(&mut self) {
        (self.spoke, self.marks, self.counted) = (None, true, true);
    }

    /// Last lines may lack their end.
    fn finish(&mut self, plugin: &mut Plugin, out: &mut Emitter) {
        if let Some(line) = self.out.finish() {
            plugin.line(self, Ok(&line), out);
        }
        if let Some(line) = self.err.finish() {
            plugin.complaint(self, Ok(&line), out);
        }
    }
}

fn user(name: &str) -> Result<Option<User>, Error> {
    if name.is_empty() {
        return Ok(None);
    }
    match User::from_name(name) {
        Ok(Some(user)) => Ok(Some(user)),
        Ok(None) => Err(Error::of_option(
            "plugin_user",
            format!("Field \"plugin_user\": there is no user \"{name}\""),
        )),
        Err(error) => Err(Error::of_option(
            "plugin_user",
            format!("Field \"plugin_user\": user \"{name}\" cannot be looked up: {error}"),
        )),
    }
}

fn cut(bytes: &[u8], most: usize) -> &[u8] {
    &bytes[..bytes.len().min(most)]
}

/// At most so many bytes, not within a character.
fn cut_text(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
