//! A log file that the agent itself rotates, as the Python agent does: metric logs, agent.log and
//! agent_debug.log.
//!
//! `X` is appended to. Before a line would bring it to `max_bytes`, `X.1` becomes `X.2` and so on,
//! `X` becomes `X.1`, and a fresh `X` is opened. A full disk, a vanished directory or a file that
//! someone moved away costs the lines that cannot be written, which are counted; nothing else.

use crate::files;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// When to rotate and how much to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// A line that would bring the file to this size or past it goes to a fresh file. 0: never.
    pub max_bytes: u64,
    /// How many old files are kept. 0: the file is never rotated and grows without bound, as the
    /// reference has it.
    pub backups: u32,
}

impl Default for Rotation {
    /// 20 MiB and 2 old files: `log_rotation_max_bytes`, `log_rotation_backup_count`.
    fn default() -> Self {
        Rotation {
            max_bytes: 20 * 1024 * 1024,
            backups: 2,
        }
    }
}

/// How often the path is looked at: does it still name the file that we write?
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// Pause after a failed open.
const REOPEN_AFTER: Duration = Duration::from_secs(1);
/// Pause after a failed rotation, during which the file is allowed to grow.
const ROTATE_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// See the module's text. Not locked: its owner sees to that.
#[derive(Debug)]
pub struct RotatingFile {
    path: PathBuf,
    rotation: Rotation,
    open: Option<Opened>,
    /// The last write was cut off within a line; a newline has to come first.
    torn: bool,
    checked: Option<Instant>,
    no_open_before: Option<Instant>,
    no_rotation_before: Option<Instant>,
    lost_lines: u64,
    /// Its owner calls [`RotatingFile::sync`].
    is_durable: bool,
    /// The error of syncing a file that was closed meanwhile.
    failed_sync: Option<io::Error>,
}

#[derive(Debug)]
struct Opened {
    file: File,
    device: u64,
    inode: u64,
    size: u64,
    /// Something was written since the last sync.
    is_dirty: bool,
    /// It was made by us, and its name may be gone after a loss of power.
    is_new: bool,
}

impl RotatingFile {
    /// For the file at `path`. Touches nothing yet.
    pub fn new(path: impl Into<PathBuf>, rotation: Rotation) -> Self {
        RotatingFile {
            path: path.into(),
            rotation,
            open: None,
            torn: false,
            checked: None,
            no_open_before: None,
            no_rotation_before: None,
            lost_lines: 0,
            is_durable: false,
            failed_sync: None,
        }
    }

    /// Has rotated files synced before they are closed, so that [`RotatingFile::sync`] speaks for them as well.
    pub fn set_durable(&mut self) {
        self.is_durable = true;
    }

    /// Has all lines that were written outlive a loss of power; of rotated files if
    /// [`RotatingFile::set_durable`] was called. Nothing is done where nothing was written since the last time.
    ///
    /// # Errors
    /// The disk failed now, or when a file was rotated since the last time.
    pub fn sync(&mut self) -> io::Result<()> {
        if let Some(error) = self.failed_sync.take() {
            return Err(error);
        }
        match &mut self.open {
            Some(open) => open.sync(&self.path),
            None => Ok(()),
        }
    }

    /// The present file is not the one at the path any more.
    fn close(&mut self) {
        if let Some(mut open) = self.open.take().filter(|_| self.is_durable) {
            self.failed_sync = open.sync(&self.path).err().or(self.failed_sync.take());
        }
        self.torn = false;
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The present settings.
    pub fn rotation(&self) -> Rotation {
        self.rotation
    }

    /// Applies from the next line on.
    pub fn set_rotation(&mut self, rotation: Rotation) {
        self.rotation = rotation;
        self.no_rotation_before = None;
    }

    /// Lines that could not be written since the start.
    pub fn lost_lines(&self) -> u64 {
        self.lost_lines
    }

    /// Opens the file, creating it if need be, so that an unusable place is known before the first
    /// line. Not needed otherwise: writing opens as well. Returns the file's size.
    ///
    /// # Errors
    /// The error of `open` or `fstat`. The next write tries again.
    pub fn open(&mut self) -> io::Result<u64> {
        if let Some(open) = &self.open {
            return Ok(open.size);
        }
        let now = Instant::now();
        let opened = Self::try_open(&self.path);
        match opened {
            Ok(opened) => {
                let size = opened.size;
                self.open = Some(opened);
                self.checked = Some(now);
                self.no_open_before = None;
                Ok(size)
            }
            Err(error) => {
                self.no_open_before = Some(now + REOPEN_AFTER);
                Err(error)
            }
        }
    }

    fn try_open(path: &Path) -> io::Result<Opened> {
        // O_NONBLOCK: a FIFO put in our place must not hold up the agent.
        let file = files::append()
            .create(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)?;
        let meta = file.metadata()?;
        Ok(Opened {
            file,
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.len(),
            is_dirty: false,
            is_new: meta.len() == 0,
        })
    }

    /// Appends complete lines, rotating between two of them where the size asks for it. One system
    /// call if nothing has to be rotated, and a `stat` once a second.
    ///
    /// # Errors
    /// The file can't be opened or written. Lines that could not be written are dropped and counted
    /// in [`RotatingFile::lost_lines`]; the file stays usable and later calls try again.
    pub fn write_lines(&mut self, lines: &[u8]) -> io::Result<()> {
        let mut rest = lines;
        while !rest.is_empty() {
            if let Err(error) = self.write_some(&mut rest) {
                self.lost_lines = self.lost_lines.saturating_add(count_lines(rest));
                return Err(error);
            }
        }
        Ok(())
    }

    /// Writes as many lines as fit before a rotation, but at least one.
    fn write_some(&mut self, rest: &mut &[u8]) -> io::Result<()> {
        self.look_after(Instant::now())?;
        let room = self.room();
        let mut end = if (rest.len() as u64) < room {
            rest.len()
        } else {
            lines_below(rest, room)
        };
        if end == 0 {
            // Not even one line fits. An empty file takes it anyhow.
            if self.open.as_ref().is_some_and(|open| open.size > 0) {
                self.rotate();
                self.look_after(Instant::now())?;
            }
            end = first_line(rest);
        }
        let Some(open) = &mut self.open else {
            return Err(io::ErrorKind::NotFound.into());
        };
        if self.torn {
            write_all(open, &mut &b"\n"[..])?;
            self.torn = false;
        }
        let mut chunk = &rest[..end];
        let result = write_all(open, &mut chunk);
        let written = end - chunk.len();
        self.torn = written > 0 && rest[written - 1] != b'\n';
        // A line that is cut off counts as lost: it stays in `rest` from its cut on.
        *rest = &rest[written..];
        result
    }

    /// Makes sure that a file is open and that it is the one at the path.
    fn look_after(&mut self, now: Instant) -> io::Result<()> {
        let due = self
            .checked
            .is_none_or(|then| now.saturating_duration_since(then) >= CHECK_EVERY);
        if let (Some(open), true) = (&mut self.open, due) {
            self.checked = Some(now);
            match fs::metadata(&self.path) {
                Ok(meta) if (meta.dev(), meta.ino()) == (open.device, open.inode) => {
                    // Someone may have truncated it.
                    open.size = meta.len();
                }
                Err(error) if error.kind() != io::ErrorKind::NotFound => {}
                _ => {
                    self.close();
                }
            }
        }
        if self.open.is_none() {
            if self.no_open_before.is_some_and(|then| now < then) {
                return Err(io::ErrorKind::NotFound.into());
            }
            self.open()?;
        }
        Ok(())
    }

    /// Bytes that may still be written must stay below this.
    fn room(&self) -> u64 {
        let off = self.rotation.max_bytes == 0 || self.rotation.backups == 0;
        let Some(open) = self.open.as_ref().filter(|_| !off) else {
            return u64::MAX;
        };
        if self
            .no_rotation_before
            .is_some_and(|then| Instant::now() < then)
        {
            return u64::MAX;
        }
        self.rotation.max_bytes.saturating_sub(open.size)
    }

    /// Moves the files up by one. If that fails the present file stays open and grows; lines are
    /// worth more than a limit.
    fn rotate(&mut self) {
        let mut used = 0;
        while used < self.rotation.backups && self.backup(used + 1).exists() {
            used += 1;
        }
        let mut result = Ok(());
        for n in (1..=used.min(self.rotation.backups.saturating_sub(1))).rev() {
            result = result.and_then(|()| fs::rename(self.backup(n), self.backup(n + 1)));
        }
        result = result.and_then(|()| fs::rename(&self.path, self.backup(1)));
        match result {
            Ok(()) => {
                self.close();
            }
            // Gone already: the next look opens a fresh one.
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.checked = None,
            Err(_) => self.no_rotation_before = Some(Instant::now() + ROTATE_AGAIN_AFTER),
        }
    }

    fn backup(&self, n: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{n}"));
        name.into()
    }
}

impl Opened {
    /// Has what was written outlive a loss of power, with the name of a file that was made.
    fn sync(&mut self, path: &Path) -> io::Result<()> {
        if !self.is_dirty {
            return Ok(());
        }
        self.file.sync_data()?;
        if let Some(folder) = path.parent().filter(|_| self.is_new) {
            File::open(folder)?.sync_all()?;
        }
        (self.is_dirty, self.is_new) = (false, false);
        Ok(())
    }
}

/// Writes until `bytes` is empty; what is left in it was not written.
fn write_all(open: &mut Opened, bytes: &mut &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match open.file.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                open.is_dirty = true;
                open.size = open.size.saturating_add(n as u64);
                *bytes = &bytes[n..];
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The length of the longest run of whole lines at the start of `bytes` that is shorter than `room`.
fn lines_below(bytes: &[u8], room: u64) -> usize {
    let most = usize::try_from(room.saturating_sub(1)).unwrap_or(usize::MAX);
    let head = &bytes[..bytes.len().min(most)];
    head.iter()
        .rposition(|&b| b == b'\n')
        .map_or(0, |at| at + 1)
}

fn first_line(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .position(|&b| b == b'\n')
        .map_or(bytes.len(), |at| at + 1)
}

fn count_lines(bytes: &[u8]) -> u64 {
    let ends = bytes.iter().filter(|&&b| b == b'\n').count() as u64;
    ends + u64::from(bytes.last().is_some_and(|&b| b != b'\n'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Scratch;

    fn read(path: &Path) -> String {
        fs::read_to_string(path).unwrap_or_else(|_| "(none)".to_owned())
    }

    fn states(scratch: &Scratch) -> [String; 4] {
        ["x", "x.1", "x.2", "x.3"].map(|name| read(&scratch.path(name)))
    }

    #[test]
    fn rotation_keeps_so_many_backups_and_no_more() {
        let scratch = Scratch::new("keeps");
        let rotation = Rotation {
            max_bytes: 6,
            backups: 2,
        };
        let mut file = RotatingFile::new(scratch.path("x"), rotation);
        file.write_lines(b"a\nb\n").unwrap();
        // 4 + 2 would reach 6
        file.write_lines(b"c\n").unwrap();
        assert_eq!(states(&scratch), ["c\n", "a\nb\n", "(none)", "(none)"]);
        // one block rotates between its lines
        file.write_lines(b"d\ne\nf\ng\nh\n").unwrap();
        assert_eq!(states(&scratch), ["g\nh\n", "e\nf\n", "c\nd\n", "(none)"]);
        file.write_lines(b"i\n").unwrap();
        assert_eq!(states(&scratch), ["i\n", "g\nh\n", "e\nf\n", "(none)"]);
        assert_eq!(file.lost_lines(), 0);
    }

    #[test]
    fn a_line_larger_than_the_limit_is_written_whole_and_pushes_out_no_backup() {
        let scratch = Scratch::new("large");
        let rotation = Rotation {
            max_bytes: 4,
            backups: 1,
        };
        let mut file = RotatingFile::new(scratch.path("x"), rotation);
        file.write_lines(b"much too long\nb\n").unwrap();
        assert_eq!(states(&scratch)[..2], ["b\n", "much too long\n"]);
    }

    #[test]
    fn without_backups_or_size_nothing_is_rotated_or_cut() {
        let scratch = Scratch::new("never");
        for (max_bytes, backups) in [(4, 0), (0, 2)] {
            let mut file = RotatingFile::new(scratch.path("x"), Rotation { max_bytes, backups });
            file.write_lines(b"aaaaaaaa\n").unwrap();
        }
        assert_eq!(states(&scratch)[..2], ["aaaaaaaa\naaaaaaaa\n", "(none)"]);
    }

    #[test]
    fn a_restart_appends_and_counts_what_is_there() {
        let scratch = Scratch::new("restart");
        let rotation = Rotation {
            max_bytes: 6,
            backups: 1,
        };
        for line in ["a\n", "b\n", "c\n"] {
            let mut file = RotatingFile::new(scratch.path("x"), rotation);
            file.write_lines(line.as_bytes()).unwrap();
        }
        assert_eq!(states(&scratch)[..2], ["c\n", "a\nb\n"]);
    }

    #[test]
    fn a_deleted_or_moved_file_is_made_anew() {
        let scratch = Scratch::new("deleted");
        let mut file = RotatingFile::new(scratch.path("x"), Rotation::default());
        file.write_lines(b"a\n").unwrap();
        fs::remove_file(scratch.path("x")).unwrap();
        file.checked = None; // as if a second had passed
        file.write_lines(b"b\n").unwrap();
        assert_eq!(read(&scratch.path("x")), "b\n");
        fs::rename(scratch.path("x"), scratch.path("away")).unwrap();
        fs::write(scratch.path("x"), "other\n").unwrap();
        file.checked = None;
        file.write_lines(b"c\n").unwrap();
        assert_eq!(read(&scratch.path("x")), "other\nc\n");
        assert_eq!(read(&scratch.path("away")), "b\n");
    }

    #[test]
    fn a_truncated_file_does_not_rotate_too_early() {
        let scratch = Scratch::new("truncated");
        let rotation = Rotation {
            max_bytes: 6,
            backups: 1,
        };
        let mut file = RotatingFile::new(scratch.path("x"), rotation);
        file.write_lines(b"a\nb\n").unwrap();
        fs::write(scratch.path("x"), "").unwrap();
        file.checked = None;
        file.write_lines(b"c\n").unwrap();
        assert_eq!(states(&scratch)[..2], ["c\n", "(none)"]);
    }

    #[test]
    fn a_full_disk_costs_lines_which_are_counted_and_nothing_else() {
        let scratch = Scratch::new("full");
        std::os::unix::fs::symlink("/dev/full", scratch.path("x")).unwrap();
        let mut file = RotatingFile::new(scratch.path("x"), Rotation::default());
        let error = file.write_lines(b"a\nb\n").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(file.lost_lines(), 2);
        // there is room again
        fs::remove_file(scratch.path("x")).unwrap();
        file.checked = None;
        file.write_lines(b"c\n").unwrap();
        assert_eq!(read(&scratch.path("x")), "c\n");
        assert_eq!(file.lost_lines(), 2);
    }

    #[test]
    fn a_line_cut_off_by_a_full_disk_is_ended_before_the_next_one() {
        let scratch = Scratch::new("torn");
        let mut file = RotatingFile::new(scratch.path("x"), Rotation::default());
        file.write_lines(b"whole\ncut of").unwrap();
        file.write_lines(b"next\n").unwrap();
        assert_eq!(read(&scratch.path("x")), "whole\ncut of\nnext\n");
    }

    #[test]
    fn a_vanished_directory_is_waited_for() {
        let scratch = Scratch::new("vanished");
        let dir = scratch.path("d");
        fs::create_dir(&dir).unwrap();
        let mut file = RotatingFile::new(dir.join("x"), Rotation::default());
        file.write_lines(b"a\n").unwrap();
        fs::remove_dir_all(&dir).unwrap();
        file.checked = None;
        assert!(file.write_lines(b"b\n").is_err());
        assert!(file.write_lines(b"c\nd\n").is_err());
        assert_eq!(file.lost_lines(), 3);
        fs::create_dir(&dir).unwrap();
        file.no_open_before = None;
        file.write_lines(b"e\n").unwrap();
        assert_eq!(read(&dir.join("x")), "e\n");
    }

    #[test]
    fn a_fifo_in_the_logs_place_does_not_hang_the_agent() {
        let scratch = Scratch::new("fifo");
        let made = std::process::Command::new("mkfifo")
            .arg(scratch.path("x"))
            .status();
        if !made.is_ok_and(|status| status.success()) {
            return; // no mkfifo here
        }
        let mut file = RotatingFile::new(scratch.path("x"), Rotation::default());
        assert!(file.write_lines(b"a\n").is_err());
        assert_eq!(file.lost_lines(), 1);
    }

    /// A device stands for a disk that fails to sync.
    #[test]
    fn lines_that_are_not_synced_are_told_also_if_their_file_was_rotated_since() {
        let scratch = Scratch::new("synced");
        let rotation = Rotation {
            max_bytes: 6,
            backups: 1,
        };
        let mut file = RotatingFile::new(scratch.path("x"), rotation);
        file.set_durable();
        std::os::unix::fs::symlink("/dev/null", scratch.path("x")).unwrap();
        file.write_lines(b"a\nb\n").unwrap();
        file.sync().unwrap_err();
        file.write_lines(b"c\nd\n").unwrap();
        assert_eq!(read(&scratch.path("x")), "c\nd\n");
        file.sync().unwrap_err();
        file.sync().unwrap();
    }

    #[test]
    fn a_rotation_that_fails_keeps_the_lines() {
        let scratch = Scratch::new("stuck");
        let rotation = Rotation {
            max_bytes: 3,
            backups: 1,
        };
        // A directory that is not empty cannot be replaced by a rename.
        fs::create_dir_all(scratch.path("x.1").join("full")).unwrap();
        let mut file = RotatingFile::new(scratch.path("x"), rotation);
        file.write_lines(b"a\nb\nc\n").unwrap();
        assert_eq!(read(&scratch.path("x")), "a\nb\nc\n");
        assert_eq!(file.lost_lines(), 0);
    }
}
