//! `lz4`: one frame of independent blocks with the content's size in its header, as the server
//! takes no other. The library's own frame writer has to be made anew for each size; this one
//! keeps its table.

use lz4_flex::block::{compress_into_with_table, get_maximum_output_size, CompressTable};

/// Most bytes of a block; `MOST_CODE` says so in the header.
const MOST: usize = 64 * 1024;
const MOST_CODE: u8 = 4 << 4;
/// Version 1, independent blocks, size given, no checksums of blocks or content.
const FLAGS: u8 = 0x40 | 0x20 | 0x08;
/// In a block's length: the block is stored as it is.
const STORED: u32 = 1 << 31;

/// Table and scratch, about 90 kB, kept from one request to the next.
pub(super) struct Lz4 {
    table: CompressTable,
    block: Vec<u8>,
}

impl Default for Lz4 {
    fn default() -> Self {
        Lz4 {
            table: CompressTable::large(),
            block: vec![0; get_maximum_output_size(MOST)],
        }
    }
}

impl Lz4 {
    /// Fills `out`, which is empty; false if the result would not be smaller than `body`.
    pub(super) fn pack(&mut self, body: &[u8], out: &mut Vec<u8>) -> bool {
        let mut descriptor = [0; 10];
        descriptor[0] = FLAGS;
        descriptor[1] = MOST_CODE;
        descriptor[2..].copy_from_slice(&(body.len() as u64).to_le_bytes());
        out.extend_from_slice(&[0x04, 0x22, 0x4d, 0x18]);
        out.extend_from_slice(&descriptor);
        out.push((xxh32_of_ten(&descriptor) >> 8) as u8);
        for piece in body.chunks(MOST) {
            // It has room for the worst case, so there is no error
            let packed = compress_into_with_table(piece, &mut self.block, &mut self.table)
                .ok()
                .and_then(|length| self.block.get(..length))
                .filter(|packed| packed.len() < piece.len());
            // A block's length is at most 64 kB
            let (length, content) = match packed {
                Some(packed) => (packed.len() as u32, packed),
                None => (piece.len() as u32 | STORED, piece),
            };
            // With the block's length and the end mark
            if out.len() + content.len() + 8 >= body.len() {
                return false;
            }
            out.extend_from_slice(&length.to_le_bytes());
            out.extend_from_slice(content);
        }
        out.extend_from_slice(&[0; 4]);
        out.len() < body.len()
    }
}

/// XXH32 with seed 0. For ten bytes it is two words and two bytes, without the stripes.
fn xxh32_of_ten(bytes: &[u8; 10]) -> u32 {
    const PRIME: [u32; 5] = [
        0x9e37_79b1,
        0x85eb_ca77,
        0xc2b2_ae3d,
        0x27d4_eb2f,
        0x1656_67b1,
    ];
    let mut hash = PRIME[4].wrapping_add(bytes.len() as u32);
    let mut words = bytes.chunks_exact(4);
    for word in words.by_ref() {
        let word = word.iter().rev().fold(0, |n, b| n << 8 | u32::from(*b));
        hash = hash
            .wrapping_add(word.wrapping_mul(PRIME[2]))
            .rotate_left(17)
            .wrapping_mul(PRIME[3]);
    }
    for byte in words.remainder() {
        hash = hash
            .wrapping_add(u32::from(*byte).wrapping_mul(PRIME[4]))
            .rotate_left(11)
            .wrapping_mul(PRIME[0]);
    }
    hash = (hash ^ (hash >> 15)).wrapping_mul(PRIME[1]);
    hash = (hash ^ (hash >> 13)).wrapping_mul(PRIME[2]);
    hash ^ (hash >> 16)
}
