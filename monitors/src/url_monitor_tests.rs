use super::*;
use crate::emitter::captured::stopper;
use crate::testing::{capture, make, sample};
use crate::Place;
use serde_json::json;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{channel, Receiver};

/// Answers each connection by `answer`, and hands out what was asked.
fn server(answer: impl Fn(&mut TcpStream) + Send + 'static) -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tx, requests) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let request = read_request(&mut stream);
            answer(&mut stream);
            drop(stream);
            let _ = tx.send(request);
        }
    });
    (address, requests)
}

fn read_request(stream: &mut TcpStream) -> String {
    let mut got = Vec::new();
    let mut byte = [0];
    while !got.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
        got.push(byte[0]);
        // what begins like this is TLS
        if got == [22] {
            break;
        }
    }
    let head = String::from_utf8(got).unwrap();
    let length = head.lines().find_map(|line| {
        line.to_ascii_lowercase()
            .strip_prefix("content-length: ")?
            .parse()
            .ok()
    });
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).unwrap();
    head + &String::from_utf8(body).unwrap()
}

fn says(answer: &'static [u8]) -> (SocketAddr, Receiver<String>) {
    server(move |stream| {
        let _ = stream.write_all(answer);
    })
}

/// Has the connection end without a proper farewell.
fn reset(stream: &mut TcpStream) {
    use nix::sys::socket::{setsockopt, sockopt};
    let at_once = nix::libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    setsockopt(&*stream, sockopt::Linger, &at_once).unwrap();
}

/// The line of one sample without stamp and tag.
fn line(entry: Json) -> String {
    let mut monitor = make(&DESCRIPTION, &entry, &Place::new("/", "/")).unwrap();
    let line = sample(&mut *monitor, "url_monitor()").unwrap();
    line.strip_prefix("2022-04-15 11:11:08.015Z [url_monitor()] ")
        .unwrap()
        .to_owned()
}

const OK: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Length: 33\r\n\r\nt2.micro status=\"ok\"\nsecond line\n";

#[test]
fn answers_are_written_as_recorded() {
    let (ok, _) = says(OK);
    let (redirect, _) = says(b"HTTP/1.1 302 Found\r\nLocation: /ok\r\nContent-Length: 0\r\n\r\n");
    let (missing, _) = says(b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nnot here\n");
    let (close, _) = says(b"HTTP/1.0 500 No\r\n\r\nclosed \xff");
    let at = |address: SocketAddr, path: &str| format!("http://{address}{path}");
    for (entry, want) in [
        (
            json!({"url": at(ok, "/ok")}),
            format!(r#"response "t2.micro status=\"ok\"" length=33 request_method="GET" status=200 url="http://{ok}/ok""#),
        ),
        (
            json!({"url": at(redirect, "/redir")}),
            format!(r#"response "" length=0 request_method="GET" status=302 url="http://{redirect}/redir""#),
        ),
        (
            json!({"url": at(missing, "/404")}),
            format!(r#"response "not here" length=9 request_method="GET" status=404 url="http://{missing}/404""#),
        ),
        (
            json!({"url": at(ok, "/ok"), "log_all_lines": true}),
            format!(r#"response "t2.micro status=\"ok\"\nsecond line\n" length=33 request_method="GET" status=200 url="http://{ok}/ok""#),
        ),
        (
            json!({"url": at(ok, "/ok"), "extract": "status=\"(.*)\""}),
            format!(r#"response "ok" length=2 request_method="GET" status=200 url="http://{ok}/ok""#),
        ),
        (
            json!({"url": at(ok, "/post"), "request_method": "POST", "request_data": "a=1"}),
            format!(r#"response "t2.micro status=\"ok\"" length=33 request_method="POST" status=200 url="http://{ok}/post""#),
        ),
        (
            json!({"url": at(ok, "/ok"), "max_characters": 5}),
            format!(r#"response "t2.mi..." length=33 request_method="GET" status=200 url="http://{ok}/ok""#),
        ),
        (
            json!({"url": at(close, "/"), "log_all_lines": true}),
            format!("response \"closed \u{fffd}\" length=8 request_method=\"GET\" status=500 url=\"http://{close}/\""),
        ),
    ] {
        assert_eq!(line(entry), want + "\n");
    }
}

#[test]
fn failures_are_written_as_recorded() {
    let unused = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    assert_eq!(
        line(json!({"url": format!("http://{unused}/x")})),
        format!("response \"failed\" length=0 status=0 url=\"http://{unused}/x\" url_error=\"<urlopen error [Errno 111] Con...\"\n")
    );
    assert_eq!(
        line(json!({"url": "http://no-such-host.invalid/"})),
        "response \"failed\" length=0 status=0 url=\"http://no-such-host.invalid/\" url_error=\"<urlopen error [Errno -2] Name...\"\n"
    );
    let (short, _) = says(b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nabcd");
    assert_eq!(
        line(json!({"url": format!("http://{short}/short")})),
        format!("response \"failed\" incomplete_read=\"IncompleteRead(4 bytes read, 9...\" length=0 status=0 url=\"http://{short}/short\"\n")
    );
    let (chunk, _) = says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab");
    let broken = line(json!({"url": format!("http://{chunk}/")}));
    assert!(
        broken.contains("incomplete_read=\"IncompleteRead("),
        "{broken}"
    );
    for (answer, reason) in [
        (b"garbage\r\n\r\n".as_slice(), "unknown_error=\""),
        (b"", "unknown_error=\"Remote end closed connection w...\""),
    ] {
        let (address, _) = says(answer);
        let line = line(json!({"url": format!("http://{address}/")}));
        assert!(line.contains(reason), "{line}");
        assert!(!line.contains("traceback"));
    }
    let (torn, _) = server(reset);
    let torn = line(json!({"url": format!("http://{torn}/")}));
    assert!(
        torn.contains("unknown_error=\"[Errno 104] Connection reset b...\""),
        "{torn}"
    );
    assert_eq!(
        line(json!({"url": "foo://x/y"})),
        "response \"failed\" length=0 status=0 url=\"foo://x/y\" url_error=\"<urlopen error unknown url typ...\"\n"
    );
}

#[test]
fn a_server_that_never_answers_is_a_time_out() {
    let (address, _) = server(|stream| {
        let _ = stream.read(&mut [0]);
    });
    let began = Instant::now();
    let url = format!("http://{address}/");
    assert_eq!(
        line(json!({"url": url, "timeout": 0.3})),
        format!("response \"failed\" length=0 status=0 url=\"{url}\" url_error=\"<urlopen error timed out>\"\n")
    );
    assert!(began.elapsed() < Duration::from_secs(60));
}

#[test]
fn a_server_that_drips_does_not_outlive_the_time_out() {
    for head in [
        b"HTTP/1.1 200 OK\r\n\r\n".as_slice(),
        b"HTTP/1.1 200 OK\r\nX-Long: ",
    ] {
        let (address, _) = server(move |stream| {
            let _ = stream.write_all(head);
            while stream.write_all(b"x").is_ok() {
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let began = Instant::now();
        let line = line(json!({"url": format!("http://{address}/"), "timeout": 0.5}));
        assert!(
            line.contains("url_error=\"<urlopen error timed out>\""),
            "{line}"
        );
        assert!(began.elapsed() < Duration::from_secs(60));
    }
}

#[test]
fn an_endless_body_is_broken_off_and_counted() {
    let (address, _) = server(|stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nfirst\n");
        while stream.write_all(&[b'x'; 4096]).is_ok() {}
    });
    let entry = json!({"url": format!("http://{address}/"), "kept_body_bytes": 1024, "max_body_bytes": 200_000});
    let mut monitor = make(&DESCRIPTION, &entry, &Place::new("/", "/")).unwrap();
    let (mut out, lines) = capture("url_monitor()");
    monitor.gather(&mut out).unwrap();
    out.flush();
    let line = lines.take();
    assert!(line.contains("response \"first\" length=2"), "{line}");
    assert_eq!(out.counter("answers_too_long").load(Relaxed), 1);
}

#[test]
fn the_headers_on_the_wire_are_those_of_the_python_agent() {
    let (address, requests) = says(OK);
    let url = format!("http://{address}/a?b=c");
    line(json!({"url": url}));
    let version = env!("CARGO_PKG_VERSION");
    let sorted = |request: &str| {
        let mut lines: Vec<String> = request.lines().map(str::to_owned).collect();
        for line in &mut lines[1..] {
            if let Some((name, value)) = line.split_once(':') {
                *line = format!("{}:{value}", name.to_ascii_lowercase());
            }
        }
        lines[1..].sort();
        lines.join("\n")
    };
    assert_eq!(
        sorted(&requests.recv().unwrap()),
        format!("GET /a?b=c HTTP/1.1\n\naccept-encoding: identity\nconnection: close\nhost: {address}\nuser-agent: scalyr-agent-{version};monitor=url_monitor")
    );
    line(json!({
        "url": url,
        "request_method": "PUT",
        "request_data": "é=1",
        "request_headers": [
            {"header": "X-A", "value": "1"},
            {"header": "x-a", "value": "2"},
            {"header": "user-agent", "value": "mine"},
        ],
    }));
    assert_eq!(
        sorted(&requests.recv().unwrap()),
        format!("PUT /a?b=c HTTP/1.1\n\naccept-encoding: identity\nconnection: close\ncontent-length: 4\ncontent-type: application/x-www-form-urlencoded\nhost: {address}\nuser-agent: mine\nx-a: 2\né=1")
    );
    // a body goes with any method
    line(json!({"url": url, "request_method": "GET", "request_data": "x"}));
    let request = requests.recv().unwrap();
    assert!(
        request.starts_with("GET ") && request.ends_with("\r\n\r\nx"),
        "{request}"
    );
    line(json!({"url": url, "request_method": "PROPFIND"}));
    assert!(requests.recv().unwrap().starts_with("PROPFIND "));
    // none is no body in chunks, and no connection is kept
    line(json!({
        "url": url,
        "request_method": "POST",
        "request_headers": [{"header": "Connection", "value": "keep-alive"}],
    }));
    assert_eq!(
        sorted(&requests.recv().unwrap()),
        format!("POST /a?b=c HTTP/1.1\n\naccept-encoding: identity\nconnection: close\ncontent-length: 0\nhost: {address}\nuser-agent: scalyr-agent-{version};monitor=url_monitor")
    );
}

#[test]
#[cfg(feature = "tls")]
fn a_server_that_hangs_up_on_the_handshake_is_a_tls_failure() {
    let (address, _) = server(|stream| {
        let _ = stream.read(&mut [0; 16 * 1024]);
    });
    let line = line(json!({"url": format!("https://{address}/")}));
    assert!(
        line.contains("url_error=\"<urlopen error [SSL: UNEXPECTE...\""),
        "{line}"
    );
}

#[test]
fn without_allow_http_monitors_every_address_is_https() {
    let (address, requests) = says(b"this is no TLS");
    let mut place = Place::new("/", "/");
    place.allow_http = false;
    for url in [
        format!("http://{address}/"),
        format!("{address}/"),
        format!(" HTTP://{address}/"),
    ] {
        let made = make(&DESCRIPTION, &json!({ "url": url }), &place);
        if cfg!(feature = "tls") {
            let line = sample(&mut *made.unwrap(), "m").unwrap();
            assert!(
                line.contains(&format!("url=\"https://{address}/\"")),
                "{line}"
            );
            assert!(line.contains("url_error=\"<urlopen error [SSL"), "{line}");
        } else {
            let error = made.err().unwrap().to_string();
            assert!(error.contains("https"), "{error}");
        }
    }
    drop(requests);
}

#[test]
fn further_fields_come_only_when_they_are_asked_for() {
    let (address, _) = says(OK);
    let url = format!("http://{address}/");
    let wanted = json!({"url": url, "log_latency": true, "log_method_of_failures": true});
    assert!(line(wanted).contains(" latency=0."));
    let failed =
        line(json!({"url": "foo://x", "log_latency": true, "log_method_of_failures": true}));
    assert!(failed.contains("latency=") && failed.contains("request_method=\"GET\""));
}

#[test]
fn a_password_in_the_address_is_not_told_in_agent_log() {
    for url in ["user:secret@host/path", "http://user:secret@ho st/"] {
        let entry = json!({"url": url});
        let place = Place::new("/", "/");
        let members: Vec<_> = entry.as_object().unwrap().clone().into_iter().collect();
        let options = crate::options::Options::read(OPTIONS, &members).unwrap();
        let mut monitor = UrlMonitor::new(&Setup {
            options: &options,
            place: &place,
            module: "",
            id: "",
        })
        .unwrap();
        let (out, _) = capture("url_monitor()");
        let failure = monitor.client.fetch(&monitor.request, out.stop());
        let told = monitor.told(&failure.unwrap_err());
        assert!(!told.contains("secret"), "{told}");
    }
}

#[test]
fn wrong_options_are_refused() {
    for entry in [
        json!({}),
        json!({"url": "http://a/", "request_method": "GE T"}),
        json!({"url": "http://a/", "request_headers": "X: y"}),
        json!({"url": "http://a/", "request_headers": [{"header": "X"}]}),
        json!({"url": "http://a/", "request_headers": [{"header": "X", "value": "a\nb"}]}),
        json!({"url": "http://a/", "timeout": 31}),
        json!({"url": "http://a/", "extract": "x"}),
    ] {
        assert!(
            make(&DESCRIPTION, &entry, &Place::new("/", "/")).is_err(),
            "{entry}"
        );
    }
}

#[test]
fn the_monitor_ends_soon_when_the_agent_stops() {
    let (address, _) = server(|stream| {
        let _ = stream.read(&mut [0]);
    });
    let entry = json!({"url": format!("http://{address}/"), "timeout": 30});
    let mut monitor = make(&DESCRIPTION, &entry, &Place::new("/", "/")).unwrap();
    let (mut out, lines) = capture("url_monitor()");
    let stopper = stopper(&mut out);
    let began = Instant::now();
    let thread = std::thread::spawn(move || {
        let result = monitor.gather(&mut out);
        out.flush();
        result
    });
    drop(stopper);
    thread.join().unwrap().unwrap();
    assert_eq!(lines.take(), "");
    assert!(began.elapsed() < Duration::from_secs(20));
}

/// Needs `openssl` (Debian: openssl).
#[cfg(feature = "tls")]
#[test]
#[ignore = "needs openssl"]
fn a_certificate_that_nobody_vouches_for_is_a_failure() {
    use std::process::{Command, Stdio};
    let scratch = common::testing::Scratch::new("url-tls");
    let (key, cert) = (scratch.path("key.pem"), scratch.path("cert.pem"));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-keyout",
        ])
        .arg(&key)
        .arg("-out")
        .arg(&cert)
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(made.success());
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let mut server = Command::new("openssl")
        .args([
            "s_server",
            "-quiet",
            "-www",
            "-accept",
            &format!("127.0.0.1:{port}"),
            "-key",
        ])
        .arg(&key)
        .arg("-cert")
        .arg(&cert)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let began = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(began.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(20));
    }
    let line = line(json!({"url": format!("https://localhost:{port}/")}));
    let _ = server.kill();
    let _ = server.wait();
    assert!(
        line.contains("url_error=\"<urlopen error [SSL: CERTIFICA...\""),
        "{line}"
    );
}
