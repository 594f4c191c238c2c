//! What log entries ask for, and what comes out.

use super::{Input, Pipeline, State, Step, Unit, WITHHELD};
use crate::config::{
    AttrValue, EntryKind, GroupEnd, LineGrouper, LogEntry, Options, ParseFormat, RedactionRule,
    SamplingRule,
};

/// An event with everything in it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Event {
    pub(super) message: Vec<u8>,
    pub(super) attrs: Option<String>,
    pub(super) ts: Option<u64>,
    pub(super) rate: Option<f64>,
    pub(super) number: u64,
}

/// A log file as it is read.
pub(super) struct Reader {
    pub(super) pipeline: Pipeline,
    pub(super) max_line: usize,
    pub(super) attrs: Vec<(String, AttrValue)>,
    pub(super) seed: u64,
    pub(super) state: State,
    pub(super) unit: Unit,
    pub(super) at: usize,
    pub(super) total: super::Counts,
}

pub(super) fn entry() -> LogEntry {
    LogEntry::new("/var/log/a.log".into(), EntryKind::Configured)
}

pub(super) fn options(max_line: usize) -> Options {
    Options {
        max_line_size: max_line as i64,
        internal_parse_max_line_size: 65_536,
        ..Options::default()
    }
}

impl Reader {
    pub(super) fn new(entry: &LogEntry, options: &Options) -> Reader {
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
    pub(super) fn read(&mut self, content: &[u8], expired: bool) -> Vec<Event> {
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

pub(super) fn text(event: &Event) -> String {
    String::from_utf8_lossy(&event.message).into_owned()
}

fn texts(events: &[Event]) -> Vec<String> {
    events.iter().map(text).collect()
}

pub(super) fn grouper(start: &str, end: GroupEnd) -> LineGrouper {
    LineGrouper {
        start: start.to_owned(),
        end,
    }
}

pub(super) fn redaction(pattern: &str, replacement: &str) -> RedactionRule {
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

#[test]
fn an_entry_that_asks_for_nothing_has_no_pipeline() {
    assert!(Pipeline::compile(&entry(), &options(100))
        .unwrap()
        .is_none());
}

#[test]
fn groups_are_those_of_the_worked_examples() {
    // copying.md §11: what comes at once, what comes after the wait
    let past = || vec![grouper(r"\\$", GroupEnd::ContinuePast(r"\\$".into()))];
    let before = || vec![grouper("^--begin", GroupEnd::HaltBefore("^--begin".into()))];
    let with = || vec![grouper("^BEGIN", GroupEnd::HaltWith("^END".into()))];
    let chain = || {
        vec![
            grouper("^A", GroupEnd::ContinueThrough("^ ".into())),
            grouper("^AB", GroupEnd::HaltWith("^Z".into())),
        ]
    };
    let years = || vec![grouper(r"^\d{4}-", GroupEnd::HaltBefore(r"^\d{4}-".into()))];
    type Row<'a> = (
        Vec<LineGrouper>,
        usize,
        &'a str,
        &'a [&'a str],
        &'a [&'a str],
    );
    let rows: &[Row] = &[
        (
            through(),
            100,
            "E1\n at a\n at b\nE2\n",
            &["E1\n at a\n at b\n"],
            &["E2\n"],
        ),
        (
            through(),
            100,
            "  orphan\nE1\nE2\n at x\nE3\n",
            &["  orphan\n", "E1\n", "E2\n at x\n"],
            &["E3\n"],
        ),
        (
            through(),
            100,
            "E1\n at a\n\n at b\nE2\n",
            &["E1\n at a\n", "\n", " at b\n"],
            &["E2\n"],
        ),
        (
            through(),
            30,
            "E1\n at aaaaaaaaaaaaaaaaaa\n at bbbbbbbbbbbbbbbbbbbb\nE2\n",
            &["E1\n at aaaaaaaaaaaaaaaaaa\n at ", "bbbbbbbbbbbbbbbbbbbb\n"],
            &["E2\n"],
        ),
        (
            past(),
            100,
            "a \\\nb \\\nc\nd\n",
            &["a \\\nb \\\nc\n", "d\n"],
            &[],
        ),
        (past(), 100, "a \\\n", &[], &["a \\\n"]),
        (
            before(),
            100,
            "--begin\nx\ny\n--begin\nz\n",
            &["--begin\nx\ny\n"],
            &["--begin\nz\n"],
        ),
        (
            with(),
            100,
            "BEGIN\nx\nEND\nafter\n",
            &["BEGIN\nx\nEND\n", "after\n"],
            &[],
        ),
        (with(), 100, "BEGIN\nx\n", &[], &["BEGIN\nx\n"]),
        (
            with(),
            30,
            "BEGIN\nxxxxxxxxxxxxxxxxxxxx\nyyyyyyyyyyyyyyyyyyyy\nEND\nz\n",
            &[
                "BEGIN\nxxxxxxxxxxxxxxxxxxxx\nyyy",
                "yyyyyyyyyyyyyyyyy\n",
                "END\n",
                "z\n",
            ],
            &[],
        ),
        (
            chain(),
            100,
            "AB\n x\nZ\nq\n",
            &["AB\n x\n", "Z\n", "q\n"],
            &[],
        ),
        (chain(), 100, "AB\nx\nZ\nq\n", &["AB\nx\nZ\n", "q\n"], &[]),
        // C7: no line is swallowed after a group of one line
        (
            years(),
            100,
            "2026-1 one\n2026-1 two\n2026-1 three\n trace\n2026-1 four\n2026-1 five\n2026-1 six\n",
            &[
                "2026-1 one\n",
                "2026-1 two\n",
                "2026-1 three\n trace\n",
                "2026-1 four\n",
                "2026-1 five\n",
            ],
            &["2026-1 six\n"],
        ),
        (before(), 100, "x\n--beg", &["x\n"], &["--beg"]),
        (before(), 100, "--begin\nab", &[], &["--begin\n", "ab"]),
    ];
    for (groupers, max_line, input, at_once, later) in rows {
        let entry = LogEntry {
            line_groupers: groupers.clone(),
            ..entry()
        };
        let mut reader = Reader::new(&entry, &options(*max_line));
        assert_eq!(
            &texts(&reader.read(input.as_bytes(), false)),
            at_once,
            "{input:?}"
        );
        assert_eq!(
            &texts(&reader.read(input.as_bytes(), true)),
            later,
            "{input:?}"
        );
    }
}

#[test]
fn a_late_line_joins_its_group_and_a_too_late_one_does_not() {
    let entry = LogEntry {
        line_groupers: through(),
        ..entry()
    };
    let mut reader = Reader::new(&entry, &options(100));
    assert!(reader.read(b"E1\n", false).is_empty());
    assert!(reader.read(b"E1\n at late\n", false).is_empty());
    assert_eq!(
        texts(&reader.read(b"E1\n at late\n", true)),
        ["E1\n at late\n"]
    );
    let all = b"E1\n at late\n at too late\n";
    assert_eq!(texts(&reader.read(all, false)), [" at too late\n"]);
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

#[test]
fn json_lines_become_messages_times_and_attributes() {
    const TS: u64 = 1_795_386_436_500_000_000;
    let rows: &[(&str, &str, Option<&str>, Option<u64>)] = &[
        (
            r#"{"log":"hi\n","stream":"stdout","time":"2026-11-22T22:27:16.5Z"}"#,
            "hi\n",
            Some(r#""stream":"stdout","raw_timestamp":"2026-11-22T22:27:16.5Z""#),
            Some(TS),
        ),
        (r#"{"log":"a"}"#, "a", None, None),
        (r#"{"log":"caf\u00e9 \"x\""}"#, "café \"x\"", None, None),
        (
            r#"{"log":"a","b":[1,{"c":null}],"d":true,"e":-1.5e3}"#,
            "a",
            Some(r#""b":[1,{"c":null}],"d":true,"e":-1.5e3"#),
            None,
        ),
        (
            r#"{"log":"a","time":"yesterday"}"#,
            "a",
            Some(r#""raw_timestamp":"yesterday""#),
            None,
        ),
        (r#"{"log":"a","time":""}"#, "a", None, None),
        (r#"{"log":"a","time":null}"#, "a", None, None),
        (
            r#"{"log":"a","time":"2026-11-22T22:27:16.5Z","raw_timestamp":1}"#,
            "a",
            Some(r#""raw_timestamp":1"#),
            Some(TS),
        ),
        (r#"{"log":"a","parser":"p","n":1.0}"#, "a", Some(""), None),
        (
            r#"{"log":"a","parser":"p","n":2}"#,
            "a",
            Some(r#""parser":"p","n":2"#),
            None,
        ),
        (r#"{"l\u006fg":"a"}"#, "a", None, None),
        // As they are
        ("{\"log\":1}\n", "{\"log\":1}\n", None, None),
        (
            "{\"log\":\"a\",\"time\":5}\n",
            "{\"log\":\"a\",\"time\":5}\n",
            None,
            None,
        ),
        ("{\"x\":\"a\"}\n", "{\"x\":\"a\"}\n", None, None),
        ("{\"log\":null}\n", "{\"log\":null}\n", None, None),
        ("plain\n", "plain\n", None, None),
        ("[]\n", "[]\n", None, None),
        ("\n", "\n", None, None),
    ];
    for (line, message, attrs, ts) in rows {
        let (entry, options) = json(false);
        let mut reader = Reader::new(&entry, &options);
        let input = format!("{}\n", line.trim_end_matches('\n'));
        let events = reader.read(input.as_bytes(), false);
        assert_eq!(texts(&events), [*message], "{line}");
        assert_eq!(events[0].attrs.as_deref(), *attrs, "{line}");
        assert_eq!(events[0].ts, *ts, "{line}");
    }
    let (entry, options) = json(false);
    let mut reader = Reader::new(&entry, &options);
    let events = reader.read(b"{\"log\":\"\xff\",\"a\":\"\xfe\"}\n", false);
    assert_eq!(text(&events[0]), "\u{FFFD}");
    assert_eq!(events[0].attrs.as_deref(), Some("\"a\":\"\u{FFFD}\""));
    // A line without a text is an event nevertheless: it may have attributes
    let empty = b"{\"log\":\"\xff\",\"a\":\"\xfe\"}\n{\"log\":\"\"}\n";
    let events = reader.read(empty, false);
    assert_eq!(texts(&events), [""]);
}

#[test]
fn dockers_parts_are_merged_and_no_line_is_swallowed() {
    let (entry, options) = json(true);
    let part = "{\"log\":\"a\",\"s\":1}\n{\"log\":\"b\",\"s\":2}\n";
    let input = format!("{part}{{\"log\":\"c\\n\",\"s\":3}}\n{{\"log\":\"d\\n\"}}\n");
    let mut reader = Reader::new(&entry, &options);
    let events = reader.read(input.as_bytes(), false);
    assert_eq!(texts(&events), ["abc\n", "d\n"]);
    assert_eq!(events[0].attrs.as_deref(), Some("\"s\":1"));
    assert_eq!(events[0].number, input.len() as u64 - 14);

    let mut reader = Reader::new(&entry, &options);
    assert!(reader.read(part.as_bytes(), false).is_empty());
    assert_eq!(reader.at, 0);
    assert_eq!(texts(&reader.read(part.as_bytes(), true)), ["ab"]);

    // C32
    for intruder in ["plain\n", "{\"x\":1}\n"] {
        let input = format!("{part}{intruder}");
        let mut reader = Reader::new(&entry, &options);
        assert_eq!(
            texts(&reader.read(input.as_bytes(), false)),
            ["ab", intruder]
        );
    }
}

#[test]
fn long_json_lines_are_cut_behind_parsing() {
    // copying.md §8.1
    let (entry, options) = json(false);
    let long = |n: usize| format!("{{\"log\":\"{}\\n\",\"k\":\"v\"}}\n", "x".repeat(n));
    let input = long(60_000);
    let mut reader = Reader::new(&entry, &options);
    let events = reader.read(input.as_bytes(), false);
    let lengths: Vec<_> = events.iter().map(|e| e.message.len()).collect();
    assert_eq!(lengths, [49_900, 10_101]);
    assert!(events
        .iter()
        .all(|e| e.attrs.as_deref() == Some("\"k\":\"v\"")));
    for with_rules in [false, true] {
        let mut entry = entry.clone();
        if with_rules {
            entry.redaction_rules = vec![redaction("secret", "")];
        }
        let input = format!("{}\n", &long(80_000)[..70_012]);
        let mut reader = Reader::new(&entry, &options);
        let events = reader.read(input.as_bytes(), false);
        let lengths: Vec<_> = events.iter().map(|e| e.message.len()).collect();
        assert_eq!(lengths, [49_900, 15_636, 4_477]);
        assert_eq!(reader.total.parse_failures, 2);
    }
}

#[test]
fn container_lines_are_joined_by_stream() {
    let t = "2026-11-22T22:27:16.5Z";
    let nanos = 1_795_386_436_500_000_000u64;
    let entry = LogEntry {
        parse_format: ParseFormat::Cri,
        ..entry()
    };
    let input = format!(
        "{t} stdout F one\n{t} stdout P two \n1970-01-01T00:00:00Z stderr P err \r\n\
         {t} stdout F three\n{t} stderr F or\r\nnot of the format\n{t} stdout P four"
    );
    let mut reader = Reader::new(&entry, &options(1000));
    let events = reader.read(input.as_bytes(), false);
    assert_eq!(
        texts(&events),
        ["one\n", "two three\n", "err or\n", "not of the format\n"]
    );
    let out = format!("\"stream\":\"stdout\",\"raw_timestamp\":{nanos}");
    assert_eq!(events[0].attrs.as_deref(), Some(&*out));
    assert_eq!(events[0].ts, Some(nanos));
    assert_eq!(events[2].ts, Some(0));
    assert_eq!(
        events[2].attrs.as_deref(),
        Some("\"stream\":\"stderr\",\"raw_timestamp\":0")
    );
    assert_eq!((events[3].attrs.as_deref(), events[3].ts), (None, None));
    // C25: what is not complete is not done with
    assert_eq!(reader.at, input.rfind("2026").unwrap());
    assert_eq!(texts(&reader.read(input.as_bytes(), true)), ["four\n"]);
    assert_eq!(reader.total.parse_failures, 1);
}

#[test]
fn a_container_line_that_never_ends_is_sent_in_parts() {
    let entry = LogEntry {
        parse_format: ParseFormat::Cri,
        ..entry()
    };
    let part = format!("1970-01-01T00:00:00Z stdout P {}\n", "x".repeat(1000));
    let input = part.repeat(2000);
    let mut reader = Reader::new(&entry, &options(49_900));
    let events = reader.read(input.as_bytes(), true);
    let total: usize = events.iter().map(|e| text(e).matches('x').count()).sum();
    assert_eq!(total, 2_000_000);
}

#[test]
fn lines_are_sampled_by_the_first_rule_that_is_found() {
    let rule = |pattern: &str, rate| SamplingRule {
        match_expression: pattern.to_owned(),
        sampling_rate: rate,
    };
    let entry = LogEntry {
        sampling_rules: vec![
            rule("never", 0.0),
            rule("always", 1.0),
            rule("some|never", 0.25),
        ],
        ..entry()
    };
    let mut input = String::new();
    for i in 0..4000 {
        input.push_str(["never\n", "always\n", "some\n", "other\n"][i % 4]);
    }
    let mut reader = Reader::new(&entry, &options(100));
    let events = reader.read(input.as_bytes(), false);
    let count = |word: &str| texts(&events).iter().filter(|t| t.trim() == word).count();
    assert_eq!(
        (count("never"), count("always"), count("other")),
        (0, 1000, 1000)
    );
    assert!((200..300).contains(&count("some")), "{}", count("some"));
    assert!(events
        .iter()
        .all(|e| e.rate == (text(e) == "some\n").then_some(0.25)));
    assert_eq!(reader.total.sampled_out_lines, 4000 - events.len() as u64);
    // Read again: the same
    let mut again = Reader::new(&entry, &options(100));
    assert_eq!(again.read(input.as_bytes(), false), events);
    again.at = 0;
    again.seed = 2;
    assert_ne!(again.read(input.as_bytes(), false), events);
}

#[test]
fn rules_see_the_whole_line_and_each_others_results() {
    let entry = LogEntry {
        redaction_rules: vec![
            redaction("a", "b"),
            redaction("b", "c"),
            redaction("gone.*", ""),
        ],
        ..entry()
    };
    let mut reader = Reader::new(&entry, &options(8));
    let input = "ab\nxgone 1\ngone\n\u{e9}\n12345678901\n".as_bytes();
    let events = reader.read(input, false);
    let expected = ["cc\n", "x\n", "\n", "\u{e9}\n", "12345678", "901\n"];
    assert_eq!(texts(&events), expected);
    assert_eq!(reader.total.redacted_lines, 3);
    // Nothing left is nothing sent; a cut hides nothing
    let entry = LogEntry {
        redaction_rules: vec![redaction(r"(?s)^drop.*|\d{9}", "")],
        ..entry
    };
    let mut reader = Reader::new(&entry, &options(8));
    let events = reader.read(b"drop\nxxxx123456789yyyy\n\xff123456789\n", false);
    assert_eq!(texts(&events), ["xxxxyyyy", "\n", "\u{FFFD}\n"]);
    assert_eq!(reader.total.empty_lines, 1);
}

#[test]
fn attributes_are_redacted_too() {
    let (mut entry, options) = json(false);
    entry.redaction_rules = vec![redaction(r"\d{4,}|se\ncret", "#")];
    let line = r#"{"log":"x","a":"n 12345 \u0041","b":{"c":["1234",12345,12,"se\ncret"],"99999":1},"time":"2026-11-22T22:27:16Z"}"#;
    let mut reader = Reader::new(&entry, &options);
    let events = reader.read(format!("{line}\n").as_bytes(), false);
    assert_eq!(
        events[0].attrs.as_deref(),
        Some(
            r##""a":"n # A","b":{"c":["#","#",12,"#"],"99999":1},"raw_timestamp":"2026-11-22T22:27:16Z""##
        )
    );
}

#[test]
fn a_line_that_can_not_be_redacted_in_time_is_withheld() {
    let entry = LogEntry {
        redaction_rules: vec![redaction(r"(x+x+)+(?<!x)y", "")],
        ..entry()
    };
    let input = format!("fine\n{}y\nfine\n", "x".repeat(60));
    let mut reader = Reader::new(&entry, &options(1000));
    let events = reader.read(input.as_bytes(), false);
    assert_eq!(texts(&events), ["fine\n", WITHHELD, "fine\n"]);
    assert_eq!(reader.total.withheld_lines, 1);
}

#[test]
fn a_line_without_end_is_withheld_where_no_cut_is_safe() {
    let entry = LogEntry {
        redaction_rules: vec![redaction(r"token=\w+", "token=#")],
        ..entry()
    };
    let options = options(49_900);
    let mut input = "a".repeat(100_000) + " token=" + &"s".repeat(3_000_000) + " end\nnext\n";
    let mut reader = Reader::new(&entry, &options);
    let events = reader.read(input.as_bytes(), false);
    assert!(events
        .iter()
        .all(|e| !text(e).contains('s') || text(e) == WITHHELD));
    assert_eq!(texts(&events).last().unwrap(), "next\n");
    assert_eq!(reader.total.withheld_lines, 1);
    assert!(reader.total.withheld_bytes > 2_500_000);
    // One that can be seen whole is replaced, wherever it stands
    for shift in 0..40 {
        input = "a ".repeat(98_000 / 2 + shift * 50) + "token=" + &"s".repeat(3000) + " ";
        input += &"b ".repeat(200_000);
        input.push('\n');
        let mut reader = Reader::new(&entry, &options);
        let events = reader.read(input.as_bytes(), false);
        assert_eq!(
            texts(&events).concat(),
            input.replace(&"s".repeat(3000), "#")
        );
    }
}

#[test]
fn uncut_lines_are_cut_where_the_reference_cuts() {
    // copying.md §7
    for with_rules in [false, true] {
        let mut entry = entry();
        match with_rules {
            false => entry.line_groupers = through(),
            true => entry.redaction_rules = vec![redaction("secret", "")],
        }
        for (n, expected) in [
            (120_000, vec![49_900, 49_900, 20_201]),
            (49_900, vec![49_900, 1]),
            (49_899, vec![49_900]),
            (500_000, [vec![49_900; 10], vec![1001]].concat()),
        ] {
            let mut reader = Reader::new(&entry, &options(49_900));
            let events = reader.read((" ".repeat(n) + "\n").as_bytes(), true);
            let lengths: Vec<_> = events.iter().map(|e| e.message.len()).collect();
            assert_eq!(lengths, expected, "{n} {with_rules}");
        }
    }
}

#[test]
fn a_rule_that_can_not_be_taken_is_named() {
    let entry = LogEntry {
        redaction_rules: vec![redaction("a", ""), redaction("(a)", r"\2")],
        ..entry()
    };
    let error = Pipeline::compile(&entry, &options(100)).unwrap_err();
    assert_eq!(
        (error.code, &*error.rule),
        ("invalidReplacement", "redaction_rules[1].replacement")
    );
    let entry = LogEntry {
        line_groupers: vec![grouper("a", GroupEnd::HaltWith("a(".into()))],
        ..entry
    };
    let error = Pipeline::compile(&entry, &options(100)).unwrap_err();
    assert_eq!(
        (error.code, &*error.rule),
        ("notRegexp", "lineGroupers[0].haltWith")
    );
    assert_eq!(error.position, 1);
}
