//! What came of a batch: positions move, or everything is read again.

use super::tailer::Tailer;
use crate::wire::{Batch, Span};
use std::time::{Duration, Instant};

impl Tailer {
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
    pub fn handed_over(&mut self, spans: &[Span]) {
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
                if generation.rewind() {
                    again.push(*number);
                }
            }
        }
        for number in again {
            self.make_ready(number);
        }
    }
}
