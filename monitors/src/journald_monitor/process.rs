//! The `journalctl` whose output is read: started, read from without waiting, ended.

use crate::children::{self, Started};
use crate::command::Family;
use crate::Error;
use nix::fcntl::{fcntl, FcntlArg, OFlag};
use nix::sys::signal::Signal;
use std::io::{self, Read as _};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt as _;
use std::process::{ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// At most this many bytes of journalctl's complaints are kept.
const MOST_SAID: usize = 1024;
/// Room for what it writes while we sleep, in bytes. More than the usual 64 KiB, so that it can
/// work on while a backlog is being read.
const PIPE: i32 = 256 * 1024;

/// A running one. Dropping it ends it.
#[derive(Debug)]
pub struct Journalctl {
    child: Started,
    family: Family,
    /// Once it has been waited for its number may be anybody's.
    reaped: bool,
    output: ChildStdout,
    complaints: ChildStderr,
    said: Vec<u8>,
    /// How many bytes of `said` the caller already knows.
    told: usize,
}

/// The result of a read.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// This many bytes were read.
    Data(usize),
    /// Nothing at present.
    Nothing,
    /// It has closed its output.
    End,
}

impl Journalctl {
    /// Starts `program`.
    ///
    /// # Errors
    /// There is no such program, or it cannot be run.
    pub fn start(program: &str, args: &[String]) -> Result<Self, Error> {
        let mut command = Command::new(program);
        command
            .args(args)
            .env("LC_ALL", "C")
            .env_remove("JOURNAL_STREAM")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // It may be a wrapper, which is ended with what it runs; and Ctrl-C is not meant for it.
            .process_group(0);
        let mut child = children::start(&mut command).map_err(|error| {
            let advice = if error.kind() == io::ErrorKind::NotFound {
                " It is part of systemd; if it is not in the PATH, set journalctl_path."
            } else {
                ""
            };
            Error::new(format!(
                "Cannot read the journal: {program} cannot be started: {error}.{advice}"
            ))
        })?;
        let (Some(output), Some(complaints)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(Error::new("journalctl was started without pipes"));
        };
        let journalctl = Journalctl {
            family: Family::of(&child),
            reaped: false,
            child,
            output,
            complaints,
            said: Vec::new(),
            told: 0,
        };
        // Without privileges the kernel may refuse; then it is as large as it is.
        let _ = fcntl(&journalctl.output, FcntlArg::F_SETPIPE_SZ(PIPE));
        do_not_wait(&journalctl.output)?;
        do_not_wait(&journalctl.complaints)?;
        Ok(journalctl)
    }

    /// Reads what is there.
    ///
    /// # Errors
    /// I/O errors of the pipe.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<Progress> {
        self.listen();
        match self.output.read(buffer) {
            Ok(0) => Ok(Progress::End),
            Ok(n) => Ok(Progress::Data(n)),
            Err(error) if is_nothing(&error) => Ok(Progress::Nothing),
            Err(error) => Err(error),
        }
    }

    /// Takes its complaints, so that it never waits for us with them. The latest are kept.
    fn listen(&mut self) {
        let mut buffer = [0; 4096];
        // One that complains faster than this is read has to wait.
        for _ in 0..32 {
            let Ok(n @ 1..) = self.complaints.read(&mut buffer) else {
                break;
            };
            self.said.extend_from_slice(&buffer[..n]);
            let too_much = self.said.len().saturating_sub(MOST_SAID);
            self.said.drain(..too_much);
            self.told = self.told.saturating_sub(too_much);
        }
    }

    /// Whether it has complained since [`Journalctl::news`] was last asked.
    pub fn has_news(&mut self) -> bool {
        self.listen();
        self.told < self.said.len()
    }

    /// Its complaints since this was last asked, in one line.
    pub fn news(&mut self) -> String {
        let news = one_line(self.said.get(self.told..).unwrap_or_default());
        self.told = self.said.len();
        news
    }

    /// Waits for its end, which its closed output has announced. How it ended, and all of its
    /// complaints.
    pub fn end(mut self) -> (String, String) {
        // It has nothing more to do; if it lingers all the same, it is not waited for long.
        let patience = Instant::now() + Duration::from_secs(1);
        while !self.family.head_has_ended() && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(5));
        }
        let status = if self.family.head_has_ended() {
            match self.reap() {
                Ok(status) => status.to_string(),
                Err(error) => error.to_string(),
            }
        } else {
            "it closed its output and went on".to_owned()
        };
        self.listen();
        (status, one_line(&self.said))
    }

    /// Ends it with all that it has started, and waits for that.
    fn reap(&mut self) -> io::Result<ExitStatus> {
        if !self.reaped {
            // It only reads, so nothing is lost by ending it in the middle.
            self.family.signal(Signal::SIGKILL);
            self.reaped = true;
        }
        self.child.wait()
    }
}

impl Drop for Journalctl {
    fn drop(&mut self) {
        let _ = self.reap();
    }
}

fn one_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let line = lines.collect::<Vec<_>>().join("; ");
    line.replace(char::is_control, " ")
}

fn is_nothing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

fn do_not_wait(pipe: impl AsFd) -> io::Result<()> {
    let flags = fcntl(&pipe, FcntlArg::F_GETFL)?;
    let flags = OFlag::from_bits_retain(flags) | OFlag::O_NONBLOCK;
    fcntl(&pipe, FcntlArg::F_SETFL(flags))?;
    Ok(())
}
