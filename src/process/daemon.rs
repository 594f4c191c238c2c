//! Becoming a daemon, with a hand-shake that tells the caller of `start` whether the agent really
//! runs.

use crate::util::sys::{fork, Forked};
use nix::sys::stat::{umask, Mode};
use nix::sys::wait::waitpid;
use nix::unistd::{chdir, close, dup2_stderr, dup2_stdin, dup2_stdout, setsid, Pid};
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// How long the parent waits for the daemon's report.
pub const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Nobody else may write what the daemon and its child programs make. The caller's umask may take more
/// away.
const UMASK: Mode = Mode::from_bits_truncate(0o022);

/// More than this of a report is not read.
const MOST_BYTES: usize = 64 * 1024;

/// The daemon's report of its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// Its workers run.
    Running,
    /// It found another agent with this pid.
    AlreadyRunning(i32),
    /// It ends; the reason.
    Failed(String),
}

impl Report {
    fn encode(&self) -> Vec<u8> {
        match self {
            Report::Running => b"S".to_vec(),
            Report::AlreadyRunning(pid) => format!("A{pid}").into_bytes(),
            Report::Failed(text) => format!("E{text}").into_bytes(),
        }
    }

    fn decode(message: &[u8]) -> Report {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match message {
            [b'S', ..] => Report::Running,
            [b'A', pid @ ..] => Report::AlreadyRunning(text(pid).parse().unwrap_or(0)),
            [b'E', reason @ ..] => Report::Failed(text(reason)),
            // The pipe was closed without a word: it died.
            _ => Report::Failed("the agent process ended without giving a reason".to_owned()),
        }
    }
}

/// Which of the two processes [`daemonize`] returned in.
#[derive(Debug)]
pub enum Side {
    /// The process that called. `None`: the daemon has not reported in time.
    Parent(Option<Report>),
    /// The daemon. It has to [`Reporter::send`] once.
    Daemon(Reporter),
}

/// The daemon's end of the hand-shake. Dropped without a report it says that the start failed.
#[derive(Debug)]
pub struct Reporter(UnixStream);

impl Reporter {
    /// Tells the waiting parent, which may be gone.
    pub fn send(mut self, report: &Report) {
        let _ = self.0.write_all(&report.encode());
    }
}

/// Forks twice, so that the daemon is nobody's session leader and has no terminal. The parent gets
/// back the daemon's report, waiting at most `timeout`. The daemon works in `/` with the caller's umask and at least 022, has
/// `/dev/null` as its standard files, and no other open file but the hand-shake: whatever the
/// caller had open must have been closed before.
///
/// # Errors
/// In the parent only: no process or no file descriptor is left, or the process has threads.
pub fn daemonize(timeout: Duration) -> io::Result<Side> {
    // Opened here, where a failure can still be told.
    let null = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    let (ours, theirs) = UnixStream::pair()?;
    // Else the child would write what the parent has buffered a second time.
    let _ = io::stdout().flush();
    match fork()? {
        Forked::Parent(child) => {
            drop(theirs);
            drop(null);
            let report = await_report(ours, timeout);
            if report.is_some() {
                // The first child has ended; take its exit status.
                let _ = waitpid(Pid::from_raw(child), None);
            }
            Ok(Side::Parent(report))
        }
        Forked::Child => {
            drop(ours);
            let reporter = Reporter(theirs);
            let detached = detach(&null).and_then(|()| fork());
            drop(null);
            match detached {
                Ok(Forked::Child) => {
                    close_others(reporter.0.as_raw_fd());
                    Ok(Side::Daemon(reporter))
                }
                Ok(Forked::Parent(_)) => std::process::exit(0),
                Err(error) => {
                    reporter.send(&Report::Failed(format!("cannot become a daemon: {error}")));
                    std::process::exit(1)
                }
            }
        }
    }
}

fn detach(null: &fs::File) -> io::Result<()> {
    chdir("/")?;
    setsid()?;
    let caller = umask(UMASK);
    umask(caller | UMASK);
    dup2_stdin(null)?;
    dup2_stdout(null)?;
    dup2_stderr(null)?;
    Ok(())
}

/// Closes what the caller's shell or service manager left open, so that the daemon does not keep
/// their pipes, sockets and mounts busy.
fn close_others(keep: RawFd) {
    let listed: Option<Vec<RawFd>> = fs::read_dir("/proc/self/fd").ok().map(|entries| {
        entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect()
    });
    // Without /proc: the range in which descriptors of a shell are found.
    for fd in listed.unwrap_or_else(|| (3..256).collect()) {
        if fd > 2 && fd != keep {
            // The directory listing's own descriptor is closed already: EBADF, no matter.
            let _ = close(fd);
        }
    }
}

fn await_report(mut from: UnixStream, timeout: Duration) -> Option<Report> {
    let deadline = Instant::now() + timeout;
    let mut message = Vec::new();
    let mut page = [0; 4096];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || from.set_read_timeout(Some(left)).is_err() {
            return None;
        }
        match from.read(&mut page) {
            Ok(0) => return Some(Report::decode(&message)),
            Ok(n) => {
                message.extend_from_slice(&page[..n]);
                if message.len() > MOST_BYTES {
                    return Some(Report::decode(&message));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                ) =>
            {
                return None
            }
            Err(error) => return Some(Report::Failed(error.to_string())),
        }
    }
}

/// Runs `work` in a child process and gives back the bytes it made. For work that leaves threads or
/// a big heap behind and comes before [`daemonize`]; the parent stays single-threaded and small.
/// If the child dies, what it wrote is missing or cut.
///
/// # Errors
/// No process or no file descriptor is left, or this process has threads already.
pub fn in_child(work: impl FnOnce() -> Vec<u8>) -> io::Result<Vec<u8>> {
    let (mut ours, mut theirs) = UnixStream::pair()?;
    let _ = io::stdout().flush();
    match fork()? {
        Forked::Child => {
            drop(ours);
            let made = work();
            let _ = theirs.write_all(&made);
            std::process::exit(0)
        }
        Forked::Parent(child) => {
            drop(theirs);
            let mut made = Vec::new();
            let read = ours.read_to_end(&mut made);
            let _ = waitpid(Pid::from_raw(child), None);
            read.map(|_| made)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_report_reaches_the_parent_as_it_was_sent() {
        for report in [
            Report::Running,
            Report::AlreadyRunning(4711),
            Report::Failed("line one\nline two: ü".to_owned()),
            Report::Failed(String::new()),
        ] {
            let (ours, theirs) = UnixStream::pair().unwrap();
            Reporter(theirs).send(&report);
            assert_eq!(await_report(ours, START_TIMEOUT), Some(report));
        }
    }

    #[test]
    fn a_daemon_that_dies_silently_is_a_failed_start_and_one_that_hangs_a_timeout() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(Reporter(theirs));
        assert!(matches!(
            await_report(ours, START_TIMEOUT),
            Some(Report::Failed(_))
        ));
        let (ours, _theirs) = UnixStream::pair().unwrap();
        assert_eq!(await_report(ours, Duration::from_millis(5)), None);
    }

    #[test]
    fn a_process_with_threads_is_not_split() {
        // the test runner has at least two
        let other = std::thread::spawn(std::thread::park);
        assert!(in_child(Vec::new).is_err());
        other.thread().unpark();
        other.join().unwrap();
    }
}
