//! One sample of a monitor, to see whether it can do its work.

use crate::plan::Plan;
use crate::runner::Runner;
use crate::sink::Nowhere;
use std::io;
use std::time::{Duration, Instant};

/// The course of one sample whose lines went nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// Lines that it would have written.
    pub lines: u64,
    /// From its start to its end.
    pub took: Duration,
    /// Why it failed, if it did.
    pub problem: Option<String>,
    /// Counters of the monitor that moved, such as of queries that it has no right to.
    pub counters: Vec<(&'static str, u64)>,
}

/// Takes one sample and waits for it, at most for `patience`.
///
/// # Errors
/// No thread could be made for it.
pub fn try_once(plan: &Plan, patience: Duration) -> io::Result<Trial> {
    let mut plan = plan.clone();
    plan.jitter = false;
    plan.end_after(1);
    let began = Instant::now();
    let mut runner = Runner::start_into(plan, Box::new(Nowhere))?;
    let ended = runner.join(began + patience);
    runner.stop();
    let status = runner.status().snapshot();
    let late = || format!("no end after {} s", patience.as_secs());
    Ok(Trial {
        lines: status.lines,
        took: began.elapsed(),
        problem: match ended {
            true => status.last_error.map(|(_, text)| text),
            false => Some(late()),
        },
        counters: status
            .counters
            .into_iter()
            .filter(|(_, n)| *n > 0)
            .collect(),
    })
}
