//! Looking at a followed path: growth, rotation, truncation, disappearance.

use super::copies::Copy;
use super::counters::Skip;
use super::discover::{birth, born_then, first_seen, Known, CLOCK_TICK};
use super::generation::{is_gone, Generation, Lost, Source, State};
use super::identity::{self, FileId, Signature};
use super::log::Foreign;
use super::replaced::holds_still;
use super::siblings;
use super::tailer::Tailer;
use super::trust;
use super::unseen::Unseen;
use crate::util::time::now_secs;
use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
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
        let last = log.last_check.replace(now_secs());
        log.checked_before = last;
        // Nothing to deliver until now counts as success for copy_staleness_threshold
        let caught_up = log.pending() == 0;
        let mut grown = match self.shown_now(number, |_| false) {
            Ok(meta) if meta.is_file() => self.shows(number, &meta, last, now),
            Ok(_) => self.path_gone(number, last, now),
            Err(e) if is_gone(&e) => self.path_gone(number, last, now),
            Err(e) if trust::refusal(&e).is_some() => {
                // The content that it showed before is finished
                self.failed(number, &e, now);
                self.path_gone(number, last, now)
            }
            Err(e) => {
                self.failed(number, &e, now);
                return;
            }
        };
        grown |= self.look_at_rotated(number, last, now);
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
        let shown = log.current().filter(|g| g.id == id);
        if shown.is_some_and(|g| {
            g.signature.len == 0 && (meta.len() > 0 || g.mtime != siblings::mtime(meta))
        }) {
            self.no_longer_empty(number, last, now);
        }
        let Some(log) = self.logs.get_mut(&number) else {
            return false;
        };
        if let Some(g) = log.current().filter(|g| g.id == id) {
            let size = meta.len();
            let mtime = siblings::mtime(meta);
            if size < g.size && size >= g.read && holds_still(g) {
                // Its writer has taken back an end that was not read yet
                g.size = size;
                g.mtime = mtime;
                g.partial = None;
                return false;
            }
            if size < g.size {
                let key = g.key;
                self.content_replaced(number, key, now);
                return true;
            }
            if size > g.size {
                g.size = size;
                g.mtime = mtime;
                g.growth = now;
                g.check_head = true;
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
            if g.unread() == 0 {
                g.verified = now_secs();
            }
            let idle = now.duration_since(g.growth);
            if g.source.is_some() && g.unread() == 0 && close_old.is_some_and(|limit| idle > limit)
            {
                let key = g.key;
                self.close(number, key);
            }
            return false;
        }
        let known = Foreign {
            id,
            size: meta.len(),
            mtime: siblings::mtime(meta),
            owner: self.owned.get(&id).copied().unwrap_or(0),
        };
        if self
            .logs
            .get(&number)
            .is_some_and(|log| log.foreign == Some(known))
        {
            // Still what it was, and still another log's
            return false;
        }
        self.rotated(number, meta, last, now)
    }

    /// The current content was empty at the last look, at the time `last`, and has been written to.
    /// Any content agrees with what is known of it, so it may be a later one than the first: what
    /// was in between is in copies that were made since.
    fn no_longer_empty(&mut self, number: u64, last: Option<f64>, now: Instant) {
        let Some(path) = self.logs.get(&number).map(|log| log.path.clone()) else {
            return;
        };
        if self.settings.copytruncate {
            let slack = self.settings.clock_slack;
            if let Some(since) = last.filter(|since| something_came(&path, *since, slack)) {
                let shown = identity::open(&path).ok().map(|(file, _)| file);
                let unseen = Unseen {
                    since: since + self.settings.clock_slack - CLOCK_TICK,
                    beside: shown.as_ref(),
                    ..Unseen::default()
                };
                self.adopt_unseen(number, unseen, now);
            }
        }
        // From here on it is told apart from others
        let Some(log) = self.logs.get_mut(&number) else {
            return;
        };
        let Some(g) = log.current() else { return };
        let was_open = g.source.is_some();
        if let Ok(Source::Plain(file)) = g.open(&path) {
            if let Ok(head) = identity::head(file) {
                g.signature = Signature::of(&head);
            }
        }
        if !was_open {
            g.source = None;
        }
        if g.signature.len > 0 {
            // Its numbers must not be another content's after a restart
            self.undurable = true;
            log.dirty = true;
        }
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

    /// The path shows another file than before, or one for the first time. True if there is
    /// something new.
    fn rotated(&mut self, number: u64, meta: &Metadata, last: Option<f64>, now: Instant) -> bool {
        let id = FileId::of(meta);
        let Some(log) = self.logs.get_mut(&number) else {
            return false;
        };
        let path = log.path.clone();
        let had_any = !log.generations.is_empty();
        let old = self.left_behind(number, State::Rotated(now), now);
        let was_left = old.is_some();
        let Some(log) = self.logs.get_mut(&number) else {
            return was_left;
        };
        let entry = log.entry.clone();
        // One of our own is back: renamed away and back, a link that was switched to and fro
        let is_it =
            |g: &Generation| g.id == id && (g.source.is_some() || born_then(g.birth, &path, meta));
        if let Some(at) = log.generations.iter().position(is_it) {
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
            return true;
        }
        // A copy of another log's content is that log's
        let copy = self.copy_in_the_making(&path, &entry, false, now);
        // The content of another log that was renamed to this path; that log finishes it, unless
        // both names show it
        if let Some(owner) = self.moved_from(id, &path, number) {
            self.seen_as(owner, id, Some(path));
            if let Some(log) = self.logs.get_mut(&number) {
                log.foreign = Some(Foreign {
                    id,
                    owner,
                    size: meta.len(),
                    mtime: siblings::mtime(meta),
                });
            }
            return was_left;
        }
        if let Some(log) = self.logs.get_mut(&number) {
            log.foreign = None;
        }
        if self.is_elsewhere(id, birth(&path, meta), false, now) {
            return was_left;
        }
        let repeated = match copy {
            Copy::No => 0,
            Copy::Own(_) => meta.len(),
            Copy::Waits | Copy::Known => return was_left,
        };
        if let Some(log) = self.logs.get_mut(&number) {
            log.counters.repeated += repeated;
        }
        if had_any || last.is_some() {
            let since = last.unwrap_or_else(now_secs);
            self.adopt_unseen(number, unseen_since(since, old.as_ref()), now);
        }
        let fresh = first_seen(&path, meta, 0);
        self.adopt(number, fresh, None);
        self.hold(number);
        true
    }

    /// The path's content is not what it shows any more.
    fn left_behind(&mut self, number: u64, state: State, now: Instant) -> Option<LeftBehind> {
        let log = self.logs.get_mut(&number)?;
        let path = log.path.clone();
        let g = log.current()?;
        let was_empty = g.signature.len == 0;
        let verified = g.verified;
        g.state = state;
        let replaced = last_look(g, &path);
        let at = siblings::find_content(&path, g.id, g.signature.len == 0);
        if let Some(at) = &at {
            g.path = at.clone();
        }
        let nowhere = at.is_none() && g.source.is_none();
        let same = !replaced && (nowhere || g.gz || holds_still(g));
        let (key, known) = (g.key, (g.signature, g.read, g.mark));
        log.dirty = true;
        self.moved = true;
        let at = match at {
            // Compressed, or copied and deleted
            None if nowhere && !replaced => self.continue_in_copy(number, key),
            // Read to its end from the descriptor, but its copy tells how rotation names files
            None if same => self.find_copy(number, key).map(|copy| copy.path),
            at => at,
        };
        if !same {
            // Truncated and written to before it was rotated
            self.content_replaced(number, key, now);
        }
        Some(LeftBehind {
            known,
            verified,
            was_empty,
            at: at.filter(|_| same),
        })
    }

    /// The path shows nothing (of ours). True if it showed something at the last look, at the time
    /// `last`, or did so since.
    fn path_gone(&mut self, number: u64, last: Option<f64>, now: Instant) -> bool {
        let old = self.left_behind(number, State::Gone(now), now);
        let Some(log) = self.logs.get(&number) else {
            return false;
        };
        let had_any = old.is_some();
        let contents = log.generations.len();
        let slack = self.settings.clock_slack;
        if let Some(since) = last.filter(|since| something_came(&log.path, *since, slack)) {
            self.adopt_unseen(number, unseen_since(since, old.as_ref()), now);
        }
        let log = self.logs.get(&number);
        had_any || log.is_some_and(|log| log.generations.len() > contents)
    }

    /// Looks at contents that the path does not show any more, and lets go of those that are done.
    fn look_at_rotated(&mut self, number: u64, last: Option<f64>, now: Instant) -> bool {
        let grace = self.settings.rotated_grace;
        let delay = self.settings.deletion_delay;
        let slack = self.settings.clock_slack;
        let scan = self.scans;
        let scanned_at = self.scanned_at;
        let elsewhere = self.logs.get(&number).map(|log| {
            let seen = |g: &&Generation| match g.state {
                State::Rotated(since) | State::Gone(since) => {
                    self.is_seen_elsewhere(g.id, since, now)
                }
                State::Current => false,
            };
            let all = log.generations.iter().filter(seen);
            all.map(|g| g.key).collect::<Vec<u64>>()
        });
        let elsewhere = elsewhere.unwrap_or_default();
        let Some(log) = self.logs.get_mut(&number) else {
            return false;
        };
        let mut grown = false;
        let mut done = Vec::new();
        let mut idle = Vec::new();
        let mut replaced = Vec::new();
        let path = log.path.clone();
        let since = last.unwrap_or_else(now_secs);
        let mut came = None;
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
                None => {
                    let (id, then) = (g.id, g.birth);
                    let there = |at: &Path| {
                        let meta = identity::stat(at).ok()?;
                        let is_it = FileId::of(&meta) == id && born_then(then, at, &meta);
                        is_it.then_some(meta.len())
                    };
                    // It may have been rotated on
                    there(&g.path).or_else(|| {
                        if id.ino == 0
                            || !*came.get_or_insert_with(|| something_came(&path, since, slack))
                        {
                            return None;
                        }
                        g.path = siblings::find_content(&path, id, g.signature.len == 0)?;
                        there(&g.path)
                    })
                }
            };
            if size.is_some_and(|size| size > g.size) {
                g.size = size.unwrap_or(g.size);
                g.growth = now;
                g.check_head = true;
                grown = true;
            }
            if g.unread() > 0 && g.partial.is_none() {
                grown = true;
            }
            if size.is_some_and(|size| size < g.size) && !holds_still(g) {
                replaced.push(g.key);
                continue;
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
                // A file that some pattern still matches must stay known, or it would be copied again;
                // only a scan after the rotation can tell
                if g.seen_in_scan == scan || keep == Some(g.key) || elsewhere.contains(&g.key) {
                    idle.push(g.key);
                } else if since < scanned_at {
                    done.push(g.key);
                }
            }
        }
        if lost_bytes > 0 {
            log.counters.skip(Skip::Truncated, lost_bytes);
        }
        for key in replaced {
            self.content_replaced(number, key, now);
            grown = true;
        }
        for key in idle {
            self.close(number, key);
        }
        for key in done {
            self.drop_generation(number, key);
        }
        grown
    }

    /// Reading found that a content is nowhere to be found.
    pub(super) fn vanished(&mut self, number: u64, key: u64, now: Instant) {
        if self.continue_in_copy(number, key).is_some() {
            self.make_ready(number);
            self.plan(number, now, Some(now));
            return;
        }
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

/// A content that its log's path does not show any more.
struct LeftBehind {
    known: Known,
    /// When it was last known to be what it was.
    verified: f64,
    /// It was empty at the last look.
    was_empty: bool,
    /// Where it is now.
    at: Option<PathBuf>,
}

/// Describes contents that came and went since the last look, at the time `since`, or since the content that was left
/// behind was last known to be what it was.
fn unseen_since(since: f64, old: Option<&LeftBehind>) -> Unseen<'_> {
    match old {
        None => Unseen {
            since,
            ..Unseen::default()
        },
        Some(old) => Unseen {
            since: since.min(old.verified),
            old: Some(old.known),
            old_was_empty: old.was_empty,
            old_at: old.at.as_deref(),
            beside: None,
        },
    }
}

/// Whether a name came into the log's directory or left it after a time, in seconds since the epoch,
/// or up to `slack` seconds before.
fn something_came(log: &Path, since: f64, slack: f64) -> bool {
    let changed = |path: &Path| {
        let dir = identity::stat(path.parent()?).ok()?;
        Some(siblings::mtime(&dir) >= since - slack)
    };
    siblings::places(log)
        .iter()
        .any(|p| changed(p) == Some(true))
}

/// Takes a content's length at the moment it is left behind. True if its file has other content.
fn last_look(g: &mut Generation, log: &Path) -> bool {
    let was_open = g.source.is_some();
    let nameless = g.signature.len == 0;
    let mut head = None;
    let size = match g.open(log) {
        Ok(Source::Plain(file)) => {
            if nameless {
                head = identity::head(file).ok();
            }
            file.metadata().ok().map(|m| m.len())
        }
        Err(e) if Lost::of(&e) == Some(Lost::Replaced) => return true,
        _ => None,
    };
    if let Some(head) = head {
        g.signature = Signature::of(&head);
    }
    if !was_open {
        g.source = None;
    }
    if let Some(size) = size {
        g.size = g.size.max(size);
    }
    false
}
