//! The journal's export format, as `journalctl --output=export` writes it: `NAME=text` lines, or
//! `NAME`, a newline, eight bytes of length (little endian), the data and a newline; an empty line
//! ends an entry. Read piece by piece: what nobody asked for is not kept, whatever its size.

/// A value is cut off behind so many bytes. The journal itself takes messages of hundreds of MB.
pub const MOST: usize = 1024 * 1024;
/// The journal takes no field of this size; one that claims it is no field.
const ABSURD: u64 = 4 << 30;
/// Longest name of a field (64 in the journal, and some room).
const LONGEST_NAME: usize = 256;

/// The wanted fields of one entry, each by its number.
#[derive(Debug, Default)]
pub struct Entry {
    fields: Vec<Field>,
    any: bool,
    /// Values of it that were cut off.
    pub cut: u64,
}

#[derive(Debug, Default)]
struct Field {
    present: bool,
    value: Vec<u8>,
}

impl Entry {
    /// The first value of a field.
    pub fn get(&self, number: usize) -> Option<&[u8]> {
        let field = self.fields.get(number).filter(|field| field.present)?;
        Some(&field.value)
    }

    fn clear(&mut self) {
        self.any = false;
        self.cut = 0;
        for field in &mut self.fields {
            field.present = false;
            field.value.clear();
            // One huge message shall not occupy memory for ever.
            field.value.shrink_to(16 * 1024);
        }
    }

    fn append(&mut self, number: Option<usize>, bytes: &[u8]) {
        if let Some(field) = number.and_then(|n| self.fields.get_mut(n)) {
            let room = MOST.saturating_sub(field.value.len());
            let taken = bytes.len().min(room);
            field.value.extend_from_slice(&bytes[..taken]);
            // Counted when the limit is passed, not with each piece behind it.
            if taken < bytes.len() && room > 0 {
                self.cut += 1;
            }
        }
    }
}

/// The text is not of this format; what follows cannot be understood.
#[derive(Debug, PartialEq, Eq)]
pub struct Broken;

/// Takes the text in pieces of any size.
#[derive(Debug)]
pub struct Parser {
    wanted: Vec<String>,
    state: State,
    name: Vec<u8>,
    entry: Entry,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Name,
    /// Up to the end of the line.
    Text(Option<usize>),
    /// The length of the data: so many bytes of it are known.
    Size(Option<usize>, usize, [u8; 8]),
    Data(Option<usize>, u64),
    /// The newline behind the data.
    End,
}

impl Parser {
    /// Fields are known by their places in `wanted`.
    pub fn new(wanted: Vec<String>) -> Self {
        Parser {
            entry: Entry {
                fields: wanted.iter().map(|_| Field::default()).collect(),
                ..Entry::default()
            },
            wanted,
            state: State::Name,
            name: Vec::new(),
        }
    }

    /// Takes the next piece and hands each entry that is complete to `each`.
    ///
    /// # Errors
    /// See [`Broken`]; the entries before are handed over.
    pub fn feed(&mut self, mut bytes: &[u8], mut each: impl FnMut(&Entry)) -> Result<(), Broken> {
        while let Some(&first) = bytes.first() {
            match self.state {
                State::Name => {
                    let end = bytes.iter().position(|&b| b == b'=' || b == b'\n');
                    let part = &bytes[..end.unwrap_or(bytes.len())];
                    if self.name.len() + part.len() > LONGEST_NAME {
                        return Err(Broken);
                    }
                    self.name.extend_from_slice(part);
                    let Some(end) = end else { break };
                    let is_text = bytes[end] == b'=';
                    bytes = &bytes[end + 1..];
                    if self.name.is_empty() {
                        if is_text {
                            return Err(Broken);
                        }
                        if self.entry.any {
                            each(&self.entry);
                            self.entry.clear();
                        }
                        continue;
                    }
                    let field = self.begin_field();
                    self.state = if is_text {
                        State::Text(field)
                    } else {
                        State::Size(field, 0, [0; 8])
                    };
                }
                State::Text(field) => {
                    let end = memchr(bytes);
                    self.entry
                        .append(field, &bytes[..end.unwrap_or(bytes.len())]);
                    let Some(end) = end else { break };
                    bytes = &bytes[end + 1..];
                    self.state = State::Name;
                }
                State::Size(field, known, mut size) => {
                    size[known] = first;
                    bytes = &bytes[1..];
                    self.state = if known + 1 < size.len() {
                        State::Size(field, known + 1, size)
                    } else {
                        match u64::from_le_bytes(size) {
                            0 => State::End,
                            size if size >= ABSURD => return Err(Broken),
                            size => State::Data(field, size),
                        }
                    };
                }
                State::Data(field, left) => {
                    let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    self.entry.append(field, &bytes[..here]);
                    bytes = &bytes[here..];
                    self.state = match left - here as u64 {
                        0 => State::End,
                        left => State::Data(field, left),
                    };
                }
                State::End => {
                    if first != b'\n' {
                        return Err(Broken);
                    }
                    bytes = &bytes[1..];
                    self.state = State::Name;
                }
            }
        }
        Ok(())
    }

    /// The number of the field whose name is complete, if its value is wanted.
    fn begin_field(&mut self) -> Option<usize> {
        let name = std::mem::take(&mut self.name);
        let number = self.wanted.iter().position(|w| w.as_bytes() == name);
        self.name = name;
        self.name.clear();
        self.entry.any = true;
        let field = self.entry.fields.get_mut(number?)?;
        // The first of several values of one field counts.
        if field.present {
            return None;
        }
        field.present = true;
        number
    }
}

fn memchr(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|&b| b == b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binary(name: &str, data: &[u8]) -> Vec<u8> {
        let mut out = format!("{name}\n").into_bytes();
        out.extend_from_slice(&(data.len() as u64).to_le_bytes());
        out.extend_from_slice(data);
        out.push(b'\n');
        out
    }

    /// Each entry as `a|b` of the fields A and B, `-` for one that is absent.
    fn entries(text: &[u8], piece: usize) -> Result<Vec<String>, Broken> {
        let mut parser = Parser::new(vec!["A".into(), "B".into()]);
        let mut found = Vec::new();
        for piece in text.chunks(piece) {
            parser.feed(piece, |entry| {
                let show = |n| match entry.get(n) {
                    Some(value) => String::from_utf8_lossy(value).into_owned(),
                    None => "-".to_owned(),
                };
                found.push(format!("{}|{}", show(0), show(1)));
            })?;
        }
        Ok(found)
    }

    #[test]
    fn entries_are_the_same_however_the_text_is_cut_into_pieces() {
        let mut text = b"A=1=2\nOTHER=x\nB=\n\n\n\n".to_vec();
        text.extend(binary("A", b"two\nlines\n\nB=no"));
        text.extend(binary("SKIPPED", &[b'\n'; 300]));
        text.extend(binary("B", b""));
        text.extend(b"\nA=first\nA=second\n\nC=only\n\nA=not complete\n");
        let expected = ["1=2|", "two\nlines\n\nB=no|", "first|-", "-|-"];
        for piece in [1, 2, 3, 7, 64, 10_000] {
            assert_eq!(entries(&text, piece).unwrap(), expected, "{piece}");
        }
    }

    #[test]
    fn a_huge_field_is_cut_or_skipped_and_the_next_entry_is_whole() {
        let huge = vec![b'x'; 3 * MOST];
        let mut text = binary("A", &huge);
        text.extend(binary("COREDUMP", &huge));
        text.extend(b"B=");
        text.extend(&huge);
        text.extend(b"\n\nA=next\n\n");
        let mut parser = Parser::new(vec!["A".into(), "B".into()]);
        let mut sizes = Vec::new();
        for piece in text.chunks(65_536) {
            let each = |entry: &Entry| sizes.push((entry.get(0).unwrap().len(), entry.cut));
            parser.feed(piece, each).unwrap();
        }
        assert_eq!(sizes, [(MOST, 2), (4, 0)]);
        assert!(parser
            .entry
            .fields
            .iter()
            .all(|f| f.value.capacity() < MOST));
    }

    #[test]
    fn what_is_not_this_format_is_refused_at_once() {
        let mut absurd = b"A\n".to_vec();
        absurd.extend([0xff; 8]);
        let mut unended = binary("A", b"x");
        unended.pop();
        unended.extend(b"yz\n");
        for text in [&absurd[..], &unended, b"=x\n", &[b'x'; 1000]] {
            assert_eq!(entries(text, 5), Err(Broken));
        }
    }
}
