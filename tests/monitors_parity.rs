//! `linux_system_metrics` of the Python agent and of ours, side by side on this machine, write the
//! same metrics with the same fields and, as far as time allows, the same values.
//!
//! The Python agent's monitor runs collectors, programs of their own. Its source tree and its Debian
//! and RPM packages have them, its PyPI package has not: there `monitors_parity/reference.py` takes
//! their place, which reads `/proc` for itself and runs `df`. That program is also run as a collector
//! of both agents.
//!
//!     SCALYR_TEST_PYTHON=venv/bin/python cargo test --test monitors_parity -- --ignored

use monitors::sink::{Lost, Sink};
use monitors::{stop_all, Host, Place, Plan, Runner};
use serde_json::{json, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{channel, Receiver, Sender};
use std::time::{Duration, Instant};

const MODULE: &str = "scalyr_agent.builtin_monitors.linux_system_metrics";
const PATIENCE: Duration = Duration::from_secs(120);

/// Where ours differs on purpose, by how the series begins: disks whose minor number is not divisible
/// by 16 (md127, dm-1) are disks here, and disks that were only written are reported too.
const DIFFERENCES: [&str; 2] = ["iostat.part.", "iostat.disk."];

/// The beginnings of series' names, by the collector that they come from.
const COLLECTORS: [&[&str]; 5] = [
    &[
        "proc.uptime.",
        "proc.meminfo.",
        "proc.vmstat.",
        "proc.stat.",
        "proc.loadavg.",
        "proc.kernel.",
        "sys.",
    ],
    &["proc.net."],
    &["net."],
    &["iostat."],
    &["df."],
];

/// How far a value may be off beyond what it changed by meanwhile: by how the metric begins. The
/// rest must lie between what the other said before and after.
const SLACK: [(&str, f64); 7] = [
    // Memory goes up and down, by more than a sample shows; in kB.
    ("proc.meminfo.", 2e6),
    ("proc.stat.procs_blocked", 10.0),
    ("proc.loadavg.", 500.0),
    ("net.sockstat.memory", 1e7),
    ("net.sockstat.", 1000.0),
    ("iostat.disk.ios_in_progress", 100.0),
    // Other tests make files and remove them.
    ("df.", 1e7),
];

/// Values by name and fields, as the line has them.
type Sample = BTreeMap<String, String>;

/// The text after the stamp and the tag, if the line is a metric.
fn metric(line: &str) -> Option<&str> {
    Some(line.split_once("Z [linux_system_metrics()] ")?.1)
}

/// Its name with its fields, and its value.
fn parts(metric: &str) -> (String, String) {
    let (name, rest) = metric.split_once(' ').unwrap();
    let (value, fields) = rest.split_once(' ').unwrap_or((rest, ""));
    let series = format!("{name} {fields}").trim().to_owned();
    (series, value.to_owned())
}

fn python() -> PathBuf {
    std::env::var_os("SCALYR_TEST_PYTHON").map_or_else(|| "python3".into(), PathBuf::from)
}

/// The options with which the Python agent's monitor collects: its defaults if it has collectors.
fn collecting(reference: &Path) -> Value {
    let script = "import os, scalyr_agent; print(os.path.dirname(scalyr_agent.__file__))";
    let run = Command::new(python())
        .args(["-c", script])
        .output()
        .unwrap();
    let package = PathBuf::from(String::from_utf8(run.stdout).unwrap().trim());
    let own = package.join("third_party/tcollector/collectors/0");
    println!("collectors of the Python agent's own: {}", own.exists());
    match own.exists() {
        true => json!({}),
        false => json!({"collectors_directory": reference}),
    }
}

/// The Python agent's monitor; it is killed when dropped, with its collectors.
struct Python {
    child: Child,
    lines: Receiver<String>,
}

/// All values of each series, in the order in which they came.
type History = BTreeMap<String, Vec<String>>;

impl Python {
    fn start(folder: &Path, mut options: Value) -> Python {
        use std::os::unix::process::CommandExt as _;
        options["sample_interval"] = json!(2);
        // Its limit drops the end of each sample once the first 100,000 bytes are out: on a slow machine what is
        // waited for would never come
        options["monitor_log_write_rate"] = json!(-1);
        options["monitor_log_max_write_burst"] = json!(-1);
        let mut child = Command::new(python())
            .args(["-m", "scalyr_agent.run_monitor", "-c"])
            .arg(options.to_string())
            .arg(MODULE)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("SCALYR_TEST_PYTHON has to name a Python with the package scalyr-agent-2");
        let (send, lines) = channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        Python { child, lines }
    }

    /// Goes on until each collector that one of the series is from has sent two more samples: the
    /// second of them was begun after this was called. What only one of the two agents reports on
    /// purpose is not waited for.
    fn two_more<'a>(&self, series: impl Iterator<Item = &'a String>, history: &mut History) {
        let of = |series: &str| {
            let from = |prefixes: &&[&str]| prefixes.iter().any(|p| series.starts_with(p));
            COLLECTORS.iter().position(from)
        };
        let expected = series.filter(|series| !is_known(series) || history.contains_key(*series));
        let mut awaited: BTreeSet<usize> = expected.filter_map(|series| of(series)).collect();
        let mut note = |line: String| {
            let parts = metric(&line).map(parts);
            match &parts {
                Some((series, value)) => {
                    let values = history.entry(series.clone()).or_default();
                    values.push(value.clone());
                }
                None => println!("{line}"),
            }
            parts
        };
        while let Ok(line) = self.lines.try_recv() {
            note(line);
        }
        let mut seen: BTreeMap<String, u32> = BTreeMap::new();
        let deadline = Instant::now() + PATIENCE;
        while !awaited.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left);
            let Ok(line) = line else {
                panic!("no sample of {awaited:?} within {PATIENCE:?}");
            };
            let Some((series, _)) = note(line) else {
                continue;
            };
            let collector = of(&series);
            let times = seen.entry(series).or_default();
            *times += 1;
            if let (3, Some(collector)) = (*times, collector) {
                // The third one has begun, so the second is complete
                awaited.remove(&collector);
            }
        }
    }

    /// The output of its collectors in a sample or two; it waits first for that of the kernel.
    fn sample(&self) -> History {
        let mut history = History::new();
        let all = ["proc.uptime.total", "net.sockstat", "df."].map(str::to_owned);
        self.two_more(all.iter(), &mut history);
        history
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        use nix::sys::signal::{killpg, Signal};
        let group = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        // It ends its collectors, which have groups of their own, when it is asked to.
        for (signal, patience) in [(Signal::SIGTERM, 15), (Signal::SIGKILL, 15)] {
            let _ = killpg(group, signal);
            let deadline = Instant::now() + Duration::from_secs(patience);
            while Instant::now() < deadline {
                if !matches!(self.child.try_wait(), Ok(None)) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

struct Lines(Sender<String>);

impl Sink for Lines {
    fn write(&mut self, lines: &[u8]) -> Result<(), Lost> {
        let _ = self.0.send(String::from_utf8(lines.to_vec()).unwrap());
        Ok(())
    }
}

/// Ours, as the agent runs it, until `enough` of its lines have come.
fn ours(folder: &Path, mut entry: Value, enough: impl Fn(&Sample) -> bool) -> Sample {
    entry["sample_interval"] = json!(1);
    let entry = entry.as_object().unwrap().clone();
    let entry: Vec<(String, Value)> = entry.into_iter().collect();
    let host = Host {
        place: Place::new("/", folder),
        sample_interval: 1.0,
        jitter: false,
        rate_metrics: Vec::new().into(),
        rate_cleanup: 0.0,
    };
    let plan = Plan::new(MODULE, "", &entry, &host).unwrap();
    let (send, blocks) = channel();
    let runner = Runner::start_into(plan, Box::new(Lines(send))).unwrap();
    let mut sample = Sample::new();
    while !enough(&sample) {
        let block = blocks.recv_timeout(PATIENCE).expect("no sample");
        block
            .lines()
            .filter_map(metric)
            .for_each(|metric| sample.extend([parts(metric)]));
    }
    assert_eq!(stop_all(&mut [runner], PATIENCE), Vec::<String>::new());
    sample
}

/// A folder for the test with the reference among its collectors.
fn folder(name: &str) -> (PathBuf, PathBuf) {
    let folder =
        std::env::temp_dir().join(format!("monitors-parity-{}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    let collectors = folder.join("collectors");
    fs::create_dir_all(collectors.join("0")).unwrap();
    let reference = include_str!("monitors_parity/reference.py");
    fs::write(collectors.join("0/reference.py"), reference).unwrap();
    (folder, collectors)
}

/// Whether the difference in this series is a known one.
fn is_known(series: &str) -> bool {
    DIFFERENCES.iter().any(|begin| series.starts_with(begin))
}

#[test]
#[ignore = "needs the Python agent (SCALYR_TEST_PYTHON)"]
fn system_metrics_are_the_same_as_the_python_agents() {
    let (folder, reference) = folder("native");
    let python = Python::start(&folder, collecting(&reference));
    let mut theirs = python.sample();
    let found = ours(&folder, json!({}), |sample| !sample.is_empty());
    python.two_more(found.keys(), &mut theirs);
    let mut wrong: Vec<String> = Vec::new();
    for (series, value) in &found {
        let Some(known) = theirs.get(series).filter(|known| known.len() > 1) else {
            if !is_known(series) {
                wrong.push(format!("only ours: {series} = {value}"));
            }
            continue;
        };
        let slack = SLACK.iter().find(|(begin, _)| series.starts_with(begin));
        let slack = slack.map_or(0.0, |(_, slack)| *slack);
        let number = |text: &str| text.parse::<f64>().unwrap();
        let (first, last) = (number(&known[0]), number(&known[known.len() - 1]));
        let ours = number(value);
        if ours < first.min(last) - slack || ours > first.max(last) + slack {
            wrong.push(format!(
                "{series}: ours {ours}, Python's {first} and later {last}"
            ));
        }
        let point = |text: &str| text.split_once('.').map(|(_, digits)| digits.len());
        if point(value) != point(&known[0]) {
            wrong.push(format!("{series}: ours {value}, Python's {}", known[0]));
        }
    }
    for series in theirs.keys() {
        if !found.contains_key(series) && !is_known(series) && !series.starts_with("reference.") {
            wrong.push(format!("only Python's: {series}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(found.len() > 100, "{found:#?}");
    drop(python);
    fs::remove_dir_all(folder).unwrap();
}

#[test]
#[ignore = "needs the Python agent (SCALYR_TEST_PYTHON)"]
fn the_old_disk_rules_are_the_python_agents() {
    let (folder, reference) = folder("legacy");
    let python = Python::start(&folder, collecting(&reference));
    let mut theirs = python.sample();
    let found = ours(&folder, json!({"legacy_disk_rules": true}), |s| {
        !s.is_empty()
    });
    python.two_more(found.keys(), &mut theirs);
    let disks = |series: &mut dyn Iterator<Item = &String>| -> Vec<String> {
        let all = series.filter(|series| series.starts_with("iostat."));
        all.cloned().collect()
    };
    assert_eq!(disks(&mut found.keys()), disks(&mut theirs.keys()));
    drop(python);
    fs::remove_dir_all(folder).unwrap();
}

#[test]
#[ignore = "needs the Python agent (SCALYR_TEST_PYTHON)"]
fn a_collector_written_for_the_python_agent_gives_the_same_lines() {
    let (folder, collectors) = folder("collectors");
    let options = json!({"collectors_directory": collectors});
    let python = Python::start(&folder, options.clone());
    let theirs = python.sample();
    let theirs = theirs
        .into_iter()
        .filter_map(|(series, values)| Some((series, values.last()?.clone())));
    let theirs: Sample = theirs.collect();
    let found = ours(&folder, options, |sample| {
        sample.contains_key("reference.end")
    });
    let own = |sample: &Sample| -> Vec<(String, String)> {
        let all = sample
            .iter()
            .filter(|(series, _)| series.starts_with("reference."));
        let all = all.filter(|(series, _)| *series != "reference.end");
        all.map(|(a, b)| (a.clone(), b.clone())).collect()
    };
    let fields = r#"reference.own z="b" a="d~/x""#.to_owned();
    assert_eq!(own(&found), [(fields, "4.20".to_owned())]);
    assert_eq!(own(&found), own(&theirs));
    drop(python);
    fs::remove_dir_all(folder).unwrap();
}
