//! Child processes on a leash: a process group of their own, a deadline, bounded output, and no one
//! left over.
//!
//! [`run`] is for commands that are asked once and answer; [`Family`] is for whoever keeps a child
//! for longer and wants to be rid of it together with what it has started.

use crate::bounded::Bounded;
use crate::children::{self, Started};
use common::stop::Stop;
use nix::errno::Errno;
use nix::fcntl::{fcntl, FcntlArg, OFlag};
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use nix::sys::signal::{kill, killpg, Signal};
use nix::sys::wait::{waitid, Id, WaitPidFlag, WaitStatus};
use nix::unistd::Pid;
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The limits of a child in time and output.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// From start to end, and until nothing of what it has started holds its output any more.
    /// `None`: as long as it likes.
    pub timeout: Option<Duration>,
    /// At most this many bytes of each output are kept; further ones are read, counted and dropped.
    pub keep: usize,
    /// With more bytes than these on one output it is ended.
    pub most: u64,
}

/// Why a child was ended before it did so itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CutShort {
    /// [`Limits::timeout`] has passed.
    TimedOut,
    /// The command itself has ended in time, but something that it has started still held its
    /// output when the time was over.
    OutputHeld,
    /// It wrote more than [`Limits::most`].
    TooMuchOutput,
    /// The monitor is to stop.
    Stopped,
}

/// How a child fared.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Its standard output.
    pub stdout: Bounded,
    /// Its standard error output.
    pub stderr: Bounded,
    /// Its exit status, or the negative number of the signal that ended it. `None` if not even
    /// SIGKILL did within a second, as happens with processes that wait for a dead device.
    pub code: Option<i32>,
    /// Whether, and why, it was made to end.
    pub cut_short: Option<CutShort>,
    /// From start to end.
    pub took: Duration,
}

/// From SIGTERM to SIGKILL.
const GRACE: Duration = Duration::from_secs(1);
/// From SIGKILL to giving up.
const PATIENCE: Duration = Duration::from_secs(1);
/// How late a request to stop may be heard.
const HEARING: Duration = Duration::from_millis(200);
/// At most this many children that SIGKILL did not end are kept for reaping; with that many, no
/// further command is started.
const MOST_UNDEAD: usize = 16;

/// Children that did not end on SIGKILL, kept so that they are reaped once they do.
static UNDEAD: Mutex<Vec<Started>> = Mutex::new(Vec::new());

fn undead() -> std::sync::MutexGuard<'static, Vec<Started>> {
    match UNDEAD.lock() {
        Ok(guard) => guard,
        Err(poisoned) => poisoned.into_inner(),
    }
}

/// Runs `command` to its end: as the leader of a process group of its own, with `input` on its
/// standard input (which is `/dev/null` if there is none).
///
/// It is through when it has ended and everything that holds its outputs has closed them: what runs
/// on in the background is left alone, and if it holds an output, that is not heard past the limit.
/// A command that itself is past a limit, or still runs when the monitor is to stop, gets SIGTERM and
/// a second later SIGKILL, with its whole [`Family`]. Returns within about two
/// seconds of that in any case.
///
/// # Errors
/// It cannot be started (no such program, no permission, out of processes or descriptors).
pub fn run(
    mut command: Command,
    input: &[u8],
    limits: &Limits,
    stop: &Stop,
) -> io::Result<Outcome> {
    {
        let mut undead = undead();
        undead.retain_mut(|child| !matches!(child.try_wait(), Ok(Some(_))));
        if undead.len() >= MOST_UNDEAD {
            return Err(io::Error::other(format!(
                "{MOST_UNDEAD} earlier commands hang in the kernel and cannot be killed"
            )));
        }
    }
    let stdin = if input.is_empty() {
        Stdio::null()
    } else {
        Stdio::piped()
    };
    command
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let started = Instant::now();
    let mut child = children::start(&mut command)?;
    let pipes = Pipes::of(&mut child, input);
    let mut running = Running {
        family: Family::of(&child),
        pipes,
        limits,
        stop,
    };
    let deadline = limits.timeout.and_then(|limit| started.checked_add(limit));
    let cut_short = running.pump(deadline);
    if let Some(why) = cut_short {
        running.end(why);
    }
    // By now it has ended, or no signal can end it.
    let Running { pipes, .. } = running;
    let code = match child.try_wait() {
        Ok(Some(status)) => {
            use std::os::unix::process::ExitStatusExt as _;
            status.code().or(status.signal().map(|signal| -signal))
        }
        _ => {
            undead().push(child);
            None
        }
    };
    let [stdout, stderr] = pipes.outputs.map(|pipe| pipe.got);
    Ok(Outcome {
        stdout,
        stderr,
        code,
        cut_short,
        took: started.elapsed(),
    })
}

struct Pipe {
    file: Option<File>,
    got: Bounded,
}

struct Pipes<'a> {
    input: Option<(File, &'a [u8])>,
    outputs: [Pipe; 2],
}

impl<'a> Pipes<'a> {
    fn of(child: &mut Child, input: &'a [u8]) -> Self {
        let open = |fd: Option<OwnedFd>| {
            let file = File::from(fd?);
            // It cannot fail for a pipe of ours; if it did, a read could block but not do harm.
            let _ = fcntl(&file, FcntlArg::F_SETFL(OFlag::O_NONBLOCK));
            Some(file)
        };
        let output = |fd| Pipe {
            file: open(fd),
            got: Bounded::default(),
        };
        Pipes {
            input: open(child.stdin.take().map(OwnedFd::from)).map(|file| (file, input)),
            outputs: [
                output(child.stdout.take().map(OwnedFd::from)),
                output(child.stderr.take().map(OwnedFd::from)),
            ],
        }
    }

    fn open(&self) -> bool {
        self.outputs.iter().any(|pipe| pipe.file.is_some())
    }

    /// Whether there is something to write or to read yet.
    fn busy(&self) -> bool {
        self.open() || self.input.is_some()
    }

    /// Waits for something to do, at most so long, and does it.
    fn step(&mut self, wait: Duration, limits: &Limits) {
        let mut fds: Vec<PollFd> = Vec::with_capacity(3);
        for pipe in &self.outputs {
            if let Some(file) = &pipe.file {
                fds.push(PollFd::new(file.as_fd(), PollFlags::POLLIN));
            }
        }
        if let Some((file, _)) = &self.input {
            fds.push(PollFd::new(file.as_fd(), PollFlags::POLLOUT));
        }
        if poll(&mut fds, millis(wait)).unwrap_or(0) == 0 {
            return;
        }
        for pipe in &mut self.outputs {
            pipe.read(limits);
        }
        if let Some((file, rest)) = &mut self.input {
            match file.write(rest) {
                Ok(n) => *rest = &rest[n..],
                Err(e) if again(&e) => {}
                // It does not want more.
                Err(_) => *rest = &[],
            }
            if rest.is_empty() {
                self.input = None;
            }
        }
    }

    fn close(&mut self) {
        self.input = None;
        for pipe in &mut self.outputs {
            pipe.file = None;
        }
    }

    fn too_much(&self, limits: &Limits) -> bool {
        self.outputs.iter().any(|pipe| pipe.got.bytes > limits.most)
    }
}

fn again(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

/// Rounded up, so that nothing turns without waiting.
fn millis(wait: Duration) -> PollTimeout {
    let ms = wait.as_micros().div_ceil(1000);
    PollTimeout::try_from(ms).unwrap_or(PollTimeout::MAX)
}

impl Pipe {
    /// Reads what is there, but gives way after a while to the other pipe and to the clock.
    fn read(&mut self, limits: &Limits) {
        let Some(file) = &mut self.file else { return };
        let mut buffer = [0u8; 16 * 1024];
        for _ in 0..16 {
            match file.read(&mut buffer) {
                Ok(0) => {
                    self.file = None;
                    return;
                }
                Ok(n) => self.got.push(&buffer[..n], limits.keep),
                Err(e) if again(&e) => return,
                Err(_) => {
                    self.file = None;
                    return;
                }
            }
            if self.got.bytes > limits.most {
                return;
            }
        }
    }
}

struct Running<'a> {
    family: Family,
    pipes: Pipes<'a>,
    limits: &'a Limits,
    stop: &'a Stop,
}

impl Running<'_> {
    /// Serves the pipes until the child is through (`None`), or there is a reason to end it.
    fn pump(&mut self, deadline: Option<Instant>) -> Option<CutShort> {
        let mut nap = Duration::from_micros(500);
        loop {
            let busy = self.pipes.busy();
            if !self.pipes.open() && self.family.head_has_ended() {
                return None;
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Some(if self.family.head_has_ended() {
                    CutShort::OutputHeld
                } else {
                    CutShort::TimedOut
                });
            }
            if self.stop.is_set() {
                return Some(CutShort::Stopped);
            }
            if self.pipes.too_much(self.limits) {
                return Some(CutShort::TooMuchOutput);
            }
            let wait = left.unwrap_or(HEARING).min(HEARING);
            if busy {
                self.pipes.step(wait, self.limits);
            } else {
                // No pipe tells of its end: ask, ever more seldom.
                self.stop.sleep(wait.min(nap));
                nap = (nap * 2).min(Duration::from_millis(50));
            }
        }
    }

    /// Makes an end of it, in [`GRACE`] and [`PATIENCE`] at the most.
    fn end(&mut self, why: CutShort) {
        if why == CutShort::OutputHeld {
            // The command has ended; whoever it left behind may be a daemon that it was to start
            self.pipes.close();
            return;
        }
        if why == CutShort::TooMuchOutput {
            // The pipes are closed, so the child's further output gets SIGPIPE, which ends most
            // writers.
            self.pipes.close();
        }
        for (signal, patience) in [(Signal::SIGTERM, GRACE), (Signal::SIGKILL, PATIENCE)] {
            let deadline = Instant::now() + patience;
            let mut nap = Duration::from_millis(2);
            self.family.signal(signal);
            while self.family.is_alive() {
                if Instant::now() >= deadline {
                    break;
                }
                if signal == Signal::SIGKILL {
                    // Also those that were made meanwhile.
                    self.family.signal(signal);
                }
                // Parting words are still heard.
                self.pipes.step(nap, self.limits);
                nap = (nap * 2).min(Duration::from_millis(100));
            }
        }
        self.pipes.step(Duration::ZERO, self.limits);
    }
}

/// A child, which leads a process group of its own, and what it has started: its group and its
/// descendants, those with another group or session too.
///
/// To be used only as long as the child has not been waited for: until then its number is nobody
/// else's.
#[derive(Debug)]
pub struct Family {
    head: Pid,
    /// Members seen at the last signal, by number and start time. An orphan is no descendant any
    /// more.
    known: Vec<(Pid, u64)>,
}

impl Family {
    /// The family of a child that was started with `process_group(0)`.
    pub fn of(child: &Child) -> Self {
        Family {
            // The kernel's numbers are at most 2^22.
            head: Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX)),
            known: Vec::new(),
        }
    }

    /// Whether the child itself has ended. Leaves it to be waited for.
    pub fn head_has_ended(&self) -> bool {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        match waitid(Id::Pid(self.head), flags) {
            Ok(WaitStatus::StillAlive) | Err(Errno::EINTR) => false,
            // ECHILD: somebody else has waited for it.
            Ok(_) | Err(_) => true,
        }
    }

    /// Whether anyone of it is alive.
    pub fn is_alive(&mut self) -> bool {
        self.look();
        !self.known.is_empty() || !self.head_has_ended()
    }

    /// Sends `signal` to all of it. Those that are not to be found or may not be signalled are
    /// passed over.
    pub fn signal(&mut self, signal: Signal) {
        self.look();
        let _ = killpg(self.head, signal);
        for &(pid, _) in &self.known {
            let _ = kill(pid, signal);
        }
    }

    /// Finds out who belongs to it.
    fn look(&mut self) {
        let mut all = processes();
        all.retain(|process| !process.has_ended);
        let known: HashSet<(Pid, u64)> = self.known.drain(..).collect();
        let mut found = vec![false; all.len()];
        let mut inside = HashSet::from([self.head]);
        // Children may have lower numbers than their parents, so until nobody is added.
        let mut grows = true;
        while grows {
            grows = false;
            for (process, found) in all.iter().zip(&mut found) {
                if !*found
                    && (process.group == self.head
                        || inside.contains(&process.pid)
                        || inside.contains(&process.parent)
                        || known.contains(&(process.pid, process.start)))
                {
                    *found = true;
                    grows = true;
                    inside.insert(process.pid);
                    self.known.push((process.pid, process.start));
                }
            }
        }
    }
}

pub(crate) struct Process {
    pub pid: Pid,
    pub parent: Pid,
    group: Pid,
    start: u64,
    /// Its parent has not taken note of that yet.
    pub has_ended: bool,
}

/// All that there are; none where `/proc` is not mounted.
pub(crate) fn processes() -> Vec<Process> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| {
            let name = entry.ok()?.file_name();
            let pid: i32 = name.to_str()?.parse().ok()?;
            let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
            // The name may hold anything, blanks and brackets too.
            let behind = stat.iter().rposition(|&b| b == b')')? + 1;
            let stat = std::str::from_utf8(&stat[behind..]).ok()?;
            let fields: Vec<&str> = stat.split_ascii_whitespace().collect();
            let number = |n: usize| fields.get(n)?.parse::<i32>().ok().map(Pid::from_raw);
            Some(Process {
                pid: Pid::from_raw(pid),
                parent: number(1)?,
                group: number(2)?,
                start: fields.get(19)?.parse().ok()?,
                has_ended: matches!(*fields.first()?, "Z" | "X"),
            })
        })
        .collect()
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
