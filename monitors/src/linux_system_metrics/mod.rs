//! `linux_system_metrics`: the host's load, memory, processors, network, disks and filesystems.
//! Read straight from `/proc`, `/sys` and `statvfs`: no child processes,
//! some twenty system calls a sample. Numbers keep the digits of their source, fields their order.

mod collectors;
mod dfstat;
mod ifstat;
mod iostat;
mod metrics;
mod mounts;
mod netstat;
mod prober;
mod procstats;
mod turn;

use crate::monitor::{Cadence, Description, Log, Monitor, Place, Setup};
use crate::options::{Default, Kind, OptionSpec};
use crate::{Emitter, Error};
use collectors::Collectors;
use dfstat::{DfStat, StatFs};
use ifstat::{IfStat, Selection};
use iostat::IoStat;
use mounts::Rules;
use netstat::NetStat;
use procstats::ProcStats;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use turn::Turn;

/// Its entry in the registry.
pub const DESCRIPTION: Description = Description {
    module: "scalyr_agent.builtin_monitors.linux_system_metrics",
    text: "Load, memory, processor, network, disk and filesystem metrics of a Linux host. It runs without being configured unless implicit_metric_monitor is false.",
    options: OPTIONS,
    metrics: metrics::METRICS,
    open: false,
    log: Log::Metrics {
        parser: "agent-metrics",
        attributes: Some("tags"),
    },
    // A host with many devices writes more per sample than the usual limit lets through.
    write_limit: (-1, -1),
    cadence: Cadence::AtOnce,
    service: None,
    make: |setup| Ok(Box::new(LinuxSystemMetrics::new(setup, &Kernel::of(setup.place))?)),
};

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        "network_interface_prefixes",
        Kind::Any,
        Default::Text("eth"),
        "How the names of the reported network interfaces begin: one regular expression or a list of them (in one text, commas separate them). The whole name has to match one of these followed by network_interface_suffix. The default does not find names such as ens5 or enp0s3; see network_interface_physical.",
    ),
    OptionSpec::new(
        "network_interface_suffix",
        Kind::Text,
        Default::Text("[0-9A-Z]+"),
        "Regular expression for the rest of an interface's name behind its prefix.",
    ),
    OptionSpec::new(
        "network_interface_physical",
        Kind::Bool,
        Default::Bool(false),
        "Reports all interfaces that are hardware, or a virtual machine's equivalent of it, besides those that network_interface_prefixes finds.",
    ),
    OptionSpec::new(
        "network_interface_include",
        Kind::Strings,
        Default::Strings(&[]),
        "Shell patterns (*, ?, [a-z]) of names of interfaces that are reported as well, e.g. [\"bond*\", \"wlan0\"].",
    ),
    OptionSpec::new(
        "network_interface_exclude",
        Kind::Strings,
        Default::Strings(&[]),
        "Shell patterns of names of interfaces that are left out, whatever else the options say.",
    ),
    OptionSpec::new(
        "local_disks_only",
        Kind::Bool,
        Default::Bool(true),
        "Leaves out the filesystems of other hosts, such as NFS and CIFS. If they are reported, a server that does not answer delays the sample by 2 seconds; its filesystem is then let alone for a minute, later for up to an hour.",
    ),
    OptionSpec::new(
        "ignore_mounts",
        Kind::Strings,
        Default::Strings(&["/sys/*", "/dev*", "/run*", "/var/lib/docker/*", "/snap/*"]),
        "Shell patterns of mount points whose filesystems are left out; `*` matches `/` too. An empty list leaves none out.",
    ),
    OptionSpec::new(
        "legacy_disk_rules",
        Kind::Bool,
        Default::Bool(false),
        "Reports disks as earlier versions did: what the minor number says is a disk (divisible by 16) is one, even if it is not, and disks that were written but never read are left out. By default the kernel says what is a partition.",
    ),
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
        "A directory of external collectors: in its sub-directory `0` programs that run for ever, in `60` those to run every 60 seconds. Each writes lines `metric timestamp value tag=text ...`. Files are run themselves if they are executable, otherwise with python3 if their names end in .py. None is run by default. What they say comes on top of the monitor's own metrics, so dfstat.py, ifstat.py, iostat.py, netstat.py and procstats.py in `0`, by which the Python agent reads these, are not run.",
    ),
];

/// The sources that are system calls rather than files below the root.
struct Kernel {
    statfs: StatFs,
    /// Bytes.
    page_size: u64,
}

impl Kernel {
    /// The kernel of this machine, whose filesystems are mounted below `place.root`.
    fn of(place: &Place) -> Self {
        let page_size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE);
        let page_size = page_size.ok().flatten().and_then(|n| u64::try_from(n).ok());
        let statfs: StatFs = if place.root == Path::new("/") {
            Arc::new(prober::statvfs)
        } else {
            let root = place.root.clone();
            Arc::new(move |path: &Path| {
                let below: PathBuf = path.strip_prefix("/").unwrap_or(path).into();
                prober::statvfs(&root.join(below))
            })
        };
        Kernel {
            statfs,
            page_size: page_size.unwrap_or(4096),
        }
    }
}

struct LinuxSystemMetrics {
    place: Place,
    procstats: Option<ProcStats>,
    ifstat: IfStat,
    netstat: NetStat,
    iostat: IoStat,
    dfstat: DfStat,
    collectors: Option<Collectors>,
    buffer: Vec<u8>,
    name: String,
}

impl LinuxSystemMetrics {
    fn new(setup: &Setup, kernel: &Kernel) -> Result<Self, Error> {
        let options = setup.options;
        let root = &setup.place.root;
        let rules = Rules {
            local_only: options.bool("local_disks_only"),
            ignore: options.strings("ignore_mounts").to_vec(),
        };
        Ok(LinuxSystemMetrics {
            procstats: None,
            ifstat: IfStat::new(root, Selection::of(options)?),
            netstat: NetStat::new(root, kernel.page_size),
            iostat: IoStat::new(root, options.bool("legacy_disk_rules")),
            dfstat: DfStat::new(root, rules, Arc::clone(&kernel.statfs)),
            collectors: Collectors::of(setup)?,
            place: setup.place.clone(),
            buffer: Vec::new(),
            name: String::new(),
        })
    }
}

impl Monitor for LinuxSystemMetrics {
    fn gather(&mut self, out: &mut Emitter) -> Result<(), Error> {
        let root = &self.place.root;
        let mut turn = Turn {
            out,
            buffer: &mut self.buffer,
            name: &mut self.name,
            well: 0,
        };
        // Filesystems are asked while the rest is collected, for some take their time.
        self.dfstat.begin(&mut turn);
        self.procstats
            .get_or_insert_with(|| ProcStats::new(root))
            .sample(&mut turn);
        self.ifstat.sample(&mut turn);
        self.netstat.sample(&mut turn);
        self.iostat.sample(&mut turn);
        if let Some(collectors) = &mut self.collectors {
            collectors.sample(&mut turn);
        }
        self.dfstat.finish(&mut turn);
        if turn.well == 0 {
            let root = root.display();
            return Err(Error::new(format!("nothing could be read below {root}")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
