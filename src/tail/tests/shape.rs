//! Shaped logs: what the pipeline makes of a file must not depend on how the file is read, sent,
//! given back or read again.

use super::*;
use crate::config::{
    EntryKind, GroupEnd, LineGrouper, LogEntry, Options, ParseFormat, RedactionRule, SamplingRule,
};
use crate::shape::Pipeline;

/// The pipeline that `change` asks for.
pub(super) fn pipeline(change: impl Fn(&mut LogEntry)) -> Option<Arc<Pipeline>> {
    let mut entry = LogEntry::new("/x".into(), EntryKind::Configured);
    change(&mut entry);
    Pipeline::compile(&entry, &Options::default())
        .unwrap()
        .map(Arc::new)
}

/// A desk whose one log has the pipeline that `change` asks for.
fn desk(change: impl Fn(&mut LogEntry)) -> Desk {
    let mut desk = Desk::new(&["a.log"]);
    desk.pipeline = pipeline(change);
    desk
}

pub(super) fn grouper(start: &str, end: GroupEnd) -> LineGrouper {
    LineGrouper {
        start: start.to_owned(),
        end,
    }
}

fn redact_and_group(entry: &mut LogEntry) {
    entry.line_groupers = vec![grouper("^E", GroupEnd::ContinueThrough("^ ".to_owned()))];
    entry.redaction_rules = vec![RedactionRule {
        match_expression: "pw=[a-z]+".to_owned(),
        replacement: "pw=X".to_owned(),
        hash_salt: String::new(),
    }];
    entry.sampling_rules = vec![SamplingRule {
        match_expression: "noise".to_owned(),
        sampling_rate: 0.0,
    }];
}

#[test]
fn a_group_waits_for_its_end_and_is_one_event() {
    let mut desk = desk(redact_and_group);
    desk.append("a.log", "E1 pw=secret\n at a\n");
    desk.start();
    desk.run(2);
    assert_eq!(desk.all("a.log"), "");
    desk.append("a.log", " at b\nE2\n");
    desk.run(2);
    assert_eq!(desk.all("a.log"), "E1 pw=X\n at a\n at b\n");
    desk.run(6);
    assert_eq!(desk.all("a.log"), "E1 pw=X\n at a\n at b\nE2\n");
    let counters = desk.log("a.log").counters.get();
    assert_eq!(counters.lines, 2);
    assert_eq!(counters.shape.grouped_lines, 2);
    assert_eq!(counters.shape.redacted_lines, 1);
}

#[test]
fn killed_at_any_moment_a_shaped_log_repeats_and_loses_nothing() {
    let mut desk = desk(redact_and_group);
    desk.limit = 900;
    let mut expected = String::new();
    for n in 0..60 {
        desk.append(
            "a.log",
            format!("E{n} pw=secret\n at {n}\nnoise {n}\nplain {n}\n"),
        );
        expected += &format!("E{n} pw=X\n at {n}\nplain {n}\n");
        if n % 4 == 0 {
            desk.start();
            desk.run_and_die(1);
        }
    }
    desk.start();
    desk.run(10);
    assert_eq!(desk.all("a.log"), expected);
    assert!(desk.arrived.resent > 0);
}

#[test]
fn what_was_read_is_sent_pending_or_dropped_by_name() {
    let mut desk = desk(redact_and_group);
    let text: String = (0..500)
        .map(|n| format!("E{n} pw=secret\n at {n}\nnoise {n}\nplain {n}\n"))
        .collect();
    desk.append("a.log", &text);
    desk.limit = 4_000;
    desk.start();
    desk.run(10);
    let log = desk.log("a.log");
    let (c, s) = (log.counters.get(), log.counters.get().shape);
    assert_eq!(desk.pending("a.log"), 0);
    assert_eq!(s.bytes, text.len() as u64);
    assert_eq!(s.lines, 2_000);
    assert_eq!(s.sampled_out_lines, 500);
    assert_eq!(c.copied, s.event_bytes);
    assert_eq!(c.settled, text.len() as u64);
    assert_eq!(
        s.bytes + s.added_bytes,
        c.copied + s.redacted_bytes + s.sampled_out_bytes
    );
}

#[test]
fn docker_lines_keep_their_own_attributes_and_time() {
    let mut desk = desk(|entry| entry.parse_format = ParseFormat::Json);
    desk.append(
        "a.log",
        "{\"log\":\"hello\\n\",\"stream\":\"stdout\",\"time\":\"2026-11-23T01:02:03.5Z\"}\n",
    );
    desk.start();
    desk.now += Duration::from_secs(1);
    desk.fill();
    let body: serde_json::Value = serde_json::from_slice(desk.batch.complete(1)).unwrap();
    let event = &body["events"][0];
    assert_eq!(event["attrs"]["message"], "hello\n");
    assert_eq!(event["attrs"]["stream"], "stdout");
    assert_eq!(event["ts"], "1795395723500000000");
}

/// A desk whose log begins with a line that fits into no request whole; the line.
fn long_line() -> (Desk, String) {
    let mut desk = desk(|entry| entry.parse_format = ParseFormat::Json);
    desk.change = |s| s.max_line_size = 300;
    desk.limit = 1_200;
    let long = "0123456789".repeat(200);
    desk.append(
        "a.log",
        format!("{{\"log\":\"{long}\\n\"}}\n{{\"log\":\"next\\n\"}}\n"),
    );
    (desk, long)
}

#[test]
fn a_unit_that_fits_into_no_request_at_once_goes_in_parts() {
    let (mut desk, long) = long_line();
    desk.start();
    desk.run(10);
    assert_eq!(desk.all("a.log"), format!("{long}\nnext\n"));
    assert_eq!(desk.arrived.resent, 0);
}

#[test]
fn the_first_part_of_a_unit_that_the_server_did_not_take_is_sent_again() {
    let (mut desk, long) = long_line();
    desk.start();
    desk.now += Duration::from_secs(1);
    assert!(desk.fill(), "the line fits into one request");
    // A kill before a second one was made
    desk.tailer.as_mut().unwrap().before_send();
    desk.kill();
    desk.start();
    desk.run(10);
    assert_eq!(desk.all("a.log"), format!("{long}\nnext\n"));
    assert_eq!(desk.arrived.resent, 0);
}
