//! `--set-user`: the agent runs as the owner of its configuration file, so
//! changing the user is changing owners.

use super::server::fragments_of;
use super::Tool;
use crate::cli::err;
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{openat, AtFlags, OFlag};
use nix::sys::stat::{fstat, Mode, SFlag};
use nix::unistd::{fchownat, Uid, User};
use std::ffi::CStr;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How deep folders may nest. Each level holds a descriptor.
const MOST_DEPTH: usize = 64;

/// Folders of the system, which belong to no agent.
const SHARED: [&str; 16] = [
    "/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/opt", "/root", "/run", "/srv", "/tmp",
    "/usr", "/var", "/var/lib", "/var/log",
];

/// Makes a user the owner of the main file and of the folders of fragments, data and logs with
/// all that is in them. Groups stay. Links are not followed.
///
/// # Errors
/// Lines for stderr.
pub(super) fn set(tool: &Tool, name: &str) -> Result<(), String> {
    if !Uid::effective().is_root() {
        return Err("Only root may change the user that the agent runs as.".to_owned());
    }
    let user = match User::from_name(name) {
        Ok(Some(user)) => user,
        Ok(None) => return Err(format!("User \"{name}\" does not exist.  Failing.")),
        Err(errno) => return Err(format!("The user \"{name}\" can't be looked up: {errno}")),
    };
    let config = tool.load()?;
    let main_file = real(&config.main_file)?;
    let old = std::fs::metadata(&main_file)
        .map_err(|error| format!("\"{}\": {error}", main_file.display()))?
        .uid();
    let mut folders = Vec::new();
    for folder in [
        fragments_of(&config),
        config.data_dir().to_owned(),
        config.log_dir().to_owned(),
    ] {
        // A folder that is not there yet needs no owner.
        if !folder.exists() {
            continue;
        }
        let folder = real(&folder)?;
        if SHARED.iter().any(|shared| folder == Path::new(shared)) {
            return Err(format!(
                "\"{}\" is a folder of the system and is not given to \"{name}\". Let \
                 config_directory, agent_data_path and agent_log_path be folders for the agent \
                 alone. Nothing was changed.",
                folder.display()
            ));
        }
        folders.push(folder);
    }
    let change = Change {
        old: Uid::from_raw(old),
        new: user.uid,
    };
    for folder in folders {
        change.tree(&folder)?;
    }
    // Last: should something fail before, the agent's user is still the old one.
    std::os::unix::fs::chown(&main_file, Some(user.uid.as_raw()), None).map_err(|error| {
        format!(
            "Can't give \"{}\" to its owner: {error}",
            main_file.display()
        )
    })?;
    if old != user.uid.as_raw() && tool.runs() {
        err(format_args!(
            "The running agent still is the former user. To make it \"{name}\": scalyr-agent-2 \
             restart"
        ));
    }
    Ok(())
}

fn real(path: &Path) -> Result<PathBuf, String> {
    path.canonicalize()
        .map_err(|error| format!("\"{}\": {error}", path.display()))
}

struct Change {
    old: Uid,
    new: Uid,
}

impl Change {
    /// A folder and all below it.
    fn tree(&self, folder: &Path) -> Result<(), String> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let dir = Dir::open(folder, flags, Mode::empty()).map_err(|errno| told(folder, errno))?;
        self.below(dir, folder, 0)
    }

    fn below(&self, mut dir: Dir, shown: &Path, depth: usize) -> Result<(), String> {
        if depth > MOST_DEPTH {
            return Err(format!(
                "\"{}\" lies more than {MOST_DEPTH} folders deep; that is as far as owners are \
                 changed.",
                shown.display()
            ));
        }
        fchownat(&dir, c"", Some(self.new), None, AtFlags::AT_EMPTY_PATH)
            .map_err(|errno| told(shown, errno))?;
        let names: Vec<_> = dir
            .iter()
            .filter_map(|entry| Some(entry.ok()?.file_name().to_owned()))
            .filter(|name| name.as_c_str() != c"." && name.as_c_str() != c"..")
            .collect();
        for name in names {
            let path = shown.join(Path::new(&*name.to_string_lossy()));
            match self.entry(&dir, &name, &path, depth) {
                // Rotated or ended in the meantime
                Err(Failed::Errno(Errno::ENOENT)) => {}
                Err(Failed::Errno(errno)) => return Err(told(&path, errno)),
                Err(Failed::Text(text)) => return Err(text),
                Ok(()) => {}
            }
        }
        Ok(())
    }

    /// The folder may belong to a user who swaps entries while this runs: what is looked at and
    /// what is changed must be the same, so both go through one descriptor.
    fn entry(&self, dir: &Dir, name: &CStr, path: &Path, depth: usize) -> Result<(), Failed> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let entry = openat(dir, name, flags, Mode::empty())?;
        let stat = fstat(&entry)?;
        let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
        if kind == SFlag::S_IFDIR {
            let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let below = Dir::openat(entry.as_fd(), c".", flags, Mode::empty())?;
            return self.below(below, path, depth + 1).map_err(Failed::Text);
        }
        let owner = Uid::from_raw(stat.st_uid);
        let is_agent_s = owner == self.new || owner == self.old && !owner.is_root();
        if kind == SFlag::S_IFREG && stat.st_nlink > 1 && !is_agent_s {
            err(format_args!(
                "Left as it is: \"{}\" has another name elsewhere (a hard link) and may not be \
                 the agent's.",
                path.display()
            ));
            return Ok(());
        }
        fchownat(&entry, c"", Some(self.new), None, AtFlags::AT_EMPTY_PATH)?;
        Ok(())
    }
}

enum Failed {
    Errno(Errno),
    Text(String),
}

impl From<Errno> for Failed {
    fn from(errno: Errno) -> Self {
        Failed::Errno(errno)
    }
}

fn told(path: &Path, errno: Errno) -> String {
    format!(
        "Can't change the owner of \"{}\": {}. The user of the agent is not changed; run the \
         command again when this is mended.",
        path.display(),
        std::io::Error::from(errno)
    )
}
