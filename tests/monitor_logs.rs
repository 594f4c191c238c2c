//! Monitors that write logs of their own, in the running agent: the files of `syslog_monitor` and of
//! `journald_monitor` come and go, and each line in them arrives once, labelled as it should be.

mod common;

use common::Site;
use receiver::{Fault, State};
use serde_json::{json, Map, Value};
use std::collections::HashSet;
use std::fs;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering::Relaxed};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

/// A port that nobody has, below those that the kernel gives away.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = 10_000 + (std::process::id() % 400) as u16 * 50;
    loop {
        let port = base + NEXT.fetch_add(1, Relaxed) % 50;
        let tcp = TcpListener::bind(("127.0.0.1", port));
        if tcp.is_ok() && UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// An agent that takes syslog on a port; what `more` says of the monitor on top.
fn syslog(site: &mut Site, more: Value) -> u16 {
    let port = free_port();
    let mut entry = json!({
        "module": "syslog_monitor",
        "protocols": format!("tcp:{port}, udp:{port}"),
        "log_flush_delay": 0.02,
    });
    let all = entry.as_object_mut().unwrap();
    all.extend(more.as_object().unwrap().clone());
    site.set("monitors", json!([entry]));
    port
}

fn connect(site: &Site, port: u16) -> TcpStream {
    let mut stream = None;
    site.until_seen("the port is open", || {
        stream = TcpStream::connect(("127.0.0.1", port)).ok();
        stream.is_some()
    });
    stream.unwrap()
}

/// A message of a program on a host.
fn message(host: &str, app: &str, text: &str) -> String {
    format!("<34>Oct 11 22:14:15 {host} {app}: {text}\n")
}

/// Numbered ones.
fn numbered(host: &str, range: std::ops::Range<u64>) -> String {
    range
        .map(|n| message(host, "app", &format!("n={n:06} xxxx e={n:06}")))
        .collect()
}

/// A file of the agent's own log directory.
fn own(site: &Site, name: &str) -> String {
    let path = site.path("log").join(name);
    path.to_str().unwrap().to_owned()
}

fn count(state: &State, path: &str) -> u64 {
    state.event_count(path)
}

#[track_caller]
fn until_count(site: &mut Site, path: &str, lines: u64) {
    site.until(&format!("{lines} lines of {path}"), |state| {
        count(state, path) >= lines
    });
}

fn lines(site: &Site, path: &str) -> Vec<String> {
    let lines = site.receiver.lines_of(path).into_iter();
    lines.map(|line| line.trim_end().to_owned()).collect()
}

/// Asserts that just these lines of a log arrived, in order.
#[track_caller]
fn assert_lines(site: &Site, path: &str, wanted: &[String]) {
    let arrived = lines(site, path);
    let mut pairs = arrived.iter().zip(wanted);
    if let Some(at) = pairs.position(|(a, w)| a != w) {
        let near = at.saturating_sub(2)..at + 3;
        let show = |all: &[String]| all[near.start..near.end.min(all.len())].join("\n  ");
        let (arrived, wanted) = (show(&arrived), show(wanted));
        panic!(
            "{path}, line {at}, arrived:\n  {arrived}\nwanted:\n  {wanted}\n{}",
            site.report()
        );
    }
    assert_eq!(arrived.len(), wanted.len(), "{path}");
}

/// The attributes of all lines of a log, each set once.
fn attributes(site: &Site, path: &str) -> Vec<Map<String, Value>> {
    let mut all: Vec<Map<String, Value>> = Vec::new();
    for event in site.receiver.events() {
        if *event.path == *path && !all.contains(&event.attrs) {
            all.push((*event.attrs).clone());
        }
    }
    all
}

#[track_caller]
fn assert_attributes(site: &Site, path: &str, expected: Value) {
    let expected = expected.as_object().unwrap().clone();
    assert_eq!(attributes(site, path), [expected], "{path}");
}

fn monitor(site: &Site) -> Value {
    site.status_json()["monitor_manager_status"]["monitors_status"][0].clone()
}

#[test]
fn each_sender_has_a_file_with_its_name_on_it_and_the_rules_of_logs_hold() {
    let mut site = Site::new();
    let port = syslog(
        &mut site,
        json!({
            "message_log": "others.log",
            "message_log_template": "by-$PROTO-$HOSTNAME-$APPNAME.log",
            "parser": "baseParser",
            "attributes": {"a1": "v1", "source": "overridden"},
        }),
    );
    let path = own(&site, "by-*-alpha-*.log");
    site.log(json!({
        "path": path,
        "attributes": {"parser": "sshLog", "source": "network", "weight": 7},
        "rename_logfile": "/syslog/$BASENAME_NO_EXT",
        "redaction_rules": [{"match_expression": "password=\\S+", "replacement": "password=***"}],
        "sampling_rules": [{"match_expression": "noise", "sampling_rate": 0}],
    }));
    site.start();
    let mut tcp = connect(&site, port);
    let text = [
        message("alpha", "sshd[123]", "password=secret for root"),
        message("alpha", "sshd[123]", "noise"),
        message("alpha", "sshd[123]", "good bye"),
        // No entry of logs is about it
        message("beta", "cron", "password=secret"),
    ];
    tcp.write_all(text.concat().as_bytes()).unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let datagram = "<34>1 2003-10-11T22:14:15.003Z alpha su - ID47 - by 5424";
    udp.send_to(datagram.as_bytes(), ("127.0.0.1", port))
        .unwrap();
    let [ssh, su, base] =
        ["by-tcp-alpha-sshd.log", "by-udp-alpha-su.log", "others.log"].map(|n| own(&site, n));
    until_count(&mut site, &ssh, 2);
    until_count(&mut site, &su, 1);
    until_count(&mut site, &base, 1);
    assert_eq!(
        lines(&site, &ssh),
        [
            "<34>Oct 11 22:14:15 alpha sshd[123]: password=*** for root",
            "<34>Oct 11 22:14:15 alpha sshd[123]: good bye",
        ]
    );
    assert_eq!(lines(&site, &su), [datagram]);
    assert_eq!(
        lines(&site, &base),
        ["<34>Oct 11 22:14:15 beta cron: password=secret"]
    );
    let of = |proto: &str, app: &str, path: &str| {
        json!({
            "parser": "sshLog", "a1": "v1", "monitor": "agentSyslog", "source": "network",
            "weight": 7, "proto": proto, "srcip": "127.0.0.1", "destport": port,
            "hostname": "alpha", "appname": app,
            "logfile": format!("/syslog/by-{proto}-alpha-{app}"), "original_file": path,
        })
    };
    assert_attributes(&site, &ssh, of("tcp", "sshd", &ssh));
    assert_attributes(&site, &su, of("udp", "su", &su));
    assert_attributes(
        &site,
        &base,
        json!({"parser": "baseParser", "monitor": "agentSyslog", "logfile": base}),
    );
    site.term();
    site.assert_well_formed();
}

#[test]
fn files_that_come_and_go_lose_and_repeat_nothing_and_keep_their_labels() {
    let mut site = Site::new();
    let port = syslog(
        &mut site,
        json!({"message_log_template": "by/$HOSTNAME/$APPNAME.log", "expire_log": 1}),
    );
    // The copier's own pattern finds the files of one host, those of the other are only the
    // monitor's business: in a pattern of its own a `*` does not cross a slash
    let flat = own(&site, "by/flat/*.log");
    let deep = own(&site, "by/*.log");
    site.log(json!({"path": flat, "attributes": {"parser": "p"}}));
    site.log(json!({"path": deep, "attributes": {"parser": "p"}}));
    site.start();
    let paths = ["flat", "deep"].map(|host| (host, own(&site, &format!("by/{host}/app.log"))));
    let mut stream = connect(&site, port);
    let gone = |site: &Site| {
        let monitor = monitor(site);
        monitor["counters"]["template_files_open"] == 0
    };
    for round in 0..3 {
        // The server is away in the second round, until the file is gone
        if round == 1 {
            site.receiver.fault(Fault::status(500).until_cleared());
        }
        let range = round * 10..round * 10 + 10;
        for n in range.clone() {
            for (host, _) in &paths {
                let text = numbered(host, n..n + 1);
                stream.write_all(text.as_bytes()).unwrap();
            }
            // Some wait in a request that fails, and some behind it
            if round == 1 && n == 15 {
                site.until("a request fails", |state| state.counts().faulted > 0);
            }
        }
        site.until_seen("the messages are taken", || {
            monitor(&site)["reported_lines"] == 2 * range.end
        });
        site.until_seen("the files are closed", || gone(&site));
        site.receiver.clear_faults();
        if round < 2 {
            for (_, path) in &paths {
                until_count(&mut site, path, range.end);
            }
        }
    }
    for (host, path) in &paths {
        until_count(&mut site, path, 30);
        let wanted: Vec<String> = numbered(host, 0..30).lines().map(str::to_owned).collect();
        assert_lines(&site, path, &wanted);
        assert_attributes(
            &site,
            path,
            json!({
                "parser": "p", "monitor": "agentSyslog", "proto": "tcp", "srcip": "127.0.0.1",
                "destport": port, "hostname": host, "appname": "app", "logfile": path,
            }),
        );
    }
    site.term();
    site.assert_well_formed();
}

/// Sends numbered messages of some hosts all the while, to whoever listens.
struct Sender {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Sender {
    fn start(port: u16, hosts: u64) -> Sender {
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicU64::new(0));
        let (stopping, counted) = (stop.clone(), sent.clone());
        let thread = std::thread::spawn(move || {
            let mut stream = None;
            let mut next = 0;
            while !stopping.load(Relaxed) {
                let Some(open) = &mut stream else {
                    stream = TcpStream::connect(("127.0.0.1", port)).ok();
                    std::thread::park_timeout(Duration::from_millis(5));
                    continue;
                };
                let host = format!("h{}", next % hosts);
                match open.write_all(numbered(&host, next..next + 1).as_bytes()) {
                    Ok(()) => {
                        next += 1;
                        counted.store(next, Relaxed);
                        std::thread::park_timeout(Duration::from_micros(500));
                    }
                    Err(_) => stream = None,
                }
            }
        });
        Sender {
            stop,
            sent,
            thread: Some(thread),
        }
    }

    fn until_more(&self, site: &Site, more: u64) {
        let goal = self.sent.load(Relaxed) + more;
        site.until_seen("more is sent", || self.sent.load(Relaxed) >= goal);
    }

    fn end(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            thread.join().unwrap();
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.end();
    }
}

#[test]
fn killed_and_stopped_while_senders_send_what_is_in_the_files_arrives_once() {
    let mut site = Site::new();
    let port = syslog(
        &mut site,
        json!({"message_log_template": "by-$HOSTNAME.log"}),
    );
    let path = own(&site, "by-*.log");
    site.log(json!({"path": path, "attributes": {"parser": "p"}}));
    site.start();
    let mut sender = Sender::start(port, 3);
    for round in 0..4 {
        // Lines that came in the second and third lives are still to be sent in the next one
        match round {
            1 => site.receiver.fault(Fault::status(500).until_cleared()),
            3 => site.receiver.clear_faults(),
            _ => {}
        }
        sender.until_more(&site, 300);
        if round == 2 {
            site.term();
        } else {
            site.kill9();
        }
        site.start();
    }
    sender.until_more(&site, 300);
    sender.end();
    for host in 0..3 {
        let path = own(&site, &format!("by-h{host}.log"));
        // Its size stands once the monitor has written the rest
        let mut written = Vec::new();
        site.until_seen("the file is complete and has arrived", || {
            let text = fs::read_to_string(&path).unwrap();
            written = text.lines().map(str::to_owned).collect();
            text.ends_with('\n') && lines(&site, &path).len() >= written.len()
        });
        assert!(written.len() > 300, "{}", written.len());
        assert_lines(&site, &path, &written);
        assert_attributes(
            &site,
            &path,
            json!({
                "parser": "p", "monitor": "agentSyslog", "proto": "tcp", "srcip": "127.0.0.1",
                "destport": port, "hostname": format!("h{host}"), "appname": "app",
                "logfile": path,
            }),
        );
    }
    site.term();
    site.assert_well_formed();
}

#[test]
fn a_log_whose_monitor_is_gone_for_a_while_is_neither_lost_nor_repeated_after_kills() {
    let mut site = Site::new();
    // No pattern of the copier finds the file
    let by_host = json!({"message_log_template": "by/$HOSTNAME/$APPNAME.log"});
    site.log(json!({"path": own(&site, "by/*.log"), "attributes": {"parser": "p"}}));
    site.copy("probe.log");
    let port = syslog(&mut site, by_host.clone());
    site.start();
    let path = own(&site, "by/h/app.log");
    let send = |site: &Site, port, range| {
        let text = numbered("h", range);
        connect(site, port).write_all(text.as_bytes()).unwrap();
    };
    let until_written = |site: &Site, lines: usize| {
        site.until_seen("the lines are written", || {
            fs::read_to_string(&path).is_ok_and(|text| text.lines().count() == lines)
        });
    };
    send(&site, port, 0..10);
    until_count(&mut site, &path, 10);
    site.receiver.fault(Fault::status(500).until_cleared());
    send(&site, port, 10..20);
    until_written(&site, 20);
    site.kill9();
    site.receiver.clear_faults();
    // Nothing names the log in these lives
    site.set("monitors", json!([]));
    for life in 1..3 {
        site.append("probe.log", format!("n={life:06} xxxx e={life:06}\n"));
        site.start();
        site.until_lines("probe.log", life);
        site.kill9();
    }
    assert_eq!(site.receiver.with(|state| count(state, &path)), 10);
    common::append(Path::new(&path), numbered("h", 20..25).as_bytes());
    let port = syslog(&mut site, by_host);
    site.start();
    send(&site, port, 25..30);
    until_count(&mut site, &path, 30);
    let wanted: Vec<String> = numbered("h", 0..30).lines().map(str::to_owned).collect();
    assert_lines(&site, &path, &wanted);
    site.term();
    site.assert_well_formed();
}

#[test]
fn a_log_that_its_monitor_has_retired_goes_on_where_it_was_after_a_kill() {
    let mut site = Site::new();
    let by_host = json!({
        "message_log_template": "by/$HOSTNAME/$APPNAME.log", "expire_log": 1,
    });
    let port = syslog(&mut site, by_host);
    site.log(json!({"path": own(&site, "by/*.log"), "attributes": {"parser": "p"}}));
    let path = own(&site, "by/h/app.log");
    for life in 0..3 {
        site.start();
        let text = numbered("h", life * 10..life * 10 + 10);
        connect(&site, port).write_all(text.as_bytes()).unwrap();
        until_count(&mut site, &path, life * 10 + 10);
        site.until_seen("the log is retired", || {
            !site.status_json().to_string().contains(&path)
        });
        site.kill9();
    }
    let wanted: Vec<String> = numbered("h", 0..30).lines().map(str::to_owned).collect();
    assert_lines(&site, &path, &wanted);
    let known = site.run(&["positions", &path]).out;
    assert!(known.contains("named by a monitor, with "), "{known}");
    site.assert_well_formed();
}

/// A sender who writes more than may lie on the disk.
#[test]
fn the_files_of_a_template_stay_below_their_bound_and_only_delivered_ones_are_deleted() {
    let mut site = Site::new();
    let port = syslog(
        &mut site,
        json!({
            "message_log_template": "by/$HOSTNAME.log", "max_log_size": 2_000,
            "max_log_rotations": 50, "max_total_log_size": 12_000,
        }),
    );
    site.log(json!({"path": own(&site, "by/*.log"), "attributes": {"parser": "p"}}));
    site.start();
    let mut stream = connect(&site, port);
    let path = own(&site, "by/h.log");
    let folder = site.path("log/by");
    let on_disk = || {
        let files = std::fs::read_dir(&folder).unwrap().flatten();
        let lengths = files.filter_map(|file| Some(file.metadata().ok()?.len()));
        lengths.sum::<u64>()
    };
    let mut sent = 0;
    // Nine tenths of the bound
    while sent == 0 || on_disk() < 10_800 {
        stream
            .write_all(numbered("h", sent..sent + 10).as_bytes())
            .unwrap();
        sent += 10;
        until_count(&mut site, &path, sent);
    }
    site.until_seen("what is delivered is deleted", || on_disk() <= 6_000);
    // Nothing is delivered any more
    site.receiver.fault(Fault::status(503).until_cleared());
    let last = sent + 400;
    stream
        .write_all(numbered("h", sent..last).as_bytes())
        .unwrap();
    let base = own(&site, "agent_syslog.log");
    let text_of = |name: &str| std::fs::read_to_string(own(&site, name)).unwrap_or_default();
    let end = numbered("h", last - 1..last);
    let is_there = || text_of("agent_syslog.log").ends_with(&end);
    site.until_seen("the rest goes to message_log", is_there);
    let mut refused = text_of("agent_syslog.log").lines().count();
    for n in 1..50 {
        refused += text_of(&format!("agent_syslog.log.{n}")).lines().count();
    }
    let counted = || monitor(&site)["counters"]["messages_without_room"] == refused;
    site.until_seen("that is counted", counted);
    let most = on_disk();
    assert!(most <= 12_000 + 100, "{most}");
    site.receiver.clear_faults();
    site.until("all", |state| {
        count(state, &path) + count(state, &base) >= last
    });
    let mut arrived = lines(&site, &path);
    arrived.extend(lines(&site, &base));
    let wanted: Vec<String> = numbered("h", 0..last).lines().map(str::to_owned).collect();
    assert_eq!(arrived, wanted);
    site.assert_well_formed();
}

#[test]
fn a_ring_of_files_that_are_written_in_turn_arrives_whole() {
    let mut site = Site::new();
    let port = syslog(
        &mut site,
        json!({
            "message_log": "ring.log",
            "unique_file_log_rotation": true,
            "max_log_size": 3000,
            "max_log_rotations": 3,
            "parser": "p",
        }),
    );
    site.start();
    let mut stream = connect(&site, port);
    let names = ["ring.log.0", "ring.log.1", "ring.log.2"].map(|name| own(&site, name));
    // Several times round; the copier has time between two files, as it has where they are large
    let mut sent = 0;
    for round in 0..3 {
        for _ in 0..10 {
            let text = numbered("host", sent..sent + 20);
            stream.write_all(text.as_bytes()).unwrap();
            sent += 20;
            site.until("the messages", |state| {
                names.iter().map(|n| count(state, n)).sum::<u64>() >= sent
            });
        }
        // A restart takes the oldest file, not the one that was written last
        if round == 1 {
            site.term();
            site.start();
            stream = connect(&site, port);
        }
    }
    let own_log = own(&site, "ring.log");
    assert!(!Path::new(&own_log).exists());
    let mut numbers = HashSet::new();
    for name in &names {
        assert_attributes(
            &site,
            name,
            json!({"parser": "p", "monitor": "agentSyslog", "logfile": name}),
        );
        for line in lines(&site, name) {
            assert!(numbers.insert(line.clone()), "twice: {line}");
        }
    }
    assert_eq!(numbers.len() as u64, sent);
    site.term();
    site.assert_well_formed();
}

#[test]
fn the_entry_of_logs_says_whose_key_a_senders_file_goes_with() {
    let mut site = Site::new();
    let port = syslog(
        &mut site,
        json!({"message_log_template": "by-$HOSTNAME.log", "parser": "p"}),
    );
    let server = site.receiver.url();
    site.set(
        "workers",
        json!([{"id": "second", "api_key": "second-key", "server_url": server}]),
    );
    // Were one pattern to match both files, the one would go with both keys.
    for (name, worker) in [("by-a*.log", "second"), ("by-b*.log", "default")] {
        let path = own(&site, name);
        site.log(json!({"path": path, "worker_id": worker}));
    }
    site.start();
    let mut stream = connect(&site, port);
    for host in ["alpha", "beta"] {
        stream.write_all(numbered(host, 0..50).as_bytes()).unwrap();
    }
    for (host, key) in [("alpha", "second-key"), ("beta", "test-key")] {
        let path = own(&site, &format!("by-{host}.log"));
        until_count(&mut site, &path, 50);
        let events = site.receiver.events();
        let of_host: HashSet<u64> = events
            .iter()
            .filter(|event| *event.path == *path)
            .map(|event| event.request)
            .collect();
        for request in site.receiver.requests() {
            if of_host.contains(&request.number) {
                assert_eq!(request.token, key);
            }
        }
        assert_eq!(lines(&site, &path).len(), 50);
    }
    site.term();
    site.assert_well_formed();
}

#[test]
fn a_reload_gives_files_that_are_open_their_new_rules_and_keeps_the_senders() {
    let mut site = Site::new();
    let port = syslog(
        &mut site,
        json!({"message_log_template": "by-$HOSTNAME.log", "parser": "p"}),
    );
    let by_host = own(&site, "by-*.log");
    let rule = |word: &str| {
        json!({
            "path": by_host, "redaction_rules": [{"match_expression": word, "replacement": "***"}],
        })
    };
    site.log(rule("first")).start();
    let mut stream = connect(&site, port);
    let path = own(&site, "by-alpha.log");
    let say = |stream: &mut TcpStream, n: usize| {
        let text = message("alpha", "app", &format!("{n} first second third"));
        stream.write_all(text.as_bytes()).unwrap();
    };
    let started = "Starting new copying and metrics threads";
    say(&mut stream, 0);
    until_count(&mut site, &path, 1);
    site.clear_logs().log(rule("second")).write_config();
    site.until_logged_times(started, 1);
    say(&mut stream, 1);
    until_count(&mut site, &path, 2);
    assert!(!site.agent_log().contains("Stopping monitor"));
    // An entry in front of it: now it is another one by its number
    let other = own(&site, "other-*.log");
    site.clear_logs();
    site.log(json!({"path": other})).log(rule("third"));
    site.write_config();
    site.until_logged_times(started, 2);
    let mut stream = connect(&site, port);
    say(&mut stream, 2);
    until_count(&mut site, &path, 3);
    let wanted = [
        "0 *** second third",
        "1 first *** third",
        "2 first second ***",
    ];
    let wanted = wanted.map(|text| message("alpha", "app", text).trim_end().to_owned());
    assert_lines(&site, &path, &wanted);
    assert_eq!(attributes(&site, &path).len(), 1);
    site.term();
    site.assert_well_formed();
}

/// A journal that a script plays.
struct Journal {
    dir: PathBuf,
    started: u64,
}

impl Journal {
    fn new(site: &mut Site, rules: Value) -> Journal {
        let dir = site.path("journal");
        fs::create_dir_all(&dir).unwrap();
        let program = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/monitors/tests/fixtures/journald/journalctl"
        );
        site.set("journald_logs", rules);
        site.set(
            "monitors",
            json!([{
                "module": "journald_monitor", "id": "j1", "journal_path": dir,
                "journal_poll_interval": 0.1, "journalctl_path": program,
            }]),
        );
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let journal = Journal {
            dir,
            started: now.unwrap().as_secs() * 1_000_000,
        };
        // It goes on behind entry 0, which it read in an earlier life
        let cursor = json!({"j1": journal.cursor(0)});
        fs::write(
            site.path("data/journald-checkpoints.json"),
            cursor.to_string(),
        )
        .unwrap();
        journal
    }

    fn cursor(&self, n: u64) -> String {
        format!(
            "s=abc;i={n:x};b=958b7e26df4c453aa0f9a8406cb508f2;m={n:x};t={:x};x={n:x}",
            self.started
        )
    }

    /// Entry number `n`, of a unit.
    fn entry(&self, n: u64, unit: &str, message: &str) -> String {
        format!(
            "__CURSOR={}\n__REALTIME_TIMESTAMP={}\n_BOOT_ID=958b7e26df4c453aa0f9a8406cb508f2\n\
             _SYSTEMD_UNIT={unit}\n_PID=8\nMESSAGE={message}\n\n",
            self.cursor(n),
            self.started,
        )
    }

    /// Sets the first output of the `n`-th journalctl.
    fn plays(&self, n: usize, text: &str) {
        fs::write(self.dir.join(format!("out.{n}")), text).unwrap();
    }

    fn until_saved(&self, site: &Site, n: u64) {
        let cursor = self.cursor(n);
        site.until_seen("the place in the journal is remembered", || {
            site.run(&["positions"]).out.contains(&cursor)
        });
    }
}

/// The log of a unit: what it was renamed to, or else the only one of that parser.
fn journald_log(site: &Site, parser: &str) -> String {
    let events = site.receiver.events();
    let mut paths: Vec<_> = events
        .iter()
        .filter(|event| event.attrs["parser"] == parser)
        .map(|event| event.path.to_string())
        .collect();
    paths.dedup();
    assert_eq!(paths.len(), 1, "{parser}: {paths:?}");
    paths.remove(0)
}

fn details(site: &Site, path: &str) -> Vec<String> {
    let tag = "[journald_monitor()] details ";
    let of_line = |line: String| line.split_once(tag).unwrap().1.to_owned();
    lines(site, path).into_iter().map(of_line).collect()
}

#[test]
fn units_have_logs_of_their_own_by_the_rules_of_journald_logs() {
    let mut site = Site::new();
    let journal = Journal::new(
        &mut site,
        json!([
            {
                "journald_unit": "ssh.*\\.service", "parser": "sshLog",
                "attributes": {"service": "ssh"}, "rename_logfile": "/journald/ssh.log",
                "redaction_rules": [{"match_expression": "for \\w+", "replacement": "for ***"}],
                "sampling_rules": [{"match_expression": "noise", "sampling_rate": 0}],
            },
            {"journald_globs": {"unit": "cron*"}, "parser": "cronLog"},
            {
                "journald_globs": {"_SYSTEMD_UNIT": "raw*"}, "parser": "rawLog",
                "emit_raw_details": true,
            },
        ]),
    );
    let entries = [
        journal.entry(0, "ssh.service", "was read before"),
        journal.entry(1, "ssh.service", "Accepted \"key\" for root"),
        journal.entry(2, "sshd@1.service", "noise"),
        journal.entry(3, "sshd@1.service", "bye"),
        journal.entry(4, "cron.service", "hourly"),
        journal.entry(5, "my-ssh.service", "not at the beginning"),
        journal.entry(6, "raw.service", "as it \"is\""),
    ];
    journal.plays(1, &entries.concat());
    site.start();
    site.until("all entries but one", |state| state.counts().events >= 5);
    journal.until_saved(&site, 6);
    let ssh = journald_log(&site, "sshLog");
    let id = "boot_id=\"958b7e26-df4c-453a-a0f9-a8406cb508f2\" monitor_id=\"j1\" pid=\"8\"";
    assert_eq!(
        details(&site, &ssh),
        [
            format!("\"Accepted \\\"key\\\" for ***\" {id} unit=\"ssh.service\""),
            format!("\"bye\" {id} unit=\"sshd@1.service\""),
        ]
    );
    assert_attributes(
        &site,
        &ssh,
        json!({
            "parser": "sshLog", "service": "ssh", "logfile": "/journald/ssh.log",
            "original_file": ssh,
        }),
    );
    for (parser, line) in [
        ("cronLog", format!("\"hourly\" {id} unit=\"cron.service\"")),
        ("rawLog", format!("as it \"is\" {id} unit=\"raw.service\"")),
        (
            "journald",
            format!("\"not at the beginning\" {id} unit=\"my-ssh.service\""),
        ),
    ] {
        let path = journald_log(&site, parser);
        assert_eq!(details(&site, &path), [line], "{parser}");
        assert_attributes(&site, &path, json!({"parser": parser, "logfile": path}));
    }
    assert_eq!(
        journald_log(&site, "journald"),
        own(&site, "journald_monitor.log")
    );
    site.term();
    site.assert_well_formed();
}

#[test]
fn a_secret_in_the_journal_is_redacted_by_the_rule_for_all_units() {
    let rule = json!({
        "redaction_rules": [{"match_expression": "token=\\w+", "replacement": "token=***"}],
        "sampling_rules": [{"match_expression": "noise", "sampling_rate": 0}],
        "rename_logfile": "/journald/all.log",
    });
    for any in [json!({"journald_unit": ".*"}), json!({})] {
        let mut site = Site::new();
        let mut all = rule.clone();
        let members = any.as_object().unwrap().clone();
        all.as_object_mut().unwrap().extend(members);
        let journal = Journal::new(
            &mut site,
            json!([{"journald_unit": "ssh", "parser": "sshLog"}, all]),
        );
        let entries = [
            journal.entry(0, "app.service", "was read before"),
            journal.entry(1, "app.service", "token=abc"),
            journal.entry(2, "app.service", "noise"),
            journal.entry(3, "app.service", "end"),
        ];
        journal.plays(1, &entries.concat());
        site.start();
        site.until("the last entry", |state| {
            let mut events = state.events();
            events.any(|event| event.text().contains("details \"end\""))
        });
        let path = own(&site, "journald_monitor.log");
        let sent = details(&site, &path);
        assert_eq!(sent.len(), 2, "{sent:?}");
        assert!(sent[0].starts_with("\"token=***\""), "{sent:?}");
        // The trial beforehand says what is sent
        let said = site.run(&["dry-run", &path]);
        assert!(said.out.contains("token=***") && !said.out.contains("noise"));
        assert!(said.out.contains("\"logfile\":\"/journald/all.log\""));
        site.term();
    }
}

#[test]
fn a_unit_s_log_is_not_said_to_be_copied_by_nobody() {
    let mut site = Site::new();
    site.set("workers", json!([{"id": "other", "api_key": "other-key"}]));
    let journal = Journal::new(
        &mut site,
        json!([
            {
                "journald_unit": "ssh", "parser": "sshLog", "rename_logfile": "/journald/ssh.log",
                "redaction_rules": [{"match_expression": "token=\\w+", "replacement": "token=***"}],
            },
            {"journald_globs": {"unit": "cron*"}, "parser": "cronLog", "worker_id": "other"},
        ]),
    );
    let entries = [
        journal.entry(0, "ssh.service", "was read before"),
        journal.entry(1, "ssh.service", "token=abc"),
        journal.entry(2, "cron.service", "hourly"),
    ];
    journal.plays(1, &entries.concat());
    site.start();
    site.until("both", |state| state.counts().events >= 2);
    for (parser, worker) in [("sshLog", "default"), ("cronLog", "other")] {
        let path = journald_log(&site, parser);
        let said = site.run(&["dry-run", &path]);
        let event: Value =
            serde_json::from_str(&said.out).unwrap_or_else(|e| panic!("{e}: {said:?}"));
        assert_eq!(
            event["message"].as_str().unwrap().trim_end(),
            lines(&site, &path)[0]
        );
        assert_eq!(event["attrs"].as_object(), attributes(&site, &path).first());
        assert_eq!(event["worker"].as_str().unwrap_or("default"), worker);
        assert_eq!(site.run(&["explain", &path]).code, 0);
    }
    site.term();
}

#[test]
fn the_journal_s_rule_for_all_units_goes_to_its_worker() {
    let mut site = Site::new();
    site.set("workers", json!([{"id": "other", "api_key": "other-key"}]));
    let rules = json!([{"journald_unit": ".*", "worker_id": "other"}]);
    let journal = Journal::new(&mut site, rules);
    let entries = [0, 1].map(|n| journal.entry(n, "app.service", "hello"));
    journal.plays(1, &entries.concat());
    site.start();
    let path = own(&site, "journald_monitor.log");
    until_count(&mut site, &path, 1);
    let keys: Vec<_> = site.receiver.requests().into_iter().collect();
    let other = keys.iter().filter(|request| request.events > 0);
    assert!(other.clone().count() > 0);
    assert!(other
        .into_iter()
        .all(|request| request.token == "other-key"));
    site.term();
}

#[test]
fn restarts_neither_lose_nor_repeat_entries_of_the_journal() {
    let mut site = Site::new();
    let rules = json!([{"journald_unit": "ssh", "parser": "sshLog"}]);
    let journal = Journal::new(&mut site, rules);
    let entry = |n| {
        let unit = ["ssh.service", "other.service"][n as usize % 2];
        journal.entry(n, unit, &format!("n={n:06} xxxx e={n:06}"))
    };
    let entries = |range: std::ops::Range<u64>| range.map(entry).collect::<String>();
    journal.plays(1, &entries(0..21));
    site.start();
    journal.until_saved(&site, 20);
    // Nothing may have been sent by now, or all
    site.kill9();
    journal.plays(2, &entries(20..41));
    site.receiver.fault(Fault::status(500).until_cleared());
    site.start();
    journal.until_saved(&site, 40);
    site.term();
    // The unit says nothing more: what is in its file has to go nevertheless
    journal.plays(3, &entry(40));
    site.receiver.clear_faults();
    site.start();
    site.until("all entries", |state| state.counts().events >= 40);
    let more = format!("{}{}", entry(41), entry(42));
    fs::write(journal.dir.join("more"), more).unwrap();
    site.until("later entries", |state| state.counts().events >= 42);
    site.term();
    let numbers = |path: &str| -> Vec<u64> {
        let number = |line: &String| line[line.find("n=").unwrap() + 2..][..6].parse().unwrap();
        lines(&site, path).iter().map(number).collect()
    };
    let ssh = journald_log(&site, "sshLog");
    let wanted = |first: u64| (first..43).step_by(2).collect::<Vec<u64>>();
    assert_eq!(numbers(&ssh), wanted(2));
    assert_eq!(numbers(&own(&site, "journald_monitor.log")), wanted(1));
    site.assert_well_formed();
}
