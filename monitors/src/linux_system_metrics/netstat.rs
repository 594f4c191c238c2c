//! Sockets and TCP.

use super::turn::Turn;
use crate::line::Value;
use crate::procfs::{is_number, lines, ProcFile, Until};
use crate::Emitter;
use std::path::Path;

/// The beginning of a line of `/proc/net/sockstat`, and its value of the field `type`.
const PROTOCOLS: [(&str, &str); 4] = [
    ("TCP:", "tcp"),
    ("UDP:", "udp"),
    ("UDPLITE:", "udplite"),
    ("RAW:", "raw"),
];

/// The kernel's name of a TCP counter, the metric, its field, and the field's value.
type Row = (
    &'static str,
    &'static str,
    Option<(&'static str, &'static str)>,
);

/// In the order of their emission. [`DROPS`] is not as the kernel has it.
#[rustfmt::skip]
const TCP: [Row; 34] = [
    ("SyncookiesSent", "net.stat.tcp.syncookies", Some(("type", "sent"))),
    ("SyncookiesRecv", "net.stat.tcp.syncookies", Some(("type", "received"))),
    ("SyncookiesFailed", "net.stat.tcp.syncookies", Some(("type", "failed"))),
    ("OfoPruned", "net.stat.tcp.memory.prune", Some(("type", "drop_ofo_queue"))),
    ("RcvPruned", "net.stat.tcp.memory.prune", Some(("type", "drop_received"))),
    ("DelayedACKs", "net.stat.tcp.delayedack", Some(("type", "sent"))),
    ("DelayedACKLocked", "net.stat.tcp.delayedack", Some(("type", "locked"))),
    ("DelayedACKLost", "net.stat.tcp.delayedack", Some(("type", "lost"))),
    (OVERFLOWS, "net.stat.tcp.failed_accept", Some(("reason", "full_acceptq"))),
    (DROPS, "net.stat.tcp.failed_accept", Some(("reason", "other"))),
    ("TCPRenoRecovery", "net.stat.tcp.packetloss.recovery", Some(("type", "fast_retransmit"))),
    ("TCPSackRecovery", "net.stat.tcp.packetloss.recovery", Some(("type", "sack"))),
    ("TCPFACKReorder", "net.stat.tcp.reording", Some(("detectedby", "fack"))),
    ("TCPSACKReorder", "net.stat.tcp.reording", Some(("detectedby", "sack"))),
    ("TCPRenoReorder", "net.stat.tcp.reording", Some(("detectedby", "fast_retransmit"))),
    ("TCPTSReorder", "net.stat.tcp.reording", Some(("detectedby", "timestamp"))),
    ("TCPFullUndo", "net.stat.tcp.congestion.recovery", Some(("type", "full_undo"))),
    ("TCPPartialUndo", "net.stat.tcp.congestion.recovery", Some(("type", "hoe_heuristic"))),
    ("TCPDSACKUndo", "net.stat.tcp.congestion.recovery", Some(("type", "sack"))),
    ("TCPLossUndo", "net.stat.tcp.congestion.recovery", Some(("type", "ack"))),
    ("TCPAbortOnSyn", "net.stat.tcp.abort", Some(("type", "unexpected_syn"))),
    ("TCPAbortOnData", "net.stat.tcp.abort", Some(("type", "data_after_fin_wait1"))),
    ("TCPAbortOnClose", "net.stat.tcp.abort", Some(("type", "data_after_close"))),
    ("TCPAbortOnMemory", "net.stat.tcp.abort", Some(("type", "out_of_memory"))),
    ("TCPAbortOnTimeout", "net.stat.tcp.abort", Some(("type", "timeout"))),
    ("TCPAbortOnLinger", "net.stat.tcp.abort", Some(("type", "linger"))),
    ("TCPAbortFailed", "net.stat.tcp.abort.failed", None),
    ("TCPMemoryPressures", "net.stat.tcp.memory.pressure", None),
    ("TCPSACKDiscard", "net.stat.tcp.invalid_sack", Some(("type", "invalid"))),
    ("TCPDSACKIgnoredOld", "net.stat.tcp.invalid_sack", Some(("type", "retransmit"))),
    ("TCPDSACKIgnoredNoUndo", "net.stat.tcp.invalid_sack", Some(("type", "olddup"))),
    ("TCPBacklogDrop", "net.stat.tcp.receive.queue.full", None),
    // The protocol's own counters, which the kernel has in another file up to now.
    ("OutRsts", "net.stat.tcp.resets", Some(("direction", "out"))),
    ("InErrs", "net.stat.tcp.errors", Some(("direction", "in"))),
];

const OVERFLOWS: &str = "ListenOverflows";
/// It counts the overflows too; they are taken out.
const DROPS: &str = "ListenDrops";

pub(super) struct NetStat {
    sockstat: ProcFile,
    netstat: ProcFile,
    /// In bytes: the kernel counts buffers in pages.
    page_size: u64,
    columns: Columns,
}

impl NetStat {
    pub fn new(root: &Path, page_size: u64) -> Self {
        NetStat {
            sockstat: ProcFile::new(root.join("proc/net/sockstat"), Until::OneRead),
            netstat: ProcFile::new(root.join("proc/net/netstat"), Until::OneRead),
            page_size,
            columns: Columns::default(),
        }
    }

    pub fn sample(&mut self, turn: &mut Turn) {
        let page_size = self.page_size;
        turn.file(&mut self.sockstat, |text, _, out| {
            sockstat(text, page_size, out);
        });
        let columns = &mut self.columns;
        turn.file(&mut self.netstat, |text, _, out| columns.emit(text, out));
    }
}

/// Values that are not in the file are left out: old kernels lack UDP's memory, new ones UDPLITE.
fn sockstat(text: &[u8], page_size: u64, out: &mut Emitter) {
    fn number<'t>(text: &'t [u8], line: &str, key: &str) -> Option<&'t str> {
        let line = lines(text).find_map(|text| text.strip_prefix(line))?;
        let mut words = line.split_ascii_whitespace();
        // Names and numbers take turns.
        while let (Some(name), Some(number)) = (words.next(), words.next()) {
            if name == key {
                return Some(number).filter(|number| is_number(number));
            }
        }
        None
    }
    let mut emit = |metric: &str, kind: &str, number: Option<Value>| {
        if let Some(number) = number {
            let field = [("type", Value::Text(kind))];
            let fields = if kind.is_empty() { &[] } else { &field[..] };
            out.emit_in_order(metric, number, fields);
        }
    };
    let raw = |line, key| number(text, line, key).map(Value::Raw);
    let bytes = |line, key| {
        let pages: u64 = number(text, line, key)?.parse().ok()?;
        pages.checked_mul(page_size).map(Value::UInt)
    };
    emit("net.sockstat.num_sockets", "tcp", raw("TCP:", "alloc"));
    emit("net.sockstat.num_timewait", "", raw("TCP:", "tw"));
    for (line, kind) in PROTOCOLS {
        emit("net.sockstat.sockets_inuse", kind, raw(line, "inuse"));
    }
    emit("net.sockstat.num_orphans", "", raw("TCP:", "orphan"));
    for (line, kind) in &PROTOCOLS[..2] {
        emit("net.sockstat.memory", kind, bytes(line, "mem"));
    }
    emit("net.sockstat.memory", "ipfrag", raw("FRAG:", "memory"));
    emit("net.sockstat.ipfragqueues", "", raw("FRAG:", "inuse"));
}

/// The columns of the kernel's table. They are worked out when its header changes, that is once.
#[derive(Default)]
struct Columns {
    header: Vec<u8>,
    /// By column, which row of [`TCP`] it is.
    rows: Vec<Option<usize>>,
}

impl Columns {
    fn emit(&mut self, text: &[u8], out: &mut Emitter) {
        let mut rows = text.split(|&b| b == b'\n');
        while let (Some(header), Some(numbers)) = (rows.next(), rows.next()) {
            // Other protocols (IpExt, MPTcpExt, ...) have nothing of interest.
            if header.starts_with(b"TcpExt:") && numbers.starts_with(b"TcpExt:") {
                self.table(header, numbers, out);
            }
        }
    }

    fn table(&mut self, header: &[u8], numbers: &[u8], out: &mut Emitter) {
        if self.header != header {
            self.header = header.to_vec();
            let names = header.split(|&b| b == b' ');
            let row = |word: &[u8]| TCP.iter().position(|(name, ..)| name.as_bytes() == word);
            self.rows = names.map(row).collect();
        }
        let mut found = [None; TCP.len()];
        let numbers = lines(numbers).flat_map(|line| line.split(' '));
        for (row, number) in self.rows.iter().zip(numbers) {
            if let Some(row) = row {
                found[*row] = Some(number).filter(|number| is_number(number));
            }
        }
        let overflows = TCP.iter().position(|(name, ..)| *name == OVERFLOWS);
        let overflows = overflows.and_then(|row| found[row]);
        for ((name, metric, field), number) in TCP.into_iter().zip(found) {
            let Some(number) = number else { continue };
            let field = field.map(|(name, value)| [(name, Value::Text(value))]);
            let fields = field.as_ref().map_or(&[][..], |field| &field[..]);
            if name == DROPS {
                let count = |text: &str| text.parse::<i64>().unwrap_or(i64::MAX);
                let others = count(number).saturating_sub(overflows.map_or(0, count));
                out.emit_in_order(metric, others, fields);
            } else {
                out.emit_in_order(metric, Value::Raw(number), fields);
            }
        }
    }
}
