//! From the bytes of a journal to what they remember, and back.

use super::super::ledger::record::{Saved, SavedContent, SavedLog};
use super::super::ledger::{ContentKey, Phase, Remembered};
use super::format::{self, read_header, seconds, Listing, Reading, Reason, Record, Records};
use crate::util::sort;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

/// All that a journal remembers.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Memory {
    /// The logs and their contents, each of which has a key that no other one has. The patterns in it are
    /// those of all workers, and `sessions` is never known: [`watched`](Memory::watched) has both.
    pub saved: Saved,
    /// By worker, how many sessions share its files, and the patterns that they follow.
    pub watched: BTreeMap<String, (Option<u64>, Vec<PathBuf>)>,
    /// By stream.
    pub cursors: BTreeMap<String, Vec<u8>>,
    /// The id of the checkpoint files that were exported last.
    pub export: Option<Vec<u8>>,
}

/// The result of reading a journal.
#[derive(Debug, Clone, PartialEq)]
pub struct Replayed {
    /// All that is remembered at the end of the sound part.
    pub memory: Memory,
    /// The length of the sound part in bytes.
    pub sound: usize,
    /// Why the bytes that follow are no record; `None` where only zeros do.
    pub wrong: Option<&'static str>,
}

/// Reads a whole file. Nothing of a file whose first bytes are wrong is sound: no file of ours is ever empty, as it is synced
/// before it gets its name.
///
/// It takes time and memory in proportion to the length of `bytes`, whatever they are: at most about 40 bytes
/// of memory for each.
pub fn replay(bytes: &[u8]) -> Replayed {
    let mut state = State::default();
    let wrong = read_header(bytes).err();
    if wrong.is_some() {
        return Replayed {
            memory: state.finish(),
            sound: 0,
            wrong,
        };
    }
    let mut reading = Reading::of(&bytes[format::HEADER..]);
    for record in &mut reading {
        state.apply(record);
    }
    Replayed {
        sound: bytes.len() - reading.left().len(),
        wrong: reading.wrong(),
        memory: state.finish(),
    }
}

/// A content, the number of its log, and its place in the order in which contents came, or were rotated away.
type Known = (u32, usize, SavedContent);

/// The sum of the records that were read so far.
#[derive(Default)]
struct State {
    clock: (u64, Option<u64>),
    /// The number of each log in `logs`.
    numbers: BTreeMap<(String, PathBuf), u32>,
    /// Without contents. One that was forgotten stays here, with contents that nobody asks for any more: to
    /// look for these at once would take time in proportion to all contents.
    logs: Vec<SavedLog>,
    contents: HashMap<ContentKey, Known>,
    came: usize,
    /// The hashes, whether there were more, and whether not all could be judged.
    listings: BTreeMap<PathBuf, (BTreeSet<u64>, bool, bool)>,
    watched: BTreeMap<String, (Option<u64>, Vec<PathBuf>)>,
    cursors: BTreeMap<String, Vec<u8>>,
    export: Option<Vec<u8>>,
}

impl State {
    /// The number of a log, which exists from here on.
    fn log(&mut self, worker: String, path: PathBuf) -> u32 {
        let next = self.logs.len() as u32;
        let number = *self.numbers.entry((worker, path)).or_insert(next);
        if number == next {
            self.logs.push(SavedLog::default());
        }
        number
    }

    fn touch(&mut self, number: u32) {
        if let Some(log) = self.logs.get_mut(number as usize) {
            (log.time, log.serial) = (seconds(self.clock.0), self.clock.1);
        }
    }

    fn apply(&mut self, record: Record) {
        match record {
            Record::Content {
                worker,
                path,
                content,
                ..
            } => {
                let Some(key) = content.key else { return };
                let number = self.log(worker, path);
                self.came += 1;
                let came = match self.contents.get(&key) {
                    // One that was rotated away is younger than those that were found beside it
                    Some((log, came, known))
                        if *log == number
                            && (known.phase != Phase::Shown || content.phase == Phase::Shown) =>
                    {
                        *came
                    }
                    _ => self.came,
                };
                self.contents.insert(key, (number, came, *content));
                self.touch(number);
            }
            Record::Commit(commit) => {
                let Some((number, _, content)) = self.contents.get_mut(&commit.key) else {
                    return;
                };
                let number = *number;
                if let Some((_, at)) = &mut content.sequence {
                    *at = at
                        .wrapping_sub(content.settled)
                        .wrapping_add(commit.settled);
                }
                content.settled = commit.settled;
                content.numbered = commit.numbered;
                content.length = commit.length;
                if let Some(tip) = &commit.tip {
                    content.evidence.take_in(tip);
                }
                self.touch(number);
            }
            Record::Log { worker, path, log } => {
                let number = self.log(worker, path);
                self.logs[number as usize] = log;
            }
            Record::Forgotten(key) => {
                self.contents.remove(&key);
            }
            Record::LogForgotten(worker, path) => {
                self.numbers.remove(&(worker, path));
            }
            Record::Listing(listing) => self.listing(listing),
            Record::Watched {
                worker,
                sessions,
                patterns,
            } => {
                self.watched.insert(worker, (sessions, patterns));
            }
            Record::Cursor(stream, cursor) if cursor.is_empty() => {
                self.cursors.remove(&stream);
            }
            Record::Cursor(stream, cursor) => {
                self.cursors.insert(stream, cursor);
            }
            Record::Export(id) => self.export = Some(id),
            Record::Clock(micros, serial) => self.clock = (micros, serial),
            Record::Other(_) => {}
        }
    }

    fn listing(&mut self, listing: Listing) {
        let (names, overflown, is_open) = self.listings.entry(listing.path).or_default();
        if listing.replaces {
            names.clear();
        }
        for name in &listing.removed {
            names.remove(name);
        }
        names.extend(listing.added);
        (*overflown, *is_open) = (listing.overflown, listing.is_open);
    }

    fn finish(mut self) -> Memory {
        let mut contents: Vec<Known> = self.contents.into_values().collect();
        sort::by(&mut contents, |a, b| {
            let last = |known: &Known| (known.2.phase == Phase::Shown, known.1);
            last(a).cmp(&last(b))
        });
        for (number, _, content) in contents {
            if let Some(log) = self.logs.get_mut(number as usize) {
                log.contents.push(content);
            }
        }
        let logs = &mut self.logs;
        let logs = self.numbers.into_iter().filter_map(|(name, number)| {
            Some((name, std::mem::take(logs.get_mut(number as usize)?)))
        });
        let logs = sort::gathered(logs);
        let remembered = self.listings.into_iter().filter_map(|(path, listing)| {
            let (names, overflown, is_open) = listing;
            let mut listing = Remembered::restored(names, overflown);
            if is_open {
                listing.leave_open();
            }
            (!listing.is_empty()).then_some((path, listing))
        });
        let remembered = sort::gathered(remembered);
        Memory {
            saved: Saved {
                time: seconds(self.clock.0),
                serial: self.clock.1,
                logs,
                watched: all_patterns(&self.watched),
                sessions: None,
                export: None,
                remembered,
            },
            watched: self.watched,
            cursors: self.cursors,
            export: self.export,
        }
    }
}

/// The patterns of all workers, each once.
fn all_patterns(watched: &BTreeMap<String, (Option<u64>, Vec<PathBuf>)>) -> Option<Vec<PathBuf>> {
    let all = watched.values().flat_map(|(_, patterns)| patterns);
    let mut seen = HashSet::new();
    let all = all.filter(|pattern| seen.insert(*pattern)).cloned();
    (!watched.is_empty()).then(|| all.collect())
}

fn last_key(saved: &Saved) -> u64 {
    let all = saved.logs.values().flat_map(|log| &log.contents);
    let keys = all.filter_map(|content| Some(content.key?.0));
    // No count comes that far, but a file may say anything
    keys.filter(|key| key >> 63 == 0).max().unwrap_or(0)
}

impl Memory {
    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        *self == Memory::default()
    }

    /// Of checkpoint files. Contents without a key, or with one that another content has as well, get one of
    /// their own: each session counted for itself, and other agents do not count.
    pub fn of(mut saved: Saved) -> Memory {
        let mut watched = BTreeMap::new();
        if let Some(patterns) = saved.watched.clone() {
            // They do not say whose they are
            watched.insert(String::new(), (saved.sessions.take(), patterns));
        }
        let mut last = last_key(&saved);
        let mut seen = BTreeSet::new();
        for log in saved.logs.values_mut() {
            for content in &mut log.contents {
                let own = content.key.filter(|key| key.0 > 0 && seen.insert(*key));
                content.key = own.or_else(|| {
                    last += 1;
                    Some(ContentKey(last))
                });
            }
        }
        Memory {
            watched,
            saved,
            ..Memory::default()
        }
    }

    /// The greatest key of a content that this agent can have given; 0 if there is none. New keys follow it.
    pub fn last_key(&self) -> u64 {
        last_key(&self.saved)
    }

    /// Records from which a reader makes the same again.
    pub fn records(&self) -> Records {
        let mut out = Records::default();
        let saved = &self.saved;
        out.clock(saved.time, saved.serial);
        for ((worker, path), log) in &saved.logs {
            let name = (worker.as_str(), path.as_path());
            for content in &log.contents {
                out.content(Reason::Kept, name, content);
            }
            // After the contents, which have the time of the clock
            out.log(name, log);
        }
        for (path, listing) in &saved.remembered {
            out.listing(Path::new(path), None, listing);
        }
        for (worker, (sessions, patterns)) in &self.watched {
            out.watched(worker, *sessions, patterns);
        }
        for (stream, cursor) in &self.cursors {
            out.cursor(stream, cursor);
        }
        if let Some(id) = &self.export {
            out.export(id);
        }
        out
    }
}
