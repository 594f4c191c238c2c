//! The modes of files that the agent makes. Logs of monitors hold what was readable for few where it
//! came from (auth messages, the journal), so no file is readable for everybody. The umask may take
//! more away; files that exist keep their modes.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Owner writes, group reads, others nothing.
pub const MODE: u32 = 0o640;

/// Options that append. Whether the file is created is the caller's to say; a new one has [`MODE`].
pub fn append() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.append(true).mode(MODE);
    options
}

/// As `File::create`, with [`MODE`].
///
/// # Errors
/// The error of `open`.
pub fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(MODE)
        .open(path)
}
