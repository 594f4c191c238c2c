//! The folder that the position journal lies in, behind a trait: tests have a disk that fails.

use crate::tail::identity::FileId;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;

/// The most bytes of a file that are read; more would be memory that the machine may not have.
pub const MOST: u64 = 256 << 20;

/// A folder of files. Each method has the errors of the file system.
pub trait Disk {
    /// An open file.
    type File;

    /// Opens a file to read it.
    fn open(&self, name: &str) -> io::Result<Self::File>;

    /// Makes a file, in place of any that is there: nobody else has it open.
    fn create(&self, name: &str) -> io::Result<Self::File>;

    /// Reads a whole file, at most its first [`MOST`] bytes.
    fn read(&self, file: &Self::File) -> io::Result<Vec<u8>>;

    /// Writes all of these bytes at an offset. After an error any part of them may be there.
    fn write(&self, file: &Self::File, at: u64, bytes: &[u8]) -> io::Result<()>;

    /// Has the file system set `len` bytes from `at` on aside for the file, which is that long.
    fn reserve(&self, file: &Self::File, at: u64, len: u64) -> io::Result<()>;

    /// Waits until all that was written to a file would outlive a loss of power.
    fn sync(&self, file: &Self::File) -> io::Result<()>;

    /// Waits for the same of the names in the folder.
    fn sync_folder(&self) -> io::Result<()>;

    /// Gives a file another name, which another file loses.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Deletes a file.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// The names that begin so, in order.
    fn names(&self, prefix: &str) -> io::Result<Vec<String>>;

    /// The file that the name leads to; `None` if there is none.
    fn id_at(&self, name: &str) -> io::Result<Option<FileId>>;

    /// The id of an open file.
    fn id(&self, file: &Self::File) -> io::Result<FileId>;
}

/// A folder of this machine. Files that are made in it have the mode of checkpoint files: 0640.
#[derive(Debug)]
pub struct Folder(pub PathBuf);

impl Folder {
    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Disk for Folder {
    type File = File;

    fn open(&self, name: &str) -> io::Result<File> {
        File::open(self.path(name))
    }

    fn create(&self, name: &str) -> io::Result<File> {
        // Truncated, it would still be the file that a thread of an older start may have open
        match fs::remove_file(self.path(name)) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o640);
        options.open(self.path(name))
    }

    fn read(&self, file: &File) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let length = file.metadata()?.len().min(MOST);
        let mut at = 0;
        while at < length {
            let step = (length - at).min(64 << 10);
            bytes.resize((at + step) as usize, 0);
            match file.read_at(&mut bytes[at as usize..], at) {
                Ok(0) => break,
                Ok(read) => at += read as u64,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        bytes.truncate(at as usize);
        Ok(bytes)
    }

    fn write(&self, file: &File, at: u64, bytes: &[u8]) -> io::Result<()> {
        file.write_all_at(bytes, at)
    }

    #[cfg(target_os = "linux")]
    fn reserve(&self, file: &File, at: u64, len: u64) -> io::Result<()> {
        use nix::errno::Errno;
        use nix::fcntl::{fallocate, FallocateFlags};
        let keep = FallocateFlags::FALLOC_FL_KEEP_SIZE;
        match fallocate(file, keep, at as libc::off_t, len as libc::off_t) {
            Err(Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EINVAL) => write_zeros(file, at, len),
            other => Ok(other?),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn reserve(&self, file: &File, at: u64, len: u64) -> io::Result<()> {
        write_zeros(file, at, len)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn sync_folder(&self) -> io::Result<()> {
        File::open(&self.0)?.sync_all()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn names(&self, prefix: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            let name = entry?.file_name();
            names.extend(
                name.to_str()
                    .filter(|n| n.starts_with(prefix))
                    .map(str::to_owned),
            );
        }
        crate::util::sort::plainly(&mut names);
        Ok(names)
    }

    fn id_at(&self, name: &str) -> io::Result<Option<FileId>> {
        match fs::symlink_metadata(self.path(name)) {
            Ok(meta) => Ok(Some(FileId::of(&meta))),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn id(&self, file: &File) -> io::Result<FileId> {
        Ok(FileId::of(&file.metadata()?))
    }
}

fn write_zeros(file: &File, at: u64, len: u64) -> io::Result<()> {
    file.write_all_at(&vec![0; len as usize], at)
}
