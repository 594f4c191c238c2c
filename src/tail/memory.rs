//! Logs that are in no file: what monitors hand over where flash must be spared. What is read of
//! one is kept until it is committed, so that a session which ends can pass it on, and one that dies or hangs
//! loses nothing of it.

use super::fence::Fence;
use super::ledger::{Content, ContentKey, Place, BLOCK};
use super::log::{next_number, Log};
use super::settings::Entry;
use super::source::{Reading, Source};
use super::tailer::Tailer;
use crate::util::random;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The end of an endless content: what is not settled yet, and a little before it. All clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct MemoryLog(Arc<Mutex<Text>>);

#[derive(Debug, Default)]
struct Text {
    /// Of the first byte that is held.
    start: u64,
    settled: u64,
    bytes: VecDeque<u8>,
}

impl Text {
    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

/// The logs in memory of all sessions. What nobody has said has arrived outlives the thread that reads it: that
/// may end for good, die or hang, and be replaced. All clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct Shelf(Arc<Mutex<Vec<Kept>>>);

#[derive(Debug)]
struct Kept {
    path: PathBuf,
    log: MemoryLog,
    /// The fence of the thread that reads it.
    reader: Arc<Fence>,
}

impl Shelf {
    fn keep(&self, path: &Path, log: &MemoryLog, reader: &Arc<Fence>) {
        let mut all = locked(&self.0);
        // A reload has passed it on
        all.retain(|kept| !Arc::ptr_eq(&kept.log.0, &log.0));
        all.push(Kept {
            path: path.to_owned(),
            log: log.clone(),
            reader: reader.clone(),
        });
    }

    /// Takes out what no thread takes care of any more: of each path the lines of which nobody has said that they
    /// have arrived. What a thread that was given up had sent is among them if no answer has come.
    pub fn take_left(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut left = Vec::new();
        locked(&self.0).retain(|kept| {
            let is_left = Arc::strong_count(&kept.log.0) == 1 || kept.reader.is_given_up();
            if is_left {
                left.push((kept.path.clone(), kept.log.take_unsettled()));
            }
            !is_left
        });
        left.retain(|(_, lines)| !lines.is_empty());
        left
    }
}

/// A panic leaves nothing half done behind these locks that anybody would miss.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MemoryLog {
    /// Appends lines; where the content ends then.
    fn push(&self, lines: &[u8]) -> u64 {
        let mut text = locked(&self.0);
        text.bytes.extend(lines);
        text.end()
    }

    /// Gives up what lies before `settled`, but for what the check of a position needs.
    fn release(&self, settled: u64) {
        let mut text = locked(&self.0);
        text.settled = text.settled.max(settled);
        let keep_from = settled.saturating_sub(BLOCK as u64);
        let n = keep_from.saturating_sub(text.start) as usize;
        let n = n.min(text.bytes.len());
        text.bytes.drain(..n);
        text.start = text.start.max(keep_from);
        if text.bytes.len() < text.bytes.capacity() / 4 {
            let most = 2 * text.bytes.len();
            text.bytes.shrink_to(most);
        }
    }

    /// Takes out all bytes, and returns those that are not settled.
    fn take_unsettled(&self) -> Vec<u8> {
        let mut text = locked(&self.0);
        let from = usize::try_from(text.settled.saturating_sub(text.start)).unwrap_or(usize::MAX);
        text.start = text.end();
        let mut bytes = Vec::from(std::mem::take(&mut text.bytes));
        bytes.drain(..from.min(bytes.len()));
        bytes
    }

    /// Reads content at `offset`; short only at the end.
    ///
    /// # Errors
    /// The offset is before what is held, which is a mistake of ours.
    pub fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let text = locked(&self.0);
        let Some(from) = offset.checked_sub(text.start) else {
            return Err(io::Error::other("these metrics are not held any more"));
        };
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        let n = buf.len().min(text.bytes.len().saturating_sub(from));
        let (a, b) = text.bytes.as_slices();
        for (i, byte) in buf[..n].iter_mut().enumerate() {
            let at = from + i;
            *byte = if at < a.len() { a[at] } else { b[at - a.len()] };
        }
        Ok(n)
    }
}

impl Tailer {
    /// Takes lines that are in no file. `entry` says how they are labelled and shaped; it counts
    /// when the first lines of its path come.
    pub fn take_lines(
        &mut self,
        path: &Path,
        entry: impl FnOnce() -> Entry,
        lines: &[u8],
        now: Instant,
    ) {
        let known = self.memory_logs.get(path).copied();
        let number = known.unwrap_or_else(|| self.add_memory_log(path, entry(), now));
        for key in self.ledger.of_log(super::log::id_of(number)).to_vec() {
            let reading = self.readings.get_mut(&key);
            let Some(reading) = reading else { continue };
            if let Some(Source::Memory(memory)) = &mut reading.source {
                let end = memory.push(lines);
                reading.growth = now;
                if let Some(content) = self.ledger.get_mut(key) {
                    content.length = end;
                }
            }
        }
        self.make_ready(number);
    }

    fn add_memory_log(&mut self, path: &Path, entry: Entry, now: Instant) -> u64 {
        self.fit_buffer(&entry);
        let number = next_number();
        let mut log = Log::new(path.into(), Arc::new(entry), number, now);
        log.in_memory = true;
        let content =
            Content::in_memory(log.id(), super::ledger::SequenceId(random::uuid4_bytes()));
        let key = self.ledger.take_up(content, true);
        let mut reading = Reading::new(now);
        let memory = MemoryLog::default();
        self.settings
            .shelf
            .keep(path, &memory, &self.settings.fence);
        reading.source = Some(Source::Memory(memory));
        reading.is_text = true;
        self.readings.insert(key, reading);
        self.logs.insert(number, Box::new(log));
        self.memory_logs.insert(path.to_owned(), number);
        number
    }

    /// Bytes of such logs that are not settled.
    pub fn bytes_in_memory(&self) -> u64 {
        let logs = self.memory_logs.values();
        logs.map(|number| self.pending(super::log::id_of(*number)))
            .sum()
    }

    /// Takes care of a log in memory that another tailer had.
    pub(super) fn keep_on_shelf(&self, path: &Path, key: ContentKey) {
        let source = self.readings.get(&key).and_then(|r| r.source.as_ref());
        if let Some(Source::Memory(memory)) = source {
            let settings = &self.settings;
            settings.shelf.keep(path, memory, &settings.fence);
        }
    }

    /// Plans the next look at a log that has no file: only for an unfinished group of lines.
    pub(super) fn look_at_memory(&mut self, number: u64, now: Instant) {
        let wait = self.settings.line_completion_wait;
        let Some(log) = self.logs.get_mut(&number) else {
            return;
        };
        log.interval = Duration::from_secs(60);
        log.last_check = Some(crate::util::time::now_secs());
        let keys = self.ledger.of_log(log.id()).iter();
        let readings = keys.filter_map(|key| self.readings.get(key));
        let due = |reading: &Reading| reading.partial.map(|(_, since)| since + wait);
        let wake = readings.filter_map(due).min();
        if wake.is_some_and(|at| at <= now) {
            self.make_ready(number);
        }
        self.plan(number, now, wake.filter(|at| *at > now));
    }
}

/// Gives up what is settled.
pub(super) fn release(readings: &mut HashMap<ContentKey, Reading>, content: Option<&Content>) {
    let Some(content) = content.filter(|content| content.place == Place::InMemory) else {
        return;
    };
    let reading = readings.get_mut(&content.key);
    if let Some(Source::Memory(memory)) = reading.and_then(|reading| reading.source.as_mut()) {
        memory.release(content.settled);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_settled_is_given_up_and_the_rest_can_be_read_again() {
        let log = MemoryLog::default();
        let held = || {
            let text = locked(&log.0);
            (text.bytes.len(), text.end(), text.bytes.capacity())
        };
        let text: Vec<u8> = (0..10_000u32).map(|n| n as u8).collect();
        for part in text.chunks(700) {
            log.push(part);
        }
        log.release(5_000);
        assert!(held().0 <= 5_000 + BLOCK && held().1 == 10_000);
        let mut buf = vec![0; 20_000];
        let from = 5_000 - BLOCK as u64;
        let n = log.read_at(&mut buf, from).unwrap();
        assert_eq!(&buf[..n], &text[from as usize..]);
        assert!(log.read_at(&mut buf, 10).is_err());
        assert_eq!(log.read_at(&mut buf, 10_000).unwrap(), 0);
        log.release(10_000);
        assert!(held().2 <= 4 * BLOCK + 64, "{:?}", held());
        log.push(b"more");
        assert_eq!(log.take_unsettled(), b"more");
        assert_eq!(log.take_unsettled(), b"");
        assert!(log.read_at(&mut buf, 10_000).is_err());
    }
}
