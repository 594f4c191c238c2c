//! `status --debug`: shows what machine and agent did while no answer came.

use serde_json::{json, Value};
use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{channel, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// More samples than this are of no use; the last ones are kept.
const MOST_SAMPLES: usize = 1_000;

/// Looks at the machine at intervals, on a thread of its own.
pub(super) struct Watch {
    stop: Sender<()>,
    thread: Option<JoinHandle<Vec<Value>>>,
}

impl Watch {
    /// The usual time between two looks.
    pub(super) const INTERVAL: Duration = Duration::from_secs(1);

    /// Begins with a first look.
    pub(super) fn start(pid: i32, data_dir: &Path, interval: Duration) -> Watch {
        let (stop, stopped) = channel();
        let mut eye = Eye {
            pid,
            data_dir: data_dir.to_owned(),
            machine: Ticks::default(),
            agent: Ticks::default(),
        };
        let thread = std::thread::Builder::new().spawn(move || {
            let mut samples = vec![eye.look()];
            while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                if samples.len() == MOST_SAMPLES {
                    samples.remove(0);
                }
                samples.push(eye.look());
            }
            samples
        });
        Watch {
            stop,
            thread: thread.ok(),
        }
    }

    /// All that was seen, as a JSON array.
    pub(super) fn end(self) -> Value {
        drop(self.stop);
        let samples = self.thread.and_then(|thread| thread.join().ok());
        Value::Array(samples.unwrap_or_default())
    }
}

struct Eye {
    pid: i32,
    data_dir: PathBuf,
    machine: Ticks,
    agent: Ticks,
}

/// Counts of the last look: what was used, and what there was.
#[derive(Default, Clone, Copy)]
struct Ticks {
    used: u64,
    all: u64,
}

impl Ticks {
    /// Percent used since the last look; null at the first one.
    fn percent(&mut self, now: Ticks) -> Value {
        let before = std::mem::replace(self, now);
        let all = now.all.saturating_sub(before.all);
        if before.all == 0 || all == 0 {
            return Value::Null;
        }
        let used = now.used.saturating_sub(before.used);
        json!((used as f64 / all as f64 * 1000.0).round() / 10.0)
    }
}

impl Eye {
    fn look(&mut self) -> Value {
        let stat = read("/proc/stat");
        let machine = machine_ticks(&stat);
        let processors = stat
            .lines()
            .filter(|line| line.starts_with("cpu") && !line.starts_with("cpu "))
            .count();
        let load: Vec<f64> = read("/proc/loadavg")
            .split_ascii_whitespace()
            .take(3)
            .filter_map(|number| number.parse().ok())
            .collect();
        let timestamp = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0.0, |since| since.as_secs_f64());
        json!({
            "timestamp": timestamp,
            "cpu_percent": self.machine.percent(machine),
            "cpu_count": processors,
            "getloadavg": load,
            "virtual_memory_percent": memory_percent(&read("/proc/meminfo")),
            "agent_process": self.process(machine.all, processors),
            "processes": agents(),
            "status_file_info": {
                "data_root_file_stats": files(&self.data_dir),
                "content": head(&self.data_dir.join("last_status")),
            },
        })
    }

    /// Percent of one processor, and bytes in memory.
    fn process(&mut self, all: u64, processors: usize) -> Value {
        let stat = match fs::read_to_string(format!("/proc/{}/stat", self.pid)) {
            Ok(stat) => stat,
            Err(error) => return json!({"pid": self.pid, "error": error.to_string()}),
        };
        let fields = after_name(&stat);
        let number = |index: usize| fields.get(index).and_then(|f| f.parse::<u64>().ok());
        let now = Ticks {
            used: number(11).unwrap_or(0) + number(12).unwrap_or(0),
            all: all / processors.max(1) as u64,
        };
        json!({
            "pid": self.pid,
            "state": fields.first(),
            "cpu_percent": self.agent.percent(now),
            "memory_rss": resident(&read(&format!("/proc/{}/status", self.pid))),
        })
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The fields of a process's `stat` behind its name, which may hold anything.
fn after_name(stat: &str) -> Vec<&str> {
    stat.rsplit(')')
        .next()
        .unwrap_or("")
        .split_ascii_whitespace()
        .collect()
}

fn machine_ticks(stat: &str) -> Ticks {
    let numbers: Vec<u64> = stat
        .lines()
        .next()
        .unwrap_or("")
        .split_ascii_whitespace()
        .skip(1)
        .take(8)
        .filter_map(|number| number.parse().ok())
        .collect();
    let all: u64 = numbers.iter().sum();
    let idle: u64 = numbers.iter().skip(3).take(2).sum();
    Ticks {
        used: all - idle,
        all,
    }
}

fn memory_percent(meminfo: &str) -> Value {
    let total = kilobytes(meminfo, "MemTotal:");
    let available = kilobytes(meminfo, "MemAvailable:").or(kilobytes(meminfo, "MemFree:"));
    match (total, available) {
        (Some(total), Some(available)) if total > 0 => {
            let used = total.saturating_sub(available);
            json!((used as f64 / total as f64 * 1000.0).round() / 10.0)
        }
        _ => Value::Null,
    }
}

fn resident(status: &str) -> Value {
    kilobytes(status, "VmRSS:").map_or(Value::Null, |kilobytes| json!(kilobytes * 1024))
}

fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// Processes that are an agent by their name, one line each. Not how they were called: there may
/// be a key in it.
fn agents() -> Vec<String> {
    let mut lines = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let stat = read(&format!("/proc/{pid}/stat"));
        let Some((_, rest)) = stat.split_once('(') else {
            continue;
        };
        let Some((name, _)) = rest.rsplit_once(')') else {
            continue;
        };
        // The kernel keeps 15 bytes of it.
        if name.starts_with("scalyr-agent") || name.starts_with("python") {
            let state = after_name(&stat).first().copied().unwrap_or("?").to_owned();
            let memory = resident(&read(&format!("/proc/{pid}/status")));
            lines.push(format!("{pid} {state} {name} rss={memory}"));
        }
    }
    lines
}

/// The files of a folder with size and age.
fn files(folder: &Path) -> Vec<String> {
    let mut lines: Vec<String> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let meta = entry.metadata().ok()?;
            let age = meta
                .modified()
                .ok()
                .and_then(|time| time.elapsed().ok())
                .map_or(0, |age| age.as_secs());
            Some(format!(
                "{} {} bytes, changed {age} s ago",
                entry.file_name().to_string_lossy(),
                meta.len()
            ))
        })
        .collect();
    crate::util::sort::plainly(&mut lines);
    lines
}

/// The first kilobyte of a regular file. The folder may be another user's: neither a link nor a FIFO
/// in the file's place is followed or waited for.
fn head(file: &Path) -> Value {
    let read = || -> io::Result<Vec<u8>> {
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(file)?;
        let mut content = Vec::new();
        file.take(1024).read_to_end(&mut content)?;
        Ok(content)
    };
    match read() {
        Ok(content) => json!(String::from_utf8_lossy(&content)),
        Err(error) => json!(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_sees_a_process_and_says_so_if_there_is_none() {
        let own = i32::try_from(std::process::id()).unwrap();
        let watch = Watch::start(own, Path::new("/proc/self"), Duration::from_millis(1));
        let seen = watch.end();
        let first = &seen[0];
        assert_eq!(first["agent_process"]["pid"], own);
        assert!(first["agent_process"]["memory_rss"].as_u64() > Some(100_000));
        assert!(first["cpu_count"].as_u64() >= Some(1));
        assert_eq!(first["getloadavg"].as_array().map(Vec::len), Some(3));
        assert!(first["virtual_memory_percent"].as_f64() > Some(0.0));

        let folder = std::env::temp_dir().join(format!("watch-{own}"));
        fs::create_dir(&folder).unwrap();
        let answer = folder.join("last_status");
        nix::unistd::mkfifo(&answer, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(head(&answer), json!(""), "a FIFO is not waited for");
        fs::remove_file(&answer).unwrap();
        std::os::unix::fs::symlink("/proc/self/stat", &answer).unwrap();
        let told = head(&answer);
        fs::remove_dir_all(&folder).unwrap();
        assert!(told.as_str().unwrap().contains("os error"), "{told}");

        let gone = Watch::start(-7, Path::new("/no/such"), Duration::from_secs(1)).end();
        assert!(gone[0]["agent_process"]["error"].is_string());
    }

    #[test]
    fn percentages_come_from_two_looks() {
        let mut ticks = Ticks::default();
        let now = |used, all| Ticks { used, all };
        assert_eq!(ticks.percent(now(10, 100)), Value::Null);
        assert_eq!(ticks.percent(now(35, 200)), json!(25.0));
        // A counter that went back
        assert_eq!(ticks.percent(now(0, 300)), json!(0.0));
        let stat = machine_ticks("cpu  10 0 5 80 5 0 0 0 99 99\ncpu0 1\n");
        assert_eq!((stat.used, stat.all), (15, 100));
        assert_eq!(after_name("1 (a) b) S 2 3"), ["S", "2", "3"]);
    }
}
