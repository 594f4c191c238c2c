//! One line of a page of metrics: the Prometheus text format 0.0.4 and OpenMetrics 1.0, also with the
//! quoted names of Prometheus 3. The reader is lenient where the meaning of a line is beyond doubt.

use crate::line::Value;
use std::borrow::Cow;

/// A line with more labels than these is taken as malformed.
const MOST_LABELS: usize = 256;

/// The meaning of a line.
#[derive(Debug, PartialEq)]
pub enum Line<'a> {
    /// Nothing that counts: an empty line, a comment, a help text, a unit.
    Nothing,
    /// `# EOF`, with which a page in OpenMetrics ends.
    End,
    /// `# TYPE name type`.
    Type(Cow<'a, str>, &'a str),
    /// A sample.
    Sample(Sample<'a>),
}

/// `name{labels} value timestamp # exemplar`, without the exemplar.
#[derive(Debug, PartialEq)]
pub struct Sample<'a> {
    /// As it stands on the page.
    pub name: Cow<'a, str>,
    /// In the order of the page, the escapes undone.
    pub labels: Vec<Label<'a>>,
    /// `None` for NaN.
    pub value: Option<Value<'static>>,
    /// Milliseconds since 1970.
    pub timestamp: Option<i64>,
    /// Behind the value there is something that is neither a time stamp nor an exemplar.
    pub odd_end: bool,
}

/// A label's name and value.
pub type Label<'a> = (Cow<'a, str>, Cow<'a, str>);

/// Reads a line, which comes without its line break. In OpenMetrics (`seconds`) an integer time stamp
/// counts seconds, otherwise milliseconds.
///
/// # Errors
/// Why the line is malformed.
pub fn read(line: &str, seconds: bool) -> Result<Line<'_>, &'static str> {
    let line = line.trim_matches(BLANKS);
    match line.strip_prefix('#') {
        Some("") => Ok(Line::Nothing),
        Some(comment) if comment.starts_with(BLANKS) => read_comment(comment),
        Some(_) => Ok(Line::Nothing),
        None if line.is_empty() => Ok(Line::Nothing),
        None => read_sample(line, seconds).map(Line::Sample),
    }
}

const BLANKS: [char; 2] = [' ', '\t'];

fn read_comment(comment: &str) -> Result<Line<'_>, &'static str> {
    let (word, rest) = word(comment);
    match word {
        "EOF" if rest.is_empty() => Ok(Line::End),
        "TYPE" => {
            const WRONG: &str = "a TYPE line needs a name and a type";
            let (name, rest) = match rest.strip_prefix('"') {
                Some(quoted) => read_quoted(quoted).ok_or(WRONG)?,
                None => {
                    let (name, rest) = self::word(rest);
                    (Cow::Borrowed(name), rest)
                }
            };
            let (kind, _) = self::word(rest);
            if name.is_empty() || kind.is_empty() {
                return Err(WRONG);
            }
            Ok(Line::Type(name, kind))
        }
        _ => Ok(Line::Nothing),
    }
}

/// The first word, and what comes behind it and the blanks around it.
fn word(text: &str) -> (&str, &str) {
    let text = text.trim_start_matches(BLANKS);
    let end = text.find(BLANKS).unwrap_or(text.len());
    (&text[..end], text[end..].trim_start_matches(BLANKS))
}

fn read_sample(line: &str, seconds: bool) -> Result<Sample<'_>, &'static str> {
    let end = line.find([' ', '\t', '{']).unwrap_or(line.len());
    let (name, rest) = line.split_at(end);
    if name.contains(['"', '}', '=', ',', '<', '>']) {
        return Err("it does not begin with the name of a metric");
    }
    let mut sample = Sample {
        name: Cow::Borrowed(name),
        labels: Vec::new(),
        value: None,
        timestamp: None,
        odd_end: false,
    };
    let mut rest = rest.trim_start_matches(BLANKS);
    if let Some(labels) = rest.strip_prefix('{') {
        rest = read_labels(labels, &mut sample)?;
    }
    if sample.name.is_empty() {
        return Err("the name of the metric is missing");
    }
    let (value, rest) = word(rest);
    if value.is_empty() {
        return Err("the value is missing");
    }
    sample.value = number(value).ok_or("the value is no number")?;
    if rest.is_empty() || rest.starts_with('#') {
        return Ok(sample);
    }
    let (stamp, rest) = word(rest);
    sample.timestamp = timestamp(stamp, seconds);
    sample.odd_end = sample.timestamp.is_none() || !(rest.is_empty() || rest.starts_with('#'));
    Ok(sample)
}

/// Reads what is behind the opening brace; the rest is what is behind the closing one.
fn read_labels<'a>(text: &'a str, sample: &mut Sample<'a>) -> Result<&'a str, &'static str> {
    const WRONG: &str = "the labels are malformed";
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(BLANKS);
        if let Some(behind) = rest.strip_prefix('}') {
            return Ok(behind);
        }
        let key;
        if let Some(quoted) = rest.strip_prefix('"') {
            (key, rest) = read_quoted(quoted).ok_or(WRONG)?;
            rest = rest.trim_start_matches(BLANKS);
            // The name of the metric, where it is not one that may stand in front of the brace
            if sample.name.is_empty() && rest.starts_with([',', '}']) {
                sample.name = key;
                rest = rest.strip_prefix(',').unwrap_or(rest);
                continue;
            }
        } else {
            let end = rest.find([' ', '\t', '=', '"', ',', '{', '}']);
            let (name, behind) = rest.split_at(end.ok_or(WRONG)?);
            (key, rest) = (Cow::Borrowed(name), behind.trim_start_matches(BLANKS));
        }
        if key.is_empty() {
            return Err(WRONG);
        }
        let behind = rest.strip_prefix('=').ok_or(WRONG)?;
        let quoted = behind.trim_start_matches(BLANKS).strip_prefix('"');
        let (value, behind) = quoted.and_then(read_quoted).ok_or(WRONG)?;
        if sample.labels.len() == MOST_LABELS {
            return Err("it has more than 256 labels");
        }
        sample.labels.push((key, value));
        rest = behind.trim_start_matches(BLANKS);
        match rest.strip_prefix(',') {
            Some(behind) => rest = behind,
            None if rest.starts_with('}') => {}
            None => return Err(WRONG),
        }
    }
}

/// Reads what is behind an opening quotation mark; the rest is what is behind the closing one. A
/// backslash before anything but `\`, `"` and `n` stands for itself.
fn read_quoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let mut plain = String::new();
    let mut rest = text;
    loop {
        let at = memchr::memchr2(b'"', b'\\', rest.as_bytes())?;
        let (before, behind) = rest.split_at(at);
        if let Some(behind) = behind.strip_prefix('"') {
            if plain.is_empty() {
                return Some((Cow::Borrowed(before), behind));
            }
            plain.push_str(before);
            return Some((Cow::Owned(plain), behind));
        }
        plain.push_str(before);
        // A backslash is one byte, and what follows it may be any character.
        let mut escaped = behind[1..].chars();
        match escaped.next()? {
            'n' => plain.push('\n'),
            c @ ('"' | '\\') => plain.push(c),
            c => plain.extend(['\\', c]),
        }
        rest = escaped.as_str();
    }
}

/// A value: whole numbers, also with an exponent, as such; `Some(None)` for NaN; infinities as text.
/// `None` if it is no number, or one that is too large for 64 bits of floating point.
fn number(text: &str) -> Option<Option<Value<'static>>> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.eq_ignore_ascii_case("nan") {
        return Some(None);
    }
    if digits.eq_ignore_ascii_case("inf") || digits.eq_ignore_ascii_case("infinity") {
        let minus = text.starts_with('-');
        return Some(Some(Value::Text(if minus { "-Inf" } else { "+Inf" })));
    }
    if let Ok(n) = text.parse() {
        return Some(Some(Value::Int(n)));
    }
    if let Ok(n) = text.parse() {
        return Some(Some(Value::UInt(n)));
    }
    let x = float(text)?;
    // 2 to the power of 63
    let fits = x.abs() < 9_223_372_036_854_775_808.0;
    let whole = fits && x == x.trunc() && digits.contains(['e', 'E']) && !digits.contains('.');
    Some(Some(if whole {
        Value::Int(x as i64)
    } else {
        Value::Float(x)
    }))
}

/// A finite number in decimal digits.
fn float(text: &str) -> Option<f64> {
    let x: f64 = text.parse().ok()?;
    x.is_finite().then_some(x)
}

/// Milliseconds since 1970. A number with a fraction or an exponent counts seconds in any case:
/// OpenMetrics alone has them.
fn timestamp(text: &str, seconds: bool) -> Option<i64> {
    if let Ok(n) = text.parse::<i64>() {
        return if seconds {
            n.checked_mul(1000)
        } else {
            Some(n)
        };
    }
    let ms = (float(text)? * 1000.0).round();
    (ms.abs() < 9e18).then_some(ms as i64)
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
