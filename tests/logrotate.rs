//! Rotation by logrotate itself, in the ways that it is configured: logs whose names look alike keep
//! their lines, each exactly once.

mod common;

use common::{all_at_once, lines, Site, Told};
use serde_json::json;
use std::fs;
use std::process::Command;
use std::time::Duration;

/// Logs whose names a rotation of another one of them could give too.
const LOGS: [&str; 5] = [
    "access.log",
    "access_8080.log",
    "access-1.log",
    "app.log",
    "app-2.log",
];

/// The agent's configuration names them in one of these ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entries {
    /// By one pattern.
    Pattern,
    /// Each by itself.
    Literal,
    /// Two of them by themselves, the others not at all.
    Two,
}

impl Entries {
    fn paths(self) -> &'static [&'static str] {
        match self {
            Entries::Pattern => &["*.log"],
            Entries::Literal => &LOGS,
            Entries::Two => &["access.log", "app.log"],
        }
    }

    fn include(self, log: &str) -> bool {
        self == Entries::Pattern || self.paths().contains(&log)
    }
}

/// The parts of logrotate's configuration that differ, in its own words.
#[derive(Debug, Clone, Copy)]
struct Case {
    naming: &'static str,
    mode: &'static str,
    compress: &'static str,
    olddir: bool,
    entries: Entries,
}

const NAMINGS: [&str; 2] = ["dateext\n dateformat -%Y%m%d-%s", "nodateext"];
const MODES: [&str; 3] = ["create", "copytruncate", "nocreate"];
const COMPRESSIONS: [&str; 3] = ["nocompress", "compress", "compress\n delaycompress"];

/// All combinations, with each kind of entries in a third of them; `shift` tells in which.
fn matrix(olddir: bool, shift: usize) -> Vec<Case> {
    let kinds = [Entries::Pattern, Entries::Literal, Entries::Two];
    let mut cases = Vec::new();
    for naming in NAMINGS {
        for (m, mode) in MODES.into_iter().enumerate() {
            for (c, compress) in COMPRESSIONS.into_iter().enumerate() {
                cases.push(Case {
                    naming,
                    mode,
                    compress,
                    olddir,
                    entries: kinds[(m + c + shift) % kinds.len()],
                });
            }
        }
    }
    cases
}

/// A site whose logs logrotate can rotate.
struct Rotated {
    site: Site,
    told: Told,
    entries: Entries,
    bursts: usize,
}

impl Rotated {
    fn new(case: Case) -> Rotated {
        let mut site = Site::new();
        let logs = site.path("logs");
        let mut options = format!(
            "rotate 20\n missingok\n {}\n {}\n {}\n",
            case.naming, case.mode, case.compress
        );
        if case.olddir {
            fs::create_dir(logs.join("old")).unwrap();
            options.push_str(" olddir old\n");
        }
        let text = format!("\"{}/*.log\" {{\n {options}}}\n", logs.display());
        fs::write(site.path("logrotate.conf"), text).unwrap();
        for path in case.entries.paths() {
            site.log(json!({"path": logs.join(path), "copy_from_start": true}));
        }
        Rotated {
            site,
            told: Told::new(),
            entries: case.entries,
            bursts: 0,
        }
    }

    /// Writes to all logs. Nothing is written while logrotate runs: between its copy and its
    /// truncation it would lose that.
    fn write(&mut self) {
        self.bursts += 1;
        for name in LOGS {
            let text = lines(&format!("{name}, burst {}", self.bursts), 2);
            if self.entries.include(name) {
                self.told.append(&self.site, name, &text);
            } else {
                self.site.append(name, text.join("\n") + "\n");
            }
        }
    }

    /// Writes for more than a second: names have the time in seconds. The last lines are too new to
    /// have been read.
    fn write_for_a_second(&mut self) {
        for _ in 0..11 {
            std::thread::sleep(Duration::from_millis(100));
            self.write();
        }
    }

    fn rotate(&self) {
        let output = Command::new("logrotate")
            .args(["-f", "-s"])
            .arg(self.site.path("logrotate.state"))
            .arg(self.site.path("logrotate.conf"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        assert!(output.stderr.is_empty(), "{output:?}");
    }
}

fn rotated_while_it_runs(cases: &[Case]) {
    all_at_once(cases, |case| {
        let mut logs = Rotated::new(case);
        logs.write();
        logs.site.start();
        for _ in 0..4 {
            logs.write_for_a_second();
            logs.rotate();
        }
        logs.write();
        logs.told.expect_for_good(&mut logs.site);
    });
}

#[test]
#[ignore = "needs logrotate"]
fn each_line_arrives_once_under_its_own_name() {
    rotated_while_it_runs(&matrix(false, 0));
}

#[test]
#[ignore = "needs logrotate"]
fn each_line_arrives_once_with_the_old_files_in_a_folder_below() {
    rotated_while_it_runs(&matrix(true, 1));
}

#[test]
#[ignore = "needs logrotate"]
fn each_line_arrives_once_though_the_agent_was_stopped_meanwhile() {
    all_at_once(&matrix(false, 2), |case| {
        let mut logs = Rotated::new(case);
        logs.write();
        logs.site.start();
        logs.write_for_a_second();
        logs.rotate();
        logs.write();
        // One rotation while it is stopped, then two: then there are files that it never saw
        for rotations in [1, 2] {
            logs.told.expect(&mut logs.site);
            logs.site.term();
            for _ in 0..rotations {
                logs.write_for_a_second();
                logs.rotate();
            }
            logs.write();
            logs.site.start();
        }
        logs.told.expect_for_good(&mut logs.site);
    });
}
