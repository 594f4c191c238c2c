//! The knowledge that a look can have, and thereby which lines may be missing or come again. All of it is computed from
//! the fake disk: what it showed to earlier looks, under which names, with which dates.

use super::world::{log_of, Entry, Fault, Shown, World};
use crate::tail::ledger::naming::Rotation;
use crate::tail::ledger::observe::Stat;
use std::collections::{BTreeMap, BTreeSet};

impl World {
    /// A look begins. Files that came and went unseen are a log's by the kind of their names alone.
    pub fn looked(&mut self, now: u64) {
        let config = self.config;
        let disturbed = self
            .faults
            .iter()
            .any(|(fault, _)| !matches!(fault, Fault::Write(_)));
        let names: Vec<String> = self.entries.keys().cloned().collect();
        let mut unknown = Vec::new();
        let mut weak = Vec::new();
        let mut links = Vec::new();
        // Texts that are told from others by one line at most
        let plain: BTreeSet<u64> = self
            .seen
            .shown
            .values()
            .filter(|shown| {
                let lines: BTreeSet<&[u8]> = shown.text.split_inclusive(|b| *b == b'\n').collect();
                lines.iter().filter(|line| line.ends_with(b"\n")).count() < 2
            })
            .map(|shown| shown.lineage)
            .collect();

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
            let is_seen = self.seen.text.contains(&node.lineage)
                || self.seen.empty.get(&ino) == Some(&node.lineage);
            if is_seen && !self.seen.text.contains(&node.lineage) {
                weak.push((rotation.log.0, ino));
            }
            let scheme = format!("{:?}", rotation.scheme);
            let schemes = self.seen.schemes.entry(rotation.log.0).or_default();
            match is_seen {
                true if !disturbed && !node.lines.is_empty() => schemes.push(scheme),
                true => {}
                false => unknown.push((rotation.log.0, scheme, ino)),
            }
        }
        // The text at a path begins with all that it showed at the last look, and is another text
        let listed: BTreeMap<String, (Stat, u64)> = names
            .iter()
            .filter_map(|name| {
                let ino = self.resolve(name)?;
                Some((name.clone(), (self.stat_of(ino), self.nodes[&ino].lineage)))
            })
            .collect();
        for (name, (stat, lineage)) in &listed {
            // The next archive has the name, the inode, the length and the dates of the one before
            let before = self.seen.listed.get(name);
            if before.is_some_and(|before| before.0 == *stat && before.1 != *lineage) {
                self.left_alone.insert(*lineage);
            }
        }
        self.seen.listed = listed;
        let mut alike: Vec<u32> = Vec::new();
        for name in &names {
            let rotation = Rotation::of_any(name.as_bytes(), &config);
            let node = self.resolve(name).map(|ino| &self.nodes[&ino]);
            // A rotated file that has nothing but a banner, as others have
            if node.is_some_and(|node| node.lines.is_empty() && !node.text.is_empty()) {
                alike.extend(rotation.map(|rotation| rotation.log.0));
            }
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
            let begins = node.is_some_and(|node| node.text.starts_with(&before.text));
            if is_other && !before.text.is_empty() && (begins || !before.has_lines) {
                alike.push(log);
            }
            if is_other && there.is_some_and(|ino| self.stat_of(ino) == before.stat) {
                again.push(before.lineage);
                again.extend(node.map(|node| node.lineage));
                alike.push(log);
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
        for (log, ino) in weak.into_iter().chain(unknown.iter().map(|u| (u.0, u.2))) {
            let (log, ino) = (&log, &ino);
            if alike.contains(log) {
                for line in self.nodes[ino].lines.clone() {
                    self.excuse(line, "the path shows the text that it did before");
                    let again = &mut self.lines[line as usize].again;
                    again.get_or_insert("the path shows the text that it did before");
                }
            }
        }
        for (log, scheme, ino) in unknown {
            if !self
                .seen
                .schemes
                .get(&log)
                .is_some_and(|s| s.contains(&scheme))
            {
                self.left_alone.insert(self.nodes[&ino].lineage);
            }
            if self.left_alone.contains(&self.nodes[&ino].lineage) {
                for line in self.nodes[&ino].lines.clone() {
                    self.excuse(line, "came and went unseen, under names of an unknown kind");
                }
            }
        }
        let led_to = self.resolve("cur.log");
        for ino in links {
            let node = &self.nodes[&ino];
            let is_seen = self.seen.text.contains(&node.lineage)
                || self.seen.empty.get(&ino) == Some(&node.lineage);
            let is_gone = led_to != Some(ino) && node.held == 0;
            if is_gone && plain.contains(&node.lineage) {
                for line in self.nodes[&ino].lines.clone() {
                    self.excuse(
                        line,
                        "a line or none when last seen, and of a strange name since",
                    );
                }
            }
            let node = &self.nodes[&ino];
            if is_gone && !self.seen.text.contains(&node.lineage) && is_seen {
                for line in self.nodes[&ino].lines.clone() {
                    self.excuse(line, "empty when last seen, and of a strange name since");
                }
            }
            if !is_seen && led_to != Some(ino) {
                for line in self.nodes[&ino].lines.clone() {
                    self.excuse(line, "a link led there between two looks only");
                }
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
}
