//! The state that ended sessions leave, and which of those that come after them get it. No path of a log is
//! touched here.

use super::session::Plan;
use super::Agent;
use crate::config::{Config, Secret, ServerUrl, Worker};
use crate::tail::Carried;

/// The target of a finished batch: one that was made for another target has to be made again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    key: Secret,
    server: ServerUrl,
    wire_form: String,
    repeat_log_attributes: bool,
    without_logs: bool,
    /// Largest request, in bytes.
    max_request: i64,
}

impl Target {
    /// That of a worker's sessions.
    pub fn of(config: &Config, worker: &Worker) -> Target {
        let options = &config.options;
        Target {
            key: worker.api_key.clone(),
            server: worker.server.clone(),
            wire_form: options.wire_form.clone(),
            repeat_log_attributes: options.repeat_log_attributes,
            without_logs: options.disable_logfile_addevents_format,
            max_request: options.max_allowed_request_size,
        }
    }
}

/// The state of a session that has ended.
pub struct Estate {
    worker: String,
    target: Target,
    pub(super) carried: Carried,
}

impl Estate {
    /// Of a session of this worker.
    pub fn new(worker: String, target: Target, carried: Carried) -> Self {
        Estate {
            worker,
            target,
            carried,
        }
    }
}

impl Agent {
    /// Divides what ended sessions have left among the plans of their workers.
    pub(super) fn bequeath(&mut self, plans: &mut [Plan]) {
        for mut estate in std::mem::take(&mut self.estates) {
            let heirs: Vec<usize> = (0..plans.len())
                .filter(|at| plans[*at].worker == estate.worker)
                .collect();
            let Some(first) = heirs.first() else {
                self.wind_up(estate);
                continue;
            };
            if plans[*first].target != estate.target {
                estate.carried.drop_batches();
            }
            if plans[*first].memory.is_none() {
                estate.carried.leave_memory();
            }
            let parts = estate.carried.divide(heirs.len() as u64);
            for (at, part) in heirs.iter().zip(parts) {
                plans[*at].carried.push(part);
            }
        }
    }

    /// Nobody goes on with this: its worker is gone.
    fn wind_up(&mut self, mut estate: Estate) {
        self.statistics.retire_totals(&estate.carried.totals());
        estate.carried.leave_memory();
        // On some file systems closing a file may hang
        let close = std::thread::Builder::new().name("close".into());
        if let Err(e) = close.spawn(move || drop(estate)) {
            log::warn!("files of logs that are not copied any more stay open for now: {e}");
        }
    }

    /// Gives up what ended sessions have left, as the agent ends: where each file stands is in the checkpoints.
    pub(super) fn give_up_estates(&mut self) {
        for mut estate in std::mem::take(&mut self.estates) {
            self.statistics.retire_totals(&estate.carried.totals());
            estate.carried.leave_memory();
            // On some file systems closing a file may hang, and the end of the process closes all
            std::mem::forget(estate);
        }
    }
}
