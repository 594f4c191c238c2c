//! Taking up what checkpoints remember: which content each remembered position belongs to now.

use super::checkpoint::{Saved, SavedGeneration, SavedLog};
use super::counters::Skip;
use super::discover::{birth, first_seen, CLOCK_TICK};
use super::fence::is_left_out;
use super::generation::{Generation, Sequence, State};
use super::glob;
use super::identity::{self, FileId, Signature};
use super::log::Log;
use super::replaced::what_took_its_place;
use super::settings::Entry;
use super::siblings;
use super::tailer::Tailer;
use super::unseen::Unseen;
use crate::util::sort;
use crate::util::time::now_secs;
use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// How long files that no entry names are remembered, in seconds.
const ORPHANS_FOR: f64 = 30.0 * 86_400.0;

impl Tailer {
    /// Takes up what checkpoints remember of the files that the configuration still names.
    pub(super) fn restore(&mut self, saved: Option<&Saved>, now: Instant) {
        let Some(saved) = saved else {
            log::info!(
                "No checkpoints were found. All logs will be copied starting at their current end"
            );
            return;
        };
        let age = now_secs() - saved.time;
        if self
            .settings
            .max_checkpoint_age
            .is_some_and(|most| age > most)
        {
            log::warn!(
                "[error=\"staleCheckpointFile\"] The checkpoints are {age:.0} s old, which is more than \
                 max_allowed_checkpoint_age allows; logs are copied from their current end"
            );
            return;
        }
        if saved.watched.is_none() {
            self.restored_from_python = Some(saved.time);
        }
        self.watched_before = saved.watched.clone().unwrap_or_default();
        let mut found = Vec::new();
        let mine = self.settings.worker.clone();
        self.remembered = RememberedFiles::of(saved, |path| self.is_mine(path));
        for ((worker, path), log) in &saved.logs {
            // An entry that names no worker is for all that have nothing of their own
            let own = (mine.clone(), path.clone());
            if *worker != mine && (!worker.is_empty() || saved.logs.contains_key(&own)) {
                continue;
            }
            use std::os::unix::ffi::OsStrExt;
            let bytes = path.as_os_str().as_bytes();
            if self
                .settings
                .ignore_checkpoints
                .iter()
                .any(|p| glob::crosses(p, bytes))
            {
                self.watched_before.push(path.clone());
                continue;
            }
            match self.entry_for(path) {
                Some(_) if !self.is_mine(path) => {}
                // Its positions wait until it can be looked at
                Some(_) if is_left_out(path) => self.orphans.push((path.clone(), log.clone())),
                Some(entry) if log.attributes.is_empty() => {
                    found.push(self.restore_log(path.clone(), entry, log, now));
                }
                Some(entry) => {
                    // A monitor had named it: what waits to be sent keeps those attributes
                    let mut named = Entry::clone(&entry);
                    named.attributes.clone_from(&log.attributes);
                    named.named = true;
                    let restored = self.restore_log(path.clone(), Arc::new(named), log, now);
                    if let Some(log) = self.logs.get_mut(&restored.number) {
                        log.left = true;
                        self.leaving = true;
                    }
                    found.push(restored);
                }
                // A monitor may name it again
                None if self.is_mine(path) && now_secs() - log.time < ORPHANS_FOR => {
                    self.orphans.push((path.clone(), log.clone()))
                }
                None => {}
            }
        }
        // The rest is new; only now is known what belongs to another log
        for log in found {
            let number = log.number;
            self.restore_rest(log, now);
            self.remember_beside(number);
        }
    }

    pub(super) fn restore_log<'a>(
        &mut self,
        path: PathBuf,
        entry: Arc<Entry>,
        saved: &'a SavedLog,
        now: Instant,
    ) -> Restored<'a> {
        let mut log = Log::new(path.clone(), entry, now);
        log.started = true;
        log.last_check = Some(now_secs());
        let number = log.number;
        self.logs.insert(number, log);
        self.by_path.insert(path.clone(), number);
        let is_known = |id: FileId| saved.generations.iter().any(|g| g.id.ino == id.ino);
        let shown = self.open_shown(number, is_known);
        let mut last_sibling: Option<PathBuf> = None;
        let mut current = false;
        for old in &saved.generations {
            let found = shown
                .as_ref()
                .filter(|(file, meta)| !current && is_same(old, saved.time, &path, file, meta))
                .map(|(_, meta)| (path.clone(), meta.clone(), State::Current, false))
                .or_else(|| self.find_saved(number, old, saved.time, now));
            let took_its_place = match &found {
                Some((_, meta, ..)) if meta.ino() == old.id.ino => None,
                _ => self.what_took_its_place(number, old, now),
            };
            match found {
                Some((at, meta, state, gz)) => {
                    current |= state == State::Current;
                    if state != State::Current {
                        last_sibling = Some(at.clone());
                    }
                    self.adopt(number, revive(old, at, &meta, state, gz), None);
                }
                None => {
                    self.count_lost(number, old);
                    // It may come back: a volume that is mounted later, a lack of permission
                    let mut g = Generation::new(
                        path.clone(),
                        old.id,
                        old.committed,
                        old.committed,
                        State::Gone(now),
                    );
                    g.signature = old.signature;
                    g.birth = old.birth;
                    g.mark = old.mark;
                    g.committed_mark = old.mark;
                    if let Some((id, n)) = &old.sequence {
                        g.sequence = Sequence::restored(id, n.wrapping_sub(old.committed));
                        g.committed_sequence = g.sequence.clone();
                    }
                    if siblings::find_id(&path, old.id, true).is_some() {
                        // The file that has its inode now is something else
                        g.id = FileId { dev: 0, ino: 0 };
                    }
                    // Its inode may be another file's by now, which is found under another log
                    let owner = self.owned.get(&g.id).copied();
                    let id = g.id;
                    self.adopt(number, g, None);
                    if let Some(owner) = owner {
                        self.owned.insert(id, owner);
                    }
                }
            }
            if let Some(fresh) = took_its_place {
                self.adopt(number, fresh, None);
            }
        }
        self.make_ready(number);
        self.plan(number, now, Some(now));
        self.hold(number);
        Restored {
            number,
            saved,
            current,
            last_sibling,
        }
    }

    /// The file that held a remembered content may hold another one by now, and have been rotated
    /// away with it.
    fn what_took_its_place(
        &self,
        number: u64,
        old: &SavedGeneration,
        now: Instant,
    ) -> Option<Generation> {
        let log = self.logs.get(&number)?;
        let path = &log.path;
        let there = siblings::find_id(path, old.id, true)
            .filter(|at| at != path && self.may_be_rotated(log, at))?;
        let (file, meta) = identity::open(&there).ok()?;
        let same_file = match (old.birth, birth(&there, &meta)) {
            (Some(then), Some(now)) => identity::same_birth(then, now),
            // Of a file system that does not know when files were created
            (None, None) => siblings::siblings(path).iter().any(|s| s.path == there),
            // The remembered content was compressed, and its inode may be any file's by now
            _ => false,
        };
        let is_new = same_file && !self.is_owned(FileId::of(&meta), birth(&there, &meta));
        let mut fresh = what_took_its_place(there, file, now).filter(|_| is_new)?;
        // Opened again when it has its turn
        fresh.source = None;
        Some(fresh)
    }

    /// Adds the contents that came to a remembered log since its checkpoint.
    pub(super) fn restore_rest(&mut self, restored: Restored, now: Instant) {
        let Restored {
            number,
            saved,
            current,
            last_sibling,
        } = restored;
        let Some(path) = self.logs.get(&number).map(|log| log.path.clone()) else {
            return;
        };
        // The checkpoint may be later than the last time that the content was read
        let verified = saved.generations.last().and_then(|old| old.verified);
        let since_look = verified.map_or(saved.time, |time| time.min(saved.time));
        if current {
            let empty = |old: &SavedGeneration| old.size == 0 && old.signature.len == 0;
            if saved.generations.last().is_some_and(empty) {
                // Its text since then may have been copied and truncated. A copy made before is
                // older than the checkpoint, and was read
                let shown = identity::open(&path).ok().map(|(file, _)| file);
                let unseen = Unseen {
                    since: since_look + self.settings.clock_slack - CLOCK_TICK,
                    old: None,
                    old_was_empty: true,
                    old_at: last_sibling.as_deref(),
                    beside: shown.as_ref(),
                };
                self.adopt_unseen(number, unseen, now);
                self.make_ready(number);
            }
            return;
        }
        let old = saved.generations.last();
        let unseen = Unseen {
            since: since_look,
            old: old.map(|old| (old.signature, old.committed, old.mark)),
            old_was_empty: old.is_some_and(|old| old.signature.len == 0 && old.size == 0),
            old_at: last_sibling.as_deref(),
            beside: None,
        };
        self.adopt_unseen(number, unseen, now);
        // Whatever the path shows now was not there before: all of it is new, unless it is
        // what another log had
        let shown = self.shown_now(number, |_| false);
        if let Some(meta) = shown.ok().filter(Metadata::is_file) {
            let id = FileId::of(&meta);
            if self.moved_from(id, &path, number).is_none() {
                let fresh = first_seen(&path, &meta, 0);
                self.adopt(number, fresh, None);
                self.hold(number);
            }
        }
        self.make_ready(number);
    }

    /// A remembered content that the log's path does not show: under the name that a rotation gave
    /// it, or in a copy that was made before a truncation, or compressed.
    fn find_saved(
        &self,
        number: u64,
        old: &SavedGeneration,
        time: f64,
        now: Instant,
    ) -> Option<(PathBuf, Metadata, State, bool)> {
        let follows = self.logs.get(&number)?;
        let log = follows.path.as_path();
        let rotated = State::Rotated(now);
        // An inode alone may be any file's by now. The Python agent writes down no more, but its
        // position says that the file has text
        let is_told = |at: &PathBuf| {
            let has_text = old.signature.len > 0 || old.committed > 0;
            at != log && (has_text || siblings::scheme_of(log, at).is_some())
        };
        if let Some(path) = siblings::find_id(log, old.id, true).filter(is_told) {
            if let Ok((file, meta)) = identity::open(&path) {
                if is_same(old, time, &path, &file, &meta) {
                    return Some((path, meta, rotated, false));
                }
            }
        }
        let mut all = siblings::siblings(log);
        all.extend(siblings::siblings_below(log));
        let mut all = all.into_iter().filter(|s| self.may_hold_copy(follows, s));
        let copy = if old.signature.len > 0 {
            all.find(|s| siblings::holds(s, old.signature, old.committed, old.mark))?
        } else {
            // The Python agent's checkpoint says nothing of the content. What was made since by
            // copying it (the log still has the inode) or compressing it, and has the end of a line
            // where that was settled, is taken for it; of several the one that was rotated first
            let truncated = identity::stat(log).is_ok_and(|m| m.ino() == old.id.ino);
            all.filter(|s| (s.gz || truncated) && s.birth.unwrap_or(s.mtime) > time)
                .filter(|s| siblings::has_line_end(s, old.committed))
                .reduce(|a, b| match b.rotated_before(&a) {
                    Some(true) => b,
                    _ => a,
                })?
        };
        let meta = identity::stat(&copy.path).ok()?;
        Some((copy.path, meta, rotated, copy.gz))
    }

    fn count_lost(&mut self, number: u64, old: &SavedGeneration) {
        let bytes = old.size.saturating_sub(old.committed);
        let Some(log) = self.logs.get_mut(&number) else {
            return;
        };
        if bytes > 0 {
            log.counters.skip(Skip::Vanished, bytes);
            log::warn!(
                "{} was rotated away or deleted while the agent was not running, and what it held (inode {}) is \
                 nowhere in its directory: at least {bytes} bytes that were not sent yet are lost",
                log.path.display(),
                old.id.ino
            );
        }
    }
}

/// The files that checkpoints remember, of all logs and sessions: none of them is new, whichever log
/// is taken up first. 40 bytes each, for the time of the start.
#[derive(Debug, Default)]
pub(super) struct RememberedFiles(Vec<RememberedFile>);

#[derive(Debug)]
struct RememberedFile {
    ino: u64,
    birth: Option<f64>,
    /// A hash of the path of its log.
    log: u64,
    /// The log falls to this session.
    is_mine: bool,
}

impl RememberedFiles {
    fn of(saved: &Saved, is_mine: impl Fn(&Path) -> bool) -> Self {
        let count = saved.logs.values().map(|log| log.generations.len()).sum();
        let mut all = Vec::with_capacity(count);
        for ((_, path), log) in &saved.logs {
            let (path, is_mine) = (hash_of(path), is_mine(path));
            all.extend(log.generations.iter().map(|old| RememberedFile {
                ino: old.id.ino,
                birth: old.birth,
                log: path,
                is_mine,
            }));
        }
        sort::by(&mut all, |a, b| a.ino.cmp(&b.ino));
        RememberedFiles(all)
    }

    fn with_ino(&self, ino: u64) -> impl Iterator<Item = &RememberedFile> {
        let begin = self.0.partition_point(|file| file.ino < ino);
        self.0[begin..]
            .iter()
            .take_while(move |file| file.ino == ino)
    }

    /// Whether another log than `log` had the file with this inode and creation.
    pub fn of_another(&self, log: &Path, ino: u64, birth: Option<f64>) -> bool {
        let log = hash_of(log);
        let same_age = |then: Option<f64>| {
            let both = then.zip(birth);
            both.is_none_or(|(then, now)| identity::same_birth(then, now))
        };
        let mut all = self.with_ino(ino);
        all.any(|file| file.log != log && same_age(file.birth))
    }

    /// Whether a log of another session surely had the file.
    pub fn of_another_session(&self, ino: u64, birth: Option<f64>) -> bool {
        let mut all = self.with_ino(ino);
        all.any(|file| {
            let both = file.birth.zip(birth);
            !file.is_mine && both.is_some_and(|(then, now)| identity::same_birth(then, now))
        })
    }
}

fn hash_of(path: &Path) -> u64 {
    identity::hash(path.as_os_str().as_encoded_bytes())
}

/// A log whose remembered contents have been taken up.
pub(super) struct Restored<'a> {
    number: u64,
    saved: &'a SavedLog,
    current: bool,
    last_sibling: Option<PathBuf>,
}

/// Whether an open file is the content that a checkpoint remembers
/// that was written at `time`.
fn is_same(old: &SavedGeneration, time: f64, path: &Path, file: &File, meta: &Metadata) -> bool {
    let id = FileId::of(meta);
    if id.ino != old.id.ino || meta.len() < old.committed {
        return false;
    }
    // Device numbers may change with a reboot; then the content must speak for itself.
    if old.id.dev != 0 && old.id.dev != id.dev && old.signature.len == 0 {
        return false;
    }
    if let (Some(then), Some(now)) = (old.birth, birth(path, meta)) {
        if !identity::same_birth(then, now) {
            return false; // the inode was reused
        }
    }
    // The Python agent writes down no more than the inode; a file that is younger than its
    // checkpoint reuses that
    if old.signature.len == 0
        && old.birth.is_none()
        && birth(path, meta).is_some_and(|birth| birth > time)
    {
        return false;
    }
    identity::head(file).is_ok_and(|head| old.signature.agrees(&head))
        && match old.mark {
            None => true,
            Some(mark) => identity::mark_at(file, old.committed).is_ok_and(|m| m == Some(mark)),
        }
}

fn revive(
    old: &SavedGeneration,
    at: PathBuf,
    meta: &Metadata,
    state: State,
    gz: bool,
) -> Generation {
    let mut g = Generation::new(at, FileId::of(meta), old.committed, meta.len(), state);
    g.signature = old.signature;
    if old.signature.len == 0 && old.committed == 0 && !gz {
        // It was empty; from here on it is told apart from what comes after it
        if let Ok((file, _)) = identity::open(&g.path) {
            g.signature = identity::head(&file).map_or(g.signature, |head| Signature::of(&head));
        }
    }
    g.birth = birth(&g.path, meta);
    g.mtime = siblings::mtime(meta);
    g.gz = gz;
    g.mark = old.mark;
    g.committed_mark = old.mark;
    if gz {
        g.size = old.committed + 1; // shows when it is read
    }
    if let Some((id, number)) = &old.sequence {
        g.sequence = Sequence::restored(id, number.wrapping_sub(old.committed));
        g.committed_sequence = g.sequence.clone();
    }
    g
}
