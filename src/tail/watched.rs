//! Which folders have hints from the kernel, and what a hint asks for.
//!
//! A log rests while the kernel would tell of each change of its file: its folder was watched before the last look, which
//! found nothing. It is looked at again when a hint comes, and about once a minute without one, as hints are lost where a
//! file is written through a memory map, by another machine, or while nobody listens.

use super::fence::touch;
use super::glob;
use super::hints::{Refused, Subscription, Told, Waiting, Watch, Wish};
use super::source::{is_gone, Reading};
use super::tailer::Tailer;
use nix::errno::Errno;
use nix::sys::statfs::statfs;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A folder whose files grow by more than this in a second is busy: who writes there would pay more for hints than the
/// looks cost that they save.
const BUSY_BYTES: u64 = 64 << 10;
/// How long a folder counts as busy after that.
const BUSY_FOR: Duration = Duration::from_secs(10);
/// Logs that rest are looked at on whole multiples of this, so that they share a wake-up.
const SLOT: Duration = Duration::from_secs(5);
/// The most logs that one slot has: 20 a second.
const PER_SLOT: usize = 100;
/// The least number of slots between two looks at a log that rests: a minute.
const SLOTS: u64 = 12;
/// Scans that hints ask for are at least this far apart, and take at most a twentieth of the time.
const SCANS_APART: Duration = Duration::from_millis(500);
const SHARE_OF_SCANS: u32 = 20;
/// The most folders that are remembered, 4 MB of memory.
const MOST_FOLDERS: usize = 16_384;
/// The most links on the way of a path: as the kernel bears.
const MOST_LINKS: usize = 40;

const MOST: &str = "inotify_max_watches is reached";
const NONE_LEFT: &str = "the user has no watch left (fs.inotify.max_user_watches)";
const SILENT: &str = "the file system does not tell of all changes";
const MANY: &str = "there are too many folders";
const MISSING: &str = "it is not there";
const DENIED: &str = "permission denied";
const FAILED: &str = "it can't be watched";

/// The file systems of which all changes are this kernel's: by `f_type` of statfs.
const TELLING: [u32; 17] = [
    0x0000_EF53, // ext2, ext3, ext4
    0x5846_5342, // xfs
    0x9123_683E, // btrfs
    0x0102_1994, // tmpfs
    0x8584_58F6, // ramfs
    0xF2F5_2010, // f2fs
    0x0000_72B6, // jffs2
    0x2405_1905, // ubifs
    0x5941_FF53, // yaffs2
    0x2FC1_2FC1, // zfs
    0xCA45_1A4E, // bcachefs
    0x3153_464A, // jfs
    0x5265_4973, // reiserfs
    0x0000_3434, // nilfs2
    0x0000_4D44, // vfat
    0x2011_BAB0, // exfat
    0x7366_746E, // ntfs3
];

/// How many folders have hints, and why others have none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HintStatus {
    /// With hints.
    pub folders: u64,
    /// Without, by the reason.
    pub without: BTreeMap<&'static str, u64>,
}

#[derive(Debug)]
struct Folder {
    watch: Result<Watch, &'static str>,
    /// The scan that saw it last.
    scan: u32,
    /// How many followed logs have their file in it.
    logs: u32,
    /// Only names are of interest: a link on the way to another folder lies in it.
    is_way: bool,
    /// Folders with links on the way to this one.
    ways: Vec<PathBuf>,
}

#[derive(Debug)]
struct Watched {
    /// The folders that lead to it.
    paths: Vec<Arc<Path>>,
    dev: u64,
    /// The look before which it was watched.
    since: u64,
    /// No changes are told until then.
    busy: Option<Instant>,
    /// Bytes by which its files grew since a moment of the last second.
    grown: (u64, Instant),
}

/// The hints of a session's folders.
#[derive(Debug)]
pub(super) struct Watching {
    pub(super) subscription: Subscription,
    folders: HashMap<Arc<Path>, Folder>,
    watches: HashMap<Watch, Watched>,
    /// Links and missing folders on the way to folders and logs; with the logs.
    steps: HashMap<PathBuf, Vec<u64>>,
    /// The links on the way of a log's own path.
    links: HashMap<u64, Vec<PathBuf>>,
    /// Watches of single files, each with the look before which it was there.
    files: HashMap<u64, (Watch, u64)>,
    by_file: HashMap<Watch, u64>,
    /// Paths at which something is mounted.
    mounts: HashSet<PathBuf>,
    /// Looks so far.
    looks: u64,
    /// Bytes by which files grew in the present look.
    pub(super) grown: u64,
    /// Folders that the last scan came by and that are not remembered, by the reason.
    beyond: (u32, BTreeMap<&'static str, u64>),
}

impl Watching {
    pub(super) fn new(subscription: Subscription) -> Self {
        Watching {
            subscription,
            folders: HashMap::new(),
            watches: HashMap::new(),
            steps: HashMap::new(),
            links: HashMap::new(),
            files: HashMap::new(),
            by_file: HashMap::new(),
            mounts: HashSet::new(),
            looks: 0,
            grown: 0,
            beyond: (0, BTreeMap::new()),
        }
    }

    /// Makes sure that a folder is watched, once a scan. `is_way`: only for a link in it.
    pub(super) fn see(&mut self, dir: &Path, scan: u32, is_way: bool) {
        let known = self.folders.get_mut(dir);
        if let Some(folder) = known {
            if folder.scan == scan && (is_way || !folder.is_way) {
                return;
            }
            folder.scan = scan;
            folder.is_way &= is_way;
        } else if self.folders.len() >= MOST_FOLDERS {
            return self.is_beyond(scan, MANY);
        } else if self.is_full(scan) {
            return self.is_beyond(scan, MOST);
        }
        let before = self
            .folders
            .get(dir)
            .and_then(|folder| folder.watch.as_ref().ok().copied());
        let watch = self.watch(dir, before, is_way);
        if let Err(why @ (MOST | NONE_LEFT)) = watch {
            if !self.folders.contains_key(dir) {
                return self.is_beyond(scan, why);
            }
        }
        let path: Arc<Path> = match self.folders.get_key_value(dir) {
            Some((path, _)) => path.clone(),
            None => dir.into(),
        };
        if before.is_some() && before != watch.ok() {
            self.leave(dir);
        }
        let is_new = before != watch.ok() || before.is_none();
        let folder = self.folders.entry(path.clone()).or_insert_with(|| Folder {
            watch,
            scan,
            logs: 0,
            is_way,
            ways: Vec::new(),
        });
        folder.watch = watch;
        if is_new {
            if let Ok(watch) = watch {
                let looks = self.looks;
                let watched = self.watches.entry(watch).or_insert_with(|| Watched {
                    paths: Vec::new(),
                    dev: fs::metadata(dir).map_or(0, |meta| meta.dev()),
                    since: looks,
                    busy: None,
                    grown: (0, Instant::now()),
                });
                watched.paths.push(path.clone());
            }
            let ways = self.find_ways(dir);
            if let Some(folder) = self.folders.get_mut(dir) {
                folder.ways = ways;
            }
        }
        let ways = self.folders.get(dir).map(|folder| folder.ways.clone());
        for way in ways.into_iter().flatten().filter(|way| way != dir) {
            self.see(&way, scan, true);
        }
    }

    fn is_beyond(&mut self, scan: u32, why: &'static str) {
        if self.beyond.0 != scan {
            self.beyond = (scan, BTreeMap::new());
        }
        *self.beyond.1.entry(why).or_default() += 1;
    }

    /// Whether this scan has met the end of all watches: asking again for each folder would cost two calls each.
    fn is_full(&self, scan: u32) -> bool {
        self.beyond.0 == scan && !self.beyond.1.is_empty()
    }

    /// The kernel's watch for a folder, now.
    fn watch(
        &mut self,
        dir: &Path,
        before: Option<Watch>,
        is_way: bool,
    ) -> Result<Watch, &'static str> {
        let failed = |refused| match refused {
            Refused::Most => MOST,
            Refused::System(Errno::ENOSPC) => NONE_LEFT,
            Refused::System(Errno::ENOENT | Errno::ENOTDIR) => MISSING,
            Refused::System(Errno::EACCES) => DENIED,
            Refused::System(_) => FAILED,
        };
        touch(dir).map_err(|_| FAILED)?;
        let is_busy = before.is_some_and(|watch| self.is_busy(watch));
        let wish = match is_way || is_busy {
            true => Wish::Names,
            false => Wish::Changes,
        };
        let watch = self.subscription.watch(dir, wish).map_err(failed)?;
        if Some(watch) == before {
            return Ok(watch);
        }
        if !tells_all(dir) {
            if !self.watches.contains_key(&watch) {
                self.subscription.unwatch(watch);
            }
            return Err(SILENT);
        }
        // Another path may lead to the same folder
        let wishes_changes = self.wishes_changes(watch);
        if wish == Wish::Names && wishes_changes {
            self.subscription
                .watch(dir, Wish::Changes)
                .map_err(failed)?;
        }
        Ok(watch)
    }

    fn is_busy(&self, watch: Watch) -> bool {
        let watched = self.watches.get(&watch);
        watched.is_some_and(|watched| watched.busy.is_some())
    }

    fn wishes_changes(&self, watch: Watch) -> bool {
        let Some(watched) = self.watches.get(&watch) else {
            return false;
        };
        let mut folders = watched
            .paths
            .iter()
            .filter_map(|path| self.folders.get(path));
        watched.busy.is_none() && folders.any(|folder| !folder.is_way)
    }

    /// Links on the way to a folder, and the nearest folder there is to one that is missing: the folders in which
    /// they lie.
    fn find_ways(&mut self, dir: &Path) -> Vec<PathBuf> {
        let mut ways = Vec::new();
        for step in steps_to(dir) {
            ways.extend(step.parent().map(Path::to_path_buf));
            self.steps.entry(step).or_default();
        }
        ways
    }

    /// Gives the watch of a folder up.
    fn leave(&mut self, dir: &Path) {
        let Some(folder) = self.folders.get_mut(dir) else {
            return;
        };
        let Ok(watch) = std::mem::replace(&mut folder.watch, Err(FAILED)) else {
            return;
        };
        let Some(watched) = self.watches.get_mut(&watch) else {
            return;
        };
        watched.paths.retain(|path| **path != *dir);
        if watched.paths.is_empty() {
            self.watches.remove(&watch);
            self.subscription.unwatch(watch);
        }
    }

    /// A scan is over: folders that it has not come by are left, unless a followed log is in them.
    pub(super) fn end_scan(&mut self, scan: u32) {
        let over = |folder: &Folder| folder.scan < scan;
        let all = self.folders.iter();
        let unseen = all.filter(|(_, folder)| over(folder) && folder.logs > 0);
        let unseen: Vec<Arc<Path>> = unseen.map(|(dir, _)| dir.clone()).collect();
        for dir in unseen {
            self.see(&dir, scan, false);
        }
        let links: Vec<PathBuf> = self.links.values().flatten().cloned().collect();
        for link in &links {
            if let Some(dir) = link.parent() {
                self.see(dir, scan, true);
            }
        }
        let gone = self.folders.iter().filter(|(_, folder)| over(folder));
        let gone: Vec<Arc<Path>> = gone.map(|(dir, _)| dir.clone()).collect();
        for dir in gone {
            self.leave(&dir);
            self.folders.remove(&dir);
        }
        let folders = &self.folders;
        self.steps
            .retain(|step, logs| !logs.is_empty() || folders.contains_key(parent_of(step)));
    }

    /// Something is mounted at these paths of logs.
    pub(super) fn set_mounts(&mut self, is_log: &dyn Fn(&Path) -> bool) {
        self.mounts = mounts();
        self.mounts.retain(|path| is_log(path));
    }

    /// A log follows a file in this folder from now on, or no more.
    pub(super) fn count(&mut self, dir: &Path, scan: u32, follows: bool) {
        if follows {
            self.see(dir, scan, false);
        }
        if let Some(folder) = self.folders.get_mut(dir) {
            folder.logs = match follows {
                true => folder.logs + 1,
                false => folder.logs.saturating_sub(1),
            };
        }
    }

    /// The links on the way of a log's path are these by now.
    pub(super) fn lead(&mut self, number: u64, path: Option<&Path>, scan: u32) {
        for link in self.links.remove(&number).into_iter().flatten() {
            if let Some(logs) = self.steps.get_mut(&link) {
                logs.retain(|other| *other != number);
            }
        }
        let Some(path) = path else {
            return;
        };
        let links = steps_to(path);
        for link in &links {
            if let Some(dir) = link.parent() {
                self.see(dir, scan, true);
            }
            self.steps.entry(link.clone()).or_default().push(number);
        }
        if !links.is_empty() {
            self.links.insert(number, links);
        }
    }

    /// A look begins.
    pub(super) fn begin_look(&mut self) {
        self.looks += 1;
        self.grown = 0;
    }

    /// Whether all changes of files in this folder are told since before the present look began.
    fn tells(&self, dir: &Path) -> Option<&Watched> {
        let watch = self.folders.get(dir)?.watch.ok()?;
        let watched = self.watches.get(&watch)?;
        (watched.busy.is_none() && watched.since < self.looks && self.wishes_changes(watch))
            .then_some(watched)
    }

    /// Whether it would be told if a folder that is missing came.
    fn tells_if_it_comes(&self, dir: &Path) -> bool {
        let Some(folder) = self.folders.get(dir) else {
            return false;
        };
        let is_told = |way: &PathBuf| {
            let watch = self.folders.get(&**way).and_then(|way| way.watch.ok());
            let watched = watch.and_then(|watch| self.watches.get(&watch));
            watched.is_some_and(|watched| watched.since < self.looks)
        };
        folder.watch == Err(MISSING) && !folder.ways.is_empty() && folder.ways.iter().all(is_told)
    }

    /// Notes that files of a folder have grown in the present look. True if it became busy.
    fn grew(&mut self, dir: &Path, now: Instant) -> bool {
        let bytes = std::mem::take(&mut self.grown);
        let watch = self.folders.get(dir).and_then(|f| f.watch.ok());
        let Some(watched) = watch.and_then(|watch| self.watches.get_mut(&watch)) else {
            return false;
        };
        if now.saturating_duration_since(watched.grown.1) > Duration::from_secs(1) {
            watched.grown = (0, now);
        }
        watched.grown.0 += bytes;
        if watched.grown.0 < BUSY_BYTES {
            return false;
        }
        let was_quiet = watched.busy.is_none();
        watched.busy = Some(now + BUSY_FOR);
        if was_quiet {
            let _ = self.subscription.watch(dir, Wish::Names);
        }
        was_quiet
    }

    /// Changes are told again in folders that are not busy any more.
    pub(super) fn calm(&mut self, now: Instant) {
        let over = |watched: &Watched| watched.busy.is_some_and(|until| until <= now);
        let all = self.watches.iter();
        let calm = all.filter(|(_, watched)| over(watched));
        let calm: Vec<Watch> = calm.map(|(watch, _)| *watch).collect();
        for watch in calm {
            let looks = self.looks;
            let Some(watched) = self.watches.get_mut(&watch) else {
                continue;
            };
            watched.busy = None;
            watched.since = looks;
            let dir = watched.paths.first().cloned();
            if let Some(dir) = dir.filter(|_| self.wishes_changes(watch)) {
                if self.subscription.watch(&dir, Wish::Changes) != Ok(watch) {
                    // It is another folder by now, which the next scan finds
                    self.leave(&dir);
                }
            }
        }
    }

    /// When a folder that is busy may be so no more.
    pub(super) fn next_calm(&self) -> Option<Instant> {
        let busy = self.watches.values().filter_map(|watched| watched.busy);
        busy.min()
    }

    /// Watches the file of a log that its folder's watch does not tell of. True if it was watched before the present
    /// look.
    fn watch_file(&mut self, number: u64, path: &Path) -> bool {
        if let Some((_, since)) = self.files.get(&number) {
            return *since < self.looks;
        }
        if touch(path).is_ok() && tells_all(path) {
            if let Ok(watch) = self.subscription.watch(path, Wish::OneChange) {
                if let Some(other) = self.by_file.insert(watch, number) {
                    // Both names of a file: the other one is looked at as without hints
                    self.files.remove(&other);
                }
                self.files.insert(number, (watch, self.looks));
            }
        }
        false
    }

    /// A log is not followed any more.
    pub(super) fn forget(&mut self, number: u64) {
        self.lead(number, None, 0);
        self.unwatch_file(number);
    }

    fn unwatch_file(&mut self, number: u64) {
        if let Some((watch, _)) = self.files.remove(&number) {
            self.by_file.remove(&watch);
            self.subscription.unwatch(watch);
        }
    }

    /// For `status`.
    fn status(&self) -> HintStatus {
        let mut status = HintStatus::default();
        for folder in self.folders.values().filter(|folder| !folder.is_way) {
            match folder.watch {
                Ok(_) => status.folders += 1,
                Err(why) => *status.without.entry(why).or_default() += 1,
            }
        }
        for (why, count) in &self.beyond.1 {
            *status.without.entry(why).or_default() += count;
        }
        status
    }
}

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
        if let Some(number) = watching.by_file.remove(&watch) {
            watching.files.remove(&number);
            // That it is over tells nothing: one change ends it
            watching.subscription.unwatch(watch);
            return self.look_soon(number, now);
        }
        let watched = watching.watches.get(&watch);
        let dirs = watched.map_or(Vec::new(), |watched| watched.paths.clone());
        for dir in dirs {
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
        let steps = self.watching.as_ref().map(|watching| &watching.steps);
        let logs = steps.and_then(|steps| steps.get(path).cloned());
        if let Some(logs) = logs {
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
    fn wake_folder(&mut self, dir: &Path, now: Instant) {
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
        let at = log.leads_to.as_deref().unwrap_or(&log.path);
        let dir = parent_of(at);
        let shown = self.ledger.shown(log.id());
        let Some(watched) = watching.tells(dir) else {
            let may = shown.is_none() && watching.tells_if_it_comes(dir);
            watching.unwatch_file(number);
            return may;
        };
        if log.leads_to.is_some() && watching.tells_names(&log.path).is_none() {
            return false;
        }
        let location = shown.and_then(|content| content.place.location());
        let is_elsewhere = location.is_some_and(|id| id.dev != watched.dev);
        if location.is_some() && (is_elsewhere || log.has_links || watching.mounts.contains(at)) {
            let path = log.path.clone();
            return watching.watch_file(number, &path);
        }
        watching.unwatch_file(number);
        true
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
        let at = log.leads_to.as_deref().unwrap_or(&log.path);
        let dir = parent_of(at).to_path_buf();
        if watching.grew(&dir, now) {
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

impl Watching {
    /// Whether names in the folder of this path are told.
    fn tells_names(&self, path: &Path) -> Option<Watch> {
        self.folders.get(parent_of(path))?.watch.ok()
    }
}

fn parent_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

/// Whether the kernel tells of all changes in the file system of a path.
fn tells_all(path: &Path) -> bool {
    let kind = statfs(path).map(|at| at.filesystem_type().0 as u32);
    kind.is_ok_and(|kind| TELLING.contains(&kind))
}

/// The links on the way of a path, its last component included, and the first component that is not there.
fn steps_to(path: &Path) -> Vec<PathBuf> {
    let mut steps = Vec::new();
    let mut todo: Vec<Box<OsStr>> = names(path).rev().map(Into::into).collect();
    let mut at = PathBuf::from("/");
    while let Some(name) = todo.pop() {
        if *name == *".." {
            at.pop();
            continue;
        }
        at.push(&*name);
        let meta = touch(&at).and_then(|()| fs::symlink_metadata(&at));
        match meta {
            Ok(meta) if meta.is_symlink() && steps.len() < MOST_LINKS => {
                steps.push(at.clone());
                let Ok(target) = fs::read_link(&at) else {
                    return steps;
                };
                at.pop();
                if target.has_root() {
                    at = PathBuf::from("/");
                }
                todo.extend(names(&target).rev().map(Into::into));
            }
            Ok(_) => {}
            Err(e) => {
                if is_gone(&e) {
                    steps.push(at);
                }
                return steps;
            }
        }
    }
    steps
}

fn names(path: &Path) -> impl DoubleEndedIterator<Item = &OsStr> {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name),
        Component::ParentDir => Some(OsStr::new("..")),
        _ => None,
    })
}

/// Paths at which something is mounted: what is written there by another name is not told in their folder.
fn mounts() -> HashSet<PathBuf> {
    let text = fs::read("/proc/self/mountinfo").unwrap_or_default();
    let lines = text.split(|b| *b == b'\n');
    let points = lines.filter_map(|line| line.split(|b| *b == b' ').nth(4));
    points
        .map(|point| PathBuf::from(OsStr::from_bytes(&unescaped(point))))
        .collect()
}

/// Without the octal escapes of mountinfo.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        let digits = tail.get(..3).filter(|d| d.iter().all(u8::is_ascii_digit));
        match (first, digits) {
            (b'\\', Some(digits)) => {
                let value = digits
                    .iter()
                    .fold(0_u32, |n, d| n * 8 + u32::from(d - b'0'));
                out.push(value as u8);
                rest = &tail[3..];
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out
}
