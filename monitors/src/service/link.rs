//! A blocking connection of which all waiting ends: at the sample's deadline, or with the monitor.

#[cfg(feature = "tls")]
use super::security::Session;
use crate::Error;
use common::stop::Stop;
use crossbeam_channel::select;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The kernel waits at most this long in one call, so that a request to stop is heard.
const SLICE: Duration = Duration::from_millis(200);

/// The moment at which a sample has to be over.
#[derive(Debug, Clone)]
pub(crate) struct Deadline {
    at: Instant,
    stop: Stop,
}

impl Deadline {
    /// After this time, or when `stop` is set.
    pub(crate) fn new(time: Duration, stop: &Stop) -> Deadline {
        Deadline {
            at: Instant::now() + time,
            stop: stop.clone(),
        }
    }

    /// The time that is left.
    ///
    /// # Errors
    /// None is: `TimedOut`.
    pub(crate) fn left(&self) -> io::Result<Duration> {
        let left = self.at.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::new(ErrorKind::TimedOut, "it took too long"));
        }
        if self.stop.is_set() {
            return Err(io::Error::new(ErrorKind::TimedOut, "the monitor is to end"));
        }
        Ok(left)
    }
}

/// The place of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// A name or a number, and a port.
    Tcp(String, u16),
    /// A Unix socket.
    Unix(PathBuf),
}

impl Address {
    /// Reads `host`, `host:port`, `[::1]:port` or `::1`; `port` is that of a host without one.
    ///
    /// # Errors
    /// A phrase that says what is wrong.
    pub(crate) fn tcp(text: &str, port: u16) -> Result<Address, String> {
        let text = text.trim();
        let (host, tail) = match text.strip_prefix('[') {
            Some(rest) => rest
                .split_once(']')
                .ok_or_else(|| format!("\"{text}\" has no closing bracket"))?,
            None if text.matches(':').count() > 1 => (text, ""),
            None => text.split_at(text.find(':').unwrap_or(text.len())),
        };
        let port = match tail.strip_prefix(':') {
            None if tail.is_empty() => port,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits
                .parse()
                .map_err(|_| format!("\"{digits}\" is no port: it is from 1 to 65535"))?,
            _ => return Err(format!("\"{tail}\" is no port")),
        };
        if host.is_empty() || port == 0 {
            return Err(format!("\"{text}\" names no host and port"));
        }
        Ok(Address::Tcp(host.to_owned(), port))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Address::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Address::Tcp(host, port) => write!(f, "{host}:{port}"),
            Address::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    fn open(address: &Address, left: Duration) -> io::Result<OwnedFd> {
        let (host, port) = match address {
            Address::Unix(path) => return UnixStream::connect(path).map(OwnedFd::from),
            Address::Tcp(host, port) => (host.as_str(), *port),
        };
        let until = Instant::now() + left;
        let mut error = io::Error::new(ErrorKind::NotFound, "the name leads to no address");
        let addresses: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
        for address in addresses {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            match TcpStream::connect_timeout(&address, left) {
                Ok(stream) => {
                    let _ = stream.set_nodelay(true);
                    return Ok(stream.into());
                }
                Err(e) => error = e,
            }
        }
        Err(error)
    }

    fn prepare(&self) -> io::Result<()> {
        let slice = Some(SLICE);
        match self {
            Socket::Tcp(s) => s.set_read_timeout(slice).and(s.set_write_timeout(slice)),
            Socket::Unix(s) => s.set_read_timeout(slice).and(s.set_write_timeout(slice)),
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(s) => s.read(buffer),
            Socket::Unix(s) => s.read(buffer),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(s) => s.write(bytes),
            Socket::Unix(s) => s.write(bytes),
        }
    }
}

/// Does what can't be interrupted on a thread of that name, and waits no longer than the deadline
/// allows. Each type of channel and closure would cost kilobytes of machine code, so there is one.
///
/// # Errors
/// Those of `work`; `TimedOut` at the deadline.
pub(crate) fn aside(
    name: &str,
    deadline: &Deadline,
    work: Box<dyn FnOnce() -> io::Result<OwnedFd> + Send>,
) -> io::Result<OwnedFd> {
    let left = deadline.left()?;
    let (finished, is_finished) = common::stop::pair();
    let result = Arc::new(Mutex::new(None));
    let place = Arc::clone(&result);
    let whole = move || {
        let made = work();
        // It is never poisoned: nothing can panic while it is held
        if let Ok(mut place) = place.lock() {
            *place = Some(made);
        }
        drop(finished);
    };
    common::thread::start(name, Box::new(whole))?;
    select! {
        recv(is_finished.channel()) -> _ => {}
        recv(deadline.stop.channel()) -> _ => return Err(io::Error::other("the monitor is to end")),
        default(left) => return Err(ErrorKind::TimedOut.into()),
    }
    let made = result.lock().ok().and_then(|mut result| result.take());
    made.unwrap_or_else(|| Err(ErrorKind::Other.into()))
}

/// A socket and the deadline of what is done with it.
#[derive(Debug)]
pub(super) struct Plain {
    socket: Socket,
    deadline: Deadline,
}

/// Does `work` until it neither waits nor is interrupted, or the deadline has passed.
fn patiently(
    deadline: &Deadline,
    mut work: impl FnMut() -> io::Result<usize>,
) -> io::Result<usize> {
    loop {
        deadline.left()?;
        match work() {
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            other => return other,
        }
    }
}

impl Read for Plain {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        patiently(&self.deadline, || self.socket.read(buffer))
    }
}

impl Write for Plain {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        patiently(&self.deadline, || self.socket.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A connection to a server. Reading and writing end with `TimedOut` at its deadline; after that it is
/// in no known state and has to be dropped.
#[derive(Debug)]
pub(crate) struct Link(pub(super) Way);

#[derive(Debug)]
pub(super) enum Way {
    Open(Plain),
    #[cfg(feature = "tls")]
    Tls(Box<Session>),
}

impl Link {
    /// Looks up the name and connects, on a thread of its own: neither can be interrupted.
    ///
    /// # Errors
    /// A sentence that names the address.
    pub(crate) fn connect(address: &Address, deadline: &Deadline) -> Result<Link, Error> {
        let failed = |error: io::Error| Error::new(refusal(address, &error));
        let left = deadline.left().map_err(failed)?;
        let target = address.clone();
        let work = Box::new(move || Socket::open(&target, left));
        let opened = aside("connect", deadline, work).map_err(failed)?;
        let socket = match address {
            Address::Tcp(..) => Socket::Tcp(opened.into()),
            Address::Unix(_) => Socket::Unix(opened.into()),
        };
        socket.prepare().map_err(failed)?;
        Ok(Link(Way::Open(Plain {
            socket,
            deadline: deadline.clone(),
        })))
    }

    fn plain(&mut self) -> &mut Plain {
        match &mut self.0 {
            Way::Open(plain) => plain,
            #[cfg(feature = "tls")]
            Way::Tls(session) => &mut session.sock,
        }
    }

    /// Has what is done from now on end at another moment.
    pub(crate) fn set_deadline(&mut self, deadline: &Deadline) {
        self.plain().deadline = deadline.clone();
    }

    /// Whether nobody on the way can read along: TLS, or a Unix socket.
    pub(crate) fn is_private(&self) -> bool {
        match &self.0 {
            Way::Open(plain) => matches!(plain.socket, Socket::Unix(_)),
            #[cfg(feature = "tls")]
            Way::Tls(_) => true,
        }
    }
}

impl Read for Link {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Way::Open(plain) => plain.read(buffer),
            #[cfg(feature = "tls")]
            Way::Tls(session) => session.read(buffer),
        }
    }
}

impl Write for Link {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Way::Open(plain) => plain.write(bytes),
            #[cfg(feature = "tls")]
            Way::Tls(session) => session.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Way::Open(_) => Ok(()),
            #[cfg(feature = "tls")]
            Way::Tls(session) => session.flush(),
        }
    }
}

/// Why there is no connection, and what to look at.
fn refusal(address: &Address, error: &io::Error) -> String {
    let what = match error.kind() {
        ErrorKind::ConnectionRefused => {
            "nothing listens there: is the server running, and is this its address?".to_owned()
        }
        ErrorKind::NotFound if matches!(address, Address::Unix(_)) => {
            "there is no such socket: is the server running, and is this its path?".to_owned()
        }
        ErrorKind::PermissionDenied => {
            "the agent's user may not use it: permission denied".to_owned()
        }
        ErrorKind::TimedOut => {
            "no answer in time: is the host up, and does a firewall let this through?".to_owned()
        }
        // The resolver's error; this library gives it no number
        _ if error.to_string().contains("lookup address") => {
            "the name is not known: check it and /etc/resolv.conf".to_owned()
        }
        _ => error.to_string(),
    };
    format!("No connection to {address}: {what}")
}
