//! Tape archives as `tar` writes them: POSIX ustar, with the extended headers of pax and GNU for
//! long names. Reading trusts nothing: checksums are checked, and what an entry may be called is
//! the caller's to decide by [`safe_path`].

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

const BLOCK: usize = 512;

/// A name in an extended header has at most so many bytes.
const MOST_EXTENDED: u64 = 64 << 10;

/// The type of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Folder,
    /// A symbolic link to this.
    Link(PathBuf),
    /// Anything else: devices, hard links, sparse files. The type's letter.
    Other(char),
}

/// An entry's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// As it stands in the archive.
    pub(super) name: PathBuf,
    pub(super) kind: Kind,
    /// Bytes of content that follow.
    pub(super) size: u64,
    /// The lower twelve bits.
    pub(super) mode: u32,
}

/// The header of a file in an archive that is written.
#[derive(Debug, Clone, Default)]
pub(super) struct Look {
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) user: String,
    pub(super) group: String,
    /// Seconds since the epoch.
    pub(super) modified: u64,
}

/// Adds a file to an archive.
///
/// # Errors
/// The name is longer than 65535 bytes, or the archive can't be written.
pub(super) fn put(to: &mut impl Write, name: &Path, look: &Look, content: &[u8]) -> io::Result<()> {
    let bytes = name.as_os_str().as_bytes();
    if bytes.len() > 100 {
        if bytes.len() > usize::from(u16::MAX) {
            return Err(io::Error::other("a name is too long"));
        }
        let record = pax_record("path", bytes);
        to.write_all(&header(b"pax", b'x', record.len(), &Look::default()))?;
        padded(to, &record)?;
    }
    let short = &bytes[..bytes.len().min(100)];
    to.write_all(&header(short, b'0', content.len(), look))?;
    padded(to, content)
}

/// Ends an archive.
///
/// # Errors
/// It can't be written.
pub(super) fn end(to: &mut impl Write) -> io::Result<()> {
    to.write_all(&[0; 2 * BLOCK])
}

fn padded(to: &mut impl Write, content: &[u8]) -> io::Result<()> {
    to.write_all(content)?;
    to.write_all(&[0; BLOCK][..padding(content.len() as u64)])
}

fn padding(size: u64) -> usize {
    // Below 512
    ((BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64) as usize
}

/// `LENGTH key=value\n`, where the length counts itself.
fn pax_record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length += 1;
    }
    let mut record = format!("{length} {key}=").into_bytes();
    record.extend_from_slice(value);
    record.push(b'\n');
    record
}

fn header(name: &[u8], kind: u8, size: usize, look: &Look) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut text = |from: usize, value: &[u8]| {
        block[from..from + value.len()].copy_from_slice(value);
    };
    let octal = |value: u64, digits: usize| format!("{value:0digits$o}").into_bytes();
    // An id that the field can't hold (above 2 million) is 0, and the name tells the owner.
    let id = |id: u32| octal(u64::from(if id < 1 << 21 { id } else { 0 }), 7);
    text(0, name);
    text(100, &octal(u64::from(look.mode & 0o7777), 7));
    text(108, &id(look.uid));
    text(116, &id(look.gid));
    text(124, &octal(size as u64, 11));
    text(136, &octal(look.modified & 0o77_777_777_777, 11));
    text(148, b"        ");
    text(156, &[kind]);
    text(257, b"ustar\x0000");
    text(265, &look.user.as_bytes()[..look.user.len().min(31)]);
    text(297, &look.group.as_bytes()[..look.group.len().min(31)]);
    let sum = format!("{:06o}\0 ", checksum(&block));
    block[148..156].copy_from_slice(sum.as_bytes());
    block
}

fn checksum(block: &[u8; BLOCK]) -> u32 {
    let blanks = 8 * u32::from(b' ');
    let sum = |bytes: &[u8]| bytes.iter().map(|b| u32::from(*b)).sum::<u32>();
    sum(&block[..148]) + blanks + sum(&block[156..])
}

/// Reads an archive front to back.
pub(super) struct Reader<R> {
    from: R,
    /// Unread bytes of the entry that was given out last.
    left: u64,
    padding: usize,
}

impl<R: Read> Reader<R> {
    pub(super) fn new(from: R) -> Self {
        Reader {
            from,
            left: 0,
            padding: 0,
        }
    }

    /// The next entry; what was not read of the last one is skipped. `None` at the end.
    ///
    /// # Errors
    /// It is no archive, is cut short, or can't be read.
    pub(super) fn next(&mut self) -> io::Result<Option<Entry>> {
        let mut name = None;
        let mut link = None;
        let mut size = None;
        loop {
            self.skip()?;
            let Some(block) = self.block()? else {
                return Ok(None);
            };
            let stated = number(&block[124..136])?;
            let kind = block[156];
            match kind {
                b'x' | b'g' => {
                    for (key, value) in pax(&self.extension(stated)?)? {
                        match key.as_str() {
                            // Values for all entries of the archive are not used here.
                            _ if kind == b'g' => {}
                            "path" => name = Some(value),
                            "linkpath" => link = Some(value),
                            "size" => {
                                let text = String::from_utf8_lossy(&value);
                                let number = text.parse().map_err(|_| bad("a size"))?;
                                size = Some(number);
                            }
                            _ => {}
                        }
                    }
                    continue;
                }
                b'L' => {
                    name = Some(until_zero(&self.extension(stated)?).to_vec());
                    continue;
                }
                b'K' => {
                    link = Some(until_zero(&self.extension(stated)?).to_vec());
                    continue;
                }
                _ => {}
            }
            let has_content = matches!(kind, b'0' | 0 | b'7');
            let size = if has_content {
                size.unwrap_or(stated)
            } else {
                0
            };
            self.left = size;
            self.padding = padding(size);
            let name = name.unwrap_or_else(|| plain_name(&block));
            let link = link.unwrap_or_else(|| until_zero(&block[157..257]).to_vec());
            let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
            return Ok(Some(Entry {
                kind: match kind {
                    b'5' => Kind::Folder,
                    b'2' => Kind::Link(path(&link)),
                    // Old archives mark a folder so
                    _ if has_content && name.ends_with(b"/") => Kind::Folder,
                    _ if has_content => Kind::File,
                    other => Kind::Other(char::from(other)),
                },
                name: path(&name),
                size,
                mode: u32::try_from(number(&block[100..108])? & 0o7777).unwrap_or(0),
            }));
        }
    }

    /// A block that is not the end.
    fn block(&mut self) -> io::Result<Option<[u8; BLOCK]>> {
        let mut block = [0; BLOCK];
        self.from.read_exact(&mut block)?;
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let stated = number(&block[148..156])?;
        if stated != u64::from(checksum(&block)) {
            return Err(bad("a checksum"));
        }
        Ok(Some(block))
    }

    fn extension(&mut self, size: u64) -> io::Result<Vec<u8>> {
        if size > MOST_EXTENDED {
            return Err(bad("an extended header"));
        }
        self.left = size;
        self.padding = padding(size);
        let mut content = Vec::new();
        self.read_to_end(&mut content)?;
        if content.len() as u64 != size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(content)
    }

    fn skip(&mut self) -> io::Result<()> {
        let rest = self.left + self.padding as u64;
        let skipped = io::copy(&mut (&mut self.from).take(rest), &mut io::sink())?;
        self.left = 0;
        self.padding = 0;
        if skipped == rest {
            Ok(())
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }
}

/// The content of the entry that was given out last.
impl<R: Read> Read for Reader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).map_or(buf.len(), |left| left.min(buf.len()));
        let count = self.from.read(&mut buf[..most])?;
        if count == 0 && most > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= count as u64;
        Ok(count)
    }
}

fn plain_name(block: &[u8; BLOCK]) -> Vec<u8> {
    let name = until_zero(&block[..100]);
    let prefix = until_zero(&block[345..500]);
    // GNU archives have times where POSIX ones have the prefix.
    if &block[257..263] == b"ustar\0" && !prefix.is_empty() {
        [prefix, b"/", name].concat()
    } else {
        name.to_vec()
    }
}

fn until_zero(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or(bytes)
}

/// Octal digits between blanks and zero bytes; with the highest bit set, binary.
fn number(field: &[u8]) -> io::Result<u64> {
    if field[0] & 0x80 != 0 {
        let (head, tail) = field.split_at(field.len() - 8);
        let fits = match head {
            [] => true,
            [first, rest @ ..] => *first == 0x80 && rest.iter().all(|byte| *byte == 0),
        };
        return match <[u8; 8]>::try_from(tail) {
            Ok(tail) if fits => Ok(u64::from_be_bytes(tail) & !(1 << 63)),
            _ => Err(bad("a number")),
        };
    }
    let text = until_zero(field).trim_ascii();
    text.iter().try_fold(0_u64, |value, digit| match digit {
        b'0'..=b'7' => Ok((value << 3) | u64::from(digit - b'0')),
        _ => Err(bad("a number")),
    })
}

fn pax(mut records: &[u8]) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut all = Vec::new();
    while !records.is_empty() {
        let wrong = || bad("an extended header");
        let blank = memchr::memchr(b' ', records).ok_or_else(wrong)?;
        let length: usize = std::str::from_utf8(&records[..blank])
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or_else(wrong)?;
        let record = records
            .get(blank + 1..length)
            .and_then(|record| record.strip_suffix(b"\n"))
            .ok_or_else(wrong)?;
        let equals = memchr::memchr(b'=', record).ok_or_else(wrong)?;
        let key = String::from_utf8_lossy(&record[..equals]).into_owned();
        all.push((key, record[equals + 1..].to_vec()));
        records = &records[length..];
    }
    Ok(all)
}

fn bad(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("this is no tar archive, or it is damaged: {what} in it is wrong"),
    )
}

/// The path as one that leads to nowhere but below the folder it is unpacked in: no `..`, not
/// absolute, not empty. A leading `./` and a trailing slash don't count.
pub(super) fn safe_path(name: &Path) -> Option<PathBuf> {
    if name.as_os_str().as_bytes().contains(&0) {
        return None;
    }
    let mut path = PathBuf::new();
    for component in name.components() {
        match component {
            Component::Normal(part) => path.push(part),
            Component::CurDir => {}
            _ => return None,
        }
    }
    (!path.as_os_str().is_empty()).then_some(path)
}

#[cfg(test)]
#[path = "tar_tests.rs"]
mod tests;
