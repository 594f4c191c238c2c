//! Runs of NUL bytes that no program wrote as text: the hole that a writer which does not append
//! leaves before its position when its file is truncated, and the end of a preallocated file.
//!
//! A run of at least [`LEAST`] bytes that begins at the start of a line and is followed by something
//! else is left out. A run that goes to the end of the file waits, whatever its length: what takes its
//! place will be text. Other NULs are part of their line. A page in which no line begins with a NUL
//! and that does not end with one costs nothing but the two comparisons.

use super::identity;
use super::ledger::Bytes;
use super::source::Source;
use std::fs::File;
use std::io;
use std::path::Path;

/// The shortest run, in bytes, that is left out.
pub const LEAST: usize = 512;

/// Stands in place of the length of an unterminated line where zeros wait for their text.
pub const WAITS: u64 = u64::MAX;

/// The end of a page.
pub enum End {
    /// Text.
    Text,
    /// NULs that are left alone for now, and begin at this place of the page.
    Zeros(usize),
}

/// Looks at the end of a page. `eof`: the file ends with it. `max_line`: of a line that is longer, what
/// is there is taken before its end is; of a shorter one the next page shows all.
pub fn end(data: &[u8], eof: bool, max_line: usize) -> End {
    if data.last() != Some(&0) {
        return End::Text;
    }
    let text = data.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1);
    let would_be_cut = || {
        let line = memchr::memrchr(b'\n', &data[..text]).map_or(0, |at| at + 1);
        data.len() - text >= LEAST.min(data.len()) && data.len() - line > max_line
    };
    match eof || would_be_cut() {
        true => End::Zeros(text),
        false => End::Text,
    }
}

/// The start of a line that begins with a NUL.
#[derive(Debug, PartialEq, Eq)]
pub enum Start {
    /// NULs that are part of the line.
    Text,
    /// This number of NULs is left out.
    Out(usize),
    /// NULs up to the end of the page: the next page, if it begins here, tells more.
    Beyond,
}

/// Looks at the bytes from the start of a line on.
#[inline]
pub fn start(rest: &[u8]) -> Start {
    if rest.first() != Some(&0) {
        return Start::Text;
    }
    match rest.iter().position(|b| *b != 0) {
        Some(n) if n >= LEAST => Start::Out(n),
        Some(_) => Start::Text,
        None => Start::Beyond,
    }
}

/// Finds the first byte at or after `from` that is no NUL; `None` if there is none. Holes are not
/// read.
///
/// # Errors
/// Of reading.
pub fn text_after(source: &mut Source, from: u64) -> io::Result<Option<u64>> {
    let mut block = vec![0; 64 << 10];
    let mut at = from;
    loop {
        if let Source::Plain(file) = source {
            match data_after(file, at) {
                Some(data) => at = data,
                None => return Ok(None),
            }
        }
        let n = source.read_at(&mut block, at)?;
        if let Some(zeros) = block[..n].iter().position(|b| *b != 0) {
            return Ok(Some(at + zeros as u64));
        }
        if n < block.len() {
            return Ok(None);
        }
        at += n as u64;
    }
}

/// Finds where the zeros begin that the file of this size at `path` ends with: in a preallocated file text goes
/// on there. The size if there are none, or if it can't be read.
pub fn end_of_text(path: &Path, size: u64) -> u64 {
    match identity::open(path) {
        Ok((file, _)) => last_text(&file, size),
        Err(_) => size,
    }
}

fn last_text(file: &File, size: u64) -> u64 {
    let mut block = vec![0; 64 << 10];
    let mut at = size;
    while at > 0 {
        // A hole is not read: what is before it may be
        if let Some(hole) = hole_before(file, at) {
            at = hole;
        }
        let from = at.saturating_sub(block.len() as u64);
        let want = (at - from) as usize;
        match identity::read_full_at(file, &mut block[..want], from) {
            Ok(n) if n == want => {}
            // Shorter by now, or not to be read: the next look tells
            _ => return size,
        }
        if let Some(text) = block[..want].iter().rposition(|b| *b != 0) {
            return from + text as u64 + 1;
        }
        at = from;
    }
    0
}

/// Finds where the hole begins that reaches up to `at`, if there is one.
fn hole_before(file: &File, at: u64) -> Option<u64> {
    const STEP: u64 = 64 << 10;
    if data_after(file, at.checked_sub(STEP)?).is_some_and(|data| data < at) {
        return None;
    }
    // No data in the last step: as far back as steps twice as long each lead
    let mut back = STEP;
    while let Some(from) = at.checked_sub(back * 2) {
        if data_after(file, from).is_some_and(|data| data < at) {
            break;
        }
        back *= 2;
    }
    Some(at - back)
}

/// Finds where data begins at or after `at`; `None` behind the last data. A file system that does not know
/// holes has data everywhere.
fn data_after(file: &File, at: u64) -> Option<u64> {
    let offset = libc::off64_t::try_from(at).ok()?;
    match nix::unistd::lseek64(file, offset, nix::unistd::Whence::SeekData) {
        Ok(data) => Some(u64::try_from(data).unwrap_or(at).max(at)),
        Err(nix::errno::Errno::ENXIO) => None,
        Err(_) => Some(at),
    }
}
