use super::*;
use crate::monitor::{Monitor, Place};
use crate::testing;
use common::testing::Scratch;
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Instant;

/// A directory of collectors, by path below it, and the monitor that runs them on a host without
/// anything else.
fn monitor(scratch: &Scratch, files: &[(&str, &str)]) -> Box<dyn Monitor> {
    for (path, text) in files {
        write(&scratch.path(path), text);
    }
    fs::create_dir_all(scratch.path("root/proc")).unwrap();
    fs::write(scratch.path("root/proc/uptime"), "1.00 2.00\n").unwrap();
    let mut place = Place::new(scratch.path("root"), scratch.path(""));
    place.sample_interval = 7.0;
    let options = json!({
        "collectors_directory": scratch.path("").to_str().unwrap(),
        "network_interface_prefixes": ["eth", "en"],
        "ignore_mounts": ["/a*", "/b"],
    });
    testing::make(&super::super::DESCRIPTION, &options, &place).unwrap()
}

/// Executable, unless it is Python.
fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    let mode = if path.extension().is_some_and(|ext| ext == "py") {
        0o644
    } else {
        0o755
    };
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Samples until what has come satisfies `enough`; the lines without stamp, tag and uptime.
fn lines_until(monitor: &mut dyn Monitor, enough: impl Fn(&[String]) -> bool) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(60);
    while !enough(&all) {
        assert!(Instant::now() < deadline, "{all:#?}");
        let sample = testing::sample(monitor, "m()").unwrap();
        let lines = sample
            .lines()
            .map(|line| line.splitn(4, ' ').last().unwrap());
        all.extend(
            lines
                .filter(|line| !line.starts_with("proc.uptime."))
                .map(str::to_owned),
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    all
}

fn has_ended(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
    stat.map_or(true, |stat| stat.contains(") Z "))
}

fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn lines_are_taken_as_they_come_with_their_tags_in_order() {
    let scratch = Scratch::new("collectors-lines");
    let script = "#!/bin/sh
echo 'my.metric 1700000000 5 z=b a=d~/x'
echo 'my.text 1700000000 on'
echo 'my.bad 1700000000 5 a=b:c'
echo 'my.other 1700000000 4.20'
exec sleep 1000
";
    let mut monitor = monitor(
        &scratch,
        &[("0/long", script), ("0/.hidden", script), ("etc/x", script)],
    );
    let lines = lines_until(monitor.as_mut(), |lines| lines.len() >= 3);
    assert_eq!(
        lines,
        [
            "my.metric 5 z=\"b\" a=\"d~/x\"",
            "my.text on",
            "my.other 4.20"
        ]
    );
}

#[test]
fn a_copy_of_the_python_agents_collectors_does_not_write_every_metric_twice() {
    let scratch = Scratch::new("collectors-built-in");
    let script = "#!/bin/sh\necho \"from.${0##*/} 1 1\"\nexec sleep 1000\n";
    let mut files: Vec<(String, &str)> = ["dfstat", "ifstat", "iostat", "netstat", "procstats"]
        .map(|name| (format!("0/{name}.py"), script))
        .into();
    // Only those five, and only where the Python agent has them.
    files.push(("0/own".to_owned(), script));
    files.push(("3600/dfstat.py".to_owned(), script));
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (&**path, *text)).collect();
    let mut monitor = monitor(&scratch, &files);
    for (path, _) in &files {
        let executable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(scratch.path(path), executable).unwrap();
    }
    let mut lines = lines_until(monitor.as_mut(), |lines| lines.len() >= 2);
    lines.sort();
    assert_eq!(lines, ["from.dfstat.py 1", "from.own 1"]);
}

#[test]
fn a_collector_learns_the_options() {
    let scratch = Scratch::new("collectors-environment");
    let script = "#!/bin/sh
for name in SAMPLE_INTERVAL INTERFACE_PREFIX INTERFACE_SUFFIX LOCAL_DISKS_ONLY IGNORE_MOUNTS; do
    eval value=\\$TCOLLECTOR_$name
    echo \"$name 1 $value\"
done
exec sleep 1000
";
    let mut monitor = monitor(&scratch, &[("0/environment", script)]);
    let lines = lines_until(monitor.as_mut(), |lines| lines.len() >= 5);
    assert_eq!(
        lines,
        [
            "SAMPLE_INTERVAL 7.0",
            "INTERFACE_PREFIX eth,en",
            "INTERFACE_SUFFIX [0-9A-Z]+",
            "LOCAL_DISKS_ONLY True",
            "IGNORE_MOUNTS /a*,/b"
        ]
    );
}

#[test]
fn collectors_with_an_interval_run_again_and_again() {
    let scratch = Scratch::new("collectors-interval");
    let mut monitor = monitor(&scratch, &[("1/often", "#!/bin/sh\necho often 1 $$\n")]);
    let lines = lines_until(monitor.as_mut(), |lines| lines.len() >= 3);
    assert_ne!(lines[0], lines[1]);
}

#[test]
fn a_collector_that_does_not_end_is_killed_with_its_children() {
    let scratch = Scratch::new("collectors-overstay");
    let pids = scratch.path("pids");
    let script = format!(
        "#!/bin/sh\ntrap 'echo over 1 $$' TERM\nsleep 1000 &\necho $$ $! >> {}\necho on 1 $$\nwait\nexit 0\n",
        pids.display()
    );
    let mut monitor = monitor(&scratch, &[("1/overstay", &script)]);
    // It was ended, and started again.
    let is_over = |line: &String| line.starts_with("over ");
    let lines = lines_until(monitor.as_mut(), |lines| {
        lines.iter().any(is_over) && lines.last().is_some_and(|line| line.starts_with("on "))
    });
    assert!(lines.len() >= 3);
    drop(monitor);
    for pid in fs::read_to_string(&pids).unwrap().split_whitespace() {
        wait_for(pid, || has_ended(pid));
    }
}

#[test]
fn the_end_of_the_monitor_ends_even_those_that_ignore_it_and_soon() {
    let scratch = Scratch::new("collectors-stubborn");
    let script = "#!/bin/sh\ntrap '' TERM\nsleep 1000 &\necho pid 1 $$\necho pid 1 $!\nwhile :; do sleep 1; done\n";
    let mut monitor = monitor(&scratch, &[("0/stubborn", script)]);
    let lines = lines_until(monitor.as_mut(), |lines| lines.len() >= 2);
    let began = Instant::now();
    drop(monitor);
    assert!(began.elapsed() < FAREWELL + Duration::from_secs(30));
    for line in lines {
        let pid = line.strip_prefix("pid ").unwrap();
        wait_for(pid, || has_ended(pid));
    }
}

#[test]
fn one_that_prints_for_ever_waits_and_the_others_are_heard() {
    let scratch = Scratch::new("collectors-flood");
    let flood = "#!/bin/sh\nexec yes flood 1 2\n";
    let endless = "#!/bin/sh\nyes | tr -d '\\n'\n";
    let quiet = "#!/bin/sh\nsleep 0.3\necho quiet 1 2\nexec sleep 1000\n";
    let mut monitor = monitor(
        &scratch,
        &[
            ("0/flood", flood),
            ("0/endless", endless),
            ("0/quiet", quiet),
        ],
    );
    let mut most = 0;
    lines_until(monitor.as_mut(), |lines| {
        lines.iter().any(|line| line == "quiet 2")
    });
    for _ in 0..5 {
        let sample = testing::sample(monitor.as_mut(), "m()").unwrap();
        most = most.max(sample.lines().count());
        std::thread::sleep(Duration::from_millis(50));
    }
    // The lines of before the sample, and those that may be read while it is taken
    assert!(
        most <= 2 * (BUDGET + 4096) / "flood 1 2\n".len() + 3,
        "{most}"
    );
}

#[test]
fn a_collector_that_cannot_run_is_spoken_of_and_harms_nobody() {
    let scratch = Scratch::new("collectors-bad");
    let mut monitor = monitor(
        &scratch,
        &[
            ("0/a_no_program", "#!/no/such/interpreter\n"),
            ("0/b_fails", "#!/bin/sh\necho what goes wrong >&2\nexit 3\n"),
            ("0/c_not_here", "#!/bin/sh\nexit 13\n"),
            ("0/d_good", "#!/bin/sh\necho good 1 1\nexec sleep 1000\n"),
        ],
    );
    let lines = lines_until(monitor.as_mut(), |lines| !lines.is_empty());
    assert_eq!(lines, ["good 1"]);
}

#[test]
#[ignore = "needs python3"]
fn a_python_file_need_not_be_executable() {
    let scratch = Scratch::new("collectors-python");
    let script = "import time\nprint('python', 1, 2, flush=True)\ntime.sleep(1000)\n";
    let mut monitor = monitor(&scratch, &[("0/c.py", script)]);
    assert_eq!(
        lines_until(monitor.as_mut(), |lines| !lines.is_empty()),
        ["python 2"]
    );
}

#[test]
fn lines_are_read_as_the_protocol_says() {
    let tags = |line: &'static str| {
        parse(line).map(|(metric, value, tags)| {
            let tags = tags.iter().map(|(key, value)| format!("{key}={value:?}"));
            (metric, value, tags.collect::<Vec<_>>().join(" "))
        })
    };
    assert_eq!(
        tags("a.b/c-d_E 12 -1.5e3 k=v/~-_. k2=x"),
        Some((
            "a.b/c-d_E",
            "-1.5e3",
            "k=Text(\"v/~-_.\") k2=Text(\"x\")".to_owned()
        ))
    );
    for line in [
        "a",
        "a 1",
        "a x 1",
        "a:b 1 1",
        "a 1 1 k",
        "a 1 1 k=",
        "a 1 1 =v",
        "a 1 1 k=v=w",
        "a~ 1 1",
    ] {
        assert_eq!(parse(line), None, "{line}");
    }
}
