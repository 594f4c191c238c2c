//! Entries that come and go while the agent runs: the files of `syslog_monitor` and
//! `journald_monitor`.

use super::fence::{is_left_out, touch};
use super::ledger::record::SavedLog;
use super::settings::Entry;
use super::tailer::Tailer;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// More remembered logs than these are looked through for files that are gone.
pub(super) const MANY_ORPHANS: usize = 1_000;

impl Tailer {
    /// Makes these the entries beyond those of the configuration; each is for one path and wins over
    /// a configured one. Files of earlier ones that are missing here are finished and then left.
    pub fn set_dynamic(&mut self, mut entries: Vec<Entry>, now: Instant) {
        for entry in &mut entries {
            entry.named = true;
        }
        let paths: HashSet<PathBuf> = entries.iter().map(|e| e.pattern.clone()).collect();
        let before: Vec<PathBuf> = self.entries[..self.dynamic]
            .iter()
            .map(|e| e.pattern.clone())
            .collect();
        let known: HashSet<&PathBuf> = before.iter().collect();
        let fresh: Vec<bool> = entries
            .iter()
            .map(|entry| !known.contains(&entry.pattern))
            .collect();
        for entry in &entries {
            self.fit_buffer(entry);
        }
        let mut all: Vec<Arc<Entry>> = entries.into_iter().map(Arc::new).collect();
        let count = all.len();
        all.extend(self.entries.drain(..).skip(self.dynamic));
        self.entries = all;
        self.dynamic = count;
        for path in before.iter().filter(|path| !paths.contains(*path)) {
            if let Some(number) = self.by_path.get(path.as_path()).copied() {
                // Lines that were written until now are still copied
                self.look(number, now);
                let covered = self.entry_for(path);
                let pending = self.pending(super::log::id_of(number));
                if let Some(log) = self.logs.get_mut(&number) {
                    match covered {
                        Some(entry) if pending == 0 => log.relabel(entry),
                        // Lines that wait to be sent keep their attributes
                        _ => {
                            log.left = true;
                            self.leaving = true;
                        }
                    }
                }
            }
        }
        for (at, fresh) in fresh.into_iter().enumerate() {
            let entry = self.entries[at].clone();
            if let Some(number) = self.by_path.get(entry.pattern.as_path()) {
                self.ledger.note_log(super::log::id_of(*number));
            }
            if fresh {
                self.follow_one(entry, now);
                continue;
            }
            let number = self.by_path.get(entry.pattern.as_path());
            if let Some(log) = number.and_then(|n| self.logs.get_mut(n)) {
                if log.entry.attributes != entry.attributes {
                    log.relabel(entry);
                }
            }
        }
    }

    fn follow_one(&mut self, entry: Arc<Entry>, now: Instant) {
        let path = entry.pattern.clone();
        if let Some(number) = self.by_path.get(path.as_path()).copied() {
            if let Some(log) = self.logs.get_mut(&number) {
                log.left = false;
                log.relabel(entry);
            }
            return;
        }
        if !self.is_mine(&path) || is_left_out(&path) {
            return;
        }
        match self.orphans.iter().position(|(known, _)| *known == path) {
            Some(at) => {
                let (_, saved) = self.orphans.swap_remove(at);
                let number = self.restore_log(&path, entry, &saved, now);
                self.look_restored(number, now);
            }
            None => self.matched(path, &entry, now),
        }
    }

    /// The logs that monitors name and of which all that a look has found is settled, with the moment of that look.
    pub fn delivered_named(&self) -> impl Iterator<Item = (PathBuf, SystemTime)> + '_ {
        self.logs.values().filter_map(|log| {
            let path = &log.path;
            let is_known = log.entry.named && !log.left && !self.unreadable.contains_key(&**path);
            let is_settled = is_known && self.pending(log.id()) == 0;
            let looked = Duration::try_from_secs_f64(log.last_check.filter(|_| is_settled)?);
            Some((path.to_path_buf(), UNIX_EPOCH + looked.ok()?))
        })
    }

    /// Forgets logs that nothing names any more and that are finished. Where each stands is
    /// remembered, for a sender that comes back. Those that an entry of the configuration is about
    /// are its own from then on.
    pub(super) fn retire_left(&mut self) {
        let done: Vec<u64> = self
            .logs
            .values()
            .filter(|log| log.left && self.pending(log.id()) == 0)
            .map(|log| log.number())
            .collect();
        self.leaving = self.logs.values().filter(|log| log.left).count() > done.len();
        for number in done {
            let Some(log) = self.logs.get(&number) else {
                continue;
            };
            let path = log.path.clone();
            if let Some(entry) = self.entry_for(&path) {
                if let Some(log) = self.logs.get_mut(&number) {
                    log.left = false;
                    log.relabel(entry);
                }
                continue;
            }
            if !path.exists() {
                self.forget_for_good(number);
                continue;
            }
            let now = crate::util::time::now_secs();
            let saved = super::save::record(&self.ledger, log, now);
            self.checkpoint();
            self.remember(&path, saved);
            self.forget(number);
        }
    }

    fn remember(&mut self, path: &Path, saved: SavedLog) {
        if self.orphans.len() >= self.many_orphans {
            let is_there = |path: &Path| touch(path).is_err() || path.exists();
            let orphans = std::mem::take(&mut self.orphans).into_iter();
            let (there, gone) = orphans.partition(|(path, _)| is_there(path));
            self.orphans = there;
            let gone: Vec<(PathBuf, SavedLog)> = gone;
            let worker = self.settings.worker.clone();
            let gone = gone.into_iter().map(|(path, _)| (worker.clone(), path));
            self.gone.extend(gone);
            // Not at each further one, if they are all still there
            self.many_orphans = MANY_ORPHANS.max(2 * self.orphans.len());
        }
        self.orphans.push((path.to_owned(), saved));
    }
}
