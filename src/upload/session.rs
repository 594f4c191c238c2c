//! The upload thread: take a batch, send it until the server decides, give it back.

use super::compress::Packer;
use super::http::{Http, Reply, PATH};
use super::limiter::Limiter;
use super::pacing::Pacing;
use super::response::{judge, one_line, retry_after, Action, Complaint, Judgement};
use super::settings::UploadSettings;
use super::stats::UploadStats;
use crate::util::stop::Stop;
use crate::util::throttle::Throttle;
use crate::util::{random, time};
use crate::wire::Batch;
use crossbeam_channel::{Receiver, Sender};
use std::io;
use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The fate of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The server has each event of it or refuses it for good: its spans are committed, and tell
    /// what was refused.
    Decided,
    /// A stop, or the death of the thread, came before all of it was decided.
    Unsent,
}

/// A batch on its way back.
#[derive(Debug)]
pub struct Verdict {
    /// The batch, as it came.
    pub batch: Batch,
    /// Whether all of it was decided.
    pub fate: Fate,
    /// Size limit in bytes for batches started from now on. A single event larger than this is
    /// still worth a try in a batch of its own, up to `max_allowed_request_size`.
    pub limit: usize,
    /// The earliest moment for a next batch that is not full.
    pub next_at: Instant,
}

/// Starts a session's upload thread.
///
/// Each batch from `batches` comes back over `verdicts` exactly once and in order. It is kept until the
/// server has it or refuses it for good; one that the server finds too large is sent in parts. The
/// thread keeps the minimum spacing, backoff and rate limit by itself. When to hand over a batch that
/// is not full is the sender's decision, by [`Verdict::next_at`] as a rule and at once before a stop.
///
/// After `stop` a request in flight is awaited, which takes no longer than its deadlines, no new
/// one is begun, and batches come back unsent. The thread ends when `batches` is disconnected, when
/// `stop` is set and nothing is waiting, or when nobody listens to `verdicts`. Should it die, the batch
/// that it had comes back unsent all the same.
///
/// # Errors
/// The system's, if it has no thread to give.
pub fn spawn(
    session: String,
    settings: UploadSettings,
    batches: Receiver<Batch>,
    verdicts: Sender<Verdict>,
    stats: Arc<UploadStats>,
    stop: Stop,
) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(format!("upload-{session}"))
        .spawn(move || {
            let now = Instant::now();
            let session = Session {
                name: session,
                pacing: Pacing::new(settings.pacing.clone()),
                limiter: Limiter::new(settings.rate_limit, now),
                packer: Packer::new(settings.compression, settings.level),
                disable_send: settings.disable_send,
                http: Http::new(settings),
                batches,
                verdicts,
                stats,
                stop,
                throttle: Throttle::default(),
                failing_since: None,
                part: Vec::new(),
            };
            session.run();
        })
}

/// The same complaint is repeated this seldom.
const REPEAT_COMPLAINT: Duration = Duration::from_secs(60);
/// And this seldom when the trouble has lasted that long.
const REPEAT_LASTING: Duration = Duration::from_secs(300);

struct Session {
    name: String,
    pacing: Pacing,
    limiter: Limiter,
    packer: Packer,
    disable_send: bool,
    http: Http,
    batches: Receiver<Batch>,
    verdicts: Sender<Verdict>,
    stats: Arc<UploadStats>,
    stop: Stop,
    throttle: Throttle,
    failing_since: Option<Instant>,
    /// The body of a request with a part of a batch's events.
    part: Vec<u8>,
}

/// An attempt's result.
struct Attempt {
    judgement: Judgement,
    retry_after: Option<Duration>,
    /// Of the body, uncompressed.
    size: usize,
    /// Of the messages in it.
    message_bytes: u64,
}

impl Session {
    fn run(mut self) {
        self.note_pace();
        while let Some(mut batch) = self.next() {
            // A batch outlives a panic of the thread that sends it: sending changes nothing of its events
            let delivery = AssertUnwindSafe(|| self.deliver(&mut batch));
            let (fate, panic) = match std::panic::catch_unwind(delivery) {
                Ok(fate) => (fate, None),
                Err(panic) => (Fate::Unsent, Some(panic)),
            };
            let now = Instant::now();
            let paced = self.pacing.earliest(false).unwrap_or(now);
            let verdict = Verdict {
                batch,
                fate,
                limit: self.pacing.limit(),
                next_at: paced.max(self.limiter.free_at()),
            };
            let is_heard = self.verdicts.send(verdict).is_ok();
            if let Some(panic) = panic {
                std::panic::resume_unwind(panic);
            }
            if !is_heard {
                return;
            }
        }
    }

    fn next(&self) -> Option<Batch> {
        crossbeam_channel::select! {
            recv(self.batches) -> batch => batch.ok(),
            recv(self.stop.channel()) -> _ => self.batches.try_recv().ok(),
        }
    }

    /// Sends a batch until its fate is known, in parts where the server finds it too large.
    fn deliver(&mut self, batch: &mut Batch) -> Fate {
        #[cfg(test)]
        super::session_tests::die_over(batch);
        let all = batch.events();
        // The number of events from the start that are decided, and the most that go in one request
        let mut decided = 0;
        let mut most = all;
        loop {
            let events = decided..all.min(decided + most);
            let many = events.end - events.start;
            if self.wait() {
                return Fate::Unsent;
            }
            let attempt = self.attempt(batch, &events);
            let now = Instant::now();
            let is_decided = match attempt.judgement.action {
                Action::Commit => {
                    self.pacing.succeeded(attempt.size, batch.is_full(), now);
                    self.limiter.charge(attempt.message_bytes, now);
                    self.recovered(now);
                    self.stats.update(|s| {
                        s.events_delivered += many;
                        s.message_bytes_delivered += attempt.message_bytes;
                    });
                    true
                }
                Action::Discard => {
                    self.failed(&attempt, now);
                    self.refuse(batch, &events, &attempt);
                    true
                }
                Action::Shrink if many == 1 => {
                    self.failed(&attempt, now);
                    log::error!(
                        "[error=\"eventTooLarge\"] Session {}: the server does not take an event of {} bytes \
                         (request of {} bytes), it is dropped.",
                        self.name,
                        attempt.message_bytes,
                        attempt.size
                    );
                    self.refuse(batch, &events, &attempt);
                    true
                }
                Action::Shrink => {
                    self.failed(&attempt, now);
                    // Refusing the empty request is nonsense, and no reason to shrink
                    if many > 0 {
                        self.pacing.too_large(attempt.size, now);
                        most = many / 2;
                    }
                    false
                }
                Action::Retry => {
                    self.failed(&attempt, now);
                    false
                }
            };
            self.note_pace();
            if is_decided {
                decided = events.end;
                if decided == all {
                    break;
                }
            }
        }
        // Seldom used, and as large as a batch
        self.part = Vec::new();
        Fate::Decided
    }

    fn refuse(&self, batch: &mut Batch, events: &Range<u64>, attempt: &Attempt) {
        self.stats.update(|s| {
            s.events_discarded += events.end - events.start;
            s.message_bytes_discarded += attempt.message_bytes;
        });
        batch.refuse(events.clone());
    }

    /// Waits until a request may go. True if a stop came first.
    fn wait(&mut self) -> bool {
        let began = Instant::now();
        let paced = self.pacing.earliest(true).unwrap_or(began);
        let free = self.limiter.free_at();
        let wait = paced.max(free).saturating_duration_since(began);
        if wait.is_zero() {
            return self.stop.is_set();
        }
        self.stats.update(|s| s.busy_until = Some(began + wait));
        let stopped = self.stop.sleep(wait);
        let ended = Instant::now();
        let limited = ended.min(free).saturating_duration_since(paced.max(began));
        self.stats.update(|s| {
            s.waiting_secs += ended.duration_since(began).as_secs_f64();
            s.rate_limited_secs += limited.as_secs_f64();
        });
        stopped
    }

    /// Posts the batch, a second time at once if the kept connection proved to be closed: the server
    /// may end an idle one at any time, and a backoff for that would delay lines.
    fn attempt(&mut self, batch: &mut Batch, events: &Range<u64>) -> Attempt {
        let mut second = false;
        loop {
            let (size, message_bytes, reply) = self.post(batch, events);
            let (judgement, retry_after) = match reply {
                Reply::Broken { stale: true, text } if !second && !self.stop.is_set() => {
                    log::debug!("session {}: kept connection was closed: {text}", self.name);
                    self.stats.update(|s| {
                        s.requests_failed += 1;
                        s.total_errors += 1;
                    });
                    second = true;
                    continue;
                }
                reply => self.judge(reply),
            };
            return Attempt {
                judgement,
                retry_after,
                size,
                message_bytes,
            };
        }
    }

    /// One request with these of the batch's events; the body's uncompressed size, that of the
    /// messages in it, and the reply.
    fn post(&mut self, batch: &mut Batch, events: &Range<u64>) -> (usize, u64, Reply) {
        let backlog = batch.is_full();
        let client_time = time::now_secs();
        let of_part = match *events == (0..batch.events()) {
            true => None,
            false => batch.part(events.clone(), client_time as u64, &mut self.part),
        };
        let message_bytes = of_part.unwrap_or_else(|| batch.message_bytes());
        batch.posted += message_bytes;
        let body = match of_part {
            Some(_) => &self.part[..],
            None => batch.complete(client_time as u64),
        };
        let size = body.len();
        let started = Instant::now();
        let (sent, encoding) = if self.disable_send {
            (body, None)
        } else {
            self.packer.pack(body, backlog)
        };
        let packed = Instant::now();
        let sent_size = sent.len() as u64;
        let longest = self.http.longest(sent.len());
        self.stats.update(|s| {
            s.busy_until = Some(packed + longest);
            s.unacknowledged_since.get_or_insert(started);
            s.last_attempt_time = Some(client_time);
            s.last_attempt_size = Some(sent_size);
            s.compression_secs += packed.duration_since(started).as_secs_f64();
        });
        if log::log_enabled!(log::Level::Trace) {
            log::trace!("session {}: {}", self.name, shown(body));
        }
        self.pacing.started(packed);
        let reply = if self.disable_send {
            Reply::Answer {
                http: 200,
                retry_after: None,
                date: None,
                body: br#"{"status":"success"}"#.to_vec(),
                whole: true,
            }
        } else {
            self.http.post(sent, encoding)
        };
        let took = packed.elapsed();
        let connections = self.http.connections();
        self.stats.update(|s| {
            s.busy_until = None;
            s.connections_created = connections;
            s.request_latency_secs += took.as_secs_f64();
            if !matches!(reply, Reply::NotConnected { .. }) {
                s.request_bytes_sent += (size + PATH.len()) as u64;
                s.compressed_request_bytes_sent += sent_size + PATH.len() as u64;
            }
            s.requests_sent += 1;
            if let Reply::Answer { body, .. } = &reply {
                s.response_bytes_received += body.len() as u64;
            }
        });
        let reply = match reply {
            Reply::Broken { text, stale } => Reply::Broken {
                text: format!("{text} (after {} ms)", took.as_millis()),
                stale,
            },
            other => other,
        };
        (size, message_bytes, reply)
    }

    fn judge(&mut self, reply: Reply) -> (Judgement, Option<Duration>) {
        let http = match &reply {
            Reply::Answer { http, .. } => Some(*http),
            Reply::NotConnected { .. } | Reply::Broken { .. } => None,
        };
        let (judgement, asked, text) = match reply {
            Reply::Answer {
                http,
                retry_after: header,
                body,
                whole,
                ..
            } => {
                let asked = header
                    .filter(|_| matches!(http, 429 | 503))
                    .and_then(|value| retry_after(&value, time::now_secs() as u64));
                (
                    judge(http, &body, whole),
                    asked,
                    Some(one_line(&body, 1000)),
                )
            }
            Reply::NotConnected { code, text } => {
                let text = format!("cannot connect to the server: {text}");
                (no_answer(code, code, log::Level::Error, text), None, None)
            }
            Reply::Broken { text, .. } => {
                let text = format!("no answer to the request: {text}; will send it again");
                let code = "requestFailed";
                (no_answer(code, code, log::Level::Warn, text), None, None)
            }
        };
        if judgement.action != Action::Commit {
            self.http.disconnect();
        }
        self.stats.update(|s| {
            s.last_response_status = Some(judgement.status.clone());
            s.last_http = http;
            if text.is_some() {
                s.last_response = text;
            }
        });
        (judgement, asked)
    }

    fn failed(&mut self, attempt: &Attempt, now: Instant) {
        self.pacing.failed(random::unit(), attempt.retry_after, now);
        let since = *self.failing_since.get_or_insert(now);
        let period = if now.duration_since(since) > REPEAT_LASTING {
            REPEAT_LASTING
        } else {
            REPEAT_COMPLAINT
        };
        if let Some(Complaint { level, code, text }) = &attempt.judgement.complaint {
            let key = format!("{code} {}", attempt.judgement.status);
            if self.throttle.allow(&key, period) {
                log::log!(*level, "[error=\"{code}\"] Session {}: {text}", self.name);
            } else {
                log::debug!("[error=\"{code}\"] Session {}: {text}", self.name);
            }
        }
        let failures = u64::from(self.pacing.failures());
        self.stats.update(|s| {
            s.requests_failed += 1;
            s.total_errors += 1;
            s.consecutive_failures = failures;
            s.last_error = attempt.judgement.complaint.as_ref().map(|c| c.text.clone());
            s.last_error_time = Some(time::now_secs());
        });
    }

    fn recovered(&mut self, now: Instant) {
        if let Some(since) = self.failing_since.take() {
            if self.throttle.allow("recovered", REPEAT_COMPLAINT) {
                log::info!(
                    "Session {}: the server takes requests again, after {} failed ones in {:.0} s.",
                    self.name,
                    self.stats.snapshot().consecutive_failures,
                    now.duration_since(since).as_secs_f64()
                );
            }
        }
        self.stats.update(|s| {
            s.consecutive_failures = 0;
            s.unacknowledged_since = None;
            s.last_success_time = Some(time::now_secs());
            s.bytes_uploaded += s.last_attempt_size.unwrap_or(0);
        });
    }

    fn note_pace(&self) {
        let level = self.packer.level();
        let interval = self.pacing.interval().as_secs_f64();
        let limit = self.pacing.limit() as u64;
        let retry = (self.pacing.failures() > 0)
            .then(|| self.pacing.earliest(true))
            .flatten()
            .map(|at| {
                let wait = at.saturating_duration_since(Instant::now());
                time::now_secs() + wait.as_secs_f64()
            });
        self.stats.update(|s| {
            s.interval_secs = interval;
            s.limit = limit;
            s.compression_level = level;
            s.next_retry_time = retry;
        });
    }
}

fn no_answer(status: &str, code: &'static str, level: log::Level, text: String) -> Judgement {
    Judgement {
        status: status.to_owned(),
        action: Action::Retry,
        complaint: Some(Complaint {
            level,
            code: code.into(),
            text,
        }),
    }
}

/// The start of a body without what comes first: the API key.
fn shown(body: &[u8]) -> String {
    let start = memchr::memmem::find(body, b"\"session\":").unwrap_or(body.len());
    one_line(&body[start..], 2048)
}
