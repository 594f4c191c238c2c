//! Random bytes for identifiers and jitter. Nothing here is a secret.

use std::sync::atomic::{AtomicU64, Ordering};

/// `N` random bytes from the kernel; from the clock, the process id and a counter where it has
/// none to give (a chroot without devices on an ancient kernel).
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut out = [0; N];
    if !crate::sys::getrandom(&mut out) {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let mut state = COUNTER
            .fetch_add(1, Ordering::Relaxed)
            .wrapping_add(u64::from(std::process::id()) << 32)
            ^ super::time::now_nanos();
        for byte in &mut out {
            // splitmix64
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            *byte = (z ^ (z >> 31)) as u8;
        }
    }
    out
}

/// A random number in `0.0..1.0`.
pub fn unit() -> f64 {
    (u64::from_le_bytes(bytes()) >> 11) as f64 / (1u64 << 53) as f64
}

/// The bytes of a random UUID (version 4).
pub fn uuid4_bytes() -> [u8; 16] {
    let mut b: [u8; 16] = bytes();
    b[6] = (b[6] & 0x0F) | 0x40;
    b[8] = (b[8] & 0x3F) | 0x80;
    b
}

/// A random UUID (version 4) in its usual text form.
pub fn uuid4() -> String {
    uuid_text(uuid4_bytes())
}

/// The usual text form of a UUID.
pub fn uuid_text(b: [u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (i, byte) in b.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
        text.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
    }
    text
}

/// An upload session's id: 20 random bytes as 28 characters of URL-safe base64 with padding.
pub fn session_id() -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let raw: [u8; 20] = bytes();
    let mut text = String::with_capacity(28);
    for group in raw.chunks(3) {
        let n = (u32::from(group[0]) << 16)
            | (u32::from(*group.get(1).unwrap_or(&0)) << 8)
            | u32::from(*group.get(2).unwrap_or(&0));
        for k in 0..4 {
            if k <= group.len() {
                text.push(char::from(ALPHABET[(n >> (18 - 6 * k)) as usize & 63]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_have_their_form_and_differ() {
        let (a, b) = (uuid4(), uuid4());
        assert_ne!(a, b);
        assert_eq!(a.len(), 36);
        assert_eq!(a.as_bytes()[14], b'4');
        let (s, t) = (session_id(), session_id());
        assert_ne!(s, t);
        assert_eq!(s.len(), 28);
        assert!(s.ends_with('=') && !s.ends_with("=="));
    }
}
