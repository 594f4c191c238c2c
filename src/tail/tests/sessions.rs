//! Two sessions that share the files of a worker.

use super::*;
use crate::tail::held::Held;

struct Pair {
    desk: Desk,
    pattern: &'static str,
    held: Held,
    tailers: Vec<Tailer>,
}

impl Pair {
    fn new(pattern: &'static str) -> Pair {
        Pair {
            desk: Desk::new(&[]),
            pattern,
            held: Held::default(),
            tailers: Vec::new(),
        }
    }

    /// Starts the first `count` sessions.
    fn start(&mut self, count: u64) {
        self.desk.now = Instant::now();
        self.held = Held::default();
        let saved = self.desk.recall();
        for index in 0..count {
            let mut settings = Settings::new(self.desk.path("data"));
            settings.session = format!("default-{index}");
            settings.share = (index, 2);
            settings.held = self.held.clone();
            settings.journal = self.desk.journal.clone();
            settings.rotated_grace = Duration::from_secs(20);
            let mut entry = Entry::new(self.desk.path(self.pattern));
            entry.copy_from_start = true;
            entry.exclude = vec![b"*/data".to_vec(), b"*/old".to_vec()];
            let envelope = self.desk.envelope.clone();
            let tailer = Tailer::new(settings, vec![entry], envelope, saved.as_ref());
            self.tailers.push(tailer);
        }
    }

    fn kill(&mut self) {
        self.tailers.clear();
    }

    fn stop(&mut self) {
        for tailer in &mut self.tailers {
            tailer.checkpoint();
        }
        self.tailers.clear();
        self.desk.close_journal();
    }

    fn run(&mut self, seconds: u64) {
        for _ in 0..seconds * 2 {
            self.desk.now += Duration::from_millis(500);
            for tailer in &mut self.tailers {
                tailer.poll(self.desk.now);
                self.desk.batch.start(&self.desk.envelope, self.desk.limit);
                tailer.fill(&mut self.desk.batch, self.desk.now);
                tailer.before_send();
                self.desk.arrived.take(&mut self.desk.batch);
                tailer.commit(&self.desk.batch, self.desk.now);
                tailer.checkpoint();
            }
        }
    }

    /// All lines that arrived, under any name.
    fn arrived(&self) -> Vec<String> {
        let texts = self.desk.arrived.text.values();
        let mut lines: Vec<String> = texts
            .flat_map(|text| {
                String::from_utf8_lossy(text)
                    .lines()
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            })
            .collect();
        lines.sort();
        lines
    }
}

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// Writes a line to each log; all lines so far are in `all`.
fn write(pair: &Pair, n: u32, all: &mut Vec<String>) {
    for name in NAMES {
        pair.desk
            .append(&format!("{name}.log"), format!("{name} {n}\n"));
        all.push(format!("{name} {n}"));
    }
    all.sort();
}

#[test]
fn a_file_that_is_renamed_to_a_name_of_the_other_session_is_not_sent_again() {
    let mut pair = Pair::new("*");
    let mut all = Vec::new();
    write(&pair, 0, &mut all);
    pair.start(2);
    pair.run(3);
    for n in 1..4 {
        for name in NAMES {
            pair.desk
                .rename(&format!("{name}.log"), &format!("{name}.{n}.was"));
        }
        write(&pair, n, &mut all);
        // Far beyond the time for which a rotated file is followed
        pair.run(200);
        assert_eq!(pair.arrived(), all);
        pair.stop();
        write(&pair, 10 + n, &mut all);
        pair.start(2);
        pair.run(130);
        assert_eq!(pair.arrived(), all);
    }
    assert_eq!(pair.desk.arrived.resent, 0);
}

#[test]
fn a_link_that_falls_to_the_other_session_is_a_log_of_its_own() {
    let mut pair = Pair::new("*");
    pair.desk.append("a.log", "1\n");
    for n in 0..6 {
        fs::hard_link(pair.desk.path("a.log"), pair.desk.path(&format!("link{n}"))).unwrap();
    }
    pair.start(2);
    pair.run(3);
    assert_eq!(pair.arrived(), ["1"; 7]);
}

#[test]
fn a_kill_between_the_first_checkpoints_of_two_sessions_repeats_nothing() {
    let mut pair = Pair::new("*.log");
    let mut all = Vec::new();
    write(&pair, 0, &mut all);
    pair.start(2);
    pair.run(3);
    pair.stop();
    // The other session has not written anything yet
    pair.start(1);
    pair.kill();
    write(&pair, 1, &mut all);
    pair.start(2);
    pair.run(3);
    assert_eq!(pair.arrived(), all);
    assert_eq!(pair.desk.arrived.resent, 0);
}
