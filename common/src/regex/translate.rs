//! Reads regular expressions in the language of Python's `re` into a tree. Mistakes are told with
//! their place.

use super::tree::{width, Kind, Node, BEHIND, MANY};
use std::fmt::Write as _;

/// Why a pattern can't be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Characters before the place.
    pub position: usize,
    /// What is wrong, a phrase.
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

    fn escape(&mut self, flags: Flags, from: usize) -> Result<Node, Mistake> {
        let Some(c) = self.next() else {
            return Err(self.wrong_at(from, "bad escape (end of pattern)"));
        };
        let ascii = flags.ascii;
        Ok(match c {
            'A' => Node::Start,
            'Z' | 'z' => Node::VeryEnd,
            'b' => Node::Word {
                ascii,
                negate: false,
            },
            'B' => Node::Word {
                ascii,
                negate: true,
            },
            'd' | 'D' | 's' | 'S' | 'w' | 'W' => Node::Set(format!("[{}]", category(c, ascii))),
            '1'..='9' => {
                let mut number = c.to_digit(10).unwrap_or(0);
                if let Some(second) = self.peek().and_then(|c| c.to_digit(10)) {
                    let third = self.text.get(self.at + 1).and_then(|c| c.to_digit(8));
                    if let (true, true, Some(third)) = (number < 8, second < 8, third) {
                        let code = number * 64 + second * 8 + third;
                        if code > 0o377 {
                            return Err(
                                self.wrong_at(from, "octal escape outside of range 0-0o377")
                            );
                        }
                        self.at += 2;
                        return Ok(literal(char::from(code as u8), flags));
                    }
                    self.at += 1;
                    number = number * 10 + second;
                }
                self.reference(number as usize, flags, from)?
            }
            _ => literal(self.character(c, from)?, flags),
        })
    }

    fn reference(&self, group: usize, flags: Flags, from: usize) -> Result<Node, Mistake> {
        if group > self.groups {
            return Err(self.wrong_at(from, format!("there is no group {group}")));
        }
        if self.open.contains(&group) {
            return Err(self.wrong_at(from, "cannot refer to an open group"));
        }
        Ok(Node::Backref {
            group,
            fold: flags.fold,
        })
    }

    /// The character that an escape stands for, inside and outside of sets; `c` is what follows
    /// the backslash.
    fn character(&mut self, c: char, from: usize) -> Result<char, Mistake> {
        Ok(match c {
            'a' => '\x07',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\x0b',
            'x' => self.hex(2, from)?,
            'u' => self.hex(4, from)?,
            'U' => self.hex(8, from)?,
            '0' => {
                let mut code = 0;
                for _ in 0..2 {
                    let Some(digit) = self.peek().and_then(|c| c.to_digit(8)) else {
                        break;
                    };
                    code = code * 8 + digit;
                    self.at += 1;
                }
                char::from(code as u8)
            }
            c if c.is_ascii_alphanumeric() => {
                return Err(self.wrong_at(from, format!("bad escape \\{c}")));
            }
            c => c,
        })
    }

    fn hex(&mut self, digits: usize, from: usize) -> Result<char, Mistake> {
        let mut code = 0u32;
        for _ in 0..digits {
            let Some(digit) = self.peek().and_then(|c| c.to_digit(16)) else {
                return Err(self.wrong_at(from, "incomplete escape"));
            };
            code = code.wrapping_mul(16) + digit;
            self.at += 1;
        }
        char::from_u32(code).ok_or_else(|| self.wrong_at(from, "bad escape: no such character"))
    }

    fn class(&mut self, flags: Flags, from: usize) -> Result<Node, Mistake> {
        let mut set = String::from(if flags.fold { "(?i:[" } else { "[" });
        if self.eat('^') {
            set.push('^');
        }
        let mut first = true;
        loop {
            let place = self.at;
            let Some(c) = self.next() else {
                return Err(self.wrong_at(from, "unterminated character set"));
            };
            if c == ']' && !first {
                break;
            }
            first = false;
            let low = self.member(c, flags, place, &mut set)?;
            if self.peek() != Some('-') {
                push_range(&mut set, low, low);
                continue;
            }
            match self.text.get(self.at + 1) {
                None => return Err(self.wrong_at(from, "unterminated character set")),
                Some(']') => {
                    push_range(&mut set, low, low);
                    push_range(&mut set, Some('-'), Some('-'));
                    self.at += 1;
                }
                Some(&c) => {
                    self.at += 2;
                    let high = self.member(c, flags, place, &mut set)?;
                    match (low, high) {
                        (Some(l), Some(h)) if l <= h => push_range(&mut set, low, high),
                        _ => return Err(self.wrong_at(place, "bad character range")),
                    }
                }
            }
        }
        set.push_str(if flags.fold { "])" } else { "]" });
        Ok(Node::Set(set))
    }

    /// A character of a set; `None` for a category, which is appended.
    fn member(
        &mut self,
        c: char,
        flags: Flags,
        place: usize,
        set: &mut String,
    ) -> Result<Option<char>, Mistake> {
        if c != '\\' {
            return Ok(Some(c));
        }
        let Some(c) = self.next() else {
            return Err(self.wrong_at(place, "unterminated character set"));
        };
        Ok(Some(match c {
            'd' | 'D' | 's' | 'S' | 'w' | 'W' => {
                set.push_str(&category(c, flags.ascii));
                return Ok(None);
            }
            'b' => '\x08',
            '1'..='7' => {
                let mut code = c.to_digit(8).unwrap_or(0);
                for _ in 0..2 {
                    let Some(digit) = self.peek().and_then(|c| c.to_digit(8)) else {
                        break;
                    };
                    code = code * 8 + digit;
                    self.at += 1;
                }
                if code > 0o377 {
                    return Err(self.wrong_at(place, "octal escape outside of range 0-0o377"));
                }
                char::from(code as u8)
            }
            c => self.character(c, place)?,
        }))
    }

    fn group(&mut self, flags: Flags, depth: usize, from: usize) -> Result<Option<Node>, Mistake> {
        if !self.eat('?') {
            return self.capture(None, flags, depth, from).map(Some);
        }
        let Some(c) = self.next() else {
            return Err(self.wrong_at(from, "unexpected end of pattern"));
        };
        let inner = match c {
            ':' => Node::Group(None, Box::new(self.alternatives(flags, depth + 1)?)),
            '>' => Node::Atomic(Box::new(self.alternatives(flags, depth + 1)?)),
            '=' | '!' => Node::Look {
                behind: false,
                negate: c == '!',
                node: Box::new(self.alternatives(flags, depth + 1)?),
            },
            '#' => {
                while let Some(c) = self.next() {
                    if c == ')' {
                        return Ok(None);
                    }
                }
                return Err(self.wrong_at(from, "missing ), unterminated comment"));
            }
            '<' => match self.peek() {
                Some(kind @ ('=' | '!')) => {
                    self.at += 1;
                    let node = self.alternatives(flags, depth + 1)?;
                    if width(&node).is_none_or(|(_, max)| max > BEHIND) {
                        let reason = format!(
                            "a look-behind must have a bounded width, of at most {BEHIND} characters"
                        );
                        return Err(self.wrong_at(from, reason));
                    }
                    Node::Look {
                        behind: true,
                        negate: kind == '!',
                        node: Box::new(node),
                    }
                }
                _ => {
                    let name = self.name('>')?;
                    return self.capture(Some(name), flags, depth, from).map(Some);
                }
            },
            'P' => match self.next() {
                Some('<') => {
                    let name = self.name('>')?;
                    return self.capture(Some(name), flags, depth, from).map(Some);
                }
                Some('=') => {
                    let name = self.name(')')?;
                    let Some(group) = self.named(&name) else {
                        return Err(self.wrong_at(from, format!("unknown group name '{name}'")));
                    };
                    return self.reference(group, flags, from).map(Some);
                }
                _ => return Err(self.wrong_at(from, "unknown extension ?P")),
            },
            '(' => {
                let name = self.name(')')?;
                let group = match name.parse::<usize>() {
                    Ok(number) if number > 0 => {
                        self.references.push((number, from));
                        number
                    }
                    _ => self.named(&name).ok_or_else(|| {
                        self.wrong_at(from, format!("unknown group name '{name}'"))
                    })?,
                };
                let yes = self.sequence(flags, depth + 1)?;
                let no = match self.eat('|') {
                    true => self.sequence(flags, depth + 1)?,
                    false => Node::Empty,
                };
                if self.peek() == Some('|') {
                    return Err(self.wrong("conditional backref with more than two branches"));
                }
                Node::Cond {
                    group,
                    yes: Box::new(yes),
                    no: Box::new(no),
                }
            }
            c if c == '-' || c.is_ascii_alphabetic() => return self.flags(c, flags, depth, from),
            c => return Err(self.wrong_at(from, format!("unknown extension ?{c}"))),
        };
        self.close(from)?;
        Ok(Some(inner))
    }

    fn flags(
        &mut self,
        first: char,
        mut flags: Flags,
        depth: usize,
        from: usize,
    ) -> Result<Option<Node>, Mistake> {
        let mut on = true;
        let mut c = first;
        let mut global = self.global;
        loop {
            for flags in [&mut flags, &mut global] {
                match c {
                    'i' => flags.fold = on,
                    'm' => flags.lines = on,
                    's' => flags.dot_all = on,
                    'x' => flags.verbose = on,
                    'a' => flags.ascii = on,
                    'u' => flags.ascii = false,
                    '-' => on = false,
                    _ => return Err(self.wrong_at(from, format!("unknown flag '{c}'"))),
                }
            }
            match self.next() {
                Some(')') if on => {
                    self.global = global;
                    return Ok(None);
                }
                Some(':') => break,
                Some(next) => c = next,
                None => return Err(self.wrong_at(from, "missing -, : or )")),
            }
        }
        let node = self.alternatives(flags, depth + 1)?;
        self.close(from)?;
        Ok(Some(Node::Group(None, Box::new(node))))
    }

    fn capture(
        &mut self,
        name: Option<String>,
        flags: Flags,
        depth: usize,
        from: usize,
    ) -> Result<Node, Mistake> {
        self.groups += 1;
        let number = self.groups;
        if number > 1000 {
            return Err(self.wrong_at(from, "more than 1000 groups"));
        }
        if let Some(name) = name {
            if self.named(&name).is_some() {
                return Err(self.wrong_at(from, format!("group '{name}' is defined twice")));
            }
            self.names.push((name, number));
        }
        self.open.push(number);
        let node = self.alternatives(flags, depth + 1)?;
        self.open.pop();
        self.close(from)?;
        Ok(Node::Group(Some(number), Box::new(node)))
    }

    fn close(&mut self, from: usize) -> Result<(), Mistake> {
        match self.eat(')') {
            true => Ok(()),
            false => Err(self.wrong_at(from, "missing ), unterminated subpattern")),
        }
    }

    fn name(&mut self, end: char) -> Result<String, Mistake> {
        let from = self.at;
        let mut name = String::new();
        loop {
            match self.next() {
                Some(c) if c == end => break,
                Some(c) => name.push(c),
                None => return Err(self.wrong_at(from, "unterminated group name")),
            }
        }
        let fine = name.chars().all(|c| c.is_alphanumeric() || c == '_');
        let digits = name.chars().all(|c| c.is_ascii_digit());
        if !fine
            || name.is_empty()
            || (end == '>' && (digits || name.starts_with(|c: char| c.is_ascii_digit())))
        {
            return Err(self.wrong_at(from, format!("bad group name '{name}'")));
        }
        Ok(name)
    }

    fn named(&self, name: &str) -> Option<usize> {
        let found = self.names.iter().find(|(known, _)| known == name);
        found.map(|(_, number)| *number)
    }
}

fn literal(c: char, flags: Flags) -> Node {
    if flags.fold && c.is_alphabetic() {
        Node::Set(format!("(?i:[\\x{{{:X}}}])", c as u32))
    } else {
        Node::Literal(c)
    }
}

/// What `\d` and its likes are within a set.
fn category(c: char, ascii: bool) -> String {
    let members = match (c.to_ascii_lowercase(), ascii) {
        ('d', false) => "\\d",
        ('d', true) => "0-9",
        ('s', false) => "\\s\\x1C-\\x1F",
        ('s', true) => " \\t\\n\\r\\x0B\\x0C",
        (_, false) => "\\w",
        (_, true) => "a-zA-Z0-9_",
    };
    match c.is_ascii_uppercase() {
        true => format!("[^{members}]"),
        false => members.to_owned(),
    }
}

fn push_range(set: &mut String, low: Option<char>, high: Option<char>) {
    if let (Some(low), Some(high)) = (low, high) {
        // Writing to a string can't fail
        let _ = write!(set, "\\x{{{:X}}}-\\x{{{:X}}}", low as u32, high as u32);
    }
}
