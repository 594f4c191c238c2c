//! A session that ends, and the one that goes on with its state.

use super::plan::{self, MonitorLogs};
use super::session::{Plan, Session};
use crate::config::{Config, Install, Source};
use crate::tail;
use crate::util::random;
use receiver::{Options, Receiver};
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
        let dir = std::env::temp_dir().join(format!("session-{}", random::uuid4()));
        for folder in ["data", "log"] {
            fs::create_dir_all(dir.join(folder)).unwrap();
        }
        let receiver = Receiver::start(Options::default()).unwrap();
        let text = serde_json::json!({
            "api_key": "k", "scalyr_server": receiver.url(), "allow_http": true,
            "agent_data_path": dir.join("data"), "agent_log_path": dir.join("log"),
            "max_request_spacing_interval": 0.1,
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
