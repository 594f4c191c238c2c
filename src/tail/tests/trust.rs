//! Users who may write in a log folder must not have other files of the machine sent.

use super::*;
use std::os::unix::fs::{lchown, symlink, PermissionsExt};

/// The log folder of a desk: everyone may write in it, as in `/tmp`.
const LOGS: &str = "logs";
const EVIL: u32 = 30;

fn desk(patterns: &[&str]) -> Desk {
    let desk = Desk::new(patterns);
    fs::create_dir(desk.path(LOGS)).unwrap();
    fs::set_permissions(desk.path(LOGS), fs::Permissions::from_mode(0o1777)).unwrap();
    fs::create_dir(desk.path("secret")).unwrap();
    desk
}

impl Desk {
    fn evil_link(&self, name: &str, to: &str) {
        let _ = fs::remove_file(self.path(name));
        symlink(self.path(to), self.path(name)).unwrap();
        lchown(self.path(name), Some(EVIL), None).unwrap();
    }

    fn refused(&self) -> Vec<String> {
        let told = self.tailer.as_ref().unwrap().status().unreadable;
        let name = |path: &Path| path.strip_prefix(&self.dir).unwrap().display().to_string();
        told.iter().map(|told| name(&told.path)).collect()
    }

    fn sent(&self) -> String {
        let all = self.arrived.text.values();
        all.map(|text| String::from_utf8_lossy(text)).collect()
    }
}

#[test]
fn a_hard_link_that_anyone_may_have_made_is_not_sent() {
    let mut desk = desk(&["logs/*.log"]);
    desk.append("secret/s", "secret\n");
    desk.append("logs/a.log", "1\n");
    fs::hard_link(desk.path("secret/s"), desk.path("logs/x.log")).unwrap();
    desk.start();
    desk.run(2);
    assert_eq!(desk.sent(), "1\n");
    assert_eq!(desk.refused(), ["logs/x.log"]);
    // It is followed as soon as it is nobody else's any more
    fs::remove_file(desk.path("secret/s")).unwrap();
    desk.run(61);
    assert_eq!(desk.all("logs/x.log"), "secret\n");
    assert_eq!(desk.refused(), [""; 0]);
}

#[test]
fn a_hard_link_that_the_operator_names_or_allows_is_sent() {
    let named = desk(&["logs/x.log"]);
    let also_named = desk(&["logs/*.log", "logs/x.log"]);
    let mut allowed = desk(&["logs/*.log"]);
    allowed.foreign_links = true;
    for mut desk in [named, also_named, allowed] {
        desk.append("secret/s", "1\n");
        fs::hard_link(desk.path("secret/s"), desk.path("logs/x.log")).unwrap();
        desk.start();
        desk.run(2);
        assert_eq!(desk.all("logs/x.log"), "1\n");
        assert_eq!(desk.refused(), [""; 0]);
        desk.stop();
        desk.append("logs/x.log", "2\n");
        desk.start();
        desk.run(2);
        assert_eq!(desk.all("logs/x.log"), "1\n2\n");
    }
}

#[test]
fn what_is_followed_is_not_dropped_when_somebody_links_to_it() {
    let mut desk = desk(&["logs/*.log"]);
    desk.append("logs/a.log", "1\n");
    desk.start();
    desk.run(2);
    fs::hard_link(desk.path("logs/a.log"), desk.path("logs/backup")).unwrap();
    desk.append("logs/a.log", "2\n");
    desk.run(6);
    desk.stop();
    desk.append("logs/a.log", "3\n");
    desk.start();
    desk.run(6);
    assert_eq!(desk.all("logs/a.log"), "1\n2\n3\n");
    // Truncated, it is still the same file
    fs::File::create(desk.path("logs/a.log")).unwrap();
    desk.run(6);
    desk.append("logs/a.log", "4\n");
    desk.run(6);
    assert_eq!(desk.all("logs/a.log"), "1\n2\n3\n4\n");
}

#[test]
fn a_log_that_is_exchanged_for_a_hard_link_is_finished_and_no_more() {
    let mut desk = desk(&["logs/*.log"]);
    desk.append("secret/s", "secret\n");
    desk.append("logs/a.log", "1\n");
    desk.start();
    desk.run(2);
    desk.append("logs/a.log", "2\n");
    desk.rename("logs/a.log", "logs/a.log.1");
    fs::hard_link(desk.path("secret/s"), desk.path("logs/a.log")).unwrap();
    desk.run(6);
    desk.append("logs/a.log.1", "3\n");
    desk.run(70);
    assert_eq!(desk.sent(), "1\n2\n3\n");
    let error = desk.log("logs/a.log").error.clone().unwrap();
    assert!(error.contains("2 hard links"), "{error}");
    // The same while the agent is stopped
    desk.stop();
    desk.start();
    desk.run(70);
    assert_eq!(desk.sent(), "1\n2\n3\n");
    fs::remove_file(desk.path("logs/a.log")).unwrap();
    desk.append("logs/a.log", "4\n");
    desk.run(70);
    assert_eq!(desk.sent(), "1\n2\n3\n4\n");
}

#[test]
fn a_hard_link_with_the_name_of_a_rotated_log_is_not_taken_for_one() {
    let mut desk = desk(&["logs/*.log"]);
    desk.append("logs/a.log", "1\n");
    desk.start();
    desk.run(2);
    desk.rename("logs/a.log", "logs/a.log.2");
    // As /etc/shadow is made anew with each change of a password
    desk.append("secret/s", "secret\n");
    fs::hard_link(desk.path("secret/s"), desk.path("logs/a.log.1")).unwrap();
    desk.append("logs/a.log", "2\n");
    desk.run(70);
    assert_eq!(desk.sent(), "1\n2\n");
}

#[test]
fn a_pattern_that_leads_to_too_much_is_told_as_long_as_it_does() {
    const N: usize = 30;
    let mut desk = desk(&["logs/*/*/*/*/*.log", "logs/*.log"]);
    desk.append("logs/a.log", "1\n");
    for from in 0..N {
        fs::create_dir(desk.path(&format!("logs/d{from}"))).unwrap();
        for to in 0..N {
            let link = desk.path(&format!("logs/d{from}/d{to}"));
            symlink(format!("../d{to}"), link).unwrap();
        }
    }
    desk.start();
    desk.run(2);
    assert_eq!(desk.all("logs/a.log"), "1\n");
    assert_eq!(desk.refused(), ["logs/*/*/*/*/*.log"]);
    fs::rename(desk.path("logs/d0"), desk.path("d0")).unwrap();
    for folder in 1..N {
        fs::remove_dir_all(desk.path(&format!("logs/d{folder}"))).unwrap();
    }
    desk.run(61);
    assert_eq!(desk.refused(), [""; 0]);
}

#[test]
fn a_path_that_is_gone_is_not_told_of_for_ever() {
    let mut desk = desk(&["logs/*"]);
    nix::unistd::mkfifo(&desk.path("logs/fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    desk.start();
    desk.run(2);
    assert_eq!(desk.refused(), ["logs/fifo"]);
    fs::remove_file(desk.path("logs/fifo")).unwrap();
    desk.run(61);
    assert_eq!(desk.refused(), [""; 0]);
}

#[test]
#[ignore = "makes files of other users: run as root"]
fn somebodys_link_is_not_followed_until_it_is_roots() {
    let mut desk = desk(&["logs/**/*.log"]);
    desk.append("secret/s.log", "secret\n");
    desk.evil_link("logs/x.log", "secret/s.log");
    desk.evil_link("logs/folder", "secret");
    desk.start();
    desk.run(2);
    assert_eq!(desk.sent(), "");
    assert_eq!(desk.refused(), ["logs/folder", "logs/x.log"]);
    lchown(desk.path("logs/x.log"), Some(0), None).unwrap();
    desk.run(61);
    assert_eq!(desk.all("logs/x.log"), "secret\n");
    assert_eq!(desk.refused(), ["logs/folder"]);
    lchown(desk.path("logs/folder"), Some(0), None).unwrap();
    desk.run(61);
    assert_eq!(desk.refused(), [""; 0]);
    assert_eq!(desk.all("logs/folder/s.log"), "secret\n");
}

#[test]
#[ignore = "makes files of other users: run as root"]
fn a_folder_that_one_entry_names_is_read_although_another_matches_it() {
    let mut desk = desk(&["logs/*/*.log", "logs/folder/s.*"]);
    desk.append("secret/s.log", "1\n");
    desk.evil_link("logs/folder", "secret");
    desk.start();
    desk.run(2);
    desk.rename("secret/s.log", "secret/s.old");
    desk.append("secret/s.log", "2\n");
    desk.run(6);
    assert_eq!(desk.all("logs/folder/s.log"), "1\n2\n");
}

#[test]
#[ignore = "makes files of other users: run as root"]
fn a_log_that_is_exchanged_for_somebodys_link_does_not_lead_to_files_beside_the_target() {
    for stopped in [false, true] {
        let mut desk = desk(&["logs/*.log"]);
        desk.append("logs/x.log", "1\n");
        desk.start();
        desk.run(2);
        if stopped {
            desk.stop();
        }
        desk.append("secret/x.log.1", "secret\n");
        desk.append("secret/x.log", "secret\n");
        desk.evil_link("logs/x.log", "secret/x.log");
        if stopped {
            desk.start();
        }
        desk.run(70);
        desk.append("secret/x.log", "more\n");
        desk.run(70);
        assert_eq!(desk.sent(), "1\n", "stopped: {stopped}");
        let error = desk.log("logs/x.log").error.clone().unwrap();
        assert!(error.contains("belongs to user 30"), "{error}");
    }
}

#[test]
#[ignore = "makes files of other users: run as root"]
fn a_folder_that_is_exchanged_for_somebodys_link_gives_nothing_away() {
    let mut desk = desk(&["logs/*/x.log"]);
    fs::create_dir(desk.path("logs/his")).unwrap();
    desk.append("logs/his/x.log", "1\n");
    desk.start();
    desk.run(2);
    desk.append("secret/x.log.1", "secret\n");
    desk.append("secret/x.log", "secret\n");
    desk.rename("logs/his", "logs/other");
    desk.evil_link("logs/his", "secret");
    desk.run(70);
    assert_eq!(desk.sent(), "1\n");
}
