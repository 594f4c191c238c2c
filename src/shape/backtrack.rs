//! A backtracking matcher for what a linear engine can't do: look-around, back references, atomic
//! groups, conditions, and `$` in texts of several lines. Each step costs one from a budget, so no
//! pattern and no text can hold it for long.

use super::translate::{width, Kind, Node, MANY};
use regex_automata::util::syntax;

/// The budget is used up, or too much had to be remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Exceeded;

/// Most alternatives that are remembered at a time, 24 bytes each.
const FRAMES: usize = 400_000;

/// Deepest nesting of look-around and atomic groups at run time.
const DEPTH: usize = 120;

const NONE: usize = usize::MAX;

/// One character out of a set.
#[derive(Debug, Clone)]
struct Set {
    /// Below 128.
    ascii: u128,
    ranges: Box<[(char, char)]>,
}

impl Set {
    fn has(&self, c: char) -> bool {
        if (c as u32) < 128 {
            return self.ascii >> (c as u32) & 1 == 1;
        }
        let after = self.ranges.partition_point(|(low, _)| *low <= c);
        after > 0 && self.ranges[after - 1].1 >= c
    }
}

#[derive(Debug, Clone)]
enum Op {
    Literal(Box<str>),
    Set(usize),
    /// A repetition of one character out of a set.
    Run {
        set: usize,
        min: u32,
        max: u32,
        lazy: bool,
    },
    Split {
        first: usize,
        second: usize,
    },
    Jump(usize),
    Save(usize),
    Start,
    StartLine,
    End,
    EndLine,
    VeryEnd,
    Word {
        ascii: bool,
        negate: bool,
    },
    Backref {
        group: usize,
        fold: bool,
    },
    /// Begins to count.
    Enter(usize),
    /// Decides whether to go round (the next but one) or on to `exit`.
    Loop {
        counter: usize,
        min: u32,
        max: u32,
        lazy: bool,
        exit: usize,
    },
    /// Counts a round.
    Round(usize),
    /// The body follows and ends with `Accept`; what comes after it is at `exit`.
    Look {
        negate: bool,
        behind: Option<(u32, u32)>,
        exit: usize,
    },
    Atomic(usize),
    Cond {
        group: usize,
        no: usize,
    },
    Accept,
}

/// A compiled expression.
#[derive(Debug, Clone)]
pub(super) struct Program {
    ops: Vec<Op>,
    sets: Vec<Set>,
    /// For `\w` in word boundaries.
    word: usize,
    counters: usize,
    slots: usize,
}

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

/// What a search needs, reused.
#[derive(Debug, Default)]
pub(super) struct Memory {
    frames: Vec<Frame>,
    /// Starts and ends of groups, the whole match first; `usize::MAX` for none.
    pub(super) slots: Vec<usize>,
    counters: Vec<(u32, usize)>,
}

impl Program {
    /// Compiles a tree with `groups` groups. The error is a phrase.
    pub(super) fn new(node: &Node, groups: usize) -> Result<Program, String> {
        let mut program = Program {
            ops: Vec::new(),
            sets: Vec::new(),
            word: 0,
            counters: 0,
            slots: (groups + 1) * 2,
        };
        program.word = program.set("\\w")?;
        program.node(node)?;
        program.push(Op::Accept)?;
        Ok(program)
    }

    fn push(&mut self, op: Op) -> Result<usize, String> {
        if self.ops.len() >= 100_000 {
            return Err("too large".to_owned());
        }
        self.ops.push(op);
        Ok(self.ops.len() - 1)
    }

    fn set(&mut self, written: &str) -> Result<usize, String> {
        let hir = syntax::parse(written).map_err(|e| format!("a set can't be read: {e}"))?;
        let ranges: Box<[(char, char)]> = match hir.kind() {
            regex_syntax::hir::HirKind::Class(regex_syntax::hir::Class::Unicode(class)) => {
                class.iter().map(|r| (r.start(), r.end())).collect()
            }
            regex_syntax::hir::HirKind::Class(regex_syntax::hir::Class::Bytes(class)) => class
                .iter()
                .map(|r| (char::from(r.start()), char::from(r.end())))
                .collect(),
            regex_syntax::hir::HirKind::Literal(literal) => std::str::from_utf8(&literal.0)
                .unwrap_or("")
                .chars()
                .map(|c| (c, c))
                .collect(),
            _ => return Err("a set can't be read".to_owned()),
        };
        let mut ascii = 0;
        for (low, high) in &ranges {
            for c in (*low as u32)..=(*high as u32).min(127) {
                ascii |= 1 << c;
            }
        }
        self.sets.push(Set { ascii, ranges });
        Ok(self.sets.len() - 1)
    }

    fn node(&mut self, node: &Node) -> Result<(), String> {
        match node {
            Node::Empty => {}
            Node::Literal(c) => {
                self.push(Op::Literal(c.to_string().into()))?;
            }
            Node::Set(written) => {
                let set = self.set(written)?;
                self.push(Op::Set(set))?;
            }
            Node::Start => drop(self.push(Op::Start)?),
            Node::StartLine => drop(self.push(Op::StartLine)?),
            Node::End => drop(self.push(Op::End)?),
            Node::EndLine => drop(self.push(Op::EndLine)?),
            Node::VeryEnd => drop(self.push(Op::VeryEnd)?),
            Node::Word { ascii, negate } => {
                self.push(Op::Word {
                    ascii: *ascii,
                    negate: *negate,
                })?;
            }
            Node::Group(None, node) => self.node(node)?,
            Node::Group(Some(number), node) => {
                self.push(Op::Save(number * 2))?;
                self.node(node)?;
                self.push(Op::Save(number * 2 + 1))?;
            }
            Node::Cat(items) => {
                let mut run = String::new();
                for item in items {
                    if let Node::Literal(c) = item {
                        run.push(*c);
                        continue;
                    }
                    if !run.is_empty() {
                        self.push(Op::Literal(std::mem::take(&mut run).into()))?;
                    }
                    self.node(item)?;
                }
                if !run.is_empty() {
                    self.push(Op::Literal(run.into()))?;
                }
            }
            Node::Alt(items) => {
                let mut jumps = Vec::new();
                for (i, item) in items.iter().enumerate() {
                    if i + 1 == items.len() {
                        self.node(item)?;
                        break;
                    }
                    let split = self.push(Op::Accept)?;
                    self.node(item)?;
                    jumps.push(self.push(Op::Accept)?);
                    self.ops[split] = Op::Split {
                        first: split + 1,
                        second: self.ops.len(),
                    };
                }
                let end = self.ops.len();
                for jump in jumps {
                    self.ops[jump] = Op::Jump(end);
                }
            }
            Node::Repeat {
                node,
                min,
                max,
                kind: Kind::Possessive,
            } => {
                let greedy = Node::Repeat {
                    node: node.clone(),
                    min: *min,
                    max: *max,
                    kind: Kind::Greedy,
                };
                self.node(&Node::Atomic(Box::new(greedy)))?;
            }
            Node::Repeat {
                node,
                min,
                max,
                kind,
            } => self.repeat(node, *min, *max, *kind == Kind::Lazy)?,
            Node::Backref { group, fold } => {
                self.push(Op::Backref {
                    group: *group,
                    fold: *fold,
                })?;
            }
            Node::Look {
                behind,
                negate,
                node,
            } => {
                let at = self.push(Op::Accept)?;
                self.node(node)?;
                self.push(Op::Accept)?;
                self.ops[at] = Op::Look {
                    negate: *negate,
                    behind: behind.then(|| width(node).unwrap_or((0, 0))),
                    exit: self.ops.len(),
                };
            }
            Node::Atomic(node) => {
                let at = self.push(Op::Accept)?;
                self.node(node)?;
                self.push(Op::Accept)?;
                self.ops[at] = Op::Atomic(self.ops.len());
            }
            Node::Cond { group, yes, no } => {
                let at = self.push(Op::Accept)?;
                self.node(yes)?;
                let jump = self.push(Op::Accept)?;
                self.ops[at] = Op::Cond {
                    group: *group,
                    no: self.ops.len(),
                };
                self.node(no)?;
                self.ops[jump] = Op::Jump(self.ops.len());
            }
        }
        Ok(())
    }

    fn repeat(&mut self, node: &Node, min: u32, max: u32, lazy: bool) -> Result<(), String> {
        let mut single = node;
        while let Node::Group(None, inner) = single {
            single = inner;
        }
        let set = match single {
            Node::Set(written) => Some(self.set(written)?),
            Node::Literal(c) => Some(self.set(&format!("[\\x{{{:X}}}]", *c as u32))?),
            _ => None,
        };
        if let Some(set) = set {
            self.push(Op::Run {
                set,
                min,
                max,
                lazy,
            })?;
            return Ok(());
        }
        if (min, max) == (0, 1) {
            let split = self.push(Op::Accept)?;
            self.node(node)?;
            let end = self.ops.len();
            self.ops[split] = match lazy {
                false => Op::Split {
                    first: split + 1,
                    second: end,
                },
                true => Op::Split {
                    first: end,
                    second: split + 1,
                },
            };
            return Ok(());
        }
        let counter = self.counters;
        self.counters += 1;
        self.push(Op::Enter(counter))?;
        let decide = self.push(Op::Accept)?;
        self.push(Op::Round(counter))?;
        self.node(node)?;
        self.push(Op::Jump(decide))?;
        self.ops[decide] = Op::Loop {
            counter,
            min,
            max,
            lazy,
            exit: self.ops.len(),
        };
        Ok(())
    }

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
