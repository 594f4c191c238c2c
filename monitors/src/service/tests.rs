use super::*;
use crate::options::Options;
use crate::testing::capture;
use common::stop;
use common::testing::Scratch;
use serde_json::{json, Value};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

const SPECS: &[crate::options::OptionSpec] = &[
    options::TIMEOUT,
    options::TLS,
    options::CA_FILE,
    options::CERT_FILE,
    options::KEY_FILE,
    options::UNIX_SOCKET,
    options::PASSWORD_FILE,
    crate::options::OptionSpec::new(
        "password",
        crate::options::Kind::Text,
        crate::options::Default::None,
        "",
    ),
];

fn read(entry: Value) -> Options {
    let entry: Vec<(String, Value)> = entry.as_object().unwrap().clone().into_iter().collect();
    Options::read(SPECS, &entry).unwrap()
}

fn local(listener: &TcpListener) -> Address {
    Address::Tcp(
        "127.0.0.1".to_owned(),
        listener.local_addr().unwrap().port(),
    )
}

#[test]
fn a_server_that_says_nothing_costs_no_more_than_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (_stopper, stop) = stop::pair();
    let began = Instant::now();
    let deadline = Deadline::new(Duration::from_millis(600), &stop);
    let mut link = Link::connect(&local(&listener), &deadline).unwrap();
    let error = link.read(&mut [0; 8]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    // Nor does one that takes nothing
    link.set_deadline(&Deadline::new(Duration::from_millis(600), &stop));
    let error = link.write_all(&vec![0; 64 << 20]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_monitor_that_waits_for_a_silent_server_ends_when_it_is_asked_to() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (stopper, stop) = stop::pair();
    let deadline = Deadline::new(Duration::from_secs(300), &stop);
    let mut link = Link::connect(&local(&listener), &deadline).unwrap();
    let thread = std::thread::spawn(move || link.read(&mut [0; 8]).unwrap_err());
    drop(stopper);
    let began = Instant::now();
    assert!(thread.join().unwrap().to_string().contains("is to end"));
    assert!(began.elapsed() < Duration::from_secs(4));
}

#[test]
fn a_server_that_is_down_is_named_with_what_to_look_at() {
    let (_stopper, stop) = stop::pair();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = local(&listener);
    drop(listener);
    let scratch = Scratch::new("service-link");
    let socket = Address::Unix(scratch.path("no.sock"));
    for (address, part) in [
        (address, "is the server running"),
        (socket, "there is no such socket"),
    ] {
        let deadline = Deadline::new(Duration::from_secs(5), &stop);
        let text = Link::connect(&address, &deadline).unwrap_err().to_string();
        assert!(
            text.contains(part) && text.contains(&address.to_string()),
            "{text}"
        );
    }
}

#[test]
fn an_address_is_read_in_every_form_that_operators_write() {
    for (text, shown) in [
        ("db", "db:3306"),
        (" db:1 ", "db:1"),
        ("::1", "[::1]:3306"),
        ("[::1]", "[::1]:3306"),
        ("[fe80::1]:7", "[fe80::1]:7"),
    ] {
        assert_eq!(Address::tcp(text, 3306).unwrap().to_string(), shown);
    }
    for text in [
        "", ":1", "db:", "db:x", "db:99999", "db:0", "[::1", "[::1]x", "db:+1",
    ] {
        assert!(Address::tcp(text, 3306).is_err(), "{text}");
    }
}

#[test]
fn a_password_is_shown_nowhere_and_one_that_all_may_read_is_warned_about() {
    let scratch = Scratch::new("service-secret");
    let file = scratch.path("password");
    std::fs::write(&file, "s3cret word\r\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let (mut out, _lines) = capture("m()");
    let secret = Secret::read(
        &read(json!({"password_file": file})),
        "password",
        "password_file",
    );
    let secret = secret.unwrap();
    assert_eq!(secret.get(&mut out).unwrap(), "s3cret word");
    let open = Secret::read(
        &read(json!({"password": "s3cret"})),
        "password",
        "password_file",
    );
    assert!(!format!("{secret:?} {open:?}").contains("s3cret"));
    // Said once: what is said already is not said again within the day
    let warned = |out: &mut crate::Emitter| !out.once_in(Duration::from_secs(60), "password file");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(secret.get(&mut out).unwrap(), "s3cret word");
    assert!(warned(&mut out));
    std::fs::write(&file, [0xff, 0xfe]).unwrap();
    let text = secret.get(&mut out).unwrap_err().to_string();
    assert!(text.contains("password"), "{text}");
    let both = json!({"password": "a", "password_file": "b"});
    assert!(Secret::read(&read(both), "password", "password_file").is_err());
}

#[test]
fn tls_options_that_make_no_sense_are_refused_by_name() {
    for (entry, option) in [
        (json!({"tls": "yes"}), "tls"),
        (json!({"tls": "require", "cert_file": "a"}), "key_file"),
        (json!({"tls": "require", "key_file": "a"}), "cert_file"),
    ] {
        let error = Security::read(&read(entry), false).unwrap_err();
        assert_eq!(error.option(), Some(option));
    }
    assert_eq!(
        Security::read(&read(json!({})), false).unwrap().wanted(),
        Wanted::No
    );
    assert!(Security::read(&read(json!({})), true).unwrap().is_blind());
    let with_ca = read(json!({"ca_file": "/ca.pem"}));
    assert!(!Security::read(&with_ca, true).unwrap().is_blind());
}

/// Certificate and key of a server for `localhost`, and the process that serves them at a port.
#[cfg(feature = "tls")]
struct Tls {
    scratch: Scratch,
    server: std::process::Child,
    port: u16,
}

#[cfg(feature = "tls")]
impl Tls {
    fn start() -> Tls {
        use std::process::{Command, Stdio};
        let scratch = Scratch::new("service-tls");
        let made = Command::new("openssl")
            .args("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost".split(' '))
            .args("-addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE -keyout key.pem -out cert.pem".split(' '))
            .current_dir(scratch.path(""))
            .stderr(Stdio::null())
            .status();
        assert!(made.unwrap().success());
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        // -Verify: it wants a certificate of the client, and takes any
        let server = Command::new("openssl")
            .args("s_server -quiet -rev -Verify 1 -key key.pem -cert cert.pem -accept".split(' '))
            .arg(format!("127.0.0.1:{port}"))
            .current_dir(scratch.path(""))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let server = server.unwrap();
        let began = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(began.elapsed() < Duration::from_secs(60));
            std::thread::sleep(Duration::from_millis(20));
        }
        Tls {
            scratch,
            server,
            port,
        }
    }

    fn talk(&self, entry: Value, host: &str) -> Result<String, String> {
        let (_stopper, stop) = stop::pair();
        let deadline = Deadline::new(Duration::from_secs(20), &stop);
        let security = Security::read(&read(entry), false).unwrap();
        let address = Address::Tcp("127.0.0.1".to_owned(), self.port);
        let link = Link::connect(&address, &deadline).unwrap();
        let mut link = link.secure(&security, host).map_err(|e| e.to_string())?;
        assert!(link.is_private());
        link.write_all(b"abc\n").map_err(|e| e.to_string())?;
        let mut got = [0; 4];
        link.read_exact(&mut got).map_err(|e| e.to_string())?;
        Ok(String::from_utf8_lossy(&got).into_owned())
    }
}

#[cfg(feature = "tls")]
impl Drop for Tls {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Needs `openssl` (Debian: openssl).
#[cfg(feature = "tls")]
#[test]
#[ignore = "needs openssl"]
fn tls_means_what_the_option_says_and_a_wrong_certificate_is_told_in_words() {
    let server = Tls::start();
    let (cert, key) = (
        server.scratch.path("cert.pem"),
        server.scratch.path("key.pem"),
    );
    let own = |mut entry: Value| {
        entry["cert_file"] = json!(cert);
        entry["key_file"] = json!(key);
        entry
    };
    let verified = own(json!({"tls": "verify", "ca_file": cert}));
    assert_eq!(server.talk(verified.clone(), "localhost").unwrap(), "cba\n");
    let text = server.talk(verified, "other.example").unwrap_err();
    assert!(text.contains("not for other.example"), "{text}");
    let blind = own(json!({"tls": "require"}));
    assert_eq!(server.talk(blind, "other.example").unwrap(), "cba\n");
    let unknown = server
        .talk(own(json!({"tls": "verify"})), "localhost")
        .unwrap_err();
    assert!(unknown.contains("certificate"), "{unknown}");
    // A client without a certificate, which this server wants
    let nobody = server
        .talk(json!({"tls": "verify", "ca_file": cert}), "localhost")
        .unwrap_err();
    assert!(!nobody.is_empty());
    let text = server.talk(
        own(json!({"tls": "verify", "ca_file": "/no/such"})),
        "localhost",
    );
    assert!(text.unwrap_err().contains("ca_file"));
}
