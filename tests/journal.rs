//! The position journal of a whole agent: killed under load, with a full or read-only disk, damaged, deleted, and
//! handed to and fro between this agent, the Python agent and versions that had no journal.

mod common;

use common::{all_at_once, gzip, Load, Numbers, Site};
use nix::mount::{mount, umount2, MntFlags, MsFlags};
use receiver::Fault;
use serde_json::{json, Value};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const JOURNAL: &str = "data/positions.journal";
const DEGRADED: &str =
    "degraded: after a crash these contents may be sent again under other numbers";

/// A small file system of its own in place of the data directory.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn new(path: PathBuf) -> Tmpfs {
        let options = Some("size=512k,nr_inodes=200");
        let none = MsFlags::empty();
        mount(Some("tmpfs"), &path, Some("tmpfs"), none, options)
            .expect("mounting a tmpfs needs root");
        Tmpfs(path)
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }

    /// Until not one byte more has room.
    fn fill(&self) {
        let filler = self.filler();
        let length = || fs::metadata(&filler).map_or(0, |meta| meta.len());
        let mut size = 256 << 10;
        while size > 0 {
            let before = length();
            common::append_some(&filler, &vec![b'x'; size]);
            if length() == before {
                size /= 2;
            }
        }
    }

    fn free(&self) {
        fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazily: an agent that is not gone yet does not hold it up
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

/// All three places say it: `status -v`, the health check, agent.log.
#[track_caller]
fn all_say_degraded(site: &Site) {
    site.until_logged(DEGRADED);
    let began = Instant::now();
    let status = site.status_v();
    assert!(status.contains(DEGRADED), "{status}\n{}", site.report());
    let report = site.status_json();
    let problem = &report["at_a_glance"]["problems"][0];
    assert_eq!(problem["code"], "positionsNotWritten", "{problem}");
    let health = site.run(&["status", "-H", "--delivery"]);
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "it waits for an answer that has no room"
    );
    assert!(
        health.out.contains(DEGRADED),
        "{health:?}\n{}",
        site.report()
    );
    // No restart mends a full disk, so no probe shall ask for one
    assert_eq!(health.code, 0, "{health:?}");
}

/// Neither `status -v` nor the health check says it any more.
#[track_caller]
fn is_over(site: &Site) {
    site.until_logged("the position journal can be written again");
    let status = site.status_v();
    assert!(!status.contains("degraded"), "{status}");
    let health = site.run(&["status", "-H"]);
    assert_eq!(health.code, 0, "{health:?}");
}

#[test]
#[ignore = "needs root for a tmpfs"]
fn a_full_data_disk_repeats_nothing_after_a_kill() {
    all_at_once(&[true, false], |is_freed| {
        let mut site = Site::new();
        let tmpfs = Tmpfs::new(site.path("data"));
        let mut numbers = site.numbers("app.log");
        numbers.write(100);
        site.copy("app.log").start();
        site.until_lines("app.log", 100);
        tmpfs.fill();
        numbers.rotate_by_rename("app.log.1");
        numbers.write(50);
        site.expect_exactly_once("app.log", numbers.all());
        site.kill9();
        if is_freed {
            tmpfs.free();
        }
        numbers.write(50);
        site.start();
        site.expect_exactly_once("app.log", numbers.all());
        site.assert_in_order("app.log");
    });
}

#[test]
#[ignore = "needs root for a tmpfs"]
fn a_full_data_disk_hides_no_status() {
    let mut site = Site::new();
    let tmpfs = Tmpfs::new(site.path("data"));
    site.append("app.log", "one\n");
    site.copy("app.log").start();
    site.until_lines("app.log", 1);
    // Once before, so that its files are there, and once without them
    for has_files in [true, false] {
        match has_files {
            true => drop(site.status_json()),
            false => {
                for name in ["last_status", "status_format"] {
                    fs::remove_file(site.path("data").join(name)).unwrap();
                }
            }
        }
        tmpfs.fill();
        let began = Instant::now();
        let text = site.run(&["status", "-v"]);
        assert_eq!(text.code, 0, "{text:?}");
        assert!(text.out.contains("\nAt a glance:\n"), "{text:?}");
        let whole = site.run(&["status", "-v", "--all"]);
        assert!(whole.out.contains(", last checked "), "{whole:?}");
        let report = site.status_json();
        assert!(report["copying_manager_status"]["total_bytes_uploaded"].is_u64());
        let health = site.run(&["status", "-H", "--delivery"]);
        assert_eq!(health.code, 0, "{health:?}");
        assert!(health.out.starts_with("Health check: Good\n"), "{health:?}");
        let commands: &[&[&str]] = &[
            &["status", "-v"],
            &["status", "-H"],
            &["status", "-v", "--all"],
        ];
        for said in site.run_at_once(commands) {
            assert_eq!(said.code, 0, "{said:?}");
        }
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "it waits for what can't come"
        );
        tmpfs.free();
    }
    // And by the files again
    assert_eq!(site.run(&["status", "-v"]).code, 0);
    assert!(site.path("data/last_status").metadata().unwrap().len() > 500);
    site.term();
}

#[test]
#[ignore = "needs root for a tmpfs"]
fn a_disk_without_any_room_left_is_told_until_it_is_over_and_nothing_is_forgotten() {
    let mut site = Site::new();
    let tmpfs = Tmpfs::new(site.path("data"));
    let mut numbers = site.numbers("app.log");
    numbers.write(100);
    site.set("max_request_spacing_interval", 0.02);
    site.copy("*.log").start();
    site.until_lines("app.log", 100);
    tmpfs.fill();
    // Longer and longer, beyond what is held in reserve
    let mut others: Vec<Numbers> = (0..6)
        .map(|n| site.numbers(&format!("other{n}.log")))
        .collect();
    for round in 1..=1000 {
        for other in &mut others {
            other.write(1);
        }
        site.until_lines("other5.log", round);
        if site.agent_log().contains(DEGRADED) {
            break;
        }
    }
    numbers.write(50);
    site.expect_exactly_once("app.log", numbers.all());
    // Not even a report has room
    tmpfs.fill();
    all_say_degraded(&site);
    let log = site.agent_log();
    assert!(log.matches("failedCheckpointWrite").count() <= 2, "{log}");
    // From memory all goes on: also over a rotation
    numbers.rotate_by_rename("app.log.1");
    numbers.write(50);
    site.expect_exactly_once("app.log", numbers.all());
    tmpfs.free();
    is_over(&site);
    site.kill9();
    for other in &mut others {
        other.write(1);
    }
    numbers.write(50);
    site.start();
    site.expect_exactly_once("app.log", numbers.all());
    for (n, other) in others.iter().enumerate() {
        site.expect_exactly_once(&format!("other{n}.log"), other.all());
    }
}

/// A folder whose files nobody may change, root among them.
struct Immutable(PathBuf);

impl Immutable {
    /// None where the file system does not know that.
    fn new(path: PathBuf) -> Option<Immutable> {
        let immutable = Immutable(path);
        immutable.chattr("+i").then_some(immutable)
    }

    fn chattr(&self, mode: &str) -> bool {
        let mut command = std::process::Command::new("chattr");
        let ran = command.args(["-R", mode]).arg(&self.0).output();
        ran.is_ok_and(|output| output.status.success())
    }
}

impl Drop for Immutable {
    fn drop(&mut self) {
        self.chattr("-i");
    }
}

#[test]
#[ignore = "needs chattr, as root"]
fn a_data_directory_that_becomes_read_only_stops_no_copying_and_is_told() {
    let mut site = Site::new();
    let mut numbers = site.numbers("app.log");
    numbers.write(100);
    site.copy("app.log").start();
    site.until_lines("app.log", 100);
    site.until_requests(1);
    let Some(immutable) = Immutable::new(site.path("data")) else {
        eprintln!("left out: this file system has no immutable files");
        return;
    };
    numbers.write(50);
    site.expect_exactly_once("app.log", numbers.all());
    numbers.rotate_by_rename("app.log.1");
    numbers.write(50);
    site.expect_exactly_once("app.log", numbers.all());
    site.until_logged(DEGRADED);
    drop(immutable);
    all_say_degraded(&site);
    is_over(&site);
    site.kill9();
    numbers.write(50);
    site.start();
    site.expect_exactly_once("app.log", numbers.all());
    site.assert_in_order("app.log");
}

/// Three logs that an agent has known, each rotated in its own way, five times a second.
fn loads(site: &mut Site) -> Vec<(&'static str, Load)> {
    let kinds = ["renamed.log", "copied.log", "compressed.log"];
    let mut logs = kinds.map(|name| (name, site.numbers(name)));
    for (name, numbers) in &mut logs {
        numbers.write(1);
        site.copy(name);
    }
    // A file that was rotated away before the first look at its log is not copied
    site.start();
    for name in kinds {
        site.until_lines(name, 1);
    }
    site.kill9();
    let start = |(name, numbers): (&'static str, Numbers)| {
        let rotate = move |numbers: &mut Numbers, burst: u64| {
            if burst % 40 != 0 {
                return;
            }
            let to = format!("{name}-{burst:09}");
            match name {
                "copied.log" => numbers.copytruncate(&to),
                "renamed.log" => numbers.rotate_by_rename(&to),
                _ => {
                    numbers.rotate_by_rename(&to);
                    // The one before, as logrotate's `delaycompress`
                    let before = format!("{name}-{:09}", burst - 40);
                    let before = numbers.path().with_file_name(before);
                    if before.exists() {
                        let mut to = before.clone().into_os_string();
                        to.push(".gz");
                        gzip(&before, Path::new(&to));
                        fs::remove_file(before).unwrap();
                    }
                }
            }
        };
        (
            name,
            Load::start(numbers, 10, Duration::from_millis(5), rotate),
        )
    };
    logs.map(start).into_iter().collect()
}

#[test]
fn fifty_kills_under_load_with_rotations_lose_and_repeat_nothing() {
    let seed = std::env::var("SEED").map_or_else(
        |_| {
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap()
                .as_nanos() as u64
        },
        |seed| seed.parse().expect("SEED is a number"),
    );
    println!("SEED={seed}");
    let mut random = seed | 1;
    let mut below = |limit: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 11) % limit
    };
    let mut site = Site::new();
    site.set("full_checkpoint_interval_in_seconds", 1);
    site.set(
        "workers",
        json!([{"id": "default", "api_key": "test-key", "sessions": 2}]),
    );
    let loads = loads(&mut site);
    for _ in 0..50 {
        site.start();
        if below(3) == 0 {
            let fault = match below(3) {
                0 => Fault::cut_after_storing(),
                1 => Fault::delayed(Duration::from_millis(below(200))),
                _ => Fault::status(503),
            };
            let fault = fault.with_events_only().after(below(3));
            site.receiver.fault(fault);
        }
        // From before it runs to the middle of its work
        std::thread::sleep(Duration::from_micros(below(400_000)));
        site.kill9();
        site.receiver.clear_faults();
        // A request that the dead agent had handed to the system may still be read
        site.receiver.wait_until(Duration::from_secs(5), |state| {
            state.counts().open_connections == 0
        });
    }
    site.start();
    for (name, load) in loads {
        let numbers = load.stop();
        site.expect_exactly_once(name, numbers.all());
        site.assert_in_order(name);
    }
    let log = site.agent_log();
    assert!(!log.contains("it is damaged"), "{log}");
}

/// A site whose log was in part there before the first start, and is left out: without its positions the whole
/// log would be left out, or come again.
fn with_history() -> (Site, Numbers) {
    let mut site = Site::new();
    let mut numbers = site.numbers("app.log");
    numbers.write(100);
    let path = site.log_path("app.log");
    site.log(json!({"path": path, "attributes": {"parser": "numbers"}}));
    site.start();
    site.until_logged("Copying started");
    for _ in 0..4 {
        numbers.write(50);
        site.until_lines("app.log", numbers.next() - 100);
        site.until_requests(1);
    }
    (site, numbers)
}

fn files_that_begin(site: &Site, begin: &str) -> Vec<String> {
    let entries = fs::read_dir(site.path("data")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(begin)).collect()
}

/// The damage that a crash or a disk does to the end of a file.
#[derive(Debug, Clone, Copy)]
enum End {
    CutInARecord,
    FollowedByNoise,
    FollowedByZeros,
    FollowedByZerosAndNoise,
}

#[test]
fn a_torn_end_of_the_journal_is_named_and_set_aside_and_costs_no_more_than_the_last_answer() {
    use End::*;
    let ends = [
        CutInARecord,
        FollowedByNoise,
        FollowedByZeros,
        FollowedByZerosAndNoise,
    ];
    all_at_once(&ends, |end| {
        let (mut site, mut numbers) = with_history();
        site.kill9();
        let path = site.path(JOURNAL);
        let mut bytes = fs::read(&path).unwrap();
        let noise = (0..1000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8 | 1);
        match end {
            CutInARecord => bytes.truncate(bytes.len() - 5),
            FollowedByNoise => bytes.extend(noise),
            FollowedByZeros => bytes.extend([0; 5000]),
            FollowedByZerosAndNoise => {
                bytes.extend([0; 700]);
                bytes.extend(noise);
            }
        }
        fs::write(&path, bytes).unwrap();
        numbers.write(50);
        site.start();
        site.expect_all_but("app.log", numbers.all(), 0..100);
        let aside = files_that_begin(&site, "positions.journal.damaged-");
        let (log, status) = (site.agent_log(), site.status_v());
        let is_damage = !matches!(end, FollowedByZeros);
        assert_eq!(aside.len(), usize::from(is_damage), "{aside:?}\n{log}");
        for text in [&log, &status] {
            assert_eq!(text.contains("it is damaged"), is_damage, "{text}");
            for name in &aside {
                assert!(text.contains(name), "{name} is not named\n{text}");
            }
        }
        // One batch of the last answer at most, with the numbers that it had
        let again = site.receiver.counts().duplicates;
        assert!(again <= 50, "{again} came again");
        // The new file is sound
        site.kill9();
        numbers.write(50);
        site.start();
        site.expect_all_but("app.log", numbers.all(), 0..100);
        site.assert_in_order("app.log");
        let aside = files_that_begin(&site, "positions.journal.damaged-");
        assert_eq!(aside.len(), usize::from(is_damage), "{aside:?}");
    });
}

#[test]
fn a_journal_deleted_while_stopped_loses_nothing_as_the_export_serves() {
    let (mut site, mut numbers) = with_history();
    site.term();
    fs::remove_file(site.path(JOURNAL)).unwrap();
    numbers.write(25);
    numbers.rotate_by_rename("app.log.1");
    numbers.write(25);
    let before = site.receiver.counts().duplicates;
    site.start();
    site.expect_all_but("app.log", numbers.all(), 0..100);
    site.assert_in_order("app.log");
    assert_eq!(site.receiver.counts().duplicates, before);
}

/// The export of the last second before the kill is all that is left.
#[test]
fn a_journal_deleted_after_a_kill_loses_nothing() {
    let mut site = Site::new();
    site.set("full_checkpoint_interval_in_seconds", 1);
    let mut numbers = site.numbers("app.log");
    numbers.write(100);
    site.copy("app.log").start();
    site.until_lines("app.log", 100);
    let export = site.path("data/checkpoints.json");
    site.until_seen("an export", || export.exists());
    numbers.write(50);
    site.expect_exactly_once("app.log", numbers.all());
    site.kill9();
    fs::remove_file(site.path(JOURNAL)).unwrap();
    numbers.write(50);
    site.start();
    site.expect_exactly_once("app.log", numbers.all());
    site.assert_in_order("app.log");
}

#[test]
fn a_deleted_journal_is_written_anew_while_the_agent_runs() {
    let (mut site, mut numbers) = with_history();
    fs::remove_file(site.path(JOURNAL)).unwrap();
    numbers.write(50);
    site.expect_all_but("app.log", numbers.all(), 0..100);
    site.until_seen("a new journal", || site.path(JOURNAL).exists());
    numbers.write(50);
    site.expect_all_but("app.log", numbers.all(), 0..100);
    site.until_requests(1);
    site.kill9();
    numbers.write(50);
    site.start();
    site.expect_all_but("app.log", numbers.all(), 0..100);
    site.assert_in_order("app.log");
}

#[test]
fn positions_that_are_to_be_ignored_are_not_taken_from_the_journal() {
    let (mut site, mut numbers) = with_history();
    let mut other = site.numbers("other.log");
    site.copy("other.log");
    site.write_config();
    other.write(40);
    site.until_lines("other.log", 40);
    site.term();
    numbers.write(50);
    other.write(20);
    site.set(
        "ignore_checkpoints_on_startup_path_globs",
        json!([site.log_path("app*")]),
    );
    site.start();
    // From the beginning, with what was left out at the first start; and only this one
    let all = numbers.all();
    let path = site.log_path("app.log").to_str().unwrap().to_owned();
    site.until("app.log from its beginning", |state| {
        let tally = state.ledger().path(&path);
        tally.is_some_and(|tally| tally.missing(all.clone()).is_empty())
    });
    site.expect_exactly_once("other.log", other.all());
}

#[test]
fn start_with_ignore_positions_sets_the_journal_aside() {
    let (mut site, mut numbers) = with_history();
    site.kill9();
    // Not copied: a first start would begin at the end
    numbers.write(50);
    site.start_with(&["--ignore-positions"]);
    site.until_logged_times("Copying started", 2);
    numbers.write(50);
    site.until_lines("app.log", 250);
    let tally = site.tally("app.log");
    assert_eq!(tally.missing(numbers.all()), [0..100, 300..350]);
    assert_eq!(
        files_that_begin(&site, "positions.journal.ignored-").len(),
        1
    );
    let status = site.status_v();
    assert!(status.contains("positions.journal.ignored-"), "{status}");
}

/// An agent that sleeps is taken for dead, and another one is started beside it. When it wakes, all that it
/// writes is its own affair.
#[test]
fn an_older_agent_that_wakes_up_changes_no_positions() {
    let (mut site, mut numbers) = with_history();
    site.freeze();
    let older = site.leave_running();
    // As an administrator does who believes it dead
    let _ = fs::remove_file(site.path("data/agent.lock"));
    let _ = fs::remove_file(site.path("log/agent.pid"));
    numbers.write(50);
    site.start();
    site.expect_all_but("app.log", numbers.all(), 0..100);
    site.until_requests(1);
    older.signal(nix::sys::signal::Signal::SIGCONT);
    numbers.write(50);
    site.until_logged("another start of the agent writes the position journal");
    drop(older);
    site.expect_all_but("app.log", numbers.all(), 0..100);
    site.until_requests(2);
    let before = site.receiver.counts().duplicates;
    site.kill9();
    numbers.write(50);
    site.start();
    site.expect_all_but("app.log", numbers.all(), 0..100);
    let again = site.receiver.counts().duplicates - before;
    assert!(again <= 50, "{again} came again");
    let log = site.agent_log();
    assert!(!log.contains("it is damaged"), "{log}");
}

fn python() -> PathBuf {
    std::env::var_os("SCALYR_TEST_PYTHON").map_or_else(|| "python3".into(), PathBuf::from)
}

/// Each agent takes up what the other one has left: over rotations while it runs and while none runs.
#[test]
#[ignore = "needs the Python agent (SCALYR_TEST_PYTHON)"]
fn each_line_arrives_once_while_this_agent_and_the_python_agent_take_turns() {
    let mut site = Site::new();
    site.set("min_request_spacing_interval", 0.1);
    site.set("disable_max_send_rate_enforcement_overrides", true);
    let names = ["renamed.log", "copied.log"];
    let mut logs = names.map(|name| site.numbers(name));
    let rotate = |numbers: &mut Numbers, to: String| match numbers.path().ends_with(names[0]) {
        true => numbers.rotate_by_rename(to),
        false => numbers.copytruncate(to),
    };
    for (numbers, name) in logs.iter_mut().zip(names) {
        numbers.write(100);
        site.copy(name);
    }
    for turn in 0..6 {
        let is_python = turn % 2 == 0;
        site.run_python(is_python.then(python).as_deref());
        site.start();
        for (numbers, name) in logs.iter_mut().zip(names) {
            site.expect_exactly_once(name, numbers.all());
            numbers.write(40);
            site.expect_exactly_once(name, numbers.all());
            rotate(numbers, format!("{name}.{}", 90 - 2 * turn));
            numbers.write(40);
            site.expect_exactly_once(name, numbers.all());
        }
        site.until_requests(3);
        site.term();
        for (numbers, name) in logs.iter_mut().zip(names) {
            numbers.write(30);
            // The Python agent does not find what was copied and truncated meanwhile
            if numbers.path().ends_with(names[0]) {
                rotate(numbers, format!("{name}.{}", 89 - 2 * turn));
                numbers.write(30);
            }
        }
    }
    site.run_python(None);
    site.start();
    for (numbers, name) in logs.iter().zip(names) {
        site.expect_exactly_once(name, numbers.all());
        site.assert_in_order(name);
    }
}

/// It is killed before its first export is due, and before a server has answered.
#[test]
fn an_early_kill_leaves_the_python_agent_where_each_file_began() {
    let mut site = Site::new();
    let numbers = {
        let mut numbers = site.numbers("app.log");
        numbers.write(100);
        numbers
    };
    let end = fs::metadata(numbers.path()).unwrap().len();
    site.log(json!({"path": numbers.path()}));
    site.receiver.fault(Fault::silence().until_cleared());
    site.start();
    let export = site.path("data/checkpoints.json");
    site.until_seen("an export", || export.exists());
    site.kill9();
    let export: Value = serde_json::from_slice(&fs::read(export).unwrap()).unwrap();
    let entry = &export["checkpoints"][numbers.path().to_str().unwrap()];
    assert_eq!(
        entry["pending_files"][0]["position_start"],
        -(end as i64),
        "{export:#}"
    );
}

/// Bytes of a compressed file are no offset in a plain one.
#[test]
fn the_position_of_an_archive_is_not_given_to_the_python_agent_as_a_plain_files() {
    let (mut site, mut numbers) = with_history();
    site.leave(common::Agent::ServerAway);
    numbers.write(20);
    numbers.rename("app.log.1");
    let old = site.log_path("app.log.1");
    let number = fs::metadata(&old).unwrap().ino();
    gzip(&old, &site.log_path("app.log.1.gz"));
    fs::remove_file(&old).unwrap();
    numbers.reopen();
    numbers.write(50);
    site.until_requests(1);
    let archive = fs::metadata(site.log_path("app.log.1.gz")).unwrap().ino();
    site.term();
    let text = fs::read(site.path("data/checkpoints.json")).unwrap();
    let export: Value = serde_json::from_slice(&text).unwrap();
    let path = site.log_path("app.log").to_str().unwrap().to_owned();
    let entry = &export["checkpoints"][&path];
    let pending = entry["pending_files"].as_array().expect("an entry");
    let now = fs::metadata(numbers.path()).unwrap().ino();
    for file in pending {
        assert_ne!(file["inode"], archive, "{export:#}");
        assert!(
            file["inode"] == now || file["inode"] == number,
            "{export:#}"
        );
    }
    // And this agent has all of it
    site.receiver.clear_faults();
    site.start();
    site.expect_all_but("app.log", numbers.all(), 0..100);
}

/// The files that a version without a journal left behind when it was killed: all 120 lines of `app.log.1` and the first 30
/// of `app.log` are delivered. `app.log` was rotated and written to since.
#[test]
fn checkpoint_files_of_a_version_without_a_journal_are_taken_over_once() {
    let mut site = Site::new();
    let mut numbers = site.numbers("app.log");
    numbers.write(120);
    numbers.rotate_by_rename("app.log.1");
    numbers.write(30);
    let delivered = fs::metadata(numbers.path()).unwrap().len();
    let names = [
        "active-checkpoints-worker-default-0.json",
        "checkpoints-worker-default-0.json",
    ];
    let (new, old) = (site.log_path("app.log"), site.log_path("app.log.1"));
    let hex = |byte: &u8| format!("{byte:02x}");
    let hex_of_old: String = old.to_str().unwrap().as_bytes().iter().map(hex).collect();
    for name in names {
        let template = Path::new("tests/journal").join(name);
        let mut text = fs::read_to_string(template).unwrap();
        text = text.replace("@LOG@", new.to_str().unwrap());
        text = text.replace("@NAME@", &hex_of_old);
        for (path, mark) in [(&new, ""), (&old, ".1")] {
            let meta = fs::metadata(path).unwrap();
            let born = meta.created().unwrap().duration_since(UNIX_EPOCH);
            text = text.replace("@DEVICE@", &meta.dev().to_string());
            text = text.replace(&format!("@INODE{mark}@"), &meta.ino().to_string());
            let born = born.unwrap().as_nanos().to_string();
            text = text.replace(&format!("@BORN{mark}@"), &born);
        }
        fs::write(site.path("data").join(name), text).unwrap();
    }
    numbers.write(20);
    fs::rename(&old, site.log_path("app.log.2")).unwrap();
    numbers.rotate_by_rename("app.log.1");
    numbers.write(20);
    site.copy("app.log").start();
    site.expect_all_but("app.log", numbers.all(), 0..150);
    site.assert_in_order("app.log");
    // Under the numbers that the old version would have given them, should it have sent them before it was killed
    let events = site.receiver.events();
    let sequence = events[0].si.as_deref().unwrap();
    assert_eq!(sequence, "f80055b0-7e3d-4727-9480-2bcd726196ef");
    assert!(events[0].sn.unwrap() > delivered && events[0].sn.unwrap() < delivered + 200);
    for name in names {
        assert!(!site.path("data").join(name).exists(), "{name} is left");
    }
    // From now on the journal counts
    site.kill9();
    numbers.write(20);
    site.start();
    site.expect_all_but("app.log", numbers.all(), 0..150);
    let log = site.agent_log();
    assert!(!log.contains("damaged"), "{log}");
}
