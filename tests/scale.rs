//! Many files: all are followed, with few of them open and little memory.

mod common;

use common::{Numbers, Site, STOP};
use nix::sys::signal::Signal;
use std::fs;

/// Appends numbered lines to each of the logs, opening one at a time: this process may not have
/// many files open either.
fn write(site: &Site, names: &[String], from: u64, count: u64) {
    for name in names {
        Numbers::starting_at(site.log_path(name), from).write(count);
    }
}

/// Follows so many files that grow, with a kill, a rotation of some and a stop in between.
fn many(files: usize, most_memory: u64) {
    let mut site = Site::new();
    for folder in 0..20 {
        fs::create_dir(site.log_path(&format!("d{folder:02}"))).unwrap();
    }
    let mut names: Vec<String> = (0..files)
        .map(|n| format!("d{:02}/app-{n:05}.log", n % 20))
        .collect();
    let wanted = files as u64;
    write(&site, &names, 0, 4);
    site.copy("d*/*.log").start();
    site.until("the first lines of all", |s| {
        s.counts().events >= wanted * 4
    });
    write(&site, &names, 4, 4);
    site.until("more lines of all", |s| s.counts().events >= wanted * 8);
    site.kill9();
    write(&site, &names, 8, 4);
    // Every tenth rotates while the agent is away
    for name in names.iter().step_by(10) {
        let path = site.log_path(name);
        fs::rename(&path, path.with_extension("log.1")).unwrap();
    }
    site.start();
    write(&site, &names, 12, 4);
    site.until("the lines after the kill", |s| {
        s.counts().events >= wanted * 16
    });
    // New ones, found while running
    let more: Vec<String> = (0..files / 20)
        .map(|n| format!("d07/new-{n:05}.log"))
        .collect();
    write(&site, &more, 0, 16);
    let wanted = wanted + more.len() as u64;
    names.extend(more);
    site.until("the lines of new files", |s| {
        s.counts().events >= wanted * 16
    });

    let open = site.open_logs().len();
    let all = site.descriptors().len();
    let memory = site.peak_memory();
    println!(
        "{files} files: {open} open, peak {} MB, {:?} of CPU",
        memory >> 20,
        site.cpu()
    );
    assert!(open <= 256, "{open} files are open");
    assert!(all < 300, "{all} descriptors");
    assert!(memory <= most_memory, "{memory} bytes");
    // A thread that is busy with all of them may not answer in time
    site.until_seen("a status with all files", || {
        let status = site.status_json();
        let matchers = &status["copying_manager_status"]["log_matchers"];
        let followed = matchers[0]["log_processors_status"].as_array();
        followed.is_some_and(|files| files.len() == names.len())
    });
    site.stop_within(Signal::SIGTERM, STOP);
    site.receiver.with(|state| {
        for name in &names {
            let path = site.log_path(name);
            let tally = state.ledger().path(path.to_str().unwrap());
            let once = tally.map(|tally| tally.exactly_once(0..16));
            assert_eq!(once, Some(Ok(())), "{name}");
        }
    });
    site.assert_well_formed();
}

#[test]
fn two_thousand_files() {
    many(2_000, 48 << 20);
}

#[test]
#[ignore = "slow"]
fn ten_thousand_files() {
    // 94 MB with glibc, 64 MB with musl; a debug build's own pages come on top
    many(10_000, 112 << 20);
}
