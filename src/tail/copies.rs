//! New files whose text so far is the beginning of a followed content.
//!
//! Such a file may be the copy that a rotation makes of a log before it truncates it, and then its
//! text is that log's; or it is a log of its own that begins as another does. Only what happens next
//! tells. So it waits, open, while it grows and agrees, and at most [`DECIDE_AFTER`] beyond its last
//! growth: it is the copy if the original was truncated or replaced meanwhile, else a log of its
//! own. If it was one after all, its lines are repeated, which is counted, but none is lost.

use super::discover::{birth, born_then};
use super::generation::{Generation, Source, State};
use super::identity::{self, FileId};
use super::names;
use super::settings::Entry;
use super::siblings;
use super::tailer::Tailer;
use std::fs::{File, Metadata};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long after its last growth a file that agrees with a log is taken for a log of its own.
const DECIDE_AFTER: Duration = Duration::from_secs(2);
/// The pause between looks at one that waits.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The most files that wait and are kept open, so that what is deleted meanwhile can be read.
const MOST_OPEN: usize = 64;
/// How many bytes at the end of a file are compared with the log's at the same place.
const END: u64 = 1024;

/// A new file that may be a copy in the making.
pub(super) struct Waiting {
    /// Open, unless too many are.
    file: Option<File>,
    /// As it was seen first: where it begins as a log of its own depends on that.
    meta: Metadata,
    entry: Arc<Entry>,
    /// It was found by the first scan after the start.
    first: bool,
    size: u64,
    grown: Instant,
    due: Instant,
}

/// Whether a new file is a copy of something that is followed.
#[derive(Debug)]
pub(super) enum Copy {
    /// It is not, as far as can be told.
    No,
    /// It was not, in the time that it had. As it was found: where it begins depends on that.
    Own(Box<Metadata>),
    /// It may be; it is looked at again soon.
    Waits,
    /// Its content is some log's already.
    Known,
}

impl Tailer {
    /// Whether a new file is the copy that a rotation makes of a followed log before it truncates
    /// it. A file that was found to wait is looked at again by [`Tailer::decide_waiting`].
    pub(super) fn copy_in_the_making(
        &mut self,
        path: &Path,
        entry: &Arc<Entry>,
        first: bool,
        now: Instant,
    ) -> Copy {
        let Some(number) = self.original_of(path) else {
            return Copy::No;
        };
        // The truncation may have happened since the last look
        self.look(number, now);
        let Ok((file, meta)) = identity::open(path) else {
            return Copy::No;
        };
        let id = FileId::of(&meta);
        if self.is_owned(id, birth(path, &meta)) {
            self.waiting.remove(path);
            return Copy::Known;
        }
        // The original may have been truncated and outgrown, which only reading it shows
        let begins = |g: &mut Generation| {
            begins_as(g, &file, meta.len())
                || siblings::file_holds(&file, &meta, g.signature, g.read, g.mark)
        };
        let log = self.logs.get_mut(&number);
        if !self.settings.copytruncate
            || !log.is_some_and(|log| log.generations.iter_mut().any(begins))
        {
            self.waiting.remove(path);
            return Copy::No;
        }
        let known = self.waiting.get_mut(path);
        if let Some(waiting) = known.filter(|w| FileId::of(&w.meta) == id) {
            if meta.len() > waiting.size {
                waiting.size = meta.len();
                waiting.grown = now;
            }
            if now.duration_since(waiting.grown) < DECIDE_AFTER {
                waiting.due = now + LOOK_EVERY;
                return Copy::Waits;
            }
            let found = Box::new(waiting.meta.clone());
            self.waiting.remove(path);
            self.say_own(path, number);
            return Copy::Own(found);
        }
        let holds = self.waiting.len() < MOST_OPEN && self.open < self.settings.max_open_files;
        let waiting = Waiting {
            file: holds.then_some(file),
            size: meta.len(),
            meta,
            entry: entry.clone(),
            first,
            grown: now,
            due: now + LOOK_EVERY,
        };
        self.waiting.insert(path.to_path_buf(), waiting);
        Copy::Waits
    }

    /// The followed log that a file of this name may be a copy of.
    fn original_of(&self, path: &Path) -> Option<u64> {
        let (dir, name) = (path.parent()?, path.file_name()?);
        let mut originals = names::originals(name).into_iter();
        originals.find_map(|name| self.by_path.get(&dir.join(name)).copied())
    }

    /// Looks again at files that wait and are due.
    pub(super) fn decide_waiting(&mut self, now: Instant) {
        let due = |(_, w): &(&PathBuf, &Waiting)| w.due <= now;
        let paths: Vec<PathBuf> = self
            .waiting
            .iter()
            .filter(due)
            .map(|(path, _)| path.clone())
            .collect();
        for path in paths {
            let Some(waiting) = self.waiting.get_mut(&path) else {
                continue;
            };
            waiting.due = now + LOOK_EVERY;
            let id = FileId::of(&waiting.meta);
            let still = identity::stat(&path).is_ok_and(|meta| FileId::of(&meta) == id);
            if !still {
                self.gone_while_waiting(&path, now);
            } else if let Some(number) = self.by_path.get(&path).copied() {
                self.look(number, now);
            } else {
                let (entry, first) = (waiting.entry.clone(), waiting.first);
                self.matched(path, &entry, first, now);
            }
        }
    }

    /// When a file that waits has to be looked at.
    pub(super) fn next_decision(&self) -> Option<Instant> {
        self.waiting.values().map(|w| w.due).min()
    }

    /// A file that waited is at its path no more. If the original was truncated meanwhile it was the
    /// copy, and is known; else its text is read from the descriptor.
    fn gone_while_waiting(&mut self, path: &Path, now: Instant) {
        if let Some(number) = self.original_of(path) {
            self.look(number, now);
        }
        let Some(waiting) = self.waiting.remove(path) else {
            return;
        };
        let born = birth(path, &waiting.meta);
        let id = FileId::of(&waiting.meta);
        let Some(file) = waiting.file.filter(|_| !self.is_owned(id, born)) else {
            return;
        };
        let Ok(meta) = file.metadata() else { return };
        if let Some(original) = self.original_of(path) {
            self.say_own(path, original);
        }
        let number = match self.by_path.get(path) {
            Some(number) => *number,
            None => self.follow_nothing(path, &waiting.entry, now),
        };
        let (start, _) = self.start(path, &waiting.entry, &waiting.meta, waiting.first);
        let mut content =
            Generation::new(path.to_path_buf(), id, start, meta.len(), State::Gone(now));
        content.birth = born;
        content.signature =
            identity::head(&file).map_or(content.signature, |head| identity::Signature::of(&head));
        if start > 0 {
            content.mark = identity::mark_at(&file, start).ok().flatten();
            content.committed_mark = content.mark;
        }
        content.source = Some(Source::Plain(file));
        let rotated = |g: &&Generation| g.state != State::Current;
        let at = self.logs.get_mut(&number).map(|log| {
            log.counters.repeated += meta.len() - start.min(meta.len());
            log.generations.iter().filter(rotated).count()
        });
        self.open += 1;
        self.in_turn(number);
        self.adopt(number, content, at);
        self.make_ready(number);
        self.plan(number, now, Some(now));
    }

    fn say_own(&self, path: &Path, original: u64) {
        let original = self.logs.get(&original).map(|log| log.path.clone());
        log::info!(
            "{} begins with the text of {}, which was not truncated: it is copied as a log of its own",
            path.display(),
            original.unwrap_or_default().display()
        );
    }
}

/// Whether a file of this size is, so far, what a content begins with: its first bytes and those at
/// its end are the content's at the same places. A common header alone is not enough.
fn begins_as(g: &mut Generation, file: &File, size: u64) -> bool {
    let opened = match &g.source {
        Some(_) => None,
        None if g.gz || g.id.ino == 0 => return false,
        None => match identity::open(&g.path) {
            Ok((file, meta)) if FileId::of(&meta) == g.id && born_then(g.birth, &g.path, &meta) => {
                Some(Source::Plain(file))
            }
            _ => return false,
        },
    };
    let mut opened = opened;
    let Some(source) = opened.as_mut().or(g.source.as_mut()) else {
        return false;
    };
    let mut same = |from: u64, len: u64| {
        let (mut ours, mut theirs) = (vec![0; len as usize], vec![0; len as usize]);
        let read = source.read_at(&mut ours, from);
        let other = identity::read_full_at(file, &mut theirs, from);
        matches!((read, other), (Ok(a), Ok(b)) if a == b && a == len as usize) && ours == theirs
    };
    let end = size.min(END);
    same(0, end) && same(size - end, end)
}
