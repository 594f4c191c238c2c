//! Checkpoint files on disk (copying.md §15): atomic, synced, and readable after power was lost in
//! the middle of writing one.

use super::checkpoint::{self, Saved, Writer};
use crate::util::time;
use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Reads all checkpoint files of a data directory, of all sessions and of the Python agent, and
/// makes one of them. For the start, before any session, and for the stop, after all of them.
/// Returns what is remembered, and the damaged files that were set aside.
pub fn consolidate(dir: &Path) -> (Option<Saved>, Vec<PathBuf>) {
    let mut store = Store::new(dir, "default-0");
    let saved = store.restore();
    (saved, store.damaged)
}

/// Counts checkpoint writes of this and all earlier runs.
static SERIAL: AtomicU64 = AtomicU64::new(1);

/// The number of the next checkpoint.
pub fn next_serial() -> u64 {
    SERIAL.fetch_add(1, Ordering::Relaxed)
}

/// Where a path has an entry of the default worker and one that names no worker (the Python agent's
/// consolidated file), the newer of them stays, as the default worker's.
fn name_workers(mut all: Saved) -> Saved {
    let unnamed: Vec<PathBuf> = all
        .logs
        .keys()
        .filter(|(worker, _)| worker.is_empty())
        .map(|(_, path)| path.clone())
        .collect();
    for path in unnamed {
        let default = ("default".to_owned(), path.clone());
        let Some(named) = all.logs.get(&default) else {
            continue;
        };
        let unnamed = (String::new(), path);
        let newer = all
            .logs
            .get(&unnamed)
            .is_some_and(|log| log.is_newer(named));
        if let Some(log) = all.logs.remove(&unnamed).filter(|_| newer) {
            all.logs.insert(default, log);
        }
    }
    all
}

struct SessionFile {
    path: PathBuf,
    worker: String,
    is_full: bool,
    saved: Saved,
}

/// The worker whose session wrote a file of this name (copying.md §15.1).
fn session_worker(name: &str) -> Option<&str> {
    let name = name.strip_prefix("active-").unwrap_or(name);
    let name = name.strip_prefix("checkpoints-worker-")?;
    let name = name.strip_suffix(".previous").unwrap_or(name);
    let session = name.strip_suffix(".json")?;
    Some(
        session
            .rsplit_once('-')
            .map_or(session, |(worker, _)| worker),
    )
}

/// Files that no worker is named for are the default one's.
pub fn is_default(worker: &str) -> bool {
    worker.is_empty() || worker == "default"
}

/// Removes from the consolidated file what sessions, whose full checkpoints are newer, followed no
/// more: files that are gone and done.
fn forget_retired(old: &mut Saved, sessions: &[SessionFile]) {
    let known = |worker: &str| {
        if is_default(worker) {
            "default"
        } else {
            worker
        }
        .to_owned()
    };
    let writers: HashSet<String> = sessions
        .iter()
        .filter(|f| f.is_full && f.saved.watched.is_some() && f.saved.serial > old.serial)
        .map(|f| known(&f.worker))
        .collect();
    let followed: HashSet<(String, &PathBuf)> = sessions
        .iter()
        .flat_map(|f| f.saved.logs.keys())
        .map(|(worker, path)| (known(worker), path))
        .collect();
    old.logs.retain(|(worker, path), _| {
        !writers.contains(&known(worker)) || followed.contains(&(known(worker), path))
    });
}

/// What the checkpoint files among `paths` remember, of each path what was written last; and which
/// of them are sessions' files.
fn gather(
    paths: Vec<PathBuf>,
    mut load: impl FnMut(&Path, &str) -> io::Result<Option<Saved>>,
) -> (Option<Saved>, Vec<PathBuf>) {
    let mut sessions: Vec<SessionFile> = Vec::new();
    let mut consolidated = None;
    let mut unread = false;
    let mut read = Vec::new();
    for path in paths {
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or("");
        let worker = session_worker(name);
        if name != CONSOLIDATED && worker.is_none() {
            continue;
        }
        let is_full = name.starts_with("checkpoints-worker-") && name.ends_with(".json");
        match load(&path, worker.unwrap_or("")) {
            Ok(Some(saved)) => match worker {
                Some(worker) => sessions.push(SessionFile {
                    path: path.clone(),
                    worker: worker.to_owned(),
                    is_full,
                    saved,
                }),
                None => consolidated = Some(saved),
            },
            Ok(None) => {
                unread = true;
                if worker.is_none() {
                    let copy = path.with_file_name(CONSOLIDATED_COPY);
                    consolidated = load(&copy, "").ok().flatten();
                }
            }
            Err(_) => {
                // Not to be read at the moment: its time may come
                unread = true;
                continue;
            }
        }
        if worker.is_some() {
            read.push(path);
        }
    }
    // The previous full checkpoint serves where the last one does not
    let fulls: Vec<PathBuf> = sessions
        .iter()
        .filter(|f| f.is_full)
        .map(|f| f.path.clone())
        .collect();
    sessions.retain(|f| {
        f.path.extension() != Some("previous".as_ref())
            || !fulls.contains(&f.path.with_extension(""))
    });
    if let Some(old) = &mut consolidated {
        if !unread {
            forget_retired(old, &sessions);
        }
    }
    let all = sessions
        .into_iter()
        .map(|file| file.saved)
        .chain(consolidated)
        .reduce(merge)
        .map(name_workers);
    (all, read)
}

/// A checkpoint file, or the folder of all, that says nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// Which one.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: String,
    /// It was read and makes no sense: an agent would go on without it.
    pub is_damaged: bool,
}

/// As [`consolidate`], but leaves everything as it is: for looking on while an agent runs. A folder
/// that is not there has no checkpoints.
pub fn look(dir: &Path) -> (Option<Saved>, Vec<Unread>) {
    let unread = |path: &Path, why: String, is_damaged| Unread {
        path: path.to_path_buf(),
        why,
        is_damaged,
    };
    let changed = || fs::metadata(dir).and_then(|m| m.modified()).ok();
    let mut tries = 0;
    loop {
        let before = changed();
        let mut wrong = Vec::new();
        let paths = match fs::read_dir(dir) {
            Ok(entries) => entries.flatten().map(|e| e.path()).collect(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return (None, Vec::new()),
            Err(e) => return (None, vec![unread(dir, e.to_string(), false)]),
        };
        let (saved, _) = gather(paths, |path, worker| {
            match fs::read(path) {
                Ok(text) => match checkpoint::parse(&text, worker) {
                    Ok(saved) => return Ok(Some(saved)),
                    Err(why) => wrong.push(unread(path, format!("damaged: {why}"), true)),
                },
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => wrong.push(unread(path, e.to_string(), false)),
            }
            Ok(None)
        });
        tries += 1;
        // Each write of an agent renames a file: half before and half after one is no state
        if before == changed() || tries == 20 {
            return (saved, wrong);
        }
    }
}

/// The checkpoint files of one session.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    full: PathBuf,
    active: PathBuf,
    /// What went wrong last, until a write works again.
    pub error: Option<String>,
    /// Damaged files that were set aside, for the status report.
    pub damaged: Vec<PathBuf>,
    /// Files written.
    pub written: u64,
    buffer: Vec<u8>,
}

const CONSOLIDATED: &str = "checkpoints.json";
/// The same content again: after a clean stop there is no other file to fall back to.
const CONSOLIDATED_COPY: &str = "checkpoints.json.previous";

impl Store {
    /// For a session (`default-0`) with this data directory.
    pub fn new(dir: &Path, session: &str) -> Self {
        Store {
            dir: dir.to_path_buf(),
            full: dir.join(format!("checkpoints-worker-{session}.json")),
            active: dir.join(format!("active-checkpoints-worker-{session}.json")),
            error: None,
            damaged: Vec::new(),
            written: 0,
            buffer: Vec::new(),
        }
    }

    /// Everything remembered, the Python agent's files included: of each path what was written
    /// last. Then writes it into one file and removes the others, as the Python agent does.
    fn restore(&mut self) -> Option<Saved> {
        let paths = fs::read_dir(&self.dir)
            .map(|entries| entries.flatten().map(|e| e.path()).collect())
            .unwrap_or_default();
        let (all, read) = gather(paths, |path, worker| self.load(path, worker));
        let all = all?;
        SERIAL.fetch_max(all.serial.unwrap_or(0) + 1, Ordering::Relaxed);
        if !read.is_empty() && self.consolidate(&all) {
            for path in read {
                let _ = fs::remove_file(path);
            }
        }
        Some(all)
    }

    fn load(&mut self, path: &Path, worker: &str) -> io::Result<Option<Saved>> {
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => {
                log::error!("checkpoint file {} can't be read: {e}", path.display());
                return Err(e);
            }
        };
        match checkpoint::parse(&text, worker) {
            Ok(saved) => Ok(Some(saved)),
            Err(why) => {
                let mut aside = path.as_os_str().to_owned();
                aside.push(format!(".damaged-{}", time::now_secs() as u64));
                let aside = PathBuf::from(aside);
                let moved = fs::rename(path, &aside);
                log::error!(
                    "checkpoint file {} is damaged ({why}); {}. The previous checkpoint is used instead: some \
                     lines may be sent again, with the sequence numbers they had",
                    path.display(),
                    match moved {
                        Ok(()) => format!("it was set aside as {}", aside.display()),
                        Err(e) => format!("it could not be set aside: {e}"),
                    }
                );
                self.damaged.push(aside);
                Ok(None)
            }
        }
    }

    fn consolidate(&mut self, all: &Saved) -> bool {
        let serial = next_serial();
        let mut writer = Writer::new(Vec::new(), all.time, serial, all.watched.as_deref());
        let mut paths = HashSet::new();
        // The Python agent knows one entry per path: the default worker's, if it has one
        for ((worker, path), log) in &all.logs {
            if is_default(worker) && paths.insert(path) {
                writer.saved(path, log);
            }
        }
        for ((worker, path), log) in &all.logs {
            if !is_default(worker) {
                writer.of_worker(worker, path, log, !paths.insert(path));
            }
        }
        let text = writer.finish();
        self.put(&self.dir.join(CONSOLIDATED_COPY), &text, None);
        self.put(&self.dir.join(CONSOLIDATED), &text, None)
    }

    /// A buffer to write into; give it back with the text.
    pub fn buffer(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    /// Writes the full checkpoint; the one before it stays as `.previous`.
    pub fn write_full(&mut self, text: Vec<u8>) -> bool {
        let path = self.full.clone();
        let mut previous = path.clone().into_os_string();
        previous.push(".previous");
        let done = self.put(&path, &text, Some(Path::new(&previous)));
        self.keep_buffer(text);
        done
    }

    /// Writes the active checkpoint: what moved since the full one.
    /// `lasting`: the new name is on disk when this returns.
    pub fn write_active(&mut self, text: Vec<u8>, lasting: bool) -> bool {
        let path = self.active.clone();
        let done = self.put(&path, &text, None);
        if done && lasting {
            let _ = File::open(&self.dir).and_then(|d| d.sync_all());
        }
        self.keep_buffer(text);
        done
    }

    fn keep_buffer(&mut self, mut text: Vec<u8>) {
        text.shrink_to(64 << 10);
        self.buffer = text;
    }

    fn put(&mut self, path: &Path, text: &[u8], previous: Option<&Path>) -> bool {
        match replace(path, text, previous) {
            Ok(()) => {
                self.written += 1;
                if let Some(error) = self.error.take() {
                    log::info!("checkpoints can be written again (before: {error})");
                }
                true
            }
            Err(e) => {
                let why = format!("{}: {e}", path.display());
                // Said when it starts and when it changes, not with every request
                if self.error.as_ref() != Some(&why) {
                    log::error!(
                        "[error=\"failedCheckpointWrite\"] Could not write checkpoint file {why}. Copying goes on; \
                         after a crash the lines since the last checkpoint would be sent again"
                    );
                }
                self.error = Some(why);
                false
            }
        }
    }
}

/// Puts `text` in place of the file: after a crash or a loss of power there is the old one or the
/// new one. The old one may be kept under another name.
fn replace(path: &Path, text: &[u8], previous: Option<&Path>) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push("~");
    let temporary = PathBuf::from(temporary);
    let result = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o640)
            .open(&temporary)?;
        file.write_all(text)?;
        file.sync_data()?;
        if let Some(previous) = previous {
            let _ = fs::remove_file(previous);
            let _ = fs::hard_link(path, previous);
        }
        fs::rename(&temporary, path)
    })();
    if result.is_err() {
        let _ = fs::remove_file(&temporary);
    } else if let Some(dir) = path.parent() {
        // The rename itself; without it the old file may come back, which is as good as a crash a
        // moment earlier
        if previous.is_some() {
            let _ = File::open(dir).and_then(|d| d.sync_all());
        }
    }
    result
}

/// Of each path the entry that was written last.
fn merge(mut a: Saved, b: Saved) -> Saved {
    for (path, log) in b.logs {
        match a.logs.get(&path) {
            Some(have) if !log.is_newer(have) => {}
            _ => {
                a.logs.insert(path, log);
            }
        }
    }
    a.time = a.time.max(b.time);
    a.serial = a.serial.max(b.serial);
    // Each session knows only its own worker's patterns
    match (&mut a.watched, b.watched) {
        (Some(all), Some(more)) => {
            for path in more {
                if !all.contains(&path) {
                    all.push(path);
                }
            }
        }
        (all, more) => *all = all.take().or(more),
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> PathBuf {
        let dir = std::env::temp_dir().join(format!("store-{}", crate::util::random::uuid4()));
        fs::create_dir(&dir).unwrap();
        dir
    }

    fn text(time: f64, logs: &[(&str, f64)]) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new(), time, next_serial(), None);
        for (path, time) in logs {
            let log = checkpoint::SavedLog {
                time: *time,
                ..Default::default()
            };
            writer.saved(Path::new(path), &log);
        }
        writer.finish()
    }

    #[test]
    fn what_was_taken_over_from_the_python_agent_does_not_win_over_what_came_since() {
        let dir = folder();
        let file = dir.join(CONSOLIDATED);
        let python =
            r#"{"time":1.0,"checkpoints":{"/a":{"position":0,"time":1.0,"pending_files":[]}}}"#;
        fs::write(&file, python).unwrap();
        let mut store = Store::new(&dir, "default-0");
        assert!(store.write_full(text(2.0, &[("/a", 2.0)])));
        for _ in 0..2 {
            // The second time of the one file that the first time left
            let all = Store::new(&dir, "default-0").restore().unwrap();
            let times: Vec<f64> = all.logs.values().map(|log| log.time).collect();
            assert_eq!(times, [2.0]);
        }
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn the_latest_entry_of_each_path_wins_over_all_files() {
        let dir = folder();
        fs::write(
            dir.join(CONSOLIDATED),
            text(1.0, &[("/a", 1.0), ("/b", 1.0)]),
        )
        .unwrap();
        let mut store = Store::new(&dir, "default-0");
        assert!(store.write_full(text(2.0, &[("/a", 2.0), ("/c", 2.0)])));
        assert!(store.write_active(text(3.0, &[("/a", 3.0)]), true));
        let all = Store::new(&dir, "default-0").restore().unwrap();
        let times: Vec<f64> = all.logs.values().map(|l| l.time).collect();
        assert_eq!(times, [3.0, 1.0, 2.0]);
        // and one file is left, with the same content, and its copy
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 2);
        assert_eq!(
            Store::new(&dir, "default-0").restore().unwrap().logs,
            all.logs
        );
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn looking_on_sees_what_a_start_would_take_up_and_leaves_it_alone() {
        let dir = folder();
        fs::write(dir.join(CONSOLIDATED), text(1.0, &[("/a", 1.0)])).unwrap();
        let mut store = Store::new(&dir, "default-0");
        store.write_full(text(2.0, &[("/a", 2.0), ("/c", 2.0)]));
        fs::write(dir.join("checkpoints-worker-x-0.json"), "{").unwrap();
        let names = || {
            let mut names: Vec<_> = fs::read_dir(&dir)
                .unwrap()
                .map(|e| e.unwrap().file_name())
                .collect();
            names.sort();
            names
        };
        let before = names();
        let (saved, unread) = look(&dir);
        assert_eq!(before, names());
        assert_eq!(unread.len(), 1);
        assert!(unread[0].is_damaged);
        let taken = Store::new(&dir, "default-0").restore().unwrap();
        assert_eq!(saved.unwrap().logs, taken.logs);
        assert_eq!(look(&dir.join("none")), (None, Vec::new()));
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn power_lost_while_writing_falls_back_to_the_previous_one_and_says_so() {
        let dir = folder();
        let mut store = Store::new(&dir, "default-0");
        store.write_full(text(1.0, &[("/a", 1.0)]));
        store.write_full(text(2.0, &[("/a", 2.0)]));
        store.write_active(text(3.0, &[("/a", 3.0)]), true);
        let half = text(2.0, &[("/a", 2.0)]);
        fs::write(
            dir.join("checkpoints-worker-default-0.json"),
            &half[..half.len() / 2],
        )
        .unwrap();
        fs::write(dir.join("active-checkpoints-worker-default-0.json"), "").unwrap();
        let mut store = Store::new(&dir, "default-0");
        let all = store.restore().unwrap();
        assert_eq!(
            all.logs[&("default".to_owned(), PathBuf::from("/a"))].time,
            1.0
        );
        assert_eq!(store.damaged.len(), 2);
        assert!(store.damaged.iter().all(|p| p.exists()));
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_directory_that_can_not_be_written_is_an_error_once_and_not_the_end() {
        let mut store = Store::new(Path::new("/nonexistent/data"), "default-0");
        assert!(!store.write_active(text(1.0, &[]), true));
        assert!(store.error.as_ref().unwrap().contains("/nonexistent/data"));
        assert!(store.restore().is_none());
    }
}
