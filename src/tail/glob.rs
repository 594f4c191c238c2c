//! Path patterns as operators know them from the Python agent.
//!
//! In `path` patterns `*`, `?` and `[...]` stay within one path component and do not match a
//! leading dot; `**` as a whole component spans any number of directories. In `exclude` patterns
//! ([`crosses`]) `*` also crosses `/` and matches leading dots. Works on bytes; `?` and `[...]`
//! take a whole UTF-8 character where there is one.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Whether the text has any wildcard.
pub fn is_pattern(text: &[u8]) -> bool {
    text.iter().any(|b| matches!(b, b'*' | b'?' | b'['))
}

/// Whether `pattern` matches all of `text`, `*` matching anything (`exclude`).
pub fn crosses(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to go on if the rest does not match: after the last star, one character later.
    let mut star: Option<(usize, usize)> = None;
    loop {
        if p < pattern.len() && pattern[p] == b'*' {
            p += 1;
            star = Some((p, t));
            continue;
        }
        if t == text.len() {
            if p == pattern.len() {
                return true;
            }
        } else if let Some((p_next, t_next)) = one(&pattern[p..], &text[t..]) {
            p += p_next;
            t += t_next;
            continue;
        }
        match star {
            Some((after, from)) if from < text.len() => {
                let next = from + character(&text[from..]).1;
                star = Some((after, next));
                p = after;
                t = next;
            }
            _ => return false,
        }
    }
}

/// Whether one path component matches, hidden names only where the pattern says so.
pub(super) fn component(pattern: &[u8], name: &[u8]) -> bool {
    if name.first() == Some(&b'.') && pattern.first() != Some(&b'.') {
        return false;
    }
    crosses(pattern, name)
}

/// Whether a whole path matches a `path` pattern, the path existing or not.
pub fn matches(pattern: &Path, path: &Path) -> bool {
    let pattern: Vec<&[u8]> = parts(pattern);
    let path: Vec<&[u8]> = parts(path);
    walk(&pattern, &path)
}

fn walk(pattern: &[&[u8]], path: &[&[u8]]) -> bool {
    match pattern {
        [] => path.is_empty(),
        [b"**"] => !path.is_empty() && path.iter().all(|p| p.first() != Some(&b'.')),
        [b"**", rest @ ..] => (0..=path.len())
            .take_while(|&n| path[..n].iter().all(|p| p.first() != Some(&b'.')))
            .any(|n| walk(rest, &path[n..])),
        [first, rest @ ..] => match path {
            [name, after @ ..] => component(first, name) && walk(rest, after),
            [] => false,
        },
    }
}

/// Whether a pattern may match something below this folder.
pub fn leads_through(pattern: &Path, folder: &Path) -> bool {
    let mut pattern = parts(pattern).into_iter();
    for name in parts(folder) {
        match pattern.next() {
            Some(b"**") => return true,
            Some(part) if component(part, name) => {}
            _ => return false,
        }
    }
    pattern.next().is_some()
}

/// The components of a path or pattern.
pub(super) fn parts(path: &Path) -> Vec<&[u8]> {
    path.as_os_str()
        .as_bytes()
        .split(|&b| b == b'/')
        .filter(|c| !c.is_empty())
        .collect()
}

/// Matches one pattern element that is no star; how far pattern and text move on.
fn one(pattern: &[u8], text: &[u8]) -> Option<(usize, usize)> {
    let (c, len) = character(text);
    match pattern.first()? {
        b'?' => Some((1, len)),
        b'[' => match class(pattern, c) {
            Some((true, used)) => Some((used, len)),
            Some((false, _)) => None,
            // Not closed: the bracket stands for itself
            None => (text[0] == b'[').then_some((1, 1)),
        },
        &literal => (literal == text[0]).then_some((1, 1)),
    }
}

/// Whether `c` is in the class that `pattern` starts with, and the class's length.
fn class(pattern: &[u8], c: u32) -> Option<(bool, usize)> {
    let mut at = 1;
    let negated = pattern.get(at) == Some(&b'!');
    if negated {
        at += 1;
    }
    let start = at;
    let mut hit = false;
    loop {
        if *pattern.get(at)? == b']' && at > start {
            return Some((hit != negated, at + 1));
        }
        let (low, len) = character(&pattern[at..]);
        at += len;
        let mut high = low;
        if pattern.get(at) == Some(&b'-') && pattern.get(at + 1).is_some_and(|&b| b != b']') {
            let (end, len) = character(&pattern[at + 1..]);
            high = end;
            at += 1 + len;
        }
        hit |= (low..=high).contains(&c);
    }
}

/// The first character and its length; an invalid byte stands for itself, above all characters.
fn character(text: &[u8]) -> (u32, usize) {
    let len = match text[0] {
        0x00..=0x7F => return (u32::from(text[0]), 1),
        0xC2..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xF4 => 4,
        _ => 0,
    };
    text.get(..len)
        .and_then(|bytes| std::str::from_utf8(bytes).ok())
        .and_then(|s| s.chars().next())
        .map_or((0x11_0000 + u32::from(text[0]), 1), |c| (c as u32, len))
}

/// A path from raw bytes.
pub fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn m(pattern: &str, path: &str) -> bool {
        matches(Path::new(pattern), Path::new(path))
    }

    #[test]
    fn patterns_mean_what_they_meant_to_the_python_agent() {
        assert!(m("/var/log/*.log", "/var/log/a.log"));
        assert!(!m("/var/log/*.log", "/var/log/.a.log"));
        assert!(!m("/var/log/*.log", "/var/log/x/a.log"));
        assert!(m("/var/log/**/*.log", "/var/log/a.log"));
        assert!(m("/var/log/**/*.log", "/var/log/x/y/a.log"));
        assert!(!m("/var/log/**/*.log", "/var/log/x/.y/a.log"));
        assert!(m("/a/[a-c]?.log", "/a/bé.log"));
        assert!(!m("/a/[!a-c]?.log", "/a/bx.log"));
        assert!(m("/a/[[]x", "/a/[x"));
        assert!(m("/a/[x", "/a/[x"));
        assert!(m("/a/[]x]", "/a/]"));
        assert!(!m("/a/b", "/a"));
        assert!(m("/a/.h*", "/a/.hidden"));
    }

    #[test]
    fn exclude_crosses_directories_and_dots() {
        assert!(crosses(b"*/app.log", b"/var/log/.x/app.log"));
        assert!(!crosses(b"app.log", b"/var/log/app.log"));
        assert!(crosses(b"*.[0-9]*", b"/var/log/app.log.1"));
        assert!(crosses(b"*", b""));
        assert!(!crosses(b"?", b""));
        assert!(crosses(b"a*b*c", b"aXbbXcYc"));
    }

    #[test]
    fn a_hostile_pattern_does_not_take_for_ever() {
        let pattern = b"*a".repeat(50);
        assert!(!crosses(
            &pattern,
            &b"a"
                .repeat(5_000)
                .iter()
                .chain(b"b")
                .copied()
                .collect::<Vec<_>>()
        ));
    }
}
