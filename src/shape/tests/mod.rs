//! Log entries, and the events that their rules make.

mod group;
mod parse;
mod property;
mod regex;
mod rules;

use super::{Input, Pipeline, State, Step, Unit, WITHHELD};
use crate::config::{
    AttrValue, EntryKind, GroupEnd, LineGrouper, LogEntry, Options, ParseFormat, RedactionRule,
    SamplingRule,
};

/// An event with everything in it.
#[derive(Debug, Clone, PartialEq)]
struct Event {
    message: Vec<u8>,
    attrs: Option<String>,
    ts: Option<u64>,
    rate: Option<f64>,
    number: u64,
}

/// A log file as it is read.
struct Reader {
    pipeline: Pipeline,
    max_line: usize,
    attrs: Vec<(String, AttrValue)>,
    seed: u64,
    state: State,
    unit: Unit,
    at: usize,
    total: super::Counts,
}

fn entry() -> LogEntry {
    LogEntry::new("/var/log/a.log".into(), EntryKind::Configured)
}

fn options(max_line: usize) -> Options {
    Options {
        max_line_size: max_line as i64,
        internal_parse_max_line_size: 65_536,
        ..Options::default()
    }
}

impl Reader {
    fn new(entry: &LogEntry, options: &Options) -> Reader {
        let pipeline = Pipeline::compile(entry, options).unwrap();
        Reader {
            pipeline: pipeline.expect("something to shape"),
            max_line: options.max_line_size as usize,
            attrs: entry.attributes.clone(),
            seed: 1,
            state: State::default(),
            unit: Unit::new(),
            at: 0,
            total: super::Counts::default(),
        }
    }

    /// Takes all units of a file that has this content now; at its end, the incomplete one too if
    /// it has `expired`.
    fn read(&mut self, content: &[u8], expired: bool) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            let rest = &content[self.at..];
            let seen = rest.len().min(self.pipeline.window());
            let input = Input {
                data: &rest[..seen],
                at_end: seen == rest.len(),
                expired: expired && seen == rest.len(),
                offset: self.at as u64,
                seed: self.seed,
                max_line: self.max_line,
                log_attrs: &self.attrs,
            };
            match self.pipeline.next(&input, &mut self.state, &mut self.unit) {
                Step::Wait => {
                    assert!(input.at_end, "stuck at {}", self.at);
                    assert!(!expired || rest.is_empty(), "stuck at the end");
                    return events;
                }
                Step::Taken { used } => {
                    assert!(used > 0 && used <= seen);
                    let mut last = self.at as u64;
                    for piece in &self.unit.events {
                        assert!(piece.number > last, "numbers grow");
                        last = piece.number;
                        let message = self.unit.message(&input, piece).to_vec();
                        assert!(message.len() <= self.max_line);
                        events.push(Event {
                            message,
                            attrs: self
                                .unit
                                .attrs(piece)
                                .map(|a| String::from_utf8(a.to_vec()).unwrap()),
                            ts: piece.ts,
                            rate: piece.sample_rate,
                            number: piece.number,
                        });
                    }
                    self.at += used;
                    assert!(self.unit.events.is_empty() || last == self.at as u64);
                    let c = self.unit.counts;
                    assert_eq!(c.bytes, used as u64);
                    assert_eq!(
                        c.bytes + c.added_bytes,
                        c.event_bytes
                            + c.framing_bytes
                            + c.redacted_bytes
                            + c.sampled_out_bytes
                            + c.empty_bytes
                            + c.withheld_bytes
                            + c.no_room_bytes,
                        "{c:?}"
                    );
                    self.total.add(&c);
                }
            }
        }
    }
}

fn text(event: &Event) -> String {
    String::from_utf8_lossy(&event.message).into_owned()
}

fn texts(events: &[Event]) -> Vec<String> {
    events.iter().map(text).collect()
}

fn grouper(start: &str, end: GroupEnd) -> LineGrouper {
    LineGrouper {
        start: start.to_owned(),
        end,
    }
}

fn redaction(pattern: &str, replacement: &str) -> RedactionRule {
    RedactionRule {
        match_expression: pattern.to_owned(),
        replacement: replacement.to_owned(),
        hash_salt: String::new(),
    }
}

fn through() -> Vec<LineGrouper> {
    vec![grouper(
        r"^[^\s]",
        GroupEnd::ContinueThrough(r"^\s+at ".into()),
    )]
}

fn json(merge: bool) -> (LogEntry, Options) {
    let entry = LogEntry {
        parse_format: ParseFormat::Json,
        attributes: vec![
            ("parser".into(), AttrValue::Text("p".into())),
            ("n".into(), AttrValue::Number("1".into())),
        ],
        ..entry()
    };
    let options = Options {
        merge_json_parsed_lines: merge,
        ..options(49_900)
    };
    (entry, options)
}
