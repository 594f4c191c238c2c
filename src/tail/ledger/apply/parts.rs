//! A ledger in parts, on the way to the ledgers of other sessions.

use super::super::content::{Content, ContentKey, LogId};
use super::super::decide::{Doubt, Original};
use super::super::mutants::{self, Mutant};
use super::{Family, Ledger};
use crate::tail::names::Scheme;
use std::collections::{BTreeMap, BTreeSet};

/// All that a ledger knows of one log.
#[derive(Debug)]
pub struct Part {
    log: LogId,
    /// Its contents, the oldest first.
    pub contents: Vec<Content>,
    /// The kinds of names that its rotations were seen to give.
    pub schemes: Vec<Scheme>,
    unclear: Vec<ContentKey>,
    /// `None` if it was never looked at.
    family: Option<Option<Box<Family>>>,
}

/// The number of questions that evidence left open so far, by kind.
#[derive(Debug, Default)]
pub struct Doubts(BTreeMap<Doubt, u64>);

impl Ledger {
    /// Takes the ledger apart, in the order of `logs`. What it knows of others is dropped.
    pub fn take_apart(mut self, logs: impl Iterator<Item = LogId>) -> (Vec<Part>, Doubts) {
        let part = |log: LogId| {
            let keys = self.by_log.remove(&log).unwrap_or_default();
            // No room for more: `collect` would make some for four
            let mut contents = Vec::with_capacity(keys.len());
            let all = keys.iter().filter_map(|key| self.contents.remove(key));
            contents.extend(all.map(|content| *content));
            let unclear = keys.iter().filter(|key| self.unclear.contains(key));
            Part {
                log,
                unclear: unclear.copied().collect(),
                schemes: self.schemes.remove(&log).unwrap_or_default(),
                family: self.families.remove(&log),
                contents,
            }
        };
        let parts = logs.map(part).collect();
        (parts, Doubts(self.doubts))
    }

    /// Takes up parts of another ledger; the contents, which keep their keys.
    pub fn join(&mut self, parts: Vec<Part>, doubts: Doubts) -> BTreeSet<ContentKey> {
        for (doubt, count) in doubts.0 {
            *self.doubts.entry(doubt).or_default() += count;
        }
        let mut keys = BTreeSet::new();
        let mut families = Vec::new();
        let mut unclear = Vec::new();
        for part in parts {
            for content in part.contents {
                keys.insert(self.take_up(content, true));
            }
            self.take_up_schemes(part.log, &part.schemes);
            let family = part.family.filter(|_| !mutants::is(Mutant::ReloadForgets));
            families.extend(family.map(|family| (part.log, family)));
            unclear.extend(part.unclear);
        }
        let unclear = unclear.iter().filter(|key| keys.contains(key));
        self.unclear.extend(unclear);
        for (root, mut family) in families {
            if let Some(family) = &mut family {
                // The next look finds out what another one is a copy of
                family.copies.retain(|_, copy| match &copy.of {
                    Original::Known(key) => keys.contains(key),
                    Original::New(_) => true,
                });
            }
            self.families.insert(root, family);
        }
        keys
    }

    /// A batch with text of this content will not be sent: it is read again from what is settled on. By how much
    /// the position moves back, in bytes. The numbers stay.
    pub fn go_back(&mut self, key: ContentKey) -> u64 {
        let Some(content) = self.contents.get_mut(&key) else {
            return 0;
        };
        let by = content.read.saturating_sub(content.settled);
        content.read = content.settled;
        by
    }
}
