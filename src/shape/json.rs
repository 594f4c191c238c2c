//! JSON lines: a strict scanner that finds the members of an object without building a tree.

/// Deepest nesting; readers of a request give up at about this depth.
const DEPTH: usize = 60;

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    String,
    Number,
    Null,
    /// `true`, `false`, an object or an array.
    Other,
}

/// A member of an object; all ranges are places in the text, without a string's quotes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    pub(super) key: (usize, usize),
    pub(super) value: (usize, usize),
    pub(super) kind: Type,
}

impl Member {
    /// The value as it is written, quotes included.
    pub(super) fn raw<'a>(&self, text: &'a str) -> &'a str {
        let (from, to) = self.value;
        match self.kind {
            Type::String => &text[from - 1..to + 1],
            _ => &text[from..to],
        }
    }
}

/// Finds the members of the object that `text` is. Of equal keys the last one counts. `None` if it
/// is no object, not strict JSON, or nested too deeply.
pub(super) fn object(text: &str, members: &mut Vec<Member>) -> Option<()> {
    members.clear();
    let mut scan = Scan {
        text: text.as_bytes(),
        at: 0,
    };
    scan.blank();
    scan.eat(b'{')?;
    scan.blank();
    if scan.eat(b'}').is_none() {
        loop {
            scan.blank();
            let key = scan.string()?;
            scan.blank();
            scan.eat(b':')?;
            scan.blank();
            let from = scan.at;
            let kind = scan.value()?;
            let value = match kind {
                Type::String => (from + 1, scan.at - 1),
                _ => (from, scan.at),
            };
            members.push(Member { key, value, kind });
            scan.blank();
            if scan.eat(b',').is_none() {
                scan.eat(b'}')?;
                break;
            }
        }
    }
    scan.blank();
    if scan.at < scan.text.len() {
        return None;
    }
    drop_repeated(text, members);
    Some(())
}

fn drop_repeated(text: &str, members: &mut Vec<Member>) {
    let key = |member: &Member| &text.as_bytes()[member.key.0..member.key.1];
    if members.iter().any(|m| key(m).contains(&b'\\')) {
        // Names with escapes are what they stand for
        let mut last = std::collections::HashMap::new();
        let mut names = Vec::new();
        for (i, member) in members.iter().enumerate() {
            let mut name = Vec::new();
            unescape(&text[member.key.0..member.key.1], &mut name);
            last.insert(name.clone(), i);
            names.push(name);
        }
        let mut i = 0;
        members.retain(|_| {
            i += 1;
            last.get(&names[i - 1]) == Some(&(i - 1))
        });
        return;
    }
    let few = members.len() <= 24;
    let repeated = if few {
        (1..members.len()).any(|i| members[..i].iter().any(|m| key(m) == key(&members[i])))
    } else {
        let mut keys: Vec<&[u8]> = members.iter().map(key).collect();
        keys.sort_unstable();
        keys.windows(2).any(|pair| pair[0] == pair[1])
    };
    if repeated {
        let mut last = std::collections::HashMap::new();
        for (i, member) in members.iter().enumerate() {
            last.insert(key(member), i);
        }
        let mut i = 0;
        members.retain(|member| {
            i += 1;
            last.get(key(member)) == Some(&(i - 1))
        });
    }
}

struct Scan<'a> {
    text: &'a [u8],
    at: usize,
}

impl Scan<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> Option<()> {
        if self.peek() != Some(byte) {
            return None;
        }
        self.at += 1;
        Some(())
    }

    fn blank(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// A string with its quotes; the range is without them.
    fn string(&mut self) -> Option<(usize, usize)> {
        self.eat(b'"')?;
        let from = self.at;
        loop {
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Some((from, self.at - 1));
                }
                b'\\' => {
                    self.at += 1;
                    let c = self.peek()?;
                    self.at += 1;
                    match c {
                        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                        b'u' => self.unicode()?,
                        _ => return None,
                    }
                }
                0..=0x1F => return None,
                _ => self.at += 1,
            }
        }
    }

    /// The digits of `\u`; half a surrogate pair is no character.
    fn unicode(&mut self) -> Option<()> {
        match self.hex()? {
            0xD800..=0xDBFF => {
                self.eat(b'\\')?;
                self.eat(b'u')?;
                matches!(self.hex()?, 0xDC00..=0xDFFF).then_some(())
            }
            0xDC00..=0xDFFF => None,
            _ => Some(()),
        }
    }

    fn hex(&mut self) -> Option<u32> {
        let digits = self.text.get(self.at..self.at + 4)?;
        self.at += 4;
        digits.iter().try_fold(0, |code, digit| {
            Some(code * 16 + char::from(*digit).to_digit(16)?)
        })
    }

    fn digits(&mut self) -> Option<()> {
        let from = self.at;
        while self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > from).then_some(())
    }

    /// A number that a double can hold: what is beyond is no JSON to the server's parser.
    fn number(&mut self) -> Option<()> {
        let start = self.at;
        let _ = self.eat(b'-');
        match self.peek()? {
            b'0' => self.at += 1,
            _ => self.digits()?,
        }
        if self.eat(b'.').is_some() {
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        let text = std::str::from_utf8(&self.text[start..self.at]).ok()?;
        let small = text.len() < 300 && !text.contains(['e', 'E']);
        (small || text.parse::<f64>().is_ok_and(f64::is_finite)).then_some(())
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        if !self.text[self.at..].starts_with(word) {
            return None;
        }
        self.at += word.len();
        Some(())
    }

    /// Any value. Not recursive: what is open is remembered one bit each.
    fn value(&mut self) -> Option<Type> {
        let mut open: u128 = 0;
        let mut depth = 0;
        loop {
            self.blank();
            let kind = match self.peek()? {
                b'"' => {
                    self.string()?;
                    Type::String
                }
                b'{' | b'[' => {
                    let object = self.peek() == Some(b'{');
                    self.at += 1;
                    if depth == DEPTH {
                        return None;
                    }
                    depth += 1;
                    open = open << 1 | u128::from(object);
                    self.blank();
                    if self.peek()? == if object { b'}' } else { b']' } {
                        Type::Other
                    } else {
                        if object {
                            self.key()?;
                        }
                        continue;
                    }
                }
                b't' => self.word(b"true").map(|()| Type::Other)?,
                b'f' => self.word(b"false").map(|()| Type::Other)?,
                b'n' => self.word(b"null").map(|()| Type::Null)?,
                _ => self.number().map(|()| Type::Number)?,
            };
            if depth == 0 {
                return Some(kind);
            }
            loop {
                self.blank();
                let object = open & 1 == 1;
                match self.peek()? {
                    b',' => {
                        self.at += 1;
                        if object {
                            self.blank();
                            self.key()?;
                        }
                        break;
                    }
                    b'}' if object => {}
                    b']' if !object => {}
                    _ => return None,
                }
                self.at += 1;
                open >>= 1;
                depth -= 1;
                if depth == 0 {
                    return Some(Type::Other);
                }
            }
        }
    }

    fn key(&mut self) -> Option<()> {
        self.string()?;
        self.blank();
        self.eat(b':')
    }
}

/// Appends what a scanned string (without its quotes) stands for.
pub(super) fn unescape(text: &str, out: &mut Vec<u8>) {
    let mut rest = text.as_bytes();
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        let c = rest.get(at + 1).copied().unwrap_or(b'\\');
        rest = rest.get(at + 2..).unwrap_or_default();
        let plain = match c {
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let mut code = four(rest);
                rest = rest.get(4..).unwrap_or_default();
                if (0xD800..0xDC00).contains(&code) {
                    let low = four(rest.get(2..).unwrap_or_default());
                    rest = rest.get(6..).unwrap_or_default();
                    code = 0x10000 + ((code & 0x3FF) << 10) + (low & 0x3FF);
                }
                let c = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            c => c,
        };
        out.push(plain);
    }
    out.extend_from_slice(rest);
}

fn four(digits: &[u8]) -> u32 {
    let digits = digits.get(..4).unwrap_or_default();
    digits.iter().fold(0, |code, digit| {
        code * 16 + char::from(*digit).to_digit(16).unwrap_or(0)
    })
}

/// Calls `found` with the range of each string that is a value (without its quotes) and of each
/// number in a scanned value, in order.
pub(super) fn leaves(raw: &str, mut found: impl FnMut(usize, usize, Type)) {
    let mut scan = Scan {
        text: raw.as_bytes(),
        at: 0,
    };
    while let Some(byte) = scan.peek() {
        match byte {
            b'"' => {
                let Some((from, to)) = scan.string() else {
                    return;
                };
                scan.blank();
                if scan.peek() != Some(b':') {
                    found(from, to, Type::String);
                }
            }
            b'-' | b'0'..=b'9' => {
                let from = scan.at;
                if scan.number().is_none() {
                    return;
                }
                found(from, scan.at, Type::Number);
            }
            _ => scan.at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_strict_reader_refuses_is_refused() {
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(60), "]".repeat(60));
        let deeper = format!("{{\"a\":{}1{}}}", "[".repeat(61), "]".repeat(61));
        let bottomless = format!("{{\"a\":{}", "[{\"a\":".repeat(100_000));
        for (text, fine) in [
            ("{}", true),
            (" { } \n", true),
            (
                r#"{"a":1,"b":-0.5e+3,"c":"\u00e9\n","d":[{},[],null],"e":{"f":true}}"#,
                true,
            ),
            (r#"{"a":"\ud83d\ude00"}"#, true),
            (r#"{"a":1e308,"b":-0.0e999}"#, true),
            (r#"{"a":1e400}"#, false),
            (r#"{"a":[{"b":-1E400}]}"#, false),
            (r#"{"a":"\ud83d"}"#, false),
            (r#"{"a":"\ude00"}"#, false),
            ("", false),
            ("[]", false),
            ("{", false),
            ("{}x", false),
            (r#"{"a":1,}"#, false),
            (r#"{"a":01}"#, false),
            (r#"{"a":1.}"#, false),
            (r#"{"a":-}"#, false),
            (r#"{"a":NaN}"#, false),
            (r#"{"a":"\x"}"#, false),
            ("{\"a\":\"\t\"}", false),
            (r#"{"a":[1}}"#, false),
            (r#"{"a":{"b"}}"#, false),
            (r#"{a:1}"#, false),
            (&deep, true),
            (&deeper, false),
            (&bottomless, false),
        ] {
            let ours = object(text, &mut Vec::new()).is_some();
            assert_eq!(ours, fine, "{text:.80}");
            let theirs = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text);
            if text != deeper {
                assert_eq!(theirs.is_ok(), fine, "{text:.80}");
            }
        }
    }

    #[test]
    fn the_last_of_equal_members_counts() {
        for many in [0, 100] {
            let mut text = r#"{"a":1,"b":2,"a":3"#.to_owned();
            for i in 0..many {
                text.push_str(&format!(",\"k{i}\":0"));
            }
            text.push('}');
            let mut members = Vec::new();
            object(&text, &mut members).unwrap();
            let kept: Vec<_> = members.iter().map(|m| m.raw(&text)).take(2).collect();
            assert_eq!(kept, ["2", "3"]);
        }
    }

    #[test]
    fn escapes_are_undone_as_the_standard_says() {
        let text = r#"a\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00z"#;
        let mut out = Vec::new();
        unescape(text, &mut out);
        let expected: String = serde_json::from_str(&format!("\"{text}\"")).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
