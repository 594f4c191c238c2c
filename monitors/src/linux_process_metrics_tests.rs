use super::*;
use crate::emitter::captured::Lines;
use crate::monitor::Place;
use crate::testing::{capture, make};
use common::testing::Scratch;
use serde_json::json;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

/// A monitor with its emitter, for several samples.
struct Bench {
    monitor: Box<dyn Monitor>,
    out: Emitter,
    lines: Lines,
}

impl Bench {
    fn new(entry: serde_json::Value, root: &Path) -> Self {
        let name = format!("linux_process_metrics({})", entry["id"].as_str().unwrap());
        let (out, lines) = capture(&name);
        Bench {
            monitor: make(&DESCRIPTION, &entry, &Place::new(root, "/")).unwrap(),
            out,
            lines,
        }
    }

    fn sample(&mut self) -> String {
        self.monitor.gather(&mut self.out).unwrap();
        self.out.flush();
        self.lines.take()
    }

    /// The value of a metric in a new sample; its name may have a blank and the type behind it.
    fn value(&mut self, of: &str) -> Option<f64> {
        value(&self.sample(), of)
    }
}

fn value(sample: &str, of: &str) -> Option<f64> {
    let (name, kind) = of.split_once(' ').unwrap_or((of, ""));
    let kind = format!("type=\"{kind}\"");
    sample.lines().find_map(|line| {
        let words: Vec<&str> = line.split(' ').skip(3).collect();
        let fits = words[0] == name && (of == name || words.last() == Some(&&*kind));
        fits.then(|| words[1].parse().unwrap())
    })
}

/// A `/proc` whose processes come, work and go as a test wants it.
struct Host(Scratch);

impl Host {
    fn new(name: &str) -> Self {
        let scratch = Scratch::new(name);
        fs::create_dir(scratch.path("proc")).unwrap();
        fs::write(scratch.path("proc/uptime"), "100.00 1.00\n").unwrap();
        Host(scratch)
    }

    fn root(&self) -> PathBuf {
        self.0.path("")
    }

    /// A process whose counters all stand at `count`.
    fn process(&self, (pid, parent, start): (i32, i32, u64), command: &str, count: u64) {
        let dir = self.0.path(&format!("proc/{pid}"));
        fs::create_dir_all(dir.join("fd")).unwrap();
        let stat = format!("{pid} (x) S {parent} 1 1 0 -1 4194304 0 0 {count} 0 {count} {count} 0 0 20 0 1 0 {start} 0 0 0 1 1 0 0 0 0 0 0 0 0 0 0 17 0 0 0 {count} 0 0\n");
        fs::write(dir.join("stat"), stat).unwrap();
        fs::write(dir.join("cmdline"), command.replace(' ', "\0") + "\0").unwrap();
        fs::write(dir.join("status"), "Name:\tx\nVmRSS:\t  4 kB\n").unwrap();
        let io = format!("rchar: {count}\nwchar: {count}\nsyscr: {count}\nsyscw: {count}\nread_bytes: {count}\nwrite_bytes: {count}\n");
        fs::write(dir.join("io"), io).unwrap();
    }

    fn end(&self, pid: i32) {
        fs::remove_dir_all(self.0.path(&format!("proc/{pid}"))).unwrap();
    }
}

#[test]
fn a_stored_host_gives_its_golden_lines() {
    let entries = [
        json!({"id": "master", "pid": "812"}),
        json!({"id": "absolute", "pid": "813", "absolute_totals": true, "storage_metrics": true}),
        json!({"id": "two", "pid": "9, 813", "absolute_totals": true}),
        json!({"id": "workers", "commandline": "nginx: w", "aggregate_multiple_processes": true, "absolute_totals": true}),
        json!({"id": "family", "commandline": "^nginx: master", "aggregate_multiple_processes": true, "include_child_processes": true, "absolute_totals": true}),
        json!({"id": "kernel thread", "commandline": r"^\[kthreadd\]$"}),
        json!({"id": "odd name", "commandline": "x.pl --café$", "absolute_totals": true}),
    ];
    let mut now = String::new();
    for entry in entries {
        now.push_str(&Bench::new(entry, &fixture("processes")).sample());
    }
    let golden = fixture("processes.golden");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&golden, &now).unwrap();
    }
    assert_eq!(now, fs::read_to_string(&golden).unwrap());
}

#[test]
fn the_lines_of_a_first_sample_are_those_of_the_specification() {
    let sample = Bench::new(json!({"id": "agent", "pid": "812"}), &fixture("processes")).sample();
    let form = |line: &str| {
        let words: Vec<&str> = line.split(' ').skip(2).collect();
        format!("{} {} {}", words[0], words[1], words[3..].join(" "))
    };
    let lines: Vec<String> = sample.lines().map(form).collect();
    let tail = [
        r#"app.cpu app="agent" type="user""#,
        r#"app.cpu app="agent" type="system""#,
        r#"app.uptime app="agent""#,
        r#"app.nice app="agent""#,
        r#"app.threads app="agent""#,
        r#"app.mem.majflt app="agent""#,
        r#"app.io.wait app="agent""#,
        r#"app.mem.bytes app="agent" type="peak_vmsize""#,
        r#"app.mem.bytes app="agent" type="vmsize""#,
        r#"app.mem.bytes app="agent" type="peak_resident""#,
        r#"app.mem.bytes app="agent" type="resident""#,
        r#"app.disk.bytes app="agent" type="read""#,
        r#"app.disk.bytes app="agent" type="write""#,
        r#"app.disk.requests app="agent" type="read""#,
        r#"app.disk.requests app="agent" type="write""#,
        r#"app.io.fds app="agent" type="open""#,
    ];
    let expected: Vec<String> = tail
        .iter()
        .map(|text| format!("[linux_process_metrics(agent)] {text}"))
        .collect();
    assert_eq!(lines, expected);
    assert!(sample.contains(" app.nice 0.0 "), "{sample}");
}

#[test]
fn every_metric_is_declared_with_its_fields() {
    let entry = json!({"id": "a", "pid": "813", "storage_metrics": true});
    let sample = Bench::new(entry, &fixture("processes")).sample();
    let mut seen = BTreeSet::new();
    for line in sample.lines() {
        let words: Vec<&str> = line.split(' ').skip(3).collect();
        let fields: Vec<_> = words[2..]
            .iter()
            .map(|field| field.split('=').next().unwrap())
            .collect();
        let declared = METRICS.iter().find(|metric| metric.name == words[0]);
        let declared = declared.unwrap_or_else(|| panic!("{line}"));
        assert_eq!(fields, declared.fields, "{line}");
        seen.insert(declared.name);
    }
    assert_eq!(seen.len(), METRICS.len());
}

#[test]
fn an_entry_without_a_target_or_with_a_broken_expression_is_refused() {
    let refused = |entry| {
        let place = Place::new("/", "/");
        make(&DESCRIPTION, &entry, &place).map(|_| ()).unwrap_err()
    };
    assert_eq!(
        refused(json!({"id": "a"})).to_string(),
        "At least one of the following fields must be provide: commandline or pid"
    );
    let error = refused(json!({"id": "a", "commandline": "("}));
    let text = error.to_string();
    assert!(text.starts_with("Field \"commandline\": "), "{text}");
    assert_eq!(error.option(), Some("commandline"));
}

#[test]
fn a_pid_that_is_no_number_is_an_error_of_each_sample_and_does_not_hide_the_others() {
    let mut bench = Bench::new(
        json!({"id": "a", "pid": "812,nginx,$$TBD"}),
        &fixture("processes"),
    );
    for _ in 0..2 {
        let error = bench.monitor.gather(&mut bench.out).unwrap_err();
        assert_eq!(error.to_string(), "pid \"nginx\" is no number");
        bench.out.flush();
        assert_eq!(value(&bench.lines.take(), "app.threads"), Some(1.0));
    }
}

#[test]
fn a_pid_that_no_process_has_is_spoken_of() {
    let host = Host::new("no-process");
    host.process((10, 1, 50), "worker", 100);
    let mut bench = Bench::new(json!({"id": "a", "pid": "10,11"}), &host.root());
    bench.sample();
    let is_new = |bench: &mut Bench, pid: i32| bench.out.once_in(HOUR, &no_process(pid));
    assert!(!is_new(&mut bench, 11));
    // The same holds for a process that ends later.
    host.process((12, 1, 50), "worker", 100);
    let mut bench = Bench::new(json!({"id": "a", "pid": "12"}), &host.root());
    bench.sample();
    host.end(12);
    bench.sample();
    assert!(!is_new(&mut bench, 12));
    assert!(is_new(&mut bench, 10));
}

#[test]
fn a_process_that_ended_does_not_go_on_counting() {
    let host = Host::new("ended");
    host.process((10, 1, 50), "worker", 100);
    host.process((11, 1, 51), "worker", 100);
    let mut bench = Bench::new(json!({"id": "a", "pid": "10,11"}), &host.root());
    assert_eq!(bench.value("app.disk.bytes read"), Some(0.0));
    host.process((10, 1, 50), "worker", 130);
    host.process((11, 1, 51), "worker", 105);
    assert_eq!(bench.value("app.disk.bytes read"), Some(35.0));
    host.end(10);
    for _ in 0..3 {
        let sample = bench.sample();
        assert_eq!(value(&sample, "app.disk.bytes read"), Some(35.0));
        assert_eq!(value(&sample, "app.threads"), Some(1.0));
        assert_eq!(value(&sample, "app.mem.bytes resident"), Some(4096.0));
    }
    host.end(11);
    assert_eq!(bench.sample(), "");
    // Nothing is left of the old totals.
    host.process((10, 1, 900), "worker", 1_000_000);
    assert_eq!(bench.value("app.disk.bytes read"), Some(0.0));
}

#[test]
fn a_pid_that_is_given_to_another_process_adds_nothing_of_its_past() {
    let host = Host::new("reuse");
    host.process((10, 1, 50), "worker", 100);
    host.process((11, 1, 50), "worker", 100);
    let mut bench = Bench::new(json!({"id": "a", "pid": "10,11"}), &host.root());
    bench.sample();
    host.process((10, 1, 9999), "other", 5_000_000);
    host.process((11, 1, 50), "worker", 101);
    assert_eq!(bench.value("app.cpu user"), Some(1.0));
    host.process((10, 1, 9999), "other", 5_000_002);
    assert_eq!(bench.value("app.cpu user"), Some(3.0));
}

#[test]
fn counters_of_an_aggregate_never_run_backwards() {
    let host = Host::new("aggregate");
    for absolute in [false, true] {
        let entry = json!({"id": "a", "commandline": "^worker", "aggregate_multiple_processes": true, "process_discovery_interval": 0, "absolute_totals": absolute});
        let mut bench = Bench::new(entry, &host.root());
        let mut before = -1.0;
        // Restarts of each process in turn, one of them always there; counters that start at 0
        // again; and a process whose counters go down, as some kernels have had it.
        for round in 0..40u64 {
            for pid in [20, 21, 22] {
                let turn = (round + pid) % 5;
                if turn == 0 {
                    let _ = fs::remove_dir_all(host.0.path(&format!("proc/{pid}")));
                } else {
                    let generation = (round + pid) / 5;
                    let count = if turn == 3 { 7 } else { 10 * turn };
                    host.process((pid as i32, 1, 100 + generation), "worker -x", count);
                }
            }
            let now = bench.value("app.disk.requests write").unwrap();
            assert!(now >= before, "{now} after {before} in round {round}");
            before = now;
        }
        assert!(before > 100.0, "{before}");
    }
}

#[test]
fn a_service_that_was_restarted_is_found_again_and_its_totals_go_on() {
    let host = Host::new("restart");
    host.process((30, 1, 50), "/usr/bin/service --flag", 100);
    let entry = |absolute: bool| json!({"id": "a", "commandline": "service --f", "absolute_totals": absolute});
    let mut relative = Bench::new(entry(false), &host.root());
    let mut absolute = Bench::new(entry(true), &host.root());
    let mut both = || {
        let of = "app.cpu system";
        (relative.value(of).unwrap(), absolute.value(of).unwrap())
    };
    assert_eq!(both(), (0.0, 100.0));
    host.process((30, 1, 50), "/usr/bin/service --flag", 110);
    assert_eq!(both(), (10.0, 110.0));
    host.end(30);
    host.process((31, 1, 70), "/usr/bin/service --flag", 4);
    assert_eq!(both(), (10.0, 4.0));
    host.process((31, 1, 70), "/usr/bin/service --flag", 5);
    assert_eq!(both(), (11.0, 5.0));
}

#[test]
fn new_members_are_looked_for_only_after_the_discovery_interval() {
    let host = Host::new("discovery");
    host.process((40, 1, 50), "worker", 1);
    let entry = |every: u64| json!({"id": "a", "commandline": "worker", "aggregate_multiple_processes": true, "process_discovery_interval": every});
    let mut patient = Bench::new(entry(3600), &host.root());
    let mut eager = Bench::new(entry(0), &host.root());
    let mut both = || {
        let of = "app.threads";
        (patient.value(of).unwrap(), eager.value(of).unwrap())
    };
    assert_eq!(both(), (1.0, 1.0));
    host.process((41, 1, 60), "worker", 1);
    assert_eq!(both(), (1.0, 2.0));
    // One that does not match any more is dropped.
    host.process((40, 1, 50), "renamed", 1);
    assert_eq!(both(), (1.0, 1.0));
}

#[test]
fn descendants_count_whatever_their_pids_are() {
    let host = Host::new("children");
    host.process((50, 1, 10), "parent", 1);
    // The pids have wrapped around: the grandchild's is lower than its parent's.
    host.process((60, 50, 11), "child", 1);
    host.process((7, 60, 12), "grandchild", 1);
    host.process((8, 7, 13), "great-grandchild", 1);
    host.process((9, 1, 14), "stranger", 1);
    let entry = json!({"id": "a", "commandline": "^parent", "aggregate_multiple_processes": true, "include_child_processes": true});
    let mut bench = Bench::new(entry, &host.root());
    assert_eq!(bench.value("app.threads"), Some(4.0));
    // Without adding up, the match itself is meant and no child of it.
    let entry = json!({"id": "a", "commandline": "^parent", "include_child_processes": true});
    let mut bench = Bench::new(entry, &host.root());
    assert_eq!(bench.value("app.threads"), Some(1.0));
    host.end(50);
    assert_eq!(bench.value("app.threads"), None);
}

#[test]
fn one_pass_over_proc_serves_all_instances() {
    let host = Host::new("one-pass");
    host.process((70, 1, 10), "worker", 1);
    let table = table::shared(&host.root());
    let entry = |n: usize| json!({"id": "a", "commandline": format!("worker{{{n}}}|worker$")});
    let mut benches: Vec<Bench> = (0..8).map(|n| Bench::new(entry(n), &host.root())).collect();
    for bench in &mut benches {
        assert_eq!(bench.value("app.threads"), Some(1.0));
    }
    assert_eq!(table::lock(&table).passes(), 1);
    // While it is there, no pass is needed at all.
    for bench in &mut benches {
        assert_eq!(bench.value("app.threads"), Some(1.0));
    }
    assert_eq!(table::lock(&table).passes(), 1);
    // Another root is another host.
    assert_eq!(
        table::lock(&table::shared(Path::new("/nowhere"))).passes(),
        0
    );
}

#[test]
fn a_file_that_cannot_be_read_costs_its_own_metrics_only() {
    let host = Host::new("no-io");
    host.process((80, 1, 10), "worker", 5);
    let mut bench = Bench::new(json!({"id": "a", "pid": "80"}), &host.root());
    bench.sample();
    host.process((80, 1, 10), "worker", 6);
    let io = host.0.path("proc/80/io");
    fs::remove_file(&io).unwrap();
    fs::create_dir(&io).unwrap();
    let sample = bench.sample();
    // The total is known, though nothing new is added; then what was missed comes at once.
    assert_eq!(value(&sample, "app.disk.bytes read"), Some(0.0));
    assert_eq!(value(&sample, "app.cpu user"), Some(1.0));
    fs::remove_dir(&io).unwrap();
    host.process((80, 1, 10), "worker", 9);
    assert_eq!(bench.value("app.disk.bytes read"), Some(4.0));
}

#[test]
fn without_proc_a_pattern_is_an_error_and_a_pid_is_nothing() {
    let scratch = Scratch::new("no-proc");
    let mut bench = Bench::new(json!({"id": "a", "commandline": "x"}), &scratch.path(""));
    let error = bench.monitor.gather(&mut bench.out).unwrap_err();
    assert!(error.to_string().contains("/proc: "), "{error}");
    let mut bench = Bench::new(json!({"id": "a", "pid": "5"}), &scratch.path(""));
    assert_eq!(bench.sample(), "");
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_real_process_is_found_by_its_command_line_and_lost_when_it_ends() {
    if !Path::new("/proc/self/io").exists() {
        return;
    }
    let mark = format!("{}", 1_000_000 + std::process::id());
    let mut sleeper = Killed(Command::new("sleep").arg(&mark).spawn().unwrap());
    let entry =
        json!({"id": "a", "commandline": format!("^sleep {mark}$"), "absolute_totals": true});
    let mut bench = Bench::new(entry, Path::new("/"));
    // Until the child has become `sleep` it looks as we do.
    let deadline = Instant::now() + Duration::from_secs(20);
    let sample = loop {
        let sample = bench.sample();
        if !sample.is_empty() || Instant::now() > deadline {
            break sample;
        }
    };
    assert_eq!(value(&sample, "app.threads"), Some(1.0), "{sample}");
    assert!(
        value(&sample, "app.io.fds open").unwrap() >= 3.0,
        "{sample}"
    );
    assert!(value(&sample, "app.mem.bytes resident").unwrap() > 4096.0);
    assert!(value(&sample, "app.uptime").unwrap() < 60_000.0, "{sample}");
    sleeper.0.kill().unwrap();
    // It is a zombie as long as nobody waits for it: ended all the same.
    let deadline = Instant::now() + Duration::from_secs(20);
    while !bench.sample().is_empty() {
        assert!(Instant::now() < deadline, "it lives on");
    }
}

#[test]
fn our_own_process_is_measured_as_it_is() {
    if !Path::new("/proc/self/io").exists() {
        return;
    }
    let entry = json!({"id": "me", "pid": "$$", "absolute_totals": true, "storage_metrics": true});
    let mut bench = Bench::new(entry, Path::new("/"));
    let files: Vec<_> = (0..50)
        .map(|_| fs::File::open("/proc/self/stat").unwrap())
        .collect();
    let sample = bench.sample();
    assert_eq!(sample.lines().count(), 18, "{sample}");
    assert!(value(&sample, "app.io.fds open").unwrap() >= files.len() as f64);
    let written = value(&sample, "app.disk.bytes write").unwrap();
    let mut child = Command::new("cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), &[b'x'; 5000]).unwrap();
    child.wait().unwrap();
    assert!(bench.value("app.disk.bytes write").unwrap() >= written + 5000.0);
}

#[test]
#[ignore = "measures"]
fn what_a_sample_and_a_pass_cost() {
    use nix::sys::resource::{getrusage, UsageWho};
    use nix::sys::time::TimeValLike as _;
    let cpu = || {
        let usage = getrusage(UsageWho::RUSAGE_THREAD).unwrap();
        usage.user_time().num_microseconds() + usage.system_time().num_microseconds()
    };
    let mut bench = Bench::new(json!({"id": "me", "pid": "$$"}), Path::new("/"));
    let began = cpu();
    for _ in 0..1000 {
        bench.sample();
    }
    println!("a sample of one process: {} us", (cpu() - began) / 1000);
    let mut table = Table::default();
    let began = cpu();
    for _ in 0..100 {
        table.refresh(Path::new("/"), Duration::ZERO).unwrap();
    }
    let count = table.processes().len();
    println!(
        "a pass over {count} processes: {} us",
        (cpu() - began) / 100
    );
}
