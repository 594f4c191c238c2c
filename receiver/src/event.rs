//! A stored event, its line in `events.jsonl`, and the search for it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

/// The start of the thread names that the agent gives.
const THREAD_PREFIX: &str = "Lines for file ";

/// An event that was accepted. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Event {
    /// When it came, seconds since the epoch.
    pub at: f64,
    /// The request it came in; requests are counted from 1.
    pub request: u64,
    /// The log: the thread's name without `Lines for file `.
    pub path: Arc<str>,
    /// The thread's id, `log_<n>`.
    pub thread: Arc<str>,
    /// The log's attributes with the event's own over them; without message and sample_rate.
    pub attrs: Arc<Map<String, Value>>,
    /// The message as it came, with its line end.
    pub message: Arc<[u8]>,
    /// Nanoseconds since the epoch.
    pub ts: Option<u64>,
    /// Sequence id.
    pub si: Option<Arc<str>>,
    /// Sequence number.
    pub sn: Option<u64>,
    /// Rate of the sampling rule.
    pub sample_rate: Option<f64>,
    /// The upload session.
    pub session: Arc<str>,
}

impl Event {
    /// The message as text, with U+FFFD for what is not UTF-8.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.message)
    }

    /// Appends its line, with the line end.
    pub(crate) fn write_line(&self, out: &mut Vec<u8>) {
        let valid = std::str::from_utf8(&self.message).is_ok();
        let line = Line {
            at: self.at,
            request: self.request,
            path: Cow::Borrowed(&self.path),
            thread: Cow::Borrowed(&self.thread),
            attrs: Cow::Borrowed(&self.attrs),
            message: self.text(),
            message_hex: (!valid).then(|| hex(&self.message)),
            ts: self.ts,
            si: self.si.as_deref().map(Cow::Borrowed),
            sn: self.sn,
            sample_rate: self.sample_rate,
            session: Cow::Borrowed(&self.session),
        };
        // Writing numbers, strings and maps with string keys to memory can't fail
        let _ = serde_json::to_writer(&mut *out, &line);
        out.push(b'\n');
    }

    /// Reads a line back; none if it is not one (the last line of a killed receiver).
    pub(crate) fn read_line(line: &[u8]) -> Option<Event> {
        let line: Line = serde_json::from_slice(line).ok()?;
        let message = match &line.message_hex {
            Some(digits) => unhex(digits)?,
            None => line.message.as_bytes().to_vec(),
        };
        Some(Event {
            at: line.at,
            request: line.request,
            path: line.path.as_ref().into(),
            thread: line.thread.as_ref().into(),
            attrs: Arc::new(line.attrs.into_owned()),
            message: message.into(),
            ts: line.ts,
            si: line.si.map(|si| si.as_ref().into()),
            sn: line.sn,
            sample_rate: line.sample_rate,
            session: line.session.as_ref().into(),
        })
    }
}

/// A function that is shown each event that is stored.
pub type Observer = Box<dyn Fn(&Event) + Send>;

/// The log path that a thread's name tells.
pub(crate) fn path_of_thread(name: &str) -> &str {
    name.strip_prefix(THREAD_PREFIX).unwrap_or(name)
}

/// One line of `events.jsonl`.
#[derive(Serialize, Deserialize)]
struct Line<'a> {
    at: f64,
    request: u64,
    path: Cow<'a, str>,
    thread: Cow<'a, str>,
    attrs: Cow<'a, Map<String, Value>>,
    message: Cow<'a, str>,
    /// The bytes, where they are not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message_hex: Option<String>,
    ts: Option<u64>,
    si: Option<Cow<'a, str>>,
    sn: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sample_rate: Option<f64>,
    session: Cow<'a, str>,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = digits
        .chars()
        .map(|c| c.to_digit(16).map(|d| d as u8))
        .collect();
    let digits = digits?;
    (digits.len() % 2 == 0).then(|| digits.chunks(2).map(|d| d[0] << 4 | d[1]).collect())
}

/// The conditions of a search; every given one must hold.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Part of the message.
    pub text: Option<String>,
    /// Attributes and their values; a number is given as its digits.
    pub attrs: Vec<(String, String)>,
    /// The log's whole path, or with a `*` at an end: how it begins or ends.
    pub path: Option<String>,
    /// Lets so many matches go by.
    pub skip: usize,
    /// At most so many results; 0 for all.
    pub limit: usize,
    /// The last `limit` results instead of the first.
    pub newest: bool,
}

impl Query {
    /// Whether an event is looked for, whatever the limits.
    pub fn fits(&self, event: &Event) -> bool {
        self.path
            .as_deref()
            .is_none_or(|path| path_fits(path, &event.path))
            && self.attrs.iter().all(|(key, wanted)| {
                event.attrs.get(key).is_some_and(|value| match value {
                    Value::String(text) => text == wanted,
                    other => {
                        let digits = other.to_string();
                        digits == *wanted
                    }
                })
            })
            && self
                .text
                .as_deref()
                .is_none_or(|text| contains(&event.message, text.as_bytes()))
    }

    /// Takes `key:value` or `key=value`; false if it is neither.
    pub fn add_attr(&mut self, text: &str) -> bool {
        let Some((key, value)) = text.split_once([':', '=']) else {
            return false;
        };
        self.attrs.push((key.to_owned(), value.to_owned()));
        true
    }
}

fn path_fits(wanted: &str, path: &str) -> bool {
    let (begin, end) = (wanted.starts_with('*'), wanted.ends_with('*'));
    let bare = wanted.trim_matches('*');
    match (begin, end) {
        (true, true) => path.contains(bare),
        (true, false) => path.ends_with(bare),
        (false, true) => path.starts_with(bare),
        (false, false) => path == wanted,
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    part.is_empty() || bytes.windows(part.len()).any(|window| window == part)
}

/// Collects what a query looks for.
pub(crate) struct Found<'a> {
    query: &'a Query,
    /// How many fit, those beyond the limit too.
    pub matches: usize,
    pub events: VecDeque<Event>,
}

impl<'a> Found<'a> {
    pub fn new(query: &'a Query) -> Self {
        Found {
            query,
            matches: 0,
            events: VecDeque::new(),
        }
    }

    pub fn look_at(&mut self, event: &Event) {
        if !self.query.fits(event) {
            return;
        }
        self.matches += 1;
        if self.matches <= self.query.skip {
            return;
        }
        if self.query.limit > 0 && self.events.len() >= self.query.limit {
            if !self.query.newest {
                return;
            }
            self.events.pop_front();
        }
        self.events.push_back(event.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        let attrs = serde_json::json!({"parser": "app", "port": 8080});
        Event {
            at: 1_700_000_000.25,
            request: 3,
            path: "/var/log/app.log".into(),
            thread: "log_1".into(),
            attrs: Arc::new(attrs.as_object().unwrap().clone()),
            message: b"caf\xc3\xa9 \0 \xff\n"[..].into(),
            ts: Some(u64::MAX),
            si: Some("id".into()),
            sn: Some(9),
            sample_rate: None,
            session: "s".into(),
        }
    }

    #[test]
    fn every_byte_of_a_message_survives_the_file() {
        let mut line = Vec::new();
        event().write_line(&mut line);
        assert_eq!(line.iter().filter(|&&b| b == b'\n').count(), 1);
        let back = Event::read_line(&line).unwrap();
        assert_eq!(back.message, event().message);
        assert_eq!((back.ts, back.sn), (Some(u64::MAX), Some(9)));
        assert_eq!(back.attrs, event().attrs);
        for cut in 0..line.len() - 2 {
            assert!(Event::read_line(&line[..cut]).is_none());
        }
    }

    #[test]
    fn search_finds_by_text_attribute_and_path() {
        let mut query = Query::default();
        assert!(query.fits(&event()));
        query.text = Some("é \0".into());
        query.path = Some("/var/log/*".into());
        assert!(query.add_attr("port:8080"));
        assert!(query.add_attr("parser=app"));
        assert!(!query.add_attr("port"));
        assert!(query.fits(&event()));
        query.path = Some("*.log.1".into());
        assert!(!query.fits(&event()));
        query.path = None;
        query.text = Some("tea".into());
        assert!(!query.fits(&event()));
    }
}
