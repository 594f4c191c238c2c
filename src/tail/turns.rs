//! Turns of reading: files with something to read fill the batch one after the other.

use super::compressed;
use super::counters::{Counters, Skip};
use super::fence::touch;
use super::generation::{Generation, Lost, State};
use super::log::Log;
use super::read::{self, Reader, Shape, Turn};
use super::tailer::Tailer;
use super::zeros;
use crate::shape::Counts;
use crate::wire::Batch;
use std::path::Path;
use std::time::{Duration, Instant};

/// A log's share of a batch before the next log has its turn.
const SHARE: u64 = 256 << 10;

impl Tailer {
    /// Fills the batch from the files that have something, in turns. True if the batch is full.
    pub fn fill(&mut self, batch: &mut Batch, now: Instant) -> bool {
        // Logs whose content turned out to be elsewhere: a second time in one turn, it waits for a
        // look, as a file that can't be found where its path shows it would be tried for ever
        let mut disturbed: Vec<u64> = Vec::new();
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
                Turn::Moved if disturbed.contains(&number) => {
                    self.failed(number, &Lost::Moved.into(), now);
                }
                Turn::Replaced(_) if disturbed.contains(&number) => {
                    self.failed(number, &Lost::Replaced.into(), now)
                }
                Turn::Moved => {
                    disturbed.push(number);
                    self.look(number, now);
                }
                Turn::Replaced(key) => {
                    disturbed.push(number);
                    self.replaced(number, key, now);
                }
                Turn::Vanished(key) => self.vanished(number, key, now),
                Turn::Failed(e) => self.failed(number, &e, now),
                // Dealt with in its turn
                Turn::Compressed(_) => {}
            }
        }
        false
    }

    fn plan_after_read(&mut self, number: u64, now: Instant, waits_until: Option<Instant>) {
        let min = self.settings.min_poll;
        if let Some(log) = self.logs.get_mut(&number) {
            // A log that only waits for zeros to become text is as idle as it was
            if !log
                .generations
                .iter()
                .any(|g| waits_for_text(g) && g.growth != now)
            {
                log.interval = min;
            }
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
        // A log that is left out is not followed
        let _ = touch(&log.path);
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
            let nameless = generation.signature.len == 0;
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
            // It was saved as any content; when it is truncated and written anew while nobody looks,
            // the new one must not get its numbers
            if nameless && generation.signature.len > 0 {
                self.undurable = true;
                log.dirty = true;
            }
            if generation.source.is_some() && !was_open {
                self.open += 1;
                self.in_turn(log.number);
            }
            if generation.read > before {
                generation.growth = now;
                share = share.saturating_sub(generation.read - before);
            }
            match outcome {
                Turn::Drained(None) => self.give_zeros_up(log, at, batch, now),
                Turn::Drained(Some(until)) => {
                    waits = Some(until);
                    // Later content waits for the end of this line, or for its time to run out
                    break;
                }
                Turn::Compressed(name) => {
                    pass_compressed(log, at, name, self.settings.max_sequence_number);
                    self.moved = true;
                    outcome = Turn::Drained(None);
                }
                Turn::Failed(e) if generation.state != State::Current && !is_full_table(&e) => {
                    self.rotated_unreadable(generation, &mut log.counters, &e, now);
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

    /// The zeros at the end of a rotated file that was preallocated: nobody writes there any more.
    fn give_zeros_up(&self, log: &mut Log, at: usize, batch: &mut Batch, now: Instant) {
        let generation = &mut log.generations[at];
        let waits = waits_for_text(generation);
        if let State::Rotated(since) | State::Gone(since) = generation.state {
            let limit = self.settings.rotated_grace;
            if waits && now.duration_since(since.max(generation.growth)) > limit {
                read::pass_zeros(batch, generation, generation.size);
            }
        }
    }

    /// A rotated file that can't be read does not hold up its successor; it is tried again until its
    /// grace is over.
    fn rotated_unreadable(
        &mut self,
        generation: &mut Generation,
        counters: &mut Counters,
        e: &std::io::Error,
        now: Instant,
    ) {
        let (State::Rotated(since) | State::Gone(since)) = generation.state else {
            return;
        };
        let path = generation.path.display().to_string();
        if self.throttle.allow(&path, Duration::from_secs(60)) {
            log::warn!("{path} can't be read at the moment and is tried again: {e}");
        }
        if now.duration_since(since) > self.settings.rotated_grace {
            let lost = generation.unread();
            log::warn!(
                "{path} could not be read for {:.0} s ({e}); its last {lost} bytes are given up",
                self.settings.rotated_grace.as_secs_f64()
            );
            counters.skip(Skip::Vanished, lost);
            generation.size = generation.read;
        }
    }

    /// Applies the limits that the operator set on how far behind a file may be.
    pub(super) fn skip_ahead(&mut self, log: &mut Log, at: usize, batch: &mut Batch, now: Instant) {
        let generation = &mut log.generations[at];
        let waiting = generation.unread();
        if waiting == 0 || waits_for_text(generation) {
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
        read::skip(batch, generation, to, Counts::default());
        log.counters.skip(why, bytes);
        let kind = if log.started { "existing" } else { "new" };
        log::warn!(
            "Skipped copying {bytes} {kind} bytes in '{}' due to: {} ({limit} is set)",
            log.path.display(),
            why.name()
        );
        log.last_success = now;
    }
}

/// Whether what is not read yet are zeros that may become text.
fn waits_for_text(generation: &Generation) -> bool {
    let partial = generation.partial;
    partial.is_some_and(|(len, _)| len == zeros::WAITS)
}

/// Passes over a content that is compressed, up to the length that it has now. Nothing of it was taken.
fn pass_compressed(log: &mut Log, at: usize, name: &'static str, max_sequence_number: u64) {
    let generation = &mut log.generations[at];
    let bytes = generation.unread();
    if generation.compressed.replace(name).is_none() {
        log::warn!(
            "{} is not copied: {}",
            generation.path.display(),
            compressed::reason(name)
        );
    }
    generation.read = generation.size;
    generation.mark = None;
    generation.commit(generation.size, None, max_sequence_number);
    log.counters.skip(Skip::Compressed, bytes);
    log.counters.settled += bytes;
    log.dirty = true;
}

/// Whether an error says that no file descriptor is left.
fn is_full_table(e: &std::io::Error) -> bool {
    matches!(e.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

/// The start of the first line at or after `offset`, if one begins within the next 64 KiB.
fn next_line(generation: &mut Generation, log: &Path, offset: u64) -> u64 {
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
