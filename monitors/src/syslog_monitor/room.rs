//! The bound on the bytes of all files of a template: those that are delivered are deleted to stay below it, the
//! oldest first. Nothing else is deleted, so a sender that is faster than the server finds no room some day.

use super::made::Made;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// Above three quarters of the bound room is looked for this often.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// A file system may write down a moment that is as much too late.
const COARSE: Duration = Duration::from_secs(2);

/// See the module's text.
#[derive(Debug)]
pub struct Room {
    /// Bytes; 0: as many as like.
    most: u64,
    /// Bytes that are used; too many after a rotation has deleted some, until the next look.
    used: u64,
    next_look: Option<Instant>,
    /// Files that were delivered when they were closed, and the moment for which the copier said so.
    closed: HashMap<PathBuf, SystemTime>,
}

impl Room {
    /// The bytes that these use, of `most`.
    pub fn new(most: u64, made: &Made) -> Room {
        let mut room = Room {
            most,
            used: 0,
            next_look: None,
            closed: HashMap::new(),
        };
        room.measure(made);
        room
    }

    fn measure(&mut self, made: &Made) {
        if self.most > 0 {
            self.used = made.files().iter().map(|file| file.bytes).sum();
        }
    }

    /// The bytes that are used.
    pub fn used(&self) -> u64 {
        self.used
    }

    /// Whether there is a bound.
    pub fn is_bounded(&self) -> bool {
        self.most > 0
    }

    /// Whether the bound is reached.
    pub fn is_full(&self) -> bool {
        self.most > 0 && self.used >= self.most
    }

    /// Bytes were written.
    pub fn take(&mut self, bytes: usize) {
        self.used += bytes as u64;
    }

    fn is_scarce(&self) -> bool {
        self.most > 0 && self.used >= self.most / 4 * 3
    }

    /// A file was closed that was delivered at that moment.
    pub fn closed(&mut self, path: &Path, delivered: Option<SystemTime>) {
        if let Some(at) = delivered {
            self.closed.insert(path.to_owned(), at);
        }
    }

    /// A file is written again.
    pub fn opened(&mut self, path: &Path) {
        self.closed.remove(path);
    }

    /// When to look for room, if that is scarce.
    pub fn next_look(&mut self, now: Instant) -> Option<Instant> {
        if !self.is_scarce() {
            self.next_look = None;
            return None;
        }
        Some(*self.next_look.get_or_insert(now))
    }

    /// Deletes the oldest files that are delivered, down to half of the bound, where that is scarce; how many.
    /// `open` are the main files that are written, each with the moment for which the copier says that all of it is
    /// delivered, if it says so; `held` bytes of them are not written yet.
    pub fn make(
        &mut self,
        made: &Made,
        open: &[(&Path, Option<SystemTime>)],
        held: u64,
        now: Instant,
    ) -> u64 {
        self.next_look = Some(now + LOOK_EVERY);
        let mut files = made.files();
        self.used = held + files.iter().map(|file| file.bytes).sum::<u64>();
        if !self.is_scarce() {
            return 0;
        }
        common::sort::by_key(&mut files, |file| file.written);
        let mut deleted = 0;
        for file in files {
            if self.used <= self.most / 2 {
                break;
            }
            let is_main = file.path == file.main;
            let main = file.main.as_os_str();
            let delivered = match open.iter().find(|(path, _)| path.as_os_str() == main) {
                Some(_) if is_main => continue,
                Some((_, delivered)) => *delivered,
                None => self.closed.get(&file.main).copied(),
            };
            let is_delivered = delivered.is_some_and(|at| file.written + COARSE < at);
            if is_delivered && fs::remove_file(&file.path).is_ok() {
                self.used = self.used.saturating_sub(file.bytes);
                deleted += 1;
            }
        }
        deleted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::testing::Scratch;

    #[test]
    fn only_what_is_delivered_makes_room_and_the_oldest_goes_first() {
        let scratch = Scratch::new("room");
        let now = SystemTime::now();
        let hours = |n: u64| Duration::from_secs(3600 * n);
        let names = [
            "open", "open.1", "open.2", "late", "late.1", "closed", "unknown",
        ];
        let ages = [0, 1, 2, 5, 6, 4, 9];
        let mut made = Made::default();
        for (name, age) in names.into_iter().zip(ages) {
            let path = scratch.path(name);
            fs::write(&path, [b'x'; 1000]).unwrap();
            let file = fs::File::options().append(true).open(&path).unwrap();
            file.set_modified(now - hours(age)).unwrap();
            if !name.contains('.') {
                made.add(path, Instant::now());
            }
        }
        let left = || {
            let there = names.into_iter().filter(|name| scratch.path(name).exists());
            there.collect::<Vec<_>>()
        };
        let (open, late) = (scratch.path("open"), scratch.path("late"));
        // The copier has said nothing of one since it was rotated
        let open = [(&*open, Some(now)), (&*late, Some(now - hours(7)))];
        let mut room = Room::new(8_000, &made);
        assert_eq!((room.used(), room.is_full()), (7_000, false));
        room.take(1_500);
        assert!(room.is_full() && room.next_look(Instant::now()).is_some());
        room.closed(&scratch.path("closed"), Some(now));
        assert_eq!(room.make(&made, &open, 0, Instant::now()), 3);
        assert_eq!(left(), ["open", "late", "late.1", "unknown"]);
        assert!(!room.is_full());
        // With all of them delivered only as many go as are in the way
        let mut room = Room::new(4_000, &made);
        let late = scratch.path("late");
        let open = [(&*late, Some(now))];
        assert_eq!(room.make(&made, &open, 0, Instant::now()), 1);
        assert_eq!(left(), ["open", "late", "unknown"]);
    }
}
