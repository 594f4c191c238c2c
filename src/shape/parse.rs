//! Parsed lines become events: Docker's JSON lines and those of the container runtime.
//! Joined lines are one unit of the file, so nothing of them is held in memory
//! while its bytes are already done with.

use super::cri::{self, Stream};
use super::group::{decode, Take};
use super::json::{self, Member, Type};
use super::redact::{self, Outcome};
use super::time::rfc3339;
use super::unit::Text;
use super::work::{About, Work, WITHHELD};
use crate::config::AttrValue;
use crate::util::escape::json_str;
use common::regex::budget;

/// The members of a JSON line that are not attributes.
#[derive(Debug, Clone, Copy)]
struct Found {
    message: usize,
    time: Option<usize>,
}

enum Reading {
    Found(Found),
    NoMessage,
    Failed,
}

impl Work<'_, '_> {
    /// Makes an event of the JSON line (or group) in the first `len` bytes, and of those that it
    /// goes on in. Says how many bytes that took, `None` if more are needed.
    pub(super) fn json(&mut self, len: usize, lines: u64) -> Option<usize> {
        let data = &self.input.data[..len];
        let mut decoded = std::mem::take(&mut self.scratch.decoded);
        let mut members = std::mem::take(&mut self.scratch.members);
        let (text, valid) = match std::str::from_utf8(data) {
            Ok(text) => (text, true),
            Err(_) => {
                decode(data, &mut decoded);
                (decoded.as_str(), false)
            }
        };
        let mut used = len;
        let mut complete = true;
        match self.read(text, &mut members) {
            Reading::Failed => {
                self.unit.counts.parse_failures += 1;
                self.raw(0, len);
            }
            Reading::NoMessage => {
                self.unit.counts.missing_messages += 1;
                self.raw(0, len);
            }
            Reading::Found(found) => {
                let attrs = self.attributes(text, &members, found);
                let ts = found.time.and_then(|i| {
                    let (from, to) = members[i].value;
                    self.unescaped(&text[from..to], rfc3339)
                });
                if found.time.is_some() && ts.is_none() {
                    self.unit.counts.bad_times += 1;
                }
                let (from, to) = members[found.message].value;
                let mut message = self.message(text, (from, to), valid);
                let ends = self.ends_line(message);
                if !ends && self.pipeline.merge {
                    match self.merge(message, len, &mut members) {
                        Some((merged, end)) => (message, used) = (merged, end),
                        None => complete = false,
                    }
                } else if !ends {
                    self.unit.counts.unmerged_lines += 1;
                }
                if complete {
                    let about = About {
                        attrs,
                        ts,
                        from: 0,
                        raw: used,
                    };
                    // Redaction has the buffer for decoded text
                    self.scratch.decoded = std::mem::take(&mut decoded);
                    self.event(message, about);
                    decoded = std::mem::take(&mut self.scratch.decoded);
                }
            }
        }
        self.count_lines(lines);
        self.scratch.decoded = decoded;
        self.scratch.members = members;
        complete.then_some(used)
    }

    /// Finds the members of a line that have a meaning of their own.
    fn read(&self, text: &str, members: &mut Vec<Member>) -> Reading {
        if json::object(text, members).is_none() {
            return Reading::Failed;
        }
        let position = |name: &str| {
            members
                .iter()
                .position(|m| is(&text[m.key.0..m.key.1], name))
        };
        let mut time = position(&self.pipeline.timestamp_field);
        let message = position(&self.pipeline.message_field);
        if time == message {
            // Taken as the message
            time = None;
        }
        if let Some(i) = time {
            // A value that Python takes for false counts as no time
            match (members[i].kind, members[i].raw(text)) {
                (Type::String, r#""""#) | (Type::Null, _) => time = None,
                (Type::String, _) => {}
                (Type::Number, raw) if raw.parse() == Ok(0.0) => time = None,
                (Type::Other, raw) if is_false(raw) => time = None,
                _ => return Reading::Failed,
            }
        }
        match message {
            Some(i) => match members[i].kind {
                Type::String => Reading::Found(Found { message: i, time }),
                Type::Null => Reading::NoMessage,
                _ => Reading::Failed,
            },
            None => Reading::NoMessage,
        }
    }

    /// The message between two places of `text`.
    fn message(&mut self, text: &str, (from, to): (usize, usize), valid: bool) -> Text {
        let raw = &text[from..to];
        if valid && memchr::memchr(b'\\', raw.as_bytes()).is_none() {
            // The text stands in the data's first line, at the same places
            return Text::Data(from, to);
        }
        let start = self.unit.text.len();
        json::unescape(raw, &mut self.unit.text);
        Text::Own(start, self.unit.text.len())
    }

    fn ends_line(&self, message: Text) -> bool {
        match message {
            Text::Data(from, to) => self.input.data[from..to].ends_with(b"\n"),
            Text::Own(from, to) => self.unit.text[from..to].ends_with(b"\n"),
        }
    }

    /// Appends the messages of following lines until one ends in a newline. A line that is none of
    /// them stays where it is. `None` if the end is not there yet.
    fn merge(
        &mut self,
        message: Text,
        used: usize,
        members: &mut Vec<Member>,
    ) -> Option<(Text, usize)> {
        let from = self.unit.text.len();
        match message {
            Text::Data(start, end) => {
                let text = &self.input.data[start..end];
                self.unit.text.extend_from_slice(text);
            }
            Text::Own(start, end) => self.unit.text.extend_from_within(start..end),
        }
        let mut used = used;
        let mut decoded = String::new();
        while used <= self.pipeline.join_limit()
            && self.unit.text.len() > from
            && !self.unit.text.ends_with(b"\n")
        {
            let (len, lines) = match self.take(used) {
                Take::Wait if self.input.at_end && self.input.expired => break,
                Take::Wait => return None,
                Take::Cut { .. } => break,
                Take::Unit { len, lines } => (len, lines),
            };
            let data = &self.input.data[used..used + len];
            let text = match std::str::from_utf8(data) {
                Ok(text) => text,
                Err(_) => {
                    decode(data, &mut decoded);
                    &decoded
                }
            };
            let Reading::Found(found) = self.read(text, members) else {
                break;
            };
            let (start, end) = members[found.message].value;
            json::unescape(&text[start..end], &mut self.unit.text);
            used += len;
            self.count_lines(lines);
        }
        Some((Text::Own(from, self.unit.text.len()), used))
    }

    /// Writes the attributes of a JSON line: none, all of them, or an empty range if they all
    /// equal the log's.
    fn attributes(
        &mut self,
        text: &str,
        members: &[Member],
        found: Found,
    ) -> Option<(usize, usize)> {
        let start = self.unit.text.len();
        let mut differs = false;
        let mut any = false;
        let mut has_raw_time = false;
        for (i, member) in members.iter().enumerate() {
            if i == found.message || Some(i) == found.time {
                continue;
            }
            let key = &text[member.key.0..member.key.1];
            // A time that counts as none is taken out all the same
            if is(key, &self.pipeline.timestamp_field) {
                continue;
            }
            has_raw_time |= is(key, "raw_timestamp");
            self.key(key, any);
            any = true;
            differs |= !self.is_logs(key, text, member);
            self.value(member.raw(text), true);
        }
        if let Some(i) = found
            .time
            .filter(|_| self.pipeline.raw_timestamp && !has_raw_time)
        {
            let member = &members[i];
            let (from, to) = member.value;
            // A real time holds no secret; what only stands in its place may
            let real = self.unescaped(&text[from..to], rfc3339).is_some();
            self.key("raw_timestamp", any);
            any = true;
            differs |= !self.is_logs("raw_timestamp", text, member);
            self.value(member.raw(text), !real);
        }
        if !any {
            return None;
        }
        if !differs {
            self.unit.text.truncate(start);
        }
        Some((start, self.unit.text.len()))
    }

    fn key(&mut self, key: &str, more: bool) {
        let out = &mut self.unit.text;
        if more {
            out.push(b',');
        }
        out.push(b'"');
        out.extend_from_slice(key.as_bytes());
        out.extend_from_slice(b"\":");
    }

    /// The result of `test` for a string that is written in JSON.
    fn unescaped<T>(&mut self, raw: &str, test: impl Fn(&[u8]) -> T) -> T {
        if !raw.contains('\\') {
            return test(raw.as_bytes());
        }
        let value = &mut self.scratch.value;
        value.clear();
        json::unescape(raw, value);
        test(value)
    }

    /// Whether the log has this very attribute.
    fn is_logs(&self, key: &str, text: &str, member: &Member) -> bool {
        let Some((_, value)) = self.input.log_attrs.iter().find(|(name, _)| name == key) else {
            return false;
        };
        let (from, to) = member.value;
        let raw = &text[from..to];
        match (value, member.kind) {
            (AttrValue::Text(value), Type::String) => {
                raw == value || (raw.contains('\\') && is_escaped(raw, value))
            }
            (AttrValue::Number(value), Type::Number) => {
                raw == value
                    || matches!((raw.parse::<f64>(), value.parse::<f64>()), (Ok(a), Ok(b)) if a == b)
            }
            _ => false,
        }
    }

    /// Writes a value; its strings and numbers are redacted where `redact` says so.
    fn value(&mut self, raw: &str, redact: bool) {
        let rules = &self.pipeline.redaction;
        if rules.is_empty() || !redact {
            self.unit.text.extend_from_slice(raw.as_bytes());
            return;
        }
        let out = &mut self.unit.text;
        let counts = &mut self.unit.counts;
        let searchers = &mut self.desk.redaction;
        let buffers = &mut self.scratch.buffers;
        let value = &mut self.scratch.value;
        let mut copied = 0;
        let mut steps = budget(raw.len());
        json::leaves(raw, |from, to, kind| {
            let mut text = &raw[from..to];
            if text.contains('\\') {
                value.clear();
                json::unescape(text, value);
                // A scanned string stands for text
                text = std::str::from_utf8(value).unwrap_or(text);
            }
            let outcome = redact::apply(rules, searchers, buffers, text, text.len(), &mut steps);
            let replaced = match outcome {
                Ok(Outcome::Same) => return,
                Ok(Outcome::Changed(len)) => &buffers.done[..len],
                Ok(Outcome::Straddles { .. }) | Err(_) => {
                    counts.withheld_lines += 1;
                    WITHHELD.trim_end()
                }
            };
            counts.redacted_attributes += 1;
            let quotes = usize::from(kind == Type::String);
            out.extend_from_slice(&raw.as_bytes()[copied..from - quotes]);
            json_str(out, replaced);
            copied = to + quotes;
        });
        out.extend_from_slice(&raw.as_bytes()[copied..]);
    }

    /// Makes the events of the runtime's line in the first `len` bytes; if its text goes on, of
    /// the lines up to where no stream has an open end. Says how many bytes that took, `None` if
    /// more are needed.
    pub(super) fn cri(&mut self, len: usize, lines: u64) -> Option<usize> {
        for open in &mut self.scratch.open {
            open.active = false;
        }
        let (mut len, mut lines) = (len, lines);
        let mut used = 0;
        loop {
            self.cri_line(used, used + len);
            self.count_lines(lines);
            used += len;
            if !self.scratch.open.iter().any(|open| open.active) {
                return Some(used);
            }
            if used > self.pipeline.join_limit() {
                break;
            }
            match self.take(used) {
                Take::Wait if self.input.at_end && self.input.expired => break,
                Take::Wait => return None,
                Take::Cut { .. } => break,
                Take::Unit { len: l, lines: n } => (len, lines) = (l, n),
            }
        }
        // In the order in which they began
        let first = &self.scratch.open;
        let swapped = first[1].active && (!first[0].active || first[1].from < first[0].from);
        for stream in [usize::from(swapped), usize::from(!swapped)] {
            self.flush(stream);
        }
        Some(used)
    }

    fn cri_line(&mut self, from: usize, to: usize) {
        let data = &self.input.data[from..to];
        let Some(line) = cri::parse(data) else {
            self.unit.counts.parse_failures += 1;
            self.raw(from, to);
            return;
        };
        let index = usize::from(line.stream == Stream::Err);
        let bare = cri::without_end(line.text);
        let open = &mut self.scratch.open[index];
        if !open.active && !line.partial && line.text.len() == bare.len() + 1 {
            // A line of its own, the usual case, stays where it is
            let about = About {
                attrs: Some(self.stream_attributes(line.stream, line.nanos)),
                ts: Some(line.nanos),
                from,
                raw: to - from,
            };
            self.event(Text::Data(to - line.text.len(), to), about);
            return;
        }
        if !open.active {
            open.active = true;
            open.text.clear();
            open.nanos = line.nanos;
            open.from = from;
            open.raw = 0;
        }
        open.text.extend_from_slice(bare);
        open.raw += to - from;
        // Under redaction the text is seen whole as far as that can be
        let most = match self.pipeline.redaction.is_empty() {
            true => self.input.max_line.max(1),
            false => usize::MAX,
        };
        if !line.partial || open.text.len() >= most {
            self.flush(index);
        }
    }

    /// Makes an event of what a stream has open.
    fn flush(&mut self, index: usize) {
        let open = &mut self.scratch.open[index];
        if !open.active {
            return;
        }
        open.active = false;
        let start = self.unit.text.len();
        self.unit.text.extend_from_slice(&open.text);
        self.unit.text.push(b'\n');
        let end = self.unit.text.len();
        let (nanos, from, raw) = (open.nanos, open.from, open.raw);
        let stream = [Stream::Out, Stream::Err][index];
        let about = About {
            attrs: Some(self.stream_attributes(stream, nanos)),
            ts: Some(nanos),
            from,
            raw,
        };
        self.event(Text::Own(start, end), about);
    }

    /// The attributes of a line of the runtime; an empty range if the log has the same.
    fn stream_attributes(&mut self, stream: Stream, nanos: u64) -> (usize, usize) {
        let start = self.unit.text.len();
        let with_time = self.pipeline.raw_timestamp;
        self.key("stream", false);
        let out = &mut self.unit.text;
        json_str(out, stream.name());
        let mut digits = [0; 20];
        let time = itoa(nanos, &mut digits);
        if with_time {
            out.extend_from_slice(b",\"raw_timestamp\":");
            out.extend_from_slice(time.as_bytes());
        }
        let has = |key: &str, value: &str| {
            let logs = self.input.log_attrs;
            logs.iter().any(|(name, logs)| {
                let (AttrValue::Text(text) | AttrValue::Number(text)) = logs;
                name == key && text == value
            })
        };
        if has("stream", stream.name()) && (!with_time || has("raw_timestamp", time)) {
            self.unit.text.truncate(start);
        }
        (start, self.unit.text.len())
    }
}

fn itoa(mut number: u64, digits: &mut [u8; 20]) -> &str {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    std::str::from_utf8(&digits[at..]).unwrap_or("0")
}

/// Whether a member's name, as it is written, stands for this name.
fn is(key: &str, name: &str) -> bool {
    key == name || (key.contains('\\') && is_escaped(key, name))
}

/// Whether a string as it is written in JSON stands for `value`.
fn is_escaped(raw: &str, value: &str) -> bool {
    let mut text = Vec::with_capacity(raw.len());
    json::unescape(raw, &mut text);
    text == value.as_bytes()
}

/// `false`, `[]`, `{}`.
fn is_false(raw: &str) -> bool {
    raw == "false"
        || raw
            .strip_prefix(['[', '{'])
            .is_some_and(|rest| rest.trim_start().len() == 1)
}
