//! The pipeline of a log entry: compiled once, walked by each of its lines.

use super::group::{self, decode, Grouper, Limits, Manner, Take, Tools};
use super::redact::{self, Outcome, Redaction};
use super::sample::{self, Decision, Sampling};
use super::template::Template;
use super::unit::{Desk, Input, Piece, Scratch, State, Step, Text, Unit};
use super::ShapeError;
use crate::config::{GroupEnd, LogEntry, Options, ParseFormat};
use common::regex::{budget, Regex};
use std::sync::atomic::{AtomicU64, Ordering};

/// What is sent in place of a line that can't be redacted for sure.
pub const WITHHELD: &str = "(withheld: a redaction rule did not come to an end)\n";

/// Least bytes that are looked at before a line is cut under redaction.
const WINDOW: usize = 16 << 10;

/// Pipelines whose caches one thread keeps.
const DESKS: usize = 64;

/// How the lines of a log entry become events.
#[derive(Debug)]
pub struct Pipeline {
    id: u64,
    groupers: Vec<Grouper>,
    sampling: Vec<Sampling>,
    redaction: Vec<Redaction>,
    pub(super) format: ParseFormat,
    pub(super) message_field: String,
    pub(super) timestamp_field: String,
    pub(super) merge: bool,
    pub(super) raw_timestamp: bool,
    limits: Limits,
    window: usize,
}

impl Pipeline {
    /// Compiles the rules of an entry; `None` if its lines are sent as they are.
    ///
    /// # Errors
    /// If a regular expression or a replacement can't be taken.
    pub fn compile(entry: &LogEntry, options: &Options) -> Result<Option<Pipeline>, ShapeError> {
        static ID: AtomicU64 = AtomicU64::new(1);
        if entry.parse_format == ParseFormat::Raw
            && entry.line_groupers.is_empty()
            && entry.sampling_rules.is_empty()
            && entry.redaction_rules.is_empty()
        {
            return Ok(None);
        }
        let mut groupers = Vec::new();
        for (i, rule) in entry.line_groupers.iter().enumerate() {
            let (manner, name, next) = match &rule.end {
                GroupEnd::ContinueThrough(next) => {
                    (Manner::ContinueThrough, "continueThrough", next)
                }
                GroupEnd::ContinuePast(next) => (Manner::ContinuePast, "continuePast", next),
                GroupEnd::HaltBefore(next) => (Manner::HaltBefore, "haltBefore", next),
                GroupEnd::HaltWith(next) => (Manner::HaltWith, "haltWith", next),
            };
            groupers.push(Grouper {
                start: regex(&rule.start, || format!("lineGroupers[{i}].start"))?,
                next: regex(next, || format!("lineGroupers[{i}].{name}"))?,
                manner,
            });
        }
        let mut sampling = Vec::new();
        for (i, rule) in entry.sampling_rules.iter().enumerate() {
            sampling.push(Sampling {
                regex: regex(&rule.match_expression, || {
                    format!("sampling_rules[{i}].match_expression")
                })?,
                rate: rule.sampling_rate,
            });
        }
        let mut redaction = Vec::new();
        for (i, rule) in entry.redaction_rules.iter().enumerate() {
            let regex = regex(&rule.match_expression, || {
                format!("redaction_rules[{i}].match_expression")
            })?;
            let template = Template::new(&rule.replacement, &rule.hash_salt, &regex);
            redaction.push(Redaction {
                template: template.map_err(|mistake| {
                    let rule_name = format!("redaction_rules[{i}].replacement");
                    ShapeError::new("invalidReplacement", rule_name, &rule.replacement, mistake)
                })?,
                regex,
            });
        }
        let size = |option: i64| usize::try_from(option).unwrap_or(1).max(1);
        let max_line = size(options.max_line_size);
        let raw = entry.parse_format == ParseFormat::Raw;
        let unit = match raw {
            true => max_line,
            false => max_line.max(size(options.internal_parse_max_line_size)),
        };
        let seen = match redaction.is_empty() {
            true => unit,
            false => unit.saturating_mul(2).max(WINDOW),
        };
        let merge = entry.parse_format == ParseFormat::Json && options.merge_json_parsed_lines;
        let joins = merge || entry.parse_format == ParseFormat::Cri;
        Ok(Some(Pipeline {
            id: ID.fetch_add(1, Ordering::Relaxed),
            limits: Limits {
                unit,
                window: (!redaction.is_empty()).then_some(seen),
                whole: raw,
            },
            window: if joins { seen + 3 * unit } else { seen },
            groupers,
            sampling,
            redaction,
            format: entry.parse_format,
            message_field: entry.json_message_field.clone(),
            timestamp_field: entry.json_timestamp_field.clone(),
            merge,
            raw_timestamp: options.include_raw_timestamp_field,
        }))
    }

    /// The most raw bytes that an [`Input`] must hold for a step to be sure to get on. It may hold
    /// fewer as long as steps are taken, and has to grow up to this when one waits.
    pub fn window(&self) -> usize {
        self.window
    }

    pub(super) fn redaction_rules(&self) -> &[Redaction] {
        &self.redaction
    }

    /// Joined lines are complete at the latest after so many raw bytes.
    pub(super) fn join_limit(&self) -> usize {
        self.limits.unit * 3
    }

    /// Makes the next unit of the input's data.
    pub fn next(&self, input: &Input, state: &mut State, unit: &mut Unit) -> Step {
        unit.events.clear();
        unit.text.clear();
        unit.hold = None;
        unit.counts = Default::default();
        if input.data.is_empty() {
            unit.hold = state.mute;
            return Step::Wait;
        }
        if let Some(since) = state.mute {
            let end = memchr::memchr(b'\n', input.data);
            let used = end.map_or(input.data.len(), |end| end + 1);
            match end {
                Some(_) => state.mute = None,
                None => unit.hold = Some(since),
            }
            unit.counts.bytes = used as u64;
            unit.counts.withheld_bytes = used as u64;
            return Step::Taken { used };
        }
        let desk = match unit.scratch.desks.first() {
            Some(desk) if desk.pipeline == self.id => 0,
            _ => self.sit_down(&mut unit.scratch),
        };
        // Taken out for the step: a line of the log and its tools are looked at side by side
        let mut scratch = std::mem::take(&mut unit.scratch);
        let mut desks = std::mem::take(&mut scratch.desks);
        let step = Work {
            pipeline: self,
            input,
            state,
            unit,
            desk: &mut desks[desk],
            scratch: &mut scratch,
        }
        .step();
        scratch.desks = desks;
        unit.scratch = scratch;
        step
    }

    /// Finds or makes the caches of this pipeline and puts them first.
    fn sit_down(&self, scratch: &mut Scratch) -> usize {
        scratch.tick += 1;
        let desks = &mut scratch.desks;
        let found = desks.iter().position(|desk| desk.pipeline == self.id);
        let at = found.unwrap_or_else(|| {
            if desks.len() >= DESKS {
                let oldest = desks.iter().enumerate().min_by_key(|(_, desk)| desk.used);
                if let Some((oldest, _)) = oldest {
                    desks.swap_remove(oldest);
                }
            }
            desks.push(Desk {
                pipeline: self.id,
                used: 0,
                groupers: self
                    .groupers
                    .iter()
                    .flat_map(|g| [g.start.searcher(), g.next.searcher()])
                    .collect(),
                sampling: self.sampling.iter().map(|s| s.regex.searcher()).collect(),
                redaction: self.redaction.iter().map(|r| r.regex.searcher()).collect(),
            });
            desks.len() - 1
        });
        desks[at].used = scratch.tick;
        desks.swap(0, at);
        0
    }
}

fn regex(pattern: &str, rule: impl Fn() -> String) -> Result<Regex, ShapeError> {
    Regex::new(pattern).map_err(|mistake| ShapeError::new("notRegexp", rule(), pattern, mistake))
}

/// One step.
pub(super) struct Work<'a, 'd> {
    pub(super) pipeline: &'a Pipeline,
    pub(super) input: &'a Input<'d>,
    pub(super) state: &'a mut State,
    pub(super) unit: &'a mut Unit,
    pub(super) desk: &'a mut Desk,
    pub(super) scratch: &'a mut Scratch,
}

/// What an event is made of, besides its message.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct About {
    pub(super) attrs: Option<(usize, usize)>,
    pub(super) ts: Option<u64>,
    /// Where its raw bytes start in the data, and how many they are.
    pub(super) from: usize,
    pub(super) raw: usize,
}

impl Work<'_, '_> {
    fn step(&mut self) -> Step {
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
    fn send(&mut self, message: Text, before: usize, sample_rate: Option<f64>, about: About) {
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

    /// Cuts what is too long so that no match of a redaction rule spans the cut, at `want` if that
    /// can be, and makes an event of what stands before it. All of `context` is looked at.
    fn cut(&mut self, context: usize, want: usize) -> usize {
        let pipeline = self.pipeline;
        let data = &self.input.data[..context];
        let mut decoded = std::mem::take(&mut self.scratch.decoded);
        let (text, valid) = match std::str::from_utf8(data) {
            Ok(text) => (text, true),
            Err(_) => {
                decode(data, &mut decoded);
                (decoded.as_str(), false)
            }
        };
        let place = text_place(data, text, valid, want);
        let found = self.find_cut(text, place);
        let used = match found {
            None => {
                // No place is safe: the rest of the line is not sent
                if data.last() != Some(&b'\n') {
                    let since = self.input.offset;
                    self.state.mute = Some(since);
                    self.unit.hold = Some(since);
                }
                self.unit.counts.redacted_lines += 1;
                self.unit.counts.withheld_lines += 1;
                let from = self.unit.text.len();
                self.unit.text.extend_from_slice(WITHHELD.as_bytes());
                let message = Text::Own(from, self.unit.text.len());
                let about = About {
                    raw: context,
                    ..About::default()
                };
                self.send(message, context, None, about);
                context
            }
            Some((place, outcome)) => {
                let used = data_place(data, text, valid, place);
                let counts = &mut self.unit.counts;
                let decision = sample::decide(
                    &pipeline.sampling,
                    &mut self.desk.sampling,
                    &text[..place],
                    (self.input.seed, self.input.offset),
                    &mut budget(place),
                    &mut counts.failed_searches,
                );
                let about = About {
                    raw: used,
                    ..About::default()
                };
                let from = self.unit.text.len();
                match (decision, outcome) {
                    (Decision::Drop, _) => {
                        counts.sampled_out_lines += 1;
                        counts.sampled_out_bytes += used as u64;
                    }
                    (Decision::Keep(rate), Outcome::Changed(len)) => {
                        counts.redacted_lines += 1;
                        let done = &self.scratch.buffers.done.as_bytes()[..len];
                        self.unit.text.extend_from_slice(done);
                        let message = Text::Own(from, self.unit.text.len());
                        self.send(message, used, rate, about);
                    }
                    (Decision::Keep(rate), _) if valid => {
                        self.send(Text::Data(0, used), used, rate, about);
                    }
                    (Decision::Keep(rate), _) => {
                        let text = &text.as_bytes()[..place];
                        self.unit.text.extend_from_slice(text);
                        let message = Text::Own(from, self.unit.text.len());
                        self.send(message, used, rate, about);
                    }
                }
                used
            }
        };
        self.scratch.decoded = decoded;
        used
    }

    /// A place in `text`, best `want`, that no match spans, and what the rules make of it.
    fn find_cut(&mut self, text: &str, want: usize) -> Option<(usize, Outcome)> {
        let mut place = want;
        // All tries together: each one looks at everything
        let mut steps = budget(text.len()) * 2;
        for _ in 0..24 {
            let outcome = redact::apply(
                &self.pipeline.redaction,
                &mut self.desk.redaction,
                &mut self.scratch.buffers,
                text,
                place,
                &mut steps,
            );
            let (rule, from, to, of) = match outcome {
                Err(_) => return None,
                Ok(Outcome::Straddles { rule, from, to, of }) => (rule, from, to, of),
                Ok(outcome) => return Some((place, outcome)),
            };
            place = if rule > 0 || of != text.len() {
                // Places in a text that rules have changed are no places in this one
                place - (place / 8).max(1)
            } else if from >= place / 2 && from > 0 {
                from
            } else if to < text.len() {
                to
            } else {
                from
            };
            while !text.is_char_boundary(place) {
                place -= 1;
            }
            if place == 0 {
                return None;
            }
        }
        None
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

/// The place in the decoded text of a place in the data, a little before it within a character.
fn text_place(data: &[u8], text: &str, valid: bool, place: usize) -> usize {
    let mut found = if valid {
        place
    } else {
        let mut decoded = 0;
        let mut raw = 0;
        for chunk in data.utf8_chunks() {
            if raw + chunk.valid().len() >= place {
                decoded += place - raw;
                break;
            }
            raw += chunk.valid().len() + chunk.invalid().len();
            decoded += chunk.valid().len();
            if raw > place {
                break;
            }
            decoded += char::REPLACEMENT_CHARACTER.len_utf8();
        }
        decoded.min(text.len())
    };
    while !text.is_char_boundary(found) {
        found -= 1;
    }
    found.max(text.chars().next().map_or(0, char::len_utf8))
}

/// The place in the data of a place in the decoded text.
fn data_place(data: &[u8], text: &str, valid: bool, place: usize) -> usize {
    if valid || place >= text.len() {
        return place.min(data.len());
    }
    let mut decoded = 0;
    let mut raw = 0;
    for chunk in data.utf8_chunks() {
        if decoded + chunk.valid().len() >= place {
            return raw + (place - decoded);
        }
        decoded += chunk.valid().len();
        raw += chunk.valid().len() + chunk.invalid().len();
        decoded += char::REPLACEMENT_CHARACTER.len_utf8();
    }
    raw.min(data.len())
}
