//! Path patterns as operators know them from the Python agent (copying.md §2.2, config.md §5.2).
//!
//! In `path` patterns `*`, `?` and `[...]` stay within one path component and do not match a
//! leading dot; `**` as a whole component spans any number of directories. In `exclude` patterns
//! ([`crosses`]) `*` also crosses `/` and matches leading dots. Works on bytes; `?` and `[...]`
//! take a whole UTF-8 character where there is one.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How deep `**` descends, and how many results one expansion gives at the most: a pattern that
/// runs into a loop of bind mounts must not hold the agent up.
const MOST_DEPTH: usize = 64;
const MOST_RESULTS: usize = 200_000;

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
fn component(pattern: &[u8], name: &[u8]) -> bool {
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

fn parts(path: &Path) -> Vec<&[u8]> {
    path.as_os_str()
        .as_bytes()
        .split(|&b| b == b'/')
        .filter(|c| !c.is_empty())
        .collect()
}

/// The existing paths that match, sorted. Unreadable directories count as empty.
pub fn expand(pattern: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let root = if pattern.is_absolute() { "/" } else { "" };
    descend(
        PathBuf::from(root),
        &parts(pattern),
        0,
        &mut Vec::new(),
        &mut found,
    );
    crate::util::sort::plainly(&mut found);
    found.dedup();
    found
}

fn descend(
    base: PathBuf,
    pattern: &[&[u8]],
    depth: usize,
    on_way: &mut Vec<(u64, u64)>,
    found: &mut Vec<PathBuf>,
) {
    if found.len() >= MOST_RESULTS {
        return;
    }
    let [first, rest @ ..] = pattern else {
        // Existence is checked for the last literal component only; wildcards came from a listing.
        found.push(base);
        return;
    };
    if first == b"**" {
        if rest.is_empty() {
            // A trailing ** stands for every file below
            return descend(base, &[b"**", b"*"], depth, on_way, found);
        }
        let Ok(meta) = fs::metadata(&base) else {
            return;
        };
        let identity = (meta.dev(), meta.ino());
        if on_way.contains(&identity) {
            return; // a link back up
        }
        descend(base.clone(), rest, depth, on_way, found);
        if depth >= MOST_DEPTH {
            return;
        }
        on_way.push(identity);
        for name in listing(&base) {
            let below = base.join(&name);
            if name.as_bytes().first() != Some(&b'.') && below.is_dir() {
                descend(below, pattern, depth + 1, on_way, found);
            }
        }
        on_way.pop();
        return;
    }
    if !is_pattern(first) {
        let below = base.join(OsStr::from_bytes(first));
        if rest.is_empty() && fs::symlink_metadata(&below).is_err() {
            return;
        }
        return descend(below, rest, depth, on_way, found);
    }
    for name in listing(&base) {
        if component(first, name.as_bytes()) {
            descend(base.join(&name), rest, depth, on_way, found);
        }
    }
}

fn listing(dir: &Path) -> Vec<OsString> {
    let dir = if dir.as_os_str().is_empty() {
        Path::new(".")
    } else {
        dir
    };
    fs::read_dir(dir)
        .map(|entries| {
            entries
                .filter_map(|e| e.ok().map(|e| e.file_name()))
                .collect()
        })
        .unwrap_or_default()
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

    #[test]
    fn expansion_is_sorted_and_survives_a_loop_of_links() {
        let dir = std::env::temp_dir().join(format!("glob-{}", crate::util::random::uuid4()));
        fs::create_dir_all(dir.join("b/c")).unwrap();
        for name in ["z.log", "a.log", "b/m.log", "b/c/n.log", ".h.log"] {
            fs::write(dir.join(name), "").unwrap();
        }
        std::os::unix::fs::symlink(&dir, dir.join("b/up")).unwrap();
        let names = |pattern: &str| -> Vec<String> {
            expand(&dir.join(pattern))
                .iter()
                .map(|p| p.strip_prefix(&dir).unwrap().to_string_lossy().into_owned())
                .collect()
        };
        assert_eq!(names("*.log"), ["a.log", "z.log"]);
        assert_eq!(names("nothing.log"), [""; 0]);
        assert_eq!(
            names("**/*.log"),
            ["a.log", "b/c/n.log", "b/m.log", "z.log"]
        );
        fs::remove_dir_all(&dir).unwrap();
    }
}
