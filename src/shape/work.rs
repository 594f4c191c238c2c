//! One step of a pipeline: from a unit of bytes to events that are sampled, redacted and numbered.

use super::group::{self, decode, Take, Tools};
use super::pipeline::Pipeline;
use super::redact::{self, Outcome};
use super::sample::{self, Decision};
use super::unit::{Desk, Input, Piece, Scratch, State, Step, Text, Unit};
use crate::config::ParseFormat;
use common::regex::budget;

/// The text that is sent in place of a line whose redaction exceeded its budget.
pub const WITHHELD: &str = "(withheld: a redaction rule did not come to an end)\n";

/// The parts that one step of a pipeline works with.
pub(super) struct Work<'a, 'd> {
    pub(super) pipeline: &'a Pipeline,
    pub(super) input: &'a Input<'d>,
    pub(super) state: &'a mut State,
    pub(super) unit: &'a mut Unit,
    pub(super) desk: &'a mut Desk,
    pub(super) scratch: &'a mut Scratch,
}

/// The properties of an event besides its message.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct About {
    pub(super) attrs: Option<(usize, usize)>,
    pub(super) ts: Option<u64>,
    /// Where its raw bytes start in the data, and how many they are.
    pub(super) from: usize,
    pub(super) raw: usize,
}

impl Work<'_, '_> {
    pub(super) fn step(&mut self) -> Step {
        let (len, lines) = match self.take(0) {
            Take::Wait => return Step::Wait,
            Take::Unit { len, lines } => (len, lines),
            Take::Cut {
                context,
                want,
                lines,
            } => {
                if self.pipeline.format != ParseFormat::Raw {
                    self.unit.counts.parse_failures += 1;
                }
                let used = self.cut(context, want);
                self.count_lines(lines);
                return self.finish(used);
            }
        };
        let used = match self.pipeline.format {
            ParseFormat::Raw => {
                self.raw(0, len);
                self.count_lines(lines);
                Some(len)
            }
            ParseFormat::Json => self.json(len, lines),
            ParseFormat::Cri => self.cri(len, lines),
        };
        match used {
            Some(used) => self.finish(used),
            None => {
                self.unit.events.clear();
                self.unit.counts = Default::default();
                Step::Wait
            }
        }
    }

    /// The end of the unit of raw bytes that starts at `from`.
    pub(super) fn take(&mut self, from: usize) -> Take {
        group::take(
            &self.pipeline.groupers,
            self.pipeline.limits,
            self.input,
            &self.input.data[from..],
            &mut Tools {
                searchers: &mut self.desk.groupers,
                line: &mut self.scratch.line,
                counts: &mut self.unit.counts,
            },
        )
    }

    pub(super) fn count_lines(&mut self, lines: u64) {
        self.unit.counts.lines += lines;
        self.unit.counts.grouped_lines += lines - 1;
    }

    /// An event of raw bytes as they are.
    pub(super) fn raw(&mut self, from: usize, to: usize) {
        let about = About {
            from,
            raw: to - from,
            ..About::default()
        };
        self.event(Text::Data(from, to), about);
    }

    /// Samples, redacts and cuts a message.
    pub(super) fn event(&mut self, message: Text, about: About) {
        let pipeline = self.pipeline;
        let before = message.len();
        let mut message = message;
        let mut sample_rate = None;
        if !pipeline.sampling.is_empty() || !pipeline.redaction.is_empty() {
            let bytes = match message {
                Text::Data(from, to) => &self.input.data[from..to],
                Text::Own(from, to) => &self.unit.text[from..to],
            };
            let scratch = &mut *self.scratch;
            let counts = &mut self.unit.counts;
            let (text, valid) = match std::str::from_utf8(bytes) {
                Ok(text) => (text, true),
                Err(_) => {
                    decode(bytes, &mut scratch.decoded);
                    (scratch.decoded.as_str(), false)
                }
            };
            let mut steps = budget(text.len());
            match sample::decide(
                &pipeline.sampling,
                &mut self.desk.sampling,
                text,
                (
                    self.input.seed,
                    self.input.offset.wrapping_add(about.from as u64),
                ),
                &mut steps,
                &mut counts.failed_searches,
            ) {
                Decision::Keep(rate) => sample_rate = rate,
                Decision::Drop => {
                    counts.sampled_out_lines += 1;
                    counts.sampled_out_bytes += about.raw as u64;
                    return;
                }
            }
            let mut steps = budget(text.len());
            let outcome = redact::apply(
                &pipeline.redaction,
                &mut self.desk.redaction,
                &mut scratch.buffers,
                text,
                text.len(),
                &mut steps,
            );
            let from = self.unit.text.len();
            match outcome {
                Ok(Outcome::Same) if valid => {}
                Ok(Outcome::Same) => {
                    let done = scratch.decoded.as_bytes();
                    self.unit.text.extend_from_slice(done);
                }
                Ok(Outcome::Changed(len)) => {
                    counts.redacted_lines += 1;
                    let done = &scratch.buffers.done.as_bytes()[..len];
                    self.unit.text.extend_from_slice(done);
                }
                Ok(Outcome::Straddles { .. }) | Err(_) => {
                    counts.redacted_lines += 1;
                    counts.withheld_lines += 1;
                    self.unit.text.extend_from_slice(WITHHELD.as_bytes());
                }
            }
            if !(valid && outcome == Ok(Outcome::Same)) {
                message = Text::Own(from, self.unit.text.len());
            }
        }
        self.send(message, before, sample_rate, about);
    }

    /// Adds the events of a message that is ready, and that was `before` bytes long when parsed.
    pub(super) fn send(
        &mut self,
        message: Text,
        before: usize,
        sample_rate: Option<f64>,
        about: About,
    ) {
        let counts = &mut self.unit.counts;
        let len = message.len();
        let rules = !self.pipeline.redaction.is_empty() || !self.pipeline.sampling.is_empty();
        if len == 0 && (rules || before > 0) {
            counts.empty_lines += 1;
            counts.empty_bytes += about.raw as u64;
            return;
        }
        let max_line = self.input.max_line;
        if max_line == 0 {
            counts.no_room_lines += 1;
            counts.no_room_bytes += about.raw as u64;
            return;
        }
        counts.framing_bytes += about.raw.saturating_sub(before) as u64;
        counts.added_bytes += before.saturating_sub(about.raw) as u64;
        counts.redacted_bytes += before.saturating_sub(len) as u64;
        counts.added_bytes += len.saturating_sub(before) as u64;
        counts.cut_lines += u64::from(len > max_line);
        // A parsed line without text still has its attributes: once round
        let mut from = 0usize;
        loop {
            let to = len.min(from.saturating_add(max_line));
            self.unit.events.push(Piece {
                message: message.part(from, to),
                attrs: about.attrs,
                ts: about.ts,
                sample_rate,
                number: 0,
            });
            from = to;
            if from == len {
                return;
            }
        }
    }

    /// Numbers the events of the unit, which is `used` bytes long.
    fn finish(&mut self, used: usize) -> Step {
        let unit = &mut *self.unit;
        if unit.events.len() > used {
            // A replacement made more events than there are numbers
            let len: usize = unit.events.iter().map(|e| e.message.len()).sum();
            let from = unit.text.len();
            unit.text.extend_from_slice(WITHHELD.as_bytes());
            let to = unit.text.len().min(from + self.input.max_line);
            unit.events.truncate(1);
            unit.events[0].message = Text::Own(from, to);
            unit.counts.withheld_lines += 1;
            unit.counts.redacted_bytes += len.saturating_sub(to - from) as u64;
            unit.counts.added_bytes += (to - from).saturating_sub(len) as u64;
        }
        let end = self.input.offset.wrapping_add(used as u64);
        let count = unit.events.len() as u64;
        for (before, event) in (0u64..).zip(unit.events.iter_mut()) {
            event.number = end.wrapping_sub(count - 1 - before);
            unit.counts.event_bytes += event.message.len() as u64;
        }
        unit.counts.events = count;
        unit.counts.bytes += used as u64;
        Step::Taken { used }
    }
}
