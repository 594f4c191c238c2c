//! The report of `status`, collected from the threads.

use super::session::Session;
use super::{Agent, PATIENCE};
use crate::config::{Compression, EntryKind};
use crate::status::data::{
    Account, ConfigStatus, CopyingStatus, FileState, FileStatus, Glance, HintStatus, MatcherStatus,
    MonitorStatus, MonitorsStatus, SessionStatus, SessionTimes, Skipped, WorkerStatus,
};
use crate::status::health::{self, Delivery, Problem};
use crate::status::{environment, Report};
use crate::tail::{Counters, LogStatus, Skip, TailStatus};
use crate::upload::Snapshot;
use crate::util::time::now_secs;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A session that is at one path for this long is shown.
const STUCK_SHOWN: Duration = Duration::from_millis(1_500);

/// How long after a pause or a time-out the next step is waited for.
const GRACE: Duration = Duration::from_secs(5);

impl Agent {
    /// Answers `status -v`.
    pub(super) fn report_status(&mut self) {
        // Taken out for the moment, as it calls back
        let mut responder = std::mem::replace(
            &mut self.responder,
            crate::status::protocol::Responder::new(&self.data_dir),
        );
        responder.answer(|| self.report());
        self.responder = responder;
    }

    fn report(&mut self) -> Report {
        let now = now_secs();
        // So that a session which does not get on while it is asked is seen after that
        for session in &self.sessions {
            session.stuck_for();
        }
        let states = self.session_states(PATIENCE);
        let copying = self.copying(&states, now);
        let overall = self.statistics.overall(self, &states);
        let monitors = self.monitors_status();
        let mut at_a_glance = self.glance(&states, now);
        at_a_glance.problems = self.problems(&copying, &monitors, &at_a_glance);
        let options = &self.config.options;
        let host = self
            .config
            .server_attributes
            .iter()
            .find(|(key, _)| key == "serverHost")
            .map(|(_, value)| match value {
                crate::config::AttrValue::Text(text) => text.clone(),
                crate::config::AttrValue::Number(n) => n.clone(),
            });
        Report {
            now,
            pid: std::process::id(),
            launch_time: self.launched,
            user: crate::process::user::Owner::current().name,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            revision: option_env!("SCALYR_REVISION")
                .unwrap_or("unknown")
                .to_owned(),
            server_host: host.unwrap_or_default(),
            scalyr_server: self.config.server.to_string(),
            compression_type: Compression::named(&options.compression_type)
                .unwrap_or_default()
                .name()
                .to_owned(),
            compression_level: self.compression_level(&states),
            log_path: format!("{}/agent.log", options.agent_log_path),
            config_status: self.config_status(),
            copying_manager_status: Some(copying),
            monitor_manager_status: Some(monitors),
            python_version: concat!("none (rust ", env!("CARGO_PKG_RUST_VERSION"), ")").to_owned(),
            avg_status_report_duration: None,
            overall_stats: overall,
            environment: environment::shown(&self.source.env),
            at_a_glance,
        }
    }

    /// Each session's figures and files; no files where a thread does not answer.
    pub(super) fn session_states(&self, within: Duration) -> Vec<(Snapshot, Option<TailStatus>)> {
        let until = Instant::now() + within;
        self.sessions
            .iter()
            .map(|s| (s.stats.snapshot(), s.status(until)))
            .collect()
    }

    /// Bytes of log delivered and seconds of processor used since the start.
    pub(super) fn totals_now(&self) -> (u64, f64) {
        let stats = self.sessions.iter().map(|s| s.stats.snapshot());
        let delivered = stats.map(|s| s.message_bytes_delivered).sum::<u64>();
        let (user, system, _) = super::statistics::usage();
        (delivered, user + system)
    }

    fn glance(&self, states: &[(Snapshot, Option<TailStatus>)], now: f64) -> Glance {
        let (delivered, cpu) = self.totals_now();
        let figures = self
            .pulse
            .figures(std::time::Instant::now(), delivered, cpu);
        let (resident_bytes, threads) = super::pulse::memory_and_threads();
        let tails = || states.iter().filter_map(|(_, tail)| tail.as_ref());
        let backlog_bytes = tails().flat_map(|t| &t.logs).map(|log| log.pending).sum();
        let bytes_per_second = figures.map(|f| f.bytes_per_second);
        let mut account = Account::default();
        for tail in tails() {
            account.add(&tail.retired);
            for log in &tail.logs {
                account.add(&log.counters);
            }
        }
        let last_success = states.iter().filter_map(|(s, _)| s.last_success_time);
        Glance {
            problems: Vec::new(),
            backlog_bytes,
            bytes_per_second,
            drain_secs: bytes_per_second
                .filter(|speed| *speed >= 1.0 && backlog_bytes > 0)
                .map(|speed| backlog_bytes as f64 / speed),
            last_success_age: last_success.reduce(f64::max).map(|at| (now - at).max(0.0)),
            cpu_percent: figures.map(|f| f.cpu_percent),
            cpu_secs: cpu,
            resident_bytes,
            threads,
            open_log_files: tails().map(|t| t.open_files as u64).sum(),
            checkpoints: {
                let notes = self.checkpoint_notes.iter().cloned();
                notes.chain(self.journal_trouble()).collect()
            },
            hanging: self.hanging(),
            ambiguities: ambiguities(tails()),
            hints: hints(tails()),
            account,
        }
    }

    /// The level of the last request of all sessions.
    fn compression_level(&self, states: &[(Snapshot, Option<TailStatus>)]) -> i64 {
        let mut last = (None, 0);
        for (figures, _) in states {
            if figures.last_attempt_time >= last.0 {
                last = (figures.last_attempt_time, figures.compression_level);
            }
        }
        i64::from(last.1)
    }

    /// The problem of each session's delivery, by the session's id.
    pub(super) fn deliveries(&self) -> Vec<(&str, Option<Problem>)> {
        let limit = self.config.options.healthy_max_time_without_delivery;
        let one = |session: &Session| {
            let figures = session.stats.snapshot();
            let mut workers = self.config.workers.iter();
            let worker = workers.find(|worker| worker.id == session.worker);
            let server = worker.map_or(&self.config.server, |worker| &worker.server);
            let state = Delivery {
                server: &server.to_string(),
                status: figures.last_response_status.as_deref().unwrap_or_default(),
                http: figures.last_http,
                error: figures.last_error.as_deref().unwrap_or_default(),
                failures: figures.consecutive_failures,
                waits: figures.unacknowledged_since.map(|since| since.elapsed()),
                has_delivered: figures.last_success_time.is_some(),
            };
            health::delivery(&state, limit)
        };
        let sessions = self.sessions.iter();
        sessions
            .map(|session| (&*session.id, one(session)))
            .collect()
    }

    /// The problems of this moment, the heaviest first.
    fn problems(
        &self,
        copying: &CopyingStatus,
        monitors: &MonitorsStatus,
        glance: &Glance,
    ) -> Vec<Problem> {
        let mut all: Vec<Problem> = health::stuck(copying.own_health().as_deref())
            .into_iter()
            .collect();
        if self.config.options.disable_send_requests {
            all.push(health::sends_nothing());
        }
        all.extend(health::deliveries(self.deliveries()));
        all.extend(health::hanging(&glance.hanging));
        all.extend(health::files(&copying.log_matchers));
        if let Some(error) = &self.config_state.error {
            all.push(Problem::warning(
                "brokenConfiguration",
                format!("the configuration is broken, and the last good one is in force: {error}"),
                "Correct it; scalyr-agent-2 check tells when it is good. The agent takes it up by itself.",
            ));
        }
        for monitor in monitors.monitors_status.iter().filter(|m| !m.is_alive) {
            let why = monitor.last_error.as_deref().unwrap_or("it has ended");
            all.push(Problem::warning(
                "monitorFailed",
                format!("the monitor {} does not run: {why}", monitor.monitor_name),
                "It is started again by itself. The agent's log tells more.",
            ));
        }
        let degraded = glance.checkpoints.iter();
        for note in degraded.filter(|note| note.starts_with(health::DEGRADED)) {
            all.push(Problem::warning(
                "positionsNotWritten",
                note.clone(),
                "Free some room on the disk of agent_data_path, or mend it.",
            ));
        }
        health::sorted(all)
    }

    /// The paths at which tail threads hang.
    fn hanging(&self) -> Vec<String> {
        let sessions = self.sessions.iter().filter_map(|session| {
            let stuck = session.stuck_for();
            let path = session.at();
            let line = || {
                format!(
                    "{} (session {}, which copies nothing, for {} s)",
                    path.display(),
                    session.id,
                    stuck.as_secs()
                )
            };
            (stuck >= STUCK_SHOWN).then(line)
        });
        sessions.chain(self.left.lines()).collect()
    }

    fn config_status(&self) -> ConfigStatus {
        let state = &self.config_state;
        ConfigStatus {
            path: self.config.main_file.to_string_lossy().into_owned(),
            additional_paths: self
                .config
                .fragments
                .iter()
                .map(|p| p.to_string_lossy().into_owned())
                .collect(),
            last_read_time: state.last_read,
            status: if state.error.is_some() {
                ConfigStatus::BAD.to_owned()
            } else {
                ConfigStatus::GOOD.to_owned()
            },
            last_error: state.error.clone(),
            last_good_read: state.last_good,
            last_check_time: state.last_check,
            not_acted_on: state.unused.clone(),
        }
    }

    fn copying(&self, states: &[(Snapshot, Option<TailStatus>)], now: f64) -> CopyingStatus {
        let limit = self.config.options.healthy_max_time_since_last_copy_attempt;
        let mut status = CopyingStatus::default();
        let deliveries = self.deliveries();
        // Whether it tries is the sessions' own health, and whether it succeeds comes on top
        let mut each = Vec::new();
        for worker in &self.config.workers {
            let mut sessions = Vec::new();
            let all = self.sessions.iter().zip(states).zip(&deliveries);
            for ((session, (figures, tail)), (_, problem)) in all {
                if session.worker != worker.id {
                    continue;
                }
                let mut one = session_status(&session.id, figures, tail.as_ref(), now, limit);
                each.push(one.health_check_result.clone());
                one.health_check_result = health::told(one.health_check_result, problem.as_slice());
                sessions.push(one);
            }
            status.workers.push(WorkerStatus {
                worker_id: worker.id.clone(),
                sessions,
            });
        }
        // A scan loop that is stuck does not answer; one that is only busy does not for long
        let busy = self.sessions.iter().zip(states);
        let busy = busy.filter(|(_, (_, tail))| tail.is_none());
        let stuck = busy.map(|(session, _)| session.busy_for()).max();
        let scan = now - stuck.unwrap_or_default().as_secs_f64();
        let scan = (!states.is_empty()).then_some(scan);
        status.health_check_result = health::scan(scan, now, limit);
        status.worker_sessions_health_check = health::sessions(each.iter().map(Option::as_deref));
        for (figures, tail) in states {
            status.total_bytes_uploaded += figures.bytes_uploaded;
            status.total_errors += figures.total_errors;
            status.total_scan_iterations += tail.as_ref().map_or(0, |t| t.scans);
            let times = times(figures);
            status.times.total_rate_limited_time += times.total_rate_limited_time;
            status.times.total_waiting_time += times.total_waiting_time;
            status.times.total_request_time += times.total_request_time;
            status.times.total_blocking_response_time += times.total_blocking_response_time;
        }
        status.log_matchers = self.matchers(states);
        status
    }

    /// The followed files by entry, in the order of the configuration.
    fn matchers(&self, states: &[(Snapshot, Option<TailStatus>)]) -> Vec<MatcherStatus> {
        let mut matchers: Vec<MatcherStatus> = Vec::new();
        let tails: Vec<&TailStatus> = states.iter().filter_map(|(_, t)| t.as_ref()).collect();
        let own = self.config.logs.iter();
        let own = own.filter(|entry| entry.kind == EntryKind::AgentLog);
        let named = self.monitor_logs.fixed.iter().filter(|log| log.metrics);
        let internal = own.map(|entry| entry.path.clone());
        let internal: Vec<_> = internal.chain(named.map(|log| log.path.clone())).collect();
        for tail in &tails {
            for (pattern, is_glob) in &tail.patterns {
                let name = super::plan::shown(pattern);
                if matchers.iter().any(|m| m.log_path == name) {
                    continue;
                }
                let mut files: Vec<FileStatus> = tails
                    .iter()
                    .flat_map(|t| &t.logs)
                    .filter(|log| log.pattern == *pattern)
                    .filter(|log| *is_glob || log.present || log.size > 0)
                    .map(file_status)
                    .collect();
                let unreadable = tails.iter().flat_map(|t| &t.unreadable);
                for told in unreadable.filter(|told| told.pattern == *pattern) {
                    files.push(FileStatus {
                        log_path: super::plan::shown(&told.path),
                        last_scan_time: tail.last_scan,
                        state: FileState::Unreadable,
                        last_error: Some(told.why.clone()),
                        ..FileStatus::default()
                    });
                }
                crate::util::sort::by(&mut files, |a, b| a.log_path.cmp(&b.log_path));
                // Each session tells of a folder that can't be listed
                files.dedup_by(|a, b| a.state == FileState::Unreadable && a.log_path == b.log_path);
                matchers.push(MatcherStatus {
                    log_path: name,
                    is_glob: *is_glob,
                    last_check_time: tail.last_scan,
                    log_processors_status: files,
                    is_internal: internal.iter().any(|path| path == pattern),
                });
            }
        }
        matchers
    }

    fn monitors_status(&self) -> MonitorsStatus {
        let mut status = MonitorsStatus::default();
        for (s, stop_agent_on_failure) in self.crew.snapshots() {
            let secs = |ms: u64| ms as f64 / 1000.0;
            status.total_alive_monitors += u64::from(s.alive);
            status.monitors_status.push(MonitorStatus {
                monitor_name: s.name.clone(),
                monitor_id: s.id.clone(),
                monitor_short_hash: short_hash(s.module, &s.id),
                stop_agent_on_failure,
                reported_lines: s.lines,
                errors: s.errors,
                is_alive: s.alive,
                last_sample: s.last_sample_ms.map(secs),
                busy_secs: s.busy_ms.map(secs),
                dropped_lines: s.dropped,
                lost_lines: s.lost,
                restarts: s.restarts,
                last_error: s.last_error.as_ref().map(|(_, text)| text.clone()),
                last_error_time: s.last_error.as_ref().map(|(at, _)| secs(*at)),
                counters: crate::util::sort::gathered(s.counters),
            });
        }
        status
    }
}

/// The questions that evidence left open in all sessions.
fn ambiguities<'a>(tails: impl Iterator<Item = &'a TailStatus>) -> BTreeMap<&'static str, u64> {
    let mut all = BTreeMap::new();
    for (reason, count) in tails.flat_map(|tail| &tail.ambiguities) {
        *all.entry(*reason).or_insert(0) += count;
    }
    all
}

/// The folders that the kernel tells the sessions of.
fn hints<'a>(tails: impl Iterator<Item = &'a TailStatus>) -> Option<HintStatus> {
    let mut all: Option<HintStatus> = None;
    for hints in tails.filter_map(|tail| tail.hints.as_ref()) {
        let all = all.get_or_insert_default();
        all.folders += hints.folders;
        for (reason, count) in &hints.without {
            *all.without.entry(*reason).or_insert(0) += count;
        }
    }
    all
}

fn session_status(
    id: &str,
    figures: &Snapshot,
    tail: Option<&TailStatus>,
    now: f64,
    limit: f64,
) -> SessionStatus {
    // A session that waits for a retry that is planned, for the rate limit or for a slow answer is not stuck: a
    // restart would begin the same anew
    let waits = figures.next_retry_time.is_some_and(|at| at + 5.0 > now)
        || figures
            .busy_until
            .is_some_and(|at| at + GRACE > Instant::now());
    let attempt = if waits {
        Some(now)
    } else {
        figures.last_attempt_time
    };
    SessionStatus {
        session_id: id.to_owned(),
        pid: std::process::id(),
        total_bytes_uploaded: figures.bytes_uploaded,
        last_success_time: figures.last_success_time,
        last_attempt_time: figures.last_attempt_time,
        last_attempt_size: figures.last_attempt_size,
        // As the Python agent has it: nothing was answered
        last_response: figures
            .last_response
            .clone()
            .or_else(|| figures.last_attempt_time.map(|_| String::new())),
        last_response_status: figures.last_response_status.clone(),
        total_errors: figures.total_errors,
        total_copy_iterations: tail.map_or(0, |t| t.batches),
        times: times(figures),
        health_check_result: health::session(id, attempt, now, limit),
        log_processors: tail.map_or_else(Vec::new, |t| t.logs.iter().map(file_status).collect()),
        last_error: figures.last_error.clone(),
        next_retry_time: figures.next_retry_time,
    }
}

fn times(figures: &Snapshot) -> SessionTimes {
    SessionTimes {
        total_rate_limited_time: figures.rate_limited_secs,
        rate_limited_time_since_last_status: 0.0,
        total_read_time: 0.0,
        total_waiting_time: figures.waiting_secs,
        total_blocking_response_time: figures.request_latency_secs,
        total_request_time: figures.request_latency_secs,
        total_pipelined_requests: 0,
    }
}

fn file_status(log: &LogStatus) -> FileStatus {
    let counters = &log.counters;
    let zeros = Some(counters.shape.zero_bytes).filter(|bytes| *bytes > 0);
    let zeros = zeros.map(|bytes| Skipped {
        reason: "zeros".to_owned(),
        bytes,
        preexisting: true,
    });
    FileStatus {
        log_path: super::plan::shown(&log.path),
        last_scan_time: log.last_check,
        total_lines_copied: counters.lines,
        total_bytes_failed: counters.failed,
        total_bytes_dropped_by_sampling: counters.shape.sampled_out_bytes,
        total_lines_dropped_by_sampling: counters.shape.sampled_out_lines,
        total_redactions: counters.shape.redacted_lines,
        size: log.size,
        read: log.read,
        total_bytes_copied: counters.copied,
        sent: log.sent,
        resent: counters.resent,
        shaped: shaped(counters),
        acknowledged: log.acknowledged,
        pending: log.pending,
        skipped: Skip::ALL
            .iter()
            .zip(counters.skipped)
            .filter(|(why, bytes)| *bytes > 0 && **why != Skip::BeforeStart)
            .map(|(why, bytes)| Skipped {
                reason: why.name().to_owned(),
                bytes,
                preexisting: *why != Skip::OldFile,
            })
            .chain(zeros)
            .collect(),
        state: if log.error.is_some() {
            FileState::Unreadable
        } else if log.reading || log.pending > 0 {
            FileState::Reading
        } else if !log.present {
            FileState::Rotated
        } else {
            FileState::Waiting
        },
        account: {
            let mut account = Account::default();
            account.add(counters);
            account
        },
        label: log.reported.clone(),
        last_error: log.error.clone(),
    }
}

impl Account {
    /// Adds what became of a log's bytes.
    pub(super) fn add(&mut self, counters: &Counters) {
        let shape = &counters.shape;
        self.settled += counters.settled;
        self.copied += counters.copied;
        self.failed += counters.failed;
        self.sampled_out += shape.sampled_out_bytes;
        let shorter =
            shape.redacted_bytes + shape.withheld_bytes + shape.empty_bytes + shape.framing_bytes;
        self.shortened += signed(shorter) - signed(shape.added_bytes);
        let passed_over = [
            Skip::TooFarBehind,
            Skip::Stale,
            Skip::TooLarge,
            Skip::Compressed,
        ];
        let passed_over = passed_over
            .iter()
            .map(|why| counters.skipped[*why as usize]);
        self.skipped += passed_over.sum::<u64>() + shape.no_room_bytes + shape.zero_bytes;
        let named = self.copied + self.failed + self.sampled_out + self.skipped;
        self.unaccounted = signed(self.settled) - signed(named) - self.shortened;
    }
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// The counts of shaping that are not zero and have no place of their own in the report.
fn shaped(counters: &Counters) -> Vec<(&'static str, u64)> {
    let counts = &counters.shape;
    [
        ("lines", counts.lines),
        ("grouped", counts.grouped_lines),
        ("cut", counts.cut_lines),
        ("withheld", counts.withheld_lines),
        ("empty", counts.empty_lines),
        ("without room", counts.no_room_lines),
        ("not parsed", counts.parse_failures),
        ("without message", counts.missing_messages),
        ("unreadable times", counts.bad_times),
        ("searches cut off", counts.failed_searches),
        ("bytes perhaps repeated", counters.repeated),
    ]
    .into_iter()
    .filter(|(_, count)| *count > 0)
    .collect()
}

/// The first ten hex digits of the SHA-256 of `module:id`.
fn short_hash(module: &str, id: &str) -> String {
    let digest = crate::util::sha256::digest(format!("{module}:{id}").as_bytes());
    digest[..5].iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_balances_and_shows_what_nobody_accounts_for() {
        let mut counters = Counters {
            settled: 1_000,
            copied: 600,
            failed: 50,
            ..Counters::default()
        };
        counters.skip(Skip::TooFarBehind, 100);
        counters.shape.sampled_out_bytes = 200;
        counters.shape.redacted_bytes = 70;
        counters.shape.added_bytes = 20;
        let mut account = Account::default();
        account.add(&counters);
        assert_eq!((account.shortened, account.unaccounted), (50, 0));
        // what lies before the start was never taken
        counters.skip(Skip::BeforeStart, 7);
        account.add(&counters);
        assert_eq!((account.settled, account.unaccounted), (2_000, 0));
        counters.settled += 3;
        account.add(&counters);
        assert_eq!(account.unaccounted, 3);
    }
}
