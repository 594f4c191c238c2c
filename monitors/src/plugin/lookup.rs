//! Which file a `module` that is not built in stands for.

use super::trust;
use crate::monitor::short_name;
use crate::Error;
use std::fs;
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// The way in which a plug-in is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It is a program of its own.
    Executable,
    /// A Python module with a `ScalyrMonitor`, run by the Python host.
    Python {
        /// Whether the file was found by the whole dotted name, so that it is imported as part of
        /// its package.
        dotted: bool,
    },
}

/// A plug-in that may be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Absolute.
    pub path: PathBuf,
    /// The directory of [`crate::Place::plugin_dirs`] that it was found in; absolute.
    pub dir: PathBuf,
    /// How it is run.
    pub kind: Kind,
}

/// Endings that a program may have beside none, in the order in which they are tried.
const ENDINGS: [&str; 11] = [
    "", ".py", ".sh", ".bash", ".pl", ".rb", ".lua", ".js", ".php", ".awk", ".tcl",
];

/// Longer names are no plug-in's; a file name has 255 bytes at the most.
const LONGEST_NAME: usize = 200;

/// How much of an executable `.py` file is searched for a use of the monitors' API.
const SEARCHED: u64 = 256 * 1024;

/// The plug-in of that name in the first directory that has one: by its dotted parts as folders,
/// then by the last part alone. Directories that do not exist are passed over.
///
/// # Errors
/// There is a file of that name, but it must not or cannot be run; the text says why.
pub fn find(module: &str, dirs: &[PathBuf]) -> Result<Option<Found>, Error> {
    if !is_name(module) {
        return Ok(None);
    }
    let dotted = module.replace('.', "/");
    let short = short_name(module);
    for dir in dirs {
        // Only an empty path has no absolute form.
        let Ok(dir) = std::path::absolute(dir) else {
            continue;
        };
        let found = match in_dir(&dir, &dotted, true)? {
            None if dotted != short => in_dir(&dir, short, false)?,
            found => found,
        };
        if let Some(found) = found {
            trust::check(&found.path, &dir)?;
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Dotted parts of letters, digits, `_` and `-`: nothing that could lead out of the directory.
fn is_name(module: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    };
    module.len() <= LONGEST_NAME && module.split('.').all(part)
}

fn in_dir(dir: &Path, name: &str, dotted: bool) -> Result<Option<Found>, Error> {
    let mut idle = None;
    for ending in ENDINGS {
        let path = dir.join(format!("{name}{ending}"));
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if absent(&error) => continue,
            Err(error) => return Err(unreadable(&path, &error)),
        };
        if metadata.is_dir() {
            let package = path.join("__init__.py");
            if ending.is_empty() && package.is_file() {
                return Ok(Some(Found {
                    path: package,
                    dir: dir.to_owned(),
                    kind: Kind::Python { dotted },
                }));
            }
            continue;
        }
        if !metadata.is_file() {
            continue;
        }
        let executable = metadata.permissions().mode() & 0o111 != 0;
        let kind = match (ending, executable) {
            (".py", true) if !uses_api(&path)? => Kind::Executable,
            (".py", _) => Kind::Python { dotted },
            (_, true) => Kind::Executable,
            (_, false) => {
                idle.get_or_insert(path);
                continue;
            }
        };
        return Ok(Some(Found {
            path,
            dir: dir.to_owned(),
            kind,
        }));
    }
    match idle {
        None => Ok(None),
        Some(path) => Err(Error::new(format!(
            "the plug-in {} is not executable; run `chmod 755` on it",
            path.display()
        ))),
    }
}

/// A part of the path is no directory, or is not there.
fn absent(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    Error::new(format!(
        "cannot read the plug-in {}: {error}",
        path.display()
    ))
}

/// Whether an executable Python file is nevertheless a monitor of the Python agent.
fn uses_api(path: &Path) -> Result<bool, Error> {
    let mut text = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(SEARCHED).read_to_end(&mut text))
        .map_err(|error| unreadable(path, &error))?;
    let needle = b"ScalyrMonitor";
    Ok(text.windows(needle.len()).any(|window| window == needle))
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::testing::Scratch;

    fn put(scratch: &Scratch, name: &str, mode: u32, text: &str) {
        let path = scratch.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn kinds(scratch: &Scratch, module: &str) -> Option<(String, Kind)> {
        let dirs = [scratch.path("none"), scratch.path("a"), scratch.path("b")];
        let found = find(module, &dirs).unwrap()?;
        let below = found.path.strip_prefix(scratch.path("")).unwrap();
        Some((below.to_str().unwrap().to_owned(), found.kind))
    }

    #[test]
    fn the_first_directory_and_the_fullest_name_win() {
        let scratch = Scratch::new("lookup");
        put(&scratch, "b/one.sh", 0o755, "");
        put(&scratch, "b/two", 0o755, "");
        put(&scratch, "a/two.pl", 0o755, "");
        put(&scratch, "b/my/pkg/three.py", 0o644, "");
        put(&scratch, "b/three", 0o755, "");
        put(&scratch, "b/four.py", 0o755, "#!/usr/bin/env python3\n");
        put(&scratch, "b/five.py", 0o755, "class A(ScalyrMonitor): pass");
        put(&scratch, "b/six/__init__.py", 0o644, "");
        let at = |path: &str, kind| Some((path.to_owned(), kind));
        let python = |dotted| Kind::Python { dotted };
        assert_eq!(kinds(&scratch, "one"), at("b/one.sh", Kind::Executable));
        assert_eq!(kinds(&scratch, "two"), at("a/two.pl", Kind::Executable));
        assert_eq!(
            kinds(&scratch, "my.pkg.three"),
            at("b/my/pkg/three.py", python(true))
        );
        assert_eq!(
            kinds(&scratch, "other.three"),
            at("b/three", Kind::Executable)
        );
        assert_eq!(kinds(&scratch, "four"), at("b/four.py", Kind::Executable));
        assert_eq!(kinds(&scratch, "x.five"), at("b/five.py", python(false)));
        assert_eq!(
            kinds(&scratch, "six"),
            at("b/six/__init__.py", python(true))
        );
        assert_eq!(kinds(&scratch, "seven"), None);
    }

    #[test]
    fn a_name_cannot_lead_out_of_the_directory() {
        let scratch = Scratch::new("lookup-out");
        put(&scratch, "evil", 0o755, "");
        fs::create_dir_all(scratch.path("a/x")).unwrap();
        for module in [
            "../evil",
            "..evil",
            "x/../../evil",
            "",
            ".",
            "a..b",
            "evil\0",
        ] {
            assert_eq!(kinds(&scratch, module), None, "{module:?}");
        }
        assert_eq!(kinds(&scratch, &"a.".repeat(50_000)), None);
    }

    #[test]
    fn a_program_without_its_x_bit_is_named() {
        let scratch = Scratch::new("lookup-x");
        put(&scratch, "a/one.sh", 0o644, "");
        let error = find("one", &[scratch.path("a")]).unwrap_err().to_string();
        assert!(error.contains("one.sh is not executable"), "{error}");
    }

    #[test]
    fn a_plugin_that_anyone_may_change_is_refused() {
        let scratch = Scratch::new("lookup-w");
        put(&scratch, "a/one", 0o757, "");
        let error = find("one", &[scratch.path("a")]).unwrap_err().to_string();
        assert!(error.contains("anyone may write to it"), "{error}");
        put(&scratch, "a/one", 0o755, "");
        assert!(find("one", &[scratch.path("a")]).is_ok());
        let anyone = fs::Permissions::from_mode(0o777);
        fs::set_permissions(scratch.path("a"), anyone).unwrap();
        let error = find("one", &[scratch.path("a")]).unwrap_err().to_string();
        assert!(error.contains("anyone may write to it"), "{error}");
        // Nor by way of a link from a directory that is well kept.
        fs::create_dir(scratch.path("b")).unwrap();
        std::os::unix::fs::symlink(scratch.path("a/one"), scratch.path("b/one")).unwrap();
        assert!(find("one", &[scratch.path("b")]).is_err());
    }
}
