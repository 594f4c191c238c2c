//! The server: connections, threads, and the way of a request.

use crate::connection::Connection;
use crate::event::{Event, Observer, Query};
use crate::fault::Fault;
use crate::state::{Counts, Keep, Request, State};
use crate::store::{search_file, Store};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Connections open at a time.
const MAX_CONNECTIONS: usize = 4096;

/// How a receiver is to be.
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where to keep `events.jsonl`. What is there already is taken over.
    pub folder: Option<PathBuf>,
    /// How many events to keep in memory, the last ones.
    pub keep_events: usize,
    /// How many requests to remember, the last ones.
    pub keep_requests: usize,
    /// Whether to keep a [`crate::Ledger`] of numbered lines.
    pub numbered: bool,
    /// Whether to refuse bodies that are not strict JSON.
    pub strict_json: bool,
    /// API keys to accept; any if empty.
    pub tokens: Vec<String>,
    /// The largest body taken, uncompressed bytes; above it the answer is `requestTooLarge`.
    pub request_limit: usize,
    /// Sees each event that is stored. Must be quick and must not call the receiver.
    pub observer: Option<Observer>,
}

impl Default for Options {
    /// On a free port of the loopback, everything in memory.
    fn default() -> Self {
        Options {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            folder: None,
            keep_events: usize::MAX,
            keep_requests: 10_000,
            numbered: false,
            strict_json: false,
            tokens: Vec::new(),
            request_limit: 6_000_000,
            observer: None,
        }
    }
}

/// A running receiver. It stops when dropped.
pub struct Receiver {
    shared: Arc<Shared>,
}

/// The part of a receiver that its threads share.
pub(crate) struct Shared {
    addr: SocketAddr,
    pub strict_json: bool,
    pub tokens: Vec<String>,
    pub request_limit: usize,
    state: Mutex<State>,
    pub changed: Condvar,
    door: Mutex<Door>,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

/// The connections that are open, by number, and whether new ones are accepted.
#[derive(Default)]
struct Door {
    open: bool,
    inside: HashMap<u64, TcpStream>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Seconds since the epoch.
pub(crate) fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0.0, |d| (d.as_secs_f64() * 1e6).round() / 1e6)
}

impl Receiver {
    /// Listens and serves from now on. Fails if it cannot listen or the folder cannot be used.
    pub fn start(options: Options) -> io::Result<Receiver> {
        let store = options.folder.as_deref().map(Store::open).transpose()?;
        let state = State::new(Keep {
            requests: options.keep_requests,
            events: options.keep_events,
            numbered: options.numbered,
            store,
            observer: options.observer,
        })?;
        let listener = TcpListener::bind(options.listen)?;
        let shared = Arc::new(Shared {
            addr: listener.local_addr()?,
            strict_json: options.strict_json,
            tokens: options.tokens,
            request_limit: options.request_limit,
            state: Mutex::new(state),
            changed: Condvar::new(),
            door: Mutex::default(),
            accepting: Mutex::default(),
        });
        shared.open_door(listener)?;
        Ok(Receiver { shared })
    }

    /// `http://127.0.0.1:<port>`
    pub fn url(&self) -> String {
        format!("http://{}", self.shared.addr)
    }

    /// The port; the same after [`Receiver::up`].
    pub fn port(&self) -> u16 {
        self.shared.addr.port()
    }

    /// Looks at what is known.
    pub fn with<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.shared.state())
    }

    /// A copy of the counts.
    pub fn counts(&self) -> Counts {
        self.with(|state| state.counts().clone())
    }

    /// The events kept in memory, in the order of arrival.
    pub fn events(&self) -> Vec<Event> {
        self.with(|state| state.events().cloned().collect())
    }

    /// The messages of a log kept in memory, as text.
    pub fn lines_of(&self, path: &str) -> Vec<String> {
        self.with(|state| state.lines_of(path))
    }

    /// The last requests, oldest first.
    pub fn requests(&self) -> Vec<Request> {
        self.with(|state| state.requests().cloned().collect())
    }

    /// Waits until `condition` holds; false if it does not within `timeout`. It is looked at
    /// whenever something arrived.
    pub fn wait_until(&self, timeout: Duration, mut condition: impl FnMut(&State) -> bool) -> bool {
        let deadline = Instant::now() + timeout;
        let mut state = self.shared.state();
        loop {
            if condition(&state) {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.shared.wait(state, left);
        }
    }

    /// Puts a fault at the end of the queue. A fault that [`Fault::check`] refuses is not added.
    pub fn fault(&self, fault: Fault) {
        self.shared.add_fault(fault);
    }

    /// Removes all faults; ends delays, and silences by closing their connections.
    pub fn clear_faults(&self) {
        self.shared.clear_faults();
    }

    /// Forgets counts, events, requests and sequences; not the folder.
    pub fn reset(&self) {
        self.shared.state().reset();
    }

    /// Closes the port and all connections: the server is gone.
    pub fn down(&self) {
        self.shared.close_door();
    }

    /// Opens the same port again. Fails if something else took it.
    pub fn up(&self) -> io::Result<()> {
        self.shared.reopen()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.shared.state().stopping = true;
        self.shared.changed.notify_all();
        self.shared.close_door();
        // The connections' threads end by themselves; wait, so that the folder is not in use after
        self.wait_until(Duration::from_secs(2), |state| {
            state.counts().open_connections == 0
        });
    }
}

impl Shared {
    pub fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, time: Duration) -> MutexGuard<'a, State> {
        let waited = self.changed.wait_timeout(state, time);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    pub fn add_fault(&self, fault: Fault) {
        if fault.check().is_ok() {
            self.state().faults.add(fault, Instant::now());
        }
    }

    pub fn clear_faults(&self) {
        let mut state = self.state();
        state.faults.clear();
        state.cleared += 1;
        drop(state);
        self.changed.notify_all();
    }

    /// Looks in the folder if there is one, else in the events kept.
    pub fn search(&self, query: &Query) -> io::Result<(usize, Vec<Event>)> {
        let file = self.state().file();
        match file {
            // Not under the lock: a large file takes its time
            Some(file) => search_file(&file, query),
            None => Ok(self.state().search(query)),
        }
    }

    fn open_door(self: &Arc<Self>, listener: TcpListener) -> io::Result<()> {
        let mut accepting = lock(&self.accepting);
        if self.state().stopping {
            return Ok(());
        }
        lock(&self.door).open = true;
        let shared = Arc::clone(self);
        let thread = std::thread::Builder::new()
            .name("accept".into())
            .spawn(move || shared.accept(&listener))?;
        *accepting = Some(thread);
        Ok(())
    }

    pub fn close_door(&self) {
        let mut accepting = lock(&self.accepting);
        let mut door = lock(&self.door);
        door.open = false;
        for stream in door.inside.values() {
            // Already closed by the other side: just as well
            let _ = stream.shutdown(Shutdown::Both);
        }
        drop(door);
        let Some(thread) = accepting.take() else {
            return;
        };
        // A blocking accept returns only for a connection
        let mut addr = self.addr;
        if addr.ip().is_unspecified() {
            addr.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        while !thread.is_finished() {
            let _ = TcpStream::connect_timeout(&addr, Duration::from_millis(100));
            std::thread::yield_now();
        }
        let _ = thread.join();
    }

    pub fn reopen(self: &Arc<Self>) -> io::Result<()> {
        if lock(&self.door).open || self.state().stopping {
            return Ok(());
        }
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            match TcpListener::bind(self.addr) {
                Ok(listener) => return self.open_door(listener),
                // A client's own port may be this one as long as its connection lasts
                Err(error)
                    if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline =>
                {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Closes the port for a while, in a thread of its own.
    pub fn leave_for(self: &Arc<Self>, time: Duration) -> io::Result<()> {
        let shared = Arc::clone(self);
        std::thread::Builder::new().spawn(move || {
            // Lets the answer to the request for this go out
            shared.pause(Duration::from_millis(50), u64::MAX);
            shared.close_door();
            shared.pause(time, u64::MAX);
            if let Err(error) = shared.reopen() {
                eprintln!("receiver: cannot listen again: {error}");
            }
        })?;
        Ok(())
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        loop {
            let accepted = listener.accept();
            let mut door = lock(&self.door);
            if !door.open {
                return;
            }
            let Ok((stream, _)) = accepted else {
                drop(door);
                // Out of file descriptors, mostly
                std::thread::sleep(Duration::from_millis(10));
                continue;
            };
            if door.inside.len() >= MAX_CONNECTIONS {
                continue;
            }
            let Ok(copy) = stream.try_clone() else {
                continue;
            };
            let number = {
                let mut state = self.state();
                let counts = state.counts_mut();
                counts.connections += 1;
                counts.open_connections += 1;
                counts.connections
            };
            door.inside.insert(number, copy);
            drop(door);
            self.changed.notify_all();
            let shared = Arc::clone(self);
            let spawned = std::thread::Builder::new()
                .name(format!("connection {number}"))
                .spawn(move || {
                    // A connection that breaks is the client's business
                    let _ = Connection::new(&shared, &stream, number).and_then(|c| c.serve());
                    let _ = stream.shutdown(Shutdown::Both);
                    shared.left(number);
                });
            if spawned.is_err() {
                self.left(number);
            }
        }
    }

    fn left(&self, number: u64) {
        lock(&self.door).inside.remove(&number);
        self.state().counts_mut().open_connections -= 1;
        self.changed.notify_all();
    }

    /// Waits; ends early when the receiver stops or faults are cleared after `cleared` clearings
    /// (`u64::MAX`: whatever is cleared).
    pub fn pause(&self, time: Duration, cleared: u64) {
        let deadline = Instant::now() + time;
        let mut state = self.state();
        while !state.stopping && (cleared == u64::MAX || state.cleared == cleared) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self.wait(state, left);
        }
    }

    pub fn ended(&self, cleared: u64) -> bool {
        let state = self.state();
        state.stopping || state.cleared != cleared
    }
}
