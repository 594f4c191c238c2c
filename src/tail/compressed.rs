//! Telling compressed files from text, by their first bytes: the name proves nothing.

use super::identity;
use std::io;
use std::path::Path;

/// How many first bytes [`sniff`] looks at, at most.
pub const LOOK_AT: usize = 10;

/// The verdict on the first bytes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It is not compressed, or in no way that is known here.
    Text,
    /// It is compressed by this program, or one that writes the same format.
    Compressed(&'static str),
    /// It is too short to tell, but begins as a compressed file does and as text does not.
    TooShort,
}

/// The first bytes of each format, and how many of them rule out text.
const FORMATS: [(&[u8], usize, &str); 12] = [
    (b"\x1F\x8B\x08", 1, "gzip"),
    (b"BZh", 4, "bzip2"),
    (b"\xFD7zXZ\0", 1, "xz"),
    (b"\x28\xB5\x2F\xFD", 2, "zstd"),
    (b"\x1F\x9D", 1, "compress"),
    (b"\x04\x22\x4D\x18", 1, "lz4"),
    (b"\x02\x21\x4C\x18", 1, "lz4"),
    (b"PK\x03\x04", 3, "zip"),
    (b"PK\x05\x06", 3, "zip"),
    (b"\x89LZO\0\r\n\x1A\n", 1, "lzop"),
    (b"LZIP\x01", 5, "lzip"),
    (b"7z\xBC\xAF\x27\x1C", 3, "7-Zip"),
];

/// Judges a file by its first bytes, [`LOOK_AT`] of them if it has that many.
pub fn sniff(head: &[u8]) -> Kind {
    for (magic, telling, name) in FORMATS {
        if head.starts_with(magic) {
            // Three letters alone would be a word: the level and the first block's mark follow
            let block = [
                &b"\x31\x41\x59\x26\x53\x59"[..],
                b"\x17\x72\x45\x38\x50\x90",
            ];
            let is_bzip2 = |rest: &[u8]| {
                rest.first().is_some_and(u8::is_ascii_digit) && block.contains(&&rest[1..])
            };
            if name != "bzip2" || head.get(3..LOOK_AT).is_some_and(is_bzip2) {
                return Kind::Compressed(name);
            }
        } else if head.len() >= telling && magic.starts_with(head) {
            return Kind::TooShort;
        }
    }
    Kind::Text
}

/// Judges the file at a path.
///
/// # Errors
/// As [`identity::open`] and reading say.
pub fn of(path: &Path) -> io::Result<Kind> {
    let (file, _) = identity::open(path)?;
    let mut head = [0; LOOK_AT];
    let n = identity::read_full_at(&file, &mut head, 0)?;
    Ok(sniff(&head[..n]))
}

/// Says as a phrase why a compressed file is not copied.
pub fn reason(name: &str) -> String {
    format!("it is compressed ({name} by its first bytes), and only text is copied")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_looks_a_little_like_an_archive_is_text() {
        for text in [
            &b""[..],
            b"B",
            b"BZh",
            b"BZh91",
            b"BZh9 is a level\n",
            b"PK",
            b"PK is here\n",
            b"(",
            b"7z l archive\n",
            b"LZIP",
            b"\0\0\0\0",
            b"\xEF\xBB\xBFwith a BOM\n",
            b"\x1F\x8Cno\n",
            b"\x1B[0m coloured\n",
        ] {
            assert_eq!(sniff(text), Kind::Text, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn each_format_is_known_and_its_beginning_is_not_taken_for_text() {
        for (magic, telling, name) in FORMATS {
            let mut head = magic.to_vec();
            if name == "bzip2" {
                assert_eq!(sniff(b"BZh91AY&SY\x01"), Kind::Compressed(name));
                assert_eq!(sniff(b"BZh9\x17rE8P\x90"), Kind::Compressed(name));
                continue;
            }
            assert_eq!(sniff(&head), Kind::Compressed(name));
            for len in telling..magic.len() {
                head.truncate(len);
                assert_eq!(sniff(&magic[..len]), Kind::TooShort, "{name}, {len} bytes");
            }
        }
    }
}
