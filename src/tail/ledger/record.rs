//! The text of checkpoint files that carry the ledger: the Python agent's layout, which both agents read,
//! with more facts about each content in members that the Python agent does not look at.
//!
//! It reads two older forms as well: the files of versions that knew of a content no more than a hash of
//! its first bytes and one of those before the position, and the Python agent's, which know the inode and
//! the position. The Python agent drops all members that it does not know, so what it writes after this
//! agent is its own form.

mod read;
#[cfg(test)]
mod tests;
mod write;

pub use read::parse;
pub use write::Writer;

use super::content::{At, Birth, Content, ContentKey, LogId, Moment, Numbers, Phase, Place};
use super::content::{SequenceId, Stamp, Trust};
use super::evidence::Evidence;
use super::observe::Remembered;
use crate::config::AttrValue;
use crate::tail::identity::FileId;
use crate::tail::names::Scheme;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Why the whole record of a content was written. It is there for people who read a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It is new, or it was taken over from a checkpoint file.
    Born = b'b' as isize,
    /// Its file has another name, or it was found in another file.
    Moved = b'm' as isize,
    /// It was found in the copy of its file, which was truncated.
    Copied = b'c' as isize,
    /// Its text was edited below the position.
    Edited = b'e' as isize,
    /// Its position has moved on by some pages, or more of its text was looked at.
    Evidence = b'v' as isize,
    /// It is settled to its end.
    Finished = b'f' as isize,
    /// The file was compacted.
    Kept = b'k' as isize,
}

impl Reason {
    /// All of them.
    pub const ALL: [Reason; 7] = [
        Reason::Born,
        Reason::Moved,
        Reason::Copied,
        Reason::Edited,
        Reason::Evidence,
        Reason::Finished,
        Reason::Kept,
    ];
}

/// The last whole record of a content, to know whether a commit is enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// A hash of all that a commit does not carry.
    pub print: u32,
    /// The 64 KiB of the text in which its evidence ended: a whole record follows in each.
    pub part: u32,
}

/// A file that held a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SavedFile {
    /// Device (0 if it was not written down) and inode.
    pub id: FileId,
    /// Its creation; `None` if not known.
    pub birth: Option<Birth>,
}

/// Where a content lay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SavedPlace {
    /// In a file under a name.
    At(SavedFile),
    /// In a compressed file.
    InArchive(SavedFile),
    /// In a file that had no name any more, as far as was known.
    Unlinked(SavedFile),
    /// In no file that a listing showed, or in the memory of the process that wrote this.
    Nowhere,
}

/// One content as it was written down.
#[derive(Debug, Clone, PartialEq)]
pub struct SavedContent {
    /// Its name in the ledger; `None` in older forms.
    pub key: Option<ContentKey>,
    /// Where it lay.
    pub place: SavedPlace,
    /// Its last known name in the folder of its log, if other than the log's. Empty: it was another
    /// one, and is not known.
    pub name: Option<Box<[u8]>>,
    /// Of its file at the last look; `None` in older forms.
    pub stamp: Option<Stamp>,
    /// The settled position, in bytes, at most `i64::MAX`.
    pub settled: u64,
    /// Everything before this offset may have been sent. At least `settled`; in older forms the last known
    /// length.
    pub numbered: u64,
    /// Last known length in bytes, at least `settled`.
    pub length: u64,
    /// Empty in the Python agent's files, which know the inode and the position alone.
    pub evidence: Evidence,
    /// The part of its life that it was in.
    pub phase: Phase,
    /// Nothing told its text from others when it was read since the last look, and its log's path showed it.
    pub was_vague: bool,
    /// The sequence, and the number at the settled position.
    pub sequence: Option<(SequenceId, u64)>,
}

impl SavedContent {
    /// The file that it lay in.
    fn saved_file(&self) -> Option<SavedFile> {
        match self.place {
            SavedPlace::At(file) | SavedPlace::InArchive(file) | SavedPlace::Unlinked(file) => {
                Some(file)
            }
            SavedPlace::Nowhere => None,
        }
    }

    /// Device and inode of that.
    pub fn id(&self) -> Option<FileId> {
        self.saved_file().map(|file| file.id)
    }

    /// The creation of that.
    pub fn birth(&self) -> Option<Birth> {
        self.saved_file().and_then(|file| file.birth)
    }

    /// Inode and creation of that.
    pub fn file(&self) -> Option<(u64, Birth)> {
        let file = self.saved_file()?;
        Some((file.id.ino, file.birth?))
    }

    /// Of a content of the log that has this name.
    pub fn of(content: &Content, log_name: &[u8]) -> SavedContent {
        let file = |at: &At| SavedFile {
            id: at.id,
            birth: at.birth,
        };
        let name = content.place.last_name();
        SavedContent {
            key: Some(content.key),
            place: match &content.place {
                Place::At(at) => SavedPlace::At(file(at)),
                Place::InArchive(at) => SavedPlace::InArchive(file(at)),
                Place::Unlinked(at) => SavedPlace::Unlinked(file(at)),
                Place::InMemory | Place::Nowhere { .. } => SavedPlace::Nowhere,
            },
            name: (name != log_name).then(|| name.into()),
            stamp: Some(content.stamp),
            settled: content.settled,
            numbered: content.reserved.max(content.settled),
            length: content.length.max(content.settled),
            evidence: content.evidence.clone(),
            phase: content.phase,
            was_vague: content.was_vague && content.phase == Phase::Shown,
            sequence: Some((
                content.numbers.sequence,
                content.numbers.at(content.settled),
            )),
        }
    }

    /// The content, of which nothing is read before a look has seen it. `key` and `fresh` serve where the
    /// record has no key and no sequence. A file without a name may have one that could not be
    /// read, so it is looked for.
    pub fn content(
        &self,
        key: ContentKey,
        log: LogId,
        log_name: &[u8],
        fresh: &mut dyn FnMut() -> SequenceId,
    ) -> Content {
        let name: Box<[u8]> = self.name.clone().unwrap_or_else(|| log_name.into());
        let at = |name, file: SavedFile| At {
            name,
            id: file.id,
            birth: file.birth,
        };
        let numbers = match self.sequence {
            Some((sequence, number)) => Numbers {
                sequence,
                base: number.wrapping_sub(self.settled),
            },
            None => Numbers {
                sequence: fresh(),
                base: 0,
            },
        };
        Content {
            key: self.key.unwrap_or(key),
            log,
            // An archive is sought by its evidence where this is not known
            stamp: self.stamp.unwrap_or(Stamp(0)),
            numbers,
            settled: self.settled,
            read: self.settled,
            numbered: self.numbered,
            reserved: self.numbered,
            evidence: self.evidence.clone(),
            length: self.length,
            place: match self.place {
                SavedPlace::At(file) => Place::At(at(name, file)),
                SavedPlace::Unlinked(file) => Place::Unlinked(at(name, file)),
                SavedPlace::InArchive(file) => Place::InArchive(at(name, file)),
                SavedPlace::Nowhere => Place::Nowhere {
                    since: Moment(0),
                    name,
                },
            },
            phase: self.phase,
            trust: Trust::Restored,
            edition: 0,
            edited_at: 0,
            was_vague: self.was_vague,
            written: None,
        }
    }

    /// Whether the Python agent may go on with it: in a plain file that has a name, and not finished, as it
    /// would read that again.
    fn is_pythons(&self) -> bool {
        matches!(self.place, SavedPlace::At(_)) && self.phase != Phase::Finished
    }
}

/// The contents of a log that are remembered.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SavedLog {
    /// When, seconds since the epoch.
    pub time: f64,
    /// Counts our writes: tells what is newer also after the clock was set back.
    pub serial: Option<u64>,
    /// The contents, the oldest first; the one that the path shows is the last.
    pub contents: Vec<SavedContent>,
    /// Under which schemes contents of it stood.
    pub schemes: Vec<Scheme>,
    /// Attributes that only the monitor knew that wrote the log; empty for other logs.
    pub attributes: Vec<(String, AttrValue)>,
}

/// One checkpoint file.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Saved {
    /// When it was written, seconds since the epoch.
    pub time: f64,
    /// The count of our writes.
    pub serial: Option<u64>,
    /// By worker (empty if the file does not say) and path: two workers may copy the same file, each
    /// from a position of its own.
    pub logs: BTreeMap<(String, PathBuf), SavedLog>,
    /// The patterns that were followed; `None` in the Python agent's files.
    pub watched: Option<Vec<PathBuf>>,
    /// Of a full checkpoint, how many sessions share the worker's files: what this one does not have
    /// may be another's.
    pub sessions: Option<u64>,
    /// The id of an export for other agents, 16 bytes; none in files that another one has written.
    pub export: Option<Vec<u8>>,
    /// The files of each folder that were there without being followed; none in older forms.
    pub remembered: BTreeMap<PathBuf, Remembered>,
}

impl SavedLog {
    /// Whether this was written later than `other`.
    pub fn is_newer(&self, other: &SavedLog) -> bool {
        match (self.serial, other.serial) {
            (Some(a), Some(b)) => a > b,
            _ => self.time > other.time,
        }
    }
}
