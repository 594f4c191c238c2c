//! Integers of variable length in bytes: seven bits a byte, the lowest first; the highest bit of a byte
//! says that another one follows (LEB128).

/// Appends a number: 1 byte below 128, 2 below 16,384, at most 10.
pub fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 128 {
        out.push(value as u8 | 128);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a text: its length in bytes, and its bytes.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Takes values off the beginning of bytes that may be anything. After a `None` what is left is undefined.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    /// One byte.
    pub fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    /// A number of four bytes, the lowest first.
    pub fn word(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// A number of variable length. `None` beyond 64 bits, and for a longer form than it needs, so that each
    /// number has one form.
    pub fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for at in 0..10 {
            let byte = self.byte()?;
            if at == 9 && byte > 1 || at > 0 && byte == 0 {
                return None;
            }
            value |= u64::from(byte & 127) << (7 * at);
            if byte < 128 {
                return Some(value);
            }
        }
        None
    }

    /// A text with its length before it.
    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.varint()?;
        self.take(usize::try_from(length).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_has_one_form_and_comes_back() {
        for shift in 0..64 {
            for value in [(1_u64 << shift) - 1, 1 << shift, u64::MAX >> shift] {
                let mut bytes = Vec::new();
                put(&mut bytes, value);
                assert!(bytes.len() <= 10);
                let mut from = Reader(&bytes);
                assert_eq!(from.varint(), Some(value));
                assert!(from.is_empty());
                let cut = &bytes[..bytes.len() - 1];
                assert_eq!(Reader(cut).varint(), None);
            }
        }
        for nonsense in [&[0x80, 0][..], &[0x80; 20], &[0xFF; 10]] {
            assert_eq!(Reader(nonsense).varint(), None);
        }
    }

    #[test]
    fn a_length_beyond_the_end_is_no_text() {
        let mut bytes = Vec::new();
        put_bytes(&mut bytes, b"abc");
        assert_eq!(Reader(&bytes).bytes(), Some(&b"abc"[..]));
        assert_eq!(Reader(&bytes[..3]).bytes(), None);
        put(&mut bytes, u64::MAX);
        assert_eq!(Reader(&bytes[4..]).bytes(), None);
    }
}
