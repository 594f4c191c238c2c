//! Reads Python pickles of all protocols, 0 to 5, as far as they hold numbers, text, lists, tuples,
//! `None` and truth values. Nothing in a pickle is ever run: an opcode that
//! names, calls or builds anything is an error.
//!
//! Values live in one table and refer to each other by their place in it, so deep nesting,
//! references to oneself and a value that is named a thousand times take no stack and no more
//! memory than the table, which has a bound.

use std::collections::HashMap;
use std::fmt;

/// Values in one pickle at the most. Each takes a byte of input or more, and about 32 bytes here.
pub const MOST_VALUES: usize = 250_000;

/// The reason why a pickle is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mistake {
    /// It ends in the middle.
    Short,
    /// An opcode that makes something that is no plain value, or is unknown.
    Forbidden(u8),
    /// Its parts do not fit together.
    Malformed(&'static str),
    /// More than [`MOST_VALUES`].
    TooManyValues,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Mistake::Short => f.write_str("it ends too early"),
            Mistake::Forbidden(code) => {
                write!(
                    f,
                    "opcode 0x{code:02x} is not allowed: only lists, tuples, text and numbers are"
                )
            }
            Mistake::Malformed(what) => f.write_str(what),
            Mistake::TooManyValues => write!(f, "it has more than {MOST_VALUES} values"),
        }
    }
}

#[derive(Debug)]
enum Node {
    /// `None`.
    Nothing,
    Number(f64),
    Text(Box<str>),
    List(Vec<u32>),
    Tuple(Box<[u32]>),
}

/// A pickle that was read.
#[derive(Debug)]
pub struct Pickle {
    nodes: Vec<Node>,
    root: u32,
}

/// One value of a [`Pickle`].
#[derive(Debug, Clone, Copy)]
pub struct Value<'p> {
    pickle: &'p Pickle,
    at: u32,
}

impl Pickle {
    /// The outermost value.
    pub fn root(&self) -> Value<'_> {
        Value {
            pickle: self,
            at: self.root,
        }
    }
}

impl<'p> Value<'p> {
    fn node(self) -> Option<&'p Node> {
        self.pickle.nodes.get(self.at as usize)
    }

    /// Its number; truth values count as 0 and 1.
    pub fn number(self) -> Option<f64> {
        match self.node()? {
            Node::Number(x) => Some(*x),
            _ => None,
        }
    }

    /// Its text; bytes are taken as UTF-8.
    pub fn text(self) -> Option<&'p str> {
        match self.node()? {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }

    fn children(self) -> Option<&'p [u32]> {
        match self.node()? {
            Node::List(items) => Some(items),
            Node::Tuple(items) => Some(items),
            _ => None,
        }
    }

    /// The elements of a list or tuple.
    pub fn items(self) -> Option<impl ExactSizeIterator<Item = Value<'p>>> {
        let pickle = self.pickle;
        let items = self.children()?;
        Some(items.iter().map(move |&at| Value { pickle, at }))
    }

    /// The elements of a list or tuple of two.
    pub fn pair(self) -> Option<(Value<'p>, Value<'p>)> {
        let pickle = self.pickle;
        match *self.children()? {
            [a, b] => Some((Value { pickle, at: a }, Value { pickle, at: b })),
            _ => None,
        }
    }

    /// The first two elements of a list or tuple that has at least so many.
    pub fn first_two(self) -> Option<(Value<'p>, Value<'p>)> {
        let mut items = self.items()?;
        Some((items.next()?, items.next()?))
    }
}

/// Reads a pickle. What follows its end is not looked at.
///
/// # Errors
/// [`Mistake`].
pub fn read(bytes: &[u8]) -> Result<Pickle, Mistake> {
    let mut machine = Machine {
        rest: bytes,
        nodes: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
    };
    let root = machine.run()?;
    Ok(Pickle {
        nodes: machine.nodes,
        root,
    })
}

struct Machine<'b> {
    rest: &'b [u8],
    nodes: Vec<Node>,
    stack: Vec<u32>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u64, u32>,
}

const EMPTY: Mistake = Mistake::Malformed("it takes something from an empty stack");

impl<'b> Machine<'b> {
    fn run(&mut self) -> Result<u32, Mistake> {
        loop {
            let code = self.byte()?;
            match code {
                b'.' => return self.pop(),
                0x80 => {
                    if self.byte()? > 5 {
                        return Err(Mistake::Malformed("its protocol is newer than 5"));
                    }
                }
                // The size of what follows; the end of the pickle shows it as well.
                0x95 => {
                    self.take(8)?;
                }
                b'(' => {
                    // Marks cost memory as values do.
                    if self.marks.len() >= MOST_VALUES {
                        return Err(Mistake::TooManyValues);
                    }
                    self.marks.push(self.stack.len());
                }
                b'0' => self.drop_one()?,
                b'1' => {
                    self.since_mark()?;
                }
                b'2' => {
                    let top = *self.stack.last().ok_or(EMPTY)?;
                    self.push_id(top)?;
                }
                b'N' | 0x88 | 0x89 | b'F' | b'G' | b'I' | b'J' | b'K' | b'M' | b'L' | 0x8a
                | 0x8b => {
                    let node = self.number(code)?;
                    self.push(node)?;
                }
                b'S' | b'T' | b'U' | b'V' | b'X' | b'B' | b'C' | 0x8c | 0x8d | 0x8e => {
                    let text = self.text(code)?;
                    self.push(Node::Text(text))?;
                }
                b']' => self.push(Node::List(Vec::new()))?,
                b')' => self.push(Node::Tuple(Box::default()))?,
                b'l' => {
                    let items = self.since_mark()?;
                    self.push(Node::List(items))?;
                }
                b't' => {
                    let items = self.since_mark()?;
                    self.push(Node::Tuple(items.into()))?;
                }
                0x85..=0x87 => {
                    let count = usize::from(code - 0x84);
                    let from = self.stack.len().checked_sub(count).ok_or(EMPTY)?;
                    let items = self.stack.split_off(from);
                    self.push(Node::Tuple(items.into()))?;
                }
                b'a' => {
                    let item = self.pop()?;
                    self.append(&[item])?;
                }
                b'e' => {
                    let items = self.since_mark()?;
                    self.append(&items)?;
                }
                b'p' | b'q' | b'r' | 0x94 => {
                    let key = match code {
                        0x94 => self.memo.len() as u64,
                        code => self.memo_key(code)?,
                    };
                    let top = *self.stack.last().ok_or(EMPTY)?;
                    if self.memo.len() >= MOST_VALUES {
                        return Err(Mistake::TooManyValues);
                    }
                    self.memo.insert(key, top);
                }
                b'g' | b'h' | b'j' => {
                    let key = match code {
                        b'g' => self.memo_key(b'p'),
                        b'h' => self.memo_key(b'q'),
                        _ => self.memo_key(b'r'),
                    }?;
                    let at = *self.memo.get(&key).ok_or(Mistake::Malformed(
                        "it names a value that it has not remembered",
                    ))?;
                    self.push_id(at)?;
                }
                _ => return Err(Mistake::Forbidden(code)),
            }
        }
    }

    fn byte(&mut self) -> Result<u8, Mistake> {
        Ok(self.take(1)?[0])
    }

    fn take(&mut self, count: usize) -> Result<&'b [u8], Mistake> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Mistake::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    /// A little-endian number of so many bytes, at most 8.
    fn unsigned(&mut self, bytes: usize) -> Result<u64, Mistake> {
        let taken = self.take(bytes)?;
        Ok(taken.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b)))
    }

    /// As many bytes as the number in front of them says, which has itself so many.
    fn counted(&mut self, bytes: usize) -> Result<&'b [u8], Mistake> {
        let count = self.unsigned(bytes)?;
        self.take(usize::try_from(count).map_err(|_| Mistake::Short)?)
    }

    /// Up to the end of the line.
    fn line(&mut self) -> Result<&'b [u8], Mistake> {
        let end = self.rest.iter().position(|&b| b == b'\n');
        let line = self.take(end.ok_or(Mistake::Short)?)?;
        self.take(1)?;
        Ok(line)
    }

    fn text_line(&mut self) -> Result<&'b str, Mistake> {
        let line = std::str::from_utf8(self.line()?);
        line.map_err(|_| Mistake::Malformed("a number of it is none"))
    }

    fn push(&mut self, node: Node) -> Result<(), Mistake> {
        if self.nodes.len() >= MOST_VALUES {
            return Err(Mistake::TooManyValues);
        }
        let at = self.nodes.len() as u32;
        self.nodes.push(node);
        self.push_id(at)
    }

    fn push_id(&mut self, at: u32) -> Result<(), Mistake> {
        if self.stack.len() >= 2 * MOST_VALUES {
            return Err(Mistake::TooManyValues);
        }
        self.stack.push(at);
        Ok(())
    }

    /// Takes a value from above the last mark.
    fn pop(&mut self) -> Result<u32, Mistake> {
        if self
            .marks
            .last()
            .is_some_and(|&mark| mark >= self.stack.len())
        {
            return Err(EMPTY);
        }
        self.stack.pop().ok_or(EMPTY)
    }

    /// `0` takes a mark away if there is nothing above it.
    fn drop_one(&mut self) -> Result<(), Mistake> {
        if self.marks.last() == Some(&self.stack.len()) {
            self.marks.pop();
            return Ok(());
        }
        self.pop().map(drop)
    }

    fn since_mark(&mut self) -> Result<Vec<u32>, Mistake> {
        let mark = self.marks.pop().ok_or(EMPTY)?;
        if mark > self.stack.len() {
            return Err(EMPTY);
        }
        Ok(self.stack.split_off(mark))
    }

    fn append(&mut self, items: &[u32]) -> Result<(), Mistake> {
        let list = *self.stack.last().ok_or(EMPTY)?;
        match self.nodes.get_mut(list as usize) {
            Some(Node::List(list)) => {
                list.extend_from_slice(items);
                Ok(())
            }
            _ => Err(Mistake::Malformed("it appends to what is no list")),
        }
    }

    fn memo_key(&mut self, code: u8) -> Result<u64, Mistake> {
        match code {
            b'q' => self.unsigned(1),
            b'r' => self.unsigned(4),
            _ => self
                .text_line()?
                .parse()
                .map_err(|_| Mistake::Malformed("it numbers a value by what is no number")),
        }
    }

    fn number(&mut self, code: u8) -> Result<Node, Mistake> {
        const NONE: Mistake = Mistake::Malformed("a number of it is none");
        Ok(Node::Number(match code {
            b'N' => return Ok(Node::Nothing),
            0x88 => 1.0,
            0x89 => 0.0,
            b'K' => self.unsigned(1)? as f64,
            b'M' => self.unsigned(2)? as f64,
            b'J' => f64::from(self.unsigned(4)? as u32 as i32),
            b'G' => {
                let bytes = self.take(8)?.try_into().map_err(|_| Mistake::Short)?;
                f64::from_be_bytes(bytes)
            }
            0x8a => long(self.counted(1)?),
            0x8b => long(self.counted(4)?),
            _ => {
                let line = self.text_line()?.trim();
                let line = line.strip_suffix('L').unwrap_or(line);
                line.parse().map_err(|_| NONE)?
            }
        }))
    }

    fn text(&mut self, code: u8) -> Result<Box<str>, Mistake> {
        let bytes = match code {
            b'S' => return unquote(self.line()?),
            b'V' => return unescape(self.line()?),
            b'U' | b'C' | 0x8c => self.counted(1)?,
            0x8d | 0x8e => self.counted(8)?,
            _ => self.counted(4)?,
        };
        Ok(utf8(bytes))
    }
}

fn utf8(bytes: &[u8]) -> Box<str> {
    String::from_utf8_lossy(bytes).into()
}

/// A little-endian two's complement number of any length.
fn long(bytes: &[u8]) -> f64 {
    let Some(&last) = bytes.last() else {
        return 0.0;
    };
    if bytes.len() <= 16 {
        let fill = if last & 0x80 == 0 { 0 } else { 0xff };
        let mut all = [fill; 16];
        all[..bytes.len()].copy_from_slice(bytes);
        return i128::from_le_bytes(all) as f64;
    }
    // Beyond 128 bits: exact enough, and infinite where no float is large enough.
    let negative = last & 0x80 != 0;
    let sum = bytes.iter().rev().fold(0.0, |sum: f64, &byte| {
        let byte = if negative { !byte } else { byte };
        sum * 256.0 + f64::from(byte)
    });
    if negative {
        -sum - 1.0
    } else {
        sum
    }
}

/// A string as Python shows it: `'it\'s'`.
fn unquote(line: &[u8]) -> Result<Box<str>, Mistake> {
    const WRONG: Mistake = Mistake::Malformed("a string of it is not quoted");
    let line = line.trim_ascii();
    let (&quote, rest) = line.split_first().ok_or(WRONG)?;
    let (&end, inner) = rest.split_last().ok_or(WRONG)?;
    if !matches!(quote, b'\'' | b'"') || end != quote {
        return Err(WRONG);
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let Some((&escaped, behind)) = rest.split_first() else {
            return Err(WRONG);
        };
        rest = behind;
        match escaped {
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'a' => out.push(7),
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'v' => out.push(11),
            b'\\' | b'\'' | b'"' => out.push(escaped),
            b'x' => {
                let code = digits(rest, 2, 16).ok_or(WRONG)?;
                out.push(code as u8);
                rest = &rest[2..];
            }
            b'0'..=b'7' => {
                let more = rest.iter().take(2);
                let more = more.take_while(|b| matches!(b, b'0'..=b'7')).count();
                let octal = std::iter::once(&escaped).chain(&rest[..more]);
                let code = octal.fold(0u32, |n, b| n * 8 + u32::from(b - b'0'));
                out.push(code as u8);
                rest = &rest[more..];
            }
            other => out.extend([b'\\', other]),
        }
    }
    Ok(utf8(&out))
}

/// Latin-1 with `\uXXXX` and `\UXXXXXXXX`.
fn unescape(line: &[u8]) -> Result<Box<str>, Mistake> {
    const WRONG: Mistake = Mistake::Malformed("a string of it has a broken escape");
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        let length = match (byte, rest.first()) {
            (b'\\', Some(b'u')) => 4,
            (b'\\', Some(b'U')) => 8,
            _ => {
                out.push(char::from(byte));
                continue;
            }
        };
        let code = digits(&rest[1..], length, 16).ok_or(WRONG)?;
        // Halves of a surrogate pair have no meaning alone.
        out.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
        rest = &rest[1 + length..];
    }
    Ok(out.into())
}

/// The number that the first `count` bytes spell.
fn digits(bytes: &[u8], count: usize, radix: u32) -> Option<u32> {
    let digits = bytes.get(..count)?;
    digits.iter().try_fold(0u32, |n, &byte| {
        let digit = char::from(byte).to_digit(radix)?;
        n.checked_mul(radix)?.checked_add(digit)
    })
}

#[cfg(test)]
#[path = "pickle_tests.rs"]
mod tests;
