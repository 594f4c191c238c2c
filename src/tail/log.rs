//! One followed path: its label, its generations, its totals.

use super::counters::Counters;
use super::generation::{Generation, State};
use super::identity::FileId;
use super::names::Scheme;
use super::settings::Entry;
use crate::config::AttrValue;
use crate::wire::{Batch, Envelope, Label};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A content that a path shows and that another log finishes, as it was when that was found out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Foreign {
    /// Device and inode.
    pub id: FileId,
    /// The number of the log that has it.
    pub owner: u64,
    /// Bytes.
    pub size: u64,
    /// Last change of the content, seconds since the epoch.
    pub mtime: f64,
}

/// A path that an entry of the configuration names or matches.
#[derive(Debug)]
pub struct Log {
    /// The path, as the operator's pattern leads to it.
    pub path: PathBuf,
    /// The entry that it belongs to.
    pub entry: Arc<Entry>,
    /// `n` of `log_<n>`.
    pub number: u64,
    /// Made with the first event.
    pub label: Option<Box<Label>>,
    /// Its attributes, for the pipeline; kept only if there is one.
    pub attrs: Vec<(String, AttrValue)>,
    /// The longest message, once known.
    pub max_line: Option<usize>,
    /// Oldest first; the last one is what the path shows, if it shows anything.
    pub generations: Vec<Generation>,
    /// Totals.
    pub counters: Counters,
    /// Time between looks; grows while nothing happens.
    pub interval: Duration,
    /// Next look.
    pub due: Instant,
    /// Last look, seconds since the epoch.
    pub last_check: Option<f64>,
    /// The look before that.
    pub checked_before: Option<f64>,
    /// Waits for its turn to be read.
    pub ready: bool,
    /// Why it can't be read, if so.
    pub error: Option<String>,
    /// Moved since the last full checkpoint.
    pub dirty: bool,
    /// Has read something since it was found; until then the limit for new files holds.
    pub started: bool,
    /// Last delivery (or moment with nothing to deliver), for `copy_staleness_threshold`.
    pub last_success: Instant,
    /// The path shows content of another log.
    pub foreign: Option<Foreign>,
    /// Schemes under which contents stood that are forgotten by now.
    pub schemes: Vec<Scheme>,
    /// The files with names of its rotated files that lay beside it when these were last looked
    /// through, 8 bytes each; `None`: they were not. One that is among them has not come since, whatever
    /// a clock says that jumps.
    pub beside: Option<Vec<u64>>,
    /// It is in no file.
    pub in_memory: bool,
    /// No entry names it any more: it is finished and then forgotten.
    pub left: bool,
    /// The scan that last saw the path among its matches.
    pub seen_in_scan: u64,
}

impl Log {
    /// A log without content so far.
    pub fn new(path: PathBuf, entry: Arc<Entry>, now: Instant) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        Log {
            path,
            entry,
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
            label: None,
            attrs: Vec::new(),
            max_line: None,
            generations: Vec::new(),
            counters: Counters::default(),
            interval: Duration::ZERO,
            due: now,
            last_check: None,
            checked_before: None,
            ready: false,
            error: None,
            dirty: true,
            started: false,
            last_success: now,
            foreign: None,
            schemes: Vec::new(),
            beside: None,
            in_memory: false,
            left: false,
            seen_in_scan: 0,
        }
    }

    /// Another entry is about it from now on.
    pub fn relabel(&mut self, entry: Arc<Entry>) {
        self.entry = entry;
        self.label = None;
        self.max_line = None;
    }

    /// The content that the path shows, if it is known.
    pub fn current(&mut self) -> Option<&mut Generation> {
        self.generations
            .last_mut()
            .filter(|g| g.state == State::Current)
    }

    /// Known bytes that are not settled.
    pub fn pending(&self) -> u64 {
        self.generations
            .iter()
            .map(|g| g.size.max(g.read).saturating_sub(g.committed))
            .sum()
    }

    /// The generation with this key.
    pub fn generation(&mut self, key: u64) -> Option<&mut Generation> {
        self.generations.iter_mut().find(|g| g.key == key)
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

    /// The label and the longest message that a request of `limit` bytes is sure to take
    /// (0: the attributes alone are too large).
    pub fn prepare(&mut self, envelope: &Envelope, limit: usize, max_line_size: usize) -> usize {
        if self.label.is_none() {
            let attributes = self.attributes();
            let label = Label::new(
                envelope,
                format!("log_{}", self.number),
                // The real path, also where another name is reported: as the reference does
                self.path.as_os_str().as_bytes(),
                &attributes,
            );
            if self.entry.pipeline.is_some() {
                self.attrs = attributes;
            }
            self.label = Some(Box::new(label));
        }
        let label = &self.label;
        *self.max_line.get_or_insert_with(|| match label {
            Some(label) => Batch::room_for_message(envelope, label, limit, 0).min(max_line_size),
            None => 0,
        })
    }
}
