//! The way to the server: proxies and TLS.

use super::fake_server::Server;
use super::{check_server, Check, UploadSettings};
use crate::config::ServerUrl;
use crate::wire::{Envelope, EnvelopeSpec, Form};
use crossbeam_channel::{unbounded, Receiver};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

fn settings(https: bool, host: &str, port: u16) -> UploadSettings {
    let mut settings = UploadSettings::to(ServerUrl {
        https,
        host: host.to_owned(),
        port,
    });
    settings.request_deadline = Duration::from_secs(20);
    settings
}

fn check(settings: &UploadSettings) -> Check {
    let envelope = Envelope::new(EnvelopeSpec {
        form: Form::Scalyr,
        token: "secret-key",
        session: "session",
        session_info: None,
        repeat_log_attributes: false,
        without_logs: false,
    });
    check_server(settings, &envelope)
}

/// Carries bytes both ways until one side ends.
fn join(client: TcpStream, server: TcpStream) {
    let (mut a, mut b) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    std::thread::spawn(move || std::io::copy(&mut a, &mut b));
    let (mut a, mut b) = (client, server);
    std::thread::spawn(move || std::io::copy(&mut b, &mut a));
}

/// A listener whose connections each are handed to `serve`, which returns what to report.
fn proxy(serve: impl Fn(TcpStream) -> String + Send + 'static) -> (u16, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tx, rx) = unbounded();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            tx.send(serve(stream.unwrap())).ok();
        }
    });
    (port, rx)
}

fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

#[test]
fn an_http_proxy_carries_requests_and_resolves_the_name() {
    let server = Server::start(&[]);
    let target = server.port;
    let (port, heads) = proxy(move |mut client| {
        let head = read_head(&mut client);
        client
            .write_all(b"HTTP/1.1 200 Established\r\n\r\n")
            .unwrap();
        join(client, TcpStream::connect(("127.0.0.1", target)).unwrap());
        head
    });
    // a name that only the proxy can know
    let mut settings = settings(false, "ingest.invalid", 8080);
    settings.http_proxy = Some(format!("http://user:p%40ss@127.0.0.1:{port}"));
    assert_eq!(check(&settings), Check::Good);
    let head = heads.recv().unwrap();
    assert!(
        head.starts_with("CONNECT ingest.invalid:8080 HTTP/1.1\r\n"),
        "{head}"
    );
    // user:p@ss
    assert!(
        head.contains("Proxy-Authorization: Basic dXNlcjpwQHNz\r\n"),
        "{head}"
    );
    assert_eq!(server.next().header("host"), Some("ingest.invalid:8080"));
}

#[test]
fn a_proxy_that_refuses_is_a_connect_failure_without_its_password() {
    let (port, _heads) = proxy(|mut client| {
        let head = read_head(&mut client);
        client
            .write_all(b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n")
            .unwrap();
        head
    });
    let mut settings = settings(true, "ingest.invalid", 443);
    settings.https_proxy = Some(format!("http://user:hunter2@127.0.0.1:{port}"));
    match check(&settings) {
        Check::Trouble(text) => {
            assert!(text.contains("client/connectionFailed"), "{text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_socks_proxy_carries_requests() {
    let server = Server::start(&[]);
    let target = server.port;
    let (port, names) = proxy(move |mut client| {
        let mut hello = [0; 2];
        client.read_exact(&mut hello).unwrap();
        let mut methods = vec![0; usize::from(hello[1])];
        client.read_exact(&mut methods).unwrap();
        client.write_all(&[5, 0]).unwrap();
        let mut ask = [0; 5]; // version, connect, reserved, name, length
        client.read_exact(&mut ask).unwrap();
        let mut name = vec![0; usize::from(ask[4]) + 2];
        client.read_exact(&mut name).unwrap();
        client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).unwrap();
        join(client, TcpStream::connect(("127.0.0.1", target)).unwrap());
        name.truncate(name.len() - 2);
        String::from_utf8(name).unwrap()
    });
    let mut settings = settings(false, "ingest.invalid", 8080);
    settings.http_proxy = Some(format!("socks5h://127.0.0.1:{port}"));
    assert_eq!(check(&settings), Check::Good);
    assert_eq!(names.recv().unwrap(), "ingest.invalid");
}

#[test]
fn an_ipv6_literal_is_an_address() {
    // Nothing listens there; what counts is that it is understood and not looked up
    let Ok(listener) = TcpListener::bind("[::1]:0") else {
        return; // no IPv6 here
    };
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    match check(&settings(false, "::1", port)) {
        Check::Trouble(text) => assert!(text.contains("ConnRefused"), "{text}"),
        other => panic!("{other:?}"),
    }
}

#[cfg(feature = "tls")]
mod tls {
    use super::*;
    use std::path::{Path, PathBuf};
    use std::process::{Child, Command, Stdio};

    /// A folder with a certificate authority and a certificate for `localhost`, removed in the end.
    struct Certificates(PathBuf);

    impl Drop for Certificates {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).ok();
        }
    }

    fn openssl(folder: &Path, command: &str) {
        let output = Command::new("openssl")
            .args(command.split(' '))
            .current_dir(folder)
            .output()
            .expect("the openssl command");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl {command}: {stderr}");
    }

    fn certificates(name: &str) -> Certificates {
        let folder = std::env::temp_dir().join(format!("upload-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        for command in [
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key \
             -out ca.pem -days 2 -subj /CN=test-authority -addext basicConstraints=critical,CA:TRUE",
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout server.key \
             -out server.csr -subj /CN=localhost -addext subjectAltName=DNS:localhost",
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem \
             -days 2 -copy_extensions copyall",
        ] {
            openssl(&folder, &command.split_whitespace().collect::<Vec<_>>().join(" "));
        }
        Certificates(folder)
    }

    struct TlsServer {
        port: u16,
        child: Child,
    }

    impl Drop for TlsServer {
        fn drop(&mut self) {
            self.child.kill().ok();
            self.child.wait().ok();
        }
    }

    /// Answers requests with success, if the handshake comes that far.
    fn serve(folder: &Path, version: &str) -> TlsServer {
        let port = {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap().port()
        };
        let mut child = Command::new("openssl")
            .args([
                "s_server",
                "-quiet",
                "-4",
                "-cert",
                "server.pem",
                "-key",
                "server.key",
            ])
            .args([version, "-accept", &port.to_string()])
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (mut from, mut to) = (child.stdout.take().unwrap(), child.stdin.take().unwrap());
        std::thread::spawn(move || {
            let mut got = Vec::new();
            let mut piece = [0; 1000];
            while let Ok(n @ 1..) = from.read(&mut piece) {
                got.extend_from_slice(&piece[..n]);
                // The empty request is sent plain or compressed; either way it ends the body
                let text = String::from_utf8_lossy(&got).into_owned();
                let Some((head, _)) = text.split_once("\r\n\r\n") else {
                    continue;
                };
                let length = head.lines().find_map(|l| {
                    l.to_ascii_lowercase()
                        .strip_prefix("content-length: ")
                        .map(|n| n.parse::<usize>().unwrap())
                });
                if got.len() == head.len() + 4 + length.unwrap() {
                    to.write_all(
                        b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{\"status\":\"success\"}",
                    )
                    .unwrap();
                    to.flush().unwrap();
                    got.clear();
                }
            }
        });
        TlsServer { port, child }
    }

    /// Checks as soon as the server listens.
    fn check_when_up(settings: &UploadSettings) -> Check {
        let until = std::time::Instant::now() + Duration::from_secs(20);
        loop {
            match check(settings) {
                Check::Trouble(text)
                    if text.contains("ConnRefused") && std::time::Instant::now() < until =>
                {
                    std::thread::yield_now();
                }
                other => return other,
            }
        }
    }

    fn trouble(check: Check) -> String {
        match check {
            Check::Trouble(text) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    #[ignore = "needs the openssl command"]
    fn a_server_is_trusted_only_with_a_certificate_that_the_operator_trusts() {
        let certificates = certificates("trust");
        let folder = &certificates.0;
        let authority = Some(folder.join("ca.pem"));

        let server = serve(folder, "-tls1_2");
        let mut settings = settings(true, "localhost", server.port);
        let refused = trouble(check_when_up(&settings));
        assert!(
            refused.contains("client/connectionFailedSSLError"),
            "{refused}"
        );
        settings.ca_cert_path = authority.clone();
        assert_eq!(check(&settings), Check::Good);

        // TLS 1.3 alone is fine too, and a wrong name is not
        let server = serve(folder, "-tls1_3");
        settings.server.port = server.port;
        assert_eq!(check_when_up(&settings), Check::Good);
        settings.server.host = "127.0.0.1".to_owned();
        let refused = trouble(check(&settings));
        assert!(
            refused.contains("client/connectionFailedCertHostnameValidationFailed"),
            "{refused}"
        );
        settings.verify = false;
        settings.ca_cert_path = None;
        assert_eq!(check(&settings), Check::Good);
    }

    /// Signs the server's certificate anew, with these dates (`YYYYMMDDHHMMSSZ`).
    fn dated(folder: &Path, from: &str, to: &str) {
        let config = "[ca]\ndefault_ca = own\n[own]\nnew_certs_dir = .\ndatabase = index\nserial = serial\n\
                      default_md = sha256\npolicy = names\nprivate_key = ca.key\ncertificate = ca.pem\n\
                      copy_extensions = copyall\nunique_subject = no\n[names]\ncommonName = supplied\n";
        for (name, text) in [("ca.cnf", config), ("index", ""), ("serial", "1000\n")] {
            std::fs::write(folder.join(name), text).unwrap();
        }
        openssl(
            folder,
            &format!(
                "ca -batch -notext -config ca.cnf -in server.csr -out server.pem -startdate {from} -enddate {to}"
            ),
        );
    }

    #[test]
    #[ignore = "needs the openssl command"]
    fn a_certificate_of_the_wrong_day_is_told_with_its_date_and_not_in_seconds_of_the_epoch() {
        let certificates = certificates("dates");
        let folder = &certificates.0;
        let told = |from: &str, to: &str| {
            dated(folder, from, to);
            let server = serve(folder, "-tls1_3");
            let mut settings = settings(true, "localhost", server.port);
            settings.ca_cert_path = Some(folder.join("ca.pem"));
            trouble(check_when_up(&settings))
        };
        let clock = &common::time::date(common::time::now_secs() as u64)[..10];
        let old = told("20010101000000Z", "20110203040506Z");
        assert!(old.contains("expired on 2011-02-03 04:05:06 UTC"), "{old}");
        assert!(old.contains(&format!("machine says {clock}")), "{old}");
        // As a box sees it that has no battery for its clock
        let early = told("20910203040506Z", "20920101000000Z");
        assert!(
            early.contains("not valid yet, but from 2091-02-03 04:05:06 UTC on"),
            "{early}"
        );
        assert!(early.contains(&format!("machine says {clock}")), "{early}");
        assert!(early.contains("set it"), "{early}");
    }

    #[test]
    #[ignore = "needs the openssl command"]
    fn a_certificate_of_somebody_else_is_told_with_its_names_and_the_remedy() {
        let certificates = certificates("names");
        let folder = &certificates.0;
        let server = serve(folder, "-tls1_2");
        let mut settings = settings(true, "localhost", server.port);
        let unknown = trouble(check_when_up(&settings));
        assert!(
            unknown.contains("no authority that this machine trusts"),
            "{unknown}"
        );
        assert!(unknown.contains("ca_cert_path"), "{unknown}");
        settings.ca_cert_path = Some(folder.join("ca.pem"));
        settings.server.host = "127.0.0.1".to_owned();
        let other = trouble(check(&settings));
        assert!(
            other.contains("not for 127.0.0.1: it names localhost"),
            "{other}"
        );

        // The certificate of the authority itself, as `openssl req -x509` makes them
        for name in ["server.pem", "server.key"] {
            std::fs::copy(folder.join(name.replace("server", "ca")), folder.join(name)).unwrap();
        }
        let server = serve(folder, "-tls1_3");
        settings.server.port = server.port;
        let own = trouble(check_when_up(&settings));
        assert!(own.contains("CA:TRUE"), "{own}");
    }

    #[test]
    #[ignore = "needs the openssl command"]
    fn a_server_without_a_common_version_is_no_riddle() {
        let certificates = certificates("version");
        let folder = &certificates.0;
        let server = serve(folder, "-tls1");
        let mut settings = settings(true, "localhost", server.port);
        settings.ca_cert_path = Some(folder.join("ca.pem"));
        let old = trouble(check_when_up(&settings));
        assert!(
            old.contains("TLS 1.2") || old.contains("TLS version (1.2 or 1.3)"),
            "{old}"
        );
        assert!(old.contains("SSLError"), "{old}");
    }

    /// The address of a server that answers each connection with this.
    fn says(answer: &'static [u8]) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(answer);
            }
        });
        port
    }

    #[test]
    fn a_port_that_speaks_no_tls_is_told_as_that() {
        for answer in [
            &b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"[..],
            b"SSH-2.0-OpenSSH_9.2\r\n",
        ] {
            let text = trouble(check(&settings(true, "127.0.0.1", says(answer))));
            assert!(text.contains("client/connectionFailedSSLError"), "{text}");
            assert!(text.contains("does not speak TLS"), "{text}");
        }
        let text = trouble(check(&settings(true, "127.0.0.1", says(b""))));
        assert!(text.contains("client/connectionFailedSSLError"), "{text}");
        assert!(text.contains("closed during the TLS handshake"), "{text}");
        // A fatal alert: handshake_failure
        let text = trouble(check(&settings(
            true,
            "127.0.0.1",
            says(b"\x15\x03\x03\x00\x02\x02\x28"),
        )));
        assert!(text.contains("refused the TLS handshake"), "{text}");
    }

    #[test]
    fn a_port_of_tls_that_is_asked_without_it_is_told_as_that() {
        // openssl's alert, and the page of nginx
        for answer in [
            &b"\x15\x03\x01\x00\x02\x02\x46"[..],
            b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\nContent-Length: 61\r\n\r\n\
              <title>400 The plain HTTP request was sent to HTTPS port</title>",
        ] {
            let text = trouble(check(&settings(false, "127.0.0.1", says(answer))));
            assert!(text.to_lowercase().contains("https"), "{text}");
        }
    }

    #[test]
    fn a_certificate_file_that_is_missing_or_something_else_is_named() {
        let mut settings = settings(true, "localhost", 1);
        settings.ca_cert_path = Some(PathBuf::from("/no/such/ca.pem"));
        let text = trouble(check(&settings));
        assert!(
            text.contains("/no/such/ca.pem") && text.contains("SSLError"),
            "{text}"
        );
        settings.ca_cert_path = Some(PathBuf::from("/proc/self/status"));
        let text = trouble(check(&settings));
        assert!(text.contains("holds no certificate"), "{text}");
        // nobody asks for it when nothing is verified
        settings.verify = false;
        assert!(trouble(check(&settings)).contains("ConnRefused"));
    }
}

#[cfg(not(feature = "tls"))]
#[test]
fn without_tls_an_https_server_is_a_clear_error() {
    match check(&settings(true, "localhost", 1)) {
        Check::Trouble(text) => assert!(text.contains("no TLS"), "{text}"),
        other => panic!("{other:?}"),
    }
}
