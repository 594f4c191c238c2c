//! The command line: one file per command. Commands are declared in [`commands`], their options in
//! [`options`], and those of `config` in [`config`]; a new command is a row there and a function.
//! [`setup`] is what they share; [`exit`] names the exit codes.

mod args;
mod check;
mod commands;
mod config;
mod decl;
mod dry_run;
mod explain;
mod generate;
mod hang;
mod help;
mod monitor;
mod options;
mod positions;
mod reference;
mod reload;
mod restart;
mod setup;
mod similar;
mod start;
mod status;
mod status_debug;
mod stop;

pub use commands::COMMANDS;
pub use decl::{Command, Complete, Operands, Opt, CONFIG_PROGRAM, PROGRAM};
pub use options::CLASSIC;
pub use reference::reference;

use args::{Options, Parsed};
use decl::Run;
use setup::Setup;
use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::io::Write;
use std::path::Path;

/// The program's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Exit codes.
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

fn run(invoked_as: &OsStr, arguments: impl Iterator<Item = OsString>) -> i32 {
    // One program under two names, as BusyBox does it.
    let parsed = if Path::new(invoked_as).file_name() == Some(OsStr::new(CONFIG_PROGRAM)) {
        args::parse_config(arguments)
    } else {
        args::parse(arguments)
    };
    let (command, options) = match parsed {
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
    match command.run {
        Run::Alone(run) => run(*options),
        Run::Configured(run) => {
            let setup = Setup::new(*options);
            // An agent may run all the same
            let asks_agent = ["status", "stop", "reload", "check"].contains(&command.name);
            match &setup.missing {
                Some(_) if asks_agent && setup.guess().running().is_some() => run(setup),
                Some(error) => {
                    err(error);
                    exit::FAILED
                }
                None => run(setup),
            }
        }
    }
}

/// `version`: answers before any file is read.
fn version(_: Options) -> i32 {
    out(format_args!("The Scalyr Agent 2 version is {VERSION}"));
    exit::OK
}

/// A line on stdout. A reader that went away is no reason to fail.
fn out(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// A line on stderr.
fn err(line: impl Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Text for a terminal. Names of files and answers of servers are somebody else's: what in them
/// would break the line or move the cursor becomes a blank.
fn harmless(text: impl Display) -> String {
    text.to_string().replace(char::is_control, " ")
}

/// The same for a text of several lines, such as a report that the agent's user wrote to a file.
fn harmless_lines(text: &str) -> String {
    text.replace(|c: char| c.is_control() && !matches!(c, '\n' | '\t'), " ")
}
