//! Where one message of a TCP stream ends and the next begins.
//!
//! RFC 6587 has two ways: a count of bytes in front (`5 hello`), or a delimiter behind. Senders do not say
//! which they use, and a line may well begin with a digit. So a number is taken for a count only if
//! what follows fits: see [`count`]. After a mistake the stream is in step again at the next delimiter.

use memchr::{memchr, memchr2, memmem};

/// Which of the two ways senders use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Either, message by message.
    Auto,
    /// Counts. What has none is taken up to the next delimiter and counted as malformed.
    Counted,
    /// Delimiters only.
    Delimited,
}

/// How a stream is cut.
#[derive(Debug, Clone)]
pub struct Rules {
    /// See there.
    pub framing: Framing,
    /// Between messages; not empty.
    pub delimiter: Vec<u8>,
    /// A NUL that a priority follows, or nothing, ends a message as well: some senders have only those.
    pub nul: bool,
    /// Longer messages come in pieces of so many bytes, a character more or less.
    pub limit: usize,
    /// A count beyond this is none.
    pub largest: usize,
}

/// The state of a stream between two looks at it.
#[derive(Debug, Default)]
pub struct Position {
    /// Bytes, from the start of what is there, in which no delimiter begins.
    scanned: usize,
    within: Within,
}

/// A message of which a piece has been given out already.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Within {
    #[default]
    None,
    /// It goes on up to the next delimiter.
    Delimited,
    /// It has so many bytes left.
    Counted(usize),
}

/// A message or a part of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Without count and delimiter.
    pub text: &'a [u8],
    /// It is the first of its message.
    pub begins: bool,
    /// It is the last one.
    pub ends: bool,
    /// It does not have the form that it should have.
    pub malformed: bool,
}

/// Longest number that is taken for a count.
const DIGITS: usize = 10;
/// A count that is not followed by `<` must not be larger.
const BARE: usize = 64 * 1024;

/// The treatment of a message that may not be complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// Wait for more.
    Wait,
    /// Nothing has come for a while: what may be complete is. What surely is not still waits.
    Settle,
    /// Give it out: there is no more to wait for.
    Take,
}

enum Count {
    /// Bytes of number and blank, then bytes of message.
    Of(usize, usize),
    /// More bytes have to come before this can be told.
    Unclear,
    None,
    /// It looks like one, but is beyond all measure.
    TooLarge,
}

/// Whether `bytes` begin with a count.
///
/// `12 <` always is one. Without the `<`, where senders leave the priority out, it is one if so many
/// bytes hold no newline and something that can begin or end a message comes next. `2026-01-01` and
/// `3 blind mice` are none.
fn count(bytes: &[u8], rules: &Rules, rest: Rest) -> Count {
    let digits = bytes
        .iter()
        .take(DIGITS + 1)
        .take_while(|b| b.is_ascii_digit())
        .count();
    if digits == 0 || digits > DIGITS || bytes[0] == b'0' {
        return Count::None;
    }
    match bytes.get(digits) {
        None => return Count::Unclear,
        Some(b' ') => {}
        Some(_) => return Count::None,
    }
    let number = bytes[..digits]
        .iter()
        .fold(0u64, |n, &b| n * 10 + u64::from(b - b'0'));
    let number = usize::try_from(number).unwrap_or(usize::MAX);
    let body = &bytes[digits + 1..];
    let first = match body.first() {
        None => return Count::Unclear,
        Some(&first) => first,
    };
    if first == b'<' || rules.framing == Framing::Counted {
        if number > rules.largest {
            return Count::TooLarge;
        }
        return Count::Of(digits + 1, number);
    }
    if number > rules.limit.min(BARE) {
        return Count::None;
    }
    let Some(message) = body.get(..number) else {
        return match memchr(b'\n', body) {
            Some(_) => Count::None,
            None => Count::Unclear,
        };
    };
    if memchr(b'\n', message).is_some() {
        return Count::None;
    }
    match body.get(number) {
        None if rest == Rest::Wait => Count::Unclear,
        Some(&next) if !next.is_ascii_digit() && !b"<\r\n".contains(&next) => Count::None,
        _ => Count::Of(digits + 1, number),
    }
}

/// Gives out the messages at the start of `bytes`, and tells how many bytes they took.
pub fn cut<'a>(
    rules: &Rules,
    position: &mut Position,
    bytes: &'a [u8],
    what_of_rest: Rest,
    mut give: impl FnMut(Piece<'a>),
) -> usize {
    let all = what_of_rest == Rest::Take;
    let mut at = 0;
    let mut scanned = std::mem::take(&mut position.scanned);
    while at < bytes.len() {
        let rest = &bytes[at..];
        let begins = position.within == Within::None;
        let mut malformed = false;
        if begins && rules.framing != Framing::Delimited {
            match count(rest, rules, what_of_rest) {
                Count::Of(head, length) if length <= rules.limit => {
                    if let Some(text) = rest.get(head..head + length) {
                        give(Piece {
                            text,
                            begins,
                            ends: true,
                            malformed,
                        });
                        at += head + length;
                        scanned = 0;
                        continue;
                    }
                    if !all {
                        break;
                    }
                    // The rest of it may still come after a time-out.
                    let text = &rest[head..];
                    position.within = Within::Counted(length - text.len());
                    give(Piece {
                        text,
                        begins,
                        ends: false,
                        malformed,
                    });
                    at = bytes.len();
                    continue;
                }
                Count::Of(head, length) => {
                    let size = piece(&rest[head..], rules.limit);
                    if rest.len() - head <= rules.limit && !all {
                        break;
                    }
                    let text = &rest[head..head + size];
                    position.within = Within::Counted(length - size);
                    scanned = 0;
                    give(Piece {
                        text,
                        begins,
                        ends: false,
                        malformed,
                    });
                    at += head + size;
                    continue;
                }
                Count::Unclear if !all => break,
                Count::TooLarge => malformed = true,
                Count::None if rules.framing == Framing::Counted => {
                    // Some senders end counted messages with a newline on top.
                    if rest[0] == b'\n' || rest.starts_with(b"\r\n") {
                        let skipped = if rest[0] == b'\n' { 1 } else { 2 };
                        at += skipped;
                        scanned = scanned.saturating_sub(skipped);
                        continue;
                    }
                    malformed = true;
                }
                Count::None | Count::Unclear => {}
            }
        }
        if let Within::Counted(left) = position.within {
            let there = &rest[..left.min(rest.len())];
            let size = piece(there, rules.limit);
            let ends = size == left;
            if !ends && there.len() <= rules.limit && !all {
                break;
            }
            position.within = if ends {
                Within::None
            } else {
                Within::Counted(left - size)
            };
            give(Piece {
                text: &there[..size],
                begins,
                ends,
                malformed,
            });
            at += size;
            continue;
        }
        let (end, length) = match end(rules, rest, scanned.min(rest.len()), what_of_rest) {
            Ok(end) => (Some(end), end.0),
            // Bytes that may still become a delimiter don't count towards the limit.
            Err(searched) => (None, if all { rest.len() } else { searched }),
        };
        if length > rules.limit {
            let size = piece(&rest[..length], rules.limit);
            position.within = Within::Delimited;
            give(Piece {
                text: &rest[..size],
                begins,
                ends: false,
                malformed,
            });
            at += size;
            scanned = length - size;
            continue;
        }
        if end.is_none() && !all {
            scanned = length;
            break;
        }
        // The end of a connection ends a message as well as a delimiter does.
        position.within = Within::None;
        give(Piece {
            text: &rest[..length],
            begins,
            ends: true,
            malformed,
        });
        at += length + end.map_or(0, |(_, delimiter)| delimiter);
        scanned = 0;
    }
    position.scanned = if at < bytes.len() { scanned } else { 0 };
    at
}

/// Where a message without a count ends, and how many bytes end it; or else up to where no end begins.
/// The first `from` bytes have been searched before.
fn end(rules: &Rules, bytes: &[u8], from: usize, rest: Rest) -> Result<(usize, usize), usize> {
    if !rules.nul {
        return match find(&bytes[from..], &rules.delimiter) {
            Some(end) => Ok((from + end, rules.delimiter.len())),
            None => Err((bytes.len() + 1).saturating_sub(rules.delimiter.len())),
        };
    }
    let mut at = from;
    while let Some(found) = memchr2(b'\n', 0, &bytes[at..]) {
        at += found;
        let ends = bytes[at] == b'\n'
            || match bytes[at + 1..] {
                [] | [b'<'] if rest == Rest::Wait => return Err(at),
                [] => true,
                [b'<', digit, ..] => digit.is_ascii_digit(),
                _ => false,
            };
        if ends {
            return Ok((at, 1));
        }
        at += 1;
    }
    Err(bytes.len())
}

fn find(bytes: &[u8], delimiter: &[u8]) -> Option<usize> {
    match delimiter {
        [one] => memchr(*one, bytes),
        more => memmem::find(bytes, more),
    }
}

/// At most `limit` bytes from the start of `bytes`, cut between two characters.
fn piece(bytes: &[u8], limit: usize) -> usize {
    if bytes.len() <= limit {
        return bytes.len();
    }
    let continues = |at: &usize| bytes[*at] & 0xc0 == 0x80;
    (limit.saturating_sub(3).max(1)..=limit)
        .rev()
        .find(|at| !continues(at))
        .unwrap_or(limit)
        .max(1)
}

#[cfg(test)]
#[path = "framing_tests.rs"]
mod tests;
