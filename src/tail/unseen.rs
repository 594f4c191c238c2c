//! Files that came and went between two looks, and the rules for whose they may be.
//!
//! A file that nobody has looked at is told from others by its name and its date alone, and a wrong
//! guess sends lines under the wrong log, or lines that nobody configured. So a path that some entry
//! matches is a log of its own, one that an entry excludes is nobody's, and any other file is
//! taken for a log's only if its name follows a scheme under which a known content of that very log
//! stands or stood.

use super::discover::Known;
use super::generation::{Generation, State};
use super::identity::{self, FileId, Signature};
use super::log::Log;
use super::names::Scheme;
use super::replaced::holds_still;
use super::siblings::{self, scheme_of, Sibling};
use super::tailer::Tailer;
use crate::util::sort;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A file that is left alone because of its name is named in agent.log this seldom.
const NAMED_EVERY: Duration = Duration::from_secs(7 * 86_400);

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
    /// The file that the path shows, which has not been read: its copy is none of them.
    pub beside: Option<&'a File>,
}

/// The most files beside a log that are remembered, in 160 kB; beyond, their dates alone count.
const MOST_BESIDE: usize = 20_000;

/// The configuration's word on a path.
enum Claim {
    /// No entry matches it.
    Nobody,
    /// An entry with the log's own pattern covers it, and it falls to this session.
    SamePattern,
    /// It is excluded, another log's, another session's or another worker's.
    Others,
}

impl Tailer {
    fn claim(&self, path: &Path, log: &Log) -> Claim {
        match self.entry_for(path) {
            Some(entry) if entry.pattern == log.entry.pattern && self.is_mine(path) => {
                Claim::SamePattern
            }
            Some(_) => Claim::Others,
            None if self.is_named(path) => Claim::Others,
            None => Claim::Nobody,
        }
    }

    /// Whether an entry of any worker matches the path, be it one that excludes it.
    fn is_named(&self, path: &Path) -> bool {
        let elsewhere = &self.settings.elsewhere;
        self.entries.iter().any(|e| e.matches(path)) || elsewhere.iter().any(|e| e.matches(path))
    }

    /// Whether a file may hold the copy of a log's content. Its text has to prove it; the name only
    /// rules out what is another log's or nobody's.
    pub(super) fn may_hold_copy(&self, log: &Log, copy: &Sibling) -> bool {
        !matches!(self.claim(&copy.path, log), Claim::Others)
            && !self.is_taken(log, copy)
            && self.may_have_siblings(log)
            && self.may_read_sibling(log, copy)
    }

    /// Whether a file holds a content that a log has, or that checkpoints remember of another log
    /// which has not been taken up yet.
    fn is_taken(&self, log: &Log, file: &Sibling) -> bool {
        let (id, birth) = (file.id, file.birth);
        self.is_owned(id, birth) || self.remembered.of_another(&log.path, id.ino, birth)
    }

    /// Whether a file that once was at the log's path may have been filled anew at `path`: under a
    /// name that a rotation of the log gives and that no entry speaks of. An archive is a file of its
    /// own, whatever inode it got.
    pub(super) fn may_be_rotated(&self, log: &Log, path: &Path) -> bool {
        let is_archive = path.extension().is_some_and(|end| end == "gz");
        matches!(self.claim(path, log), Claim::Nobody)
            && scheme_of(&log.path, path).is_some()
            && !is_archive
    }

    /// The sibling that holds a copy of this content: made before a truncation, or by compressing.
    pub(super) fn find_copy(&self, number: u64, key: u64) -> Option<Sibling> {
        let log = self.logs.get(&number)?;
        let g = log.generations.iter().find(|g| g.key == key)?;
        let holds = |s: &Sibling| {
            s.id != g.id
                && self.may_hold_copy(log, s)
                && siblings::holds(s, g.signature, g.read, g.mark)
        };
        let beside = siblings::siblings(&log.path).into_iter().find(holds);
        beside.or_else(|| siblings::siblings_below(&log.path).into_iter().find(holds))
    }

    /// Continues in a copy of a content, if there is one; where that is.
    pub(super) fn continue_in_copy(&mut self, number: u64, key: u64) -> Option<PathBuf> {
        let copy = self.find_copy(number, key)?;
        self.close(number, key);
        let g = self.logs.get_mut(&number)?.generation(key)?;
        let before = g.id;
        g.take_copy(&copy);
        self.disown(before, number);
        self.own(number, key);
        Some(copy.path)
    }

    /// Adds contents that came and went between two looks at a log: rotated files that were created
    /// since then and that nobody has read.
    pub(super) fn adopt_unseen(&mut self, number: u64, unseen: Unseen, now: Instant) {
        self.adopt_those_unseen(number, unseen, now);
        self.remember_beside(number);
    }

    /// Remembers which files with names of rotated ones lie beside a log: they are not unseen.
    pub(super) fn remember_beside(&mut self, number: u64) {
        if let Some(log) = self.logs.get_mut(&number) {
            let all = lying_beside(log);
            let all = all.iter().take(MOST_BESIDE).map(fingerprint);
            log.beside = Some(all.collect());
        }
    }

    fn adopt_those_unseen(&mut self, number: u64, unseen: Unseen, now: Instant) {
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
        if !self.may_have_siblings(log) {
            return;
        }
        let path = log.path.clone();
        let shown = identity::stat(&path).ok().map(|m| FileId::of(&m));
        let all = lying_beside(log);
        let before: Option<Sibling> =
            old_at.and_then(|at| all.iter().find(|s| s.path == at).cloned());
        let since = since - self.settings.clock_slack;
        let mut unseen: Vec<Sibling> = all
            .into_iter()
            .filter(|s| !self.is_taken(log, s) && Some(s.id) != shown)
            .filter(|s| old_at != Some(s.path.as_path()))
            .filter(|s| {
                let lay_there = log.beside.as_ref();
                !lay_there.is_some_and(|all| all.contains(&fingerprint(s)))
            })
            .filter(|s| match self.claim(&s.path, log) {
                Claim::Nobody => true,
                // Compressed text is no log of its own, so it is the one that its name tells of
                Claim::SamePattern => s.gz,
                Claim::Others => false,
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
                        && identity::stat(&g.path).is_ok_and(|m| FileId::of(&m) == g.id)
                        && holds_still(g)
                };
                let of_old = old_at.is_none() && old.is_some_and(is_copy);
                let of_known =
                    |g: &Generation| !is_there(g) && is_copy((g.signature, g.read, g.mark));
                !of_old && !log.generations.iter().any(of_known)
            })
            .filter(|s| !beside.is_some_and(|shown| siblings::is_beginning_of(s, shown)))
            .filter(|s| self.may_read_sibling(log, s))
            .collect();
        if unseen.is_empty() {
            return;
        }
        let mut schemes = known_schemes(log);
        schemes.extend(old_at.and_then(|at| scheme_of(&path, at)));
        unseen.retain(|s| {
            let follows = schemes.contains(&s.scheme);
            let name = s.path.display();
            if !follows && self.throttle.allow(&format!("unseen {name}"), NAMED_EVERY) {
                log::warn!(
                    "{name} is not copied: it may be a rotated file of {}, but no known content of that log has \
                     a name of this kind. If it is a log of its own, add an entry for it to `logs`",
                    path.display()
                );
            }
            follows
        });
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
}

/// The files with names of rotated ones beside a log, and in the folders below if a content of it
/// stands there.
fn lying_beside(log: &Log) -> Vec<Sibling> {
    let mut all = siblings::siblings(&log.path);
    let stands_below = |g: &Generation| g.id.ino != 0 && g.path.parent() != log.path.parent();
    if log.generations.iter().any(stands_below) {
        all.extend(siblings::siblings_below(&log.path));
    }
    all
}

/// Tells a file from others for as long as it is not deleted, also under another name.
fn fingerprint(file: &Sibling) -> u64 {
    let born = file.birth.map_or(0, f64::to_bits);
    let bytes = [file.id.dev, file.id.ino, born]
        .map(u64::to_be_bytes)
        .concat();
    identity::hash(&bytes)
}

/// The schemes under which contents of a log stand, or stood before they were forgotten.
fn known_schemes(log: &Log) -> Vec<Scheme> {
    let standing = log.generations.iter().filter(|g| g.id.ino != 0);
    let mut schemes: Vec<Scheme> = standing
        .filter_map(|g| scheme_of(&log.path, &g.path))
        .collect();
    schemes.extend(log.schemes.iter().cloned());
    schemes
}

fn gz_signature(path: &Path) -> Signature {
    let mut head = vec![0; Signature::MOST];
    identity::open(path)
        .and_then(|(file, _)| super::gz::GzFile::new(file))
        .and_then(|mut gz| gz.read_at(&mut head, 0))
        .map(|n| Signature::of(&head[..n]))
        .unwrap_or_default()
}
