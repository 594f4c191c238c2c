//! From what a file or a variable holds to what an option wants.
//!
//! Every value is converted once, here, and used in its converted form only.

use super::attr::AttrValue;
use super::error::Wrong;
use super::json::{self, Json, Member};

/// Below this distance a float counts as 0 or 1 for a bool.
const NEAR: f64 = 1e-10;

/// A bool of a file. Words in any case: true t yes on 1, false f no off 0 and the empty text.
pub(crate) fn boolean(value: &Json) -> Result<bool, Wrong> {
    let word = match value {
        Json::Bool(b) => return Ok(*b),
        Json::Int(0) => return Ok(false),
        Json::Int(1) => return Ok(true),
        Json::Float(f) if f.abs() < NEAR => return Ok(false),
        Json::Float(f) if (f - 1.0).abs() < NEAR => return Ok(true),
        Json::Text(text) => text.to_ascii_lowercase(),
        other => return Err(wrong("notBoolean", other)),
    };
    match word.as_str() {
        "true" | "t" | "yes" | "on" | "1" => Ok(true),
        "false" | "f" | "no" | "off" | "0" | "" => Ok(false),
        _ => Err(wrong("notBoolean", value)),
    }
}

/// An integer of a file: fractions are cut off, numeric text is read.
pub(crate) fn int(value: &Json) -> Result<i64, Wrong> {
    match value {
        Json::Int(i) => Some(*i),
        Json::Float(f) => cut(*f),
        Json::Text(text) => {
            let text = text.trim();
            text.parse().ok().or_else(|| cut(finite(text)?))
        }
        _ => None,
    }
    .ok_or_else(|| wrong("notInt", value))
}

/// A float of a file; numeric text is read. Always finite.
pub(crate) fn float(value: &Json) -> Result<f64, Wrong> {
    match value {
        Json::Int(i) => Some(*i as f64),
        Json::BigInt(digits) => finite(digits),
        Json::Float(f) if f.is_finite() => Some(*f),
        Json::Text(text) => finite(text.trim()),
        _ => None,
    }
    .ok_or_else(|| wrong("notFloat", value))
}

/// A string of a file; a number becomes its text.
pub(crate) fn text(value: &Json) -> Result<String, Wrong> {
    match value {
        Json::Text(text) => Ok(text.clone()),
        Json::Int(i) => Ok(i.to_string()),
        Json::BigInt(digits) => Ok(digits.clone()),
        Json::Float(f) if f.is_finite() => Ok(float_text(*f)),
        other => Err(wrong("notString", other)),
    }
}

/// An array of strings of a file. Not a text with commas, and no numbers in it.
pub(crate) fn strings(value: &Json) -> Result<Vec<String>, Wrong> {
    let Json::Array(elements) = value else {
        return Err(wrong("notJsonArray", value));
    };
    elements
        .iter()
        .map(|element| match &element.value {
            Json::Text(text) => Ok(text.clone()),
            other => Err(Wrong::new(
                "notStringOrUnicode",
                format!(
                    "an array of strings is expected, and {} is in it",
                    shown(other)
                ),
            )),
        })
        .collect()
}

/// An object of a file whose members are strings or numbers.
pub(crate) fn attributes(value: &Json) -> Result<Vec<(String, AttrValue)>, Wrong> {
    let Json::Object(members) = value else {
        return Err(wrong("notJsonObject", value));
    };
    members
        .iter()
        .map(|member| Ok((member.key.clone(), attribute(member)?)))
        .collect()
}

fn attribute(member: &Member) -> Result<AttrValue, Wrong> {
    match &member.value.value {
        Json::Text(text) => Ok(AttrValue::Text(text.clone())),
        Json::Int(_) | Json::BigInt(_) | Json::Float(_) => match text(&member.value.value) {
            Ok(literal) => Ok(AttrValue::Number(literal)),
            Err(_) => Err(Wrong::new(
                "notString",
                format!("the number of \"{}\" is too large", member.key),
            )),
        },
        other => Err(Wrong::new(
            "notString",
            format!(
                "\"{}\" is {}; attributes are strings or numbers",
                member.key,
                other.kind()
            ),
        )),
    }
}

fn wrong(code: &'static str, value: &Json) -> Wrong {
    let wanted = match code {
        "notBoolean" => "true or false",
        "notInt" => "a whole number",
        "notFloat" => "a number",
        "notString" => "a string",
        "notJsonArray" => "an array",
        _ => "an object",
    };
    let note = match value {
        Json::Int(_) | Json::BigInt(_) | Json::Float(_)
            if matches!(code, "notInt" | "notFloat") =>
        {
            " of 64 bits"
        }
        _ => "",
    };
    Wrong::new(
        code,
        format!("{wanted}{note} is expected, and this is {}", shown(value)),
    )
}

/// A value for a message: short, and one line.
pub(crate) fn shown(value: &Json) -> String {
    match value {
        Json::Text(text) => format!("the string {}", quoted(text)),
        Json::Bool(b) => b.to_string(),
        Json::Int(i) => i.to_string(),
        Json::BigInt(digits) => digits.clone(),
        Json::Float(f) => float_text(*f),
        other => other.kind().to_owned(),
    }
}

/// A text in quotes for a message, cut when long.
pub(crate) fn quoted(text: &str) -> String {
    const MOST: usize = 60;
    match text.char_indices().nth(MOST) {
        Some((cut, _)) => format!("{:?}...", &text[..cut]),
        None => format!("{text:?}"),
    }
}

/// The shortest text of a float that reads back the same, as the reference writes it: `1000.0`,
/// `1e+20`, `1e-07`.
pub(crate) fn float_text(f: f64) -> String {
    if f == 0.0 || !f.is_finite() || (1e-4..1e16).contains(&f.abs()) {
        return format!("{f:?}");
    }
    let text = format!("{f:e}");
    match text.split_once('e') {
        Some((digits, exponent)) => match exponent.strip_prefix('-') {
            Some(e) => format!("{digits}e-{e:0>2}"),
            None => format!("{digits}e+{exponent:0>2}"),
        },
        None => text,
    }
}

/// A finite number in decimal or scientific form; no `nan`, no `inf`, no underscores.
pub(crate) fn finite(text: &str) -> Option<f64> {
    let number = |b: u8| matches!(b, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
    if !text.bytes().all(number) {
        return None;
    }
    text.parse().ok().filter(|f: &f64| f.is_finite())
}

fn cut(f: f64) -> Option<i64> {
    // The bounds are exact in a float; the upper one is just past the largest i64.
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    (-LIMIT..LIMIT).contains(&f).then_some(f as i64)
}

/// A bool of an environment variable: `true` in any case, and nothing else, is true.
pub(crate) fn env_boolean(text: &str) -> bool {
    text.eq_ignore_ascii_case("true")
}

/// An integer of an environment variable: decimal, single underscores between digits allowed.
pub(crate) fn env_int(text: &str) -> Result<i64, Wrong> {
    let trimmed = text.trim();
    let underscores_fine =
        !trimmed.starts_with('_') && !trimmed.ends_with('_') && !trimmed.contains("__");
    let digits = trimmed.replace('_', "");
    match digits.parse() {
        Ok(number) if underscores_fine => Ok(number),
        _ => Err(not_number("a whole number", text)),
    }
}

/// A float of an environment variable. Always finite.
pub(crate) fn env_float(text: &str) -> Result<f64, Wrong> {
    finite(text.trim()).ok_or_else(|| not_number("a number", text))
}

fn not_number(wanted: &str, text: &str) -> Wrong {
    Wrong::new(
        "notNumber",
        format!("{wanted} is expected, and this is {}", quoted(text)),
    )
}

/// An object of an environment variable, in the relaxed dialect; empty text is the empty object.
pub(crate) fn env_attributes(text: &str) -> Result<Vec<(String, AttrValue)>, Wrong> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let node = json::parse(text).map_err(|e| {
        Wrong::new(
            "notJsonObject",
            format!(
                "an object is expected: line {}, column {}: {e}",
                e.at.line, e.at.column
            ),
        )
    })?;
    attributes(&node.value)
}

/// A list of an environment variable: `a,b`, `a b` (unless `comma_only`),
/// `[a, "b"]`. Quotes protect separators; an unbalanced quote is an ordinary character.
pub(crate) fn env_strings(text: &str, comma_only: bool) -> Vec<String> {
    let trimmed = text.trim();
    let inner = trimmed
        .strip_prefix('[')
        .and_then(|t| t.strip_suffix(']'))
        .unwrap_or(trimmed);
    let separates = |c: char| c == ',' || (!comma_only && c.is_whitespace());
    let mut pieces = Vec::new();
    let mut rest = inner.trim_start();
    while let Some(first) = rest.chars().next() {
        if separates(first) {
            rest = rest[first.len_utf8()..].trim_start();
            continue;
        }
        if matches!(first, '"' | '\'') {
            if let Some(end) = rest[1..].find(first) {
                let after = &rest[end + 2..];
                let done = after.trim_start();
                let ended = done.is_empty()
                    || done.starts_with(',')
                    || (!comma_only && done.len() < after.len());
                if ended {
                    pieces.push(rest[1..=end].to_owned());
                    rest = done;
                    continue;
                }
            }
        }
        let end = rest.find(separates).unwrap_or(rest.len());
        pieces.push(rest[..end].trim_end().to_owned());
        rest = &rest[end..];
    }
    // An empty pair of quotes is dropped like any other empty piece.
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

#[cfg(test)]
#[path = "coerce_tests.rs"]
mod tests;
