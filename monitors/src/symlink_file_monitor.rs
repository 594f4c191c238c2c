//! `symlink_file_monitor`: a test helper that makes symbolic links to files.

use crate::monitor::{Cadence, Description, Log, Monitor, Setup};
use crate::options::{Default, Kind, OptionSpec};
use crate::wildcard;
use crate::{Emitter, Error};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

/// Its entry in the registry.
pub const DESCRIPTION: Description = Description {
    module: "scalyr_agent.builtin_monitors.symlink_file_monitor",
    text: "Makes symbolic links to files, beside them. A helper for tests of log copying; it writes no metrics.",
    options: &[
        OptionSpec::new(
            "input_path_glob",
            Kind::Text,
            Default::Required,
            "Shell pattern of the files to link to; `**` stands for any number of directories. Symbolic links are passed over.",
        ),
        OptionSpec::new(
            "symlink_file_name_format",
            Kind::Text,
            Default::Required,
            "Name of a link: {file_name} is the file's name, {index} the number of the link from 0 on; {{ and }} are braces.",
        ),
        OptionSpec::new(
            "symlinks_count",
            Kind::Int,
            Default::Int(1),
            "How many links are made to each file.",
        )
        .at_least(1.0)
        .at_most(10.0),
    ],
    metrics: &[],
    open: false,
    log: Log::Own(|_| Vec::new()),
    write_limit: (-1, -1),
    cadence: Cadence::Sampled,
    service: None,
    make: |setup| Ok(Box::new(SymlinkFileMonitor::new(setup)?)),
};

/// Directories below which `**` looks.
const DEEPEST: usize = 64;
/// Files that are linked to in one sample.
const MOST: usize = 10_000;

struct SymlinkFileMonitor {
    glob: PathBuf,
    format: Vec<Piece>,
    count: i64,
}

#[derive(Debug, PartialEq)]
enum Piece {
    Text(String),
    FileName,
    Index,
}

impl SymlinkFileMonitor {
    fn new(setup: &Setup) -> Result<Self, Error> {
        let format = setup.options.text("symlink_file_name_format");
        Ok(SymlinkFileMonitor {
            glob: setup.options.text("input_path_glob").into(),
            format: pieces(format).map_err(|why| {
                Error::of_option(
                    "symlink_file_name_format",
                    format!("Field \"symlink_file_name_format\": {why}"),
                )
            })?,
            count: setup.options.int("symlinks_count").unwrap_or(1),
        })
    }

    fn name(&self, file: &OsStr, index: i64) -> std::ffi::OsString {
        let mut name = std::ffi::OsString::new();
        for piece in &self.format {
            match piece {
                Piece::Text(text) => name.push(text),
                Piece::FileName => name.push(file),
                Piece::Index => name.push(index.to_string()),
            }
        }
        name
    }
}

impl Monitor for SymlinkFileMonitor {
    fn gather(&mut self, out: &mut Emitter) -> Result<(), Error> {
        let mut files = Vec::new();
        let parts: Vec<Component> = self.glob.components().collect();
        find(Path::new(""), &parts, DEEPEST, &mut files);
        common::sort::plainly(&mut files);
        files.dedup();
        for file in files {
            let Some(file_name) = file.file_name() else {
                continue;
            };
            for index in 0..self.count {
                let link = file.with_file_name(self.name(file_name, index));
                match symlink(&file, &link) {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    Err(error) => {
                        if out.once_in(Duration::from_secs(3600), &error.to_string()) {
                            out.error(format_args!("Cannot make {}: {error}.", link.display()));
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

fn pieces(format: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut rest = format;
    while let Some(c) = rest.chars().next() {
        let (taken, placeholder) = if rest.starts_with("{{") || rest.starts_with("}}") {
            text.push(c);
            (2, None)
        } else if rest.starts_with("{file_name}") {
            ("{file_name}".len(), Some(Piece::FileName))
        } else if rest.starts_with("{index}") {
            ("{index}".len(), Some(Piece::Index))
        } else if matches!(c, '{' | '}' | '/' | '\0') {
            return Err(format!(
                "unexpected {c:?}; a name may hold text, {{file_name}} and {{index}}"
            ));
        } else {
            text.push(c);
            (c.len_utf8(), None)
        };
        rest = &rest[taken..];
        if let Some(piece) = placeholder {
            if !text.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut text)));
            }
            pieces.push(piece);
        }
    }
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
    if pieces.is_empty() {
        return Err("is empty".to_owned());
    }
    Ok(pieces)
}

/// Adds the regular files below `dir` that the rest of the pattern means. As in a shell, a name
/// that begins with a dot is only matched by a pattern that does.
fn find(dir: &Path, parts: &[Component], depth: usize, found: &mut Vec<PathBuf>) {
    let Some((first, rest)) = parts.split_first() else {
        if fs::symlink_metadata(dir).is_ok_and(|meta| meta.is_file()) && found.len() < MOST {
            found.push(dir.to_owned());
        }
        return;
    };
    let pattern = first.as_os_str().to_string_lossy();
    let is_normal = matches!(first, Component::Normal(_));
    if !is_normal || !pattern.contains(['*', '?', '[']) {
        return find(&dir.join(first), rest, depth, found);
    }
    let recursive = pattern == "**";
    if recursive {
        find(dir, rest, depth, found);
    }
    let here = if dir.as_os_str().is_empty() {
        Path::new(".")
    } else {
        dir
    };
    let Ok(entries) = fs::read_dir(here) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with('.') && !pattern.starts_with('.') {
            continue;
        }
        if recursive {
            // Not through links: they may lead back up.
            if depth > 0 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                find(&entry.path(), parts, depth - 1, found);
            }
        } else if wildcard::matches(&pattern, &name) {
            find(&entry.path(), rest, depth, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::Place;
    use crate::testing::{make, sample};
    use common::testing::Scratch;
    use serde_json::json;

    fn run(scratch: &Scratch, glob: &str, format: &str, count: i64) -> Vec<String> {
        let entry = json!({
            "input_path_glob": scratch.path(glob).to_str().unwrap(),
            "symlink_file_name_format": format,
            "symlinks_count": count,
        });
        let mut monitor = make(&DESCRIPTION, &entry, &Place::new("/", "/")).unwrap();
        for _ in 0..3 {
            assert_eq!(
                sample(monitor.as_mut(), "symlink_file_monitor()").unwrap(),
                ""
            );
        }
        let mut links = Vec::new();
        let mut dirs = vec![scratch.path("")];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                let meta = fs::symlink_metadata(&path).unwrap();
                if meta.is_dir() {
                    dirs.push(path);
                } else if meta.is_symlink() {
                    let target = fs::read_link(&path).unwrap();
                    let short = |path: &Path| {
                        let path = path.strip_prefix(scratch.path("")).unwrap();
                        path.to_str().unwrap().to_owned()
                    };
                    links.push(format!("{} -> {}", short(&path), short(&target)));
                }
            }
        }
        links.sort();
        links
    }

    #[test]
    fn links_are_made_beside_each_match_and_never_to_links() {
        let scratch = Scratch::new("symlinks");
        fs::create_dir_all(scratch.path("sub/deep")).unwrap();
        fs::create_dir_all(scratch.path(".hidden")).unwrap();
        for name in ["a.log", "b.txt", "sub/deep/c.log", ".hidden/d.log"] {
            fs::write(scratch.path(name), "").unwrap();
        }
        // A link that leads nowhere is in the way of nothing.
        symlink("/nowhere", scratch.path("dangling.log")).unwrap();
        fs::remove_file(scratch.path("dangling.log")).unwrap();
        assert_eq!(
            run(&scratch, "**/*.log", "{file_name}-{index}.log", 2),
            [
                "a.log-0.log -> a.log",
                "a.log-1.log -> a.log",
                "sub/deep/c.log-0.log -> sub/deep/c.log",
                "sub/deep/c.log-1.log -> sub/deep/c.log",
            ]
        );
    }

    #[test]
    fn a_dangling_link_in_the_way_is_left_alone() {
        let scratch = Scratch::new("symlinks-dangling");
        fs::write(scratch.path("b.txt"), "").unwrap();
        symlink(scratch.path("gone"), scratch.path("{x}")).unwrap();
        assert_eq!(run(&scratch, "?.txt", "{{x}}", 1), ["{x} -> gone"]);
    }

    #[test]
    fn a_format_that_leads_out_of_the_directory_is_refused() {
        for format in ["../{index}", "{name}", "{", "", "x}"] {
            assert!(pieces(format).is_err(), "{format}");
        }
    }
}
