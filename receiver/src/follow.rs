//! Showing what arrives, as it arrives.

use crate::event::{Event, Observer};
use crate::plain::{grouped, printable, size};
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
                            writeln!(out, "{}", printable(&path, WIDTH))?;
                        }
                        writeln!(out, "    {}", printable(&event.text(), WIDTH))?;
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
