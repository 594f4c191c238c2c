//! The text of checkpoint files: the Python agent's layout, which both agents read, with more facts
//! about each file in members that the Python agent does not look at.

use super::generation::{Generation, State};
use super::identity::{FileId, Signature};
use super::log::Log;
use crate::config::{json_members, AttrValue};
use crate::util::escape::{json_path, path_from_json};
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Position and evidence of one content.
#[derive(Debug, Clone, PartialEq)]
pub struct SavedGeneration {
    /// Inode, and device if it was written down (0 if not).
    pub id: FileId,
    /// First bytes; of length 0 if not written down.
    pub signature: Signature,
    /// Creation of the file.
    pub birth: Option<f64>,
    /// When it was last known to be this content, seconds since the epoch.
    pub verified: Option<f64>,
    /// The settled position.
    pub committed: u64,
    /// Hash of the bytes before it.
    pub mark: Option<u64>,
    /// Last known length.
    pub size: u64,
    /// Whether the log's path showed it.
    pub is_log: bool,
    /// Sequence id, and number at the settled position.
    pub sequence: Option<(String, u64)>,
}

/// The contents of a log that are remembered, the oldest first.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SavedLog {
    /// When, seconds since the epoch.
    pub time: f64,
    /// Counts our writes: tells what is newer also after the clock was set back.
    pub serial: Option<u64>,
    /// The contents.
    pub generations: Vec<SavedGeneration>,
    /// Attributes that only the monitor knew that wrote the log; empty for other logs.
    pub attributes: Vec<(String, AttrValue)>,
}

/// One checkpoint file.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Saved {
    /// When it was written, seconds since the epoch.
    pub time: f64,
    /// The count of our writes.
    pub serial: Option<u64>,
    /// By worker (empty if the file does not say) and path: two workers may copy the same file, each
    /// from a position of its own.
    pub logs: BTreeMap<(String, PathBuf), SavedLog>,
    /// The patterns that were followed; `None` in the Python agent's files.
    pub watched: Option<Vec<PathBuf>>,
    /// Of a full checkpoint, how many sessions share the worker's files: what this one does not have
    /// may be another's.
    pub sessions: Option<u64>,
}

impl SavedLog {
    /// The record of a log at a moment, in seconds since the epoch.
    pub fn of(log: &Log, time: f64) -> SavedLog {
        SavedLog {
            time,
            serial: None,
            generations: log.generations.iter().map(save).collect(),
            attributes: log.entry.named_attributes().to_vec(),
        }
    }

    /// Whether this was written later than `other`.
    pub fn is_newer(&self, other: &SavedLog) -> bool {
        match (self.serial, other.serial) {
            (Some(a), Some(b)) => a > b,
            _ => self.time > other.time,
        }
    }
}

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
    let entries = raw
        .checkpoints
        .0
        .into_iter()
        .chain(more)
        .filter_map(|(path, entry)| {
            // One entry that makes no sense does not spoil the others
            let entry: RawLog = serde_json::from_value(entry)
                .map_err(|e| log::error!("checkpoint of {} is damaged: {e}", path.0.display()))
                .ok()?;
            let worker = entry.worker.clone().unwrap_or_else(|| worker.to_owned());
            Some(((worker, path.0), entry.into_saved(raw.time)))
        });
    let mut logs = BTreeMap::new();
    logs.extend(entries);
    Ok(Saved {
        time: raw.time,
        serial: raw.serial,
        logs,
        watched: raw
            .watched
            .map(|list| list.into_iter().map(|p| p.0).collect()),
        sessions: raw.sessions,
    })
}

#[derive(Deserialize)]
struct RawFile {
    #[serde(default)]
    time: f64,
    serial: Option<u64>,
    checkpoints: RawLogs,
    #[serde(default)]
    more: Vec<RawMore>,
    #[serde(default)]
    watched: Option<Vec<RawPath>>,
    #[serde(default)]
    sessions: Option<u64>,
}

/// A further worker's entry for a path that has one already.
#[derive(Deserialize)]
struct RawMore {
    path: RawPath,
    entry: serde_json::Value,
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
                Ok(RawPath(super::glob::path(&path_from_json(v))))
            }
            fn visit_str<E: de::Error>(self, v: &str) -> Result<RawPath, E> {
                self.visit_bytes(v.as_bytes())
            }
        }
        deserializer.deserialize_byte_buf(Text)
    }
}

struct RawLogs(Vec<(RawPath, serde_json::Value)>);

impl<'de> Deserialize<'de> for RawLogs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Logs;
        impl<'de> Visitor<'de> for Logs {
            type Value = RawLogs;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object of checkpoints by path")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawLogs, A::Error> {
                let mut logs = Vec::new();
                while let Some(path) = map.next_key()? {
                    logs.push((path, map.next_value()?));
                }
                Ok(RawLogs(logs))
            }
        }
        deserializer.deserialize_map(Logs)
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
    pending_files: Vec<RawGeneration>,
    sequence_id: Option<String>,
    sequence_number: Option<i64>,
    /// Ours: rotated contents that the Python agent would have finished.
    #[serde(default)]
    finished_files: Vec<RawGeneration>,
    /// Ours: see [`SavedLog::attributes`].
    #[serde(default)]
    attributes: serde_json::Map<String, serde_json::Value>,
}

#[derive(Deserialize)]
struct RawGeneration {
    position_start: i64,
    position_end: i64,
    #[serde(default)]
    last_known_size: i64,
    #[serde(default)]
    is_log_file: bool,
    inode: Option<u64>,
    device: Option<u64>,
    signature: Option<String>,
    mark: Option<String>,
    birth: Option<f64>,
    verified: Option<f64>,
    committed: Option<u64>,
    sequence_id: Option<String>,
    sequence_number: Option<u64>,
}

impl RawLog {
    fn into_saved(self, file_time: f64) -> SavedLog {
        let mut generations = Vec::new();
        for raw in self.finished_files {
            let committed = raw.committed.unwrap_or(0);
            generations.extend(raw.into_saved(committed, None));
        }
        // Positions run through all pending files: one continuous text that starts at `position`.
        let mut begin = self.position;
        let mut sequence = self
            .sequence_id
            .zip(self.sequence_number.and_then(|n| u64::try_from(n).ok()));
        for raw in self.pending_files {
            let computed = u64::try_from(begin.saturating_sub(raw.position_start)).unwrap_or(0);
            let committed = raw.committed.unwrap_or(computed);
            begin = begin.max(raw.position_end);
            // The others have not begun, and late lines of the first must not take their numbers
            let shared = sequence.take();
            generations.extend(raw.into_saved(committed, shared));
        }
        let attributes = self.attributes.into_iter().filter_map(|(key, value)| {
            let value = match value {
                serde_json::Value::String(text) => AttrValue::Text(text),
                serde_json::Value::Number(number) => AttrValue::Number(number.to_string()),
                _ => return None,
            };
            Some((key, value))
        });
        SavedLog {
            time: self.time.unwrap_or(file_time),
            serial: self.serial,
            generations,
            attributes: attributes.collect(),
        }
    }
}

impl RawGeneration {
    fn into_saved(self, committed: u64, shared: Option<(String, u64)>) -> Option<SavedGeneration> {
        let signature = self
            .signature
            .and_then(|text| {
                let (len, hash) = text.split_once(':')?;
                Some(Signature {
                    len: len.parse().ok()?,
                    hash: u64::from_str_radix(hash, 16).ok()?,
                })
            })
            .unwrap_or_default();
        Some(SavedGeneration {
            id: FileId {
                dev: self.device.unwrap_or(0),
                ino: self.inode?,
            },
            signature,
            birth: self.birth,
            verified: self.verified,
            committed,
            mark: self.mark.and_then(|m| u64::from_str_radix(&m, 16).ok()),
            size: u64::try_from(self.last_known_size)
                .unwrap_or(0)
                .max(committed),
            is_log: self.is_log_file,
            sequence: self.sequence_id.zip(self.sequence_number).or(shared),
        })
    }
}

/// Writes a checkpoint file's text, log by log.
pub struct Writer {
    text: Vec<u8>,
    first: bool,
    now: f64,
    serial: u64,
    /// Entries of further workers for paths that are in `text` already.
    more: Vec<u8>,
    sessions: Option<u64>,
}

impl Writer {
    /// Begins one, in a buffer that is reused.
    pub fn new(mut text: Vec<u8>, now: f64, serial: u64, watched: Option<&[PathBuf]>) -> Self {
        text.clear();
        let _ = write!(text, "{{\"time\":{now:.6},\"serial\":{serial},");
        if let Some(watched) = watched {
            text.extend_from_slice(b"\"watched\":[");
            for (i, path) in watched.iter().enumerate() {
                if i > 0 {
                    text.push(b',');
                }
                put_path(&mut text, path);
            }
            text.extend_from_slice(b"],");
        }
        text.extend_from_slice(b"\"checkpoints\":{");
        Writer {
            text,
            first: true,
            now,
            serial,
            more: Vec::new(),
            sessions: None,
        }
    }

    /// Says that so many sessions share the worker's files.
    pub fn sessions(&mut self, sessions: u64) {
        self.sessions = Some(sessions);
    }

    /// Adds a followed log.
    pub fn log(&mut self, log: &Log) {
        let mut saved = SavedLog::of(log, self.now);
        saved.serial = Some(self.serial);
        self.saved(&log.path, &saved);
    }

    /// Adds a log as it was remembered.
    pub fn saved(&mut self, path: &Path, log: &SavedLog) {
        self.key(path);
        put_log(&mut self.text, None, log);
    }

    /// Adds what another worker than `default` remembers of a path. `again`: the path has an entry
    /// already, and the Python agent knows only one per path.
    pub fn of_worker(&mut self, worker: &str, path: &Path, log: &SavedLog, again: bool) {
        if again {
            let mut text = std::mem::take(&mut self.more);
            text.extend_from_slice(if text.is_empty() { b"" } else { b"," });
            text.extend_from_slice(b"{\"path\":");
            put_path(&mut text, path);
            text.extend_from_slice(b",\"entry\":");
            put_log(&mut text, Some(worker), log);
            text.push(b'}');
            self.more = text;
            return;
        }
        self.key(path);
        put_log(&mut self.text, Some(worker), log);
    }

    fn key(&mut self, path: &Path) {
        if !self.first {
            self.text.push(b',');
        }
        self.first = false;
        put_path(&mut self.text, path);
        self.text.push(b':');
    }

    /// The whole text.
    pub fn finish(mut self) -> Vec<u8> {
        self.text.push(b'}');
        if !self.more.is_empty() {
            self.text.extend_from_slice(b",\"more\":[");
            self.text.extend_from_slice(&self.more);
            self.text.push(b']');
        }
        if let Some(sessions) = self.sessions {
            let _ = write!(self.text, ",\"sessions\":{sessions}");
        }
        self.text.push(b'}');
        self.text
    }
}

fn put_log(out: &mut Vec<u8>, worker: Option<&str>, log: &SavedLog) {
    out.extend_from_slice(b"{\"position\":0,\"pending_files\":[");
    // The Python agent would read finished contents again, so they are not in the list that it knows.
    let (finished, pending): (Vec<_>, Vec<_>) = log
        .generations
        .iter()
        .partition(|g| !g.is_log && g.committed >= g.size);
    let mut begin = 0i64;
    for (i, g) in pending.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        let start = begin.saturating_sub_unsigned(g.committed);
        let end = start.saturating_add_unsigned(g.size.max(g.committed));
        put_generation(out, g, start, end);
        begin = end;
    }
    out.push(b']');
    if !finished.is_empty() {
        out.extend_from_slice(b",\"finished_files\":[");
        for (i, g) in finished.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            put_generation(out, g, 0, 0);
        }
        out.push(b']');
    }
    if let Some((id, number)) = pending.first().and_then(|g| g.sequence.as_ref()) {
        let _ = write!(
            out,
            ",\"sequence_id\":\"{id}\",\"sequence_number\":{number}"
        );
    }
    if let Some(worker) = worker {
        out.extend_from_slice(b",\"worker\":");
        crate::util::escape::json_str(out, worker);
    }
    if !log.attributes.is_empty() {
        out.extend_from_slice(b",\"attributes\":{");
        json_members(out, &log.attributes);
        out.push(b'}');
    }
    if let Some(serial) = log.serial {
        let _ = write!(out, ",\"serial\":{serial}");
    }
    let _ = write!(out, ",\"time\":{:.6}}}", log.time);
}

/// The record of a generation in a checkpoint.
fn save(g: &Generation) -> SavedGeneration {
    SavedGeneration {
        id: g.id,
        signature: g.signature,
        // Of an archive it would be no evidence of the text's age
        birth: g.birth.filter(|_| !g.gz),
        verified: Some(g.verified),
        committed: g.committed,
        mark: g.committed_mark,
        size: g.size.max(g.committed),
        is_log: g.state == State::Current,
        sequence: Some((
            g.committed_sequence.id.to_string(),
            g.committed_sequence.number(g.committed),
        )),
    }
}

fn put_path(out: &mut Vec<u8>, path: &Path) {
    use std::os::unix::ffi::OsStrExt;
    json_path(out, path.as_os_str().as_bytes());
}

fn put_generation(out: &mut Vec<u8>, g: &SavedGeneration, start: i64, end: i64) {
    let _ = write!(
        out,
        "{{\"position_start\":{start},\"position_end\":{end},\"last_known_size\":{},\"is_log_file\":{},\"inode\":{},\
         \"device\":{},\"committed\":{},\"signature\":\"{}:{:016x}\"",
        g.size, g.is_log, g.id.ino, g.id.dev, g.committed, g.signature.len, g.signature.hash
    );
    if let Some(mark) = g.mark {
        let _ = write!(out, ",\"mark\":\"{mark:016x}\"");
    }
    if let Some(birth) = g.birth {
        let _ = write!(out, ",\"birth\":{birth:.6}");
    }
    if let Some(verified) = g.verified.filter(|_| g.is_log) {
        let _ = write!(out, ",\"verified\":{verified:.6}");
    }
    if let Some((id, number)) = &g.sequence {
        let _ = write!(
            out,
            ",\"sequence_id\":\"{id}\",\"sequence_number\":{number}"
        );
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by the Python agent.
    const PYTHONS: &str = r#"{"time":1795386406.0750365,"checkpoints":{"/srv/app/access.log":{"position":0,"pending_files":[{"position_start":-6464,"position_end":0,"last_known_size":6464,"is_log_file":true,"inode":10331409}],"sequence_id":"b00d64aa-464c-4c37-81b8-36ce979a9e33","sequence_number":6464,"time":1795386404.7664752}}}"#;

    #[test]
    fn a_python_checkpoint_is_continued_where_it_stopped() {
        let saved = parse(PYTHONS.as_bytes(), "w").unwrap();
        assert_eq!(saved.watched, None);
        let log = &saved.logs[&("w".to_owned(), PathBuf::from("/srv/app/access.log"))];
        assert_eq!(log.time, 1_795_386_404.766_475_2);
        let g = &log.generations[0];
        assert_eq!(
            (g.id.ino, g.committed, g.size, g.is_log),
            (10_331_409, 6464, 6464, true)
        );
        let id = "b00d64aa-464c-4c37-81b8-36ce979a9e33".to_owned();
        assert_eq!(g.sequence, Some((id, 6464)));
    }

    #[test]
    fn a_python_checkpoint_in_the_middle_of_a_rotation_keeps_both_files() {
        // 100 of 150 bytes of the rotated file are done; the new file has 30
        let text = r#"{"time":1.5,"checkpoints":{"/a":{"position":0,"pending_files":[
            {"position_start":-100,"position_end":50,"last_known_size":150,"is_log_file":false,"inode":7},
            {"position_start":50,"position_end":80,"last_known_size":30,"is_log_file":true,"inode":8}],
            "sequence_id":"x","sequence_number":1000}}}"#;
        let log = &parse(text.as_bytes(), "").unwrap().logs[&(String::new(), PathBuf::from("/a"))];
        assert_eq!(log.time, 1.5, "an entry without time has its file's (C16)");
        let [a, b] = &log.generations[..] else {
            panic!()
        };
        assert_eq!(
            (a.committed, a.size, a.sequence.as_ref().unwrap().1),
            (100, 150, 1000)
        );
        assert_eq!((b.committed, b.size, &b.sequence), (0, 30, &None));
    }

    #[test]
    fn what_we_write_we_read_and_the_python_agent_finds_its_members() {
        let generation = |ino, committed, size, is_log: bool| SavedGeneration {
            id: FileId { dev: 3, ino },
            signature: Signature::of(b"head"),
            birth: Some(1_795_386_404.5),
            verified: is_log.then_some(1_795_386_410.25),
            committed,
            mark: Some(u64::MAX),
            size,
            is_log,
            sequence: Some(("id-".to_owned() + &ino.to_string(), committed + 5)),
        };
        let generations = vec![
            generation(1, 70, 70, false),
            generation(2, 100, 150, false),
            generation(3, 20, 30, true),
        ];
        let path = super::super::glob::path(b"/srv/\xff\"x\".log");
        let watched = vec![PathBuf::from("/srv/*.log")];
        let mut writer = Writer::new(Vec::new(), 12.5, 7, Some(&watched));
        let log = SavedLog {
            time: 11.25,
            serial: Some(6),
            generations: generations.clone(),
            attributes: vec![
                ("host".into(), AttrValue::Text("a \"b\" é".into())),
                ("port".into(), AttrValue::Number("601".into())),
            ],
        };
        writer.saved(&path, &log);
        writer.saved(Path::new("/empty"), &SavedLog::default());
        writer.of_worker("two", &path, &log, true);
        writer.of_worker("two", Path::new("/own"), &log, false);
        let text = writer.finish();
        let saved = parse(&text, "default").unwrap();
        assert_eq!(saved.time, 12.5);
        assert_eq!(saved.watched, Some(watched));
        let of =
            |worker: &str, path: &Path| saved.logs[&(worker.to_owned(), path.to_owned())].clone();
        assert_eq!(of("default", &path), log);
        assert_eq!(of("two", &path), log);
        assert_eq!(of("two", Path::new("/own")), log);
        assert_eq!(of("default", Path::new("/empty")).serial, None);
        assert_eq!(saved.logs.len(), 4);
        assert_eq!(saved.serial, Some(7));

        // As the Python agent computes: file offset = position - position_start, in reading order
        let json: serde_json::Value =
            serde_json::from_str(&String::from_utf8(text).unwrap().replace("\\udcff", "?"))
                .unwrap();
        let entry = &json["checkpoints"]["/srv/?\"x\".log"];
        let files = entry["pending_files"].as_array().unwrap();
        assert_eq!(files.len(), 2);
        assert_eq!(files[0]["position_start"], -100);
        assert_eq!(files[0]["position_end"], 50);
        assert_eq!(files[1]["position_start"], 50 - 20);
        assert_eq!(files[1]["position_end"], 60);
        assert_eq!(entry["position"], 0);
        assert_eq!(entry["sequence_number"], 105);
    }

    #[test]
    fn damaged_text_is_an_error_and_no_accident() {
        for end in 0..PYTHONS.len() - 1 {
            assert!(parse(&PYTHONS.as_bytes()[..end], "").is_err());
        }
        assert!(parse(b"[]", "").is_err());
        assert!(parse(b"{\"time\":1}", "").is_err());
        assert!(parse(b"\xff\xfe", "").is_err());
        let odd = br#"{"checkpoints":{"/a":{"pending_files":[{"position_start":9223372036854775807,"position_end":-9223372036854775808,"inode":1}]},
            "/b":{"pending_files":null},"/c":5,"/d":{"position":0,"pending_files":[]}}}"#;
        // Entries that make sense are read, the others are left out
        assert_eq!(parse(odd, "").unwrap().logs.len(), 2);
    }
}
