//! Totals over the life of the process, and the periodic lines of agent.log.

use super::{Agent, PATIENCE};
use crate::logging;
use crate::status::data::OverallStats;
use crate::tail::{Counters, TailStatus};
use crate::upload::Snapshot;
use crate::util::time;
use log::Level;
use std::time::Instant;

/// The module name under which tests and dashboards look for these lines.
const MODULE: &str = "scalyr-agent-2";

/// Totals that outlive a reload, and the time at which each line was written last.
pub struct Statistics {
    /// Figures of sessions that have ended.
    ended: Snapshot,
    /// Totals of files of sessions that have ended.
    ended_files: Counters,
    last_overall: Instant,
    last_requests: Instant,
    last_copying: Instant,
    /// Bytes copied and produced at the last `copy_manager_status`.
    copied_then: u64,
    produced_then: u64,
    skipped_then: u64,
    limited_then: f64,
    rates: (f64, f64),
}

impl Statistics {
    pub fn new() -> Self {
        let now = Instant::now();
        Statistics {
            ended: Snapshot::default(),
            ended_files: Counters::default(),
            last_overall: now,
            last_requests: now,
            last_copying: now,
            copied_then: 0,
            produced_then: 0,
            skipped_then: 0,
            limited_then: 0.0,
            rates: (0.0, 0.0),
        }
    }

    /// Keeps the figures of a session that ends.
    pub fn retire(&mut self, figures: &Snapshot) {
        self.ended.add(figures);
    }

    /// Keeps the totals of files that a session followed.
    pub fn retire_files(&mut self, tail: &TailStatus) {
        self.retire_totals(&totals(tail));
    }

    /// Keeps totals of files that nobody follows any more.
    pub fn retire_totals(&mut self, files: &Counters) {
        self.ended_files.add(files);
    }

    /// All figures together.
    pub fn overall(
        &self,
        agent: &Agent,
        states: &[(Snapshot, Option<TailStatus>)],
    ) -> OverallStats {
        let mut figures = self.ended.clone();
        let mut files = self.ended_files;
        let (mut watched, mut copying, mut pending, mut scans) = (0, 0, 0, 0);
        for (session, tail) in states {
            figures.add(session);
            if let Some(tail) = tail {
                files.add(&totals(tail));
                watched += tail.patterns.len() as u64;
                copying += tail.logs.iter().filter(|l| l.present).count() as u64;
                pending += tail.logs.iter().map(|l| l.pending).sum::<u64>();
                scans += tail.scans;
            }
        }
        let monitors: Vec<_> = agent.crew.snapshots().map(|(status, _)| status).collect();
        let alive = monitors.iter().filter(|m| m.alive).count() as u64;
        let (user_cpu, system_cpu, rss) = usage();
        let skipped_new = files.skipped[crate::tail::Skip::OldFile as usize];
        OverallStats {
            launch_time: Some(agent.launched),
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            num_watched_paths: watched,
            num_copying_paths: copying,
            num_running_monitors: alive,
            num_dead_monitor: monitors.len() as u64 - alive,
            num_worker_sessions: agent.sessions.len() as u64,
            user_cpu,
            system_cpu,
            rss_size: rss,
            total_bytes_copied: files.copied,
            total_bytes_pending: pending,
            total_bytes_skipped: files.total_skipped(),
            skipped_new_bytes: skipped_new,
            skipped_preexisting_bytes: files.total_skipped() - skipped_new,
            total_rate_limited_time: figures.rate_limited_secs,
            total_bytes_subsampled: files.shape.sampled_out_bytes,
            total_bytes_failed: files.failed,
            total_redactions: files.shape.redacted_lines,
            total_copy_requests_errors: figures.total_errors,
            total_monitor_reported_lines: monitors.iter().map(|m| m.lines).sum(),
            total_monitor_errors: monitors.iter().map(|m| m.errors).sum(),
            total_requests_sent: figures.requests_sent,
            total_requests_failed: figures.requests_failed,
            total_request_bytes_sent: figures.request_bytes_sent,
            total_compressed_request_bytes_sent: figures.compressed_request_bytes_sent,
            total_response_bytes_received: figures.response_bytes_received,
            total_request_latency_secs: figures.request_latency_secs,
            total_connections_created: figures.connections_created,
            total_scan_iterations: scans,
            total_read_time: 0.0,
            total_compression_time: figures.compression_secs,
            total_waiting_time: figures.waiting_secs,
            total_blocking_response_time: figures.request_latency_secs,
            total_request_time: figures.request_latency_secs,
            total_pipelined_requests: 0,
            avg_bytes_produced_rate: self.rates.0,
            avg_bytes_copied_rate: self.rates.1,
            rate_limited_time_since_last_status: figures.rate_limited_secs - self.limited_then,
            avg_status_report_duration: None,
            num_dead_monitors: monitors.len() as u64 - alive,
        }
    }
}

impl Agent {
    /// Writes the lines that are due; at the stop the overall one in any case.
    pub(super) fn periodic_lines(&mut self, now: Instant, stopping: bool) {
        let options = &self.config.options;
        let due = |last: Instant, period: f64| now.duration_since(last).as_secs_f64() >= period;
        let overall = stopping
            || due(
                self.statistics.last_overall,
                options.overall_stats_log_interval,
            );
        let requests = due(
            self.statistics.last_requests,
            options.bandwidth_stats_log_interval,
        );
        let copying = due(
            self.statistics.last_copying,
            options.copying_manager_stats_log_interval,
        );
        if !overall && !requests && !copying {
            return;
        }
        let patience = match stopping {
            true => super::sessions::ANSWERS_WITHIN,
            false => PATIENCE,
        };
        let states = self.session_states(patience);
        let s = self.statistics.overall(self, &states);
        if overall {
            self.statistics.last_overall = now;
            say(format_args!(
                "agent_status launch_time=\"{}\" version=\"{}\" watched_paths={} copying_paths={} \
                 total_bytes_copied={} total_bytes_skipped={} total_bytes_subsampled={} total_redactions={} \
                 total_bytes_failed={} total_copy_request_errors={} total_monitor_reported_lines={} \
                 running_monitors={} dead_monitors={} user_cpu_={:.6} system_cpu={:.6} ram_usage={} \
                 skipped_new_bytes={} skipped_preexisting_bytes={} total_bytes_pending={}",
                time::human(s.launch_time),
                env!("CARGO_PKG_VERSION"),
                s.num_watched_paths,
                s.num_copying_paths,
                s.total_bytes_copied,
                s.total_bytes_skipped,
                s.total_bytes_subsampled,
                s.total_redactions,
                s.total_bytes_failed,
                s.total_copy_requests_errors,
                s.total_monitor_reported_lines,
                s.num_running_monitors,
                s.num_dead_monitors,
                s.user_cpu,
                s.system_cpu,
                s.rss_size,
                s.skipped_new_bytes,
                s.skipped_preexisting_bytes,
                s.total_bytes_pending
            ));
        }
        if requests {
            self.statistics.last_requests = now;
            say(format_args!(
                "agent_requests requests_sent={} requests_failed={} bytes_sent={} compressed_bytes_sent={} \
                 bytes_received={} request_latency_secs={:.6} connections_created={}",
                s.total_requests_sent,
                s.total_requests_failed,
                s.total_request_bytes_sent,
                s.total_compressed_request_bytes_sent,
                s.total_response_bytes_received,
                s.total_request_latency_secs,
                s.total_connections_created
            ));
        }
        if copying {
            self.copying_line(now, &s);
        }
    }

    fn copying_line(&mut self, now: Instant, s: &OverallStats) {
        let st = &mut self.statistics;
        let period = now.duration_since(st.last_copying).as_secs_f64().max(1.0);
        st.last_copying = now;
        let produced = s.total_bytes_copied + s.total_bytes_pending + s.total_bytes_skipped;
        let copied_rate = s.total_bytes_copied.saturating_sub(st.copied_then) as f64 / period;
        let produced_rate = produced.saturating_sub(st.produced_then) as f64 / period;
        let skipped = s.total_bytes_skipped.saturating_sub(st.skipped_then);
        let limited = s.total_rate_limited_time - st.limited_then;
        st.copied_then = s.total_bytes_copied;
        st.produced_then = produced;
        st.skipped_then = s.total_bytes_skipped;
        st.limited_then = s.total_rate_limited_time;
        st.rates = (produced_rate, copied_rate);
        say(format_args!(
            "copy_manager_status num_worker_sessions={} total_scan_iterations={} total_read_time={:.6} \
             total_compression_time={:.6} total_waiting_time={:.6} total_blocking_response_time={:.6} \
             total_request_time={:.6} total_pipelined_requests={} avg_bytes_produced_rate={produced_rate:.6} \
             avg_bytes_copied_rate={copied_rate:.6}",
            s.num_worker_sessions,
            s.total_scan_iterations,
            s.total_read_time,
            s.total_compression_time,
            s.total_waiting_time,
            s.total_blocking_response_time,
            s.total_request_time,
            s.total_pipelined_requests,
        ));
        if skipped > 0 {
            log::warn!(
                "{skipped} bytes of logs were skipped in the last {:.1} minutes (copied {:.5} MB/s, produced {:.5} \
                 MB/s); status -v tells which files and why",
                period / 60.0,
                copied_rate / 1e6,
                produced_rate / 1e6
            );
        }
        if limited > 0.0 {
            log::warn!(
                "max_send_rate_enforcement delayed sending by {limited:.1} s in the last {:.1} minutes",
                period / 60.0
            );
        }
    }
}

fn say(text: std::fmt::Arguments) {
    logging::log_as(MODULE, Level::Info, text);
}

fn totals(tail: &TailStatus) -> Counters {
    let mut totals = tail.retired;
    for log in &tail.logs {
        totals.add(&log.counters);
    }
    totals
}

/// CPU seconds in user and kernel mode, and the largest resident size in KiB: the unit that
/// `ram_usage` has always had.
pub(super) fn usage() -> (f64, f64, u64) {
    use nix::sys::resource::{getrusage, UsageWho};
    match getrusage(UsageWho::RUSAGE_SELF) {
        Ok(u) => {
            let secs = |t: nix::sys::time::TimeVal| t.tv_sec() as f64 + t.tv_usec() as f64 / 1e6;
            (
                secs(u.user_time()),
                secs(u.system_time()),
                u64::try_from(u.max_rss()).unwrap_or(0),
            )
        }
        Err(_) => (0.0, 0.0, 0),
    }
}
