//! The monitor against the server of Debian's package `redis-server`.

use super::resp::{command, Replies, Reply};
use super::tests::Watched;
use common::testing::Scratch;
use serde_json::json;
use std::io::{BufRead as _, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

/// A server that ends with the test.
struct Server {
    child: Child,
    port: u16,
    socket: PathBuf,
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

impl Server {
    fn start(scratch: &Scratch, port: u16, more: &[&str]) -> Server {
        let socket = scratch.path(&format!("{port}.sock"));
        let child = Command::new("redis-server")
            .args([
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--slowlog-log-slower-than",
                "0",
            ])
            .args([
                "--port",
                &port.to_string(),
                "--repl-diskless-sync-delay",
                "0",
            ])
            .arg("--dir")
            .arg(scratch.path(""))
            .arg("--unixsocket")
            .arg(&socket)
            .args(more)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let server = Server {
            child,
            port,
            socket,
        };
        await_that(|| UnixStream::connect(&server.socket).is_ok());
        server
    }

    /// Says a command, and hears the reply.
    fn say(&self, words: &[&str]) -> Reply {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        self.say_all(&words, 1)
    }

    /// The same so many times; the last reply.
    fn say_all(&self, words: &[&[u8]], times: usize) -> Reply {
        let mut link = UnixStream::connect(&self.socket).unwrap();
        let mut request = Vec::new();
        command(&mut request, words);
        link.write_all(&request.repeat(times)).unwrap();
        let mut replies = Replies::new(&mut link, 1 << 24);
        (1..times).for_each(|_| drop(replies.reply().unwrap()));
        replies.reply().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn await_that(mut is: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(20));
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
#[ignore = "needs redis-server"]
fn a_real_server_under_load_and_its_restart() {
    let scratch = Scratch::new("redis-real");
    let server = Server::start(&scratch, free_port(), &[]);
    let port = server.port;
    let mut monitor = Watched::new(json!({
        "hosts": [{"host": "127.0.0.1", "port": port}],
        "extra_metrics": true,
        "log_cluster_replication_info": true,
    }));
    server.say(&["SET", "before", "1"]);
    let first = monitor.sample().unwrap();
    assert!(
        !first.iter().any(|line| line.contains("slowlog")),
        "{first:#?}"
    );
    let long = "é".repeat(150);
    server.say_all(&[b"SET", b"k", b"v"], 100);
    server.say(&["SET", "long", &long]);
    server.say(&["GET", "k"]);
    server.say(&["GET", "none"]);
    let lines = monitor.sample().unwrap();
    let slow: Vec<&String> = lines
        .iter()
        .filter(|l| l.starts_with("redis \"slowlog\" "))
        .collect();
    assert_eq!(
        slow.iter()
            .filter(|l| l.contains("command=\"SET k v\" exectime="))
            .count(),
        100
    );
    let cut = format!(
        "command=\"SET long {}... (172 more bytes)\"",
        "é".repeat(64)
    );
    assert!(slow.iter().any(|l| l.contains(&cut)), "{slow:#?}");
    assert_eq!(
        slow.len(),
        103,
        "the monitor's own commands are not told: {slow:#?}"
    );
    let more = |metric, field| value(&lines, metric, field) - value(&first, metric, field);
    // Those above, and the first sample's SLOWLOG at least
    assert!((103.0..200.0).contains(&more("redis.commands", "host=")));
    assert_eq!(more("redis.keyspace", "hits"), 1.0);
    assert_eq!(more("redis.keyspace", "misses"), 1.0);
    assert_eq!(more("redis.db.keys", "db=\"db0\""), 2.0);

    let replica = Server::start(
        &scratch,
        free_port(),
        &["--replicaof", "127.0.0.1", &port.to_string()],
    );
    await_that(|| {
        let Reply::Text(info) = server.say(&["INFO", "replication"]) else {
            panic!("no INFO");
        };
        String::from_utf8_lossy(&info).contains("state=online")
    });
    server.say_all(&[b"SET", b"k", b"v"], 100);
    monitor.sample().unwrap();
    server.say_all(&[b"SET", b"k", b"v"], 100);
    let lines = monitor.sample().unwrap();
    let record = lines
        .iter()
        .find(|l| l.starts_with("redis \"replication\" connectedReplicas=1 "));
    assert!(record.is_some(), "{lines:#?}");
    assert_eq!(value(&lines, "redis.replica.online", "replica="), 1.0);
    let mut second =
        Watched::new(json!({"hosts": [{"port": replica.port}], "extra_metrics": true}));
    assert_eq!(
        value(&second.sample().unwrap(), "redis.replication.link_up", ""),
        1.0
    );
    drop(replica);

    drop(server);
    assert!(monitor.sample().unwrap_err().contains(&port.to_string()));
    let server = Server::start(&scratch, port, &[]);
    server.say(&["SET", "after", "1"]);
    let lines = monitor.sample().unwrap();
    assert!(
        lines.iter().any(|l| l.contains("command=\"SET after 1\"")),
        "{lines:#?}"
    );
    // Within one interval
    drop(server);
    let server = Server::start(&scratch, port, &[]);
    server.say(&["SET", "again", "1"]);
    let lines = monitor.sample().unwrap();
    assert!(
        lines.iter().any(|l| l.contains("command=\"SET again 1\"")),
        "{lines:#?}"
    );
}

#[test]
#[ignore = "needs redis-server"]
fn an_acl_user_with_the_least_rights_is_enough_by_socket_and_by_tcp() {
    let scratch = Scratch::new("redis-acl");
    let server = Server::start(&scratch, free_port(), &[]);
    server.say(&["ACL", "SETUSER", "default", "resetpass", ">top"]);
    let mut link = UnixStream::connect(&server.socket).unwrap();
    let mut request = Vec::new();
    let rights =
        "ACL SETUSER scalyr on >pass+word resetkeys -@all +info +slowlog|get +client|setname";
    command(&mut request, &[b"AUTH", b"top"]);
    command(
        &mut request,
        &rights.split(' ').map(str::as_bytes).collect::<Vec<_>>(),
    );
    link.write_all(&request).unwrap();
    let mut replies = Replies::new(&mut link, 1 << 20);
    for _ in 0..2 {
        assert_eq!(replies.reply().unwrap(), Reply::Text(b"OK".to_vec()));
    }
    let mut monitor = Watched::new(json!({"extra_metrics": true, "hosts": [
        {"unix_socket": server.socket, "username": "scalyr", "password": "pass+word"},
        {"host": "127.0.0.1", "port": server.port, "username": "scalyr", "password": "pass+word"},
    ]}));
    monitor.sample().unwrap();
    let lines = monitor.sample().unwrap();
    assert!(value(&lines, "redis.uptime", "sock") >= 0.0);
    assert_eq!(monitor.count("refused_commands"), 0);
    let mut wrong = Watched::new(json!({"hosts": [{"port": server.port, "password": "n0"}]}));
    let error = wrong.sample().unwrap_err();
    assert!(
        error.contains("WRONGPASS") && !error.contains("n0"),
        "{error}"
    );
    let mut none = Watched::new(json!({"hosts": [{"port": server.port}]}));
    let error = none.sample().unwrap_err();
    assert!(
        error.contains("NOAUTH") && error.contains("Set \"password\""),
        "{error}"
    );
}

/// Whether it is a line of the slow log that is not of one of the two monitors themselves.
fn is_load(line: &str) -> bool {
    line.starts_with("redis \"slowlog\" command=\"SET ")
}

#[test]
#[ignore = "needs SCALYR_TEST_PYTHON and redis-server"]
fn the_python_agent_tells_the_same_of_the_same_server() {
    let scratch = Scratch::new("redis-parity");
    let server = Server::start(&scratch, free_port(), &[]);
    let hosts = json!([{"host": "127.0.0.1", "port": server.port}]);
    // The Python agent loses the first one
    server.say(&["SET", "before", "1"]);
    let mut monitor = Watched::new(json!({"hosts": hosts}));
    monitor.sample().unwrap();
    let mut python = Command::new(std::env::var("SCALYR_TEST_PYTHON").unwrap())
        .args(["-m", "scalyr_agent.run_monitor", "-s", "1", "-c"])
        .arg(json!({ "hosts": hosts }).to_string())
        .arg(super::DESCRIPTION.module)
        .current_dir(scratch.path(""))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(python.stdout.take().unwrap()).lines();
    let mut lines = lines
        .map_while(Result::ok)
        .filter_map(|line| Some(line.split_once("[redis_monitor()] ")?.1.to_owned()));
    // It has looked for the first time
    assert!(lines.next().is_some());
    for (key, value) in [
        ("plain", "v"),
        ("quoted", "\"q\" \\ x\ttab\né"),
        ("empty", ""),
        ("cut", &"é".repeat(150)),
        ("odd", &format!("a{}", "é".repeat(150))),
    ] {
        server.say(&["SET", key, value]);
    }
    server.say_all(&[b"SET", b"bin", b"\xFF\xFE\xE2\x82"], 1);
    server.say(&["SET", "last", "1"]);
    let mut theirs: Vec<String> = Vec::new();
    for line in lines.by_ref().filter(|line| is_load(line)) {
        let is_last = line.contains("\"SET last 1\"");
        theirs.push(line);
        if is_last {
            break;
        }
    }
    let _ = python.kill();
    let _ = python.wait();
    let mut ours = monitor.sample().unwrap();
    ours.retain(|line| is_load(line));
    // The Python agent cuts a whole character off too
    let is_cut = |line: &&mut String| line.contains("SET cut ");
    let cut = theirs.iter_mut().find(is_cut).unwrap();
    *cut = cut.replace("... (172", "é... (172");
    assert_eq!(ours, theirs);
    assert_eq!(ours.len(), 7);
}

#[cfg(feature = "tls")]
#[test]
#[ignore = "needs redis-server and openssl"]
fn tls_is_what_the_option_says_and_a_port_without_it_is_told_in_words() {
    let scratch = Scratch::new("redis-tls");
    let made = Command::new("openssl")
        .args("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost".split(' '))
        .args("-addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE -keyout key.pem -out cert.pem".split(' '))
        .current_dir(scratch.path(""))
        .stderr(Stdio::null())
        .status();
    assert!(made.unwrap().success());
    let tls = free_port();
    let args = format!("--tls-port {tls} --tls-cert-file cert.pem --tls-key-file key.pem --tls-ca-cert-file cert.pem --tls-auth-clients no");
    let args: Vec<&str> = args.split(' ').collect();
    let server = Server::start(&scratch, free_port(), &args);
    let sample = |port: u16, tls: &str| {
        let host = json!({"host": "localhost", "port": port, "tls": tls, "ca_file": scratch.path("cert.pem")});
        let mut monitor = Watched::new(json!({"hosts": [host], "connection_timeout": 3}));
        monitor.sample()?;
        monitor.sample()
    };
    for (port, word) in [
        (tls, "verify"),
        (tls, "require"),
        (tls, "prefer"),
        (server.port, "off"),
        (server.port, "prefer"),
    ] {
        assert_eq!(sample(port, word), Ok(vec![]), "{word}");
    }
    let error = sample(tls, "off").unwrap_err();
    assert!(
        error.contains("TLS") || error.contains("want \"tls\""),
        "{error}"
    );
    let error = sample(server.port, "verify").unwrap_err();
    assert!(
        error.contains("TLS") || error.contains("in time"),
        "{error}"
    );
}
