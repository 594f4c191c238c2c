//! Binding ports, and what the kernel says about them.

use super::{Limits, TEN_MINUTES};
use crate::Emitter;
use nix::sys::socket::{getsockopt, setsockopt, sockopt};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// How bytes come to a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Transport {
    Tcp,
    Udp,
}

/// Where to listen. Port number 0 lets the kernel choose: see [`Service::listening`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// TCP or UDP.
    pub transport: Transport,
    /// Address and port number.
    pub address: SocketAddr,
}

pub const FIRST_RETRY: Duration = Duration::from_millis(250);
pub const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// A port and what became of it.
pub struct Bound {
    pub port: Port,
    pub socket: Socket,
    /// When to try again, if it is not bound or rests.
    pub retry: Option<Instant>,
    pub pause: Duration,
    /// Datagrams that came since the kernel's drops were last looked at.
    pub touched: bool,
    pub drops: u64,
}

/// The listening socket of a port, if it could be bound.
pub enum Socket {
    None,
    Tcp(TcpListener),
    Udp(UdpSocket),
}

impl Bound {
    /// To be bound at `now`.
    pub fn new(port: Port, now: Instant) -> Self {
        Bound {
            port,
            socket: Socket::None,
            retry: Some(now),
            pause: FIRST_RETRY,
            touched: false,
            drops: 0,
        }
    }
}

/// The name of a port in messages.
pub fn name(transport: Transport, address: SocketAddr) -> String {
    let kind = match transport {
        Transport::Tcp => "TCP",
        Transport::Udp => "UDP",
    };
    if address.ip() == std::net::Ipv4Addr::LOCALHOST {
        format!("{kind} Server (host=localhost, port={})", address.port())
    } else {
        format!(
            "{kind} Server (host={}, port={})",
            address.ip(),
            address.port()
        )
    }
}

/// Advice for an operator about a port that can't be bound.
pub fn advice(error: &io::Error, port: Port) -> String {
    match error.kind() {
        ErrorKind::PermissionDenied => "Ports below 1024 need root or CAP_NET_BIND_SERVICE; choose a higher port, or add AmbientCapabilities=CAP_NET_BIND_SERVICE to the service.".to_owned(),
        ErrorKind::AddrInUse => format!("Another process has it; \"ss -lntup\" tells which one listens on {}.", port.address.port()),
        ErrorKind::AddrNotAvailable => "No interface of this host has that address (yet).".to_owned(),
        _ => String::new(),
    }
}

/// A socket on a port that does not block, and its address.
pub fn bind(port: Port, limits: &Limits, out: &mut Emitter) -> io::Result<(Socket, SocketAddr)> {
    match port.transport {
        Transport::Tcp => {
            let listener = TcpListener::bind(port.address)?;
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            Ok((Socket::Tcp(listener), address))
        }
        Transport::Udp => {
            let socket = UdpSocket::bind(port.address)?;
            socket.set_nonblocking(true)?;
            let address = socket.local_addr()?;
            if let Some(bytes) = limits.receive_buffer {
                widen(&socket, bytes, out);
            }
            Ok((Socket::Udp(socket), address))
        }
    }
}

/// Sets the size of a receive buffer, past the system's limit if we may.
fn widen(socket: &UdpSocket, bytes: usize, out: &mut Emitter) {
    if setsockopt(socket, sockopt::RcvBufForce, &bytes).is_ok() {
        return;
    }
    let _ = setsockopt(socket, sockopt::RcvBuf, &bytes);
    // The kernel doubles what it is asked for, for its own bookkeeping.
    let got = getsockopt(socket, sockopt::RcvBuf).map_or(0, |got| got / 2);
    if got < bytes && out.once_in(TEN_MINUTES, "receive buffer") {
        out.warn(format_args!(
            "The receive buffer is {got} bytes instead of the {bytes} asked for; the system allows no more: sysctl net.core.rmem_max."
        ));
    }
}

/// Datagrams to a socket that the kernel has dropped, from `/proc/net/udp`.
pub fn kernel_drops(path: &Path, socket: &UdpSocket) -> Option<u64> {
    let file = File::from(OwnedFd::from(socket.try_clone().ok()?));
    drops_of(
        &std::fs::read_to_string(path).ok()?,
        file.metadata().ok()?.ino(),
    )
}

/// The last column of the line of that inode.
fn drops_of(table: &str, inode: u64) -> Option<u64> {
    table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let found = fields.nth(9)?.parse::<u64>().ok()? == inode;
        found.then(|| fields.nth(2)?.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_drops_are_read_from_the_line_of_the_socket() {
        let table = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
             \x20 412: 0100007F:9A4A 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 51234 2 0000000000000000 17\n\
             \x20 413: 0100007F:9A4B 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 51235 2 0000000000000000 0\n";
        assert_eq!(drops_of(table, 51234), Some(17));
        assert_eq!(drops_of(table, 51235), Some(0));
        assert_eq!(drops_of(table, 1), None);
        assert_eq!(drops_of("", 1), None);
        // The kernel's own table has the socket.
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert_eq!(kernel_drops(Path::new("/proc/net/udp"), &socket), Some(0));
    }
}
