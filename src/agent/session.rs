//! A session: a tail thread and an upload thread, and the traffic between them.
//!
//! Two batches go round: one is filled while the other is sent. That bounds memory, and it is the
//! backpressure: with both away nothing is read, and the backlog waits on disk.

use super::desk::Desk;
use super::flash::Way;
use super::heirs::{Estate, Target};
use super::left::LeftBehind;
use crate::process::signals::Waker;
use crate::tail::{self, Carried, Fence, Saved, TailStatus, Tailer};
use crate::upload::{self, UploadSettings, UploadStats};
use crate::util::stop::{self, Stopper};
use crate::wire::{Batch, Envelope};
use crossbeam_channel::{bounded, never, unbounded, Receiver, RecvTimeoutError, Sender};
use monitors::{FollowedLogs, MonitorLog};
use std::cell::Cell;
use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How many batches go round.
pub(super) const BATCHES: usize = 2;

/// No round is under way.
pub(super) const IDLE: u64 = u64::MAX;

/// Told to the tail thread by the main thread.
pub(super) enum Control {
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
    tail: Option<JoinHandle<Option<Carried>>>,
    /// The state that its tail thread has left.
    carried: Option<Carried>,
    target: Target,
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
    /// The state of sessions that have ended, as far as it falls to this one.
    pub carried: Vec<Carried>,
    /// Only a batch that was made for the same is sent by this session.
    pub target: Target,
    /// Where and how to send.
    pub upload: UploadSettings,
    /// The head of every request.
    pub envelope: Arc<Envelope>,
    /// Woken when the tail thread ends.
    pub waker: Option<Arc<Waker>>,
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
    /// The question of what is delivered that was answered last.
    pub answered: u64,
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

/// Wakes the main thread when the thread that has it ends, however that comes.
struct Farewell(Option<Arc<Waker>>);

impl Drop for Farewell {
    fn drop(&mut self) {
        if let Some(waker) = &self.0 {
            waker.wake();
        }
    }
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
        let queued = batch_rx.clone();
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
                let _farewell = Farewell(plan.waker);
                let fence = plan.tail.fence.clone();
                fence.enter();
                let envelope = plan.envelope;
                let saved = plan.saved.as_deref();
                let named = named(&plan.dynamic, plan.memory.as_ref());
                let (tailer, inherited) = Tailer::going_on(
                    plan.tail,
                    plan.entries,
                    envelope.clone(),
                    saved,
                    plan.carried,
                    &named,
                );
                drop(named);
                drop((plan.saved, looking));
                let desk = Desk {
                    round_at: thread_round_at,
                    fence,
                    tailer,
                    envelope,
                    batches: Some(batch_tx),
                    queued,
                    verdicts: verdict_rx,
                    control: control_rx,
                    dynamic: plan.dynamic,
                    memory: plan.memory,
                    lines,
                    spare: (inherited.len()..BATCHES).map(|_| Batch::new()).collect(),
                    inherited: inherited.into(),
                    unsent: Vec::new(),
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
                desk.run()
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
            carried: None,
            target: plan.target,
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
        fn dead<T>(thread: &Option<JoinHandle<T>>) -> bool {
            thread.as_ref().is_some_and(JoinHandle::is_finished)
        }
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
        let ended = wait(&mut self.tail, until);
        let is_over = ended.is_some();
        if let Some(carried) = ended.flatten().flatten() {
            self.carried = Some(carried);
        }
        if is_over {
            self.upload_stopper = None;
        }
        is_over
    }

    /// The state that it has left for those that come after it: none if it was to send all that there is, if it
    /// hangs, if a request is still under way, or if its tail thread has died: a ledger in the middle of a change
    /// can't be trusted.
    pub fn estate(&mut self) -> Option<Estate> {
        let carried = self.carried.take()?;
        Some(Estate::new(
            self.worker.clone(),
            self.target.clone(),
            carried,
        ))
    }

    /// Waits for the upload thread to end, at most until `until`. False if it has not.
    pub fn join_upload(&mut self, until: Instant) -> bool {
        wait(&mut self.upload, until).is_some()
    }

    /// Gives up its tail thread, if that has not ended.
    pub fn leave_behind(self) -> Option<LeftBehind> {
        let thread = self.tail?;
        Some(LeftBehind::new(self.id, self.fence, thread))
    }
}

/// Waits for a thread until then. `None` if it has not ended; what it has returned, if it did not die.
fn wait<T>(thread: &mut Option<JoinHandle<T>>, until: Instant) -> Option<Option<T>> {
    while thread.as_ref().is_some_and(|t| !t.is_finished()) {
        if Instant::now() >= until {
            return None;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    match thread.take().map(JoinHandle::join) {
        None => Some(None),
        Some(Ok(left)) => Some(Some(left)),
        Some(Err(panic)) => {
            log::error!(
                "a session's thread had died: {}",
                super::panic_text(&*panic)
            );
            Some(None)
        }
    }
}

/// The entries of paths that only monitors name, at this moment.
fn named(
    dynamic: &Dynamic,
    memory: Option<&Memory>,
) -> impl Fn(&Path, bool) -> Option<tail::Entry> {
    let logs = dynamic.logs.all().into_iter();
    let files = logs.filter_map(|log| Some((log.path.clone(), (dynamic.entries)(&log)?)));
    let files: HashMap<PathBuf, tail::Entry> = files.collect();
    let memory = memory.map_or_else(HashMap::new, |memory| memory.entries.clone());
    move |path, in_memory| match in_memory {
        true => memory.get(path).cloned(),
        false => files.get(path).cloned(),
    }
}
