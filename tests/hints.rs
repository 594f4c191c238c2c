//! The agent as a process where the kernel tells of changes: idle means idle, and new means now.

mod common;

use common::Site;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Longer than the longest pause between looks at a file without hints.
const QUIET: Duration = Duration::from_secs(9);

/// A site with the pauses that users have.
fn stock() -> Site {
    let mut site = Site::new();
    for option in [
        "max_request_spacing_interval",
        "max_new_log_detection_time",
        "min_poll_interval",
        "max_poll_interval",
        "keep_alive_interval",
        "config_change_check_interval",
    ] {
        site.unset(option);
    }
    site
}

/// A site that has copied what there was, and has been quiet for so long that its files rest.
fn quiet(patterns: &[&str]) -> Site {
    let mut site = stock();
    for pattern in patterns {
        site.copy(pattern);
    }
    site.append("old.log", "0\n");
    site.start();
    site.until_lines("old.log", 1);
    std::thread::sleep(QUIET);
    site
}

/// How often all threads of a process have been woken.
fn wake_ups(pid: i32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let of = |task: &Path| {
        let status = fs::read_to_string(task.join("status")).unwrap_or_default();
        let mut lines = status.lines();
        let line = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.and_then(|n| n.trim().parse::<u64>().ok()).unwrap_or(0)
    };
    tasks.flatten().map(|task| of(&task.path())).sum()
}

#[test]
fn an_idle_agent_sleeps() {
    let site = quiet(&["*.log"]);
    let (before, began) = (wake_ups(site.pid()), Instant::now());
    std::thread::sleep(Duration::from_secs(30));
    let woken = (wake_ups(site.pid()) - before) as f64;
    let a_second = woken / began.elapsed().as_secs_f64();
    // 0.3 where nothing else runs; without hints it is 1.4
    assert!(a_second <= 0.6, "{a_second} a second");
}

#[test]
fn a_line_in_an_idle_file_and_a_new_file_are_read_at_once() {
    let mut site = quiet(&["*.log"]);
    for round in 0..5 {
        let began = Instant::now();
        site.append("old.log", "1\n");
        site.append(&format!("new{round}.log"), "1\n");
        site.until_lines("old.log", round + 2);
        site.until_lines(&format!("new{round}.log"), 1);
        // Without hints a new file would wait for a minute. The pace allows a request a second
        assert!(began.elapsed() < Duration::from_secs(8));
    }
}

#[test]
fn files_that_live_half_a_second_arrive_whole() {
    let mut site = quiet(&["*.log"]);
    let count = 20;
    std::thread::scope(|scope| {
        for n in 0..count {
            let path = site.log_path(&format!("short{n}.log"));
            scope.spawn(move || {
                for line in 0..5 {
                    common::append(&path, format!("{line}\n").as_bytes());
                    std::thread::sleep(Duration::from_millis(100));
                }
                fs::remove_file(&path).unwrap();
            });
        }
    });
    for n in 0..count {
        let name = format!("short{n}.log");
        site.until_lines(&name, 5);
        assert_eq!(site.lines_of(&name), ["0\n", "1\n", "2\n", "3\n", "4\n"]);
    }
}

#[test]
fn a_million_opens_and_closes_in_a_watched_folder_cost_nothing() {
    let mut site = quiet(&["*.log"]);
    let before = wake_ups(site.pid());
    let path = site.log_path("old.log");
    for _ in 0..1_000_000 {
        drop(fs::File::open(&path).unwrap());
    }
    assert!(wake_ups(site.pid()) - before < 60);
    site.append("old.log", "1\n");
    site.until_lines("old.log", 2);
}

#[test]
fn a_flood_of_files_that_come_and_go_overflows_the_queue_and_loses_no_line() {
    let mut site = quiet(&["*.log"]);
    for n in 0..60_000 {
        let path = site.log_path(&format!("{n}.tmp"));
        fs::write(&path, "").unwrap();
        fs::remove_file(&path).unwrap();
        if n % 10_000 == 0 {
            site.append("old.log", "1\n");
            site.append(&format!("new{n}.log"), "1\n");
        }
    }
    site.until_lines("old.log", 7);
    for n in (0..60_000).step_by(10_000) {
        site.until_lines(&format!("new{n}.log"), 1);
    }
}

#[test]
fn a_folder_that_is_replaced_by_a_link_while_watched_is_followed_to_its_new_place() {
    let mut site = quiet(&["app/*.log", "old.log"]);
    let app = site.log_path("app");
    fs::create_dir(&app).unwrap();
    site.append("app/a.log", "1\n");
    site.until_lines("app/a.log", 1);
    fs::rename(&app, site.log_path("away")).unwrap();
    fs::create_dir(site.log_path("elsewhere")).unwrap();
    std::os::unix::fs::symlink("elsewhere", &app).unwrap();
    site.append("elsewhere/b.log", "1\n");
    site.until_lines("app/b.log", 1);
    site.append("elsewhere/b.log", "2\n");
    site.until_lines("app/b.log", 2);
}

#[test]
fn without_a_watch_to_be_had_files_are_looked_at_as_ever_and_status_says_so() {
    let mut site = stock();
    site.set("inotify_max_watches", 1);
    site.copy("*/*.log").copy("*.log");
    for n in 0..3 {
        fs::create_dir(site.log_path(&format!("d{n}"))).unwrap();
        site.append(&format!("d{n}/a.log"), "0\n");
    }
    site.start();
    for n in 0..3 {
        site.until_lines(&format!("d{n}/a.log"), 1);
    }
    std::thread::sleep(QUIET);
    for n in 0..3 {
        site.append(&format!("d{n}/a.log"), "1\n");
        site.until_lines(&format!("d{n}/a.log"), 2);
    }
    let status = site.status_v();
    assert!(
        status.contains("inotify_max_watches is reached"),
        "{status}"
    );
}

#[test]
#[ignore = "needs unshare"]
fn a_user_without_any_watch_left_gets_all_lines_and_is_told_why_they_come_late() {
    let mut site = stock();
    // A user has a limit of his own in a namespace of his own
    let limit = "echo 0 > /proc/sys/user/max_inotify_watches && exec \"$@\"";
    site.wrap(&[
        "unshare",
        "--user",
        "--map-root-user",
        "sh",
        "-c",
        limit,
        "sh",
    ]);
    site.copy("*/*.log").copy("*.log");
    fs::create_dir(site.log_path("d")).unwrap();
    site.append("d/a.log", "0\n");
    site.append("b.log", "0\n");
    site.start();
    for name in ["d/a.log", "b.log"] {
        site.until_lines(name, 1);
    }
    std::thread::sleep(QUIET);
    for name in ["d/a.log", "b.log"] {
        site.append(name, "1\n");
        site.until_lines(name, 2);
    }
    let status = site.status_v();
    assert!(status.contains("fs.inotify.max_user_watches"), "{status}");
}

#[test]
#[ignore = "needs root for a tmpfs"]
fn a_folder_that_is_unmounted_while_watched_and_mounted_again_loses_no_line() {
    use nix::mount::{mount, umount2, MntFlags, MsFlags};
    let mut site = stock();
    site.set("max_new_log_detection_time", 5);
    site.copy("mnt/*.log").copy("old.log");
    let at = site.log_path("mnt");
    fs::create_dir(&at).unwrap();
    let mounts = || {
        let none = MsFlags::empty();
        mount(Some("tmpfs"), &at, Some("tmpfs"), none, Some("size=512k"))
            .expect("mounting a tmpfs needs root");
    };
    mounts();
    site.append("mnt/a.log", "0\n");
    site.append("old.log", "0\n");
    site.start();
    site.until_lines("mnt/a.log", 1);
    std::thread::sleep(QUIET);
    for round in 1..4 {
        // Lazily, as a log may be open
        umount2(&at, MntFlags::MNT_DETACH).unwrap();
        // Another folder lies under the mount
        site.append(&format!("mnt/under{round}.log"), "1\n");
        site.until_lines(&format!("mnt/under{round}.log"), 1);
        mounts();
        site.append("mnt/a.log", format!("{round}\n"));
        site.until_lines("mnt/a.log", round + 1);
        site.append("old.log", "1\n");
        site.until_lines("old.log", round + 1);
    }
    let _ = umount2(&at, MntFlags::MNT_DETACH);
}

/// The price of hints for who writes much: alternating with a process that nobody watches.
#[test]
#[ignore = "measures: wants a machine with nothing else to do"]
fn a_fast_writer_keeps_its_rate() {
    let site = quiet(&["*.log"]);
    let write = |path: &Path| {
        let script = "i=0; line=$(printf %99s x); while [ $i -lt 400000 ]; do echo \"$line\"; i=$((i+1)); done";
        let out = fs::File::create(path).unwrap();
        let began = Instant::now();
        let status = Command::new("sh").args(["-c", script]).stdout(out).status();
        assert!(status.unwrap().success());
        began.elapsed().as_secs_f64()
    };
    let (watched, alone) = (site.log_path("busy.log"), site.path("busy.txt"));
    let mut ratios: Vec<f64> = (0..7).map(|_| write(&alone) / write(&watched)).collect();
    ratios.sort_by(f64::total_cmp);
    assert!(ratios[3] > 0.95, "{ratios:?}");
}
