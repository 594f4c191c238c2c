//! Taking up what checkpoints remember. Which content each record belongs to now is for the ledger to
//! decide; here is what has to be known before that.

use super::counters::Skip;
use super::fence::is_left_out;
use super::glob;
use super::gz::GzFile;
use super::identity::{self, FileId};
use super::ledger::record::{Saved, SavedContent, SavedLog};
use super::ledger::{
    At, Birth, Bytes, Content, ContentKey, Evidence, Phase, Place, SequenceId, Stat, Trust,
};
use super::listing::{leads_to, listing};
use super::names;
use super::settings::Entry;
use super::source::{name_of, Source};
use super::tailer::Tailer;
use crate::util::random;
use crate::util::sort;
use crate::util::time::now_secs;
use std::collections::HashSet;
use std::fs::Metadata;
use std::io;
use std::os::unix::ffi::OsStrExt;
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
            let names = saved.logs.keys();
            let mine = names.filter(|(worker, path)| {
                (worker.is_empty() || *worker == self.settings.worker) && self.is_mine(path)
            });
            let mine: Vec<(String, PathBuf)> = mine.cloned().collect();
            self.gone.extend(mine);
            return;
        }
        if saved.watched.is_none() {
            self.restored_from_python = Some(saved.time);
        }
        let carried = std::mem::take(&mut self.watched_before);
        self.watched_before = saved.watched.clone().unwrap_or_default();
        for watched in carried {
            if !self.watched_before.contains(&watched) {
                self.watched_before.push(watched);
            }
        }
        // The process knows more of these than it has written down
        let orphans = self.orphans.iter().map(|(path, _)| path.clone());
        let known: HashSet<PathBuf> = orphans
            .chain(self.by_path.keys().map(|path| path.to_path_buf()))
            .collect();
        let mut found = Vec::new();
        let mine = self.settings.worker.clone();
        self.remembered = RememberedFiles::of(saved, |path| self.is_mine(path));
        for ((worker, path), log) in &saved.logs {
            // An entry that names no worker is for all that have nothing of their own
            let own = (mine.clone(), path.clone());
            if *worker != mine && (!worker.is_empty() || saved.logs.contains_key(&own))
                || known.contains(path)
            {
                continue;
            }
            let bytes = path.as_os_str().as_bytes();
            let mut ignored = self.settings.ignore_checkpoints.iter();
            if ignored.any(|p| glob::crosses(p, bytes)) {
                self.watched_before.push(path.clone());
                self.gone.push((worker.clone(), path.clone()));
                continue;
            }
            let unnamed = worker.is_empty().then(|| self.adopt(path, log));
            let log = unnamed.as_ref().unwrap_or(log);
            let has_listing = log.contents.iter().all(|content| content.stamp.is_some());
            match self.entry_for(path) {
                Some(_) if !self.is_mine(path) => {}
                // Its positions wait until it can be looked at
                Some(_) if is_left_out(path) => self.orphans.push((path.clone(), log.clone())),
                Some(entry) if log.attributes.is_empty() => {
                    found.push((self.restore_log(path, entry, log, now), has_listing));
                }
                Some(entry) => {
                    // A monitor had named it: what waits to be sent keeps those attributes
                    let mut named = Entry::clone(&entry);
                    named.attributes.clone_from(&log.attributes);
                    named.named = true;
                    let number = self.restore_log(path, Arc::new(named), log, now);
                    if let Some(log) = self.logs.get_mut(&number) {
                        log.left = true;
                        self.leaving = true;
                    }
                    found.push((number, has_listing));
                }
                // A monitor may name it again
                None if self.is_mine(path) && now_secs() - log.time < ORPHANS_FOR => {
                    self.orphans.push((path.clone(), log.clone()))
                }
                None if self.is_mine(path) => self.gone.push((worker.clone(), path.clone())),
                None => {}
            }
        }
        for (number, has_listing) in &found {
            // Of a family that has none, none is written down; older versions remembered no listings
            if *has_listing {
                let root = super::log::id_of(*number);
                self.ledger.take_up_listing(root, Default::default());
            }
        }
        for (path, remembered) in &saved.remembered {
            if let Some(number) = self
                .by_path
                .get(path.as_path())
                .filter(|_| !known.contains(path))
            {
                let root = super::log::id_of(*number);
                self.ledger.take_up_listing(root, remembered.clone());
            }
        }
        // Only now is known what belongs to another log
        for (number, _) in found {
            self.look_restored(number, now);
        }
    }

    /// The record of a log that named no worker, as this one's own: others may have one as well.
    fn adopt(&mut self, path: &Path, log: &SavedLog) -> SavedLog {
        let mut log = log.clone();
        for content in &mut log.contents {
            content.key = None;
        }
        if self.is_mine(path) {
            self.gone.push((String::new(), path.to_owned()));
        }
        log
    }

    /// Takes up a log's record; its number.
    pub(super) fn restore_log(
        &mut self,
        path: &Path,
        entry: Arc<Entry>,
        saved: &SavedLog,
        now: Instant,
    ) -> u64 {
        let number = self.follow_nothing(path, &entry, now);
        let mut lost = 0;
        for old in &saved.contents {
            let Some(log) = self.logs.get(&number) else {
                continue;
            };
            let mut fresh = || SequenceId(random::uuid4_bytes());
            let mut content = old.content(ContentKey(0), log.id(), &name_of(path), &mut fresh);
            if old.stamp.is_none() {
                let shown = self.shown(log).ok();
                lost += import(&mut content, old, path, shown.as_ref(), saved.time);
            }
            if let Place::Nowhere { since, .. } = &mut content.place {
                *since = self.moment(now);
            }
            // An imported one is another record by now
            let is_written = old.key.is_some() && old.stamp.is_some();
            self.ledger.take_up(content, is_written);
        }
        let Some(log) = self.logs.get_mut(&number) else {
            return number;
        };
        log.started = true;
        self.ledger.take_up_schemes(log.id(), &saved.schemes);
        if lost > 0 {
            log.counters.skip(Skip::Vanished, lost);
            log::warn!(
                "{} was rotated away or deleted while the agent was not running, and what it held is nowhere in its \
                 directory: at least {lost} bytes that were not sent yet are lost",
                path.display(),
            );
        }
        number
    }

    /// Looks at a log that was taken up, if no look at its family has seen it already.
    pub(super) fn look_restored(&mut self, number: u64, now: Instant) {
        let id = super::log::id_of(number);
        let is_open = |key: &ContentKey| {
            let content = self.ledger.get(*key);
            content.is_some_and(|content| content.trust == Trust::Restored)
        };
        let keys = self.ledger.of_log(id);
        if keys.is_empty() || keys.iter().any(is_open) {
            self.look_at_family(number, now);
        }
        self.make_ready(number);
        self.plan(number, now, Some(now));
    }
}

/// Makes a record of an older form fit for a decision: the Python agent, for one, writes down no more than inode
/// and position. Bytes that are lost.
fn import(
    content: &mut Content,
    old: &SavedContent,
    path: &Path,
    shown: Option<&Metadata>,
    time: f64,
) -> u64 {
    let Place::At(At { id, birth, .. }) = content.place.clone() else {
        return 0;
    };
    let is_it = |meta: &Metadata, at: &Path| {
        // Device numbers may change with a reboot
        if meta.ino() != id.ino || content.evidence.is_empty() && meta.len() < content.settled {
            return None;
        }
        let now = identity::birth(at, meta);
        let is_young = birth.is_none()
            && content.evidence.is_empty()
            && now.is_some_and(|now| now.0.get() as f64 / 1e9 > time);
        (!is_young && Birth::may_be_same(birth, now)).then_some(now)
    };
    let mut found =
        shown.and_then(|meta| Some((path.to_path_buf(), FileId::of(meta), is_it(meta, path)?)));
    for place in places(path) {
        let Some(dir) = place.parent().filter(|_| found.is_none()) else {
            continue;
        };
        let Ok(listing) = listing(dir) else { continue };
        let names = listing.with_ino(id.ino).map(|name| dir.join(name));
        let named = names.filter_map(|at| {
            let meta = identity::stat(&at).ok()?;
            let birth = is_it(&meta, &at)?;
            Some((at, FileId::of(&meta), birth))
        });
        found = named.into_iter().next();
    }
    if let Some((at, id, birth)) = found {
        if content.evidence.is_empty() {
            let evidence = identity::open(&at)
                .and_then(|(file, _)| Evidence::taken(content.settled, &mut &file));
            content.evidence = evidence.unwrap_or_default();
        }
        content.place = Place::At(At {
            name: name_of(&at),
            id,
            birth,
        });
        return 0;
    }
    if !content.evidence.is_empty() {
        // It may have been copied or compressed, which the look finds out
        if let Place::At(at) = &mut content.place {
            at.id.dev = if at.id.dev == 0 { u64::MAX } else { at.id.dev };
        }
        return 0;
    }
    let truncated = shown.is_some_and(|meta| meta.ino() == id.ino);
    content.place = Place::Nowhere {
        since: super::ledger::Moment(0),
        name: name_of(path),
    };
    content.phase = Phase::Draining;
    if let Some((at, evidence)) = of_copy(path, content.settled, truncated, time) {
        if let Ok(meta) = identity::stat(&at) {
            let stat = identity::stat_of(&at, &meta);
            let is_archive = at.extension().is_some_and(|end| end == "gz");
            let at = At {
                name: name_of(&at),
                id: stat.id,
                birth: stat.birth,
            };
            content.stamp = stat.stamp;
            content.place = match is_archive {
                true => Place::InArchive(at),
                false => Place::At(at),
            };
        }
        content.evidence = evidence;
        return 0;
    }
    old.length.saturating_sub(old.settled)
}

/// A log's path, and where it leads.
fn places(path: &Path) -> Vec<PathBuf> {
    [Some(path.to_path_buf()), leads_to(path)]
        .into_iter()
        .flatten()
        .collect()
}

/// The proof of a content of which no more than the position is known, from a copy: what was made since by copying the
/// log (it still has the inode) or compressing it, and has the end of a line at the position, is taken for
/// it; of several the one that was rotated first.
fn of_copy(path: &Path, position: u64, truncated: bool, time: f64) -> Option<(PathBuf, Evidence)> {
    let mut best: Option<(Vec<u8>, PathBuf)> = None;
    for place in places(path) {
        let (dir, log) = (place.parent()?, place.file_name()?);
        let Ok(listing) = listing(dir) else { continue };
        for name in listing.rotated_of(log) {
            let at = dir.join(name);
            let Some(rotated) = names::rotated(log.as_bytes(), name.as_bytes()) else {
                continue;
            };
            let Ok(meta) = identity::stat(&at) else {
                continue;
            };
            let birth = identity::birth(&at, &meta).map(|birth| birth.0.get() as f64 / 1e9);
            let is_late = birth.unwrap_or_else(|| identity::mtime(&meta)) > time;
            if !(rotated.gz || truncated)
                || !is_late
                || !has_line_end(&at, position).unwrap_or(false)
            {
                continue;
            }
            let is_first = best.as_ref().is_none_or(|(mark, _)| {
                // A counter grows with age, a date with youth
                match mark.len() <= 6 && rotated.mark.len() <= 6 {
                    true => (rotated.mark.len(), rotated.mark) > (mark.len(), mark),
                    false => rotated.mark < mark.as_slice(),
                }
            });
            if is_first {
                best = Some((rotated.mark.to_vec(), at));
            }
        }
    }
    let (_, at) = best?;
    let evidence = Evidence::taken(position, &mut open(&at).ok()?).ok()?;
    Some((at, evidence))
}

fn open(path: &Path) -> io::Result<Source> {
    let (file, _) = identity::open(path)?;
    Ok(match path.extension().is_some_and(|end| end == "gz") {
        true => Source::Gz(Box::new(GzFile::new(file)?)),
        false => Source::Plain(file),
    })
}

fn has_line_end(path: &Path, at: u64) -> io::Result<bool> {
    let Some(before) = at.checked_sub(1) else {
        return Ok(false);
    };
    let mut byte = [0];
    let n = open(path)?.read_at(&mut byte, before)?;
    Ok(n == 1 && byte == *b"\n")
}

/// The files that checkpoints remember of other sessions, for the time of the start: 32 bytes each.
#[derive(Debug, Default)]
pub(super) struct RememberedFiles(Vec<(u64, Birth)>);

impl RememberedFiles {
    fn of(saved: &Saved, is_mine: impl Fn(&Path) -> bool) -> Self {
        let mut all = Vec::new();
        for ((_, path), log) in &saved.logs {
            if is_mine(path) {
                continue;
            }
            all.extend(log.contents.iter().filter_map(SavedContent::file));
        }
        sort::by(&mut all, |a, b| a.0.cmp(&b.0));
        RememberedFiles(all)
    }

    /// Whether a log of another session surely had the file.
    pub fn of_another_session(&self, stat: &Stat) -> bool {
        let begin = self.0.partition_point(|(ino, _)| *ino < stat.id.ino);
        let mut all = self.0[begin..]
            .iter()
            .take_while(|(ino, _)| *ino == stat.id.ino);
        all.any(|(_, birth)| stat.birth.is_some_and(|now| birth.same(now)))
    }
}
