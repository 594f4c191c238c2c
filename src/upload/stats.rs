//! A session's counters and last request, for the status report and the statistics in agent.log.

use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

/// A session's figures, written by its upload thread once per request.
#[derive(Debug, Default)]
pub struct UploadStats(Mutex<Snapshot>);

/// The figures at one moment. Counts and sums only grow; sizes are bytes, times are seconds,
/// moments are seconds since the epoch.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Snapshot {
    /// Requests begun, retries included.
    pub requests_sent: u64,
    /// Of those, the ones that did not end in success.
    pub requests_failed: u64,
    /// Uncompressed bodies and request paths.
    pub request_bytes_sent: u64,
    /// The same as sent, that is after compression.
    pub compressed_request_bytes_sent: u64,
    /// Response bodies.
    pub response_bytes_received: u64,
    /// From the start of a request, connecting included, until its response was read.
    pub request_latency_secs: f64,
    /// Connections opened.
    pub connections_created: u64,
    /// Spent compressing.
    pub compression_secs: f64,
    /// Bodies of successful requests as sent.
    pub bytes_uploaded: u64,
    /// Events in successful requests.
    pub events_delivered: u64,
    /// Bytes of log text in successful requests.
    pub message_bytes_delivered: u64,
    /// Events that the server said to discard, or that can never fit.
    pub events_discarded: u64,
    /// Bytes of log text of those.
    pub message_bytes_discarded: u64,
    /// Requests that failed, by whatever cause ("responses with errors").
    pub total_errors: u64,
    /// Failures since the last success.
    pub consecutive_failures: u64,
    /// When the first request began of those that the server has not acknowledged since the last one that
    /// it has; none while all are acknowledged.
    pub unacknowledged_since: Option<Instant>,
    /// When a request last succeeded.
    pub last_success_time: Option<f64>,
    /// When a request was last begun.
    pub last_attempt_time: Option<f64>,
    /// That request's body as sent.
    pub last_attempt_size: Option<u64>,
    /// The body of the last response on one line, cut to 1000 bytes.
    pub last_response: Option<String>,
    /// Its meaning, `success` or an error code.
    pub last_response_status: Option<String>,
    /// The request or the pause that is under way ends by then: it is bounded, however slow the server is.
    pub busy_until: Option<Instant>,
    /// The HTTP status of the last answer; none if the last request was not answered.
    pub last_http: Option<u16>,
    /// The last failure in words, kept after a success.
    pub last_error: Option<String>,
    /// When that was.
    pub last_error_time: Option<f64>,
    /// When the failed request is sent again.
    pub next_retry_time: Option<f64>,
    /// Waited because of `max_send_rate_enforcement`.
    pub rate_limited_secs: f64,
    /// Waited for any reason.
    pub waiting_secs: f64,
    /// The present spacing of requests that are not full.
    pub interval_secs: f64,
    /// The present limit of a request's uncompressed size.
    pub limit: u64,
    /// The level of compression of the last request, or of the first one to come; 0 for none, and for a type
    /// that has no levels.
    pub compression_level: u8,
}

impl Snapshot {
    /// Adds another session's counts and sums; what is true of one moment stays.
    pub fn add(&mut self, other: &Snapshot) {
        self.requests_sent += other.requests_sent;
        self.requests_failed += other.requests_failed;
        self.request_bytes_sent += other.request_bytes_sent;
        self.compressed_request_bytes_sent += other.compressed_request_bytes_sent;
        self.response_bytes_received += other.response_bytes_received;
        self.request_latency_secs += other.request_latency_secs;
        self.connections_created += other.connections_created;
        self.compression_secs += other.compression_secs;
        self.bytes_uploaded += other.bytes_uploaded;
        self.events_delivered += other.events_delivered;
        self.message_bytes_delivered += other.message_bytes_delivered;
        self.events_discarded += other.events_discarded;
        self.message_bytes_discarded += other.message_bytes_discarded;
        self.total_errors += other.total_errors;
        self.rate_limited_secs += other.rate_limited_secs;
        self.waiting_secs += other.waiting_secs;
    }
}

impl UploadStats {
    /// Zeroes.
    pub fn new() -> Self {
        Self::default()
    }

    /// A copy of the present figures.
    pub fn snapshot(&self) -> Snapshot {
        self.lock().clone()
    }

    /// Changes figures under the lock; `change` must be short.
    pub(super) fn update(&self, change: impl FnOnce(&mut Snapshot)) {
        change(&mut self.lock());
    }

    fn lock(&self) -> MutexGuard<'_, Snapshot> {
        match self.0.lock() {
            Ok(guard) => guard,
            // Figures have no invariant that a panic elsewhere could have broken
            Err(poisoned) => poisoned.into_inner(),
        }
    }
}
