//! The report for people: it fits a terminal, says of each file what there is to say, and begins with what is
//! wrong.

use super::data::*;
use super::golden_tests::{file, matcher, monitor, report, session};
use super::health::{Problem, Severity};
use super::{health, text};

fn key_refused() -> Problem {
    let state = health::Delivery {
        server: "https://upload.eu.example.com",
        status: "error/client/badParam",
        http: Some(200),
        failures: 3,
        waits: Some(std::time::Duration::from_secs(7)),
        ..health::Delivery::default()
    };
    health::delivery(&state, 300.0).unwrap()
}

#[track_caller]
fn assert_fits(text: &str) {
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{line}\n{text}");
        assert!(!line.ends_with(' '), "{line:?}\n{text}");
    }
}

#[test]
fn the_report_for_people_fits_a_terminal_and_begins_with_what_is_wrong() {
    let mut report = report();
    report.at_a_glance.problems = vec![key_refused()];
    let copying = report.copying_manager_status.as_mut().unwrap();
    let mut own = matcher(
        "/var/log/scalyr-agent-2/agent.log",
        false,
        vec![file("/var/log/scalyr-agent-2/agent.log", 5, 1)],
    );
    own.is_internal = true;
    copying.log_matchers.push(own);
    let text = text::render_short(&report);
    let (_, text) = text.split_once("View data ").unwrap();
    let expected = "\
 from this agent at:
  https://www.eu.example.com/events?filter=$serverHost%3D%27web+1%27


At a glance:
============

Problem:
  https://upload.eu.example.com refuses the request, perhaps the API key is
  wrong (error/client/badParam); no request has been acknowledged since the
  start
Remedy:
  Set a key that may write logs, of an account on this server:
  scalyr-agent-2-config --set-key-from-stdin. The running agent takes it up by
  itself.
Backlog:               12 MB, gone in 49 s, 250 kB/s
Last good request:     5 s ago
Bytes taken:           1000 = 651 copied + 40 sampled out + 281 by which rules
                       shorten + 25 skipped + 3 failed
The agent takes:       0.31 % of a CPU, 6.1 MB of memory, 7 threads, 12 open log
                       files
The kernel tells of:   changes in 4 folders
and not of:            1 folder: inotify_max_watches is reached
Ambiguous:             3 times: a file was left alone
";
    let (glance, rest) = text.split_once("\n\nAgent configuration:").unwrap();
    assert_eq!(glance, expected);
    let (_, rest) = rest.split_once("Log transmission:").unwrap();
    let expected = "
=================

(these statistics cover the period from Sun Nov 22 22:21:50 2026 UTC)

Bytes uploaded successfully:               4683
Last successful communication with Scalyr: Sun Nov 22 22:22:46 2026 UTC
Last attempt:                              Sun Nov 22 22:22:46 2026 UTC
Last copy request size:                    158
Last copy response size:                   42
Last copy response status:                 success
Health check:                              Not delivering:
                                           https://upload.eu.example.com refuses
                                           the request, perhaps the API key is
                                           wrong (error/client/badParam); no
                                           request has been acknowledged since
                                           the start

Path /var/log/demo/app.log: copied 651 bytes (30 lines), 349 bytes pending
  reading: size 1000, read 900, sent 800, acknowledged 651
  sent as /app
Path /var/log/demo/missing.log: no matching readable file

Glob: /var/log/demo/*.txt:: 1 file
  /var/log/demo/a.txt: copied 0 bytes (0 lines), 0 bytes pending
    unreadable: Permission denied
    3 bytes failed, 5 bytes skipped (max_log_offset_size), 20 bytes skipped
      (copy_staleness_threshold), 40 bytes dropped by sampling (4 lines), 5
      redactions
Glob: /var/log/demo/none*.log:: 0 files

1 file of the agent itself is well and not shown; status -v --all shows it.


Monitors:
=========

(these statistics cover the period from Sun Nov 22 22:21:50 2026 UTC)

linux_system_metrics(): 348 lines emitted, 0 errors
";
    assert_eq!(rest, expected);
}

#[test]
fn what_is_too_long_for_a_line_is_on_several_and_a_path_stays_whole() {
    let mut report = report();
    let long = format!("/var/log/{}app.log", "a-long-folder/".repeat(9));
    report.at_a_glance.problems = vec![Problem {
        code: "x",
        severity: Severity::Bad,
        text: "word ".repeat(60).trim_end().to_owned(),
        remedy: "Do this.",
    }];
    report.at_a_glance.checkpoints = vec!["note ".repeat(40).trim_end().to_owned()];
    report.config_status.status = ConfigStatus::BAD.to_owned();
    report.config_status.last_error = Some("wrong ".repeat(40).trim_end().to_owned());
    let copying = report.copying_manager_status.as_mut().unwrap();
    let mut one = file("/l/a b", 1, 1);
    one.last_error = Some("why ".repeat(60).trim_end().to_owned());
    one.state = FileState::Unreadable;
    copying.log_matchers = vec![
        matcher(&format!("/l/{}", "x ".repeat(50)), false, vec![]),
        matcher("/l/*", true, vec![one]),
    ];
    let only = &mut copying.workers[0].sessions[0];
    only.last_response_status = Some("parseResponseFailed".to_owned());
    only.last_response = Some(format!("<html>{}", "x".repeat(700)));
    only.last_error = Some("sentence ".repeat(50).trim_end().to_owned());
    let mut failed = monitor("plugin(x)", 1, true);
    failed.restarts = 1;
    failed.last_error = Some("again ".repeat(40).trim_end().to_owned());
    report
        .monitor_manager_status
        .as_mut()
        .unwrap()
        .monitors_status = vec![failed];
    let text = text::render_short(&report);
    let (paths, rest): (Vec<&str>, Vec<&str>) = text
        .lines()
        .partition(|line| line.starts_with("Path /l/x x"));
    assert_fits(&rest.join("\n"));
    // Its blanks are its own
    assert_eq!(paths, [format!("Path /l/{}:", "x ".repeat(50))]);
    for word in ["word", "note", "wrong", "why", "sentence", "again"] {
        assert!(text.matches(word).count() >= 40, "{word}\n{text}");
    }
    assert!(text.contains("/l/a b: copied 1 byte (1 line), 0 bytes pending\n"));
    assert!(text.contains(": 1 line emitted, 0 errors\n"));
    assert!(text.contains("  1 restart\n"));

    let copying = report.copying_manager_status.as_mut().unwrap();
    copying.log_matchers = vec![matcher(&long, false, vec![file(&long, 5, 5)])];
    let text = text::render_short(&report);
    let row = format!("\nPath {long}:\n  copied 5 bytes (5 lines), 0 bytes pending\n");
    assert!(text.contains(&row), "{text}");
}

#[test]
fn several_sessions_fit_too_and_each_says_its_own_health() {
    let mut report = report();
    let copying = report.copying_manager_status.as_mut().unwrap();
    let mut second = session("default-1");
    second.health_check_result = health::told(
        Some("Good".to_owned()),
        std::slice::from_ref(&key_refused()),
    );
    second.log_processors = vec![file("/c.log", 1, 1)];
    copying.workers[0].sessions.push(second);
    report.at_a_glance.problems =
        health::deliveries([("default-0", None), ("default-1", Some(key_refused()))]);
    let text = text::render_short(&report);
    let (_, sessions) = text.split_once("Log transmission").unwrap();
    assert_fits(sessions);
    assert!(
        text.contains("\n  session default-1: https://upload"),
        "{text}"
    );
    assert!(
        text.contains(
            "\nOverall health check:                            Not delivering: session\n"
        ),
        "{text}"
    );
    assert!(
        text.contains("\n      Health check:                              Good\n"),
        "{text}"
    );
    assert!(
        text.contains("\n      Health check:                              Not delivering:\n"),
        "{text}"
    );
    assert!(
        !text.contains("/c.log"),
        "it has its row, if an entry has it\n{text}"
    );
    // The client reads its exit code from it
    let told = health::of_report(&text);
    assert_eq!(told.as_deref(), Some("Not delivering: session"));
    assert!(!health::is_bad(&told.unwrap(), false));
}
