//! Counters of the bytes and lines of a log: sent, discarded, and skipped by reason.

/// Why bytes were not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skip {
    /// Older than where the first start begins (no loss: it was never asked for).
    BeforeStart,
    /// `max_log_offset_size` or `max_existing_log_offset_size`.
    TooFarBehind,
    /// `copy_staleness_threshold`.
    Stale,
    /// `ignore_stale_files`.
    OldFile,
    /// The content vanished before it was read.
    Vanished,
    /// The file was truncated before it was read, and no copy was found.
    Truncated,
    /// One event that fits into no request.
    TooLarge,
    /// The file is compressed.
    Compressed,
}

impl Skip {
    /// All reasons, in the order of [`Counters::skipped`].
    pub const ALL: [Skip; 8] = [
        Skip::BeforeStart,
        Skip::TooFarBehind,
        Skip::Stale,
        Skip::OldFile,
        Skip::Vanished,
        Skip::Truncated,
        Skip::TooLarge,
        Skip::Compressed,
    ];

    /// Its name in status reports.
    pub fn name(self) -> &'static str {
        match self {
            Skip::BeforeStart => "before start",
            Skip::TooFarBehind => "too far behind",
            Skip::Stale => "no success for too long",
            Skip::OldFile => "stale file",
            Skip::Vanished => "vanished",
            Skip::Truncated => "truncated",
            Skip::TooLarge => "too large",
            Skip::Compressed => "compressed",
        }
    }
}

/// Totals of one log since the agent started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Lines (events) delivered.
    pub lines: u64,
    /// Bytes that the settled positions have moved past, for whatever reason.
    pub settled: u64,
    /// Bytes of log delivered.
    pub copied: u64,
    /// Bytes of messages in requests that were sent again, each time counted.
    pub resent: u64,
    /// Bytes that the server said to discard.
    pub failed: u64,
    /// Events that the server said to discard.
    pub failed_lines: u64,
    /// The counts of shaping, for the bytes that were delivered or discarded.
    pub shape: crate::shape::Counts,
    /// Bytes of a content that began as another log's did: should it have been that one's copy, they
    /// were sent twice.
    pub repeated: u64,
    /// Bytes not sent, by [`Skip::ALL`].
    pub skipped: [u64; 8],
}

/// The totals of a log. Many an idle one has nothing but bytes before the first start to count, and the other
/// totals of 10,000 logs would take 3 MB.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    before_start: u64,
    others: Option<Box<Counters>>,
}

impl Tally {
    /// All totals.
    pub fn get(&self) -> Counters {
        let mut all = self.others.as_deref().copied().unwrap_or_default();
        all.skip(Skip::BeforeStart, self.before_start);
        all
    }

    /// Whether it has more to count than bytes before the first start.
    #[cfg(test)]
    pub fn is_large(&self) -> bool {
        self.others.is_some()
    }

    /// To be added to. The totals take memory from then on.
    pub fn get_mut(&mut self) -> &mut Counters {
        self.others.get_or_insert_default()
    }

    /// Counts bytes that are not sent.
    pub fn skip(&mut self, why: Skip, bytes: u64) {
        match why {
            Skip::BeforeStart => self.before_start += bytes,
            why => self.get_mut().skip(why, bytes),
        }
    }
}

impl Counters {
    /// Counts bytes that are not sent.
    pub fn skip(&mut self, why: Skip, bytes: u64) {
        self.skipped[why as usize] += bytes;
    }

    /// All bytes not sent that should have been (what [`Skip::BeforeStart`] names never should).
    pub fn total_skipped(&self) -> u64 {
        self.skipped[1..].iter().sum()
    }

    /// Adds another log's totals.
    pub fn add(&mut self, other: &Counters) {
        self.lines += other.lines;
        self.settled += other.settled;
        self.copied += other.copied;
        self.resent += other.resent;
        self.failed += other.failed;
        self.failed_lines += other.failed_lines;
        self.repeated += other.repeated;
        self.shape.add(&other.shape);
        for (a, b) in self.skipped.iter_mut().zip(other.skipped) {
            *a += b;
        }
    }
}
