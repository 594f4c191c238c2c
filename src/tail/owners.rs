//! Which log has which content: an identity belongs to one log, also where links show it twice.

use super::generation::Generation;
use super::identity::{self, FileId};
use super::log::Log;
use super::siblings::scheme_of;
use super::tailer::Tailer;

impl Tailer {
    /// Adds a generation to a log.
    pub(super) fn adopt(&mut self, log: u64, generation: Generation, at: Option<usize>) {
        let number = log;
        let key = generation.key;
        self.by_key.insert(key, number);
        self.undurable = true;
        self.moved = true;
        if let Some(log) = self.logs.get_mut(&number) {
            log.dirty = true;
            let at = at.unwrap_or(log.generations.len());
            log.generations.insert(at, generation);
        }
        self.own(number, key);
    }

    /// Makes the file of this generation known as its log's. One file holds one content: another
    /// generation of the log that had it, and has it open no more, is about a file that is gone and
    /// whose inode was used again.
    pub(super) fn own(&mut self, number: u64, key: u64) {
        let Some(log) = self.logs.get_mut(&number) else {
            return;
        };
        let Some((id, birth)) = log.generation(key).map(|g| (g.id, g.birth)) else {
            return;
        };
        if id.ino == 0 {
            return;
        }
        let stale = |g: &&mut Generation| g.key != key && g.id == id && g.source.is_none();
        for g in log.generations.iter_mut().filter(stale) {
            g.id = FileId { dev: 0, ino: 0 };
        }
        let path = log.path.clone();
        if let Some(other) = self.owned.insert(id, number).filter(|o| *o != number) {
            self.aliases.entry(id).or_default().push(other);
        }
        self.hold_file(id, birth, &path);
    }

    /// Whether the file with this identity and creation is one that some log has: its inode may be
    /// that of one that is gone.
    pub(super) fn is_owned(&self, id: FileId, birth: Option<f64>) -> bool {
        let owner = self.owned.get(&id).and_then(|n| self.logs.get(n));
        let mut all = owner.into_iter().flat_map(|log| &log.generations);
        let is_it = |g: &Generation| match (g.source.is_some(), g.birth, birth) {
            (false, Some(then), Some(now)) => identity::same_birth(then, now),
            _ => true,
        };
        all.any(|g| g.id == id && is_it(g))
    }

    /// Forgets a generation.
    pub(super) fn drop_generation(&mut self, log: u64, key: u64) {
        let log_number = log;
        self.by_key.remove(&key);
        if let Some(log) = self.logs.get_mut(&log) {
            if let Some(at) = log.generations.iter().position(|g| g.key == key) {
                let gone = log.generations.remove(at);
                let scheme = scheme_of(&log.path, &gone.path).filter(|s| !log.schemes.contains(s));
                // One log rotates by one scheme, or a few if its rotation was configured anew
                log.schemes.extend(scheme.filter(|_| log.schemes.len() < 8));
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
        self.release_file(id);
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
