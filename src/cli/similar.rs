//! Guesses which file was meant by a path that is not there.

use crate::agent::insight::{Claim, Insight};
use crate::util::words::nearest;
use std::fs;
use std::path::{Path, PathBuf};

/// At most this many names of a folder are compared.
const MOST_NAMES: usize = 5000;

/// The path of a file that fits, one misspelt part of the path after the other put right.
pub(super) fn file(path: &Path, fits: &dyn Fn(&Path) -> bool) -> Option<PathBuf> {
    let mut real = PathBuf::from("/");
    let mut parts = path.components().skip(1).peekable();
    while let Some(part) = parts.next() {
        let is_last = parts.peek().is_none();
        let next = real.join(part);
        if !is_last && next.is_dir() {
            real = next;
            continue;
        }
        let names = fs::read_dir(&real).ok()?.take(MOST_NAMES).flatten();
        let names = names.filter_map(|entry| entry.file_name().into_string().ok());
        let is_meant = |name: &String| {
            let path = real.join(name);
            match is_last {
                true => path.is_file() && fits(&path),
                false => path.is_dir(),
            }
        };
        let names: Vec<String> = names.filter(is_meant).collect();
        let name = nearest(part.as_os_str().to_str()?, names.iter().map(String::as_str))?;
        real.push(name);
    }
    Some(real)
}

/// Whether each part of the one path is the other's, or a misspelt one.
fn alike(typed: &Path, known: &Path) -> bool {
    let (typed, known) = (typed.components(), known.components());
    typed.clone().count() == known.clone().count()
        && typed.zip(known).all(|(typed, known)| {
            let pair = (typed.as_os_str().to_str(), known.as_os_str().to_str());
            typed == known || matches!(pair, (Some(a), Some(b)) if nearest(a, [b]).is_some())
        })
}

/// The line about a path that does not exist, if one that is like it is copied.
pub(super) fn followed(insight: &Insight, path: &Path) -> Option<String> {
    if fs::symlink_metadata(path).is_ok() {
        return None;
    }
    let copies = |path: &Path| {
        let candidates = insight.candidates(path);
        candidates.iter().any(|c| c.claim == Claim::Counts)
    };
    let meant = file(path, &copies).or_else(|| {
        // A file that an entry names, and that need not be there; last, one of the same name elsewhere
        let candidates = insight.candidates(path);
        let named = candidates.iter().filter_map(|c| c.pattern.to_str());
        let named: Vec<&str> = named
            .filter(|name| !name.contains(['*', '?', '[']))
            .collect();
        let near = named
            .iter()
            .find(|name| alike(path, Path::new(name)))
            .copied();
        let same = || {
            let of_name = |name: &&&str| Path::new(name).file_name() == path.file_name();
            named.iter().find(of_name).copied()
        };
        near.or_else(same).map(PathBuf::from)
    })?;
    (meant != path).then(|| format!("Did you mean {}, which is copied?", meant.display()))
}
