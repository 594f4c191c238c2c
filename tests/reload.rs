//! A configuration that changes while the agent runs: nothing is lost or repeated, and a broken
//! one changes nothing.

mod common;

use common::{all_at_once, Load, Site};
use nix::sys::signal::Signal;
use receiver::Fault;
use serde_json::json;
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

/// Contents that the reload carries over are not in the journal of the other directory yet.
#[test]
fn positions_that_follow_into_another_data_directory_outlive_a_kill_there() {
    let (mut site, load) = loaded();
    let other = site.path("other");
    std::fs::create_dir(&other).unwrap();
    site.set("agent_data_path", other.to_str().unwrap())
        .write_config();
    site.until_logged_times(RELOADED, 1);
    site.until_requests(2);
    site.kill9();
    site.start();
    nothing_is_lost_or_repeated(&mut site, load);
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

/// The first file's account in the status report.
fn account(site: &Site, log: &str, what: &str) -> u64 {
    let status = site.status_json();
    let path = site.log_path(log);
    let matchers = status["copying_manager_status"]["log_matchers"].as_array();
    let mut files = matchers
        .unwrap()
        .iter()
        .flat_map(|matcher| matcher["log_processors_status"].as_array().unwrap());
    let file = files.find(|file| file["log_path"] == path.to_str().unwrap());
    file.map_or(0, |file| file[what].as_u64().unwrap())
}

/// Takes a change over, as many as before plus one.
fn take_over(site: &mut Site) {
    let before = site.agent_log().matches(RELOADED).count();
    site.write_config();
    site.signal(Signal::SIGHUP);
    site.until_logged_times(RELOADED, before + 1);
}

#[track_caller]
fn nothing_came_twice_or_was_lost(site: &mut Site, logs: &[(&str, u64)]) {
    site.receiver.clear_faults();
    for (log, lines) in logs {
        site.expect_exactly_once(log, 0..*lines);
    }
    site.term();
    for (log, lines) in logs {
        site.assert_exactly_once(log, 0..*lines);
    }
    assert_eq!(site.receiver.counts().duplicates, 0);
    let log = site.agent_log();
    assert!(!log.contains("are lost"), "{}", site.report());
    assert!(!log.contains("panicked"), "{}", site.report());
}

/// The text is nowhere but in the request that waits.
#[test]
fn a_reload_during_an_outage_reads_nothing_again() {
    let mut site = Site::new();
    let mut numbers = site.numbers("app.log");
    numbers.write(10);
    site.copy("app.log").start();
    site.until_lines("app.log", 10);
    outage_with(&mut site, &mut numbers, 400);
    let size = std::fs::metadata(site.log_path("app.log")).unwrap().len();
    site.until_seen("all is read", || account(&site, "app.log", "read") == size);
    std::fs::write(site.log_path("app.log"), "").unwrap();
    let path = site.log_path("app.log");
    for round in 1..=3 {
        site.clear_logs().log(serde_json::json!({
            "path": path, "copy_from_start": true, "attributes": {"round": round},
        }));
        site.copy("other.log");
        take_over(&mut site);
    }
    site.numbers("other.log").write(100);
    nothing_came_twice_or_was_lost(&mut site, &[("app.log", 410), ("other.log", 100)]);
    // Lines keep the attributes that they were read with
    let mut events = site.receiver.events().into_iter();
    assert!(events.all(|event| !event.attrs.contains_key("round")));
}

/// Begins an outage with lines that wait.
fn outage_with(site: &mut Site, numbers: &mut common::Numbers, lines: u64) {
    let fault = Fault::cut_before_storing().with_events_only();
    let before = site.receiver.counts().faulted;
    site.receiver.fault(fault.until_cleared());
    numbers.write(lines);
    site.until("a request fails", |state| state.counts().faulted > before);
}

/// Far more than two requests hold, in files that nobody can open any more.
#[test]
fn a_reload_keeps_deleted_files_open() {
    let mut site = Site::new();
    let mut numbers = site.numbers("app.log");
    numbers.write(10);
    site.set("max_allowed_request_size", 5_000);
    site.copy("app.log").start();
    site.until_lines("app.log", 10);
    outage_with(&mut site, &mut numbers, 2_000);
    let size = std::fs::metadata(site.log_path("app.log")).unwrap().len();
    site.until_seen("it is seen", || account(&site, "app.log", "size") == size);
    std::fs::remove_file(site.log_path("app.log")).unwrap();
    for round in 1..=3 {
        site.set(
            "max_request_spacing_interval",
            0.2 + 0.001 * f64::from(round),
        );
        take_over(&mut site);
    }
    nothing_came_twice_or_was_lost(&mut site, &[("app.log", 2_010)]);
}

#[test]
fn a_reload_with_another_key_makes_batches_again_and_loses_nothing() {
    let mut site = Site::new();
    let mut numbers = site.numbers("app.log");
    numbers.write(10);
    site.set("max_allowed_request_size", 20_000);
    site.copy("app.log").start();
    site.until_lines("app.log", 10);
    outage_with(&mut site, &mut numbers, 2_000);
    std::fs::remove_file(site.log_path("app.log")).unwrap();
    site.set("api_key", "another-key");
    take_over(&mut site);
    nothing_came_twice_or_was_lost(&mut site, &[("app.log", 2_010)]);
    let requests = site.receiver.requests().into_iter();
    let stored: Vec<_> = requests.filter(|request| request.stored).collect();
    let lines = |key: &str| {
        let of_key = stored.iter().filter(|request| request.token == key);
        of_key.map(|request| request.events).sum::<usize>()
    };
    assert_eq!((lines("test-key"), lines("another-key")), (10, 2_000));
}

#[test]
fn a_reload_that_changes_the_number_of_sessions_loses_and_repeats_nothing() {
    const LOGS: [&str; 8] = [
        "a.log", "b.log", "c.log", "d.log", "e.log", "f.log", "g.log", "h.log",
    ];
    let mut site = Site::new();
    let mut logs = LOGS.map(|name| site.numbers(name));
    for log in &mut logs {
        log.write(10);
    }
    site.set("max_allowed_request_size", 5_000);
    site.copy("*.log").start();
    site.until("the first lines", |state| state.counts().events == 80);
    outage_with(&mut site, &mut logs[0], 300);
    for log in &mut logs[1..] {
        log.write(300);
    }
    let size = std::fs::metadata(site.log_path("h.log")).unwrap().len();
    site.until_seen("all are seen", || account(&site, "h.log", "size") == size);
    // One that nobody can open any more
    std::fs::remove_file(site.log_path("h.log")).unwrap();
    for sessions in [3, 2, 5, 1] {
        site.set("default_sessions_per_worker", sessions);
        take_over(&mut site);
    }
    let all = LOGS.map(|name| (name, 310));
    nothing_came_twice_or_was_lost(&mut site, &all);
}

/// The totals of `status` go on over a reload, and count each line once.
#[test]
fn the_totals_go_on_over_a_reload() {
    let mut site = Site::new();
    let mut numbers = site.numbers("app.log");
    numbers.write(100);
    let mut gone = site.numbers("gone.log");
    gone.write(50);
    site.copy("app.log").copy("gone.log").start();
    site.expect_exactly_once("app.log", 0..100);
    site.expect_exactly_once("gone.log", 0..50);
    let copied = |site: &Site| {
        let total = site.status_json()["overall_stats"]["total_bytes_copied"].as_u64();
        total.unwrap()
    };
    let size = |name: &str, site: &Site| std::fs::metadata(site.log_path(name)).unwrap().len();
    let both = size("app.log", &site) + size("gone.log", &site);
    site.until_seen("both are counted", || copied(&site) == both);
    site.clear_logs().copy("app.log");
    for sessions in [1, 2, 1] {
        site.set("default_sessions_per_worker", sessions);
        site.set(
            "max_request_spacing_interval",
            0.2 + 0.001 * f64::from(sessions),
        );
        take_over(&mut site);
        assert_eq!(copied(&site), both);
        assert_eq!(account(&site, "app.log", "total_lines_copied"), 100);
    }
    numbers.write(10);
    site.expect_exactly_once("app.log", 0..110);
    let all = size("app.log", &site) + size("gone.log", &site);
    site.until_seen("the new lines are counted", || copied(&site) == all);
}

#[test]
fn a_wrong_expression_at_a_reload_is_named_with_its_place() {
    let mut site = Site::new();
    site.copy("app.log").start();
    site.until_logged("Copying started");
    let path = site.log_path("other.log");
    site.log(json!({"path": path, "redaction_rules": [{"match_expression": "a("}]}));
    site.write_config();
    site.signal(Signal::SIGHUP);
    site.until_logged("badConfigFile");
    let text = site.config_text();
    let line = 1 + text[..text.find("\"a(\"").unwrap()].matches('\n').count();
    let error = site.status_json()["config_status"]["last_error"].to_string();
    for part in [
        format!("agent.json, line {line}, column "),
        "logs[1].redaction_rules[0].match_expression".to_owned(),
        "at character 2 of `a(`".to_owned(),
    ] {
        assert!(error.contains(&part), "{part} is not in {error}");
    }
}
