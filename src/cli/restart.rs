//! `restart` and `condrestart`.

use super::setup::Setup;
use super::{err, exit, out, start, stop};

/// The reaction to an agent that does not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// Start.
    Start,
    /// Nothing.
    LeaveIt,
}

/// This sentence follows the reason why nothing was done.
const NOTHING_DONE: &str = "Nothing was stopped or started. Fix the error and try again.";

/// Runs the command. The configuration is tried first: one with which the agent can't start again
/// must not cost the running one.
pub(super) fn restart(setup: Setup, missing: Missing) -> i32 {
    if let Err(error) = setup.change_user("restart the agent") {
        err(error);
        return exit::FAILED;
    }
    let config = match setup.load(NOTHING_DONE) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let place = setup.place_of(&config);
    let quiet = setup.options.quiet;
    let verified = match (place.running(), missing) {
        (Some(pid), _) => {
            if let Err(reason) = start::could_start(&config, setup.options.ignore_positions) {
                err(reason);
                err(NOTHING_DONE);
                return exit::FAILED;
            }
            let verified = match start::try_out(&setup, &config) {
                Ok(verified) => verified,
                Err(code) => {
                    err(NOTHING_DONE);
                    return code;
                }
            };
            if !quiet {
                out(match missing {
                    Missing::Start => "Agent is running, stopping it now.",
                    Missing::LeaveIt => "Agent is running, restarting now.",
                });
            }
            let code = stop::end(&place, pid, quiet);
            if code != exit::OK {
                return code;
            }
            verified
        }
        (None, Missing::Start) => return start::begin(setup, config),
        (None, Missing::LeaveIt) => {
            if !quiet {
                out("Agent is not running, not restarting.");
            }
            return exit::OK;
        }
    };
    start::launch(setup, config, verified)
}
