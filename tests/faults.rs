//! A server that lies, hangs, sends half of an answer or 100 MB of one, while
//! lines are being written: each arrives exactly once, but for those that the server says to drop.

mod common;

use common::{all_at_once, Load, Site};
use receiver::{Fault, Options};
use serde_json::Value;
use std::fs;
use std::time::Duration;

type Make = fn() -> Fault;

/// A log that is written to all the while, and copied.
fn loaded() -> (Site, Load) {
    let mut site = Site::new();
    site.set("request_deadline", 1.5);
    let mut numbers = site.numbers("app.log");
    numbers.write(100);
    site.copy("app.log").start();
    site.until_lines("app.log", 100);
    let load = Load::start(numbers, 10, Duration::from_millis(5), |_, _| ());
    (site, load)
}

#[track_caller]
fn nothing_is_lost_or_repeated(site: &mut Site, load: Load) {
    let so_far = load.written();
    site.until_lines("app.log", so_far);
    let numbers = load.stop();
    site.expect_exactly_once("app.log", numbers.all());
    site.assert_in_order("app.log");
}

fn copying(status: &Value) -> &Value {
    &status["copying_manager_status"]
}

/// Meets each of the faults on its own: twice in a row, then once more after a success; each is
/// counted, and shown while it lasts.
fn survives(faults: &[(&'static str, Make)]) {
    all_at_once(faults, |(name, make)| {
        let (mut site, load) = loaded();
        let mut met = 0;
        for times in [2, 1] {
            met += times;
            site.receiver.fault(make().times(times).with_events_only());
            site.until(name, |state| state.counts().faulted >= met);
            let so_far = load.written();
            site.until_lines("app.log", so_far);
        }
        nothing_is_lost_or_repeated(&mut site, load);
        let status = site.status_json();
        let errors = copying(&status)["total_errors"].as_u64().unwrap();
        assert!(
            errors >= met,
            "{errors} errors are counted, not {met}: {name}"
        );
        assert_eq!(copying(&status)["last_response_status"], "success");
        let memory = site.peak_memory();
        assert!(memory < 64 << 20, "{name}: {memory} bytes");
        // A fault is no reason to end, and one line in agent.log says what it was
        site.term();
        let log = site.agent_log();
        assert!(
            log.contains("WARNING") || log.contains("ERROR"),
            "{name}\n{log}"
        );
        assert!(!log.contains("panicked"), "{name}\n{log}");
    });
}

fn answers(body: &str) -> Fault {
    Fault::body(200, body)
}

#[test]
fn statuses_of_proxies_and_overload() {
    survives(&[
        ("429", || Fault::status(429)),
        ("429 that says success", || {
            Fault::body(429, r#"{"status":"success"}"#)
        }),
        ("500", || Fault::status(500)),
        ("500 that says success", || {
            Fault::body(500, r#"{"status":"success"}"#)
        }),
        ("503", || Fault::status(503)),
        ("413", || Fault::status(413)),
        ("404", || Fault::status(404)),
        ("301", || {
            Fault::redirect(301, "http://127.0.0.1:9/elsewhere")
        }),
        ("307", || Fault::redirect(307, "/addEvents")),
    ]);
}

#[test]
fn answers_that_mean_nothing() {
    survives(&[
        ("text", || answers("hello")),
        ("garbage", || Fault::garbage(3000)),
        ("empty", Fault::empty),
        ("204", || Fault {
            status: Some(204),
            empty: true,
            ..Fault::default()
        }),
        ("another object", || answers(r#"{"foo":1}"#)),
        ("an array", || answers("[1]")),
        ("an array with status", || answers(r#"["status"]"#)),
        ("a string", || answers(r#""status""#)),
        ("a number", || answers("5")),
        ("null", || answers("null")),
    ]);
}

#[test]
fn answers_that_mean_something_else() {
    survives(&[
        ("null status", || answers(r#"{"status":null}"#)),
        ("number status", || answers(r#"{"status":5}"#)),
        ("backoff", || Fault::json("error/server/backoff")),
        ("badParam", || Fault {
            message: Some("what is this".into()),
            ..Fault::json("error/client/badParam")
        }),
        ("noPermission", || Fault {
            status: Some(401),
            ..Fault::json("error/client/noPermission")
        }),
        ("unknown", || Fault::json("error/server/somethingNew")),
        ("parseResponseFailed", || Fault::json("parseResponseFailed")),
        ("half JSON", || answers(r#"{"status":"succ"#)),
    ]);
}

#[test]
fn a_page_of_a_load_balancer_costs_no_line_of_a_log_that_is_truncated_meanwhile() {
    let mut site = Site::new();
    let mut numbers = site.numbers("app.log");
    numbers.write(10);
    site.copy("app.log").start();
    site.until_lines("app.log", 10);
    let page = Fault::status(503).with_events_only().until_cleared();
    site.receiver.fault(page);
    numbers.write(10);
    // They are in memory, and after the truncation nowhere else
    site.until("one answer", |state| state.counts().faulted > 0);
    numbers.truncate();
    site.until_logged("was truncated");
    let faulted = site.receiver.counts().faulted;
    site.until("two more", |state| state.counts().faulted >= faulted + 2);
    site.receiver.clear_faults();
    numbers.write(10);
    site.expect_exactly_once("app.log", 0..30);
}

#[test]
fn connections_that_break() {
    survives(&[
        ("cut before storing", Fault::cut_before_storing),
        ("cut after storing", Fault::cut_after_storing),
        ("half an answer", Fault::half_answer),
        ("an answer of 100 MB", || Fault::huge(100 << 20)),
        ("silence", Fault::silence),
        ("late by more than the deadline", || {
            Fault::delayed(Duration::from_secs(4))
        }),
        ("a byte now and then", || Fault {
            drip: Some(0.3),
            ..Fault::default()
        }),
    ]);
}

#[test]
fn answers_that_are_odd_but_good() {
    let odd: &[(&str, Make)] = &[
        ("closed after it, as told", || Fault {
            close: true,
            ..Fault::default()
        }),
        ("closed after it, without a word", || Fault {
            close_silently: true,
            ..Fault::default()
        }),
        ("slow", || Fault::delayed(Duration::from_millis(400))),
        ("in small pieces", || Fault {
            drip: Some(0.005),
            ..Fault::default()
        }),
    ];
    all_at_once(odd, |(name, make)| {
        let (mut site, load) = loaded();
        site.receiver.fault(make().times(4));
        site.until(name, |state| state.counts().faulted >= 4);
        nothing_is_lost_or_repeated(&mut site, load);
        // None of them was taken for a failure of the request
        assert_eq!(site.receiver.counts().duplicates, 0, "{name}");
    });
}

#[test]
fn a_server_that_is_slow_all_the_time() {
    let (mut site, load) = loaded();
    site.receiver
        .fault(Fault::delayed(Duration::from_millis(300)).until_cleared());
    site.until("some", |state| state.counts().faulted >= 8);
    nothing_is_lost_or_repeated(&mut site, load);
    assert_eq!(site.receiver.counts().duplicates, 0);
}

#[test]
fn a_body_that_the_server_does_not_read() {
    let (mut site, load) = loaded();
    let unread = Fault {
        unread: true,
        ..Fault::default()
    };
    site.receiver.fault(unread.times(2));
    site.until("it meets it twice", |state| state.counts().faulted >= 2);
    nothing_is_lost_or_repeated(&mut site, load);
}

#[test]
fn retry_after_is_kept_to() {
    all_at_once(&[429, 503], |status| {
        let (mut site, load) = loaded();
        site.receiver.fault(Fault::retry_after(status, "2"));
        site.until("it meets it", |state| state.counts().faulted >= 1);
        nothing_is_lost_or_repeated(&mut site, load);
        let requests = site.receiver.requests();
        let refused = requests.iter().position(|r| r.answer == status).unwrap();
        let pause = requests[refused + 1].at - requests[refused].at;
        // Not at once, and not after the back-off of its own choice alone
        assert!((1.9..15.0).contains(&pause), "{pause} s");
    });
}

fn outage(time: Duration) {
    let mut site = Site::new();
    let mut numbers = site.numbers("app.log");
    numbers.write(100);
    site.copy("app.log").start();
    site.until_lines("app.log", 100);
    let load = Load::start(numbers, 10, Duration::from_millis(10), |numbers, burst| {
        if burst % 100 == 0 {
            numbers.rotate_by_rename(format!("app.log-{burst:06}"));
        }
    });
    site.receiver.down();
    std::thread::sleep(time);
    let status = site.status_json();
    assert!(copying(&status)["last_error"].is_string(), "{status}");
    assert!(copying(&status)["next_retry_time"].is_number(), "{status}");
    site.receiver.up().unwrap();
    nothing_is_lost_or_repeated(&mut site, load);
    assert!(site.peak_memory() < 64 << 20);
    let log = site.agent_log();
    assert!(log.contains("the server takes requests again"), "{log}");
    // The trouble is told, not every attempt
    assert!(log.matches("cannot connect").count() <= 3, "{log}");
}

#[test]
fn an_outage_of_six_seconds() {
    outage(Duration::from_secs(6));
}

#[test]
#[ignore = "slow"]
fn an_outage_of_half_a_minute() {
    outage(Duration::from_secs(30));
}

/// Bytes of the lines with these numbers, of files that have them in order.
fn bytes_of(files: &[&str], site: &Site, wanted: impl Fn(u64) -> bool) -> u64 {
    let mut bytes = 0;
    let mut number = 0;
    for name in files {
        let text = fs::read_to_string(site.log_path(name)).unwrap();
        for line in text.split_inclusive('\n') {
            if wanted(number) {
                bytes += line.len() as u64;
            }
            number += 1;
        }
    }
    bytes
}

fn discard() -> Fault {
    Fault::json("error/server/discardBuffer").with_events_only()
}

#[test]
fn what_the_server_discards_is_counted_and_what_was_read_ahead_survives() {
    let mut site = Site::new();
    let mut numbers = site.numbers("app.log");
    numbers.write(100);
    site.copy("app.log").start();
    site.until_lines("app.log", 100);
    // Not together with the lines before
    site.until_requests(1);
    site.receiver
        .fault(discard().delay(Duration::from_millis(800)));
    numbers.write(50);
    site.until("the server has them", |state| state.counts().faulted == 1);
    // Written, and read, while the answer is awaited
    numbers.write(50);
    site.expect_all_but("app.log", 0..200, 100..150);
    let status = site.file_status("app.log").unwrap();
    let failed = bytes_of(&["app.log"], &site, |n| (100..150).contains(&n));
    assert_eq!(status["total_bytes_failed"], failed, "{status}");
    let text = site.status_v();
    assert!(text.contains(&format!("{failed} bytes failed")), "{text}");
    // They are settled: a restart does not bring them
    site.kill9();
    numbers.write(10);
    site.start();
    site.expect_all_but("app.log", 0..210, 100..150);
}

#[test]
fn discards_within_a_backlog_lose_what_they_name_and_nothing_else() {
    let mut site = Site::new();
    site.set("max_allowed_request_size", 50_000)
        .set("min_allowed_request_size", 10_000);
    let mut numbers = site.numbers("app.log");
    numbers.write(20_000);
    for skip in [2, 3, 7] {
        site.receiver.fault(discard().after(skip));
    }
    site.copy("app.log").start();
    let path = site.log_path("app.log").to_str().unwrap().to_owned();
    site.until("the last number", |state| {
        state
            .ledger()
            .path(&path)
            .is_some_and(|tally| tally.has(19_999))
    });
    let tally = site.tally("app.log");
    let missing = tally.missing(0..20_000);
    assert_eq!(missing.len(), 3, "{missing:?}\n{}", site.report());
    assert_eq!((tally.repeats, tally.unsealed, tally.backwards), (0, 0, 0));
    let failed = bytes_of(&["app.log"], &site, |n| {
        missing.iter().any(|gap| gap.contains(&n))
    });
    site.until_seen("all is settled", || {
        site.file_status("app.log").unwrap()["pending"] == 0
    });
    let status = site.file_status("app.log").unwrap();
    assert_eq!(status["total_bytes_failed"], failed, "{status}");
    site.assert_well_formed();
}

#[test]
fn a_server_that_takes_only_small_requests_gets_small_ones() {
    // Above the configured minimum, and below it
    all_at_once(&[150_000, 30_000], |limit| {
        let mut site = Site::with(Options {
            numbered: true,
            request_limit: limit,
            ..Options::default()
        });
        let mut numbers = site.numbers("app.log");
        numbers.write(10_000);
        site.copy("app.log").start();
        // Not `expect_exactly_once`: refusals for size are what this is about
        let path = site.log_path("app.log").to_str().unwrap().to_owned();
        site.until("all lines", |state| {
            state
                .ledger()
                .path(&path)
                .is_some_and(|tally| tally.seen >= 10_000)
        });
        let tally = site.tally("app.log");
        assert_eq!(tally.exactly_once(0..10_000), Ok(()), "{}", site.report());
        assert_eq!((tally.unsealed, tally.backwards), (0, 0));
        let counts = site.receiver.counts();
        assert!(counts.refused > 0 && counts.malformed + counts.problems == 0);
        // It learns: not every other request is refused
        assert!(counts.refused < 20, "{}", site.report());
    });
}

#[test]
fn an_event_that_the_server_never_takes_is_dropped_alone() {
    let mut site = Site::with(Options {
        numbered: true,
        request_limit: 20_000,
        ..Options::default()
    });
    let mut numbers = site.numbers("app.log");
    numbers.write(100);
    numbers = common::Numbers::starting_at(site.log_path("app.log"), 100).padded(40_000);
    numbers.write(1);
    numbers = numbers.padded(60);
    numbers.write(100);
    site.copy("app.log").start();
    let path = site.log_path("app.log").to_str().unwrap().to_owned();
    site.until("the lines around it", |state| {
        state
            .ledger()
            .path(&path)
            .is_some_and(|tally| tally.has(200))
    });
    let tally = site.tally("app.log");
    let gaps = tally.missing(0..201);
    assert!(gaps.iter().eq([&(100..101)]), "{gaps:?} {}", site.report());
    assert_eq!((tally.seen, tally.repeats, tally.unsealed), (200, 0, 0));
    site.until_logged("eventTooLarge");
    let status = site.file_status("app.log").unwrap();
    let failed = bytes_of(&["app.log"], &site, |n| n == 100);
    assert_eq!(status["total_bytes_failed"], failed, "{status}");
}

#[test]
fn one_fault_after_another_without_an_end() {
    let (mut site, load) = loaded();
    let faults: &[Make] = &[
        || Fault::status(503),
        Fault::cut_after_storing,
        || Fault::json("error/server/backoff"),
        Fault::half_answer,
        || Fault::json("error/client/requestTooLarge"),
        || Fault::status(429),
        Fault::cut_before_storing,
        || Fault {
            close_silently: true,
            ..Fault::default()
        },
        || Fault::garbage(100),
        || Fault::status(500).storing(),
        || Fault::json("parseResponseFailed").storing(),
    ];
    let mut met = 0;
    for round in 0..2 {
        for (n, make) in faults.iter().enumerate() {
            site.receiver
                .fault(make().with_events_only().after((n as u64 + round) % 2));
            met += 1;
        }
    }
    site.until("all of them", |state| state.counts().faulted >= met);
    nothing_is_lost_or_repeated(&mut site, load);
}
