//! Where metric lines go.

use common::rotating::{RotatingFile, Rotation};
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Takes the lines of a sample.
pub trait Sink: Send {
    /// Takes complete lines, as one block.
    ///
    /// # Errors
    /// How many of the lines are lost, and why.
    fn write(&mut self, lines: &[u8]) -> Result<(), Lost>;

    /// The same for another log, which is at `path` where logs are files; `None` where all lines go
    /// to one place.
    fn of(&self, path: &Path) -> Option<Box<dyn Sink>> {
        let _ = path;
        None
    }
}

/// Lines that could not be written.
#[derive(Debug)]
pub struct Lost {
    /// How many.
    pub lines: u64,
    /// Why.
    pub error: io::Error,
}

/// For monitors that write their own files: what is emitted goes nowhere.
#[derive(Debug)]
pub struct Nowhere;

impl Sink for Nowhere {
    fn write(&mut self, _: &[u8]) -> Result<(), Lost> {
        Ok(())
    }
}

/// The metric logs that are open. Monitors of one module share a file, so it is found by its path.
#[derive(Debug, Default, Clone)]
pub struct LogFiles(Arc<Mutex<HashMap<PathBuf, Weak<Mutex<RotatingFile>>>>>);

/// One of [`LogFiles`].
#[derive(Debug)]
pub struct LogFile {
    file: Arc<Mutex<RotatingFile>>,
    all: LogFiles,
}

impl LogFiles {
    /// The file at `path`, opened if it can be. A second user with other settings makes the
    /// stricter of the two hold for both, and is told so in the log.
    pub fn get(&self, path: &Path, rotation: Rotation) -> LogFile {
        let mut files = lock(&self.0);
        files.retain(|_, file| file.strong_count() > 0);
        if let Some(file) = files.get(path).and_then(Weak::upgrade) {
            let mut shared = lock(&file);
            let before = shared.rotation();
            if before != rotation {
                let both = stricter(before, rotation);
                log::warn!(
                    "Monitors that share {} set different rotation options; used are log_rotation_max_bytes {} and log_rotation_backup_count {}.",
                    path.display(),
                    both.max_bytes,
                    both.backups
                );
                shared.set_rotation(both);
            }
            drop(shared);
            return self.one(file);
        }
        let mut file = RotatingFile::new(path, rotation);
        if let Err(error) = file.open() {
            log::warn!(
                "Cannot open {}: {error}. What would be written there is lost until it can be opened.",
                path.display()
            );
        }
        let file = Arc::new(Mutex::new(file));
        files.insert(path.to_owned(), Arc::downgrade(&file));
        self.one(file)
    }

    fn one(&self, file: Arc<Mutex<RotatingFile>>) -> LogFile {
        let all = self.clone();
        LogFile { file, all }
    }
}

fn stricter(a: Rotation, b: Rotation) -> Rotation {
    let max_bytes = match (a.max_bytes, b.max_bytes) {
        (0, other) | (other, 0) => other,
        (a, b) => a.min(b),
    };
    Rotation {
        max_bytes,
        backups: a.backups.min(b.backups),
    }
}

impl LogFile {
    /// The same file, of which rotated ones are synced before they are closed.
    pub fn durable(self) -> Self {
        lock(&self.file).set_durable();
        self
    }

    /// Has all lines that were written outlive a loss of power.
    ///
    /// # Errors
    /// As [`RotatingFile::sync`].
    pub fn sync(&self) -> io::Result<()> {
        lock(&self.file).sync()
    }
}

impl Sink for LogFile {
    fn write(&mut self, lines: &[u8]) -> Result<(), Lost> {
        let mut file = lock(&self.file);
        let before = file.lost_lines();
        file.write_lines(lines).map_err(|error| Lost {
            lines: file.lost_lines().saturating_sub(before),
            error,
        })
    }

    fn of(&self, path: &Path) -> Option<Box<dyn Sink>> {
        let rotation = lock(&self.file).rotation();
        Some(Box::new(self.all.get(path, rotation)))
    }
}

/// A panic elsewhere while the lock was held leaves nothing half done that matters here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::testing::Scratch;

    #[test]
    fn instances_of_one_module_share_one_file_and_the_stricter_rotation() {
        let scratch = Scratch::new("shared");
        let files = LogFiles::default();
        let rotation = |max_bytes, backups| Rotation { max_bytes, backups };
        let mut a = files.get(&scratch.path("m.log"), rotation(0, 5));
        let mut b = files.get(&scratch.path("m.log"), rotation(10, 7));
        a.write(b"from a\n").unwrap();
        b.write(b"from b\n").unwrap();
        a.write(b"again a\n").unwrap();
        let read = |name| std::fs::read_to_string(scratch.path(name)).unwrap();
        assert_eq!(
            [read("m.log"), read("m.log.1"), read("m.log.2")],
            ["again a\n", "from b\n", "from a\n"]
        );
        drop((a, b));
        let c = files.get(&scratch.path("m.log"), rotation(99, 1));
        assert_eq!(lock(&c.file).rotation(), rotation(99, 1));
    }
}
