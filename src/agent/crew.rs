//! The running monitors: started, kept over a reload where nothing about them changed, replaced when
//! they hang, stopped.

use super::flash::Way;
use monitors::sink::LogFiles;
use monitors::{stop_all, Plan, Runner, Snapshot};
use std::time::{Duration, Instant};

/// A sample that takes longer than this, and longer than ten intervals, hangs.
const HANGS_AFTER: Duration = Duration::from_secs(300);
/// Threads that may be left behind per monitor.
const MOST_LEFT_BEHIND: u32 = 3;

/// All monitors of the agent.
pub struct Crew {
    members: Vec<Member>,
    /// Those that were asked to end and have not yet.
    late: Vec<Runner>,
    files: LogFiles,
    /// The way of metrics that are in no file.
    way: Way,
    in_memory: bool,
}

struct Member {
    runner: Runner,
    left_behind: u32,
}

/// Whether `plans` has one that would run in just the same way; it is taken out, for two entries may
/// be alike to the last letter.
fn take(plans: &mut Vec<&Plan>, plan: &Plan) -> bool {
    let at = plans.iter().position(|other| plan.same_as(other));
    at.map(|at| plans.swap_remove(at)).is_some()
}

impl Crew {
    /// Without anyone. Metrics that are in no file go by `way`.
    pub fn new(way: Way) -> Self {
        Crew {
            members: Vec::new(),
            late: Vec::new(),
            files: LogFiles::default(),
            way,
            in_memory: false,
        }
    }

    /// Asks those to end that are not among `plans` with just the options that they have; `within` is
    /// the time that they have for it.
    pub fn dismiss(&mut self, plans: &[Plan], in_memory: bool, within: Duration) {
        let same_way = in_memory == self.in_memory;
        let mut wanted: Vec<&Plan> = plans.iter().collect();
        let (stay, go) = self.members.drain(..).partition(|member| {
            let runner = &member.runner;
            same_way && !runner.is_done() && take(&mut wanted, runner.plan())
        });
        self.members = stay;
        let go: Vec<Member> = go;
        let mut ending: Vec<Runner> = go.into_iter().map(|member| member.runner).collect();
        let late = stop_all(&mut ending, within);
        if !late.is_empty() {
            log::warn!("these monitors did not stop in time: {}", late.join(", "));
        }
        for runner in &ending {
            runner.plan().forget_logs();
        }
        self.late.extend(ending);
        self.late.retain(|runner| !runner.is_done());
    }

    /// Waits until `until` for those that were asked to end and have not: what they have started, and
    /// end in turn, would outlive the agent.
    pub fn finish(&self, until: Instant) {
        for runner in &self.late {
            runner.join(until);
        }
    }

    /// Starts those of `plans` that do not run.
    pub fn hire(&mut self, plans: Vec<Plan>, in_memory: bool) {
        self.in_memory = in_memory;
        let mut running: Vec<&Plan> = self.members.iter().map(|m| m.runner.plan()).collect();
        let is_fresh = |plan: &Plan| !take(&mut running, plan);
        let fresh: Vec<Plan> = plans.into_iter().filter(is_fresh).collect();
        for plan in fresh {
            let name = plan.name();
            match self.start(plan) {
                Ok(runner) => self.members.push(Member {
                    runner,
                    left_behind: 0,
                }),
                Err(e) => log::error!("[error=\"failedMonitor\"] Can't start monitor {name}: {e}"),
            }
        }
    }

    fn start(&self, plan: Plan) -> std::io::Result<Runner> {
        match plan.metric_log().filter(|_| self.in_memory) {
            Some(log) => {
                let sink = self.way.sink(&log.path);
                Runner::start_into(plan, sink)
            }
            None => Runner::start(plan, &self.files),
        }
    }

    /// Replaces monitors that hang. Why the agent should end, if one with `stop_agent_on_failure` has
    /// failed.
    pub fn supervise(&mut self) -> Option<String> {
        for member in &mut self.members {
            let status = member.runner.status().snapshot();
            let plan = member.runner.plan();
            let patience = HANGS_AFTER.max(plan.interval().saturating_mul(10));
            let busy = Duration::from_millis(status.busy_ms.unwrap_or(0));
            let failed = member.runner.is_done() || status.restarts > 0;
            if member.runner.stops_agent() && (failed || busy > patience) {
                return Some(format!(
                    "monitor {} has died and has stop_agent_on_failure set",
                    status.name
                ));
            }
            if busy <= patience || member.left_behind >= MOST_LEFT_BEHIND {
                continue;
            }
            member.left_behind += 1;
            log::error!(
                "[error=\"failedMonitor\"] Monitor {} has been busy with one sample for {} s. Its thread is left \
                 behind and another one started; after {MOST_LEFT_BEHIND} of them that is not done again.",
                status.name,
                busy.as_secs()
            );
            let sink = match plan.metric_log() {
                Some(log) if self.in_memory => self.way.sink(&log.path),
                _ => member.runner.plan().sink(&self.files),
            };
            match member.runner.replace(sink) {
                Ok(runner) => member.runner = runner,
                Err(e) => log::error!("Can't start monitor {} anew: {e}", status.name),
            }
        }
        None
    }

    /// The counters of each monitor, and whether its end stops the agent.
    pub fn snapshots(&self) -> impl Iterator<Item = (Snapshot, bool)> + '_ {
        let one = |m: &Member| (m.runner.status().snapshot(), m.runner.stops_agent());
        self.members.iter().map(one)
    }

    /// Asks all to end and waits no longer than `within`.
    pub fn stop(&mut self, within: Duration) {
        self.dismiss(&[], self.in_memory, within);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use monitors::{Host, Place};
    use std::sync::Arc;

    const SOON: Duration = Duration::from_secs(60);

    fn plan(mean: f64) -> Plan {
        let dir = std::env::temp_dir().join(format!("crew-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let host = Host {
            place: Place::new("/", dir),
            sample_interval: 1000.0,
            jitter: false,
            rate_metrics: Arc::default(),
            rate_cleanup: 0.0,
        };
        let entry = [("gauss_mean".to_owned(), mean.into())];
        Plan::new("test_monitor", "a", &entry, &host).unwrap()
    }

    fn reload(crew: &mut Crew, plans: &[Plan]) {
        crew.dismiss(plans, true, SOON);
        crew.hire(plans.to_vec(), true);
    }

    #[test]
    fn of_two_entries_that_are_alike_each_has_its_monitor_and_one_goes_with_its_entry() {
        let mut crew = Crew::new(Way::default());
        let one = plan(1.0);
        reload(&mut crew, std::slice::from_ref(&one));
        assert_eq!(crew.members.len(), 1);
        reload(&mut crew, &[one.clone(), one.clone()]);
        assert_eq!(crew.members.len(), 2);
        let other = plan(2.0);
        reload(&mut crew, &[one.clone(), other.clone()]);
        assert_eq!(crew.members.len(), 2);
        assert!(crew.members[1].runner.plan().same_as(&other));
        reload(&mut crew, &[one]);
        assert_eq!(crew.members.len(), 1);
        crew.stop(SOON);
        assert!(crew.members.is_empty() && crew.late.is_empty());
    }
}
