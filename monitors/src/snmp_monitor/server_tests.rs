//! Against net-snmp's agent, and beside the Python agent's monitor.

use super::*;
use crate::monitor::Place;
use crate::testing::{capture, make, sample};
use common::testing::Scratch;
use serde_json::{json, Value as Json};
use std::process::{Child, Command, Stdio};

/// User, auth_protocol and priv_protocol as we call them, and as snmpd does.
const USERS: [(&str, &str, &str, &str); 12] = [
    ("nobody", "None", "None", ""),
    ("authonly", "SHA", "None", "SHA \"authpassword\""),
    (
        "md5des",
        "MD5",
        "DES",
        "MD5 \"authpassword\" DES \"privpassword\"",
    ),
    (
        "sha1des",
        "SHA",
        "DES",
        "SHA \"authpassword\" DES \"privpassword\"",
    ),
    (
        "sha1aes",
        "SHA",
        "AES128",
        "SHA \"authpassword\" AES \"privpassword\"",
    ),
    (
        "sha224",
        "SHA224",
        "AES128",
        "SHA-224 \"authpassword\" AES \"privpassword\"",
    ),
    (
        "sha256",
        "SHA256",
        "AES128",
        "SHA-256 \"authpassword\" AES \"privpassword\"",
    ),
    (
        "sha384",
        "SHA384",
        "AES192",
        "SHA-384 \"authpassword\" AES-192 \"privpassword\"",
    ),
    (
        "sha512",
        "SHA512",
        "AES256",
        "SHA-512 \"authpassword\" AES-256 \"privpassword\"",
    ),
    (
        "aes192",
        "SHA",
        "AES192",
        "SHA \"authpassword\" AES-192 \"privpassword\"",
    ),
    (
        "aes256",
        "MD5",
        "AES256",
        "MD5 \"authpassword\" AES-256 \"privpassword\"",
    ),
    (
        "aes256c",
        "MD5",
        "AES256C",
        "MD5 \"authpassword\" AES-256-C \"privpassword\"",
    ),
];

struct Snmpd {
    child: Child,
    port: u16,
    folder: Scratch,
}

impl Snmpd {
    fn start(name: &str) -> Snmpd {
        let folder = Scratch::new(name);
        let port = UdpSocket::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let child = Snmpd::run(&folder, port);
        Snmpd {
            child,
            port,
            folder,
        }
    }

    fn run(folder: &Scratch, port: u16) -> Child {
        let mut conf = format!("agentAddress udp:127.0.0.1:{port}\nrocommunity public 127.0.0.1\nrocommunity other 127.0.0.1\nsysName golden-box\n");
        for (user, auth, privacy, protocols) in USERS {
            let level = match (auth, privacy) {
                ("None", _) => "noauth",
                (_, "None") => "auth",
                _ => "priv",
            };
            conf += &format!("createUser {user} {protocols}\nrouser {user} {level}\n");
        }
        std::fs::write(folder.path("s.conf"), conf).unwrap();
        let log = std::fs::File::create(folder.path("log")).unwrap();
        let child = Command::new("snmpd")
            .args(["-f", "-Lo", "-C", "-c"])
            .arg(folder.path("s.conf"))
            .arg("-p")
            .arg(folder.path("pid"))
            .env("SNMP_PERSISTENT_DIR", folder.path("persistent"))
            .env("MIBS", "")
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        // It answers as soon as it is up
        let entry = community(port, &["1.3.6.1.2.1.1.5.0"]);
        let began = Instant::now();
        while ask(&entry).is_err() {
            assert!(began.elapsed() < Duration::from_secs(60));
            thread::sleep(Duration::from_millis(50));
        }
        child
    }

    /// A restart, as another agent if `anew`.
    fn restart(&mut self, anew: bool) {
        // It keeps the number of its starts when it is asked to end
        let pid = nix::unistd::Pid::from_raw(self.child.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        self.child.wait().unwrap();
        if anew {
            std::fs::remove_dir_all(self.folder.path("persistent")).unwrap();
        }
        self.child = Snmpd::run(&self.folder, self.port);
    }
}

impl Drop for Snmpd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn community(port: u16, oids: &[&str]) -> Json {
    json!({
        "oid_groups": {"g": oids},
        "poll_targets": [{"targets": [{"host": "127.0.0.1", "port": port}], "oids": ["g"]}],
    })
}

fn with_user(port: u16, user: Json) -> Json {
    let mut entry = community(port, &["SNMPv2-MIB::sysName", "1.3.6.1.2.1.1.3.0"]);
    entry["poll_targets"][0]["targets"][0]["user"] = user;
    entry["poll_targets"][0]["targets"][0]["timeout"] = json!(5);
    entry
}

fn ask(entry: &Json) -> Result<String, Error> {
    let mut monitor = make(&DESCRIPTION, entry, &Place::new("/", "/nonexistent"))?;
    sample(&mut *monitor, "snmp_monitor()")
}

fn user(name: &str) -> Json {
    let (_, auth, privacy, _) = USERS.iter().find(|(user, ..)| *user == name).unwrap();
    let mut user = json!({"username": name, "auth_protocol": auth, "priv_protocol": privacy});
    if *auth != "None" {
        user["auth_key"] = json!("authpassword");
    }
    if *privacy != "None" {
        user["priv_key"] = json!("privpassword");
    }
    user
}

#[test]
#[ignore = "needs snmpd"]
fn every_security_level_of_snmpd_answers() {
    let snmpd = Snmpd::start("snmp-levels");
    for (name, ..) in USERS {
        let text =
            ask(&with_user(snmpd.port, user(name))).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(
            text.contains("SNMPv2-MIB__sysName.0 \"golden-box\""),
            "{name} {text}"
        );
        assert_eq!(text.lines().count(), 2, "{name}");
    }
    for version in ["SNMPv1", "SNMPv2"] {
        let mut entry = community(snmpd.port, &["1.3.6.1.2.1.1.5.0", "1.3.6.1.2.1.99.99.0"]);
        entry["poll_targets"][0]["targets"][0]["version"] = json!(version);
        entry["poll_targets"][0]["targets"][0]["community"] = json!("other");
        assert_eq!(ask(&entry).unwrap().lines().count(), 1);
    }
}

#[test]
#[ignore = "needs snmpd"]
fn what_snmpd_refuses_is_told_in_words() {
    let snmpd = Snmpd::start("snmp-refusals");
    let changed = |name: &str, member: &str, value: &str| {
        let mut user = user(name);
        user[member] = json!(value);
        if user["priv_protocol"] == "None" {
            user.as_object_mut().unwrap().remove("priv_protocol");
        }
        let mut entry = with_user(snmpd.port, user);
        entry["poll_targets"][0]["targets"][0]["timeout"] = json!(2);
        entry["poll_targets"][0]["targets"][0]["retries"] = json!(0);
        ask(&entry).unwrap_err().to_string()
    };
    let error = changed("sha1aes", "username", "stranger");
    assert!(error.contains("does not know this username"), "{error}");
    let error = changed("sha1aes", "auth_key", "wrong password");
    assert!(error.contains("auth_key"), "{error}");
    let error = changed("sha1aes", "auth_protocol", "SHA512");
    assert!(error.contains("auth_protocol"), "{error}");
    let error = changed("sha1aes", "priv_key", "wrong password");
    assert!(error.contains("priv_key"), "{error}");
    let error = changed("authonly", "priv_key", "something");
    assert!(
        error.contains("security level") || error.contains("priv_key"),
        "{error}"
    );
    assert!(!error.contains("password"), "{error}");
}

#[test]
#[ignore = "needs snmpd"]
fn an_agent_that_restarts_or_is_replaced_is_asked_on() {
    let mut snmpd = Snmpd::start("snmp-restart");
    for name in ["sha256", "md5des"] {
        let entry = with_user(snmpd.port, user(name));
        let mut monitor = make(&DESCRIPTION, &entry, &Place::new("/", "/nonexistent")).unwrap();
        for anew in [false, true, false] {
            assert_eq!(sample(&mut *monitor, "m()").unwrap().lines().count(), 2);
            snmpd.restart(anew);
        }
        assert_eq!(sample(&mut *monitor, "m()").unwrap().lines().count(), 2);
    }
}

#[test]
#[ignore = "needs snmpd"]
fn counters_of_snmpd_move_with_what_it_is_asked() {
    let snmpd = Snmpd::start("snmp-load");
    let mut entry = community(snmpd.port, &["SNMPv2-MIB::snmpInPkts", "1.3.6.1.2.1.1.*"]);
    entry["numeric_values"] = json!(true);
    let mut monitor = make(&DESCRIPTION, &entry, &Place::new("/", "/nonexistent")).unwrap();
    let packets = |text: &str| -> u64 {
        let (_, rest) = text.split_once("snmpInPkts.0 ").unwrap();
        rest.split(' ').next().unwrap().parse().unwrap()
    };
    let text = sample(&mut *monitor, "m()").unwrap();
    let before = packets(&text);
    assert!(text.contains("SNMPv2-MIB__sysORDescr.1 \""), "{text}");
    for _ in 0..25 {
        ask(&community(snmpd.port, &["1.3.6.1.2.1.1.5.0"])).unwrap();
    }
    let after = packets(&sample(&mut *monitor, "m()").unwrap());
    assert!((25..40).contains(&(after - before)), "{before} {after}");
}

/// Names, fields and values of the lines of a sample. The SNMP library that the Python agent brings
/// along writes an instance, and on Python 3 text, in quotes of its own; the newer one, which
/// distributions bring, does not.
fn parts(text: &str) -> Vec<(String, String)> {
    let mut parts = Vec::new();
    for line in text.lines() {
        let Some((_, metric)) = line.split_once("Z [snmp_monitor()] ") else {
            continue;
        };
        let (_, rest) = metric.split_once(' ').unwrap();
        let (value, fields) = rest.split_once(" oid=").unwrap();
        let value = value.replace("\"b'", "\"").replace("'\"", "\"");
        parts.push((fields.replace("\\\"", ""), value));
    }
    parts
}

/// Needs a Python with the Python agent: SCALYR_TEST_PYTHON.
#[test]
#[ignore = "needs snmpd and python3"]
fn the_python_agents_monitor_says_the_same_of_the_same_agent() {
    use std::io::{BufRead as _, BufReader};
    let Some(python) = std::env::var_os("SCALYR_TEST_PYTHON") else {
        eprintln!("SCALYR_TEST_PYTHON is not set");
        return;
    };
    let snmpd = Snmpd::start("snmp-parity");
    let oids = [
        "1.3.6.1.2.1.1.1.0",
        "1.3.6.1.2.1.1.3.0",
        "1.3.6.1.2.1.1.5.0",
        "1.3.6.1.2.1.11.1.0",
        "1.3.6.1.2.1.2.2.1.6.1",
        "1.3.6.1.2.1.2.2.1.10.1",
        "1.3.6.1.2.1.4.20.1.1.127.0.0.1",
        "1.3.6.1.6.3.10.2.1.1.0",
        "1.3.6.1.4.1.2021.10.1.6.1",
        "1.3.6.1.6.3.15.1.1.1.0",
    ];
    let mut entry = community(snmpd.port, &oids);
    entry["sample_interval"] = json!(1);
    let mut child = Command::new(python)
        .args(["-m", "scalyr_agent.run_monitor", "-c", &entry.to_string()])
        .arg(DESCRIPTION.module)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut theirs = String::new();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while parts(&theirs).len() < oids.len() {
        theirs += &lines.next().unwrap().unwrap();
        theirs += "\n";
    }
    let _ = child.kill();
    let _ = child.wait();
    let (theirs, ours) = (parts(&theirs), parts(&ask(&entry).unwrap()));
    for (theirs, ours) in theirs.iter().zip(&ours) {
        assert_eq!(theirs.0, ours.0);
        let number = |text: &str| text.trim_matches('"').parse::<f64>().ok();
        match (number(&theirs.1), number(&ours.1)) {
            (Some(before), Some(now)) => assert!(before <= now, "{theirs:?} {ours:?}"),
            // The load average, as a float within, changes all the time
            _ if theirs.1.starts_with("\"0x9f78") => assert!(ours.1.starts_with("\"0x9f78")),
            _ => assert_eq!(theirs.1, ours.1),
        }
    }
    assert_eq!(ours.len(), oids.len());
}

/// Walks of what snmpd has, as a check of `max_rows` and of the time that a sample takes.
#[test]
#[ignore = "needs snmpd"]
fn all_that_snmpd_has_is_walked() {
    let snmpd = Snmpd::start("snmp-walk");
    let mut entry = community(snmpd.port, &["1.3.6.1.*"]);
    entry["max_rows"] = json!(400);
    let mut monitor = make(&DESCRIPTION, &entry, &Place::new("/", "/nonexistent")).unwrap();
    let (mut out, taken) = capture("snmp_monitor()");
    monitor.gather(&mut out).unwrap();
    out.flush();
    let rows = taken.take().lines().count();
    assert!(rows > 100, "{rows}");
}
