//! The copy of agent.log on stdout (`--no-fork`). A reader that has stopped reading, such as a pager,
//! must not hold up the agent: what it does not take is dropped and announced once it reads again.

use nix::errno::Errno;
use nix::poll::{poll, PollFd, PollFlags};
use std::os::fd::AsFd;

/// How long the first record waits that cannot be written. Those after it do not wait.
const PATIENCE_MS: u16 = 1000;
/// A pipe that is ready takes at least so many bytes (PIPE_BUF) without blocking.
const CHUNK: usize = 4096;

pub(super) struct Echo {
    to: Box<dyn AsFd + Send>,
    stalled: bool,
    /// Part of a line has gone out.
    torn: bool,
    /// Dropped since the last one that was written.
    skipped: u64,
    lost: u64,
}

impl Echo {
    pub(super) fn new(to: Box<dyn AsFd + Send>) -> Self {
        Echo {
            to,
            stalled: false,
            torn: false,
            skipped: 0,
            lost: 0,
        }
    }

    /// Records that were not written.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    pub(super) fn write(&mut self, record: &[u8]) {
        let written = if self.skipped > 0 || self.torn {
            let end = if self.torn { "\n" } else { "" };
            let notice = format!(
                "{end}.... Warning, {} log lines are missing here because stdout was not read ...\n",
                self.skipped
            );
            self.send(notice.as_bytes()) && {
                self.skipped = 0;
                self.send(record)
            }
        } else {
            self.send(record)
        };
        if !written {
            self.skipped = self.skipped.saturating_add(1);
            self.lost = self.lost.saturating_add(1);
        }
    }

    /// Whether bytes go out without blocking, or a write fails at once, within `patience` ms.
    fn takes_bytes(&self, patience: u16) -> bool {
        let mut fds = [PollFd::new(self.to.as_fd(), PollFlags::POLLOUT)];
        loop {
            match poll(&mut fds, patience) {
                Err(Errno::EINTR) => {}
                ready => return ready.is_ok_and(|n| n > 0),
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) -> bool {
        for chunk in bytes.chunks(CHUNK) {
            let mut rest = chunk;
            while !rest.is_empty() {
                let patience = if self.stalled { 0 } else { PATIENCE_MS };
                if !self.takes_bytes(patience) {
                    self.stalled = true;
                    return false;
                }
                match nix::unistd::write(self.to.as_fd(), rest) {
                    Ok(n) if n > 0 => {
                        rest = &rest[n..];
                        self.stalled = false;
                        self.torn = !rest.is_empty() || !chunk.ends_with(b"\n");
                    }
                    Err(Errno::EINTR) => {}
                    // Closed, or no room after all.
                    _ => return false,
                }
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_stdout_that_nobody_reads_does_not_hold_up_the_agent() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut echo = Echo::new(Box::new(writer));
        let record = format!("{}\n", "x".repeat(9_999));
        // A pipe holds 64 KB or less.
        for _ in 0..100 {
            echo.write(record.as_bytes());
        }
        let lost = echo.lost();
        assert!(lost > 50, "{lost}");
        let mut seen = vec![0; 1 << 20];
        let n = reader.read(&mut seen).unwrap();
        echo.write(b"again\n");
        drop(echo);
        let mut text = seen[..n].to_vec();
        reader.read_to_end(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let notice = format!(
            "\n.... Warning, {lost} log lines are missing here because stdout was not read ...\nagain\n"
        );
        assert!(text.ends_with(&notice), "{}", &text[text.len() - 200..]);
    }

    #[test]
    fn a_closed_stdout_is_no_accident() {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut echo = Echo::new(Box::new(writer));
        echo.write(b"a\n");
        echo.write(b"b\n");
        assert_eq!(echo.lost(), 2);
    }
}
