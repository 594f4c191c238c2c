//! The sessions as a whole: all are started together, watched, and ended together. Threads that hang are
//! left behind.

use super::session::Session;
use super::{left, plan, Agent};
use crate::config::Config;
use crate::process::signals::{Signal, Signals};
use crate::tail::hints::{Hints, Source};
use crate::tail::TailStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A session that is busy with one round of its files for this long is named.
const BUSY: Duration = Duration::from_secs(30);
/// One that is at one path for this long is left behind, and another one takes its place.
const HANGS: Duration = Duration::from_secs(10);
const BUSY_NAMED_EVERY: Duration = Duration::from_secs(300);
/// A tail thread that is at one path for this long is not waited for at a start, a reload or a stop.
const STUCK: Duration = Duration::from_secs(5);
/// How long the first look at all files is waited for while it gets on: longer, and `start` would take
/// the agent for one that hangs.
const FIRST_LOOK_WITHIN: Duration = Duration::from_secs(20);
/// How often a wait for threads is interrupted to see what else there is.
pub(super) const STEP: Duration = Duration::from_millis(50);
/// How long the sessions that end are asked for their totals.
pub(super) const ANSWERS_WITHIN: Duration = Duration::from_millis(300);
/// A little more than the time for the last request, for the last checkpoint.
const CHECKPOINT_WITHIN: Duration = Duration::from_millis(500);
/// How much longer than asked [`Agent::end_sessions`] takes at most.
pub(super) const BEYOND: Duration = Duration::from_millis(800);

impl Agent {
    /// Starts all sessions, and waits until each has looked at all its files once. Where one hangs, all
    /// are started again without that path.
    pub(super) fn start_sessions(
        &mut self,
        agent_log_start: Option<u64>,
        signals: &mut Signals,
    ) -> Result<(), String> {
        let until = Instant::now() + FIRST_LOOK_WITHIN;
        loop {
            self.start_each(agent_log_start, signals)?;
            if self.sessions.is_empty() {
                return Ok(());
            }
            if self.have_looked(until, signals) {
                log::info!(
                    "Copying started. Total worker sessions: {}, server {}",
                    self.sessions.len(),
                    self.config.server
                );
                return Ok(());
            }
            let within = until.saturating_duration_since(Instant::now());
            self.end_sessions(within, false, Some(signals));
            if self.stop_asked {
                return Ok(());
            }
        }
    }

    /// Starts none while a thread that was left behind is writing ([`Agent::supervise`] tries again), or if a
    /// signal to stop comes first.
    fn start_each(
        &mut self,
        agent_log_start: Option<u64>,
        signals: &mut Signals,
    ) -> Result<(), String> {
        if let Err(why) = self.left.shut_out() {
            log::error!("[error=\"leftBehind\"] Copying is not started yet: {why}");
            return Ok(());
        }
        self.left_out = self.left.paths();
        let saved = self.recall(signals)?;
        if self.stop_asked {
            return Ok(());
        }
        let mut plans = plan::sessions(
            &self.config,
            &plan::shapes(&self.config)?,
            saved.map(Arc::new).as_ref(),
            self.journal.as_ref(),
            &self.left_out,
            &self.monitor_logs,
            agent_log_start,
        );
        self.bequeath(&mut plans);
        let hints = self.hints();
        for mut plan in plans {
            plan.tail.hints.clone_from(&hints);
            plan.waker.clone_from(&self.waker);
            let id = plan.id.clone();
            let session =
                Session::start(plan).map_err(|e| format!("can't start session {id}: {e}"))?;
            log::info!("Copying manager worker session #{id} started.");
            self.sessions.push(session);
        }
        if !self.config.options.metrics_in_memory {
            self.give_up_metrics();
        }
        Ok(())
    }

    /// Where sessions get hints from the kernel, as the configuration has it by now.
    fn hints(&mut self) -> Option<Source> {
        let options = &self.config.options;
        let most = usize::try_from(options.inotify_max_watches).unwrap_or(0);
        if !options.inotify || most == 0 {
            self.hints = None;
            return None;
        }
        if self.hints.as_ref().is_none_or(|(had, _)| *had != most) {
            match Hints::start(most) {
                Ok(hints) => self.hints = Some((most, hints)),
                Err(e) => {
                    self.hints = None;
                    log::warn!(
                        "The kernel has no inotify instance to give ({e}): files are looked at in turn, as with \
                         inotify: false. fs.inotify.max_user_instances says how many a user may have"
                    );
                }
            }
        }
        self.hints.as_ref().map(|(_, hints)| hints.source())
    }

    /// Waits until it is written where each file starts. False if a session hangs and may be left behind.
    fn have_looked(&mut self, until: Instant, signals: &mut Signals) -> bool {
        for at in 0..self.sessions.len() {
            let now = Instant::now();
            while !self.sessions[at].has_looked(Instant::now() + STEP) {
                let is_stuck = self.sessions[at].stuck_for() >= STUCK;
                if is_stuck && Instant::now() < until && self.may_leave_stuck() {
                    return false;
                }
                let session = &self.sessions[at];
                if is_stuck || Instant::now() >= until {
                    log::error!(
                        "[error=\"sessionBusy\"] The session {} has not ended its first look at its files within \
                         {} s and is at {}: it copies nothing until then. Of a file that no checkpoint knows, \
                         lines that come meanwhile count as written before the start",
                        session.id,
                        now.elapsed().as_secs(),
                        session.at().display()
                    );
                    break;
                }
                if self.attend(signals) {
                    return true;
                }
            }
        }
        true
    }

    /// Whether all sessions that hang may be left behind.
    fn may_leave_stuck(&mut self) -> bool {
        let stuck = self.sessions.iter().filter(|s| s.stuck_for() >= STUCK);
        let stuck = stuck.count();
        self.left.count() + stuck <= left::MOST
    }

    /// To be called often while something is waited for. True if the agent is to stop.
    pub(super) fn attend(&mut self, signals: &mut Signals) -> bool {
        self.notifier.alive();
        if self.stop_asked {
            return true;
        }
        match signals.urgent() {
            Some(Signal::Stop) => {
                log::info!("Received signal to shutdown, attempt to shutdown cleanly.");
                self.stop_asked = true;
            }
            Some(Signal::Status) => self.report_status(),
            Some(Signal::Reload) | None => {}
        }
        self.stop_asked
    }

    /// Starts anew what has died. A reason to end the agent, if there is one.
    pub(super) fn supervise(&mut self, signals: &mut Signals) -> Option<String> {
        for session in &self.sessions {
            let (busy, stuck) = (session.busy_for(), session.stuck_for());
            let is_named = busy >= BUSY || stuck >= HANGS;
            if is_named && self.throttle.allow(&session.id, BUSY_NAMED_EVERY) {
                log::error!(
                    "[error=\"sessionBusy\"] The session {} has been busy with one round of its files for {} s and is \
                     at {}: none of its logs is copied meanwhile. A mount that does not answer, a scanner that \
                     does not let files be opened or a folder tree without end makes such rounds",
                    session.id,
                    busy.as_secs(),
                    session.at().display()
                );
            }
        }
        let may_restart = self.may_leave_stuck();
        let why = if self.sessions.iter().any(Session::has_died) {
            self.restarts += u32::from(may_restart);
            let why = "[error=\"logCopierFailed\"] A thread of an upload session has died";
            Some((log::Level::Error, why))
        } else if self.sessions.iter().any(|s| s.stuck_for() >= HANGS) {
            Some((log::Level::Warn, "A session hangs"))
        } else if self.left.paths() != self.left_out {
            let why = "A path that was left out answers";
            Some((log::Level::Info, why))
        } else {
            None
        };
        if let Some((level, why)) = why.filter(|_| may_restart) {
            log::log!(level, "{why}; all sessions are started anew");
            self.end_sessions(Duration::from_secs(15), false, Some(signals));
        }
        // Also those that a reload could not start
        if self.sessions.is_empty() && !self.stop_asked {
            if let Err(why) = self.start_sessions(None, signals) {
                return Some(why);
            }
        }
        self.crew.supervise()
    }

    /// Makes sure that a reload will not leave too many threads behind.
    ///
    /// # Errors
    /// That it would.
    pub(super) fn leaves_few_behind(
        &mut self,
        config: &Config,
        signals: &mut Signals,
    ) -> Result<(), String> {
        if config.same_as(&self.config)
            || self.copying_goes_on(config, &self.monitor_plans(config)?)
        {
            return Ok(());
        }
        let mut stuck = Vec::new();
        for at in 0..self.sessions.len() {
            let steps = self.sessions[at].steps();
            let until = Instant::now() + STUCK + STEP;
            // Until it waits for something to do, or gets on
            while !self.sessions[at].busy_for().is_zero()
                && self.sessions[at].steps() == steps
                && Instant::now() < until
            {
                let session = &self.sessions[at];
                if session.stuck_for() >= STUCK {
                    stuck.push(session.at().display().to_string());
                    break;
                }
                if self.attend(signals) {
                    return Ok(());
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        let left = self.left.count();
        if stuck.is_empty() || left + stuck.len() <= left::MOST {
            return Ok(());
        }
        stuck.extend(self.left.lines());
        Err(format!(
            "it would leave {} threads behind that hang, which is more than {}. It is taken over as soon as \
             enough of them have ended; they hang at {}",
            stuck.len(),
            left::MOST,
            stuck.join(", ")
        ))
    }

    /// Ends all sessions, waiting for requests under way until `within` is over, or, with
    /// `signals`, until a signal to stop comes. Threads that hang are left behind. Unless they `flush`, the state of
    /// the others is kept for those that come after them.
    pub(super) fn end_sessions(
        &mut self,
        within: Duration,
        flush: bool,
        mut signals: Option<&mut Signals>,
    ) {
        let answers = Instant::now() + ANSWERS_WITHIN;
        let states = self.sessions.iter().map(|s| s.status(answers));
        let states: Vec<Option<TailStatus>> = states.collect();
        let mut until = Instant::now() + within;
        for session in &mut self.sessions {
            session.end(flush, until);
        }
        for at in 0..self.sessions.len() {
            loop {
                let patience = until + CHECKPOINT_WITHIN;
                let step = patience.min(Instant::now() + STEP);
                let session = &mut self.sessions[at];
                // A thread that hangs already will not end now
                let is_over = session.stuck_for() >= STUCK || session.join(step);
                if is_over && (flush || session.join_upload(step)) {
                    break;
                }
                if Instant::now() >= patience {
                    log::warn!("session {} did not end in time", session.id);
                    break;
                }
                // A request may be under way for longer than systemd waits for a sign
                let asked = match &mut signals {
                    Some(signals) => !self.stop_asked && self.attend(signals),
                    None => {
                        self.notifier.alive();
                        false
                    }
                };
                if asked {
                    until = Instant::now() + STEP;
                    for session in &mut self.sessions {
                        session.end(false, until);
                    }
                }
            }
            let session = &self.sessions[at];
            self.statistics.retire(&session.stats.snapshot());
            log::info!("Worker session '{}' is finished.", session.id);
        }
        for (mut session, state) in self.sessions.drain(..).zip(states) {
            match (session.estate(), state) {
                // Its totals go on with its files
                (Some(estate), _) => self.estates.push(estate),
                (None, Some(state)) => self.statistics.retire_files(&state),
                (None, None) => {}
            }
            if let Some(left) = session.leave_behind() {
                self.left.add(left);
            }
        }
    }
}
