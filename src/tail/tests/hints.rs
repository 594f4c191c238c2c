//! Logs that rest until the kernel tells of them.

use super::*;
use crate::tail::hints::Hints;

/// As [`Desk::run`], but in real time, until a text has arrived.
impl Desk {
    fn hinted(patterns: &[&str]) -> (Desk, Hints) {
        let hints = Hints::start(1_000).unwrap();
        let mut desk = Desk::new(patterns);
        desk.hints = Some(hints.source());
        (desk, hints)
    }

    /// Time passes in which the kernel tells nothing, until all logs rest.
    fn rest(&mut self) {
        // A file that was rotated is looked at for five minutes, one that was moved away for ten
        for _ in 0..70 {
            self.run(10);
            if self.rests() {
                return;
            }
        }
        panic!("some log does not rest");
    }

    fn rests(&self) -> bool {
        let tailer = self.tailer.as_ref().unwrap();
        let soon = self.now + 2 * tailer.idle_interval();
        tailer.logs.values().all(|log| log.due > soon)
    }

    /// Takes hints until a log has this text. No time passes that a look without hints would need.
    fn told(&mut self, name: &str, text: &str) {
        let until = Instant::now() + Duration::from_secs(20);
        while self.all(name) != text {
            assert!(Instant::now() < until, "{name}: {:?}", self.all(name));
            let tailer = self.tailer.as_ref().unwrap();
            let bell = tailer.hint_bell().unwrap().clone();
            let _ = bell.recv_timeout(Duration::from_millis(20));
            self.pass(Duration::from_millis(20));
        }
    }
}

#[test]
fn a_line_in_a_file_that_was_idle_for_long_is_read_at_once() {
    let (mut desk, _hints) = Desk::hinted(&["*.log"]);
    desk.append("a.log", "1\n");
    desk.append("b.log", "1\n");
    desk.start();
    desk.rest();
    desk.append("b.log", "2\n");
    desk.told("b.log", "1\n2\n");
    desk.rest();
    desk.append("a.log", "2\n");
    desk.told("a.log", "1\n2\n");
}

#[test]
fn a_new_file_is_found_without_a_scan() {
    let (mut desk, _hints) = Desk::hinted(&["*.log", "one/a.txt"]);
    desk.append("a.log", "1\n");
    desk.start();
    desk.rest();
    let scans = desk.tailer.as_ref().unwrap().scans;
    desk.append("b.log", "1\n");
    desk.told("b.log", "1\n");
    assert_eq!(desk.tailer.as_ref().unwrap().scans, scans);
}

#[test]
fn a_folder_that_comes_later_is_found_with_what_is_in_it() {
    let (mut desk, _hints) = Desk::hinted(&["one/two/a.log", "*/b.log", "**/c.txt"]);
    desk.start();
    desk.rest();
    for dir in ["one", "one/two"] {
        fs::create_dir(desk.path(dir)).unwrap();
        desk.append(&format!("{dir}/c.txt"), "1\n");
        desk.told(&format!("{dir}/c.txt"), "1\n");
    }
    desk.append("one/two/a.log", "1\n");
    desk.told("one/two/a.log", "1\n");
    desk.append("one/b.log", "1\n");
    desk.told("one/b.log", "1\n");
}

#[test]
fn a_file_that_lives_for_a_moment_is_copied_whole() {
    let (mut desk, _hints) = Desk::hinted(&["*.log"]);
    desk.start();
    desk.rest();
    desk.append("b.log", "");
    let until = Instant::now() + Duration::from_secs(20);
    while desk.really_open() == 0 {
        assert!(Instant::now() < until);
        desk.pass(Duration::from_millis(1));
    }
    desk.append("b.log", "1\n");
    desk.pass(Duration::from_millis(1));
    desk.append("b.log", "2\n");
    fs::remove_file(desk.path("b.log")).unwrap();
    desk.told("b.log", "1\n2\n");
}

#[test]
fn a_rotation_of_a_log_that_rests_is_followed_at_once() {
    let (mut desk, _hints) = Desk::hinted(&["*.log"]);
    desk.append("a.log", "1\n");
    desk.start();
    desk.rest();
    desk.append("a.log", "2\n");
    desk.rename("a.log", "a.log.1");
    desk.append("a.log", "3\n");
    desk.told("a.log", "1\n2\n3\n");
}

#[test]
fn a_log_behind_links_is_told_of_by_its_file_and_by_each_link() {
    use std::os::unix::fs::symlink;
    let (mut desk, _hints) = Desk::hinted(&["here/now.log"]);
    for dir in ["here", "old", "new", "real"] {
        let _ = fs::create_dir(desk.path(dir));
    }
    desk.append("real/a.log", "1\n");
    desk.append("real/b.log", "4\n");
    symlink("../real/a.log", desk.path("old/x.log")).unwrap();
    symlink("../real/b.log", desk.path("new/x.log")).unwrap();
    symlink("old", desk.path("way")).unwrap();
    symlink("../way/x.log", desk.path("here/now.log")).unwrap();
    desk.start();
    desk.rest();
    desk.append("real/a.log", "2\n");
    desk.told("here/now.log", "1\n2\n");
    desk.rest();
    // A link in the middle of the way is exchanged
    symlink("new", desk.path("way.tmp")).unwrap();
    desk.rename("way.tmp", "way");
    desk.told("here/now.log", "1\n2\n4\n");
    desk.rest();
    desk.append("real/b.log", "5\n");
    desk.told("here/now.log", "1\n2\n4\n5\n");
}

#[test]
fn a_file_with_a_name_elsewhere_is_told_of_itself() {
    let (mut desk, _hints) = Desk::hinted(&["*.log"]);
    desk.append("a.log", "1\n");
    fs::hard_link(desk.path("a.log"), desk.path("old/other")).unwrap();
    desk.foreign_links = true;
    desk.start();
    desk.rest();
    for n in 2..5 {
        desk.append("old/other", format!("{n}\n"));
        let text: String = (1..=n).map(|n| format!("{n}\n")).collect();
        desk.told("a.log", &text);
        desk.rest();
    }
}

#[test]
fn a_folder_that_was_exchanged_while_all_rested_is_found() {
    let (mut desk, _hints) = Desk::hinted(&["logs/*.log"]);
    fs::create_dir(desk.path("logs")).unwrap();
    desk.append("logs/a.log", "1\n");
    desk.start();
    desk.rest();
    desk.rename("logs", "away");
    fs::create_dir(desk.path("logs")).unwrap();
    desk.append("logs/a.log", "2\n");
    desk.append("logs/b.log", "3\n");
    // The next scan is soon
    desk.run(2);
    desk.told("logs/b.log", "3\n");
    desk.told("logs/a.log", "1\n2\n");
    desk.rest();
    desk.append("logs/b.log", "4\n");
    desk.told("logs/b.log", "3\n4\n");
}

#[test]
fn who_writes_much_is_not_asked_to_tell_of_each_write() {
    let (mut desk, _hints) = Desk::hinted(&["*.log"]);
    desk.append("a.log", "1\n");
    desk.append("b.log", "1\n");
    desk.start();
    desk.rest();
    let much = "x".repeat(1_000) + "\n";
    for _ in 0..100 {
        desk.append("a.log", &much);
    }
    desk.told("a.log", &format!("1\n{}", much.repeat(100)));
    desk.append("b.log", "2\n");
    let tailer = desk.tailer.as_ref().unwrap();
    let bell = tailer.hint_bell().unwrap().clone();
    while bell.recv_timeout(Duration::from_millis(700)).is_ok() {}
    for _ in 0..100 {
        desk.append("a.log", &much);
    }
    assert!(bell.recv_timeout(Duration::from_millis(700)).is_err());
    // It is looked at as without hints
    desk.run(2);
    assert_eq!(desk.all("b.log"), "1\n2\n");
    assert_eq!(desk.all("a.log").len(), 2 + 200 * 1_001);
    // Until it is quiet
    desk.run(20);
    desk.rest();
    desk.append("b.log", "3\n");
    desk.told("b.log", "1\n2\n3\n");
}

#[test]
fn lost_hints_have_everything_looked_at() {
    let (mut desk, _hints) = Desk::hinted(&["*.log"]);
    desk.append("a.log", "1\n");
    desk.start();
    desk.rest();
    let tailer = desk.tailer.as_mut().unwrap();
    let waiting = crate::tail::hints::Waiting {
        lost: true,
        ..Default::default()
    };
    tailer.told_all(waiting, desk.now);
    let soon = desk.now + tailer.idle_interval() * 2;
    assert!(tailer.logs.values().all(|log| log.due <= soon));
    assert!(tailer.next_scan <= soon);
}

#[test]
fn a_folder_that_was_exchanged_further_up_leaves_no_log_resting_after_the_next_scan() {
    let (mut desk, _hints) = Desk::hinted(&["top/logs/a.log"]);
    fs::create_dir_all(desk.path("top/logs")).unwrap();
    desk.append("top/logs/a.log", "1\n");
    desk.start();
    desk.rest();
    // Nothing is told of this: only folders of links and of logs are watched
    desk.rename("top", "away");
    fs::create_dir_all(desk.path("top/logs")).unwrap();
    desk.append("top/logs/a.log", "2\n");
    let now = desk.now;
    let tailer = desk.tailer.as_mut().unwrap();
    tailer.scan(now);
    let soon = now + 2 * tailer.idle_interval();
    assert!(tailer.logs.values().all(|log| log.due <= soon));
    desk.told("top/logs/a.log", "1\n2\n");
}

#[test]
fn a_file_that_grows_seldom_rests_as_soon_as_its_line_is_read() {
    let (mut desk, _hints) = Desk::hinted(&["*.log"]);
    desk.append("a.log", "1\n");
    desk.start();
    desk.rest();
    desk.append("a.log", "2\n");
    desk.told("a.log", "1\n2\n");
    assert!(desk.rests());
    // And nobody is woken for a look that is not wanted any more
    let next = desk.tailer.as_mut().unwrap().next_poll();
    assert!(next > desk.now + Duration::from_secs(2));
    // Half a line has its time, and is not left to the kernel's hints
    desk.run(10);
    desk.append("a.log", "3");
    let bell = desk.tailer.as_ref().unwrap().hint_bell().unwrap().clone();
    bell.recv_timeout(Duration::from_secs(20)).unwrap();
    desk.run(10);
    assert_eq!(desk.all("a.log"), "1\n2\n3");
}

#[test]
fn a_log_that_grows_while_its_line_is_read_is_told_of_again() {
    let (mut desk, _hints) = Desk::hinted(&["*.log"]);
    desk.append("a.log", "1\n");
    desk.start();
    desk.rest();
    for n in 2..20 {
        let so_far: String = (1..=n).map(|n| format!("{n}\n")).collect();
        desk.append("a.log", format!("{n}\n"));
        desk.told("a.log", &so_far);
    }
}

#[test]
fn a_folder_that_is_moved_to_another_file_system_while_watched_is_followed_there() {
    let other = Path::new("/dev/shm");
    let (mut desk, _hints) = Desk::hinted(&["logs/*.log"]);
    if !fs::metadata(other).is_ok_and(|it| it.dev() != fs::metadata(&desk.dir).unwrap().dev()) {
        return;
    }
    let away = other.join(format!("hints-{}", random::uuid4()));
    fs::create_dir(desk.path("logs")).unwrap();
    desk.append("logs/a.log", "1\n2\n3\n");
    desk.append("logs/b.log", "1\n");
    desk.foreign_links = true;
    desk.start();
    desk.rest();
    // As `mv` does it, with the modes and dates
    let moved = std::process::Command::new("mv")
        .arg(desk.path("logs"))
        .arg(&away)
        .status();
    assert!(moved.unwrap().success());
    std::os::unix::fs::symlink(&away, desk.path("logs")).unwrap();
    desk.run(70);
    assert_eq!(desk.all("logs/a.log"), "1\n2\n3\n");
    desk.rest();
    desk.append("logs/a.log", "4\n");
    desk.told("logs/a.log", "1\n2\n3\n4\n");
    desk.append("logs/c.log", "1\n");
    desk.told("logs/c.log", "1\n");
    assert_eq!(desk.all("logs/b.log"), "1\n");
    fs::remove_dir_all(&away).unwrap();
}

#[test]
#[ignore = "needs a minute: it makes 100,000 folders"]
fn a_tree_with_more_folders_than_watches_is_copied_as_without_hints() {
    let shm = Path::new("/dev/shm");
    let folder = if shm.is_dir() {
        shm.to_path_buf()
    } else {
        std::env::temp_dir()
    };
    let hints = Hints::start(5_000).unwrap();
    let mut desk = Desk::within(&folder, &["tree/**/*.log"], true, |_| {});
    desk.hints = Some(hints.source());
    for n in 0..100_000 {
        fs::create_dir_all(desk.path(&format!("tree/{}/{n}", n / 1_000))).unwrap();
    }
    let logs: Vec<String> = (0..100_000)
        .step_by(9_973)
        .map(|n| format!("tree/{}/{n}/a.log", n / 1_000))
        .collect();
    for log in &logs {
        desk.append(log, "1\n");
    }
    let began = Instant::now();
    desk.start();
    assert!(
        began.elapsed() < Duration::from_secs(30),
        "{:?}",
        began.elapsed()
    );
    desk.run(10);
    let tailer = desk.tailer.as_ref().unwrap();
    let status = tailer.watching.as_ref().unwrap().status();
    assert!(status.folders <= 5_000, "{status:?}");
    // An expansion has a bounded number of steps, so not all folders are come by
    let without: u64 = status.without.values().sum();
    assert!(without > 10_000, "{status:?}");
    let found = logs.iter().filter(|log| desk.all(log) == "1\n");
    let found: Vec<String> = found.cloned().collect();
    assert!(!found.is_empty());
    for log in &found {
        desk.append(log, "2\n");
    }
    desk.run(70);
    for log in &found {
        assert_eq!(desk.all(log), "1\n2\n", "{log}");
    }
}
