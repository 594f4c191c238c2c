//! Files that are renamed, replaced, linked, deleted and overwritten while they are followed.

use super::*;

#[test]
fn rotated_by_rename_keeps_order_and_late_writes() {
    // A writer may keep the old file open for a while; the Python agent stops to follow it
    let mut desk = Desk::copied("1\n");
    desk.append("a.log", "2\n");
    desk.rename("a.log", "a.log.1");
    desk.append("a.log", "3\n");
    desk.run(3);
    assert_eq!(desk.all("a.log"), "1\n2\n3\n");
    desk.append("a.log.1", "late\n");
    desk.run(10);
    assert_eq!(desk.all("a.log"), "1\n2\n3\nlate\n");
    assert_eq!(desk.arrived.resent, 0);
}

#[test]
fn rotated_and_deleted_between_two_looks_is_still_read() {
    let mut desk = Desk::copied("1\n");
    desk.append("a.log", "2\n");
    fs::remove_file(desk.path("a.log")).unwrap();
    desk.append("a.log", "3\n");
    desk.run(6);
    assert_eq!(desk.all("a.log"), "1\n2\n3\n");
}

#[test]
fn rotated_twice_between_two_looks_loses_nothing() {
    let mut desk = Desk::copied("1\n");
    desk.append("a.log", "2\n");
    desk.rename("a.log", "a.log.1");
    desk.append("a.log", "3\n");
    desk.rename("a.log.1", "a.log.2");
    desk.rename("a.log", "a.log.1");
    desk.append("a.log", "4\n");
    desk.run(6);
    assert_eq!(desk.all("a.log"), "1\n2\n3\n4\n");
}

/// A log with the dates of its rotations, the newest text of which was read.
fn dated() -> Desk {
    let mut desk = Desk::copied("0\n");
    desk.rename("a.log", "a.log-20260101");
    desk.append("a.log", "1\n");
    desk.run(3);
    desk
}

/// Two rotations later: what was rotated away unseen can't be read at the first look after it, as its archive is still
/// written, and what the path showed then was rotated away before the next one. All is found, and nothing read.
fn rotated_unreadable_for_a_look() -> Desk {
    let mut desk = dated();
    desk.rename("a.log", "a.log-20260102");
    desk.append("a.log-20260103", "2\n2.1\n");
    desk.gzip("a.log-20260103");
    let archive = desk.path("a.log-20260103.gz");
    let whole = fs::read(&archive).unwrap();
    fs::write(&archive, "").unwrap();
    desk.append("a.log", "3\n3.1\n");
    desk.look();
    fs::write(&archive, whole).unwrap();
    desk.rename("a.log", "a.log-20260104");
    desk.append("a.log", "4\n");
    desk.look();
    assert_eq!(desk.contents("a.log").len(), 5);
    desk
}

#[test]
fn a_rotated_file_that_is_found_late_is_sent_before_the_younger_ones() {
    let mut desk = rotated_unreadable_for_a_look();
    desk.run(6);
    assert_eq!(desk.all("a.log"), "0\n1\n2\n2.1\n3\n3.1\n4\n");
}

#[test]
fn a_rotated_file_that_is_found_late_is_sent_before_the_younger_ones_after_a_kill() {
    let mut desk = rotated_unreadable_for_a_look();
    desk.tailer.as_mut().unwrap().checkpoint();
    desk.kill();
    desk.start();
    desk.run(6);
    assert_eq!(desk.all("a.log"), "0\n1\n2\n2.1\n3\n3.1\n4\n");
}

#[test]
fn a_rotated_file_that_can_be_read_later_waits_for_no_other_rotation() {
    let mut desk = dated();
    desk.rename("a.log", "a.log-20260102");
    desk.append("a.log-20260103", "2\n2.1\n");
    desk.gzip("a.log-20260103");
    let archive = desk.path("a.log-20260103.gz");
    let whole = fs::read(&archive).unwrap();
    fs::write(&archive, "").unwrap();
    desk.append("a.log", "3\n3.1\n");
    desk.run(3);
    fs::write(&archive, whole).unwrap();
    desk.run(60);
    // The log itself did not wait for it
    assert_eq!(desk.all("a.log"), "0\n1\n3\n3.1\n2\n2.1\n");
}

#[test]
fn compressed_while_it_is_looked_at_is_not_lost_and_keeps_its_order() {
    let mut desk = dated();
    desk.append("a.log", "2\n2.1\n");
    desk.close_all();
    desk.rename("a.log", "a.log-20260102");
    desk.append("a.log", "3\n");
    fs::copy(desk.path("a.log-20260102"), desk.path("old/made")).unwrap();
    desk.gzip("old/made");
    let made = desk.path("old/made.gz");
    let (plain, archive) = (desk.path("a.log-20260102"), desk.path("a.log-20260102.gz"));
    listing::after_the_next(move || {
        fs::rename(made, archive).unwrap();
        fs::remove_file(plain).unwrap();
    });
    desk.run(6);
    assert_eq!(desk.all("a.log"), "0\n1\n2\n2.1\n3\n");
    assert_eq!(desk.lost(), 0);
}

#[test]
fn overwritten_in_place_is_new_content() {
    let mut desk = Desk::copied("aaaa\nbbbb\n");
    fs::write(desk.path("a.log"), "AAAA\nBBBB\n").unwrap();
    desk.run(6);
    assert_eq!(desk.all("a.log"), "aaaa\nbbbb\nAAAA\nBBBB\n");
}

#[test]
fn a_path_that_vanishes_and_comes_back_is_not_repeated() {
    // The Python agent takes the file that comes back for a new one
    let mut desk = Desk::copied("1\n");
    desk.rename("a.log", "elsewhere");
    desk.run(3);
    desk.append("elsewhere", "2\n");
    desk.rename("elsewhere", "a.log");
    desk.append("a.log", "3\n");
    desk.run(6);
    assert_eq!(desk.all("a.log"), "1\n2\n3\n");
    assert_eq!(desk.arrived.resent, 0);
}

#[test]
fn a_path_that_vanishes_right_after_a_rotation_and_comes_back_loses_nothing() {
    let mut desk = Desk::copied("1\n");
    desk.append("a.log", "2\n");
    desk.rename("a.log", "a.log.1");
    desk.run(3);
    desk.append("a.log", "3\n");
    desk.run(3);
    assert_eq!(desk.all("a.log"), "1\n2\n3\n");
}

#[test]
fn a_switched_link_finishes_the_old_target_first() {
    let mut desk = Desk::new(&["current"]);
    desk.append("x1", "1\n");
    std::os::unix::fs::symlink(desk.path("x1"), desk.path("current")).unwrap();
    desk.start();
    desk.run(2);
    desk.append("x1", "2\n");
    desk.append("x2", "3\n");
    fs::remove_file(desk.path("current")).unwrap();
    std::os::unix::fs::symlink(desk.path("x2"), desk.path("current")).unwrap();
    desk.run(6);
    assert_eq!(desk.all("current"), "1\n2\n3\n");
}

#[test]
fn a_glob_that_matches_rotated_names_does_not_repeat_them() {
    // The Python agent takes each renamed file for a new one
    let mut desk = Desk::with(&["a.log*"], true, |s| {
        s.rotated_grace = Duration::from_secs(30)
    });
    desk.append("a.log", "1\n");
    desk.start();
    desk.run(2);
    for n in 2..8 {
        desk.append("a.log", format!("tail of {}\n", n - 1));
        for k in (1..n - 1).rev() {
            desk.rename(&format!("a.log.{k}"), &format!("a.log.{}", k + 1));
        }
        desk.rename("a.log", "a.log.1");
        desk.append("a.log", format!("{n}\n"));
        desk.run(70);
    }
    desk.stop();
    desk.start();
    desk.run(70);
    let expected: String = (1..7)
        .map(|n| format!("{n}\ntail of {n}\n"))
        .collect::<String>()
        + "7\n";
    assert_eq!(desk.all("a.log"), expected);
    assert_eq!(desk.names(), ["a.log"]);
}

#[test]
fn content_that_looks_the_same_at_its_start_is_told_apart_by_its_end() {
    let banner = "=== service starting ===\n".repeat(60);
    let mut desk = Desk::copied(format!("{banner}one\n"));
    fs::write(desk.path("a.log"), format!("{banner}two\nthree\n")).unwrap();
    desk.run(6);
    assert_eq!(
        desk.all("a.log"),
        format!("{banner}one\n{banner}two\nthree\n")
    );
}

#[test]
fn overwritten_beside_two_rotated_files_with_the_same_banner() {
    within(20, || {
        let banner = "=== service starting ===\n".repeat(60);
        let mut desk = Desk::new(&["a.log"]);
        desk.append("a.log.1", format!("{banner}older text, long enough\n"));
        desk.append("a.log.2", format!("{banner}oldest text, long enough\n"));
        // The file system's clock has a coarse tick
        std::thread::sleep(Duration::from_millis(40));
        desk.append("a.log", format!("{banner}one\n"));
        desk.start();
        desk.run(2);
        fs::write(desk.path("a.log"), format!("{banner}two\nthree\n")).unwrap();
        desk.run(6);
        assert_eq!(
            desk.all("a.log"),
            format!("{banner}one\n{banner}two\nthree\n")
        );
    });
}

#[test]
fn overwritten_while_a_rotated_file_is_in_flight() {
    within(20, || {
        let mut desk = Desk::new(&["a.log"]);
        desk.append("a.log", "1\n");
        desk.start();
        let tailer = desk.tailer.as_mut().unwrap();
        let mut first = Batch::new();
        first.start(&desk.envelope, desk.limit);
        desk.now += Duration::from_secs(1);
        tailer.poll(desk.now);
        tailer.fill(&mut first, desk.now);
        assert_eq!(first.events(), 1);
        fs::rename(desk.dir.join("a.log"), desk.dir.join("a.log.1")).unwrap();
        fs::write(desk.dir.join("a.log"), "2\n").unwrap();
        let mut second = Batch::new();
        second.start(&desk.envelope, desk.limit);
        for _ in 0..6 {
            desk.now += Duration::from_secs(1);
            tailer.poll(desk.now);
            tailer.fill(&mut second, desk.now);
        }
        assert_eq!(second.events(), 1);
        fs::write(desk.dir.join("a.log"), "3 and longer\n").unwrap();
        for _ in 0..6 {
            desk.now += Duration::from_secs(1);
            tailer.poll(desk.now);
            tailer.fill(&mut second, desk.now);
        }
        assert_eq!(second.events(), 2);
    });
}

#[test]
fn rotated_files_that_existed_at_the_first_start_are_not_repeated_after_the_next_rotation() {
    let mut desk = Desk::with(&["a.log*"], true, |s| {
        s.rotated_grace = Duration::from_secs(30)
    });
    desk.append("a.log.1", "0\n");
    desk.append("a.log", "1\n");
    desk.start();
    desk.run(2);
    desk.rename("a.log.1", "a.log.2");
    desk.rename("a.log", "a.log.1");
    desk.append("a.log", "2\n");
    desk.run(200);
    assert_eq!(desk.all("a.log"), "1\n2\n");
    assert_eq!(desk.all("a.log.1"), "0\n");
}

#[test]
fn old_files_in_a_folder_below_are_not_sent_after_the_first_rotation_into_it() {
    let mut desk = Desk::new(&["a.log"]);
    // By its name it is newer than all that will be rotated
    desk.append("old/a.log-20270101", "never sent\n");
    desk.append("a.log", "1\n");
    desk.start();
    desk.run(2);
    for day in 1..4 {
        desk.rename("a.log", &format!("old/a.log-2026010{day}"));
        desk.append("a.log", format!("2 {day}\n"));
        desk.run(70);
    }
    assert_eq!(desk.all("a.log"), "1\n2 1\n2 2\n2 3\n");
}

#[test]
fn old_files_in_a_folder_below_are_not_sent_after_it_could_not_be_listed_for_a_while() {
    let mut desk = Desk::new(&["a.log"]);
    desk.append("old/a.log-20270101", "never sent\n");
    desk.append("a.log", "1\n");
    desk.start();
    desk.run(2);
    desk.rename("a.log", "old/a.log-20260101");
    desk.append("a.log", "2\n");
    desk.run(4);
    listing::refuse(Some(desk.path("old")));
    desk.rename("old/a.log-20260101", "old/a.log-20251231");
    // Each has the family looked at
    fs::write(desk.path("a.log"), "a rewritten line\nand another one\n").unwrap();
    desk.run(4);
    listing::refuse(None);
    desk.run(4);
    assert_eq!(desk.lost(), 0);
    desk.append("old/a.log-20251231", "late\n");
    desk.rename("a.log", "old/a.log-20260102");
    desk.append("a.log", "3\n");
    desk.run(70);
    assert_eq!(
        desk.all("a.log"),
        "1\n2\na rewritten line\nand another one\nlate\n3\n"
    );
}

#[test]
fn a_file_that_is_away_for_long_and_comes_back_is_not_repeated() {
    let mut desk = Desk::new(&["a.log"]);
    fs::create_dir_all(desk.path("far/away")).unwrap();
    desk.append("a.log", "1\n");
    desk.start();
    desk.run(2);
    desk.rename("a.log", "far/away/a.log");
    desk.run(800);
    desk.rename("far/away/a.log", "a.log");
    desk.append("a.log", "2\n");
    desk.run(10);
    assert_eq!(desk.all("a.log"), "1\n2\n");
}

#[test]
fn a_glob_that_matches_rotated_names_does_not_repeat_them_with_several_sessions() {
    let desk = Desk::new(&[]);
    let mut events = 0;
    let mut now = Instant::now();
    for k in 0..8 {
        desk.append(&format!("a{k}.log"), "1\n");
    }
    let mut tailers: Vec<Tailer> = (0..2)
        .map(|index| {
            let mut settings = Settings::new(desk.path("data"));
            settings.session = format!("default-{index}");
            settings.share = (index, 2);
            let mut entry = Entry::new(desk.dir.join("*.log*"));
            entry.copy_from_start = true;
            Tailer::new(settings, vec![entry], desk.envelope.clone(), None)
        })
        .collect();
    let mut run = |tailers: &mut Vec<Tailer>, seconds: u64| {
        let mut batch = Batch::new();
        for _ in 0..seconds {
            now += Duration::from_secs(1);
            for tailer in tailers.iter_mut() {
                tailer.poll(now);
                batch.start(&desk.envelope, desk.limit);
                tailer.fill(&mut batch, now);
                tailer.commit(&batch, now);
                events += batch.events();
            }
        }
        events
    };
    assert_eq!(run(&mut tailers, 2), 8);
    for k in 0..8 {
        desk.rename(&format!("a{k}.log"), &format!("a{k}.log.1"));
    }
    assert_eq!(run(&mut tailers, 70), 8);
}

#[test]
fn a_rotated_file_that_is_truncated_is_let_go_of() {
    let mut desk = Desk::with(&["a.log"], true, |s| {
        s.rotated_grace = Duration::from_secs(10)
    });
    desk.append("a.log", "1\n2\n");
    desk.start();
    desk.now += Duration::from_secs(1);
    desk.fill();
    let tailer = desk.tailer.as_mut().unwrap();
    tailer.commit(&desk.batch, desk.now);
    desk.append("a.log", "3\n");
    desk.rename("a.log", "a.log.1");
    desk.append("a.log", "4\n");
    desk.now += Duration::from_secs(1);
    let now = desk.now;
    desk.tailer.as_mut().unwrap().poll_all(now);
    fs::OpenOptions::new()
        .write(true)
        .open(desk.path("a.log.1"))
        .unwrap()
        .set_len(4)
        .unwrap();
    desk.run(100);
    let waiting: Vec<u64> = desk
        .contents("a.log")
        .iter()
        .map(Content::pending)
        .collect();
    assert!(waiting.iter().all(|bytes| *bytes == 0), "{waiting:?}");
}

#[test]
fn a_file_that_is_rewritten_all_the_time_does_not_pile_up_state() {
    let mut desk = Desk::new(&["a.log"]);
    desk.append("a.log", "0\n");
    desk.start();
    for n in 0..100 {
        fs::write(
            desk.path("a.log"),
            format!("status {}\n", "x".repeat(n % 2 + 1)),
        )
        .unwrap();
        desk.run(1);
    }
    let contents = desk.contents("a.log").len();
    assert!(contents < 10, "{contents}");
}

#[test]
fn written_and_deleted_between_two_looks_is_still_read_after_a_restart() {
    let mut desk = Desk::stopped("1\n");
    desk.start();
    desk.run(2);
    desk.append("a.log", "2\n");
    fs::remove_file(desk.path("a.log")).unwrap();
    desk.run(6);
    assert_eq!(desk.all("a.log"), "1\n2\n");
}

#[test]
fn hard_links_under_one_pattern_do_not_confuse_the_rotation_of_one_of_them() {
    let mut desk = Desk::with(&["*.log*"], true, |s| {
        s.deletion_delay = Duration::from_secs(5);
        s.rotated_grace = Duration::from_secs(5);
    });
    desk.append("a.log", "1\n");
    fs::hard_link(desk.path("a.log"), desk.path("b.log")).unwrap();
    desk.start();
    desk.run(2);
    fs::remove_file(desk.path("b.log")).unwrap();
    desk.run(70);
    desk.rename("a.log", "a.log.1");
    desk.append("a.log", "2\n");
    desk.run(200);
    assert_eq!(desk.all("a.log"), "1\n2\n");
    assert_eq!(desk.names(), ["a.log", "b.log"]);
}

#[test]
#[ignore = "changes the process's user: run alone, as root"]
fn a_rotated_file_that_can_not_be_read_any_more_does_not_hold_up_its_successor() {
    use std::os::unix::fs::PermissionsExt;
    let mut desk = Desk::with(&["a.log"], true, |s| s.max_open_files = 0);
    desk.append("a.log", "1\n");
    for dir in ["", "data", "old"] {
        fs::set_permissions(desk.path(dir), fs::Permissions::from_mode(0o777)).unwrap();
    }
    nix::unistd::seteuid(65534.into()).unwrap();
    desk.start();
    desk.run(2);
    nix::unistd::seteuid(0.into()).unwrap();
    desk.append("a.log", "2\n");
    desk.rename("a.log", "a.log.1");
    fs::set_permissions(desk.path("a.log.1"), fs::Permissions::from_mode(0o600)).unwrap();
    desk.append("a.log", "3\n");
    nix::unistd::seteuid(65534.into()).unwrap();
    desk.close_all();
    desk.run(2000);
    let all = desk.all("a.log");
    nix::unistd::seteuid(0.into()).unwrap();
    assert!(all.ends_with("3\n"), "{all:?}");
}

#[test]
fn a_log_that_comes_and_is_rotated_between_two_looks_loses_nothing() {
    for successor in ["", "2\n"] {
        let mut desk = Desk::rotated_once();
        fs::remove_file(desk.path("a.log")).unwrap();
        desk.run(2);
        desk.rename("a.log.1", "a.log.2");
        desk.append("a.log", "1\n");
        desk.rename("a.log", "a.log.1");
        desk.run(70);
        if !successor.is_empty() {
            desk.append("a.log", successor);
        }
        desk.run(6);
        assert_eq!(desk.all("a.log"), format!("0\n1\n{successor}"));
    }
}

#[test]
fn rotated_twice_with_no_file_left_between_two_looks_loses_nothing() {
    let mut desk = Desk::copied("1\n");
    desk.rename("a.log", "a.log.2");
    desk.append("a.log", "2\n");
    desk.rename("a.log", "a.log.1");
    desk.run(6);
    assert_eq!(desk.all("a.log"), "1\n2\n");
}

#[test]
fn unseen_content_that_is_compressed_before_its_turn_is_read() {
    let mut desk = Desk::with(&["a.log"], true, |s| s.max_open_files = 0);
    desk.append("a.log", "1\n");
    desk.start();
    desk.run(2);
    desk.rename("a.log", "a.log.2");
    desk.append("a.log.1", "2\n");
    desk.append("a.log", "3\n");
    let now = desk.now + Duration::from_secs(5);
    desk.tailer.as_mut().unwrap().poll_all(now);
    desk.gzip("a.log.1");
    desk.run(8);
    assert_eq!(desk.all("a.log"), "1\n2\n3\n");
}

#[test]
fn late_lines_of_a_closed_file_that_was_rotated_on_are_read() {
    let mut desk = Desk::with(&["a.log"], true, |s| s.max_open_files = 0);
    desk.append("a.log", "1\n");
    desk.start();
    desk.run(2);
    desk.rename("a.log", "a.log.1");
    desk.append("a.log", "2\n");
    desk.run(4);
    desk.close_all();
    desk.append("a.log.1", "late\n");
    desk.rename("a.log.1", "a.log.2");
    desk.rename("a.log", "a.log.1");
    desk.append("a.log", "3\n");
    desk.run(8);
    let all = desk.all("a.log");
    let mut lines: Vec<&str> = all.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["1", "2", "3", "late"]);
}
