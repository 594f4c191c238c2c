//! Reading the text of a checkpoint file: today's form and the two older ones.

use super::super::content::{Birth, ContentKey, Phase, SequenceId, Stamp};
use super::super::evidence::{Evidence, HEAD};
use super::super::observe::Remembered;
use super::{Saved, SavedContent, SavedFile, SavedLog, SavedPlace};
use crate::config::AttrValue;
use crate::tail::identity::FileId;
use crate::tail::names::Scheme;
use crate::util::escape::path_from_json;
use crate::util::sort;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;

/// Reads a checkpoint file's text. Entries that do not name their worker belong to `worker`.
///
/// # Errors
/// A phrase for people that says what is wrong with the text.
pub fn parse(text: &[u8], worker: &str) -> Result<Saved, String> {
    let raw: RawFile = serde_json::from_slice(text).map_err(|e| e.to_string())?;
    // In a file of ours that names no worker, no name means the default one
    let worker = match raw.serial {
        Some(_) if worker.is_empty() => "default",
        _ => worker,
    };
    let more = raw.more.into_iter().map(|m| (m.path, m.entry));
    let entries = raw.checkpoints.0.into_iter().chain(more);
    let entries = entries.filter_map(|(path, entry)| {
        // One entry that makes no sense does not spoil the others
        let damaged = |e| log::error!("checkpoint of {} is damaged: {e}", path.0.display());
        let (of, time, log) = entry.0.map_err(damaged).ok()?;
        let worker = of.unwrap_or_else(|| worker.to_owned());
        let time = time.unwrap_or(raw.time);
        Some(((worker, path.0), SavedLog { time, ..log }))
    });
    let mut logs = BTreeMap::new();
    logs.extend(entries);
    let remembered = raw.remembered.0.into_iter().map(|(folder, names)| {
        let names = names.as_str().and_then(remembered);
        if names.is_none() {
            let folder = folder.0.display();
            log::error!("checkpoint: the remembered files of {folder} are damaged");
        }
        // No file of the folder can be told to be new then
        let unknown = || Remembered::restored(BTreeSet::new(), true);
        (folder.0, names.unwrap_or_else(unknown))
    });
    let watched = |list: Vec<RawPath>| list.into_iter().map(|path| path.0).collect();
    Ok(Saved {
        time: raw.time,
        serial: raw.serial,
        logs,
        watched: raw.watched.map(watched),
        sessions: raw.sessions,
        export: raw.export.as_deref().and_then(bytes_of),
        remembered: sort::gathered(remembered),
    })
}

#[derive(Deserialize)]
struct RawFile {
    #[serde(default)]
    time: f64,
    serial: Option<u64>,
    checkpoints: RawByPath<RawEntry>,
    #[serde(default)]
    more: Vec<RawMore>,
    #[serde(default)]
    watched: Option<Vec<RawPath>>,
    #[serde(default)]
    sessions: Option<u64>,
    /// In hexadecimal.
    export: Option<String>,
    #[serde(default)]
    remembered: RawByPath<serde_json::Value>,
}

/// A further worker's entry for a path that has one already.
#[derive(Deserialize)]
struct RawMore {
    path: RawPath,
    entry: RawEntry,
}

/// An entry with the worker and the time that it names, or why it makes no sense.
struct RawEntry(Result<(Option<String>, Option<f64>, SavedLog), serde_json::Error>);

impl<'de> Deserialize<'de> for RawEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The values of 10,000 entries would take 25 MB together
        let value = serde_json::Value::deserialize(deserializer)?;
        let entry = serde_json::from_value(value);
        Ok(RawEntry(entry.map(RawLog::into_saved)))
    }
}

/// A path as JSON text that may have lone surrogates.
struct RawPath(PathBuf);

impl<'de> Deserialize<'de> for RawPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = RawPath;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a path")
            }
            fn visit_bytes<E: de::Error>(self, v: &[u8]) -> Result<RawPath, E> {
                Ok(RawPath(crate::tail::glob::path(&path_from_json(v))))
            }
            fn visit_str<E: de::Error>(self, v: &str) -> Result<RawPath, E> {
                self.visit_bytes(v.as_bytes())
            }
        }
        deserializer.deserialize_byte_buf(Text)
    }
}

struct RawByPath<T>(Vec<(RawPath, T)>);

impl<T> Default for RawByPath<T> {
    fn default() -> Self {
        RawByPath(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for RawByPath<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
            type Value = RawByPath<T>;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object of entries by path")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(path) = map.next_key()? {
                    entries.push((path, map.next_value()?));
                }
                Ok(RawByPath(entries))
            }
        }
        deserializer.deserialize_map(Entries(PhantomData))
    }
}

#[derive(Deserialize)]
struct RawLog {
    time: Option<f64>,
    serial: Option<u64>,
    worker: Option<String>,
    #[serde(default)]
    position: i64,
    #[serde(default)]
    pending_files: Vec<RawContent>,
    sequence_id: Option<String>,
    sequence_number: Option<i64>,
    /// Ours: contents with which the Python agent could not go on.
    #[serde(default)]
    finished_files: Vec<RawContent>,
    /// Ours: see [`SavedLog::schemes`].
    #[serde(default)]
    schemes: Vec<String>,
    /// Ours: see [`SavedLog::attributes`].
    #[serde(default)]
    attributes: serde_json::Map<String, serde_json::Value>,
}

#[derive(Deserialize)]
struct RawContent {
    position_start: i64,
    position_end: i64,
    #[serde(default)]
    last_known_size: i64,
    #[serde(default)]
    is_log_file: bool,
    inode: Option<u64>,
    /// From here on ours.
    device: Option<u64>,
    committed: Option<u64>,
    sequence_id: Option<String>,
    sequence_number: Option<u64>,
    /// Only in today's form.
    evidence: Option<String>,
    #[serde(default)]
    archive: bool,
    #[serde(default)]
    unlinked: bool,
    #[serde(default)]
    finished: bool,
    /// In hexadecimal, as a name may be no text.
    name: Option<String>,
    key: Option<u64>,
    stamp: Option<u32>,
    numbered: Option<u64>,
    /// In nanoseconds since the epoch.
    born: Option<i64>,
    /// Only in older forms of ours.
    signature: Option<String>,
    mark: Option<String>,
    /// In seconds since the epoch.
    birth: Option<f64>,
}

impl RawLog {
    fn into_saved(self) -> (Option<String>, Option<f64>, SavedLog) {
        let mut contents = Vec::new();
        contents.reserve_exact(self.finished_files.len() + self.pending_files.len());
        for mut raw in self.finished_files {
            let committed = raw.committed.unwrap_or(0);
            raw.finished |= raw.evidence.is_none();
            contents.extend(raw.into_saved(committed, None));
        }
        // Positions run through all pending files: one continuous text that starts at `position`.
        let mut begin = self.position;
        let number = self.sequence_number.and_then(|n| u64::try_from(n).ok());
        let mut sequence = self.sequence_id.zip(number);
        for raw in self.pending_files {
            let computed = u64::try_from(begin.saturating_sub(raw.position_start)).unwrap_or(0);
            let committed = raw.committed.unwrap_or(computed);
            begin = begin.max(raw.position_end);
            // The others have not begun, and late lines of the first must not take their numbers
            let shared = sequence.take();
            contents.extend(raw.into_saved(committed, shared));
        }
        let attributes = self.attributes.into_iter().filter_map(|(key, value)| {
            let value = match value {
                serde_json::Value::String(text) => AttrValue::Text(text),
                serde_json::Value::Number(number) => AttrValue::Number(number.to_string()),
                _ => return None,
            };
            Some((key, value))
        });
        let schemes = self.schemes.iter();
        let log = SavedLog {
            time: 0.0,
            serial: self.serial,
            contents,
            schemes: schemes.filter_map(|text| Scheme::from_text(text)).collect(),
            attributes: attributes.collect(),
        };
        (self.worker, self.time, log)
    }
}

impl RawContent {
    /// `None` for one that can't be anywhere.
    fn into_saved(self, settled: u64, shared: Option<(String, u64)>) -> Option<SavedContent> {
        let is_older = self.evidence.is_none();
        let length = u64::try_from(self.last_known_size)
            .unwrap_or(0)
            .max(settled);
        let numbered = match is_older {
            // It had seen all that it has sent
            true => length,
            false => self.numbered.unwrap_or(settled).max(settled),
        };
        if i64::try_from(settled.max(length).max(numbered)).is_err() {
            return None;
        }
        let evidence = match &self.evidence {
            Some(text) => Evidence::from_text(text).unwrap_or_else(|| {
                log::error!("checkpoint: the evidence of a content is damaged: {text}");
                Evidence::default()
            }),
            None => self.older_evidence(settled),
        };
        let birth = match is_older {
            true => self.birth.and_then(Birth::from_secs),
            false => self.born.and_then(|born| born.try_into().ok()).map(Birth),
        };
        // Older versions wrote down 0 where the inode was another file's by then
        let file = self.inode.filter(|ino| *ino != 0).map(|ino| SavedFile {
            id: FileId {
                dev: self.device.unwrap_or(0),
                ino,
            },
            birth,
        });
        let place = match file {
            None if self.inode.is_none() && is_older => return None,
            None => SavedPlace::Nowhere,
            Some(file) if self.archive => SavedPlace::InArchive(file),
            Some(file) if self.unlinked => SavedPlace::Unlinked(file),
            Some(file) => SavedPlace::At(file),
        };
        let name = match is_older {
            true => (!self.is_log_file).then(Box::default),
            false => self
                .name
                .map(|name| bytes_of(&name).unwrap_or_default().into()),
        };
        let phase = match (self.finished, self.is_log_file) {
            (true, _) => Phase::Finished,
            (false, true) => Phase::Shown,
            (false, false) => Phase::Draining,
        };
        let sequence = self.sequence_id.zip(self.sequence_number).or(shared);
        Some(SavedContent {
            key: self.key.map(ContentKey),
            place,
            name,
            stamp: self.stamp.map(Stamp),
            settled,
            numbered,
            length,
            evidence,
            phase,
            was_vague: false,
            sequence: sequence.and_then(|(id, number)| Some((sequence_id(&id)?, number))),
        })
    }

    /// From a hash of the first bytes, with their number, and one of those before the position.
    fn older_evidence(&self, settled: u64) -> Evidence {
        let hash = |hex: &str| u64::from_str_radix(hex, 16).ok();
        let signature = self.signature.as_deref().and_then(|text| {
            let (len, head) = text.split_once(':')?;
            let len: u16 = len.parse().ok()?;
            (usize::from(len) <= HEAD).then_some((len, hash(head)?))
        });
        let (len, head) = signature.unwrap_or((0, 0));
        let mark = self.mark.as_deref().and_then(hash);
        match (len, mark) {
            (0, None) => Evidence::default(),
            _ => Evidence::of_older_version(settled, len, head, mark),
        }
    }
}

/// The id of which this is the usual text. Under any other text the server knows another sequence.
fn sequence_id(text: &str) -> Option<SequenceId> {
    let parts: Vec<&str> = text.split('-').collect();
    let is_usual = parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12])
        && !text.bytes().any(|b| b.is_ascii_uppercase());
    let id = bytes_of(&parts.concat())?.try_into().ok()?;
    is_usual.then_some(SequenceId(id))
}

/// From two hexadecimal digits a byte.
fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    let digit = |b: u8| char::from(b).to_digit(16).map(|digit| digit as u8);
    let pairs = hex.as_bytes().chunks(2);
    pairs
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        })
        .collect()
}

/// The remembered listing of a folder.
fn remembered(text: &str) -> Option<Remembered> {
    let (names, overflown) = match text.strip_suffix('+') {
        Some(names) => (names, true),
        None => (text, false),
    };
    let mut all = BTreeSet::new();
    for name in bytes_of(names)?.chunks(8) {
        all.insert(u64::from_be_bytes(name.try_into().ok()?));
    }
    Some(Remembered::restored(all, overflown))
}
