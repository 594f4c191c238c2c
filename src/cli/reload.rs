//! `reload`: has the running agent look at its configuration, as init scripts want it.

use super::setup::Setup;
use super::{err, exit};
use nix::sys::signal::Signal;

/// Runs the command.
pub(super) fn reload(setup: &Setup) -> i32 {
    let place = setup.place(false);
    if let Err(error) = setup.change_user("reload the configuration") {
        err(error);
        return exit::FAILED;
    }
    let Some(pid) = place.running() else {
        err(place
            .doubt_line()
            .unwrap_or_else(|| place.not_running_line()));
        return exit::RUNNING_OR_NOT;
    };
    let sent = place.target(pid).and_then(|target| {
        let failed = |errno: nix::errno::Errno| {
            format!("The agent (pid={pid}) can't be signalled: {}", errno.desc())
        };
        target.ask(Signal::SIGHUP).map_err(failed)
    });
    match sent {
        Ok(()) => exit::OK,
        Err(why) => {
            err(why);
            exit::FAILED
        }
    }
}
