//! Escapes and sets of characters.

use super::{literal, Flags, Mistake, Parser};
use crate::regex::tree::Node;
use std::fmt::Write as _;

impl Parser<'_> {
    pub(super) fn escape(&mut self, flags: Flags, from: usize) -> Result<Node, Mistake> {
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

    pub(super) fn reference(
        &self,
        group: usize,
        flags: Flags,
        from: usize,
    ) -> Result<Node, Mistake> {
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

    pub(super) fn class(&mut self, flags: Flags, from: usize) -> Result<Node, Mistake> {
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
}

/// The members of `\d` and its likes, as they are written within a set.
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
