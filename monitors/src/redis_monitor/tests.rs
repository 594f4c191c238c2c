//! The monitor against a scripted server.

use super::resp::{command, Replies};
use super::*;
use crate::emitter::captured::Lines;
use crate::monitor::Place;
use crate::testing;
use serde_json::json;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{channel, Receiver};
use std::time::Instant;

/// The server's answer to one request, or in place of one.
enum Act {
    /// Answers.
    Say(Vec<u8>),
    /// Closes the connection without an answer.
    Close,
    /// Says something before anybody asks, and closes the connection.
    Greet(&'static [u8]),
    /// Never answers.
    Hang,
    /// Answers without end.
    Flood,
}

/// A server that follows a script; connections come as they will.
struct Fake {
    port: u16,
    requests: Receiver<String>,
}

impl Fake {
    fn new(script: Vec<Act>) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (tx, requests) = channel();
        std::thread::spawn(move || {
            let mut link: Option<TcpStream> = None;
            for act in script {
                let mut at = link.take().unwrap_or_else(|| listener.accept().unwrap().0);
                if let Act::Greet(text) = act {
                    at.write_all(text).unwrap();
                    continue;
                }
                // One the client may have dropped
                let request = match request(&mut at) {
                    Some(request) => request,
                    None => {
                        at = listener.accept().unwrap().0;
                        request(&mut at).unwrap()
                    }
                };
                let _ = tx.send(request);
                match act {
                    Act::Say(text) => {
                        let _ = at.write_all(&text);
                        link = Some(at);
                    }
                    Act::Hang => std::mem::forget(at),
                    Act::Flood => while at.write_all(&[b'x'; 65536]).is_ok() {},
                    Act::Close | Act::Greet(_) => {}
                }
            }
        });
        Fake { port, requests }
    }

    fn monitor(&self, more: Json) -> Watched {
        let mut entry = json!({"hosts": [{"host": "127.0.0.1", "port": self.port}]});
        entry
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        Watched::new(entry)
    }
}

/// A request up to the end of its SLOWLOG command; none if the connection ends before.
fn request(at: &mut TcpStream) -> Option<String> {
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match at.read(&mut buffer) {
            Ok(n) if n > 0 => seen.extend_from_slice(&buffer[..n]),
            _ => return None,
        }
        let text = String::from_utf8_lossy(&seen);
        if text.contains("SLOWLOG")
            && text.ends_with("\r\n")
            && text.rsplit("\r\n").nth(1)?.parse::<u32>().is_ok()
        {
            return Some(text.replace("\r\n", " "));
        }
    }
}

/// A monitor, and what it says over several samples.
pub struct Watched {
    monitor: Box<dyn Monitor>,
    out: Emitter,
    lines: Lines,
}

impl Watched {
    pub fn new(entry: Json) -> Self {
        let monitor =
            testing::make(&DESCRIPTION, &entry, &Place::new("/", "/nonexistent")).unwrap();
        let (out, lines) = testing::capture("redis_monitor()");
        Watched {
            monitor,
            out,
            lines,
        }
    }

    /// The lines of the next sample behind their stamps and tags, or its error.
    pub fn sample(&mut self) -> Result<Vec<String>, String> {
        let result = self.monitor.gather(&mut self.out);
        self.out.flush();
        let lines = self.lines.take();
        let lines = lines
            .lines()
            .map(|line| line.split_once("[redis_monitor()] ").unwrap().1.to_owned())
            .collect();
        result.map(|()| lines).map_err(|e| e.to_string())
    }

    pub fn count(&self, name: &'static str) -> u64 {
        self.out.counter(name).load(Relaxed)
    }
}

const INFO: &str = "# Server\r\nredis_version:7.0.15\r\nrun_id:aaaa\r\nuptime_in_seconds:1000\r\n";

fn bulk(text: &[u8]) -> Vec<u8> {
    let mut out = format!("${}\r\n", text.len()).into_bytes();
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
    out
}

/// An entry of the slow log: id, time, microseconds, arguments, client's name.
type Slow<'a> = (i64, i64, i64, &'a [&'a [u8]], &'a [u8]);

fn slowlog(entries: &[Slow]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", entries.len()).into_bytes();
    for (id, at, micros, arguments, name) in entries {
        out.extend_from_slice(format!("*6\r\n:{id}\r\n:{at}\r\n:{micros}\r\n").as_bytes());
        command(&mut out, arguments);
        out.extend_from_slice(&bulk(b"127.0.0.1:5000"));
        out.extend_from_slice(&bulk(name));
    }
    out
}

/// An answer to INFO and SLOWLOG of an open connection.
fn answer(info: &str, entries: &[Slow]) -> Vec<u8> {
    [bulk(info.as_bytes()), slowlog(entries)].concat()
}

/// The same of a new connection.
fn hello(info: &str, entries: &[Slow]) -> Vec<u8> {
    [b"+OK\r\n", &answer(info, entries)[..]].concat()
}

#[test]
fn slow_commands_are_written_as_the_python_agent_writes_them() {
    let at = 1_795_386_111;
    let cut = "é".repeat(64) + "... (172 more bytes)";
    let fake = Fake::new(vec![
        Act::Say(hello(INFO, &[(0, at - 9, 7, &[b"get", b"old"], b"")])),
        Act::Say(answer(
            INFO,
            &[
                (6, at + 1, 101, &[b"INFO"], b"scalyr-agent-2"),
                (5, at, 6, &[b"mget", b"1", b"... (10 more arguments)"], b""),
                (4, at, 6, &[b"set", b"long", cut.as_bytes()], b""),
                (
                    3,
                    at,
                    7,
                    &[b"set", b"sp", b"\"q\" \\ x", "tab\té".as_bytes()],
                    b"me",
                ),
                (2, at, 7, &[b"set", b"bin", b"\xFF\xFE"], b""),
                (1, at, 8, &[b"set", b"k", b"v"], b""),
                (0, at - 9, 7, &[b"get", b"old"], b""),
            ],
        )),
        Act::Say(answer(
            INFO,
            &[(6, at + 1, 101, &[b"INFO"], b"scalyr-agent-2")],
        )),
    ]);
    let mut monitor = fake.monitor(json!({}));
    assert_eq!(monitor.sample().unwrap(), [""; 0]);
    let end = format!(
        "host=\"127.0.0.1:{}\" ts=\"2026-11-22 22:21:51Z\"",
        fake.port
    );
    let expected = [
        format!("redis \"slowlog\" command=\"set k v\" exectime=8 {end}"),
        format!("redis \"slowlog\" command=\"set bin \u{FFFD}\u{FFFD}\" exectime=7 {end}"),
        format!("redis \"slowlog\" command=\"set sp \\\"q\\\" \\\\ x tab\\té\" exectime=7 {end}"),
        format!("redis \"slowlog\" command=\"set long {cut}\" exectime=6 {end}"),
        format!("redis \"slowlog\" command=\"mget 1 ... (10 more arguments)\" exectime=6 {end}"),
    ];
    assert_eq!(monitor.sample().unwrap(), expected);
    assert_eq!(monitor.sample().unwrap(), [""; 0]);
    assert_eq!(monitor.count("slowlog_gaps"), 0);
    assert_eq!(monitor.count("invalid_utf8"), 1);
    let requests: Vec<String> = fake.requests.try_iter().collect();
    assert!(
        requests[0].ends_with("*3 $7 SLOWLOG $3 GET $1 1 "),
        "{requests:?}"
    );
    assert!(
        requests[1].starts_with("*1 $4 INFO *3 $7 SLOWLOG $3 GET $3 500 "),
        "{requests:?}"
    );
}

#[test]
fn a_server_restarted_between_two_samples_is_asked_again_at_once_and_loses_no_slow_command() {
    let restarted = INFO.replace("aaaa", "bbbb").replace("1000", "0");
    let fake = Fake::new(vec![
        Act::Say(hello(INFO, &[(70, 50, 1, &[b"get"], b"")])),
        Act::Close,
        Act::Say(hello(
            &restarted,
            &[(1, 50, 1, &[b"b"], b""), (0, 49, 1, &[b"a"], b"")],
        )),
        Act::Say(answer(
            &restarted,
            &[(2, 51, 1, &[b"c"], b""), (1, 50, 1, &[b"b"], b"")],
        )),
    ]);
    let mut monitor = fake.monitor(json!({}));
    monitor.sample().unwrap();
    let lines = monitor.sample().unwrap();
    assert!(
        lines[0].contains("\"a\"") && lines[1].contains("\"b\""),
        "{lines:?}"
    );
    assert_eq!(monitor.count("slowlog_gaps"), 1);
    let lines = monitor.sample().unwrap();
    assert!(lines.len() == 1 && lines[0].contains("\"c\""), "{lines:?}");
}

#[test]
fn wrong_credentials_of_one_host_stop_no_other_and_show_no_password() {
    let bad = Fake::new(vec![Act::Say(
        b"-WRONGPASS invalid username-password pair or user is disabled.\r\n-NOAUTH Authentication required.\r\n-NOAUTH Authentication required.\r\n-NOAUTH Authentication required.\r\n".to_vec(),
    )]);
    let good = Fake::new(vec![Act::Say(hello(INFO, &[]))]);
    let none = Fake::new(vec![Act::Say(
        b"-NOAUTH Authentication required.\r\n-NOAUTH Authentication required.\r\n-NOAUTH Authentication required.\r\n".to_vec(),
    )]);
    let mut monitor = Watched::new(json!({"hosts": [
        {"host": "127.0.0.1", "port": bad.port, "username": "me", "password": "s3cret"},
        {"host": "127.0.0.1", "port": good.port, "password": null},
        {"host": "127.0.0.1", "port": none.port},
    ]}));
    let error = monitor.sample().unwrap_err();
    for words in [
        "WRONGPASS",
        "Correct \"username\" and \"password\"",
        "NOAUTH",
        "Set \"password\"",
        &bad.port.to_string(),
    ] {
        assert!(error.contains(words), "{words}: {error}");
    }
    assert!(
        !error.contains("s3cret") && !error.contains(&good.port.to_string()),
        "{error}"
    );
    let request = bad.requests.recv().unwrap();
    assert!(
        request.starts_with("*3 $4 AUTH $2 me $6 s3cret *3 $6 CLIENT "),
        "{request}"
    );
    assert!(good.requests.recv().unwrap().starts_with("*3 $6 CLIENT "));
}

#[test]
fn a_password_for_a_server_without_one_does_no_harm() {
    for words in [
        "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?",
        "ERR Client sent AUTH, but no password is set",
    ] {
        let answer = [format!("-{words}\r\n").as_bytes(), &hello(INFO, &[])].concat();
        let fake = Fake::new(vec![Act::Say(answer)]);
        let host = json!({"host": "127.0.0.1", "port": fake.port, "password": "x"});
        let mut monitor = Watched::new(json!({"hosts": [host]}));
        assert_eq!(monitor.sample().unwrap(), [""; 0]);
    }
}

#[test]
fn whatever_comes_in_place_of_an_answer_the_next_sample_goes_on() {
    let long = [b"$".as_slice(), &[b'9'; 30], b"\r\n"].concat();
    for (act, words) in [
        (Act::Close, "closed the connection"),
        (
            Act::Greet(b"-ERR max number of clients reached\r\n"),
            "max number of clients",
        ),
        (
            Act::Greet(b"-DENIED Redis is running in protected mode because ...\r\n"),
            "127.0.0.1",
        ),
        (
            Act::Say(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
            "protocol",
        ),
        (Act::Say(b"+OK\r\n$2000000000\r\n".to_vec()), "too long"),
        (Act::Say(b"+OK\r\n*-5\r\n".to_vec()), "negative"),
        (Act::Say(long), "number"),
        (
            Act::Say([b"+OK\r\n".as_slice(), &bulk(INFO.as_bytes()), b":5\r\n"].concat()),
            "list",
        ),
        (Act::Flood, "protocol"),
        (Act::Hang, "within connection_timeout"),
        (
            Act::Say(hello(INFO, &[])[..60].to_vec()),
            "within connection_timeout",
        ),
    ] {
        let fake = Fake::new(vec![act, Act::Say(hello(INFO, &[]))]);
        let mut monitor = fake.monitor(json!({"connection_timeout": 1}));
        let began = Instant::now();
        let error = monitor.sample().unwrap_err();
        assert!(error.contains(words), "{words}: {error}");
        assert!(began.elapsed() < Duration::from_secs(5));
        assert_eq!(monitor.sample().unwrap(), [""; 0], "{words}");
    }
}

#[test]
fn a_refused_connection_names_the_server_and_repeats_the_same_text() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let mut monitor = Watched::new(json!({"hosts": [{"host": "127.0.0.1", "port": port}]}));
    let first = monitor.sample().unwrap_err();
    assert!(first.contains(&format!("127.0.0.1:{port}")), "{first}");
    assert_eq!(monitor.sample().unwrap_err(), first);
}

#[test]
fn a_server_that_hangs_is_left_alone_now_and_then_so_that_others_are_in_time() {
    let hanging = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = hanging.local_addr().unwrap().port();
    let good = Fake::new(
        (0..8)
            .map(|n| {
                Act::Say(match n {
                    0 => hello(INFO, &[]),
                    _ => answer(INFO, &[]),
                })
            })
            .collect(),
    );
    let mut monitor = Watched::new(json!({"connection_timeout": 1, "hosts": [
        {"host": "127.0.0.1", "port": port},
        {"host": "127.0.0.1", "port": good.port},
    ]}));
    let began = Instant::now();
    for _ in 0..8 {
        monitor.sample().unwrap_err();
    }
    assert_eq!(good.requests.try_iter().count(), 8);
    // One try, then another after none, one and so on samples: 4 of 8
    assert!(
        began.elapsed() < Duration::from_secs(7),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn a_missing_right_costs_only_what_it_is_for() {
    let denied = b"-NOPERM User me has no permissions to run the 'slowlog|get' command\r\n";
    let info = format!("{INFO}connected_clients:3\r\n");
    let fake = Fake::new(vec![
        Act::Say(
            [
                b"-NOPERM no client\r\n".as_slice(),
                &bulk(info.as_bytes()),
                denied,
            ]
            .concat(),
        ),
        Act::Say(
            [
                b"-NOPERM no info\r\n".as_slice(),
                &slowlog(&[(4, 9, 1, &[b"x"], b"")]),
            ]
            .concat(),
        ),
        Act::Say(
            [
                b"-NOPERM no info\r\n".as_slice(),
                &slowlog(&[(5, 9, 1, &[b"y"], b""), (4, 9, 1, &[b"x"], b"")]),
            ]
            .concat(),
        ),
        Act::Say([b"-NOPERM no info\r\n".as_slice(), denied].concat()),
    ]);
    let mut monitor = fake.monitor(json!({"extra_metrics": true}));
    let lines = monitor.sample().unwrap();
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("redis.clients 3 ")),
        "{lines:?}"
    );
    // The slow log is read for the first time
    monitor.sample().unwrap();
    let lines = monitor.sample().unwrap();
    assert!(lines.len() == 1 && lines[0].contains("\"y\""), "{lines:?}");
    let error = monitor.sample().unwrap_err();
    assert!(error.contains("ACL SETUSER"), "{error}");
    assert_eq!(monitor.count("refused_commands"), 3);
}

fn master(offset: i64, replicas: &[(&str, i64)]) -> String {
    use std::fmt::Write as _;
    let mut info = format!(
        "{INFO}role:master\r\nconnected_slaves:{}\r\n",
        replicas.len()
    );
    for (n, (state, offset)) in replicas.iter().enumerate() {
        let _ = write!(
            info,
            "slave{n}:ip=10.0.0.{n},port=6379,state={state},offset={offset},lag=1\r\n"
        );
    }
    let _ = write!(
        info,
        "master_replid:60f9\r\nmaster_repl_offset:{offset}\r\n"
    );
    info
}

#[test]
fn replication_is_told_from_the_second_sample_on_and_an_idle_master_divides_by_nothing() {
    let infos = [
        master(0, &[]),
        master(1000, &[("online", 900)]),
        master(9_000_000_000, &[("online", 100), ("online", 8_999_999_990)]),
        master(9_000_000_000, &[("online", 9_000_000_000)]),
        master(9_000_000_000, &[("online", 5)]),
        // A counter that goes back, as after a failover
        master(10, &[]),
        master(20, &[]).replace("60f9", "abcd"),
        "role:slave\r\n".to_owned(),
    ];
    let script = infos.iter().enumerate().map(|(n, info)| {
        Act::Say(if n == 0 {
            hello(info, &[])
        } else {
            answer(info, &[])
        })
    });
    let fake = Fake::new(script.collect());
    let mut monitor = fake.monitor(json!({"log_cluster_replication_info": true}));
    assert_eq!(monitor.sample().unwrap(), [""; 0]);
    assert_eq!(monitor.sample().unwrap(), [""; 0]);
    let line = monitor.sample().unwrap().remove(0);
    let begin = format!("redis \"replication\" connectedReplicas=2 host=\"127.0.0.1:{}\" masterId=\"60f9\" masterOffset=9000000000 masterOffsetDiffPerSec=", fake.port);
    assert!(line.starts_with(&begin), "{line}");
    assert!(
        line.contains(" maxReplicaOffset=8999999990 offsetDiff=10 replicaLagSecs=0 ts=\"20"),
        "{line}"
    );
    let line = monitor.sample().unwrap().remove(0);
    assert!(
        line.contains("PerSec=0 ") && line.contains(" offsetDiff=0 replicaLagSecs=0 "),
        "{line}"
    );
    let line = monitor.sample().unwrap().remove(0);
    assert!(
        line.contains("PerSec=0 ") && line.contains(" offsetDiff=8999999995 ts="),
        "{line}"
    );
    for _ in 0..3 {
        assert_eq!(monitor.sample().unwrap(), [""; 0]);
    }
}

#[test]
fn extra_metrics_come_from_redis_8_and_valkey_alike() {
    for (server, version) in [
        ("", "redis_version:8.2.1"),
        (
            "server_name:valkey\r\nvalkey_version:8.1.3\r\n",
            "redis_version:7.2.4",
        ),
    ] {
        let info = format!(
            "{server}{version}\r\nrun_id:aaaa\r\nuptime_in_seconds:12\r\nconnected_clients:2\r\nmaxclients:10000\r\n\
             used_memory:1048576\r\nmem_fragmentation_ratio:-nan\r\nkeyspace_hits:7\r\nused_cpu_sys:0.125\r\n\
             rdb_last_bgsave_status:err\r\naof_last_write_status:ok\r\n{}\
             db0:keys=3,expires=1,avg_ttl=2500,subexpiry=0\r\ndb15:keys=1,expires=0,avg_ttl=0\r\ndbx:keys=1\r\n",
            &master(100, &[("online", 60), ("wait_bgsave", 0)])[INFO.len()..],
        );
        let fake = Fake::new(vec![Act::Say(hello(&info, &[]))]);
        let lines = fake
            .monitor(json!({"extra_metrics": true}))
            .sample()
            .unwrap();
        let host = format!("host=\"127.0.0.1:{}\"", fake.port);
        let expected = [
            format!("redis.uptime 12 {host}"),
            format!("redis.clients 2 {host} type=\"connected\""),
            format!("redis.clients 10000 {host} type=\"max\""),
            format!("redis.memory 1048576 {host} type=\"used\""),
            format!("redis.keyspace 7 {host} result=\"hits\""),
            format!("redis.cpu 0.125 {host} type=\"system\""),
            format!("redis.persistence.ok 0 {host} type=\"rdb\""),
            format!("redis.persistence.ok 1 {host} type=\"aof\""),
            format!("redis.replication.replicas 2 {host}"),
            format!("redis.replication.offset 100 {host} role=\"master\""),
            format!("redis.replica.behind 40 {host} replica=\"10.0.0.0:6379\""),
            format!("redis.replica.lag 1 {host} replica=\"10.0.0.0:6379\""),
            format!("redis.replica.online 1 {host} replica=\"10.0.0.0:6379\""),
            format!("redis.replica.behind 100 {host} replica=\"10.0.0.1:6379\""),
            format!("redis.replica.lag 1 {host} replica=\"10.0.0.1:6379\""),
            format!("redis.replica.online 0 {host} replica=\"10.0.0.1:6379\""),
            format!("redis.db.keys 3 db=\"db0\" {host}"),
            format!("redis.db.expires 1 db=\"db0\" {host}"),
            format!("redis.db.avg_ttl 2500 db=\"db0\" {host}"),
            format!("redis.db.keys 1 db=\"db15\" {host}"),
            format!("redis.db.expires 0 db=\"db15\" {host}"),
            format!("redis.db.avg_ttl 0 db=\"db15\" {host}"),
        ];
        assert_eq!(lines, expected);
        assert_declared(&lines);
    }
}
/// Panics if a line is of no metric that is declared with its fields.
fn assert_declared(lines: &[String]) {
    for line in lines {
        let (name, rest) = line.split_once(' ').unwrap();
        let fields: Vec<&str> = rest
            .split(' ')
            .filter_map(|part| Some(part.split_once('=')?.0))
            .collect();
        let fits = |spec: &&MetricSpec| spec.name == name && spec.fields == fields;
        assert!(METRICS.iter().any(|spec| fits(&spec)), "{line}");
    }
}

#[test]
fn a_misspelt_key_of_a_host_is_told_once() {
    let fake = Fake::new(vec![
        Act::Say(hello(INFO, &[])),
        Act::Say(answer(INFO, &[])),
    ]);
    let host = json!({"host": "127.0.0.1", "port": fake.port, "pasword": "x"});
    let mut monitor = Watched::new(json!({"hosts": [host]}));
    monitor.sample().unwrap();
    monitor.sample().unwrap();
    assert_eq!(monitor.count("unknown_keys"), 1);
}

#[test]
fn hosts_are_read_as_the_python_agent_reads_them() {
    let place = Place::new("/", "/nonexistent");
    let make = |entry: Json| {
        testing::make(&DESCRIPTION, &entry, &place)
            .map(|_| ())
            .map_err(|e| e.to_string())
    };
    for entry in [
        json!({}),
        json!({"hosts": []}),
        json!({"hosts": [{}]}),
        json!({"hosts": [{"port": "6380", "other": 1}], "log_cluster_replication_info": 1}),
        json!({"hosts": [{"host": "::1"}, {"unix_socket": "/run/redis/redis.sock"}]}),
        json!({"password_file": "/p", "unix_socket": "/s", "hosts": [{"password": "x", "port": 1}, {}]}),
    ] {
        assert_eq!(make(entry.clone()), Ok(()), "{entry}");
    }
    for (entry, words) in [
        (
            json!({"hosts": ["localhost"]}),
            "element 1: it is no object",
        ),
        (
            json!({"hosts": [{}, {"port": 70000}]}),
            "element 2: Value of 70000",
        ),
        (json!({"hosts": {"host": "a"}}), "hosts"),
        (json!({"lines_to_fetch": 5}), "minimum is 10"),
    ] {
        let error = make(entry).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
}

/// xorshift64
fn next(state: &mut u64) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state as usize
}

#[test]
fn the_parser_of_replies_survives_mutated_answers() {
    let corpus: Vec<Vec<u8>> = vec![
        hello(
            INFO,
            &[
                (5, 9, 1, &[b"set", b"k", b"\xC3... (5 more bytes)"], b"me"),
                (4, 9, 1, &[], b""),
            ],
        ),
        b"-NOAUTH Authentication required.\r\n$-1\r\n*-1\r\n:-9223372036854775808\r\n".to_vec(),
        bulk(master(77, &[("online", 3)]).as_bytes()),
        b"*3\r\n*2\r\n:1\r\n$1\r\na\r\n*0\r\n+x\r\n".to_vec(),
    ];
    let rounds = std::env::var("MUTATIONS").ok().and_then(|n| n.parse().ok());
    let mut state = 0x9E37_79B9_7F4A_7C15;
    let (mut out, lines) = testing::capture("redis_monitor()");
    for round in 0..rounds.unwrap_or(8_000u64) {
        let mut bytes = corpus[next(&mut state) % corpus.len()].clone();
        for _ in 0..=next(&mut state) % 4 {
            let at = next(&mut state) % bytes.len();
            match next(&mut state) % 5 {
                0 => bytes[at] = next(&mut state) as u8,
                1 => bytes.truncate(at + 1),
                2 => bytes.insert(at, b"0123456789-*$:\r\n"[next(&mut state) % 16]),
                3 => {
                    bytes.remove(at);
                    bytes.push(b'\n');
                }
                _ => {
                    let end = (at + next(&mut state) % 40).min(bytes.len());
                    let part = bytes[at..end].to_vec();
                    bytes.splice(at..at, part);
                }
            }
        }
        let mut rest = &bytes[..];
        let mut replies = Replies::new(&mut rest, 1 << 20);
        let mut seen = slowlog::Seen::new();
        let mut new = seen.begin(slowlog::Since::Same);
        while let Ok(reply) = replies.reply() {
            let list = match &reply {
                resp::Reply::List(list) => &list[..],
                other => std::slice::from_ref(other),
            };
            for entry in list.iter().filter_map(slowlog::Entry::of) {
                seen.take(&mut new, entry);
            }
            if round % 16 == 0 {
                let text = String::from_utf8_lossy(reply.bytes()).into_owned();
                info::emit(&text, "h", &mut out);
                info::Replication::default().emit(&text, "h", &mut out);
                out.flush();
                lines.take();
            }
        }
        seen.end(&new);
    }
}
