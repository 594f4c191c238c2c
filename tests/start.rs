//! Where copying starts, with the agent as a process: what is there before the
//! first start, what comes later, what comes while the agent is away.

mod common;

use common::{all_at_once, Agent, Site};
use serde_json::{json, Value};
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// An entry that does not ask for what is there already.
fn follow(site: &mut Site, pattern: &str) {
    let path = site.log_path(pattern);
    site.log(json!({"path": path, "attributes": {"parser": "numbers"}}));
}

/// Waits until every log's start is fixed.
fn started(site: &Site, times: usize) {
    site.until_logged_times("Copying started", times);
}

#[test]
fn the_first_start_begins_at_the_end_and_misses_nothing_after_it() {
    let mut site = Site::new();
    let mut numbers = site.numbers("app.log");
    numbers.write(100);
    follow(&mut site, "app.log");
    site.start();
    started(&site, 1);
    // At once: there is no time in which lines go unseen
    numbers.write(50);
    site.expect_all_but("app.log", 0..150, 0..100);
    let length = fs::metadata(numbers.path()).unwrap().len();
    site.until_seen("the position is that of the last line", || {
        let status = site.file_status("app.log").unwrap();
        status["acknowledged"] == length && status["total_lines_copied"] == 50
    });
    for agent in [Agent::Stopped, Agent::Killed] {
        site.meanwhile(agent, &mut numbers, 10, |_| ());
        site.expect_all_but("app.log", numbers.all(), 0..100);
    }
}

#[test]
fn what_the_first_start_left_out_does_not_come_with_the_second() {
    all_at_once(&[Agent::Stopped, Agent::Killed], |agent| {
        let mut site = Site::new();
        let mut numbers = site.numbers("app.log");
        numbers.write(100);
        follow(&mut site, "app.log");
        site.start();
        started(&site, 1);
        // Not one line came in the first run
        site.meanwhile(agent, &mut numbers, 30, |_| ());
        site.expect_all_but("app.log", 0..130, 0..100);
    });
}

#[test]
fn found_while_running_is_copied_from_its_start() {
    let mut site = Site::new();
    site.numbers("old-1.log").write(10);
    follow(&mut site, "*-1.log");
    follow(&mut site, "literal.log");
    site.start();
    started(&site, 1);
    for name in ["new-1.log", "literal.log"] {
        let mut numbers = site.numbers(name);
        numbers.write(50);
        site.expect_exactly_once(name, 0..50);
        site.meanwhile(Agent::Killed, &mut numbers, 10, |_| ());
        site.expect_exactly_once(name, 0..60);
    }
    assert_eq!(site.tally("old-1.log").seen, 0);
}

#[test]
fn created_while_the_agent_was_away_is_copied_from_its_start() {
    all_at_once(&[Agent::Stopped, Agent::Killed], |agent| {
        let mut site = Site::new();
        let mut old = site.numbers("old-1.log");
        old.write(10);
        follow(&mut site, "*-1.log");
        follow(&mut site, "literal.log");
        site.start();
        started(&site, 1);
        let literal = site.log_path("literal.log");
        let new = site.log_path("new-1.log");
        site.meanwhile(agent, &mut old, 10, |_| {
            for path in [literal, new] {
                common::Numbers::new(path).write(40);
            }
        });
        site.expect_exactly_once("literal.log", 0..40);
        site.expect_exactly_once("new-1.log", 0..40);
        site.expect_all_but("old-1.log", 0..20, 0..10);
    });
}

#[test]
fn from_the_start_where_the_entry_says_so() {
    let mut site = Site::new();
    site.numbers("all.log").write(100);
    site.numbers("tail.log").write(100);
    follow(&mut site, "tail.log");
    site.copy("all.log").start();
    site.expect_exactly_once("all.log", 0..100);
    assert_eq!(site.tally("tail.log").seen, 0);
}

#[test]
fn an_entry_that_a_reload_adds_begins_at_the_end_of_what_is_there() {
    let mut site = Site::new();
    let mut first = site.numbers("first.log");
    let mut second = site.numbers("second.log");
    let mut third = site.numbers("third.log");
    for numbers in [&mut first, &mut second, &mut third] {
        numbers.write(50);
    }
    site.copy("first.log").start();
    site.until_lines("first.log", 50);
    follow(&mut site, "second.log");
    site.copy("third.log").write_config();
    started(&site, 2);
    for numbers in [&mut first, &mut second, &mut third] {
        numbers.write(50);
    }
    site.expect_exactly_once("first.log", 0..100);
    site.expect_exactly_once("third.log", 0..100);
    site.expect_all_but("second.log", 0..100, 0..50);
}

/// The position of a checkpoint is good however old the checkpoint is.
#[test]
fn a_week_old_checkpoint_is_continued() {
    let mut site = Site::new();
    let mut numbers = site.numbers("app.log");
    numbers.write(100);
    follow(&mut site, "*.log");
    site.start();
    started(&site, 1);
    numbers.write(20);
    site.expect_all_but("app.log", 0..120, 0..100);
    site.term();
    let checkpoint = site.path("data/checkpoints.json");
    let mut saved: Value = serde_json::from_slice(&fs::read(&checkpoint).unwrap()).unwrap();
    make_older(&mut saved, 7.0 * 86_400.0);
    fs::write(&checkpoint, saved.to_string()).unwrap();
    numbers.write(30);
    site.start();
    site.expect_all_but("app.log", 0..150, 0..100);
}

fn make_older(value: &mut Value, seconds: f64) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value.as_f64() {
                    Some(time) if key == "time" => *value = json!(time - seconds),
                    _ => make_older(value, seconds),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|v| make_older(v, seconds)),
        _ => {}
    }
}

#[test]
fn the_agents_own_log_is_copied_from_the_lines_of_this_start() {
    let mut site = Site::new();
    site.set("implicit_agent_log_collection", true);
    fs::write(site.path("log/agent.log"), "a line of an earlier life\n").unwrap();
    let path = site.path("log/agent.log").to_str().unwrap().to_owned();
    let starts = |site: &Site| {
        let lines = site.receiver.lines_of(&path);
        assert!(!lines.iter().any(|line| line.contains("earlier life")));
        let starts = lines
            .iter()
            .filter(|line| line.contains("Starting scalyr agent"));
        starts.count()
    };
    for run in 1..=3 {
        site.start();
        site.until("the first line of this start", |state| {
            let lines = state.lines_of(&path);
            lines
                .iter()
                .filter(|l| l.contains("Starting scalyr agent"))
                .count()
                >= run
        });
        assert_eq!(starts(&site), run);
        if run == 1 {
            site.kill9();
        } else {
            site.term();
        }
    }
    // The lines that were written are those that arrived, but for the end of the last run
    let sent: String = site.receiver.lines_of(&path).concat();
    let written = site.agent_log();
    let written = written.strip_prefix("a line of an earlier life\n").unwrap();
    assert!(
        written.starts_with(&sent),
        "{sent}\n--- is not the start of:\n{written}"
    );
    let event = &site.receiver.events()[0];
    assert_eq!(event.attrs["parser"], "scalyrAgentLog");
}

/// Asserts that a command named a checkpoint that may not be read, and left the file as it was.
fn refused(said: &common::Said, file: &std::path::Path) {
    let name = file.display().to_string();
    assert_eq!(said.code, 1, "{said:?}");
    assert!(
        said.err.contains(&name) && said.err.contains("Permission denied"),
        "{said:?}"
    );
    assert!(fs::metadata(file).is_ok_and(|meta| meta.len() > 0));
}

#[test]
fn a_checkpoint_that_may_not_be_read_is_not_taken_for_none() {
    let mut site = Site::new();
    if nix::unistd::geteuid().is_root() && !site.respect_modes() {
        eprintln!("skipped: root reads everything here");
        return;
    }
    let mut numbers = site.numbers("app.log");
    numbers.write(100);
    follow(&mut site, "app.log");
    site.start();
    started(&site, 1);
    numbers.write(10);
    site.until_lines("app.log", 10);
    site.term();
    numbers.write(10);
    let file = site.path("data/checkpoints.json");
    let close = |mode| {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(&file, mode).unwrap();
    };
    close(0o000);
    let start = ["start", "--no-fork", "--no-change-user"];
    let said = site.run(&start);
    refused(&said, &file);
    assert!(said.err.contains("--ignore-positions"), "{said:?}");
    let path = site.log_path("app.log");
    let path = path.to_str().unwrap();
    let said = site.run(&["dry-run", "--from-checkpoint", "--no-change-user", path]);
    refused(&said, &file);
    assert_eq!(said.out, "");
    let said = site.run(&["explain", "--no-change-user", path]);
    assert!(said.err.contains("Permission denied"), "{said:?}");
    assert!(said.out.contains("not known"), "{said:?}");
    assert!(!said.out.contains("none knows the path"), "{said:?}");
    let said = site.run(&["check", "--no-change-user"]);
    assert!(said.out.contains("Permission denied"), "{said:?}");
    // Mended, it goes on where it was
    close(0o600);
    site.start();
    started(&site, 2);
    site.expect_all_but("app.log", 0..120, 0..100);
    // An agent that runs is not stopped if it could not start again
    numbers.write(10);
    site.until_lines("app.log", 30);
    close(0o000);
    let said = site.run(&["restart", "--no-change-user", "--no-check-remote-server"]);
    refused(&said, &file);
    assert!(!site.has_ended());
    close(0o600);
}

#[test]
fn positions_that_are_given_up_are_set_aside_and_named() {
    let mut site = Site::new();
    let mut numbers = site.numbers("app.log");
    follow(&mut site, "app.log");
    numbers.write(10);
    site.start();
    started(&site, 1);
    site.term();
    numbers.write(10);
    site.start_with(&["--ignore-positions"]);
    started(&site, 2);
    numbers.write(10);
    site.expect_all_but("app.log", 0..30, 0..20);
    let status = site.status_json();
    let notes = status["at_a_glance"]["checkpoints"].as_array().unwrap();
    // the file and its copy
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert!(site.status_v().contains(".ignored-"));
    assert!(site.agent_log().contains("--ignore-positions"));
    site.term();
    let names = fs::read_dir(site.path("data")).unwrap();
    let names = names.map(|e| e.unwrap().file_name().into_string().unwrap());
    assert_eq!(names.filter(|n| n.contains(".ignored-")).count(), 2);
    // and only that once
    numbers.write(10);
    site.start();
    site.expect_all_but("app.log", 0..40, 0..20);
}

#[test]
fn a_damaged_checkpoint_is_set_aside_and_named_in_the_status() {
    let mut site = Site::new();
    let mut numbers = site.numbers("app.log");
    numbers.write(10);
    site.copy("app.log").start();
    site.until_lines("app.log", 10);
    site.term();
    fs::write(site.path("data/checkpoints.json"), "{\"torn").unwrap();
    numbers.write(10);
    site.start();
    // from the copy
    site.expect_exactly_once("app.log", 0..20);
    assert!(site.status_v().contains(".damaged-"));
    assert!(site.agent_log().contains("set aside as"));
}
