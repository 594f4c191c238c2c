use super::fake::{self, pairs, row, rows, Fake, Reply, Script, CACHING_PROOF, NATIVE_PROOF};
use super::*;
use crate::emitter::captured::Lines;
use crate::monitor::Place;
use crate::testing::{capture, make};
use common::testing::Scratch;
use serde_json::{json, Value as Json};
use std::io::{Read, Write};
use std::sync::atomic::AtomicU64;
use std::sync::Arc;

const CACHING: &str = "caching_sha2_password";
const NATIVE: &str = "mysql_native_password";
const DENIED: &str = "Access denied; you need (at least one of) the PROCESS privilege(s)";

/// A monitor and all that it says.
pub(super) struct Probe {
    monitor: Box<dyn Monitor>,
    out: Emitter,
    lines: Lines,
}

pub(super) fn probe(mut entry: Json) -> Probe {
    for (name, value) in [("database_username", "u"), ("database_password", "pw1")] {
        if entry.get(name).is_none() && entry.get("password_file").is_none() {
            entry[name] = json!(value);
        }
    }
    if entry.get("timeout").is_none() {
        entry["timeout"] = json!(60);
    }
    let (out, lines) = capture("mysql_monitor(m)");
    let monitor = make(&DESCRIPTION, &entry, &Place::new("/", "/nowhere")).unwrap();
    Probe {
        monitor,
        out,
        lines,
    }
}

fn at(fake: &Fake) -> Probe {
    probe(json!({"database_hostport": fake.address}))
}

impl Probe {
    /// The lines of a sample, from behind `mysql.` on, and its error.
    pub(super) fn take(&mut self) -> (Vec<String>, Option<String>) {
        let result = self.monitor.gather(&mut self.out);
        self.out.flush();
        let lines = self.lines.take();
        let bare = lines
            .lines()
            .map(|line| line.split_once(" mysql.").expect(line).1);
        (
            bare.map(str::to_owned).collect(),
            result.err().map(|error| error.to_string()),
        )
    }

    pub(super) fn good(&mut self) -> Vec<String> {
        let (lines, error) = self.take();
        assert_eq!(error, None);
        lines
    }

    /// A sample that ends with an error before anything was written.
    pub(super) fn bad(&mut self) -> String {
        let (lines, error) = self.take();
        assert_eq!(lines, Vec::<String>::new());
        let error = error.unwrap();
        assert!(!error.contains("pw1"), "{error}");
        error
    }

    pub(super) fn counter(&self, name: &'static str) -> u64 {
        Arc::<AtomicU64>::as_ref(&self.out.counter(name)).load(Relaxed)
    }
}

/// The lines that the fake server's answers make, without the state of a replica.
const SAMPLE: &[&str] = &[
    "vars.max_connections 151",
    "vars.open_files_limit 10000",
    "global.aborted_clients 1",
    "global.aborted_connects 2",
    "global.com_select 30",
    "global.com_insert 10",
    "global.com_update 0",
    "global.com_delete 0",
    "global.com_replace 0",
    "global.compression \"OFF\"",
    "global.connections 8",
    "global.innodb_buffer_pool_reads 5",
    "global.max_used_connections 3",
    "global.questions 50",
    "global.slow_queries 5",
    "global.ssl_cipher \"\"",
    "global.threads_created 2",
    "global.uptime 12.5",
    "innodb.history_list_length 4",
    "innodb.locks.spin_waits 1 type=\"rw-shared\"",
    "innodb.locks.rounds 2 type=\"rw-shared\"",
    "innodb.locks.os_waits 3 type=\"rw-shared\"",
    "process.daemon 1",
    "process.query 1",
    "process.sleep 2",
    "process.binlog_dump_gtid 1",
    "derived.slow_query_percentage 10.0",
    "derived.connections_used_percentage 1.9867549668874174",
    "derived.aborted_connections_percentage 25.0",
    "derived.aborted_clients_percentage 12.5",
    "derived.read_percentage 75.0",
    "derived.write_percentage 25.0",
    "derived.query_cache_efficiency 0.0",
    "derived.thread_cache_hit_rate 75.0",
];

/// [`SAMPLE`] without the lines that begin so, and with these before `process.`.
fn sample_with(without: &str, replica: &[&str]) -> Vec<String> {
    let mut lines: Vec<&str> = SAMPLE.to_vec();
    let at = lines.iter().position(|line| line.starts_with("process."));
    lines.splice(at.unwrap()..at.unwrap(), replica.iter().copied());
    lines.retain(|line| without.is_empty() || !line.starts_with(without));
    lines.into_iter().map(str::to_owned).collect()
}

/// The state of a replica as MySQL 8.0.22 and later name it.
fn source_row(channel: &'static str, lag: &'static str) -> [(&'static str, &'static str); 10] {
    [
        ("Replica_IO_State", "Waiting"),
        ("Source_Host", "db1"),
        ("Read_Source_Log_Pos", "900"),
        ("Replica_IO_Running", "Connecting"),
        ("Replica_SQL_Running", "Yes"),
        ("Exec_Source_Log_Pos", "800"),
        ("Relay_Log_Space", "77"),
        ("Seconds_Behind_Source", lag),
        ("Last_IO_Errno", "2003"),
        ("Channel_Name", channel),
    ]
}

fn old_row() -> Reply {
    row(&[
        ("Slave_IO_State", "Waiting"),
        ("Master_Host", "db1"),
        ("Read_Master_Log_Pos", "900"),
        ("Slave_IO_Running", "Yes"),
        ("Slave_SQL_Running", "No"),
        ("Exec_Master_Log_Pos", "800"),
        ("Seconds_Behind_Master", "5"),
    ])
}

#[test]
fn mysql_8_0_and_9_give_all_they_have_under_the_names_of_old() {
    for version in ["8.0.40", "8.4.3", "9.1.0-commercial"] {
        let script = fake::server(version, CACHING).on(
            "SHOW REPLICA STATUS",
            rows(&[&source_row("", "12"), &source_row("b", "13")]),
        );
        let fake = Fake::start(script);
        let mut probe = at(&fake);
        let replica = [
            "slave.seconds_behind_master 12",
            "slave.bytes_executed 800",
            "slave.bytes_relayed 900",
            "slave.thread_io_running 0",
            "slave.thread_sql_running 1",
        ];
        assert_eq!(probe.good(), sample_with("", &replica));
        assert_eq!(
            fake.heard().iter().map(String::as_str).collect::<Vec<_>>(),
            [
                "SHOW /*!50000 GLOBAL */ VARIABLES WHERE Variable_name IN ('max_connections', 'open_files_limit')",
                "SHOW /*!50000 GLOBAL */ STATUS",
                "SHOW ENGINE INNODB STATUS",
                "SHOW REPLICA STATUS",
                "SHOW PROCESSLIST",
            ]
        );
    }
}

#[test]
fn mysql_5_7_is_asked_in_its_own_words_and_only_once_in_the_new_ones() {
    let script = fake::server("5.7.44-log", NATIVE).on("SHOW SLAVE STATUS", old_row());
    let fake = Fake::start(script);
    let mut probe = at(&fake);
    let replica = [
        "slave.seconds_behind_master 5",
        "slave.bytes_executed 800",
        "slave.bytes_relayed 900",
        "slave.thread_io_running 1",
        "slave.thread_sql_running 0",
    ];
    for _ in 0..2 {
        assert_eq!(probe.good(), sample_with("", &replica));
    }
    let heard = fake.heard();
    let times = |words: &str| heard.iter().filter(|s| *s == words).count();
    assert_eq!(
        (times("SHOW REPLICA STATUS"), times("SHOW SLAVE STATUS")),
        (1, 2)
    );
    assert_eq!(probe.counter("statements_refused"), 0);
}

#[test]
fn a_server_that_is_no_replica_or_knows_no_replicas_costs_nothing_else() {
    let none = rows(&[&source_row("", "NULL")]);
    let Reply::Rows(names, _) = none else {
        panic!()
    };
    let not_set_up = row(&[("Source_Host", "None"), ("Exec_Source_Log_Pos", "1")]);
    for reply in [Reply::Rows(names, Vec::new()), not_set_up] {
        let fake = Fake::start(fake::server("8.4.3", CACHING).on("SHOW REPLICA STATUS", reply));
        assert_eq!(at(&fake).good(), sample_with("", &[]));
    }
    let fake = Fake::start(fake::server("8.4.3", CACHING));
    let mut probe = at(&fake);
    assert_eq!(probe.good(), sample_with("", &[]));
    fake.heard();
    assert_eq!(probe.good(), sample_with("", &[]));
    assert!(!fake
        .heard()
        .iter()
        .any(|s| s.contains("REPLICA") || s.contains("SLAVE")));
    // A lag that is not known is no number
    let script =
        fake::server("8.4.3", CACHING).on("SHOW REPLICA STATUS", row(&source_row("", "NULL")));
    let lines = at(&Fake::start(script)).good();
    assert!(lines.contains(&"slave.bytes_executed 800".to_owned()));
    assert!(!lines.iter().any(|line| line.contains("seconds_behind")));
}

#[test]
fn extra_metrics_have_every_channel_and_stay_out_otherwise() {
    let replies = rows(&[&source_row("", "12"), &source_row("b", "13")]);
    let script = fake::server("8.4.3", CACHING).on("SHOW REPLICA STATUS", replies);
    let fake = Fake::start(script);
    let entry = json!({"database_hostport": fake.address, "extra_metrics": true});
    let lines = probe(entry).good();
    for line in [
        "global.com_commit 7",
        "slave.seconds_behind_master 12",
        "slave.relay_log_space 77",
        "slave.seconds_behind_master 13 channel=\"b\"",
        "slave.last_io_errno 2003 channel=\"b\"",
    ] {
        assert!(lines.contains(&line.to_owned()), "{line} in {lines:#?}");
    }
    let entry = json!({"database_hostport": fake.address, "collect_replica_metrics": false});
    fake.heard();
    assert_eq!(probe(entry).good(), sample_with("", &[]));
    assert!(!fake.heard().iter().any(|s| s.contains("REPLICA")));
    // MariaDB has other words for all channels
    let mut mariadb = source_row("", "1");
    mariadb[9] = ("Connection_name", "c");
    let script =
        fake::server("5.5.5-10.4.1-MariaDB", NATIVE).on("SHOW ALL SLAVES STATUS", row(&mariadb));
    let fake = Fake::start(script);
    let entry = json!({"database_hostport": fake.address, "extra_metrics": true});
    let lines = probe(entry).good();
    assert!(lines.contains(&"slave.bytes_relayed 900 channel=\"c\"".to_owned()));
}

#[test]
fn a_missing_privilege_costs_only_its_own_metrics() {
    for (statement, without) in [
        ("SHOW ENGINE INNODB STATUS", "innodb."),
        ("SHOW REPLICA STATUS", "slave."),
        ("SHOW PROCESSLIST", "process."),
        ("SHOW /*!50000 GLOBAL */ VARIABLES", "vars."),
    ] {
        let script = fake::server("8.4.3", CACHING).on(statement, Reply::Error(1227, DENIED));
        let fake = Fake::start(script);
        let mut probe = at(&fake);
        for n in 1..=2 {
            let mut expected = sample_with(without, &[]);
            expected.retain(|l| without != "vars." || !l.contains("connections_used"));
            assert_eq!(probe.good(), expected);
            assert_eq!(probe.counter("statements_refused"), n);
        }
        // The account is asked for once an hour, for the advice
        let asked = fake.heard();
        let asked = asked.iter().filter(|s| s.contains("CURRENT_USER")).count();
        assert_eq!(asked, 1, "{statement}");
    }
    // The values that are made of the status go with it
    let script = fake::server("8.4.3", CACHING)
        .on("SHOW /*!50000 GLOBAL */ STATUS", Reply::Error(1227, DENIED));
    let lines = at(&Fake::start(script)).good();
    assert!(lines
        .iter()
        .all(|l| l.starts_with("vars.") || l.starts_with("process.")));
}

#[test]
fn the_status_of_a_server_before_5_1_is_not_asked_for_as_that_would_hold_it_up() {
    for version in ["5.0.96-log", "4.1.22", "unknown"] {
        let fake = Fake::start(fake::server(version, NATIVE));
        let lines = at(&fake).good();
        assert!(lines
            .iter()
            .all(|l| l.starts_with("vars.") || l.starts_with("process.")));
        assert!(!fake.heard().iter().any(|s| s.contains("GLOBAL */ STATUS")));
    }
}

#[test]
fn an_account_that_may_do_nothing_is_an_error() {
    let text = "You must reset your password using ALTER USER";
    let script = Script::new("8.4.3", CACHING).on("S", Reply::Error(1820, text));
    let error = at(&Fake::start(script)).bad();
    assert!(error.ends_with(&format!("1820: {text}")), "{error}");
}

#[test]
fn the_password_is_proved_by_the_method_that_the_server_names_or_changes_to() {
    // The servers of the other tests compare the proof with one that another program has computed
    assert_eq!((NATIVE_PROOF.len(), CACHING_PROOF.len()), (40, 64));
    for (method, switch) in [
        (CACHING, Some(NATIVE)),
        (NATIVE, Some(CACHING)),
        ("client_ed25519", Some(NATIVE)),
        ("", Some(NATIVE)),
    ] {
        let mut script = fake::server("8.4.3", method);
        script.switch = switch;
        assert_eq!(
            at(&Fake::start(script)).good(),
            sample_with("", &[]),
            "{method}"
        );
    }
}

#[test]
fn a_password_goes_in_clear_only_where_nobody_can_read_along() {
    let scratch = Scratch::new("mysql-clear");
    for (switch, name) in [
        (None, "caching"),
        (Some("sha256_password"), "sha256"),
        (Some("mysql_clear_password"), "clear"),
    ] {
        let mut script = fake::server("8.4.3", CACHING);
        script.forgetful = true;
        script.switch = switch;
        let error = at(&Fake::start(script.clone())).bad();
        for part in [
            "over TLS or a Unix socket only",
            "set tls to",
            "database_socket",
        ] {
            assert!(error.contains(part), "{error}");
        }
        let socket = scratch.path(name);
        let fake = Fake::start_at(&socket, script);
        for option in ["database_socket", "unix_socket"] {
            let mut probe = probe(json!({option: fake.address}));
            assert_eq!(probe.good(), sample_with("", &[]), "{name}");
        }
    }
}

#[test]
fn a_method_that_is_not_spoken_is_named_with_what_to_do() {
    for (method, part) in [
        (
            "client_ed25519",
            "logs in by client_ed25519, which this agent does not speak",
        ),
        (
            "dialog",
            "give it one of caching_sha2_password (MySQL) or mysql_native_password (MariaDB)",
        ),
        ("", "before 4.1"),
    ] {
        let mut script = fake::server("11.4.2-MariaDB", NATIVE);
        script.switch = Some(method);
        let error = at(&Fake::start(script)).bad();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_refused_login_says_why_and_is_not_tried_at_every_sample() {
    for (refusal, part) in [
        (
            (1045, "Access denied for user 'u'"),
            "1045: Access denied for user 'u'. Check database_username and the password",
        ),
        ((1040, "Too many connections"), "see max_connections"),
        (
            (3159, "require_secure_transport=ON"),
            "Set tls to \"verify\"",
        ),
        ((1130, "Host 'h' is not allowed"), "create one"),
    ] {
        let mut script = fake::server("8.4.3", CACHING);
        script.refusal = Some(refusal);
        let fake = Fake::start(script);
        let mut probe = at(&fake);
        let error = probe.bad();
        let begin = format!(
            "No login to the MySQL server at {} as \"u\": ",
            fake.address
        );
        assert!(error.starts_with(&begin) && error.contains(part), "{error}");
        // The server would let it in now, but is not asked so soon
        fake.becomes(|script| script.refusal = None);
        assert_eq!(probe.bad(), error);
    }
    // A server can refuse before it greets
    let mut script = fake::server("8.4.3", CACHING);
    script.greeting = Some(fake::packet(0, b"\xff\x10\x04Too many connections"));
    let error = at(&Fake::start(script)).bad();
    assert!(error.contains("1040: Too many connections"), "{error}");
    let fake = Fake::start(fake::server("8.4.3", CACHING));
    let wrong = json!({"database_hostport": fake.address, "database_password": "other", "database_username": "u"});
    assert!(probe(wrong).bad().contains("1045"));
}

#[test]
fn a_server_that_was_restarted_between_samples_costs_none() {
    let mut script = fake::server("8.4.3", CACHING);
    // A sample of a server that knows neither word for a replica
    script.statements = 6;
    let fake = Fake::start(script);
    let mut probe = at(&fake);
    for n in 0..3 {
        assert_eq!(probe.good(), sample_with("", &[]));
        assert_eq!(probe.counter("reconnections"), n);
    }
}

#[test]
fn a_server_that_says_that_it_is_going_is_asked_anew() {
    // Unasked, in a packet of number 0
    let mut script = fake::server("8.4.3", CACHING);
    let unasked = fake::packet(0, &fake::error(4031, "inactivity"));
    script
        .replies
        .insert(0, ("SHOW /*!50000 GLOBAL */ VAR", Reply::Bytes(unasked)));
    let error = at(&Fake::start(script)).bad();
    assert!(error.ends_with("4031: inactivity"), "{error}");
    for code in [4031, 1053, 1927] {
        // The answer is the same on a new connection, which is an error then
        let gone = "The client was disconnected by the server because of inactivity.";
        let mut script = fake::server("8.4.3", CACHING);
        script
            .replies
            .insert(0, ("SHOW /*!50000 GLOBAL */ VAR", Reply::Error(code, gone)));
        let fake = Fake::start(script);
        let mut probe = at(&fake);
        assert!(probe.bad().contains(gone));
        assert_eq!(probe.counter("reconnections"), 0);
        fake.becomes(|script| drop(script.replies.remove(0)));
        assert_eq!(probe.good(), sample_with("", &[]));
    }
}

#[test]
fn a_server_that_dies_within_a_sample_is_asked_anew_at_the_next() {
    for reply in [
        Reply::Close,
        Reply::Half(Box::new(pairs(&[("Uptime", "1")])), 3),
        Reply::Bytes(b"\x05\x00\x00\x01\x02".to_vec()),
        Reply::Bytes(vec![0xFF; 100]),
        Reply::Bytes(b"\x01\x00\x00\x00\x02".to_vec()),
    ] {
        let fake =
            Fake::start(fake::server("8.4.3", CACHING).on("SHOW /*!50000 GLOBAL */ STATUS", reply));
        let mut probe = at(&fake);
        let (lines, error) = probe.take();
        assert_eq!(
            lines,
            ["vars.max_connections 151", "vars.open_files_limit 10000"]
        );
        let error = error.unwrap();
        let begin = format!("The MySQL server at {} gave no full sample: ", fake.address);
        assert!(error.starts_with(&begin), "{error}");
        let healthy = fake::server("8.4.3", CACHING);
        fake.becomes(|script| *script = healthy);
        assert_eq!(probe.good(), sample_with("", &[]));
    }
}

#[test]
fn a_silent_server_costs_no_more_than_the_time_out() {
    let quick = |address: &str| probe(json!({"database_hostport": address, "timeout": 0.5}));
    let fake =
        Fake::start(fake::server("8.4.3", CACHING).on("SHOW ENGINE INNODB STATUS", Reply::Silence));
    let began = Instant::now();
    let (lines, error) = quick(&fake.address).take();
    assert_eq!(lines.len(), 18);
    assert!(error
        .unwrap()
        .contains("did not answer in time (option timeout)"));
    let stuck =
        fake::server("8.4.3", CACHING).on("SHOW /*!50000 GLOBAL */ VARIABLES", Reply::Silence);
    let stuck = Fake::start(stuck);
    let error = quick(&stuck.address).bad();
    assert!(error.contains("did not answer in time"), "{error}");
    // Nor does one that never greets
    let mut script = fake::server("8.4.3", CACHING);
    script.greeting = Some(Vec::new());
    let error = quick(&Fake::start(script).address).bad();
    assert!(error.contains("did not answer in time"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_server_without_end_is_cut_off() {
    for bytes in [10, 1_000_000, 5_000_000] {
        let reply = Reply::Endless(bytes);
        let fake = Fake::start(fake::server("8.4.3", CACHING).on("SHOW PROCESSLIST", reply));
        let error = at(&fake).take().1.unwrap();
        let part = if bytes == 10 {
            "too many rows"
        } else {
            "too much of it"
        };
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn what_is_no_mysql_server_is_told_so() {
    for greeting in [
        &b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"[..],
        b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",
        b"\x00\x00\x00\x00",
        b"\x01\x00\x00\x00\x09",
        b"\x01\x00\x00\x00\x0a",
        b"\xff\xff\xff\x00\x0a",
        b"-ERR unknown command\r\n",
    ] {
        let mut script = fake::server("8.4.3", CACHING);
        script.greeting = Some(greeting.to_vec());
        let error = at(&Fake::start(script)).bad();
        assert!(error.contains("not of the MySQL protocol"), "{error}");
        assert!(error.contains("Is it a MySQL server"), "{error}");
    }
}

#[test]
fn use_ssl_never_means_a_connection_without_tls() {
    let fake = Fake::start(fake::server("8.4.3", CACHING));
    for (option, value) in [
        ("use_ssl", json!(true)),
        ("tls", json!("require")),
        ("tls", json!("verify")),
    ] {
        let error = probe(json!({"database_hostport": fake.address, option: value})).bad();
        assert!(error.contains("offers no TLS"), "{error}");
        assert!(fake.heard().is_empty());
    }
    // Without a demand there is none
    let entry = json!({"database_hostport": fake.address, "tls": "prefer"});
    assert_eq!(probe(entry).good(), sample_with("", &[]));
}

#[test]
fn a_password_file_is_read_for_each_connection() {
    let scratch = Scratch::new("mysql-password");
    let file = scratch.path("password");
    std::fs::write(&file, "pw1\n").unwrap();
    let mut script = fake::server("8.4.3", CACHING);
    script.statements = 6;
    let fake = Fake::start(script);
    let mut probe = probe(json!({
        "database_hostport": fake.address, "database_username": "u", "password_file": file,
    }));
    probe.good();
    std::fs::write(&file, "changed\n").unwrap();
    assert!(probe.bad().contains("1045"));
}

#[test]
fn addresses_are_read_as_operators_write_them() {
    let of = |entry: Json| {
        let mut entry = entry;
        entry["database_username"] = json!("u");
        entry["database_password"] = json!("");
        let made = make(&DESCRIPTION, &entry, &Place::new("/", "/nowhere"));
        let members = entry.as_object().unwrap().clone().into_iter();
        let options = Options::read(OPTIONS, &members.collect::<Vec<_>>()).unwrap();
        match (made, target(&options)) {
            (Ok(_), Ok(Target::At(address))) => Ok(address.to_string()),
            (Ok(_), Ok(Target::DefaultSocket)) => Ok("the default socket".to_owned()),
            (Err(made), Err(error)) => {
                assert_eq!(made.to_string(), error.to_string());
                Err((error.option().unwrap().to_owned(), error.to_string()))
            }
            _ => panic!("{entry}"),
        }
    };
    for (text, address) in [
        ("default", "localhost:3306"),
        ("Default", "localhost:3306"),
        ("db", "db:3306"),
        ("db:33060", "db:33060"),
        ("3307", "localhost:3307"),
        ("::1", "[::1]:3306"),
        ("[::1]:3307", "[::1]:3307"),
        ("10.0.0.1", "10.0.0.1:3306"),
    ] {
        assert_eq!(
            of(json!({"database_hostport": text})).as_deref(),
            Ok(address)
        );
    }
    for text in ["", "db:x", "db:0", "99999", ":3306"] {
        let (option, _) = of(json!({"database_hostport": text})).unwrap_err();
        assert_eq!(option, "database_hostport", "{text}");
    }
    for name in ["database_socket", "unix_socket"] {
        assert_eq!(of(json!({name: "/s"})).as_deref(), Ok("/s"));
        assert_eq!(
            of(json!({name: "DEFAULT"})).as_deref(),
            Ok("the default socket")
        );
        assert_eq!(of(json!({name: ""})).unwrap_err().0, name);
        assert!(of(json!({name: "/s", "database_hostport": "db"})).is_err());
    }
    let (_, none) = of(json!({})).unwrap_err();
    assert!(none.contains("database_hostport"), "{none}");
    assert!(of(json!({"database_socket": "/s", "unix_socket": "/s"})).is_err());
}

#[test]
fn a_server_is_reached_at_an_ipv6_address() {
    let Ok(listener) = std::net::TcpListener::bind("[::1]:0") else {
        println!("left out: this machine has no IPv6");
        return;
    };
    let fake = Fake::start_on(listener, fake::server("8.4.3", CACHING));
    assert!(fake.address.starts_with("[::1]:"));
    assert_eq!(at(&fake).good(), sample_with("", &[]));
}

#[test]
fn an_account_needs_a_password_if_only_an_empty_one() {
    let of = |entry: Json| make(&DESCRIPTION, &entry, &Place::new("/", "/nowhere")).err();
    let missing = json!({"database_hostport": "default", "database_username": "u"});
    assert!(of(missing).unwrap().to_string().contains("password_file"));
    let no_user = json!({"database_hostport": "default", "database_password": "p"});
    assert!(of(no_user).is_some());
    let empty =
        json!({"database_hostport": "default", "database_username": "", "database_password": ""});
    assert_eq!(of(empty), None);
}

/// A connection of which the server's bytes are given: one turn after each that the client has sent.
struct Recorded {
    turns: Vec<Vec<u8>>,
    turn: usize,
    at: usize,
}

impl Read for Recorded {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let Some(turn) = self.turns.get(self.turn) else {
            return Ok(0);
        };
        let rest = &turn[self.at..];
        let part = rest.len().min(buffer.len());
        buffer[..part].copy_from_slice(&rest[..part]);
        self.at += part;
        Ok(part)
    }
}

impl Write for Recorded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        (self.turn, self.at) = (self.turn + 1, 0);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The server's turns of whole sessions, from the greeting to the last answer of a sample.
fn corpus() -> Vec<Vec<Vec<u8>>> {
    let session = |script: Script, login: &[&[u8]], statements: &[&str]| {
        let mut turns = vec![script.greeting_bytes()];
        turns.extend(login.iter().map(|turn| turn.to_vec()));
        for statement in statements {
            let mut replies = script.replies.iter();
            let found = replies.find(|(begin, _)| statement.starts_with(begin));
            let syntax = Reply::Error(1064, "You have an error in your SQL syntax");
            turns.push(found.map_or(&syntax, |(_, reply)| reply).bytes());
        }
        turns
    };
    let ok = |sequence| fake::packet(sequence, &[0, 0, 0, 2, 0, 0, 0]);
    let cached = [fake::packet(2, &[1, 3]), ok(3)].concat();
    let mut switch = b"\xfemysql_native_password\0".to_vec();
    switch.extend_from_slice(&fake::CHALLENGE);
    let (variables, status) = (
        "SHOW /*!50000 GLOBAL */ VARIABLES",
        "SHOW /*!50000 GLOBAL */ STATUS",
    );
    let (innodb, threads) = ("SHOW ENGINE INNODB STATUS", "SHOW PROCESSLIST");
    let (new, old) = ("SHOW REPLICA STATUS", "SHOW SLAVE STATUS");
    // A session with MariaDB 10.11, less most of its status variables: each turn behind its length
    let mut recorded = &include_bytes!("mariadb-10.11.session")[..];
    let mut mariadb = Vec::new();
    while let Some((length, rest)) = recorded.split_first_chunk() {
        let (turn, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
        mariadb.push(turn.to_vec());
        recorded = rest;
    }
    let channels = rows(&[&source_row("", "1"), &source_row("b", "2")]);
    let denied = Reply::Error(1227, DENIED);
    vec![
        session(
            fake::server("8.4.3", CACHING).on(new, channels),
            &[&cached],
            &[variables, status, innodb, new, threads],
        ),
        session(
            fake::server("5.7.44", NATIVE).on(old, old_row()),
            &[&ok(2)],
            &[variables, status, innodb, new, old, threads],
        ),
        session(
            fake::server("9.1.0", CACHING).on(innodb, denied),
            &[&fake::packet(2, &switch), &ok(4)],
            &[
                variables,
                status,
                innodb,
                "SELECT CURRENT_USER()",
                new,
                old,
                threads,
            ],
        ),
        mariadb,
    ]
}

/// Has a monitor log in and take a sample of these turns.
fn replay(turns: Vec<Vec<u8>>, out: &mut Emitter) -> Result<(), Fault> {
    let mut stream = Recorded {
        turns,
        turn: 0,
        at: 0,
    };
    let mut wire = Wire::new(&mut stream, 0);
    let greeting = Greeting::receive(&mut wire)?;
    let account = Account {
        user: "u",
        password: "pw1",
        tls: false,
        private: false,
    };
    greeting.log_in(&mut wire, &account)?;
    let mut server = Server::new(&greeting.version);
    let extent = Extent {
        replica: true,
        extra: true,
    };
    sample::take(&mut stream, &mut server, extent, out).map_err(|stopped| stopped.fault)
}

#[test]
fn the_sessions_of_the_corpus_are_whole() {
    for (n, turns) in corpus().into_iter().enumerate() {
        let (mut out, lines) = capture("m()");
        let count = turns.len();
        assert!(replay(turns, &mut out).is_ok(), "{n}");
        out.flush();
        let lines = lines.take();
        assert!(lines.contains("mysql.process.query 1\n"), "{lines}");
        assert!(
            lines.contains("mysql.derived.slow_query_percentage "),
            "{lines}"
        );
        assert!(count >= 7);
    }
}

/// A small generator of random numbers (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % most.max(1) as u64) as usize
    }
}

fn mutate(turn: &mut Vec<u8>, random: &mut Random) {
    const SPECIAL: [u8; 10] = [0, 1, 3, 10, 0x7F, 0xFB, 0xFC, 0xFD, 0xFE, 0xFF];
    let at = random.below(turn.len());
    let end = (at + 1 + random.below(40)).min(turn.len());
    match random.below(7) {
        0 if !turn.is_empty() => turn[at] ^= 1 << random.below(8),
        1 | 2 if !turn.is_empty() => turn[at] = SPECIAL[random.below(SPECIAL.len())],
        3 if !turn.is_empty() => drop(turn.drain(at..end)),
        4 => {
            let part = turn.get(at..end).unwrap_or_default().to_vec();
            let to = random.below(turn.len() + 1);
            turn.splice(to..to, part);
        }
        5 => turn.truncate(at),
        _ => {
            let byte = SPECIAL[random.below(SPECIAL.len())];
            let many = 1 + random.below(8);
            turn.splice(at..at, std::iter::repeat_n(byte, many));
        }
    }
}

/// Two seconds of it, or as many as MUTATIONS says.
#[test]
fn servers_that_say_anything_whatever_survive_or_fail_in_words() {
    let wanted = std::env::var("MUTATIONS").ok().and_then(|n| n.parse().ok());
    let until = Instant::now() + Duration::from_secs(2);
    let corpus = corpus();
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let (mut out, lines) = capture("m()");
    let (mut done, mut good, mut most) = (0u64, 0u64, 0);
    while wanted.map_or_else(|| Instant::now() < until, |wanted: u64| done < wanted) {
        let mut turns = corpus[random.below(corpus.len())].clone();
        for _ in 0..1 + random.below(3) {
            let turn = random.below(turns.len());
            mutate(&mut turns[turn], &mut random);
        }
        match replay(turns, &mut out) {
            Ok(()) => good += 1,
            Err(fault) => {
                let text = fault.to_string();
                assert!(text.len() < 3000 && !text.contains("pw1"), "{text}");
            }
        }
        out.flush();
        most = most.max(lines.take().len());
        done += 1;
    }
    println!("{done} sessions, {good} of them whole, at most {most} bytes of lines");
    assert!(done > 100 && good > 0 && most < 200_000);
}
