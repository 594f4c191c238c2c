//! One connection: its requests one after the other, and the way each is answered.

use crate::body::parse;
use crate::decode::{decode, MAX_BODY};
use crate::fault::Fault;
use crate::http::{Answer, Head, Input};
use crate::routes;
use crate::server::{now, Shared};
use crate::state::Request;
use crate::verdict::Unreadable;
use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a client may take none of an answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// One connection. The buffers live as long as it.
pub(crate) struct Connection<'a> {
    shared: &'a Arc<Shared>,
    stream: &'a TcpStream,
    input: Input<&'a TcpStream>,
    number: u64,
    wire: Vec<u8>,
    /// Scratch for undoing compression.
    decoded: Vec<u8>,
}

impl<'a> Connection<'a> {
    pub fn new(shared: &'a Arc<Shared>, stream: &'a TcpStream, number: u64) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
        Ok(Connection {
            shared,
            stream,
            input: Input::new(stream),
            number,
            wire: Vec::new(),
            decoded: Vec::new(),
        })
    }

    pub fn serve(mut self) -> io::Result<()> {
        while let Some(head) = self.input.head()? {
            let stay = match head {
                Err(why) => {
                    self.refuse(400, "error/client/badParam", why)?;
                    false
                }
                Ok(head) if head.path() == "/addEvents" => self.add_events(&head)?,
                Ok(head) => self.control(&head)?,
            };
            if !stay {
                break;
            }
        }
        Ok(())
    }

    /// Answers what has no whole body; the connection can't be used after.
    fn refuse(&mut self, http: u16, status: &str, message: &str) -> io::Result<()> {
        let mut state = self.shared.state();
        state.counts_mut().refused += 1;
        drop(state);
        self.shared.changed.notify_all();
        let mut answer = Answer::status(http, status, Some(message));
        answer.close = true;
        self.write(&answer.bytes())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Reads the request's body into `self.wire`; false if that was refused.
    fn read_body(&mut self, head: &Head) -> io::Result<bool> {
        const BAD: &str = "error/client/badParam";
        if head.header("Transfer-Encoding").is_some() {
            self.refuse(411, BAD, "Transfer-Encoding is not supported")?;
            return Ok(false);
        }
        let length = match head.header("Content-Length") {
            None if head.method == "GET" => Some(0),
            None => {
                self.refuse(411, BAD, "there is no Content-Length")?;
                return Ok(false);
            }
            Some(text) => text.parse::<usize>().ok(),
        };
        let Some(length) = length else {
            self.refuse(400, BAD, "Content-Length is not a number")?;
            return Ok(false);
        };
        if length > MAX_BODY {
            let status = "error/client/requestTooLarge";
            self.refuse(413, status, "the body is too large")?;
            return Ok(false);
        }
        let expects = head.header("Expect");
        if expects.is_some_and(|value| value.eq_ignore_ascii_case("100-continue")) {
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        self.input.body(length, &mut self.wire)?;
        Ok(true)
    }

    fn control(&mut self, head: &Head) -> io::Result<bool> {
        if !self.read_body(head)? {
            return Ok(false);
        }
        let mut answer = routes::answer(self.shared, head, &self.wire);
        answer.close = !head.keep_alive;
        self.write(&answer.bytes())?;
        Ok(head.keep_alive)
    }

    /// The way of a request. False when the connection is to be closed.
    fn add_events(&mut self, head: &Head) -> io::Result<bool> {
        let (unread, cleared) = {
            let mut state = self.shared.state();
            let unread = state.faults.take_unread(Instant::now());
            state.counts_mut().faulted += u64::from(unread.is_some());
            (unread, state.cleared)
        };
        if unread.is_some() {
            self.hold(cleared);
            return Ok(false);
        }
        if head.method != "POST" {
            let answer = Answer::status(405, "error/client/badParam", Some("use POST"));
            if self.read_body(head)? {
                self.write(&answer.bytes())?;
                return Ok(true);
            }
            return Ok(false);
        }
        if !self.read_body(head)? {
            return Ok(false);
        }
        let encoding = head.header("Content-Encoding").unwrap_or("");
        let mut request = Request {
            connection: self.number,
            at: now(),
            target: head.target.clone(),
            headers: head.headers.clone(),
            encoding: encoding.to_owned(),
            wire_bytes: self.wire.len(),
            ..Request::default()
        };
        let text = decode(encoding, &self.wire, &mut self.decoded);
        request.body_bytes = text.as_ref().map_or(0, |text| text.len());
        let body = text.and_then(|text| {
            let body = parse(text).map_err(|why| Unreadable::Body(why.to_string()))?;
            if self.shared.strict_json && !body.strict {
                return Err(Unreadable::Body("it is not strict JSON".to_owned()));
            }
            Ok(body)
        });
        let (fault, answer) = self.shared.settle(&mut request, body);
        self.shared.changed.notify_all();
        self.give(head, &fault.unwrap_or_default(), answer, cleared)
    }

    /// Gives the answer in the way that the fault wants.
    fn give(
        &mut self,
        head: &Head,
        fault: &Fault,
        mut answer: Answer,
        cleared: u64,
    ) -> io::Result<bool> {
        if fault.delay > 0.0 {
            let delay = Duration::try_from_secs_f64(fault.delay).unwrap_or_default();
            self.shared.pause(delay, cleared);
        }
        if fault.silence {
            self.hold(cleared);
            return Ok(false);
        }
        if fault.cut.is_some() {
            return Ok(false);
        }
        answer.close |= fault.close || !head.keep_alive;
        if let Some(length) = fault.huge {
            self.write_huge(&answer, length)?;
        } else if fault.half {
            let bytes = answer.bytes();
            self.write(&bytes[..bytes.len() - answer.body.len().div_ceil(2)])?;
            return Ok(false);
        } else if let Some(secs) = fault.drip {
            let secs = Duration::try_from_secs_f64(secs).unwrap_or_default();
            for byte in answer.bytes() {
                self.write(&[byte])?;
                self.shared.pause(secs, cleared);
                if self.shared.ended(cleared) {
                    return Ok(false);
                }
            }
        } else {
            self.write(&answer.bytes())?;
        }
        Ok(!answer.close && !fault.close_silently)
    }

    fn write_huge(&mut self, answer: &Answer, length: u64) -> io::Result<()> {
        self.write(&answer.head(length))?;
        let start = &b"{\"status\":\""[..];
        let piece = [b'x'; 64 * 1024];
        let mut left = length;
        for part in std::iter::once(start).chain(std::iter::repeat(&piece[..])) {
            let part = &part[..part.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
            self.write(part)?;
            left -= part.len() as u64;
            if left == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Says nothing until the faults are cleared, the receiver stops, or the client gives up.
    fn hold(&mut self, cleared: u64) {
        const LOOK: Duration = Duration::from_millis(50);
        let _ = self.stream.set_read_timeout(Some(LOOK));
        while !self.shared.ended(cleared) {
            match self.stream.peek(&mut [0]) {
                Ok(0) => return,
                // The client goes on sending; nobody reads it
                Ok(_) => self.shared.pause(LOOK, cleared),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock
                    | io::ErrorKind::TimedOut
                    | io::ErrorKind::Interrupted => {}
                    _ => return,
                },
            }
        }
    }
}
