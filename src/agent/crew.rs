//! The running monitors: started, kept over a reload where nothing about them changed, replaced when
//! they hang, stopped.

use super::flash::Way;
use monitors::sink::LogFiles;
use monitors::{stop_all, Plan, Runner, Snapshot};
use std::time::Duration;

/// A sample that takes longer than this, and longer than ten intervals, hangs.
const HANGS_AFTER: Duration = Duration::from_secs(300);
/// Threads that may be left behind per monitor.
const MOST_LEFT_BEHIND: u32 = 3;

/// All monitors of the agent.
#[derive(Default)]
pub struct Crew {
    members: Vec<Member>,
    files: LogFiles,
    /// The way of metrics that are in no file.
    pub way: Way,
    in_memory: bool,
}

struct Member {
    runner: Runner,
    left_behind: u32,
}

impl Crew {
    /// Asks those to end that are not among `plans` with just the options that they have; `within` is
    /// the time that they have for it.
    pub fn dismiss(&mut self, plans: &[Plan], in_memory: bool, within: Duration) {
        let same_way = in_memory == self.in_memory;
        let (stay, go) = self.members.drain(..).partition(|member| {
            let runner = &member.runner;
            same_way && !runner.is_done() && plans.iter().any(|p| runner.plan().same_as(p))
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
    }

    /// Starts those of `plans` that do not run.
    pub fn hire(&mut self, plans: Vec<Plan>, in_memory: bool) {
        self.in_memory = in_memory;
        let running = |plan: &Plan| {
            let mut members = self.members.iter();
            members.any(|member| member.runner.plan().same_as(plan))
        };
        let fresh: Vec<Plan> = plans.into_iter().filter(|plan| !running(plan)).collect();
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

    /// What each of them counts.
    pub fn snapshots(&self) -> impl Iterator<Item = (Snapshot, bool)> + '_ {
        let one = |m: &Member| (m.runner.status().snapshot(), m.runner.stops_agent());
        self.members.iter().map(one)
    }

    /// Asks all to end and waits no longer than `within`.
    pub fn stop(&mut self, within: Duration) {
        self.dismiss(&[], self.in_memory, within);
    }
}
