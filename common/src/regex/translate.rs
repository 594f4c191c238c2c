//! Reads regular expressions in the language of Python's `re` into a tree. Mistakes are told with
//! their place.

mod escape;
mod group;

use super::tree::{Kind, Node, MANY};

/// Why a pattern can't be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Characters before the place.
    pub position: usize,
    /// The mistake, a phrase.
    pub reason: String,
}

impl std::fmt::Display for Mistake {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{} at character {}", self.reason, self.position + 1)
    }
}

impl std::error::Error for Mistake {}

/// Deepest nesting of groups: the tree is walked recursively.
const DEPTH: usize = 100;

/// Longest pattern in characters.
const LENGTH: usize = 32_768;

/// An expression that was read.
#[derive(Debug, Clone)]
pub(super) struct Parsed {
    pub(super) node: Node,
    /// Capturing groups, without the whole match.
    pub(super) groups: usize,
    pub(super) names: Vec<(String, usize)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Flags {
    fold: bool,
    lines: bool,
    dot_all: bool,
    verbose: bool,
    ascii: bool,
}

/// Reads a pattern.
pub(super) fn parse(pattern: &str) -> Result<Parsed, Mistake> {
    let text: Vec<char> = pattern.chars().collect();
    if text.len() > LENGTH {
        return Err(Mistake {
            position: LENGTH,
            reason: format!("longer than {LENGTH} characters"),
        });
    }
    let mut flags = Flags::default();
    // Flags of the whole pattern may stand after its start, so it is read again once they are known
    loop {
        let mut parser = Parser {
            text: &text,
            at: 0,
            groups: 0,
            open: Vec::new(),
            names: Vec::new(),
            global: flags,
            references: Vec::new(),
        };
        let node = parser.alternatives(flags, 0)?;
        if parser.global != flags {
            flags = parser.global;
            continue;
        }
        if parser.at < text.len() {
            return Err(parser.wrong("unbalanced parenthesis"));
        }
        for (group, position) in &parser.references {
            if *group > parser.groups {
                return Err(Mistake {
                    position: *position,
                    reason: format!("there is no group {group}"),
                });
            }
        }
        return Ok(Parsed {
            node,
            groups: parser.groups,
            names: parser.names,
        });
    }
}

struct Parser<'a> {
    text: &'a [char],
    at: usize,
    groups: usize,
    /// Groups that are not closed yet; they can't be referred to.
    open: Vec<usize>,
    names: Vec<(String, usize)>,
    global: Flags,
    /// Conditions may name a group that comes later.
    references: Vec<(usize, usize)>,
}

impl Parser<'_> {
    fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += 1;
        Some(c)
    }

    fn eat(&mut self, c: char) -> bool {
        let found = self.peek() == Some(c);
        self.at += usize::from(found);
        found
    }

    fn wrong(&self, reason: impl Into<String>) -> Mistake {
        Mistake {
            position: self.at,
            reason: reason.into(),
        }
    }

    fn wrong_at(&self, position: usize, reason: impl Into<String>) -> Mistake {
        Mistake {
            position,
            reason: reason.into(),
        }
    }

    fn alternatives(&mut self, flags: Flags, depth: usize) -> Result<Node, Mistake> {
        if depth > DEPTH {
            return Err(self.wrong(format!("nested deeper than {DEPTH}")));
        }
        let mut all = vec![self.sequence(flags, depth)?];
        while self.eat('|') {
            all.push(self.sequence(flags, depth)?);
        }
        Ok(match all.len() {
            1 => all.pop().unwrap_or(Node::Empty),
            _ => Node::Alt(all),
        })
    }

    fn sequence(&mut self, flags: Flags, depth: usize) -> Result<Node, Mistake> {
        let mut items = Vec::new();
        loop {
            if flags.verbose {
                self.skip_blank();
            }
            let from = self.at;
            let Some(c) = self.peek() else { break };
            if c == '|' || c == ')' {
                break;
            }
            if let Some((min, max)) = self.quantifier()? {
                let Some(node) = items.pop() else {
                    return Err(self.wrong_at(from, "nothing to repeat"));
                };
                match node {
                    Node::Repeat { .. } => return Err(self.wrong_at(from, "multiple repeat")),
                    Node::Start
                    | Node::StartLine
                    | Node::End
                    | Node::EndLine
                    | Node::VeryEnd
                    | Node::Word { .. }
                    | Node::Empty => return Err(self.wrong_at(from, "nothing to repeat")),
                    _ => {}
                }
                let kind = if self.eat('?') {
                    Kind::Lazy
                } else if self.eat('+') {
                    Kind::Possessive
                } else {
                    Kind::Greedy
                };
                items.push(Node::Repeat {
                    node: Box::new(node),
                    min,
                    max,
                    kind,
                });
                continue;
            }
            if let Some(node) = self.item(flags, depth)? {
                items.push(node);
            }
        }
        Ok(match items.len() {
            0 => Node::Empty,
            1 => items.pop().unwrap_or(Node::Empty),
            _ => Node::Cat(items),
        })
    }

    fn skip_blank(&mut self) {
        while let Some(c) = self.peek() {
            if c == '#' {
                while self.next().is_some_and(|c| c != '\n') {}
            } else if matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c') {
                self.at += 1;
            } else {
                break;
            }
        }
    }

    /// The bounds of a quantifier, if one stands here.
    fn quantifier(&mut self) -> Result<Option<(u32, u32)>, Mistake> {
        let from = self.at;
        let bounds = match self.peek() {
            Some('*') => (0, MANY),
            Some('+') => (1, MANY),
            Some('?') => (0, 1),
            Some('{') => {
                self.at += 1;
                if self.peek() == Some('}') {
                    self.at = from;
                    return Ok(None);
                }
                let low = self.digits();
                let (comma, high) = match self.eat(',') {
                    true => (true, self.digits()),
                    false => (false, String::new()),
                };
                if !self.eat('}') || (low.is_empty() && !comma) {
                    self.at = from;
                    return Ok(None);
                }
                let number = |digits: &str, default: u32| match digits {
                    "" => Ok(default),
                    _ => digits
                        .parse::<u32>()
                        .ok()
                        .filter(|n| *n < MANY)
                        .ok_or_else(|| self.wrong_at(from, "the repetition number is too large")),
                };
                let min = number(&low, 0)?;
                let max = if comma { number(&high, MANY)? } else { min };
                if min > max {
                    return Err(self.wrong_at(from, "min repeat greater than max repeat"));
                }
                return Ok(Some((min, max)));
            }
            _ => return Ok(None),
        };
        self.at += 1;
        Ok(Some(bounds))
    }

    fn digits(&mut self) -> String {
        let mut digits = String::new();
        while let Some(c) = self.peek().filter(char::is_ascii_digit) {
            digits.push(c);
            self.at += 1;
        }
        digits
    }

    /// `None` for a comment or flags.
    fn item(&mut self, flags: Flags, depth: usize) -> Result<Option<Node>, Mistake> {
        let from = self.at;
        let Some(c) = self.next() else {
            return Ok(None);
        };
        Ok(Some(match c {
            '.' if flags.dot_all => Node::Set("(?s:.)".to_owned()),
            '.' => Node::Set("[^\\n]".to_owned()),
            '^' if flags.lines => Node::StartLine,
            '^' => Node::Start,
            '$' if flags.lines => Node::EndLine,
            '$' => Node::End,
            '[' => self.class(flags, from)?,
            '(' => return self.group(flags, depth, from),
            '\\' => self.escape(flags, from)?,
            c => literal(c, flags),
        }))
    }
}

fn literal(c: char, flags: Flags) -> Node {
    if flags.fold && c.is_alphabetic() {
        Node::Set(format!("(?i:[\\x{{{:X}}}])", c as u32))
    } else {
        Node::Literal(c)
    }
}
