//! Random histories of a log, of its agent and of the server's answers, against a ledger of what
//! was written: every line arrives, and after dropping what has a sequence number for the second
//! time it arrives once. Excused is only what was on disk nowhere any more, or what the server asked
//! to drop.
//!
//! A failure prints its seed and what happened. `MODEL_SEED=7 MODEL_EPISODES=1 cargo test model`
//! repeats one; many episodes from another seed on look for more, and `MODEL_SLOW=1` lets real time
//! pass, so that dates of files are no longer all the same. `MODEL_SHOW=1` prints the state at the end.

use super::super::discover::CLOCK_TICK;
use super::*;
use crate::config::GroupEnd;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Of xorshift64*: the same on every machine.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Dice((seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    /// Below `n`.
    fn roll(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.roll(n) == 0
    }
}

/// How a history differs from others as a whole.
#[derive(Debug, Clone, Copy)]
struct Kind {
    pattern: &'static str,
    change: fn(&mut Settings),
    /// Files stay open, so that what is deleted can be finished.
    holds: bool,
    grouped: bool,
}

const KINDS: [Kind; 5] = [
    Kind {
        pattern: "a.log",
        change: |s| patient(s, 256),
        holds: true,
        grouped: false,
    },
    Kind {
        pattern: "*.log",
        change: |s| patient(s, 256),
        holds: true,
        grouped: false,
    },
    Kind {
        pattern: "a.log*",
        change: |s| patient(s, 256),
        holds: true,
        grouped: false,
    },
    Kind {
        pattern: "a.log",
        change: |s| patient(s, 0),
        holds: false,
        grouped: false,
    },
    Kind {
        pattern: "*.log",
        change: |s| patient(s, 256),
        holds: true,
        grouped: true,
    },
];

/// Files get real dates, but the agent's time is made up: what is let go of after minutes would be
/// milliseconds old.
fn patient(settings: &mut Settings, most_open: usize) {
    settings.rotated_grace = Duration::from_secs(1_000_000);
    settings.deletion_delay = Duration::from_secs(1_000_000);
    settings.max_open_files = most_open;
    settings.max_line_size = 300;
    settings.new_log_detection = Duration::from_secs(2);
    settings.full_checkpoint_interval = Duration::from_millis(20);
    if slow() {
        settings.clock_slack = CLOCK_TICK;
    }
}

/// The sight that a look at a.log had of a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// Its inode, when it was empty.
    Empty,
    /// Some text.
    Text,
}

/// More rotated files than these are deleted.
const KEEP: usize = 6;

struct Model {
    dice: Dice,
    kind: Kind,
    desk: Desk,
    /// Which lines each file holds; those still to be completed have no end yet.
    files: BTreeMap<String, Vec<u64>>,
    /// The agent's sight of each file while it was a.log, and whether that is on disk; not in
    /// here: nothing.
    seen: BTreeMap<String, (Seen, bool)>,
    /// The agent has seen a content of a.log under a rotated name: it knows the kind of these names.
    kind_known: bool,
    next: u64,
    /// A line of the log that has no end yet.
    open_line: Option<u64>,
    /// The newest rotated file is no copy: its writer may still have it.
    renamed: bool,
    /// Lines that had no end for a while may arrive in pieces, and whole.
    pieced: BTreeSet<u64>,
    /// On disk nowhere; the agent may have them open.
    fragile: BTreeSet<u64>,
    excused: BTreeSet<u64>,
    // The session
    away: VecDeque<Batch>,
    filling: Option<Batch>,
    full: bool,
    at_end: bool,
    story: Vec<String>,
}

impl Model {
    fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let kind = KINDS[dice.roll(KINDS.len() as u64) as usize];
        let mut desk = Desk::within(&folder(), &[kind.pattern], true, kind.change);
        desk.limit = 1_500 + dice.roll(4_000) as usize;
        if kind.grouped {
            let through = GroupEnd::ContinueThrough("^ ".to_owned());
            desk.pipeline = super::shape::pipeline(|entry| {
                entry.line_groupers = vec![super::shape::grouper(r"^\[", through.clone())];
            });
        }
        Model {
            dice,
            kind,
            desk,
            files: BTreeMap::new(),
            seen: BTreeMap::new(),
            kind_known: false,
            next: 0,
            open_line: None,
            renamed: false,
            pieced: BTreeSet::new(),
            fragile: BTreeSet::new(),
            excused: BTreeSet::new(),
            away: VecDeque::new(),
            filling: None,
            full: false,
            at_end: false,
            story: vec![format!("seed {seed}, {}", kind.pattern)],
        }
    }

    fn say(&mut self, what: impl Into<String>) {
        self.story.push(what.into());
    }

    fn running(&self) -> bool {
        self.desk.tailer.is_some()
    }

    fn rotated(k: usize) -> String {
        format!("a.log.{k}")
    }

    fn step(&mut self) {
        match self.dice.roll(100) {
            0..=29 => self.write(),
            30..=34 => self.begin_line(),
            35..=37 => self.write_late(),
            38..=42 => self.rotate(false),
            43..=47 => self.rotate(true),
            48 => self.compress(),
            49 => self.truncate(),
            50 => self.delete(),
            51..=74 => {
                let most = if self.dice.one_in(10) { 30_000 } else { 1_500 };
                let millis = 50 + self.dice.roll(most);
                self.pass(millis);
            }
            75..=92 => self.verdict(),
            93..=94 => self.kill(),
            95..=96 => self.stop(),
            97 => self.close_files(),
            _ => self.start(),
        }
    }

    // The writer and the rotation

    fn line(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn write(&mut self) {
        let mut text = String::new();
        let mut written = Vec::new();
        if let Some(n) = self.open_line.take() {
            text += &format!("end{{{n}}}\n");
            // Only the end: the line may have begun in another file
            written.push(n);
        }
        for _ in 0..=self.dice.roll(6) {
            let n = self.line();
            let filler = match self.dice.roll(12) {
                0 => 400,
                1 => 0,
                k => 7 * k as usize,
            };
            let middle = match self.kind.grouped && self.dice.one_in(3) {
                true => "\n more\n and more",
                false => "",
            };
            text += &format!("[{n}]{}{middle}{{{n}}}\n", "x".repeat(filler));
            written.push(n);
        }
        self.say(format!("write {written:?}"));
        self.desk.append("a.log", &text);
        self.files
            .entry("a.log".into())
            .or_default()
            .extend(written);
    }

    fn begin_line(&mut self) {
        if self.open_line.is_some() {
            return;
        }
        let n = self.line();
        self.say(format!("begin {n}"));
        self.desk.append("a.log", format!("[{n}]begin,"));
        self.files.entry("a.log".into()).or_default().push(n);
        self.open_line = Some(n);
        self.pieced.insert(n);
    }

    /// A writer that has not noticed the rotation yet.
    fn write_late(&mut self) {
        let name = Self::rotated(1);
        // Late lines in an empty file that is compressed before anybody looks can't be told from
        // older ones
        let has_lines = self.files.get(&name).is_some_and(|lines| !lines.is_empty());
        let written_to = self.renamed && has_lines && self.is_held(&name);
        if self.open_line.is_some() || !written_to {
            return;
        }
        let n = self.line();
        self.say(format!("write late {n}"));
        self.desk.append(&name, format!("[{n}]late{{{n}}}\n"));
        self.files.entry(name).or_default().push(n);
    }

    fn make_way(&mut self) {
        self.remove(&Self::rotated(KEEP));
        self.remove(&format!("{}.gz", Self::rotated(KEEP)));
        for k in (1..KEEP).rev() {
            for end in ["", ".gz"] {
                let from = Self::rotated(k) + end;
                if let Some(lines) = self.files.remove(&from) {
                    let to = Self::rotated(k + 1) + end;
                    self.desk.rename(&from, &to);
                    self.seen_moves(&from, &to, true);
                    self.files.insert(to, lines);
                }
            }
        }
    }

    fn rotate(&mut self, by_copy: bool) {
        if !self.files.contains_key("a.log") {
            return;
        }
        self.make_way();
        self.renamed = !by_copy;
        let first = Self::rotated(1);
        self.say(if by_copy { "copytruncate" } else { "rename" });
        if by_copy {
            self.desk.copytruncate("a.log", &first);
            self.seen_moves("a.log", &first, false);
            let lines = self.files.insert("a.log".into(), Vec::new());
            self.files.insert(first, lines.unwrap_or_default());
            return;
        }
        self.desk.rename("a.log", &first);
        self.seen_moves("a.log", &first, true);
        if let Some(lines) = self.files.remove("a.log") {
            self.files.insert(first, lines);
        }
        if !self.dice.one_in(4) {
            self.desk.append("a.log", "");
            self.files.insert("a.log".into(), Vec::new());
        }
    }

    fn compress(&mut self) {
        // A pattern that also matches compressed files would have them sent as they are
        let k = 1 + self.dice.roll(KEEP as u64 - 1) as usize;
        let name = Self::rotated(k);
        if self.kind.pattern == "a.log*" {
            return;
        }
        if let Some(lines) = self.files.remove(&name) {
            self.say(format!("compress {name}"));
            self.desk.gzip(&name);
            let gz = name.clone() + ".gz";
            self.seen_moves(&name, &gz, false);
            self.files.insert(gz, lines);
        }
    }

    /// A content has got another name. As another file it is known by its text alone.
    fn seen_moves(&mut self, from: &str, to: &str, same_file: bool) {
        let seen = self.seen.remove(from);
        if let Some(seen) = seen.filter(|(s, _)| same_file || *s == Seen::Text) {
            self.seen.insert(to.to_owned(), seen);
        }
    }

    /// The agent looks. A file that came and went unseen is a log's by the kind of its name alone; as
    /// long as no known content has such a name, it is read by nobody.
    fn looks(&mut self, last: Option<f64>) {
        if !self.running() || self.last_look() == last {
            return;
        }
        self.kind_known |= self.seen.keys().any(|name| name != "a.log");
        if let Some(lines) = self.files.get("a.log") {
            let seen = if lines.is_empty() {
                Seen::Empty
            } else {
                Seen::Text
            };
            let saved = matches!(self.seen.get("a.log"), Some((s, true)) if *s == seen);
            self.seen.insert("a.log".into(), (seen, saved));
        }
        if self.kind_known || self.kind.pattern == "a.log*" {
            return;
        }
        let unseen = self
            .files
            .iter()
            .filter(|(name, _)| !self.seen.contains_key(*name));
        let lines: Vec<u64> = unseen.flat_map(|(_, lines)| lines).copied().collect();
        self.excused.extend(lines);
    }

    /// When the agent last looked at a.log, seconds since the epoch.
    fn last_look(&mut self) -> Option<f64> {
        let path = self.desk.path("a.log");
        self.desk.tailer.as_mut()?.log_at(&path)?.last_check
    }

    fn truncate(&mut self) {
        if let Some(lines) = self.files.get_mut("a.log") {
            let gone = std::mem::take(lines);
            self.say("truncate");
            self.seen.remove("a.log");
            fs::File::create(self.desk.path("a.log")).unwrap();
            let lost = self.nowhere(gone);
            self.excused.extend(lost);
        }
    }

    fn delete(&mut self) {
        self.remove("a.log");
    }

    fn remove(&mut self, name: &str) {
        let Some(gone) = self.files.remove(name) else {
            return;
        };
        self.say(format!("delete {name}"));
        self.seen.remove(name);
        let held = self.is_held(name);
        fs::remove_file(self.desk.path(name)).unwrap();
        let lost = self.nowhere(gone);
        match held && self.kind.holds {
            true => self.fragile.extend(lost),
            false => self.excused.extend(lost),
        }
    }

    /// Whether the agent has it open.
    fn is_held(&self, name: &str) -> bool {
        let ino = self.desk.ino(name);
        self.desk.tailer.as_ref().is_some_and(|tailer| {
            let mut all = tailer.logs.values().flat_map(|l| &l.generations);
            all.any(|g| g.id.ino == ino && g.source.is_some() && !g.gz)
        })
    }

    /// Those of the lines that no file has.
    fn nowhere(&self, lines: Vec<u64>) -> Vec<u64> {
        let there = |n: &u64| self.files.values().any(|lines| lines.contains(n));
        // A line of two files is whole only with both
        let pieces = |n: &u64| self.pieced.contains(n);
        let all = lines.into_iter();
        all.filter(|n| pieces(n) || !there(n)).collect()
    }

    fn drop_fragile(&mut self) {
        self.excused.append(&mut self.fragile);
    }

    // The agent

    fn start(&mut self) {
        if !self.running() {
            self.say("start");
            let before = self.desk.now;
            self.kind_known = false;
            self.desk.start();
            self.desk.now = self.desk.now.max(before);
            self.looks(None);
        }
    }

    fn pass(&mut self, millis: u64) {
        self.desk.now += Duration::from_millis(millis);
        let now = self.desk.now;
        self.say(format!("{millis} ms pass"));
        if slow() && !self.at_end {
            std::thread::sleep(Duration::from_secs_f64(1.5 * CLOCK_TICK));
        }
        let last = self.last_look();
        if let Some(tailer) = &mut self.desk.tailer {
            tailer.poll(now);
            self.looks(last);
            self.pump();
        }
    }

    /// Reads and hands over, as the session's thread does.
    fn pump(&mut self) {
        let Some(tailer) = &mut self.desk.tailer else {
            return;
        };
        for _ in 0..3 {
            if self.away.len() >= 2 {
                return;
            }
            if !self.full && tailer.has_ready() {
                let batch = self.filling.get_or_insert_with(|| {
                    let mut batch = Batch::new();
                    batch.start(&self.desk.envelope, self.desk.limit);
                    batch
                });
                self.full = tailer.fill(batch, self.desk.now);
            }
            let waits = self
                .filling
                .as_ref()
                .is_some_and(|b| !b.is_empty() || !b.spans.is_empty());
            if !(waits && (self.full || self.away.is_empty())) {
                return;
            }
            if let Some(batch) = self.filling.take() {
                tailer.before_send();
                self.seen.values_mut().for_each(|(_, saved)| *saved = true);
                tailer.handed_over(&batch.spans);
                self.away.push_back(batch);
                self.full = false;
            }
        }
    }

    /// The server, or the network before it, decides about the oldest request.
    fn verdict(&mut self) {
        let Some(mut batch) = self.away.pop_front() else {
            return;
        };
        let now = self.desk.now;
        let what = self.dice.roll(20);
        match what {
            0..=2 => {
                // An answer that says nothing; the server may have it all the same
                let taken = self.dice.one_in(2);
                self.say(format!("sent once more, taken: {taken}"));
                if taken {
                    self.desk.arrived.take(&mut batch);
                }
                self.away.push_front(batch);
            }
            _ => {
                if what == 3 {
                    let mut bin = Arrived::default();
                    bin.take(&mut batch);
                    let found = lines_of(&bin);
                    self.excused.extend(found.keys());
                    batch.refuse(0..batch.events());
                    self.say("discarded");
                } else {
                    self.say("delivered");
                    self.desk.arrived.take(&mut batch);
                }
                if let Some(tailer) = &mut self.desk.tailer {
                    tailer.commit(&batch, now);
                    tailer.checkpoint(now);
                }
            }
        }
        self.pump();
    }

    fn forget_session(&mut self) {
        self.away.clear();
        self.filling = None;
        self.full = false;
        self.drop_fragile();
    }

    fn kill(&mut self) {
        if !self.running() {
            return;
        }
        let taken = self.dice.one_in(2);
        self.say(format!("kill, taken: {taken}"));
        if let Some(batch) = self.away.front_mut().filter(|_| taken) {
            self.desk.arrived.take(batch);
        }
        self.seen.retain(|_, (_, saved)| *saved);
        self.desk.kill();
        self.forget_session();
    }

    fn stop(&mut self) {
        if !self.running() {
            return;
        }
        let now = self.desk.now;
        self.say("stop");
        if self.dice.one_in(2) {
            if let Some(tailer) = &mut self.desk.tailer {
                tailer.poll_all(now);
            }
            self.pump();
        }
        let taken = self.dice.one_in(2);
        if let Some(batch) = self.away.front_mut().filter(|_| taken) {
            self.desk.arrived.take(batch);
            if self.dice.one_in(2) {
                if let Some(tailer) = &mut self.desk.tailer {
                    tailer.commit(batch, now);
                    tailer.checkpoint(now);
                }
            }
        }
        self.desk.stop();
        self.forget_session();
        if self.dice.one_in(2) {
            self.start();
        }
    }

    /// Too many files are open, or they have been idle for long.
    fn close_files(&mut self) {
        if self.running() && self.fragile.is_empty() {
            self.say("close files");
            self.desk.close_all();
            if let Some(tailer) = &mut self.desk.tailer {
                tailer.open = 0;
            }
        }
    }

    /// Everything comes to rest, and the account is made.
    fn finish(&mut self) {
        if self.open_line.is_some() {
            self.write();
        }
        self.start();
        self.say("that was it");
        self.at_end = true;
        let said = self.story.len();
        for _ in 0..200 {
            self.pass(700);
            let mut most = 50;
            while !self.away.is_empty() && most > 0 {
                self.verdict();
                most -= 1;
            }
        }
        self.story.truncate(said);
        if std::env::var_os("MODEL_SHOW").is_some() {
            for log in self.desk.tailer.as_ref().unwrap().logs.values() {
                eprintln!("{:?} {:#?}", log.path, log.generations);
            }
            for f in fs::read_dir(&self.desk.dir).unwrap() {
                let f = f.unwrap();
                eprintln!("{:?} {:?}", f.path(), f.metadata().unwrap());
            }
        }
        let found = lines_of(&self.desk.arrived);
        for n in 1..=self.next {
            let (starts, ends) = found.get(&n).copied().unwrap_or_default();
            let lost = (starts == 0 || ends == 0) && !self.excused.contains(&n);
            let twice = (starts > 1 || ends > 1) && !self.pieced.contains(&n);
            assert!(!lost, "line {n} is lost: {}", self.story.join("; "));
            assert!(!twice, "line {n} came twice: {}", self.story.join("; "));
        }
    }
}

/// How many beginnings and ends arrived of each line.
fn lines_of(arrived: &Arrived) -> BTreeMap<u64, (u32, u32)> {
    let mut found: BTreeMap<u64, (u32, u32)> = BTreeMap::new();
    for text in arrived.text.values() {
        let text = String::from_utf8_lossy(text);
        for (open, close) in [('[', ']'), ('{', '}')] {
            for part in text.split(open).skip(1) {
                let number = part.split(close).next().and_then(|n| n.parse().ok());
                let counts = found.entry(number.unwrap_or(0)).or_default();
                match open {
                    '[' => counts.0 += 1,
                    _ => counts.1 += 1,
                }
            }
        }
    }
    found
}

/// On a disk, which inode a new file gets depends on what else the machine does: of
/// 9,000 histories one still fails there (seed 636596, where a line comes twice). In memory
/// a seed always tells the same. `MODEL_FOLDER` is another folder to look in.
fn folder() -> PathBuf {
    let named = std::env::var_os("MODEL_FOLDER").map(PathBuf::from);
    let memory = Some(PathBuf::from("/dev/shm"));
    let memory =
        memory.filter(|dir| nix::unistd::access(dir, nix::unistd::AccessFlags::W_OK).is_ok());
    named.or(memory).unwrap_or_else(std::env::temp_dir)
}

/// Real time passes as well, so that it matters whether something came before or after a look.
fn slow() -> bool {
    std::env::var_os("MODEL_SLOW").is_some()
}

fn number(name: &str, default: u64) -> u64 {
    let value = std::env::var(name).ok();
    value.and_then(|v| v.parse().ok()).unwrap_or(default)
}

#[test]
fn no_history_of_files_deaths_and_answers_loses_or_repeats_a_line() {
    let first = number("MODEL_SEED", 1);
    let episodes = number("MODEL_EPISODES", 60);
    let mut failed = Vec::new();
    for seed in first..first + episodes {
        let outcome = std::panic::catch_unwind(|| {
            let mut model = Model::new(seed);
            if model.kind.pattern != "a.log" || model.dice.one_in(2) {
                model.desk.append("a.log", "");
                model.files.insert("a.log".into(), Vec::new());
            }
            model.start();
            for _ in 0..number("MODEL_STEPS", 20 + seed % 60) {
                model.step();
            }
            model.finish();
        });
        if outcome.is_err() {
            failed.push(seed);
        }
    }
    assert!(failed.is_empty(), "{} failed: {failed:?}", failed.len());
}
