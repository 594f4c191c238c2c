//! Stops: in time whatever the server does, with a checkpoint, and nothing lost or repeated by the
//! next start.

mod common;

use common::{all_at_once, Load, Site, STOP};
use nix::sys::signal::Signal;
use receiver::Fault;
use std::time::Duration;

fn loaded() -> (Site, Load) {
    let mut site = Site::new();
    let mut numbers = site.numbers("app.log");
    numbers.write(100);
    site.copy("app.log").start();
    site.until_lines("app.log", 100);
    let load = Load::start(numbers, 40, Duration::from_millis(5), |_, _| ());
    (site, load)
}

#[track_caller]
fn a_restart_goes_on(site: &mut Site, load: Load) {
    site.start();
    let numbers = load.stop();
    site.expect_exactly_once("app.log", numbers.all());
    site.assert_in_order("app.log");
}

#[test]
fn a_stop_under_load_writes_its_checkpoint_and_repeats_nothing() {
    all_at_once(&[Signal::SIGTERM, Signal::SIGINT], |signal| {
        let (mut site, load) = loaded();
        for round in 2..6 {
            site.stop_within(signal, STOP);
            let files: Vec<String> = std::fs::read_dir(site.path("data"))
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            assert!(
                files.iter().any(|name| name == "checkpoints.json"),
                "{files:?}"
            );
            assert!(!files.iter().any(|name| name.contains('~')), "{files:?}");
            site.start();
            let so_far = load.written();
            site.until_lines("app.log", so_far);
            site.until_logged_times("Copying started", round);
        }
        site.stop_within(signal, STOP);
        a_restart_goes_on(&mut site, load);
        // The last request of each run was waited for: it never had to send anything again
        assert_eq!(site.receiver.counts().duplicates, 0);
    });
}

#[test]
fn what_was_written_before_the_stop_is_sent_before_the_end() {
    let mut site = Site::new();
    // Left to itself it would wait for a minute
    site.set("max_request_spacing_interval", 60);
    let mut numbers = site.numbers("app.log");
    numbers.write(10);
    site.copy("app.log").start();
    site.until_lines("app.log", 10);
    numbers.write(90);
    site.stop_within(Signal::SIGTERM, STOP);
    site.assert_exactly_once("app.log", 0..100);
}

#[test]
fn what_was_written_during_the_request_before_is_sent_before_the_end_too() {
    let mut site = Site::new();
    let mut numbers = site.numbers("app.log");
    numbers.write(10);
    let slow = Fault::delayed(Duration::from_secs(1)).with_events_only();
    site.receiver.fault(slow.times(1));
    site.copy("app.log").start();
    site.until("it is under way", |state| state.counts().faulted > 0);
    numbers.write(90);
    site.stop_within(Signal::SIGTERM, STOP);
    site.assert_exactly_once("app.log", 0..100);
}

/// The ways in which a server may fail while the agent is to stop.
#[derive(Debug, Clone, Copy)]
enum Server {
    Silent,
    Unread,
    Gone,
    Slow,
    Dripping,
    Refusing,
    Cutting,
}

#[test]
fn a_server_in_trouble_does_not_delay_a_stop_and_nothing_is_lost() {
    use Server::*;
    let all = [Silent, Unread, Gone, Slow, Dripping, Refusing, Cutting];
    all_at_once(&all, |server| {
        let (mut site, load) = loaded();
        let before = site.receiver.counts();
        let fault = match server {
            Silent => Some(Fault::silence()),
            Unread => Some(Fault {
                unread: true,
                ..Fault::default()
            }),
            Gone => None,
            Slow => Some(Fault::delayed(Duration::from_secs(60))),
            Dripping => Some(Fault {
                drip: Some(1.0),
                ..Fault::default()
            }),
            Refusing => Some(Fault::status(503)),
            Cutting => Some(Fault::cut_after_storing()),
        };
        match fault {
            Some(fault) => {
                site.receiver.fault(fault.until_cleared());
                site.until("it meets the fault", |state| {
                    state.counts().faulted > before.faulted
                });
            }
            None => {
                site.receiver.down();
                site.until_logged("Session default-0: cannot connect");
            }
        }
        site.stop_within(Signal::SIGTERM, STOP);
        site.receiver.clear_faults();
        site.receiver.up().unwrap();
        a_restart_goes_on(&mut site, load);
    });
}

#[test]
fn a_stop_during_a_reload_that_waits_for_the_server_is_in_time_too() {
    let (mut site, load) = loaded();
    site.receiver.fault(Fault::silence());
    site.until("it meets the fault", |state| state.counts().faulted > 0);
    site.set("max_request_spacing_interval", 0.3).write_config();
    site.signal(Signal::SIGHUP);
    site.until_logged("Stopping copying and metrics threads");
    site.stop_within(Signal::SIGTERM, STOP);
    site.receiver.clear_faults();
    a_restart_goes_on(&mut site, load);
}

/// A command that does not heed the request to end has its second in the reload, another one in the stop, and the
/// server does not answer: all together stay within the time that the agent gives itself.
#[test]
fn a_stop_during_a_reload_of_monitors_that_do_not_end_is_in_time() {
    let (mut site, load) = loaded();
    let folder = site.path("");
    let monitor = |timeout: u32| {
        let one = |id: &str, timeout: u32| {
            let mark = folder.join(id).display().to_string();
            let command = format!("trap '' TERM; touch {mark}; while :; do sleep 0.2; done");
            serde_json::json!({
                "module": "shell_monitor", "id": id, "command": command, "timeout": timeout,
            })
        };
        serde_json::json!([one("changed", timeout), one("unchanged", 600)])
    };
    site.set("global_monitor_sample_interval_enable_jitter", false);
    site.set("monitors", monitor(600)).write_config();
    let run = || folder.join("changed").exists() && folder.join("unchanged").exists();
    site.until_seen("both run", run);
    site.receiver.fault(Fault::silence().until_cleared());
    site.until("it meets the fault", |state| state.counts().faulted > 0);
    site.set("monitors", monitor(601)).write_config();
    site.until_logged("Stopping metrics threads");
    // Less than 4.5 s: it took that and a little more when each wait had its full time
    site.stop_within(Signal::SIGTERM, Duration::from_secs(4));
    site.receiver.clear_faults();
    // Killed, it would leave its commands running
    site.set("monitors", serde_json::json!([]));
    a_restart_goes_on(&mut site, load);
}

#[test]
fn further_signals_during_a_stop_do_no_harm() {
    all_at_once(
        &[Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP],
        |second| {
            let (mut site, load) = loaded();
            site.receiver
                .fault(Fault::delayed(Duration::from_secs(1)).until_cleared());
            site.until("it meets the fault", |state| state.counts().faulted > 0);
            site.signal(Signal::SIGTERM);
            site.until_logged("Received signal to shutdown");
            for _ in 0..3 {
                site.signal(second);
            }
            site.stop_within(second, STOP);
            site.receiver.clear_faults();
            a_restart_goes_on(&mut site, load);
        },
    );
}

#[test]
fn a_stop_right_after_the_start_is_a_stop() {
    let mut site = Site::new();
    let mut numbers = site.numbers("app.log");
    site.copy("app.log");
    for _ in 0..10 {
        numbers.write(50);
        site.start();
        site.term();
    }
    site.start();
    site.expect_exactly_once("app.log", numbers.all());
}

/// A zombie, whose parent is slow to take notice, has ended too.
fn has_ended(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.map_or(true, |stat| {
        stat[stat.rfind(')').unwrap()..].starts_with(") Z")
    })
}

#[test]
fn a_daemon_starts_and_stops_by_command() {
    let mut site = Site::new();
    let mut numbers = site.numbers("app.log");
    site.copy("app.log");
    for _ in 0..3 {
        numbers.write(100);
        let pid = site.start_daemon();
        site.until_lines("app.log", numbers.next());
        let status = site.run(&["status", "-v"]);
        assert_eq!(status.code, 0, "{status:?}");
        assert!(
            status
                .out
                .contains(&format!("Main process pid:        {pid}")),
            "{status:?}"
        );
        let second = site.run(&["start", "--no-change-user", "--no-check-remote-server"]);
        assert_ne!(second.code, 0, "{second:?}");
        numbers.write(100);
        let stopped = site.run(&["stop", "--no-change-user"]);
        assert_eq!(stopped.code, 0, "{stopped:?}");
        assert!(site.daemon_pid().is_none(), "the pid file is left");
        assert!(has_ended(pid), "process {pid} is still there");
    }
    // Lines that were written right before a stop came with it
    site.assert_exactly_once("app.log", numbers.all());
    site.assert_in_order("app.log");
    assert_eq!(site.receiver.counts().duplicates, 0);
}

#[test]
fn a_daemon_whose_server_hangs_stops_by_command() {
    let mut site = Site::new();
    let mut numbers = site.numbers("app.log");
    numbers.write(100);
    site.receiver.fault(Fault::silence());
    site.copy("app.log").start_daemon();
    site.until("it meets the fault", |state| state.counts().faulted > 0);
    let began = std::time::Instant::now();
    let stopped = site.run(&["stop", "--no-change-user"]);
    assert_eq!(stopped.code, 0, "{stopped:?}");
    assert!(began.elapsed() < STOP);
    site.receiver.clear_faults();
    site.start_daemon();
    site.expect_exactly_once("app.log", numbers.all());
}
