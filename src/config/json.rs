//! The relaxed JSON dialect of configuration files: comments, bare keys, inferred
//! and trailing commas, `"""` strings, `+` between strings.
//!
//! Time is linear in the text, nesting is bounded by [`MAX_DEPTH`], and no input panics.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

pub use super::value::{Json, Member, Node, Pos};

/// How deep objects and arrays may nest.
pub const MAX_DEPTH: usize = 128;

/// The longest number in characters, one leading minus not counted.
const MAX_NUMBER: usize = 100;

/// The kinds of errors in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    EmptyInput,
    EofValue,
    BadWord,
    BadChar,
    BraceNotValue,
    Backtick,
    BadKey,
    KeyNeedsQuotes,
    NoColon,
    ObjectOpen,
    ArrayOpen,
    ObjectComma,
    ArrayComma,
    StringOpen,
    NewlineInString,
    CutEscape,
    BadEscape,
    Concat,
    BadInt,
    BadFloat,
    NumTooLong,
    CommentOpen,
    TrailingData,
    TooDeep,
}

impl Kind {
    /// The kind's short name.
    pub fn name(self) -> &'static str {
        match self {
            Kind::EmptyInput => "empty-input",
            Kind::EofValue => "eof-value",
            Kind::BadWord => "bad-word",
            Kind::BadChar => "bad-char",
            Kind::BraceNotValue => "brace-not-value",
            Kind::Backtick => "backtick",
            Kind::BadKey => "bad-key",
            Kind::KeyNeedsQuotes => "key-needs-quotes",
            Kind::NoColon => "no-colon",
            Kind::ObjectOpen => "object-open",
            Kind::ArrayOpen => "array-open",
            Kind::ObjectComma => "object-comma",
            Kind::ArrayComma => "array-comma",
            Kind::StringOpen => "string-open",
            Kind::NewlineInString => "newline-in-string",
            Kind::CutEscape => "cut-escape",
            Kind::BadEscape => "bad-escape",
            Kind::Concat => "concat",
            Kind::BadInt => "bad-int",
            Kind::BadFloat => "bad-float",
            Kind::NumTooLong => "num-too-long",
            Kind::CommentOpen => "comment-open",
            Kind::TrailingData => "trailing-data",
            Kind::TooDeep => "too-deep",
        }
    }
}

/// Why a text is not a document of the dialect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonError {
    /// The kind of error.
    pub kind: Kind,
    /// The line of `position`, from 1.
    pub line: u32,
    /// The reference's position: a character index from 0, mostly that of the last character
    /// consumed.
    pub position: usize,
    /// Where a reader should look: the offending character, or the opener of what is not closed.
    pub at: Pos,
    /// The offending character, if there is one.
    pub found: Option<char>,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.kind {
            Kind::EmptyInput => "there is nothing in it; at least {} is needed",
            Kind::EofValue => "the text ends where a value is expected",
            Kind::BadWord => "a word that is none of true, false, null; strings need quotes",
            Kind::BadChar => "no value can start with this character",
            Kind::BraceNotValue => "a value is missing before this }",
            Kind::Backtick => "length-prefixed strings are not allowed in configuration",
            Kind::BadKey => "a key is expected: a name, or a string in double quotes",
            Kind::KeyNeedsQuotes => "a key with this character in it needs double quotes",
            Kind::NoColon => "a colon is missing after the key",
            Kind::ObjectOpen => "this { is never closed",
            Kind::ArrayOpen => "this [ is never closed",
            Kind::ObjectComma => "a comma or } is expected here; is a comma missing?",
            Kind::ArrayComma => "a comma or ] is expected here; is a comma missing?",
            Kind::StringOpen => "this string is never closed",
            Kind::NewlineInString => "this string is not closed before the end of its line",
            Kind::CutEscape => "the text ends within an escape of this string",
            Kind::BadEscape => "no such escape; \\ itself is written \\\\",
            Kind::Concat => "after + another string in double quotes is expected",
            Kind::BadInt | Kind::BadFloat => "this is not a number",
            Kind::NumTooLong => "this number has more than 100 characters",
            Kind::CommentOpen => "this /* is never closed",
            Kind::TrailingData => "there is more text after the end of the document",
            Kind::TooDeep => "objects and arrays nest deeper than 128 levels",
        };
        f.write_str(text)?;
        match self.found {
            Some(c) if !c.is_control() => write!(f, " (found '{c}')"),
            Some(c) => write!(f, " (found U+{:04X})", u32::from(c)),
            None => Ok(()),
        }
    }
}

/// Reads one document. A byte order mark before it is skipped and not counted.
pub fn parse(text: &str) -> Result<Node, JsonError> {
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    let mut parser = Parser::new(text);
    parser.blanks()?;
    if parser.peek().is_none() {
        return Err(parser.before(Kind::EmptyInput));
    }
    let node = parser.value(0)?;
    parser.blanks()?;
    match parser.peek() {
        None => Ok(node),
        Some(_) => Err(parser.here(Kind::TrailingData)),
    }
}

/// The bytes of `text` that the value at `at` is made of, for changing it in place. `at` is where
/// [`parse`] has found it; `None` where no value starts.
pub fn span(text: &str, at: Pos) -> Option<Range<usize>> {
    let body = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    let mut parser = Parser::new(body);
    let (start, _) = body.char_indices().find(|(offset, _)| {
        parser.at = *offset;
        parser.locate() == at
    })?;
    parser.value(0).ok()?;
    let mark = text.len() - body.len();
    Some(mark + start..mark + parser.at)
}

struct Parser<'a> {
    text: &'a str,
    bytes: &'a [u8],
    /// The next byte; always at a character's start.
    at: usize,
    /// `place` is that of this byte. It only moves forward, which keeps the whole linear.
    cursor: usize,
    place: Pos,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Self {
        Parser {
            text,
            bytes: text.as_bytes(),
            at: 0,
            cursor: 0,
            place: Pos { line: 1, column: 1 },
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// The place of the scan point.
    fn locate(&mut self) -> Pos {
        (self.place, self.cursor) = advance(self.bytes, self.place, self.cursor, self.at);
        self.place
    }

    fn error(&self, kind: Kind, position: usize, look: usize) -> JsonError {
        let start = Pos { line: 1, column: 1 };
        let before = self.bytes.get(..position).unwrap_or(self.bytes);
        JsonError {
            kind,
            // Counted in the text before it alone: within a CR LF the CR counts.
            line: advance(before, start, 0, position).0.line,
            position: self
                .text
                .get(..position)
                .map_or(position, |t| t.chars().count()),
            at: advance(self.bytes, start, 0, look).0,
            found: match kind {
                Kind::BadChar
                | Kind::BadKey
                | Kind::KeyNeedsQuotes
                | Kind::NoColon
                | Kind::ObjectComma
                | Kind::ArrayComma
                | Kind::TrailingData
                | Kind::BadEscape => self.text.get(look..).and_then(|t| t.chars().next()),
                _ => None,
            },
        }
    }

    /// An error that the reference places at the character before the scan point.
    fn before(&self, kind: Kind) -> JsonError {
        let mut position = self.at.saturating_sub(1);
        while !self.text.is_char_boundary(position) {
            position -= 1;
        }
        self.error(kind, position, self.at)
    }

    /// An error at the scan point itself.
    fn here(&self, kind: Kind) -> JsonError {
        self.error(kind, self.at, self.at)
    }

    /// An error about something that began at `offset`.
    fn since(&self, kind: Kind, offset: usize) -> JsonError {
        self.error(kind, offset, offset)
    }

    /// Skips whitespace and comments; true if a line break was among them.
    fn blanks(&mut self) -> Result<bool, JsonError> {
        let mut line_break = false;
        while let Some(byte) = self.peek() {
            match byte {
                b' ' | b'\t' => self.at += 1,
                b'\n' | b'\r' => {
                    line_break = true;
                    self.at += 1;
                }
                b'/' => match self.bytes.get(self.at + 1) {
                    Some(b'/') => {
                        let rest = &self.bytes[self.at..];
                        self.at += memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
                    }
                    Some(b'*') => {
                        let body = &self.bytes[self.at + 2..];
                        let Some(end) = memchr::memmem::find(body, b"*/") else {
                            return Err(self.since(Kind::CommentOpen, self.at));
                        };
                        line_break |= memchr::memchr2(b'\n', b'\r', &body[..end]).is_some();
                        self.at += 2 + end + 2;
                    }
                    // The reference has consumed the slash and one more character by now.
                    Some(_) => return Err(self.error(Kind::BadChar, self.at + 1, self.at)),
                    None => return Err(self.here(Kind::BadChar)),
                },
                _ => break,
            }
        }
        Ok(line_break)
    }

    fn value(&mut self, depth: usize) -> Result<Node, JsonError> {
        let Some(first) = self.peek() else {
            return Err(self.before(Kind::EofValue));
        };
        let at = self.locate();
        let value = match first {
            b'{' | b'[' if depth >= MAX_DEPTH => return Err(self.here(Kind::TooDeep)),
            b'{' => self.object(depth)?,
            b'[' => self.array(depth)?,
            b'"' => Json::Text(self.text_value()?),
            b'-' | b'0'..=b'9' => self.number()?,
            b't' => self.word("true", Json::Bool(true))?,
            b'f' => self.word("false", Json::Bool(false))?,
            b'n' => self.word("null", Json::Null)?,
            b'}' => return Err(self.before(Kind::BraceNotValue)),
            b'`' => return Err(self.before(Kind::Backtick)),
            _ => return Err(self.before(Kind::BadChar)),
        };
        Ok(Node { at, value })
    }

    fn word(&mut self, word: &str, value: Json) -> Result<Json, JsonError> {
        if self.bytes[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            Ok(value)
        } else {
            Err(self.here(Kind::BadWord))
        }
    }

    fn array(&mut self, depth: usize) -> Result<Json, JsonError> {
        let open = self.at;
        self.at += 1;
        let mut elements = Vec::new();
        loop {
            self.blanks()?;
            if self.peek() == Some(b']') {
                self.at += 1;
                return Ok(Json::Array(elements));
            }
            elements.push(self.value(depth + 1)?);
            let line_break = self.blanks()?;
            match self.peek() {
                None => return Err(self.since(Kind::ArrayOpen, open)),
                Some(b',') => self.at += 1,
                Some(b']') => {}
                Some(_) if line_break => {}
                Some(_) => return Err(self.before(Kind::ArrayComma)),
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, JsonError> {
        let open = self.at;
        self.at += 1;
        let mut members = Members::default();
        loop {
            self.blanks()?;
            let key_at = self.locate();
            let key = match self.peek() {
                None => return Err(self.since(Kind::ObjectOpen, open)),
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Json::Object(members.done()));
                }
                Some(b'"') => self.quoted(1)?,
                Some(b'a'..=b'z' | b'A'..=b'Z' | b'_') => self.bare_key()?,
                Some(_) => return Err(self.before(Kind::BadKey)),
            };
            self.blanks()?;
            match self.peek() {
                None => return Err(self.since(Kind::ObjectOpen, open)),
                Some(b':') => self.at += 1,
                Some(_) => return Err(self.here(Kind::NoColon)),
            }
            self.blanks()?;
            let value = self.value(depth + 1)?;
            members.put(key, key_at, value);
            let line_break = self.blanks()?;
            match self.peek() {
                None => return Err(self.since(Kind::ObjectOpen, open)),
                Some(b',') => self.at += 1,
                Some(b'}') => {}
                Some(_) if line_break => {}
                Some(_) => return Err(self.before(Kind::ObjectComma)),
            }
        }
    }

    fn bare_key(&mut self) -> Result<String, JsonError> {
        let start = self.at;
        while matches!(
            self.peek(),
            Some(b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_')
        ) {
            self.at += 1;
        }
        match self.peek() {
            // The end of the text is reported as the unclosed object.
            None | Some(b':' | 0..=0x20) => Ok(self.text[start..self.at].to_owned()),
            Some(_) => Err(self.before(Kind::KeyNeedsQuotes)),
        }
    }

    /// A string as a value: triple-quoted, or one or more ordinary ones joined by `+`.
    fn text_value(&mut self) -> Result<String, JsonError> {
        if self.bytes[self.at..].starts_with(b"\"\"\"") {
            return self.quoted(3);
        }
        let mut text = self.quoted(1)?;
        loop {
            let end = self.at;
            self.blanks()?;
            if self.peek() != Some(b'+') {
                // The line break after the string still has to be seen by who called.
                self.at = end;
                return Ok(text);
            }
            self.at += 1;
            self.blanks()?;
            if self.peek() != Some(b'"') {
                return Err(self.before(Kind::Concat));
            }
            text.push_str(&self.quoted(1)?);
        }
    }

    /// A string whose opener at the scan point has `quotes` quotes, 1 or 3. As in the reference its
    /// end is looked for before its escapes are looked at.
    fn quoted(&mut self, quotes: usize) -> Result<String, JsonError> {
        // Where the reference places an error about the whole string.
        let opener = self.at + quotes - 1;
        self.at += quotes;
        let end = self
            .string_end(quotes)
            .map_err(|kind| self.since(kind, opener))?;
        let mut text = String::with_capacity(end - self.at);
        while self.at < end {
            let rest = &self.bytes[self.at..end];
            let plain = memchr::memchr(b'\\', rest).unwrap_or(rest.len());
            text.push_str(&self.text[self.at..self.at + plain]);
            self.at += plain;
            if self.at == end {
                break;
            }
            // The character after the backslash; the end is never between the two.
            self.at += 1;
            let escaped = match self.bytes[self.at] {
                b'u' => {
                    text.push(self.unicode_escape()?);
                    continue;
                }
                letter @ (b'"' | b'\\' | b'/') => char::from(letter),
                b'b' => '\u{8}',
                b'f' => '\u{c}',
                b'n' => '\n',
                b'r' => '\r',
                b't' => '\t',
                _ => return Err(self.here(Kind::BadEscape)),
            };
            text.push(escaped);
            self.at += 1;
        }
        self.at = end + quotes;
        Ok(text)
    }

    /// Where the string ends that the scan point is in: the offset of its closing quotes.
    fn string_end(&self, quotes: usize) -> Result<usize, Kind> {
        let mut at = self.at;
        loop {
            match self.bytes.get(at) {
                None => return Err(Kind::StringOpen),
                Some(b'"') if quotes == 1 || self.bytes[at..].starts_with(b"\"\"\"") => {
                    return Ok(at)
                }
                Some(b'\\') if at + 1 == self.bytes.len() => return Err(Kind::CutEscape),
                // Whatever follows a backslash closes nothing; of a longer character the rest is plain.
                Some(b'\\') => at += 2,
                Some(b'\n' | b'\r') if quotes == 1 => return Err(Kind::NewlineInString),
                Some(_) => at += 1,
            }
        }
    }

    /// `uXXXX` at the scan point; two of them for a surrogate pair.
    fn unicode_escape(&mut self) -> Result<char, JsonError> {
        let start = self.at;
        let bad = |p: &Self| p.since(Kind::BadEscape, start);
        let high = self.hex4(start + 1).ok_or_else(|| bad(self))?;
        self.at = start + 5;
        if !(0xD800..0xE000).contains(&high) {
            return char::from_u32(high).ok_or_else(|| bad(self));
        }
        // 0xDC00.. first, or anything but a low half behind 0xD800.., is a lone surrogate.
        let low = match self.bytes.get(self.at..self.at + 2) {
            Some(b"\\u") if high < 0xDC00 => self.hex4(self.at + 2),
            _ => None,
        };
        match low {
            Some(low) if (0xDC00..0xE000).contains(&low) => {
                self.at += 6;
                char::from_u32(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))
                    .ok_or_else(|| bad(self))
            }
            _ => Err(bad(self)),
        }
    }

    fn hex4(&self, from: usize) -> Option<u32> {
        let digits = self.bytes.get(from..from + 4)?;
        digits.iter().try_fold(0, |value, &digit| {
            Some((value << 4) | char::from(digit).to_digit(16)?)
        })
    }

    fn number(&mut self) -> Result<Json, JsonError> {
        let start = self.at;
        let most = MAX_NUMBER + usize::from(self.peek() == Some(b'-'));
        while let Some(b'0'..=b'9' | b'+' | b'-' | b'e' | b'E' | b'.') = self.peek() {
            if self.at - start == most {
                return Err(self.error(Kind::NumTooLong, self.at - 1, start));
            }
            self.at += 1;
        }
        let text = &self.text[start..self.at];
        if text.contains(['.', 'e', 'E']) {
            return match text.parse::<f64>() {
                Ok(number) => Ok(Json::Float(number)),
                Err(_) => Err(self.error(Kind::BadFloat, self.at - 1, start)),
            };
        }
        let (minus, digits) = match text.strip_prefix('-') {
            Some(digits) => ("-", digits),
            None => ("", text),
        };
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(self.error(Kind::BadInt, self.at - 1, start));
        }
        Ok(match text.parse::<i64>() {
            Ok(number) => Json::Int(number),
            Err(_) => Json::BigInt(format!("{minus}{}", digits.trim_start_matches('0'))),
        })
    }
}

/// Moves `place`, the place of byte `from`, on to byte `to`.
fn advance(bytes: &[u8], mut place: Pos, from: usize, to: usize) -> (Pos, usize) {
    let to = to.min(bytes.len());
    for at in from..to {
        match bytes[at] {
            b'\r' if bytes.get(at + 1) == Some(&b'\n') => {}
            b'\n' | b'\r' => {
                place.line = place.line.saturating_add(1);
                place.column = 1;
            }
            // continuation bytes of UTF-8
            0x80..=0xBF => {}
            _ => place.column = place.column.saturating_add(1),
        }
    }
    (place, to.max(from))
}

/// The members of an object: a later one replaces an earlier one of the same key, a null deletes it.
#[derive(Default)]
struct Members {
    slots: Vec<Option<Member>>,
    index: HashMap<String, usize>,
}

impl Members {
    fn put(&mut self, key: String, key_at: Pos, value: Node) {
        if matches!(value.value, Json::Null) {
            if let Some(slot) = self.index.remove(&key) {
                self.slots[slot] = None;
            }
            return;
        }
        let slot = *self.index.entry(key.clone()).or_insert_with(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[slot] = Some(Member { key, key_at, value });
    }

    fn done(self) -> Vec<Member> {
        self.slots.into_iter().flatten().collect()
    }
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
