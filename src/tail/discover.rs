//! Finding files: what patterns match, and where each file begins.

use super::compressed::{self, Kind};
use super::counters::Skip;
use super::fence::is_left_out;
use super::identity::{self, FileId};
use super::ledger::{Content, Listed, Place, Start, Stat};
use super::log::{next_number, Log};
use super::settings::Entry;
use super::source::{is_gone, path_of};
use super::tailer::Tailer;
use super::zeros;
use crate::util::time::now_secs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

impl Tailer {
    pub(super) fn entry_for(&self, path: &Path) -> Option<Arc<Entry>> {
        self.entries.iter().find(|e| e.covers(path)).cloned()
    }

    /// Looks for files that match and are not followed yet.
    pub(super) fn scan(&mut self, now: Instant) {
        self.scans += 1;
        let began = Instant::now();
        for at in 0..self.entries.len() {
            let entry = self.entries[at].clone();
            if entry.is_glob {
                self.expand(&entry, now);
            } else {
                self.watch_folder(&entry.pattern);
                self.matched(entry.pattern.clone(), &entry, now);
            }
        }
        self.forget_unreadable();
        self.last_scan = Some(now_secs());
        self.retire_logs(now);
        self.end_scan(began, now);
        if !self.has_scanned {
            self.has_scanned = true;
            self.remembered = super::restore::RememberedFiles::default();
            // A log that is left out and that no checkpoint knows is not new when it can be looked at
            let patterns = self.entries.iter().map(|e| e.pattern.clone());
            self.watched_before = patterns.filter(|path| !is_left_out(path)).collect();
        }
    }

    fn end_scan(&mut self, began: Instant, now: Instant) {
        let (scan, by_path, links) = (self.scans, &self.by_path, &self.links);
        if let Some(watching) = &mut self.watching {
            watching.end_scan(scan);
            watching.set_mounts(&|path| by_path.contains_key(path) || links.contains_key(path));
            for dir in std::mem::take(&mut watching.exchanged) {
                self.wake_folder(&dir, now);
            }
        }
        let interval = self.settings.new_log_detection;
        let next = now + interval.max(Duration::from_millis(100));
        self.next_scan = match interval.as_secs() {
            30.. => self.shared_wake(next),
            _ => next,
        };
        self.scan_took = began.elapsed();
        self.scan_ended = now + self.scan_took;
    }

    /// Has the kernel tell of the folder that a path is in.
    fn watch_folder(&mut self, path: &Path) {
        let scan = self.scans;
        if let (Some(watching), Some(dir)) = (&mut self.watching, path.parent()) {
            watching.see(dir, scan, false);
        }
    }

    /// Whether the path falls to this session, of those that share its worker's files.
    pub(super) fn is_mine(&self, path: &Path) -> bool {
        let (index, count) = self.settings.share;
        share_of(path, count) == index
    }

    pub(super) fn matched(&mut self, path: PathBuf, entry: &Arc<Entry>, now: Instant) {
        if !self.is_mine(&path) || entry.excludes(&path) {
            return;
        }
        let scan = self.scans;
        if let Some(log) = self
            .by_path
            .get(path.as_path())
            .and_then(|n| self.logs.get_mut(n))
        {
            log.seen_in_scan = scan;
            if !entry.is_glob && !Arc::ptr_eq(&log.entry, entry) {
                add_attributes(log, entry);
            }
            return;
        }
        let meta = match identity::stat(&path) {
            Ok(meta) if meta.is_dir() => {
                if !entry.is_glob {
                    let why = "it is a directory; only files are copied";
                    self.unreadable(&path, entry, why.into());
                }
                return;
            }
            Ok(meta) if !meta.is_file() => {
                let why = "it is a FIFO, socket or device; these are never opened";
                return self.unreadable(&path, entry, why.into());
            }
            Ok(_) => self.permitted(&path, entry),
            Err(e) => Err(e),
        };
        let meta = match meta {
            Ok(meta) => meta,
            Err(e) if is_gone(&e) => {
                if !entry.is_glob {
                    self.follow(path, entry, now);
                }
                return;
            }
            Err(e) => return self.unreadable(&path, entry, e.to_string()),
        };
        // A file that a log had under another name: it moved here, and its log finishes it
        if self.is_anothers(FileId::of(&meta), &path, now)
            || self.by_path.contains_key(path.as_path())
        {
            return;
        }
        match compressed::of(&path) {
            Ok(Kind::Compressed(name)) => {
                return self.unreadable(&path, entry, compressed::reason(name));
            }
            Ok(_) => {}
            Err(e) => return self.unreadable(&path, entry, e.to_string()),
        }
        if self.unreadable.remove(&path).is_some() {
            log::info!("{} can be read now", path.display());
        }
        self.follow(path, entry, now);
    }

    /// Whether the file at a path that is not followed holds the content of a log whose own path shows it no
    /// more.
    fn is_anothers(&mut self, id: FileId, path: &Path, now: Instant) -> bool {
        let owner = |tailer: &Tailer, is_known: bool| {
            let mut all = tailer.ledger.in_file(id);
            let is_it = |content: &&Content| {
                let name = content.place.file().map(|at| path_of(&at.name));
                (name == Some(path)) == is_known
            };
            all.find(|content| is_it(content) && !tailer.is_shown_now(content))
                .map(|content| u64::from(content.log.0))
        };
        if owner(self, true).is_some() {
            return true;
        }
        match owner(self, false) {
            None => false,
            Some(log) => {
                self.look_at_family(log, now);
                owner(self, true).is_some() || owner(self, false).is_some()
            }
        }
    }

    /// Whether the path of a content's log shows its file at this moment.
    pub(super) fn is_shown_now(&self, content: &Content) -> bool {
        let log = self.logs.get(&u64::from(content.log.0));
        let id = log.and_then(|log| identity::stat(&log.path).ok().map(|meta| FileId::of(&meta)));
        id.is_some() && id == content.place.location()
    }

    /// Follows a path from now on.
    fn follow(&mut self, path: PathBuf, entry: &Arc<Entry>, now: Instant) -> u64 {
        let number = self.follow_nothing(&path, entry, now);
        self.look_at_family(number, now);
        self.plan(number, now, None);
        number
    }

    /// A log for this path that has no content yet.
    pub(super) fn follow_nothing(&mut self, path: &Path, entry: &Arc<Entry>, now: Instant) -> u64 {
        let number = self.promised.remove(path).unwrap_or_else(next_number);
        let path: Arc<Path> = path.into();
        let mut log = Log::new(path.clone(), entry.clone(), number, now);
        log.seen_in_scan = self.scans;
        log.last_check = Some(now_secs());
        self.logs.insert(number, Box::new(log));
        self.relate(number, &path, true);
        let scan = self.scans;
        if let (Some(watching), Some(dir)) = (&mut self.watching, path.parent()) {
            watching.count(dir, scan, true);
        }
        self.by_path.insert(path, number);
        if !entry.named_attributes().is_empty() {
            self.ledger.note_log(super::log::id_of(number));
        }
        number
    }

    /// Whether another session has a file, or will have: at the first scan the others may not have taken up
    /// yet what checkpoints remember of them.
    pub(super) fn is_elsewhere(&self, stat: &Stat) -> bool {
        self.is_held_elsewhere(stat)
            || !self.has_scanned && self.remembered.of_another_session(stat)
    }

    /// Stops following paths that are gone and done.
    pub(super) fn retire_logs(&mut self, now: Instant) {
        let scan = self.scans;
        // Contents that are nowhere are forgotten by looks, which an unchanged folder gives no reason for
        let is_absent = |log: &Log| {
            let mut contents = self
                .ledger
                .of_log(log.id())
                .iter()
                .filter_map(|key| self.ledger.get(*key));
            let is_gone = |content: &Content| match content.place {
                Place::Nowhere { .. } => true,
                Place::Unlinked(_) => !self.readings.contains_key(&content.key),
                _ => false,
            };
            log.entry.is_glob && contents.any(is_gone)
        };
        let absent: Vec<u64> = self
            .logs
            .values()
            .filter(|log| is_absent(log))
            .map(|log| log.number())
            .collect();
        for number in absent {
            self.look_at_family(number, now);
        }
        let is_over = |log: &Log| {
            let is_empty = self.ledger.of_log(log.id()).is_empty();
            log.entry.is_glob && !log.in_memory && is_empty && log.seen_in_scan < scan
        };
        let gone = self.logs.values().filter(|log| is_over(log));
        let gone: Vec<u64> = gone.map(|log| log.number()).collect();
        for number in gone {
            self.forget_for_good(number);
        }
    }

    /// Follows a log no more, and does not remember it either.
    pub(super) fn forget_for_good(&mut self, number: u64) {
        let path = self.logs.get(&number).map(|log| log.path.to_path_buf());
        self.forget(number);
        let worker = self.settings.worker.clone();
        self.gone.extend(path.map(|path| (worker, path)));
    }

    /// Follows a log no more. The journal keeps what is known of it.
    pub(super) fn forget(&mut self, number: u64) {
        let Some(log) = self.logs.remove(&number) else {
            return;
        };
        for key in self.ledger.of_log(log.id()).to_vec() {
            self.release_file(key);
            self.stop_reading(key);
        }
        self.ledger.forget_log(log.id());
        self.by_path.remove(&log.path);
        self.waiting.remove(&*log.path);
        if let Some(to) = log
            .leads_to
            .as_deref()
            .filter(|to| self.links.get(*to) == Some(&number))
        {
            self.links.remove(to);
        }
        self.relate(number, &log.path, false);
        let scan = self.scans;
        if let (Some(watching), Some(dir)) = (&mut self.watching, log.path.parent()) {
            watching.count(dir, scan, false);
            if let Some(dir) = log.leads_to.as_deref().and_then(Path::parent) {
                watching.count(dir, scan, false);
            }
            watching.forget(number);
        }
        self.retired.add(&log.counters.get());
    }
}

/// The facts about earlier runs that decide where a file starts that no checkpoint knows.
pub(super) struct Past<'a> {
    /// Nothing was looked for before, by this process.
    pub is_first_scan: bool,
    /// Patterns of earlier runs: a file that they cover and that no checkpoint knows is new.
    pub watched_before: &'a [PathBuf],
    /// When the Python agent wrote the checkpoints that were taken over, seconds since the epoch.
    pub restored_from_python: Option<f64>,
    /// Seconds.
    pub clock_slack: f64,
}

impl Past<'_> {
    /// Where a file begins that no checkpoint knows, and as what the part before counts.
    pub fn start(&self, path: &Path, entry: &Entry, file: &Listed) -> Start {
        let size = file.stat.length;
        let end = |why| Start::At(zeros::end_of_text(path, size), Some(why));
        if let Some(after) = entry.stale_after {
            let age = identity::stat(path).map(|meta| now_secs() - identity::mtime(&meta));
            if age.is_ok_and(|age| age > after) {
                return end(Skip::OldFile);
            }
        }
        if entry.copy_from_start || !self.is_first_scan {
            return Start::Begin;
        }
        if let Some(offset) = entry.start_offset {
            return Start::At(offset.min(size), Some(Skip::BeforeStart));
        }
        let mut before = self.watched_before.iter();
        if before.any(|watched| *watched == entry.pattern || watched == path) {
            // Was looked for all along, so it came while the agent was away
            return Start::Begin;
        }
        if let Some(time) = self.restored_from_python {
            // The Python agent does not write down what it looked for
            let birth = file.stat.birth.map(|birth| birth.0.get() as f64 / 1e9);
            if birth.is_some_and(|birth| birth >= time - self.clock_slack) {
                return Start::Begin;
            }
        }
        end(Skip::BeforeStart)
    }
}

/// Which of `count` sessions a path falls to: all names that a rotation gives to a file to one.
pub(super) fn share_of(path: &Path, count: u64) -> u64 {
    use std::os::unix::ffi::OsStrExt;
    match count {
        0 | 1 => 0,
        _ => identity::hash(&super::names::family(path.as_os_str().as_bytes())) % count,
    }
}

/// A literal entry for a path that an earlier entry already follows adds what that one lacks, as in
/// the Python agent.
pub(super) fn add_attributes(log: &mut Log, entry: &Entry) {
    let missing: Vec<_> = entry
        .attributes
        .iter()
        .filter(|(key, _)| !log.entry.attributes.iter().any(|(have, _)| have == key))
        .cloned()
        .collect();
    if missing.is_empty() {
        return;
    }
    let mut merged = Entry::new(log.entry.pattern.clone());
    merged.exclude = log.entry.exclude.clone();
    merged.pipeline = log.entry.pipeline.clone();
    merged.rename = log.entry.rename.clone();
    merged.copy_from_start = log.entry.copy_from_start;
    merged.follow_foreign_links = log.entry.follow_foreign_links;
    merged.stale_after = log.entry.stale_after;
    merged.minimum_scan_interval = log.entry.minimum_scan_interval;
    merged.attributes = log.entry.attributes.clone();
    merged.attributes.extend(missing);
    log.relabel(Arc::new(merged));
}
