//! The facts about a path that entries, names and the file system tell, for `explain` and `dry-run`. The finding
//! of a session about it is in `outlook.rs`.

use super::discover::{add_attributes, share_of};
use super::glob;
use super::identity::{self, FileId};
use super::ledger::{before, HEAD};
use super::listing::{leads_to, listing};
use super::log::{next_number, Log};
use super::source::is_gone;
use super::Entry;
use crate::config::AttrValue;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Whether an entry is about a path, without regard to other entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fit {
    /// It is about the path.
    Covers,
    /// Its pattern matches, but so does this pattern of its `exclude`, counted from 0.
    Excluded(usize),
    /// Its pattern does not match; a phrase that says why.
    Other(String),
}

/// Whether `entry` is about `path`, which need not exist.
pub fn fit(entry: &Entry, path: &Path) -> Fit {
    if !entry.is_glob {
        if entry.pattern != path {
            return Fit::Other("it names another file".to_owned());
        }
    } else if !glob::matches(&entry.pattern, path) {
        return Fit::Other(mismatch(&entry.pattern, path));
    }
    let bytes = path.as_os_str().as_bytes();
    match entry.exclude.iter().position(|p| glob::crosses(p, bytes)) {
        Some(at) => Fit::Excluded(at),
        None => Fit::Covers,
    }
}

/// Why a pattern that does not match does not.
fn mismatch(pattern: &Path, path: &Path) -> String {
    let parts = |p: &Path| -> Vec<Vec<u8>> {
        let parts = p.as_os_str().as_bytes().split(|b| *b == b'/');
        parts
            .filter(|p| !p.is_empty())
            .map(<[u8]>::to_vec)
            .collect()
    };
    let alone = |part: &[u8]| glob::path(&[b"/", part].concat());
    let (wanted, names) = (parts(pattern), parts(path));
    for (want, name) in wanted.iter().zip(&names) {
        if want == b"**" {
            return "no way of `**` leads to it".to_owned();
        }
        if glob::matches(&alone(want), &alone(name)) {
            continue;
        }
        let show = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (name, want) = (show(name), show(want));
        let hidden = name.starts_with('.') && !want.starts_with('.');
        return match hidden {
            true => format!("`{name}` is hidden, and wildcards do not match a leading dot"),
            false => format!("`{name}` does not match `{want}`"),
        };
    }
    match wanted.len() < names.len() {
        true => "it lies deeper than the pattern leads; `*` stays within a folder".to_owned(),
        false => "the pattern leads deeper".to_owned(),
    }
}

/// Which of a worker's sessions a path falls to.
pub fn session_of(path: &Path, sessions: u32) -> u32 {
    u32::try_from(share_of(path, u64::from(sessions))).unwrap_or(0)
}

/// A log without content: what an entry, and the literal ones after it, make of a path.
pub(super) fn bare_log(entries: &[Entry], path: &Path) -> Option<(Log, usize)> {
    let first = entries.iter().position(|e| e.covers(path))?;
    let mut own = Entry::new(path.to_path_buf());
    let entry = &entries[first];
    own.pattern = entry.pattern.clone();
    own.is_glob = entry.is_glob;
    own.attributes = entry.attributes.clone();
    own.pipeline = entry.pipeline.clone();
    own.rename = entry.rename.clone();
    let mut log = Log::new(path.into(), Arc::new(own), next_number(), Instant::now());
    for later in &entries[first + 1..] {
        if !later.is_glob && later.covers(path) {
            add_attributes(&mut log, later);
        }
    }
    Some((log, first))
}

/// The name and the attributes that a log is sent with.
#[derive(Debug, Clone)]
pub struct Label {
    /// The name that is reported.
    pub reported: String,
    /// All its attributes.
    pub attributes: Vec<(String, AttrValue)>,
}

/// The name and the attributes that the first of `entries` that covers `path` gives it.
pub fn label(entries: &[Entry], path: &Path) -> Option<Label> {
    let (log, _) = bare_log(entries, path)?;
    Some(Label {
        reported: log.reported_name(),
        attributes: log.attributes(),
    })
}

/// Why the file at a path is not copied, if it is because it is compressed.
pub fn compressed(path: &Path) -> Option<String> {
    match super::compressed::of(path) {
        Ok(super::compressed::Kind::Compressed(name)) => Some(super::compressed::reason(name)),
        _ => None,
    }
}

/// The facts about a file that the file system and its first bytes tell.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Bytes.
    pub size: u64,
    /// Device and inode.
    pub id: (u64, u64),
    /// Last change of the content, seconds since the epoch.
    pub mtime: f64,
    /// Where it leads, if it is a symbolic link.
    pub leads_to: Option<PathBuf>,
    /// How many first bytes were looked at, and their FNV-1a; not if it can't be read.
    pub signature: Result<(u32, u64), String>,
}

/// The facts about the file at a path, past links.
///
/// # Errors
/// A phrase: there is none, it is no regular file.
pub fn facts(path: &Path) -> Result<Facts, String> {
    let meta = match identity::stat(path) {
        Ok(meta) if meta.is_dir() => return Err("it is a folder".to_owned()),
        Ok(meta) if !meta.is_file() => {
            return Err("it is a FIFO, socket or device; these are never opened".to_owned())
        }
        Ok(meta) => meta,
        Err(e) if is_gone(&e) => return Err("there is no such file".to_owned()),
        Err(e) => return Err(e.to_string()),
    };
    let id = FileId::of(&meta);
    let is_link = fs::symlink_metadata(path).is_ok_and(|m| m.is_symlink());
    Ok(Facts {
        size: meta.len(),
        id: (id.dev, id.ino),
        mtime: identity::mtime(&meta),
        leads_to: is_link.then(|| fs::canonicalize(path).ok()).flatten(),
        signature: identity::open(path)
            .and_then(|(file, _)| before(HEAD as u64, HEAD, &mut &file))
            .map(|head| (head.len() as u32, identity::hash(&head)))
            .map_err(|e| e.to_string()),
    })
}

/// The paths that the file at `path` may have had before a rotation named it so.
pub fn originals(path: &Path) -> Vec<PathBuf> {
    let names = super::names::originals(path.file_name().unwrap_or_default());
    names.into_iter().map(|n| path.with_file_name(n)).collect()
}

/// The names that rotation may give to a log, and the files with such names.
#[derive(Debug, Clone, Default)]
pub struct Rotation {
    /// Names as rotation gives them that would be recognised.
    pub examples: Vec<String>,
    /// Files of such names that are there, by name.
    pub siblings: Vec<PathBuf>,
    /// Files there whose names begin as the log's does and that are not recognised by name.
    pub strangers: Vec<PathBuf>,
}

/// The names that rotation gives to the log at `path`, and what is there.
pub fn rotation(path: &Path) -> Rotation {
    const MOST: usize = 20;
    let Some(name) = path.file_name() else {
        return Rotation::default();
    };
    let name = name.as_bytes();
    let dot = name.iter().rposition(|b| *b == b'.').filter(|at| *at > 0);
    let (stem, ext) = name.split_at(dot.unwrap_or(name.len()));
    let mut examples = Vec::new();
    for mark in [".1", "-20261123", "-2026-11-23T10"] {
        examples.push([name, mark.as_bytes()].concat());
        if !ext.is_empty() {
            examples.push([stem, mark.as_bytes(), ext].concat());
        }
    }
    let log = OsStr::from_bytes(name);
    examples.retain(|n| {
        super::names::originals(OsStr::from_bytes(n))
            .iter()
            .any(|o| o == log)
    });
    let mut known = rotated_beside(path);
    crate::util::sort::plainly(&mut known);
    known.dedup();
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut strangers: Vec<PathBuf> = fs::read_dir(folder)
        .map(|entries| entries.flatten().map(|e| e.path()).collect())
        .unwrap_or_default();
    strangers.retain(|p| {
        let other = p.file_name().unwrap_or_default().as_bytes();
        other.len() > name.len()
            && other.starts_with(name)
            && !known.contains(p)
            && fs::symlink_metadata(p).is_ok_and(|m| m.is_file())
    });
    crate::util::sort::plainly(&mut strangers);
    strangers.truncate(MOST);
    Rotation {
        examples: examples
            .iter()
            .map(|n| String::from_utf8_lossy(n).into_owned())
            .collect(),
        siblings: known,
        strangers,
    }
}

/// The files beside a log, and beside what it leads to, that have names of its rotated files.
fn rotated_beside(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for place in [Some(path.to_path_buf()), leads_to(path)]
        .into_iter()
        .flatten()
    {
        let (Some(dir), Some(log)) = (place.parent(), place.file_name()) else {
            continue;
        };
        if let Ok(listing) = listing(dir) {
            let names = listing.rotated_of(log).iter().map(|name| dir.join(name));
            found.extend(names.filter(|at| fs::symlink_metadata(at).is_ok_and(|m| m.is_file())));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(pattern: &str, path: &str) -> String {
        match fit(&Entry::new(PathBuf::from(pattern)), Path::new(path)) {
            Fit::Other(why) => why,
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_pattern_that_does_not_match_says_where_it_parts() {
        for (pattern, path, said) in [
            ("/var/log/*.log", "/var/log/a.log", "Covers"),
            ("/var/log/a.log", "/var/log/b.log", "it names another file"),
            (
                "/var/log/*.log",
                "/var/log/a.txt",
                "`a.txt` does not match `*.log`",
            ),
            (
                "/var/log/*/a.log",
                "/srv/log/x/a.log",
                "`srv` does not match `var`",
            ),
            (
                "/var/*.log",
                "/var/log/a.log",
                "`log` does not match `*.log`",
            ),
            ("/var/*", "/var/log/a.log", "it lies deeper"),
            ("/var/*/a.log", "/var/log", "leads deeper"),
            ("/var/log/*", "/var/log/.a", "`.a` is hidden"),
            ("/var/**/*.log", "/var/log/a.txt", "no way of `**`"),
        ] {
            let got = why(pattern, path);
            assert!(got.contains(said), "{pattern} {path}: {got}");
        }
    }

    #[test]
    fn the_names_that_are_promised_are_recognised() {
        let of = |name: &str| rotation(&Path::new("/nonexistent").join(name)).examples;
        assert_eq!(
            of("app.log"),
            [
                "app.log.1",
                "app.1.log",
                "app.log-20261123",
                "app-20261123.log",
                "app.log-2026-11-23T10",
                "app-2026-11-23T10.log"
            ]
        );
        assert_eq!(
            of("messages"),
            ["messages.1", "messages-20261123", "messages-2026-11-23T10"]
        );
    }
}
