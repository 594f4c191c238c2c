//! Where everything stood when the last process ended: the position journal, and checkpoint files that another
//! agent (the Python agent, or an older version of this one) has written since.

use super::journal::{replay, Export, Journal, Memory, Records, NAME, PATIENCE};
use super::ledger::keep_key;
use super::ledger::record::{Reason, Saved, SavedLog};
use super::ledger::ContentKey;
use super::sight::Sight;
use super::store::{CheckpointFiles, Unread};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The most bytes that exports for other agents may write within a minute.
const EXPORT_EACH_MINUTE: u64 = 64 << 10;

/// The open journal, and what is remembered at the start.
#[derive(Debug)]
pub struct Positions {
    /// Where all is written down from now on.
    pub journal: Journal,
    /// With what other agents have written since.
    pub memory: Memory,
    /// Damaged files, which were set aside.
    pub damaged: Vec<Unread>,
}

/// Takes up what a data directory remembers. For the start, before any session. `sync_each` as in
/// [`Journal::open`]; `export_each` is the time between exports for other agents, where these are small.
///
/// # Errors
/// The files, or the directory, that are there and may not be read. Nothing was changed then.
pub fn open(
    dir: &Path,
    sync_each: Duration,
    export_each: Duration,
) -> Result<Positions, Vec<Unread>> {
    let known = replay(&read(dir).map_err(|unread| vec![unread])?).memory;
    let is_first = Cell::new(false);
    let files = CheckpointFiles::read(dir, &exports(&known), known.is_empty())?;
    let mut damaged = files.set_damaged_aside();
    let seed = || {
        is_first.set(true);
        Memory::of(files.saved.clone().unwrap_or_default())
    };
    let export = Export {
        each: export_each,
        most: EXPORT_EACH_MINUTE,
        dir: dir.to_owned(),
    };
    let opened = Journal::open(dir, sync_each, Some(export), seed);
    let (journal, mut memory) = opened.map_err(|e| vec![Unread::denied(dir.join(NAME), &e)])?;
    if let Some(damage) = journal.figures().damage {
        let aside = damage.aside.map(|name| dir.join(name));
        let why = format!("it is damaged: {} at byte {}", damage.why, damage.at);
        let unread = Unread::damaged(dir.join(NAME), why, aside);
        unread.tell();
        damaged.push(unread);
    }
    let mut records = Records::default();
    if let Some(other) = files.saved.as_ref().filter(|_| !is_first.get()) {
        take_over(&mut memory, other, &mut records);
    }
    if let Some(name) = files.consolidated {
        // Should no export take its place, it is not taken over again
        let mut exports: Vec<u8> = name.to_vec();
        exports.extend(memory.export.take().unwrap_or_default());
        records.export(&exports);
        memory.export = Some(exports);
    }
    if files.saved.is_some() {
        let upto = journal.append(&records);
        // Files that are taken away now must not be missed after a loss of power
        if journal.wait(upto, PATIENCE) == super::journal::Durable::Yes {
            files.remove_sessions();
        }
    }
    keep_key(ContentKey(memory.last_key()));
    super::export::serials_follow(memory.saved.serial);
    Ok(Positions {
        journal,
        memory,
        damaged,
    })
}

/// As [`open`], but leaves everything as it is: for looking on while an agent runs. A folder that is not there
/// remembers nothing. Nothing is known where a file may not be read.
pub fn look(dir: &Path) -> (Option<Memory>, Vec<Unread>) {
    match Sight::of(dir) {
        Ok((sight, damaged)) => (sight.into_memory(), damaged),
        Err(unread) => (None, unread),
    }
}

/// The bytes of the journal; none if there is none.
pub(super) fn read(dir: &Path) -> Result<Vec<u8>, Unread> {
    match fs::read(dir.join(NAME)) {
        Ok(bytes) => Ok(bytes),
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(Vec::new())
        }
        Err(e) => Err(Unread::denied(dir.join(NAME), &e)),
    }
}

/// The names of the checkpoint files that the journal has written or taken over.
pub(super) fn exports(memory: &Memory) -> Vec<[u8; 16]> {
    let all = memory.export.as_deref().unwrap_or_default();
    let names = all.chunks(16);
    names.filter_map(|name| name.try_into().ok()).collect()
}

/// The entries that another agent has written since win, path by path, and `records` tell the journal.
pub(super) fn take_over(memory: &mut Memory, other: &Saved, records: &mut Records) {
    let mut last = memory.last_key();
    let mut next_key = || {
        last += 1;
        Some(ContentKey(last))
    };
    for ((worker, path), theirs) in &other.logs {
        for worker in workers(memory, worker, path) {
            let name = (worker.clone(), path.clone());
            let ours = memory.saved.logs.remove(&name).unwrap_or_default();
            let mut log = merged(ours, theirs);
            let log_name = (worker.as_str(), path.as_path());
            records.forget_log(log_name);
            for content in &mut log.contents {
                content.key = next_key();
                records.content(Reason::Born, log_name, content);
            }
            records.log(log_name, &log);
            memory.saved.logs.insert(name, log);
        }
        // If it has no listing, that of this start is the one that the next looks are compared with
        let listing = other.remembered.get(path).cloned().unwrap_or_default();
        let ours = memory.saved.remembered.remove(path).unwrap_or_default();
        records.listing(path, Some(&ours), &listing);
        if !listing.is_empty() {
            memory.saved.remembered.insert(path.clone(), listing);
        }
    }
    if other.watched.is_none() {
        memory.saved.time = other.time;
    }
}

/// The workers whose entry for a path an entry that names `worker`, or none, is about.
fn workers(memory: &Memory, worker: &str, path: &PathBuf) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    if worker.is_empty() {
        let known = memory.saved.logs.keys().filter(|(_, known)| known == path);
        all.extend(known.map(|(worker, _)| worker.clone()));
    }
    if all.is_empty() {
        all.insert(worker.to_owned());
    }
    all
}

/// Another agent's entry, with what it can't know of the log. Contents of ours that it does not have it has delivered to
/// their ends; their files are among those that the first look finds and leaves alone.
fn merged(ours: SavedLog, theirs: &SavedLog) -> SavedLog {
    let mut log = theirs.clone();
    if log.schemes.is_empty() {
        log.schemes = ours.schemes;
    }
    if log.attributes.is_empty() {
        log.attributes = ours.attributes;
    }
    log
}
