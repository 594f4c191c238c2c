//! `graphite_monitor`: takes metrics in Graphite's plain text and pickle protocols.

use crate::line::Field;
use crate::monitor::{Cadence, Description, Log, Measure, MetricSpec, Monitor, Setup};
use crate::net::{self, Limits, Peer, Port, Service, Transport, Verdict, Why};
use crate::options::{Default, Kind, OptionSpec};
use crate::pickle;
use crate::{Emitter, Error};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Its entry in the registry.
pub const DESCRIPTION: Description = Description {
    module: "scalyr_agent.builtin_monitors.graphite_monitor",
    text: "Takes metrics over TCP in Graphite's plain text and pickle protocols, as Graphite's carbon does, and writes each as a line. What is wrong is dropped, counted in the status and told at most once a minute. Of pickles only lists, tuples, text and numbers are read; nothing in them is ever run.",
    options: OPTIONS,
    metrics: METRICS,
    open: false,
    log: Log::METRICS,
    write_limit: (-1, -1),
    cadence: Cadence::Serving,
    service: None,
    make: |setup| Ok(Box::new(GraphiteMonitor::new(setup)?)),
};

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        "only_accept_local",
        Kind::Bool,
        Default::Bool(true),
        "Listens on this host's loopback addresses only (127.0.0.1, and ::1 where there is IPv6). Otherwise on all IPv4 addresses: then a firewall must keep strangers out, for the protocols know no passwords.",
    ),
    OptionSpec::new(
        "accept_plaintext",
        Kind::Bool,
        Default::Bool(true),
        "Takes the plain text protocol: lines of path, value and time in seconds.",
    ),
    OptionSpec::new(
        "accept_pickle",
        Kind::Bool,
        Default::Bool(true),
        "Takes the pickle protocol: a length of 4 bytes and a pickled list of (path, (time, value)).",
    ),
    OptionSpec::new(
        "plaintext_port",
        Kind::Int,
        Default::Int(2003),
        "TCP port of the plain text protocol.",
    )
    .at_least(1.0)
    .at_most(65_535.0),
    OptionSpec::new(
        "pickle_port",
        Kind::Int,
        Default::Int(2004),
        "TCP port of the pickle protocol.",
    )
    .at_least(1.0)
    .at_most(65_535.0),
    OptionSpec::new(
        "max_connection_idle_time",
        Kind::Float,
        Default::Float(300.0),
        "A connection that has not completed a line or pickle for so many seconds is closed.",
    )
    .at_least(1.0)
    .at_most(1e9),
    OptionSpec::new(
        "max_request_size",
        Kind::Int,
        Default::Int(102_400),
        "Largest line or pickle in bytes. A connection that sends a larger one is closed.",
    )
    .at_least(1000.0)
    .at_most(67_108_864.0),
    OptionSpec::new(
        "buffer_size",
        Kind::Int,
        Default::Int(102_400),
        "Bytes that one connection may have waiting; at least max_request_size.",
    )
    .at_least(10_240.0)
    .at_most(67_108_864.0),
    OptionSpec::new(
        "max_connections",
        Kind::Int,
        Default::Int(256),
        "So many connections are served at one time, all ports together; further ones are refused. Of the limit of open files the last eighth, at least 16, is left to the rest of the agent.",
    )
    .at_least(1.0)
    .at_most(65_535.0),
    OptionSpec::new(
        "max_buffered_bytes",
        Kind::Int,
        Default::Int(4 * 1024 * 1024),
        "Bytes that all connections together may have waiting; who exceeds it is closed. At least max_request_size.",
    )
    .at_least(10_240.0),
];

const METRICS: &[MetricSpec] = &[MetricSpec {
    name: "*",
    measure: Measure::Gauge,
    unit: "",
    fields: &["orig_time"],
    text: "Each metric that came, under its path. orig_time: the time that came with it, in seconds since the epoch; the line's own stamp is that of its arrival.",
}];

const MINUTE: Duration = Duration::from_secs(60);
/// Longer paths are bad ones.
const LONGEST_PATH: usize = 4096;
/// A pickle may name one path many times: it makes lines with so many times its size of paths.
const INFLATION: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Text,
    Pickle,
}

struct GraphiteMonitor {
    protocols: Vec<(Protocol, u16)>,
    local: bool,
    max_request: usize,
    limits: Limits,
}

impl GraphiteMonitor {
    fn new(setup: &Setup) -> Result<Self, Error> {
        let options = setup.options;
        let size = |name: &str| {
            // None of them may be negative; some may be more than 32 bits hold.
            let n = options.int(name);
            n.map_or(102_400, |n| usize::try_from(n).unwrap_or(usize::MAX))
        };
        let port = |name: &str| {
            let n = options.int(name).and_then(|n| u16::try_from(n).ok());
            n.unwrap_or_default()
        };
        let wanted = [
            (Protocol::Text, "accept_plaintext", "plaintext_port"),
            (Protocol::Pickle, "accept_pickle", "pickle_port"),
        ];
        let protocols: Vec<_> = wanted
            .into_iter()
            .filter(|(_, accept, _)| options.bool(accept))
            .map(|(protocol, _, name)| (protocol, port(name)))
            .collect();
        match protocols.as_slice() {
            [] => {
                return Err(Error::of_option(
                    "accept_plaintext",
                    "accept_plaintext and accept_pickle are both false: there is nothing to do",
                ))
            }
            [(_, one), (_, other)] if one == other => {
                return Err(Error::of_option(
                    "pickle_port",
                    format!("plaintext_port and pickle_port are both {one}: they must differ"),
                ))
            }
            _ => {}
        }
        let max_request = size("max_request_size");
        let buffered = size("buffer_size");
        let total = size("max_buffered_bytes");
        for (name, bytes) in [("buffer_size", buffered), ("max_buffered_bytes", total)] {
            if max_request > bytes {
                return Err(Error::of_option(
                    "max_request_size",
                    format!(
                        "max_request_size ({max_request}) must not be larger than {name} ({bytes})"
                    ),
                ));
            }
        }
        let idle = options.float("max_connection_idle_time").unwrap_or(300.0);
        Ok(GraphiteMonitor {
            protocols,
            local: options.bool("only_accept_local"),
            max_request,
            limits: Limits {
                connections: size("max_connections"),
                // The length in front of a pickle is no part of it.
                buffered: buffered.saturating_add(4),
                total,
                idle: Some(Duration::from_secs_f64(idle)),
                incomplete: None,
                receive_buffer: None,
                root: PathBuf::from("/"),
                spare_from: net::spare_descriptors(),
            },
        })
    }
}

impl Monitor for GraphiteMonitor {
    fn gather(&mut self, out: &mut Emitter) -> Result<(), Error> {
        let (ports, protocols) = listeners(&self.protocols, self.local, has_ipv6_loopback());
        let mut graphite = Graphite {
            protocols,
            max_request: self.max_request,
            complaints: Vec::new(),
            listening: None,
        };
        net::serve(&mut graphite, &ports, &self.limits, out)
    }
}

/// Whether this host has `::1`. It costs a socket for a moment.
fn has_ipv6_loopback() -> bool {
    TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

/// The ports, and what each speaks.
fn listeners(protocols: &[(Protocol, u16)], local: bool, ipv6: bool) -> (Vec<Port>, Vec<Protocol>) {
    let addresses: &[IpAddr] = match (local, ipv6) {
        (true, true) => &[
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ],
        (true, false) => &[IpAddr::V4(Ipv4Addr::LOCALHOST)],
        (false, _) => &[IpAddr::V4(Ipv4Addr::UNSPECIFIED)],
    };
    let all = protocols.iter().flat_map(|&(protocol, port)| {
        addresses.iter().map(move |&address| {
            let port = Port {
                transport: Transport::Tcp,
                address: SocketAddr::new(address, port),
            };
            (port, protocol)
        })
    });
    all.unzip()
}

/// A message that is written at most once a minute, with the number of times that it was held back.
struct Complaint {
    code: &'static str,
    since: Instant,
    unsaid: u64,
}

struct Graphite {
    /// The protocol of each port.
    protocols: Vec<Protocol>,
    max_request: usize,
    complaints: Vec<Complaint>,
    /// Tests hear here where it listens.
    listening: Option<std::sync::mpsc::Sender<(Protocol, SocketAddr)>>,
}

impl Service for Graphite {
    type State = ();

    fn bytes(
        &mut self,
        peer: &Peer,
        (): &mut (),
        bytes: &[u8],
        why: Why,
        out: &mut Emitter,
    ) -> Verdict {
        let verdict = match self.protocols.get(peer.port) {
            Some(Protocol::Text) => self.lines(peer, bytes, out),
            Some(Protocol::Pickle) => self.pickles(peer, bytes, out),
            None => Verdict::Close,
        };
        let taken = match verdict {
            Verdict::Taken(taken) => taken,
            Verdict::Close => return Verdict::Close,
        };
        match why {
            Why::Full if taken == 0 => {
                self.too_large(peer, out);
                Verdict::Close
            }
            // Half a number is a wrong number.
            Why::End if taken < bytes.len() => {
                out.counter("incomplete_requests").fetch_add(1, Relaxed);
                verdict
            }
            _ => verdict,
        }
    }

    fn tick(&mut self, _now: Instant, out: &mut Emitter) -> Option<Instant> {
        out.flush();
        None
    }

    fn listening(&mut self, port: usize, address: SocketAddr) {
        if let (Some(tell), Some(&protocol)) = (&self.listening, self.protocols.get(port)) {
            let _ = tell.send((protocol, address));
        }
    }
}

impl Graphite {
    fn lines(&mut self, peer: &Peer, bytes: &[u8], out: &mut Emitter) -> Verdict {
        let mut taken = 0;
        while let Some(end) = memchr::memchr(b'\n', &bytes[taken..]) {
            let line = &bytes[taken..taken + end];
            taken += end + 1;
            if line.len() >= self.max_request {
                self.too_large(peer, out);
                return Verdict::Close;
            }
            if line.trim_ascii().is_empty() {
                continue;
            }
            match text_line(line) {
                Some((path, value, time)) => emit(path, value, time, out),
                None => self.complain(
                    "graphite_monitor/badPlainTextLine",
                    "bad_lines",
                    out,
                    format_args!(
                        "Could not parse incoming metric line from graphite plaintext server, ignoring: {} sent \"{}\"; wanted are path, value and time",
                        peer.address,
                        shortened(line)
                    ),
                ),
            }
        }
        if bytes.len() - taken >= self.max_request {
            self.too_large(peer, out);
            return Verdict::Close;
        }
        Verdict::Taken(taken)
    }

    fn pickles(&mut self, peer: &Peer, bytes: &[u8], out: &mut Emitter) -> Verdict {
        let mut rest = bytes;
        while let Some((length, behind)) = rest.split_first_chunk::<4>() {
            let length = u32::from_be_bytes(*length) as usize;
            if length > self.max_request {
                self.too_large(peer, out);
                return Verdict::Close;
            }
            let Some((request, behind)) = behind.split_at_checked(length) else {
                break;
            };
            rest = behind;
            if !self.pickle(peer, request, out) {
                return Verdict::Close;
            }
        }
        Verdict::Taken(bytes.len() - rest.len())
    }

    /// False if the connection makes no sense any more.
    fn pickle(&mut self, peer: &Peer, request: &[u8], out: &mut Emitter) -> bool {
        let read = match pickle::read(request) {
            Ok(read) => read,
            Err(mistake) => {
                self.complain(
                    "graphite_monitor/badUnpickle",
                    "bad_pickles",
                    out,
                    format_args!(
                        "Could not read a pickle from {}, ignoring it: {mistake}",
                        peer.address
                    ),
                );
                return true;
            }
        };
        let Some(items) = read.root().items() else {
            self.bad_pickle_line(peer, "it holds no list of metrics", out);
            return false;
        };
        let mut room = request
            .len()
            .saturating_mul(INFLATION)
            .max(self.max_request);
        for item in items {
            let metric = item.pair().and_then(|(path, point)| {
                // Some senders have more behind these; carbon does not look at it.
                let (time, value) = point.first_two()?;
                Some((path.text()?, number(time)?, number(value)?))
            });
            let Some((path, time, value)) = metric.filter(|(path, ..)| is_path(path)) else {
                self.bad_pickle_line(peer, "an element is not (path, (time, value))", out);
                return true;
            };
            let Some(left) = room.checked_sub(path.len()) else {
                self.bad_pickle_line(peer, "it repeats its paths too often", out);
                return true;
            };
            room = left;
            emit(path, value, time, out);
        }
        true
    }

    fn bad_pickle_line(&mut self, peer: &Peer, what: &str, out: &mut Emitter) {
        self.complain(
            "graphite_monitor/badPickleLine",
            "bad_pickle_lines",
            out,
            format_args!(
                "Could not make metrics of a pickle from {}, ignoring the rest of it: {what}",
                peer.address
            ),
        );
    }

    fn too_large(&mut self, peer: &Peer, out: &mut Emitter) {
        let most = self.max_request;
        self.complain(
            "graphite_monitor/requestTooLarge",
            "requests_too_large",
            out,
            format_args!(
                "{} sent more than the {most} bytes that a line or pickle may have (max_request_size); its connection is closed",
                peer.address
            ),
        );
    }

    fn complain(
        &mut self,
        code: &'static str,
        counter: &'static str,
        out: &mut Emitter,
        text: std::fmt::Arguments,
    ) {
        out.counter(counter).fetch_add(1, Relaxed);
        let now = Instant::now();
        let before = self.complaints.iter_mut().find(|c| c.code == code);
        let unsaid = match before {
            Some(c) if now.duration_since(c.since) < MINUTE => {
                c.unsaid += 1;
                return;
            }
            Some(c) => {
                c.since = now;
                std::mem::take(&mut c.unsaid)
            }
            None => {
                self.complaints.push(Complaint {
                    code,
                    since: now,
                    unsaid: 0,
                });
                0
            }
        };
        if unsaid == 0 {
            out.warn(format_args!("[error=\"{code}\"] {text}."));
        } else {
            out.warn(format_args!(
                "[error=\"{code}\"] {text}. {unsaid} more since the last of these messages."
            ));
        }
    }
}

fn emit(path: &str, value: f64, time: f64, out: &mut Emitter) {
    let fields: [Field; 1] = [("orig_time", time.into())];
    out.emit(path, value, &fields);
}

fn is_path(path: &str) -> bool {
    path.len() <= LONGEST_PATH
}

fn text_line(line: &[u8]) -> Option<(&str, f64, f64)> {
    // Blanks of other scripts are part of a path, as they were.
    let blank = |c: char| c.is_ascii_whitespace() || c == '\x0b';
    let parts = std::str::from_utf8(line).ok()?.split(blank);
    let mut parts = parts.filter(|part| !part.is_empty());
    let path = parts.next().filter(|path| is_path(path))?;
    let value = float(parts.next()?)?;
    let time = float(parts.next()?)?;
    parts.next().is_none().then_some((path, value, time))
}

/// A number, or text that spells one.
fn number(value: pickle::Value) -> Option<f64> {
    value.number().or_else(|| float(value.text()?.trim()))
}

/// A float as Python spells it: also `nan`, `inf`, and `1_000`.
fn float(text: &str) -> Option<f64> {
    if !text.contains('_') {
        return text.parse().ok();
    }
    let bytes = text.as_bytes();
    let is_digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let between = |at: usize| at > 0 && is_digit(at - 1) && is_digit(at + 1);
    let mut underscores = (0..bytes.len()).filter(|&at| bytes[at] == b'_');
    if !underscores.all(between) {
        return None;
    }
    text.replace('_', "").parse().ok()
}

/// The beginning of what was sent, fit for agent.log.
fn shortened(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(&line[..line.len().min(100)]);
    let dots = if line.len() > 100 { "..." } else { "" };
    format!("{}{dots}", text.escape_debug())
}

#[cfg(test)]
#[path = "graphite_monitor_tests.rs"]
mod tests;
