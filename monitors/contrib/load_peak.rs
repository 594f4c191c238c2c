// The highest load of each interval, looked at every second: a compiled plug-in without any library.
//
//   rustc -O -o /usr/share/scalyr-agent-2/monitors/local/load_peak load_peak.rs
//   {module: "load_peak", plugin_mode: "serve"}
//
// Writes load_peak.runnable and load_peak.load1.

use std::io::{self, BufRead, Read, Write};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// Tasks that can run, and the average load of one minute.
fn load() -> io::Result<(u32, f64)> {
    let text = std::fs::read_to_string("/proc/loadavg")?;
    let mut parts = text.split_whitespace();
    let average = parts.next().and_then(|part| part.parse().ok());
    let runnable = parts.nth(2).and_then(|part| part.split('/').next()?.parse().ok());
    match (runnable, average) {
        (Some(runnable), Some(average)) => Ok((runnable, average)),
        _ => Err(io::Error::other("/proc/loadavg is not as expected")),
    }
}

/// The number behind `"sample_interval":`. It is the only thing wanted of the greeting; a program
/// with options of its own would use a JSON library.
fn interval(greeting: &str) -> Option<f64> {
    let (_, rest) = greeting.split_once("\"sample_interval\":")?;
    let end = rest.find([',', '}'])?;
    rest[..end].trim().parse().ok().filter(|seconds| *seconds > 0.0)
}

fn main() -> io::Result<()> {
    let mut greeting = String::new();
    io::stdin().lock().read_line(&mut greeting)?;
    let interval = Duration::from_secs_f64(interval(&greeting).unwrap_or(30.0).min(86400.0));
    let step = interval.min(Duration::from_secs(1));

    // The agent ends a plug-in by closing its stdin.
    let (alive, ended) = mpsc::channel::<()>();
    std::thread::spawn(move || {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        drop(alive);
    });

    let mut due = Instant::now() + interval;
    let mut peak = (0, 0.0_f64);
    loop {
        let (runnable, average) = load()?;
        peak = (peak.0.max(runnable), peak.1.max(average));
        if Instant::now() >= due {
            let mut out = io::stdout().lock();
            writeln!(out, "{{\"metric\": \"load_peak.runnable\", \"value\": {}}}", peak.0)?;
            writeln!(out, "{{\"metric\": \"load_peak.load1\", \"value\": {:.2}}}", peak.1)?;
            peak = (0, 0.0);
            due += interval;
        }
        if ended.recv_timeout(step) == Err(RecvTimeoutError::Disconnected) {
            return Ok(());
        }
    }
}
