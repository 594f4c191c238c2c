//! The proof that a file holds a content: hashes of parts of the text before a position.
//!
//! Three parts, as each alone has failed: the **head**, as a file that was written anew may end as the
//! old one did; the last **lines**, as a writer may overwrite the end with each append (the bracket of a
//! JSON array); and **blocks** before the position at growing distances, as logs begin with equal
//! banners, and headers have counters.
//!
//! Nothing is compared with a clock. Two texts with the same evidence are one content to this agent.

mod binary;
mod pieces;

pub use pieces::Pieces;

pub use binary::Tip;

use super::super::identity::hash;
use super::mutants::{self, Mutant};
use std::io;

/// Reads the text of a file at an offset; short only at the end.
pub trait Bytes {
    /// How much was read.
    ///
    /// # Errors
    /// The error of the file system or of the decoder.
    fn read_at(&mut self, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Reads parts, each given by offset and length in bytes, in their order. Who has to decompress the
    /// text starts anew for each step back, so they are to be given at rising offsets.
    ///
    /// # Errors
    /// The error of [`read_at`](Bytes::read_at).
    fn read_parts(&mut self, parts: &[(u64, usize)]) -> io::Result<Vec<Vec<u8>>> {
        let read = |(from, len): &(u64, usize)| {
            let mut buf = vec![0; *len];
            let read = self.read_at(&mut buf, *from)?;
            buf.truncate(read);
            Ok(buf)
        };
        parts.iter().map(read).collect()
    }

    /// The length of the text in bytes. All of it is read for that.
    ///
    /// # Errors
    /// The error of [`read_at`](Bytes::read_at).
    fn length(&mut self) -> io::Result<u64> {
        let mut length = 0;
        let mut buf = vec![0; 64 << 10];
        loop {
            match self.read_at(&mut buf, length)? {
                0 => return Ok(length),
                read => length += read as u64,
            }
        }
    }
}

impl<T: Bytes + ?Sized> Bytes for &mut T {
    fn read_at(&mut self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        (**self).read_at(buf, offset)
    }
}

/// The most first bytes that are looked at.
pub const HEAD: usize = 1024;
/// The most bytes of a block; one before the position comes with each page.
pub const BLOCK: usize = 1024;
/// The most lines that are remembered one by one.
const LINES: usize = 8;
/// The most blocks that are remembered.
const BLOCKS: usize = 6;
/// The most bytes of the block that checkpoints of older versions have.
const MARK: usize = 32;
/// The distance of the second block from the position, in bytes; the next ones are 8 times as far each.
const NEAR: u64 = 8 * BLOCK as u64;

/// The first whole lines of a content, up to [`HEAD`] bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Head {
    hash: u32,
    len: u16,
}

impl Head {
    /// Of a text that begins with these bytes. A line without an end is left out, as its writer may take
    /// it back, but for the first one. Zeros at the end do not count: in a preallocated file text takes
    /// their place.
    pub fn of(text: &[u8]) -> Self {
        let text = without_zeros(&text[..text.len().min(HEAD)]);
        let whole = match text.len() {
            HEAD => text,
            _ if line_end(text) == 0 => text,
            _ => &text[..line_end(text)],
        };
        Head {
            hash: short(whole),
            len: whole.len() as u16,
        }
    }

    /// Nothing is known of it.
    pub fn is_empty(self) -> bool {
        self.len == 0
    }

    /// Whether a text that begins with these bytes may be the one that this was taken of.
    pub fn agrees(self, text: &[u8]) -> bool {
        self.is_empty()
            || text
                .get(..usize::from(self.len))
                .is_some_and(|text| short(text) == self.hash)
    }
}

/// A block of whole lines that ends some bytes before the position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Block {
    hash: u32,
    /// From its end to that of the evidence, in bytes.
    back: u32,
}

/// How the last lines compare.
#[derive(Debug, Default)]
struct Lines {
    /// The file is long enough to have this many of them.
    there: usize,
    /// This many are as they were.
    same: usize,
    /// The end of the last of these.
    upto: u64,
    /// Not all of these are one line repeated, as a banner's may be.
    is_distinct: bool,
}

/// The proof of a content. It has the size of two cache lines and holds no text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Evidence {
    /// The offset up to which the text is proved. It is a content's position, or beyond it where text was
    /// seen that was not read yet.
    end: u64,
    head: Head,
    lines: u8,
    blocks: u8,
    /// The only block is one of [`MARK`] bytes, whole lines or not, from a checkpoint of an older version.
    /// There are no lines then.
    is_mark: bool,
    /// Oldest first; the last one ends where the evidence does.
    line_hash: [u32; LINES],
    /// With the line's end, in bytes.
    line_len: [u16; LINES],
    /// Nearest first.
    block: [Block; BLOCKS],
}

/// The result of comparing a file with evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agreement {
    /// All text before the position is there, as far as hashes tell.
    Whole,
    /// It is the content, but its text was edited: up to this offset (a line's end) it is as it was.
    Upto(u64),
    /// It is another content.
    Not,
    /// Nothing is known that could agree.
    Unknown,
}

/// How each part of evidence compares with a file: of the parts that are known, how many agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Comparison {
    /// All together.
    pub agreement: Agreement,
    /// The length of the head in bytes (0: not known), and whether the file begins so.
    pub head: (u16, bool),
    /// Last lines that are as they were, of so many.
    pub lines: (usize, usize),
    /// Blocks before the end that are as they were, of so many.
    pub blocks: (usize, usize),
}

impl Agreement {
    /// A file that has no more than a banner in common with a content is not an edited one: it holds
    /// another content, and the first one may come back.
    ///
    /// # Errors
    /// The error of reading.
    pub fn or_other(self, of: &Evidence, bytes: &mut dyn Bytes) -> io::Result<Agreement> {
        Ok(match self {
            Agreement::Upto(upto) if !of.is_edited_at(upto, bytes)? => Agreement::Not,
            agreement => agreement,
        })
    }
}

impl Evidence {
    /// Up to where the text is proved.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Whether there is nothing that could agree.
    pub fn is_empty(&self) -> bool {
        self.end == 0 && self.head.is_empty()
    }

    /// Whether it tells more than that a line is repeated, as a banner's may be.
    pub fn is_distinct(&self) -> bool {
        let lines = &self.line_hash[..usize::from(self.lines)];
        lines.iter().any(|hash| *hash != lines[0])
    }

    /// Whether it tells more than a banner can that many files begin with, of equal lines or of several.
    pub fn is_told(&self) -> bool {
        self.is_distinct() && self.end > HEAD as u64
    }

    /// Whether a file that has the text up to this offset, and another one from there on, holds the text as it was
    /// edited: they have more in common than a banner, or all but the last lines (the bracket of a JSON array).
    ///
    /// # Errors
    /// The error of reading.
    pub fn is_edited_at(&self, upto: u64, bytes: &mut dyn Bytes) -> io::Result<bool> {
        if mutants::is(Mutant::PartIsEdit) {
            return Ok(true);
        }
        let lens = self.line_len[..usize::from(self.lines)].iter().rev();
        let last: u64 = lens.take(2).map(|len| u64::from(*len)).sum();
        let common = Evidence::taken(upto, bytes)?;
        Ok(common.is_told() || common.is_distinct() && self.end - upto <= last)
    }

    /// The text is the beginning of another one as well: nothing but its bytes is known of it.
    pub fn set_shared(&mut self) {
        (self.lines, self.line_hash, self.line_len) = (0, [0; LINES], [0; LINES]);
    }

    /// Whether a text that begins with these bytes may be the content's.
    pub fn head_agrees(&self, text: &[u8]) -> bool {
        self.head.agrees(text) || mutants::is(Mutant::HeadUnchecked)
    }

    /// The file was seen to begin so. A head may change while the content is the same (a counter).
    pub fn set_head(&mut self, head: Head) {
        self.head = head;
    }

    /// From a checkpoint of an older version: of the first `len` bytes (0: not known) and of the up to 32 bytes
    /// before `end` their FNV-1a hashes of 64 bits. It serves until the next look, or the next page, has seen more.
    pub fn of_older_version(end: u64, len: u16, head: u64, mark: Option<u64>) -> Evidence {
        let mut evidence = Evidence {
            end,
            ..Evidence::default()
        };
        if len > 0 {
            let hash = fold(head);
            evidence.head = Head { hash, len };
        }
        if let Some(mark) = mark.filter(|_| end > 0) {
            let hash = fold(mark);
            evidence.block[0] = Block { hash, back: 0 };
            evidence.blocks = 1;
            evidence.is_mark = true;
        }
        evidence
    }

    /// Of the text before `end`, a line's end, in a file that nobody has read so far.
    ///
    /// # Errors
    /// The error of reading.
    pub fn taken(end: u64, bytes: &mut dyn Bytes) -> io::Result<Evidence> {
        let distances = (0..BLOCKS as u32).map(|n| match n {
            0 => 0,
            n => NEAR << (3 * (n - 1)),
        });
        let distances: Vec<u64> = distances.take_while(|distance| *distance < end).collect();
        let mut parts = vec![(0, HEAD), part_before(end, 4 * BLOCK)];
        parts.extend(distances.iter().map(|d| part_before(end - d, 2 * BLOCK)));
        let pieces = Pieces::read(parts, bytes)?;
        let mut evidence = Evidence {
            end,
            head: Head::of(pieces.get(0, HEAD)),
            ..Evidence::default()
        };
        evidence.note_lines(pieces.before(end, 4 * BLOCK));
        for distance in distances {
            let about = pieces.before(end - distance, 2 * BLOCK);
            let last = line_end(about);
            let back = distance + (about.len() - last) as u64;
            // After a line that is longer than a block there is no block of whole lines
            let is_whole = last >= BLOCK || about.len() < 2 * BLOCK && last > 0;
            if let (Ok(back), true) = (u32::try_from(back), is_whole) {
                let hash = short(whole_lines(&about[last.saturating_sub(BLOCK)..last]));
                evidence.block[usize::from(evidence.blocks)] = Block { hash, back };
                evidence.blocks += 1;
            }
        }
        Ok(evidence)
    }

    /// The position moves from `position` over `page`, which ends with a line's end; `lead` are the bytes
    /// before it, at least [`BLOCK`] if there are so many.
    pub fn advance(&mut self, position: u64, lead: &[u8], page: &[u8]) {
        let end = position + page.len() as u64;
        if self.end >= end {
            // It was seen up to there
            return;
        }
        let is_seen = self.end == position;
        if position == 0 {
            self.head = Head::of(page);
        }
        self.move_to(end);
        if is_seen {
            self.note_lines(page);
        } else {
            self.lines = 0;
            self.note_lines(whole_lines(&[lead, page].concat()));
        }
        let from = page.len().saturating_sub(BLOCK);
        let short_by = BLOCK - (page.len() - from);
        let lead = &lead[lead.len().saturating_sub(short_by)..];
        let text = [lead, &page[from..]].concat();
        let hash = short(whole_lines(&text));
        self.thin(Block { hash, back: 0 });
    }

    /// Text was seen up to `end`, a line's end, that is not read yet: one read. Should the file be truncated
    /// and grow again before that, this tells.
    ///
    /// # Errors
    /// The error of reading.
    pub fn see(&mut self, end: u64, bytes: &mut dyn Bytes) -> io::Result<()> {
        if end < self.end || end == self.end && !self.is_mark {
            return Ok(());
        }
        let text = before(end, 4 * BLOCK, bytes)?;
        if (text.len() as u64) < end.min(4 * BLOCK as u64) {
            // It was truncated since its length was asked for
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.move_to(end);
        self.lines = 0;
        self.note_lines(&text);
        let hash = short(whole_lines(&text[text.len().saturating_sub(BLOCK)..]));
        self.thin(Block { hash, back: 0 });
        Ok(())
    }

    fn move_to(&mut self, end: u64) {
        let moved = u32::try_from(end - self.end).unwrap_or(u32::MAX);
        self.end = end;
        if self.is_mark {
            // The block that is noted next has its bytes
            (self.blocks, self.is_mark) = (0, false);
        }
        let count = usize::from(self.blocks);
        for block in &mut self.block[..count] {
            block.back = block.back.saturating_add(moved);
        }
    }

    /// Keeps the nearest block, and of each band of distances the farthest one, so that each comes to be
    /// the next band's in time.
    fn thin(&mut self, nearest: Block) {
        let band = |back: u32| match u64::from(back) {
            0 => 0,
            back => (1..)
                .find(|n| back < NEAR << (3 * (n - 1)) || *n == BLOCKS - 1)
                .unwrap_or(BLOCKS - 1),
        };
        let known = self.block;
        let mut kept = [None; BLOCKS];
        kept[0] = Some(nearest);
        for block in &known[..usize::from(self.blocks)] {
            // Beyond 4 GiB the distance is not known any more
            if block.back < u32::MAX {
                kept[band(block.back)] = Some(*block);
            }
        }
        self.blocks = 0;
        for block in kept.into_iter().flatten() {
            self.block[usize::from(self.blocks)] = block;
            self.blocks += 1;
        }
    }

    fn note_lines(&mut self, text: &[u8]) {
        let mut last: Vec<&[u8]> = Vec::with_capacity(LINES);
        let mut end = text.len();
        while end > 0 && last.len() < LINES {
            let start = line_end(&text[..end - 1]);
            last.push(&text[start..end]);
            end = start;
        }
        for line in last.into_iter().rev() {
            let Ok(len) = u16::try_from(line.len()) else {
                // Where the lines before it end can't be told any more
                self.lines = 0;
                continue;
            };
            if usize::from(self.lines) == LINES {
                self.line_hash.rotate_left(1);
                self.line_len.rotate_left(1);
                self.lines -= 1;
            }
            let at = usize::from(self.lines);
            (self.line_hash[at], self.line_len[at]) = (short(line), len);
            self.lines += 1;
        }
    }

    /// Whether a page that follows these bytes may be the content's: the check that costs no call, as
    /// the bytes come with the page.
    pub fn follows(&self, lead: &[u8]) -> bool {
        let last = self.block[..usize::from(self.blocks)].first();
        let last = last.filter(|block| block.back == 0);
        mutants::is(Mutant::LeadUnchecked)
            || last.is_none_or(|block| {
                let lead = match self.is_mark {
                    true => &lead[lead.len().saturating_sub(MARK)..],
                    false => whole_lines(&lead[lead.len().saturating_sub(BLOCK)..]),
                };
                block.hash == short(lead)
            })
    }

    /// Compares the head and the text right before the position: two reads.
    ///
    /// # Errors
    /// The error of reading.
    pub fn agrees_nearby(&self, bytes: &mut dyn Bytes) -> io::Result<bool> {
        if !self.head.agrees(&head_bytes(bytes)?) && !mutants::is(Mutant::HeadUnchecked) {
            return Ok(false);
        }
        let lead = before(self.end, BLOCK, bytes)?;
        Ok(lead.len() as u64 == self.end.min(BLOCK as u64) && self.follows(&lead))
    }

    /// Compares the head alone.
    ///
    /// # Errors
    /// The error of reading.
    pub fn begins(&self, bytes: &mut dyn Bytes) -> io::Result<bool> {
        let is_checked = !mutants::is(Mutant::HeadUnchecked);
        Ok(!is_checked || !self.head.is_empty() && self.head.agrees(&head_bytes(bytes)?))
    }

    /// Compares everything with a file. Of one that is shorter than the text that was known, as is a copy
    /// whose original has grown since, only what is there is compared.
    ///
    /// # Errors
    /// The error of reading.
    pub fn compare(&self, bytes: &mut dyn Bytes) -> io::Result<Agreement> {
        self.compare_parts(bytes).map(|parts| parts.agreement)
    }

    /// The same with the parts that it rests on.
    ///
    /// # Errors
    /// The error of reading.
    pub fn compare_parts(&self, bytes: &mut dyn Bytes) -> io::Result<Comparison> {
        let pieces = Pieces::read(self.parts().collect(), bytes)?;
        let head = self.head.agrees(pieces.get(0, HEAD));
        let mut compared = Comparison {
            agreement: Agreement::Unknown,
            head: (self.head.len, head),
            lines: (0, self.lines.into()),
            blocks: (0, self.blocks.into()),
        };
        if self.lines == 0 && self.blocks == 0 {
            compared.agreement = match (self.head.is_empty(), head) {
                (true, _) => Agreement::Unknown,
                (false, true) => Agreement::Whole,
                (false, false) => Agreement::Not,
            };
            return Ok(compared);
        }
        if self.is_mark {
            let mark = before(self.end, MARK, bytes)?;
            let is_there = mark.len() as u64 == self.end.min(MARK as u64);
            let is_same = is_there && self.follows(&mark);
            compared.blocks.0 = is_same.into();
            // Many texts have such bytes in common: they can only say no
            compared.agreement = match head && is_same {
                false => Agreement::Not,
                true if self.head.is_empty() => Agreement::Unknown,
                true => Agreement::Whole,
            };
            return Ok(compared);
        }
        let (mut parts, mut agree, mut upto) = (0, 0, 0);
        let mut is_other = false;
        for (end, hash) in self.blocks() {
            let text = pieces.before(end, BLOCK);
            if (text.len() as u64) < end.min(BLOCK as u64) {
                is_other = true;
                continue;
            }
            parts += 1;
            if short(whole_lines(text)) == hash {
                agree += 1;
                upto = upto.max(end);
            }
        }
        compared.blocks.0 = agree;
        if self.lines > 0 {
            let lines = self.compare_lines(&pieces);
            compared.lines.0 = lines.same;
            is_other |= lines.same < usize::from(self.lines);
            if lines.there > 0 {
                parts += 1;
                let is_proof = lines.is_distinct || lines.same == lines.there;
                agree += usize::from(is_proof && 2 * lines.same >= lines.there);
            }
            upto = upto.max(lines.upto);
        }
        // With another head, a banner in common is no proof
        let is_told = head || self.is_distinct();
        compared.agreement = match is_told && 2 * agree >= parts && upto > 0 {
            true if agree == parts && upto == self.end && !is_other => Agreement::Whole,
            true => Agreement::Upto(upto.min(self.end)),
            false => Agreement::Not,
        };
        Ok(compared)
    }

    /// For a checkpoint: hexadecimal, at most 226 bytes. The first digit is the version of this form.
    pub fn to_text(&self) -> String {
        let (lines, blocks) = (usize::from(self.lines), usize::from(self.blocks));
        let mut text = format!(
            "{FORM}{lines}{blocks}{}{:016x}{:04x}{:08x}",
            u8::from(self.is_mark),
            self.end,
            self.head.len,
            self.head.hash
        );
        for (hash, len) in self.line_hash.iter().zip(self.line_len).take(lines) {
            text += &format!("{hash:08x}{len:04x}");
        }
        for block in &self.block[..blocks] {
            text += &format!("{:08x}{:08x}", block.hash, block.back);
        }
        text
    }

    /// For a person: how much of the text is known, and nothing of the text.
    pub fn in_words(&self) -> String {
        if self.is_empty() {
            return "known by its inode and its position alone".to_owned();
        }
        let count = crate::util::words::count;
        format!(
            "known by its first {}, {} and {} before byte {}",
            count(self.head.len.into(), "byte"),
            count(self.lines.into(), "line"),
            count(self.blocks.into(), "block"),
            self.end
        )
    }

    /// From that text. `None` where it is of another version, or nothing that this can have written.
    pub fn from_text(text: &str) -> Option<Evidence> {
        let mut digits = Digits(text.strip_prefix(FORM)?);
        let mut evidence = Evidence {
            lines: digits.take(1)?,
            blocks: digits.take(1)?,
            is_mark: digits.take::<u8>(1)? == 1,
            end: digits.take(16)?,
            ..Evidence::default()
        };
        evidence.head.len = digits.take(4)?;
        evidence.head.hash = digits.take(8)?;
        let (lines, blocks) = (usize::from(evidence.lines), usize::from(evidence.blocks));
        let mut all = 0;
        for at in 0..lines {
            *evidence.line_hash.get_mut(at)? = digits.take(8)?;
            let len = digits.take(4)?;
            *evidence.line_len.get_mut(at)? = len;
            all += u64::from(len);
        }
        for at in 0..blocks {
            let (hash, back) = (digits.take(8)?, digits.take(8)?);
            *evidence.block.get_mut(at)? = Block { hash, back };
        }
        let is_mark = (lines, blocks, evidence.block[0].back, evidence.end > 0) == (0, 1, 0, true);
        let makes_sense = digits.0.is_empty()
            && i64::try_from(evidence.end).is_ok()
            && usize::from(evidence.head.len) <= HEAD
            && all <= evidence.end
            && evidence.line_len[..lines].iter().all(|len| *len > 0)
            && (is_mark || !evidence.is_mark);
        makes_sense.then_some(evidence)
    }

    /// Ends and hashes of the blocks.
    fn blocks(&self) -> impl Iterator<Item = (u64, u32)> + '_ {
        let blocks = self.block[..usize::from(self.blocks)].iter();
        blocks.filter_map(|block| Some((self.end.checked_sub(block.back.into())?, block.hash)))
    }

    /// The parts of a text that are compared: offsets and lengths in bytes, in no order.
    pub fn parts(&self) -> impl Iterator<Item = (u64, usize)> + '_ {
        let blocks = self.blocks().map(|(end, _)| part_before(end, BLOCK));
        let lines = part_before(self.end, self.lines_len());
        blocks.chain([(0, HEAD), lines])
    }

    /// Whether a text that begins with these bytes may be it, as far as its head tells.
    pub fn may_begin(&self, text: &[u8]) -> bool {
        self.head.agrees(text)
    }

    /// The length of the last lines in bytes.
    fn lines_len(&self) -> usize {
        let lens = self.line_len[..usize::from(self.lines)].iter();
        lens.map(|len| usize::from(*len)).sum()
    }

    fn compare_lines(&self, pieces: &Pieces) -> Lines {
        let lens = &self.line_len[..usize::from(self.lines)];
        let all = self.lines_len();
        let text = pieces.before(self.end, all);
        let mut at = 0;
        let mut lines = Lines::default();
        let mut first = None;
        let from = self.end - all as u64;
        for (len, hash) in lens.iter().zip(self.line_hash) {
            let end = at + usize::from(*len);
            if let Some(line) = text.get(at..end) {
                lines.there += 1;
                if short(line) == hash {
                    lines.same += 1;
                    lines.upto = from + end as u64;
                    lines.is_distinct |= *first.get_or_insert(hash) != hash;
                }
            }
            at = end;
        }
        lines
    }
}

/// Offset and length of the part that ends there, or of what there is.
fn part_before(end: u64, len: usize) -> (u64, usize) {
    let from = end.saturating_sub(len as u64);
    (from, (end - from) as usize)
}

/// The version of the text form.
const FORM: &str = "1";

/// Numbers of fixed widths in hexadecimal.
struct Digits<'a>(&'a str);

impl Digits<'_> {
    fn take<T: TryFrom<u64>>(&mut self, width: usize) -> Option<T> {
        let (digits, rest) = self.0.split_at_checked(width)?;
        self.0 = rest;
        // A sign is no digit
        let is_hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
        let value = u64::from_str_radix(digits, 16).ok().filter(|_| is_hex)?;
        T::try_from(value).ok()
    }
}

/// The head of a file.
///
/// # Errors
/// The error of reading.
pub fn head_of(bytes: &mut dyn Bytes) -> io::Result<Head> {
    Ok(Head::of(&head_bytes(bytes)?))
}

/// The first bytes of a file, up to [`HEAD`].
///
/// # Errors
/// The error of reading.
pub fn head_bytes(bytes: &mut dyn Bytes) -> io::Result<Vec<u8>> {
    before(HEAD as u64, HEAD, bytes)
}

/// The bytes from `len` before `end` on, or from the start; fewer where the text is shorter.
pub fn before(end: u64, len: usize, bytes: &mut dyn Bytes) -> io::Result<Vec<u8>> {
    let from = end.saturating_sub(len as u64);
    let mut buf = vec![0; (end - from) as usize];
    let read = bytes.read_at(&mut buf, from)?;
    buf.truncate(read);
    Ok(buf)
}

/// The text before the zeros that it ends with.
pub fn without_zeros(text: &[u8]) -> &[u8] {
    &text[..text.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1)]
}

/// After the last line's end; 0 without one.
pub fn line_end(text: &[u8]) -> usize {
    text.iter()
        .rposition(|b| *b == b'\n')
        .map_or(0, |at| at + 1)
}

/// The block's text without a line that may have begun before it, unless it is nothing else.
fn whole_lines(text: &[u8]) -> &[u8] {
    if text.len() < BLOCK {
        return text;
    }
    let first = text.iter().position(|b| *b == b'\n').map_or(0, |at| at + 1);
    if first == text.len() {
        return text;
    }
    &text[first..]
}

fn short(bytes: &[u8]) -> u32 {
    fold(hash(bytes))
}

fn fold(long: u64) -> u32 {
    (long ^ (long >> 32)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Bytes for &[u8] {
        fn read_at(&mut self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
            let rest = self.get(offset as usize..).unwrap_or(&[]);
            let len = rest.len().min(buf.len());
            buf[..len].copy_from_slice(&rest[..len]);
            Ok(len)
        }
    }

    fn lines(range: std::ops::Range<u32>) -> Vec<u8> {
        range
            .flat_map(|n| format!("line {n:09} ends so\n").into_bytes())
            .collect()
    }

    fn evidence(text: &[u8], page: usize) -> Evidence {
        let mut evidence = Evidence::default();
        let mut at = 0;
        while at < text.len() {
            let end = (at + page).min(text.len());
            let end = at + line_end(&text[at..end]);
            evidence.advance(at as u64, &text[..at], &text[at..end]);
            at = end;
        }
        evidence
    }

    fn compare(then: &[u8], page: usize, now: &[u8]) -> Agreement {
        let mut now = now;
        evidence(then, page).compare(&mut now).unwrap()
    }

    #[test]
    fn what_was_only_appended_to_agrees_however_it_was_read() {
        let text = lines(0..20_000);
        for page in [30, 1_000, 70_000] {
            for then in [2_500, 30_000, 400_000] {
                let then = &text[..line_end(&text[..then])];
                assert_eq!(compare(then, page, &text), Agreement::Whole, "{page}");
                let taken = Evidence::taken(then.len() as u64, &mut &text[..]).unwrap();
                let again = taken.compare(&mut &text[..]).unwrap();
                assert_eq!(again, Agreement::Whole);
            }
        }
        assert_eq!(usize::from(evidence(&text, 1_000).blocks), 4);
    }

    #[test]
    fn a_bracket_that_each_append_overwrites_repeats_one_line() {
        for count in [1, 5, 300] {
            let array = |count| [&b"[\n"[..], &lines(0..count), b"]\n"].concat();
            let (then, now) = (array(count), array(count + 2));
            let bracket = then.len() as u64 - 2;
            assert_eq!(
                compare(&then, 500, &now),
                Agreement::Upto(bracket),
                "{count}"
            );
        }
    }

    #[test]
    fn a_counter_in_the_header_repeats_nothing() {
        let text = |n: u32| [format!("{n:04} records\n").into_bytes(), lines(0..500)].concat();
        let all = text(1).len() as u64;
        assert_eq!(compare(&text(1), 900, &text(2)), Agreement::Upto(all));
    }

    #[test]
    fn an_equal_banner_is_not_the_same_content() {
        let banner = b"a banner line, always the same\n".repeat(60);
        let then = [&banner[..], &lines(0..400)].concat();
        let now = [&banner[..], &lines(1_000..3_000)].concat();
        assert_eq!(compare(&then, 900, &now), Agreement::Not);
    }

    #[test]
    fn evidence_is_read_back_as_it_was_written_down() {
        let text = lines(0..20_000);
        for len in [0, 30, 500, 1_100, 70_000, 460_000] {
            let len = line_end(&text[..len]);
            for known in [
                evidence(&text[..len], 1_000),
                Evidence::taken(len as u64, &mut &text[..]).unwrap(),
                older_version(&text[..len], 1_024),
            ] {
                let written = known.to_text();
                assert!(written.len() <= 226, "{written}");
                assert_eq!(Evidence::from_text(&written), Some(known), "{written}");
            }
        }
    }

    #[test]
    fn nonsense_is_no_evidence() {
        let text = lines(0..1_000);
        let valid = evidence(&text, 900).to_text();
        for at in 0..valid.len() {
            assert_eq!(Evidence::from_text(&valid[..at]), None, "{at}");
            for other in ["", "0", "9", "f", "+", "é", "\0"] {
                let damaged = [&valid[..at], other, &valid[at + 1..]].concat();
                if let Some(read) = Evidence::from_text(&damaged) {
                    // It can be compared and moved on all the same
                    let mut read = read;
                    let _ = read.compare(&mut &text[..]).unwrap();
                    let _ = read.agrees_nearby(&mut &text[..]).unwrap();
                    let _ = read.is_distinct();
                    read.advance(text.len() as u64, &text, b"more\n");
                }
            }
        }
        let bits = |lines, blocks, mark, end: u64, head: u16| {
            format!("1{lines}{blocks}{mark}{end:016x}{head:04x}00000000")
        };
        assert!(Evidence::from_text(&bits(0, 0, 0, 7, 7)).is_some());
        let line = bits(1, 0, 0, 7, 7) + "000000000008";
        assert_eq!(Evidence::from_text(&line), None, "a line before the start");
        assert_eq!(Evidence::from_text(&bits(0, 0, 1, 7, 7)), None);
        assert_eq!(Evidence::from_text(&bits(0, 0, 0, u64::MAX, 7)), None);
        assert_eq!(Evidence::from_text(&bits(0, 0, 0, 7, 1_025)), None);
        let many = bits(9, 0, 0, 900, 7) + &"000000000001".repeat(9);
        assert_eq!(Evidence::from_text(&many), None);
        let many = bits(0, 7, 0, 900, 7) + &"0000000000000001".repeat(7);
        assert_eq!(Evidence::from_text(&many), None);
        let other_version = valid.replacen('1', "2", 1);
        assert_eq!(Evidence::from_text(&other_version), None);
    }

    /// As an older version has written it down of a text that was read to its end.
    fn older_version(text: &[u8], head: usize) -> Evidence {
        let head = &text[..head.min(text.len())];
        let mark = hash(&text[text.len().saturating_sub(MARK)..]);
        Evidence::of_older_version(text.len() as u64, head.len() as u16, hash(head), Some(mark))
    }

    #[test]
    fn what_an_older_version_knew_tells_a_text_from_others() {
        let text = lines(0..500);
        for len in [10, 24, 31, 32, 33, 1_023, 1_024, 5_000, text.len()] {
            let old = older_version(&text[..len], 1_024);
            assert_eq!(old.compare(&mut &text[..]).unwrap(), Agreement::Whole);
            assert!(old.agrees_nearby(&mut &text[..]).unwrap());
            assert!(old.follows(&text[..len]));
            // It begins alike
            let end = len - len.min(20);
            let other = [&text[..end], &b"x".repeat(5_000)].concat();
            assert_eq!(old.compare(&mut &other[..]).unwrap(), Agreement::Not);
            assert!(!old.agrees_nearby(&mut &other[..]).unwrap());
            // It ends alike
            let other = [b"X", &text[1..]].concat();
            assert_eq!(old.compare(&mut &other[..]).unwrap(), Agreement::Not);
            // It was shortened
            let short = &text[..len - 1];
            assert_eq!(old.compare(&mut &short[..]).unwrap(), Agreement::Not);
        }
    }

    #[test]
    fn the_bytes_before_a_position_prove_nothing_alone() {
        let text = lines(0..500);
        let old = older_version(&text[..6_000], 0);
        assert_eq!(old.compare(&mut &text[..]).unwrap(), Agreement::Unknown);
        let other = lines(500..1_000);
        assert_eq!(old.compare(&mut &other[..]).unwrap(), Agreement::Not);
    }

    #[test]
    fn what_an_older_version_knew_is_replaced_by_the_next_look_or_page() {
        let text = lines(0..500);
        let len = line_end(&text[..6_000]);
        let mut seen = older_version(&text[..len], 1_024);
        seen.see(len as u64, &mut &text[..]).unwrap();
        let mut read = older_version(&text[..len], 1_024);
        let next = len + line_end(&text[len..len + 100]);
        read.advance(len as u64, &text[..len], &text[len..next]);
        // Both begin as before, and have nothing in common with that a few lines before the end
        let edited = |end: usize| [&text[..end - 300], &b"y".repeat(300), &text[end..]].concat();
        for (evidence, end) in [(seen, len), (read, next)] {
            assert!(evidence.is_distinct() && !evidence.is_mark);
            assert_eq!(evidence.compare(&mut &text[..]).unwrap(), Agreement::Whole);
            assert!(evidence.agrees_nearby(&mut &text[..]).unwrap());
            let other = edited(end);
            assert_ne!(evidence.compare(&mut &other[..]).unwrap(), Agreement::Whole);
        }
    }
}
