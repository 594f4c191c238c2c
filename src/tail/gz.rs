//! Reading a rotated log that was compressed before it was read to its end.

use miniz_oxide::inflate::stream::{inflate, InflateState};
use miniz_oxide::{DataFormat, MZError, MZFlush, MZStatus};
use std::fs::File;
use std::io;

/// A gzip file as a sequence of bytes that is read front to back; going back starts over. Several
/// members in a row count as one content, as gzip has it. The checksum is not looked at: what a
/// broken archive still gives is better than nothing, and its end is reported as the end.
pub struct GzFile {
    file: File,
    state: Box<InflateState>,
    input: Vec<u8>,
    /// Unread part of `input`.
    next: usize,
    filled: usize,
    /// Where in the file the next refill reads.
    file_offset: u64,
    /// Position in the uncompressed content.
    position: u64,
    ended: bool,
    /// The last bytes before `position`: reading steps back a little with every page.
    last: Vec<u8>,
}

impl std::fmt::Debug for GzFile {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "GzFile at {}", self.position)
    }
}

impl GzFile {
    /// Starts at the beginning.
    ///
    /// # Errors
    /// `InvalidData` if it has no gzip header, and read errors.
    pub fn new(file: File) -> io::Result<Self> {
        let mut gz = GzFile {
            file,
            state: InflateState::new_boxed(DataFormat::Raw),
            input: vec![0; 16 << 10],
            next: 0,
            filled: 0,
            file_offset: 0,
            position: 0,
            ended: false,
            last: Vec::new(),
        };
        gz.member()?;
        Ok(gz)
    }

    fn restart(&mut self) -> io::Result<()> {
        self.next = 0;
        self.filled = 0;
        self.file_offset = 0;
        self.position = 0;
        self.ended = false;
        self.last.clear();
        self.member()
    }

    fn byte(&mut self) -> io::Result<Option<u8>> {
        if self.next == self.filled {
            self.filled =
                super::identity::read_full_at(&self.file, &mut self.input, self.file_offset)?;
            self.file_offset += self.filled as u64;
            self.next = 0;
            if self.filled == 0 {
                return Ok(None);
            }
        }
        self.next += 1;
        Ok(Some(self.input[self.next - 1]))
    }

    fn header_byte(&mut self) -> io::Result<u8> {
        self.byte()?
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "gzip header cut short"))
    }

    /// Reads a member's header (RFC 1952).
    fn member(&mut self) -> io::Result<()> {
        let mut fixed = [0; 10];
        for b in &mut fixed {
            *b = self.header_byte()?;
        }
        if fixed[..3] != [0x1F, 0x8B, 8] {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not gzip"));
        }
        let flags = fixed[3];
        if flags & 4 != 0 {
            let len = usize::from(self.header_byte()?) | usize::from(self.header_byte()?) << 8;
            for _ in 0..len {
                self.header_byte()?;
            }
        }
        for text in [8, 16] {
            if flags & text != 0 {
                while self.header_byte()? != 0 {}
            }
        }
        if flags & 2 != 0 {
            self.header_byte()?;
            self.header_byte()?;
        }
        self.state.reset(DataFormat::Raw);
        Ok(())
    }

    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < buf.len() && !self.ended {
            if self.next == self.filled {
                self.filled =
                    super::identity::read_full_at(&self.file, &mut self.input, self.file_offset)?;
                self.file_offset += self.filled as u64;
                self.next = 0;
            }
            let result = inflate(
                &mut self.state,
                &self.input[self.next..self.filled],
                &mut buf[done..],
                MZFlush::None,
            );
            self.next += result.bytes_consumed;
            done += result.bytes_written;
            match result.status {
                Ok(MZStatus::StreamEnd) => {
                    // checksum and length, then perhaps another member
                    for _ in 0..8 {
                        self.byte()?;
                    }
                    self.ended = match self.byte()? {
                        None | Some(0) => true,
                        Some(_) => {
                            self.next -= 1;
                            self.member().is_err()
                        }
                    };
                }
                Ok(_) if result.bytes_consumed == 0 && result.bytes_written == 0 => {
                    self.ended = self.filled == 0
                }
                Err(MZError::Buf) if self.filled > 0 => {}
                Ok(_) => {}
                Err(_) => self.ended = true,
            }
        }
        self.position += done as u64;
        Ok(done)
    }

    /// As `read_full_at` of a plain file.
    ///
    /// # Errors
    /// The file can't be read. A damaged archive ends early instead.
    pub fn read_at(&mut self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        if offset < self.position {
            let back = self.position - offset;
            if back > self.last.len() as u64 {
                self.restart()?;
            } else {
                let from = self.last.len() - back as usize;
                done = buf.len().min(back as usize);
                buf[..done].copy_from_slice(&self.last[from..from + done]);
            }
        }
        let mut waste = [0; 8 << 10];
        while self.position < offset {
            let want = (offset - self.position).min(waste.len() as u64) as usize;
            let n = self.read(&mut waste[..want])?;
            if n == 0 {
                return Ok(0);
            }
            self.remember(&waste[..n]);
        }
        if done < buf.len() {
            let n = self.read(&mut buf[done..])?;
            self.remember(&buf[done..done + n]);
            done += n;
        }
        Ok(done)
    }

    /// Keeps at least as much as the longest page.
    fn remember(&mut self, bytes: &[u8]) {
        const KEEP: usize = 256 << 10;
        self.last.extend_from_slice(bytes);
        if self.last.len() > 2 * KEEP {
            let too_many = self.last.len() - KEEP;
            self.last.drain(..too_many);
        }
    }

    #[cfg(test)]
    /// The uncompressed length, by reading through once more.
    ///
    /// # Errors
    /// As [`GzFile::read_at`].
    pub fn length(&mut self) -> io::Result<u64> {
        let mut waste = vec![0; 64 << 10];
        while self.read(&mut waste)? > 0 {}
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gzip(content: &[u8], name: Option<&str>) -> Vec<u8> {
        let mut out = vec![
            0x1F,
            0x8B,
            8,
            if name.is_some() { 8 } else { 0 },
            0,
            0,
            0,
            0,
            0,
            3,
        ];
        if let Some(name) = name {
            out.extend_from_slice(name.as_bytes());
            out.push(0);
        }
        out.extend(miniz_oxide::deflate::compress_to_vec(content, 6));
        out.extend([0; 8]);
        out
    }

    fn file(bytes: &[u8]) -> File {
        let path = std::env::temp_dir().join(format!("gz-{}", crate::util::random::uuid4()));
        std::fs::write(&path, bytes).unwrap();
        let file = File::open(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        file
    }

    #[test]
    fn members_names_and_going_back() {
        let a: Vec<u8> = (0..200_000u32).flat_map(|n| n.to_le_bytes()).collect();
        let b = b"and the rest\n".repeat(5);
        let mut bytes = gzip(&a, Some("app.log.1"));
        bytes.extend(gzip(&b, None));
        let all = [a, b].concat();
        let mut gz = GzFile::new(file(&bytes)).unwrap();
        assert_eq!(gz.length().unwrap(), all.len() as u64);
        for (from, len) in [(0, 10), (799_990, 40), (5, 300_000), (all.len() - 3, 10)] {
            let mut buf = vec![0; len];
            let n = gz.read_at(&mut buf, from as u64).unwrap();
            assert_eq!(buf[..n], all[from..(from + len).min(all.len())]);
        }
    }

    #[test]
    fn a_damaged_archive_ends_instead_of_hanging() {
        let mut bytes = gzip(&b"0123456789".repeat(10_000), None);
        bytes.truncate(bytes.len() / 2);
        let mut gz = GzFile::new(file(&bytes)).unwrap();
        assert!(gz.length().unwrap() < 100_000);
        assert!(GzFile::new(file(b"\x1f\x8b")).is_err());
        assert!(GzFile::new(file(b"plain text of some length\n")).is_err());
        for k in 10..bytes.len().min(60) {
            bytes[k] ^= 0x55;
            if let Ok(mut gz) = GzFile::new(file(&bytes)) {
                let _ = gz.length();
            }
        }
    }
}
