//! An agent that looks, decides, reads what the ledger says is readable, and sends it in batches to a
//! server that drops what has a number for the second time.

use super::records::Records;
use super::world::{Config, Fault, Seen, World, SECOND};
use crate::tail::identity::FileId;
use crate::tail::ledger::apply::{Ledger, Span};
use crate::tail::ledger::content::{
    ContentKey, LogId, Moment, Phase, Place, SequenceId, Stamp, Trust,
};
use crate::tail::ledger::decide::{decide, glance, Glance};
use crate::tail::ledger::evidence::{before, head_bytes, line_end, Bytes, BLOCK};
use crate::tail::ledger::mutants::{self, Mutant};
use crate::tail::ledger::observe::{Eyes, Listed, Snapshot, Stat};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io;

/// A line on its way.
#[derive(Debug, Clone)]
pub struct Event {
    log: LogId,
    sequence: SequenceId,
    number: u64,
    text: Vec<u8>,
}

#[derive(Debug, Clone, Default)]
pub struct Batch {
    pub events: Vec<Event>,
    spans: Vec<Span>,
    pub sent: bool,
    /// The number of its first events that the server has, or refuses for good: it was too large, and goes in parts.
    decided: usize,
}

/// The lines that arrived.
#[derive(Debug, Default)]
pub struct Server {
    numbers: BTreeMap<(SequenceId, u64), Vec<u8>>,
    /// The logs under which each line came, once for each time that it was not dropped.
    pub lines: BTreeMap<u32, Vec<LogId>>,
    /// Lines that came with the number of another one, and that one.
    pub conflicts: Vec<(Option<u32>, Option<u32>)>,
    /// The log under which the first event of each sequence came.
    logs: BTreeMap<SequenceId, LogId>,
    /// A line of a content of which others came under another log.
    pub divided: Option<u32>,
}

impl Server {
    fn take(&mut self, batch: &Batch, upto: usize) {
        for event in &batch.events[batch.decided..upto] {
            let key = (event.sequence, event.number);
            let log = *self.logs.entry(event.sequence).or_insert(event.log);
            if log != event.log {
                self.divided = self.divided.or(line_id(&event.text));
            }
            if let Some(known) = self.numbers.get(&key) {
                if *known != event.text {
                    self.conflicts.push((line_id(known), line_id(&event.text)));
                }
                continue;
            }
            self.numbers.insert(key, event.text.clone());
            if let Some(id) = line_id(&event.text) {
                self.lines.entry(id).or_default().push(event.log);
            }
        }
    }
}

fn line_id(text: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(text.get(..6)?).ok()?;
    text.parse().ok()
}

impl Batch {
    pub fn lines(&self) -> Vec<u32> {
        self.lines_upto(0, self.events.len())
    }

    fn lines_upto(&self, from: usize, upto: usize) -> Vec<u32> {
        let events = self.events[from..upto].iter();
        events.filter_map(|event| line_id(&event.text)).collect()
    }
}

struct FileBytes<'a> {
    world: &'a RefCell<World>,
    ino: u64,
    /// How far it was decompressed.
    at: u64,
}

impl<'a> FileBytes<'a> {
    fn open(world: &'a RefCell<World>, ino: u64) -> Self {
        world.borrow_mut().reads.entry(ino).or_default().opens += 1;
        FileBytes { world, ino, at: 0 }
    }
}

impl Bytes for FileBytes<'_> {
    fn read_at(&mut self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut world = self.world.borrow_mut();
        let is_gz = world.nodes[&self.ino].gz;
        let plain;
        let text = match is_gz {
            true => {
                plain = world.plain(self.ino);
                &plain
            }
            false => &world.nodes[&self.ino].text,
        };
        let rest = text.get(offset as usize..).unwrap_or(&[]);
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        let end = offset.min(text.len() as u64) + len as u64;
        // A step back starts anew
        let cost = match is_gz && offset >= self.at {
            true => end.saturating_sub(self.at),
            false if is_gz => end,
            false => len as u64,
        };
        self.at = end;
        world.reads.entry(self.ino).or_default().bytes += cost;
        Ok(len)
    }
}

struct Look<'a> {
    world: &'a RefCell<World>,
    held: &'a BTreeMap<ContentKey, u64>,
}

impl Eyes for Look<'_> {
    fn open(&mut self, file: &Listed) -> io::Result<Box<dyn Bytes + '_>> {
        let world = self.world.borrow();
        if let Some(errno) = world.fails(&file.name, true) {
            return Err(io::Error::from_raw_os_error(errno));
        }
        let ino = world.resolve(std::str::from_utf8(&file.name).unwrap());
        let ino = ino.filter(|ino| *ino == file.stat.id.ino);
        let ino = ino.ok_or(io::ErrorKind::NotFound)?;
        drop(world);
        Ok(Box::new(FileBytes::open(self.world, ino)))
    }

    fn held(&mut self, key: ContentKey) -> Option<(Stat, Box<dyn Bytes + '_>)> {
        let ino = *self.held.get(&key)?;
        let stat = self.world.borrow().stat_of(ino);
        Some((stat, Box::new(FileBytes::open(self.world, ino))))
    }
}

pub struct Agent {
    pub ledger: Ledger,
    held: BTreeMap<ContentKey, u64>,
    /// The stamps of files that a glance has seen grown.
    grown: BTreeMap<ContentKey, Stamp>,
    pub batches: VecDeque<Batch>,
    /// Lines of batches that were sent and are read again since a reload.
    dropped: Vec<u32>,
    has_looked: bool,
    /// When it was started. Its clock begins then.
    started: u64,
}

/// The things that outlive an agent.
pub struct Outside {
    /// `None` before the first look.
    pub records: Option<Records>,
    pub server: Server,
    pub now: u64,
    sequences: u64,
}

impl Outside {
    pub fn new() -> Self {
        Outside {
            records: None,
            server: Server::default(),
            now: 0,
            sequences: 0,
        }
    }
}

impl Agent {
    pub fn start(outside: &Outside, config: Config) -> Agent {
        Agent {
            ledger: outside
                .records
                .as_ref()
                .map(|records| records.ledger(|log| is_followed(config, log)))
                .unwrap_or_default(),
            held: BTreeMap::new(),
            grown: BTreeMap::new(),
            batches: VecDeque::new(),
            dropped: Vec::new(),
            has_looked: false,
            started: outside.now,
        }
    }

    pub fn look(&mut self, world: &RefCell<World>, outside: &mut Outside) {
        let config = world.borrow().config;
        match Snapshot::take(world) {
            Ok(mut snapshot) => {
                // The old files of a log are not forgotten with its entry
                snapshot.is_shallow = config == Config::OneOfTwo;
                world.borrow_mut().looked(outside.now);
                let now = Moment(outside.now - self.started);
                let mut eyes = Look {
                    world,
                    held: &self.held,
                };
                let files: Vec<FileId> = snapshot.files.iter().map(|file| file.stat.id).collect();
                let mut logs = self.ledger.logs();
                let followed = (0..4).map(LogId);
                logs.extend(followed.filter(|log| !self.ledger.logs().contains(log)));
                let scope = self.ledger.scope(LogId(0), &logs, &files, &|_| false, now);
                let decision = decide(&scope.known(), &snapshot, &mut eyes, &config);
                if std::env::var_os("LEDGER_SHOW").is_some() {
                    let said = format!(
                        "    {:?} {:?} {:?}",
                        decision
                            .verdicts
                            .iter()
                            .map(|(n, v)| (String::from_utf8_lossy(n).into_owned(), *v))
                            .collect::<Vec<_>>(),
                        decision.changes.iter().map(brief).collect::<Vec<_>>(),
                        decision.unclear
                    );
                    world.borrow_mut().say(said);
                }
                let sequences = &mut outside.sequences;
                let mut sequence = || {
                    *sequences += 1;
                    let mut id = [0; 16];
                    id[..8].copy_from_slice(&sequences.to_be_bytes());
                    SequenceId(id)
                };
                self.ledger.apply(&scope, decision, &config, &mut sequence);
                let literal = |log: LogId| log.0 < 0x8000_0000;
                let logs = self.ledger.logs();
                self.ledger
                    .forget(&logs, now, 600_000, snapshot.files.len().max(8), &literal);
                if outside.records.is_none() && !self.has_looked {
                    world.borrow_mut().first_look();
                }
                self.has_looked = true;
                if outside.records.is_none() {
                    self.save(true, Vec::new(), world, outside);
                }
                self.hold(world);
            }
            Err(_) => world.borrow_mut().say("    it can't be listed"),
        }
        let mut world = world.borrow_mut();
        for fault in &mut world.faults {
            fault.1 = fault.1.saturating_sub(1);
        }
        world.faults.retain(|(_, looks)| *looks > 0);
    }

    /// Glances at the path of each log and at the files of other contents, as `tail/look.rs` does. Whether only a look
    /// can tell what is there.
    pub fn glance(&mut self, world: &RefCell<World>) -> bool {
        let mut files: Vec<(ContentKey, u64)> = Vec::new();
        let mut logs = self.ledger.logs();
        for (log, ino) in world.borrow_mut().glanced() {
            logs.retain(|other| *other != log);
            let Some(content) = self.ledger.shown(log) else {
                return true;
            };
            files.extend(ino.map(|ino| (content.key, ino)));
        }
        // The paths of these show nothing
        if logs.iter().any(|log| self.ledger.shown(*log).is_some()) {
            return true;
        }
        for (key, content) in self.ledger.contents() {
            let named = content.place.file().filter(|_| !content.is_archive());
            let name = named.and_then(|at| std::str::from_utf8(&at.name).ok());
            let named = name.and_then(|name| world.borrow().resolve(name));
            let ino = self.held.get(key).copied().or(named);
            let is_rotated = content.phase != Phase::Shown;
            if is_rotated && name.is_some() && ino.is_none() {
                return true;
            }
            files.extend(ino.filter(|_| is_rotated).map(|ino| (*key, ino)));
        }
        let mut is_question = false;
        for (key, ino) in files {
            let Some(content) = self.ledger.get(key) else {
                continue;
            };
            let stat = world.borrow().stat_of(ino);
            let mut open = || Ok(Box::new(FileBytes::open(world, ino)) as Box<dyn Bytes>);
            match glance(content, &stat, &mut open) {
                Glance::Same => {}
                Glance::Touched => self.ledger.confirm(key, stat.stamp),
                Glance::Grown => {
                    self.ledger.has_grown(key, stat.length);
                    self.grown.insert(key, stat.stamp);
                }
                Glance::Question => is_question = true,
            }
        }
        is_question
    }

    /// Opens what may be read and does not grow old, and closes what is over.
    fn hold(&mut self, world: &RefCell<World>) {
        let contents = self.ledger.contents();
        // A content that took another's place in a file without a name inherits the descriptor
        for (key, content) in contents {
            let Place::Unlinked(at) = &content.place else {
                continue;
            };
            let before = self.held.iter().find(|(_, ino)| **ino == at.id.ino);
            if let Some((before, ino)) = before.map(|(key, ino)| (*key, *ino)) {
                if !self.held.contains_key(key) {
                    self.held.remove(&before);
                    self.held.insert(*key, ino);
                }
            }
        }
        let old: Vec<ContentKey> = self.held.keys().copied().collect();
        for key in old {
            let keep = contents.get(&key).is_some_and(|content| {
                let id = match &content.place {
                    Place::At(at) => Some(at.id.ino),
                    Place::Unlinked(at) => Some(at.id.ino),
                    _ => None,
                };
                content.phase != Phase::Finished && id == Some(self.held[&key])
            });
            if !keep {
                let ino = self.held.remove(&key).unwrap();
                close(world, ino);
            }
        }
        for (key, content) in contents {
            if let (Place::At(at), Trust::Verified) = (&content.place, content.trust) {
                let name = std::str::from_utf8(&at.name).unwrap();
                let mut world = world.borrow_mut();
                let is_it =
                    world.resolve(name) == Some(at.id.ino) && world.fails(&at.name, true).is_none();
                if is_it && content.phase != Phase::Finished && !self.held.contains_key(key) {
                    world.nodes.get_mut(&at.id.ino).unwrap().held += 1;
                    self.held.insert(*key, at.id.ino);
                }
            }
        }
    }

    pub fn close_all(&mut self, world: &RefCell<World>) {
        for (_, ino) in std::mem::take(&mut self.held) {
            close(world, ino);
        }
        world.borrow_mut().drop_fragile(None);
    }

    /// Reads pages into batches and sends these.
    pub fn pump(&mut self, world: &RefCell<World>, outside: &mut Outside, page: usize) {
        if self.batches.len() < 2 {
            let mut batch = Batch::default();
            let keys: Vec<ContentKey> = self.ledger.contents().keys().copied().collect();
            for key in keys {
                self.read(key, page, &mut batch, world);
            }
            if !batch.spans.is_empty() {
                self.batches.push_back(batch);
            }
        }
        if self.batches.iter().any(|b| !b.sent)
            && (self.ledger.is_durable() || self.save(true, Vec::new(), world, outside))
        {
            self.batches.iter_mut().for_each(|batch| batch.sent = true);
        }
    }

    /// Writes down what has changed, and that the answers about these lines are taken in; whether that went well.
    pub fn save(
        &mut self,
        durably: bool,
        settled: Vec<u32>,
        world: &RefCell<World>,
        outside: &mut Outside,
    ) -> bool {
        let world = world.borrow();
        let mut faults = world.faults.iter();
        let full = faults.any(|(fault, _)| matches!(fault, Fault::Write(_)));
        if !full {
            let records = outside.records.get_or_insert_default();
            records.write(&mut self.ledger, durably, settled, &world.seen);
            if durably {
                self.ledger.is_written();
            }
        }
        !full
    }

    fn read(&mut self, key: ContentKey, page: usize, batch: &mut Batch, world: &RefCell<World>) {
        if !self.ledger.is_readable(key) {
            return;
        }
        let content = &self.ledger.contents()[&key];
        let (log, numbers, position) = (content.log, content.numbers, content.read);
        let ino = self.held.get(&key).copied().or_else(|| {
            let at = content.place.file()?;
            let world = world.borrow();
            let ino = world.resolve(std::str::from_utf8(&at.name).ok()?)?;
            (ino == at.id.ino && world.fails(&at.name, true).is_none()).then_some(ino)
        });
        let Some(ino) = ino else { return };
        let mut bytes = FileBytes::open(world, ino);
        let evidence = content.evidence.clone();
        let lead = before(position, BLOCK, &mut bytes).unwrap();
        let mut text = vec![0; page];
        let len = bytes.read_at(&mut text, position).unwrap();
        text.truncate(line_end(&text[..len]));
        let agrees = match position > 0 && evidence.end() == position {
            true => lead.len() as u64 == position.min(BLOCK as u64) && evidence.follows(&lead),
            // The first page: up to where the text was seen
            false => evidence.agrees_nearby(&mut bytes).unwrap(),
        };
        let is_grown = self.grown.contains_key(&key);
        let begins = !is_grown || evidence.head_agrees(&head_bytes(&mut bytes).unwrap());
        if !agrees || !begins {
            return self.ledger.suspect(key);
        }
        if text.is_empty() {
            // A line that is longer than the page is read with the next one
            if len < page {
                self.ledger.finish(key, true);
                if let Some(stamp) = self.grown.remove(&key) {
                    self.ledger.confirm(key, stamp);
                }
            } else {
                self.read(key, 4 * page, batch, world);
            }
            return;
        }
        let mut offset = position;
        for line in text.split_inclusive(|b| *b == b'\n') {
            batch.events.push(Event {
                log,
                sequence: numbers.sequence,
                number: numbers.at(offset),
                text: line.to_vec(),
            });
            offset += line.len() as u64;
        }
        if let Some(content) = self.ledger.get_mut(key) {
            content.advance(&lead, &text);
            let (to, edition) = (content.read, content.edition);
            batch.spans.push(Span { key, to, edition });
        }
        self.ledger.has_read(key);
    }

    /// The server has answered about the oldest batch.
    pub fn answer(&mut self, what: u64, world: &RefCell<World>, outside: &mut Outside) {
        let Some(batch) = self.batches.front_mut().filter(|batch| batch.sent) else {
            return;
        };
        let all = batch.events.len();
        let is_large = what % 12 == 3 && all - batch.decided > 1;
        let upto = match is_large {
            true => batch.decided + (all - batch.decided) / 2,
            false => all,
        };
        match what % 12 {
            0 => return,
            2 | 3 if what % 24 != 3 => {
                for line in batch.lines_upto(batch.decided, upto) {
                    world.borrow_mut().excuse(line, "discarded by the server");
                }
            }
            _ => outside.server.take(batch, upto),
        }
        if what % 12 == 1 {
            // The answer is lost
            return;
        }
        batch.decided = upto;
        if is_large && !mutants::is(Mutant::PartSettles) {
            return;
        }
        let batch = batch.clone();
        self.batches.pop_front();
        for span in &batch.spans {
            self.ledger.settle(span);
        }
        if !self.save(false, batch.lines(), world, outside) {
            // Settled, but not on disk
            for line in batch.lines() {
                world.borrow_mut().lines[line as usize]
                    .again
                    .get_or_insert("in flight");
            }
        }
    }

    /// It passes all on to a successor, as `tail/successor.rs` does, with the batches that nobody has decided. `again`: the
    /// text of these is read again. `changes`: an entry is taken out, or comes back. While nothing can be written down it
    /// goes on.
    pub fn reload(
        &mut self,
        mut again: bool,
        changes: bool,
        world: &RefCell<World>,
        outside: &mut Outside,
    ) {
        if outside.records.is_none() || !self.save(true, Vec::new(), world, outside) {
            return;
        }
        if changes {
            world.borrow_mut().change_entries();
            for line in self.batches.iter().flat_map(Batch::lines) {
                let line = &mut world.borrow_mut().lines[line as usize];
                line.again.get_or_insert("in flight");
            }
            again = true;
        }
        let config = world.borrow().config;
        let ledger = std::mem::take(&mut self.ledger);
        let mut logs = ledger.logs();
        logs.extend((0..4).map(LogId));
        logs.sort();
        logs.dedup();
        logs.retain(|log| is_followed(config, *log));
        let (parts, doubts) = ledger.take_apart(logs.into_iter());
        let keys = self.ledger.join(parts, doubts);
        if again {
            let sent = self.batches.iter().filter(|batch| batch.sent);
            self.dropped.extend(sent.flat_map(Batch::lines));
            self.batches.clear();
            for key in keys {
                self.ledger.go_back(key);
            }
        }
        if !changes {
            return;
        }
        let is_back = |log: LogId| log.0 == SECOND && is_followed(config, log);
        if let Some(records) = outside
            .records
            .as_ref()
            .filter(|_| !mutants::is(Mutant::LeftForgotten))
        {
            records.take_up(&mut self.ledger, is_back);
        }
        self.hold(world);
    }

    /// It dies, and perhaps all with it: then any of the records that are not synced are lost, from one on.
    pub fn kill(mut self, arg: u64, world: &RefCell<World>, outside: &mut Outside) {
        let mut again = std::mem::take(&mut self.dropped);
        for (at, batch) in self.batches.iter().filter(|batch| batch.sent).enumerate() {
            if arg % 2 == 0 && at == 0 {
                outside.server.take(batch, batch.events.len());
            }
            again.extend(batch.lines());
        }
        world.borrow_mut().seen = Seen::default();
        if let Some(records) = &mut outside.records {
            let all = records.unsynced();
            let kept = match arg / 2 % 4 {
                0 => (arg / 8) as usize % (all + 1),
                // In the middle of the last one
                1 => all.saturating_sub(1),
                _ => all,
            };
            again.extend(records.keep(kept));
            let mut world = world.borrow_mut();
            world.say(format!("    {kept} of {all} records are left"));
            world.seen = records.seen().clone();
            // No record says of which content a file is the copy
            world.seen.copies.clear();
        }
        for line in again {
            let line = &mut world.borrow_mut().lines[line as usize];
            line.again.get_or_insert("in flight");
        }
        self.close_all(world);
    }

    pub fn is_idle(&self) -> bool {
        self.batches.is_empty()
            && !self
                .ledger
                .contents()
                .keys()
                .any(|key| self.ledger.is_readable(*key))
    }
}

/// Whether an entry has this log.
fn is_followed(config: Config, log: LogId) -> bool {
    log.0 != SECOND || config != Config::OneOfTwo
}

fn close(world: &RefCell<World>, ino: u64) {
    let mut world = world.borrow_mut();
    world.nodes.get_mut(&ino).unwrap().held -= 1;
    world.let_go(ino);
    world.drop_fragile(Some(ino));
}

fn brief(change: &crate::tail::ledger::decide::Change) -> String {
    use crate::tail::ledger::decide::Change::*;
    let at = |sight: &crate::tail::ledger::decide::Sight| match &sight.place {
        Place::At(at) | Place::InArchive(at) => String::from_utf8_lossy(&at.name).into_owned(),
        other => format!("{other:?}"),
    };
    match change {
        Seen(key, sight) => format!("seen {} {} {}", key.0, at(sight), sight.stat.length),
        Edited(key, upto, sight) => format!("edited {} at {} {}", key.0, upto, at(sight)),
        Owned(key, log) => format!("owned {} {log:?}", key.0),
        Born(born) => format!(
            "born {:?} {} from {}",
            born.log,
            at(&born.sight),
            born.start
        ),
        Vanished(key, _) => format!("vanished {}", key.0),
    }
}
