//! A session that ends, and the one that goes on with its state.

use super::plan::{self, MonitorLogs};
use super::session::{Plan, Session};
use crate::config::{Config, Install, Source};
use crate::tail;
use crate::util::random;
use crate::wire::Batch;
use monitors::sink::Sink;
use receiver::{Fault, Options, Receiver};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(60);

/// A folder with a log, and a server.
struct Site {
    dir: PathBuf,
    config: Config,
    receiver: Receiver,
    logs: MonitorLogs,
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

impl Site {
    fn new() -> Site {
        Site::with(false)
    }

    fn with(metrics_in_memory: bool) -> Site {
        let dir = std::env::temp_dir().join(format!("session-{}", random::uuid4()));
        for folder in ["data", "log"] {
            fs::create_dir_all(dir.join(folder)).unwrap();
        }
        let receiver = Receiver::start(Options::default()).unwrap();
        let text = serde_json::json!({
            "api_key": "k", "scalyr_server": receiver.url(), "allow_http": true,
            "agent_data_path": dir.join("data"), "agent_log_path": dir.join("log"),
            "max_request_spacing_interval": 0.1,
            "metrics_in_memory": metrics_in_memory,
            "implicit_agent_log_collection": false,
            "logs": [{"path": dir.join("app.log"), "copy_from_start": true}],
        });
        let main_file = dir.join("agent.json");
        fs::write(&main_file, text.to_string()).unwrap();
        let source = Source {
            main_file,
            extra_dir: None,
            env: Vec::new(),
            install: Install::beneath(&dir),
        };
        Site {
            config: Config::load(&source).unwrap(),
            dir,
            receiver,
            logs: MonitorLogs::default(),
        }
    }

    /// Until so many events have come, and no more.
    fn expect_events(&self, count: u64) {
        let receiver = &self.receiver;
        let arrived = receiver.wait_until(SOON, |state| state.counts().events >= count);
        assert!(arrived, "{:?}", receiver.counts());
        assert_eq!(receiver.counts().events, count);
    }

    fn plan(&self) -> Plan {
        let dir = self.dir.join("data");
        let open = tail::positions::open(&dir, Duration::ZERO, Duration::MAX);
        let positions = open.unwrap();
        let saved = (!positions.memory.is_empty()).then_some(positions.memory.saved);
        let shapes = plan::shapes(&self.config).unwrap();
        let saved = saved.map(Arc::new);
        let mut plans = plan::sessions(
            &self.config,
            &shapes,
            saved.as_ref(),
            Some(&positions.journal),
            &[],
            &self.logs,
            None,
        );
        plans.remove(0)
    }
}

/// Has a tail thread of this name die when it has read lines while all before them are settled.
pub fn die_over(batch: &Batch, away: usize) {
    let is_to_die = std::thread::current().name() == Some("tail-dies");
    assert!(
        !is_to_die || away > 0 || batch.is_empty() || batch.message_bytes() < 100,
        "as asked"
    );
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Metrics of which the first line has arrived, and the session that takes them.
fn with_metrics(site: &Site, id: &str) -> (Session, Box<dyn Sink>) {
    let mut plan = site.plan();
    plan.id = id.to_owned();
    let session = Session::start(plan).unwrap();
    let mut sink = site.logs.way.sink(&site.dir.join("metrics.log"));
    sink.write(b"first\n").unwrap();
    site.expect_events(1);
    until("it is settled", || {
        let status = session.status(Instant::now() + SOON).unwrap();
        status.logs.iter().any(|log| log.counters.lines == 1)
    });
    (session, sink)
}

/// Another session takes the place of one that has died, as supervision does it.
fn replace(site: &Site, mut died: Session) -> Session {
    until("it has died", || died.has_died());
    let until = Instant::now() + SOON;
    died.end(false, until);
    assert!(died.join(until) && died.join_upload(until));
    let mut plan = site.plan();
    plan.carried
        .extend(died.estate().map(|estate| estate.carried));
    Session::start(plan).unwrap()
}

#[test]
fn metrics_in_memory_outlive_the_upload_thread() {
    let site = Site::with(true);
    let (session, mut sink) = with_metrics(&site, "default-0");
    sink.write(b"second [die over this once: metrics]\nthird\n")
        .unwrap();
    until("it has died", || session.has_died());
    sink.write(b"fourth\n").unwrap();
    let _second = replace(&site, session);
    site.expect_events(4);
}

#[test]
fn metrics_in_memory_outlive_the_tail_thread() {
    let site = Site::with(true);
    let (session, mut sink) = with_metrics(&site, "dies");
    let long = format!("second {}\n", "x".repeat(200));
    sink.write(long.as_bytes()).unwrap();
    until("it has died", || session.has_died());
    sink.write(b"third\n").unwrap();
    let _second = replace(&site, session);
    site.expect_events(3);
}

/// It may hang for ever, with a request that the server does not answer.
#[test]
fn metrics_in_memory_outlive_a_session_that_is_left_behind() {
    let site = Site::with(true);
    let plan = site.plan();
    let fence = plan.tail.fence.clone();
    let first = Session::start(plan).unwrap();
    site.receiver
        .fault(Fault::silence().with_events_only().times(1));
    let mut sink = site.logs.way.sink(&site.dir.join("metrics.log"));
    sink.write(b"first\nsecond\n").unwrap();
    let receiver = &site.receiver;
    assert!(receiver.wait_until(SOON, |state| state.counts().faulted > 0));
    fence.give_up(Instant::now());
    let _second = Session::start(site.plan()).unwrap();
    site.expect_events(2);
    drop(first);
}

/// The thread dies with a request, and the text of it is nowhere else.
#[test]
fn after_a_panic_of_the_upload_thread_nothing_is_read_again() {
    let site = Site::new();
    let log = site.dir.join("app.log");
    fs::write(&log, "first\n[die over this once]\nlast\n").unwrap();
    let mut first = Session::start(site.plan()).unwrap();
    let until = Instant::now() + SOON;
    while !first.has_died() {
        assert!(Instant::now() < until);
        std::thread::sleep(Duration::from_millis(5));
    }
    fs::write(&log, "").unwrap();
    first.end(false, until);
    assert!(first.join(until) && first.join_upload(until));
    assert_eq!(site.receiver.counts().events, 0);
    let mut plan = site.plan();
    plan.carried.push(first.estate().unwrap().carried);
    let mut second = Session::start(plan).unwrap();
    let arrived = site
        .receiver
        .wait_until(SOON, |state| state.counts().events == 3);
    assert!(arrived, "{:?}", site.receiver.counts());
    fs::write(&log, "and one more line\n").unwrap();
    let arrived = site
        .receiver
        .wait_until(SOON, |state| state.counts().events == 4);
    assert!(arrived, "{:?}", site.receiver.counts());
    let until = Instant::now() + SOON;
    let counters = || second.status(until).unwrap().logs[0].counters;
    while counters().lines < 4 {
        assert!(Instant::now() < until);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!((counters().lines, counters().total_skipped()), (4, 0));
    second.end(true, until);
    assert!(second.join(until));
    assert!(second.estate().is_none());
    assert_eq!(site.receiver.counts().duplicates, 0);
}
