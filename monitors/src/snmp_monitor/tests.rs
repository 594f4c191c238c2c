use super::ber::{self, Reader};
use super::message::{self, Oid};
use super::*;
use crate::emitter::captured::stoppable;
use crate::monitor::Place;
use crate::testing::{capture, make, sample};
use common::limit::WriteLimit;
use common::testing::Scratch;
use serde_json::{json, Value as Json};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::Arc;

/// The requests that a scripted agent hears.
struct Request {
    version: i64,
    community: Vec<u8>,
    kind: u8,
    number: i32,
    repeat: i64,
    oids: Vec<Oid>,
}

fn request(datagram: &[u8]) -> Request {
    let mut message = Reader::new(datagram).sequence().unwrap();
    let version = message.int().unwrap();
    let community = message.of(ber::OCTETS).unwrap().to_vec();
    let (kind, content) = message.next().unwrap();
    let mut pdu = Reader::new(content);
    let number = pdu.int32().unwrap();
    pdu.int().unwrap();
    let repeat = pdu.int().unwrap();
    let mut list = pdu.sequence().unwrap();
    let mut oids = Vec::new();
    while !list.is_empty() {
        let mut var = list.sequence().unwrap();
        oids.push(ber::oid(var.of(ber::OID).unwrap()).unwrap());
    }
    Request {
        version,
        community,
        kind,
        number,
        repeat,
        oids,
    }
}

/// An encoded value: tag and content.
type Given = (u8, &'static [u8]);

fn response(to: &Request, (status, index): (i64, i64), vars: &[(Oid, Given)]) -> Vec<u8> {
    let mut list = Vec::new();
    for (oid, (tag, content)) in vars {
        let mut var = Vec::new();
        ber::put_oid(&mut var, oid);
        ber::put(&mut var, *tag, content);
        ber::put(&mut list, ber::SEQUENCE, &var);
    }
    let mut pdu = Vec::new();
    ber::put_int(&mut pdu, i64::from(to.number));
    ber::put_int(&mut pdu, status);
    ber::put_int(&mut pdu, index);
    ber::put(&mut pdu, ber::SEQUENCE, &list);
    let mut whole = Vec::new();
    ber::put(&mut whole, message::RESPONSE, &pdu);
    message::with_community(to.version as u8, &to.community, &whole)
}

/// An agent that answers each datagram with those that its script makes.
struct Agent {
    port: u16,
    heard: Arc<AtomicU64>,
    end: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Agent {
    fn start(script: impl FnMut(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> Agent {
        Agent::at(UdpSocket::bind("127.0.0.1:0").unwrap(), script)
    }

    fn at(
        socket: UdpSocket,
        mut script: impl FnMut(&[u8]) -> Vec<Vec<u8>> + Send + 'static,
    ) -> Agent {
        let port = socket.local_addr().unwrap().port();
        socket
            .set_read_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        let (heard, end) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let (counted, ended) = (Arc::clone(&heard), Arc::clone(&end));
        let thread = thread::spawn(move || {
            let mut buffer = vec![0; 65_536];
            while !ended.load(Relaxed) {
                if let Ok((bytes, from)) = socket.recv_from(&mut buffer) {
                    counted.fetch_add(1, Relaxed);
                    for answer in script(&buffer[..bytes]) {
                        let _ = socket.send_to(&answer, from);
                    }
                }
            }
        });
        Agent {
            port,
            heard,
            end,
            thread: Some(thread),
        }
    }

    /// An agent that has these objects.
    fn with(tree: Vec<(&'static str, Given)>) -> Agent {
        let mut tree: Vec<(Oid, Given)> = tree.into_iter().map(|(o, v)| (oid(o), v)).collect();
        tree.sort();
        Agent::start(move |datagram| vec![serve(&tree, &request(datagram))])
    }

    fn heard(&self) -> u64 {
        self.heard.load(Relaxed)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.end.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn oid(text: &str) -> Oid {
    text.split('.').map(|n| n.parse().unwrap()).collect()
}

fn serve(tree: &[(Oid, Given)], to: &Request) -> Vec<u8> {
    let mut vars = Vec::new();
    for (at, wanted) in to.oids.iter().enumerate() {
        let known = tree.iter().find(|(oid, _)| oid == wanted);
        match (to.kind, known) {
            (message::GET, Some(known)) => vars.push(known.clone()),
            (message::GET, None) if to.version == 0 => {
                let all = to.oids.iter().map(|o| (o.clone(), (ber::NULL, &[][..])));
                let all: Vec<(Oid, Given)> = all.collect();
                return response(to, (2, at as i64 + 1), &all);
            }
            (message::GET, None) => vars.push((wanted.clone(), (0x80, &[]))),
            _ => {
                let after = tree.iter().filter(|(oid, _)| oid > wanted);
                let most = to.repeat.max(1) as usize;
                vars.extend(after.take(most).cloned());
                if vars.is_empty() && to.version == 0 {
                    return response(to, (2, 1), &[(wanted.clone(), (ber::NULL, &[]))]);
                }
                if vars.len() < most {
                    vars.push((wanted.clone(), (0x82, &[])));
                }
            }
        }
    }
    response(to, (0, 0), &vars)
}

fn place() -> Place {
    Place::new("/", "/nonexistent")
}

/// A monitor that asks one target, whose other members are `target`, for `oids`.
fn asks(port: u16, target: Json, oids: &[&str]) -> Json {
    let mut target = target;
    target["host"] = json!("127.0.0.1");
    target["port"] = json!(port);
    json!({"oid_groups": {"g": oids}, "poll_targets": [{"targets": [target], "oids": ["g"]}]})
}

fn lines(entry: &Json) -> Result<Vec<String>, Error> {
    let mut monitor = make(&DESCRIPTION, entry, &place())?;
    Ok(shortened(&sample(&mut *monitor, "snmp_monitor()")?))
}

/// Without stamps and without the target.
fn shortened(text: &str) -> Vec<String> {
    let one = |line: &str| {
        let line = line.split_once("] ").unwrap().1;
        line.split(" poll_target=").next().unwrap().to_owned()
    };
    text.lines().map(one).collect()
}

const NAME: &str = "1.3.6.1.2.1.1.5.0";
const UPTIME: &str = "1.3.6.1.2.1.1.3.0";

#[test]
fn every_type_is_written_as_the_python_agent_writes_it() {
    let agent = Agent::with(vec![
        (NAME, (0x04, b"golden-box")),
        (UPTIME, (0x43, &[0x4A, 0x87])),
        (
            "1.3.6.1.2.1.1.2.0",
            (0x06, &[0x2B, 6, 1, 4, 1, 0xBF, 8, 3, 2, 10]),
        ),
        ("1.3.6.1.2.1.2.2.1.6.1", (0x04, &[])),
        ("1.3.6.1.2.1.2.2.1.6.2", (0x04, &[0xA2, 0x94, 5])),
        (
            "1.3.6.1.2.1.2.2.1.10.1",
            (0x41, &[0, 0xFF, 0xFF, 0xFF, 0xFF]),
        ),
        (
            "1.3.6.1.2.1.31.1.1.1.6.1",
            (0x46, &[0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]),
        ),
        ("1.3.6.1.2.1.4.20.1.1.127.0.0.1", (0x40, &[127, 0, 0, 1])),
        ("1.3.6.1.4.1.9.1", (0x02, &[0xFB])),
        (
            "1.3.6.1.4.1.9.2",
            (0x44, &[0x9F, 0x78, 4, 0x3F, 0xB8, 0x30, 0]),
        ),
    ]);
    let oids = [
        NAME,
        UPTIME,
        "1.3.6.1.2.1.1.2.0",
        "1.3.6.1.2.1.2.2.1.6.1",
        "1.3.6.1.2.1.2.2.1.6.2",
        "1.3.6.1.2.1.2.2.1.10.1",
        "1.3.6.1.2.1.31.1.1.1.6.1",
        "1.3.6.1.2.1.4.20.1.1.127.0.0.1",
        "1.3.6.1.4.1.9.1",
        "1.3.6.1.4.1.9.2",
    ];
    let mut entry = asks(agent.port, json!({}), &oids);
    let expected = [
        r#"SNMPv2-MIB__sysName.0 "golden-box" oid="SNMPv2-MIB::sysName.0""#,
        r#"SNMPv2-MIB__sysUpTime.0 "19079" oid="SNMPv2-MIB::sysUpTime.0""#,
        r#"SNMPv2-MIB__sysObjectID.0 "SNMPv2-SMI::enterprises.8072.3.2.10" oid="SNMPv2-MIB::sysObjectID.0""#,
        r#"SNMPv2-SMI__mib-2.2.2.1.6.1 "" oid="SNMPv2-SMI::mib-2.2.2.1.6.1""#,
        r#"SNMPv2-SMI__mib-2.2.2.1.6.2 "0xa29405" oid="SNMPv2-SMI::mib-2.2.2.1.6.2""#,
        r#"SNMPv2-SMI__mib-2.2.2.1.10.1 "4294967295" oid="SNMPv2-SMI::mib-2.2.2.1.10.1""#,
        r#"SNMPv2-SMI__mib-2.31.1.1.1.6.1 "18446744073709551615" oid="SNMPv2-SMI::mib-2.31.1.1.1.6.1""#,
        r#"SNMPv2-SMI__mib-2.4.20.1.1.127.0.0.1 "127.0.0.1" oid="SNMPv2-SMI::mib-2.4.20.1.1.127.0.0.1""#,
        r#"SNMPv2-SMI__enterprises.9.1 "-5" oid="SNMPv2-SMI::enterprises.9.1""#,
        r#"SNMPv2-SMI__enterprises.9.2 "0x9f78043fb83000" oid="SNMPv2-SMI::enterprises.9.2""#,
    ];
    assert_eq!(lines(&entry).unwrap(), expected);
    let mut monitor = make(&DESCRIPTION, &entry, &place()).unwrap();
    let text = sample(&mut *monitor, "snmp_monitor()").unwrap();
    let target = format!(" poll_target=\"127.0.0.1:{}\"", agent.port);
    assert!(text.lines().all(|line| line.ends_with(&target)), "{text}");

    entry["numeric_values"] = json!(true);
    let numbers = lines(&entry).unwrap();
    for (at, number) in [(1, " 19079 "), (6, " 18446744073709551615 "), (8, " -5 ")] {
        assert!(numbers[at].contains(number), "{}", numbers[at]);
    }
    assert_eq!(numbers[0], expected[0]);

    entry["use_legacy_format"] = json!(true);
    entry["numeric_values"] = json!(false);
    let name = format!("poll-target \"127.0.0.1:{}\"", agent.port);
    assert_eq!(
        lines(&entry).unwrap()[0],
        format!("{name} oid=\"SNMPv2-MIB::sysName.0\" value_=\"golden-box\"")
    );
}

#[test]
fn an_agent_is_asked_by_ipv6() {
    let Ok(socket) = UdpSocket::bind("[::1]:0") else {
        // A machine without IPv6
        return;
    };
    let tree = [(oid(NAME), (0x04, &b"six"[..]))];
    let agent = Agent::at(socket, move |datagram| {
        vec![serve(&tree, &request(datagram))]
    });
    for host in ["::1", "[::1]"] {
        let mut entry = asks(agent.port, json!({}), &[NAME]);
        entry["poll_targets"][0]["targets"][0]["host"] = json!(host);
        let mut monitor = make(&DESCRIPTION, &entry, &place()).unwrap();
        let text = sample(&mut *monitor, "m()").unwrap();
        let target = format!("poll_target=\"[::1]:{}\"", agent.port);
        assert!(text.contains("\"six\"") && text.contains(&target), "{text}");
    }
}

#[test]
fn what_an_agent_does_not_have_costs_no_other_object() {
    for version in ["SNMPv1", "SNMPv2"] {
        let agent = Agent::with(vec![(NAME, (0x04, b"a")), (UPTIME, (0x43, &[7]))]);
        let oids = ["1.3.6.1.2.1.99.1.0", NAME, "1.3.6.1.2.1.99.2.0", UPTIME];
        let entry = asks(agent.port, json!({"version": version}), &oids);
        let mut monitor = make(&DESCRIPTION, &entry, &place()).unwrap();
        let (mut out, taken) = capture("snmp_monitor()");
        monitor.gather(&mut out).unwrap();
        out.flush();
        let found = shortened(&taken.take());
        assert_eq!(found.len(), 2, "{version} {found:?}");
        assert!(found[0].starts_with("SNMPv2-MIB__sysName.0 \"a\""));
        assert!(found[1].starts_with("SNMPv2-MIB__sysUpTime.0 \"7\""));
        assert_eq!(out.counter("missing_objects").load(Relaxed), 2);
    }
}

#[test]
fn a_dead_target_delays_no_other() {
    let dead = UdpSocket::bind("127.0.0.1:0").unwrap();
    let agent = Agent::with(vec![(NAME, (0x04, b"alive"))]);
    let port = |socket: &UdpSocket| socket.local_addr().unwrap().port();
    let entry = json!({
        "oid_groups": {"g": [NAME]},
        "target_deadline": 240,
        "poll_targets": [{"targets": [
            {"host": "127.0.0.1", "port": port(&dead), "timeout": 100},
            {"host": "127.0.0.1", "port": agent.port},
        ], "oids": ["g"]}],
    });
    let (mut out, taken, stopper) = stoppable("snmp_monitor()", WriteLimit::none(), &[]);
    let mut monitor = make(&DESCRIPTION, &entry, &place()).unwrap();
    let began = Instant::now();
    let sampling = thread::spawn(move || monitor.gather(&mut out));
    let mut seen = String::new();
    while seen.is_empty() {
        assert!(began.elapsed() < Duration::from_secs(60));
        thread::sleep(Duration::from_millis(5));
        seen = taken.take();
    }
    assert!(seen.contains("\"alive\""), "{seen}");
    assert!(!sampling.is_finished());
    // Nor does it hold up the end of the monitor
    drop(stopper);
    sampling.join().unwrap().unwrap();
    assert!(began.elapsed() < Duration::from_secs(90));
}

#[test]
fn lines_come_in_the_order_of_the_configuration_whoever_answers_first() {
    let slow = Agent::start(|datagram| {
        thread::sleep(Duration::from_millis(60));
        let to = request(datagram);
        vec![response(
            &to,
            (0, 0),
            &[(to.oids[0].clone(), (0x04, b"first"))],
        )]
    });
    let quick = Agent::with(vec![(NAME, (0x04, b"second"))]);
    let entry = json!({
        "oid_groups": {"g": [NAME]},
        "poll_targets": [{"targets": [
            {"host": "127.0.0.1", "port": slow.port, "timeout": 60},
            {"host": "127.0.0.1", "port": quick.port, "timeout": 60},
        ], "oids": ["g"]}],
    });
    let found = lines(&entry).unwrap();
    assert!(
        found[0].contains("first") && found[1].contains("second"),
        "{found:?}"
    );
}

#[test]
fn each_failure_is_told_with_the_targets_name_and_without_passwords() {
    let port = UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let entry = asks(port, json!({"community": "s3cret"}), &[NAME]);
    let error = lines(&entry).unwrap_err().to_string();
    assert!(
        error.contains(&format!("Target 127.0.0.1:{port}: no SNMP agent")),
        "{error}"
    );

    let silent = Agent::start(|_| Vec::new());
    let quick = json!({"community": "s3cret", "timeout": 0.05, "retries": 2});
    let error = lines(&asks(silent.port, quick, &[NAME]))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("tries: 3, seconds for each: 0.05"),
        "{error}"
    );
    assert!(
        error.contains("community") && !error.contains("s3cret"),
        "{error}"
    );
    assert_eq!(silent.heard(), 3);

    let babbler = Agent::start(|_| {
        vec![
            b"GET / HTTP/1.1".to_vec(),
            vec![0x30, 0x84, 0xFF, 0xFF, 0xFF, 0xFF],
        ]
    });
    let quick = json!({"timeout": 0.05, "retries": 0});
    let error = lines(&asks(babbler.port, quick, &[NAME]))
        .unwrap_err()
        .to_string();
    assert!(error.contains("no SNMP messages"), "{error}");

    let unknown = json!({
        "oid_groups": {"g": [NAME]},
        "poll_targets": [{"targets": [{"host": "no.such.host.invalid"}], "oids": ["g"]}],
    });
    let error = lines(&unknown).unwrap_err().to_string();
    assert!(
        error.contains("Target no.such.host.invalid: the name"),
        "{error}"
    );
}

#[test]
fn one_failing_target_of_two_is_counted_and_the_other_still_comes() {
    let silent = Agent::start(|_| Vec::new());
    let agent = Agent::with(vec![(NAME, (0x04, b"alive"))]);
    let entry = json!({
        "oid_groups": {"g": [NAME]},
        "parallel_targets": 1,
        "poll_targets": [{"targets": [
            {"host": "127.0.0.1", "port": silent.port, "timeout": 0.05, "retries": 0},
            {"host": "127.0.0.1", "port": agent.port},
        ], "oids": ["g"]}],
    });
    let mut monitor = make(&DESCRIPTION, &entry, &place()).unwrap();
    let (mut out, taken) = capture("snmp_monitor()");
    for _ in 0..3 {
        monitor.gather(&mut out).unwrap();
    }
    out.flush();
    assert_eq!(taken.take().lines().count(), 3);
    assert_eq!(out.counter("failed_targets").load(Relaxed), 3);
    let (_, error) = out.status().snapshot().last_error.unwrap();
    assert!(
        error.contains(&format!("Target 127.0.0.1:{}", silent.port)),
        "{error}"
    );
}

#[test]
fn lost_requests_are_sent_again_and_answers_to_others_are_passed_over() {
    let mut count = 0;
    let agent = Agent::start(move |datagram| {
        count += 1;
        let mut to = request(datagram);
        let vars = [(to.oids[0].clone(), (0x04, &b"right"[..]))];
        let right = response(&to, (0, 0), &vars);
        to.number ^= 1;
        let wrong = response(&to, (0, 0), &[(to.oids[0].clone(), (0x04, b"wrong"))]);
        match count {
            1 => Vec::new(),
            2 => vec![wrong],
            _ => vec![wrong, right],
        }
    });
    let entry = asks(agent.port, json!({"timeout": 0.3, "retries": 10}), &[NAME]);
    assert!(lines(&entry).unwrap()[0].contains("right"));
}

#[test]
fn too_large_an_answer_is_asked_for_in_parts() {
    let agent = Agent::start(|datagram| {
        let to = request(datagram);
        if to.oids.len() > 3 {
            return vec![response(&to, (1, 0), &[])];
        }
        let vars: Vec<(Oid, Given)> = to
            .oids
            .iter()
            .map(|o| (o.clone(), (0x02, &[1][..])))
            .collect();
        vec![response(&to, (0, 0), &vars)]
    });
    let oids: Vec<String> = (1..=20).map(|n| format!("1.3.6.1.4.1.9.{n}")).collect();
    let oids: Vec<&str> = oids.iter().map(String::as_str).collect();
    let found = lines(&asks(agent.port, json!({}), &oids)).unwrap();
    assert_eq!(found.len(), 20);
    assert!(found[19].starts_with("SNMPv2-SMI__enterprises.9.20 "));
}

#[test]
fn an_error_at_one_object_costs_that_object_only() {
    let agent = Agent::start(|datagram| {
        let to = request(datagram);
        let vars: Vec<(Oid, Given)> = to
            .oids
            .iter()
            .map(|o| (o.clone(), (0x02, &[1][..])))
            .collect();
        match to.oids.iter().position(|oid| oid.ends_with(&[13])) {
            Some(at) => vec![response(&to, (5, at as i64 + 1), &vars)],
            None => vec![response(&to, (0, 0), &vars)],
        }
    });
    let entry = asks(
        agent.port,
        json!({}),
        &["1.3.6.1.4.1.9.12", "1.3.6.1.4.1.9.13"],
    );
    let mut monitor = make(&DESCRIPTION, &entry, &place()).unwrap();
    let (mut out, taken) = capture("snmp_monitor()");
    monitor.gather(&mut out).unwrap();
    out.flush();
    assert_eq!(taken.take().lines().count(), 1);
    let (_, error) = out.status().snapshot().last_error.unwrap();
    assert!(
        error.contains("genErr at SNMPv2-SMI::enterprises.9.13"),
        "{error}"
    );
    // A blame that points nowhere must not be followed for ever
    let agent = Agent::start(|datagram| vec![response(&request(datagram), (5, 99), &[])]);
    let entry = asks(agent.port, json!({}), &[NAME, UPTIME]);
    assert_eq!(lines(&entry).unwrap(), [""; 0]);
    assert_eq!(agent.heard(), 1);
}

#[test]
fn a_walk_ends_with_its_part_of_the_tree() {
    let mut tree = vec![("1.3.6.1.2.1.3.1.0", (0x02, &[9][..]))];
    let column: Vec<String> = (1..=60)
        .map(|n| format!("1.3.6.1.2.1.2.2.1.10.{n}"))
        .collect();
    // They live as long as the test
    let column: &'static [String] = Box::leak(column.into_boxed_slice());
    tree.extend(column.iter().map(|oid| (oid.as_str(), (0x41, &[5][..]))));
    for version in ["SNMPv1", "SNMPv2"] {
        let agent = Agent::with(tree.clone());
        let target = json!({"version": version});
        let mut entry = asks(agent.port, target, &["1.3.6.1.2.1.2.2.1.10.*"]);
        let found = lines(&entry).unwrap();
        assert_eq!(found.len(), 60, "{version}");
        assert!(found[59].starts_with("SNMPv2-SMI__mib-2.2.2.1.10.60 "));
        entry["oid_groups"]["g"] = json!(["1.3.6.1.2.1.3.*", "1.3.6.1.2.1.50.*"]);
        assert_eq!(lines(&entry).unwrap().len(), 1);
    }
}

#[test]
fn a_tree_without_end_is_walked_no_further_than_max_rows() {
    let agent = Agent::start(|datagram| {
        let to = request(datagram);
        let mut oid = to.oids[0].clone();
        oid.resize(12, 0);
        let vars: Vec<(Oid, Given)> = (1..=to.repeat)
            .map(|n| {
                let mut next = oid.clone();
                next[11] += n as u32;
                (next, (0x02, &[1][..]))
            })
            .collect();
        vec![response(&to, (0, 0), &vars)]
    });
    let mut entry = asks(agent.port, json!({}), &["1.3.6.1.4.1.9.*"]);
    entry["max_rows"] = json!(110);
    assert_eq!(lines(&entry).unwrap().len(), 110);
    // One that goes in a circle
    let agent = Agent::start(|datagram| {
        let to = request(datagram);
        let oid = oid("1.3.6.1.4.1.9.1");
        vec![response(&to, (0, 0), &[(oid, (0x02, &[1]))])]
    });
    let entry = asks(agent.port, json!({}), &["1.3.6.1.4.1.9.*"]);
    assert_eq!(lines(&entry).unwrap().len(), 1);
    assert_eq!(agent.heard(), 2);
}

#[test]
fn an_agent_that_gives_megabytes_is_cut_off() {
    static LONG: [u8; 60_000] = [b'x'; 60_000];
    let agent = Agent::start(|datagram| {
        let to = request(datagram);
        let mut oid = to.oids[0].clone();
        oid.resize(12, 0);
        oid[11] += 1;
        vec![response(&to, (0, 0), &[(oid, (0x04, &LONG))])]
    });
    let entry = asks(agent.port, json!({}), &["1.3.6.1.4.1.9.*"]);
    let error = lines(&entry).unwrap_err().to_string();
    assert!(error.contains("1 MiB"), "{error}");
    assert!(agent.heard() < 20);
}

#[test]
fn a_wrong_configuration_is_refused_in_words() {
    let good = json!({"username": "u", "auth_key": "authpassword"});
    let one = |target: Json| {
        let mut target = target;
        target["host"] = json!("h");
        json!({"oid_groups": {"g": [NAME]}, "poll_targets": [{"targets": [target], "oids": ["g"]}]})
    };
    for (entry, part) in [
        (json!({"poll_targets": [{"oids": ["g"]}]}), "\"targets\""),
        (json!({"poll_targets": [{"targets": []}]}), "\"oids\""),
        (
            json!({"poll_targets": [{"targets": [], "oids": ["g"]}]}),
            "\"g\" is not in oid_groups",
        ),
        (
            json!({"oid_groups": {"g": []}, "poll_targets": [{"targets": [], "oids": ["g"]}]}),
            "no object",
        ),
        (json!({"oid_groups": {"g": "1.3"}}), "no list of strings"),
        (
            json!({"oid_groups": {"g": [NAME]}, "poll_targets": [{"targets": [{}], "oids": ["g"]}]}),
            "\"host\"",
        ),
        (one(json!({"version": "SNMPv4"})), "\"SNMPv4\""),
        (
            one(json!({"version": "SNMPv1", "user": good})),
            "SNMPv3 only",
        ),
        (one(json!({"port": 0})), "\"port\""),
        (one(json!({"timeout": "1"})), "\"timeout\""),
        (
            one(json!({"user": {"auth_key": "a", "auth_protocol": "SHA3"}})),
            "SHA512",
        ),
        (one(json!({"user": {"priv_key": "a"}})), "auth_key"),
        (
            one(json!({"user": {"auth_key": "a", "priv_key": "b", "priv_protocol": "RC4"}})),
            "AES256",
        ),
        (
            one(json!({"community": "a", "community_file": "/b"})),
            "remove one",
        ),
    ] {
        let error = make(&DESCRIPTION, &entry, &place()).err().unwrap();
        assert!(error.to_string().contains(part), "{error}");
        assert!(error.option().is_some());
    }
    for entry in [
        json!({}),
        json!({"poll_targets": []}),
        one(json!({"version": "snmpv2C"})),
        one(json!({"version": "SNMPv3"})),
        one(
            json!({"user": {"auth_key": "a", "auth_protocol": "SHA-256", "priv_key": "b", "priv_protocol": "AES"}}),
        ),
        one(json!({"user": {"auth_protocol": "SHA", "priv_protocol": "AES256"}})),
        one(json!({"user": {}, "community": "a", "unheard": 1})),
    ] {
        make(&DESCRIPTION, &entry, &place()).unwrap();
    }
}

#[test]
fn a_community_may_stand_in_a_file_and_is_read_for_each_sample() {
    let scratch = Scratch::new("snmp-community");
    let file = scratch.path("community");
    let agent = Agent::start(|datagram| {
        let to = request(datagram);
        if to.community != b"second" {
            return Vec::new();
        }
        vec![response(
            &to,
            (0, 0),
            &[(to.oids[0].clone(), (0x04, b"in"))],
        )]
    });
    let target = json!({"community_file": file, "timeout": 0.1, "retries": 0});
    let mut monitor = make(&DESCRIPTION, &asks(agent.port, target, &[NAME]), &place()).unwrap();
    let (mut out, _) = capture("snmp_monitor()");
    let error = monitor.gather(&mut out).unwrap_err().to_string();
    assert!(error.contains("community"), "{error}");
    std::fs::write(&file, "first\n").unwrap();
    monitor.gather(&mut out).unwrap_err();
    std::fs::write(&file, "second\n").unwrap();
    let mut out = capture("snmp_monitor()").0;
    // A loaded machine may need more than one try of 0.1 s
    let began = Instant::now();
    while monitor.gather(&mut out).is_err() {
        assert!(began.elapsed() < Duration::from_secs(60));
    }
}

pub const IF_MIB: &str = r#"
IF-MIB DEFINITIONS ::= BEGIN
IMPORTS MODULE-IDENTITY, OBJECT-TYPE, Counter32, mib-2 FROM SNMPv2-SMI
    DisplayString FROM SNMPv2-TC  -- a comment with { and ::=
    ownRoot FROM OWN-MIB;
ifMIB MODULE-IDENTITY
    LAST-UPDATED "200006140000Z"
    DESCRIPTION "Text with ::= { mib-2 99 } in it"
    ::= { mib-2 31 }
interfaces   OBJECT IDENTIFIER ::= { mib-2 2 }
ifNumber OBJECT-TYPE
    SYNTAX Integer32
    ::= { interfaces 1 }
ifTable OBJECT-TYPE
    SYNTAX SEQUENCE OF IfEntry
    ::= { interfaces 2 }
ifEntry OBJECT-TYPE
    SYNTAX IfEntry
    INDEX { ifIndex }
    ::= { ifTable 1 }
IfEntry ::= SEQUENCE { ifIndex INTEGER, ifSpecific OBJECT IDENTIFIER }
ifDescr OBJECT-TYPE
    SYNTAX      DisplayString (SIZE (0..255))
    ::= { ifEntry 2 }
ifInOctets OBJECT-TYPE
    SYNTAX      Counter32
    DEFVAL { { 0 0 } }
    ::= { ifEntry 10 }
ownThing OBJECT IDENTIFIER ::= { ownRoot thing(7) 1 }
linkDown TRAP-TYPE
    ENTERPRISE snmp
    ::= 2
ifOperStatus OBJECT-TYPE
    SYNTAX INTEGER { up(1), -- it is
        down(2), other(-3) }
    ::= { ifEntry 8 }
long OBJECT IDENTIFIER ::= { iso(1) org(3) dod(6) 9 }
circle OBJECT IDENTIFIER ::= { elcric 1 }
elcric OBJECT IDENTIFIER ::= { circle 1 }
ifCompliance MODULE-COMPLIANCE
    OBJECT ifDescr
    MIN-ACCESS not-accessible
    OBJECT ifNumber
    ::= { ifMIB 2 }
END
"#;

#[test]
fn names_of_mib_files_are_asked_for_and_printed() {
    let scratch = Scratch::new("snmp-mibs");
    std::fs::write(scratch.path("IF-MIB.txt"), IF_MIB).unwrap();
    let own = "OWN-MIB DEFINITIONS ::= BEGIN IMPORTS enterprises FROM RFC1155-SMI;\nownRoot OBJECT IDENTIFIER ::= { enterprises 4711 } END";
    std::fs::write(scratch.path("OWN-MIB"), own).unwrap();
    let agent = Agent::with(vec![
        ("1.3.6.1.2.1.2.1.0", (0x02, &[2])),
        ("1.3.6.1.2.1.2.2.1.2.1", (0x04, b"line\nfeed")),
        ("1.3.6.1.2.1.2.2.1.10.7", (0x41, &[5])),
        ("1.3.6.1.2.1.2.2.1.8.1", (0x02, &[1])),
        ("1.3.6.1.2.1.2.2.1.8.2", (0x02, &[0xFD])),
        ("1.3.6.1.2.1.2.2.1.8.3", (0x02, &[7])),
        ("1.3.6.1.4.1.4711.7.1.0", (0x02, &[1])),
        ("1.3.6.9", (0x06, &[0x2B, 6, 1, 2, 1, 31, 2])),
    ]);
    let oids = [
        "IF-MIB::ifNumber",
        "IF-MIB::ifDescr",
        "IF-MIB::ifInOctets.7",
        "IF-MIB::ifOperStatus",
        "IF-MIB::ifOperStatus.2",
        "IF-MIB::ifOperStatus.3",
        "IF-MIB::ownThing.0",
        "IF-MIB::long",
        "IF-MIB::circle",
        "NO-MIB::nothing",
        "../OWN-MIB::ownRoot",
    ];
    let mut entry = asks(agent.port, json!({}), &oids);
    entry["mib_path"] = json!(scratch.path(""));
    let mut monitor = make(&DESCRIPTION, &entry, &place()).unwrap();
    let (mut out, taken) = capture("snmp_monitor()");
    monitor.gather(&mut out).unwrap();
    out.flush();
    let found = shortened(&taken.take());
    let expected = [
        r#"IF-MIB__ifNumber.0 "2" oid="IF-MIB::ifNumber.0""#,
        r#"IF-MIB__ifDescr.1 "line\nfeed" oid="IF-MIB::ifDescr.1""#,
        r#"IF-MIB__ifInOctets.7 "5" oid="IF-MIB::ifInOctets.7""#,
        r#"IF-MIB__ifOperStatus.1 "up" oid="IF-MIB::ifOperStatus.1""#,
        r#"IF-MIB__ifOperStatus.2 "other" oid="IF-MIB::ifOperStatus.2""#,
        r#"IF-MIB__ifOperStatus.3 "7" oid="IF-MIB::ifOperStatus.3""#,
        r#"IF-MIB__ownThing.0 "1" oid="IF-MIB::ownThing.0""#,
        r#"IF-MIB__long "IF-MIB::ifCompliance" oid="IF-MIB::long""#,
    ];
    assert_eq!(found, expected);
    // Each of the three is an error of its own, and the rest came all the same
    assert_eq!(out.status().snapshot().errors, 3);
}

#[test]
fn names_without_their_file_are_an_error_that_says_so() {
    let agent = Agent::with(vec![(NAME, (0x04, b"a"))]);
    let mut entry = asks(
        agent.port,
        json!({}),
        &["IF-MIB::ifNumber", NAME, "sysName"],
    );
    for path in [None, Some("/nonexistent")] {
        if let Some(path) = path {
            entry["mib_path"] = json!(path);
        }
        let mut monitor = make(&DESCRIPTION, &entry, &place()).unwrap();
        let (mut out, taken) = capture("snmp_monitor()");
        monitor.gather(&mut out).unwrap();
        out.flush();
        assert_eq!(taken.take().lines().count(), 1);
        assert_eq!(out.status().snapshot().errors, 2);
    }
}
