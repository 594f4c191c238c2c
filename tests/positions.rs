//! `positions`: the position journal in words, as a real agent has written it.

mod common;

use common::{Said, Site};
use nix::sys::signal::Signal;
use serde_json::json;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// Every file of the data directory with its bytes.
fn data(site: &Site) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(site.path("data")).unwrap();
    let mut all: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    all.sort();
    all.retain(|path| path.is_file());
    let read = |path: PathBuf| (path.clone(), fs::read(path).unwrap());
    all.into_iter().map(read).collect()
}

/// The lines below a line that ends with `head`, as long as they are further to the right.
fn below<'a>(text: &'a str, head: &str) -> Vec<&'a str> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut lines = text.lines().skip_while(|line| !line.ends_with(head));
    let own = lines
        .next()
        .unwrap_or_else(|| panic!("no {head} in\n{text}"));
    let is_below = |line: &&str| indent(line) > indent(own);
    lines.take_while(is_below).map(str::trim).collect()
}

#[track_caller]
fn has(lines: &[&str], wanted: &str) {
    assert!(lines.contains(&wanted), "no {wanted:?} in {lines:#?}");
}

fn ok(said: Said) -> String {
    assert_eq!(said.code, 0, "{}", said.err);
    said.out
}

#[test]
fn positions_says_what_the_journal_knows_while_the_agent_runs_and_after() {
    let mut site = Site::new();
    site.copy("*.log");
    site.append("a.log", "password=hunter2\nsecond\n");
    site.append("sub.log", "");
    site.start();
    site.until_lines("a.log", 2);
    let path = site.log_path("a.log").display().to_string();
    let mut text = String::new();
    site.until_seen("the acknowledged position", || {
        text = ok(site.run(&["positions"]));
        text.contains("settled up to byte 24 of 24; the log's path shows it")
    });
    let about = below(&text, &path);
    has(
        &about,
        "1. settled up to byte 24 of 24; the log's path shows it",
    );
    has(
        &about,
        "known by its first 24 bytes, 2 lines and 1 block before byte 24",
    );
    assert!(about.iter().any(|line| line.starts_with("number ")));
    has(
        &below(&text, "The file"),
        "an agent is running and writes it",
    );
    let history = ok(site.run(&["positions", "--records", &path]));
    assert!(history.contains(&format!("of {path}\n")), "{history}");
    has(&below(&history, &path), "because: new, or taken over");
    let acknowledged = history.lines().find(|line| line.contains("acknowledged: "));
    let (offset, _) = acknowledged.unwrap().trim().split_once(' ').unwrap();
    assert!(offset.parse::<u64>().unwrap() > 29, "{history}");
    assert!(!history.contains("sub.log"), "{history}");

    site.signal(Signal::SIGTERM);
    site.wait_exit(std::time::Duration::from_secs(20));
    let before = data(&site);
    let all = ok(site.run(&["positions"]));
    let records = ok(site.run(&["positions", "--records"]));
    assert_eq!(data(&site), before);
    has(&below(&all, "The file"), "no agent is running");
    has(&below(&all, "The file"), "exported for the Python agent");
    for text in [&text, &history, &all, &records] {
        let key = site.config_text();
        let key = key.split("api_key").nth(1).unwrap();
        let key = key.split('"').nth(2).unwrap();
        assert!(!text.contains("hunter2") && !text.contains(key), "{text}");
        let is_wide = |line: &&str| line.chars().count() > 80 && !line.contains('/');
        assert_eq!(text.lines().find(is_wide), None);
    }
    // A folder means all logs in it
    let folder = site.path("logs").display().to_string();
    let of_folder = ok(site.run(&["positions", &folder]));
    assert!(of_folder.contains("/a.log") && of_folder.contains("/sub.log"));
    assert!(!of_folder.contains("/agent.log"), "{of_folder}");
    let said = site.run(&["positions", &path, "/nowhere.log"]);
    assert_eq!(said.code, 1);
    assert_eq!(said.err, "nothing is known of /nowhere.log\n");
}

#[test]
fn positions_tells_damage_and_checkpoints_of_another_agent() {
    let mut site = Site::new();
    site.copy("*.log");
    site.append("a.log", "one\n");
    site.start();
    site.until_lines("a.log", 1);
    site.term();
    let journal = site.path("data/positions.journal");
    let sound = fs::read(&journal).unwrap();
    let end = sound.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    fs::write(&journal, [&sound[..end], b"\x05a"].concat()).unwrap();
    let path = site.log_path("a.log");
    // As the Python agent writes it: settled up to byte 2
    let checkpoints = json!({"time": 9e9, "checkpoints": {path.to_str().unwrap(): {
        "position": 0, "time": 9e9, "sequence_number": 2,
        "sequence_id": "b00d64aa-464c-4c37-81b8-36ce979a9e33",
        "pending_files": [{
            "position_start": -2, "position_end": 2, "last_known_size": 4,
            "is_log_file": true, "inode": fs::metadata(&path).unwrap().ino(),
        }],
    }}});
    fs::write(site.path("data/checkpoints.json"), checkpoints.to_string()).unwrap();
    let text = ok(site.run(&["positions"]));
    let file = below(&text, "The file");
    has(
        &file,
        &format!("damaged from byte {end} on: a record is not complete"),
    );
    has(&file, "next start takes them up; what follows is with them");
    let about = below(&text, path.to_str().unwrap());
    has(
        &about,
        "1. settled up to byte 2 of 4; the log's path shows it",
    );
    has(&about, "known by its inode and its position alone");
}
