//! The arriving events on a plain terminal: a line for each, and the counts.

use crate::agent::Agent;
use crate::site::Site;
use receiver::plain::{grouped, printable, size};
use receiver::{Counts, Event};
use signal_hook::consts::SIGWINCH;
use std::collections::HashMap;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines a second that a reader can follow; of one log at most a part of them, so that a long one
/// leaves room for the others.
const LINES: usize = 20;
const LINES_OF_ONE: usize = 6;

/// Characters for a log's name.
const NAME: usize = 24;

/// Characters of an event that are kept, more than a terminal shows of a line.
const KEPT: usize = 1000;

/// Width where it is not known.
const WIDTH: usize = 100;

/// Events that wait to be shown.
#[derive(Default)]
pub struct Arrivals {
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    lines: Vec<(Arc<str>, String)>,
    /// How many of each log were kept in this second.
    kept: HashMap<Arc<str>, usize>,
    total: usize,
    left_out: u64,
}

impl Arrivals {
    /// Keeps an event, if there is room in this second.
    pub fn add(&self, event: &Event) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = waiting.kept.entry(Arc::clone(&event.path)).or_default();
        let room = *kept < LINES_OF_ONE;
        *kept += 1;
        if room && waiting.total < LINES {
            waiting.total += 1;
            let line = (Arc::clone(&event.path), printable(&event.text(), KEPT));
            waiting.lines.push(line);
        } else {
            waiting.left_out += 1;
        }
    }

    fn take(&self, new_second: bool) -> (Vec<(Arc<str>, String)>, u64) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = std::mem::take(&mut waiting.lines);
        let mut left_out = 0;
        if new_second {
            left_out = std::mem::take(&mut waiting.left_out);
            waiting.kept.clear();
            waiting.total = 0;
        }
        (lines, left_out)
    }
}

/// The terminal, or what takes its place. On a terminal the counts stay in the last line.
pub struct Screen {
    log_dir: PathBuf,
    terminal: bool,
    width: usize,
    resized: Arc<AtomicBool>,
    started: Instant,
    second: Instant,
    footer: String,
    events: u64,
}

impl Screen {
    /// Looks at the terminal.
    pub fn new(site: &Site) -> io::Result<Screen> {
        let resized = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(SIGWINCH, Arc::clone(&resized))?;
        let terminal = io::stdout().is_terminal();
        Ok(Screen {
            log_dir: site.path("log"),
            terminal,
            width: width(terminal),
            resized,
            started: Instant::now(),
            second: Instant::now(),
            footer: String::new(),
            events: 0,
        })
    }

    /// Writes a line.
    pub fn say(&mut self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self.footer.is_empty() {
            writeln!(out, "{}", cut(text, self.width))
        } else {
            // Over the counts, which are written anew below
            let width = self.footer.chars().count();
            writeln!(out, "\r{:<width$}", cut(text, self.width))?;
            write!(out, "{}", self.footer)?;
            out.flush()
        }
    }

    /// Shows what arrived since the last time, and once a second the counts.
    pub fn show(&mut self, arrivals: &Arrivals, counts: &Counts, agent: &Agent) -> io::Result<()> {
        if self.resized.swap(false, Ordering::SeqCst) {
            self.width = width(self.terminal);
        }
        let second = self.second.elapsed() >= Duration::from_secs(1);
        let (lines, left_out) = arrivals.take(second);
        for (path, text) in lines {
            let name = self.name(&path);
            let text = self.without_time(&path, &text);
            self.say(format!("{name:<NAME$}  {text}").trim_end())?;
        }
        if second {
            if left_out > 0 {
                let text = format!("... and {} lines more", grouped(left_out));
                self.say(&format!("{:<NAME$}  {text}", ""))?;
            }
            self.counts(counts, agent)?;
            self.second = Instant::now();
        }
        Ok(())
    }

    fn counts(&mut self, counts: &Counts, agent: &Agent) -> io::Result<()> {
        let mut text = format!(
            "== {:.0} s: {} lines of {} logs, {}, {} requests, {} sent",
            self.started.elapsed().as_secs_f64(),
            grouped(counts.events),
            counts.logs.len(),
            size(counts.message_bytes),
            grouped(counts.requests),
            size(counts.wire_bytes),
        );
        if let Some((memory, cpu)) = agent.usage() {
            text.push_str(&format!(
                "; agent: {:.1} MB, {cpu:.2} s CPU",
                memory as f64 / 1024.0
            ));
        }
        let mut out = io::stdout().lock();
        if self.terminal {
            // Not in the last column: some terminals would begin a new line
            let width = self.width.saturating_sub(1);
            self.footer = format!("{:<width$}", cut(&text, width));
            write!(out, "\r{}", self.footer)?;
        } else if counts.events != self.events {
            self.events = counts.events;
            writeln!(out, "{text}")?;
        }
        out.flush()
    }

    /// The last words: what arrived, of which log.
    pub fn finish(&mut self, counts: &Counts) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if !self.footer.is_empty() {
            writeln!(out)?;
            self.footer.clear();
        }
        writeln!(out, "\n{:>10} {:>10}  log", "lines", "bytes")?;
        for (path, log) in &counts.logs {
            let (lines, bytes) = (grouped(log.events), size(log.message_bytes));
            writeln!(out, "{lines:>10} {bytes:>10}  {}", printable(path, KEPT))?;
        }
        let (lines, bytes) = (grouped(counts.events), size(counts.message_bytes));
        writeln!(
            out,
            "{lines:>10} {bytes:>10}  in all, in {} requests; sent again and dropped: {}",
            grouped(counts.requests),
            grouped(counts.duplicates)
        )?;
        out.flush()
    }

    /// A line of the agent's own logs begins with the time of just now, which says nothing here.
    fn without_time<'a>(&self, path: &str, text: &'a str) -> &'a str {
        const TIME: usize = "2026-11-23 02:19:59.434Z ".len();
        let own = path.starts_with(&*self.log_dir.to_string_lossy());
        match text.split_at_checked(TIME) {
            Some((time, rest)) if own && time.ends_with("Z ") => rest,
            _ => text,
        }
    }

    /// A log's name, short, from its end where it is long.
    fn name(&self, path: &str) -> String {
        let own = self.log_dir.to_string_lossy();
        let short = path.strip_prefix(&*own).or(path.strip_prefix("/var/log"));
        let short = printable(short.unwrap_or(path).trim_start_matches('/'), KEPT);
        let length = short.chars().count();
        if length <= NAME {
            return short;
        }
        let end: String = short.chars().skip(length - NAME + 1).collect();
        format!("…{end}")
    }
}

/// The terminal's width in characters. `stty` knows it without a library of ours.
fn width(terminal: bool) -> usize {
    if !terminal {
        return WIDTH;
    }
    let said = Command::new("stty")
        .arg("size")
        .stdin(Stdio::inherit())
        .stderr(Stdio::null())
        .output();
    said.ok()
        .and_then(|said| String::from_utf8(said.stdout).ok())
        .and_then(|text| text.split_whitespace().nth(1)?.parse().ok())
        .filter(|columns| *columns >= 40)
        .unwrap_or(80)
}

/// The first `width` characters; if that is not all, with a sign of it.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let start: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{start}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_too_long_shows_that_it_is_cut() {
        assert_eq!(cut("grün und blau", 6), "grün …");
        assert_eq!(cut("grün", 4), "grün");
    }
}
