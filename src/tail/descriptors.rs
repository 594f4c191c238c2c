//! Which files are open: at most `max_open_files`, those that had their turn last.

use super::ledger::{At, ContentKey, Phase, Place};
use super::source::{Reading, Source};
use super::tailer::Tailer;
use std::collections::BTreeSet;
use std::fs::File;

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
            let Some(key) = self.hand.pop_front() else {
                return;
            };
            let in_memory = self
                .ledger
                .get(key)
                .is_some_and(|c| c.place == Place::InMemory);
            if in_memory {
                continue;
            }
            if !irreplaceable_too && self.is_irreplaceable(key) {
                self.hand.push_back(key);
                continue;
            }
            self.close(key);
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
    pub(super) fn in_turn(&mut self, key: ContentKey) {
        self.hand.push_back(key);
        if self.hand.len() > 2 * self.open + 64 {
            let readings = &self.readings;
            let mut seen = BTreeSet::new();
            self.hand.retain(|key| {
                let reading = readings.get(key);
                let open = reading.is_some_and(|reading| reading.source.is_some());
                open && seen.insert(*key)
            });
        }
    }

    /// Opens a file that has nothing to read yet, if there is room, so that what is written before
    /// it is renamed or deleted can still be read.
    pub(super) fn hold(&mut self, key: ContentKey) {
        let Some(content) = self.ledger.get(key) else {
            return;
        };
        let at = content.place.last_file().cloned();
        let is_unlinked = matches!(content.place, Place::Unlinked(_));
        if self
            .readings
            .get(&key)
            .is_none_or(|reading| reading.source.is_some())
        {
            return;
        }
        let inherited = at
            .as_ref()
            .and_then(|at| self.inherited(key, at, is_unlinked));
        let is_full = self.open >= self.settings.max_open_files;
        let (Some(content), Some(reading)) = (self.ledger.get(key), self.readings.get_mut(&key))
        else {
            return;
        };
        if let (Some(file), Some(at)) = (inherited, at) {
            reading.source = Some(Source::Plain(file));
            reading.id = Some(at.id);
        } else if is_full || reading.open(content).is_err() {
            return;
        }
        self.open += 1;
        self.in_turn(key);
    }

    /// The file of a content as it was opened before it was clear whose it is: it waited, or held another content
    /// before, and may have no name any more.
    fn inherited(&mut self, key: ContentKey, at: &At, is_unlinked: bool) -> Option<File> {
        let path = super::source::path_of(&at.name);
        if self.waiting.get(path).is_some_and(|held| held.id == at.id) {
            return self.waiting.remove(path).map(|held| held.file);
        }
        if let Some(file) = self.left_open.remove(&at.id) {
            return Some(file);
        }
        if !is_unlinked {
            return None;
        }
        let is_left = |(other, reading): &(&ContentKey, &mut Reading)| {
            let lies = self
                .ledger
                .get(**other)
                .and_then(|content| content.place.location());
            **other != key
                && reading.id == Some(at.id)
                && reading.source.is_some()
                && lies != Some(at.id)
        };
        let (_, left) = self.readings.iter_mut().find(is_left)?;
        self.open = self.open.saturating_sub(1);
        match left.source.take() {
            Some(Source::Plain(file)) => Some(file),
            _ => None,
        }
    }

    /// Closes a content's file.
    pub(super) fn close(&mut self, key: ContentKey) {
        let reading = self.readings.get_mut(&key);
        if reading.and_then(|reading| reading.source.take()).is_some() {
            self.open = self.open.saturating_sub(1);
        }
        self.rest(key);
    }

    /// Gives the memory of a reading back that holds nothing: of an idle file, that would be 150 bytes.
    pub(super) fn rest(&mut self, key: ContentKey) {
        let shown = self
            .ledger
            .get(key)
            .is_some_and(|content| content.phase == Phase::Shown && content.unread() == 0);
        if shown && self.readings.get(&key).is_some_and(Reading::is_at_rest) {
            self.readings.remove(&key);
        }
    }

    /// Whether a content has no name any more and is not read yet: closed, the rest of it would be lost.
    fn is_irreplaceable(&self, key: ContentKey) -> bool {
        use std::os::unix::fs::MetadataExt;
        let source = self
            .readings
            .get(&key)
            .and_then(|reading: &Reading| reading.source.as_ref());
        let is_owed = self
            .ledger
            .get(key)
            .is_some_and(|content| content.unread() > 0);
        match source {
            Some(Source::Plain(file)) => {
                is_owed && file.metadata().is_ok_and(|meta| meta.nlink() == 0)
            }
            _ => false,
        }
    }
}
