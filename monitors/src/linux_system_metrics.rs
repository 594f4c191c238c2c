//! `linux_system_metrics`: the host's load, memory, processors and NUMA nodes
//! (monitors-core.md §2.1). Read straight from `/proc` and `/sys`: no child processes, a dozen
//! system calls a sample. Numbers keep the digits of their source, fields their order.

use crate::line::Value;
use crate::monitor::{Cadence, Description, Log, Measure, MetricSpec, Monitor, Place};
use crate::options::{Default, Kind, OptionSpec};
use crate::procfs::{is_number, lines, ProcFile, Until};
use crate::{Emitter, Error};
use std::io;
use std::path::Path;
use std::time::Duration;

/// Its entry in the registry.
pub const DESCRIPTION: Description = Description {
    module: "scalyr_agent.builtin_monitors.linux_system_metrics",
    text: "Load, memory, processor and NUMA metrics of a Linux host.",
    options: OPTIONS,
    metrics: METRICS,
    open: false,
    log: Log::Metrics {
        parser: "agent-metrics",
        attributes: Some("tags"),
    },
    // A host with many devices writes more per sample than the usual limit lets through.
    write_limit: (-1, -1),
    cadence: Cadence::AtOnce,
    make: |setup| Ok(Box::new(LinuxSystemMetrics::new(setup.place))),
};

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        "network_interface_prefixes",
        Kind::Any,
        Default::Text("eth"),
        "Prefixes of network interface names, one or a list; each is a regular expression.",
    )
    .not_yet(),
    OptionSpec::new(
        "network_interface_suffix",
        Kind::Text,
        Default::Text("[0-9A-Z]+"),
        "Regular expression for the rest of an interface's name behind its prefix.",
    )
    .not_yet(),
    OptionSpec::new(
        "local_disks_only",
        Kind::Bool,
        Default::Bool(true),
        "Leaves out filesystems of other hosts.",
    )
    .not_yet(),
    OptionSpec::new(
        "ignore_mounts",
        Kind::Strings,
        Default::Strings(&["/sys/*", "/dev*", "/run*", "/var/lib/docker/*", "/snap/*"]),
        "Shell patterns of mount points that are left out; `*` matches `/` too.",
    )
    .not_yet(),
    OptionSpec::new(
        "tags",
        Kind::Object,
        Default::EmptyObject,
        "Further attributes of the monitor's log.",
    ),
    OptionSpec::new(
        "collectors_directory",
        Kind::Text,
        Default::None,
        "A directory of external collectors.",
    )
    .not_yet(),
];

const fn metric(
    name: &'static str,
    measure: Measure,
    unit: &'static str,
    fields: &'static [&'static str],
    text: &'static str,
) -> MetricSpec {
    MetricSpec {
        name,
        measure,
        unit,
        fields,
        text,
    }
}

use Measure::{Counter, Gauge};
#[rustfmt::skip]
const METRICS: &[MetricSpec] = &[
    metric("proc.uptime.total", Counter, "s", &[], "Time since boot."),
    metric("proc.uptime.now", Counter, "s", &[], "Idle time since boot, summed over the processors."),
    metric("proc.meminfo.*", Gauge, "kB", &[], "Each key of /proc/meminfo without parentheses, in lower case; hugepages_* count pages."),
    metric("proc.vmstat.pgpgin", Counter, "KiB", &[], "Read from block devices since boot."),
    metric("proc.vmstat.pgpgout", Counter, "KiB", &[], "Written to block devices since boot."),
    metric("proc.vmstat.pswpin", Counter, "pages", &[], "Swapped in since boot."),
    metric("proc.vmstat.pswpout", Counter, "pages", &[], "Swapped out since boot."),
    metric("proc.vmstat.pgfault", Counter, "", &[], "Page faults since boot."),
    metric("proc.vmstat.pgmajfault", Counter, "", &[], "Page faults since boot that had to read from a device."),
    metric("proc.stat.cpu", Counter, "jiffies", &["type"], "Time of all processors since boot by what it was spent on."),
    metric("proc.stat.intr", Counter, "", &[], "Interrupts since boot."),
    metric("proc.stat.ctxt", Counter, "", &[], "Context switches since boot."),
    metric("proc.stat.processes", Counter, "", &[], "Processes and threads made since boot."),
    metric("proc.stat.procs_blocked", Gauge, "", &[], "Processes that wait for input or output."),
    metric("proc.loadavg.1min", Gauge, "", &[], "Load average over 1 minute."),
    metric("proc.loadavg.5min", Gauge, "", &[], "Load average over 5 minutes."),
    metric("proc.loadavg.15min", Gauge, "", &[], "Load average over 15 minutes."),
    metric("proc.loadavg.runnable", Gauge, "", &[], "Threads that run or could run."),
    metric("proc.loadavg.total_threads", Gauge, "", &[], "Threads that there are."),
    metric("proc.kernel.entropy_avail", Gauge, "bits", &[], "Entropy in the kernel's pool."),
    metric("sys.numa.zoneallocs", Counter, "pages", &["node", "type"], "Pages taken from the node that was wanted (hit) or from it for want of another (miss)."),
    metric("sys.numa.foreign_allocs", Counter, "pages", &["node"], "Pages wanted from the node and taken from another."),
    metric("sys.numa.allocation", Counter, "pages", &["node", "type"], "Pages taken from the node by threads on it (local) or elsewhere (remote)."),
    metric("sys.numa.interleave", Counter, "pages", &["node", "type"], "Interleaved pages that the node gave as planned."),
    metric("sys.cpu.count", Gauge, "", &[], "Processors that the host has, switched off ones included."),
];

const CPU_TYPES: [&str; 9] = [
    "user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest",
];

/// The last of these is the last in the file as well.
const VMSTAT: [&str; 6] = [
    "pgpgin",
    "pgpgout",
    "pswpin",
    "pswpout",
    "pgfault",
    "pgmajfault",
];

const HOUR: Duration = Duration::from_secs(3600);

struct LinuxSystemMetrics {
    uptime: ProcFile,
    meminfo: ProcFile,
    vmstat: ProcFile,
    stat: ProcFile,
    loadavg: ProcFile,
    entropy: ProcFile,
    cpus: ProcFile,
    /// By node number. Found at the first sample.
    nodes: Option<Vec<(String, ProcFile)>>,
    place: Place,
    buffer: Vec<u8>,
    name: String,
}

impl LinuxSystemMetrics {
    fn new(place: &Place) -> Self {
        let proc = |name: &str, until| ProcFile::new(place.root.join("proc").join(name), until);
        LinuxSystemMetrics {
            uptime: proc("uptime", Until::OneRead),
            meminfo: proc("meminfo", Until::OneRead),
            vmstat: proc("vmstat", Until::Seen(b"\npgmajfault ")),
            stat: proc("stat", Until::OneRead),
            loadavg: proc("loadavg", Until::OneRead),
            entropy: proc("sys/kernel/random/entropy_avail", Until::OneRead),
            cpus: ProcFile::new(
                place.root.join("sys/devices/system/cpu/present"),
                Until::OneRead,
            ),
            nodes: None,
            place: place.clone(),
            buffer: Vec::new(),
            name: String::new(),
        }
    }
}

impl Monitor for LinuxSystemMetrics {
    fn gather(&mut self, out: &mut Emitter) -> Result<(), Error> {
        if self.nodes.is_none() {
            out.info(format_args!(
                "Network, disk and filesystem metrics are not collected yet by this version."
            ));
            self.nodes = Some(find_nodes(&self.place.root));
        }
        let Self {
            buffer,
            name,
            nodes,
            ..
        } = self;
        // Each file on its own: one that is missing or unreadable silences no other.
        let mut well = 0;
        let mut note = |out: &mut Emitter, result: io::Result<()>| match result {
            Ok(()) => well += 1,
            Err(error) => {
                let text = error.to_string();
                if out.once_in(HOUR, &text) {
                    out.warn(format_args!("Some metrics are missing: {text}"));
                }
            }
        };
        let result = self.uptime.read(buffer).map(|text| uptime(text, out));
        note(out, result);
        let result = self
            .meminfo
            .read(buffer)
            .map(|text| meminfo(text, name, out));
        note(out, result);
        let result = self.vmstat.read(buffer).map(|text| vmstat(text, name, out));
        note(out, result);
        let result = self.stat.read(buffer).map(|text| stat(text, name, out));
        note(out, result);
        let result = self.loadavg.read(buffer).map(|text| loadavg(text, out));
        note(out, result);
        let result = self.entropy.read(buffer).map(|text| entropy(text, out));
        note(out, result);
        for (node, file) in nodes.iter_mut().flatten() {
            let result = file.read(buffer).map(|text| numa(text, node, out));
            note(out, result);
        }
        let result = self.cpus.read(buffer).map(|text| cpu_count(text, out));
        note(out, result);
        if well == 0 {
            let root = self.place.root.display();
            return Err(Error::new(format!("nothing could be read below {root}")));
        }
        Ok(())
    }
}

fn uptime(text: &[u8], out: &mut Emitter) {
    let Some(line) = lines(text).next() else {
        return;
    };
    let names = ["proc.uptime.total", "proc.uptime.now"];
    for (name, number) in names.into_iter().zip(line.split_whitespace()) {
        out.emit_in_order(name, Value::Raw(number), &[]);
    }
}

fn meminfo(text: &[u8], name: &mut String, out: &mut Emitter) {
    for line in lines(text) {
        let Some((key, rest)) = line.split_once(':') else {
            continue;
        };
        let number = rest.split_whitespace().next().unwrap_or_default();
        let is_word = key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !key.is_empty() && is_word && rest.starts_with([' ', '\t']) && is_number(number) {
            set_name(name, "proc.meminfo.", key);
            name.make_ascii_lowercase();
            out.emit_in_order(name, Value::Raw(number), &[]);
        }
    }
}

fn vmstat(text: &[u8], name: &mut String, out: &mut Emitter) {
    for line in lines(text) {
        let Some((key, number)) = line.split_once(' ') else {
            continue;
        };
        if VMSTAT.contains(&key) && is_number(number) {
            set_name(name, "proc.vmstat.", key);
            out.emit_in_order(name, Value::Raw(number), &[]);
        }
    }
}

fn stat(text: &[u8], name: &mut String, out: &mut Emitter) {
    for line in lines(text) {
        let mut words = line.split_ascii_whitespace();
        let Some(key) = words.next() else { continue };
        match key {
            "cpu" => {
                for (cpu_type, number) in CPU_TYPES.into_iter().zip(words) {
                    let fields = [("type", Value::Text(cpu_type))];
                    out.emit_in_order("proc.stat.cpu", Value::Raw(number), &fields);
                }
            }
            "intr" | "ctxt" | "processes" | "procs_blocked" => {
                if let Some(number) = words.next() {
                    set_name(name, "proc.stat.", key);
                    out.emit_in_order(name, Value::Raw(number), &[]);
                }
            }
            _ => {}
        }
    }
}

fn loadavg(text: &[u8], out: &mut Emitter) {
    let Some(line) = lines(text).next() else {
        return;
    };
    let mut words = line.split_whitespace();
    for name in [
        "proc.loadavg.1min",
        "proc.loadavg.5min",
        "proc.loadavg.15min",
    ] {
        if let Some(number) = words.next() {
            out.emit_in_order(name, Value::Raw(number), &[]);
        }
    }
    if let Some((runnable, total)) = words.next().and_then(|word| word.split_once('/')) {
        out.emit_in_order("proc.loadavg.runnable", Value::Raw(runnable), &[]);
        out.emit_in_order("proc.loadavg.total_threads", Value::Raw(total), &[]);
    }
}

fn entropy(text: &[u8], out: &mut Emitter) {
    if let Some(number) = lines(text)
        .next()
        .map(str::trim)
        .filter(|text| is_number(text))
    {
        out.emit_in_order("proc.kernel.entropy_avail", Value::Raw(number), &[]);
    }
}

fn numa(text: &[u8], node: &str, out: &mut Emitter) {
    // Key in the file, metric, value of its `type`.
    const ROWS: [(&str, &str, &str); 6] = [
        ("numa_hit", "sys.numa.zoneallocs", "hit"),
        ("numa_miss", "sys.numa.zoneallocs", "miss"),
        ("numa_foreign", "sys.numa.foreign_allocs", ""),
        ("local_node", "sys.numa.allocation", "local"),
        ("other_node", "sys.numa.allocation", "remote"),
        ("interleave_hit", "sys.numa.interleave", "hit"),
    ];
    for (key, metric, kind) in ROWS {
        let number = lines(text).find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        if let Some(number) = number.map(str::trim) {
            let fields = [("node", Value::Text(node)), ("type", Value::Text(kind))];
            let fields = if kind.is_empty() {
                &fields[..1]
            } else {
                &fields[..]
            };
            out.emit_in_order(metric, Value::Raw(number), fields);
        }
    }
}

/// A list such as `0-3,5`.
fn cpu_count(text: &[u8], out: &mut Emitter) {
    let Some(list) = lines(text).next() else {
        return;
    };
    let mut count = 0u64;
    for range in list.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (Ok(first), Ok(last)) = (first.parse::<u32>(), last.parse::<u32>()) else {
            return;
        };
        count += u64::from(last.saturating_sub(first)) + 1;
    }
    out.emit_in_order("sys.cpu.count", count, &[]);
}

/// The numastat file of each node, by node number. None on most small hosts.
fn find_nodes(root: &Path) -> Vec<(String, ProcFile)> {
    let mut nodes: Vec<(u32, ProcFile)> = Vec::new();
    if let Ok(entries) = root.join("sys/devices/system/node").read_dir() {
        for entry in entries.flatten() {
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix("node"));
            if let Some(number) = number.and_then(|number| number.parse().ok()) {
                let file = ProcFile::new(entry.path().join("numastat"), Until::OneRead);
                nodes.push((number, file));
            }
        }
    }
    nodes.sort_by_key(|(number, _)| *number);
    nodes
        .into_iter()
        .map(|(number, file)| (number.to_string(), file))
        .collect()
}

fn set_name(name: &mut String, prefix: &str, key: &str) {
    name.clear();
    name.push_str(prefix);
    name.push_str(key);
}

#[cfg(test)]
#[path = "linux_system_metrics_tests.rs"]
mod tests;
