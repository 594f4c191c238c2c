//! Finding a running agent where its configuration can't be read, or names other places than at its
//! start: the processes themselves tell. An agent has its pid file and the lock file of its data
//! directory open, and the latter names the configuration file.
//!
//! Nothing that others write is believed: the process has to be root's, the caller's or that of the
//! configuration's owner, its pid file has to be the one at that path here (and not in a container), and
//! it has to hold that file's lock.

use super::holder::{self, Holds};
use super::{datalock, pidfile};
use nix::unistd::Uid;
use std::ffi::OsStr;
use std::fs;
use std::io::{ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The variable that gives agents of one configuration file other places.
const LOG_PATH: &str = "SCALYR_AGENT_LOG_PATH";

/// A running agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Its process.
    pub pid: i32,
    /// Its pid file.
    pub pid_file: PathBuf,
    /// Its data directory, if it told.
    pub data_dir: Option<PathBuf>,
}

/// The result of a search.
#[derive(Debug, Default)]
pub struct Search {
    /// The agents of the configuration file.
    pub agents: Vec<Agent>,
    /// Agents into which this user may not look, or `None` if not even their number can be told.
    pub unseen: Option<usize>,
}

/// Looks for agents of a configuration file, given as an absolute path. `default` is the one that an
/// agent reads whose command line names none.
pub fn find(main_file: &Path, default: &Path) -> Search {
    let owner = fs::metadata(main_file).map(|file| file.uid()).ok();
    let wanted = Wanted {
        main_file,
        default,
        users: [Some(0), Some(Uid::effective().as_raw()), owner],
    };
    // With hidepid, or without /proc, others' processes can't be seen
    let complete = fs::metadata("/proc/1/comm").is_ok();
    let mut search = Search {
        unseen: complete.then_some(0),
        ..Search::default()
    };
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.parse().ok());
        let Some(pid) = pid.filter(|pid: &i32| *pid != own) else {
            continue;
        };
        match wanted.look(pid) {
            Ok(found) => search.agents.extend(found),
            Err(()) => search.unseen = search.unseen.map(|n| n + 1),
        }
    }
    search
}

struct Wanted<'a> {
    main_file: &'a Path,
    default: &'a Path,
    users: [Option<u32>; 3],
}

impl Wanted<'_> {
    /// The agent that the process is; an error if it may be one and can't be looked into.
    fn look(&self, pid: i32) -> Result<Option<Agent>, ()> {
        let is_trusted = |user: u32| self.users.contains(&Some(user));
        if !holder::user(pid).is_some_and(is_trusted) {
            return Ok(None);
        }
        let fds = match fs::read_dir(format!("/proc/{pid}/fd")) {
            Ok(fds) => fds,
            Err(error) if error.kind() == ErrorKind::PermissionDenied && self.may_be(pid) => {
                return Err(())
            }
            Err(_) => return Ok(None),
        };
        let mut pid_file = None;
        let mut lock = None;
        for fd in fds.flatten() {
            let Ok(path) = fs::read_link(fd.path()) else {
                continue;
            };
            if path.file_name() == Some(OsStr::new(pidfile::FILE)) {
                pid_file = Some((path, fd.path()));
            } else if path.file_name() == Some(OsStr::new(datalock::FILE)) {
                lock = Some((path, fd.path()));
            }
        }
        let Some((pid_file, open)) = pid_file else {
            return Ok(None);
        };
        let noted = lock.as_ref().and_then(|(_, open)| note(open));
        let is_wanted = self.is_of(pid, noted.as_deref())
            && variable(pid) == std::env::var_os(LOG_PATH).filter(|value| !value.is_empty())
            && is_here(&pid_file, &open, pid);
        Ok(is_wanted.then(|| Agent {
            pid,
            pid_file,
            data_dir: lock.and_then(|(path, _)| path.parent().map(Path::to_owned)),
        }))
    }

    /// Whether the process reads the configuration file. The command line of an agent that has noted
    /// nothing may be relative to a directory that is not known; such a one is passed over.
    fn is_of(&self, pid: i32, noted: Option<&Path>) -> bool {
        match noted {
            Some(file) => same_file(file, self.main_file),
            None => {
                let named = config_file(&command_line(pid));
                same_file(named.as_deref().unwrap_or(self.default), self.main_file)
            }
        }
    }

    /// Whether a process that can't be looked into may be an agent of the configuration file, by its
    /// command line.
    fn may_be(&self, pid: i32) -> bool {
        let words = command_line(pid);
        let name = |word: &Vec<u8>| {
            let name = word.rsplit(|b| *b == b'/').next().unwrap_or_default();
            name.starts_with(b"scalyr-agent-2") || name == b"agent_main.py"
        };
        let named = config_file(&words);
        let named = named.as_deref().unwrap_or(self.default);
        // `python3 agent_main.py start`
        words.iter().take(3).any(name) && (named.is_relative() || same_file(named, self.main_file))
    }
}

/// Whether the file that the process has open is at this path for us too, and locked by it.
fn is_here(path: &Path, open: &Path, pid: i32) -> bool {
    let (Ok(here), Ok(there)) = (fs::symlink_metadata(path), fs::metadata(open)) else {
        return false;
    };
    (here.dev(), here.ino()) == (there.dev(), there.ino())
        && holder::holds(&there, pid) != Holds::No
}

/// The configuration file that the holder of a data directory's lock has noted.
fn note(open: &Path) -> Option<PathBuf> {
    let mut text = Vec::new();
    // It may be a FIFO by now
    let mut options = fs::OpenOptions::new();
    let file = options.read(true).custom_flags(libc::O_NONBLOCK);
    let file = file.open(open).ok()?;
    file.take(datalock::MOST_NOTED)
        .read_to_end(&mut text)
        .ok()?;
    let line = text.strip_suffix(b"\n")?;
    Some(PathBuf::from(OsStr::from_bytes(line)))
}

/// Whether two absolute paths name one file, which may be gone.
fn same_file(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().ok();
    one == other || real(one).is_some_and(|path| Some(path) == real(other))
}

/// Empty for a process that is gone.
fn command_line(pid: i32) -> Vec<Vec<u8>> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|b| *b == 0).map(<[u8]>::to_vec).collect()
}

/// The argument of `-c` or `--config-file`.
fn config_file(words: &[Vec<u8>]) -> Option<PathBuf> {
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let word = word.as_slice();
        let value = match word {
            b"-c" | b"--config-file" => words.next()?.as_slice(),
            _ => match word.strip_prefix(b"--config-file=") {
                Some(value) => value,
                None => continue,
            },
        };
        return Some(PathBuf::from(OsStr::from_bytes(value)));
    }
    None
}

/// The value of [`LOG_PATH`] in a process's environment.
fn variable(pid: i32) -> Option<std::ffi::OsString> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let mut entries = environment.split(|b| *b == 0);
    let value =
        entries.find_map(|entry| entry.strip_prefix(LOG_PATH.as_bytes())?.strip_prefix(b"="))?;
    (!value.is_empty()).then(|| OsStr::from_bytes(value).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_of_an_older_agent_is_that_of_its_command_line() {
        let file = |line: &str| {
            let words: Vec<Vec<u8>> = line.split(' ').map(|w| w.as_bytes().to_vec()).collect();
            config_file(&words)
        };
        for line in [
            "a -c /c start",
            "a start --config-file /c",
            "a --config-file=/c start",
        ] {
            assert_eq!(file(line), Some("/c".into()), "{line}");
        }
        assert_eq!(file("a start -c"), None);
        assert_eq!(file("a start"), None);
    }
}
