//! A content of a log: an unbroken text that some file came to hold, whatever became of that file.
//!
//! A path, and a device with an inode number, say where a content lies at a moment. Neither *is* the
//! content: names pass on with each rotation and inode numbers are reused at once. What a content is
//! says its [`Evidence`].

use super::super::identity::FileId;
use super::evidence::Evidence;
use std::num::NonZeroI64;

/// Names a content for as long as the ledger knows it, also across restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContentKey(pub u64);

/// Names a log: a path that an entry of the configuration leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogId(pub u32);

/// The bytes of the UUID by which the server knows a sequence of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SequenceId(pub [u8; 16]);

/// When a file was created, in nanoseconds since the epoch, where the file system knows that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Birth(pub NonZeroI64);

/// A hash of a file's length and dates. Where it is unchanged nothing was written, as far as dates
/// tell; it is never compared with a clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp(pub u32);

/// Milliseconds of a clock that nobody sets, since the start of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub u64);

/// The numbers of a content's events: base plus offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbers {
    /// The sequence; each content has its own.
    pub sequence: SequenceId,
    /// Added to an offset, in bytes. It only grows, so that one number never stands for two texts.
    pub base: u64,
}

impl Numbers {
    /// The number of the event at this offset.
    pub fn at(&self, offset: u64) -> u64 {
        self.base.wrapping_add(offset)
    }
}

/// Where a content lies. One file holds one content, and one content is in one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a file under this name of the folder.
    At(At),
    /// In a compressed file under this name, which grows no more.
    InArchive(At),
    /// In a file without a name, which an open descriptor holds.
    Unlinked(At),
    /// In this process's memory alone; a restart loses it.
    InMemory,
    /// In no file that a listing shows. It may come back: from a backup, as an archive, with a mount.
    Nowhere {
        /// The moment at which a look missed it.
        since: Moment,
        /// The name under which it was seen last.
        name: Box<[u8]>,
    },
}

/// A named file as it was when a look last saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At {
    /// Its name in the folder.
    pub name: Box<[u8]>,
    /// Device and inode: a location.
    pub id: FileId,
    /// Its creation.
    pub birth: Option<Birth>,
}

impl Place {
    /// The named file, if it is in one.
    pub fn file(&self) -> Option<&At> {
        match self {
            Place::At(at) | Place::InArchive(at) => Some(at),
            Place::Unlinked(_) | Place::InMemory | Place::Nowhere { .. } => None,
        }
    }

    /// The file that it is in, or was in before that lost its name.
    pub fn last_file(&self) -> Option<&At> {
        match self {
            Place::At(at) | Place::InArchive(at) | Place::Unlinked(at) => Some(at),
            Place::InMemory | Place::Nowhere { .. } => None,
        }
    }

    /// The location of that file.
    pub fn location(&self) -> Option<FileId> {
        self.last_file().map(|at| at.id)
    }

    /// The last name under which it was seen.
    pub fn last_name(&self) -> &[u8] {
        match self {
            Place::At(at) | Place::InArchive(at) | Place::Unlinked(at) => &at.name,
            Place::Nowhere { name, .. } => name,
            Place::InMemory => b"",
        }
    }
}

/// The part of its life that a content is in.
///
/// ```text
/// Shown --(the path shows something else)--> Draining --(all is read and settled)--> Finished
///   ^                                           ^  |                                    |
///   +-------(its path shows it again)-----------+--+----(a late writer has grown it)----+
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Its log's path shows it.
    Shown,
    /// Its log's path does not, and it is read to its end.
    Draining,
    /// All of it was delivered. It stays known, so that its text is not taken for new under another name.
    Finished,
}

/// Whether the place may be read without further evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// A look has seen it there.
    Verified,
    /// The reader met text that disagrees. The next look asks for all evidence.
    Suspect,
    /// From a record of an earlier process. What was sent is not known to have arrived, so reading goes
    /// back to what is settled, once a look has seen the content.
    Restored,
}

/// One content.
#[derive(Debug, Clone)]
pub struct Content {
    /// Its name in the ledger.
    pub key: ContentKey,
    /// The log under which its first byte was or will be sent, whatever names its file gets.
    pub log: LogId,
    /// As its file was at the last look.
    pub stamp: Stamp,
    /// Of its events.
    pub numbers: Numbers,
    /// Everything before this offset is acknowledged, refused for good by the server, or skipped.
    pub settled: u64,
    /// Everything before this offset is settled, or in a batch that is kept until the server decides.
    pub read: u64,
    /// Everything before this offset may have been sent, by this process or by one before. After a restart
    /// it is beyond `read` until that is there again.
    pub numbered: u64,
    /// Of the text before `read`, and beyond where more was seen.
    pub evidence: Evidence,
    /// Known length of the text in bytes; of an archive what was read of it.
    pub length: u64,
    /// Where it lies.
    pub place: Place,
    /// The part of its life that it is in.
    pub phase: Phase,
    /// Whether its place is known to hold it.
    pub trust: Trust,
    /// How often its file was edited below the position. A batch that was read before an edit must not
    /// settle text that came with it.
    pub edition: u16,
    /// Where reading went on after the last of these edits.
    pub edited_at: u64,
}

impl Content {
    /// Whether bytes wait to be read, as far as is known.
    pub fn has_unread(&self) -> bool {
        let grows = matches!(self.place, Place::At(_) | Place::Unlinked(_));
        let archived = matches!(self.place, Place::InArchive(_)) && self.phase != Phase::Finished;
        grows && self.length > self.read || archived
    }

    /// Whether anything was ever put into a batch of it.
    pub fn is_begun(&self) -> bool {
        self.read > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_content_is_small() {
        let size = std::mem::size_of::<Content>();
        // 64 bytes for the name's allocation and the ledger's index come on top
        assert!(size <= 256, "{size} bytes");
        assert!(std::mem::size_of::<Evidence>() <= 120);
    }
}
