//! Logs that rest until the kernel tells of them, and the looks that its hints ask for.
//!
//! A log rests while the kernel would tell of each change of its file: its folder was watched before the last look, which
//! found nothing. It is looked at again when a hint comes, and about once a minute without one, as hints are lost where a
//! file is written through a memory map, by another machine, or while nobody listens.

use super::glob;
use super::hints::{Told, Waiting, Watch};
use super::source::Reading;
use super::tailer::Tailer;
use super::watchable::parent_of;
use super::watched::{HintStatus, Watching, Way};
use std::cmp::Reverse;
use std::ffi::OsStr;
use std::path::Path;
use std::time::{Duration, Instant};

/// Logs that rest are looked at on whole multiples of this, so that they share a wake-up.
const SLOT: Duration = Duration::from_secs(5);
/// The most logs that one slot has: 20 a second.
const PER_SLOT: usize = 100;
/// The least number of slots between two looks at a log that rests: a minute.
const SLOTS: u64 = 12;
/// Scans that hints ask for are at least this far apart, and take at most a twentieth of the time.
const SCANS_APART: Duration = Duration::from_millis(500);
const SHARE_OF_SCANS: u32 = 20;

impl Tailer {
    /// Rings when there are hints for [`Tailer::poll`] to take.
    pub fn hint_bell(&self) -> Option<&crossbeam_channel::Receiver<()>> {
        let watching = self.watching.as_ref();
        watching.map(|watching| watching.subscription.bell())
    }

    /// How many folders have hints; `None`: the option is off, or the system has none to give.
    pub(super) fn hint_status(&self) -> Option<HintStatus> {
        self.watching.as_ref().map(Watching::status)
    }

    /// Takes in what the kernel has told.
    pub(super) fn take_hints(&mut self, now: Instant) {
        if let Some(watching) = &self.watching {
            let waiting = watching.subscription.take();
            self.told_all(waiting, now);
        }
        if let Some(watching) = &mut self.watching {
            watching.calm(now);
        }
    }

    pub(super) fn told_all(&mut self, waiting: Waiting, now: Instant) {
        if waiting.lost {
            self.wake_all(&|_| true, now);
            self.scan_soon(now);
        }
        for ((watch, name), told) in waiting.hints {
            self.told(watch, name.as_deref(), told, now);
        }
    }

    fn told(&mut self, watch: Watch, name: Option<&OsStr>, told: Told, now: Instant) {
        let Some(watching) = &mut self.watching else {
            return;
        };
        if let Some(number) = watching.take_file(watch) {
            // That it is over tells nothing: one change ends it
            return self.look_soon(number, now);
        }
        for dir in watching.paths_of(watch) {
            match name {
                Some(name) => self.told_of(&dir.join(name), told, now),
                None if told.over => self.unwatched(&dir, now),
                None => {}
            }
        }
    }

    /// A folder is gone, or lies elsewhere.
    fn unwatched(&mut self, dir: &Path, now: Instant) {
        if let Some(watching) = &mut self.watching {
            watching.leave(dir);
        }
        self.wake_folder(dir, now);
        self.scan_soon(now);
    }

    fn told_of(&mut self, path: &Path, told: Told, now: Instant) {
        let followed = self.by_path.get(path).or_else(|| self.links.get(path));
        if let Some(number) = followed.copied() {
            self.look_soon(number, now);
        }
        if !told.named {
            return;
        }
        let watching = self.watching.as_ref();
        if let Some(logs) = watching.and_then(|watching| watching.logs_over(path)) {
            for number in logs {
                self.look_soon(number, now);
            }
            self.scan_soon(now);
        }
        if told.is_folder {
            let mut entries = self.entries.iter().filter(|entry| entry.is_glob);
            if entries.any(|entry| glob::leads_through(&entry.pattern, path)) {
                self.scan_soon(now);
            }
            return;
        }
        for number in self.originals_of(path) {
            self.look_soon(number, now);
        }
        if self.by_path.contains_key(path) {
            return;
        }
        for at in 0..self.entries.len() {
            let entry = self.entries[at].clone();
            if entry.covers(path) {
                self.matched(path.to_path_buf(), &entry, now);
                self.hold_new(path, now);
            }
        }
    }

    /// Opens a file that has just come: it may be gone in a moment.
    fn hold_new(&mut self, path: &Path, now: Instant) {
        let number = self.by_path.get(path).copied();
        let log = number.and_then(|number| self.logs.get(&number));
        let shown = log.and_then(|log| self.ledger.shown(log.id()));
        if let Some(key) = shown.map(|content| content.key) {
            let reading = self.readings.entry(key);
            reading.or_insert_with(|| Reading::new(now));
            self.hold(key);
        }
    }

    /// Looks at a log at once, or as soon as its entry allows.
    pub(super) fn look_soon(&mut self, number: u64, now: Instant) {
        let min = self.settings.min_poll;
        let Some(log) = self.logs.get_mut(&number) else {
            return;
        };
        let at = now + log.entry.minimum_scan_interval;
        // One that is busy is looked at as often as it may be
        if log.due <= at.max(now + min) {
            return;
        }
        log.interval = min;
        log.due = at;
        self.due.push(Reverse((at, number)));
    }

    /// Scans for new files soon.
    fn scan_soon(&mut self, now: Instant) {
        let apart = SCANS_APART.max(self.scan_took * SHARE_OF_SCANS);
        let at = now.max(self.scan_ended + apart);
        self.next_scan = self.next_scan.min(at);
    }

    /// Logs in a folder are looked at as without hints.
    pub(super) fn wake_folder(&mut self, dir: &Path, now: Instant) {
        let is_in = |path: &Path| path.parent() == Some(dir);
        self.wake_all(&is_in, now);
    }

    fn wake_all(&mut self, is_it: &dyn Fn(&Path) -> bool, now: Instant) {
        let idle = self.idle_interval();
        let logs = self.logs.values().filter(|log| {
            let leads = log.leads_to.as_deref();
            log.due > now + idle && (is_it(&log.path) || leads.is_some_and(is_it))
        });
        let numbers: Vec<u64> = logs.map(|log| log.number()).collect();
        for number in numbers {
            if let Some(log) = self.logs.get_mut(&number) {
                log.interval = idle;
            }
            self.plan(number, now, None);
        }
    }

    /// After a look that found nothing: whether the log may rest until the kernel tells of a change.
    pub(super) fn may_rest(&mut self, number: u64) -> bool {
        let (Some(log), Some(watching)) = (self.logs.get(&number), &mut self.watching) else {
            return false;
        };
        let shown = self.ledger.shown(log.id());
        let way = Way {
            path: &log.path,
            leads_to: log.leads_to.as_deref(),
            device: shown
                .and_then(|content| content.place.location())
                .map(|id| id.dev),
            has_links: log.has_links,
        };
        watching.tells_of(number, &way)
    }

    /// Plans the look that is made at a resting log without a hint. `caught_up`: no batch has lines of it.
    pub(super) fn plan_rest(&mut self, number: u64, caught_up: bool, now: Instant) {
        let count = self.logs.len();
        let slots = SLOTS.max(count.div_ceil(PER_SLOT) as u64);
        let phase = match count {
            0..=PER_SLOT => 0,
            _ => number % slots,
        };
        let since = now.saturating_duration_since(self.started);
        let next = 1 + since.as_secs() / SLOT.as_secs();
        let slot = next + (phase + slots - next % slots) % slots;
        let due = self.started + SLOT * u32::try_from(slot).unwrap_or(u32::MAX);
        let due = due.min(self.closes_at(number).unwrap_or(due).max(now + SLOT / 10));
        let idle = self.idle_interval();
        if let Some(log) = self.logs.get_mut(&number) {
            if caught_up {
                log.outfit = None;
            }
            log.interval = idle;
            log.due = due;
            self.due.push(Reverse((due, number)));
        }
    }

    /// When the file that a log's path shows has been open for long enough without anything new.
    fn closes_at(&self, number: u64) -> Option<Instant> {
        let log = self.logs.get(&number)?;
        let reading = self.readings.get(&self.ledger.shown(log.id())?.key)?;
        let limit = self.settings.close_old_files?;
        reading.source.as_ref()?;
        Some(reading.growth + limit + Duration::from_millis(1))
    }

    /// Notes growth that the present look has seen.
    pub(super) fn note_growth(&mut self, number: u64, now: Instant) {
        let (Some(log), Some(watching)) = (self.logs.get(&number), &mut self.watching) else {
            return;
        };
        if watching.grown == 0 {
            return;
        }
        let dir = parent_of(log.leads_to.as_deref().unwrap_or(&log.path));
        if watching.grew(dir, now) {
            let dir = dir.to_path_buf();
            self.wake_folder(&dir, now);
        }
    }

    /// The latest moment up to `at` at which resting logs are looked at: what can be done a little sooner shares the
    /// wake-up.
    pub fn shared_wake(&self, at: Instant) -> Instant {
        let since = at.saturating_duration_since(self.started).as_secs();
        at.min(self.started + Duration::from_secs(since - since % SLOT.as_secs()))
    }
}
