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
    assert_eq!(desk.resent, 0);
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
        assert_eq!(desk.resent, 0);
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
    assert_eq!(desk.resent, 0);
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
fn lines_in_memory_survive_a_request_that_comes_back() {
    let mut desk = Desk::new(&["a.log"]);
    desk.start();
    desk.hand_in("metrics.log", "one\ntwo\n");
    let mut batch = Batch::new();
    batch.start(&desk.envelope, desk.limit);
    let now = desk.now;
    let tailer = desk.tailer.as_mut().unwrap();
    tailer.fill(&mut batch, now);
    assert!(!batch.is_empty());
    assert_eq!(tailer.bytes_in_memory(), 8);
    tailer.rewind();
    desk.hand_in("metrics.log", "three\n");
    desk.run(2);
    assert_eq!(desk.all("metrics.log"), "one\ntwo\nthree\n");
}
