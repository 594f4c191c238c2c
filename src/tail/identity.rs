//! Facts about files that look at paths ask for, and opening nothing but regular files.
//!
//! An inode is reused at once after a delete, and a copytruncate keeps it while the content goes: what
//! these facts prove is for the ledger to say.

use super::fence::{get_on, touch};
use super::ledger::{Birth, Stamp, Stat};
use nix::errno::Errno;
use nix::fcntl::{openat, OFlag, AT_FDCWD};
use nix::sys::stat::Mode;
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

/// Device and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId {
    /// `st_dev`
    pub dev: u64,
    /// `st_ino`
    pub ino: u64,
}

impl FileId {
    /// Of a stat result.
    pub fn of(meta: &Metadata) -> Self {
        FileId {
            dev: meta.dev(),
            ino: meta.ino(),
        }
    }
}

/// FNV-1a, 64 bits.
pub fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |h, &b| {
        (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01B3)
    })
}

/// Seconds since the epoch of the last change of content.
pub fn mtime(meta: &Metadata) -> f64 {
    meta.mtime() as f64 + meta.mtime_nsec() as f64 / 1e9
}

/// The last change of the folder that a path is in, in nanoseconds since the epoch.
pub fn folder_changed(path: &Path) -> Option<i64> {
    changed(path.parent()?)
}

/// The last change of a file or folder, in nanoseconds since the epoch.
pub fn changed(path: &Path) -> Option<i64> {
    let meta = stat(path).ok()?;
    let nanos = meta.mtime().wrapping_mul(1_000_000_000);
    Some(nanos.wrapping_add(meta.mtime_nsec()))
}

/// When a file was created, where that is known.
pub fn birth(path: &Path, meta: &Metadata) -> Option<Birth> {
    let nanos = match meta.created() {
        Ok(time) => {
            let since = time.duration_since(std::time::UNIX_EPOCH).ok()?;
            i64::try_from(since.as_nanos()).ok()?
        }
        // The standard library has no statx on every platform
        Err(_) => {
            let real = match meta.is_symlink()
                || std::fs::symlink_metadata(path).is_ok_and(|m| m.is_symlink())
            {
                true => std::fs::canonicalize(path).ok()?,
                false => path.to_path_buf(),
            };
            crate::util::sys::birth_nanos(&real)?
        }
    };
    std::num::NonZeroI64::new(nanos).map(Birth)
}

/// The facts about the file at `path` that a look compares.
pub fn stat_of(path: &Path, meta: &Metadata) -> Stat {
    Stat {
        birth: birth(path, meta),
        ..stat_at_a_glance(meta)
    }
}

/// As [`stat_of`], but for the creation, which may cost a further call.
pub fn stat_at_a_glance(meta: &Metadata) -> Stat {
    let parts = [
        meta.len().to_le_bytes(),
        meta.mtime().to_le_bytes(),
        meta.mtime_nsec().to_le_bytes(),
    ];
    let long = hash(&parts.concat());
    Stat {
        id: FileId::of(meta),
        birth: None,
        length: meta.len(),
        stamp: Stamp((long ^ (long >> 32)) as u32),
    }
}

/// Opens a regular file for reading, and nothing else: a FIFO, a device or a socket is not touched,
/// not even one that takes the name at this moment. Where `/proc` is not mounted it may be opened
/// then, without blocking.
///
/// # Errors
/// The error of `open` or `fstat`; `InvalidInput` for anything but a regular file.
pub fn open(path: &Path) -> io::Result<(File, Metadata)> {
    let place = place(path)?;
    let meta = regular(&place)?;
    let held = format!("/proc/self/fd/{}", place.as_raw_fd());
    match open_by(held.as_ref(), READING) {
        Ok(file) => Ok((file, meta)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let file = open_by(path, READING)?;
            let meta = regular(&file)?;
            Ok((file, meta))
        }
        Err(e) => Err(e),
    }
}

/// The thing at a path, past links, held but not opened: not even a device notices.
///
/// # Errors
/// The error of `open`.
pub fn place(path: &Path) -> io::Result<File> {
    touch(path)?;
    open_by(path, OFlag::O_PATH)
}

/// Looks at what a path shows, past links. All looks at paths of logs go by this.
///
/// # Errors
/// Those of `stat` and of [`touch`].
pub fn stat(path: &Path) -> io::Result<Metadata> {
    touch(path)?;
    std::fs::metadata(path)
}

/// Without waiting for a writer of what turns out to be a FIFO.
const READING: OFlag = OFlag::O_NONBLOCK.union(OFlag::O_NOCTTY);

/// Opens for reading. Not by the standard library: musl's `open` makes a second call for each descriptor, its `openat`
/// does not.
fn open_by(path: &Path, flags: OFlag) -> io::Result<File> {
    let flags = flags | OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_LARGEFILE;
    loop {
        match openat(AT_FDCWD, path, flags, Mode::empty()) {
            Err(Errno::EINTR) => {}
            opened => return Ok(File::from(opened?)),
        }
    }
}

fn regular(file: &File) -> io::Result<Metadata> {
    let meta = file.metadata()?;
    match meta.is_file() {
        true => Ok(meta),
        false => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a regular file",
        )),
    }
}

/// Reads at `offset` until `buf` is full or the file ends; how much.
///
/// # Errors
/// The error of `pread`; interrupted calls are repeated.
pub fn read_full_at(file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    read_known_at(file, buf, offset, u64::MAX)
}

/// The same of a file that was seen to have `length` bytes: behind them a call that gives fewer bytes than asked for
/// is taken for the end, which saves the next call.
///
/// # Errors
/// As [`read_full_at`].
pub fn read_known_at(file: &File, buf: &mut [u8], offset: u64, length: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buf.len() {
        get_on();
        match file.read_at(&mut buf[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(n) => {
                done += n;
                if offset + done as u64 >= length {
                    break;
                }
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifo_is_refused_without_blocking() {
        let path = std::env::temp_dir().join(format!("fifo-{}", crate::util::random::uuid4()));
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(open(&path).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_fifo_is_not_even_opened() {
        use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
        let path = std::env::temp_dir().join(format!("fifo-{}", crate::util::random::uuid4()));
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let has_reader = AtomicBool::new(false);
        let seen = std::thread::scope(|scope| {
            scope.spawn(|| {
                // Waits until somebody opens it for reading
                std::fs::OpenOptions::new().write(true).open(&path).unwrap();
                has_reader.store(true, SeqCst);
            });
            for _ in 0..100 {
                open(&path).unwrap_err();
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            let seen = has_reader.load(SeqCst);
            drop(open_by(&path, READING).unwrap());
            seen
        });
        assert!(!seen);
        std::fs::remove_file(&path).unwrap();
    }
}
