//! Every way in which files change under the agent (copying.md §5 and §9.4), without threads:
//! [`Desk`] plays the uploader.

use super::settings::{Entry, Settings};
use super::tailer::Tailer;
use crate::util::random;
use crate::wire::{Batch, Envelope, EnvelopeSpec, Form};
use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A folder with logs and checkpoints, and an agent that can be stopped and killed.
struct Desk {
    dir: PathBuf,
    entries: Vec<(String, bool)>,
    change: fn(&mut Settings),
    tailer: Option<Tailer>,
    batch: Batch,
    limit: usize,
    envelope: Arc<Envelope>,
    pipeline: Option<Arc<crate::shape::Pipeline>>,
    now: Instant,
    /// What arrived, by log file, resends dropped.
    got: HashMap<String, Vec<u8>>,
    seen: HashMap<(String, u64), ()>,
    resent: u64,
}

impl Drop for Desk {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

impl Desk {
    fn new(patterns: &[&str]) -> Self {
        Desk::with(patterns, true, |_| {})
    }

    fn with(patterns: &[&str], from_start: bool, change: fn(&mut Settings)) -> Self {
        let dir = std::env::temp_dir().join(format!("tail-{}", random::uuid4()));
        fs::create_dir_all(dir.join("data")).unwrap();
        fs::create_dir_all(dir.join("old")).unwrap();
        let envelope = Envelope::new(EnvelopeSpec {
            form: Form::Json,
            token: "k",
            session: "s",
            session_info: None,
            repeat_log_attributes: false,
            without_logs: false,
        });
        Desk {
            dir,
            entries: patterns
                .iter()
                .map(|p| ((*p).to_owned(), from_start))
                .collect(),
            change,
            tailer: None,
            batch: Batch::new(),
            limit: 1_000_000,
            envelope: Arc::new(envelope),
            pipeline: None,
            now: Instant::now(),
            got: HashMap::new(),
            seen: HashMap::new(),
            resent: 0,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn append(&self, name: &str, text: impl AsRef<[u8]>) {
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(self.path(name))
            .unwrap();
        file.write_all(text.as_ref()).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    fn copytruncate(&self, from: &str, to: &str) {
        fs::copy(self.path(from), self.path(to)).unwrap();
        fs::File::create(self.path(from)).unwrap();
    }

    fn gzip(&self, name: &str) {
        let content = fs::read(self.path(name)).unwrap();
        let mut out = vec![0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3];
        out.extend(miniz_oxide::deflate::compress_to_vec(&content, 6));
        out.extend([0; 8]);
        fs::write(self.path(&format!("{name}.gz")), out).unwrap();
        fs::remove_file(self.path(name)).unwrap();
    }

    fn start(&mut self) {
        let mut settings = Settings::new(self.path("data"));
        (self.change)(&mut settings);
        let entries = self
            .entries
            .iter()
            .map(|(pattern, from_start)| {
                let mut entry = Entry::new(self.dir.join(pattern));
                entry.copy_from_start = *from_start;
                entry.pipeline = self.pipeline.clone();
                entry
            })
            .collect();
        self.now = Instant::now();
        let (saved, _) = super::consolidate(&self.dir.join("data"));
        settings.max_request = self.limit;
        self.tailer = Some(Tailer::new(
            settings,
            entries,
            self.envelope.clone(),
            saved.as_ref(),
        ));
    }

    fn kill(&mut self) {
        self.tailer = None;
    }

    fn stop(&mut self) {
        let tailer = self.tailer.as_mut().unwrap();
        tailer.checkpoint_full();
        self.tailer = None;
        super::consolidate(&self.dir.join("data"));
        // The consolidated one, and its copy
        assert_eq!(fs::read_dir(self.dir.join("data")).unwrap().count(), 2);
    }

    /// Time passes; what is due is done, and what is read is delivered.
    fn run(&mut self, seconds: u64) {
        let tailer = self.tailer.as_mut().unwrap();
        for _ in 0..seconds * 2 {
            self.now += Duration::from_millis(500);
            tailer.poll(self.now);
            loop {
                self.batch.start(&self.envelope, self.limit);
                let full = tailer.fill(&mut self.batch, self.now);
                if self.batch.is_empty() && self.batch.spans.is_empty() {
                    break;
                }
                tailer.before_send();
                deliver(
                    &mut self.batch,
                    &mut self.got,
                    &mut self.seen,
                    &mut self.resent,
                );
                tailer.commit(&self.batch, false, self.now);
                tailer.checkpoint(self.now);
                if !full {
                    break;
                }
            }
        }
    }

    /// As `run`, but the process dies before the answers to its requests come.
    fn run_and_die(&mut self, seconds: u64) {
        let tailer = self.tailer.as_mut().unwrap();
        for _ in 0..seconds * 2 {
            self.now += Duration::from_millis(500);
            tailer.poll(self.now);
            self.batch.start(&self.envelope, self.limit);
            tailer.fill(&mut self.batch, self.now);
            tailer.before_send();
            deliver(
                &mut self.batch,
                &mut self.got,
                &mut self.seen,
                &mut self.resent,
            );
        }
        self.tailer = None;
    }

    fn all(&self, name: &str) -> String {
        let path = self.path(name).to_string_lossy().into_owned();
        String::from_utf8_lossy(self.got.get(&path).map_or(b"", |v| v)).into_owned()
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .got
            .keys()
            .map(|p| {
                Path::new(p)
                    .strip_prefix(&self.dir)
                    .unwrap()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        names.sort();
        names
    }

    fn lost(&self) -> u64 {
        let tailer = self.tailer.as_ref().unwrap();
        tailer
            .logs
            .values()
            .map(|l| l.counters.total_skipped())
            .sum()
    }
}

fn deliver(
    batch: &mut Batch,
    got: &mut HashMap<String, Vec<u8>>,
    seen: &mut HashMap<(String, u64), ()>,
    resent: &mut u64,
) {
    let body: serde_json::Value = serde_json::from_slice(batch.complete(1)).unwrap();
    let mut sequence = (String::new(), 0);
    for event in body["events"].as_array().unwrap() {
        if let Some(id) = event["si"].as_str() {
            sequence = (id.to_owned(), event["sn"].as_u64().unwrap());
        } else {
            sequence.1 += event["sd"].as_u64().unwrap();
        }
        if seen.insert(sequence.clone(), ()).is_some() {
            *resent += 1;
            continue;
        }
        let log = body["logs"]
            .as_array()
            .unwrap()
            .iter()
            .find(|l| l["id"] == event["log"])
            .unwrap();
        let name = log["attrs"]["logfile"].as_str().unwrap().to_owned();
        let message = event["attrs"]["message"].as_str().unwrap();
        got.entry(name)
            .or_default()
            .extend_from_slice(message.as_bytes());
    }
}

#[test]
fn grows_and_is_copied_once() {
    let mut desk = Desk::new(&["a.log"]);
    desk.append("a.log", "one\n");
    desk.start();
    desk.run(1);
    desk.append("a.log", "two\nthree\n");
    desk.run(6);
    assert_eq!(desk.all("a.log"), "one\ntwo\nthree\n");
    assert_eq!(desk.resent, 0);
}

#[test]
fn first_start_begins_at_the_end_and_no_line_after_that_is_missed() {
    // C1, C2: the position is known and durable from the start
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
    // C3
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
fn rotated_by_rename_keeps_order_and_late_writes() {
    // C10
    let mut desk = Desk::new(&["a.log"]);
    desk.append("a.log", "1\n");
    desk.start();
    desk.run(2);
    desk.append("a.log", "2\n");
    desk.rename("a.log", "a.log.1");
    desk.append("a.log", "3\n");
    desk.run(3);
    assert_eq!(desk.all("a.log"), "1\n2\n3\n");
    desk.append("a.log.1", "late\n");
    desk.run(10);
    assert_eq!(desk.all("a.log"), "1\n2\n3\nlate\n");
    assert_eq!(desk.resent, 0);
}

#[test]
fn rotated_and_deleted_between_two_looks_is_still_read() {
    let mut desk = Desk::new(&["a.log"]);
    desk.append("a.log", "1\n");
    desk.start();
    desk.run(2);
    desk.append("a.log", "2\n");
    fs::remove_file(desk.path("a.log")).unwrap();
    desk.append("a.log", "3\n");
    desk.run(6);
    assert_eq!(desk.all("a.log"), "1\n2\n3\n");
}

#[test]
fn rotated_twice_between_two_looks_loses_nothing() {
    let mut desk = Desk::new(&["a.log"]);
    desk.append("a.log", "1\n");
    desk.start();
    desk.run(2);
    desk.append("a.log", "2\n");
    desk.rename("a.log", "a.log.1");
    desk.append("a.log", "3\n");
    desk.rename("a.log.1", "a.log.2");
    desk.rename("a.log", "a.log.1");
    desk.append("a.log", "4\n");
    desk.run(6);
    assert_eq!(desk.all("a.log"), "1\n2\n3\n4\n");
}

#[test]
fn copytruncate_loses_nothing_even_when_outgrown() {
    // C9
    for new in ["n\n", "the new content is longer than the old one was\n"] {
        let mut desk = Desk::new(&["a.log"]);
        desk.append("a.log", "one\ntwo\n");
        desk.start();
        desk.run(2);
        desk.append("a.log", "three\n");
        desk.copytruncate("a.log", "a.log.1");
        desk.append("a.log", new);
        desk.run(8);
        assert_eq!(desk.all("a.log"), format!("one\ntwo\nthree\n{new}"));
        assert_eq!(desk.resent, 0);
        assert_eq!(desk.lost(), 0);
    }
}

#[test]
fn copytruncate_with_immediate_gzip_loses_nothing() {
    let mut desk = Desk::new(&["a.log"]);
    desk.append("a.log", "one\ntwo\n");
    desk.start();
    desk.run(2);
    desk.append("a.log", "three\n");
    desk.copytruncate("a.log", "a.log.1");
    desk.gzip("a.log.1");
    desk.append("a.log", "four\n");
    desk.run(8);
    assert_eq!(desk.all("a.log"), "one\ntwo\nthree\nfour\n");
}

#[test]
fn truncated_without_a_copy_counts_what_is_lost() {
    let mut desk = Desk::new(&["a.log"]);
    desk.append("a.log", "one\n");
    desk.start();
    desk.run(2);
    fs::write(desk.path("a.log"), "x\n").unwrap();
    desk.run(6);
    assert_eq!(desk.all("a.log"), "one\nx\n");
}

#[test]
fn overwritten_in_place_is_new_content() {
    let mut desk = Desk::new(&["a.log"]);
    desk.append("a.log", "aaaa\nbbbb\n");
    desk.start();
    desk.run(2);
    fs::write(desk.path("a.log"), "AAAA\nBBBB\n").unwrap();
    desk.run(6);
    assert_eq!(desk.all("a.log"), "aaaa\nbbbb\nAAAA\nBBBB\n");
}

#[test]
fn a_path_that_vanishes_and_comes_back_is_not_repeated() {
    // C11
    let mut desk = Desk::new(&["a.log"]);
    desk.append("a.log", "1\n");
    desk.start();
    desk.run(2);
    desk.rename("a.log", "elsewhere");
    desk.run(3);
    desk.append("elsewhere", "2\n");
    desk.rename("elsewhere", "a.log");
    desk.append("a.log", "3\n");
    desk.run(6);
    assert_eq!(desk.all("a.log"), "1\n2\n3\n");
    assert_eq!(desk.resent, 0);
}

#[test]
fn a_path_that_vanishes_right_after_a_rotation_and_comes_back_loses_nothing() {
    let mut desk = Desk::new(&["a.log"]);
    desk.append("a.log", "1\n");
    desk.start();
    desk.run(2);
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
    // C5
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
fn rotated_while_stopped_loses_and_repeats_nothing() {
    let mut desk = Desk::new(&["a.log"]);
    desk.append("a.log", "1\n");
    desk.start();
    desk.run(2);
    desk.stop();
    desk.append("a.log", "2\n");
    desk.rename("a.log", "a.log.1");
    desk.append("a.log", "3\n");
    desk.start();
    desk.run(6);
    assert_eq!(desk.all("a.log"), "1\n2\n3\n");
    assert_eq!(desk.resent, 0);
}

#[test]
fn rotated_three_times_while_stopped_loses_nothing() {
    let mut desk = Desk::new(&["a.log"]);
    desk.append("a.log", "1\n");
    desk.start();
    desk.run(2);
    desk.stop();
    desk.append("a.log", "2\n");
    desk.rename("a.log", "a.log.3");
    desk.append("a.log.2", "3\n");
    desk.append("a.log.1", "4\n");
    desk.append("a.log", "5\n");
    desk.start();
    desk.run(6);
    assert_eq!(desk.all("a.log"), "1\n2\n3\n4\n5\n");
}

#[test]
fn rotated_and_compressed_while_stopped_loses_nothing() {
    let mut desk = Desk::new(&["a.log"]);
    desk.append("a.log", "1\n");
    desk.start();
    desk.run(2);
    desk.stop();
    desk.append("a.log", "2\n");
    desk.rename("a.log", "a.log.1");
    desk.gzip("a.log.1");
    desk.append("a.log", "3\n");
    desk.start();
    desk.run(6);
    assert_eq!(desk.all("a.log"), "1\n2\n3\n");
    assert_eq!(desk.resent, 0);
}

#[test]
fn copytruncated_and_outgrown_while_stopped_loses_nothing() {
    let mut desk = Desk::new(&["a.log"]);
    desk.append("a.log", "first\nline\n");
    desk.start();
    desk.run(2);
    desk.stop();
    desk.append("a.log", "second\n");
    desk.copytruncate("a.log", "a.log.1");
    desk.append("a.log", "the new content is much longer than the old one\n");
    desk.start();
    desk.run(6);
    assert_eq!(
        desk.all("a.log"),
        "first\nline\nsecond\nthe new content is much longer than the old one\n"
    );
}

#[test]
fn renamed_while_stopped_and_its_successor_comes_after_the_start() {
    let mut desk = Desk::new(&["a.log"]);
    desk.append("a.log", "1\n");
    desk.start();
    desk.run(2);
    desk.stop();
    desk.append("a.log", "2\n");
    desk.rename("a.log", "a.log.1");
    desk.start();
    desk.run(2);
    desk.append("a.log", "3\n");
    desk.run(6);
    assert_eq!(desk.all("a.log"), "1\n2\n3\n");
}

#[test]
fn moved_to_another_folder_while_stopped_is_finished() {
    let mut desk = Desk::new(&["a.log"]);
    desk.append("a.log", "1\n");
    desk.start();
    desk.run(2);
    desk.stop();
    desk.append("a.log", "2\n");
    desk.rename("a.log", "old/a.log-20261123");
    desk.append("a.log", "3\n");
    desk.start();
    desk.run(6);
    assert_eq!(desk.all("a.log"), "1\n2\n3\n");
}

#[test]
fn deleted_while_stopped_says_how_much_is_lost_and_copies_the_new_file_whole() {
    // C6
    let mut desk = Desk::with(&["a.log"], false, |_| {});
    desk.append("a.log", "1\n");
    desk.start();
    desk.append("a.log", "never sent\n");
    desk.run(0);
    desk.tailer.as_mut().unwrap().poll_all(Instant::now());
    desk.stop();
    // Keeps the inode from being reused
    let _held = fs::File::open(desk.path("a.log")).unwrap();
    fs::remove_file(desk.path("a.log")).unwrap();
    desk.append("a.log", "new\n");
    desk.start();
    assert_eq!(desk.lost(), "never sent\n".len() as u64);
    desk.run(6);
    assert_eq!(desk.all("a.log"), "new\n");
}

#[test]
fn a_reused_inode_is_not_taken_for_the_old_file() {
    // C28: same inode, larger, other content; while stopped and while running
    for running in [false, true] {
        let mut desk = Desk::with(&["a.log"], true, |s| s.max_open_files = 0);
        desk.append("a.log", "1\n");
        desk.start();
        desk.run(2);
        if !running {
            desk.stop();
        }
        use std::os::unix::fs::MetadataExt;
        let ino = |desk: &Desk| fs::metadata(desk.path("a.log")).unwrap().ino();
        let old = ino(&desk);
        // In place: what a reused inode looks like from outside
        fs::write(desk.path("a.log"), "2 is longer than what was there\n").unwrap();
        assert_eq!(ino(&desk), old);
        if !running {
            desk.start();
        }
        desk.run(6);
        assert_eq!(desk.all("a.log"), "1\n2 is longer than what was there\n");
    }
}

#[test]
fn killed_before_the_very_first_delivery_loses_nothing_and_keeps_its_numbers() {
    let mut desk = Desk::new(&["a.log"]);
    desk.append("a.log", "1\n2\n");
    desk.start();
    desk.run_and_die(2);
    desk.append("a.log", "3\n");
    desk.start();
    desk.run(6);
    assert_eq!(desk.all("a.log"), "1\n2\n3\n");
    assert!(desk.resent >= 2);
}

#[test]
fn killed_with_requests_under_way_during_rotations_repeats_nothing_visible() {
    let mut desk = Desk::new(&["a.log"]);
    desk.limit = 700;
    let mut n = 0;
    let mut expected = String::new();
    for round in 0..12 {
        for _ in 0..40 {
            desk.append("a.log", format!("line {n}\n"));
            expected += &format!("line {n}\n");
            n += 1;
        }
        desk.start();
        if round % 3 == 1 {
            desk.rename("a.log", &format!("a.log-2026112{round:02}"));
            desk.append("a.log", format!("after {round}\n"));
            expected += &format!("after {round}\n");
        }
        desk.run_and_die(1);
    }
    desk.start();
    desk.run(20);
    assert_eq!(desk.all("a.log"), expected);
}

#[test]
fn an_unterminated_line_waits_for_its_end_and_then_goes_as_it_is() {
    // C24
    let mut desk = Desk::new(&["a.log"]);
    desk.append("a.log", "whole\nhal");
    desk.start();
    desk.run(3);
    assert_eq!(desk.all("a.log"), "whole\n");
    desk.append("a.log", "f\n");
    desk.run(2);
    assert_eq!(desk.all("a.log"), "whole\nhalf\n");
    desk.append("a.log", "tail");
    desk.run(12);
    assert_eq!(desk.all("a.log"), "whole\nhalf\ntail");
    desk.append("a.log", " more");
    desk.run(2);
    assert_eq!(desk.all("a.log"), "whole\nhalf\ntail");
    desk.append("a.log", "\n");
    desk.run(3);
    assert_eq!(desk.all("a.log"), "whole\nhalf\ntail more\n");
}

#[test]
fn the_unterminated_end_of_a_rotated_file_is_not_glued_to_the_next() {
    // C22
    let mut desk = Desk::new(&["a.log"]);
    desk.append("a.log", "abc");
    desk.start();
    desk.run(1);
    desk.rename("a.log", "a.log.1");
    desk.append("a.log", "new line\n");
    desk.run(10);
    let tailer = desk.tailer.as_mut().unwrap();
    let path = desk.dir.join("a.log");
    assert_eq!(tailer.log_at(&path).unwrap().counters.lines, 2);
    assert_eq!(desk.all("a.log"), "abcnew line\n");
}

#[test]
fn a_carriage_return_at_the_end_of_what_was_read_does_not_end_a_line() {
    // C23
    let mut desk = Desk::new(&["a.log"]);
    desk.append("a.log", "abc\r");
    desk.start();
    desk.run(1);
    desk.append("a.log", "\nnext\r\n");
    desk.run(3);
    let path = desk.dir.join("a.log");
    assert_eq!(
        desk.tailer
            .as_mut()
            .unwrap()
            .log_at(&path)
            .unwrap()
            .counters
            .lines,
        2
    );
    assert_eq!(desk.all("a.log"), "abc\r\nnext\r\n");
}

#[test]
fn long_lines_are_cut_at_the_same_places_wherever_reading_starts() {
    let mut desk = Desk::with(&["a.log"], true, |s| {
        s.max_line_size = 100;
        s.read_page_size = 130;
    });
    desk.limit = 100_000;
    let line = "0123456789".repeat(35);
    desk.append(
        "a.log",
        format!("{line}\nshort\n{}\n{}\n", "x".repeat(99), "y".repeat(100)),
    );
    desk.start();
    desk.run(2);
    let path = desk.dir.join("a.log");
    let log = desk.tailer.as_mut().unwrap().log_at(&path).unwrap();
    // 100+100+100+51, 6, 100, 100+1
    assert_eq!(log.counters.lines, 4 + 1 + 1 + 2);
    assert_eq!(desk.all("a.log").len(), 351 + 6 + 100 + 101);
}

#[test]
fn fifos_devices_and_folders_are_never_opened() {
    // C21
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
fn more_files_than_may_be_open_all_have_their_turn() {
    let mut desk = Desk::with(&["*.log"], true, |s| s.max_open_files = 8);
    for n in 0..300 {
        desk.append(&format!("{n}.log"), format!("first of {n}\n"));
    }
    desk.start();
    desk.run(3);
    for n in 0..300 {
        desk.append(&format!("{n}.log"), "second\n");
    }
    desk.run(8);
    for n in 0..300 {
        assert_eq!(
            desk.all(&format!("{n}.log")),
            format!("first of {n}\nsecond\n")
        );
    }
    assert!(desk.tailer.as_ref().unwrap().open_files() <= 8);
}

#[test]
fn a_busy_file_does_not_keep_others_from_their_turn() {
    let mut desk = Desk::new(&["*.log"]);
    desk.append("busy.log", "x".repeat(99).as_str());
    for _ in 0..40_000 {
        desk.append("busy.log", "\n");
    }
    desk.append("quiet.log", "here\n");
    desk.start();
    desk.now += Duration::from_millis(500);
    let tailer = desk.tailer.as_mut().unwrap();
    tailer.poll(desk.now);
    desk.batch.start(&desk.envelope, 300_000);
    assert!(tailer.fill(&mut desk.batch, desk.now));
    desk.batch.start(&desk.envelope, 300_000);
    tailer.fill(&mut desk.batch, desk.now);
    deliver(
        &mut desk.batch,
        &mut desk.got,
        &mut desk.seen,
        &mut desk.resent,
    );
    assert_eq!(desk.all("quiet.log"), "here\n");
}

#[test]
fn a_limit_that_the_operator_set_skips_to_a_line_start_and_counts() {
    // C33
    let mut desk = Desk::with(&["a.log"], true, |s| s.max_new_offset = Some(20));
    desk.append("a.log", "0123456789\n".repeat(10));
    desk.start();
    desk.run(3);
    assert_eq!(desk.all("a.log"), "0123456789\n");
    assert_eq!(desk.lost(), 99);
}

#[test]
fn content_that_looks_the_same_at_its_start_is_told_apart_by_its_end() {
    let banner = "=== service starting ===\n".repeat(60);
    let mut desk = Desk::new(&["a.log"]);
    desk.append("a.log", format!("{banner}one\n"));
    desk.start();
    desk.run(2);
    fs::write(desk.path("a.log"), format!("{banner}two\nthree\n")).unwrap();
    desk.run(6);
    assert_eq!(
        desk.all("a.log"),
        format!("{banner}one\n{banner}two\nthree\n")
    );
}

#[test]
fn rolled_back_is_read_again_with_the_same_numbers() {
    let mut desk = Desk::new(&["a.log"]);
    desk.append("a.log", "1\n2\n3\n");
    desk.start();
    desk.now += Duration::from_secs(1);
    let tailer = desk.tailer.as_mut().unwrap();
    tailer.poll(desk.now);
    desk.batch.start(&desk.envelope, desk.limit);
    tailer.fill(&mut desk.batch, desk.now);
    let first = desk.batch.complete(1).to_vec();
    let numbers = |body: &[u8]| -> Vec<String> {
        let body: serde_json::Value = serde_json::from_slice(body).unwrap();
        let events = body["events"].as_array().unwrap();
        events
            .iter()
            .map(|e| format!("{}{}{}", e["si"], e["sn"], e["sd"]))
            .collect()
    };
    tailer.rewind();
    desk.batch.start(&desk.envelope, desk.limit);
    tailer.fill(&mut desk.batch, desk.now);
    assert_eq!(numbers(desk.batch.complete(1)), numbers(&first));
}

#[path = "dynamic_tests.rs"]
mod dynamic;
#[path = "review_tests.rs"]
mod review;
#[path = "shape_tests.rs"]
mod shape;
