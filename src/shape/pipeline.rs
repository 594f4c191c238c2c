//! The pipeline of a log entry: compiled once, walked by each of its lines.

use super::group::{Grouper, Limits, Manner};
use super::redact::Redaction;
use super::sample::Sampling;
use super::template::Template;
use super::unit::{Desk, Input, Scratch, State, Step, Unit};
use super::work::Work;
use super::ShapeError;
use crate::config::{
    GroupEnd, LineGrouper, LogEntry, Options, ParseFormat, RedactionRule, SamplingRule,
};
use common::regex::Regex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Least bytes that are looked at before a line is cut under redaction.
const WINDOW: usize = 16 << 10;

/// Pipelines whose caches one thread keeps.
const DESKS: usize = 64;

/// How the lines of a log entry become events.
#[derive(Debug)]
pub struct Pipeline {
    id: u64,
    pub(super) groupers: Vec<Grouper>,
    pub(super) sampling: Vec<Sampling>,
    pub(super) redaction: Vec<Redaction>,
    pub(super) format: ParseFormat,
    pub(super) message_field: String,
    pub(super) timestamp_field: String,
    pub(super) merge: bool,
    pub(super) raw_timestamp: bool,
    pub(super) limits: Limits,
    window: usize,
    rules: (Vec<LineGrouper>, Vec<SamplingRule>, Vec<RedactionRule>),
}

impl Pipeline {
    /// Whether both make the same events of the same bytes, so that one may go on where the other stopped.
    pub fn same_as(&self, other: &Pipeline) -> bool {
        self.rules == other.rules
            && self.format == other.format
            && self.message_field == other.message_field
            && self.timestamp_field == other.timestamp_field
            && self.merge == other.merge
            && self.raw_timestamp == other.raw_timestamp
            && self.limits == other.limits
    }

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
            rules: (
                entry.line_groupers.clone(),
                entry.sampling_rules.clone(),
                entry.redaction_rules.clone(),
            ),
        }))
    }

    /// The most raw bytes that an [`Input`] must hold for a step to be sure to get on. It may hold
    /// fewer as long as steps are taken, and has to grow up to this when one waits.
    pub fn window(&self) -> usize {
        self.window
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
