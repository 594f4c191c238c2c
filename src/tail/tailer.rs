//! All files of one session: what is followed, what is due, what is in flight.
//!
//! One thread owns a [`Tailer`], so it has no locks. Looking at paths is in `poll.rs`, finding
//! them in `discover.rs`, checkpoints in `checkpoint.rs` and `store.rs`.

use super::checkpoint::Saved;
use super::counters::{Counters, Skip};
use super::generation::{Generation, State};
use super::identity::FileId;
use super::log::Log;
use super::read::{self, Reader, Shape, Turn};
use super::settings::{Entry, Settings};
use super::store::Store;
use crate::shape::Unit;
use crate::util::throttle::Throttle;
use crate::wire::{Batch, Envelope, Stamp};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A log's share of a batch before the next log has its turn.
const SHARE: u64 = 256 << 10;

/// The state machine of tailing.
pub struct Tailer {
    pub(super) settings: Settings,
    pub(super) entries: Vec<Arc<Entry>>,
    pub(super) envelope: Arc<Envelope>,
    pub(super) logs: HashMap<u64, Log>,
    pub(super) by_path: HashMap<PathBuf, u64>,
    /// Which log has the content with this identity.
    pub(super) owned: HashMap<FileId, u64>,
    /// Further logs with the same identity (links), rarely any.
    pub(super) aliases: HashMap<FileId, Vec<u64>>,
    /// Which log has the generation with this key.
    pub(super) by_key: HashMap<u64, u64>,
    pub(super) due: BinaryHeap<Reverse<(Instant, u64)>>,
    pub(super) ready: VecDeque<u64>,
    pub(super) store: Store,
    /// Generations whose start is in no checkpoint yet.
    pub(super) undurable: bool,
    /// Something moved since the last full checkpoint.
    pub(super) moved: bool,
    pub(super) last_full: Instant,
    pub(super) scans: u64,
    pub(super) last_scan: Option<f64>,
    pub(super) next_scan: Instant,
    /// When the last scan was made.
    pub(super) scanned_at: Instant,
    /// Patterns of earlier runs: a file that they cover and that no checkpoint knows is new.
    pub(super) watched_before: Vec<PathBuf>,
    /// When the Python agent wrote the checkpoints that were taken over.
    pub(super) restored_from_python: Option<f64>,
    /// Totals of logs that are not followed any more.
    pub(super) retired: Counters,
    /// Remembered logs that the configuration does not name at the moment.
    pub(super) orphans: Vec<(PathBuf, super::checkpoint::SavedLog)>,
    /// So many of them are looked through for files that are gone.
    pub(super) many_orphans: usize,
    /// How many of `entries`, from the front, came while we run.
    pub(super) dynamic: usize,
    /// Some log is finished and then forgotten.
    pub(super) leaving: bool,
    /// Logs that are in no file, by the path that they would have.
    pub(super) memory_logs: HashMap<PathBuf, u64>,
    pub(super) unreadable: HashMap<PathBuf, String>,
    pub(super) throttle: Throttle,
    open: usize,
    /// Where the search for a file to close goes on.
    hand: VecDeque<u64>,
    buf: Vec<u8>,
    unit: Unit,
    stamp: Stamp,
    started: Instant,
}

impl Tailer {
    /// Takes up what is remembered, makes the first scan, and writes where everything starts: from here
    /// on nothing that is written to a followed file can be missed.
    pub fn new(
        settings: Settings,
        entries: Vec<Entry>,
        envelope: Arc<Envelope>,
        saved: Option<&Saved>,
    ) -> Self {
        let mut tailer = Tailer::bare(settings, entries, envelope);
        let now = tailer.started;
        tailer.restore(saved, now);
        tailer.scan(now);
        tailer.checkpoint_full();
        tailer
    }

    /// One that knows no file yet and has written nothing.
    pub(super) fn bare(
        mut settings: Settings,
        entries: Vec<Entry>,
        envelope: Arc<Envelope>,
    ) -> Self {
        let now = Instant::now();
        let descriptors =
            nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE);
        if let Ok((soft, _)) = descriptors {
            let ours = usize::try_from(soft)
                .unwrap_or(usize::MAX)
                .saturating_sub(64);
            settings.max_open_files = settings.max_open_files.min(ours.max(8));
        }
        let store = Store::new(&settings.data_dir, &settings.session);
        let windows = entries.iter().filter_map(|e| e.pipeline.as_ref());
        let window = windows.map(|p| p.window()).max().unwrap_or(0);
        let buf =
            vec![0; read::buffer_size(settings.read_page_size, settings.max_line_size, window)];
        Tailer {
            entries: entries.into_iter().map(Arc::new).collect(),
            envelope,
            logs: HashMap::new(),
            by_path: HashMap::new(),
            owned: HashMap::new(),
            aliases: HashMap::new(),
            by_key: HashMap::new(),
            due: BinaryHeap::new(),
            ready: VecDeque::new(),
            store,
            undurable: false,
            moved: true,
            last_full: now,
            scans: 0,
            last_scan: None,
            next_scan: now,
            watched_before: Vec::new(),
            restored_from_python: None,
            scanned_at: now,
            retired: Counters::default(),
            orphans: Vec::new(),
            many_orphans: super::dynamic::MANY_ORPHANS,
            dynamic: 0,
            leaving: false,
            memory_logs: HashMap::new(),
            unreadable: HashMap::new(),
            throttle: Throttle::default(),
            open: 0,
            hand: VecDeque::new(),
            buf,
            unit: Unit::new(),
            stamp: Stamp::new(crate::util::time::now_nanos()),
            started: now,
            settings,
        }
    }

    /// The buffer holds a whole unit of every pipeline: what redaction did not see whole could show
    /// a part of a secret.
    pub(super) fn fit_buffer(&mut self, entry: &Entry) {
        let Some(pipeline) = &entry.pipeline else {
            return;
        };
        let (page, line) = (self.settings.read_page_size, self.settings.max_line_size);
        let size = read::buffer_size(page, line, pipeline.window());
        if size > self.buf.len() {
            self.buf.resize(size, 0);
        }
    }

    /// Adds a generation to a log.
    pub(super) fn adopt(&mut self, log: u64, generation: Generation, at: Option<usize>) {
        if generation.id.ino != 0 {
            if let Some(other) = self.owned.insert(generation.id, log).filter(|o| *o != log) {
                self.aliases.entry(generation.id).or_default().push(other);
            }
        }
        self.by_key.insert(generation.key, log);
        self.undurable = true;
        self.moved = true;
        if let Some(log) = self.logs.get_mut(&log) {
            log.dirty = true;
            let at = at.unwrap_or(log.generations.len());
            log.generations.insert(at, generation);
        }
    }

    /// Forgets a generation.
    pub(super) fn drop_generation(&mut self, log: u64, key: u64) {
        let log_number = log;
        self.by_key.remove(&key);
        if let Some(log) = self.logs.get_mut(&log) {
            if let Some(at) = log.generations.iter().position(|g| g.key == key) {
                let gone = log.generations.remove(at);
                if gone.source.is_some() {
                    self.open = self.open.saturating_sub(1);
                }
                log.dirty = true;
                self.moved = true;
                if !log.generations.iter().any(|g| g.id == gone.id) {
                    self.disown(gone.id, log_number);
                }
            }
        }
    }

    /// A log has nothing to do with this identity any more; another that has it by a second name
    /// takes over.
    pub(super) fn disown(&mut self, id: FileId, log: u64) {
        if let Some(others) = self.aliases.get_mut(&id) {
            others.retain(|o| *o != log);
        }
        if self.owned.get(&id) != Some(&log) {
            return;
        }
        self.owned.remove(&id);
        while let Some(other) = self.aliases.get_mut(&id).and_then(Vec::pop) {
            let has_it = |l: &Log| l.generations.iter().any(|g| g.id == id);
            if self.logs.get(&other).is_some_and(has_it) {
                self.owned.insert(id, other);
                break;
            }
        }
        if self.aliases.get(&id).is_some_and(Vec::is_empty) {
            self.aliases.remove(&id);
        }
    }

    /// Puts a log into the queue of those that have something to read.
    pub(super) fn make_ready(&mut self, number: u64) {
        if let Some(log) = self.logs.get_mut(&number) {
            if !log.ready {
                log.ready = true;
                self.ready.push_back(number);
            }
        }
    }

    /// Plans a log's next look. Long waits end at whole multiples of a second, so that many idle
    /// files share a wake-up.
    pub(super) fn plan(&mut self, number: u64, now: Instant, at_most: Option<Instant>) {
        let grid = |interval: Duration| {
            if interval >= Duration::from_secs(1) {
                1_000
            } else {
                125
            }
        };
        let started = self.started;
        if let Some(log) = self.logs.get_mut(&number) {
            let interval = log.interval.max(log.entry.minimum_scan_interval);
            let mut due = now + interval;
            if let Some(at_most) = at_most {
                due = due.min(at_most.max(now + Duration::from_millis(1)));
            }
            let since = due.duration_since(started).as_millis() as u64;
            let grid = grid(interval);
            let due = started + Duration::from_millis(since.div_ceil(grid) * grid);
            log.due = due;
            self.due.push(Reverse((due, number)));
        }
    }

    /// The longest pause between looks at an idle file: longer the more files there are.
    pub(super) fn idle_interval(&self) -> Duration {
        let by_number = Duration::from_millis(5 * self.logs.len() as u64);
        by_number
            .max(Duration::from_secs(1))
            .min(self.settings.max_poll)
            .max(self.settings.min_poll)
    }

    /// Looks at every log that is due; scans for new files when that is due.
    pub fn poll(&mut self, now: Instant) {
        if now >= self.next_scan {
            self.scan(now);
        }
        while let Some(Reverse((due, number))) = self.due.peek().copied() {
            if due > now {
                break;
            }
            self.due.pop();
            // A log may be in the heap more than once; only its latest plan counts.
            if self.logs.get(&number).is_some_and(|log| log.due == due) {
                self.look(number, now);
            }
        }
        if self.leaving {
            self.retire_left();
        }
        super::siblings::forget_listings();
    }

    /// Scans for new files now, whenever the next scan would have been.
    pub fn scan_now(&mut self, now: Instant) {
        self.next_scan = now;
        self.poll(now);
    }

    /// Looks at every log now (at stop).
    pub fn poll_all(&mut self, now: Instant) {
        let numbers: Vec<u64> = self.logs.keys().copied().collect();
        for number in numbers {
            self.look(number, now);
        }
    }

    /// When [`Tailer::poll`] has something to do next.
    pub fn next_poll(&self) -> Instant {
        self.due.peek().map_or(self.next_scan, |Reverse((due, _))| {
            (*due).min(self.next_scan)
        })
    }

    /// Whether some file has unread bytes.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Fills the batch from the files that have something, in turns. True if the batch is full.
    pub fn fill(&mut self, batch: &mut Batch, now: Instant) -> bool {
        while let Some(number) = self.ready.pop_front() {
            let Some(mut log) = self.logs.remove(&number) else {
                continue;
            };
            log.ready = false;
            let outcome = self.read_log(&mut log, batch, now);
            self.logs.insert(number, log);
            match outcome {
                Turn::More => self.make_ready(number),
                Turn::BatchFull => {
                    // First in the next batch if others had their turn before it
                    if let Some(log) = self.logs.get_mut(&number) {
                        log.ready = true;
                    }
                    if batch.spans.len() > 1 {
                        self.ready.push_front(number);
                    } else {
                        self.ready.push_back(number);
                    }
                    return true;
                }
                Turn::Drained(waits_until) => self.plan_after_read(number, now, waits_until),
                Turn::Replaced(key) => self.replaced(number, key, now),
                Turn::Vanished(key) => self.vanished(number, key, now),
                Turn::Failed(e) => self.failed(number, &e, now),
            }
        }
        false
    }

    fn plan_after_read(&mut self, number: u64, now: Instant, waits_until: Option<Instant>) {
        let min = self.settings.min_poll;
        if let Some(log) = self.logs.get_mut(&number) {
            log.interval = min;
            if log.error.take().is_some() {
                log::info!("reading {} again", log.path.display());
            }
        }
        self.plan(number, now, waits_until);
    }

    /// Reads the log's generations in order: the current one only when the rotated ones are done.
    fn read_log(&mut self, log: &mut Log, batch: &mut Batch, now: Instant) -> Turn {
        let max_line = log.prepare(
            &self.envelope,
            self.settings.max_request,
            self.settings.max_line_size,
        );
        let Some(mut label) = log.label.take() else {
            return Turn::Drained(None);
        };
        let mut waits = None;
        let mut outcome = Turn::Drained(None);
        let mut share = SHARE;
        for at in 0..log.generations.len() {
            if log.generations[at].unread() == 0 {
                continue;
            }
            let was_open = log.generations[at].source.is_some();
            if !was_open {
                self.make_room();
            }
            self.skip_ahead(log, at, batch, now);
            let generation = &mut log.generations[at];
            let before = generation.read;
            let id = generation.id;
            let shape = log.entry.pipeline.as_deref().map(|pipeline| Shape {
                pipeline,
                unit: &mut self.unit,
                log_attrs: &log.attrs,
            });
            let mut reader = Reader {
                shape,
                envelope: &self.envelope,
                stamp: &mut self.stamp,
                batch,
                max_line,
                max_request: self.settings.max_request,
                line_completion_wait: self.settings.line_completion_wait,
                monotonic: self.settings.monotonic,
                max_sequence_number: self.settings.max_sequence_number,
                now,
            };
            outcome = reader.turn(
                &mut self.buf,
                generation,
                &log.path,
                &mut label,
                &mut log.counters,
                share,
            );
            if generation.source.is_some() && !was_open {
                self.open += 1;
                self.in_turn(log.number);
            }
            if generation.id != id {
                let new = generation.id;
                self.disown(id, log.number);
                self.owned.insert(new, log.number);
            }
            if generation.read > before {
                generation.growth = now;
                share = share.saturating_sub(generation.read - before);
            }
            match outcome {
                Turn::Drained(None) => {}
                Turn::Drained(Some(until)) => {
                    waits = Some(until);
                    // Later content waits for the end of this line, or for its time to run out
                    break;
                }
                Turn::Failed(e) if generation.state != State::Current && !is_full_table(&e) => {
                    // A rotated file that can't be read does not hold up its successor; it is tried
                    // again until its grace is over
                    let path = generation.path.display().to_string();
                    if self.throttle.allow(&path, Duration::from_secs(60)) {
                        log::warn!("{path} can't be read at the moment and is tried again: {e}");
                    }
                    let since = match generation.state {
                        State::Rotated(since) | State::Gone(since) => since,
                        State::Current => now,
                    };
                    if now.duration_since(since) > self.settings.rotated_grace {
                        let lost = generation.unread();
                        log::warn!(
                            "{} could not be read for {:.0} s ({e}); its last {lost} bytes are given up",
                            generation.path.display(),
                            self.settings.rotated_grace.as_secs_f64()
                        );
                        log.counters.skip(Skip::Vanished, lost);
                        generation.size = generation.read;
                    }
                    outcome = Turn::Drained(None);
                }
                _ => break,
            }
            if share == 0 {
                outcome = Turn::More;
                break;
            }
        }
        log.label = Some(label);
        match outcome {
            Turn::Drained(_) => {
                log.started = true;
                Turn::Drained(waits)
            }
            other => other,
        }
    }

    /// Applies the limits that the operator set on how far behind a file may be.
    pub(super) fn skip_ahead(&mut self, log: &mut Log, at: usize, batch: &mut Batch, now: Instant) {
        let generation = &mut log.generations[at];
        let waiting = generation.unread();
        if waiting == 0 {
            return;
        }
        let (to, why, limit) = match self.settings.staleness {
            Some(limit) if now.duration_since(log.last_success) > limit => (
                generation.size,
                Skip::Stale,
                format!("copy_staleness_threshold = {} s", limit.as_secs_f64()),
            ),
            _ => {
                let (name, limit) = if log.started {
                    (
                        "max_existing_log_offset_size",
                        self.settings.max_existing_offset,
                    )
                } else {
                    ("max_log_offset_size", self.settings.max_new_offset)
                };
                match limit {
                    Some(limit) if waiting > limit => (
                        next_line(generation, &log.path, generation.size - limit),
                        Skip::TooFarBehind,
                        format!("{name} = {limit}"),
                    ),
                    _ => return,
                }
            }
        };
        let bytes = to.saturating_sub(generation.read);
        if bytes == 0 {
            return;
        }
        let _ = generation.open(&log.path);
        read::skip(batch, generation, to);
        log.counters.skip(why, bytes);
        let kind = if log.started { "existing" } else { "new" };
        log::warn!(
            "Skipped copying {bytes} {kind} bytes in '{}' due to: {} ({limit} is set)",
            log.path.display(),
            why.name()
        );
        log.last_success = now;
    }

    /// Closes files until one more may be opened: the ones that had their turn longest ago.
    fn make_room(&mut self) {
        let mut looked = 0;
        let most = self.hand.len();
        while self.open >= self.settings.max_open_files && looked <= most {
            let Some(number) = self.hand.pop_front() else {
                break;
            };
            looked += 1;
            let Some(log) = self.logs.get_mut(&number) else {
                continue;
            };
            if log.in_memory {
                continue;
            }
            for generation in &mut log.generations {
                if generation.source.is_some() {
                    generation.source = None;
                    self.open = self.open.saturating_sub(1);
                }
            }
        }
    }

    /// No descriptor is left: gives half of ours back, and takes fewer from now on.
    pub(super) fn close_some(&mut self) {
        let most = self.settings.max_open_files;
        self.settings.max_open_files = (self.open / 2).max(4);
        self.make_room();
        self.settings.max_open_files = most.min((self.open + 8).max(8));
    }

    /// Notes that a file was opened; forgets the turns of what was closed meanwhile.
    fn in_turn(&mut self, number: u64) {
        self.hand.push_back(number);
        if self.hand.len() > 2 * self.open + 64 {
            let logs = &self.logs;
            let mut seen = std::collections::HashSet::new();
            self.hand.retain(|n| {
                // A log that is being read is not in the map at the moment
                let open = logs
                    .get(n)
                    .is_none_or(|l| l.generations.iter().any(|g| g.source.is_some()));
                open && seen.insert(*n)
            });
        }
    }

    /// Opens a file that has nothing to read yet, if there is room, so that what is written before
    /// it is renamed or deleted can still be read.
    pub(super) fn hold(&mut self, number: u64) {
        if self.open >= self.settings.max_open_files {
            return;
        }
        if let Some(log) = self.logs.get_mut(&number) {
            let path = log.path.clone();
            if let Some(generation) = log.current() {
                if generation.source.is_none() && generation.open(&path).is_ok() {
                    self.open += 1;
                    self.in_turn(number);
                }
            }
        }
    }

    /// Closes a generation's file.
    pub(super) fn close(&mut self, number: u64, key: u64) {
        if let Some(generation) = self.logs.get_mut(&number).and_then(|l| l.generation(key)) {
            if generation.source.take().is_some() {
                self.open = self.open.saturating_sub(1);
            }
        }
    }

    /// Settles what a delivered or discarded batch covers.
    pub fn commit(&mut self, batch: &Batch, discarded: bool, now: Instant) {
        for span in &batch.spans {
            let Some(log) = self
                .by_key
                .get(&span.source)
                .and_then(|n| self.logs.get_mut(n))
            else {
                continue;
            };
            if let Some(generation) = log.generations.iter_mut().find(|g| g.key == span.source) {
                let before = generation.committed;
                generation.commit(span.to, span.mark, self.settings.max_sequence_number);
                log.counters.settled += generation.committed.saturating_sub(before);
                super::memory::release(generation);
            }
            log.dirty = true;
            log.last_success = now;
            self.moved = true;
            log.counters.shape.add(&span.counts);
            let odd = span.counts.parse_failures + span.counts.missing_messages;
            if odd > 0 {
                let path = log.path.display();
                let key = format!("parse {path}");
                if self.throttle.allow(&key, Duration::from_secs(300)) {
                    log::warn!(
                        "{odd} lines of {path} are not of the format that its entry names, or lack the message, and were sent as they are"
                    );
                }
            }
            if discarded {
                log.counters.failed += span.message_bytes;
                log.counters.failed_lines += span.lines;
            } else {
                log.counters.lines += span.lines;
                log.counters.copied += span.message_bytes;
            }
        }
    }

    /// Notes what a batch that was handed over covers.
    pub fn handed_over(&mut self, spans: &[crate::wire::Span]) {
        for span in spans {
            let log = self.by_key.get(&span.source);
            if let Some(log) = log.and_then(|n| self.logs.get_mut(n)) {
                if let Some(g) = log.generation(span.source) {
                    g.sent = g.sent.max(span.to);
                }
            }
        }
    }

    /// Counts a batch that was sent more often than once, or that will be sent again in another form.
    pub fn count_resent(&mut self, batch: &Batch, times: u64) {
        if times == 0 {
            return;
        }
        for span in &batch.spans {
            let log = self.by_key.get(&span.source);
            if let Some(log) = log.and_then(|n| self.logs.get_mut(n)) {
                log.counters.resent += span.message_bytes * times;
            }
        }
    }

    /// Goes back to what is settled; nothing may be in flight.
    pub fn rewind(&mut self) {
        let mut again = Vec::new();
        for (number, log) in &mut self.logs {
            for generation in &mut log.generations {
                if !generation.settled() {
                    generation.rewind();
                    again.push(*number);
                }
            }
        }
        for number in again {
            self.make_ready(number);
        }
    }

    /// Writes what moved, if the last full checkpoint is old enough all of it.
    pub fn checkpoint(&mut self, now: Instant) {
        if !self.moved && !self.undurable {
            return;
        }
        if now.duration_since(self.last_full) >= self.settings.full_checkpoint_interval {
            self.checkpoint_full();
        } else {
            self.checkpoint_active();
        }
    }

    /// Before a batch is sent: the start of each content in it must be on disk, so that what is
    /// sent again after a crash has the same sequence id.
    pub fn before_send(&mut self) {
        if self.undurable {
            self.checkpoint_active();
        }
    }

    /// The options in force.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether the state of some log's content is current.
    #[cfg(test)]
    pub(super) fn log_at(&mut self, path: &std::path::Path) -> Option<&mut Log> {
        let number = *self.by_path.get(path)?;
        self.logs.get_mut(&number)
    }

    /// For a test.
    #[cfg(test)]
    pub(super) fn hand_len(&self) -> usize {
        self.hand.len()
    }

    /// How many files are open.
    pub fn open_files(&self) -> usize {
        self.open
    }
}

/// Whether an error says that no file descriptor is left.
fn is_full_table(e: &std::io::Error) -> bool {
    matches!(e.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

/// The start of the first line at or after `offset`, if one begins within the next 64 KiB.
fn next_line(generation: &mut Generation, log: &std::path::Path, offset: u64) -> u64 {
    let mut buf = vec![0; 64 << 10];
    let Ok(source) = generation.open(log) else {
        return offset;
    };
    match source.read_at(&mut buf, offset.saturating_sub(1)) {
        Ok(n) => match memchr::memchr(b'\n', &buf[..n]) {
            Some(at) => offset.saturating_sub(1) + at as u64 + 1,
            None => offset,
        },
        Err(_) => offset,
    }
}

/// Whether a generation is done: nothing to read, nothing in flight.
pub(super) fn is_done(generation: &Generation) -> bool {
    generation.settled() && generation.unread() == 0 && generation.state != State::Current
}
