use super::metrics::METRICS;
use super::prober::Space;
use super::*;
use crate::options::Options;
use crate::testing;
use common::testing::Scratch;
use serde_json::{json, Value as Json};
use std::collections::BTreeSet;
use std::fs;
use std::io;

const NAME: &str = "linux_system_metrics()";

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

/// The monitor of a stored host, whose filesystems answer what its file `statvfs` says.
fn stored(root: &Path, options: &Json) -> Result<LinuxSystemMetrics, Error> {
    let entry: Vec<(String, Json)> = options
        .as_object()
        .unwrap()
        .iter()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let table = fs::read_to_string(root.join("statvfs")).unwrap_or_default();
    let kernel = Kernel {
        statfs: Arc::new(move |path| answer(&table, path)),
        page_size: 4096,
    };
    let setup = Setup {
        options: &Options::read(OPTIONS, &entry)?,
        place: &Place::new(root, "/"),
        module: DESCRIPTION.module,
        id: "",
    };
    LinuxSystemMetrics::new(&setup, &kernel)
}

fn answer(table: &str, path: &Path) -> io::Result<Space> {
    for line in table.lines() {
        let mut words = line.split(' ');
        if words.next().map(|word| word.replace(r"\s", " ")).as_deref() == path.to_str() {
            let numbers: Vec<i64> = words.map(|word| word.parse().unwrap()).collect();
            let [block, blocks, unused, available, files, files_unused] = numbers[..] else {
                panic!("{line}")
            };
            return Ok(Space {
                block: block.unsigned_abs(),
                blocks,
                unused,
                available,
                files,
                files_unused,
            });
        }
    }
    Err(io::ErrorKind::PermissionDenied.into())
}

fn sample(root: &Path, options: &Json) -> String {
    testing::sample(&mut stored(root, options).unwrap(), NAME).unwrap()
}

/// A host that has these files only, and what follows stamp and tag in its sample.
fn host(name: &str, options: &Json, files: &[(&str, &str)]) -> Vec<String> {
    let scratch = Scratch::new(name);
    for (path, text) in files {
        let path = scratch.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let sample = sample(&scratch.path(""), options);
    let lines = sample.lines();
    lines
        .map(|line| line.splitn(4, ' ').last().unwrap().to_owned())
        .collect()
}

/// Metric names and field texts of a sample, numbers left out.
fn series(sample: &str) -> Vec<String> {
    sample
        .lines()
        .map(|line| {
            let mut words = line.splitn(6, ' ').skip(3);
            let name = words.next().unwrap();
            words.next();
            format!("{name} {}", words.next().unwrap_or_default())
        })
        .collect()
}

#[test]
fn a_stored_host_gives_its_golden_lines() {
    let options = json!({
        "network_interface_prefixes": ["eth", "ens"],
        "local_disks_only": false,
        "ignore_mounts": ["/run*", "/snap/*"],
    });
    let golden = fixture("host1.golden");
    let now = sample(&fixture("host1"), &options);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&golden, &now).unwrap();
    }
    assert_eq!(now, fs::read_to_string(&golden).unwrap());
}

#[test]
fn a_second_sample_through_the_same_handles_is_the_same() {
    let mut monitor = stored(&fixture("host1"), &json!({})).unwrap();
    let first = testing::sample(&mut monitor, NAME).unwrap();
    assert_eq!(testing::sample(&mut monitor, NAME).unwrap(), first);
}

#[test]
fn one_missing_file_silences_nothing_else() {
    let whole = sample(&fixture("host1"), &json!({}));
    let files = [
        ("proc/uptime", "proc.uptime."),
        ("proc/meminfo", "proc.meminfo."),
        ("proc/vmstat", "proc.vmstat."),
        ("proc/stat", "proc.stat."),
        ("proc/loadavg", "proc.loadavg."),
        ("proc/sys/kernel/random/entropy_avail", "proc.kernel."),
        ("sys/devices/system/node/node0/numastat", "sys.numa."),
        ("sys/devices/system/cpu/present", "sys.cpu."),
        ("proc/net/dev", "proc.net."),
        ("proc/net/sockstat", "net.sockstat."),
        ("proc/net/netstat", "net.stat."),
        ("proc/diskstats", "iostat."),
        ("proc/self/mountinfo", "df."),
    ];
    for (missing, prefix) in files {
        let scratch = Scratch::new("one-missing");
        copy_tree(&fixture("host1"), &scratch.path("root"));
        fs::remove_file(scratch.path("root").join(missing)).unwrap();
        let left = sample(&scratch.path("root"), &json!({}));
        let lost: Vec<_> = whole.lines().filter(|line| !left.contains(line)).collect();
        assert!(!lost.is_empty(), "{missing}");
        for line in lost {
            let name = line.split(' ').nth(3).unwrap();
            assert!(name.starts_with(prefix), "{missing}: {line}");
        }
    }
}

#[test]
fn files_full_of_nonsense_are_data_and_not_an_accident() {
    let nonsense: [&[u8]; 9] = [
        b"\n",
        b"\0\0\0\0",
        b"cpu\nintr\nctxt x y\n::\n a: b\nMemTotal:5\nMemFree: -1 kB\npgfault\n",
        b"\xff\xfe 1\n\xff: 5\n",
        b"1 2 3 4 5\n1/ 2/3/4 /\n",
        b"0-4294967295,4294967295-0,-,x\n",
        b"eth0:\neth1: 1 2 3\n:1 2 3 4 5 6 7 8 9 10 11 12\neth2: x x x x x x x x x x x x\n",
        b"TCP: inuse\nTCP: alloc -1 mem 99999999999999999999\nTcpExt: ListenDrops ListenDrops\nTcpExt: 99999999999999999999 x 4 5\nTcpExt: \n",
        b"8 0 sda\n8 0 sda 1 1 1 1\n8 0 sda x x x x x x x x x x x\n1 2 8:1 / / - - - - ext4\n1 2 3 / /x\\9 - \\777 \\04\n",
    ];
    for text in nonsense {
        let scratch = Scratch::new("nonsense");
        let root = scratch.path("root");
        copy_tree(&fixture("host1"), &root);
        let mut monitor = stored(&root, &json!({"network_interface_physical": true})).unwrap();
        overwrite(&root, text);
        for line in testing::sample(&mut monitor, NAME).unwrap().lines() {
            assert!(line.starts_with("2022-04-15 11:11:08.015Z [linux_system_metrics()] "));
        }
    }
}

#[test]
fn a_host_without_any_file_is_an_error_of_the_sample() {
    let scratch = Scratch::new("no-proc");
    let mut monitor = stored(&scratch.path("nothing"), &json!({})).unwrap();
    let (mut out, lines) = testing::capture(NAME);
    assert!(monitor.gather(&mut out).is_err());
    out.flush();
    assert_eq!(lines.take(), "");
}

#[test]
fn every_metric_is_declared_with_its_fields() {
    let mut seen = BTreeSet::new();
    let golden = fs::read_to_string(fixture("host1.golden")).unwrap();
    let old = host("declared", &json!({}), &[("proc/diskstats", OLD_DISKSTATS)]).join("\n");
    for line in series(&golden)
        .iter()
        .chain(&series(&format!("a b c {}", old.replace('\n', "\na b c "))))
    {
        let (name, fields) = line.split_once(' ').unwrap();
        let fields: Vec<&str> = fields
            .split("\" ")
            .filter_map(|field| Some(field.split_once('=')?.0))
            .collect();
        let declared = METRICS
            .iter()
            .find(|m| match m.name.strip_suffix('*') {
                Some(prefix) => name.starts_with(prefix),
                None => name == m.name,
            })
            .unwrap_or_else(|| panic!("{name} is not declared"));
        let names = declared
            .fields
            .iter()
            .map(|field| field.split('=').next().unwrap());
        assert_eq!(fields, names.collect::<Vec<_>>(), "{name}");
        seen.insert(declared.name);
    }
    for metric in METRICS {
        assert!(
            seen.contains(metric.name),
            "no stored host shows {}",
            metric.name
        );
    }
}

#[test]
fn this_host_gives_the_same_series_twice() {
    if !Path::new("/proc/meminfo").exists() {
        return;
    }
    let place = Place::new("/", "/");
    let mut monitor = testing::make(&DESCRIPTION, &json!({}), &place).unwrap();
    let mut take = || testing::sample(monitor.as_mut(), NAME).unwrap();
    let of_processor = |sample: &str| -> Vec<String> {
        let all = series(sample).into_iter();
        // Disks and mounts may come and go while other tests run.
        all.filter(|series| !series.starts_with("df.") && !series.starts_with("iostat."))
            .collect()
    };
    let (first, second) = (take(), take());
    assert_eq!(of_processor(&first), of_processor(&second));
    for metric in [
        "proc.meminfo.memtotal",
        "df.1kblocks.total",
        "net.sockstat.num_sockets",
    ] {
        assert!(first.contains(&format!(" {metric} ")), "{metric}:\n{first}");
    }
}

#[test]
fn the_blacklist_holds_for_this_monitor_too() {
    let (mut out, lines) = crate::emitter::captured::emitter(
        NAME,
        common::limit::WriteLimit::none(),
        &["proc.stat.cpu", "df.inodes.used"],
    );
    let mut monitor = stored(&fixture("host1"), &json!({})).unwrap();
    monitor.gather(&mut out).unwrap();
    out.flush();
    let lines = lines.take();
    assert!(!lines.contains(" proc.stat.cpu ") && !lines.contains(" df.inodes.used "));
    assert!(lines.contains(" proc.stat.intr ") && lines.contains(" df.inodes.free "));
}

const MEMINFO: &str = "MemTotal:       24684084 kB
Active(anon):     123456 kB
Inactive(file):     7890 kB
HugePages_Total:       0
Unknown_New:           5 kB
";

#[test]
fn memory_keys_with_parentheses_are_left_out() {
    assert_eq!(
        host("meminfo", &json!({}), &[("proc/meminfo", MEMINFO)]),
        [
            "proc.meminfo.memtotal 24684084",
            "proc.meminfo.hugepages_total 0",
            "proc.meminfo.unknown_new 5"
        ]
    );
}

#[test]
fn sockets_of_a_kernel_without_udp_memory_and_udplite_are_still_reported() {
    let sockstat = "sockets: used 12
TCP: inuse 4 orphan 0 tw 1 alloc 4 mem 1
UDP: inuse 2
RAW: inuse 0
FRAG: inuse 0 memory 0
";
    assert_eq!(
        host("sockstat", &json!({}), &[("proc/net/sockstat", sockstat)]),
        [
            "net.sockstat.num_sockets 4 type=\"tcp\"",
            "net.sockstat.num_timewait 1",
            "net.sockstat.sockets_inuse 4 type=\"tcp\"",
            "net.sockstat.sockets_inuse 2 type=\"udp\"",
            "net.sockstat.sockets_inuse 0 type=\"raw\"",
            "net.sockstat.num_orphans 0",
            "net.sockstat.memory 4096 type=\"tcp\"",
            "net.sockstat.memory 0 type=\"ipfrag\"",
            "net.sockstat.ipfragqueues 0",
        ]
    );
}

#[test]
fn the_counters_of_linux_5_11_are_found_in_its_table() {
    let table = fs::read_to_string(fixture("netstat/linux-5.11")).unwrap();
    let lines = host("netstat", &json!({}), &[("proc/net/netstat", &table)]);
    assert_eq!(lines.len(), 30, "{lines:#?}");
    assert_eq!(lines[0], "net.stat.tcp.syncookies 1000 type=\"sent\"");
    // Drops are counted with overflows among them.
    assert_eq!(
        lines[8],
        "net.stat.tcp.failed_accept 1018 reason=\"full_acceptq\""
    );
    assert_eq!(lines[9], "net.stat.tcp.failed_accept 1 reason=\"other\"");
    assert_eq!(lines[29], "net.stat.tcp.receive.queue.full 1068");
}

const OLD_DISKSTATS: &str =
    "   3    0 hda 446216 784926 9550688 4382310 424847 312726 5922052 19310380 0 3376340 23705160
   3    1 hda1 35486 38030 38030 38030
   3    2 hda2 0 0 5 40
   3    3 hda3 0 0 0 0
   3   16 hdc 7 8 9 10
";

#[test]
fn disks_of_old_and_new_kernels_are_told_from_partitions() {
    let lines = host(
        "old-disks",
        &json!({}),
        &[("proc/diskstats", OLD_DISKSTATS)],
    );
    assert_eq!(lines[0], "iostat.disk.read_requests 446216 dev=\"hda\"");
    assert_eq!(
        lines[10],
        "iostat.disk.msec_weighted_total 23705160 dev=\"hda\""
    );
    assert_eq!(
        lines[11..],
        [
            "iostat.part.read_issued 35486 dev=\"hda1\"",
            "iostat.part.read_sectors 38030 dev=\"hda1\"",
            "iostat.part.write_issued 38030 dev=\"hda1\"",
            "iostat.part.write_sectors 38030 dev=\"hda1\"",
            "iostat.part.read_issued 0 dev=\"hda2\"",
            "iostat.part.read_sectors 0 dev=\"hda2\"",
            "iostat.part.write_issued 5 dev=\"hda2\"",
            "iostat.part.write_sectors 40 dev=\"hda2\"",
            "iostat.disk.read_issued 7 dev=\"hdc\"",
            "iostat.disk.read_sectors 8 dev=\"hdc\"",
            "iostat.disk.write_issued 9 dev=\"hdc\"",
            "iostat.disk.write_sectors 10 dev=\"hdc\"",
        ]
    );
}

/// `disk sda, part sda1, ...` of the stored host.
fn devices(options: &Json) -> String {
    let sample = sample(&fixture("host1"), options);
    let names = sample.lines().filter_map(|line| {
        let (_, name) = line.split_once(" iostat.")?;
        let (kind, rest) = name.split_once(".read_requests ")?;
        Some(format!("{kind} {}", rest.split('"').nth(1)?))
    });
    names.collect::<Vec<_>>().join(", ")
}

#[test]
fn the_kernel_says_what_is_a_partition_and_the_switch_brings_the_old_rule_back() {
    assert_eq!(
        devices(&json!({})),
        "disk sda, part sda1, disk md127, disk cciss_c0d0, part cciss_c0d0p1, disk dm-0, disk dm-1, disk nvme0n1, part nvme0n1p16"
    );
    assert_eq!(
        devices(&json!({"legacy_disk_rules": true})),
        "disk sda, part sda1, part md127, disk cciss_c0d0, part cciss_c0d0p1, disk dm-0, disk nvme0n1, disk nvme0n1p16"
    );
}

#[test]
fn a_disk_that_comes_while_the_agent_runs_is_classified_for_itself() {
    let scratch = Scratch::new("disk-comes");
    let root = scratch.path("root");
    copy_tree(&fixture("host1"), &root);
    let mut monitor = stored(&root, &json!({})).unwrap();
    testing::sample(&mut monitor, NAME).unwrap();
    let text = fs::read_to_string(root.join("proc/diskstats")).unwrap();
    let usb = "   8      16 sdb 5 0 8 1 0 0 0 0 0 1 1\n   8      17 sdb1 4 0 8 1 0 0 0 0 0 1 1\n";
    let (loops, rest) = text.split_once('\n').unwrap();
    fs::write(root.join("proc/diskstats"), format!("{loops}\n{usb}{rest}")).unwrap();
    let now = testing::sample(&mut monitor, NAME).unwrap();
    assert!(
        now.contains("iostat.disk.read_requests 5 dev=\"sdb\""),
        "{now}"
    );
    assert!(now.contains("iostat.part.read_requests 4 dev=\"sdb1\""));
    assert!(now.contains("iostat.disk.read_requests 41 dev=\"md127\""));
}

/// The interfaces reported of the stored host.
fn interfaces(options: &Json) -> String {
    let sample = sample(&fixture("host1"), options);
    let names = sample.lines().filter_map(|line| {
        line.contains("proc.net.bytes").then_some(())?;
        let name = line.split_once("iface=\"")?.1;
        name.strip_suffix("\" direction=\"in\"")
    });
    names.collect::<Vec<_>>().join(" ")
}

#[test]
fn interfaces_are_found_by_pattern_by_name_and_by_being_hardware() {
    for (options, found) in [
        (json!({}), "eth0"),
        (json!({"network_interface_prefixes": "ens"}), "ens5"),
        (
            json!({"network_interface_prefixes": "eth, ens"}),
            "eth0 ens5",
        ),
        (
            json!({"network_interface_prefixes": ["e[a-z]+", "lo"]}),
            "eth0 ens5",
        ),
        (
            json!({"network_interface_prefixes": ["l", "w.."], "network_interface_suffix": "[a-z0-9]+"}),
            "lo wlan0",
        ),
        // The whole name has to match.
        (
            json!({"network_interface_prefixes": "eth", "network_interface_suffix": ""}),
            "",
        ),
        (
            json!({"network_interface_physical": true}),
            "eth0 ens5 wlan0",
        ),
        (
            json!({"network_interface_physical": true, "network_interface_exclude": ["wl*"]}),
            "eth0 ens5",
        ),
        (
            json!({"network_interface_include": ["docker?", "lo"]}),
            "lo eth0 docker0",
        ),
        (
            json!({"network_interface_include": "lo", "network_interface_exclude": "eth0"}),
            "lo",
        ),
    ] {
        assert_eq!(interfaces(&options), found, "{options}");
    }
}

#[test]
fn options_that_make_no_sense_are_refused_by_name() {
    for (options, name) in [
        (
            json!({"network_interface_prefixes": "("}),
            "network_interface_prefixes",
        ),
        (
            json!({"network_interface_prefixes": 5}),
            "network_interface_prefixes",
        ),
        (
            json!({"network_interface_prefixes": ["a", 5]}),
            "network_interface_prefixes",
        ),
        (
            json!({"collectors_directory": "/no/such/directory"}),
            "collectors_directory",
        ),
        (json!({"tags": "x"}), "tags"),
    ] {
        let Err(error) = stored(&fixture("host1"), &options) else {
            panic!("{options}")
        };
        assert!(error.to_string().contains(name), "{error}");
        assert_eq!(error.option(), Some(name));
    }
}

/// The mount points of the stored host whose blocks, and whose inodes, are reported.
fn mounts(options: &Json) -> [Vec<String>; 2] {
    let sample = sample(&fixture("host1"), options);
    ["df.1kblocks.total", "df.inodes.total"].map(|metric| {
        let lines = sample.lines().filter(|line| line.contains(metric));
        lines
            .map(|line| line.split_once("mount=\"").unwrap().1)
            .map(|rest| rest.split_once("\" fstype").unwrap().0.to_owned())
            .collect()
    })
}

#[test]
fn mounts_are_left_out_as_the_options_say() {
    let odd = r"/srv/my data:\\+1";
    let usual = ["/", "/boot/efi", odd, "/pool", "/pool/home"];
    let [blocks, inodes] = mounts(&json!({}));
    assert_eq!(blocks, usual);
    assert_eq!(inodes, usual);
    let [blocks, inodes] = mounts(&json!({"ignore_mounts": []}));
    assert_eq!(
        blocks,
        [
            "/run",
            "/",
            "/boot/efi",
            odd,
            "/pool",
            "/pool/home",
            "/snap/core/1"
        ]
    );
    // As ever: /dev has inodes but no blocks.
    assert_eq!(
        inodes,
        [
            "/dev",
            "/run",
            "/",
            "/dev/shm",
            "/boot/efi",
            odd,
            "/pool",
            "/pool/home",
            "/snap/core/1"
        ]
    );
    let [blocks, _] = mounts(&json!({"ignore_mounts": "/p*,/srv/*,/"}));
    assert_eq!(blocks, ["/run", "/boot/efi", "/snap/core/1"]);
    let [blocks, _] = mounts(&json!({"local_disks_only": false}));
    assert!(blocks.contains(&"/mnt/nfs".to_owned()), "{blocks:?}");
}

#[test]
fn sizes_are_rounded_up_and_debts_are_negative() {
    let mountinfo = "1 0 8:1 / /x rw - vfat /dev/sda1 rw\n2 0 0:9 / /y rw - nfs h:/e rw\n";
    let statvfs = "/x 512 3 2 1 0 0\n/y 1048576 5 1 -2 10 11\n";
    assert_eq!(
        host(
            "sizes",
            &json!({"local_disks_only": false}),
            &[("proc/self/mountinfo", mountinfo), ("statvfs", statvfs)]
        ),
        [
            "df.1kblocks.total 2 mount=\"/x\" fstype=\"vfat\"",
            "df.1kblocks.used 1 mount=\"/x\" fstype=\"vfat\"",
            "df.1kblocks.free 1 mount=\"/x\" fstype=\"vfat\"",
            "df.1kblocks.total 5120 mount=\"/y\" fstype=\"nfs\"",
            "df.1kblocks.used 4096 mount=\"/y\" fstype=\"nfs\"",
            "df.1kblocks.free -2048 mount=\"/y\" fstype=\"nfs\"",
            "df.inodes.total 0 mount=\"/x\" fstype=\"vfat\"",
            "df.inodes.used 0 mount=\"/x\" fstype=\"vfat\"",
            "df.inodes.free 0 mount=\"/x\" fstype=\"vfat\"",
            "df.inodes.total 10 mount=\"/y\" fstype=\"nfs\"",
            "df.inodes.used -1 mount=\"/y\" fstype=\"nfs\"",
            "df.inodes.free 11 mount=\"/y\" fstype=\"nfs\"",
        ]
    );
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn overwrite(tree: &Path, text: &[u8]) {
    for entry in fs::read_dir(tree).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            overwrite(&path, text);
        } else {
            fs::write(path, text).unwrap();
        }
    }
}
