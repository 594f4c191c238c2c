//! The bytes of the position journal. docs/reference/positions.md describes them for a person with a
//! hex dump; a test compares that page with this code.
//!
//! The file is a [header](header) and records one after the other. A record stands for itself: it can be
//! copied from one file into another, and a reader needs no other part of the file to check it.

mod read;

pub(super) use read::record;
pub use read::Reading;
use read::{ahead, offset};

pub use super::super::ledger::record::{Reason, Written};
use super::super::ledger::record::{SavedContent, SavedLog, SavedPlace};
use super::super::ledger::Remembered;
use super::super::ledger::{Birth, ContentKey, Phase, SequenceId, Stamp, Tip};
use crate::config::AttrValue;
use crate::tail::identity::hash;
use crate::util::crc32;
use crate::util::varint::{put, put_bytes, Reader};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The first bytes of each file.
const MAGIC: &[u8; 8] = b"scalyrPJ";
/// The version of all that is described here. A reader does not touch a file of another one.
const VERSION: u8 = 1;
/// The length of a header in bytes.
pub const HEADER: usize = 8 + 1 + 16 + 4;
/// The most bytes of a commit, all included.
pub const COMMIT: usize = 48;
/// The most bytes of a stream's cursor.
pub const CURSOR: usize = 4 << 10;
/// The most bytes of an export's id.
pub const EXPORT: usize = 64;
/// A whole record of a content follows after this many bytes of progress.
pub const WHOLE_EACH: u64 = 64 << 10;

/// Names a start of a process.
pub type StartId = [u8; 16];

/// The first bytes of a file that was written by the start of a process.
pub fn header(start: &StartId) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.push(VERSION);
    out.extend(start);
    let crc = crc32::of(&out);
    out.extend(crc.to_le_bytes());
    out
}

/// The start that wrote a file that begins so.
///
/// # Errors
/// A phrase that says why it is none that can be read.
pub fn read_header(bytes: &[u8]) -> Result<StartId, &'static str> {
    let mut from = Reader(bytes);
    let parts = (from.take(8), from.byte(), from.array(), from.word());
    match parts {
        (Some(magic), Some(_), ..) if magic != MAGIC => Err("it does not begin as a journal"),
        (_, Some(version), ..) if version != VERSION => {
            Err("another version of the agent wrote it")
        }
        (_, _, Some(start), Some(crc)) => match crc == crc32::of(&bytes[..HEADER - 4]) {
            true => Ok(start),
            false => Err("the checksum of its first bytes is wrong"),
        },
        _ => Err("it ends within its first bytes"),
    }
}

/// One change. The first byte of its payload, a letter, is its kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// `c`: all that is known of a content. It takes the place of what was known of its key.
    Content {
        /// Why it was written.
        reason: Reason,
        /// The worker that copies its log.
        worker: String,
        /// The log's.
        path: PathBuf,
        /// It has a key.
        content: Box<SavedContent>,
    },
    /// `a`: the position of a content has moved.
    Commit(Commit),
    /// `l`: all that is known of a log but its contents. A log that no such record names has neither schemes
    /// nor attributes.
    Log {
        /// The worker that copies it.
        worker: String,
        /// Its own.
        path: PathBuf,
        /// Without contents.
        log: SavedLog,
    },
    /// `f`: a content is not remembered any more.
    Forgotten(ContentKey),
    /// `g`: a log and its contents are not remembered any more.
    LogForgotten(String, PathBuf),
    /// `d`: files in the folder of a log that were there without being followed.
    Listing(Listing),
    /// `w`: the patterns that a worker's sessions follow; they take the place of the former ones.
    Watched {
        /// The worker.
        worker: String,
        /// How many sessions share its files, if that is known.
        sessions: Option<u64>,
        /// The patterns.
        patterns: Vec<PathBuf>,
    },
    /// `s`: the cursor of a stream, such as journald's. An empty one says that none is remembered.
    Cursor(String, Vec<u8>),
    /// `x`: the id of the checkpoint files that were exported last.
    Export(Vec<u8>),
    /// `t`: the time (microseconds since the epoch) and the count of checkpoint writes, which hold for the
    /// records from here on.
    Clock(u64, Option<u64>),
    /// Of a kind that a later version of the agent may have added: it is passed over.
    Other(u8),
}

/// The positions of a content that an acknowledged request moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The content.
    pub key: ContentKey,
    /// Its settled position in bytes.
    pub settled: u64,
    /// See [`SavedContent::numbered`].
    pub numbered: u64,
    /// Its known length in bytes.
    pub length: u64,
    /// The newest part of its evidence, if it has any.
    pub tip: Option<Tip>,
}

/// A change of the remembered files of a log's folder, which are hashes: 8 bytes a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The log at the root of the family that the files may belong to.
    pub path: PathBuf,
    /// Only `added` is remembered.
    pub replaces: bool,
    /// There were more files than can be remembered.
    pub overflown: bool,
    /// Not all files that had come could be judged.
    pub is_open: bool,
    /// Files that came.
    pub added: Vec<u64>,
    /// Files that went.
    pub removed: Vec<u64>,
}

/// Seconds since the epoch as microseconds. A time before the epoch is the epoch.
fn micros(time: f64) -> u64 {
    (time * 1e6).round() as u64
}

/// Microseconds since the epoch as seconds.
pub fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

/// Records, ready to be appended to a file.
#[derive(Debug, Clone, Default)]
pub struct Records(Vec<u8>);

impl Records {
    /// The bytes of the records.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Leaves none, and keeps the room.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    fn record(&mut self, kind: u8, payload: &[u8]) {
        let from = self.0.len();
        put(&mut self.0, payload.len() as u64 + 1);
        let body = self.0.len();
        self.0.push(kind);
        self.0.extend_from_slice(payload);
        if record(&self.0[body..]).is_none() {
            // It would hide all that follows it
            let kind = char::from(kind);
            log::error!(
                "a record of kind {kind} for the position journal makes no sense; it is left out"
            );
            self.0.truncate(from);
            return;
        }
        let crc = crc32::of(&self.0[body..]);
        self.0.extend(crc.to_le_bytes());
    }

    /// Writes a content that may have changed: a commit, or, where that can't carry the
    /// change, the whole with this reason. `written` is none for a content that was never written. Its record
    /// must be appended, or `written` be made none again.
    pub fn changed(
        &mut self,
        written: &mut Option<Written>,
        reason: Reason,
        (worker, path): (&str, &Path),
        content: &SavedContent,
    ) {
        let now = Written {
            print: print(worker, path, content),
            part: (content.evidence.end() / WHOLE_EACH) as u32,
        };
        if *written == Some(now) && self.commit(content) {
            return;
        }
        self.content(reason, (worker, path), content);
        *written = Some(now);
    }

    /// All of a content. One without a key can't be written; contents of the ledger have one.
    pub fn content(&mut self, reason: Reason, log: (&str, &Path), content: &SavedContent) {
        let Some(key) = content.key else { return };
        let mut out = vec![reason as u8];
        put_log(&mut out, log);
        put(&mut out, key.0);
        put_fixed(&mut out, content, content.stamp);
        put(&mut out, content.settled);
        put(&mut out, content.numbered.saturating_sub(content.settled));
        put(&mut out, content.length.saturating_sub(content.settled));
        if let Some((_, number)) = content.sequence {
            put(&mut out, number);
        }
        content.evidence.write(&mut out);
        self.record(b'c', &out);
    }

    /// How far a content is settled. False if that does not fit into [`COMMIT`] bytes, or tells too little:
    /// nothing is written then.
    pub(super) fn commit(&mut self, content: &SavedContent) -> bool {
        let (Some(key), evidence) = (content.key, &content.evidence) else {
            return false;
        };
        let none = evidence.is_empty().then_some(None);
        let tips = [4, 3, 2].iter().filter_map(|n| evidence.tip(*n));
        let payloads = none.into_iter().chain(tips.map(Some)).map(|tip| {
            let commit = Commit {
                key,
                settled: content.settled,
                numbered: content.numbered,
                length: content.length,
                tip,
            };
            commit.payload()
        });
        // Length, kind and checksum come on top
        let mut fits = payloads.filter(|p| p.len() + 6 <= COMMIT);
        let payload = fits.next();
        if let Some(payload) = &payload {
            self.record(b'a', payload);
        }
        payload.is_some()
    }

    /// A log, without its contents. `log.time` is in seconds since the epoch.
    pub fn log(&mut self, name: (&str, &Path), log: &SavedLog) {
        let mut out = Vec::new();
        put_log(&mut out, name);
        put(&mut out, micros(log.time));
        put_count(&mut out, log.serial);
        put(&mut out, log.schemes.len() as u64);
        for scheme in &log.schemes {
            put_bytes(&mut out, scheme.to_text().as_bytes());
        }
        for (key, value) in &log.attributes {
            let (kind, text) = match value {
                AttrValue::Text(text) => (b't', text),
                AttrValue::Number(text) => (b'n', text),
            };
            put_bytes(&mut out, key.as_bytes());
            out.push(kind);
            put_bytes(&mut out, text.as_bytes());
        }
        self.record(b'l', &out);
    }

    /// A content is not remembered any more.
    pub fn forget(&mut self, key: ContentKey) {
        let mut out = Vec::new();
        put(&mut out, key.0);
        self.record(b'f', &out);
    }

    /// A log and its contents are not remembered any more.
    pub fn forget_log(&mut self, log: (&str, &Path)) {
        let mut out = Vec::new();
        put_log(&mut out, log);
        self.record(b'g', &out);
    }

    /// The remembered files of a folder have changed: what came and what went, or all where that is
    /// shorter, or where nothing is known of `before`. Nothing is written where nothing has changed.
    pub fn listing(&mut self, path: &Path, before: Option<&Remembered>, now: &Remembered) {
        let without = |a: &Remembered, b: &Remembered| -> Vec<u64> {
            let mut b = b.names().peekable();
            a.names()
                .filter(|name| {
                    while b.next_if(|other| other < name).is_some() {}
                    b.peek() != Some(name)
                })
                .collect()
        };
        let (added, removed) = match before {
            Some(before) if before == now => return,
            Some(before) => (without(now, before), without(before, now)),
            None => (now.names().collect(), Vec::new()),
        };
        let replaces = before.is_none() || added.len() + removed.len() >= now.names().count();
        let (added, removed) = match replaces {
            true => (now.names().collect(), Vec::new()),
            false => (added, removed),
        };
        let mut out = Vec::new();
        put_bytes(&mut out, path.as_os_str().as_bytes());
        let flags = u8::from(replaces) | u8::from(now.is_overflown()) << 1;
        out.push(flags | u8::from(now.is_open()) << 2);
        put(&mut out, added.len() as u64);
        for name in added.into_iter().chain(removed) {
            out.extend(name.to_le_bytes());
        }
        self.record(b'd', &out);
    }

    /// The patterns that a worker's sessions follow.
    pub fn watched(&mut self, worker: &str, sessions: Option<u64>, patterns: &[PathBuf]) {
        let mut out = Vec::new();
        put_bytes(&mut out, worker.as_bytes());
        put_count(&mut out, sessions);
        for pattern in patterns {
            put_bytes(&mut out, pattern.as_os_str().as_bytes());
        }
        self.record(b'w', &out);
    }

    /// The cursor of a stream. False for one of more than [`CURSOR`] bytes, which is not written.
    pub fn cursor(&mut self, stream: &str, cursor: &[u8]) -> bool {
        let fits = cursor.len() <= CURSOR;
        if fits {
            let mut out = Vec::new();
            put_bytes(&mut out, stream.as_bytes());
            out.extend_from_slice(cursor);
            self.record(b's', &out);
        }
        fits
    }

    /// The id of the export that was written last, of which the first [`EXPORT`] bytes count.
    pub fn export(&mut self, id: &[u8]) {
        self.record(b'x', &id[..id.len().min(EXPORT)]);
    }

    /// The time in seconds since the epoch and the count of checkpoint writes.
    pub fn clock(&mut self, time: f64, serial: Option<u64>) {
        let mut out = Vec::new();
        put(&mut out, micros(time));
        put_count(&mut out, serial);
        self.record(b't', &out);
    }
}

impl Commit {
    fn payload(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, self.key.0);
        let (numbered, length) = (
            self.numbered.saturating_sub(self.settled),
            self.length.saturating_sub(self.settled),
        );
        let lines = self.tip.as_ref().map_or(0, Tip::lines) as u8;
        let flags = [numbered > 0, length > 0, self.tip.is_some()];
        out.push(
            flags
                .iter()
                .enumerate()
                .fold(lines, |all, (n, is)| all | u8::from(*is) << (3 + n)),
        );
        put(&mut out, self.settled);
        for ahead in [numbered, length] {
            if ahead > 0 {
                put(&mut out, ahead);
            }
        }
        if let Some(tip) = &self.tip {
            // It may lie on either side of the settled position
            let ahead = tip.end() as i64 - self.settled as i64;
            put(&mut out, (ahead << 1 ^ ahead >> 63) as u64);
            tip.write(&mut out);
        }
        out
    }

    fn read(from: &mut Reader) -> Option<Commit> {
        let key = ContentKey(from.varint()?);
        let flags = from.byte()?;
        let settled = offset(from.varint()?)?;
        let numbered = ahead(from, settled, flags & 8 != 0)?;
        let length = ahead(from, settled, flags & 16 != 0)?;
        let tip = match flags & 32 != 0 {
            true => {
                let folded = from.varint()?;
                let ahead = (folded >> 1) as i64 ^ -((folded & 1) as i64);
                let end = settled.checked_add_signed(ahead)?;
                Some(Tip::read(end, usize::from(flags & 7), from)?)
            }
            false => None,
        };
        Some(Commit {
            key,
            settled,
            numbered,
            length,
            tip,
        })
    }
}

fn put_log(out: &mut Vec<u8>, (worker, path): (&str, &Path)) {
    put_bytes(out, worker.as_bytes());
    put_bytes(out, path.as_os_str().as_bytes());
}

/// A count that may be unknown: 0, or one more than it.
fn put_count(out: &mut Vec<u8>, count: Option<u64>) {
    put(out, count.map_or(0, |count| count.saturating_add(1)));
}

/// The part of a content that moves with no commit.
fn put_fixed(out: &mut Vec<u8>, content: &SavedContent, stamp: Option<Stamp>) {
    let (place, file) = match content.place {
        SavedPlace::Nowhere => (0, None),
        SavedPlace::At(file) => (1, Some(file)),
        SavedPlace::InArchive(file) => (2, Some(file)),
        SavedPlace::Unlinked(file) => (3, Some(file)),
    };
    let phase = match content.phase {
        Phase::Shown if content.was_vague => 3,
        Phase::Shown => 0,
        Phase::Draining => 1,
        Phase::Finished => 2,
    };
    let birth = file.and_then(|file| file.birth);
    let there = [
        content.name.is_some(),
        stamp.is_some(),
        content.sequence.is_some(),
        birth.is_some(),
    ];
    let flags = there.iter().enumerate();
    let flags = flags.map(|(n, is)| u8::from(*is) << (4 + n));
    out.push(flags.fold(place | phase << 2, |all, flag| all | flag));
    if let Some(file) = file {
        put(out, file.id.dev);
        put(out, file.id.ino);
    }
    if let Some(Birth(birth)) = birth {
        out.extend(birth.get().to_le_bytes());
    }
    if let Some(name) = &content.name {
        put_bytes(out, name);
    }
    if let Some(Stamp(stamp)) = stamp {
        out.extend(stamp.to_le_bytes());
    }
    if let Some((SequenceId(id), _)) = content.sequence {
        out.extend(id);
    }
}

/// A hash of all that a commit can't carry. The stamp of a file that grows changes with each line, and only
/// saves a look at what does not change any more.
fn print(worker: &str, path: &Path, content: &SavedContent) -> u32 {
    let is_still = matches!(content.place, SavedPlace::InArchive(_));
    let is_still = is_still || content.phase == Phase::Finished;
    let mut out = Vec::with_capacity(160);
    put_log(&mut out, (worker, path));
    put_fixed(&mut out, content, content.stamp.filter(|_| is_still));
    if let Some((_, number)) = content.sequence {
        put(&mut out, number.wrapping_sub(content.settled));
    }
    content.evidence.write_head(&mut out);
    let long = hash(&out);
    (long ^ (long >> 32)) as u32
}
