//! Logs at which whoever looks at them is held, as on a mount that does not answer or by a scanner that
//! lets no file be opened: the agent starts, reloads, answers and stops all the same, and what was held
//! does no harm when it comes free.

mod common;

use common::Site;
use nix::sys::signal::Signal;
use receiver::Fault;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// How long a command may take: far more than it takes, far less than a hang.
const PROMPT: Duration = Duration::from_secs(15);
/// The agent stops within 4.5 s.
const STOP: Duration = Duration::from_millis(6_000);
/// Within this time a path that hangs is named.
const NAMED: Duration = Duration::from_secs(30);
const LEFT_BEHIND: &str = "is left behind";
const ENDED: &str = "was left behind has ended";

/// The library that holds the agent, made by the C compiler.
fn shim() -> PathBuf {
    static SHIM: OnceLock<PathBuf> = OnceLock::new();
    let make = || {
        let library = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("hang.so");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/hang/shim.c");
        let mut gcc = Command::new("gcc");
        gcc.args(["-O1", "-shared", "-fPIC", "-o"]).arg(&library);
        let status = gcc.args([source, "-ldl"]).status().unwrap();
        assert!(status.success(), "{status}");
        library
    };
    SHIM.get_or_init(make).clone()
}

/// A site whose logs with names that begin with `hung` hold the agent while [`hold`] is in force.
fn site() -> Site {
    let mut site = Site::new();
    let path = |path: PathBuf| path.to_str().unwrap().to_owned();
    site.set_env("LD_PRELOAD", &path(shim()));
    site.set_env("HANG_PREFIX", &path(site.log_path("hung")));
    site.set_env("HANG_FLAG", &path(site.path("hold")));
    site.set_env("HANG_SYNC", &path(site.path("hold-disk")));
    site
}

fn hold(site: &Site) {
    fs::write(site.path("hold"), "").unwrap();
}

fn release(site: &Site) {
    fs::remove_file(site.path("hold")).unwrap();
}

fn hung(site: &Site) -> String {
    site.log_path("hung").to_str().unwrap().to_owned()
}

fn tail_threads(site: &Site) -> usize {
    let threads = fs::read_dir(format!("/proc/{}/task", site.pid())).unwrap();
    let name = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("comm"));
    let names = threads.flatten().filter_map(|thread| name(thread).ok());
    names.filter(|name| name.starts_with("tail-")).count()
}

/// `status -v` comes promptly and names the path.
#[track_caller]
fn status_names_it(site: &Site) {
    let began = Instant::now();
    let status = site.status_v();
    assert!(began.elapsed() < PROMPT);
    let line = status.lines().find(|line| line.starts_with("Hangs at:"));
    let line = line.unwrap_or_else(|| panic!("{status}\n{}", site.report()));
    assert!(line.contains(&hung(site)), "{line}");
}

#[test]
#[ignore = "needs gcc"]
fn a_log_that_hangs_at_the_start_holds_up_neither_start_nor_status_nor_stop() {
    let mut site = site();
    let mut app = site.numbers("app.log");
    let mut hung = site.numbers("hung.log");
    app.write(50);
    hung.write(50);
    hold(&site);
    site.copy("app.log").copy("hung.log");
    let began = Instant::now();
    site.start_daemon();
    assert!(began.elapsed() < PROMPT, "{}", site.report());
    status_names_it(&site);
    // The others go on
    site.expect_exactly_once("app.log", 0..50);
    let stop = |site: &Site| {
        let began = Instant::now();
        let stopped = site.run(&["stop", "--no-change-user"]);
        assert_eq!(stopped.code, 0, "{stopped:?}\n{}", site.report());
        assert!(began.elapsed() < STOP, "{}", site.report());
    };
    stop(&site);
    assert!(
        site.agent_log().contains("Copying manager is finished"),
        "it was killed\n{}",
        site.report()
    );
    // Held again, and then free: all goes on by itself
    site.start_daemon();
    app.write(50);
    site.expect_exactly_once("app.log", 0..100);
    hung.write(50);
    release(&site);
    site.expect_exactly_once("app.log", 0..100);
    site.expect_exactly_once("hung.log", 0..100);
    stop(&site);
    assert_eq!(site.receiver.counts().duplicates, 0);
}

#[test]
#[ignore = "needs gcc"]
fn a_log_that_hangs_is_no_health_and_its_row_says_why() {
    let mut site = site();
    site.append("app.log", "one\n");
    site.append("hung.log", "one\n");
    site.copy("app.log").copy("hung.log").start();
    site.until_lines("app.log", 1);
    site.until_lines("hung.log", 1);
    hold(&site);
    site.append("hung.log", "two\n");
    site.until_logged(LEFT_BEHIND);
    let mut file = None;
    site.until_seen("its row", || {
        file = site.file_status("hung.log");
        file.as_ref()
            .is_some_and(|file| file["state"] == "unreadable")
    });
    let why = file.unwrap()["last_error"].as_str().unwrap().to_owned();
    assert!(why.contains("a look at it hangs"), "{why}");
    let text = site.status_v();
    let (_, beneath) = text
        .split_once(&format!("Path {}", site.log_path("hung.log").display()))
        .unwrap();
    assert!(
        beneath.contains("\n  unreadable: a look at it hangs"),
        "{text}"
    );
    let (_, glance) = text.split_once("At a glance:\n============\n\n").unwrap();
    assert!(glance.starts_with("Problem:"), "{text}");
    let probe = site.run(&["status", "-H"]);
    assert_eq!(probe.code, 0, "{probe:?}");
    assert!(
        probe.out.starts_with("Health check: Not delivering: "),
        "{probe:?}"
    );
    assert_eq!(site.run(&["status", "-H", "--delivery"]).code, 2);
    release(&site);
    site.until_seen("it is over", || {
        site.run(&["status", "-H", "--delivery"]).out == "Health check: Good\n"
    });
    site.until_lines("hung.log", 2);
    site.term();
}

#[test]
#[ignore = "needs gcc"]
fn a_log_that_begins_to_hang_is_named_and_the_others_go_on() {
    let mut site = site();
    let mut app = site.numbers("app.log");
    app.write(50);
    let mut hung_log = site.numbers("hung.log");
    hung_log.write(50);
    site.copy("app.log").copy("hung.log").start();
    site.until_lines("app.log", 50);
    site.until_lines("hung.log", 50);
    // Some lines of it are not delivered
    let fault = Fault::cut_before_storing().with_events_only();
    site.receiver.fault(fault.until_cleared());
    hung_log.write(50);
    site.until("they were read", |state| state.counts().faulted > 0);
    hold(&site);
    let began = Instant::now();
    // A log that rests is not looked at
    hung_log.write(50);
    site.until_logged(&format!("at {}", hung(&site)));
    site.until_logged(LEFT_BEHIND);
    site.receiver.clear_faults();
    app.write(50);
    site.expect_exactly_once("app.log", 0..100);
    assert!(began.elapsed() < NAMED);
    status_names_it(&site);
    site.stop_within(Signal::SIGTERM, STOP);
    release(&site);
    site.start();
    hung_log.write(50);
    site.expect_exactly_once("app.log", 0..100);
    site.expect_exactly_once("hung.log", 0..200);
    site.term();
    // Its positions were kept, not given up
    assert!(!site.agent_log().contains("are lost"), "{}", site.report());
    assert_eq!(site.receiver.counts().duplicates, 0);
}

/// The sessions are replaced, and the disk of the data directory hangs as well: the replacement waits for it.
#[test]
#[ignore = "needs gcc"]
fn a_stop_while_sessions_are_replaced_is_heeded_at_once() {
    let mut site = site();
    site.set("position_sync_interval", 0);
    let mut app = site.numbers("app.log");
    app.write(50);
    let mut hung_log = site.numbers("hung.log");
    hung_log.write(50);
    site.copy("app.log").copy("hung.log").start();
    site.until_lines("app.log", 50);
    site.until_lines("hung.log", 50);
    fs::write(site.path("hold-disk"), "").unwrap();
    app.write(50);
    site.until_lines("app.log", 100);
    hold(&site);
    hung_log.write(50);
    site.until_logged("all sessions are started anew");
    site.stop_within(Signal::SIGTERM, STOP);
    fs::remove_file(site.path("hold-disk")).unwrap();
    release(&site);
    site.start();
    hung_log.write(50);
    site.expect_exactly_once("app.log", 0..100);
    site.expect_exactly_once("hung.log", 0..150);
}

/// A person who asks about that path is told so, and not held as well.
#[test]
#[ignore = "needs gcc"]
fn explain_of_a_path_that_hangs_says_so_and_ends() {
    let mut site = site();
    site.numbers("hung.log").write(50);
    site.numbers("app.log").write(50);
    site.copy("app.log").copy("hung.log").write_config();
    let log = site.log_path("hung.log").to_str().unwrap().to_owned();
    hold(&site);
    let began = Instant::now();
    let said = site.run(&["explain", &log]);
    assert!(began.elapsed() < PROMPT);
    assert_eq!(said.code, 1);
    let words = format!("{log}: a look at it has not ended for 10 s");
    assert!(said.err.contains(&words), "{}{}", said.out, said.err);
    release(&site);
    let said = site.run(&["explain", &log]);
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
}

/// The thread that was held has the positions of the time before it. Written over the later ones, with
/// a newer serial, they would have lines sent again.
#[test]
#[ignore = "needs gcc"]
fn what_wakes_after_a_reload_writes_no_old_positions() {
    let mut site = site();
    let mut app = site.numbers("app.log");
    fs::create_dir(site.log_path("hung")).unwrap();
    site.numbers("hung/a.log").write(50);
    app.write(50);
    site.copy("hung/*.log").copy("app*.log").start();
    site.until_lines("app.log", 50);
    site.until_lines("hung/a.log", 50);
    hold(&site);
    site.until_logged(&format!("at {}", hung(&site)));
    site.clear_logs().copy("app*.log").write_config();
    let began = Instant::now();
    site.signal(Signal::SIGHUP);
    site.until_logged("Starting new copying and metrics threads");
    assert!(began.elapsed() < PROMPT, "{}", site.report());
    assert!(site.agent_log().contains(LEFT_BEHIND), "{}", site.report());
    app.write(50);
    site.expect_exactly_once("app.log", 0..100);
    // The old thread has not seen it. That it has to be in a checkpoint has it write one
    site.numbers("app-2.log").write(50);
    site.expect_exactly_once("app-2.log", 0..50);
    status_names_it(&site);
    // Acknowledged positions are on disk with the next request at the latest
    let requests = site.receiver.counts().requests;
    site.until_requests(requests + 2);
    assert!(tail_threads(&site) > 1);
    release(&site);
    // At once: when the agent finds that the thread has ended it starts its sessions anew, and they
    // write their positions
    site.until_seen("the old thread has ended", || tail_threads(&site) == 1);
    site.kill9();
    site.copy("hung/*.log").start();
    app.write(50);
    site.expect_exactly_once("app.log", 0..150);
    site.expect_exactly_once("app-2.log", 0..50);
    site.expect_exactly_once("hung/a.log", 0..50);
    site.term();
    assert_eq!(site.receiver.counts().duplicates, 0);
}

/// Each thread that is left behind hangs at a path of its own, as the next one leaves that out.
#[test]
#[ignore = "needs gcc"]
fn at_most_four_threads_are_left_behind_and_then_a_reload_is_refused() {
    const LOGS: usize = 5;
    let mut site = site();
    let mut app = site.numbers("app.log");
    let mut logs: Vec<_> = (1..=LOGS)
        .map(|n| site.numbers(&format!("hung-{n}.log")))
        .collect();
    app.write(50);
    for log in &mut logs {
        log.write(50);
    }
    site.copy("app.log").copy("hung-?.log").start();
    site.until("all", |state| {
        state.counts().events == 50 * (1 + LOGS as u64)
    });
    hold(&site);
    site.until_logged_times(LEFT_BEHIND, 4);
    site.set("max_request_spacing_interval", 0.3).write_config();
    site.until_logged("it would leave 5 threads behind");
    app.write(50);
    for log in &mut logs {
        log.write(50);
    }
    assert_eq!(site.agent_log().matches(LEFT_BEHIND).count(), 4);
    release(&site);
    // They end, and the configuration is taken over
    site.until_logged_times(ENDED, 4);
    site.until_logged("Starting new copying and metrics threads");
    assert_eq!(site.agent_log().matches(LEFT_BEHIND).count(), 4);
    site.expect_exactly_once("app.log", 0..100);
    for n in 1..=LOGS {
        site.expect_exactly_once(&format!("hung-{n}.log"), 0..100);
    }
    assert!(!site.status_v().contains("Hangs at:"), "{}", site.report());
    site.term();
    assert_eq!(site.receiver.counts().duplicates, 0);
}
