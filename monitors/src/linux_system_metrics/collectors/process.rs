//! One run of a collector: its process group and its pipes.

use super::LONGEST_LINE;
use crate::children::{self, Started};
use crate::command::Family;
use nix::fcntl::{fcntl, FcntlArg, OFlag};
use nix::sys::signal::{killpg, Signal};
use nix::unistd::Pid;
use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Command, Stdio};

pub(super) struct Process {
    child: Started,
    family: Family,
    pub stdout: Option<Pipe>,
    pub stderr: Option<Pipe>,
}

impl Process {
    /// Runs the file itself, or Python with it if it may not be run and its name ends in `.py`.
    ///
    /// # Errors
    /// It cannot be started; the text says what to do.
    pub fn start(path: &Path, environment: &[(&'static str, String)]) -> io::Result<Process> {
        let python = path.extension().is_some_and(|ext| ext == "py");
        let runs = std::fs::metadata(path)?.permissions().mode() & 0o111 != 0;
        if !runs && !python {
            return Err(io::Error::other(
                "it is not executable (chmod +x) and does not end in .py",
            ));
        }
        let spawn = |mut command: Command| {
            command
                .envs(environment.iter().map(|(key, value)| (key, value)))
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .process_group(0);
            children::start(&mut command)
        };
        let with_python = || {
            let mut command = Command::new("python3");
            command.arg(path);
            spawn(command)
                .map_err(|error| io::Error::new(error.kind(), format!("python3: {error}")))
        };
        let mut child = if runs {
            match spawn(Command::new(path)) {
                // Executable, but without a first line that says by what.
                Err(error) if python && error.raw_os_error() == Some(nix::libc::ENOEXEC) => {
                    with_python()?
                }
                result => result?,
            }
        } else {
            with_python()?
        };
        Ok(Process {
            family: Family::of(&child),
            stdout: child.stdout.take().map(OwnedFd::from).map(Pipe::new),
            stderr: child.stderr.take().map(OwnedFd::from).map(Pipe::new),
            child,
        })
    }

    pub fn signal(&mut self, signal: Signal) {
        self.family.signal(signal);
    }

    /// Whether it has ended. [`Process::ended`] is still to be called.
    pub fn has_ended(&self) -> bool {
        self.family.head_has_ended()
    }

    /// How it has ended, if it has: its exit code, or the signal's number below 0. Ends what is left
    /// of its process group.
    pub fn ended(&mut self) -> Option<i32> {
        if !self.has_ended() {
            return None;
        }
        // Its number is still nobody else's: it has not been waited for.
        if let Ok(group) = i32::try_from(self.child.id()) {
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
        match self.child.wait() {
            Ok(status) => status.code().or(status.signal().map(|signal| -signal)),
            // Somebody else has waited for it.
            Err(_) => Some(0),
        }
    }
}

/// The reading end of a pipe, and the line that is not complete yet.
pub(super) struct Pipe {
    pub file: File,
    line: Vec<u8>,
    /// The rest of a line that was too long is passed over.
    skipping: bool,
}

/// A line of a pipe.
pub(super) enum Line<'a> {
    Text(&'a [u8]),
    /// Its beginning.
    TooLong(&'a [u8]),
}

impl Pipe {
    fn new(fd: OwnedFd) -> Self {
        let file = File::from(fd);
        // It cannot fail for a pipe of ours; it is only read when there is something in any case.
        let _ = fcntl(&file, FcntlArg::F_SETFL(OFlag::O_NONBLOCK));
        Pipe {
            file,
            line: Vec::new(),
            skipping: false,
        }
    }

    /// Reads what is there, up to so many bytes and the end of the piece they are in: how many bytes
    /// it was, and whether there may be more to come.
    pub fn read(&mut self, most: usize, mut take: impl FnMut(Line)) -> (usize, bool) {
        let mut piece = [0; 4096];
        let mut done = 0;
        while done < most {
            match self.file.read(&mut piece) {
                Ok(0) => {
                    if !self.line.is_empty() && !self.skipping {
                        take(Line::Text(&self.line));
                    }
                    return (done, false);
                }
                Ok(n) => {
                    done += n;
                    self.split(&piece[..n], &mut take);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return (done, error.kind() == ErrorKind::WouldBlock),
            }
        }
        (done, true)
    }

    fn split(&mut self, piece: &[u8], take: &mut impl FnMut(Line)) {
        for part in piece.split_inclusive(|&b| b == b'\n') {
            let (text, ends) = match part.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (part, false),
            };
            if !self.skipping {
                self.line.extend_from_slice(text);
                if self.line.len() >= LONGEST_LINE {
                    take(Line::TooLong(&self.line));
                    self.skipping = true;
                } else if ends {
                    take(Line::Text(&self.line));
                }
            }
            if ends {
                self.skipping = false;
            }
            if ends || self.skipping {
                self.line.clear();
            }
        }
    }
}
