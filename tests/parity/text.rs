//! Bytes as text of one line, and back.
//!
//! `\n \r \t \\` and `\xNN` as in Rust; `\[x*49900]` is one character (or escape) so many times.
//! Valid UTF-8 stands as it is. A space at either end is written `\x20`, so that no editor eats it.

/// From this many equal bytes in a row on they are written with a count.
const LONG_RUN: usize = 40;

/// The text of one line for `bytes`.
pub fn escape(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        let valid = chunk.valid();
        let mut chars = valid.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            let end = valid[at..].find(|other| other != c);
            let run = end.map_or(&valid[at..], |end| &valid[at..at + end]);
            let count = run.chars().count();
            if count >= LONG_RUN {
                text.push_str("\\[");
                push(&mut text, c);
                text.push_str(&format!("*{count}]"));
                while chars
                    .next_if(|&(other, _)| other < at + run.len())
                    .is_some()
                {}
            } else {
                push(&mut text, c);
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    for edge in [text.starts_with(' '), text.ends_with(' ')] {
        if edge && text.starts_with(' ') {
            text.replace_range(..1, "\\x20");
        } else if edge && text.ends_with(' ') {
            text.replace_range(text.len() - 1.., "\\x20");
        }
    }
    text
}

fn push(text: &mut String, c: char) {
    match c {
        '\n' => text.push_str("\\n"),
        '\r' => text.push_str("\\r"),
        '\t' => text.push_str("\\t"),
        '\\' => text.push_str("\\\\"),
        c if c.is_ascii_control() => text.push_str(&format!("\\x{:02x}", u32::from(c))),
        c => text.push(c),
    }
}

/// The bytes that `text` stands for.
pub fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        rest = one(rest, &mut bytes)?;
    }
    Ok(bytes)
}

/// Reads one character or escape; what is left.
fn one<'a>(text: &'a str, bytes: &mut Vec<u8>) -> Result<&'a str, String> {
    let wrong = || {
        let head: String = text.chars().take(12).collect();
        format!("not an escape: {head}")
    };
    let Some(escaped) = text.strip_prefix('\\') else {
        let end = text.find('\\').unwrap_or(text.len());
        bytes.extend_from_slice(&text.as_bytes()[..end]);
        return Ok(&text[end..]);
    };
    let mut chars = escaped.chars();
    match chars.next() {
        Some('n') => bytes.push(b'\n'),
        Some('r') => bytes.push(b'\r'),
        Some('t') => bytes.push(b'\t'),
        Some('\\') => bytes.push(b'\\'),
        Some('x') => {
            let digits = escaped.get(1..3).ok_or_else(wrong)?;
            bytes.push(u8::from_str_radix(digits, 16).map_err(|_| wrong())?);
            return Ok(&escaped[3..]);
        }
        Some('[') => {
            let end = escaped.find(']').ok_or_else(wrong)?;
            let (what, count) = escaped[1..end].rsplit_once('*').ok_or_else(wrong)?;
            let count = count.parse().map_err(|_| wrong())?;
            bytes.extend(unescape(what)?.repeat(count));
            return Ok(&escaped[end + 1..]);
        }
        _ => return Err(wrong()),
    }
    Ok(chars.as_str())
}

/// The lines of both with `-` or `+` where only the first or the second has them.
pub fn difference(first: &str, second: &str) -> String {
    let (a, b): (Vec<&str>, Vec<&str>) = (first.lines().collect(), second.lines().collect());
    // Longest common part, from each pair of places on
    let mut common = vec![vec![0u32; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            common[i][j] = if a[i] == b[j] {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let (mut i, mut j, mut out) = (0, 0, String::new());
    while i < a.len() || j < b.len() {
        let (sign, line) = if i < a.len() && j < b.len() && a[i] == b[j] {
            i += 1;
            j += 1;
            (' ', a[i - 1])
        } else if j >= b.len() || (i < a.len() && common[i + 1][j] >= common[i][j + 1]) {
            i += 1;
            ('-', a[i - 1])
        } else {
            j += 1;
            ('+', b[j - 1])
        };
        out.push_str(&format!("    {sign} {line}\n"));
    }
    out
}

#[test]
fn bytes_survive_as_text() {
    let long = [b"x".repeat(49_900), b"\xff\xfe\\[1*2]".to_vec()].concat();
    let cases: [&[u8]; 8] = [
        b"",
        b" ",
        b" a b \r\n",
        b"a ",
        b"\0\x01\x7f\\n",
        "é\u{2028}\t".as_bytes(),
        b"half \xc3",
        &long,
    ];
    for bytes in cases {
        let text = escape(bytes);
        assert_eq!(unescape(&text).unwrap(), bytes, "{text}");
        assert_eq!(text.trim(), text);
        assert!(text.len() < 80, "{text}");
    }
    assert_eq!(unescape("\\[\\xff*3]a").unwrap(), b"\xff\xff\xffa");
    for wrong in ["\\", "\\q", "\\x1", "\\xzz", "\\[a", "\\[a*b]"] {
        assert!(unescape(wrong).is_err(), "{wrong}");
    }
}
