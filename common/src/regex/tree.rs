//! Regular expressions as trees: what their parts are, how wide they are, and how a tree is written
//! in the language of the linear engine.

use std::fmt::Write as _;

/// How a repetition chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Greedy,
    Lazy,
    Possessive,
}

/// A piece of an expression.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Empty,
    Literal(char),
    /// One character out of a set, in the linear engine's language.
    Set(String),
    /// `^`, `\A`
    Start,
    StartLine,
    /// `$`: the end, or before a newline at the end.
    End,
    EndLine,
    /// `\Z`
    VeryEnd,
    Word {
        ascii: bool,
        negate: bool,
    },
    /// With its number if it captures.
    Group(Option<usize>, Box<Node>),
    Cat(Vec<Node>),
    Alt(Vec<Node>),
    Repeat {
        node: Box<Node>,
        min: u32,
        max: u32,
        kind: Kind,
    },
    Backref {
        group: usize,
        fold: bool,
    },
    Look {
        behind: bool,
        negate: bool,
        node: Box<Node>,
    },
    Atomic(Box<Node>),
    Cond {
        group: usize,
        yes: Box<Node>,
        no: Box<Node>,
    },
}

/// No upper bound of a repetition.
pub(super) const MANY: u32 = u32::MAX;

/// Widest look-behind, in characters.
pub(super) const BEHIND: u32 = 1000;

/// Least and greatest number of characters, if the latter is bounded.
pub(super) fn width(node: &Node) -> Option<(u32, u32)> {
    match node {
        Node::Literal(_) | Node::Set(_) => Some((1, 1)),
        Node::Group(_, node) | Node::Atomic(node) => width(node),
        Node::Cat(items) => items.iter().try_fold((0u32, 0u32), |(min, max), item| {
            let (low, high) = width(item)?;
            Some((min.checked_add(low)?, max.checked_add(high)?))
        }),
        Node::Alt(items) => items.iter().try_fold((MANY, 0), |(min, max), item| {
            let (low, high) = width(item)?;
            Some((min.min(low), max.max(high)))
        }),
        Node::Repeat { node, min, max, .. } => {
            let (low, high) = width(node)?;
            match *max {
                MANY if high > 0 => None,
                max => Some((low.checked_mul(*min)?, high.checked_mul(max)?)),
            }
        }
        Node::Backref { .. } => None,
        Node::Cond { yes, no, .. } => {
            let ((a, b), (c, d)) = (width(yes)?, width(no)?);
            Some((a.min(c), b.max(d)))
        }
        _ => Some((0, 0)),
    }
}

/// How a tree is written for the linear engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aim {
    /// Groups and matches are the same. Not possible for every tree.
    Exact,
    /// Found in every text that the expression is found in, starting at the same place or before
    /// it: what it does not find needs no closer look.
    Wider,
}

/// Writes a tree for the linear engine; `None` if it can't do that. `$` is written as the end of
/// a line, which is the same in texts without a newline except at the end.
pub(super) fn write(node: &Node, aim: Aim) -> Option<String> {
    let mut out = String::new();
    emit(node, aim, (true, true), &mut out)?;
    Some(out)
}

/// `edge`: nothing stands before, nothing stands behind.
fn emit(node: &Node, aim: Aim, edge: (bool, bool), out: &mut String) -> Option<()> {
    let exact = aim == Aim::Exact;
    match node {
        Node::Empty => out.push_str("(?:)"),
        Node::Literal(c) => {
            if c.is_alphanumeric() {
                out.push(*c);
            } else {
                let _ = write!(out, "\\x{{{:X}}}", *c as u32);
            }
        }
        Node::Set(set) => out.push_str(set),
        Node::Start => out.push_str("\\A"),
        Node::StartLine => out.push_str("(?m:^)"),
        Node::End | Node::EndLine => out.push_str("(?m:$)"),
        Node::VeryEnd => out.push_str("\\z"),
        Node::Word { ascii, negate } => out.push_str(match (ascii, negate) {
            (false, false) => "\\b",
            (false, true) => "\\B",
            (true, false) => "(?-u:\\b)",
            (true, true) if exact => return None,
            (true, true) => "(?:)",
        }),
        Node::Group(number, node) => {
            out.push_str(match number {
                Some(_) if exact => "(",
                _ => "(?:",
            });
            emit(node, aim, edge, out)?;
            out.push(')');
        }
        Node::Cat(items) => {
            let mut head = edge.0;
            for (i, item) in items.iter().enumerate() {
                emit(item, aim, (head, edge.1 && i + 1 == items.len()), out)?;
                // The item after a dropped look-behind is at the head too
                head &= matches!(
                    item,
                    Node::Look { behind, negate, .. } if *negate || !*behind
                );
            }
        }
        Node::Alt(items) => {
            out.push_str("(?:");
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push('|');
                }
                emit(item, aim, edge, out)?;
            }
            out.push(')');
        }
        Node::Repeat {
            node,
            min,
            max,
            kind,
        } => {
            if exact && *kind == Kind::Possessive {
                return None;
            }
            out.push_str("(?:");
            emit(node, aim, (false, false), out)?;
            out.push(')');
            let _ = match (*min, *max) {
                (0, MANY) => write!(out, "*"),
                (1, MANY) => write!(out, "+"),
                (0, 1) => write!(out, "?"),
                (min, MANY) => write!(out, "{{{min},}}"),
                (min, max) => write!(out, "{{{min},{max}}}"),
            };
            if *kind == Kind::Lazy {
                out.push('?');
            }
        }
        _ if exact => return None,
        Node::Backref { .. } => out.push_str("(?s:.*?)"),
        Node::Look {
            behind,
            negate,
            node,
        } => {
            // At the edge its text is next to the match; elsewhere it overlaps with it
            let consumed = !negate && if *behind { edge.0 } else { edge.1 && !edge.0 };
            out.push_str("(?:");
            if consumed {
                emit(node, aim, (false, false), out)?;
            }
            out.push(')');
        }
        Node::Atomic(node) => {
            out.push_str("(?:");
            emit(node, aim, edge, out)?;
            out.push(')');
        }
        Node::Cond { yes, no, .. } => {
            out.push_str("(?:");
            emit(yes, aim, (false, false), out)?;
            out.push('|');
            emit(no, aim, (false, false), out)?;
            out.push(')');
        }
    }
    Some(())
}

/// Whether any node within fits.
pub(super) fn any(node: &Node, test: &dyn Fn(&Node) -> bool) -> bool {
    test(node)
        || match node {
            Node::Group(_, node)
            | Node::Atomic(node)
            | Node::Repeat { node, .. }
            | Node::Look { node, .. } => any(node, test),
            Node::Cat(items) | Node::Alt(items) => items.iter().any(|item| any(item, test)),
            Node::Cond { yes, no, .. } => any(yes, test) || any(no, test),
            _ => false,
        }
}

/// Characters before a match that decide about it: the widest look-behind, and one for `\b`.
pub(super) fn look_behind(node: &Node) -> u32 {
    let mut most = 1;
    let mut visit = vec![node];
    while let Some(node) = visit.pop() {
        match node {
            Node::Look { behind, node, .. } => {
                if *behind {
                    let wide = width(node).map_or(BEHIND, |(_, max)| max);
                    most += wide;
                }
                visit.push(node);
            }
            Node::Group(_, node) | Node::Atomic(node) | Node::Repeat { node, .. } => {
                visit.push(node)
            }
            Node::Cat(items) | Node::Alt(items) => visit.extend(items),
            Node::Cond { yes, no, .. } => visit.extend([&**yes, &**no]),
            _ => {}
        }
    }
    most
}
