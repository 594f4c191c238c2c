//! Several keys, servers and sessions: each sends for itself, and none holds another up.

mod common;

use common::Site;
use receiver::{Options, Receiver};
use serde_json::json;
use std::collections::HashSet;
use std::time::Duration;

#[test]
fn a_server_that_hangs_does_not_delay_another_workers_lines() {
    let other = Receiver::start(Options::default()).unwrap();
    let mut site = Site::new();
    let mut ours = site.numbers("ours.log");
    let mut theirs = site.numbers("theirs.log");
    ours.write(100);
    theirs.write(100);
    site.set(
        "workers",
        json!([{"id": "slow", "api_key": "slow-key", "server_url": other.url()}]),
    );
    site.copy("ours.log");
    let path = site.log_path("theirs.log");
    site.log(json!({"path": path, "copy_from_start": true, "worker_id": "slow"}));
    other.fault(receiver::Fault::silence().until_cleared());
    site.start();
    site.expect_exactly_once("ours.log", 0..100);
    ours.write(100);
    site.expect_exactly_once("ours.log", 0..200);
    assert_eq!(other.counts().events, 0);
    other.clear_faults();
    let arrived = other.wait_until(Duration::from_secs(30), |state| {
        state.counts().events == 100
    });
    assert!(arrived, "{:?}", other.counts());
    assert_eq!(other.requests()[0].token, "slow-key");
    let paths: HashSet<_> = other.events().iter().map(|e| e.path.clone()).collect();
    assert_eq!(paths.len(), 1);
}

#[test]
fn the_files_of_a_worker_are_spread_over_its_sessions_and_each_arrives_once() {
    const FILES: u64 = 60;
    let mut site = Site::new();
    site.set("default_sessions_per_worker", 3);
    for n in 0..FILES {
        site.append(&format!("{n}.log"), format!("one line of {n}\n"));
    }
    site.copy("*.log").start();
    site.until("all lines", |state| state.counts().events == FILES);
    // Each session has an id of its own, and its fair part of the files
    let requests = site.receiver.requests();
    let sessions: HashSet<&str> = requests.iter().map(|r| r.session.as_str()).collect();
    assert_eq!(sessions.len(), 3);
    for session in sessions {
        let events: usize = requests
            .iter()
            .filter(|r| r.session == session)
            .map(|r| r.events)
            .sum();
        assert!((8..40).contains(&events), "{events} of {FILES} files");
    }
    site.term();
    assert_eq!(site.receiver.counts().duplicates, 0);
    // All sessions remember in one checkpoint file, and every position is in it
    for n in 0..FILES {
        site.append(&format!("{n}.log"), "after the restart\n");
    }
    site.start();
    site.until("the new lines", |state| state.counts().events == 2 * FILES);
    site.term();
    assert_eq!(site.receiver.counts().events, 2 * FILES);
    assert_eq!(site.receiver.counts().duplicates, 0);
}

/// The sums of `status`: every byte of a file is acknowledged, waits, or is dropped by a named
/// reason; what was sent more than once is told.
#[test]
fn status_accounts_for_every_byte() {
    let mut site = Site::new();
    let mut numbers = site.numbers("app.log");
    numbers.write(300);
    let path = site.log_path("app.log");
    site.log(json!({
        "path": path, "copy_from_start": true,
        "sampling_rules": [{"match_expression": "n=0001", "sampling_rate": 0}],
        "redaction_rules": [{"match_expression": "e=", "replacement": "E="}],
    }));
    site.receiver.fault(receiver::Fault::status(500).times(2));
    site.start();
    site.until("the lines that are not sampled out", |state| {
        state.counts().events == 200
    });
    let size = std::fs::metadata(&path).unwrap().len();
    let mut file = serde_json::Value::Null;
    site.until_seen("all settled", || {
        let status = site.status_json();
        file =
            status["copying_manager_status"]["log_matchers"][0]["log_processors_status"][0].clone();
        file["acknowledged"] == size
    });
    let number = |name: &str| file[name].as_u64().unwrap();
    assert_eq!(number("read"), size);
    assert_eq!(number("pending"), 0);
    // Redaction keeps the length here, so messages and bytes of the file are the same
    assert_eq!(
        number("total_bytes_copied") + number("total_bytes_dropped_by_sampling"),
        size
    );
    assert_eq!(number("total_lines_copied"), 200);
    assert_eq!(number("total_lines_dropped_by_sampling"), 100);
    assert_eq!(number("total_redactions"), 200);
    assert_eq!(number("resent"), 2 * number("total_bytes_copied"));
}
