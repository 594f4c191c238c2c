//! The syntax of request bodies: JSON, and what the endpoint takes beyond it:
//! keys without quotes, repeated keys, a comma before a closing bracket, and strings written
//! as a backtick, `s`, a length of four bytes (big-endian, signed) and that many raw bytes.
//!
//! Nothing is copied that need not be: a string without escapes is a slice of the body. No input
//! makes it panic or recurse deeper than [`MAX_DEPTH`].

use serde_json::{Map, Number, Value};
use std::borrow::Cow;

/// How deep objects and arrays may nest.
const MAX_DEPTH: u32 = 64;

/// Why a body is not one, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed {
    /// Offset in the uncompressed body.
    pub at: usize,
    /// The mistake there.
    pub why: &'static str,
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{} at byte {}", self.why, self.at)
    }
}

type Result<T> = std::result::Result<T, Malformed>;

/// A place in a body.
pub(crate) struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    depth: u32,
    /// Whether everything so far was strict JSON.
    pub strict: bool,
    /// Where the last key began.
    pub key_at: usize,
}

impl<'a> Reader<'a> {
    pub fn new(text: &'a [u8]) -> Self {
        Reader {
            text,
            at: 0,
            depth: 0,
            strict: true,
            key_at: 0,
        }
    }

    pub fn at(&self) -> usize {
        self.at
    }

    /// Part of the body, empty if there is no such part.
    pub fn slice(&self, from: usize, to: usize) -> &'a [u8] {
        self.text.get(from..to).unwrap_or(b"")
    }

    pub fn fail<T>(&self, why: &'static str) -> Result<T> {
        Err(Malformed { at: self.at, why })
    }

    /// The next byte that is not white space, not consumed.
    fn peek(&mut self) -> Result<u8> {
        while let Some(&byte) = self.text.get(self.at) {
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Ok(byte);
            }
            self.at += 1;
        }
        self.fail("it ends too early")
    }

    /// Nothing but white space is left.
    pub fn end(&mut self) -> Result<()> {
        match self.peek() {
            Err(_) => Ok(()),
            Ok(_) => self.fail("something follows the end of the object"),
        }
    }

    fn enter(&mut self, open: u8, why: &'static str) -> Result<()> {
        if self.peek()? != open {
            return self.fail(why);
        }
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return self.fail("it is nested too deeply");
        }
        self.at += 1;
        Ok(())
    }

    /// An object; `member` must consume each member's value.
    pub fn members(
        &mut self,
        mut member: impl FnMut(&mut Self, &[u8]) -> Result<()>,
    ) -> Result<()> {
        self.enter(b'{', "an object is expected")?;
        let mut first = true;
        while self.peek()? != b'}' {
            self.key_at = self.at;
            let key = self.key()?;
            if self.peek()? != b':' {
                return self.fail("a colon is expected");
            }
            self.at += 1;
            member(self, &key)?;
            first = self.comma_or(b'}', "a comma or } is expected")?;
        }
        self.leave(first);
        Ok(())
    }

    /// An array; `element` must consume each element.
    pub fn elements(&mut self, mut element: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        self.enter(b'[', "an array is expected")?;
        let mut first = true;
        while self.peek()? != b']' {
            element(self)?;
            first = self.comma_or(b']', "a comma or ] is expected")?;
        }
        self.leave(first);
        Ok(())
    }

    /// Members without braces, to the end of the text.
    pub fn bare_members(
        &mut self,
        mut member: impl FnMut(&mut Self, &[u8]) -> Result<()>,
    ) -> Result<()> {
        while self.peek().is_ok() {
            let key = self.key()?;
            if self.peek()? != b':' {
                return self.fail("a colon is expected");
            }
            self.at += 1;
            member(self, &key)?;
            if self.peek() == Ok(b',') {
                self.at += 1;
            }
        }
        Ok(())
    }

    /// After a value: takes a comma (false) or leaves `close` to be seen (true).
    fn comma_or(&mut self, close: u8, why: &'static str) -> Result<bool> {
        match self.peek()? {
            b',' => {
                self.at += 1;
                Ok(false)
            }
            byte if byte == close => Ok(true),
            _ => self.fail(why),
        }
    }

    fn leave(&mut self, without_comma: bool) {
        self.strict &= without_comma;
        self.at += 1;
        self.depth -= 1;
    }

    fn key(&mut self) -> Result<Cow<'a, [u8]>> {
        if self.peek()? == b'"' {
            return self.quoted();
        }
        let from = self.at;
        while let Some(&byte) = self.text.get(self.at) {
            if !(byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'-' | b'.')) {
                break;
            }
            self.at += 1;
        }
        if self.at == from {
            return self.fail("a key is expected");
        }
        self.strict = false;
        Ok(Cow::Borrowed(&self.text[from..self.at]))
    }

    /// A string in either form, as bytes.
    pub fn bytes(&mut self) -> Result<Cow<'a, [u8]>> {
        match self.peek()? {
            b'"' => self.quoted(),
            b'`' => self.prefixed().map(Cow::Borrowed),
            _ => self.fail("a string is expected"),
        }
    }

    /// A string as text; what is not UTF-8 becomes U+FFFD.
    pub fn string(&mut self) -> Result<Cow<'a, str>> {
        let bytes = self.bytes()?;
        Ok(match bytes {
            Cow::Borrowed(bytes) => {
                let text = String::from_utf8_lossy(bytes);
                self.strict &= matches!(text, Cow::Borrowed(_));
                text
            }
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8(bytes).unwrap_or_else(|bad| {
                self.strict = false;
                String::from_utf8_lossy(bad.as_bytes()).into_owned()
            })),
        })
    }

    fn prefixed(&mut self) -> Result<&'a [u8]> {
        self.strict = false;
        let rest = &self.text[self.at..];
        let [b'`', b's', a, b, c, d, rest @ ..] = rest else {
            return self.fail("a length-prefixed string is broken");
        };
        let length = i32::from_be_bytes([*a, *b, *c, *d]);
        let Ok(length) = usize::try_from(length) else {
            return self.fail("a length-prefixed string has a negative length");
        };
        let Some(value) = rest.get(..length) else {
            return self.fail("a length-prefixed string is longer than the body");
        };
        self.at += 6 + length;
        Ok(value)
    }

    fn quoted(&mut self) -> Result<Cow<'a, [u8]>> {
        self.at += 1;
        let from = self.at;
        let mut owned: Option<Vec<u8>> = None;
        // Start of what is not in `owned` yet
        let mut plain = from;
        loop {
            let Some(&byte) = self.text.get(self.at) else {
                return self.fail("a string does not end");
            };
            match byte {
                b'"' => {
                    let rest = &self.text[plain..self.at];
                    self.at += 1;
                    return Ok(match owned {
                        None => Cow::Borrowed(rest),
                        Some(mut value) => {
                            value.extend_from_slice(rest);
                            Cow::Owned(value)
                        }
                    });
                }
                b'\\' => {
                    let value = owned.get_or_insert_with(Vec::new);
                    value.extend_from_slice(&self.text[plain..self.at]);
                    self.at += 1;
                    let escape = self.text.get(self.at).copied();
                    self.at += 1;
                    value.push(match escape {
                        Some(byte @ (b'"' | b'\\' | b'/')) => byte,
                        Some(b'n') => b'\n',
                        Some(b't') => b'\t',
                        Some(b'r') => b'\r',
                        Some(b'b') => 8,
                        Some(b'f') => 12,
                        Some(b'u') => {
                            let c = self.unicode_escape()?;
                            let value = owned.get_or_insert_with(Vec::new);
                            value.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                            plain = self.at;
                            continue;
                        }
                        _ => return self.fail("a string has an unknown escape"),
                    });
                    plain = self.at;
                }
                0..=0x1F => {
                    self.strict = false;
                    self.at += 1;
                }
                _ => self.at += 1,
            }
        }
    }

    /// After `\u`; a lone surrogate becomes U+FFFD.
    fn unicode_escape(&mut self) -> Result<char> {
        let first = self.hex4()?;
        if (0xD800..0xDC00).contains(&first) && self.text[self.at..].starts_with(b"\\u") {
            let back = self.at;
            self.at += 2;
            let second = self.hex4()?;
            if (0xDC00..0xE000).contains(&second) {
                let code = 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
                return Ok(char::from_u32(code).unwrap_or('\u{FFFD}'));
            }
            self.at = back;
        }
        Ok(char::from_u32(first).unwrap_or('\u{FFFD}'))
    }

    fn hex4(&mut self) -> Result<u32> {
        let digits = self.text.get(self.at..self.at + 4);
        let code = digits.and_then(|digits| {
            digits.iter().try_fold(0, |code, &byte| {
                Some(code * 16 + char::from(byte).to_digit(16)?)
            })
        });
        match code {
            Some(code) => {
                self.at += 4;
                Ok(code)
            }
            None => self.fail("a string has a broken \\u escape"),
        }
    }

    fn word(&mut self) -> Result<&'a [u8]> {
        self.peek()?;
        let from = self.at;
        while let Some(&byte) = self.text.get(self.at) {
            if !(byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')) {
                break;
            }
            self.at += 1;
        }
        Ok(&self.text[from..self.at])
    }

    /// A number, `true`, `false` or `null`.
    fn scalar(&mut self) -> Result<Value> {
        let from = self.at;
        let word = self.word()?;
        match word {
            b"true" => return Ok(Value::Bool(true)),
            b"false" => return Ok(Value::Bool(false)),
            b"null" => return Ok(Value::Null),
            _ => {}
        }
        let text = std::str::from_utf8(word).unwrap_or("");
        let number = if !is_number(word) {
            None
        } else if let Ok(n) = text.parse::<u64>() {
            Some(Number::from(n))
        } else if let Ok(n) = text.parse::<i64>() {
            Some(Number::from(n))
        } else {
            text.parse::<f64>().ok().and_then(Number::from_f64)
        };
        match number {
            Some(number) => Ok(Value::Number(number)),
            None => Err(Malformed {
                at: from,
                why: "a value is expected",
            }),
        }
    }

    /// Any value.
    pub fn value(&mut self) -> Result<Value> {
        match self.peek()? {
            b'"' | b'`' => Ok(Value::String(self.string()?.into_owned())),
            b'{' => self.map().map(Value::Object),
            b'[' => {
                let mut list = Vec::new();
                self.elements(|r| {
                    list.push(r.value()?);
                    Ok(())
                })?;
                Ok(Value::Array(list))
            }
            _ => self.scalar(),
        }
    }

    /// An object as a map; of a repeated key the last value counts.
    pub fn map(&mut self) -> Result<Map<String, Value>> {
        let mut map = Map::new();
        self.members(|r, key| {
            let value = r.value()?;
            map.insert(String::from_utf8_lossy(key).into_owned(), value);
            Ok(())
        })?;
        Ok(map)
    }

    /// Passes over any value, checking it.
    pub fn skip(&mut self) -> Result<()> {
        match self.peek()? {
            b'"' => self.quoted().map(drop),
            b'`' => self.prefixed().map(drop),
            b'{' => self.members(|r, _| r.skip()),
            b'[' => self.elements(|r| r.skip()),
            _ => self.scalar().map(drop),
        }
    }

    /// An integer, bare or in a string.
    pub fn integer(&mut self) -> Result<i128> {
        let from = self.at;
        let text = match self.peek()? {
            b'"' => self.quoted()?,
            _ => Cow::Borrowed(self.word()?),
        };
        let (negative, digits) = match text.as_ref() {
            [b'-', digits @ ..] => (true, digits),
            digits => (false, digits),
        };
        if digits.is_empty() || digits.len() > 20 || !digits.iter().all(u8::is_ascii_digit) {
            return Err(Malformed {
                at: from,
                why: "an integer is expected",
            });
        }
        let n = digits
            .iter()
            .fold(0i128, |n, digit| n * 10 + i128::from(digit - b'0'));
        Ok(if negative { -n } else { n })
    }
}

/// JSON's grammar of numbers.
fn is_number(word: &[u8]) -> bool {
    fn digits(word: &[u8]) -> (usize, &[u8]) {
        let n = word.iter().take_while(|b| b.is_ascii_digit()).count();
        (n, &word[n..])
    }
    let word = word.strip_prefix(b"-").unwrap_or(word);
    let (n, mut rest) = digits(word);
    if n == 0 || (n > 1 && word[0] == b'0') {
        return false;
    }
    if let [b'.', after @ ..] = rest {
        let (n, after) = digits(after);
        if n == 0 {
            return false;
        }
        rest = after;
    }
    if let [b'e' | b'E', after @ ..] = rest {
        let after = match after {
            [b'+' | b'-', after @ ..] => after,
            _ => after,
        };
        let (n, after) = digits(after);
        if n == 0 {
            return false;
        }
        rest = after;
    }
    rest.is_empty()
}
