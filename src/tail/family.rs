//! A family: a log, the logs that have names of its rotated files, and all files with such names. A look
//! at one of them is a look at all, as contents pass from name to name.

use super::fence::touch;
use super::identity::{self, FileId};
use super::ledger::{At, Claim, Listed, LogId, Policy, Snapshot, Start, Stat};
use super::listing::{self, listing};
use super::log::{id_of, next_number, Log};
use super::names;
use super::settings::{Entry, Settings};
use super::source::{is_gone, name_of, path_of};
use super::tailer::Tailer;
use super::trust;
use crate::util::sort;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The logs of a family.
pub(super) struct Family {
    /// The one whose name all others are made of.
    pub root: u64,
    /// All, the root first.
    pub logs: Vec<u64>,
}

impl Family {
    /// Their names in the ledger.
    pub fn ids(&self) -> Vec<LogId> {
        self.logs.iter().map(|number| id_of(*number)).collect()
    }
}

/// The files of a family at one moment.
pub(super) struct Seen {
    /// For the decision.
    pub snapshot: Snapshot,
    /// Why the path of a log can't be read, by its number.
    pub errors: Vec<(u64, io::Error)>,
    /// The folders below were looked through as well.
    pub is_deep: bool,
    /// The folders, and the last change of each before its files were seen, in nanoseconds since the epoch.
    folders: BTreeMap<PathBuf, Option<i64>>,
}

impl Seen {
    /// Whether files may have been moved while they were seen: one that was compressed after its folder was listed is
    /// in it under neither name.
    pub fn is_torn(&self) -> bool {
        let mut folders = self.folders.iter();
        folders.any(|(folder, before)| {
            let now = identity::changed(folder);
            now != *before || now.is_some_and(is_just_now)
        })
    }
}

/// How far the folders below a log's were looked through.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Below {
    /// Not at all.
    Skipped,
    /// One can't be listed, or there are too many.
    Partly,
    /// All, or there are none.
    Whole,
}

/// Whether there may be another change with the same time stamp: it is as coarse as the clock's ticks.
fn is_just_now(nanos: i64) -> bool {
    (crate::util::time::now_secs() - nanos as f64 / 1e9).abs() < 0.05
}

impl Tailer {
    /// The family of a log.
    pub(super) fn family_of(&self, number: u64) -> Family {
        let mut root = number;
        // A name is shorter with each step
        while let Some(original) = self
            .logs
            .get(&root)
            .and_then(|log| self.original_of(&log.path))
        {
            root = original;
        }
        let mut logs = vec![root];
        let mut at = 0;
        while let Some(number) = logs.get(at).copied() {
            at += 1;
            let path = self.logs.get(&number).map(|log| &*log.path);
            let derived = path.and_then(|path| self.derived.get(path));
            logs.extend(derived.into_iter().flatten());
        }
        Family { root, logs }
    }

    /// The followed log that a rotation may have made this name of: the one with the longest name.
    fn original_of(&self, path: &Path) -> Option<u64> {
        let originals = originals(path).into_iter();
        let known = originals.filter_map(|original| {
            let number = self.by_path.get(original.as_path())?;
            Some((original.as_os_str().len(), *number))
        });
        known.max().map(|(_, number)| number)
    }

    /// The followed logs that a rotation may have made this path of.
    pub(super) fn originals_of(&self, path: &Path) -> Vec<u64> {
        let originals = originals(path).into_iter();
        originals
            .filter_map(|original| self.by_path.get(original.as_path()).copied())
            .collect()
    }

    /// The files of a family. Folders below are looked through at the very first look, where contents lie there or
    /// are missing, and if `deep`: a rotation may have an `olddir`.
    /// Where a folder can't be listed the paths of logs are seen all the same, and anything may lie in it.
    pub(super) fn see(&mut self, family: &Family, deep: bool) -> Seen {
        let mut files: BTreeMap<PathBuf, Stat> = BTreeMap::new();
        let mut unclear = BTreeSet::new();
        let mut errors = Vec::new();
        let mut places = BTreeSet::new();
        let mut folders = BTreeMap::new();
        let mut refused = false;
        let (mut below, mut is_listed) = (Below::Whole, true);
        // Old files below are remembered as all others are
        let deep = deep || self.ledger.listing(id_of(family.root)).is_none();
        for number in &family.logs {
            let Some(log) = self.logs.get(number) else {
                continue;
            };
            let path = log.path.to_path_buf();
            let contents = self.ledger.of_log(log.id()).iter();
            let contents = contents.filter_map(|key| self.ledger.get(*key));
            let lying = contents.filter_map(|content| Some(path_of(&content.place.file()?.name)));
            for place in lying.chain([&*path]) {
                if let Some(folder) = place.parent().filter(|dir| !folders.contains_key(*dir)) {
                    folders.insert(folder.to_path_buf(), identity::changed(folder));
                }
            }
            let changed = identity::folder_changed(&path);
            match self.shown(log) {
                Ok(meta) if meta.is_file() => {
                    let stat = identity::stat_of(&path, &meta);
                    if !self.is_elsewhere(&stat) {
                        files.insert(path.clone(), stat);
                    }
                }
                Ok(_) => {}
                Err(e) if is_gone(&e) => {}
                Err(e) => {
                    if trust::refusal(&e).is_some() {
                        refused = true;
                    } else {
                        unclear.insert(path.clone());
                    }
                    errors.push((*number, e));
                }
            }
            if let Some((name, file)) = self.waiting.get(&path).map(|w| (&path, &w.file)) {
                if let (false, Ok(meta)) = (files.contains_key(name), file.metadata()) {
                    // It was deleted while it waited
                    files.insert(name.clone(), identity::stat_of(name, &meta));
                }
            }
            places.insert(path.clone());
            let leads_to = listing::leads_to(&path);
            places.extend(leads_to.clone());
            self.leads(*number, leads_to);
            if let Some(log) = self.logs.get_mut(number) {
                log.folder_changed = changed;
            }
        }
        // Not where a log's path leads through a link that must not be followed
        if !refused {
            match self.see_rotated(family, &places, &mut files, &mut unclear, deep) {
                Ok(looked) => below = looked,
                Err(_) => {
                    is_listed = false;
                    let folders = places.iter().filter_map(|place| place.parent());
                    unclear.extend(folders.map(Path::to_path_buf));
                }
            }
        }
        let files = files.into_iter();
        let snapshot = Snapshot {
            files: files
                .map(|(path, stat)| Listed {
                    is_archive: path.extension().is_some_and(|end| end == "gz")
                        && !self.by_path.contains_key(path.as_path()),
                    name: name_of(&path),
                    stat,
                })
                .collect(),
            unclear: unclear.iter().map(|path| name_of(path)).collect(),
            is_partial: !is_listed,
            is_shallow: below != Below::Whole,
        };
        Seen {
            snapshot,
            errors,
            is_deep: below != Below::Skipped,
            folders,
        }
    }

    /// Adds the files with names of rotated ones, and those that hold contents of the family.
    fn see_rotated(
        &self,
        family: &Family,
        places: &BTreeSet<PathBuf>,
        files: &mut BTreeMap<PathBuf, Stat>,
        unclear: &mut BTreeSet<PathBuf>,
        deep: bool,
    ) -> io::Result<Below> {
        let mut names: BTreeSet<PathBuf> = BTreeSet::new();
        let mut folders: BTreeSet<&Path> = BTreeSet::new();
        let mut has_below = false;
        for place in places {
            let (Some(dir), Some(log)) = (place.parent(), place.file_name()) else {
                continue;
            };
            folders.insert(dir);
            let listing = listing(dir)?;
            has_below |= listing.folders().next().is_some();
            names.extend(listing.rotated_of(log).iter().map(|name| dir.join(name)));
        }
        let contents = family
            .logs
            .iter()
            .flat_map(|number| self.ledger.of_log(id_of(*number)));
        let contents = contents.filter_map(|key| self.ledger.get(*key));
        let lying = contents.filter_map(|content| content.place.last_file());
        let lying: Vec<_> = lying.collect();
        // Contents are under their last names mostly
        names.extend(lying.iter().map(|at| path_of(&at.name).to_path_buf()));
        let add = |names: BTreeSet<PathBuf>,
                   files: &mut BTreeMap<PathBuf, Stat>,
                   unclear: &mut BTreeSet<PathBuf>| {
            for path in names {
                if files.contains_key(&path)
                    || unclear.contains(&path)
                    || places.contains(&path)
                        && family
                            .logs
                            .iter()
                            .any(|n| self.logs.get(n).is_some_and(|log| *log.path == path))
                {
                    continue;
                }
                match self.beside(family, &path) {
                    Ok(Some(stat)) => {
                        files.insert(path, stat);
                    }
                    Ok(None) => {}
                    Err(_) => {
                        unclear.insert(path);
                    }
                }
            }
        };
        add(names, files, unclear);
        let seen: BTreeSet<FileId> = sort::gathered(files.values().map(|stat| stat.id));
        let missing: Vec<_> = lying.iter().filter(|at| !seen.contains(&at.id)).collect();
        let is_below = |at: &&&At| {
            let dir = path_of(&at.name).parent();
            dir.is_some_and(|dir| !folders.contains(dir))
        };
        if !deep && missing.is_empty() && !lying.iter().any(|at| is_below(&at)) {
            return Ok(match has_below {
                true => Below::Skipped,
                false => Below::Whole,
            });
        }
        let mut looked = Below::Whole;
        // A file may have been renamed to any name
        let mut names = BTreeSet::new();
        let mut all: Vec<(PathBuf, _)> = Vec::new();
        for dir in folders {
            let here = listing(dir)?;
            if here.has_more_folders() {
                looked = Below::Partly;
            }
            for folder in here.folders() {
                let below = dir.join(folder);
                match listing(&below) {
                    Ok(listing) => {
                        for place in places.iter().filter(|place| place.parent() == Some(dir)) {
                            let log = place.file_name().unwrap_or_default();
                            names.extend(
                                listing.rotated_of(log).iter().map(|name| below.join(name)),
                            );
                        }
                        all.push((below, listing));
                    }
                    Err(e) if is_gone(&e) => {}
                    Err(_) => {
                        looked = Below::Partly;
                        // A missing one may lie in a folder that had contents of the family. Many a log's folder has
                        // one below that can never be listed, which has no log wait
                        let is_in = |at: &&At| path_of(&at.name).parent() == Some(&*below);
                        if lying.iter().any(is_in) {
                            unclear.insert(below);
                        }
                    }
                }
            }
            all.push((dir.to_path_buf(), here));
        }
        for at in missing {
            for (dir, listing) in &all {
                names.extend(listing.with_ino(at.id.ino).map(|name| dir.join(name)));
            }
        }
        add(names, files, unclear);
        Ok(looked)
    }

    /// A file that is not at a log's path: none if it is no regular file or must not be read.
    fn beside(&self, family: &Family, path: &Path) -> io::Result<Option<Stat>> {
        let meta = match touch(path).and_then(|()| fs::symlink_metadata(path)) {
            Ok(meta) if meta.is_file() => meta,
            Ok(_) => return Ok(None),
            Err(e) if is_gone(&e) => return Ok(None),
            Err(e) => return Err(e),
        };
        let stat = identity::stat_of(path, &meta);
        if self.ledger.in_file(stat.id).next().is_some() {
            // A content that is followed is not dropped
            return Ok(Some(stat));
        }
        if self.is_elsewhere(&stat) {
            return Ok(None);
        }
        let logs = family
            .logs
            .iter()
            .filter_map(|number| self.logs.get(number));
        let mut logs = logs.peekable();
        let may = |entry: &Entry| {
            !entry.examines_links()
                || trust::permit(path, &entry.pattern)
                    .is_ok_and(|meta| FileId::of(&meta) == stat.id)
        };
        let may = logs.any(|log| {
            let mut entries = self.entries.iter();
            may(&log.entry) || entries.any(|entry| entry.covers(&log.path) && may(entry))
        });
        Ok(may.then_some(stat))
    }

    /// Where a log's path leads by now.
    fn leads(&mut self, number: u64, to: Option<PathBuf>) {
        let Some(log) = self.logs.get_mut(&number) else {
            return;
        };
        if log.leads_to.as_deref() == to.as_deref() {
            return;
        }
        let before = std::mem::replace(&mut log.leads_to, to.clone().map(Into::into));
        if let Some(before) = &before {
            if self.links.get(&**before) == Some(&number) {
                self.links.remove(&**before);
            }
        }
        let path = log.path.clone();
        self.links.extend(to.clone().map(|to| (to, number)));
        let scan = self.scans;
        if let Some(watching) = &mut self.watching {
            // The folder of what it leads to, and those of the links on the way
            if let Some(dir) = to.as_deref().and_then(Path::parent) {
                watching.count(dir, scan, true);
            }
            if let Some(dir) = before.as_deref().and_then(Path::parent) {
                watching.count(dir, scan, false);
            }
            watching.lead(number, to.is_some().then_some(&*path), scan);
        }
    }

    /// Enters a log into its family, or takes it out of it.
    pub(super) fn relate(&mut self, number: u64, path: &Path, is_there: bool) {
        for original in originals(path) {
            let all = self.derived.entry(original.clone()).or_default();
            all.retain(|other| *other != number);
            if is_there {
                all.push(number);
            }
            if all.is_empty() {
                self.derived.remove(&original);
            }
        }
    }

    /// The claims of the configuration to names of files, for a look at a family. What is another family's is
    /// for that one's looks.
    pub(super) fn claims<'a>(&'a mut self, family: &'a Family) -> Claims<'a> {
        Claims {
            family,
            entries: &self.entries,
            settings: &self.settings,
            by_path: &self.by_path,
            links: &self.links,
            logs: &self.logs,
            promised: RefCell::new(&mut self.promised),
            is_first_scan: !self.has_scanned,
            watched_before: &self.watched_before,
            restored_from_python: self.restored_from_python,
        }
    }
}

/// The paths that a rotation may have made this one of.
fn originals(path: &Path) -> Vec<PathBuf> {
    let names = names::originals(path.file_name().unwrap_or_default());
    names
        .into_iter()
        .map(|name| path.with_file_name(name))
        .collect()
}

/// The claims of the configuration to names of files, and where their files start.
pub(super) struct Claims<'a> {
    family: &'a Family,
    entries: &'a [Arc<Entry>],
    settings: &'a Settings,
    by_path: &'a HashMap<Arc<Path>, u64>,
    links: &'a HashMap<PathBuf, u64>,
    logs: &'a BTreeMap<u64, Box<Log>>,
    /// Numbers of logs that are matched and not followed yet.
    promised: RefCell<&'a mut HashMap<PathBuf, u64>>,
    is_first_scan: bool,
    watched_before: &'a [PathBuf],
    restored_from_python: Option<f64>,
}

impl Claims<'_> {
    /// Whether an entry of any worker matches the path, be it one that excludes it, or excludes it of the rotated
    /// files of what it matches.
    fn is_named(&self, path: &Path) -> bool {
        let elsewhere = &self.settings.elsewhere;
        let excludes = |e: &Arc<Entry>| {
            e.excludes(path) && originals(path).iter().any(|original| e.matches(original))
        };
        self.entries.iter().any(|e| e.matches(path) || excludes(e))
            || elsewhere.iter().any(|e| e.matches(path))
    }

    /// Whether a rotation of a log of the family may have given this name.
    fn is_derived(&self, path: &Path) -> bool {
        let of = |original: &PathBuf| {
            let log = self.by_path.get(original.as_path());
            log.is_some_and(|number| self.family.logs.contains(number))
        };
        originals(path).iter().any(of)
    }

    /// Whether a path is an archive of a log that the same entry has: compressed text is no log of its
    /// own, so it is the one that its name tells of.
    fn is_archive_of(&self, path: &Path, entry: &Entry) -> bool {
        let is_archive = path.extension().is_some_and(|end| end == "gz");
        let of = |original: &PathBuf| {
            let log = self
                .by_path
                .get(original.as_path())
                .and_then(|number| self.logs.get(number));
            log.is_some_and(|log| log.entry.pattern == entry.pattern)
        };
        is_archive && originals(path).iter().any(of)
    }
}

impl Policy for Claims<'_> {
    fn claim(&self, name: &[u8]) -> Claim {
        let path = path_of(name);
        let followed = self.by_path.get(path).or_else(|| self.links.get(path));
        if let Some(number) = followed {
            return match self.family.logs.contains(number) {
                true => Claim::Own(id_of(*number)),
                false => Claim::Others,
            };
        }
        let entry = self.entries.iter().find(|e| e.covers(path));
        let (index, count) = self.settings.share;
        match entry {
            Some(entry) if self.is_archive_of(path, entry) => Claim::Nobody,
            Some(_) if self.is_derived(path) && super::discover::share_of(path, count) == index => {
                let mut promised = self.promised.borrow_mut();
                let number = promised
                    .entry(path.to_path_buf())
                    .or_insert_with(next_number);
                Claim::Own(id_of(*number))
            }
            Some(_) => Claim::Others,
            None if self.is_named(path) => Claim::Others,
            None => Claim::Nobody,
        }
    }

    fn start(&self, _: LogId, file: &Listed, _: bool) -> Start {
        let path = path_of(&file.name);
        let followed = self.by_path.get(path).or_else(|| self.links.get(path));
        let log = followed.and_then(|number| self.logs.get(number));
        let entry = match log {
            Some(log) => Some(&log.entry),
            None => self.entries.iter().find(|e| e.covers(path)),
        };
        // A file that comes to be at a path that had a content before is new
        let is_new = log.is_some_and(|log| log.started);
        entry.map_or(Start::Begin, |entry| {
            let past = super::discover::Past {
                is_first_scan: self.is_first_scan && !is_new,
                watched_before: self.watched_before,
                restored_from_python: self.restored_from_python,
                clock_slack: self.settings.clock_slack,
            };
            past.start(path, entry, file)
        })
    }
}
