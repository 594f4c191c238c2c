//! The thread that starts, watches and reads collectors.

use super::process::{Line, Pipe, Process};
use super::{Event, Mailbox, BUDGET, LONGEST_LINE};
use common::stamp;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use nix::sys::signal::Signal;
use std::fs;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// How often the directory is looked through, and how long after its end a collector that is to run
/// for ever is started again.
const SCAN: Duration = Duration::from_secs(15);
/// A collector that failed, or does not want to run here, is tried again so long after its start.
const DEAD: Duration = Duration::from_secs(3600);
/// How long the end of a process may go unnoticed.
const TICK: Duration = Duration::from_secs(1);
/// From SIGTERM to SIGKILL for one that has run for too long.
const GRACE: Duration = Duration::from_secs(5);
/// The same when the monitor ends, and from there until they are given up.
const LAST_GRACE: Duration = Duration::from_secs(1);
/// Pause between two messages about a collector that no signal ends.
const COMPLAIN: Duration = Duration::from_secs(300);
const MOST_COLLECTORS: usize = 64;
/// Collectors of the Python agent in the directory `0` whose metrics this monitor reads itself.
/// Running them from a copy of its directory would write each metric twice.
const BUILT_IN: [&str; 5] = [
    "dfstat.py",
    "ifstat.py",
    "iostat.py",
    "netstat.py",
    "procstats.py",
];
/// Exit code of a collector that has nothing to collect here.
const NOT_HERE: i32 = 13;
/// Bytes that an event costs beyond its text.
const EVENT: usize = 64;
/// A pipe may hold so much when its writer has ended; 64 KiB unless it was asked for more.
const LAST_WORDS: usize = 1024 * 1024;

pub(super) struct Supervisor {
    directory: PathBuf,
    environment: Vec<(&'static str, String)>,
    mailbox: Arc<Mailbox>,
    /// Closed from the other end when all is to end.
    line: UnixStream,
    collectors: Vec<Collector>,
    /// Whether it has been said that there are too many.
    passed_over: bool,
    /// Whether it has been said that some are built in.
    has_built_in: bool,
    emptied: u64,
}

struct Collector {
    path: PathBuf,
    name: Arc<str>,
    modified: SystemTime,
    /// Zero for one that runs for ever.
    interval: Duration,
    process: Option<Process>,
    started: Instant,
    /// When it is to be started, while it is not running.
    due: Instant,
    /// Why it is being ended.
    ending: Option<Ending>,
    /// Bytes of events since the mailbox was last emptied.
    said: usize,
}

struct Ending {
    why: Why,
    /// When to go on to SIGKILL, or to complain.
    next: Instant,
}

#[derive(Clone, Copy, PartialEq)]
enum Why {
    Overstay,
    Changed,
    Gone,
}

impl Supervisor {
    pub fn new(
        directory: &Path,
        environment: &[(&'static str, String)],
        mailbox: Arc<Mailbox>,
        line: UnixStream,
    ) -> Self {
        Supervisor {
            directory: directory.to_owned(),
            environment: environment.to_vec(),
            mailbox,
            line,
            collectors: Vec::new(),
            passed_over: false,
            has_built_in: false,
            emptied: 0,
        }
    }

    /// Returns when the other end of the line is closed; all collectors have been ended then.
    pub fn run(mut self) {
        let mut scan = Instant::now();
        loop {
            let now = Instant::now();
            if now >= scan {
                self.scan(now);
                scan = now + SCAN;
            }
            self.hear_of_samples();
            for collector in &mut self.collectors {
                collector.turn(now, &self.environment, &self.mailbox);
            }
            self.collectors.retain(|one| {
                let gone = one.ending.as_ref().is_some_and(|e| e.why == Why::Gone);
                one.process.is_some() || !gone
            });
            if self.listen() {
                break;
            }
        }
        self.end();
    }

    /// After a sample each may say as much again.
    fn hear_of_samples(&mut self) {
        let emptied = self.mailbox.emptied.load(Relaxed);
        if emptied != self.emptied {
            self.emptied = emptied;
            self.collectors.iter_mut().for_each(|one| one.said = 0);
        }
    }

    /// Finds what is new, has changed or is gone.
    fn scan(&mut self, now: Instant) {
        let (found, built_in): (Vec<_>, Vec<_>) = match find(&self.directory) {
            Ok(found) => found.into_iter().partition(|one| !one.is_built_in()),
            Err(error) => {
                let directory = self.directory.display();
                // Running collectors stay: the disk may be back soon.
                return self.mailbox.put(Event::Repeated(format!(
                    "collectors_directory {directory} cannot be read: {error}"
                )));
            }
        };
        if !built_in.is_empty() && !self.has_built_in {
            self.has_built_in = true;
            let names: Vec<&str> = built_in.iter().map(|one| &*one.name).collect();
            self.mailbox.put(Event::Info(format!(
                "Not run as collectors: {}. The monitor itself reads what programs of these names do in the Python agent; one that does something else needs another name.",
                names.join(", ")
            )));
        }
        for collector in &mut self.collectors {
            if !found.iter().any(|found| found.path == collector.path) {
                collector.end(Why::Gone, now);
            }
        }
        for found in found {
            let count = self.collectors.len();
            let mut known = self.collectors.iter_mut();
            match known.find(|known| known.path == found.path) {
                Some(known) if known.modified != found.modified => {
                    known.modified = found.modified;
                    if known.process.is_none() {
                        known.due = now;
                    } else if known.interval.is_zero() {
                        known.end(Why::Changed, now);
                    }
                }
                Some(_) => {}
                None if count < MOST_COLLECTORS => self.collectors.push(found),
                None if self.passed_over => {}
                None => {
                    self.passed_over = true;
                    self.mailbox.put(Event::Warn(format!(
                        "There are more than {MOST_COLLECTORS} collectors; {} and others are not run.",
                        found.path.display()
                    )));
                }
            }
        }
    }

    /// Waits for something to read, and reads it. True if all is to end.
    fn listen(&mut self) -> bool {
        let mut fds = vec![PollFd::new(self.line.as_fd(), PollFlags::POLLIN)];
        for collector in &self.collectors {
            let Some(process) = &collector.process else {
                continue;
            };
            let pipes = process.stdout.iter().chain(&process.stderr);
            // One that has said enough is not listened to.
            for pipe in pipes.filter(|_| collector.said < BUDGET) {
                fds.push(PollFd::new(pipe.file.as_fd(), PollFlags::POLLIN));
            }
        }
        let wait = PollTimeout::try_from(TICK).unwrap_or(PollTimeout::MAX);
        // An error (EINTR, ENOMEM) is as good as nothing to read; it does not come at once again.
        match poll(&mut fds, wait) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
        if fds[0].any().unwrap_or(true) {
            return true;
        }
        drop(fds);
        for collector in &mut self.collectors {
            if collector.said < BUDGET {
                collector.read(BUDGET - collector.said, &self.mailbox);
                if collector.said >= BUDGET {
                    let name = Arc::clone(&collector.name);
                    self.mailbox.put(Event::HeldBack(name));
                }
            }
        }
        false
    }

    fn end(mut self) {
        for signal in [Signal::SIGTERM, Signal::SIGKILL] {
            let running = self.collectors.iter_mut();
            for process in running.filter_map(|one| one.process.as_mut()) {
                process.signal(signal);
            }
            let deadline = Instant::now() + LAST_GRACE;
            while Instant::now() < deadline {
                self.collectors
                    .retain_mut(|one| one.process.as_mut().is_some_and(|p| p.ended().is_none()));
                if self.collectors.is_empty() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

/// The collectors in a directory, by interval and name, none of them started.
fn find(directory: &Path) -> io::Result<Vec<Collector>> {
    let mut found = Vec::new();
    let now = Instant::now();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let interval = name.to_str().filter(|name| crate::procfs::is_number(name));
        let Some(interval) = interval.and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(files) = fs::read_dir(entry.path()) else {
            continue;
        };
        for file in files.flatten() {
            let path = file.path();
            let name = file.file_name().to_string_lossy().into_owned();
            let metadata = fs::metadata(&path).ok().filter(fs::Metadata::is_file);
            let modified = metadata.and_then(|metadata| metadata.modified().ok());
            let Some(modified) = modified.filter(|_| !name.starts_with('.')) else {
                continue;
            };
            found.push(Collector {
                path,
                name: name.into(),
                modified,
                interval: Duration::from_secs(interval.into()),
                process: None,
                started: now,
                due: now,
                ending: None,
                said: 0,
            });
        }
    }
    common::sort::by(&mut found, |a, b| {
        (a.interval, &a.path).cmp(&(b.interval, &b.path))
    });
    Ok(found)
}

impl Collector {
    fn is_built_in(&self) -> bool {
        self.interval.is_zero() && BUILT_IN.contains(&&*self.name)
    }

    /// Starts it, notices its end, ends it: whatever is due.
    fn turn(&mut self, now: Instant, environment: &[(&'static str, String)], mailbox: &Mailbox) {
        let Some(process) = &mut self.process else {
            // Lines that it has written already take memory until the next sample.
            if now >= self.due && self.ending.is_none() && self.said < BUDGET {
                self.start(now, environment, mailbox);
            }
            return;
        };
        if let Some(code) = process.ended() {
            self.has_ended(code, now, mailbox);
            return;
        }
        match &mut self.ending {
            None if !self.interval.is_zero() && now >= self.started + self.interval => {
                mailbox.put(Event::Repeated(format!(
                    "{} still runs after its interval of {} seconds; it is ended.",
                    self.name,
                    self.interval.as_secs()
                )));
                self.end(Why::Overstay, now);
            }
            Some(ending) if now >= ending.next => {
                process.signal(Signal::SIGKILL);
                ending.next = now + COMPLAIN;
                mailbox.put(Event::Repeated(format!(
                    "{} did not end within {} seconds of SIGTERM; it gets SIGKILL.",
                    self.name,
                    GRACE.as_secs()
                )));
            }
            _ => {}
        }
    }

    fn start(&mut self, now: Instant, environment: &[(&'static str, String)], mailbox: &Mailbox) {
        self.started = now;
        match Process::start(&self.path, environment) {
            Ok(process) => self.process = Some(process),
            // Somebody is writing it at this moment.
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => {
                self.due = now + TICK;
            }
            Err(error) => {
                self.due = now + DEAD;
                mailbox.put(Event::Warn(format!(
                    "Collector {} cannot be started: {error}. It is tried again when it has changed, or in an hour.",
                    self.path.display()
                )));
            }
        }
    }

    /// Begins to end it.
    fn end(&mut self, why: Why, now: Instant) {
        let repeated = self.ending.as_ref().is_some_and(|ending| ending.why == why);
        if repeated {
            return;
        }
        if let Some(process) = &mut self.process {
            process.signal(Signal::SIGTERM);
        }
        self.ending = Some(Ending {
            why,
            next: now + GRACE,
        });
    }

    fn has_ended(&mut self, code: i32, now: Instant, mailbox: &Mailbox) {
        self.read(LAST_WORDS, mailbox);
        if self.said >= BUDGET {
            mailbox.put(Event::HeldBack(Arc::clone(&self.name)));
        }
        self.process = None;
        let next = if self.interval.is_zero() {
            now + SCAN
        } else {
            self.started + self.interval
        };
        let name = &self.name;
        let ran = now.duration_since(self.started).as_secs();
        self.due = match (self.ending.as_ref().map(|ending| ending.why), code) {
            (Some(Why::Gone), _) => return,
            (Some(Why::Changed), _) => now,
            (Some(Why::Overstay), _) | (None, 0) => next,
            (None, NOT_HERE) => {
                mailbox.put(Event::Info(format!(
                    "{name} has nothing to collect here (exit code {NOT_HERE}); it is asked again in an hour."
                )));
                self.started + DEAD
            }
            (None, _) => {
                let how = if code < 0 {
                    format!("was ended by signal {}", -code)
                } else {
                    format!("ended with exit code {code}")
                };
                mailbox.put(Event::Warn(format!(
                    "{name} {how} after {ran} seconds; it is started again when it has changed, or in an hour."
                )));
                self.started + DEAD
            }
        };
        self.ending = None;
    }

    /// Reads up to so many bytes of each pipe, as far as they are there.
    fn read(&mut self, most: usize, mailbox: &Mailbox) {
        let Some(process) = &mut self.process else {
            return;
        };
        let epoch_ms = stamp::now_ms();
        let name = &self.name;
        let said = &mut self.said;
        let mut take = |pipe: &mut Option<Pipe>, event: &dyn Fn(String) -> Event, whole: bool| {
            let Some(open) = pipe.as_mut() else {
                return;
            };
            let mut events = 0;
            let (bytes, more) = open.read(most, |line| {
                let (text, cut) = match line {
                    Line::Text(text) => (text, false),
                    Line::TooLong(text) => (&text[..LONGEST_LINE.min(text.len())], true),
                };
                let text = String::from_utf8_lossy(text);
                let text = text.trim();
                if text.is_empty() {
                    return;
                }
                events += 1;
                mailbox.put(match cut && whole {
                    true => Event::TooLong(Arc::clone(name)),
                    false => event(text.to_owned()),
                });
            });
            *said += bytes + events * EVENT;
            if !more {
                *pipe = None;
            }
        };
        let line = |text| Event::Line {
            collector: Arc::clone(name),
            epoch_ms,
            text,
        };
        take(&mut process.stdout, &line, true);
        let complaint = |text| Event::Stderr {
            collector: Arc::clone(name),
            text,
        };
        take(&mut process.stderr, &complaint, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::testing::Scratch;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn one_that_is_run_often_and_says_much_waits_for_the_next_sample() {
        let scratch = Scratch::new("collectors-often");
        let path = scratch.path("5/often");
        fs::create_dir_all(scratch.path("5")).unwrap();
        fs::write(&path, "#!/bin/sh\nyes 'm 1 2' | head -c 20000\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let mailbox = Arc::new(Mailbox::default());
        let (_line, other_end) = UnixStream::pair().unwrap();
        let directory = scratch.path("");
        let mut supervisor = Supervisor::new(&directory, &[], Arc::clone(&mailbox), other_end);
        let mut now = Instant::now();
        supervisor.scan(now);
        let mut runs = 0;
        // No sample is taken in all this time.
        for _ in 0..20 {
            now += Duration::from_secs(5);
            let collector = &mut supervisor.collectors[0];
            collector.turn(now, &[], &mailbox);
            runs += usize::from(collector.process.is_some());
            let deadline = Instant::now() + Duration::from_secs(60);
            while let Some(process) = &collector.process {
                assert!(Instant::now() < deadline);
                if process.has_ended() {
                    collector.turn(now, &[], &mailbox);
                } else {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        }
        assert!(runs < 5, "{runs}");
        // It goes on once what it said has been taken.
        mailbox.empty();
        supervisor.hear_of_samples();
        let collector = &mut supervisor.collectors[0];
        collector.turn(now, &[], &mailbox);
        assert!(collector.process.is_some());
        supervisor.end();
    }
}
