//! A backtracking matcher for what a linear engine can't do: look-around, back references, atomic
//! groups, conditions, and `$` in texts of several lines. Each step costs one from a budget, so no
//! pattern and no text can hold it for long.

use super::program::{Op, Program, Set};
use super::tree::MANY;

/// The budget is used up, or too much had to be remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded;

/// Most alternatives that are remembered at a time, 24 bytes each.
const FRAMES: usize = 400_000;

/// Deepest nesting of look-around and atomic groups at run time.
const DEPTH: usize = 120;

const NONE: usize = usize::MAX;

#[derive(Debug, Clone, Copy)]
enum Frame {
    Branch {
        op: u32,
        at: usize,
    },
    /// May give characters back, down to `least`.
    Greedy {
        op: u32,
        least: usize,
        at: usize,
    },
    Lazy {
        op: u32,
        at: usize,
        left: u32,
    },
    Slot {
        slot: u32,
        old: usize,
    },
    Counter {
        counter: u32,
        count: u32,
        last: usize,
    },
}

/// The memory of a search, reused by the next one.
#[derive(Debug, Default)]
pub(super) struct Memory {
    frames: Vec<Frame>,
    /// Starts and ends of groups, the whole match first; `usize::MAX` for none.
    pub(super) slots: Vec<usize>,
    counters: Vec<(u32, usize)>,
}

impl Program {
    /// The leftmost match that starts at `from` or later. Groups are left in `memory`.
    pub(super) fn find(
        &self,
        memory: &mut Memory,
        text: &str,
        from: usize,
        budget: &mut u64,
    ) -> Result<Option<(usize, usize)>, Exceeded> {
        let mut start = from;
        memory.slots.clear();
        memory.slots.resize(self.slots, NONE);
        memory.counters.clear();
        memory.counters.resize(self.counters, (0, NONE));
        let lead = match self.ops.first() {
            Some(Op::Literal(literal)) => Some(literal.as_bytes()),
            _ => None,
        };
        loop {
            if let Some(lead) = lead {
                match memchr::memmem::find(&text.as_bytes()[start..], lead) {
                    Some(found) => start += found,
                    None => return Ok(None),
                }
            }
            memory.frames.clear();
            let mut run = Run {
                program: self,
                memory,
                text,
                budget,
            };
            let found = run.run(0, start, None, 0);
            if memory.frames.capacity() > 8192 {
                memory.frames.clear();
                memory.frames.shrink_to(1024);
            }
            if let Some(end) = found? {
                memory.slots[0] = start;
                memory.slots[1] = end;
                return Ok(Some((start, end)));
            }
            match text[start..].chars().next() {
                Some(c) => start += c.len_utf8(),
                None => return Ok(None),
            }
        }
    }
}

struct Run<'a> {
    program: &'a Program,
    memory: &'a mut Memory,
    text: &'a str,
    budget: &'a mut u64,
}

impl Run<'_> {
    #[inline]
    fn char_at(&self, at: usize) -> Option<char> {
        let byte = *self.text.as_bytes().get(at)?;
        match byte {
            0..=127 => Some(char::from(byte)),
            _ => self.text[at..].chars().next(),
        }
    }

    fn char_before(&self, at: usize) -> Option<char> {
        self.text[..at].chars().next_back()
    }

    fn spend(&mut self, steps: u64) -> Result<(), Exceeded> {
        if *self.budget < steps {
            *self.budget = 0;
            return Err(Exceeded);
        }
        *self.budget -= steps;
        Ok(())
    }

    fn remember(&mut self, frame: Frame) -> Result<(), Exceeded> {
        if self.memory.frames.len() >= FRAMES {
            return Err(Exceeded);
        }
        self.memory.frames.push(frame);
        Ok(())
    }

    fn save(&mut self, slot: usize, at: usize) -> Result<(), Exceeded> {
        let old = std::mem::replace(&mut self.memory.slots[slot], at);
        self.remember(Frame::Slot {
            slot: slot as u32,
            old,
        })
    }

    fn count(&mut self, counter: usize, count: u32, last: usize) -> Result<(), Exceeded> {
        let old = std::mem::replace(&mut self.memory.counters[counter], (count, last));
        self.remember(Frame::Counter {
            counter: counter as u32,
            count: old.0,
            last: old.1,
        })
    }

    /// Takes one step back: where to go on, or `None` if nothing is left above `base`.
    fn back(&mut self, base: usize) -> Option<(usize, usize)> {
        while self.memory.frames.len() > base {
            match self.memory.frames.pop()? {
                Frame::Branch { op, at } => return Some((op as usize, at)),
                Frame::Greedy { op, least, at } => {
                    let at = at - self.char_before(at).map_or(1, char::len_utf8);
                    if at > least {
                        self.memory.frames.push(Frame::Greedy { op, least, at });
                    }
                    return Some((op as usize, at));
                }
                Frame::Lazy { op, at, left } => {
                    let program = self.program;
                    let Op::Run { set, .. } = &program.ops[op as usize] else {
                        continue;
                    };
                    let Some(c) = self.char_at(at).filter(|c| program.sets[*set].has(*c)) else {
                        continue;
                    };
                    let at = at + c.len_utf8();
                    if left > 1 {
                        let left = if left == MANY { MANY } else { left - 1 };
                        self.memory.frames.push(Frame::Lazy { op, at, left });
                    }
                    return Some((op as usize + 1, at));
                }
                Frame::Slot { slot, old } => self.memory.slots[slot as usize] = old,
                Frame::Counter {
                    counter,
                    count,
                    last,
                } => self.memory.counters[counter as usize] = (count, last),
            }
        }
        None
    }

    /// Runs from `op` at `at` to an `Accept`; with `target`, only one that ends there.
    fn run(
        &mut self,
        mut op: usize,
        mut at: usize,
        target: Option<usize>,
        depth: usize,
    ) -> Result<Option<usize>, Exceeded> {
        if depth > DEPTH {
            return Err(Exceeded);
        }
        let base = self.memory.frames.len();
        let program = self.program;
        loop {
            self.spend(1)?;
            let bytes = self.text.as_bytes();
            let fine = match &program.ops[op] {
                Op::Literal(literal) => {
                    let found = bytes[at..].starts_with(literal.as_bytes());
                    at += if found { literal.len() } else { 0 };
                    found
                }
                Op::Set(set) => match self.char_at(at) {
                    Some(c) if program.sets[*set].has(c) => {
                        at += c.len_utf8();
                        true
                    }
                    _ => false,
                },
                Op::Run {
                    set,
                    min,
                    max,
                    lazy,
                } => match self.take_run(op, at, &program.sets[*set], (*min, *max, *lazy))? {
                    Some(end) => {
                        at = end;
                        true
                    }
                    None => false,
                },
                Op::Split { first, second } => {
                    self.remember(Frame::Branch {
                        op: *second as u32,
                        at,
                    })?;
                    op = *first;
                    continue;
                }
                Op::Jump(to) => {
                    op = *to;
                    continue;
                }
                Op::Save(slot) => {
                    self.save(*slot, at)?;
                    true
                }
                Op::Start => at == 0,
                Op::StartLine => at == 0 || bytes[at - 1] == b'\n',
                Op::End => at == bytes.len() || (at + 1 == bytes.len() && bytes[at] == b'\n'),
                Op::EndLine => at == bytes.len() || bytes[at] == b'\n',
                Op::VeryEnd => at == bytes.len(),
                Op::Word { ascii, negate } => {
                    let word =
                        |c: char| program.sets[program.word].has(c) && (!ascii || c.is_ascii());
                    let before = self.char_before(at).is_some_and(word);
                    let after = self.char_at(at).is_some_and(word);
                    (before != after) != *negate
                }
                Op::Backref { group, fold } => match self.same_again(*group, *fold, at)? {
                    Some(end) => {
                        at = end;
                        true
                    }
                    None => false,
                },
                Op::Enter(counter) => {
                    self.count(*counter, 0, NONE)?;
                    true
                }
                Op::Loop {
                    counter,
                    min,
                    max,
                    lazy,
                    exit,
                } => {
                    let (count, last) = self.memory.counters[*counter];
                    // A round that took nothing would go on for ever
                    if count >= *max || (count > 0 && last == at) {
                        op = *exit;
                    } else if count < *min {
                        op += 1;
                    } else {
                        let (first, second) = if *lazy {
                            (*exit, op + 1)
                        } else {
                            (op + 1, *exit)
                        };
                        self.remember(Frame::Branch {
                            op: second as u32,
                            at,
                        })?;
                        op = first;
                    }
                    continue;
                }
                Op::Round(counter) => {
                    let count = self.memory.counters[*counter].0;
                    self.count(*counter, count.saturating_add(1), at)?;
                    true
                }
                Op::Look {
                    negate,
                    behind,
                    exit,
                } => {
                    let found = self.look(op + 1, at, *behind, depth, *negate)?;
                    if found != *negate {
                        op = *exit;
                        continue;
                    }
                    false
                }
                Op::Atomic(exit) => {
                    let base = self.memory.frames.len();
                    match self.run(op + 1, at, None, depth + 1)? {
                        Some(end) => {
                            self.commit(base);
                            at = end;
                            op = *exit;
                            continue;
                        }
                        None => false,
                    }
                }
                Op::Cond { group, no } => {
                    let set = self.memory.slots.get(group * 2 + 1);
                    op = if set.is_some_and(|end| *end != NONE) {
                        op + 1
                    } else {
                        *no
                    };
                    continue;
                }
                Op::Accept => {
                    if target.is_none_or(|target| target == at) {
                        return Ok(Some(at));
                    }
                    false
                }
            };
            if fine {
                op += 1;
                continue;
            }
            match self.back(base) {
                Some(next) => (op, at) = next,
                None => return Ok(None),
            }
        }
    }

    /// Forgets alternatives, keeps what undoes groups and counters.
    fn commit(&mut self, base: usize) {
        let mut kept = base;
        for i in base..self.memory.frames.len() {
            let frame = self.memory.frames[i];
            if matches!(frame, Frame::Slot { .. } | Frame::Counter { .. }) {
                self.memory.frames[kept] = frame;
                kept += 1;
            }
        }
        self.memory.frames.truncate(kept);
    }

    fn look(
        &mut self,
        body: usize,
        at: usize,
        behind: Option<(u32, u32)>,
        depth: usize,
        negate: bool,
    ) -> Result<bool, Exceeded> {
        let base = self.memory.frames.len();
        let found = match behind {
            None => self.run(body, at, None, depth + 1)?.is_some(),
            Some((min, max)) => {
                let mut start = at;
                let mut wide = 0;
                loop {
                    if wide >= min && self.run(body, start, Some(at), depth + 1)?.is_some() {
                        break true;
                    }
                    match self.char_before(start) {
                        Some(c) if wide < max => {
                            start -= c.len_utf8();
                            wide += 1;
                        }
                        _ => break false,
                    }
                }
            }
        };
        if found && negate {
            // Groups within are as if it had not been tried
            self.commit(base);
            while self.back(base).is_some() {}
        } else if found {
            self.commit(base);
        }
        Ok(found)
    }

    fn take_run(
        &mut self,
        op: usize,
        start: usize,
        set: &Set,
        (min, max, lazy): (u32, u32, bool),
    ) -> Result<Option<usize>, Exceeded> {
        let mut at = start;
        let mut taken = 0;
        let mut least = start;
        let want = if lazy { min } else { max };
        while taken < want {
            match self.char_at(at) {
                Some(c) if set.has(c) => at += c.len_utf8(),
                _ => break,
            }
            taken += 1;
            if taken == min {
                least = at;
            }
        }
        self.spend(u64::from(taken) / 8)?;
        if taken < min {
            return Ok(None);
        }
        if lazy {
            if max > min {
                let left = if max == MANY { MANY } else { max - min };
                self.remember(Frame::Lazy {
                    op: op as u32,
                    at,
                    left,
                })?;
            }
        } else if at > least {
            self.remember(Frame::Greedy {
                op: op as u32 + 1,
                least,
                at,
            })?;
        }
        Ok(Some(at))
    }

    fn same_again(
        &mut self,
        group: usize,
        fold: bool,
        at: usize,
    ) -> Result<Option<usize>, Exceeded> {
        let slots = &self.memory.slots;
        let (from, to) = match (slots.get(group * 2), slots.get(group * 2 + 1)) {
            (Some(&from), Some(&to)) if from <= to && to != NONE => (from, to),
            _ => return Ok(None),
        };
        self.spend((to - from) as u64 / 8)?;
        let (text, rest) = (&self.text[from..to], &self.text[at..]);
        if !fold {
            return Ok(rest.starts_with(text).then_some(at + text.len()));
        }
        let mut others = rest.chars();
        for c in text.chars() {
            let same = others
                .next()
                .is_some_and(|other| other == c || other.to_lowercase().eq(c.to_lowercase()));
            if !same {
                return Ok(None);
            }
        }
        Ok(Some(self.text.len() - others.as_str().len()))
    }
}
