//! The monitor against a scripted server.

use super::wire::tests::description;
use super::wire::{self, Table};
use super::*;
use crate::emitter::captured::Lines;
use crate::monitor::Place;
use crate::service::md5::md5;
use crate::testing;
use serde_json::{json, Value as Json};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{channel, Receiver};
use std::time::Instant;

/// The course of one connection at a server, which hands on what it has heard.
type Play = Box<dyn FnOnce(&mut Peer) + Send>;

/// The server's side of a connection.
struct Peer(TcpStream);

impl Peer {
    fn hear(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 5];
        self.0.read_exact(&mut head).ok()?;
        let mut body = vec![0; u32::from_be_bytes(head[1..].try_into().unwrap()) as usize - 4];
        self.0.read_exact(&mut body).ok()?;
        Some((head[0], body))
    }

    /// The first message, which has no kind.
    fn start(&mut self) -> String {
        let mut length = [0; 4];
        self.0.read_exact(&mut length).unwrap();
        let mut body = vec![0; u32::from_be_bytes(length) as usize - 4];
        self.0.read_exact(&mut body).unwrap();
        String::from_utf8_lossy(&body).into_owned()
    }

    fn say(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes);
    }

    /// Lets the client in.
    fn welcome(&mut self, version: &str) {
        let version = [b"server_version\0", version.as_bytes(), b"\0"].concat();
        self.say(&msg(b'R', &[0; 4]));
        self.say(&msg(b'S', b"TimeZone\0Etc/UTC\0"));
        self.say(&msg(b'S', &version));
        self.say(&msg(b'K', &[1; 8]));
        self.say(&ready());
    }

    /// Answers statements until the client goes; each answer may end too early.
    fn answer(&mut self, answer: impl Fn(&str) -> Vec<u8>) -> Vec<String> {
        let mut asked = Vec::new();
        while let Some((b'Q', body)) = self.hear() {
            let sql = String::from_utf8(body[..body.len() - 1].to_vec()).unwrap();
            self.say(&msg(b'C', b"SET\0"));
            self.say(&answer(&sql));
            self.say(&ready());
            asked.push(sql);
        }
        asked
    }
}

fn msg(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    wire::write(&mut out, kind, &[body]);
    out
}

fn ready() -> Vec<u8> {
    msg(b'Z', b"I")
}

fn fault(severity: &str, code: &str, text: &str) -> Vec<u8> {
    let body = format!("S{severity}\0V{severity}\0C{code}\0M{text}\0\0");
    msg(b'E', body.as_bytes())
}

/// A result with names, types and rows; `-` is null.
fn table(columns: &[(&str, u32)], rows: &[&[&str]]) -> Vec<u8> {
    let mut out = msg(b'T', &description(columns));
    for row in rows {
        let mut body = (row.len() as u16).to_be_bytes().to_vec();
        for cell in *row {
            match *cell {
                "-" => body.extend_from_slice(&[0xFF; 4]),
                text => {
                    body.extend_from_slice(&(text.len() as u32).to_be_bytes());
                    body.extend_from_slice(text.as_bytes());
                }
            }
        }
        out.extend_from_slice(&msg(b'D', &body));
    }
    out.extend_from_slice(&msg(b'C', b"SELECT\0"));
    out
}

/// A server that plays these connections one after another.
struct Fake {
    port: u16,
    heard: Receiver<Vec<String>>,
}

impl Fake {
    fn new(plays: Vec<Play>) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (_tx, heard) = channel();
        std::thread::spawn(move || {
            for play in plays {
                play(&mut Peer(listener.accept().unwrap().0));
            }
        });
        Fake { port, heard }
    }

    /// One that answers all statements, and tells what it was asked.
    fn answering(version: &'static str, answer: fn(&str) -> Vec<u8>) -> Fake {
        let (tx, heard) = channel();
        let mut fake = Fake::new(vec![Box::new(move |peer| {
            peer.start();
            peer.welcome(version);
            let _ = tx.send(peer.answer(answer));
        })]);
        fake.heard = heard;
        fake
    }

    fn monitor(&self, more: Json) -> Watched {
        let mut entry = json!({"database_name": "shop", "database_username": "me",
            "database_password": "s3cret", "database_host": "127.0.0.1", "database_port": self.port});
        entry
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        Watched::new(entry)
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
        let place = Place::new("/", "/nonexistent");
        let monitor = testing::make(&DESCRIPTION, &entry, &place).unwrap();
        let (out, lines) = testing::capture("postgres_monitor(mydb)");
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
            .map(|line| {
                line.split_once("[postgres_monitor(mydb)] ")
                    .unwrap()
                    .1
                    .to_owned()
            })
            .collect();
        result.map(|()| lines).map_err(|e| e.to_string())
    }

    pub fn count(&self, name: &'static str) -> u64 {
        self.out.counter(name).load(Relaxed)
    }
}

const INT: u32 = 20;
const FLOAT: u32 = 701;
const NUMERIC: u32 = 1700;
const TEXT: u32 = 25;
const BOOL: u32 = 16;

const DATABASE: &[(&str, u32)] = &[
    ("datid", INT),
    ("datname", TEXT),
    ("numbackends", INT),
    ("xact_commit", INT),
    ("xact_rollback", INT),
    ("blks_read", INT),
    ("blks_hit", INT),
    ("tup_returned", INT),
    ("tup_fetched", INT),
    ("tup_inserted", INT),
    ("tup_updated", INT),
    ("tup_deleted", INT),
    ("conflicts", INT),
    ("temp_files", INT),
    ("temp_bytes", INT),
    ("deadlocks", INT),
    ("checksum_failures", INT),
    ("blk_read_time", FLOAT),
    ("blk_write_time", FLOAT),
    ("stats_reset", TEXT),
    ("stats_reset_ms", NUMERIC),
];

/// The database of the golden sample.
fn golden(sql: &str) -> Vec<u8> {
    if sql.contains("pg_database_size") {
        return table(&[("size", INT)], &[&["7699815"]]);
    }
    assert!(
        sql.contains("FROM pg_stat_database WHERE datname = current_database()"),
        "{sql}"
    );
    table(
        DATABASE,
        &[&[
            "16384",
            "shop",
            "1",
            "9",
            "1",
            "66",
            "1394",
            "3127",
            "133",
            "1013",
            "9",
            "10",
            "0",
            "0",
            "0",
            "0",
            "-",
            "0.863",
            "0",
            "2026-11-22 22:25:29.863067+00",
            "1795386329863.067000",
        ]],
    )
}

#[test]
fn every_metric_of_the_python_agent_is_written_in_its_order() {
    let fake = Fake::answering("15.18 (Debian 15.18-0+deb12u1)", golden);
    let mut monitor = fake.monitor(json!({}));
    let expected = "\
postgres.database.size 7699815
postgres.database.connections 1
postgres.database.transactions 9 result=\"committed\"
postgres.database.transactions 1 result=\"rolledback\"
postgres.database.disk_blocks 66 type=\"read\"
postgres.database.disk_blocks 1394 type=\"hit\"
postgres.database.query_rows 3127 op=\"returned\"
postgres.database.query_rows 133 op=\"fetched\"
postgres.database.query_rows 1013 op=\"inserted\"
postgres.database.query_rows 9 op=\"updated\"
postgres.database.query_rows 10 op=\"deleted\"
postgres.database.temp_files 0
postgres.database.temp_bytes 0
postgres.database.deadlocks 0
postgres.database.blocks_op_time 0.863 op=\"read\"
postgres.database.blocks_op_time 0.0 op=\"write\"
postgres.database.stats_reset 1795386329863.067";
    assert_eq!(monitor.sample().unwrap().join("\n"), expected);
    let asked = fake.heard.recv().unwrap();
    assert_eq!(asked.len(), 2);
    assert!(
        asked[0].starts_with("SET LOCAL statement_timeout = 7500; SELECT "),
        "{asked:?}"
    );
}

#[test]
fn a_null_and_a_column_that_is_missing_cost_only_themselves() {
    let fake = Fake::answering("12.4", |sql| match sql.contains("pg_database_size") {
        true => table(&[("size", INT)], &[&["-"]]),
        false => table(
            &[
                ("numbackends", INT),
                ("xact_commit", INT),
                ("stats_reset_ms", FLOAT),
                ("blk_read_time", FLOAT),
            ],
            &[&["2", "x", "-", "NaN"]],
        ),
    });
    let lines = fake.monitor(json!({})).sample().unwrap();
    assert_eq!(lines, ["postgres.database.connections 2"]);
}

#[test]
fn a_missing_right_costs_only_what_it_is_for() {
    let fake = Fake::answering("15.1", |sql| match sql.contains("pg_database_size") {
        true => fault("ERROR", "42501", "permission denied for database shop"),
        false => golden(sql),
    });
    let mut monitor = fake.monitor(json!({}));
    let lines = monitor.sample().unwrap();
    assert_eq!(lines.len(), 16);
    assert_eq!(monitor.count("refused_statements"), 1);
}

#[test]
fn a_server_may_ask_for_md5_or_clear_text_and_gets_it_right() {
    for is_md5 in [true, false] {
        let (tx, heard) = channel();
        let fake = Fake::new(vec![Box::new(move |peer| {
            let start = peer.start();
            assert!(start.contains("user\0me\0database\0shop\0"), "{start:?}");
            peer.say(&msg(
                b'R',
                if is_md5 {
                    b"\0\0\0\x05salt"
                } else {
                    b"\0\0\0\x03"
                },
            ));
            let _ = tx.send(peer.hear().unwrap());
            peer.welcome("15.1");
            peer.answer(golden);
        })]);
        assert_eq!(fake.monitor(json!({})).sample().unwrap().len(), 17);
        let hex = |digest: [u8; 16]| {
            digest
                .iter()
                .map(|b| format!("{b:02x}"))
                .collect::<String>()
        };
        let inner = hex(md5(&[b"s3cretme"]));
        let expected = match is_md5 {
            true => format!("md5{}\0", hex(md5(&[inner.as_bytes(), b"salt"]))),
            false => "s3cret\0".to_owned(),
        };
        assert_eq!(heard.recv().unwrap(), (b'p', expected.into_bytes()));
    }
}

#[test]
fn a_server_that_does_not_know_the_password_either_is_not_believed() {
    for last in [
        None,
        Some(msg(
            b'R',
            b"\0\0\0\x0cv=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        )),
    ] {
        let fake = Fake::new(vec![Box::new(move |peer| {
            peer.start();
            peer.say(&msg(
                b'R',
                b"\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0",
            ));
            let (_, first) = peer.hear().unwrap();
            let first = String::from_utf8_lossy(&first).into_owned();
            assert!(first.starts_with("SCRAM-SHA-256\0"), "{first}");
            let nonce = first.rsplit_once("r=").unwrap().1.to_owned();
            peer.say(&msg(
                b'R',
                format!("\0\0\0\x0br={nonce}xyz,s=c2FsdA==,i=4096").as_bytes(),
            ));
            peer.hear().unwrap();
            peer.say(&last.unwrap_or_default());
            peer.welcome("15.1");
        })]);
        let error = fake.monitor(json!({})).sample().unwrap_err();
        assert!(error.contains("did not prove"), "{error}");
    }
}

#[test]
fn what_a_server_says_at_the_door_comes_with_what_to_do() {
    for (code, words, advice) in [
        (
            "28P01",
            "password authentication failed for user \"me\"",
            "the password",
        ),
        ("28000", "no pg_hba.conf entry for host", "pg_hba.conf"),
        (
            "3D000",
            "database \"shop\" does not exist",
            "correct database_name",
        ),
        (
            "53300",
            "sorry, too many clients already",
            "max_connections",
        ),
        ("57P03", "the database system is starting up", "next sample"),
        (
            "57P03",
            "the database system is not yet accepting connections",
            "next sample",
        ),
        (
            "42501",
            "permission denied for database \"shop\"",
            "GRANT CONNECT",
        ),
        ("XX000", "cache lookup failed", "XX000"),
    ] {
        let fake = Fake::new(vec![
            Box::new(move |peer| {
                peer.start();
                peer.say(&fault("FATAL", code, words));
            }),
            Box::new(|peer| {
                peer.start();
                peer.welcome("15.1");
                peer.answer(golden);
            }),
        ]);
        let mut monitor = fake.monitor(json!({}));
        let error = monitor.sample().unwrap_err();
        let address = format!("127.0.0.1:{}", fake.port);
        for part in [&words.replace('"', "\\\""), code, advice, &address] {
            assert!(error.contains(part), "{part}: {error}");
        }
        assert!(!error.contains("s3cret"));
        assert_eq!(monitor.sample().unwrap().len(), 17);
    }
}

#[test]
fn whatever_comes_in_place_of_an_answer_the_next_sample_goes_on() {
    let plays: Vec<(Play, Json, &str)> = vec![
        (Box::new(|_| {}), json!({}), "closed the connection"),
        (
            Box::new(|p| {
                p.start();
                p.say(b"HTTP/1.1 400 Bad Request\r\n\r\n");
            }),
            json!({}),
            "protocol",
        ),
        (
            Box::new(|p| {
                p.start();
                p.say(b"R\x7f\xff\xff\xff");
            }),
            json!({}),
            "too long",
        ),
        (
            Box::new(|p| {
                p.start();
                p.say(b"R\0\0");
            }),
            json!({}),
            "closed the connection",
        ),
        (
            Box::new(|p| {
                p.start();
                std::thread::sleep(Duration::from_secs(3));
            }),
            json!({}),
            "within timeout",
        ),
        (
            Box::new(|p| {
                p.start();
                loop {
                    if p.0.write_all(&msg(b'N', &[b'x'; 60_000])).is_err() {
                        break;
                    }
                }
            }),
            json!({}),
            "too long",
        ),
        (
            Box::new(|p| {
                p.start();
                for _ in 0..1000 {
                    p.say(&msg(b'S', b"a\0b\0"));
                }
            }),
            json!({}),
            "greeting",
        ),
        (
            Box::new(|p| {
                p.start();
                p.say(&msg(b'R', b"\0\0\0\x07"));
            }),
            json!({}),
            "GSSAPI",
        ),
        (
            Box::new(|p| {
                p.start();
                p.say(&msg(b'R', b"\0\0\0\x63"));
            }),
            json!({}),
            "does not know",
        ),
        (
            Box::new(|p| {
                p.start();
                p.say(&msg(b'R', b"\0\0\0\x0aOTHER\0\0"));
            }),
            json!({}),
            "SASL",
        ),
        (
            Box::new(|p| {
                p.start();
                p.say(&msg(b'R', b"\0\0\0\x0br=a"));
            }),
            json!({}),
            "does not know",
        ),
        (
            Box::new(|p| {
                p.start();
                p.say(&msg(b'R', b"\0\0\0\x05salt"));
                p.hear();
            }),
            json!({"database_password": ""}),
            "set database_password",
        ),
        (
            Box::new(|p| {
                p.start();
                p.welcome("15.1");
                p.hear();
                p.say(&msg(b'T', b"\xff\xff"));
            }),
            json!({}),
            "malformed",
        ),
        (
            Box::new(|p| {
                p.start();
                p.welcome("15.1");
                p.hear();
                p.say(&golden("pg_database_size")[..20]);
            }),
            json!({}),
            "closed the connection",
        ),
        (
            Box::new(|p| {
                p.start();
                p.welcome("15.1");
                p.hear();
                p.say(&fault(
                    "FATAL",
                    "57P01",
                    "terminating connection due to administrator command",
                ));
            }),
            json!({}),
            "57P01",
        ),
    ];
    for (play, more, words) in plays {
        let fake = Fake::new(vec![
            play,
            Box::new(|peer| {
                peer.start();
                peer.welcome("15.1");
                peer.answer(golden);
            }),
        ]);
        let mut entry = more;
        entry["timeout"] = json!(2);
        let mut monitor = fake.monitor(entry);
        let began = Instant::now();
        let error = monitor.sample().unwrap_err();
        assert!(error.contains(words), "{words}: {error}");
        assert!(began.elapsed() < Duration::from_secs(5));
        assert_eq!(monitor.sample().unwrap().len(), 17, "{words}");
    }
}

#[cfg(feature = "tls")]
#[test]
fn a_server_without_tls_gets_no_password_where_tls_is_wanted() {
    for (more, answer, words) in [
        (json!({"use_ssl": true}), &b"N"[..], "ssl = on"),
        (json!({"tls": "verify"}), b"N", "ssl = on"),
        (json!({"tls": "require"}), b"E\0\0\0\x20", "protocol"),
        (json!({"tls": "prefer"}), b"N", ""),
    ] {
        let (tx, heard) = channel();
        let fake = Fake::new(vec![Box::new(move |peer| {
            assert!(peer.start().starts_with('\x04'));
            peer.say(answer);
            let mut rest = Vec::new();
            match words {
                "" => {
                    peer.start();
                    peer.welcome("15.1");
                    peer.answer(golden);
                }
                _ => {
                    let _ = peer.0.read_to_end(&mut rest);
                }
            }
            let _ = tx.send(rest);
        })]);
        let result = fake.monitor(more).sample();
        match words {
            "" => assert_eq!(result.unwrap().len(), 17),
            _ => assert!(
                result.as_ref().is_err_and(|e| e.contains(words)),
                "{result:?}"
            ),
        }
        assert_eq!(heard.recv().unwrap(), b"");
    }
}

/// A server of version 12, 17 or 18 with `extra_metrics`.
fn extra(sql: &str) -> Vec<u8> {
    let has = |part: &str| sql.contains(part);
    if has("pg_stat_activity") {
        table(
            &[
                ("state", TEXT),
                ("n", INT),
                ("waiting", INT),
                ("longest", NUMERIC),
                ("most", TEXT),
                ("sees_all", BOOL),
            ],
            &[
                &["active", "2", "1", "12.500000", "100", "f"],
                &["-", "3", "0", "-", "100", "f"],
            ],
        )
    } else if has("pg_stat_io") {
        table(
            &[
                ("backend_type", TEXT),
                ("object", TEXT),
                ("context", TEXT),
                ("reads", INT),
                ("read_bytes", NUMERIC),
                ("read_time", FLOAT),
                ("writes", INT),
                ("fsyncs", INT),
            ],
            &[
                &[
                    "client backend",
                    "relation",
                    "normal",
                    "5",
                    "40960",
                    "0",
                    "0",
                    "-",
                ],
                &["walwriter", "wal", "normal", "0", "0", "0", "7", "1"],
            ],
        )
    } else if has("FROM pg_stat_replication") {
        table(
            &[
                ("application_name", TEXT),
                ("client", TEXT),
                ("streaming", BOOL),
                ("sent", NUMERIC),
                ("replayed", NUMERIC),
                ("lag", NUMERIC),
            ],
            &[
                &["walreceiver", "10.0.0.2", "t", "0", "4096", "0.25"],
                &["x", "-", "f", "-", "-", "-"],
            ],
        )
    } else if has("AS standby") {
        table(
            &[("standby", BOOL), ("delay", NUMERIC), ("behind", NUMERIC)],
            &[&["f", "-", "-"]],
        )
    } else if has("FROM pg_replication_slots") {
        table(
            &[
                ("slot_name", TEXT),
                ("slot_type", TEXT),
                ("active", BOOL),
                ("wal_status", TEXT),
                ("safe_wal_size", INT),
                ("retained", NUMERIC),
            ],
            &[&["s1", "physical", "f", "lost", "-", "123"]],
        )
    } else {
        golden(sql)
    }
}

fn old(sql: &str) -> Vec<u8> {
    if sql.contains("FROM pg_replication_slots") {
        table(
            &[
                ("slot_name", TEXT),
                ("slot_type", TEXT),
                ("active", BOOL),
                ("retained", NUMERIC),
            ],
            &[&["s1", "logical", "t", "9"]],
        )
    } else if sql.contains("FROM pg_stat_bgwriter") {
        table(
            &[
                ("checkpoints_timed", INT),
                ("checkpoints_req", INT),
                ("checkpoint_write_time", FLOAT),
                ("buffers_checkpoint", INT),
                ("buffers_clean", INT),
                ("maxwritten_clean", INT),
                ("buffers_backend", INT),
                ("buffers_alloc", INT),
            ],
            &[&["3", "1", "2500", "40", "50", "0", "60", "70"]],
        )
    } else {
        extra(sql)
    }
}

fn new(sql: &str) -> Vec<u8> {
    if sql.contains("FROM pg_stat_checkpointer") {
        table(
            &[
                ("num_timed", INT),
                ("num_requested", INT),
                ("num_done", INT),
                ("restartpoints_timed", INT),
                ("write_time", FLOAT),
                ("buffers_written", INT),
            ],
            &[&["3", "1", "4", "0", "2500", "40"]],
        )
    } else if sql.contains("FROM pg_stat_bgwriter") {
        table(
            &[
                ("buffers_clean", INT),
                ("maxwritten_clean", INT),
                ("buffers_alloc", INT),
            ],
            &[&["50", "0", "70"]],
        )
    } else {
        extra(sql)
    }
}

#[test]
fn extra_metrics_come_from_the_views_of_each_version() {
    let common = "\
postgres.activity 0 state=\"idle\"
postgres.activity 0 state=\"idle in transaction\"
postgres.activity 0 state=\"idle in transaction (aborted)\"
postgres.activity 2 state=\"active\"
postgres.activity 3 state=\"unknown\"
postgres.activity.waiting 1
postgres.activity.longest_transaction 12.5
postgres.activity.max_connections 100
";
    let replicas = "\
postgres.replica.streaming 1 application=\"walreceiver\" client=\"10.0.0.2\"
postgres.replica.behind 0 application=\"walreceiver\" client=\"10.0.0.2\" stage=\"sent\"
postgres.replica.behind 4096 application=\"walreceiver\" client=\"10.0.0.2\" stage=\"replayed\"
postgres.replica.lag 0.25 application=\"walreceiver\" client=\"10.0.0.2\"
postgres.replica.streaming 0 application=\"x\" client=\"\"
postgres.standby 0
";
    let of_12 = "\
postgres.checkpoints 3 type=\"timed\"
postgres.checkpoints 1 type=\"requested\"
postgres.checkpoint_time 2500.0 op=\"write\"
postgres.buffers_written 40 by=\"checkpointer\"
postgres.buffers_written 50 by=\"bgwriter\"
postgres.buffers_written 60 by=\"backends\"
postgres.buffers_allocated 70
postgres.bgwriter_halts 0
";
    let of_18 = "\
postgres.buffers_written 50 by=\"bgwriter\"
postgres.buffers_allocated 70
postgres.bgwriter_halts 0
postgres.checkpoints 3 type=\"timed\"
postgres.checkpoints 1 type=\"requested\"
postgres.checkpoints 4 type=\"done\"
postgres.checkpoints 0 type=\"restart_timed\"
postgres.checkpoint_time 2500.0 op=\"write\"
postgres.buffers_written 40 by=\"checkpointer\"
postgres.io 5 backend=\"client backend\" context=\"normal\" object=\"relation\" op=\"read\"
postgres.io.bytes 40960 backend=\"client backend\" context=\"normal\" object=\"relation\" op=\"read\"
postgres.io 7 backend=\"walwriter\" context=\"normal\" object=\"wal\" op=\"write\"
postgres.io 1 backend=\"walwriter\" context=\"normal\" object=\"wal\" op=\"fsync\"
";
    let slots_12 = "\
postgres.slot.active 1 slot=\"s1\" type=\"logical\"
postgres.slot.retained 9 slot=\"s1\" type=\"logical\"
";
    let slots_18 = "\
postgres.slot.active 0 slot=\"s1\" type=\"physical\"
postgres.slot.retained 123 slot=\"s1\" type=\"physical\"
postgres.slot.lost 1 slot=\"s1\" type=\"physical\"
";
    for (version, answer, asked, parts) in [
        (
            "12.22",
            old as fn(&str) -> Vec<u8>,
            7,
            [common, of_12, replicas, slots_12],
        ),
        ("18beta1", new, 9, [common, of_18, replicas, slots_18]),
    ] {
        let fake = Fake::answering(version, answer);
        let lines = fake
            .monitor(json!({"extra_metrics": true}))
            .sample()
            .unwrap();
        assert_declared(&lines);
        assert_eq!(lines[17..].join("\n") + "\n", parts.concat(), "{version}");
        assert_eq!(fake.heard.recv().unwrap().len(), asked);
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
fn options_that_make_no_sense_are_refused_by_name() {
    let make = |more: Json| {
        let mut entry = json!({"database_name": "d", "database_username": "u"});
        entry
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let place = Place::new("/", "/nonexistent");
        testing::make(&DESCRIPTION, &entry, &place)
            .map(|_| ())
            .map_err(|e| e.to_string())
    };
    assert_eq!(make(json!({})), Ok(()));
    assert_eq!(
        make(json!({"database_password": "x", "database_port": "5433"})),
        Ok(())
    );
    for (more, name) in [
        (json!({"database_port": 0}), "database_port"),
        (json!({"tls": "maybe"}), "tls"),
        (
            json!({"database_password": "x", "password_file": "/p"}),
            "password_file",
        ),
        (json!({"database_username": "a\0b"}), "database_username"),
    ] {
        assert!(make(more).unwrap_err().contains(name), "{name}");
    }
    let missing = testing::make(
        &DESCRIPTION,
        &json!({"database_name": "d"}),
        &Place::new("/", "/x"),
    );
    assert!(missing
        .err()
        .unwrap()
        .to_string()
        .contains("database_username"));
}

/// xorshift64
fn next(state: &mut u64) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state as usize
}

#[test]
fn the_parser_of_messages_survives_mutated_answers() {
    let all = |answer: fn(&str) -> Vec<u8>| -> Vec<Vec<u8>> {
        statements::ALL.iter().map(|one| answer(one.sql)).collect()
    };
    let mut corpus = all(new);
    corpus.push(old("FROM pg_stat_bgwriter"));
    corpus.push([fault("ERROR", "42501", "permission denied"), ready()].concat());
    corpus.push(msg(b'R', b"\0\0\0\x0br=abcdef,s=c2FsdA==,i=2"));
    let rounds = std::env::var("MUTATIONS").ok().and_then(|n| n.parse().ok());
    let mut state = 0x9E37_79B9_7F4A_7C15;
    let (mut out, lines) = testing::capture("m()");
    for _ in 0..rounds.unwrap_or(10_000u64) {
        let which = next(&mut state) % corpus.len();
        let mut bytes = corpus[which].clone();
        for _ in 0..=next(&mut state) % 4 {
            let at = next(&mut state) % bytes.len();
            match next(&mut state) % 5 {
                0 => bytes[at] = next(&mut state) as u8,
                1 => bytes.truncate(at + 1),
                2 => bytes[at] ^= 1 << (next(&mut state) % 8),
                3 => {
                    bytes.remove(at);
                    bytes.push(0);
                }
                _ => {
                    let end = (at + next(&mut state) % 40).min(bytes.len());
                    let part = bytes[at..end].to_vec();
                    bytes.splice(at..at, part);
                }
            }
        }
        let mut rest = &bytes[..];
        let mut left = 1 << 20;
        let mut table = Table::default();
        while let Ok((kind, body)) = wire::message(&mut rest, &mut left) {
            match kind {
                b'T' => table = Table::of(&body).unwrap_or_default(),
                b'D' => drop(table.take(&body)),
                b'R' => {
                    let text =
                        String::from_utf8_lossy(body.get(4..).unwrap_or_default()).into_owned();
                    let mut exchange = scram::Exchange::new("abc".to_owned());
                    let give_up = || true;
                    let _ = exchange.proof(&text, b"x", &mut Salted::default(), &give_up);
                    exchange.is_proven(&text);
                }
                _ => drop(Fault::of(&body)),
            }
        }
        for one in statements::ALL.iter().skip(which.min(8)).take(1) {
            (one.emit)(&table, &mut out);
        }
        out.flush();
        lines.take();
    }
}
