//! The way of a report that needs no disk. Where the disk of the data directory is full, the request and the
//! answer can't be written to its files, and that is just when an operator wants to see the report.
//!
//! The client listens at an abstract address of Unix sockets, which is no file, before it sends USR1. The
//! agent connects to it if it could not answer by the files. Anybody may take that address, so both ask the
//! kernel who the other is. Only root and the agent's own user may send the agent a signal, so nobody else
//! can be asking.

use std::io::{self, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long the agent waits for a client that takes no byte.
const AGENT_WAITS: Duration = Duration::from_secs(5);
/// An answer is under way. Whoever holds the address may let it wait for ever, and then there is one such
/// thread and no more.
static ANSWERS: AtomicBool = AtomicBool::new(false);

fn address(pid: u32) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(format!("scalyr-agent-2/status/{pid}"))
}

/// The user of the process at the other end, or of the one that listens there.
fn user_of(peer: &UnixStream) -> io::Result<u32> {
    crate::util::sys::peer_user(peer)
}

/// The agent's side, in a thread of its own, as connecting may take as long as a stranger likes who listens
/// there. `done` gets what came of it.
pub(super) fn answer(
    report: impl FnOnce(&str) -> String + Send + 'static,
    done: impl FnOnce(io::Result<bool>) + Send + 'static,
) {
    if ANSWERS.swap(true, Ordering::Relaxed) {
        return;
    }
    let thread = std::thread::Builder::new().name("status".to_owned());
    let spawned = thread.spawn(move || {
        done(tell(report));
        ANSWERS.store(false, Ordering::Relaxed);
    });
    if spawned.is_err() {
        ANSWERS.store(false, Ordering::Relaxed);
    }
}

/// Connects to a client that listens, and tells it what `report` makes of the name of the
/// format that it asks for. False if no client listens.
///
/// # Errors
/// The system's; `PermissionDenied` if somebody listens who may not be told.
fn tell(report: impl FnOnce(&str) -> String) -> io::Result<bool> {
    let mut client = match UnixStream::connect_addr(&address(std::process::id())?) {
        Ok(client) => client,
        Err(_) => return Ok(false),
    };
    let user = user_of(&client)?;
    if user != 0 && user != nix::unistd::geteuid().as_raw() {
        return Err(io::Error::from(io::ErrorKind::PermissionDenied));
    }
    client.set_read_timeout(Some(AGENT_WAITS))?;
    client.set_write_timeout(Some(AGENT_WAITS))?;
    let mut name = [0; 16];
    let length = client.read(&mut name)?;
    let name = String::from_utf8_lossy(&name[..length]).into_owned();
    client.write_all(report(&name).as_bytes())?;
    Ok(true)
}

/// The client's side.
pub(super) struct Ear {
    listener: UnixListener,
    /// The user who may answer, besides root.
    agent: u32,
}

impl Ear {
    /// Listens for the agent with this pid. `None` if that is not possible; the files may do.
    pub(super) fn of(pid: i32) -> Option<Ear> {
        use std::os::unix::fs::MetadataExt;
        let agent = std::fs::metadata(format!("/proc/{pid}")).ok()?.uid();
        let address = address(u32::try_from(pid).ok()?).ok()?;
        let listener = UnixListener::bind_addr(&address).ok()?;
        listener.set_nonblocking(true).ok()?;
        Some(Ear { listener, agent })
    }

    /// The report in the format of this name, if the agent has connected; it is awaited until then.
    pub(super) fn hear(&self, format: &str, until: Instant) -> Option<String> {
        let (mut agent, _) = self.listener.accept().ok()?;
        let user = user_of(&agent).ok()?;
        if user != 0 && user != self.agent {
            return None;
        }
        let left = until.saturating_duration_since(Instant::now());
        agent.set_nonblocking(false).ok()?;
        agent
            .set_read_timeout(Some(left.max(Duration::from_millis(1))))
            .ok()?;
        agent.write_all(format.as_bytes()).ok()?;
        let mut report = String::new();
        agent.read_to_string(&mut report).ok()?;
        (!report.is_empty()).then_some(report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_comes_in_the_form_that_was_asked_for_and_without_any_file() {
        let pid = std::process::id() as i32;
        assert!(!tell(|_| unreachable!()).unwrap(), "nobody listens");
        let ear = Ear::of(pid).unwrap();
        let long = "x".repeat(3_000_000);
        let agent = std::thread::spawn(move || tell(|format| format!("{format} {long}")));
        let until = Instant::now() + Duration::from_secs(30);
        let mut heard = None;
        while heard.is_none() && Instant::now() < until {
            heard = ear.hear("json", until);
        }
        let heard = heard.unwrap();
        assert!(heard.starts_with("json xxx"));
        assert_eq!(heard.len(), 3_000_005);
        assert!(agent.join().unwrap().unwrap());
        // Another one that asks meanwhile goes by the files
        assert!(Ear::of(pid).is_none());
        drop(ear);
        assert!(!tell(|_| unreachable!()).unwrap());
    }
}
