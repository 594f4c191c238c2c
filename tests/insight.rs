//! `dry-run` and `explain`: what they say is what the agent does, and they leave no trace.

mod common;

use common::{append, Said, Site};
use serde_json::{json, Value};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// The events that `dry-run` printed.
fn events(said: &Said) -> Vec<Value> {
    let lines = said.out.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect()
}

fn messages(said: &Said) -> Vec<String> {
    let text = |event: &Value| event["message"].as_str().unwrap().to_owned();
    events(said).iter().map(text).collect()
}

/// The receiver's events of a log from the `skip`th on, in the form of `dry-run`. Times are those of
/// the line or null.
fn sent(site: &Site, name: &str, skip: usize, with_time: bool) -> Vec<Value> {
    let path = site.log_path(name).to_str().unwrap().to_owned();
    site.receiver.with(|state| {
        let of_log = state.events().filter(|event| *event.path == *path);
        let mut all = Vec::new();
        for event in of_log {
            let mut value = json!({
                "path": path,
                "logfile": event.attrs["logfile"],
                "ts": event.ts.filter(|_| with_time).map(|ts| ts.to_string()),
                "attrs": Value::Object((*event.attrs).clone()),
                "message": event.text(),
                "sequence_number": event.sn,
            });
            if let Some(rate) = event.sample_rate {
                value["sample_rate"] = json!(rate);
            }
            all.push(value);
        }
        all.split_off(skip.min(all.len()))
    })
}

#[track_caller]
fn assert_same(said: &Said, sent: &[Value]) {
    let planned = events(said);
    for (at, (a, b)) in planned.iter().zip(sent).enumerate() {
        assert_eq!(a, b, "event {at}");
    }
    assert_eq!(planned.len(), sent.len(), "{}", said.err);
}

/// Every file and folder of the agent, with what a change would show in.
fn tree(site: &Site) -> BTreeMap<PathBuf, (u64, u64, i64, i64, Vec<u8>)> {
    let mut all = BTreeMap::new();
    let mut folders: Vec<PathBuf> = ["conf", "data", "log", "logs"].map(|d| site.path(d)).into();
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path());
        for path in entries.chain([folder.clone()]) {
            let meta = fs::symlink_metadata(&path).unwrap();
            if meta.is_dir() && path != folder {
                folders.push(path);
                continue;
            }
            let content = fs::read(&path).unwrap_or_default();
            let changed = (meta.mtime(), meta.mtime_nsec());
            all.insert(
                path,
                (meta.ino(), meta.len(), changed.0, changed.1, content),
            );
        }
    }
    all
}

fn shaped_entry(site: &Site, pattern: &str) -> Value {
    json!({
        "path": site.log_path(pattern),
        "copy_from_start": true,
        "attributes": {"parser": "p", "tier": "web", "n": 7},
        "lineGroupers": [{"start": "^\\S", "continueThrough": "^\\s"}],
        "redaction_rules": [
            {"match_expression": "password=(\\S+)", "replacement": "password=\\H1", "hash_salt": "s"},
            {"match_expression": "secret", "replacement": ""},
        ],
    })
}

fn stacks(count: u32) -> String {
    let one = |n: u32| {
        format!(
            "{n} Error password=p{}\n  at a{n}\n\tat b\nplain {n}\n",
            n % 7
        )
    };
    (0..count).map(one).collect()
}

#[test]
fn dry_run_prints_what_the_agent_then_sends() {
    let mut site = Site::new();
    site.set("max_line_size", 2_000)
        .set("line_completion_wait_time", 0.2);
    let shaped = shaped_entry(&site, "shaped*.log");
    site.log(shaped);
    site.log(json!({
        "path": site.log_path("docker.json"), "copy_from_start": true, "parse_format": "json",
        "rename_logfile": "/containers/$BASENAME_NO_EXT", "attributes": {"stream": "none"},
    }));
    site.copy("*.log");
    let mut shaped = stacks(5_000).into_bytes();
    shaped.extend(b"bad \xff\xfe bytes secret\n");
    shaped.extend("x".repeat(9_000).as_bytes());
    shaped.extend(b"\n\n\r\nlast without its end");
    site.append("shaped.log", &shaped);
    let mut plain = b"one\r\n\n\0nul\xc3\n".to_vec();
    plain.extend("long ".repeat(40_000).as_bytes());
    plain.extend(b"\nand ");
    plain.extend("y".repeat(2_000 * 3 - 4).as_bytes());
    site.append("plain.log", &plain);
    site.append(
        "docker.json",
        concat!(
            r#"{"log":"a b\n","time":"2024-01-02T03:04:05.123456789Z","stream":"stdout"}"#,
            "\n",
            r#"{"log":"cut ","time":"2024-01-02T03:04:06Z","k":{"x":[1]}}"#,
            "\n",
            r#"{"log":"in two\n","time":"2024-01-02T03:04:07Z"}"#,
            "\nnot json\n",
        ),
    );
    site.write_config();
    let run = |name: &str| {
        let path = site.log_path(name);
        site.run(&["dry-run", path.to_str().unwrap()])
    };
    let planned = ["shaped.log", "plain.log", "docker.json"].map(run);
    for said in &planned {
        assert_eq!(said.code, 0, "{}", said.err);
    }
    let summary =
        "20006 lines (260714 bytes) read, 10001 joined to the line before, 0 sampled out, \
                   5001 redacted, 1 cut; 10008 events (410712 bytes)";
    assert!(planned[0].err.contains(summary), "{}", planned[0].err);
    site.start();
    for (name, said) in ["shaped.log", "plain.log", "docker.json"]
        .iter()
        .zip(&planned)
    {
        let wanted = events(said).len() as u64;
        site.until_lines(name, wanted);
        let mut really = sent(&site, name, 0, false);
        if *name == "docker.json" {
            // The lines that have a time of their own
            let timed = sent(&site, name, 0, true);
            really[..timed.len() - 1].clone_from_slice(&timed[..timed.len() - 1]);
        }
        assert_same(said, &really);
    }
    site.term();
}

#[test]
fn dry_run_from_the_checkpoint_is_what_a_restart_sends_rotation_and_sampling_included() {
    let mut site = Site::new();
    let mut entry = shaped_entry(&site, "app.log");
    entry["sampling_rules"] = json!([{"match_expression": "plain", "sampling_rate": 0.3}]);
    site.set("line_completion_wait_time", 0.3)
        .log(entry)
        .start();
    site.append("app.log", stacks(50));
    site.append("app.log", "end of the first part\n");
    let has_end = |event: &receiver::Event| event.text().starts_with("end of");
    site.until("the first part", |state| state.events().any(has_end));
    site.term();
    let before = sent(&site, "app.log", 0, false).len();

    site.append("app.log", stacks(300));
    fs::rename(site.log_path("app.log"), site.log_path("app.log.1")).unwrap();
    site.append("app.log", "0 new file\n");
    let trees = tree(&site);
    let path = site.log_path("app.log");
    let path = path.to_str().unwrap();
    let planned = site.run(&["dry-run", "--from-checkpoint", path]);
    assert_eq!(planned.code, 0, "{}", planned.err);
    let again = site.run(&["dry-run", "--from-checkpoint", path]);
    assert_eq!(planned.out, again.out);
    let whole = site.run(&["dry-run", path]);
    assert_eq!(messages(&whole), ["0 new file\n"]);
    let told = site.run(&["explain", path]);
    assert!(
        told.out.contains("replaced: the path shows another file"),
        "{}",
        told.out
    );
    assert!(told.out.contains("app.log.1, inode"), "{}", told.out);
    assert_eq!(trees, tree(&site), "something was written");

    site.start();
    let wanted = (before + events(&planned).len()) as u64;
    site.until_lines("app.log", wanted);
    site.term();
    assert_same(&planned, &sent(&site, "app.log", before, false));
    let rest = site.run(&["dry-run", "--from-checkpoint", path]);
    assert_eq!((rest.code, rest.out.as_str()), (0, ""));
}

#[test]
fn looking_on_does_not_disturb_a_running_agent() {
    let mut site = Site::new();
    site.copy("*.log").start();
    let mut numbers = site.numbers("app.log");
    let path = site.log_path("app.log");
    let path = path.to_str().unwrap();
    for _ in 0..5 {
        numbers.write(200);
        for args in [
            &["dry-run", path][..],
            &["dry-run", "--from-checkpoint", path],
            &["explain", path],
        ] {
            let said = site.run(args);
            assert_eq!(said.code, 0, "{said:?}");
        }
    }
    let said = site.run(&["explain", path]);
    assert!(said.out.contains("An agent is running"), "{}", said.out);
    site.expect_exactly_once("app.log", 0..1_000);
    site.term();
}

#[test]
fn a_file_that_no_entry_copies_is_told_why_and_fails_and_the_others_are_printed() {
    let mut site = Site::new();
    let entry = json!({"path": site.log_path("*.log"), "exclude": ["*debug*"]});
    site.log(entry);
    site.append("app.log", "a\n");
    site.append("app-debug.log", "b\n");
    site.append("notes.txt", "c\n");
    site.write_config();
    let path = |name: &str| site.log_path(name).to_str().unwrap().to_owned();
    let said = site.run(&[
        "dry-run",
        &path("app-debug.log"),
        &path("app.log"),
        &path("notes.txt"),
        &path("missing.log"),
    ]);
    assert_eq!(said.code, 1);
    assert_eq!(messages(&said), ["a\n"]);
    for part in [
        "app-debug.log: no entry copies it",
        "left out by exclude[0], `*debug*`",
        "`notes.txt` does not match `*.log`",
        "missing.log: No such file",
        "app.log: 1 line (2 bytes) read",
    ] {
        assert!(said.err.contains(part), "{part}: {}", said.err);
    }
    assert_eq!(site.run(&["explain", &path("notes.txt")]).code, 1);
}

#[test]
fn each_worker_that_copies_a_file_is_shown() {
    let mut site = Site::new();
    site.set(
        "workers",
        json!([{"id": "other", "api_key": "k2", "sessions": 3}]),
    );
    site.copy("a.log");
    let entry = json!({
        "path": site.log_path("*.log"), "worker_id": "other", "copy_from_start": true,
        "redaction_rules": [{"match_expression": "x", "replacement": "y"}],
    });
    site.log(entry);
    site.append("a.log", "x\n");
    site.write_config();
    let path = site.log_path("a.log");
    let path = path.to_str().unwrap();
    for args in [
        &["dry-run", path][..],
        &["dry-run", "--from-checkpoint", path],
    ] {
        let said = site.run(args);
        assert_eq!(messages(&said), ["x\n", "y\n"], "{}", said.err);
        assert_eq!(events(&said)[1]["worker"], "other");
        assert!(
            said.err.contains("a.log (worker other): 1 line "),
            "{}",
            said.err
        );
    }
    let said = site.run(&["explain", path]);
    for part in [
        "Sent by session default-0",
        "Sent by session other-",
        "one of 3 of its worker",
    ] {
        assert!(said.out.contains(part), "{part}: {}", said.out);
    }
}

/// A checkpoint of one content of a log, as the Python agent writes it.
fn write_checkpoint(site: &Site, log: &Path, ino: u64, position: u64, size: u64) {
    let checkpoint = json!({
        "time": 1_700_000_000.0,
        "checkpoints": {log.to_str().unwrap(): {
            "time": 1_700_000_000.0, "position": 0,
            "pending_files": [{
                "position_start": -(position as i64),
                "position_end": size as i64 - position as i64,
                "last_known_size": size, "is_log_file": true, "inode": ino,
                "committed": position,
                // FNV-1a of the first bytes and of those before the position
                "signature": format!("{}:{:x}", 4, fnv(b"one\n")),
                "mark": format!("{:x}", fnv(b"one\n")),
            }],
        }},
    });
    fs::write(site.path("data/checkpoints.json"), checkpoint.to_string()).unwrap();
}

fn fnv(bytes: &[u8]) -> u64 {
    let step = |h: u64, b: &u8| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01B3);
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, step)
}

#[test]
fn explain_in_full() {
    let site = Site::new();
    let log = site.log_path("app.log");
    append(&log, b"one\ntwo\nthree\n");
    append(&site.log_path("app.log.1"), b"old\n");
    append(&site.log_path("app.log.old"), b"old\n");
    let time = UNIX_EPOCH + Duration::from_secs(1_700_000_100);
    File::options()
        .append(true)
        .open(&log)
        .unwrap()
        .set_modified(time)
        .unwrap();
    let meta = fs::metadata(&log).unwrap();
    write_checkpoint(&site, &log, meta.ino(), 4, 8);
    let root = site.path("");
    let root = root.to_str().unwrap().trim_end_matches('/').to_owned();
    site.write_config_text(
        &r#"{
  api_key: "k", agent_data_path: "ROOT/data", agent_log_path: "ROOT/log",
  implicit_metric_monitor: false, implicit_agent_process_metrics_monitor: false,
  implicit_agent_log_collection: false,
  logs: [
    { path: "ROOT/logs/*.txt" },
    { path: "ROOT/**/app*", exclude: ["*.gz", "*/app.log"] },
    { path: "ROOT/logs/app*", attributes: { parser: "p" },
      rename_logfile: "/x/$BASENAME",
      lineGroupers: [ { start: "^a", haltWith: "b$" } ],
      sampling_rules: [ { match_expression: "noise", sampling_rate: 0.25 } ],
      redaction_rules: [ { match_expression: "(k)=\\d+", replacement: "\\1=" } ] },
    { path: "ROOT/logs/app.log", attributes: { tier: 1 } }
  ]
}"#
        .replace("ROOT", &root),
    );
    let said = site.run(&["explain", log.to_str().unwrap()]);
    let golden = r#"ROOT/logs/app.log: copied by entry 3, ROOT/logs/app*; 10 bytes would be sent

The file
  a regular file of 14 bytes, last written Tue Nov 14 22:15:00 2023 UTC
  device DEV, inode INO, signature HASH of the first 14 bytes

Entries
  1. ROOT/logs/*.txt (ROOT/conf/agent.json, line 6, column 5)
     does not match: `app.log` does not match `*.txt`
  2. ROOT/**/app* (ROOT/conf/agent.json, line 7, column 5)
     matches, but is left out by exclude[1], `*/app.log`
  3. ROOT/logs/app* (ROOT/conf/agent.json, line 8, column 5)
     matches: it is copied by this entry
  4. ROOT/logs/app.log (ROOT/conf/agent.json, line 13, column 5)
     matches, but entry 3 comes first; attributes that it lacks are added

Sent by session default-0
  as /x/app.log
  with the attributes
     parser: "p"
     tier: 1
     logfile: "/x/app.log"
     original_file: "ROOT/logs/app.log"

Rules
  lineGroupers[0]: start `^a`, haltWith `b$`
  sampling_rules[0]: of `noise` 0.25 are sent
  redaction_rules[0]: `(k)=\d+` becomes `\1=`
  longer lines than 49900 bytes are cut; a line without its end waits 5 s for it

Verdict
  it holds text of ROOT/logs/app.log
     settled up to byte 4 of 14
     in the inode that the checkpoint knows; its first 4 bytes agree; 1 of 1 block before byte 4 agree

Checkpoint
  of Tue Nov 14 22:13:20 2023 UTC: inode INO, settled up to byte 4 of 8
  grown: the path shows that content, now 6 bytes longer

What would be sent
  1. ROOT/logs/app.log, inode INO, from byte 4 of 14
     in the inode that the checkpoint knows; its first 4 bytes agree; 1 of 1 block before byte 4 agree
  pending: 10 bytes
  No agent is running: this is what it would do when it starts.

When it is rotated
  by renaming: found by its inode under any name in its folder or one right below; read to its end and followed for 300 s more; then the new file from byte 0
  by copytruncate: what was not read yet is taken from the copy, found by its content if it has a recognised name; then the file from byte 0
  compressed: as a copy, if it is gzip and its name ends in .gz
  recognised names: app.log.1, app.1.log, app.log-20261123, app-20261123.log, app.log-2026-11-23T10, app-2026-11-23T10.log; each also with .gz
  a file of such a name that came and went between two looks is read only if no entry matches it and a known content of this log has a name of the same kind
  there now: app.log.1 (an entry matches it too)
  there now, names not recognised: app.log.old (an entry matches it too)
"#
    .replace("ROOT", &root)
    .replace("DEV", &meta.dev().to_string())
    .replace("INO", &meta.ino().to_string())
    .replace("HASH", &format!("{:016x}", fnv(b"one\ntwo\nthree\n")));
    assert_eq!(said.out, golden, "{}", said.err);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
}

#[test]
fn explain_tells_what_became_of_the_content_that_the_checkpoint_knows() {
    let mut site = Site::new();
    site.copy("app.log").write_config();
    let log = site.log_path("app.log");
    let check = |what: &str, parts: &[&str]| {
        let said = site.run(&["explain", log.to_str().unwrap()]);
        for part in parts {
            assert!(
                said.out.contains(part),
                "{what}: {part}\n{}{}",
                said.out,
                said.err
            );
        }
    };
    let write = |text: &str| {
        // Keeps the inode
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&log);
        std::io::Write::write_all(&mut file.unwrap(), text.as_bytes()).unwrap();
    };
    write("one\ntwo\n");
    check(
        "no checkpoint",
        &[
            "none knows the path",
            "from byte 0 of 8",
            "pending: 8 bytes",
        ],
    );
    let ino = fs::metadata(&log).unwrap().ino();
    write_checkpoint(&site, &log, ino, 4, 8);
    check("same", &["same: ", "from byte 4 of 8", "pending: 4 bytes"]);
    write("one\ntwo\nthree\n");
    check("grown", &["now 6 bytes longer", "pending: 10 bytes"]);
    write("one\nt");
    check("shortened", &["shortened: ", "without its last 3 bytes"]);
    write("o");
    check(
        "truncated",
        &[
            "replaced: the path shows other text in the same inode",
            "in no file, delivered up to byte 4 of 8",
            "no checkpoint knows it",
            "from byte 0 of 1",
        ],
    );
    write("new content\n");
    check(
        "overwritten",
        &[
            "replaced: the path shows other text in the same inode",
            "it is new, and is copied as",
            "from byte 0 of 12",
        ],
    );
    // The copy that copytruncate made
    append(&site.log_path("app.log.1"), b"one\ntwo\n");
    check(
        "copytruncated",
        &[
            "app.log.1 now",
            "app.log.1, inode",
            "in another inode",
            "from byte 4 of 8",
            "pending: 16 bytes",
        ],
    );
    fs::remove_file(site.log_path("app.log.1")).unwrap();
    write("one\ntwo\n");
    fs::rename(&log, site.log_path("elsewhere")).unwrap();
    check(
        "gone",
        &[
            "gone: the path shows nothing",
            "elsewhere, inode",
            "from byte 4 of 8",
        ],
    );
    append(&log, b"fresh\n");
    check(
        "replaced",
        &[
            "replaced: the path shows another file",
            "1. ",
            "elsewhere",
            "2. ",
            "from byte 0 of 6",
        ],
    );
    fs::remove_file(site.log_path("elsewhere")).unwrap();
    check(
        "lost",
        &[
            "in no file that a look finds",
            "from byte 0 of 6",
            "pending: 6 bytes",
        ],
    );
}

/// The first line of what the command says, without the path.
fn first(text: &str, path: &Path) -> String {
    let line = text.lines().next().unwrap_or_default();
    let rest = line.strip_prefix(&format!("{}: ", path.display()));
    rest.unwrap_or_else(|| panic!("{text}")).to_owned()
}

#[test]
fn nobody_has_to_read_twenty_lines_to_learn_whether_a_file_is_sent() {
    let mut site = Site::new();
    site.log(json!({
        "path": site.log_path("*.log"), "exclude": ["*debug*"], "copy_from_start": true,
    }));
    site.copy("sub/named.txt");
    site.write_config();
    for name in ["app.log", "debug.log", "notes"] {
        site.append(name, "x\n");
    }
    site.append("app.log.1", "older\n");
    site.append("one.log", "x");
    let glob = site.log_path("*.log").display().to_string();
    let named = site.log_path("sub/named.txt").display().to_string();
    for (name, code, explained, rehearsed) in [
        (
            "app.log",
            0,
            format!("copied by entry 1, {glob}; 2 bytes would be sent"),
            format!("copied by entry 1, {glob}; all"),
        ),
        (
            "one.log",
            0,
            format!("copied by entry 1, {glob}; 1 byte would be sent"),
            format!("copied by entry 1, {glob}; all"),
        ),
        (
            "debug.log",
            1,
            format!("not copied: entry 1, {glob}, leaves it out by exclude[0], `*debug*`"),
            format!("no entry copies it: entry 1, {glob}, leaves it out by exclude[0]"),
        ),
        (
            "notes",
            1,
            "not copied: no entry is about it, and its name".to_owned(),
            "no entry copies it".to_owned(),
        ),
        (
            "app.log.1",
            1,
            "not copied: it may be a rotated file of".to_owned(),
            "no entry copies it".to_owned(),
        ),
        (
            "later.log",
            1,
            "not copied: there is nothing now; what appears here later".to_owned(),
            format!(
                "nothing to send, as there is no such file; it would be copied by entry 1, {glob}"
            ),
        ),
        (
            "sub/named.txt",
            1,
            "not copied: there is nothing now; what appears here later".to_owned(),
            format!(
                "nothing to send, as there is no such file; it would be copied by entry 2, {named}"
            ),
        ),
    ] {
        let path = site.log_path(name);
        let said = site.run(&["explain", path.to_str().unwrap()]);
        let told = first(&said.out, &path);
        assert!(told.starts_with(&explained), "{name}: {told}\n{}", said.out);
        assert_eq!(said.code, code, "{name}: {told}");
        let said = site.run(&["dry-run", path.to_str().unwrap()]);
        let told = first(&said.err, &path);
        assert!(told.starts_with(&rehearsed), "{name}: {told}\n{}", said.err);
        assert!(!said.out.contains(" copied"), "{}", said.out);
    }
    let said = site.run(&["dry-run", site.log_path("one.log").to_str().unwrap()]);
    assert!(said.err.contains("1 line (1 byte) read"), "{}", said.err);
    assert!(said.err.contains("1 event (1 byte)"), "{}", said.err);
}

#[test]
fn a_path_that_is_mistyped_is_told_which_was_meant() {
    let mut site = Site::new();
    site.copy("*.log")
        .copy("nginx/access.log")
        .copy("later/one.txt");
    site.write_config();
    site.append("app.log", "x\n");
    site.append("app.txt", "x\n");
    fs::create_dir(site.log_path("nginx")).unwrap();
    site.append("nginx/access.log", "x\n");
    for (typed, meant) in [
        ("ap.log", Some("app.log")),
        ("App.log", Some("app.log")),
        ("ngnix/acess.log", Some("nginx/access.log")),
        ("nginx/access.log2", Some("nginx/access.log")),
        ("elsewhere/access.log", Some("nginx/access.log")),
        ("later/two.txt", None),
        ("later/onee.txt", Some("later/one.txt")),
        // There, or like none that is followed
        ("app.txt", None),
        ("app.log", None),
        ("xyz", None),
        ("nginx/xyz", None),
    ] {
        let path = site.log_path(typed);
        for command in ["explain", "dry-run"] {
            let said = site.run(&[command, path.to_str().unwrap()]);
            let text = said.out + &said.err;
            let line = text.lines().find(|line| line.starts_with("Did you mean"));
            let meant = meant.map(|meant| {
                format!(
                    "Did you mean {}, which is copied?",
                    site.log_path(meant).display()
                )
            });
            assert_eq!(line, meant.as_deref(), "{command} {typed}: {text}");
        }
    }
}

#[test]
fn explain_says_what_stands_in_the_way() {
    let mut site = Site::new();
    site.copy("*.log");
    let entry = json!({
        "path": site.log_path("old/*"), "ignore_stale_files": true, "copy_from_start": true,
    });
    site.log(entry);
    site.write_config();
    fs::create_dir(site.log_path("old")).unwrap();
    fs::create_dir(site.log_path("folder.log")).unwrap();
    let fifo = site.log_path("fifo.log");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let old = site.log_path("old/a");
    append(&old, b"long ago\n");
    let time = UNIX_EPOCH + Duration::from_secs(1_600_000_000);
    File::options()
        .append(true)
        .open(&old)
        .unwrap()
        .set_modified(time)
        .unwrap();
    append(&site.log_path("real.txt"), b"x\n");
    append(&site.log_path("to.log"), b"x\n");
    std::os::unix::fs::symlink(site.log_path("to.log"), site.log_path("link")).unwrap();
    append(&site.log_path("app.log.1"), b"x\n");
    for (name, code, parts) in [
        ("folder.log", 1, &["it is a folder"][..]),
        ("fifo.log", 1, &["FIFO, socket or device"]),
        (
            "old/a",
            0,
            &["from byte 9 of 9", "ignore_stale_files", "pending: 0 bytes"],
        ),
        (
            "missing.log",
            1,
            &["there is no such file", "what appears here later"],
        ),
        (
            "real.txt",
            1,
            &["`real.txt` does not match `*.log`", "it is not copied"],
        ),
        ("link", 1, &["leads to", "to.log, where it leads, is"]),
        (
            "app.log.1",
            1,
            &["rotation gives to", "app.log, which an entry"],
        ),
    ] {
        let path = site.log_path(name);
        let said = site.run(&["explain", path.to_str().unwrap()]);
        assert_eq!(said.code, code, "{name}: {}{}", said.out, said.err);
        for part in parts {
            assert!(said.out.contains(part), "{name}: {part}\n{}", said.out);
        }
    }
}

#[test]
fn a_damaged_checkpoint_is_named_and_left_where_it_is() {
    let mut site = Site::new();
    site.copy("app.log").write_config();
    site.append("app.log", "a\n");
    fs::write(site.path("data/checkpoints.json"), "{\"checkpoints\": {").unwrap();
    let trees = tree(&site);
    let path = site.log_path("app.log");
    let path = path.to_str().unwrap();
    let said = site.run(&["dry-run", "--from-checkpoint", path]);
    assert_eq!(said.code, 1);
    assert!(
        said.err.contains("checkpoints.json: it is damaged"),
        "{}",
        said.err
    );
    let said = site.run(&["explain", path]);
    assert!(
        said.err.contains("checkpoints.json: it is damaged"),
        "{}",
        said.err
    );
    assert_eq!(trees, tree(&site));
}

#[test]
fn a_compressed_file_is_named_by_each_command_and_printed_by_none() {
    let mut site = Site::new();
    site.copy("*").write_config();
    site.append("app.log", "a\n");
    let archive = site.log_path("app.log.1.gz");
    common::gzip(&site.log_path("app.log"), &archive);
    let archive = archive.to_str().unwrap();
    for from_checkpoint in [&["--from-checkpoint"][..], &[]] {
        let said = site.run(&[&["dry-run", archive][..], from_checkpoint].concat());
        assert_eq!((said.code, said.out.as_str()), (1, ""), "{said:?}");
    }
    let said = site.run(&["dry-run", archive]);
    assert!(said.err.contains("compressed (gzip"), "{said:?}");
    let said = site.run(&["explain", archive]);
    assert_eq!(said.code, 1);
    assert!(said.out.contains("compressed (gzip"), "{said:?}");
    let said = site.run(&["check"]);
    assert!(said.out.contains("1 of them compressed"), "{said:?}");
}

#[test]
fn dry_run_leaves_zeros_out_as_the_agent_does() {
    let mut site = Site::new();
    site.copy("app.log").write_config();
    let zeros = |n| vec![0; n];
    for text in [
        [&b"a\n"[..], &zeros(600), b"b\n", &zeros(200_000), b"c\0c\n"].concat(),
        [&zeros(300_000)[..], b"d\ne", &zeros(100_000)].concat(),
    ] {
        fs::write(site.log_path("app.log"), &text).unwrap();
        let path = site.log_path("app.log");
        let said = site.run(&["dry-run", path.to_str().unwrap()]);
        let expected: &[&str] = match text[0] {
            b'a' => &["a\n", "b\n", "c\0c\n"],
            _ => &["d\n", "e"],
        };
        assert_eq!(messages(&said), expected);
        assert!(
            said.err.contains("bytes of zeros between lines"),
            "{}",
            said.err
        );
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure_and_a_broken_configuration_is() {
    let mut site = Site::new();
    site.copy("app.log").write_config();
    site.append("app.log", stacks(20_000));
    let script = format!(
        "set -o pipefail; '{}' dry-run -c '{}' '{}' | head -n 1",
        env!("CARGO_BIN_EXE_scalyr-agent-2"),
        site.config_path().display(),
        site.log_path("app.log").display()
    );
    let done = std::process::Command::new("bash")
        .arg("-c")
        .arg(script)
        .output();
    let done = done.unwrap();
    assert!(done.status.success(), "{done:?}");
    assert_eq!(done.stdout.iter().filter(|b| **b == b'\n').count(), 1);
    let bad = json!({
        "path": site.log_path("x"), "redaction_rules": [{"match_expression": "("}],
    });
    site.log(bad).write_config();
    for command in ["dry-run", "explain"] {
        let said = site.run(&[command, "/x"]);
        assert_eq!((said.code, said.out.as_str()), (1, ""));
        assert!(said.err.contains("redaction_rules[0]"), "{}", said.err);
    }
}

fn sequence_of(path: &Path) -> String {
    let hash = fnv(path.to_str().unwrap().as_bytes());
    format!("b00d64aa-464c-4c37-81b8-{:012x}", hash & 0xFFFF_FFFF_FFFF)
}

/// The checkpoint of logs that were read up to a position each, in the form of the Python agent.
fn pythons(at: &[(PathBuf, u64)], time: f64) -> Value {
    let log = |(path, position): &(PathBuf, u64)| {
        let meta = fs::metadata(path).unwrap();
        let start = -(*position as i64);
        let log = json!({
            "position": 0,
            "pending_files": [{
                "position_start": start, "position_end": meta.len() as i64 + start,
                "last_known_size": meta.len(), "is_log_file": true, "inode": meta.ino(),
            }],
            "sequence_id": sequence_of(path), "sequence_number": 1_000 + position,
            "time": time,
        });
        (path.to_str().unwrap().to_owned(), log)
    };
    let logs: serde_json::Map<_, _> = at.iter().map(log).collect();
    json!({"time": time, "checkpoints": logs})
}

/// The same in the form of versions that knew hashes of the beginning and of the end.
fn older(at: &[(PathBuf, u64)], time: f64) -> Value {
    let mut all = pythons(at, time);
    for (path, position) in at {
        let (meta, text) = (fs::metadata(path).unwrap(), fs::read(path).unwrap());
        let position = *position as usize;
        let head = &text[..text.len().min(1_024)];
        let created = meta.created().unwrap().duration_since(UNIX_EPOCH);
        let log = &mut all["checkpoints"][path.to_str().unwrap()];
        log["serial"] = json!(6);
        let content = log["pending_files"][0].as_object_mut().unwrap();
        content.extend([
            ("device".to_owned(), json!(meta.dev())),
            ("committed".to_owned(), json!(position)),
            (
                "signature".to_owned(),
                json!(format!("{}:{:x}", head.len(), fnv(head))),
            ),
            (
                "mark".to_owned(),
                json!(format!(
                    "{:x}",
                    fnv(&text[position.saturating_sub(32)..position])
                )),
            ),
            ("birth".to_owned(), json!(created.unwrap().as_secs_f64())),
            ("sequence_id".to_owned(), json!(sequence_of(path))),
            ("sequence_number".to_owned(), json!(1_000 + position)),
        ]);
    }
    let folder = at[0].0.parent().unwrap();
    let more = json!({"serial": 7, "watched": [folder.join("*.log")], "sessions": 1});
    let more = more.as_object().unwrap().clone();
    all.as_object_mut().unwrap().extend(more);
    all
}

/// Logs of each kind of rotation, taken over from a checkpoint of this form: what is said is what is sent.
fn assert_taken_over_as_told(file: &str, checkpoint: fn(&[(PathBuf, u64)], f64) -> Value) {
    let mut site = Site::new();
    let all = json!({"path": site.log_path("*.log")});
    site.log(all).write_config();
    let text = |name: &str, lines: std::ops::Range<u32>| -> String {
        lines.map(|n| format!("{name} {n:04}\n")).collect()
    };
    let names = [
        "renamed",
        "copied",
        "compressed",
        "grown",
        "edited",
        "deleted",
    ];
    let path = |name: &str| site.log_path(&format!("{name}.log"));
    for name in names {
        append(&path(name), text(name, 0..90).as_bytes());
    }
    let at = names.map(|name| (path(name), text(name, 0..50).len() as u64));
    let now = std::time::SystemTime::now().duration_since(UNIX_EPOCH);
    let saved = checkpoint(&at, now.unwrap().as_secs_f64());
    fs::write(site.path("data").join(file), saved.to_string()).unwrap();
    for name in names {
        append(&path(name), text(name, 90..100).as_bytes());
    }
    let rotated = |name: &str, end: &str| site.log_path(&format!("{name}.log{end}"));
    fs::rename(path("renamed"), rotated("renamed", ".1")).unwrap();
    fs::copy(path("copied"), rotated("copied", ".1")).unwrap();
    File::options()
        .write(true)
        .truncate(true)
        .open(path("copied"))
        .unwrap();
    common::gzip(&path("compressed"), &rotated("compressed", ".1.gz"));
    fs::remove_file(path("compressed")).unwrap();
    fs::remove_file(path("deleted")).unwrap();
    let mut lines = fs::read(path("edited")).unwrap();
    lines[0] = b'E';
    fs::write(path("edited"), lines).unwrap();
    for name in ["renamed", "copied", "compressed"] {
        append(&path(name), text(name, 100..110).as_bytes());
    }
    append(&path("new"), text("new", 0..10).as_bytes());
    append(&rotated("renamed", "-20261123"), b"of another program\n");
    let names = [&names[..], &["new"]].concat();
    let planned: Vec<(&str, Said, String)> = names
        .iter()
        .map(|name| {
            let path = path(name);
            let path = path.to_str().unwrap();
            let planned = site.run(&["dry-run", "--from-checkpoint", path]);
            (*name, planned, site.run(&["explain", path]).out)
        })
        .collect();
    for (name, end) in [("renamed", ".1"), ("copied", ".1"), ("compressed", ".1.gz")] {
        let (words, code, out) = verdict(&site, &format!("{name}.log{end}"));
        let wanted = format!("it holds text of {}", path(name).display());
        assert_eq!((words, code), (wanted, 0), "{out}");
    }
    let (words, ..) = verdict(&site, "renamed.log-20261123");
    assert!(words.starts_with("it is not copied"), "{words}");
    let (words, code, out) = verdict(&site, "deleted.log");
    assert!(
        words.starts_with("there is nothing now") && code == 1,
        "{out}"
    );
    assert!(out.contains("delivered up to byte"), "{out}");

    site.start();
    for (name, said, told) in &planned {
        let (name, log) = (*name, format!("{name}.log"));
        let expected = events(said);
        site.until_lines(&log, expected.len() as u64);
        let pending: usize = expected
            .iter()
            .map(|e| e["message"].as_str().unwrap().len())
            .sum();
        let pending = match name {
            "compressed" => "and what the compressed file holds".to_owned(),
            _ => format!("pending: {pending} bytes"),
        };
        assert!(told.contains(&pending), "{name}: {pending}\n{told}");
    }
    site.term();
    for (name, said, _) in &planned {
        let log = format!("{name}.log");
        let path = site.log_path(&log);
        let really = sent(&site, &log, 0, false);
        assert!(!really.is_empty() || *name == "deleted", "{name}");
        let rest = site.run(&["dry-run", "--from-checkpoint", path.to_str().unwrap()]);
        assert_eq!(rest.out, "", "{name}");
        assert_same(said, &really);
    }
    assert!(sent(&site, "renamed.log-20261123", 0, false).is_empty());
}

#[test]
fn what_is_said_of_a_machine_of_the_python_agent_is_what_is_then_sent() {
    assert_taken_over_as_told("checkpoints.json", pythons);
}

#[test]
fn what_is_said_of_a_machine_of_an_older_version_is_what_is_then_sent() {
    assert_taken_over_as_told("checkpoints-worker-default-0.json", older);
}

/// The first line of a verdict, and the exit code.
fn verdict(site: &Site, name: &str) -> (String, i32, String) {
    let path = site.log_path(name);
    let said = site.run(&["explain", path.to_str().unwrap()]);
    let lines: Vec<&str> = said.out.lines().collect();
    let head = lines.iter().position(|line| line.starts_with("Verdict"));
    let head = head.unwrap_or_else(|| panic!("{name}: {}{}", said.out, said.err));
    (lines[head + 1].trim().to_owned(), said.code, said.out)
}

#[test]
fn each_file_of_a_folder_is_told_its_own_verdict_which_the_agent_then_acts_on() {
    let mut site = Site::new();
    let wildcard = json!({
        "path": site.log_path("*.txt"), "copy_from_start": true, "exclude": ["*debug*"],
    });
    let also_rotated = json!({"path": site.log_path("wait*"), "copy_from_start": true});
    for name in [
        "app.log",
        "dated.log",
        "copied.log",
        "old.log",
        "damaged.log",
    ] {
        site.copy(name);
        site.append(name, format!("{name} one\n{name} two\n"));
    }
    site.append("gone.txt", "1\n2\n");
    site.append("wait.log", "wait one\nwait two\n");
    site.append("old.log.1", "there before\n");
    site.log(wildcard).log(also_rotated).start();
    // Rotated once, so that the agent knows how
    for (name, to) in [
        ("app.log", "app.log.1"),
        ("dated.log", "dated.log-20261122"),
    ] {
        site.until_lines(name, 2);
        fs::rename(site.log_path(name), site.log_path(to)).unwrap();
        site.append(name, format!("{name} three\n{name} too\n"));
    }
    for (name, lines) in [
        ("app.log", 4),
        ("dated.log", 4),
        ("copied.log", 2),
        ("old.log", 2),
        ("damaged.log", 2),
        ("gone.txt", 2),
        ("wait.log", 2),
    ] {
        site.until_lines(name, lines);
    }
    site.term();

    let rename = |from: &str, to: &str| {
        fs::rename(site.log_path(from), site.log_path(to)).unwrap();
    };
    // Of app.log the first text is compressed, the second rotated, a third came and went, and there is a fourth
    common::gzip(&site.log_path("app.log.1"), &site.log_path("app.log.3.gz"));
    fs::remove_file(site.log_path("app.log.1")).unwrap();
    rename("app.log", "app.log.2");
    site.append("app.log.1", "app.log four\n");
    site.append("app.log", "app.log five\n");
    site.append("app.log.9", "of another program\n");
    site.append("app.log-20261123", "of a third program\n");
    site.append("dated.log-20261123", "of a fourth program\n");
    fs::copy(site.log_path("copied.log"), site.log_path("copied.log.1")).unwrap();
    fs::copy(site.log_path("wait.log"), site.log_path("wait.log.1")).unwrap();
    rename("damaged.log", "damaged.log.2");
    fs::write(site.log_path("damaged.log.1.gz"), b"\x1f\x8bbroken").unwrap();
    fs::remove_file(site.log_path("gone.txt")).unwrap();
    site.append("debug.txt", "x\n");
    site.append("notes", "x\n");
    let path = |name: &str| site.log_path(name).display().to_string();
    let refused = [
        ("app.log.9", "app.log", "it is older than what is known"),
        ("app.log-20261123", "app.log", "has a name of this kind"),
        ("dated.log-20261123", "dated.log", "was not rotated since"),
        ("old.log.1", "old.log", "it was there before that log"),
    ];
    for (name, log, why) in refused {
        let (words, code, out) = verdict(&site, name);
        let begin = "it is not copied: it may be a rotated file of";
        assert!(
            words.starts_with(&format!("{begin} {},", path(log))),
            "{name}: {out}"
        );
        assert!(words.contains(why), "{name}: {out}");
        assert!(
            out.contains("add an entry for it to `logs`"),
            "{name}: {out}"
        );
        assert_eq!(code, 1, "{name}");
    }
    let holds = |log: &str| format!("it holds text of {}", path(log));
    for (name, code, words, parts) in [
        ("app.log", 0, "it is new, and is copied as".to_owned(), &["app.log.2 now", "pending: 26 bytes"][..]),
        ("app.log.1", 0, format!("{} was rotated more than once", path("app.log")), &["settled up to byte 0 of 13"]),
        ("app.log.2", 0, holds("app.log"), &[
            "settled up to byte 26 of 26", "in the inode that the checkpoint knows",
            "its first 26 bytes agree; 2 of the last 2 lines agree; 1 of 1 block before byte 26 agree",
        ]),
        ("app.log.3.gz", 0, holds("app.log"), &[
            "settled up to byte 24, compressed", "in another inode than the checkpoint knows", "2 of the last 2 lines",
        ]),
        ("dated.log-20261122", 0, holds("dated.log"), &[]),
        ("copied.log.1", 1, format!("it has the text of {}", path("copied.log")), &[]),
        ("wait.log.1", 1, "it begins as another followed log does".to_owned(), &[]),
        ("damaged.log.1.gz", 1, "it, or what could prove its name, can't be read".to_owned(), &[]),
        ("gone.txt", 1, "there is nothing now; what appears".to_owned(), &[
            "gone: the path shows nothing; that content is in no file, delivered up to byte 4 of 4",
        ]),
        ("debug.txt", 1, "it is no log of this session: an entry excludes it".to_owned(), &["left out by exclude[0]"]),
        ("notes", 1, "it is not copied: no entry is about it".to_owned(), &[]),
        ("nothing", 1, "there is nothing, nothing is remembered of it".to_owned(), &[]),
    ] {
        let (first, got, out) = verdict(&site, name);
        assert!(first.starts_with(&words), "{name}: {words}\n{out}");
        for part in parts {
            assert!(out.contains(part), "{name}: {part}\n{out}");
        }
        assert_eq!(got, code, "{name}: {out}");
    }

    let told: Vec<(String, String)> = refused[..3]
        .iter()
        .map(|(name, ..)| (path(name), verdict(&site, name).0))
        .collect();
    let before = site.agent_log().len();
    site.start();
    site.until_lines("app.log", 6);
    for (path, words) in told {
        site.until_logged(&format!("{path}: {words}. If it is a log of its own"));
    }
    assert_eq!(
        site.lines_of("app.log")[4..],
        ["app.log four\n", "app.log five\n"]
    );
    let log = site.agent_log();
    assert!(!log[before..].contains("old.log.1"), "{log}");
    site.term();
}
