//! Evidence as bytes, for the position journal: all of it, or no more than its tip.

use super::{Block, Evidence, BLOCKS, HEAD, LINES};
use crate::util::varint;

/// The last part of evidence: the end, the block right before it and some of the last lines. A journal
/// writes no more than this with each acknowledged request.
///
/// [`Evidence::take_in`] moves known evidence on by a tip. The result is evidence that a process could have
/// gathered, with pages as long as the steps between the tips: the block of each tip stays, at growing
/// distances as any block does, and the head and the blocks of the last whole record lie behind them. Each
/// part has the offset at which it was read, so all of them are of one text, and a file has to have it at
/// all of these offsets. Two parts would be missing without the lines. A text whose writer overwrites its
/// end with each append (the bracket of a JSON array) disagrees with the nearest block after the next
/// append; without lines it would go on after the block before that, and repeat what lies between. And
/// evidence without lines can't tell a text from a banner, so it would decide nothing by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tip {
    end: u64,
    block: u32,
    /// Hash and length in bytes of each, the oldest first.
    lines: Vec<(u32, u16)>,
}

impl Tip {
    /// The most lines of a tip.
    pub const LINES: usize = 4;

    /// The offset in bytes up to which the text is proved.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// The number of lines.
    pub fn lines(&self) -> usize {
        self.lines.len()
    }

    /// Appends hash and lines, at most 32 bytes. End and number of lines are the caller's to write.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.block.to_le_bytes());
        put_lines(out, self.lines.iter().copied());
    }

    /// Reads that. `None` where it makes no sense.
    pub fn read(end: u64, lines: usize, from: &mut varint::Reader) -> Option<Tip> {
        let block = from.word()?;
        let lines = read_lines(end, lines.min(Tip::LINES + 1), from)?;
        let is_sound = end > 0 && i64::try_from(end).is_ok() && lines.len() <= Tip::LINES;
        is_sound.then_some(Tip { end, block, lines })
    }
}

impl Evidence {
    /// The tip with at most `lines` lines. `None` where it would tell less than is known: no block ends
    /// where the evidence does, or the lines of the tip are one line repeated and the others are not.
    pub fn tip(&self, lines: usize) -> Option<Tip> {
        let known = usize::from(self.lines);
        let block = self.block[..usize::from(self.blocks)].first()?;
        let from = known - known.min(lines).min(Tip::LINES);
        let hashes = self.line_hash[from..known].iter().copied();
        let tip = Tip {
            end: self.end,
            block: block.hash,
            lines: hashes
                .zip(self.line_len[from..known].iter().copied())
                .collect(),
        };
        let is_distinct = tip.lines.iter().any(|(hash, _)| *hash != tip.lines[0].0);
        let is_whole = block.back == 0 && !self.is_mark && is_distinct == self.is_distinct();
        is_whole.then_some(tip)
    }

    /// Moves on to a tip of later evidence of the same content. One that ends no later says nothing new.
    pub fn take_in(&mut self, tip: &Tip) {
        if tip.end <= self.end {
            return;
        }
        self.move_to(tip.end);
        (self.lines, self.line_hash, self.line_len) = (0, [0; LINES], [0; LINES]);
        for ((hash, len), at) in tip.lines.iter().zip(0..LINES) {
            (self.line_hash[at], self.line_len[at]) = (*hash, *len);
            self.lines += 1;
        }
        self.thin(Block {
            hash: tip.block,
            back: 0,
        });
        self.block[usize::from(self.blocks)..].fill(Block::default());
    }

    /// Appends the head, of at most [`HEAD`] bytes of text: it changes without the position.
    pub fn write_head(&self, out: &mut Vec<u8>) {
        varint::put(out, self.head.len.into());
        if self.head.len > 0 {
            out.extend(self.head.hash.to_le_bytes());
        }
    }

    /// Appends all of it, at most 126 bytes.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(self.lines | self.blocks << 4 | u8::from(self.is_mark) << 7);
        varint::put(out, self.end);
        self.write_head(out);
        let lines = usize::from(self.lines);
        let hashes = self.line_hash[..lines].iter().copied();
        put_lines(out, hashes.zip(self.line_len[..lines].iter().copied()));
        for block in &self.block[..usize::from(self.blocks)] {
            out.extend(block.hash.to_le_bytes());
            varint::put(out, block.back.into());
        }
    }

    /// Reads that. `None` where it is nothing that [`write`](Evidence::write) can have written.
    pub fn read(from: &mut varint::Reader) -> Option<Evidence> {
        let counts = from.byte()?;
        let mut evidence = Evidence {
            end: from.varint()?,
            lines: counts & 15,
            blocks: counts >> 4 & 7,
            is_mark: counts & 128 != 0,
            ..Evidence::default()
        };
        evidence.head.len = u16::try_from(from.varint()?).ok()?;
        if evidence.head.len > 0 {
            evidence.head.hash = from.word()?;
        }
        let (lines, blocks) = (usize::from(evidence.lines), usize::from(evidence.blocks));
        if lines > LINES || blocks > BLOCKS || usize::from(evidence.head.len) > HEAD {
            return None;
        }
        for (at, (hash, len)) in read_lines(evidence.end, lines, from)?
            .into_iter()
            .enumerate()
        {
            (evidence.line_hash[at], evidence.line_len[at]) = (hash, len);
        }
        for block in &mut evidence.block[..blocks] {
            block.hash = from.word()?;
            block.back = u32::try_from(from.varint()?).ok()?;
        }
        let is_mark = (lines, blocks, evidence.block[0].back, evidence.end > 0) == (0, 1, 0, true);
        let makes_sense = i64::try_from(evidence.end).is_ok() && (is_mark || !evidence.is_mark);
        makes_sense.then_some(evidence)
    }
}

fn put_lines(out: &mut Vec<u8>, lines: impl Iterator<Item = (u32, u16)>) {
    for (hash, len) in lines {
        varint::put(out, len.into());
        out.extend(hash.to_le_bytes());
    }
}

/// Lines that lie before `end`.
fn read_lines(end: u64, count: usize, from: &mut varint::Reader) -> Option<Vec<(u32, u16)>> {
    let mut lines = Vec::new();
    let mut all = 0;
    for _ in 0..count {
        let len = u16::try_from(from.varint()?).ok().filter(|len| *len > 0)?;
        all += u64::from(len);
        lines.push((from.word()?, len));
    }
    (all <= end).then_some(lines)
}

#[cfg(test)]
mod tests {
    use super::super::{line_end, Agreement, BLOCK};
    use super::*;

    fn lines(range: std::ops::Range<u32>) -> Vec<u8> {
        range
            .flat_map(|n| format!("line {n:09} ends so\n").into_bytes())
            .collect()
    }

    fn back(evidence: &Evidence) -> Option<Evidence> {
        let mut bytes = Vec::new();
        evidence.write(&mut bytes);
        assert!(bytes.len() <= 126, "{}", bytes.len());
        let mut from = varint::Reader(&bytes);
        let read = Evidence::read(&mut from);
        assert!(from.is_empty());
        for cut in 0..bytes.len() {
            assert_eq!(Evidence::read(&mut varint::Reader(&bytes[..cut])), None);
        }
        read
    }

    /// Of a process that read pages, and one that was restored from the tip after each of them.
    fn both(text: &[u8], page: usize) -> (Evidence, Evidence) {
        let (mut live, mut restored) = (Evidence::default(), Evidence::default());
        let mut at = 0;
        while at < text.len() {
            let end = (at + page).min(text.len());
            let end = at + line_end(&text[at..end]);
            live.advance(at as u64, &text[..at], &text[at..end]);
            match live.tip(Tip::LINES).filter(|_| at > 0) {
                Some(tip) => restored.take_in(&tip),
                None => restored = live.clone(),
            }
            at = end;
        }
        (live, restored)
    }

    #[test]
    fn evidence_is_read_back_as_it_was_written() {
        let text = lines(0..20_000);
        for len in [0, 30, 500, 1_100, 70_000, 460_000] {
            let len = line_end(&text[..len]);
            let (live, restored) = both(&text[..len], 1_000);
            let taken = Evidence::taken(len as u64, &mut &text[..]).unwrap();
            let old = Evidence::of_older_version(len as u64, 24, 7, Some(9));
            for known in [live, restored, taken, old] {
                assert_eq!(back(&known), Some(known));
            }
        }
    }

    #[test]
    fn tips_alone_prove_a_text_as_deep_as_the_pages_did() {
        let text = lines(0..20_000);
        for page in [100, 5_000, 70_000] {
            for len in [2_500, 30_000, 400_000] {
                let len = line_end(&text[..len]);
                let (live, restored) = both(&text[..len], page);
                assert_eq!(restored.compare(&mut &text[..]).unwrap(), Agreement::Whole);
                assert!(restored.is_distinct());
                // The head and each block, so that only the older lines are missing
                assert_eq!(
                    (restored.head, restored.blocks),
                    (live.head, live.blocks),
                    "{page} {len}"
                );
                assert_eq!(restored.block, live.block);
            }
        }
    }

    #[test]
    fn another_text_with_the_same_tip_or_the_same_beginning_is_not_taken_for_it() {
        let text = lines(0..4_000);
        let (_, restored) = both(&text, 2_000);
        let end = text.len();
        let other = lines(10_000..14_000);
        let ends_alike = [&other[..end - 2 * BLOCK], &text[end - 2 * BLOCK..]].concat();
        let begins_alike = [&text[..2 * BLOCK], &other[2 * BLOCK..]].concat();
        for text in [&begins_alike, &other] {
            assert_eq!(restored.compare(&mut &text[..]).unwrap(), Agreement::Not);
        }
        assert!(!restored.agrees_nearby(&mut &ends_alike[..]).unwrap());
        assert_ne!(
            restored.compare(&mut &ends_alike[..]).unwrap(),
            Agreement::Whole
        );
    }

    #[test]
    fn a_bracket_that_each_append_overwrites_repeats_one_line_after_a_restart() {
        let array = |count| [&b"[\n"[..], &lines(0..count), b"]\n"].concat();
        let (then, now) = (array(300), array(302));
        let (_, restored) = both(&then, 500);
        let bracket = then.len() as u64 - 2;
        assert_eq!(
            restored.compare(&mut &now[..]).unwrap(),
            Agreement::Upto(bracket)
        );
    }

    #[test]
    fn no_tip_tells_less_than_is_known() {
        let banner = b"a banner line, always the same\n";
        let text = [&lines(0..3)[..], &banner.repeat(5)].concat();
        let mut evidence = Evidence::default();
        evidence.advance(0, b"", &text);
        assert!(evidence.is_distinct());
        assert_eq!(evidence.tip(4), None, "its lines are one line repeated");
        let old = Evidence::of_older_version(500, 24, 7, Some(9));
        assert_eq!(old.tip(4), None, "of 32 bytes");
        assert_eq!(Evidence::default().tip(4), None);
    }

    #[test]
    fn a_tip_from_before_changes_nothing() {
        let text = lines(0..400);
        let (live, _) = both(&text[..line_end(&text[..5_000])], 1_000);
        let (later, _) = both(&text, 1_000);
        let mut known = later.clone();
        known.take_in(&live.tip(4).unwrap());
        known.take_in(&later.tip(2).unwrap());
        assert_eq!(known, later);
    }
}
