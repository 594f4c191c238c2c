//! The reader's side of a content: an open file, and what has to be kept between two turns of reading.

use super::gz::GzFile;
use super::identity::{self, FileId};
use super::ledger::{Bytes, Content, Place, Stamp};
use super::memory::MemoryLog;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Instant;

/// An open file, plain or compressed.
#[derive(Debug)]
pub enum Source {
    /// A file as written.
    Plain(File),
    /// A rotated file that has been compressed.
    Gz(Box<GzFile>),
    /// No file at all.
    Memory(MemoryLog),
}

impl Source {
    /// As `read_at`, of a text that was seen to have `length` bytes.
    ///
    /// # Errors
    /// As `read_at`.
    pub fn read_known(&mut self, buf: &mut [u8], offset: u64, length: u64) -> io::Result<usize> {
        match self {
            Source::Plain(file) => identity::read_known_at(file, buf, offset, length),
            other => other.read_at(buf, offset),
        }
    }
}

impl Bytes for Source {
    fn read_at(&mut self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            Source::Plain(file) => identity::read_full_at(file, buf, offset),
            Source::Gz(gz) => gz.read_at(buf, offset),
            Source::Memory(memory) => memory.read_at(buf, offset),
        }
    }
}

impl Bytes for &File {
    fn read_at(&mut self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        identity::read_full_at(self, buf, offset)
    }
}

/// The state of reading one content. There is one for each content that is read or looked at; an idle one
/// that is dropped is made anew at no loss.
#[derive(Debug)]
pub struct Reading {
    /// Open for reading.
    pub source: Option<Source>,
    /// The file that is open, or was; none before the first one.
    pub id: Option<FileId>,
    /// A hash of the 1 KiB before the position, as this process has read it. Only where the evidence is of text
    /// beyond the position, and so does not tell.
    pub mark: Option<u64>,
    /// A look has seen growth since the head was last read: the next page checks it, as a file that was
    /// written anew may end as the old one did.
    pub check_head: bool,
    /// The stamp that the file had at that look: once all of it is read, this is what the text is known by.
    pub seen: Option<Stamp>,
    /// An unterminated last line: its length, and since when it has that length. Of a shaped log: where the
    /// incomplete unit begins, and since when it waits.
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
    /// When it last had something new.
    pub growth: Instant,
    /// Since when its log's path does not show it; meaningless while it does.
    pub left: Instant,
    /// Everything before was in a request that was sent.
    pub sent: u64,
}

impl Reading {
    /// Of a content that nothing was read of since the start.
    pub fn new(now: Instant) -> Self {
        Reading {
            source: None,
            id: None,
            mark: None,
            check_head: true,
            seen: None,
            partial: None,
            shape: crate::shape::State::default(),
            pieces: 0,
            hold: None,
            is_text: false,
            compressed: None,
            growth: now,
            left: now,
            sent: 0,
        }
    }

    /// Forgets what was read, as the content goes on from an earlier position.
    pub fn restart(&mut self, now: Instant) {
        self.mark = None;
        self.check_head = true;
        self.partial = None;
        self.shape = crate::shape::State::default();
        self.pieces = 0;
        self.hold = None;
        self.growth = now;
    }

    /// Whether it is as a new one would be.
    pub fn is_at_rest(&self) -> bool {
        let is_told = self.compressed.is_some();
        self.source.is_none() && self.partial.is_none() && !is_told && self.is_at_line_start()
    }

    /// Whether what is read next begins a line, as far as is known.
    pub fn is_at_line_start(&self) -> bool {
        self.pieces == 0 && self.hold.is_none()
    }

    /// The open source.
    ///
    /// # Errors
    /// `NotFound` if it is not open.
    pub fn source(&mut self) -> io::Result<&mut Source> {
        self.source
            .as_mut()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Opens the file in which the last look has found the content.
    ///
    /// # Errors
    /// [`Moved`] if it is not there any more; other errors (no descriptors left, no permission) may pass.
    pub fn open(&mut self, content: &Content) -> io::Result<&mut Source> {
        if self.source.is_none() {
            let at = content.place.file().ok_or(Moved)?;
            let (file, meta) = match identity::open(path_of(&at.name)) {
                Err(e) if is_gone(&e) => return Err(Moved.into()),
                opened => opened?,
            };
            // A name passes to the next file with each rotation
            if FileId::of(&meta) != at.id {
                return Err(Moved.into());
            }
            self.id = Some(at.id);
            self.mark = None;
            self.check_head = true;
            self.source = Some(match content.place {
                Place::InArchive(_) => Source::Gz(Box::new(GzFile::new(file)?)),
                _ => Source::Plain(file),
            });
        }
        self.source()
    }
}

/// A name of the ledger as a path.
pub fn path_of(name: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(name))
}

/// A path as a name of the ledger.
pub fn name_of(path: &Path) -> Box<[u8]> {
    path.as_os_str().as_bytes().into()
}

/// A content is not where the last look has found it.
#[derive(Debug, Clone, Copy)]
pub struct Moved;

impl Moved {
    /// Whether this is why opening failed.
    pub fn is(e: &io::Error) -> bool {
        e.get_ref().is_some_and(|e| e.is::<Moved>())
    }
}

impl std::fmt::Display for Moved {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("the file is not there any more")
    }
}

impl std::error::Error for Moved {}

impl From<Moved> for io::Error {
    fn from(moved: Moved) -> Self {
        io::Error::new(io::ErrorKind::NotFound, moved)
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
