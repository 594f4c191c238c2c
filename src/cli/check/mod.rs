//! `check`: the doctor. Looks at everything that a running agent depends on and gives each thing a
//! verdict and, where it is not good, what to do. Changes nothing; sends one empty request.

mod files;
mod machine;
mod report;
mod server;
mod services;

pub(super) use server::advice;

use super::setup::{Place, Setup};
use super::{exit, status};
use crate::agent::insight;
use crate::config::Config;
use crate::status::health;
use crate::status::protocol::{request, Format, NoReport};
use crate::util::words::count;
use nix::sys::signal::Signal;
use report::Report;

/// Runs the command. Exit code 1 if something has to be done.
pub(super) fn check(setup: Setup) -> i32 {
    let mut report = Report::new(setup.options.quiet);
    report.section("Configuration");
    // Before the change of user: root sees more processes
    let place = Place::of_setup(&setup);
    user(&mut report, &setup);
    let config = configuration(&mut report, &setup);
    if setup.options.configuration_only {
        return end(&report);
    }
    let Some(config) = config else {
        report.section("The agent");
        running(
            &mut report,
            &place,
            "First correct the configuration, then: scalyr-agent-2 start",
        );
        return end(&report);
    };
    report.section("This machine");
    machine::check(&mut report, &config);
    report.section("Files");
    files::check(&mut report, &config);
    report.section("Servers");
    server::check(&mut report, &config);
    if let Ok(monitors) = insight::plan(&config) {
        services::check(&mut report, &monitors);
    }
    report.section("The agent");
    running(&mut report, &place, "scalyr-agent-2 start");
    end(&report)
}

fn end(report: &Report) -> i32 {
    report.sum();
    match report.failures() {
        0 => exit::OK,
        _ => exit::FAILED,
    }
}

fn user(report: &mut Report, setup: &Setup) {
    let who = || {
        let uid = nix::unistd::geteuid();
        let user = nix::unistd::User::from_uid(uid).ok().flatten();
        user.map_or_else(|| uid.to_string(), |user| user.name)
    };
    match setup.change_user("check as the agent's user") {
        Ok(()) => report.good(format_args!("checked as {}, as whom the agent runs", who())),
        Err(why) => report.doubt(
            format_args!("checked as {}, not as the agent's user", who()),
            &format!("{why} What follows about permissions may differ: run this as root."),
        ),
    }
}

fn configuration(report: &mut Report, setup: &Setup) -> Option<Config> {
    let config = match Config::load(&setup.source) {
        Ok(config) => config,
        Err(error) => {
            match setup.hint_if_missing() {
                Some(hint) => report.bad(error, &hint),
                None => report.bad(error, "Correct it; the rest can't be checked before."),
            }
            return None;
        }
    };
    let fragments = config.fragments.len();
    report.good(format_args!(
        "{} and {} can be read",
        config.main_file.display(),
        count(fragments as u64, "fragment")
    ));
    for warning in config.warnings.iter().filter(|w| w.unused.is_none()) {
        report.warn(&warning.text, "");
    }
    if let Err(error) = config.check_start() {
        report.bad(error, "The agent does not start like this.");
    }
    match insight::plan(&config) {
        Err(why) => report.bad(why, "The agent does not start like this."),
        Ok(monitors) => {
            let names: Vec<String> = monitors.iter().map(monitors::Plan::name).collect();
            let names = match names.is_empty() {
                true => "none".to_owned(),
                false => names.join(", "),
            };
            let unused = insight::unused(&config, &monitors);
            let rules = match unused.is_empty() {
                true => "every rule and monitor makes sense",
                false => "every rule makes sense",
            };
            report.good(format_args!("{rules}; monitors: {names}"));
            for part in unused {
                report.warn(part.what, part.todo);
            }
            for warning in monitors.iter().flat_map(monitors::Plan::warnings) {
                report.warn(warning, "");
            }
        }
    }
    Some(config)
}

/// Reports whether it runs, and how it says it is. `start` is the advice if it does not run.
fn running(report: &mut Report, place: &Place, start: &str) {
    let Some(pid) = place.running() else {
        match place.doubt_line() {
            Some(doubt) => report.doubt(doubt, ""),
            None => report.doubt("no agent runs", start),
        }
        return;
    };
    report.good(format_args!("it runs with the process id {pid}"));
    let target = match place.target(pid) {
        Ok(target) => target,
        Err(why) => {
            report.bad("it can't be asked how it is", &why);
            return;
        }
    };
    let wake = || target.ask(Signal::SIGUSR1);
    let asked = report.wait("its status", || {
        request(
            pid,
            &place.data_dir,
            &wake,
            Format::Json,
            place.status_timeout,
        )
    });
    let text = match asked {
        Ok(text) => text,
        Err(reason) => {
            let todo = status::why(place, pid, &reason);
            match reason {
                NoReport::NotWritable(_) | NoReport::NotPermitted => {
                    report.doubt("this user may not ask it how it is", &todo);
                }
                _ => report.bad("it does not answer", &todo),
            }
            return;
        }
    };
    let told = health::judge(&text);
    let mut problems = told.problems.iter();
    match told.health {
        None => report.doubt(
            "it can't say yet how it is",
            "It has only just started: ask again in a minute.",
        ),
        Some(health) if health::is_good(&health) => report.good("it says that it is well"),
        Some(health) => {
            let first = problems.next().map(|problem| problem.remedy.as_str());
            report.bad(
                format_args!("it says: {health}"),
                first.unwrap_or("scalyr-agent-2 status -v tells more."),
            );
        }
    }
    for problem in problems {
        let text = format_args!("it says: {}", problem.text);
        match problem.severity {
            health::Severity::Warning => report.doubt(text, &problem.remedy),
            _ => report.bad(text, &problem.remedy),
        }
    }
}
