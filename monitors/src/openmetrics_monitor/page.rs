//! A page of metrics, in pieces: lines are put together, read, and written.

use super::text::{self, Line, Sample};
use super::types::Types;
use super::Written;
use crate::line::{Field, Value};
use crate::Emitter;
use serde_json::Value as Json;
use std::borrow::Cow;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// A longer line is left out. It is also what is kept in memory of a page.
const LONGEST: usize = 64 * 1024;
/// Bytes of a malformed line that are told.
const TOLD: usize = 100;
/// With more samples than these the operator is asked, once a day, whether all are wanted.
const MANY: u64 = 2000;
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A page that is being read.
pub struct Page<'a> {
    written: &'a Written,
    /// When the page was asked for, in milliseconds since 1970.
    at_ms: u64,
    openmetrics: bool,
    types: Types,
    /// The beginning of the line that the next piece goes on with.
    begun: Vec<u8>,
    /// That line is too long already.
    skips: bool,
    ended: bool,
    bytes: u64,
    samples: u64,
    included: u64,
    malformed: u64,
    too_long: u64,
    /// The first malformed line, and why it is.
    example: Option<(String, &'static str)>,
}

impl<'a> Page<'a> {
    /// Nothing of it has come yet.
    pub fn new(written: &'a Written, at_ms: u64) -> Self {
        Page {
            written,
            at_ms,
            openmetrics: false,
            types: Types::default(),
            begun: Vec::new(),
            skips: false,
            ended: false,
            bytes: 0,
            samples: 0,
            included: 0,
            malformed: 0,
            too_long: 0,
            example: None,
        }
    }

    /// Says whether it is in OpenMetrics: `# EOF` ends it, and time stamps are seconds.
    pub fn is_openmetrics(&mut self, yes: bool) {
        self.openmetrics = yes;
    }

    /// How many samples have come.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Whether the rest of it does not matter: it has ended, or it is too long.
    pub fn is_over(&self) -> bool {
        self.ended || self.bytes > self.written.max_bytes
    }

    /// Takes its next bytes.
    pub fn push(&mut self, piece: &[u8], out: &mut Emitter) {
        self.bytes += piece.len() as u64;
        let mut rest = piece;
        while let Some(at) = memchr::memchr(b'\n', rest) {
            let (line, behind) = (&rest[..at], &rest[at + 1..]);
            rest = behind;
            if self.begun.is_empty() && !self.skips && line.len() <= LONGEST {
                self.line(line, out);
            } else {
                self.keep(line);
                self.finish(out);
            }
            if self.is_over() {
                return;
            }
        }
        self.keep(rest);
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.begun.len() + bytes.len() > LONGEST {
            self.skips = true;
            self.begun.clear();
        }
        if !self.skips {
            self.begun.extend_from_slice(bytes);
        }
    }

    /// The line that was put together is complete.
    fn finish(&mut self, out: &mut Emitter) {
        if std::mem::take(&mut self.skips) {
            self.too_long += 1;
            return;
        }
        let mut line = std::mem::take(&mut self.begun);
        self.line(&line, out);
        line.clear();
        self.begun = line;
    }

    /// All of it has come. A last line without a line break counts.
    ///
    /// # Errors
    /// It is not all of a page.
    pub fn end(&mut self, out: &mut Emitter) -> Result<(), String> {
        if self.bytes > self.written.max_bytes {
            return Err(format!(
                "the page is longer than {} bytes: raise max_page_bytes, or have the server send less",
                self.written.max_bytes
            ));
        }
        if !self.ended && (self.skips || !self.begun.is_empty()) {
            self.finish(out);
        }
        if self.openmetrics && !self.ended {
            return Err(
                "the page does not end with \"# EOF\", so a part of it may be missing".to_owned(),
            );
        }
        match &self.example {
            Some((line, why)) if self.samples == 0 => {
                let mut text = "this is no page of metrics, correct url".to_owned();
                // It may be another line each time, which would be a new error.
                if out.once_in(HOUR, "no page") {
                    text = format!("{text}; of the line \"{line}\": {why}");
                }
                Err(text)
            }
            _ => Ok(()),
        }
    }

    fn line(&mut self, line: &[u8], out: &mut Emitter) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = String::from_utf8_lossy(line);
        match text::read(&line, self.openmetrics) {
            Ok(Line::Nothing) => {}
            Ok(Line::End) => self.ended = self.openmetrics,
            Ok(Line::Type(name, kind)) => self.types.declare(&name, kind),
            Ok(Line::Sample(sample)) => {
                if sample.odd_end {
                    self.is_malformed(&line, "what follows the value is no time stamp");
                }
                self.sample(&sample, out);
            }
            Err(why) => self.is_malformed(&line, why),
        }
    }

    fn is_malformed(&mut self, line: &str, why: &'static str) {
        self.malformed += 1;
        if self.example.is_none() {
            let end = line.char_indices().nth(TOLD).map_or(line.len(), |c| c.0);
            self.example = Some((line[..end].escape_debug().to_string(), why));
        }
    }

    fn sample(&mut self, sample: &Sample, out: &mut Emitter) {
        self.samples += 1;
        let written = self.written;
        let name = written_name(&sample.name);
        if !written.rules.wants(&name, &sample.labels) {
            return;
        }
        if !written.extra_metrics && self.types.is_extra(&sample.name) {
            return;
        }
        let Some(value) = sample.value else {
            return;
        };
        self.included += 1;
        if self.included > written.max_series {
            return;
        }
        let mut fields = extra_fields(written);
        if let Some(stamp) = sample.timestamp {
            set(&mut fields, ("timestamp", stamp.into()));
        }
        // The last of several labels of one name counts.
        for (name, value) in sample.labels.iter().rev() {
            if written.rules.wants_label(name) {
                set(&mut fields, (name, Value::Text(value)));
            }
        }
        out.emit_at(self.at_ms, &name, value, &fields);
    }

    /// Counts and tells what was left out.
    pub fn report(&mut self, address: &str, out: &mut Emitter) {
        let left_out = self.included.saturating_sub(self.written.max_series);
        for (counter, n) in [
            ("malformed_lines", self.malformed),
            ("lines_too_long", self.too_long),
            ("series_left_out", left_out),
        ] {
            if n > 0 {
                out.counter(counter).fetch_add(n, Relaxed);
            }
        }
        if let Some((line, why)) = &self.example {
            if self.samples > 0 && out.once_in(HOUR, "malformed") {
                out.warn(format_args!(
                    "{} lines of {address} are not in the Prometheus text format. The first is \"{line}\": {why}. This is told once an hour.",
                    self.malformed
                ));
            }
        }
        if self.too_long > 0 && out.once_in(HOUR, "too long") {
            out.warn(format_args!(
                "{} lines of {address} are longer than {LONGEST} bytes and were left out. This is told once an hour.",
                self.too_long
            ));
        }
        if left_out > 0 && out.once_in(HOUR, "left out") {
            out.warn(format_args!(
                "{address} has {left_out} series more than max_series, which were left out. Raise it, or narrow metric_name_include_list. This is told once an hour."
            ));
        }
        if self.included > MANY
            && self.included <= self.written.max_series
            && out.once_in(DAY, "many")
        {
            out.warn(format_args!(
                "{address} has {} series, all of which are written. If not all are needed, narrow metric_name_include_list or set max_series.",
                self.included
            ));
        }
        if self.included == 0 && self.samples > 0 && out.once_in(DAY, "none") {
            out.warn(format_args!(
                "{address} has {} series, but the options include none of them.",
                self.samples
            ));
        }
    }
}

/// Adds a field unless there is one of this name.
fn set<'a>(fields: &mut Vec<Field<'a>>, field: Field<'a>) {
    if !fields.iter().any(|there| there.0 == field.0) {
        fields.push(field);
    }
}

/// `extra_fields` as fields.
pub fn extra_fields(written: &Written) -> Vec<Field<'_>> {
    written
        .extra_fields
        .iter()
        .map(|(name, json)| {
            let value = match json {
                Json::String(text) => Value::Text(text),
                Json::Bool(yes) => Value::Bool(*yes),
                number => match (number.as_i64(), number.as_u64()) {
                    (Some(n), _) => Value::Int(n),
                    (_, Some(n)) => Value::UInt(n),
                    _ => Value::Float(number.as_f64().unwrap_or(0.0)),
                },
            };
            (name.as_str(), value)
        })
        .collect()
}

/// A name as the Python agent writes it: in lower case, blanks and hyphens as `_`.
fn written_name<'a>(name: &'a str) -> Cow<'a, str> {
    let odd = |c: char| c.is_ascii_uppercase() || c == '-' || c == ' ';
    if !name.contains(odd) {
        return Cow::Borrowed(name);
    }
    let lower = name.to_ascii_lowercase();
    Cow::Owned(lower.replace(['-', ' '], "_"))
}
