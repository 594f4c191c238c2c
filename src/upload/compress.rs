//! The body's bytes on the wire: `deflate`, which for this protocol means a zlib stream
//! (protocol.md §5), or plain.

use super::settings::Compression;
use miniz_oxide::deflate::core::{compress_to_output, CompressorOxide, TDEFLFlush, TDEFLStatus};
use miniz_oxide::DataFormat;

/// Level while there is time.
const RELAXED: u8 = 6;
/// Level for bodies that a steady stream of lines makes: for half the processor time a tenth more
/// bytes.
const BUSY: u8 = 3;
/// Bodies from this size on are of that kind.
const LARGE: usize = 32 * 1024;
/// Level while there is a backlog: twice the bytes for a fifth of the processor time.
const HURRIED: u8 = 1;
/// Output memory kept between requests that need less than it.
const KEEP: usize = 64 * 1024;

/// A compressor that keeps its tables (about 300 kB) and its output from one request to the next.
pub struct Packer {
    compression: Compression,
    /// The operator's choice, 1 to 9.
    level: Option<u8>,
    /// Made with the first body that is compressed.
    state: Option<Box<CompressorOxide>>,
    out: Vec<u8>,
}

impl Packer {
    /// `level` as the operator set it; without one it follows the backlog.
    pub fn new(compression: Compression, level: Option<u8>) -> Self {
        Packer {
            compression,
            level,
            state: None,
            out: Vec::new(),
        }
    }

    /// The bytes to send for `body`, and whether they are compressed. What compression does not
    /// make smaller is sent plain. `backlog`: the batch is full, more is waiting.
    pub fn pack<'a>(&'a mut self, body: &'a [u8], backlog: bool) -> (&'a [u8], bool) {
        if self.compression == Compression::None {
            return (body, false);
        }
        let pressure = match (backlog, body.len() >= LARGE) {
            (true, _) => HURRIED,
            (false, true) => BUSY,
            (false, false) => RELAXED,
        };
        if self.deflate(body, self.level.unwrap_or(pressure)) {
            (&self.out, true)
        } else {
            self.out = Vec::new();
            (body, false)
        }
    }

    /// Fills `out`; false if the result would not be smaller than `body`.
    fn deflate(&mut self, body: &[u8], level: u8) -> bool {
        let state = self.state.get_or_insert_with(Box::default);
        state.reset();
        state.set_format_and_level(DataFormat::Zlib, level);
        if self.out.len() < KEEP {
            self.out.shrink_to(KEEP);
        }
        self.out.clear();
        let out = &mut self.out;
        let (status, _) = compress_to_output(state, body, TDEFLFlush::Finish, |piece| {
            if out.len() + piece.len() >= body.len() {
                return false; // ends the compression with an error
            }
            out.extend_from_slice(piece);
            true
        });
        status == TDEFLStatus::Done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use miniz_oxide::inflate::decompress_to_vec_zlib;

    fn log_text(lines: u32) -> Vec<u8> {
        (0..lines)
            .flat_map(|n| format!("10.0.0.{} GET /item/{n} 200\n", n % 250).into_bytes())
            .collect()
    }

    #[test]
    fn what_was_packed_unpacks_to_the_same_request_after_request() {
        let mut packer = Packer::new(Compression::Deflate, None);
        for (lines, backlog) in [(30, false), (40_000, true), (10, false), (40_000, false)] {
            let body = log_text(lines);
            let (sent, compressed) = packer.pack(&body, backlog);
            assert!(compressed && sent.len() < body.len());
            assert_eq!(sent[0], 0x78, "a zlib stream, not raw deflate");
            assert_eq!(decompress_to_vec_zlib(sent).unwrap(), body);
        }
    }

    #[test]
    fn pressure_chooses_the_level_unless_the_operator_did() {
        let body = log_text(20_000);
        let size = |level, backlog| {
            let mut packer = Packer::new(Compression::Deflate, level);
            packer.pack(&body, backlog).0.len()
        };
        assert!(size(None, true) > size(None, false));
        assert_eq!(size(Some(9), true), size(Some(9), false));
        assert_eq!(size(Some(1), false), size(None, true));
    }

    #[test]
    fn what_does_not_shrink_is_sent_plain() {
        let mut noise = vec![0u8; 200_000];
        let mut state = 1u64;
        for byte in &mut noise {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            *byte = (state >> 56) as u8;
        }
        let mut packer = Packer::new(Compression::Deflate, None);
        let (sent, compressed) = packer.pack(&noise, true);
        assert!(!compressed && sent == noise);
        assert_eq!(packer.pack(b"{}", false), (&b"{}"[..], false));
        // and the compressor still works afterwards
        let body = log_text(100);
        let (sent, compressed) = packer.pack(&body, false);
        assert!(compressed);
        assert_eq!(decompress_to_vec_zlib(sent).unwrap(), body);
    }

    #[test]
    fn none_means_none() {
        let body = log_text(100);
        let mut packer = Packer::new(Compression::None, Some(9));
        assert_eq!(packer.pack(&body, false), (&body[..], false));
    }
}
