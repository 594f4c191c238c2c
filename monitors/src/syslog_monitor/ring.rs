//! Rotation without renaming (`unique_file_log_rotation`): `X.0`, `X.1` … `X.(n-1)` are written in
//! turn, and then `X.0` again.

use crate::sink::{Lost, Sink};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// See the module's text.
#[derive(Debug)]
pub struct Ring {
    base: PathBuf,
    files: u32,
    max_bytes: u64,
    open: Option<File>,
    /// The number of the open file, or of the one that was open last.
    index: Option<u32>,
    size: u64,
}

impl Ring {
    /// `files` of at most `max_bytes` each, a single longer line excepted. Touches nothing yet.
    pub fn new(base: &Path, files: u32, max_bytes: u64) -> Self {
        Ring {
            base: base.to_owned(),
            files: files.max(1),
            max_bytes,
            open: None,
            index: None,
            size: 0,
        }
    }

    /// All names that are ever written.
    pub fn names(base: &Path, files: u32) -> impl Iterator<Item = PathBuf> + '_ {
        (0..files.max(1)).map(|n| name(base, n))
    }

    /// Goes on to the next file; at the start to one that does not exist, or to the oldest.
    fn advance(&mut self) -> io::Result<()> {
        let next = match self.index {
            Some(index) => (index + 1) % self.files,
            None => (0..self.files)
                .min_by_key(|&n| {
                    fs::metadata(name(&self.base, n))
                        .and_then(|meta| meta.modified())
                        .unwrap_or(SystemTime::UNIX_EPOCH)
                })
                .unwrap_or(0),
        };
        let path = name(&self.base, next);
        // A new file instead of the old one emptied: who still reads that can finish.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = common::files::append().create_new(true).open(&path)?;
        self.open = Some(file);
        self.index = Some(next);
        self.size = 0;
        Ok(())
    }

    fn write_some(&mut self, rest: &mut &[u8]) -> io::Result<()> {
        let room = self.max_bytes.saturating_sub(self.size);
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        let mut end = rest.len();
        if end >= room {
            let head = &rest[..room.saturating_sub(1).min(rest.len())];
            end = memchr::memrchr(b'\n', head).map_or(0, |at| at + 1);
        }
        if self.open.is_none() || (end == 0 && self.size > 0) {
            return self.advance();
        }
        if end == 0 {
            end = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
        }
        let Some(file) = &mut self.open else {
            return Ok(());
        };
        match file.write(&rest[..end]) {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                self.size = self.size.saturating_add(n as u64);
                *rest = &rest[n..];
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl Sink for Ring {
    fn write(&mut self, lines: &[u8]) -> Result<(), Lost> {
        let mut rest = lines;
        while !rest.is_empty() {
            if let Err(error) = self.write_some(&mut rest) {
                return Err(Lost {
                    lines: memchr::memchr_iter(b'\n', rest).count() as u64,
                    error,
                });
            }
        }
        Ok(())
    }
}

fn name(base: &Path, n: u32) -> PathBuf {
    let mut name = base.as_os_str().to_owned();
    name.push(format!(".{n}"));
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::testing::Scratch;
    use std::time::Duration;

    fn states(scratch: &Scratch) -> [String; 3] {
        ["x.0", "x.1", "x.2"]
            .map(|name| fs::read_to_string(scratch.path(name)).unwrap_or("(none)".to_owned()))
    }

    #[test]
    fn files_are_written_in_turn_and_none_is_renamed() {
        let scratch = Scratch::new("ring");
        let mut ring = Ring::new(&scratch.path("x"), 3, 6);
        ring.write(b"a\nb\nc\n").unwrap();
        assert_eq!(states(&scratch), ["a\nb\n", "c\n", "(none)"]);
        ring.write(b"d\nmuch too long\ne\nf\ng\n").unwrap();
        assert_eq!(states(&scratch), ["e\nf\n", "g\n", "much too long\n"]);
        // A restart takes the oldest.
        for (name, age) in [("x.0", 20), ("x.1", 10), ("x.2", 30)] {
            let file = File::options()
                .append(true)
                .open(scratch.path(name))
                .unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(age))
                .unwrap();
        }
        let mut ring = Ring::new(&scratch.path("x"), 3, 6);
        ring.write(b"h\n").unwrap();
        assert_eq!(states(&scratch), ["e\nf\n", "g\n", "h\n"]);
    }

    #[test]
    fn a_vanished_directory_costs_lines_which_are_counted() {
        let scratch = Scratch::new("ring-gone");
        let mut ring = Ring::new(&scratch.path("d/x"), 3, 6);
        assert_eq!(ring.write(b"a\nb\n").unwrap_err().lines, 2);
        fs::create_dir(scratch.path("d")).unwrap();
        ring.write(b"c\n").unwrap();
        assert_eq!(fs::read(scratch.path("d/x.0")).unwrap(), b"c\n");
    }
}
