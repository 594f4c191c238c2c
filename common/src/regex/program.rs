//! Compiles a tree for the backtracking matcher.

use super::tree::{width, Kind, Node};
use regex_automata::util::syntax;

/// One character out of a set.
#[derive(Debug, Clone)]
pub(super) struct Set {
    /// Below 128.
    ascii: u128,
    ranges: Box<[(char, char)]>,
}

impl Set {
    pub(super) fn has(&self, c: char) -> bool {
        if (c as u32) < 128 {
            return self.ascii >> (c as u32) & 1 == 1;
        }
        let after = self.ranges.partition_point(|(low, _)| *low <= c);
        after > 0 && self.ranges[after - 1].1 >= c
    }
}

#[derive(Debug, Clone)]
pub(super) enum Op {
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
    pub(super) ops: Vec<Op>,
    pub(super) sets: Vec<Set>,
    /// For `\w` in word boundaries.
    pub(super) word: usize,
    pub(super) counters: usize,
    pub(super) slots: usize,
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
}
