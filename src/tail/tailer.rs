//! All files of one session: what is followed, what is due, what is in flight.
//!
//! One thread owns a [`Tailer`], so it has no locks. This file has what it consists of and when it
//! looks at which path. Finding paths is in `discover.rs`, looking at them in `look.rs` and `family.rs`, which
//! content is whose in `ledger`, reading in `turns.rs`, what comes back from the server in `settle.rs`,
//! what is written down in `save.rs`, open files in `descriptors.rs`.

use super::counters::Counters;
use super::identity::FileId;
use super::journal::{Journal, Records};
use super::ledger::record::{Saved, SavedLog};
use super::ledger::{ContentKey, Ledger, Verdict};
use super::log::Log;
use super::read;
use super::restore::RememberedFiles;
use super::settings::{Entry, Settings};
use super::source::Reading;
use super::successor::{Carried, EntryNamed};
use super::unreadable::Unreadable;
use super::watched::Watching;
use crate::shape::Unit;
use crate::util::throttle::Throttle;
use crate::wire::{Batch, Envelope, Stamp};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Text that was read and is not sent yet is made durable after this time.
const UNWRITTEN: Duration = Duration::from_secs(3);

/// A file that may be the copy of another log's content, or a log of its own.
#[derive(Debug)]
pub(super) struct Waiting {
    pub file: File,
    pub id: FileId,
}

/// The state machine of tailing.
pub struct Tailer {
    pub(super) settings: Settings,
    pub(super) entries: Vec<Arc<Entry>>,
    pub(super) envelope: Arc<Envelope>,
    pub(super) logs: BTreeMap<u64, Box<Log>>,
    pub(super) by_path: HashMap<Arc<Path>, u64>,
    /// Which contents there are, and whose.
    pub(super) ledger: Ledger,
    /// The contents that are read or looked at.
    pub(super) readings: HashMap<ContentKey, Reading>,
    /// Which log's path leads to this one.
    pub(super) links: HashMap<PathBuf, u64>,
    /// Which logs have names that a rotation may have made of this path.
    pub(super) derived: HashMap<PathBuf, Vec<u64>>,
    /// The numbers that logs get which are matched and not followed yet.
    pub(super) promised: HashMap<PathBuf, u64>,
    pub(super) due: BinaryHeap<Reverse<(Instant, u64)>>,
    pub(super) ready: VecDeque<u64>,
    /// Counts calls of [`Tailer::poll`], modulo 256.
    pub(super) round: u8,
    /// When all was durable last.
    pub(super) written: Instant,
    /// A look of this round has found that contents came, went or moved.
    pub(super) has_found: bool,
    /// Records on their way to the journal, and the generation of it that knows all of this tailer.
    pub(super) records: Records,
    pub(super) generation: u64,
    /// The journal knows nothing of what was taken over.
    pub(super) writes_all: bool,
    /// The journal does not know the patterns yet.
    pub(super) writes_watched: bool,
    /// Logs that the journal is to forget, each with its worker.
    pub(super) gone: Vec<(String, PathBuf)>,
    pub(super) scans: u32,
    pub(super) last_scan: Option<f64>,
    pub(super) next_scan: Instant,
    /// When the last scan ended, and how long it took.
    pub(super) scan_ended: Instant,
    pub(super) scan_took: Duration,
    /// Hints from the kernel, if there are any to have.
    pub(super) watching: Option<Watching>,
    /// The first scan is over.
    pub(super) has_scanned: bool,
    /// Patterns of earlier runs: a file that they cover and that no checkpoint knows is new.
    pub(super) watched_before: Vec<PathBuf>,
    /// When the Python agent wrote the checkpoints that were taken over.
    pub(super) restored_from_python: Option<f64>,
    /// Totals of logs that are not followed any more.
    pub(super) retired: Counters,
    /// Remembered logs that the configuration does not name at the moment.
    pub(super) orphans: Vec<(PathBuf, SavedLog)>,
    /// With more orphans than this, those whose files are gone are dropped.
    pub(super) many_orphans: usize,
    /// How many of `entries`, from the front, came while we run.
    pub(super) dynamic: usize,
    /// Some log is finished and then forgotten.
    pub(super) leaving: bool,
    /// Logs that are in no file, by the path that they would have.
    pub(super) memory_logs: HashMap<PathBuf, u64>,
    pub(super) unreadable: HashMap<PathBuf, Unreadable>,
    /// While checkpoints are taken up, the files that they remember.
    pub(super) remembered: RememberedFiles,
    /// New files that may be copies in the making.
    pub(super) waiting: HashMap<PathBuf, Waiting>,
    /// If they are asked for, the verdicts of looks: of each file that of the first look that had one.
    pub(super) verdicts: Option<BTreeMap<Box<[u8]>, Verdict>>,
    /// During a look, files whose contents go on elsewhere.
    pub(super) left_open: HashMap<FileId, File>,
    /// The files that other sessions are told of.
    pub(super) held_files: HashMap<ContentKey, FileId>,
    pub(super) throttle: Throttle,
    /// How many files are open.
    pub(super) open: usize,
    /// Contents in the order in which their files were opened, some more than once: whose file is closed
    /// next.
    pub(super) hand: VecDeque<ContentKey>,
    pub(super) buf: Vec<u8>,
    pub(super) unit: Unit,
    pub(super) stamp: Stamp,
    pub(super) started: Instant,
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
        Tailer::going_on(settings, entries, envelope, saved, Vec::new(), &|_, _| None).0
    }

    /// As [`Tailer::new`], but what earlier ones have `carried` goes on where it was. `named` makes entries of
    /// paths that `entries` do not have. Also the batches that are to be sent before all others.
    pub fn going_on(
        settings: Settings,
        entries: Vec<Entry>,
        envelope: Arc<Envelope>,
        saved: Option<&Saved>,
        carried: Vec<Carried>,
        named: EntryNamed,
    ) -> (Self, Vec<Batch>) {
        let mut tailer = Tailer::bare(settings, entries, envelope);
        let now = tailer.started;
        let batches = tailer.take_over(carried, named, now);
        tailer.restore(saved, now);
        tailer.scan(now);
        tailer.writes_watched = true;
        tailer.before_send();
        tailer.checkpoint();
        (tailer, batches)
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
        let windows = entries.iter().filter_map(|e| e.pipeline.as_ref());
        let window = windows.map(|p| p.window()).max().unwrap_or(0);
        let buf =
            vec![0; read::buffer_size(settings.read_page_size, settings.max_line_size, window)];
        Tailer {
            entries: entries.into_iter().map(Arc::new).collect(),
            envelope,
            logs: BTreeMap::new(),
            by_path: HashMap::new(),
            ledger: Ledger::default(),
            readings: HashMap::new(),
            links: HashMap::new(),
            derived: HashMap::new(),
            promised: HashMap::new(),
            due: BinaryHeap::new(),
            ready: VecDeque::new(),
            round: 0,
            written: now,
            has_found: false,
            records: Records::default(),
            generation: settings.journal.as_ref().map_or(0, Journal::generation),
            writes_all: false,
            writes_watched: false,
            gone: Vec::new(),
            scans: 0,
            last_scan: None,
            next_scan: now,
            scan_ended: now,
            scan_took: Duration::ZERO,
            watching: settings
                .hints
                .as_ref()
                .map(|source| Watching::new(source.subscribe())),
            watched_before: Vec::new(),
            restored_from_python: None,
            has_scanned: false,
            retired: Counters::default(),
            orphans: Vec::new(),
            many_orphans: super::dynamic::MANY_ORPHANS,
            dynamic: 0,
            leaving: false,
            memory_logs: HashMap::new(),
            unreadable: HashMap::new(),
            remembered: RememberedFiles::default(),
            waiting: HashMap::new(),
            verdicts: None,
            left_open: HashMap::new(),
            held_files: HashMap::new(),
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

    /// Puts a log into the queue of those that have something to read.
    pub(super) fn make_ready(&mut self, number: u64) {
        if let Some(log) = self.logs.get_mut(&number) {
            if !log.ready {
                log.ready = true;
                self.ready.push_back(number);
            }
        }
    }

    /// Plans a log's next look. Long waits end at whole multiples of a second or of five, so that
    /// many idle files share a wake-up.
    pub(super) fn plan(&mut self, number: u64, now: Instant, at_most: Option<Instant>) {
        // A wake-up that was late by less than `early` does not cost a turn
        let grid = |pause: Duration| match pause.as_millis() {
            5_000.. => (5_000, 600),
            1_000.. => (1_000, 100),
            _ => (125, 0),
        };
        let started = self.started;
        if let Some(log) = self.logs.get_mut(&number) {
            let interval = log.interval.max(log.entry.minimum_scan_interval);
            let mut due = now + interval;
            if let Some(at_most) = at_most {
                due = due.min(at_most.max(now + Duration::from_millis(1)));
            }
            let since = due.duration_since(started).as_millis() as u64;
            let (grid, early) = grid(due.duration_since(now));
            let since = since.saturating_sub(early).div_ceil(grid) * grid;
            let due = started + Duration::from_millis(since);
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
        self.round = self.round.wrapping_add(1);
        self.take_hints(now);
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
        // The findings of looks about rotations must outlive a kill: the next start goes by them. What was read is
        // written down before it is sent, or where that may take long
        let is_old = now.saturating_duration_since(self.written) >= UNWRITTEN;
        if std::mem::take(&mut self.has_found) || is_old {
            self.before_send();
        }
        super::listing::forget_listings();
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
    pub fn next_poll(&mut self) -> Instant {
        // Nobody is woken for a look that was planned anew since
        while let Some(Reverse((due, number))) = self.due.peek() {
            if self.logs.get(number).is_some_and(|log| log.due == *due) {
                break;
            }
            self.due.pop();
        }
        let look = self.due.peek().map(|Reverse((due, _))| *due);
        let calm = self.watching.as_ref().and_then(Watching::next_calm);
        let others = look.into_iter().chain(calm);
        others.fold(self.next_scan, Instant::min)
    }

    /// Whether some file has unread bytes.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The options in force.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The log with this path.
    #[cfg(test)]
    pub(super) fn log_at(&mut self, path: &Path) -> Option<&mut Log> {
        let number = *self.by_path.get(path)?;
        self.logs.get_mut(&number).map(Box::as_mut)
    }

    /// How many files are open.
    pub fn open_files(&self) -> usize {
        self.open
    }
}
