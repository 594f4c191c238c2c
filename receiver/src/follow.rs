//! Showing what arrives, as it arrives.

use crate::event::{Event, Observer};
use crate::server::Receiver;
use crate::state::Counts;
use std::io::{self, Write};
use std::sync::mpsc::{sync_channel, Receiver as Channel, RecvTimeoutError};
use std::time::{Duration, Instant};

/// Events that wait to be shown.
const WAITING: usize = 1024;
/// Characters of a message that are shown.
const WIDTH: usize = 110;

/// The events that arrive, for showing; the other end is [`crate::Options::observer`]. Where more
/// come than are taken, some are left out.
pub struct Incoming {
    events: Channel<Event>,
}

/// The two ends: what the receiver gets as its observer, and what shows.
pub fn incoming() -> (Observer, Incoming) {
    let (sender, events) = sync_channel(WAITING);
    let observer = move |event: &Event| {
        // Full: it is counted, and not shown
        let _ = sender.try_send(event.clone());
    };
    (Box::new(observer), Incoming { events })
}

impl Incoming {
    /// Writes arriving lines in short form, at most `lines` a second, and after each second in
    /// which something came the counts. Returns when `stop` says so (asked at least twice a second)
    /// or the receiver is gone.
    pub fn show(
        &self,
        receiver: &Receiver,
        out: &mut impl Write,
        lines: usize,
        mut stop: impl FnMut() -> bool,
    ) -> io::Result<()> {
        let mut before = Counts::default();
        let mut since = Instant::now();
        let mut path = String::new();
        while !stop() {
            let second = since + Duration::from_secs(1);
            let mut shown = 0;
            loop {
                let left = second.saturating_duration_since(Instant::now());
                match self
                    .events
                    .recv_timeout(left.min(Duration::from_millis(500)))
                {
                    Ok(event) if shown < lines => {
                        if *event.path != *path {
                            path = event.path.to_string();
                            writeln!(out, "{}", printable(&path))?;
                        }
                        writeln!(out, "    {}", printable(&event.text()))?;
                        out.flush()?;
                        shown += 1;
                    }
                    Ok(_) => {}
                    Err(RecvTimeoutError::Timeout) if !left.is_zero() && !stop() => {}
                    Err(RecvTimeoutError::Timeout) => break,
                    Err(RecvTimeoutError::Disconnected) => return Ok(()),
                }
                if left.is_zero() {
                    break;
                }
            }
            let counts = receiver.counts();
            if counts.requests != before.requests {
                writeln!(out, "{}", summary(&counts, &before, shown, since.elapsed()))?;
                out.flush()?;
            }
            before = counts;
            since = Instant::now();
        }
        Ok(())
    }
}

fn summary(now: &Counts, before: &Counts, shown: usize, time: Duration) -> String {
    let new = now.events.saturating_sub(before.events);
    let rate = new as f64 / time.as_secs_f64().max(0.001);
    let mut text = format!(
        "== {} lines from {} logs, {} in {} requests ({} on the wire), {:.0} lines/s",
        grouped(now.events),
        now.logs.len(),
        size(now.message_bytes),
        grouped(now.requests),
        size(now.wire_bytes),
        rate,
    );
    if new > shown as u64 {
        text.push_str(&format!(", {} not shown", grouped(new - shown as u64)));
    }
    for (count, what) in [
        (now.duplicates, "sent again"),
        (now.malformed + now.refused, "requests refused"),
        (now.problems, "problems"),
    ] {
        if count > 0 {
            text.push_str(&format!(", {} {what}", grouped(count)));
        }
    }
    text
}

/// On one line, cut, and without control characters, which a terminal would obey.
fn printable(text: &str) -> String {
    let text = text.trim_end_matches(['\r', '\n']);
    let mut out = String::new();
    for (i, c) in text.chars().enumerate() {
        if i == WIDTH {
            out.push('…');
            break;
        }
        out.push(match c {
            '\t' => ' ',
            c if c.is_control() => '·',
            c => c,
        });
    }
    out
}

fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn size(bytes: u64) -> String {
    match bytes {
        0..=9_999 => format!("{bytes} B"),
        10_000..=9_999_999 => format!("{:.1} kB", bytes as f64 / 1e3),
        10_000_000..=9_999_999_999 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_line_cannot_steer_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb\tc\u{9b}\r\n"), "a·[2Jb c·");
        assert_eq!(printable(&"x".repeat(200)).chars().count(), WIDTH + 1);
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(size(12_345_678), "12.3 MB");
    }
}
