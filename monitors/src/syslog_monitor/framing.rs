//! Where one message of a TCP stream ends and the next begins (monitors-core.md §2.5.3, FIX 19).
//!
//! RFC 6587 has two ways: a count of bytes in front (`5 hello`), or a delimiter behind. Senders do not say
//! which they use, and a line may well begin with a digit. So a number is taken for a count only if
//! what follows fits: see [`count`]. After a mistake the stream is in step again at the next delimiter.

use memchr::{memchr, memmem};

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
    /// Longer messages come in pieces of so many bytes, a character more or less.
    pub limit: usize,
    /// A count beyond this is none.
    pub largest: usize,
}

/// What is remembered of a stream between two looks at it.
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

/// What to do with a message that may not be complete.
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
    /// So many bytes of number and blank, then so many of message.
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
        let end = find(&rest[scanned.min(rest.len())..], &rules.delimiter)
            .map(|end| end + scanned.min(rest.len()));
        let length = end.unwrap_or(rest.len());
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
            scanned = (length - size + 1).saturating_sub(rules.delimiter.len());
            continue;
        }
        if end.is_none() && !all {
            scanned = (length + 1).saturating_sub(rules.delimiter.len());
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
        at += length + end.map_or(0, |_| rules.delimiter.len());
        scanned = 0;
    }
    position.scanned = if at < bytes.len() { scanned } else { 0 };
    at
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
mod tests {
    use super::*;

    fn rules(framing: Framing) -> Rules {
        Rules {
            framing,
            delimiter: b"\n".to_vec(),
            limit: 100,
            largest: 1000,
        }
    }

    /// What a stream is cut into if it comes in reads of `step` bytes and then ends.
    fn cut_all(rules: &Rules, stream: &[u8], step: usize) -> Vec<String> {
        let mut position = Position::default();
        let mut buffer = Vec::new();
        let mut found = Vec::new();
        let mut chunks = stream.chunks(step).peekable();
        while let Some(chunk) = chunks.next() {
            buffer.extend_from_slice(chunk);
            let last = match chunks.peek() {
                Some(_) => Rest::Wait,
                None => Rest::Take,
            };
            for rest in [Rest::Wait, last] {
                let taken = cut(rules, &mut position, &buffer, rest, |piece| {
                    let mark = |on, mark| if on { mark } else { "" };
                    found.push(format!(
                        "{}{}{}{}",
                        mark(piece.malformed, "!"),
                        mark(!piece.begins, "…"),
                        String::from_utf8_lossy(piece.text),
                        mark(!piece.ends, "…")
                    ));
                });
                buffer.drain(..taken);
            }
        }
        assert!(buffer.is_empty());
        found
    }

    #[track_caller]
    fn check(framing: Framing, stream: &str, expected: &[&str]) {
        for step in [usize::MAX, 7, 3, 2, 1] {
            let step = step.min(stream.len().max(1));
            assert_eq!(
                cut_all(&rules(framing), stream.as_bytes(), step),
                expected,
                "in reads of {step}"
            );
        }
    }

    #[test]
    fn lines_counts_and_both_in_one_stream() {
        let auto = Framing::Auto;
        check(auto, "<13>one\n<13>two\r\n", &["<13>one", "<13>two\r"]);
        check(auto, "a\n\nb", &["a", "", "b"]);
        check(auto, "7 <13>abc8 <13>defg", &["<13>abc", "<13>defg"]);
        check(
            auto,
            "8 <13>a\nb\n<13>line\n6 <13>xy",
            &["<13>a\nb\n", "<13>line", "<13>xy"],
        );
    }

    #[test]
    fn counts_without_a_priority_are_read_as_before() {
        let auto = Framing::Auto;
        check(
            auto,
            "5 hello5 world3 abc\n<13>tail\n",
            &["hello", "world", "abc", "", "<13>tail"],
        );
        check(auto, "5 hello5 world", &["hello", "world"]);
        // The last of them is not held back until the next one comes.
        let mut found = 0;
        let mut position = Position::default();
        for (rest, taken) in [(Rest::Wait, 0), (Rest::Settle, 7)] {
            let rules = rules(auto);
            let cut = cut(&rules, &mut position, b"5 hello", rest, |_| found += 1);
            assert_eq!(cut, taken);
        }
        assert_eq!(found, 1);
    }

    #[test]
    fn a_line_that_begins_with_a_digit_does_not_poison_the_connection() {
        check(
            Framing::Auto,
            "2026-01-01 started\n12 monkeys\n3 blind mice\n007 bond\n99999999999 x\n5\n<13>ok\n",
            &[
                "2026-01-01 started",
                "12 monkeys",
                "3 blind mice",
                "007 bond",
                "99999999999 x",
                "5",
                "<13>ok",
            ],
        );
    }

    #[test]
    fn a_wrong_count_is_over_at_the_next_line() {
        check(
            Framing::Auto,
            "15 <13>short\n<13>swallowed\n<13>ok\n",
            &["<13>short\n<13>s", "wallowed", "<13>ok"],
        );
        check(
            Framing::Auto,
            "4000 <13>no such message\n<13>ok\n",
            &["!4000 <13>no such message", "<13>ok"],
        );
    }

    #[test]
    fn forced_counts_report_what_has_none_and_go_on() {
        check(
            Framing::Counted,
            "5 hello\n5 world\r\nnonsense 5 hello\n3 abc",
            &["hello", "world", "!nonsense 5 hello", "abc"],
        );
        check(Framing::Delimited, "5 hello\n3 abc", &["5 hello", "3 abc"]);
    }

    #[test]
    fn what_is_too_long_comes_in_pieces_and_the_stream_stays_in_step() {
        let long = "x".repeat(230);
        let pieces = [
            "x".repeat(100) + "…",
            "…".to_owned() + &"x".repeat(100) + "…",
        ];
        let last = "…".to_owned() + &"x".repeat(30);
        let expected = [&pieces[0], &pieces[1], &last, "<13>ok"];
        check(Framing::Auto, &format!("{long}\n<13>ok\n"), &expected);
        let counted = format!("234 <13>{}6 <13>ok", &long);
        let mut expected: Vec<String> = vec![format!("<13>{}…", "x".repeat(96))];
        expected.push(pieces[1].clone());
        expected.push("…".to_owned() + &"x".repeat(34));
        expected.push("<13>ok".to_owned());
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        check(Framing::Auto, &counted, &expected);
        // A digit behind a cut is no count.
        let digits = format!("{}5 <13>ab\nnext\n", "y".repeat(100));
        let expected = [
            "y".repeat(100) + "…",
            "…5 <13>ab".to_owned(),
            "next".to_owned(),
        ];
        check(
            Framing::Auto,
            &digits,
            &expected.each_ref().map(String::as_str),
        );
        // Exactly the limit is not too long.
        check(
            Framing::Auto,
            &format!("{}\n", "y".repeat(100)),
            &[&"y".repeat(100)],
        );
    }

    #[test]
    fn no_character_is_cut_in_two() {
        let text = "é".repeat(75);
        for first in ["", "a"] {
            let found = cut_all(
                &rules(Framing::Auto),
                format!("{first}{text}").as_bytes(),
                9,
            );
            let whole: String = found.iter().map(|piece| piece.replace('…', "")).collect();
            assert_eq!(whole, format!("{first}{text}"));
            assert_eq!(found.len(), 2);
        }
        // Bytes that are no text at all do not stop it.
        let found = cut_all(&rules(Framing::Auto), &[0x80; 250], 50);
        assert_eq!(found.len(), 3);
    }

    #[test]
    fn delimiters_of_several_bytes_leave_nothing_behind() {
        let rules = Rules {
            delimiter: b"\r\n.".to_vec(),
            ..rules(Framing::Delimited)
        };
        for step in 1..12 {
            assert_eq!(
                cut_all(&rules, b"a\nb\r\n.c\r\r\n.\r\n.d\r\n", step),
                ["a\nb", "c\r", "", "d\r\n"]
            );
        }
    }

    #[test]
    fn a_delimiter_behind_a_line_end_is_seen_however_the_bytes_come() {
        let rules = Rules {
            delimiter: b"|".to_vec(),
            ..rules(Framing::Counted)
        };
        for step in 1..8 {
            assert_eq!(
                cut_all(&rules, b"3 abc\r\n|x|3 def", step),
                ["abc", "!", "!x", "def"],
                "{step}"
            );
        }
    }

    #[test]
    fn a_half_message_that_is_given_up_is_finished_by_what_comes_late() {
        let rules = rules(Framing::Auto);
        let mut position = Position::default();
        let mut found = Vec::new();
        let mut look = |bytes: &[u8], rest| {
            let taken = cut(&rules, &mut position, bytes, rest, |piece| {
                found.push((
                    String::from_utf8_lossy(piece.text).into_owned(),
                    piece.begins,
                    piece.ends,
                ));
            });
            assert_eq!(taken, bytes.len());
        };
        look(b"10 <13>ab", Rest::Take);
        look(b"cdef<13>ok\n", Rest::Wait);
        assert_eq!(
            found,
            [
                ("<13>ab".to_owned(), true, false),
                ("cdef".to_owned(), false, true),
                ("<13>ok".to_owned(), true, true)
            ]
        );
    }

    #[test]
    fn arbitrary_bytes_are_neither_lost_nor_a_panic() {
        let mut seed = 1u64;
        for round in 0..2000 {
            let stream: Vec<u8> = (0..round % 400)
                .map(|_| {
                    seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1);
                    b"0123459 <>\n\r\0ax\xc3\xa9\xff"[(seed >> 33) as usize % 18]
                })
                .collect();
            for framing in [Framing::Auto, Framing::Counted, Framing::Delimited] {
                let whole = cut_all(&rules(framing), &stream, stream.len().max(1));
                let letters = |text: &[u8]| text.iter().filter(|b| b"ax".contains(b)).count();
                let found: usize = whole.iter().map(|piece| letters(piece.as_bytes())).sum();
                assert_eq!(found, letters(&stream), "{framing:?} {stream:?}");
            }
        }
    }
}
