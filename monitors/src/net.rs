//! Sockets of monitors that serve: listeners, connections and datagrams in one thread behind one
//! `epoll`, with bounds on everything that a peer decides.
//!
//! [`serve`] does the sockets and a [`Service`] does the bytes. While nothing comes in nothing wakes up;
//! the request to stop comes through a pipe. A port that can't be bound is tried again while the
//! others serve.

mod connections;
mod ports;

use crate::{Emitter, Error};
use connections::Connection;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::resource::{getrlimit, Resource};
use ports::{advice, bind, kernel_drops, name, Bound, Socket};
pub use ports::{Port, Transport};
use std::io::{self, ErrorKind, Write as _};
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The limits of peers.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at one time on all ports together. Further ones are accepted and closed at once.
    pub connections: usize,
    /// Bytes that one connection may hold which the service has not taken. Beyond: [`Why::Full`].
    pub buffered: usize,
    /// The same for all connections together; it meets the one that holds most.
    pub total: usize,
    /// A connection of which the service has taken nothing for this long is closed.
    pub idle: Option<Duration>,
    /// After this time bytes that the service has not taken are shown to it again: [`Why::Late`].
    pub incomplete: Option<Duration>,
    /// `SO_RCVBUF` of UDP sockets in bytes.
    pub receive_buffer: Option<usize>,
    /// Below which `proc/net/udp` tells how many datagrams the kernel dropped.
    pub root: PathBuf,
    /// A connection whose descriptor has this number or a higher one is refused as well. See
    /// [`spare_descriptors`].
    pub spare_from: RawFd,
}

/// Where the numbers of the descriptors begin that are left to the rest of the agent, which has to
/// read logs and start commands while connections are many: an eighth of what the limit of open
/// files allows, and at least 16. The kernel gives out the lowest free number, so who gets one of
/// these has found all others taken, by whichever monitor.
pub fn spare_descriptors() -> RawFd {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(RawFd::MAX, |(soft, _)| {
        let first = soft.saturating_sub((soft / 8).max(16));
        RawFd::try_from(first).unwrap_or(RawFd::MAX)
    })
}

/// The port that bytes came in on, and the address that they came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The port's place in the list that [`serve`] was given.
    pub port: usize,
    /// The sender's address.
    pub address: SocketAddr,
}

/// Why a service is shown bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// New ones have come.
    Data,
    /// None have completed what is there for [`Limits::incomplete`]. Said once until more comes.
    Late,
    /// There is no room to wait for more: what is not taken now is lost, and the connection with it.
    Full,
    /// None will follow. What is not taken now is lost.
    End,
}

/// The answer of a service to the bytes of a connection that it was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It took so many from the start. The others are at the start of what it is shown next.
    Taken(usize),
    /// It wants no more of this connection.
    Close,
}

/// The receiver of everything that comes in on the ports.
pub trait Service {
    /// The state of the service for each connection.
    type State: Default;

    /// Bytes of a connection, as a stream: those that it did not take before come first.
    fn bytes(
        &mut self,
        peer: &Peer,
        state: &mut Self::State,
        bytes: &[u8],
        why: Why,
        out: &mut Emitter,
    ) -> Verdict;

    /// One datagram, whole: up to 65,535 bytes.
    fn datagram(&mut self, _peer: &Peer, _bytes: &[u8], _out: &mut Emitter) {}

    /// Called after each round of events. Returns when it wants to be called at the latest.
    fn tick(&mut self, _now: Instant, _out: &mut Emitter) -> Option<Instant> {
        None
    }

    /// A port serves from now on, at this address.
    fn listening(&mut self, _port: usize, _address: SocketAddr) {}
}

/// Bytes per read: the largest datagram fits.
const READ: usize = 64 * 1024;
const EVENTS: usize = 256;
/// Accepted or received from one socket before the others have their turn.
const TURN: usize = 256;
const MINUTE: Duration = Duration::from_secs(60);
const TEN_MINUTES: Duration = Duration::from_secs(600);
/// How long what is in the kernel's buffers is still read after the request to stop.
const LAST_READS: Duration = Duration::from_millis(200);
const DROPS_EVERY: Duration = Duration::from_secs(10);

const WAKE: u64 = u64::MAX;
/// Set in what `epoll` remembers of a connection; the lower half is its slot, between them is its
/// generation, so that an event for a connection that was just closed does not meet its successor.
const CONNECTION: u64 = 1 << 63;

struct Counters {
    connections: Arc<AtomicU64>,
    refused: Arc<AtomicU64>,
    timed_out: Arc<AtomicU64>,
    dropped: Arc<AtomicU64>,
    kernel_drops: Option<Arc<AtomicU64>>,
    unbound: Arc<AtomicU64>,
}

struct Server<'a, S: Service> {
    service: &'a mut S,
    limits: &'a Limits,
    epoll: Epoll,
    ports: Vec<Bound>,
    slots: Vec<Option<Connection<S::State>>>,
    free: Vec<usize>,
    generation: u32,
    /// Bytes in the `rest` of all connections.
    held: usize,
    buffer: Box<[u8]>,
    /// When connections have to be looked through for idle and incomplete ones.
    timer: Option<Instant>,
    drops_due: Option<Instant>,
    count: Counters,
}

/// Serves `ports` until the request to stop. What has arrived by then is still handed to the
/// service, what is left of connections as [`Why::End`].
///
/// Counters in the status: `connections` (now open), `connections_refused` (beyond the bound),
/// `connections_timed_out`, `connections_dropped` (by the service, or for want of room),
/// `datagrams_dropped_by_kernel`, `ports_not_bound`.
///
/// # Errors
/// The kernel refuses what serving as such needs (`epoll`, a pipe, a thread). A port that cannot be bound is
/// none: it is tried again after pauses of up to a minute, and that is said once a minute.
pub fn serve<S: Service>(
    service: &mut S,
    ports: &[Port],
    limits: &Limits,
    out: &mut Emitter,
) -> Result<(), Error> {
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        Error::new(format!("cannot serve: {what}: {error}"))
    };
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(|e| failed("epoll", &e))?;
    let (woken, waker) = UnixStream::pair().map_err(|e| failed("pipe", &e))?;
    let _over = wake_on_stop(waker, out).map_err(|e| failed("thread", &e))?;
    epoll
        .add(&woken, EpollEvent::new(EpollFlags::EPOLLIN, WAKE))
        .map_err(|e| failed("epoll", &e))?;
    let now = Instant::now();
    let has_udp = ports.iter().any(|port| port.transport == Transport::Udp);
    let mut server = Server {
        service,
        limits,
        epoll,
        ports: ports.iter().map(|&port| Bound::new(port, now)).collect(),
        slots: Vec::new(),
        free: Vec::new(),
        generation: 0,
        held: 0,
        buffer: vec![0; connections::HEAD + READ].into_boxed_slice(),
        timer: None,
        drops_due: None,
        count: Counters {
            connections: out.counter("connections"),
            refused: out.counter("connections_refused"),
            timed_out: out.counter("connections_timed_out"),
            dropped: out.counter("connections_dropped"),
            kernel_drops: has_udp.then(|| out.counter("datagrams_dropped_by_kernel")),
            unbound: out.counter("ports_not_bound"),
        },
    };
    let result = server.run(out);
    server.count.connections.store(0, Relaxed);
    result.map_err(|e| failed("epoll", &e))
}

/// A byte on the other side of `waker` once the end is asked for. The thread ends with that, or when
/// what is returned is dropped.
fn wake_on_stop(
    mut waker: UnixStream,
    out: &Emitter,
) -> io::Result<crossbeam_channel::Sender<std::convert::Infallible>> {
    let (over, is_over) = crossbeam_channel::bounded(0);
    let stop = out.stop().clone();
    std::thread::Builder::new()
        .name("wake".to_owned())
        .spawn(move || {
            crossbeam_channel::select! {
                recv(stop.channel()) -> _ => {
                    // If it fails there is nobody left to be woken.
                    let _ = waker.write_all(b"!");
                }
                recv(is_over) -> _ => {}
            }
        })?;
    Ok(over)
}

impl<S: Service> Server<'_, S> {
    fn run(&mut self, out: &mut Emitter) -> nix::Result<()> {
        let mut events = vec![EpollEvent::empty(); EVENTS];
        let mut now = Instant::now();
        loop {
            self.rebind(now, out);
            self.look_through(now, out);
            self.look_for_drops(now, out);
            let tick = self.service.tick(now, out);
            if out.stop().is_set() {
                break;
            }
            let retries = self.ports.iter().filter_map(|port| port.retry);
            let next = retries
                .chain(tick)
                .chain(self.timer)
                .chain(self.drops_due)
                .min();
            self.round(&mut events, timeout(next), out)?;
            now = Instant::now();
        }
        for index in 0..self.ports.len() {
            if let Socket::Tcp(_) = self.ports[index].socket {
                // A peer that has connected by now may have sent something as well.
                self.accept(index, now, out);
                self.ports[index].socket = Socket::None;
            }
        }
        let deadline = now + LAST_READS;
        while self.round(&mut events, EpollTimeout::ZERO, out)? && Instant::now() < deadline {}
        self.drops_due = Some(now);
        self.look_for_drops(now, out);
        for slot in 0..self.slots.len() {
            self.close(slot, true, out);
        }
        self.service.tick(Instant::now(), out);
        Ok(())
    }

    /// Waits for events and deals with them. True if a socket had something.
    fn round(
        &mut self,
        events: &mut [EpollEvent],
        timeout: EpollTimeout,
        out: &mut Emitter,
    ) -> nix::Result<bool> {
        let ready = match self.epoll.wait(events, timeout) {
            Err(Errno::EINTR) => return Ok(false),
            other => other?,
        };
        let now = Instant::now();
        let mut any = false;
        for event in events.iter().take(ready) {
            any |= match event.data() {
                WAKE => false,
                token if token & CONNECTION != 0 => self.read(token, now, out),
                port => self.port_is_ready(port as usize, now, out),
            };
        }
        Ok(any)
    }

    fn port_is_ready(&mut self, index: usize, now: Instant, out: &mut Emitter) -> bool {
        match self.ports.get(index).map(|port| &port.socket) {
            Some(Socket::Tcp(_)) => self.accept(index, now, out),
            Some(Socket::Udp(_)) => self.receive(index, now, out),
            _ => false,
        }
    }

    fn receive(&mut self, index: usize, now: Instant, out: &mut Emitter) -> bool {
        let Some(bound) = self.ports.get_mut(index) else {
            return false;
        };
        let Socket::Udp(socket) = &bound.socket else {
            return false;
        };
        for n in 0..TURN {
            match socket.recv_from(&mut self.buffer) {
                Ok((length, address)) => {
                    let peer = Peer {
                        port: index,
                        address,
                    };
                    self.service.datagram(&peer, &self.buffer[..length], out);
                }
                // An ICMP answer to nothing that we sent, or the like: the socket goes on.
                Err(error) if error.kind() != ErrorKind::WouldBlock => {}
                Err(_) => {
                    if n == 0 {
                        return false;
                    }
                    break;
                }
            }
        }
        bound.touched = true;
        self.drops_due.get_or_insert(now + DROPS_EVERY);
        true
    }

    fn accept(&mut self, index: usize, now: Instant, out: &mut Emitter) -> bool {
        for n in 0..TURN {
            let Some(Bound {
                socket: Socket::Tcp(listener),
                ..
            }) = self.ports.get(index)
            else {
                return n > 0;
            };
            match listener.accept() {
                Ok((stream, address)) => {
                    let peer = Peer {
                        port: index,
                        address,
                    };
                    self.welcome(stream, peer, now, out);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return n > 0,
                // The peer is gone again.
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::ConnectionAborted | ErrorKind::Interrupted
                    ) => {}
                Err(error) => {
                    // No file descriptors or no memory: the socket would stay ready and we would spin.
                    if out.once_in(TEN_MINUTES, "accept") {
                        out.warn(format_args!("Cannot accept connections at the moment: {error}. It is tried again every second; raise the limit of open files (ulimit -n, LimitNOFILE=) if there are too few."));
                    }
                    let bound = &mut self.ports[index];
                    if let Socket::Tcp(listener) = &bound.socket {
                        let _ = self.epoll.delete(listener);
                    }
                    bound.retry = Some(now + Duration::from_secs(1));
                    return n > 0;
                }
            }
        }
        true
    }

    /// Binds the ports whose turn it is.
    fn rebind(&mut self, now: Instant, out: &mut Emitter) {
        for index in 0..self.ports.len() {
            let bound = &mut self.ports[index];
            if bound.retry.is_none_or(|then| now < then) {
                continue;
            }
            bound.retry = None;
            let event = EpollEvent::new(EpollFlags::EPOLLIN, index as u64);
            let result = if let Socket::Tcp(listener) = &bound.socket {
                // It only rested.
                self.epoll.add(listener, event).map_err(io::Error::from)
            } else {
                bind(bound.port, self.limits, out).and_then(|(socket, address)| {
                    match &socket {
                        Socket::Tcp(listener) => self.epoll.add(listener, event)?,
                        Socket::Udp(socket) => self.epoll.add(socket, event)?,
                        Socket::None => {}
                    }
                    out.info(format_args!(
                        "Starting {}",
                        name(bound.port.transport, address)
                    ));
                    bound.socket = socket;
                    bound.pause = ports::FIRST_RETRY;
                    self.service.listening(index, address);
                    out.alive();
                    Ok(())
                })
            };
            if let Err(error) = result {
                bound.retry = Some(now + bound.pause);
                bound.pause = (bound.pause * 2).min(ports::LONGEST_RETRY);
                let name = name(bound.port.transport, bound.port.address);
                if out.once_in(MINUTE, &name) {
                    out.error(format_args!(
                        "Cannot start {name}: {error}. {} It is tried again; other ports are served meanwhile.",
                        advice(&error, bound.port)
                    ));
                }
            }
        }
        let unbound = self
            .ports
            .iter()
            .filter(|port| matches!(port.socket, Socket::None));
        self.count.unbound.store(unbound.count() as u64, Relaxed);
    }

    /// Asks the kernel how many datagrams found the receive buffer full.
    fn look_for_drops(&mut self, now: Instant, out: &mut Emitter) {
        if self.drops_due.is_none_or(|then| now < then) {
            return;
        }
        self.drops_due = None;
        for bound in &mut self.ports {
            let Socket::Udp(socket) = &bound.socket else {
                continue;
            };
            if !std::mem::take(&mut bound.touched) {
                continue;
            }
            let file = match bound.port.address {
                SocketAddr::V4(_) => "proc/net/udp",
                SocketAddr::V6(_) => "proc/net/udp6",
            };
            let Some(drops) = kernel_drops(&self.limits.root.join(file), socket) else {
                continue;
            };
            let more = drops.saturating_sub(bound.drops);
            bound.drops = drops;
            if more == 0 {
                continue;
            }
            if let Some(counter) = &self.count.kernel_drops {
                counter.fetch_add(more, Relaxed);
            }
            if out.once_in(TEN_MINUTES, "drops") {
                out.warn(format_args!(
                    "{more} datagrams to port {} were lost because the kernel's receive buffer was full; more room helps: udp_receive_buffer. Further ones are counted in the status as datagrams_dropped_by_kernel.",
                    bound.port.address.port()
                ));
            }
        }
    }
}

/// Until a moment, rounded up to milliseconds; without one until something happens.
fn timeout(next: Option<Instant>) -> EpollTimeout {
    let Some(next) = next else {
        return EpollTimeout::NONE;
    };
    let left = next.saturating_duration_since(Instant::now());
    let ms = left.as_nanos().div_ceil(1_000_000).min(3_600_000);
    EpollTimeout::try_from(ms as i32).unwrap_or(EpollTimeout::MAX)
}

#[cfg(test)]
#[path = "net_tests.rs"]
mod tests;
