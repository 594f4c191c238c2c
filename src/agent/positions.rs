//! The start finds here how far files were sent, and is refused if it may not look.

use crate::process::user::Owner;
use crate::tail::{self, Saved, Unread};
use std::path::Path;

/// Reads the checkpoints: their content, and for each that was damaged a line for the status report.
///
/// # Errors
/// Why the agent must not start: something is remembered, and what it is can't be known.
pub(super) fn take_up(dir: &Path) -> Result<(Option<Saved>, Vec<String>), String> {
    let (saved, damaged) = tail::consolidate(dir).map_err(|unread| refusal(&unread))?;
    Ok((saved, damaged.iter().map(line).collect()))
}

/// Sets all checkpoints aside; for each a line for the status report.
///
/// # Errors
/// Why that can't be done.
pub(super) fn ignore(dir: &Path) -> Result<Vec<String>, String> {
    let aside = tail::ignore(dir).map_err(|unread| {
        format!(
            "{}: {}. Remove the checkpoint files by hand, or start without --ignore-positions.",
            unread.path.display(),
            unread.why
        )
    })?;
    let line = |path: &std::path::PathBuf| format!("set aside unread as {}", path.display());
    let lines: Vec<String> = aside.iter().map(line).collect();
    for line in &lines {
        log::warn!("--ignore-positions: a checkpoint was {line}");
    }
    Ok(lines)
}

/// Makes sure that all checkpoints may be read. Opens them only, as the daemon inherits this process.
///
/// # Errors
/// As [`take_up`].
pub fn check(dir: &Path) -> Result<(), String> {
    match tail::denied(dir) {
        unread if unread.is_empty() => Ok(()),
        unread => Err(refusal(&unread)),
    }
}

fn refusal(unread: &[Unread]) -> String {
    let each = unread.iter();
    let each = each.map(|u| format!("{} can't be read: {}", u.path.display(), u.why));
    format!(
        "{}. It holds how far files were sent; without it lines would be left out or sent twice. Let the \
         user {} read it, or give it up with `start --ignore-positions`: files are then copied from \
         where a first start would begin.",
        each.collect::<Vec<_>>().join("; "),
        Owner::current().name
    )
}

fn line(damaged: &Unread) -> String {
    let path = damaged.path.display();
    match &damaged.aside {
        Some(aside) => format!(
            "{path} ({}) was set aside as {}",
            damaged.why,
            aside.display()
        ),
        None => format!("{path} ({}) could not be set aside", damaged.why),
    }
}
