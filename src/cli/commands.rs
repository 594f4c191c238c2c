//! The table of commands. A new command is a row here and a function; its options stand
//! in [`super::options`].

use super::decl::Verdict::{Better, New, Same};
use super::decl::{Command, Complete, Operands, Run};
use super::options::{
    AGENT_CONFIG, ALL, CONFIGURATION_ONLY, CONFIG_FILE, DEBUG, DEBUG_LEVEL, DELIVERY,
    EXTRA_CONFIG_DIR, FORMAT, FROM_CHECKPOINT, HEALTH_CHECK, HELP, IGNORE_POSITIONS,
    MONITOR_CONFIG, MONITOR_DIR, MONITOR_PATH, MONITOR_PYTHON_PATH, MONITOR_SAMPLES,
    MONITOR_SAMPLE_INTERVAL, NO_CHANGE_USER, NO_CHECK_REMOTE_SERVER, NO_FORK, ONLY_FAULTS,
    PID_FILE, QUIET, RECORDS, STATS_CAPTURE_INTERVAL, VERBOSE,
};
use super::{
    check, config, dry_run, explain, generate, monitor, positions, reload, restart, start, status,
    stop, version,
};

/// Every command, in the order of the help. The first seven are the Python agent's.
pub static COMMANDS: [&Command; 14] = [
    &START,
    &STOP,
    &STATUS,
    &RESTART,
    &CONDRESTART,
    &VERSION,
    &CONFIG,
    &RELOAD,
    &CHECK,
    &DRY_RUN,
    &EXPLAIN,
    &POSITIONS,
    &MONITORS,
    &MONITOR,
];

/// The command of this name; also one that is for scripts of old alone and in no list.
pub(super) fn find(name: &str) -> Option<&'static Command> {
    let mut all = COMMANDS.into_iter().chain([&GENERATE]);
    all.find(|command| command.name == name)
}

static START: Command = Command {
    name: "start",
    summary: "Start the agent.",
    about: "\
Starts the agent as the owner of its configuration file: in the background,
unless told otherwise. Returns once it works, or tells why it does not.",
    operands: Operands::NONE,
    options: &[
        &HELP,
        &CONFIG_FILE,
        &EXTRA_CONFIG_DIR,
        &QUIET,
        &NO_FORK,
        &NO_CHECK_REMOTE_SERVER,
        &IGNORE_POSITIONS,
        &NO_CHANGE_USER,
    ],
    classic: true,
    exits: &[
        (0, "started; in the foreground: ended as it was told to"),
        (1, "not started, or ended by an error"),
        (4, "an agent runs already"),
    ],
    verdict: Better(
        "exit 4 if an agent runs already, 1 if the daemon fails after the fork or while it works \
         (0 there); \"server connection verified\" only if it was; needs no `sudo`",
    ),
    run: Run::Configured(start::start),
};

static STOP: Command = Command {
    name: "stop",
    summary: "Stop the running agent.",
    about: "\
Ends the running agent: by SIGTERM, and after 5 seconds by SIGKILL. It is found
also when its configuration is broken or gone.",
    operands: Operands::NONE,
    options: &[
        &HELP,
        &CONFIG_FILE,
        &EXTRA_CONFIG_DIR,
        &QUIET,
        &PID_FILE,
        &NO_CHANGE_USER,
    ],
    classic: true,
    exits: &[
        (0, "it has stopped, or none was running"),
        (
            1,
            "it could not be stopped, or whether one runs can't be told",
        ),
    ],
    verdict: Better("needs no `sudo`; garbage in the pid file means that nothing runs"),
    run: Run::Configured(|setup| stop::stop(&setup)),
};

static STATUS: Command = Command {
    name: "status",
    summary: "Tell whether it runs; -v: all about it; -H: its health.",
    about: "\
Tells whether the agent runs. -v asks for its whole report, -H for its health.",
    operands: Operands::NONE,
    options: &[
        &HELP,
        &CONFIG_FILE,
        &EXTRA_CONFIG_DIR,
        &VERBOSE,
        &ALL,
        &HEALTH_CHECK,
        &DELIVERY,
        &FORMAT,
        &DEBUG,
        &STATS_CAPTURE_INTERVAL,
        &PID_FILE,
        &NO_CHANGE_USER,
    ],
    classic: true,
    exits: &[
        (0, "it runs; with -v and -H: and is not stuck"),
        (1, "with -v and -H: it does not run or does not answer"),
        (
            2,
            "with -v and -H: it is stuck (--delivery: or bad), or is somebody else's",
        ),
        (3, "with -H: it can't say yet"),
        (4, "without -v and -H: it does not run"),
    ],
    verdict: Better(
        "works with a configuration that can't be read; nothing but the report on stdout; the \
         health looks at scanning, at every session and at delivery; -v fits 80 columns, and with --all has \
         the old layout",
    ),
    run: Run::Configured(|setup| status::status(&setup)),
};

static RESTART: Command = Command {
    name: "restart",
    summary: "Stop it, if it runs, and start it.",
    about: "\
Stops the agent, if it runs, and starts it. The configuration is read first: if
it is broken, the running agent stays.",
    operands: Operands::NONE,
    options: START.options,
    classic: true,
    exits: &[(0, "started"), (1, "not stopped or not started")],
    verdict: Better("as `start`"),
    run: Run::Configured(|setup| restart::restart(setup, restart::Missing::Start)),
};

static CONDRESTART: Command = Command {
    name: "condrestart",
    summary: "Restart it, but only if it runs.",
    about: "\
Stops and starts the agent if it runs; else does nothing.",
    operands: Operands::NONE,
    options: START.options,
    classic: true,
    exits: &[
        (0, "started, or none was running"),
        (1, "not stopped or not started"),
    ],
    verdict: Better("as `start`"),
    run: Run::Configured(|setup| restart::restart(setup, restart::Missing::LeaveIt)),
};

static RELOAD: Command = Command {
    name: "reload",
    summary: "Have the running agent read its configuration.",
    about: "\
Sends HUP to the running agent, at which it looks at its configuration at once.
What it makes of it is in agent.log and in `status -v`.",
    operands: Operands::NONE,
    options: &[
        &HELP,
        &CONFIG_FILE,
        &EXTRA_CONFIG_DIR,
        &PID_FILE,
        &NO_CHANGE_USER,
    ],
    classic: false,
    exits: &[
        (0, "the agent was told"),
        (1, "it could not be told"),
        (4, "none runs"),
    ],
    verdict: New,
    run: Run::Configured(|setup| reload::reload(&setup)),
};

static VERSION: Command = Command {
    name: "version",
    summary: "Print the version.",
    about: "Prints the version. Reads no file.",
    operands: Operands::NONE,
    options: &[&HELP],
    classic: true,
    exits: &[],
    verdict: Same,
    run: Run::Alone(version),
};

/// The configuration tool; also what [`super::decl::CONFIG_PROGRAM`] runs.
pub(super) static CONFIG: Command = Command {
    name: "config",
    summary: "Edit the configuration (also scalyr-agent-2-config).",
    about: "\
Edits the configuration in place: comments, layout, owner and mode of a file
stay. A running agent takes changes up by itself. Options work in this order:",
    operands: Operands::NONE,
    options: config::OPTIONS,
    classic: false,
    exits: &[],
    verdict: Better("options may stand before the word `config`"),
    run: Run::Alone(config::config),
};

static DRY_RUN: Command = Command {
    name: "dry-run",
    summary: "Print the events that would be sent for files.",
    about: "\
Prints the events that would be sent for the named files, one JSON object a
line, by the entry of `logs` that each belongs to; a summary goes to stderr.
Sends and writes nothing and touches no checkpoint; an agent may be running.

  path, logfile    the file, and the name that is reported for it
  ts               nanoseconds since the epoch, as text; null: time of sending
  attrs, message   of the event; U+FFFD stands for bytes that are not UTF-8
  sample_rate      if a sampling rule with a rate below 1 let the event through
  sequence_number  as in the request
  worker           if it is not \"default\"",
    operands: Operands {
        usage: "FILE...",
        least: 1,
        most: usize::MAX,
        what: "a file",
        complete: Complete::File,
    },
    options: &[
        &HELP,
        &CONFIG_FILE,
        &EXTRA_CONFIG_DIR,
        &FROM_CHECKPOINT,
        &NO_CHANGE_USER,
    ],
    classic: false,
    exits: &[
        (0, "all was printed"),
        (1, "no entry copies a file, or it can't be read"),
    ],
    verdict: New,
    run: Run::Configured(|setup| dry_run::dry_run(&setup)),
};

static EXPLAIN: Command = Command {
    name: "explain",
    summary: "Say what becomes of a file and why.",
    about: "\
Says what the agent makes of a file and why: what is at the path; which entry
of `logs` copies it, and why each other one does not; what it is sent as and
by which rules; whose text it holds and what that is known by, or why it is left
alone; what checkpoints know of it, what became of that, and what is pending;
what would happen when it is rotated. The path need not exist, and may be that
of a rotated file. Sends nothing and writes nothing; an agent may be running.",
    operands: Operands {
        usage: "PATH",
        least: 1,
        most: 1,
        what: "a file",
        complete: Complete::File,
    },
    options: &[&HELP, &CONFIG_FILE, &EXTRA_CONFIG_DIR, &NO_CHANGE_USER],
    classic: false,
    exits: &[(0, "the file is copied"), (1, "it is not")],
    verdict: New,
    run: Run::Configured(|setup| explain::explain(&setup)),
};

static POSITIONS: Command = Command {
    name: "positions",
    summary: "Say what is remembered of each log.",
    about: "\
Says in words what positions.journal in agent_data_path remembers: of each log
its contents, where each lay, up to which byte it is settled, under which
sequence and number it is sent and by how much of its text it is known; where
monitors have read their streams to; and how the file itself is. With paths:
only of these logs, rotated files of them, or logs below these folders. Shows
no text of logs, no values of attributes and no keys. Writes nothing; an agent
may be running.",
    operands: Operands {
        usage: "[PATH...]",
        least: 0,
        most: usize::MAX,
        what: "",
        complete: Complete::File,
    },
    options: &[
        &HELP,
        &CONFIG_FILE,
        &EXTRA_CONFIG_DIR,
        &RECORDS,
        &NO_CHANGE_USER,
    ],
    classic: false,
    exits: &[
        (0, "all that was asked for was printed"),
        (1, "nothing is known of a path, or it can't be read"),
    ],
    verdict: New,
    run: Run::Configured(|setup| positions::positions(&setup)),
};

static CHECK: Command = Command {
    name: "check",
    summary: "Examine all that the agent depends on; say what to do.",
    about: "\
Examines everything that the agent depends on: configuration, directories and
disk space, every matched file, the limit of open files, and for each server
name, proxy, connection, certificate, clock and API key. Each gets a verdict,
and what is not good the advice what to do. Changes nothing; sends one empty
request to each server. An agent may be running.",
    operands: Operands::NONE,
    options: &[
        &HELP,
        &CONFIG_FILE,
        &EXTRA_CONFIG_DIR,
        &CONFIGURATION_ONLY,
        &ONLY_FAULTS,
        &NO_CHANGE_USER,
    ],
    classic: false,
    exits: &[
        (0, "nothing has to be done"),
        (1, "something has to be done"),
    ],
    verdict: New,
    run: Run::Configured(check::check),
};

static MONITORS: Command = Command {
    name: "monitors",
    summary: "List the monitors; with a name: all about one.",
    about: "\
Lists the monitors of this program, or tells all about one: what it does, its
options and their defaults, its metrics and their units.",
    operands: Operands {
        usage: "[NAME]",
        least: 0,
        most: 1,
        what: "",
        complete: Complete::Monitor,
    },
    options: &[&HELP],
    classic: false,
    exits: &[(2, "there is no monitor of that name")],
    verdict: New,
    run: Run::Alone(|options| monitor::list(&options)),
};

pub(super) static MONITOR: Command = Command {
    name: "monitor",
    summary: "Run one monitor alone and print its lines.",
    about: "\
Runs one monitor, or plug-in, alone: its lines go to stdout, what it has to say
besides to stderr. Ends by a signal or after the samples asked for.

  scalyr-agent-2 monitor run shell_monitor -c '{command: \"uptime\"}' -n 1",
    operands: Operands {
        usage: "run MODULE",
        least: 2,
        most: 2,
        what: "the word run and a module",
        complete: Complete::RunMonitor,
    },
    options: &[
        &HELP,
        &MONITOR_CONFIG,
        &MONITOR_SAMPLE_INTERVAL,
        &MONITOR_PATH,
        &MONITOR_PYTHON_PATH,
        &MONITOR_DIR,
        &MONITOR_SAMPLES,
        &AGENT_CONFIG,
        &DEBUG_LEVEL,
    ],
    classic: false,
    exits: &[
        (0, "it ended as it was told to"),
        (
            1,
            "its options are wrong, or it took no sample that went well",
        ),
        (2, "there is no monitor of that name"),
    ],
    verdict: Better("a command of its own; `python -m scalyr_agent.run_monitor` there"),
    run: Run::Alone(|options| monitor::run(&options)),
};

pub(super) static GENERATE: Command = Command {
    name: "generate",
    summary: "Print a man page or completions for a shell.",
    about: "\
Prints a man page (PAGE is scalyr-agent-2, scalyr-agent-2-config, agent.json or
scalyr-agent-2-monitors) or what makes a shell complete this program's commands
and options, from the files that a package or tarball has brought.",
    operands: Operands {
        usage: "bash|fish|zsh|man [PAGE]",
        least: 1,
        most: 2,
        what: "what to print",
        complete: Complete::Words(&["bash", "fish", "zsh", "man"]),
    },
    options: &[&HELP],
    classic: false,
    exits: &[(1, "no such file is here")],
    verdict: New,
    run: Run::Alone(generate::generate),
};
