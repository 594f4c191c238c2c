//! The report of a session's files, for `status` and the statistics in agent.log.

use super::counters::Counters;
use super::ledger::{Content, Phase};
use super::tailer::Tailer;
use super::unreadable::Unreadable;
use super::verdict::OVERFLOWN;
use super::watched::HintStatus;
use crate::util::sort;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// One session's files at one moment.
#[derive(Debug, Clone, Default)]
pub struct TailStatus {
    /// Scans for new files.
    pub scans: u64,
    /// The last one, seconds since the epoch.
    pub last_scan: Option<f64>,
    /// The entries' patterns, and whether they have wildcards.
    pub patterns: Vec<(PathBuf, bool)>,
    /// The followed files, by path.
    pub logs: Vec<LogStatus>,
    /// Matched files that are not copied, and why.
    pub unreadable: Vec<Unreadable>,
    /// Totals of files that are not followed any more.
    pub retired: Counters,
    /// Open file descriptors of logs.
    pub open_files: usize,
    /// How often evidence left a question open, by what was decided. Of listings that are too long to be remembered,
    /// how many there are.
    pub ambiguities: BTreeMap<&'static str, u64>,
    /// Folders with hints from the kernel; `None`: there are none to have.
    pub hints: Option<HintStatus>,
    /// Times that a batch was handed over.
    pub batches: u64,
}

/// One followed file. Sizes are bytes.
#[derive(Debug, Clone)]
pub struct LogStatus {
    /// Its path.
    pub path: PathBuf,
    /// The pattern that it belongs to.
    pub pattern: PathBuf,
    /// The name that the server sees, if it is another.
    pub reported: Option<String>,
    /// Length, read position and settled position of what the path shows (or last showed).
    pub size: u64,
    /// See `size`.
    pub read: u64,
    /// See `size`: was in a request that was sent.
    pub sent: u64,
    /// See `size`.
    pub acknowledged: u64,
    /// Not settled, rotated files included.
    pub pending: u64,
    /// Rotated files that are not finished.
    pub unfinished: usize,
    /// Totals.
    pub counters: Counters,
    /// Last look, seconds since the epoch.
    pub last_check: Option<f64>,
    /// Whether the path shows something.
    pub present: bool,
    /// Whether there is something to read.
    pub reading: bool,
    /// Why it can't be read, if so.
    pub error: Option<String>,
}

impl Tailer {
    /// The state of everything that is followed.
    pub fn status(&self) -> TailStatus {
        let mut logs: Vec<LogStatus> = self
            .logs
            .values()
            .map(|log| {
                let keys = self.ledger.of_log(log.id()).iter();
                let contents: Vec<&Content> =
                    keys.filter_map(|key| self.ledger.get(*key)).collect();
                let shown = contents
                    .iter()
                    .find(|content| content.phase == Phase::Shown);
                let last = shown.or(contents.last());
                let reading = last.and_then(|content| self.readings.get(&content.key));
                let sent = reading.map_or(0, |reading| reading.sent);
                let is_unfinished =
                    |content: &&&Content| content.phase == Phase::Draining && content.pending() > 0;
                let name = log.reported_name();
                LogStatus {
                    path: log.path.to_path_buf(),
                    pattern: log.entry.pattern.clone(),
                    reported: (name != log.path.to_string_lossy()).then_some(name),
                    size: last.map_or(0, |content| content.length.max(content.read)),
                    read: last.map_or(0, |content| content.read),
                    sent: last.map_or(0, |content| {
                        sent.max(content.settled)
                            .min(content.read.max(content.settled))
                    }),
                    acknowledged: last.map_or(0, |content| content.settled),
                    pending: self.pending(log.id()),
                    unfinished: contents.iter().filter(is_unfinished).count(),
                    counters: log.counters.get(),
                    last_check: log.last_check,
                    present: shown.is_some(),
                    reading: log.ready,
                    error: log.error.as_deref().map(str::to_owned).or_else(|| {
                        let name = reading.and_then(|reading| reading.compressed)?;
                        Some(super::compressed::reason(name))
                    }),
                }
            })
            .collect();
        crate::util::sort::by(&mut logs, |a, b| a.path.cmp(&b.path));
        let mut unreadable: Vec<Unreadable> = self.unreadable.values().cloned().collect();
        crate::util::sort::plainly(&mut unreadable);
        TailStatus {
            scans: self.scans.into(),
            last_scan: self.last_scan,
            patterns: self
                .entries
                .iter()
                .map(|e| (e.pattern.clone(), e.is_glob))
                .collect(),
            logs,
            unreadable,
            retired: self.retired,
            open_files: self.open_files(),
            ambiguities: self.ambiguities(),
            hints: self.hint_status(),
            batches: 0,
        }
    }

    fn ambiguities(&self) -> BTreeMap<&'static str, u64> {
        let doubts = self.ledger.doubts().iter();
        let mut all: BTreeMap<_, _> = sort::gathered(doubts.map(|(doubt, n)| (doubt.words(), *n)));
        let listings = self.ledger.listings();
        let overflown = listings.filter(|(_, listing)| listing.is_overflown());
        let overflown = overflown.count() as u64;
        all.extend((overflown > 0).then_some((OVERFLOWN, overflown)));
        all
    }
}
