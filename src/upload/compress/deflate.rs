//! `deflate`, which for this protocol means a zlib stream.

use miniz_oxide::deflate::core::{compress_to_output, CompressorOxide, TDEFLFlush, TDEFLStatus};
use miniz_oxide::DataFormat;

/// Level while there is time.
pub(super) const RELAXED: u8 = 6;
/// Level for bodies that a steady stream of lines makes: a fifth more bytes for a quarter of the
/// processor time.
pub(super) const BUSY: u8 = 2;
/// Level while there is a backlog: twice the bytes for a fifth of the processor time.
pub(super) const HURRIED: u8 = 1;

/// About 300 kB of tables, kept from one request to the next.
#[derive(Default)]
pub(super) struct Deflate(Box<CompressorOxide>);

impl Deflate {
    /// Fills `out`, which is empty; false if the result would not be smaller than `body`.
    pub(super) fn pack(&mut self, body: &[u8], level: u8, out: &mut Vec<u8>) -> bool {
        self.0.reset();
        self.0.set_format_and_level(DataFormat::Zlib, level);
        let (status, _) = compress_to_output(&mut self.0, body, TDEFLFlush::Finish, |piece| {
            if out.len() + piece.len() >= body.len() {
                return false; // ends the compression with an error
            }
            out.extend_from_slice(piece);
            true
        });
        status == TDEFLStatus::Done
    }
}
