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
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The server has it; its spans are committed.
    Delivered,
    /// The server asked to drop it, or it is a single event that the server will never take; its
    /// spans are passed over and counted.
    Discarded,
    /// It must be read from the files again, in smaller requests if `too_large`.
    RolledBack,
    /// It was not sent, because of a stop or because an earlier batch was rolled back.
    Unsent,
}

/// A batch on its way back.
#[derive(Debug)]
pub struct Verdict {
    /// The batch, as it came.
    pub batch: Batch,
    /// What became of it.
    pub fate: Fate,
    /// Whether its size was the reason.
    pub too_large: bool,
    /// Size limit in bytes for batches started from now on. A single event larger than this is
    /// still worth a try in a batch of its own, up to `max_allowed_request_size`.
    pub limit: usize,
    /// The earliest moment for a next batch that is not full.
    pub next_at: Instant,
}

/// Starts a session's upload thread.
///
/// Each batch from `batches` comes back over `verdicts` exactly once and in order. After
/// [`Fate::RolledBack`] or [`Fate::Unsent`] every later batch of the same [`Batch::round`] comes
/// back [`Fate::Unsent`]; the sender reads again when all are back, and gives what it hands over
/// then a higher round. The thread keeps the minimum spacing, back-off and rate limit by itself.
/// When to hand over a batch that is not full is the sender's decision, by [`Verdict::next_at`] as
/// a rule and at once before a stop.
///
/// After `stop` a request in flight is awaited, which takes no longer than its deadlines, no new
/// one is begun, and batches come back unsent. The thread ends when `batches` is disconnected, when
/// `stop` is set and nothing is waiting, or when nobody listens to `verdicts`.
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
}

/// An attempt's result.
struct Attempt {
    judgement: Judgement,
    retry_after: Option<Duration>,
    /// Of the body, uncompressed.
    size: usize,
}

impl Session {
    fn run(mut self) {
        self.note_pace();
        // What was handed over before the sender knew that it has to read again must not be
        // delivered: its commit would pass over what came back.
        let mut void = None;
        while let Some(batch) = self.next() {
            let round = Some(batch.round);
            let verdict = if round <= void {
                self.verdict(batch, Fate::Unsent, false)
            } else {
                self.deliver(batch)
            };
            if matches!(verdict.fate, Fate::RolledBack | Fate::Unsent) {
                void = void.max(round);
            }
            if self.verdicts.send(verdict).is_err() {
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

    /// Sends a batch until its fate is known.
    fn deliver(&mut self, mut batch: Batch) -> Verdict {
        loop {
            if self.wait() {
                return self.verdict(batch, Fate::Unsent, false);
            }
            let attempt = self.attempt(&mut batch);
            let now = Instant::now();
            let fate = match attempt.judgement.action {
                Action::Commit => {
                    self.pacing.succeeded(attempt.size, batch.is_full(), now);
                    self.limiter.charge(batch.message_bytes(), now);
                    self.recovered(now);
                    Some(Fate::Delivered)
                }
                Action::Discard => {
                    self.failed(&attempt, now);
                    Some(Fate::Discarded)
                }
                Action::Rebuild { too_large: false } => {
                    self.failed(&attempt, now);
                    Some(Fate::RolledBack)
                }
                Action::Rebuild { too_large: true } => {
                    self.failed(&attempt, now);
                    Some(self.too_large(&batch, attempt.size, now))
                }
                Action::Retry => {
                    self.failed(&attempt, now);
                    None
                }
            };
            self.note_pace();
            if let Some(fate) = fate {
                self.note_fate(&batch, fate);
                let too_large = attempt.judgement.action == Action::Rebuild { too_large: true };
                return self.verdict(batch, fate, too_large);
            }
        }
    }

    fn verdict(&self, batch: Batch, fate: Fate, too_large: bool) -> Verdict {
        let now = Instant::now();
        let paced = self.pacing.earliest(false).unwrap_or(now);
        Verdict {
            batch,
            fate,
            too_large,
            limit: self.pacing.limit(),
            next_at: paced.max(self.limiter.free_at()),
        }
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
        let stopped = self.stop.sleep(wait);
        let ended = Instant::now();
        let limited = ended.min(free).saturating_duration_since(paced.max(began));
        self.stats.update(|s| {
            s.waiting_secs += ended.duration_since(began).as_secs_f64();
            s.rate_limited_secs += limited.as_secs_f64();
        });
        stopped
    }

    /// Posts the batch, a second time at once if the kept connection proved to be closed (P14).
    fn attempt(&mut self, batch: &mut Batch) -> Attempt {
        let mut second = false;
        loop {
            let (size, reply) = self.post(batch);
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
            };
        }
    }

    /// One request; the body's uncompressed size and the reply.
    fn post(&mut self, batch: &mut Batch) -> (usize, Reply) {
        let backlog = batch.is_full();
        batch.sends += 1;
        let client_time = time::now_secs();
        let body = batch.complete(client_time as u64);
        let size = body.len();
        let started = Instant::now();
        let (sent, encoding) = if self.disable_send {
            (body, None)
        } else {
            self.packer.pack(body, backlog)
        };
        let packed = Instant::now();
        let sent_size = sent.len() as u64;
        self.stats.update(|s| {
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
        (size, reply)
    }

    fn judge(&mut self, reply: Reply) -> (Judgement, Option<Duration>) {
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
            s.last_success_time = Some(time::now_secs());
            s.bytes_uploaded += s.last_attempt_size.unwrap_or(0);
        });
    }

    /// Makes what follows smaller, or gives up on an event that is alone and still too large.
    fn too_large(&mut self, batch: &Batch, size: usize, now: Instant) -> Fate {
        match batch.events() {
            // Refusing the empty request is nonsense, and no reason to shrink
            0 => return Fate::RolledBack,
            1 => {}
            _ => {
                self.pacing.too_large(size, now);
                return Fate::RolledBack;
            }
        }
        log::error!(
            "[error=\"eventTooLarge\"] Session {}: the server does not take an event of {} bytes \
             (request of {size} bytes), it is dropped.",
            self.name,
            batch.message_bytes()
        );
        Fate::Discarded
    }

    fn note_fate(&self, batch: &Batch, fate: Fate) {
        let (events, bytes) = (batch.events(), batch.message_bytes());
        self.stats.update(|s| match fate {
            Fate::Delivered => {
                s.events_delivered += events;
                s.message_bytes_delivered += bytes;
            }
            Fate::Discarded => {
                s.events_discarded += events;
                s.message_bytes_discarded += bytes;
            }
            Fate::RolledBack => s.batches_rolled_back += 1,
            Fate::Unsent => {}
        });
    }

    fn note_pace(&self) {
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
            s.next_retry_time = retry;
        });
    }
}

fn no_answer(status: &str, code: &'static str, level: log::Level, text: String) -> Judgement {
    Judgement {
        status: status.to_owned(),
        action: Action::Retry,
        complaint: Some(Complaint { level, code, text }),
    }
}

/// The start of a body without what comes first: the API key.
fn shown(body: &[u8]) -> String {
    let start = memchr::memmem::find(body, b"\"session\":").unwrap_or(body.len());
    one_line(&body[start..], 2048)
}
