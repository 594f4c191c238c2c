//! Where copying of a file begins: at the first start, of files that come later, of patterns that are added.

use super::*;

#[test]
fn grows_and_is_copied_once() {
    let mut desk = Desk::new(&["a.log"]);
    desk.append("a.log", "one\n");
    desk.start();
    desk.run(1);
    desk.append("a.log", "two\nthree\n");
    desk.run(6);
    assert_eq!(desk.all("a.log"), "one\ntwo\nthree\n");
    assert_eq!(desk.arrived.resent, 0);
}

#[test]
fn first_start_begins_at_the_end_and_no_line_after_that_is_missed() {
    // The end is taken and written down at the start. The Python agent takes it five seconds later,
    // and does not write it down
    let mut desk = Desk::with(&["a.log"], false, |_| {});
    desk.append("a.log", "old\n");
    desk.start();
    desk.append("a.log", "new\n");
    desk.kill();
    desk.append("a.log", "newer\n");
    desk.start();
    desk.run(6);
    assert_eq!(desk.all("a.log"), "new\nnewer\n");
}

#[test]
fn created_while_stopped_is_copied_from_its_start() {
    // The Python agent begins at the end of each file that it finds at its start without a checkpoint
    let mut desk = Desk::with(&["*.log"], false, |_| {});
    desk.append("a.log", "old\n");
    desk.start();
    desk.run(1);
    desk.stop();
    desk.append("b.log", "all of it\n");
    desk.start();
    desk.run(6);
    assert_eq!(desk.all("b.log"), "all of it\n");
    assert_eq!(desk.all("a.log"), "");
}

#[test]
fn a_pattern_added_later_begins_at_the_end_of_what_exists() {
    let mut desk = Desk::with(&["a.log"], false, |_| {});
    desk.append("a.log", "a\n");
    desk.append("b.log", "history\n");
    desk.start();
    desk.stop();
    desk.entries.push(("b.log".into(), false));
    desk.start();
    desk.append("b.log", "news\n");
    desk.run(6);
    assert_eq!(desk.all("b.log"), "news\n");
}

#[test]
fn found_while_running_is_copied_from_its_start() {
    let mut desk = Desk::with(&["*.log"], false, |_| {});
    desk.start();
    desk.append("late.log", "first\n");
    desk.run(61);
    assert_eq!(desk.all("late.log"), "first\n");
}

#[test]
fn the_patterns_of_all_sessions_are_remembered() {
    let dir = std::env::temp_dir().join(format!("watched-{}", random::uuid4()));
    fs::create_dir(&dir).unwrap();
    let envelope = Desk::new(&[]).envelope.clone();
    let open = crate::tail::positions::open(&dir, Duration::ZERO, Duration::MAX);
    let positions = open.unwrap();
    for (session, pattern) in [
        ("default-0", "/nonexistent/a*"),
        ("other-0", "/nonexistent/b*"),
    ] {
        let mut settings = Settings::new(dir.clone());
        settings.session = session.into();
        settings.journal = Some(positions.journal.clone());
        settings.worker = session.split('-').next().unwrap().into();
        Tailer::new(
            settings,
            vec![Entry::new(pattern.into())],
            envelope.clone(),
            None,
        );
    }
    assert!(positions.journal.stop(Duration::from_secs(20)));
    let saved = crate::tail::positions::look(&dir).0.unwrap().saved;
    assert_eq!(saved.watched.unwrap().len(), 2);
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn fifos_devices_and_folders_are_never_opened() {
    // Opening a FIFO for reading waits for a writer, which need not come
    let mut desk = Desk::new(&["*"]);
    nix::unistd::mkfifo(&desk.path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(desk.path("socket")).unwrap();
    desk.append("a", "1\n");
    desk.start();
    desk.run(3);
    assert_eq!(desk.names(), ["a"]);
    assert_eq!(desk.tailer.as_ref().unwrap().unreadable.len(), 2);
}

#[test]
fn archives_of_long_ago_are_not_sent_when_the_clock_leaps_after_a_rotation() {
    let mut desk = Desk::new(&["a.log"]);
    for day in 1..6 {
        desk.append(&format!("a.log-2026110{day}"), "of last week\n");
    }
    desk.append("a.log", "1\n");
    desk.start();
    desk.run(2);
    // As if the agent had looked last in 1970
    desk.log("a.log").last_check = Some(10.0);
    // The device's own date at that time
    desk.rename("a.log", "a.log-19700101");
    desk.append("a.log", "2\n");
    desk.run(6);
    assert_eq!(desk.all("a.log"), "1\n2\n");
    assert_eq!(desk.names(), ["a.log"]);
}
