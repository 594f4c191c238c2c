//! Logs with numbered lines: `n=000123 <padding> e=000123`. The seal at the end tells that a line
//! arrived whole; the padding's length differs from line to line, so that offsets do too.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// A writer of numbered lines.
#[derive(Debug)]
pub struct Numbers {
    path: PathBuf,
    file: File,
    next: u64,
    padding: usize,
    /// The rest of a line of which a part is written.
    open: Vec<u8>,
}

fn open(path: &Path) -> File {
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.unwrap()
}

impl Numbers {
    /// Appends to a file, from number 0.
    pub fn new(path: PathBuf) -> Numbers {
        Numbers::starting_at(path, 0)
    }

    /// Appends to a file, from a number.
    pub fn starting_at(path: PathBuf, next: u64) -> Numbers {
        Numbers {
            file: open(&path),
            path,
            next,
            padding: 60,
            open: Vec::new(),
        }
    }

    /// Lines of about so many bytes more than their numbers take.
    pub fn padded(mut self, bytes: usize) -> Numbers {
        self.padding = bytes;
        self
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The number to come; so many were written.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// All numbers that were written, that of the open line too.
    pub fn all(&self) -> Range<u64> {
        0..self.next
    }

    fn line(&mut self) -> Vec<u8> {
        let n = self.next;
        self.next += 1;
        // A length of a half to one and a half times the padding, in no order
        let length =
            self.padding / 2 + (n.wrapping_mul(2_654_435_761) >> 7) as usize % self.padding.max(1);
        let mut line = format!("n={n:06} ").into_bytes();
        line.extend((0..length).map(|i| b'a' + ((n as usize + i) % 26) as u8));
        line.extend_from_slice(format!(" e={n:06}\n").as_bytes());
        line
    }

    /// Writes so many lines at once, after the rest of an open one; their numbers.
    pub fn write(&mut self, count: u64) -> Range<u64> {
        let from = self.next;
        let mut text = std::mem::take(&mut self.open);
        for _ in 0..count {
            text.extend_from_slice(&self.line());
            if text.len() > 1 << 20 {
                self.file.write_all(&text).unwrap();
                text.clear();
            }
        }
        self.file.write_all(&text).unwrap();
        from..self.next
    }

    /// Writes the first half of a line; its number. The rest comes with the next write or rotation.
    pub fn write_half(&mut self) -> u64 {
        self.finish_line();
        let number = self.next;
        let line = self.line();
        let (now, later) = line.split_at(line.len() / 2);
        self.open = later.to_vec();
        self.file.write_all(now).unwrap();
        number
    }

    /// Writes the rest of an open line.
    pub fn finish_line(&mut self) {
        let rest = std::mem::take(&mut self.open);
        self.file.write_all(&rest).unwrap();
    }

    /// Renames the file and begins a new one under its name.
    pub fn rotate_by_rename(&mut self, to: impl AsRef<Path>) {
        self.rename(to);
        self.reopen();
    }

    /// Renames the file, and leaves its name free; the old file stays open to be written to by
    /// [`Numbers::write`] until [`Numbers::reopen`].
    pub fn rename(&mut self, to: impl AsRef<Path>) -> PathBuf {
        let to = self.path.parent().unwrap().join(to);
        fs::rename(&self.path, &to).unwrap();
        to
    }

    /// Writes to the file of its name from now on, a new one if there is none.
    pub fn reopen(&mut self) {
        self.finish_line();
        self.file = open(&self.path);
    }

    /// Copies the file and truncates it, as logrotate's `copytruncate`.
    pub fn copytruncate(&mut self, to: impl AsRef<Path>) {
        self.finish_line();
        fs::copy(&self.path, self.path.parent().unwrap().join(to)).unwrap();
        self.truncate();
    }

    /// Truncates the file without a copy.
    pub fn truncate(&mut self) {
        self.finish_line();
        self.file.set_len(0).unwrap();
    }

    /// Deletes the file and begins a new one under its name.
    pub fn delete_and_recreate(&mut self) {
        self.finish_line();
        fs::remove_file(&self.path).unwrap();
        self.reopen();
    }
}

/// Writes numbered lines all the while, in a thread of its own.
pub struct Load {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    thread: Option<JoinHandle<Numbers>>,
}

impl Load {
    /// Writes `burst` lines, waits for `pause`, and so on. After every burst `rotate` may rotate:
    /// it gets the writer and the count of bursts.
    pub fn start(
        mut numbers: Numbers,
        burst: u64,
        pause: Duration,
        mut rotate: impl FnMut(&mut Numbers, u64) + Send + 'static,
    ) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let written = Arc::new(AtomicU64::new(numbers.next()));
        let (stopping, count) = (Arc::clone(&stop), Arc::clone(&written));
        let thread = std::thread::spawn(move || {
            let mut bursts = 0;
            while !stopping.load(Ordering::Relaxed) {
                numbers.write(burst);
                bursts += 1;
                rotate(&mut numbers, bursts);
                count.store(numbers.next(), Ordering::Relaxed);
                std::thread::park_timeout(pause);
            }
            numbers.finish_line();
            numbers
        });
        Load {
            stop,
            written,
            thread: Some(thread),
        }
    }

    /// How many lines were written up to now.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Ends it, and gives the writer back.
    pub fn stop(mut self) -> Numbers {
        self.end().expect("it is ended only once").unwrap()
    }

    fn end(&mut self) -> Option<std::thread::Result<Numbers>> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take()?;
        thread.thread().unpark();
        Some(thread.join())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.end();
    }
}
