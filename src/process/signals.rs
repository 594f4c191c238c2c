//! Signals as values that the main thread waits for.
//!
//! The handlers set a flag and write one byte into a socket; the main thread sleeps reading it.
//! No thread of its own, and no handler does anything but these two async-signal-safe things.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::low_level::pipe;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The requests that come to the agent as signals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// TERM or INT: end cleanly.
    Stop,
    /// HUP: look at the configuration now.
    Reload,
    /// USR1: write the status report.
    Status,
}

/// The receiving end. Installed before the pid file exists, so that whoever finds the pid may
/// send any of these at once; stays installed until the process ends.
#[derive(Debug)]
pub struct Signals {
    term: Arc<AtomicBool>,
    int: Arc<AtomicBool>,
    hup: Arc<AtomicBool>,
    usr1: Arc<AtomicBool>,
    bell: UnixStream,
    waker: Waker,
    foreground: bool,
    /// The last moment at which no signal to stop had come.
    unasked: Instant,
}

/// Lets another thread end the main thread's [`Signals::wait`] early.
#[derive(Debug)]
pub struct Waker(UnixStream);

impl Waker {
    /// Makes the current or the next [`Signals::wait`] return.
    pub fn wake(&self) {
        // A full socket means that it is awake already.
        let _ = (&self.0).write(b"w");
    }

    /// Another handle of the same.
    ///
    /// # Errors
    /// No file descriptor is left.
    pub fn try_clone(&self) -> io::Result<Waker> {
        self.0.try_clone().map(Waker)
    }
}

impl Signals {
    /// Installs the handlers, once per process. In the foreground an INT (Ctrl-C) is answered with
    /// a line on stderr. USR2 is caught and ignored; PIPE is ignored since the program's start.
    ///
    /// # Errors
    /// No file descriptor is left.
    pub fn install(foreground: bool) -> io::Result<Self> {
        let (bell, ringer) = UnixStream::pair()?;
        ringer.set_nonblocking(true)?;
        let flag = |signal: i32| -> io::Result<Arc<AtomicBool>> {
            let flag = Arc::new(AtomicBool::new(false));
            // The flag first: handlers run in the order of registration, and who hears the bell
            // looks at the flags.
            signal_hook::flag::register(signal, Arc::clone(&flag))?;
            pipe::register(signal, ringer.try_clone()?)?;
            Ok(flag)
        };
        let (term, int, hup, usr1) = (flag(SIGTERM)?, flag(SIGINT)?, flag(SIGHUP)?, flag(SIGUSR1)?);
        signal_hook::flag::register(SIGUSR2, Arc::default())?;
        Ok(Signals {
            term,
            int,
            hup,
            usr1,
            bell,
            waker: Waker(ringer),
            foreground,
            unasked: Instant::now(),
        })
    }

    /// Sleeps until a signal comes, at most `time`; several of one kind count once. `None` when
    /// the time is over or a [`Waker`] rang.
    pub fn wait(&mut self, time: Duration) -> Option<Signal> {
        let deadline = Instant::now() + time;
        loop {
            if let Some(signal) = self.pending() {
                return Some(signal);
            }
            // A timeout of zero would mean "for ever".
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || self.bell.set_read_timeout(Some(left)).is_err() {
                return None;
            }
            let mut rings = [0; 64];
            match self.bell.read(&mut rings) {
                Ok(n) if rings[..n].contains(&b'w') => return self.pending(),
                // A ring, or EINTR: look at the flags. Anything else is the time-out.
                // It has just come: until then this slept.
                Ok(n) if n > 0 => self.unasked = Instant::now(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                _ => return self.pending(),
            }
        }
    }

    /// The most urgent signal that has come and was not taken yet.
    pub fn pending(&mut self) -> Option<Signal> {
        let now = Instant::now();
        let taken = |flag: &AtomicBool| flag.swap(false, Ordering::SeqCst);
        if taken(&self.int) {
            if self.foreground {
                let _ = writeln!(
                    io::stderr(),
                    "Received CTRL+C, starting termination handler and exiting..."
                );
            }
            return Some(Signal::Stop);
        }
        if taken(&self.term) {
            return Some(Signal::Stop);
        }
        self.unasked = now;
        if taken(&self.usr1) {
            return Some(Signal::Status);
        }
        if taken(&self.hup) {
            return Some(Signal::Reload);
        }
        None
    }

    /// As [`Signals::pending`], but one to reload stays: for those that are busy.
    pub fn urgent(&mut self) -> Option<Signal> {
        let reload = self.hup.swap(false, Ordering::SeqCst);
        let signal = self.pending();
        self.hup.fetch_or(reload, Ordering::SeqCst);
        signal
    }

    /// The last moment at which no signal to stop had come, as far as this was asked: a stop that has come since is
    /// not older, though whoever was busy has only now heard of it.
    pub fn last_without_stop(&self) -> Instant {
        self.unasked
    }

    /// A handle with which other threads wake this one.
    ///
    /// # Errors
    /// No file descriptor is left.
    pub fn waker(&self) -> io::Result<Waker> {
        self.waker.try_clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use signal_hook::low_level::raise;

    // One test: signals belong to the process, and the test runner has threads.
    #[test]
    fn signals_wake_the_sleeper_and_none_is_lost_or_doubled() {
        let mut signals = Signals::install(false).unwrap();
        let long = Duration::from_secs(60);
        assert_eq!(signals.wait(Duration::from_millis(1)), None);
        assert_eq!(signals.wait(Duration::ZERO), None);

        for _ in 0..1000 {
            raise(SIGUSR1).unwrap();
        }
        assert_eq!(signals.wait(long), Some(Signal::Status));
        assert_eq!(signals.wait(Duration::from_millis(1)), None);

        raise(SIGHUP).unwrap();
        raise(SIGUSR1).unwrap();
        raise(SIGTERM).unwrap();
        raise(SIGUSR2).unwrap();
        assert_eq!(signals.wait(long), Some(Signal::Stop));
        assert_eq!(signals.wait(long), Some(Signal::Status));
        assert_eq!(signals.wait(long), Some(Signal::Reload));
        assert_eq!(signals.wait(Duration::from_millis(1)), None);

        let busy = Instant::now();
        assert_eq!(signals.urgent(), None);
        raise(SIGINT).unwrap();
        let heard = Instant::now();
        assert_eq!(signals.wait(Duration::ZERO), Some(Signal::Stop));
        // The time in which nobody listened is part of a stop's
        assert!(busy <= signals.last_without_stop() && signals.last_without_stop() <= heard);

        let waker = signals.waker().unwrap();
        let thread = std::thread::spawn(move || waker.wake());
        assert_eq!(signals.wait(long), None);
        thread.join().unwrap();

        let thread = std::thread::spawn(|| {
            std::thread::sleep(Duration::from_millis(20));
            raise(SIGTERM).unwrap();
        });
        assert_eq!(signals.wait(long), Some(Signal::Stop));
        thread.join().unwrap();
    }
}
