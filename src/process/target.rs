//! Another process, as `stop` deals with it: signalled, and watched until it is gone.

use nix::errno::Errno;
use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;
use std::fs;

/// A process, recognised again by its pid and start time. A pid alone would not do: between two
/// signals the process may end and its number be given to a stranger.
#[derive(Debug)]
pub struct Target {
    pid: i32,
    /// Clock ticks since boot; `None` if /proc does not tell.
    started: Option<u64>,
}

impl Target {
    /// The process that has `pid` now.
    pub fn new(pid: i32) -> Self {
        Target {
            pid,
            started: stat(pid).map(|stat| stat.started),
        }
    }

    /// Whether it has ended. One that only waits for its parent to notice (a zombie) has.
    pub fn gone(&self) -> bool {
        if kill(Pid::from_raw(self.pid), None) == Err(Errno::ESRCH) {
            return true;
        }
        match (stat(self.pid), self.started) {
            (Some(now), Some(then)) => now.ended || now.started != then,
            (Some(now), None) => now.ended,
            (None, _) => false,
        }
    }

    /// Asks it to do something, as USR1 does.
    ///
    /// # Errors
    /// `EPERM` if it belongs to somebody else, `ESRCH` if it is gone.
    pub fn ask(&self, signal: Signal) -> Result<(), Errno> {
        if self.gone() {
            return Err(Errno::ESRCH);
        }
        kill(Pid::from_raw(self.pid), signal)
    }

    /// Sends a signal that ends it. A process that is gone already is no error.
    ///
    /// # Errors
    /// `EPERM` if it belongs to somebody else.
    pub fn signal(&self, signal: Signal) -> Result<(), Errno> {
        if self.gone() {
            return Ok(());
        }
        match kill(Pid::from_raw(self.pid), signal) {
            Err(Errno::ESRCH) => Ok(()),
            other => other,
        }
    }
}

/// Whether the process is stopped (SIGSTOP, a debugger): it answers nobody until it is continued.
pub fn is_stopped(pid: i32) -> bool {
    stat(pid).is_some_and(|stat| stat.stopped)
}

struct Stat {
    ended: bool,
    stopped: bool,
    started: u64,
}

fn stat(pid: i32) -> Option<Stat> {
    parse(&fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// Fields 3 (state) and 22 (start time) of proc(5) `stat`. The name, field 2, stands in brackets
/// and may itself contain brackets, blanks and any other byte.
fn parse(stat: &[u8]) -> Option<Stat> {
    let after = stat.iter().rposition(|byte| *byte == b')')? + 1;
    let fields = std::str::from_utf8(&stat[after..]).ok()?;
    let mut fields = fields.split_ascii_whitespace();
    let state = fields.next()?;
    Some(Stat {
        ended: matches!(state, "Z" | "X" | "x"),
        stopped: matches!(state, "T" | "t"),
        started: fields.nth(18)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_hide_the_fields() {
        let line = b"7 (a) Z (b\xff) S 1 7 7 0 -1 4194560 9 0 0 0 1 2 0 0 20 0 1 0 4242 1 2 3\n";
        let stat = parse(line).unwrap();
        assert!(!stat.ended && !stat.stopped);
        assert_eq!(stat.started, 4242);
        assert!(parse(b"7 (short) S 1").is_none());
        assert!(parse(b"").is_none());
    }

    #[test]
    fn a_zombie_counts_as_gone_and_a_reused_pid_is_left_alone() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let target = Target::new(pid);
        assert!(!target.gone());

        let earlier = Target {
            pid,
            started: target.started.map(|ticks| ticks - 1),
        };
        assert!(earlier.gone(), "another process had this pid then");
        earlier.signal(Signal::SIGKILL).unwrap();
        assert!(!target.gone());

        target.signal(Signal::SIGKILL).unwrap();
        while !target.gone() {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(target.gone());
        target.signal(Signal::SIGTERM).unwrap();
    }
}
