//! Evidence that a file's content is the same content: device, inode, and bytes of it.
//!
//! An inode is reused at once after a delete, and a copytruncate keeps it while the content goes.
//! So besides (device, inode) a generation has a [`Signature`] of its first bytes, and a *mark*, a
//! hash of the last bytes before a position, which every read checks at no extra cost because it
//! starts that much earlier.

use super::fence::{get_on, touch};
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
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

/// Whether two times of a file's creation, in seconds since the epoch, are the same, but for what a
/// checkpoint rounds and a float can't hold. Within a millisecond a file can be deleted and its inode
/// given to the next one.
pub fn same_birth(a: f64, b: f64) -> bool {
    (a - b).abs() < 2e-6
}

/// Length and hash of a file's first bytes; length 0 says nothing and agrees with any content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Signature {
    /// How many bytes were hashed, at most [`Signature::MOST`].
    pub len: u32,
    /// FNV-1a of them.
    pub hash: u64,
}

impl Signature {
    /// How many first bytes are looked at.
    pub const MOST: usize = 1024;

    /// The signature of content that begins with `head`. An unterminated end is left out, as its
    /// writer may take it back; a first line that has no end yet is not. Zeros at the end do not
    /// count: in a preallocated file text takes their place.
    pub fn of(head: &[u8]) -> Self {
        let head = &head[..head.len().min(Self::MOST)];
        let text = head.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1);
        let head = match text {
            0 | Self::MOST => head,
            _ => {
                let line = memchr::memrchr(b'\n', &head[..text]);
                &head[..line.map_or(text, |at| at + 1)]
            }
        };
        Signature {
            len: head.len() as u32,
            hash: hash(head),
        }
    }

    /// Whether it is that of zeros alone.
    pub fn is_zeros(&self) -> bool {
        let zeros = [0; Self::MOST];
        self.len > 0 && self.hash == hash(&zeros[..(self.len as usize).min(Self::MOST)])
    }

    /// Whether content that begins with `head` (at least the signature's length of it, if it has
    /// that much) can be the content that this was taken of.
    pub fn agrees(&self, head: &[u8]) -> bool {
        self.len == 0
            || head
                .get(..self.len as usize)
                .is_some_and(|h| hash(h) == self.hash)
    }
}

/// How many bytes before a position its mark covers, at most.
pub const MARK: usize = 32;

/// The mark of a position: `before` are the up to [`MARK`] bytes that end there.
pub fn mark(before: &[u8]) -> u64 {
    hash(&before[before.len().saturating_sub(MARK)..])
}

/// FNV-1a, 64 bits.
pub fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |h, &b| {
        (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01B3)
    })
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
    match reading().open(format!("/proc/self/fd/{}", place.as_raw_fd())) {
        Ok(file) => Ok((file, meta)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let file = reading().open(path)?;
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
    reading()
        .custom_flags(libc::O_PATH | libc::O_CLOEXEC)
        .open(path)
}

/// Looks at what a path shows, past links. All looks at paths of logs go by this.
///
/// # Errors
/// Those of `stat` and of [`touch`].
pub fn stat(path: &Path) -> io::Result<Metadata> {
    touch(path)?;
    std::fs::metadata(path)
}

fn reading() -> OpenOptions {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC);
    options
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
    let mut done = 0;
    while done < buf.len() {
        get_on();
        match file.read_at(&mut buf[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}

/// Where a file's first byte is that is not in a hole at its start, nor a NUL right after it. 0 if it
/// is not near: it may be a preallocated file, whose text is still to come.
pub fn first_data(file: &File) -> u64 {
    let mut byte = [0];
    if !matches!(file.read_at(&mut byte, 0), Ok(1)) || byte[0] != 0 {
        return 0;
    }
    let Ok(data) = nix::unistd::lseek64(file, 0, nix::unistd::Whence::SeekData) else {
        return 0;
    };
    let data = u64::try_from(data).unwrap_or(0);
    let mut block = vec![0; 64 << 10];
    let n = read_full_at(file, &mut block, data).unwrap_or(0);
    let text = block[..n].iter().position(|b| *b != 0);
    text.map_or(0, |zeros| data + zeros as u64)
}

/// A file's first bytes, up to [`Signature::MOST`].
///
/// # Errors
/// As [`read_full_at`].
pub fn head(file: &File) -> io::Result<Vec<u8>> {
    let mut buf = vec![0; Signature::MOST];
    let n = read_full_at(file, &mut buf, 0)?;
    buf.truncate(n);
    Ok(buf)
}

/// The mark at `offset`, `None` if the file has fewer bytes.
///
/// # Errors
/// As [`read_full_at`].
pub fn mark_at(file: &File, offset: u64) -> io::Result<Option<u64>> {
    let len = offset.min(MARK as u64);
    let mut buf = [0; MARK];
    let buf = &mut buf[..len as usize];
    let n = read_full_at(file, buf, offset - len)?;
    Ok((n == buf.len()).then(|| mark(buf)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_grows_with_the_file_and_still_agrees() {
        let early = Signature::of(b"first line\n");
        assert!(early.agrees(b"first line\nsecond\n"));
        assert!(!early.agrees(b"other line\nsecond\n"));
        assert!(!early.agrees(b"first"));
        assert!(Signature::default().agrees(b""));
        let long = vec![b'x'; 5_000];
        assert_eq!(Signature::of(&long).len as usize, Signature::MOST);
    }

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
                OpenOptions::new().write(true).open(&path).unwrap();
                has_reader.store(true, SeqCst);
            });
            for _ in 0..100 {
                open(&path).unwrap_err();
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            let seen = has_reader.load(SeqCst);
            drop(reading().open(&path).unwrap());
            seen
        });
        assert!(!seen);
        std::fs::remove_file(&path).unwrap();
    }
}
