//! The state of a running monitor, readable from any thread.

use common::stamp;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Counters of one monitor instance. They survive its restarts.
#[derive(Debug)]
pub struct MonitorStatus {
    name: String,
    module: &'static str,
    id: String,
    pub(crate) lines: AtomicU64,
    pub(crate) errors: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) lost: AtomicU64,
    pub(crate) restarts: AtomicU64,
    samples: AtomicU64,
    good_samples: AtomicU64,
    /// The monitor ends after so many samples.
    most: u64,
    pub(crate) alive: AtomicBool,
    last_sample_ms: AtomicU64,
    /// The start of the count in `busy_since_ms`. It is not taken from the clock: a host without a
    /// battery sets that by decades once it has a network, and a sample under way would seem to hang.
    born: Instant,
    /// 0 between samples.
    busy_since_ms: AtomicU64,
    last_took_ms: AtomicU64,
    last_error: Mutex<Option<(u64, String)>>,
    counters: Mutex<Vec<(&'static str, Arc<AtomicU64>)>>,
}

/// [`MonitorStatus`] at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// `shell_monitor(2)`.
    pub name: String,
    /// Full module name.
    pub module: &'static str,
    /// The id, `default` for an empty one.
    pub id: String,
    /// Lines emitted, those that the write limit dropped included.
    pub lines: u64,
    /// Failed samples, panics, and errors that the monitor reported.
    pub errors: u64,
    /// Lines that the write limit dropped.
    pub dropped: u64,
    /// Lines that could not be written (disk full, no directory).
    pub lost: u64,
    /// How often it was made anew after a panic or because it hung, or the process of a plug-in was
    /// after it failed.
    pub restarts: u64,
    /// Samples taken, well or not.
    pub samples: u64,
    /// Those of them that went well.
    pub good_samples: u64,
    /// Whether it is running: started, not stopped, not waiting for its restart.
    pub alive: bool,
    /// When the last sample ended well, in milliseconds since the epoch.
    pub last_sample_ms: Option<u64>,
    /// For how many milliseconds the present sample has been going on, if one is.
    pub busy_ms: Option<u64>,
    /// How many milliseconds the last sample took, well or not.
    pub last_took_ms: u64,
    /// When and why the last error was, in milliseconds since the epoch.
    pub last_error: Option<(u64, String)>,
    /// Further counters of the monitor, by name.
    pub counters: Vec<(&'static str, u64)>,
}

impl MonitorStatus {
    pub(crate) fn new(name: String, module: &'static str, id: &str, most: Option<u64>) -> Self {
        MonitorStatus {
            name,
            module,
            id: if id.is_empty() { "default" } else { id }.to_owned(),
            lines: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            restarts: AtomicU64::new(0),
            samples: AtomicU64::new(0),
            good_samples: AtomicU64::new(0),
            most: most.unwrap_or(u64::MAX),
            alive: AtomicBool::new(true),
            last_sample_ms: AtomicU64::new(0),
            born: Instant::now(),
            busy_since_ms: AtomicU64::new(0),
            last_took_ms: AtomicU64::new(0),
            last_error: Mutex::new(None),
            counters: Mutex::default(),
        }
    }

    /// `shell_monitor(2)`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Milliseconds since it was made, and one more: never 0.
    fn age_ms(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).map_or(u64::MAX, |ms| ms.saturating_add(1))
    }

    pub(crate) fn sample_begins(&self) {
        self.busy_since_ms.store(self.age_ms(), Relaxed);
    }

    pub(crate) fn sample_ends(&self, well: bool) {
        let since = self.busy_since_ms.swap(0, Relaxed);
        if since != 0 {
            let took = self.age_ms().saturating_sub(since);
            self.last_took_ms.store(took, Relaxed);
        }
        self.samples.fetch_add(1, Relaxed);
        if well {
            self.good_samples.fetch_add(1, Relaxed);
            self.sample_was_good();
        }
    }

    /// Whether all samples that were asked for have been taken.
    pub(crate) fn is_enough(&self) -> bool {
        self.samples.load(Relaxed) >= self.most
    }

    /// Counts all samples that were asked for: each would be the same.
    pub(crate) fn skip_samples(&self) {
        self.samples.store(self.most, Relaxed);
        self.good_samples.store(self.most, Relaxed);
    }

    /// Whether some number of samples, or of lines, was asked for.
    pub(crate) fn is_limited(&self) -> bool {
        self.most < u64::MAX
    }

    /// [`MonitorStatus::is_enough`], where each line counts as a sample.
    pub(crate) fn has_enough_lines(&self) -> bool {
        self.lines.load(Relaxed) >= self.most
    }

    pub(crate) fn sample_was_good(&self) {
        self.last_sample_ms.store(stamp::now_ms().max(1), Relaxed);
    }

    pub(crate) fn counter(&self, name: &'static str) -> Arc<AtomicU64> {
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, counter)) = counters.iter().find(|(known, _)| *known == name) {
            return Arc::clone(counter);
        }
        let counter = Arc::new(AtomicU64::new(0));
        counters.push((name, Arc::clone(&counter)));
        counter
    }

    pub(crate) fn error(&self, text: &str) {
        self.errors.fetch_add(1, Relaxed);
        let mut last = self
            .last_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *last = Some((stamp::now_ms(), text.to_owned()));
    }

    /// All of it, as it is now.
    pub fn snapshot(&self) -> Snapshot {
        let since = |ms: u64| (ms != 0).then_some(ms);
        Snapshot {
            name: self.name.clone(),
            module: self.module,
            id: self.id.clone(),
            lines: self.lines.load(Relaxed),
            errors: self.errors.load(Relaxed),
            dropped: self.dropped.load(Relaxed),
            lost: self.lost.load(Relaxed),
            restarts: self.restarts.load(Relaxed),
            samples: self.samples.load(Relaxed),
            good_samples: self.good_samples.load(Relaxed),
            alive: self.alive.load(Relaxed),
            last_sample_ms: since(self.last_sample_ms.load(Relaxed)),
            busy_ms: since(self.busy_since_ms.load(Relaxed))
                .map(|then| self.age_ms().saturating_sub(then)),
            last_took_ms: self.last_took_ms.load(Relaxed),
            last_error: self
                .last_error
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
            counters: self
                .counters
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .iter()
                .map(|(name, counter)| (*name, counter.load(Relaxed)))
                .collect(),
        }
    }
}
