//! Parts of a text that are kept, so that it is not read anew for each.

use super::{part_before, Bytes};
use crate::util::sort;
use std::io;

/// Parts of a text, by their offsets.
#[derive(Debug, Default)]
pub struct Pieces {
    /// Offset, length that is wanted or known, and text.
    parts: Vec<(u64, usize, Vec<u8>)>,
    /// The end of the text in bytes, where it is known.
    end: Option<u64>,
}

impl Pieces {
    /// These parts, which are still to be read: the ones that overlap become one.
    pub fn of(mut wanted: Vec<(u64, usize)>) -> Pieces {
        sort::plainly(&mut wanted);
        let mut parts: Vec<(u64, usize, Vec<u8>)> = Vec::new();
        for (from, len) in wanted {
            match parts.last_mut() {
                Some((start, all, _)) if from <= *start + *all as u64 => {
                    *all = (*all).max((from - *start) as usize + len);
                }
                _ => parts.push((from, len, Vec::new())),
            }
        }
        Pieces { parts, end: None }
    }

    /// Reads these parts in one pass.
    pub(super) fn read(wanted: Vec<(u64, usize)>, bytes: &mut dyn Bytes) -> io::Result<Pieces> {
        let mut pieces = Pieces::of(wanted);
        let parts = pieces.parts.iter().map(|(from, len, _)| (*from, *len));
        let texts = bytes.read_parts(&parts.collect::<Vec<_>>())?;
        for (part, text) in pieces.parts.iter_mut().zip(texts) {
            part.2 = text;
        }
        Ok(pieces)
    }

    /// The next bytes of a text that is read from its start on.
    pub fn offer(&mut self, offset: u64, text: &[u8]) {
        let end = offset + text.len() as u64;
        for (from, len, part) in &mut self.parts {
            let (from, to) = ((*from).max(offset), (*from + *len as u64).min(end));
            if from < to {
                part.extend_from_slice(&text[(from - offset) as usize..(to - offset) as usize]);
            }
        }
    }

    /// One more that was read.
    pub fn add(&mut self, from: u64, text: Vec<u8>) {
        self.parts.push((from, text.len(), text));
    }

    /// The text ends there.
    pub fn ends_at(&mut self, end: u64) {
        self.end = Some(end);
    }

    /// The bytes that are kept.
    pub fn size(&self) -> usize {
        self.parts.iter().map(|(_, _, text)| text.len()).sum()
    }

    /// All of these parts, if they are known.
    pub fn all(&self, parts: &[(u64, usize)]) -> Option<Vec<Vec<u8>>> {
        let known = |(from, len): &(u64, usize)| {
            let there = self.end.map_or(u64::MAX, |end| end.saturating_sub(*from));
            let len = (*len).min(usize::try_from(there).unwrap_or(usize::MAX));
            let text = self.get(*from, len);
            (text.len() == len).then(|| text.to_vec())
        };
        parts.iter().map(known).collect()
    }

    /// This part, or less where the text is shorter.
    pub(super) fn get(&self, from: u64, len: usize) -> &[u8] {
        let parts = self.parts.iter();
        let texts = parts.filter_map(|(start, _, text)| {
            let at = usize::try_from(from.checked_sub(*start)?).ok()?;
            text.get(at..text.len().min(at + len))
        });
        texts.max_by_key(|text| text.len()).unwrap_or(&[])
    }

    pub(super) fn before(&self, end: u64, len: usize) -> &[u8] {
        let (from, len) = part_before(end, len);
        self.get(from, len)
    }
}
