//! Monitors in the running agent: their logs arrive, one that fails takes nobody along, and a reload
//! leaves alone what it does not change.

mod common;

use common::Site;
use receiver::Fault;
use serde_json::{json, Value};

fn quick(entry: Value) -> Value {
    let mut entry = entry;
    entry["sample_interval"] = json!(0.1);
    entry
}

/// Small samples, many of them.
fn numbers(id: &str) -> Value {
    quick(json!({"module": "test_monitor", "id": id, "gauss_mean": 1.0}))
}

/// The entry of `status` for a monitor; null if there is none (yet).
fn monitor(site: &Site, name: &str) -> Value {
    let said = site.run(&["status", "-v", "--format", "json"]);
    let status: Value = serde_json::from_str(&said.out).unwrap_or_default();
    let all = &status["monitor_manager_status"]["monitors_status"];
    let mut found = all.as_array().into_iter().flatten();
    let found = found.find(|m| m["monitor_name"] == name);
    found.cloned().unwrap_or_default()
}

#[test]
fn metrics_of_several_instances_arrive_from_one_log() {
    let mut site = Site::new();
    site.set("monitors", json!([numbers("a"), numbers("b")]));
    site.set("global_monitor_sample_interval_enable_jitter", false);
    site.start();
    site.until("both", |state| {
        let lines = |tag: &str| {
            let events = state.events();
            events.filter(|e| e.text().contains(tag)).count()
        };
        lines("[test_monitor(a)] gauss") > 3 && lines("[test_monitor(b)] uniform") > 3
    });
    for name in ["test_monitor(a)", "test_monitor(b)"] {
        let monitor = monitor(&site, name);
        assert!(monitor["reported_lines"].as_u64() > Some(6), "{monitor}");
        assert!(monitor["last_sample"].as_f64() > Some(1.7e9), "{monitor}");
    }
    assert!(site.status_v().contains("  last sample: "));
    site.term();
}

#[test]
fn metrics_in_memory_leave_no_file_and_arrive() {
    let mut site = Site::new();
    site.set("monitors", json!([numbers("a")]));
    site.set("metrics_in_memory", true).start();
    let file = site.path("log").join("test_monitor.log");
    site.until("metrics", |state| {
        let of_log = |e: &&receiver::Event| e.path.ends_with("test_monitor.log");
        state.events().filter(of_log).count() > 20
    });
    assert!(!file.exists());
    site.term();
    assert!(!file.exists());
    // each sample's count comes once
    let mut counts: Vec<String> = site
        .receiver
        .lines_of(file.to_str().unwrap())
        .into_iter()
        .filter(|line| line.contains("] gauss "))
        .map(|line| line.rsplit('=').next().unwrap().to_owned())
        .collect();
    let all = counts.len();
    counts.sort();
    counts.dedup();
    assert_eq!(counts.len(), all);
}

#[test]
fn metrics_in_memory_stay_bounded_while_the_server_is_away_and_losses_are_told() {
    let mut site = Site::new();
    let entry = |n: u32| numbers(&n.to_string());
    site.set("monitors", (0..8).map(entry).collect::<Vec<_>>());
    site.set("metrics_in_memory", true);
    site.set("metrics_memory_bytes", 16_384);
    site.receiver.fault(Fault::status(500).until_cleared());
    site.start();
    site.until_seen("a loss", || {
        monitor(&site, "test_monitor(3)")["lost_lines"].as_u64() > Some(0)
    });
    site.until_logged("metrics_memory_bytes");
    site.receiver.clear_faults();
    site.until("metrics after the outage", |state| {
        state.events().len() > 100
    });
    site.term();
}

#[test]
fn metrics_in_memory_survive_a_reload_in_an_outage_and_what_is_lost_at_the_end_is_told() {
    let mut site = Site::new();
    site.set("monitors", json!([numbers("a")]));
    site.set("metrics_in_memory", true).start();
    let path = site.path("log").join("test_monitor.log");
    let path = path.to_str().unwrap().to_owned();
    // The number of each sample
    let counts = |site: &Site| -> Vec<u64> {
        let lines = site.receiver.lines_of(&path).into_iter();
        let gauss = lines.filter(|line| line.contains("] gauss "));
        gauss
            .filter_map(|line| line.rsplit('=').next()?.parse().ok())
            .collect()
    };
    site.until("some", |state| !state.lines_of(&path).is_empty());
    site.receiver.fault(Fault::status(500).until_cleared());
    let taken = |site: &Site| {
        let monitor = monitor(site, "test_monitor(a)");
        monitor["reported_lines"].as_u64().unwrap_or(0)
    };
    let before = taken(&site);
    site.until_seen("metrics that wait", || taken(&site) > before + 20);
    site.set("max_request_spacing_interval", 0.7).write_config();
    site.until_logged("Starting new copying and metrics threads");
    site.receiver.clear_faults();
    let at_least = before / 2 + 20;
    site.until("what came after it", |state| {
        let lines = state.lines_of(&path).into_iter();
        lines.filter(|line| line.contains("] gauss ")).count() as u64 > at_least
    });
    let counts = counts(&site);
    let all: Vec<u64> = (1..=counts.len() as u64).collect();
    assert_eq!(counts, all);
    // At the end nobody takes them any more
    site.receiver.fault(Fault::status(500).until_cleared());
    let before = taken(&site);
    site.until_seen("metrics that wait", || taken(&site) > before + 6);
    site.term();
    let log = site.agent_log();
    assert!(
        log.contains("that were in memory could not be delivered; they are lost"),
        "{log}"
    );
}

#[test]
fn a_reload_leaves_monitors_alone_that_it_does_not_change() {
    let mut site = Site::new();
    site.set("monitors", json!([numbers("a"), numbers("b")]))
        .start();
    let lines =
        |site: &Site, name: &str| monitor(site, name)["reported_lines"].as_u64().unwrap_or(0);
    site.until_seen("some lines", || lines(&site, "test_monitor(a)") > 10);
    let before = lines(&site, "test_monitor(a)");
    let mut changed = numbers("b");
    changed["gauss_mean"] = json!(2.0);
    site.set("monitors", json!([numbers("a"), changed]))
        .write_config();
    site.until_logged("Starting new metrics threads");
    assert!(lines(&site, "test_monitor(a)") >= before);
    let log = site.agent_log();
    assert!(log.contains("Stopping monitor test_monitor(b)"), "{log}");
    assert!(!log.contains("Stopping monitor test_monitor(a)"), "{log}");
    // Nor is anything new to copy
    assert!(!log.contains("Worker session"), "{log}");
    assert_eq!(log.matches("Starting monitor test_monitor(b).").count(), 2);
    site.term();
}

#[test]
fn a_wrong_monitor_option_names_its_place_in_the_file() {
    let site = Site::new();
    site.write_config_text(
        &format!(
            "{{ api_key: \"k\", agent_log_path: {log:?}, agent_data_path: {data:?},\n  monitors: [\n    \
             {{ module: \"test_monitor\",\n      gauss_mean: 11 }} ]\n}}\n",
            log = site.path("log"),
            data = site.path("data"),
        ),
    );
    let said = site.run(&["start"]);
    assert_eq!(said.code, 1);
    assert!(
        said.err
            .contains("agent.json, line 4, column 19: option \"gauss_mean\""),
        "{}",
        said.err
    );
    assert!(said.err.contains("maximum is 10"), "{}", said.err);
}

#[test]
fn an_unknown_monitor_is_refused_by_name() {
    let mut site = Site::new();
    site.set(
        "monitors",
        json!([quick(json!({"module": "no.such_thing"}))]),
    );
    site.write_config();
    let said = site.run(&["start"]);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("no.such_thing"), "{}", said.err);
}

#[test]
fn the_own_system_metrics_entry_takes_the_place_of_the_implicit_one() {
    let mut site = Site::new();
    site.unset("implicit_metric_monitor");
    site.set(
        "monitors",
        json!([quick(json!({"module": "linux_system_metrics"}))]),
    );
    site.start();
    site.until("a sample", |state| {
        let mut events = state.events();
        events.any(|e| {
            e.text()
                .contains("[linux_system_metrics()] proc.uptime.total")
        })
    });
    let status = site.status_json();
    let all = status["monitor_manager_status"]["monitors_status"]
        .as_array()
        .unwrap();
    assert_eq!(all.len(), 1, "{all:?}");
    site.term();
}

#[test]
fn a_monitor_that_is_run_alone_says_on_stderr_why_it_has_nothing_to_show() {
    // Not by way of a site, which would add its configuration file
    let said = std::process::Command::new(env!("CARGO_BIN_EXE_scalyr-agent-2"))
        .args(["monitor", "run", "linux_process_metrics", "-n", "1"])
        .args(["-c", "{pid: \"none\"}"])
        .output()
        .unwrap();
    assert!(!said.status.success());
    let text = String::from_utf8_lossy(&said.stderr);
    assert!(text.contains("pid \"none\" is no number"), "{text}");
}

/// Runs a plug-in with this text alone; its exit code and what it printed. It has a minute.
fn plugin_alone(name: &str, text: &str, args: &[&str]) -> (i32, String, String) {
    use std::os::unix::fs::PermissionsExt;
    static COUNTER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = COUNTER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let dir = ::common::testing::Scratch::new(&format!("alone-{number}"));
    let mode = if text.starts_with("#!") { 0o755 } else { 0o644 };
    std::fs::write(dir.path(name), text).unwrap();
    std::fs::set_permissions(dir.path(name), std::fs::Permissions::from_mode(mode)).unwrap();
    let said = std::process::Command::new("timeout")
        .args(["60", env!("CARGO_BIN_EXE_scalyr-agent-2"), "monitor", "run"])
        .arg(name.split('.').next().unwrap())
        .arg("-p")
        .arg(dir.path(""))
        .args(args)
        .output()
        .unwrap();
    (
        said.status.code().unwrap(),
        String::from_utf8(said.stdout).unwrap(),
        String::from_utf8(said.stderr).unwrap(),
    )
}

const METRIC: &str = "echo '{\"metric\": \"m\", \"value\": 1}'";

#[test]
fn a_plugin_that_is_run_for_some_samples_does_not_run_for_ever() {
    let once = format!("#!/bin/sh\n{METRIC}\n{METRIC}\n");
    let marked = format!(
        "#!/bin/sh\nwhile :; do {METRIC}; {METRIC}; echo '{{\"sample\": \"ok\"}}'; sleep 0.1; done\n"
    );
    let stays = format!("#!/bin/sh\nwhile :; do {METRIC}; {METRIC}; sleep 2; done\n");
    for (text, options, samples, lines) in [
        (&once, "{}", "1", 2),
        (&once, "{}", "3", 6),
        (&once, "{plugin_mode: \"sample\"}", "2", 4),
        (&marked, "{plugin_mode: \"serve\"}", "2", 4),
        (&marked, "{}", "1", 2),
        (&stays, "{plugin_mode: \"serve\"}", "2", 4),
        // Whether it ends by itself is known at the end of its interval
        (&stays, "{sample_interval: 1}", "1", 2),
    ] {
        let args = ["-s", "0.5", "-c", options, "-n", samples];
        let (code, out, err) = plugin_alone("p.sh", text, &args);
        assert_eq!(code, 0, "{text} {options}: {out} {err}");
        assert_eq!(out.lines().count(), lines, "{text} {options}: {out} {err}");
    }
}

#[test]
fn a_plugin_that_fails_is_not_run_again_and_again_for_one_sample() {
    for (text, options, part) in [
        ("#!/bin/sh\nexit 3\n", "{}", "status 3"),
        (
            "#!/bin/sh\nexit 0\n",
            "{plugin_mode: \"serve\"}",
            "ended by itself",
        ),
        ("#!/no/such/interpreter\n", "{}", "cannot be started"),
        (
            "#!/bin/sh\necho '{\"metric\": \"m\", \"value\": 1}'\nexit 3\n",
            "{plugin_mode: \"sample\"}",
            "status 3",
        ),
        (
            "#!/bin/sh\nsleep 50\n",
            "{plugin_mode: \"sample\", plugin_timeout: 0.3}",
            "plugin_timeout",
        ),
        (
            "#!/bin/sh\necho '{\"fatal\": \"no luck\"}'; exit 1\n",
            "{}",
            "no luck",
        ),
    ] {
        let (code, _, err) = plugin_alone("p.sh", text, &["-c", options, "-n", "1"]);
        assert_eq!(code, 1, "{text}: {err}");
        assert!(err.contains(part), "{text}: {err}");
    }
}

#[test]
fn a_monitor_that_has_nothing_to_say_ends_as_well() {
    for (module, code) in [("garbage_monitor", 0), ("symlink_file_monitor", 1)] {
        let status = std::process::Command::new("timeout")
            .args(["60", env!("CARGO_BIN_EXE_scalyr-agent-2"), "monitor", "run"])
            .args([module, "-n", "2", "-s", "0.1"])
            .stderr(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(code), "{module}");
    }
}

#[test]
fn a_monitor_that_serves_ends_after_so_many_lines() {
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let options =
        format!("{{accept_plaintext: true, accept_pickle: false, plaintext_port: {port}}}");
    let child = std::process::Command::new("timeout")
        .args(["60", env!("CARGO_BIN_EXE_scalyr-agent-2"), "monitor", "run"])
        .args(["graphite_monitor", "-n", "2", "-c", &options])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let began = std::time::Instant::now();
    let mut stream = loop {
        match std::net::TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => break stream,
            Err(_) => assert!(began.elapsed() < std::time::Duration::from_secs(50)),
        }
        std::thread::yield_now();
    };
    std::io::Write::write_all(&mut stream, b"a 1 1700000000\nb 2 1700000000\n").unwrap();
    let said = child.wait_with_output().unwrap();
    let out = String::from_utf8(said.stdout).unwrap();
    assert_eq!(
        (said.status.code(), out.lines().count()),
        (Some(0), 2),
        "{out}"
    );
}

#[test]
#[ignore = "needs python3"]
fn a_python_plugin_is_run_for_so_many_samples_and_says_what_it_lacks() {
    let text = |monitor: &str, method: &str| {
        format!(
            "from scalyr_agent import ScalyrMonitor, define_config_option\n\
             __monitor__ = {monitor}\n\
             define_config_option(__monitor__, 'a', 'A', default=7)\n\
             class Mine(ScalyrMonitor):\n    def {method}(self):\n        \
             self._logger.emit_value('m', 1)\n        self._logger.emit_value('n', 2)\n"
        )
    };
    let args = ["-s", "0.2", "-n", "2"];
    let (code, out, err) = plugin_alone("p.py", &text("__name__", "gather_sample"), &args);
    assert_eq!((code, out.lines().count()), (0, 4), "{out} {err}");
    assert!(!err.contains("WARN"), "{err}");
    let (_, _, err) = plugin_alone("p.py", &text("'other'", "gather_sample"), &args);
    assert!(err.contains("write `__monitor__ = __name__`"), "{err}");
    let (code, out, err) = plugin_alone("p.py", &text("__name__", "gather"), &args);
    assert_eq!((code, out.as_str()), (0, ""), "{err}");
    assert!(err.contains("neither gather_sample nor run"), "{err}");
    let failing = "from scalyr_agent import ScalyrMonitor\nclass Mine(ScalyrMonitor):\n    \
                   def gather_sample(self):\n        raise ValueError('no luck')\n";
    let (code, _, err) = plugin_alone("p.py", failing, &args);
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("no luck"), "{err}");
}
