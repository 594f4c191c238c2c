//! Looking on: what a session would make of a path. Nothing is written, no checkpoint is touched.
//!
//! An [`Outlook`] takes up checkpoints and matches paths with the very code that follows files, so
//! what it says is what would happen; only the scan of all patterns is left out.

use super::checkpoint::{SavedGeneration, SavedLog};
use super::discover::{add_attributes, birth, share_of};
use super::generation::{is_gone, Generation, State};
use super::glob;
use super::identity::{self, FileId, Signature};
use super::log::Log;
use super::siblings;
use super::tailer::Tailer;
use super::{Entry, Saved, Settings, Skip};
use crate::config::AttrValue;
use crate::wire::Envelope;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

pub use super::store::look as checkpoints;

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
    let mut log = Log::new(path.to_path_buf(), Arc::new(own), Instant::now());
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

/// The reason why a content is taken for the one of a checkpoint, or for a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// The checkpoint's inode, and its first bytes and those before the settled position.
    Inode,
    /// The checkpoint's inode; the checkpoint says nothing of its content.
    InodeAlone,
    /// Another inode with the checkpoint's first bytes and those before the settled position.
    Content,
    /// No checkpoint knows it, and it has the name of a rotated file and came after the checkpoint.
    Name,
    /// No checkpoint knows it.
    New,
    /// It is nowhere.
    Missing,
}

/// A content that would be read.
#[derive(Debug, Clone)]
pub struct Part {
    /// Where it is, or was.
    pub path: PathBuf,
    /// Device and inode.
    pub id: (u64, u64),
    /// Where reading goes on, in bytes.
    pub from: u64,
    /// Its length; unknown for a compressed one.
    pub size: Option<u64>,
    /// Whether the log's path shows it.
    pub is_shown: bool,
    /// How it is known.
    pub evidence: Evidence,
}

/// The content at a path, compared with the one that a checkpoint knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// It, as long as it was.
    Same,
    /// It, longer by so many bytes.
    Grown(u64),
    /// It up to the settled position, but shorter than it was by so many bytes.
    Shortened(u64),
    /// The same file, cut to so many bytes, which is before the settled position.
    Truncated(u64),
    /// The same file or at least inode, with other content; a phrase says what tells.
    Overwritten(&'static str),
    /// Another file.
    Replaced,
    /// Nothing.
    Gone,
    /// It can't be told.
    Unreadable(String),
}

/// The record of a path in a checkpoint.
#[derive(Debug, Clone)]
pub struct Remembered {
    /// When it was written, seconds since the epoch.
    pub time: f64,
    /// The last content: inode, settled position, length then.
    pub ino: u64,
    /// See `ino`.
    pub committed: u64,
    /// See `ino`.
    pub size: u64,
    /// Older contents that were not settled or not yet given up.
    pub older: usize,
    /// The content at the path now, compared with the last one.
    pub identity: Identity,
}

/// The role of a path for a session.
#[derive(Debug, Clone)]
pub enum Sight {
    /// It is a log of its own, read in this order. Bytes that would be left out, by reason.
    Log(Vec<Part>, Vec<(&'static str, u64)>),
    /// Its content belongs to the log at this path, which finishes it.
    PartOf(PathBuf),
    /// It can't be followed; why.
    Unreadable(String),
    /// There is nothing at the path, and nothing is remembered.
    Nothing,
    /// It looks like the copy that a rotation is making of a followed log.
    Copy,
}

/// A session's view of its files.
pub struct Outlook {
    pub(super) tailer: Tailer,
    saved: Vec<((String, PathBuf), SavedLog)>,
    /// No agent runs: what is not known is seen at its start.
    first: bool,
}

impl Outlook {
    /// The view of the session with these settings. `running`: an agent runs, so a file that no
    /// checkpoint knows came after its start.
    pub fn new(
        settings: Settings,
        entries: Vec<Entry>,
        envelope: Arc<Envelope>,
        saved: Option<&Saved>,
        running: bool,
    ) -> Outlook {
        let mut tailer = Tailer::bare(settings, entries, envelope);
        tailer.restore(saved, Instant::now());
        tailer.scans = 1;
        let worker = tailer.settings.worker.clone();
        let mine = |of: &str| of == worker || of.is_empty();
        Outlook {
            tailer,
            saved: saved
                .map(|s| s.logs.iter().filter(|((w, _), _)| mine(w)))
                .map(|logs| logs.map(|(k, v)| (k.clone(), v.clone())).collect())
                .unwrap_or_default(),
            first: !running,
        }
    }

    fn saved(&self, path: &Path) -> Option<&SavedLog> {
        let of = |own: bool| {
            let mut all = self.saved.iter();
            all.find(|((w, p), _)| w.is_empty() != own && p == path)
        };
        of(true).or_else(|| of(false)).map(|(_, log)| log)
    }

    /// The record of the path in the checkpoints.
    pub fn remembered(&self, path: &Path) -> Option<Remembered> {
        let saved = self.saved(path)?;
        let last = saved.generations.last()?;
        Some(Remembered {
            time: saved.time,
            ino: last.id.ino,
            committed: last.committed,
            size: last.size,
            older: saved.generations.len() - 1,
            identity: compare(last, path),
        })
    }

    /// The record of the path's log; an empty one if no checkpoint knows it.
    pub(super) fn saved_log(&self, path: &Path) -> SavedLog {
        self.saved(path).cloned().unwrap_or_default()
    }

    /// Finds the path's log; its number.
    pub(super) fn find(&mut self, path: &Path) -> Option<u64> {
        let now = Instant::now();
        let exists = fs::symlink_metadata(path).is_ok();
        for entry in self.tailer.entries.clone() {
            let hit = match entry.is_glob {
                true => exists && glob::matches(&entry.pattern, path),
                false => entry.pattern == path,
            };
            if hit {
                let first = self.first;
                self.tailer.matched(path.to_path_buf(), &entry, first, now);
            }
        }
        self.tailer.by_path.get(path).copied()
    }

    /// The role of the path for the session.
    pub fn at(&mut self, path: &Path) -> Sight {
        if let Some(number) = self.find(path) {
            let saved = self.saved_log(path);
            let Some(log) = self.tailer.logs.get(&number) else {
                return Sight::Nothing;
            };
            let shown = log.generations.last();
            let is_plain = shown.is_some_and(|g| g.state == State::Current && !g.gz);
            if let Some(why) = compressed(path).filter(|_| is_plain) {
                return Sight::Unreadable(why);
            }
            let mut parts: Vec<Part> = log.generations.iter().map(|g| part(g, &saved)).collect();
            // Contents that have nothing left to read are not shown, except the one at the path
            parts.retain(|p| p.is_shown || p.size.is_none_or(|size| size > p.from));
            let mut skipped: Vec<(&'static str, u64)> = Skip::ALL
                .iter()
                .map(|why| (why.name(), log.counters.skipped[*why as usize]))
                .filter(|(_, bytes)| *bytes > 0)
                .collect();
            crate::util::sort::plainly(&mut skipped);
            if parts.is_empty() && saved.generations.is_empty() {
                return Sight::Nothing;
            }
            return Sight::Log(parts, skipped);
        }
        if let Some(told) = self.tailer.unreadable.get(path) {
            return Sight::Unreadable(told.why.clone());
        }
        match fs::metadata(path) {
            Ok(meta) if meta.is_file() => {
                let owner = self.tailer.moved_from(FileId::of(&meta), path, 0);
                match owner.and_then(|number| self.tailer.logs.get(&number)) {
                    Some(log) => Sight::PartOf(log.path.clone()),
                    None => Sight::Copy,
                }
            }
            Ok(_) => Sight::Unreadable("it is a folder".to_owned()),
            Err(e) if is_gone(&e) => Sight::Nothing,
            Err(e) => Sight::Unreadable(e.to_string()),
        }
    }
}

/// Which remembered content a generation is.
pub(super) fn origin<'a>(g: &Generation, saved: &'a SavedLog) -> Option<&'a SavedGeneration> {
    saved.generations.iter().find(|old| {
        old.committed == g.committed
            && match &old.sequence {
                Some((id, _)) => **id == *g.committed_sequence.id,
                // Taken over as it was; that of content seen for the first time is its own
                None => {
                    old.signature == g.signature && (old.id.ino == g.id.ino || g.signature.len > 0)
                }
            }
    })
}

fn part(g: &Generation, saved: &SavedLog) -> Part {
    let evidence = match (origin(g, saved), g.state) {
        (Some(_), State::Gone(_)) => Evidence::Missing,
        (Some(old), _) if old.id.ino != g.id.ino => Evidence::Content,
        (Some(old), _) if old.signature.len == 0 => Evidence::InodeAlone,
        (Some(_), _) => Evidence::Inode,
        (None, State::Current) => Evidence::New,
        (None, _) => Evidence::Name,
    };
    Part {
        path: g.path.clone(),
        id: (g.id.dev, g.id.ino),
        from: g.read,
        size: match (evidence, origin(g, saved)) {
            (Evidence::Missing, Some(old)) => Some(old.size),
            _ => (!g.gz).then_some(g.size),
        },
        is_shown: g.state == State::Current,
        evidence,
    }
}

/// The content at a path, compared with the one that a checkpoint knows.
fn compare(old: &SavedGeneration, path: &Path) -> Identity {
    let (file, meta) = match identity::open(path) {
        Ok(opened) => opened,
        Err(e) if is_gone(&e) => return Identity::Gone,
        Err(e) => return Identity::Unreadable(e.to_string()),
    };
    let id = FileId::of(&meta);
    let other_device = old.id.dev != 0 && old.id.dev != id.dev;
    if id.ino != old.id.ino || other_device && old.signature.len == 0 {
        return Identity::Replaced;
    }
    let born = (old.birth, birth(path, &meta));
    if matches!(born, (Some(then), Some(now)) if !identity::same_birth(then, now)) {
        return Identity::Overwritten("the inode was given to a file created at another time");
    }
    if meta.len() < old.committed {
        return Identity::Truncated(meta.len());
    }
    let read = identity::head(&file).and_then(|head| {
        let mark = identity::mark_at(&file, old.committed)?;
        Ok((head, mark))
    });
    match read {
        Err(e) => Identity::Unreadable(e.to_string()),
        Ok((head, _)) if !old.signature.agrees(&head) => {
            Identity::Overwritten("its first bytes are others")
        }
        Ok((_, mark)) if old.mark.is_some() && mark != old.mark => {
            Identity::Overwritten("the bytes before the settled position are others")
        }
        Ok(_) if meta.len() < old.size => Identity::Shortened(old.size - meta.len()),
        Ok(_) if meta.len() > old.size => Identity::Grown(meta.len() - old.size),
        Ok(_) => Identity::Same,
    }
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
    let meta = match fs::metadata(path) {
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
        mtime: siblings::mtime(&meta),
        leads_to: is_link.then(|| fs::canonicalize(path).ok()).flatten(),
        signature: identity::open(path)
            .and_then(|(file, _)| identity::head(&file))
            .map(|head| Signature::of(&head))
            .map(|s| (s.len, s.hash))
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
    let mut known: Vec<PathBuf> = siblings::siblings(path)
        .into_iter()
        .map(|s| s.path)
        .collect();
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
