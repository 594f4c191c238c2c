//! As much of HTTP/1.1 as a receiver needs.

use std::io::{self, Read, Write};
use std::time::{SystemTime, UNIX_EPOCH};

/// Bytes of a request's head.
const MAX_HEAD: usize = 64 * 1024;
/// Headers of a request.
const MAX_HEADERS: usize = 100;

/// A request's first lines.
#[derive(Debug, Clone, Default)]
pub(crate) struct Head {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    /// Whether the connection stays open after the answer.
    pub keep_alive: bool,
}

/// The value of a header, whatever the case of its name.
pub(crate) fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
}

impl Head {
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// The target without its query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or("")
    }

    /// Names and values of the query, decoded.
    pub fn query(&self) -> Vec<(String, String)> {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        let parts = query.split('&').filter(|part| !part.is_empty());
        parts
            .map(|part| {
                let (key, value) = part.split_once('=').unwrap_or((part, ""));
                (decode(key), decode(value))
            })
            .collect()
    }
}

fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let digit = |i: usize| bytes.get(i).and_then(|b| char::from(*b).to_digit(16));
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 2;
            }
            (b'+', ..) => out.push(b' '),
            _ => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Encodes a query's name or value.
pub(crate) fn encode(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// The reading side of a connection. The buffer keeps its memory from request to request.
pub(crate) struct Input<R> {
    stream: R,
    buffer: Vec<u8>,
    from: usize,
}

impl<R: Read> Input<R> {
    pub fn new(stream: R) -> Self {
        Input {
            stream,
            buffer: Vec::new(),
            from: 0,
        }
    }

    fn fill(&mut self) -> io::Result<usize> {
        if self.from > 0 {
            self.buffer.drain(..self.from);
            self.from = 0;
        }
        let old = self.buffer.len();
        self.buffer.resize(old + 16 * 1024, 0);
        let got = self.stream.read(&mut self.buffer[old..]);
        self.buffer.truncate(old + *got.as_ref().unwrap_or(&0));
        got
    }

    /// The next request's head; none at the end of the connection. The inner error is what to
    /// answer with 400.
    pub fn head(&mut self) -> io::Result<Option<Result<Head, &'static str>>> {
        let mut looked = 0;
        loop {
            let text = &self.buffer[self.from..];
            if let Some(at) = text[looked..].windows(4).position(|w| w == b"\r\n\r\n") {
                let length = looked + at + 4;
                let head = parse_head(&text[..length]);
                self.from += length;
                return Ok(Some(head));
            }
            looked = text.len().saturating_sub(3);
            if text.len() > MAX_HEAD {
                return Ok(Some(Err("the request's head is too long")));
            }
            match self.fill() {
                Ok(0) => return Ok(None),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads a body of `length` bytes into `body`.
    pub fn body(&mut self, length: usize, body: &mut Vec<u8>) -> io::Result<()> {
        body.clear();
        let ready = (self.buffer.len() - self.from).min(length);
        body.extend_from_slice(&self.buffer[self.from..self.from + ready]);
        self.from += ready;
        // Grows with what really comes, not with what is announced
        let mut rest = (&mut self.stream).take((length - ready) as u64);
        rest.read_to_end(body)?;
        if body.len() < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}

fn parse_head(text: &[u8]) -> Result<Head, &'static str> {
    let text = std::str::from_utf8(text).map_err(|_| "the request's head is not UTF-8")?;
    let mut lines = text.split("\r\n");
    let mut first = lines.next().unwrap_or("").split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (first.next(), first.next(), first.next(), first.next())
    else {
        return Err("the request line is broken");
    };
    let mut head = Head {
        method: method.to_owned(),
        target: target.to_owned(),
        headers: Vec::new(),
        keep_alive: version == "HTTP/1.1",
    };
    if !matches!(version, "HTTP/1.1" | "HTTP/1.0") {
        return Err("the HTTP version is unknown");
    }
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').ok_or("a header has no colon")?;
        if head.headers.len() >= MAX_HEADERS {
            return Err("there are too many headers");
        }
        head.headers
            .push((name.to_owned(), value.trim().to_owned()));
    }
    if let Some(connection) = head.header("Connection") {
        if connection.eq_ignore_ascii_case("close") {
            head.keep_alive = false;
        } else if connection.eq_ignore_ascii_case("keep-alive") {
            head.keep_alive = true;
        }
    }
    Ok(head)
}

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub status: u16,
    pub content_type: &'static str,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Says `Connection: close`.
    pub close: bool,
}

impl Answer {
    /// `{"status": ..., "message": ...}` as the service answers.
    pub fn status(http: u16, status: &str, message: Option<&str>) -> Answer {
        let mut body = serde_json::Map::new();
        body.insert("status".into(), status.into());
        if let Some(message) = message {
            body.insert("message".into(), message.into());
        }
        Answer::json(http, &serde_json::Value::Object(body))
    }

    pub fn json(http: u16, value: &impl serde::Serialize) -> Answer {
        Answer {
            status: http,
            content_type: "application/json",
            headers: Vec::new(),
            // Own types with string keys, so it can't fail
            body: serde_json::to_vec(value).unwrap_or_default(),
            close: false,
        }
    }

    /// Head and `Content-Length` for a body of `length` bytes.
    pub fn head(&self, length: u64) -> Vec<u8> {
        let mut out = Vec::with_capacity(256 + self.body.len());
        let connection = if self.close { "close" } else { "keep-alive" };
        // Writing to memory can't fail
        let _ = write!(
            out,
            "HTTP/1.1 {} {}\r\nServer: receiver\r\nDate: {}\r\nContent-Type: {}\r\n\
             Content-Length: {length}\r\nConnection: {connection}\r\n",
            self.status,
            reason(self.status),
            http_date(SystemTime::now()),
            self.content_type,
        );
        if self.status == 200 {
            out.extend_from_slice(b"Cache-Control: no-cache\r\n");
        }
        for (name, value) in &self.headers {
            let _ = write!(out, "{name}: {value}\r\n");
        }
        out.extend_from_slice(b"\r\n");
        out
    }

    /// The whole answer, to be written at once.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = self.head(self.body.len() as u64);
        out.extend_from_slice(&self.body);
        out
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        411 => "Length Required",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Status",
    }
}

/// A moment as HTTP writes it, `Sun, 06 Nov 1994 08:49:37 GMT`: for `Date` and `Retry-After`.
pub fn http_date(at: SystemTime) -> String {
    let secs = at.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let (days, time) = (secs / 86_400, secs % 86_400);
    // Days to a date by 400-year eras that begin on March 1st, so that leap days come last.
    let z = days + 719_468;
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    format!(
        "{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT",
        DAYS[(days % 7) as usize],
        doy - (153 * mp + 2) / 5 + 1,
        MONTHS[(month - 1) as usize],
        yoe + era * 400 + u64::from(month <= 2),
        time / 3600,
        time / 60 % 60,
        time % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn dates_are_those_of_the_standard() {
        let date = |secs| http_date(UNIX_EPOCH + Duration::from_secs(secs));
        assert_eq!(date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(date(951_782_400), "Tue, 29 Feb 2000 00:00:00 GMT");
    }

    #[test]
    fn a_head_that_arrives_byte_by_byte_is_read() {
        struct Drops<'a>(&'a [u8]);
        impl Read for Drops<'_> {
            fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
                let (Some((&first, rest)), Some(place)) = (self.0.split_first(), out.first_mut())
                else {
                    return Ok(0);
                };
                *place = first;
                self.0 = rest;
                Ok(1)
            }
        }
        let text =
            b"POST /a?x=%20y+z&q HTTP/1.1\r\nContent-length: 3\r\n\r\nabcGET / HTTP/1.0\r\n\r\n";
        let mut input = Input::new(Drops(text));
        let head = input.head().unwrap().unwrap().unwrap();
        assert_eq!((head.method.as_str(), head.path()), ("POST", "/a"));
        let query = [("x".into(), " y z".into()), ("q".into(), String::new())];
        assert_eq!(head.query(), query);
        assert_eq!(head.header("Content-Length"), Some("3"));
        let mut body = Vec::new();
        input.body(3, &mut body).unwrap();
        assert_eq!(body, b"abc");
        let head = input.head().unwrap().unwrap().unwrap();
        assert!(!head.keep_alive);
        assert!(input.head().unwrap().is_none());
    }

    #[test]
    fn a_broken_head_is_an_answer_and_not_a_panic() {
        let heads: [&[u8]; 6] = [
            b"\r\n\r\n",
            b"GET /\r\n\r\n",
            b"GET / HTTP/2\r\n\r\n",
            b"GET / HTTP/1.1\r\nnocolon\r\n\r\n",
            b"GET / HTTP/1.1\r\na: \xff\r\n\r\n",
            &[b'a'; MAX_HEAD + 1],
        ];
        for text in heads {
            assert!(Input::new(text).head().unwrap().unwrap().is_err());
        }
    }

    #[test]
    fn what_is_encoded_decodes() {
        let text = "a b&c=d+é%/\n";
        assert_eq!(decode(&encode(text)), text);
    }
}
