//! Files that hold no known content: whose each of them is, if anybody's.
//!
//! The path of a log is its own. Any other file that nobody has read is a log's only if three things
//! come together: it was not there at the look before, its name follows a scheme under which a known
//! content of that very log stands or stood, and by that name it was rotated away after the newest known
//! content while the path shows a new one, or between two known ones.

use super::content::{At, Content, ContentKey, LogId, Phase, Place};
use super::decide::{Born, Change, Copied, Deciding, Doubt, Original, Sight, Verdict};
use super::evidence::{
    before, head_bytes, head_of, line_end, without_zeros, Agreement, Bytes, Evidence, BLOCK, HEAD,
};
use super::mutants::{self, Mutant};
use super::naming::{Claim, Rotation, Start};
use super::observe::{Eyes, Listed};
use crate::util::sort;
use std::collections::BTreeSet;
use std::io;

/// How long after its last growth a new file that begins as another log's content does is taken for a
/// log of its own, in milliseconds.
const DECIDE_AFTER: u64 = 2_000;

/// Decides on all files that hold nothing known.
pub(super) fn decide(deciding: &mut Deciding, eyes: &mut dyn Eyes) {
    let mut renewed = renewed(deciding);
    // Paths of logs first: whether a log has a new content counts for its rotated files
    let (own, rest): (Vec<usize>, Vec<usize>) =
        (0..deciding.snapshot.files.len()).partition(|at| {
            let file = deciding.file(*at);
            matches!(deciding.policy.claim(&file.name), Claim::Own(_))
        });
    for at in own {
        judge(deciding, at, &mut renewed, eyes);
    }
    // Copies next: they tell of kinds of names, and of the order of what was rotated
    for at in &rest {
        let file = deciding.file(*at);
        if let Some(rotation) = Rotation::of_any(&file.name, deciding.policy) {
            let is_known = deciding.holds.contains_key(&file.stat.id);
            let is_old = deciding
                .known
                .remembered
                .is_some_and(|known| known.has(file));
            if is_known || is_old {
                continue;
            }
            let Ok(is_copy) = is_copy(deciding, file, rotation.log, eyes) else {
                // Its original can't be read, or it can't itself
                deciding.unreadable.insert(file.stat.id);
                if let Some(copy) = deciding.known.copies.get(&file.name) {
                    let copies = &mut deciding.decision.copies;
                    copies.insert(file.name.clone(), copy.clone());
                }
                continue;
            };
            if is_copy && file.stat.length > 0 {
                deciding
                    .decision
                    .schemes
                    .push((rotation.log, rotation.scheme));
            }
        }
    }
    // Files come in the order in which they were rotated away, as far as names tell
    let rotation = |at: &usize| Rotation::of_any(&deciding.file(*at).name, deciding.policy);
    let mut rest: Vec<_> = rest.into_iter().map(|at| (rotation(&at), at)).collect();
    sort::by(&mut rest, |(a, _), (b, _)| {
        a.as_ref()
            .map(Rotation::age)
            .cmp(&b.as_ref().map(Rotation::age))
    });
    for (_, at) in rest {
        judge(deciding, at, &mut renewed, eyes);
    }
}

/// Files without a name that descriptors of contents hold which lie elsewhere by now: the file was truncated,
/// or rewritten, and then deleted. Their text is the log's, and nobody else can read it.
pub(super) fn decide_unlinked(deciding: &mut Deciding, eyes: &mut dyn Eyes) {
    let mut born = BTreeSet::new();
    for content in deciding.known.contents.values() {
        let Some((stat, mut bytes)) = eyes.held(content.key) else {
            continue;
        };
        let listed = deciding.places.contains_key(&stat.id);
        let is_known = deciding
            .unlinked
            .values()
            .any(|unlinked| unlinked.sight.stat.id == stat.id);
        let is_clear =
            !deciding.hides_something() && !deciding.decision.unclear.contains(&content.key);
        if listed || is_known || !is_clear || stat.length == 0 {
            continue;
        }
        // A content that goes on in its archive is in its file as well
        let agreement = content.evidence.compare(&mut *bytes);
        if !matches!(agreement, Ok(Agreement::Not)) || !born.insert(stat.id) {
            continue;
        }
        let (Ok(head), Ok(text)) = (head_of(&mut *bytes), seen_text(stat.length, &mut *bytes))
        else {
            continue;
        };
        drop(bytes);
        // It may have been renamed and compressed, or copied, before it was deleted
        let is_copied = deciding.snapshot.files.iter().any(|file| {
            let agrees = |mut copy: Box<dyn Bytes>| text.compare(&mut *copy);
            let remembered = deciding.known.remembered;
            deciding.is_neighbour(content, file)
                && !remembered.is_some_and(|known| known.has(file))
                && matches!(
                    eyes.open(file).and_then(agrees),
                    Ok(Agreement::Whole) | Err(_)
                )
        });
        if is_copied {
            continue;
        }
        let sight = Sight {
            place: Place::Unlinked(At {
                name: content.place.last_name().into(),
                id: stat.id,
                birth: content.place.last_file().and_then(|at| at.birth),
            }),
            stat,
            head: Some(head),
            text: Some(text),
            shown: false,
        };
        deciding.decision.changes.push(Change::Born(Born {
            log: content.log,
            sight,
            start: 0,
            skipped: None,
            may_repeat: false,
        }));
    }
}

/// Finds the verdict about one file.
fn judge(deciding: &mut Deciding, at: usize, renewed: &mut BTreeSet<LogId>, eyes: &mut dyn Eyes) {
    let file = deciding.file(at);
    let id = file.stat.id;
    if let Some(key) = deciding.holds.get(&id) {
        let verdict = Verdict::Holds(*key);
        deciding
            .decision
            .verdicts
            .insert(file.name.clone(), verdict);
        return;
    }
    // A second name of a file that was decided on
    if !deciding.judged.insert(id) {
        return;
    }
    let verdict = match deciding.unreadable.contains(&id) {
        true => Ok(Verdict::Unreadable),
        false => one(deciding, file, renewed, eyes),
    };
    let verdict = verdict.unwrap_or_else(|_| {
        deciding.unreadable.insert(id);
        Verdict::Unreadable
    });
    let remember = match verdict {
        Verdict::Old(_) => true,
        Verdict::UnknownScheme(_) | Verdict::OutOfOrder(_) | Verdict::NotRenewed(_) => {
            deciding.decision.doubt(Doubt::RefusedByName);
            true
        }
        _ => false,
    };
    if remember {
        deciding.decision.remembered.add(file);
    }
    deciding
        .decision
        .verdicts
        .insert(file.name.clone(), verdict);
}

/// The logs whose path shows another content than it did, or none: only then something can have been
/// there in between. An empty content that has got text counts, as nothing tells that it is the same, and
/// so does one that was edited.
pub(super) fn renewed(deciding: &Deciding) -> BTreeSet<LogId> {
    let all = deciding.known.contents.values();
    let kept = |content: &&Content| {
        let was_shown = content.phase == Phase::Shown;
        let is_same = was_shown && deciding.is_proved(content) && is_shown(deciding, content);
        is_same && !mutants::is(Mutant::AlwaysRenewed)
    };
    let still: BTreeSet<LogId> = sort::gathered(all.clone().filter(kept).map(|c| c.log));
    let changed = all.map(|c| c.log);
    let was_open = was_open(deciding);
    sort::gathered(changed.filter(|log| was_open || !still.contains(log)))
}

/// Whether the look before could not judge all files that had come.
fn was_open(deciding: &Deciding) -> bool {
    deciding
        .known
        .remembered
        .is_some_and(|known| known.is_open())
}

/// Whether its log's path shows a content.
fn is_shown(deciding: &Deciding, content: &Content) -> bool {
    deciding.snapshot.files.iter().any(|file| {
        deciding.holds.get(&file.stat.id) == Some(&content.key)
            && deciding.policy.claim(&file.name) == Claim::Own(content.log)
    })
}

fn one(
    deciding: &mut Deciding,
    file: &Listed,
    renewed: &mut BTreeSet<LogId>,
    eyes: &mut dyn Eyes,
) -> io::Result<Verdict> {
    let is_first = deciding.known.remembered.is_none();
    let rotation = Rotation::of_any(&file.name, deciding.policy);
    match deciding.policy.claim(&file.name) {
        Claim::Others => Ok(Verdict::Others),
        Claim::Nobody => match rotation {
            Some(rotation) => rotated(deciding, file, &rotation, renewed, eyes),
            None => Ok(Verdict::Nobodys),
        },
        Claim::Own(log) => {
            let rotation = rotation.filter(|_| !is_first);
            let mut may_repeat = false;
            if rotation.is_some() && deciding.hides_something() {
                // It may be the copy of what can't be read
                return Ok(Verdict::Unreadable);
            }
            if let Some(rotation) = rotation {
                match waits(deciding, file, rotation.log, eyes)? {
                    Wait::Yes => return Ok(Verdict::Waits(log)),
                    Wait::Over => may_repeat = true,
                    Wait::No => {
                        may_repeat = shares_text(deciding, file, rotation.log, eyes)?.is_some();
                    }
                }
            }
            let start = match mutants::is(Mutant::FirstLookSends) {
                true => Start::Begin,
                false => deciding.policy.start(log, file, is_first),
            };
            born(deciding, file, log, start, may_repeat, eyes)?;
            renewed.insert(log);
            Ok(Verdict::New(log))
        }
    }
}

/// Whether a file that no entry speaks of is a rotated one of a log.
fn rotated(
    deciding: &mut Deciding,
    file: &Listed,
    rotation: &Rotation,
    renewed: &BTreeSet<LogId>,
    eyes: &mut dyn Eyes,
) -> io::Result<Verdict> {
    let log = rotation.log;
    if deciding
        .known
        .remembered
        .is_some_and(|known| known.has(file))
    {
        return Ok(Verdict::Old(log));
    }
    if deciding.decision.copies.contains_key(&file.name) {
        return Ok(Verdict::CopyOf(log));
    }
    if deciding.known.remembered.is_none() {
        return Ok(Verdict::Old(log));
    }
    let was_open = was_open(deciding);
    let is_known = deciding.contents().any(|content| content.log == log);
    let mut verdict = by_name(deciding, rotation, !is_known || renewed.contains(&log));
    if was_open && matches!(verdict, Verdict::OutOfOrder(_) | Verdict::NotRenewed(_)) {
        // It would have been taken for the log's at the look that could not judge it
        verdict = Verdict::Unseen(log);
    }
    let was_ours =
        |content: &&Content| content.log == log && content.place.location() == Some(file.stat.id);
    if let Some(content) = deciding.known.contents.values().find(was_ours) {
        // A descriptor or its creation tells that it is the very file that was at the log's path. Else it came to be
        // after the last look, whatever its name says: the content had its inode then. The text of an archive may be
        // older
        let is_held = eyes
            .held(content.key)
            .is_some_and(|(stat, _)| stat.id == file.stat.id);
        let at = content.place.file().filter(|_| !content.is_archive());
        let is_same = is_held || deciding.births.tell(at, &file.stat);
        let is_unknown = matches!(verdict, Verdict::UnknownScheme(_));
        if !file.is_archive() && (is_same || !is_unknown) {
            verdict = Verdict::Unseen(log);
        }
    }
    if verdict == Verdict::Unseen(log) && deciding.hides_something() {
        // It may be the copy of what can't be read
        return Ok(Verdict::Unreadable);
    }
    if verdict == Verdict::Unseen(log) {
        born(deciding, file, log, Start::Begin, false, eyes)?;
        return Ok(verdict);
    }
    let may_share = matches!(verdict, Verdict::UnknownScheme(_) | Verdict::NotRenewed(_));
    let shared = match may_share {
        true => shares_text(deciding, file, log, eyes)?,
        false => None,
    };
    if let Some(after) = shared.filter(|_| !deciding.hides_something()) {
        born(deciding, file, log, Start::At(after, None), false, eyes)?;
        return Ok(Verdict::Unseen(log));
    }
    // The proof of the name may be where nothing can be read
    Ok(match deciding.hides_something() {
        true => Verdict::Unreadable,
        false => verdict,
    })
}

/// Whether a new file is still waited for.
enum Wait {
    /// It is the copy of nothing.
    No,
    /// It may be a copy in the making.
    Yes,
    /// It had the time to show that it is one.
    Over,
}

/// Whether a file that is new at a log's path may still turn out to be the copy of another log's content.
fn waits(
    deciding: &mut Deciding,
    file: &Listed,
    original: LogId,
    eyes: &mut dyn Eyes,
) -> io::Result<Wait> {
    if !is_copy(deciding, file, original, eyes)? || mutants::is(Mutant::CopiesNotAwaited) {
        return Ok(Wait::No);
    }
    let copy = deciding.decision.copies.get(&file.name);
    let is_gone = copy.is_some_and(|copy| match copy.of {
        Original::Known(key) => deciding.unlinked.contains_key(&key),
        Original::New(_) => false,
    });
    if is_gone {
        // The original was deleted meanwhile: it was a copy
        return Ok(Wait::Yes);
    }
    let since = copy.map(|copy| copy.since);
    let waited =
        since.is_some_and(|since| deciding.known.now.0.saturating_sub(since.0) >= DECIDE_AFTER);
    if waited {
        deciding.decision.copies.remove(&file.name);
        deciding.decision.doubt(Doubt::TookForOwn);
    }
    Ok(if waited { Wait::Over } else { Wait::Yes })
}

/// Whether a file is the beginning of a content of this log that lies elsewhere. It is remembered as
/// such, as the original may be truncated or deleted next.
fn is_copy(
    deciding: &mut Deciding,
    file: &Listed,
    log: LogId,
    eyes: &mut dyn Eyes,
) -> io::Result<bool> {
    let (originals, unlinked) = originals(deciding, file, log);
    if originals.is_empty() && unlinked.is_empty() {
        return Ok(false);
    }
    let text = Beginning::of(file, eyes)?;
    let mut all = Vec::new();
    for key in unlinked {
        if let Some((_, mut bytes)) = eyes.held(key) {
            if text.is_of(&mut *bytes)? {
                all.push(Original::Known(key));
            }
        }
    }
    for original in originals {
        let id = original.stat.id;
        let key = deciding.holds.get(&id);
        let known = key.and_then(|key| deciding.known.contents.get(key));
        // An archive is not opened where its head is known to be another one
        let may_be = known.is_none_or(|known| {
            !original.is_archive() || text.head.len() < HEAD || known.evidence.may_begin(&text.head)
        });
        // Several begin as a banner does
        let is_enough = !all.is_empty() && text.length > HEAD as u64;
        if !is_enough && may_be && text.is_of(&mut *eyes.open(original)?)? {
            all.push(key.map_or(Original::New(id), |key| Original::Known(*key)));
        }
    }
    let Some(of) = all.first().copied() else {
        return Ok(false);
    };
    let now = deciding.known.now;
    let known = deciding.known.copies.get(&file.name);
    let known = known.filter(|copy| copy.id == file.stat.id && copy.length == text.length);
    let mut evidence = Evidence::taken(text.length, &mut *eyes.open(file)?)?;
    let original = match of {
        Original::Known(key) => deciding.known.contents.get(&key).map(|of| &of.evidence),
        Original::New(_) => None,
    };
    let was_banner = original.is_some_and(|of| !of.is_distinct() && of.end() >= text.length)
        || known.is_some_and(|copy| !copy.evidence.is_distinct());
    if was_banner || all.len() > 1 {
        evidence.set_shared();
    }
    let copied = Copied {
        id: file.stat.id,
        evidence,
        of,
        length: text.length,
        since: known.map_or(now, |copy| copy.since),
    };
    deciding.decision.copies.insert(file.name.clone(), copied);
    Ok(true)
}

/// The files, and the contents in files without a name, of which a file may be the copy.
fn originals<'a>(
    deciding: &Deciding<'a>,
    file: &Listed,
    log: LogId,
) -> (Vec<&'a Listed>, Vec<ContentKey>) {
    let is_of = |key: &ContentKey| {
        let content = deciding.known.contents.get(key);
        content.is_some_and(|content| content.log == log || deciding.is_neighbour(content, file))
    };
    let fresh = deciding.fresh.iter().filter(|(of, _)| *of == log);
    let holding = deciding.holds.iter().filter(|(_, key)| is_of(key));
    let holding = holding.filter_map(|(id, _)| deciding.places.get(id));
    // In the order of the listing
    let named: BTreeSet<usize> = sort::gathered(fresh.map(|(_, at)| *at).chain(holding.copied()));
    let named = named.into_iter().map(|at| deciding.file(at));
    let named = named
        .filter(|other| other.stat.id != file.stat.id)
        .collect();
    let unlinked = deciding.unlinked.keys().copied().filter(is_of).collect();
    (named, unlinked)
}

/// The text of a file that may be the beginning of another one.
struct Beginning {
    head: Vec<u8>,
    end: Vec<u8>,
    length: u64,
}

impl Beginning {
    fn of(file: &Listed, eyes: &mut dyn Eyes) -> io::Result<Beginning> {
        let mut bytes = eyes.open(file)?;
        let length = length(file, &mut *bytes)?;
        Ok(Beginning {
            head: head_bytes(&mut *bytes)?,
            end: before(length, BLOCK, &mut *bytes)?,
            length,
        })
    }

    fn is_of(&self, bytes: &mut dyn Bytes) -> io::Result<bool> {
        let begins = head_bytes(bytes)?.starts_with(&self.head);
        Ok(begins && before(self.length, BLOCK, bytes)? == self.end)
    }
}

/// The length of a file's text; of an archive all of it has to be read for that.
pub(super) fn length(file: &Listed, bytes: &mut dyn Bytes) -> io::Result<u64> {
    if !file.is_archive() {
        return Ok(file.stat.length);
    }
    bytes.length()
}

/// The verdict by the name of a file that came since the last look.
fn by_name(deciding: &Deciding, rotation: &Rotation, renewed: bool) -> Verdict {
    let log = rotation.log;
    // Of this log, and such that a wildcard has as logs of their own
    let (mut standing, mut own) = (Vec::new(), Vec::new());
    let stood = deciding.known.schemes.get(&log);
    let found = &deciding.decision.schemes;
    let mut has_scheme = stood.is_some_and(|s| s.contains(&rotation.scheme))
        || found.contains(&(log, rotation.scheme.clone()));
    for file in &deciding.snapshot.files {
        let copy = deciding.decision.copies.get(&file.name).and_then(|copy| {
            let Original::Known(key) = copy.of else {
                return None;
            };
            let of = deciding.known.contents.get(&key)?;
            if is_shown(deciding, of) {
                // It may be what a rotation is about to truncate: nothing is older than that
                return None;
            }
            // A banner alone is not the copy of one content more than of another
            (copy.length > 0 && copy.length >= of.evidence.end()).then_some(of.key)
        });
        let held = deciding.holds.get(&file.stat.id).copied();
        let content = held.or(copy);
        let content = content.and_then(|key| deciding.known.contents.get(&key));
        let known = Rotation::of(log, &file.name, deciding.policy);
        if let (Some(content), Some(known)) = (content, known) {
            if known.scheme == rotation.scheme {
                has_scheme = true;
                let is_part = copy.is_some() || deciding.is_part(content);
                let is_told =
                    content.evidence.is_distinct() && !deciding.shared.contains(&content.key);
                let is_copy = is_part && is_told && !content.was_vague;
                if is_copy || deciding.is_proved(content) {
                    own.extend((content.log == log).then(|| known.clone()));
                    standing.push(known);
                }
            }
        }
    }
    if !has_scheme && !mutants::is(Mutant::SchemeIgnored) {
        return Verdict::UnknownScheme(log);
    }
    let is_after = |known: &Rotation| known.is_older_than(rotation) == Some(true);
    let is_before = |known: &Rotation| rotation.is_older_than(known) == Some(true);
    if own.iter().any(is_after) && own.iter().any(is_before) {
        return Verdict::Unseen(log);
    }
    let is_old = standing.iter().any(is_before) && !mutants::is(Mutant::OrderIgnored);
    match (is_old, renewed) {
        (true, _) => Verdict::OutOfOrder(log),
        (false, true) => Verdict::Unseen(log),
        (false, false) => Verdict::NotRenewed(log),
    }
}

/// Up to where a file has the text that is known of a content which lies elsewhere. They may be two
/// contents that begin alike, or the content may have been there and what is where it was is another one.
fn shares_text(
    deciding: &mut Deciding,
    file: &Listed,
    log: LogId,
    eyes: &mut dyn Eyes,
) -> io::Result<Option<u64>> {
    for content in deciding.known.contents.values() {
        if content.log != log || !deciding.holds.values().any(|key| *key == content.key) {
            continue;
        }
        let agreement = content.evidence.compare(&mut *eyes.open(file)?)?;
        if agreement == Agreement::Whole {
            deciding.decision.doubt(Doubt::SeveralCopies);
            return Ok(Some(content.read));
        }
    }
    Ok(None)
}

/// A new content of a log.
fn born(
    deciding: &mut Deciding,
    file: &Listed,
    log: LogId,
    start: Start,
    may_repeat: bool,
    eyes: &mut dyn Eyes,
) -> io::Result<()> {
    let (start, skipped) = match start {
        Start::Begin => (0, None),
        Start::At(position, why) => (position, why),
        #[cfg(test)]
        Start::End => (
            last_line_end(file.stat.length, &mut *eyes.open(file)?)?,
            None,
        ),
    };
    let sight = deciding.sight(file, log, None, eyes)?;
    let mut files = deciding.snapshot.files.iter();
    let at = files.position(|other| other.name == file.name);
    deciding.fresh.extend(at.map(|at| (log, at)));
    deciding.decision.changes.push(Change::Born(Born {
        log,
        sight,
        start,
        skipped,
        may_repeat,
    }));
    Ok(())
}

/// The proof of the text that a file has now, read or not: an equal banner at its start is not enough.
pub(super) fn seen_text_of(file: &Listed, bytes: &mut dyn Bytes) -> io::Result<Evidence> {
    match file.is_archive() {
        true => {
            let length = length(file, bytes)?;
            Evidence::taken(last_line_end(length, bytes)?, bytes)
        }
        false => seen_text(file.stat.length, bytes),
    }
}

/// The same of a file that is not compressed.
pub(super) fn seen_text(length: u64, bytes: &mut dyn Bytes) -> io::Result<Evidence> {
    steady(
        Evidence::taken(last_line_end(length, bytes)?, bytes)?,
        bytes,
    )
}

/// The proof of the text of a file that was longer than it was `known`, or is as it was.
pub(super) fn seen_on(
    mut known: Evidence,
    length: u64,
    bytes: &mut dyn Bytes,
) -> io::Result<Evidence> {
    known.see(last_line_end(length, bytes)?, bytes)?;
    steady(known, bytes)
}

/// Evidence that was gathered by several reads, if the file has that text still. One that was truncated and written
/// anew in between gave the head of one text and the end of another, which no file will ever have.
pub(super) fn steady(text: Evidence, bytes: &mut dyn Bytes) -> io::Result<Evidence> {
    match text.agrees_nearby(bytes)? {
        true => Ok(text),
        false => Err(io::Error::other("it is written anew at this moment")),
    }
}

/// The end of the last line that has one, as far as it is near. A file that ends with many zeros is
/// preallocated: where its text ends is not known.
pub(super) fn last_line_end(length: u64, bytes: &mut dyn Bytes) -> io::Result<u64> {
    let end = before(length, 64 << 10, bytes)?;
    let text = without_zeros(&end);
    Ok(match text.is_empty() {
        true => 0,
        false => length - (end.len() - line_end(text)) as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that is truncated and written anew after some reads.
    struct Rewritten {
        texts: [Vec<u8>; 2],
        reads: usize,
    }

    impl Bytes for Rewritten {
        fn read_at(&mut self, mut buf: &mut [u8], offset: u64) -> io::Result<usize> {
            let text = &self.texts[usize::from(self.reads == 0)];
            self.reads = self.reads.saturating_sub(1);
            let rest = text.get(offset as usize..).unwrap_or_default();
            io::Write::write(&mut buf, rest)
        }
    }

    #[test]
    fn a_file_that_is_rewritten_during_a_look_gives_no_proof_of_two_texts() {
        let lines = |name: &str, count: u32| -> Vec<u8> {
            let all = (0..count).map(|n| format!("{name} line {n:06}\n"));
            all.collect::<String>().into_bytes()
        };
        for (before, after) in [(400, 5), (400, 400), (400, 2_000), (30, 400)] {
            let texts = [lines("old", before), lines("new", after)];
            let length = texts[0].len() as u64;
            let mut sound = 0;
            for (reads, is_known) in (0..40).flat_map(|n| [(n, false), (n, true)]) {
                let mut file = Rewritten {
                    texts: texts.clone(),
                    reads,
                };
                // Of a file that nobody has read, and of one of which the beginning is known
                let mut known = Evidence::taken(length.min(510), &mut &texts[0][..]).unwrap();
                let seen = match is_known {
                    false => seen_text(length, &mut file),
                    true => known
                        .see(length, &mut file)
                        .and_then(|()| steady(known, &mut file)),
                };
                let Ok(seen) = seen else { continue };
                let whole = |text: &Vec<u8>| {
                    let agreement = seen.compare(&mut &text[..]);
                    agreement.is_ok_and(|agreement| agreement == Agreement::Whole)
                };
                assert!(
                    texts.iter().any(whole),
                    "{before} {after} {reads} {is_known}"
                );
                sound += 1;
            }
            assert!(sound > 0);
        }
    }
}
