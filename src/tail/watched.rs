//! The folders and files of which the kernel is asked to tell.

use super::fence::touch;
use super::hints::{Refused, Subscription, Watch, Wish};
use super::watchable::{mounts, parent_of, steps_to, tells_all};
use nix::errno::Errno;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A folder whose files grow by more than this in a second is busy: who writes there would pay more for hints than the
/// looks cost that they save.
const BUSY_BYTES: u64 = 64 << 10;
/// How long a folder counts as busy after that.
const BUSY_FOR: Duration = Duration::from_secs(10);
/// The most folders that are remembered, 4 MB of memory.
const MOST_FOLDERS: usize = 16_384;
const MOST: &str = "inotify_max_watches is reached";
const NONE_LEFT: &str = "the user has no watch left (fs.inotify.max_user_watches)";
const SILENT: &str = "the file system does not tell of all changes";
const MANY: &str = "there are too many folders";
const MISSING: &str = "it is not there";
const DENIED: &str = "permission denied";
const FAILED: &str = "it can't be watched";

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

/// The way to a log's file.
pub(super) struct Way<'a> {
    /// The log's own path.
    pub path: &'a Path,
    /// The path that it leads to, if it is a symbolic link.
    pub leads_to: Option<&'a Path>,
    /// Of the file that was found there.
    pub device: Option<u64>,
    /// It has several hard links.
    pub has_links: bool,
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
    /// When a folder that is busy may be so no more.
    calm: Option<Instant>,
    /// Folders of which the present scan has found that they are others by now: their logs rest on no hint.
    pub(super) exchanged: Vec<Arc<Path>>,
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
            calm: None,
            exchanged: Vec::new(),
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
            self.exchanged.push(path.clone());
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
    pub(super) fn leave(&mut self, dir: &Path) {
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
        let folder = self.folders.get(dir)?;
        let watch = folder.watch.ok()?;
        let watched = self.watches.get(&watch)?;
        let is_told = watched.busy.is_none() && watched.since < self.looks;
        (is_told && (!folder.is_way || self.wishes_changes(watch))).then_some(watched)
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
    pub(super) fn grew(&mut self, dir: &Path, now: Instant) -> bool {
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
        self.calm.get_or_insert(now + BUSY_FOR);
        if was_quiet {
            let _ = self.subscription.watch(dir, Wish::Names);
        }
        was_quiet
    }

    /// Changes are told again in folders that are not busy any more.
    pub(super) fn calm(&mut self, now: Instant) {
        if self.calm.is_none_or(|at| at > now) {
            return;
        }
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
        let busy = self.watches.values().filter_map(|watched| watched.busy);
        self.calm = busy.min();
    }

    /// When [`calm`](Watching::calm) has something to do.
    pub(super) fn next_calm(&self) -> Option<Instant> {
        self.calm
    }

    /// Whether the kernel has told of each change of a log's file since before the present look.
    pub(super) fn tells_of(&mut self, number: u64, way: &Way) -> bool {
        let at = way.leads_to.unwrap_or(way.path);
        let dir = parent_of(at);
        let Some(watched) = self.tells(dir) else {
            let may = way.device.is_none() && self.tells_if_it_comes(dir);
            self.unwatch_file(number);
            return may;
        };
        if way.leads_to.is_some() && self.tells_names(way.path).is_none() {
            return false;
        }
        let is_elsewhere = way.device.is_some_and(|device| device != watched.dev);
        if way.device.is_some() && (is_elsewhere || way.has_links || self.mounts.contains(at)) {
            return self.watch_file(number, way.path);
        }
        self.unwatch_file(number);
        true
    }

    /// The log whose file has this watch, which has told what it was to tell.
    pub(super) fn take_file(&mut self, watch: Watch) -> Option<u64> {
        let number = self.by_file.remove(&watch)?;
        self.files.remove(&number);
        self.subscription.unwatch(watch);
        Some(number)
    }

    /// The paths of a watched folder.
    pub(super) fn paths_of(&self, watch: Watch) -> Vec<Arc<Path>> {
        let watched = self.watches.get(&watch);
        watched.map_or(Vec::new(), |watched| watched.paths.clone())
    }

    /// If a path is a link on the way to something, or a folder on the way is missing there: the logs on whose own way
    /// it lies.
    pub(super) fn logs_over(&self, path: &Path) -> Option<Vec<u64>> {
        self.steps.get(path).cloned()
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
    pub(super) fn status(&self) -> HintStatus {
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

    /// Whether names in the folder of this path are told.
    fn tells_names(&self, path: &Path) -> Option<Watch> {
        self.folders.get(parent_of(path))?.watch.ok()
    }
}
