//! Which files are open: at most `max_open_files`, those that had their turn last.

use super::tailer::Tailer;

impl Tailer {
    /// Closes files until one more may be opened: the ones that had their turn longest ago.
    pub(super) fn make_room(&mut self) {
        let mut looked = 0;
        let most = self.hand.len();
        while self.open >= self.settings.max_open_files && looked <= most {
            let Some(number) = self.hand.pop_front() else {
                break;
            };
            looked += 1;
            let Some(log) = self.logs.get_mut(&number) else {
                continue;
            };
            if log.in_memory {
                continue;
            }
            for generation in &mut log.generations {
                if generation.source.is_some() {
                    generation.source = None;
                    self.open = self.open.saturating_sub(1);
                }
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
