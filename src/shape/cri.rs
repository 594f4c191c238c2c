//! Lines of the Kubernetes container runtime.

use super::time::rfc3339;

/// Which of a container's two streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Out,
    Err,
}

impl Stream {
    pub(super) fn name(self) -> &'static str {
        match self {
            Stream::Out => "stdout",
            Stream::Err => "stderr",
        }
    }
}

/// A line, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub(super) nanos: u64,
    pub(super) stream: Stream,
    /// The text goes on in a later line of the stream.
    pub(super) partial: bool,
    /// With its line end.
    pub(super) text: &'a [u8],
}

/// Takes `<time> <stream> <tags> <text>` apart; the text may be missing.
pub(super) fn parse(line: &[u8]) -> Option<Line<'_>> {
    let (time, rest) = word(line)?;
    let nanos = rfc3339(time)?;
    let (stream, rest) = word(rest)?;
    let stream = match stream {
        b"stdout" => Stream::Out,
        b"stderr" => Stream::Err,
        _ => return None,
    };
    let (tags, text) = word(rest).unwrap_or_else(|| {
        let end = rest.iter().position(|b| matches!(b, b'\r' | b'\n'));
        rest.split_at(end.unwrap_or(rest.len()))
    });
    let mut partial = None;
    for tag in tags.split(|b| *b == b':') {
        match tag {
            b"F" => partial = partial.or(Some(false)),
            b"P" => partial = partial.or(Some(true)),
            _ => {}
        }
    }
    Some(Line {
        nanos,
        stream,
        partial: partial?,
        text,
    })
}

fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(b' ', text)?;
    Some((&text[..at], &text[at + 1..]))
}

/// Without `\n` or `\r\n` at the end.
pub(super) fn without_end(text: &[u8]) -> &[u8] {
    match text {
        [text @ .., b'\r', b'\n'] | [text @ .., b'\n'] => text,
        text => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_taken_apart_and_others_told_apart() {
        let line = |text: &'static str| {
            parse(text.as_bytes())
                .map(|l| (l.stream, l.partial, std::str::from_utf8(l.text).unwrap()))
        };
        use Stream::{Err, Out};
        for (text, parts) in [
            (
                "1970-01-01T00:00:00Z stdout F a b\n",
                Some((Out, false, "a b\n")),
            ),
            (
                "1970-01-01T00:00:00Z stderr P a\n",
                Some((Err, true, "a\n")),
            ),
            (
                "1970-01-01T00:00:00Z stderr x:P:y a\n",
                Some((Err, true, "a\n")),
            ),
            ("1970-01-01T00:00:00Z stdout F \n", Some((Out, false, "\n"))),
            ("1970-01-01T00:00:00Z stdout F\n", Some((Out, false, "\n"))),
            ("1970-01-01T00:00:00Z stdout F", Some((Out, false, ""))),
            ("1970-01-01T00:00:00Z stdout  F a\n", None),
            ("1970-01-01T00:00:00Z stdin F a\n", None),
            ("1970-01-01T00:00:00Z stdout X a\n", None),
            ("yesterday stdout F a\n", None),
            ("\n", None),
            ("", None),
        ] {
            assert_eq!(line(text), parts, "{text:?}");
        }
    }
}
