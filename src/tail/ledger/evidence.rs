//! The proof that a file holds a content: hashes of parts of the text before a position.
//!
//! Three parts, as each alone has failed: the **head**, as a file that was written anew may end as the
//! old one did; the last **lines**, as a writer may overwrite the end with each append (the bracket of a
//! JSON array); and **blocks** before the position at growing distances, as logs begin with equal
//! banners, and headers have counters.
//!
//! Nothing is compared with a clock. Two texts with the same evidence are one content to this agent.

use super::super::identity::hash;
use std::io;

/// Reads the text of a file at an offset; short only at the end.
pub trait Bytes {
    /// How much was read.
    ///
    /// # Errors
    /// The error of the file system or of the decoder.
    fn read_at(&mut self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
}

/// The most first bytes that are looked at.
pub const HEAD: usize = 1024;
/// The most bytes of a block; one before the position comes with each page.
pub const BLOCK: usize = 1024;
/// The most lines that are remembered one by one.
const LINES: usize = 8;
/// The most blocks that are remembered.
const BLOCKS: usize = 6;
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
    /// it back, but for the first one.
    pub fn of(text: &[u8]) -> Self {
        let text = &text[..text.len().min(HEAD)];
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
        text.get(..usize::from(self.len))
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

    /// The file was seen to begin so. A head may change while the content is the same (a counter).
    pub fn set_head(&mut self, head: Head) {
        self.head = head;
    }

    /// Of the text before `end`, a line's end, in a file that nobody has read so far.
    ///
    /// # Errors
    /// The error of reading.
    pub fn taken(end: u64, bytes: &mut dyn Bytes) -> io::Result<Evidence> {
        let mut evidence = Evidence {
            end,
            head: head_of(bytes)?,
            ..Evidence::default()
        };
        let last = before(end, 4 * BLOCK, bytes)?;
        evidence.note_lines(&last);
        let mut distance = 0;
        while distance < end && usize::from(evidence.blocks) < BLOCKS {
            let about = before(end - distance, 2 * BLOCK, bytes)?;
            let last = line_end(&about);
            let back = distance + (about.len() - last) as u64;
            // After a line that is longer than a block there is no block of whole lines
            let is_whole = last >= BLOCK || about.len() < 2 * BLOCK && last > 0;
            if let (Ok(back), true) = (u32::try_from(back), is_whole) {
                let hash = short(whole_lines(&about[last.saturating_sub(BLOCK)..last]));
                evidence.block[usize::from(evidence.blocks)] = Block { hash, back };
                evidence.blocks += 1;
            }
            distance = if distance == 0 { NEAR } else { distance * 8 };
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
        if end <= self.end {
            return Ok(());
        }
        let text = before(end, 4 * BLOCK, bytes)?;
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
        last.is_none_or(|block| {
            let lead = &lead[lead.len().saturating_sub(BLOCK)..];
            block.hash == short(whole_lines(lead))
        })
    }

    /// Compares the head and the text right before the position: two reads.
    ///
    /// # Errors
    /// The error of reading.
    pub fn agrees_nearby(&self, bytes: &mut dyn Bytes) -> io::Result<bool> {
        if !self.head.agrees(&head_bytes(bytes)?) {
            return Ok(false);
        }
        let lead = before(self.end, BLOCK, bytes)?;
        Ok(lead.len() as u64 == self.end.min(BLOCK as u64) && self.follows(&lead))
    }

    /// Compares everything with a file. Of one that is shorter than the text that was known, as is a copy
    /// whose original has grown since, only what is there is compared.
    ///
    /// # Errors
    /// The error of reading.
    pub fn compare(&self, bytes: &mut dyn Bytes) -> io::Result<Agreement> {
        let head = self.head.agrees(&head_bytes(bytes)?);
        if self.lines == 0 && self.blocks == 0 {
            return Ok(match (self.head.is_empty(), head) {
                (true, _) => Agreement::Unknown,
                (false, true) => Agreement::Whole,
                (false, false) => Agreement::Not,
            });
        }
        let (mut parts, mut agree, mut upto) = (0, 0, 0);
        let mut is_other = false;
        for block in &self.block[..usize::from(self.blocks)] {
            let Some(end) = self.end.checked_sub(block.back.into()) else {
                continue;
            };
            let text = before(end, BLOCK, bytes)?;
            if (text.len() as u64) < end.min(BLOCK as u64) {
                is_other = true;
                continue;
            }
            parts += 1;
            if short(whole_lines(&text)) == block.hash {
                agree += 1;
                upto = upto.max(end);
            }
        }
        if self.lines > 0 {
            let lines = self.compare_lines(bytes)?;
            is_other |= lines.same < usize::from(self.lines);
            if lines.there > 0 {
                parts += 1;
                agree += u32::from(2 * lines.same >= lines.there);
            }
            upto = upto.max(lines.upto);
        }
        Ok(match 2 * agree >= parts && upto > 0 {
            true if agree == parts && upto == self.end && !is_other => Agreement::Whole,
            true => Agreement::Upto(upto.min(self.end)),
            false => Agreement::Not,
        })
    }

    fn compare_lines(&self, bytes: &mut dyn Bytes) -> io::Result<Lines> {
        let lens = &self.line_len[..usize::from(self.lines)];
        let all: usize = lens.iter().map(|len| usize::from(*len)).sum();
        let text = before(self.end, all, bytes)?;
        let mut at = 0;
        let mut lines = Lines::default();
        let from = self.end - all as u64;
        for (len, hash) in lens.iter().zip(self.line_hash) {
            let end = at + usize::from(*len);
            if let Some(line) = text.get(at..end) {
                lines.there += 1;
                if short(line) == hash {
                    lines.same += 1;
                    lines.upto = from + end as u64;
                }
            }
            at = end;
        }
        Ok(lines)
    }
}

/// The head of a file.
///
/// # Errors
/// The error of reading.
pub fn head_of(bytes: &mut dyn Bytes) -> io::Result<Head> {
    Ok(Head::of(&head_bytes(bytes)?))
}

fn head_bytes(bytes: &mut dyn Bytes) -> io::Result<Vec<u8>> {
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
    let long = hash(bytes);
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
}
