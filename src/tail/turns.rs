//! Turns of reading: files with something to read fill the batch one after the other.

use super::compressed;
use super::counters::{Counters, Skip};
use super::fence::touch;
use super::ledger::{Bytes, Content, ContentKey, Evidence, Phase, Span};
use super::log::{Log, Outfit};
use super::read::{self, Reader, Shape, Turn, Work};
use super::sequence::Sequence;
use super::settings::Settings;
use super::source::{Moved, Reading};
use super::tailer::Tailer;
use super::zeros;
use crate::shape::Counts;
use crate::wire::Batch;
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
                Turn::Moved | Turn::Replaced if disturbed.contains(&number) => {
                    self.failed(number, &Moved.into(), now);
                }
                Turn::Moved | Turn::Replaced => {
                    disturbed.push(number);
                    self.look_at_family(number, now);
                    self.plan(number, now, Some(now));
                }
                Turn::Failed(e) => self.failed(number, &e, now),
                // Dealt with in its turn
                Turn::Compressed(_) => {}
            }
        }
        false
    }

    fn plan_after_read(&mut self, number: u64, now: Instant, waits_until: Option<Instant>) {
        let min = self.settings.min_poll;
        if waits_until.is_none() && self.rests_again(number, now) {
            return;
        }
        if let Some(log) = self.logs.get_mut(&number) {
            // A log that only waits for zeros to become text is as idle as it was
            let mut keys = self.ledger.of_log(log.id()).iter();
            let is_idle = |reading: &Reading| waits_for_text(reading) && reading.growth != now;
            if !keys.any(|key| self.readings.get(key).is_some_and(is_idle)) {
                log.interval = min;
            }
            if log.error.take().is_some() {
                log::info!("reading {} again", log.path.display());
            }
        }
        self.plan(number, now, waits_until);
    }

    /// Reads the log's contents in order: the one that its path shows only when the rotated ones are done.
    fn read_log(&mut self, log: &mut Log, batch: &mut Batch, now: Instant) -> Turn {
        let keys = self.ledger.of_log(log.id()).to_vec();
        if !keys.iter().any(|key| self.ledger.is_readable(*key)) {
            // As most are after a restart
            log.started = true;
            return Turn::Drained(None);
        }
        // A log that is left out is not followed
        let _ = touch(&log.path);
        let mut outfit = log.outfit(
            &self.envelope,
            self.settings.max_request,
            self.settings.max_line_size,
        );
        let mut waits = None;
        let mut outcome = Turn::Drained(None);
        let mut share = SHARE;
        for key in keys {
            if !self.ledger.is_readable(key) {
                continue;
            }
            let mut reading = self
                .readings
                .remove(&key)
                .unwrap_or_else(|| Reading::new(now));
            if reading.source.is_none() {
                self.make_room();
            }
            let was_open = reading.source.is_some();
            let before = self.ledger.get(key).map_or(0, |content| content.read);
            outcome = self.read_content(key, &mut reading, log, &mut outfit, batch, share, now);
            let is_open = reading.source.is_some();
            let is_text_to_come = waits_for_text(&reading);
            let seen = match outcome {
                Turn::Drained(_) => reading.seen.take(),
                _ => None,
            };
            self.readings.insert(key, reading);
            if is_open && !was_open {
                self.open += 1;
                self.in_turn(key);
            }
            self.ledger.has_read(key);
            if let Some(stamp) = seen {
                self.ledger.confirm(key, stamp);
            }
            let read = self.ledger.get(key).map_or(before, |content| content.read);
            share = share.saturating_sub(read - before);
            let is_shown = self
                .ledger
                .get(key)
                .is_some_and(|content| content.phase == Phase::Shown);
            match outcome {
                Turn::Drained(None) => {
                    if is_text_to_come {
                        self.give_zeros_up(key, batch, now);
                    }
                    self.ledger.finish(key, true);
                }
                Turn::Drained(Some(until)) => {
                    waits = Some(until);
                    // Later content waits for the end of this line, or for its time to run out
                    break;
                }
                Turn::Compressed(name) => {
                    self.pass_compressed(key, log, name);
                    outcome = Turn::Drained(None);
                }
                Turn::Failed(e) if !is_shown && !is_full_table(&e) => {
                    self.rotated_unreadable(key, log.counters.get_mut(), &e, now);
                    outcome = Turn::Drained(None);
                }
                Turn::Moved | Turn::Replaced => {
                    // The descriptor stays for the look: the file may have no name any more
                    self.ledger.suspect(key);
                    break;
                }
                _ => break,
            }
            if share == 0 {
                outcome = Turn::More;
                break;
            }
        }
        log.outfit = Some(outfit);
        match outcome {
            Turn::Drained(_) => {
                log.started = true;
                Turn::Drained(waits)
            }
            other => other,
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn read_content(
        &mut self,
        key: ContentKey,
        reading: &mut Reading,
        log: &mut Log,
        outfit: &mut Outfit,
        batch: &mut Batch,
        share: u64,
        now: Instant,
    ) -> Turn {
        let Some(content) = self.ledger.get_mut(key) else {
            return Turn::Drained(None);
        };
        skip_ahead(&self.settings, log, content, reading, batch, now);
        let most = self.settings.max_sequence_number;
        let sequence = Sequence::at(key, &content.numbers, content.read, most);
        let before = content.read;
        let shape = log.entry.pipeline.as_deref().map(|pipeline| Shape {
            pipeline,
            unit: &mut self.unit,
            log_attrs: &outfit.attrs,
        });
        let mut reader = Reader {
            shape,
            envelope: &self.envelope,
            stamp: &mut self.stamp,
            batch,
            max_line: outfit.max_line,
            max_request: self.settings.max_request,
            line_completion_wait: self.settings.line_completion_wait,
            monotonic: self.settings.monotonic,
            max_sequence_number: most,
            now,
        };
        let mut work = Work {
            content,
            reading,
            sequence,
        };
        let label = &mut outfit.label;
        let counters = log.counters.get_mut();
        let outcome = reader.turn(&mut self.buf, &mut work, label, counters, share);
        if work.content.read > before {
            reading.growth = now;
        }
        outcome
    }

    /// The zeros at the end of a rotated file that was preallocated: nobody writes there any more.
    fn give_zeros_up(&mut self, key: ContentKey, batch: &mut Batch, now: Instant) {
        let (Some(content), Some(reading)) =
            (self.ledger.get_mut(key), self.readings.get_mut(&key))
        else {
            return;
        };
        let since = reading.left.max(reading.growth);
        let is_over = now.saturating_duration_since(since) > self.settings.rotated_grace;
        if content.phase != Phase::Shown && is_over {
            let end = content.length;
            read::pass_zeros(batch, content, reading, end);
        }
    }

    /// A rotated file that can't be read does not hold up its successor; it is tried again until its
    /// grace is over.
    fn rotated_unreadable(
        &mut self,
        key: ContentKey,
        counters: &mut Counters,
        e: &std::io::Error,
        now: Instant,
    ) {
        let (Some(content), Some(reading)) = (self.ledger.get_mut(key), self.readings.get(&key))
        else {
            return;
        };
        let path = super::source::path_of(content.place.last_name())
            .display()
            .to_string();
        if self.throttle.allow(&path, Duration::from_secs(60)) {
            log::warn!("{path} can't be read at the moment and is tried again: {e}");
        }
        let grace = self.settings.rotated_grace;
        if now.saturating_duration_since(reading.left) > grace {
            let lost = content.unread();
            log::warn!(
                "{path} could not be read for {:.0} s ({e}); its last {lost} bytes are given up",
                grace.as_secs_f64()
            );
            counters.skip(Skip::Vanished, lost);
            content.give_up();
        }
    }

    /// Passes over a content that is compressed, up to the length that it has now. Nothing of it was taken.
    fn pass_compressed(&mut self, key: ContentKey, log: &mut Log, name: &'static str) {
        let (Some(content), Some(reading)) =
            (self.ledger.get_mut(key), self.readings.get_mut(&key))
        else {
            return;
        };
        let bytes = content.unread();
        if reading.compressed.replace(name).is_none() {
            log::warn!(
                "{} is not copied: {}",
                super::source::path_of(content.place.last_name()).display(),
                compressed::reason(name)
            );
        }
        reading.mark = None;
        let end = content.length;
        let evidence = reading
            .source()
            .and_then(|source| Evidence::taken(end, source));
        content.skip(end, evidence.unwrap_or_default());
        let span = Span {
            key,
            to: end,
            edition: content.edition,
        };
        self.ledger.settle(&span);
        log.counters.skip(Skip::Compressed, bytes);
        log.counters.get_mut().settled += bytes;
    }
}

/// Applies the limits that the operator set on how far behind a file may be.
pub(super) fn skip_ahead(
    settings: &Settings,
    log: &mut Log,
    content: &mut Content,
    reading: &mut Reading,
    batch: &mut Batch,
    now: Instant,
) {
    let waiting = content.unread();
    if waiting == 0 || waits_for_text(reading) || content.is_archive() {
        return;
    }
    let (to, why, limit) = match settings.staleness {
        Some(limit) if now.duration_since(log.last_success) > limit => (
            content.length,
            Skip::Stale,
            format!("copy_staleness_threshold = {} s", limit.as_secs_f64()),
        ),
        _ => {
            let (name, limit) = if log.started {
                ("max_existing_log_offset_size", settings.max_existing_offset)
            } else {
                ("max_log_offset_size", settings.max_new_offset)
            };
            match limit {
                Some(limit) if waiting > limit => (
                    next_line(content, reading, content.length - limit),
                    Skip::TooFarBehind,
                    format!("{name} = {limit}"),
                ),
                _ => return,
            }
        }
    };
    let bytes = to.saturating_sub(content.read);
    if bytes == 0 {
        return;
    }
    let _ = reading.open(content);
    read::skip(batch, content, reading, to, Counts::default());
    log.counters.skip(why, bytes);
    let kind = if log.started { "existing" } else { "new" };
    log::warn!(
        "Skipped copying {bytes} {kind} bytes in '{}' due to: {} ({limit} is set)",
        log.path.display(),
        why.name()
    );
    log.last_success = now;
}

/// Whether what is not read yet are zeros that may become text.
fn waits_for_text(reading: &Reading) -> bool {
    let partial = reading.partial;
    partial.is_some_and(|(len, _)| len == zeros::WAITS)
}

/// Whether an error says that no file descriptor is left.
fn is_full_table(e: &std::io::Error) -> bool {
    matches!(e.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

/// The start of the first line at or after `offset`, if one begins within the next 64 KiB.
fn next_line(content: &Content, reading: &mut Reading, offset: u64) -> u64 {
    let mut buf = vec![0; 64 << 10];
    let Ok(source) = reading.open(content) else {
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
