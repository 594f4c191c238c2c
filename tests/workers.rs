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
    // What the sessions remember is one checkpoint file, and every position is in it
    for n in 0..FILES {
        site.append(&format!("{n}.log"), "after the restart\n");
    }
    site.start();
    site.until("the new lines", |state| state.counts().events == 2 * FILES);
    site.term();
    assert_eq!(site.receiver.counts().events, 2 * FILES);
    assert_eq!(site.receiver.counts().duplicates, 0);
}
