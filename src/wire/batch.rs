//! One request body: filled line by line, completed and sent, emptied and filled again.

use super::split::{self, Found, Number};
use super::{Envelope, Form, Label, Stamp};
use crate::util::escape::json_bytes_lossy;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of a file that a batch covers, and what became of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Which content (the tail room's number for it).
    pub source: u64,
    /// First byte covered.
    pub from: u64,
    /// One past the last byte covered.
    pub to: u64,
    /// Events made of it.
    pub lines: u64,
    /// Bytes of those events' messages.
    pub message_bytes: u64,
    /// The number of those events that the server refused for good; see [`Batch::refuse`].
    pub refused_lines: u64,
    /// Bytes of the messages of refused events.
    pub refused_bytes: u64,
    /// How often the content had been edited when it was read.
    pub edition: u16,
    /// The counts of shaping for these bytes.
    pub counts: crate::shape::Counts,
}

/// A line on its way into a batch.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// The message, with its line end.
    pub message: &'a [u8],
    /// Members `"k":v,"k":v` of this line alone, if it has any that the log does not have.
    pub attrs: Option<&'a [u8]>,
    /// The rate of the sampling rule that let it through, where that is not 1.
    pub sample_rate: Option<f64>,
    /// The number for which the sequence id stands; another number starts a new sequence in the
    /// request.
    pub source: u64,
    /// The sequence id, a UUID.
    pub sequence_id: &'a str,
    /// The sequence number after this event.
    pub sequence_number: u64,
}

/// The result of [`Batch::push`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Push {
    /// It is in.
    Done,
    /// No room; it goes first into the next batch.
    Full,
    /// It does not even fit into an empty batch of this limit.
    NeverFits,
}

/// A request body and the bookkeeping of what it covers. Reused: keeps its memory.
#[derive(Debug)]
pub struct Batch {
    body: Vec<u8>,
    /// The body without its tail.
    events_end: usize,
    head_len: usize,
    logs: Vec<u8>,
    threads: Vec<u8>,
    /// Sequence last written: source and number.
    sequence: Option<(u64, u64)>,
    serial: u64,
    form: Form,
    without_logs: bool,
    limit: usize,
    events: u64,
    full: bool,
    /// Bytes of messages in all requests that were made of it so far.
    pub posted: u64,
    /// The bytes that it covers, in reading order.
    pub spans: Vec<Span>,
}

/// `], logs: [], threads: [], client_time: N }`, N of up to 20 digits, in either form.
const TAIL_ROOM: usize = 64;

impl Batch {
    /// An empty batch; call [`Batch::start`] before use.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Batch {
            body: Vec::new(),
            events_end: 0,
            head_len: 0,
            logs: Vec::new(),
            threads: Vec::new(),
            sequence: None,
            serial: 0,
            form: Form::Scalyr,
            without_logs: false,
            limit: 0,
            events: 0,
            full: false,
            posted: 0,
            spans: Vec::new(),
        }
    }

    /// Empties it for a new request of at most `limit` bytes uncompressed.
    pub fn start(&mut self, envelope: &Envelope, limit: usize) {
        static SERIAL: AtomicU64 = AtomicU64::new(1);
        self.serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        self.form = envelope.form;
        self.without_logs = envelope.without_logs;
        self.limit = limit;
        self.events = 0;
        self.full = false;
        self.posted = 0;
        self.sequence = None;
        self.logs.clear();
        self.threads.clear();
        self.spans.clear();
        self.body.clear();
        self.body.extend_from_slice(&envelope.head);
        self.head_len = self.body.len();
        self.events_end = self.head_len;
    }

    /// Gives back memory beyond `keep` bytes.
    pub fn shrink(&mut self, keep: usize) {
        self.body.shrink_to(keep);
        self.spans.shrink_to(64);
        self.logs.shrink_to(4096);
        self.threads.shrink_to(4096);
    }

    /// Adds an event, and its log's entries with the first one.
    #[inline]
    pub fn push(
        &mut self,
        envelope: &Envelope,
        label: &mut Label,
        stamp: &Stamp,
        event: Event,
    ) -> Push {
        let body = &mut self.body;
        let before = body.len();
        if self.events > 0 {
            body.push(b',');
        }
        body.extend_from_slice(&label.event_head);
        match event.attrs {
            // The server resolves `log`, so an event repeats its log's attributes only on request
            None if envelope.repeat_log_attributes && !label.attrs.is_empty() => {
                body.extend_from_slice(&label.attrs);
                body.push(b',');
            }
            Some(own) if !own.is_empty() => {
                // Without a logs array nothing else carries the log's attributes
                if self.without_logs && !label.attrs.is_empty() {
                    body.extend_from_slice(&label.attrs);
                    body.push(b',');
                }
                body.extend_from_slice(own);
                body.push(b',');
            }
            _ => {}
        }
        match self.form {
            Form::Scalyr => {
                body.extend_from_slice(b"message:`s");
                body.extend_from_slice(&(event.message.len() as u32).to_be_bytes());
                body.extend_from_slice(event.message);
            }
            Form::Json => {
                body.extend_from_slice(b"\"message\":");
                json_bytes_lossy(body, event.message);
            }
        }
        if let Some(rate) = event.sample_rate {
            body.extend_from_slice(match self.form {
                Form::Scalyr => b",sample_rate:",
                Form::Json => b",\"sample_rate\":",
            });
            body.extend_from_slice(format!("{rate:?}").as_bytes());
        }
        let names = names(self.form);
        let number = event.sequence_number;
        match self.sequence {
            Some((source, last)) if source == event.source && event.sample_rate.is_none() => {
                body.extend_from_slice(names.close_sd);
                decimal(body, number.wrapping_sub(last));
                body.extend_from_slice(names.ts);
                body.extend_from_slice(stamp.as_bytes());
                body.extend_from_slice(b"\"}");
            }
            Some((source, last)) if source == event.source => {
                body.push(b'}');
                body.extend_from_slice(names.ts);
                body.extend_from_slice(stamp.as_bytes());
                body.push(b'"');
                body.extend_from_slice(names.sd);
                decimal(body, number.wrapping_sub(last));
                body.push(b'}');
            }
            _ => {
                body.push(b'}');
                body.extend_from_slice(names.ts);
                body.extend_from_slice(stamp.as_bytes());
                body.extend_from_slice(names.si);
                body.extend_from_slice(event.sequence_id.as_bytes());
                body.extend_from_slice(names.sn);
                decimal(body, number);
                body.push(b'}');
            }
        }
        let new_log = label.in_batch != self.serial;
        let entries = if new_log {
            label.log_entry.len() + label.thread_entry.len() + 2
        } else {
            0
        };
        if body.len() + self.logs.len() + self.threads.len() + entries + TAIL_ROOM > self.limit {
            body.truncate(before);
            if self.events == 0 {
                return Push::NeverFits;
            }
            self.full = true;
            return Push::Full;
        }
        if new_log {
            label.in_batch = self.serial;
            for (list, entry) in [
                (&mut self.logs, &label.log_entry),
                (&mut self.threads, &label.thread_entry),
            ] {
                if !list.is_empty() {
                    list.push(b',');
                }
                list.extend_from_slice(entry);
            }
        }
        self.sequence = Some((event.source, number));
        self.events += 1;
        self.events_end = self.body.len();
        Push::Done
    }

    /// The largest message of `label` that an empty batch of `limit` bytes is sure to take, 0 if
    /// none is. In the JSON form each byte may need six.
    pub fn room_for_message(
        envelope: &Envelope,
        label: &Label,
        limit: usize,
        attrs: usize,
    ) -> usize {
        let fixed = envelope.head.len()
            + label.event_head.len()
            + label.attrs.len()
            + label.log_entry.len()
            + label.thread_entry.len()
            + attrs
            + TAIL_ROOM
            + 200;
        let room = limit.saturating_sub(fixed);
        match envelope.form {
            Form::Scalyr => room,
            Form::Json => room / 6,
        }
    }

    /// Completes the body with the tail for a send attempt at `client_time` (seconds since the
    /// epoch), replacing the tail of an earlier attempt.
    pub fn complete(&mut self, client_time: u64) -> &[u8] {
        self.body.truncate(self.events_end);
        let mut body = std::mem::take(&mut self.body);
        self.tail(&mut body, client_time);
        self.body = body;
        &self.body
    }

    fn tail(&self, body: &mut Vec<u8>, client_time: u64) {
        let (logs, threads, time, end): (&[u8], &[u8], &[u8], &[u8]) = match self.form {
            Form::Scalyr => (b"], logs: [", b"], threads: [", b"], client_time: ", b" }"),
            Form::Json => (
                b"],\"logs\":[",
                b"],\"threads\":[",
                b"],\"client_time\":",
                b"}",
            ),
        };
        if !self.without_logs {
            body.extend_from_slice(logs);
            body.extend_from_slice(&self.logs);
        }
        body.extend_from_slice(threads);
        body.extend_from_slice(&self.threads);
        body.extend_from_slice(time);
        decimal(body, client_time);
        body.extend_from_slice(end);
    }

    /// Writes a request with only these of the events to `out`, for a server that finds the whole
    /// too large; how many bytes of messages are in it. They keep their sequence ids and numbers.
    /// `None` if there are no such events.
    pub fn part(&self, events: Range<u64>, client_time: u64, out: &mut Vec<u8>) -> Option<u64> {
        out.clear();
        out.extend_from_slice(&self.body[..self.head_len]);
        let mut id: &[u8] = b"";
        let mut number = 0_u64;
        let mut bytes = 0;
        let mut left = events.end.checked_sub(events.start)?;
        let begin = usize::try_from(events.start).ok()?;
        for (at, found) in self.found().enumerate() {
            if let Some(sequence) = found.sequence {
                id = &self.body[sequence];
            }
            number = match found.number {
                Number::Is(n) => n,
                Number::Adds(n) => number.wrapping_add(n),
            };
            if at < begin {
                continue;
            }
            if left == 0 {
                break;
            }
            left -= 1;
            bytes += found.message_bytes;
            if at > begin {
                out.push(b',');
                out.extend_from_slice(&self.body[found.at]);
                continue;
            }
            // The first one names what it only added to before
            let cut = found.difference;
            out.extend_from_slice(&self.body[found.at.start..cut.start]);
            let rest = &self.body[cut.end..found.at.end];
            match cut.is_empty() {
                true => out.extend_from_slice(rest),
                false => {
                    out.extend_from_slice(&rest[..rest.len() - 1]);
                    let names = names(self.form);
                    // `names.si` begins with the quote that ends a time stamp
                    out.extend_from_slice(&names.si[1..]);
                    out.extend_from_slice(id);
                    out.extend_from_slice(names.sn);
                    decimal(out, number);
                    out.push(b'}');
                }
            }
        }
        if left > 0 {
            return None;
        }
        self.tail(out, client_time);
        Some(bytes)
    }

    fn found(&self) -> impl Iterator<Item = Found> + '_ {
        split::events(&self.body, self.head_len, self.events_end, self.form)
    }

    /// Notes that the server refuses these events for good, in the spans that they are of.
    pub fn refuse(&mut self, events: Range<u64>) {
        if events == (0..self.events) {
            for span in &mut self.spans {
                span.refused_lines = span.lines;
                span.refused_bytes = span.message_bytes;
            }
            return;
        }
        let sizes: Vec<u64> = self
            .found()
            .skip(usize::try_from(events.start).unwrap_or(usize::MAX))
            .take(usize::try_from(events.end - events.start).unwrap_or(usize::MAX))
            .map(|found| found.message_bytes)
            .collect();
        let mut sizes = sizes.into_iter();
        let mut before = 0;
        for span in &mut self.spans {
            let of_span = before..before + span.lines;
            before = of_span.end;
            let first = of_span.start.max(events.start);
            for bytes in (first..of_span.end.min(events.end)).zip(&mut sizes) {
                span.refused_lines += 1;
                span.refused_bytes = (span.refused_bytes + bytes.1).min(span.message_bytes);
            }
        }
    }

    /// Lets the first event of an empty batch be larger than the limit, up to `most`: whether the
    /// server takes it is for the server to say.
    pub fn raise_limit(&mut self, most: usize) {
        if self.events == 0 {
            self.limit = self.limit.max(most);
        }
    }

    /// Takes no further event.
    pub fn seal(&mut self) {
        self.limit = 0;
    }

    /// How many events are in.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Bytes of the body so far, uncompressed.
    pub fn len(&self) -> usize {
        self.events_end + self.logs.len() + self.threads.len() + TAIL_ROOM
    }

    /// Whether it has no events.
    pub fn is_empty(&self) -> bool {
        self.events == 0
    }

    /// Whether it ended because an event found no room: more is waiting.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// Bytes of log text in it.
    pub fn message_bytes(&self) -> u64 {
        self.spans.iter().map(|s| s.message_bytes).sum()
    }
}

struct Names {
    close_sd: &'static [u8],
    sd: &'static [u8],
    ts: &'static [u8],
    si: &'static [u8],
    sn: &'static [u8],
}

fn names(form: Form) -> &'static Names {
    match form {
        Form::Scalyr => &SCALYR,
        Form::Json => &JSON,
    }
}

const SCALYR: Names = Names {
    close_sd: b"},sd:",
    sd: b",sd:",
    ts: b",ts:\"",
    si: b"\",si:\"",
    sn: b"\",sn:",
};

const JSON: Names = Names {
    close_sd: b"},\"sd\":",
    sd: b",\"sd\":",
    ts: b",\"ts\":\"",
    si: b"\",\"si\":\"",
    sn: b"\",\"sn\":",
};

#[inline]
fn decimal(out: &mut Vec<u8>, mut n: u64) {
    let mut digits = [0u8; 20];
    let mut at = 20;
    loop {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
