//! More ways in which files change under the agent: each test is a defect that a review found.
//!
//! Belongs below `tests` (uses its `Desk`): `#[path = "review_tests.rs"] mod review;` in `tests.rs`.

use super::*;
use crate::tail::generation::State;
use std::os::unix::fs::MetadataExt;

/// Fails instead of hanging.
fn within(seconds: u64, test: impl FnOnce() + Send + 'static) {
    let (tx, rx) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(test));
        let _ = tx.send(outcome);
    });
    match rx.recv_timeout(Duration::from_secs(seconds)) {
        Ok(Ok(())) => {}
        Ok(Err(panic)) => std::panic::resume_unwind(panic),
        Err(_) => panic!("does not come to an end"),
    }
}

/// Of this thread: a busy machine does not change it.
fn cpu_seconds() -> f64 {
    let clock = nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID;
    let time = nix::time::clock_gettime(clock).unwrap();
    time.tv_sec() as f64 + time.tv_nsec() as f64 / 1e9
}

fn ino(desk: &Desk, name: &str) -> u64 {
    fs::metadata(desk.path(name)).unwrap().ino()
}

fn really_open(desk: &Desk) -> usize {
    let tailer = desk.tailer.as_ref().unwrap();
    tailer
        .logs
        .values()
        .flat_map(|l| &l.generations)
        .filter(|g| g.source.is_some())
        .count()
}

#[test]
fn overwritten_beside_two_rotated_files_with_the_same_banner() {
    within(20, || {
        let banner = "=== service starting ===\n".repeat(60);
        let mut desk = Desk::new(&["a.log"]);
        desk.append("a.log.1", format!("{banner}older text, long enough\n"));
        desk.append("a.log.2", format!("{banner}oldest text, long enough\n"));
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
fn a_log_that_was_quiet_for_long_is_not_taken_for_one_that_could_not_be_sent() {
    let mut desk = Desk::with(&["a.log"], true, |s| {
        s.staleness = Some(Duration::from_secs(900))
    });
    desk.append("a.log", "1\n");
    desk.start();
    desk.run(1000);
    desk.append("a.log", "2\n");
    desk.run(6);
    assert_eq!(desk.all("a.log"), "1\n2\n");
}

#[test]
fn what_was_skipped_as_stale_while_the_file_was_closed_is_not_the_end_of_it() {
    let mut desk = Desk::with(&["a.log"], true, |s| {
        s.staleness = Some(Duration::from_secs(900));
        s.close_old_files = Some(Duration::from_secs(100));
    });
    desk.append("a.log", "1\n");
    desk.start();
    desk.run(1000);
    desk.append("a.log", "2\n");
    desk.run(6);
    desk.stop();
    desk.append("a.log", "3\n");
    desk.start();
    desk.run(6);
    let all = desk.all("a.log");
    assert!(all == "1\n2\n3\n" || all == "1\n3\n", "{all:?}");
}

#[test]
fn a_rotation_of_all_files_at_once_keeps_within_the_limit_of_open_files() {
    let mut desk = Desk::with(&["*.log"], true, |s| s.max_open_files = 8);
    for n in 0..100 {
        desk.append(&format!("{n}.log"), "x\n");
    }
    desk.start();
    desk.run(3);
    for n in 0..100 {
        desk.rename(&format!("{n}.log"), &format!("{n}.log.1"));
        desk.append(&format!("{n}.log"), "y\n");
    }
    desk.run(4);
    assert!(
        really_open(&desk) <= 8,
        "{} are open, counted {}",
        really_open(&desk),
        desk.tailer.as_ref().unwrap().open_files()
    );
}

#[test]
fn reading_a_compressed_file_takes_time_in_proportion_to_its_length() {
    let time = |lines: usize| {
        let mut desk = Desk::new(&["a.log"]);
        desk.limit = 5_000_000;
        desk.append("a.log", "1\n");
        desk.start();
        desk.run(2);
        desk.stop();
        let text: String = (0..lines)
            .map(|n| format!("{n} some text that is compressed {n}\n"))
            .collect();
        desk.append("a.log", &text);
        desk.rename("a.log", "a.log.1");
        desk.gzip("a.log.1");
        desk.append("a.log", "end\n");
        desk.start();
        let began = cpu_seconds();
        // reading only
        let tailer = desk.tailer.as_mut().unwrap();
        let mut batch = Batch::new();
        let mut bytes = 0;
        for _ in 0..100 {
            desk.now += Duration::from_secs(1);
            tailer.poll(desk.now);
            loop {
                batch.start(&desk.envelope, desk.limit);
                let full = tailer.fill(&mut batch, desk.now);
                bytes += batch.message_bytes();
                tailer.commit(&batch, false, desk.now);
                if !full {
                    break;
                }
            }
        }
        assert_eq!(bytes, text.len() as u64 + 4);
        cpu_seconds() - began
    };
    let (small, large) = (time(20_000), time(160_000));
    eprintln!("gz: {small} s, eight times as much: {large} s");
    assert!(
        large < small * 20.0,
        "{small} s, eight times as much: {large} s"
    );
}

#[test]
fn copytruncate_of_a_closed_file_loses_nothing_even_when_outgrown() {
    let mut desk = Desk::with(&["a.log"], true, |s| {
        s.close_old_files = Some(Duration::from_secs(10))
    });
    desk.append("a.log", "one\ntwo\n");
    desk.start();
    desk.run(60);
    assert_eq!(really_open(&desk), 0);
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
fn a_new_file_that_got_the_inode_of_a_deleted_one_is_copied() {
    let mut desk = Desk::with(&["*.log"], true, |s| {
        s.close_old_files = Some(Duration::from_secs(10))
    });
    desk.append("a.log", "this is the longer one\n");
    desk.start();
    desk.run(60);
    let old = ino(&desk, "a.log");
    assert_eq!(really_open(&desk), 0);
    fs::remove_file(desk.path("a.log")).unwrap();
    desk.append("b.log", "short\n");
    if ino(&desk, "b.log") != old {
        eprintln!("this file system does not reuse inodes at once");
        return;
    }
    desk.run(200);
    assert_eq!(desk.all("b.log"), "short\n");
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
fn rotated_three_times_while_stopped_loses_nothing_although_all_files_begin_the_same() {
    for banner in [
        "=== service starting ===\n".repeat(60),
        "start\n".to_owned(),
    ] {
        let mut desk = Desk::new(&["a.log"]);
        desk.append("a.log", &banner);
        desk.start();
        desk.run(2);
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
fn the_patterns_of_all_sessions_are_remembered() {
    let dir = std::env::temp_dir().join(format!("watched-{}", random::uuid4()));
    fs::create_dir(&dir).unwrap();
    let envelope = Desk::new(&[]).envelope.clone();
    for (session, pattern) in [
        ("default-0", "/nonexistent/a*"),
        ("other-0", "/nonexistent/b*"),
    ] {
        let mut settings = Settings::new(dir.clone());
        settings.session = session.into();
        settings.worker = session.split('-').next().unwrap().into();
        Tailer::new(
            settings,
            vec![Entry::new(pattern.into())],
            envelope.clone(),
            None,
        );
    }
    let (saved, _) = crate::tail::consolidate(&dir);
    assert_eq!(saved.unwrap().watched.unwrap().len(), 2);
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_checkpoint_file_that_can_not_be_read_now_is_not_removed() {
    let dir = std::env::temp_dir().join(format!("eio-{}", random::uuid4()));
    fs::create_dir(&dir).unwrap();
    let bad = dir.join("checkpoints-worker-default-0.json");
    // ELOOP stands for EIO, EMFILE, EACCES
    std::os::unix::fs::symlink(&bad, &bad).unwrap();
    fs::write(
        dir.join("active-checkpoints-worker-default-0.json"),
        r#"{"time":1,"checkpoints":{}}"#,
    )
    .unwrap();
    crate::tail::consolidate(&dir);
    assert!(fs::symlink_metadata(&bad).is_ok());
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_clock_that_was_set_back_does_not_bring_old_positions_back() {
    let mut desk = Desk::new(&["a.log"]);
    desk.append("a.log", "1\n");
    desk.start();
    desk.run(2);
    desk.stop();
    // That run was an hour ahead
    let file = desk.path("data/checkpoints.json");
    let mut json: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let later = |v: &mut serde_json::Value| *v = (v.as_f64().unwrap() + 3600.0).into();
    later(&mut json["time"]);
    for entry in json["checkpoints"].as_object_mut().unwrap().values_mut() {
        later(&mut entry["time"]);
    }
    fs::write(&file, json.to_string()).unwrap();
    desk.start();
    desk.append("a.log", "2\n");
    desk.run(3);
    desk.stop();
    desk.start();
    desk.run(6);
    assert_eq!(desk.all("a.log"), "1\n2\n");
    assert_eq!(desk.resent, 0);
}

#[test]
fn two_workers_that_copy_the_same_file_each_keep_their_position() {
    // C17
    let mut desk = Desk::new(&["a.log"]);
    desk.append("a.log", "1\n");
    desk.start();
    let start = |desk: &Desk, session: &str, saved: Option<&crate::tail::Saved>| {
        let mut settings = Settings::new(desk.path("data"));
        settings.session = session.into();
        settings.worker = session.split('-').next().unwrap().into();
        let mut entry = Entry::new(desk.dir.join("a.log"));
        entry.copy_from_start = true;
        Tailer::new(settings, vec![entry], desk.envelope.clone(), saved)
    };
    desk.tailer = None;
    let mut other = start(&desk, "other-0", None);
    let mut default = start(&desk, "default-0", None);
    let mut batch = Batch::new();
    let now = Instant::now() + Duration::from_secs(1);
    // `other` can't send; `default` can
    other.poll(now);
    default.poll(now);
    batch.start(&desk.envelope, desk.limit);
    default.fill(&mut batch, now);
    default.commit(&batch, false, now);
    other.checkpoint_full();
    default.checkpoint_full();
    let (saved, _) = crate::tail::consolidate(&desk.path("data"));
    let mut other = start(&desk, "other-0", saved.as_ref());
    batch.start(&desk.envelope, desk.limit);
    other.poll(now);
    other.fill(&mut batch, now);
    assert_eq!(
        batch.events(),
        1,
        "the line that was never sent to the other worker is lost"
    );
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
                tailer.commit(&batch, false, now);
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
fn a_log_whose_attributes_leave_no_room_does_not_hang_on_a_long_line() {
    within(10, || {
        let mut desk = Desk::new(&["a.log", "b.log"]);
        desk.limit = 300;
        desk.append("a.log", "x".repeat(200_000));
        desk.append("a.log", "\n");
        desk.start();
        desk.run(3);
    });
}

#[test]
fn files_that_are_gone_and_done_are_forgotten_and_not_reported_as_lost() {
    let mut desk = Desk::with(&["*.log"], true, |s| {
        s.deletion_delay = Duration::from_secs(5)
    });
    desk.append("a.log", "1\n");
    desk.start();
    // Remembered before anything of it was sent
    desk.stop();
    desk.start();
    desk.run(3);
    fs::remove_file(desk.path("a.log")).unwrap();
    desk.run(140);
    assert_eq!(
        desk.tailer.as_ref().unwrap().logs.len(),
        0,
        "it was retired"
    );
    desk.stop();
    let text = fs::read_to_string(desk.path("data/checkpoints.json")).unwrap();
    eprintln!("{text}");
    desk.start();
    let tailer = desk.tailer.as_ref().unwrap();
    assert_eq!(
        tailer.retired.total_skipped() + desk.lost(),
        0,
        "bytes that were sent count as lost"
    );
    assert!(!text.contains("a.log"), "never forgotten");
}

#[test]
fn a_rotated_file_that_is_truncated_is_let_go_of() {
    let mut desk = Desk::with(&["a.log"], true, |s| {
        s.rotated_grace = Duration::from_secs(10)
    });
    desk.append("a.log", "1\n2\n");
    desk.start();
    let tailer = desk.tailer.as_mut().unwrap();
    desk.now += Duration::from_secs(1);
    tailer.poll(desk.now);
    desk.batch.start(&desk.envelope, desk.limit);
    tailer.fill(&mut desk.batch, desk.now);
    tailer.commit(&desk.batch, false, desk.now);
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
    let path = desk.dir.join("a.log");
    let log = desk.tailer.as_mut().unwrap().log_at(&path).unwrap();
    assert_eq!(log.generations.len(), 1, "{:?}", log.generations);
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
    let path = desk.dir.join("a.log");
    let log = desk.tailer.as_mut().unwrap().log_at(&path).unwrap();
    assert!(log.generations.len() < 10, "{}", log.generations.len());
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
fn a_nightly_rotation_of_a_full_folder_is_no_matter_of_minutes() {
    let time = |count: usize| {
        let mut desk = Desk::with(&["*.log"], true, |_| {});
        for n in 0..count {
            desk.append(&format!("{n}.log"), "x\n");
        }
        desk.start();
        desk.run(3);
        for n in 0..count {
            desk.rename(&format!("{n}.log"), &format!("{n}.log.1"));
            desk.append(&format!("{n}.log"), "y\n");
        }
        let began = cpu_seconds();
        let tailer = desk.tailer.as_mut().unwrap();
        desk.now += Duration::from_secs(6);
        tailer.poll(desk.now);
        cpu_seconds() - began
    };
    let (small, large) = (time(500), time(2_000));
    eprintln!("rotation of 500: {small} s, of 2000: {large} s");
    assert!(
        large < small * 7.0,
        "{small} s, four times as many: {large} s"
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
fn written_and_deleted_between_two_looks_is_still_read_after_a_restart() {
    let mut desk = Desk::new(&["a.log"]);
    desk.append("a.log", "1\n");
    desk.start();
    desk.run(2);
    desk.stop();
    desk.start();
    desk.run(2);
    desk.append("a.log", "2\n");
    fs::remove_file(desk.path("a.log")).unwrap();
    desk.run(6);
    assert_eq!(desk.all("a.log"), "1\n2\n");
}

#[test]
fn an_inode_that_a_compressed_file_gave_up_does_not_hide_the_next_file_that_has_it() {
    let mut desk = Desk::with(&["*.log"], true, |s| s.max_open_files = 0);
    desk.append("a.log", "1\n");
    desk.start();
    desk.run(2);
    desk.append("a.log", "2\n");
    let old = ino(&desk, "a.log");
    desk.rename("a.log", "a.log.1");
    desk.append("a.log", "3\n");
    let now = desk.now + Duration::from_secs(1);
    desk.tailer.as_mut().unwrap().poll_all(now);
    for log in desk.tailer.as_mut().unwrap().logs.values_mut() {
        for g in &mut log.generations {
            g.source = None;
        }
    }
    // a.log.1 is compressed before its rest is read
    let content = fs::read(desk.path("a.log.1")).unwrap();
    fs::remove_file(desk.path("a.log.1")).unwrap();
    desk.append("b.log", "other\n");
    let same = ino(&desk, "b.log") == old;
    fs::write(desk.path("a.log.1"), content).unwrap();
    desk.gzip("a.log.1");
    if !same {
        eprintln!("no inode reuse");
        return;
    }
    desk.run(200);
    assert_eq!(desk.all("a.log"), "1\n2\n3\n");
    assert_eq!(desk.all("b.log"), "other\n");
}

#[test]
fn opening_and_closing_for_days_leaves_no_trace() {
    let mut desk = Desk::with(&["a.log"], true, |s| {
        s.rotated_grace = Duration::from_secs(1);
        s.new_log_detection = Duration::from_secs(1);
    });
    desk.append("a.log", "x\n");
    desk.start();
    for _ in 0..300 {
        desk.rename("a.log", "a.log.1");
        desk.append("a.log", "x\n");
        desk.run(3);
    }
    let path = desk.dir.join("a.log");
    let tailer = desk.tailer.as_mut().unwrap();
    let hand = tailer.hand_len();
    let due = tailer.due.len();
    let g = tailer.log_at(&path).unwrap().generations.len();
    assert!(hand < 50, "{hand} {due} {g}");
}

#[test]
fn late_lines_of_a_file_that_the_python_agent_left_half_read_have_numbers_of_their_own() {
    let mut desk = Desk::new(&["a.log"]);
    desk.append("a.log.1", "1\n2\n");
    desk.append("a.log", "3\n4\n");
    let (old, new) = (ino(&desk, "a.log.1"), ino(&desk, "a.log"));
    let time = crate::util::time::now_secs();
    let checkpoint = format!(
        r#"{{"time":{time},"checkpoints":{{"{}":{{"position":0,"pending_files":[
        {{"position_start":-2,"position_end":2,"last_known_size":4,"is_log_file":false,"inode":{old}}},
        {{"position_start":2,"position_end":4,"last_known_size":2,"is_log_file":true,"inode":{new}}}],
        "sequence_id":"b00d64aa-464c-4c37-81b8-36ce979a9e33","sequence_number":2,"time":{time}}}}}}}"#,
        desk.path("a.log").display()
    );
    fs::write(desk.path("data/checkpoints.json"), checkpoint).unwrap();
    desk.append("a.log.1", "x\n");
    desk.append("a.log.1", "y\n");
    desk.start();
    desk.run(6);
    assert_eq!(desk.all("a.log"), "2\nx\ny\n3\n4\n");
    assert_eq!(desk.resent, 0);
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
fn an_outage_of_hours_with_many_rotations_keeps_order_with_few_open_files() {
    let mut desk = Desk::with(&["*.log"], true, |s| s.max_open_files = 8);
    let mut expected: HashMap<String, String> = HashMap::new();
    for f in 0..5 {
        desk.append(&format!("{f}.log"), "begin\n");
        expected.insert(format!("{f}.log"), "begin\n".into());
    }
    desk.start();
    desk.run(2);
    for round in 0..12 {
        for f in 0..5 {
            let name = format!("{f}.log");
            for k in (1..round + 1).rev() {
                desk.rename(&format!("{f}.log.{k}"), &format!("{f}.log.{}", k + 1));
            }
            desk.append(&name, format!("end of {round}\n"));
            desk.rename(&name, &format!("{f}.log.1"));
            desk.append(&name, format!("start of {}\n", round + 1));
            let text = expected.get_mut(&name).unwrap();
            *text += &format!("end of {round}\nstart of {}\n", round + 1);
        }
        // looked at, not read
        for _ in 0..10 {
            desk.now += Duration::from_secs(30);
            let now = desk.now;
            desk.tailer.as_mut().unwrap().poll(now);
        }
        if round == 6 {
            // all of it is read, but rolled back later
            desk.batch.start(&desk.envelope, desk.limit);
            let tailer = desk.tailer.as_mut().unwrap();
            tailer.fill(&mut desk.batch, desk.now);
        }
    }
    desk.tailer.as_mut().unwrap().rewind();
    let open = really_open(&desk);
    desk.run(20);
    for (name, text) in &expected {
        assert_eq!(&desk.all(name), text);
    }
    assert_eq!(desk.resent, 0);
    assert!(open <= 8, "{open} open");
}

#[test]
fn copytruncated_with_lines_in_flight_that_are_rolled_back() {
    let mut desk = Desk::new(&["a.log"]);
    desk.append("a.log", "1\n");
    desk.start();
    desk.run(2);
    desk.append("a.log", "2\n3\n");
    desk.now += Duration::from_secs(5);
    let tailer = desk.tailer.as_mut().unwrap();
    tailer.poll(desk.now);
    desk.batch.start(&desk.envelope, desk.limit);
    tailer.fill(&mut desk.batch, desk.now);
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
    let _ = State::Current;
}

#[test]
fn an_inode_that_was_given_up_to_a_compressed_copy_is_followed_under_its_next_name() {
    let mut desk = Desk::with(&["*.log"], true, |s| s.max_open_files = 0);
    desk.append("a.log", "1\n");
    desk.start();
    desk.run(2);
    desk.append("a.log", "2\n");
    let old = ino(&desk, "a.log");
    desk.rename("a.log", "a.log.1");
    desk.append("a.log", "3\n");
    let now = desk.now + Duration::from_secs(1);
    desk.tailer.as_mut().unwrap().poll_all(now);
    for log in desk.tailer.as_mut().unwrap().logs.values_mut() {
        for g in &mut log.generations {
            g.source = None;
        }
    }
    desk.gzip("a.log.1");
    desk.run(5);
    assert_eq!(desk.all("a.log"), "1\n2\n3\n");
    desk.append("b.log", "other\n");
    if ino(&desk, "b.log") != old {
        eprintln!("no inode reuse");
        return;
    }
    desk.run(400);
    assert_eq!(desk.all("b.log"), "other\n");
}

#[test]
#[ignore = "changes the process's limit: run alone"]
fn fewer_descriptors_than_max_open_files_keep_no_file_waiting_for_ever() {
    let mut desk = Desk::new(&["*.log"]);
    for n in 0..100 {
        desk.append(&format!("{n}.log"), "x\n");
    }
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, 60, 60).unwrap();
    desk.start();
    desk.run(60);
    let checkpoint_error = desk.tailer.as_ref().unwrap().store.error.clone();
    eprintln!("{checkpoint_error:?}");
    assert_eq!(desk.names().len(), 100);
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
    for log in desk.tailer.as_mut().unwrap().logs.values_mut() {
        for g in &mut log.generations {
            g.source = None;
        }
    }
    desk.run(2000);
    let all = desk.all("a.log");
    nix::unistd::seteuid(0.into()).unwrap();
    assert!(all.ends_with("3\n"), "{all:?}");
}
