//! Connections of the HTTP client: opened only when needed, counted, and given up on request.
//!
//! The client looks a name up before it knows whether it will open a connection. Here the lookup
//! waits until it does: a kept connection costs no DNS question and no thread, and outlives a DNS
//! failure.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    time, Buffers, ConnectionDetails, Connector, DefaultConnector, NextTimeout, Transport,
};
use ureq::Error;

/// Counters by which the connector tells its owner about connections.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Connections asked for.
    asked: AtomicU64,
    /// Connections opened.
    opened: AtomicU64,
    /// Connections opened under an earlier number are not to be used again.
    generation: AtomicU64,
    /// Depth of connecting: a connection through a proxy is made by connecting to the proxy.
    depth: AtomicU64,
}

impl Ledger {
    /// Connections asked for so far; unchanged by a request that used a kept one.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// Connections opened so far.
    pub fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// The next request opens a connection of its own.
    pub fn retire(&self) {
        self.generation.fetch_add(1, Ordering::Relaxed);
    }
}

/// A connector that does the lookup and keeps the [`Ledger`].
#[derive(Debug)]
pub struct Gate {
    inner: DefaultConnector,
    names: Names,
    ledger: Arc<Ledger>,
}

impl Gate {
    /// Reports to `ledger`.
    pub fn new(ledger: Arc<Ledger>) -> Self {
        Gate {
            inner: DefaultConnector::new(),
            names: Names::default(),
            ledger,
        }
    }

    fn open(&self, details: &ConnectionDetails) -> Result<Option<Box<dyn Transport>>, Error> {
        let proxy = details.config.proxy();
        // Most proxies look the server's name up themselves
        let needed = proxy.is_none_or(|p| p.resolve_target());
        let mut timeout = details.timeout;
        let addrs = if needed {
            let started = std::time::Instant::now();
            let addrs = self.names.resolve(details.uri, details.config, timeout)?;
            if !timeout.after.is_not_happening() {
                let left = timeout.after.saturating_sub(started.elapsed());
                timeout.after = time::Duration::Exact(left);
            }
            addrs
        } else {
            self.names.empty()
        };
        let details = ConnectionDetails {
            uri: details.uri,
            addrs,
            config: details.config,
            request_level: details.request_level,
            resolver: &self.names,
            now: (details.current_time)(),
            timeout,
            current_time: details.current_time.clone(),
            run_connector: details.run_connector.clone(),
            register_shutdown: details.register_shutdown.clone(),
        };
        self.inner.connect(&details, None)
    }
}

impl Connector<()> for Gate {
    type Out = Kept;

    fn connect(
        &self,
        details: &ConnectionDetails,
        _chained: Option<()>,
    ) -> Result<Option<Kept>, Error> {
        let ledger = &self.ledger;
        let outermost = ledger.depth.fetch_add(1, Ordering::Relaxed) == 0;
        let result = if outermost {
            ledger.asked.fetch_add(1, Ordering::Relaxed);
            self.open(details)
        } else {
            self.inner.connect(details, None)
        };
        ledger.depth.fetch_sub(1, Ordering::Relaxed);
        let transport = result?;
        if outermost && transport.is_some() {
            ledger.opened.fetch_add(1, Ordering::Relaxed);
        }
        Ok(transport.map(|inner| Kept {
            inner,
            generation: ledger.generation.load(Ordering::Relaxed),
            ledger: ledger.clone(),
        }))
    }
}

/// A connection that closes when its generation is over.
#[derive(Debug)]
pub struct Kept {
    inner: Box<dyn Transport>,
    generation: u64,
    ledger: Arc<Ledger>,
}

impl Transport for Kept {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.inner.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.inner.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.generation == self.ledger.generation.load(Ordering::Relaxed) && self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}

/// For the client's own question before each request: no addresses yet.
#[derive(Debug)]
pub struct Later;

impl Resolver for Later {
    fn resolve(
        &self,
        _uri: &Uri,
        _config: &ureq::config::Config,
        _timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        Ok(self.empty())
    }
}

type Answer = std::io::Result<Vec<SocketAddr>>;

/// The system's resolver with a time limit. The lookup itself can't be interrupted, so it has a
/// thread; while one hangs, the next question for the same name waits for it too.
#[derive(Debug, Default)]
pub struct Names {
    pending: Mutex<Option<(String, crossbeam_channel::Receiver<Answer>)>>,
}

impl Names {
    fn look_up(&self, name: String, limit: Duration) -> Result<Vec<SocketAddr>, Error> {
        // A panic can't happen while it is held; and if it did, the content would still be sound
        let mut pending = match self.pending.lock() {
            Ok(guard) => guard,
            Err(poisoned) => poisoned.into_inner(),
        };
        let answer = match pending.take() {
            Some((of, answer)) if of == name => answer,
            _ => {
                let (tx, rx) = crossbeam_channel::bounded(1);
                let question = name.clone();
                std::thread::Builder::new()
                    .name("resolve".to_owned())
                    .spawn(move || {
                        let found = question.to_socket_addrs().map(Iterator::collect);
                        // Nobody waits any more: the answer is late, drop it
                        let _ = tx.send(found);
                    })?;
                rx
            }
        };
        match answer.recv_timeout(limit) {
            Ok(found) => Ok(found?),
            Err(_) => {
                *pending = Some((name, answer));
                Err(Error::Timeout(ureq::Timeout::Resolve))
            }
        }
    }
}

impl Resolver for Names {
    fn resolve(
        &self,
        uri: &Uri,
        config: &ureq::config::Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let name = match (uri.scheme(), uri.authority()) {
            (Some(scheme), Some(authority)) => DefaultResolver::host_and_port(scheme, authority),
            _ => None,
        }
        .ok_or(Error::HostNotFound)?;
        let mut addrs = self.empty();
        let found = match name.parse() {
            Ok(literal) => vec![literal],
            Err(_) => {
                let limit = match timeout.after {
                    time::Duration::Exact(limit) => limit,
                    time::Duration::NotHappening => Duration::from_secs(60),
                };
                self.look_up(name, limit)?
            }
        };
        for addr in config.ip_family().keep_wanted(found.into_iter()) {
            if addrs.try_push(addr).is_err() {
                break; // sixteen are enough
            }
        }
        if addrs.is_empty() {
            return Err(Error::HostNotFound);
        }
        Ok(addrs)
    }
}
