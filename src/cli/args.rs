//! The command line (cli.md §1, §2), read as GNU programs and Python's argparse read it.
//!
//! Each option is declared once, in [`OPTIONS`]; parsing, usage text and help come from there.

use std::ffi::{OsStr, OsString};
use std::fmt::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// The name under which the program speaks of itself.
pub const PROGRAM: &str = "scalyr-agent-2";

/// What the program is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Start the agent.
    Start,
    /// End the running agent.
    Stop,
    /// Ask whether it runs and how it is.
    Status,
    /// Stop, if it runs, and start.
    Restart,
    /// Stop and start, but only if it runs.
    Condrestart,
    /// Print the version.
    Version,
    /// The configuration tool, which is not there yet.
    Config,
    /// Print the events that would be sent for some files.
    DryRun,
    /// Say what becomes of a file and why.
    Explain,
}

impl Command {
    /// How many files it takes, at least and at most; `None`: no arguments.
    fn files(self) -> Option<(usize, usize)> {
        match self {
            Command::DryRun => Some((1, usize::MAX)),
            Command::Explain => Some((1, 1)),
            _ => None,
        }
    }
}

/// Every command with its name, in the order of the help.
const COMMANDS: [(&str, Command); 9] = [
    ("start", Command::Start),
    ("stop", Command::Stop),
    ("status", Command::Status),
    ("restart", Command::Restart),
    ("condrestart", Command::Condrestart),
    ("version", Command::Version),
    ("config", Command::Config),
    ("dry-run", Command::DryRun),
    ("explain", Command::Explain),
];

/// The options, as given. Defaults that depend on the installation are not filled in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// `-c`: the main configuration file.
    pub config_file: Option<PathBuf>,
    /// `--extra-config-dir`: a second folder of fragments.
    pub extra_config_dir: Option<PathBuf>,
    /// `-q`: no progress lines on stdout.
    pub quiet: bool,
    /// `-v`: the whole status report.
    pub verbose: bool,
    /// `-H`: one line about the health.
    pub health_check: bool,
    /// `--format` of the status report; checked by the command, as the original does.
    pub format: Option<String>,
    /// `--no-fork`: stay in the foreground.
    pub no_fork: bool,
    /// `--no-check-remote-server`: no request before the start.
    pub no_check_remote_server: bool,
    /// `--no-change-user`: never switch to the owner of the configuration file.
    pub no_change_user: bool,
    /// `-p`: the pid file to use if the configuration can't be read.
    pub pid_file: Option<PathBuf>,
    /// `--debug`: accepted for compatibility.
    pub debug: bool,
    /// `--from-checkpoint`: begin where checkpoints say.
    pub from_checkpoint: bool,
    /// The files that the command is about.
    pub files: Vec<PathBuf>,
}

/// A parsed command line.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed {
    /// Run this.
    Run(Command, Options),
    /// Print this to stdout and exit 0.
    Help(String),
    /// Print this to stderr and exit 2.
    Usage(String),
}

/// What to do with an option's value, or with its presence.
#[derive(Clone, Copy)]
enum Action {
    Flag(fn(&mut Options)),
    /// The name of the value in the help, and where it goes. An error says what is wrong with it.
    Value(
        &'static str,
        fn(&mut Options, OsString) -> Result<(), String>,
    ),
    Help,
}

struct Opt {
    short: Option<u8>,
    long: &'static str,
    action: Action,
    help: &'static str,
}

const fn opt(short: Option<u8>, long: &'static str, action: Action, help: &'static str) -> Opt {
    Opt {
        short,
        long,
        action,
        help,
    }
}

use Action::{Flag, Help, Value};

const OPTIONS: [Opt; 14] = [
    opt(Some(b'h'), "help", Help, "Show this text."),
    opt(
        Some(b'c'),
        "config-file",
        Value("FILE", |o, v| {
            o.config_file = Some(v.into());
            Ok(())
        }),
        "The main configuration file.",
    ),
    opt(
        None,
        "extra-config-dir",
        Value("PATH", |o, v| {
            o.extra_config_dir = Some(v.into());
            Ok(())
        }),
        "A second folder of *.json fragments.",
    ),
    opt(
        Some(b'q'),
        "quiet",
        Flag(|o| o.quiet = true),
        "start, stop: no progress lines; errors stay.",
    ),
    opt(
        Some(b'v'),
        "verbose",
        Flag(|o| o.verbose = true),
        "status: the whole report, file by file.",
    ),
    opt(
        Some(b'H'),
        "health_check",
        Flag(|o| o.health_check = true),
        "status: one line about the health.",
    ),
    opt(
        None,
        "format",
        Value("FORMAT", |o, v| {
            o.format = Some(v.to_string_lossy().into_owned());
            Ok(())
        }),
        "status -v: \"text\" (default) or \"json\".",
    ),
    opt(
        None,
        "no-fork",
        Flag(|o| o.no_fork = true),
        "start: stay in the foreground.",
    ),
    opt(
        None,
        "no-check-remote-server",
        Flag(|o| o.no_check_remote_server = true),
        "start: do not try the server first.",
    ),
    opt(
        None,
        "no-change-user",
        Flag(|o| o.no_change_user = true),
        "Do not become the owner of the configuration file.",
    ),
    opt(
        Some(b'p'),
        "pid-file",
        Value("FILE", |o, v| {
            o.pid_file = Some(v.into());
            Ok(())
        }),
        "The pid file, if the configuration is unreadable.",
    ),
    opt(
        None,
        "from-checkpoint",
        Flag(|o| o.from_checkpoint = true),
        "dry-run: only what is not sent yet.",
    ),
    opt(
        None,
        "debug",
        Flag(|o| o.debug = true),
        "Accepted for compatibility.",
    ),
    opt(
        None,
        "stats-capture-interval",
        Value("SECONDS", |_, v| {
            let text = v.to_string_lossy();
            match text.trim().parse::<f64>() {
                Ok(_) => Ok(()),
                Err(_) => Err(format!("invalid float value: '{text}'")),
            }
        }),
        "Accepted for compatibility.",
    ),
];

const USAGE: &str =
    "usage: scalyr-agent-2 [options] (start|stop|status|restart|condrestart|version|config)\n       \
     scalyr-agent-2 [options] (dry-run FILE...|explain PATH)\n";

/// Reads the arguments that follow the program's name.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Parsed {
    match try_parse(arguments.into_iter()) {
        Ok(parsed) => parsed,
        Err(error) => Parsed::Usage(format!("{USAGE}{PROGRAM}: error: {error}\n")),
    }
}

fn try_parse(mut arguments: impl Iterator<Item = OsString>) -> Result<Parsed, String> {
    let mut options = Options::default();
    let mut command: Option<Command> = None;
    let mut only_positionals = false;
    let mut queue: Option<OsString> = None;
    while let Some(argument) = queue.take().or_else(|| arguments.next()) {
        let bytes = argument.as_bytes();
        if only_positionals || bytes.len() < 2 || bytes[0] != b'-' {
            if let Some((_, most)) = command.and_then(Command::files) {
                options.files.push(argument.into());
                if options.files.len() <= most {
                    continue;
                }
                let extra = options.files.pop().unwrap_or_default();
                return Err(format!("unrecognized arguments: {}", extra.display()));
            }
            if command.is_some() {
                return Err(format!(
                    "unrecognized arguments: {}",
                    argument.to_string_lossy()
                ));
            }
            let found = find_command(&argument)?;
            if found == Command::Config {
                // What follows belongs to the configuration tool.
                return Ok(Parsed::Run(found, options));
            }
            command = Some(found);
            continue;
        }
        if bytes == b"--" {
            only_positionals = true;
            continue;
        }
        let (option, name, attached) = match bytes.strip_prefix(b"--") {
            Some(long) => find_long(long)?,
            None => find_short(bytes)?,
        };
        match option.action {
            Help => return Ok(Parsed::Help(help(command))),
            Flag(set) => {
                set(&mut options);
                match attached {
                    None => {}
                    // -qv is -q -v
                    Some(Attached::Cluster(rest)) => {
                        let mut next = b"-".to_vec();
                        next.extend_from_slice(&rest);
                        queue = Some(OsString::from_vec(next));
                    }
                    Some(Attached::Value(value)) => {
                        return Err(format!(
                            "argument {name}: ignored explicit argument '{}'",
                            value.to_string_lossy()
                        ));
                    }
                }
            }
            Value(_, set) => {
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
                set(&mut options, value).map_err(|error| format!("argument {name}: {error}"))?;
            }
        }
    }
    match command {
        Some(command) => match command.files() {
            Some((least, _)) if options.files.len() < least => {
                Err("the following arguments are required: a file".to_owned())
            }
            _ => Ok(Parsed::Run(command, options)),
        },
        None => Err("the following arguments are required: command".to_owned()),
    }
}

/// What stood in the same argument as the option's name.
enum Attached {
    /// After a `=`.
    Value(OsString),
    /// After a short option: its value, or further short options.
    Cluster(Vec<u8>),
}

type Found = (&'static Opt, String, Option<Attached>);

fn find_long(text: &[u8]) -> Result<Found, String> {
    let (name, value) = match text.iter().position(|byte| *byte == b'=') {
        Some(at) => (
            &text[..at],
            Some(Attached::Value(
                OsStr::from_bytes(&text[at + 1..]).to_owned(),
            )),
        ),
        None => (text, None),
    };
    let candidates: Vec<&Opt> = match OPTIONS.iter().find(|o| o.long.as_bytes() == name) {
        Some(exact) => vec![exact],
        None => OPTIONS
            .iter()
            .filter(|o| o.long.as_bytes().starts_with(name))
            .collect(),
    };
    match candidates.as_slice() {
        [one] => Ok((one, one.names(), value)),
        [] => Err(format!(
            "unrecognized arguments: --{}",
            String::from_utf8_lossy(text)
        )),
        several => Err(format!(
            "ambiguous option: --{} could match {}",
            String::from_utf8_lossy(text),
            several
                .iter()
                .map(|o| format!("--{}", o.long))
                .collect::<Vec<_>>()
                .join(", ")
        )),
    }
}

fn find_short(argument: &[u8]) -> Result<Found, String> {
    let rest = &argument[2..];
    match OPTIONS.iter().find(|o| o.short == Some(argument[1])) {
        Some(option) => Ok((
            option,
            option.names(),
            (!rest.is_empty()).then(|| Attached::Cluster(rest.to_vec())),
        )),
        None => Err(format!(
            "unrecognized arguments: {}",
            String::from_utf8_lossy(argument)
        )),
    }
}

fn find_command(word: &OsStr) -> Result<Command, String> {
    match COMMANDS.iter().find(|(name, _)| OsStr::new(name) == word) {
        Some((_, command)) => Ok(*command),
        None => Err(format!(
            "argument command: invalid choice: '{}' (choose from {})",
            word.to_string_lossy(),
            COMMANDS.map(|(name, _)| format!("'{name}'")).join(", ")
        )),
    }
}

impl Opt {
    /// `-c/--config-file`, as error messages call it.
    fn names(&self) -> String {
        match self.short {
            Some(short) => format!("-{}/--{}", char::from(short), self.long),
            None => format!("--{}", self.long),
        }
    }
}

fn help(command: Option<Command>) -> String {
    match command {
        Some(Command::DryRun) => return super::dry_run::HELP.to_owned(),
        Some(Command::Explain) => return super::explain::HELP.to_owned(),
        _ => {}
    }
    let mut text = format!(
        "{USAGE}\nCollects log files and metrics and sends them to the ingest server.\n\n\
         positional arguments:\n  {{{}}}\n\noptions:\n",
        COMMANDS.map(|(name, _)| name).join(",")
    );
    for option in &OPTIONS {
        let short = match option.short {
            Some(short) => format!("-{}, ", char::from(short)),
            None => "    ".to_owned(),
        };
        let value = match option.action {
            Value(value, _) => format!(" {value}"),
            _ => String::new(),
        };
        // Writing to a String can't fail.
        let _ = writeln!(
            text,
            "  {short}{:<32} {}",
            format!("--{}{value}", option.long),
            option.help
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Parsed {
        parse(line.split_ascii_whitespace().map(OsString::from))
    }

    fn run(line: &str) -> (Command, Options) {
        match parsed(line) {
            Parsed::Run(command, options) => (command, options),
            other => panic!("{line}: {other:?}"),
        }
    }

    fn usage(line: &str) -> String {
        match parsed(line) {
            Parsed::Usage(text) => text,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn options_are_found_wherever_and_however_they_stand() {
        let expected = run("-c /a/b.json -v --format json status");
        assert_eq!(expected.0, Command::Status);
        assert_eq!(expected.1.config_file, Some("/a/b.json".into()));
        for same in [
            "status -v -c /a/b.json --format json",
            "status --config-file=/a/b.json --verbose --format=json",
            "-vc/a/b.json status --form json",
            "-v --conf /a/b.json --format=json -- status",
            "-v -c=/a/b.json status --format json",
        ] {
            assert_eq!(run(same), expected, "{same}");
        }
        assert!(run("status --health").1.health_check);
        assert!(run("status -H").1.health_check);
        let (_, both) = run("start -qv --no-f --no-change --no-check");
        assert!(both.quiet && both.verbose && both.no_fork);
        assert!(both.no_change_user && both.no_check_remote_server);
        assert_eq!(run("status -c= --format=").1.format.as_deref(), Some(""));
    }

    #[test]
    fn what_does_not_fit_is_a_usage_error_that_names_it() {
        // cli.md §1 and argparse's own rules
        for (line, part) in [
            ("", "required: command"),
            ("-v", "required: command"),
            ("--version", "unrecognized arguments: --version"),
            (
                "bogus",
                "invalid choice: 'bogus' (choose from 'start', 'stop'",
            ),
            ("start stop", "unrecognized arguments: stop"),
            ("status --health-check", "--health-check"),
            (
                "start --no",
                "--no-fork, --no-check-remote-server, --no-change-user",
            ),
            ("start -c", "-c/--config-file: expected one argument"),
            (
                "-c --no-fork start",
                "-c/--config-file: expected one argument",
            ),
            ("start --no-fork=yes", "ignored explicit argument 'yes'"),
            ("start -x", "unrecognized arguments: -x"),
            ("status --stats-capture-interval soon", "'soon'"),
        ] {
            let text = usage(line);
            assert!(text.starts_with("usage: scalyr-agent-2 "), "{line}: {text}");
            assert!(text.contains(part), "{line}: {text}");
        }
    }

    #[test]
    fn config_takes_the_rest_of_the_line_wherever_options_stand_before_it() {
        for line in ["config --set-key K", "-c FILE config --set-key K", "config"] {
            assert_eq!(run(line).0, Command::Config, "{line}");
        }
    }

    #[test]
    fn files_go_to_the_commands_that_take_them() {
        let (command, options) = run("-c /a.json dry-run x --from-checkpoint y -- -z");
        assert_eq!(command, Command::DryRun);
        assert!(options.from_checkpoint);
        assert_eq!(options.files, ["x", "y", "-z"].map(PathBuf::from));
        assert_eq!(run("explain /a/b").1.files, [PathBuf::from("/a/b")]);
        assert!(usage("explain").contains("required: a file"));
        assert!(usage("dry-run -v").contains("required: a file"));
        assert!(usage("explain a b").contains("unrecognized arguments: b"));
        for command in ["dry-run", "explain"] {
            let Parsed::Help(text) = parsed(&format!("{command} --help")) else {
                panic!()
            };
            assert!(text.starts_with("usage: scalyr-agent-2 "), "{text}");
            assert!(text.contains(command) && text.lines().all(|l| l.len() <= 80));
        }
    }

    #[test]
    fn the_help_fits_a_screen_and_names_every_option() {
        let Parsed::Help(text) = parsed("status -h") else {
            panic!()
        };
        assert!(text.starts_with(
            "usage: scalyr-agent-2 [options] (start|stop|status|restart|condrestart|version|config)"
        ));
        assert!(text.contains("{start,stop,status,restart,condrestart,version,config"));
        assert!(text.lines().count() <= 24, "{text}");
        for line in text.lines().skip(1) {
            assert!(line.len() <= 100, "{line}");
        }
        assert!(OPTIONS
            .iter()
            .all(|o| text.contains(&format!("--{}", o.long))));
        assert_eq!(parsed("--help"), Parsed::Help(text));
    }

    #[test]
    fn a_path_may_be_any_bytes() {
        let path = OsString::from_vec(b"/tmp/\xff.json".to_vec());
        match parse([OsString::from("stop"), "-c".into(), path.clone()]) {
            Parsed::Run(_, options) => assert_eq!(options.config_file, Some(path.into())),
            other => panic!("{other:?}"),
        }
    }
}
