//! Whole reports, compared byte for byte. Lines that the Python agent's report has
//! too are its, byte for byte.

use super::data::*;
use super::{environment, json, text};

pub(super) const T: f64 = 1_795_386_171.5; // Sun Nov 22 22:22:51 2026 UTC

pub(super) fn file(path: &str, copied: u64, lines: u64) -> FileStatus {
    FileStatus {
        log_path: path.to_owned(),
        last_scan_time: Some(T - 5.0),
        total_lines_copied: lines,
        total_bytes_copied: copied,
        size: copied,
        read: copied,
        sent: copied,
        acknowledged: copied,
        ..FileStatus::default()
    }
}

pub(super) fn matcher(path: &str, is_glob: bool, files: Vec<FileStatus>) -> MatcherStatus {
    MatcherStatus {
        log_path: path.to_owned(),
        is_glob,
        last_check_time: Some(T - 60.0),
        log_processors_status: files,
        is_internal: false,
    }
}

pub(super) fn session(id: &str) -> SessionStatus {
    SessionStatus {
        session_id: id.to_owned(),
        pid: 30633,
        total_bytes_uploaded: 4683,
        last_success_time: Some(T - 5.0),
        last_attempt_time: Some(T - 5.0),
        last_attempt_size: Some(158),
        last_response: Some("{\"status\": \"success\", \"bytesCharged\": 100}".to_owned()),
        last_response_status: Some("success".to_owned()),
        health_check_result: Some("Good".to_owned()),
        ..SessionStatus::default()
    }
}

pub(super) fn monitor(name: &str, lines: u64, is_alive: bool) -> MonitorStatus {
    MonitorStatus {
        monitor_name: name.to_owned(),
        monitor_id: "default".to_owned(),
        monitor_short_hash: "070508deae".to_owned(),
        reported_lines: lines,
        is_alive,
        ..MonitorStatus::default()
    }
}

pub(super) fn report() -> Report {
    let mut app = file("/var/log/demo/app.log", 651, 30);
    app.state = FileState::Reading;
    app.size = 1000;
    app.read = 900;
    app.sent = 800;
    app.pending = 349;
    app.label = Some("/app".to_owned());
    let mut old = file("/var/log/demo/a.txt", 0, 0);
    old.state = FileState::Unreadable;
    old.total_bytes_failed = 3;
    old.total_bytes_dropped_by_sampling = 40;
    old.total_lines_dropped_by_sampling = 4;
    old.total_redactions = 5;
    old.last_error = Some("Permission denied".to_owned());
    old.skipped = vec![
        Skipped {
            reason: "max_log_offset_size".to_owned(),
            bytes: 5,
            preexisting: false,
        },
        Skipped {
            reason: "copy_staleness_threshold".to_owned(),
            bytes: 20,
            preexisting: true,
        },
    ];
    Report {
        now: T,
        pid: 30633,
        launch_time: T - 61.0,
        user: "root".to_owned(),
        version: "2.3.0".to_owned(),
        revision: "267f1a14".to_owned(),
        server_host: "web 1".to_owned(),
        scalyr_server: "https://upload.eu.example.com".to_owned(),
        compression_type: "deflate".to_owned(),
        compression_level: 6,
        log_path: "/var/log/scalyr-agent-2/agent.log".to_owned(),
        config_status: ConfigStatus {
            path: "/etc/scalyr-agent-2/agent.json".to_owned(),
            additional_paths: vec!["/etc/scalyr-agent-2/agent.d/attrs.json".to_owned()],
            last_read_time: T - 61.0,
            status: ConfigStatus::GOOD.to_owned(),
            last_error: None,
            last_good_read: T - 61.0,
            last_check_time: Some(T - 1.0),
            not_acted_on: Vec::new(),
        },
        copying_manager_status: Some(CopyingStatus {
            total_bytes_uploaded: 4683,
            health_check_result: Some("Good".to_owned()),
            worker_sessions_health_check: Some("Good".to_owned()),
            total_scan_iterations: 3,
            log_matchers: vec![
                matcher("/var/log/demo/app.log", false, vec![app]),
                matcher("/var/log/demo/*.txt", true, vec![old]),
                matcher("/var/log/demo/missing.log", false, vec![]),
                matcher("/var/log/demo/none*.log", true, vec![]),
            ],
            workers: vec![WorkerStatus {
                worker_id: "default".to_owned(),
                sessions: vec![session("default-0")],
            }],
            ..CopyingStatus::default()
        }),
        monitor_manager_status: Some(MonitorsStatus {
            total_alive_monitors: 1,
            monitors_status: vec![monitor("linux_system_metrics()", 348, true)],
        }),
        python_version: "none (rust)".to_owned(),
        avg_status_report_duration: Some(0.0011),
        overall_stats: OverallStats::default(),
        environment: environment::shown(&[
            ("SCALYR_API_KEY".to_owned(), "secret".to_owned()),
            ("SCALYR_FOO".to_owned(), "bar".to_owned()),
        ]),
        at_a_glance: Glance {
            problems: Vec::new(),
            backlog_bytes: 12_345_678,
            bytes_per_second: Some(250_000.0),
            drain_secs: Some(49.4),
            last_success_age: Some(5.2),
            cpu_percent: Some(0.314),
            cpu_secs: 1.5,
            resident_bytes: Some(6_123_456),
            threads: Some(7),
            open_log_files: 12,
            checkpoints: Vec::new(),
            hanging: Vec::new(),
            ambiguities: [("a file was left alone", 3)].into(),
            hints: Some(HintStatus {
                folders: 4,
                without: [("inotify_max_watches is reached", 1)].into(),
            }),
            account: Account {
                settled: 1_000,
                copied: 651,
                failed: 3,
                sampled_out: 40,
                shortened: 281,
                skipped: 25,
                unaccounted: 0,
            },
        },
    }
}

#[test]
fn the_text_report_keeps_every_line_that_scripts_look_for() {
    assert_eq!(
        text::render(&report()),
        "\
Scalyr Agent status.  See https://www.scalyr.com/help/scalyr-agent-2 for help

Current time:            Sun Nov 22 22:22:51 2026 UTC
Agent started at:        Sun Nov 22 22:21:50 2026 UTC
Main process pid:        30633
Version:                 2.3.0
VCS revision:            267f1a14
Python version:          none (rust)
Agent running as:        root
Agent log:               /var/log/scalyr-agent-2/agent.log
ServerHost:              web 1
Compression algorithm:   deflate
Compression level:       6
Average status time:     0.0011 sec.

View data from this agent at: https://www.eu.example.com/events?filter=$serverHost%3D%27web+1%27


At a glance:
============

Backlog:               12 MB, gone in 49 s, 250 kB/s
Last good request:     5 s ago
Bytes taken:           1000 = 651 copied + 40 sampled out + 281 by which rules shorten + 25 skipped + 3 failed
The agent takes:       0.31 % of a CPU, 6.1 MB of memory, 7 threads, 12 open log files
The kernel tells of:   changes in 4 folders
and not of:            1 folder: inotify_max_watches is reached
Ambiguous:             3 times: a file was left alone


Agent configuration:
====================

Configuration files:   /etc/scalyr-agent-2/agent.json
                       /etc/scalyr-agent-2/agent.d/attrs.json
Status:                Good (files parsed successfully)
Last checked:          Sun Nov 22 22:22:50 2026 UTC
Last changed observed: Sun Nov 22 22:21:50 2026 UTC

Environment variables: SCALYR_API_KEY = <Redacted>
                       SCALYR_SERVER = <Missing>
                       SCALYR_FOO = bar


Log transmission:
=================

(these statistics cover the period from Sun Nov 22 22:21:50 2026 UTC)

Bytes uploaded successfully:               4683
Last successful communication with Scalyr: Sun Nov 22 22:22:46 2026 UTC
Last attempt:                              Sun Nov 22 22:22:46 2026 UTC
Last copy request size:                    158
Last copy response size:                   42
Last copy response status:                 success
Health check:                              Good

Path /var/log/demo/app.log: copied 651 bytes (30 lines), 349 bytes pending, last checked Sun Nov 22 22:22:46 2026 UTC
  reading, size 1000, read 900, sent 800, acknowledged 651, pending 349, sent as /app
Path /var/log/demo/missing.log: no matching readable file, last checked Sun Nov 22 22:21:51 2026 UTC

Glob: /var/log/demo/*.txt:: last scanned for glob matches at Sun Nov 22 22:21:51 2026 UTC
  /var/log/demo/a.txt: copied 0 bytes (0 lines), 0 bytes pending, 25 bytes skipped, 3 bytes failed, 40 bytes dropped by sampling (4 lines), 5 redactions, last checked Sun Nov 22 22:22:46 2026 UTC
    unreadable, size 0, read 0, sent 0, acknowledged 0, pending 0, skipped: max_log_offset_size 5, copy_staleness_threshold 20
    last error: Permission denied
Glob: /var/log/demo/none*.log:: last scanned for glob matches at Sun Nov 22 22:21:51 2026 UTC


Monitors:
=========

(these statistics cover the period from Sun Nov 22 22:21:50 2026 UTC)

linux_system_metrics(): 348 lines emitted, 0 errors
"
    );
}

/// The part of a text report between two lines, without them.
fn between(report: &Report, from: &str, to: &str) -> String {
    let text = text::render(report);
    let (_, rest) = text.split_once(from).unwrap();
    rest.split_once(to).unwrap().0.to_owned()
}

#[test]
fn a_server_that_is_down_and_a_broken_configuration_are_told() {
    let mut report = report();
    report.config_status.additional_paths.clear();
    report.config_status.status = ConfigStatus::BAD.to_owned();
    report.config_status.last_error = Some("agent.json:3:7: expected a comma".to_owned());
    report.config_status.last_check_time = None;
    let copying = report.copying_manager_status.as_mut().unwrap();
    let session = &mut copying.workers[0].sessions[0];
    *session = SessionStatus {
        session_id: "default-0".to_owned(),
        last_attempt_time: Some(T),
        last_attempt_size: Some(0),
        last_response: None,
        last_response_status: Some("client/connectionFailed".to_owned()),
        last_error: Some("connection\nrefused".to_owned()),
        next_retry_time: Some(T + 9.0),
        total_errors: 5,
        ..SessionStatus::default()
    };
    assert_eq!(
        between(&report, "====================\n\n", "\nEnvironment"),
        "\
Configuration file:    /etc/scalyr-agent-2/agent.json
Status:                Bad (could not parse, using last good version)
Parsing error:         agent.json:3:7: expected a comma
Last checked:          Never
Last changed observed: Sun Nov 22 22:21:50 2026 UTC
"
    );
    assert_eq!(
        between(&report, "2026 UTC)\n\n", "\nPath"),
        "\
Bytes uploaded successfully:               0
Last successful communication with Scalyr: Never
Last attempt:                              Sun Nov 22 22:22:51 2026 UTC
Last copy request size:                    0
Last copy response size:                   0
Last copy response status:                 client/connectionFailed
Last copy response:                        \n\
Last error:                                connection refused
Next retry:                                Sun Nov 22 22:23:00 2026 UTC
Total responses with errors:               5 (see '/var/log/scalyr-agent-2/agent.log' for details)
Health check:                              Good
"
    );
}

#[test]
fn several_sessions_are_listed_with_their_files() {
    let mut report = report();
    let copying = report.copying_manager_status.as_mut().unwrap();
    let mut first = session("default-0");
    first.log_processors = vec![file("/a.log", 1, 1), file("/b.log", 1, 1)];
    let mut second = session("default-1");
    second.log_processors = vec![file("/c.log", 1, 1)];
    second.health_check_result = Some("stuck".to_owned());
    copying.workers = vec![
        WorkerStatus {
            worker_id: "default".to_owned(),
            sessions: vec![first, second],
        },
        WorkerStatus {
            worker_id: "idle".to_owned(),
            sessions: vec![SessionStatus {
                session_id: "idle-0".to_owned(),
                ..SessionStatus::default()
            }],
        },
    ];
    copying.worker_sessions_health_check = Some("Some workers have failed.".to_owned());
    copying.total_errors = 2;
    assert_eq!(
        between(&report, "Log transmission:", "\nPath"),
        "
=================

(these statistics cover the period from Sun Nov 22 22:21:50 2026 UTC)

Total bytes uploaded:                            4683
Overall health check:                            Some workers have failed.
Total errors occurred:                           2

Uploads statistics by worker:
 Worker default:
    Session default-0:
      Bytes uploaded successfully:               4683
      Last successful communication with Scalyr: Sun Nov 22 22:22:46 2026 UTC
      Last attempt:                              Sun Nov 22 22:22:46 2026 UTC
      Last copy request size:                    158
      Last copy response size:                   42
      Last copy response status:                 success
      Health check:                              Good

    Session default-1:
      Bytes uploaded successfully:               4683
      Last successful communication with Scalyr: Sun Nov 22 22:22:46 2026 UTC
      Last attempt:                              Sun Nov 22 22:22:46 2026 UTC
      Last copy request size:                    158
      Last copy response size:                   42
      Last copy response status:                 success
      Health check:                              stuck

 Worker idle:
    Session idle-0:
      Bytes uploaded successfully:               0
      Last successful communication with Scalyr: Never
      Last attempt:                              Never

 Log files associated with workers:
  Worker default:
    Session default-0:
        /a.log
        /b.log
    Session default-1:
        /c.log
"
    );
    assert_eq!(
        super::health::of_report(&text::render(&report)).unwrap(),
        "Some workers have failed."
    );
}

#[test]
fn dead_monitors_stand_apart() {
    let mut report = report();
    let mut essential = monitor("a(x)", 1, true);
    essential.stop_agent_on_failure = true;
    report.monitor_manager_status = Some(MonitorsStatus {
        total_alive_monitors: 1,
        monitors_status: vec![monitor("die_monitor(kernel)", 0, false), essential],
    });
    let text = text::render(&report);
    assert!(
        text.ends_with(
            "2026 UTC)\n
Running monitors:
  a(x): 1 lines emitted, 0 errors, stop_agent_on_failure=true

Failed monitors:
  die_monitor(kernel) 0 lines emitted, 0 errors
"
        ),
        "{text}"
    );
}

#[test]
fn a_report_of_an_agent_that_has_just_started_is_whole() {
    let report = Report::default();
    let text = text::render(&report);
    assert!(!text.contains("Log transmission") && !text.contains("Monitors"));
    let json = json::render(&report);
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(value["copying_manager_status"].is_null());
    assert!(value["monitor_manager_status"].is_null());
    assert!(value["overall_stats"]["launch_time"].is_null());
    assert_eq!(super::health::of_report(&json), None);
}

/// Keys of the object that follows `before`, in the order of the text.
fn keys(json: &str, before: &str) -> Vec<String> {
    let at = json.find(before).unwrap() + before.len();
    let (mut depth, mut keys, mut rest) = (0, Vec::new(), &json[at..]);
    while let Some(c) = rest.chars().next() {
        match c {
            '{' | '[' => depth += 1,
            '}' | ']' => {
                depth -= 1;
                if depth == 0 {
                    break;
                }
            }
            '"' => {
                let mut reader = serde_json::Deserializer::from_str(rest).into_iter::<String>();
                let word = reader.next().unwrap().unwrap();
                rest = &rest[reader.byte_offset()..];
                if depth == 1 && rest.starts_with(':') {
                    keys.push(word);
                }
                continue;
            }
            _ => {}
        }
        rest = &rest[c.len_utf8()..];
    }
    keys
}

#[test]
fn the_json_report_has_the_reference_s_keys_in_its_order() {
    let json = json::render(&report());
    assert!(!json.contains('\n'));
    let starts_with = |keys: Vec<String>, expected: &str| {
        let expected: Vec<&str> = expected.split_whitespace().collect();
        assert_eq!(keys[..expected.len()], expected);
    };
    starts_with(
        keys(&json, ""),
        "launch_time user version revision server_host scalyr_server compression_type
         compression_level log_path config_status copying_manager_status monitor_manager_status
         python_version avg_status_report_duration overall_stats",
    );
    starts_with(
        keys(&json, "\"config_status\":"),
        "path additional_paths last_read_time status last_error last_good_read last_check_time not_acted_on",
    );
    starts_with(
        keys(&json, "\"copying_manager_status\":"),
        "total_bytes_uploaded total_errors health_check_result worker_sessions_health_check
         total_scan_iterations log_matchers workers total_rate_limited_time
         rate_limited_time_since_last_status total_read_time total_waiting_time
         total_blocking_response_time total_request_time total_pipelined_requests
         num_worker_sessions",
    );
    starts_with(
        keys(&json, "\"sessions\":["),
        "session_id pid total_bytes_uploaded last_success_time last_attempt_time last_attempt_size
         last_response last_response_status total_errors total_rate_limited_time
         rate_limited_time_since_last_status total_copy_iterations total_read_time
         total_waiting_time total_blocking_response_time total_request_time
         total_pipelined_requests health_check_result log_processors",
    );
    starts_with(
        keys(&json, "\"log_matchers\":["),
        "log_path is_glob last_check_time log_processors_status",
    );
    starts_with(
        keys(&json, "\"log_processors_status\":["),
        "log_path last_scan_time total_bytes_copied total_bytes_pending total_bytes_skipped
         skipped_new_bytes skipped_preexisting_bytes total_bytes_failed
         total_bytes_dropped_by_sampling total_lines_copied total_lines_dropped_by_sampling
         total_redactions size read sent acknowledged pending skipped state label last_error
         shaped resent",
    );
    starts_with(
        keys(&json, "\"monitors_status\":["),
        "monitor_name monitor_id monitor_short_hash stop_agent_on_failure reported_lines errors
         is_alive",
    );
    starts_with(
        keys(&json, "\"overall_stats\":"),
        "launch_time version num_watched_paths num_copying_paths num_running_monitors
         num_dead_monitor num_worker_sessions user_cpu system_cpu rss_size total_bytes_copied
         total_bytes_pending total_bytes_skipped skipped_new_bytes skipped_preexisting_bytes
         total_rate_limited_time total_bytes_subsampled total_bytes_failed total_redactions
         total_copy_requests_errors total_monitor_reported_lines total_monitor_errors
         total_requests_sent total_requests_failed total_request_bytes_sent
         total_compressed_request_bytes_sent total_response_bytes_received
         total_request_latency_secs total_connections_created total_scan_iterations
         total_read_time total_compression_time total_waiting_time total_blocking_response_time
         total_request_time total_pipelined_requests avg_bytes_produced_rate avg_bytes_copied_rate
         rate_limited_time_since_last_status avg_status_report_duration num_dead_monitors",
    );

    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    let copying = &value["copying_manager_status"];
    // the only session's keys are merged in
    assert_eq!(copying["last_response_status"], "success");
    assert_eq!(copying["session_id"], "default-0");
    let skipped = &copying["log_matchers"][1]["log_processors_status"][0];
    assert_eq!(skipped["total_bytes_skipped"], 25);
    assert_eq!(skipped["skipped_new_bytes"], 5);
    assert_eq!(skipped["skipped_preexisting_bytes"], 20);
    assert_eq!(skipped["skipped"]["copy_staleness_threshold"], 20);
    assert_eq!(skipped["state"], "unreadable");
}

#[test]
fn a_stuck_scan_is_seen_in_both_formats_beside_healthy_sessions() {
    let mut report = report();
    let copying = report.copying_manager_status.as_mut().unwrap();
    copying.health_check_result = super::health::scan(Some(0.0), 100.0, 60.0);
    for rendered in [text::render(&report), json::render(&report)] {
        assert_eq!(
            super::health::of_report(&rendered).unwrap(),
            "Failed, max time since last scan attempt (60.0 seconds) exceeded"
        );
    }
}

#[test]
fn numbers_that_json_lacks_do_not_break_the_report() {
    let mut report = report();
    report.now = f64::NAN;
    report.overall_stats.avg_bytes_copied_rate = f64::INFINITY;
    let value: serde_json::Value = serde_json::from_str(&json::render(&report)).unwrap();
    assert!(value["overall_stats"]["avg_bytes_copied_rate"].is_null());
    text::render(&report);
}

#[test]
fn a_name_or_an_answer_made_to_deceive_changes_neither_lines_nor_the_terminal() {
    let mut report = report();
    let copying = report.copying_manager_status.as_mut().unwrap();
    copying.log_matchers = vec![matcher(
        "/l/a\nHealth check: Good",
        false,
        vec![file("/l/\x1b]0;me\x07\nHealth check: Good", 1, 1)],
    )];
    let session = &mut copying.workers[0].sessions[0];
    session.last_response_status = Some("error".to_owned());
    session.last_response = Some("\x1b[2J\u{9b}31mnot found".to_owned());
    let text = text::render(&report);
    assert!(
        text.contains("Path /l/ ]0;me  Health check: Good: copied 1 bytes"),
        "{text}"
    );
    assert!(text.contains("Last copy response:                         [2J 31mnot found\n"));
    assert!(!text.contains(|c: char| c.is_control() && c != '\n'));
}

#[test]
fn what_nothing_acts_on_stands_with_the_configuration_in_80_columns() {
    let mut report = report();
    report.config_status.not_acted_on = vec![
        "monitor docker_monitor is not run: not part of this build (in /etc/agent.json, line 3, \
         column 5). Remove the entry."
            .to_owned(),
        "option x has no effect: of Python. It can be removed.".to_owned(),
    ];
    assert_eq!(
        between(&report, "parsed successfully)\n", "Last checked:"),
        "\
Not acted on:
  monitor docker_monitor is not run: not part of this build (in
    /etc/agent.json, line 3, column 5). Remove the entry.
  option x has no effect: of Python. It can be removed.
"
    );
}
