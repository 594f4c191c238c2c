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

use super::content::{At, Birth, Content, ContentKey, LogId, Moment, Place, Trust};
use super::evidence::Bytes;
use super::evidence::{head_of, Agreement, Evidence, Head};
use super::fresh;
use super::mutants::{self, Mutant};
use super::naming::{Claim, Policy, Rotation};
use super::observe::{Eyes, Listed, Remembered, Snapshot, Stat};
use super::sample::Sampling;
use crate::tail::counters::Skip;
use crate::tail::identity::FileId;
use crate::tail::names::Scheme;
use crate::util::sort;
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
    /// The moment of the look.
    pub now: Moment,
}

/// A name that can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hidden {
    /// The moment since when.
    pub since: Moment,
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
    /// No listing shows it, no descriptor holds it, and all was readable where it could be. Whether its file
    /// is there with other text.
    Vanished(ContentKey, bool),
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
    /// Why it does not start at the beginning.
    pub skipped: Option<Skip>,
    /// It begins as another log's content does: should it be that one's copy, its text is sent twice.
    pub may_repeat: bool,
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
    /// They are not all: what was remembered before still counts.
    pub is_partial: bool,
    /// The files that are copies.
    pub copies: BTreeMap<Box<[u8]>, Copied>,
    /// The names that can't be read.
    pub hidden: BTreeMap<Box<[u8]>, Hidden>,
    /// The number of questions left open, by kind.
    pub doubts: BTreeMap<Doubt, u32>,
    /// The contents whose place can't be read at the moment; nothing is concluded about them.
    pub unclear: BTreeSet<ContentKey>,
}

impl Decision {
    /// Whether some content is not where it was, so that further folders are worth a look.
    pub fn misses_something(&self) -> bool {
        let mut changes = self.changes.iter();
        changes.any(|change| matches!(change, Change::Vanished(..) | Change::Edited(..)))
    }

    /// Whether it would be another one, or tell another order, had a file been moved while it was seen.
    pub fn is_questionable(&self) -> bool {
        let is_born = |change: &Change| matches!(change, Change::Born(_));
        let is_refused = |verdict: &Verdict| {
            matches!(
                verdict,
                Verdict::Unreadable | Verdict::OutOfOrder(_) | Verdict::NotRenewed(_)
            )
        };
        self.misses_something()
            || !self.unclear.is_empty()
            || self.changes.iter().any(is_born)
            || self.verdicts.values().any(is_refused)
    }

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
    /// The index of each file in the listing; of one with several names that of the first.
    pub places: BTreeMap<FileId, usize>,
    /// Which content each file holds.
    pub holds: BTreeMap<FileId, ContentKey>,
    pub found: BTreeMap<ContentKey, Found>,
    /// Contents that only a descriptor holds, and what is to be said of them.
    pub unlinked: BTreeMap<ContentKey, Unlinked>,
    /// Contents whose text is what another file of the family begins with as well.
    pub shared: BTreeSet<ContentKey>,
    /// Files that hold new contents.
    pub fresh: Vec<(LogId, usize)>,
    /// Files about which something was said.
    pub judged: BTreeSet<FileId>,
    /// Files that could not be read.
    pub unreadable: BTreeSet<FileId>,
    pub decision: Decision,
    pub births: Births,
}

/// The creation of all files that are known or seen. Some file systems give all files one, or one for each second:
/// an inode that was reused has the birth of the file before then.
pub(super) struct Births(Vec<Birth>);

impl Births {
    fn of(known: &Known, snapshot: &Snapshot) -> Self {
        let contents = known.contents.values();
        let known = contents.filter_map(|content| content.place.last_file()?.birth);
        let seen = snapshot.files.iter().filter_map(|file| file.stat.birth);
        Births(known.chain(seen).collect())
    }

    /// Whether a file with this inode is the one from before: it has the same birth, and births tell files apart
    /// here.
    pub(super) fn tell(&self, then: Option<&At>, now: &Stat) -> bool {
        let both = then.and_then(|then| then.birth).zip(now.birth);
        both.is_some_and(|(then, now)| {
            let is_same = then.same(now) || mutants::is(Mutant::BirthIgnored);
            is_same && now.is_fine() && self.0.iter().any(|other| !other.same(now))
        })
    }
}

/// Whether this may be that file. A device may have another number after each boot.
fn may_be(at: &At, file: &Listed) -> bool {
    let stat = &file.stat;
    let is_it = at.id.ino == stat.id.ino && Birth::may_be_same(at.birth, stat.birth);
    is_it && !file.is_archive()
}

/// The answer to a glance at one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Glance {
    /// It is as it was.
    Same,
    /// It was written to, and holds what it held.
    Touched,
    /// It is longer than the text that was seen. The first page that is read of it shows whether it is the same content.
    Grown,
    /// Only a look at all files can tell.
    Question,
}

/// The short form of the decision, for one file that was seen to hold a content: whether it still does,
/// as far as its inode, length and date tell. Text is read, through `bytes`, only of a file that has another
/// date at the same length.
pub fn glance<'a>(
    content: &Content,
    stat: &Stat,
    bytes: &mut dyn FnMut() -> io::Result<Box<dyn Bytes + 'a>>,
) -> Glance {
    let is_in_place = content.place.location() == Some(stat.id) && !content.is_archive();
    if !is_in_place || content.trust != Trust::Verified {
        return Glance::Question;
    }
    if content.length == stat.length && content.stamp == stat.stamp {
        return Glance::Same;
    }
    let is_known = !content.evidence.is_empty();
    // An earlier glance may have seen that it grew, and nobody what by
    let is_seen = content.evidence.end() == stat.length;
    if stat.length >= content.length && !is_seen && is_known {
        return Glance::Grown;
    }
    let agrees = |mut bytes: Box<dyn Bytes + 'a>| content.evidence.agrees_nearby(&mut *bytes);
    match stat.length == content.length && is_known && bytes().and_then(agrees).unwrap_or(false) {
        true => Glance::Touched,
        false => Glance::Question,
    }
}

/// Decides what has changed. `explain` and `dry-run` print the verdicts of this.
pub fn decide(
    known: &Known,
    snapshot: &Snapshot,
    eyes: &mut dyn Eyes,
    policy: &dyn Policy,
) -> Decision {
    let eyes: &mut dyn Eyes = &mut Sampling::new(eyes, known);
    let mut deciding = Deciding {
        births: Births::of(known, snapshot),
        places: {
            let files = snapshot.files.iter().enumerate().rev();
            sort::gathered(files.map(|(at, file)| (file.stat.id, at)))
        },
        known,
        snapshot,
        policy,
        holds: BTreeMap::new(),
        found: BTreeMap::new(),
        unlinked: BTreeMap::new(),
        shared: BTreeSet::new(),
        fresh: Vec::new(),
        judged: BTreeSet::new(),
        unreadable: BTreeSet::new(),
        decision: Decision {
            is_partial: snapshot.is_partial,
            ..Decision::default()
        },
    };
    deciding.seek_in_place(true, eyes);
    deciding.ask_descriptors(true, eyes);
    deciding.seek_in_place(false, eyes);
    deciding.seek_elsewhere(eyes);
    deciding.say_where(eyes);
    deciding.ask_descriptors(false, eyes);
    fresh::decide(&mut deciding, eyes);
    fresh::decide_unlinked(&mut deciding, eyes);
    deciding.say_what_is_left();
    let hidden = deciding.hidden().map(|name| {
        let since = known
            .hidden
            .get(name)
            .map_or(known.now, |hidden| hidden.since);
        (name.clone(), Hidden { since })
    });
    deciding.decision.hidden = sort::gathered(hidden);
    if deciding.hides_something() && !fresh::renewed(&deciding).is_empty() {
        deciding.decision.remembered.leave_open();
    }
    let sees_all =
        !snapshot.is_shallow && snapshot.unclear.is_empty() && deciding.unreadable.is_empty();
    if let Some(remembered) = known.remembered.filter(|_| !sees_all) {
        deciding.decision.remembered.keep(remembered);
    }
    // Nothing was concluded about these contents, so that no file was seen to have the text of one
    let unclear = &deciding.decision.unclear;
    let is_told = |of: Original| !matches!(of, Original::Known(key) if unclear.contains(&key));
    deciding.decision.copies.retain(|_, copy| is_told(copy.of));
    for (name, copy) in known.copies {
        let Original::Known(key) = copy.of else {
            continue;
        };
        let is_hidden = snapshot.unclear.contains(name);
        if is_hidden || deciding.decision.unclear.contains(&key) {
            // Another copy may have the name by now
            let copies = &mut deciding.decision.copies;
            let found = deciding.found.get(&key);
            let found = found.map(|found| &snapshot.files[found.file].name);
            let mut hidden = snapshot.unclear.iter();
            let name = match copies.contains_key(name) {
                true => found.or_else(|| hidden.find(|hidden| !copies.contains_key(*hidden))),
                false => Some(name),
            };
            let Some(name) = name else { continue };
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
        !mutants::is(Mutant::ErrorsConclude)
            && self.hidden().any(|name| {
                let known = self.known.hidden.get(name);
                known.is_none_or(|hidden| {
                    self.known.now.0.saturating_sub(hidden.since.0) < HIDES_FOR
                })
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

    /// Looks for each content where it was: first for those with a text of their own, as what is where a
    /// banner was may be the copy of one of them.
    fn seek_in_place(&mut self, distinct: bool, eyes: &mut dyn Eyes) {
        let mut claims: Vec<(&Content, Found)> = Vec::new();
        for content in self.contents() {
            if content.evidence.is_distinct() != distinct {
                continue;
            }
            let held = eyes.held(content.key).map(|(stat, _)| stat.id);
            let at = content.place.last_file();
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
        sort::by_key(&mut claims, |(content, found)| {
            let part = match found.agreement {
                Agreement::Whole => 2,
                Agreement::Upto(_) => 1,
                Agreement::Not | Agreement::Unknown => 0,
            };
            std::cmp::Reverse((part, content.evidence.end()))
        });
        for (content, found) in claims {
            let file = self.file(found.file);
            let id = file.stat.id;
            let may_be_copy = Rotation::of_any(&file.name, self.policy).is_some();
            let is_vague = !distinct && !found.sure && !found.unchanged && may_be_copy;
            if is_vague && self.hides_something() {
                self.unreadable.insert(id);
                self.decision.unclear.insert(content.key);
                continue;
            }
            if is_vague && self.is_common_text(content, file, eyes) {
                continue;
            }
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
            let both = then.zip(stat.birth);
            mutants::is(Mutant::BirthIgnored)
                || held.is_some()
                || both.is_none_or(|(then, now)| then.same(now))
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
        let is_named = !matches!(content.place, Place::Unlinked(_));
        let is_born = is_named && self.births.tell(was, &file.stat);
        let found = |agreement, unchanged| {
            Ok(Some(Found {
                file: at,
                agreement,
                unchanged,
                // The name and the inode may both be those of the next archive
                sure: held || is_born || in_place && content.evidence.is_distinct(),
            }))
        };
        let is_unwritten = is_born && content.stamp == file.stat.stamp;
        if !held && !is_born && self.policy.claim(&file.name) == Claim::Others {
            // An excluded file may begin as a content does whose inode it has got
            return Ok(None);
        }
        if !held
            && !is_unwritten
            && !content.evidence.is_distinct()
            && self.is_anothers(content, file)
        {
            // The inode of an empty file or a banner is no reason to send another log's text as this one's
            return Ok(None);
        }
        // Once closed, a file without a name may be no more, and its inode another one's
        let is_closed = matches!(content.place, Place::Unlinked(_)) && !held;
        let is_verified = content.trust == Trust::Verified && !is_closed;
        let is_archived = matches!(content.place, Place::InArchive(_));
        let is_restored = content.trust == Trust::Restored;
        if is_archived && mutants::is(Mutant::ArchiveInodeBelieved)
            || mutants::is(Mutant::InodeBelieved)
            || is_restored && mutants::is(Mutant::RestoredTrusted)
        {
            return found(Agreement::Whole, false);
        }
        if is_archived && content.stamp != file.stat.stamp {
            // An archive does not change: its inode is another one's by now
            return Ok(None);
        }
        // The reader may have been further than the last look
        let is_as_long = file.is_archive() || content.length == file.stat.length;
        if is_verified && is_as_long && content.stamp == file.stat.stamp {
            // Nothing was written, whatever its name is by now. Without a birth it may be the next file
            // that has the inode, which the head of an archive tells without reading all of it
            let is_it = in_place
                || is_born
                || file.is_archive() && content.evidence.begins(&mut *eyes.open(file)?)?;
            if is_it {
                return found(Agreement::Whole, true);
            }
        }
        let is_verified = is_verified && in_place;
        let mut bytes = eyes.open(file)?;
        let grown = !file.is_archive() && file.stat.length > content.length;
        let is_known = !content.evidence.is_empty();
        if is_verified && grown && is_known && content.evidence.agrees_nearby(&mut *bytes)? {
            return found(Agreement::Whole, false);
        }
        drop(bytes);

        // The very file, whatever its name is by now
        let is_told = held || is_born;
        let agreement = match !is_told && !in_place && !self.is_family(content, file) {
            // Its inode may be that of another log's file by now
            // A banner under a name that no rotation gives may be any file that has got the inode
            true if !content.evidence.is_distinct() && is_known => Agreement::Not,
            true => self.compare(content, file, eyes)?,
            false => {
                let mut bytes = eyes.open(file)?;
                content
                    .evidence
                    .compare(&mut *bytes)?
                    .or_other(&content.evidence, &mut *bytes)?
            }
        };
        match agreement {
            Agreement::Not => Ok(None),
            Agreement::Unknown if is_told || !is_closed && self.may_have(content, file) => {
                found(Agreement::Unknown, false)
            }
            Agreement::Unknown => {
                self.decision.doubt(Doubt::NothingToCompare);
                Ok(None)
            }
            // Edited in place. Under another name it is a file that has no more than a banner in common,
            // unless it goes on right where the content ended
            Agreement::Upto(upto) if !is_told && !in_place && upto < content.evidence.end() => {
                Ok(None)
            }
            agreement => found(agreement, false),
        }
    }

    /// Whether a content of which nothing but the inode is known may have this name: its log's, or one of a kind that
    /// contents of its log had.
    fn may_have(&self, content: &Content, file: &Listed) -> bool {
        let known = self.known.schemes.get(&content.log);
        let rotation = Rotation::of(content.log, &file.name, self.policy);
        self.policy.claim(&file.name) == Claim::Own(content.log)
            || rotation.is_some_and(|its| known.is_some_and(|all| all.contains(&its.scheme)))
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
            let is_there = content.place.file().is_some_and(|at| at.name == file.name);
            let is_shared = found.agreement == Agreement::Whole
                && self.is_shared(&content.evidence, file, eyes);
            if is_shared {
                self.shared.insert(*key);
            } else if found.unchanged && is_there {
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
            let sight = match found.unchanged && !is_shared {
                true => Ok(self.glance(file, content.log)),
                false => self.sight(file, content.log, known, eyes),
            };
            let Ok(sight) = sight else {
                self.decision.unclear.insert(*key);
                continue;
            };
            let is_bound = content.is_begun() && !mutants::is(Mutant::LogFollowsName);
            if let (false, Claim::Own(log)) = (is_bound, self.policy.claim(&file.name)) {
                if log != content.log {
                    self.decision.changes.push(Change::Owned(*key, log));
                }
            }
            let change = match found.agreement {
                Agreement::Upto(upto) => Change::Edited(*key, upto.min(content.numbered), sight),
                Agreement::Whole if self.may_be_another_text(content, file) => {
                    Change::Edited(*key, content.settled, sight)
                }
                _ => Change::Seen(*key, sight),
            };
            self.decision.changes.push(change);
        }
        self.found = found;
    }

    /// Whether the file may have another text than what was sent after the end of a record that a process before has
    /// left: one that took the place of the content's file, as an editor's new one does. A copy stands beside its
    /// original, or is compressed. Lines in flight come again then.
    fn may_be_another_text(&self, content: &Content, file: &Listed) -> bool {
        let is_own = self.policy.claim(&file.name) == Claim::Own(content.log);
        content.trust == Trust::Restored
            && content.evidence.end() < content.numbered
            && !file.is_archive()
            && content
                .place
                .last_file()
                .is_some_and(|at| !may_be(at, file))
            && (is_own || !self.is_original_there(content))
    }

    /// Whether the file that a content was in may still have a name, whatever is in it by now.
    pub(super) fn is_original_there(&self, content: &Content) -> bool {
        let at = content.place.last_file();
        let mut files = self.snapshot.files.iter();
        files.any(|file| at.is_some_and(|at| may_be(at, file)))
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
                Some(fresh::seen_on(known, file.stat.length, &mut *bytes)?)
            }
            None => Some(fresh::seen_text_of(file, &mut *bytes)?),
        };
        drop(bytes);
        let text = text.map(|mut text| {
            if self.is_shared(&text, file, eyes) {
                text.set_shared();
            }
            text
        });
        Ok(Sight {
            head: Some(head),
            text,
            ..self.glance(file, log)
        })
    }

    /// How a file is seen that is not opened.
    fn glance(&self, file: &Listed, log: LogId) -> Sight {
        let at = At {
            name: file.name.clone(),
            id: file.stat.id,
            birth: file.stat.birth,
        };
        Sight {
            place: match file.is_archive() {
                true => Place::InArchive(at),
                false => Place::At(at),
            },
            stat: file.stat,
            head: None,
            text: None,
            shown: self.policy.claim(&file.name) == Claim::Own(log),
        }
    }

    /// Contents that no file of the listing has in place may be in one that a descriptor holds.
    fn ask_descriptors(&mut self, wholly: bool, eyes: &mut dyn Eyes) {
        for content in self.contents() {
            let key = content.key;
            let listed = |id| self.places.contains_key(&id);
            let is_unclear = self.decision.unclear.contains(&key);
            if is_unclear || self.found.contains_key(&key) || self.unlinked.contains_key(&key) {
                continue;
            }
            let Some((stat, mut bytes)) = eyes.held(key).filter(|(stat, _)| !listed(stat.id))
            else {
                continue;
            };
            let agreement = content.evidence.compare(&mut *bytes);
            let Ok(agreement) =
                agreement.and_then(|it| it.or_other(&content.evidence, &mut *bytes))
            else {
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
                // Not where it has grown: a file with an equal banner would be taken for it
                Agreement::Whole
                    if content.evidence.is_distinct() && content.evidence.end() == stat.length => {}
                Agreement::Whole => {
                    sight.text =
                        fresh::seen_on(content.evidence.clone(), stat.length, &mut *bytes).ok();
                }
                Agreement::Unknown => {
                    sight.text = fresh::seen_text(stat.length, &mut *bytes).ok();
                }
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
            if unlinked.upto.is_some() && self.hides_something() {
                self.decision.unclear.insert(*key);
            }
            if self.decision.unclear.contains(key) {
                // It may have a name that can't be read
                continue;
            }
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
                let at = content.place.file().map(|at| at.id);
                let mut files = self.snapshot.files.iter();
                let is_there = files.any(|file| Some(file.stat.id) == at);
                self.decision.changes.push(Change::Vanished(key, is_there));
            }
        }
    }

    /// Whether a part of a content's text was found.
    pub(super) fn is_part(&self, content: &Content) -> bool {
        let found = self.found.get(&content.key);
        found.is_some_and(|it| matches!(it.agreement, Agreement::Upto(_)))
    }

    /// Whether this look has proved where a content lies: nothing was written to its file, or all of its
    /// text is there and is not what other contents have as well. An empty file or a banner may have been
    /// truncated, written again and rotated in between, so nothing about the order of names or about a
    /// log's path follows from it.
    pub(super) fn is_proved(&self, content: &Content) -> bool {
        let found = self.found.get(&content.key);
        let is_told = content.evidence.is_distinct() && !self.shared.contains(&content.key)
            || mutants::is(Mutant::BannerProves);
        let is_whole =
            found.is_some_and(|it| it.agreement == Agreement::Whole && (is_told || it.unchanged));
        is_whole && !content.was_vague
    }
}
