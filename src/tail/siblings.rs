//! Finding where a rotation put a file: by inode, by content, and by the names that log rotation
//! gives.

use super::gz::GzFile;
use super::identity::{self, FileId, Signature};
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
    suffix: Vec<u8>,
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
        let ((a, a_plain), (b, b_plain)) = (numbers(&self.suffix), numbers(&other.suffix));
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

/// The part of `name` that a rotation of `log` added, if it is such a name: digits and date marks
/// after the name (`app.log.1`, `app.log-20261123`), before its extension (`app-20261123.log`,
/// `app.1.log`), each also with `.gz`.
fn suffix<'a>(log: &[u8], name: &'a [u8]) -> Option<(&'a [u8], bool)> {
    let (name, gz) = match name.strip_suffix(b".gz") {
        Some(plain) => (plain, true),
        None => (name, false),
    };
    let stem_len = log.iter().rposition(|&b| b == b'.').filter(|&at| at > 0);
    let (stem, ext) = log.split_at(stem_len.unwrap_or(log.len()));
    let middle = name.strip_prefix(log).or_else(|| {
        name.strip_prefix(stem)
            .and_then(|rest| rest.strip_suffix(ext))
    })?;
    let dated = middle
        .first()
        .is_some_and(|b| matches!(b, b'.' | b'-' | b'_'))
        && middle.iter().any(u8::is_ascii_digit)
        && middle.iter().all(|b| {
            b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_' | b':' | b'T' | b'Z' | b'+')
        });
    // A log that was compressed without being renamed otherwise
    let only_gz = middle.is_empty() && gz;
    (dated || only_gz).then_some((middle, gz))
}

/// The names of the logs that a rotated file's name may have been made of: `app.log` for
/// `app.log.1`, `app.log-20261123` and `app-20261123.log`. None for a name that no rotation gives.
pub fn originals(name: &OsStr) -> Vec<OsString> {
    let name = name.as_bytes();
    let plain = name.strip_suffix(b".gz").unwrap_or(name);
    let mut found: Vec<OsString> = Vec::new();
    let mut offer = |log: &[u8]| {
        let new = !found.iter().any(|f| f.as_bytes() == log);
        if new && !log.is_empty() && suffix(log, name).is_some() {
            found.push(OsStr::from_bytes(log).to_owned());
        }
    };
    if plain.len() < name.len() {
        offer(plain);
    }
    // A mark begins with a separator; what comes after it are digits and separators up to the end
    // of the name or to its extension.
    for (at, byte) in plain.iter().enumerate().rev() {
        if !(byte.is_ascii_digit() || is_mark(*byte)) {
            break;
        }
        if matches!(byte, b'.' | b'-' | b'_') {
            offer(&plain[..at]);
        }
    }
    if let Some(dot) = plain.iter().rposition(|b| *b == b'.') {
        let (stem, ext) = plain.split_at(dot);
        for (at, byte) in stem.iter().enumerate().rev() {
            if !(byte.is_ascii_digit() || is_mark(*byte)) {
                break;
            }
            if matches!(byte, b'.' | b'-' | b'_') {
                offer(&[&stem[..at], ext].concat());
            }
        }
    }
    found
}

fn is_mark(byte: u8) -> bool {
    matches!(byte, b'.' | b'-' | b'_' | b':' | b'T' | b'Z' | b'+')
}

/// What the names that a rotation gives to a file have in common: the path without `.gz`, without
/// digits and marks at its end, and without a date before the extension. Fewer than six digits
/// there are a number of the log itself: `worker-1.log` and `worker-2.log` are two logs.
pub fn family(path: &[u8]) -> Vec<u8> {
    let path = path.strip_suffix(b".gz").unwrap_or(path);
    let start = path.iter().rposition(|&b| b == b'/').map_or(0, |at| at + 1);
    let mark = |b: &u8| b.is_ascii_digit() || is_mark(*b);
    let without_end = |name: &[u8]| name.iter().rposition(|b| !mark(b)).map_or(0, |at| at + 1);
    let name = &path[start..];
    let end = without_end(name);
    if end > 0 && end < name.len() {
        return path[..start + end].to_vec();
    }
    if let Some(dot) = name.iter().rposition(|b| *b == b'.') {
        let (stem, ext) = name.split_at(dot);
        let end = without_end(stem);
        let digits = stem[end..].iter().filter(|b| b.is_ascii_digit()).count();
        if digits >= 6 && end > 0 {
            return [&path[..start + end], ext].concat();
        }
    }
    path.to_vec()
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
    let meta = fs::metadata(dir).ok()?;
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
        let name = entry.file_name();
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            listing.folders.push(name);
            continue;
        }
        for log in originals(&name) {
            listing.by_log.entry(log).or_default().push(name.clone());
        }
        listing.by_ino.entry(entry.ino()).or_default().push(name);
    }
    let listing = Rc::new(listing);
    LISTINGS.with_borrow_mut(|all| all.insert(dir.to_path_buf(), listing.clone()));
    Some(listing)
}

/// The rotated siblings of the log at `path`, in no order. An unreadable directory has none.
pub fn siblings(path: &Path) -> Vec<Sibling> {
    let mut found = Vec::new();
    for real in places(path) {
        let (Some(dir), Some(log)) = (real.parent(), real.file_name()) else {
            continue;
        };
        let Some(listing) = listing(dir) else {
            continue;
        };
        let relatives = listing.by_log.get(log);
        for name in relatives.into_iter().flatten() {
            let Some((suffix, gz)) = suffix(log.as_bytes(), name.as_bytes()) else {
                continue;
            };
            let path = dir.join(name);
            let Ok(meta) = fs::symlink_metadata(&path) else {
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
                gz,
                suffix: suffix.to_vec(),
                path,
            });
        }
    }
    found
}

/// Seconds since the epoch of the last change of content.
pub fn mtime(meta: &fs::Metadata) -> f64 {
    meta.mtime() as f64 + meta.mtime_nsec() as f64 / 1e9
}

/// The log's path, and where it leads if it is a symbolic link.
pub fn places(path: &Path) -> Vec<PathBuf> {
    let mut places = vec![path.to_path_buf()];
    if let Ok(real) = fs::canonicalize(path) {
        if real != path {
            places.push(real);
        }
    }
    places
}

/// Where the file with this identity is now, if it still is in the log's directory or in a folder
/// right below it (logrotate's `olddir`).
pub fn find_id(path: &Path, id: FileId, ignore_dev: bool) -> Option<PathBuf> {
    const MOST_FOLDERS: usize = 32;
    let is_it = |found: &PathBuf| {
        fs::symlink_metadata(found).is_ok_and(|meta| {
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
    meta.len() >= size
        && identity::head(&file).is_ok_and(|head| signature.agrees(&head))
        && mark.is_none_or(|m| identity::mark_at(&file, size).is_ok_and(|at| at == Some(m)))
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

    fn is(log: &str, name: &str) -> bool {
        suffix(log.as_bytes(), name.as_bytes()).is_some()
    }

    #[test]
    fn names_that_rotation_gives() {
        for name in [
            "app.log.1",
            "app.log.12",
            "app.log-20261123",
            "app.log-20261123-1200",
            "app.1.log",
            "app-20261123.log",
            "app-2026-11-23.log",
            "app.log.1.gz",
            "app.log-20261123.gz",
            "app.log.2026-11-23",
            "app.log.gz",
        ] {
            assert!(is("app.log", name), "{name}");
        }
        for name in [
            "app.log",
            "app.log.old",
            "appx.log.1",
            "app.log.1.bz2",
            "other.log.1",
            "app.log.bak",
        ] {
            assert!(!is("app.log", name), "{name}");
        }
        assert!(is("messages", "messages.1"));
        assert!(is("messages", "messages-20261123"));
    }

    #[test]
    fn the_log_is_known_by_the_names_of_its_rotated_files() {
        let of = |name: &str| {
            let names = originals(OsStr::new(name)).into_iter();
            names.map(|n| n.into_string().unwrap()).collect::<Vec<_>>()
        };
        for name in [
            "app.log.1",
            "app.log.2.gz",
            "app.log-20261123",
            "app.1.log",
            "app.log-20261123-1200",
        ] {
            assert!(of(name).contains(&"app.log".to_owned()), "{name}");
        }
        assert_eq!(of("messages.1"), ["messages"]);
        assert_eq!(of("worker-1.log.2"), ["worker-1.log"]);
        assert_eq!(of("messages1.1"), ["messages1"]);
        assert_eq!(of("app.log"), [""; 0]);
        assert_eq!(of("2026"), [""; 0]);
    }

    #[test]
    fn rotated_names_fall_to_one_session_and_numbered_logs_do_not() {
        let same = |a: &str, b: &str| family(a.as_bytes()) == family(b.as_bytes());
        for name in [
            "/x/app.log.1",
            "/x/app.log.12.gz",
            "/x/app.log-20261123",
            "/x/app-20261123.log",
        ] {
            assert!(same("/x/app.log", name), "{name}");
        }
        assert!(!same("/x/worker-1.log", "/x/worker-2.log"));
        assert!(!same("/x/1.log", "/x/2.log"));
        assert!(!same("/x/app.log", "/y/app.log"));
    }

    #[test]
    fn the_order_of_rotation_is_read_from_names() {
        let s = |suffix: &str| Sibling {
            path: PathBuf::new(),
            id: FileId { dev: 0, ino: 0 },
            size: 0,
            mtime: 0.0,
            birth: None,
            gz: false,
            suffix: suffix.as_bytes().to_vec(),
        };
        assert_eq!(s(".10").rotated_before(&s(".9")), Some(true));
        assert_eq!(s(".1").rotated_before(&s(".2")), Some(false));
        assert_eq!(s("-20261122").rotated_before(&s("-20261123")), Some(true));
        assert_eq!(s("-20261122").rotated_before(&s(".1")), None);
    }
}
