//! The logs that entries go to: which rule takes an entry, and the file of each rule.

use super::export::Entry;
use super::lines::{Fields, Shape};
use crate::monitor::{JournaldRule, Like, MonitorLog, Place};
use crate::sink::{LogFile, LogFiles, Lost, Sink as _};
use crate::{wildcard, FollowedLogs};
use common::regex::Pattern;
use common::rotating::Rotation;
use common::sha256;
use serde_json::Value as Json;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

/// The file of entries that no rule, or one without a matcher, takes.
pub const COMMON: &str = "journald_monitor.log";
/// The owner under which the files are followed: one for all instances, since they write to the
/// same files.
const OWNER: &str = "journald_monitor";
/// Files of the Python agent that have not been written to for so long are removed.
const LEFT_ALONE: Duration = Duration::from_secs(24 * 3600);

/// All rules with their files.
#[derive(Debug)]
pub struct Outputs {
    rules: Vec<Rule>,
    files: Vec<Output>,
}

#[derive(Debug)]
struct Rule {
    matcher: Matcher,
    shape: Shape,
    /// In `Outputs::files`.
    file: usize,
}

#[derive(Debug)]
enum Matcher {
    Any,
    /// Found at the beginning of the unit's name.
    Unit(Box<Pattern>),
    Globs(Vec<Glob>),
}

#[derive(Debug)]
struct Glob {
    field: Field,
    pattern: String,
}

#[derive(Debug)]
enum Field {
    /// A name of `journal_fields`.
    Mapped(String),
    /// A field of the journal.
    Raw(usize),
}

#[derive(Debug)]
struct Output {
    log: MonitorLog,
    /// The copier knows the log anyway.
    is_static: bool,
    /// Lines that are not in the file yet.
    pending: Vec<u8>,
    rotation: Rotation,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    file: LogFile,
    _following: Option<Following>,
}

impl Outputs {
    /// From `journald_logs`.
    ///
    /// # Errors
    /// A sentence that says which rule is wrong, and how.
    pub fn new(place: &Place, fields: &mut Fields, rotation: Rotation) -> Result<Self, String> {
        let output = |log, is_static| Output {
            log,
            is_static,
            pending: Vec::new(),
            rotation,
            open: None,
        };
        let mut made = Outputs {
            rules: Vec::new(),
            files: vec![output(common_log(place), true)],
        };
        for (index, rule) in place.journald_rules.iter().enumerate() {
            let matcher = matcher(rule, fields).map_err(|why| format!("journald_logs: {why}"))?;
            let file = match key(rule) {
                None => 0,
                Some(key) => {
                    let log = log_of(place, index, &file_name(&key));
                    let known = made.files.iter().position(|f| f.log.path == log.path);
                    known.unwrap_or_else(|| {
                        made.files.push(output(log, false));
                        made.files.len() - 1
                    })
                }
            };
            made.rules.push(Rule {
                matcher,
                shape: Shape {
                    raw_details: rule.raw_details,
                    detect_escaped: rule.detect_escaped,
                },
                file,
            });
        }
        made.rules.push(Rule {
            matcher: Matcher::Any,
            shape: Shape::default(),
            file: 0,
        });
        Ok(made)
    }

    /// Has files followed that are there from last time: they may hold lines that were not sent.
    pub fn follow_known(&mut self, followed: &Arc<FollowedLogs>) {
        for output in &mut self.files {
            if !output.is_static && output.log.path.exists() {
                output.open(followed);
            }
        }
    }

    /// Makes the line of an entry, for the file of the first rule that matches.
    pub fn add(&mut self, entry: &Entry, fields: &Fields, now_ms: u64) {
        let rule = self.rules.iter_mut().find_map(|rule| {
            let matches = match &mut rule.matcher {
                Matcher::Any => true,
                Matcher::Unit(pattern) => pattern
                    .find(&fields.unit(entry))
                    .is_some_and(|(at, _)| at == 0),
                Matcher::Globs(globs) => globs.iter().all(|glob| glob.matches(fields, entry)),
            };
            matches.then_some((rule.file, rule.shape))
        });
        // The last rule takes everything.
        let (file, shape) = rule.unwrap_or_default();
        if let Some(output) = self.files.get_mut(file) {
            fields.write(&mut output.pending, entry, now_ms, shape);
        }
    }

    /// Bytes that are not written yet.
    pub fn pending(&self) -> usize {
        self.files.iter().map(|output| output.pending.len()).sum()
    }

    /// Writes what has gathered. What cannot be written stays for the next time.
    ///
    /// # Errors
    /// The first file that could not be written, with the reason.
    pub fn flush(&mut self, followed: &Arc<FollowedLogs>) -> Result<(), String> {
        let mut failed = None;
        for output in &mut self.files {
            if output.pending.is_empty() {
                continue;
            }
            let mut pending = std::mem::take(&mut output.pending);
            match output.open(followed).file.write(&pending) {
                Ok(()) => pending.clear(),
                Err(Lost { lines, error }) => {
                    let path = output.log.path.display();
                    failed.get_or_insert_with(|| format!("{path} cannot be written: {error}"));
                    let written = written_before(&pending, lines);
                    pending.drain(..written);
                }
            }
            if pending.capacity() > 1024 * 1024 {
                pending.shrink_to(64 * 1024);
            }
            output.pending = pending;
        }
        failed.map_or(Ok(()), Err)
    }

    /// Has all lines that were written outlive a loss of power.
    ///
    /// # Errors
    /// With the path in its text.
    pub fn sync(&self) -> std::io::Result<()> {
        for output in &self.files {
            let Some(open) = &output.open else { continue };
            open.file.sync().map_err(|e| {
                let path = output.log.path.display();
                std::io::Error::new(e.kind(), format!("{path}: {e}"))
            })?;
        }
        Ok(())
    }

    /// The names of all files, whether they are there or not.
    fn names(&self) -> impl Iterator<Item = &std::ffi::OsStr> {
        self.files.iter().filter_map(|f| f.log.path.file_name())
    }

    /// Removes files that the Python agent left behind: it gave them other names at each start.
    /// How many bytes that were, and in how many files.
    pub fn remove_orphans(&self, dir: &Path, now: SystemTime) -> (u64, usize) {
        let (mut bytes, mut count) = (0, 0);
        let Ok(entries) = fs::read_dir(dir) else {
            return (0, 0);
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let is_orphan = name.to_str().is_some_and(is_python_name);
            let own = self
                .names()
                .any(|own| name.as_encoded_bytes().starts_with(own.as_encoded_bytes()));
            if !is_orphan || own {
                continue;
            }
            let Ok(meta) = entry.metadata() else { continue };
            let age = meta
                .modified()
                .ok()
                .and_then(|t| now.duration_since(t).ok());
            let old = age.is_some_and(|age| age > LEFT_ALONE);
            if meta.is_file() && old && fs::remove_file(entry.path()).is_ok() {
                bytes += meta.len();
                count += 1;
            }
        }
        (bytes, count)
    }
}

/// `journald_<a hash of 64 bits, signed, in decimal>.log`, or one of its rotated forms.
fn is_python_name(name: &str) -> bool {
    let Some((hash, rest)) = name
        .strip_prefix("journald_")
        .and_then(|rest| rest.split_once('.'))
    else {
        return false;
    };
    let rotated = rest.strip_prefix("log.").map(crate::procfs::is_number);
    let is_log = rest == "log" || rotated == Some(true);
    is_log && hash.parse::<i64>().is_ok() && !hash.starts_with('+')
}

/// How many bytes stand before the last `lost` lines of a text.
fn written_before(text: &[u8], lost: u64) -> usize {
    let mut ends = text.iter().enumerate().rev().filter(|(_, &b)| b == b'\n');
    // The end of the line before them is one more newline back.
    let lost = usize::try_from(lost).unwrap_or(usize::MAX);
    ends.nth(lost).map_or(0, |(at, _)| at + 1)
}

impl Output {
    /// The file, whose following begins before its first line is written.
    fn open(&mut self, followed: &Arc<FollowedLogs>) -> &mut Open {
        /// Instances of the monitor write to the same files.
        static FILES: OnceLock<LogFiles> = OnceLock::new();
        let (log, rotation) = (&self.log, self.rotation);
        let is_static = self.is_static;
        self.open.get_or_insert_with(|| Open {
            _following: (!is_static).then(|| Following::begin(followed, log)),
            file: FILES
                .get_or_init(LogFiles::default)
                .get(&log.path, rotation)
                .durable(),
        })
    }
}

impl Glob {
    fn matches(&self, fields: &Fields, entry: &Entry) -> bool {
        let value = match &self.field {
            Field::Mapped(name) => fields.mapped(name, entry),
            Field::Raw(number) => entry.get(*number).map(String::from_utf8_lossy),
        };
        value.is_some_and(|value| wildcard::matches(&self.pattern, &value))
    }
}

/// The unit or globs of a rule in a form that stays the same; `None` for one that takes everything.
fn key(rule: &JournaldRule) -> Option<String> {
    if let Some(unit) = rule.unit.as_deref().filter(|&unit| unit != ".*") {
        return Some(format!("unit {unit}"));
    }
    let mut globs: Vec<_> = rule.globs.iter().collect();
    common::sort::plainly(&mut globs);
    let mut key = String::new();
    for (name, pattern) in globs {
        // Writing into a String cannot fail.
        let _ = write!(key, "glob {name:?} {pattern:?} ");
    }
    Some(key).filter(|key| !key.is_empty())
}

fn matcher(rule: &JournaldRule, fields: &mut Fields) -> Result<Matcher, String> {
    if rule.unit.is_some() && !rule.globs.is_empty() {
        return Err("an entry has both journald_unit and journald_globs".to_owned());
    }
    if key(rule).is_none() {
        return Ok(Matcher::Any);
    }
    if let Some(unit) = &rule.unit {
        let pattern = Pattern::new(unit).map_err(|mistake| {
            format!(
                "journald_unit \"{unit}\": {} at position {}",
                mistake.reason, mistake.position
            )
        })?;
        return Ok(Matcher::Unit(Box::new(pattern)));
    }
    let globs = rule.globs.iter().map(|(name, pattern)| Glob {
        field: if fields.has(name) {
            Field::Mapped(name.clone())
        } else {
            Field::Raw(fields.number(name))
        },
        pattern: pattern.clone(),
    });
    Ok(Matcher::Globs(globs.collect()))
}

/// `journald_<16 hexadecimal digits>.log`: the same rule has the same file after each start.
fn file_name(key: &str) -> String {
    let mut name = "journald_".to_owned();
    for byte in &sha256::digest(key.as_bytes())[..8] {
        let _ = write!(name, "{byte:02x}");
    }
    name + ".log"
}

/// The log that there is from the start.
pub fn common_log(place: &Place) -> MonitorLog {
    let any = place.journald_rules.iter().position(|r| key(r).is_none());
    match any {
        Some(index) => log_of(place, index, COMMON),
        None => MonitorLog {
            path: place.log_dir.join(COMMON),
            parser: "journald".to_owned(),
            attributes: Vec::new(),
            like: None,
            metrics: false,
            sampled: false,
        },
    }
}

/// The logs that come while it runs: one for each rule that does not take everything. Which of them are
/// there depends on the entries of the journal.
pub fn rule_logs(place: &Place) -> Vec<MonitorLog> {
    let rules = place.journald_rules.iter().enumerate();
    rules
        .filter_map(|(index, rule)| Some(log_of(place, index, &file_name(&key(rule)?))))
        .collect()
}

fn log_of(place: &Place, index: usize, name: &str) -> MonitorLog {
    let attributes = match place.journald_rules.get(index) {
        Some(rule) => &rule.attributes[..],
        None => &[],
    };
    let parser = attributes.iter().find(|(name, _)| name == "parser");
    let parser = parser.and_then(|(_, value)| value.as_str());
    let others: Vec<(String, Json)> = attributes
        .iter()
        .filter(|(name, _)| name != "parser")
        .cloned()
        .collect();
    MonitorLog {
        path: place.log_dir.join(name),
        parser: parser.unwrap_or("journald").to_owned(),
        attributes: others,
        like: Some(Like::Journald(index)),
        metrics: false,
        sampled: false,
    }
}

/// A log that is followed as long as some instance has it open.
#[derive(Debug)]
struct Following {
    logs: Arc<FollowedLogs>,
    path: PathBuf,
}

/// How many instances have each log open. By the address of the list, for there is one per agent.
static USERS: Mutex<Vec<(usize, PathBuf, usize)>> = Mutex::new(Vec::new());

impl Following {
    fn begin(logs: &Arc<FollowedLogs>, log: &MonitorLog) -> Self {
        let mut users = USERS.lock().unwrap_or_else(PoisonError::into_inner);
        let list = Arc::as_ptr(logs) as usize;
        match users.iter_mut().find(|u| u.0 == list && u.1 == log.path) {
            Some(user) => user.2 += 1,
            None => users.push((list, log.path.clone(), 1)),
        }
        // If it belongs to someone else, it is followed all the same.
        logs.follow(OWNER, log.clone());
        Following {
            logs: Arc::clone(logs),
            path: log.path.clone(),
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let mut users = USERS.lock().unwrap_or_else(PoisonError::into_inner);
        let list = Arc::as_ptr(&self.logs) as usize;
        let at = users.iter().position(|u| u.0 == list && u.1 == self.path);
        let Some(at) = at else { return };
        users[at].2 -= 1;
        if users[at].2 == 0 {
            users.swap_remove(at);
            self.logs.unfollow(OWNER, &self.path);
        }
    }
}

#[cfg(test)]
#[path = "outputs_tests.rs"]
mod tests;
