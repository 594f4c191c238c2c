//! `start`: checks key, directories, positions and server, then runs the agent, as a daemon unless
//! `--no-fork` is given.

use super::setup::{Place, Setup};
use super::{check, err, exit, out};
use crate::agent::{self, insight, positions};
use crate::config::Config;
use crate::process::daemon::{self, Report, Side};
use crate::process::notify::Notifier;
use crate::process::pidfile::{self, Refused};
use crate::process::signals::Signals;
use crate::upload::{check_server, Check, UploadSettings, KEY_ADVICE};
use crate::util::random;
use crate::wire::{Envelope, EnvelopeSpec};
use nix::unistd::{access, AccessFlags};
use std::io::IsTerminal;
use std::path::Path;

/// The key in the configuration file that comes with the package.
const PLACEHOLDER_KEY: &str = "REPLACE_THIS";

/// The line below the reason of a start that fails.
const NOT_STARTED: &str = "The agent was not started. Fix the error and try again.";

/// Runs the command.
pub(super) fn start(setup: Setup) -> i32 {
    let code = started(setup);
    if code == exit::FAILED {
        // `systemctl status` may show no more than this
        let todo = "Not started; 'scalyr-agent-2 check' and the journal tell why";
        Notifier::from_env().status(todo.to_owned());
    }
    code
}

fn started(setup: Setup) -> i32 {
    if let Err(error) = setup.change_user("start the agent") {
        err(error);
        return exit::FAILED;
    }
    match setup.load(NOT_STARTED) {
        Ok(config) => begin(setup, config),
        Err(code) => code,
    }
}

/// Starts with a configuration that was read, as its final user.
pub(super) fn begin(setup: Setup, config: Config) -> i32 {
    let place = Place::of(&config);
    if let Some(pid) = place.running() {
        return already_running(&place, pid);
    }
    match try_out(&setup, &config) {
        Ok(verified) => launch(setup, config, verified),
        Err(code) => code,
    }
}

/// Tries before a start what can be tried: key, directories, checkpoints, the server. Whether the server
/// answered well.
///
/// # Errors
/// The exit code; the reason is on stderr.
pub(super) fn try_out(setup: &Setup, config: &Config) -> Result<bool, i32> {
    let ignore = setup.options.ignore_positions;
    let fit = check_requirements(config).and_then(|()| check_positions(config, ignore));
    if let Err(reason) = fit {
        err(reason);
        err(NOT_STARTED);
        return Err(exit::FAILED);
    }
    // In the foreground the agent itself tells, with the rest of its log
    if !setup.options.no_fork {
        warn(config);
    }
    check_connection(setup, config)
}

/// Starts after [`try_out`].
pub(super) fn launch(setup: Setup, config: Config, verified: bool) -> i32 {
    let place = Place::of(&config);
    // Again: the check may have taken its time.
    if let Some(pid) = place.running() {
        return already_running(&place, pid);
    }
    if setup.options.no_fork {
        return match run_agent(&place, config, setup, true, |report| {
            if let Report::Failed(reason) = report {
                err(format_args!("The agent failed to start: {reason}"));
            }
        }) {
            Ended::Refused(pid) => already_running(&place, pid),
            Ended::Code(code) => code,
        };
    }
    if !setup.options.quiet {
        out(format_args!(
            "Configuration {}verified, starting agent in background.",
            if verified {
                "and server connection "
            } else {
                ""
            }
        ));
    }
    match daemon::daemonize(daemon::START_TIMEOUT) {
        Ok(Side::Parent(report)) => tell(&place, report),
        Ok(Side::Daemon(reporter)) => {
            match run_agent(&place, config, setup, false, |report| {
                reporter.send(&report);
            }) {
                Ended::Refused(_) => exit::RUNNING_OR_NOT,
                Ended::Code(code) => code,
            }
        }
        Err(error) => {
            err(format_args!(
                "Failed to start the agent in background: {error}"
            ));
            exit::FAILED
        }
    }
}

/// Tells what of the configuration has no effect.
fn warn(config: &Config) {
    // In a process of its own: compiled rules leave heap behind, which the daemon must not inherit.
    let lines = daemon::in_child(|| insight::unused_lines(config).join("\n").into_bytes());
    let lines = lines.unwrap_or_default();
    for line in String::from_utf8_lossy(&lines).lines() {
        err(format_args!("WARNING: {line}"));
    }
    let servers = config.workers.iter();
    let problems = servers.map(|worker| UploadSettings::new(config, worker).roots_problem());
    if let Some(problem) = problems.flatten().next() {
        err(format_args!("WARNING: {problem}"));
    }
}

fn already_running(place: &Place, pid: i32) -> i32 {
    err("Failed to start agent because it is already running.");
    err(format_args!(
        "The pidfile {} exists and indicates it is running pid={pid}",
        place.pid_file.display()
    ));
    exit::RUNNING_OR_NOT
}

/// Prints the daemon's report in the process that was called; its exit code.
fn tell(place: &Place, report: Option<Report>) -> i32 {
    match report {
        Some(Report::Running) => exit::OK,
        Some(Report::AlreadyRunning(pid)) => already_running(place, pid),
        Some(Report::Failed(reason)) => {
            err(format_args!("The agent failed to start: {reason}"));
            err(format_args!(
                "See {} for details.",
                place.log_file.display()
            ));
            exit::FAILED
        }
        None => {
            err(format_args!(
                "Warning: the agent has not reported within {} seconds whether it has started. \
                 See {} for details.",
                daemon::START_TIMEOUT.as_secs(),
                place.log_file.display()
            ));
            exit::OK
        }
    }
}

/// Whether the agent would start with this configuration, as far as can be told without a start:
/// key, directories, checkpoints, and every rule and monitor.
///
/// # Errors
/// The line for stderr.
pub(super) fn could_start(config: &Config, ignore_positions: bool) -> Result<(), String> {
    check_requirements(config)?;
    check_positions(config, ignore_positions)?;
    // In a process of its own: compiled rules leave heap behind, which the daemon must not inherit.
    let plan = || insight::plan(config).err().unwrap_or_default();
    match daemon::in_child(|| plan().into_bytes()) {
        Ok(reason) if !reason.is_empty() => Err(String::from_utf8_lossy(&reason).into_owned()),
        // Without a process the start itself will tell.
        _ => Ok(()),
    }
}

/// Checks the API key, the log and data directories and the certificates; the error is for stderr.
fn check_requirements(config: &Config) -> Result<(), String> {
    let key = config.api_key.expose();
    if key.is_empty() || key == PLACEHOLDER_KEY {
        return Err(format!(
            "The configuration file '{}' has no API key yet (api_key is \"{key}\"). Get a key for \
             writing logs from your account's page of API keys and set it there.",
            config.main_file.display()
        ));
    }
    check_directory("log", Path::new(&config.options.agent_log_path))?;
    check_directory("data", Path::new(&config.options.agent_data_path))?;
    check_certificates(config)
}

/// Checks that the checkpoints can be read, unless `--ignore-positions` gives them up.
fn check_positions(config: &Config, ignore: bool) -> Result<(), String> {
    match ignore {
        true => Ok(()),
        false => positions::check(Path::new(&config.options.agent_data_path)),
    }
}

/// A certificate file that is not there would show only as failing requests, later.
fn check_certificates(config: &Config) -> Result<(), String> {
    match &config.options.ca_cert_path {
        Some(path)
            if config.server.https
                && config.options.verify_server_certificate
                && !Path::new(path).is_file() =>
        {
            Err(format!(
                "Invalid path \"{path}\" specified for the \"ca_cert_path\" config option: file \
                 does not exist"
            ))
        }
        _ => Ok(()),
    }
}

fn check_directory(which: &str, path: &Path) -> Result<(), String> {
    let shown = path.display();
    if !path.exists() {
        return Err(format!(
            "The agent {which} directory '{shown}' does not exist."
        ));
    }
    if !path.is_dir() {
        return Err(format!(
            "The agent {which} directory '{shown}' is not a directory."
        ));
    }
    if access(path, AccessFlags::W_OK | AccessFlags::X_OK).is_err() {
        return Err(format!(
            "User cannot write to agent {which} directory '{shown}'."
        ));
    }
    Ok(())
}

/// Tries the server if stdout is a terminal or `check_remote_if_no_tty` is set, and
/// `--no-check-remote-server` is not. Whether it answered well.
fn check_connection(setup: &Setup, config: &Config) -> Result<bool, i32> {
    let wanted = std::io::stdout().is_terminal() || config.options.check_remote_if_no_tty;
    if setup.options.no_check_remote_server || !wanted {
        return Ok(false);
    }
    // In a process of its own: TLS and name resolution leave threads and heap behind, which the
    // daemon must not inherit.
    let answer = daemon::in_child(|| encode(ask_server(config)));
    let server = &config.server;
    match answer.map(|bytes| decode(&bytes)) {
        Ok(Check::Good) => Ok(true),
        Ok(Check::BadClock(text)) => {
            err(format_args!(
                "The clock of this machine is too far off for the server {server} ({text}). Set \
                 it right. The agent starts nevertheless."
            ));
            Ok(false)
        }
        Ok(check @ Check::BadKey(_)) => {
            let forbids = check.forbids_start();
            let Check::BadKey(text) = check else {
                return Ok(false);
            };
            let place = config.origin("api_key");
            err(format_args!(
                "The server {server} refuses the API key: {text}. {KEY_ADVICE} {}{}",
                place.map_or_else(String::new, |place| format!("It is set in {place}. ")),
                match forbids {
                    true => "The agent was not started.",
                    false => "The agent starts and keeps trying.",
                }
            ));
            match forbids {
                true => Err(exit::FAILED),
                false => Ok(false),
            }
        }
        Ok(Check::Trouble(text)) => Ok(trouble(config, &text)),
        Err(error) => Ok(trouble(config, &error.to_string())),
    }
}

fn trouble(config: &Config, text: &str) -> bool {
    err(format_args!(
        "Could not verify the connection to {}: {text}. {} The agent starts and keeps trying; \
         --no-check-remote-server turns this check off.",
        config.server,
        match check::advice(text) {
            "" => "The address, the network or the API key may be wrong.",
            advice => advice,
        }
    ));
    false
}

fn ask_server(config: &Config) -> Check {
    let Some(worker) = config.workers.first() else {
        return Check::Good;
    };
    let settings = UploadSettings::new(config, worker);
    let envelope = Envelope::new(EnvelopeSpec {
        form: settings.form,
        token: worker.api_key.expose(),
        session: &random::session_id(),
        session_info: None,
        repeat_log_attributes: config.options.repeat_log_attributes,
        without_logs: config.options.disable_logfile_addevents_format,
    });
    check_server(&settings, &envelope)
}

fn encode(check: Check) -> Vec<u8> {
    let (kind, text) = match check {
        Check::Good => ('G', String::new()),
        Check::BadClock(text) => ('C', text),
        Check::BadKey(text) => ('K', text),
        Check::Trouble(text) => ('T', text),
    };
    format!("{kind}{text}").into_bytes()
}

fn decode(message: &[u8]) -> Check {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match message {
        [b'G', ..] => Check::Good,
        [b'C', rest @ ..] => Check::BadClock(text(rest)),
        [b'K', rest @ ..] => Check::BadKey(text(rest)),
        [b'T', rest @ ..] => Check::Trouble(text(rest)),
        _ => Check::Trouble("the check ended without a result".to_owned()),
    }
}

enum Ended {
    /// Another agent, with this pid, was faster.
    Refused(i32),
    /// It has run; its exit code.
    Code(i32),
}

/// Is the agent, until it ends: signals first, then the pid file, so that whoever finds the pid
/// may signal it.
fn run_agent(
    place: &Place,
    config: Config,
    setup: Setup,
    foreground: bool,
    report: impl FnOnce(Report) + Send + 'static,
) -> Ended {
    let signals = match Signals::install(foreground) {
        Ok(signals) => signals,
        Err(error) => {
            report(Report::Failed(format!(
                "cannot install signal handlers: {error}"
            )));
            return Ended::Code(exit::FAILED);
        }
    };
    let pid_file = match pidfile::acquire(&place.pid_file) {
        Ok(pid_file) => pid_file,
        Err(Refused::Running(pid)) => {
            report(Report::AlreadyRunning(pid));
            return Ended::Refused(pid);
        }
        Err(Refused::Io(error)) => {
            report(Report::Failed(format!(
                "cannot write the pid file '{}': {error}",
                place.pid_file.display()
            )));
            return Ended::Code(exit::FAILED);
        }
    };
    let code = agent::run(agent::Start {
        config,
        source: setup.source,
        foreground,
        ignore_positions: setup.options.ignore_positions,
        signals,
        ready: Box::new(move |result| {
            report(match result {
                Ok(()) => Report::Running,
                Err(reason) => Report::Failed(reason),
            });
        }),
    });
    drop(pid_file);
    Ended::Code(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_s_answer_survives_the_way_between_processes() {
        for check in [
            Check::Good,
            Check::BadClock("error/client/badClientClockSkew".to_owned()),
            Check::BadKey("error/client/invalidApiKey é".to_owned()),
            Check::Trouble("no route".to_owned()),
        ] {
            assert_eq!(decode(&encode(check.clone())), check);
        }
        assert!(matches!(decode(b""), Check::Trouble(_)));
    }
}
