//! Which sequence numbers were seen, so that resends can be dropped.

use std::collections::BTreeSet;

/// Numbers in one block.
const BLOCK: u32 = 256;

/// A set of sequence numbers that mostly grow: about one or two bytes a number.
#[derive(Debug, Default)]
pub struct Seen {
    /// Differences to the number before, seven bits a byte, low bits first, the last byte's high
    /// bit clear. A block's first number stands in `blocks`.
    deltas: Vec<u8>,
    blocks: Vec<Block>,
    max: u64,
    /// Those that came after a larger one.
    late: BTreeSet<u64>,
}

#[derive(Debug)]
struct Block {
    first: u64,
    /// Where the differences after `first` begin.
    at: usize,
    count: u32,
}

/// The result of [`Seen::insert`] for a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// Larger than all before.
    New,
    /// Not seen before, but a larger one was.
    Late,
    /// Seen before.
    Again,
}

impl Seen {
    /// Adds a number.
    pub fn insert(&mut self, number: u64) -> Arrival {
        let open = match self.blocks.last_mut() {
            Some(_) if number <= self.max => {
                return if self.contains(number) || !self.late.insert(number) {
                    Arrival::Again
                } else {
                    Arrival::Late
                };
            }
            Some(block) if block.count < BLOCK => Some(block),
            _ => None,
        };
        match open {
            Some(block) => {
                block.count += 1;
                let mut delta = number - self.max;
                while delta >= 0x80 {
                    self.deltas.push(delta as u8 | 0x80);
                    delta >>= 7;
                }
                self.deltas.push(delta as u8);
            }
            None => self.blocks.push(Block {
                first: number,
                at: self.deltas.len(),
                count: 1,
            }),
        }
        self.max = number;
        Arrival::New
    }

    /// Whether it came in order.
    fn contains(&self, number: u64) -> bool {
        let after = self.blocks.partition_point(|block| block.first <= number);
        let Some(block) = after.checked_sub(1).and_then(|i| self.blocks.get(i)) else {
            return false;
        };
        let mut at = block.first;
        let mut bytes = self.deltas[block.at..].iter();
        for _ in 1..block.count {
            if at >= number {
                break;
            }
            let (mut delta, mut shift) = (0u64, 0u32);
            for &byte in bytes.by_ref() {
                delta |= u64::from(byte & 0x7F) << shift;
                shift += 7;
                if byte < 0x80 {
                    break;
                }
            }
            at += delta;
        }
        at == number
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn tells_resends_from_late_ones_like_a_plain_set() {
        let mut seen = Seen::default();
        let mut plain = HashSet::new();
        let mut random = 1u64;
        let mut number = 0u64;
        let mut max = 0;
        for _ in 0..60_000 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            // Mostly forward by a line's length, at times back by some, once in a while far ahead
            match random >> 58 {
                0 => number = number.saturating_sub(random >> 40 & 0xFFFF),
                1 => number += random >> 20 & 0xFFFF_FFFF,
                _ => number += 1 + (random >> 33 & 0xFF),
            }
            let expected = match plain.insert(number) {
                false => Arrival::Again,
                true if number > max => Arrival::New,
                true => Arrival::Late,
            };
            max = max.max(number);
            assert_eq!(seen.insert(number), expected, "{number}");
        }
        assert!(plain.iter().all(|&n| seen.insert(n) == Arrival::Again));
    }

    #[test]
    fn the_ends_of_the_range_are_numbers_as_any() {
        let mut seen = Seen::default();
        assert_eq!(seen.insert(0), Arrival::New);
        assert_eq!(seen.insert(0), Arrival::Again);
        assert_eq!(seen.insert(u64::MAX), Arrival::New);
        assert_eq!(seen.insert(u64::MAX), Arrival::Again);
        assert_eq!(seen.insert(u64::MAX - 1), Arrival::Late);
        assert_eq!(seen.insert(0), Arrival::Again);
    }

    #[test]
    fn a_million_lines_take_little_memory() {
        let mut seen = Seen::default();
        for line in 1..=1_000_000u64 {
            seen.insert(line * 150);
        }
        assert!(seen.deltas.len() + seen.blocks.len() * size_of::<Block>() < 2_200_000);
    }
}
