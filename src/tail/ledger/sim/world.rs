//! The fake disk, the programs that write and rotate logs on it, and what became of each line.
//!
//! Excuses come from here alone: from what the disk held at which moment, and which descriptors were
//! open. Nothing the agent says or believes counts.

use super::dice::Dice;
use crate::tail::identity::{hash, FileId};
use crate::tail::ledger::content::{Birth, LogId, Stamp};
use crate::tail::ledger::naming::{Claim, Policy, Rotation, Start};
use crate::tail::ledger::observe::{Disk, Listed, Stat};
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
    /// The folder below in which rotated files lie, with a slash, or nothing.
    pub olddir: &'static str,
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
    /// Its inode.
    pub(super) copied: Option<u64>,
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
    /// Of all that were ever made, copies too.
    pub(super) serial: u64,
    pub(super) names: u32,
    pub held: u32,
    pub gz: bool,
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
    /// It was there at the very first look, which has not to send it.
    pub before: bool,
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

impl Shown {
    /// Told from others by one line at most.
    pub(super) fn is_plain(&self) -> bool {
        is_plain(&self.text)
    }
}

/// A text told from others by one line at most.
pub(super) fn is_plain(text: &[u8]) -> bool {
    let lines: BTreeSet<&[u8]> = text.split_inclusive(|b| *b == b'\n').collect();
    lines.iter().filter(|line| line.ends_with(b"\n")).count() < 2
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
    /// Each answer of `stat` that a look got for a path, by log, with the text that it was of and whether
    /// that was more than a banner.
    pub(super) stats: BTreeMap<u32, Vec<(Stat, u64, bool)>>,
    /// Texts of more than a line.
    pub(super) told: BTreeSet<u64>,
    /// The last look could not see all.
    pub(super) was_disturbed: bool,
    /// Compressed files that were seen.
    pub(super) recompressed: BTreeSet<(u64, u64)>,
    /// Rotated files that were listed before their texts were seen elsewhere, by number.
    pub(super) old: BTreeSet<u64>,
    /// Copies that were read beside their originals.
    pub(super) copies: BTreeSet<u64>,
    /// The files that the last look saw, or one before if it could not see all.
    pub(super) listed: Vec<(Stat, u64)>,
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
    pub(super) last_serial: u64,
    pub lines: Vec<Line>,
    pub programs: Vec<Program>,
    pub config: Config,
    pub faults: Vec<(Fault, u32)>,
    pub running: bool,
    pub seen: Seen,
    /// Lineages that came and went unseen while the kind of their names was unknown.
    pub(super) left_alone: BTreeSet<u64>,
    /// Lineages of texts that seem to have been edited by two lines at most.
    pub(super) seem_edited: BTreeSet<u64>,
    /// Lineages of texts that were edited since a look.
    pub(super) edited: BTreeSet<u64>,
    /// Lines that were edited in, in place, by path.
    pub(super) edits: Vec<(&'static str, u32)>,
    /// Copies whose original had grown when it went, with their lines.
    pub(super) outgrown: Vec<(u64, Vec<u32>)>,
    /// Old rotated files that were compressed, by inode and number.
    pub(super) recompressed: Vec<(u64, u64)>,
    /// The file that was moved away, and its name.
    pub(super) away: Option<(String, u64)>,
    pub story: Vec<String>,
    /// The cost of reading each file, by inode.
    pub reads: BTreeMap<u64, Reads>,
}

/// The cost of reading a file.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reads {
    pub opens: u32,
    /// Of text, as often as it was decompressed.
    pub bytes: u64,
}

/// Which names the configuration speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Config {
    Literal,
    TwoLiterals,
    /// As that one, while the second entry is taken out.
    OneOfTwo,
    Glob,
    GlobWithRotated,
    Link,
}

/// The log whose entry is taken out at times.
pub(super) const SECOND: u32 = 1;

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
            Config::Literal | Config::OneOfTwo => own(&["app.log"]),
            Config::TwoLiterals => own(&["app.log", "app-1.log"]),
            Config::Link => own(&["app.log", "cur.log"]),
            Config::Glob if name == "secret.log" => Claim::Others,
            // A wildcard is of one folder
            Config::Glob if name.contains('/') => Claim::Nobody,
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

    fn start(&self, _: LogId, _: &Listed, first: bool) -> Start {
        match first {
            true => Start::End,
            false => Start::Begin,
        }
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
            Config::TwoLiterals | Config::OneOfTwo => &["app.log", "app-1.log"],
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
            olddir: "",
            compresses: [None, None, Some(false), Some(true)][pick(&mut dice, 4)],
            banner: [0, 12, 1, 60][pick(&mut dice, 4)],
            fixed: dice.one_in(2),
            filler: [10, 60, 900][pick(&mut dice, 3)],
            keep: 2 + dice.roll(4) as u32,
            half: None,
            copying: None,
            copied: None,
            late: None,
            day: 0,
        });
        let mut programs: Vec<Program> = programs.collect();
        for program in &mut programs {
            program.olddir = ["", "", "", "old/"][pick(&mut dice, 4)];
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
            tick: match pick(&mut dice, 16) {
                0 => 1_000_000_000,
                at => [1, 4_000_000, 10_000_000][at % 3],
            },
            clock: 1_764_000_000_000_000_000,
            nodes: BTreeMap::new(),
            entries: BTreeMap::new(),
            free: Vec::new(),
            last_ino: 10,
            last_lineage: 0,
            last_serial: 0,
            edits: Vec::new(),
            outgrown: Vec::new(),
            lines: Vec::new(),
            programs,
            config,
            faults: Vec::new(),
            running: false,
            seen: Seen::default(),
            left_alone: BTreeSet::new(),
            edited: BTreeSet::new(),
            seem_edited: BTreeSet::new(),
            recompressed: Vec::new(),
            away: None,
            story: Vec::new(),
            reads: BTreeMap::new(),
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

    pub(super) fn date(&self) -> i64 {
        self.clock / self.tick * self.tick
    }

    pub(super) fn create(&mut self, name: &str) -> u64 {
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
        self.last_serial += 1;
        // Births that are less apart are one, see `Birth::same`
        self.clock += 5_000;
        let node = Node {
            serial: self.last_serial,
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

    pub(super) fn link(&mut self, name: &str, ino: u64) {
        self.unlink(name);
        self.entries.insert(name.to_owned(), Entry::File(ino));
        self.nodes.get_mut(&ino).unwrap().names += 1;
        self.stands(name, ino);
    }

    /// The file is under a name now; what it holds may be sent as that name's log.
    /// Whether what was seen of a text tells it from others by one line at most. Only of one that a log's
    /// path showed at the last look more is known.
    pub(super) fn is_plain(&self, lineage: u64) -> bool {
        let mut shown = self.seen.shown.values();
        shown.any(|shown| shown.lineage == lineage && shown.is_plain())
            || !self.seen.told.contains(&lineage)
    }

    pub(super) fn stands(&mut self, name: &str, ino: u64) {
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

    /// The second of two entries is taken out, or comes back. Nobody promises to send what is written meanwhile, and
    /// nothing is sent twice for it.
    pub(super) fn change_entries(&mut self) {
        let out = self.config == Config::TwoLiterals;
        self.config = match out {
            true => Config::OneOfTwo,
            false => Config::TwoLiterals,
        };
        self.say(match out {
            true => "the entry of app-1.log is taken out",
            false => "the entry of app-1.log comes back",
        });
        for at in 0..self.lines.len() {
            let logs = &self.lines[at].logs;
            if logs.is_empty() || logs.contains(&SECOND) {
                self.excuse(at as u32, "its entry was taken out");
            }
        }
        // No record says of which content a file is the copy
        self.seen.copies.clear();
        self.excuse_copies();
        self.excuse_edits();
        let names: Vec<String> = self.entries.keys().cloned().collect();
        for name in names.iter().filter(|_| !out) {
            let Some(ino) = self.resolve(name) else {
                continue;
            };
            self.stands(name, ino);
            let rotation = Rotation::of_any(name.as_bytes(), &self.config);
            if rotation.is_some_and(|rotation| rotation.log.0 == SECOND) {
                // It may have been rotated meanwhile
                let node = self.nodes.get_mut(&ino).unwrap();
                node.logs.insert(SECOND);
                for line in node.lines.clone() {
                    self.lines[line as usize].logs.insert(SECOND);
                }
            }
        }
    }

    pub(super) fn unlink(&mut self, name: &str) {
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
    pub(super) fn gone(&mut self, lines: &[u32], held: bool) {
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

    /// An old rotated file looks like a new one: it was written to, or compressed to another file.
    pub(super) fn looks_new(&mut self, ino: u64) {
        for line in self
            .nodes
            .get(&ino)
            .into_iter()
            .flat_map(|node| &node.lines)
        {
            self.lines[*line as usize].before = false;
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

    /// The very first look: what is there is not sent.
    pub fn first_look(&mut self) {
        for at in 0..self.lines.len() {
            self.excuse(at as u32, "was there before the first look");
        }
        let is_named = |name: &&String| {
            let rotation = Rotation::of_any(name.as_bytes(), &self.config);
            log_of(self.config, name).is_some() || rotation.is_some()
        };
        for name in self.entries.keys().filter(is_named) {
            let ino = self.resolve(name);
            let ino = ino.filter(|_| self.fails(name.as_bytes(), true).is_none());
            for line in ino.map(|ino| &self.nodes[&ino].lines).into_iter().flatten() {
                self.lines[*line as usize].before = true;
            }
        }
        // A file that can't be read may be new when it can
        for name in self.entries.keys() {
            let ino = self.resolve(name);
            let ino = ino.filter(|_| self.fails(name.as_bytes(), true).is_some());
            for line in ino.map(|ino| &self.nodes[&ino].lines).into_iter().flatten() {
                self.lines[*line as usize].before = false;
            }
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
