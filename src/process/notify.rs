//! Telling systemd how the service is (sd_notify(3)), by hand over its socket. Where nobody listens
//! all of it does nothing.

use std::ffi::OsString;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

/// The way to the service manager.
#[derive(Debug, Default)]
pub struct Notifier {
    to: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
    /// When the next sign of life is due.
    next_sign: Option<Instant>,
    /// The last status line, which is not said twice.
    said: String,
}

impl Notifier {
    /// By `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` of the environment.
    pub fn from_env() -> Self {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let Some(to) = variable("NOTIFY_SOCKET").and_then(|path| open(&path)) else {
            return Notifier::default();
        };
        let number = |name| -> Option<u64> { variable(name)?.to_str()?.parse().ok() };
        let for_us = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|usec| for_us && *usec > 0);
        Notifier {
            to: Some(to),
            watchdog: watchdog.map(Duration::from_micros),
            next_sign: None,
            said: String::new(),
        }
    }

    /// The start is over.
    pub fn ready(&self) {
        self.send("READY=1");
    }

    /// The configuration is read anew; [`Notifier::ready`] follows.
    pub fn reloading(&self) {
        let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC);
        let Ok(now) = now else { return };
        let usec = now.tv_sec() as i128 * 1_000_000 + now.tv_nsec() as i128 / 1_000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={usec}"));
    }

    /// The end begins.
    pub fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=Stopping");
    }

    /// The main thread does its work: says so if it is time, twice in the manager's patience. When it
    /// is to be called again, if signs of life are awaited.
    pub fn alive(&mut self) -> Option<Instant> {
        let interval = self.watchdog? / 2;
        let now = Instant::now();
        match self.next_sign {
            Some(next) if now < next => Some(next),
            _ => {
                self.send("WATCHDOG=1");
                self.next_sign = Some(now + interval);
                self.next_sign
            }
        }
    }

    /// A line for `systemctl status`.
    pub fn status(&mut self, line: String) {
        if self.to.is_some() && line != self.said {
            self.send(&format!("STATUS={}", line.replace('\n', " ")));
            self.said = line;
        }
    }

    /// Whether somebody listens.
    pub fn is_heard(&self) -> bool {
        self.to.is_some()
    }

    fn send(&self, text: &str) {
        if let Some((socket, to)) = &self.to {
            // A manager that does not read is no reason to wait
            let _ = socket.send_to_addr(text.as_bytes(), to);
        }
    }
}

fn open(path: &OsString) -> Option<(UnixDatagram, SocketAddr)> {
    let to = match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        [b'/', ..] => SocketAddr::from_pathname(path),
        _ => return None,
    };
    let socket = UnixDatagram::unbound().ok()?;
    socket.set_nonblocking(true).ok()?;
    Some((socket, to.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    struct Manager {
        socket: UnixDatagram,
        path: PathBuf,
    }

    impl Manager {
        fn new(name: &str) -> Manager {
            let name = format!("notify-{}-{name}", std::process::id());
            let path = std::env::temp_dir().join(name);
            let _ = std::fs::remove_file(&path);
            let socket = UnixDatagram::bind(&path).unwrap();
            Manager { socket, path }
        }

        fn heard(&self) -> String {
            let mut text = [0; 1000];
            let n = self.socket.recv(&mut text).unwrap();
            String::from_utf8_lossy(&text[..n]).into_owned()
        }
    }

    impl Drop for Manager {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.path);
        }
    }

    #[test]
    fn the_manager_hears_each_step_once() {
        let manager = Manager::new("steps");
        let mut notifier = Notifier {
            to: open(&manager.path.clone().into()),
            watchdog: Some(Duration::from_secs(30)),
            next_sign: None,
            said: String::new(),
        };
        notifier.ready();
        notifier.status("a".to_owned());
        notifier.status("a".to_owned());
        let next = notifier.alive().unwrap();
        assert_eq!(notifier.alive(), Some(next));
        notifier.reloading();
        notifier.stopping();
        assert_eq!(manager.heard(), "READY=1");
        assert_eq!(manager.heard(), "STATUS=a");
        assert_eq!(manager.heard(), "WATCHDOG=1");
        assert!(manager.heard().starts_with("RELOADING=1\nMONOTONIC_USEC="));
        assert!(manager.heard().starts_with("STOPPING=1"));
        assert!(next <= Instant::now() + Duration::from_secs(15));
    }

    #[test]
    fn a_manager_that_does_not_read_holds_nothing_up() {
        let manager = Manager::new("deaf");
        let notifier = Notifier {
            to: open(&manager.path.clone().into()),
            ..Notifier::default()
        };
        for _ in 0..10_000 {
            notifier.ready();
        }
    }
}
