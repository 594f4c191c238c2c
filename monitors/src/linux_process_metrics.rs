//! `linux_process_metrics`: what one process, or several taken together, use of the host.
//! Everything comes from `/proc`; nothing is forked.

mod reading;
mod table;

use crate::line::Value;
use crate::monitor::{Cadence, Description, Log, Measure, MetricSpec, Monitor, Setup};
use crate::options::{Default, Kind, OptionSpec};
use crate::{Emitter, Error};
use common::regex::Pattern;
use reading::{Item, Part, Reader, Values, ITEMS};
use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use table::{Process, Table};

/// Its entry in the registry.
pub const DESCRIPTION: Description = Description {
    module: "scalyr_agent.builtin_monitors.linux_process_metrics",
    text: "Processor, memory, input and output of a process, or of several added up. The processes are given by their pids or by a regular expression for their command line. Counters start at 0 when the monitor starts (see absolute_totals) and go on when a process is replaced by another that matches; while none matches, nothing is written.",
    options: OPTIONS,
    metrics: METRICS,
    open: false,
    log: Log::METRICS,
    write_limit: Description::WRITE_LIMIT,
    cadence: Cadence::Sampled,
    service: None,
    make: |setup| Ok(Box::new(LinuxProcessMetrics::new(setup)?)),
};

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        "id",
        Kind::Text,
        Default::None,
        "Name of the application. It is part of every line's tag, and the value of the field app. Default: the entry's number among those of this monitor.",
    ),
    OptionSpec::new(
        "commandline",
        Kind::Text,
        Default::None,
        "Regular expression that is searched in the command lines of all processes (arguments with blanks between them; kernel threads are [name]). Takes precedence over pid.",
    ),
    OptionSpec::new(
        "pid",
        Kind::Text,
        Default::None,
        "Pids with commas between them; `$$` is the agent's own. Several are added up.",
    ),
    OptionSpec::new(
        "aggregate_multiple_processes",
        Kind::Bool,
        Default::Bool(false),
        "Adds up all processes that match commandline. Otherwise only the one with the lowest pid is taken.",
    ),
    OptionSpec::new(
        "include_child_processes",
        Kind::Bool,
        Default::Bool(false),
        "Adds all descendants of the processes that match commandline; for use with aggregate_multiple_processes.",
    ),
    OptionSpec::new(
        "process_discovery_interval",
        Kind::Int,
        Default::Int(120),
        "Seconds after which processes that newly match are looked for while others are being added up.",
    )
    .at_least(0.0),
    OptionSpec::new(
        "absolute_totals",
        Kind::Bool,
        Default::Bool(false),
        "Counters are the totals since each process started, not since the monitor did. Of several processes app.uptime is then that of the oldest.",
    ),
    OptionSpec::new(
        "storage_metrics",
        Kind::Bool,
        Default::Bool(false),
        "Writes app.disk.storage_bytes as well: what was read from and written to block devices, which app.disk.bytes does not say.",
    ),
];

use Measure::{Counter, Gauge};
#[rustfmt::skip]
const METRICS: &[MetricSpec] = &[
    MetricSpec::new("app.cpu", Counter, "1/100 s", &["app", "type"], "Processor time in the program (user) and in the kernel on its behalf (system)."),
    MetricSpec::new("app.uptime", Counter, "ms", &["app"], "Time since the start of the process, or since monitoring began."),
    MetricSpec::new("app.nice", Gauge, "", &["app"], "Nice value; of several processes, the sum."),
    MetricSpec::new("app.threads", Gauge, "", &["app"], "Threads."),
    MetricSpec::new("app.mem.majflt", Counter, "", &["app"], "Page faults that had to read from a device."),
    MetricSpec::new("app.io.wait", Counter, "ticks", &["app"], "Time spent waiting for block devices, usually in 1/100 s; 0 where the kernel does not account for it."),
    MetricSpec::new("app.mem.bytes", Gauge, "bytes", &["app", "type"], "Memory: address space (vmsize) and part in RAM (resident), and the highest of each so far (peak_vmsize, peak_resident)."),
    MetricSpec::new("app.disk.bytes", Counter, "bytes", &["app", "type"], "What read and write calls moved (read, write), to and from files, pipes and terminals, whether or not a disk had to be asked."),
    MetricSpec::new("app.disk.requests", Counter, "", &["app", "type"], "How many read and write calls there were (read, write)."),
    MetricSpec::new("app.io.fds", Gauge, "", &["app", "type"], "Open file descriptors (open)."),
    MetricSpec::new("app.disk.storage_bytes", Counter, "bytes", &["app", "type"], "What was read from and written to block devices (read, write). Only with storage_metrics."),
];

/// How values of several samples and processes become one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sum {
    /// The sum over the processes at this moment.
    Now,
    /// ... written as a float.
    NowFloat,
    /// The increase since the start, over all processes that there have been.
    Grown,
}

/// Metric, its `type`, and how it adds up: the order of the lines of a sample.
const LINES: [(Item, &str, &str, Sum); ITEMS] = [
    (Item::CpuUser, "app.cpu", "user", Sum::Grown),
    (Item::CpuSystem, "app.cpu", "system", Sum::Grown),
    (Item::Uptime, "app.uptime", "", Sum::Grown),
    (Item::Nice, "app.nice", "", Sum::NowFloat),
    (Item::Threads, "app.threads", "", Sum::Now),
    (Item::MajorFaults, "app.mem.majflt", "", Sum::Grown),
    (Item::IoWait, "app.io.wait", "", Sum::Grown),
    (Item::PeakVmSize, "app.mem.bytes", "peak_vmsize", Sum::Now),
    (Item::VmSize, "app.mem.bytes", "vmsize", Sum::Now),
    (
        Item::PeakResident,
        "app.mem.bytes",
        "peak_resident",
        Sum::Now,
    ),
    (Item::Resident, "app.mem.bytes", "resident", Sum::Now),
    (Item::BytesRead, "app.disk.bytes", "read", Sum::Grown),
    (Item::BytesWritten, "app.disk.bytes", "write", Sum::Grown),
    (Item::Reads, "app.disk.requests", "read", Sum::Grown),
    (Item::Writes, "app.disk.requests", "write", Sum::Grown),
    (Item::OpenFiles, "app.io.fds", "open", Sum::Now),
    (
        Item::StorageRead,
        "app.disk.storage_bytes",
        "read",
        Sum::Grown,
    ),
    (
        Item::StorageWritten,
        "app.disk.storage_bytes",
        "write",
        Sum::Grown,
    ),
];

const HOUR: Duration = Duration::from_secs(3600);
/// A table of processes that another instance took may be so old at the most.
const OLDEST_TABLE: Duration = Duration::from_secs(10);

/// Which processes are meant.
enum Target {
    Command(Box<Pattern>),
    Pids(Vec<PidItem>),
}

enum PidItem {
    Pid(i32),
    /// `$$`
    Own,
    /// A text that is no number.
    Bad(String),
}

/// A process that is being watched.
struct Watched {
    pid: i32,
    start: u64,
    /// As it was last time it could be read.
    last: Values,
    /// As it is in this sample.
    now: Values,
}

struct LinuxProcessMetrics {
    app: String,
    root: PathBuf,
    target: Target,
    /// The text of the expression.
    command: String,
    aggregate: bool,
    children: bool,
    discover_every: Duration,
    absolute: bool,
    storage: bool,
    /// Made in the first sample, as is the table if it is needed.
    reader: Option<Reader>,
    table: Option<Arc<Mutex<Table>>>,
    watched: Vec<Watched>,
    totals: [i64; ITEMS],
    discovered: Option<Instant>,
    sampled: Option<Instant>,
}

impl LinuxProcessMetrics {
    fn new(setup: &Setup) -> Result<Self, Error> {
        let options = setup.options;
        let (command, pids) = (options.text("commandline"), options.text("pid"));
        let target = if !command.is_empty() {
            let pattern = Pattern::new(command).map_err(|mistake| {
                let (why, at) = (mistake.reason, mistake.position);
                Error::of_option(
                    "commandline",
                    format!("Field \"commandline\": {why} at position {at}"),
                )
            })?;
            Target::Command(Box::new(pattern))
        } else if !pids.is_empty() {
            // `$$TBD` stands for a pid that is not known yet.
            let items = pids.split(',').map(str::trim);
            let items = items.filter(|&item| !item.is_empty() && item != "$$TBD");
            Target::Pids(items.map(PidItem::new).collect())
        } else {
            return Err(Error::new(
                "At least one of the following fields must be provide: commandline or pid",
            ));
        };
        let seconds = options.int("process_discovery_interval").unwrap_or(120);
        Ok(LinuxProcessMetrics {
            app: setup.id.to_owned(),
            root: setup.place.root.clone(),
            target,
            command: command.to_owned(),
            aggregate: options.bool("aggregate_multiple_processes"),
            children: options.bool("include_child_processes"),
            discover_every: Duration::from_secs(u64::try_from(seconds).unwrap_or(0)),
            absolute: options.bool("absolute_totals"),
            storage: options.bool("storage_metrics"),
            reader: None,
            table: None,
            watched: Vec::new(),
            totals: [0; ITEMS],
            discovered: None,
            sampled: None,
        })
    }

    /// Whether values may be those of several processes.
    fn is_sum(&self) -> bool {
        match &self.target {
            Target::Command(_) => self.aggregate,
            Target::Pids(items) => items.len() > 1,
        }
    }

    /// Looks at the processes that are known, and forgets those that are gone or whose pid has
    /// become another's.
    fn look_again(&mut self, reader: &mut Reader, uptime: Option<u64>, out: &mut Emitter) {
        self.watched.retain_mut(|process| {
            let seen = reader.look(process.pid, uptime, |part, why| missed(part, why, out));
            match seen {
                Ok(Some(reading)) if reading.start == process.start => process.now = reading.values,
                Ok(_) => return false,
                Err(error) => {
                    process.now = [None; ITEMS];
                    unreadable(&error, out);
                }
            }
            true
        });
    }

    /// Begins to watch a process, unless it is gone already or not the one that was meant: false.
    fn watch(
        &mut self,
        (pid, start): (i32, Option<u64>),
        reader: &mut Reader,
        uptime: Option<u64>,
        out: &mut Emitter,
    ) -> bool {
        match reader.look(pid, uptime, |part, why| missed(part, why, out)) {
            Ok(Some(reading)) if start.is_none_or(|start| start == reading.start) => {
                if self.absolute && !self.is_sum() {
                    self.totals = [0; ITEMS];
                }
                self.watched.push(Watched {
                    pid,
                    start: reading.start,
                    last: [None; ITEMS],
                    now: reading.values,
                });
            }
            Ok(_) => return false,
            Err(error) => unreadable(&error, out),
        }
        true
    }

    /// The processes that match, the first of them if they are not to be added up.
    fn discover(&mut self, out: &mut Emitter) -> io::Result<Option<Vec<Process>>> {
        let Target::Command(pattern) = &mut self.target else {
            return Ok(None);
        };
        let due = self
            .discovered
            .is_none_or(|then| then.elapsed() >= self.discover_every);
        let look = self.watched.is_empty() || (self.aggregate && due);
        if !look {
            return Ok(None);
        }
        let table = self.table.get_or_insert_with(|| table::shared(&self.root));
        let mut table = table::lock(table);
        // A table that another instance has just read is used again, but only if it is younger than
        // a third of this monitor's own interval; otherwise a sample would show a past moment.
        let since = self.sampled.map_or(OLDEST_TABLE, |then| then.elapsed() / 3);
        table.refresh(&self.root, since.min(OLDEST_TABLE))?;
        let matching = table.processes().iter();
        let mut found: Vec<Process> = matching
            .filter(|process| pattern.is_match(table.command(process)))
            .cloned()
            .collect();
        if self.aggregate {
            if self.children {
                table.add_descendants(&mut found);
            }
        } else {
            let several = if self.children {
                let mut family = found.clone();
                table.add_descendants(&mut family);
                family.len()
            } else {
                found.len()
            };
            found.truncate(1);
            if let (Some(first), true) = (found.first(), several > 1) {
                if out.once_in(Duration::from_secs(300), "several") {
                    out.warn(format_args!(
                        "{several} processes match \"{}\"; only that with the pid {} is watched. Set aggregate_multiple_processes to add all of them up.",
                        self.command, first.pid
                    ));
                }
            }
        }
        self.discovered = Some(Instant::now());
        Ok(Some(found))
    }

    /// Adds what the counters have grown by. A value is only compared with one of the same
    /// process, and nothing is added twice.
    fn add_up(&mut self) {
        for process in &mut self.watched {
            for item in 0..ITEMS {
                let Some(now) = process.now[item] else {
                    continue;
                };
                let grown = match process.last[item] {
                    Some(last) => now.saturating_sub(last).max(0),
                    None if self.absolute => now,
                    None => 0,
                };
                self.totals[item] = self.totals[item].saturating_add(grown);
                process.last[item] = Some(now);
            }
        }
    }

    fn write(&self, out: &mut Emitter) {
        for (item, name, kind, sum) in LINES {
            let at = item as usize;
            let is_storage = matches!(item, Item::StorageRead | Item::StorageWritten);
            if is_storage && !self.storage {
                continue;
            }
            let present = self.watched.iter().filter_map(|process| process.now[at]);
            let value = match sum {
                // A total that has no news is still the total.
                Sum::Grown if self.watched.iter().all(|p| p.last[at].is_none()) => None,
                Sum::Grown if item == Item::Uptime && self.absolute => present.max(),
                Sum::Grown => Some(self.totals[at]),
                Sum::Now | Sum::NowFloat => present.reduce(i64::saturating_add),
            };
            let Some(value) = value else { continue };
            let value = match sum {
                Sum::NowFloat => Value::Float(value as f64),
                _ => Value::Int(value),
            };
            let fields = [("app", Value::Text(&self.app)), ("type", Value::Text(kind))];
            let fields = if kind.is_empty() {
                &fields[..1]
            } else {
                &fields[..]
            };
            out.emit_in_order(name, value, fields);
        }
    }
}

impl Monitor for LinuxProcessMetrics {
    fn gather(&mut self, out: &mut Emitter) -> Result<(), Error> {
        let mut reader = self
            .reader
            .take()
            .unwrap_or_else(|| Reader::new(&self.root));
        let result = self.sample(&mut reader, out);
        self.reader = Some(reader);
        self.sampled = Some(Instant::now());
        result
    }
}

impl LinuxProcessMetrics {
    fn sample(&mut self, reader: &mut Reader, out: &mut Emitter) -> Result<(), Error> {
        let uptime = reader.uptime_ms().ok();
        self.look_again(reader, uptime, out);
        let mut bad = None;
        if let Some(found) = self.discover(out)? {
            let mut new: BTreeSet<(i32, u64)> =
                common::sort::gathered(found.iter().map(|p| (p.pid, p.start)));
            // Those that match no more are dropped; those that are known stay as they are.
            self.watched.retain(|p| new.remove(&(p.pid, p.start)));
            for (pid, start) in new {
                self.watch((pid, Some(start)), reader, uptime, out);
            }
        } else if let Target::Pids(items) = &self.target {
            let mut wanted = Vec::new();
            for item in items {
                let pid = match item {
                    PidItem::Pid(pid) => *pid,
                    PidItem::Own => i32::try_from(std::process::id()).unwrap_or(i32::MAX),
                    PidItem::Bad(text) => {
                        bad.get_or_insert_with(|| format!("pid \"{text}\" is no number"));
                        continue;
                    }
                };
                let known = self.watched.iter().any(|process| process.pid == pid);
                if !known && !wanted.contains(&pid) {
                    wanted.push(pid);
                }
            }
            for pid in wanted {
                let is_there = self.watch((pid, None), reader, uptime, out);
                if !is_there && out.once_in(HOUR, &no_process(pid)) {
                    out.warn(format_args!(
                        "There is no process with the pid {pid}; nothing is written about it until there is one."
                    ));
                }
            }
        }
        out.counter("processes")
            .store(self.watched.len() as u64, Relaxed);
        if self.watched.is_empty() {
            // The next that matches is another application's start: it begins at 0.
            self.totals = [0; ITEMS];
        } else {
            self.add_up();
            self.write(out);
        }
        bad.map_or(Ok(()), |text| Err(Error::new(text)))
    }
}

impl PidItem {
    fn new(text: &str) -> Self {
        match reading::pid(text) {
            Some(pid) => PidItem::Pid(pid),
            None if text == "$$" => PidItem::Own,
            None => PidItem::Bad(text.to_owned()),
        }
    }
}

/// The key of what is said about a pid that no process has.
fn no_process(pid: i32) -> String {
    format!("no process {pid}")
}

/// A file of a process that is there cannot be read.
fn missed(part: Part, why: &io::Error, out: &mut Emitter) {
    if !out.once_in(HOUR, part.name()) {
        return;
    }
    let (metrics, name) = match part {
        Part::Status => ("app.mem.bytes", part.name()),
        Part::Io => ("app.disk.*", part.name()),
        Part::Fd => ("app.io.fds", part.name()),
    };
    let advice = if why.kind() == io::ErrorKind::PermissionDenied {
        " To watch processes of other users the agent has to run as root."
    } else {
        ""
    };
    out.warn(format_args!(
        "{metrics} is missing: /proc/PID/{name} cannot be read: {why}.{advice}"
    ));
}

/// Nothing is known of a process that is there.
fn unreadable(why: &io::Error, out: &mut Emitter) {
    if out.once_in(HOUR, "stat") {
        out.warn(format_args!("A process cannot be read: {why}."));
    }
}

#[cfg(test)]
#[path = "linux_process_metrics_tests.rs"]
mod tests;
