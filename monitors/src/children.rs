//! The processes that monitors start, told apart from those that the agent is made the parent of: as the first
//! process of a container it gets every process whose own parent has ended, and has to take note of its end.
//! A wrapper that ends with `exec` leaves its background processes to the agent as well.
//!
//! Taking note of any child's end (`waitpid(-1)`) would also take the exit status that a monitor waits for. So
//! each process that is started here is written down until its owner drops it, and [`reap_orphans`] passes
//! those over.

use crate::command::processes;
use nix::errno::Errno;
use nix::sys::wait::{waitid, Id, WaitPidFlag, WaitStatus};
use nix::unistd::Pid;
use std::io;
use std::ops::{Deref, DerefMut};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The numbers of all [`Started`] that there are.
static STARTED: Mutex<Vec<u32>> = Mutex::new(Vec::new());
/// Starts that are under way. Not a lock: where the program's disk does not answer, a start takes for ever.
static STARTING: AtomicUsize = AtomicUsize::new(0);

/// A panic elsewhere leaves nothing half done here.
fn started() -> MutexGuard<'static, Vec<u32>> {
    STARTED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A child that nobody but its owner waits for, until it is dropped.
#[derive(Debug)]
pub struct Started(Child);

/// Starts a process of which the owner is to learn how it ends.
///
/// # Errors
/// It cannot be started.
pub fn start(command: &mut Command) -> io::Result<Started> {
    STARTING.fetch_add(1, Ordering::SeqCst);
    let child = command.spawn();
    if let Ok(child) = &child {
        started().push(child.id());
    }
    STARTING.fetch_sub(1, Ordering::SeqCst);
    child.map(Started)
}

impl Deref for Started {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Started {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let mut started = started();
        if let Some(at) = started.iter().position(|id| *id == self.0.id()) {
            started.swap_remove(at);
        }
    }
}

/// Takes note of the end of all children that have ended and that no monitor has started; how many. It costs one
/// system call where no child has ended, and a look through `/proc` otherwise. Nothing is done while a start of
/// a process is under way.
pub fn reap_orphans() -> usize {
    let ended = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG;
    match waitid(Id::All, ended | WaitPidFlag::WNOWAIT) {
        Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD | Errno::EINTR) => return 0,
        // EINVAL: it ended by a signal that has no name
        Ok(_) | Err(_) => {}
    }
    // Held to the end: a number stays its owner's as long as it is written down
    let started = started();
    let me = Pid::this();
    let mut orphans = processes();
    orphans.retain(|process| process.has_ended && process.parent == me);
    if STARTING.load(Ordering::SeqCst) > 0 {
        return 0;
    }
    let is_own = |pid: Pid| {
        started
            .iter()
            .any(|id| i64::from(*id) == i64::from(pid.as_raw()))
    };
    orphans.retain(|process| !is_own(process.pid));
    for process in &orphans {
        let _ = waitid(Id::Pid(process.pid), ended);
    }
    orphans.len()
}
