//! From an entry of the journal to a line of a log: which fields, under which names, in which form.

use super::export::Entry;
use crate::line::{self, json_value, Value};
use common::time::civil;
use serde_json::{Map, Value as Json};
use std::borrow::Cow;

/// Every line has this tag, whatever the monitor's id.
const TAG: &str = "journald_monitor()";

const DEFAULT_FIELDS: [(&str, &str); 5] = [
    ("_SYSTEMD_UNIT", "unit"),
    ("_PID", "pid"),
    ("_MACHINE_ID", "machine_id"),
    ("_BOOT_ID", "boot_id"),
    ("_SOURCE_REALTIME_TIMESTAMP", "timestamp"),
];

/// Fields that each entry has or that the monitor itself needs, by their number.
pub const CURSOR: usize = 0;
#[allow(missing_docs)]
pub const REALTIME: usize = 1;
#[allow(missing_docs)]
pub const MONOTONIC: usize = 2;
#[allow(missing_docs)]
pub const BOOT: usize = 3;
const MESSAGE: usize = 4;
const UNIT: usize = 5;
const FIRST_FIELDS: [&str; 6] = [
    "__CURSOR",
    "__REALTIME_TIMESTAMP",
    "__MONOTONIC_TIMESTAMP",
    "_BOOT_ID",
    "MESSAGE",
    "_SYSTEMD_UNIT",
];

/// The fields of the journal that are read, and what is written of them.
#[derive(Debug)]
pub struct Fields {
    /// By number.
    wanted: Vec<String>,
    /// By the mapped name.
    mapped: Vec<Mapped>,
}

#[derive(Debug)]
struct Mapped {
    /// As configured.
    name: String,
    /// As written: a legal name.
    written: String,
    source: Source,
}

#[derive(Debug, PartialEq)]
enum Source {
    Field(usize, Form),
    /// The id of the monitor.
    Id(String),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Form {
    Text,
    /// 128 bits as a UUID.
    Id,
    /// Microseconds since the epoch as a date.
    Time,
}

/// How the options of a rule shape a line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shape {
    /// `emit_raw_details`
    pub raw_details: bool,
    /// `detect_escaped_strings`
    pub detect_escaped: bool,
}

impl Fields {
    /// From `journal_fields`, whose absence stands for the usual ones, and the monitor's id.
    ///
    /// # Errors
    /// A name that is no text.
    pub fn new(fields: Option<&Map<String, Json>>, id: &str) -> Result<Self, String> {
        let mut pairs: Vec<(&str, &str)> = Vec::new();
        match fields {
            None => pairs.extend(DEFAULT_FIELDS),
            Some(map) => {
                for (field, name) in map {
                    let Some(name) = name.as_str().filter(|name| !name.is_empty()) else {
                        return Err(format!("the name for {field} must be a text"));
                    };
                    if field.is_empty() || field.contains([',', '=', '\n']) {
                        return Err(format!("{field:?} is no field of a journal"));
                    }
                    pairs.push((field, name));
                }
            }
        }
        let mut made = Fields {
            wanted: FIRST_FIELDS.iter().map(|&name| name.to_owned()).collect(),
            mapped: Vec::new(),
        };
        for (field, name) in pairs {
            let number = made.number(field);
            made.map(name, Source::Field(number, form(field)));
        }
        if !id.is_empty() && made.mapped.iter().all(|m| m.name != "monitor_id") {
            made.map("monitor_id", Source::Id(id.to_owned()));
        }
        common::sort::by(&mut made.mapped, |a, b| a.name.cmp(&b.name));
        Ok(made)
    }

    fn map(&mut self, name: &str, source: Source) {
        let clean = line::clean_name(name);
        self.mapped.push(Mapped {
            // Reserved names are the operator's choice here: PRIORITY may well become severity.
            written: if clean.changed {
                clean.text.into_owned()
            } else {
                name.to_owned()
            },
            name: name.to_owned(),
            source,
        });
    }

    /// The number of a field of the journal, which is read from now on.
    pub fn number(&mut self, field: &str) -> usize {
        if let Some(number) = self.wanted.iter().position(|known| known == field) {
            return number;
        }
        self.wanted.push(field.to_owned());
        self.wanted.len() - 1
    }

    /// All fields that are read.
    pub fn wanted(&self) -> &[String] {
        &self.wanted
    }

    /// Whether lines have something of that name.
    pub fn has(&self, name: &str) -> bool {
        self.mapped.iter().any(|mapped| mapped.name == name)
    }

    /// The value behind a mapped name.
    pub fn mapped<'a>(&'a self, name: &str, entry: &'a Entry) -> Option<Cow<'a, str>> {
        let mut named = self.mapped.iter().filter(|mapped| mapped.name == name);
        named.find_map(|mapped| mapped.source.value(entry))
    }

    /// The unit that wrote an entry: what is mapped to `unit`, else the journal's own field.
    pub fn unit<'a>(&'a self, entry: &'a Entry) -> Cow<'a, str> {
        let mapped = self.mapped("unit", entry);
        mapped
            .or_else(|| entry.get(UNIT).map(String::from_utf8_lossy))
            .unwrap_or_default()
    }

    /// Appends the line of an entry.
    pub fn write(&self, out: &mut Vec<u8>, entry: &Entry, now_ms: u64, shape: Shape) {
        line::head(out, now_ms, TAG);
        out.extend_from_slice(b"details ");
        let message = entry.get(MESSAGE).map(String::from_utf8_lossy);
        let message = message.as_deref().unwrap_or_default();
        if shape.raw_details {
            out.extend_from_slice(message.as_bytes());
        } else {
            text(out, message, shape);
        }
        let mut last = None;
        for mapped in &self.mapped {
            // The first present one of several fields with one name counts.
            if last == Some(&mapped.name) {
                continue;
            }
            if let Some(value) = mapped.source.value(entry) {
                last = Some(&mapped.name);
                out.push(b' ');
                out.extend_from_slice(mapped.written.as_bytes());
                out.push(b'=');
                text(out, &value, shape);
            }
        }
        out.push(b'\n');
    }
}

impl Source {
    fn value<'a>(&'a self, entry: &'a Entry) -> Option<Cow<'a, str>> {
        match self {
            Source::Id(id) => Some(Cow::Borrowed(id)),
            Source::Field(number, form) => entry.get(*number).map(|raw| form.show(raw)),
        }
    }
}

fn form(field: &str) -> Form {
    match field {
        "_MACHINE_ID" | "_BOOT_ID" | "MESSAGE_ID" => Form::Id,
        "_SOURCE_REALTIME_TIMESTAMP" | "__REALTIME_TIMESTAMP" | "COREDUMP_TIMESTAMP" => Form::Time,
        _ => Form::Text,
    }
}

impl Form {
    fn show(self, raw: &[u8]) -> Cow<'_, str> {
        let text = String::from_utf8_lossy(raw);
        match self {
            Form::Text => text,
            Form::Id if text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit()) => {
                let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|range| &text[range]);
                Cow::Owned(parts.join("-"))
            }
            Form::Time => match text.parse().ok().and_then(date) {
                Some(date) => Cow::Owned(date),
                None => text,
            },
            Form::Id => text,
        }
    }
}

/// `2026-11-22 22:00:01.123456`, UTC.
fn date(micros: u64) -> Option<String> {
    let c = civil(i64::try_from(micros / 1_000_000).ok()?);
    Some(format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02}.{:06}",
        c.year,
        c.month,
        c.day,
        c.hour,
        c.minute,
        c.second,
        micros % 1_000_000
    ))
}

fn text(out: &mut Vec<u8>, text: &str, shape: Shape) {
    let quoted = text.len() >= 2 && text.starts_with('"') && text.ends_with('"');
    // One that has line breaks in it was not escaped by anyone.
    if shape.detect_escaped && quoted && !text.contains(char::is_control) {
        out.extend_from_slice(text.as_bytes());
    } else {
        json_value(out, Value::Text(text));
    }
}

#[cfg(test)]
mod tests {
    use super::super::export::Parser;
    use super::*;
    use serde_json::json;

    /// The line of one entry, its stamp fixed.
    fn written(fields: &Fields, entry: &[u8], shape: Shape) -> String {
        let mut out = Vec::new();
        let mut parser = Parser::new(fields.wanted().to_vec());
        parser
            .feed(entry, |entry| {
                fields.write(&mut out, entry, 1_650_021_068_015, shape);
            })
            .unwrap();
        String::from_utf8(out).unwrap()
    }

    const RAW: Shape = Shape {
        raw_details: true,
        detect_escaped: false,
    };
    const DETECT: Shape = Shape {
        raw_details: false,
        detect_escaped: true,
    };

    #[test]
    fn the_lines_are_those_of_the_specification() {
        let fields = Fields::new(None, "j1").unwrap();
        let entry = "__CURSOR=s=abc;i=3c\n_SYSTEMD_UNIT=ssh.service\n_PID=812\n_UID=0\n_MACHINE_ID=263bb31e3e134062bdb1f1f4518999d2\n_BOOT_ID=958b7e26df4c453aa0f9a8406cb508f2\n_SOURCE_REALTIME_TIMESTAMP=1795384801123456\nMESSAGE=Accepted publickey for \"root\" from 10.0.0.1\tport 22 é\n\n";
        assert_eq!(
            written(&fields, entry.as_bytes(), Shape::default()),
            "2022-04-15 11:11:08.015Z [journald_monitor()] details \"Accepted publickey for \\\"root\\\" from 10.0.0.1\\tport 22 é\" boot_id=\"958b7e26-df4c-453a-a0f9-a8406cb508f2\" machine_id=\"263bb31e-3e13-4062-bdb1-f1f4518999d2\" monitor_id=\"j1\" pid=\"812\" timestamp=\"2026-11-22 22:00:01.123456\" unit=\"ssh.service\"\n"
        );
        let mut entry = b"MESSAGE\n\x0b\0\0\0\0\0\0\0line1\nline2\n".to_vec();
        entry.extend(b"_PID=99\n_SYSTEMD_UNIT=cron.service\n\n");
        assert_eq!(
            written(&fields, &entry, RAW),
            "2022-04-15 11:11:08.015Z [journald_monitor()] details line1\nline2 monitor_id=\"j1\" pid=\"99\" unit=\"cron.service\"\n"
        );
        assert_eq!(
            written(&fields, b"_PID=101\n\n", Shape::default()),
            "2022-04-15 11:11:08.015Z [journald_monitor()] details \"\" monitor_id=\"j1\" pid=\"101\"\n"
        );
    }

    #[test]
    fn a_binary_message_is_written_as_far_as_it_is_text() {
        let fields = Fields::new(Some(&Map::new()), "").unwrap();
        let entry = b"MESSAGE\n\x07\0\0\0\0\0\0\0a\xff\0b\nc\x1b\n\n";
        let line = written(&fields, entry, Shape::default());
        assert!(
            line.ends_with("details \"a\u{fffd}\\u0000b\\nc\\u001b\"\n"),
            "{line}"
        );
    }

    #[test]
    fn names_are_those_of_the_operator_as_far_as_they_are_legal() {
        let map = json!({"PRIORITY": "severity", "_COMM": "1 name", "_EXE": "exe", "__CURSOR": "cursor", "_GONE": "gone", "_CMDLINE": "exe"});
        let fields = Fields::new(map.as_object(), "x").unwrap();
        let entry = b"__CURSOR=s=1;i=2\nPRIORITY=3\n_COMM=sh\n_CMDLINE=sh -c\nMESSAGE=m\n\n";
        let line = written(&fields, entry, Shape::default());
        let tail = "details \"m\" sa_1_name=\"sh\" cursor=\"s=1;i=2\" exe=\"sh -c\" monitor_id=\"x\" severity=\"3\"\n";
        assert!(line.ends_with(tail), "{line}");
        let map = json!({"_COMM": 5});
        assert!(Fields::new(map.as_object(), "").is_err());
    }

    #[test]
    fn only_what_is_escaped_already_is_left_as_it_is() {
        let fields = Fields::new(Some(&Map::new()), "").unwrap();
        let line = |message: &str| {
            let mut entry = b"MESSAGE\n".to_vec();
            entry.extend((message.len() as u64).to_le_bytes());
            entry.extend(message.as_bytes());
            entry.extend(b"\n\n");
            let line = written(&fields, &entry, DETECT);
            line.split_once(" details ")
                .unwrap()
                .1
                .trim_end()
                .to_owned()
        };
        assert_eq!(line(r#""a\"b""#), r#""a\"b""#);
        assert_eq!(line(r#""open"#), r#""\"open""#);
        assert_eq!(line("\""), r#""\"""#);
        assert_eq!(line("\"a\nb\""), r#""\"a\nb\"""#);
    }

    #[test]
    fn times_and_ids_that_are_none_stay_as_they_are() {
        assert_eq!(Form::Time.show(b"0"), "1970-01-01 00:00:00.000000");
        for text in ["", "x", "-5", "99999999999999999999999"] {
            assert_eq!(Form::Time.show(text.as_bytes()), text);
            assert_eq!(Form::Id.show(text.as_bytes()), text);
        }
        let far = Form::Time.show(b"18446744073709551615").into_owned();
        assert!(far.ends_with(".551615"), "{far}");
    }
}
