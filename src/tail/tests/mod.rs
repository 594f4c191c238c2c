//! Every way in which files change under the agent, without threads: [`Desk`] plays the uploader.
//! Many of these tests show a defect that this agent or the Python agent had.

mod checkpoint;
mod compressed;
mod copytruncate;
mod dynamic;
mod edits;
mod hints;
mod inode;
mod left_out;
mod limit;
mod line;
mod model;
mod names;
mod player;
mod rotation;
mod sessions;
mod shape;
mod start;
mod stopped;
mod stories;
mod story;
mod successor;
mod trust;
mod wakes;
mod zeros;

use super::journal::Journal;
use super::ledger::Content;
use super::listing;
use super::log::Log;
use super::settings::{Entry, Settings};
use super::successor::Carried;
use super::tailer::Tailer;
use super::Saved;
use crate::util::random;
use crate::wire::{Batch, Envelope, EnvelopeSpec, Form};
use std::collections::{HashMap, HashSet};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A folder with logs and checkpoints, and an agent that can be stopped and killed.
struct Desk {
    dir: PathBuf,
    entries: Vec<(String, bool)>,
    change: fn(&mut Settings),
    exclude: Vec<Vec<u8>>,
    foreign_links: bool,
    tailer: Option<Tailer>,
    batch: Batch,
    limit: usize,
    envelope: Arc<Envelope>,
    pipeline: Option<Arc<crate::shape::Pipeline>>,
    journal: Option<Journal>,
    hints: Option<super::hints::Source>,
    now: Instant,
    arrived: Arrived,
}

/// The lines that a server has got.
#[derive(Default)]
struct Arrived {
    /// By log file, resends dropped.
    text: HashMap<String, Vec<u8>>,
    seen: HashSet<(String, u64)>,
    resent: u64,
}

impl Drop for Desk {
    fn drop(&mut self) {
        // A thread that still writes would make files again
        if let Some(journal) = self.journal.take() {
            journal.stop(Duration::from_secs(20));
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

impl Desk {
    fn new(patterns: &[&str]) -> Self {
        Desk::with(patterns, true, |_| {})
    }

    /// With one log, a.log, whose text so far is copied.
    fn copied(text: impl AsRef<[u8]>) -> Self {
        let mut desk = Desk::new(&["a.log"]);
        desk.append("a.log", text);
        desk.start();
        desk.run(2);
        desk
    }

    /// With one log, a.log, that is empty and was rotated to a.log.1 with the text "0\n": the kind of
    /// name that its rotation gives is known.
    fn rotated_once() -> Self {
        let mut desk = Desk::copied("0\n");
        desk.rename("a.log", "a.log.1");
        desk.append("a.log", "");
        desk.run(2);
        desk
    }

    /// As `copied`, and then the agent was stopped.
    fn stopped(text: impl AsRef<[u8]>) -> Self {
        let mut desk = Desk::copied(text);
        desk.stop();
        desk
    }

    fn with(patterns: &[&str], from_start: bool, change: fn(&mut Settings)) -> Self {
        Desk::within(&std::env::temp_dir(), patterns, from_start, change)
    }

    fn within(
        folder: &Path,
        patterns: &[&str],
        from_start: bool,
        change: fn(&mut Settings),
    ) -> Self {
        let dir = folder.join(format!("tail-{}", random::uuid4()));
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
            exclude: Vec::new(),
            foreign_links: false,
            tailer: None,
            batch: Batch::new(),
            limit: 1_000_000,
            envelope: Arc::new(envelope),
            pipeline: None,
            journal: None,
            hints: None,
            now: Instant::now(),
            arrived: Arrived::default(),
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
        let written = fs::metadata(self.path(name)).unwrap().mtime() as u32;
        let mut out = vec![0x1F, 0x8B, 8, 0];
        out.extend(written.to_le_bytes());
        out.extend([0, 3]);
        out.extend(miniz_oxide::deflate::compress_to_vec(&content, 6));
        out.extend([0; 8]);
        fs::write(self.path(&format!("{name}.gz")), out).unwrap();
        fs::remove_file(self.path(name)).unwrap();
    }

    fn start(&mut self) {
        self.go_on(Vec::new());
    }

    /// Starts one that goes on with what earlier ones have left. The batches that it is to send first.
    fn go_on(&mut self, carried: Vec<Carried>) -> Vec<Batch> {
        let mut settings = Settings::new(self.path("data"));
        (self.change)(&mut settings);
        let entries = self
            .entries
            .iter()
            .map(|(pattern, from_start)| {
                let mut entry = Entry::new(self.dir.join(pattern));
                entry.copy_from_start = *from_start;
                entry.follow_foreign_links = self.foreign_links;
                entry.pipeline = self.pipeline.clone();
                entry.exclude.clone_from(&self.exclude);
                entry
            })
            .collect();
        self.now = Instant::now();
        let saved = self.recall();
        settings.journal = self.journal.clone();
        settings.hints.clone_from(&self.hints);
        settings.max_request = self.limit;
        let envelope = self.envelope.clone();
        let (tailer, batches) = Tailer::going_on(
            settings,
            entries,
            envelope,
            saved.as_ref(),
            carried,
            &|_, _| None,
        );
        self.tailer = Some(tailer);
        batches
    }

    fn kill(&mut self) {
        self.tailer = None;
    }

    fn stop(&mut self) {
        let tailer = self.tailer.as_mut().unwrap();
        tailer.checkpoint();
        self.tailer = None;
        self.close_journal();
        // The journal, and the checkpoint file for the Python agent
        assert_eq!(fs::read_dir(self.dir.join("data")).unwrap().count(), 2);
    }

    /// All that is remembered, from the disk.
    fn recall(&mut self) -> Option<Saved> {
        self.close_journal();
        let dir = self.path("data");
        let open = super::positions::open(&dir, Duration::from_secs(15), Duration::MAX);
        let positions = open.unwrap();
        self.journal = Some(positions.journal);
        let memory = positions.memory;
        (!memory.is_empty()).then_some(memory.saved)
    }

    fn close_journal(&mut self) {
        if let Some(journal) = self.journal.take() {
            assert!(journal.stop(Duration::from_secs(20)));
        }
    }

    /// Time passes; what is due is done, and what is read is delivered.
    fn run(&mut self, seconds: u64) {
        for _ in 0..seconds * 2 {
            self.pass(Duration::from_millis(500));
        }
    }

    /// As `run`, for one round.
    fn pass(&mut self, time: Duration) {
        let tailer = self.tailer.as_mut().unwrap();
        self.now += time;
        tailer.poll(self.now);
        loop {
            self.batch.start(&self.envelope, self.limit);
            let full = tailer.fill(&mut self.batch, self.now);
            if self.batch.is_empty() && self.batch.spans.is_empty() {
                break;
            }
            tailer.before_send();
            self.arrived.take(&mut self.batch);
            tailer.commit(&self.batch, self.now);
            tailer.checkpoint();
            if !full {
                break;
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
            self.arrived.take(&mut self.batch);
        }
        self.tailer = None;
    }

    fn all(&self, name: &str) -> String {
        let path = self.path(name).to_string_lossy().into_owned();
        String::from_utf8_lossy(self.arrived.text.get(&path).map_or(b"", |v| v)).into_owned()
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .arrived
            .text
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
            .map(|l| l.counters.get().total_skipped())
            .sum()
    }

    fn ino(&self, name: &str) -> u64 {
        fs::metadata(self.path(name)).unwrap().ino()
    }

    /// How many files really are open, whatever the count says.
    fn really_open(&self) -> usize {
        let tailer = self.tailer.as_ref().unwrap();
        let readings = tailer.readings.values();
        readings.filter(|reading| reading.source.is_some()).count()
    }

    /// Closes all files behind the tailer's back, as `max_open_files` would in time.
    fn close_all(&mut self) {
        for reading in self.tailer.as_mut().unwrap().readings.values_mut() {
            reading.source = None;
        }
    }

    fn log(&mut self, name: &str) -> &mut Log {
        let path = self.path(name);
        self.tailer.as_mut().unwrap().log_at(&path).unwrap()
    }

    /// The contents of a log.
    fn contents(&mut self, name: &str) -> Vec<Content> {
        let id = self.log(name).id();
        let tailer = self.tailer.as_ref().unwrap();
        let keys = tailer.ledger.of_log(id).iter();
        keys.map(|key| tailer.ledger.get(*key).unwrap().clone())
            .collect()
    }

    /// Known bytes of a log that are not settled.
    fn pending(&mut self, name: &str) -> u64 {
        self.contents(name).iter().map(Content::pending).sum()
    }

    /// Half a second later, looks at what is due and reads nothing.
    fn look(&mut self) {
        self.now += Duration::from_millis(500);
        let tailer = self.tailer.as_mut().unwrap();
        tailer.poll(self.now);
    }

    /// Looks at what is due, and reads into the desk's batch; nothing is sent.
    fn fill(&mut self) -> bool {
        let tailer = self.tailer.as_mut().unwrap();
        tailer.poll(self.now);
        self.batch.start(&self.envelope, self.limit);
        tailer.fill(&mut self.batch, self.now)
    }

    fn deliver(&mut self) {
        self.arrived.take(&mut self.batch);
    }
}

impl Arrived {
    fn take(&mut self, batch: &mut Batch) {
        let body: serde_json::Value = serde_json::from_slice(batch.complete(1)).unwrap();
        let logs = body["logs"].as_array().unwrap();
        let mut sequence = (String::new(), 0);
        for event in body["events"].as_array().unwrap() {
            if let Some(id) = event["si"].as_str() {
                sequence = (id.to_owned(), event["sn"].as_u64().unwrap());
            } else {
                sequence.1 += event["sd"].as_u64().unwrap();
            }
            if !self.seen.insert(sequence.clone()) {
                self.resent += 1;
                continue;
            }
            let log = logs.iter().find(|l| l["id"] == event["log"]).unwrap();
            let name = log["attrs"]["logfile"].as_str().unwrap().to_owned();
            let message = event["attrs"]["message"].as_str().unwrap();
            self.text
                .entry(name)
                .or_default()
                .extend_from_slice(message.as_bytes());
        }
    }
}

/// Of this thread: a busy machine does not change it.
fn cpu_seconds() -> f64 {
    let clock = nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID;
    let time = nix::time::clock_gettime(clock).unwrap();
    time.tv_sec() as f64 + time.tv_nsec() as f64 / 1e9
}

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
