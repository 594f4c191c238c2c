//! Reading the command line, as GNU programs and Python's argparse read it. What
//! commands and options there are is in the tables: [`super::commands`], [`super::config`].

use super::commands::{self, COMMANDS};
use super::config::Request;
use super::decl::Action::{Flag, Help, Refused, Value};
use super::decl::{Command, Opt, Verdict, CONFIG_PROGRAM, PROGRAM};
use super::help;
use super::options::CLASSIC;
use crate::util::words::nearest;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::Duration;

/// The options, as given. Defaults that depend on the installation are not filled in.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Options {
    /// `-c`: the main configuration file.
    pub(super) config_file: Option<PathBuf>,
    /// `--extra-config-dir`: a second folder of fragments.
    pub(super) extra_config_dir: Option<PathBuf>,
    /// `-q`: no progress lines on stdout.
    pub(super) quiet: bool,
    pub(super) configuration_only: bool,
    /// `-v`: the whole status report.
    pub(super) verbose: bool,
    /// `-H`: one line about the health.
    pub(super) health_check: bool,
    /// `--delivery`: all that is bad gives the exit code 2.
    pub(super) delivery: bool,
    /// `--all`: the report with every file and figure.
    pub(super) all: bool,
    /// `--format` of the status report; checked by the command, as the original does.
    pub(super) format: Option<String>,
    /// `--no-fork`: stay in the foreground.
    pub(super) no_fork: bool,
    /// `--no-check-remote-server`: no request before the start.
    pub(super) no_check_remote_server: bool,
    /// `--ignore-positions`: checkpoints are set aside.
    pub(super) ignore_positions: bool,
    /// `--no-change-user`: never switch to the owner of the configuration file.
    pub(super) no_change_user: bool,
    /// `-p`: the pid file to use if the configuration can't be read.
    pub(super) pid_file: Option<PathBuf>,
    /// `--debug`: facts about machine and process if the agent does not answer.
    pub(super) debug: bool,
    /// `--stats-capture-interval`: time between two collections of those facts.
    pub(super) stats_capture_interval: Option<Duration>,
    /// `--from-checkpoint`: begin where checkpoints say.
    pub(super) from_checkpoint: bool,
    /// `--records`: the position journal record by record.
    pub(super) records: bool,
    /// The request to `config`.
    pub(super) config: Request,
    /// How `monitor` runs one.
    pub(super) monitor: super::monitor::Asked,
    /// The words that are no options, without the command's name.
    pub(super) operands: Vec<OsString>,
}

/// A parsed command line.
#[derive(Debug, PartialEq)]
pub(super) enum Parsed {
    /// Run this.
    Run(&'static Command, Box<Options>),
    /// Print this to stdout and exit 0.
    Help(String),
    /// Print this to stderr and exit 2.
    Usage(String),
}

/// Reads the arguments that follow the program's name.
pub(super) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Parsed {
    Parser::new(None).run(arguments.into_iter())
}

/// Reads the arguments of the program when it is called as the configuration tool.
pub(super) fn parse_config(arguments: impl IntoIterator<Item = OsString>) -> Parsed {
    Parser::new(Some(&commands::CONFIG)).run(arguments.into_iter())
}

/// As Python's argparse says it.
const NO_COMMAND: &str = "the following arguments are required: command";

struct Parser {
    command: Option<&'static Command>,
    /// Whether the command follows from the program's name.
    by_name: bool,
    options: Options,
    given: Vec<&'static Opt>,
    /// The word `help` stands where a command would.
    asks_help: bool,
}

impl Parser {
    fn new(command: Option<&'static Command>) -> Parser {
        Parser {
            command,
            by_name: command.is_some(),
            options: Options::default(),
            given: Vec::new(),
            asks_help: false,
        }
    }

    fn run(mut self, arguments: impl Iterator<Item = OsString>) -> Parsed {
        match self.read(arguments) {
            Ok(Some(help)) => Parsed::Help(help),
            Ok(None) => match self.command {
                Some(command) => Parsed::Run(command, Box::new(self.options)),
                None => self.usage(NO_COMMAND),
            },
            Err(error) => self.usage(&error),
        }
    }

    fn usage(&self, error: &str) -> Parsed {
        let program = if self.by_name {
            CONFIG_PROGRAM
        } else {
            PROGRAM
        };
        // A call without a command may come from a user who does not know the commands: all are listed
        let usage = match error == NO_COMMAND {
            true => help::text(None, false) + "\n",
            false => help::usage(self.command, self.by_name),
        };
        Parsed::Usage(format!("{usage}{program}: error: {error}\n"))
    }

    /// The help, if that is asked for.
    fn read(
        &mut self,
        mut arguments: impl Iterator<Item = OsString>,
    ) -> Result<Option<String>, String> {
        let mut only_operands = false;
        let mut queue: Option<OsString> = None;
        while let Some(argument) = queue.take().or_else(|| arguments.next()) {
            let bytes = argument.as_bytes();
            if only_operands || bytes.len() < 2 || bytes[0] != b'-' {
                self.operand(argument)?;
                continue;
            }
            if bytes == b"--" {
                only_operands = true;
                continue;
            }
            let (option, attached) = match bytes.strip_prefix(b"--") {
                Some(long) => self.find_long(long)?,
                None => self.find_short(bytes)?,
            };
            let name = option.names();
            self.given.push(option);
            match option.action {
                Help => return Ok(Some(help::text(self.command, self.by_name))),
                Refused => {
                    let why = match option.verdict {
                        Verdict::Refused(why) => why,
                        _ => "not here",
                    };
                    return Err(format!("argument {name}: refused: {why}"));
                }
                Flag(set) => {
                    set(&mut self.options);
                    match attached {
                        None => {}
                        // -qv is -q -v
                        Some(Attached::Cluster(rest)) => {
                            let mut next = b"-".to_vec();
                            next.extend_from_slice(&rest);
                            queue = Some(OsString::from_vec(next));
                        }
                        // Not told which: it may be a key in the wrong place.
                        Some(Attached::Value(_)) => {
                            return Err(format!("argument {name}: takes no value"));
                        }
                    }
                }
                Value(_, _, set) => {
                    let value = match attached {
                        Some(Attached::Value(value)) => value,
                        Some(Attached::Cluster(rest)) => {
                            OsString::from_vec(rest.strip_prefix(b"=").unwrap_or(&rest).to_vec())
                        }
                        None => arguments
                            .next()
                            .filter(|next| next.len() < 2 || next.as_bytes()[0] != b'-')
                            .ok_or_else(|| format!("argument {name}: expected one argument"))?,
                    };
                    set(&mut self.options, value)
                        .map_err(|error| format!("argument {name}: {error}"))?;
                }
            }
        }
        if self.asks_help {
            return Ok(Some(help::text(self.command, self.by_name)));
        }
        self.fits().map(|()| None)
    }

    fn operand(&mut self, word: OsString) -> Result<(), String> {
        match self.command {
            None if word == "help" && !self.asks_help => self.asks_help = true,
            None => self.command = Some(find_command(&word)?),
            Some(command)
                if self.options.operands.len() < command.operands.most && !self.asks_help =>
            {
                self.options.operands.push(word);
            }
            // It may be a key.
            Some(command) if *command == commands::CONFIG => {
                return Err("unrecognized arguments: a word that is no option".to_owned());
            }
            Some(_) => {
                return Err(format!(
                    "unrecognized arguments: {}",
                    word.to_string_lossy()
                ));
            }
        }
        Ok(())
    }

    /// Whether the command takes what stood before its name, and has all that it needs.
    fn fits(&self) -> Result<(), String> {
        let Some(command) = self.command else {
            return Ok(());
        };
        if let Some(other) = self.given.iter().find(|opt| !takes(command, opt)) {
            return Err(format!(
                "unrecognized arguments: --{} (\"{}\" has no such option)",
                other.long, command.name
            ));
        }
        if self.options.operands.len() < command.operands.least {
            return Err(format!(
                "the following arguments are required: {}",
                command.operands.what
            ));
        }
        Ok(())
    }

    /// The options that may stand here by their whole name, and those that may be shortened.
    fn known(&self) -> (Vec<&'static Opt>, Vec<&'static Opt>) {
        match self.command {
            Some(command) if command.classic => {
                // Options that the Python agent lacks must be written out: otherwise one of them
                // could make an abbreviation ambiguous that works there
                let mut all = CLASSIC.to_vec();
                all.extend(command.options);
                (all, CLASSIC.to_vec())
            }
            Some(command) => (command.options.to_vec(), command.options.to_vec()),
            None => {
                // It may be any command's. Where two share a name, the older counts.
                let mut all = CLASSIC.to_vec();
                for command in COMMANDS.iter().filter(|c| **c != &commands::CONFIG) {
                    all.extend(command.options);
                }
                (all, CLASSIC.to_vec())
            }
        }
    }

    fn find_long(&self, text: &[u8]) -> Result<(&'static Opt, Option<Attached>), String> {
        let (name, value) = match text.iter().position(|byte| *byte == b'=') {
            Some(at) => (
                &text[..at],
                Some(Attached::Value(
                    OsStr::from_bytes(&text[at + 1..]).to_owned(),
                )),
            ),
            None => (text, None),
        };
        let (all, shortened) = self.known();
        if let Some(exact) = all.iter().find(|o| o.long.as_bytes() == name) {
            return Ok((exact, value));
        }
        let candidates: Vec<&Opt> = shortened
            .into_iter()
            .filter(|o| o.is_shown() && o.long.as_bytes().starts_with(name))
            .collect();
        // The text after a `=` is left out: it may be a key.
        let name = String::from_utf8_lossy(name);
        match candidates.as_slice() {
            [one] => Ok((one, value)),
            [] => Err(format!(
                "unrecognized arguments: --{name}{}",
                self.meant(&name, &all)
            )),
            several => Err(format!(
                "ambiguous option: --{name} could match {}",
                several
                    .iter()
                    .map(|o| format!("--{}", o.long))
                    .collect::<Vec<_>>()
                    .join(", ")
            )),
        }
    }

    fn find_short(&self, argument: &[u8]) -> Result<(&'static Opt, Option<Attached>), String> {
        let rest = &argument[2..];
        match self
            .known()
            .0
            .into_iter()
            .find(|o| o.short == Some(argument[1]))
        {
            Some(option) => Ok((
                option,
                (!rest.is_empty()).then(|| Attached::Cluster(rest.to_vec())),
            )),
            // The rest of the argument is left out: it may be a key.
            None => Err(format!(
                "unrecognized arguments: -{}{}",
                argument[1].escape_ascii(),
                match argument {
                    b"-V" => did_you_mean(&["version"]),
                    b"-?" => did_you_mean(&["--help"]),
                    _ => String::new(),
                }
            )),
        }
    }

    /// The end of the error about an option of this name that there is not.
    fn meant(&self, name: &str, all: &[&'static Opt]) -> String {
        let shown = all.iter().filter(|opt| opt.is_shown()).map(|opt| opt.long);
        match similar(name, shown).first() {
            Some(near) => did_you_mean(&[&format!("--{near}")]),
            // `--version`
            None if self.command.is_none() => match commands::find(name) {
                Some(command) => did_you_mean(&[command.name]),
                None => String::new(),
            },
            None => String::new(),
        }
    }
}

/// The rest of the argument that has the option's name.
enum Attached {
    /// After a `=`.
    Value(OsString),
    /// After a short option: its value, or further short options.
    Cluster(Vec<u8>),
}

fn takes(command: &Command, option: &Opt) -> bool {
    command
        .options
        .iter()
        .chain(CLASSIC.iter().filter(|_| command.classic))
        .any(|own| std::ptr::eq(*own, option))
}

fn find_command(word: &OsStr) -> Result<&'static Command, String> {
    word.to_str().and_then(commands::find).ok_or_else(|| {
        let word = word.to_string_lossy();
        let names = COMMANDS.map(|c| c.name);
        format!(
            "argument command: invalid choice: '{word}' (choose from {}){}",
            names.map(|name| format!("'{name}'")).join(", "),
            did_you_mean(&similar(&word, names))
        )
    })
}

/// The names of which the word is a beginning of at least two letters; else the one that is nearest to it.
pub(super) fn similar<'a>(
    word: &str,
    names: impl IntoIterator<Item = &'a str> + Clone,
) -> Vec<&'a str> {
    let begun = names.clone().into_iter();
    let begun: Vec<&str> = match word.len() {
        0 | 1 => Vec::new(),
        _ => begun.filter(|name| name.starts_with(word)).collect(),
    };
    match begun.is_empty() {
        true => nearest(word, names).into_iter().collect(),
        false => begun,
    }
}

/// A line of its own for the end of an error; empty if there is nothing to propose.
pub(super) fn did_you_mean(names: &[&str]) -> String {
    match names.is_empty() {
        true => String::new(),
        false => format!("\nDid you mean {}?", names.join(" or ")),
    }
}

#[cfg(test)]
#[path = "args_tests.rs"]
mod tests;
