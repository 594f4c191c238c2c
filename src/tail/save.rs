//! Writing checkpoints: when, and of what.

use super::ledger::record::{SavedContent, SavedLog, Writer};
use super::ledger::{Ledger, LogId};
use super::log::Log;
use super::source::name_of;
use super::store::next_serial;
use super::tailer::Tailer;
use crate::util::time::now_secs;
use std::io::Write;
use std::time::Instant;

impl Tailer {
    /// Before a batch is sent: where each content in it starts must be on disk, so that what is sent again
    /// after a crash has the same sequence id.
    pub fn before_send(&mut self) {
        if !self.ledger.is_durable() {
            self.checkpoint_active();
        }
    }

    /// Writes what moved, if the last full checkpoint is old enough all of it.
    pub fn checkpoint(&mut self, now: Instant) {
        if self.ledger.changed().is_empty() && !self.moved && self.ledger.is_durable() {
            return;
        }
        if now.duration_since(self.last_full) >= self.settings.full_checkpoint_interval {
            self.checkpoint_full();
        } else {
            self.checkpoint_active();
        }
    }

    /// Writes everything that is followed.
    pub fn checkpoint_full(&mut self) {
        for log in self.logs.values().filter(|log| !log.in_memory) {
            self.ledger.reserve(log.id());
        }
        let (now, serial) = (now_secs(), next_serial());
        let (logs, ledger) = (&self.logs, &self.ledger);
        let text = |out: &mut dyn Write| {
            let mut writer = Writer::new(out, now, serial, Some(&self.watched_before));
            writer.sessions(self.settings.share.1);
            for log in logs.values().filter(|log| !log.in_memory) {
                writer.saved(&log.path, &record(ledger, log, now, Some(serial)));
            }
            for (path, log) in &self.orphans {
                writer.saved(path, log);
            }
            for (root, listing) in ledger.listings() {
                let root = logs.get(&u64::from(root.0)).filter(|log| !log.in_memory);
                if let Some(root) = root.filter(|_| !listing.is_empty()) {
                    writer.remembered(&root.path, listing);
                }
            }
            writer.finish()
        };
        if self.store.write_full(&text) {
            let empty = |out: &mut dyn Write| Writer::new(out, now, next_serial(), None).finish();
            self.store.write_active(&empty, false);
            self.ledger.written(true);
            self.moved = false;
        }
        // Also after a failure: the next try is one interval away, the active one is tried before
        self.last_full = Instant::now();
    }

    /// Writes what moved since the last full checkpoint.
    fn checkpoint_active(&mut self) {
        let (now, serial) = (now_secs(), next_serial());
        let changed = self.ledger.changed().iter().copied();
        let is_in_file = |id: &LogId| {
            let log = self.logs.get(&u64::from(id.0));
            log.is_some_and(|log| !log.in_memory)
        };
        let changed: Vec<LogId> = changed.filter(is_in_file).collect();
        for id in &changed {
            self.ledger.reserve(*id);
        }
        let (logs, ledger) = (&self.logs, &self.ledger);
        let text = |out: &mut dyn Write| {
            let mut writer = Writer::new(out, now, serial, None);
            for log in changed.iter().filter_map(|id| logs.get(&u64::from(id.0))) {
                writer.saved(&log.path, &record(ledger, log, now, Some(serial)));
            }
            writer.finish()
        };
        // The start of a new content must outlive a loss of power, its name included
        let must_last = !self.ledger.is_durable();
        if self.store.write_active(&text, must_last) {
            self.ledger.written(false);
            self.moved = false;
        }
    }
}

/// The record of a log at a moment, in seconds since the epoch.
pub(super) fn record(ledger: &Ledger, log: &Log, time: f64, serial: Option<u64>) -> SavedLog {
    let name = name_of(&log.path);
    let keys = ledger.of_log(log.id()).iter();
    let contents = keys.filter_map(|key| ledger.get(*key));
    SavedLog {
        time,
        serial,
        contents: contents
            .map(|content| SavedContent::of(content, &name))
            .collect(),
        schemes: ledger.schemes(log.id()).to_vec(),
        attributes: log.entry.named_attributes().to_vec(),
    }
}
