//! The programs: they write lines, and rotate, truncate, edit and rewrite their logs.

use super::world::{is_plain, Entry, Line, Method, Naming, World};
use crate::tail::ledger::evidence::HEAD;

impl World {
    pub(super) fn append(&mut self, ino: u64, text: &[u8], lines: &[u32]) {
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

    pub(super) fn line(&mut self, who: usize, len: u64) -> (u32, String) {
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

    pub(super) fn current(&mut self, who: usize) -> u64 {
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

    pub(super) fn banner(&mut self, who: usize, ino: u64) {
        if self.programs[who].banner > 0 {
            let lines = self.programs[who].banner;
            // One of several different lines
            let line = |n| match lines {
                12 => format!("===== line {n:02} of a banner =====\n"),
                _ => "===== an equal banner =====\n".to_owned(),
            };
            let text: String = (0..lines).map(line).collect();
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
        // A single line is no more than a banner
        let is_first = self.nodes[&ino].lines.is_empty() && arg % 16 != 0;
        for n in u64::from(!is_first)..=1 + arg % 7 {
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
        self.looks_new(ino);
        self.append(ino, format!("{line}\n").as_bytes(), &[id]);
    }

    pub(super) fn rotated_name(&self, who: usize, n: u32) -> String {
        let program = &self.programs[who];
        let path = program.path;
        let stem = path.strip_suffix(".log").unwrap();
        let old = program.olddir;
        match program.naming {
            Naming::Number => format!("{old}{path}.{n}"),
            Naming::Date => format!("{old}{path}-{}", 20_260_100 + n),
            Naming::DateInside => format!("{old}{stem}-{}.log", 20_260_100 + n),
        }
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) {
        if let Some(Entry::File(ino)) = self.entries.get(from).cloned() {
            self.link(to, ino);
            self.entries.remove(from);
            self.nodes.get_mut(&ino).unwrap().names -= 1;
        }
    }

    /// Makes room for a rotated file; its name.
    pub(super) fn make_way(&mut self, who: usize) -> String {
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
                self.programs[who].copied = self.resolve(&to);
                if arg % 64 != 0 {
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

    pub(super) fn copy(&mut self, from: u64, to: &str, gz: bool) {
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

    /// The original of a copy goes. If it has grown since, and no look has read both, nothing tells that
    /// the copy is one, as only the end of what was read is remembered line by line.
    pub(super) fn leave_copy(&mut self, who: usize) {
        let original = self.resolve(self.programs[who].path);
        let (Some(ino), Some(original)) = (self.programs[who].copied.take(), original) else {
            return;
        };
        let Some(copy) = self.nodes.get(&ino) else {
            return;
        };
        if self.nodes[&original].lines.len() > copy.lines.len() {
            let (text, serial) = (self.plain(ino), copy.serial);
            let is_unseen = !self.seen.copies.contains(&serial);
            if is_plain(&text) || is_unseen && text.len() <= HEAD {
                let why = "a copy of a few lines, whose original grew after it";
                for line in copy.lines.clone() {
                    if !is_plain(&text) {
                        self.excuse(line, why);
                    }
                    self.lines[line as usize].again.get_or_insert(why);
                }
            }
            let copy = &self.nodes[&ino];
            self.outgrown.push((copy.serial, copy.lines.clone()));
            self.excuse_copies();
        }
    }

    /// Also called when an agent has died: what it had not written down was not seen.
    pub fn excuse_copies(&mut self) {
        for (serial, lines) in &self.outgrown {
            if !self.seen.copies.contains(serial) {
                for line in lines {
                    let again = &mut self.lines[*line as usize].again;
                    again.get_or_insert(
                        "its original grew after it was copied, between two looks or runs",
                    );
                }
            }
        }
    }

    pub fn truncate_copied(&mut self, who: usize) {
        self.leave_copy(who);
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
        self.leave_copy(who);
        self.say(format!("{path} {why}"));
        self.empty(ino);
        self.banner(who, ino);
    }

    pub(super) fn empty(&mut self, ino: u64) {
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

    pub(super) fn compress(&mut self, name: &str) {
        let Some(Entry::File(ino)) = self.entries.get(name).cloned() else {
            return;
        };
        // A half line would be split for good
        if self.nodes[&ino].text.last().is_some_and(|b| *b != b'\n') {
            return;
        }
        self.say(format!("{name} is compressed"));
        let to = format!("{name}.gz");
        self.copy(ino, &to, true);
        let (serial, gz) = (self.nodes[&ino].serial, self.resolve(&to));
        if let Some(node) = gz.and_then(|gz| self.nodes.get_mut(&gz)) {
            node.serial = serial;
        }
        self.recompressed.extend(gz.map(|gz| (gz, serial)));
        for program in &mut self.programs {
            if program.copied == Some(ino) {
                program.copied = gz;
            }
        }
        self.unlink(name);
    }

    pub fn delete(&mut self, who: usize) {
        let path = self.programs[who].path;
        if matches!(self.entries.get(path), Some(Entry::File(_))) {
            self.complete(who);
            self.leave_copy(who);
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
    pub(super) fn switch(&mut self, who: usize, arg: u64) {
        self.complete(who);
        let to = format!("run-{}.txt", arg % 5);
        self.say(format!("cur.log leads to {to}"));
        self.entries
            .insert("cur.log".to_owned(), Entry::Link(to.clone()));
        match self.entries.get(&to) {
            Some(Entry::File(ino)) => {
                let ino = *ino;
                self.stands(&to, ino);
                self.looks_new(ino);
            }
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
        self.edited.insert(self.nodes[&ino].lineage);
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
            _ => {
                self.edits.push((path, id));
                ino
            }
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
}
