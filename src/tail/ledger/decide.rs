//! The one decision: from what is known of a folder's contents and what a look sees, what has changed.
//!
//! Live looks, the first scan and a restart differ in what is known, not in code. Nothing here writes,
//! sleeps, opens a path of its own or asks for the time. Where evidence leaves two answers, a repeat is
//! preferred to a loss, and a loss to lines under a wrong log; such answers are counted ([`Doubt`]).
//!
//! 1. Each content is sought where it was: by device, inode and birth, and then by its evidence.
//! 2. What is not there, or was edited there, is sought by evidence alone under the names of its log's
//!    family. A file that agrees wholly wins over one that agrees in part.
//! 3. What is left of the files is new, another content's copy, or nobody's: `fresh.rs`.
//! 4. What is left of the contents is held by a descriptor, hidden by an error, or nowhere.

use super::content::{At, Content, ContentKey, LogId, Moment, Place, Trust};
use super::evidence::{head_of, Agreement, Evidence, Head};
use super::fresh;
use super::naming::{Claim, Policy, Rotation};
use super::observe::{Eyes, Listed, Remembered, Snapshot, Stat};
use crate::tail::identity::FileId;
use crate::tail::names::Scheme;
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// How long a name that can't be read keeps open what would depend on it, in milliseconds.
const HIDES_FOR: u64 = 60_000;

/// Everything that is known of a folder.
pub struct Known<'a> {
    /// The contents of its logs, by key.
    pub contents: &'a BTreeMap<ContentKey, Content>,
    /// Under which schemes contents of each log stood.
    pub schemes: &'a BTreeMap<LogId, Vec<Scheme>>,
    /// Of earlier looks; `None` at the very first one.
    pub remembered: Option<&'a Remembered>,
    /// New files whose text is the beginning of a content's.
    pub copies: &'a BTreeMap<Box<[u8]>, Copied>,
    /// Names that could not be read at the last look.
    pub hidden: &'a BTreeMap<Box<[u8]>, Hidden>,
    /// Contents of which nothing could be concluded at the last look.
    pub unclear: &'a BTreeSet<ContentKey>,
    /// New files that could not be judged then, at a moment when they could be rotated ones of a log.
    pub pending: &'a BTreeSet<FileId>,
    /// The moment of the look.
    pub now: Moment,
}

/// A name that can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hidden {
    /// The moment since when.
    pub since: Moment,
    /// It could be a rotated file that came since the look before.
    pub may_be_unseen: bool,
}

/// Of which content a file is the copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Original {
    /// A known one.
    Known(ContentKey),
    /// The one that this look has found in this file.
    New(FileId),
}

/// A new file whose text so far is the beginning of a content that lies elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// Its file.
    pub id: FileId,
    /// The content.
    pub of: Original,
    /// The proof of its own text, should it be renamed or compressed.
    pub evidence: Evidence,
    /// The length of its text at the last look, in bytes.
    pub length: u64,
    /// The moment since when it has that length.
    pub since: Moment,
}

/// How a file was seen that holds a content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// Where the content lies.
    pub place: Place,
    /// The answer of `stat`.
    pub stat: Stat,
    /// Its first lines, if they were read.
    pub head: Option<Head>,
    /// The proof of the text that it has now, where more of that was seen than read.
    pub text: Option<Evidence>,
    /// Its log's path shows it.
    pub shown: bool,
}

/// One change of what is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A content is where this says: it has grown, was moved, archived, shortened at an end that was not
    /// read, or is only confirmed.
    Seen(ContentKey, Sight),
    /// Its file was edited or shortened below the position. Up to this offset it is as it was.
    Edited(ContentKey, u64, Sight),
    /// A content that was never sent lies at the path of this log now, and is that log's.
    Owned(ContentKey, LogId),
    /// A new content.
    Born(Born),
    /// No listing shows it, no descriptor holds it, and all was readable where it could be.
    Vanished(ContentKey),
}

/// A new content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Born {
    /// Whose.
    pub log: LogId,
    /// Where.
    pub sight: Sight,
    /// Where reading starts.
    pub start: u64,
}

/// The finding of a look about a file, in the words that `explain` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It holds this content.
    Holds(ContentKey),
    /// A new content of this log.
    New(LogId),
    /// It came and went unseen under this log's path.
    Unseen(LogId),
    /// Its text is the beginning of a content of this log that lies elsewhere: a copy, perhaps in the making.
    CopyOf(LogId),
    /// It may be a copy in the making, and has some more time to show it.
    Waits(LogId),
    /// It was there before this log was followed, or was refused before.
    Old(LogId),
    /// No known content of the log has, or had, a name of its kind.
    UnknownScheme(LogId),
    /// Its name says that it is older than what is known of this log.
    OutOfOrder(LogId),
    /// Its name is newer than that of all that is known, but the log's path shows what it showed before.
    NotRenewed(LogId),
    /// It can't be read at the moment, or what would prove its name can't.
    Unreadable,
    /// An entry excludes it, or it is another worker's.
    Others,
    /// No entry speaks of it.
    Nobodys,
}

/// A question that evidence leaves open, and that a policy has decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Doubt {
    /// Several files hold a content's text; the first was taken.
    SeveralCopies,
    /// A content without text was under a strange name; it was let go.
    NothingToCompare,
    /// A file that waited as a copy in the making was taken for a log; its text may be sent twice.
    TookForOwn,
    /// A file was left alone because of its name.
    RefusedByName,
}

/// The result of a look.
#[derive(Debug, Default)]
pub struct Decision {
    /// To be applied in this order.
    pub changes: Vec<Change>,
    /// One for each file.
    pub verdicts: BTreeMap<Box<[u8]>, Verdict>,
    /// Kinds of names that rotations of logs give, as contents or their copies stand under them.
    pub schemes: Vec<(LogId, Scheme)>,
    /// The files to remember until the next look.
    pub remembered: Remembered,
    /// The files that are copies.
    pub copies: BTreeMap<Box<[u8]>, Copied>,
    /// The names that can't be read.
    pub hidden: BTreeMap<Box<[u8]>, Hidden>,
    /// The new files that can't be judged.
    pub pending: BTreeSet<FileId>,
    /// The number of questions left open, by kind.
    pub doubts: BTreeMap<Doubt, u32>,
    /// The contents whose place can't be read at the moment; nothing is concluded about them.
    pub unclear: BTreeSet<ContentKey>,
}

impl Decision {
    pub(super) fn doubt(&mut self, doubt: Doubt) {
        *self.doubts.entry(doubt).or_default() += 1;
    }
}

/// Where a content was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub file: usize,
    pub agreement: Agreement,
    /// There is no need to say so.
    pub unchanged: bool,
    /// By its name or a descriptor as well, and not by an inode and text alone.
    pub sure: bool,
}

/// A content in a file without a name.
pub(super) struct Unlinked {
    pub sight: Sight,
    /// Where it was edited.
    upto: Option<u64>,
    /// There is no need to say so.
    unchanged: bool,
}

/// The decision as far as it has come.
pub(super) struct Deciding<'a> {
    pub known: &'a Known<'a>,
    pub snapshot: &'a Snapshot,
    pub policy: &'a dyn Policy,
    /// Which content each file holds, as an index into the files.
    pub holds: BTreeMap<FileId, ContentKey>,
    pub found: BTreeMap<ContentKey, Found>,
    /// Contents that only a descriptor holds, and what is to be said of them.
    pub unlinked: BTreeMap<ContentKey, Unlinked>,
    /// Files that hold new contents.
    pub fresh: Vec<(LogId, usize)>,
    /// Files about which something was said.
    pub judged: BTreeSet<FileId>,
    /// Files that could not be read.
    pub unreadable: BTreeSet<FileId>,
    pub decision: Decision,
}

/// Decides what has changed. `explain` and `dry-run` print the verdicts of this.
pub fn decide(
    known: &Known,
    snapshot: &Snapshot,
    eyes: &mut dyn Eyes,
    policy: &dyn Policy,
) -> Decision {
    let mut deciding = Deciding {
        known,
        snapshot,
        policy,
        holds: BTreeMap::new(),
        found: BTreeMap::new(),
        unlinked: BTreeMap::new(),
        fresh: Vec::new(),
        judged: BTreeSet::new(),
        unreadable: BTreeSet::new(),
        decision: Decision::default(),
    };
    deciding.seek_in_place(eyes);
    deciding.ask_descriptors(true, eyes);
    deciding.seek_elsewhere(eyes);
    deciding.say_where(eyes);
    deciding.ask_descriptors(false, eyes);
    fresh::decide(&mut deciding, eyes);
    deciding.say_what_is_left();
    let renewed = fresh::renewed(&deciding);
    let hidden = deciding.hidden().map(|name| {
        let before = known.hidden.get(name);
        let rotation = Rotation::of_any(name, policy);
        let is_now = rotation.is_some_and(|rotation| renewed.contains(&rotation.log));
        let hidden = Hidden {
            since: before.map_or(known.now, |hidden| hidden.since),
            may_be_unseen: is_now || before.is_some_and(|hidden| hidden.may_be_unseen),
        };
        (name.clone(), hidden)
    });
    deciding.decision.hidden = hidden.collect();
    for (name, copy) in known.copies {
        let is_unclear = |key| deciding.decision.unclear.contains(key);
        if matches!(&copy.of, Original::Known(key) if is_unclear(key)) {
            let copies = &mut deciding.decision.copies;
            copies.entry(name.clone()).or_insert_with(|| copy.clone());
        }
    }
    deciding.decision
}

impl<'a> Deciding<'a> {
    pub(super) fn file(&self, at: usize) -> &'a Listed {
        &self.snapshot.files[at]
    }

    /// Whether something that is not found may lie where nothing can be read at the moment. An archive
    /// that is never readable, as it is root's alone, must not keep logs waiting for good.
    pub(super) fn hides_something(&self) -> bool {
        self.hidden().any(|name| {
            let known = self.known.hidden.get(name);
            known.is_none_or(|hidden| self.known.now.0 - hidden.since.0 < HIDES_FOR)
        })
    }

    /// The names that can't be read.
    fn hidden(&self) -> impl Iterator<Item = &Box<[u8]>> {
        let files = self.snapshot.files.iter();
        let unreadable = files.filter(|file| self.unreadable.contains(&file.stat.id));
        unreadable
            .map(|file| &file.name)
            .chain(&self.snapshot.unclear)
    }

    pub(super) fn contents(&self) -> impl Iterator<Item = &'a Content> {
        self.known.contents.values()
    }

    /// Looks for each content where it was.
    fn seek_in_place(&mut self, eyes: &mut dyn Eyes) {
        let mut claims: Vec<(&Content, Found)> = Vec::new();
        for content in self.contents() {
            let held = eyes.held(content.key).map(|(stat, _)| stat.id);
            let at = content.place.file();
            let Some(file) = self.file_of(content, held) else {
                if at.is_some_and(|at| self.snapshot.unclear.contains(&at.name)) {
                    self.decision.unclear.insert(content.key);
                }
                continue;
            };
            match self.judge(content, file, held.is_some(), eyes) {
                Ok(Some(found)) => claims.push((content, found)),
                Ok(None) => {}
                Err(_) => {
                    self.unreadable.insert(self.file(file).stat.id);
                    self.decision.unclear.insert(content.key);
                }
            }
        }
        // One file holds one content: the one of which more agrees
        claims.sort_by_key(|(content, found)| {
            let part = match found.agreement {
                Agreement::Whole => 2,
                Agreement::Upto(_) => 1,
                Agreement::Not | Agreement::Unknown => 0,
            };
            std::cmp::Reverse((part, content.evidence.end()))
        });
        for (content, found) in claims {
            let id = self.file(found.file).stat.id;
            if self.unreadable.contains(&id) || self.holds.contains_key(&id) {
                continue;
            }
            self.holds.insert(id, content.key);
            self.found.insert(content.key, found);
        }
    }

    /// The file at a content's place, if it may still be that one: under the name of its log or the one
    /// that it had, or else under any.
    fn file_of(&self, content: &Content, held: Option<FileId>) -> Option<usize> {
        let at = content.place.last_file();
        let id = held.or(at.map(|at| at.id))?;
        let same_age = |stat: &Stat| {
            let then = at.and_then(|at| at.birth);
            held.is_some() || then.is_none() || stat.birth.is_none() || then == stat.birth
        };
        let files = self.snapshot.files.iter().enumerate();
        // Compressing makes a new file: what has the inode is another one
        let archived = matches!(content.place, Place::InArchive(_));
        let same_kind = |file: &Listed| at.is_none() || archived == file.is_archive();
        let names =
            files.filter(|(_, file)| file.stat.id == id && same_age(&file.stat) && same_kind(file));
        names
            .min_by_key(|(_, file)| {
                let is_own = self.policy.claim(&file.name) == Claim::Own(content.log);
                let is_same = at.is_some_and(|at| at.name == file.name);
                (!is_own, !is_same)
            })
            .map(|(index, _)| index)
    }

    /// Whether the file at a content's place holds it.
    fn judge(
        &mut self,
        content: &Content,
        at: usize,
        held: bool,
        eyes: &mut dyn Eyes,
    ) -> io::Result<Option<Found>> {
        let file = self.file(at);
        let was = content.place.last_file();
        let in_place = was.is_some_and(|was| was.name == file.name && was.id == file.stat.id);
        let found = |agreement, unchanged| {
            Ok(Some(Found {
                file: at,
                agreement,
                unchanged,
                // The name and the inode may both be those of the next archive
                sure: held || in_place && content.evidence.is_distinct(),
            }))
        };
        let is_verified = content.trust == Trust::Verified && in_place;
        let is_archived = matches!(content.place, Place::InArchive(_));
        if is_archived && content.stamp != file.stat.stamp {
            // An archive does not change: its inode is another one's by now
            return Ok(None);
        }
        // The reader may have been further than the last look
        let is_as_long = file.is_archive() || content.length == file.stat.length;
        if is_verified && is_as_long && content.stamp == file.stat.stamp {
            return found(Agreement::Whole, true);
        }
        let mut bytes = eyes.open(file)?;
        let grown = !file.is_archive() && file.stat.length > content.length;
        let is_known = !content.evidence.is_empty();
        if is_verified && grown && is_known && content.evidence.agrees_nearby(&mut *bytes)? {
            return found(Agreement::Whole, false);
        }
        drop(bytes);

        let agreement = match !held && !in_place && !self.is_family(content, file) {
            // Its inode may be that of another log's file by now
            true => self.compare(content, file, eyes)?,
            false => content.evidence.compare(&mut *eyes.open(file)?)?,
        };
        match agreement {
            Agreement::Not => Ok(None),
            Agreement::Unknown if held || self.is_family(content, file) => {
                found(Agreement::Unknown, false)
            }
            Agreement::Unknown => {
                self.decision.doubt(Doubt::NothingToCompare);
                Ok(None)
            }
            // Edited in place. Under another name it is a file that has no more than a banner in common
            Agreement::Upto(_) if !held && !in_place => Ok(None),
            agreement => found(agreement, false),
        }
    }

    /// Makes changes of what was found.
    fn say_where(&mut self, eyes: &mut dyn Eyes) {
        let found = std::mem::take(&mut self.found);
        for (key, found) in &found {
            let file = self.file(found.file);
            let Some(content) = self.known.contents.get(key) else {
                continue;
            };
            self.decision
                .verdicts
                .insert(file.name.clone(), Verdict::Holds(*key));
            if found.unchanged {
                continue;
            }
            // A file that agrees wholly may be where nothing can be read
            if matches!(found.agreement, Agreement::Upto(_)) && self.hides_something() {
                self.decision.unclear.insert(*key);
                continue;
            }
            let known = match found.agreement {
                Agreement::Whole if !content.evidence.is_empty() => Some(&content.evidence),
                _ => None,
            };
            let Ok(sight) = self.sight(file, content.log, known, eyes) else {
                self.decision.unclear.insert(*key);
                continue;
            };
            if let (false, Claim::Own(log)) = (content.is_begun(), self.policy.claim(&file.name)) {
                if log != content.log {
                    self.decision.changes.push(Change::Owned(*key, log));
                }
            }
            let change = match found.agreement {
                Agreement::Upto(upto) => Change::Edited(*key, upto.min(content.numbered), sight),
                _ => Change::Seen(*key, sight),
            };
            self.decision.changes.push(change);
        }
        self.found = found;
    }

    /// How a file is seen.
    pub(super) fn sight(
        &self,
        file: &Listed,
        log: LogId,
        known: Option<&Evidence>,
        eyes: &mut dyn Eyes,
    ) -> io::Result<Sight> {
        let mut bytes = eyes.open(file)?;
        let head = head_of(&mut *bytes)?;
        let text = match known {
            Some(_) if file.is_archive() => None,
            Some(known) => {
                let mut known = known.clone();
                known.set_head(head);
                known.see(
                    fresh::last_line_end(file.stat.length, &mut *bytes)?,
                    &mut *bytes,
                )?;
                Some(known)
            }
            None => Some(fresh::seen_text_of(file, &mut *bytes)?),
        };
        drop(bytes);
        let at = At {
            name: file.name.clone(),
            id: file.stat.id,
            birth: file.stat.birth,
        };
        Ok(Sight {
            place: match file.is_archive() {
                true => Place::InArchive(at),
                false => Place::At(at),
            },
            stat: file.stat,
            head: Some(head),
            text,
            shown: self.policy.claim(&file.name) == Claim::Own(log),
        })
    }

    /// Contents that no file of the listing has in place may be in one that a descriptor holds.
    fn ask_descriptors(&mut self, wholly: bool, eyes: &mut dyn Eyes) {
        for content in self.contents() {
            let key = content.key;
            let listed = |id| self.snapshot.files.iter().any(|file| file.stat.id == id);
            let is_unclear = self.decision.unclear.contains(&key);
            if is_unclear || self.found.contains_key(&key) || self.unlinked.contains_key(&key) {
                continue;
            }
            let Some((stat, mut bytes)) = eyes.held(key).filter(|(stat, _)| !listed(stat.id))
            else {
                continue;
            };
            let Ok(agreement) = content.evidence.compare(&mut *bytes) else {
                self.decision.unclear.insert(key);
                continue;
            };
            let mut sight = Sight {
                place: Place::Unlinked(At {
                    name: content.place.last_name().into(),
                    id: stat.id,
                    birth: stat.birth,
                }),
                stat,
                head: head_of(&mut *bytes).ok(),
                text: None,
                shown: false,
            };
            let mut upto = None;
            match agreement {
                Agreement::Not => continue,
                Agreement::Upto(_) if wholly => continue,
                Agreement::Upto(edited) => {
                    upto = Some(edited.min(content.numbered));
                    sight.text = fresh::seen_text(stat.length, &mut *bytes).ok();
                }
                Agreement::Unknown => sight.text = fresh::seen_text(stat.length, &mut *bytes).ok(),
                Agreement::Whole => {}
            }
            let is_same = matches!(&content.place, Place::Unlinked(at) if at.id == stat.id);
            let unlinked = Unlinked {
                sight,
                upto,
                unchanged: is_same
                    && content.stamp == stat.stamp
                    && content.trust == Trust::Verified,
            };
            self.unlinked.insert(key, unlinked);
        }
        if wholly {
            return;
        }
        for (key, unlinked) in &self.unlinked {
            let sight = unlinked.sight.clone();
            self.decision.changes.extend(match unlinked.upto {
                _ if unlinked.unchanged => None,
                Some(upto) => Some(Change::Edited(*key, upto, sight)),
                None => Some(Change::Seen(*key, sight)),
            });
        }
    }

    /// Contents that are nowhere.
    fn say_what_is_left(&mut self) {
        for content in self.contents() {
            let key = content.key;
            let in_memory = matches!(content.place, Place::InMemory);
            if in_memory || self.found.contains_key(&key) || self.unlinked.contains_key(&key) {
                continue;
            }
            if self.hides_something() || self.decision.unclear.contains(&key) {
                self.decision.unclear.insert(key);
            } else if !matches!(content.place, Place::Nowhere { .. }) {
                self.decision.changes.push(Change::Vanished(key));
            }
        }
    }

    /// Whether it is where it was, and all of its text before the position with it.
    pub(super) fn is_whole(&self, content: &Content) -> bool {
        let found = self.found.get(&content.key);
        found.is_some_and(|found| found.agreement == Agreement::Whole)
    }
}
