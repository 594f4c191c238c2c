//! One content of a log: what a path showed from a creation, rotation or truncation to the next.

use super::discover::born_then;
use super::gz::GzFile;
use super::identity::{self, FileId, Signature};
use super::memory::MemoryLog;
use super::siblings;
use crate::util::random;
use crate::util::time::now_secs;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Instant;

/// An open file, plain or compressed.
#[derive(Debug)]
pub enum Source {
    /// A file as written.
    Plain(File),
    /// A rotated file that has been compressed.
    Gz(Box<GzFile>),
    /// No file at all.
    Memory(Box<MemoryLog>),
}

impl Source {
    /// Reads content at `offset`; short only at the end.
    ///
    /// # Errors
    /// The error of reading the file or the archive.
    pub fn read_at(&mut self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            Source::Plain(file) => identity::read_full_at(file, buf, offset),
            Source::Gz(gz) => gz.read_at(buf, offset),
            Source::Memory(memory) => memory.read_at(buf, offset),
        }
    }
}

/// A sequence of numbers for events: `number = base + offset`, wrapping.
#[derive(Debug, Clone)]
pub struct Sequence {
    /// Tells sequences apart within this process.
    pub serial: u64,
    /// The UUID that the server sees.
    pub id: Arc<str>,
    /// The number that is added to a file offset.
    pub base: u64,
}

impl Sequence {
    /// A new one that counts file offsets.
    pub fn new() -> Self {
        Sequence::restored(&random::uuid4(), 0)
    }

    /// One that a checkpoint remembers.
    pub fn restored(id: &str, base: u64) -> Self {
        static SERIAL: AtomicU64 = AtomicU64::new(1);
        Sequence {
            serial: SERIAL.fetch_add(1, Ordering::Relaxed),
            id: Arc::from(id),
            base,
        }
    }

    /// The number at a file offset.
    pub fn number(&self, offset: u64) -> u64 {
        self.base.wrapping_add(offset)
    }

    /// The sequence that follows when `most` is reached. Its id is computed from this one's, so
    /// that bytes sent again after a crash get the id they had.
    pub fn successor(&self, most: u64) -> Self {
        let a = identity::hash(self.id.as_bytes());
        let b = identity::hash(&a.to_be_bytes());
        let hex = format!("{a:016x}{b:016x}");
        let id = format!(
            "{}-{}-4{}-8{}-{}",
            &hex[..8],
            &hex[8..12],
            &hex[13..16],
            &hex[17..20],
            &hex[20..]
        );
        Sequence::restored(&id, self.base.wrapping_sub(most))
    }
}

/// Where a generation stands with regard to its log's path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The path shows it.
    Current,
    /// The path shows something else since then.
    Rotated(Instant),
    /// The path shows nothing since then.
    Gone(Instant),
}

/// The state of one content.
#[derive(Debug)]
pub struct Generation {
    /// Names it in the spans of batches; unique in this process.
    pub key: u64,
    /// Device and inode.
    pub id: FileId,
    /// Its first bytes.
    pub signature: Signature,
    /// When the file was created, where the file system knows: of an archive, the archive.
    pub birth: Option<f64>,
    /// Where it was last seen.
    pub path: PathBuf,
    /// Open for reading.
    pub source: Option<Source>,
    /// Compressed by now.
    pub gz: bool,
    /// Everything before is in some batch (or skipped).
    pub read: u64,
    /// Hash of the bytes before `read`; `None` if unknown.
    pub mark: Option<u64>,
    /// A look has seen growth since the head was last read: the next page checks it, as a file that
    /// was written anew may end as the old one did.
    pub check_head: bool,
    /// Everything before was in a request that was sent.
    pub sent: u64,
    /// Everything before is settled: acknowledged, discarded by the server, or skipped.
    pub committed: u64,
    /// Hash of the bytes before `committed`; `None` if unknown.
    pub committed_mark: Option<u64>,
    /// Last known length.
    pub size: u64,
    /// Last known change of content, seconds since the epoch.
    pub mtime: f64,
    /// Numbers of events from `read` on.
    pub sequence: Sequence,
    /// Numbers of events from `committed` on.
    pub committed_sequence: Sequence,
    /// Current, rotated or gone.
    pub state: State,
    /// When it last had something new.
    pub growth: Instant,
    /// When it was last known to be this content, seconds since the epoch: what is there later may
    /// have been written after a truncation that its length does not show.
    pub verified: f64,
    /// An unterminated last line: its length, and since when it has that length. Of a shaped log:
    /// where the incomplete unit begins, and since when it waits.
    pub partial: Option<(u64, Instant)>,
    /// The state of the log's pipeline between units.
    pub shape: crate::shape::State,
    /// Events of the next unit that went into an earlier batch.
    pub pieces: usize,
    /// The pipeline needs the bytes from here on again.
    pub hold: Option<u64>,
    /// Its first bytes were looked at, and are not those of a compressed file.
    pub is_text: bool,
    /// The format that it is compressed in, if it is.
    pub compressed: Option<&'static str>,
    /// The scan that last saw it under some path that the configuration covers.
    pub seen_in_scan: u64,
}

impl Generation {
    /// A content that was seen for the first time at `path`, to be read from `start`.
    pub fn new(path: PathBuf, id: FileId, start: u64, size: u64, state: State) -> Self {
        static KEY: AtomicU64 = AtomicU64::new(1);
        let sequence = Sequence::new();
        Generation {
            key: KEY.fetch_add(1, Ordering::Relaxed),
            id,
            signature: Signature::default(),
            birth: None,
            path,
            source: None,
            gz: false,
            read: start,
            mark: (start == 0).then(|| identity::mark(b"")),
            check_head: false,
            sent: start,
            committed: start,
            committed_mark: (start == 0).then(|| identity::mark(b"")),
            size,
            mtime: 0.0,
            committed_sequence: sequence.clone(),
            sequence,
            state,
            growth: Instant::now(),
            verified: now_secs(),
            partial: None,
            shape: crate::shape::State::default(),
            pieces: 0,
            hold: None,
            is_text: false,
            compressed: None,
            seen_in_scan: 0,
        }
    }

    /// Bytes that are known to wait in the file.
    pub fn unread(&self) -> u64 {
        self.size.saturating_sub(self.read)
    }

    /// Whether all that was read is settled.
    pub fn settled(&self) -> bool {
        self.read == self.committed
    }

    /// Whether what is read next begins a line, as far as is known.
    pub fn is_at_line_start(&self) -> bool {
        self.pieces == 0 && self.hold.is_none()
    }

    /// Whether it is over: not what the path shows, nothing to read, nothing in flight.
    pub fn is_done(&self) -> bool {
        self.state != State::Current && self.settled() && self.unread() == 0
    }

    /// Another state of the same content, which reads from the committed position on.
    pub fn reader_from_committed(&mut self) -> Generation {
        let at = self.committed;
        let mut copy = Generation::new(self.path.clone(), self.id, at, self.size, self.state);
        copy.signature = self.signature;
        copy.birth = self.birth;
        copy.gz = self.gz;
        copy.mark = self.committed_mark;
        copy.committed_mark = self.committed_mark;
        copy.sequence = self.committed_sequence.clone();
        copy.committed_sequence = self.committed_sequence.clone();
        copy.source = self.source.take();
        copy
    }

    /// Settles everything up to `to`.
    pub fn commit(&mut self, to: u64, mark: Option<u64>, max_sequence_number: u64) {
        self.committed = to;
        self.committed_mark = mark;
        while self.committed_sequence.number(to) > max_sequence_number {
            self.committed_sequence = self.committed_sequence.successor(max_sequence_number);
        }
        if self.settled() {
            // the same value; sharing it keeps the sequence going without a switch
            self.committed_sequence = self.sequence.clone();
        }
    }

    /// Opens the file where it was last seen or where its inode is now, and makes sure that it is
    /// this content. `log` is the log's path.
    ///
    /// # Errors
    /// [`Lost`] if the file has other content, or if the log's path does not show it any more, which
    /// is for a look at the log to find out; `NotFound` if the file is gone, though a copy may hold
    /// the content; other errors (no descriptors left, no permission) may pass.
    pub fn open(&mut self, log: &Path) -> io::Result<&mut Source> {
        if self.source.is_none() {
            let opened = match self.open_at(&self.path.clone()) {
                Err(e) if is_gone(&e) && Lost::of(&e).is_none() => {
                    match siblings::find_content(log, self.id, self.signature.len == 0) {
                        Some(path) => match self.open_at(&path) {
                            // The inode is another file's by now
                            Err(e) if is_gone(&e) => Err(Lost::Replaced.into()),
                            other => other,
                        },
                        None if self.state == State::Current => Err(Lost::Moved.into()),
                        None => Err(e),
                    }
                }
                other => other,
            }?;
            self.source = Some(opened);
        }
        match &mut self.source {
            Some(source) => Ok(source),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Opens the content at `path`: [`Lost::Replaced`] if its file is there with other content,
    /// which a listing need not show (a bind mount, a folder that can't be read).
    fn open_at(&mut self, path: &Path) -> io::Result<Source> {
        let (file, meta) = identity::open(path)?;
        // A name passes to the next file with each rotation
        if FileId::of(&meta) != self.id || !born_then(self.birth, path, &meta) {
            return Err(io::ErrorKind::NotFound.into());
        }
        if self.gz {
            let mut gz = GzFile::new(file)?;
            let mut head = vec![0; Signature::MOST];
            let n = gz.read_at(&mut head, 0)?;
            if !self.signature.agrees(&head[..n]) {
                return Err(Lost::Replaced.into());
            }
            self.path = path.to_path_buf();
            return Ok(Source::Gz(Box::new(gz)));
        }
        if meta.len() < self.read || !self.signature.agrees(&identity::head(&file)?) {
            return Err(Lost::Replaced.into());
        }
        self.size = self.size.max(meta.len());
        self.path = path.to_path_buf();
        Ok(Source::Plain(file))
    }

    /// Continues in a copy of the content.
    pub fn take_copy(&mut self, copy: &siblings::Sibling) {
        self.id = copy.id;
        self.path = copy.path.clone();
        self.gz = copy.gz;
        self.birth = copy.birth;
        self.source = None;
        if copy.gz {
            // How long it is shows when it is read; until then there is something to read
            self.size = self.size.max(self.read + 1);
        } else {
            self.size = copy.size;
        }
    }
}

/// Why a content is not where it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// Its file has other content.
    Replaced,
    /// Its log's path shows another file, or none.
    Moved,
}

impl Lost {
    /// The reason in an error of [`Generation::open`], if it has one.
    pub fn of(e: &io::Error) -> Option<Lost> {
        e.get_ref()?.downcast_ref().copied()
    }
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(match self {
            Lost::Replaced => "the file has other content",
            Lost::Moved => "the file is not there any more",
        })
    }
}

impl std::error::Error for Lost {}

impl From<Lost> for io::Error {
    fn from(lost: Lost) -> Self {
        io::Error::new(io::ErrorKind::NotFound, lost)
    }
}

/// Whether an error says that there is nothing (of ours) at that path.
pub fn is_gone(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData
    ) || matches!(
        e.raw_os_error(),
        Some(libc::ENOTDIR | libc::ELOOP | libc::ESTALE)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_sent_again_get_the_number_they_had() {
        let most = 100;
        let id = FileId { dev: 1, ino: 2 };
        let run = |from: u64, sequence: Sequence| {
            let mut sequence = sequence;
            let mut seen = Vec::new();
            for offset in (from + 7..=700).step_by(7) {
                if sequence.number(offset) > most {
                    sequence = sequence.successor(most);
                }
                seen.push((sequence.id.to_string(), sequence.number(offset)));
            }
            seen
        };
        let mut g = Generation::new(PathBuf::new(), id, 0, 0, State::Current);
        let all = run(0, g.sequence.clone());
        g.read = 700;
        g.commit(350, None, most);
        let again = run(
            350,
            Sequence::restored(&g.committed_sequence.id, g.committed_sequence.base),
        );
        assert_eq!(again, all[50..]);
        assert!(all.iter().all(|(_, n)| *n <= most));
    }
}
