//! Checks of the entries of `logs`: which files they match, and whether those can be read.

use super::machine;
use super::report::Report;
use crate::config::{Config, EntryKind, LogEntry};
use crate::tail::expand::{self, expand, Expansion};
use crate::tail::insight::compressed;
use crate::tail::{glob, trust};
use crate::util::sort;
use crate::util::words::count;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Complaints about single files of one entry.
const MOST_TOLD: usize = 5;

pub(super) fn check(report: &mut Report, config: &Config) {
    let mut taken = Taken::new();
    let entries: Vec<&LogEntry> = config
        .logs
        .iter()
        .filter(|entry| entry.kind == EntryKind::Configured)
        .collect();
    for entry in &entries {
        let found = report.wait(&entry.path.display().to_string(), || matches(entry));
        for (link, refusal) in found.refused.iter().take(MOST_TOLD) {
            refused(report, link, refusal);
        }
        if found.is_cut {
            let cut = expand::cut();
            let pattern = entry.path.display();
            report.bad(format_args!("{pattern}: {}", cut.why), &sentence(&cut.todo));
        }
        let matched = found.paths;
        let earlier = earlier(&taken, entry, &matched);
        let named = |path: &Path| entries.iter().any(|e| names(e, entry, path));
        one(report, entry, &matched, earlier, &named);
        for path in matched {
            taken
                .entry((entry.worker_id.as_str(), path))
                .or_insert_with(|| entry.path.as_path());
        }
    }
    if entries.is_empty() {
        report.doubt(
            "logs has no entry: only the agent's own log and metrics are sent",
            "",
        );
    }
    let mut all: Vec<&PathBuf> = taken.keys().map(|(_, path)| path).collect();
    sort::plainly(&mut all);
    all.dedup();
    machine::open_files(report, config, all.len());
}

/// A worker's files, each with the pattern of the entry that copies it: the first that matches.
type Taken<'a> = BTreeMap<(&'a str, PathBuf), &'a Path>;

/// How many of an entry's files an earlier entry copies, and the first such entry.
fn earlier<'a>(
    taken: &Taken<'a>,
    entry: &'a LogEntry,
    matched: &[PathBuf],
) -> Option<(usize, &'a Path)> {
    let by = |path: &PathBuf| taken.get(&(entry.worker_id.as_str(), path.clone()));
    let mut patterns = matched.iter().filter_map(by);
    let first = patterns.next()?;
    Some((1 + patterns.count(), first))
}

/// Whether `other` lets the worker of `entry` read the path, whoever made links to it.
fn names(other: &LogEntry, entry: &LogEntry, path: &Path) -> bool {
    other.worker_id == entry.worker_id
        && match other.is_glob {
            true => {
                glob::matches(&other.path, path)
                    && (other.follow_foreign_links || trust::permit(path, &other.path).is_ok())
            }
            false => other.path == path,
        }
}

fn matches(entry: &LogEntry) -> Expansion {
    let mut found = match entry.is_glob {
        true => expand(&entry.path, !entry.follow_foreign_links, &mut |_| {}),
        false => Expansion {
            paths: vec![entry.path.clone()],
            ..Expansion::default()
        },
    };
    let excluded = |path: &Path| {
        let path = path.as_os_str().as_bytes();
        let mut patterns = entry.exclude.iter();
        patterns.any(|pattern| glob::crosses(pattern.as_bytes(), path))
    };
    found.paths.retain(|path| !excluded(path) && !path.is_dir());
    found
}

fn one(
    report: &mut Report,
    entry: &LogEntry,
    matched: &[PathBuf],
    earlier: Option<(usize, &Path)>,
    named: &dyn Fn(&Path) -> bool,
) {
    let pattern = entry.path.display();
    if !entry.is_glob && entry.path.is_dir() {
        report.bad(
            format_args!("{pattern} is a directory"),
            "Name the files in it, with a pattern such as /*.log at its end.",
        );
        return;
    }
    if matched.is_empty() {
        let what = match entry.exclude.is_empty() {
            true => "no file matches at the moment",
            false => "no file matches that `exclude` does not leave out",
        };
        let todo = "If that is not meant: explain FILE says why a file is not copied.";
        report.doubt(format_args!("{pattern}: {what}"), todo);
        return;
    }
    let failed: Vec<(&PathBuf, Trouble)> = matched
        .iter()
        .filter_map(|path| Some((path, readable(entry, path, named).err()?)))
        .collect();
    if !entry.is_glob {
        if let [(path, Trouble { missing: true, .. })] = failed[..] {
            let todo = "It is copied as soon as it is there.";
            report.doubt(format_args!("{} is not there yet", path.display()), todo);
            return;
        }
    }
    if let Some((count, by)) = earlier.filter(|_| failed.is_empty()) {
        if count == matched.len() {
            report.doubt(
                format_args!("{pattern}: all that it matches is copied by the entry {} before it", by.display()),
                "Of two entries for a file the first counts, and one that names the file adds attributes. \
                 If that is not meant, remove one: explain FILE says more.",
            );
            return;
        }
    }
    let is_packed = |path: &&PathBuf| compressed(path).is_some();
    if let Some(packed) = matched.iter().find(is_packed).filter(|_| failed.is_empty()) {
        report.doubt(
            format_args!(
                "{pattern}: {}, {} of them compressed and not copied, such as {}",
                count(matched.len() as u64, "file"),
                matched.iter().filter(is_packed).count(),
                packed.display()
            ),
            "Leave them out with `exclude`, or by a pattern that does not match them.",
        );
        return;
    }
    if failed.is_empty() {
        report.good(format_args!(
            "{pattern}: {}, readable",
            count(matched.len() as u64, "file")
        ));
        return;
    }
    for (path, trouble) in failed.iter().take(MOST_TOLD) {
        let what = if trouble.refused {
            "is not read"
        } else {
            "can't be read"
        };
        report.bad(
            format_args!("{} {what}: {}", path.display(), trouble.why),
            &trouble.todo,
        );
    }
    if failed.len() > MOST_TOLD {
        let more = failed.len() - MOST_TOLD;
        report.bad(
            format_args!(
                "{pattern}: the same holds for {}",
                count(more as u64, "more file")
            ),
            "",
        );
    }
}

struct Trouble {
    why: String,
    todo: String,
    missing: bool,
    refused: bool,
}

/// As a sentence.
fn sentence(phrase: &str) -> String {
    let (first, rest) = phrase.split_at(phrase.len().min(1));
    format!("{}{rest}.", first.to_uppercase())
}

fn refused(report: &mut Report, path: &Path, refusal: &trust::Refusal) {
    report.bad(
        format_args!("{} is not read: {}", path.display(), refusal.why),
        &sentence(&refusal.todo),
    );
}

fn readable(entry: &LogEntry, path: &Path, named: &dyn Fn(&Path) -> bool) -> Result<(), Trouble> {
    let trouble = |why: String, todo: String| Trouble {
        why,
        todo,
        missing: false,
        refused: false,
    };
    let meta = fs::metadata(path).map_err(|e| of_error(path, &e))?;
    if !meta.is_file() {
        return Err(trouble(
            "it is a FIFO, socket or device".to_owned(),
            "Leave it out with `exclude`; such files are never opened.".to_owned(),
        ));
    }
    if entry.is_glob && !entry.follow_foreign_links {
        let permitted = trust::permit(path, &entry.path);
        let refusal = permitted.as_ref().err().and_then(trust::refusal);
        if let Some(refusal) = refusal.filter(|_| !named(path)) {
            return Err(Trouble {
                refused: true,
                ..trouble(refusal.why.clone(), sentence(&refusal.todo))
            });
        }
    }
    // Never waits, should it have become a FIFO meanwhile
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path);
    opened.map(|_: File| ()).map_err(|e| of_error(path, &e))
}

fn of_error(path: &Path, error: &io::Error) -> Trouble {
    let todo = match error.kind() {
        io::ErrorKind::PermissionDenied => match closed_parent(path) {
            Some(dir) => format!(
                "{} may not be entered: give the agent's user a group that may (adm, for instance), \
                 or the service CAP_DAC_READ_SEARCH.",
                dir.display()
            ),
            None => "Add the agent's user to the file's group and let that read it, or give the service \
                     CAP_DAC_READ_SEARCH."
                .to_owned(),
        },
        io::ErrorKind::NotFound => "A link leads nowhere; remove it or mend it.".to_owned(),
        _ if error.raw_os_error() == Some(libc::ELOOP) => {
            "Links lead in a circle; remove one of them.".to_owned()
        }
        _ => String::new(),
    };
    Trouble {
        why: error.to_string(),
        todo,
        missing: error.kind() == io::ErrorKind::NotFound && fs::symlink_metadata(path).is_err(),
        refused: false,
    }
}

/// The first directory on the way that may not be entered.
fn closed_parent(path: &Path) -> Option<&Path> {
    let mut dirs: Vec<&Path> = path.ancestors().skip(1).collect();
    dirs.reverse();
    let closed = |dir: &&Path| nix::unistd::access(*dir, nix::unistd::AccessFlags::X_OK).is_err();
    dirs.into_iter().find(closed)
}
