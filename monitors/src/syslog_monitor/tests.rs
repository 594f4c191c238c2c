use super::*;
use crate::emitter::captured;
use crate::followed::FollowedLogs;
use crate::monitor::LogRule;
use common::limit::WriteLimit;
use common::stop::Stopper;
use common::testing::Scratch;
use crossbeam_channel::unbounded;
use serde_json::json;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

const PATIENCE: Duration = Duration::from_secs(30);

fn setup<T>(entry: &Json, place: &Place, then: impl FnOnce(&Setup) -> T) -> Result<T, Error> {
    let members: Vec<(String, Json)> = entry
        .as_object()
        .unwrap()
        .iter()
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    let options = Options::read(OPTIONS, &members)?;
    Ok(then(&Setup {
        options: &options,
        place,
        module: DESCRIPTION.module,
        id: "",
    }))
}

fn built(entry: &Json) -> Result<SyslogMonitor, String> {
    setup(entry, &Place::new("/", "/l"), build)
        .and_then(|built| built)
        .map_err(|error| error.to_string())
}

struct Running {
    addresses: Vec<SocketAddr>,
    dir: PathBuf,
    followed: Arc<FollowedLogs>,
    counters: Vec<(&'static str, Arc<AtomicU64>)>,
    stopper: Option<Stopper>,
    thread: Option<JoinHandle<Result<(), Error>>>,
}

/// Ports that the kernel chooses, one each for `protocols`.
fn start(scratch: &Scratch, entry: &Json, rules: &[LogRule]) -> Running {
    let mut place = Place::new("/", scratch.path(""));
    place.log_rules = rules.into();
    let mut entry = entry.clone();
    if entry["log_flush_delay"].is_null() {
        entry["log_flush_delay"] = json!(0.01);
    }
    let mut monitor = setup(&entry, &place, build).unwrap().unwrap();
    let numbers: Vec<_> = monitor.ports.iter().map(|p| p.address.port()).collect();
    for port in &mut monitor.ports {
        if [601, 514].contains(&port.address.port()) {
            port.address.set_port(0);
        }
    }
    let (say, listening) = unbounded();
    monitor.listening = Some(say);
    let (mut out, _, stopper) = captured::stoppable("syslog_monitor()", WriteLimit::none(), &[]);
    let counters = [
        "messages",
        "messages_malformed",
        "messages_truncated",
        "messages_incomplete",
        "messages_without_header",
        "connections",
        "connections_refused",
        "template_files_open",
        "template_files_deleted",
        "template_bytes",
        "messages_without_room",
        "lines_lost",
        "datagrams_dropped_by_kernel",
    ]
    .map(|name| (name, out.counter(name)))
    .into();
    let thread = std::thread::spawn(move || monitor.gather(&mut out));
    let mut addresses: Vec<(usize, SocketAddr)> = numbers
        .iter()
        .map(|_| listening.recv_timeout(PATIENCE).unwrap())
        .collect();
    addresses.sort();
    Running {
        addresses: addresses.into_iter().map(|(_, address)| address).collect(),
        dir: scratch.path(""),
        followed: place.followed,
        counters,
        stopper: Some(stopper),
        thread: Some(thread),
    }
}

impl Running {
    fn connect(&self) -> TcpStream {
        TcpStream::connect(self.addresses[0]).unwrap()
    }

    /// Sends all of it over a connection of its own.
    fn tcp(&self, bytes: &[u8]) {
        self.connect().write_all(bytes).unwrap();
    }

    fn udp(&self, port: usize, bytes: &[u8]) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.send_to(bytes, self.addresses[port]).unwrap();
    }

    fn count(&self, name: &str) -> u64 {
        let (_, counter) = self.counters.iter().find(|(n, _)| *n == name).unwrap();
        counter.load(Relaxed)
    }

    fn read(&self, name: &str) -> String {
        String::from_utf8(fs::read(self.dir.join(name)).unwrap_or_default()).unwrap()
    }

    #[track_caller]
    fn wait(&self, what: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !what() {
            assert!(
                Instant::now() < deadline,
                "the file has {:?}",
                self.read("agent_syslog.log")
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    #[track_caller]
    fn expect(&self, name: &str, text: &str) {
        self.wait(|| self.read(name).len() >= text.len());
        assert_eq!(self.read(name), text);
    }

    fn stop(&mut self) {
        self.stopper = None;
        self.thread.take().unwrap().join().unwrap().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.stop();
        }
    }
}

fn rule(path: PathBuf, attributes: &[(&str, &str)]) -> LogRule {
    LogRule {
        path,
        attributes: attributes
            .iter()
            .map(|(k, v)| ((*k).to_owned(), json!(v)))
            .collect(),
    }
}

#[test]
fn protocols_are_read_as_before() {
    let of = |text: &str| {
        built(&json!({ "protocols": text })).map(|monitor| {
            let ports = monitor.ports.iter();
            ports
                .map(|port| format!("{:?} {}", port.transport, port.address))
                .collect::<Vec<_>>()
        })
    };
    assert_eq!(of("tcp").unwrap(), ["Tcp 127.0.0.1:601"]);
    assert_eq!(
        of(" TCP:0, udp , udp:514,tcp:1601 ").unwrap(),
        [
            "Tcp 127.0.0.1:601",
            "Udp 127.0.0.1:514",
            "Tcp 127.0.0.1:1601"
        ]
    );
    for (text, error) in [
        (
            "tls:6514",
            "Unknown value 'tls:6514' specified for SyslogServer 'protocol'.",
        ),
        (
            "",
            "Unknown value '' specified for SyslogServer 'protocol'.",
        ),
        (
            "tcp:x",
            "Unknown value 'tcp:x' specified for SyslogServer 'protocol'.",
        ),
        (
            "udp:65536",
            "Field \"protocols\": port 65536 in \"udp:65536\" is not between 1 and 65535",
        ),
    ] {
        assert_eq!(of(text).unwrap_err(), error);
    }
}

#[test]
fn nobody_else_can_send_unless_that_is_allowed() {
    let address =
        |entry: Json| built(&entry).map(|monitor| monitor.ports[0].address.ip().to_string());
    assert_eq!(address(json!({})).unwrap(), "127.0.0.1");
    let remote = json!({"accept_remote_connections": true});
    assert_eq!(address(remote).unwrap(), "0.0.0.0");
    assert_eq!(address(json!({"listen_address": "::1"})).unwrap(), "::1");
    for text in ["::", "0.0.0.0", "192.0.2.1", "localhost"] {
        assert!(address(json!({ "listen_address": text })).is_err());
    }
    let both = json!({"listen_address": "::", "accept_remote_connections": true});
    assert_eq!(address(both).unwrap(), "::");
}

#[test]
fn what_is_not_offered_is_refused_by_name() {
    for (entry, part) in [
        (json!({"mode": "docker"}), "message_log_template"),
        (json!({"mode": "x"}), "\"mode\""),
        (json!({"tcp_request_parser": "x"}), "\"raw\""),
        (json!({"tcp_framing": "x"}), "\"octet-counted\""),
        (json!({"message_log": ""}), "message_log"),
        (
            json!({"message_log_template": "../x"}),
            "message_log_template",
        ),
        (
            json!({"tcp_buffer_size": 67_108_865}),
            "maximum is 67108864",
        ),
        (
            json!({"tcp_incomplete_frame_timeout": 601}),
            "maximum is 600",
        ),
    ] {
        let error = built(&entry).err().unwrap();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn the_copier_is_told_of_the_base_file_or_of_all_of_the_ring() {
    let place = Place::new("/", "/l");
    let paths = |entry: Json| -> Vec<String> {
        let logs = setup(&entry, &place, logs).unwrap();
        logs.iter()
            .map(|log| log.path.to_string_lossy().into_owned())
            .collect()
    };
    assert_eq!(paths(json!({})), ["/l/agent_syslog.log"]);
    assert_eq!(paths(json!({"message_log": "/x/y"})), ["/x/y"]);
    let ring = json!({"unique_file_log_rotation": true, "max_log_rotations": 2, "max_log_size": 9});
    assert_eq!(
        paths(ring),
        ["/l/agent_syslog.log.0", "/l/agent_syslog.log.1"]
    );
    let log = setup(&json!({"parser": "p"}), &place, logs).unwrap();
    assert_eq!(log[0].parser, "p");
    assert_eq!(
        log[0].attributes,
        [("monitor".to_owned(), json!("agentSyslog"))]
    );
}

#[test]
fn what_was_recorded_comes_out_byte_for_byte() {
    let scratch = Scratch::new("syslog-golden");
    let running = start(&scratch, &json!({"protocols": "tcp,udp"}), &[]);
    let udp5424 = "<13>1 2026-11-22T22:27:59.255912+00:00 vm myapp - - [timeQuality tzKnown=\"1\" isSynced=\"0\"] udp rfc5424 default é ☃";
    let udp3164 = "<13>Nov 22 22:27:59 vm myapp[9684]: udp rfc3164 message";
    let tcp5424 = "<13>1 2026-11-22T22:27:59.272244+00:00 vm myapp - - [timeQuality tzKnown=\"1\" isSynced=\"0\"] tcp rfc5424 message";
    let mut expected = String::new();
    let mut sent = |line: &str| {
        expected.push_str(line);
        expected.push('\n');
        running.expect("agent_syslog.log", &expected);
    };
    running.udp(1, udp5424.as_bytes());
    sent(udp5424);
    running.udp(1, udp3164.as_bytes());
    sent(udp3164);
    running.tcp(format!("{tcp5424}\n").as_bytes());
    sent(tcp5424);
    running.tcp(format!("{} {tcp5424}", tcp5424.len()).as_bytes());
    sent(tcp5424);
    running.tcp(b"<13>raw line one\n<13>raw line two\r\n\n<13>after empty\n");
    sent("<13>raw line one\n<13>raw line two\n\n<13>after empty");
    running.tcp(b"5 hello5 world3 abc\n<13>tail\n");
    sent("hello\nworld\nabc\n\n<13>tail");
}

#[test]
fn nul_bad_utf8_and_a_missing_line_end_lose_nothing_else() {
    let scratch = Scratch::new("syslog-bytes");
    let running = start(&scratch, &json!({"protocols": "tcp,udp"}), &[]);
    running.tcp(b"a\0b\n\xff<13>caf\xc3\xa9\xc3\n  no end");
    running.expect("agent_syslog.log", "a\0b\n<13>café\nno end\n");
    let large = "z".repeat(60_000);
    running.udp(1, large.as_bytes());
    let mut all = format!("a\0b\n<13>café\nno end\n{large}\n");
    running.expect("agent_syslog.log", &all);
    running.udp(1, b"");
    all.push('\n');
    running.expect("agent_syslog.log", &all);
    running.udp(1, b" <13>one\ntwo \r\n");
    all.push_str("<13>one\ntwo\n");
    running.expect("agent_syslog.log", &all);
}

#[test]
fn pythons_sysloghandler_which_ends_messages_with_nul_is_understood() {
    let scratch = Scratch::new("syslog-nul");
    let running = start(&scratch, &json!({"protocols": "tcp,udp"}), &[]);
    let mut client = running.connect();
    client.write_all(b"<12>one\0<11>two\0").unwrap();
    // The second is complete although nothing follows.
    running.expect("agent_syslog.log", "<12>one\n<11>two\n");
    running.udp(1, b"<14>three\0");
    running.expect("agent_syslog.log", "<12>one\n<11>two\n<14>three\n");
}

#[test]
fn a_long_message_is_cut_or_not_as_the_options_say() {
    let scratch = Scratch::new("syslog-long");
    let long = "x".repeat(9000);
    let running = start(&scratch, &json!({}), &[]);
    running.tcp(format!("{long}\n<13>next\n").as_bytes());
    let expected = format!("{}\n{}\n<13>next\n", &long[..8192], &long[..808]);
    running.expect("agent_syslog.log", &expected);
    running.wait(|| running.count("messages_truncated") == 1);
    // A message that is too long only by its line end leaves no rest behind.
    running.tcp(format!("{}\r\n<13>after\n", &long[..8192]).as_bytes());
    let expected = format!("{expected}{}\n<13>after\n", &long[..8192]);
    running.expect("agent_syslog.log", &expected);
    drop(running);
    let entry = json!({"message_size_can_exceed_tcp_buffer": true, "message_log": "long.log"});
    let running = start(&scratch, &entry, &[]);
    running.tcp(format!("{long}\n{} <13>{long}", long.len() + 4).as_bytes());
    running.expect("long.log", &format!("{long}\n<13>{long}\n"));
}

#[test]
fn an_endless_stream_without_a_line_end_takes_no_memory() {
    let scratch = Scratch::new("syslog-endless");
    let running = start(&scratch, &json!({}), &[]);
    let mut client = running.connect();
    for _ in 0..64 {
        client.write_all(&[b'e'; 65536]).unwrap();
    }
    drop(client);
    let size = 4 << 20;
    running.wait(|| running.read("agent_syslog.log").len() >= size + size / 8192);
    assert_eq!(running.count("messages"), 1);
}

#[test]
fn malformed_floods_do_not_stop_the_next_good_message() {
    let scratch = Scratch::new("syslog-flood");
    let running = start(&scratch, &json!({"tcp_framing": "octet-counted"}), &[]);
    let mut client = running.connect();
    for n in 0..10_000 {
        client
            .write_all(format!("99999999999 nonsense {n}\n").as_bytes())
            .unwrap();
    }
    client.write_all(b"8 <13>good").unwrap();
    running.wait(|| running.read("agent_syslog.log").ends_with("<13>good\n"));
    assert_eq!(running.count("messages_malformed"), 10_000);
    assert_eq!(running.read("agent_syslog.log").lines().count(), 10_001);
}

#[test]
fn a_batch_keeps_its_messages_as_they_are_and_waits_no_longer_than_it_may() {
    let scratch = Scratch::new("syslog-batch");
    let entry = json!({
        "tcp_request_parser": "batch",
        "tcp_message_delimiter": "\\000",
        "tcp_incomplete_frame_timeout": 1
    });
    let running = start(&scratch, &entry, &[]);
    let mut client = running.connect();
    client.write_all(b"\0 a\r\0\0b\r\0\0").unwrap();
    running.expect("agent_syslog.log", "a\r\n\nb\n");
    let began = Instant::now();
    client.write_all(b"c\nd\0unfinished").unwrap();
    running.expect("agent_syslog.log", "a\r\n\nb\nc\nd\nunfinished\n");
    assert!(began.elapsed() > Duration::from_millis(500));
    assert_eq!(running.count("messages_incomplete"), 1);
}

#[test]
fn messages_of_a_batch_that_end_with_a_newline_make_no_empty_lines() {
    let scratch = Scratch::new("syslog-batch-newline");
    let running = start(&scratch, &json!({"tcp_request_parser": "batch"}), &[]);
    running.tcp(b"6 <13>a\n6 <13>b\n7 <13>c\n\n5 <13>d");
    running.expect("agent_syslog.log", "<13>a\n<13>b\n<13>c\n\n<13>d\n");
}

#[test]
fn raw_writes_what_comes_untouched_and_in_whole_lines() {
    let scratch = Scratch::new("syslog-raw");
    let running = start(&scratch, &json!({"tcp_request_parser": "raw"}), &[]);
    let mut client = running.connect();
    client.write_all(b" 5 hello\r\n\n pa").unwrap();
    running.expect("agent_syslog.log", " 5 hello\r\n\n pa\n");
    client.write_all(b"rt \nend").unwrap();
    drop(client);
    running.expect("agent_syslog.log", " 5 hello\r\n\n pa\nrt \nend\n");
}

#[test]
fn what_is_held_back_is_written_at_the_end() {
    let scratch = Scratch::new("syslog-held");
    let mut running = start(&scratch, &json!({"log_flush_delay": 600}), &[]);
    let mut client = running.connect();
    client.write_all(b"<13>held\n<13>unfinished").unwrap();
    running.wait(|| running.count("messages") == 1);
    assert_eq!(running.read("agent_syslog.log"), "");
    running.stop();
    assert_eq!(
        running.read("agent_syslog.log"),
        "<13>held\n<13>unfinished\n"
    );
}

#[test]
fn a_thousand_connections_are_served_and_slow_ones_hinder_nobody() {
    let scratch = Scratch::new("syslog-thousand");
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    // Both ends are files of this process.
    let n = usize::try_from(soft / 4).unwrap_or(1000).min(1000);
    let running = start(&scratch, &json!({}), &[]);
    let mut clients: Vec<_> = (0..n).map(|_| running.connect()).collect();
    for client in &mut clients {
        client.write_all(b"<13>sl").unwrap();
    }
    running.wait(|| running.count("connections") == n as u64);
    running.tcp(b"<13>quick\n");
    running.expect("agent_syslog.log", "<13>quick\n");
    for client in &mut clients {
        client.write_all(b"ow\n").unwrap();
    }
    running.wait(|| running.read("agent_syslog.log").lines().count() == n + 1);
    assert_eq!(running.count("connections_refused"), 0);
}

#[test]
fn instances_with_one_message_log_share_the_file() {
    let scratch = Scratch::new("syslog-shared");
    let a = start(&scratch, &json!({}), &[]);
    let b = start(&scratch, &json!({}), &[]);
    a.tcp(b"from a\n");
    a.expect("agent_syslog.log", "from a\n");
    b.tcp(b"from b\n");
    b.expect("agent_syslog.log", "from a\nfrom b\n");
}

#[test]
#[ignore = "a measurement: run it with --release --nocapture"]
fn how_many_messages_a_second() {
    let scratch = Scratch::new("syslog-speed");
    let line = b"<34>Oct 11 22:14:15 alpha sshd[123]: a message of the usual length, or rather a short one\n";
    for template in [None, Some("t-$HOSTNAME-$APPNAME.log")] {
        let mut entry = json!({"log_flush_delay": 1, "max_log_size": 0});
        if let Some(template) = template {
            entry["message_log_template"] = json!(template);
        }
        let rules = [rule(scratch.path("t-*"), &[])];
        let running = start(&scratch, &entry, &rules);
        let block = line.repeat(700);
        let began = Instant::now();
        let mut client = running.connect();
        let rounds = 3000;
        for _ in 0..rounds {
            client.write_all(&block).unwrap();
        }
        drop(client);
        running.wait(|| running.count("messages") == rounds * 700);
        let seconds = began.elapsed().as_secs_f64();
        println!(
            "template {template:?}: {:.0} messages/s",
            (rounds * 700) as f64 / seconds
        );
    }
}

#[test]
fn a_client_that_only_half_closes_is_let_go() {
    let scratch = Scratch::new("syslog-half");
    let running = start(&scratch, &json!({}), &[]);
    let mut client = running.connect();
    client.write_all(b"<13>last words").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
    running.expect("agent_syslog.log", "<13>last words\n");
    running.wait(|| running.count("connections") == 0);
}

#[path = "tests_clients.rs"]
mod clients;
#[path = "tests_templates.rs"]
mod templates;
