//! Connections that the client's own connector can't make: over a Unix socket, or from a source address.

use super::{config, environment, proxy, secured, Client, Failure, Limits, Trust};
use nix::errno::Errno;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use nix::sys::socket::{
    bind, connect, getsockopt, socket, sockopt, AddressFamily, SockFlag, SockType, SockaddrLike,
    SockaddrStorage, UnixAddr,
};
use std::fmt;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use ureq::config::{Config, RedirectAuthHeaders};
use ureq::http::uri::{Scheme, Uri};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};
use ureq::{Agent, Error};

/// The address that a connection comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The kernel's choice.
    Any,
    /// This one for a server on this machine, the kernel's choice for any other: a connection from a
    /// loopback address reaches nobody else.
    OnThisMachine(Ipv4Addr),
    /// This one always.
    Always(IpAddr),
}

/// How a server is reached, if not as usual. Redirects are followed, at most 3 times; the password goes to
/// no other host.
#[derive(Debug, Clone)]
pub struct Way {
    /// A Unix socket, in place of the host and port of the address.
    pub socket: Option<PathBuf>,
    /// Where TCP connections come from.
    pub source: Source,
}

impl Client {
    /// By this way.
    pub fn by(self, way: Way) -> Self {
        Client {
            way: Some(way),
            ..self
        }
    }
}

/// One connection may take so long to be made if the request has no time-out.
const LONGEST: Duration = Duration::from_secs(60);

impl Way {
    /// Whether a proxy of the environment is passed over: it can't reach this machine's loopback or a
    /// Unix socket, and a source address says where to go out.
    fn is_direct(&self, uri: &Uri) -> bool {
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        self.socket.is_some()
            || matches!(self.source, Source::Always(_))
            || host.eq_ignore_ascii_case("localhost")
            || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    pub(super) fn agent(
        &self,
        uri: &Uri,
        limits: &Limits,
        trust: &Trust,
    ) -> Result<Agent, Failure> {
        let tls = uri.scheme() == Some(&Scheme::HTTPS);
        let proxy = match self.is_direct(uri) {
            true => None,
            false => proxy(uri, environment)?,
        };
        // A redirect to https needs the roots, which are only read for addresses that begin so. Without
        // a proxy `Wires` refuses it in words.
        let redirects = if proxy.is_none() || tls { 3 } else { 0 };
        let config = config(limits)
            .max_redirects(redirects)
            .max_redirects_will_error(true)
            .redirect_auth_headers(RedirectAuthHeaders::SameHost)
            .https_only(tls)
            .proxy(proxy.clone());
        let config = secured(config, uri, trust)?.build();
        if proxy.is_some() {
            return Ok(config.new_agent());
        }
        let names = Names {
            ask: self.socket.is_none(),
        };
        let way = self.clone();
        let wires = Wires { way, tls };
        // It lets pass what needs no TLS
        #[cfg(feature = "tls")]
        let wires = wires.chain(ureq::unversioned::transport::RustlsConnector::default());
        Ok(Agent::with_parts(config, wires, names))
    }

    fn tcp(&self, addresses: &[SocketAddr], until: Instant) -> io::Result<TcpStream> {
        // The Python agent asks IPv4 addresses only; they come first.
        let (v4, v6): (Vec<SocketAddr>, _) = addresses.iter().partition(|a| a.is_ipv4());
        let order = [v4, v6].concat();
        let mut first_error = None;
        for (tried, &to) in order.iter().enumerate() {
            let from = match self.source {
                Source::Any => None,
                Source::OnThisMachine(ip) => is_here(to).then_some(IpAddr::V4(ip)),
                Source::Always(ip) if ip.is_ipv4() != to.is_ipv4() => continue,
                Source::Always(ip) => Some(ip),
            };
            let left = until.saturating_duration_since(Instant::now());
            // Each address gets its share, so that one that does not answer leaves time for the others.
            let share = left / u32::try_from(order.len() - tried).unwrap_or(1);
            match open(to, from, share) {
                Ok(stream) => return Ok(stream),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        Err(first_error.unwrap_or_else(|| {
            io::Error::other("the server has no address of the family of source_address")
        }))
    }
}

/// `Debug` of what the client's traits want it of. The derived ones would be linked, with those of
/// streams, addresses and buffers.
macro_rules! bare_debug {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str(stringify!($name))
            }
        }
    )*};
}

bare_debug!(Names, Wires, Wire);

/// Looks up names, unless a Unix socket makes that needless.
struct Names {
    ask: bool,
}

impl Resolver for Names {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        if self.ask {
            return DefaultResolver::default().resolve(uri, config, timeout);
        }
        let mut nobody = self.empty();
        nobody.push(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
        Ok(nobody)
    }
}

/// Whether an IPv4 address is one of this machine: the kernel then sends from it, or from loopback.
fn is_here(to: SocketAddr) -> bool {
    let from = |to| {
        let probe = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        probe.connect(to)?;
        probe.local_addr()
    };
    to.is_ipv4()
        && (to.ip().is_loopback() || from(to).is_ok_and(|from: SocketAddr| from.ip() == to.ip()))
}

fn open(to: SocketAddr, from: Option<IpAddr>, wait: Duration) -> io::Result<TcpStream> {
    let family = match to {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    reach(family, &SockaddrStorage::from(to), from, wait)
}

/// Connects within `wait`. A `TcpStream` does what is asked of it here on a Unix socket too.
fn reach(
    family: AddressFamily,
    to: &dyn SockaddrLike,
    from: Option<IpAddr>,
    wait: Duration,
) -> io::Result<TcpStream> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(family, SockType::Stream, flags, None)?;
    if let Some(from) = from {
        let at = SockaddrStorage::from(SocketAddr::new(from, 0));
        bind(fd.as_raw_fd(), &at).map_err(|error| match error {
            Errno::EADDRNOTAVAIL => io::Error::other(format!(
                "source_address: this machine does not have the address {from}"
            )),
            _ => error.into(),
        })?;
    }
    match connect(fd.as_raw_fd(), to) {
        Ok(()) => {}
        Err(Errno::EINPROGRESS) => {
            let until = Instant::now() + wait;
            loop {
                let left = until.saturating_duration_since(Instant::now());
                let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
                match poll(&mut [PollFd::new(fd.as_fd(), PollFlags::POLLOUT)], left) {
                    Ok(0) => return Err(ErrorKind::TimedOut.into()),
                    Ok(_) => break,
                    Err(Errno::EINTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            match getsockopt(&fd, sockopt::SocketError)? {
                0 => {}
                number => return Err(io::Error::from_raw_os_error(number)),
            }
        }
        // The queue of a Unix socket is full.
        Err(Errno::EAGAIN) => {
            return Err(io::Error::other(
                "the server accepts no connection at present",
            ))
        }
        Err(error) => return Err(error.into()),
    }
    let stream = TcpStream::from(fd);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// The connector of an agent whose addresses begin with `http://`, or with anything if `tls` is behind it.
struct Wires {
    way: Way,
    tls: bool,
}

impl Connector for Wires {
    type Out = Wire;

    fn connect(&self, details: &ConnectionDetails, _: Option<()>) -> Result<Option<Wire>, Error> {
        if details.needs_tls() && !self.tls {
            return Err(Error::Io(io::Error::other(
                "the server redirects to https; name that address",
            )));
        }
        let wait = details.timeout.not_zero().map_or(LONGEST, |time| *time);
        let stream = match &self.way.socket {
            Some(path) => {
                let to = UnixAddr::new(path).map_err(io::Error::from)?;
                reach(AddressFamily::Unix, &to, None, wait)?
            }
            None => self.way.tcp(&details.addrs, Instant::now() + wait)?,
        };
        let config = details.config;
        Ok(Some(Wire {
            stream,
            buffers: LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size()),
        }))
    }
}

/// A connection that [`Wires`] made.
struct Wire {
    stream: TcpStream,
    buffers: LazyBuffers,
}

/// The time that is left, or the end of the request.
fn left(timeout: NextTimeout) -> Result<Option<Duration>, Error> {
    match timeout.after.is_zero() {
        true => Err(Error::Timeout(timeout.reason)),
        false => Ok(timeout.not_zero().map(|time| *time)),
    }
}

fn told(error: io::Error, timeout: NextTimeout) -> Error {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Error::Timeout(timeout.reason),
        _ => Error::Io(error),
    }
}

impl Transport for Wire {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let timeout = timeout.for_write();
        self.stream.set_write_timeout(left(timeout)?)?;
        let output = &self.buffers.output()[..amount];
        let written = (&self.stream).write_all(output);
        written.map_err(|error| told(error, timeout))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let timeout = timeout.for_read();
        self.stream.set_read_timeout(left(timeout)?)?;
        let input = self.buffers.input_append_buf();
        let amount = loop {
            match (&self.stream).read(input) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => break result.map_err(|error| told(error, timeout))?,
            }
        };
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    /// It serves one request.
    fn is_open(&mut self) -> bool {
        false
    }
}
