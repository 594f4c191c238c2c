//! Logs whose names look like rotated ones of another log, and files whose text is another's: each
//! line arrives under the name of the log that it was written to, and what the configuration does
//! not name does not arrive at all.

mod common;

use common::{all_at_once, lines, Agent, Site, Told, ANY};
use serde_json::json;
use std::fs;
use std::time::Duration;

/// A new log that could be a copy in the making may be held back for this long.
const FEW_SECONDS: Duration = Duration::from_secs(15);

/// The log that is followed in every story.
const LOG: &str = "app.log";

/// Logs whose names a rotation of [`LOG`] could give too.
const LOOK_ALIKES: [&str; 2] = ["app-1.log", "app_8080.log"];

/// The place of [`LOOK_ALIKES`] in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Others {
    /// They are logs too.
    Followed,
    /// The entry leaves them out.
    Excluded,
    /// No entry has their names.
    Unnamed,
}

impl Others {
    fn configure(self, site: &mut Site) {
        match self {
            Others::Followed => site.copy("*.log"),
            Others::Excluded => site.log(json!({
                "path": site.log_path("app*.log"),
                "exclude": ["*/app-*", "*/app_*"],
                "copy_from_start": true,
            })),
            Others::Unnamed => site.copy(LOG),
        };
    }

    /// Writes to a log; what may not arrive is not noted.
    fn write(self, told: &mut Told, site: &Site, name: &str, what: &str) {
        let text = lines(&format!("{name}, {what}"), 5);
        if self == Others::Followed || name == LOG {
            told.append(site, name, &text);
        } else {
            told.clone().append(site, name, &text);
        }
    }
}

/// A way to rotate a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Renamed to a name with a date, and created.
    Dated,
    /// Renamed to a name with a count, and created.
    Counted,
    /// Copied to a name with a count, and truncated.
    Copied,
    /// Deleted, and created.
    Deleted,
}

impl Way {
    fn rotate(self, site: &Site, name: &str, round: u32) {
        let log = site.log_path(name);
        let counted = |count: u32| site.log_path(&format!("{name}.{count}"));
        if matches!(self, Way::Counted | Way::Copied) {
            for count in (1..round).rev() {
                fs::rename(counted(count), counted(count + 1)).unwrap();
            }
        }
        match self {
            Way::Dated => {
                let dated = site.log_path(&format!("{name}-202611{round:02}"));
                fs::rename(&log, dated).unwrap();
            }
            Way::Counted => fs::rename(&log, counted(1)).unwrap(),
            Way::Copied => drop(fs::copy(&log, counted(1)).unwrap()),
            Way::Deleted => fs::remove_file(&log).unwrap(),
        }
        // Truncates the one that was copied
        fs::write(&log, "").unwrap();
    }
}

/// The agent's state during a change, and the number of its worker's sessions.
const CASES: [(Agent, u32); 6] = [
    (Agent::Blind, 1),
    (Agent::ServerAway, 1),
    (Agent::Stopped, 1),
    (Agent::Killed, 1),
    (Agent::Blind, 2),
    (Agent::Stopped, 2),
];

fn all_logs() -> impl Iterator<Item = &'static str> {
    [LOG].into_iter().chain(LOOK_ALIKES)
}

/// Follows [`LOG`] beside its look-alikes, with some lines in each that have arrived.
fn followed(others: Others, sessions: u32) -> (Site, Told) {
    let mut site = Site::new();
    let mut told = Told::new();
    site.set("default_sessions_per_worker", sessions);
    others.configure(&mut site);
    for name in all_logs() {
        others.write(&mut told, &site, name, "before the start");
    }
    site.start();
    told.expect(&mut site);
    (site, told)
}

/// Rotates all logs three times, each time with the agent away.
fn stay_apart(others: Others, way: Way) {
    all_at_once(&CASES, |(agent, sessions)| {
        let (mut site, mut told) = followed(others, sessions);
        for round in 1..=3 {
            let mut write = |site: &Site, when: &str| {
                for name in all_logs() {
                    others.write(&mut told, site, name, &format!("round {round}, {when}"));
                }
            };
            site.leave(agent);
            // Lines are lost that are deleted before they were read
            if way != Way::Deleted {
                write(&site, "before");
            }
            for name in all_logs() {
                way.rotate(&site, name, round);
            }
            // Now and then they are still empty when the agent sees them
            if round != 2 {
                write(&site, "after");
            }
            site.come_back(agent);
            site.until_requests(1);
            write(&site, "later");
            told.expect(&mut site);
        }
        told.expect_for_good(&mut site);
    });
}

/// However they are rotated: most of the time the agents wait for each other's turns anyway.
const WAYS: [Way; 4] = [Way::Dated, Way::Counted, Way::Copied, Way::Deleted];

#[test]
fn followed_look_alikes_keep_their_lines() {
    all_at_once(&WAYS, |way| stay_apart(Others::Followed, way));
}

#[test]
fn excluded_look_alikes_are_never_sent() {
    all_at_once(&WAYS, |way| stay_apart(Others::Excluded, way));
}

#[test]
fn unnamed_look_alikes_are_never_sent() {
    all_at_once(&WAYS, |way| stay_apart(Others::Unnamed, way));
}

/// A look-alike that is new, at the moment in which the log's content is sought under other names.
#[test]
fn a_look_alike_that_is_created_while_its_neighbour_is_rotated_is_another_log() {
    for others in [Others::Followed, Others::Excluded, Others::Unnamed] {
        all_at_once(&CASES, |(agent, sessions)| {
            let mut site = Site::new();
            let mut told = Told::new();
            site.set("default_sessions_per_worker", sessions);
            others.configure(&mut site);
            others.write(&mut told, &site, LOG, "before the start");
            site.start();
            told.expect(&mut site);
            site.leave(agent);
            Way::Dated.rotate(&site, LOG, 1);
            for name in all_logs() {
                others.write(&mut told, &site, name, "after the rotation");
            }
            site.come_back(agent);
            told.expect_for_good(&mut site);
        });
    }
}

/// Two rotations while the agent is away: the content between them was never seen. That rotations
/// of this log take such names is known from the one before.
#[test]
fn a_content_that_was_rotated_unseen_arrives_and_its_neighbours_do_not() {
    for way in [Way::Dated, Way::Counted, Way::Copied] {
        all_at_once(&ANY, |agent| {
            let others = Others::Unnamed;
            let (mut site, mut told) = followed(others, 1);
            for name in all_logs() {
                way.rotate(&site, name, 1);
                others.write(&mut told, &site, name, "after the first rotation");
            }
            told.expect(&mut site);
            site.leave(agent);
            for round in 2..=3 {
                for name in all_logs() {
                    way.rotate(&site, name, round);
                    others.write(&mut told, &site, name, &format!("round {round}"));
                }
            }
            site.come_back(agent);
            told.expect_for_good(&mut site);
        });
    }
}

/// More than what a content's identity is made of.
fn banner() -> Vec<String> {
    let text = lines("the licence and the version, as at each start", 50);
    assert!(text.concat().len() > 2048);
    text
}

#[test]
fn two_logs_with_one_long_banner_both_arrive() {
    for way in [Way::Dated, Way::Counted, Way::Copied] {
        all_at_once(&CASES, |(agent, sessions)| {
            let mut site = Site::new();
            let mut told = Told::new();
            site.set("default_sessions_per_worker", sessions);
            site.copy("*.log");
            let begin = |told: &mut Told, site: &Site, name: &str, round: u32| {
                told.append(site, name, &banner());
                let count = 3 + round as usize;
                told.append(site, name, &lines(&format!("{name}, round {round}"), count));
            };
            begin(&mut told, &site, LOG, 0);
            begin(&mut told, &site, LOOK_ALIKES[0], 0);
            site.start();
            told.expect(&mut site);
            // One more, found while running
            begin(&mut told, &site, LOOK_ALIKES[1], 0);
            told.expect(&mut site);
            for round in 1..=2 {
                // Until the position is in the checkpoint: one that a kill leaves at the start of a
                // file says nothing of the text after the banner
                site.until_requests(1);
                site.leave(agent);
                for name in all_logs() {
                    way.rotate(&site, name, round);
                    begin(&mut told, &site, name, round);
                }
                site.come_back(agent);
                told.expect(&mut site);
            }
            told.expect_for_good(&mut site);
        });
    }
}

#[test]
fn two_files_of_equal_text_are_two_logs() {
    all_at_once(&CASES, |(agent, sessions)| {
        let mut site = Site::new();
        let mut told = Told::new();
        site.set("default_sessions_per_worker", sessions);
        site.copy("*.log");
        let text = ["worker started", "listening"];
        told.append(&site, "worker-1.log", &text);
        told.append(&site, "worker-2.log", &text);
        site.start();
        told.expect(&mut site);
        told.append(&site, "worker-3.log", &text);
        told.expect(&mut site);
        site.leave(agent);
        told.append(&site, "worker-4.log", &text);
        told.append(&site, "worker.log", &text);
        site.come_back(agent);
        told.expect(&mut site);
        // From here on they differ
        for name in ["worker-1.log", "worker-4.log", "worker.log"] {
            told.append(&site, name, &[format!("more of {name}")]);
        }
        told.expect_for_good(&mut site);
    });
}

/// A log `worker.log` that has arrived, and the beginning of its text.
fn worker() -> (Site, Told, [&'static str; 1]) {
    let mut site = Site::new();
    let mut told = Told::new();
    site.copy("*.log");
    told.append(&site, "worker.log", &["worker started", "more"]);
    site.start();
    told.expect(&mut site);
    (site, told, ["worker started"])
}

#[test]
fn a_new_log_that_begins_as_another_did_arrives() {
    for name in ["worker-2.log", "worker_8080.log", "another.log"] {
        all_at_once(&ANY, |agent| {
            let (mut site, mut told, beginning) = worker();
            site.leave(agent);
            told.append(&site, name, &beginning);
            site.come_back(agent);
            told.expect_perhaps_repeated(&mut site, FEW_SECONDS);
            told.append(&site, name, &["not what the other one said"]);
            told.append(&site, "worker.log", &["and on"]);
            told.expect_perhaps_repeated(&mut site, FEW_SECONDS);
        });
    }
}

#[test]
fn a_new_log_that_begins_as_another_did_arrives_though_it_is_deleted() {
    all_at_once(
        &["worker-2.log", "worker_8080.log", "another.log"],
        |name| {
            let (mut site, mut told, beginning) = worker();
            site.leave(Agent::ServerAway);
            told.append(&site, name, &beginning);
            let path = site.log_path(name);
            site.until_seen("the new log is open", || site.open_logs().contains(&path));
            fs::remove_file(&path).unwrap();
            site.come_back(Agent::ServerAway);
            told.expect_perhaps_repeated(&mut site, FEW_SECONDS);
        },
    );
}

/// Copies a log to another name that its pattern covers, and truncates it.
fn is_not_sent_again(copies: &[&str]) {
    for copy in copies {
        all_at_once(&ANY, |agent| {
            let mut site = Site::new();
            let mut told = Told::new();
            site.copy("app*");
            told.append(&site, LOG, &lines("before the copy", 30));
            site.start();
            told.expect(&mut site);
            site.leave(agent);
            fs::copy(site.log_path(LOG), site.log_path(copy)).unwrap();
            told.rewrite(&site, LOG, &lines("after the copy", 5));
            site.come_back(agent);
            told.expect_for_good(&mut site);
        });
    }
}

#[test]
fn the_copy_of_a_truncated_log_is_not_sent_again() {
    is_not_sent_again(&["app.log.1", "app.log-20261130", "app-20261130.log"]);
}
