//! The knowledge that a look can have, and thereby which lines may be missing or come again. All of it is computed from
//! the fake disk: what it showed to earlier looks, under which names, with which dates.

use super::world::{is_plain, log_of, Births, Entry, Fault, Shown, World};
use crate::tail::ledger::content::LogId;
use crate::tail::ledger::naming::Rotation;
use crate::tail::ledger::observe::Stat;
use std::collections::BTreeSet;

const STRANGE: &str = "a line or none when last seen, and of a strange name since";

impl World {
    /// A look begins. Files that came and went unseen are a log's by the kind of their names alone.
    pub fn looked(&mut self, now: u64) {
        let config = self.config;
        let disturbed = self
            .faults
            .iter()
            .any(|(fault, _)| !matches!(fault, Fault::Write(_)));
        let was_disturbed = std::mem::replace(&mut self.seen.was_disturbed, disturbed);
        let names: Vec<String> = self.entries.keys().cloned().collect();
        let mut unknown = Vec::new();
        let mut links = Vec::new();
        // Texts that are told from others by one line at most
        let plain = self.seen.shown.values().filter(|shown| shown.is_plain());
        let plain: BTreeSet<u64> = plain.map(|shown| shown.lineage).collect();
        for name in &names {
            let Some(ino) = self
                .resolve(name)
                .filter(|_| log_of(config, name).is_none())
            else {
                continue;
            };
            let node = &self.nodes[&ino];
            // The one that the programs here give; a log of a wildcard is itself a rotated file
            let rotation = Rotation::of_any(name.as_bytes(), &config);
            let Some(rotation) = rotation else {
                if name.starts_with("run-") {
                    links.push(ino);
                }
                continue;
            };
            let is_seen = self.is_seen(ino);
            let scheme = format!("{:?}", rotation.scheme);
            let schemes = self.seen.schemes.entry(rotation.log.0).or_default();
            let is_edited = self.edited.contains(&node.lineage);
            if !is_seen {
                self.seen.old.insert(node.serial);
            }
            let is_old = self.seen.old.contains(&node.serial);
            // An empty one is told by its birth alone
            let is_empty = is_seen && !self.seen.text.contains(&node.lineage);
            let is_vague = is_empty && self.births != Births::Exact;
            match is_seen && !is_edited && !is_vague {
                true if !disturbed && !is_old && !node.lines.is_empty() => schemes.push(scheme),
                true => {}
                false => unknown.push((rotation.log.0, scheme, ino, is_vague)),
            }
        }
        // The text at a path begins with all that it showed at the last look, and is another text
        let mut listed: Vec<(Stat, u64)> = names
            .iter()
            .filter_map(|name| {
                let ino = self.resolve(name)?;
                Some((self.stat_of(ino), self.nodes[&ino].lineage))
            })
            .collect();
        for (stat, lineage) in &listed {
            // The next archive has the inode, the length and the dates of the one before
            let mut before = self.seen.listed.iter();
            if before.any(|before| before.0 == *stat && before.1 != *lineage) {
                self.left_alone.insert(*lineage);
                for line in self.nodes[&stat.id.ino].lines.clone() {
                    self.excuse(line, "written anew without a trace in length and date");
                }
            }
        }
        if disturbed {
            listed.append(&mut self.seen.listed);
        }
        self.seen.listed = listed;
        // A compressed file is a new one, and its name alone tells that it is old: where a text that looks
        // have seen stands under a newer name
        for (ino, serial) in self.recompressed.clone() {
            let is_there = self
                .nodes
                .get(&ino)
                .is_some_and(|node| node.serial == serial);
            if !is_there || !self.seen.recompressed.insert((ino, serial)) {
                continue;
            }
            let its = |(name, entry): (&String, &Entry)| match entry {
                Entry::File(other) if *other == ino => Rotation::of_any(name.as_bytes(), &config),
                _ => None,
            };
            let rotation = self.entries.iter().find_map(its);
            let is_newer = |name: &String| {
                let other = Rotation::of_any(name.as_bytes(), &config);
                let lineage = self.resolve(name).map(|ino| self.nodes[&ino].lineage);
                let is_told = lineage.is_some_and(|lineage| {
                    let mut shown = self.seen.shown.values();
                    self.seen.text.contains(&lineage)
                        && self.seen.told.contains(&lineage)
                        && !self.edited.contains(&lineage)
                        && !shown.any(|shown| shown.lineage == lineage && shown.is_plain())
                        && log_of(config, name).is_none()
                        && !self
                            .resolve(name)
                            .is_some_and(|ino| is_plain(&self.plain(ino)))
                });
                let (Some(this), Some(other)) = (&rotation, other) else {
                    return false;
                };
                is_told && this.is_older_than(&other) == Some(true)
            };
            // Or between two that were sent
            let is_older = |name: &String| {
                let other = Rotation::of_any(name.as_bytes(), &config);
                let node = self.resolve(name).map(|ino| &self.nodes[&ino]);
                let is_sent = |line: &u32| !self.lines[*line as usize].before;
                let (Some(this), Some(other), Some(node)) = (&rotation, other, node) else {
                    return false;
                };
                other.is_older_than(this) == Some(true) && node.lines.iter().any(is_sent)
            };
            let is_between = names.iter().any(is_older);
            if disturbed || was_disturbed || is_between || !names.iter().any(is_newer) {
                self.looks_new(ino);
            }
        }
        self.note_edits();
        if let Some((_, ino)) = self.away {
            self.excuse_away(ino);
        }
        let mut traceless = Vec::new();
        let mut again = Vec::new();
        for log in self.seen.shown.keys().copied().collect::<Vec<u32>>() {
            let there = names
                .iter()
                .filter(|name| log_of(config, name) == Some(log));
            let there = there.filter_map(|name| self.resolve(name)).next();
            let (before, node) = (&self.seen.shown[&log], there.map(|ino| &self.nodes[&ino]));
            let is_other = node.is_none_or(|node| node.lineage != before.lineage);
            let is_same = |ino| {
                let stat = self.stat_of(ino);
                let mut stats = self.seen.stats.get(&log).into_iter().flatten();
                let lineage = self.nodes[&ino].lineage;
                stats.any(|(then, text, _)| *then == stat && *text != lineage)
            };
            if is_other && there.is_some_and(is_same) {
                again.push(before.lineage);
                again.extend(node.map(|node| node.lineage));
                traceless.extend(there);
            }
        }
        for name in names
            .iter()
            .filter(|name| self.fails(name.as_bytes(), true).is_none())
            .collect::<Vec<_>>()
        {
            let ino = self.resolve(name).filter(|ino| !traceless.contains(ino));
            if let (Some(log), Some(ino)) = (log_of(config, name), ino) {
                let node = &self.nodes[&ino];
                let shown = Shown {
                    lineage: node.lineage,
                    text: node.text.clone(),
                    stat: self.stat_of(ino),
                    has_lines: !node.lines.is_empty(),
                };
                if !shown.is_plain() {
                    self.seen.told.insert(shown.lineage);
                }
                let stats = self.seen.stats.entry(log).or_default();
                let stat = (shown.stat, shown.lineage, shown.has_lines);
                if !stats.contains(&stat) {
                    stats.push(stat);
                }
                self.seen.shown.insert(log, shown);
            }
        }
        for node in self
            .nodes
            .values()
            .filter(|node| again.contains(&node.lineage))
        {
            for line in &node.lines {
                let line = &mut self.lines[*line as usize];
                line.again
                    .get_or_insert("its original was written anew without a trace");
            }
        }
        for &ino in &traceless {
            for line in self.nodes[&ino].lines.clone() {
                self.excuse(line, "written anew without a trace in length and date");
            }
        }
        for (log, scheme, ino, is_vague) in unknown {
            if !self
                .seen
                .schemes
                .get(&log)
                .is_some_and(|s| s.contains(&scheme))
            {
                self.left_alone.insert(self.nodes[&ino].lineage);
            }
            let why = match is_vague {
                true => STRANGE,
                false => "came and went unseen, under names of an unknown kind",
            };
            if self.left_alone.contains(&self.nodes[&ino].lineage) {
                for line in self.nodes[&ino].lines.clone() {
                    self.excuse(line, why);
                }
            }
        }
        let led_to = self.resolve("cur.log");
        for ino in links {
            let node = &self.nodes[&ino];
            let is_seen = self.is_seen(ino);
            let is_gone = led_to != Some(ino) && node.held == 0;
            // A birth that tells files apart proves any
            let is_told = self.births == Births::Exact;
            let is_line = plain.contains(&node.lineage);
            let is_empty = !self.seen.text.contains(&node.lineage) && is_seen;
            if is_gone && !is_told && (is_line || is_empty) {
                for line in self.nodes[&ino].lines.clone() {
                    self.excuse(line, STRANGE);
                }
            }
            if !is_seen && led_to != Some(ino) {
                for line in self.nodes[&ino].lines.clone() {
                    self.excuse(line, "a link led there between two looks only");
                }
            }
        }
        for who in 0..self.programs.len() {
            let path = self.programs[who].path;
            let Some(ino) = self.programs[who].copied else {
                continue;
            };
            let fails = |name: &String| self.fails(name.as_bytes(), true).is_some();
            let mut both = names
                .iter()
                .filter(|name| *name == path || self.resolve(name) == Some(ino));
            if !both.any(fails) {
                let serial = self.nodes.get(&ino).map(|node| node.serial);
                self.seen.copies.extend(serial);
            }
        }
        for who in 0..self.programs.len() {
            let program = &mut self.programs[who];
            let Some((copy, first)) = &mut program.copying else {
                continue;
            };
            let first = *first.get_or_insert(now);
            if now - first < 2_000 && !disturbed {
                continue;
            }
            let Some(Entry::File(ino)) = self.entries.get(copy) else {
                continue;
            };
            for line in self.nodes[ino].lines.clone() {
                self.lines[line as usize]
                    .again
                    .get_or_insert("a copy stood beside its original for long");
            }
        }
        let failing = names
            .iter()
            .filter(|name| self.fails(name.as_bytes(), true).is_some());
        for name in failing.collect::<Vec<_>>() {
            let lineage = self.resolve(name).map(|ino| self.nodes[&ino].lineage);
            let lineage = lineage.filter(|lineage| !self.seen.text.contains(lineage));
            if log_of(config, name).is_none() {
                self.left_alone.extend(lineage);
            }
        }
        if disturbed {
            return;
        }
        for name in &names {
            let ino = self.resolve(name).filter(|ino| !traceless.contains(ino));
            if let (Some(_), Some(ino)) = (log_of(config, name), ino) {
                let node = &self.nodes[&ino];
                // A banner is not a text of its own
                match node.lines.is_empty() {
                    true => {
                        self.seen.empty.insert(ino, node.lineage);
                    }
                    false => {
                        self.seen.text.insert(node.lineage);
                    }
                }
            }
        }
    }

    /// An agent has died. Text after what it had written down may have been sent, and was edited in place: the server
    /// has other text under these numbers.
    pub fn excuse_edits(&mut self) {
        for (path, line) in self.edits.clone() {
            let node = self.resolve(path).map(|ino| &self.nodes[&ino]);
            let shown = log_of(self.config, path).and_then(|log| self.seen.shown.get(&log));
            let (Some(node), Some(shown)) = (node, shown) else {
                continue;
            };
            let text = String::from_utf8_lossy(&node.text);
            let at = text.find(&format!("{line:06} "));
            if at.is_some_and(|at| at >= shown.text.len()) {
                self.excuse(line, "edited after what is known on disk, before a death");
            }
        }
    }

    /// A glance at the paths of logs: which file each of them shows, if that can be told at the moment.
    pub fn glanced(&mut self) -> Vec<(LogId, Option<u64>)> {
        let mut all = Vec::new();
        for name in self.entries.keys().cloned().collect::<Vec<_>>() {
            let Some(log) = log_of(self.config, &name) else {
                continue;
            };
            let fails = self.fails(name.as_bytes(), true).is_some();
            let ino = self.resolve(&name).filter(|_| !fails);
            if let Some(ino) = ino {
                let node = &self.nodes[&ino];
                let stat = (self.stat_of(ino), node.lineage, !node.lines.is_empty());
                let stats = self.seen.stats.entry(log).or_default();
                if !stats.contains(&stat) {
                    stats.push(stat);
                }
            }
            all.push((LogId(log), ino));
        }
        all
    }

    /// Whether a look has seen the text of this file at a path. One of an empty file or a banner is known by its
    /// inode, and an archive that has that inode is another file.
    fn is_seen(&self, ino: u64) -> bool {
        let node = &self.nodes[&ino];
        let is_file = self.seen.empty.get(&ino) == Some(&node.lineage) && !node.gz;
        self.seen.text.contains(&node.lineage) || is_file
    }

    /// A file is moved away and back. A text that no look has seen at the path, or that has no more than a line, is
    /// told by its name alone.
    pub(super) fn excuse_away(&mut self, ino: u64) {
        let lineage = self.nodes[&ino].lineage;
        let is_known = self.seen.text.contains(&lineage) && !self.is_plain(lineage);
        let why = match is_known {
            true if !self.seem_edited.contains(&lineage) => return,
            true => "moved away, and all but its last two lines is what its log begins with since",
            false => "moved away when nothing of it was known",
        };
        for line in self.nodes[&ino].lines.clone() {
            self.excuse(line, why);
            let line = &mut self.lines[line as usize];
            line.again.get_or_insert(why);
        }
    }

    /// Texts that a look has seen at the paths of logs and that are, but for two lines at most, what the same files begin
    /// with by now: a program that writes a closing bracket anew with each append, and one that truncates its log and
    /// begins it with the same banner, leave the same.
    fn note_edits(&mut self) {
        for shown in self.seen.shown.values() {
            let node = self.nodes.get(&shown.stat.id.ino);
            let text = node.map_or(&[][..], |node| &node.text);
            let lines = |text| <[u8]>::split_inclusive(text, |b| *b == b'\n');
            let whole = lines(&shown.text).filter(|line| line.ends_with(b"\n"));
            let both = lines(&shown.text).zip(lines(text));
            let same = both.take_while(|(then, now)| then == now).count();
            if same > 0 && whole.count() <= same + 2 {
                self.seem_edited.insert(shown.lineage);
            }
        }
    }
}
