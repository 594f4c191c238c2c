//! The thread `journal`, which is the only one to touch the disk that the position journal is on, and the
//! handle by which all others append to it.
//!
//! A handle shares a buffer with the thread, and no lock is held over I/O. So an append costs a copy of the
//! records, a full disk costs the callers nothing, and a disk that hangs no more than their patience. The
//! thread takes all that waits and writes it at once; without work it sleeps.
//!
//! **While the disk fails** the whole journal is in the memory of the thread, as [`JournalFile`] says: all
//! appends go there, compacted as the file would be, and every 15 s it is tried to write all of it anew. So
//! nothing is lost when the disk is back, and memory is bounded by what is remembered. **While it hangs** at
//! most 1 MiB of records waits, some 20,000 commits; what comes after that is dropped. When the disk
//! answers again, or if a file could not be read back, the [`generation`](Journal::generation) grows: whoever
//! has contents, listings, patterns or cursors then appends all of them as whole records.

use super::disk::{Disk, Folder};
use super::file::{Counts, Damage, JournalFile};
use super::format::Records;
use super::replay::Memory;
use crate::tail::export::{self, next_serial};
use crate::util::random;
use crate::util::time::now_secs;
use crossbeam_channel::{bounded, Receiver, Sender};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a caller waits for its records to be durable.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// The most bytes that wait for the thread.
const WAITING: usize = 1 << 20;
/// The time is written with the first record after this one.
const CLOCK_EACH: Duration = Duration::from_secs(60);

/// Whether records are durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durable {
    /// They outlive a loss of power.
    Yes,
    /// They do not, and waiting longer does not help: see [`Figures::health`].
    No,
}

/// Names records that were appended, and all before them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended(u64);

/// The state of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Health {
    /// Records are written at once, and synced in time.
    #[default]
    Good,
    /// Degraded: after a crash these contents may be sent again under other numbers.
    Degraded {
        /// The fault of the disk, a phrase.
        why: String,
        /// The moment at which it was noticed.
        since: Instant,
    },
    /// Another start of the agent writes the journal. This one writes nothing more.
    Lost,
    /// The thread has stopped.
    Stopped,
}

/// The state of the journal, and its counts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Figures {
    /// How it is.
    pub health: Health,
    /// Since the start.
    pub counts: Counts,
    /// The length of the file in bytes.
    pub length: u64,
    /// The last damage that was found.
    pub damage: Option<Damage>,
    /// Bytes that were dropped because the disk did not answer.
    pub dropped: u64,
}

/// The state that the handles and the thread share.
#[derive(Debug, Default)]
struct Queue {
    /// Records that the thread has not taken yet.
    pending: Vec<u8>,
    /// The bytes that were ever appended, and up to which of them all are durable.
    appended: u64,
    durable: u64,
    /// Somebody waits for durability up to here.
    wanted: u64,
    compact: bool,
    /// Callers that want to know all that is remembered.
    asked: Vec<Sender<Memory>>,
    stop: bool,
    has_dropped: bool,
    generation: u64,
    /// Somebody's patience ended while the thread was at the disk.
    hangs_since: Option<Instant>,
    figures: Figures,
}

impl Queue {
    /// Whether waiting for durability is of use.
    fn is_good(&self) -> bool {
        self.figures.health == Health::Good && self.hangs_since.is_none()
    }
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// For the thread.
    work: Condvar,
    /// For those who wait for it.
    done: Condvar,
}

impl Shared {
    /// A panic leaves nothing half done behind this lock.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Stops the thread when the last handle goes.
#[derive(Debug)]
struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.lock().stop = true;
        self.0.work.notify_one();
    }
}

/// A handle of the position journal. All clones are one journal.
#[derive(Debug, Clone)]
pub struct Journal(Arc<Handle>);

impl Journal {
    /// Opens the journal of a data directory and starts its thread. Also gives what the journal remembers, or
    /// what `seed` makes where there is none that can be read. `sync_each` is the longest time for which
    /// records that nobody waits for may not be durable; zero: each append is synced.
    ///
    /// # Errors
    /// The file is there and can't be read, or no thread can be started. Nothing was changed in the first case.
    pub fn open(
        dir: &Path,
        sync_each: Duration,
        export: Option<Export>,
        seed: impl FnOnce() -> Memory,
    ) -> io::Result<(Journal, Memory)> {
        let disk = Folder(dir.to_path_buf());
        Journal::on(disk, sync_each, export, seed)
    }

    /// The same on any disk.
    ///
    /// # Errors
    /// As [`open`](Journal::open).
    pub fn on<D>(
        disk: D,
        sync_each: Duration,
        export: Option<Export>,
        seed: impl FnOnce() -> Memory,
    ) -> io::Result<(Journal, Memory)>
    where
        D: Disk + Send + 'static,
        D::File: Send,
    {
        let start = random::uuid4_bytes();
        let (file, memory) = JournalFile::open(disk, start, seed, Instant::now())?;
        let shared = Arc::new(Shared::default());
        let mut writer = Writer {
            file,
            shared: shared.clone(),
            sync_each,
            unsynced: None,
            clock: None,
            export,
            exported: None,
            // The last process may have died before it exported
            changed: (!memory.is_empty()).then(Instant::now),
            next: None,
        };
        writer.tell(0, true, false);
        let thread = std::thread::Builder::new().name("journal".into());
        thread.spawn(move || writer.run())?;
        Ok((Journal(Arc::new(Handle(shared))), memory))
    }

    fn shared(&self) -> &Shared {
        &self.0 .0
    }

    /// Appends records. Returns at once; they are written as soon as the disk takes them. What
    /// [`wait`](Journal::wait) needs to wait for them.
    pub fn append(&self, records: &Records) -> Appended {
        let mut queue = self.shared().lock();
        self.add(&mut queue, records);
        Appended(queue.appended)
    }

    fn add(&self, queue: &mut Queue, records: &Records) {
        let bytes = records.bytes();
        if bytes.is_empty() {
            // Nobody is woken for nothing
            return;
        }
        if matches!(queue.figures.health, Health::Lost | Health::Stopped) {
            return;
        }
        // After a gap a commit may say nothing, or the wrong thing
        if queue.has_dropped || queue.pending.len() + bytes.len() > WAITING.max(bytes.len()) {
            queue.has_dropped = true;
            queue.figures.dropped += bytes.len() as u64;
            return;
        }
        queue.pending.extend_from_slice(bytes);
        queue.appended += bytes.len() as u64;
        self.shared().work.notify_one();
    }

    /// Waits, for at most `patience`, until all records up to these are durable. While the disk fails or hangs it
    /// does not wait.
    pub fn wait(&self, Appended(upto): Appended, patience: Duration) -> Durable {
        let shared = self.shared();
        let mut queue = shared.lock();
        queue.wanted = queue.wanted.max(upto);
        shared.work.notify_one();
        let waits =
            |queue: &mut Queue| queue.durable < upto && queue.is_good() && !queue.has_dropped;
        let (mut queue, end) = shared
            .done
            .wait_timeout_while(queue, patience, waits)
            .unwrap_or_else(PoisonError::into_inner);
        if end.timed_out() && waits(&mut queue) {
            queue.hangs_since = Some(Instant::now());
        }
        match queue.is_good() && queue.durable >= upto && !queue.has_dropped {
            true => Durable::Yes,
            false => Durable::No,
        }
    }

    /// Has the file written anew without what is not remembered any more.
    #[cfg(test)]
    pub fn compact(&self) {
        self.shared().lock().compact = true;
        self.shared().work.notify_one();
    }

    /// Writes and syncs what was appended, and ends the thread. What is appended later is dropped. Whether
    /// that was done within `patience`.
    pub fn stop(&self, patience: Duration) -> bool {
        let shared = self.shared();
        let mut queue = shared.lock();
        queue.stop = true;
        shared.work.notify_one();
        let runs = |queue: &mut Queue| queue.figures.health != Health::Stopped;
        let end = shared.done.wait_timeout_while(queue, patience, runs);
        let (queue, _) = end.unwrap_or_else(PoisonError::into_inner);
        queue.figures.health == Health::Stopped && queue.durable == queue.appended
    }

    /// Asks for all that is remembered, with what was appended before. The answer comes when the disk gives it.
    pub fn memory(&self) -> Receiver<Memory> {
        let (asked, answer) = bounded(1);
        self.shared().lock().asked.push(asked);
        self.shared().work.notify_one();
        answer
    }

    /// Grows when records were lost. Who sees another number than the last time has to append all that it
    /// knows as whole records.
    pub fn generation(&self) -> u64 {
        self.shared().lock().generation
    }

    /// The state of the journal, and its counts. Never waits for the disk.
    pub fn figures(&self) -> Figures {
        let queue = self.shared().lock();
        let mut figures = queue.figures.clone();
        if let (Health::Good, Some(since)) = (&figures.health, queue.hangs_since) {
            let why = "the disk does not answer".to_owned();
            figures.health = Health::Degraded { why, since };
        }
        figures
    }
}

/// The side of the thread.
struct Writer<D: Disk> {
    file: JournalFile<D>,
    shared: Arc<Shared>,
    sync_each: Duration,
    /// The first moment from which on something is not durable.
    unsynced: Option<Instant>,
    /// The moment at which the time was written last.
    clock: Option<Instant>,
    export: Option<Export>,
    /// The moment of the last export.
    exported: Option<Instant>,
    /// The first moment from which on something is not in the export.
    changed: Option<Instant>,
    /// The id of the next export, of which the file knows, and whether that would outlive a loss of power.
    next: Option<([u8; 16], bool)>,
}

/// Checkpoint files for other agents, written from what the journal remembers.
pub struct Export {
    /// How often, where something has changed and the files are small; also at the stop.
    pub each: Duration,
    /// The most bytes of them within a minute, but for those at the stop.
    pub most: u64,
    /// The folder.
    pub dir: PathBuf,
}

impl<D: Disk> Writer<D> {
    fn run(mut self) {
        loop {
            let mut queue = self.shared.lock();
            let (now, is_stop, compact, is_wanted) = loop {
                let now = Instant::now();
                let is_wanted = queue.wanted > queue.durable;
                let is_asked = !queue.asked.is_empty();
                let has_work = is_asked || is_wanted || !queue.pending.is_empty();
                if queue.stop || queue.compact || has_work {
                    break (now, queue.stop, queue.compact, is_wanted);
                }
                let sync = self.unsynced.and_then(|u| u.checked_add(self.sync_each));
                let due = [sync, self.file.due(now), self.export_due()];
                let due = due.into_iter().flatten().min();
                queue = match due.map(|due| due.saturating_duration_since(now)) {
                    Some(Duration::ZERO) => break (now, false, false, false),
                    Some(pause) => {
                        let woken = self.shared.work.wait_timeout(queue, pause);
                        woken.unwrap_or_else(PoisonError::into_inner).0
                    }
                    None => {
                        let woken = self.shared.work.wait(queue);
                        woken.unwrap_or_else(PoisonError::into_inner)
                    }
                };
            };
            let pending = std::mem::take(&mut queue.pending);
            let upto = queue.appended;
            let asked = std::mem::take(&mut queue.asked);
            queue.compact = false;
            drop(queue);
            self.work(pending, now, is_wanted || is_stop, compact);
            let is_synced = self.file.is_synced();
            for one in asked {
                if let Some(memory) = self.file.memory() {
                    let _ = one.send(memory);
                }
            }
            if is_stop || self.export_due().is_some_and(|due| due <= now) {
                self.write_export(now, is_stop);
            }
            self.tell(upto, is_synced, is_stop);
            if is_stop {
                return;
            }
        }
    }

    /// All that touches the disk.
    fn work(&mut self, pending: Vec<u8>, now: Instant, sync: bool, compact: bool) {
        if !pending.is_empty() {
            self.changed.get_or_insert(now);
            self.unsynced.get_or_insert(now);
            let is_old = |clock: Instant| now.duration_since(clock) >= CLOCK_EACH;
            match self.clock.is_none_or(is_old) {
                true => {
                    let mut records = Records::default();
                    records.clock(now_secs(), Some(next_serial()));
                    self.clock = Some(now);
                    let all = [records.bytes(), &pending].concat();
                    self.file.append(&all, now);
                }
                false => self.file.append(&pending, now),
            }
        }
        if compact {
            self.file.compact(now);
        }
        self.file.tend(now);
        let is_due = |since: Instant| now.duration_since(since) >= self.sync_each;
        if sync || self.unsynced.is_some_and(is_due) {
            self.file.sync(now);
        }
        if let Some((_, is_durable)) = &mut self.next {
            *is_durable |= self.file.is_synced();
        }
        // In memory nothing is synced before the file is written anew
        if self.file.is_synced() || self.file.trouble().is_some() || self.file.is_lost() {
            self.unsynced = None;
        }
    }

    /// When the next export is due, if there is something to export. The first one is due at once: who kills the
    /// first start of this agent and goes back to the Python agent must find where each file began.
    fn export_due(&self) -> Option<Instant> {
        let export = self.export.as_ref()?;
        let changed = self.changed?;
        match self.exported {
            Some(last) => last.checked_add(export.each),
            None => Some(changed),
        }
    }

    /// Writes the checkpoint files for other agents. The journal knows their id before they are there, so that
    /// they are never taken for another agent's.
    fn write_export(&mut self, now: Instant, is_stop: bool) {
        let is_changed = self.changed.is_some();
        let Some(export) = self.export.as_ref().filter(|_| is_changed) else {
            return;
        };
        self.exported = Some(now);
        let most = (export.most as f64 * export.each.as_secs_f64() / 60.0) as u64;
        let fits = |bytes: u64| is_stop || bytes <= most;
        if !fits(self.file.live()) {
            return;
        }
        let Some(memory) = self.file.memory() else {
            return;
        };
        let before = memory.export.as_deref().unwrap_or_default();
        let id = match self.next {
            Some((id, true)) => id,
            _ => random::uuid4_bytes(),
        };
        let text = export::export_text(&memory, &id);
        if !fits(text.len() as u64) {
            return;
        }
        if self.next != Some((id, true)) {
            self.announce(&[&id, before].concat(), now);
            self.file.sync(now);
            if !self.file.is_synced() {
                return;
            }
            self.unsynced = None;
        }
        let dir = self.export.as_ref().map(|export| &export.dir);
        let put = dir.map_or(Ok(()), |dir| export::put_export(dir, &text, is_stop));
        if let Err(e) = put {
            log::warn!("checkpoint files for the Python agent can't be written: {e}");
            return;
        }
        self.changed = None;
        if !is_stop {
            // Known before it is needed, the next one costs no sync of its own
            let next = random::uuid4_bytes();
            self.announce(&[id, next].concat(), now);
            self.next = Some((next, false));
        }
    }

    /// Writes down which exports are ours.
    fn announce(&mut self, ids: &[u8], now: Instant) {
        let mut records = Records::default();
        records.export(ids);
        self.file.append(records.bytes(), now);
        self.unsynced.get_or_insert(now);
    }

    /// Says what is done up to here.
    fn tell(&mut self, upto: u64, is_synced: bool, is_stop: bool) {
        let mut queue = self.shared.lock();
        if is_synced {
            queue.durable = upto;
        }
        let is_good = self.file.trouble().is_none() && !self.file.is_lost();
        if !is_good || is_stop {
            // Waiting is in vain. Else who has begun to wait since the records were taken is still to be served
            queue.wanted = queue.durable;
        }
        queue.hangs_since = None;
        if self.file.lacks_records() || std::mem::take(&mut queue.has_dropped) {
            queue.generation += 1;
        }
        let before = std::mem::take(&mut queue.figures);
        let health = match self.file.trouble() {
            _ if is_stop => Health::Stopped,
            _ if self.file.is_lost() => Health::Lost,
            None => Health::Good,
            Some(why) => Health::Degraded {
                why: why.to_owned(),
                since: match before.health {
                    Health::Degraded { since, .. } => since,
                    _ => Instant::now(),
                },
            },
        };
        say(&before.health, &health);
        queue.figures = Figures {
            health,
            counts: self.file.counts(),
            length: self.file.length(),
            damage: self.file.damage().cloned(),
            dropped: before.dropped,
        };
        drop(queue);
        self.shared.done.notify_all();
    }
}

impl<D: Disk> Drop for Writer<D> {
    /// Also after a panic nobody waits.
    fn drop(&mut self) {
        self.shared.lock().figures.health = Health::Stopped;
        self.shared.done.notify_all();
    }
}

/// Notes a change in the agent's log.
fn say(before: &Health, now: &Health) {
    match (before, now) {
        (Health::Degraded { why: a, .. }, Health::Degraded { why: b, .. }) if a == b => {}
        (_, Health::Degraded { why, .. }) => log::error!(
            "[error=\"failedCheckpointWrite\"] Could not write the position journal: {why}. Copying goes on; degraded: \
             after a crash these contents may be sent again under other numbers"
        ),
        (Health::Degraded { why, .. }, Health::Good) => {
            log::info!("the position journal can be written again (before: {why})");
        }
        (Health::Good | Health::Degraded { .. }, Health::Lost) => log::error!(
            "another start of the agent writes the position journal; this one writes nothing more"
        ),
        _ => {}
    }
}
