//! A journal in words, for `scalyr-agent-2 positions`. Hashes of lines and values of attributes are left out: they may
//! tell what a log or a configuration keeps secret.

use super::super::ledger::record::{SavedContent, SavedLog, SavedPlace};
use super::super::ledger::{Phase, SequenceId};
use super::super::names::Scheme;
use super::format::{seconds, Commit, Reason, Record};
use crate::util::random::uuid_text;
use crate::util::time::human;
use std::path::Path;

/// A record in words: a headline, and lines that say more.
pub type Told = (String, Vec<String>);

/// The remembered state of a content, in lines of at most about 70 characters but for names.
pub fn content(content: &SavedContent) -> Vec<String> {
    let (settled, length) = (content.settled, content.length);
    let archive = matches!(content.place, SavedPlace::InArchive(_));
    let phase = match content.phase {
        Phase::Shown => "the log's path shows it",
        Phase::Draining => "the log's path shows another one",
        Phase::Finished => "finished",
    };
    let mut lines = vec![match (content.phase, archive) {
        (Phase::Finished, _) => format!("finished at byte {settled}"),
        (_, true) => format!("settled up to byte {settled} of its text; {phase}"),
        _ => format!("settled up to byte {settled} of {length}; {phase}"),
    }];
    lines.push(place(content));
    match content.sequence {
        Some((SequenceId(id), number)) => {
            lines.push(format!("sequence {}", uuid_text(id)));
            lines.push(format!("number {number} at byte {settled}"));
        }
        None => lines.push("no sequence: the next start gives it one".to_owned()),
    }
    if content.numbered > settled && content.phase != Phase::Finished {
        let upto = content.numbered;
        lines.push(format!("up to byte {upto} it may have been sent"));
    }
    lines.push(content.evidence.in_words());
    lines
}

fn place(content: &SavedContent) -> String {
    let mut text = match content.place {
        SavedPlace::At(_) => "in",
        SavedPlace::InArchive(_) => "compressed, in",
        SavedPlace::Unlinked(_) => "deleted, in",
        SavedPlace::Nowhere => "in no known file",
    }
    .to_owned();
    if let Some(id) = content.id() {
        match id.dev {
            0 => text += &format!(" inode {}", id.ino),
            dev => text += &format!(" inode {} of device {dev}", id.ino),
        }
    }
    match content.name.as_deref() {
        Some([]) => text += ", under another name than the log's",
        Some(name) => text += &format!(", name {}", String::from_utf8_lossy(name)),
        None => {}
    }
    text
}

/// All that is remembered of a log but its contents.
pub fn log(log: &SavedLog) -> Vec<String> {
    let mut lines = vec![format!("last change {}", human(Some(log.time)))];
    if !log.schemes.is_empty() {
        let schemes: Vec<String> = log.schemes.iter().map(Scheme::to_text).collect();
        lines.push(format!("rotated as {}", schemes.join(", ")));
    }
    if !log.attributes.is_empty() {
        let names: Vec<&str> = log.attributes.iter().map(|(name, _)| &name[..]).collect();
        lines.push(format!("named by a monitor, with {}", names.join(", ")));
    }
    lines
}

/// A cursor, as text if it is one.
pub fn cursor(cursor: &[u8]) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
    match cursor.iter().all(is_plain) {
        true => String::from_utf8_lossy(cursor).into_owned(),
        false => crate::util::words::count(cursor.len() as u64, "byte").to_string(),
    }
}

fn commit(commit: &Commit) -> Vec<String> {
    let (settled, length) = (commit.settled, commit.length);
    let mut lines = vec![format!("settled up to byte {settled} of {length}")];
    if commit.numbered > settled {
        let upto = commit.numbered;
        lines.push(format!("up to byte {upto} it may have been sent"));
    }
    lines
}

/// A record. `path` is the path of the log that it is about, if it is known by its key alone.
pub fn record(record: &Record, path: Option<&Path>) -> Told {
    let of = |worker: &str, path: &Path| match worker {
        "" | "default" => path.display().to_string(),
        worker => format!("{} (worker {worker})", path.display()),
    };
    let named = || path.map_or_else(|| "no known log".to_owned(), |p| p.display().to_string());
    let key = |key: u64| format!("content {key} of {}", named());
    match record {
        Record::Content {
            reason,
            worker,
            path,
            content: it,
        } => {
            let why = match reason {
                Reason::Born => "new, or taken over",
                Reason::Moved => "it has another name, or is in another file",
                Reason::Copied => "it was copied, and its file truncated",
                Reason::Edited => "it was edited below the position",
                Reason::Evidence => "64 KiB were read, or more of it was looked at",
                Reason::Finished => "it is finished",
                Reason::Kept => "the journal was written anew",
            };
            let key = it.key.map_or(0, |key| key.0);
            let mut more = vec![format!("because: {why}")];
            more.extend(content(it));
            (format!("content {key} of {}", of(worker, path)), more)
        }
        Record::Commit(it) => (format!("acknowledged: {}", key(it.key.0)), commit(it)),
        Record::Log {
            worker,
            path,
            log: it,
        } => (format!("log {}", of(worker, path)), log(it)),
        Record::Forgotten(it) => (format!("forgotten: {}", key(it.0)), Vec::new()),
        Record::LogForgotten(worker, path) => {
            (format!("forgotten: log {}", of(worker, path)), Vec::new())
        }
        Record::Listing(it) => {
            let what = match (it.replaces, it.overflown) {
                (_, true) => "more than are remembered".to_owned(),
                (true, _) => format!("{} in all", it.added.len()),
                _ => format!("{} came, {} went", it.added.len(), it.removed.len()),
            };
            let head = format!("files beside {}", it.path.display());
            (head, vec![format!("not followed: {what}")])
        }
        Record::Watched {
            worker,
            sessions,
            patterns,
        } => {
            let mut head = format!("patterns of worker {worker}");
            if let Some(sessions) = sessions {
                head += &format!(", sessions: {sessions}");
            }
            let patterns = patterns.iter().map(|p| p.display().to_string());
            (head, patterns.collect())
        }
        Record::Cursor(stream, at) if at.is_empty() => {
            (format!("stream {stream}: forgotten"), Vec::new())
        }
        Record::Cursor(stream, at) => (format!("stream {stream}"), vec![cursor(at)]),
        Record::Export(_) => (
            "checkpoint files for the Python agent are written".to_owned(),
            Vec::new(),
        ),
        Record::Clock(micros, serial) => {
            let mut head = format!("time {}", human(Some(seconds(*micros))));
            if let Some(serial) = serial {
                head += &format!(", checkpoint write {serial}");
            }
            (head, Vec::new())
        }
        Record::Other(kind) => {
            let kind = char::from(*kind).escape_default();
            (format!("kind {kind}, of a later version"), Vec::new())
        }
    }
}
