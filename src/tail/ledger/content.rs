//! A content of a log: an unbroken text that some file came to hold, whatever became of that file.
//!
//! A path, and a device with an inode number, say where a content lies at a moment. Neither *is* the
//! content: names pass on with each rotation and inode numbers are reused at once. What a content is
//! says its [`Evidence`].

use super::super::identity::FileId;
use super::evidence::Evidence;
use super::record::Written;
use std::num::NonZeroI64;

/// Names a content for as long as the ledger knows it, also across restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContentKey(pub u64);

/// Names a log: a path that an entry of the configuration leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct LogId(pub u32);

/// The bytes of the UUID by which the server knows a sequence of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SequenceId(pub [u8; 16]);

/// When a file was created, in nanoseconds since the epoch, where the file system knows that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Birth(pub NonZeroI64);

impl Birth {
    /// From seconds since the epoch, as checkpoints of older versions have it: a float (0.24 µs apart today)
    /// rounded to a microsecond.
    pub fn from_secs(secs: f64) -> Option<Birth> {
        let nanos = (secs * 1e9).round();
        let is_time = nanos.is_finite() && nanos.abs() < i64::MAX as f64;
        NonZeroI64::new(nanos as i64).filter(|_| is_time).map(Birth)
    }

    /// Whether two files may be one by this, where it is known.
    pub fn may_be_same(a: Option<Birth>, b: Option<Birth>) -> bool {
        a.zip(b).is_none_or(|(a, b)| a.same(b))
    }

    /// Whether the file system tells parts of a second.
    pub fn is_fine(self) -> bool {
        self.0.get() % 1_000_000_000 != 0
    }

    /// Whether it is the same birth, to 2 µs: for one that was rounded once. Births are compared by this alone.
    /// No inode is freed and given to a new file that fast, and a kernel's dates move by 1 ms or more.
    pub fn same(self, other: Birth) -> bool {
        self.0.get().abs_diff(other.0.get()) < 2_000
    }
}

/// A hash of a file's length and dates. Where it is unchanged nothing was written, as far as dates
/// tell; it is never compared with a clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp(pub u32);

/// Milliseconds of a clock that nobody sets, since the start of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
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
#[derive(Debug, Clone, PartialEq)]
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
    /// The offset up to which text may be sent: `numbered` as it is on disk, with some room ahead.
    pub reserved: u64,
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
    /// Nothing told its text from others when reading moved on, or a glance found another date, since the last look: its path may have shown
    /// further contents.
    pub was_vague: bool,
    /// Its last whole record in the journal, if this process has written one.
    pub written: Option<Written>,
}

impl Content {
    /// One that is in no file.
    pub fn in_memory(log: LogId, sequence: SequenceId) -> Content {
        Content {
            key: ContentKey(0),
            log,
            stamp: Stamp(0),
            numbers: Numbers { sequence, base: 0 },
            settled: 0,
            read: 0,
            numbered: 0,
            // Nothing of it is on disk: it may be sent at once
            reserved: u64::MAX,
            evidence: Evidence::default(),
            length: 0,
            place: Place::InMemory,
            phase: Phase::Shown,
            trust: Trust::Verified,
            edition: 0,
            edited_at: 0,
            was_vague: false,
            written: None,
        }
    }

    /// Whether anything was ever put into a batch of it, by this process or by one before.
    pub fn is_begun(&self) -> bool {
        // After a restart reading goes back, and after an edit numbers do
        self.numbered > 0 || self.numbers.base > 0
    }

    /// Bytes that are known to wait in its file.
    pub fn unread(&self) -> u64 {
        match self.place {
            // How long it is shows when it is read; until then there is something to read
            Place::InArchive(_) if self.phase != Phase::Finished => {
                self.length.saturating_sub(self.read).max(1)
            }
            Place::InArchive(_) | Place::Nowhere { .. } => 0,
            Place::At(_) | Place::Unlinked(_) | Place::InMemory => {
                self.length.saturating_sub(self.read)
            }
        }
    }

    /// Known bytes that are not settled.
    pub fn pending(&self) -> u64 {
        let read = self.read.saturating_sub(self.settled);
        read + self.unread()
    }

    /// Whether it is compressed.
    pub fn is_archive(&self) -> bool {
        matches!(self.place, Place::InArchive(_))
    }

    /// The position moves over `page`, which was read into a batch. `lead` are the bytes before it, at least
    /// [`BLOCK`](super::evidence::BLOCK) if there are so many.
    pub fn advance(&mut self, lead: &[u8], page: &[u8]) {
        self.was_vague |= !self.evidence.is_distinct();
        self.evidence.advance(self.read, lead, page);
        self.read += page.len() as u64;
        self.numbered = self.numbered.max(self.read);
        self.length = self.length.max(self.read);
    }

    /// The rest of it can't be read, and is not waited for any more.
    pub fn give_up(&mut self) {
        self.length = self.read;
        if self.is_archive() {
            self.phase = Phase::Finished;
        }
    }

    /// The position moves to `to` over text that nobody looked at.
    pub fn skip(&mut self, to: u64, evidence: Evidence) {
        if evidence.end() >= self.evidence.end() {
            self.evidence = evidence;
        }
        self.read = self.read.max(to);
        self.numbered = self.numbered.max(self.read);
        self.length = self.length.max(self.read);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_content_is_small() {
        let size = std::mem::size_of::<Content>();
        // 64 bytes for the name's allocation and the ledger's index come on top
        assert!(size <= 280, "{size} bytes");
        assert!(std::mem::size_of::<Evidence>() <= 120);
    }
}
