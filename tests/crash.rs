//! The agent killed at any instant, its checkpoints damaged, its disk full: nothing is lost, and
//! what is sent again is no more than what was under way.

mod common;

use common::{all_at_once, Load, Numbers, Site};
use nix::mount::{mount, umount2, MntFlags, MsFlags};
use receiver::Fault;
use serde_json::{json, Value};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Small random numbers that a seed repeats.
struct Dice(u64);

impl Dice {
    /// From `SEED` in the environment, else from the clock; printed, for a failure's sake.
    fn new(name: &str) -> Dice {
        let seed = match std::env::var("SEED") {
            Ok(seed) => seed.parse().expect("SEED is a number"),
            Err(_) => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap()
                .as_nanos() as u64,
        };
        println!("{name}: SEED={seed}");
        Dice(seed | 1)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }
}

/// Kills the agent at so many random instants while a log is written to and rotated.
fn killed(
    name: &str,
    times: u32,
    pattern: &str,
    rotate: impl FnMut(&mut Numbers, u64) + Send + 'static,
) {
    let mut dice = Dice::new(name);
    let mut site = Site::new();
    site.set("full_checkpoint_interval_in_seconds", 1);
    let mut numbers = site.numbers("app.log");
    numbers.write(100);
    site.copy(pattern);
    let load = Load::start(numbers, 20, Duration::from_millis(5), rotate);
    let mut under_way = 0;
    for _ in 0..times {
        site.start();
        if dice.below(3) == 0 {
            let fault = match dice.below(3) {
                0 => Fault::cut_after_storing(),
                1 => Fault::delayed(Duration::from_millis(dice.below(200))),
                _ => Fault::status(503),
            };
            site.receiver
                .fault(fault.with_events_only().after(dice.below(3)));
        }
        // From before it runs to the middle of its work
        std::thread::sleep(Duration::from_micros(dice.below(350_000)));
        site.kill9();
        site.receiver.clear_faults();
        // A request that the dead agent had handed to the system may still be read
        site.receiver.wait_until(Duration::from_secs(5), |state| {
            state.counts().open_connections == 0
        });
        let requests = site.receiver.requests();
        let last = requests
            .iter()
            .rev()
            .filter(|request| request.events > 0)
            .take(2);
        under_way += last.map(|request| request.events as u64).sum::<u64>();
    }
    site.start();
    let numbers = load.stop();
    let name = if pattern.ends_with('*') {
        "app.log*"
    } else {
        "app.log"
    };
    site.expect_exactly_once(name, numbers.all());
    if !pattern.ends_with('*') {
        site.assert_in_order(name);
    }
    site.term();
    site.assert_exactly_once(name, numbers.all());
    let again = site.receiver.counts().duplicates;
    println!("{again} of {} lines were sent again", numbers.next());
    assert!(
        again <= under_way,
        "{again} lines were sent again, {under_way} were under way"
    );
}

/// Every third of a second, under names that say the order.
fn rename(numbers: &mut Numbers, burst: u64) {
    if burst % 60 == 0 {
        numbers.rotate_by_rename(format!("app.log-{burst:09}"));
    }
}

#[test]
fn killed_at_any_instant_with_rotation_by_rename() {
    killed("rename", 25, "app.log", rename);
}

#[test]
fn killed_at_any_instant_with_a_pattern_that_matches_the_rotated_files() {
    killed("rename, app.log*", 15, "app.log*", rename);
}

#[test]
fn killed_at_any_instant_with_rotation_by_copy_and_truncation() {
    killed("copytruncate", 25, "app.log", |numbers, burst| {
        if burst % 60 == 0 {
            numbers.copytruncate(format!("app.log-{burst:09}"));
        }
    });
}

#[test]
#[ignore = "slow"]
fn killed_at_many_instants() {
    all_at_once(&["app.log", "app.log*"], |pattern| {
        killed(pattern, 200, pattern, rename);
    });
}

/// The agent dies before the server has answered its very first request, which it has stored.
#[test]
fn killed_before_the_first_answer_repeats_nothing() {
    let mut site = Site::new();
    let mut numbers = site.numbers("app.log");
    numbers.write(100);
    site.copy("app.log");
    for round in 1..=5 {
        site.receiver
            .fault(Fault::delayed(Duration::from_secs(30)).with_events_only());
        site.start();
        site.until("it is stored", |state| state.counts().events >= round * 100);
        site.kill9();
        site.receiver.clear_faults();
        numbers.write(100);
    }
    site.start();
    site.expect_exactly_once("app.log", numbers.all());
    site.assert_in_order("app.log");
}

/// The ways in which a checkpoint file is damaged.
#[derive(Debug, Clone, Copy)]
enum Damage {
    Empty,
    Half,
    Garbage,
    Zeros,
    OtherJson,
    LastByte,
}

use Damage::*;
const DAMAGES: [Damage; 6] = [Empty, Half, Garbage, Zeros, OtherJson, LastByte];

fn damage(path: &Path, how: Damage) {
    let good = fs::read(path).unwrap();
    let bad = match how {
        Empty => Vec::new(),
        // Without the last bytes the cut may be between two records, which nobody can tell
        Half => [&good[..good.len() / 2], &[0xFF; 3]].concat(),
        Garbage => good
            .iter()
            .map(|byte| byte.wrapping_mul(167) ^ 0x5A)
            .collect(),
        // As some file systems leave a file after a loss of power
        Zeros => vec![0; good.len()],
        OtherJson => b"[\"not\", \"this\"]".to_vec(),
        LastByte => good[..good.len() - 1].to_vec(),
    };
    fs::write(path, bad).unwrap();
}

/// A site whose log was in part there before the first start, and is left out.
fn with_history() -> (Site, Numbers) {
    let mut site = Site::new();
    // Exported often, so that there is something beside the journal
    site.set("full_checkpoint_interval_in_seconds", 1);
    let mut numbers = site.numbers("app.log");
    numbers.write(100);
    let path = site.log_path("app.log");
    site.log(json!({"path": path, "attributes": {"parser": "numbers"}}));
    site.start();
    site.until_logged("Copying started");
    for _ in 0..4 {
        numbers.write(50);
        let next = numbers.next() - 100;
        site.until_lines("app.log", next);
        site.until_requests(1);
    }
    let export = site.path("data/checkpoints.json");
    site.until("there is an export", |_| export.exists());
    (site, numbers)
}

fn is_checkpoint(path: &Path) -> bool {
    let name = path.file_name().unwrap().to_str().unwrap();
    name.contains("checkpoints") && name.ends_with(".json")
}

fn data_files(site: &Site) -> Vec<PathBuf> {
    let entries = fs::read_dir(site.path("data")).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// Starts again, and expects lines since then, that the damage is told, and that the damaged file
/// is kept.
#[track_caller]
fn is_told_and_nothing_is_lost(site: &mut Site, numbers: &mut Numbers, damaged: &[PathBuf]) {
    numbers.write(50);
    site.start();
    site.expect_all_but("app.log", numbers.all(), 0..100);
    let log = site.agent_log();
    let files = data_files(site);
    for path in damaged {
        let name = path.to_str().unwrap();
        assert!(log.contains(name), "{name} is not named\n{log}");
        let aside = files.iter().any(|file| {
            file != path && file.to_str().unwrap().starts_with(name) && !is_checkpoint(file)
        });
        assert!(aside, "{name} is not kept: {files:?}");
    }
    // And on it goes
    site.kill9();
    numbers.write(50);
    site.start();
    site.expect_all_but("app.log", numbers.all(), 0..100);
    site.assert_in_order("app.log");
}

#[test]
fn one_checkpoint_damaged_after_a_kill_loses_nothing() {
    for name in ["checkpoints.json", "positions.journal"] {
        all_at_once(&DAMAGES, |how| {
            let (mut site, mut numbers) = with_history();
            site.kill9();
            let mut damaged = data_files(&site);
            damaged.retain(|path| path.ends_with(name));
            assert_eq!(damaged.len(), 1);
            for path in &damaged {
                damage(path, how);
            }
            is_told_and_nothing_is_lost(&mut site, &mut numbers, &damaged);
        });
    }
}

#[test]
fn the_checkpoint_of_a_clean_stop_damaged_loses_nothing() {
    all_at_once(&DAMAGES, |how| {
        let (mut site, mut numbers) = with_history();
        site.term();
        let damaged = [site.path("data/positions.journal")];
        damage(&damaged[0], how);
        is_told_and_nothing_is_lost(&mut site, &mut numbers, &damaged);
    });
}

/// Every checkpoint gone bad at once, and the entry says to copy from the start: all is there.
#[test]
fn all_checkpoints_damaged_lose_nothing_where_copying_is_from_the_start() {
    let mut site = Site::new();
    let mut numbers = site.numbers("app.log");
    numbers.write(100);
    site.copy("app.log").start();
    site.until_lines("app.log", 100);
    site.term();
    numbers.write(100);
    for path in data_files(&site) {
        damage(&path, Half);
    }
    site.start();
    site.until("the new lines", |state| {
        state.ledger().paths().count() == 1
            && state.ledger().together(|_| true).missing(0..200).is_empty()
    });
    assert!(site.agent_log().contains("is damaged"));
}

/// A small file system of its own at a folder.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn new(path: PathBuf) -> Tmpfs {
        let options = Some("size=256k,nr_inodes=64");
        mount(
            Some("tmpfs"),
            &path,
            Some("tmpfs"),
            MsFlags::empty(),
            options,
        )
        .expect("mounting a tmpfs needs root");
        Tmpfs(path)
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazily: an agent that is not gone yet does not hold it up
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

#[test]
#[ignore = "needs root for a tmpfs"]
fn a_full_disk_for_the_checkpoints_stops_no_copying_and_is_told() {
    all_at_once(&[true, false], |full_at_start| {
        let mut site = Site::new();
        let _tmpfs = Tmpfs::new(site.path("data"));
        let mut numbers = site.numbers("app.log");
        numbers.write(100);
        site.copy("app.log");
        let filler = site.path("data/filler");
        let fill = || {
            let mut size = 256 << 10;
            while size > 0 {
                // Until not one byte more has room
                let before = fs::metadata(&filler).map_or(0, |meta| meta.len());
                common::append_some(&filler, &vec![b'x'; size]);
                if fs::metadata(&filler).map_or(0, |meta| meta.len()) == before {
                    size /= 2;
                }
            }
        };
        if full_at_start {
            fill();
        }
        site.start();
        site.until_lines("app.log", 100);
        fill();
        for _ in 0..3 {
            numbers.write(100);
            site.expect_exactly_once("app.log", numbers.all());
        }
        // The room that is set aside serves for long, but not a file that has to be made first
        if full_at_start {
            site.until_logged("failedCheckpointWrite");
        }
        let log = site.agent_log();
        assert!(log.matches("failedCheckpointWrite").count() <= 4, "{log}");
        // The disk has room again
        fs::remove_file(&filler).unwrap();
        numbers.write(100);
        site.expect_exactly_once("app.log", numbers.all());
        if full_at_start {
            site.until_logged("the position journal can be written again");
        }
        let before = site.receiver.counts().duplicates;
        site.kill9();
        numbers.write(100);
        site.start();
        site.expect_exactly_once("app.log", numbers.all());
        site.assert_in_order("app.log");
        assert!(site.receiver.counts().duplicates - before <= 200);
        // Full when it stops: that is no reason not to
        fill();
        numbers.write(50);
        site.term();
        site.assert_exactly_once("app.log", numbers.all());
    });
}

/// A checkpoint file as the Python agent writes it.
fn pythons(entries: Value) -> String {
    json!({"time": seconds_from_now(0.0), "checkpoints": entries}).to_string()
}

fn seconds_from_now(offset: f64) -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_secs_f64() + offset
}

fn inode(path: &Path) -> u64 {
    fs::metadata(path).unwrap().ino()
}

const PYTHONS_ID: &str = "b00d64aa-464c-4c37-81b8-36ce979a9e33";

#[test]
fn the_python_agents_checkpoint_is_continued() {
    for file in ["checkpoints.json", "checkpoints-worker-default-0.json"] {
        let mut site = Site::new();
        let mut numbers = site.numbers("app.log");
        numbers.write(100);
        let sent = fs::metadata(numbers.path()).unwrap().len();
        numbers.write(50);
        let size = fs::metadata(numbers.path()).unwrap().len();
        let entry = json!({
            "position": 0,
            "pending_files": [{
                "position_start": -(sent as i64), "position_end": (size - sent),
                "last_known_size": size, "is_log_file": true, "inode": inode(numbers.path()),
            }],
            "sequence_id": PYTHONS_ID, "sequence_number": 70_000 + sent, "time": seconds_from_now(0.7),
        });
        let entries = json!({ numbers.path().to_str().unwrap(): entry });
        fs::write(site.path("data").join(file), pythons(entries)).unwrap();
        // Whether or not the entry asks for the start
        let path = site.log_path("app.log");
        site.log(json!({"path": path, "copy_from_start": file == "checkpoints.json"}));
        site.start();
        site.expect_all_but("app.log", 0..150, 0..100);
        // The sequence goes on as well, so that a resend of both agents is one
        let events = site.receiver.events();
        assert!(events
            .iter()
            .all(|event| event.si.as_deref() == Some(PYTHONS_ID)));
        assert_eq!(events.last().unwrap().sn, Some(70_000 + size));
        site.term();
        numbers.write(20);
        site.start();
        site.expect_all_but("app.log", 0..170, 0..100);
        site.assert_in_order("app.log");
    }
}

#[test]
fn the_python_agents_newer_active_checkpoint_counts() {
    let mut site = Site::new();
    let mut numbers = site.numbers("app.log");
    numbers.write(50);
    let first = fs::metadata(numbers.path()).unwrap().len();
    numbers.write(50);
    let second = fs::metadata(numbers.path()).unwrap().len();
    let entry = |sent: u64, time: f64| {
        json!({ numbers.path().to_str().unwrap(): {
            "position": 0,
            "pending_files": [{
                "position_start": -(sent as i64), "position_end": second - sent,
                "last_known_size": second, "is_log_file": true, "inode": inode(numbers.path()),
            }],
            "sequence_id": PYTHONS_ID, "sequence_number": sent, "time": time,
        }})
    };
    let data = site.path("data");
    fs::write(
        data.join("checkpoints-worker-default-0.json"),
        pythons(entry(first, seconds_from_now(0.0))),
    )
    .unwrap();
    fs::write(
        data.join("active-checkpoints-worker-default-0.json"),
        pythons(entry(second, seconds_from_now(5.0))),
    )
    .unwrap();
    numbers.write(50);
    site.copy("app.log").start();
    site.expect_all_but("app.log", 0..150, 0..100);
}

#[test]
fn a_log_that_rotated_between_the_two_agents_is_finished_first() {
    let mut site = Site::new();
    let mut numbers = site.numbers("app.log");
    numbers.write(100);
    let sent = fs::metadata(numbers.path()).unwrap().len();
    let entry = json!({
        "position": 0,
        "pending_files": [{
            "position_start": -(sent as i64), "position_end": 0,
            "last_known_size": sent, "is_log_file": true, "inode": inode(numbers.path()),
        }],
        "sequence_id": PYTHONS_ID, "sequence_number": sent, "time": seconds_from_now(0.7),
    });
    let entries = json!({ numbers.path().to_str().unwrap(): entry });
    fs::write(site.path("data/checkpoints.json"), pythons(entries)).unwrap();
    numbers.write(50);
    numbers.rotate_by_rename("app.log.1");
    numbers.write(50);
    site.copy("app.log").start();
    site.expect_all_but("app.log", 0..200, 0..100);
    site.assert_in_order("app.log");
}

#[test]
fn the_python_agents_two_files_of_a_rotation_are_both_finished() {
    let mut site = Site::new();
    let mut numbers = site.numbers("app.log");
    numbers.write(60);
    let sent = fs::metadata(numbers.path()).unwrap().len();
    numbers.write(40);
    let old_size = fs::metadata(numbers.path()).unwrap().len();
    numbers.rotate_by_rename("app.log.1");
    numbers.write(30);
    let new_size = fs::metadata(numbers.path()).unwrap().len();
    let rest = (old_size - sent) as i64;
    let entry = json!({
        "position": 0,
        "pending_files": [
            {"position_start": -(sent as i64), "position_end": rest, "last_known_size": old_size,
             "is_log_file": false, "inode": inode(&site.log_path("app.log.1"))},
            {"position_start": rest, "position_end": rest + new_size as i64,
             "last_known_size": new_size, "is_log_file": true, "inode": inode(numbers.path())},
        ],
        "sequence_id": PYTHONS_ID, "sequence_number": sent, "time": seconds_from_now(0.7),
    });
    let entries = json!({ numbers.path().to_str().unwrap(): entry });
    fs::write(site.path("data/checkpoints.json"), pythons(entries)).unwrap();
    numbers.write(20);
    site.copy("app.log").start();
    site.expect_all_but("app.log", 0..150, 0..60);
    site.assert_in_order("app.log");
    // The rest of the first file has the numbers that the Python agent would have given it
    let events = site.receiver.events();
    let (first, _) = events.split_at(40);
    assert!(first
        .iter()
        .all(|event| event.si.as_deref() == Some(PYTHONS_ID)));
    assert_eq!(first[39].sn, Some(old_size));
}
