//! Plays stories: takes their steps on real files, for an agent that runs without threads, and makes
//! the account of what was written.

use super::super::source::Source;
use super::story::{Failure, Line, Setting, Step, Turn};
use super::*;
use crate::config::GroupEnd;
use crate::tail::hints::{Hints, Told, Waiting, Watch};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The tick of a local file system's clock, in seconds.
const CLOCK_TICK: f64 = 0.02;

/// Files get real dates, but the agent's time is made up: what is let go of after minutes would be
/// milliseconds old.
fn patient(settings: &mut Settings, most_open: usize) {
    settings.rotated_grace = Duration::from_secs(1_000_000);
    settings.deletion_delay = Duration::from_secs(1_000_000);
    settings.max_open_files = most_open;
    settings.max_line_size = 300;
    settings.new_log_detection = Duration::from_secs(2);
}

impl Setting {
    fn change(&self) -> fn(&mut Settings) {
        match (self.holds, self.fine_clock) {
            (true, false) => |s| patient(s, 256),
            (false, false) => |s| patient(s, 0),
            (true, true) => |s| {
                patient(s, 256);
                s.clock_slack = CLOCK_TICK;
            },
            (false, true) => |s| {
                patient(s, 0);
                s.clock_slack = CLOCK_TICK;
            },
        }
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
pub const KEEP: usize = 6;

pub fn rotated(k: usize) -> String {
    format!("a.log.{k}")
}

/// A file that has no name any more.
struct Deleted {
    name: String,
    ino: u64,
    /// Open, so that no other file gets its inode.
    kept: Option<fs::File>,
}

/// Takes the steps of a story, and the account of what was written: every line arrives, and after
/// dropping what has a sequence number for the second time it arrives once. Excused is only what was on
/// disk nowhere any more, or what the server asked to drop.
pub struct Player {
    desk: Desk,
    setting: Setting,
    /// Inodes are given as the story says; else as the file system does.
    by_the_book: bool,
    deleted: Vec<Deleted>,
    /// The deleted file whose inode the next new file is to get.
    place: Option<String>,
    /// The deleted file whose inode the last step's file got.
    pub reused: Option<String>,
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
    /// The kernel's hints, those that are late, and how many looks there were.
    hints: Option<(Hints, Waiting, u64)>,
    // The session
    away: VecDeque<Batch>,
    filling: Option<Batch>,
    full: bool,
}

impl Player {
    pub fn new(folder: &Path, setting: &Setting, by_the_book: bool) -> Self {
        let mut desk = Desk::within(folder, &[&setting.pattern], true, setting.change());
        desk.limit = setting.request;
        let hints = setting.hints.then(|| {
            let hints = Hints::without_thread(100).unwrap();
            desk.hints = Some(hints.source());
            (hints, Waiting::default(), 0)
        });
        if setting.grouped {
            let through = GroupEnd::ContinueThrough("^ ".to_owned());
            desk.pipeline = super::shape::pipeline(|entry| {
                entry.line_groupers = vec![super::shape::grouper(r"^\[", through.clone())];
            });
        }
        Player {
            desk,
            setting: setting.clone(),
            by_the_book,
            deleted: Vec::new(),
            place: None,
            reused: None,
            files: BTreeMap::new(),
            seen: BTreeMap::new(),
            kind_known: false,
            next: 0,
            open_line: None,
            renamed: false,
            pieced: BTreeSet::new(),
            fragile: BTreeSet::new(),
            excused: BTreeSet::new(),
            hints,
            away: VecDeque::new(),
            filling: None,
            full: false,
        }
    }

    pub fn running(&self) -> bool {
        self.desk.tailer.is_some()
    }

    pub fn has_file(&self, name: &str) -> bool {
        self.files.contains_key(name)
    }

    pub fn awaits_answer(&self) -> bool {
        !self.away.is_empty()
    }

    pub fn line_is_open(&self) -> bool {
        self.open_line.is_some()
    }

    /// # Errors
    /// That the file system does not give the inode that the story asks for.
    pub fn take(&mut self, turn: &Turn) -> Result<(), Failure> {
        self.place.clone_from(&turn.place);
        self.reused = None;
        match &turn.step {
            Step::Create => self.create()?,
            Step::Write(lines) => self.write(lines)?,
            Step::Begin => self.begin_line()?,
            Step::WriteLate => self.write_late(),
            Step::Rename => self.rename(),
            Step::CopyTruncate => self.copytruncate()?,
            Step::Compress(name) => self.compress(name)?,
            Step::Truncate => self.truncate(),
            Step::Delete(name) => self.remove(name),
            Step::Dates(seconds) => self.set_dates(*seconds),
            Step::Tick => std::thread::sleep(Duration::from_secs_f64(1.5 * CLOCK_TICK)),
            Step::Start => self.start(),
            Step::Wait(millis) => {
                self.desk.now += Duration::from_millis(*millis);
                self.look();
                self.pump();
            }
            Step::Look => self.look(),
            Step::LookAtAll => {
                let now = self.desk.now;
                if let Some(tailer) = &mut self.desk.tailer {
                    tailer.poll_all(now);
                }
                self.pump();
            }
            Step::Send => self.pump(),
            Step::CloseFiles => self.close_files(),
            Step::Kill => self.kill(false),
            Step::KillTaken => self.kill(true),
            Step::Stop => self.stop(false, false),
            Step::StopTaken => self.stop(true, false),
            Step::StopAnswered => self.stop(true, true),
            Step::Reload => self.reload(),
            Step::Answer => self.answered(false),
            Step::Discard => self.answered(true),
            Step::NoAnswer => self.pump(),
            Step::NoAnswerTaken => {
                if let Some(batch) = self.away.front_mut() {
                    self.desk.arrived.take(batch);
                }
                self.pump();
            }
        }
        match self.place.take() {
            Some(name) if self.by_the_book => Err(Failure::Unplayable(format!(
                "no file was made in the place of {name}"
            ))),
            _ => Ok(()),
        }
    }

    // The inodes

    /// Makes an empty file, if there is none, with the inode that the story says.
    fn make(&mut self, name: &str) -> Result<(), Failure> {
        let path = self.desk.path(name);
        if path.exists() {
            return Ok(());
        }
        let Some(place) = self.place.take() else {
            fs::File::create(&path).unwrap();
            let ino = self.desk.ino(name);
            let at = self.deleted.iter().rposition(|d| d.ino == ino);
            self.reused = at.map(|at| self.deleted.remove(at).name);
            return Ok(());
        };
        let fails = |why: &str| Failure::Unplayable(format!("{why} {place}"));
        let spare = self.desk.dir.join("spare");
        fs::create_dir_all(&spare).unwrap();
        let at = self.deleted.iter().rposition(|d| d.name == place);
        let at = at.ok_or_else(|| fails("no file was deleted that was called"))?;
        let Deleted { ino, kept, .. } = self.deleted.remove(at);
        drop(kept);
        if self.is_open(&place) {
            return Err(fails(
                "the agent has it open and so its inode is not given again:",
            ));
        }
        // Lower inodes that are free are given first; they are taken until then
        let found = (0..500).any(|n| {
            fs::File::create(&path).unwrap();
            let is_it = self.desk.ino(name) == ino;
            if !is_it {
                fs::rename(&path, spare.join(n.to_string())).unwrap();
            }
            is_it
        });
        fs::remove_dir_all(&spare).unwrap();
        match found {
            true => Ok(()),
            false => Err(fails("no new file gets the inode of")),
        }
    }

    /// Whether this process has a deleted file of that name open.
    fn is_open(&self, name: &str) -> bool {
        let path = format!("{} (deleted)", self.desk.path(name).display());
        let all = fs::read_dir("/proc/self/fd")
            .into_iter()
            .flatten()
            .flatten();
        all.filter_map(|fd| fs::read_link(fd.path()).ok())
            .any(|shown| shown.as_os_str() == path.as_str())
    }

    fn will_be_deleted(&mut self, name: &str) {
        let file = fs::File::open(self.desk.path(name)).unwrap();
        self.deleted.push(Deleted {
            name: name.to_owned(),
            ino: self.desk.ino(name),
            kept: self.by_the_book.then_some(file),
        });
    }

    // The writer and the rotation

    fn create(&mut self) -> Result<(), Failure> {
        self.make("a.log")?;
        self.files.entry("a.log".into()).or_default();
        Ok(())
    }

    fn line(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn write(&mut self, lines: &[Line]) -> Result<(), Failure> {
        let mut text = String::new();
        let mut written = Vec::new();
        if let Some(n) = self.open_line.take() {
            text += &format!("end{{{n}}}\n");
            // Only the end: the line may have begun in another file
            written.push(n);
        }
        for line in lines {
            let n = self.line();
            let middle = if line.group { "\n more\n and more" } else { "" };
            text += &format!("[{n}]{}{middle}{{{n}}}\n", "x".repeat(line.filler));
            written.push(n);
        }
        self.make("a.log")?;
        self.desk.append("a.log", &text);
        self.files
            .entry("a.log".into())
            .or_default()
            .extend(written);
        Ok(())
    }

    fn begin_line(&mut self) -> Result<(), Failure> {
        if self.open_line.is_some() {
            return Ok(());
        }
        let n = self.line();
        self.make("a.log")?;
        self.desk.append("a.log", format!("[{n}]begin,"));
        self.files.entry("a.log".into()).or_default().push(n);
        self.open_line = Some(n);
        self.pieced.insert(n);
        Ok(())
    }

    fn write_late(&mut self) {
        let name = rotated(1);
        // Late lines in an empty file that is compressed before anybody looks can't be told from
        // older ones
        let has_lines = self.files.get(&name).is_some_and(|lines| !lines.is_empty());
        let written_to = self.renamed && has_lines && self.is_held(&name);
        if self.open_line.is_some() || !written_to {
            return;
        }
        let n = self.line();
        self.desk.append(&name, format!("[{n}]late{{{n}}}\n"));
        self.files.entry(name).or_default().push(n);
    }

    fn make_way(&mut self) {
        self.remove(&rotated(KEEP));
        self.remove(&format!("{}.gz", rotated(KEEP)));
        for k in (1..KEEP).rev() {
            for end in ["", ".gz"] {
                let from = rotated(k) + end;
                if let Some(lines) = self.files.remove(&from) {
                    let to = rotated(k + 1) + end;
                    self.desk.rename(&from, &to);
                    self.seen_moves(&from, &to, true);
                    self.files.insert(to, lines);
                }
            }
        }
    }

    fn rename(&mut self) {
        if !self.has_file("a.log") {
            return;
        }
        self.make_way();
        self.renamed = true;
        let first = rotated(1);
        self.desk.rename("a.log", &first);
        self.seen_moves("a.log", &first, true);
        if let Some(lines) = self.files.remove("a.log") {
            self.files.insert(first, lines);
        }
    }

    fn copytruncate(&mut self) -> Result<(), Failure> {
        if !self.has_file("a.log") {
            return Ok(());
        }
        self.make_way();
        self.renamed = false;
        let first = rotated(1);
        self.make(&first)?;
        self.desk.copytruncate("a.log", &first);
        self.seen_moves("a.log", &first, false);
        let lines = self.files.insert("a.log".into(), Vec::new());
        self.files.insert(first, lines.unwrap_or_default());
        Ok(())
    }

    fn compress(&mut self, name: &str) -> Result<(), Failure> {
        // A pattern that also matches compressed files would have them sent as they are
        if self.setting.pattern == "a.log*" || !self.has_file(name) {
            return Ok(());
        }
        let gz = format!("{name}.gz");
        self.make(&gz)?;
        self.will_be_deleted(name);
        self.desk.gzip(name);
        self.seen_moves(name, &gz, false);
        if let Some(lines) = self.files.remove(name) {
            self.files.insert(gz, lines);
        }
        Ok(())
    }

    fn truncate(&mut self) {
        if let Some(lines) = self.files.get_mut("a.log") {
            let gone = std::mem::take(lines);
            self.seen.remove("a.log");
            fs::File::create(self.desk.path("a.log")).unwrap();
            let lost = self.nowhere(gone);
            self.excused.extend(lost);
        }
    }

    fn remove(&mut self, name: &str) {
        let Some(gone) = self.files.remove(name) else {
            return;
        };
        self.seen.remove(name);
        let held = self.is_held(name);
        self.will_be_deleted(name);
        fs::remove_file(self.desk.path(name)).unwrap();
        let lost = self.nowhere(gone);
        match held && self.setting.holds {
            true => self.fragile.extend(lost),
            false => self.excused.extend(lost),
        }
    }

    fn set_dates(&mut self, seconds: i64) {
        for name in self.files.keys() {
            let file = fs::File::open(self.desk.path(name)).unwrap();
            let date = file.metadata().unwrap().modified().unwrap();
            let by = Duration::from_secs(seconds.unsigned_abs());
            let date = if seconds < 0 { date - by } else { date + by };
            file.set_modified(date).unwrap();
        }
    }

    // The account

    /// A content has got another name. As another file it is known by its text alone.
    fn seen_moves(&mut self, from: &str, to: &str, same_file: bool) {
        let seen = self.seen.remove(from);
        if let Some(seen) = seen.filter(|(s, _)| same_file || *s == Seen::Text) {
            self.seen.insert(to.to_owned(), seen);
        }
    }

    /// The agent has looked, if not at the time `last`. A file that came and went unseen is a log's by the
    /// kind of its name alone; as long as no known content has such a name, it is read by nobody.
    fn looked(&mut self, last: Option<f64>) {
        let at = self.last_look();
        if !self.running() || (at.is_some() && at == last) {
            return;
        }
        self.kind_known |= self.seen.keys().any(|name| name != "a.log");
        let shown = self.files.get("a.log").filter(|_| at.is_some());
        if let Some(lines) = shown {
            let seen = if lines.is_empty() {
                Seen::Empty
            } else {
                Seen::Text
            };
            let saved = matches!(self.seen.get("a.log"), Some((s, true)) if *s == seen);
            self.seen.insert("a.log".into(), (seen, saved));
        }
        if self.kind_known || self.setting.pattern == "a.log*" {
            return;
        }
        let unseen = self
            .files
            .iter()
            .filter(|(name, _)| *name != "a.log" && !self.seen.contains_key(*name));
        let lines: Vec<u64> = unseen.flat_map(|(_, lines)| lines).copied().collect();
        self.excused.extend(lines);
    }

    /// When the agent last looked at a.log, seconds since the epoch.
    fn last_look(&mut self) -> Option<f64> {
        let path = self.desk.path("a.log");
        self.desk.tailer.as_mut()?.log_at(&path)?.last_check
    }

    /// Whether the agent has it open.
    fn is_held(&self, name: &str) -> bool {
        let ino = self.desk.ino(name);
        self.desk.tailer.as_ref().is_some_and(|tailer| {
            let mut all = tailer.readings.values();
            all.any(|r| {
                r.id.is_some_and(|id| id.ino == ino) && matches!(r.source, Some(Source::Plain(_)))
            })
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

    // The agent

    fn start(&mut self) {
        if !self.running() {
            let before = self.desk.now;
            self.kind_known = false;
            self.desk.start();
            self.desk.now = self.desk.now.max(before);
            self.looked(None);
        }
    }

    /// Tells the agent what the kernel tells, less reliably than the kernel does.
    fn hear(&mut self) {
        let (Some((hints, late, looks)), Some(tailer)) = (&mut self.hints, &mut self.desk.tailer)
        else {
            return;
        };
        hints.pass_on();
        let Some(watching) = &tailer.watching else {
            return;
        };
        *looks += 1;
        let told = watching.subscription.take();
        let all = |waiting: &Waiting| Waiting {
            hints: waiting.hints.clone(),
            lost: waiting.lost,
            ..Waiting::default()
        };
        match *looks * 7 % 11 {
            0 => late.add_all(told),
            1 => {}
            2 => tailer.told_all(
                Waiting {
                    lost: true,
                    ..Waiting::default()
                },
                self.desk.now,
            ),
            3 => {
                tailer.told_all(all(&told), self.desk.now);
                tailer.told_all(told, self.desk.now);
            }
            4 => {
                // Of another file, and that it came or went
                let wrong = Told {
                    named: true,
                    changed: true,
                    ..Told::default()
                };
                let names = ["a.log", "a.log.1", "a.log.2.gz", "none"].into_iter();
                let watches: BTreeSet<Watch> = told.hints.keys().map(|(at, _)| *at).collect();
                let mut more = told;
                for (watch, name) in watches
                    .into_iter()
                    .flat_map(|watch| names.clone().map(move |name| (watch, name)))
                {
                    more.hints.insert((watch, Some(name.into())), wrong);
                }
                tailer.told_all(more, self.desk.now);
            }
            _ => {
                tailer.told_all(std::mem::take(late), self.desk.now);
                tailer.told_all(told, self.desk.now);
            }
        }
    }

    fn look(&mut self) {
        let last = self.last_look();
        self.hear();
        if let Some(tailer) = &mut self.desk.tailer {
            tailer.poll(self.desk.now);
            self.looked(last);
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

    fn answered(&mut self, discarded: bool) {
        if let Some(mut batch) = self.away.pop_front() {
            if discarded {
                let mut bin = Arrived::default();
                bin.take(&mut batch);
                self.excused.extend(lines_of(&bin).keys());
                self.excused.extend(cut_lines(&bin, &self.desk.arrived));
                batch.refuse(0..batch.events());
            } else {
                self.desk.arrived.take(&mut batch);
            }
            if let Some(tailer) = &mut self.desk.tailer {
                tailer.commit(&batch, self.desk.now);
                tailer.checkpoint();
            }
        }
        self.pump();
    }

    fn forget_session(&mut self) {
        self.away.clear();
        self.filling = None;
        self.full = false;
        self.excused.append(&mut self.fragile);
    }

    fn kill(&mut self, taken: bool) {
        if !self.running() {
            return;
        }
        if let Some(batch) = self.away.front_mut().filter(|_| taken) {
            self.desk.arrived.take(batch);
        }
        self.seen.retain(|_, (_, saved)| *saved);
        self.desk.kill();
        self.forget_session();
    }

    fn stop(&mut self, taken: bool, answered: bool) {
        if !self.running() {
            return;
        }
        if let Some(batch) = self.away.front_mut().filter(|_| taken) {
            self.desk.arrived.take(batch);
            if let Some(tailer) = self.desk.tailer.as_mut().filter(|_| answered) {
                tailer.commit(batch, self.desk.now);
                tailer.checkpoint();
            }
        }
        self.desk.stop();
        self.forget_session();
    }

    /// Requests that nobody has decided go to the successor.
    fn reload(&mut self) {
        let last = self.last_look();
        let Some(tailer) = self.desk.tailer.take() else {
            return;
        };
        let before = self.desk.now;
        let unsent = self.away.drain(..).chain(self.filling.take());
        let carried = tailer.pass_on(unsent.collect());
        self.away = self.desk.go_on(vec![carried]).into();
        self.full = false;
        self.desk.now = self.desk.now.max(before);
        self.seen.values_mut().for_each(|(_, saved)| *saved = true);
        self.looked(last);
    }

    fn close_files(&mut self) {
        if self.running() && self.fragile.is_empty() {
            self.desk.close_all();
            if let Some(tailer) = &mut self.desk.tailer {
                tailer.open = 0;
            }
        }
    }

    /// Everything comes to rest, and the account is made.
    ///
    /// # Errors
    /// The first line that is missing or came again.
    pub fn finish(&mut self) -> Result<(), Failure> {
        if self.open_line.is_some() {
            self.write(&[])?;
        }
        self.start();
        for _ in 0..200 {
            self.desk.now += Duration::from_millis(700);
            self.look();
            self.pump();
            for _ in 0..50 {
                if self.away.is_empty() {
                    break;
                }
                self.answered(false);
            }
        }
        if std::env::var_os("MODEL_SHOW").is_some() {
            self.show();
        }
        let found = lines_of(&self.desk.arrived);
        for n in 1..=self.next {
            let (starts, ends) = found.get(&n).copied().unwrap_or_default();
            if (starts == 0 || ends == 0) && !self.excused.contains(&n) {
                return Err(Failure::Lost(n));
            }
            if (starts > 1 || ends > 1) && !self.pieced.contains(&n) {
                return Err(Failure::Twice(n));
            }
        }
        Ok(())
    }

    fn show(&self) {
        let tailer = self.desk.tailer.iter();
        for content in tailer.flat_map(|t| t.ledger.contents().values()) {
            eprintln!("{content:#?}");
        }
        for (name, lines) in &self.files {
            let meta = fs::metadata(self.desk.path(name));
            eprintln!("{name} {lines:?} {meta:?}");
        }
    }
}

/// Lines of which a batch has only a part of the mark at their beginning or end: these are next to those that it has, or,
/// where it has no mark that is whole, to those that arrived before it.
fn cut_lines(batch: &Arrived, before: &Arrived) -> Vec<u64> {
    let numbers = |arrived| lines_of(arrived).into_keys().filter(|n| *n > 0);
    let last_before = numbers(before).max().unwrap_or(0);
    let first = numbers(batch).min().unwrap_or(last_before + 1);
    let last = numbers(batch).max().unwrap_or(last_before);
    let mut cut = Vec::new();
    for text in batch.text.values() {
        let text = String::from_utf8_lossy(text);
        for (open, close) in [('[', ']'), ('{', '}')] {
            let is_cut_before = text
                .split_once(close)
                .is_some_and(|(begin, _)| !begin.contains(open));
            cut.extend(is_cut_before.then_some(first.saturating_sub(1)));
            let is_cut_after = text.rfind(open) > text.rfind(close);
            cut.extend(is_cut_after.then_some(last + 1));
        }
    }
    cut
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
