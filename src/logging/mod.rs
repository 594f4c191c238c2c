//! agent.log: what the agent says about itself.
//!
//! Records come through the macros of the `log` crate. env_logger filters and formats them;
//! `outputs` takes the finished text to agent.log (rotated and rate limited), to agent_debug.log
//! (records below INFO, only with a `debug_level`), to stdout with `--no-fork`, and to stderr until
//! the files are open.
//!
//! Conventions of the callers: an error code is a prefix of the message (`[error="code"] text`),
//! messages of a monitor have the target `monitor:NAME(ID)`, and text from a server or from a
//! watched file goes through [`one_line`].
//!
//! Nothing here panics, blocks for long or stops the agent: a full disk, a vanished directory or a
//! stdout that nobody reads costs records, which are counted ([`stats`]) and announced.

mod echo;
mod layout;
mod outputs;
mod severity;
#[cfg(test)]
mod tests;

pub use layout::one_line;
pub use outputs::{LogSettings, LogStats};
pub use severity::Severity;

use outputs::Outputs;
use std::cell::Cell;
use std::fmt;
use std::io::{self, Write};
use std::panic::{catch_unwind, AssertUnwindSafe, Location};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// The logger behind the `log` macros.
struct AgentLog {
    env: env_logger::Logger,
    outputs: Arc<Mutex<Outputs>>,
}

impl AgentLog {
    fn new(outputs: Outputs) -> Self {
        let outputs = Arc::new(Mutex::new(outputs));
        let pipe = Pipe(Arc::clone(&outputs));
        // How fine our own records may be is the business of `log::max_level` and of the outputs.
        // Other crates speak only of what goes wrong: their finer records hold requests, and with
        // them the API key.
        let env = env_logger::Builder::new()
            .filter_level(log::LevelFilter::Warn)
            .filter_module("scalyr_agent_2", log::LevelFilter::Trace)
            .filter_module("monitor", log::LevelFilter::Trace)
            .filter_module("core", log::LevelFilter::Trace)
            .format(layout::write)
            .target(env_logger::Target::Pipe(Box::new(pipe)))
            .build();
        AgentLog { env, outputs }
    }

    fn outputs(&self) -> MutexGuard<'_, Outputs> {
        // A thread that panicked with the lock held has left nothing half done that matters.
        self.outputs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

thread_local! {
    /// Set while this thread writes a record: one that is logged meanwhile (by a panic hook, say)
    /// would wait for itself.
    static WRITING: Cell<bool> = const { Cell::new(false) };
}

impl log::Log for AgentLog {
    fn enabled(&self, metadata: &log::Metadata) -> bool {
        self.env.enabled(metadata)
    }

    fn log(&self, record: &log::Record) {
        if !WRITING.try_with(Cell::get).unwrap_or(true) {
            self.env.log(record);
        }
    }

    fn flush(&self) {}
}

/// Receives each formatted record as one block.
struct Pipe(Arc<Mutex<Outputs>>);

impl Write for Pipe {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        let _ = WRITING.try_with(|writing| writing.set(true));
        // A panic must not poison env_logger's lock: every later record would panic as well.
        let _ = catch_unwind(AssertUnwindSafe(|| {
            let mut outputs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((level, text)) = layout::split(record) {
                outputs.write(level, text);
            }
        }));
        let _ = WRITING.try_with(|writing| writing.set(false));
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn global() -> &'static AgentLog {
    static GLOBAL: OnceLock<AgentLog> = OnceLock::new();
    let log = GLOBAL.get_or_init(|| AgentLog::new(Outputs::new(Box::new(io::stdout()))));
    // It fails from the second time on, and where a test has set a logger of its own.
    if log::set_logger(log).is_ok() {
        log::set_max_level(log::LevelFilter::Info);
    }
    log
}

/// Makes the `log` macros write to stderr, INFO and above. Every command begins with this.
pub fn init_stderr() {
    global();
}

/// Opens agent.log and writes there from now on. Returns the size that the file had before the
/// first record of this process: the agent copies its own log from there on, as the Python agent does.
///
/// # Errors
/// agent.log cannot be opened. Records go on to stderr.
pub fn open(settings: &LogSettings) -> io::Result<u64> {
    let size = global().outputs().open(settings)?;
    set_debug_level(settings.debug_level);
    Ok(size)
}

/// Applies changed settings at once. Does nothing before [`open`], except for the debug level.
///
/// # Errors
/// agent.log cannot be opened in the new directory. Records go on to the old one; everything else
/// is applied.
pub fn reconfigure(settings: &LogSettings) -> io::Result<()> {
    let result = global().outputs().reconfigure(settings);
    set_debug_level(settings.debug_level);
    result
}

/// Applies a changed `debug_level`: 0 for INFO and above, 1 for DEBUG as well, 2 to 5 for all there
/// is. Records below INFO go to agent_debug.log only. Loggers that are named keep level 5.
pub fn set_debug_level(level: u8) {
    let mut outputs = global().outputs();
    outputs.set_debug_level(level);
    log::set_max_level(outputs.finest());
}

/// The counts of records that were not written so far.
pub fn stats() -> LogStats {
    global().outputs().stats()
}

/// Logs with a module name of the caller's choice in place of its own path, e.g. `scalyr-agent-2`
/// for the periodic statistics lines. The line number is the caller's.
#[track_caller]
pub fn log_as(module: &'static str, level: log::Level, text: fmt::Arguments) {
    if level > log::max_level() {
        return;
    }
    log::logger().log(
        &log::Record::builder()
            .level(level)
            .target("core")
            .module_path_static(Some(module))
            .line(Some(Location::caller().line()))
            .args(text)
            .build(),
    );
}

/// Makes panics of any thread an ERROR record with the place where it happened. The thread still
/// unwinds.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|info| {
        let payload = info.payload();
        let text = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("(no message)");
        let thread = std::thread::current();
        let place = info
            .location()
            .map_or_else(String::new, |at| format!(" at {}:{}", at.file(), at.line()));
        log::error!(
            "[error=\"uncaughtException\"] thread '{}' panicked{place}: {}",
            thread.name().unwrap_or("?"),
            one_line(text, 1000)
        );
    }));
}
