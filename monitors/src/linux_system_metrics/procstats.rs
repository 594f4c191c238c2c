//! Load, memory, processors and NUMA nodes.

use super::turn::{set_name, Turn};
use crate::line::Value;
use crate::procfs::{is_number, lines, ProcFile, Until};
use crate::Emitter;
use std::path::Path;

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

pub(super) struct ProcStats {
    uptime: ProcFile,
    meminfo: ProcFile,
    vmstat: ProcFile,
    stat: ProcFile,
    loadavg: ProcFile,
    entropy: ProcFile,
    cpus: ProcFile,
    /// By node number.
    nodes: Vec<(String, ProcFile)>,
}

impl ProcStats {
    /// Looks which NUMA nodes there are: they do not come and go.
    pub fn new(root: &Path) -> Self {
        let proc = |name: &str, until| ProcFile::new(root.join("proc").join(name), until);
        ProcStats {
            uptime: proc("uptime", Until::OneRead),
            meminfo: proc("meminfo", Until::OneRead),
            vmstat: proc("vmstat", Until::Seen(b"\npgmajfault ")),
            stat: proc("stat", Until::OneRead),
            loadavg: proc("loadavg", Until::OneRead),
            entropy: proc("sys/kernel/random/entropy_avail", Until::OneRead),
            cpus: ProcFile::new(root.join("sys/devices/system/cpu/present"), Until::OneRead),
            nodes: find_nodes(root),
        }
    }

    pub fn sample(&mut self, turn: &mut Turn) {
        turn.file(&mut self.uptime, |text, _, out| uptime(text, out));
        turn.file(&mut self.meminfo, meminfo);
        turn.file(&mut self.vmstat, vmstat);
        turn.file(&mut self.stat, stat);
        turn.file(&mut self.loadavg, |text, _, out| loadavg(text, out));
        turn.file(&mut self.entropy, |text, _, out| entropy(text, out));
        for (node, file) in &mut self.nodes {
            turn.file(file, |text, _, out| numa(text, node, out));
        }
        turn.file(&mut self.cpus, |text, _, out| cpu_count(text, out));
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
    common::sort::by_key(&mut nodes, |(number, _)| *number);
    nodes
        .into_iter()
        .map(|(number, file)| (number.to_string(), file))
        .collect()
}
