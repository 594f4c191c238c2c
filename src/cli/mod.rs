//! The command line: one file per command. What they share is in [`setup`]; exit codes are those
//! of cli.md §3, with the mended ones of its §20.

pub mod args;
mod dry_run;
mod explain;
mod restart;
mod setup;
mod start;
mod status;
mod stop;

use args::{Command, Parsed, PROGRAM};
use setup::Setup;
use std::ffi::OsString;
use std::fmt::Display;
use std::io::Write;
use std::path::Path;

/// The program's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Exit codes (cli.md §3).
mod exit {
    pub const OK: i32 = 0;
    /// It failed, or there is nothing to ask.
    pub const FAILED: i32 = 1;
    /// Wrong use of the program; also: the agent is not healthy, or belongs to somebody else.
    pub const USAGE: i32 = 2;
    pub const UNHEALTHY: i32 = 2;
    pub const NOT_PERMITTED: i32 = 2;
    /// The agent can't say yet how it is.
    pub const UNKNOWN_HEALTH: i32 = 3;
    /// `start`: it runs already. `status`: it does not.
    pub const RUNNING_OR_NOT: i32 = 4;
}

/// Runs the command of the process's arguments; the exit code.
pub fn main() -> i32 {
    let mut arguments = std::env::args_os();
    let invoked_as = arguments.next().unwrap_or_default();
    run(&invoked_as, arguments)
}

fn run(invoked_as: &OsString, arguments: impl Iterator<Item = OsString>) -> i32 {
    let name = Path::new(invoked_as).file_name().unwrap_or_default();
    if name == "scalyr-agent-2-config" {
        return no_config_tool();
    }
    let (command, options) = match args::parse(arguments) {
        Parsed::Run(command, options) => (command, options),
        Parsed::Help(text) => {
            let _ = std::io::stdout().write_all(text.as_bytes());
            return exit::OK;
        }
        Parsed::Usage(text) => {
            let _ = std::io::stderr().write_all(text.as_bytes());
            return exit::USAGE;
        }
    };
    match command {
        Command::Version => {
            out(format_args!("The Scalyr Agent 2 version is {VERSION}"));
            return exit::OK;
        }
        Command::Config => return no_config_tool(),
        _ => {}
    }
    let setup = match Setup::new(options) {
        Ok(setup) => setup,
        Err(error) => {
            err(error);
            return exit::FAILED;
        }
    };
    match command {
        Command::Start => start::start(setup),
        Command::Stop => stop::stop(&setup),
        Command::Status => status::status(&setup),
        Command::Restart => restart::restart(setup, restart::Missing::Start),
        Command::Condrestart => restart::restart(setup, restart::Missing::LeaveIt),
        Command::DryRun => dry_run::dry_run(&setup),
        Command::Explain => explain::explain(&setup),
        Command::Version | Command::Config => exit::OK,
    }
}

fn no_config_tool() -> i32 {
    err(format_args!(
        "{PROGRAM}: error: the command \"config\" is not in this version yet. Edit the \
         configuration file instead; a running agent takes up the change by itself."
    ));
    exit::USAGE
}

/// A line on stdout. A reader that went away is no reason to fail.
fn out(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// A line on stderr.
fn err(line: impl Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
