//! Inodes that are used again by another file.

use super::*;

#[test]
fn a_reused_inode_is_not_taken_for_the_old_file() {
    // The new file is larger, so inode and length alone do not tell it from the old one
    for running in [false, true] {
        let mut desk = Desk::with(&["a.log"], true, |s| s.max_open_files = 0);
        desk.append("a.log", "1\n");
        desk.start();
        desk.run(2);
        if !running {
            desk.stop();
        }
        let old = desk.ino("a.log");
        // In place: what a reused inode looks like from outside
        fs::write(desk.path("a.log"), "2 is longer than what was there\n").unwrap();
        assert_eq!(desk.ino("a.log"), old);
        if !running {
            desk.start();
        }
        desk.run(6);
        assert_eq!(desk.all("a.log"), "1\n2 is longer than what was there\n");
    }
}

#[test]
fn a_new_file_that_got_the_inode_of_a_deleted_one_is_copied() {
    let mut desk = Desk::with(&["*.log"], true, |s| {
        s.close_old_files = Some(Duration::from_secs(10))
    });
    desk.append("a.log", "this is the longer one\n");
    desk.start();
    desk.run(60);
    let old = desk.ino("a.log");
    assert_eq!(desk.really_open(), 0);
    fs::remove_file(desk.path("a.log")).unwrap();
    desk.append("b.log", "short\n");
    if desk.ino("b.log") != old {
        eprintln!("this file system does not reuse inodes at once");
        return;
    }
    desk.run(200);
    assert_eq!(desk.all("b.log"), "short\n");
}

#[test]
fn an_inode_that_a_compressed_file_gave_up_does_not_hide_the_next_file_that_has_it() {
    let mut desk = Desk::with(&["*.log"], true, |s| s.max_open_files = 0);
    desk.append("a.log", "1\n");
    desk.start();
    desk.run(2);
    desk.append("a.log", "2\n");
    let old = desk.ino("a.log");
    desk.rename("a.log", "a.log.1");
    desk.append("a.log", "3\n");
    let now = desk.now + Duration::from_secs(1);
    desk.tailer.as_mut().unwrap().poll_all(now);
    desk.close_all();
    // a.log.1 is compressed before its rest is read
    let content = fs::read(desk.path("a.log.1")).unwrap();
    fs::remove_file(desk.path("a.log.1")).unwrap();
    desk.append("b.log", "other\n");
    let same = desk.ino("b.log") == old;
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
fn an_inode_that_was_given_up_to_a_compressed_copy_is_followed_under_its_next_name() {
    let mut desk = Desk::with(&["*.log"], true, |s| s.max_open_files = 0);
    desk.append("a.log", "1\n");
    desk.start();
    desk.run(2);
    desk.append("a.log", "2\n");
    let old = desk.ino("a.log");
    desk.rename("a.log", "a.log.1");
    desk.append("a.log", "3\n");
    let now = desk.now + Duration::from_secs(1);
    desk.tailer.as_mut().unwrap().poll_all(now);
    desk.close_all();
    desk.gzip("a.log.1");
    desk.run(5);
    assert_eq!(desk.all("a.log"), "1\n2\n3\n");
    desk.append("b.log", "other\n");
    if desk.ino("b.log") != old {
        eprintln!("no inode reuse");
        return;
    }
    desk.run(400);
    assert_eq!(desk.all("b.log"), "other\n");
}

/// Deletes a.log, which is empty and closed, and has the file `name` get its inode; false if it
/// does not. The file systems that use an inode again at once do so for the next file.
fn takes_its_inode(desk: &mut Desk, name: &str, text: &str) -> bool {
    let ino = desk.ino("a.log");
    if desk.tailer.is_some() {
        desk.close_all();
        desk.tailer.as_mut().unwrap().open = 0;
    }
    fs::remove_file(desk.path("a.log")).unwrap();
    desk.append(name, text);
    desk.ino(name) == ino
}

#[test]
fn a_file_that_gets_the_inode_of_an_empty_log_is_not_sent_as_its_text() {
    for stopped in [false, true] {
        let mut tries = 0;
        // Created in one tick of the clock, they have one time of birth too
        while tries < 30 {
            let mut desk = Desk::new(&["a.log"]);
            desk.append("a.log", "");
            desk.start();
            if stopped {
                desk.stop();
            }
            let told = takes_its_inode(&mut desk, "secret.txt", "secret\n");
            if stopped {
                desk.start();
            }
            desk.append("a.log", "1\n");
            desk.run(6);
            assert_eq!(desk.all("a.log"), "1\n", "stopped: {stopped}");
            tries += if told { 10 } else { 1 };
        }
    }
}
