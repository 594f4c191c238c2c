//! What a monitor is, and the tables by which it describes itself.

use crate::options::{OptionSpec, Options};
use crate::{Emitter, Error};
use std::path::PathBuf;

/// Something that is asked once an interval what it sees. Each has a thread of its own, so it may
/// block; it should then look at [`Emitter::stop`] now and then.
///
/// A monitor is made anew after a panic. Making one has no side effects: files and sockets are
/// opened in the first `gather`.
pub trait Monitor: Send {
    /// Takes one sample and hands what it finds to `out`.
    ///
    /// # Errors
    /// The sample as a whole failed. It is logged and counted once, and the monitor is asked again
    /// at the next tick. What was emitted before the error is kept.
    fn gather(&mut self, out: &mut Emitter) -> Result<(), Error>;
}

/// What a metric's numbers mean.
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
    /// Its fields, in the order in which they are written.
    pub fields: &'static [&'static str],
    /// One sentence of the reference page.
    pub text: &'static str,
}

/// Everything about a monitor that is known before it runs: one per monitor, in its own file.
#[derive(Debug)]
pub struct Description {
    /// The name that configurations use, e.g. `scalyr_agent.builtin_monitors.shell_monitor`.
    pub module: &'static str,
    /// What it does, for the reference page.
    pub text: &'static str,
    /// Its own options; those that all monitors have are in [`crate::options::COMMON`].
    pub options: &'static [OptionSpec],
    /// What it may write.
    pub metrics: &'static [MetricSpec],
    /// The parser that the server applies to its log.
    pub parser: &'static str,
    /// Name of the option with further attributes of its log, if it has one.
    pub attributes_option: Option<&'static str>,
    /// Default write limit of its log: bytes per second and burst in bytes; negative for none.
    pub write_limit: (i64, i64),
    /// Whether the first sample comes at once instead of after a random part of the interval.
    pub first_at_once: bool,
    /// Checks options beyond what their declarations say, and makes the monitor.
    pub make: Make,
}

/// Makes a monitor of its options.
pub type Make = fn(&Options, &Place) -> Result<Box<dyn Monitor>, Error>;

/// The host as a monitor sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Where `/proc` and `/sys` are looked for: `/`, or a stored tree in tests.
    pub root: PathBuf,
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
