//! The JSON report: one compact line with the Python agent's keys in its order, ours
//! behind them.

use super::data::{
    ConfigStatus, CopyingStatus, FileState, FileStatus, Glance, MatcherStatus, MonitorsStatus,
    OverallStats, Report, SessionStatus, SessionTimes, Skipped, WorkerStatus,
};
use super::health::Problem;
use serde::ser::{SerializeMap, SerializeStruct};
use serde::{Serialize, Serializer};

/// The report as one line, without the newline. Numbers that JSON does not have become null.
pub fn render(report: &Report) -> String {
    // Maps have string keys and nothing else here can fail.
    serde_json::to_string(&Top::new(report)).unwrap_or_default()
}

#[derive(Serialize)]
struct Top<'a> {
    launch_time: f64,
    user: &'a str,
    version: &'a str,
    revision: &'a str,
    server_host: &'a str,
    scalyr_server: &'a str,
    compression_type: &'a str,
    compression_level: i64,
    log_path: &'a str,
    config_status: &'a ConfigStatus,
    copying_manager_status: Option<Copying<'a>>,
    monitor_manager_status: &'a Option<MonitorsStatus>,
    python_version: &'a str,
    avg_status_report_duration: Option<f64>,
    overall_stats: &'a OverallStats,
    at_a_glance: &'a Glance,
    pid: u32,
    current_time: f64,
}

impl<'a> Top<'a> {
    fn new(report: &'a Report) -> Self {
        Top {
            launch_time: report.launch_time,
            user: &report.user,
            version: &report.version,
            revision: &report.revision,
            server_host: &report.server_host,
            scalyr_server: &report.scalyr_server,
            compression_type: &report.compression_type,
            compression_level: report.compression_level,
            log_path: &report.log_path,
            config_status: &report.config_status,
            copying_manager_status: report
                .copying_manager_status
                .as_ref()
                .map(|status| Copying {
                    status,
                    problems: &report.at_a_glance.problems,
                }),
            monitor_manager_status: &report.monitor_manager_status,
            python_version: &report.python_version,
            avg_status_report_duration: report.avg_status_report_duration,
            overall_stats: &report.overall_stats,
            at_a_glance: &report.at_a_glance,
            pid: report.pid,
            current_time: report.now,
        }
    }
}

/// The health in it looks at everything.
struct Copying<'a> {
    status: &'a CopyingStatus,
    problems: &'a [Problem],
}

impl Serialize for Copying<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Copying { status, problems } = self;
        // With a single session its keys are merged in, over the sums of the same name.
        let only = status.only_session();
        let (uploaded, errors, times) = match only {
            Some(one) => (one.total_bytes_uploaded, one.total_errors, &one.times),
            None => (
                status.total_bytes_uploaded,
                status.total_errors,
                &status.times,
            ),
        };
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("total_bytes_uploaded", &uploaded)?;
        map.serialize_entry("total_errors", &errors)?;
        // Scan and sessions in one, so that no reader is blind for either.
        map.serialize_entry("health_check_result", &status.health(problems))?;
        map.serialize_entry(
            "worker_sessions_health_check",
            &status.worker_sessions_health_check,
        )?;
        map.serialize_entry("total_scan_iterations", &status.total_scan_iterations)?;
        map.serialize_entry::<_, [MatcherStatus]>("log_matchers", &status.log_matchers)?;
        map.serialize_entry::<_, [WorkerStatus]>("workers", &status.workers)?;
        map.serialize_entry("total_rate_limited_time", &times.total_rate_limited_time)?;
        map.serialize_entry(
            "rate_limited_time_since_last_status",
            &times.rate_limited_time_since_last_status,
        )?;
        put_times(&mut map, times)?;
        map.serialize_entry("num_worker_sessions", &status.num_worker_sessions())?;
        map.serialize_entry("scan_health_check", &status.health_check_result)?;
        if let Some(one) = only {
            put_identity(&mut map, one)?;
            put_attempt(&mut map, one)?;
            map.serialize_entry("total_copy_iterations", &one.total_copy_iterations)?;
            map.serialize_entry("log_processors", &one.log_processors)?;
            put_retry(&mut map, one)?;
        }
        map.end()
    }
}

impl Serialize for SessionStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        put_identity(&mut map, self)?;
        map.serialize_entry("total_bytes_uploaded", &self.total_bytes_uploaded)?;
        put_attempt(&mut map, self)?;
        map.serialize_entry("total_errors", &self.total_errors)?;
        map.serialize_entry(
            "total_rate_limited_time",
            &self.times.total_rate_limited_time,
        )?;
        map.serialize_entry(
            "rate_limited_time_since_last_status",
            &self.times.rate_limited_time_since_last_status,
        )?;
        map.serialize_entry("total_copy_iterations", &self.total_copy_iterations)?;
        put_times(&mut map, &self.times)?;
        map.serialize_entry("health_check_result", &self.health_check_result)?;
        map.serialize_entry("log_processors", &self.log_processors)?;
        put_retry(&mut map, self)?;
        map.end()
    }
}

fn put_identity<M: SerializeMap>(map: &mut M, session: &SessionStatus) -> Result<(), M::Error> {
    map.serialize_entry("session_id", &session.session_id)?;
    map.serialize_entry("pid", &session.pid)
}

fn put_attempt<M: SerializeMap>(map: &mut M, session: &SessionStatus) -> Result<(), M::Error> {
    map.serialize_entry("last_success_time", &session.last_success_time)?;
    map.serialize_entry("last_attempt_time", &session.last_attempt_time)?;
    map.serialize_entry("last_attempt_size", &session.last_attempt_size)?;
    map.serialize_entry("last_response", &session.last_response)?;
    map.serialize_entry("last_response_status", &session.last_response_status)
}

fn put_times<M: SerializeMap>(map: &mut M, times: &SessionTimes) -> Result<(), M::Error> {
    map.serialize_entry("total_read_time", &times.total_read_time)?;
    map.serialize_entry("total_waiting_time", &times.total_waiting_time)?;
    map.serialize_entry(
        "total_blocking_response_time",
        &times.total_blocking_response_time,
    )?;
    map.serialize_entry("total_request_time", &times.total_request_time)?;
    map.serialize_entry("total_pipelined_requests", &times.total_pipelined_requests)
}

fn put_retry<M: SerializeMap>(map: &mut M, session: &SessionStatus) -> Result<(), M::Error> {
    map.serialize_entry("last_error", &session.last_error)?;
    map.serialize_entry("next_retry_time", &session.next_retry_time)
}

impl Serialize for FileStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let skipped = self.total_skipped();
        let new = self.skipped_new();
        let mut map = serializer.serialize_struct("FileStatus", 24)?;
        map.serialize_field("log_path", &self.log_path)?;
        map.serialize_field("last_scan_time", &self.last_scan_time)?;
        map.serialize_field("total_bytes_copied", &self.total_bytes_copied)?;
        map.serialize_field("total_bytes_pending", &self.pending)?;
        map.serialize_field("total_bytes_skipped", &skipped)?;
        map.serialize_field("skipped_new_bytes", &new)?;
        map.serialize_field("skipped_preexisting_bytes", &(skipped - new))?;
        map.serialize_field("total_bytes_failed", &self.total_bytes_failed)?;
        map.serialize_field(
            "total_bytes_dropped_by_sampling",
            &self.total_bytes_dropped_by_sampling,
        )?;
        map.serialize_field("total_lines_copied", &self.total_lines_copied)?;
        map.serialize_field(
            "total_lines_dropped_by_sampling",
            &self.total_lines_dropped_by_sampling,
        )?;
        map.serialize_field("total_redactions", &self.total_redactions)?;
        map.serialize_field("size", &self.size)?;
        map.serialize_field("read", &self.read)?;
        map.serialize_field("sent", &self.sent)?;
        map.serialize_field("acknowledged", &self.acknowledged)?;
        map.serialize_field("pending", &self.pending)?;
        map.serialize_field("skipped", &Reasons(&self.skipped))?;
        map.serialize_field::<FileState>("state", &self.state)?;
        map.serialize_field("label", &self.label)?;
        map.serialize_field("last_error", &self.last_error)?;
        map.serialize_field("shaped", &Named(&self.shaped))?;
        map.serialize_field("resent", &self.resent)?;
        map.serialize_field("account", &self.account)?;
        map.end()
    }
}

/// Named counts as an object.
struct Named<'a>(&'a [(&'static str, u64)]);

impl Serialize for Named<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

struct Reasons<'a>(&'a [Skipped]);

impl Serialize for Reasons<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(
            self.0
                .iter()
                .map(|skipped| (&skipped.reason, skipped.bytes)),
        )
    }
}
