//! Connections: their bytes in and out of bounded buffers, and their ends.

use super::{Peer, Server, Service, Verdict, Why, CONNECTION, TEN_MINUTES};
use crate::Emitter;
use nix::sys::epoll::{EpollEvent, EpollFlags};
use nix::sys::socket::{setsockopt, sockopt};
use std::io::{ErrorKind, Read as _};
use std::net::TcpStream;
use std::os::fd::AsRawFd as _;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

/// Room in front of a read for what is left of the one before.
pub const HEAD: usize = 16 * 1024;

/// A connection and what of it is not taken yet.
pub struct Connection<State> {
    stream: TcpStream,
    peer: Peer,
    generation: u32,
    state: State,
    /// Bytes that the service has not taken.
    rest: Vec<u8>,
    /// Since when it has something to wait for.
    waits_since: Option<Instant>,
    last_taken: Instant,
}

impl<S: Service> Server<'_, S> {
    fn open(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Takes a new connection in, if there is room.
    pub(super) fn welcome(
        &mut self,
        stream: TcpStream,
        peer: Peer,
        now: Instant,
        out: &mut Emitter,
    ) {
        if self.open() >= self.limits.connections {
            self.count.refused.fetch_add(1, Relaxed);
            if out.once_in(TEN_MINUTES, "connections") {
                out.warn(format_args!(
                    "There are {} connections, the most that are allowed; that of {} and further ones are refused until others end. They are counted in the status as connections_refused.",
                    self.limits.connections, peer.address
                ));
            }
            return;
        }
        if stream.as_raw_fd() >= self.limits.spare_from {
            self.count.refused.fetch_add(1, Relaxed);
            if out.once_in(TEN_MINUTES, "descriptors") {
                out.warn(format_args!(
                    "The limit of open files leaves no room for the connection of {}; it and further ones are refused until others end. Raise the limit (ulimit -n, LimitNOFILE=) or lower max_connections. They are counted in the status as connections_refused.",
                    peer.address
                ));
            }
            return;
        }
        if stream.set_nonblocking(true).is_err() {
            return;
        }
        // Ends connections of hosts that vanished. Where it is refused they stay a while longer.
        let _ = setsockopt(&stream, sockopt::KeepAlive, &true)
            .and_then(|()| setsockopt(&stream, sockopt::TcpKeepIdle, &120))
            .and_then(|()| setsockopt(&stream, sockopt::TcpKeepInterval, &30))
            .and_then(|()| setsockopt(&stream, sockopt::TcpKeepCount, &4));
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.generation = self.generation.wrapping_add(1) & 0x7fff_ffff;
        let token = CONNECTION | u64::from(self.generation) << 32 | slot as u64;
        if let Err(error) = self
            .epoll
            .add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, token))
        {
            self.free.push(slot);
            if out.once_in(TEN_MINUTES, "watch") {
                out.warn(format_args!(
                    "A connection of {} is dropped: {error}",
                    peer.address
                ));
            }
            return;
        }
        self.slots[slot] = Some(Connection {
            stream,
            peer,
            generation: self.generation,
            state: S::State::default(),
            rest: Vec::new(),
            waits_since: None,
            last_taken: now,
        });
        self.count.connections.store(self.open() as u64, Relaxed);
        self.look_at(self.limits.idle.map(|idle| now + idle));
    }

    fn look_at(&mut self, when: Option<Instant>) {
        self.timer = self.timer.into_iter().chain(when).min();
    }

    /// Reads once from a connection that is ready. True if there was something.
    pub(super) fn read(&mut self, token: u64, now: Instant, out: &mut Emitter) -> bool {
        let slot = (token & 0xffff_ffff) as usize;
        let generation = (token >> 32) as u32 & 0x7fff_ffff;
        let Some(Some(conn)) = self.slots.get_mut(slot) else {
            return false;
        };
        if conn.generation != generation {
            return false;
        }
        let n = match conn.stream.read(&mut self.buffer[HEAD..]) {
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                return false;
            }
            Ok(0) | Err(_) => {
                self.close(slot, true, out);
                return true;
            }
            Ok(n) => n,
        };
        let kept = conn.rest.len();
        let verdict = if kept <= HEAD {
            // In front of what was just read, so that a busy connection keeps little of its own.
            self.buffer[HEAD - kept..HEAD].copy_from_slice(&conn.rest);
            let bytes = &self.buffer[HEAD - kept..HEAD + n];
            let verdict = self
                .service
                .bytes(&conn.peer, &mut conn.state, bytes, Why::Data, out);
            if let Verdict::Taken(taken) = verdict {
                conn.rest.clear();
                conn.rest
                    .extend_from_slice(&bytes[taken.min(bytes.len())..]);
                if conn.rest.is_empty() {
                    // Many connections that wait for their next message should hold nothing.
                    conn.rest = Vec::new();
                }
            }
            verdict
        } else {
            conn.rest.extend_from_slice(&self.buffer[HEAD..HEAD + n]);
            let verdict =
                self.service
                    .bytes(&conn.peer, &mut conn.state, &conn.rest, Why::Data, out);
            if let Verdict::Taken(taken) = verdict {
                conn.rest.drain(..taken.min(conn.rest.len()));
                if conn.rest.len() <= HEAD && conn.rest.capacity() > 4 * HEAD {
                    conn.rest.shrink_to_fit();
                }
            }
            verdict
        };
        self.held = (self.held - kept).saturating_add(conn.rest.len());
        match verdict {
            Verdict::Close => {
                self.count.dropped.fetch_add(1, Relaxed);
                self.close(slot, false, out);
                return true;
            }
            Verdict::Taken(0) => {
                conn.waits_since.get_or_insert(now);
            }
            Verdict::Taken(_) => {
                conn.last_taken = now;
                conn.waits_since = (!conn.rest.is_empty()).then_some(now);
            }
        }
        let late = conn.waits_since.zip(self.limits.incomplete);
        let too_much = conn.rest.len() > self.limits.buffered;
        self.look_at(late.map(|(since, most)| since + most));
        if too_much {
            self.relieve(slot, now, out);
        } else if self.held > self.limits.total {
            let held = |slot: &Option<Connection<_>>| slot.as_ref().map_or(0, |c| c.rest.len());
            let largest = (0..self.slots.len()).max_by_key(|&other| held(&self.slots[other]));
            self.relieve(largest.unwrap_or(slot), now, out);
        }
        true
    }

    /// Makes the service take what a connection holds, or ends that.
    fn relieve(&mut self, slot: usize, now: Instant, out: &mut Emitter) {
        if self.press(slot, Why::Full, now, out) {
            return;
        }
        if out.once_in(TEN_MINUTES, "full") {
            out.warn(format_args!("A connection was closed because it sent too much without completing a message. Further ones are counted in the status as connections_dropped."));
        }
        self.count.dropped.fetch_add(1, Relaxed);
        self.close(slot, false, out);
    }

    /// Shows the service once more what it has not taken. False if the connection has to go.
    fn press(&mut self, slot: usize, why: Why, now: Instant, out: &mut Emitter) -> bool {
        let Some(Some(conn)) = self.slots.get_mut(slot) else {
            return true;
        };
        let before = conn.rest.len();
        let verdict = self
            .service
            .bytes(&conn.peer, &mut conn.state, &conn.rest, why, out);
        let Verdict::Taken(taken) = verdict else {
            return false;
        };
        conn.rest.drain(..taken.min(before));
        if conn.rest.len() <= HEAD && conn.rest.capacity() > 4 * HEAD {
            conn.rest.shrink_to_fit();
        }
        self.held = (self.held - before).saturating_add(conn.rest.len());
        // A service that took nothing is not asked again until more bytes come.
        conn.waits_since = (taken > 0 && !conn.rest.is_empty()).then_some(now);
        if taken > 0 {
            conn.last_taken = now;
        }
        why != Why::Full || (taken > 0 && conn.rest.len() <= self.limits.buffered)
    }

    /// Ends a connection; `flush`: the service gets what is left of it.
    pub(super) fn close(&mut self, slot: usize, flush: bool, out: &mut Emitter) {
        let Some(Some(mut conn)) = self.slots.get_mut(slot).map(Option::take) else {
            return;
        };
        self.free.push(slot);
        self.held -= conn.rest.len();
        self.count.connections.store(self.open() as u64, Relaxed);
        if flush && !conn.rest.is_empty() {
            self.service
                .bytes(&conn.peer, &mut conn.state, &conn.rest, Why::End, out);
        }
    }

    /// Deals with connections that are idle, or that have waited too long for the rest of a message.
    pub(super) fn look_through(&mut self, now: Instant, out: &mut Emitter) {
        if self.timer.is_none_or(|then| now < then) {
            return;
        }
        self.timer = None;
        for slot in 0..self.slots.len() {
            let Some(Some(conn)) = self.slots.get(slot) else {
                continue;
            };
            let late = conn.waits_since.zip(self.limits.incomplete);
            if late.is_some_and(|(since, most)| now >= since + most)
                && !self.press(slot, Why::Late, now, out)
            {
                self.count.dropped.fetch_add(1, Relaxed);
                self.close(slot, false, out);
            }
            let Some(Some(conn)) = self.slots.get(slot) else {
                continue;
            };
            let idle_at = self.limits.idle.map(|idle| conn.last_taken + idle);
            let late = conn.waits_since.zip(self.limits.incomplete);
            if idle_at.is_some_and(|then| now >= then) {
                self.count.timed_out.fetch_add(1, Relaxed);
                if out.once_in(TEN_MINUTES, "idle") {
                    out.info(format_args!(
                        "The connection of {} is closed: nothing complete came for {} seconds. Further ones are counted in the status as connections_timed_out.",
                        conn.peer.address,
                        self.limits.idle.unwrap_or_default().as_secs_f64()
                    ));
                }
                self.close(slot, true, out);
                continue;
            }
            self.look_at(idle_at);
            self.look_at(late.map(|(since, most)| since + most));
        }
    }
}
