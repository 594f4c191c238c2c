//! By a [`Fence`] the agent sees at which path a tail thread is, and shuts out one that hangs.
//!
//! A path on a mount that does not answer holds the thread that touches it for nobody knows how long.
//! The agent leaves such a thread behind and starts another one from the checkpoints. When the first
//! one wakes, its positions are old, and written over those of its successor they would have lines
//! sent twice. So each write of a checkpoint asks the fence.

use super::names;
use std::cell::RefCell;
use std::ffi::OsStr;
use std::io;
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
    /// It waits for records to be durable.
    waits: AtomicBool,
    /// Held over each write.
    writing: Mutex<()>,
    /// The path that was touched last. No I/O while it is held.
    at: Mutex<Vec<u8>>,
    steps: AtomicU64,
    /// Paths at which other threads hang.
    left_out: Vec<PathBuf>,
}

thread_local! {
    static OWN: RefCell<Option<Arc<Fence>>> = const { RefCell::new(None) };
}

/// Notes that the thread is about to touch a path, which may hang. Costs a copy of the name: fit for
/// looks at files, not for lines. Nothing happens in threads that did not [`Fence::enter`].
///
/// # Errors
/// `TimedOut` for a path at which another thread hangs. It must not be touched.
pub fn touch(path: &Path) -> io::Result<()> {
    OWN.with_borrow(|own| {
        // A root directory that hangs has everything hang, and is on the way to each path
        let Some(fence) = own.as_ref().filter(|_| path != Path::new("/")) else {
            return Ok(());
        };
        if fence.leaves_out(path) {
            let why = "a look at it hangs; it is left out until that ends";
            return Err(io::Error::new(io::ErrorKind::TimedOut, why));
        }
        let mut at = locked(&fence.at);
        at.clear();
        at.extend_from_slice(path.as_os_str().as_bytes());
        fence.steps.fetch_add(1, Ordering::Relaxed);
        Ok(())
    })
}

/// Notes that the thread gets on with the path that it touched last: it is long, but does not hang.
pub fn get_on() {
    OWN.with_borrow(|own| {
        if let Some(fence) = own {
            fence.steps.fetch_add(1, Ordering::Relaxed);
        }
    });
}

/// Whether a log must not be looked at now.
pub fn is_left_out(log: &Path) -> bool {
    OWN.with_borrow(|own| own.as_ref().is_some_and(|fence| fence.leaves_out(log)))
}

/// A panic leaves nothing half done behind these locks that anybody would miss.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Fence {
    /// For a thread that shall not touch these paths, nor what is below them.
    pub fn leaving_out(paths: Vec<PathBuf>) -> Self {
        Fence {
            left_out: paths,
            ..Fence::default()
        }
    }

    /// Whether `path` is one of those, or below one, or a log that one may have been rotated from: what
    /// that holds can't be known, and would be missed.
    fn leaves_out(&self, path: &Path) -> bool {
        let is_of_log = |out: &Path| {
            let (Some(name), Some(log)) = (out.file_name(), path.file_name()) else {
                return false;
            };
            let beside = path.parent().is_some_and(|dir| out.starts_with(dir));
            beside
                && names::originals(name)
                    .iter()
                    .any(|original| original == log)
        };
        let mut all = self.left_out.iter();
        all.any(|out| path.starts_with(out) || is_of_log(out))
    }

    /// Makes the calling thread the one whose whereabouts are told.
    pub fn enter(self: &Arc<Self>) {
        OWN.set(Some(self.clone()));
    }

    /// The path that the thread touched last; empty before the first.
    pub fn at(&self) -> PathBuf {
        PathBuf::from(OsStr::from_bytes(&locked(&self.at)))
    }

    /// Goes up with each path that is touched and each page of it.
    pub fn steps(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }

    /// Whether a write is under way or waited for: it is the data directory's disk then that is slow.
    pub fn is_writing(&self) -> bool {
        let is_held = matches!(self.writing.try_lock(), Err(TryLockError::WouldBlock));
        is_held || self.waits.load(Ordering::Relaxed)
    }

    /// Waits for the data directory's disk: meanwhile it is not a log's path that holds the thread.
    pub fn wait<T>(&self, wait: impl FnOnce() -> T) -> T {
        self.waits.store(true, Ordering::Relaxed);
        let done = wait();
        self.waits.store(false, Ordering::Relaxed);
        done
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
        touch(Path::new("/nobody")).unwrap();
        assert_eq!((fence.at(), fence.steps()), (PathBuf::new(), 0));
        let inside = fence.clone();
        let thread = std::thread::spawn(move || {
            inside.enter();
            touch(Path::new("/a/longer/path")).unwrap();
            touch(Path::new("/b")).unwrap();
            get_on();
        });
        thread.join().unwrap();
        assert_eq!((fence.at(), fence.steps()), (PathBuf::from("/b"), 3));
    }

    #[test]
    fn what_hangs_is_left_out_with_what_is_below_it_and_the_log_that_it_was_rotated_from() {
        let out = [
            "/mnt/dead",
            "/logs/app.log.2.gz",
            "/logs/old/web.log-20261130",
        ];
        let fence = Fence::leaving_out(out.map(PathBuf::from).to_vec());
        for (path, is_out) in [
            ("/mnt/dead", true),
            ("/mnt/dead/a/b.log", true),
            ("/mnt/deadline", false),
            ("/mnt", false),
            ("/logs/app.log.2.gz", true),
            ("/logs/app.log", true),
            ("/logs/app.log.1", false),
            ("/logs/web.log", true),
            ("/logs/other.log", false),
            ("/elsewhere/app.log", false),
            ("/logs", false),
        ] {
            assert_eq!(fence.leaves_out(Path::new(path)), is_out, "{path}");
        }
    }
}
