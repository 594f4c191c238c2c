//! Logs that monitors name while the agent runs, and logs that are in no file.

use super::*;
use crate::config::AttrValue;

impl Desk {
    /// Makes these the logs that monitors name.
    fn name(&mut self, names: &[&str]) {
        let entries = names.iter().map(|name| {
            let mut entry = Entry::new(self.dir.join(name));
            entry.attributes = vec![("parser".into(), AttrValue::Text((*name).into()))];
            entry
        });
        let entries = entries.collect();
        self.tailer.as_mut().unwrap().set_dynamic(entries, self.now);
    }

    fn hand_in(&mut self, name: &str, lines: &str) {
        let path = self.dir.join(name);
        let now = self.now;
        let tailer = self.tailer.as_mut().unwrap();
        tailer.take_lines(&path, || Entry::new(path.clone()), lines.as_bytes(), now);
    }
}

#[test]
fn a_log_that_is_named_while_running_is_copied_from_its_start() {
    let mut desk = Desk::new(&["a.log"]);
    desk.start();
    desk.run(1);
    desk.name(&["new.log"]);
    desk.append("new.log", "first\nsecond\n");
    desk.run(6);
    assert_eq!(desk.all("new.log"), "first\nsecond\n");
}

#[test]
fn what_a_dropped_log_got_until_then_is_still_copied_and_nothing_after_it() {
    let mut desk = Desk::new(&["a.log"]);
    desk.start();
    desk.name(&["new.log"]);
    desk.append("new.log", "before\n");
    desk.name(&[]);
    desk.run(12);
    desk.append("new.log", "after\n");
    desk.run(12);
    assert_eq!(desk.all("new.log"), "before\n");
    let tailer = desk.tailer.as_ref().unwrap();
    assert!(tailer
        .status()
        .logs
        .iter()
        .all(|log| !log.path.ends_with("new.log")));
}

#[test]
fn a_sender_that_comes_back_is_copied_from_where_it_stood() {
    let mut desk = Desk::new(&["a.log"]);
    desk.start();
    desk.name(&["new.log"]);
    desk.append("new.log", "one\n");
    desk.run(6);
    desk.name(&[]);
    desk.run(12);
    desk.append("new.log", "two\n");
    desk.name(&["new.log"]);
    desk.run(12);
    assert_eq!(desk.all("new.log"), "one\ntwo\n");
    assert_eq!(desk.arrived.resent, 0);
}

#[test]
fn killed_or_stopped_before_a_named_log_comes_back_repeats_and_loses_nothing() {
    for killed in [false, true] {
        let mut desk = Desk::new(&["a.log"]);
        desk.start();
        desk.name(&["new.log"]);
        desk.append("new.log", "one\n");
        desk.run(6);
        if killed {
            desk.kill();
        } else {
            desk.stop();
        }
        desk.append("new.log", "two\n");
        desk.start();
        desk.run(6);
        assert_eq!(desk.all("new.log"), "one\n");
        desk.name(&["new.log"]);
        desk.run(6);
        assert_eq!(desk.all("new.log"), "one\ntwo\n");
        assert_eq!(desk.arrived.resent, 0);
    }
}

#[test]
fn a_pattern_of_the_configuration_takes_a_log_over_that_monitors_drop() {
    let mut desk = Desk::new(&["*.log"]);
    desk.start();
    desk.name(&["new.log"]);
    desk.append("new.log", "one\n");
    desk.run(6);
    desk.name(&[]);
    desk.append("new.log", "two\n");
    desk.run(12);
    assert_eq!(desk.all("new.log"), "one\ntwo\n");
    assert_eq!(desk.arrived.resent, 0);
}

#[test]
fn lines_that_wait_when_a_monitor_drops_its_log_keep_their_attributes() {
    let mut desk = Desk::new(&["*.log"]);
    desk.start();
    let next = |desk: &mut Desk| {
        let now = desk.now;
        let tailer = desk.tailer.as_mut().unwrap();
        tailer.poll(now);
        let mut batch = Batch::new();
        batch.start(&desk.envelope, desk.limit);
        tailer.fill(&mut batch, now);
        let text = String::from_utf8_lossy(batch.complete(0)).into_owned();
        tailer.commit(&batch, now);
        text
    };
    desk.name(&["new.log"]);
    desk.append("new.log", "one\n");
    desk.name(&[]);
    let of_monitor = "\"parser\":\"new.log\"";
    let sent = next(&mut desk);
    assert!(sent.contains("one") && sent.contains(of_monitor), "{sent}");
    desk.run(12);
    desk.append("new.log", "two\n");
    desk.now += Duration::from_secs(60);
    let sent = next(&mut desk);
    assert!(sent.contains("two") && !sent.contains(of_monitor), "{sent}");
}

#[test]
fn lines_that_wait_at_a_restart_keep_the_attributes_that_the_monitor_gave_them() {
    for killed in [false, true] {
        let mut desk = Desk::new(&["*.log"]);
        desk.start();
        desk.name(&["new.log"]);
        desk.append("new.log", "one\n");
        // The server does not answer
        desk.run_and_die(1);
        if !killed {
            desk.start();
            desk.stop();
        }
        desk.start();
        let next = |desk: &mut Desk| {
            let now = desk.now;
            let tailer = desk.tailer.as_mut().unwrap();
            tailer.poll(now);
            let mut batch = Batch::new();
            batch.start(&desk.envelope, desk.limit);
            tailer.fill(&mut batch, now);
            let text = String::from_utf8_lossy(batch.complete(0)).into_owned();
            tailer.commit(&batch, now);
            text
        };
        let of_monitor = "\"parser\":\"new.log\"";
        let sent = next(&mut desk);
        assert!(sent.contains("one") && sent.contains(of_monitor), "{sent}");
        // The configuration's own from then on, until the monitor names it again
        desk.now += Duration::from_secs(60);
        next(&mut desk);
        desk.append("new.log", "two\n");
        desk.now += Duration::from_secs(60);
        let sent = next(&mut desk);
        assert!(sent.contains("two") && !sent.contains(of_monitor), "{sent}");
    }
}

#[test]
fn lines_in_memory_are_sent_once_and_then_given_up() {
    let mut desk = Desk::new(&["a.log"]);
    desk.start();
    let mut all = String::new();
    for n in 0..50 {
        let lines = format!("m {n}\n").repeat(20);
        desk.hand_in("metrics.log", &lines);
        desk.append("a.log", format!("{n}\n"));
        all += &lines;
        desk.run(1);
    }
    assert_eq!(desk.all("metrics.log"), all);
    assert_eq!(desk.tailer.as_ref().unwrap().bytes_in_memory(), 0);
    // no checkpoint speaks of them
    desk.stop();
    let text = fs::read_to_string(desk.path("data/checkpoints.json")).unwrap();
    assert!(
        text.contains("a.log") && !text.contains("metrics.log"),
        "{text}"
    );
}

#[test]
fn whichever_session_has_a_named_log_goes_on_where_it_stood_after_a_restart() {
    let mut desk = Desk::with(&["a.log"], true, |settings| {
        settings.worker = "second".into();
        settings.session = "second-1".into();
        settings.share = (1, 2);
    });
    let path = |n: u32| format!("new{n}.log");
    let mine =
        |desk: &Desk, n: &u32| super::super::discover::share_of(&desk.path(&path(*n)), 2) == 1;
    let n = (0..100).find(|n| mine(&desk, n)).unwrap();
    desk.start();
    desk.name(&[&path(n)]);
    desk.append(&path(n), "one\n");
    desk.run(6);
    desk.kill();
    desk.append(&path(n), "two\n");
    desk.start();
    desk.name(&[&path(n)]);
    desk.run(6);
    assert_eq!(desk.all(&path(n)), "one\ntwo\n");
    assert_eq!(desk.arrived.resent, 0);
}

/// One that hides every `pw=...`, and looks as far ahead as a line of `longest` bytes needs.
fn redacting() -> Arc<crate::shape::Pipeline> {
    use crate::config::{EntryKind, LogEntry, Options, RedactionRule};
    let mut entry = LogEntry::new("/x".into(), EntryKind::Configured);
    entry.redaction_rules = vec![RedactionRule {
        match_expression: "pw=[a-z]+".to_owned(),
        replacement: "pw=X".to_owned(),
        hash_salt: String::new(),
    }];
    let made = crate::shape::Pipeline::compile(&entry, &Options::default());
    Arc::new(made.unwrap().unwrap())
}

/// A line that is cut, with a secret where the page would end that does without redaction.
fn long_line_with_a_secret() -> String {
    let page = Settings::new(PathBuf::new()).read_page_size;
    let secret = format!("pw={}", "s".repeat(300));
    let before = page - 100;
    let after = 30_000;
    format!("{}{secret}{}\n", "a".repeat(before), " b".repeat(after))
}

#[test]
fn no_secret_shows_at_the_cut_of_a_long_line_of_a_named_log() {
    let mut desk = Desk::new(&["a.log"]);
    desk.start();
    let mut entry = Entry::new(desk.path("new.log"));
    entry.pipeline = Some(redacting());
    desk.append("new.log", long_line_with_a_secret());
    let now = desk.now;
    desk.tailer.as_mut().unwrap().set_dynamic(vec![entry], now);
    desk.run(12);
    let all = desk.all("new.log");
    assert!(all.contains("pw=X"), "{} bytes", all.len());
    assert!(!all.contains("ss"), "{} bytes", all.len());
}

#[test]
fn no_secret_shows_at_the_cut_of_a_long_line_in_memory() {
    let mut desk = Desk::new(&["a.log"]);
    desk.start();
    let path = desk.path("metrics.log");
    let mut entry = Entry::new(path.clone());
    entry.pipeline = Some(redacting());
    let now = desk.now;
    let text = long_line_with_a_secret();
    let tailer = desk.tailer.as_mut().unwrap();
    tailer.take_lines(&path, || entry, text.as_bytes(), now);
    desk.run(12);
    let all = desk.all("metrics.log");
    assert!(all.contains("pw=X"), "{} bytes", all.len());
    assert!(!all.contains("ss"), "{} bytes", all.len());
}

#[test]
fn what_in_memory_was_not_delivered_outlives_the_tailer() {
    let mut desk = Desk::new(&["a.log"]);
    desk.start();
    desk.hand_in("metrics.log", "one\ntwo\n");
    desk.run(2);
    desk.hand_in("metrics.log", "three\n");
    let mut batch = Batch::new();
    batch.start(&desk.envelope, desk.limit);
    let (now, path) = (desk.now, desk.path("metrics.log"));
    let tailer = desk.tailer.as_mut().unwrap();
    let shelf = tailer.settings().shelf.clone();
    // It has been read, but nobody says that it has arrived
    tailer.fill(&mut batch, now);
    assert_eq!(shelf.take_left(), [] as [(PathBuf, Vec<u8>); 0]);
    desk.tailer = None;
    assert_eq!(shelf.take_left(), [(path, b"three\n".to_vec())]);
    assert_eq!(shelf.take_left(), []);
}

#[test]
fn a_thousand_named_logs_that_come_and_go_again_and_again_stay_cheap_and_bounded() {
    let mut desk = Desk::new(&["a.log"]);
    desk.start();
    let began = Instant::now();
    let names: Vec<String> = (0..1_500).map(|n| format!("n{n}.log")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for name in &names {
        desk.append(name, "x\n");
    }
    for _ in 0..3 {
        desk.name(&names);
        desk.run(3);
        desk.name(&[]);
        desk.run(12);
    }
    let tailer = desk.tailer.as_ref().unwrap();
    assert_eq!(tailer.orphans.len(), names.len());
    assert_eq!(desk.arrived.resent, 0);
    // Their files are gone: they are forgotten when further ones come
    for name in &names {
        fs::remove_file(desk.path(name)).unwrap();
    }
    let others: Vec<String> = (0..1_600).map(|n| format!("o{n}.log")).collect();
    let others: Vec<&str> = others.iter().map(String::as_str).collect();
    for name in &others {
        desk.append(name, "x\n");
    }
    desk.name(&others);
    desk.run(3);
    desk.name(&[]);
    desk.run(12);
    let left = desk.tailer.as_ref().unwrap().orphans.len();
    assert!(left <= 2 * others.len(), "{left}");
    println!("{:?}", began.elapsed());
}

#[test]
fn a_named_log_that_was_rotated_while_nobody_named_it_loses_nothing() {
    let mut desk = Desk::new(&["a.log"]);
    desk.start();
    desk.name(&["new.log"]);
    desk.append("new.log", "one\n");
    desk.run(6);
    desk.name(&[]);
    desk.run(12);
    desk.append("new.log", "two\n");
    desk.rename("new.log", "new.log.1");
    desk.append("new.log", "three\n");
    desk.name(&["new.log"]);
    desk.run(12);
    assert_eq!(desk.all("new.log"), "one\ntwo\nthree\n");
    assert_eq!(desk.arrived.resent, 0);
}

#[test]
fn named_dropped_and_named_again_at_once_is_as_if_it_had_stayed() {
    let mut desk = Desk::new(&["a.log"]);
    desk.start();
    desk.name(&["new.log", "never.log"]);
    desk.append("new.log", "one\n");
    for _ in 0..5 {
        desk.name(&[]);
        desk.name(&["new.log", "never.log"]);
    }
    desk.append("new.log", "two\n");
    desk.run(12);
    desk.name(&[]);
    desk.run(12);
    assert_eq!(desk.all("new.log"), "one\ntwo\n");
    assert_eq!(desk.arrived.resent, 0);
    // Nothing is kept for a log that never had a file
    let tailer = desk.tailer.as_ref().unwrap();
    assert_eq!(tailer.orphans.len(), 1);
    assert_eq!(tailer.status().logs.len(), 1);
}
