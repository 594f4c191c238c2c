//! The things that others do in the folder: files that no entry speaks of, files that are moved away and
//! back, and logs that are replaced.

use super::world::{log_of, Entry, Inodes, Naming, World};
use crate::tail::ledger::naming::Rotation;

impl World {
    /// A file that no entry speaks of, with a name that looks as if. Some have a name of a kind that no
    /// rotation here gives.
    pub fn stranger(&mut self, arg: u64) {
        let name = STRANGERS[arg as usize % STRANGERS.len()];
        let ino = self.resolve(name).unwrap_or_else(|| self.create(name));
        let (id, line) = self.line(0, arg);
        self.excuse(id, "nobody configured it");
        self.say(format!("{name} gets {id}"));
        self.append(ino, format!("{line}\n").as_bytes(), &[id]);
    }

    /// The name of a file that is no log's, though names alone would make it the newest rotated one of the first program. `None` where something
    /// could not be seen, or the log has no text that tells it from others.
    pub fn impostors_name(&self) -> Option<String> {
        let program = &self.programs[0];
        let name = match program.naming {
            Naming::Number => "app.log.0",
            Naming::Date => "app.log-20270101",
            Naming::DateInside => "app-20270101.log",
        };
        let node = &self.nodes[&self.resolve(program.path)?];
        let is_told = node.lines.len() > 1 && node.text.len() > 1_200;
        let is_free = log_of(self.config, name).is_none() && !self.entries.contains_key(name);
        let is_calm = self.faults.is_empty() && program.half.is_none();
        (is_told && is_free && is_calm).then(|| name.to_owned())
    }

    /// It appears in an inode that was never used.
    pub fn impostor(&mut self, name: &str, arg: u64) {
        let inodes = std::mem::replace(&mut self.inodes, Inodes::Never);
        let ino = self.create(name);
        self.inodes = inodes;
        let (id, line) = self.line(0, arg);
        self.excuse(id, "nobody configured it");
        self.say(format!("{name} is put there with {id}"));
        self.append(ino, format!("{line}\n").as_bytes(), &[id]);
    }

    pub fn delete_stranger(&mut self, arg: u64) {
        self.unlink(STRANGERS[arg as usize % STRANGERS.len()]);
    }

    /// A rotated file is moved to another place for a while, as when a mount goes.
    pub fn move_away(&mut self, who: usize, arg: u64) {
        let path = self.programs[who].path;
        let is_its = |name: &&String| {
            let rotation = Rotation::of_any(name.as_bytes(), &self.config);
            name.starts_with(path) && *name != path && rotation.is_some()
        };
        let names: Vec<String> = self.entries.keys().filter(is_its).cloned().collect();
        if names.is_empty() || self.away.is_some() {
            return;
        }
        let name = names[arg as usize % names.len()].clone();
        if self.programs[who]
            .copying
            .as_ref()
            .is_some_and(|(copy, _)| *copy == name)
        {
            return;
        }
        let Some(Entry::File(ino)) = self.entries.get(&name).cloned() else {
            return;
        };
        // A text that no look has seen at the path, or that has no more than a line, is told by its name alone. What
        // is known of a copy is forgotten with it, and only a part of the text tells one whose original has grown
        let node = &self.nodes[&ino];
        let mut others = self.nodes.iter().filter(|(other, _)| **other != ino);
        let is_copy = others.any(|(_, other)| other.lineage == node.lineage)
            || self
                .outgrown
                .iter()
                .any(|(serial, _)| *serial == node.serial);
        let is_known = self.seen.text.contains(&node.lineage) && !self.is_plain(node.lineage);
        if is_copy || !is_known || node.text.last() != Some(&b'\n') {
            return;
        }
        self.say(format!("{name} is moved away"));
        self.entries.remove(&name);
        self.away = Some((name, ino));
    }

    /// It comes back, under the name of an older one.
    pub fn move_back(&mut self) {
        let Some((name, ino)) = self.away.take() else {
            return;
        };
        let program = self
            .programs
            .iter()
            .find(|program| name.starts_with(program.path));
        let path = program.map_or("", |program| program.path);
        let end = if name.ends_with(".gz") { ".gz" } else { "" };
        // It stands behind all others, as names tell the order of those that no look has seen
        let mut to = name.clone();
        for n in 1.. {
            to = match program.map(|program| program.naming) {
                Some(Naming::Number) => format!("{path}.{}{end}", 100 - n),
                _ => format!("{path}-{}{end}", 20_241_231 - n),
            };
            if !self.entries.contains_key(&to) {
                break;
            }
        }
        self.say(format!("{name} comes back as {to}"));
        self.entries.insert(to.clone(), Entry::File(ino));
        // The agent may have died that had seen it
        self.excuse_away(ino);
        self.stands(&to, ino);
    }

    /// The log is deleted, and a new one with as many lines of the same length takes its place.
    pub fn replace(&mut self, who: usize) {
        let program = &self.programs[who];
        let path = program.path;
        let Some(Entry::File(ino)) = self.entries.get(path).cloned() else {
            return;
        };
        if !program.fixed || program.half.is_some() || program.copying.is_some() {
            return;
        }
        let count = self.nodes[&ino].lines.len();
        self.delete(who);
        self.say(format!("{path} is replaced by one with {count} lines"));
        let ino = self.current(who);
        for _ in 0..count {
            let (id, line) = self.line(who, 0);
            self.append(ino, format!("{line}\n").as_bytes(), &[id]);
        }
    }
}

const STRANGERS: [&str; 7] = [
    "app.1.log.old",
    "app.log.old",
    "notes.txt",
    "app_8080.log.1",
    "app-7.log.1",
    "app.log.20250101",
    "app.log_20250102",
];
