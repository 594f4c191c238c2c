//! The state of a receiver: counts, requests, events, sequences.

use crate::body::{merge_attrs, Body, NameIndex, RawEvent, NONE};
use crate::event::{path_of_thread, Event, Found, Observer, Query};
use crate::fault::Faults;
use crate::ledger::Ledger;
use crate::sequence::{Arrival, Seen};
use crate::store::{scan_file, Store};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// At most so many findings are kept.
const MAX_PROBLEMS: usize = 200;

/// Counts since the start, in bytes where they are sizes.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Counts {
    /// Connections accepted.
    pub connections: u64,
    /// Connections open now.
    pub open_connections: u64,
    /// `addEvents` requests that came whole.
    pub requests: u64,
    /// Those that have events.
    pub requests_with_events: u64,
    /// Those that were stored (also those without events).
    pub accepted: u64,
    /// Those that met a fault.
    pub faulted: u64,
    /// Those whose body could not be inflated or read.
    pub malformed: u64,
    /// Those refused for their token, size or encoding, or for a member that is missing.
    pub refused: u64,
    /// Body bytes as they came.
    pub wire_bytes: u64,
    /// Body bytes uncompressed.
    pub body_bytes: u64,
    /// Events stored.
    pub events: u64,
    /// Bytes of their messages.
    pub message_bytes: u64,
    /// Events that had been stored before.
    pub duplicates: u64,
    /// Events stored whose sequence number is below one stored before.
    pub late: u64,
    /// Events stored that have no sequence id and number, so that a resend can't be told.
    pub unsequenced: u64,
    /// Findings in well-formed bodies; [`State::problems`] names them.
    pub problems: u64,
    /// For each log path.
    #[serde(serialize_with = "by_path")]
    pub logs: BTreeMap<Arc<str>, LogCounts>,
}

fn by_path<S: serde::Serializer>(
    logs: &BTreeMap<Arc<str>, LogCounts>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(logs.iter().map(|(path, log)| (&**path, log)))
}

/// Counts of one log.
#[derive(Debug, Clone, Default, Serialize)]
pub struct LogCounts {
    /// Events stored.
    pub events: u64,
    /// Bytes of their messages.
    pub message_bytes: u64,
    /// Events that had been stored before.
    pub duplicates: u64,
}

/// One `addEvents` request.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Request {
    /// Counted from 1.
    pub number: u64,
    /// The connection it came over, counted from 1.
    pub connection: u64,
    /// When its body was complete, seconds since the epoch.
    pub at: f64,
    /// The request target.
    pub target: String,
    /// Names as they came, and values.
    pub headers: Vec<(String, String)>,
    /// `Content-Encoding`, empty if none.
    pub encoding: String,
    /// Body bytes as they came.
    pub wire_bytes: usize,
    /// Body bytes uncompressed.
    pub body_bytes: usize,
    /// Whether the body could be inflated and read.
    pub decoded: bool,
    /// Whether the body is strict JSON.
    pub strict_json: bool,
    /// How many events it has.
    pub events: usize,
    /// How many of those had been stored before.
    pub duplicates: u64,
    /// Whether it was stored.
    pub stored: bool,
    /// The API key. Not told over HTTP.
    #[serde(skip)]
    pub token: String,
    /// Upload session.
    pub session: String,
    /// `sessionInfo`.
    pub session_info: Option<Map<String, Value>>,
    /// `client_time`, seconds since the epoch.
    pub client_time: Option<u64>,
    /// HTTP status of the answer; 0 for none.
    pub answer: u16,
    /// The fault that it met, or what was wrong with it.
    pub note: String,
}

impl Request {
    /// The value of a header, whatever the case of its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        crate::http::header(&self.headers, name)
    }
}

/// The state of a receiver. [`crate::Receiver::wait_until`] shows it to its condition.
#[derive(Default)]
pub struct State {
    counts: Counts,
    requests: VecDeque<Request>,
    keep_requests: usize,
    events: VecDeque<Event>,
    keep_events: usize,
    seen: HashMap<Arc<str>, Seen>,
    ledger: Option<Ledger>,
    problems: VecDeque<String>,
    store: Option<Store>,
    observer: Option<Observer>,
    pub(crate) faults: Faults,
    /// Counts up when faults are cleared: ends delays and silences.
    pub(crate) cleared: u64,
    pub(crate) stopping: bool,
}

/// The options about kept requests and events; see [`crate::Options`].
#[derive(Default)]
pub(crate) struct Keep {
    pub requests: usize,
    pub events: usize,
    pub numbered: bool,
    pub store: Option<Store>,
    pub observer: Option<Observer>,
}

impl State {
    /// Takes over what is stored already.
    pub(crate) fn new(keep: Keep) -> io::Result<State> {
        let mut state = State {
            keep_requests: keep.requests,
            keep_events: keep.events,
            ledger: keep.numbered.then(Ledger::default),
            ..State::default()
        };
        if let Some(store) = &keep.store {
            scan_file(store.path(), |event| {
                state.arrival(event.si.as_ref(), event.sn);
                state.take_in(event);
            })?;
        }
        state.store = keep.store;
        state.observer = keep.observer;
        Ok(state)
    }

    /// Counts since the start (and of what the folder held before).
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    pub(crate) fn counts_mut(&mut self) -> &mut Counts {
        &mut self.counts
    }

    /// Events in the order of arrival, as many as are kept.
    pub fn events(&self) -> impl DoubleEndedIterator<Item = &Event> + ExactSizeIterator {
        self.events.iter()
    }

    /// How many events of a log were stored.
    pub fn event_count(&self, path: &str) -> u64 {
        self.counts.logs.get(path).map_or(0, |log| log.events)
    }

    /// Messages of a log as text, in the order of arrival, as many as are kept.
    pub fn lines_of(&self, path: &str) -> Vec<String> {
        let of_path = self.events.iter().filter(|event| &*event.path == path);
        of_path.map(|event| event.text().into_owned()).collect()
    }

    /// The last requests, oldest first.
    pub fn requests(&self) -> impl DoubleEndedIterator<Item = &Request> + ExactSizeIterator {
        self.requests.iter()
    }

    /// The numbers of numbered lines; empty unless [`crate::Options::numbered`] is set.
    pub fn ledger(&self) -> &Ledger {
        static NOTHING: std::sync::OnceLock<Ledger> = std::sync::OnceLock::new();
        self.ledger
            .as_ref()
            .unwrap_or_else(|| NOTHING.get_or_init(Ledger::default))
    }

    /// The last few oddities of bodies that were well-formed and yet cannot be meant so.
    pub fn problems(&self) -> impl Iterator<Item = &str> {
        self.problems.iter().map(String::as_str)
    }

    /// How many faults wait or are in force.
    pub fn faults_waiting(&self) -> usize {
        self.faults.len()
    }

    pub(crate) fn problem(&mut self, text: String) {
        self.counts.problems += 1;
        if self.problems.len() == MAX_PROBLEMS {
            self.problems.pop_front();
        }
        self.problems.push_back(text);
    }

    pub(crate) fn add_request(&mut self, request: Request) {
        if self.keep_requests == 0 {
            return;
        }
        if self.requests.len() >= self.keep_requests {
            self.requests.pop_front();
        }
        self.requests.push_back(request);
    }

    /// Forgets all but the connections, the faults and the folder.
    pub(crate) fn reset(&mut self) {
        self.counts = Counts {
            connections: self.counts.connections,
            open_connections: self.counts.open_connections,
            ..Counts::default()
        };
        self.requests.clear();
        self.events.clear();
        self.seen.clear();
        self.ledger = self.ledger.as_ref().map(|_| Ledger::default());
        self.problems.clear();
    }

    /// Stores a body's events, dropping those that were stored before; returns how many those
    /// were. After an error the folder takes nothing any more, and neither does the receiver.
    pub(crate) fn store(&mut self, body: &Body, request: u64, at: f64) -> io::Result<u64> {
        if let Some(store) = &self.store {
            store.check()?;
        }
        let mut shared = Shared {
            names: vec![None; body.names.len()],
            paths: HashMap::new(),
            attrs: HashMap::new(),
            own: None,
        };
        let session: Arc<str> = body.session.as_deref().unwrap_or("").into();
        let mut duplicates = 0;
        for raw in body.events.iter().flatten() {
            let si = (raw.si != NONE).then(|| shared.name(body, raw.si));
            let path = shared.path(body, raw.thread);
            match self.arrival(si.as_ref(), raw.sn) {
                Arrival::New => {}
                Arrival::Late => self.counts.late += 1,
                Arrival::Again => {
                    duplicates += 1;
                    self.counts.duplicates += 1;
                    self.counts.logs.entry(path).or_default().duplicates += 1;
                    continue;
                }
            }
            let wanted = self.store.is_some() || self.keep_events > 0 || self.observer.is_some();
            if !wanted {
                self.count_event(&path, &raw.message, raw.sn.is_some());
                continue;
            }
            self.take_in(Event {
                at,
                request,
                thread: shared.name(body, raw.thread),
                attrs: shared.attrs(body, raw),
                message: raw.message.as_ref().into(),
                ts: raw.ts,
                si,
                sn: raw.sn,
                sample_rate: raw.sample_rate,
                session: Arc::clone(&session),
                path,
            });
        }
        if let Some(store) = &mut self.store {
            store.flush()?;
        }
        Ok(duplicates)
    }

    fn arrival(&mut self, si: Option<&Arc<str>>, sn: Option<u64>) -> Arrival {
        let (Some(si), Some(sn)) = (si, sn) else {
            return Arrival::New;
        };
        match self.seen.get_mut(si) {
            Some(seen) => seen.insert(sn),
            None => self.seen.entry(Arc::clone(si)).or_default().insert(sn),
        }
    }

    fn take_in(&mut self, event: Event) {
        self.count_event(&event.path, &event.message, event.sn.is_some());
        if let Some(store) = &mut self.store {
            store.add(&event);
        }
        if let Some(observer) = &self.observer {
            observer(&event);
        }
        if self.keep_events > 0 {
            if self.events.len() >= self.keep_events {
                self.events.pop_front();
            }
            self.events.push_back(event);
        }
    }

    fn count_event(&mut self, path: &Arc<str>, message: &[u8], sequenced: bool) {
        let bytes = message.len() as u64;
        self.counts.events += 1;
        self.counts.message_bytes += bytes;
        self.counts.unsequenced += u64::from(!sequenced);
        let log = match self.counts.logs.get_mut(path) {
            Some(log) => log,
            None => self.counts.logs.entry(Arc::clone(path)).or_default(),
        };
        log.events += 1;
        log.message_bytes += bytes;
        if let Some(ledger) = &mut self.ledger {
            ledger.add_line(path, message);
        }
    }

    /// The file that events are written to.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        self.store.as_ref().map(|store| store.path().to_owned())
    }

    /// Looks in the events kept. Returns how many fit and the events up to the query's limit.
    pub fn search(&self, query: &Query) -> (usize, Vec<Event>) {
        let mut found = Found::new(query);
        self.events.iter().for_each(|event| found.look_at(event));
        (found.matches, found.events.into())
    }
}

/// Names, paths and attributes that the events of one request share.
struct Shared {
    names: Vec<Option<Arc<str>>>,
    paths: HashMap<NameIndex, Arc<str>>,
    attrs: HashMap<NameIndex, Arc<Map<String, Value>>>,
    /// Of the last event that had its own.
    own: Option<OwnAttrs>,
}

/// Attributes of one event, and what they make together with those of its log.
struct OwnAttrs {
    log: NameIndex,
    text: Vec<u8>,
    merged: Arc<Map<String, Value>>,
}

impl Shared {
    fn name(&mut self, body: &Body, index: NameIndex) -> Arc<str> {
        let (Some(place), Some(name)) = (
            self.names.get_mut(index as usize),
            body.names.get(index as usize),
        ) else {
            return "".into();
        };
        Arc::clone(place.get_or_insert_with(|| name.as_ref().into()))
    }

    fn path(&mut self, body: &Body, thread: NameIndex) -> Arc<str> {
        let path = self.paths.entry(thread).or_insert_with(|| {
            let name = body.threads.get(&thread).map_or("", String::as_str);
            path_of_thread(name).into()
        });
        Arc::clone(path)
    }

    fn attrs(&mut self, body: &Body, event: &RawEvent) -> Arc<Map<String, Value>> {
        let of_log = self
            .attrs
            .entry(event.log)
            .or_insert_with(|| Arc::new(body.logs.get(&event.log).cloned().unwrap_or_default()));
        if event.attrs.is_empty() {
            return Arc::clone(of_log);
        }
        if let Some(own) = &self.own {
            if own.log == event.log && own.text == event.attrs {
                return Arc::clone(&own.merged);
            }
        }
        let mut merged = Map::clone(of_log);
        merge_attrs(event.attrs, &mut merged);
        let merged = Arc::new(merged);
        self.own = Some(OwnAttrs {
            log: event.log,
            text: event.attrs.to_vec(),
            merged: Arc::clone(&merged),
        });
        merged
    }
}
