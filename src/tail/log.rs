//! One followed path: its label and its totals. What its contents are says the ledger.

use super::counters::Tally;
use super::ledger::{LogId, Stat};
use super::settings::Entry;
use crate::config::AttrValue;
use crate::wire::{Batch, Envelope, Label};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A path that an entry of the configuration names or matches.
#[derive(Debug)]
pub struct Log {
    /// The path, as the operator's pattern leads to it.
    pub path: Arc<Path>,
    /// The entry that it belongs to.
    pub entry: Arc<Entry>,
    /// Its name in the ledger.
    pub id: LogId,
    /// Made when there is something to read.
    pub outfit: Option<Box<Outfit>>,
    /// Totals.
    pub counters: Tally,
    /// Time between looks; grows while nothing happens.
    pub interval: Duration,
    /// Next look.
    pub due: Instant,
    /// Last look, seconds since the epoch.
    pub last_check: Option<f64>,
    /// Waits for its turn to be read.
    pub ready: bool,
    /// Why it can't be read, if so.
    pub error: Option<Box<str>>,
    /// Has read something since it was found; until then the limit for new files holds.
    pub started: bool,
    /// Last delivery (or moment with nothing to deliver), for `copy_staleness_threshold`.
    pub last_success: Instant,
    /// The file that its path showed at the last look, if that is no content of this log.
    pub foreign: Option<Box<Stat>>,
    /// That file may turn out to be the copy of another log's content: it is looked at again soon.
    pub waits: bool,
    /// The last change of its folder before the last look at its family, in nanoseconds since the epoch.
    pub folder_changed: Option<i64>,
    /// Where its path leads, if it is a symbolic link.
    pub leads_to: Option<Box<Path>>,
    /// The file that its path showed last has several hard links: who writes by another name does so unseen by hints.
    pub has_links: bool,
    /// It is in no file.
    pub in_memory: bool,
    /// No entry names it any more: it is finished and then forgotten.
    pub left: bool,
    /// The scan that last saw the path among its matches.
    pub seen_in_scan: u32,
    /// When a look saw it grow last, in seconds since the session's start, modulo 256.
    pub grown_at: u8,
    /// The round whose look saw it grow after a pause of some seconds, modulo 256.
    pub sparse_in: u8,
}

/// The things that a log needs to be read: some hundred bytes that an idle one does not keep.
#[derive(Debug)]
pub struct Outfit {
    /// As the server sees it.
    pub label: Label,
    /// Its attributes, for the pipeline; empty if there is none.
    pub attrs: Vec<(String, AttrValue)>,
    /// The longest message, in bytes, that a request is sure to take. 0: the attributes alone are too large.
    pub max_line: usize,
}

/// The number of a log that is about to be followed.
pub fn next_number() -> u64 {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    NUMBER.fetch_add(1, Ordering::Relaxed)
}

/// The name in the ledger of the log with this number.
pub fn id_of(number: u64) -> LogId {
    LogId(number as u32)
}

impl Log {
    /// A log without content so far.
    pub fn new(path: Arc<Path>, entry: Arc<Entry>, number: u64, now: Instant) -> Self {
        Log {
            path,
            entry,
            id: id_of(number),
            outfit: None,
            counters: Tally::default(),
            interval: Duration::ZERO,
            due: now,
            last_check: None,
            ready: false,
            error: None,
            started: false,
            last_success: now,
            foreign: None,
            waits: false,
            folder_changed: None,
            leads_to: None,
            has_links: false,
            in_memory: false,
            left: false,
            seen_in_scan: 0,
            grown_at: 0,
            sparse_in: 0,
        }
    }

    /// Its name in the ledger.
    pub fn id(&self) -> LogId {
        self.id
    }

    /// `n` of `log_<n>`.
    pub fn number(&self) -> u64 {
        u64::from(self.id.0)
    }

    /// Another entry is about it from now on.
    pub fn relabel(&mut self, entry: Arc<Entry>) {
        self.entry = entry;
        self.outfit = None;
    }

    /// The name that is reported: the path, or what `rename_logfile` makes of it.
    pub fn reported_name(&self) -> String {
        let path = self.path.to_string_lossy();
        self.entry
            .renamed(&path)
            .unwrap_or_else(|| path.into_owned())
    }

    /// All attributes of the log, with the names that the Python agent gives them.
    pub fn attributes(&self) -> Vec<(String, AttrValue)> {
        let mut attributes = self.entry.attributes.clone();
        let has = |list: &[(String, AttrValue)], key: &str| list.iter().any(|(k, _)| k == key);
        let path = self.path.to_string_lossy();
        let name = self.reported_name();
        if !has(&attributes, "logfile") && !has(&attributes, "filename") {
            attributes.push(("logfile".into(), AttrValue::Text(name.clone())));
        }
        if name != path && !has(&attributes, "original_file") {
            attributes.push(("original_file".into(), AttrValue::Text(path.into_owned())));
        }
        attributes
    }

    /// Gives what it needs to be read, for requests of at most `limit` bytes; to be given back.
    pub fn outfit(
        &mut self,
        envelope: &Envelope,
        limit: usize,
        max_line_size: usize,
    ) -> Box<Outfit> {
        self.outfit.take().unwrap_or_else(|| {
            let attributes = self.attributes();
            let label = Label::new(
                envelope,
                format!("log_{}", self.number()),
                // The real path, also where another name is reported: as the reference does
                self.path.as_os_str().as_bytes(),
                &attributes,
            );
            let max_line = Batch::room_for_message(envelope, &label, limit, 0).min(max_line_size);
            Box::new(Outfit {
                label,
                attrs: match self.entry.pipeline {
                    Some(_) => attributes,
                    None => Vec::new(),
                },
                max_line,
            })
        })
    }
}
