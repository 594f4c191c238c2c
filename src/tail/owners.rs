//! Which log has which content: an identity belongs to one log, also where links show it twice.

use super::generation::Generation;
use super::identity::FileId;
use super::log::Log;
use super::tailer::Tailer;

impl Tailer {
    /// Adds a generation to a log.
    pub(super) fn adopt(&mut self, log: u64, generation: Generation, at: Option<usize>) {
        if generation.id.ino != 0 {
            if let Some(other) = self.owned.insert(generation.id, log).filter(|o| *o != log) {
                self.aliases.entry(generation.id).or_default().push(other);
            }
        }
        self.by_key.insert(generation.key, log);
        self.undurable = true;
        self.moved = true;
        if let Some(log) = self.logs.get_mut(&log) {
            log.dirty = true;
            let at = at.unwrap_or(log.generations.len());
            log.generations.insert(at, generation);
        }
    }

    /// Forgets a generation.
    pub(super) fn drop_generation(&mut self, log: u64, key: u64) {
        let log_number = log;
        self.by_key.remove(&key);
        if let Some(log) = self.logs.get_mut(&log) {
            if let Some(at) = log.generations.iter().position(|g| g.key == key) {
                let gone = log.generations.remove(at);
                if gone.source.is_some() {
                    self.open = self.open.saturating_sub(1);
                }
                log.dirty = true;
                self.moved = true;
                if !log.generations.iter().any(|g| g.id == gone.id) {
                    self.disown(gone.id, log_number);
                }
            }
        }
    }

    /// A log has nothing to do with this identity any more; another that has it by a second name
    /// takes over.
    pub(super) fn disown(&mut self, id: FileId, log: u64) {
        if let Some(others) = self.aliases.get_mut(&id) {
            others.retain(|o| *o != log);
        }
        if self.owned.get(&id) != Some(&log) {
            return;
        }
        self.owned.remove(&id);
        while let Some(other) = self.aliases.get_mut(&id).and_then(Vec::pop) {
            let has_it = |l: &Log| l.generations.iter().any(|g| g.id == id);
            if self.logs.get(&other).is_some_and(has_it) {
                self.owned.insert(id, other);
                break;
            }
        }
        if self.aliases.get(&id).is_some_and(Vec::is_empty) {
            self.aliases.remove(&id);
        }
    }
}
