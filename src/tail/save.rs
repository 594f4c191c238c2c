//! Writing down what changed, into the position journal.

use super::journal::{Durable, Journal, Records, PATIENCE};
use super::ledger::record::{Reason, SavedContent, SavedLog};
use super::ledger::{Changes, Ledger, LogId};
use super::log::Log;
use super::source::name_of;
use super::tailer::Tailer;
use std::time::Instant;

/// A larger buffer is given back: that of a start with 10,000 logs has 2 MB.
const MOST_KEPT: usize = 64 << 10;

impl Tailer {
    /// Before a batch is sent: where each content in it starts must be on disk, so that what is sent again
    /// after a crash has the same sequence id. Where the disk fails it is sent all the same, and the journal says
    /// so; a disk that hangs is waited for at most [`PATIENCE`].
    pub fn before_send(&mut self) {
        if self.ledger.is_durable() {
            return;
        }
        self.write_down(true);
        self.ledger.is_written();
        self.written = Instant::now();
    }

    /// Writes down what moved. A loss of power may cost what was written in the last seconds.
    pub fn checkpoint(&mut self) {
        self.write_down(false);
    }

    fn write_down(&mut self, durably: bool) {
        let mut changes = self.ledger.take_changes();
        let Some(journal) = self.settings.journal.clone() else {
            self.gone.clear();
            return;
        };
        let generation = journal.generation();
        if std::mem::take(&mut self.writes_all) || generation != self.generation {
            self.generation = generation;
            self.add_all(&mut changes);
        }
        self.records.clear();
        let worker = self.settings.worker.as_str();
        for (worker, path) in self.gone.drain(..) {
            self.records.forget_log((&worker, &path));
        }
        if std::mem::take(&mut self.writes_watched) {
            let sessions = Some(self.settings.share.1);
            self.records.watched(worker, sessions, &self.watched_before);
        }
        let logs = &self.logs;
        let in_file = |id: LogId| {
            let log = logs.get(&u64::from(id.0)).map(Box::as_ref);
            log.filter(|log: &&Log| !log.in_memory)
        };
        for id in &changes.logs {
            if let Some(log) = in_file(*id) {
                let saved = facts(&self.ledger, log);
                self.records.log((worker, &log.path), &saved);
            }
        }
        for (key, why) in &self.ledger.in_order(&changes) {
            self.ledger.reserve(*key);
            let Some(content) = self.ledger.get(*key) else {
                self.records.forget(*key);
                continue;
            };
            let Some(log) = in_file(content.log) else {
                continue;
            };
            let saved = SavedContent::of(content, &name_of(&log.path));
            let mut written = content.written;
            self.records
                .changed(&mut written, *why, (worker, &log.path), &saved);
            if let Some(content) = self.ledger.get_mut(*key) {
                content.written = written;
            }
        }
        for (root, before) in &changes.listings {
            let log = in_file(*root);
            let now = self.ledger.listing(*root);
            if let (Some(log), Some(now)) = (log, now) {
                self.records.listing(&log.path, before.as_ref(), now);
            }
        }
        self.append(&journal, durably);
    }

    /// A thread that was given up writes nothing: another one's positions are newer.
    fn append(&mut self, journal: &Journal, durably: bool) {
        let fence = &self.settings.fence;
        let Some(upto) = fence.write(|| journal.append(&self.records)) else {
            return;
        };
        if self.records.bytes().len() > MOST_KEPT {
            self.records = Records::default();
        }
        if durably && fence.wait(|| journal.wait(upto, PATIENCE)) == Durable::No {
            log::debug!(
                "positions are not durable; what is sent now may be sent again after a crash"
            );
        }
    }

    /// Records were lost: all that is known is written again.
    fn add_all(&mut self, changes: &mut Changes) {
        for id in self.logs.values().map(|log| log.id()) {
            changes.logs.insert(id);
            for key in self.ledger.of_log(id).to_vec() {
                changes.contents.entry(key).or_insert(Reason::Evidence);
                if let Some(content) = self.ledger.get_mut(key) {
                    content.written = None;
                }
            }
        }
        let roots = self.ledger.listings().map(|(root, _)| (root, None));
        changes.listings.extend(roots);
        self.writes_watched = true;
    }
}

/// All that is remembered of a log but its contents.
fn facts(ledger: &Ledger, log: &Log) -> SavedLog {
    SavedLog {
        schemes: ledger.schemes(log.id()).to_vec(),
        attributes: log.entry.named_attributes().to_vec(),
        ..SavedLog::default()
    }
}

/// The record of a log at a moment, in seconds since the epoch.
pub(super) fn record(ledger: &Ledger, log: &Log, time: f64) -> SavedLog {
    let name = name_of(&log.path);
    let keys = ledger.of_log(log.id()).iter();
    let contents = keys.filter_map(|key| ledger.get(*key));
    SavedLog {
        time,
        contents: contents
            .map(|content| SavedContent::of(content, &name))
            .collect(),
        ..facts(ledger, log)
    }
}
