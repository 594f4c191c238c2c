//! The list of files that a template made, on disk: nothing else is ever deleted.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// The list is written at most so often.
const SAVE_EVERY: Duration = Duration::from_secs(5);
/// A larger one is not ours.
const LARGEST_LIST: u64 = 64 << 20;

/// See the module's text.
#[derive(Debug, Default)]
pub struct Made {
    paths: BTreeSet<PathBuf>,
    save_at: Option<Instant>,
}

impl Made {
    /// Reads the list. If that fails it is empty, and the error is told unless there is no list.
    pub fn read(list: &Path) -> (Made, Option<io::Error>) {
        let read = || {
            if fs::metadata(list)?.len() > LARGEST_LIST {
                return Err(ErrorKind::InvalidData.into());
            }
            let text = fs::read(list)?;
            serde_json::from_slice::<Vec<serde_json::Value>>(&text).map_err(io::Error::from)
        };
        match read() {
            Ok(paths) => {
                let paths = paths.iter().filter_map(|path| path.as_str());
                let made = Made {
                    paths: common::sort::gathered(paths.map(PathBuf::from)),
                    save_at: None,
                };
                (made, None)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => (Made::default(), None),
            Err(error) => (Made::default(), Some(error)),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.paths.len()
    }

    /// Whether a file is in it.
    pub fn has(&self, path: &Path) -> bool {
        self.paths.contains(path)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// Takes in a file that was just made.
    pub fn add(&mut self, path: PathBuf, now: Instant) {
        // A name that is no text cannot be in the list; templates do not make such.
        if path.to_str().is_some() && self.paths.insert(path) {
            self.save_at.get_or_insert(now + SAVE_EVERY);
        }
    }

    /// When the list has to be written, if it has to.
    pub fn save_at(&self) -> Option<Instant> {
        self.save_at
    }

    /// Writes the list if it is time to. The error, if there is one.
    pub fn save_if_due(&mut self, list: &Path, now: Instant) -> Option<io::Error> {
        if self.save_at.is_none_or(|then| now < then) {
            return None;
        }
        let result = self.save(list);
        if result.is_err() {
            self.save_at = Some(now + Duration::from_secs(60));
        }
        result.err()
    }

    /// Writes the list if it has changed.
    ///
    /// # Errors
    /// I/O errors of writing it; the old list stays.
    pub fn save(&mut self, list: &Path) -> io::Result<()> {
        if self.save_at.is_none() {
            return Ok(());
        }
        let paths: Vec<&str> = self.paths.iter().filter_map(|path| path.to_str()).collect();
        let text = serde_json::to_vec(&paths).map_err(io::Error::from)?;
        let mut beside = list.as_os_str().to_owned();
        beside.push(".new");
        common::files::create(Path::new(&beside))?.write_all(&text)?;
        fs::rename(&beside, list)?;
        self.save_at = None;
        Ok(())
    }

    /// Takes out of the list what is not there any more, nor rotated.
    pub fn forget_gone(&mut self) {
        let is_there = |path: &Path| fs::symlink_metadata(path).is_ok();
        let before = self.paths.len();
        self.paths
            .retain(|path| is_there(path) || is_there(&rotated_name(path, 1)));
        if self.paths.len() != before {
            self.save_at.get_or_insert_with(Instant::now);
        }
    }

    /// All files that there are, rotated ones `X.1`, `X.2`, … included.
    pub fn files(&self) -> Vec<MadeFile> {
        let mut files = Vec::new();
        for main in &self.paths {
            let mut add = |path: PathBuf| match fs::symlink_metadata(&path) {
                Ok(meta) if meta.is_file() => {
                    files.push(MadeFile {
                        written: meta.modified().unwrap_or(SystemTime::UNIX_EPOCH),
                        bytes: meta.len(),
                        main: main.clone(),
                        path,
                    });
                    true
                }
                _ => false,
            };
            add(main.clone());
            let mut rotated = 1..;
            while rotated.next().is_some_and(|n| add(rotated_name(main, n))) {}
        }
        files
    }

    /// Deletes what has not been written for `after` and is not open: files, and their rotated ones
    /// `X.1`, `X.2`, … (`rotated`: by their own age, otherwise together with `X`). How many.
    pub fn delete_old(
        &mut self,
        after: Duration,
        rotated: bool,
        is_open: impl Fn(&Path) -> bool,
    ) -> u64 {
        let now = SystemTime::now();
        let is_old = |path: &Path| {
            let meta = fs::symlink_metadata(path);
            meta.is_ok_and(|meta| {
                let age = meta.modified().map(|then| now.duration_since(then));
                meta.is_file() && matches!(age, Ok(Ok(age)) if age > after)
            })
        };
        let mut deleted = 0;
        let mut remove = |path: &Path| {
            let gone = fs::remove_file(path).is_ok();
            deleted += u64::from(gone);
            gone
        };
        let before = self.paths.len();
        self.paths.retain(|path| {
            let with_main = !is_open(path) && is_old(path) && remove(path);
            let mut some_left = false;
            for n in 1.. {
                let old = rotated_name(path, n);
                if fs::symlink_metadata(&old).is_err() {
                    break;
                }
                let goes = if rotated { is_old(&old) } else { with_main };
                some_left |= !(goes && remove(&old));
            }
            some_left || fs::symlink_metadata(path).is_ok()
        });
        if self.paths.len() != before {
            self.save_at.get_or_insert_with(Instant::now);
        }
        deleted
    }
}

/// A file that is there.
#[derive(Debug)]
pub struct MadeFile {
    /// The path in the list.
    pub main: PathBuf,
    /// Its own.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// When it was last written.
    pub written: SystemTime,
}

fn rotated_name(path: &Path, n: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{n}"));
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::testing::Scratch;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn write(path: &Path, age: Duration) {
        let file = fs::File::create(path).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
    }

    #[test]
    fn only_files_that_we_made_are_deleted_and_only_when_they_are_old_and_closed() {
        let scratch = Scratch::new("made");
        let path = |name| scratch.path(name);
        let names = [
            "old", "old.1", "old.2", "young", "young.1", "open", "foreign",
        ];
        for name in names {
            let age = if name == "young" || name == "old.2" {
                DAY / 2
            } else {
                DAY * 2
            };
            write(&path(name), age);
        }
        let mut made = Made::default();
        for name in ["old", "young", "open"] {
            made.add(path(name), Instant::now());
        }
        let left = |made: &Made| {
            let there = names.into_iter().filter(|name| path(name).exists());
            (there.collect::<Vec<_>>(), made.len())
        };
        let open = path("open");
        assert_eq!(made.delete_old(DAY, false, |path| path == open), 3);
        assert_eq!(
            left(&made),
            (vec!["young", "young.1", "open", "foreign"], 2)
        );
        assert_eq!(made.delete_old(DAY, true, |_| false), 2);
        assert_eq!(left(&made), (vec!["young", "foreign"], 1));
    }

    #[test]
    fn the_list_survives_a_restart_and_a_damaged_one_deletes_nothing() {
        let scratch = Scratch::new("list");
        let list = scratch.path("list.json");
        assert!(matches!(Made::read(&list), (made, None) if made.is_empty()));
        let mut made = Made::default();
        made.add(scratch.path("a \"b\""), Instant::now());
        made.save(&list).unwrap();
        assert_eq!(Made::read(&list).0.paths, made.paths);
        fs::write(&list, b"[\"/x").unwrap();
        assert!(matches!(Made::read(&list), (made, Some(_)) if made.is_empty()));
    }
}
