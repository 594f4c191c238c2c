//! Reading a key from stdin.

use crate::config::Secret;
use nix::errno::Errno;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use nix::sys::termios::{tcgetattr, tcsetattr, LocalFlags, SetArg, Termios};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::io::{self, BufRead, IsTerminal, Read, Stdin, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

/// More than any key has.
const MOST_BYTES: u64 = 4096;

/// Asks for a key and reads one line. What is typed at a terminal is not shown.
///
/// # Errors
/// One line for stderr: nothing was given, or Ctrl-C.
pub(super) fn key() -> Result<Secret, String> {
    let stdin = io::stdin();
    let line = if stdin.is_terminal() {
        unseen(&stdin)
    } else {
        ask();
        line_of(&stdin)
    };
    let line = line.map_err(|error| format!("No key could be read from stdin: {error}"))?;
    let key = line.trim();
    if key.is_empty() {
        return Err("No key was given on stdin. Nothing was changed.".to_owned());
    }
    Ok(Secret::new(key))
}

fn ask() {
    let _ = write!(io::stdout(), "Please enter key: ");
    let _ = io::stdout().flush();
}

fn line_of(stdin: &Stdin) -> io::Result<String> {
    let mut line = String::new();
    stdin.lock().take(MOST_BYTES).read_line(&mut line)?;
    Ok(line)
}

/// Reads a line with the echo switched off.
fn unseen(stdin: &Stdin) -> io::Result<String> {
    // A signal must not end the program while the terminal is mute.
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&ended))?;
    }
    let _mute = Mute::new(stdin)?;
    // Not before: what is typed at once would be seen, and lost.
    ask();
    loop {
        let mut fds = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        let result = poll(&mut fds, PollTimeout::NONE);
        if ended.load(Ordering::Relaxed) {
            return Err(io::Error::other("interrupted"));
        }
        match result {
            Ok(_) => return line_of(stdin),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// A terminal that does not echo, until it is dropped.
struct Mute<'a> {
    stdin: &'a Stdin,
    before: Termios,
}

impl<'a> Mute<'a> {
    fn new(stdin: &'a Stdin) -> io::Result<Mute<'a>> {
        let before = tcgetattr(stdin)?;
        let mut mute = before.clone();
        mute.local_flags.remove(LocalFlags::ECHO);
        mute.local_flags.insert(LocalFlags::ECHONL);
        tcsetattr(stdin, SetArg::TCSAFLUSH, &mute)?;
        Ok(Mute { stdin, before })
    }
}

impl Drop for Mute<'_> {
    fn drop(&mut self) {
        let _ = tcsetattr(self.stdin, SetArg::TCSANOW, &self.before);
    }
}
