//! The position journal as a person sees it: how its file is, what it remembers, and what has changed it.

use super::journal::format::{read_header, Commit, Reading, Record, HEADER};
use super::journal::replay::Replayed;
use super::journal::words::{self, Told};
use super::journal::{replay, Memory, Records};
use super::ledger::ContentKey;
use super::positions::{exports, read, take_over};
use super::store::{self, Unread};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The journal of a data directory. Nothing is changed by looking at it.
pub struct Sight {
    bytes: Vec<u8>,
    read: Replayed,
    /// The next start takes up this.
    memory: Memory,
    /// Checkpoint files of another agent win over the journal.
    has_others: bool,
}

/// A log that is remembered, in words.
pub struct LogTold<'a> {
    /// The worker that copies it; empty if that is not known.
    pub worker: &'a str,
    /// Its path.
    pub path: &'a Path,
    /// Lines about it.
    pub facts: Vec<String>,
    /// Lines about each of its contents, the one that the path shows last.
    pub contents: Vec<Vec<String>>,
}

/// How the file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Its length in bytes; none if there is no file.
    pub length: u64,
    /// The length of the sound part in bytes.
    pub sound: u64,
    /// Why the bytes that follow are no record, a phrase.
    pub wrong: Option<&'static str>,
    /// The first four bytes of the id of the start that wrote it.
    pub start: Option<u32>,
    /// The count of its records.
    pub records: usize,
    /// Checkpoint files were written for other agents.
    pub is_exported: bool,
    /// See [`Sight`].
    pub has_others: bool,
}

impl Sight {
    /// Of a data directory, with the files that are damaged. A folder that is not there remembers nothing.
    ///
    /// # Errors
    /// The files that may not be read.
    pub fn of(dir: &Path) -> Result<(Sight, Vec<Unread>), Vec<Unread>> {
        let mut tries = 0;
        loop {
            let bytes = read(dir).map_err(|unread| vec![unread])?;
            let read_so = replay(&bytes);
            let mut memory = read_so.memory.clone();
            let is_first = memory.is_empty();
            let (others, unread) = store::look(dir, &exports(&memory), is_first);
            if unread.iter().any(|unread| !unread.is_damaged) {
                return Err(unread);
            }
            tries += 1;
            // An agent may be in the middle of a record, or of an export
            let is_doubtful = others.is_some() || read_so.wrong.is_some();
            if is_doubtful && tries < 20 && read(dir).is_ok_and(|now| now != bytes) {
                continue;
            }
            let has_others = others.is_some();
            match others {
                Some(saved) if is_first => memory = Memory::of(saved),
                Some(saved) => take_over(&mut memory, &saved, &mut Records::default()),
                None => {}
            }
            let sight = Sight {
                bytes,
                read: read_so,
                memory,
                has_others,
            };
            return Ok((sight, unread));
        }
    }

    /// All that the next start takes up, if there is anything.
    pub fn into_memory(self) -> Option<Memory> {
        (!self.memory.is_empty()).then_some(self.memory)
    }

    /// How the file is.
    pub fn state(&self) -> State {
        let start = read_header(&self.bytes).ok();
        State {
            length: self.bytes.len() as u64,
            sound: self.read.sound as u64,
            wrong: self.read.wrong,
            start: start.map(|id| u32::from_be_bytes([id[0], id[1], id[2], id[3]])),
            records: self.reading().count(),
            is_exported: self.read.memory.export.is_some(),
            has_others: self.has_others,
        }
    }

    fn reading(&self) -> Reading<'_> {
        let has_header = self.read.sound >= HEADER;
        let upto = if has_header { HEADER } else { self.bytes.len() };
        Reading::of(&self.bytes[upto..])
    }

    /// Each log that is remembered, if `wants` wants its path or a path that one of its contents had.
    pub fn logs(&self, wants: impl Fn(&Path) -> bool, tell: &mut dyn FnMut(LogTold)) {
        for ((worker, path), log) in &self.memory.saved.logs {
            let names = log.contents.iter().filter_map(|it| it.name.as_deref());
            let mut paths = names.map(|name| path.with_file_name(OsStr::from_bytes(name)));
            if wants(path) || paths.any(|path| wants(&path)) {
                tell(LogTold {
                    worker,
                    path,
                    facts: words::log(log),
                    contents: log.contents.iter().map(words::content).collect(),
                });
            }
        }
    }

    /// Streams and their cursors.
    pub fn streams(&self) -> impl Iterator<Item = (&str, String)> {
        let all = self.memory.cursors.iter();
        all.map(|(stream, at)| (&stream[..], words::cursor(at)))
    }

    /// Each record with its offset in bytes, in the order of the file: those about a path that `wants` wants, and if
    /// `with_others` those that are about no log.
    pub fn records(
        &self,
        wants: impl Fn(&Path) -> bool,
        with_others: bool,
        tell: &mut dyn FnMut(u64, Told),
    ) {
        // By key
        let mut paths: Vec<(u64, PathBuf)> = Vec::new();
        let at = |paths: &[(u64, PathBuf)], key: ContentKey| {
            paths.binary_search_by_key(&key.0, |(known, _)| *known)
        };
        let mut reading = self.reading();
        loop {
            let offset = (self.bytes.len() - reading.left().len()) as u64;
            let Some(record) = reading.next() else { return };
            if let Record::Content { path, content, .. } = &record {
                let key = content.key.unwrap_or(ContentKey(0));
                match at(&paths, key) {
                    Ok(at) => paths[at].1.clone_from(path),
                    Err(at) => paths.insert(at, (key.0, path.clone())),
                }
            }
            let path = match &record {
                Record::Content { path, .. }
                | Record::Log { path, .. }
                | Record::LogForgotten(_, path) => Some(path),
                Record::Listing(listing) => Some(&listing.path),
                Record::Commit(Commit { key, .. }) | Record::Forgotten(key) => {
                    at(&paths, *key).ok().map(|at| &paths[at].1)
                }
                _ => None,
            };
            if path.map_or(with_others, |path| wants(path)) {
                tell(offset, words::record(&record, path.map(PathBuf::as_path)));
            }
        }
    }
}
