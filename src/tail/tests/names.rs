//! Files whose names or texts look like another log's: none is sent under a wrong name, none is left
//! out, and none is sent that nobody configured.

use super::*;

/// As logrotate does with `dateext` and `create`.
fn rotate_dated(desk: &Desk, day: u32, names: &[&str]) {
    for name in names {
        desk.rename(name, &format!("{name}-202611{day:02}"));
        desk.append(name, "");
    }
}

#[test]
fn a_file_that_no_entry_names_is_not_sent_as_a_rotated_one() {
    let mut desk = Desk::new(&["app.log"]);
    desk.append("app.log", "1\n");
    desk.append("app-2.log", "secret\n");
    desk.start();
    desk.run(2);
    for day in 1..4 {
        rotate_dated(&desk, day, &["app.log", "app-2.log"]);
        for secret in ["app-2.log", "app_8080.log", "app.7.log", "app-20261101.log"] {
            desk.append(secret, "secret\n");
        }
        desk.run(3);
        desk.append("app.log", format!("{}\n", day + 1));
        desk.run(3);
    }
    assert_eq!(desk.all("app.log"), "1\n2\n3\n4\n");
    assert_eq!(desk.names(), ["app.log"]);
}

#[test]
fn an_excluded_file_is_not_sent_as_a_rotated_one() {
    for stopped in [false, true] {
        let mut desk = Desk::new(&["app*.log"]);
        desk.exclude = vec![b"*/app-2*".to_vec(), b"*/app.log-*2".to_vec()];
        desk.append("app.log", "1\n");
        desk.append("app-2.log", "secret\n");
        desk.start();
        desk.run(2);
        rotate_dated(&desk, 1, &["app.log", "app-2.log"]);
        desk.append("app.log", "2\n");
        desk.run(3);
        if stopped {
            desk.stop();
        }
        // Its kind is known, its name is excluded
        desk.append("app.log-20261102", "secret\n");
        rotate_dated(&desk, 3, &["app.log", "app-2.log"]);
        desk.append("app-2.log", "secret\n");
        desk.append("app.log", "3\n");
        if stopped {
            desk.start();
        }
        desk.run(3);
        assert_eq!(desk.all("app.log"), "1\n2\n3\n", "stopped: {stopped}");
        assert_eq!(desk.names(), ["app.log"]);
    }
}

#[test]
fn logs_with_names_that_look_alike_keep_their_lines() {
    for stopped in [false, true] {
        let names = [
            "access.log",
            "access_8080.log",
            "access-1.log",
            "access.1.log",
        ];
        let mut desk = Desk::new(&["*.log"]);
        for name in names {
            desk.append(name, format!("{name} 0\n"));
        }
        desk.start();
        desk.run(2);
        for day in 1..6 {
            if stopped {
                desk.stop();
            }
            rotate_dated(&desk, day, &names);
            if !stopped {
                desk.run(1);
            }
            for name in names {
                desk.append(name, format!("{name} {day}\n"));
            }
            if stopped {
                desk.start();
            }
            desk.run(3);
        }
        for name in names {
            let all: String = (0..6).map(|day| format!("{name} {day}\n")).collect();
            assert_eq!(desk.all(name), all, "stopped: {stopped}");
        }
        assert_eq!(desk.names().len(), names.len());
    }
}

#[test]
fn a_name_that_looks_rotated_is_a_log_of_its_own_also_when_it_is_deleted_and_created() {
    let mut desk = Desk::new(&["*.log"]);
    desk.append("app.log", "0\n");
    desk.start();
    desk.run(2);
    for n in 1..4 {
        fs::remove_file(desk.path("app.log")).unwrap();
        desk.append("app.1.log", format!("other {n}\n"));
        desk.append("app-20261123.log", format!("dated {n}\n"));
        desk.run(2);
        desk.append("app.log", format!("{n}\n"));
        desk.run(70);
    }
    assert_eq!(desk.all("app.log"), "0\n1\n2\n3\n");
    assert_eq!(desk.all("app.1.log"), "other 1\nother 2\nother 3\n");
    assert_eq!(desk.all("app-20261123.log"), "dated 1\ndated 2\ndated 3\n");
}

#[test]
fn a_neighbour_with_an_equal_header_is_not_taken_for_the_copy_of_a_truncated_log() {
    let banner = "=== service starting ===\n".repeat(60);
    let mut desk = Desk::new(&["a.log"]);
    desk.append("a.log", &banner);
    desk.start();
    desk.run(2);
    // An instance that nobody configured, and whose name is one that no rotation gives
    desk.append("a-1.log", format!("{banner}secret\n"));
    fs::write(desk.path("a.log"), "2\n").unwrap();
    desk.run(6);
    assert_eq!(desk.all("a.log"), format!("{banner}2\n"));
    assert_eq!(desk.names(), ["a.log"]);
}

#[test]
fn a_new_log_that_begins_as_another_is_sent() {
    for (old, new) in [
        ("started\nmore\n", "started\n"),
        ("started\n", "started\n"),
        ("started\n", "started\nand more\n"),
    ] {
        let mut desk = Desk::new(&["*.log*"]);
        desk.append("worker.log", old);
        desk.start();
        desk.run(2);
        desk.append("worker.log.2", new);
        let now = desk.now;
        desk.tailer.as_mut().unwrap().scan(now);
        desk.run(5);
        assert_eq!(desk.all("worker.log.2"), new);
        let repeated = desk.log("worker.log.2").counters.get().repeated;
        assert_eq!(repeated, new.len() as u64);
        assert_eq!(desk.all("worker.log"), old);
    }
}

#[test]
fn a_new_log_with_an_equal_long_header_is_sent_at_once() {
    let banner = "=== service starting ===\n".repeat(60);
    let mut desk = Desk::new(&["*.log*"]);
    desk.append("worker.log", format!("{banner}one\n"));
    desk.start();
    desk.run(2);
    desk.append("worker.log.2", format!("{banner}two\n"));
    let now = desk.now;
    desk.tailer.as_mut().unwrap().scan(now);
    desk.run(1);
    assert_eq!(desk.all("worker.log.2"), format!("{banner}two\n"));
}

#[test]
fn a_new_log_that_begins_as_another_and_is_deleted_at_once_is_sent() {
    let mut desk = Desk::new(&["*.log*"]);
    desk.append("worker.log", "started\nmore\n");
    desk.start();
    desk.run(2);
    desk.append("worker.log.2", "started\n");
    let now = desk.now;
    desk.tailer.as_mut().unwrap().scan(now);
    fs::remove_file(desk.path("worker.log.2")).unwrap();
    desk.run(5);
    assert_eq!(desk.all("worker.log.2"), "started\n");
    assert_eq!(desk.log("worker.log.2").counters.get().repeated, 8);
}

#[test]
fn a_copy_that_takes_long_to_make_is_not_sent_again() {
    let mut desk = Desk::new(&["*.log*"]);
    let text: String = (0..400).map(|n| format!("line {n}\n")).collect();
    desk.append("a.log", &text);
    desk.start();
    desk.run(2);
    for part in text.as_bytes().chunks(500) {
        desk.append("a.log.1", part);
        let now = desk.now;
        desk.tailer.as_mut().unwrap().scan(now);
        desk.run(1);
    }
    fs::write(desk.path("a.log"), "after\n").unwrap();
    desk.run(70);
    assert_eq!(desk.all("a.log"), format!("{text}after\n"));
    assert_eq!(desk.names(), ["a.log"]);
}

#[test]
fn a_kind_of_rotated_name_that_was_not_seen_before_is_left_alone() {
    let mut desk = Desk::new(&["a.log"]);
    desk.start();
    desk.run(2);
    // It came and went between two looks: nothing tells that this was a.log
    desk.append("a.log.1", "whose?\n");
    desk.run(6);
    desk.append("a.log", "1\n");
    desk.run(6);
    assert_eq!(desk.all("a.log"), "1\n");
}

#[test]
fn a_file_that_waited_keeps_no_idle_agent_busy() {
    // Once found by a scan, once shown by a path that is followed
    let mut desk = Desk::new(&["*.log*"]);
    desk.append("a.log", "started\nmore\n");
    desk.append("a.log.1", "older\n");
    desk.start();
    desk.run(2);
    fs::remove_file(desk.path("a.log.1")).unwrap();
    desk.append("a.log.1", "started\n");
    desk.append("a.log.2", b"\x1F\x8B\x08 no text");
    desk.append("a.log.3", "started\nmore\n");
    desk.run(70);
    assert_eq!(desk.all("a.log.1"), "older\nstarted\n");
    assert_eq!(desk.all("a.log.3"), "started\nmore\n");
    assert!(desk.tailer.as_ref().unwrap().waiting.is_empty());
}
