use super::*;
use crate::testing;
use common::testing::Scratch;
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

fn monitor(root: &Path) -> Box<dyn Monitor> {
    testing::make(&DESCRIPTION, &serde_json::json!({}), &Place::new(root, "/")).unwrap()
}

fn sample(root: &Path) -> String {
    let mut monitor = monitor(root);
    testing::sample(monitor.as_mut(), "linux_system_metrics()").unwrap()
}

/// Metric names and field texts of a sample, numbers left out.
fn series(sample: &str) -> Vec<String> {
    sample
        .lines()
        .map(|line| {
            let mut words = line.split(' ').skip(3);
            let name = words.next().unwrap();
            let fields: Vec<_> = words.skip(1).collect();
            format!("{name} {}", fields.join(" "))
        })
        .collect()
}

#[test]
fn a_stored_host_gives_its_golden_lines() {
    let golden = fixture("host1.golden");
    let now = sample(&fixture("host1"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&golden, &now).unwrap();
    }
    assert_eq!(now, fs::read_to_string(&golden).unwrap());
}

#[test]
fn one_missing_file_silences_nothing_else() {
    let whole = sample(&fixture("host1"));
    let files = [
        ("proc/uptime", "proc.uptime."),
        ("proc/meminfo", "proc.meminfo."),
        ("proc/vmstat", "proc.vmstat."),
        ("proc/stat", "proc.stat."),
        ("proc/loadavg", "proc.loadavg."),
        ("proc/sys/kernel/random/entropy_avail", "proc.kernel."),
        ("sys/devices/system/node/node0/numastat", "sys.numa."),
        ("sys/devices/system/cpu/present", "sys.cpu."),
    ];
    for (missing, prefix) in files {
        let scratch = Scratch::new("one-missing");
        copy_tree(&fixture("host1"), &scratch.path("root"));
        fs::remove_file(scratch.path("root").join(missing)).unwrap();
        let left = sample(&scratch.path("root"));
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
    let nonsense: [&[u8]; 6] = [
        b"\n",
        b"\0\0\0\0",
        b"cpu\nintr\nctxt x y\n::\n a: b\nMemTotal:5\nMemFree: -1 kB\npgfault\n",
        b"\xff\xfe 1\n\xff: 5\n",
        b"1 2 3 4 5\n1/ 2/3/4 /\n",
        b"0-4294967295,4294967295-0,-,x\n",
    ];
    for text in nonsense {
        let scratch = Scratch::new("nonsense");
        copy_tree(&fixture("host1"), &scratch.path("root"));
        overwrite(&scratch.path("root"), text);
        for line in sample(&scratch.path("root")).lines() {
            assert!(line.starts_with("2022-04-15 11:11:08.015Z [linux_system_metrics()] "));
        }
    }
}

#[test]
fn a_host_without_any_file_is_an_error_of_the_sample() {
    let scratch = Scratch::new("no-proc");
    let mut monitor = monitor(&scratch.path("nothing"));
    let (mut out, lines) = testing::capture("linux_system_metrics()");
    assert!(monitor.gather(&mut out).is_err());
    out.flush();
    assert_eq!(lines.take(), "");
}

#[test]
fn every_metric_is_declared_with_its_fields() {
    let mut seen = BTreeSet::new();
    for line in series(&sample(&fixture("host1"))) {
        let mut words = line.split_whitespace();
        let name = words.next().unwrap();
        let fields: Vec<_> = words.map(|f| f.split('=').next().unwrap()).collect();
        let declared = METRICS
            .iter()
            .find(|m| match m.name.strip_suffix('*') {
                Some(prefix) => name.starts_with(prefix),
                None => name == m.name,
            })
            .unwrap_or_else(|| panic!("{name} is not declared"));
        assert_eq!(fields, declared.fields, "{name}");
        seen.insert(declared.name);
    }
    assert_eq!(
        seen.len(),
        METRICS.len(),
        "the stored host shows each of them"
    );
}

#[test]
fn this_host_gives_the_same_series_twice() {
    if !Path::new("/proc/meminfo").exists() {
        return;
    }
    let mut monitor = monitor(Path::new("/"));
    let mut take = || testing::sample(monitor.as_mut(), "linux_system_metrics()").unwrap();
    let (first, second) = (take(), take());
    assert_eq!(series(&first), series(&second));
    assert!(first.contains(" proc.meminfo.memtotal "), "{first}");
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
