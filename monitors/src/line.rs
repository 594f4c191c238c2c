//! The metric line, byte for byte:
//!
//! ```text
//! 2026-11-22 22:36:21.463Z [test_monitor()] gauss 0.3012319412622695 count=12
//! ```

use common::stamp;
use std::borrow::Cow;
use std::io::Write as _;

/// The value of a metric or a field. Every kind is written as JSON.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// A signed integer.
    Int(i64),
    /// An unsigned integer.
    UInt(u64),
    /// A float: shortest digits that read back as the same number; NaN and infinities are `null`.
    Float(f64),
    /// `true` or `false`.
    Bool(bool),
    /// Text, quoted and escaped.
    Text(&'a str),
    /// A number in its source's own digits (`4.20` stays `4.20`). Text that holds blanks or
    /// control characters is no number and is written as [`Value::Text`].
    Raw(&'a str),
}

macro_rules! value_from {
    ($($from:ty => $variant:ident as $to:ty),*) => {$(
        impl From<$from> for Value<'_> {
            fn from(value: $from) -> Self {
                Value::$variant(value as $to)
            }
        }
    )*};
}
value_from!(i32 => Int as i64, i64 => Int as i64, u32 => UInt as u64, u64 => UInt as u64,
    usize => UInt as u64, f64 => Float as f64, bool => Bool as bool);

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Value::Text(text)
    }
}

/// One `name=value` behind the metric's value.
pub type Field<'a> = (&'a str, Value<'a>);

/// In which order fields are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// By their original name, in byte order: the rule.
    ByName,
    /// As given: `linux_system_metrics` and `linux_process_metrics`.
    AsGiven,
}

/// Appends `<stamp> [<tag>] `, with which every line of a metric log begins.
pub fn head(out: &mut Vec<u8>, epoch_ms: u64, tag: &str) {
    stamp::write(out, epoch_ms);
    out.extend_from_slice(b" [");
    out.extend_from_slice(tag.as_bytes());
    out.extend_from_slice(b"] ");
}

/// Appends one whole metric line. `name` is written as it stands (see [`clean_name`]), field names
/// are cleaned here; `bad_field` hears of each one that had to be changed.
pub fn metric(
    out: &mut Vec<u8>,
    (epoch_ms, tag): (u64, &str),
    name: &str,
    value: Value,
    (fields, order): (&[Field], Order),
    mut bad_field: impl FnMut(&str),
) {
    head(out, epoch_ms, tag);
    out.extend_from_slice(name.as_bytes());
    out.push(b' ');
    json_value(out, value);
    let mut one = |field: &Field| {
        let clean = clean_name(field.0);
        if clean.changed {
            bad_field(field.0);
        }
        out.push(b' ');
        out.extend_from_slice(clean.text.as_bytes());
        out.push(b'=');
        json_value(out, field.1);
    };
    if order == Order::AsGiven || fields.is_sorted_by_key(|field| field.0) {
        fields.iter().for_each(&mut one);
    } else {
        let mut sorted: Vec<&Field> = fields.iter().collect();
        common::sort::by_key(&mut sorted, |field| field.0);
        sorted.into_iter().for_each(&mut one);
    }
    out.push(b'\n');
}

/// A name fit for a line.
#[derive(Debug, PartialEq, Eq)]
pub struct Clean<'a> {
    /// The name to write.
    pub text: Cow<'a, str>,
    /// Whether the original broke the grammar, which is worth a warning. The `_` behind a reserved
    /// name is not.
    pub changed: bool,
}

/// Names that the server's own parser gives to parts of the line.
const RESERVED: [&str; 6] = [
    "logfile", "monitor", "metric", "value", "instance", "severity",
];

/// Makes a metric or field name legal: first an ASCII letter or `_`, then letters and digits of
/// any script, `_`, `.` and `-`. Reserved names get a `_` behind them.
pub fn clean_name(name: &str) -> Clean<'_> {
    let starts_well = name
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    if starts_well && name.chars().all(is_word) {
        let text = if RESERVED.contains(&name) {
            Cow::Owned(format!("{name}_"))
        } else {
            Cow::Borrowed(name)
        };
        return Clean {
            text,
            changed: false,
        };
    }
    let mut text = String::with_capacity(name.len() + 3);
    if !starts_well {
        text.push_str("sa_");
    }
    text.extend(name.chars().map(|c| if is_word(c) { c } else { '_' }));
    Clean {
        text: Cow::Owned(text),
        changed: true,
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric()
        || matches!(c, '_' | '.' | '-')
        || (!c.is_ascii() && c.is_alphanumeric())
}

/// Appends a value as JSON.
pub fn json_value(out: &mut Vec<u8>, value: Value) {
    match value {
        Value::Int(n) => decimal(out, n),
        Value::UInt(n) => decimal(out, n),
        Value::Float(x) => json_float(out, x),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Text(text) => json_text(out, text),
        Value::Raw(text) if text.bytes().any(|b| b <= b' ') || text.is_empty() => {
            json_text(out, text);
        }
        Value::Raw(text) => out.extend_from_slice(text.as_bytes()),
    }
}

fn decimal(out: &mut Vec<u8>, number: impl std::fmt::Display) {
    // Writing into a Vec cannot fail.
    let _ = write!(out, "{number}");
}

/// Floats as the reference's encoder of record writes them: plain up to 16 digits before the point
/// and 5 zeros behind it, otherwise with a bare exponent (`1e16`, `-1e-7`).
fn json_float(out: &mut Vec<u8>, x: f64) {
    if !x.is_finite() {
        out.extend_from_slice(b"null");
        return;
    }
    if x.is_sign_negative() {
        out.push(b'-');
    }
    // At most 17 digits, a point, `e` and a signed exponent of three digits.
    let mut buffer = [0u8; 32];
    let mut rest = &mut buffer[..];
    let _ = write!(rest, "{:e}", x.abs());
    let left = rest.len();
    let text = &buffer[..buffer.len() - left];
    let mut digits = [0u8; 20];
    let mut count = 0;
    let mut exponent = 0i32;
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'e' => {
                exponent = std::str::from_utf8(&text[at + 1..])
                    .ok()
                    .and_then(|e| e.parse().ok())
                    .unwrap_or(0);
                break;
            }
            b'.' => {}
            digit if count < digits.len() => {
                digits[count] = digit;
                count += 1;
            }
            _ => {}
        }
        at += 1;
    }
    let digits = &digits[..count];
    // How many digits stand before the point.
    let point = exponent + 1;
    if x == 0.0 {
        out.extend_from_slice(b"0.0");
    } else if (1..=16).contains(&point) {
        let point = point as usize;
        if point >= digits.len() {
            out.extend_from_slice(digits);
            out.resize(out.len() + point - digits.len(), b'0');
            out.extend_from_slice(b".0");
        } else {
            out.extend_from_slice(&digits[..point]);
            out.push(b'.');
            out.extend_from_slice(&digits[point..]);
        }
    } else if (-4..=0).contains(&point) {
        out.extend_from_slice(b"0.");
        out.resize(out.len() + point.unsigned_abs() as usize, b'0');
        out.extend_from_slice(digits);
    } else {
        out.push(digits[0]);
        if digits.len() > 1 {
            out.push(b'.');
            out.extend_from_slice(&digits[1..]);
        }
        out.push(b'e');
        decimal(out, exponent);
    }
}

/// A JSON string: short escapes where there are some, `\u00xx` for other control characters, all
/// else literal UTF-8.
fn json_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for &byte in text.as_bytes() {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0C => out.extend_from_slice(b"\\f"),
            0..0x20 => {
                let _ = write!(out, "\\u{byte:04x}");
            }
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json<'a>(value: impl Into<Value<'a>>) -> String {
        let mut out = Vec::new();
        json_value(&mut out, value.into());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values_are_written_as_the_reference_does() {
        // As orjson 3.10.7, which the Python agent brings along, writes them
        for (x, text) in [
            (42.0, "42.0"),
            (0.1, "0.1"),
            (-1e-7, "-1e-7"),
            (1e16, "1e16"),
            (1.234_567_890_123_456_7e19, "1.2345678901234567e19"),
            (1e15, "1000000000000000.0"),
            (0.00001, "0.00001"),
            (0.000001, "1e-6"),
            (1e22, "1e22"),
            (-0.0, "-0.0"),
            (0.0, "0.0"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e308"),
            (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
            (0.301_231_941_262_269_5, "0.3012319412622695"),
            (0.068_173_402_953_358_91, "0.06817340295335891"),
            (1_700_000_002.0, "1700000002.0"),
            (1_234.5, "1234.5"),
            (0.001_234, "0.001234"),
            (9_007_199_254_740_993.0, "9007199254740992.0"),
            (f64::NAN, "null"),
            (f64::INFINITY, "null"),
            (f64::NEG_INFINITY, "null"),
        ] {
            assert_eq!(json(x), text);
        }
        assert_eq!(json(i64::MIN), "-9223372036854775808");
        assert_eq!(json(u64::MAX), "18446744073709551615");
        assert_eq!(json(true), "true");
        assert_eq!(json(false), "false");
        assert_eq!(
            json(Value::Raw("1180591620717411303424")),
            "1180591620717411303424"
        );
        assert_eq!(
            json("a\"b\\c\u{8}\t\n\u{c}\r\u{1}\u{1f}\u{7f}é☃"),
            "\"a\\\"b\\\\c\\b\\t\\n\\f\\r\\u0001\\u001f\u{7f}é☃\""
        );
    }

    #[test]
    fn floats_read_back_as_what_they_were() {
        let mut bits = 0x9E37_79B9_7F4A_7C15u64;
        for _ in 0..20_000 {
            bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let x = f64::from_bits(bits);
            if x.is_finite() {
                assert_eq!(json(x).parse::<f64>().unwrap().to_bits(), bits);
            }
        }
    }

    #[test]
    fn a_raw_number_cannot_forge_a_second_line() {
        assert_eq!(json(Value::Raw("1\nforged")), "\"1\\nforged\"");
        assert_eq!(json(Value::Raw("")), "\"\"");
        assert_eq!(json(Value::Raw("4.20")), "4.20");
    }

    #[test]
    fn names_are_made_legal() {
        for (name, want, changed) in [
            ("1bad.name", "sa_1bad.name", true),
            ("name+plus", "name_plus", true),
            ("-lead", "sa_-lead", true),
            ("", "sa_", true),
            ("é", "sa_é", true),
            ("café.x", "café.x", false),
            ("tags;dc=us", "tags_dc_us", true),
            ("trailing\n", "trailing_", true),
            ("severity", "severity_", false),
            ("logfile", "logfile_", false),
            ("serverHost", "serverHost", false),
            ("proc.stat.cpu", "proc.stat.cpu", false),
        ] {
            let clean = clean_name(name);
            assert_eq!((&*clean.text, clean.changed), (want, changed), "{name:?}");
        }
    }

    #[test]
    fn fields_are_sorted_by_the_name_they_came_with() {
        let mut out = Vec::new();
        let mut bad = Vec::new();
        // "+z" sorts before "a", although it is written as sa__z
        let fields = [
            ("b", Value::Int(2)),
            ("a", "x y".into()),
            ("+z", true.into()),
        ];
        metric(
            &mut out,
            (1_650_021_068_015, "foo(x)"),
            "ts",
            Value::Int(1),
            (&fields, Order::ByName),
            |name| bad.push(name.to_owned()),
        );
        metric(
            &mut out,
            (1_650_021_068_015, "foo(x)"),
            "ts",
            Value::Raw("4.20"),
            (&fields[..2], Order::AsGiven),
            |_| {},
        );
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "2022-04-15 11:11:08.015Z [foo(x)] ts 1 sa__z=true a=\"x y\" b=2\n\
             2022-04-15 11:11:08.015Z [foo(x)] ts 4.20 b=2 a=\"x y\"\n"
        );
        assert_eq!(bad, ["+z"]);
    }
}
