//! Where monitors have read their streams to, such as the systemd journal: the agent remembers it in its position
//! journal.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Writes cursors down.
pub trait Keep: Send {
    /// Writes the cursor of a stream, at most 4,000 bytes; an empty one is forgotten. Returns at once. After a crash of
    /// the process it is there; after a loss of power perhaps the one before.
    fn keep(&self, stream: &str, cursor: &[u8]);

    /// Grows when cursors that were kept may be lost.
    fn generation(&self) -> u64;
}

/// The cursors of all streams of an agent's monitors. As long as nothing keeps them they are in memory alone.
#[derive(Default)]
pub struct Cursors(Mutex<State>);

#[derive(Default)]
struct State {
    known: Vec<(String, Vec<u8>)>,
    keeper: Option<Box<dyn Keep>>,
    generation: u64,
    sync_each: Duration,
}

impl Cursors {
    /// The cursor of a stream.
    pub fn get(&self, stream: &str) -> Option<Vec<u8>> {
        let state = self.lock();
        let known = state.known.iter().find(|(name, _)| name == stream);
        known.map(|(_, cursor)| cursor.clone())
    }

    /// Remembers the cursor of a stream; an empty one is forgotten. All that was read before it must be where it outlives
    /// whatever the cursor outlives: on a loss of power, synced.
    pub fn set(&self, stream: &str, cursor: &[u8]) {
        let mut state = self.lock();
        state.put(stream, cursor);
        if let Some(keeper) = &state.keeper {
            keeper.keep(stream, cursor);
        }
    }

    /// Has them kept from now on. Those that nobody has set since the start of the process are the `remembered` ones.
    /// Nothing need be synced more often than each `sync_each`.
    pub fn keep_by(
        &self,
        keeper: Box<dyn Keep>,
        remembered: impl IntoIterator<Item = (String, Vec<u8>)>,
        sync_each: Duration,
    ) {
        let mut state = self.lock();
        let known = std::mem::take(&mut state.known);
        state.known.extend(remembered);
        for (stream, cursor) in &known {
            if state.put(stream, cursor) {
                keeper.keep(stream, cursor);
            }
        }
        state.generation = keeper.generation();
        state.sync_each = sync_each;
        state.keeper = Some(keeper);
    }

    /// Writes all down again if some may be lost. To be called every few seconds.
    pub fn tend(&self) {
        let mut state = self.lock();
        let now = state
            .keeper
            .as_ref()
            .map_or(0, |keeper| keeper.generation());
        if std::mem::replace(&mut state.generation, now) != now {
            for (stream, cursor) in &state.known {
                if let Some(keeper) = &state.keeper {
                    keeper.keep(stream, cursor);
                }
            }
        }
    }

    /// The time for which what was read may be repeated after a loss of power; `None` if nothing keeps cursors.
    pub fn sync_each(&self) -> Option<Duration> {
        let state = self.lock();
        state.keeper.as_ref().map(|_| state.sync_each)
    }

    /// A panic elsewhere leaves nothing half done here.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether that is something new.
    fn put(&mut self, stream: &str, cursor: &[u8]) -> bool {
        match self.known.iter_mut().find(|(name, _)| name == stream) {
            Some((_, known)) if known == cursor => return false,
            Some((_, known)) => *known = cursor.to_vec(),
            None => self.known.push((stream.to_owned(), cursor.to_vec())),
        }
        true
    }
}

impl fmt::Debug for Cursors {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("Cursors")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    use std::sync::Arc;

    /// The lines that were written, and the generation.
    #[derive(Default)]
    struct Disk(Mutex<Vec<String>>, AtomicU64);

    impl Keep for Arc<Disk> {
        fn keep(&self, stream: &str, cursor: &[u8]) {
            let line = format!("{stream}={}", String::from_utf8_lossy(cursor));
            self.0.lock().unwrap().push(line);
        }

        fn generation(&self) -> u64 {
            self.1.load(Relaxed)
        }
    }

    fn written(disk: &Disk) -> Vec<String> {
        std::mem::take(&mut disk.0.lock().unwrap())
    }

    #[test]
    fn another_journal_gets_what_the_one_before_missed_and_no_older_cursor_comes_back() {
        let cursors = Cursors::default();
        let (a, b) = (Arc::new(Disk::default()), Arc::new(Disk::default()));
        let old = || [("s", "1"), ("t", "7")].map(|(s, c)| (s.to_owned(), c.into()));
        cursors.keep_by(Box::new(a.clone()), old(), Duration::ZERO);
        cursors.set("s", b"2");
        assert_eq!(written(&a), ["s=2"]);
        // The journal is closed for a reload, and knows an older state
        cursors.keep_by(Box::new(b.clone()), old(), Duration::ZERO);
        assert_eq!(written(&b), ["s=2"]);
        assert_eq!(cursors.get("s").unwrap(), b"2");
        assert_eq!(cursors.get("t").unwrap(), b"7");
        cursors.tend();
        assert_eq!(written(&b), [""; 0]);
        b.1.store(1, Relaxed);
        cursors.tend();
        assert_eq!(written(&b), ["s=2", "t=7"]);
    }
}
