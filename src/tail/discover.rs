//! Finding files: what patterns match, and where each file begins.

use super::compressed::{self, Kind};
use super::copies::Copy;
use super::counters::Skip;
use super::fence::is_left_out;
use super::generation::{is_gone, Generation, State};
use super::identity::{self, FileId, Signature};
use super::log::Log;
use super::restore::RememberedFiles;
use super::settings::Entry;
use super::siblings;
use super::tailer::Tailer;
use super::zeros;
use crate::util::time::now_secs;
use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// As [`Settings::clock_slack`](super::settings::Settings::clock_slack) where only what came after
/// our last look may count, in seconds: a local file system's clock has a tick of some milliseconds.
pub(super) const CLOCK_TICK: f64 = 0.02;

/// A known content: its signature, and up to where it was read with the mark there.
pub(super) type Known = (Signature, u64, Option<u64>);

impl Tailer {
    pub(super) fn entry_for(&self, path: &Path) -> Option<Arc<Entry>> {
        self.entries.iter().find(|e| e.covers(path)).cloned()
    }

    /// The other log that the content at `path` belongs to, if it was moved there and is no second
    /// name of it. An inode alone proves nothing: it may have been reused.
    pub(super) fn moved_from(&mut self, id: FileId, path: &Path, not: u64) -> Option<u64> {
        let owner = *self.owned.get(&id)?;
        if owner == not {
            return None;
        }
        let log = self.logs.get(&owner)?;
        let shown = identity::open(path).ok();
        let is_it = |g: &Generation| {
            let shown = shown.as_ref().filter(|(_, meta)| FileId::of(meta) == id);
            shown.is_some_and(|(file, meta)| {
                (g.source.is_some() || born_then(g.birth, path, meta))
                    && (g.gz
                        || g.signature.len == 0
                        || siblings::file_holds(file, meta, g.signature, g.read, g.mark))
            })
        };
        let mut all = log.generations.iter();
        let same = all.any(|g| g.id == id && is_it(g));
        let elsewhere = identity::stat(&log.path).is_ok_and(|m| FileId::of(&m) == id);
        if !same {
            if !elsewhere {
                self.disown(id, owner);
            }
            return None;
        }
        (!elsewhere).then_some(owner)
    }

    /// Looks for files that match and are not followed yet.
    pub(super) fn scan(&mut self, now: Instant) {
        self.scans += 1;
        let first = self.scans == 1;
        for at in 0..self.entries.len() {
            let entry = self.entries[at].clone();
            if entry.is_glob {
                self.expand(&entry, first, now);
            } else {
                self.matched(entry.pattern.clone(), &entry, first, now);
            }
        }
        self.forget_unreadable();
        self.last_scan = Some(now_secs());
        self.scanned_at = now;
        self.next_scan = now
            + self
                .settings
                .new_log_detection
                .max(Duration::from_millis(100));
        self.retire_logs();
        if first {
            self.remembered = RememberedFiles::default();
            // A log that is left out and that no checkpoint knows is not new when it can be looked at
            let patterns = self.entries.iter().map(|e| e.pattern.clone());
            self.watched_before = patterns.filter(|path| !is_left_out(path)).collect();
        }
    }

    /// Whether the path falls to this session, of those that share its worker's files.
    pub(super) fn is_mine(&self, path: &Path) -> bool {
        let (index, count) = self.settings.share;
        share_of(path, count) == index
    }

    pub(super) fn matched(&mut self, path: PathBuf, entry: &Arc<Entry>, first: bool, now: Instant) {
        if !self.is_mine(&path) || entry.excludes(&path) {
            return;
        }
        let scan = self.scans;
        if let Some(log) = self.by_path.get(&path).and_then(|n| self.logs.get_mut(n)) {
            log.seen_in_scan = scan;
            let foreign = log.foreign;
            if !entry.is_glob && !Arc::ptr_eq(&log.entry, entry) {
                add_attributes(log, entry);
            }
            if let Some(foreign) = foreign {
                self.seen_as(foreign.owner, foreign.id, None);
            }
            return;
        }
        let meta = match identity::stat(&path) {
            Ok(meta) if meta.is_dir() => return,
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
                    self.follow(path, entry, None, now);
                }
                return;
            }
            Err(e) => return self.unreadable(&path, entry, e.to_string()),
        };
        let id = FileId::of(&meta);
        // A file that a log had under another name: it moved here, its log finishes it.
        if let Some(owner) = self.moved_from(id, &path, 0) {
            self.seen_as(owner, id, Some(path));
            return;
        }
        if self.is_elsewhere(id, birth(&path, &meta), first, now) {
            return;
        }
        // At the first scan only what checkpoints remember has a content to be the copy of
        let (meta, repeated) = match self.copy_in_the_making(&path, entry, first, now) {
            Copy::No => (meta, 0),
            // If it was one after all, what it held until now is sent twice
            Copy::Own(found) => (*found, meta.len()),
            Copy::Waits | Copy::Known => return,
        };
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
        let number = self.follow(path, entry, Some((meta, first)), now);
        if let Some(log) = self.logs.get_mut(&number) {
            log.counters.repeated += repeated;
        }
    }

    /// Whether another session has a file, or will have: at the first scan the others may not have
    /// taken up yet what checkpoints remember of them.
    pub(super) fn is_elsewhere(
        &self,
        id: FileId,
        birth: Option<f64>,
        first: bool,
        now: Instant,
    ) -> bool {
        let remembered = || self.remembered.of_another_session(id.ino, birth);
        self.is_held_elsewhere(id, birth, now) || first && remembered()
    }

    /// Some pattern still leads to this content of that log.
    pub(super) fn seen_as(&mut self, owner: u64, id: FileId, path: Option<PathBuf>) {
        let scan = self.scans;
        if let Some(log) = self.logs.get_mut(&owner) {
            if let Some(g) = log.generations.iter_mut().find(|g| g.id == id) {
                g.seen_in_scan = scan;
                g.path = path.unwrap_or_else(|| g.path.clone());
            }
        }
    }

    /// Follows a path from now on. `shown`: what it shows, and whether this is the first scan.
    fn follow(
        &mut self,
        path: PathBuf,
        entry: &Arc<Entry>,
        shown: Option<(Metadata, bool)>,
        now: Instant,
    ) -> u64 {
        let number = self.follow_nothing(&path, entry, now);
        if let Some((meta, first)) = shown {
            let (mut start, why) = self.start(&path, entry, &meta, first);
            if start == meta.len() {
                start = zeros::end_of_text(&path, start);
            }
            let generation = first_seen(&path, &meta, start);
            self.adopt(number, generation, None);
            if let Some(log) = self.logs.get_mut(&number) {
                if let Some(why) = why.filter(|_| start > 0) {
                    log.counters.skip(why, start);
                }
            }
            if start < meta.len() {
                self.make_ready(number);
            }
            self.hold(number);
        }
        self.remember_beside(number);
        self.plan(number, now, None);
        number
    }

    /// A log for this path that has no content yet.
    pub(super) fn follow_nothing(&mut self, path: &Path, entry: &Arc<Entry>, now: Instant) -> u64 {
        let mut log = Log::new(path.to_path_buf(), entry.clone(), now);
        log.seen_in_scan = self.scans;
        log.last_check = Some(now_secs());
        let number = log.number;
        self.logs.insert(number, log);
        self.by_path.insert(path.to_path_buf(), number);
        number
    }

    /// Where a file begins that no checkpoint knows, and as what the part before counts.
    pub(super) fn start(
        &self,
        path: &Path,
        entry: &Entry,
        meta: &Metadata,
        first: bool,
    ) -> (u64, Option<Skip>) {
        let size = meta.len();
        if let Some(after) = entry.stale_after {
            if now_secs() - siblings::mtime(meta) > after {
                return (size, Some(Skip::OldFile));
            }
        }
        if entry.copy_from_start || !first {
            return (0, None);
        }
        if let Some(offset) = entry.start_offset {
            return (offset.min(size), Some(Skip::BeforeStart));
        }
        if self.watched_before.contains(&entry.pattern)
            || self.watched_before.iter().any(|p| p == path)
        {
            // Was looked for all along, so it came while the agent was away
            return (0, None);
        }
        if let Some(time) = self.restored_from_python {
            // The Python agent does not write down what it looked for
            if birth(path, meta).is_some_and(|b| b >= time - self.settings.clock_slack) {
                return (0, None);
            }
        }
        (size, Some(Skip::BeforeStart))
    }
}

/// A generation for content that is seen for the first time, read from `start` on.
pub(super) fn first_seen(path: &Path, meta: &Metadata, start: u64) -> Generation {
    let mut generation = Generation::new(
        path.to_path_buf(),
        FileId::of(meta),
        start,
        meta.len(),
        State::Current,
    );
    generation.mtime = siblings::mtime(meta);
    generation.birth = birth(path, meta);
    if let Ok((file, opened)) = identity::open(path) {
        if FileId::of(&opened) == generation.id {
            if let Ok(head) = identity::head(&file) {
                generation.signature = Signature::of(&head);
            }
            if start > 0 {
                generation.mark = identity::mark_at(&file, start).ok().flatten();
                generation.committed_mark = generation.mark;
            }
        }
    }
    generation
}

/// Which of `count` sessions a path falls to: all names that a rotation gives to a file to one.
pub(super) fn share_of(path: &Path, count: u64) -> u64 {
    use std::os::unix::ffi::OsStrExt;
    match count {
        0 | 1 => 0,
        _ => identity::hash(&super::names::family(path.as_os_str().as_bytes())) % count,
    }
}

/// Whether a file is as old as one that is remembered, as far as that is known: an inode may be used
/// again by another file.
pub(super) fn born_then(then: Option<f64>, path: &Path, meta: &Metadata) -> bool {
    let then = then.and_then(|then| Some((then, birth(path, meta)?)));
    then.is_none_or(|(then, now)| identity::same_birth(then, now))
}

/// When a file was created, seconds since the epoch, where that is known.
pub(super) fn birth(path: &Path, meta: &Metadata) -> Option<f64> {
    match meta.created() {
        Ok(time) => time
            .duration_since(std::time::UNIX_EPOCH)
            .ok()
            .map(|d| d.as_secs_f64()),
        // The standard library has no statx on every platform
        Err(_) => {
            let real = fs::canonicalize(path).ok()?;
            crate::util::sys::birth_time(&real)
        }
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
