//! gzip (RFC 1952) around `miniz_oxide`, for archives of configurations and for installations.

use crate::util::crc32::Crc;
use miniz_oxide::inflate::stream::{inflate, InflateState};
use miniz_oxide::{DataFormat, MZError, MZFlush, MZStatus};
use std::io::{self, Read};

/// Compresses a whole content.
pub(in crate::cli) fn compress(content: &[u8]) -> Vec<u8> {
    // Deflate, no name, no time, made on Unix
    let mut out = vec![0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3];
    out.extend(miniz_oxide::deflate::compress_to_vec(content, 9));
    let mut crc = Crc::default();
    crc.add(content);
    out.extend(crc.value().to_le_bytes());
    // Its low 32 bits are what the format asks for.
    out.extend((content.len() as u32).to_le_bytes());
    out
}

/// Decodes a gzip stream: one member or several in a row. Checksums and lengths are checked, and
/// bytes behind the last member that are not zero are an error.
pub(in crate::cli) struct Decoder<R> {
    from: R,
    input: Box<[u8]>,
    next: usize,
    filled: usize,
    state: Box<InflateState>,
    crc: Crc,
    length: u32,
    stage: Stage,
}

#[derive(PartialEq, Eq)]
enum Stage {
    /// Before the first member.
    First,
    Body,
    Done,
}

impl<R: Read> Decoder<R> {
    pub(in crate::cli) fn new(from: R) -> Self {
        Decoder {
            from,
            input: vec![0; 32 << 10].into_boxed_slice(),
            next: 0,
            filled: 0,
            state: InflateState::new_boxed(DataFormat::Raw),
            crc: Crc::default(),
            length: 0,
            stage: Stage::First,
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        if self.next == self.filled {
            self.next = 0;
            self.filled = 0;
            self.filled = loop {
                match self.from.read(&mut self.input) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    result => break result?,
                }
            };
        }
        Ok(())
    }

    fn byte(&mut self) -> io::Result<Option<u8>> {
        self.fill()?;
        let byte = self.input[..self.filled].get(self.next).copied();
        self.next += usize::from(byte.is_some());
        Ok(byte)
    }

    fn needed(&mut self) -> io::Result<u8> {
        self.byte()?
            .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn word(&mut self) -> io::Result<u32> {
        let mut bytes = [0; 4];
        for byte in &mut bytes {
            *byte = self.needed()?;
        }
        Ok(u32::from_le_bytes(bytes))
    }

    /// A member's header; false if there is none any more.
    fn header(&mut self) -> io::Result<bool> {
        let first = loop {
            match self.byte()? {
                None if self.stage == Stage::First => return Err(bad("nothing is in it")),
                None => return Ok(false),
                // Padding of tapes
                Some(0) if self.stage != Stage::First => {}
                Some(byte) => break byte,
            }
        };
        if first != 0x1F || self.needed()? != 0x8B || self.needed()? != 8 {
            return Err(bad("it does not begin as one"));
        }
        let flags = self.needed()?;
        // Time, level, system
        for _ in 0..6 {
            self.needed()?;
        }
        if flags & 4 != 0 {
            let length = usize::from(self.needed()?) | usize::from(self.needed()?) << 8;
            for _ in 0..length {
                self.needed()?;
            }
        }
        for text in [8, 16] {
            if flags & text != 0 {
                while self.needed()? != 0 {}
            }
        }
        if flags & 2 != 0 {
            self.needed()?;
            self.needed()?;
        }
        self.state.reset(DataFormat::Raw);
        self.crc = Crc::default();
        self.length = 0;
        self.stage = Stage::Body;
        Ok(true)
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        loop {
            match self.stage {
                Stage::Done => return Ok(0),
                Stage::First => {
                    self.header()?;
                }
                Stage::Body => {}
            }
            self.fill()?;
            let input = &self.input[self.next..self.filled];
            let at_end = input.is_empty();
            let result = inflate(&mut self.state, input, buf, MZFlush::None);
            self.next += result.bytes_consumed;
            let written = result.bytes_written;
            self.crc.add(&buf[..written]);
            self.length = self.length.wrapping_add(written as u32);
            match result.status {
                Ok(MZStatus::StreamEnd) => {
                    if self.word()? != self.crc.value() || self.word()? != self.length {
                        return Err(bad("its checksum does not fit its content"));
                    }
                    if !self.header()? {
                        self.stage = Stage::Done;
                    }
                }
                Ok(_) | Err(MZError::Buf) if written > 0 || !at_end => {}
                Ok(_) | Err(MZError::Buf) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(_) => return Err(bad("its compressed data is wrong")),
            }
            if written > 0 {
                return Ok(written);
            }
        }
    }
}

fn bad(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("this is no gzip file, or it is damaged: {what}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        Decoder::new(bytes).read_to_end(&mut out)?;
        Ok(out)
    }

    #[test]
    fn what_is_packed_comes_out_again_also_from_several_members() {
        let content: Vec<u8> = (0..200_000_u32)
            .flat_map(|n| (n.wrapping_mul(n)).to_le_bytes())
            .collect();
        let mut packed = compress(&content);
        assert_eq!(decode(&packed).unwrap(), content);
        packed.extend(compress(b""));
        packed.extend(compress(b"more"));
        packed.extend([0; 100]);
        assert_eq!(decode(&packed).unwrap(), [&content[..], b"more"].concat());
    }

    #[test]
    fn damage_is_noticed_wherever_it_is() {
        let packed = compress(b"a content of some length, of some length, of some length");
        for cut in 0..packed.len() {
            assert!(decode(&packed[..cut]).is_err(), "cut at {cut}");
        }
        for at in [0, 1, 2, 15, packed.len() - 8, packed.len() - 1] {
            let mut damaged = packed.clone();
            damaged[at] ^= 0x55;
            assert!(decode(&damaged).is_err(), "changed at {at}");
        }
        let mut followed = packed;
        followed.extend(b"rubbish");
        assert!(decode(&followed).is_err());
    }
}
