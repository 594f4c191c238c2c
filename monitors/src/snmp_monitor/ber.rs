//! The part of ASN.1's basic encoding rules that SNMP uses. Every length is checked against the
//! bytes that are there, and nothing is allocated by a length that a message claims.

/// Universal and SNMP's own tags.
pub const INTEGER: u8 = 0x02;
pub const OCTETS: u8 = 0x04;
pub const NULL: u8 = 0x05;
pub const OID: u8 = 0x06;
pub const SEQUENCE: u8 = 0x30;

/// An object identifier has at most this many parts, as SMIv2 has it.
pub const MOST_ARCS: usize = 128;

/// The bytes are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bad;

/// Reads elements one after another.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    left: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { left: bytes }
    }

    pub fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    /// The next element: its tag and its content. Tags of several bytes and lengths that the
    /// element's end has to tell are not part of SNMP.
    pub fn next(&mut self) -> Result<(u8, &'a [u8]), Bad> {
        let (&[tag, first], mut rest) = self.left.split_first_chunk().ok_or(Bad)?;
        if tag & 0x1F == 0x1F {
            return Err(Bad);
        }
        let mut length = usize::from(first);
        if first >= 0x80 {
            let count = usize::from(first & 0x7F);
            if count == 0 || count > 4 || count > rest.len() {
                return Err(Bad);
            }
            let (bytes, after) = rest.split_at(count);
            let claimed = bytes.iter().fold(0_u32, |n, &b| (n << 8) | u32::from(b));
            length = usize::try_from(claimed).map_err(|_| Bad)?;
            rest = after;
        }
        let (content, after) = rest.split_at_checked(length).ok_or(Bad)?;
        self.left = after;
        Ok((tag, content))
    }

    /// The content of the next element, which has to be of this tag.
    pub fn of(&mut self, tag: u8) -> Result<&'a [u8], Bad> {
        match self.next()? {
            (found, content) if found == tag => Ok(content),
            _ => Err(Bad),
        }
    }

    /// The next element, an INTEGER.
    pub fn int(&mut self) -> Result<i64, Bad> {
        signed(self.of(INTEGER)?)
    }

    /// [`Reader::int`] within what most fields of a message may hold.
    pub fn int32(&mut self) -> Result<i32, Bad> {
        i32::try_from(self.int()?).map_err(|_| Bad)
    }

    /// A reader of the next element's content, a SEQUENCE.
    pub fn sequence(&mut self) -> Result<Reader<'a>, Bad> {
        self.of(SEQUENCE).map(Reader::new)
    }
}

/// The content of an INTEGER of at most eight bytes.
pub fn signed(content: &[u8]) -> Result<i64, Bad> {
    let first = content.first().ok_or(Bad)?;
    if content.len() > 8 {
        return Err(Bad);
    }
    let start = if first & 0x80 == 0 { 0 } else { -1 };
    Ok(content.iter().fold(start, |n, &b| (n << 8) | i64::from(b)))
}

/// The content of a counter. Some agents write the highest values without the zero in front.
pub fn unsigned(content: &[u8]) -> Result<u64, Bad> {
    let digits = match content {
        [] => return Err(Bad),
        [0, rest @ ..] => rest,
        all => all,
    };
    if digits.len() > 8 {
        return Err(Bad);
    }
    Ok(digits.iter().fold(0, |n, &b| (n << 8) | u64::from(b)))
}

/// The content of an OBJECT IDENTIFIER.
pub fn oid(content: &[u8]) -> Result<Vec<u32>, Bad> {
    let mut arcs = Vec::with_capacity(content.len().min(MOST_ARCS) + 1);
    let mut arc = 0_u64;
    for (at, &byte) in content.iter().enumerate() {
        arc = (arc << 7) | u64::from(byte & 0x7F);
        if arc > u64::from(u32::MAX) + 80 {
            return Err(Bad);
        }
        if byte & 0x80 != 0 {
            if at + 1 == content.len() {
                return Err(Bad);
            }
            continue;
        }
        if arcs.is_empty() {
            let root = (arc / 40).min(2);
            arcs.push(root as u32);
            arc -= root * 40;
        }
        if arcs.len() == MOST_ARCS {
            return Err(Bad);
        }
        arcs.push(u32::try_from(arc).map_err(|_| Bad)?);
        arc = 0;
    }
    Ok(arcs)
}

/// Appends an element.
pub fn put(out: &mut Vec<u8>, tag: u8, content: &[u8]) {
    out.push(tag);
    let length = content.len();
    if length < 0x80 {
        out.push(length as u8);
    } else {
        let bytes = length.to_be_bytes();
        let digits = &bytes[bytes.iter().take_while(|&&b| b == 0).count()..];
        out.push(0x80 | digits.len() as u8);
        out.extend_from_slice(digits);
    }
    out.extend_from_slice(content);
}

/// Appends an INTEGER.
pub fn put_int(out: &mut Vec<u8>, number: i64) {
    let bytes = number.to_be_bytes();
    let fill = if number < 0 { 0xFF } else { 0 };
    let mut skip = 0;
    while skip < 7 && bytes[skip] == fill && (bytes[skip + 1] ^ fill) & 0x80 == 0 {
        skip += 1;
    }
    put(out, INTEGER, &bytes[skip..]);
}

/// Appends an OBJECT IDENTIFIER. One with fewer than two parts is written as `0.0`, which no agent
/// has; those of the configuration have more.
pub fn put_oid(out: &mut Vec<u8>, arcs: &[u32]) {
    let mut content = Vec::with_capacity(arcs.len() + 4);
    let (head, rest) = match arcs {
        [root, second, rest @ ..] => (u64::from(*root) * 40 + u64::from(*second), rest),
        _ => (0, &[][..]),
    };
    put_arc(&mut content, head);
    for &arc in rest {
        put_arc(&mut content, u64::from(arc));
    }
    put(out, OID, &content);
}

fn put_arc(content: &mut Vec<u8>, arc: u64) {
    let mut shift = 63_u32;
    while shift > 0 {
        if arc >> shift != 0 {
            content.push(0x80 | (arc >> shift) as u8 & 0x7F);
        }
        shift -= 7;
    }
    content.push(arc as u8 & 0x7F);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for number in [0, 1, 127, 128, -1, -128, -129, 65_535, i64::MAX, i64::MIN] {
            let mut out = Vec::new();
            put_int(&mut out, number);
            let mut reader = Reader::new(&out);
            assert_eq!((reader.int(), reader.is_empty()), (Ok(number), true));
        }
        for arcs in [
            &[1, 3, 6, 1, 4, 1, u32::MAX, 0][..],
            &[2, 999],
            &[0, 0],
            &[2, u32::MAX],
            &[1, 3],
        ] {
            let mut out = Vec::new();
            put_oid(&mut out, arcs);
            let content = Reader::new(&out).of(OID).unwrap();
            assert_eq!(oid(content).unwrap(), arcs);
        }
        for length in [0, 127, 128, 255, 256, 65_536] {
            let mut out = Vec::new();
            put(&mut out, OCTETS, &vec![7; length]);
            assert_eq!(Reader::new(&out).of(OCTETS).unwrap().len(), length);
        }
    }

    #[test]
    fn integers_have_the_fewest_bytes() {
        let mut out = Vec::new();
        for number in [0, 127, 128, -1, -128] {
            put_int(&mut out, number);
        }
        assert_eq!(
            out,
            [2, 1, 0, 2, 1, 127, 2, 2, 0, 128, 2, 1, 255, 2, 1, 128]
        );
    }

    #[test]
    fn a_hostile_length_is_refused() {
        for bytes in [
            &[0x04][..],
            &[0x04, 0x80],
            &[0x04, 0x84, 0xFF, 0xFF, 0xFF, 0xFF],
            &[0x04, 0x85, 0, 0, 0, 0, 0],
            &[0x04, 0x82, 1],
            &[0x04, 5, 1, 2],
            &[0x1F, 1, 0],
        ] {
            assert_eq!(Reader::new(bytes).next(), Err(Bad), "{bytes:?}");
        }
        assert_eq!(signed(&[]), Err(Bad));
        assert_eq!(signed(&[0; 9]), Err(Bad));
        assert_eq!(unsigned(&[0, 255, 0, 0, 0, 0, 0, 0, 0]), Ok(255 << 56));
        assert_eq!(unsigned(&[1; 9]), Err(Bad));
        assert_eq!(oid(&[0x2B, 0x86]), Err(Bad));
        assert_eq!(oid(&[0x2B, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F]), Err(Bad));
        assert_eq!(oid(&[1; 200]), Err(Bad));
    }
}
