use super::*;
use crate::emitter::captured::Lines;
use crate::monitor::{Description, Log, Place};
use crate::options::{Default as D, Kind, OptionSpec};
use crate::plan::Host;
use crate::Error;
use common::testing::Scratch;
use serde_json::Value as Json;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

fn host(scratch: &Scratch) -> Host {
    Host {
        place: Place::new("/", scratch.path("")),
        sample_interval: 30.0,
        jitter: true,
        rate_metrics: Arc::default(),
        rate_cleanup: 1800.0,
    }
}

/// A monitor made of a closure, for which `$make` is called each time one is made.
macro_rules! description {
    ($make:expr) => {{
        static DESCRIPTION: Description = Description {
            module: "scalyr_agent.builtin_monitors.probe",
            text: "for tests",
            options: &[OptionSpec::new("needed", Kind::Int, D::Int(1), "")],
            metrics: &[],
            open: false,
            log: Log::METRICS,
            write_limit: Description::WRITE_LIMIT,
            cadence: Cadence::AtOnce,
            service: None,
            make: |_| Ok(Box::new(Probe($make))),
        };
        &DESCRIPTION
    }};
}

struct Probe<F>(F);

impl<F: FnMut(&mut Emitter) -> Result<(), Error> + Send> Monitor for Probe<F> {
    fn gather(&mut self, out: &mut Emitter) -> Result<(), Error> {
        (self.0)(out)
    }
}

fn plan(description: &'static Description, scratch: &Scratch) -> Plan {
    let entry = [("sample_interval".to_owned(), Json::from(0.1))];
    let mut plan = Plan::of(description, ("probe", "x"), &entry, &host(scratch)).unwrap();
    plan.pauses = (Duration::from_millis(1), Duration::from_millis(4));
    plan
}

fn await_that(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "{what} never came");
        std::thread::yield_now();
    }
}

#[test]
fn a_monitor_samples_into_its_log_and_stops_at_once() {
    let scratch = Scratch::new("runs");
    let files = LogFiles::default();
    let description = description!(|out: &mut Emitter| {
        out.emit("a", 1, &[]);
        Ok(())
    });
    let runner = Runner::start(plan(description, &scratch), &files).unwrap();
    let status = Arc::clone(runner.status());
    await_that("a third sample", || status.snapshot().lines >= 3);
    assert!(status.snapshot().alive);
    assert!(status.snapshot().last_sample_ms.is_some());
    let began = Instant::now();
    let mut all = [runner];
    assert_eq!(stop_all(&mut all, Duration::from_secs(120)), [""; 0]);
    assert!(began.elapsed() < Duration::from_secs(60));
    assert!(all[0].is_done() && !status.snapshot().alive);
    let text = std::fs::read_to_string(scratch.path("probe.log")).unwrap();
    assert_eq!(text.lines().count() as u64, status.snapshot().lines);
    assert!(
        text.lines().all(|line| line.ends_with("Z [probe(x)] a 1")),
        "{text}"
    );
}

#[test]
fn a_panic_restarts_the_monitor_and_keeps_what_it_had_emitted() {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let scratch = Scratch::new("panics");
    let description = description!({
        let life = MADE.fetch_add(1, SeqCst);
        move |out: &mut Emitter| {
            out.emit("life", life, &[]);
            if life < 3 {
                panic!("on purpose {life}");
            }
            Ok(())
        }
    });
    let lines = Lines::default();
    let plan = plan(description, &scratch);
    MADE.store(0, SeqCst); // the plan made one to check the options
    let runner = Runner::start_into(plan, Box::new(lines.clone())).unwrap();
    let status = Arc::clone(runner.status());
    await_that("the fourth life", || status.snapshot().lines >= 4);
    await_that("the end of its sample", || {
        status.snapshot().last_sample_ms.is_some()
    });
    let now = status.snapshot();
    assert_eq!((now.restarts, now.errors, now.alive), (3, 3, true));
    assert_eq!(now.last_error.unwrap().1, "panic: on purpose 2");
    drop(runner);
    let text = lines.take();
    for life in 0..4 {
        assert!(text.contains(&format!("life {life}\n")), "{text}");
    }
}

#[test]
fn a_failed_sample_counts_once_and_the_next_one_is_taken() {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    let scratch = Scratch::new("fails");
    let description = description!(|out: &mut Emitter| {
        let n = TAKEN.fetch_add(1, SeqCst);
        out.emit("n", n, &[]);
        if n < 2 {
            return Err(Error::new("no luck"));
        }
        Ok(())
    });
    let runner =
        Runner::start_into(plan(description, &scratch), Box::new(Lines::default())).unwrap();
    let status = runner.status();
    await_that("a good sample", || {
        status.snapshot().last_sample_ms.is_some()
    });
    let now = status.snapshot();
    assert_eq!((now.errors, now.restarts, now.alive), (2, 0, true));
    assert_eq!(now.last_error.unwrap().1, "no luck");
}

#[test]
fn a_monitor_that_hangs_does_not_hold_up_the_end() {
    static RELEASE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let scratch = Scratch::new("hangs");
    let held = RELEASE.lock().unwrap();
    let description = description!(|_: &mut Emitter| {
        drop(RELEASE.lock());
        Ok(())
    });
    let runner =
        Runner::start_into(plan(description, &scratch), Box::new(Lines::default())).unwrap();
    let status = Arc::clone(runner.status());
    await_that("the hanging sample", || status.snapshot().busy_ms.is_some());
    let mut all = [runner];
    assert_eq!(stop_all(&mut all, Duration::from_millis(20)), ["probe(x)"]);
    assert!(!status.snapshot().alive);
    drop(held);
    assert!(all[0].join(Instant::now() + Duration::from_secs(20)));
}

#[test]
fn one_that_hangs_is_left_behind_and_its_successor_goes_on_counting() {
    static RELEASE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    static MADE: AtomicU32 = AtomicU32::new(0);
    let scratch = Scratch::new("replaced");
    let held = RELEASE.lock().unwrap();
    let description = description!({
        let life = MADE.fetch_add(1, SeqCst);
        move |out: &mut Emitter| {
            // More than the limit lets through
            for n in 0..4 {
                out.emit("n", n, &[("life", life.into())]);
            }
            if life == 0 {
                drop(RELEASE.lock());
                out.emit("late", 1, &[]);
            }
            Ok(())
        }
    });
    let entry = [
        ("sample_interval", Json::from(0.1)),
        ("monitor_log_write_rate", 0.into()),
        ("monitor_log_max_write_burst", 100.into()),
    ]
    .map(|(key, value)| (key.to_owned(), value));
    let plan = Plan::of(description, ("probe", "x"), &entry, &host(&scratch)).unwrap();
    MADE.store(0, SeqCst);
    let mut hanging = Runner::start_into(plan, Box::new(Lines::default())).unwrap();
    let status = Arc::clone(hanging.status());
    await_that("the hanging sample", || {
        let now = status.snapshot();
        now.busy_ms.is_some() && now.dropped > 0
    });
    let before = status.snapshot();
    let lines = Lines::default();
    let next = hanging.replace(Box::new(lines.clone())).unwrap();
    await_that("a good sample", || {
        status.snapshot().last_sample_ms.is_some()
    });
    let now = status.snapshot();
    assert_eq!((now.restarts, now.errors, now.alive), (1, 1, true));
    assert!(now.lines > before.lines);
    assert!(now.dropped > before.dropped, "{before:?} {now:?}");
    // The one that was left behind comes to its end, and nobody hears of it
    drop(held);
    assert!(hanging.join(Instant::now() + Duration::from_secs(20)));
    assert!(!next.is_done() && status.snapshot().alive);
    assert_eq!(status.snapshot().errors, 1);
    let text = lines.take();
    assert!(text.contains("life=1") && !text.contains("late"), "{text}");
    assert_eq!(stop_all(&mut [next], Duration::from_secs(20)), [""; 0]);
}

#[test]
fn one_that_hangs_is_tried_again_if_no_thread_could_be_made_for_it() {
    static RELEASE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let scratch = Scratch::new("no-thread");
    let held = RELEASE.lock().unwrap();
    let description = description!(|_: &mut Emitter| {
        drop(RELEASE.lock());
        Ok(())
    });
    let mut hanging =
        Runner::start_into(plan(description, &scratch), Box::new(Lines::default())).unwrap();
    let status = Arc::clone(hanging.status());
    await_that("the hanging sample", || status.snapshot().busy_ms.is_some());
    // No machine has room for this stack.
    let thread = Builder::new().stack_size((usize::MAX / 4 * 3) & !0xffff);
    let failed = hanging.replace_in(thread, Box::new(Lines::default()));
    assert!(failed.is_err());
    let now = status.snapshot();
    assert!(!now.alive && now.busy_ms.is_some(), "{now:?}");
    // The one that hung ends when it can, and does not seem to be well by that.
    drop(held);
    assert!(hanging.join(Instant::now() + Duration::from_secs(20)));
    assert!(!status.snapshot().alive && status.snapshot().busy_ms.is_some());
    let next = hanging.replace(Box::new(Lines::default())).unwrap();
    await_that("a good sample", || {
        status.snapshot().last_sample_ms.is_some()
    });
    assert!(status.snapshot().alive);
    assert_eq!(stop_all(&mut [next], Duration::from_secs(20)), [""; 0]);
}

#[test]
fn a_long_sample_hears_that_it_should_stop() {
    let scratch = Scratch::new("hears");
    let description = description!(|out: &mut Emitter| {
        out.stop().sleep(Duration::from_secs(3600));
        Ok(())
    });
    let runner =
        Runner::start_into(plan(description, &scratch), Box::new(Lines::default())).unwrap();
    let status = Arc::clone(runner.status());
    await_that("the sample", || status.snapshot().busy_ms.is_some());
    assert_eq!(stop_all(&mut [runner], Duration::from_secs(20)), [""; 0]);
}

#[test]
fn a_full_disk_does_not_stop_a_monitor() {
    let scratch = Scratch::new("disk");
    std::os::unix::fs::symlink("/dev/full", scratch.path("probe.log")).unwrap();
    let files = LogFiles::default();
    let description = description!(|out: &mut Emitter| {
        out.emit("a", 1, &[]);
        out.emit("b", 1, &[]);
        Ok(())
    });
    let runner = Runner::start(plan(description, &scratch), &files).unwrap();
    let status = Arc::clone(runner.status());
    await_that("some losses", || status.snapshot().lost >= 4);
    let now = status.snapshot();
    assert_eq!((now.errors, now.restarts, now.alive), (0, 0, true));
}

#[test]
fn ticks_that_were_missed_are_skipped() {
    let start = Instant::now();
    let secs = Duration::from_secs;
    let ms = Duration::from_millis;
    assert_eq!(next_tick(start, secs(10), start), start + secs(10));
    assert_eq!(
        next_tick(start, secs(10), start + ms(9_999)),
        start + secs(10)
    );
    assert_eq!(
        next_tick(start, secs(10), start + secs(10)),
        start + secs(20)
    );
    assert_eq!(
        next_tick(start, secs(10), start + secs(35)),
        start + secs(40)
    );
}

#[test]
fn the_first_sample_comes_within_the_bounds_of_the_jitter() {
    for (interval, from, to) in [
        (0.1, 0, 0),
        (1.0, 0, 1),
        (5.0, 1, 4),
        (30.0, 6, 24),
        (39.0, 8, 31),
        (40.0, 15, 40),
        (1000.0, 15, 40),
    ] {
        let span = to - from;
        assert_eq!(initial_delay(interval, 0), from);
        assert_eq!(initial_delay(interval, span), to);
        assert_eq!(initial_delay(interval, span + 1), from);
    }
}

#[test]
fn an_entry_is_checked_before_anything_runs() {
    let scratch = Scratch::new("checked");
    let host = host(&scratch);
    let entry = |json: &str| -> Vec<(String, Json)> {
        let object: serde_json::Map<String, Json> = serde_json::from_str(json).unwrap();
        object.into_iter().collect()
    };
    let module = "scalyr_agent.builtin_monitors.linux_system_metrics";
    let good = entry(
        r#"{"module": "x", "tags": {"tier": "db"}, "sample_interval": "0.01", "tagz": 1,
            "local_disks_only": true, "log_rotation_backup_count": 7}"#,
    );
    let plan = Plan::new(module, "", &good, &host).unwrap();
    assert_eq!(plan.name(), "linux_system_metrics()");
    assert_eq!(
        plan.logs().next().unwrap().path,
        scratch.path("linux_system_metrics.log")
    );
    assert_eq!(plan.logs().next().unwrap().parser, "agent-metrics");
    assert_eq!(
        plan.logs().next().unwrap().attributes,
        [("tier".to_owned(), Json::from("db"))]
    );
    assert_eq!(plan.interval(), Duration::from_millis(100));
    assert_eq!(plan.rotation.backups, 7);
    assert!(!plan.jitter, "the host's metrics begin at once");
    assert_eq!(
        plan.warnings(),
        ["Monitor linux_system_metrics(): sample_interval 0.01 is too short; 0.1 is used."]
    );
    assert_eq!(plan.unused().collect::<Vec<_>>(), [("tagz", false)]);
    for (json, error) in [
        (
            r#"{"tags": []}"#,
            "Field \"tags\": prohibited conversion from array to object",
        ),
        (
            r#"{"monitor_log_flush_delay": -1}"#,
            "Value of -1 in field \"monitor_log_flush_delay\" is invalid; minimum is 0",
        ),
    ] {
        assert_eq!(
            Plan::new(module, "7", &entry(json), &host)
                .unwrap_err()
                .to_string(),
            format!("monitor {module}(7): {error}")
        );
    }
    for seconds in ["nan", "-5", "inf", "1e300"] {
        let json = format!("{{\"sample_interval\": \"{seconds}\"}}");
        assert!(Plan::new(module, "", &entry(&json), &host).is_ok());
    }
    let forged = Plan::new(module, "a\n\0b", &[], &host).unwrap();
    assert_eq!(forged.name(), "linux_system_metrics(a__b)");
    let unknown = Plan::new("my.monitor", "", &[], &host).unwrap_err();
    let unknown = unknown.to_string();
    assert!(unknown.contains("\"my.monitor\""), "{unknown}");
    assert!(
        unknown.contains("`scalyr-agent-2 monitors` lists"),
        "{unknown}"
    );
}
