//! Looking for contents by their evidence: under which names a content may lie, and which of several
//! files that have its text, or a part of it, is the one.

use super::content::{Content, ContentKey, Phase, Place, Trust};
use super::decide::{Copied, Deciding, Doubt, Found, Original};
use super::evidence::{Agreement, Bytes, Evidence};
use super::fresh;
use super::mutants::{self, Mutant};
use super::naming::{Claim, Rotation};
use super::observe::{Eyes, Listed};
use crate::tail::names;
use crate::util::sort;
use std::io;

impl Deciding<'_> {
    /// Whether a name is that of a content's log or one that a rotation gives to it, and nobody else's.
    pub(super) fn is_family(&self, content: &Content, file: &Listed) -> bool {
        match self.policy.claim(&file.name) {
            Claim::Own(log) if log == content.log => true,
            Claim::Others => false,
            Claim::Own(_) | Claim::Nobody => {
                Rotation::of(content.log, &file.name, self.policy).is_some()
            }
        }
    }

    /// Whether a name is one that a rotation gives to what lay next to this content: where rotated files
    /// are logs of their own, their archives need not be.
    pub(super) fn is_neighbour(&self, content: &Content, file: &Listed) -> bool {
        let is_next = match self.policy.claim(&file.name) {
            Claim::Nobody => names::family(content.place.last_name()) == names::family(&file.name),
            Claim::Own(_) => !self.is_anothers(content, file),
            Claim::Others => false,
        };
        is_next || self.is_family(content, file)
    }

    /// Whether a name is the path of a log that no rotation gives to this content's file.
    pub(super) fn is_anothers(&self, content: &Content, file: &Listed) -> bool {
        let root = |name: &[u8]| {
            let rotation = Rotation::of_any(name, self.policy);
            rotation.map_or(self.policy.claim(name), |it| Claim::Own(it.log))
        };
        match self.policy.claim(&file.name) {
            Claim::Own(log) if log == content.log => false,
            // No rotation gives a rotated file its first name back
            own @ Claim::Own(_) => {
                own == root(&file.name) || root(&file.name) != root(content.place.last_name())
            }
            Claim::Others => true,
            Claim::Nobody => false,
        }
    }

    /// Compares a content with a file that may hold it. A neighbour's archive has to hold all of it. Where a descriptor holds the content, a file takes its
    /// place only if it has all of the text.
    pub(super) fn compare(
        &self,
        content: &Content,
        file: &Listed,
        eyes: &mut dyn Eyes,
    ) -> io::Result<Agreement> {
        let held = self
            .unlinked
            .get(&content.key)
            .map(|unlinked| &unlinked.sight);
        let evidence = held
            .and_then(|sight| sight.text.as_ref())
            .unwrap_or(&content.evidence);
        let mut bytes = eyes.open(file)?;
        let agreement = evidence.compare(&mut *bytes)?;
        let is_family = self.is_family(content, file);
        if matches!(agreement, Agreement::Not | Agreement::Unknown) || is_family && held.is_none() {
            return Ok(agreement);
        }
        let length = fresh::length(file, &mut *bytes)?;
        let has_all = held.is_none_or(|sight| length >= sight.stat.length);
        // With equal banners it would be another log's text
        let has_more = length > evidence.end();
        drop(bytes);
        let has_more = has_more
            && (!evidence.is_distinct()
                || !evidence.is_told() && self.is_common(evidence, content, file, eyes));
        Ok(match agreement {
            agreement if is_family && has_all => agreement,
            Agreement::Whole if has_all && !has_more => Agreement::Whole,
            _ => Agreement::Not,
        })
    }

    /// Looks for contents that are not whole where they were, by their evidence.
    pub(super) fn seek_elsewhere(&mut self, eyes: &mut dyn Eyes) {
        let contents = self
            .contents()
            .filter(|c| !self.decision.unclear.contains(&c.key));
        let mut contents: Vec<&Content> = contents.collect();
        // More text proves more
        sort::by_key(&mut contents, |content| {
            std::cmp::Reverse(content.evidence.end())
        });
        // A banner alone proves nothing: it takes what no other text has a claim to, not even in part
        let (distinct, alike): (Vec<&Content>, Vec<&Content>) =
            contents.into_iter().partition(|c| c.evidence.is_distinct());
        for contents in [distinct, alike] {
            for wholly in [true, false] {
                for content in &contents {
                    self.seek(content, wholly, eyes);
                }
            }
        }
    }

    /// Looks for a content among files of its log's family that hold nothing known. A file that agrees
    /// in part counts only where none of all agrees wholly: it may be the copy of a text that has grown
    /// since, a file that was edited into a new one (`sed -i`), or what was edited in place.
    fn seek(&mut self, content: &Content, wholly: bool, eyes: &mut dyn Eyes) {
        let mut best = self.found.get(&content.key).copied();
        let is_there =
            |found: Found| matches!(found.agreement, Agreement::Whole | Agreement::Unknown);
        if best.is_some_and(is_there) || !wholly && self.unlinked.contains_key(&content.key) {
            return;
        }
        let upto = |found: Option<Found>| match found.map(|found| found.agreement) {
            Some(Agreement::Whole) => u64::MAX,
            Some(Agreement::Upto(upto)) => upto,
            _ => 0,
        };
        if !content.evidence.is_distinct() && self.hides_something() {
            // The text that it may be the beginning of can't be read
            return;
        }
        let mut whole = 0;
        for (at, file) in self.snapshot.files.iter().enumerate() {
            let id = file.stat.id;
            // A file that was there at an earlier look, when the content was known elsewhere, is not it
            let is_old = self.known.remembered.is_some_and(|known| known.has(file));
            let is_held = self
                .holds
                .get(&id)
                .filter(|_| !mutants::is(Mutant::Shared))
                .is_some_and(|key| !wholly || !self.gives_way(key, content));
            if is_old
                || self.is_gone_from(content, file)
                || is_held
                || self.is_copy_of_another(content, file, eyes)
                || !self.is_neighbour(content, file)
            {
                continue;
            }
            let agreement = match self.compare(content, file, eyes) {
                Ok(agreement) if wholly && agreement != Agreement::Whole => continue,
                Ok(Agreement::Whole)
                    if !content.evidence.is_distinct()
                        && self.is_common(&content.evidence, content, file, eyes) =>
                {
                    continue;
                }
                Ok(Agreement::Upto(upto)) if !self.may_be_edited(content, file, upto, eyes) => {
                    self.known_copy(content, file, eyes)
                }
                Ok(agreement @ (Agreement::Upto(_) | Agreement::Not)) => {
                    let copied = self.known_copy(content, file, eyes);
                    match (agreement, copied) {
                        (Agreement::Upto(a), Agreement::Upto(b)) => Agreement::Upto(a.max(b)),
                        (Agreement::Not, copied) => copied,
                        (agreement, _) => agreement,
                    }
                }
                Ok(agreement) => agreement,
                Err(_) => {
                    self.unreadable.insert(id);
                    self.decision.unclear.insert(content.key);
                    if !content.evidence.is_distinct() {
                        // It may be the beginning of that text
                        return;
                    }
                    continue;
                }
            };
            let found = Some(Found {
                file: at,
                agreement,
                unchanged: false,
                sure: false,
            });
            whole += u32::from(agreement == Agreement::Whole);
            // Of the file at the log's path and its copy the first is the one
            let is_own = self.policy.claim(&file.name) == Claim::Own(content.log);
            let is_as_good = upto(found) > 0 && upto(found) == upto(best);
            let is_first = is_own && is_as_good && !self.is_in_place(content, best);
            if upto(found) > upto(best) || is_first {
                best = found;
            }
        }
        if whole > 1 {
            self.decision.doubt(Doubt::SeveralCopies);
        }
        let Some(best) = best else { return };
        let id = self.file(best.file).stat.id;
        if let Some(other) = self.holds.get(&id).filter(|other| **other != content.key) {
            self.found.remove(other);
        }
        if let Some(before) = self.found.insert(content.key, best) {
            self.holds.remove(&self.file(before.file).stat.id);
        }
        self.holds.insert(self.file(best.file).stat.id, content.key);
        self.decision.unclear.remove(&content.key);
        self.unlinked.remove(&content.key);
    }

    /// Whether a content of which a banner alone is known is gone, and had another name: it comes back under
    /// its own.
    fn is_gone_from(&self, content: &Content, file: &Listed) -> bool {
        let is_vague = !content.evidence.is_distinct() && !self.was_unclear(content);
        is_vague && matches!(&content.place, Place::Nowhere { name, .. } if *name != file.name)
    }

    /// Whether nothing could be concluded about a content at the last look. After a restart only that is known of all.
    fn was_unclear(&self, content: &Content) -> bool {
        let is_open = self.known.remembered.is_some_and(|known| known.is_open());
        self.known.unclear.contains(&content.key) || content.trust == Trust::Restored && is_open
    }

    fn is_in_place(&self, content: &Content, found: Option<Found>) -> bool {
        let id = found.map(|found| self.file(found.file).stat.id);
        id == content.place.location()
    }

    /// Whether another file of the family, or one that a descriptor holds, begins with this text as well. Then
    /// the text is a banner, or that of a copy, and no content claims `file` for it.
    fn is_common(
        &self,
        text: &Evidence,
        content: &Content,
        file: &Listed,
        eyes: &mut dyn Eyes,
    ) -> bool {
        let id = file.stat.id;
        let begins = |bytes: &mut dyn Bytes| {
            let agreement = text.compare(bytes);
            matches!(agreement, Ok(Agreement::Whole | Agreement::Unknown))
        };
        let mut contents = self.contents().filter(|of| of.key != content.key);
        let is_held = contents.any(|of| {
            self.is_neighbour(of, file)
                && eyes
                    .held(of.key)
                    .is_some_and(|(stat, mut bytes)| stat.id != id && begins(&mut *bytes))
        });
        let root = Rotation::of_any(&file.name, self.policy).map(|it| Claim::Own(it.log));
        let is_next = |other: &Listed| {
            self.is_neighbour(content, other) || root == Some(self.policy.claim(&other.name))
        };
        let mut files = self.snapshot.files.iter();
        is_held
            || files.any(|other| {
                other.stat.id != id
                    && self.holds.get(&other.stat.id) != Some(&content.key)
                    && is_next(other)
                    && eyes.open(other).is_ok_and(|mut bytes| begins(&mut *bytes))
            })
    }

    /// Whether another file of the family begins with all the text of this one, and is longer or has a content of its
    /// own, as with a banner of several lines.
    pub(super) fn is_shared(&self, text: &Evidence, file: &Listed, eyes: &mut dyn Eyes) -> bool {
        if !text.is_distinct() || text.is_told() {
            return false;
        }
        let root = |file: &Listed| {
            let rotation = Rotation::of_any(&file.name, self.policy);
            rotation.map_or(self.policy.claim(&file.name), |it| Claim::Own(it.log))
        };
        // One that ends there as well may be its copy; of two that do, nothing tells which
        let begins = |other: &Listed, eyes: &mut dyn Eyes| {
            let mut bytes = eyes.open(other)?;
            let mut fresh = self.fresh.iter();
            let is_own = self.holds.contains_key(&other.stat.id)
                || fresh.any(|(_, at)| self.file(*at).stat.id == other.stat.id);
            let is_other = is_own || bytes.read_at(&mut [0], text.end())? > 0;
            let is_whole = text.compare(&mut *bytes)? == Agreement::Whole;
            Ok::<_, io::Error>(u8::from(is_whole) << u8::from(is_other))
        };
        let mut found = 0;
        self.snapshot.files.iter().any(|other| {
            if other.stat.id != file.stat.id && root(other) == root(file) {
                found += begins(other, eyes).unwrap_or(0);
            }
            found > 1
        })
    }

    /// The same of all the text that a file has.
    pub(super) fn is_common_text(
        &self,
        content: &Content,
        file: &Listed,
        eyes: &mut dyn Eyes,
    ) -> bool {
        let text = eyes
            .open(file)
            .and_then(|mut bytes| fresh::seen_text_of(file, &mut *bytes));
        text.is_ok_and(|text| self.is_common(&text, content, file, eyes))
    }

    /// Whether a file was seen to be the copy of another content, which still lies where it did or has more
    /// of a text than this one.
    fn is_copy_of_another(&self, content: &Content, file: &Listed, eyes: &mut dyn Eyes) -> bool {
        let is_distinct = content.evidence.is_distinct();
        let mut copies = self.known.copies.values();
        copies.any(|copy| {
            let Original::Known(key) = copy.of else {
                return false;
            };
            let found = self.found.get(&key);
            let is_there = found.is_some_and(|found| found.agreement == Agreement::Whole);
            // Its inode may be another file's by now
            let mut is_it = || {
                let mut bytes = eyes.open(file)?;
                let is_whole = copy.evidence.compare(&mut *bytes)? == Agreement::Whole;
                let is_enough = copy.evidence.is_told()
                    || is_whole && fresh::length(file, &mut *bytes)? == copy.length;
                Ok::<_, io::Error>(is_whole && is_enough)
            };
            copy.id == file.stat.id
                && key != content.key
                && copy.length > 0
                && (is_there || !is_distinct)
                && is_it().unwrap_or(false)
        })
    }

    /// Whether a content that was found by its inode alone leaves the file to one of which more is proved.
    fn gives_way(&self, key: &ContentKey, to: &Content) -> bool {
        let end = self
            .known
            .contents
            .get(key)
            .map(|content| content.evidence.end());
        let is_sure = self.found.get(key).is_none_or(|found| {
            found.unchanged || found.sure && found.agreement == Agreement::Whole
        });
        !is_sure && end < Some(to.evidence.end())
    }

    /// Whether a file that has only a part of a content's text may hold it. One that is new at its path
    /// may be an edited one (`sed -i`), and one that is shorter a copy from before it grew: then no more
    /// than what lies between two blocks comes again. One that goes on right where the content ended was
    /// edited far above. Any other has no more in common with it than a banner.
    fn may_be_edited(
        &self,
        content: &Content,
        file: &Listed,
        upto: u64,
        eyes: &mut dyn Eyes,
    ) -> bool {
        let is_shown = content.phase == Phase::Shown
            && self.policy.claim(&file.name) == Claim::Own(content.log);
        let was_there = matches!(content.place, Place::At(_)) || self.was_unclear(content);
        let mut is_it = || {
            let mut bytes = eyes.open(file)?;
            let common = Evidence::taken(upto, &mut *bytes)?;
            let is_shorter = fresh::length(file, &mut *bytes)? < content.evidence.end();
            drop(bytes);
            if !common.is_distinct() {
                // A banner is no reason
                return Ok(false);
            }
            // It may be the copy of the file that the content was edited into
            let goes_on =
                upto == content.evidence.end() && !self.is_common_text(content, file, eyes);
            // A short text in common may be a banner
            Ok::<_, io::Error>(goes_on || was_there && common.is_told() && (is_shown || is_shorter))
        };
        is_it().unwrap_or(false)
    }

    /// A file that was seen to be a copy while the original was there is one, however far that was read since.
    fn known_copy(&self, content: &Content, file: &Listed, eyes: &mut dyn Eyes) -> Agreement {
        let is_away = matches!(content.place, Place::InArchive(_) | Place::Nowhere { .. });
        if is_away && !self.was_unclear(content) {
            return Agreement::Not;
        }
        let copies = self.known.copies.values();
        let of_it = |copy: &&Copied| copy.of == Original::Known(content.key) && copy.length > 0;
        for copy in copies.filter(of_it) {
            // It may have another name by now, and be compressed
            let mut is_it = || {
                let mut bytes = eyes.open(file)?;
                let agreement = copy.evidence.compare(&mut *bytes)?;
                let is_whole = agreement == Agreement::Whole;
                Ok::<_, io::Error>(is_whole && fresh::length(file, &mut *bytes)? == copy.length)
            };
            // A banner is no copy of one content more than of another
            if copy.evidence.is_distinct() && is_it().unwrap_or(false) {
                return Agreement::Upto(copy.length);
            }
        }
        Agreement::Not
    }
}
