//! `stop`: ends the running agent, by KILL if TERM does not within its time.

use super::setup::{Place, Setup};
use super::{err, exit, out};
use crate::process::pidfile;
use crate::process::target::Target;
use nix::sys::signal::Signal;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long the agent has for a clean end; then it is killed.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often it is told.
const BETWEEN_SIGNALS: Duration = Duration::from_millis(100);

/// How often is looked whether it is gone.
const POLL: Duration = Duration::from_millis(10);

/// How long a killed process may take to disappear. Longer than that it hangs in the kernel.
const KILL_PATIENCE: Duration = Duration::from_secs(30);

/// Runs the command.
pub(super) fn stop(setup: &Setup) -> i32 {
    let place = setup.place(false);
    if let Err(error) = setup.change_user("stop the agent") {
        err(error);
        return exit::FAILED;
    }
    match place.running() {
        Some(pid) => end(&place, pid, setup.options.quiet),
        None if place.doubt_line().is_some() => {
            err("Failed to stop the agent.");
            err(place.doubt_line().unwrap_or_default());
            exit::FAILED
        }
        None => {
            err("Failed to stop the agent because it does not appear to be running.");
            err(place.not_running_line());
            exit::OK
        }
    }
}

/// Ends the agent with this pid; the exit code.
pub(super) fn end(place: &Place, pid: i32, quiet: bool) -> i32 {
    let say = |line: &str| {
        if !quiet {
            out(line);
        }
    };
    let target = match place.target(pid) {
        Ok(target) => target,
        Err(why) => {
            err(why);
            return exit::FAILED;
        }
    };
    say("Sending signal to terminate agent.");
    let mut gone = send_until_gone(&target, Signal::SIGTERM, PATIENCE);
    if gone == Ok(false) {
        say("Still waiting for agent to terminate, sending KILL signal.");
        gone = send_until_gone(&target, Signal::SIGKILL, KILL_PATIENCE);
    }
    match gone {
        Ok(true) => {
            pidfile::remove_left_over(&place.pid_file);
            say("Agent has stopped.");
            exit::OK
        }
        Ok(false) => {
            err(format_args!("The agent (pid={pid}) does not end."));
            exit::FAILED
        }
        Err(errno) => {
            out("Unable to terminate agent.");
            out(format_args!("[Errno {}] {}", errno as i32, errno.desc()));
            exit::FAILED
        }
    }
}

fn send_until_gone(
    target: &Target,
    signal: Signal,
    patience: Duration,
) -> Result<bool, nix::errno::Errno> {
    let deadline = Instant::now() + patience;
    let mut next_signal = Instant::now();
    while !target.gone() {
        let now = Instant::now();
        if now >= deadline {
            return Ok(false);
        }
        if now >= next_signal {
            target.signal(signal)?;
            next_signal = now + BETWEEN_SIGNALS;
        }
        sleep(POLL);
    }
    Ok(true)
}
