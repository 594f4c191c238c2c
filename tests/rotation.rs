//! Logs that rotate in all the ways that there are, while the agent runs, can't deliver, is stopped
//! or was killed: each line arrives exactly once.

mod common;

use common::{all_at_once, gzip, Agent, Load, Numbers, Site, ANY};
use std::fs;
use std::os::unix::fs::{symlink, MetadataExt};
use std::path::Path;
use std::time::Duration;

/// A log that is being copied, with 100 lines that have arrived.
fn followed(pattern: &str, log: &str) -> (Site, Numbers) {
    let mut site = Site::new();
    let mut numbers = site.numbers(log);
    numbers.write(100);
    site.copy(pattern).start();
    site.until_lines(log, 100);
    (site, numbers)
}

/// That all of it has arrived, and that copying goes on, also after a restart.
#[track_caller]
fn nothing_is_lost_or_repeated(site: &mut Site, numbers: &mut Numbers, name: &str) {
    site.expect_exactly_once(name, numbers.all());
    numbers.write(20);
    site.expect_exactly_once(name, numbers.all());
    site.term();
    numbers.write(10);
    site.start();
    site.expect_exactly_once(name, numbers.all());
}

/// Changes a log of which 50 lines wait to be sent, with the agent in each of the given states.
fn survives(states: &[Agent], change: impl Fn(&mut Numbers) + Sync) {
    survives_with(50, states, change);
}

fn survives_with(unsent: u64, states: &[Agent], change: impl Fn(&mut Numbers) + Sync) {
    all_at_once(states, |agent| {
        let (mut site, mut numbers) = followed("app.log", "app.log");
        site.meanwhile(agent, &mut numbers, unsent, &change);
        nothing_is_lost_or_repeated(&mut site, &mut numbers, "app.log");
        site.assert_in_order("app.log");
    });
}

#[test]
fn renamed_and_created_anew() {
    survives(&ANY, |numbers| {
        numbers.rotate_by_rename("app.log.1");
        numbers.write(30);
    });
}

#[test]
fn renamed_and_still_empty() {
    survives(&ANY, |numbers| numbers.rotate_by_rename("app.log.1"));
}

#[test]
fn renamed_twice_and_created_anew() {
    survives(&ANY, |numbers| {
        numbers.rotate_by_rename("app.log.2");
        numbers.write(30);
        numbers.rotate_by_rename("app.log.1");
        numbers.write(30);
    });
}

#[test]
fn renamed_to_a_dated_name_three_times() {
    survives(&ANY, |numbers| {
        for day in 1..=3 {
            numbers.write(15);
            numbers.rotate_by_rename(format!("app.log-2026112{day}"));
        }
        numbers.write(30);
    });
}

#[test]
fn renamed_into_another_folder() {
    survives(&ANY, |numbers| {
        let old = numbers.path().with_file_name("old");
        fs::create_dir(&old).unwrap();
        numbers.rotate_by_rename("old/app.log.1");
        numbers.write(30);
    });
}

#[test]
fn copied_and_truncated_to_less() {
    survives(&ANY, |numbers| {
        numbers.copytruncate("app.log.1");
        numbers.write(5);
    });
}

#[test]
fn copied_and_truncated_to_nothing() {
    survives(&ANY, |numbers| numbers.copytruncate("app.log.1"));
}

#[test]
fn copied_truncated_and_outgrown() {
    survives(&ANY, |numbers| {
        numbers.copytruncate("app.log.1");
        numbers.write(500);
    });
}

#[test]
fn copied_and_truncated_twice() {
    survives(&ANY, |numbers| {
        numbers.copytruncate("app.log.2");
        numbers.write(30);
        numbers.copytruncate("app.log.1");
        numbers.write(300);
    });
}

#[test]
fn compressed_by_the_rotation_and_truncated() {
    survives(&ANY, |numbers| {
        gzip(
            numbers.path(),
            &numbers.path().with_file_name("app.log.1.gz"),
        );
        numbers.truncate();
        numbers.write(30);
    });
}

#[test]
fn renamed_and_compressed() {
    survives(&ANY, |numbers| {
        numbers.rotate_by_rename("app.log.1");
        let plain = numbers.path().with_file_name("app.log.1");
        gzip(&plain, &numbers.path().with_file_name("app.log.1.gz"));
        fs::remove_file(plain).unwrap();
        numbers.write(30);
    });
}

#[test]
fn deleted_and_recreated_while_running() {
    // The open file still has the rest
    survives(&[Agent::Blind, Agent::ServerAway], |numbers| {
        numbers.delete_and_recreate();
        numbers.write(30);
    });
}

#[test]
fn all_read_then_deleted_and_recreated() {
    survives_with(0, &ANY, |numbers| {
        numbers.delete_and_recreate();
        numbers.write(30);
    });
}

#[test]
fn all_read_then_truncated_to_less() {
    survives_with(0, &ANY, |numbers| {
        numbers.truncate();
        numbers.write(30);
    });
}

#[test]
fn all_read_then_overwritten_with_more() {
    survives_with(0, &ANY, |numbers| {
        numbers.truncate();
        numbers.write(300);
    });
}

#[test]
fn read_but_not_delivered_then_truncated_without_a_copy() {
    survives(&[Agent::ServerAway], |numbers| {
        numbers.truncate();
        numbers.write(30);
    });
}

/// Bytes that nobody can read any more are lost; no others are.
#[test]
fn truncated_without_a_copy_loses_only_what_was_not_read() {
    all_at_once(&[Agent::Blind, Agent::Stopped, Agent::Killed], |agent| {
        for more in [5, 500] {
            let (mut site, mut numbers) = followed("app.log", "app.log");
            site.meanwhile(agent, &mut numbers, 50, |numbers| {
                numbers.truncate();
                numbers.write(more);
            });
            site.expect_all_but("app.log", numbers.all(), 100..150);
        }
    });
}

#[test]
fn deleted_while_stopped_loses_only_what_was_not_read() {
    all_at_once(&[Agent::Stopped, Agent::Killed], |agent| {
        let (mut site, mut numbers) = followed("app.log", "app.log");
        site.meanwhile(agent, &mut numbers, 50, |numbers| {
            numbers.delete_and_recreate();
            numbers.write(300);
        });
        site.expect_all_but("app.log", numbers.all(), 100..150);
    });
}

#[test]
fn deleted_and_recreated_after_the_deletion_delay() {
    let mut site = Site::new();
    let mut numbers = site.numbers("app.log");
    numbers.write(100);
    site.set("log_deletion_delay", 0.5).copy("app.log").start();
    site.until_lines("app.log", 100);
    site.meanwhile(Agent::Blind, &mut numbers, 50, |numbers| {
        fs::remove_file(numbers.path()).unwrap();
    });
    site.expect_exactly_once("app.log", 0..150);
    // It has let go of the deleted file
    site.until_seen("the file is closed", || site.open_logs().is_empty());
    numbers.reopen();
    numbers.write(50);
    nothing_is_lost_or_repeated(&mut site, &mut numbers, "app.log");
    site.assert_in_order("app.log");
}

#[test]
fn a_successor_that_comes_long_after_the_rotation() {
    all_at_once(&ANY, |agent| {
        let (mut site, mut numbers) = followed("app.log", "app.log");
        site.meanwhile(agent, &mut numbers, 50, |numbers| {
            numbers.rename("app.log.1");
        });
        site.expect_exactly_once("app.log", 0..150);
        // Late writes to the old file, which the new name does not show
        numbers.write(10);
        site.expect_exactly_once("app.log", 0..160);
        numbers.reopen();
        numbers.write(30);
        nothing_is_lost_or_repeated(&mut site, &mut numbers, "app.log");
        site.assert_in_order("app.log");
    });
}

#[test]
fn renamed_while_stopped_with_a_successor_after_the_next_stop() {
    let (mut site, mut numbers) = followed("app.log", "app.log");
    site.meanwhile(Agent::Killed, &mut numbers, 50, |numbers| {
        numbers.rename("app.log.1");
    });
    site.expect_exactly_once("app.log", 0..150);
    site.meanwhile(Agent::Stopped, &mut numbers, 10, |_| ());
    site.expect_exactly_once("app.log", 0..160);
    site.meanwhile(Agent::Killed, &mut numbers, 10, |numbers| {
        numbers.reopen();
        numbers.write(40);
    });
    nothing_is_lost_or_repeated(&mut site, &mut numbers, "app.log");
}

#[test]
fn late_writes_to_a_rotated_file_arrive() {
    let (mut site, mut numbers) = followed("app.log", "app.log");
    let new = numbers.rename("app.log.1").with_file_name("app.log");
    let mut successor = Numbers::starting_at(new, 1000);
    successor.write(10);
    let path = site.log_path("app.log").to_str().unwrap().to_owned();
    for round in 1..5 {
        // Late for sure: the successor has been read
        site.until("the successor's lines", |state| {
            state
                .ledger()
                .path(&path)
                .is_some_and(|t| t.has(1000 + round * 10 - 1))
        });
        numbers.write(25);
        successor.write(10);
    }
    site.until_lines("app.log", 200 + 50);
    let tally = site.tally("app.log");
    assert_eq!(tally.missing(0..200), []);
    assert_eq!(tally.missing(1000..1050), []);
    assert_eq!((tally.repeats, tally.unsealed), (0, 0));
    site.assert_well_formed();
}

#[test]
fn a_line_that_is_cut_by_the_rotation_arrives_whole() {
    all_at_once(&ANY, |agent| {
        let (mut site, mut numbers) = followed("app.log", "app.log");
        site.meanwhile(agent, &mut numbers, 50, |numbers| {
            numbers.write_half();
            numbers.rename("app.log.1");
        });
        // The writer finishes its line in the old file, then takes the new one
        numbers.reopen();
        numbers.write(30);
        nothing_is_lost_or_repeated(&mut site, &mut numbers, "app.log");
        site.assert_in_order("app.log");
    });
}

/// As logrotate does with `rotate 4`.
fn shift(numbers: &mut Numbers) {
    let name = |n: u32| numbers.path().with_file_name(format!("app.log.{n}"));
    for n in (1..4).rev() {
        if name(n).exists() {
            fs::rename(name(n), name(n + 1)).unwrap();
        }
    }
    numbers.rotate_by_rename("app.log.1");
}

#[test]
fn a_pattern_that_also_matches_rotated_names_repeats_nothing() {
    all_at_once(&ANY, |agent| {
        let (mut site, mut numbers) = followed("app.log*", "app.log");
        for round in 0..5 {
            site.meanwhile(agent, &mut numbers, 30, |numbers| {
                shift(numbers);
                numbers.write(20);
            });
            site.expect_exactly_once("app.log*", numbers.all());
            // And with time for a scan, and another restart
            site.until_requests(2);
            if round % 2 == 1 {
                site.term();
                site.start();
            }
        }
        nothing_is_lost_or_repeated(&mut site, &mut numbers, "app.log*");
    });
}

#[test]
fn a_pattern_that_matched_rotated_names_from_the_start_repeats_nothing() {
    all_at_once(&ANY, |agent| {
        let mut site = Site::new();
        let mut numbers = site.numbers("app.log");
        for _ in 0..3 {
            numbers.write(40);
            shift(&mut numbers);
        }
        numbers.write(40);
        site.copy("app.log*").start();
        site.expect_exactly_once("app.log*", numbers.all());
        for _ in 0..3 {
            site.meanwhile(agent, &mut numbers, 30, |numbers| {
                shift(numbers);
                numbers.write(20);
            });
            site.expect_exactly_once("app.log*", numbers.all());
            site.until_requests(2);
            site.term();
            site.start();
        }
        nothing_is_lost_or_repeated(&mut site, &mut numbers, "app.log*");
    });
}

#[test]
fn a_pattern_that_also_matches_the_copies_repeats_nothing() {
    all_at_once(&ANY, |agent| {
        let (mut site, mut numbers) = followed("app.log*", "app.log");
        for round in 0..3 {
            site.meanwhile(agent, &mut numbers, 30, |numbers| {
                numbers.copytruncate(format!("app.log.{}", 9 - round));
                numbers.write(10 + 200 * (round % 2));
            });
            site.expect_exactly_once("app.log*", numbers.all());
            site.until_requests(2);
        }
        nothing_is_lost_or_repeated(&mut site, &mut numbers, "app.log*");
    });
}

#[test]
fn a_path_that_vanishes_and_comes_back_repeats_nothing() {
    all_at_once(&[0, 20, 120, 600], |pause| {
        let (mut site, mut numbers) = followed("app.log", "app.log");
        for _ in 0..3 {
            numbers.write(30);
            let away = numbers.rename("away");
            // However long the path is gone, noticed or not
            std::thread::sleep(Duration::from_millis(pause));
            fs::rename(&away, numbers.path()).unwrap();
            numbers.write(30);
            site.expect_exactly_once("app.log", numbers.all());
        }
        nothing_is_lost_or_repeated(&mut site, &mut numbers, "app.log");
        site.assert_in_order("app.log");
    });
}

#[test]
fn a_path_that_vanishes_right_after_a_rotation_and_comes_back_loses_nothing() {
    all_at_once(&[0, 20, 120, 600], |pause| {
        let (mut site, mut numbers) = followed("app.log", "app.log");
        for round in 1..4 {
            numbers.write(30);
            numbers.rotate_by_rename(format!("app.log.{round}"));
            numbers.write(30);
            let away = numbers.rename("away");
            std::thread::sleep(Duration::from_millis(pause));
            fs::rename(&away, numbers.path()).unwrap();
            numbers.write(30);
            site.expect_exactly_once("app.log", numbers.all());
        }
        nothing_is_lost_or_repeated(&mut site, &mut numbers, "app.log");
        site.assert_in_order("app.log");
    });
}

#[test]
fn rotated_away_and_back_while_stopped() {
    all_at_once(&[Agent::Stopped, Agent::Killed], |agent| {
        let (mut site, mut numbers) = followed("app.log", "app.log");
        site.meanwhile(agent, &mut numbers, 30, |numbers| {
            numbers.rename("app.log.1");
        });
        site.expect_exactly_once("app.log", numbers.all());
        site.meanwhile(agent, &mut numbers, 30, |numbers| {
            let path = numbers.path();
            fs::rename(path.with_file_name("app.log.1"), path).unwrap();
        });
        nothing_is_lost_or_repeated(&mut site, &mut numbers, "app.log");
        site.assert_in_order("app.log");
    });
}

fn point(link: &Path, to: &str) {
    let new = link.with_file_name("link.new");
    symlink(to, &new).unwrap();
    fs::rename(&new, link).unwrap();
}

#[test]
fn a_link_that_is_switched_finishes_the_old_target_first() {
    all_at_once(&ANY, |agent| {
        let mut site = Site::new();
        let link = site.log_path("current");
        let mut numbers = site.numbers("app-1.out");
        numbers.write(100);
        point(&link, "app-1.out");
        site.copy("current").start();
        site.until_lines("current", 100);
        for target in ["app-2.out", "app-3.out"] {
            let path = site.log_path(target);
            site.meanwhile(agent, &mut numbers, 50, |numbers| {
                *numbers = Numbers::starting_at(path, numbers.next());
                numbers.write(40);
                point(&link, target);
            });
            site.expect_exactly_once("current", numbers.all());
        }
        nothing_is_lost_or_repeated(&mut site, &mut numbers, "current");
        site.assert_in_order("current");
    });
}

/// Deletes a file and makes another that has the same inode; false if this file system gives out
/// new ones.
fn recreate_with_the_same_inode(path: &Path) -> bool {
    let inode = fs::metadata(path).unwrap().ino();
    fs::remove_file(path).unwrap();
    let mut others = Vec::new();
    let mut same = false;
    for n in 0..200 {
        let other = path.with_file_name(format!("other-{n}"));
        fs::write(&other, "").unwrap();
        if fs::metadata(&other).unwrap().ino() == inode {
            fs::rename(&other, path).unwrap();
            same = true;
            break;
        }
        others.push(other);
    }
    for other in others {
        fs::remove_file(other).unwrap();
    }
    if !same {
        fs::write(path, "").unwrap();
        println!("no inode is used again here: tested with another");
    }
    same
}

#[test]
fn an_inode_that_is_used_again_is_not_taken_for_the_old_file() {
    // For both a file that is shorter and one that is longer than what was read
    for more in [5, 400] {
        all_at_once(&[Agent::Stopped, Agent::Killed], |agent| {
            let (mut site, mut numbers) = followed("app.log", "app.log");
            site.meanwhile(agent, &mut numbers, 0, |numbers| {
                recreate_with_the_same_inode(numbers.path());
                numbers.reopen();
                numbers.write(more);
            });
            nothing_is_lost_or_repeated(&mut site, &mut numbers, "app.log");
            site.assert_in_order("app.log");
        });
    }
}

#[test]
fn an_inode_that_is_used_again_while_running_is_not_taken_for_the_old_file() {
    all_at_once(&[5, 400], |more| {
        let mut site = Site::new();
        // It keeps no file open that has nothing new, so that inodes become free
        site.set("close_old_files_duration_in_seconds", 1);
        let mut numbers = site.numbers("app.log");
        numbers.write(100);
        site.copy("app.log").start();
        site.until_lines("app.log", 100);
        for _ in 0..3 {
            site.until_seen("the file is closed", || site.open_logs().is_empty());
            site.freeze();
            recreate_with_the_same_inode(numbers.path());
            numbers.reopen();
            numbers.write(more);
            site.thaw();
            site.expect_exactly_once("app.log", numbers.all());
        }
        nothing_is_lost_or_repeated(&mut site, &mut numbers, "app.log");
        site.assert_in_order("app.log");
    });
}

#[test]
fn an_inode_that_moves_to_another_followed_log_keeps_them_apart() {
    all_at_once(&ANY, |agent| {
        let mut site = Site::new();
        let mut a = site.numbers("a.log");
        let mut b = site.numbers("b.log");
        a.write(100);
        b.write(100);
        site.copy("?.log").start();
        site.until_lines("a.log", 100);
        site.until_lines("b.log", 100);
        let b_path = b.path().to_owned();
        site.meanwhile(agent, &mut a, 0, |a| {
            // b's inode is free, and a's next file may get it
            fs::remove_file(&b_path).unwrap();
            a.rotate_by_rename("a.log.1");
            a.write(60);
        });
        site.expect_exactly_once("a.log", a.all());
        b.reopen();
        b.write(60);
        site.expect_exactly_once("b.log", b.all());
        site.expect_exactly_once("a.log", a.all());
    });
}

#[test]
fn closed_files_are_found_again_after_a_rotation() {
    let mut site = Site::new();
    site.set("max_open_files", 8)
        .set("close_old_files_duration_in_seconds", 1);
    let mut logs: Vec<Numbers> = (0..20)
        .map(|n| site.numbers(&format!("app-{n:02}.log")))
        .collect();
    site.copy("app-*.log");
    for numbers in &mut logs {
        numbers.write(50);
    }
    site.start();
    for n in 0..20 {
        site.until_lines(&format!("app-{n:02}.log"), 50);
    }
    site.until_seen("all are closed", || site.open_logs().is_empty());
    for round in 1..4 {
        site.freeze();
        for (n, numbers) in logs.iter_mut().enumerate() {
            numbers.write(10);
            numbers.rotate_by_rename(format!("app-{n:02}.log.{round}"));
            numbers.write(10);
        }
        site.thaw();
        for (n, numbers) in logs.iter().enumerate() {
            let name = format!("app-{n:02}.log");
            site.expect_exactly_once(&name, numbers.all());
            site.assert_in_order(&name);
        }
    }
}

/// Rotations as fast as they come, in the order of their names, under steady writing.
fn storm(pattern: &str, rotate: impl Fn(&mut Numbers, u64) + Send + 'static) -> Site {
    let (mut site, numbers) = followed(pattern, "app.log");
    let load = Load::start(numbers, 200, Duration::from_millis(5), rotate);
    let path = site.log_path("app.log").to_str().unwrap().to_owned();
    site.until("enough under load", |state| {
        state.event_count(&path) > 40_000
    });
    let numbers = load.stop();
    let name = if pattern.ends_with('*') {
        "app.log*"
    } else {
        "app.log"
    };
    site.expect_exactly_once(name, numbers.all());
    site.term();
    site.start();
    site.until_requests(1);
    site.assert_exactly_once(name, numbers.all());
    site
}

#[test]
fn a_storm_of_renames_loses_nothing() {
    let site = storm("app.log", |numbers, burst| {
        if burst % 40 == 0 {
            shift(numbers);
        }
    });
    site.assert_in_order("app.log");
}

#[test]
fn a_storm_of_renames_loses_nothing_with_a_pattern_for_all() {
    storm("app.log*", |numbers, burst| {
        if burst % 40 == 0 {
            shift(numbers);
        }
    });
}

#[test]
fn a_storm_of_copies_and_truncations_loses_nothing() {
    storm("app.log", |numbers, burst| {
        if burst % 40 == 0 {
            numbers.copytruncate(format!("app.log.{}", 100_000 - burst));
        }
    });
}

#[test]
fn a_storm_of_copies_and_truncations_repeats_nothing_with_a_pattern_for_all() {
    storm("app.log*", |numbers, burst| {
        if burst % 40 == 0 {
            numbers.copytruncate(format!("app.log.{}", 100_000 - burst));
        }
    });
}
