//! Reading records from bytes that may be anything.

use super::super::super::ledger::record::{Reason, SavedContent, SavedFile, SavedLog, SavedPlace};
use super::super::super::ledger::{Birth, ContentKey, Evidence, Phase, SequenceId, Stamp};
use super::super::super::names::Scheme;
use super::{seconds, Commit, Listing, Record, CURSOR, EXPORT};
use crate::config::AttrValue;
use crate::tail::identity::FileId;
use crate::util::crc32;
use crate::util::varint::{self, Reader};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Reads records off the beginning of bytes that may be anything.
#[derive(Debug)]
pub struct Reading<'a> {
    from: Reader<'a>,
    /// The fault of the bytes that come next, a phrase; none at the end.
    wrong: Option<&'static str>,
}

impl<'a> Reading<'a> {
    /// Of bytes that begin with a record.
    pub fn of(bytes: &'a [u8]) -> Self {
        Reading {
            from: Reader(bytes),
            wrong: None,
        }
    }

    /// The bytes that were not read. All before them were sound.
    pub fn left(&self) -> &'a [u8] {
        self.from.0
    }

    /// Why the bytes that are left are no record, a phrase; `None` where nothing but zeros are left.
    pub fn wrong(&self) -> Option<&'static str> {
        self.wrong
    }

    fn frame(from: &mut Reader<'a>) -> Result<&'a [u8], &'static str> {
        const TORN: &str = "a record is not complete";
        let body = from.bytes().ok_or(TORN)?;
        let crc = from.word().ok_or(TORN)?;
        match !body.is_empty() && crc32::of(body) == crc {
            true => Ok(body),
            false => Err("the checksum of a record is wrong"),
        }
    }
}

impl Iterator for Reading<'_> {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        if self.wrong.is_some() || self.from.0.iter().all(|byte| *byte == 0) {
            return None;
        }
        let mut from = self.from;
        let record = Self::frame(&mut from)
            .and_then(|body| record(body).ok_or("a record makes no sense, though it is complete"));
        match record {
            Ok(record) => {
                self.from = from;
                Some(record)
            }
            Err(wrong) => {
                self.wrong = Some(wrong);
                None
            }
        }
    }
}

/// From kind and payload.
pub(in crate::tail::journal) fn record(body: &[u8]) -> Option<Record> {
    let mut from = Reader(body);
    let kind = from.byte()?;
    let record = match kind {
        b'c' => content(&mut from)?,
        b'a' => Record::Commit(Commit::read(&mut from)?),
        b'l' => log(&mut from)?,
        b'f' => Record::Forgotten(ContentKey(from.varint()?)),
        b'g' => Record::LogForgotten(text(&mut from)?, path(&mut from)?),
        b'd' => Record::Listing(listing(&mut from)?),
        b'w' => {
            let (worker, sessions) = (text(&mut from)?, count(&mut from)?);
            let mut patterns = Vec::new();
            while !from.is_empty() {
                patterns.push(path(&mut from)?);
            }
            Record::Watched {
                worker,
                sessions,
                patterns,
            }
        }
        b's' => {
            let (stream, cursor) = (text(&mut from)?, from.rest());
            (cursor.len() <= CURSOR).then(|| Record::Cursor(stream, cursor.to_vec()))?
        }
        b'x' => {
            let id = from.rest();
            (id.len() <= EXPORT).then(|| Record::Export(id.to_vec()))?
        }
        b't' => Record::Clock(from.varint()?, count(&mut from)?),
        kind => return Some(Record::Other(kind)),
    };
    from.is_empty().then_some(record)
}

fn content(from: &mut Reader) -> Option<Record> {
    let reason = from.byte()?;
    let reason = Reason::ALL.into_iter().find(|r| *r as u8 == reason)?;
    let (worker, path) = (text(from)?, path(from)?);
    let key = ContentKey(from.varint()?);
    let flags = from.byte()?;
    let has = |bit: u8| flags & bit != 0;
    let mut file = match flags & 3 {
        0 => None,
        _ => Some(SavedFile {
            id: FileId {
                dev: from.varint()?,
                ino: from.varint()?,
            },
            birth: None,
        }),
    };
    if has(128) {
        let birth = i64::from_le_bytes(from.array()?).try_into().ok()?;
        file.as_mut()?.birth = Some(Birth(birth));
    }
    let name = match has(16) {
        true => Some(from.bytes()?.into()),
        false => None,
    };
    let stamp = match has(32) {
        true => Some(Stamp(from.word()?)),
        false => None,
    };
    let sequence = match has(64) {
        true => Some(SequenceId(from.array()?)),
        false => None,
    };
    let settled = offset(from.varint()?)?;
    let numbered = ahead(from, settled, true)?;
    let length = ahead(from, settled, true)?;
    let sequence = match sequence {
        Some(sequence) => Some((sequence, from.varint()?)),
        None => None,
    };
    let content = SavedContent {
        key: Some(key),
        place: match (flags & 3, file) {
            (1, Some(file)) => SavedPlace::At(file),
            (2, Some(file)) => SavedPlace::InArchive(file),
            (3, Some(file)) => SavedPlace::Unlinked(file),
            _ => SavedPlace::Nowhere,
        },
        name,
        stamp,
        settled,
        numbered,
        length,
        evidence: Evidence::read(from)?,
        phase: match flags >> 2 & 3 {
            0 | 3 => Phase::Shown,
            1 => Phase::Draining,
            _ => Phase::Finished,
        },
        was_vague: flags >> 2 & 3 == 3,
        sequence,
    };
    Some(Record::Content {
        reason,
        worker,
        path,
        content: Box::new(content),
    })
}

fn log(from: &mut Reader) -> Option<Record> {
    let (worker, path) = (text(from)?, path(from)?);
    let mut log = SavedLog {
        time: seconds(from.varint()?),
        serial: count(from)?,
        ..SavedLog::default()
    };
    for _ in 0..from.varint()? {
        log.schemes.push(Scheme::from_text(&text(from)?)?);
    }
    while !from.is_empty() {
        let key = text(from)?;
        let value = match from.byte()? {
            b't' => AttrValue::Text(text(from)?),
            b'n' => AttrValue::Number(text(from)?),
            _ => return None,
        };
        log.attributes.push((key, value));
    }
    Some(Record::Log { worker, path, log })
}

fn listing(from: &mut Reader) -> Option<Listing> {
    let path = path(from)?;
    let flags = from.byte().filter(|flags| *flags < 8)?;
    let count = usize::try_from(from.varint()?).ok()?.checked_mul(8)?;
    let added = from.take(count)?;
    let hashes = |bytes: &[u8]| -> Option<Vec<u64>> {
        let hashes = bytes.chunks(8);
        hashes
            .map(|hash| Some(u64::from_le_bytes(hash.try_into().ok()?)))
            .collect()
    };
    Some(Listing {
        path,
        replaces: flags & 1 != 0,
        overflown: flags & 2 != 0,
        is_open: flags & 4 != 0,
        added: hashes(added)?,
        removed: hashes(from.rest())?,
    })
}

fn text(from: &mut Reader) -> Option<String> {
    String::from_utf8(from.bytes()?.to_vec()).ok()
}

fn path(from: &mut varint::Reader) -> Option<PathBuf> {
    let bytes = from.bytes()?;
    Some(PathBuf::from(OsStr::from_bytes(bytes)))
}

fn count(from: &mut Reader) -> Option<Option<u64>> {
    Some(from.varint()?.checked_sub(1))
}

/// An offset in bytes, as far as files go.
pub(super) fn offset(value: u64) -> Option<u64> {
    i64::try_from(value).is_ok().then_some(value)
}

/// An offset that is given by how far it is ahead of another one; the same if nothing is given.
pub(super) fn ahead(from: &mut Reader, of: u64, is_given: bool) -> Option<u64> {
    match is_given {
        true => offset(of.checked_add(from.varint()?)?),
        false => Some(of),
    }
}
