//! Files that change while the agent does not run.

use super::*;

#[test]
fn rotated_while_stopped_loses_and_repeats_nothing() {
    let mut desk = Desk::stopped("1\n");
    desk.append("a.log", "2\n");
    desk.rename("a.log", "a.log.1");
    desk.append("a.log", "3\n");
    desk.start();
    desk.run(6);
    assert_eq!(desk.all("a.log"), "1\n2\n3\n");
    assert_eq!(desk.arrived.resent, 0);
}

#[test]
fn rotated_three_times_while_stopped_loses_nothing() {
    let mut desk = Desk::stopped("1\n");
    desk.append("a.log", "2\n");
    desk.rename("a.log", "a.log.3");
    desk.append("a.log.2", "3\n");
    desk.append("a.log.1", "4\n");
    desk.append("a.log", "5\n");
    desk.start();
    desk.run(6);
    assert_eq!(desk.all("a.log"), "1\n2\n3\n4\n5\n");
}

#[test]
fn rotated_and_compressed_while_stopped_loses_nothing() {
    let mut desk = Desk::stopped("1\n");
    desk.append("a.log", "2\n");
    desk.rename("a.log", "a.log.1");
    desk.gzip("a.log.1");
    desk.append("a.log", "3\n");
    desk.start();
    desk.run(6);
    assert_eq!(desk.all("a.log"), "1\n2\n3\n");
    assert_eq!(desk.arrived.resent, 0);
}

#[test]
fn copytruncated_and_outgrown_while_stopped_loses_nothing() {
    let mut desk = Desk::stopped("first\nline\n");
    desk.append("a.log", "second\n");
    desk.copytruncate("a.log", "a.log.1");
    desk.append("a.log", "the new content is much longer than the old one\n");
    desk.start();
    desk.run(6);
    assert_eq!(
        desk.all("a.log"),
        "first\nline\nsecond\nthe new content is much longer than the old one\n"
    );
}

#[test]
fn renamed_while_stopped_and_its_successor_comes_after_the_start() {
    let mut desk = Desk::stopped("1\n");
    desk.append("a.log", "2\n");
    desk.rename("a.log", "a.log.1");
    desk.start();
    desk.run(2);
    desk.append("a.log", "3\n");
    desk.run(6);
    assert_eq!(desk.all("a.log"), "1\n2\n3\n");
}

#[test]
fn moved_to_another_folder_while_stopped_is_finished() {
    let mut desk = Desk::stopped("1\n");
    desk.append("a.log", "2\n");
    desk.rename("a.log", "old/a.log-20261123");
    desk.append("a.log", "3\n");
    desk.start();
    desk.run(6);
    assert_eq!(desk.all("a.log"), "1\n2\n3\n");
}

#[test]
fn deleted_while_stopped_says_how_much_is_lost_and_copies_the_new_file_whole() {
    // The Python agent begins at the end of the new file
    let mut desk = Desk::with(&["a.log"], false, |_| {});
    desk.append("a.log", "1\n");
    desk.start();
    desk.append("a.log", "never sent\n");
    desk.run(0);
    desk.tailer.as_mut().unwrap().poll_all(Instant::now());
    desk.stop();
    // Keeps the inode from being reused
    let _held = fs::File::open(desk.path("a.log")).unwrap();
    fs::remove_file(desk.path("a.log")).unwrap();
    desk.append("a.log", "new\n");
    desk.start();
    assert_eq!(desk.lost(), "never sent\n".len() as u64);
    desk.run(6);
    assert_eq!(desk.all("a.log"), "new\n");
}

#[test]
fn rotated_files_that_are_logs_themselves_are_not_repeated_after_a_rotation_while_stopped() {
    let mut desk = Desk::new(&["a.log*"]);
    desk.append("a.log.1", "0\n");
    desk.append("a.log", "1\n");
    desk.start();
    desk.run(2);
    desk.stop();
    desk.rename("a.log.1", "a.log.2");
    desk.rename("a.log", "a.log.1");
    desk.append("a.log", "2\n");
    desk.start();
    desk.run(10);
    assert_eq!(desk.all("a.log"), "1\n2\n");
    assert_eq!(desk.all("a.log.1"), "0\n");
    assert_eq!(desk.names(), ["a.log", "a.log.1"]);
}

#[test]
fn a_file_that_is_away_at_the_start_and_comes_back_is_not_repeated() {
    // A volume that is mounted after the agent has started
    let mut desk = Desk::new(&["logs/a.log"]);
    fs::create_dir(desk.path("logs")).unwrap();
    fs::create_dir_all(desk.path("far/away")).unwrap();
    desk.append("logs/a.log", "1\n");
    desk.start();
    desk.run(2);
    desk.stop();
    desk.append("logs/a.log", "2\n");
    desk.rename("logs/a.log", "far/away/a.log");
    desk.start();
    desk.run(5);
    desk.rename("far/away/a.log", "logs/a.log");
    desk.append("logs/a.log", "3\n");
    desk.run(10);
    assert_eq!(desk.all("logs/a.log"), "1\n2\n3\n");
}

#[test]
fn rotated_three_times_while_stopped_loses_nothing_although_all_files_begin_the_same() {
    for banner in [
        "=== service starting ===\n".repeat(60),
        "start\n".to_owned(),
    ] {
        let mut desk = Desk::copied(&banner);
        desk.stop();
        desk.append("a.log", "2\n");
        desk.rename("a.log", "a.log.3");
        desk.append("a.log.2", format!("{banner}3\n"));
        desk.append("a.log.1", format!("{banner}4\n"));
        desk.append("a.log", format!("{banner}5\n"));
        desk.start();
        desk.run(6);
        assert_eq!(
            desk.all("a.log"),
            format!("{banner}2\n{banner}3\n{banner}4\n{banner}5\n")
        );
    }
}

#[test]
fn an_empty_log_that_is_filled_and_truncated_while_stopped_loses_nothing_and_repeats_nothing() {
    let mut desk = Desk::new(&["a.log"]);
    desk.append("a.log", "0\n");
    desk.start();
    desk.run(2);
    desk.copytruncate("a.log", "a.log.2");
    desk.run(4);
    desk.stop();
    // The file system's clock has a coarse tick
    std::thread::sleep(Duration::from_millis(20));
    desk.append("a.log", "1\n2\n");
    desk.copytruncate("a.log", "a.log.1");
    desk.append("a.log", "3\n");
    for _ in 0..2 {
        desk.start();
        desk.run(6);
        assert_eq!(desk.all("a.log"), "0\n1\n2\n3\n");
        desk.stop();
    }
}

#[test]
fn truncated_written_and_rotated_while_stopped_loses_nothing() {
    let mut desk = Desk::stopped("1\n");
    fs::write(desk.path("a.log"), "2 is other content\n").unwrap();
    desk.rename("a.log", "a.log.1");
    desk.append("a.log", "3\n");
    desk.start();
    desk.run(6);
    assert_eq!(desk.all("a.log"), "1\n2 is other content\n3\n");
}

#[test]
fn an_empty_log_that_is_filled_rotated_and_compressed_while_stopped_loses_nothing() {
    let mut desk = Desk::rotated_once();
    desk.stop();
    desk.append("a.log", "1\n");
    desk.rename("a.log.1", "a.log.2");
    desk.rename("a.log", "a.log.1");
    desk.gzip("a.log.1");
    desk.append("a.log", "2\n");
    desk.start();
    desk.run(6);
    assert_eq!(desk.all("a.log"), "0\n1\n2\n");
}

#[test]
fn a_log_that_comes_and_is_rotated_while_stopped_loses_nothing() {
    let mut desk = Desk::rotated_once();
    fs::remove_file(desk.path("a.log")).unwrap();
    desk.run(2);
    desk.stop();
    desk.rename("a.log.1", "a.log.2");
    desk.append("a.log", "1\n");
    desk.rename("a.log", "a.log.1");
    desk.append("a.log", "2\n");
    desk.start();
    desk.run(6);
    assert_eq!(desk.all("a.log"), "0\n1\n2\n");
}

/// The file changes after the agent's last look at it, and before the checkpoint is written.
#[test]
fn truncated_twice_since_the_last_look_before_a_stop_loses_nothing() {
    let mut desk = Desk::with(&["a.log"], true, |s| s.clock_slack = 0.02);
    desk.append("a.log", "1\n");
    desk.start();
    desk.run(2);
    std::thread::sleep(Duration::from_millis(40));
    desk.append("a.log", "2\n");
    desk.copytruncate("a.log", "a.log.2");
    desk.append("a.log", "3\n");
    desk.copytruncate("a.log", "a.log.1");
    desk.append("a.log", "4 is longer than what was there\n");
    std::thread::sleep(Duration::from_millis(40));
    desk.stop();
    desk.start();
    desk.run(6);
    assert_eq!(
        desk.all("a.log"),
        "1\n2\n3\n4 is longer than what was there\n"
    );
}

#[test]
fn an_archive_of_years_ago_is_not_sent_after_a_restart_and_a_rotation() {
    let mut desk = Desk::new(&["a.log"]);
    desk.append("a.log.3", "years ago\n");
    desk.append("a.log", "1\n2\n");
    desk.start();
    desk.run(2);
    desk.rename("a.log", "a.log.4");
    desk.append("a.log", "3\n4\n");
    desk.run(2);
    for _ in 0..2 {
        desk.stop();
        desk.start();
        desk.run(2);
    }
    desk.stop();
    // By its name it would be one that came in between
    desk.rename("a.log", "a.log.1");
    desk.append("a.log", "5\n6\n");
    desk.start();
    desk.run(2);
    assert_eq!(desk.all("a.log"), "1\n2\n3\n4\n5\n6\n");
}

#[test]
fn a_folder_with_more_old_files_than_can_be_remembered_is_named_in_status() {
    use crate::tail::ledger::Remembered;
    let mut desk = Desk::copied("1\n2\n");
    let id = desk.log("a.log").id();
    let mut told = |count: u64| {
        let tailer = desk.tailer.as_mut().unwrap();
        let listing = Remembered::restored((0..count).collect(), false);
        tailer.ledger.take_up_listing(id, listing);
        tailer
            .status()
            .ambiguities
            .into_values()
            .collect::<Vec<_>>()
    };
    assert!(told(20_000).is_empty());
    assert_eq!(told(20_001), [1]);
}
