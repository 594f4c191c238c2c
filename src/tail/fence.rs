//! What the agent holds of a tail thread: where that is, and the means to shut it out.
//!
//! A path on a mount that does not answer holds the thread that touches it for nobody knows how long.
//! The agent leaves such a thread behind and starts another one from the checkpoints. When the first
//! one wakes, its positions are old, and written over those of its successor they would have lines
//! sent twice. So each write of a checkpoint asks the fence.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

/// Shared by a tail thread and the agent. Neither waits for the other's I/O: the agent not beyond the
/// time that it names, the thread not at all.
#[derive(Debug, Default)]
pub struct Fence {
    given_up: AtomicBool,
    /// Held over each write.
    writing: Mutex<()>,
    /// The path that was touched last. No I/O while it is held.
    at: Mutex<Vec<u8>>,
    touches: AtomicU64,
}

thread_local! {
    static OWN: RefCell<Option<Arc<Fence>>> = const { RefCell::new(None) };
}

/// Notes that the thread is about to touch a path, which may hang. Costs a copy of the name: fit for
/// looks at files, not for lines. Nothing happens in threads that are not [`Fence::enter`]ed.
pub fn touch(path: &Path) {
    OWN.with_borrow(|own| {
        if let Some(fence) = own {
            let mut at = locked(&fence.at);
            at.clear();
            at.extend_from_slice(path.as_os_str().as_bytes());
            fence.touches.fetch_add(1, Ordering::Relaxed);
        }
    });
}

/// A panic leaves nothing half done behind these locks that anybody would miss.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Fence {
    /// Makes the calling thread the one whose whereabouts are told.
    pub fn enter(self: &Arc<Self>) {
        OWN.set(Some(self.clone()));
    }

    /// The path that the thread touched last; empty before the first.
    pub fn at(&self) -> PathBuf {
        PathBuf::from(OsStr::from_bytes(&locked(&self.at)))
    }

    /// Goes up with each path that is touched.
    pub fn touches(&self) -> u64 {
        self.touches.load(Ordering::Relaxed)
    }

    /// Makes a write, unless the thread was given up: `None` then.
    pub fn write<T>(&self, write: impl FnOnce() -> T) -> Option<T> {
        let _held = locked(&self.writing);
        (!self.is_given_up()).then(write)
    }

    /// Whether the thread was given up: all that it does from now on is in vain.
    pub fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::SeqCst)
    }

    /// Gives the thread up: no write begins any more. True if none is under way either; false if one
    /// did not end until then. May be asked again.
    pub fn give_up(&self, until: Instant) -> bool {
        self.given_up.store(true, Ordering::SeqCst);
        loop {
            // A write that begins after this was free finds the mark
            match self.writing.try_lock() {
                Ok(_) | Err(TryLockError::Poisoned(_)) => return true,
                Err(TryLockError::WouldBlock) if Instant::now() >= until => return false,
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(2)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn a_write_under_way_is_awaited_but_not_for_ever_and_none_follows() {
        let fence = Arc::new(Fence::default());
        let (begun, begins) = channel();
        let (end, ends) = channel::<()>();
        let writer = fence.clone();
        let thread = std::thread::spawn(move || {
            let first = writer.write(|| {
                begun.send(()).unwrap();
                ends.recv().unwrap();
            });
            (first, writer.write(|| ()))
        });
        begins.recv().unwrap();
        assert!(!fence.give_up(Instant::now() + Duration::from_millis(5)));
        end.send(()).unwrap();
        assert!(fence.give_up(Instant::now() + Duration::from_secs(60)));
        assert_eq!(thread.join().unwrap(), (Some(()), None));
    }

    #[test]
    fn a_thread_tells_where_it_is_and_others_do_not_speak_for_it() {
        let fence = Arc::new(Fence::default());
        touch(Path::new("/nobody"));
        assert_eq!((fence.at(), fence.touches()), (PathBuf::new(), 0));
        let inside = fence.clone();
        let thread = std::thread::spawn(move || {
            inside.enter();
            touch(Path::new("/a/longer/path"));
            touch(Path::new("/b"));
        });
        thread.join().unwrap();
        assert_eq!((fence.at(), fence.touches()), (PathBuf::from("/b"), 2));
    }
}
