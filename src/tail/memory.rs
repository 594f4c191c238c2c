//! Logs that are in no file: what monitors hand over where flash must be spared. What is read of
//! one is kept until it is committed, so that a session which ends can pass it on.

use super::ledger::{Content, ContentKey, Place, BLOCK};
use super::log::{next_number, Log};
use super::settings::Entry;
use super::source::{Reading, Source};
use super::tailer::Tailer;
use crate::util::random;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The end of an endless content: what is not settled yet, and a little before it.
#[derive(Debug, Default)]
pub struct MemoryLog {
    /// Of the first byte that is held.
    start: u64,
    bytes: VecDeque<u8>,
}

impl MemoryLog {
    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    fn push(&mut self, lines: &[u8]) {
        self.bytes.extend(lines);
    }

    /// Gives up what lies before `settled`, but for what the check of a position needs.
    fn release(&mut self, settled: u64) {
        let keep_from = settled.saturating_sub(BLOCK as u64);
        let n = keep_from.saturating_sub(self.start) as usize;
        self.bytes.drain(..n.min(self.bytes.len()));
        self.start = self.start.max(keep_from);
        if self.bytes.len() < self.bytes.capacity() / 4 {
            self.bytes.shrink_to(2 * self.bytes.len());
        }
    }

    /// The bytes that are held from `offset` on.
    pub fn since(&self, offset: u64) -> Vec<u8> {
        let from = usize::try_from(offset.saturating_sub(self.start)).unwrap_or(usize::MAX);
        let from = from.min(self.bytes.len());
        self.bytes.range(from..).copied().collect()
    }

    /// Reads content at `offset`; short only at the end.
    ///
    /// # Errors
    /// The offset is before what is held, which is a mistake of ours.
    pub fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let Some(from) = offset.checked_sub(self.start) else {
            return Err(io::Error::other("these metrics are not held any more"));
        };
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        let n = buf.len().min(self.bytes.len().saturating_sub(from));
        let (a, b) = self.bytes.as_slices();
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
                memory.push(lines);
                reading.growth = now;
                if let Some(content) = self.ledger.get_mut(key) {
                    content.length = memory.end();
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
        reading.source = Some(Source::Memory(Box::default()));
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

    /// Takes out what of such logs nobody has said has arrived: whole lines of each path, for a
    /// tailer that comes after this one. The logs are forgotten.
    pub fn undelivered_lines(&mut self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut left = Vec::new();
        for (path, number) in std::mem::take(&mut self.memory_logs) {
            let Some(log) = self.logs.remove(&number) else {
                continue;
            };
            for key in self.ledger.of_log(log.id()).to_vec() {
                let settled = self.ledger.get(key).map_or(0, |content| content.settled);
                let source = self
                    .readings
                    .remove(&key)
                    .and_then(|reading| reading.source);
                if let Some(Source::Memory(memory)) = source {
                    let lines = memory.since(settled);
                    if !lines.is_empty() {
                        left.push((path.clone(), lines));
                    }
                }
            }
            self.ledger.forget_log(log.id());
        }
        left
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
        let mut log = MemoryLog::default();
        let text: Vec<u8> = (0..10_000u32).map(|n| n as u8).collect();
        for part in text.chunks(700) {
            log.push(part);
        }
        log.release(5_000);
        assert!(log.bytes.len() <= 5_000 + BLOCK && log.end() == 10_000);
        let mut buf = vec![0; 20_000];
        let from = 5_000 - BLOCK as u64;
        let n = log.read_at(&mut buf, from).unwrap();
        assert_eq!(&buf[..n], &text[from as usize..]);
        assert!(log.read_at(&mut buf, 10).is_err());
        assert_eq!(log.read_at(&mut buf, 10_000).unwrap(), 0);
        log.release(10_000);
        assert!(
            log.bytes.capacity() <= 4 * BLOCK + 64,
            "{}",
            log.bytes.capacity()
        );
    }
}
