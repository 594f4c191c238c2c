//! Packets of the MySQL protocol, and the answers to statements in its text form.
//!
//! The server decides how long everything is, so each length has a bound, and memory is taken only for
//! bytes that have come. Rows are handed on one by one; no result is ever whole in memory.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};

/// A packet has at most this many bytes. The text of InnoDB's state, by far the longest, has at most 1 MB.
const MOST_PACKET: usize = 2 << 20;
/// The answer to one statement has at most this many bytes: 100,000 threads in a process list are 15 MB.
const MOST_ANSWER: usize = 32 << 20;
/// A result has at most this many columns; the state of a replica has 60.
const MOST_COLUMNS: u64 = 512;
/// A result has at most this many rows, as many as a server can have threads.
const MOST_ROWS: usize = 100_000;
/// Bytes that are asked of the connection at once.
const CHUNK: usize = 16 * 1024;
/// Bytes of a column's name that are kept.
const NAME: usize = 100;
const OUT_OF_ORDER: &str = "a packet out of order";
/// Characters of an error's text that are kept.
const TEXT: usize = 500;

/// A connection.
pub(super) trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Fault {
    /// The connection failed.
    Io(io::Error),
    /// The server said something that the protocol does not have.
    Protocol(&'static str),
    /// The server refused: its number and its words.
    Server(u16, String),
    /// The agent refuses: what, and what to do.
    Refused(String),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Fault::Io(error)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Fault::Io(e) if e.kind() == ErrorKind::UnexpectedEof => {
                f.write_str("it closed the connection")
            }
            Fault::Io(e) if e.kind() == ErrorKind::TimedOut => {
                f.write_str("it did not answer in time (option timeout)")
            }
            Fault::Io(e) => write!(f, "{e}"),
            Fault::Protocol(what) => {
                write!(f, "what it sent is not of the MySQL protocol ({what})")
            }
            Fault::Server(code, text) => write!(f, "{code}: {text}"),
            Fault::Refused(text) => f.write_str(text),
        }
    }
}

impl Fault {
    /// Whether the time was up.
    pub(super) fn is_late(&self) -> bool {
        matches!(self, Fault::Io(error) if error.kind() == ErrorKind::TimedOut)
    }

    /// Whether the connection can't be used any more: anything but the refusal of one statement. With
    /// these numbers a server says that it shuts down, or that it has ended the connection.
    pub(super) fn ends_connection(&self) -> bool {
        match self {
            Fault::Server(code, _) => [1053, 1080, 1152, 1927, 3169, 4031].contains(code),
            _ => true,
        }
    }
}

/// A row: a cell is `None` where it is NULL.
pub(super) type Row<'a> = [Option<&'a [u8]>];

/// The packets of a connection, in both directions.
pub(super) struct Wire<'a> {
    stream: &'a mut dyn Stream,
    /// The number that the next packet has to bear, whoever sends it.
    sequence: u8,
    /// Bytes that were read ahead: `from..` is still to be used.
    ahead: Vec<u8>,
    from: usize,
    packet: Vec<u8>,
    /// Bytes that the answer may still have.
    left: usize,
}

impl<'a> Wire<'a> {
    /// Goes on at packet number `sequence`.
    pub(super) fn new(stream: &'a mut dyn Stream, sequence: u8) -> Wire<'a> {
        Wire {
            stream,
            sequence,
            ahead: Vec::new(),
            from: 0,
            packet: Vec::new(),
            left: MOST_ANSWER,
        }
    }

    /// Sends one packet.
    pub(super) fn send(&mut self, payload: &[u8]) -> Result<(), Fault> {
        if self.from < self.ahead.len() {
            return Err(Fault::Protocol("an answer without a question"));
        }
        let mut bytes = Vec::with_capacity(4 + payload.len());
        bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes()[..3]);
        bytes.push(self.sequence);
        bytes.extend_from_slice(payload);
        self.sequence = self.sequence.wrapping_add(1);
        self.stream.write_all(&bytes)?;
        self.stream.flush()?;
        Ok(())
    }

    /// Receives one packet, which is not empty.
    ///
    /// # Errors
    /// Also the error that the packet tells of.
    pub(super) fn receive(&mut self) -> Result<&[u8], Fault> {
        self.packet.clear();
        self.take(4)?;
        let [a, b, c, sequence] = self.packet[..] else {
            return Err(Fault::Protocol("no header"));
        };
        let length = u32::from_le_bytes([a, b, c, 0]) as usize;
        // A server that ends the connection says so in a packet of number 0, unasked
        let in_order = sequence == self.sequence;
        if !in_order && sequence != 0 {
            return Err(Fault::Protocol(OUT_OF_ORDER));
        }
        if length > MOST_PACKET || length > self.left {
            return Err(Fault::Protocol("too much of it"));
        }
        self.left -= length;
        self.sequence = sequence.wrapping_add(1);
        self.packet.clear();
        self.take(length)?;
        match self.packet.first() {
            None => Err(Fault::Protocol("an empty packet")),
            Some(0xFF) => Err(refusal(&self.packet[1..])),
            Some(_) if !in_order => Err(Fault::Protocol(OUT_OF_ORDER)),
            Some(_) => Ok(&self.packet),
        }
    }

    /// Appends this number of the connection's bytes to `packet`.
    fn take(&mut self, mut bytes: usize) -> Result<(), Fault> {
        while bytes > 0 {
            if self.from == self.ahead.len() {
                self.ahead.resize(CHUNK, 0);
                self.from = 0;
                let read = self.stream.read(&mut self.ahead);
                self.ahead.truncate(*read.as_ref().unwrap_or(&0));
                match read {
                    Ok(0) => return Err(Fault::Io(ErrorKind::UnexpectedEof.into())),
                    Err(e) if e.kind() != ErrorKind::Interrupted => return Err(Fault::Io(e)),
                    _ => continue,
                }
            }
            let part = bytes.min(self.ahead.len() - self.from);
            let end = self.from + part;
            self.packet.extend_from_slice(&self.ahead[self.from..end]);
            self.from = end;
            bytes -= part;
        }
        Ok(())
    }

    /// Has a statement done. Each row of its result goes to `row`, with the names of the columns.
    ///
    /// # Errors
    /// After [`Fault::Server`] the connection can be used for the next statement, otherwise it can't.
    pub(super) fn query(
        &mut self,
        statement: &str,
        row: &mut dyn FnMut(&[String], &Row),
    ) -> Result<(), Fault> {
        self.sequence = 0;
        self.left = MOST_ANSWER;
        let mut payload = vec![3];
        payload.extend_from_slice(statement.as_bytes());
        self.send(&payload)?;
        let first = self.receive()?;
        let columns = match first[0] {
            0 => return Ok(()),
            0xFB => return Err(Fault::Protocol("it asks for a file")),
            _ => Bytes(first).number(),
        };
        let columns = columns
            .filter(|n| (1..=MOST_COLUMNS).contains(n))
            .ok_or(Fault::Protocol("a wrong number of columns"))?;
        let mut names = Vec::new();
        for _ in 0..columns {
            let mut definition = Bytes(self.receive()?);
            // Before it: catalog, schema, and both names of the table
            let name = (0..5).map(|_| definition.text()).last().flatten();
            let name = name.ok_or(Fault::Protocol("a broken column"))?;
            let name = &name[..name.len().min(NAME)];
            names.push(String::from_utf8_lossy(name).into_owned());
        }
        if !is_end(self.receive()?) {
            return Err(Fault::Protocol("more columns than it said"));
        }
        for _ in 0..=MOST_ROWS {
            let packet = self.receive()?;
            if is_end(packet) {
                return Ok(());
            }
            let mut bytes = Bytes(packet);
            let mut cells = Vec::with_capacity(names.len());
            for _ in 0..names.len() {
                let cell = bytes.cell().ok_or(Fault::Protocol("a broken row"))?;
                cells.push(cell);
            }
            row(&names, &cells);
        }
        Err(Fault::Protocol("too many rows"))
    }
}

/// The packet that ends columns or rows.
fn is_end(packet: &[u8]) -> bool {
    packet[0] == 0xFE && packet.len() < 9
}

/// The error of a packet, without its first byte.
fn refusal(packet: &[u8]) -> Fault {
    let mut bytes = Bytes(packet);
    let Some(code) = bytes.take(2) else {
        return Fault::Protocol("an error without a number");
    };
    let code = u16::from_le_bytes([code[0], code[1]]);
    // A server that does not know its client yet says no state
    let text = match bytes.0 {
        [b'#', _, _, _, _, _, text @ ..] => text,
        text => text,
    };
    let text: String = String::from_utf8_lossy(text)
        .chars()
        .take(TEXT)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    Fault::Server(code, text)
}

/// Reads the parts of a packet from its beginning; `None` where it has no more of them.
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    /// The next bytes, of this number.
    pub(super) fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (part, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(part)
    }

    /// The bytes before the next zero, or all that there are.
    pub(super) fn until_zero(&mut self) -> &'a [u8] {
        let end = self.0.iter().position(|&b| b == 0);
        let text = &self.0[..end.unwrap_or(self.0.len())];
        self.0 = &self.0[end.map_or(self.0.len(), |end| end + 1)..];
        text
    }

    /// A number that says its own length.
    pub(super) fn number(&mut self) -> Option<u64> {
        let bytes = match self.take(1)?[0] {
            small @ ..=0xFA => return Some(u64::from(small)),
            0xFC => 2,
            0xFD => 3,
            0xFE => 8,
            _ => return None,
        };
        let digits = self.take(bytes)?.iter().rev();
        Some(digits.fold(0, |n, &b| n << 8 | u64::from(b)))
    }

    /// Bytes behind their length.
    pub(super) fn text(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        self.take(length)
    }

    /// The same, or NULL.
    fn cell(&mut self) -> Option<Option<&'a [u8]>> {
        if self.0.first() == Some(&0xFB) {
            self.take(1)?;
            return Some(None);
        }
        self.text().map(Some)
    }
}
