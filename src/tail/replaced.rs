//! Files that hold other content than they did: truncated, or overwritten in place.

use super::counters::Skip;
use super::discover::{birth, born_then, first_seen, CLOCK_TICK};
use super::generation::{Generation, Source, State};
use super::identity::{self, FileId, Signature};
use super::siblings;
use super::tailer::Tailer;
use super::unseen::Unseen;
use crate::util::time::now_secs;
use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

impl Tailer {
    /// Reading found that a content is not what it was.
    pub(super) fn replaced(&mut self, number: u64, key: u64, now: Instant) {
        self.content_replaced(number, key, now);
        self.plan(number, now, Some(now));
    }

    /// The file was truncated or overwritten in place: the unread rest may be in a copy that was
    /// made before (copytruncate); what the file holds now is new content.
    pub(super) fn content_replaced(&mut self, number: u64, key: u64, now: Instant) {
        let search = self.settings.copytruncate;
        let Some(log) = self.logs.get_mut(&number) else {
            return;
        };
        let path = log.path.clone();
        let since = log.checked_before.unwrap_or_else(now_secs);
        let Some(g) = log.generation(key) else { return };
        // The content that it has now may have been rotated away as well
        let shown = identity::stat(&path).ok().map(|meta| FileId::of(&meta));
        let was_current = g.state == State::Current && shown == Some(g.id);
        let since = since.min(g.verified);
        let (old_id, signature, read, mark, known) = (g.id, g.signature, g.read, g.mark, g.size);
        let mut left_at = g.path.clone();
        let left = match &g.source {
            Some(Source::Plain(file)) => file.try_clone().ok(),
            _ => {
                let then = g.birth;
                let its_file = |at: &Path| {
                    let (file, meta) = identity::open(at).ok()?;
                    let is_it = FileId::of(&meta) == old_id && born_then(then, at, &meta);
                    is_it.then_some(file)
                };
                its_file(&left_at).or_else(|| {
                    left_at = siblings::find_id(&path, old_id, false)?;
                    its_file(&left_at)
                })
            }
        };
        let mut others = log.generations.iter().filter(|g| g.key != key);
        let left = left.filter(|_| !others.any(|g| g.id == old_id));
        self.close(number, key);
        let copy = search.then(|| self.find_copy(number, key)).flatten();
        let shrunk = left
            .as_ref()
            .and_then(|file| file.metadata().ok())
            .is_none_or(|meta| meta.len() < known);
        let left = left.filter(|file| {
            let deleted = || file.metadata().is_ok_and(|meta| meta.nlink() == 0);
            match siblings::find_id(&path, old_id, false) {
                Some(at) if at == path => true,
                Some(at) => {
                    let log = self.logs.get(&number);
                    log.is_some_and(|log| self.may_be_rotated(log, &at))
                }
                None => deleted(),
            }
        });
        let Some(log) = self.logs.get_mut(&number) else {
            return;
        };
        let unread = known.saturating_sub(read);
        // A file that is not shorter than it was known to be has grown by what is new, or had grown
        // before: that can't be told
        let lost = if shrunk { unread } else { 0 };
        let Some(g) = log.generation(key) else { return };
        g.state = State::Rotated(now);
        g.partial = None;
        match &copy {
            Some(copy) => {
                g.take_copy(copy);
                log::info!(
                    "{} was truncated; its former content is finished from {}",
                    path.display(),
                    copy.path.display()
                );
            }
            None => {
                // Its identity now belongs to what took its place
                g.id = FileId { dev: 0, ino: 0 };
                g.size = g.read;
                if lost > 0 {
                    log.counters.skip(Skip::Truncated, lost);
                    log::warn!(
                        "{} was truncated or overwritten before its last {lost} bytes were read, and no copy of \
                         them was found: they are lost",
                        path.display()
                    );
                } else if unread > 0 {
                    log::info!(
                        "{} was overwritten and has other content; of its last {unread} bytes is not known which \
                         content they were of",
                        path.display()
                    );
                } else {
                    log::info!(
                        "{} was truncated or overwritten; all that was known of it had been read",
                        path.display()
                    );
                }
            }
        }
        log.dirty = true;
        self.moved = true;
        self.disown(old_id, number);
        self.own(number, key);
        // Truncated more than once: what was in between is in later copies
        let slack = copy
            .as_ref()
            .map_or(self.settings.clock_slack - CLOCK_TICK, |_| 0.0);
        let unseen = Unseen {
            since: since + slack,
            old: Some((signature, read, mark)),
            old_was_empty: false,
            old_at: copy.as_ref().map(|copy| copy.path.as_path()),
            beside: None,
        };
        if was_current {
            let shown = self.shown_now(number, |id| id == old_id);
            if let Some(meta) = shown.ok().filter(Metadata::is_file) {
                self.adopt_unseen(number, unseen, now);
                // A writer that does not append goes on where it was: before that is a hole
                let start =
                    identity::open(&path).map_or(0, |(file, _)| identity::first_data(&file));
                let fresh = first_seen(&path, &meta, start);
                self.adopt(number, fresh, None);
                self.hold(number);
            }
        } else if let Some(fresh) = left.and_then(|file| what_took_its_place(left_at, file, now)) {
            // It was the log's content before it was rotated away
            let at = self
                .logs
                .get(&number)
                .and_then(|log| log.generations.iter().position(|g| g.key == key));
            self.open += 1;
            self.in_turn(number);
            self.adopt(number, fresh, at.map(|at| at + 1));
            self.adopt_unseen(number, unseen, now);
        }
        self.make_ready(number);
    }
}

/// Whether a content is still where it was last seen: the file may have been truncated since.
pub(super) fn holds_still(g: &Generation) -> bool {
    let same = |file: &File| {
        let ends = |mark| identity::mark_at(file, g.read).is_ok_and(|at| at == Some(mark));
        g.mark.is_none_or(ends) && identity::head(file).is_ok_and(|head| g.signature.agrees(&head))
    };
    match &g.source {
        Some(Source::Plain(file)) => same(file),
        Some(Source::Gz(_) | Source::Memory(_)) => true,
        None => identity::open(&g.path)
            .is_ok_and(|(file, meta)| g.gz || FileId::of(&meta) == g.id && same(&file)),
    }
}

/// A rotated file's content, of which nothing was known: it had other content before.
pub(super) fn what_took_its_place(path: PathBuf, file: File, now: Instant) -> Option<Generation> {
    let meta = file.metadata().ok()?;
    let start = identity::first_data(&file);
    let rotated = State::Rotated(now);
    let mut fresh = Generation::new(path, FileId::of(&meta), start, meta.len(), rotated);
    fresh.signature = Signature::of(&identity::head(&file).ok()?);
    fresh.mtime = siblings::mtime(&meta);
    fresh.birth = birth(&fresh.path, &meta);
    if start > 0 {
        fresh.mark = identity::mark_at(&file, start).ok().flatten();
        fresh.committed_mark = fresh.mark;
    }
    fresh.source = Some(Source::Plain(file));
    Some(fresh)
}
