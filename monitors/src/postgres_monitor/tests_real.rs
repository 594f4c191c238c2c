//! The monitor against the server of Debian's package `postgresql`.

use super::tests::Watched;
use common::testing::Scratch;
use serde_json::{json, Value as Json};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

/// A command of the newest server here. The server does not run as root.
fn tool(name: &str) -> Command {
    let mut versions: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .unwrap()
        .map(|entry| entry.unwrap().path().join("bin").join(name))
        .filter(|path| path.exists())
        .collect();
    versions.sort();
    let path = versions.pop().expect("no server in /usr/lib/postgresql");
    match nix::unistd::geteuid().is_root() {
        true => {
            let mut command = Command::new("setpriv");
            command.args([
                "--reuid",
                "postgres",
                "--regid",
                "postgres",
                "--clear-groups",
            ]);
            command.arg(path);
            command
        }
        false => Command::new(path),
    }
}

fn run(command: &mut Command) -> String {
    let done = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(
        done.status.success(),
        "{command:?}: {said} {}",
        String::from_utf8_lossy(&done.stderr)
    );
    said
}

/// A server that ends with the test.
struct Server {
    child: Child,
    port: u16,
    dir: PathBuf,
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

const HBA: &str = "\
local all postgres trust
local all all scram-sha-256
host all old 127.0.0.1/32 md5
host all plain 127.0.0.1/32 password
hostssl all all all scram-sha-256
host all nobody 127.0.0.1/32 reject
host all all all scram-sha-256
";

impl Server {
    /// With the users `scalyr` (SCRAM), `old` (MD5), `plain` and `few`, all with the password `pass+word`.
    fn start(scratch: &Scratch) -> Server {
        let root = scratch.path("");
        fs::set_permissions(&root, fs::Permissions::from_mode(0o777)).unwrap();
        let dir = scratch.path("data");
        run(tool("initdb")
            .args(["-U", "postgres", "-A", "trust", "--no-sync", "-D"])
            .arg(&dir));
        fs::write(
            dir.join("pg_hba.conf"),
            HBA.to_owned() + "local replication all trust\n",
        )
        .unwrap();
        let server = Server::go(&root, &dir, free_port());
        for sql in [
            "CREATE USER scalyr PASSWORD 'pass+word'; GRANT pg_monitor TO scalyr",
            "CREATE USER few PASSWORD 'pass+word'",
            "CREATE USER nobody PASSWORD 'pass+word'",
            "CREATE USER plain PASSWORD 'pass+word'",
            "SET password_encryption = md5; CREATE USER old PASSWORD 'pass+word'",
            "CREATE DATABASE \"odd 'name\"",
        ] {
            server.sql("postgres", sql);
        }
        server
    }

    fn go(root: &Path, dir: &Path, port: u16) -> Server {
        let child = tool("postgres")
            .arg("-D")
            .arg(dir)
            .args([
                "-p",
                &port.to_string(),
                "-c",
                "listen_addresses=127.0.0.1",
                "-c",
                "fsync=off",
                "-k",
            ])
            .arg(root)
            .args(["-c", "track_io_timing=on", "-c", "max_connections=20"])
            .args(match dir.join("cert.pem").exists() {
                true => &[
                    "-c",
                    "ssl=on",
                    "-c",
                    "ssl_cert_file=cert.pem",
                    "-c",
                    "ssl_key_file=key.pem",
                ][..],
                false => &[],
            })
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Server {
            child,
            port,
            dir: root.to_owned(),
        };
        await_that(|| {
            server
                .psql("postgres", "SELECT 1")
                .output()
                .unwrap()
                .status
                .success()
        });
        server
    }

    fn psql(&self, database: &str, sql: &str) -> Command {
        let mut command = Command::new("psql");
        command.args([
            "-X",
            "-A",
            "-t",
            "-q",
            "-U",
            "postgres",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
        ]);
        command.arg(&self.dir);
        command.args(["-p", &self.port.to_string(), "-d", database, "-c", sql]);
        command
    }

    fn sql(&self, database: &str, sql: &str) -> String {
        run(&mut self.psql(database, sql))
    }

    fn monitor(&self, user: &str, more: Json) -> Watched {
        let mut entry = json!({"database_name": "postgres", "database_username": user, "database_password": "pass+word",
            "database_host": "127.0.0.1", "database_port": self.port});
        entry
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        Watched::new(entry)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.child.id() as i32);
        // Immediate shutdown: its children end with it
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGQUIT);
        let _ = self.child.wait();
    }
}

fn await_that(mut is: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The value of a metric that has these fields.
fn value(lines: &[String], metric: &str, field: &str) -> f64 {
    let line = lines
        .iter()
        .find(|line| line.starts_with(&format!("{metric} ")) && line.contains(field));
    let line = line.unwrap_or_else(|| panic!("no {metric} {field} in {lines:#?}"));
    line.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
#[ignore = "needs pg_ctlcluster and setpriv"]
fn a_real_server_under_load_with_every_way_to_log_in() {
    let scratch = Scratch::new("postgres-real");
    let mut server = Server::start(&scratch);
    server.sql("postgres", "CREATE TABLE t (n int); SELECT pg_stat_reset()");
    let mut monitor = server.monitor("scalyr", json!({"extra_metrics": true}));
    let first = monitor.sample().unwrap();
    server.sql("postgres", "INSERT INTO t SELECT generate_series(1, 1000)");
    server.sql(
        "postgres",
        "UPDATE t SET n = 0 WHERE n <= 10; DELETE FROM t WHERE n > 980; CHECKPOINT",
    );
    server.sql("postgres", "BEGIN; INSERT INTO t VALUES (1); ROLLBACK");
    let mut lines = Vec::new();
    // Counts of a session reach the views when it ends, or a second later
    await_that(|| {
        lines = monitor.sample().unwrap();
        let more = |metric, field| value(&lines, metric, field) - value(&first, metric, field);
        more("postgres.database.query_rows", "inserted") >= 1001.0
            && more("postgres.database.query_rows", "updated") >= 10.0
            && more("postgres.database.query_rows", "deleted") >= 20.0
            && more("postgres.checkpoints", "requested") >= 1.0
    });
    let rolled_back = |lines| value(lines, "postgres.database.transactions", "rolledback");
    assert_eq!(
        rolled_back(&lines) - rolled_back(&first),
        1.0,
        "the monitor adds none"
    );
    assert!(value(&lines, "postgres.database.size", "") > 1e6);
    assert!(value(&lines, "postgres.database.stats_reset", "") > 1.7e12);
    assert_eq!(value(&lines, "postgres.activity", "state=\"active\""), 1.0);
    assert_eq!(value(&lines, "postgres.activity.max_connections", ""), 20.0);
    assert_eq!(value(&lines, "postgres.standby", ""), 0.0);
    assert_eq!(monitor.count("refused_statements"), 0);

    let socket = json!({"unix_socket": server.dir});
    let all = [
        ("scalyr", json!({})),
        ("old", json!({})),
        ("plain", json!({})),
        ("scalyr", socket.clone()),
        ("scalyr", json!({"database_host": server.dir})),
        (
            "postgres",
            json!({"unix_socket": server.dir.join(format!(".s.PGSQL.{}", server.port)), "database_password": ""}),
        ),
        (
            "few",
            json!({"database_name": "odd 'name", "extra_metrics": true}),
        ),
    ];
    for (user, more) in all {
        let lines = server.monitor(user, more.clone()).sample();
        let lines = lines.unwrap_or_else(|error| panic!("{user} {more}: {error}"));
        assert!(lines.len() >= 16, "{user} {more}: {lines:#?}");
    }
    for (user, more, words) in [
        ("scalyr", json!({"database_password": "no"}), "28P01"),
        (
            "scalyr",
            json!({"database_password": ""}),
            "set database_password",
        ),
        ("nobody", json!({}), "pg_hba.conf"),
        ("old", json!({"database_password": "no"}), "28P01"),
        ("ghost", json!({}), "correct database_username"),
        (
            "scalyr",
            json!({"database_name": "none"}),
            "correct database_name",
        ),
    ] {
        let error = server.monitor(user, more).sample().unwrap_err();
        assert!(
            error.contains(words) && !error.contains("pass+word"),
            "{words}: {error}"
        );
    }
    // Superusers have the last three for themselves
    let held: Vec<Child> = (0..17)
        .map(|_| {
            let mut command = server.psql("postgres", "SELECT pg_sleep(60)");
            command
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    await_that(|| {
        monitor
            .sample()
            .is_err_and(|error| error.contains("max_connections"))
    });
    for mut child in held {
        let _ = child.kill();
        let _ = child.wait();
    }
    server.sql("postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()");
    await_that(|| monitor.sample().is_ok());

    let (port, dir) = (server.port, server.dir.clone());
    drop(server);
    assert!(monitor
        .sample()
        .unwrap_err()
        .contains("is the server running"));
    server = Server::go(&dir, &dir.join("data"), port);
    await_that(|| monitor.sample().is_ok());
    drop(server);
}

#[test]
#[ignore = "needs pg_ctlcluster and setpriv"]
fn a_real_standby_and_its_slot_are_seen_from_both_sides() {
    let scratch = Scratch::new("postgres-standby");
    let server = Server::start(&scratch);
    let copy = scratch.path("copy");
    run(tool("pg_basebackup")
        .args([
            "-U",
            "postgres",
            "-p",
            &server.port.to_string(),
            "-R",
            "-C",
            "-S",
            "s1",
            "--no-sync",
            "-c",
            "fast",
            "-h",
        ])
        .arg(&server.dir)
        .arg("-D")
        .arg(&copy));
    let standby = Server::go(&server.dir, &copy, free_port());
    let extra = json!({"extra_metrics": true});
    let mut ours = server.monitor("scalyr", extra.clone());
    let mut lines = Vec::new();
    await_that(|| {
        lines = ours.sample().unwrap();
        lines
            .iter()
            .any(|line| line.starts_with("postgres.replica.streaming 1 "))
    });
    assert_eq!(value(&lines, "postgres.slot.active", "slot=\"s1\""), 1.0);
    assert_eq!(value(&lines, "postgres.slot.lost", "slot=\"s1\""), 0.0);
    assert!(value(&lines, "postgres.slot.retained", "slot=\"s1\"") >= 0.0);
    server.sql(
        "postgres",
        "CREATE TABLE t AS SELECT generate_series(1, 1000)",
    );
    let mut theirs = standby.monitor("scalyr", extra);
    let lines = theirs.sample().unwrap();
    assert_eq!(value(&lines, "postgres.standby", ""), 1.0);
    assert!(value(&lines, "postgres.standby.behind", "") >= 0.0);
    assert!(value(&lines, "postgres.standby.delay", "") >= 0.0);
    assert_eq!(
        theirs.count("refused_statements") + ours.count("refused_statements"),
        0
    );
    drop(standby);
    await_that(|| value(&ours.sample().unwrap(), "postgres.slot.active", "s1") == 0.0);
}

#[cfg(feature = "tls")]
#[test]
#[ignore = "needs pg_ctlcluster and setpriv and openssl"]
fn tls_is_what_the_option_says() {
    let scratch = Scratch::new("postgres-tls");
    let mut server = Server::start(&scratch);
    let off = |server: &Server, more: Json| server.monitor("scalyr", more).sample();
    assert!(off(&server, json!({"use_ssl": true}))
        .unwrap_err()
        .contains("ssl = on"));
    assert!(off(&server, json!({"tls": "prefer"})).is_ok());
    let (port, dir) = (server.port, server.dir.clone());
    drop(server);
    let mut openssl = Command::new("openssl");
    openssl
        .args("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost".split(' '))
        .args("-addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE -keyout key.pem -out cert.pem".split(' '))
        .current_dir(dir.join("data"));
    run(&mut openssl);
    let owner = fs::metadata(dir.join("data")).unwrap();
    let key = dir.join("data/key.pem");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    use std::os::unix::fs::MetadataExt as _;
    std::os::unix::fs::chown(&key, Some(owner.uid()), Some(owner.gid())).unwrap();
    server = Server::go(&dir, &dir.join("data"), port);
    let ca = dir.join("data/cert.pem");
    for more in [
        json!({"use_ssl": true}),
        json!({"use_ssl": true, "ca_file": ca, "database_host": "localhost"}),
        json!({"tls": "verify", "ca_file": ca, "database_host": "localhost"}),
        json!({"tls": "prefer"}),
        json!({"tls": "require"}),
        json!({}),
    ] {
        assert!(off(&server, more.clone()).is_ok(), "{more}");
    }
    for more in [
        json!({"tls": "verify", "ca_file": ca, "database_host": "127.0.0.1"}),
        json!({"tls": "verify", "database_host": "localhost"}),
    ] {
        let error = off(&server, more).unwrap_err();
        assert!(error.contains("certificate"), "{error}");
    }
}

#[test]
#[ignore = "needs SCALYR_TEST_PYTHON and pg_ctlcluster"]
fn the_python_agent_tells_the_same_of_the_same_server() {
    let scratch = Scratch::new("postgres-parity");
    let server = Server::start(&scratch);
    server.sql("postgres", "SELECT pg_stat_reset()");
    let entry = json!({"database_name": "postgres", "database_username": "old", "database_password": "pass+word",
        "database_host": "127.0.0.1", "database_port": server.port});
    // Under Python 3 its client gives names of columns as bytes, so it finds none of them but the size
    let mended = "import sys, runpy, scalyr_agent.__scalyr__ as s; s.scalyr_init()
import scalyr_agent.builtin_monitors.postgres_monitor as m
m.PostgreSQLDb._fields_and_data_to_dict = lambda self, fields, data: {
    f.decode() if isinstance(f, bytes) else f: d for f, d in zip(fields, data)}
runpy.run_module('scalyr_agent.run_monitor', run_name='__main__', alter_sys=True)";
    let mut python = Command::new(std::env::var("SCALYR_TEST_PYTHON").unwrap())
        .args(["-c", mended, "-s", "1", "-c"])
        .arg(entry.to_string())
        .arg(super::DESCRIPTION.module)
        .current_dir(scratch.path(""))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(python.stdout.take().unwrap()).lines();
    let mut theirs: Vec<String> = Vec::new();
    for line in lines.map_while(Result::ok) {
        let Some((_, metric)) = line.split_once("[postgres_monitor()] ") else {
            continue;
        };
        theirs.push(metric.to_owned());
        if metric.starts_with("postgres.database.stats_reset ") {
            break;
        }
    }
    let _ = python.kill();
    let _ = python.wait();
    let ours = server.monitor("old", json!({})).sample().unwrap();
    let names = |lines: &[String]| -> Vec<String> {
        let name = |line: &String| {
            let (name, rest) = line.split_once(' ').unwrap();
            format!("{name}{}", rest.trim_start_matches(|c| c != ' '))
        };
        lines.iter().map(name).collect()
    };
    assert_eq!(names(&ours), names(&theirs));
    for (ours, theirs) in ours.iter().zip(&theirs) {
        let number = |line: &str| -> f64 { line.split(' ').nth(1).unwrap().parse().unwrap() };
        let is_float = |line: &str| line.split(' ').nth(1).unwrap().contains('.');
        assert_eq!(is_float(ours), is_float(theirs), "{ours}, {theirs}");
        // Each of the two is load too
        assert!(
            (number(ours) - number(theirs)).abs() <= 3000.0,
            "{ours}, {theirs}"
        );
    }
    assert_eq!(ours[0], theirs[0]);
    assert_eq!(ours.last(), theirs.last());
}
