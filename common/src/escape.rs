//! JSON strings, as the reference's encoder writes them: the five short escapes,
//! `\u00xx` for other control characters, everything else literal UTF-8.

/// Appends `text` as a JSON string, quotes included.
pub fn json_str(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    json_str_body(out, text.as_bytes());
    out.push(b'"');
}

/// Appends any bytes as a JSON string; each invalid UTF-8 sequence becomes U+FFFD.
pub fn json_bytes_lossy(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    for chunk in bytes.utf8_chunks() {
        json_str_body(out, chunk.valid().as_bytes());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{FFFD}".as_bytes());
        }
    }
    out.push(b'"');
}

/// Appends any bytes as a JSON string that a Python reader turns back into the same path: an
/// invalid byte `xx` becomes the lone surrogate escape `\udcxx` (Python's `surrogateescape`).
/// [`path_from_json`] is the way back.
pub fn json_path(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    for chunk in bytes.utf8_chunks() {
        json_str_body(out, chunk.valid().as_bytes());
        for byte in chunk.invalid() {
            out.extend_from_slice(b"\\udc");
            out.push(HEX[usize::from(byte >> 4)]);
            out.push(HEX[usize::from(byte & 15)]);
        }
    }
    out.push(b'"');
}

/// The path bytes of a decoded JSON string in WTF-8 (lone surrogates kept as three bytes, as
/// `serde_json` hands them out for byte strings): U+DC80..U+DCFF become their single byte again.
pub fn path_from_json(wtf8: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(wtf8.len());
    let mut rest = wtf8;
    while let [first, tail @ ..] = rest {
        // U+DC80..U+DCFF is ED B2 80 .. ED B3 BF
        if let [0xED, second @ (0xB2 | 0xB3), third @ 0x80..=0xBF, after @ ..] = rest {
            let low = ((second & 0x03) << 6) | (third & 0x3F);
            if low >= 0x80 {
                out.push(low);
                rest = after;
                continue;
            }
        }
        out.push(*first);
        rest = tail;
    }
    out
}

const HEX: &[u8; 16] = b"0123456789abcdef";

fn json_str_body(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut from = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[from..at]);
        from = at + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0C => out.extend_from_slice(b"\\f"),
            _ => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
        }
    }
    out.extend_from_slice(&bytes[from..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(text: &str) -> String {
        let mut out = Vec::new();
        json_str(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn escapes_as_the_reference_does() {
        // Only the five short escapes and \u00XX below U+0020; DEL and U+2028 stay as they are
        assert_eq!(
            escaped("café \"q\" \\ / \u{1}\u{7f}\u{2028}\t"),
            "\"café \\\"q\\\" \\\\ / \\u0001\u{7f}\u{2028}\\t\""
        );
        assert_eq!(
            escaped("\u{8}\u{c}\n\r\u{1f}\0"),
            "\"\\b\\f\\n\\r\\u001f\\u0000\""
        );
    }

    #[test]
    fn every_byte_of_a_path_survives_the_checkpoint() {
        let mut path = b"/var/log/".to_vec();
        path.extend(1..=255u8);
        path.extend_from_slice("é\u{2028}".as_bytes());
        let mut json = Vec::new();
        json_path(&mut json, &path);
        let mut reader = serde_json::Deserializer::from_slice(&json);
        let wtf8 = serde::Deserializer::deserialize_byte_buf(&mut reader, Bytes).unwrap();
        assert_eq!(path_from_json(&wtf8), path);
    }

    struct Bytes;
    impl serde::de::Visitor<'_> for Bytes {
        type Value = Vec<u8>;
        fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
            f.write_str("a string")
        }
        fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
            Ok(bytes.to_vec())
        }
        fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
            Ok(bytes)
        }
    }
}
