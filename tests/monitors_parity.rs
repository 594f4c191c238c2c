//! `linux_system_metrics` of the Python agent and of ours, side by side on this machine, write the
//! same metrics with the same fields and, as far as time allows, the same values.
//!
//! The PyPI package of the Python agent lacks the collectors that its monitor runs. In their place
//! it gets `monitors_parity/reference.py`, which reads `/proc` for itself and runs `df`, so what is
//! compared is our collectors with that program, and our lines with the agent's own. Ours runs
//! without collectors, and once more with that program as its collector.
//!
//!     SCALYR_TEST_PYTHON=venv/bin/python cargo test --test monitors_parity -- --ignored

use monitors::sink::{Lost, Sink};
use monitors::{stop_all, Host, Place, Plan, Runner};
use serde_json::{json, Value};
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{channel, Receiver, Sender};
use std::time::{Duration, Instant};

const MODULE: &str = "scalyr_agent.builtin_monitors.linux_system_metrics";
const PATIENCE: Duration = Duration::from_secs(60);

/// Where ours differs on purpose: what the line begins with, and why.
const DIFFERENCES: [(&str, &str); 2] = [
    (
        "iostat.part.",
        "disks whose minor number is not divisible by 16 (md127, dm-1) are disks here",
    ),
    (
        "iostat.disk.",
        "as above; and disks that were only written are reported too",
    ),
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

/// What follows the stamp and the tag, if the line is a metric.
fn metric(line: &str) -> Option<&str> {
    Some(line.split_once("Z [linux_system_metrics()] ")?.1)
}

fn add(sample: &mut Sample, metric: &str) {
    let (name, rest) = metric.split_once(' ').unwrap();
    let (value, fields) = rest.split_once(' ').unwrap_or((rest, ""));
    sample.insert(
        format!("{name} {fields}").trim().to_owned(),
        value.to_owned(),
    );
}

/// The Python agent's monitor; it is killed when dropped, with its collectors.
struct Python {
    child: Child,
    lines: Receiver<String>,
}

impl Python {
    fn start(folder: &Path, collectors: &Path) -> Python {
        use std::os::unix::process::CommandExt as _;
        let python = std::env::var_os("SCALYR_TEST_PYTHON").unwrap_or("python3".into());
        let options = json!({"collectors_directory": collectors, "sample_interval": 2});
        let mut child = Command::new(python)
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

    /// The next whole sample of the collector.
    fn sample(&self) -> Sample {
        let mut sample = Sample::new();
        loop {
            let line = self.lines.recv_timeout(PATIENCE).expect("no sample");
            match metric(&line) {
                Some(metric) if metric.starts_with("reference.end") => return sample,
                Some(metric) => add(&mut sample, metric),
                None => println!("{line}"),
            }
        }
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
            .for_each(|metric| add(&mut sample, metric));
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
    DIFFERENCES
        .iter()
        .any(|(begin, _)| series.starts_with(begin))
}

#[test]
#[ignore = "needs the Python agent (SCALYR_TEST_PYTHON)"]
fn system_metrics_are_the_same_as_the_python_agents() {
    let (folder, collectors) = folder("native");
    let python = Python::start(&folder, &collectors);
    let before = python.sample();
    let found = ours(&folder, json!({}), |sample| !sample.is_empty());
    // The one after the next has begun after ours.
    python.sample();
    let after = python.sample();
    let mut wrong: Vec<String> = Vec::new();
    for (series, value) in &found {
        let (Some(first), Some(last)) = (before.get(series), after.get(series)) else {
            if !is_known(series) {
                wrong.push(format!("only ours: {series} = {value}"));
            }
            continue;
        };
        let slack = SLACK.iter().find(|(begin, _)| series.starts_with(begin));
        let slack = slack.map_or(0.0, |(_, slack)| *slack);
        let number = |text: &str| text.parse::<f64>().unwrap();
        let (first, last, ours) = (number(first), number(last), number(value));
        if ours < first.min(last) - slack || ours > first.max(last) + slack {
            wrong.push(format!(
                "{series}: ours {ours}, Python's {first} and later {last}"
            ));
        }
        let point = |text: &str| text.split_once('.').map(|(_, digits)| digits.len());
        if point(value) != point(&before[series]) {
            wrong.push(format!(
                "{series}: ours {value}, Python's {}",
                before[series]
            ));
        }
    }
    for series in before.keys() {
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
    let (folder, collectors) = folder("legacy");
    let python = Python::start(&folder, &collectors);
    let theirs = python.sample();
    let found = ours(&folder, json!({"legacy_disk_rules": true}), |s| {
        !s.is_empty()
    });
    let disks = |sample: &Sample| -> Vec<String> {
        let all = sample.keys().filter(|series| series.starts_with("iostat."));
        all.cloned().collect()
    };
    assert_eq!(disks(&found), disks(&theirs));
    drop(python);
    fs::remove_dir_all(folder).unwrap();
}

#[test]
#[ignore = "needs the Python agent (SCALYR_TEST_PYTHON)"]
fn a_collector_written_for_the_python_agent_gives_the_same_lines() {
    let (folder, collectors) = folder("collectors");
    let python = Python::start(&folder, &collectors);
    let theirs = python.sample();
    let options = json!({"collectors_directory": collectors});
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
