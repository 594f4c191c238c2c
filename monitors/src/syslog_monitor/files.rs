//! The files that messages are written to: the base file, and those that a template names.
//!
//! Text is gathered per file and written in blocks, at the latest after the flush delay. What
//! files of a template we have made is remembered in a list on disk, and nothing else is ever
//! deleted.

use super::made::Made;
use super::room::Room;
use super::template::Values;
use crate::followed::FollowedLogs;
use crate::monitor::{Like, LogRule, MonitorLog};
use crate::sink::{LogFiles, Lost, Sink};
use crate::{registry, wildcard, Emitter};
use common::rotating::Rotation;
use serde_json::Value as Json;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime};

/// Instances that write the same file share it.
static SHARED: LazyLock<LogFiles> = LazyLock::new(LogFiles::default);

/// A block is written once it is so large.
const BLOCK: usize = 64 * 1024;
/// All blocks are written once they are so large together.
const BLOCKS: usize = 1 << 20;
/// A written block's memory is kept up to this size, but for the base file.
const KEEP: usize = 8 * 1024;
/// Names that go to the base file are remembered for so long, at most so many.
const REFUSALS_LAST: Duration = Duration::from_secs(60);
const MOST_REFUSALS: usize = 4096;
/// A part of a path may have 255 bytes; `.10` may follow.
const LONGEST_NAME: usize = 240;
const TEN_MINUTES: Duration = Duration::from_secs(600);
/// The copier tells within this time whether a file is delivered; until then it stays open.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
const HOUR: Duration = Duration::from_secs(3600);

/// How files are kept.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The folder that paths of a template are relative to.
    pub log_dir: PathBuf,
    /// The base file, as the copier knows it.
    pub base: PathBuf,
    /// The rotation of a template's files.
    pub rotation: Rotation,
    /// Longest time that text is held back.
    pub flush_delay: Duration,
    /// Files of a template are closed after so long without a message.
    pub expire: Duration,
    /// Files of a template open at one time.
    pub most: usize,
    /// Bytes of all files of a template; 0: as many as like.
    pub most_bytes: u64,
    /// How often to look for files to delete.
    pub check_every: Duration,
    /// How old they have to be.
    pub delete_after: Duration,
    /// Rotated files go by their own age, not with their main file.
    pub check_rotated: bool,
    /// Where the list of files is kept.
    pub list: PathBuf,
    /// The monitor's name.
    pub owner: String,
    /// Parser where the matching entry of `logs` has none.
    pub parser: String,
    /// First attributes of the files of a template.
    pub attributes: Vec<(String, Json)>,
    /// Entries of `logs`.
    pub rules: Arc<[LogRule]>,
    /// Takes the files of a template.
    pub followed: Arc<FollowedLogs>,
}

/// Names a file until that is closed; after that, the base file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileId {
    slot: usize,
    serial: u64,
}

impl FileId {
    /// The base file.
    pub const BASE: FileId = FileId { slot: 0, serial: 0 };
}

struct Target {
    serial: u64,
    /// By which `by_name` has it; empty for the base file.
    name: String,
    path: PathBuf,
    sink: Box<dyn Sink>,
    block: Vec<u8>,
    /// Since when there is something in `block`.
    since: Option<Instant>,
    last: Instant,
    /// The copier was asked whether all of it is delivered.
    asked: bool,
}

/// See the module's text.
pub struct Files {
    settings: Settings,
    targets: Vec<Option<Target>>,
    free: Vec<usize>,
    /// Files of a template by what it expanded to; `None` for names that go to the base file.
    by_name: HashMap<String, Option<FileId>>,
    refusals: usize,
    forget_refusals: Option<Instant>,
    serial: u64,
    /// Slots with something in their blocks, the oldest first.
    waiting: Vec<usize>,
    /// Bytes in all blocks.
    held: usize,
    made: Made,
    room: Room,
    next_expiry: Option<Instant>,
    next_check: Instant,
    lines: u64,
    lost: Arc<AtomicU64>,
    open: Arc<AtomicU64>,
    deleted: Arc<AtomicU64>,
    bytes: Arc<AtomicU64>,
    without_room: Arc<AtomicU64>,
}

impl Files {
    /// Opens the base file by way of `base`, and reads the list.
    pub fn new(settings: Settings, base: Option<Box<dyn Sink>>, out: &mut Emitter) -> Files {
        let now = Instant::now();
        let (made, unreadable) = Made::read(&settings.list);
        if let Some(error) = unreadable {
            out.warn(format_args!(
                "The list of files made so far, {}, cannot be read: {error}. Files in it will not be deleted when they are old.",
                settings.list.display()
            ));
        }
        let base = base.unwrap_or_else(|| {
            Box::new(SHARED.get(&settings.base, settings.rotation)) as Box<dyn Sink>
        });
        Files {
            targets: vec![Some(Target {
                serial: 0,
                name: String::new(),
                path: settings.base.clone(),
                sink: base,
                block: Vec::new(),
                since: None,
                last: now,
                asked: false,
            })],
            free: Vec::new(),
            by_name: HashMap::new(),
            refusals: 0,
            forget_refusals: None,
            serial: 0,
            waiting: Vec::new(),
            held: 0,
            next_expiry: None,
            next_check: now + settings.check_every,
            room: Room::new(settings.most_bytes, &made),
            made,
            lines: 0,
            lost: out.counter("lines_lost"),
            open: out.counter("template_files_open"),
            deleted: out.counter("template_files_deleted"),
            bytes: out.counter("template_bytes"),
            without_room: out.counter("messages_without_room"),
            settings,
        }
    }

    /// Appends a message as it is, and a newline.
    pub fn put(&mut self, id: FileId, text: &[u8], now: Instant, out: &mut Emitter) {
        self.append(id, now, out, |block| {
            match std::str::from_utf8(text) {
                Ok(_) => block.extend_from_slice(text),
                // Invalid UTF-8 is left out, as the Python agent does.
                Err(_) => text
                    .utf8_chunks()
                    .for_each(|chunk| block.extend_from_slice(chunk.valid().as_bytes())),
            }
            block.push(b'\n');
        });
        self.lines += 1 + memchr::memchr_iter(b'\n', text).count() as u64;
    }

    /// Appends bytes untouched; a newline only if there is none at the end.
    pub fn put_raw(&mut self, id: FileId, bytes: &[u8], now: Instant, out: &mut Emitter) {
        let ended = bytes.ends_with(b"\n");
        self.append(id, now, out, |block| {
            block.extend_from_slice(bytes);
            if !ended {
                block.push(b'\n');
            }
        });
        self.lines += memchr::memchr_iter(b'\n', bytes).count() as u64 + u64::from(!ended);
    }

    fn append(
        &mut self,
        id: FileId,
        now: Instant,
        out: &mut Emitter,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let slot = match self.targets.get(id.slot) {
            Some(Some(target)) if target.serial == id.serial => id.slot,
            _ => FileId::BASE.slot,
        };
        let slot = match slot != FileId::BASE.slot && self.room.is_full() {
            true => self.without_room(out),
            false => slot,
        };
        let Some(Some(target)) = self.targets.get_mut(slot) else {
            return;
        };
        let before = target.block.len();
        write(&mut target.block);
        let after = target.block.len();
        target.last = now;
        target.asked = false;
        if slot != FileId::BASE.slot {
            self.room.take(after - before);
        }
        if target.since.is_none() {
            target.since = Some(now);
            self.waiting.push(slot);
        }
        self.held += after - before;
        if after >= BLOCK {
            self.waiting.retain(|&other| other != slot);
            self.flush(slot, out);
        } else if self.held >= BLOCKS {
            self.flush_all(out);
        }
    }

    /// The bound on all bytes is reached: where the message goes.
    fn without_room(&mut self, out: &mut Emitter) -> usize {
        self.without_room.fetch_add(1, Relaxed);
        if out.once_in(TEN_MINUTES, "max_total_log_size") {
            out.warn(format_args!(
                "The files of message_log_template have {} bytes, max_total_log_size allows {}, and no rotated or closed one is known to be delivered. Messages for them go to {} and are counted in the status as messages_without_room. Raise max_total_log_size, or lower max_log_size.",
                self.room.used(),
                self.settings.most_bytes,
                self.settings.base.display()
            ));
        }
        FileId::BASE.slot
    }

    fn flush(&mut self, slot: usize, out: &mut Emitter) {
        let Some(Some(target)) = self.targets.get_mut(slot) else {
            return;
        };
        target.since = None;
        self.held -= target.block.len();
        let result = target.sink.write(&target.block);
        target.block.clear();
        if slot == FileId::BASE.slot {
            target.block.shrink_to(2 * BLOCK);
        } else if target.block.capacity() > KEEP {
            target.block = Vec::new();
        }
        if let Err(Lost { lines, error }) = result {
            self.lost.fetch_add(lines, Relaxed);
            if out.once_in(HOUR, &format!("lost {}", error.kind())) {
                out.warn(format_args!(
                    "{lines} lines could not be written to {}: {error}. Further losses are counted in the status as lines_lost.",
                    target.path.display()
                ));
            }
        }
    }

    /// Writes whatever is held back.
    pub fn flush_all(&mut self, out: &mut Emitter) {
        for slot in std::mem::take(&mut self.waiting) {
            self.flush(slot, out);
        }
    }

    /// The file for a name that a template expanded to.
    pub fn find(
        &mut self,
        name: &str,
        values: &Values,
        only: impl Fn(&str) -> bool,
        now: Instant,
        out: &mut Emitter,
    ) -> FileId {
        if let Some(known) = self.by_name.get(name) {
            return known.unwrap_or(FileId::BASE);
        }
        if self.room.is_full() {
            self.without_room(out);
            return FileId::BASE;
        }
        let open = self.targets.len() - self.free.len() - 1;
        let most = self.settings.most;
        let too_many = self.made.len() >= most.saturating_mul(10)
            && !self.made.has(&self.settings.log_dir.join(name));
        if open >= most || too_many {
            self.without_room.fetch_add(1, Relaxed);
            if out.once_in(TEN_MINUTES, "max_log_files") {
                out.warn(format_args!(
                    "There are {open} files of message_log_template open, and {} in all that were not deleted yet; max_log_files allows {most} and ten times that. Messages for further files go to {} and are counted in the status as messages_without_room.",
                    self.made.len(),
                    self.settings.base.display()
                ));
            }
            return FileId::BASE;
        }
        match self.open(name, values, only, now) {
            Ok(id) => {
                self.by_name.insert(name.to_owned(), Some(id));
                id
            }
            Err(why) => {
                if out.once_in(TEN_MINUTES, why.kind) {
                    out.warn(format_args!(
                        "Messages for {} go to {}: {}",
                        self.settings.log_dir.join(name).display(),
                        self.settings.base.display(),
                        why.text
                    ));
                }
                if self.refusals >= MOST_REFUSALS {
                    self.forget_refused();
                }
                self.refusals += 1;
                self.forget_refusals.get_or_insert(now + REFUSALS_LAST);
                self.by_name.insert(name.to_owned(), None);
                FileId::BASE
            }
        }
    }

    fn forget_refused(&mut self) {
        self.by_name.retain(|_, id| id.is_some());
        self.refusals = 0;
        self.forget_refusals = None;
    }

    fn open(
        &mut self,
        name: &str,
        values: &Values,
        only: impl Fn(&str) -> bool,
        now: Instant,
    ) -> Result<FileId, Refusal> {
        let settings = &self.settings;
        let path = settings.log_dir.join(name);
        if name.split('/').any(|part| part.len() > LONGEST_NAME) {
            return Err(Refusal::new("long", "the name is too long."));
        }
        if self.is_reserved(&path) {
            return Err(Refusal::new(
                "reserved",
                "a file of that name belongs to the agent. Let message_log_template begin with a directory or a word of its own.",
            ));
        }
        let text = path.to_string_lossy();
        let mut rules = settings.rules.iter().enumerate();
        let Some((index, rule)) =
            rules.find(|(_, rule)| wildcard::matches(&rule.path.to_string_lossy(), &text))
        else {
            return Err(Refusal::new(
                "no entry",
                "no entry of logs has a path that matches. Add one, e.g. with a * in place of each variable.",
            ));
        };
        let log = self.log(&path, index, rule, values, only);
        let exists = match fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_file() => true,
            Ok(_) => return Err(Refusal::new("type", "it is not a regular file.")),
            Err(_) => false,
        };
        // The copier has to know it before the first line.
        if !settings.followed.follow(&settings.owner, log) {
            return Err(Refusal::new(
                "owner",
                "another monitor writes a file of that name.",
            ));
        }
        let opened = path
            .parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| common::files::append().create(true).open(&path));
        if let Err(error) = opened {
            settings.followed.unfollow(&settings.owner, &path);
            return Err(Refusal {
                kind: "open",
                text: format!("it cannot be opened: {error}. It is tried again after a minute."),
            });
        }
        if !exists {
            self.made.add(path.clone(), now);
        }
        self.room.opened(&path);
        self.serial += 1;
        let target = Target {
            serial: self.serial,
            name: name.to_owned(),
            sink: Box::new(SHARED.get(&path, self.settings.rotation)),
            path,
            block: Vec::new(),
            since: None,
            last: now,
            asked: false,
        };
        let slot = self.free.pop().unwrap_or_else(|| {
            self.targets.push(None);
            self.targets.len() - 1
        });
        self.targets[slot] = Some(target);
        self.open.fetch_add(1, Relaxed);
        let expires = now + self.settings.expire;
        self.next_expiry = Some(self.next_expiry.map_or(expires, |then| then.min(expires)));
        Ok(FileId {
            slot,
            serial: self.serial,
        })
    }

    /// Whether the agent or another monitor writes files of that name: senders must not get at them.
    fn is_reserved(&self, path: &Path) -> bool {
        let base = &self.settings.base;
        if path.parent() != Some(&self.settings.log_dir) && path.parent() != base.parent() {
            return false;
        }
        let name = |path: &Path| {
            let name = path.file_name().unwrap_or_default();
            name.to_string_lossy().into_owned()
        };
        let (name, base) = (name(path), name(base));
        // `x.log.1` is as bad as `x.log`.
        let is = |reserved: &str| {
            name.strip_prefix(reserved)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let of_agent = [
            "agent.log",
            "agent_debug.log",
            "agent.pid",
            "agent_syslog.log",
        ];
        let of_monitor = |name: &str| is(&format!("{name}.log"));
        of_agent.into_iter().any(is)
            || is(&base)
            || registry::ALL.iter().any(|d| of_monitor(d.short_name()))
    }

    /// The description of a file for the copier.
    fn log(
        &self,
        path: &Path,
        index: usize,
        rule: &LogRule,
        values: &Values,
        only: impl Fn(&str) -> bool,
    ) -> MonitorLog {
        let settings = &self.settings;
        let mut attributes: Vec<(String, Json)> = Vec::new();
        let mut set = |name: &str, value: Json| match attributes
            .iter_mut()
            .find(|(known, _)| known == name)
        {
            Some((_, old)) => *old = value,
            None => attributes.push((name.to_owned(), value)),
        };
        for (name, value) in &settings.attributes {
            set(name, value.clone());
        }
        set("monitor", "agentSyslog".into());
        let mut parser = settings.parser.clone();
        for (name, value) in &rule.attributes {
            match (name.as_str(), value.as_str()) {
                ("parser", Some(text)) => parser = text.to_owned(),
                _ => set(name, value.clone()),
            }
        }
        let port = values.dest_port.parse::<u16>().unwrap_or_default();
        let of_sender = [
            ("proto", Some(Json::from(values.proto))),
            ("srcip", Some(values.src_ip.into())),
            ("destport", Some(port.into())),
            ("hostname", values.hostname.map(Json::from)),
            ("appname", values.appname.map(Json::from)),
        ];
        for (name, value) in of_sender {
            if let Some(value) = value.filter(|_| only(name)) {
                set(name, value);
            }
        }
        MonitorLog {
            path: path.to_owned(),
            parser,
            attributes,
            like: Some(Like::Logs(index)),
            metrics: false,
            sampled: false,
        }
    }

    /// Does what is due at `now`; tells when something is next.
    pub fn tick(&mut self, now: Instant, out: &mut Emitter) -> Option<Instant> {
        if self.lines > 0 {
            out.count_lines(std::mem::take(&mut self.lines));
        }
        let delay = self.settings.flush_delay;
        let due = self.waiting.iter().take_while(|&&slot| {
            let since = self.targets[slot].as_ref().and_then(|target| target.since);
            since.is_none_or(|since| now >= since + delay)
        });
        let due = due.count();
        for slot in self.waiting.drain(..due).collect::<Vec<_>>() {
            self.flush(slot, out);
        }
        if self.next_expiry.is_some_and(|then| now >= then) {
            self.expire(now, out);
        }
        if self.forget_refusals.is_some_and(|then| now >= then) {
            self.forget_refused();
        }
        let mut check = None;
        if !self.made.is_empty() {
            if now >= self.next_check {
                self.next_check = now + self.settings.check_every;
                self.delete_old(out);
            }
            check = Some(self.next_check);
        }
        if self.room.next_look(now).is_some_and(|then| now >= then) {
            self.make_room(now, out);
        }
        self.bytes.store(self.room.used(), Relaxed);
        if let Some(error) = self.made.save_if_due(&self.settings.list, now) {
            if out.once_in(HOUR, "list") {
                out.warn(format_args!(
                    "The list of files made cannot be written to {}: {error}. After a restart they will not be deleted when they are old.",
                    self.settings.list.display()
                ));
            }
        }
        let flush = self.waiting.first().and_then(|&slot| {
            let since = self.targets[slot].as_ref()?.since?;
            Some(since + delay)
        });
        [
            flush,
            self.next_expiry,
            self.forget_refusals,
            check,
            self.room.next_look(now),
            self.made.save_at(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn expire(&mut self, now: Instant, out: &mut Emitter) {
        self.next_expiry = None;
        for slot in 1..self.targets.len() {
            let Some(Some(target)) = self.targets.get_mut(slot) else {
                continue;
            };
            let mut expires = target.last + self.settings.expire;
            if self.room.is_bounded() {
                // Once it is closed nobody can say any more whether it is delivered
                if now >= expires && !target.asked {
                    target.asked = true;
                    self.settings.followed.ask_delivered();
                }
                expires += ANSWER_WITHIN;
            }
            if now < expires {
                self.next_expiry = Some(self.next_expiry.map_or(expires, |then| then.min(expires)));
                continue;
            }
            self.waiting.retain(|&other| other != slot);
            self.flush(slot, out);
            if let Some(target) = self.targets[slot].take() {
                let delivered = self.settings.followed.delivered(&target.path);
                self.room.closed(&target.path, delivered);
                self.settings
                    .followed
                    .unfollow(&self.settings.owner, &target.path);
                self.by_name.remove(&target.name);
            }
            self.free.push(slot);
            self.open.fetch_sub(1, Relaxed);
        }
    }

    /// Deletes files that we made, that are closed, and that nobody has written for long.
    fn delete_old(&mut self, out: &mut Emitter) {
        let is_open = |path: &Path| {
            let mut open = self.targets.iter().flatten();
            open.any(|target| target.path == path)
        };
        let (after, rotated) = (self.settings.delete_after, self.settings.check_rotated);
        let deleted = self.made.delete_old(after, rotated, is_open);
        if deleted > 0 {
            self.deleted.fetch_add(deleted, Relaxed);
            out.info(format_args!(
                "Deleted {deleted} files of message_log_template that were not written for {} hours (delete_unused_logs_hours).",
                after.as_secs() / 3600
            ));
        }
    }

    /// Deletes files that are delivered, where the bound on all bytes is near.
    fn make_room(&mut self, now: Instant, out: &mut Emitter) {
        let followed = &self.settings.followed;
        let open = self.targets.iter().skip(1).flatten();
        let open: Vec<(&Path, Option<SystemTime>)> = open
            .map(|target| (&*target.path, followed.delivered(&target.path)))
            .collect();
        let held = self.targets.iter().skip(1).flatten();
        let held: usize = held.map(|target| target.block.len()).sum();
        let deleted = self.room.make(&self.made, &open, held as u64, now);
        // For the next look
        followed.ask_delivered();
        if deleted > 0 {
            self.made.forget_gone();
            self.deleted.fetch_add(deleted, Relaxed);
            if out.once_in(HOUR, "room") {
                out.info(format_args!(
                    "Deleted {deleted} files of message_log_template that are delivered, as max_total_log_size was near."
                ));
            }
        }
    }

    /// Writes everything, the list included.
    pub fn close(&mut self, out: &mut Emitter) {
        self.flush_all(out);
        out.count_lines(std::mem::take(&mut self.lines));
        let _ = self.made.save(&self.settings.list);
        self.open.store(0, Relaxed);
    }
}

/// Why a name goes to the base file.
struct Refusal {
    kind: &'static str,
    text: String,
}

impl Refusal {
    fn new(kind: &'static str, text: &str) -> Self {
        Refusal {
            kind,
            text: text.to_owned(),
        }
    }
}
