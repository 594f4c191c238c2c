//! The first things a user would fear, with the whole agent as a process.

mod common;

use common::Site;
use receiver::Fault;
use std::time::Duration;

#[test]
fn lines_arrive_once_and_in_order() {
    let mut site = Site::new();
    let mut numbers = site.numbers("app.log");
    numbers.write(1000);
    site.copy("*.log").start();
    site.until_lines("app.log", 1000);
    for _ in 0..20 {
        numbers.write(50);
    }
    site.expect_exactly_once("app.log", 0..2000);
    site.assert_in_order("app.log");

    let events = site.receiver.events();
    let path = site.log_path("app.log");
    for event in &events {
        assert_eq!(event.attrs["parser"], "numbers");
        assert_eq!(event.attrs["logfile"], path.to_str().unwrap());
        assert!(event.si.is_some() && event.sn.is_some());
    }
    assert!(events.windows(2).all(|pair| pair[0].ts <= pair[1].ts));
    let request = &site.receiver.requests()[0];
    assert_eq!(request.token, "test-key");
    let host = request.session_info.as_ref().unwrap();
    assert_eq!(host["serverHost"], "test-host");

    site.term();
    site.assert_exactly_once("app.log", 0..2000);
}

#[test]
fn nothing_is_skipped_when_the_server_is_down_at_start() {
    let mut site = Site::new();
    let mut numbers = site.numbers("app.log");
    numbers.write(500);
    site.receiver.down();
    site.copy("app.log").start();
    // It has tried, and failed
    site.until_logged("client/connectionFailed");
    numbers.write(500);
    site.receiver.up().unwrap();
    site.expect_exactly_once("app.log", 0..1000);
    site.assert_in_order("app.log");
}

#[test]
fn an_answer_that_is_lost_repeats_nothing() {
    let mut site = Site::new();
    let mut numbers = site.numbers("app.log");
    site.copy("app.log").start();
    for _ in 0..3 {
        let before = site.receiver.counts().duplicates;
        site.receiver
            .fault(Fault::cut_after_storing().with_events_only());
        numbers.write(100);
        // Stored, not acknowledged, sent again, known by its sequence id
        site.until("a resend", |state| state.counts().duplicates > before);
    }
    site.expect_exactly_once("app.log", 0..300);
    assert_eq!(site.receiver.counts().duplicates, 300);
    // A restart goes on where it ended
    site.term();
    numbers.write(10);
    site.start();
    site.expect_exactly_once("app.log", 0..310);
    let idle = site.receiver.counts().requests;
    site.until("it is idle", |state| state.counts().requests > idle);
    site.receiver
        .fault(Fault::delayed(Duration::from_millis(50)));
    site.term();
    site.assert_exactly_once("app.log", 0..310);
}
