//! Parts of the text of archives, kept for the time of one look.
//!
//! Each step back in a gzip file decompresses it from its start. So an archive of which more is asked
//! than its head is read once to its end, and all that known contents may ask of it is kept from that; a
//! second pass reads the proof of its own text, should it turn out to be new. Archives that were only
//! renamed are not read at all, see `decide.rs`.

use super::content::ContentKey;
use super::decide::Known;
use super::evidence::{before, head_bytes, Bytes, Evidence, Pieces, HEAD};
use super::observe::{Eyes, Listed, Stat};
use crate::tail::identity::FileId;
use std::collections::BTreeMap;
use std::io;

/// The most bytes of archives that are kept; beyond it they are read again.
const MOST: usize = 4 << 20;
/// The last bytes of each that are kept: where its last line ends is sought there.
const TAIL: usize = 64 << 10;

/// The eyes of one look.
pub struct Sampling<'a> {
    eyes: &'a mut dyn Eyes,
    /// Of contents and copies.
    known: Vec<&'a Evidence>,
    archives: BTreeMap<FileId, Sample>,
}

#[derive(Default)]
struct Sample {
    /// Known once it was read to its end, in bytes.
    length: Option<u64>,
    pieces: Pieces,
}

impl<'a> Sampling<'a> {
    pub fn new(eyes: &'a mut dyn Eyes, known: &Known<'a>) -> Self {
        let contents = known.contents.values().map(|content| &content.evidence);
        let copies = known.copies.values().map(|copy| &copy.evidence);
        Sampling {
            eyes,
            known: contents.chain(copies).collect(),
            archives: BTreeMap::new(),
        }
    }
}

impl Eyes for Sampling<'_> {
    fn open(&mut self, file: &Listed) -> io::Result<Box<dyn Bytes + '_>> {
        if !file.is_archive() {
            return self.eyes.open(file);
        }
        Ok(Box::new(Sampled {
            kept: self
                .archives
                .values()
                .map(|sample| sample.pieces.size())
                .sum(),
            sample: self.archives.entry(file.stat.id).or_default(),
            eyes: &mut *self.eyes,
            known: &self.known,
            file: file.clone(),
        }))
    }

    fn held(&mut self, key: ContentKey) -> Option<(Stat, Box<dyn Bytes + '_>)> {
        self.eyes.held(key)
    }
}

struct Sampled<'a> {
    sample: &'a mut Sample,
    eyes: &'a mut dyn Eyes,
    known: &'a [&'a Evidence],
    file: Listed,
    kept: usize,
}

impl Sampled<'_> {
    /// Reads all of it, keeping what may be asked for.
    fn read_all(&mut self) -> io::Result<u64> {
        if let Some(length) = self.sample.length {
            return Ok(length);
        }
        let mut bytes = self.eyes.open(&self.file)?;
        let head = head_bytes(&mut *bytes)?;
        let mut wanted = vec![(0, HEAD)];
        if self.kept < MOST {
            for evidence in self.known {
                if evidence.may_begin(&head) {
                    wanted.extend(evidence.parts());
                }
            }
        }
        let mut pieces = Pieces::of(wanted);
        let mut tail: Vec<u8> = Vec::new();
        let mut length = 0;
        let mut buf = vec![0; TAIL];
        loop {
            let read = bytes.read_at(&mut buf, length)?;
            if read == 0 {
                break;
            }
            pieces.offer(length, &buf[..read]);
            length += read as u64;
            tail.extend_from_slice(&buf[..read]);
            tail.drain(..tail.len().saturating_sub(TAIL));
        }
        pieces.add(length - tail.len() as u64, tail);
        pieces.ends_at(length);
        *self.sample = Sample {
            length: Some(length),
            pieces,
        };
        Ok(length)
    }
}

impl Bytes for Sampled<'_> {
    fn read_at(&mut self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let parts = self.read_parts(&[(offset, buf.len())])?;
        let part = parts.first().map_or(&[][..], |part| &part[..]);
        buf[..part.len()].copy_from_slice(part);
        Ok(part.len())
    }

    fn read_parts(&mut self, parts: &[(u64, usize)]) -> io::Result<Vec<Vec<u8>>> {
        let is_head = |(from, len): &(u64, usize)| from + *len as u64 <= HEAD as u64;
        if parts.iter().all(is_head) {
            if self.sample.pieces.all(parts).is_none() {
                let head = before(HEAD as u64, HEAD, &mut *self.eyes.open(&self.file)?)?;
                let end = head.len() as u64;
                self.sample.pieces.add(0, head);
                if end < HEAD as u64 {
                    self.sample.pieces.ends_at(end);
                }
            }
        } else {
            self.read_all()?;
        }
        if let Some(texts) = self.sample.pieces.all(parts) {
            return Ok(texts);
        }
        let texts = self.eyes.open(&self.file)?.read_parts(parts)?;
        for ((from, _), text) in parts.iter().zip(&texts) {
            self.sample.pieces.add(*from, text.clone());
        }
        Ok(texts)
    }

    fn length(&mut self) -> io::Result<u64> {
        self.read_all()
    }
}
