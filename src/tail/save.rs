//! Writing checkpoints: when, and of what.

use super::checkpoint::Writer;
use super::store::next_serial;
use super::tailer::Tailer;
use crate::util::time::now_secs;
use std::time::Instant;

impl Tailer {
    /// Before a batch is sent: the start of each content in it must be on disk, so that what is
    /// sent again after a crash has the same sequence id.
    pub fn before_send(&mut self) {
        if self.undurable {
            self.checkpoint_active();
        }
    }

    /// Writes what moved, if the last full checkpoint is old enough all of it.
    pub fn checkpoint(&mut self, now: Instant) {
        if !self.moved && !self.undurable {
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
        let text = self.full_text();
        if self.store.write_full(text) {
            let empty = Writer::new(self.store.buffer(), now_secs(), next_serial(), None);
            self.store.write_active(empty.finish(), false);
            for log in self.logs.values_mut() {
                log.dirty = false;
            }
            self.moved = false;
            self.undurable = false;
        }
        // Also after a failure: the next try is one interval away, the active one is tried before
        self.last_full = Instant::now();
    }

    fn full_text(&mut self) -> Vec<u8> {
        let watched = Some(&self.watched_before[..]);
        let mut writer = Writer::new(self.store.buffer(), now_secs(), next_serial(), watched);
        writer.sessions(self.settings.share.1);
        for log in self.logs.values().filter(|log| !log.in_memory) {
            writer.log(log);
        }
        for (path, log) in &self.orphans {
            writer.saved(path, log);
        }
        writer.finish()
    }

    /// Writes what moved since the last full checkpoint.
    fn checkpoint_active(&mut self) {
        let mut writer = Writer::new(self.store.buffer(), now_secs(), next_serial(), None);
        for log in self.logs.values().filter(|log| log.dirty && !log.in_memory) {
            writer.log(log);
        }
        // The start of a new content must outlive a loss of power, its name included
        if self.store.write_active(writer.finish(), self.undurable) {
            self.undurable = false;
            self.moved = false;
        }
    }
}
