use super::*;
use log::{Level, Log};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("agentlog-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        Scratch(dir)
    }

    fn settings(&self) -> LogSettings {
        LogSettings {
            dir: self.0.clone(),
            max_bytes: 20 << 20,
            backups: 2,
            stdout: None,
            debug_level: 0,
            debug_names: Vec::new(),
        }
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap_or_else(|_| "(none)".to_owned())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// An open log, and what reads its stdout.
fn open(settings: &LogSettings) -> (AgentLog, io::PipeReader) {
    let (reader, writer) = io::pipe().unwrap();
    let log = AgentLog::new(Outputs::new(Box::new(writer)));
    log.outputs().open(settings).unwrap();
    (log, reader)
}

fn say(log: &AgentLog, level: Level, target: &str, text: &str) {
    log.log(
        &log::Record::builder()
            .level(level)
            .target(target)
            .module_path(Some("scalyr_agent_2::tail::reader"))
            .line(Some(12))
            .args(format_args!("{text}"))
            .build(),
    );
}

/// The lines without their stamps, whose form is checked.
fn unstamped(text: &str) -> Vec<&str> {
    text.lines()
        .map(|line| {
            let (stamp, rest) = line.split_at(24);
            let form: String = stamp
                .chars()
                .map(|c| if c.is_ascii_digit() { '0' } else { c })
                .collect();
            assert_eq!(form, "0000-00-00 00:00:00.000Z");
            rest
        })
        .collect()
}

#[test]
fn records_have_the_form_that_the_server_parses() {
    let scratch = Scratch::new("form");
    let (log, _) = open(&scratch.settings());
    say(&log, Level::Info, "scalyr_agent_2::tail::reader", "hello");
    say(
        &log,
        Level::Warn,
        "core",
        "[error=\"requestFailed\"] no luck",
    );
    say(
        &log,
        Level::Error,
        "monitor:shell_monitor(2)",
        "two\n  lines",
    );
    let text = scratch.read("agent.log");
    let text = text.replace("\n  lines", " / lines");
    assert_eq!(
        unstamped(&text),
        [
            " INFO [core] [scalyr_agent.tail.reader:12] hello",
            " WARNING [core] [scalyr_agent.tail.reader:12] [error=\"requestFailed\"] no luck",
            " ERROR [monitor:shell_monitor(2)] [scalyr_agent.tail.reader:12] two / lines",
        ]
    );
}

#[test]
fn loggers_that_are_named_are_heard_at_any_level_and_no_others() {
    let scratch = Scratch::new("names");
    for (name, heard) in [
        ("scalyr_agent.tail", true),
        ("scalyr_agent.tail.reader", true),
        ("scalyr_agent.tai", false),
        ("scalyr_agent.upload", false),
        ("scalyr_agent.builtin_monitors.shell_monitor(2)", true),
        ("shell_monitor(2)", true),
        ("shell_monitor(1)", false),
    ] {
        let mut settings = scratch.settings();
        settings.debug_names = vec![name.to_owned()];
        let _ = fs::remove_file(scratch.0.join("agent_debug.log"));
        let (log, _) = open(&settings);
        say(&log, Level::Trace, "monitor:shell_monitor(2)", "fine");
        let text = scratch.read("agent_debug.log");
        assert_eq!(text.contains("fine"), heard, "{name}: {text}");
    }
}

#[test]
fn debug_records_go_to_their_own_file_only() {
    let scratch = Scratch::new("debug");
    let mut settings = scratch.settings();
    let (log, _) = open(&settings);
    say(&log, Level::Debug, "core", "too early");
    settings.debug_level = 1;
    log.outputs().reconfigure(&settings).unwrap();
    say(&log, Level::Debug, "core", "fine");
    say(&log, Level::Trace, "core", "too fine");
    say(&log, Level::Info, "core", "plain");
    log.outputs().set_debug_level(5);
    say(&log, Level::Trace, "core", "finest");
    log.outputs().set_debug_level(0);
    say(&log, Level::Debug, "core", "too late");
    assert_eq!(
        unstamped(&scratch.read("agent_debug.log")),
        [
            " DEBUG [core] [scalyr_agent.tail.reader:12] fine",
            " Level 7 [core] [scalyr_agent.tail.reader:12] finest",
        ]
    );
    assert_eq!(
        unstamped(&scratch.read("agent.log")),
        [" INFO [core] [scalyr_agent.tail.reader:12] plain"]
    );
}

#[test]
fn other_crates_cannot_spill_requests_into_the_log() {
    let scratch = Scratch::new("foreign");
    let mut settings = scratch.settings();
    settings.debug_level = 5;
    let (log, _) = open(&settings);
    for level in [Level::Trace, Level::Debug, Level::Info] {
        say(&log, level, "ureq::unversioned", "token=secret");
    }
    say(&log, Level::Warn, "ureq::unversioned", "slow");
    assert_eq!(scratch.read("agent.log").lines().count(), 1);
    assert_eq!(scratch.read("agent_debug.log"), "(none)");
}

#[test]
fn stdout_gets_what_its_severity_lets_through() {
    for (name, shown) in [
        ("notset", "abcd"),
        ("DEBUG", "abcd"),
        ("INFO", "bcd"),
        ("warn", "cd"),
        ("ERROR", "d"),
        ("fatal", ""),
    ] {
        let scratch = Scratch::new("severity");
        let mut settings = scratch.settings();
        settings.stdout = Severity::parse(name);
        assert!(settings.stdout.is_some());
        settings.debug_level = 1;
        let (log, mut stdout) = open(&settings);
        say(&log, Level::Debug, "core", "a");
        say(&log, Level::Info, "core", "b");
        say(&log, Level::Warn, "core", "c");
        say(&log, Level::Error, "core", "d");
        drop(log);
        let mut text = String::new();
        stdout.read_to_string(&mut text).unwrap();
        let letters: String = text
            .lines()
            .filter_map(|line| line.chars().last())
            .collect();
        assert_eq!(letters, shown, "{name}");
        assert_eq!(scratch.read("agent.log").lines().count(), 3);
    }
    assert_eq!(Severity::parse("LOUD"), None);
}

#[test]
fn a_storm_of_records_is_bounded_and_announced() {
    let scratch = Scratch::new("storm");
    let mut settings = scratch.settings();
    settings.stdout = Some(Severity::Error);
    settings.debug_level = 1;
    let (log, mut stdout) = open(&settings);
    let padding = "x".repeat(900);
    for _ in 0..1000 {
        say(&log, Level::Warn, "core", &padding);
        say(&log, Level::Debug, "core", "as many as you like");
    }
    let text = scratch.read("agent.log");
    // The burst, and what came back while the test ran.
    assert!((90_000..150_000).contains(&text.len()), "{}", text.len());
    let dropped = log.outputs().stats().dropped;
    assert!(dropped > 800, "{dropped}");
    assert_eq!(scratch.read("agent_debug.log").lines().count(), 1000);
    // Until the bucket holds enough for it:
    while !scratch.read("agent.log").ends_with(" after\n") {
        say(&log, Level::Error, "core", "after");
        std::thread::yield_now();
    }
    drop(log);
    let text = scratch.read("agent.log");
    let mut last = text.lines().rev();
    assert!(last.next().unwrap().ends_with(" after"));
    let marker = last.next().unwrap();
    assert!(
        marker.starts_with(".... Warning, skipped writing "),
        "{marker}"
    );
    assert!(marker.ends_with(" log lines due to limit set by `monitor_log_write_rate` option..."));
    let mut copy = String::new();
    stdout.read_to_string(&mut copy).unwrap();
    assert_eq!(copy.lines().count(), 2, "the marker and the record: {copy}");
}

#[test]
fn rotation_keeps_so_many_old_files() {
    let scratch = Scratch::new("rotation");
    let mut settings = scratch.settings();
    settings.max_bytes = 200;
    let (log, _) = open(&settings);
    for n in 0..20 {
        say(&log, Level::Info, "core", &format!("record {n}"));
    }
    let names = || {
        let mut names: Vec<_> = fs::read_dir(&scratch.0)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(), ["agent.log", "agent.log.1", "agent.log.2"]);
    for name in names() {
        assert!(scratch.read(&name).len() < 200);
    }
    assert!(scratch.read("agent.log").ends_with("record 19\n"));
    // a reload changes the limit at once
    settings.max_bytes = 0;
    log.outputs().reconfigure(&settings).unwrap();
    for n in 20..40 {
        say(&log, Level::Info, "core", &format!("record {n}"));
    }
    assert!(scratch.read("agent.log").lines().count() >= 20);
}

#[test]
fn a_full_disk_does_not_stop_the_agent() {
    let scratch = Scratch::new("full");
    std::os::unix::fs::symlink("/dev/full", scratch.0.join("agent.log")).unwrap();
    let (log, _) = open(&scratch.settings());
    for _ in 0..3 {
        say(&log, Level::Error, "core", "lost");
    }
    assert_eq!(log.outputs().stats().lost, 3);
    // There is room again, here in another directory.
    let mut settings = scratch.settings();
    settings.dir = scratch.0.join("roomy");
    fs::create_dir(&settings.dir).unwrap();
    log.outputs().reconfigure(&settings).unwrap();
    say(&log, Level::Info, "core", "back");
    let text = scratch.read("roomy/agent.log");
    let lines = unstamped(&text);
    assert!(lines[0].starts_with(" WARNING [core] [scalyr_agent.logging:"));
    assert!(lines[0].contains("] 3 records are missing here: No space left on device"));
    assert!(lines[1].ends_with("] back"));
    assert_eq!(lines.len(), 2);
    assert_eq!(log.outputs().stats().lost, 3, "still counted");
}

#[test]
fn a_directory_that_cannot_be_used_leaves_the_old_log_in_place() {
    let scratch = Scratch::new("no-dir");
    let mut settings = scratch.settings();
    let (log, _) = open(&settings);
    settings.dir = scratch.0.join("nowhere");
    let error = log.outputs().reconfigure(&settings).unwrap_err();
    assert!(error.to_string().contains("nowhere/agent.log"), "{error}");
    say(&log, Level::Info, "core", "still here");
    assert!(scratch.read("agent.log").ends_with("still here\n"));
}

#[test]
fn a_vanished_directory_does_not_stop_the_agent() {
    let scratch = Scratch::new("vanished");
    let mut settings = scratch.settings();
    settings.dir = scratch.0.join("d");
    fs::create_dir(&settings.dir).unwrap();
    // so small that each record looks for a fresh file
    settings.max_bytes = 10;
    let (log, _) = open(&settings);
    say(&log, Level::Info, "core", "a");
    fs::remove_dir_all(&settings.dir).unwrap();
    for _ in 0..50 {
        say(&log, Level::Info, "core", "b");
    }
    assert!(log.outputs().stats().lost >= 50);
    assert!(!Path::new(&settings.dir).exists());
}

#[test]
fn the_size_before_the_first_record_is_known() {
    let scratch = Scratch::new("size");
    fs::write(scratch.0.join("agent.log"), "old line\n").unwrap();
    let (_, writer) = io::pipe().unwrap();
    let log = AgentLog::new(Outputs::new(Box::new(writer)));
    assert_eq!(log.outputs().open(&scratch.settings()).unwrap(), 9);
}

#[test]
fn many_threads_write_whole_records() {
    let scratch = Scratch::new("threads");
    let (log, _) = open(&scratch.settings());
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let log = &log;
            scope.spawn(move || {
                for n in 0..100 {
                    say(log, Level::Info, "core", &format!("<{thread}-{n}>"));
                }
            });
        }
    });
    let text = scratch.read("agent.log");
    let mut seen: Vec<_> = unstamped(&text)
        .into_iter()
        .map(|line| line.rsplit(' ').next().unwrap().to_owned())
        .collect();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 800);
}

/// Logs while it is being formatted.
struct Awkward<'a>(&'a AgentLog);

impl fmt::Display for Awkward<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        say(self.0, Level::Info, "core", "inner");
        f.write_str("outer")
    }
}

#[test]
fn a_record_that_logs_while_it_is_formatted_does_not_deadlock() {
    let scratch = Scratch::new("awkward");
    let (log, _) = open(&scratch.settings());
    say(&log, Level::Info, "core", &Awkward(&log).to_string());
    log.log(
        &log::Record::builder()
            .level(Level::Info)
            .target("core")
            .args(format_args!("{}", Awkward(&log)))
            .build(),
    );
    assert_eq!(scratch.read("agent.log").matches("inner").count(), 2);
    assert_eq!(scratch.read("agent.log").matches("outer").count(), 2);
}
