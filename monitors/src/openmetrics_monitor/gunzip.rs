//! Unpacking a gzip stream that comes in pieces. Its memory is 64 KiB, whatever comes.

use miniz_oxide::inflate::stream::{inflate, InflateState};
use miniz_oxide::{DataFormat, MZError, MZFlush, MZStatus};

/// Bytes that are unpacked at once.
const PIECE: usize = 16 * 1024;

/// A stream of one or more gzip members. The checksum is not looked at: TCP and TLS have their own.
pub struct Gunzip {
    state: Box<InflateState>,
    piece: Vec<u8>,
    part: Part,
    /// Bytes of the part that have come.
    count: usize,
    flags: u8,
    /// The length of the extra field.
    extra: usize,
    /// A member has been read to its end.
    had_one: bool,
}

/// The parts of a member (RFC 1952), of which the next byte belongs to one.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    Fixed,
    ExtraLength,
    Extra,
    Name,
    Comment,
    Checksum,
    Body,
    Trailer,
}

impl Gunzip {
    /// At the beginning of a stream.
    pub fn new() -> Self {
        Gunzip {
            state: InflateState::new_boxed(DataFormat::Raw),
            piece: vec![0; PIECE],
            part: Part::Fixed,
            count: 0,
            flags: 0,
            extra: 0,
            had_one: false,
        }
    }

    /// Unpacks `input` and hands what comes out to `take`, in pieces, until that says no.
    ///
    /// # Errors
    /// It is not gzip, or damaged.
    pub fn push(
        &mut self,
        mut input: &[u8],
        take: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<(), &'static str> {
        while let Some((&byte, behind)) = input.split_first() {
            if self.part == Part::Body {
                input = self.body(input, take)?;
            } else {
                input = behind;
                self.byte(byte)?;
            }
        }
        Ok(())
    }

    /// Whether the stream may end here.
    pub fn is_complete(&self) -> bool {
        self.had_one && self.part == Part::Fixed && self.count == 0
    }

    fn body<'a>(
        &mut self,
        mut input: &'a [u8],
        take: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<&'a [u8], &'static str> {
        loop {
            let done = inflate(&mut self.state, input, &mut self.piece, MZFlush::None);
            input = &input[done.bytes_consumed..];
            let piece = &self.piece[..done.bytes_written];
            if !piece.is_empty() && !take(piece) {
                return Ok(&[]);
            }
            match done.status {
                Ok(MZStatus::StreamEnd) => {
                    self.next();
                    return Ok(input);
                }
                // It waits for more.
                Ok(_) | Err(MZError::Buf)
                    if input.is_empty() && done.bytes_written < self.piece.len() =>
                {
                    return Ok(input)
                }
                Ok(_) if done.bytes_consumed > 0 || done.bytes_written > 0 => {}
                _ => return Err("the gzip stream is damaged"),
            }
        }
    }

    /// Takes a byte of a header or a trailer.
    fn byte(&mut self, byte: u8) -> Result<(), &'static str> {
        self.count += 1;
        let is_over = match self.part {
            Part::Fixed => {
                let magic = [0x1F, 0x8B, 8];
                if magic.get(self.count - 1).is_some_and(|&b| b != byte) {
                    return Err("it is not gzip, though Content-Encoding says so");
                }
                if self.count == 4 {
                    (self.flags, self.extra) = (byte, 0);
                }
                self.count == 10
            }
            Part::ExtraLength => {
                self.extra |= usize::from(byte) << (8 * (self.count - 1));
                self.count == 2
            }
            Part::Extra => self.count == self.extra,
            Part::Name | Part::Comment => byte == 0,
            Part::Checksum => self.count == 2,
            Part::Body | Part::Trailer => self.count == 8,
        };
        if is_over {
            self.next();
        }
        Ok(())
    }

    /// Goes on to the next part that the flags say is there.
    fn next(&mut self) {
        self.count = 0;
        self.part = match self.part {
            Part::Fixed if self.flags & 4 != 0 => Part::ExtraLength,
            Part::ExtraLength if self.extra != 0 => Part::Extra,
            Part::Fixed | Part::ExtraLength | Part::Extra if self.flags & 8 != 0 => Part::Name,
            Part::Name | Part::Fixed | Part::ExtraLength | Part::Extra if self.flags & 16 != 0 => {
                Part::Comment
            }
            Part::Body => Part::Trailer,
            Part::Trailer => {
                self.had_one = true;
                Part::Fixed
            }
            Part::Checksum => Part::Body,
            _ if self.flags & 2 != 0 => Part::Checksum,
            _ => Part::Body,
        };
        if self.part == Part::Body {
            self.state.reset(DataFormat::Raw);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::mutations;
    use super::*;

    fn gzip(content: &[u8], flags: u8) -> Vec<u8> {
        let mut out = vec![0x1F, 0x8B, 8, flags, 0, 0, 0, 0, 0, 3];
        if flags & 4 != 0 {
            out.extend([3, 0, 1, 0, 2]);
        }
        if flags & 8 != 0 {
            out.extend(b"name\0");
        }
        if flags & 16 != 0 {
            out.extend(b"comment\0");
        }
        if flags & 2 != 0 {
            out.extend([7, 7]);
        }
        out.extend(miniz_oxide::deflate::compress_to_vec(content, 6));
        out.extend([0; 8]);
        out
    }

    fn unpack(pieces: &[&[u8]]) -> Result<(Vec<u8>, bool), &'static str> {
        let mut gunzip = Gunzip::new();
        let mut all = Vec::new();
        for piece in pieces {
            gunzip.push(piece, &mut |bytes| {
                assert!(bytes.len() <= PIECE);
                all.extend_from_slice(bytes);
                true
            })?;
        }
        Ok((all, gunzip.is_complete()))
    }

    #[test]
    fn every_header_unpacks_however_the_stream_is_cut() {
        let content: Vec<u8> = (0..30_000u32).flat_map(|n| n.to_le_bytes()).collect();
        for flags in 0..32 {
            let bytes = gzip(&content[..2_000], flags);
            for size in [1, 7, 4096] {
                let pieces: Vec<&[u8]> = bytes.chunks(size).collect();
                let (all, complete) = unpack(&pieces).unwrap();
                assert!(complete && all == content[..2_000], "{flags} {size}");
            }
        }
        let two = [gzip(&content, 0), gzip(b"more", 8)].concat();
        for cut in (0..two.len()).step_by(997) {
            let (all, complete) = unpack(&[&two[..cut], &two[cut..]]).unwrap();
            assert!(complete && all == [&content[..], b"more"].concat(), "{cut}");
        }
    }

    #[test]
    fn half_a_stream_is_not_complete_and_a_damaged_one_is_an_error() {
        let bytes = gzip(&b"0123456789".repeat(1000), 0);
        for cut in 0..bytes.len() {
            assert!(!unpack(&[&bytes[..cut]]).unwrap().1, "{cut}");
        }
        assert!(unpack(&[b"# HELP x"]).is_err());
        let mut bad = bytes.clone();
        bad[10] = 7;
        assert!(unpack(&[&bad]).is_err());
    }

    #[test]
    fn a_bomb_is_handed_on_in_small_pieces_until_nobody_wants_more() {
        let bomb = gzip(&vec![b'x'; 50 << 20], 0);
        assert!(bomb.len() < 64 << 10);
        let mut seen = 0;
        let end = Gunzip::new().push(&bomb, &mut |bytes| {
            seen += bytes.len();
            seen < 1 << 20
        });
        assert!(end.is_ok() && seen < 2 << 20, "{seen}");
    }

    #[test]
    fn unpacking_survives_any_bytes() {
        let corpus = [gzip(b"abcabcabc", 31), gzip(&[7; 70_000], 0)].concat();
        let mut random = 0x9E37_79B9_7F4A_7C15u64;
        for _ in 0..mutations(2_000) {
            let mut bytes = corpus.clone();
            for _ in 0..3 {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                let at = random as usize % bytes.len();
                bytes[at] = (random >> 32) as u8;
            }
            let _ = unpack(&[&bytes]);
        }
    }
}
