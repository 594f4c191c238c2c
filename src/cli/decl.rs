//! The declarations of commands and options: [`Command`] and [`Opt`]. Parsing, help, man pages,
//! completions and the table in `docs/cli.md` all come from them.

use super::args::Options;
use super::setup::Setup;
use std::ffi::OsString;

/// The name under which the program speaks of itself.
pub const PROGRAM: &str = "scalyr-agent-2";

/// The name under which the program is its own configuration tool.
pub const CONFIG_PROGRAM: &str = "scalyr-agent-2-config";

/// A command.
pub struct Command {
    /// The word that asks for it.
    pub name: &'static str,
    /// For lists of commands, in at most 55 characters.
    pub summary: &'static str,
    /// Paragraphs of at most 78 columns. Lines that begin with blanks are kept as they are.
    pub about: &'static str,
    /// The words that it takes besides options.
    pub operands: Operands,
    /// The options that it uses.
    pub options: &'static [&'static Opt],
    /// One of the seven that the Python agent has: takes all of its options, also those that say
    /// nothing to it, because scripts pass them.
    pub(super) classic: bool,
    /// Exit codes and their meanings.
    pub exits: &'static [(i32, &'static str)],
    pub(super) verdict: Verdict,
    pub(super) run: Run,
}

/// How a command is run; the result is the exit code.
#[derive(Clone, Copy)]
pub(super) enum Run {
    /// With nothing but the command line.
    Alone(fn(Options) -> i32),
    /// With the configuration file found. Without one the command fails.
    Configured(fn(Setup) -> i32),
}

/// The words that a command takes besides options.
pub struct Operands {
    /// As in the usage line; empty: none.
    pub usage: &'static str,
    pub(super) least: usize,
    /// The most that may be given.
    pub most: usize,
    /// The name of the missing operand in the error, if there are too few.
    pub what: &'static str,
    /// The words that a shell may propose for them.
    pub complete: Complete,
}

impl Operands {
    /// None at all.
    pub(super) const NONE: Operands = Operands {
        usage: "",
        least: 0,
        most: 0,
        what: "",
        complete: Complete::Nothing,
    };
}

/// The words that a shell may propose.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Complete {
    /// No word.
    Nothing,
    /// The path of a file.
    File,
    /// The path of a folder.
    Dir,
    /// The name of a user.
    User,
    /// The name of a monitor.
    Monitor,
    /// `run`, and then the name of a monitor.
    RunMonitor,
    /// One of these.
    Words(&'static [&'static str]),
}

/// An option.
pub struct Opt {
    /// The letter behind one dash.
    pub short: Option<u8>,
    /// The name behind two dashes.
    pub long: &'static str,
    pub(super) action: Action,
    /// One line of the help.
    pub text: &'static str,
    /// Further text of the man page; may be empty.
    pub more: &'static str,
    pub(super) verdict: Verdict,
}

/// Stores an option's value.
pub(super) type Setter = fn(&mut Options, OsString) -> Result<(), String>;

/// The effect of an option.
#[derive(Clone, Copy)]
pub(super) enum Action {
    Help,
    Flag(fn(&mut Options)),
    /// The name of the value in the help, what to propose for it, and where it goes. An error says
    /// what is wrong with it.
    Value(&'static str, Complete, Setter),
    /// Known and refused, for the reason of the verdict. In no help.
    Refused,
}

/// An option or command beside the same one of the Python agent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Same,
    /// The same and more; this is what.
    Better(&'static str),
    /// Not done; this is why.
    Refused(&'static str),
    /// The Python agent has none.
    New,
}

impl Opt {
    /// `-c/--config-file`, as error messages call it.
    pub(super) fn names(&self) -> String {
        match self.short {
            Some(short) => format!("-{}/--{}", char::from(short), self.long),
            None => format!("--{}", self.long),
        }
    }

    /// The name of its value, if it takes one.
    pub fn value(&self) -> Option<(&'static str, Complete)> {
        match self.action {
            Action::Value(name, complete, _) => Some((name, complete)),
            _ => None,
        }
    }

    /// Whether help, man pages and completions speak of it.
    pub(super) fn is_shown(&self) -> bool {
        !matches!(self.action, Action::Refused)
    }

    /// Its short name as text.
    pub fn short_text(&self) -> Option<String> {
        self.short.map(|short| format!("-{}", char::from(short)))
    }
}

impl Command {
    /// The options that help, man pages and completions show.
    pub fn shown(&self) -> impl Iterator<Item = &'static Opt> {
        self.options.iter().copied().filter(|opt| opt.is_shown())
    }
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// Commands are places in the table.
impl PartialEq for Command {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}
