//! Which files are open: at most `max_open_files`, those that had their turn last.

use super::generation::{Generation, Source};
use super::tailer::Tailer;

impl Tailer {
    /// Closes files until one more may be opened: the ones that had their turn longest ago, and last
    /// those that were deleted and still have something to deliver, as nobody can open them again.
    pub(super) fn make_room(&mut self) {
        self.close_in_turn(false);
        self.close_in_turn(true);
    }

    fn close_in_turn(&mut self, irreplaceable_too: bool) {
        for _ in 0..self.hand.len() {
            if self.open < self.settings.max_open_files {
                return;
            }
            let Some(number) = self.hand.pop_front() else {
                return;
            };
            let Some(log) = self.logs.get_mut(&number) else {
                continue;
            };
            if log.in_memory {
                continue;
            }
            let mut kept = false;
            for generation in &mut log.generations {
                if generation.source.is_none() {
                    continue;
                }
                if !irreplaceable_too && is_irreplaceable(generation) {
                    kept = true;
                    continue;
                }
                generation.source = None;
                self.open = self.open.saturating_sub(1);
            }
            if kept {
                self.hand.push_back(number);
            }
        }
    }

    /// No descriptor is left: gives half of ours back, and takes fewer from now on.
    pub(super) fn close_some(&mut self) {
        let most = self.settings.max_open_files;
        self.settings.max_open_files = (self.open / 2).max(4);
        self.make_room();
        self.settings.max_open_files = most.min((self.open + 8).max(8));
    }

    /// Notes that a file was opened; forgets the turns of what was closed meanwhile.
    pub(super) fn in_turn(&mut self, number: u64) {
        self.hand.push_back(number);
        if self.hand.len() > 2 * self.open + 64 {
            let logs = &self.logs;
            let mut seen = std::collections::HashSet::new();
            self.hand.retain(|n| {
                // A log that is being read is not in the map at the moment
                let open = logs
                    .get(n)
                    .is_none_or(|l| l.generations.iter().any(|g| g.source.is_some()));
                open && seen.insert(*n)
            });
        }
    }

    /// Opens a file that has nothing to read yet, if there is room, so that what is written before
    /// it is renamed or deleted can still be read.
    pub(super) fn hold(&mut self, number: u64) {
        if self.open >= self.settings.max_open_files {
            return;
        }
        if let Some(log) = self.logs.get_mut(&number) {
            let path = log.path.clone();
            if let Some(generation) = log.current() {
                if generation.source.is_none() && generation.open(&path).is_ok() {
                    self.open += 1;
                    self.in_turn(number);
                }
            }
        }
    }

    /// Closes a generation's file.
    pub(super) fn close(&mut self, number: u64, key: u64) {
        if let Some(generation) = self.logs.get_mut(&number).and_then(|l| l.generation(key)) {
            if generation.source.take().is_some() {
                self.open = self.open.saturating_sub(1);
            }
        }
    }
}

/// Whether a content has no name any more and is not delivered yet: closed, it would be lost.
fn is_irreplaceable(g: &Generation) -> bool {
    use std::os::unix::fs::MetadataExt;
    match &g.source {
        Some(Source::Plain(file)) => {
            g.committed < g.size.max(g.read) && file.metadata().is_ok_and(|meta| meta.nlink() == 0)
        }
        _ => false,
    }
}
