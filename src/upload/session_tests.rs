//! Whole sessions against a scripted server.

use super::fake_server::{Seen, Server, Step, SUCCESS};
use super::*;
use crate::config::ServerUrl;
use crate::util::stop::{self, Stopper};
use crate::wire::{Batch, Envelope, EnvelopeSpec, Event, Form, Label, Push, Span, Stamp};
use crossbeam_channel::{bounded, unbounded, Receiver, Sender};
use std::cell::Cell;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

fn settings(port: u16) -> UploadSettings {
    let mut settings = UploadSettings::to(ServerUrl {
        https: false,
        host: "127.0.0.1".to_owned(),
        port,
    });
    settings.pacing.first_backoff = Duration::from_millis(20);
    settings.request_deadline = Duration::from_secs(20);
    settings
}

fn envelope(form: Form) -> Envelope {
    Envelope::new(EnvelopeSpec {
        form,
        token: "secret-key",
        session: "session",
        session_info: None,
        repeat_log_attributes: false,
        without_logs: false,
    })
}

/// A batch with one event a message, or as many as fit.
fn batch(form: Form, limit: usize, messages: &[&[u8]]) -> Batch {
    let envelope = envelope(form);
    let mut label = Label::new(&envelope, "log_1".to_owned(), b"/var/log/a", &[]);
    let mut stamp = Stamp::new(1_700_000_000_000_000_000);
    let mut batch = Batch::new();
    batch.start(&envelope, limit);
    let mut bytes = 0;
    for message in messages {
        let event = Event {
            message,
            attrs: None,
            sample_rate: None,
            source: 1,
            sequence_id: "11111111-2222-4333-8444-555555555555",
            sequence_number: bytes,
        };
        if batch.push(&envelope, &mut label, &stamp, event) != Push::Done {
            break;
        }
        bytes += message.len() as u64;
        stamp.next();
    }
    batch.spans.push(Span {
        source: 1,
        from: 0,
        to: bytes,
        mark: None,
        counts: Default::default(),
        lines: batch.events(),
        message_bytes: bytes,
    });
    batch
}

fn small(message: &str) -> Batch {
    batch(Form::Scalyr, 1_000_000, &[message.as_bytes()])
}

struct Run {
    batches: Sender<Batch>,
    verdicts: Receiver<Verdict>,
    stats: Arc<UploadStats>,
    stopper: Option<Stopper>,
    thread: JoinHandle<()>,
    round: Cell<u64>,
}

impl Run {
    fn start(settings: UploadSettings) -> Run {
        let (batches, rx) = bounded(1);
        let (tx, verdicts) = unbounded();
        let (stopper, stop) = stop::pair();
        let stats = Arc::new(UploadStats::new());
        let thread = spawn("t-0".to_owned(), settings, rx, tx, stats.clone(), stop).unwrap();
        Run {
            batches,
            verdicts,
            stats,
            stopper: Some(stopper),
            thread,
            round: Cell::new(0),
        }
    }

    fn verdict(&self) -> Verdict {
        self.verdicts.recv_timeout(Duration::from_secs(20)).unwrap()
    }

    fn hand_over(&self, mut batch: Batch) {
        batch.round = self.round.get();
        self.batches.send(batch).unwrap();
    }

    fn fate_of(&self, batch: Batch) -> Fate {
        self.hand_over(batch);
        self.verdict().fate
    }

    /// To be called when all that was on its way is back.
    fn begin_round(&self) {
        self.round.set(self.round.get() + 1);
    }

    fn verdict_anew(&self, batch: Batch) -> Verdict {
        self.begin_round();
        self.hand_over(batch);
        self.verdict()
    }

    /// Ends the thread by hanging up and returns the final figures.
    fn end(self) -> Snapshot {
        drop(self.batches);
        self.thread.join().unwrap();
        self.stats.snapshot()
    }
}

fn without_time(seen: &Seen) -> String {
    let text = seen.text();
    text[..text.rfind("client_time").unwrap()].to_owned()
}

#[test]
fn requests_have_the_headers_and_the_body_of_the_protocol() {
    let server = Server::start(&[]);
    let run = Run::start(settings(server.port));
    let lines: Vec<u8> = b"10.0.0.1 GET /index.html 200\n".repeat(50);
    let batch = batch(Form::Scalyr, 1_000_000, &[&lines]);
    assert_eq!(run.fate_of(batch), Fate::Delivered);
    let seen = server.next();
    assert!(
        seen.head.starts_with("POST /addEvents HTTP/1.1\r\n"),
        "{}",
        seen.head
    );
    let host = format!("127.0.0.1:{}", server.port);
    for (name, value) in [
        ("host", Some(host.as_str())),
        ("accept-encoding", Some("identity")),
        ("accept", Some("application/json")),
        ("content-encoding", Some("deflate")),
        ("content-type", None),
        ("transfer-encoding", None),
        ("expect", None),
    ] {
        assert_eq!(seen.header(name), value, "{name} in {}", seen.head);
    }
    assert!(seen
        .header("connection")
        .unwrap()
        .eq_ignore_ascii_case("keep-alive"));
    assert!(seen.header("user-agent").unwrap().contains(";agent-"));
    assert!(seen.body.len() < lines.len());
    assert!(seen.text().starts_with("{\"token\":\"secret-key\""));
    let stats = run.end();
    assert_eq!(stats.requests_sent, 1);
    assert_eq!(stats.requests_failed, 0);
    assert_eq!(stats.connections_created, 1);
    assert_eq!(stats.events_delivered, 1);
    assert_eq!(stats.message_bytes_delivered, lines.len() as u64);
    assert_eq!(stats.bytes_uploaded, seen.body.len() as u64);
    let path = "/addEvents".len();
    assert_eq!(stats.request_bytes_sent, (seen.plain().len() + path) as u64);
    assert_eq!(
        stats.compressed_request_bytes_sent,
        (seen.body.len() + path) as u64
    );
    assert_eq!(stats.last_response_status.as_deref(), Some("success"));
    assert_eq!(
        stats.last_response.as_deref(),
        Some(r#"{"status":"success"}"#)
    );
    assert!(stats.last_success_time >= stats.last_attempt_time);
}

#[test]
fn the_json_form_says_so_and_none_means_plain() {
    let server = Server::start(&[]);
    let mut settings = settings(server.port);
    settings.form = Form::Json;
    settings.compression = Compression::None;
    let run = Run::start(settings);
    let batch = batch(Form::Json, 1_000_000, &[b"hello\n"]);
    assert_eq!(run.fate_of(batch), Fate::Delivered);
    let seen = server.next();
    assert_eq!(seen.header("content-type"), Some("application/json"));
    assert_eq!(seen.header("content-encoding"), None);
    assert!(serde_json::from_slice::<serde_json::Value>(&seen.body).is_ok());
}

#[test]
fn kept_connections_do_not_stall() {
    let server = Server::start(&[]);
    let mut settings = settings(server.port);
    settings.pacing.max_spacing = Duration::ZERO;
    settings.pacing.low_water = 0;
    let run = Run::start(settings);
    // Full batches, so that only the network decides
    let line = vec![b'x'; 3000];
    let lines = [&line[..]; 20];
    for _ in 0..20 {
        let full = batch(Form::Scalyr, 10_000, &lines);
        assert!(full.is_full());
        assert_eq!(run.fate_of(full), Fate::Delivered);
    }
    let stats = run.end();
    assert_eq!(stats.connections_created, 1);
    // Nagle's algorithm with delayed acknowledgements would cost 40 ms each
    let each = stats.request_latency_secs / 20.0;
    assert!(each < 0.03, "{each} s a request");
}

#[test]
fn every_failure_that_keeps_the_batch_sends_the_same_bytes_again() {
    let script = [
        Step::Answer("200 OK", "", r#"{"status":"error/server/backoff"}"#),
        Step::Answer(
            "200 OK",
            "",
            r#"{"status":"error/client/badParam","message":"m"}"#,
        ),
        Step::Answer(
            "401 Unauthorized",
            "",
            r#"{"status":"error/client/noPermission"}"#,
        ),
        Step::Answer("429 Too Many Requests", "", r#"{"status":"success"}"#),
        Step::Answer("500 Oops", "", r#"{"status":"success"}"#),
        Step::Answer("200 OK", "", ""),
        Step::Answer("200 OK", "", r#"{"foo":1}"#),
        Step::Answer("503 Busy", "", "<html>busy</html>"),
        Step::Answer("502 Bad Gateway", "", ""),
        Step::Answer("504 Gateway Timeout", "", "upstream is silent"),
        Step::Answer("200 OK", "", "<html>sign in here</html>"),
        Step::Answer("403 Forbidden", "", "<html>"),
        Step::Answer("301 Moved", "Location: /other\r\n", "moved"),
        Step::Answer("200 OK", "", r#"{"status":"succ"#),
        Step::Flood,
        Step::CutAfter,
        Step::CutBefore,
        Step::Half,
    ];
    let server = Server::start(&script);
    let mut settings = settings(server.port);
    settings.pacing.max_error_spacing = Duration::from_millis(50);
    let run = Run::start(settings);
    assert_eq!(run.fate_of(small("keep me\n")), Fate::Delivered);
    let first = without_time(&server.next());
    assert!(first.contains("keep me"));
    // a connection cut before it was read shows no request
    for _ in 1..script.len() {
        assert_eq!(without_time(&server.next()), first);
    }
    let stats = run.end();
    let failed = script.len() as u64;
    assert_eq!(stats.requests_sent, failed + 1);
    assert_eq!(stats.requests_failed, failed);
    assert_eq!(stats.total_errors, failed);
    assert_eq!(stats.batches_rolled_back, 0);
    assert_eq!(stats.events_delivered, 1);
    assert_eq!(stats.consecutive_failures, 0);
    assert_eq!(stats.next_retry_time, None);
    assert!(stats.last_error.is_some() && stats.last_error_time.is_some());
    // each failure cost its connection
    assert_eq!(stats.connections_created, failed + 1);
}

/// The server can't read the request.
const BUILD_AGAIN: Step = Step::Answer("200 OK", "", r#"{"status":"parseResponseFailed"}"#);

#[test]
fn rolled_back_gives_back_everything_on_its_way() {
    for (answer, too_large) in [
        (BUILD_AGAIN, false),
        (Step::Answer("413 Too Large", "", "no"), true),
        (
            Step::Answer("200 OK", "", r#"{"status":"error/client/requestTooLarge"}"#),
            true,
        ),
    ] {
        let server = Server::start(std::slice::from_ref(&answer));
        let run = Run::start(settings(server.port));
        let two = || batch(Form::Scalyr, 1_000_000, &[b"one\n", b"two\n"]);
        run.batches.send(two()).unwrap();
        server.next();
        // Handed over before the verdict was read, as a sender that builds ahead does
        run.batches.send(two()).unwrap();
        let first = run.verdict();
        assert_eq!(
            (first.fate, first.too_large),
            (Fate::RolledBack, too_large),
            "{answer:?}"
        );
        assert_eq!(first.limit < 5_900_000, too_large);
        assert_eq!(run.verdict().fate, Fate::Unsent);
        assert!(server.next_within(Duration::from_millis(100)).is_none());
        assert_eq!(run.verdict_anew(two()).fate, Fate::Delivered);
        let stats = run.end();
        assert_eq!(stats.batches_rolled_back, 1);
        assert_eq!(stats.events_delivered, 2);
    }
}

/// The first one coming back and the second one not would be a gap: the second one's commit passes
/// over the first one's lines.
#[test]
fn what_is_read_again_and_handed_over_at_once_is_delivered_without_a_gap() {
    let server = Server::start(&[BUILD_AGAIN]);
    let run = Run::start(settings(server.port));
    run.batches.send(small("one\n")).unwrap();
    server.next();
    run.batches.send(small("two\n")).unwrap();
    assert_eq!(run.verdict().fate, Fate::RolledBack);
    assert_eq!(run.verdict().fate, Fate::Unsent);
    run.begin_round();
    run.hand_over(small("one\n"));
    run.hand_over(small("two\n"));
    assert_eq!(run.verdict().fate, Fate::Delivered);
    assert_eq!(run.verdict().fate, Fate::Delivered);
    run.end();
}

#[test]
fn a_discard_leaves_what_was_read_ahead_alone() {
    let discard = Step::Answer("200 OK", "", r#"{"status":"error/server/discardBuffer"}"#);
    let server = Server::start(&[discard]);
    let run = Run::start(settings(server.port));
    run.batches.send(small("drop me\n")).unwrap();
    server.next();
    run.batches.send(small("not me\n")).unwrap();
    assert_eq!(run.verdict().fate, Fate::Discarded);
    assert_eq!(run.verdict().fate, Fate::Delivered);
    assert!(server.next().text().contains("not me"));
    let stats = run.end();
    assert_eq!((stats.events_discarded, stats.events_delivered), (1, 1));
    assert_eq!(stats.message_bytes_discarded, 8);
}

#[test]
fn an_event_that_can_never_fit_does_not_wedge_the_session() {
    let too_large = Step::Answer("200 OK", "", r#"{"status":"error/client/requestTooLarge"}"#);
    let server = Server::start(&[too_large.clone(), too_large]);
    let run = Run::start(settings(server.port));
    let first = batch(Form::Scalyr, 1_000_000, &[&[b'a'; 30_000], &[b'b'; 30_000]]);
    run.batches.send(first).unwrap();
    let verdict = run.verdict();
    assert_eq!((verdict.fate, verdict.too_large), (Fate::RolledBack, true));
    // uncompressed: the two compress to next to nothing
    assert!(
        (20_000..31_000).contains(&verdict.limit),
        "{}",
        verdict.limit
    );
    let verdict = run.verdict_anew(batch(Form::Scalyr, 1_000_000, &[&[b'a'; 30_000]]));
    assert_eq!((verdict.fate, verdict.too_large), (Fate::Discarded, true));
    assert_eq!(run.fate_of(small("next\n")), Fate::Delivered);
    assert_eq!(run.end().events_discarded, 1);
}

#[test]
fn a_connection_closed_while_idle_costs_nothing() {
    let server = Server::start(&[Step::SucceedAndClose, Step::SucceedAndClose]);
    let mut settings = settings(server.port);
    settings.pacing.first_backoff = Duration::from_secs(60);
    settings.pacing.max_spacing = Duration::from_millis(100);
    let run = Run::start(settings);
    for _ in 0..3 {
        assert_eq!(run.fate_of(small("x\n")), Fate::Delivered);
    }
    assert_eq!(run.end().events_delivered, 3);
}

#[test]
fn a_kept_connection_cut_under_the_request_is_replaced_at_once() {
    // The second request arrives on the kept connection and is cut: without the immediate retry
    // the back-off of a minute would follow
    let server = Server::start(&[SUCCESS, Step::CutAfter]);
    let mut settings = settings(server.port);
    settings.pacing.first_backoff = Duration::from_secs(60);
    settings.pacing.max_error_spacing = Duration::from_secs(60);
    settings.pacing.max_spacing = Duration::from_millis(10);
    let run = Run::start(settings);
    assert_eq!(run.fate_of(small("one\n")), Fate::Delivered);
    assert_eq!(run.fate_of(small("two\n")), Fate::Delivered);
    let connections: Vec<u32> = (0..3).map(|_| server.next().connection).collect();
    assert_eq!(connections, [1, 1, 2]);
    let stats = run.end();
    assert_eq!((stats.requests_sent, stats.requests_failed), (3, 1));
}

#[test]
fn a_second_cut_in_a_row_does_back_off() {
    let server = Server::start(&[SUCCESS, Step::CutAfter, Step::CutAfter]);
    let mut settings = settings(server.port);
    settings.pacing.first_backoff = Duration::from_millis(400);
    settings.pacing.max_spacing = Duration::from_millis(10);
    let run = Run::start(settings);
    assert_eq!(run.fate_of(small("one\n")), Fate::Delivered);
    assert_eq!(run.fate_of(small("two\n")), Fate::Delivered);
    let times: Vec<Instant> = (0..4).map(|_| server.next().at).collect();
    assert!(times[3] - times[2] > Duration::from_millis(300));
}

#[test]
fn silence_ends_at_the_deadline() {
    let server = Server::start(&[Step::Silence]);
    let mut settings = settings(server.port);
    settings.request_deadline = Duration::from_millis(300);
    let run = Run::start(settings);
    assert_eq!(run.fate_of(small("hello?\n")), Fate::Delivered);
    let first = server.next().at;
    let again = server.next().at - first;
    assert!(again >= Duration::from_millis(290), "{again:?}");
    assert!(again < Duration::from_secs(60), "{again:?}");
    let stats = run.end();
    assert!(stats.last_error.unwrap().contains("silent"));
}

#[test]
fn a_flood_for_an_answer_is_bounded() {
    let server = Server::start(&[Step::Flood]);
    let run = Run::start(settings(server.port));
    assert_eq!(run.fate_of(small("hello\n")), Fate::Delivered);
    let stats = run.end();
    assert!(stats.last_error.unwrap().contains("longer than any answer"));
    assert!(stats.response_bytes_received <= 1024 * 1024 + 100);
    assert_eq!(stats.connections_created, 2);
}

#[test]
fn retry_after_is_waited_for() {
    let busy = Step::Answer(
        "503 Busy",
        "Retry-After: 1\r\n",
        r#"{"status":"error/server/backoff"}"#,
    );
    let server = Server::start(&[busy]);
    let run = Run::start(settings(server.port));
    assert_eq!(run.fate_of(small("x\n")), Fate::Delivered);
    let first = server.next().at;
    let wait = server.next().at - first;
    assert!(wait >= Duration::from_millis(990), "{wait:?}");
}

#[test]
fn a_refused_connection_is_named_and_tried_again() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let run = Run::start(settings(port));
    run.batches.send(small("x\n")).unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while run.stats.snapshot().consecutive_failures < 2 {
        assert!(Instant::now() < until);
        std::thread::yield_now();
    }
    let mut run = run;
    run.stopper.take();
    assert_eq!(run.verdict().fate, Fate::Unsent);
    let stats = run.end();
    assert_eq!(
        stats.last_response_status.as_deref(),
        Some("client/connectionFailedConnRefused")
    );
    assert_eq!(stats.connections_created, 0);
    assert_eq!(stats.request_bytes_sent, 0);
}

#[test]
fn an_unknown_host_is_a_connect_failure() {
    let mut settings = settings(1);
    settings.server.host = "no-such-host.invalid".to_owned();
    match check_server(&settings, &envelope(Form::Scalyr)) {
        Check::Trouble(text) => assert!(text.contains("client/connectionFailed"), "{text}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_stop_during_the_back_off_is_heard_at_once() {
    let busy = Step::Answer("429 Busy", "Retry-After: 500\r\n", "");
    let server = Server::start(&[busy]);
    let mut run = Run::start(settings(server.port));
    run.batches.send(small("one\n")).unwrap();
    run.batches.send(small("two\n")).unwrap();
    server.next();
    while run.stats.snapshot().next_retry_time.is_none() {
        std::thread::yield_now();
    }
    let asked = Instant::now();
    run.stopper.take();
    assert_eq!(run.verdict().fate, Fate::Unsent);
    assert_eq!(run.verdict().fate, Fate::Unsent);
    // also without anyone hanging up
    let Run { thread, .. } = run;
    thread.join().unwrap();
    assert!(asked.elapsed() < Duration::from_secs(60));
}

#[test]
fn a_stop_awaits_the_request_in_flight() {
    let server = Server::start(&[Step::Late(Duration::from_millis(300))]);
    let mut run = Run::start(settings(server.port));
    run.batches.send(small("one\n")).unwrap();
    run.batches.send(small("two\n")).unwrap();
    server.next();
    run.stopper.take();
    assert_eq!(run.verdict().fate, Fate::Delivered);
    assert_eq!(run.verdict().fate, Fate::Unsent);
    run.thread.join().unwrap();
    assert!(server.next_within(Duration::from_millis(50)).is_none());
}

#[test]
fn the_rate_limit_delays_the_next_request_and_not_the_verdict() {
    let server = Server::start(&[]);
    let mut settings = settings(server.port);
    settings.rate_limit = Some(1000.0);
    settings.pacing.max_spacing = Duration::ZERO;
    let run = Run::start(settings);
    // the bucket holds 4000 bytes
    let big = batch(Form::Scalyr, 1_000_000, &[&[b'x'; 5000]]);
    let began = Instant::now();
    run.batches.send(big).unwrap();
    let verdict = run.verdict();
    assert_eq!(verdict.fate, Fate::Delivered);
    assert!(verdict.next_at > Instant::now());
    assert_eq!(run.fate_of(small("x\n")), Fate::Delivered);
    assert!(began.elapsed() >= Duration::from_millis(990));
    assert!(run.end().rate_limited_secs > 0.1);
}

#[test]
fn what_is_handed_over_before_a_stop_need_not_wait_for_the_interval() {
    let server = Server::start(&[]);
    let mut settings = settings(server.port);
    settings.pacing.max_spacing = Duration::from_secs(600);
    settings.pacing.low_water_factor = 1000.0;
    let run = Run::start(settings);
    run.batches.send(small("one\n")).unwrap();
    let verdict = run.verdict();
    assert!(verdict.next_at > Instant::now() + Duration::from_secs(500));
    assert_eq!(run.fate_of(small("two\n")), Fate::Delivered);
    assert_eq!(run.end().events_delivered, 2);
}

#[test]
fn disabled_sending_needs_no_server() {
    let mut settings = settings(1);
    settings.disable_send = true;
    let run = Run::start(settings);
    assert_eq!(run.fate_of(small("x\n")), Fate::Delivered);
    assert_eq!(run.end().connections_created, 0);
}

#[test]
fn the_start_up_check_tells_a_bad_key_from_other_trouble() {
    let script = [
        SUCCESS,
        Step::Answer(
            "200 OK",
            "",
            r#"{"status":"error/client/badClientClockSkew"}"#,
        ),
        Step::Answer("401 No", "", r#"{"status":"error/client/invalidApiKey"}"#),
        Step::Answer(
            "200 OK",
            "",
            r#"{"status":"error/client/badParam","message":"m"}"#,
        ),
        Step::CutAfter,
    ];
    let server = Server::start(&script);
    let ask = || check_server(&settings(server.port), &envelope(Form::Scalyr));
    assert_eq!(ask(), Check::Good);
    assert!(matches!(ask(), Check::BadClock(_)));
    assert!(matches!(ask(), Check::BadKey(_)));
    assert!(matches!(ask(), Check::Trouble(text) if text.ends_with("m")));
    assert!(matches!(ask(), Check::Trouble(_)));
    assert!(!server.next().text().contains("sessionInfo"));
}

#[test]
fn an_https_server_never_gets_plain_text() {
    let server = Server::start(&[]);
    let mut settings = settings(server.port);
    settings.server.https = true;
    settings.request_deadline = Duration::from_millis(500);
    let check = check_server(&settings, &envelope(Form::Scalyr));
    assert!(matches!(check, Check::Trouble(_)), "{check:?}");
    assert!(server.next_within(Duration::from_millis(100)).is_none());
}

#[test]
fn a_proxy_address_that_cannot_be_understood_is_not_repeated() {
    let mut settings = settings(1);
    settings.http_proxy = Some("gopher://user:hunter2@proxy".to_owned());
    match check_server(&settings, &envelope(Form::Scalyr)) {
        Check::Trouble(text) => {
            assert!(
                text.contains("http_proxy") && !text.contains("hunter2"),
                "{text}"
            );
        }
        other => panic!("{other:?}"),
    }
}
