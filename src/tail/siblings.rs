//! Finding where a rotation put a file: by inode, by content, and by the [`names`] that log rotation
//! gives.

use super::fence::{get_on, touch};
use super::gz::GzFile;
use super::identity::{self, FileId, Signature};
use super::names::{self, Scheme};
use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// A regular file in a log's directory whose name is one that rotating the log may have given it.
#[derive(Debug, Clone)]
pub struct Sibling {
    /// Where it is.
    pub path: PathBuf,
    /// Device and inode.
    pub id: FileId,
    /// Bytes, as on disk.
    pub size: u64,
    /// Last change of the content, seconds since the epoch.
    pub mtime: f64,
    /// Its creation, if known.
    pub birth: Option<f64>,
    /// Whether it is gzip by its name.
    pub gz: bool,
    /// How the rotation that may have named it names files.
    pub scheme: Scheme,
    mark: Vec<u8>,
}

impl Sibling {
    /// Which of two was rotated away first, if their names say so: `.3` before `.2`, an earlier
    /// date before a later one.
    pub fn rotated_before(&self, other: &Sibling) -> Option<bool> {
        let numbers = |s: &[u8]| {
            let digits: Vec<u8> = s.iter().copied().filter(u8::is_ascii_digit).collect();
            let plain = s.iter().filter(|b| b.is_ascii_digit()).count() + 1 >= s.len();
            (digits, plain)
        };
        let ((a, a_plain), (b, b_plain)) = (numbers(&self.mark), numbers(&other.mark));
        let short = |d: &[u8], plain: bool| plain && d.len() <= 5;
        if short(&a, a_plain) != short(&b, b_plain) {
            return None;
        }
        let order = if short(&a, a_plain) {
            // counts up with age
            (b.len(), &b).cmp(&(a.len(), &a))
        } else if a.len() == b.len() {
            a.cmp(&b)
        } else {
            return None;
        };
        Some(order == Ordering::Less)
    }
}

/// A directory's entries by what is looked for. A rotation of all files of a large folder asks
/// once per file; reading the folder each time would take minutes.
struct Listing {
    /// Of the directory when it was read, and how old that was then.
    changed: (i64, i64),
    settled: bool,
    by_ino: HashMap<u64, Vec<OsString>>,
    by_log: HashMap<OsString, Vec<OsString>>,
    folders: Vec<OsString>,
}

#[cfg(test)]
thread_local! {
    /// An inode that no listing shows, as it is with a bind-mounted file.
    static HIDDEN: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// Keeps an inode out of all listings of this thread.
#[cfg(test)]
pub fn hide(ino: u64) {
    HIDDEN.set(ino);
    forget_listings();
}

thread_local! {
    static LISTINGS: RefCell<HashMap<PathBuf, Rc<Listing>>> = RefCell::new(HashMap::new());
}

/// Gives the memory of listings back; to be called after each round of looks.
pub fn forget_listings() {
    LISTINGS.with_borrow_mut(HashMap::clear);
}

/// A listing that is true now: the directory has not changed since it was read. Its time stamp is
/// coarse, so one that was read just after a change is not used twice.
fn listing(dir: &Path) -> Option<Rc<Listing>> {
    let meta = identity::stat(dir).ok()?;
    let changed = (meta.mtime(), meta.mtime_nsec());
    let known = LISTINGS.with_borrow(|all| all.get(dir).cloned());
    if let Some(known) = known.filter(|l| l.settled && l.changed == changed) {
        return Some(known);
    }
    let now = crate::util::time::now_secs();
    let mut listing = Listing {
        changed,
        settled: (now - mtime(&meta)).abs() > 0.05,
        by_ino: HashMap::new(),
        by_log: HashMap::new(),
        folders: Vec::new(),
    };
    for entry in fs::read_dir(dir).ok()?.flatten() {
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
        listing.by_ino.entry(entry.ino()).or_default().push(name);
    }
    let listing = Rc::new(listing);
    LISTINGS.with_borrow_mut(|all| all.insert(dir.to_path_buf(), listing.clone()));
    Some(listing)
}

/// How many folders below a log's are looked through, at most.
const MOST_FOLDERS: usize = 32;

/// The files beside the log at `path` whose names are those of its rotated files, in no order. An
/// unreadable directory has none.
pub fn siblings(path: &Path) -> Vec<Sibling> {
    let mut found = Vec::new();
    for real in places(path) {
        if let (Some(dir), Some(log)) = (real.parent(), real.file_name()) {
            rotated_in(dir, log, &mut found);
        }
    }
    found
}

/// The same in the folders right below (logrotate's `olddir`).
pub fn siblings_below(path: &Path) -> Vec<Sibling> {
    let mut found = Vec::new();
    for real in places(path) {
        let (Some(dir), Some(log)) = (real.parent(), real.file_name()) else {
            continue;
        };
        let Some(listing) = listing(dir) else {
            continue;
        };
        for folder in listing.folders.iter().take(MOST_FOLDERS) {
            rotated_in(&dir.join(folder), log, &mut found);
        }
    }
    found
}

fn rotated_in(dir: &Path, log: &OsStr, found: &mut Vec<Sibling>) {
    let Some(listing) = listing(dir) else {
        return;
    };
    for name in listing.by_log.get(log).into_iter().flatten() {
        let Some(rotated) = names::rotated(log.as_bytes(), name.as_bytes()) else {
            continue;
        };
        let path = dir.join(name);
        let Ok(meta) = touch(&path).and_then(|()| fs::symlink_metadata(&path)) else {
            continue;
        };
        if !meta.is_file() {
            continue;
        }
        found.push(Sibling {
            id: FileId::of(&meta),
            size: meta.len(),
            mtime: mtime(&meta),
            birth: crate::util::sys::birth_time(&path),
            gz: rotated.gz,
            scheme: rotated.scheme,
            mark: rotated.mark.to_vec(),
            path,
        });
    }
}

/// Seconds since the epoch of the last change of content.
pub fn mtime(meta: &fs::Metadata) -> f64 {
    meta.mtime() as f64 + meta.mtime_nsec() as f64 / 1e9
}

/// The log's path, and where it leads if it is a symbolic link.
pub fn places(path: &Path) -> Vec<PathBuf> {
    let mut places = vec![path.to_path_buf()];
    // A link among its folders leads both names into the same listing
    let link = touch(path).and_then(|()| fs::symlink_metadata(path));
    if link.is_ok_and(|meta| meta.is_symlink()) {
        places.extend(fs::canonicalize(path).ok());
    }
    places
}

/// Where the file with this identity is now, if it still is in the log's directory or in a folder
/// right below it (logrotate's `olddir`).
pub fn find_id(path: &Path, id: FileId, ignore_dev: bool) -> Option<PathBuf> {
    let is_it = |found: &PathBuf| {
        let meta = touch(found).and_then(|()| fs::symlink_metadata(found));
        meta.is_ok_and(|meta| {
            meta.is_file() && meta.ino() == id.ino && (ignore_dev || meta.dev() == id.dev)
        })
    };
    let in_folder = |dir: &Path| {
        let listing = listing(dir)?;
        let names = listing.by_ino.get(&id.ino).into_iter().flatten();
        let found = names.map(|name| dir.join(name)).find(is_it);
        Some((found, listing))
    };
    for real in places(path) {
        let Some(dir) = real.parent() else { continue };
        let Some((found, listing)) = in_folder(dir) else {
            continue;
        };
        if found.is_some() {
            return found;
        }
        for folder in listing.folders.iter().take(MOST_FOLDERS) {
            if let Some((Some(found), _)) = in_folder(&dir.join(folder)) {
                return Some(found);
            }
        }
    }
    None
}

/// As [`find_id`], for a content of the log at `path`. An empty content is told by its inode alone,
/// which may be any file's by now, created in the same tick of the clock: it is found only under a
/// name that a rotation of the log gives.
pub fn find_content(path: &Path, id: FileId, is_empty: bool) -> Option<PathBuf> {
    let found = find_id(path, id, false);
    found.filter(|at| !is_empty || at == path || scheme_of(path, at).is_some())
}

/// The scheme by which the rotation of the log at `log` names files, if it gave this path.
pub fn scheme_of(log: &Path, path: &Path) -> Option<Scheme> {
    let name = path.file_name()?.as_bytes();
    // A link's target is rotated under the target's name
    places(log).iter().find_map(|place| {
        let original = place.file_name()?.as_bytes();
        names::rotated(original, name).map(|rotated| rotated.scheme)
    })
}

/// Whether a sibling holds the content with this signature, at least `size` bytes of it, and with
/// this mark there.
pub fn holds(sibling: &Sibling, signature: Signature, size: u64, mark: Option<u64>) -> bool {
    if signature.len == 0 {
        return false;
    }
    let Ok((file, meta)) = identity::open(&sibling.path) else {
        return false;
    };
    if sibling.gz {
        let mut head = vec![0; Signature::MOST];
        let Ok(mut gz) = GzFile::new(file) else {
            return false;
        };
        let Ok(n) = gz.read_at(&mut head, 0) else {
            return false;
        };
        if !signature.agrees(&head[..n]) {
            return false;
        }
        let lead = size.min(identity::MARK as u64);
        let mut end = [0; identity::MARK];
        let end = &mut end[..lead as usize];
        return gz
            .read_at(end, size - lead)
            .is_ok_and(|n| n == end.len() && mark.is_none_or(|m| m == identity::mark(end)));
    }
    file_holds(&file, &meta, signature, size, mark)
}

/// As [`holds`], of an open file that is not compressed.
pub fn file_holds(
    file: &File,
    meta: &fs::Metadata,
    signature: Signature,
    size: u64,
    mark: Option<u64>,
) -> bool {
    signature.len > 0
        && meta.len() >= size
        && identity::head(file).is_ok_and(|head| signature.agrees(&head))
        && mark.is_none_or(|m| identity::mark_at(file, size).is_ok_and(|at| at == Some(m)))
}

/// When what a compressed sibling holds was written, seconds since the epoch, if it says so.
pub fn gz_written(sibling: &Sibling) -> Option<f64> {
    let (file, _) = identity::open(&sibling.path).ok()?;
    let written = GzFile::new(file).ok()?.written();
    (written > 0).then_some(f64::from(written))
}

/// Whether a sibling's content is what an open file begins with: its copy, perhaps one in the making.
pub fn is_beginning_of(sibling: &Sibling, shown: &File) -> bool {
    if sibling.gz || sibling.size == 0 {
        return false;
    }
    let begins = || {
        let (copy, _) = identity::open(&sibling.path)?;
        let end = identity::mark_at(&copy, sibling.size)?;
        let same = Signature::of(&identity::head(&copy)?).agrees(&identity::head(shown)?);
        std::io::Result::Ok(same && end == identity::mark_at(shown, sibling.size)?)
    };
    begins().unwrap_or(false)
}

/// Whether a sibling's content has a line end right before `at`.
pub fn has_line_end(sibling: &Sibling, at: u64) -> bool {
    let Some(before) = at.checked_sub(1) else {
        return false;
    };
    let Ok((file, _)) = identity::open(&sibling.path) else {
        return false;
    };
    let mut byte = [0];
    let read = if sibling.gz {
        GzFile::new(file).and_then(|mut gz| gz.read_at(&mut byte, before))
    } else {
        identity::read_full_at(&file, &mut byte, before)
    };
    read.is_ok_and(|n| n == 1) && byte == *b"\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_rotation_is_read_from_names() {
        let s = |mark: &str| Sibling {
            path: PathBuf::new(),
            id: FileId { dev: 0, ino: 0 },
            size: 0,
            mtime: 0.0,
            birth: None,
            gz: false,
            scheme: names::rotated(b"app", b"app.1").unwrap().scheme,
            mark: mark.as_bytes().to_vec(),
        };
        assert_eq!(s(".10").rotated_before(&s(".9")), Some(true));
        assert_eq!(s(".1").rotated_before(&s(".2")), Some(false));
        assert_eq!(s("-20261122").rotated_before(&s("-20261123")), Some(true));
        assert_eq!(s("-20261122").rotated_before(&s(".1")), None);
    }
}
