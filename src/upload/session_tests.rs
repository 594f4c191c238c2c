//! Whole sessions against a scripted server.

use super::fake_server::{Seen, Server, Step, SUCCESS};
use super::*;
use crate::config::ServerUrl;
use crate::util::stop::{self, Stopper};
use crate::wire::{Batch, Envelope, EnvelopeSpec, Event, Form, Label, Push, Span, Stamp};
use crossbeam_channel::{bounded, unbounded, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A thread that is given an event with this text dies, once.
pub fn die_over(batch: &mut Batch) {
    static DONE: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());
    let body = batch.complete(0);
    if let Some(at) = memchr::memmem::find(body, b"[die over this once") {
        let mark = body[at..].split(|b| *b == b']').next().unwrap().to_vec();
        let mut done = DONE.lock().unwrap();
        let dies = !done.contains(&mark);
        done.push(mark);
        drop(done);
        assert!(!dies, "as asked");
    }
}

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
        edition: 0,
        counts: Default::default(),
        lines: batch.events(),
        message_bytes: bytes,
        refused_lines: 0,
        refused_bytes: 0,
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
        }
    }

    fn verdict(&self) -> Verdict {
        self.verdicts.recv_timeout(Duration::from_secs(20)).unwrap()
    }

    fn hand_over(&self, batch: Batch) {
        self.batches.send(batch).unwrap();
    }

    fn fate_of(&self, batch: Batch) -> Fate {
        self.hand_over(batch);
        self.verdict().fate
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
    assert_eq!(run.fate_of(batch), Fate::Decided);
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
    assert_eq!(run.fate_of(batch), Fate::Decided);
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
        assert_eq!(run.fate_of(full), Fate::Decided);
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
    assert_eq!(run.fate_of(small("keep me\n")), Fate::Decided);
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
    assert_eq!(stats.events_delivered, 1);
    assert_eq!(stats.consecutive_failures, 0);
    assert_eq!(stats.next_retry_time, None);
    assert!(stats.last_error.is_some() && stats.last_error_time.is_some());
    // each failure cost its connection
    assert_eq!(stats.connections_created, failed + 1);
}

/// The lines that a request had, with their sequence numbers.
fn lines_of(body: &str) -> Vec<(String, u64)> {
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    let mut number = 0;
    let mut id = String::new();
    let mut lines = Vec::new();
    for event in body["events"].as_array().unwrap() {
        if let Some(named) = event["si"].as_str() {
            id = named.to_owned();
            number = event["sn"].as_u64().unwrap();
        } else {
            number += event["sd"].as_u64().unwrap();
        }
        assert_eq!(id, "11111111-2222-4333-8444-555555555555");
        assert_eq!(event["log"], body["logs"][0]["id"]);
        let message = event["attrs"]["message"].as_str().unwrap();
        lines.push((message.to_owned(), number));
    }
    lines
}

#[test]
fn a_request_that_is_too_large_arrives_in_parts_with_the_numbers_it_had() {
    for answer in [
        Step::Answer("413 Too Large", "", "no"),
        Step::Answer("200 OK", "", r#"{"status":"error/client/requestTooLarge"}"#),
    ] {
        // The whole and the first half are refused, then one after the other is taken
        let server = Server::start(&[answer.clone(), answer.clone()]);
        let run = Run::start(settings(server.port));
        let all = [&b"one \"{\n"[..], b"two\\\n", b"three\x01\n", b"four }]\n"];
        run.batches
            .send(batch(Form::Json, 1_000_000, &all))
            .unwrap();
        let whole = lines_of(&server.next().text());
        // Handed over before the verdict was read, as a sender that reads ahead does
        run.batches.send(small("next\n")).unwrap();
        let verdict = run.verdict();
        assert_eq!(verdict.fate, Fate::Decided);
        assert!(verdict.limit < 5_900_000);
        assert_eq!(run.verdict().fate, Fate::Decided);
        server.next();
        let arrived: Vec<_> = (0..4)
            .flat_map(|_| lines_of(&server.next().text()))
            .collect();
        assert_eq!(arrived, whole);
        assert!(server.next().text().contains("next"));
        let stats = run.end();
        assert_eq!((stats.events_delivered, stats.events_discarded), (5, 0));
    }
}

#[test]
fn a_part_that_the_server_does_not_want_is_counted_and_the_others_arrive() {
    let too_large = Step::Answer("413 Too Large", "", "no");
    let discard = Step::Answer("200 OK", "", r#"{"status":"error/server/discardBuffer"}"#);
    let server = Server::start(&[too_large, discard]);
    let run = Run::start(settings(server.port));
    let all = [&b"one\n"[..], b"two\n", b"three\n", b"four\n"];
    run.batches
        .send(batch(Form::Scalyr, 1_000_000, &all))
        .unwrap();
    let verdict = run.verdict();
    assert_eq!(verdict.fate, Fate::Decided);
    let span = &verdict.batch.spans[0];
    assert_eq!((span.lines, span.refused_lines), (4, 2));
    assert_eq!((span.message_bytes, span.refused_bytes), (19, 8));
    let stats = run.end();
    assert_eq!((stats.events_delivered, stats.events_discarded), (2, 2));
    assert_eq!(stats.message_bytes_discarded, 8);
}

#[test]
fn a_discard_leaves_what_was_read_ahead_alone() {
    let discard = Step::Answer("200 OK", "", r#"{"status":"error/server/discardBuffer"}"#);
    let server = Server::start(&[discard]);
    let run = Run::start(settings(server.port));
    run.batches.send(small("drop me\n")).unwrap();
    server.next();
    run.batches.send(small("not me\n")).unwrap();
    assert_eq!(run.verdict().fate, Fate::Decided);
    assert_eq!(run.verdict().fate, Fate::Decided);
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
    let two = batch(Form::Scalyr, 1_000_000, &[&[b'a'; 30_000], &[b'b'; 30_000]]);
    run.batches.send(two).unwrap();
    let verdict = run.verdict();
    assert_eq!(verdict.fate, Fate::Decided);
    assert_eq!(verdict.batch.spans[0].refused_lines, 1);
    // uncompressed: the two compress to next to nothing
    assert!(verdict.limit < 60_000, "{}", verdict.limit);
    assert_eq!(run.fate_of(small("next\n")), Fate::Decided);
    let stats = run.end();
    assert_eq!((stats.events_discarded, stats.events_delivered), (1, 2));
}

#[test]
fn a_connection_closed_while_idle_costs_nothing() {
    let server = Server::start(&[Step::SucceedAndClose, Step::SucceedAndClose]);
    let mut settings = settings(server.port);
    settings.pacing.first_backoff = Duration::from_secs(60);
    settings.pacing.max_spacing = Duration::from_millis(100);
    let run = Run::start(settings);
    for _ in 0..3 {
        assert_eq!(run.fate_of(small("x\n")), Fate::Decided);
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
    assert_eq!(run.fate_of(small("one\n")), Fate::Decided);
    assert_eq!(run.fate_of(small("two\n")), Fate::Decided);
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
    assert_eq!(run.fate_of(small("one\n")), Fate::Decided);
    assert_eq!(run.fate_of(small("two\n")), Fate::Decided);
    let times: Vec<Instant> = (0..4).map(|_| server.next().at).collect();
    assert!(times[3] - times[2] > Duration::from_millis(300));
}

#[test]
fn silence_ends_at_the_deadline() {
    let server = Server::start(&[Step::Silence]);
    let mut settings = settings(server.port);
    settings.request_deadline = Duration::from_millis(300);
    let run = Run::start(settings);
    assert_eq!(run.fate_of(small("hello?\n")), Fate::Decided);
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
    assert_eq!(run.fate_of(small("hello\n")), Fate::Decided);
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
    assert_eq!(run.fate_of(small("x\n")), Fate::Decided);
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
    assert_eq!(run.verdict().fate, Fate::Decided);
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
    assert_eq!(verdict.fate, Fate::Decided);
    assert!(verdict.next_at > Instant::now());
    assert_eq!(run.fate_of(small("x\n")), Fate::Decided);
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
    assert_eq!(run.fate_of(small("two\n")), Fate::Decided);
    assert_eq!(run.end().events_delivered, 2);
}

#[test]
fn disabled_sending_needs_no_server() {
    let mut settings = settings(1);
    settings.disable_send = true;
    let run = Run::start(settings);
    assert_eq!(run.fate_of(small("x\n")), Fate::Decided);
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
