use super::*;
use crate::emitter::captured::stoppable;
use crate::testing::make;
use common::limit::WriteLimit;
use common::testing::Scratch;
use serde_json::{json, Value as Json};
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

const BOOT: &str = "958b7e26df4c453aa0f9a8406cb508f2";
/// Nothing here takes longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A host with a journal that a script plays, and the agent's directories.
struct Host {
    scratch: Scratch,
    place: Place,
}

impl Host {
    fn new(name: &str) -> Self {
        let scratch = Scratch::new(name);
        for dir in ["journal", "agent", "root/proc/sys/kernel/random"] {
            fs::create_dir_all(scratch.path(dir)).unwrap();
        }
        let boot = "958b7e26-df4c-453a-a0f9-a8406cb508f2\n";
        fs::write(scratch.path("root/proc/sys/kernel/random/boot_id"), boot).unwrap();
        Host {
            place: Place::new(scratch.path("root"), scratch.path("agent")),
            scratch,
        }
    }

    fn entry(&self, more: Json) -> Json {
        let program =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/journald/journalctl");
        let mut entry = json!({
            "id": "j1",
            "journal_path": self.journal("").to_str().unwrap().trim_end_matches('/'),
            "journal_poll_interval": 0.1,
            "journalctl_path": program.to_str().unwrap(),
        });
        let all = entry.as_object_mut().unwrap();
        all.extend(more.as_object().unwrap().clone());
        entry
    }

    fn journal(&self, name: &str) -> PathBuf {
        self.scratch.path("journal").join(name)
    }

    /// Sets the output of the n-th journalctl at its start.
    fn plays(&self, n: usize, text: &str) {
        fs::write(self.journal(&format!("out.{n}")), text).unwrap();
    }

    /// Sets the complaints and the exit status of the n-th journalctl.
    fn ends(&self, n: usize, said: &str, status: i32) {
        fs::write(self.journal(&format!("said.{n}")), said).unwrap();
        fs::write(self.journal(&format!("exit.{n}")), status.to_string()).unwrap();
        // The complaints are read before it ends.
        fs::write(self.journal(&format!("slow.{n}")), "").unwrap();
    }

    /// The cursors that are remembered now.
    fn checkpoint(&self) -> String {
        let streams = ["journald j1", "journald j1, not synced"];
        let cursors = streams.map(|stream| self.place.cursors.get(stream).unwrap_or_default());
        String::from_utf8(cursors.concat()).unwrap()
    }

    /// The file for other agents.
    fn exported(&self) -> String {
        let path = self.scratch.path("agent/journald-checkpoints.json");
        fs::read_to_string(path).unwrap_or_default()
    }

    fn save(&self, cursor: &str) {
        let path = self.scratch.path("agent/journald-checkpoints.json");
        fs::write(path, json!({"j1": cursor}).to_string()).unwrap();
    }

    /// How journalctl was called each time.
    fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.journal("calls")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// The messages in the common log.
    fn messages(&self) -> Vec<String> {
        let path = self.scratch.path("agent/journald_monitor.log");
        let text = fs::read_to_string(path).unwrap_or_default();
        let message = |line: &str| {
            let (_, rest) = line.split_once("[journald_monitor()] details \"").unwrap();
            rest.split('"').next().unwrap().to_owned()
        };
        text.lines().map(message).collect()
    }

    /// No process that played journalctl is left, but perhaps one that is being reaped.
    fn nothing_is_left(&self) {
        let pid = fs::read_to_string(self.journal("pid")).unwrap();
        let lives = || {
            let text = fs::read_to_string(format!("/proc/{}/cmdline", pid.trim()));
            text.is_ok_and(|text| text.contains("journal-") || text.contains("damaged"))
        };
        let deadline = Instant::now() + PATIENCE;
        while lives() {
            assert!(Instant::now() < deadline, "{pid} is still there");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Runs the monitor until `done`, and then stops it.
    fn run(&self, more: Json, done: impl Fn() -> bool) -> Result<(), Error> {
        let mut monitor = make(&DESCRIPTION, &self.entry(more), &self.place).unwrap();
        let (mut out, _, stopper) = stoppable("journald_monitor(j1)", WriteLimit::none(), &[]);
        let thread = std::thread::spawn(move || monitor.gather(&mut out));
        let deadline = Instant::now() + PATIENCE;
        while !done() && !thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        let finished = thread.is_finished();
        assert!(
            finished || done(),
            "{:?} {}",
            self.messages(),
            self.checkpoint()
        );
        drop(stopper);
        let stopping = Instant::now();
        let result = thread.join().unwrap();
        assert!(stopping.elapsed() < PATIENCE, "slow to stop");
        result
    }
}

/// The cursor of an entry that is so many seconds old.
fn cursor(n: u64, age: u64) -> String {
    static NOW: OnceLock<u64> = OnceLock::new();
    let now = NOW.get_or_init(|| stamp::now_ms() / 1000);
    let micros = (now - age) * 1_000_000;
    format!("s=abc;i={n:x};b={BOOT};m={n:x};t={micros:x};x={n:x}")
}

fn entry(cursor: &str, message: &str) -> String {
    format!("__CURSOR={cursor}\n__REALTIME_TIMESTAMP=5\n__MONOTONIC_TIMESTAMP=5\n_BOOT_ID={BOOT}\n_SYSTEMD_UNIT=a.service\nMESSAGE={message}\n\n")
}

#[test]
fn reading_goes_on_behind_the_last_entry_after_a_restart() {
    let host = Host::new("journal-goes-on");
    let cursors: Vec<String> = (0..5).map(|n| cursor(n, 60)).collect();
    let e = |n: usize| entry(&cursors[n], &format!("m{n}"));
    host.save(&cursors[0]);
    host.plays(1, &(e(0) + &e(1)));
    host.run(json!({}), || host.checkpoint().contains(&cursors[1]))
        .unwrap();
    assert_eq!(host.messages(), ["m1"]);
    // The next one finds that the entry is no longer there: none is passed over in its place.
    host.plays(2, &(e(2) + &e(3)));
    host.run(json!({}), || host.checkpoint().contains(&cursors[3]))
        .unwrap();
    assert_eq!(host.messages(), ["m1", "m2", "m3"]);
    assert_eq!(host.exported(), json!({"j1": cursors[3]}).to_string());
    let calls = host.calls();
    for (call, from) in calls.iter().zip([&cursors[0], &cursors[1]]) {
        assert!(call.contains(&format!(" --cursor={from} ")), "{call}");
        assert!(
            call.contains(" --no-tail ") && !call.contains("--lines"),
            "{call}"
        );
        assert!(call.ends_with(&format!(" _BOOT_ID={BOOT}")), "{call}");
        assert!(
            call.contains("--output-fields=_BOOT_ID,MESSAGE,_SYSTEMD_UNIT,_PID,"),
            "{call}"
        );
    }
    assert_eq!(calls.len(), 2);
}

#[test]
fn without_a_place_reading_begins_with_new_entries_and_the_place_is_known_at_once() {
    let host = Host::new("journal-end");
    // It was there before: its moment on the monotonic clock is long past.
    host.plays(1, &entry(&cursor(7, 60), "old"));
    let entry = json!({"journal_matches": ["_UID=0"]});
    host.run(entry, || !host.checkpoint().is_empty()).unwrap();
    assert_eq!(host.messages(), [""; 0]);
    assert!(host.checkpoint().contains("i=7;"), "{}", host.checkpoint());
    let call = &host.calls()[0];
    assert!(
        call.contains(" --lines=1 ") && !call.contains("--cursor"),
        "{call}"
    );
    assert!(call.ends_with(" _UID=0"), "{call}");
}

#[test]
fn the_first_entry_of_an_empty_journal_is_not_taken_for_an_old_one() {
    let host = Host::new("journal-empty");
    let new = entry(&cursor(1, 0), "new").replace(
        "MONOTONIC_TIMESTAMP=5",
        &format!("MONOTONIC_TIMESTAMP={}", u64::MAX),
    );
    host.plays(1, &new);
    host.run(json!({}), || !host.checkpoint().is_empty())
        .unwrap();
    assert_eq!(host.messages(), ["new"]);
}

#[test]
fn a_place_that_is_too_old_or_unknown_is_given_up() {
    for (name, saved, said) in [
        ("stale", cursor(1, 700), None),
        ("no-time", "s=abc;i=3c".to_owned(), None),
        (
            "unknown",
            cursor(1, 5),
            Some("Failed to seek to cursor: Invalid argument"),
        ),
    ] {
        let host = Host::new(&format!("journal-{name}"));
        host.save(&saved);
        let mut call = 0;
        if let Some(said) = said {
            host.ends(1, said, 1);
            call = 1;
        }
        host.plays(
            call + 1,
            &(entry(&cursor(8, 1), "old") + &entry(&cursor(9, 0), "new")),
        );
        host.run(json!({}), || host.checkpoint().contains("i=9;"))
            .unwrap();
        assert_eq!(host.messages(), ["new"], "{name}");
        assert!(host.calls()[call].contains("--lines=1"), "{name}");
    }
}

#[test]
fn a_journalctl_that_dies_is_reported_and_nothing_is_lost() {
    let host = Host::new("journal-dies");
    let e = |n: u64| entry(&cursor(n, 0), &format!("m{n}"));
    host.save(&cursor(0, 0));
    host.plays(1, &(e(1) + &e(2) + "MESSAGE=half an en"));
    host.ends(1, "Assertion failed\nAborting.\n", 4);
    host.plays(2, &(e(2) + &e(3)));
    let mut monitor = make(&DESCRIPTION, &host.entry(json!({})), &host.place).unwrap();
    let (mut out, _, stopper) = stoppable("journald_monitor(j1)", WriteLimit::none(), &[]);
    let error = monitor.gather(&mut out).unwrap_err().to_string();
    assert!(
        error.ends_with("journalctl ended (exit status: 4): Assertion failed; Aborting. It is started again where it stopped."),
        "{error}"
    );
    assert!(host.checkpoint().contains("i=2;"));
    let thread = std::thread::spawn(move || monitor.gather(&mut out));
    let deadline = Instant::now() + PATIENCE;
    while host.messages().len() < 3 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(stopper);
    thread.join().unwrap().unwrap();
    assert_eq!(host.messages(), ["m1", "m2", "m3"]);
}

#[test]
fn what_comes_while_it_runs_is_taken_and_the_end_leaves_no_process_behind() {
    let host = Host::new("journal-follow");
    host.save(&cursor(0, 0));
    let add = |n: u64| {
        let more = host.journal("more");
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(more)
            .unwrap();
        file.write_all(entry(&cursor(n, 0), &format!("m{n}")).as_bytes())
            .unwrap();
    };
    add(1);
    let mut added = 1;
    let steps = std::cell::RefCell::new(&mut added);
    host.run(json!({}), || {
        let mut added = steps.borrow_mut();
        if host.messages().len() as u64 == **added && **added < 5 {
            **added += 1;
            add(**added);
        }
        host.checkpoint().contains("i=5;")
    })
    .unwrap();
    assert_eq!(host.messages(), ["m1", "m2", "m3", "m4", "m5"]);
    host.nothing_is_left();
    assert_eq!(host.calls().len(), 1);
}

#[test]
fn a_wrapper_of_journalctl_is_ended_with_what_it_runs() {
    let host = Host::new("journal-wrapped");
    host.save(&cursor(0, 0));
    host.plays(1, &entry(&cursor(1, 0), "m1"));
    fs::write(host.journal("wrapped.1"), "").unwrap();
    host.run(json!({}), || {
        host.checkpoint().contains("i=1;") && host.journal("ready").exists()
    })
    .unwrap();
    host.nothing_is_left();
}

#[test]
fn a_journalctl_that_complains_for_ever_neither_delays_the_stop_nor_fills_agent_log() {
    let host = Host::new("journal-flood");
    host.save(&cursor(0, 0));
    host.plays(1, &(entry(&cursor(1, 0), "m1") + "MESSAGE=half"));
    fs::write(host.journal("flood.1"), "").unwrap();
    host.run(json!({}), || host.checkpoint().contains("i=1;"))
        .unwrap();
    assert_eq!(host.messages(), ["m1"]);
    host.nothing_is_left();
}

#[test]
fn an_old_journalctl_is_asked_in_its_own_way() {
    let host = Host::new("journal-old");
    host.save(&cursor(0, 0));
    host.ends(
        1,
        "journalctl: unrecognized option '--output-fields=MESSAGE'",
        1,
    );
    host.plays(
        2,
        &(entry(&cursor(0, 0), "old") + "COREDUMP=no\n" + &entry(&cursor(1, 0), "new")),
    );
    host.run(json!({}), || host.checkpoint().contains("i=1;"))
        .unwrap();
    assert!(host.messages().contains(&"new".to_owned()));
    assert!(!host.calls()[1].contains("--output-fields"));
}

#[test]
fn entries_wait_in_the_journal_while_they_cannot_be_written() {
    let host = Host::new("journal-waits");
    let blocked = host.scratch.path("agent/journald_monitor.log");
    fs::create_dir(&blocked).unwrap();
    host.save(&cursor(0, 0));
    let padding = "x".repeat(900);
    let mut text = String::new();
    for n in 1..=2000 {
        text.push_str(&entry(&cursor(n, 0), &format!("m{n} {padding}")));
    }
    host.plays(1, &text);
    let unblocked = std::cell::Cell::new(false);
    host.run(json!({}), || {
        if !unblocked.get() && !host.calls().is_empty() {
            assert!(
                host.checkpoint().contains("i=0;"),
                "saved before it was written"
            );
            fs::remove_dir(&blocked).unwrap();
            unblocked.set(true);
        }
        host.checkpoint().contains("i=7d0;")
    })
    .unwrap();
    let messages = host.messages();
    assert_eq!(messages.len(), 2000);
    for (n, message) in messages.iter().enumerate() {
        assert!(
            message.starts_with(&format!("m{} ", n + 1)),
            "{n}: {message}"
        );
    }
}

#[test]
fn where_the_journal_cannot_be_read_the_error_says_what_to_do() {
    let host = Host::new("journal-none");
    let error = host.run(json!({"journalctl_path": "no-such-journalctl"}), || false);
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("no-such-journalctl cannot be started: "),
        "{error}"
    );
    assert!(error.contains("part of systemd"), "{error}");
    let error = host.run(json!({"journal_path": "/nowhere/journal"}), || false);
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("journal_path /nowhere/journal: No such file"),
        "{error}"
    );
    // Something else than a journal is refused, however much it writes.
    host.plays(1, &"<html>\n".repeat(100_000));
    let error = host.run(json!({}), || false).unwrap_err().to_string();
    assert!(
        error.contains("does not write the export format"),
        "{error}"
    );
    assert_eq!(host.messages(), [""; 0]);
}

#[test]
fn a_wrong_entry_is_refused_with_the_option() {
    let host = Host::new("journal-wrong");
    for (option, value) in [
        ("journal_matches", json!(["_UID"])),
        ("journal_matches", json!(["--root=/"])),
        ("journal_matches", json!(["=5"])),
        ("journal_fields", json!({"_PID": 5})),
        ("journal_fields", json!({"A,B": "c"})),
        ("journal_poll_interval", json!("soon")),
    ] {
        let entry = host.entry(json!({ option: value }));
        let error = make(&DESCRIPTION, &entry, &host.place)
            .map(|_| ())
            .unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with(&format!("Field \"{option}\": ")), "{text}");
    }
}

/// Makes a journal of such entries with the tool that receives journals from other hosts.
fn real_journal(host: &Host, text: &str) {
    let export = host.scratch.path("export");
    fs::write(&export, text).unwrap();
    let output = host.journal("a.journal");
    let made = Command::new("/lib/systemd/systemd-journal-remote")
        .arg("-o")
        .args([output, export])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
}

#[test]
#[ignore = "needs journalctl and systemd-journal-remote"]
fn a_real_journal_is_read_from_its_cursor_on() {
    let host = Host::new("journal-real");
    let now = stamp::now_ms() * 1000;
    let text: String = (0..100)
        .map(|n| {
            let time = now - (100 - n) * 1000;
            let boot = if n < 50 { BOOT.replace('9', "8") } else { BOOT.to_owned() };
            let message = if n == 70 {
                let mut binary = "MESSAGE\n".to_owned();
                binary.push_str("\x09\0\0\0\0\0\0\0two\nlines\n");
                binary
            } else {
                format!("MESSAGE=m{n}\n")
            };
            format!("__CURSOR=s=0639e1f4b4a84e8f8ad3a9ab0e1b7f7f;i={n:x};b={boot};m={n:x};t={time:x};x={n:x}\n__REALTIME_TIMESTAMP={time}\n__MONOTONIC_TIMESTAMP={}\n_BOOT_ID={boot}\n_SYSTEMD_UNIT=u{}.service\n_PID={n}\n{message}\n", n + 1, n % 2)
        })
        .collect();
    real_journal(&host, &text);
    let real = |more: Json| {
        let mut entry = json!({"journalctl_path": "journalctl"});
        entry
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        entry
    };
    // A cursor of the real thing.
    let journal = host.journal("");
    let shown = Command::new("journalctl")
        .args(["--merge", "--output=export", "--lines=45", "-D"])
        .arg(&journal)
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    let first = shown
        .lines()
        .next()
        .unwrap()
        .strip_prefix("__CURSOR=")
        .unwrap();
    host.save(first);
    let last = || host.checkpoint().contains(";m=64;");
    host.run(real(json!({})), last).unwrap();
    let mut expected: Vec<String> = (56..100).map(|n| format!("m{n}")).collect();
    expected[14] = "two\\nlines".to_owned();
    assert_eq!(host.messages(), expected);
    // Once more: nothing is new. (Its end is awaited by the checkpoint being written anew.)
    let log = host.scratch.path("agent/journald_monitor.log");
    fs::remove_file(&log).unwrap();
    host.run(
        real(json!({"journal_matches": ["_SYSTEMD_UNIT=u0.service"]})),
        || true,
    )
    .unwrap();
    assert_eq!(host.messages(), [""; 0]);
    // With what was before the last boot, one unit's entries only.
    let shown = Command::new("journalctl")
        .args(["--merge", "--output=export", "--lines=100", "-D"])
        .arg(&journal)
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    host.save(
        shown
            .lines()
            .next()
            .unwrap()
            .strip_prefix("__CURSOR=")
            .unwrap(),
    );
    let more = json!({"journal_matches": ["_SYSTEMD_UNIT=u1.service"], "previous_boots": true});
    // The cursor of the run before is that of the last entry too
    host.run(real(more), || host.messages().len() >= 50)
        .unwrap();
    let expected: Vec<String> = (0..50).map(|n| format!("m{}", 2 * n + 1)).collect();
    assert_eq!(host.messages(), expected);
}

#[test]
#[ignore = "needs journalctl"]
fn a_real_journalctl_waits_for_a_journal_that_is_still_empty() {
    let host = Host::new("journal-real-empty");
    let began = Instant::now();
    let entry = json!({"journalctl_path": "journalctl"});
    host.run(entry, || began.elapsed() > Duration::from_secs(2))
        .unwrap();
    assert_eq!(host.messages(), [""; 0]);
}
