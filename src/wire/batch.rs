//! One request body: filled line by line, completed and sent, emptied and filled again.

use super::{Envelope, Form, Label, Stamp};
use crate::util::escape::json_bytes_lossy;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of a file that a batch covers, and what became of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Which content (the tail room's number for a file's generation).
    pub source: u64,
    /// First byte covered.
    pub from: u64,
    /// One past the last byte covered.
    pub to: u64,
    /// Events made of it.
    pub lines: u64,
    /// Bytes of those events' messages.
    pub message_bytes: u64,
    /// The tail room's mark of position `to`, if it knows it.
    pub mark: Option<u64>,
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
    /// How often sending it was begun.
    pub sends: u64,
    /// Counts how often its sender has gone back to read again: what belongs together with a batch
    /// that came back undelivered is of the same round. Set by the sender when it hands it over.
    pub round: u64,
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
            sends: 0,
            round: 0,
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
        self.sends = 0;
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
        let names = match self.form {
            Form::Scalyr => &SCALYR,
            Form::Json => &JSON,
        };
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
            self.body.extend_from_slice(logs);
            self.body.extend_from_slice(&self.logs);
        }
        self.body.extend_from_slice(threads);
        self.body.extend_from_slice(&self.threads);
        self.body.extend_from_slice(time);
        decimal(&mut self.body, client_time);
        self.body.extend_from_slice(end);
        &self.body
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
