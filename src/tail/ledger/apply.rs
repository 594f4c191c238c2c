//! The ledger: the one writer of contents.
//!
//! Numbers only move forward. A position moves back for one reason, that the file was edited or
//! shortened below it, and then the base of the numbers grows by at least as much. What is here must be
//! on disk before the next byte of a changed content leaves; [`Ledger::is_durable`] says whether it is.

use super::content::{
    Content, ContentKey, LogId, Moment, Numbers, Phase, Place, SequenceId, Trust,
};
use super::decide::{Born, Change, Copied, Decision, Doubt, Hidden, Known, Original, Sight};
use super::evidence::Evidence;
use super::naming::{Policy, Rotation};
use super::observe::Remembered;
use crate::tail::identity::FileId;
use crate::tail::names::Scheme;
use std::collections::{BTreeMap, BTreeSet};

/// The contents of a folder's logs.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    contents: BTreeMap<ContentKey, Content>,
    schemes: BTreeMap<LogId, Vec<Scheme>>,
    remembered: Option<Remembered>,
    copies: BTreeMap<Box<[u8]>, Copied>,
    hidden: BTreeMap<Box<[u8]>, Hidden>,
    pending: BTreeSet<FileId>,
    doubts: BTreeMap<Doubt, u64>,
    /// Their place can't be read at the moment.
    unclear: BTreeSet<ContentKey>,
    last_key: u64,
    /// Changed since it was last written down.
    changed: bool,
}

/// A part of a content that went into a batch.
#[derive(Debug, Clone)]
pub struct Span {
    /// Of this content.
    pub key: ContentKey,
    /// Where it ends, in bytes.
    pub to: u64,
    edition: u16,
}

impl Ledger {
    /// The ledger that an earlier process has written down. Nothing is read before a look has seen it, and then
    /// from what was settled on.
    pub fn restored(&self) -> Ledger {
        let mut ledger = self.clone();
        ledger.hidden.clear();
        for copy in ledger.copies.values_mut() {
            copy.since = Moment(0);
        }
        for content in ledger.contents.values_mut() {
            content.trust = Trust::Restored;
            match content.place {
                // It may have had a name that could not be read
                Place::Unlinked(ref at) => content.place = Place::At(at.clone()),
                Place::InMemory => nowhere(content, Moment(0)),
                Place::Nowhere { ref mut since, .. } => *since = Moment(0),
                Place::At(_) | Place::InArchive(_) => {}
            }
        }
        ledger
    }

    /// The knowledge that a look is compared with.
    pub fn known(&self, now: Moment) -> Known<'_> {
        Known {
            contents: &self.contents,
            schemes: &self.schemes,
            remembered: self.remembered.as_ref(),
            copies: &self.copies,
            hidden: &self.hidden,
            pending: &self.pending,
            unclear: &self.unclear,
            now,
        }
    }

    /// The contents, by key.
    pub fn contents(&self) -> &BTreeMap<ContentKey, Content> {
        &self.contents
    }

    /// The number of questions that evidence left open, by kind.
    pub fn doubts(&self) -> &BTreeMap<Doubt, u64> {
        &self.doubts
    }

    /// Whether all of it was written down.
    pub fn is_durable(&self) -> bool {
        !self.changed
    }

    /// It was written down.
    pub fn written(&mut self) {
        self.changed = false;
    }

    /// Takes in what a look has found out. `sequence` makes ids.
    pub fn apply(
        &mut self,
        decision: Decision,
        policy: &dyn Policy,
        now: Moment,
        sequence: &mut dyn FnMut() -> SequenceId,
    ) {
        for (doubt, count) in decision.doubts {
            *self.doubts.entry(doubt).or_default() += u64::from(count);
        }
        for (log, scheme) in decision.schemes {
            self.note_scheme(log, scheme);
        }
        self.unclear = decision.unclear;
        self.copies = decision.copies;
        self.hidden = decision.hidden;
        self.pending = decision.pending;
        self.remembered = Some(decision.remembered);
        self.changed |= !decision.changes.is_empty();
        for change in decision.changes {
            match change {
                Change::Seen(key, sight) => self.seen(key, sight, policy, now),
                Change::Edited(key, upto, sight) => {
                    if let Some(content) = self.contents.get_mut(&key) {
                        edited(content, upto);
                    }
                    self.seen(key, sight, policy, now);
                }
                Change::Owned(key, log) => {
                    if let Some(content) = self.contents.get_mut(&key) {
                        content.log = log;
                    }
                }
                Change::Born(born) => self.born(born, policy, now, sequence()),
                Change::Vanished(key) => self.vanished(key, now),
            }
        }
    }

    fn born(&mut self, born: Born, policy: &dyn Policy, now: Moment, sequence: SequenceId) {
        self.last_key += 1;
        let key = ContentKey(self.last_key);
        let content = Content {
            key,
            log: born.log,
            stamp: born.sight.stat.stamp,
            numbers: Numbers { sequence, base: 0 },
            settled: born.start,
            read: born.start,
            numbered: born.start,
            evidence: Evidence::default(),
            length: 0,
            place: Place::InMemory,
            phase: Phase::Draining,
            trust: Trust::Verified,
            edition: 0,
            edited_at: 0,
        };
        let id = born.sight.stat.id;
        for copy in self
            .copies
            .values_mut()
            .filter(|copy| copy.of == Original::New(id))
        {
            copy.of = Original::Known(key);
        }
        self.contents.insert(key, content);
        self.seen(key, born.sight, policy, now);
    }

    /// The content lies where this says.
    fn seen(&mut self, key: ContentKey, sight: Sight, policy: &dyn Policy, now: Moment) {
        if let Some(at) = sight.place.file() {
            let at_id = at.id;
            let others = self.contents.values_mut().filter(|c| c.key != key);
            for other in others.filter(|c| c.place.location() == Some(at_id)) {
                // One file holds one content
                nowhere(other, now);
            }

            // Where a wildcard has rotated files as logs of their own, they tell of the first one's
            if let Some(rotation) = Rotation::of_any(&at.name, policy) {
                self.note_scheme(rotation.log, rotation.scheme);
            }
        }
        let Some(content) = self.contents.get_mut(&key) else {
            return;
        };
        if content.trust == Trust::Restored {
            content.read = content.settled;
        }
        content.trust = Trust::Verified;
        content.stamp = sight.stat.stamp;
        if let Some(text) = sight.text {
            content.evidence = text;
        } else if let Some(head) = sight.head {
            content.evidence.set_head(head);
        }
        let is_archive = matches!(sight.place, Place::InArchive(_));
        let moved = content.place.location() != sight.place.location();
        content.place = sight.place;
        if !is_archive {
            content.length = sight.stat.length;
        }
        // A late writer may have written before the file was compressed
        let has_more = match is_archive {
            true => moved,
            false => content.length > content.settled,
        };
        content.phase = match content.phase {
            _ if sight.shown => Phase::Shown,
            Phase::Finished if !has_more => Phase::Finished,
            _ => Phase::Draining,
        };
    }

    fn note_scheme(&mut self, log: LogId, scheme: Scheme) {
        let schemes = self.schemes.entry(log).or_default();
        if !schemes.contains(&scheme) {
            schemes.push(scheme);
        }
    }

    fn vanished(&mut self, key: ContentKey, now: Moment) {
        let Some(content) = self.contents.get_mut(&key) else {
            return;
        };
        if content.evidence.is_empty() {
            // Nothing could tell it from others, should it come back
            self.contents.remove(&key);
            return;
        }
        nowhere(content, now);
        content.length = content.read;
        content.phase = Phase::Draining;
    }

    /// Whether a content may be read where it lies.
    pub fn is_readable(&self, key: ContentKey) -> bool {
        let content = self.contents.get(&key);
        content.is_some_and(|c| {
            c.trust == Trust::Verified && c.has_unread() && !self.unclear.contains(&key)
        })
    }

    /// A page was read into a batch: whole lines. `lead` is what lies before it, at least
    /// [`BLOCK`](super::evidence::BLOCK) bytes if there are so many.
    pub fn advance(&mut self, key: ContentKey, lead: &[u8], page: &[u8]) -> Option<Span> {
        let content = self.contents.get_mut(&key)?;
        content.evidence.advance(content.read, lead, page);
        content.read += page.len() as u64;
        content.numbered = content.numbered.max(content.read);
        content.length = content.length.max(content.read);
        self.changed = true;
        Some(Span {
            key,
            to: content.read,
            edition: content.edition,
        })
    }

    /// The reader met text that disagrees.
    pub fn suspect(&mut self, key: ContentKey) {
        if let Some(content) = self.contents.get_mut(&key) {
            content.trust = Trust::Suspect;
        }
    }

    /// The server has a span, or refuses it for good.
    pub fn settle(&mut self, span: &Span) {
        let Some(content) = self.contents.get_mut(&span.key) else {
            return;
        };
        // Text that an edit brought in after the span was read is not what the server has
        let to = match content.edition.wrapping_sub(span.edition) {
            0 => span.to,
            1 => span.to.min(content.edited_at),
            _ => return,
        };
        if to > content.settled {
            content.settled = to;
            self.changed = true;
            self.finish(span.key, false);
        }
    }

    /// A content whose path shows something else is over once it was read to its end and settled. Only
    /// reading an archive shows where that end is.
    pub fn finish(&mut self, key: ContentKey, at_end: bool) {
        let Some(content) = self.contents.get_mut(&key) else {
            return;
        };
        let all = match content.place {
            Place::InArchive(_) => at_end,
            Place::At(_) | Place::Unlinked(_) | Place::InMemory | Place::Nowhere { .. } => {
                content.length <= content.settled
            }
        };
        if all && content.read == content.settled && content.phase == Phase::Draining {
            content.phase = Phase::Finished;
            self.changed = true;
        }
    }

    /// Forgets contents that no listing has shown for `delay` milliseconds, and the oldest of them beyond
    /// twice the folder's `files`. Only to be called after a listing that succeeded. `keep` says of
    /// which logs the last content stays: those with a literal path.
    pub fn forget(&mut self, now: Moment, delay: u64, files: usize, keep: &dyn Fn(LogId) -> bool) {
        let mut last = BTreeMap::new();
        for content in self.contents.values() {
            last.insert(content.log, content.key);
        }
        let mut absent: Vec<(Moment, ContentKey)> = Vec::new();
        for content in self.contents.values() {
            if let Place::Nowhere { since, .. } = content.place {
                let is_last = keep(content.log) && last.get(&content.log) == Some(&content.key);
                if !is_last && !self.unclear.contains(&content.key) {
                    absent.push((since, content.key));
                }
            }
        }
        absent.sort();
        let beyond = absent.len().saturating_sub(2 * files.max(1));
        for (at, (since, key)) in absent.iter().enumerate() {
            if at < beyond || now.0.saturating_sub(since.0) > delay {
                self.contents.remove(key);
                self.changed = true;
            }
        }
    }
}

fn nowhere(content: &mut Content, since: Moment) {
    let name = content.place.last_name().into();
    content.place = Place::Nowhere { since, name };
}

/// The text is as it was up to this offset, and new from there on. All numbers that were given for text
/// after it lie below the ones that follow.
fn edited(content: &mut Content, upto: u64) {
    let resume = match content.trust {
        Trust::Restored => content.settled,
        Trust::Verified | Trust::Suspect => content.read,
    };
    let resume = resume.min(upto);
    if resume >= content.numbered {
        return;
    }
    let back = resume.min(content.settled);
    content.numbers.base = content.numbers.base.wrapping_add(content.numbered - back);
    content.edition = content.edition.wrapping_add(1);
    content.edited_at = resume;
    content.numbered = resume;
    content.read = resume;
    content.settled = back;
}
