//! Looking at a followed path: growth, rotation, truncation, disappearance (copying.md §9).

use super::counters::Skip;
use super::discover::first_seen;
use super::generation::{is_gone, Generation, Source, State};
use super::identity::{self, FileId};
use super::siblings;
use super::tailer::Tailer;
use crate::util::time::now_secs;
use std::fs::{self, Metadata};
use std::io;
use std::time::{Duration, Instant};

/// How long an unchanged rotated file is left alone between two looks.
const ROTATED_INTERVAL: Duration = Duration::from_secs(2);

impl Tailer {
    /// Looks at a log's path and at its rotated files, and plans the next look.
    pub(super) fn look(&mut self, number: u64, now: Instant) {
        let Some(log) = self.logs.get_mut(&number) else {
            return;
        };
        if log.in_memory {
            return self.look_at_memory(number, now);
        }
        let path = log.path.clone();
        let last = log.last_check.replace(now_secs());
        log.checked_before = last;
        // Nothing to deliver until now counts as success for copy_staleness_threshold
        let caught_up = log.pending() == 0;
        let mut grown = match fs::metadata(&path) {
            Ok(meta) if meta.is_file() => self.shows(number, &meta, last, now),
            Ok(_) => self.path_gone(number, now),
            Err(e) if is_gone(&e) => self.path_gone(number, now),
            Err(e) => {
                self.failed(number, &e, now);
                return;
            }
        };
        grown |= self.look_at_rotated(number, now);
        if caught_up {
            if let Some(log) = self.logs.get_mut(&number) {
                log.last_success = now;
            }
        }
        let idle = self.idle_interval();
        let min = self.settings.min_poll;
        let mut wake = None;
        if let Some(log) = self.logs.get_mut(&number) {
            log.interval = if grown {
                min
            } else {
                log.interval.max(min).mul_f64(1.5).min(idle)
            };
            if log.generations.iter().any(|g| g.state != State::Current) {
                log.interval = log.interval.min(ROTATED_INTERVAL.max(min));
            }
            // An unterminated line is due when its time is up
            wake = log
                .generations
                .iter()
                .filter_map(|g| g.partial)
                .map(|(_, since)| since + self.settings.line_completion_wait)
                .min();
            if grown
                || wake.is_some_and(|at| at <= now)
                || log
                    .generations
                    .iter()
                    .any(|g| g.unread() > 0 && g.partial.is_none())
            {
                self.make_ready(number);
            }
        }
        self.plan(number, now, wake.filter(|at| *at > now));
    }

    /// The path shows a regular file. True if there is something new.
    fn shows(&mut self, number: u64, meta: &Metadata, last: Option<f64>, now: Instant) -> bool {
        let id = FileId::of(meta);
        let close_old = self.settings.close_old_files;
        let Some(log) = self.logs.get_mut(&number) else {
            return false;
        };
        if let Some(g) = log.current().filter(|g| g.id == id) {
            let size = meta.len();
            let mtime = siblings::mtime(meta);
            if size < g.size {
                let key = g.key;
                self.content_replaced(number, key, now);
                return true;
            }
            if size > g.size {
                g.size = size;
                g.mtime = mtime;
                g.growth = now;
                return true;
            }
            if mtime != g.mtime {
                // Written to without growing: mostly the end of a write that was read before it was
                // over, but it may be new content of the same length.
                let first = g.mtime == 0.0;
                g.mtime = mtime;
                if !first && g.unread() == 0 && !self.still_same(number) {
                    let key = self
                        .logs
                        .get_mut(&number)
                        .and_then(|l| l.current().map(|g| g.key));
                    if let Some(key) = key {
                        self.content_replaced(number, key, now);
                        return true;
                    }
                }
                return false;
            }
            let idle = now.duration_since(g.growth);
            if g.source.is_some() && g.unread() == 0 && close_old.is_some_and(|limit| idle > limit)
            {
                let key = g.key;
                self.close(number, key);
            }
            return false;
        }
        self.rotated(number, meta, last, now);
        true
    }

    /// Whether the current content still ends as it did when it was read.
    fn still_same(&mut self, number: u64) -> bool {
        let Some(log) = self.logs.get_mut(&number) else {
            return true;
        };
        let path = log.path.clone();
        let Some(g) = log.current() else { return true };
        let was_open = g.source.is_some();
        let (read, mark, signature) = (g.read, g.mark, g.signature);
        let key = g.key;
        let same = match g.open(&path) {
            Ok(Source::Plain(file)) => {
                let mark_fits = match mark {
                    None => true,
                    Some(mark) => identity::mark_at(file, read).map_or(true, |m| m == Some(mark)),
                };
                mark_fits && identity::head(file).map_or(true, |head| signature.agrees(&head))
            }
            Ok(Source::Gz(_) | Source::Memory(_)) => true,
            Err(e) => !is_gone(&e),
        };
        if !was_open {
            // Looked at by the way; whether it stays open is not decided here
            if let Some(g) = self.logs.get_mut(&number).and_then(|l| l.generation(key)) {
                g.source = None;
            }
        }
        same
    }

    /// The path shows another file than before, or one for the first time.
    fn rotated(&mut self, number: u64, meta: &Metadata, last: Option<f64>, now: Instant) {
        let id = FileId::of(meta);
        let Some(log) = self.logs.get_mut(&number) else {
            return;
        };
        let path = log.path.clone();
        let had_any = !log.generations.is_empty();
        let mut old = None;
        if let Some(g) = log.current() {
            last_look(g, &path);
            g.state = State::Rotated(now);
            let at = siblings::find_id(&path, g.id, false);
            if let Some(at) = &at {
                g.path = at.clone();
            }
            old = Some(((g.signature, g.read, g.mark), at));
        }
        // One of our own is back: renamed away and back, a link that was switched to and fro
        if let Some(at) = log.generations.iter().position(|g| g.id == id) {
            let mut g = log.generations.remove(at);
            g.state = State::Current;
            g.path = path;
            let shrunk = meta.len() < g.size;
            if !shrunk {
                g.size = meta.len();
            }
            let key = g.key;
            log.generations.push(g);
            log.dirty = true;
            self.moved = true;
            if shrunk {
                self.content_replaced(number, key, now);
            }
            return;
        }
        // The content of another log that was renamed to this path; that log finishes it, unless
        // both names show it
        if let Some(owner) = self.moved_from(id, &path, number) {
            self.seen_as(owner, id, Some(path));
            if let Some(log) = self.logs.get_mut(&number) {
                log.foreign = Some((id, owner));
            }
            return;
        }
        if let Some(log) = self.logs.get_mut(&number) {
            log.foreign = None;
        }
        if had_any {
            let (signature, at) = old.map_or((None, None), |(s, at)| (Some(s), at));
            let since = last.unwrap_or_else(now_secs);
            self.adopt_unseen(number, signature, since, at.as_deref(), now);
        }
        let fresh = first_seen(&path, meta, 0);
        self.adopt(number, fresh, None);
        self.hold(number);
    }

    /// The path shows nothing (of ours). True if the content that it had got longer.
    fn path_gone(&mut self, number: u64, now: Instant) -> bool {
        let Some(log) = self.logs.get_mut(&number) else {
            return false;
        };
        let path = log.path.clone();
        if let Some(g) = log.current() {
            last_look(g, &path);
            g.state = State::Gone(now);
            log.dirty = true;
            self.moved = true;
            return true;
        }
        false
    }

    /// Looks at contents that the path does not show any more, and lets go of those that are done.
    fn look_at_rotated(&mut self, number: u64, now: Instant) -> bool {
        let grace = self.settings.rotated_grace;
        let delay = self.settings.deletion_delay;
        let scan = self.scans;
        let scanned_at = self.scanned_at;
        let Some(log) = self.logs.get_mut(&number) else {
            return false;
        };
        let mut grown = false;
        let mut done = Vec::new();
        let mut idle = Vec::new();
        let mut lost_bytes = 0;
        // A file with a name of its own may come back under it after any time
        let keep = (!log.entry.is_glob
            && log
                .generations
                .last()
                .is_some_and(|g| matches!(g.state, State::Gone(_))))
        .then(|| log.generations.last().map(|g| g.key))
        .flatten();
        for g in log
            .generations
            .iter_mut()
            .filter(|g| g.state != State::Current)
        {
            let size = match &g.source {
                Some(Source::Plain(file)) => file.metadata().ok().map(|m| m.len()),
                Some(Source::Gz(_) | Source::Memory(_)) => None,
                None if g.gz => None,
                None => fs::metadata(&g.path)
                    .ok()
                    .filter(|m| FileId::of(m) == g.id)
                    .map(|m| m.len()),
            };
            if size.is_some_and(|size| size > g.size) {
                g.size = size.unwrap_or(g.size);
                g.growth = now;
                grown = true;
            }
            if g.unread() > 0 && g.partial.is_none() {
                grown = true;
            }
            // Shorter than it was: the rest is not there any more
            if size.is_some_and(|size| size < g.size && size <= g.read) {
                let lost = g.size - g.read;
                g.size = g.read;
                if lost > 0 {
                    lost_bytes += lost;
                }
            }
            if !g.is_done() {
                continue;
            }
            if g.id.ino == 0 {
                // Nothing of it is anywhere, and all that was read is settled
                done.push(g.key);
                continue;
            }
            let (since, limit) = match g.state {
                State::Rotated(since) => (since, grace),
                State::Gone(since) => (since, delay),
                State::Current => continue,
            };
            if now.duration_since(since.max(g.growth)) > limit {
                // What some pattern still matches must stay known, or it would be copied again;
                // only a scan after the rotation can tell
                if g.seen_in_scan == scan || keep == Some(g.key) {
                    idle.push(g.key);
                } else if since < scanned_at {
                    done.push(g.key);
                }
            }
        }
        if lost_bytes > 0 {
            log.counters.skip(Skip::Truncated, lost_bytes);
        }
        for key in idle {
            self.close(number, key);
        }
        for key in done {
            self.drop_generation(number, key);
        }
        grown
    }

    /// Reading found that a content is not what it was.
    pub(super) fn replaced(&mut self, number: u64, key: u64, now: Instant) {
        self.content_replaced(number, key, now);
        self.plan(number, now, Some(now));
    }

    /// The file was truncated or overwritten in place: the unread rest may be in a copy that was
    /// made before (copytruncate); what the file holds now is new content.
    fn content_replaced(&mut self, number: u64, key: u64, now: Instant) {
        let search = self.settings.copytruncate;
        let Some(log) = self.logs.get_mut(&number) else {
            return;
        };
        let path = log.path.clone();
        let since = log.checked_before.unwrap_or_else(now_secs);
        let Some(g) = log.generation(key) else { return };
        let was_current = g.state == State::Current;
        let (old_id, signature, read, mark, known) = (g.id, g.signature, g.read, g.mark, g.size);
        self.close(number, key);
        let copy = search.then(|| {
            siblings::siblings(&path)
                .into_iter()
                .filter(|s| s.id != old_id && !self.owned.contains_key(&s.id))
                .find(|s| siblings::holds(s, signature, read, mark))
        });
        let copy = copy.flatten();
        let Some(log) = self.logs.get_mut(&number) else {
            return;
        };
        let lost = known.saturating_sub(read);
        let Some(g) = log.generation(key) else { return };
        g.state = State::Rotated(now);
        g.partial = None;
        let mut new_id = None;
        match &copy {
            Some(copy) => {
                g.take_copy(copy);
                new_id = Some(g.id);
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
        if let Some(id) = new_id {
            self.owned.insert(id, number);
        }
        if was_current {
            if let Ok(meta) = fs::metadata(&path) {
                if meta.is_file() {
                    // Truncated more than once: what was in between is in later copies
                    if let Some(copy) = &copy {
                        let known = Some((signature, read, mark));
                        self.adopt_unseen(number, known, since, Some(&copy.path), now);
                    }
                    // A writer that does not append goes on where it was: before that is a hole
                    let start =
                        identity::open(&path).map_or(0, |(file, _)| identity::first_data(&file));
                    let fresh = first_seen(&path, &meta, start);
                    self.adopt(number, fresh, None);
                    self.hold(number);
                }
            }
        }
        self.make_ready(number);
    }

    /// Reading found that a content is nowhere to be found.
    pub(super) fn vanished(&mut self, number: u64, key: u64, now: Instant) {
        let Some(log) = self.logs.get_mut(&number) else {
            return;
        };
        let path = log.path.clone();
        if let Some(g) = log.generation(key) {
            let lost = g.unread();
            g.size = g.read;
            if g.state == State::Current {
                g.state = State::Gone(now);
            }
            let id = g.id;
            g.id = FileId { dev: 0, ino: 0 };
            log.counters.skip(Skip::Vanished, lost);
            log.dirty = true;
            log::warn!(
                "{} was deleted or moved away before its last {lost} bytes were read: they are lost",
                path.display()
            );
            self.disown(id, number);
        }
        self.moved = true;
        self.plan(number, now, Some(now));
    }

    /// Something about the log can't be read at the moment; it is tried again.
    pub(super) fn failed(&mut self, number: u64, e: &io::Error, now: Instant) {
        let idle = self.idle_interval();
        if matches!(e.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) {
            self.close_some();
        }
        if let Some(log) = self.logs.get_mut(&number) {
            let why = e.to_string();
            let path = log.path.display().to_string();
            if log.error.as_ref() != Some(&why)
                && self.throttle.allow(&path, Duration::from_secs(60))
            {
                log::warn!("{path} can't be read at the moment and is tried again: {why}");
            }
            log.error = Some(why);
            log.interval = idle.max(Duration::from_secs(1));
        }
        self.plan(number, now, None);
    }

    /// Stops following paths that are gone and done.
    pub(super) fn retire_logs(&mut self) {
        let scan = self.scans;
        let gone: Vec<u64> = self
            .logs
            .iter()
            .filter(|(_, log)| {
                log.entry.is_glob && log.generations.is_empty() && log.seen_in_scan < scan
            })
            .map(|(n, _)| *n)
            .collect();
        for number in gone {
            if let Some(log) = self.logs.remove(&number) {
                self.by_path.remove(&log.path);
                self.retired.add(&log.counters);
                self.moved = true;
            }
        }
    }
}

/// What a content's length is at the moment it is left behind.
fn last_look(g: &mut Generation, log: &std::path::Path) {
    let was_open = g.source.is_some();
    let size = match g.open(log) {
        Ok(Source::Plain(file)) => file.metadata().ok().map(|m| m.len()),
        _ => None,
    };
    if !was_open {
        g.source = None;
    }
    if let Some(size) = size {
        g.size = g.size.max(size);
    }
}
