//! Holes and NUL bytes: what a writer that does not append leaves behind after a truncation, and what
//! a preallocated file has at its end.

use super::*;
use crate::config::GroupEnd;
use std::os::unix::fs::FileExt;

impl Desk {
    /// Writes in the middle of a file, as one does that does not append.
    fn write_at(&self, name: &str, at: u64, text: impl AsRef<[u8]>) {
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false);
        let file = file.open(self.path(name)).unwrap();
        file.write_all_at(text.as_ref(), at).unwrap();
    }

    fn truncate(&self, name: &str) {
        fs::File::create(self.path(name)).unwrap();
    }
}

const LONG: u64 = 300_000;

#[test]
fn a_hole_left_by_a_truncation_that_was_seen_is_not_sent() {
    let mut desk = Desk::copied("1\n2\n");
    desk.truncate("a.log");
    desk.run(3);
    desk.write_at("a.log", LONG, "3\n");
    desk.run(3);
    assert_eq!(desk.all("a.log"), "1\n2\n3\n");
    desk.write_at("a.log", LONG + 2, "4\n");
    desk.run(3);
    desk.stop();
    desk.start();
    desk.run(2);
    assert_eq!(desk.all("a.log"), "1\n2\n3\n4\n");
    assert_eq!(desk.arrived.resent, 0);
}

#[test]
fn a_hole_left_while_the_agent_was_stopped_is_not_sent() {
    for seen_empty in [true, false] {
        let mut desk = Desk::copied("1\n2\n");
        if seen_empty {
            desk.truncate("a.log");
            desk.run(3);
        }
        desk.stop();
        desk.truncate("a.log");
        desk.write_at("a.log", LONG, "3\n");
        desk.start();
        desk.run(3);
        assert_eq!(desk.all("a.log"), "1\n2\n3\n", "seen empty: {seen_empty}");
    }
}

#[test]
fn zeros_at_the_start_of_a_line_are_left_out_and_others_pass() {
    let zeros = |n: usize| vec![0; n];
    let all = [
        &b"1\n"[..],
        &zeros(512),
        b"2\n",
        &zeros(511),
        b"3\n4",
        &zeros(600),
        b"5\n",
        &zeros(200_000),
        b"6\n",
    ]
    .concat();
    let expected = [&b"1\n2\n"[..], &zeros(511), b"3\n4", &zeros(600), b"5\n6\n"].concat();
    let mut desk = Desk::copied(&all);
    assert!(desk.all("a.log").as_bytes() == expected);
    assert_eq!(desk.pending("a.log"), 0);
    // wherever a page ends
    for at in [49_000, 49_400, 49_500, 49_900, 49_932, 50_000] {
        let text = [&vec![b'x'; at - 1][..], b"\n", &zeros(600), b"2\n"].concat();
        let desk = Desk::copied(&text);
        let sent: Vec<u8> = text.iter().copied().filter(|b| *b != 0).collect();
        assert!(desk.all("a.log").as_bytes() == sent, "{at}");
    }
}

#[test]
fn a_preallocated_file_is_read_as_far_as_it_is_written() {
    for really_written in [true, false] {
        let mut desk = Desk::new(&["a.log"]);
        desk.append("a.log", "1\n");
        match really_written {
            true => desk.append("a.log", vec![0; LONG as usize]),
            false => OpenOptions::new()
                .write(true)
                .open(desk.path("a.log"))
                .unwrap()
                .set_len(LONG)
                .unwrap(),
        }
        desk.start();
        desk.run(20);
        assert_eq!(desk.all("a.log"), "1\n");
        desk.write_at("a.log", 2, "2\n");
        desk.run(3);
        assert_eq!(desk.all("a.log"), "1\n2\n");
        // A line in two pieces, and a restart in between
        desk.write_at("a.log", 4, "thr");
        desk.run(2);
        desk.stop();
        desk.write_at("a.log", 7, "ee\n4");
        desk.start();
        desk.run(20);
        assert_eq!(desk.all("a.log"), "1\n2\nthree\n4");
        desk.write_at("a.log", 11, "\n5\n");
        desk.run(3);
        assert_eq!(desk.all("a.log"), "1\n2\nthree\n4\n5\n");
        // and what comes behind the zeros is not waited for longer than they are zeros
        desk.append("a.log", "6\n");
        desk.run(3);
        assert_eq!(desk.all("a.log"), "1\n2\nthree\n4\n5\n6\n");
        assert_eq!(desk.arrived.resent, 0);
    }
}

#[test]
fn a_file_of_zeros_is_not_sent_and_not_lost_sight_of() {
    let mut desk = Desk::new(&["a.log"]);
    desk.append("a.log", vec![0; 4096]);
    desk.start();
    desk.run(20);
    assert_eq!(desk.names(), [""; 0]);
    desk.write_at("a.log", 0, "1\n2\n");
    desk.run(5);
    assert_eq!(desk.all("a.log"), "1\n2\n");
}

#[test]
fn the_end_of_a_preallocated_file_does_not_hold_on_to_it_for_ever() {
    let mut desk = Desk::new(&["a.log"]);
    desk.append("a.log", "1\n");
    desk.append("a.log", vec![0; LONG as usize]);
    desk.start();
    desk.run(3);
    desk.rename("a.log", "a.log.1");
    desk.append("a.log", "2\n");
    desk.run(3);
    assert_eq!(desk.all("a.log"), "1\n2\n");
    desk.run(700);
    assert_eq!(desk.pending("a.log"), 0);
}

#[test]
fn a_log_with_rules_leaves_them_out_as_well() {
    let mut desk = Desk::new(&["a.log"]);
    desk.pipeline = super::shape::pipeline(|entry| {
        let end = GroupEnd::ContinueThrough("^ ".to_owned());
        entry.line_groupers = vec![super::shape::grouper("^E", end)];
    });
    desk.append("a.log", "1\n");
    desk.start();
    desk.run(12);
    desk.truncate("a.log");
    desk.run(3);
    desk.write_at("a.log", LONG, "3\n");
    desk.run(20);
    assert_eq!(desk.all("a.log"), "1\n3\n");
}

#[test]
fn a_first_start_at_the_end_is_at_the_end_of_the_text() {
    for (written, size) in [(0, 100), (100, LONG), (0, 5 << 30), (70_000, 5 << 30)] {
        let mut desk = Desk::with(&["a.log"], false, |_| {});
        desk.append("a.log", "old\n");
        desk.append("a.log", vec![0; written]);
        let file = OpenOptions::new().write(true).open(desk.path("a.log"));
        file.unwrap().set_len(size).unwrap();
        desk.start();
        desk.run(2);
        desk.write_at("a.log", 4, "new\n");
        desk.run(5);
        assert_eq!(desk.all("a.log"), "new\n", "{written} {size}");
    }
}

#[test]
fn zeros_that_wait_do_not_keep_the_agent_busy() {
    let mut desk = Desk::new(&["a.log"]);
    desk.append("a.log", "1\n");
    desk.append("a.log", vec![0; 100]);
    desk.start();
    desk.run(30);
    let now = desk.now;
    let due = desk.log("a.log").due.duration_since(now);
    assert!(due > Duration::from_millis(400), "{due:?}");
    let counters = desk.log("a.log").counters.get();
    assert_eq!(counters.shape.zero_bytes, 0);
}

#[test]
fn what_is_left_out_is_counted_once_however_often_it_is_read() {
    let mut desk = Desk::new(&["a.log"]);
    desk.append("a.log", vec![0; 600]);
    desk.append("a.log", "1\n");
    desk.append("a.log", vec![0; 100_000]);
    desk.append("a.log", "2\n");
    desk.start();
    desk.fill();
    desk.tailer.as_mut().unwrap().before_send();
    desk.kill();
    desk.start();
    desk.run(3);
    assert_eq!(desk.all("a.log"), "1\n2\n");
    let counters = desk.log("a.log").counters.get();
    assert_eq!(counters.shape.zero_bytes, 100_600);
    assert_eq!((counters.settled, counters.copied), (100_604, 4));
}
