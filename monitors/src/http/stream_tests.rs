use super::super::Class;
use super::*;
use crate::emitter::captured::stopper;
use crate::testing::capture;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{channel, Receiver as Asked};

const SECONDS: Duration = Duration::from_secs(20);

fn limits() -> Limits {
    Limits {
        timeout: SECONDS,
        keep: 0,
        most: 1 << 30,
    }
}

/// Answers each connection by `answer`, and hands out the heads of the requests.
fn server(answer: impl Fn(&mut TcpStream, &str) + Send + 'static) -> (SocketAddr, Asked<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tx, requests) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut got = Vec::new();
            let mut byte = [0];
            while !got.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
                got.push(byte[0]);
            }
            let head = String::from_utf8_lossy(&got).into_owned();
            let _ = tx.send(head.clone());
            answer(&mut stream, &head);
        }
    });
    (address, requests)
}

fn request(url: &str) -> Request {
    let mut request = Request::new("GET", url, ("1", "m"), None).unwrap();
    request.set_private("Authorization", "secret").unwrap();
    request.set("X-Public", "yes").unwrap();
    request
}

fn whole(answer: &mut Answer) -> Result<Vec<u8>, Failure> {
    let mut all = Vec::new();
    while let Some(block) = answer.block()? {
        assert!(!block.is_empty() && block.len() <= BLOCK);
        all.extend(block);
    }
    Ok(all)
}

#[test]
fn a_body_is_handed_on_before_all_of_it_has_come() {
    let (go, wait) = channel::<()>();
    let (address, _asked) = server(move |stream, _| {
        let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/x\r\nContent-Encoding: y\r\n\r\nfirst";
        stream.write_all(head).unwrap();
        wait.recv().unwrap();
        stream.write_all(b" second").unwrap();
    });
    let (mut out, _lines) = capture("m()");
    let _stopper = stopper(&mut out);
    let mut client = Client::new(limits());
    let mut answer = client
        .open(&request(&format!("http://{address}/")), out.stop())
        .unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(
        (answer.content_type.as_str(), answer.encoding.as_str()),
        ("text/x", "y")
    );
    assert_eq!(answer.block().unwrap().unwrap(), b"first");
    go.send(()).unwrap();
    assert_eq!(whole(&mut answer).unwrap(), b" second");
}

#[test]
fn a_monitor_that_reads_no_further_makes_the_server_wait_and_keeps_no_thread() {
    let (tx, ended) = channel();
    let (address, _asked) = server(move |stream, _| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        let mut sent = 0usize;
        let block = [b'x'; 64 * 1024];
        while stream.write_all(&block).is_ok() {
            sent += block.len();
        }
        tx.send(sent).unwrap();
    });
    let (mut out, _lines) = capture("m()");
    let _stopper = stopper(&mut out);
    let mut answer = Client::new(limits())
        .open(&request(&format!("http://{address}/")), out.stop())
        .unwrap();
    answer.block().unwrap().unwrap();
    drop(answer);
    // Only what the kernel's buffers take
    assert!(ended.recv_timeout(SECONDS).unwrap() < 64 << 20);
}

#[test]
fn an_answer_that_ends_too_early_is_too_long_or_too_slow_fails() {
    let (address, _asked) = server(|stream, head| {
        let _ = match head.split(' ').nth(1) {
            Some("/short") => stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabcd"),
            Some("/chunk") => stream
                .write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n"),
            Some("/long") => {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
                (0..100).try_for_each(|_| stream.write_all(&[b'x'; 1000]))
            }
            // An endless trickle
            _ => {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
                while stream.write_all(b"x").is_ok() {}
                Ok(())
            }
        };
    });
    let (mut out, _lines) = capture("m()");
    let _stopper = stopper(&mut out);
    for (path, class) in [
        ("short", Class::IncompleteRead),
        ("chunk", Class::IncompleteRead),
        ("long", Class::Unknown),
        ("slow", Class::Url),
    ] {
        let mut limits = limits();
        if path == "long" {
            limits.most = 50_000;
        }
        if path == "slow" {
            limits.timeout = Duration::from_millis(300);
        }
        let mut answer = Client::new(limits)
            .open(&request(&format!("http://{address}/{path}")), out.stop())
            .unwrap();
        assert_eq!(whole(&mut answer).unwrap_err().class, class, "{path}");
    }
}

#[test]
fn redirects_are_followed_and_only_the_own_host_is_told_what_is_private() {
    let (other, asked_other) = server(|stream, _| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother");
    });
    let (address, asked) = server(move |stream, head| {
        let to = match head.split(' ').nth(1).unwrap() {
            "/a/b" => "c?x#y".to_owned(),
            "/a/c?x" => "?z".to_owned(),
            "/a/c?z" => format!("http://{other}/end"),
            _ => "/loop".to_owned(),
        };
        let _ = write!(
            stream,
            "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n"
        );
    });
    let (mut out, _lines) = capture("m()");
    let _stopper = stopper(&mut out);
    let mut client = Client::new(limits()).following(5);
    let mut answer = client
        .open(&request(&format!("http://{address}/a/b")), out.stop())
        .unwrap();
    assert_eq!(whole(&mut answer).unwrap(), b"other");
    for _ in 0..3 {
        let head = asked.recv().unwrap().to_ascii_lowercase();
        assert!(head.contains("authorization: secret"), "{head}");
    }
    let head = asked_other.recv().unwrap().to_ascii_lowercase();
    assert!(!head.contains("secret"), "{head}");
    assert!(head.contains("x-public: yes"), "{head}");
    let failure = client
        .open(&request(&format!("http://{address}/loop")), out.stop())
        .unwrap_err();
    assert_eq!(failure.text, "too many redirects");
    assert_eq!(asked.try_iter().count(), 6);
    // One that was not to follow any gets the redirect itself
    let answer = Client::new(limits())
        .open(&request(&format!("http://{address}/loop")), out.stop())
        .unwrap();
    assert_eq!(answer.status, 302);
}

#[test]
fn a_redirect_leads_where_a_browser_would_go_but_not_out_of_https() {
    let leads = |from: &str, to: &str| {
        let from: Uri = from.parse().unwrap();
        redirected(&from, &HeaderValue::from_str(to).unwrap()).map(|uri| uri.to_string())
    };
    for (from, to, want) in [
        ("http://h:1/a/b?c", "/x", "http://h:1/x"),
        ("http://h:1/a/b?c", "x", "http://h:1/a/x"),
        ("http://h:1/a/b?c", "?x", "http://h:1/a/b?x"),
        ("http://h:1/a/b?c", "//i/x", "http://i/x"),
        ("http://h:1/a/b", "https://h/x", "https://h/x"),
        ("http://h:1", "x:y", ""),
        ("http://h/", "file:///etc/passwd", ""),
        ("http://h/", "http://h:99999/", ""),
        ("https://h/", "http://h/", ""),
        ("https://h/", "HTTP://h/", ""),
        ("https://h/", "https://i/", "https://i/"),
        ("http://u:p@h/a", "/x", "http://u:p@h/x"),
        ("http://u:p@h/a", "http://h/x", "http://u:p@h/x"),
        ("http://u:p@h/a", "https://h/x", "https://u:p@h/x"),
        ("http://u:p@h/a", "http://i/x", "http://i/x"),
        ("http://u:p@h/a", "http://h:81/x", "http://h:81/x"),
    ] {
        match leads(from, to) {
            Ok(uri) => assert_eq!(uri, want, "{from} {to}"),
            Err(failure) => assert_eq!("", want, "{from} {to}: {failure:?}"),
        }
    }
}

#[test]
fn what_is_private_does_not_show_in_debug_output() {
    assert!(!format!("{:?}", request("http://h/")).contains("secret"));
}

#[test]
fn a_request_to_stop_ends_the_wait_for_a_server_that_says_nothing() {
    let (asked_tx, asked) = channel();
    let (address, _requests) = server(move |stream, _| {
        asked_tx.send(()).unwrap();
        let _ = stream.read(&mut [0]);
    });
    let (mut out, _lines) = capture("m()");
    let stopper = stopper(&mut out);
    let stop = out.stop().clone();
    let waiting = std::thread::spawn(move || {
        Client::new(limits()).open(&request(&format!("http://{address}/")), &stop)
    });
    asked.recv().unwrap();
    drop(stopper);
    assert_eq!(waiting.join().unwrap().unwrap_err().class, Class::Stopped);
}
