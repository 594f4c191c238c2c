//! Listings of folders by what is looked for: names that a rotation gives, and inodes.

use super::fence::{get_on, touch};
use super::identity::{self, FileId};
use super::names;
use crate::util::sort;
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// A folder's entries by what is looked for. A rotation of all files of a large folder asks once per
/// file; reading the folder each time would take minutes.
pub struct Listing {
    /// The folder and its last change when it was read, and whether that was long enough ago.
    changed: (FileId, i64, i64),
    settled: bool,
    /// In order.
    by_ino: Vec<(u64, OsString)>,
    by_log: HashMap<OsString, Vec<OsString>>,
    folders: Vec<OsString>,
}

impl Listing {
    /// The names with this inode.
    pub fn with_ino(&self, ino: u64) -> impl Iterator<Item = &OsString> {
        let begin = self.by_ino.partition_point(|(other, _)| *other < ino);
        let all = self.by_ino[begin..].iter();
        all.take_while(move |(other, _)| *other == ino)
            .map(|(_, name)| name)
    }

    /// The names that a rotation may have given to the log with this name.
    pub fn rotated_of(&self, log: &std::ffi::OsStr) -> &[OsString] {
        self.by_log.get(log).map_or(&[], Vec::as_slice)
    }

    /// The folders in it, at most [`MOST_FOLDERS`].
    pub fn folders(&self) -> impl Iterator<Item = &OsString> {
        self.folders.iter().take(MOST_FOLDERS)
    }

    /// Whether there are more than that.
    pub fn has_more_folders(&self) -> bool {
        self.folders.len() > MOST_FOLDERS
    }
}

/// How many folders below a log's are looked through, at most.
const MOST_FOLDERS: usize = 32;

#[cfg(test)]
thread_local! {
    /// An inode that no listing shows, as it is with a bind-mounted file.
    static HIDDEN: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
    /// A folder that can't be listed, as on a disk with errors.
    static REFUSED: RefCell<Option<PathBuf>> = const { RefCell::new(None) };
    /// A closure of the test that runs right after the next folder was read.
    static NEXT: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

/// Has something happen between the next listing of this thread and the looks at the files in it.
#[cfg(test)]
pub fn after_the_next(what: impl FnOnce() + 'static) {
    NEXT.set(Some(Box::new(what)));
}

/// Has the listing of a folder fail in this thread from now on.
#[cfg(test)]
pub fn refuse(dir: Option<PathBuf>) {
    REFUSED.set(dir);
}

/// Keeps an inode out of all listings of this thread.
#[cfg(test)]
pub fn hide(ino: u64) {
    HIDDEN.set(ino);
    LISTINGS.with_borrow_mut(HashMap::clear);
}

/// A listing that was not asked for during this time is forgotten.
const KEPT: Duration = Duration::from_secs(2);

thread_local! {
    static LISTINGS: RefCell<HashMap<PathBuf, (Rc<Listing>, Instant)>> = RefCell::new(HashMap::new());
}

/// Gives the memory of listings back that are not in use; to be called after each round of looks.
pub fn forget_listings() {
    LISTINGS.with_borrow_mut(|all| all.retain(|_, (_, used)| used.elapsed() < KEPT));
}

/// A listing that is true now: the folder has not changed since it was read. Its time stamp is coarse,
/// so one that was read just after a change is not used twice.
///
/// # Errors
/// The folder can't be read to its end. Nothing may be concluded then: not that anything is gone, nor
/// that it is new.
pub fn listing(dir: &Path) -> io::Result<Rc<Listing>> {
    #[cfg(test)]
    if REFUSED.with_borrow(|refused| refused.as_deref() == Some(dir)) {
        return Err(io::Error::from_raw_os_error(libc::EIO));
    }
    let meta = identity::stat(dir)?;
    let changed = (FileId::of(&meta), meta.mtime(), meta.mtime_nsec());
    let known = LISTINGS.with_borrow_mut(|all| {
        let (known, used) = all.get_mut(dir)?;
        *used = Instant::now();
        (known.settled && known.changed == changed).then(|| known.clone())
    });
    if let Some(known) = known {
        return Ok(known);
    }
    let now = crate::util::time::now_secs();
    let mut listing = Listing {
        changed,
        settled: (now - identity::mtime(&meta)).abs() > 0.05,
        by_ino: Vec::new(),
        by_log: HashMap::new(),
        folders: Vec::new(),
    };
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        get_on();
        let name = entry.file_name();
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            listing.folders.push(name);
            continue;
        }
        for log in names::originals(&name) {
            listing.by_log.entry(log).or_default().push(name.clone());
        }
        #[cfg(test)]
        if entry.ino() == HIDDEN.get() {
            continue;
        }
        listing.by_ino.push((entry.ino(), name));
    }
    #[cfg(test)]
    if let Some(what) = NEXT.take() {
        what();
    }
    sort::plainly(&mut listing.by_ino);
    let listing = Rc::new(listing);
    let kept = (listing.clone(), Instant::now());
    LISTINGS.with_borrow_mut(|all| all.insert(dir.to_path_buf(), kept));
    Ok(listing)
}

/// Where a path leads if it is a symbolic link. A link among its folders leads both names into the same
/// listing, so it does not count.
pub fn leads_to(path: &Path) -> Option<PathBuf> {
    let link = touch(path).and_then(|()| fs::symlink_metadata(path));
    let is_link = link.is_ok_and(|meta| meta.is_symlink());
    is_link.then(|| fs::canonicalize(path).ok()).flatten()
}
