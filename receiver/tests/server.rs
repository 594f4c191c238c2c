//! A receiver over its socket: what an agent meets, and what a test asks.

use receiver::{Fault, Options, Receiver, State};
use serde_json::{json, Value};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(60);

fn start() -> Receiver {
    Receiver::start(Options::default()).unwrap()
}

/// A body with numbered lines, as the agent writes it: the first line ends at 10, the second at 20.
fn lines(numbers: std::ops::Range<u64>) -> Vec<u8> {
    let mut body = b"{\"token\":\"k\",\"session\":\"s\",\"sessionInfo\":{}, events: [".to_vec();
    for n in numbers.clone() {
        if n > numbers.start {
            body.push(b',');
        }
        body.extend_from_slice(b"{thread:\"log_1\", log:\"log_1\", attrs:{message:`s\0\0\0\x0a");
        body.extend_from_slice(format!("n={n:07}\n").as_bytes());
        body.extend_from_slice(format!("}},ts:\"{}\"", 1_000 + n).as_bytes());
        match n == numbers.start {
            true => body.extend_from_slice(format!(",si:\"q\",sn:{}}}", n * 10 + 10).as_bytes()),
            false => body.extend_from_slice(b",sd:10}"),
        }
    }
    body.extend_from_slice(
        b"], logs: [{\"id\":\"log_1\",\"attrs\":{\"parser\":\"p\"}}], \
          threads: [{\"id\":\"log_1\",\"name\":\"Lines for file /a.log\"}], client_time: 5 }",
    );
    body
}

struct Client {
    stream: TcpStream,
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn says(&self) -> String {
        self.json()["status"].as_str().unwrap().to_owned()
    }
}

impl Client {
    fn new(receiver: &Receiver) -> Client {
        let stream = TcpStream::connect(("127.0.0.1", receiver.port())).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        Client { stream }
    }

    fn send(&mut self, method: &str, target: &str, headers: &str, body: &[u8]) -> io::Result<()> {
        let mut request = format!(
            "{method} {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n{headers}\r\n",
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        self.stream.write_all(&request)
    }

    /// An answer; an error if the connection ends within it.
    fn answer(&mut self) -> io::Result<Answer> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let (_, length) = head.split_once("Content-Length: ").unwrap();
        let length = length.split("\r\n").next().unwrap().parse().unwrap();
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok(Answer {
            status: head[9..12].parse().unwrap(),
            head,
            body,
        })
    }

    fn post(&mut self, body: &[u8]) -> io::Result<Answer> {
        self.send("POST", "/addEvents", "", body)?;
        self.answer()
    }

    fn get(&mut self, target: &str) -> Value {
        self.send("GET", target, "", b"").unwrap();
        self.answer().unwrap().json()
    }
}

#[test]
fn one_connection_carries_many_requests_compressed_or_not() {
    let receiver = start();
    let mut client = Client::new(&receiver);
    assert_eq!(client.post(&lines(0..3)).unwrap().says(), "success");
    let wire = miniz_oxide::deflate::compress_to_vec_zlib(&lines(3..20_000), 6);
    let headers = "Content-Encoding: deflate\r\nUser-Agent: test\r\n";
    client.send("POST", "/addEvents", headers, &wire).unwrap();
    assert_eq!(client.answer().unwrap().says(), "success");

    let events = receiver.events();
    assert_eq!(events.len(), 20_000);
    assert_eq!(&*events[19_999].message, b"n=0019999\n");
    assert_eq!(&*events[19_999].path, "/a.log");
    assert_eq!(events[19_999].attrs["parser"], "p");
    assert_eq!(events[19_999].sn, Some(200_000));
    let requests = receiver.requests();
    assert_eq!(requests[1].wire_bytes, wire.len());
    assert_eq!(requests[1].header("user-agent"), Some("test"));
    assert_eq!(requests[1].connection, requests[0].connection);
    assert_eq!(requests[1].events, 19_997);
    assert_eq!(receiver.counts().connections, 1);
    assert_eq!(receiver.counts().problems, 0);
}

#[test]
fn strict_json_is_stored_alike() {
    let receiver = Receiver::start(Options {
        strict_json: true,
        ..Options::default()
    })
    .unwrap();
    let mut client = Client::new(&receiver);
    let body = json!({
        "token": "k", "session": "s",
        "events": [{"thread": "1", "log": "1", "attrs": {"a": 1, "message": "m\n"}, "ts": 5, "si": "q", "sn": 2}],
        "logs": [{"id": "1", "attrs": {"a": 0, "b": 0}}],
        "threads": [{"id": "1", "name": "Lines for file /b"}],
    });
    assert_eq!(
        client.post(body.to_string().as_bytes()).unwrap().status,
        200
    );
    assert_eq!(receiver.lines_of("/b"), ["m\n"]);
    let attrs = Value::Object((*receiver.events()[0].attrs).clone());
    assert_eq!(attrs, json!({"a": 1, "b": 0}));
    let refused = client.post(&lines(0..1)).unwrap();
    assert_eq!(
        (refused.status, refused.says()),
        (400, "error/client/badParam".into())
    );
    assert_eq!(receiver.counts().malformed, 1);
}

#[test]
fn what_is_sent_again_is_stored_once() {
    let receiver = start();
    let mut client = Client::new(&receiver);
    client.post(&lines(0..100)).unwrap();
    // Cut differently the second time
    client.post(&lines(50..150)).unwrap();
    client.post(&lines(0..150)).unwrap();
    let counts = receiver.counts();
    assert_eq!(
        (counts.events, counts.duplicates, counts.late),
        (150, 200, 0)
    );
    let numbers: Vec<_> = receiver.lines_of("/a.log");
    assert_eq!(
        numbers,
        (0..150).map(|n| format!("n={n:07}\n")).collect::<Vec<_>>()
    );
    let dropped: Vec<_> = receiver.requests().iter().map(|r| r.duplicates).collect();
    assert_eq!(dropped, [0, 50, 150]);
}

#[test]
fn a_cut_after_storing_leads_to_a_resend_that_is_dropped() {
    let receiver = start();
    receiver.fault(Fault::cut_before_storing().with_events_only());
    receiver.fault(Fault::cut_after_storing().with_events_only());
    let empty = b"{token:\"k\",session:\"s\",events:[]}";
    assert_eq!(Client::new(&receiver).post(empty).unwrap().status, 200);
    assert!(Client::new(&receiver).post(&lines(0..5)).is_err());
    assert_eq!(receiver.counts().events, 0);
    assert!(Client::new(&receiver).post(&lines(0..5)).is_err());
    assert_eq!(receiver.counts().events, 5);
    assert_eq!(
        Client::new(&receiver).post(&lines(0..5)).unwrap().status,
        200
    );
    assert_eq!(receiver.counts().duplicates, 5);
    assert_eq!(receiver.counts().faulted, 2);
}

#[test]
fn each_fault_is_given_as_ordered_and_only_once() {
    let receiver = start();
    for fault in [
        Fault::json("error/server/discardBuffer"),
        Fault::retry_after(429, "7"),
        Fault::body(200, "[\"status\"]"),
        Fault::empty(),
        Fault::garbage(300),
        Fault::redirect(301, "http://elsewhere/"),
        Fault::body(500, "{\"status\":\"success\"}"),
        Fault {
            close: true,
            ..Fault::default()
        },
    ] {
        receiver.fault(fault);
    }
    let mut client = Client::new(&receiver);
    let mut next = || client.post(&lines(0..2)).unwrap();
    assert_eq!(next().says(), "error/server/discardBuffer");
    let busy = next();
    assert_eq!(busy.status, 429);
    assert!(busy.head.contains("Retry-After: 7\r\n"));
    assert_eq!(next().body, b"[\"status\"]");
    assert!(next().body.is_empty());
    let garbage = next().body;
    assert_eq!(garbage.len(), 300);
    assert!(std::str::from_utf8(&garbage).is_err());
    assert!(next().head.contains("Location: http://elsewhere/\r\n"));
    assert_eq!(next().status, 500);
    assert_eq!(receiver.counts().events, 0);
    let last = next();
    assert!(last.head.contains("Connection: close"));
    assert_eq!(receiver.counts().events, 2);
    assert!(client.post(&lines(0..2)).is_err());
}

#[test]
fn half_an_answer_and_a_huge_one_are_what_they_say() {
    let receiver = start();
    receiver.fault(Fault::half_answer());
    let error = Client::new(&receiver).post(&lines(0..1)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    receiver.fault(Fault::huge(3_000_001));
    assert_eq!(
        Client::new(&receiver)
            .post(&lines(0..1))
            .unwrap()
            .body
            .len(),
        3_000_001
    );
    // A client that gives up in the middle of it
    receiver.fault(Fault::huge(1 << 40));
    let mut client = Client::new(&receiver);
    client.send("POST", "/addEvents", "", &lines(0..1)).unwrap();
    client.stream.read_exact(&mut [0; 100_000]).unwrap();
    drop(client);
    let gone = |state: &State| state.counts().open_connections == 0;
    assert!(receiver.wait_until(SOON, gone));
}

#[test]
fn silence_lasts_until_it_is_cleared_or_the_client_gives_up() {
    let receiver = start();
    receiver.fault(Fault::silence());
    let mut patient = Client::new(&receiver);
    patient
        .send("POST", "/addEvents", "", &lines(0..1))
        .unwrap();
    let mut impatient = Client::new(&receiver);
    impatient
        .send("POST", "/addEvents", "", &lines(0..1))
        .unwrap();
    assert!(receiver.wait_until(SOON, |state| state.counts().requests == 2));
    drop(impatient);
    assert!(receiver.wait_until(SOON, |state| state.counts().open_connections == 1));
    receiver.clear_faults();
    assert!(patient.answer().is_err());
    assert_eq!(receiver.counts().events, 0);
    // Not even read: more than the socket's buffers hold can't be sent
    receiver.fault(Fault {
        unread: true,
        ..Fault::default()
    });
    let mut client = Client::new(&receiver);
    let timeout = Some(Duration::from_millis(200));
    client.stream.set_write_timeout(timeout).unwrap();
    let body = vec![b' '; 64 << 20];
    assert!(client.send("POST", "/addEvents", "", &body).is_err());
}

#[test]
fn a_delay_comes_after_storing_and_ends_with_clearing() {
    let receiver = start();
    receiver.fault(Fault::delayed(Duration::from_secs(600)));
    let mut client = Client::new(&receiver);
    client.send("POST", "/addEvents", "", &lines(0..4)).unwrap();
    assert!(receiver.wait_until(SOON, |state| state.counts().events == 4));
    receiver.clear_faults();
    assert_eq!(client.answer().unwrap().says(), "success");
    let started = Instant::now();
    receiver.fault(Fault::delayed(Duration::from_millis(80)));
    client.post(&lines(4..5)).unwrap();
    assert!(started.elapsed() >= Duration::from_millis(80));
}

#[test]
fn bodies_above_a_size_are_too_large_until_cleared() {
    let receiver = start();
    receiver.fault(Fault::too_large_above(1000));
    let mut client = Client::new(&receiver);
    let large = lines(0..100);
    for _ in 0..2 {
        let refused = client.post(&large).unwrap().says();
        assert_eq!(refused, "error/client/requestTooLarge");
    }
    assert_eq!(client.post(&lines(0..1)).unwrap().says(), "success");
    receiver.clear_faults();
    assert_eq!(client.post(&large).unwrap().says(), "success");
    assert_eq!(receiver.counts().events, 100);
}

#[test]
fn down_refuses_connections_and_up_serves_on_the_same_port() {
    let receiver = start();
    let port = receiver.port();
    let mut client = Client::new(&receiver);
    client.post(&lines(0..1)).unwrap();
    for _ in 0..20 {
        receiver.down();
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
        assert!(client.post(&lines(0..1)).is_err());
        receiver.up().unwrap();
        client = Client::new(&receiver);
        client.post(&lines(0..2)).unwrap();
    }
    assert_eq!(receiver.port(), port);
    assert_eq!(receiver.counts().events, 2);
    drop(receiver);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[test]
fn a_body_that_is_damaged_is_refused_and_counted() {
    let receiver = Receiver::start(Options {
        tokens: vec!["k".into()],
        request_limit: 2000,
        ..Options::default()
    })
    .unwrap();
    let mut client = Client::new(&receiver);
    let whole = miniz_oxide::deflate::compress_to_vec_zlib(&lines(0..9), 6);
    let mut lz4 = lz4_flex::frame::FrameEncoder::with_frame_info(
        lz4_flex::frame::FrameInfo::new()
            .block_mode(lz4_flex::frame::BlockMode::Independent)
            .content_size(Some(lines(0..9).len() as u64)),
        Vec::new(),
    );
    lz4.write_all(&lines(0..9)).unwrap();
    let lz4 = lz4.finish().unwrap();
    let linked = {
        let mut frame = lz4.clone();
        frame[4] &= !0x20;
        frame
    };
    let mut bz2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best());
    bz2.write_all(&lines(0..9)).unwrap();
    let bz2 = bz2.finish().unwrap();
    // Four bytes stored in one block; the size of the content is in the byte after the flags
    let zstd = *b"\x28\xb5\x2f\xfd\x20\x04\x21\x00\x00ABCD";
    let unsized_zstd = *b"\x28\xb5\x2f\xfd\x00\x00\x21\x00\x00ABCD";
    let damaged: Vec<(&str, Vec<u8>)> = vec![
        ("", b"{".to_vec()),
        ("", b"".to_vec()),
        ("deflate", whole[..whole.len() - 5].to_vec()),
        ("deflate", b"hello".to_vec()),
        ("deflate", [whole.as_slice(), b"x"].concat()),
        ("bz2", bz2[..bz2.len() - 5].to_vec()),
        ("bz2", b"hello".to_vec()),
        ("bz2", b"".to_vec()),
        ("bz2", [bz2.as_slice(), b"x"].concat()),
        ("bz2", whole.clone()),
        ("lz4", lz4[..lz4.len() - 4].to_vec()),
        ("lz4", lz4[..lz4.len() - 20].to_vec()),
        ("lz4", lz4[..15].to_vec()),
        ("lz4", lz4[..9].to_vec()),
        ("lz4", b"".to_vec()),
        ("lz4", [lz4.as_slice(), b"x"].concat()),
        ("lz4", linked),
        ("zstandard", zstd.to_vec()), // whole, but not a request
        ("zstandard", zstd[..10].to_vec()),
        ("zstandard", [&zstd[..], b"x"].concat()),
        ("zstandard", unsized_zstd.to_vec()),
        ("zstandard", b"hello".to_vec()),
        ("zstandard", b"".to_vec()),
    ];
    let refused = damaged.len() as u64;
    for (encoding, body) in damaged {
        let headers = format!("Content-Encoding: {encoding}\r\n");
        client.send("POST", "/addEvents", &headers, &body).unwrap();
        let answer = client.answer().unwrap();
        assert_eq!(
            answer.says(),
            "error/client/badParam",
            "{encoding} {body:?}"
        );
        assert_eq!(answer.status, 400);
    }
    assert_eq!(receiver.counts().malformed, refused);
    assert!(receiver.requests().iter().all(|request| !request.decoded));

    for (status, headers, body) in [
        (415, "Content-Encoding: br\r\n", &b"{}"[..]),
        (401, "", b"{}"),
        (401, "", b"{token:\"x\",session:\"s\",events:[]}"),
        (400, "", b"{token:\"k\",events:[]}"),
        (400, "", b"{token:\"k\",session:\"s\"}"),
        (413, "", &lines(0..100)),
        (200, "", b"{token:\"k\",session:\"s\",events:[],threads:[]}"),
    ] {
        client.send("POST", "/addEvents", headers, body).unwrap();
        assert_eq!(client.answer().unwrap().status, status);
    }
    assert_eq!(receiver.counts().refused, 6);
    assert_eq!(receiver.counts().events, 0);
    // Streams that unpack to gigabytes
    let spaces = vec![b' '; 300 << 20];
    let deflated = miniz_oxide::deflate::compress_to_vec_zlib(&spaces, 1);
    // A frame of blocks that repeat a space 128 kB times
    let mut zstd = b"\x28\xb5\x2f\xfd\x80\x38".to_vec();
    zstd.extend((spaces.len() as u32).to_le_bytes());
    for left in (0..spaces.len() >> 17).rev() {
        let header = u32::from(left == 0) | 1 << 1 | 1 << 20;
        zstd.extend(&header.to_le_bytes()[..3]);
        zstd.push(b' ');
    }
    for (encoding, bomb) in [("deflate", deflated), ("zstandard", zstd)] {
        let headers = format!("Content-Encoding: {encoding}\r\n");
        client.send("POST", "/addEvents", &headers, &bomb).unwrap();
        assert_eq!(client.answer().unwrap().status, 400);
        let note = receiver.requests().pop().unwrap().note;
        assert!(note.contains("to too much"), "{note}");
    }
}

#[test]
fn a_client_that_asks_first_is_told_to_go_on() {
    let receiver = start();
    let mut client = Client::new(&receiver);
    let body = lines(0..1);
    let head = format!(
        "POST /addEvents HTTP/1.1\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        body.len()
    );
    client.stream.write_all(head.as_bytes()).unwrap();
    let mut go_on = [0; 25];
    client.stream.read_exact(&mut go_on).unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    client.stream.write_all(&body).unwrap();
    assert_eq!(client.answer().unwrap().says(), "success");
}

#[test]
fn counts_search_and_faults_work_over_http() {
    let receiver = Receiver::start(Options {
        numbered: true,
        ..Options::default()
    })
    .unwrap();
    let mut client = Client::new(&receiver);
    client.post(&lines(0..30)).unwrap();
    assert_eq!(client.get("/counts")["logs"]["/a.log"]["events"], 30);
    let found = client.get("/search?text=n%3D000002&attr=parser:p&limit=4&skip=1");
    assert_eq!(found["matches"], 10);
    assert_eq!(found["events"].as_array().unwrap().len(), 4);
    assert_eq!(found["events"][0]["message"], "n=0000021\n");
    assert_eq!(client.get("/search?attr=parser:q")["matches"], 0);
    let newest = client.get("/events?limit=2&path=/a*");
    assert_eq!(newest["events"][1]["message"], "n=0000029\n");
    let request = &client.get("/requests")[0];
    assert_eq!(
        (&request["events"], &request["answer"]),
        (&json!(30), &json!(200))
    );
    assert!(request.get("token").is_none());
    let ledger = client.get("/ledger?path=/a.log&to=32");
    assert_eq!(ledger["missing"], json!([[30, 32]]));
    assert!(client.get("/search?limit=x")["error"].is_string());
    assert!(client.get("/nothing")["error"].is_string());

    let faults = br#"[{"status":503,"retry_after":"1"}]"#;
    client.send("POST", "/control/fault", "", faults).unwrap();
    assert_eq!(client.answer().unwrap().status, 400);
    let faults = br#"[{"status":503,"headers":{"Retry-After":"1"},"times":2},{"json":"x"}]"#;
    client.send("POST", "/control/fault", "", faults).unwrap();
    assert_eq!(client.answer().unwrap().json()["waiting"], 2);
    assert_eq!(client.post(&lines(0..1)).unwrap().status, 503);
    client.send("POST", "/control/clear", "", b"").unwrap();
    assert_eq!(client.answer().unwrap().status, 200);
    assert_eq!(client.post(&lines(0..1)).unwrap().status, 200);

    client
        .send("POST", "/control/down?seconds=0.05", "", b"")
        .unwrap();
    assert_eq!(client.answer().unwrap().status, 200);
    assert!(client.answer().is_err(), "the connection is cut");
    let deadline = Instant::now() + SOON;
    while TcpStream::connect(("127.0.0.1", receiver.port())).is_err() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(receiver.counts().events, 30);
}

#[test]
fn numbers_that_are_missing_are_named() {
    let receiver = Receiver::start(Options {
        numbered: true,
        keep_events: 0,
        ..Options::default()
    })
    .unwrap();
    let mut client = Client::new(&receiver);
    client.post(&lines(0..10)).unwrap();
    client.post(&lines(12..20)).unwrap();
    let tally = receiver.with(|state| state.ledger().path("/a.log").unwrap().clone());
    assert_eq!(tally.missing(0..20), vec![10..12; 1]);
    client.post(&lines(10..12)).unwrap();
    receiver.with(|state| {
        let tally = state.ledger().path("/a.log").unwrap();
        tally.exactly_once(0..20).unwrap();
        assert_eq!(tally.backwards, 1);
        assert_eq!(state.counts().late, 2);
    });
}

#[test]
fn a_restarted_receiver_still_knows_what_it_has() {
    let folder = std::env::temp_dir().join(format!("receiver-test-{}", std::process::id()));
    let options = || Options {
        folder: Some(folder.clone()),
        ..Options::default()
    };
    let receiver = Receiver::start(options()).unwrap();
    Client::new(&receiver).post(&lines(0..10)).unwrap();
    drop(receiver);
    // Killed while it wrote
    let file = folder.join("events.jsonl");
    let mut text = std::fs::read(&file).unwrap();
    text.extend_from_slice(b"{\"at\":1,\"mess");
    std::fs::write(&file, text).unwrap();

    let receiver = Receiver::start(options()).unwrap();
    let mut client = Client::new(&receiver);
    client.post(&lines(5..15)).unwrap();
    let counts = receiver.counts();
    assert_eq!((counts.events, counts.duplicates), (15, 5));
    assert_eq!(client.get("/search?text=n%3D")["matches"], 15);

    let program = |args: &[&str]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_receiver"))
            .args(args)
            .output()
            .unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let place = folder.to_str().unwrap();
    for place in [place, &receiver.url()] {
        let counts: Value = serde_json::from_str(&program(&["count", place])).unwrap();
        assert_eq!(counts["logs"]["/a.log"]["events"], 15);
        let found = program(&["search", place, "--text", "n=0000014", "--attr", "parser=p"]);
        let found: Value = serde_json::from_str(&found).unwrap();
        assert_eq!(found["sn"], 150);
    }
    drop(receiver);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn two_receivers_do_not_write_into_one_folder() {
    let folder = std::env::temp_dir().join(format!("receiver-two-{}", std::process::id()));
    let options = || Options {
        folder: Some(folder.clone()),
        ..Options::default()
    };
    let first = Receiver::start(options()).unwrap();
    Client::new(&first).post(&lines(0..10)).unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_receiver"))
        .args(["serve", "--folder", folder.to_str().unwrap()])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(folder.to_str().unwrap()), "{said}");
    assert!(said.contains("another receiver"), "{said}");
    drop(first);
    drop(Receiver::start(options()).unwrap());
    std::fs::remove_dir_all(&folder).unwrap();
}
