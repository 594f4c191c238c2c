//! Plug-ins run with the agent's rights, often those of root: none is run that somebody else could
//! have put there.

use crate::Error;
use nix::unistd::geteuid;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

const STICKY: u32 = 0o1000;
const ANYONE_WRITES: u32 = 0o002;

/// Whether a file below the plug-in directory `dir` may be run: it, the directories up to `/` and,
/// for symbolic links, those of its target belong to root or to the agent's user, and are not
/// writable for everyone. Above `dir` a directory like `/tmp` will do, where others cannot replace
/// what is not theirs.
///
/// # Errors
/// Which of them is not well kept, and what to do.
pub fn check(path: &Path, dir: &Path) -> Result<(), Error> {
    chain(path, dir)?;
    let fail = |error| {
        Error::new(format!(
            "cannot read the plug-in {}: {error}",
            path.display()
        ))
    };
    let target = fs::canonicalize(path).map_err(fail)?;
    if target == path {
        return Ok(());
    }
    // A link out of the directory: where it leads to is kept as strictly as the directory itself.
    let strict = fs::canonicalize(dir).map_err(fail)?;
    let strict = if target.starts_with(&strict) {
        strict.as_path()
    } else {
        target.parent().unwrap_or(&target)
    };
    chain(&target, strict)
}

fn chain(path: &Path, dir: &Path) -> Result<(), Error> {
    path.ancestors()
        .try_for_each(|step| one(step, step.starts_with(dir)))
}

fn one(path: &Path, strict: bool) -> Result<(), Error> {
    let refuse = |why: String| {
        Err(Error::new(format!(
            "the plug-in is not run: {} {why}",
            path.display()
        )))
    };
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => return refuse(format!("cannot be read: {error}")),
    };
    let me = geteuid().as_raw();
    let owner = metadata.uid();
    if owner != 0 && owner != me {
        return refuse(format!(
            "belongs to user {owner}, neither to root nor to the agent's user {me}; run `chown` on it"
        ));
    }
    let mode = metadata.permissions().mode();
    let shielded = !strict && metadata.is_dir() && mode & STICKY != 0;
    if mode & ANYONE_WRITES != 0 && !shielded {
        return refuse("is open to all: anyone may write to it; run `chmod o-w` on it".to_owned());
    }
    Ok(())
}
