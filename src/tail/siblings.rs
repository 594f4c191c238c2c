//! Finding where a rotation put a file: by inode, by content, and by the names that log rotation
//! gives.

use super::gz::GzFile;
use super::identity::{self, FileId, Signature};
use std::cmp::Ordering;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

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

/// The rotated siblings of the log at `path`, in no order. An unreadable directory has none.
pub fn siblings(path: &Path) -> Vec<Sibling> {
    let mut found = Vec::new();
    for real in places(path) {
        let (Some(dir), Some(log)) = (real.parent(), real.file_name()) else {
            continue;
        };
        let Ok(entries) = fs::read_dir(dir) else {
            continue;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some((suffix, gz)) = suffix(log.as_bytes(), name.as_bytes()) else {
                continue;
            };
            let path = entry.path();
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
    use std::os::unix::fs::MetadataExt;
    meta.mtime() as f64 + meta.mtime_nsec() as f64 / 1e9
}

/// The log's path, and where it leads if it is a symbolic link.
fn places(path: &Path) -> Vec<PathBuf> {
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
    use std::os::unix::fs::{DirEntryExt, MetadataExt};
    const MOST_FOLDERS: usize = 32;
    let mut folders = Vec::new();
    for real in places(path) {
        let Some(dir) = real.parent() else { continue };
        folders.push((dir.to_path_buf(), true));
    }
    let mut at = 0;
    while at < folders.len() {
        let (dir, descend) = folders[at].clone();
        at += 1;
        let Ok(entries) = fs::read_dir(&dir) else {
            continue;
        };
        for entry in entries.flatten() {
            if entry.ino() == id.ino {
                let found = entry.path();
                if let Ok(meta) = fs::symlink_metadata(&found) {
                    if meta.is_file() && (ignore_dev || meta.dev() == id.dev) {
                        return Some(found);
                    }
                }
            } else if descend
                && folders.len() < MOST_FOLDERS
                && entry.file_type().is_ok_and(|t| t.is_dir())
            {
                folders.push((entry.path(), false));
            }
        }
    }
    None
}

/// Whether a sibling holds the content with this signature and at least `size` bytes of it.
pub fn holds(sibling: &Sibling, signature: Signature, size: u64) -> bool {
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
        return signature.agrees(&head[..n]) && gz.length().is_ok_and(|len| len >= size);
    }
    meta.len() >= size && identity::head(&file).is_ok_and(|head| signature.agrees(&head))
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
