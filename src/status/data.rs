//! The report as plain data, filled by the agent.
//!
//! Field names are the keys of the JSON report and their order is its order; what the Python agent
//! does not report stands behind them. Times are seconds since the epoch, `None` for never.

use super::health::{self, Problem};
use serde::Serialize;
use std::collections::BTreeMap;

/// Everything.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// When the report was made.
    pub now: f64,
    /// The agent's process id.
    pub pid: u32,
    /// When the agent started.
    pub launch_time: f64,
    /// Name of the user it runs as.
    pub user: String,
    /// The program's version.
    pub version: String,
    /// The commit it was built from, or `unknown`.
    pub revision: String,
    /// The server attribute `serverHost`.
    pub server_host: String,
    /// The server's URL, after forcing https.
    pub scalyr_server: String,
    /// `deflate` or `none`.
    pub compression_type: String,
    /// The level of the last request, 0 for none.
    pub compression_level: i64,
    /// Where agent.log is.
    pub log_path: String,
    /// The configuration.
    pub config_status: ConfigStatus,
    /// Files and uploads; `None` until they run.
    pub copying_manager_status: Option<CopyingStatus>,
    /// Monitors; `None` until they run.
    pub monitor_manager_status: Option<MonitorsStatus>,
    /// There is none; says what the program is built with instead.
    pub python_version: String,
    /// Mean seconds that the last reports took; `None` before the second.
    pub avg_status_report_duration: Option<f64>,
    /// The last periodic calculation.
    pub overall_stats: OverallStats,
    /// Environment variables to show, already masked; see [`super::environment::shown`]. Text only.
    pub environment: Vec<(String, Option<String>)>,
    /// The figures that an operator looks for first.
    pub at_a_glance: Glance,
}

/// The figures that an operator looks for first.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Glance {
    /// The problems of this moment, the heaviest first.
    pub problems: Vec<Problem>,
    /// Bytes in followed files that the server has not acknowledged.
    pub backlog_bytes: u64,
    /// Bytes delivered per second, over the last minute.
    pub bytes_per_second: Option<f64>,
    /// Seconds until the backlog is delivered, at that speed and if nothing is added.
    pub drain_secs: Option<f64>,
    /// Seconds since the last request that the server took.
    pub last_success_age: Option<f64>,
    /// Share of one processor that the agent took, in percent, over the last minute.
    pub cpu_percent: Option<f64>,
    /// Seconds of processor since the start.
    pub cpu_secs: f64,
    /// Resident memory.
    pub resident_bytes: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
    /// Open files of logs.
    pub open_log_files: u64,
    /// The faults of checkpoints: files that were damaged or ignored at the start, and why none
    /// can be written.
    pub checkpoints: Vec<String>,
    /// The paths at which threads hang, with the session and for how long.
    pub hanging: Vec<String>,
    /// How often, since the start of the sessions, evidence left open which content a file holds, by what was decided.
    pub ambiguities: BTreeMap<&'static str, u64>,
    /// Of how many folders the kernel tells when something changes; none: it tells of none.
    pub hints: Option<HintStatus>,
    /// The fate of all bytes.
    pub account: Account,
}

/// How many folders have hints from the kernel, and why others have none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct HintStatus {
    /// With hints.
    pub folders: u64,
    /// Without, by the reason.
    pub without: BTreeMap<&'static str, u64>,
}

/// The fate of the bytes that were taken out of a file, or of all files. `settled` is counted where
/// positions are moved, the rest where each thing happens, so `unaccounted` is a check.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Account {
    /// Bytes whose fate is decided: the position of the files has moved past them.
    pub settled: u64,
    /// Delivered, as they are in the files.
    pub copied: u64,
    /// The server refused them for good.
    pub failed: u64,
    /// Left out by sampling rules.
    pub sampled_out: u64,
    /// By how much rules made the delivered text shorter (or longer, below zero).
    pub shortened: i64,
    /// Passed over because of a limit or a rule of the configuration.
    pub skipped: u64,
    /// `settled` less all of these: 0, or something was lost silently.
    pub unaccounted: i64,
}

/// The state of the configuration.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ConfigStatus {
    /// The main file.
    pub path: String,
    /// The fragments that were read, in order.
    pub additional_paths: Vec<String>,
    /// When a configuration was last read, good or bad.
    pub last_read_time: f64,
    /// See [`ConfigStatus::GOOD`] and [`ConfigStatus::BAD`].
    pub status: String,
    /// The error of the configuration on disk.
    pub last_error: Option<String>,
    /// When the configuration in use was read.
    pub last_good_read: f64,
    /// When the files were last looked at.
    pub last_check_time: Option<f64>,
    /// The parts of the configuration that nothing acts on, a sentence for each kind.
    pub not_acted_on: Vec<String>,
}

impl ConfigStatus {
    /// Value of `status`: the files on disk are in use.
    pub const GOOD: &'static str = "Good";
    /// Value of `status`: the files on disk are broken.
    pub const BAD: &'static str = "Error, using last good configuration";
}

/// All files and all upload sessions.
#[derive(Debug, Clone, Default)]
pub struct CopyingStatus {
    /// Bytes of request bodies, as sent, that the server has taken, all sessions.
    pub total_bytes_uploaded: u64,
    /// Requests that were answered with an error or not at all, all sessions.
    pub total_errors: u64,
    /// Health of the scan for files alone; see [`super::health::scan`].
    pub health_check_result: Option<String>,
    /// Health of the sessions; see [`super::health::sessions`].
    pub worker_sessions_health_check: Option<String>,
    /// Scans for new files since the start.
    pub total_scan_iterations: u64,
    /// One per `logs` entry, in order.
    pub log_matchers: Vec<MatcherStatus>,
    /// The workers.
    pub workers: Vec<WorkerStatus>,
    /// Sums over the sessions.
    pub times: SessionTimes,
}

impl CopyingStatus {
    /// The number of sessions of all workers.
    pub fn num_worker_sessions(&self) -> usize {
        self.workers
            .iter()
            .map(|worker| worker.sessions.len())
            .sum()
    }

    /// The session, if there is only one.
    pub fn only_session(&self) -> Option<&SessionStatus> {
        match self.workers.as_slice() {
            [worker] if worker.sessions.len() == 1 => worker.sessions.first(),
            _ => None,
        }
    }

    /// Scan and sessions together, whether or not anything is delivered.
    pub fn own_health(&self) -> Option<String> {
        health::combined(
            self.health_check_result.as_deref(),
            self.worker_sessions_health_check.as_deref(),
        )
    }

    /// The health that `status` prints and that its exit code follows.
    pub fn health(&self, problems: &[Problem]) -> Option<String> {
        health::told(self.own_health(), problems)
    }
}

/// Where a session's time went, in seconds, and how often it could send without waiting.
#[derive(Debug, Clone, Copy, Default)]
pub struct SessionTimes {
    /// Held back by `max_send_rate_enforcement`.
    pub total_rate_limited_time: f64,
    /// The same since the last `copy_manager_status` line.
    pub rate_limited_time_since_last_status: f64,
    /// Reading files.
    pub total_read_time: f64,
    /// Waiting for something to send.
    pub total_waiting_time: f64,
    /// Waiting for answers.
    pub total_blocking_response_time: f64,
    /// From the start of a request to its answer.
    pub total_request_time: f64,
    /// Requests that were built while the one before was under way.
    pub total_pipelined_requests: u64,
}

/// A worker: an API key with its sessions.
#[derive(Debug, Clone, Default, Serialize)]
pub struct WorkerStatus {
    /// The worker's id.
    pub worker_id: String,
    /// Its sessions.
    pub sessions: Vec<SessionStatus>,
}

/// An upload session.
#[derive(Debug, Clone, Default)]
pub struct SessionStatus {
    /// `WORKER-N`.
    pub session_id: String,
    /// The agent's pid; the Python agent may have a process per session.
    pub pid: u32,
    /// Bytes of request bodies, as sent, that the server has taken.
    pub total_bytes_uploaded: u64,
    /// The last success.
    pub last_success_time: Option<f64>,
    /// The last request.
    pub last_attempt_time: Option<f64>,
    /// Bytes of the last request's body.
    pub last_attempt_size: Option<u64>,
    /// The last response's body, cut to a sensible length.
    pub last_response: Option<String>,
    /// The last response's `status`, or `client/...` for a failure on our side.
    pub last_response_status: Option<String>,
    /// Requests that were answered with an error or not at all.
    pub total_errors: u64,
    /// Passes over the files.
    pub total_copy_iterations: u64,
    /// Where the time went.
    pub times: SessionTimes,
    /// See [`super::health::session`] and [`super::health::told`].
    pub health_check_result: Option<String>,
    /// The files of this session.
    pub log_processors: Vec<FileStatus>,
    /// Why the last request failed, in words; `None` after a success.
    pub last_error: Option<String>,
    /// When the request that failed is tried again.
    pub next_retry_time: Option<f64>,
}

/// A `logs` entry.
#[derive(Debug, Clone, Default, Serialize)]
pub struct MatcherStatus {
    /// Its path or pattern.
    pub log_path: String,
    /// Whether it is a pattern.
    pub is_glob: bool,
    /// When it was last looked for.
    pub last_check_time: Option<f64>,
    /// The files that it matched.
    pub log_processors_status: Vec<FileStatus>,
    /// Whether the agent writes it itself: agent.log, and logs of metrics.
    #[serde(rename = "internal")]
    pub is_internal: bool,
}

/// A file being copied. Byte counts are since the agent's start unless said otherwise.
#[derive(Debug, Clone, Default)]
pub struct FileStatus {
    /// Its path.
    pub log_path: String,
    /// When it was last looked at.
    pub last_scan_time: Option<f64>,
    /// Lines that were delivered.
    pub total_lines_copied: u64,
    /// Bytes in front of which the server refused or could not store what was sent.
    pub total_bytes_failed: u64,
    /// Bytes that sampling rules dropped.
    pub total_bytes_dropped_by_sampling: u64,
    /// Lines that sampling rules dropped.
    pub total_lines_dropped_by_sampling: u64,
    /// Redaction rules that applied.
    pub total_redactions: u64,
    /// The fate of the bytes that were taken out of it.
    pub account: Account,
    /// Bytes of messages that were delivered.
    pub total_bytes_copied: u64,
    /// Length of the file now.
    pub size: u64,
    /// Offset in it up to which it was read.
    pub read: u64,
    /// Offset up to which it was in a request that was sent.
    pub sent: u64,
    /// Offset up to which the server acknowledged it, or it was skipped.
    pub acknowledged: u64,
    /// Bytes of messages in requests that were sent again.
    pub resent: u64,
    /// Bytes on disk that are not acknowledged, those of rotated predecessors included:
    /// `total_bytes_pending` of the JSON report.
    pub pending: u64,
    /// Counts of shaping by name: lines joined, events cut, lines that could not be parsed, ...
    pub shaped: Vec<(&'static str, u64)>,
    /// Bytes that will never be sent, by reason.
    pub skipped: Vec<Skipped>,
    /// The state of the file.
    pub state: FileState,
    /// The name under which it is sent, if that is not its path.
    pub label: Option<String>,
    /// The last error with this file.
    pub last_error: Option<String>,
}

impl FileStatus {
    /// The bytes of all reasons.
    pub fn total_skipped(&self) -> u64 {
        self.skipped.iter().map(|skipped| skipped.bytes).sum()
    }

    /// The bytes that were skipped although the agent was there when they were written.
    pub fn skipped_new(&self) -> u64 {
        let new = self.skipped.iter().filter(|skipped| !skipped.preexisting);
        new.map(|skipped| skipped.bytes).sum()
    }
}

/// Bytes that were left out for one reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Skipped {
    /// The reason in a few words, such as the name of the option that asked for it.
    pub reason: String,
    /// How many.
    pub bytes: u64,
    /// Whether they were in the file before the agent first saw it.
    pub preexisting: bool,
}

/// The state of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FileState {
    /// All is read; more is waited for.
    #[default]
    Waiting,
    /// There is more to read.
    Reading,
    /// It has another name now, or none; its rest is being read.
    Rotated,
    /// It can't be opened or read.
    Unreadable,
}

impl FileState {
    /// As the reports write it.
    pub fn name(self) -> &'static str {
        match self {
            FileState::Waiting => "waiting",
            FileState::Reading => "reading",
            FileState::Rotated => "rotated",
            FileState::Unreadable => "unreadable",
        }
    }
}

/// The monitors.
#[derive(Debug, Clone, Default, Serialize)]
pub struct MonitorsStatus {
    /// How many run.
    pub total_alive_monitors: u64,
    /// Each.
    pub monitors_status: Vec<MonitorStatus>,
}

/// A monitor.
#[derive(Debug, Clone, Default, Serialize)]
pub struct MonitorStatus {
    /// `shell_monitor(kernel)`.
    pub monitor_name: String,
    /// Its `id`, `default` where there is none.
    pub monitor_id: String,
    /// Ten hex digits.
    pub monitor_short_hash: String,
    /// Whether the agent ends when it dies.
    pub stop_agent_on_failure: bool,
    /// Lines that it wrote.
    pub reported_lines: u64,
    /// Errors that it reported.
    pub errors: u64,
    /// Whether its thread runs.
    pub is_alive: bool,
    /// When its last sample ended well, seconds since the epoch.
    pub last_sample: Option<f64>,
    /// For how many seconds the present sample has been going on, if one is.
    pub busy_secs: Option<f64>,
    /// Lines that its write limit dropped.
    pub dropped_lines: u64,
    /// Lines that could not be written.
    pub lost_lines: u64,
    /// How often it was started anew after a failure.
    pub restarts: u64,
    /// Its last error.
    pub last_error: Option<String>,
    /// When that was, seconds since the epoch.
    pub last_error_time: Option<f64>,
    /// Further counters of the monitor, by name.
    pub counters: BTreeMap<&'static str, u64>,
}

/// The sums of the periodic calculation (every `config_change_check_interval`). Bytes, counts and
/// seconds since the start unless said otherwise.
#[derive(Debug, Clone, Default, Serialize)]
#[allow(missing_docs)] // the names say it, and are those of the Python agent's report
pub struct OverallStats {
    /// `None` before the first calculation.
    pub launch_time: Option<f64>,
    /// `None` before the first calculation.
    pub version: Option<String>,
    pub num_watched_paths: u64,
    pub num_copying_paths: u64,
    pub num_running_monitors: u64,
    /// The misspelt twin of `num_dead_monitors`; the same true number.
    pub num_dead_monitor: u64,
    pub num_worker_sessions: u64,
    pub user_cpu: f64,
    pub system_cpu: f64,
    /// Peak, KiB (sic).
    pub rss_size: u64,
    pub total_bytes_copied: u64,
    pub total_bytes_pending: u64,
    pub total_bytes_skipped: u64,
    pub skipped_new_bytes: u64,
    pub skipped_preexisting_bytes: u64,
    pub total_rate_limited_time: f64,
    pub total_bytes_subsampled: u64,
    pub total_bytes_failed: u64,
    pub total_redactions: u64,
    pub total_copy_requests_errors: u64,
    pub total_monitor_reported_lines: u64,
    pub total_monitor_errors: u64,
    pub total_requests_sent: u64,
    pub total_requests_failed: u64,
    pub total_request_bytes_sent: u64,
    pub total_compressed_request_bytes_sent: u64,
    pub total_response_bytes_received: u64,
    pub total_request_latency_secs: f64,
    pub total_connections_created: u64,
    pub total_scan_iterations: u64,
    pub total_read_time: f64,
    pub total_compression_time: f64,
    pub total_waiting_time: f64,
    pub total_blocking_response_time: f64,
    pub total_request_time: f64,
    pub total_pipelined_requests: u64,
    pub avg_bytes_produced_rate: f64,
    pub avg_bytes_copied_rate: f64,
    pub rate_limited_time_since_last_status: f64,
    pub avg_status_report_duration: Option<f64>,
    pub num_dead_monitors: u64,
}
