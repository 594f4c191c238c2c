//! The records that an agent writes down, in the order in which it does, as the journal keeps them: each is there as a
//! whole or not at all. The records since the last sync may be lost with the power, from any one on.

use super::world::Seen;
use crate::tail::ledger::apply::Ledger;
use crate::tail::ledger::content::{ContentKey, LogId, Phase, SequenceId};
use crate::tail::ledger::mutants::{self, Mutant};
use crate::tail::ledger::observe::Remembered;
use crate::tail::ledger::record::SavedContent;
use crate::tail::names::Scheme;
use std::collections::BTreeMap;

enum Record {
    Content(ContentKey, LogId, Box<SavedContent>),
    Forgotten(ContentKey),
    Schemes(LogId, Vec<Scheme>),
    Listing(LogId, Remembered),
    /// All that comes with an answer of the server is written down, for these lines.
    Settled(Vec<u32>),
    /// All is written down that looks have seen so far.
    Seen(Box<Seen>),
}

/// The journal of a world.
#[derive(Default)]
pub struct Records {
    contents: BTreeMap<ContentKey, (LogId, SavedContent)>,
    schemes: BTreeMap<LogId, Vec<Scheme>>,
    listings: BTreeMap<LogId, Remembered>,
    seen: Seen,
    unsynced: Vec<Record>,
}

impl Records {
    /// Writes down what has changed, as `tail/save.rs` does.
    pub fn write(&mut self, ledger: &mut Ledger, durably: bool, settled: Vec<u32>, seen: &Seen) {
        let changes = ledger.take_changes();
        for log in &changes.logs {
            let schemes = ledger.schemes(*log).to_vec();
            self.unsynced.push(Record::Schemes(*log, schemes));
        }
        for (key, _) in ledger.in_order(&changes) {
            ledger.reserve(key);
            self.unsynced.push(match ledger.get(key) {
                Some(content) => {
                    let mut content = content.clone();
                    if mutants::is(Mutant::SentIsSettled) {
                        content.settled = content.read;
                    }
                    // With its name, whatever its log's is
                    Record::Content(key, content.log, Box::new(SavedContent::of(&content, b"")))
                }
                None => Record::Forgotten(key),
            });
        }
        for root in changes.listings.keys() {
            let listing = ledger.listing(*root).cloned();
            let listing = listing.map(|listing| Record::Listing(*root, listing));
            self.unsynced.extend(listing);
        }
        self.unsynced.push(Record::Settled(settled));
        self.unsynced.push(Record::Seen(Box::new(seen.clone())));
        if durably {
            self.sync();
        }
    }

    fn sync(&mut self) {
        for record in std::mem::take(&mut self.unsynced) {
            match record {
                Record::Content(key, log, content) => {
                    self.contents.insert(key, (log, *content));
                }
                Record::Forgotten(key) => {
                    self.contents.remove(&key);
                }
                Record::Schemes(log, schemes) => {
                    self.schemes.insert(log, schemes);
                }
                Record::Listing(root, listing) => {
                    self.listings.insert(root, listing);
                }
                Record::Settled(_) => {}
                Record::Seen(seen) => self.seen = *seen,
            }
        }
    }

    /// The number of records that are not synced.
    pub fn unsynced(&self) -> usize {
        self.unsynced.len()
    }

    /// All records are lost but the first ones of those that are not synced. The lines whose answers are lost.
    pub fn keep(&mut self, unsynced: usize) -> Vec<u32> {
        let lost = self.unsynced.split_off(unsynced);
        self.sync();
        let settled = lost.into_iter().filter_map(|record| match record {
            Record::Settled(lines) => Some(lines),
            _ => None,
        });
        settled.flatten().collect()
    }

    /// Returns all that looks had seen when the last whole group of records was written.
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// The ledger of an agent that starts with this, as `tail/restore.rs` makes it.
    pub fn ledger(&self, is_followed: impl Fn(LogId) -> bool) -> Ledger {
        let mut ledger = Ledger::default();
        self.take_up(&mut ledger, is_followed);
        // A family that was looked at and remembers nothing has no record of a listing
        let listing = self.listings.get(&LogId(0)).cloned();
        ledger.take_up_listing(LogId(0), listing.unwrap_or_default());
        ledger
    }

    /// Has a ledger take up all that is written down of some logs.
    pub fn take_up(&self, ledger: &mut Ledger, is_followed: impl Fn(LogId) -> bool) {
        let contents = self.contents.iter();
        let mut contents: Vec<_> = contents.filter(|(_, (log, _))| is_followed(*log)).collect();
        contents.sort_by_key(|(key, (_, content))| (content.phase == Phase::Shown, **key));
        for (key, (log, content)) in contents {
            let mut none = || SequenceId([0; 16]);
            ledger.take_up(content.content(*key, *log, b"", &mut none), true);
        }
        for (log, schemes) in self.schemes.iter().filter(|(log, _)| is_followed(**log)) {
            ledger.take_up_schemes(*log, schemes);
        }
    }
}
