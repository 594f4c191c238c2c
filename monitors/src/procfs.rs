//! Files of `/proc` and `/sys` that are read again and again: kept open and read from their start,
//! one system call a sample where the kernel allows it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

/// No file of interest is larger; `/proc/stat` of a machine with thousands of interrupts is some
/// 100 KB.
const MOST: usize = 4 * 1024 * 1024;
const FIRST: usize = 8 * 1024;

/// One such file.
#[derive(Debug)]
pub struct ProcFile {
    path: PathBuf,
    until: Until,
    file: Option<File>,
}

/// When a file has been read far enough.
#[derive(Debug, Clone, Copy)]
pub enum Until {
    /// The kernel makes its text in one piece, so a read that does not fill the buffer got it all.
    OneRead,
    /// The kernel hands it out page by page; what follows this text is not needed.
    Seen(&'static [u8]),
    /// The kernel hands it out page by page.
    End,
}

impl ProcFile {
    /// Opens nothing yet.
    pub fn new(path: impl Into<PathBuf>, until: Until) -> Self {
        ProcFile {
            path: path.into(),
            until,
            file: None,
        }
    }

    /// Reads the file as it is now into `buffer`, which keeps its size between calls and only
    /// grows. A handle that has gone bad is replaced once.
    ///
    /// # Errors
    /// With the path in its text.
    pub fn read<'a>(&mut self, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
        let kept = self.file.is_some();
        let mut result = self.try_read(buffer);
        if result.is_err() {
            self.file = None;
            if kept {
                result = self.try_read(buffer);
            }
        }
        match result {
            Ok(length) => Ok(&buffer[..length]),
            Err(error) => {
                self.file = None;
                let text = format!("{}: {error}", self.path.display());
                Err(io::Error::new(error.kind(), text))
            }
        }
    }

    fn try_read(&mut self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(File::open(&self.path)?),
        };
        let mut length = 0;
        loop {
            if length == buffer.len() {
                if length >= MOST {
                    return Err(io::Error::other("is too large"));
                }
                buffer.resize((2 * length).max(FIRST), 0);
            }
            let n = match file.read_at(&mut buffer[length..], length as u64) {
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            length += n;
            let through = match self.until {
                Until::OneRead => length < buffer.len(),
                Until::End => false,
                // The line that begins with it has to be whole.
                Until::Seen(text) => buffer[..length]
                    .windows(text.len())
                    .position(|part| part == text)
                    .is_some_and(|at| buffer[at + text.len()..length].contains(&b'\n')),
            };
            if n == 0 || through {
                break;
            }
        }
        if length == 0 {
            return Err(io::Error::other("is empty"));
        }
        Ok(length)
    }
}

/// The lines of a file, as far as they are text.
pub fn lines(bytes: &[u8]) -> impl Iterator<Item = &str> {
    bytes
        .split(|&b| b == b'\n')
        .filter_map(|line| std::str::from_utf8(line).ok())
}

/// Whether `text` consists of ASCII digits, and of one at least.
pub fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::testing::Scratch;

    #[test]
    fn a_file_is_read_anew_through_the_same_handle() {
        let scratch = Scratch::new("proc-again");
        let path = scratch.path("f");
        let mut buffer = Vec::new();
        let mut file = ProcFile::new(&path, Until::OneRead);
        assert!(file.read(&mut buffer).is_err());
        std::fs::write(&path, "long text\n").unwrap();
        assert_eq!(file.read(&mut buffer).unwrap(), b"long text\n");
        std::fs::write(&path, "short\n").unwrap();
        assert_eq!(file.read(&mut buffer).unwrap(), b"short\n");
        std::fs::write(&path, "").unwrap();
        let error = file.read(&mut buffer).unwrap_err().to_string();
        assert!(error.ends_with("f: is empty"), "{error}");
    }

    #[test]
    fn a_file_larger_than_the_buffer_is_read_whole() {
        let scratch = Scratch::new("proc-large");
        let path = scratch.path("f");
        let text = "0123456789\n".repeat(5000);
        std::fs::write(&path, &text).unwrap();
        let mut buffer = Vec::new();
        for until in [Until::OneRead, Until::Seen(b"never there"), Until::End] {
            let mut file = ProcFile::new(&path, until);
            assert_eq!(file.read(&mut buffer).unwrap(), text.as_bytes());
        }
    }

    #[test]
    fn the_real_proc_gives_the_same_through_kept_and_fresh_handles() {
        if !std::path::Path::new("/proc/vmstat").exists() {
            return;
        }
        for path in ["/proc/stat", "/proc/meminfo", "/proc/vmstat"] {
            let keys = |bytes: &[u8]| -> Vec<String> {
                lines(bytes)
                    .filter_map(|line| Some(line.split(' ').next()?.to_owned()))
                    .collect()
            };
            let until = match path {
                "/proc/vmstat" => Until::End,
                _ => Until::OneRead,
            };
            let mut buffer = Vec::new();
            let mut file = ProcFile::new(path, until);
            let first = keys(file.read(&mut buffer).unwrap());
            let second = keys(file.read(&mut buffer).unwrap());
            let fresh = keys(&std::fs::read(path).unwrap());
            assert_eq!(first, fresh);
            assert_eq!(second, fresh);
        }
    }
}
