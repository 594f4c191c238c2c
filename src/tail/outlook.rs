//! Looking on: what a session makes of a path. Nothing is written, no checkpoint is touched.
//!
//! An [`Outlook`] takes up checkpoints and matches paths with the very code that follows files, and keeps the
//! verdicts of its looks, so what it says is what would happen; only the scan of all patterns is left out.

use super::glob;
use super::identity::FileId;
use super::insight::compressed;
use super::ledger::record::{SavedContent, SavedLog};
use super::ledger::{Agreement, Comparison, Content, LogId, Phase, Place, SequenceId, Verdict};
use super::names;
use super::source::{name_of, path_of, Reading};
use super::tailer::Tailer;
use super::{Entry, Saved, Settings, Skip};
use crate::util::words::count;
use crate::wire::Envelope;
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// All that is remembered in a data directory, and the files there that say nothing.
pub fn checkpoints(dir: &Path) -> (Option<Saved>, Vec<super::Unread>) {
    let (memory, unread) = super::positions::look(dir);
    (memory.map(|memory| memory.saved), unread)
}

/// The finding of a session about a path.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The role of the path, in words.
    pub verdict: String,
    /// The advice for the operator, if it is left alone.
    pub advice: Option<&'static str>,
    /// Whether some of what the path shows, or of a log of that path, is sent or was.
    pub is_copied: bool,
    /// Whether the session has anything to do with the path.
    pub is_concerned: bool,
    /// The content that the path shows.
    pub shows: Option<Part>,
    /// The record of the content that checkpoints know at the path.
    pub remembered: Option<Remembered>,
    /// If the path is that of a log: its contents that would be read, in this order.
    pub parts: Vec<Part>,
    /// Bytes of that log that would be left out, by reason.
    pub skipped: Vec<(&'static str, u64)>,
}

/// A content of a log.
#[derive(Debug, Clone)]
pub struct Part {
    /// The log that it is sent as.
    pub log: PathBuf,
    /// Where it is, or was.
    pub path: PathBuf,
    /// The inode of that; `None` if it is in no file.
    pub ino: Option<u64>,
    /// Everything before this offset was delivered, refused for good or left out, in bytes.
    pub settled: u64,
    /// Where reading goes on, in bytes.
    pub from: u64,
    /// Its length in bytes; `None`: not known, as it is compressed.
    pub size: Option<u64>,
    /// Whether its log's path shows it.
    pub is_shown: bool,
    /// How it is known.
    pub known: Known,
}

/// How a content is known.
#[derive(Debug, Clone)]
pub enum Known {
    /// No checkpoint has it.
    New,
    /// A checkpoint has it, and it is in no file.
    Nowhere,
    /// A checkpoint has it, and its place can't be read.
    Unclear,
    /// A checkpoint has no more than its inode and position; whether the inode is that one.
    ByPosition(bool),
    /// A checkpoint has its evidence.
    Proved {
        /// The inode and the creation are those of the checkpoint.
        is_same_file: bool,
        /// The offset before which it is proved, in bytes.
        end: u64,
        /// How the parts agree; an error of reading.
        parts: Result<Comparison, String>,
    },
}

impl fmt::Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let (is_same_file, end, parts) = match self {
            Known::New => return f.write_str("no checkpoint knows it"),
            Known::Nowhere => return f.write_str("in no file that a look finds; it may come back"),
            Known::Unclear => {
                return f
                    .write_str("what may hold it can't be read: nothing is concluded until then")
            }
            Known::ByPosition(true) => {
                return f.write_str(
                    "known by its inode alone: the checkpoint has no more than a position",
                )
            }
            Known::ByPosition(false) => return f.write_str(
                "taken for it: a copy made since, with a line's end at the checkpoint's position",
            ),
            Known::Proved {
                is_same_file,
                end,
                parts,
            } => (is_same_file, end, parts),
        };
        f.write_str(match is_same_file {
            true => "in the inode that the checkpoint knows",
            false => "in another inode than the checkpoint knows",
        })?;
        let parts = match parts {
            Ok(parts) => parts,
            Err(why) => return write!(f, "; it can't be compared: {why}"),
        };
        if let (len @ 1.., agrees) = parts.head {
            let not = if agrees { "" } else { " do not" };
            let len = count(len as u64, "byte");
            write!(f, "; its first {len}{not} agree")?;
        }
        if let (same, all @ 1..) = parts.lines {
            let lines = count(all as u64, "line");
            write!(f, "; {same} of the last {lines} agree")?;
        }
        if let (same, all @ 1..) = parts.blocks {
            let blocks = count(all as u64, "block");
            write!(f, "; {same} of {blocks} before byte {end} agree")?;
        }
        match parts.agreement {
            Agreement::Upto(upto) => write!(f, "; it is as it was up to byte {upto}"),
            Agreement::Whole | Agreement::Unknown | Agreement::Not => Ok(()),
        }
    }
}

/// The record of a content in a checkpoint.
#[derive(Debug, Clone)]
pub struct Remembered {
    /// When it was written, seconds since the epoch.
    pub time: f64,
    /// The log's path.
    pub log: PathBuf,
    /// Its inode, if it was in a file.
    pub ino: Option<u64>,
    /// The settled position, in bytes.
    pub settled: u64,
    /// Its length then, in bytes.
    pub size: u64,
    /// The number of other contents of the log.
    pub others: usize,
    /// Its fate, in words.
    pub fate: String,
}

/// A session's view of its files.
pub struct Outlook {
    pub(super) tailer: Tailer,
    saved: BTreeMap<(String, PathBuf), SavedLog>,
}

impl Tailer {
    /// Keeps the verdicts of a look, if they are asked for. What says that a file is somebody else's gives way to what
    /// that one's look says.
    pub(super) fn keep_verdicts(&mut self, verdicts: &BTreeMap<Box<[u8]>, Verdict>) {
        let Some(all) = &mut self.verdicts else {
            return;
        };
        for (name, verdict) in verdicts {
            let known = all.entry(name.clone()).or_insert(*verdict);
            if matches!(known, Verdict::Others | Verdict::Nobodys) {
                *known = *verdict;
            }
        }
    }
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
        let saved = saved.cloned().map(with_sequences);
        let mut tailer = Tailer::bare(settings, entries, envelope);
        tailer.verdicts = Some(BTreeMap::new());
        tailer.restore(saved.as_ref(), Instant::now());
        tailer.has_scanned = running;
        let mut saved = saved.map_or_else(BTreeMap::new, |saved| saved.logs);
        let worker = &tailer.settings.worker;
        saved.retain(|(of, _), _| of == worker || of.is_empty());
        Outlook { tailer, saved }
    }

    fn saved(&self, path: &Path) -> Option<&SavedLog> {
        let of = |worker: &str| self.saved.get(&(worker.to_owned(), path.to_path_buf()));
        of(&self.tailer.settings.worker).or_else(|| of(""))
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
                self.tailer.matched(path.to_path_buf(), &entry, now);
            }
        }
        self.tailer.by_path.get(path).copied()
    }

    /// The finding about a path, which need not exist.
    pub fn at(&mut self, path: &Path) -> Finding {
        for original in originals(path) {
            self.find(&original);
        }
        let number = self.find(path);
        let ledger = &self.tailer.ledger;
        let id = fs::metadata(path).map(|meta| FileId::of(&meta));
        let given = self.tailer.verdicts.as_ref();
        let given = given.and_then(|all| all.get(&name_of(path)).copied());
        let shown = number.and_then(|number| ledger.shown(super::log::id_of(number)));
        let in_file = id.iter().flat_map(|id| ledger.in_file(*id));
        let content = shown.or(in_file.last()).filter(|content| {
            // An archive at a log's path is no log
            let location = content.place.location();
            id.as_ref().is_ok_and(|id| Some(*id) == location)
        });
        let shows = content.map(|content| self.part(content));
        let remembered = self.remembered(path, id.as_ref().ok());
        let log = number.and_then(|number| self.tailer.logs.get(&number));
        let mut parts = Vec::new();
        if let Some(log) = log {
            let keys = ledger.of_log(log.id()).iter();
            let contents = keys.filter_map(|key| ledger.get(*key));
            let is_open = |content: &&Content| {
                let is_over = content.phase == Phase::Finished && content.unread() == 0;
                content.phase == Phase::Shown || !is_over
            };
            parts.extend(contents.filter(is_open).map(|content| self.part(content)));
            // Contents that have nothing left to read are not shown, except the one at the path
            parts.retain(|p| p.is_shown || p.size.is_none_or(|size| size > p.from));
        }
        let mut skipped = Vec::new();
        if let Some(log) = log {
            let bytes = log.counters.get().skipped;
            let all = Skip::ALL.iter();
            let all = all.map(|why| (why.name(), bytes[*why as usize]));
            skipped.extend(all.filter(|(_, bytes)| *bytes > 0));
            crate::util::sort::plainly(&mut skipped);
        }
        // A rotated file may be compressed, a log of its own may not
        let is_rotated = matches!(given, Some(Verdict::Holds(_) | Verdict::Unseen(_)));
        let told = self
            .tailer
            .unreadable
            .get(path)
            .map(|told| told.why.clone());
        let own = || compressed(path).filter(|_| log.is_some());
        let why_not = told.filter(|_| !is_rotated).or_else(own);
        let is_refused = why_not.is_some();
        let (verdict, advice, is_concerned) = match (why_not, given, &id) {
            (Some(why), ..) => (format!("it is not copied: {why}"), None, true),
            (None, _, Err(e)) => self.absent(path, number, remembered.as_ref(), e),
            (None, given, Ok(_)) => {
                let found = match content {
                    Some(content) if !given.is_some_and(Verdict::is_copied) => {
                        Verdict::Holds(content.key)
                    }
                    _ => given.unwrap_or_else(|| self.of_no_family(path)),
                };
                let owner = content.map(|content| content.log).or(found.log());
                let words = found.words(&self.path_of(owner));
                let is_strange = matches!(found, Verdict::Others | Verdict::Nobodys);
                (words, found.advice(), !is_strange)
            }
        };
        // Not one that is only waited for
        let is_there = |part: &Part| part.ino.is_some();
        Finding {
            verdict,
            advice,
            is_copied: !is_refused && (shows.is_some() || parts.iter().any(is_there)),
            is_concerned: is_concerned || remembered.is_some() || number.is_some(),
            shows: shows.filter(|_| !is_refused),
            remembered,
            parts,
            skipped,
        }
    }

    /// The words about a path that can't be looked at, or shows nothing.
    fn absent(
        &self,
        path: &Path,
        number: Option<u64>,
        remembered: Option<&Remembered>,
        e: &io::Error,
    ) -> (String, Option<&'static str>, bool) {
        if !super::source::is_gone(e) {
            return (format!("it can't be read at the moment: {e}"), None, true);
        }
        let is_log = number.is_some() || self.tailer.entries.iter().any(|e| e.covers(path));
        let words = match (is_log, remembered) {
            (true, _) => "there is nothing now; what appears here later is read from byte 0",
            (false, Some(_)) => "there is nothing now, and no entry is about the path",
            (false, None) => {
                "there is nothing, nothing is remembered of it, and no entry is about the path"
            }
        };
        (words.to_owned(), None, is_log)
    }

    /// The verdict about a file that no look at a followed log sees.
    fn of_no_family(&self, path: &Path) -> Verdict {
        let elsewhere = self.tailer.settings.elsewhere.iter();
        let mut entries = elsewhere.chain(self.tailer.entries.iter().map(|entry| &**entry));
        // The looks at a log leave out what another session has of its names
        let mut originals = originals(path).into_iter();
        let is_named = originals.any(|log| self.tailer.by_path.contains_key(log.as_path()));
        match is_named || entries.any(|entry| entry.matches(path)) {
            true => Verdict::Others,
            false => Verdict::Nobodys,
        }
    }

    fn path_of(&self, log: Option<LogId>) -> PathBuf {
        let log = log.and_then(|log| self.tailer.logs.get(&u64::from(log.0)));
        log.map(|log| log.path.to_path_buf()).unwrap_or_default()
    }

    /// The last content that checkpoints know at the path: of its log, or under that name.
    fn remembered(&self, path: &Path, shown: Option<&FileId>) -> Option<Remembered> {
        let name = name_of(path);
        let own = self.saved(path);
        let own = own.and_then(|log| Some((path, log, log.contents.last()?)));
        let under_name = || {
            let mut all = self
                .saved
                .iter()
                .flat_map(|((_, of), log)| log.contents.iter().map(move |old| (&**of, log, old)));
            all.rfind(|(.., old)| old.name.as_ref() == Some(&name))
        };
        let (log_path, log, old) = own.or_else(under_name)?;
        let ledger = &self.tailer.ledger;
        let logs = self.tailer.logs.values();
        let keys = logs.flat_map(|log| ledger.of_log(log.id()));
        let mut contents = keys.filter_map(|key| ledger.get(*key));
        let content = contents.find(|content| is_origin(old, content));
        Some(Remembered {
            time: log.time,
            log: log_path.to_path_buf(),
            ino: old.id().map(|id| id.ino),
            settled: old.settled,
            size: old.length,
            others: log.contents.len() - 1,
            fate: self.fate(old, content, shown),
        })
    }

    /// The fate of a content that a checkpoint knows at a path, which shows a file now.
    fn fate(&self, old: &SavedContent, now: Option<&Content>, shown: Option<&FileId>) -> String {
        let location = now.and_then(|now| now.place.location());
        if let (Some(now), true) = (now, location.is_some() && location.as_ref() == shown) {
            let unclear = self.tailer.ledger.is_unclear(now.key);
            return match now.length.checked_sub(old.length) {
                _ if unclear => "unknown: the file can't be read at the moment".to_owned(),
                _ if now.edition > 0 => format!(
                    "edited: the path shows that content, which was edited below the position; reading goes on from \
                     byte {}",
                    now.read
                ),
                Some(0) => "same: the path shows that content, as long as it was".to_owned(),
                Some(by) => format!(
                    "grown: the path shows that content, now {} longer",
                    count(by, "byte")
                ),
                None if now.is_archive() => "same: the path shows that content, compressed".to_owned(),
                None => format!(
                    "shortened: the path shows that content up to the settled byte, without its last {}",
                    count(old.length - now.length, "byte")
                ),
            };
        }
        let is_same_inode = shown.is_some_and(|id| old.id().is_some_and(|old| old.ino == id.ino));
        let path = match shown {
            None => "gone: the path shows nothing",
            Some(_) if is_same_inode => "replaced: the path shows other text in the same inode",
            Some(_) => "replaced: the path shows another file",
        };
        let content = match now.map(|now| &now.place) {
            Some(Place::At(at) | Place::InArchive(at)) => {
                format!("that content is in {} now", path_of(&at.name).display())
            }
            _ if now.is_some_and(|now| self.tailer.ledger.is_unclear(now.key)) => {
                "where that content is can't be read at the moment".to_owned()
            }
            _ => format!(
                "that content is in no file, delivered up to byte {} of {}",
                old.settled, old.length
            ),
        };
        format!("{path}; {content}")
    }

    fn part(&self, content: &Content) -> Part {
        let log = self.path_of(Some(content.log));
        let saved = self.saved_log(&log);
        let old = origin(content, &saved);
        let is_absent = matches!(content.place, Place::Nowhere { .. });
        let known = match old {
            None => Known::New,
            Some(_) if self.tailer.ledger.is_unclear(content.key) => Known::Unclear,
            Some(_) if is_absent => Known::Nowhere,
            Some(old) => known_by(old, content),
        };
        Part {
            log,
            path: path_of(content.place.last_name()).to_path_buf(),
            ino: content.place.location().map(|id| id.ino),
            settled: content.settled,
            from: content.read,
            size: match old {
                Some(old) if is_absent => Some(old.length),
                _ => (!content.is_archive()).then_some(content.length),
            },
            is_shown: content.phase == Phase::Shown,
            known,
        }
    }
}

/// By what a content is known that lies in a file.
fn known_by(old: &SavedContent, content: &Content) -> Known {
    let at = content.place.file();
    let is_same_ino = old.id().map(|id| id.ino) == at.map(|at| at.id.ino);
    if old.evidence.is_empty() {
        return Known::ByPosition(is_same_ino);
    }
    let births = old.birth().zip(at.and_then(|at| at.birth));
    let mut reading = Reading::new(Instant::now());
    let opened = reading.open(content);
    let parts = opened.and_then(|source| old.evidence.compare_parts(source));
    Known::Proved {
        is_same_file: is_same_ino && births.is_none_or(|(then, now)| then.same(now)),
        end: old.evidence.end(),
        parts: parts.map_err(|e| e.to_string()),
    }
}

/// Which remembered content this is.
pub(super) fn origin<'a>(content: &Content, saved: &'a SavedLog) -> Option<&'a SavedContent> {
    let mut all = saved.contents.iter();
    all.find(|old| is_origin(old, content))
}

fn is_origin(old: &SavedContent, content: &Content) -> bool {
    let sequence = old.sequence.map(|(id, _)| id);
    sequence == Some(content.numbers.sequence)
}

/// Gives contents that have none a sequence, which tells which content they are taken up as. It is always the same, so
/// that sampling decides the same every time.
fn with_sequences(mut saved: Saved) -> Saved {
    let logs = saved.logs.values_mut();
    for (n, old) in logs.flat_map(|log| &mut log.contents).enumerate() {
        let id = SequenceId((n as u128 + 1).to_be_bytes());
        old.sequence.get_or_insert((id, old.settled));
    }
    saved
}

/// The paths that a rotation may have made this one of, also where it moves files to a folder below.
fn originals(path: &Path) -> Vec<PathBuf> {
    let names = names::originals(path.file_name().unwrap_or_default());
    let here = path.parent();
    let above = here.and_then(Path::parent);
    let folders = [here, above].into_iter().flatten();
    folders
        .flat_map(|folder| names.iter().map(move |name| folder.join(name)))
        .collect()
}
