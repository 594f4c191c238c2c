//! `status`, `status -v` and `status -H`.

use super::setup::{Place, Setup};
use super::status_debug::Watch;
use super::{err, exit, harmless, harmless_lines, out};
use crate::process::target;
use crate::status::health::{self, Severity};
use crate::status::protocol::{request, Format, NoReport};
use nix::sys::signal::Signal;

/// Runs the command.
pub(super) fn status(setup: &Setup) -> i32 {
    let options = &setup.options;
    if !options.verbose && !options.health_check {
        let place = setup.place(false);
        return match place.running() {
            Some(_) => {
                out("The agent is running. For details, use \"scalyr-agent-2 status -v\".");
                exit::OK
            }
            None => {
                tell_doubt(&place);
                out("The agent does not appear to be running.");
                exit::RUNNING_OR_NOT
            }
        };
    }
    let format = match options.format.as_deref().unwrap_or("text") {
        _ if options.health_check => Format::Json,
        "text" if !options.all => Format::Short,
        "text" => Format::Text,
        "json" => Format::Json,
        name => {
            out(format_args!(
                "The status format \"{name}\" is not known; it is either \"text\" or \"json\"."
            ));
            return exit::FAILED;
        }
    };
    let place = setup.place(true);
    // A caller who may not change the user may still be allowed to ask.
    let _ = setup.change_user("get the status of the agent");
    let Some(pid) = place.running() else {
        tell_doubt(&place);
        out("The agent does not appear to be running.");
        out(place.not_running_line());
        return exit::FAILED;
    };
    let target = match place.target(pid) {
        Ok(target) => target,
        Err(why) => {
            err(why);
            return exit::FAILED;
        }
    };
    let wake = || target.ask(Signal::SIGUSR1);
    let watch = options.debug.then(|| {
        let interval = options.stats_capture_interval.unwrap_or(Watch::INTERVAL);
        Watch::start(pid, &place.data_dir, interval)
    });
    match request(pid, &place.data_dir, &wake, format, place.status_timeout) {
        Ok(report) if options.health_check => tell_health(&report, options.delivery),
        Ok(report) => {
            out(harmless_lines(&report));
            match health::of_report(&report) {
                Some(health) if health::is_bad(&health, options.delivery) => exit::UNHEALTHY,
                _ => exit::OK,
            }
        }
        Err(reason) => {
            let late = matches!(reason, NoReport::TimedOut);
            let code = complain(&place, pid, &reason);
            if let Some(seen) = watch.filter(|_| late).map(Watch::end) {
                err(format_args!("Debug stats: {}", harmless(seen)));
            }
            code
        }
    }
}

fn tell_doubt(place: &Place) {
    if let Some(doubt) = place.doubt_line() {
        err(doubt);
    }
}

/// The first line is the health; the problem that it names has its remedy beneath, and further ones have
/// lines of their own.
fn tell_health(report: &str, delivery: bool) -> i32 {
    let told = health::judge(report);
    let (code, mut named) = match &told.health {
        None => {
            out("Cannot get health check result.");
            (exit::UNKNOWN_HEALTH, false)
        }
        Some(health) if health::is_good(health) => {
            out("Health check: Good");
            (exit::OK, false)
        }
        Some(health) => {
            out(format_args!("Health check: {}", harmless(health)));
            match health::is_bad(health, delivery) {
                true => (exit::UNHEALTHY, true),
                false => (exit::OK, true),
            }
        }
    };
    for problem in &told.problems {
        let label = match problem.severity {
            Severity::Warning => "Warning",
            Severity::Stuck | Severity::Bad => "Problem",
        };
        if !std::mem::take(&mut named) {
            out(format_args!("{label}: {}", harmless(&problem.text)));
        }
        out(format_args!("Remedy: {}", harmless(&problem.remedy)));
    }
    code
}

fn complain(place: &Place, pid: i32, reason: &NoReport) -> i32 {
    err(why(place, pid, reason));
    match reason {
        NoReport::NotPermitted => exit::NOT_PERMITTED,
        _ => exit::FAILED,
    }
}

/// Why the agent with this pid gave no report, and what to do, in one or two lines.
pub(super) fn why(place: &Place, pid: i32, reason: &NoReport) -> String {
    match reason {
        NoReport::NoDataDir => format!(
            "Cannot get status: the agent data directory '{}' is not a directory.",
            place.data_dir.display()
        ),
        NoReport::NotWritable(file) => format!(
            "Cannot get status due to insufficient permissions.  The current user does not have \
             write access to \"{}\" as required.",
            file.display()
        ),
        NoReport::Io(file, error) => {
            format!("Cannot get status: \"{}\": {error}", file.display())
        }
        NoReport::NotRunning => {
            "Cannot get status: the agent does not appear to be running.".to_owned()
        }
        NoReport::NotPermitted => {
            "Cannot get status: the current user may not send a signal to the agent. Run this \
             command again as the user that the agent runs as, or as root."
                .to_owned()
        }
        NoReport::TimedOut => {
            let late = format!(
                "Failed to get status within {} seconds.  Giving up.  The agent process is \
                 possibly stuck.  See {} for more details.",
                place.status_timeout.as_secs(),
                place.log_file.display()
            );
            match target::is_stopped(pid) {
                true => format!(
                    "{late}\nThe process is stopped, by SIGSTOP for example: kill -CONT {pid} \
                     lets it go on."
                ),
                false => late,
            }
        }
    }
}
