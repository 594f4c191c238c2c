//! Passing on what a session knows to those that come after it, at a reload or after a thread has died: what
//! was read is not read again, and what is open stays open.
//!
//! All of it is moved, so that the session that ends can change nothing of it any more.

use super::counters::{Counters, Skip};
use super::discover::share_of;
use super::fence::is_left_out;
use super::ledger::record::{SavedContent, SavedLog};
use super::ledger::{ContentKey, Doubts, Part, Place};
use super::log::Log;
use super::settings::Entry;
use super::source::{name_of, path_of, Reading, Source};
use super::tailer::{Tailer, Waiting};
use crate::util::time::now_secs;
use crate::wire::Batch;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Makes the entry of a path that a monitor names; of one whose lines are in memory if the second is true.
pub type EntryNamed<'a> = &'a dyn Fn(&Path, bool) -> Option<Entry>;

/// The state of a session that has ended.
#[derive(Debug)]
pub struct Carried {
    /// Moments of the ledger count from then.
    started: Instant,
    /// The folder and the worker under which its contents were written down.
    written: (PathBuf, String),
    watched: Vec<PathBuf>,
    logs: Vec<CarriedLog>,
    /// Totals of files that were not followed any more.
    retired: Counters,
    doubts: Doubts,
    /// Nobody knows whether the server has these; the oldest first.
    batches: Vec<Batch>,
    /// The text in batches that were dropped is to be read again.
    goes_back: bool,
}

/// A log with all that is known of it and held for it.
#[derive(Debug)]
struct CarriedLog {
    log: Box<Log>,
    part: Part,
    readings: Vec<(ContentKey, Reading)>,
    waiting: Option<Waiting>,
}

impl CarriedLog {
    fn keys(&self) -> impl Iterator<Item = ContentKey> + '_ {
        self.part.contents.iter().map(|content| content.key)
    }

    /// For the checkpoints of one that does not follow it.
    fn record(&self) -> SavedLog {
        let name = name_of(&self.log.path);
        let contents = self.part.contents.iter();
        SavedLog {
            time: now_secs(),
            serial: None,
            contents: contents
                .map(|content| SavedContent::of(content, &name))
                .collect(),
            schemes: self.part.schemes.clone(),
            attributes: self.log.entry.named_attributes().to_vec(),
        }
    }
}

impl Carried {
    /// Has the text of all batches read again.
    pub fn drop_batches(&mut self) {
        self.goes_back |= !self.batches.is_empty();
        self.batches.clear();
    }

    /// Lets go of the logs that are in no file: what nobody has said has arrived is left to
    /// [`super::Shelf::take_left`].
    pub fn leave_memory(&mut self) {
        if !self.logs.iter().any(|one| one.log.in_memory) {
            return;
        }
        // They may be in batches together with others
        self.drop_batches();
        self.logs.retain(|one| {
            if one.log.in_memory {
                self.retired.add(&one.log.counters.get());
            }
            !one.log.in_memory
        });
    }

    /// The totals of all its files.
    pub fn totals(&self) -> Counters {
        let mut totals = self.retired;
        for one in &self.logs {
            totals.add(&one.log.counters.get());
        }
        totals
    }

    /// Divides it among the `count` sessions that share the worker's files from now on. What is in no file falls to
    /// the first one. No path is touched.
    pub fn divide(mut self, count: u64) -> Vec<Carried> {
        let share = |log: &Log| match log.in_memory {
            true => 0,
            false => share_of(&log.path, count),
        };
        let mut shares: HashMap<u64, u64> = HashMap::new();
        for one in &self.logs {
            shares.extend(one.keys().map(|key| (key.0, share(&one.log))));
        }
        let spans = self.batches.iter().flat_map(|batch| &batch.spans);
        let mut owners: Vec<u64> = spans
            .filter_map(|span| shares.get(&span.source).copied())
            .collect();
        owners.dedup();
        // A batch settles in one ledger
        if owners.iter().any(|owner| Some(owner) != owners.first()) {
            self.drop_batches();
        }
        let owner = owners.first().copied().unwrap_or(0);
        let part = || Carried {
            started: self.started,
            written: self.written.clone(),
            watched: self.watched.clone(),
            logs: Vec::new(),
            retired: Counters::default(),
            doubts: Doubts::default(),
            batches: Vec::new(),
            goes_back: self.goes_back,
        };
        let mut all: Vec<Carried> = (0..count.max(1)).map(|_| part()).collect();
        for one in self.logs {
            if let Some(part) = all.get_mut(share(&one.log) as usize) {
                part.logs.push(one);
            }
        }
        if let Some(first) = all.first_mut() {
            first.retired = self.retired;
            first.doubts = self.doubts;
        }
        if let Some(part) = all.get_mut(owner as usize) {
            part.batches = self.batches;
        }
        all
    }
}

impl Tailer {
    /// Ends, and passes all on to those that come after this one. `batches` were handed over or filled and nobody
    /// has decided them; the oldest first.
    pub fn pass_on(mut self, batches: Vec<Batch>) -> Carried {
        self.before_send();
        self.checkpoint();
        let written = self.place();
        let (parts, doubts) = self
            .ledger
            .take_apart(self.logs.values().map(|log| log.id()));
        let mut carry = |(log, part): (Box<Log>, Part)| {
            let keys = part.contents.iter().map(|content| content.key);
            CarriedLog {
                readings: keys
                    .filter_map(|key| Some((key, self.readings.remove(&key)?)))
                    .collect(),
                waiting: self.waiting.remove(&*log.path),
                log,
                part,
            }
        };
        Carried {
            started: self.started,
            written,
            watched: self.watched_before,
            logs: self.logs.into_values().zip(parts).map(&mut carry).collect(),
            retired: self.retired,
            doubts,
            batches: batches
                .into_iter()
                .filter(|batch| !batch.spans.is_empty())
                .collect(),
            goes_back: false,
        }
    }

    /// The folder and the worker under which contents are written down.
    fn place(&self) -> (PathBuf, String) {
        let settings = &self.settings;
        (settings.data_dir.clone(), settings.worker.clone())
    }

    /// Goes on where earlier ones ended. The batches that are to be sent first.
    pub(super) fn take_over(
        &mut self,
        carried: Vec<Carried>,
        named: EntryNamed,
        now: Instant,
    ) -> Vec<Batch> {
        let mut batches = Vec::new();
        for one in carried {
            batches.extend(self.take_over_one(one, named, now));
        }
        if self.open > self.settings.max_open_files {
            self.make_room();
        }
        batches
    }

    fn take_over_one(&mut self, carried: Carried, named: EntryNamed, now: Instant) -> Vec<Batch> {
        let Carried {
            mut batches,
            mut goes_back,
            ..
        } = carried;
        self.writes_all |= carried.written != self.place();
        self.started = self.started.min(carried.started);
        self.retired.add(&carried.retired);
        for watched in carried.watched {
            if !self.watched_before.contains(&watched) {
                self.watched_before.push(watched);
            }
        }
        let mut parts = Vec::new();
        let mut readings = Vec::new();
        let mut numbers = Vec::new();
        for one in carried.logs {
            let entry = self.entry_of(&one.log, named);
            let entry = entry.filter(|_| !self.by_path.contains_key(&one.log.path));
            let Some((entry, is_left)) = entry else {
                let spans = batches.iter().flat_map(|batch| &batch.spans);
                let mut sources = spans.map(|span| span.source);
                // A log is taken out of the configuration so that it is not sent
                goes_back |= sources.any(|source| one.keys().any(|key| key.0 == source));
                self.retired.add(&one.log.counters.get());
                if !one.log.in_memory {
                    self.orphans
                        .push((one.log.path.to_path_buf(), one.record()));
                }
                continue;
            };
            let is_same = match (&one.log.entry.pipeline, &entry.pipeline) {
                (None, None) => true,
                (Some(before), Some(now)) => before.same_as(now),
                _ => false,
            };
            let of_log = one.readings.into_iter();
            readings.extend(of_log.map(|(key, reading)| (key, reading, is_same)));
            let path = one.log.path.to_path_buf();
            self.waiting
                .extend(one.waiting.map(|waiting| (path, waiting)));
            parts.push(one.part);
            numbers.push(one.log.number());
            self.follow_on(one.log, entry, is_left, now);
        }
        let keys = self.ledger.join(parts, carried.doubts);
        for (key, reading, is_same) in readings {
            if keys.contains(&key) {
                self.read_on(key, reading, is_same, now);
            }
        }
        if goes_back {
            batches.clear();
            for key in &keys {
                self.read_again(*key, now);
            }
        }
        for batch in &mut batches {
            // A content that is not known any more has nothing to settle
            batch
                .spans
                .retain(|span| keys.contains(&ContentKey(span.source)));
        }
        for key in &keys {
            self.tell_of_file(*key);
        }
        for number in numbers {
            let in_memory = self.logs.get(&number).filter(|log| log.in_memory);
            if let Some((id, path)) = in_memory.map(|log| (log.id(), log.path.clone())) {
                for key in self.ledger.of_log(id) {
                    self.keep_on_shelf(&path, *key);
                }
                self.make_ready(number);
            }
            self.plan(number, now, Some(now));
        }
        batches
    }

    /// The entry of a log from now on, and whether it is finished and then left; none if it is not to be followed.
    fn entry_of(&self, log: &Log, named: EntryNamed) -> Option<(Arc<Entry>, bool)> {
        if log.in_memory {
            let entry = named(&log.path, true).map(Arc::new);
            return Some((entry.unwrap_or_else(|| log.entry.clone()), false));
        }
        if is_left_out(&log.path) {
            return None;
        }
        if let Some(mut entry) = named(&log.path, false) {
            entry.named = true;
            return Some((Arc::new(entry), false));
        }
        let entry = self.entry_for(&log.path)?;
        if !log.entry.named {
            return Some((entry, false));
        }
        // Lines that wait to be sent keep the attributes that the monitor gave them
        let mut entry = Entry::clone(&entry);
        entry.attributes.clone_from(&log.entry.attributes);
        entry.named = true;
        Some((Arc::new(entry), true))
    }

    fn follow_on(&mut self, mut log: Box<Log>, entry: Arc<Entry>, is_left: bool, now: Instant) {
        self.fit_buffer(&entry);
        let number = log.number();
        log.left = is_left;
        self.leaving |= is_left;
        log.relabel(entry);
        self.ledger.note_log(log.id());
        log.ready = false;
        log.seen_in_scan = self.scans;
        log.due = now;
        if log.in_memory {
            self.memory_logs.insert(log.path.to_path_buf(), number);
        } else {
            self.by_path.insert(log.path.clone(), number);
            self.relate(number, &log.path, true);
            if let Some(to) = &log.leads_to {
                self.links.insert(to.to_path_buf(), number);
            }
        }
        self.logs.insert(number, log);
    }

    /// Takes up the reader's side of a content.
    fn read_on(&mut self, key: ContentKey, mut reading: Reading, is_same: bool, now: Instant) {
        if !is_same {
            // Text that the rules before have withheld is for those of now to judge
            if let Some(content) = self.ledger.get_mut(key) {
                let hold = reading.hold.unwrap_or(content.read);
                content.read = content.read.min(hold.max(content.settled));
            }
            reading.restart(now);
        }
        let is_file = matches!(reading.source, Some(Source::Plain(_) | Source::Gz(_)));
        self.readings.insert(key, reading);
        if is_file {
            self.open += 1;
            self.in_turn(key);
        }
    }

    /// Reads again what is not settled, as the batch is dropped that had it.
    fn read_again(&mut self, key: ContentKey, now: Instant) {
        let bytes = self.ledger.go_back(key);
        if bytes == 0 {
            return;
        }
        if let Some(reading) = self.readings.get_mut(&key) {
            reading.restart(now);
        }
        let Some(content) = self.ledger.get_mut(key) else {
            return;
        };
        if !matches!(content.place, Place::Nowhere { .. }) {
            return;
        }
        content.length = content.read;
        let number = u64::from(content.log.0);
        let path = path_of(content.place.last_name()).display().to_string();
        self.ledger.finish(key, false);
        if let Some(log) = self.logs.get_mut(&number) {
            log.counters.skip(Skip::Vanished, bytes);
            log::warn!(
                "{path} is gone, and {bytes} bytes of it waited for the server in a request that has to be made \
                 anew: they are lost"
            );
        }
    }

    /// Tells the other sessions of the worker which file a content is in.
    fn tell_of_file(&mut self, key: ContentKey) {
        let content = self.ledger.get(key);
        let at = content.and_then(|content| content.place.last_file().cloned());
        let log = content.and_then(|content| self.logs.get(&u64::from(content.log.0)));
        if let (Some(at), Some(path)) = (at, log.map(|log| log.path.clone())) {
            self.hold_file(key, at.id, at.birth, &path);
        }
    }
}
