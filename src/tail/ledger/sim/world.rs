//! The fake disk, the programs that write and rotate logs on it, and what became of each line.
//!
//! Excuses come from here alone: from what the disk held at which moment, and which descriptors were
//! open. Nothing the agent says or believes counts.

use super::dice::Dice;
use crate::tail::identity::{hash, FileId};
use crate::tail::ledger::content::{Birth, LogId, Stamp};
use crate::tail::ledger::naming::{Claim, Policy};
use crate::tail::ledger::observe::{Disk, Stat};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::num::NonZeroI64;

/// How the disk gives birth times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Births {
    Missing,
    Equal,
    Coarse,
    Exact,
}

/// Which inode a new file gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inodes {
    LastFreed,
    Lowest,
    Never,
}

/// How a program's logs are rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Rename,
    Copy,
}

/// How rotated files are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    Number,
    Date,
    /// Before the extension.
    DateInside,
}

/// A program and its log.
#[derive(Debug, Clone)]
pub struct Program {
    pub path: &'static str,
    pub method: Method,
    pub naming: Naming,
    /// Compresses rotated files, the newest one only later.
    pub compresses: Option<bool>,
    /// Lines that begin each of its files.
    pub banner: usize,
    /// Lines have all the same length.
    pub fixed: bool,
    /// The longest filler of a line, in bytes.
    pub filler: u64,
    /// Rotated files beyond this number are deleted.
    pub keep: u32,
    /// A line without an end.
    pub(super) half: Option<u32>,
    /// The copy whose original is still to be truncated.
    pub(super) copying: Option<(String, Option<u64>)>,
    /// The inode of the newest rotated file, to which a late writer may still write.
    pub(super) late: Option<(u64, u64)>,
    pub(super) day: u32,
}

/// One file.
#[derive(Debug, Clone, Default)]
pub struct Node {
    pub(super) birth: Option<i64>,
    pub(super) mtime: i64,
    pub text: Vec<u8>,
    pub lines: Vec<u32>,
    /// The text and its copies have one number.
    pub lineage: u64,
    pub(super) names: u32,
    pub held: u32,
    pub(super) gz: bool,
    /// Lengths of the programs' ownership: names of logs under which it stood.
    pub(super) logs: BTreeSet<u32>,
}

#[derive(Debug, Clone)]
pub enum Entry {
    File(u64),
    Link(String),
}

/// The account of a line.
#[derive(Debug, Clone, Default)]
pub struct Line {
    /// Logs whose path showed a file that held it.
    pub logs: BTreeSet<u32>,
    /// Why it may be missing.
    pub lost: Option<&'static str>,
    /// Why it may come again.
    pub again: Option<&'static str>,
    /// It is in no named file any more, but a descriptor holds it.
    pub fragile: bool,
}

/// An operation that fails at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    List(i32),
    Stat(String, i32),
    Open(String, i32),
    Write(i32),
}

/// The file that a look saw at the path of a log.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    pub(super) lineage: u64,
    pub(super) text: Vec<u8>,
    pub(super) stat: Stat,
    /// Besides a banner.
    pub(super) has_lines: bool,
}

/// Which lineages looks have seen at paths of logs.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// With text.
    pub(super) text: BTreeSet<u64>,
    /// Empty, by inode.
    pub(super) empty: BTreeMap<u64, u64>,
    /// Under which kinds of names a log's seen texts stood.
    pub(super) schemes: BTreeMap<u32, Vec<String>>,
    /// The files that the last look saw, by name.
    pub(super) listed: BTreeMap<String, (Stat, u64)>,
    /// The files that the last look saw at paths of logs.
    pub(super) shown: BTreeMap<u32, Shown>,
}

pub struct World {
    pub births: Births,
    pub(super) inodes: Inodes,
    pub(super) tick: i64,
    pub clock: i64,
    pub nodes: BTreeMap<u64, Node>,
    pub entries: BTreeMap<String, Entry>,
    pub(super) free: Vec<u64>,
    pub(super) last_ino: u64,
    pub(super) last_lineage: u64,
    pub lines: Vec<Line>,
    pub programs: Vec<Program>,
    pub config: Config,
    pub faults: Vec<(Fault, u32)>,
    pub running: bool,
    pub seen: Seen,
    pub durable_seen: Seen,
    /// Lineages that came and went unseen while the kind of their names was unknown.
    pub(super) left_alone: BTreeSet<u64>,
    pub story: Vec<String>,
}

/// Which names the configuration speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Config {
    Literal,
    TwoLiterals,
    Glob,
    GlobWithRotated,
    Link,
}

/// All logs that any configuration knows; the index is the log's id.
const LOGS: [&str; 4] = ["app.log", "app-1.log", "other.log", "cur.log"];

impl Policy for Config {
    fn claim(&self, name: &[u8]) -> Claim {
        let name = std::str::from_utf8(name).unwrap_or("");
        let own = |names: &[&str]| match LOGS.iter().position(|log| *log == name) {
            Some(at) if names.contains(&name) => Claim::Own(LogId(at as u32)),
            _ => Claim::Nobody,
        };
        match self {
            Config::Literal => own(&["app.log"]),
            Config::TwoLiterals => own(&["app.log", "app-1.log"]),
            Config::Link => own(&["app.log", "cur.log"]),
            Config::Glob if name == "secret.log" => Claim::Others,
            Config::Glob if name.ends_with(".log") && !LOGS.contains(&name) => other_log(name),
            Config::Glob => own(&LOGS),
            Config::GlobWithRotated if name == "app.log" => Claim::Own(LogId(0)),
            // Compressed text is no log of its own
            Config::GlobWithRotated if name.starts_with("app.log") && !name.ends_with(".gz") => {
                other_log(name)
            }
            Config::GlobWithRotated => Claim::Nobody,
        }
    }

    fn starts_at_end(&self) -> bool {
        true
    }
}

/// A log that only a wildcard leads to.
fn other_log(name: &str) -> Claim {
    Claim::Own(LogId(hash(name.as_bytes()) as u32 | 0x8000_0000))
}

pub(super) fn log_of(config: Config, name: &str) -> Option<u32> {
    match config.claim(name.as_bytes()) {
        Claim::Own(log) => Some(log.0),
        Claim::Others | Claim::Nobody => None,
    }
}

impl World {
    pub fn new(seed: u64) -> World {
        let mut dice = Dice::new(seed);
        let pick = |dice: &mut Dice, n| dice.roll(n) as usize;
        let config = [
            Config::Literal,
            Config::TwoLiterals,
            Config::Glob,
            Config::GlobWithRotated,
            Config::Link,
        ][pick(&mut dice, 5)];
        let paths: &[&str] = match config {
            Config::Literal | Config::GlobWithRotated => &["app.log"],
            Config::TwoLiterals => &["app.log", "app-1.log"],
            Config::Glob => &["app.log", "other.log", "secret.log"],
            Config::Link => &["app.log", "cur.log"],
        };
        let programs = paths.iter().map(|path| Program {
            path,
            method: [Method::Rename, Method::Copy][pick(&mut dice, 2)],
            naming: [
                Naming::Number,
                Naming::Number,
                Naming::Date,
                Naming::DateInside,
            ][pick(&mut dice, 4)],
            compresses: [None, None, Some(false), Some(true)][pick(&mut dice, 4)],
            banner: [0, 0, 1, 60][pick(&mut dice, 4)],
            fixed: dice.one_in(2),
            filler: [10, 60, 900][pick(&mut dice, 3)],
            keep: 2 + dice.roll(4) as u32,
            half: None,
            copying: None,
            late: None,
            day: 0,
        });
        let mut programs: Vec<Program> = programs.collect();
        for program in &mut programs {
            // A wildcard for `*.log` would take these for logs of their own
            if config == Config::Glob && program.naming == Naming::DateInside {
                program.naming = Naming::Date;
            }
        }
        let mut world = World {
            births: [
                Births::Missing,
                Births::Equal,
                Births::Coarse,
                Births::Exact,
            ][pick(&mut dice, 4)],
            inodes: [Inodes::LastFreed, Inodes::Lowest, Inodes::Never][pick(&mut dice, 3)],
            tick: [1, 10_000_000, 1_000_000_000][pick(&mut dice, 3)],
            clock: 1_764_000_000_000_000_000,
            nodes: BTreeMap::new(),
            entries: BTreeMap::new(),
            free: Vec::new(),
            last_ino: 10,
            last_lineage: 0,
            lines: Vec::new(),
            programs,
            config,
            faults: Vec::new(),
            running: false,
            seen: Seen::default(),
            durable_seen: Seen::default(),
            left_alone: BTreeSet::new(),
            story: Vec::new(),
        };
        let about = format!(
            "{:?}, births {:?}, inodes {:?}, tick {} ns, {:?}",
            config, world.births, world.inodes, world.tick, world.programs
        );
        world.say(about);
        world
    }

    pub fn say(&mut self, what: impl Into<String>) {
        self.story.push(what.into());
    }

    fn date(&self) -> i64 {
        self.clock / self.tick * self.tick
    }

    // Files

    fn create(&mut self, name: &str) -> u64 {
        let reuse = match self.inodes {
            Inodes::LastFreed => self.free.pop(),
            Inodes::Lowest => {
                self.free.sort_by_key(|ino| std::cmp::Reverse(*ino));
                self.free.pop()
            }
            Inodes::Never => None,
        };
        let ino = reuse.unwrap_or_else(|| {
            self.last_ino += 1;
            self.last_ino
        });
        self.last_lineage += 1;
        self.clock += 1_000;
        let node = Node {
            birth: match self.births {
                Births::Missing => None,
                Births::Equal => Some(1_000_000_000),
                Births::Coarse => Some(self.clock / 1_000_000_000 * 1_000_000_000),
                Births::Exact => Some(self.clock),
            },
            mtime: self.date(),
            lineage: self.last_lineage,
            ..Node::default()
        };
        self.nodes.insert(ino, node);
        self.link(name, ino);
        ino
    }

    fn link(&mut self, name: &str, ino: u64) {
        self.unlink(name);
        self.entries.insert(name.to_owned(), Entry::File(ino));
        self.nodes.get_mut(&ino).unwrap().names += 1;
        self.stands(name, ino);
    }

    /// The file is under a name now; what it holds may be sent as that name's log.
    fn stands(&mut self, name: &str, ino: u64) {
        let links: Vec<String> = self
            .entries
            .iter()
            .filter_map(|(link, e)| match e {
                Entry::Link(to) if to == name => Some(link.clone()),
                _ => None,
            })
            .collect();
        for name in links.iter().map(String::as_str).chain([name]) {
            if let Some(log) = log_of(self.config, name) {
                let node = self.nodes.get_mut(&ino).unwrap();
                node.logs.insert(log);
                for line in node.lines.clone() {
                    self.lines[line as usize].logs.insert(log);
                }
            }
        }
    }

    fn unlink(&mut self, name: &str) {
        let Some(Entry::File(ino)) = self.entries.remove(name) else {
            return;
        };
        let node = self.nodes.get_mut(&ino).unwrap();
        node.names -= 1;
        if node.names == 0 {
            let (held, lines) = (node.held > 0, node.lines.clone());
            self.gone(&lines, held);
            self.let_go(ino);
        }
    }

    pub fn let_go(&mut self, ino: u64) {
        let node = &self.nodes[&ino];
        if node.names == 0 && node.held == 0 {
            self.nodes.remove(&ino);
            self.free.push(ino);
        }
    }

    /// Text has left a file: what is in no other one may be lost.
    fn gone(&mut self, lines: &[u32], held: bool) {
        for line in lines {
            let there = self
                .nodes
                .values()
                .any(|n| n.names > 0 && n.lines.contains(line));
            if !there {
                match held && self.running {
                    true => self.lines[*line as usize].fragile = true,
                    false => self.excuse(*line, "on disk nowhere"),
                }
            }
        }
    }

    pub fn excuse(&mut self, line: u32, why: &'static str) {
        self.lines[line as usize].lost.get_or_insert(why);
    }

    /// Descriptors are closed: what only they held is gone.
    pub fn drop_fragile(&mut self, only: Option<u64>) {
        let still: BTreeSet<u32> = match only {
            None => BTreeSet::new(),
            Some(_) => self
                .nodes
                .values()
                .filter(|n| n.held > 0)
                .flat_map(|n| n.lines.clone())
                .collect(),
        };
        for at in 0..self.lines.len() {
            let line = &mut self.lines[at];
            if line.fragile && !still.contains(&(at as u32)) {
                line.fragile = false;
                line.lost.get_or_insert("only a closed descriptor held it");
            }
        }
    }

    pub fn resolve(&self, name: &str) -> Option<u64> {
        match self.entries.get(name)? {
            Entry::File(ino) => Some(*ino),
            Entry::Link(to) => match self.entries.get(to)? {
                Entry::File(ino) => Some(*ino),
                Entry::Link(_) => None,
            },
        }
    }

    // Programs

    fn append(&mut self, ino: u64, text: &[u8], lines: &[u32]) {
        self.clock += 2_000;
        let date = self.date();
        let node = self.nodes.get_mut(&ino).unwrap();
        node.text.extend_from_slice(text);
        node.lines.extend_from_slice(lines);
        node.mtime = date;
        let logs = node.logs.clone();
        for line in lines {
            self.lines[*line as usize].logs.extend(&logs);
        }
    }

    fn line(&mut self, who: usize, len: u64) -> (u32, String) {
        let id = self.lines.len() as u32;
        self.lines.push(Line::default());
        let program = &self.programs[who];
        let len = if program.fixed {
            program.filler / 2
        } else {
            len % (program.filler + 1)
        };
        (
            id,
            format!("{id:06} {} constant end", "x".repeat(len as usize)),
        )
    }

    fn current(&mut self, who: usize) -> u64 {
        let path = self.programs[who].path;
        match self.resolve(path) {
            Some(ino) => ino,
            None => {
                let name = match self.entries.get(path) {
                    Some(Entry::Link(to)) => to.clone(),
                    _ if path == "cur.log" => {
                        self.entries
                            .insert(path.to_owned(), Entry::Link("run-0.txt".to_owned()));
                        "run-0.txt".to_owned()
                    }
                    _ => path.to_owned(),
                };
                let ino = self.create(&name);
                self.banner(who, ino);
                ino
            }
        }
    }

    fn banner(&mut self, who: usize, ino: u64) {
        if self.programs[who].banner > 0 {
            let text = "===== an equal banner =====\n".repeat(self.programs[who].banner);
            self.append(ino, text.as_bytes(), &[]);
        }
    }

    pub fn write(&mut self, who: usize, arg: u64) {
        let ino = self.current(who);
        let mut text = String::new();
        let mut ids = Vec::new();
        if let Some(id) = self.programs[who].half.take() {
            text += " second half\n";
            ids.push(id);
        }
        for n in 0..=arg % 7 {
            let (id, line) = self.line(who, arg / (7 + n));
            text += &line;
            text.push('\n');
            ids.push(id);
        }
        self.say(format!("{} gets {ids:?}", self.programs[who].path));
        self.append(ino, text.as_bytes(), &ids);
    }

    pub fn write_half(&mut self, who: usize, arg: u64) {
        if self.programs[who].half.is_some() {
            return;
        }
        let ino = self.current(who);
        let (id, line) = self.line(who, arg);
        self.say(format!(
            "{} gets the first half of {id}",
            self.programs[who].path
        ));
        self.append(ino, line.as_bytes(), &[]);
        self.programs[who].half = Some(id);
    }

    pub fn complete(&mut self, who: usize) {
        if self.programs[who].half.is_some() {
            self.write(who, 0);
        }
    }

    pub fn write_late(&mut self, who: usize, arg: u64) {
        let Some((ino, lineage)) = self.programs[who].late else {
            return;
        };
        let node = self.nodes.get(&ino);
        let named =
            node.is_some_and(|n| n.names > 0 && n.lineage == lineage && !n.lines.is_empty());
        if !named || self.programs[who].half.is_some() {
            return;
        }
        let (id, line) = self.line(who, arg);
        self.say(format!(
            "a late writer of {} adds {id}",
            self.programs[who].path
        ));
        self.append(ino, format!("{line}\n").as_bytes(), &[id]);
    }

    fn rotated_name(&self, who: usize, n: u32) -> String {
        let program = &self.programs[who];
        let path = program.path;
        let stem = path.strip_suffix(".log").unwrap();
        match program.naming {
            Naming::Number => format!("{path}.{n}"),
            Naming::Date => format!("{path}-{}", 20_260_100 + n),
            Naming::DateInside => format!("{stem}-{}.log", 20_260_100 + n),
        }
    }

    fn rename(&mut self, from: &str, to: &str) {
        if let Some(Entry::File(ino)) = self.entries.get(from).cloned() {
            self.link(to, ino);
            self.entries.remove(from);
            self.nodes.get_mut(&ino).unwrap().names -= 1;
        }
    }

    /// Makes room for a rotated file; its name.
    fn make_way(&mut self, who: usize) -> String {
        let keep = self.programs[who].keep;
        if self.programs[who].naming != Naming::Number {
            self.programs[who].day += 1;
            let day = self.programs[who].day;
            if let Some(old) = day.checked_sub(keep) {
                let old = self.rotated_name(who, old);
                self.unlink(&old);
                self.unlink(&(old + ".gz"));
            }
            return self.rotated_name(who, day);
        }
        for end in ["", ".gz"] {
            self.unlink(&(self.rotated_name(who, keep) + end));
        }
        for n in (1..keep).rev() {
            for end in ["", ".gz"] {
                let (from, to) = (
                    self.rotated_name(who, n) + end,
                    self.rotated_name(who, n + 1) + end,
                );
                self.rename(&from, &to);
            }
        }
        self.rotated_name(who, 1)
    }

    pub fn rotate(&mut self, who: usize, arg: u64) {
        let path = self.programs[who].path;
        let Some(ino) = self.resolve(path) else {
            return;
        };
        if path == "cur.log" {
            return self.switch(who, arg);
        }
        self.truncate_copied(who);
        self.complete(who);
        let compresses = self.programs[who].compresses;
        let before = self.rotated_name(who, self.programs[who].day.max(1));
        if compresses == Some(true) {
            self.compress(&before);
        }
        let to = self.make_way(who);
        match self.programs[who].method {
            Method::Rename => {
                self.say(format!("{path} is renamed to {to}"));
                self.rename(path, &to);
                self.programs[who].late = Some((ino, self.nodes[&ino].lineage));
                if arg % 4 != 0 {
                    self.current(who);
                }
            }
            Method::Copy => {
                self.say(format!("{path} is copied to {to}"));
                self.copy(ino, &to, false);
                self.programs[who].copying = Some((to.clone(), None));
                if arg % 4 != 0 {
                    self.truncate_copied(who);
                }
                if arg % 8 == 7 {
                    // Grown beyond what it was, at once
                    for n in 0..4 {
                        self.write(who, (arg / (3 + n)) | 6);
                    }
                }
            }
        }
        if compresses == Some(false) {
            self.compress(&to);
        }
    }

    fn copy(&mut self, from: u64, to: &str, gz: bool) {
        let node = self.nodes[&from].clone();
        let ino = self.create(to);
        let copy = self.nodes.get_mut(&ino).unwrap();
        copy.text = node.text.clone();
        if gz {
            copy.text = [0x1f, 0x8b]
                .into_iter()
                .chain(node.text.iter().map(|b| b ^ 0x55))
                .collect();
        }
        copy.gz = gz;
        copy.lines = node.lines;
        copy.lineage = node.lineage;
        copy.logs.extend(node.logs);
        self.stands(to, ino);
    }

    pub fn truncate_copied(&mut self, who: usize) {
        if self.programs[who].copying.take().is_some() {
            self.truncate(who, "is truncated after the copy");
        }
    }

    pub fn truncate(&mut self, who: usize, why: &str) {
        let path = self.programs[who].path;
        let Some(ino) = self.resolve(path) else {
            return;
        };
        self.complete(who);
        self.say(format!("{path} {why}"));
        self.empty(ino);
        self.banner(who, ino);
    }

    fn empty(&mut self, ino: u64) {
        self.last_lineage += 1;
        self.clock += 1_000;
        let (lineage, date) = (self.last_lineage, self.date());
        let node = self.nodes.get_mut(&ino).unwrap();
        let lines = std::mem::take(&mut node.lines);
        node.text.clear();
        node.lineage = lineage;
        node.mtime = date;
        self.gone(&lines, false);
    }

    pub fn compress_some(&mut self, who: usize, arg: u64) {
        let newest = self.programs[who].day.max(1) as u64;
        let n = match self.programs[who].naming {
            Naming::Number => 1 + arg % 4,
            _ => newest.saturating_sub(arg % 4),
        };
        self.compress(&self.rotated_name(who, n as u32));
    }

    fn compress(&mut self, name: &str) {
        let Some(Entry::File(ino)) = self.entries.get(name).cloned() else {
            return;
        };
        // A half line would be split for good
        if self.nodes[&ino].text.last().is_some_and(|b| *b != b'\n') {
            return;
        }
        self.say(format!("{name} is compressed"));
        self.copy(ino, &format!("{name}.gz"), true);
        self.unlink(name);
    }

    pub fn delete(&mut self, who: usize) {
        let path = self.programs[who].path;
        if matches!(self.entries.get(path), Some(Entry::File(_))) {
            self.complete(who);
            self.programs[who].copying = None;
            self.say(format!("{path} is deleted"));
            self.unlink(path);
        }
    }

    pub fn delete_rotated(&mut self, who: usize, arg: u64) {
        let naming = self.programs[who].naming;
        let newest = self.programs[who].day.max(1);
        let n = if naming == Naming::Number {
            1 + arg as u32 % 4
        } else {
            newest.saturating_sub(arg as u32 % 4)
        };
        let name = self.rotated_name(who, n) + if arg % 3 == 0 { ".gz" } else { "" };
        if self.entries.contains_key(&name) {
            self.say(format!("{name} is deleted"));
            self.unlink(&name);
        }
    }

    /// The link leads to another file from now on.
    fn switch(&mut self, who: usize, arg: u64) {
        self.complete(who);
        let to = format!("run-{}.txt", arg % 5);
        self.say(format!("cur.log leads to {to}"));
        self.entries
            .insert("cur.log".to_owned(), Entry::Link(to.clone()));
        match self.entries.get(&to) {
            Some(Entry::File(ino)) => self.stands(&to.clone(), *ino),
            _ => {
                self.current(who);
            }
        }
    }

    /// Edits the text in place, or into a new file of the same name.
    pub fn edit(&mut self, who: usize, arg: u64) {
        let path = self.programs[who].path;
        let Some(Entry::File(ino)) = self.entries.get(path).cloned() else {
            return;
        };
        self.complete(who);
        let old = self.nodes[&ino].lines.clone();
        if old.is_empty() {
            return;
        }
        let at = match arg % 3 {
            0 => old.len() - 1,
            _ => (arg / 3) as usize % old.len(),
        };
        let is_last = at == old.len() - 1;
        let (id, _) = self.line(who, 0);
        let text = String::from_utf8(self.nodes[&ino].text.clone()).unwrap();
        let text = text.replace(&format!("\n{:06} ", old[at]), &format!("\n{id:06} "));
        let text = match text.strip_prefix(&format!("{:06} ", old[at])) {
            Some(rest) => format!("{id:06} {rest}"),
            None => text,
        };
        let mut new = old.clone();
        new[at] = id;
        self.say(format!("in {path} {} becomes {id}", old[at]));
        self.excuse(old[at], "overwritten by an edit");
        if !is_last {
            self.excuse(id, "edited in below other lines");
        }
        if self.nodes[&ino].mtime == self.date() {
            self.excuse(id, "edited without a trace in length and date");
        }
        for line in &old {
            self.lines[*line as usize]
                .again
                .get_or_insert("in an edited file");
        }
        self.lines[id as usize].again = Some("in an edited file");
        let ino = match arg % 5 {
            0 => {
                // sed -i
                let logs = self.nodes[&ino].logs.clone();
                let ino = self.create("sedXXXX");
                self.nodes.get_mut(&ino).unwrap().logs = logs;
                ino
            }
            _ => ino,
        };
        let lineage = self.last_lineage + 1;
        self.last_lineage = lineage;
        self.clock += 1_000;
        let date = self.date();
        let node = self.nodes.get_mut(&ino).unwrap();
        node.text = text.into_bytes();
        node.lines = new;
        node.lineage = lineage;
        node.mtime = date;
        let logs = node.logs.clone();
        self.lines[id as usize].logs = logs;
        self.rename("sedXXXX", path);
        self.gone(&[old[at]], false);
    }

    /// Only the last lines are kept, in place.
    pub fn rewrite(&mut self, who: usize, arg: u64) {
        let path = self.programs[who].path;
        let Some(ino) = self.resolve(path) else {
            return;
        };
        self.complete(who);
        let old = self.nodes[&ino].lines.clone();
        let keep = old.len().min((arg % 20) as usize);
        let (gone, kept) = old.split_at(old.len() - keep);
        let text = String::from_utf8(self.nodes[&ino].text.clone()).unwrap();
        let all: Vec<&str> = text.split_inclusive('\n').collect();
        let text = all[all.len() - keep.min(all.len())..].concat();
        for line in kept {
            self.lines[*line as usize].again = Some("written again");
        }
        for line in gone {
            self.excuse(*line, "overwritten by an edit");
        }
        self.say(format!("{path} is rewritten with {kept:?}"));
        self.last_lineage += 1;
        let (lineage, date) = (self.last_lineage, self.date());
        let node = self.nodes.get_mut(&ino).unwrap();
        node.text = text.into_bytes();
        node.lines = kept.to_vec();
        node.lineage = lineage;
        node.mtime = date;
        self.gone(gone, false);
    }

    /// A file that no entry speaks of, with a name that looks as if.
    pub fn stranger(&mut self, arg: u64) {
        let name = [
            "app.1.log.old",
            "app.log.old",
            "notes.txt",
            "app_8080.log.1",
            "app-7.log.1",
        ][arg as usize % 5];
        let ino = self.resolve(name).unwrap_or_else(|| self.create(name));
        let (id, line) = self.line(0, arg);
        self.excuse(id, "nobody configured it");
        self.say(format!("{name} gets {id}"));
        self.append(ino, format!("{line}\n").as_bytes(), &[id]);
    }

    pub fn delete_stranger(&mut self, arg: u64) {
        let name = [
            "app.1.log.old",
            "app.log.old",
            "notes.txt",
            "app_8080.log.1",
            "app-7.log.1",
        ][arg as usize % 5];
        self.unlink(name);
    }

    /// The very first look: what is there is not sent.
    pub fn first_look(&mut self) {
        for at in 0..self.lines.len() {
            self.excuse(at as u32, "was there before the first look");
        }
    }

    pub fn fails(&self, name: &[u8], opening: bool) -> Option<i32> {
        self.faults.iter().find_map(|(fault, _)| match fault {
            Fault::Stat(which, errno) if which.as_bytes() == name => Some(*errno),
            Fault::Open(which, errno) if opening && which.as_bytes() == name => Some(*errno),
            _ => None,
        })
    }

    pub fn stat_of(&self, ino: u64) -> Stat {
        let node = &self.nodes[&ino];
        let length = node.text.len() as u64;
        let dates = [length.to_le_bytes(), node.mtime.to_le_bytes()].concat();
        Stat {
            id: FileId { dev: 1, ino },
            birth: node.birth.and_then(NonZeroI64::new).map(Birth),
            length,
            stamp: Stamp(hash(&dates) as u32),
        }
    }

    /// The text as a reader of the name gets it.
    pub fn plain(&self, ino: u64) -> Vec<u8> {
        let node = &self.nodes[&ino];
        match node.gz {
            true => node.text[2..].iter().map(|b| b ^ 0x55).collect(),
            false => node.text.clone(),
        }
    }
}

impl Disk for RefCell<World> {
    fn list(&self) -> io::Result<Vec<Box<[u8]>>> {
        let world = self.borrow();
        for (fault, _) in &world.faults {
            if let Fault::List(errno) = fault {
                return Err(io::Error::from_raw_os_error(*errno));
            }
        }
        Ok(world
            .entries
            .keys()
            .map(|name| name.as_bytes().into())
            .collect())
    }

    fn stat(&self, name: &[u8]) -> io::Result<Option<Stat>> {
        let world = self.borrow();
        if let Some(errno) = world.fails(name, false) {
            return Err(io::Error::from_raw_os_error(errno));
        }
        let name = std::str::from_utf8(name).unwrap();
        Ok(world.resolve(name).map(|ino| world.stat_of(ino)))
    }
}
