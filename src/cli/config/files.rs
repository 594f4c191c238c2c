//! Replacing files so that nobody ever sees half of one, and owner and mode stay.

use common::random;
use nix::unistd::{fchown, Gid, Uid};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Owner, group and mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rights {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// The lower twelve bits.
    pub(super) mode: u32,
}

impl Rights {
    /// Those of a file or folder.
    pub(super) fn of(path: &Path) -> io::Result<Rights> {
        let meta = fs::metadata(path)?;
        Ok(Rights {
            uid: meta.uid(),
            gid: meta.gid(),
            mode: meta.mode() & 0o7777,
        })
    }
}

/// A whole new content that lies beside the file it is for. Unless it is put in place, it is
/// removed again.
#[derive(Debug)]
pub(super) struct Staged {
    unfinished: PathBuf,
    target: PathBuf,
}

impl Staged {
    /// Writes `content` to disk beside `path`. If there is a file, its owner, group and mode are
    /// kept, and a symbolic link stays one; else those of `new` are given.
    ///
    /// # Errors
    /// One or two lines for the operator.
    pub(super) fn write(path: &Path, content: &[u8], new: Rights) -> Result<Staged, String> {
        let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let (rights, is_new) = match Rights::of(&target) {
            Ok(rights) => (rights, false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (new, true),
            Err(error) => return Err(failed(path, &error)),
        };
        Staged::write_as(target, content, rights, is_new).map_err(|error| failed(path, &error))
    }

    /// As [`Staged::write`], but with these rights whatever was there.
    pub(super) fn with_rights(
        path: &Path,
        content: &[u8],
        rights: Rights,
    ) -> Result<Staged, String> {
        let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        Staged::write_as(target, content, rights, true).map_err(|error| failed(path, &error))
    }

    fn write_as(
        target: PathBuf,
        content: &[u8],
        rights: Rights,
        is_new: bool,
    ) -> io::Result<Staged> {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        // Not *.json: a running agent would take it for a fragment.
        let unfinished = target.with_file_name(format!(".{name}.{}.tmp", random::uuid4()));
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&unfinished)?;
        let staged = Staged { unfinished, target };
        let mine = file.metadata()?;
        if mine.uid() != rights.uid {
            fchown(&file, Some(Uid::from_raw(rights.uid)), None)
                .map_err(|errno| cannot("give it to its owner", errno))?;
        }
        if mine.gid() != rights.gid {
            match fchown(&file, None, Some(Gid::from_raw(rights.gid))) {
                // A user who makes a file in a folder of another group need not be in that group.
                Err(_) if is_new => {}
                result => result.map_err(|errno| cannot("give it to its group", errno))?,
            }
        }
        file.set_permissions(Permissions::from_mode(rights.mode))?;
        file.write_all(content)?;
        file.sync_all()?;
        Ok(staged)
    }

    /// Replaces the file.
    ///
    /// # Errors
    /// One or two lines for the operator.
    pub(super) fn put(self) -> Result<(), String> {
        fs::rename(&self.unfinished, &self.target).map_err(|error| failed(&self.target, &error))?;
        sync_folder(&self.target);
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // After `put` there is none.
        let _ = fs::remove_file(&self.unfinished);
    }
}

/// Replaces a file at once; see [`Staged::write`].
///
/// # Errors
/// One or two lines for the operator.
pub(super) fn replace(path: &Path, content: &[u8], new: Rights) -> Result<(), String> {
    Staged::write(path, content, new)?.put()
}

/// Makes a change of a folder last. It is in force already: that it can't be made to last is no
/// error.
pub(super) fn sync_folder(file: &Path) {
    if let Ok(folder) = File::open(file.parent().unwrap_or(Path::new("/"))) {
        let _ = folder.sync_all();
    }
}

fn cannot(what: &str, errno: nix::errno::Errno) -> io::Error {
    let error = io::Error::from(errno);
    io::Error::new(error.kind(), format!("can't {what} ({error}); try as root"))
}

/// Why a file could not be written.
pub(super) fn failed(path: &Path, error: &io::Error) -> String {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let advice = match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => format!(
            "\nThe folder \"{}\" and the file must be writable for you.",
            folder.display()
        ),
        io::ErrorKind::ResourceBusy => "\nIt seems to be mounted from outside, as containers do \
                                        with single files: change it there."
            .to_owned(),
        _ => String::new(),
    };
    format!("Can't write \"{}\": {error}.{advice}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::testing::Scratch;

    const NEW: Rights = Rights {
        uid: u32::MAX - 1,
        gid: u32::MAX - 1,
        mode: 0o600,
    };

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn mode_and_links_stay_and_nothing_is_left_beside() {
        let scratch = Scratch::new("config-files-link");
        let file = scratch.path("real.json");
        let link = scratch.path("agent.json");
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("real.json", &link).unwrap();
        replace(&link, b"new", NEW).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(Rights::of(&file).unwrap().mode, 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(names(&scratch.path("")), ["agent.json", "real.json"]);
    }

    #[test]
    fn a_staged_file_that_is_not_wanted_after_all_leaves_nothing() {
        let scratch = Scratch::new("config-files-staged");
        let file = scratch.path("a.json");
        let rights = Rights {
            mode: 0o600,
            ..Rights::of(&scratch.path("")).unwrap()
        };
        drop(Staged::write(&file, b"x", rights).unwrap());
        assert!(names(&scratch.path("")).is_empty());
        let error = replace(&scratch.path("no/such.json"), b"x", rights).unwrap_err();
        assert!(error.contains("no/such.json"), "{error}");
    }
}
