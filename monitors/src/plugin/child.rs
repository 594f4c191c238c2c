//! A plug-in's process: its start, its output, its end.
//!
//! The process leads a group of its own, so that what it has started ends with it. One helper
//! thread waits for its output and hands it on in chunks; it never reads ahead of the monitor by
//! more than a few of them, and at most [`READ_PER_SECOND`]: a plug-in that writes faster waits.

use crate::children::{self, Started};
use common::stop::Stop;
use crossbeam_channel::{bounded, never, select_biased, Receiver, Sender};
use nix::errno::Errno;
use nix::fcntl::{fcntl, FcntlArg, OFlag};
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use nix::sys::signal::{killpg, Signal};
use nix::sys::wait::{waitid, Id, WaitPidFlag, WaitStatus};
use nix::unistd::{pipe2, Pid};
use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{ChildStdin, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Bytes read from a plug-in in a second, before it is made to wait.
pub const READ_PER_SECOND: usize = 2 * 1024 * 1024;
const CHUNK: usize = 8 * 1024;
const CHUNKS_AHEAD: usize = 4;
/// Between two looks whether a process whose output is still open has ended.
const LOOKS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(5));
/// How long it may go on with its output closed.
const MUTE: Duration = Duration::from_secs(5);
/// How long each step of the end may take: after stdin is closed, after SIGTERM, after SIGKILL.
pub const GRACE: Duration = Duration::from_secs(1);

/// Something from the process.
#[derive(Debug)]
pub enum Event {
    /// A piece of its stdout.
    Out(Vec<u8>),
    /// A piece of its stderr.
    Err(Vec<u8>),
    /// Its stdout is closed: it can say nothing any more.
    OutClosed,
}

/// Why [`Running::next`] returned.
#[derive(Debug)]
pub enum Next {
    /// There is output.
    Event(Event),
    /// The process has ended, and all its output was handed out.
    Exited,
    /// The moment has come.
    Deadline,
    /// The end was asked for.
    Stop,
    /// It has closed its stdout and goes on without.
    Mute,
}

/// A started plug-in. Dropped, it is killed with all that it has started.
#[derive(Debug)]
pub struct Running {
    child: Started,
    group: Pid,
    stdin: Option<ChildStdin>,
    /// Not written yet.
    unsaid: Vec<u8>,
    events: Option<Receiver<Event>>,
    wake: Option<OwnedFd>,
    reader: Option<JoinHandle<()>>,
    look: Duration,
    /// When it was last looked whether it has ended.
    looked: Instant,
    /// Until when its output is awaited after its end.
    exited: Option<Instant>,
    /// Since when its stdout is closed.
    mute: Option<Instant>,
    reaped: bool,
}

/// Starts `command` in a group of its own with pipes for its three streams and `environment` alone,
/// and begins to tell it `hello`.
///
/// # Errors
/// It cannot be started.
pub fn start(
    mut command: Command,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    hello: Vec<u8>,
    name: &str,
) -> io::Result<Running> {
    let (wait, wake) = pipe2(OFlag::O_CLOEXEC)?;
    command
        .env_clear()
        .envs(environment)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let mut child = children::start(&mut command)?;
    // A process id fits.
    let group = Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
    let stdin = child.stdin.take();
    let out = child.stdout.take().map(OwnedFd::from);
    let err = child.stderr.take().map(OwnedFd::from);
    let mut running = Running {
        child,
        group,
        stdin,
        unsaid: hello,
        events: None,
        wake: Some(wake),
        reader: None,
        look: LOOKS.0,
        looked: Instant::now(),
        exited: None,
        mute: None,
        reaped: false,
    };
    if let Some(stdin) = &running.stdin {
        // One that does not read must not make the monitor wait.
        fcntl(stdin, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    }
    let (tx, rx) = bounded(CHUNKS_AHEAD);
    running.events = Some(rx);
    running.reader = Some(
        std::thread::Builder::new()
            // The kernel keeps 15 bytes of it.
            .name(format!("< {name}"))
            .stack_size(128 * 1024)
            .spawn(move || read(out, err, &wait, &tx))?,
    );
    Ok(running)
}

impl Running {
    /// Its process id, which is also its group's.
    pub fn pid(&self) -> i32 {
        self.group.as_raw()
    }

    /// Waits for what comes first.
    pub fn next(&mut self, deadline: Option<Instant>, stop: Option<&Stop>) -> Next {
        // Not behind the output of one that never pauses.
        if stop.is_some_and(Stop::is_set) {
            return Next::Stop;
        }
        let never = never();
        let stop = stop.map_or(&never, Stop::channel);
        let closed = bounded(0).1;
        loop {
            if self.exited.is_some() {
                return self.rest();
            }
            self.say();
            let now = Instant::now();
            if deadline.is_some_and(|deadline| deadline <= now) {
                return Next::Deadline;
            }
            // A process that has left the group may write on and on into the streams
            if now.duration_since(self.looked) >= LOOKS.1 && self.has_exited() {
                continue;
            }
            if self
                .mute
                .is_some_and(|since| now.duration_since(since) > MUTE)
            {
                // Told once: its end takes its time as that of any other
                self.mute = None;
                return Next::Mute;
            }
            let look = now + self.look;
            let until = deadline.map_or(look, |deadline| deadline.min(look));
            // Output first: what was written before the end is not lost.
            select_biased! {
                recv(self.events.as_ref().unwrap_or(&closed)) -> event => match event {
                    Ok(Event::OutClosed) => {
                        // Its end is near.
                        self.mute = Some(now);
                        self.look = LOOKS.0;
                    }
                    Ok(event) => return Next::Event(event),
                    Err(_) => {
                        if self.has_exited() {
                            continue;
                        }
                        self.mute.get_or_insert(now);
                        self.look = LOOKS.0;
                        select_biased! {
                            recv(stop) -> _ => return Next::Stop,
                            default(self.look) => {}
                        }
                    }
                },
                recv(stop) -> _ => return Next::Stop,
                default(until.saturating_duration_since(now)) => {
                    if !self.has_exited() {
                        let longest = if self.mute.is_some() { MUTE / 50 } else { LOOKS.1 };
                        self.look = (self.look * 2).min(longest);
                    }
                }
            }
        }
    }

    /// Output that is still in the pipes of a process that has ended.
    fn rest(&mut self) -> Next {
        // A process that it has left behind could write for ever.
        self.kill(Signal::SIGKILL);
        loop {
            let left = self.exited.map_or(Duration::ZERO, |until| {
                until.saturating_duration_since(Instant::now())
            });
            if left.is_zero() {
                return Next::Exited;
            }
            let events = self.events.as_ref();
            match events.and_then(|events| events.recv_timeout(left.min(LOOKS.0 * 10)).ok()) {
                Some(Event::OutClosed) => {}
                Some(event) => return Next::Event(event),
                None => return Next::Exited,
            }
        }
    }

    /// Writes as much of the greeting as the pipe takes.
    fn say(&mut self) {
        while let (false, Some(stdin)) = (self.unsaid.is_empty(), &mut self.stdin) {
            match stdin.write(&self.unsaid) {
                Ok(written) => drop(self.unsaid.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // It does not want to know.
                Err(_) => self.unsaid.clear(),
            }
        }
    }

    /// Leaves it a zombie, so that its number, which is also the group's, stays its own.
    fn has_exited(&mut self) -> bool {
        self.looked = Instant::now();
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        let alive = matches!(
            waitid(Id::Pid(self.group), flags),
            Ok(WaitStatus::StillAlive) | Err(Errno::EINTR)
        );
        if !alive {
            self.exited.get_or_insert_with(|| Instant::now() + GRACE);
        }
        self.exited.is_some()
    }

    /// Signals all its processes.
    pub fn kill(&self, signal: Signal) {
        if !self.reaped {
            // An error means that none is left.
            let _ = killpg(self.group, signal);
        }
    }

    /// Its stdin ends, which asks it to end.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
        self.unsaid = Vec::new();
    }

    /// Takes what it leaves behind along, and its exit status. None if not even SIGKILL has ended
    /// it: it hangs in the kernel.
    pub fn reap(&mut self) -> Option<ExitStatus> {
        self.kill(Signal::SIGKILL);
        // Ends the reader, even if something that left the group holds the streams.
        self.events = None;
        self.wake = None;
        if let Some(reader) = self.reader.take() {
            // It does not panic.
            let _ = reader.join();
        }
        let deadline = Instant::now() + GRACE;
        while !self.has_exited() {
            if Instant::now() >= deadline {
                return None;
            }
            std::thread::sleep(LOOKS.0);
        }
        let status = self.child.wait().ok();
        self.reaped = true;
        status
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.reaped {
            self.close_stdin();
            self.reap();
        }
    }
}

/// `with status 3`, `by signal 9 (SIGKILL)`: how it ended.
pub fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("with status {code}"),
        (None, Some(number)) => match Signal::try_from(number) {
            Ok(signal) => format!("by signal {number} ({signal})"),
            Err(_) => format!("by signal {number}"),
        },
        (None, None) => "in an unknown way".to_owned(),
    }
}

/// Hands both streams on until they end, nobody listens any more, or the other side of `wait` is
/// closed.
fn read(out: Option<OwnedFd>, err: Option<OwnedFd>, wait: &OwnedFd, tx: &Sender<Event>) {
    let mut streams = [out.map(std::fs::File::from), err.map(std::fs::File::from)];
    let mut buffer = [0; CHUNK];
    let mut second = (Instant::now(), 0);
    while streams.iter().any(Option::is_some) {
        let mut fds = vec![PollFd::new(wait.as_fd(), PollFlags::empty())];
        let mut which = Vec::new();
        for (index, stream) in streams.iter().enumerate() {
            if let Some(stream) = stream {
                fds.push(PollFd::new(stream.as_fd(), PollFlags::POLLIN));
                which.push(index);
            }
        }
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) => {}
            Err(Errno::EINTR | Errno::EAGAIN) => continue,
            Err(_) => return,
        }
        if fds[0].any() == Some(true) {
            return;
        }
        let ready: Vec<usize> = which
            .into_iter()
            .zip(&fds[1..])
            .filter(|(_, fd)| fd.any() == Some(true))
            .map(|(index, _)| index)
            .collect();
        for index in ready {
            let Some(stream) = &mut streams[index] else {
                continue;
            };
            let read = match stream.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Ok(0) | Err(_) => {
                    streams[index] = None;
                    if index == 0 && tx.send(Event::OutClosed).is_err() {
                        return;
                    }
                    continue;
                }
                Ok(read) => read,
            };
            let chunk = buffer[..read].to_vec();
            let event = if index == 0 {
                Event::Out(chunk)
            } else {
                Event::Err(chunk)
            };
            if tx.send(event).is_err() || paced(&mut second, read, wait) {
                return;
            }
        }
    }
}

/// Waits for the next second if this one's share is used up. True if the end has come.
fn paced((began, used): &mut (Instant, usize), read: usize, wait: &OwnedFd) -> bool {
    *used += read;
    let gone = began.elapsed();
    let second = Duration::from_secs(1);
    if gone < second && *used < READ_PER_SECOND {
        return false;
    }
    let mut over = false;
    if gone < second {
        let left = u16::try_from((second - gone).as_millis()).unwrap_or(1000);
        let mut fds = [PollFd::new(wait.as_fd(), PollFlags::empty())];
        over = poll(&mut fds, PollTimeout::from(left)).is_ok_and(|ready| ready > 0);
    }
    (*began, *used) = (Instant::now(), 0);
    over
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Running {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let hello = vec![b'x'; 300_000];
        start(command, [("PATH".into(), path)], hello, "test").unwrap()
    }

    fn output(running: &mut Running) -> Vec<u8> {
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut all = Vec::new();
        loop {
            match running.next(Some(deadline), None) {
                Next::Event(Event::Out(chunk)) => all.extend(chunk),
                Next::Event(Event::Err(_)) => {}
                Next::Exited => return all,
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn all_that_was_written_before_the_end_arrives() {
        let mut running = shell("head -c 200000 /dev/zero; exit 3");
        assert_eq!(output(&mut running).len(), 200_000);
        let status = running.reap().unwrap();
        assert_eq!(ending(status), "with status 3");
    }

    #[test]
    fn a_greeting_larger_than_the_pipe_is_told_in_pieces() {
        let mut running = shell("head -c 300000 | wc -c");
        assert_eq!(
            String::from_utf8_lossy(&output(&mut running)).trim(),
            "300000"
        );
    }

    #[test]
    fn what_a_plugin_leaves_behind_does_not_keep_it_alive_and_is_killed() {
        let began = Instant::now();
        let mut running = shell("sleep 1000 & echo $!");
        let text = String::from_utf8(output(&mut running)).unwrap();
        assert!(running.reap().unwrap().success());
        assert!(began.elapsed() < Duration::from_secs(60));
        let left = std::path::PathBuf::from(format!("/proc/{}/stat", text.trim()));
        // It may still be a zombie that init has not looked at.
        let gone = || {
            std::fs::read_to_string(&left)
                .map_or(true, |stat| stat.contains(") Z ") || stat.contains(") X "))
        };
        while !gone() {
            assert!(began.elapsed() < Duration::from_secs(60), "still there");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn something_that_left_the_group_with_the_streams_keeps_nobody_waiting() {
        let began = Instant::now();
        // perl, python or setsid(1) may be missing; then the test is that of any other plug-in.
        let mut running = shell("setsid sleep 8 & exit 0");
        output(&mut running);
        assert!(running.reap().unwrap().success());
        assert!(began.elapsed() < Duration::from_secs(60));
    }

    #[test]
    fn a_flood_of_something_that_left_the_group_does_not_hide_that_the_plugin_has_ended() {
        let began = Instant::now();
        let mut running = shell("setsid timeout 60 yes & exit 0");
        let deadline = began + Duration::from_secs(30);
        loop {
            match running.next(Some(deadline), None) {
                Next::Event(_) => {}
                Next::Exited => break,
                other => panic!("{other:?}"),
            }
        }
        assert!(running.reap().unwrap().success());
        assert!(began.elapsed() < Duration::from_secs(60));
    }

    #[test]
    fn a_plugin_sees_no_file_of_the_agent() {
        let scratch = common::testing::Scratch::new("fds");
        let path = scratch.path("secret");
        let open = std::fs::File::create(&path).unwrap();
        let mut running = shell("ls -l /proc/$$/fd; ls -l /proc/self/fd");
        let listing = String::from_utf8(output(&mut running)).unwrap();
        assert!(listing.contains("pipe:"), "{listing}");
        assert!(!listing.contains("secret"), "{listing}");
        drop(open);
    }
}
