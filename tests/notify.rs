//! The messages that systemd gets from the agent over its notification socket (sd_notify(3)): each
//! step, once it is true.

mod common;

use common::{Site, DEADLINE};
use receiver::Fault;
use serde_json::json;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The service manager.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
    heard: Vec<String>,
}

impl Manager {
    fn of(site: &mut Site) -> Manager {
        let path = site.path("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        site.set_env("NOTIFY_SOCKET", path.to_str().unwrap());
        Manager {
            socket,
            path,
            heard: Vec::new(),
        }
    }

    /// The next message.
    #[track_caller]
    fn next(&mut self) -> String {
        let mut text = [0; 4096];
        self.socket.set_read_timeout(Some(DEADLINE)).unwrap();
        let n = match self.socket.recv(&mut text) {
            Ok(n) => n,
            Err(e) => panic!("nothing is said: {e}; before: {:?}", self.heard),
        };
        let text = String::from_utf8_lossy(&text[..n]).into_owned();
        self.heard.push(text.clone());
        text
    }

    /// The messages up to one of which `line` is a line, that one included.
    #[track_caller]
    fn until(&mut self, line: &str) -> Vec<String> {
        let from = self.heard.len();
        while !self.next().lines().any(|said| said == line) {}
        self.heard[from..].to_vec()
    }

    /// All that was said and is not read yet.
    fn rest(&mut self) -> Vec<String> {
        let from = self.heard.len();
        self.socket.set_nonblocking(true).unwrap();
        let mut text = [0; 4096];
        while let Ok(n) = self.socket.recv(&mut text) {
            let text = String::from_utf8_lossy(&text[..n]).into_owned();
            self.heard.push(text);
        }
        self.socket.set_nonblocking(false).unwrap();
        self.heard[from..].to_vec()
    }
}

#[test]
fn ready_is_said_once_the_agent_works_and_stopping_when_it_ends() {
    let mut site = Site::new();
    let mut manager = Manager::of(&mut site);
    site.copy("app.log");
    site.start();
    assert_eq!(manager.next(), "READY=1");
    // It means what it says: others can ask for its status, and logs are copied
    assert!(site.status_json()["launch_time"].is_number());
    site.append("app.log", "one\n");
    site.until_lines("app.log", 1);
    manager.until_status("requests succeed");
    // A reload, and work goes on
    site.set("max_line_size", 9000).write_config();
    let said = manager.until("READY=1");
    let reload = said.iter().position(|text| text.starts_with("RELOADING=1"));
    let reload = &said[reload.expect("a reload is announced")];
    let stamp = reload
        .lines()
        .find_map(|l| l.strip_prefix("MONOTONIC_USEC="));
    assert!(stamp.unwrap().parse::<u64>().unwrap() > 0, "{reload}");
    site.append("app.log", "two\n");
    site.until_lines("app.log", 2);
    // A change that changes nothing is no reload
    site.write_config();
    let _ = manager.rest();
    site.term();
    let said = manager.rest();
    let stopping = said.iter().filter(|text| text.starts_with("STOPPING=1"));
    assert_eq!(stopping.count(), 1, "{said:?}");
    assert!(!said.iter().any(|text| text.contains("READY")), "{said:?}");
    // Without WATCHDOG_USEC nobody asked for signs of life
    assert!(!manager.heard.iter().any(|text| text.contains("WATCHDOG")));
    assert!(manager.path.exists());
}

impl Manager {
    #[track_caller]
    fn until_status(&mut self, part: &str) {
        loop {
            let text = self.next();
            if text.starts_with("STATUS=") && text.contains(part) {
                return;
            }
        }
    }
}

#[test]
fn signs_of_life_go_on_during_a_reload_that_waits_for_a_server_that_hangs() {
    let mut site = Site::new();
    let mut manager = Manager::of(&mut site);
    site.set_env("WATCHDOG_USEC", "600000");
    site.receiver.fault(Fault::silence().until_cleared());
    site.append("app.log", "one\n");
    site.copy("app.log").start();
    manager.until("READY=1");
    manager.until("WATCHDOG=1");
    for round in 0..8 {
        // A reload holds up the main thread as long as a request is under way
        if round == 3 {
            site.set("max_line_size", 9000).write_config();
        }
        let began = Instant::now();
        manager.until("WATCHDOG=1");
        // Not as long as the request may take; a busy machine may be late
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "{:?} without a sign of life: {:?}",
            began.elapsed(),
            manager.heard
        );
    }
    site.receiver.clear_faults();
    site.term();
}

#[test]
fn one_that_cannot_start_never_says_that_it_is_ready() {
    let mut site = Site::new();
    let mut manager = Manager::of(&mut site);
    site.set("monitors", json!([{"module": "no.such_thing"}]));
    site.start();
    assert!(!site.wait_exit(DEADLINE).success());
    // But where the reason is
    let said = manager.rest();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].starts_with("STATUS=Not started"), "{said:?}");
    assert!(said[0].contains("scalyr-agent-2 check"), "{said:?}");
}
