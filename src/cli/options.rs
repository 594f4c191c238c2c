//! The table of the agent's options and of those of the new commands. A new option is a
//! row here, and a place in the list of each command that uses it.

use super::decl::Action::{Flag, Help, Refused, Value};
use super::decl::Verdict::{self, Better, New, Same};
use super::decl::{Complete, Opt};

/// The Python agent's options: its seven commands, all but `config`, take any of them.
pub static CLASSIC: [&Opt; 13] = [
    &HELP,
    &CONFIG_FILE,
    &EXTRA_CONFIG_DIR,
    &QUIET,
    &VERBOSE,
    &HEALTH_CHECK,
    &DEBUG,
    &STATS_CAPTURE_INTERVAL,
    &FORMAT,
    &NO_FORK,
    &NO_CHECK_REMOTE_SERVER,
    &PID_FILE,
    &NO_CHANGE_USER,
];

pub(super) static HELP: Opt = Opt {
    short: Some(b'h'),
    long: "help",
    action: Help,
    text: "Show this text.",
    more: "",
    verdict: Better("each command has a help of its own that fits a screen"),
};

pub(super) static CONFIG_FILE: Opt = Opt {
    short: Some(b'c'),
    long: "config-file",
    action: Value("FILE", Complete::File, |o, v| {
        o.config_file = Some(v.into());
        Ok(())
    }),
    text: "The main configuration file.",
    more: "A relative path counts from the working directory.",
    verdict: Same,
};

pub(super) static EXTRA_CONFIG_DIR: Opt = Opt {
    short: None,
    long: "extra-config-dir",
    action: Value("PATH", Complete::Dir, |o, v| {
        o.extra_config_dir = Some(v.into());
        Ok(())
    }),
    text: "A second folder of *.json fragments.",
    more: "A relative path counts from the folder of the main file. Instead of it the variable \
           SCALYR_EXTRA_CONFIG_DIR can be set.",
    verdict: Same,
};

pub(super) static QUIET: Opt = Opt {
    short: Some(b'q'),
    long: "quiet",
    action: Flag(|o| o.quiet = true),
    text: "No progress lines; errors stay.",
    more: "",
    verdict: Better("warnings go to stderr, so that stdout is really silent"),
};

pub(super) static VERBOSE: Opt = Opt {
    short: Some(b'v'),
    long: "verbose",
    action: Flag(|o| o.verbose = true),
    text: "The whole report, file by file.",
    more: "",
    verdict: Better("the report has more; see the list of differences"),
};

pub(super) static HEALTH_CHECK: Opt = Opt {
    short: Some(b'H'),
    long: "health_check",
    action: Flag(|o| o.health_check = true),
    text: "The health in one line, then problems.",
    more: "The first line is \"Health check: Good\", or says what is wrong. Remedies, further problems \
           and warnings follow on lines of their own. The exit code is 2 only for what a restart may mend.",
    verdict: Better(
        "looks at scanning and at every session, not at one of them, and says whether anything is \
         delivered; the exit codes are the same",
    ),
};

pub(super) static DELIVERY: Opt = Opt {
    short: None,
    long: "delivery",
    action: Flag(|o| o.delivery = true),
    text: "With -H or -v: exit 2 if it is bad.",
    more: "For monitoring systems: also where no restart could help: the key is refused, the server can't \
           be reached, a file can't be read. healthy_max_time_without_delivery says how long requests may \
           fail before that counts.",
    verdict: New,
};

pub(super) static ALL: Opt = Opt {
    short: None,
    long: "all",
    action: Flag(|o| o.all = true),
    text: "With -v: every file and figure.",
    more: "The layout of the Python agent, for scripts: its lines as they were, ours in between, however \
           long they are. Without it the report fits 80 columns, and files of the agent itself are left \
           out while they are well.",
    verdict: New,
};

pub(super) static FORMAT: Opt = Opt {
    short: None,
    long: "format",
    // The command itself refuses others: on stdout and with exit code 1, as the original does.
    action: Value("FORMAT", Complete::Words(&["text", "json"]), |o, v| {
        o.format = Some(v.to_string_lossy().into_owned());
        Ok(())
    }),
    text: "With -v: \"text\" (default) or \"json\".",
    more: "",
    verdict: Better("nothing but the JSON on stdout"),
};

pub(super) static DEBUG: Opt = Opt {
    short: None,
    long: "debug",
    action: Flag(|o| o.debug = true),
    text: "Facts, if no answer comes.",
    more: "While it waits for the answer it looks at the machine and at the agent's process. If \
           no answer comes, what it saw is added to the message as JSON.",
    verdict: Better("needs no further library; no command lines of other processes"),
};

pub(super) static STATS_CAPTURE_INTERVAL: Opt = Opt {
    short: None,
    long: "stats-capture-interval",
    action: Value("SECONDS", Complete::Nothing, |o, v| {
        let text = v.to_string_lossy();
        match text.trim().parse::<f64>() {
            Ok(seconds) if seconds.is_finite() && seconds > 0.0 => {
                o.stats_capture_interval = Some(std::time::Duration::from_secs_f64(
                    seconds.clamp(0.01, 86_400.0),
                ));
                Ok(())
            }
            _ => Err(format!("invalid float value: '{text}'")),
        }
    }),
    text: "With --debug: how often (1).",
    more: "",
    verdict: Same,
};

pub(super) static NO_FORK: Opt = Opt {
    short: None,
    long: "no-fork",
    action: Flag(|o| o.no_fork = true),
    text: "Stay in the foreground.",
    more: "For supervisors and containers. What is logged also goes to stdout, from the severity \
           of stdout_severity on.",
    verdict: Better("exit code 1 after a fatal error"),
};

pub(super) static NO_CHECK_REMOTE_SERVER: Opt = Opt {
    short: None,
    long: "no-check-remote-server",
    action: Flag(|o| o.no_check_remote_server = true),
    text: "Do not try the server first.",
    more: "Without it, and with a terminal or check_remote_if_no_tty, one request is made before \
           the start. Only the answer invalidApiKey keeps the agent from starting. After any other, also \
           one that refuses the key (noPermission), it starts and keeps trying.",
    verdict: Better("counts also without a terminal"),
};

pub(super) static IGNORE_POSITIONS: Opt = Opt {
    short: None,
    long: "ignore-positions",
    action: Flag(|o| o.ignore_positions = true),
    text: "Forget how far files were sent.",
    more: "For checkpoints that can't be read, without which the agent does not start. They are set \
           aside as *.ignored-SECONDS and not read; files are copied from where a first start would \
           begin: from their end, or from their start with copy_from_start.",
    verdict: New,
};

pub(super) static CONFIGURATION_ONLY: Opt = Opt {
    short: None,
    long: "configuration-only",
    action: Flag(|o| o.configuration_only = true),
    text: "Examine the configuration files alone.",
    more: "No log, no server and no agent. With -q this lists the parts of the Python agent's \
           configuration that have no effect here.",
    verdict: New,
};

pub(super) static ONLY_FAULTS: Opt = Opt {
    short: Some(b'q'),
    long: "quiet",
    action: Flag(|o| o.quiet = true),
    text: "Only warnings and failures.",
    more: "",
    verdict: New,
};

pub(super) static PID_FILE: Opt = Opt {
    short: Some(b'p'),
    long: "pid-file",
    action: Value("FILE", Complete::File, |o, v| {
        o.pid_file = Some(v.into());
        Ok(())
    }),
    text: "If the configuration is unreadable.",
    more:
        "The pid file to look at then. Without it the running agent of this configuration file is \
           looked for among the processes, and last agent.pid in agent_log_path.",
    verdict: Same,
};

pub(super) static NO_CHANGE_USER: Opt = Opt {
    short: None,
    long: "no-change-user",
    action: Flag(|o| o.no_change_user = true),
    text: "Stay the user that calls.",
    more: "Root becomes the owner of the configuration file otherwise.",
    verdict: Same,
};

pub(super) static MONITOR_CONFIG: Opt = Opt {
    short: Some(b'c'),
    long: "monitor-config",
    action: Value("OPTIONS", Complete::Nothing, |o, v| {
        o.monitor.options = Some(v.to_string_lossy().into_owned());
        Ok(())
    }),
    text: "Its options, as an object.",
    more: "In the dialect of configuration files, without `module`.",
    verdict: Better("also in the relaxed dialect of configuration files"),
};

pub(super) static MONITOR_SAMPLE_INTERVAL: Opt = Opt {
    short: Some(b's'),
    long: "monitor-sample-interval",
    action: Value("SECONDS", Complete::Nothing, |o, v| {
        let text = v.to_string_lossy();
        match text.trim().parse::<f64>() {
            Ok(seconds) if seconds > 0.0 => {
                o.monitor.interval = Some(seconds);
                Ok(())
            }
            _ => Err(format!("invalid float value: '{text}'")),
        }
    }),
    text: "Time between samples (5).",
    more: "`sample_interval` among its options wins.",
    verdict: Same,
};

pub(super) static MONITOR_PATH: Opt = Opt {
    short: Some(b'p'),
    long: "monitor-path",
    action: Value("DIR", Complete::Dir, |o, v| {
        o.monitor.plugin_dirs.push(v.into());
        Ok(())
    }),
    text: "A further folder of plug-ins.",
    more: "May be given several times.",
    verdict: New,
};

/// The name of the option in the Python agent's `run_monitor`.
pub(super) static MONITOR_PYTHON_PATH: Opt = Opt {
    short: None,
    long: "monitor-python-path",
    action: MONITOR_PATH.action,
    text: "The same.",
    more: "",
    verdict: Better("may be given several times"),
};

pub(super) static AGENT_CONFIG: Opt = Opt {
    short: Some(b'a'),
    long: "agent-config",
    action: Refused,
    text: "",
    more: "",
    verdict: Verdict::Refused("a monitor that runs alone reads no configuration of the agent"),
};

pub(super) static DEBUG_LEVEL: Opt = Opt {
    short: None,
    long: "debug-level",
    action: Refused,
    text: "",
    more: "",
    verdict: Verdict::Refused("monitors have no debug messages"),
};

pub(super) static MONITOR_DIR: Opt = Opt {
    short: Some(b'd'),
    long: "directory",
    action: Value("DIR", Complete::Dir, |o, v| {
        o.monitor.dir = Some(v.into());
        Ok(())
    }),
    text: "Where it writes files, if it does.",
    more: "The working directory by default.",
    verdict: New,
};

pub(super) static MONITOR_SAMPLES: Opt = Opt {
    short: Some(b'n'),
    long: "samples",
    action: Value("NUMBER", Complete::Nothing, |o, v| {
        let text = v.to_string_lossy();
        match text.trim().parse::<u64>() {
            Ok(number) if number > 0 => {
                o.monitor.samples = Some(number);
                Ok(())
            }
            _ => Err(format!("invalid int value: '{text}'")),
        }
    }),
    text: "End after so many samples.",
    more: "Of a monitor that takes none, as syslog_monitor: after so many lines. A plug-in's sample is a \
           run that ends, or what it calls one (`sample` lines, as each plug-in in Python sends them); of \
           one that stays, what it writes in an interval.",
    verdict: New,
};

pub(super) static FROM_CHECKPOINT: Opt = Opt {
    short: None,
    long: "from-checkpoint",
    action: Flag(|o| o.from_checkpoint = true),
    text: "Only what is not sent yet.",
    more: "Only what checkpoints say is not sent yet; without it each file is read from its first \
           byte.",
    verdict: New,
};

pub(super) static RECORDS: Opt = Opt {
    short: None,
    long: "records",
    action: Flag(|o| o.records = true),
    text: "Record by record, with offsets.",
    more:
        "Each record of the file with its offset and the reason why it was written, as a history. \
           With paths: the records about these logs. Older records go whenever the file is written \
           anew, and at each start.",
    verdict: New,
};
