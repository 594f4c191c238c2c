use super::*;
use crate::emitter::captured::{stopper, Lines};
use crate::testing::{capture, make};
use crate::Place;
use serde_json::json;
use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::AtomicU64;
use std::sync::Arc;
use std::thread::JoinHandle;

/// A server on ports of the kernel's choice.
struct Served {
    at: HashMap<&'static str, SocketAddr>,
    lines: Lines,
    text: String,
    counters: HashMap<&'static str, Arc<AtomicU64>>,
    stopper: Option<common::stop::Stopper>,
    thread: Option<JoinHandle<()>>,
}

const COUNTERS: [&str; 7] = [
    "bad_lines",
    "bad_pickles",
    "bad_pickle_lines",
    "requests_too_large",
    "incomplete_requests",
    "connections_timed_out",
    "connections_refused",
];

fn serve(limits: impl FnOnce(&mut Limits)) -> Served {
    let (mut out, lines) = capture("graphite_monitor()");
    let stopper = stopper(&mut out);
    let (tx, listening) = std::sync::mpsc::channel();
    let (ports, protocols) = listeners(&[(Protocol::Text, 0), (Protocol::Pickle, 0)], true, false);
    let mut graphite = Graphite {
        protocols,
        max_request: 102_400,
        complaints: Vec::new(),
        listening: Some(tx),
    };
    let mut own = Limits {
        connections: 8,
        buffered: 102_404,
        total: 1 << 20,
        idle: Some(Duration::from_secs(60)),
        incomplete: None,
        receive_buffer: None,
        root: PathBuf::from("/"),
        spare_from: net::spare_descriptors(),
    };
    limits(&mut own);
    let counters = COUNTERS.map(|name| (name, out.counter(name))).into();
    let thread = std::thread::spawn(move || {
        net::serve(&mut graphite, &ports, &own, &mut out).unwrap();
        out.flush();
    });
    let mut at = HashMap::new();
    while at.len() < 2 {
        let (protocol, address) = listening.recv().unwrap();
        let name = match protocol {
            Protocol::Text => "text",
            Protocol::Pickle => "pickle",
        };
        at.insert(name, address);
    }
    Served {
        at,
        lines,
        text: String::new(),
        counters,
        stopper: Some(stopper),
        thread: Some(thread),
    }
}

impl Served {
    fn connect(&self, protocol: &str) -> TcpStream {
        let stream = TcpStream::connect(self.at[protocol]).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        stream
    }

    fn send(&self, protocol: &str, bytes: &[u8]) -> TcpStream {
        let mut stream = self.connect(protocol);
        let _ = stream.write_all(bytes);
        stream
    }

    fn count(&self, name: &str) -> u64 {
        self.counters[name].load(Relaxed)
    }

    fn wait(&mut self, mut until: impl FnMut(&Served) -> bool) {
        let began = Instant::now();
        loop {
            let more = self.lines.take();
            self.text.push_str(&more);
            if until(self) {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "{}", self.text);
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits for so many lines; they come without stamp and tag.
    fn lines(&mut self, count: usize) -> Vec<String> {
        self.wait(|s| s.text.lines().count() >= count);
        let text = std::mem::take(&mut self.text);
        text.lines()
            .map(|line| {
                let line = line.strip_prefix("2022-04-15 11:11:08.015Z [graphite_monitor()] ");
                line.unwrap().to_owned()
            })
            .collect()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.stopper.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Whether the server has closed it.
fn is_closed(stream: &mut TcpStream) -> bool {
    // reset, where it had not read everything
    stream.read(&mut [0]).map_or(true, |n| n == 0)
}

fn framed(pickle: &[u8]) -> Vec<u8> {
    [&(pickle.len() as u32).to_be_bytes(), pickle].concat()
}

#[test]
fn plain_text_is_written_as_recorded() {
    let mut server = serve(|_| {});
    let _stream = server.send(
        "text",
        b"requests.500.host1 1.03 123456789\n\
          cpu.load 42 1700000000\r\n\
          too few\n\
          too many parts 1 2\n\
          not.a.number x 1700000000\n\
          not.utf8.\xff 1 1\n\
          \n\
          1bad.name 3 1700000000\n\
          name+plus 4 1700000000\n\
          nan.val nan 1700000000\n\
          neg -1e-7 1700000000\n\
          metric\t5  1700000000\n\
          tags;dc=us 5 1700000000\n\
          under 1_000 1_7\n\
          inf -inf 1700000000\n\
          no\xc2\xa0blank\x0b1 2\n",
    );
    assert_eq!(
        server.lines(11),
        [
            "requests.500.host1 1.03 orig_time=123456789.0",
            "cpu.load 42.0 orig_time=1700000000.0",
            "sa_1bad.name 3.0 orig_time=1700000000.0",
            "name_plus 4.0 orig_time=1700000000.0",
            "nan.val null orig_time=1700000000.0",
            "neg -1e-7 orig_time=1700000000.0",
            "metric_ 5.0 orig_time=1700000000.0",
            "tags_dc_us 5.0 orig_time=1700000000.0",
            "under 1000.0 orig_time=17.0",
            "inf null orig_time=1700000000.0",
            "no_blank 1.0 orig_time=2.0",
        ]
    );
    assert_eq!(server.count("bad_lines"), 4);
}

#[test]
fn pickles_of_every_protocol_become_lines() {
    let mut server = serve(|_| {});
    // [("pk.one", (1700000001, 7.5)), ("pk.two", (1700000002, 8))], a list in place of a tuple
    let two = b"\x80\x02]q\x00(X\x06\x00\x00\x00pk.oneq\x01J\x01\xf1SeG@\x1e\0\0\0\0\0\0\x86\x86]q\x02(X\x06\0\0\0pk.two]q\x03(J\x02\xf1SeK\x08eee.";
    let mut stream = server.connect("pickle");
    for byte in framed(two) {
        // in pieces, and the two parts of the length apart
        stream.write_all(&[byte]).unwrap();
    }
    stream
        .write_all(&[framed(two), framed(two)].concat())
        .unwrap();
    let lines = server.lines(6);
    let both = [
        "pk.one 7.5 orig_time=1700000001.0",
        "pk.two 8.0 orig_time=1700000002.0",
    ];
    let both: Vec<&str> = [both; 3].concat();
    assert_eq!(lines, both);
}

#[test]
fn metrics_in_a_tuple_and_points_with_more_than_two_parts_are_taken() {
    let mut server = serve(|_| {});
    // (("t", (1, 2)),) and [("x", (1, 2, 3))]
    let tuple = framed(b"\x80\x02U\x01tK\x01K\x02\x86\x86\x85.");
    let longer = framed(b"\x80\x02]U\x01xK\x01K\x02K\x03\x87\x86a.");
    let _stream = server.send("pickle", &[tuple, longer].concat());
    assert_eq!(
        server.lines(2),
        ["t 2.0 orig_time=1.0", "x 2.0 orig_time=1.0"]
    );
}

#[test]
fn a_bad_pickle_costs_a_message_and_the_next_is_read() {
    let mut server = serve(|_| {});
    let good = framed(b"(lp0\n(S'a'\n(I1\nS'2.5'\ntta.");
    let evil = framed(b"cposix\nsystem\n(S'touch /tmp/x'\ntR.");
    // the third element is wrong: the rest of that pickle is lost
    let half = framed(b"((S'b'\n(I1\nI2\nttN(S'c'\n(I1\nI2\nttl.");
    let stream = server.send("pickle", &[evil, half, framed(b""), good].concat());
    assert_eq!(
        server.lines(2),
        ["b 2.0 orig_time=1.0", "a 2.5 orig_time=1.0"]
    );
    assert_eq!(server.count("bad_pickles"), 2);
    assert_eq!(server.count("bad_pickle_lines"), 1);
    // what is no list at all ends the connection
    let mut stream = stream;
    stream.write_all(&framed(b"N.")).unwrap();
    assert!(is_closed(&mut stream));
}

#[test]
fn a_pickle_that_repeats_one_long_path_does_not_fill_the_disk() {
    let mut server = serve(|_| {});
    let mut bomb = b"\x80\x02](X\xa0\x0f\x00\x00".to_vec();
    bomb.extend_from_slice(&b"p".repeat(4000));
    bomb.extend_from_slice(b"K\x01K\x02\x86\x86q\x00");
    bomb.extend_from_slice(&b"h\x00".repeat(40_000));
    bomb.extend_from_slice(b"e.");
    let _stream = server.send("pickle", &framed(&bomb));
    server.wait(|s| s.count("bad_pickle_lines") == 1);
    let _after = server.send("text", b"after 1 2\n");
    server.wait(|s| s.text.contains("after 1.0"));
    assert!(server.text.len() < 20 * bomb.len(), "{}", server.text.len());
}

#[test]
fn an_endless_line_and_a_huge_length_end_the_connection() {
    let mut server = serve(|_| {});
    let mut text = server.send("text", &b"x".repeat(102_400));
    assert!(is_closed(&mut text));
    let mut whole = server.send("text", &[b"x".repeat(110_000), b"\n".to_vec()].concat());
    assert!(is_closed(&mut whole));
    let mut pickle = server.send("pickle", &102_401u32.to_be_bytes());
    assert!(is_closed(&mut pickle));
    server.wait(|s| s.count("requests_too_large") == 3);
    // just short of it
    let longest = [b"x".repeat(102_000), b" 1 2\n".to_vec()].concat();
    let _stream = server.send("text", &[longest, b"after 1 2\n".to_vec()].concat());
    // longer than a path may be
    server.wait(|s| s.text.contains("after 1.0"));
    assert_eq!(server.count("bad_lines"), 1);
}

#[test]
fn the_largest_pickle_is_taken_whole() {
    let mut server = serve(|_| {});
    let mut pickle = b"\x80\x02](X\x01\0\0\0aK\x01K\x02\x86\x86e0".to_vec();
    // filled up with text that is dropped again
    let fill = 102_400 - pickle.len() - 7 - 24;
    pickle.extend_from_slice(b"X");
    pickle.extend_from_slice(&(fill as u32).to_le_bytes());
    pickle.extend(b"f".repeat(fill));
    pickle.extend_from_slice(b"0](X\x01\0\0\0aK\x01K\x02\x86\x86e.");
    pickle.resize(102_400, b'.');
    let _stream = server.send("pickle", &framed(&pickle));
    assert_eq!(server.lines(1), ["a 2.0 orig_time=1.0"]);
}

#[test]
fn a_line_that_was_cut_off_is_no_metric() {
    let mut server = serve(|_| {});
    drop(server.send("text", b"whole 1 1700000000\ncut 42 17000"));
    drop(server.send("pickle", &[0, 0, 1]));
    server.wait(|s| s.count("incomplete_requests") == 2);
    assert_eq!(server.lines(1), ["whole 1.0 orig_time=1700000000.0"]);
}

#[test]
fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    // Long enough for the busy one to be so on a machine that stands still now and then
    let mut server = serve(|limits| limits.idle = Some(Duration::from_secs(3)));
    let mut idle = server.send("text", b"half a line");
    let mut busy = server.connect("text");
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(4500) {
        busy.write_all(b"a 1 2\n").unwrap();
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(is_closed(&mut idle));
    busy.write_all(b"last 1 2\n").unwrap();
    server.wait(|s| s.text.contains("last 1.0"));
    assert_eq!(server.count("connections_timed_out"), 1);
}

#[test]
fn many_clients_at_once_lose_nothing() {
    let mut server = serve(|limits| limits.connections = 200);
    let streams: Vec<_> = (0..100)
        .map(|n| {
            let mut stream = server.connect("text");
            for k in 0..20 {
                writeln!(stream, "m.{n}.{k} {k} 1").unwrap();
            }
            stream
        })
        .collect();
    let mut lines = server.lines(2000);
    lines.sort();
    lines.dedup();
    assert_eq!(lines.len(), 2000);
    drop(streams);
}

#[test]
fn a_metric_is_there_at_once() {
    let mut server = serve(|_| {});
    let mut stream = server.connect("text");
    let mut times: Vec<Duration> = (0..20)
        .map(|_| {
            let began = Instant::now();
            stream.write_all(b"a 1 2\n").unwrap();
            server.lines(1);
            began.elapsed()
        })
        .collect();
    times.sort();
    // the reference polls each 0.5 s
    assert!(times[10] < Duration::from_millis(250), "{times:?}");
}

#[test]
fn messages_about_bad_lines_come_once_a_minute() {
    let (mut out, _) = capture("graphite_monitor()");
    let mut graphite = Graphite {
        protocols: vec![Protocol::Text],
        max_request: 1000,
        complaints: Vec::new(),
        listening: None,
    };
    let peer = Peer {
        port: 0,
        address: SocketAddr::from(([127, 0, 0, 1], 1)),
    };
    let flood = b"bad\n".repeat(1000);
    let verdict = graphite.bytes(&peer, &mut (), &flood, Why::Data, &mut out);
    assert_eq!(verdict, Verdict::Taken(flood.len()));
    assert_eq!(out.counter("bad_lines").load(Relaxed), 1000);
    assert_eq!(graphite.complaints[0].unsaid, 999);
}

#[test]
fn a_port_in_use_is_retried_while_the_other_serves() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let (mut out, lines) = capture("graphite_monitor()");
    let stopper = stopper(&mut out);
    let not_bound = out.counter("ports_not_bound");
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = free.local_addr().unwrap().port();
    drop(free);
    let entry = json!({"plaintext_port": port, "pickle_port": other});
    let mut monitor = make(&DESCRIPTION, &entry, &Place::new("/", "/")).unwrap();
    let thread = std::thread::spawn(move || monitor.gather(&mut out).unwrap());
    let began = Instant::now();
    let wait = |mut done: Box<dyn FnMut() -> bool + '_>| {
        while !done() {
            assert!(began.elapsed() < Duration::from_secs(30));
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    wait(Box::new(|| {
        let mut stream = match TcpStream::connect(("127.0.0.1", other)) {
            Ok(stream) => stream,
            Err(_) => return false,
        };
        stream
            .write_all(&framed(b"(lp0\n(S'a'\n(I1\nI2\ntta."))
            .is_ok()
    }));
    let mut text = String::new();
    wait(Box::new(|| {
        text.push_str(&lines.take());
        text.contains("] a 2.0 ")
    }));
    assert_eq!(not_bound.load(Relaxed), 1);
    drop(taken);
    wait(Box::new(|| not_bound.load(Relaxed) == 0));
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(b"b 1 2\n").unwrap();
    wait(Box::new(|| {
        text.push_str(&lines.take());
        text.contains("] b 1.0 ")
    }));
    drop(stopper);
    thread.join().unwrap();
}

#[test]
fn strangers_are_not_listened_to_unless_that_is_wanted() {
    let both = [(Protocol::Text, 2003), (Protocol::Pickle, 2004)];
    let show = |local, ipv6| {
        let (ports, protocols) = listeners(&both, local, ipv6);
        assert_eq!(ports.len(), protocols.len());
        let shown = ports.iter().map(|port| port.address.to_string());
        shown.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(show(true, false), "127.0.0.1:2003 127.0.0.1:2004");
    assert_eq!(
        show(true, true),
        "127.0.0.1:2003 [::1]:2003 127.0.0.1:2004 [::1]:2004"
    );
    assert_eq!(show(false, true), "0.0.0.0:2003 0.0.0.0:2004");
}

#[test]
fn one_protocol_is_enough_and_none_is_refused() {
    let made = |entry| make(&DESCRIPTION, &entry, &Place::new("/", "/"));
    assert!(made(json!({})).is_ok());
    assert!(made(json!({"accept_pickle": false})).is_ok());
    assert!(made(json!({"accept_plaintext": false, "pickle_port": 2003})).is_ok());
    for entry in [
        json!({"accept_pickle": false, "accept_plaintext": false}),
        json!({"pickle_port": 2003}),
        json!({"plaintext_port": 0}),
        json!({"pickle_port": 65_536}),
        json!({"max_connection_idle_time": 0.5}),
        json!({"max_request_size": 999}),
        json!({"max_request_size": 102_401}),
        json!({"buffer_size": 10_239}),
        json!({"max_request_size": 50_000, "buffer_size": 40_000}),
    ] {
        assert!(made(entry.clone()).is_err(), "{entry}");
    }
}

#[test]
fn numbers_are_read_as_python_reads_them() {
    for (text, want) in [
        ("1_000", Some(1000.0)),
        ("+1.5e3", Some(1500.0)),
        (".5", Some(0.5)),
        ("Infinity", Some(f64::INFINITY)),
        ("1e999", Some(f64::INFINITY)),
        ("_1", None),
        ("1_", None),
        ("1__0", None),
        ("1_.0", None),
        ("0x10", None),
        ("", None),
    ] {
        assert_eq!(float(text), want, "{text}");
    }
    assert!(float("NaN").unwrap().is_nan());
}

/// Needs `python3` (Debian: python3).
#[test]
#[ignore = "needs python3"]
fn a_python_sender_is_understood() {
    let mut server = serve(|_| {});
    let script = format!(
        "import pickle, socket, struct\n\
         for p in range(pickle.HIGHEST_PROTOCOL + 1):\n\
         \x20   data = pickle.dumps([('py.%d' % p, (1700000000 + p, p / 2))], protocol=p)\n\
         \x20   s = socket.create_connection(('127.0.0.1', {}))\n\
         \x20   s.sendall(struct.pack('!L', len(data)) + data)\n\
         \x20   s.close()\n",
        server.at["pickle"].port()
    );
    let status = std::process::Command::new("python3")
        .args(["-c", &script])
        .status()
        .unwrap();
    assert!(status.success());
    let mut lines = server.lines(6);
    lines.sort();
    let want: Vec<String> = (0..6)
        .map(|p| {
            let value = f64::from(p) / 2.0;
            format!(
                "py.{p} {value:?} orig_time={:?}",
                1_700_000_000.0 + f64::from(p)
            )
        })
        .collect();
    assert_eq!(lines, want);
}

/// Needs `nc` (Debian: netcat-openbsd).
#[test]
#[ignore = "needs nc"]
fn nc_is_understood() {
    let mut server = serve(|_| {});
    let port = server.at["text"].port();
    let status = std::process::Command::new("sh")
        .args([
            "-c",
            &format!("echo 'nc.test 1.5 1700000000' | nc -w 5 -N 127.0.0.1 {port}"),
        ])
        .status()
        .unwrap();
    assert!(status.success());
    assert_eq!(server.lines(1), ["nc.test 1.5 orig_time=1700000000.0"]);
}
