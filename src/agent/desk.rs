//! The tail thread's side of a session: it fills batches, hands them over, settles what comes back, and passes
//! everything on when it ends.

use super::flash::Lines;
use super::session::{Control, Dynamic, Memory, BATCHES, IDLE};
use crate::tail::{Carried, Fence, Tailer};
use crate::upload::{Fate, UploadStats, Verdict};
use crate::wire::{Batch, Envelope};
use crossbeam_channel::{never, select, Receiver, RecvTimeoutError, Sender};
use monitors::MonitorLog;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The memory that an idle batch keeps.
const IDLE_BATCH: usize = 128 << 10;
/// How long after the last full batch the memory is given back.
const BUSY_FOR: Duration = Duration::from_secs(10);
/// An agent that has nothing to send introduces itself after this time, so that a wrong key or
/// address shows soon.
const FIRST_EMPTY: Duration = Duration::from_secs(1);

/// The fate of a session's state when it ends.
enum After {
    /// Others go on with it.
    GoesOn,
    /// Nobody does: unsent lines wait in the files, and the checkpoints say where they begin.
    Ends,
}

/// All that the thread works with.
pub(super) struct Desk {
    pub round_at: Arc<AtomicU64>,
    pub fence: Arc<Fence>,
    pub tailer: Tailer,
    pub envelope: Arc<Envelope>,
    pub batches: Option<Sender<Batch>>,
    /// The other end of `batches`: what is on the way outlives the upload thread.
    pub queued: Receiver<Batch>,
    pub verdicts: Receiver<Verdict>,
    pub control: Receiver<Control>,
    pub dynamic: Dynamic,
    pub memory: Option<Memory>,
    pub lines: Receiver<Lines>,
    pub spare: Vec<Batch>,
    /// Batches of earlier sessions, which are sent before all others.
    pub inherited: VecDeque<Batch>,
    /// Batches that came back undecided, for a later session.
    pub unsent: Vec<Batch>,
    pub filling: Option<Batch>,
    /// The batch being filled has no room for the next line.
    pub full: bool,
    /// Batches that have not come back.
    pub away: usize,
    pub limit: usize,
    pub next_at: Instant,
    pub last_sent: Option<Instant>,
    pub last_full: Instant,
    pub handed_over: u64,
    pub started: Instant,
    pub stats: Arc<UploadStats>,
}

impl Desk {
    /// Works until it is told to end. The state for those that come after it.
    pub fn run(mut self) -> Option<Carried> {
        match self.work() {
            After::GoesOn => self.pass_on(),
            After::Ends => None,
        }
    }

    fn work(&mut self) -> After {
        if self.is_given_up() {
            return After::Ends;
        }
        let hints = self.tailer.hint_bell().cloned().unwrap_or_else(never);
        let named = self.dynamic.logs.bell();
        loop {
            while let Ok(verdict) = self.verdicts.try_recv() {
                self.settle(verdict);
            }
            let now = Instant::now();
            self.begin_round(now);
            self.take_left();
            self.follow(now);
            self.tailer.poll(now);
            self.fill(now);
            if self.is_given_up() {
                return After::Ends;
            }
            self.hand_over(now, false);
            let pause = self.next_step().saturating_duration_since(Instant::now());
            let lines = match self.has_room() {
                true => self.lines.clone(),
                false => never(),
            };
            self.round_at.store(IDLE, Ordering::Relaxed);
            select! {
                // Taken by the next poll
                recv(hints) -> _ => {},
                // By `follow`
                recv(named) -> _ => {},
                recv(lines) -> lines => match lines {
                    Ok(lines) => self.take(&lines),
                    Err(_) => self.lines = never(),
                },
                recv(self.verdicts) -> verdict => match verdict {
                    Ok(verdict) => self.settle(verdict),
                    // The upload thread died; the agent starts the session anew
                    Err(_) => return After::GoesOn,
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
                            return After::Ends;
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
    fn is_given_up(&self) -> bool {
        self.fence.is_given_up()
    }

    /// Takes what earlier sessions have left of metrics in memory, also one that hung until now.
    fn take_left(&mut self) {
        if let Some(memory) = &self.memory {
            let left: Vec<Lines> = memory.way.take_left().collect();
            for lines in &left {
                self.take(lines);
            }
        }
    }

    /// Takes up logs that monitors have named or dropped since the last look, and tells them what is delivered.
    fn follow(&mut self, now: Instant) {
        let asked = self.dynamic.logs.asked();
        if asked != self.dynamic.answered {
            self.dynamic.answered = asked;
            let delivered = self.tailer.delivered_named();
            self.dynamic.logs.tell_delivered(delivered);
        }
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

    /// Ends, and leaves all that is known and held to those that come after it.
    fn pass_on(mut self) -> Option<Carried> {
        while let Ok(verdict) = self.verdicts.try_recv() {
            self.settle(verdict);
        }
        // Of an upload thread that has died
        while let Ok(batch) = self.queued.try_recv() {
            self.away = self.away.saturating_sub(1);
            self.unsent.push(batch);
        }
        if self.is_given_up() {
            return None;
        }
        if self.away > 0 {
            // A request is under way for longer than anybody waits: whether its lines have arrived will not be
            // known here
            self.tailer.checkpoint();
            return None;
        }
        self.unsent.extend(self.inherited.drain(..));
        self.unsent.extend(self.filling.take());
        let carried = self.tailer.pass_on(self.unsent);
        // To be closed in this thread, should that hang
        (!self.fence.is_given_up()).then_some(carried)
    }

    /// Reads what there is into the batch that is being filled.
    fn fill(&mut self, now: Instant) {
        if self.full || !self.tailer.has_ready() {
            return;
        }
        self.begin();
        if let Some(batch) = &mut self.filling {
            self.full = self.tailer.fill(batch, now);
            #[cfg(test)]
            super::session_tests::die_over(batch, self.away);
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
        if !self.inherited.is_empty() {
            return self.hand_over_inherited(now);
        }
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

    /// Hands the next batch of an earlier session over, if one can be taken. The pace is the upload thread's.
    fn hand_over_inherited(&mut self, now: Instant) {
        if !self.takes_inherited() {
            return;
        }
        let (Some(batch), Some(channel)) = (self.inherited.pop_front(), &self.batches) else {
            return;
        };
        self.tailer.before_send();
        self.tailer.handed_over(&batch.spans);
        match channel.try_send(batch) {
            Ok(()) => {
                self.away += 1;
                self.handed_over += 1;
                self.last_sent = Some(now);
            }
            Err(e) => self.inherited.push_front(e.into_inner()),
        }
    }

    fn takes_inherited(&self) -> bool {
        let is_full = self.batches.as_ref().is_none_or(Sender::is_full);
        !self.inherited.is_empty() && self.away < BATCHES && !is_full
    }

    fn next_empty(&self) -> Instant {
        match self.last_sent {
            Some(last) => {
                let at = last + self.tailer.settings().keep_alive;
                let shared = self.tailer.shared_wake(at);
                // Not for one that is due every few seconds
                let at = if shared > last + at.duration_since(last) / 2 {
                    shared
                } else {
                    at
                };
                at.max(self.next_at)
            }
            None => self.started + FIRST_EMPTY,
        }
    }

    /// When there is something to do without being told.
    fn next_step(&mut self) -> Instant {
        let mut at = self.tailer.next_poll();
        if self.takes_inherited() {
            return Instant::now();
        }
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
        if fate == Fate::Unsent {
            self.unsent.push(batch);
            return;
        }
        self.tailer.commit(&batch, now);
        self.tailer.checkpoint();
        if now.duration_since(self.last_full) > BUSY_FOR {
            batch.shrink(IDLE_BATCH);
        }
        let others = self.spare.len() + self.away + self.inherited.len();
        if others + usize::from(self.filling.is_some()) < BATCHES {
            self.spare.push(batch);
        }
    }

    fn end(&mut self, flush: bool, until: Instant) -> After {
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
            return After::Ends;
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
        if !flush {
            return After::GoesOn;
        }
        self.tailer.checkpoint();
        After::Ends
    }
}
