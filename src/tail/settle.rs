//! A batch that was handed over, and one that came back decided: positions move.

use super::ledger::{ContentKey, Span};
use super::tailer::Tailer;
use crate::wire::{self, Batch};
use std::time::{Duration, Instant};

impl Tailer {
    /// Commits what a batch covers: the server has it, or refuses it for good.
    pub fn commit(&mut self, batch: &Batch, now: Instant) {
        let all = batch.message_bytes();
        let again = batch.posted.saturating_sub(all);
        for span in &batch.spans {
            let key = ContentKey(span.source);
            let number = self.ledger.get(key).map(|content| u64::from(content.log.0));
            let Some(log) = number.and_then(|n| self.logs.get_mut(&n)) else {
                continue;
            };
            let counters = log.counters.get_mut();
            counters.settled += self.ledger.settle(&Span {
                key,
                to: span.to,
                edition: span.edition,
            });
            if log.in_memory {
                super::memory::release(&mut self.readings, self.ledger.get(key));
            }
            log.last_success = now;
            counters.shape.add(&span.counts);
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
            counters.failed += span.refused_bytes;
            counters.failed_lines += span.refused_lines;
            counters.lines += span.lines.saturating_sub(span.refused_lines);
            counters.copied += span.message_bytes.saturating_sub(span.refused_bytes);
            let share = u128::from(again) * u128::from(span.message_bytes) / u128::from(all.max(1));
            counters.resent += u64::try_from(share).unwrap_or(u64::MAX);
        }
    }

    /// Notes what a batch that was handed over covers.
    pub fn handed_over(&mut self, spans: &[wire::Span]) {
        for span in spans {
            if let Some(reading) = self.readings.get_mut(&ContentKey(span.source)) {
                reading.sent = reading.sent.max(span.to);
            }
        }
    }
}
