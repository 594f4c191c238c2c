//! A configuration that changes while the agent runs: nothing is lost or repeated, and a broken
//! one changes nothing.

mod common;

use common::{all_at_once, Load, Site};
use nix::sys::signal::Signal;
use receiver::Fault;
use std::time::Duration;

const RELOADED: &str = "Starting new copying and metrics threads";

/// A log that is written to all the while, and copied.
fn loaded() -> (Site, Load) {
    let mut site = Site::new();
    let mut numbers = site.numbers("app.log");
    numbers.write(100);
    site.copy("app.log").start();
    site.until_lines("app.log", 100);
    let load = Load::start(numbers, 20, Duration::from_millis(5), |_, _| ());
    (site, load)
}

#[track_caller]
fn nothing_is_lost_or_repeated(site: &mut Site, load: Load) {
    let numbers = load.stop();
    site.expect_exactly_once("app.log", numbers.all());
    site.assert_in_order("app.log");
    site.term();
    site.assert_exactly_once("app.log", numbers.all());
}

/// Changes something small, and waits until it is in force.
fn reload(site: &mut Site, round: usize, hup: bool) {
    site.set("max_request_spacing_interval", 0.2 + 0.001 * round as f64);
    site.write_config();
    if hup {
        site.signal(Signal::SIGHUP);
    }
    site.until_logged_times(RELOADED, round);
}

#[test]
fn reloads_under_load_lose_and_repeat_nothing() {
    all_at_once(&[true, false], |hup| {
        let (mut site, load) = loaded();
        for round in 1..=if hup { 15 } else { 4 } {
            reload(&mut site, round, hup);
        }
        nothing_is_lost_or_repeated(&mut site, load);
        // It never had to send anything again
        assert_eq!(site.receiver.counts().duplicates, 0);
    });
}

#[test]
fn reloads_under_load_with_rotation_lose_and_repeat_nothing() {
    let mut site = Site::new();
    let mut numbers = site.numbers("app.log");
    numbers.write(100);
    site.copy("app.log*").start();
    site.until_lines("app.log", 100);
    let load = Load::start(numbers, 20, Duration::from_millis(5), |numbers, burst| {
        if burst % 60 == 0 {
            numbers.rotate_by_rename(format!("app.log-{:09}", burst));
        }
    });
    for round in 1..=12 {
        reload(&mut site, round, true);
    }
    let numbers = load.stop();
    site.expect_exactly_once("app.log*", numbers.all());
    site.term();
    site.assert_exactly_once("app.log*", numbers.all());
}

#[test]
fn a_reload_while_the_server_answers_late_or_not_at_all_repeats_nothing() {
    all_at_once(&[false, true], |silent| {
        let (mut site, load) = loaded();
        // Set before: a change of it would itself be a reload
        for round in 1..=4 {
            let fault = if silent {
                Fault::cut_before_storing().until_cleared()
            } else {
                Fault::delayed(Duration::from_millis(700)).times(2)
            };
            let before = site.receiver.counts().faulted;
            site.receiver.fault(fault);
            site.until("it meets the fault", |s| s.counts().faulted > before);
            reload(&mut site, round, true);
            site.receiver.clear_faults();
        }
        nothing_is_lost_or_repeated(&mut site, load);
        assert_eq!(site.receiver.counts().duplicates, 0);
    });
}

#[test]
fn a_log_entry_that_is_added_and_removed_again() {
    let (mut site, load) = loaded();
    let mut second = site.numbers("second.log");
    second.write(200);
    site.copy("second.log").write_config();
    site.expect_exactly_once("second.log", 0..200);
    // Removed: its lines wait
    site.clear_logs().copy("app.log").write_config();
    site.until_logged_times(RELOADED, 2);
    second.write(100);
    site.until_requests(3);
    site.assert_exactly_once("second.log", 0..200);
    // Back again: they are not lost
    site.copy("second.log").write_config();
    site.expect_exactly_once("second.log", 0..300);
    nothing_is_lost_or_repeated(&mut site, load);
}

#[test]
fn an_entry_in_agent_d_is_seen() {
    let (mut site, load) = loaded();
    site.numbers("second.log").write(200);
    let entry = serde_json::json!({"logs": [{
        "path": site.log_path("second.log"), "copy_from_start": true,
        "attributes": {"parser": "fragment"},
    }]});
    site.write_fragment("second.json", &entry.to_string());
    site.expect_exactly_once("second.log", 0..200);
    nothing_is_lost_or_repeated(&mut site, load);
}

#[test]
fn changed_attributes_are_those_of_the_lines_from_then_on() {
    let (mut site, load) = loaded();
    for round in 1..=3 {
        let path = site.log_path("app.log");
        site.clear_logs().log(serde_json::json!({
            "path": path, "copy_from_start": true,
            "attributes": {"parser": "numbers", "round": round},
        }));
        site.write_config();
        site.signal(Signal::SIGHUP);
        site.until("the new attribute", |state| {
            let last = state.events().next_back();
            last.is_some_and(|event| event.attrs.get("round") == Some(&round.into()))
        });
    }
    nothing_is_lost_or_repeated(&mut site, load);
    // Each event has the old ones or the new ones, in this order
    let events = site.receiver.events();
    let rounds: Vec<i64> = events
        .iter()
        .map(|event| event.attrs.get("round").map_or(0, |v| v.as_i64().unwrap()))
        .collect();
    assert!(rounds.windows(2).all(|pair| pair[0] <= pair[1]));
    assert_eq!((rounds[0], rounds[rounds.len() - 1]), (0, 3));
    assert!(events
        .iter()
        .all(|event| event.attrs["parser"] == "numbers"));
}

#[test]
fn a_changed_api_key_is_that_of_the_requests_from_then_on() {
    let (mut site, load) = loaded();
    site.set("api_key", "another-key").write_config();
    site.until("the other key", |state| {
        let last = state.requests().next_back();
        last.is_some_and(|request| request.token == "another-key")
    });
    nothing_is_lost_or_repeated(&mut site, load);
    let requests = site.receiver.requests();
    let first_new = requests.iter().position(|r| r.token == "another-key");
    let (old, new) = requests.split_at(first_new.unwrap());
    assert!(old.iter().all(|request| request.token == "test-key"));
    assert!(new.iter().all(|request| request.token == "another-key"));
    let log = site.agent_log();
    assert!(!log.contains("test-key") && !log.contains("another-key"));
}

#[test]
fn a_broken_configuration_changes_nothing_and_shows_until_it_is_repaired() {
    let (mut site, load) = loaded();
    let good = site.config_text();
    // The command finds the agent by a configuration; what the agent has seen is what counts
    let copy = site.path("conf/copy.json");
    std::fs::write(&copy, &good).unwrap();
    for (round, broken) in [
        // Not whole, not an object, a wrong value, a pattern that means nothing
        good[..good.len() / 2].to_owned(),
        "[]".to_owned(),
        good.replacen("\"allow_http\": true", "\"allow_http\": 17", 1),
        good.replacen("\"api_key\"", "\"api_keyy\"", 1),
        String::new(),
    ]
    .into_iter()
    .enumerate()
    {
        assert_ne!(broken, good);
        site.write_config_text(&broken);
        site.signal(Signal::SIGHUP);
        site.until_logged_times("badConfigFile", round + 1);
        let status = site.run_with(&copy, &["status", "-v"]);
        assert!(
            status
                .out
                .contains("Bad (could not parse, using last good version)")
                && status.out.contains("Parsing error:"),
            "{broken}\n{status:?}\n{}",
            site.report()
        );
        // The old one goes on
        let so_far = load.written();
        site.until_lines("app.log", so_far + 100);
    }
    site.write_config_text(&good);
    site.until_logged("The configuration files are good again");
    let status = site.run(&["status", "-v"]);
    assert!(
        status.out.contains("Good (files parsed successfully)"),
        "{status:?}"
    );
    // And a change is taken again
    reload(&mut site, 1, true);
    nothing_is_lost_or_repeated(&mut site, load);
}

#[test]
fn a_reload_that_changes_nothing_restarts_nothing() {
    let (mut site, load) = loaded();
    for _ in 0..3 {
        site.write_config();
        site.signal(Signal::SIGHUP);
    }
    site.until_logged("Received signal to reload");
    site.until_requests(5);
    assert!(!site.agent_log().contains(RELOADED));
    nothing_is_lost_or_repeated(&mut site, load);
    assert_eq!(site.receiver.counts().connections, 1);
}
