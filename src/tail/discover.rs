//! Finding files: what patterns match, and where each file begins.

use super::counters::Skip;
use super::generation::{is_gone, Generation, State};
use super::glob;
use super::identity::{self, FileId, Signature};
use super::log::Log;
use super::replaced::holds_still;
use super::settings::Entry;
use super::siblings::{self, Sibling};
use super::tailer::Tailer;
use crate::util::sort;
use crate::util::time::now_secs;
use std::fs::{self, File, Metadata};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// As [`Settings::clock_slack`](super::settings::Settings::clock_slack) where only what came after
/// our last look may count, in seconds: a local file system's clock has a tick of some milliseconds.
pub(super) const CLOCK_TICK: f64 = 0.02;

/// What is known of a content: its signature, and up to where it was read with the mark there.
pub(super) type Known = (Signature, u64, Option<u64>);

/// Which contents came and went unseen; see [`Tailer::adopt_unseen`].
#[derive(Default)]
pub(super) struct Unseen<'a> {
    /// Those created after this time, seconds since the epoch.
    pub since: f64,
    /// The content before them, whose copies they must not be.
    pub old: Option<Known>,
    /// It was empty at the last look: of such a file is not known what it held before it came to
    /// hold what it does now.
    pub old_was_empty: bool,
    /// Where that content is now.
    pub old_at: Option<&'a Path>,
    /// What the path shows, which has not been read: its copy is none of them.
    pub beside: Option<&'a File>,
}

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
        let same = log
            .generations
            .iter()
            .find(|g| g.id == id)
            .is_some_and(|g| {
                identity::open(path).is_ok_and(|(file, meta)| {
                    FileId::of(&meta) == id
                        && (g.source.is_some() || born_then(g.birth, path, &meta))
                        && (g.gz
                            || meta.len() >= g.read
                                && identity::head(&file)
                                    .is_ok_and(|head| g.signature.agrees(&head))
                                && g.mark.is_none_or(|m| {
                                    identity::mark_at(&file, g.read).is_ok_and(|at| at == Some(m))
                                }))
                })
            });
        let elsewhere = fs::metadata(&log.path).is_ok_and(|m| FileId::of(&m) == id);
        if !same {
            if !elsewhere {
                self.disown(id, owner);
            }
            return None;
        }
        (!elsewhere).then_some(owner)
    }

    /// Adds contents that came and went between two looks at a log: rotated files that were created
    /// since then and that nobody has read.
    pub(super) fn adopt_unseen(&mut self, number: u64, unseen: Unseen, now: Instant) {
        let Unseen {
            since,
            old,
            old_was_empty,
            old_at,
            beside,
        } = unseen;
        let Some(log) = self.logs.get(&number) else {
            return;
        };
        let path = log.path.clone();
        let shown = fs::metadata(&path).ok().map(|m| FileId::of(&m));
        let all = siblings::siblings(&path);
        let before: Option<Sibling> =
            old_at.and_then(|at| all.iter().find(|s| s.path == at).cloned());
        let since = since - self.settings.clock_slack;
        let mut unseen: Vec<Sibling> = all
            .into_iter()
            .filter(|s| !self.is_owned(s.id, s.birth) && Some(s.id) != shown)
            .filter(|s| old_at != Some(s.path.as_path()))
            // A name that another entry is about is not this log's
            .filter(|s| {
                self.entry_for(&s.path)
                    .is_none_or(|e| e.pattern == log.entry.pattern)
            })
            .filter(|s| {
                let after = before.as_ref().and_then(|b| b.rotated_before(s));
                let after = after.filter(|_| !old_was_empty);
                match (s.gz, s.birth) {
                    // A compressed file is always younger than what it holds: its name tells, or
                    // when that was written
                    (true, _) => {
                        let late = || siblings::gz_written(s).is_some_and(|t| t + 1.0 > since);
                        after == Some(true) || after != Some(false) && late()
                    }
                    (false, Some(birth)) => birth >= since && after != Some(false),
                    (false, None) => s.mtime >= since && after == Some(true),
                }
            })
            .filter(|s| {
                // Copies matter of what is not where it was itself: else a common first line
                // would be enough to be taken for one
                let is_copy = |(signature, at, mark)| siblings::holds(s, signature, at, mark);
                let is_there = |g: &Generation| {
                    g.id.ino != 0
                        && fs::metadata(&g.path).is_ok_and(|m| FileId::of(&m) == g.id)
                        && holds_still(g)
                };
                let of_old = old_at.is_none() && old.is_some_and(is_copy);
                let of_known =
                    |g: &Generation| !is_there(g) && is_copy((g.signature, g.read, g.mark));
                !of_old && !log.generations.iter().any(of_known)
            })
            .filter(|s| !beside.is_some_and(|shown| siblings::is_beginning_of(s, shown)))
            .collect();
        sort::by(&mut unseen, |a, b| match a.rotated_before(b) {
            Some(true) => std::cmp::Ordering::Less,
            Some(false) => std::cmp::Ordering::Greater,
            None => a.mtime.total_cmp(&b.mtime),
        });
        for sibling in unseen {
            log::info!(
                "{} was rotated more than once since the last look; {} is copied from its start",
                path.display(),
                sibling.path.display()
            );
            let state = State::Rotated(now);
            let mut generation =
                Generation::new(sibling.path.clone(), sibling.id, 0, sibling.size, state);
            generation.birth = sibling.birth;
            if let Ok((file, _)) = identity::open(&sibling.path) {
                // It may be compressed before it has its turn
                let head = identity::head(&file).unwrap_or_default();
                generation.signature = Signature::of(&head);
            }
            if sibling.gz {
                generation.take_copy(&sibling);
                generation.signature = gz_signature(&sibling.path);
            }
            let earlier = before.as_ref().and_then(|b| b.rotated_before(&sibling)) == Some(false);
            let at = self.logs.get(&number).map(|log| {
                let mut all = log.generations.iter();
                let old = all.position(|g| earlier && Some(g.path.as_path()) == old_at);
                old.unwrap_or_else(|| {
                    let rotated = |g: &&Generation| g.state != State::Current;
                    log.generations.iter().filter(rotated).count()
                })
            });
            self.adopt(number, generation, at);
        }
    }

    /// Looks for files that match and are not followed yet.
    pub(super) fn scan(&mut self, now: Instant) {
        self.scans += 1;
        let first = self.scans == 1;
        for at in 0..self.entries.len() {
            let entry = self.entries[at].clone();
            if entry.is_glob {
                for path in glob::expand(&entry.pattern) {
                    self.matched(path, &entry, first, now);
                }
            } else {
                self.matched(entry.pattern.clone(), &entry, first, now);
            }
        }
        self.last_scan = Some(now_secs());
        self.scanned_at = now;
        self.next_scan = now
            + self
                .settings
                .new_log_detection
                .max(Duration::from_millis(100));
        self.retire_logs();
        if first {
            let patterns: Vec<PathBuf> = self.entries.iter().map(|e| e.pattern.clone()).collect();
            self.watched_before = patterns;
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
            if let Some((id, owner)) = foreign {
                self.seen_as(owner, id, None);
            }
            return;
        }
        let meta = match fs::metadata(&path) {
            Ok(meta) if meta.is_dir() => return,
            Ok(meta) if !meta.is_file() => {
                return self.unreadable(
                    &path,
                    "it is a FIFO, socket or device; these are never opened".into(),
                );
            }
            Ok(meta) => meta,
            Err(e) if is_gone(&e) => {
                if !entry.is_glob {
                    self.follow(path, entry, None, now);
                }
                return;
            }
            Err(e) => return self.unreadable(&path, e.to_string()),
        };
        let id = FileId::of(&meta);
        // A file that a log had under another name: it moved here, its log finishes it.
        if let Some(owner) = self.moved_from(id, &path, 0) {
            self.seen_as(owner, id, Some(path));
            return;
        }
        if !first && self.is_copy_in_the_making(&path, now) {
            return;
        }
        if let Err(e) = identity::open(&path) {
            return self.unreadable(&path, e.to_string());
        }
        if self.unreadable.remove(&path).is_some() {
            log::info!("{} can be read now", path.display());
        }
        self.follow(path, entry, Some((meta, first)), now);
    }

    /// Whether a new file is the copy that a rotation makes of a followed log before it truncates
    /// it. What is in it is that log's, so it is left alone until its content is its own.
    pub(super) fn is_copy_in_the_making(&mut self, path: &Path, now: Instant) -> bool {
        let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
            return false;
        };
        let originals = siblings::originals(name).into_iter();
        let followed = |name| self.by_path.get(&dir.join(name)).copied();
        let Some(number) = originals.filter_map(followed).next() else {
            return false;
        };
        // The truncation may have happened since the last look
        self.look(number, now);
        let Ok((file, meta)) = identity::open(path) else {
            return false;
        };
        let Ok(head) = identity::head(&file) else {
            return false;
        };
        self.is_owned(FileId::of(&meta), birth(path, &meta))
            || self.logs.get(&number).is_some_and(|log| {
                log.generations.iter().any(|g| {
                    g.signature.len > 0 && (g.signature.agrees(&head) || is_beginning(g, &head))
                })
            })
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

    fn unreadable(&mut self, path: &Path, why: String) {
        if self.unreadable.get(path) != Some(&why) {
            log::warn!(
                "{} matches the configuration but is not copied: {why}",
                path.display()
            );
            if self.unreadable.len() < 10_000 {
                self.unreadable.insert(path.to_path_buf(), why);
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
    ) {
        let mut log = Log::new(path.clone(), entry.clone(), now);
        log.seen_in_scan = self.scans;
        log.last_check = Some(now_secs());
        let number = log.number;
        self.logs.insert(number, log);
        self.by_path.insert(path.clone(), number);
        if let Some((meta, first)) = shown {
            let (start, why) = self.start(&path, entry, &meta, first);
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
        self.plan(number, now, None);
    }

    /// Where a file begins that no checkpoint knows (copying.md §5, with C1 to C3 put right), and as
    /// what the part before counts.
    fn start(
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
        _ => identity::hash(&siblings::family(path.as_os_str().as_bytes())) % count,
    }
}

/// Whether a short file is the beginning of a generation's content: a copy that is being written.
fn is_beginning(g: &Generation, head: &[u8]) -> bool {
    (head.len() as u32) < g.signature.len
        && match &g.source {
            Some(super::generation::Source::Plain(file)) => {
                identity::head(file).is_ok_and(|whole| whole.starts_with(head))
            }
            _ => identity::open(&g.path)
                .and_then(|(file, _)| identity::head(&file))
                .is_ok_and(|whole| whole.starts_with(head)),
        }
}

/// Whether a file is as old as one that is remembered, as far as that is known: an inode may be used
/// again by another file.
pub(super) fn born_then(then: Option<f64>, path: &Path, meta: &Metadata) -> bool {
    let then = then.and_then(|then| Some((then, birth(path, meta)?)));
    then.is_none_or(|(then, now)| (then - now).abs() < 0.001)
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

fn gz_signature(path: &Path) -> Signature {
    let mut head = vec![0; Signature::MOST];
    identity::open(path)
        .and_then(|(file, _)| super::gz::GzFile::new(file))
        .and_then(|mut gz| gz.read_at(&mut head, 0))
        .map(|n| Signature::of(&head[..n]))
        .unwrap_or_default()
}

/// A literal entry for a path that an earlier entry already follows adds what that one lacks
/// (copying.md §2.2).
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
    merged.stale_after = log.entry.stale_after;
    merged.minimum_scan_interval = log.entry.minimum_scan_interval;
    merged.attributes = log.entry.attributes.clone();
    merged.attributes.extend(missing);
    log.relabel(Arc::new(merged));
}
