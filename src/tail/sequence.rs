//! The numbers of a content's events as the server sees them. It knows a sequence by a UUID; where a number
//! would exceed `max_sequence_number`, the next sequence begins.

use super::identity;
use super::ledger::{ContentKey, Numbers, SequenceId};
use crate::util::random;

/// A sequence of numbers for events: `number = base + offset`, wrapping.
#[derive(Debug, Clone)]
pub struct Sequence {
    /// Tells sequences apart within this process.
    pub serial: u64,
    /// The UUID that the server sees.
    pub id: String,
    /// The number that is added to a file offset.
    base: u64,
}

impl Sequence {
    /// The sequence of a content at an offset.
    pub fn at(key: ContentKey, numbers: &Numbers, offset: u64, most: u64) -> Self {
        let SequenceId(id) = numbers.sequence;
        let mut sequence = Sequence {
            // At most 65,535 sequences of a content are told apart within a request
            serial: key.0 << 16,
            id: random::uuid_text(id),
            base: numbers.base,
        };
        while sequence.number(offset) > most && most > 0 {
            sequence = sequence.successor(most);
        }
        sequence
    }

    /// One that counts offsets, of this id.
    pub fn named(id: &str) -> Self {
        Sequence {
            serial: 0,
            id: id.to_owned(),
            base: 0,
        }
    }

    /// The number at a file offset.
    pub fn number(&self, offset: u64) -> u64 {
        self.base.wrapping_add(offset)
    }

    /// The sequence that follows when `most` is reached. Its id is computed from this one's, so
    /// that bytes sent again after a crash get the id they had.
    pub fn successor(&self, most: u64) -> Self {
        let a = identity::hash(self.id.as_bytes());
        let b = identity::hash(&a.to_be_bytes());
        let hex = format!("{a:016x}{b:016x}");
        let id = format!(
            "{}-{}-4{}-8{}-{}",
            &hex[..8],
            &hex[8..12],
            &hex[13..16],
            &hex[17..20],
            &hex[20..]
        );
        Sequence {
            serial: self.serial.wrapping_add(1),
            id,
            base: self.base.wrapping_sub(most),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_sent_again_get_the_number_they_had() {
        let most = 100;
        let numbers = Numbers {
            sequence: SequenceId([7; 16]),
            base: 0,
        };
        let run = |from: u64| {
            let mut sequence = Sequence::at(ContentKey(1), &numbers, from, most);
            let mut seen = Vec::new();
            for offset in (from + 7..=700).step_by(7) {
                if sequence.number(offset) > most {
                    sequence = sequence.successor(most);
                }
                seen.push((sequence.id.clone(), sequence.number(offset)));
            }
            seen
        };
        let all = run(0);
        assert_eq!(run(350), all[50..]);
        assert!(all.iter().all(|(_, n)| *n <= most));
    }
}
