//! Logs at which another thread hangs, and which this one must not touch.

use super::Desk;
use crate::tail::fence::Fence;
use std::path::PathBuf;
use std::sync::Arc;

/// Starts a session that leaves these logs out.
fn start_without(desk: &mut Desk, names: &[&str]) {
    let paths: Vec<PathBuf> = names.iter().map(|name| desk.path(name)).collect();
    Arc::new(Fence::leaving_out(paths)).enter();
    desk.start();
}

/// Of `a.log` one line is acknowledged and one was seen.
fn with_a_line_that_waits(patterns: &[&str]) -> Desk {
    let mut desk = Desk::new(patterns);
    desk.append("a.log", "1\n");
    desk.append("b.log", "1\n");
    desk.start();
    desk.run(2);
    desk.append("a.log", "2\n");
    desk.tailer.as_mut().unwrap().poll_all(desk.now);
    desk.stop();
    desk
}

#[track_caller]
fn nothing_is_lost_or_repeated(desk: &mut Desk) {
    desk.append("b.log", "2\n");
    desk.run(3);
    assert_eq!(desk.all("a.log"), "1\n");
    assert_eq!(desk.all("b.log"), "1\n2\n");
    assert_eq!(desk.lost(), 0);
    desk.stop();
    // It answers
    start_without(desk, &[]);
    desk.append("a.log", "3\n");
    desk.run(3);
    assert_eq!(desk.all("b.log"), "1\n2\n");
    assert_eq!((desk.lost(), desk.arrived.resent), (0, 0));
}

#[test]
fn a_log_that_is_left_out_keeps_its_position_and_does_not_count_as_lost() {
    for patterns in [&["*.log"][..], &["a.log", "b.log"]] {
        let mut desk = with_a_line_that_waits(patterns);
        start_without(&mut desk, &["a.log"]);
        nothing_is_lost_or_repeated(&mut desk);
        assert_eq!(desk.all("a.log"), "1\n2\n3\n");
    }
}

/// The rest of the log's text can't be read, so the log waits for it.
#[test]
fn a_rotated_file_that_is_left_out_loses_its_log_no_line() {
    let mut desk = with_a_line_that_waits(&["*.log"]);
    desk.rename("a.log", "a.log.1");
    start_without(&mut desk, &["a.log.1"]);
    nothing_is_lost_or_repeated(&mut desk);
    assert_eq!(desk.all("a.log"), "1\n2\n3\n");
}

#[test]
fn an_old_log_that_was_left_out_at_the_first_start_is_not_sent_whole_when_it_answers() {
    let mut desk = Desk::with(&["a.log", "b.log"], false, |_| {});
    desk.append("a.log", "old\n");
    start_without(&mut desk, &["a.log"]);
    desk.run(3);
    desk.stop();
    start_without(&mut desk, &[]);
    desk.append("a.log", "new\n");
    desk.append("b.log", "new\n");
    desk.run(3);
    assert_eq!(desk.all("a.log"), "new\n");
    assert_eq!(desk.all("b.log"), "new\n");
}
