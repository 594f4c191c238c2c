//! Looking at followed paths. A glance compares one file with what is known of it; where it leaves a
//! question, a look at all files of the log's family goes to the ledger's decision.

use super::counters::Skip;
use super::eyes::{OpenEyes, Plain};
use super::family::{Family, Seen};
use super::identity::{self, FileId};
use super::ledger::{
    decide, Bytes, Content, ContentKey, Decision, Doubt, Glance, Listed, LogId, Moment, Note,
    Phase, Place, Remembered, SequenceId, Stat, Verdict,
};
use super::log::Log;
use super::source::{is_gone, path_of, Reading, Source};
use super::tailer::{Tailer, Waiting};
use super::trust;
use super::verdict::OVERFLOWN;
use crate::util::random;
use crate::util::time::now_secs;
use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

/// A log that has not grown for this long before, in seconds, rests as soon as it is read.
const SPARSE: u8 = 3;
/// How long an unchanged rotated file is left alone between two looks.
const ROTATED_INTERVAL: Duration = Duration::from_secs(2);
/// The pause between looks at a file that may be a copy in the making.
const WAITING_INTERVAL: Duration = Duration::from_millis(500);
/// How often files are looked at that are moved meanwhile, before what was seen counts.
const MOST_LOOKS: usize = 3;
/// The most files that wait so and are kept open, so that what is deleted meanwhile can be read.
const MOST_WAITING: usize = 64;
/// As many files are taken for those of a family at least where its folder can't be listed.
const MOST_UNLISTED: usize = 8;
/// A file that is left alone because of its name is named in agent.log this seldom.
const NAMED_EVERY: Duration = Duration::from_secs(7 * 86_400);

/// The finding of a glance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// Nothing new.
    Nothing,
    /// Bytes to read.
    Growth,
    /// Something that only a look at all files of the family can tell.
    Question,
}

impl Tailer {
    /// Looks at a log's path and at its rotated files, and plans the next look.
    pub(super) fn look(&mut self, number: u64, now: Instant) {
        let Some(log) = self.logs.get_mut(&number) else {
            return;
        };
        if log.in_memory {
            return self.look_at_memory(number, now);
        }
        log.last_check = Some(now_secs());
        let id = log.id();
        if let Some(watching) = &mut self.watching {
            watching.begin_look();
        }
        // Nothing to deliver until now counts as success for copy_staleness_threshold
        let caught_up = self.pending(id) == 0;
        let found = match self.glance_at_path(number, now) {
            Ok(found) => found,
            Err(e) => {
                self.failed(number, &e, now);
                return;
            }
        };
        let rotated = self.glance_at_rotated(id, now);
        let mut grown = found == Found::Growth || rotated == Found::Growth;
        // Something that came with a rotation could not be read: an archive that was still written, for one
        let is_open = self.ledger.listing(id).is_some_and(Remembered::is_open);
        if found == Found::Question || rotated == Found::Question || is_open {
            grown |= self.look_at_family(number, now);
        } else if !grown {
            self.is_well(number);
        }
        self.note_growth(number, now);
        self.plan_after_look(number, grown, caught_up, now);
    }

    /// A path that can be looked at again, and of which nothing is left to read, is not in error any more: no
    /// read would show that.
    fn is_well(&mut self, number: u64) {
        let Some(log) = self.logs.get_mut(&number) else {
            return;
        };
        if log.error.is_some() {
            let shown = self.ledger.shown(log.id());
            if shown.is_some_and(|content| content.unread() == 0) {
                log.error = None;
            }
        }
    }

    fn plan_after_look(&mut self, number: u64, grown: bool, caught_up: bool, now: Instant) {
        let idle = self.idle_interval();
        let min = self.settings.min_poll;
        let seconds = now.saturating_duration_since(self.started).as_secs() as u8;
        let round = self.round;
        let Some(log) = self.logs.get_mut(&number) else {
            return;
        };
        if caught_up {
            log.last_success = now;
        }
        if grown {
            if seconds.wrapping_sub(log.grown_at) >= SPARSE {
                log.sparse_in = round;
            }
            log.grown_at = seconds;
        }
        log.interval = match grown {
            true => min,
            false => log.interval.max(min).mul_f64(1.5).min(idle),
        };
        if caught_up && !grown && log.interval == idle {
            log.outfit = None;
        }
        let Need {
            mut has_more,
            wake,
            must_look,
        } = self.need(number);
        has_more |= grown;
        if has_more || wake.is_some_and(|at| at <= now) {
            self.make_ready(number);
        }
        if !has_more && wake.is_none() && !must_look && self.may_rest(number) {
            return self.plan_rest(number, caught_up, now);
        }
        self.plan(number, now, wake.filter(|at| *at > now));
    }

    /// The things that a log waits for, whose pause is made shorter where looks are needed soon.
    fn need(&mut self, number: u64) -> Need {
        let mut need = Need::default();
        let min = self.settings.min_poll;
        let Some(log) = self.logs.get_mut(&number) else {
            return need;
        };
        if log.waits {
            log.interval = log.interval.min(WAITING_INTERVAL);
        }
        let keys = self.ledger.of_log(log.id());
        let contents = keys.iter().filter_map(|key| self.ledger.get(*key));
        let contents = contents.map(|content| (content, self.readings.get(&content.key)));
        let is_open = self.ledger.listing(log.id());
        let is_open = is_open.is_some_and(Remembered::is_open);
        need.must_look = log.waits || log.error.is_some() || is_open;
        for (content, reading) in contents {
            if content.phase != Phase::Shown && reading.is_some() {
                need.must_look = true;
                log.interval = log.interval.min(ROTATED_INTERVAL.max(min));
            }
            let partial = reading.and_then(|reading| reading.partial);
            // An unterminated line is due when its time is up
            let due = partial.map(|(_, since)| since + self.settings.line_completion_wait);
            need.wake = need.wake.into_iter().chain(due).min();
            need.has_more |= content.unread() > 0 && partial.is_none();
        }
        need
    }

    /// After all was read that a look in this round had found: whether the log may rest without another look. Not one
    /// that grows every few seconds, which is looked at as soon as it may have more.
    pub(super) fn rests_again(&mut self, number: u64, now: Instant) -> bool {
        let round = self.round;
        let is_sparse = |log: &Log| log.sparse_in == round;
        if !self.logs.get(&number).is_some_and(|log| is_sparse(log)) {
            return false;
        }
        let need = self.need(number);
        let is_done = !need.has_more && need.wake.is_none() && !need.must_look;
        if !is_done || !self.may_rest(number) {
            return false;
        }
        self.plan_rest(number, false, now);
        true
    }

    /// Known bytes of a log that are not settled.
    pub(super) fn pending(&self, log: LogId) -> u64 {
        let contents = self.ledger.of_log(log).iter();
        let contents = contents.filter_map(|key| self.ledger.get(*key));
        contents.map(Content::pending).sum()
    }

    /// Compares what a log's path shows with what is known.
    fn glance_at_path(&mut self, number: u64, now: Instant) -> io::Result<Found> {
        let Some(log) = self.logs.get(&number) else {
            return Ok(Found::Nothing);
        };
        let path = log.path.clone();
        let shown = self.ledger.shown(log.id()).map(|content| content.key);
        let meta = match self.shown(log) {
            Ok(meta) if meta.is_file() => meta,
            Err(e) if !is_gone(&e) && trust::refusal(&e).is_none() => return Err(e),
            other => {
                // A file that comes and is rotated between two looks changes the folder
                let had_any = shown.is_some()
                    || log.foreign.is_some()
                    || log.waits
                    || log.folder_changed != identity::folder_changed(&path);
                if let Err(e) = other {
                    if trust::refusal(&e).is_some() {
                        self.failed(number, &e, now);
                    }
                }
                return Ok(match had_any {
                    true => Found::Question,
                    false => Found::Nothing,
                });
            }
        };
        let Some(log) = self.logs.get_mut(&number) else {
            return Ok(Found::Nothing);
        };
        log.has_links = meta.nlink() > 1;
        let Some(key) = shown else {
            let stat = identity::stat_of(&path, &meta);
            return Ok(match log.foreign.as_deref() == Some(&stat) && !log.waits {
                // Still what it was, and still another log's
                true => Found::Nothing,
                false => Found::Question,
            });
        };
        // The creation is not asked for at each glance: the file that has the inode by now would begin anew,
        // which the first page shows
        let stat = identity::stat_at_a_glance(&meta);
        let found = self.glance(key, &stat, now);
        if found == Found::Nothing {
            self.close_idle(key, now);
        }
        Ok(found)
    }

    /// Compares one file with the content that it is known to hold.
    fn glance(&mut self, key: ContentKey, stat: &Stat, now: Instant) -> Found {
        let Some(content) = self.ledger.get(key) else {
            return Found::Nothing;
        };
        let held = self.readings.get(&key).and_then(|it| it.source.as_ref());
        let mut bytes = || -> io::Result<Box<dyn Bytes + '_>> {
            if let Some(Source::Plain(file)) = held {
                return Ok(Box::new(file));
            }
            let name = content.place.file().map(|at| path_of(&at.name));
            let (file, _) = identity::open(name.ok_or(io::ErrorKind::NotFound)?)?;
            Ok(Box::new(Plain(file)))
        };
        let glance = super::ledger::glance(content, stat, &mut bytes);
        match glance {
            Glance::Same => Found::Nothing,
            Glance::Touched => {
                self.ledger.confirm(key, stat.stamp);
                Found::Nothing
            }
            Glance::Grown => {
                if let Some(watching) = &mut self.watching {
                    watching.grown += stat.length.saturating_sub(content.length);
                }
                self.ledger.has_grown(key, stat.length);
                let reading = self
                    .readings
                    .entry(key)
                    .or_insert_with(|| Reading::new(now));
                reading.growth = now;
                reading.check_head = true;
                reading.seen = Some(stat.stamp);
                Found::Growth
            }
            Glance::Question => Found::Question,
        }
    }

    /// Closes a file that had nothing new for long.
    fn close_idle(&mut self, key: ContentKey, now: Instant) {
        let unread = self.ledger.get(key).map_or(0, Content::unread);
        let Some(reading) = self.readings.get(&key) else {
            return;
        };
        let idle = now.saturating_duration_since(reading.growth);
        let close = self.settings.close_old_files;
        if reading.source.is_some() && unread == 0 && close.is_some_and(|limit| idle > limit) {
            self.close(key);
        }
    }

    /// Compares the files of a log that its path does not show any more, and stops to look at those that are
    /// done.
    fn glance_at_rotated(&mut self, log: LogId, now: Instant) -> Found {
        let mut found = Found::Nothing;
        for key in self.ledger.of_log(log).to_vec() {
            let (Some(content), Some(reading)) = (self.ledger.get(key), self.readings.get(&key))
            else {
                continue;
            };
            if content.phase == Phase::Shown {
                continue;
            }
            let held = match &reading.source {
                Some(Source::Plain(file)) => Some(file.metadata()),
                _ => None,
            };
            let meta = match (&content.place, held) {
                (Place::At(_) | Place::Unlinked(_), Some(meta)) => Some(meta),
                (Place::At(at), None) => Some(identity::stat(path_of(&at.name))),
                _ => None,
            };
            let is_done = content.phase == Phase::Finished;
            let since = reading.left.max(reading.growth);
            let limit = match content.place {
                Place::Unlinked(_) => self.settings.deletion_delay,
                _ => self.settings.rotated_grace,
            };
            let is_over = now.saturating_duration_since(since) > limit;
            let one = match meta {
                Some(Ok(meta)) => self.glance(key, &identity::stat_at_a_glance(&meta), now),
                Some(Err(e)) if is_gone(&e) => Found::Question,
                Some(Err(_)) | None => Found::Nothing,
            };
            if one == Found::Nothing && is_done && is_over {
                self.stop_reading(key);
            }
            found = match (found, one) {
                (Found::Question, _) | (_, Found::Question) => Found::Question,
                (Found::Growth, _) | (_, Found::Growth) => Found::Growth,
                _ => Found::Nothing,
            };
        }
        found
    }

    /// The moment as the ledger counts.
    pub(super) fn moment(&self, now: Instant) -> Moment {
        let since = now.saturating_duration_since(self.started);
        Moment(1 + since.as_millis() as u64)
    }

    /// Looks at all files of a log's family, and takes in what has changed. True if there is something to
    /// read.
    pub(super) fn look_at_family(&mut self, number: u64, now: Instant) -> bool {
        let family = self.family_of(number);
        let mut seen = self.see(&family, false);
        let mut decision = self.decide(&family, &seen, now);
        let mut deep = false;
        for _ in 1..MOST_LOOKS {
            let is_missing = !seen.is_deep && decision.decision.misses_something();
            if !(is_missing || decision.decision.is_questionable() && seen.is_torn()) {
                break;
            }
            deep |= is_missing;
            seen = self.see(&family, deep);
            decision = self.decide(&family, &seen, now);
        }
        let grown = self.take_in(decision, &family, &seen, now);
        self.let_go(&family, &seen, now);
        for (number, e) in &seen.errors {
            self.failed(*number, e, now);
        }
        grown
    }

    /// Decides what a look has found, and changes nothing.
    pub(super) fn decide(&mut self, family: &Family, seen: &Seen, now: Instant) -> Looked {
        let files = seen.snapshot.files.iter().map(|file| file.stat.id);
        let files: Vec<FileId> = files.collect();
        let now = self.moment(now);
        let shows = |content: &Content| self.is_shown_now(content);
        let root = super::log::id_of(family.root);
        let scope = self.ledger.scope(root, &family.ids(), &files, &shows, now);
        let readings = std::mem::take(&mut self.readings);
        let waiting = std::mem::take(&mut self.waiting);
        let mut sight = OpenEyes {
            readings: &readings,
            waiting: &waiting,
            cache: None,
        };
        let decision = decide(
            &scope.known(),
            &seen.snapshot,
            &mut sight,
            &self.claims(family),
        );
        self.readings = readings;
        self.waiting = waiting;
        Looked { scope, decision }
    }

    fn take_in(&mut self, looked: Looked, family: &Family, seen: &Seen, now: Instant) -> bool {
        let Looked {
            scope,
            mut decision,
        } = looked;
        let verdicts = std::mem::take(&mut decision.verdicts);
        self.has_found |= decision.misses_something();
        self.tell_doubts(&decision, family);
        let mut ledger = std::mem::take(&mut self.ledger);
        let mut sequence = || SequenceId(random::uuid4_bytes());
        let notes = ledger.apply(&scope, decision, &self.claims(family), &mut sequence);
        self.ledger = ledger;
        let mut grown = false;
        for note in notes {
            grown |= self.take_note(note, now);
        }
        self.take_verdicts(verdicts, family, seen, now);
        self.left_open.clear();
        grown
    }

    /// Opens, counts and tells what one change asks for. True if there is something to read.
    fn take_note(&mut self, note: Note, now: Instant) -> bool {
        self.has_found |= !matches!(note, Note::Seen { moved: false, .. });
        match note {
            Note::Born {
                key,
                log,
                skipped,
                may_repeat,
            } => {
                self.readings.insert(key, Reading::new(now));
                self.born(key, u64::from(log.0), skipped, may_repeat, now);
                false
            }
            Note::Forgotten { key } => {
                self.release_file(key);
                self.stop_reading(key);
                false
            }
            Note::Owned { key, log } => {
                self.has_log(key, u64::from(log.0), now);
                false
            }
            Note::Seen { key, moved } => self.found(key, moved, now),
            Note::Lost {
                key,
                bytes,
                overwritten,
            } => {
                self.release_file(key);
                self.lost(key, bytes, overwritten);
                false
            }
            Note::Edited { key, from } => {
                if let Some(reading) = self.readings.get_mut(&key) {
                    reading.restart(now);
                }
                if let Some(at) = self
                    .ledger
                    .get(key)
                    .map(|content| content.place.last_name())
                {
                    log::info!(
                        "{} was edited below the position; it is copied from byte {from} on",
                        path_of(at).display()
                    );
                }
                true
            }
        }
    }

    fn born(
        &mut self,
        key: ContentKey,
        number: u64,
        skipped: Option<(Skip, u64)>,
        may_repeat: bool,
        now: Instant,
    ) {
        let Some(content) = self.ledger.get(key) else {
            return;
        };
        let (length, shown) = (content.length, content.phase == Phase::Shown);
        let at = path_of(content.place.last_name()).to_path_buf();
        if content.unread() > 0 {
            // While the server is slow its turn may come after it was deleted
            self.hold(key);
        }
        self.has_log(key, number, now);
        let Some(log) = self.logs.get_mut(&number) else {
            return;
        };
        if let Some((why, bytes)) = skipped.filter(|(_, bytes)| *bytes > 0) {
            log.counters.skip(why, bytes);
        }
        if may_repeat {
            log.counters.get_mut().repeated += length;
            log::info!(
                "{} begins with the text of another log, which was not truncated: it is copied as a log of its own",
                at.display()
            );
        }
        if !shown {
            let words = Verdict::Unseen(log.id()).words(&log.path);
            log::info!("{}: {words}", at.display());
        }
    }

    /// Follows the path at which a content lies, if it is matched and no scan has come by yet.
    fn has_log(&mut self, key: ContentKey, number: u64, now: Instant) {
        let at = self
            .ledger
            .get(key)
            .map(|content| path_of(content.place.last_name()).to_path_buf());
        let Some(at) = at.filter(|_| !self.logs.contains_key(&number)) else {
            return;
        };
        // It was promised under this path, also where the content lies elsewhere by now
        let promised = self
            .promised
            .iter()
            .find(|(_, promised)| **promised == number);
        let path = promised.map_or(at, |(path, _)| path.clone());
        if let Some(entry) = self.entry_for(&path) {
            let number = self.follow_nothing(&path, &entry, now);
            self.plan(number, now, Some(now));
        }
    }

    /// A content was found.
    fn found(&mut self, key: ContentKey, moved: bool, now: Instant) -> bool {
        let Some(content) = self.ledger.get(key) else {
            return false;
        };
        let number = u64::from(content.log.0);
        let unread = content.unread() > 0;
        let shown = content.phase == Phase::Shown;
        let file = content
            .place
            .last_file()
            .map(|at| (at.id, at.birth, path_of(&at.name).to_path_buf()));
        let is_finished = content.phase == Phase::Finished;
        let path = self.logs.get(&number).map(|log| log.path.to_path_buf());
        if let (Some((id, birth, _)), Some(path)) = (&file, &path) {
            self.hold_file(key, *id, *birth, path);
        }
        if is_finished && !self.readings.contains_key(&key) && !moved {
            return false;
        }
        let reading = self
            .readings
            .entry(key)
            .or_insert_with(|| Reading::new(now));
        let is_open = reading.source.is_some();
        if is_open
            && file
                .as_ref()
                .is_some_and(|(id, ..)| Some(*id) != reading.id)
        {
            // It goes on in a copy. The file may hold what took its place, and have no name any more
            if let (Some(Source::Plain(file)), Some(id)) = (reading.source.take(), reading.id) {
                self.left_open.insert(id, file);
            }
            reading.restart(now);
            self.open = self.open.saturating_sub(1);
            log::info!(
                "{} was truncated or moved away; its former content is finished from {}",
                path.unwrap_or_default().display(),
                file.map(|(_, _, at)| at).unwrap_or_default().display()
            );
        } else if moved {
            reading.left = now;
        }
        if let Some(reading) = self.readings.get_mut(&key) {
            reading.check_head = true;
            if !shown && moved {
                reading.left = now;
            }
        }
        if !is_finished || shown {
            self.hold(key);
        }
        self.rest(key);
        if unread {
            self.make_ready(number);
        }
        unread
    }

    fn lost(&mut self, key: ContentKey, bytes: u64, overwritten: bool) {
        let Some(content) = self.ledger.get(key) else {
            return;
        };
        let Some(log) = self.logs.get_mut(&u64::from(content.log.0)) else {
            return;
        };
        let path = log.path.display();
        if bytes == 0 {
            let how = match overwritten {
                true => "was truncated or overwritten",
                false => "was deleted or moved away",
            };
            log::info!("{path} {how}; all that was known of it had been read");
        } else if overwritten {
            log.counters.skip(Skip::Truncated, bytes);
            log::warn!(
                "{path} was truncated or overwritten before its last {bytes} bytes were read, and no copy of them \
                 was found: they are lost"
            );
        } else {
            log.counters.skip(Skip::Vanished, bytes);
            log::warn!(
                "{path} was deleted or moved away before its last {bytes} bytes were read, and what it held is \
                 nowhere in its directory: they are lost"
            );
        }
    }

    /// Tells of questions that evidence leaves open, where no message about the file does.
    fn tell_doubts(&mut self, decision: &Decision, family: &Family) {
        let Some(root) = self.logs.get(&family.root) else {
            return;
        };
        let path = root.path.display();
        let kinds = decision.doubts.keys();
        let untold =
            kinds.filter(|kind| matches!(kind, Doubt::SeveralCopies | Doubt::NothingToCompare));
        let overflown = decision.remembered.is_overflown().then_some(OVERFLOWN);
        for words in untold.map(|kind| kind.words()).chain(overflown) {
            if self.throttle.allow(&format!("{words} {path}"), NAMED_EVERY) {
                log::warn!("{path}, or a rotated file of it: {words}");
            }
        }
    }

    /// Remembers what the paths of logs show that is not theirs, and names files that are left alone.
    fn take_verdicts(
        &mut self,
        verdicts: BTreeMap<Box<[u8]>, Verdict>,
        family: &Family,
        seen: &Seen,
        now: Instant,
    ) {
        for number in &family.logs {
            let Some(log) = self.logs.get_mut(number) else {
                continue;
            };
            let name = super::source::name_of(&log.path);
            let shown = self
                .ledger
                .shown(log.id())
                .and_then(|content| content.place.location());
            let mut files = seen.snapshot.files.iter();
            let file = files.find(|file| file.name == name);
            log.foreign = file
                .filter(|file| Some(file.stat.id) != shown)
                .map(|file| Box::new(file.stat));
            let waits = matches!(verdicts.get(&name), Some(Verdict::Waits(_)));
            log.waits = waits;
            if waits {
                log.due = now;
                self.wait_for(*number, file, now);
            } else {
                self.waiting.remove(&*log.path);
            }
        }
        self.keep_verdicts(&verdicts);
        for (name, verdict) in &verdicts {
            let (Verdict::UnknownScheme(log) | Verdict::OutOfOrder(log) | Verdict::NotRenewed(log)) =
                verdict
            else {
                continue;
            };
            let Some(log) = self.logs.get(&u64::from(log.0)) else {
                continue;
            };
            let name = path_of(name).display();
            if self.throttle.allow(&format!("unseen {name}"), NAMED_EVERY) {
                let (words, advice) = (verdict.words(&log.path), verdict.advice());
                log::warn!("{name}: {words}. {}", advice.unwrap_or_default());
            }
        }
    }

    /// Keeps a file open that may be a copy in the making, as it may be deleted before that is clear.
    fn wait_for(&mut self, number: u64, file: Option<&Listed>, now: Instant) {
        let (Some(log), Some(file)) = (self.logs.get(&number), file) else {
            return;
        };
        let path = log.path.to_path_buf();
        let known = self.waiting.get(&path);
        let is_held = known.is_some_and(|waiting| waiting.id == file.stat.id);
        let has_room =
            self.waiting.len() < MOST_WAITING && self.open < self.settings.max_open_files;
        if !is_held && has_room {
            if let Ok((opened, meta)) = identity::open(&path) {
                if FileId::of(&meta) == file.stat.id {
                    let waiting = Waiting {
                        file: opened,
                        id: file.stat.id,
                    };
                    self.waiting.insert(path, waiting);
                }
            }
        }
        self.plan(number, now, Some(now + WAITING_INTERVAL));
    }

    /// Forgets contents of a family that were absent for long.
    fn let_go(&mut self, family: &Family, seen: &Seen, now: Instant) {
        let delay = self.settings.deletion_delay.as_millis() as u64;
        let logs = &self.logs;
        let keep = |id: LogId| {
            let log = logs.get(&u64::from(id.0));
            log.is_some_and(|log| !log.entry.is_glob)
        };
        let (ids, moment) = (family.ids(), self.moment(now));
        let files = seen.snapshot.files.len();
        // Only a listing justifies letting go of a content, but for the bound on memory
        let (delay, files) = match seen.snapshot.is_partial {
            true => (u64::MAX, files.max(MOST_UNLISTED)),
            false => (delay, files),
        };
        for key in self.ledger.forget(&ids, moment, delay, files, &keep) {
            self.release_file(key);
            self.stop_reading(key);
        }
    }

    /// Nothing more is to be read of a content.
    pub(super) fn stop_reading(&mut self, key: ContentKey) {
        self.close(key);
        self.readings.remove(&key);
    }

    /// Something about the log can't be read at the moment; it is tried again.
    pub(super) fn failed(&mut self, number: u64, e: &io::Error, now: Instant) {
        let idle = self.idle_interval();
        if matches!(e.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) {
            self.close_some();
        }
        if let Some(log) = self.logs.get_mut(&number) {
            let why = e.to_string();
            let path = log.path.display().to_string();
            if log.error.as_deref() != Some(&why)
                && self.throttle.allow(&path, Duration::from_secs(60))
            {
                log::warn!("{path} can't be read at the moment and is tried again: {why}");
            }
            log.error = Some(why.into());
            log.interval = idle.max(Duration::from_secs(1));
        }
        self.plan(number, now, None);
    }
}

/// The things that a log waits for.
#[derive(Default)]
struct Need {
    /// There is more to read.
    has_more: bool,
    /// When an unterminated line is due.
    wake: Option<Instant>,
    /// Something of it can only be seen by a look.
    must_look: bool,
}

/// A decision and what it was made from.
pub(super) struct Looked {
    pub scope: super::ledger::Scope,
    pub decision: super::ledger::Decision,
}
