//! How fast the agent delivers and what it costs, over the last minute.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The time that figures look back.
const MINUTE: Duration = Duration::from_secs(60);

/// A few moments of the last minute.
#[derive(Debug, Default)]
pub struct Pulse(VecDeque<Moment>);

#[derive(Debug, Clone, Copy)]
struct Moment {
    at: Instant,
    /// Bytes of log delivered since the start.
    delivered: u64,
    /// Seconds of processor since the start.
    cpu: f64,
}

/// Figures of the last minute.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// Bytes of log delivered per second.
    pub bytes_per_second: f64,
    /// Share of one processor, in percent.
    pub cpu_percent: f64,
}

impl Pulse {
    /// Takes note of the present totals; call it every few seconds.
    pub fn beat(&mut self, at: Instant, delivered: u64, cpu: f64) {
        // One moment before the last minute stays, so that it is looked at as a whole
        while self.0.len() > 1 && at.duration_since(self.0[1].at) >= MINUTE {
            self.0.pop_front();
        }
        self.0.push_back(Moment { at, delivered, cpu });
    }

    /// The figures of the time since the oldest moment; `None` until half a second after it.
    pub fn figures(&self, at: Instant, delivered: u64, cpu: f64) -> Option<Figures> {
        let oldest = self.0.front()?;
        let secs = at.duration_since(oldest.at).as_secs_f64();
        (secs >= 0.5).then(|| Figures {
            bytes_per_second: delivered.saturating_sub(oldest.delivered) as f64 / secs,
            cpu_percent: 100.0 * (cpu - oldest.cpu).max(0.0) / secs,
        })
    }
}

/// Resident memory in bytes and the number of threads, as the kernel tells them.
pub fn memory_and_threads() -> (Option<u64>, Option<u64>) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let number = |key: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(key))?;
        line.split_whitespace().next()?.parse().ok()
    };
    (number("VmRSS:").map(|kb| kb * 1024), number("Threads:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_of_the_last_minute() {
        let start = Instant::now();
        let after = |secs| start + Duration::from_secs(secs);
        let mut pulse = Pulse::default();
        assert_eq!(pulse.figures(start, 0, 0.0), None);
        // busy for a minute, then idle
        for n in 0..=40 {
            let busy = n.min(12);
            pulse.beat(after(5 * n), 5_000 * busy, 0.5 * busy as f64);
        }
        let idle = pulse.figures(after(200), 60_000, 6.0).unwrap();
        assert_eq!((idle.bytes_per_second, idle.cpu_percent), (0.0, 0.0));
        assert!(pulse.0.len() <= 14);
        let now = pulse.figures(after(220), 60_000 + 8_000, 6.8).unwrap();
        assert!((now.bytes_per_second - 100.0).abs() < 0.1, "{now:?}");
        assert!((now.cpu_percent - 1.0).abs() < 0.01, "{now:?}");
    }
}
