//! Running as the owner of the configuration file.

use nix::errno::Errno;
use nix::unistd::{initgroups, setgid, setgroups, setuid, Gid, Uid, User};
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A user, known by name where the system's user list has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    uid: Uid,
    gid: Gid,
    /// The name, or the number as text.
    pub name: String,
    home: Option<String>,
    listed: bool,
}

impl Owner {
    /// The owner of the file at `path`, symbolic links followed.
    ///
    /// # Errors
    /// The file is missing or can't be reached.
    pub fn of(path: &Path) -> io::Result<Owner> {
        let meta = fs::metadata(path)?;
        Ok(Owner::new(
            Uid::from_raw(meta.uid()),
            Gid::from_raw(meta.gid()),
        ))
    }

    /// The user whose rights this process has.
    pub fn current() -> Owner {
        Owner::new(Uid::effective(), Gid::effective())
    }

    fn new(uid: Uid, gid: Gid) -> Owner {
        match User::from_uid(uid) {
            Ok(Some(user)) => Owner {
                uid,
                gid: user.gid,
                name: user.name,
                home: Some(user.dir.to_string_lossy().into_owned()),
                listed: true,
            },
            _ => Owner {
                uid,
                gid,
                name: uid.to_string(),
                home: None,
                listed: false,
            },
        }
    }

    /// Whether this process must change its user to be this one.
    pub fn differs(&self) -> bool {
        self.uid != Uid::effective()
    }
}

/// Gives up this process's user for `owner`, for good: groups, group, user and the environment
/// variables HOME, USER and LOGNAME. `task` completes "can't ..." in the error.
///
/// To be called before any thread exists.
///
/// # Errors
/// One line for the operator: not root, or the kernel refuses.
pub fn switch_to(owner: &Owner, task: &str) -> Result<(), String> {
    if !Uid::effective().is_root() {
        let root = if owner.uid.is_root() {
            ""
        } else {
            ", or as root"
        };
        return Err(format!(
            "Failing, cannot {task} as the correct user. The configuration file is owned by \
             \"{0}\", but the current user is \"{1}\" (Must be root to change users). Run this \
             command again as \"{0}\"{root}.",
            owner.name,
            Owner::current().name,
        ));
    }
    become_user(owner).map_err(|errno| {
        format!(
            "Failing, cannot {task} as the correct user. Switching to the owner of the \
             configuration file, \"{}\", failed: {}",
            owner.name,
            io::Error::from(errno)
        )
    })?;
    std::env::set_var("USER", &owner.name);
    std::env::set_var("LOGNAME", &owner.name);
    std::env::set_var("HOME", owner.home.as_deref().unwrap_or("/"));
    Ok(())
}

fn become_user(owner: &Owner) -> Result<(), Errno> {
    // Groups first: after the user has changed there is no right to do it any more.
    match CString::new(owner.name.as_str()) {
        Ok(name) if owner.listed => initgroups(&name, owner.gid)?,
        _ => setgroups(&[])?,
    }
    setgid(owner.gid)?;
    setuid(owner.uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_files_need_no_switch() {
        let mine = Owner::of(&std::env::current_exe().unwrap()).unwrap();
        assert_eq!(mine.differs(), mine.uid != Uid::effective());
        assert!(!Owner::current().differs());
        assert!(Owner::of(Path::new("/no/such/file")).is_err());
    }

    #[test]
    fn an_owner_without_a_name_is_known_by_number() {
        let owner = Owner::new(Uid::from_raw(3_999_999_999), Gid::from_raw(5));
        assert_eq!(owner.name, "3999999999");
        assert_eq!(owner.gid, Gid::from_raw(5));
        assert!(owner.differs());
    }
}
