//! From bytes to lines in files: the three parsers, and the way of each message.

use super::files::{FileId, Files};
use super::framing::{self, Piece, Position, Rest, Rules};
use super::header::{self, Header};
use super::template::{Template, Values, Variable};
use crate::net::{Peer, Port, Service, Transport, Verdict, Why};
use crate::Emitter;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::Arc;
use std::time::{Duration, Instant};

const FIVE_MINUTES: Duration = Duration::from_secs(300);
const TEN_MINUTES: Duration = Duration::from_secs(600);

/// `tcp_request_parser`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parser {
    /// A message is trimmed on both sides.
    Default,
    /// The messages of a read are trimmed together; the delimiter is free.
    Batch,
    /// Bytes as they come, in whole lines.
    Raw,
}

/// The options that [`Server`] needs.
#[derive(Debug, Clone)]
pub struct Setting {
    /// See there.
    pub parser: Parser,
    /// How TCP streams are cut.
    pub rules: Rules,
    /// `message_log_template`
    pub template: Option<Template>,
    /// Headers as the Python agent read them.
    pub strict: bool,
    /// Attributes only from what the template contains.
    pub only_in_template: bool,
}

/// The state of a connection.
#[derive(Debug, Default)]
pub struct Stream {
    position: Position,
    /// Where the message went of which a piece is still to come.
    file: Option<FileId>,
    /// With `raw`: bytes in which there is no newline.
    scanned: usize,
}

/// Gives each message to its file.
pub struct Server {
    setting: Setting,
    sorter: Sorter,
    /// For tests: where it listens.
    pub listening: Option<crossbeam_channel::Sender<(usize, SocketAddr)>>,
}

struct Sorter {
    files: Files,
    template: Option<Template>,
    needs_header: bool,
    strict: bool,
    /// Attributes whose variable the template contains; `None` for all.
    only: Option<Vec<&'static str>>,
    ports: Vec<(&'static str, String)>,
    /// The sender last seen, as text.
    sender: Option<IpAddr>,
    sender_text: String,
    name: String,
    tally: Tally,
    count: Counters,
}

/// Counted since the last tick.
#[derive(Debug, Default)]
struct Tally {
    messages: u64,
    malformed: u64,
    truncated: u64,
    incomplete: u64,
    headerless: u64,
}

struct Counters {
    messages: Arc<AtomicU64>,
    malformed: Arc<AtomicU64>,
    truncated: Arc<AtomicU64>,
    incomplete: Arc<AtomicU64>,
    headerless: Option<Arc<AtomicU64>>,
}

impl Server {
    /// Serves `ports` into `files`.
    pub fn new(setting: Setting, ports: &[Port], files: Files, out: &Emitter) -> Server {
        let template = setting.template.clone();
        let has = |variable| template.as_ref().is_some_and(|t| t.has(variable));
        let names = [
            ("proto", Variable::Proto),
            ("srcip", Variable::SrcIp),
            ("destport", Variable::DestPort),
            ("hostname", Variable::Hostname),
            ("appname", Variable::AppName),
        ];
        let only = setting.only_in_template.then(|| {
            let names = names.into_iter().filter(|(_, variable)| has(*variable));
            names.map(|(name, _)| name).collect()
        });
        Server {
            sorter: Sorter {
                files,
                // Host and program may be attributes even if they are not in the name.
                needs_header: template.is_some()
                    && (!setting.only_in_template
                        || has(Variable::Hostname)
                        || has(Variable::AppName)),
                strict: setting.strict,
                only,
                ports: ports
                    .iter()
                    .map(|port| {
                        let proto = match port.transport {
                            Transport::Tcp => "tcp",
                            Transport::Udp => "udp",
                        };
                        (proto, port.address.port().to_string())
                    })
                    .collect(),
                sender: None,
                sender_text: String::new(),
                name: String::new(),
                tally: Tally::default(),
                count: Counters {
                    messages: out.counter("messages"),
                    malformed: out.counter("messages_malformed"),
                    truncated: out.counter("messages_truncated"),
                    incomplete: out.counter("messages_incomplete"),
                    headerless: template
                        .is_some()
                        .then(|| out.counter("messages_without_header")),
                },
                template,
            },
            setting,
            listening: None,
        }
    }

    /// Writes everything that is held back.
    pub fn close(&mut self, out: &mut Emitter) {
        self.sorter.count();
        self.sorter.files.close(out);
    }

    fn raw(
        &mut self,
        peer: &Peer,
        stream: &mut Stream,
        bytes: &[u8],
        rest: Rest,
        out: &mut Emitter,
    ) -> usize {
        let from = stream.scanned.min(bytes.len());
        let end = match memchr::memrchr(b'\n', &bytes[from..]) {
            _ if rest == Rest::Take => bytes.len(),
            Some(end) => from + end + 1,
            None if bytes.len() > self.setting.rules.limit => bytes.len(),
            None => 0,
        };
        stream.scanned = bytes.len() - end;
        let now = Instant::now();
        let sorter = &mut self.sorter;
        if sorter.template.is_none() {
            if end > 0 {
                sorter.files.put_raw(FileId::BASE, &bytes[..end], now, out);
                sorter.tally.messages +=
                    memchr::memchr_iter(b'\n', &bytes[..end]).count().max(1) as u64;
            }
            return end;
        }
        for line in bytes[..end].split_inclusive(|&b| b == b'\n') {
            let file = sorter.sort(peer, line, now, out);
            sorter.files.put_raw(file, line, now, out);
            sorter.tally.messages += 1;
        }
        end
    }
}

impl Service for Server {
    type State = Stream;

    fn bytes(
        &mut self,
        peer: &Peer,
        stream: &mut Stream,
        bytes: &[u8],
        why: Why,
        out: &mut Emitter,
    ) -> Verdict {
        let rest = match (why, self.setting.parser) {
            (Why::Data, _) => Rest::Wait,
            // Only a count without a priority behind it, or a NUL at the end, can be settled by time.
            (Why::Late, Parser::Default) => Rest::Settle,
            _ => Rest::Take,
        };
        if self.setting.parser == Parser::Raw {
            return Verdict::Taken(self.raw(peer, stream, bytes, rest, out));
        }
        let now = Instant::now();
        let sorter = &mut self.sorter;
        let batch = self.setting.parser == Parser::Batch;
        let Stream { position, file, .. } = stream;
        // The message before in a batch, which ends at its text's end if no other follows, and how
        // many empty ones came after it.
        let mut before: Option<(FileId, &[u8])> = None;
        let mut blank = 0u64;
        let taken = framing::cut(&self.setting.rules, position, bytes, rest, |piece| {
            let text = match batch {
                // A line end of its own is the end of its line.
                true if piece.ends => piece.text.strip_suffix(b"\n").unwrap_or(piece.text),
                true => piece.text,
                false => trim(&piece),
            };
            sorter.tally.messages += u64::from(piece.begins);
            sorter.tally.malformed += u64::from(piece.malformed && piece.begins);
            sorter.tally.truncated += u64::from(piece.begins && !piece.ends);
            if batch && trim_start(text).is_empty() {
                // None are written at either end of a batch.
                blank += u64::from(before.is_some());
                return;
            }
            let to = match *file {
                Some(file) if !piece.begins => file,
                _ => sorter.sort(peer, text, now, out),
            };
            *file = (!piece.ends).then_some(to);
            if !batch {
                // Nothing but a line end may be left of a message that was cut.
                if piece.begins || !text.is_empty() {
                    sorter.files.put(to, text, now, out);
                }
                return;
            }
            match before.replace((to, text)) {
                None => before = Some((to, trim_start(text))),
                Some((to, text)) => {
                    sorter.files.put(to, text, now, out);
                    for _ in 0..std::mem::take(&mut blank) {
                        sorter.files.put(to, b"", now, out);
                    }
                }
            }
        });
        if let Some((to, text)) = before {
            sorter.files.put(to, trim_end(text), now, out);
        }
        match why {
            Why::Late | Why::Full if taken > 0 && rest == Rest::Take => {
                sorter.tally.incomplete += 1;
                if out.once_in(FIVE_MINUTES, "incomplete") {
                    out.warn(format_args!(
                        "{} sent {taken} bytes without completing a message in time; they are written as they are. Further ones are counted in the status as messages_incomplete; see tcp_message_delimiter and tcp_incomplete_frame_timeout.",
                        peer.address
                    ));
                }
            }
            _ => {}
        }
        if sorter.tally.truncated > 0 && out.once_in(FIVE_MINUTES, "truncated") {
            out.warn(format_args!(
                "{} sent a message of more than {} bytes, which is written in pieces. Further ones are counted in the status as messages_truncated; see tcp_buffer_size and message_size_can_exceed_tcp_buffer.",
                peer.address, self.setting.rules.limit
            ));
        }
        if sorter.tally.malformed > 0 && out.once_in(TEN_MINUTES, "malformed") {
            out.warn(format_args!(
                "{} sent something that is not framed as it should be; it is written up to the next line break. Further ones are counted in the status as messages_malformed; see tcp_framing.",
                peer.address
            ));
        }
        Verdict::Taken(taken)
    }

    fn datagram(&mut self, peer: &Peer, bytes: &[u8], out: &mut Emitter) {
        let now = Instant::now();
        let text = trim_start(trim_message(bytes));
        let sorter = &mut self.sorter;
        sorter.tally.messages += 1;
        let file = sorter.sort(peer, text, now, out);
        sorter.files.put(file, text, now, out);
    }

    fn tick(&mut self, now: Instant, out: &mut Emitter) -> Option<Instant> {
        self.sorter.count();
        self.sorter.files.tick(now, out)
    }

    fn listening(&mut self, port: usize, address: SocketAddr) {
        if let Some(listening) = &self.listening {
            // Nobody may be waiting for it any more.
            let _ = listening.send((port, address));
        }
    }
}

impl Sorter {
    /// The file that a message goes to.
    fn sort(&mut self, peer: &Peer, message: &[u8], now: Instant, out: &mut Emitter) -> FileId {
        let Some(template) = &self.template else {
            return FileId::BASE;
        };
        let mut header = Header::default();
        if self.needs_header {
            match header::read(message, self.strict) {
                Some(found) => header = found,
                None => self.tally.headerless += 1,
            }
        }
        // On a socket for both, IPv4 addresses come as IPv6 ones.
        let sender = peer.address.ip().to_canonical();
        if self.sender != Some(sender) {
            self.sender = Some(sender);
            self.sender_text.clear();
            // Writing into a String cannot fail.
            let _ = write!(self.sender_text, "{sender}");
        }
        let (proto, dest_port) = self
            .ports
            .get(peer.port)
            .map_or(("", ""), |(proto, port)| (*proto, port.as_str()));
        let values = Values {
            proto,
            src_ip: &self.sender_text,
            dest_port,
            hostname: header.host,
            appname: header.app,
        };
        self.name.clear();
        template.expand(&values, &mut self.name);
        let only = |name: &str| self.only.as_ref().is_none_or(|only| only.contains(&name));
        self.files.find(&self.name, &values, only, now, out)
    }

    fn count(&mut self) {
        let tally = std::mem::take(&mut self.tally);
        let count = &self.count;
        for (counter, more) in [
            (Some(&count.messages), tally.messages),
            (Some(&count.malformed), tally.malformed),
            (Some(&count.truncated), tally.truncated),
            (Some(&count.incomplete), tally.incomplete),
            (count.headerless.as_ref(), tally.headerless),
        ] {
            if let Some(counter) = counter.filter(|_| more > 0) {
                counter.fetch_add(more, Relaxed);
            }
        }
    }
}

/// Without white space at the ends of the message.
fn trim<'a>(piece: &Piece<'a>) -> &'a [u8] {
    let text = if piece.begins {
        trim_start(piece.text)
    } else {
        piece.text
    };
    if piece.ends {
        trim_message(text)
    } else {
        text
    }
}

/// Without the white space at the end, and without a NUL there, by which some senders end messages.
fn trim_message(text: &[u8]) -> &[u8] {
    let text = trim_end(text);
    text.strip_suffix(b"\0").map_or(text, trim_end)
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

fn trim_start(text: &[u8]) -> &[u8] {
    let from = text.iter().position(|&b| !is_blank(b));
    &text[from.unwrap_or(text.len())..]
}

fn trim_end(text: &[u8]) -> &[u8] {
    let to = text.iter().rposition(|&b| !is_blank(b));
    &text[..to.map_or(0, |at| at + 1)]
}
