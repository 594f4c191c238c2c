//! The messages of PostgreSQL's protocol 3.0, as far as a client with simple queries meets them.

use std::io::{self, Read};

/// Bytes of one message. The longest that are met are rows of statistics.
const LONGEST: usize = 256 * 1024;
/// Rows of one result that are kept. Every statement asks for fewer.
const ROWS: usize = 1000;
/// Columns of one result; the server itself has no more.
const COLUMNS: usize = 1664;

/// Reads the next message: its kind and its body. `left` is how many bytes may still come.
///
/// # Errors
/// The connection fails or ends, or what comes is no message or too long.
pub fn message(from: &mut dyn Read, left: &mut usize) -> io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 5];
    from.read_exact(&mut head)?;
    let [kind, length @ ..] = head;
    let length = u32::from_be_bytes(length) as usize;
    if !kind.is_ascii_alphanumeric() || length < 4 {
        return Err(broken("it does not speak the protocol of PostgreSQL"));
    }
    let length = length - 4;
    if length > LONGEST || length > *left {
        return Err(broken(match kind {
            // "HTTP/1.1 400", "SSH-2.0-": text for a length
            b'H' | b'S' if length > 1 << 28 => "it does not speak the protocol of PostgreSQL",
            _ => "its answer is too long",
        }));
    }
    *left -= length;
    let mut body = vec![0; length];
    from.read_exact(&mut body)?;
    Ok((kind, body))
}

fn broken(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Appends a message; `kind` is 0 for the first one, which has none.
pub fn write(out: &mut Vec<u8>, kind: u8, parts: &[&[u8]]) {
    if kind != 0 {
        out.push(kind);
    }
    let length = 4 + parts.iter().map(|part| part.len()).sum::<usize>();
    // Passwords and statements are shorter than 4 GiB
    out.extend_from_slice(&(length as u32).to_be_bytes());
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

/// The part of a message's body that is still unread.
pub struct Body<'a>(pub &'a [u8]);

impl<'a> Body<'a> {
    fn bytes(&mut self, n: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(bytes)
    }

    /// A number of 16 bits.
    pub fn int16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.bytes(2)?.try_into().ok()?))
    }

    /// A number of 32 bits.
    pub fn int32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.bytes(4)?.try_into().ok()?))
    }

    /// A text that ends with a zero byte.
    pub fn text(&mut self) -> Option<String> {
        let end = memchr::memchr(0, self.0)?;
        let text = self.bytes(end)?;
        self.bytes(1)?;
        Some(String::from_utf8_lossy(text).into_owned())
    }

    /// All that is left.
    pub fn rest(&self) -> String {
        String::from_utf8_lossy(self.0).into_owned()
    }
}

/// An error that the server tells.
#[derive(Debug, Default, PartialEq, Eq, Clone)]
pub struct Fault {
    /// SQLSTATE, five characters.
    pub code: String,
    /// Severity and message.
    pub text: String,
}

impl Fault {
    /// From the body of an `E` message.
    pub fn of(body: &[u8]) -> Fault {
        let mut body = Body(body);
        let mut fault = Fault::default();
        let mut severity = String::new();
        while let Some(&[field]) = body.bytes(1).filter(|field| *field != [0]) {
            let Some(text) = body.text() else {
                break;
            };
            let text: String = text
                .chars()
                .take(200)
                .flat_map(char::escape_debug)
                .collect();
            match field {
                // In the server's language, and since 9.6 as it stands in the protocol
                b'S' if severity.is_empty() => severity = text,
                b'V' => severity = text,
                b'C' => fault.code = text,
                b'M' => fault.text = text,
                _ => {}
            }
        }
        fault.text = format!("{severity}: {}", fault.text);
        fault
    }
}

/// The result of a statement.
#[derive(Debug, Default, PartialEq)]
pub struct Table {
    /// Names of the columns, and whether each holds floats.
    columns: Vec<(String, bool)>,
    rows: Vec<Vec<Option<String>>>,
}

/// Object ids of the types float4 and float8.
const FLOATS: [u32; 2] = [700, 701];

impl Table {
    /// From the body of a `T` message.
    pub fn of(body: &[u8]) -> Option<Table> {
        let mut body = Body(body);
        let count = usize::from(body.int16()?);
        let mut table = Table::default();
        for _ in 0..count.min(COLUMNS) {
            let name = body.text()?;
            body.bytes(6)?;
            let is_float = FLOATS.contains(&body.int32()?);
            body.bytes(8)?;
            table.columns.push((name, is_float));
        }
        Some(table)
    }

    /// Takes a row from the body of a `D` message; those beyond the bound are dropped.
    pub fn take(&mut self, body: &[u8]) -> Option<()> {
        if self.rows.len() >= ROWS {
            return Some(());
        }
        let mut body = Body(body);
        let mut row = Vec::new();
        for _ in 0..body.int16()? {
            let length = body.int32()?;
            row.push(match length {
                u32::MAX => None,
                n => Some(String::from_utf8_lossy(body.bytes(n as usize)?).into_owned()),
            });
        }
        self.rows.push(row);
        Some(())
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// The text of a cell, and whether its column holds floats; none if it is null or there is no such
    /// column.
    pub fn cell(&self, row: usize, column: &str) -> Option<(&str, bool)> {
        let at = self.columns.iter().position(|(name, _)| name == column)?;
        let text = self.rows.get(row)?.get(at)?.as_deref()?;
        Some((text, self.columns[at].1))
    }

    /// The text of a cell; empty if there is none.
    pub fn text(&self, row: usize, column: &str) -> &str {
        self.cell(row, column).map_or("", |(text, _)| text)
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A `T` body.
    pub fn description(columns: &[(&str, u32)]) -> Vec<u8> {
        let mut body = (columns.len() as u16).to_be_bytes().to_vec();
        for (name, oid) in columns {
            body.extend_from_slice(name.as_bytes());
            body.extend_from_slice(&[0; 7]);
            body.extend_from_slice(&oid.to_be_bytes());
            body.extend_from_slice(&[0; 8]);
        }
        body
    }

    #[test]
    fn cells_are_found_by_name_and_nulls_are_none() {
        let mut table = Table::of(&description(&[("a", 20), ("b", 701), ("n", 25)])).unwrap();
        table
            .take(b"\0\x03\0\0\0\x0212\0\0\0\x030.5\xff\xff\xff\xff")
            .unwrap();
        assert_eq!(table.rows(), 1);
        assert_eq!(table.cell(0, "a"), Some(("12", false)));
        assert_eq!(table.cell(0, "b"), Some(("0.5", true)));
        assert_eq!(table.cell(0, "n"), None);
        assert_eq!(table.cell(0, "none"), None);
        assert_eq!(table.cell(1, "a"), None);
        // A row that is shorter than its description
        table.take(b"\0\x01\0\0\0\x011").unwrap();
        assert_eq!(table.cell(1, "b"), None);
    }

    #[test]
    fn hostile_lengths_are_refused_without_memory() {
        let read = |bytes: &[u8]| {
            let mut bytes = bytes;
            message(&mut bytes, &mut 1000).map_err(|e| e.to_string())
        };
        assert_eq!(read(b"Z\0\0\0\x05I"), Ok((b'Z', b"I".to_vec())));
        assert!(read(b"D\xff\xff\xff\xff").unwrap_err().contains("too long"));
        assert!(read(b"D\0\0\x04\0").unwrap_err().contains("too long"));
        assert!(read(b"D\0\0\0\x03").unwrap_err().contains("protocol"));
        assert!(read(b"HTTP/1.1 400").unwrap_err().contains("protocol"));
        assert!(read(b"SSH-2.0-OpenSSH").unwrap_err().contains("protocol"));
        assert!(read(b"\x15\x03\x01\0\x02")
            .unwrap_err()
            .contains("protocol"));
        assert!(read(b"D\0\0\0\x08ab").is_err());
        assert_eq!(Table::of(b"\xff\xffa\0"), None);
        assert_eq!(Table::default().take(b"\0\x01\x7f\xff\xff\xffa"), None);
        assert_eq!(Table::default().take(b"\xff\xff"), None);
        let mut table = Table::default();
        (0..5000).for_each(|_| table.take(b"\0\0").unwrap());
        assert_eq!(table.rows(), 1000);
    }

    #[test]
    fn an_error_has_its_code_and_a_bounded_text() {
        let fault = Fault::of(b"SFATAAL\0VFATAL\0C28P01\0Mpassword \"x\"\nfailed\0\0");
        assert_eq!(fault.code, "28P01");
        assert_eq!(fault.text, "FATAL: password \\\"x\\\"\\nfailed");
        assert_eq!(Fault::of(b"C1").code, "");
        let long = [b"M".as_slice(), &[b'x'; 10_000], &[0, 0]].concat();
        assert!(Fault::of(&long).text.len() < 300);
    }
}
