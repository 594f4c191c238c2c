//! Files that are not only appended to: written anew, overwritten in place, with an end that is taken
//! back, deleted while they wait. All lines arrive, and the agent stays responsive and idle.

mod common;

use common::{all_at_once, lines, Site, Told, ANY, STOP};
use nix::mount::{mount, umount2, MntFlags, MsFlags};
use nix::sys::signal::Signal;
use receiver::Fault;
use std::fs::{self, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// The lines of a report differ from those of another day only near their beginnings.
fn report(day: u32, volumes: usize) -> Vec<String> {
    let line = |n| {
        format!(
            "2026-11-{day:02} volume {n:02} was saved, its checksum is as the catalogue has it: ok"
        )
    };
    (1..=volumes).map(line).collect()
}

#[test]
fn a_report_that_is_written_anew_with_one_line_more_arrives_whole() {
    all_at_once(&ANY, |agent| {
        let mut site = Site::new();
        let mut told = Told::new();
        told.rewrite(&site, "backup.log", &report(1, 20));
        site.copy("backup.log").start();
        told.expect(&mut site);
        for day in 2..5 {
            site.leave(agent);
            told.rewrite(&site, "backup.log", &report(day, 19 + day as usize));
            site.come_back(agent);
            told.expect(&mut site);
        }
        told.expect_for_good(&mut site);
    });
}

#[test]
fn an_unfinished_end_that_is_taken_back_repeats_nothing() {
    let mut site = Site::new();
    let mut told = Told::new();
    told.append(&site, "app.log", &lines("all day", 100));
    site.copy("app.log").start();
    told.expect(&mut site);
    let path = site.log_path("app.log");
    let length = fs::metadata(&path).unwrap().len();
    site.append("app.log", "half a li");
    site.until_seen("the end was seen", || {
        site.file_status("app.log")
            .is_some_and(|file| file["size"] == length + 9)
    });
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(length).unwrap();
    site.until_seen("that it is gone was seen", || {
        site.file_status("app.log")
            .is_some_and(|file| file["size"] == length)
    });
    told.append(&site, "app.log", &["the line after it"]);
    told.expect_for_good(&mut site);
}

/// Overwrites a file's beginning, as `dd conv=notrunc` does.
fn overwrite(site: &Site, told: &mut Told, name: &str, text: &[String]) {
    let file = OpenOptions::new().write(true).open(site.log_path(name));
    let text_with_ends: String = text.iter().map(|line| format!("{line}\n")).collect();
    file.unwrap().write_all(text_with_ends.as_bytes()).unwrap();
    told.wants(name, text);
}

/// Follows two logs, and overwrites `hard` while the agent has it closed: both arrive, and the agent
/// neither turns in circles nor hangs.
fn stays_responsive(site: &mut Site, hard: &str) {
    let mut told = Told::new();
    told.append(site, hard, &["short"]);
    told.append(site, "other.log", &["first"]);
    site.set("close_old_files_duration_in_seconds", 1);
    site.copy(hard).copy("other.log").start();
    told.expect(site);
    site.until_seen("all are closed", || site.open_logs().is_empty());
    overwrite(site, &mut told, hard, &lines("quite another text", 20));
    let (before, began) = (site.cpu(), Instant::now());
    told.append(site, "other.log", &["second"]);
    site.until_lines("other.log", 2);
    told.expect(site);
    let rest = Duration::from_secs(3).saturating_sub(began.elapsed());
    std::thread::sleep(rest);
    let (cpu, time) = (site.cpu() - before, began.elapsed());
    assert!(cpu < time / 2, "{cpu:?} of CPU in {time:?}");
    site.stop_within(Signal::SIGTERM, STOP);
}

#[test]
#[ignore = "needs to run as root"]
fn a_file_that_is_overwritten_in_a_folder_that_cant_be_listed_stops_nothing() {
    let mut site = Site::new();
    fs::create_dir(site.log_path("closed")).unwrap();
    fs::set_permissions(site.log_path("closed"), Permissions::from_mode(0o711)).unwrap();
    site.run_as_nobody();
    stays_responsive(&mut site, "closed/app.log");
}

/// A file that is mounted over another; it is taken away when dropped.
struct Bound(PathBuf);

impl Bound {
    fn new(site: &Site, name: &str) -> Bound {
        let (source, target) = (site.path("bound"), site.log_path(name));
        fs::write(&source, "").unwrap();
        fs::write(&target, "").unwrap();
        let none: Option<&str> = None;
        mount(Some(&source), &target, none, MsFlags::MS_BIND, none).expect("mounting needs root");
        Bound(target)
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        // Lazily: an agent that is not gone yet does not hold it up
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

#[test]
#[ignore = "needs to run as root"]
fn a_file_that_is_overwritten_under_a_bind_mount_stops_nothing() {
    let mut site = Site::new();
    let _bound = Bound::new(&site, "app.log");
    stays_responsive(&mut site, "app.log");
}

/// System calls that the agent makes in five seconds.
fn system_calls(site: &Site) -> u64 {
    let table = site.path("strace");
    let status = Command::new("timeout")
        .args(["-s", "INT", "5", "strace", "-f", "-c", "-o"])
        .arg(&table)
        .args(["-p", &site.pid().to_string()])
        .output()
        .unwrap();
    let text = fs::read_to_string(&table).unwrap_or_default();
    // % time, seconds, usecs/call, calls, perhaps errors, "total"
    let total = text.lines().find(|line| line.ends_with(" total"));
    let calls = total.and_then(|line| line.split_whitespace().nth(3)?.parse().ok());
    calls.unwrap_or_else(|| panic!("no total: {status:?}\n{text}"))
}

#[test]
#[ignore = "needs strace"]
fn after_a_rotation_under_a_pattern_for_all_an_idle_agent_is_idle() {
    let mut site = Site::new();
    for quick in [
        "max_new_log_detection_time",
        "min_poll_interval",
        "max_poll_interval",
        "keep_alive_interval",
        "config_change_check_interval",
    ] {
        site.unset(quick);
    }
    let mut told = Told::new();
    for name in ["app.log", "app.log.1", "app.log.2"] {
        told.append(&site, name, &lines(&format!("of {name}, long enough"), 20));
    }
    site.copy("app.log*").start();
    told.expect(&mut site);
    for (from, to) in [("log.2", "log.3"), ("log.1", "log.2"), ("log", "log.1")] {
        let path = |end: &str| site.log_path(&format!("app.{end}"));
        fs::rename(path(from), path(to)).unwrap();
    }
    told.append(&site, "app.log", &["the first line of the new file"]);
    told.expect(&mut site);
    // Looks become rare by and by
    let mut measured = Vec::new();
    for _ in 0..6 {
        let calls = system_calls(&site);
        if calls <= 150 {
            return;
        }
        measured.push(calls);
    }
    panic!("system calls in five seconds each: {measured:?}");
}

#[test]
fn deleted_files_keep_their_lines_while_others_need_descriptors() {
    let mut site = Site::new();
    let mut told = Told::new();
    site.set("max_open_files", 10).copy("*.log").start();
    site.until_requests(1);
    let busy = Fault::status(503).with_events_only();
    site.receiver.fault(busy.until_cleared());
    let victims: Vec<String> = (1..=8).map(|n| format!("victim-{n}.log")).collect();
    for name in &victims {
        told.append(&site, name, &[format!("the only line of {name}")]);
    }
    site.until_seen("all are open", || site.open_logs().len() == victims.len());
    for name in &victims {
        fs::remove_file(site.log_path(name)).unwrap();
    }
    for n in 1..=40 {
        told.append(&site, &format!("other-{n}.log"), &["some line"]);
    }
    // Time for some scans and some attempts at delivery
    site.until_requests(6);
    site.receiver.clear_faults();
    told.expect_for_good(&mut site);
}

/// Servers say in JSON that they have too much to do; proxies before them say it in other ways.
#[test]
fn lines_in_memory_outlive_a_busy_server_though_their_file_is_truncated() {
    let answers = ["<html>busy</html>", r#"{"status":"error/server/busy"}"#, ""];
    all_at_once(&answers, |body| {
        let mut site = Site::new();
        let mut told = Told::new();
        site.copy("app.log").start();
        site.until_requests(1);
        let busy = Fault::body(503, body).with_events_only();
        site.receiver.fault(busy.until_cleared());
        told.append(&site, "app.log", &lines("before", 10));
        let faulted = site.receiver.counts().faulted;
        site.until("they were sent", |state| state.counts().faulted > faulted);
        fs::write(site.log_path("app.log"), "").unwrap();
        // Time for some attempts more
        site.until_requests(3);
        site.receiver.clear_faults();
        told.append(&site, "app.log", &["after"]);
        told.expect_for_good(&mut site);
    });
}
