//! Files that are copied and truncated, the way of logrotate's `copytruncate`.

use super::*;

#[test]
fn copytruncate_loses_nothing_even_when_outgrown() {
    // C9
    for new in ["n\n", "the new content is longer than the old one was\n"] {
        let mut desk = Desk::copied("one\ntwo\n");
        desk.append("a.log", "three\n");
        desk.copytruncate("a.log", "a.log.1");
        desk.append("a.log", new);
        desk.run(8);
        assert_eq!(desk.all("a.log"), format!("one\ntwo\nthree\n{new}"));
        assert_eq!(desk.arrived.resent, 0);
        assert_eq!(desk.lost(), 0);
    }
}

#[test]
fn copytruncate_with_immediate_gzip_loses_nothing() {
    let mut desk = Desk::copied("one\ntwo\n");
    desk.append("a.log", "three\n");
    desk.copytruncate("a.log", "a.log.1");
    desk.gzip("a.log.1");
    desk.append("a.log", "four\n");
    desk.run(8);
    assert_eq!(desk.all("a.log"), "one\ntwo\nthree\nfour\n");
}

#[test]
fn truncated_without_a_copy_counts_what_is_lost() {
    let mut desk = Desk::copied("one\n");
    fs::write(desk.path("a.log"), "x\n").unwrap();
    desk.run(6);
    assert_eq!(desk.all("a.log"), "one\nx\n");
}

#[test]
fn copytruncate_of_a_closed_file_loses_nothing_even_when_outgrown() {
    let mut desk = Desk::with(&["a.log"], true, |s| {
        s.close_old_files = Some(Duration::from_secs(10))
    });
    desk.append("a.log", "one\ntwo\n");
    desk.start();
    desk.run(60);
    assert_eq!(desk.really_open(), 0);
    desk.append("a.log", "three\n");
    desk.copytruncate("a.log", "a.log.1");
    desk.append("a.log", "the new content is longer than the old one was\n");
    desk.run(10);
    assert_eq!(
        desk.all("a.log"),
        "one\ntwo\nthree\nthe new content is longer than the old one was\n"
    );
    assert_eq!(desk.lost(), 0);
}

#[test]
fn a_writer_that_does_not_append_leaves_no_hole_to_be_sent_after_a_copytruncate() {
    use std::os::unix::fs::FileExt;
    let mut desk = Desk::new(&["a.log"]);
    let text = "0123456789\n".repeat(100_000);
    desk.append("a.log", &text);
    desk.start();
    desk.run(4);
    desk.copytruncate("a.log", "a.log.1");
    let file = fs::OpenOptions::new()
        .write(true)
        .open(desk.path("a.log"))
        .unwrap();
    file.write_all_at(b"next\n", text.len() as u64).unwrap();
    desk.run(10);
    let all = desk.all("a.log");
    assert_eq!(
        all.len(),
        text.len() + 5,
        "{} NULs",
        all.bytes().filter(|b| *b == 0).count()
    );
}

#[test]
fn a_copy_that_is_found_before_the_truncation_is_not_sent_again() {
    let mut desk = Desk::new(&["a.log*"]);
    desk.append("a.log", "1\n");
    desk.start();
    desk.run(2);
    desk.append("a.log", "2\n");
    desk.copytruncate("a.log", "a.log.1");
    // The scan comes first
    let now = desk.now;
    desk.tailer.as_mut().unwrap().scan(now);
    desk.append("a.log", "3\n");
    desk.run(10);
    assert_eq!(desk.all("a.log"), "1\n2\n3\n");
    assert_eq!(desk.names(), ["a.log"]);
    assert_eq!(desk.lost(), 0);
}

#[test]
fn copytruncated_with_lines_in_flight_that_are_rolled_back() {
    let mut desk = Desk::copied("1\n");
    desk.append("a.log", "2\n3\n");
    desk.now += Duration::from_secs(5);
    desk.fill();
    assert_eq!(desk.batch.events(), 2);
    desk.copytruncate("a.log", "a.log.1");
    desk.append("a.log", "4\n");
    let tailer = desk.tailer.as_mut().unwrap();
    for _ in 0..5 {
        desk.now += Duration::from_secs(1);
        tailer.poll(desk.now);
    }
    tailer.rewind();
    desk.run(10);
    assert_eq!(desk.all("a.log"), "1\n2\n3\n4\n");
    assert_eq!(desk.lost(), 0);
}

/// The checkpoint knows the log as empty, which any content agrees with.
#[test]
fn killed_with_the_first_lines_of_an_empty_log_under_way_and_truncated_loses_nothing() {
    let mut desk = Desk::new(&["a.log", "b.log"]);
    desk.append("a.log", "");
    desk.append("b.log", "x\n");
    desk.start();
    desk.run(2);
    desk.append("a.log", "1\n2\n");
    desk.run_and_die(1);
    desk.append("a.log", "3\n");
    desk.copytruncate("a.log", "a.log.1");
    desk.append("a.log", "4\n5\n6\n");
    desk.start();
    desk.run(6);
    assert_eq!(desk.all("a.log"), "1\n2\n3\n4\n5\n6\n");
}
