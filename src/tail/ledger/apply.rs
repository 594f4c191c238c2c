//! The ledger: the one writer of contents.
//!
//! Numbers only move forward. A position moves back for one reason, that the file was edited or
//! shortened below it, and then the base of the numbers grows by at least as much. What is here must be
//! on disk before the next byte of a changed content leaves; [`Ledger::is_durable`] says whether it is.

mod changes;
mod notes;
mod parts;

pub use changes::{keep_key, Changes};
pub use notes::{Note, Span};
pub use parts::{Doubts, Part};

use changes::{next_key, GREATEST_KEY};

use super::content::{
    Content, ContentKey, LogId, Moment, Numbers, Phase, Place, SequenceId, Stamp, Trust,
};
use super::decide::{Born, Change, Copied, Decision, Doubt, Hidden, Known, Original, Sight};
use super::evidence::Evidence;
use super::mutants::{self, Mutant};
use super::naming::{Policy, Rotation};
use super::observe::Remembered;
use super::record::Reason;
use crate::tail::identity::FileId;
use crate::tail::names::Scheme;
use crate::util::sort;
use std::collections::{BTreeMap, BTreeSet};

/// The contents of a session's logs.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    contents: BTreeMap<ContentKey, Box<Content>>,
    /// Each list has no room to spare: most logs have one content.
    by_log: BTreeMap<LogId, Vec<ContentKey>>,
    /// One file holds one content, and one more for each further family of which a path shows it: both names of
    /// a link are followed.
    by_file: BTreeSet<(FileId, ContentKey)>,
    schemes: BTreeMap<LogId, Vec<Scheme>>,
    /// By the root of each family that was looked at. `None`: there was nothing to remember.
    families: BTreeMap<LogId, Option<Box<Family>>>,
    doubts: BTreeMap<Doubt, u64>,
    /// Their place can't be read at the moment.
    unclear: BTreeSet<ContentKey>,
    changes: Changes,
    /// Something that has to be on disk before the next byte leaves.
    undurable: bool,
}

/// The findings of the last look at the files that a log and its rotations name.
#[derive(Debug, Clone, Default, PartialEq)]
struct Family {
    /// `None` before the first look.
    remembered: Option<Remembered>,
    copies: BTreeMap<Box<[u8]>, Copied>,
    hidden: BTreeMap<Box<[u8]>, Hidden>,
}

impl Family {
    /// One that was looked at and has nothing to remember.
    fn plain() -> Family {
        Family {
            remembered: Some(Remembered::default()),
            ..Family::default()
        }
    }
}

/// The part of the ledger that a look is about: a family's contents, and those of others that lie in files
/// which the look sees. A copy, so that nothing waits for the look's I/O.
#[derive(Debug, Default)]
pub struct Scope {
    root: LogId,
    contents: BTreeMap<ContentKey, Content>,
    /// Those of other families.
    visitors: BTreeSet<ContentKey>,
    schemes: BTreeMap<LogId, Vec<Scheme>>,
    family: Family,
    unclear: BTreeSet<ContentKey>,
    now: Moment,
}

impl Scope {
    /// The knowledge that the look is compared with.
    pub fn known(&self) -> Known<'_> {
        Known {
            contents: &self.contents,
            schemes: &self.schemes,
            remembered: self.family.remembered.as_ref(),
            copies: &self.family.copies,
            hidden: &self.family.hidden,
            unclear: &self.unclear,
            now: self.now,
        }
    }
}

impl Ledger {
    /// Takes up a content that an earlier process has written down. Its key, if it has none, is made.
    /// `is_written`: it stands in the journal as it is here.
    pub fn take_up(&mut self, mut content: Content, is_written: bool) -> ContentKey {
        let has_key = (1..GREATEST_KEY).contains(&content.key.0);
        if !has_key || self.contents.contains_key(&content.key) {
            content.key = next_key();
        }
        keep_key(content.key);
        let (key, log) = (content.key, content.log);
        if let Some(id) = content.place.location() {
            self.by_file.insert((id, key));
        }
        self.list(log, key, usize::MAX);
        self.contents.insert(key, Box::new(content));
        if !(is_written && has_key) {
            self.note(key, Reason::Born);
            self.undurable = true;
        }
        key
    }

    /// Something of a content changed. Reading on is the least reason of all.
    fn note(&mut self, key: ContentKey, why: Reason) {
        let reason = self.changes.contents.entry(key).or_insert(why);
        if *reason == Reason::Evidence {
            *reason = why;
        }
    }

    /// Takes up the kinds of names that rotations of a log were seen to give.
    pub fn take_up_schemes(&mut self, log: LogId, schemes: &[Scheme]) {
        for scheme in schemes {
            self.note_scheme(log, scheme.clone());
        }
    }

    /// Takes up the remembered listing of a family.
    pub fn take_up_listing(&mut self, root: LogId, remembered: Remembered) {
        let family = Family {
            remembered: Some(remembered),
            ..self.family(root)
        };
        self.set_family(root, family);
    }

    fn family(&self, root: LogId) -> Family {
        match self.families.get(&root) {
            None => Family::default(),
            Some(None) => Family::plain(),
            Some(Some(family)) => Family::clone(family),
        }
    }

    fn set_family(&mut self, root: LogId, family: Family) {
        if family == Family::default() {
            self.families.remove(&root);
        } else {
            let says_more = family != Family::plain();
            self.families
                .insert(root, says_more.then(|| Box::new(family)));
        }
    }

    /// Copies what a look at the family of `root` needs: the contents of `logs`, which are its logs, and those
    /// that lie in `files`, but for such that the path of a log of another family `shows`.
    pub fn scope(
        &self,
        root: LogId,
        logs: &[LogId],
        files: &[FileId],
        shows: &dyn Fn(&Content) -> bool,
        now: Moment,
    ) -> Scope {
        let mut scope = Scope {
            root,
            now,
            family: self.family(root),
            ..Scope::default()
        };
        for log in logs {
            let known = self.schemes.get(log);
            scope.schemes.extend(known.map(|all| (*log, all.clone())));
            for key in self.of_log(*log) {
                scope
                    .contents
                    .extend(self.get(*key).map(|c| (*key, c.clone())));
            }
        }
        for content in files.iter().flat_map(|id| self.in_file(*id)) {
            let key = content.key;
            if !scope.contents.contains_key(&key) && !shows(content) {
                scope.contents.insert(key, content.clone());
                scope.visitors.insert(key);
            }
        }
        let unclear = self.unclear.iter().copied();
        scope.unclear = sort::gathered(unclear.filter(|key| scope.contents.contains_key(key)));
        scope
    }

    /// The contents, by key.
    #[cfg(test)]
    pub fn contents(&self) -> &BTreeMap<ContentKey, Box<Content>> {
        &self.contents
    }

    /// All logs that have contents.
    #[cfg(test)]
    pub fn logs(&self) -> Vec<LogId> {
        self.by_log.keys().copied().collect()
    }

    /// The content with this key.
    pub fn get(&self, key: ContentKey) -> Option<&Content> {
        self.contents.get(&key).map(Box::as_ref)
    }

    /// The content with this key, to be read on.
    pub fn get_mut(&mut self, key: ContentKey) -> Option<&mut Content> {
        self.contents.get_mut(&key).map(Box::as_mut)
    }

    /// The contents of a log, the oldest first.
    pub fn of_log(&self, log: LogId) -> &[ContentKey] {
        self.by_log.get(&log).map_or(&[], Vec::as_slice)
    }

    /// The content that the path of a log shows.
    pub fn shown(&self, log: LogId) -> Option<&Content> {
        let keys = self.of_log(log).iter().rev();
        let mut all = keys.filter_map(|key| self.get(*key));
        all.find(|content| content.phase == Phase::Shown)
    }

    /// The contents that lie in a file, as far as the last look knows: several only if the paths of several logs
    /// lead to it.
    pub fn in_file(&self, id: FileId) -> impl Iterator<Item = &Content> {
        let all = (id, ContentKey(0))..=(id, ContentKey(u64::MAX));
        let keys = self.by_file.range(all);
        keys.filter_map(|(_, key)| self.get(*key))
    }

    /// The number of questions that evidence left open, by kind.
    pub fn doubts(&self) -> &BTreeMap<Doubt, u64> {
        &self.doubts
    }

    /// Whether all of it was written down that has to be before a byte leaves.
    pub fn is_durable(&self) -> bool {
        !self.undurable || mutants::is(Mutant::Unsynced)
    }

    /// Something else of a log than its contents changed.
    pub fn note_log(&mut self, log: LogId) {
        self.changes.logs.insert(log);
    }

    /// The remembered listing of the family of `root`, if it was looked at and is not lost.
    pub fn listing(&self, root: LogId) -> Option<&Remembered> {
        static NONE: Remembered = Remembered::none();
        match self.families.get(&root)? {
            None => Some(&NONE),
            Some(family) => family.remembered.as_ref(),
        }
    }

    /// Takes what was not written down yet.
    pub fn take_changes(&mut self) -> Changes {
        std::mem::take(&mut self.changes)
    }

    /// The contents that changed, in the order in which they are to be written down: those of a log from the oldest on, as
    /// the next start reads them in this order, and those that paths of logs show last. Should these records be lost,
    /// the next start finds that a path shows another content, and judges again what came with it.
    pub fn in_order(&self, changes: &Changes) -> Vec<(ContentKey, Reason)> {
        let all = changes.contents.iter();
        let mut all: Vec<_> = all.map(|(key, why)| (self.age(*key), *key, *why)).collect();
        sort::by_key(&mut all, |(age, ..)| *age);
        all.into_iter().map(|(_, key, why)| (key, why)).collect()
    }

    /// By this the older one of two contents of a log comes first.
    fn age(&self, key: ContentKey) -> (bool, Option<usize>) {
        let content = self.get(key);
        let is_shown = content.is_some_and(|content| content.phase == Phase::Shown);
        let mut all = content
            .into_iter()
            .flat_map(|content| self.of_log(content.log));
        (is_shown, all.position(|other| *other == key))
    }

    /// The kinds of names that rotations of a log were seen to give.
    pub fn schemes(&self, log: LogId) -> &[Scheme] {
        self.schemes.get(&log).map_or(&[], Vec::as_slice)
    }

    /// The remembered listings that say something, by the root of each family.
    pub fn listings(&self) -> impl Iterator<Item = (LogId, &Remembered)> {
        let all = self.families.iter();
        all.filter_map(|(root, family)| Some((*root, family.as_ref()?.remembered.as_ref()?)))
    }

    /// Makes room for the numbers of text to come in what is about to be written down of a content, and has to be durable
    /// then before they are given out. Not of one of
    /// which nothing was read: that it was never sent must be known, as it is its log's by its name then. And not of a
    /// banner: after a crash the same numbers would go to any text that begins with it.
    pub fn reserve(&mut self, key: ContentKey) {
        let Some(content) = self.contents.get_mut(&key).filter(|c| c.is_begun()) else {
            return;
        };
        let is_read = content.numbered != content.reserved;
        let room = match is_read && content.evidence.is_told() {
            true => RESERVE,
            false => 0,
        };
        if content.reserved < content.numbered.saturating_add(room / 2) {
            content.reserved = content.numbered.saturating_add(room);
            self.undurable = true;
        }
    }

    /// All changes are durable, or can't be made so.
    pub fn is_written(&mut self) {
        self.undurable = false;
    }

    /// Takes in what a look at a scope has found out. `sequence` makes ids.
    pub fn apply(
        &mut self,
        scope: &Scope,
        decision: Decision,
        policy: &dyn Policy,
        sequence: &mut dyn FnMut() -> SequenceId,
    ) -> Vec<Note> {
        for (doubt, count) in decision.doubts {
            *self.doubts.entry(doubt).or_default() += u64::from(count);
        }
        for (log, scheme) in decision.schemes {
            self.note_scheme(log, scheme);
        }
        for key in scope
            .contents
            .keys()
            .filter(|key| !scope.visitors.contains(key))
        {
            self.unclear.remove(key);
            let content = self.contents.get_mut(key);
            if content.is_some_and(|content| std::mem::take(&mut content.was_vague)) {
                self.note(*key, Reason::Evidence);
            }
        }
        let unclear = decision.unclear.into_iter();
        self.unclear
            .extend(unclear.filter(|key| !scope.visitors.contains(key)));
        let family = Family {
            copies: decision.copies,
            hidden: decision.hidden,
            remembered: match decision.is_partial {
                true => {
                    let mut remembered = scope.family.remembered.clone();
                    if let Some(remembered) = &mut remembered {
                        if decision.remembered.is_open() {
                            remembered.leave_open();
                        }
                    }
                    remembered
                }
                false => Some(decision.remembered),
            },
        };
        let before = &scope.family.remembered;
        // A family of which no listing is written down has an empty one
        let says = |listing: &Option<Remembered>| listing.as_ref().is_some_and(|it| !it.is_empty());
        if family.remembered != *before && (says(before) || says(&family.remembered)) {
            let before = before.clone();
            self.changes.listings.entry(scope.root).or_insert(before);
        }
        self.set_family(scope.root, family);
        self.undurable |= !decision.changes.is_empty();
        let mut notes = Vec::new();
        for change in decision.changes {
            match change {
                Change::Seen(key, sight) => self.seen(key, sight, policy, scope, &mut notes),
                Change::Edited(key, upto, sight) => {
                    if let Some(content) = self.contents.get_mut(&key) {
                        let unread = content.length.saturating_sub(content.read);
                        let gone = content.length.saturating_sub(sight.stat.length);
                        edited(content, upto);
                        let from = content.read;
                        self.note(key, Reason::Edited);
                        notes.push(Note::Edited { key, from });
                        let bytes = unread.min(gone);
                        if bytes > 0 && !matches!(sight.place, Place::InArchive(_)) {
                            notes.push(Note::Lost {
                                key,
                                bytes,
                                overwritten: true,
                            });
                        }
                    }
                    self.seen(key, sight, policy, scope, &mut notes);
                }
                Change::Owned(key, log) => {
                    self.owned(key, log);
                    notes.push(Note::Owned { key, log });
                }
                Change::Born(born) => self.born(scope, born, policy, sequence(), &mut notes),
                // Its own family's look will say where it is
                Change::Vanished(key, _) if scope.visitors.contains(&key) => {}
                Change::Vanished(key, overwritten) => {
                    self.vanished(key, overwritten, scope, &mut notes)
                }
            }
        }
        notes
    }

    fn owned(&mut self, key: ContentKey, log: LogId) {
        let Some(content) = self.contents.get_mut(&key) else {
            return;
        };
        let before = std::mem::replace(&mut content.log, log);
        self.unlist(before, key);
        self.list(log, key, usize::MAX);
        self.note(key, Reason::Moved);
    }

    fn born(
        &mut self,
        scope: &Scope,
        born: Born,
        policy: &dyn Policy,
        sequence: SequenceId,
        notes: &mut Vec<Note>,
    ) {
        let key = next_key();
        let content = Content {
            key,
            log: born.log,
            stamp: born.sight.stat.stamp,
            numbers: Numbers { sequence, base: 0 },
            settled: born.start,
            read: born.start,
            numbered: born.start,
            reserved: born.start,
            evidence: Evidence::default(),
            length: 0,
            place: Place::InMemory,
            phase: Phase::Draining,
            trust: Trust::Verified,
            edition: 0,
            edited_at: 0,
            was_vague: false,
            written: None,
        };
        let id = born.sight.stat.id;
        let family = self.families.get_mut(&scope.root).into_iter().flatten();
        for copy in family.flat_map(|family| family.copies.values_mut()) {
            if copy.of == Original::New(id) {
                copy.of = Original::Known(key);
            }
        }
        self.contents.insert(key, Box::new(content));
        self.note(key, Reason::Born);
        // A content that was rotated away unseen is older than the one that the path shows, and than those of which
        // names say so: an earlier look may have found them, and not have been able to read this one
        let rotation = |place: &Place| Rotation::of(born.log, &place.file()?.name, policy);
        let own = rotation(&born.sight.place);
        let is_older = |other: &Content| {
            let its = || rotation(&other.place).filter(|_| !self.unclear.contains(&other.key));
            let by_name = || own.as_ref()?.is_older_than(&its()?);
            other.phase == Phase::Shown || by_name() == Some(true)
        };
        let mut all = self.of_log(born.log).iter();
        let at = all.position(|other| {
            let other = self.contents.get(other);
            !born.sight.shown && other.is_some_and(|other| is_older(other))
        });
        self.list(born.log, key, at.unwrap_or(usize::MAX));
        notes.push(Note::Born {
            key,
            log: born.log,
            skipped: born.skipped.map(|why| (why, born.start)),
            may_repeat: born.may_repeat,
        });
        self.seen(key, born.sight, policy, scope, notes);
    }

    /// The one way in which a content comes to lie elsewhere. What lay there of the same scope does so no more.
    fn relocate(&mut self, key: ContentKey, place: Place, scope: &Scope) {
        let id = place.location();
        let Some(content) = self.contents.get_mut(&key) else {
            return;
        };
        let before = std::mem::replace(&mut content.place, place);
        if let Some(before) = before.location() {
            self.by_file.remove(&(before, key));
        }
        let Some(id) = id else { return };
        let lying = self.in_file(id).map(|content| content.key);
        let displaced: Vec<ContentKey> = lying
            .filter(|other| scope.contents.contains_key(other))
            .collect();
        self.by_file.insert((id, key));
        for other in displaced.into_iter().filter(|other| *other != key) {
            self.by_file.remove(&(id, other));
            if let Some(content) = self.contents.get_mut(&other) {
                nowhere(content, scope.now);
                self.note(other, Reason::Moved);
            }
        }
    }

    /// A content is this log's, and `older` ones come before it.
    fn list(&mut self, log: LogId, key: ContentKey, older: usize) {
        let all = self.by_log.entry(log).or_default();
        all.reserve_exact(1);
        all.insert(older.min(all.len()), key);
    }

    /// A content is this log's no more.
    fn unlist(&mut self, log: LogId, key: ContentKey) {
        if let Some(all) = self.by_log.get_mut(&log) {
            all.retain(|other| *other != key);
            if all.is_empty() {
                self.by_log.remove(&log);
            }
        }
    }

    /// The content lies where this says.
    fn seen(
        &mut self,
        key: ContentKey,
        sight: Sight,
        policy: &dyn Policy,
        scope: &Scope,
        notes: &mut Vec<Note>,
    ) {
        if let Some(at) = sight.place.file() {
            // Where a wildcard has rotated files as logs of their own, they tell of the first one's
            if let Some(rotation) = Rotation::of_any(&at.name, policy) {
                self.note_scheme(rotation.log, rotation.scheme);
            }
        }
        let Some(content) = self.contents.get(&key) else {
            return;
        };
        let moved = content.place.location() != sight.place.location();
        let renamed = moved || content.place.last_name() != sight.place.last_name();
        let is_archive = matches!(sight.place, Place::InArchive(_));
        let before = match content.trust {
            // Most look as they were written down
            Trust::Restored => Some(Content {
                trust: Trust::Verified,
                ..Content::clone(content)
            }),
            Trust::Verified | Trust::Suspect => None,
        };
        self.relocate(key, sight.place, scope);
        let Some(content) = self.contents.get_mut(&key) else {
            return;
        };
        if content.trust == Trust::Restored {
            content.read = content.settled;
        }
        content.trust = Trust::Verified;
        // The next archive may have the inode of the one before
        let moved = moved || content.stamp != sight.stat.stamp;
        content.stamp = sight.stat.stamp;
        if let Some(text) = sight.text {
            content.evidence = text;
        } else if let Some(head) = sight.head {
            content.evidence.set_head(head);
        }
        if is_archive {
            content.length = content.length.max(content.read);
        } else {
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
        if before.as_ref() != Some(content) {
            self.note(key, Reason::Moved);
        }
        // A content that is read to its end and settled is over at once
        self.finish(key, false);
        notes.push(Note::Seen {
            key,
            moved: renamed,
        });
    }

    fn note_scheme(&mut self, log: LogId, scheme: Scheme) {
        let schemes = self.schemes.entry(log).or_default();
        if !schemes.contains(&scheme) {
            schemes.push(scheme);
            self.changes.logs.insert(log);
        }
    }

    fn vanished(
        &mut self,
        key: ContentKey,
        overwritten: bool,
        scope: &Scope,
        notes: &mut Vec<Note>,
    ) {
        let Some(content) = self.contents.get(&key) else {
            return;
        };
        let bytes = content.unread();
        let bytes = if content.is_archive() { 0 } else { bytes };
        notes.push(Note::Lost {
            key,
            bytes,
            overwritten,
        });
        let is_empty = content.evidence.is_empty();
        let name = content.place.last_name().into();
        let since = scope.now;
        self.relocate(key, Place::Nowhere { since, name }, scope);
        self.note(key, Reason::Moved);
        if is_empty || mutants::is(Mutant::AbsentForgotten) {
            // Nothing could tell it from others, should it come back
            self.remove(key);
            notes.push(Note::Forgotten { key });
        } else if let Some(content) = self.contents.get_mut(&key) {
            content.length = content.read;
            content.phase = Phase::Draining;
        }
    }

    /// Forgets a content.
    fn remove(&mut self, key: ContentKey) {
        let Some(content) = self.contents.remove(&key) else {
            return;
        };
        if let Some(id) = content.place.location() {
            self.by_file.remove(&(id, key));
        }
        self.unlist(content.log, key);
        self.unclear.remove(&key);
        self.note(key, Reason::Moved);
    }

    /// Forgets a log with all its contents, which somebody else remembers.
    pub fn forget_log(&mut self, log: LogId) {
        for key in self.of_log(log).to_vec() {
            self.remove(key);
            self.changes.contents.remove(&key);
        }
        self.schemes.remove(&log);
        self.families.remove(&log);
        self.changes.logs.remove(&log);
        self.changes.listings.remove(&log);
    }

    /// Whether nothing could be concluded about a content at the last look.
    pub fn is_unclear(&self, key: ContentKey) -> bool {
        self.unclear.contains(&key)
    }

    /// Whether a content may be read where it lies.
    pub fn is_readable(&self, key: ContentKey) -> bool {
        let content = self.contents.get(&key);
        content.is_some_and(|c| {
            c.trust == Trust::Verified && c.unread() > 0 && !self.unclear.contains(&key)
        })
    }

    /// Reading has moved a content's position. What it has read may be sent once that is on disk, unless
    /// there is room left in what was written down before.
    pub fn has_read(&mut self, key: ContentKey) {
        if let Some(content) = self.contents.get_mut(&key) {
            self.undurable |= content.read > content.reserved;
            self.note(key, Reason::Evidence);
        }
    }

    /// The text of a file that had this stamp was compared, or read, after it had it: it holds this content.
    pub fn confirm(&mut self, key: ContentKey, stamp: Stamp) {
        if let Some(content) = self.contents.get_mut(&key) {
            content.stamp = stamp;
            content.was_vague |= !content.evidence.is_distinct();
        }
    }

    /// A glance has seen a longer file. Its text is not compared before it is read, so that it stays to be proved.
    pub fn has_grown(&mut self, key: ContentKey, length: u64) {
        if let Some(content) = self.contents.get_mut(&key) {
            content.length = length;
            if content.phase == Phase::Finished {
                content.phase = Phase::Draining;
            }
            self.note(key, Reason::Evidence);
        }
    }

    /// The reader met text that disagrees.
    pub fn suspect(&mut self, key: ContentKey) {
        if let Some(content) = self.contents.get_mut(&key) {
            content.trust = Trust::Suspect;
        }
    }

    /// The server has a span, or refuses it for good. By how much the position of what is settled moves, in
    /// bytes.
    pub fn settle(&mut self, span: &Span) -> u64 {
        let Some(content) = self.contents.get_mut(&span.key) else {
            return 0;
        };
        // Text that an edit brought in after the span was read is not what the server has
        let to = match content.edition.wrapping_sub(span.edition) {
            0 => span.to,
            _ if mutants::is(Mutant::EditionIgnored) => span.to,
            1 => span.to.min(content.edited_at),
            _ => return 0,
        };
        let by = to.saturating_sub(content.settled);
        if by > 0 {
            content.settled = to;
            self.note(span.key, Reason::Evidence);
            self.finish(span.key, false);
        }
        by
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
            self.note(key, Reason::Finished);
        }
    }

    /// Forgets contents of these logs that no listing has shown for `delay` milliseconds, and the oldest of
    /// them beyond twice the `files` that a listing shows. Only to be called after a listing that succeeded.
    /// `keep` says of which logs the last content stays: those with a literal path. The contents that are forgotten.
    pub fn forget(
        &mut self,
        logs: &[LogId],
        now: Moment,
        delay: u64,
        files: usize,
        keep: &dyn Fn(LogId) -> bool,
    ) -> Vec<ContentKey> {
        let mut absent: Vec<(Moment, ContentKey)> = Vec::new();
        for log in logs {
            let all = self.of_log(*log);
            let last = all.last().filter(|_| keep(*log));
            for key in all.iter().filter(|key| Some(*key) != last) {
                let since = match self.contents.get(key).map(|content| &content.place) {
                    Some(Place::Nowhere { since, .. }) if !self.unclear.contains(key) => *since,
                    _ => continue,
                };
                absent.push((since, *key));
            }
        }
        sort::plainly(&mut absent);
        let beyond = absent.len().saturating_sub(2 * files.max(1));
        let mut gone = Vec::new();
        for (at, (since, key)) in absent.into_iter().enumerate() {
            if at < beyond || now.0.saturating_sub(since.0) > delay {
                self.remove(key);
                gone.push(key);
            }
        }
        gone
    }
}

/// At most this many bytes of text may be sent before the reach of its numbers has to be written down anew.
const RESERVE: u64 = 64 << 20;

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
    if !mutants::is(Mutant::BaseKept) {
        content.numbers.base = content.numbers.base.wrapping_add(content.numbered - back);
    }
    content.edition = content.edition.wrapping_add(1);
    content.edited_at = resume;
    content.numbered = resume;
    content.read = resume;
    content.settled = back;
}
