//! RESP2, the protocol of Redis and Valkey: commands out, replies in.

use std::io::{self, Read};

/// Bytes that are asked of the connection at once.
const CHUNK: usize = 16 * 1024;
/// Bytes of a line: a status, a number or an error.
const LINE: usize = 4096;
/// Lists within lists; an entry of the slow log has two.
const DEPTH: usize = 4;
/// Values in one reply; an entry of the slow log has at most 38.
const VALUES: usize = 4096;

/// One reply of the server.
#[derive(Debug, PartialEq)]
pub enum Reply {
    /// A number.
    Int(i64),
    /// A status or a string.
    Text(Vec<u8>),
    /// The server refuses the command.
    Error(String),
    /// Replies in a list.
    List(Vec<Reply>),
    /// No value.
    Nil,
}

impl Reply {
    /// The bytes of a text; empty for everything else.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Reply::Text(text) => text,
            _ => &[],
        }
    }

    /// The number, if it is one.
    pub fn int(&self) -> Option<i64> {
        match self {
            Reply::Int(n) => Some(*n),
            _ => None,
        }
    }
}

/// Appends a command in the form that keeps every byte of its arguments.
pub fn command(out: &mut Vec<u8>, arguments: &[&[u8]]) {
    length(out, b'*', arguments.len());
    for argument in arguments {
        length(out, b'$', argument.len());
        out.extend_from_slice(argument);
        out.extend_from_slice(b"\r\n");
    }
}

fn length(out: &mut Vec<u8>, kind: u8, n: usize) {
    out.push(kind);
    out.extend_from_slice(n.to_string().as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// The first line of a reply.
enum Head {
    Int(i64),
    Status(Vec<u8>),
    Error(String),
    /// Bytes of a string.
    Bulk(usize),
    /// Replies in a list.
    List(usize),
    Nil,
}

/// Reads replies, at most so many bytes of them together.
pub struct Replies<'a> {
    link: &'a mut dyn Read,
    buffer: Vec<u8>,
    at: usize,
    left: usize,
}

impl<'a> Replies<'a> {
    /// Reads from `link`, at most `bytes` bytes in all.
    pub fn new(link: &'a mut dyn Read, bytes: usize) -> Self {
        Replies {
            link,
            buffer: Vec::new(),
            at: 0,
            left: bytes,
        }
    }

    /// Whether the server has sent more than was read: it then answers something else than what
    /// it was asked.
    pub fn has_more(&self) -> bool {
        self.at < self.buffer.len()
    }

    /// The next reply.
    ///
    /// # Errors
    /// The connection fails or ends, or what comes is no reply or too long.
    pub fn reply(&mut self) -> io::Result<Reply> {
        self.value(DEPTH, &mut VALUES.clone())
    }

    /// The beginning of a list whose replies are to be read one by one: how many they are, or the
    /// error that the server has in its place.
    ///
    /// # Errors
    /// As [`Replies::reply`].
    pub fn list(&mut self) -> io::Result<Result<usize, String>> {
        match self.head()? {
            Head::List(count) => Ok(Ok(count)),
            Head::Error(text) => Ok(Err(text)),
            _ => Err(broken("a list was expected")),
        }
    }

    fn value(&mut self, depth: usize, values: &mut usize) -> io::Result<Reply> {
        *values = values
            .checked_sub(1)
            .ok_or_else(|| broken("a reply has too many parts"))?;
        Ok(match self.head()? {
            Head::Int(n) => Reply::Int(n),
            Head::Status(text) => Reply::Text(text),
            Head::Error(text) => Reply::Error(text),
            Head::Nil => Reply::Nil,
            Head::Bulk(bytes) => Reply::Text(self.bulk(bytes)?),
            Head::List(count) => {
                let depth = depth
                    .checked_sub(1)
                    .ok_or_else(|| broken("lists lie too deep in each other"))?;
                let mut list = Vec::new();
                for _ in 0..count {
                    list.push(self.value(depth, values)?);
                }
                Reply::List(list)
            }
        })
    }

    fn head(&mut self) -> io::Result<Head> {
        let line = self.line()?;
        let (kind, rest) = line
            .split_first()
            .ok_or_else(|| broken("a line is empty"))?;
        Ok(match kind {
            b'+' => Head::Status(rest.to_vec()),
            b'-' => Head::Error(String::from_utf8_lossy(rest).into_owned()),
            b':' => Head::Int(number(rest)?),
            b'$' | b'*' => {
                let n = number(rest)?;
                match usize::try_from(n) {
                    _ if n == -1 => Head::Nil,
                    Err(_) => return Err(broken("a length is negative")),
                    // Even the shortest element has a byte; lists are read element by element
                    Ok(n) if n > self.left => return Err(too_long()),
                    Ok(n) if *kind == b'$' => Head::Bulk(n),
                    Ok(n) => Head::List(n),
                }
            }
            _ => return Err(broken("it does not speak the protocol of Redis")),
        })
    }

    /// The next line without its end.
    fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut seen = 0;
        loop {
            let rest = &self.buffer[self.at..];
            // A server that wants TLS answers a record of it; one for HTTP begins with its name
            if !matches!(rest.first(), None | Some(b'+' | b'-' | b':' | b'$' | b'*')) {
                return Err(broken(if rest[0] == 0x15 {
                    "it speaks TLS: set \"tls\" to \"verify\" or \"require\""
                } else {
                    "it does not speak the protocol of Redis"
                }));
            }
            if let Some(end) = memchr::memchr(b'\n', &rest[seen..]).map(|end| end + seen) {
                let line = rest[..end].strip_suffix(b"\r");
                let line = line.ok_or_else(|| broken("it does not speak the protocol of Redis"))?;
                let line = line.to_vec();
                self.take(end + 1)?;
                return Ok(line);
            }
            seen = rest.len();
            if seen > LINE {
                return Err(too_long());
            }
            self.fill()?;
        }
    }

    fn bulk(&mut self, bytes: usize) -> io::Result<Vec<u8>> {
        let mut text = Vec::with_capacity(bytes.min(CHUNK));
        while text.len() < bytes {
            if !self.has_more() {
                self.fill()?;
            }
            let part = (bytes - text.len()).min(self.buffer.len() - self.at);
            text.extend_from_slice(&self.buffer[self.at..self.at + part]);
            self.take(part)?;
        }
        while self.buffer.len() - self.at < 2 {
            self.fill()?;
        }
        if self.buffer[self.at..self.at + 2] != *b"\r\n" {
            return Err(broken("a string does not end where it should"));
        }
        self.take(2)?;
        Ok(text)
    }

    fn take(&mut self, bytes: usize) -> io::Result<()> {
        self.at += bytes;
        self.left = self.left.checked_sub(bytes).ok_or_else(too_long)?;
        Ok(())
    }

    /// Reads at least one byte more.
    fn fill(&mut self) -> io::Result<()> {
        self.buffer.drain(..self.at);
        self.at = 0;
        let held = self.buffer.len();
        self.buffer.resize(held + CHUNK, 0);
        let result = loop {
            match self.link.read(&mut self.buffer[held..]) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.buffer.truncate(held + *result.as_ref().unwrap_or(&0));
        match result? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

fn number(text: &[u8]) -> io::Result<i64> {
    std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| broken("a number was expected"))
}

fn broken(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn too_long() -> io::Error {
    broken("the answer is too long")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(bytes: &[u8]) -> Result<Reply, String> {
        let mut bytes = bytes;
        Replies::new(&mut bytes, 1 << 20)
            .reply()
            .map_err(|e| e.to_string())
    }

    /// Hands its bytes out one at a time.
    struct Drip<'a>(&'a [u8]);

    impl Read for Drip<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let n = self.0.len().min(1);
            out[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    #[test]
    fn replies_of_every_kind_are_read_even_byte_by_byte() {
        let bytes =
            b"+OK\r\n-ERR no\r\n:-7\r\n$-1\r\n*-1\r\n$4\r\na\r\nb\r\n*2\r\n:1\r\n*1\r\n$0\r\n\r\n";
        let mut drip = Drip(bytes);
        let mut replies = Replies::new(&mut drip, bytes.len());
        for expected in [
            Reply::Text(b"OK".to_vec()),
            Reply::Error("ERR no".to_owned()),
            Reply::Int(-7),
            Reply::Nil,
            Reply::Nil,
            Reply::Text(b"a\r\nb".to_vec()),
            Reply::List(vec![
                Reply::Int(1),
                Reply::List(vec![Reply::Text(Vec::new())]),
            ]),
        ] {
            assert_eq!(replies.reply().unwrap(), expected);
        }
        assert!(!replies.has_more());
        assert_eq!(
            replies.reply().unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
    }

    #[test]
    fn commands_keep_every_byte() {
        let mut out = Vec::new();
        command(&mut out, &[b"AUTH", b"a b\r\n\xff"]);
        assert_eq!(out, b"*2\r\n$4\r\nAUTH\r\n$6\r\na b\r\n\xff\r\n");
    }

    #[test]
    fn hostile_lengths_and_depths_are_refused_without_memory() {
        for (bytes, word) in [
            (&b"$9223372036854775807\r\n"[..], "too long"),
            (b"$99999999999999999999\r\n", "number"),
            (b"*2000000\r\n", "too long"),
            (b"$-2\r\n", "negative"),
            (b"$1\r\nabc", "end where"),
            (b"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n", "deep"),
            (b"HTTP/1.1 400 Bad Request\r\n", "protocol"),
            (b"\x15\x03\x03\0\x02\x02\x0a", "TLS"),
            (b"\r\n", "protocol"),
            (b":1\n", "protocol"),
        ] {
            let error = one(bytes).unwrap_err();
            assert!(error.contains(word), "{error}: {bytes:?}");
        }
        let long = [&b"+"[..], &[b'x'; 100_000]].concat();
        assert!(one(&long).unwrap_err().contains("too long"));
        let wide = [&b"*10000\r\n"[..], &b":1\r\n".repeat(10_000)].concat();
        assert!(one(&wide).unwrap_err().contains("parts"));
    }

    #[test]
    fn an_answer_of_100_mb_is_broken_off() {
        let mut endless = Read::chain(&b"$3000000\r\n"[..], io::repeat(b'x'));
        let error = Replies::new(&mut endless, 1 << 20).reply().unwrap_err();
        assert!(error.to_string().contains("too long"));
    }
}
