//! How much a log may grow per second: a token bucket of bytes. Metric logs
//! and agent.log use it alike.

use std::io::Write as _;
use std::time::Instant;

/// A bucket that starts full. A line that does not fit is dropped and counted; the next one that
/// fits is preceded by a marker that tells how many were.
#[derive(Debug)]
pub struct WriteLimit {
    bucket: Option<Bucket>,
    /// Dropped since the last line that passed.
    skipped: u64,
    dropped: u64,
}

#[derive(Debug)]
struct Bucket {
    rate: f64,
    burst: f64,
    tokens: f64,
    last: Option<Instant>,
}

/// The decision about a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Write it.
    Pass,
    /// Write the [`marker`] for so many lines, then the line.
    PassAfter(u64),
    /// Do not write it.
    Drop,
}

impl WriteLimit {
    /// `rate` bytes per second, at most `burst` at once. A negative number lifts the limit; with a
    /// rate of 0 the burst is all there ever is.
    pub fn new(rate: i64, burst: i64) -> Self {
        WriteLimit {
            bucket: (rate >= 0 && burst >= 0).then_some(Bucket {
                rate: rate as f64,
                burst: burst as f64,
                tokens: burst as f64,
                last: None,
            }),
            skipped: 0,
            dropped: 0,
        }
    }

    /// No limit at all.
    pub fn none() -> Self {
        Self::new(-1, -1)
    }

    /// Decides about a line of `bytes` (its newline not counted) at `now`. The marker's bytes are
    /// charged to the line that it precedes.
    pub fn admit(&mut self, bytes: usize, now: Instant) -> Admission {
        let Some(bucket) = &mut self.bucket else {
            return Admission::Pass;
        };
        if let Some(last) = bucket.last {
            let elapsed = now.saturating_duration_since(last).as_secs_f64();
            bucket.tokens = (bucket.tokens + elapsed * bucket.rate).min(bucket.burst);
        }
        bucket.last = Some(now);
        let cost = if self.skipped == 0 {
            bytes
        } else {
            bytes.saturating_add(marker_len(self.skipped))
        } as f64;
        if cost > bucket.tokens {
            self.skipped = self.skipped.saturating_add(1);
            self.dropped = self.dropped.saturating_add(1);
            return Admission::Drop;
        }
        bucket.tokens -= cost;
        match std::mem::take(&mut self.skipped) {
            0 => Admission::Pass,
            skipped => Admission::PassAfter(skipped),
        }
    }

    /// Lines dropped since the start.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

const MARKER: (&str, &str) = (
    ".... Warning, skipped writing ",
    " log lines due to limit set by `monitor_log_write_rate` option...\n",
);

/// Appends the line that stands for `skipped` lines: this exact text, without stamp and tag, with
/// the same option's name in every log.
pub fn marker(out: &mut Vec<u8>, skipped: u64) {
    // Writing into a Vec cannot fail.
    let _ = write!(out, "{}{skipped}{}", MARKER.0, MARKER.1);
}

fn marker_len(skipped: u64) -> usize {
    let digits = skipped.checked_ilog10().map_or(1, |log| log as usize + 1);
    MARKER.0.len() + digits + MARKER.1.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_limiter_drops_then_announces_how_many() {
        let start = Instant::now();
        let mut limit = WriteLimit::new(20, 400);
        for _ in 0..4 {
            assert_eq!(limit.admit(100, start), Admission::Pass);
        }
        for _ in 0..3 {
            assert_eq!(limit.admit(100, start), Admission::Drop);
        }
        // 100 bytes are back, but the marker has to be paid for as well
        let after = |secs| start + Duration::from_secs(secs);
        assert_eq!(limit.admit(100, after(5)), Admission::Drop);
        assert_eq!(limit.admit(100, after(10)), Admission::PassAfter(4));
        assert_eq!(limit.admit(5, after(10)), Admission::Drop);
        assert_eq!(limit.dropped(), 5);
        // what is saved up is never more than the burst
        assert_eq!(limit.admit(400, after(100_000)), Admission::Drop);
        assert_eq!(limit.admit(300, after(100_000)), Admission::PassAfter(2));
    }

    #[test]
    fn the_marker_is_charged_for_what_it_takes() {
        for skipped in [1, 9, 10, 99, 100, 12_345, u64::MAX] {
            let mut out = Vec::new();
            marker(&mut out, skipped);
            assert_eq!(out.len(), marker_len(skipped));
        }
        let mut out = Vec::new();
        marker(&mut out, 3);
        assert_eq!(
            out,
            b".... Warning, skipped writing 3 log lines due to limit set by `monitor_log_write_rate` option...\n"
        );
    }

    #[test]
    fn negative_numbers_lift_the_limit_and_zero_never_refills() {
        let start = Instant::now();
        for (rate, burst) in [(-1, 10), (10, -1)] {
            assert_eq!(
                WriteLimit::new(rate, burst).admit(1_000_000, start),
                Admission::Pass
            );
        }
        let mut limit = WriteLimit::new(0, 10);
        assert_eq!(limit.admit(10, start), Admission::Pass);
        assert_eq!(
            limit.admit(1, start + Duration::from_secs(1_000_000)),
            Admission::Drop
        );
    }

    #[test]
    fn a_clock_that_steps_back_takes_nothing_away() {
        let start = Instant::now() + Duration::from_secs(100);
        let mut limit = WriteLimit::new(1, 100);
        assert_eq!(limit.admit(50, start), Admission::Pass);
        assert_eq!(
            limit.admit(50, start - Duration::from_secs(50)),
            Admission::Pass
        );
    }
}
