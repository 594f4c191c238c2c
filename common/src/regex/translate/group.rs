//! Groups, looks, conditions, flags and comments: everything that begins with a parenthesis.

use super::{Flags, Mistake, Parser};
use crate::regex::tree::{width, Node, BEHIND};

impl Parser<'_> {
    pub(super) fn group(
        &mut self,
        flags: Flags,
        depth: usize,
        from: usize,
    ) -> Result<Option<Node>, Mistake> {
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

    pub(super) fn named(&self, name: &str) -> Option<usize> {
        let found = self.names.iter().find(|(known, _)| known == name);
        found.map(|(_, number)| *number)
    }
}
