//! Checkpoint files on disk (copying.md §15): atomic, synced, and readable after power was lost in
//! the middle of writing one.

use super::checkpoint::{self, Saved, Writer};
use crate::util::time;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Reads all checkpoint files of a data directory, of all sessions and of the Python agent, and
/// makes one of them. For the start, before any session, and for the stop, after all of them.
/// Returns what is remembered, and the damaged files that were set aside.
pub fn consolidate(dir: &Path) -> (Option<Saved>, Vec<PathBuf>) {
    let mut store = Store::new(dir, "default-0");
    let saved = store.restore();
    (saved, store.damaged)
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
        let mut all: Option<Saved> = None;
        let mut others = Vec::new();
        let names: Vec<PathBuf> = fs::read_dir(&self.dir)
            .map(|entries| entries.flatten().map(|e| e.path()).collect())
            .unwrap_or_default();
        for path in names {
            let Some(name) = path.file_name().and_then(|n| n.to_str()) else {
                continue;
            };
            let is_session = (name.starts_with("checkpoints-worker-")
                || name.starts_with("active-checkpoints-worker-"))
                && (name.ends_with(".json") || name.ends_with(".json.previous"));
            if name != CONSOLIDATED && !is_session {
                continue;
            }
            if let Some(saved) = self.load(&path) {
                all = Some(match all {
                    None => saved,
                    Some(so_far) => merge(so_far, saved),
                });
            }
            if is_session {
                others.push(path);
            }
        }
        if let Some(all) = &all {
            if !others.is_empty() && self.consolidate(all) {
                for path in others {
                    let _ = fs::remove_file(path);
                }
            }
        }
        all
    }

    fn load(&mut self, path: &Path) -> Option<Saved> {
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return None,
            Err(e) => {
                log::error!("checkpoint file {} can't be read: {e}", path.display());
                return None;
            }
        };
        match checkpoint::parse(&text) {
            Ok(saved) => Some(saved),
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
                None
            }
        }
    }

    fn consolidate(&mut self, all: &Saved) -> bool {
        let mut writer = Writer::new(Vec::new(), all.time, all.watched.as_deref());
        for (path, log) in &all.logs {
            writer.saved(path, log.time, &log.generations);
        }
        let path = self.dir.join(CONSOLIDATED);
        let text = writer.finish();
        self.put(&path, &text, None)
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
    pub fn write_active(&mut self, text: Vec<u8>) -> bool {
        let path = self.active.clone();
        let done = self.put(&path, &text, None);
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
            Some(have) if have.time >= log.time => {}
            _ => {
                a.logs.insert(path, log);
            }
        }
    }
    if b.time > a.time || a.watched.is_none() {
        if b.watched.is_some() {
            a.watched = b.watched;
        }
        a.time = a.time.max(b.time);
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
        let mut writer = Writer::new(Vec::new(), time, None);
        for (path, time) in logs {
            writer.saved(Path::new(path), *time, &[]);
        }
        writer.finish()
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
        assert!(store.write_active(text(3.0, &[("/a", 3.0)])));
        let all = Store::new(&dir, "default-0").restore().unwrap();
        let times: Vec<f64> = all.logs.values().map(|l| l.time).collect();
        assert_eq!(times, [3.0, 1.0, 2.0]);
        // and one file is left, with the same content
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
        assert_eq!(
            Store::new(&dir, "default-0").restore().unwrap().logs,
            all.logs
        );
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn power_lost_while_writing_falls_back_to_the_previous_one_and_says_so() {
        let dir = folder();
        let mut store = Store::new(&dir, "default-0");
        store.write_full(text(1.0, &[("/a", 1.0)]));
        store.write_full(text(2.0, &[("/a", 2.0)]));
        store.write_active(text(3.0, &[("/a", 3.0)]));
        let half = text(2.0, &[("/a", 2.0)]);
        fs::write(
            dir.join("checkpoints-worker-default-0.json"),
            &half[..half.len() / 2],
        )
        .unwrap();
        fs::write(dir.join("active-checkpoints-worker-default-0.json"), "").unwrap();
        let mut store = Store::new(&dir, "default-0");
        let all = store.restore().unwrap();
        assert_eq!(all.logs[Path::new("/a")].time, 1.0);
        assert_eq!(store.damaged.len(), 2);
        assert!(store.damaged.iter().all(|p| p.exists()));
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_directory_that_can_not_be_written_is_an_error_once_and_not_the_end() {
        let mut store = Store::new(Path::new("/nonexistent/data"), "default-0");
        assert!(!store.write_active(text(1.0, &[])));
        assert!(store.error.as_ref().unwrap().contains("/nonexistent/data"));
        assert!(store.restore().is_none());
    }
}
