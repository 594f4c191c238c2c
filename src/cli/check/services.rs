//! The servers that monitors ask: one sample of each, whose lines go nowhere.

use super::report::Report;
use crate::util::words::count;
use monitors::{try_once, Plan};
use std::time::Duration;

/// Longer than the longest `timeout` that such a monitor has, which is 240 s.
const PATIENCE: Duration = Duration::from_secs(250);

/// Tries each monitor that asks a server which its entry names.
pub(super) fn check(report: &mut Report, monitors: &[Plan]) {
    let mut asking = monitors
        .iter()
        .filter(|plan| plan.description().service.is_some())
        .peekable();
    if asking.peek().is_some() {
        report.section("Services");
    }
    for plan in asking {
        one(report, plan);
    }
}

fn one(report: &mut Report, plan: &Plan) {
    let name = plan.name();
    let trial = match report.wait(&name, || try_once(plan, PATIENCE)) {
        Ok(trial) => trial,
        Err(error) => {
            report.bad(format_args!("{name} can't be tried: {error}"), "");
            return;
        }
    };
    let took = trial.took.as_millis();
    let again = format!(
        "To try again after a change: scalyr-agent-2 monitor run {} -n 1 -c '{{...}}', with the options of the entry.",
        plan.description().short_name()
    );
    match trial.problem {
        Some(problem) => report.bad(format_args!("{name}: {problem}"), &again),
        None => report.good(format_args!(
            "{name}: {} in {took} ms",
            count(trial.lines, "line")
        )),
    }
    for (counter, times) in trial.counters {
        report.doubt(format_args!("{name}: {counter}: {times}"), &again);
    }
}
