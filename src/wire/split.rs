//! The events of a finished request body, found again in its bytes.
//!
//! A request that the server finds too large is cut at events and sent in parts. Reading the files
//! again could give other bytes by then; the body has them. Nothing about events is kept while a
//! body is filled, as hardly any is ever cut: a cut scans it.

use super::Form;
use std::ops::Range;

/// An event in a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// From its `{` to behind its `}`.
    pub at: Range<usize>,
    /// Bytes of its message; of one in JSON as the server will decode it.
    pub message_bytes: u64,
    /// Where its sequence id is, if it names one.
    pub sequence: Option<Range<usize>>,
    /// Its sequence number, or how much is added to the one before it.
    pub number: Number,
    /// The member `sd`, with the comma before it.
    pub difference: Range<usize>,
}

/// A sequence number as an event tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Number {
    Is(u64),
    Adds(u64),
}

/// The events of `body[at..end]`, which are separated by commas. Ends early where the bytes are not
/// what [`super::Batch::push`] writes.
pub(super) fn events(
    body: &[u8],
    mut at: usize,
    end: usize,
    form: Form,
) -> impl Iterator<Item = Found> + '_ {
    std::iter::from_fn(move || {
        if body.get(at) == Some(&b',') {
            at += 1;
        }
        if at >= end {
            return None;
        }
        let found = event(body, at, form)?;
        at = found.at.end;
        Some(found)
    })
}

fn event(body: &[u8], at: usize, form: Form) -> Option<Found> {
    let mut found = Found {
        at: at..at,
        message_bytes: 0,
        sequence: None,
        number: Number::Adds(0),
        difference: at..at,
    };
    let mut sound = true;
    found.at.end = object(body, at, &mut |key, member, value| match key {
        b"attrs" => {
            let read = object(body, value.start, &mut |key, _, value| {
                if key == b"message" {
                    found.message_bytes = match form {
                        // Behind the mark of two bytes and the length of four
                        Form::Scalyr => value.len().saturating_sub(6) as u64,
                        Form::Json => decoded_len(&body[value]),
                    };
                }
            });
            sound &= read.is_some();
        }
        b"si" => found.sequence = Some(value.start + 1..value.end - 1),
        b"sn" => match number(&body[value]) {
            Some(n) => found.number = Number::Is(n),
            None => sound = false,
        },
        b"sd" => match number(&body[value]) {
            Some(n) => {
                found.number = Number::Adds(n);
                found.difference = member;
            }
            None => sound = false,
        },
        _ => {}
    })?;
    sound.then_some(found)
}

/// Takes a member: key, the member with the comma before it, value.
type Visit<'a> = dyn FnMut(&[u8], Range<usize>, Range<usize>) + 'a;

/// Goes through the members of the object at `at`. The position behind it.
fn object(body: &[u8], at: usize, visit: &mut Visit) -> Option<usize> {
    if body.get(at) != Some(&b'{') {
        return None;
    }
    let mut at = at + 1;
    if body.get(at) == Some(&b'}') {
        return Some(at + 1);
    }
    let mut begin = at;
    loop {
        while body.get(at) == Some(&b' ') {
            at += 1;
        }
        let key = if body.get(at) == Some(&b'"') {
            let end = string(body, at)?;
            let key = at + 1..end - 1;
            at = end;
            key
        } else {
            let end = at + memchr::memchr(b':', body.get(at..)?)?;
            let key = at..end;
            at = end;
            key
        };
        if body.get(at) != Some(&b':') {
            return None;
        }
        let end = value(body, at + 1)?;
        visit(&body[key], begin..end, at + 1..end);
        match body.get(end)? {
            b',' => {
                begin = end;
                at = end + 1;
            }
            b'}' => return Some(end + 1),
            _ => return None,
        }
    }
}

/// The position behind the value at `at`.
fn value(body: &[u8], at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = at;
    loop {
        match body.get(at)? {
            b'"' => at = string(body, at)?,
            // A mark, the length in four bytes, then any bytes
            b'`' => {
                let length: [u8; 4] = body.get(at + 2..at + 6)?.try_into().ok()?;
                at = at.checked_add(6 + u32::from_be_bytes(length) as usize)?;
            }
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' => {
                depth = depth.checked_sub(1)?;
                at += 1;
            }
            _ => at += 1,
        }
        if depth == 0 && matches!(body.get(at)?, b',' | b'}' | b']') {
            return Some(at);
        }
    }
}

/// The position behind the quoted string at `at`.
fn string(body: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', body.get(at..)?)?;
        match body[at] {
            b'"' => return Some(at + 1),
            _ => at += 2,
        }
    }
}

/// How many bytes a quoted JSON string stands for.
fn decoded_len(quoted: &[u8]) -> u64 {
    let mut bytes = 0;
    let mut at = 1;
    while at + 1 < quoted.len() {
        at += match (quoted[at], quoted.get(at + 1)) {
            (b'\\', Some(b'u')) => 6,
            (b'\\', _) => 2,
            _ => 1,
        };
        bytes += 1;
    }
    bytes
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}
