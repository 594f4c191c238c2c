//! A server for tests: answers each request by a script, remembers what it got.

use crossbeam_channel::{unbounded, Receiver, RecvTimeoutError, Sender};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The server's reaction to a request.
#[derive(Debug, Clone)]
pub enum Step {
    /// Answers with a status line's end (`200 OK`), further headers and a body.
    Answer(&'static str, &'static str, &'static str),
    /// `Answer`, after a delay.
    Late(Duration),
    /// Answers success and then closes without saying so.
    SucceedAndClose,
    /// Closes without reading the request.
    CutBefore,
    /// Closes after having read it, by a reset.
    CutAfter,
    /// Never answers.
    Silence,
    /// Promises more bytes than it sends before it closes.
    Half,
    /// Sends 100 MB, or as much as is taken.
    Flood,
}

/// `{"status":"success"}` with HTTP 200.
pub const SUCCESS: Step = Step::Answer("200 OK", "", r#"{"status":"success"}"#);

/// A request as it arrived.
#[derive(Debug)]
pub struct Seen {
    /// Counts connections from 1.
    pub connection: u32,
    /// Request line and headers.
    pub head: String,
    /// The body, still compressed.
    pub body: Vec<u8>,
    /// When it had been read.
    pub at: Instant,
}

impl Seen {
    /// The body, decompressed if the headers say so.
    pub fn plain(&self) -> Vec<u8> {
        if self.header("content-encoding") == Some("deflate") {
            miniz_oxide::inflate::decompress_to_vec_zlib(&self.body).unwrap()
        } else {
            self.body.clone()
        }
    }

    /// The same as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.plain()).into_owned()
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

/// The server; listens as long as the process lives.
pub struct Server {
    /// Where.
    pub port: u16,
    requests: Receiver<Seen>,
}

impl Server {
    /// Plays `script`, one step a request (`CutBefore`: a connection), then succeeds for ever.
    pub fn start(script: &[Step]) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (tx, requests) = unbounded();
        let mut steps = script.to_vec();
        steps.reverse();
        let steps = Arc::new(Mutex::new(steps));
        std::thread::spawn(move || {
            for (n, stream) in (1..).zip(listener.incoming()) {
                let (tx, steps) = (tx.clone(), steps.clone());
                std::thread::spawn(move || serve(stream.unwrap(), n, &steps, &tx));
            }
        });
        Server { port, requests }
    }

    /// The next request, which must come within 20 s.
    pub fn next(&self) -> Seen {
        self.requests.recv_timeout(Duration::from_secs(20)).unwrap()
    }

    /// The next request if one comes within `time`.
    pub fn next_within(&self, time: Duration) -> Option<Seen> {
        match self.requests.recv_timeout(time) {
            Ok(seen) => Some(seen),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => panic!("the server died"),
        }
    }
}

fn serve(mut stream: TcpStream, connection: u32, steps: &Mutex<Vec<Step>>, tx: &Sender<Seen>) {
    stream.set_nodelay(true).unwrap();
    let mut buffer = Vec::new();
    loop {
        {
            let mut steps = steps.lock().unwrap();
            if matches!(steps.last(), Some(Step::CutBefore)) {
                steps.pop();
                return;
            }
        }
        let Some(seen) = read_request(&mut stream, &mut buffer, connection) else {
            return;
        };
        tx.send(seen).ok();
        let step = steps.lock().unwrap().pop().unwrap_or(SUCCESS);
        match step {
            Step::Answer(status, headers, body) => answer(&mut stream, status, headers, body),
            Step::Late(time) => {
                std::thread::sleep(time);
                answer(&mut stream, "200 OK", "", r#"{"status":"success"}"#);
            }
            Step::SucceedAndClose => {
                answer(&mut stream, "200 OK", "", r#"{"status":"success"}"#);
                return;
            }
            Step::CutBefore => return,
            Step::CutAfter => {
                stream.shutdown(Shutdown::Both).ok();
                return;
            }
            Step::Silence => {
                // until the client hangs up
                let mut byte = [0];
                while matches!(stream.read(&mut byte), Ok(1)) {}
                return;
            }
            Step::Half => {
                let _ = stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{\"status\":\"succ");
                return;
            }
            Step::Flood => {
                let length = 100_000_000;
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
                let piece = vec![b' '; 100_000];
                let mut alive = stream.write_all(head.as_bytes()).is_ok();
                for _ in 0..length / piece.len() {
                    alive = alive && stream.write_all(&piece).is_ok();
                }
                if !alive {
                    return;
                }
            }
        }
    }
}

fn answer(stream: &mut TcpStream, status: &str, headers: &str, body: &str) {
    let length = body.len();
    let text = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n{body}");
    stream.write_all(text.as_bytes()).ok();
}

fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>, connection: u32) -> Option<Seen> {
    let mut piece = [0u8; 65536];
    let mut more = |buffer: &mut Vec<u8>| match stream.read(&mut piece) {
        Ok(n) if n > 0 => {
            buffer.extend_from_slice(&piece[..n]);
            Some(())
        }
        _ => None,
    };
    let end = loop {
        if let Some(at) = memchr::memmem::find(buffer, b"\r\n\r\n") {
            break at + 4;
        }
        more(buffer)?;
    };
    let head = String::from_utf8(buffer[..end].to_vec()).unwrap();
    let mut seen = Seen {
        connection,
        head,
        body: Vec::new(),
        at: Instant::now(),
    };
    let length: usize = seen.header("content-length").unwrap().parse().unwrap();
    while buffer.len() < end + length {
        more(buffer)?;
    }
    let rest = buffer.split_off(end + length);
    seen.body = buffer.split_off(end);
    *buffer = rest;
    seen.at = Instant::now();
    Some(seen)
}
