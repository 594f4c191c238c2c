//! Paths that the configuration matches and that are not copied: each is told once in agent.log and
//! shown by `status -v` as long as that holds.

use super::expand::{self, expand};
use super::settings::Entry;
use super::tailer::Tailer;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// At most so many paths are told and remembered, 3 MB of memory: whoever may write in a folder can
/// make any number of them.
const MOST: usize = 10_000;

/// A path that is not copied.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unreadable {
    /// The path; that of a pattern whose expansion was cut.
    pub path: PathBuf,
    /// The pattern that leads to it.
    pub pattern: PathBuf,
    /// Why it is not copied, and where that is known, what to do.
    pub why: String,
    /// The scan that found it last.
    pub scan: u32,
}

impl Tailer {
    /// Looks for files that match a pattern and are not followed yet.
    pub(super) fn expand(&mut self, entry: &Arc<Entry>, now: Instant) {
        let (scan, watching) = (self.scans, &mut self.watching);
        let mut enter = |dir: &Path| {
            if let Some(watching) = watching {
                watching.see(dir, scan, false);
            }
        };
        let found = expand(&entry.pattern, entry.examines_links(), &mut enter);
        if found.is_cut {
            self.unreadable(&entry.pattern, entry, expand::cut().to_string());
        }
        if let Some((folder, why)) = found.unlisted {
            self.unreadable(&folder, entry, format!("it can't be listed: {why}"));
        }
        for (link, refusal) in found.refused {
            self.unreadable(&link, entry, refusal.to_string());
        }
        for path in found.paths {
            self.matched(path, entry, now);
        }
    }

    /// Tells that a path is not copied, once.
    pub(super) fn unreadable(&mut self, path: &Path, entry: &Entry, why: String) {
        let scan = self.scans;
        let is_full = self.unreadable.len() >= MOST;
        let told = self.unreadable.get_mut(path);
        let is_new = told.is_none();
        if let Some(told) = told.filter(|told| told.why == why) {
            told.scan = scan;
            return;
        }
        // Of patterns there are only as many as the operator wrote
        if is_new && is_full && path != entry.pattern {
            let most = Duration::from_secs(3_600);
            if self.throttle.allow("unreadable", most) {
                log::warn!(
                    "More than {MOST} paths match the configuration but are not copied; {} and others are \
                     not named in status -v",
                    path.display()
                );
            }
            return;
        }
        log::warn!(
            "{} matches the configuration but is not copied: {why}",
            path.display()
        );
        let told = Unreadable {
            path: path.to_path_buf(),
            pattern: entry.pattern.clone(),
            why,
            scan,
        };
        self.unreadable.insert(path.to_path_buf(), told);
    }

    /// Forgets what the last scan has not found any more.
    pub(super) fn forget_unreadable(&mut self) {
        let scan = self.scans;
        self.unreadable.retain(|_, told| told.scan == scan);
    }
}
