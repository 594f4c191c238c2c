//! Disks and partitions.

use super::turn::{set_name, Turn};
use crate::line::Value;
use crate::procfs::{is_number, lines, ProcFile, Until};
use std::path::{Path, PathBuf};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

const NAMES: [&str; 11] = [
    "read_requests",
    "read_merged",
    "read_sectors",
    "msec_read",
    "write_requests",
    "write_merged",
    "write_sectors",
    "msec_write",
    "ios_in_progress",
    "msec_total",
    "msec_weighted_total",
];
/// Columns of partitions on kernels before 2.6.25.
const OLD_NAMES: [&str; 4] = [
    "read_issued",
    "read_sectors",
    "write_issued",
    "write_sectors",
];

pub(super) struct IoStat {
    diskstats: ProcFile,
    /// `/sys/class/block`
    sys: PathBuf,
    legacy: bool,
    /// In the order of the file: the device's name, its name in the field, and whether it is a
    /// partition.
    known: Vec<Device>,
}

struct Device {
    name: String,
    field: String,
    partition: bool,
}

impl IoStat {
    /// `legacy`: tell partitions by their minor number, and leave out what was never read.
    pub fn new(root: &Path, legacy: bool) -> Self {
        IoStat {
            diskstats: ProcFile::new(root.join("proc/diskstats"), Until::End),
            sys: root.join("sys/class/block"),
            legacy,
            known: Vec::new(),
        }
    }

    pub fn sample(&mut self, turn: &mut Turn) {
        let IoStat {
            diskstats,
            sys,
            legacy,
            known,
        } = self;
        turn.file(diskstats, |text, metric, out| {
            let mut count = 0;
            for line in lines(text) {
                // Newer kernels have more columns: discards, flushes.
                let mut columns = [""; 14];
                let mut words = line.split_ascii_whitespace();
                let length = columns.iter_mut().zip(&mut words).fold(0, |n, (column, word)| {
                    *column = word;
                    n + 1
                });
                let (names, writes) = match length {
                    0 => continue,
                    14 => (&NAMES[..], 4),
                    7 => (&OLD_NAMES[..], 2),
                    _ => {
                        if out.once_in(HOUR, "diskstats") {
                            out.warn(format_args!(
                                "Some metrics are missing: a line of /proc/diskstats has {length} columns, which no known kernel writes: {line:?}"
                            ));
                        }
                        continue;
                    }
                };
                let [major, minor, name, numbers @ ..] = columns;
                // A device that nothing ever used says nothing.
                if numbers[0] == "0" && (*legacy || numbers[writes] == "0") {
                    continue;
                }
                if known.get(count).is_none_or(|device| device.name != name) {
                    known.truncate(count);
                    known.push(Device {
                        name: name.to_owned(),
                        field: name.replace('/', "_"),
                        partition: is_partition(name, (major, minor), (sys, *legacy)),
                    });
                }
                let device = &known[count];
                count += 1;
                let prefix = if device.partition {
                    "iostat.part."
                } else {
                    "iostat.disk."
                };
                let fields = [("dev", Value::Text(&device.field))];
                for (name, number) in names.iter().zip(numbers) {
                    if is_number(number) {
                        set_name(metric, prefix, name);
                        out.emit_in_order(metric, Value::Raw(number), &fields);
                    }
                }
            }
            known.truncate(count);
        });
    }
}

/// As the kernel has it; by the old rule where `/sys` does not know the device.
fn is_partition(name: &str, numbers: (&str, &str), (sys, legacy): (&Path, bool)) -> bool {
    if !legacy {
        // `cciss/c0d0p1` is `cciss!c0d0p1` there.
        let folder = sys.join(name.replace('/', "!"));
        if folder.join("partition").exists() {
            return true;
        }
        if folder.exists() {
            return false;
        }
    }
    let (Ok(major), Ok(minor)) = (numbers.0.parse::<u32>(), numbers.1.parse::<u32>()) else {
        return true;
    };
    minor % 16 != 0 || major <= 1
}
