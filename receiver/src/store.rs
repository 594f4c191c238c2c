//! The folder: `events.jsonl`, one event a line.

use crate::event::{Event, Found, Query};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The file's name in the folder.
const FILE: &str = "events.jsonl";

/// How long is tried for the lock: a receiver that was killed keeps it until its last thread is gone.
const PATIENCE: Duration = Duration::from_secs(1);

/// Writes events. What is added is in the file after [`Store::flush`].
#[derive(Debug)]
pub(crate) struct Store {
    path: PathBuf,
    file: File,
    /// Two receivers that append would cut each other's lines off. `None` where the file system has no
    /// locks.
    _lock: Option<Flock<File>>,
    pending: Vec<u8>,
    /// Bytes of whole requests.
    length: u64,
    broken: Option<String>,
}

impl Store {
    /// Opens a folder, creating it if need be. A last line that a killed receiver left unfinished
    /// is cut off. An error if another receiver has the folder.
    pub fn open(folder: &Path) -> io::Result<Store> {
        fs::create_dir_all(folder)?;
        let path = folder.join(FILE);
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .read(true)
            .open(&path)?;
        let lock = lock(file.try_clone()?, folder)?;
        let length = end_of_last_line(&path)?;
        file.set_len(length)?;
        Ok(Store {
            path,
            file,
            _lock: lock,
            pending: Vec::new(),
            length,
            broken: None,
        })
    }

    /// An error if an earlier write failed: what came then is in the sequences but not in the
    /// file, so the receiver must not say any longer that it has what it gets.
    pub fn check(&self) -> io::Result<()> {
        match &self.broken {
            Some(why) => Err(io::Error::other(why.clone())),
            None => Ok(()),
        }
    }

    pub fn add(&mut self, event: &Event) {
        event.write_line(&mut self.pending);
    }

    pub fn flush(&mut self) -> io::Result<()> {
        let written = self.file.write_all(&self.pending);
        if let Err(error) = &written {
            let why = format!("{} cannot be written: {error}", self.path.display());
            eprintln!("receiver: {why}");
            self.broken = Some(why);
            // Leaves no half line; if that fails too, the next start does it
            let _ = self.file.set_len(self.length);
        } else {
            self.length += self.pending.len() as u64;
        }
        self.pending.clear();
        self.pending.shrink_to(1 << 20);
        written
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn lock(mut file: File, folder: &Path) -> io::Result<Option<Flock<File>>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(locked) => return Ok(Some(locked)),
            Err((again, Errno::EWOULDBLOCK)) if Instant::now() < deadline => file = again,
            Err((_, Errno::EWOULDBLOCK)) => {
                return Err(io::Error::other(format!(
                "the folder '{}' is in use by another receiver. Stop that one, or give this one a \
                     --folder of its own",
                folder.display()
            )))
            }
            Err(_) => return Ok(None),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn end_of_last_line(path: &Path) -> io::Result<u64> {
    let (mut at, mut end) = (0, 0);
    let mut reader = BufReader::new(File::open(path)?);
    loop {
        let block = reader.fill_buf()?;
        if block.is_empty() {
            return Ok(end);
        }
        if let Some(last) = block.iter().rposition(|&byte| byte == b'\n') {
            end = at + last as u64 + 1;
        }
        let length = block.len();
        at += length as u64;
        reader.consume(length);
    }
}

/// Each event in a file.
pub(crate) fn scan_file(path: &Path, mut each: impl FnMut(Event)) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(1 << 16, File::open(path)?);
    let mut line = Vec::new();
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        if let Some(event) = Event::read_line(&line) {
            each(event);
        }
    }
}

/// Each event in a folder.
pub fn scan_folder(folder: &Path, each: impl FnMut(Event)) -> io::Result<()> {
    scan_file(&folder.join(FILE), each)
}

/// Looks in a file; returns how many events fit, and those up to the query's limit.
pub(crate) fn search_file(path: &Path, query: &Query) -> io::Result<(usize, Vec<Event>)> {
    let mut found = Found::new(query);
    scan_file(path, |event| found.look_at(&event))?;
    Ok((found.matches, found.events.into()))
}

/// Looks in a folder; returns how many events fit, and those up to the query's limit.
pub fn search_folder(folder: &Path, query: &Query) -> io::Result<(usize, Vec<Event>)> {
    search_file(&folder.join(FILE), query)
}
