mod faults;
mod format;
mod fuzz;
mod page;

mod thread;

use super::format::{header, Reason, Records, Written};
use super::replay::{replay, Memory};
use crate::config::AttrValue;
use crate::tail::identity::FileId;
use crate::tail::ledger::record::{SavedContent, SavedFile, SavedLog, SavedPlace};
use crate::tail::ledger::{Birth, ContentKey, Evidence, Phase, Remembered, SequenceId, Stamp};
use crate::tail::names::Scheme;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// splitmix64
pub struct Dice(pub u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Below a number.
    pub fn below(&mut self, most: usize) -> usize {
        (self.next() % most.max(1) as u64) as usize
    }

    /// Once in so many times.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

pub fn number(name: &str, default: u64) -> u64 {
    let value = std::env::var(name).ok();
    value.and_then(|v| v.parse().ok()).unwrap_or(default)
}

/// The text of a content: no line is in another one.
pub fn text(key: u64, lines: std::ops::Range<u64>) -> Vec<u8> {
    lines
        .flat_map(|n| format!("content {key} has line {n:07}\n").into_bytes())
        .collect()
}

/// A content that is read on, as its tail thread knows it.
pub struct Known {
    pub log: (String, PathBuf),
    pub content: SavedContent,
    written: Option<Written>,
    lines: u64,
    base: u64,
}

/// Owners of logs, contents and cursors that live through a random history.
#[derive(Default)]
pub struct Owners {
    pub contents: BTreeMap<u64, Known>,
    pub logs: BTreeMap<(String, PathBuf), SavedLog>,
    pub listings: BTreeMap<PathBuf, Remembered>,
    pub cursors: BTreeMap<String, Vec<u8>>,
    keys: u64,
}

const WORKERS: [&str; 2] = ["default", "zwei"];

impl Owners {
    fn name(dice: &mut Dice) -> (String, PathBuf) {
        let path = format!("/var/log/{}.log", ["a", "b", "ccc"][dice.below(3)]);
        (WORKERS[dice.below(2)].to_owned(), path.into())
    }

    fn born(&mut self, dice: &mut Dice) -> u64 {
        self.keys += 1;
        let log = Owners::name(dice);
        let shown = self.contents.values_mut().filter(|known| known.log == log);
        for known in shown {
            if known.content.phase == Phase::Shown {
                known.content.phase = Phase::Draining;
            }
        }
        let file = SavedFile {
            id: FileId {
                dev: 66_306,
                ino: 5_000 + dice.below(9) as u64,
            },
            birth: (!dice.once_in(4))
                .then(|| Birth(1_764_557_000_123_456_789_i64.try_into().unwrap())),
        };
        let sequence = SequenceId([self.keys as u8; 16]);
        let content = SavedContent {
            key: Some(ContentKey(self.keys)),
            place: SavedPlace::At(file),
            name: None,
            stamp: Some(Stamp(7)),
            settled: 0,
            numbered: 0,
            length: 0,
            evidence: Evidence::default(),
            phase: Phase::Shown,
            was_vague: false,
            sequence: Some((sequence, 0)),
        };
        self.logs.entry(log.clone()).or_default();
        let known = Known {
            log,
            content,
            written: None,
            lines: 0,
            base: 0,
        };
        self.contents.insert(self.keys, known);
        self.keys
    }

    /// Reads on and settles all of it.
    fn advance(&mut self, key: u64, lines: u64) {
        let known = self.contents.get_mut(&key).unwrap();
        let before = text(key, known.lines.saturating_sub(60)..known.lines);
        let page = text(key, known.lines..known.lines + lines);
        known.lines += lines;
        let content = &mut known.content;
        content.evidence.advance(content.settled, &before, &page);
        content.settled += page.len() as u64;
        content.length = content.length.max(content.settled);
        if content.numbered < content.settled {
            content.numbered = content.settled + 5_000;
        }
        content.sequence = content
            .sequence
            .map(|(id, _)| (id, known.base + content.settled));
    }

    fn write(&mut self, key: u64, reason: Reason, out: &mut Records) {
        let known = self.contents.get_mut(&key).unwrap();
        let log = (known.log.0.as_str(), known.log.1.as_path());
        out.changed(&mut known.written, reason, log, &known.content);
    }

    /// One change, as one record or several.
    pub fn step(&mut self, dice: &mut Dice, out: &mut Records) {
        let keys: Vec<u64> = self.contents.keys().copied().collect();
        let kind = match keys.is_empty() {
            true => 0,
            false => dice.below(20),
        };
        let some = |dice: &mut Dice| keys[dice.below(keys.len())];
        match kind {
            0..=2 => {
                self.born(dice);
                // The others of the log may have been rotated
                for key in self.contents.keys().copied().collect::<Vec<_>>() {
                    self.write(key, Reason::Born, out);
                }
            }
            3..=11 => {
                let key = some(dice);
                self.advance(key, 1 + dice.below(30) as u64);
                self.write(key, Reason::Evidence, out);
            }
            12 => {
                let key = some(dice);
                let content = &mut self.contents.get_mut(&key).unwrap().content;
                content.name = Some((*b"a.log.1\xff").into());
                if let (true, Some(id)) = (dice.once_in(2), content.id()) {
                    content.place = SavedPlace::InArchive(SavedFile { id, birth: None });
                }
                self.write(key, Reason::Moved, out);
            }
            13 => {
                let key = some(dice);
                let known = self.contents.get_mut(&key).unwrap();
                known.base += 100;
                let content = &mut known.content;
                content.sequence = content.sequence.map(|(id, at)| (id, at + 100));
                self.write(key, Reason::Edited, out);
            }
            14 => {
                let key = some(dice);
                self.contents.remove(&key);
                out.forget(ContentKey(key));
            }
            15 if dice.once_in(3) => {
                let name = Owners::name(dice);
                self.logs.remove(&name);
                self.contents.retain(|_, known| known.log != name);
                out.forget_log((&name.0, &name.1));
            }
            16 => {
                let name = Owners::name(dice);
                let log = SavedLog {
                    time: 1_764_557_000.25,
                    serial: Some(dice.below(9) as u64),
                    contents: Vec::new(),
                    schemes: Scheme::from_text("*.N").into_iter().collect(),
                    attributes: vec![
                        ("host".into(), AttrValue::Text("é\"".into())),
                        ("port".into(), AttrValue::Number("601".into())),
                    ],
                };
                out.log((&name.0, &name.1), &log);
                self.logs.insert(name, log);
            }
            17 => {
                let path = Owners::name(dice).1;
                let before = self.listings.get(&path);
                let mut names: BTreeSet<u64> =
                    before.map_or_else(BTreeSet::new, |l| l.names().collect());
                names.insert(dice.next());
                if dice.once_in(3) {
                    names.pop_first();
                }
                let now = Remembered::restored(names, false);
                out.listing(&path, before, &now);
                self.listings.insert(path, now);
            }
            18 => {
                let stream = ["journald", "other"][dice.below(2)].to_owned();
                let cursor = vec![b'c'; dice.below(40)];
                assert!(out.cursor(&stream, &cursor));
                match cursor.is_empty() {
                    true => self.cursors.remove(&stream),
                    false => self.cursors.insert(stream, cursor),
                };
            }
            _ => match dice.below(3) {
                0 => out.watched(
                    WORKERS[dice.below(2)],
                    Some(2),
                    &[PathBuf::from("/var/log/*.log")],
                ),
                1 => out.export(&dice.next().to_le_bytes()),
                _ => out.clock(
                    1_764_557_000.5 + dice.below(999) as f64,
                    Some(dice.next() >> 8),
                ),
            },
        }
    }
}

/// The bytes of a random history, record by record, and its owners at the end.
pub fn history(dice: &mut Dice, steps: usize) -> (Vec<Vec<u8>>, Owners) {
    let mut owners = Owners::default();
    let mut records = Vec::new();
    for _ in 0..steps {
        let mut out = Records::default();
        owners.step(dice, &mut out);
        records.extend(split(out.bytes()));
    }
    (records, owners)
}

/// Cuts records apart.
pub fn split(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut reading = super::format::Reading::of(bytes);
    let mut all = Vec::new();
    let mut before = bytes;
    while reading.next().is_some() {
        let left = reading.left();
        all.push(before[..before.len() - left.len()].to_vec());
        before = left;
    }
    assert_eq!((reading.wrong(), before), (None, &[][..]));
    all
}

/// The memory after each record of a history.
pub fn states(records: &[Vec<u8>]) -> Vec<Memory> {
    let mut bytes = header(&[0; 16]);
    let mut states = vec![replay(&bytes).memory];
    for record in records {
        bytes.extend(record);
        let replayed = replay(&bytes);
        assert_eq!((replayed.sound, replayed.wrong), (bytes.len(), None));
        states.push(replayed.memory);
    }
    states
}

pub fn path(text: &str) -> &Path {
    Path::new(text)
}
