//! One agent for each data directory. The pid file stands elsewhere, in the log directory, so it
//! keeps no second agent with another log directory away from the same checkpoints: each would send
//! everything once more, and overwrite the other's positions.

use super::holder;
use crate::util::files;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

/// The file's name in the data directory. It stays for ever: were it deleted, one agent could hold the
/// deleted file and another a new one. In it stands the configuration file of the last holder.
pub const FILE: &str = "agent.lock";

/// A longer note is none.
pub(super) const MOST_NOTED: u64 = 8192;

/// How long is tried for the lock: a process that was killed keeps it until its last thread is gone.
const PATIENCE: Duration = Duration::from_secs(1);

/// The exclusive `flock` on the data directory's lock file. The kernel drops it with the process;
/// child programs don't inherit it (close-on-exec).
#[derive(Debug)]
pub struct DataLock(Option<Flock<File>>);

impl DataLock {
    /// Takes the lock; to be called by the process that will be the agent, after all forks, before
    /// it reads a checkpoint. Waits at most one second.
    ///
    /// Where there can be no lock (a read-only or full file system without the file, one that has no
    /// locks, a file that this user can't open and that nobody holds) the agent goes on without;
    /// `warn` is told why.
    ///
    /// # Errors
    /// Another agent has the directory: which, and what to do.
    pub fn take(dir: &Path, warn: impl FnOnce(String)) -> Result<DataLock, String> {
        let path = dir.join(FILE);
        let error = match open(&path) {
            Ok(file) => match lock(file) {
                Ok(file) => return Ok(DataLock(Some(file))),
                Err(Errno::EWOULDBLOCK) => return Err(refusal(dir, &path)),
                Err(errno) => io::Error::from(errno),
            },
            Err(error) => error,
        };
        let held = fs::metadata(&path).is_ok_and(|file| holder::find(&file).is_some());
        if held {
            return Err(refusal(dir, &path));
        }
        warn(format!(
            "{} can't be locked: {error}. A second agent with the same agent_data_path would not be \
             noticed, and send everything once more.",
            path.display()
        ));
        Ok(DataLock(None))
    }

    /// Notes the configuration file, so that this agent is found when that is broken. Where nothing can
    /// be written, [`super::found`] goes by the command line.
    pub fn note(&mut self, main_file: &Path) {
        let mut line = main_file.as_os_str().as_bytes().to_vec();
        line.push(b'\n');
        if let Some(file) = &mut self.0 {
            let _ = file.set_len(0).and_then(|()| file.write_all(&line));
        }
    }

    /// Whether this is the lock of that directory, by whatever path.
    pub fn is_of(&self, dir: &Path) -> bool {
        let id = |file: fs::Metadata| (file.dev(), file.ino());
        let ours = self.0.as_ref().and_then(|file| file.metadata().ok());
        let there = fs::metadata(dir.join(FILE)).ok();
        ours.is_some() && ours.map(id) == there.map(id)
    }
}

fn refusal(dir: &Path, path: &Path) -> String {
    let pid = fs::metadata(path).ok().as_ref().and_then(holder::find);
    let who = match pid {
        Some(pid) => format!("another agent, pid={pid}"),
        None => "another agent, maybe in another container".to_owned(),
    };
    format!(
        "the data directory '{}' is in use by {who}. Two agents with one directory would send \
         everything twice and lose positions. Stop that agent, or give this one an agent_data_path of \
         its own",
        dir.display()
    )
}

/// The file may be another user's, or the file system read-only: a descriptor for reading can be
/// locked as well. For writing comes first, as NFS locks exclusively only what is open for writing.
fn open(path: &Path) -> io::Result<File> {
    let open = |write: bool| {
        OpenOptions::new()
            .read(true)
            .write(write)
            .create(write)
            .truncate(false)
            .mode(files::MODE)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(path)
    };
    open(true).or_else(|error| match open(false) {
        // Why it can't be made says more than that it is not there.
        Err(second) if second.kind() == io::ErrorKind::NotFound => Err(error),
        other => other,
    })
}

fn lock(mut file: File) -> Result<Flock<File>, Errno> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(locked) => return Ok(locked),
            Err((again, Errno::EWOULDBLOCK)) if Instant::now() < deadline => file = again,
            Err((_, errno)) => return Err(errno),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::testing::Scratch;

    fn take(dir: &Path) -> Result<DataLock, String> {
        DataLock::take(dir, |warning| panic!("{warning}"))
    }

    #[test]
    fn the_second_is_told_the_directory_and_who_has_it() {
        let scratch = Scratch::new("datalock");
        let dir = scratch.path("");
        let held = take(&dir).unwrap();
        assert!(held.is_of(&dir));
        std::os::unix::fs::symlink(&dir, scratch.path("same")).unwrap();
        assert!(held.is_of(&scratch.path("same")));
        let refused = take(&dir).unwrap_err();
        assert!(refused.contains(dir.to_str().unwrap()), "{refused}");
        let own = format!("pid={}.", std::process::id());
        assert!(refused.contains(&own), "{refused}");
        assert!(refused.contains("agent_data_path"), "{refused}");
        drop(held);
        let again = take(&dir).unwrap();
        let mode = fs::metadata(dir.join(FILE)).unwrap().mode();
        assert_eq!(mode & 0o137, 0);
        drop(again);
    }

    #[test]
    fn a_directory_that_can_t_be_written_costs_the_lock_and_not_the_start() {
        // Nobody may create a file there, not even root
        let mut warned = None;
        let lock = DataLock::take(Path::new("/proc/self"), |warning| warned = Some(warning));
        assert!(!lock.unwrap().is_of(Path::new("/proc/self")));
        let warned = warned.unwrap();
        assert!(warned.contains("/proc/self/agent.lock"), "{warned}");
    }

    #[test]
    fn a_lock_file_that_can_only_be_read_is_locked_all_the_same() {
        let scratch = Scratch::new("datalock-read");
        let path = scratch.path(FILE);
        fs::write(&path, "").unwrap();
        let read_only = OpenOptions::new().read(true).open(&path).unwrap();
        let held = lock(read_only).unwrap();
        assert!(take(&scratch.path("")).is_err());
        drop(held);
    }
}
