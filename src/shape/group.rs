//! Where a unit of raw bytes ends: a line, or a group of lines.

use super::unit::{Counts, Input};
use common::regex::{budget, Regex, Searcher};

/// How a group goes on after its first line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    ContinueThrough,
    ContinuePast,
    HaltBefore,
    HaltWith,
}

/// A compiled grouper.
#[derive(Debug)]
pub(super) struct Grouper {
    pub(super) start: Regex,
    pub(super) next: Regex,
    pub(super) manner: Manner,
}

/// The limits of a log's units in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// Longest unit.
    pub(super) unit: usize,
    /// Bytes that must be seen before a cut within a line is chosen, if one has to be chosen.
    pub(super) window: Option<usize>,
    /// A line that the window shows whole is a unit, however long.
    pub(super) whole: bool,
}

/// Where the unit ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Take {
    Wait,
    Unit {
        len: usize,
        lines: u64,
    },
    /// To be cut somewhere, best at `want`; `context` bytes are there to decide by.
    Cut {
        context: usize,
        want: usize,
        lines: u64,
    },
}

/// The searchers and buffers of groupers.
pub(super) struct Tools<'a> {
    pub(super) searchers: &'a mut [Searcher],
    pub(super) line: &'a mut String,
    pub(super) counts: &'a mut Counts,
}

/// Finds the end of the unit at the start of `data`, which is the rest of `input.data`.
pub(super) fn take(
    groupers: &[Grouper],
    limits: Limits,
    input: &Input,
    data: &[u8],
    tools: &mut Tools,
) -> Take {
    let expired = input.at_end && input.expired;
    let seen = &data[..data.len().min(limits.unit)];
    let Some(end) = memchr::memchr(b'\n', seen) else {
        if data.is_empty() {
            return Take::Wait;
        }
        if data.len() < limits.unit {
            return match expired {
                true => Take::Unit {
                    len: data.len(),
                    lines: 1,
                },
                false => Take::Wait,
            };
        }
        return cut(limits, expired, data, limits.unit, 1);
    };
    let first = end + 1;
    for (grouper, searchers) in groupers.iter().zip(tools.searchers.chunks_exact_mut(2)) {
        let [starts, nexts] = searchers else { continue };
        if !found(
            &grouper.start,
            starts,
            &data[..first],
            tools.line,
            tools.counts,
        ) {
            continue;
        }
        let mut test = |line: &[u8]| found(&grouper.next, nexts, line, tools.line, tools.counts);
        match extend(grouper.manner, data, first, limits.unit, &mut test) {
            Extent::None => {}
            Extent::Group { len, lines } => return Take::Unit { len, lines },
            Extent::Full { lines } => {
                return cut(limits, expired, data, limits.unit, lines);
            }
            Extent::Open { len, lines } if expired => return Take::Unit { len, lines },
            Extent::Open { .. } => return Take::Wait,
        }
    }
    Take::Unit {
        len: first,
        lines: 1,
    }
}

/// A cut within or after a line that is too long, at `want` if there is nothing to mind.
fn cut(limits: Limits, expired: bool, data: &[u8], want: usize, lines: u64) -> Take {
    let Some(window) = limits.window else {
        return Take::Unit { len: want, lines };
    };
    let seen = data.len().min(window);
    match memchr::memchr(b'\n', &data[want..seen]) {
        Some(_) if limits.whole && lines == 1 => {
            let end = memchr::memchr(b'\n', &data[..seen]).unwrap_or(want);
            Take::Unit {
                len: end + 1,
                lines,
            }
        }
        Some(end) => Take::Cut {
            context: want + end + 1,
            want,
            lines,
        },
        None if data.len() >= window => {
            let want = match limits.whole && lines == 1 {
                // As much as may be of a line without end
                true => (window / 2 / want).max(1) * want,
                false => want,
            };
            Take::Cut {
                context: window,
                want,
                lines,
            }
        }
        None if expired && limits.whole && lines == 1 => Take::Unit {
            len: data.len(),
            lines,
        },
        None if expired => Take::Cut {
            context: data.len(),
            want,
            lines,
        },
        None => Take::Wait,
    }
}

enum Extent {
    /// Not a group.
    None,
    Group {
        len: usize,
        lines: u64,
    },
    /// As long as a group may be.
    Full {
        lines: u64,
    },
    /// It could go on, but nothing more is there.
    Open {
        len: usize,
        lines: u64,
    },
}

fn extend(
    manner: Manner,
    data: &[u8],
    first: usize,
    most: usize,
    test: &mut dyn FnMut(&[u8]) -> bool,
) -> Extent {
    let mut len = first;
    let mut lines = 1;
    loop {
        let room = most - len;
        let rest = &data[len..data.len().min(most)];
        let Some(end) = memchr::memchr(b'\n', rest) else {
            return match rest.len() < room {
                true => Extent::Open { len, lines },
                false => Extent::Full {
                    lines: lines + u64::from(room > 0),
                },
            };
        };
        let next = len + end + 1;
        if next >= most {
            return Extent::Full { lines: lines + 1 };
        }
        let found = test(&data[len..next]);
        let (goes_on, takes) = match manner {
            Manner::ContinueThrough if !found && lines == 1 => return Extent::None,
            Manner::ContinueThrough => (found, found),
            Manner::ContinuePast => (found, true),
            Manner::HaltBefore => (!found, !found),
            Manner::HaltWith => (!found, true),
        };
        if takes {
            len = next;
            lines += 1;
        }
        if !goes_on {
            return Extent::Group { len, lines };
        }
    }
}

fn found(
    regex: &Regex,
    searcher: &mut Searcher,
    line: &[u8],
    buffer: &mut String,
    counts: &mut Counts,
) -> bool {
    let text = match std::str::from_utf8(line) {
        Ok(text) => text,
        Err(_) => {
            decode(line, buffer);
            buffer
        }
    };
    let mut budget = budget(text.len());
    regex
        .is_match(searcher, text, &mut budget)
        .unwrap_or_else(|_| {
            counts.failed_searches += 1;
            false
        })
}

/// Replaces each invalid sequence by U+FFFD.
pub(super) fn decode(bytes: &[u8], text: &mut String) {
    text.clear();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
}
