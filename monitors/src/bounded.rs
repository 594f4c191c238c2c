//! The beginning of a stream of bytes, and how much more there was.

use std::borrow::Cow;

/// The output of a pipe or the body of an answer, of which only the first bytes are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bounded {
    /// The first bytes, no more than were to be kept.
    pub kept: Vec<u8>,
    /// All bytes that came.
    pub bytes: u64,
    /// Characters that begin in what was not kept.
    pub chars_dropped: u64,
}

impl Bounded {
    /// Takes in `bytes`, of which no more is kept than makes `keep` in all.
    pub fn push(&mut self, bytes: &[u8], keep: usize) {
        self.bytes += bytes.len() as u64;
        let room = keep.saturating_sub(self.kept.len()).min(bytes.len());
        self.kept.extend_from_slice(&bytes[..room]);
        // Continuation bytes of UTF-8 begin no character.
        let begins = bytes[room..].iter().filter(|&&b| b & 0xC0 != 0x80);
        self.chars_dropped += begins.count() as u64;
    }

    /// The kept bytes as text, with U+FFFD in place of invalid UTF-8.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_beyond_what_is_kept_are_counted() {
        let text = "aé☃𝄞".repeat(100);
        for keep in 0..20 {
            let mut bounded = Bounded::default();
            for piece in text.as_bytes().chunks(7) {
                bounded.push(piece, keep);
            }
            let counted = bounded.text().chars().count() as u64 + bounded.chars_dropped;
            assert_eq!(counted, 400, "{keep}");
            assert_eq!(bounded.bytes, text.len() as u64);
        }
    }
}
