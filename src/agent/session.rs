//! A session: a tail thread and an upload thread, and the traffic between them.
//!
//! Two batches go round: one is filled while the other is sent. That bounds memory, and it is the
//! backpressure: with both away nothing is read, and the backlog waits on disk.

use super::flash::{Lines, Way};
use super::left::LeftBehind;
use crate::tail::{self, Fence, Saved, TailStatus, Tailer};
use crate::upload::{self, Fate, UploadSettings, UploadStats, Verdict};
use crate::util::stop::{self, Stopper};
use crate::wire::{Batch, Envelope};
use crossbeam_channel::{bounded, never, select, unbounded, Receiver, RecvTimeoutError, Sender};
use monitors::{FollowedLogs, MonitorLog};
use std::cell::Cell;
use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How many batches go round.
const BATCHES: usize = 2;
/// The memory that an idle batch keeps.
const IDLE_BATCH: usize = 128 << 10;
/// How long after the last full batch the memory is given back.
const BUSY_FOR: Duration = Duration::from_secs(10);
/// An agent that has nothing to send introduces itself after this time, so that a wrong key or
/// address shows soon.
const FIRST_EMPTY: Duration = Duration::from_secs(1);

/// No round is under way.
const IDLE: u64 = u64::MAX;

enum Control {
    Status {
        reply: Sender<TailStatus>,
        /// Later, nobody waits for it.
        until: Instant,
    },
    Scan,
    End {
        flush: bool,
        until: Instant,
    },
}

/// A running session.
pub struct Session {
    /// `default-0`
    pub id: String,
    /// The worker that it belongs to.
    pub worker: String,
    /// The counters of its upload thread.
    pub stats: Arc<UploadStats>,
    began: Instant,
    /// Milliseconds after `began` at which the tail thread last began a round; [`IDLE`] while it
    /// waits for something to do.
    round_at: Arc<AtomicU64>,
    control: Sender<Control>,
    fence: Arc<Fence>,
    /// How many steps the tail thread had made when that was last another number than before, and
    /// when that was.
    moved: Cell<(u64, Instant)>,
    /// Disconnected when the first look at all files is over.
    first_look: Receiver<Infallible>,
    tail: Option<JoinHandle<()>>,
    upload: Option<JoinHandle<()>>,
    /// Dropped to end the upload thread without waiting for its turn.
    upload_stopper: Option<Stopper>,
}

/// Everything that a session is made from.
pub struct Plan {
    /// `default-0`
    pub id: String,
    /// The worker that it belongs to.
    pub worker: String,
    /// How files are followed.
    pub tail: tail::Settings,
    /// Which.
    pub entries: Vec<tail::Entry>,
    /// Where they stand.
    pub saved: Option<Arc<Saved>>,
    /// Where and how to send.
    pub upload: UploadSettings,
    /// The head of every request.
    pub envelope: Arc<Envelope>,
    /// Logs that come while it runs.
    pub dynamic: Dynamic,
    /// Metrics that are in no file, if this session takes some.
    pub memory: Option<Memory>,
}

/// Makes an entry of a log that a monitor names; `None`: it is another worker's.
pub type EntryOf = Arc<dyn Fn(&MonitorLog) -> Option<tail::Entry> + Send + Sync>;

/// Logs that come while the session runs.
pub struct Dynamic {
    /// Where monitors name them.
    pub logs: Arc<FollowedLogs>,
    /// Makes entries of them.
    pub entries: EntryOf,
    /// The generation that is in force.
    pub seen: u64,
}

/// Metrics that are in no file.
pub struct Memory {
    /// How the lines of each path are labelled and shaped.
    pub entries: HashMap<PathBuf, tail::Entry>,
    /// Bytes that may wait; beyond that nothing is taken from the channel.
    pub most: usize,
    /// Where they come from.
    pub way: Way,
}

impl Session {
    /// Starts both threads. [`Session::has_looked`] tells when it is known, and written, where each
    /// file starts.
    ///
    /// # Errors
    /// The system's, if it has no threads to give.
    pub fn start(plan: Plan) -> io::Result<Session> {
        let stats = Arc::new(UploadStats::new());
        let (batch_tx, batch_rx) = bounded(1);
        let (verdict_tx, verdict_rx) = bounded(BATCHES);
        let (control_tx, control_rx) = unbounded();
        let (upload_stopper, upload_stop) = stop::pair();
        let lines = match &plan.memory {
            Some(memory) => memory.way.lines(),
            None => never(),
        };
        let first_limit = plan.upload.pacing.max_request_size;
        let upload = upload::spawn(
            plan.id.clone(),
            plan.upload,
            batch_rx,
            verdict_tx,
            stats.clone(),
            upload_stop,
        )?;
        let began = Instant::now();
        let round_at = Arc::new(AtomicU64::new(0));
        let fence = plan.tail.fence.clone();
        let (looking, first_look) = bounded(0);
        let (thread_round_at, thread_stats) = (round_at.clone(), stats.clone());
        let tail = std::thread::Builder::new()
            .name(format!("tail-{}", plan.id))
            .spawn(move || {
                let fence = plan.tail.fence.clone();
                fence.enter();
                let envelope = plan.envelope;
                let saved = plan.saved.as_deref();
                let tailer = Tailer::new(plan.tail, plan.entries, envelope.clone(), saved);
                drop((plan.saved, looking));
                let mut desk = Desk {
                    round_at: thread_round_at,
                    fence,
                    tailer,
                    envelope,
                    batches: Some(batch_tx),
                    verdicts: verdict_rx,
                    control: control_rx,
                    dynamic: plan.dynamic,
                    memory: plan.memory,
                    lines,
                    spare: (0..BATCHES).map(|_| Batch::new()).collect(),
                    filling: None,
                    full: false,
                    away: 0,
                    limit: first_limit,
                    next_at: Instant::now(),
                    last_sent: None,
                    last_full: Instant::now(),
                    handed_over: 0,
                    started: began,
                    stats: thread_stats,
                };
                desk.run();
            })?;
        Ok(Session {
            id: plan.id,
            worker: plan.worker,
            stats,
            began,
            round_at,
            control: control_tx,
            fence,
            moved: Cell::new((0, began)),
            first_look,
            tail: Some(tail),
            upload: Some(upload),
            upload_stopper: Some(upload_stopper),
        })
    }

    /// The state of its files; `None` if the thread does not answer until then.
    pub fn status(&self, until: Instant) -> Option<TailStatus> {
        let (reply, answer) = bounded(1);
        self.control.send(Control::Status { reply, until }).ok()?;
        answer.recv_deadline(until).ok()
    }

    /// How long the tail thread has been at the same round: zero if it has nothing to do.
    pub fn busy_for(&self) -> Duration {
        match self.round_at.load(Ordering::Relaxed) {
            IDLE => Duration::ZERO,
            at => self
                .began
                .elapsed()
                .saturating_sub(Duration::from_millis(at)),
        }
    }

    /// How long the tail thread has been at one path, as far as was noticed by asking this: zero if it
    /// waits for something to do, or gets on.
    pub fn stuck_for(&self) -> Duration {
        let (steps, busy) = (self.fence.steps(), self.busy_for());
        if busy.is_zero() || steps != self.moved.get().0 || self.fence.is_writing() {
            self.moved.set((steps, Instant::now()));
        }
        busy.min(self.moved.get().1.elapsed())
    }

    /// Goes up with each path that the tail thread touches and each page of it.
    pub fn steps(&self) -> u64 {
        self.fence.steps()
    }

    /// The path that the tail thread touched last.
    pub fn at(&self) -> PathBuf {
        self.fence.at()
    }

    /// Whether the first look at all files is over, and where each starts is written. Waits for it
    /// until then.
    pub fn has_looked(&self, until: Instant) -> bool {
        let ended = self.first_look.recv_deadline(until);
        ended == Err(RecvTimeoutError::Disconnected)
    }

    /// Looks for new files now.
    pub fn scan(&self) {
        let _ = self.control.send(Control::Scan);
    }

    /// Whether a thread of it has died.
    pub fn has_died(&self) -> bool {
        let dead = |t: &Option<JoinHandle<()>>| t.as_ref().is_some_and(JoinHandle::is_finished);
        dead(&self.tail) || dead(&self.upload)
    }

    /// Asks it to end: what is in the files by now is sent if `flush`, a request that is under way
    /// is awaited until `until`. Follow with [`Session::join`].
    pub fn end(&mut self, flush: bool, until: Instant) {
        let _ = self.control.send(Control::End { flush, until });
        if !flush {
            // No new attempt; the one under way is awaited
            self.upload_stopper = None;
        }
    }

    /// Waits for the tail thread to end, at most until `until`; its checkpoint is written then.
    /// False if it has not.
    pub fn join(&mut self, until: Instant) -> bool {
        let done = wait(&mut self.tail, until);
        if done {
            self.upload_stopper = None;
        }
        done
    }

    /// Waits for the upload thread to end, at most until `until`. False if it has not.
    pub fn join_upload(&mut self, until: Instant) -> bool {
        wait(&mut self.upload, until)
    }

    /// Gives up its tail thread, if that has not ended.
    pub fn leave_behind(self) -> Option<LeftBehind> {
        let thread = self.tail?;
        Some(LeftBehind::new(self.id, self.fence, thread))
    }
}

fn wait(thread: &mut Option<JoinHandle<()>>, until: Instant) -> bool {
    loop {
        match thread {
            None => return true,
            Some(t) if t.is_finished() => {
                if let Some(Err(panic)) = thread.take().map(JoinHandle::join) {
                    log::error!(
                        "a session's thread had died: {}",
                        super::panic_text(&*panic)
                    );
                }
                return true;
            }
            Some(_) if Instant::now() >= until => return false,
            Some(_) => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}

struct Desk {
    round_at: Arc<AtomicU64>,
    fence: Arc<Fence>,
    tailer: Tailer,
    envelope: Arc<Envelope>,
    batches: Option<Sender<Batch>>,
    verdicts: Receiver<Verdict>,
    control: Receiver<Control>,
    dynamic: Dynamic,
    memory: Option<Memory>,
    lines: Receiver<Lines>,
    spare: Vec<Batch>,
    filling: Option<Batch>,
    /// The batch being filled has no room for the next line.
    full: bool,
    /// Batches that have not come back.
    away: usize,
    limit: usize,
    next_at: Instant,
    last_sent: Option<Instant>,
    last_full: Instant,
    handed_over: u64,
    started: Instant,
    stats: Arc<UploadStats>,
}

impl Desk {
    fn run(&mut self) {
        if self.is_given_up() {
            return;
        }
        let left = self.memory.as_ref().map(|memory| memory.way.take_left());
        for lines in left.into_iter().flatten() {
            self.take(&lines);
        }
        loop {
            while let Ok(verdict) = self.verdicts.try_recv() {
                self.settle(verdict);
            }
            let now = Instant::now();
            self.begin_round(now);
            self.follow(now);
            self.tailer.poll(now);
            self.fill(now);
            if self.is_given_up() {
                return;
            }
            self.hand_over(now, false);
            let pause = self.next_step().saturating_duration_since(Instant::now());
            let lines = match self.has_room() {
                true => self.lines.clone(),
                false => never(),
            };
            self.round_at.store(IDLE, Ordering::Relaxed);
            select! {
                recv(lines) -> lines => match lines {
                    Ok(lines) => self.take(&lines),
                    Err(_) => self.lines = never(),
                },
                recv(self.verdicts) -> verdict => match verdict {
                    Ok(verdict) => self.settle(verdict),
                    // The upload thread died; the agent starts the session anew
                    Err(_) => return,
                },
                recv(self.control) -> control => match control {
                    Ok(Control::Status { until, .. }) if Instant::now() > until => {}
                    Ok(Control::Status { reply, .. }) => {
                        let mut status = self.tailer.status();
                        status.batches = self.handed_over;
                        let _ = reply.send(status);
                    }
                    Ok(Control::Scan) => {
                        let now = Instant::now();
                        self.begin_round(now);
                        self.tailer.scan_now(now);
                        if self.is_given_up() {
                            return;
                        }
                    }
                    Ok(Control::End { flush, until }) => return self.end(flush, until),
                    Err(_) => return self.end(false, Instant::now()),
                },
                default(pause) => {}
            }
        }
    }

    fn begin_round(&self, now: Instant) {
        let round = now.duration_since(self.started).as_millis() as u64;
        self.round_at.store(round, Ordering::Relaxed);
    }

    /// Whether another session has taken this one's place while it hung. All that is left to do then is
    /// to end.
    fn is_given_up(&mut self) -> bool {
        let is_given_up = self.fence.is_given_up();
        if is_given_up && self.memory.is_some() {
            let left = self.tailer.undelivered_lines();
            let lines = left
                .iter()
                .map(|(_, bytes)| memchr::memchr_iter(b'\n', bytes).count());
            let lines: usize = lines.sum();
            if lines > 0 {
                log::warn!(
                    "{lines} metric lines that were in the memory of a session that hung are lost, or were sent \
                     before"
                );
            }
        }
        is_given_up
    }

    /// Takes up logs that monitors have named or dropped since the last look.
    fn follow(&mut self, now: Instant) {
        let generation = self.dynamic.logs.generation();
        if generation == self.dynamic.seen {
            return;
        }
        self.dynamic.seen = generation;
        let logs = self.dynamic.logs.all();
        let entries = logs.iter().filter_map(|log| (self.dynamic.entries)(log));
        self.tailer.set_dynamic(entries.collect(), now);
    }

    /// Whether metrics that are in no file may come in.
    fn has_room(&self) -> bool {
        let most = self.memory.as_ref().map_or(0, |memory| memory.most as u64);
        self.tailer.bytes_in_memory() < most
    }

    fn take(&mut self, lines: &Lines) {
        let entry = || {
            // A plug-in's own wishes come before what is known of its log from the start
            let named = self.dynamic.logs.all();
            let named = named.into_iter().find(|log| log.path == *lines.path);
            let known = self.memory.as_ref();
            let known = known.and_then(|memory| memory.entries.get(&*lines.path));
            match (named, known) {
                (None, Some(entry)) => entry.clone(),
                // Neither knows it: lines of a monitor that is gone
                (named, _) => {
                    let log = named.unwrap_or_else(|| MonitorLog::metrics(&lines.path));
                    super::plan::monitor_entry(&log, None)
                }
            }
        };
        let now = Instant::now();
        self.tailer
            .take_lines(&lines.path, entry, &lines.bytes, now);
    }

    /// Reads what there is into the batch that is being filled.
    fn fill(&mut self, now: Instant) {
        if self.full || !self.tailer.has_ready() {
            return;
        }
        self.begin();
        if let Some(batch) = &mut self.filling {
            self.full = self.tailer.fill(batch, now);
        }
    }

    /// Makes sure that a batch is being filled, if one is here.
    fn begin(&mut self) {
        if self.filling.is_none() {
            self.filling = self.spare.pop();
            if let Some(batch) = &mut self.filling {
                batch.start(&self.envelope, self.limit);
            }
        }
    }

    /// Hands the batch over if it is full, or if it is time to send what there is.
    fn hand_over(&mut self, now: Instant, at_once: bool) {
        let has_content = self
            .filling
            .as_ref()
            .is_some_and(|b| !b.is_empty() || !b.spans.is_empty());
        let due = if self.full {
            self.away < BATCHES
        } else if has_content {
            self.away == 0 && (at_once || now >= self.next_at)
        } else {
            self.away == 0 && !at_once && now >= self.next_empty()
        };
        if !due {
            return;
        }
        self.begin();
        let (Some(batch), Some(channel)) = (self.filling.take(), &self.batches) else {
            return;
        };
        self.tailer.before_send();
        self.tailer.handed_over(&batch.spans);
        match channel.try_send(batch) {
            Ok(()) => {
                self.away += 1;
                self.handed_over += 1;
                self.last_sent = Some(now);
                if self.full {
                    self.last_full = now;
                }
                self.full = false;
            }
            Err(e) => self.filling = Some(e.into_inner()),
        }
    }

    fn next_empty(&self) -> Instant {
        match self.last_sent {
            Some(last) => (last + self.tailer.settings().keep_alive).max(self.next_at),
            None => self.started + FIRST_EMPTY,
        }
    }

    /// When there is something to do without being told.
    fn next_step(&self) -> Instant {
        let mut at = self.tailer.next_poll();
        if self.away == 0 {
            let waiting = self.filling.as_ref().is_some_and(|b| !b.is_empty());
            at = at.min(if waiting {
                self.next_at
            } else {
                self.next_empty()
            });
        }
        if self.tailer.has_ready()
            && !self.full
            && (self.filling.is_some() || !self.spare.is_empty())
        {
            at = Instant::now();
        }
        at
    }

    fn settle(&mut self, verdict: Verdict) {
        let now = Instant::now();
        let Verdict {
            mut batch,
            fate,
            limit,
            next_at,
            ..
        } = verdict;
        self.away = self.away.saturating_sub(1);
        self.limit = limit;
        self.next_at = next_at;
        // A batch that a stop left unsent is read again from its committed position at the next start
        if fate == Fate::Decided {
            self.tailer.commit(&batch, now);
            self.tailer.checkpoint(now);
        }
        if now.duration_since(self.last_full) > BUSY_FOR {
            batch.shrink(IDLE_BATCH);
        }
        self.spare.push(batch);
    }

    fn end(&mut self, flush: bool, until: Instant) {
        let now = Instant::now();
        // If the monitors have ended this is all that they had to say
        while self.has_room() {
            match self.lines.try_recv() {
                Ok(lines) => self.take(&lines),
                Err(_) => break,
            }
        }
        self.begin_round(now);
        self.follow(now);
        if flush {
            self.tailer.poll_all(now);
            self.fill(now);
        }
        self.round_at.store(IDLE, Ordering::Relaxed);
        if self.is_given_up() {
            return;
        }
        if flush {
            self.hand_over(now, true);
        }
        let mut flushed = !flush;
        let mut until = until;
        while self.away > 0 || !flushed {
            while let Ok(control) = self.control.try_recv() {
                if let Control::End { until: sooner, .. } = control {
                    until = until.min(sooner);
                }
            }
            if self.away == 0 {
                // The last request: lines that came while the one before was under way, and nothing
                // beyond that
                flushed = true;
                self.hand_over(Instant::now(), true);
                if self.away == 0 {
                    break;
                }
            }
            let step = (Instant::now() + Duration::from_millis(50)).min(until);
            match self.verdicts.recv_deadline(step) {
                Ok(verdict) => self.settle(verdict),
                Err(RecvTimeoutError::Timeout) if Instant::now() < until => {
                    // A server that can't be reached now will not be in a moment either: what is
                    // left waits on disk for the next start
                    if flush && self.stats.snapshot().consecutive_failures > 0 {
                        break;
                    }
                }
                Err(_) => break,
            }
        }
        // Lets the upload thread end
        self.batches = None;
        self.tailer.checkpoint_full();
        if let Some(memory) = &self.memory {
            let left = self.tailer.undelivered_lines().into_iter();
            memory.way.leave(left.map(|(path, bytes)| Lines {
                path: path.into(),
                bytes,
            }));
        }
    }
}
