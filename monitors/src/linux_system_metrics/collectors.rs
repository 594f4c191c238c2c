//! External collectors: programs of the operator's in `collectors_directory`.
//!
//! One thread starts, watches and reads all of them; the monitor takes what they have said with its
//! next sample. A collector that says more than [`BUDGET`] between two samples is not read any
//! further until then, so it waits and nothing is lost.

mod process;
mod supervisor;

use super::turn::Turn;
use crate::line::{Field, Value};
use crate::monitor::Setup;
use crate::{Emitter, Error};
use crossbeam_channel::Receiver;
use std::convert::Infallible;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use supervisor::Supervisor;

const HOUR: Duration = Duration::from_secs(3600);
/// Bytes that one collector may say between two samples.
const BUDGET: usize = 128 * 1024;
/// Bytes of a line, from which on it is none.
const LONGEST_LINE: usize = 1024;
/// Lines of a collector's errors that go to agent.log in an hour.
const MOST_COMPLAINTS: u64 = 20;
/// How long the end of the collectors is waited for; longer than it takes in any case.
const FAREWELL: Duration = Duration::from_secs(3);

/// A line of a collector, or a fact that the supervisor reports about one.
#[derive(Debug)]
enum Event {
    Line {
        collector: Arc<str>,
        epoch_ms: u64,
        text: String,
    },
    /// A line that is too long.
    TooLong(Arc<str>),
    Stderr {
        collector: Arc<str>,
        text: String,
    },
    /// It has used up its budget.
    HeldBack(Arc<str>),
    Info(String),
    Warn(String),
    /// A warning that may come again and again.
    Repeated(String),
}

/// Between the supervisor and the monitor.
#[derive(Debug, Default)]
struct Mailbox {
    events: Mutex<Vec<Event>>,
    /// How often it has been emptied.
    emptied: AtomicU64,
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, Vec<Event>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, event: Event) {
        self.lock().push(event);
    }

    fn empty(&self) -> Vec<Event> {
        let events = std::mem::take(&mut *self.lock());
        self.emptied.fetch_add(1, Relaxed);
        events
    }
}

/// All collectors of a monitor.
pub(super) struct Collectors {
    directory: PathBuf,
    environment: Vec<(&'static str, String)>,
    mailbox: Arc<Mailbox>,
    running: Option<Running>,
    complaints: u64,
}

struct Running {
    /// Closing it tells the supervisor to end.
    _line: UnixStream,
    /// Disconnected when it has.
    done: Receiver<Infallible>,
}

impl Collectors {
    /// Starts nothing yet. `None` if no directory is set.
    ///
    /// # Errors
    /// The directory does not exist.
    pub fn of(setup: &Setup) -> Result<Option<Self>, Error> {
        let options = setup.options;
        let directory = options.text("collectors_directory");
        if directory.is_empty() {
            return Ok(None);
        }
        let directory = PathBuf::from(directory);
        if !directory.is_dir() {
            let directory = directory.display();
            return Err(Error::of_option(
                "collectors_directory",
                format!("collectors_directory: no directory {directory}"),
            ));
        }
        Ok(Some(Collectors {
            directory,
            environment: environment(setup)?,
            mailbox: Arc::default(),
            running: None,
            complaints: 0,
        }))
    }

    /// Starts them the first time, and emits what they have said since the last.
    pub fn sample(&mut self, turn: &mut Turn) {
        let has_died = |running: &Running| {
            running.done.try_recv() == Err(crossbeam_channel::TryRecvError::Disconnected)
        };
        if self.running.as_ref().is_none_or(has_died) {
            let running = start(&self.directory, &self.environment, &self.mailbox);
            match running {
                Ok(running) => self.running = Some(running),
                Err(error) => turn.missing(&format_args!("collectors cannot be run: {error}")),
            }
        }
        if turn.out.once_in(HOUR, "collectors: an hour has passed") {
            self.complaints = 0;
        }
        for event in self.mailbox.empty() {
            self.tell(event, turn.out);
        }
    }

    fn tell(&mut self, event: Event, out: &mut Emitter) {
        let refused = |out: &mut Emitter| {
            out.counter("collector_lines_refused").fetch_add(1, Relaxed);
        };
        match event {
            Event::Line {
                collector,
                epoch_ms,
                text,
            } => match parse(&text) {
                Some((metric, value, tags)) => {
                    out.emit_in_order_at(epoch_ms, metric, Value::Raw(value), &tags);
                }
                None => {
                    refused(out);
                    if out.once_in(HOUR, &format!("invalid {collector}")) {
                        out.warn(format_args!("{collector} sent invalid data: {text}"));
                    }
                }
            },
            Event::TooLong(collector) => {
                refused(out);
                if out.once_in(HOUR, &format!("too long {collector}")) {
                    out.warn(format_args!(
                        "{collector} sent a line of {LONGEST_LINE} or more bytes; it is dropped"
                    ));
                }
            }
            Event::Stderr { collector, text } => {
                self.complaints += 1;
                if self.complaints <= MOST_COMPLAINTS {
                    out.warn(format_args!("{collector}: {text}"));
                } else if out.once_in(HOUR, "complaints") {
                    out.warn(format_args!(
                        "{collector}: there is more on standard error; {MOST_COMPLAINTS} lines an hour are shown"
                    ));
                }
            }
            Event::HeldBack(collector) => {
                if out.once_in(HOUR, &format!("held back {collector}")) {
                    out.warn(format_args!(
                        "{collector} says more than {BUDGET} bytes between two samples; it has to wait for the next one"
                    ));
                }
            }
            Event::Info(text) => out.info(format_args!("{text}")),
            Event::Warn(text) => out.warn(format_args!("{text}")),
            Event::Repeated(text) => {
                if out.once_in(HOUR, &text) {
                    out.warn(format_args!("{text}"));
                }
            }
        }
    }
}

impl Drop for Collectors {
    fn drop(&mut self) {
        if let Some(Running { _line: line, done }) = self.running.take() {
            drop(line);
            // It cannot take longer, and if it did nothing could be done about it.
            let _ = done.recv_timeout(FAREWELL);
        }
    }
}

fn start(
    directory: &Path,
    environment: &[(&'static str, String)],
    mailbox: &Arc<Mailbox>,
) -> std::io::Result<Running> {
    let (line, other_end) = UnixStream::pair()?;
    let (alive, done) = crossbeam_channel::bounded(0);
    let supervisor = Supervisor::new(directory, environment, Arc::clone(mailbox), other_end);
    std::thread::Builder::new()
        .name("collectors".to_owned())
        .spawn(move || {
            let _alive = alive;
            supervisor.run();
        })?;
    Ok(Running { _line: line, done })
}

/// Environment variables that tell collectors the monitor's options.
fn environment(setup: &Setup) -> Result<Vec<(&'static str, String)>, Error> {
    let options = setup.options;
    let prefixes = super::ifstat::prefixes(options)?;
    let local = options.bool("local_disks_only");
    Ok(vec![
        (
            "TCOLLECTOR_SAMPLE_INTERVAL",
            format!("{:?}", setup.place.sample_interval),
        ),
        ("TCOLLECTOR_INTERFACE_PREFIX", prefixes.join(",")),
        (
            "TCOLLECTOR_INTERFACE_SUFFIX",
            options.text("network_interface_suffix").to_owned(),
        ),
        (
            "TCOLLECTOR_LOCAL_DISKS_ONLY",
            if local { "True" } else { "False" }.to_owned(),
        ),
        (
            "TCOLLECTOR_IGNORE_MOUNTS",
            options.strings("ignore_mounts").join(","),
        ),
    ])
}

/// `metric timestamp value[ tag=text]...`: the metric, its value and its tags. When the line came
/// counts, not when it says it was made.
fn parse(line: &str) -> Option<(&str, &str, Vec<Field<'_>>)> {
    let name = |text: &str| {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_./".contains(&b);
        !text.is_empty() && text.bytes().all(fits)
    };
    let mut words = line.split_ascii_whitespace();
    let metric = words.next().filter(|word| name(word))?;
    words.next().filter(|word| crate::procfs::is_number(word))?;
    let value = words.next()?;
    let tags = words.map(|word| {
        let (key, text) = word.split_once('=')?;
        (name(key) && name(&text.replace('~', "-"))).then_some((key, Value::Text(text)))
    });
    Some((metric, value, tags.collect::<Option<_>>()?))
}

#[cfg(test)]
mod tests;
