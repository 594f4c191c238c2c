//! The monitor at MariaDB servers that the test starts, and beside the Python agent's monitor.

use super::tests::probe;
use common::testing::Scratch;
use serde_json::{json, Value as Json};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);
const MODULE: &str = "scalyr_agent.builtin_monitors.mysql_monitor";

/// Whether another program has ended well.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A server with a port and a socket of its own; it ends with this.
struct Server {
    process: Child,
    folder: PathBuf,
    port: u16,
    id: u16,
}

impl Server {
    /// A folder with an empty database.
    fn install(folder: &Path) {
        run(Command::new("mariadb-install-db")
            .args(["--no-defaults", "--skip-test-db"])
            .arg("--auth-root-authentication-method=normal")
            .arg(format!("--datadir={}", folder.display())));
    }

    fn start(folder: &Path, port: u16, id: u16) -> Server {
        let path = |name: &str| folder.join(name).display().to_string();
        let process = Command::new("mariadbd")
            .args(["--no-defaults", "--user=root", "--bind-address=127.0.0.1"])
            .args(["--log-bin=bin", "--innodb-buffer-pool-size=8M"])
            .arg(format!("--datadir={}", folder.display()))
            .arg(format!("--socket={}", path("sock")))
            .arg(format!("--pid-file={}", path("pid")))
            .arg(format!("--port={port}"))
            .arg(format!("--server-id={id}"))
            .arg(format!("--ssl-cert={}", path("cert.pem")))
            .arg(format!("--ssl-key={}", path("key.pem")))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(path("log")).unwrap())
            .spawn()
            .unwrap();
        let mut server = Server {
            process,
            folder: folder.to_owned(),
            port,
            id,
        };
        let began = Instant::now();
        while server
            .client("SELECT 1")
            .output()
            .unwrap()
            .stdout
            .is_empty()
        {
            let log = std::fs::read_to_string(folder.join("log")).unwrap();
            assert_eq!(server.process.try_wait().unwrap(), None, "{log}");
            assert!(began.elapsed() < PATIENCE, "{log}");
            std::thread::sleep(Duration::from_millis(100));
        }
        server
    }

    fn client(&self, sql: &str) -> Command {
        let mut client = Command::new("mariadb");
        let socket = format!("--socket={}", self.folder.join("sock").display());
        client.args(["--no-defaults", "-uroot", "-N", "-B", &socket, "-e", sql]);
        client
    }

    fn sql(&self, sql: &str) -> String {
        run(&mut self.client(sql))
    }

    /// The entry of a monitor that logs in so.
    fn entry(&self, user: &str) -> Json {
        json!({
            "database_hostport": format!("127.0.0.1:{}", self.port),
            "database_username": user,
            "database_password": "pw1",
        })
    }

    fn stop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    fn restarted(mut self) -> Server {
        self.stop();
        Server::start(&self.folder, self.port, self.id)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A certificate for 127.0.0.1 that an authority of the test has signed.
fn certify(folder: &Path) {
    let openssl = |args: &str| {
        let args = args.split(' ');
        run(Command::new("openssl").args(args).current_dir(folder));
    };
    let names = "subjectAltName=IP:127.0.0.1,DNS:localhost\nbasicConstraints=CA:FALSE\n";
    std::fs::write(folder.join("names"), names).unwrap();
    openssl(
        "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -subj /CN=authority -days 2",
    );
    openssl("req -newkey rsa:2048 -nodes -keyout key.pem -out request.pem -subj /CN=server");
    openssl("x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -out cert.pem -days 2 -extfile names");
}

/// Values by names.
fn values(lines: &[String]) -> BTreeMap<&str, &str> {
    let parts = lines.iter().filter_map(|line| line.split_once(' '));
    parts.collect()
}

fn number(lines: &[String], name: &str) -> i64 {
    let values = values(lines);
    let value = values.get(name).unwrap_or_else(|| panic!("no {name}"));
    value.parse().unwrap()
}

/// Two connected servers are started once for all of it: that takes ten seconds.
#[test]
#[ignore = "needs mariadbd and mariadb-install-db and mariadb and openssl"]
fn the_monitor_holds_at_a_real_server() {
    let scratch = Scratch::new("mariadb");
    let (one, two) = (scratch.path("one"), scratch.path("two"));
    Server::install(&one);
    certify(&one);
    run(Command::new("cp").arg("-r").args([&one, &two]));
    let source = Server::start(&one, free_port(), 1);
    source.sql(
        "CREATE USER full@'127.0.0.1' IDENTIFIED BY 'pw1'; GRANT PROCESS, SLAVE MONITOR ON *.* TO full@'127.0.0.1'; \
         CREATE USER weak@'127.0.0.1' IDENTIFIED BY 'pw1'; \
         CREATE USER tls@'127.0.0.1' IDENTIFIED BY 'pw1' REQUIRE SSL; \
         INSTALL SONAME 'auth_ed25519'; CREATE USER modern@'127.0.0.1' IDENTIFIED VIA ed25519 USING PASSWORD('pw1')",
    );
    load_moves_counters(&source);
    beside_the_python_agent(&source);
    a_weak_account_loses_little(&source);
    every_way_in(&source, &one);
    a_replica(&source, &two);
    let entry = source.entry("full");
    let mut kept = probe(entry.clone());
    kept.good();
    // The next sample makes another connection
    source.sql("KILL USER full");
    kept.good();
    let source = source.restarted();
    kept.good();
    assert_eq!(kept.counter("reconnections"), 2);
    drop(source);
    assert!(kept.bad().contains("nothing listens there"));
    let back = Server::start(&one, entry_port(&entry), 1);
    let began = Instant::now();
    while kept.take().1.is_some() {
        assert!(began.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(200));
    }
    drop(back);
}

fn entry_port(entry: &Json) -> u16 {
    let address = entry["database_hostport"].as_str().unwrap();
    address.rsplit_once(':').unwrap().1.parse().unwrap()
}

fn load_moves_counters(server: &Server) {
    let mut probe = probe(server.entry("full"));
    let before = probe.good();
    let mut load = "CREATE DATABASE d; CREATE TABLE d.t (a INT);".to_owned();
    for n in 0..20 {
        load += &format!("INSERT INTO d.t VALUES ({n}); SELECT {n} FROM d.t;");
    }
    load += "UPDATE d.t SET a = 1; DELETE FROM d.t; SET long_query_time = 0; SELECT 1;";
    server.sql(&load);
    let after = probe.good();
    for (name, grown) in [
        ("global.com_insert", 20),
        ("global.com_select", 21),
        ("global.com_update", 1),
        ("global.com_delete", 1),
    ] {
        assert_eq!(
            number(&after, name) - number(&before, name),
            grown,
            "{name}"
        );
    }
    assert!(number(&after, "global.slow_queries") > number(&before, "global.slow_queries"));
    assert!(number(&after, "global.questions") >= number(&before, "global.questions") + 45);
    for name in [
        "innodb.history_list_length",
        "innodb.opened_read_views",
        "innodb.ibuf.merges",
        "process.query",
    ] {
        assert!(values(&after).contains_key(name), "{name}");
    }
    assert!(number(&after, "innodb.ibuf.size") < 1000);
    let hits = values(&after)["derived.thread_cache_hit_rate"]
        .parse()
        .unwrap();
    assert!((0.0..100.0f64).contains(&hits), "{hits}");
    assert_eq!(probe.counter("statements_refused"), 0);
    // One that ends takes leave
    drop(probe);
    let again = super::tests::probe(server.entry("full")).good();
    assert_eq!(
        number(&again, "global.aborted_clients"),
        number(&after, "global.aborted_clients")
    );
}

fn a_weak_account_loses_little(server: &Server) {
    let mut probe = probe(server.entry("weak"));
    let lines = probe.good();
    assert_eq!(probe.counter("statements_refused"), 2);
    let has = |begin: &str| lines.iter().any(|line| line.starts_with(begin));
    assert!(has("vars.") && has("global.") && has("process.") && has("derived."));
    // From the status, which needs no privilege
    assert!(has("innodb.history_list_length ") && !has("innodb.opened_read_views"));
}

fn every_way_in(server: &Server, folder: &Path) {
    let plain = probe(server.entry("tls")).bad();
    assert!(plain.contains("1045"), "{plain}");
    let with = |more: Json| {
        let mut entry = server.entry("tls");
        let more = more.as_object().unwrap();
        for (name, value) in more {
            entry[name] = value.clone();
        }
        probe(entry)
    };
    let (ca, wrong_ca) = (folder.join("ca.pem"), folder.join("cert.pem"));
    let mut blind = with(json!({"use_ssl": true}));
    assert!(blind
        .good()
        .iter()
        .any(|line| line.starts_with("global.ssl_")));
    with(json!({"tls": "prefer"})).good();
    with(json!({"use_ssl": true, "ca_file": ca})).good();
    with(json!({"tls": "verify", "ca_file": ca, "extra_metrics": true})).good();
    let error = with(json!({"use_ssl": true, "ca_file": wrong_ca})).bad();
    assert!(error.contains("signed by no authority"), "{error}");
    let socket = folder.join("sock");
    let entry = json!({
        "database_socket": socket, "database_username": "root", "database_password": "", "use_ssl": true,
    });
    probe(entry.clone()).good();
    if nix::unistd::getuid().is_root() {
        // The kernel tells the server who this is
        server.sql("ALTER USER root@localhost IDENTIFIED VIA unix_socket");
        probe(entry).good();
    }
    let wrong = with(json!({"database_username": "full", "database_password": "other"})).bad();
    assert!(
        wrong.contains("1045: Access denied for user 'full'@"),
        "{wrong}"
    );
    let other = probe(server.entry("modern")).bad();
    assert!(other.contains("logs in by client_ed25519"), "{other}");
}

fn a_replica(source: &Server, folder: &Path) {
    let replica = Server::start(folder, free_port(), 2);
    replica.sql(&format!(
        "CREATE USER full@'127.0.0.1' IDENTIFIED BY 'pw1'; GRANT PROCESS, SLAVE MONITOR ON *.* TO full@'127.0.0.1'; \
         RESET MASTER; CHANGE MASTER TO master_host='127.0.0.1', master_port={}, master_user='rep', master_password='pw1', \
         master_use_gtid=no, master_log_file='{}', master_log_pos={}; START SLAVE",
        source.port,
        source.sql("SHOW MASTER STATUS").split('\t').next().unwrap(),
        source.sql("SHOW MASTER STATUS").split('\t').nth(1).unwrap(),
    ));
    source.sql("CREATE USER rep@'127.0.0.1' IDENTIFIED BY 'pw1'; GRANT REPLICATION SLAVE ON *.* TO rep@'127.0.0.1'");
    replica.sql("STOP SLAVE; START SLAVE");
    let mut probe = probe(replica.entry("full"));
    let began = Instant::now();
    loop {
        let lines = probe.good();
        assert!(
            began.elapsed() < PATIENCE,
            "{:?}",
            replica.sql("SHOW SLAVE STATUS")
        );
        let position: i64 = source
            .sql("SHOW MASTER STATUS")
            .split('\t')
            .nth(1)
            .unwrap()
            .parse()
            .unwrap();
        if number(&lines, "slave.thread_io_running") == 1
            && number(&lines, "slave.bytes_executed") == position
        {
            assert_eq!(number(&lines, "slave.thread_sql_running"), 1);
            assert_eq!(number(&lines, "slave.bytes_relayed"), position);
            assert_eq!(number(&lines, "slave.seconds_behind_master"), 0);
            assert_eq!(number(&lines, "process.slave_io"), 1);
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    replica.sql("STOP SLAVE SQL_THREAD");
    let lines = probe.good();
    assert_eq!(number(&lines, "slave.thread_sql_running"), 0);
    assert!(!values(&lines).contains_key("slave.seconds_behind_master"));
}

/// The lines of a whole sample of the Python agent's monitor, from behind `mysql.` on.
fn python(server: &Server) -> Option<Vec<String>> {
    let python = std::env::var_os("SCALYR_TEST_PYTHON")?;
    let mut options = server.entry("full");
    options["sample_interval"] = json!(1);
    // MySQL only
    options["monitor_log_write_rate"] = json!(-1);
    options["monitor_log_max_write_burst"] = json!(-1);
    let mut child = Command::new(python)
        .args(["-m", "scalyr_agent.run_monitor", "-c"])
        .args([&options.to_string(), MODULE])
        .current_dir(&server.folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut sample: Vec<String> = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let Some((_, metric)) = line.split_once("[mysql_monitor()] mysql.") else {
            println!("{line}");
            continue;
        };
        sample.push(metric.to_owned());
        if metric.starts_with("derived.tmp_disk_table_percentage") {
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    Some(sample)
}

/// Metrics that only one of the two has, or has otherwise, on purpose.
fn differs(name: &str) -> bool {
    name.starts_with("innodb.ibuf.") || name == "derived.thread_cache_hit_rate"
}

fn beside_the_python_agent(server: &Server) {
    let mut ours = probe(server.entry("full"));
    let before = ours.good();
    let Some(theirs) = python(server) else {
        println!("left out: SCALYR_TEST_PYTHON is not set");
        return;
    };
    let after = ours.good();
    let names = |lines: &[String]| -> Vec<String> {
        let names = lines.iter().map(|line| line.split(' ').next().unwrap());
        // Threads are what they happen to do
        let names = names.filter(|name| !differs(name) && !name.starts_with("process."));
        names.map(str::to_owned).collect()
    };
    assert_eq!(names(&after), names(&theirs));
    assert!(theirs.len() > 400);
    let (before, after, theirs) = (values(&before), values(&after), values(&theirs));
    let mut equal = 0;
    for (name, value) in &theirs {
        if differs(name) || name.starts_with("process.") {
            continue;
        }
        let (low, high) = (before[name], after[name]);
        let numbers = [low, value, high].map(|text| text.parse::<f64>());
        match numbers {
            [Ok(low), Ok(value), Ok(high)] => {
                // A state that goes up and down a little, and the two connections themselves
                let slack = 20.0 + 0.2 * high.abs();
                let range = low.min(high) - slack..=low.max(high) + slack;
                assert!(range.contains(&value), "{name}: {low} {value} {high}");
                equal += usize::from(low == value);
            }
            _ => assert!(
                *value == low || *value == high,
                "{name}: {low} {value} {high}"
            ),
        }
    }
    assert!(equal > 250, "{equal}");
    println!(
        "{} metrics beside each other, {equal} of them equal",
        theirs.len()
    );
}
