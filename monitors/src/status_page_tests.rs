use super::*;
use crate::emitter::captured::stopper;
use crate::nginx_monitor::DESCRIPTION;
use crate::testing::{capture, make, sample};
use crate::Place;
use serde_json::{json, Value as Json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::sync::mpsc::{channel, Receiver};
use std::time::Instant;

const PAGE: &str =
    "Active connections: 1 \nserver accepts handled requests\n 1 1 1 \nReading: 0 Writing: 1 Waiting: 0 \n";
const LINES: usize = 4;

fn read_request(stream: &mut impl Read) -> String {
    let mut got = Vec::new();
    let mut byte = [0];
    while !got.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
        got.push(byte[0]);
    }
    String::from_utf8_lossy(&got).into_owned()
}

/// A server on a port of its own that `answer`s each request, and what it was asked, by whom.
fn server(
    answer: impl Fn(&str, &mut TcpStream) + Send + 'static,
) -> (SocketAddr, Receiver<(String, SocketAddr)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tx, asked) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let peer = stream.peer_addr().unwrap();
            let request = read_request(&mut stream);
            let _ = tx.send((request.clone(), peer));
            answer(&request, &mut stream);
        }
    });
    (address, asked)
}

fn says(answer: String) -> (SocketAddr, Receiver<(String, SocketAddr)>) {
    server(move |_, stream| {
        let _ = stream.write_all(answer.as_bytes());
    })
}

fn page(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}")
}

fn at(address: SocketAddr) -> Json {
    json!({"status_url": format!("http://{address}/nginx_status")})
}

fn with(mut entry: Json, more: Json) -> Json {
    for (key, value) in more.as_object().unwrap() {
        entry[key] = value.clone();
    }
    entry
}

fn try_once(entry: Json) -> Result<usize, String> {
    let place = Place::new("/", "/");
    let mut monitor = make(&DESCRIPTION, &entry, &place).map_err(|e| e.to_string())?;
    let lines = sample(&mut *monitor, "m").map_err(|e| e.to_string())?;
    Ok(lines.lines().count())
}

fn error(entry: Json) -> String {
    try_once(entry).unwrap_err()
}

#[test]
fn what_is_wrong_is_said_with_the_address_and_the_remedy() {
    for (status, words) in [
        ("404 Not Found", ["404", "stub_status;"]),
        ("403 Forbidden", ["403", "allow 127.0.0.1;"]),
        ("401 Unauthorized", ["401", "Set monitor_user"]),
        ("500 Oops", ["500", "log of nginx"]),
        ("503 Oops", ["503", "log of nginx"]),
        ("204 No Content", ["204", "log"]),
    ] {
        let (address, _) = says(page(status, ""));
        let text = error(at(address));
        assert!(
            text.contains(&format!("http://{address}/nginx_status")),
            "{text}"
        );
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    }
    let (html, _) = says(page("200 OK", "<html><body>It works!</body></html>"));
    let text = error(at(html));
    assert!(text.contains("no such page. Correct status_url"), "{text}");
    let (empty, _) = says(page("200 OK", ""));
    assert!(error(at(empty)).contains("no such page"));
    let unused = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let text = error(at(unused));
    assert!(text.contains("refused. Is nginx running"), "{text}");
    let text = error(json!({"status_url": "http://no-such-host.invalid/"}));
    assert!(text.contains("host is not known"), "{text}");
    let text = error(json!({"unix_socket": "/no/such/socket"}));
    assert!(text.contains("no such socket"), "{text}");
    assert!(text.contains("over /no/such/socket"), "{text}");
}

#[test]
fn half_an_answer_and_garbage_cost_one_sample() {
    for (answer, words) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nActive",
            "in the middle of the answer",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\nAct",
            "in the middle",
        ),
        ("garbage\r\n\r\n", "No status page from"),
        ("", "closed connection"),
        ("HTTP/1.1 200", "No status page from"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\nx",
            "No status page from",
        ),
    ] {
        let (address, _) = says(answer.to_owned());
        let text = error(at(address));
        assert!(text.contains(words), "{answer:?}: {text}");
    }
}

#[test]
fn an_answer_without_end_is_cut_off() {
    for head in [
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: ",
    ] {
        let (address, _) = server(move |_, stream| {
            let _ = stream.write_all(head.as_bytes());
            while stream.write_all(&[b'x'; 65536]).is_ok() {}
        });
        let text = error(at(address));
        let cut = text.contains("longer than 1 MiB") || head.contains("X: ");
        assert!(cut, "{head:?}: {text}");
    }
}

#[test]
fn a_server_that_hangs_or_drips_does_not_outlive_the_time_out() {
    for head in ["", "HTTP/1.1 200 OK\r\nX: ", "HTTP/1.1 200 OK\r\n\r\n"] {
        let (address, _) = server(move |_, stream| {
            let _ = stream.write_all(head.as_bytes());
            while !head.is_empty() && stream.write_all(b"x").is_ok() {
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = stream.read(&mut [0]);
        });
        let began = Instant::now();
        let text = error(with(at(address), json!({"timeout": 0.5})));
        assert!(text.contains("no answer within 0.5 s"), "{text}");
        assert!(began.elapsed() < Duration::from_secs(60));
    }
}

#[test]
fn a_socket_whose_queue_is_full_does_not_hang_the_monitor() {
    let dir = tempdir();
    let path = dir.join("s");
    let listener = UnixListener::bind(&path).unwrap();
    nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
    // One fills the queue.
    let _waiting = std::os::unix::net::UnixStream::connect(&path).unwrap();
    let text = error(json!({"unix_socket": path, "timeout": 0.5}));
    assert!(text.contains("accepts no connection at present"), "{text}");
    std::fs::remove_dir_all(dir).unwrap();
}

fn tempdir() -> PathBuf {
    let dir = std::env::temp_dir().join(format!(
        "status_page_{}_{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

#[test]
fn a_stop_ends_the_wait_at_once() {
    let (address, asked) = server(|_, stream| {
        let _ = stream.read(&mut [0]);
    });
    let mut monitor = make(&DESCRIPTION, &at(address), &Place::new("/", "/")).unwrap();
    let (mut out, _lines) = capture("m");
    let stopper = stopper(&mut out);
    let stopped = std::thread::spawn(move || {
        asked.recv().unwrap();
        drop(stopper);
    });
    let began = Instant::now();
    assert!(monitor.gather(&mut out).is_err());
    assert!(began.elapsed() < Duration::from_secs(9));
    stopped.join().unwrap();
}

#[test]
fn redirects_are_followed_three_times_and_no_more() {
    let hops = |most: usize| {
        let (address, _) = server(move |request, stream| {
            let at: usize = request
                .split_once("hop")
                .and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok())
                .unwrap_or(0);
            let answer = match at >= most {
                true => page("200 OK", PAGE),
                false => {
                    let next = at + 1;
                    format!(
                        "HTTP/1.1 302 Found\r\nLocation: /hop{next}\r\nContent-Length: 0\r\n\r\n"
                    )
                }
            };
            let _ = stream.write_all(answer.as_bytes());
        });
        try_once(at(address))
    };
    assert_eq!(hops(3), Ok(LINES));
    for most in [4, usize::MAX] {
        let text = hops(most).unwrap_err();
        assert!(text.contains("more than 3 times"), "{text}");
    }
}

#[test]
fn a_redirect_to_https_is_told_with_the_remedy() {
    let (address, _) = says(
        "HTTP/1.1 301 Moved\r\nLocation: https://localhost/x\r\nContent-Length: 0\r\n\r\n"
            .to_owned(),
    );
    let text = error(at(address));
    assert!(text.contains("redirects to https"), "{text}");
}

#[test]
fn the_password_is_sent_and_never_shown() {
    let (address, asked) = server(|request, stream| {
        // "u:s3cret" and "u:"
        let good = request.contains("uthorization: Basic dTpzM2NyZXQ=\r\n");
        let answer = page(if good { "200 OK" } else { "401 No" }, PAGE);
        let _ = stream.write_all(answer.as_bytes());
    });
    let user = json!({"monitor_user": "u", "monitor_password": "s3cret"});
    assert_eq!(try_once(with(at(address), user)), Ok(LINES));
    asked.recv().unwrap();
    let wrong = json!({"monitor_user": "u", "monitor_password": "s3cre7"});
    let text = error(with(at(address), wrong));
    assert!(text.contains("refuses user \"u\" (401)"), "{text}");
    assert!(!text.contains("s3cre"), "{text}");
    let dir = tempdir();
    let file = dir.join("password");
    std::fs::write(&file, "s3cret\n").unwrap();
    let user = json!({"monitor_user": "u", "password_file": file});
    assert_eq!(try_once(with(at(address), user)), Ok(LINES));
    std::fs::remove_dir_all(dir).unwrap();
    for odd in [
        format!("http://u:s3cret@{address}/x\u{1}"),
        "u:s3cret@h".to_owned(),
        "foo:s3cret@h".to_owned(),
        format!("http://u:s3cret@{address}:x/"),
        "http://u:s3cret@no-such-host.invalid/".to_owned(),
    ] {
        let text = error(json!({ "status_url": odd }));
        assert!(!text.contains("s3cret"), "{text}");
    }
    // As with other clients, it may be in the address.
    let url = format!("http://u:s3cret@{address}/");
    assert_eq!(try_once(json!({ "status_url": url })), Ok(LINES));
}

#[test]
fn the_password_does_not_follow_a_redirect_to_another_host() {
    let (other, asked) = says(page("200 OK", PAGE));
    let (address, _) = says(format!(
        "HTTP/1.1 302 Found\r\nLocation: http://localhost:{}/\r\nContent-Length: 0\r\n\r\n",
        other.port()
    ));
    let user = json!({"monitor_user": "u", "monitor_password": "s3cret"});
    assert_eq!(try_once(with(at(address), user)), Ok(LINES));
    let (request, _) = asked.recv().unwrap();
    assert!(
        !request.to_lowercase().contains("authorization"),
        "{request}"
    );
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    for (entry, words) in [
        (
            json!({"monitor_user": "u"}),
            "set monitor_password or password_file",
        ),
        (json!({"monitor_password": "p"}), "set monitor_user"),
        (json!({"password_file": "/p"}), "set monitor_user"),
        (
            json!({"monitor_user": "u", "monitor_password": "p", "password_file": "/p"}),
            "remove one of the two",
        ),
        (
            json!({"monitor_user": "u:v", "monitor_password": "p"}),
            "no colon",
        ),
        (json!({"source_address": "eth0"}), "no IP address"),
    ] {
        let text = error(entry);
        assert!(text.contains(words), "{text}");
    }
}

#[test]
fn each_instance_comes_from_its_own_source_address() {
    let (address, asked) = says(page("200 OK", PAGE));
    let first = with(at(address), json!({"source_address": "127.0.0.2"}));
    let second = with(at(address), json!({"source_address": "127.0.0.3"}));
    let place = Place::new("/", "/");
    let mut both = [first, second].map(|entry| make(&DESCRIPTION, &entry, &place).unwrap());
    for (at, from) in [(0, "127.0.0.2"), (1, "127.0.0.3"), (0, "127.0.0.2")] {
        sample(&mut *both[at], "m").unwrap();
        let (_, peer) = asked.recv().unwrap();
        assert_eq!(peer.ip().to_string(), from);
    }
    let text = error(with(at(address), json!({"source_address": "192.0.2.1"})));
    assert!(
        text.contains("this machine does not have the address 192.0.2.1"),
        "{text}"
    );
    let text = error(with(at(address), json!({"source_address": "::1"})));
    assert!(text.contains("family of source_address"), "{text}");
}

/// An address of this machine that is not loopback, if there is one.
fn own_address() -> Option<std::net::IpAddr> {
    let probe = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    probe.connect("192.0.2.1:9").ok()?;
    Some(probe.local_addr().ok()?.ip())
}

#[test]
fn the_default_source_address_reaches_every_server() {
    let (address, asked) = says(page("200 OK", PAGE));
    // As the Python agent's: the server's rules may name it.
    if let Some(own) = own_address() {
        let listener = TcpListener::bind((own, 0)).unwrap();
        let here = listener.local_addr().unwrap();
        let peer = std::thread::spawn(move || {
            let (mut stream, peer) = listener.accept().unwrap();
            read_request(&mut stream);
            stream.write_all(page("200 OK", PAGE).as_bytes()).unwrap();
            peer
        });
        assert_eq!(try_once(at(here)), Ok(LINES));
        assert_eq!(peer.join().unwrap().ip().to_string(), "127.0.0.1");
    }
    // From a loopback address nobody else can be reached: EINVAL at once if it were tried.
    let text = error(json!({"status_url": "http://192.0.2.1:9/", "timeout": 0.3}));
    assert!(!text.contains("source_address"), "{text}");
    // A name with addresses of both families, of which only IPv4 serves.
    let url = format!("http://localhost:{}/", address.port());
    assert_eq!(try_once(json!({ "status_url": url })), Ok(LINES));
    asked.recv().unwrap();
    if let Ok(listener) = TcpListener::bind("[::1]:0") {
        let url = format!("http://[::1]:{}/", listener.local_addr().unwrap().port());
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            read_request(&mut stream);
            stream.write_all(page("200 OK", PAGE).as_bytes()).unwrap();
        });
        assert_eq!(try_once(json!({ "status_url": url })), Ok(LINES));
    }
}

#[test]
fn a_unix_socket_serves_also_where_http_is_not_allowed() {
    let dir = tempdir();
    let path = dir.join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let server = std::thread::spawn(move || {
        let mut requests = Vec::new();
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().unwrap();
            requests.push(read_request(&mut stream));
            stream.write_all(page("200 OK", PAGE).as_bytes()).unwrap();
        }
        requests
    });
    let entry = json!({"unix_socket": path, "status_url": "http://www.invalid/s"});
    let place = Place {
        allow_http: false,
        ..Place::new("/", "/")
    };
    for entry in [
        entry,
        json!({"unix_socket": path, "status_url": "http://localhost/s"}),
    ] {
        let mut monitor = make(&DESCRIPTION, &entry, &place).unwrap();
        assert_eq!(sample(&mut *monitor, "m").unwrap().lines().count(), LINES);
    }
    let requests = server.join().unwrap();
    assert!(
        requests[0].starts_with("GET /s HTTP/1.1\r\n"),
        "{}",
        requests[0]
    );
    assert!(
        requests[0].to_lowercase().contains("host: www.invalid\r\n"),
        "{}",
        requests[0]
    );
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_page_in_chunks_is_put_together() {
    let mut answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
    for chunk in PAGE.as_bytes().chunks(7) {
        let text = std::str::from_utf8(chunk).unwrap();
        answer.push_str(&format!("{:x}\r\n{text}\r\n", chunk.len()));
    }
    let (address, _) = says(answer + "0\r\n\r\n");
    assert_eq!(try_once(at(address)), Ok(LINES));
}

#[test]
fn base64_is_that_of_the_rfc() {
    for (bytes, text) in [
        ("", ""),
        ("f", "Zg=="),
        ("fo", "Zm8="),
        ("foo", "Zm9v"),
        ("foob", "Zm9vYg=="),
        ("fooba", "Zm9vYmE="),
        ("foobar", "Zm9vYmFy"),
    ] {
        assert_eq!(base64(bytes.as_bytes()), text);
    }
    assert_eq!(base64(&[255, 254, 253]), "//79");
}

#[test]
#[ignore = "needs openssl"]
fn a_certificate_is_verified_by_the_roots_that_the_entry_names() {
    use std::process::{Command, Stdio};
    let scratch = common::testing::Scratch::new("status-page-tls");
    let path = |name: &str| scratch.path(name);
    std::fs::write(path("nginx_status"), PAGE).unwrap();
    let req = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost \
               -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE \
               -keyout key.pem -out cert.pem";
    let mut openssl = Command::new("openssl");
    openssl.current_dir(path("")).args(req.split_whitespace());
    assert!(openssl.stderr(Stdio::null()).status().unwrap().success());
    let unused = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = unused.local_addr().unwrap();
    drop(unused);
    let mut server = Command::new("openssl")
        .args([
            "s_server",
            "-quiet",
            "-WWW",
            "-accept",
            &address.to_string(),
        ])
        .args(["-key", "key.pem", "-cert", "cert.pem"])
        .current_dir(path(""))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let began = Instant::now();
    while TcpStream::connect(address).is_err() {
        assert!(began.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(20));
    }
    let url = |host: &str| format!("https://{host}:{}/nginx_status", address.port());
    let by = |host: &str, more: Json| try_once(with(json!({ "status_url": url(host) }), more));
    let results = [
        by("localhost", json!({})),
        by("localhost", json!({"ca_file": path("key.pem")})),
        by("localhost", json!({"ca_file": path("cert.pem")})),
        by("127.0.0.1", json!({"ca_file": path("cert.pem")})),
        by("127.0.0.1", json!({"verify_https": false})),
        by(
            "localhost",
            json!({"ca_file": path("cert.pem"), "source_address": "127.0.0.9"}),
        ),
    ];
    server.kill().unwrap();
    server.wait().unwrap();
    println!("{results:?}");
    assert!(results[0]
        .as_ref()
        .unwrap_err()
        .contains("root certificates of the system"));
    assert!(results[1].as_ref().unwrap_err().contains("key.pem"));
    assert_eq!(results[2], Ok(LINES));
    assert!(results[3].as_ref().unwrap_err().contains("127.0.0.1"));
    assert_eq!(results[4..], [Ok(LINES), Ok(LINES)]);
}
