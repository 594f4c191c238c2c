//! The running agent: wires threads and channels, supervises, reloads, reports, stops.
//!
//! The main thread is here. It sleeps until a signal or the next of a few slow duties; all work is
//! done by the sessions (`session`) and the monitors.

mod crew;
mod cursors;
mod desk;
mod flash;
mod heirs;
pub mod insight;
mod left;
mod plan;
pub mod positions;
mod pulse;
mod report;
mod session;
#[cfg(test)]
mod session_tests;
mod sessions;
mod statistics;
mod unused;

use crate::config::{self, Config, Source};
use crate::logging::{self, LogSettings, Severity};
use crate::process::datalock::DataLock;
use crate::process::notify::Notifier;
use crate::process::signals::{Signal, Signals, Waker};
use crate::status::health;
use crate::status::protocol::Responder;
use crate::tail::hints::Hints;
use crate::tail::journal::Journal;
use crate::util::throttle::Throttle;
use crate::util::time::now_secs;
use crew::Crew;
use left::AllLeftBehind;
use plan::MonitorLogs;
use session::Session;
use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Everything that [`run`] starts an agent with.
pub struct Start {
    /// Validated.
    pub config: Config,
    /// Where it came from, for reloading.
    pub source: Source,
    /// Not a daemon: agent.log is also shown on stdout.
    pub foreground: bool,
    /// Checkpoints are set aside unread.
    pub ignore_positions: bool,
    /// Installed before the pid file was written.
    pub signals: Signals,
    /// Called once: everything runs, or the reason why not.
    pub ready: Box<dyn FnOnce(Result<(), String>) + Send>,
}

/// All of a stop together takes no longer than this: `stop` sends KILL after 5 s.
const STOP_WITHIN: Duration = Duration::from_millis(4_500);
/// The monitors' share of `STOP_WITHIN`.
const MONITORS_WITHIN: Duration = Duration::from_millis(1_000);
/// The last requests' share of `STOP_WITHIN`.
const FLUSH_WITHIN: Duration = Duration::from_millis(2_500);
/// How long the disk of the data directory is waited for when the position journal is closed.
const JOURNAL_WITHIN: Duration = Duration::from_millis(1_000);
/// How often threads are looked after that have nothing to do, and those that are busy.
const SUPERVISE: Duration = Duration::from_secs(15);
const SUPERVISE_BUSY: Duration = Duration::from_secs(5);
/// From the last word of a thread to its end.
const ENDS_WITHIN: Duration = Duration::from_millis(100);
/// How long the status report waits for the answers of the sessions, all together.
const PATIENCE: Duration = Duration::from_secs(2);

/// Runs the agent until it is told to stop; its exit code.
pub fn run(mut start: Start) -> i32 {
    raise_descriptor_limit();
    leave_no_core();
    crate::util::sys::share_one_arena();
    logging::log_panics();
    let agent_log_start = match logging::open(&log_settings(&start.config, start.foreground)) {
        Ok(size) => size,
        Err(e) => {
            let dir = &start.config.options.agent_log_path;
            (start.ready)(Err(format!("can't open agent.log in {dir}: {e}")));
            return 1;
        }
    };
    logging::log_as(
        "scalyr-agent-2",
        log::Level::Info,
        format_args!(
            "Starting scalyr agent... (version={}) (pid={}) (hostname={}) (rust version={})",
            env!("CARGO_PKG_VERSION"),
            std::process::id(),
            config::host_name(),
            env!("CARGO_PKG_RUST_VERSION"),
        ),
    );
    let mut agent = match Agent::new(
        start.config,
        start.source,
        start.foreground,
        start.ignore_positions,
        agent_log_start,
        &mut start.signals,
    ) {
        Ok(agent) => agent,
        Err(why) => {
            log::error!("[error=\"failedAgentMain\"] The agent could not start: {why}");
            (start.ready)(Err(why));
            return 1;
        }
    };
    (start.ready)(Ok(()));
    agent.notifier.ready();
    let code = agent.main_loop(&mut start.signals);
    agent.stop(match agent.stop_asked {
        true => start.signals.last_without_stop(),
        false => Instant::now(),
    });
    code
}

struct Agent {
    config: Config,
    source: Source,
    foreground: bool,
    fingerprint: config::Fingerprint,
    config_state: ConfigState,
    sessions: Vec<Session>,
    /// The state of sessions that have ended, until others go on with it.
    estates: Vec<heirs::Estate>,
    left: AllLeftBehind,
    /// The paths that the sessions leave out.
    left_out: Vec<PathBuf>,
    crew: Crew,
    monitor_logs: MonitorLogs,
    launched: f64,
    statistics: statistics::Statistics,
    responder: Responder,
    /// The data directory in use, for the pid file's and the status files' clients.
    data_dir: PathBuf,
    /// That of `data_dir`.
    data_lock: DataLock,
    /// The faults of checkpoints, for the status report.
    checkpoint_notes: Vec<String>,
    /// Where positions are written down; none before the first session.
    journal: Option<Journal>,
    /// Hints from the kernel, and the most watches that they may have.
    hints: Option<(usize, Hints)>,
    /// By which a thread that ends wakes the main thread.
    waker: Option<Arc<Waker>>,
    restarts: u32,
    throttle: Throttle,
    /// A signal to stop has come.
    stop_asked: bool,
    notifier: Notifier,
    pulse: pulse::Pulse,
}

/// The state of the configuration, for `status`.
struct ConfigState {
    last_read: f64,
    last_good: f64,
    last_check: Option<f64>,
    error: Option<String>,
    error_logged: Option<Instant>,
    /// The parts that nothing acts on.
    unused: Vec<String>,
}

impl ConfigState {
    /// Writes down what nothing acts on, as far as that is new.
    fn tell_unused(&mut self, config: &Config, plans: &[monitors::Plan]) {
        let unused = unused::unused(config, plans);
        let unused: Vec<String> = unused.iter().map(ToString::to_string).collect();
        for part in unused.iter().filter(|part| !self.unused.contains(part)) {
            log::warn!("{part}");
        }
        self.unused = unused;
    }
}

impl Agent {
    fn new(
        config: Config,
        source: Source,
        foreground: bool,
        ignore_positions: bool,
        agent_log_start: u64,
        signals: &mut Signals,
    ) -> Result<Agent, String> {
        let fingerprint = config::fingerprint(&source);
        let now = now_secs();
        let data_dir = PathBuf::from(&config.options.agent_data_path);
        for warning in config.warnings.iter().filter(|w| w.unused.is_none()) {
            log::warn!("{}", warning.text);
        }
        if config.https_forced {
            log::info!(
                "The server address {} is used as {}: without allow_http it is always https",
                config.raw_server,
                config.server
            );
        }
        log::info!("Configuration settings");
        for (name, value) in config.settings() {
            log::info!("\t{name}: {value}");
        }
        let mut data_lock = DataLock::take(&data_dir, |why| log::warn!("{why}"))?;
        data_lock.note(&config.main_file);
        let monitor_logs = MonitorLogs::default();
        let mut agent = Agent {
            fingerprint,
            config_state: ConfigState {
                last_read: now,
                last_good: now,
                last_check: None,
                error: None,
                error_logged: None,
                unused: Vec::new(),
            },
            sessions: Vec::new(),
            estates: Vec::new(),
            left: AllLeftBehind::default(),
            left_out: Vec::new(),
            crew: Crew::new(monitor_logs.way.clone()),
            monitor_logs,
            launched: now,
            statistics: statistics::Statistics::new(),
            responder: Responder::new(&data_dir),
            data_dir,
            data_lock,
            checkpoint_notes: Vec::new(),
            journal: None,
            hints: None,
            waker: signals.waker().ok().map(Arc::new),
            restarts: 0,
            throttle: Throttle::default(),
            stop_asked: false,
            notifier: Notifier::from_env(),
            pulse: pulse::Pulse::default(),
            config,
            source,
            foreground,
        };
        if ignore_positions {
            agent.checkpoint_notes = positions::ignore(&agent.data_dir)?;
        }
        agent.start_threads(Some(agent_log_start), signals)?;
        Ok(agent)
    }

    /// Starts sessions, if none run, then monitors, so that what monitors write is followed from the
    /// start.
    fn start_threads(
        &mut self,
        agent_log_start: Option<u64>,
        signals: &mut Signals,
    ) -> Result<(), String> {
        // A rule that can't be compiled is found before anything runs
        plan::shapes(&self.config)?;
        let plans = self.monitor_plans(&self.config)?;
        for warning in plans.iter().flat_map(monitors::Plan::warnings) {
            log::warn!("{warning}");
        }
        self.config_state.tell_unused(&self.config, &plans);
        self.monitor_logs.fixed = plans.iter().flat_map(|p| p.logs().cloned()).collect();
        if self.sessions.is_empty() {
            self.start_sessions(agent_log_start, signals)?;
        }
        self.crew.hire(plans, self.config.options.metrics_in_memory);
        for session in &self.sessions {
            // Their logs exist now
            session.scan();
        }
        Ok(())
    }

    fn monitor_plans(&self, config: &Config) -> Result<Vec<monitors::Plan>, String> {
        plan::monitors(config, &self.monitor_logs)
    }

    fn main_loop(&mut self, signals: &mut Signals) -> i32 {
        let mut next_supervision = Instant::now() + SUPERVISE;
        let mut next_check = Instant::now() + self.check_interval();
        let (delivered, cpu) = self.totals_now();
        self.pulse.beat(Instant::now(), delivered, cpu);
        while !self.stop_asked {
            let mut next = next_supervision.min(next_check);
            if let Some(sign) = self.notifier.alive() {
                next = next.min(sign);
            }
            let signal = signals.wait(next.saturating_duration_since(Instant::now()));
            let now = Instant::now();
            match signal {
                Some(Signal::Stop) => {
                    log::info!("Received signal to shutdown, attempt to shutdown cleanly.");
                    self.stop_asked = true;
                    return 0;
                }
                Some(Signal::Status) => self.report_status(),
                Some(Signal::Reload) => {
                    log::info!("Received signal to reload the configuration.");
                    self.check_configuration(true, signals);
                }
                // A thread of a session ends
                None if now < next => next_supervision = now + ENDS_WITHIN,
                None => {}
            }
            if now >= next_supervision {
                let is_busy = |session: &Session| !session.busy_for().is_zero();
                next_supervision = match self.sessions.iter().any(is_busy) {
                    true => now + SUPERVISE_BUSY,
                    false => now + SUPERVISE,
                };
                let (delivered, cpu) = self.totals_now();
                self.pulse.beat(now, delivered, cpu);
                if self.notifier.is_heard() {
                    let line = self.one_line_status();
                    self.notifier.status(line);
                }
                self.monitor_logs.cursors.tend();
                monitors::children::reap_orphans();
                if let Some(why) = self.supervise(signals) {
                    log::error!("[error=\"failedAgentMain\"] {why}");
                    return 1;
                }
            }
            if now >= next_check {
                next_check = now + self.check_interval();
                self.check_configuration(false, signals);
                self.periodic_lines(now, false);
                if self
                    .sessions
                    .iter()
                    .all(|session| session.busy_for().is_zero())
                {
                    crate::util::sys::release_program_pages();
                }
            }
        }
        0
    }

    /// The line that `systemctl status` shows.
    fn one_line_status(&self) -> String {
        let trouble = health::sorted(health::deliveries(self.deliveries()));
        let monitors = self.crew.snapshots().filter(|(m, _)| m.alive).count();
        let delivery = match trouble.into_iter().next() {
            Some(problem) => problem.text,
            None => "requests succeed".to_owned(),
        };
        let config = match self.config_state.error {
            Some(_) => "; the configuration is broken, the last good one is in force",
            None => "",
        };
        format!(
            "Copying to {}: {delivery}; {} running{config}",
            self.config.server,
            crate::util::words::count(monitors as u64, "monitor")
        )
    }

    fn check_interval(&self) -> Duration {
        plan::seconds(self.config.options.config_change_check_interval.max(1.0))
    }

    /// Reloads if the files changed (or `always`). A broken configuration leaves everything as it
    /// is, and is said again every ten minutes.
    fn check_configuration(&mut self, always: bool, signals: &mut Signals) {
        self.config_state.last_check = Some(now_secs());
        let fingerprint = config::fingerprint(&self.source);
        let same_files = fingerprint == self.fingerprint;
        if same_files && !always && self.config_state.error.is_none() {
            return;
        }
        let again = Duration::from_secs(600);
        let loaded = Config::load(&self.source)
            .map_err(|e| e.to_string())
            .and_then(|config| match config.check_directories() {
                Ok(()) => Ok(config),
                Err(e) => Err(e.to_string()),
            })
            .and_then(|config| plan::shapes(&config).map(|_| config))
            .and_then(|config| {
                let plans = self.monitor_plans(&config)?;
                Ok((config, plans))
            })
            .and_then(|(config, plans)| self.lock_of(&config).map(|lock| (config, plans, lock)));
        let loaded = loaded.and_then(|(config, plans, lock)| {
            self.leaves_few_behind(&config, signals)
                .map(|()| (config, plans, lock))
        });
        if self.stop_asked {
            return;
        }
        self.config_state.last_read = now_secs();
        let (config, plans, new_lock) = match loaded {
            Ok(loaded) => loaded,
            Err(why) => {
                let said = self
                    .config_state
                    .error_logged
                    .is_some_and(|at| at.elapsed() < again);
                if !said || self.config_state.error.as_ref() != Some(&why) {
                    log::error!(
                        "[error=\"badConfigFile\"] Bad configuration file seen.  Ignoring, using last known good \
                         configuration file.  Exception was \"{why}\""
                    );
                    self.config_state.error_logged = Some(Instant::now());
                }
                self.config_state.error = Some(why);
                self.fingerprint = fingerprint;
                return;
            }
        };
        self.fingerprint = fingerprint;
        self.config_state.last_good = now_secs();
        if self.config_state.error.take().is_some() {
            log::info!("The configuration files are good again.");
        }
        self.config_state.tell_unused(&config, &plans);
        if config.options.debug_level != self.config.options.debug_level {
            logging::set_debug_level(config.options.debug_level.clamp(0, 5) as u8);
            self.config.options.debug_level = config.options.debug_level;
        }
        if config.same_as(&self.config) {
            return;
        }
        self.reload(config, new_lock, signals);
    }

    /// The lock of another data directory than the one in use, if the configuration has one.
    fn lock_of(&self, config: &Config) -> Result<Option<DataLock>, String> {
        let dir = Path::new(&config.options.agent_data_path);
        if dir == self.data_dir || self.data_lock.is_of(dir) {
            return Ok(None);
        }
        DataLock::take(dir, |why| log::warn!("{why}")).map(Some)
    }

    /// Whether a configuration with these monitors changes nothing for the sessions.
    fn copying_goes_on(&self, config: &Config, plans: &[monitors::Plan]) -> bool {
        let logs = plans.iter().flat_map(monitors::Plan::logs);
        config.copies_as(&self.config) && logs.eq(self.monitor_logs.fixed.iter())
    }

    fn reload(&mut self, config: Config, new_lock: Option<DataLock>, signals: &mut Signals) {
        log::info!("New configuration file seen.");
        self.notifier.reloading();
        let plans = self.monitor_plans(&config).unwrap_or_default();
        let copying_goes_on = self.copying_goes_on(&config, &plans);
        let threads = match copying_goes_on {
            true => "metrics",
            false => "copying and metrics",
        };
        log::info!("Stopping {threads} threads.");
        // The others go on: what they write meanwhile waits in their logs
        self.crew
            .dismiss(&plans, config.options.metrics_in_memory, MONITORS_WITHIN);
        if self.attend(signals) {
            return;
        }
        if !copying_goes_on {
            // A request under way is awaited however long it takes: starting before its verdict would
            // send its lines twice. The data waits on disk meanwhile.
            let deadline =
                plan::seconds(self.config.options.request_deadline) + Duration::from_secs(10);
            self.end_sessions(deadline, false, Some(&mut *signals));
            if self.stop_asked {
                return;
            }
            // Its options may be others now, or the folder
            if let Err(why) = self.close_journal(JOURNAL_WITHIN) {
                log::error!("the position journal could not be written to its end: {why}");
            }
        }
        for (name, value) in config.changed_settings(&self.config) {
            log::info!("\t{name}: {value}");
        }
        for warning in config.warnings.iter().filter(|w| w.unused.is_none()) {
            log::warn!("{}", warning.text);
        }
        if let Err(e) = logging::reconfigure(&log_settings(&config, self.foreground)) {
            log::error!(
                "agent.log can't be opened in {}: {e}",
                config.options.agent_log_path
            );
        }
        if config.options.agent_log_path != self.config.options.agent_log_path {
            log::warn!(
                "agent_log_path changed to {}: until the next restart the pid file stays in {}, where \
                 stop and status do not look for it",
                config.options.agent_log_path,
                self.config.options.agent_log_path
            );
        }
        self.config = config;
        let data_dir = PathBuf::from(&self.config.options.agent_data_path);
        if data_dir != self.data_dir {
            log::warn!(
                "agent_data_path changed to {}: checkpoints are read there from now on",
                data_dir.display()
            );
            self.responder = Responder::new(&data_dir);
            self.data_dir = data_dir;
        }
        if let Some(mut lock) = new_lock {
            lock.note(&self.config.main_file);
            // The sessions that wrote to the old directory have ended
            self.data_lock = lock;
        }
        log::info!("Starting new {threads} threads");
        if let Err(why) = self.start_threads(None, signals) {
            log::error!("[error=\"failedAgentMain\"] {why}");
        }
        self.notifier.ready();
    }

    /// Metrics in memory that nobody will take any more.
    fn give_up_metrics(&self) {
        let lines = self.monitor_logs.way.give_up();
        if lines > 0 {
            log::warn!(
                "{lines} metric lines that were in memory could not be delivered; they are lost"
            );
        }
    }

    /// Stops all within [`STOP_WITHIN`] of `asked`: what was busy when the signal came has less time left.
    fn stop(&mut self, asked: Instant) {
        self.notifier.stopping();
        let until = asked + STOP_WITHIN;
        let left = || until.saturating_duration_since(Instant::now());
        self.give_up_estates();
        self.periodic_lines(Instant::now(), true);
        self.crew.stop(MONITORS_WITHIN.min(left() / 4));
        let within = left().saturating_sub(sessions::BEYOND + JOURNAL_WITHIN);
        self.end_sessions(FLUSH_WITHIN.min(within), true, None);
        self.give_up_metrics();
        let shut_out = self.left.shut_out();
        // Also with no time left: what is known is written, unless the disk hangs
        let within = JOURNAL_WITHIN.min(left()).max(sessions::STEP);
        match self.close_journal(within).and(shut_out) {
            Ok(()) => log::info!(
                "Save consolidated checkpoints into file {}",
                self.data_dir.join("checkpoints.json").display()
            ),
            Err(why) => log::error!("the checkpoints for the Python agent are old: {why}"),
        }
        log::info!("Copying manager is finished.");
        // Processes that monitors have started shall not outlive us
        self.crew.finish(until);
    }
}

/// Takes as many file descriptors as the system grants without asking, up to a bound.
fn raise_descriptor_limit() {
    use nix::sys::resource::{getrlimit, setrlimit, Resource};
    const ENOUGH: u64 = 65_536;
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let want = hard.min(ENOUGH as _);
        if want > soft {
            let _ = setrlimit(Resource::RLIMIT_NOFILE, want, hard);
        }
    }
}

/// Memory holds keys and lines of logs, which must not lie about on disk. The limit that may be set
/// stays, so that child programs can ask for core dumps of their own. Not `PR_SET_DUMPABLE`, which would
/// take /proc/PID from the agent's user, and with it `status` and the agent's own metrics.
fn leave_no_core() {
    use nix::sys::resource::{getrlimit, setrlimit, Resource};
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_CORE) {
        let _ = setrlimit(Resource::RLIMIT_CORE, 0, hard);
    }
}

fn log_settings(config: &Config, foreground: bool) -> LogSettings {
    LogSettings {
        dir: PathBuf::from(&config.options.agent_log_path),
        max_bytes: u64::try_from(config.options.log_rotation_max_bytes).unwrap_or(0),
        backups: u32::try_from(config.options.log_rotation_backup_count).unwrap_or(0),
        stdout: foreground
            .then(|| Severity::parse(&config.options.stdout_severity).unwrap_or(Severity::NotSet)),
        debug_level: config.options.debug_level.clamp(0, 5) as u8,
        debug_names: config.options.debug_level_logger_names.clone(),
    }
}

/// The text of a panic.
pub(crate) fn panic_text(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}
