//! Files that are copied and truncated, the way of logrotate's `copytruncate`.

use super::*;

#[test]
fn copytruncate_loses_nothing_even_when_outgrown() {
    // The Python agent notices a truncation only by its length, so the longer of these escapes it
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
fn copytruncated_with_lines_in_flight_that_are_sent_again_after_a_kill() {
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
    tailer.before_send();
    desk.kill();
    desk.start();
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

/// Any content agrees with what is known of an empty file.
#[test]
fn an_empty_log_that_is_filled_and_truncated_between_two_looks_loses_nothing() {
    for new in ["", "3\n", "3 and much longer than the first content was\n"] {
        let mut desk = Desk::rotated_once();
        desk.rename("a.log.1", "a.log.2");
        desk.append("a.log", "1\n2\n");
        desk.copytruncate("a.log", "a.log.1");
        desk.append("a.log", new);
        desk.run(6);
        assert_eq!(desk.all("a.log"), format!("0\n1\n2\n{new}"));
        assert_eq!(desk.lost(), 0);
    }
}

#[test]
fn a_copy_of_a_log_that_was_empty_is_not_sent_beside_it() {
    let mut desk = Desk::copied("");
    desk.append("a.log", "1\n2\n");
    // `copy` of logrotate, or a truncation that is still to come
    fs::copy(desk.path("a.log"), desk.path("a.log.1")).unwrap();
    desk.append("a.log", "3\n");
    desk.run(6);
    assert_eq!(desk.all("a.log"), "1\n2\n3\n");
}

#[test]
fn truncated_and_outgrown_before_its_first_byte_was_read_loses_nothing() {
    let mut desk = Desk::new(&["a.log"]);
    desk.append("a.log", "1\n2\n");
    desk.start();
    desk.copytruncate("a.log", "a.log.1");
    desk.append("a.log", "3 is longer than what was there\n");
    desk.run(6);
    assert_eq!(desk.all("a.log"), "1\n2\n3 is longer than what was there\n");
}

#[test]
fn truncated_outgrown_and_renamed_between_two_looks_loses_nothing() {
    for most_open in [0, 256] {
        let change = match most_open {
            0 => |s: &mut Settings| s.max_open_files = 0,
            _ => |_: &mut Settings| {},
        };
        let mut desk = Desk::with(&["a.log"], true, change);
        desk.append("a.log", "1\n");
        desk.start();
        desk.run(2);
        desk.append("a.log", "2\n");
        desk.copytruncate("a.log", "a.log.2");
        desk.append("a.log", "3 is longer than what was there\n");
        desk.rename("a.log", "a.log.1");
        desk.append("a.log", "4\n");
        desk.run(8);
        assert_eq!(
            desk.all("a.log"),
            "1\n2\n3 is longer than what was there\n4\n"
        );
        assert_eq!(desk.lost(), 0);
    }
}

#[test]
fn a_copy_under_a_name_that_is_followed_itself_is_not_sent_twice() {
    let mut desk = Desk::new(&["a.log*"]);
    desk.append("a.log", "");
    desk.append("a.log.1", "");
    desk.start();
    desk.append("a.log", "1\n");
    desk.run(2);
    desk.rename("a.log.1", "a.log.2");
    desk.copytruncate("a.log", "a.log.1");
    desk.append("a.log", "2\n");
    desk.run(10);
    assert_eq!(desk.all("a.log"), "1\n2\n");
    assert_eq!(desk.names(), ["a.log"]);
}

#[test]
fn copytruncate_into_a_folder_below_loses_nothing() {
    for stopped in [false, true] {
        let mut desk = Desk::copied("one\ntwo\n");
        for n in 1..4 {
            if stopped {
                desk.stop();
            }
            desk.append("a.log", format!("three {n}\n"));
            desk.copytruncate("a.log", &format!("old/a.log-2026112{n}"));
            desk.append("a.log", format!("four {n}\n"));
            if stopped {
                desk.start();
            }
            desk.run(8);
        }
        let rounds: String = (1..4).map(|n| format!("three {n}\nfour {n}\n")).collect();
        assert_eq!(desk.all("a.log"), format!("one\ntwo\n{rounds}"));
        assert_eq!((desk.arrived.resent, desk.lost()), (0, 0));
    }
}
