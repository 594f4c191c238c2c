//! The followed files in the text report: a row for each, and its problems beneath.

use super::data::{CopyingStatus, FileState, FileStatus, MatcherStatus};
use super::lines::Text;
use super::text::cut;
use crate::util::time::human;
use crate::util::words::count;

/// All files, by entry. What the agent writes itself is left out of the short form, unless there is
/// something to say about it.
pub(super) fn files(text: &mut Text, copying: &CopyingStatus) {
    let entries = &copying.log_matchers;
    let (quiet, shown): (Vec<_>, Vec<_>) = entries
        .iter()
        .partition(|entry| text.wraps() && entry.is_internal && is_quiet(entry));
    let (globs, paths): (Vec<_>, Vec<_>) = shown.into_iter().partition(|entry| entry.is_glob);
    let has_globs = !globs.is_empty();
    for entry in paths {
        if entry.log_processors_status.is_empty() {
            nothing(text, entry);
        }
        for file in &entry.log_processors_status {
            row(text, "Path ", "  ", file);
        }
    }
    if has_globs {
        text.end();
    }
    for entry in globs {
        glob(text, entry);
        for file in &entry.log_processors_status {
            row(text, "  ", "    ", file);
        }
    }
    let quiet = quiet.iter().map(|entry| entry.log_processors_status.len());
    let quiet = quiet.sum::<usize>() as u64;
    if quiet > 0 {
        text.end();
        text.line(format_args!(
            "{} of the agent itself {} well and not shown; status -v --all shows {}.",
            count(quiet, "file"),
            if quiet == 1 { "is" } else { "are" },
            if quiet == 1 { "it" } else { "them" },
        ));
    }
}

fn is_quiet(entry: &MatcherStatus) -> bool {
    let mut files = entry.log_processors_status.iter();
    files.all(|file| file.last_error.is_none() && file.total_bytes_failed == 0)
}

fn nothing(text: &mut Text, entry: &MatcherStatus) {
    if text.wraps() {
        return path_and(
            text,
            "Path ",
            "  ",
            &entry.log_path,
            "no matching readable file",
        );
    }
    text.line(format_args!(
        "Path {}: no matching readable file, last checked {}",
        entry.log_path,
        human(entry.last_check_time)
    ));
}

fn glob(text: &mut Text, entry: &MatcherStatus) {
    if text.wraps() {
        let files = count(entry.log_processors_status.len() as u64, "file").to_string();
        let path = format!("{}:", entry.log_path);
        return path_and(text, "Glob: ", "  ", &path, &files);
    }
    text.line(format_args!(
        "Glob: {}:: last scanned for glob matches at {}",
        entry.log_path,
        human(entry.last_check_time)
    ));
}

fn row(text: &mut Text, prefix: &str, indent: &str, file: &FileStatus) {
    match text.wraps() {
        true => short(text, prefix, indent, file),
        false => whole(text, prefix, indent, file),
    }
}

/// A path and what is to be said of it: on one line, or the path on one of its own.
fn path_and(text: &mut Text, prefix: &str, indent: &str, path: &str, what: &str) {
    let length = |text: &str| text.chars().count();
    text.part(format_args!("{prefix}{path}:"));
    if length(prefix) + length(path) + 2 + length(what) > super::lines::COLUMNS {
        text.end_whole();
        text.line(format_args!("{indent}{what}"));
    } else {
        text.part(format_args!(" {what}"));
        // It fits, whatever blanks are in the path
        text.end_whole();
    }
}

fn short(text: &mut Text, prefix: &str, indent: &str, file: &FileStatus) {
    let what = format!(
        "copied {} ({}), {} pending",
        count(file.total_bytes_copied, "byte"),
        count(file.total_lines_copied, "line"),
        count(file.pending, "byte"),
    );
    path_and(text, prefix, indent, &file.log_path, &what);
    match &file.last_error {
        Some(error) if file.state == FileState::Unreadable => {
            text.line(format_args!("{indent}unreadable: {}", cut(error)));
        }
        Some(error) => text.line(format_args!("{indent}last error: {}", cut(error))),
        None => {}
    }
    if file.pending > 0 {
        text.line(format_args!(
            "{indent}{}: size {}, read {}, sent {}, acknowledged {}",
            file.state.name(),
            file.size,
            file.read,
            file.sent,
            file.acknowledged,
        ));
    } else if file.state == FileState::Rotated {
        text.line(format_args!("{indent}its path shows no file now"));
    }
    let mut notes: Vec<String> = Vec::new();
    if file.total_bytes_failed > 0 {
        let failed = count(file.total_bytes_failed, "byte");
        notes.push(format!("{failed} failed"));
    }
    for skipped in file.skipped.iter().filter(|s| s.bytes > 0) {
        let bytes = count(skipped.bytes, "byte");
        notes.push(format!("{bytes} skipped ({})", skipped.reason));
    }
    if file.total_bytes_dropped_by_sampling > 0 {
        notes.push(format!(
            "{} dropped by sampling ({})",
            count(file.total_bytes_dropped_by_sampling, "byte"),
            count(file.total_lines_dropped_by_sampling, "line"),
        ));
    }
    if file.total_redactions > 0 {
        notes.push(count(file.total_redactions, "redaction").to_string());
    }
    if file.resent > 0 {
        notes.push(format!("{} sent again", count(file.resent, "byte")));
    }
    let shaped = file.shaped.iter();
    notes.extend(shaped.map(|(name, count)| format!("{name} {count}")));
    if !notes.is_empty() {
        text.line(format_args!("{indent}{}", notes.join(", ")));
    }
    if let Some(label) = &file.label {
        text.line(format_args!("{indent}sent as {label}"));
    }
}

/// The row as the Python agent has it, and the positions beneath.
fn whole(text: &mut Text, prefix: &str, indent: &str, file: &FileStatus) {
    text.part(format_args!(
        "{prefix}{}: copied {} bytes ({} lines), {} bytes pending, ",
        file.log_path, file.total_bytes_copied, file.total_lines_copied, file.pending
    ));
    let skipped = file.total_skipped();
    if skipped > 0 {
        text.part(format_args!("{skipped} bytes skipped, "));
    }
    if file.total_bytes_failed > 0 {
        text.part(format_args!("{} bytes failed, ", file.total_bytes_failed));
    }
    if file.total_bytes_dropped_by_sampling > 0 {
        text.part(format_args!(
            "{} bytes dropped by sampling ({} lines), ",
            file.total_bytes_dropped_by_sampling, file.total_lines_dropped_by_sampling
        ));
    }
    if file.total_redactions > 0 {
        text.part(format_args!("{} redactions, ", file.total_redactions));
    }
    text.line(format_args!("last checked {}", human(file.last_scan_time)));

    text.part(format_args!(
        "{indent}{}, size {}, read {}, sent {}, acknowledged {}, pending {}",
        file.state.name(),
        file.size,
        file.read,
        file.sent,
        file.acknowledged,
        file.pending
    ));
    for (k, skipped) in file.skipped.iter().filter(|s| s.bytes > 0).enumerate() {
        let before = if k == 0 { ", skipped: " } else { ", " };
        text.part(format_args!("{before}{} {}", skipped.reason, skipped.bytes));
    }
    if file.resent > 0 {
        text.part(format_args!(", sent again {}", file.resent));
    }
    for (name, count) in &file.shaped {
        text.part(format_args!(", {name} {count}"));
    }
    if let Some(label) = &file.label {
        text.part(format_args!(", sent as {label}"));
    }
    text.end_whole();
    if let Some(error) = &file.last_error {
        text.line(format_args!("{indent}last error: {}", cut(error)));
    }
}
