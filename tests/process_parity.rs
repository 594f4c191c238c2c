//! The Python agent's `linux_process_metrics` and ours watch the same processes at the same time,
//! and see the same: lines in the same order with the same fields, and values within a tolerance.
//!
//! Needs a Python that has the package scalyr-agent-2: `SCALYR_TEST_PYTHON=/path/to/python`.

use monitors::sink::{Lost, Sink};
use monitors::{Host, Place, Plan, Runner};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const MODULE: &str = "scalyr_agent.builtin_monitors.linux_process_metrics";

/// Uses about a third of a processor, writes 4 KiB a hundred times a second, and keeps 7 more
/// files and 16 MiB of memory. Its last argument is there to be found by.
const WORKER: &str = r#"
import os, sys, tempfile, threading, time
os.nice(3)
memory = b"x" * (16 << 20)
files = [tempfile.TemporaryFile() for _ in range(7)]
threading.Thread(target=lambda: time.sleep(1000), daemon=True).start()
os.write(1, b"ready\n")
while True:
    until = time.monotonic() + 0.003
    while time.monotonic() < until:
        pass
    os.pwrite(files[0].fileno(), b"y" * 4096, 0)
    os.pread(files[0].fileno(), 1000, 0)
    time.sleep(0.007)
"#;

/// A child that is killed at the end.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn python() -> PathBuf {
    std::env::var_os("SCALYR_TEST_PYTHON").map_or_else(|| "python3".into(), PathBuf::from)
}

fn worker(mark: &str) -> Killed {
    let mut child = Command::new(python())
        .args(["-c", WORKER, mark])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    Killed(child)
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<String>>);

impl Sink for Lines {
    fn write(&mut self, lines: &[u8]) -> Result<(), Lost> {
        let text = std::str::from_utf8(lines).unwrap();
        self.0.lock().unwrap().push_str(text);
        Ok(())
    }
}

/// The output of one monitor: for each series, in the order in which they came first, the moments
/// in seconds and the values.
type Series = BTreeMap<usize, (String, Vec<(f64, f64)>)>;

fn series(text: &str) -> Series {
    let mut found: Series = BTreeMap::new();
    for line in text.lines().filter(|line| line.contains("[linux_process")) {
        let words: Vec<&str> = line.split(' ').collect();
        let clock: Vec<f64> = words[1]
            .trim_end_matches('Z')
            .split(':')
            .map(|part| part.parse().unwrap())
            .collect();
        let moment = clock[0] * 3600.0 + clock[1] * 60.0 + clock[2];
        let name = format!("{} {} {}", words[2], words[3], words[5..].join(" "));
        let value: f64 = words[4].parse().unwrap_or_else(|_| panic!("{line}"));
        let known = found.values().position(|(known, _)| *known == name);
        let at = known.unwrap_or(found.len());
        let entry = found.entry(at).or_insert_with(|| (name, Vec::new()));
        entry.1.push((moment, value));
    }
    found
}

/// Runs both on an entry for so long. The Python agent's lines, then ours.
fn run_both(entry: &serde_json::Value, time: Duration) -> (Series, Series) {
    let python = Command::new(python())
        .args(["-m", "scalyr_agent.run_monitor", "-c"])
        .arg(entry.to_string())
        .arg(MODULE)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut python = Killed(python);
    let mut output = BufReader::new(python.0.stdout.take().unwrap());
    let mut theirs = String::new();
    // It takes a while to start.
    while !theirs.contains("app.io.fds") {
        let read = output.read_line(&mut theirs).unwrap();
        assert!(read > 0, "the Python agent's monitor has ended: {theirs}");
    }
    let scratch = std::env::temp_dir();
    let host = Host {
        place: Place::new("/", scratch),
        sample_interval: 30.0,
        jitter: false,
        rate_metrics: Arc::default(),
        rate_cleanup: 0.0,
    };
    let members: Vec<_> = entry
        .as_object()
        .unwrap()
        .iter()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let plan = Plan::new(MODULE, entry["id"].as_str().unwrap(), &members, &host).unwrap();
    let lines = Lines::default();
    let mut runner = Runner::start_into(plan, Box::new(lines.clone())).unwrap();
    let reader = std::thread::spawn(move || {
        let mut more = Vec::new();
        std::io::Read::read_to_end(&mut output, &mut more).unwrap();
        String::from_utf8(more).unwrap()
    });
    std::thread::sleep(time);
    runner.stop();
    assert!(runner.join(Instant::now() + Duration::from_secs(5)));
    drop(python);
    theirs.push_str(&reader.join().unwrap());
    // Its last line may be cut off.
    let whole = theirs.rfind('\n').map_or(0, |at| at + 1);
    let ours = lines.0.lock().unwrap().clone();
    (series(&theirs[..whole]), series(&ours))
}

/// Growth per second from the first sample to the last.
fn growth(samples: &[(f64, f64)]) -> f64 {
    let (first, last) = (samples[0], samples[samples.len() - 1]);
    (last.1 - first.1) / (last.0 - first.0)
}

fn compare(theirs: &Series, ours: &Series) {
    let names = |series: &Series| -> Vec<String> {
        series.values().map(|(name, _)| name.clone()).collect()
    };
    assert_eq!(names(ours), names(theirs));
    for ((name, a), (_, b)) in theirs.values().zip(ours.values()) {
        assert!(a.len() >= 3 && b.len() >= 3, "{name}: {a:?} {b:?}");
        let is_gauge = ["app.nice", "app.threads", "app.mem.bytes", "app.io.fds"]
            .iter()
            .any(|gauge| name.contains(&format!(" {gauge} ")));
        let (theirs, ours, most) = if is_gauge {
            let last = |samples: &[(f64, f64)]| samples[samples.len() - 1].1;
            // Memory of a process that works goes up and down a little.
            (last(a), last(b), 0.02)
        } else {
            assert_eq!(b[0].1, 0.0, "{name} begins with 0: {b:?}");
            (growth(a), growth(b), 0.2)
        };
        // Clock ticks are 10 ms, and the periods are not quite the same.
        let slack = if is_gauge { 0.0 } else { 2.0 };
        let limit = most * theirs.abs().max(ours.abs()) + slack;
        assert!(
            (theirs - ours).abs() <= limit,
            "{name}: {theirs} by Python, {ours} by us; {a:?} {b:?}"
        );
    }
}

#[test]
#[ignore = "needs the Python agent (SCALYR_TEST_PYTHON)"]
fn one_process_by_its_pid() {
    let worker = worker("one");
    let entry = serde_json::json!({
        "id": "one",
        "pid": worker.0.id().to_string(),
        "sample_interval": 1,
    });
    let (theirs, ours) = run_both(&entry, Duration::from_secs(6));
    assert_eq!(ours.len(), 16);
    compare(&theirs, &ours);
    let (_, system) = &ours[&12];
    assert!(
        growth(system) > 50_000.0,
        "the worker does not work: {ours:?}"
    );
}

#[test]
#[ignore = "needs the Python agent (SCALYR_TEST_PYTHON)"]
fn several_processes_by_their_command_line() {
    let mark = format!("mark{}", std::process::id());
    let _workers = [worker(&mark), worker(&mark)];
    let python = python();
    let program = Path::new(&python).file_name().unwrap().to_str().unwrap();
    // The Python agent's own command line has the expression in it, but does not match it.
    let entry = serde_json::json!({
        "id": "several",
        "commandline": format!("{program}.* [m]{}$", &mark[1..]),
        "aggregate_multiple_processes": true,
        "sample_interval": 1,
    });
    let (theirs, ours) = run_both(&entry, Duration::from_secs(6));
    compare(&theirs, &ours);
    let (name, threads) = &ours[&4];
    assert!(name.contains(" app.threads "), "{name}");
    assert_eq!(threads[0].1, 4.0);
}

/// A shell whose two children work. All of them are killed at the end.
struct Family(Child);

impl Family {
    /// `mark` is in the shell's command line alone.
    fn new(mark: &str) -> Family {
        use std::os::unix::process::CommandExt as _;
        let mut child = Command::new("sh")
            .args(["-c", r#""$1" -c "$2" & "$1" -c "$2" & wait"#, mark])
            .arg(python())
            .arg(WORKER)
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        for _ in 0..2 {
            let mut line = String::new();
            output.read_line(&mut line).unwrap();
            assert_eq!(line, "ready\n");
        }
        Family(child)
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        use nix::sys::signal::{killpg, Signal};
        let group = nix::unistd::Pid::from_raw(i32::try_from(self.0.id()).unwrap());
        let _ = killpg(group, Signal::SIGKILL);
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "needs the Python agent (SCALYR_TEST_PYTHON)"]
fn a_process_with_its_descendants() {
    let mark = format!("family{}", std::process::id());
    let _family = Family::new(&mark);
    let entry = serde_json::json!({
        "id": "family",
        "commandline": format!("^sh -c .* [f]{} ", &mark[1..]),
        "aggregate_multiple_processes": true,
        "include_child_processes": true,
        "sample_interval": 1,
    });
    let (theirs, ours) = run_both(&entry, Duration::from_secs(6));
    compare(&theirs, &ours);
    let (name, threads) = &ours[&4];
    assert!(name.contains(" app.threads "), "{name}");
    assert_eq!(threads[0].1, 5.0);
}

#[test]
#[ignore = "needs the Python agent (SCALYR_TEST_PYTHON)"]
fn several_processes_by_their_pids() {
    let workers = [worker("first"), worker("second")];
    let [first, second] = workers.each_ref().map(|worker| worker.0.id());
    let entry = serde_json::json!({
        "id": "pids",
        "pid": format!("{first}, {second}"),
        "sample_interval": 1,
    });
    let (theirs, ours) = run_both(&entry, Duration::from_secs(6));
    compare(&theirs, &ours);
    assert_eq!(ours[&4].1[0].1, 4.0);
}
