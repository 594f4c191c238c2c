//! The file of the position journal: made by a start of the process, appended to, compacted.
//!
//! A file is only ever appended to, from the end that the process itself has written. What an earlier
//! process left behind, a torn end among it, is read, and written anew into a file that replaces it. After a
//! write or a sync that failed nothing more is appended either, as nobody knows which of the bytes are on
//! the disk: the journal is kept in memory then ([`Home::Memory`]) until it can be written anew. So no file
//! ever has a record behind a gap that a reader would take for sound.

use super::disk::Disk;
use super::format::{header, StartId};
use super::replay::{replay, Memory};
use crate::util::time::now_secs;
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

/// The file's name in the data directory.
pub const NAME: &str = "positions.journal";
/// Its name while it is written anew.
const NEW: &str = "positions.journal.new";
/// The beginning of the names of damaged parts; the time follows, in seconds since the epoch.
const DAMAGED: &str = "positions.journal.damaged-";
/// The most damaged parts that are kept, and the most bytes of one: they are there for a person to look at.
const DAMAGED_PARTS: usize = 4;
const DAMAGED_BYTES: usize = 256 << 10;
/// Bytes beyond the end that are always set aside for the file, so that a full disk does not stop it at once.
pub const RESERVE: u64 = 16 << 10;
/// A file that is no longer than this is not compacted.
const SMALL: u64 = 64 << 10;
/// How long after a failure it is tried again to write the file anew.
pub const RETRY: Duration = Duration::from_secs(15);

/// Where the journal is.
enum Home<F> {
    /// In a file, whose name leads to it.
    File(F),
    /// The bytes of the file as it should be, in memory: the disk fails.
    Memory(Vec<u8>),
    /// Another start of the agent has its own file in place of this one. Nothing is written any more.
    Lost,
}

/// A part of a file that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Why, a phrase.
    pub why: String,
    /// Its offset in the file, in bytes.
    pub at: u64,
    /// Its length in bytes, without zeros at its end.
    pub length: u64,
    /// The file in the data directory that holds it now, or the first 256 KiB of it; `None` if it
    /// could not be written.
    pub aside: Option<String>,
}

/// Counts since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Bytes that were written, those of compactions and reserved zeros not among them.
    pub bytes: u64,
    /// Writes of appended records.
    pub writes: u64,
    /// Syncs of the file or the folder.
    pub syncs: u64,
    /// How often the file was written anew.
    pub compactions: u64,
    /// Bytes that were written for that.
    pub compacted: u64,
    /// Damaged parts that were found.
    pub damaged: u64,
}

/// The open journal.
pub struct JournalFile<D: Disk> {
    disk: D,
    start: StartId,
    home: Home<D::File>,
    /// The file at the path, if the home is memory: it must be there still when it is replaced.
    old: Option<D::File>,
    /// The length of the journal in bytes.
    end: u64,
    /// Its length after the last compaction.
    live: u64,
    /// The offset up to which room is set aside.
    reserved: u64,
    is_synced: bool,
    /// Why the home is memory.
    trouble: Option<String>,
    /// Not before this moment is it tried again to write the file anew.
    retry: Option<Instant>,
    /// Records were lost with a file that could not be read back: the owners have to write all again.
    lacks: bool,
    /// The last damage that was found after the start.
    damage: Option<Damage>,
    counts: Counts,
    /// See [`SMALL`].
    pub(super) small: u64,
}

impl<D: Disk> JournalFile<D> {
    /// Reads what is there, and writes it anew, under the id of this start. An older writer is fenced by
    /// that: its file has no name any more. `seed` is what is remembered if there is no journal yet, or none
    /// that can be read. If nothing can be written, the journal is in memory; it is no error.
    ///
    /// # Errors
    /// The file is there, and can't be read. Nothing was changed then.
    pub fn open(
        disk: D,
        start: StartId,
        seed: impl FnOnce() -> Memory,
        now: Instant,
    ) -> io::Result<(Self, Memory)> {
        let old = match disk.open(NAME) {
            Ok(file) => Some(file),
            Err(e) if e.kind() == ErrorKind::NotFound => None,
            Err(e) => return Err(e),
        };
        let bytes = old.as_ref().map(|file| disk.read(file)).transpose()?;
        let mut file = JournalFile {
            disk,
            start,
            home: Home::Memory(Vec::new()),
            old,
            end: 0,
            live: 0,
            reserved: 0,
            is_synced: false,
            trouble: None,
            retry: None,
            lacks: false,
            damage: None,
            counts: Counts::default(),
            small: SMALL,
        };
        let bytes = bytes.unwrap_or_default();
        let replayed = replay(&bytes);
        if let Some(why) = replayed.wrong.filter(|_| file.old.is_some()) {
            file.set_aside(&bytes, replayed.sound, why);
        }
        let memory = match replayed.sound {
            0 => seed(),
            _ => replayed.memory,
        };
        file.take_home(&memory, now);
        Ok((file, memory))
    }

    /// Keeps the damaged end of the file under a name of its own, and deletes the oldest ones. A file of which
    /// nothing can be read gets that name as a whole: a later version of the agent may have written it.
    fn set_aside(&mut self, bytes: &[u8], from: usize, why: &str) {
        let bytes = bytes.get(from..).unwrap_or_default();
        let length = bytes.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1);
        let name = format!("{DAMAGED}{}", now_secs() as u64);
        let keep = || {
            let others = self.disk.names(DAMAGED)?;
            let surplus = (others.len() + 1).saturating_sub(DAMAGED_PARTS);
            for other in &others[..surplus] {
                self.disk.remove(other)?;
            }
            if from == 0 {
                return self.disk.rename(NAME, &name);
            }
            let file = self.disk.create(&name)?;
            self.disk
                .write(&file, 0, &bytes[..length.min(DAMAGED_BYTES)])
        };
        let kept = keep().is_ok();
        self.counts.damaged += 1;
        self.damage = Some(Damage {
            why: why.to_owned(),
            at: from as u64,
            length: length as u64,
            aside: kept.then_some(name),
        });
    }

    /// Appends records: one write. The error of the disk is the journal's trouble from here on.
    pub fn append(&mut self, records: &[u8], now: Instant) {
        if records.is_empty() {
            return;
        }
        let file = match &mut self.home {
            Home::Lost => return,
            Home::Memory(bytes) => {
                bytes.extend_from_slice(records);
                self.end = bytes.len() as u64;
                let is_large = self.end > self.small.max(2 * self.live);
                if let Some(memory) = is_large.then(|| replay(bytes).memory) {
                    self.remember(&memory);
                }
                return;
            }
            Home::File(file) => file,
        };
        let there = self.disk.id_at(NAME).and_then(|there| {
            let deleted = || io::Error::new(ErrorKind::NotFound, "the file was deleted");
            Ok(there.ok_or_else(deleted)? == self.disk.id(file)?)
        });
        match there {
            Ok(true) => {}
            Ok(false) => return self.home = Home::Lost,
            Err(e) => return self.fail(&e, records, now),
        }
        let end = self.end + records.len() as u64;
        if self.reserved < end + RESERVE {
            // The disk may be full: what was set aside before serves then
            let upto = end + 2 * RESERVE;
            let from = self.reserved.max(self.end);
            if self.disk.reserve(file, from, upto - from).is_ok() {
                self.reserved = upto;
            }
        }
        if let Err(e) = self.disk.write(file, self.end, records) {
            return self.fail(&e, records, now);
        }
        self.counts.bytes += records.len() as u64;
        self.counts.writes += 1;
        self.end = end;
        self.is_synced = false;
    }

    /// Waits until all that was appended would outlive a loss of power. Nothing is done where that is so.
    pub fn sync(&mut self, now: Instant) {
        let Home::File(file) = &self.home else { return };
        if self.is_synced {
            return;
        }
        self.counts.syncs += 1;
        match self.disk.sync(file) {
            Ok(()) => self.is_synced = true,
            Err(e) => self.fail(&e, &[], now),
        }
    }

    /// The file can't be relied on from here on. `records` are those that were to follow.
    fn fail(&mut self, e: &io::Error, records: &[u8], now: Instant) {
        let Home::File(file) = std::mem::replace(&mut self.home, Home::Memory(Vec::new())) else {
            return;
        };
        let own = self.disk.read(&file);
        let mut bytes = own.unwrap_or_default();
        bytes.truncate(self.end as usize);
        let replayed = replay(&bytes);
        if replayed.sound as u64 != self.end {
            self.lacks = true;
            bytes.truncate(replayed.sound);
        }
        if bytes.is_empty() {
            bytes = header(&self.start);
        }
        bytes.extend_from_slice(records);
        self.end = bytes.len() as u64;
        self.home = Home::Memory(bytes);
        self.old = Some(file);
        self.is_synced = false;
        self.trouble = Some(e.to_string());
        self.retry = now.checked_add(RETRY);
    }

    /// Keeps this in memory.
    fn remember(&mut self, memory: &Memory) -> Vec<u8> {
        let bytes = [&header(&self.start)[..], memory.records().bytes()].concat();
        self.end = bytes.len() as u64;
        self.live = self.end;
        self.home = Home::Memory(bytes.clone());
        bytes
    }

    fn is_large(&self) -> bool {
        self.end > self.small.max(2 * self.live)
    }

    /// The moment from which on [`tend`](JournalFile::tend) has something to do; `None` if it has nothing.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        match &self.home {
            Home::Lost => None,
            Home::Memory(_) => Some(self.retry.unwrap_or(now)),
            Home::File(_) if self.is_large() => Some(self.retry.unwrap_or(now)),
            Home::File(_) => None,
        }
    }

    /// Compacts a file that has become large, and goes back to one from memory, if the moment for it has come.
    pub fn tend(&mut self, now: Instant) {
        if self.due(now).is_some_and(|due| due <= now) {
            self.compact(now);
        }
    }

    /// Writes the journal anew, without what it does not remember any more.
    pub fn compact(&mut self, now: Instant) {
        let memory = match &self.home {
            Home::Lost => return,
            Home::Memory(bytes) => replay(bytes).memory,
            Home::File(file) => {
                let bytes = match self.disk.read(file) {
                    Ok(bytes) => bytes,
                    Err(e) => return self.fail(&e, &[], now),
                };
                let replayed = replay(&bytes);
                if (replayed.sound as u64) < self.end {
                    self.lacks = true;
                    let why = replayed
                        .wrong
                        .unwrap_or("records that were written are missing");
                    self.set_aside(&bytes, replayed.sound, why);
                }
                replayed.memory
            }
        };
        match &self.home {
            Home::Memory(_) => self.take_home(&memory, now),
            _ => self.replace(&memory, now),
        }
    }

    /// All that is remembered; `None` if the disk does not give it.
    pub fn memory(&self) -> Option<Memory> {
        match &self.home {
            Home::Lost => None,
            Home::Memory(bytes) => Some(replay(bytes).memory),
            Home::File(file) => Some(replay(&self.disk.read(file).ok()?).memory),
        }
    }

    /// From memory to a file.
    fn take_home(&mut self, memory: &Memory, now: Instant) {
        let bytes = self.remember(memory);
        let old = self.old.take();
        match self.write_anew(&bytes, old.as_ref()) {
            Ok(file) => self.adopt(file, bytes.len()),
            Err(failed) => self.put_up_with(failed, old, now),
        }
    }

    /// From a file to a shorter one.
    fn replace(&mut self, memory: &Memory, now: Instant) {
        let bytes = [&header(&self.start)[..], memory.records().bytes()].concat();
        let Home::File(old) = std::mem::replace(&mut self.home, Home::Lost) else {
            return;
        };
        match self.write_anew(&bytes, Some(&old)) {
            Ok(file) => self.adopt(file, bytes.len()),
            // The long file is as good as before
            Err(Failed::Before(_)) => {
                self.home = Home::File(old);
                self.retry = now.checked_add(RETRY);
            }
            Err(failed) => {
                self.remember(memory);
                self.put_up_with(failed, None, now);
            }
        }
    }

    fn adopt(&mut self, file: D::File, length: usize) {
        self.home = Home::File(file);
        (self.end, self.live) = (length as u64, length as u64);
        self.is_synced = true;
        (self.trouble, self.retry) = (None, None);
    }

    /// Stays in memory.
    fn put_up_with(&mut self, failed: Failed<D::File>, old: Option<D::File>, now: Instant) {
        let (e, old) = match failed {
            Failed::Fenced => return self.home = Home::Lost,
            Failed::Before(e) => (e, old),
            Failed::After(e, file) => (e, Some(file)),
        };
        self.old = old;
        self.trouble = Some(e.to_string());
        self.retry = now.checked_add(RETRY);
    }

    /// Has a file of these bytes take the place of `old`.
    fn write_anew(
        &mut self,
        bytes: &[u8],
        old: Option<&D::File>,
    ) -> Result<D::File, Failed<D::File>> {
        let disk = &self.disk;
        // Nobody has taken the place of one that was deleted
        let is_ours = || {
            let there = disk.id_at(NAME).map_err(Failed::Before)?;
            let own = old.map(|file| disk.id(file)).transpose();
            match there.is_none() || there == own.map_err(Failed::Before)? {
                true => Ok(()),
                false => Err(Failed::Fenced),
            }
        };
        is_ours()?;
        let file = disk.create(NEW).map_err(Failed::Before)?;
        let write = || {
            disk.write(&file, 0, bytes)?;
            // On a small disk the least will do
            let length = bytes.len() as u64;
            let reserve = |most| disk.reserve(&file, length, most).map(|()| length + most);
            let reserved = reserve(2 * RESERVE).or_else(|_| reserve(RESERVE))?;
            disk.sync(&file).map(|()| reserved)
        };
        let written = write().map_err(Failed::Before);
        let renamed = written.and_then(|reserved| {
            is_ours()?;
            disk.rename(NEW, NAME).map_err(Failed::Before)?;
            Ok(reserved)
        });
        let reserved = match renamed {
            Ok(reserved) => reserved,
            Err(failed) => {
                let _ = disk.remove(NEW);
                return Err(failed);
            }
        };
        self.counts.compactions += 1;
        self.counts.compacted += bytes.len() as u64;
        self.counts.syncs += 2;
        self.reserved = reserved;
        match disk.sync_folder() {
            Ok(()) => Ok(file),
            Err(e) => Err(Failed::After(e, file)),
        }
    }

    /// Whether all that was appended would outlive a loss of power.
    pub fn is_synced(&self) -> bool {
        self.is_synced && matches!(self.home, Home::File(_))
    }

    /// Why the journal is in memory alone, if it is.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Whether another start writes here now.
    pub fn is_lost(&self) -> bool {
        matches!(self.home, Home::Lost)
    }

    /// Whether records were lost since the last call, so that the owners have to write all that they know.
    pub fn lacks_records(&mut self) -> bool {
        // As long as it is in memory, it is not over
        matches!(self.home, Home::File(_)) && std::mem::take(&mut self.lacks)
    }

    /// The length of the journal in bytes.
    pub fn length(&self) -> u64 {
        self.end
    }

    /// Its length after the last compaction: about as much as it remembers.
    pub fn live(&self) -> u64 {
        self.live
    }

    /// Counts since the start.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The last damage that was found.
    pub fn damage(&self) -> Option<&Damage> {
        self.damage.as_ref()
    }
}

/// Why a file could not take another one's place.
enum Failed<F> {
    /// The disk failed, and the old one is in its place.
    Before(io::Error),
    /// The new one is in its place, and perhaps not after a loss of power.
    After(io::Error, F),
    /// Another start's file is there.
    Fenced,
}
