//! Plug-ins run with the agent's rights, often those of root: none is run that somebody else could
//! have put there.

use crate::Error;
use nix::unistd::{getegid, geteuid};
use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

const STICKY: u32 = 0o1000;
const GROUP_WRITES: u32 = 0o020;
const ANYONE_WRITES: u32 = 0o002;
/// As many links may be on the way as the kernel allows.
const MOST_LINKS: usize = 40;

/// Whether a file below the plug-in directory `dir` may be run. Everything that the way to it leads
/// through, from `/` on and along every symbolic link, belongs to root or to the agent's user, and
/// may be written to by neither everyone nor a group other than root's and the agent's. Above `dir`
/// a directory like `/tmp` will do, where others cannot replace what is not theirs. So between this
/// check and the use of the file only root and the agent's user can put another one there.
///
/// # Errors
/// A sentence that names the step of the way that others could change, and says what to do.
pub fn check(path: &Path, dir: &Path) -> Result<(), Error> {
    let real = |path: &Path| fs::canonicalize(path).map_err(|e| refusal(path, &unread(&e)));
    // A link out of the directory: where it leads to is kept as strictly as the directory itself.
    let (dir, target) = (real(dir)?, real(path)?);
    let parent = target.parent().unwrap_or(&target).to_owned();
    let walked = walk(path, &|step| {
        step.starts_with(&dir) || step.starts_with(&parent)
    })?;
    match walked == target {
        true => Ok(()),
        false => Err(refusal(path, "is being changed at the moment")),
    }
}

/// Whether a directory of plug-ins may be offered to Python as a place of modules.
#[cfg(feature = "python-plugins")]
pub fn is_kept(dir: &Path) -> bool {
    let last = fs::canonicalize(dir);
    last.is_ok_and(|last| walk(dir, &|step| step == last).is_ok())
}

/// Goes along `path` step by step, through links as well, and looks at each. Where it has led to.
fn walk(path: &Path, strict: &dyn Fn(&Path) -> bool) -> Result<PathBuf, Error> {
    let parts = |path: &Path| -> Vec<OsString> {
        let parts = path.components();
        parts.map(|part| part.as_os_str().to_owned()).collect()
    };
    let mut left: VecDeque<OsString> = parts(path).into();
    let mut here = PathBuf::from("/");
    let mut links = 0;
    while let Some(part) = left.pop_front() {
        match Path::new(&part).components().next() {
            Some(Component::RootDir) => here = PathBuf::from("/"),
            Some(Component::ParentDir) => {
                here.pop();
            }
            Some(Component::Normal(_)) => here.push(&part),
            _ => continue,
        }
        let metadata = fs::symlink_metadata(&here).map_err(|e| refusal(&here, &unread(&e)))?;
        if !metadata.is_symlink() {
            one(&here, &metadata, strict(&here))?;
            continue;
        }
        // The mode of a link means nothing; who may replace it is decided by its directory.
        owner(&here, &metadata)?;
        links += 1;
        if links > MOST_LINKS {
            return Err(refusal(path, "leads through too many symbolic links"));
        }
        let target = fs::read_link(&here).map_err(|e| refusal(&here, &unread(&e)))?;
        here.pop();
        for part in parts(&target).into_iter().rev() {
            left.push_front(part);
        }
    }
    Ok(here)
}

fn one(path: &Path, metadata: &Metadata, strict: bool) -> Result<(), Error> {
    owner(path, metadata)?;
    let mode = metadata.permissions().mode();
    if !strict && metadata.is_dir() && mode & STICKY != 0 {
        return Ok(());
    }
    if mode & ANYONE_WRITES != 0 {
        let why = "is open to all: anyone may write to it; run `chmod o-w` on it";
        return Err(refusal(path, why));
    }
    let group = metadata.gid();
    let ours = group == 0 || group == getegid().as_raw();
    if mode & GROUP_WRITES != 0 && !ours {
        let why =
            format!("may be written to by all members of group {group}; run `chmod g-w` on it");
        return Err(refusal(path, &why));
    }
    Ok(())
}

fn owner(path: &Path, metadata: &Metadata) -> Result<(), Error> {
    let me = geteuid().as_raw();
    match metadata.uid() {
        owner if owner == 0 || owner == me => Ok(()),
        owner => {
            let why = format!(
                "belongs to user {owner}, neither to root nor to the agent's user {me}; run `chown` on it"
            );
            Err(refusal(path, &why))
        }
    }
}

fn unread(error: &std::io::Error) -> String {
    format!("cannot be read: {error}")
}

fn refusal(path: &Path, why: &str) -> Error {
    Error::new(format!("the plug-in is not run: {} {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::testing::Scratch;
    use std::os::unix::fs::{chown, symlink};

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn scratch(name: &str) -> Scratch {
        let scratch = Scratch::new(name);
        for dir in ["dir", "other"] {
            fs::create_dir(scratch.path(dir)).unwrap();
            mode(&scratch.path(dir), 0o755);
        }
        fs::write(scratch.path("dir/p"), "").unwrap();
        fs::write(scratch.path("other/p"), "").unwrap();
        scratch
    }

    fn refused(scratch: &Scratch, path: &str) -> Option<String> {
        let result = check(&scratch.path(path), &scratch.path("dir"));
        result.err().map(|error| error.to_string())
    }

    #[test]
    fn a_file_that_a_foreign_group_may_change_is_refused() {
        let scratch = scratch("trust-group");
        assert_eq!(refused(&scratch, "dir/p"), None);
        let file = scratch.path("dir/p");
        mode(&file, 0o775);
        // The group is our own
        assert_eq!(refused(&scratch, "dir/p"), None);
        if !geteuid().is_root() {
            return;
        }
        chown(&file, None, Some(12_345)).unwrap();
        mode(&file, 0o775);
        let why = refused(&scratch, "dir/p").unwrap();
        assert!(why.contains("members of group 12345"), "{why}");
        mode(&file, 0o755);
        assert_eq!(refused(&scratch, "dir/p"), None);
        let dir = scratch.path("dir");
        chown(&dir, None, Some(12_345)).unwrap();
        mode(&dir, 0o775);
        assert!(refused(&scratch, "dir/p").is_some());
    }

    #[test]
    fn each_link_on_the_way_is_looked_at_and_not_only_where_the_last_one_leads() {
        let scratch = scratch("trust-links");
        symlink(scratch.path("other/p"), scratch.path("dir/direct")).unwrap();
        assert_eq!(refused(&scratch, "dir/direct"), None);
        // A stop on the way where anyone can turn the link elsewhere
        fs::create_dir(scratch.path("open")).unwrap();
        mode(&scratch.path("open"), 0o777);
        symlink("../other/p", scratch.path("open/hop")).unwrap();
        symlink("../open/hop", scratch.path("dir/hopping")).unwrap();
        let why = refused(&scratch, "dir/hopping").unwrap();
        assert!(why.contains("open is open to all"), "{why}");
        mode(&scratch.path("open"), 0o755);
        assert_eq!(refused(&scratch, "dir/hopping"), None);
        if geteuid().is_root() {
            std::os::unix::fs::lchown(scratch.path("open/hop"), Some(12_345), None).unwrap();
            let why = refused(&scratch, "dir/hopping").unwrap();
            assert!(why.contains("belongs to user 12345"), "{why}");
        }
        symlink("loop", scratch.path("dir/loop")).unwrap();
        assert!(refused(&scratch, "dir/loop").is_some());
    }

    #[test]
    fn a_directory_that_is_a_link_serves() {
        let scratch = scratch("trust-dir-link");
        symlink("dir", scratch.path("link")).unwrap();
        let through = check(&scratch.path("link/p"), &scratch.path("link"));
        assert_eq!(through.map_err(|e| e.to_string()), Ok(()));
        mode(&scratch.path("dir"), 0o1777);
        let through = check(&scratch.path("link/p"), &scratch.path("link"));
        assert!(through.is_err());
        #[cfg(feature = "python-plugins")]
        assert!(!is_kept(&scratch.path("link")) && is_kept(&scratch.path("other")));
    }
}
