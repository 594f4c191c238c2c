//! The agent's cost for a machine that has little: time to the first line, memory at rest. Printed
//! for the table in `packaging/sizes.md`; asserted loosely, since other things run beside the tests.

mod common;

use common::Site;
use serde_json::json;
use std::fs;
use std::time::{Duration, Instant};

/// A site whose agent has the stock timing, as an operator's has.
fn stock() -> Site {
    let mut site = Site::new();
    for option in [
        "max_request_spacing_interval",
        "max_error_request_spacing_interval",
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

/// A field of the agent's `/proc/PID/status`, in kB.
fn kilobytes(site: &Site, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", site.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let value = line.unwrap_or_else(|| panic!("no {field} in {status}"));
    let value = value.trim_start_matches(':').trim();
    value.trim_end_matches(" kB").parse().unwrap()
}

#[test]
#[ignore = "needs a quiet machine"]
fn the_first_line_is_delivered_soon_after_the_start() {
    let mut times: Vec<Duration> = (0..7)
        .map(|_| {
            let mut site = stock();
            site.numbers("app.log").write(1);
            site.copy("*.log").write_config();
            let began = Instant::now();
            site.start_as_configured();
            site.until_lines("app.log", 1);
            let took = began.elapsed();
            site.term();
            took
        })
        .collect();
    times.sort();
    let (least, median) = (times[0], times[times.len() / 2]);
    println!(
        "start to first delivered line: {:.0} ms at the median of {}, {:.0} ms at the least",
        median.as_secs_f64() * 1e3,
        times.len(),
        least.as_secs_f64() * 1e3
    );
    assert!(median < Duration::from_secs(2), "{times:?}");
}

#[test]
#[ignore = "needs a quiet machine"]
fn an_idle_agent_with_ten_files_takes_little_memory() {
    let mut site = stock();
    for n in 0..10 {
        site.numbers(&format!("app-{n}.log")).write(100);
    }
    site.copy("*.log").start();
    site.until("all lines", |state| state.counts().events >= 1000);
    // Some seconds of nothing to do, with what the agent does then
    let requests = site.receiver.counts().requests;
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(5) {
        std::thread::park_timeout(Duration::from_secs(1));
    }
    assert_eq!(site.receiver.counts().events, 1000);
    let idle = site.receiver.counts().requests - requests;
    let [all, own] = ["VmRSS", "RssAnon"].map(|field| kilobytes(&site, field));
    println!(
        "idle with 10 files: {:.1} MB resident, {:.1} MB of it its own; {idle} requests in 5 s",
        all as f64 / 1024.0,
        own as f64 / 1024.0
    );
    // The rest are pages of the program, and this one is unoptimised
    assert!(own < 4_000 && all < 24_000, "{own} kB of {all} kB");
    site.term();
}

/// The kB of its own that the agent takes with so many files, of which it sends nothing: after the first start,
/// and after another one.
fn own_with_idle(files: u64) -> [u64; 2] {
    let mut site = stock();
    for n in 0..files {
        let path = site.log_path(&format!("d{}/app-{n}.log", n % 20));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "a line that was there before\n").unwrap();
    }
    site.log(json!({ "path": site.log_path("d*/*.log") }));
    [1, 2].map(|_| {
        site.start();
        // A round of looks and one of metrics
        std::thread::park_timeout(Duration::from_secs(8));
        let own = kilobytes(&site, "RssAnon");
        site.term();
        own
    })
}

#[test]
#[ignore = "needs a quiet machine"]
fn thousands_of_idle_files_take_a_kilobyte_each() {
    const FILES: u64 = 4_000;
    let (few, many) = (own_with_idle(10), own_with_idle(10 + FILES));
    let each: Vec<u64> = few
        .iter()
        .zip(many)
        .map(|(few, many)| (many - few) * 1024 / FILES)
        .collect();
    println!(
        "idle with {FILES} files more: {} bytes each after the first start, {} after another",
        each[0], each[1]
    );
    // glibc keeps the memory that the records took at the start, in each thread that had them; musl, with which the
    // static program is linked, gives it back
    let (first, again) = match std::env::var_os("SITE_AGENT") {
        Some(_) => (1_400, 1_500),
        None => (2_000, 2_700),
    };
    assert!(each[0] <= first && each[1] <= again, "{each:?} bytes");
}
