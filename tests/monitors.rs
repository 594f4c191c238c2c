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
