//! The pid file.
//!
//! The proof of life is not the number in the file but the exclusive `flock` that the running
//! agent holds on it: the kernel drops it with the process, so neither a crash nor a reused pid
//! can mislead. The form and the lock are those of the Python agent; each understands the other.

use super::holder::{self, Holds};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::kill;
use nix::unistd::{Pid, Uid};
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The file's name in the log directory.
pub const FILE: &str = "agent.pid";

/// How long [`acquire`] tries for the lock. A reader that looks whether the agent runs holds a
/// shared lock for some microseconds, which must not make a start fail.
const PATIENCE: Duration = Duration::from_millis(500);

/// No valid pid file is longer. Anything beyond is not read.
const MOST_BYTES: u64 = 256;

/// Neither follow a link nor wait for a FIFO.
const TRAPS: i32 = libc::O_NOFOLLOW | libc::O_NONBLOCK;

/// The pid file of this process, locked. Dropping it unlinks the file and releases the lock.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    /// Closing it releases the lock. Close-on-exec, so that child programs don't inherit it.
    file: Flock<File>,
}

/// Why [`acquire`] did not get the pid file.
#[derive(Debug)]
pub enum Refused {
    /// An agent runs, with this pid (0 if it has not written it yet).
    Running(i32),
    /// The file can't be created, locked or written.
    Io(io::Error),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Refused::Running(pid) => write!(f, "an agent is already running, pid={pid}"),
            Refused::Io(error) => error.fmt(f),
        }
    }
}

/// The pid of the agent that holds this pid file. `None` if there is none, also if the file is
/// missing, unreadable, half written or garbage.
pub fn running(path: &Path) -> Option<i32> {
    let mut file = open_plain(path).ok()?;
    let content = read(&mut file)?;
    let (pid, words) = parse(&content)?;
    if words == Words::Legacy {
        // An agent of long ago, which took no lock: the pid is all there is.
        return match kill(Pid::from_raw(pid), None) {
            Ok(()) | Err(Errno::EPERM) => Some(pid),
            Err(_) => None,
        };
    }
    match Flock::lock(file, FlockArg::LockSharedNonblock) {
        Err((_, Errno::EWOULDBLOCK | Errno::EACCES)) => Some(pid),
        // Got it (and released it at once), or the file system has no locks at all.
        _ => None,
    }
}

/// Root may look into a folder of the agent's user. A FIFO there must not make it wait, and a symbolic
/// link could lead to the locked pid file of another service.
fn open_plain(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(TRAPS).open(path)
}

/// Makes sure that the process `pid` is the agent of this pid file, before it gets a signal. The number
/// in the file proves nothing: the agent's user writes it, a plug-in may, and root reads it. The lock
/// must be held by that very process, and the process be the file owner's or root's.
///
/// Where /proc does not tell, the kernel still keeps those who are not root from others' processes; root
/// then trusts only a file that nobody else could have written.
///
/// # Errors
/// In one line, why the process must not get a signal and what to do.
pub fn prove(path: &Path, pid: i32) -> Result<(), String> {
    let shown = path.display();
    let file = open_plain(path)
        .and_then(|file| file.metadata())
        .map_err(|error| format!("{shown} can't be read: {error}"))?;
    if file.nlink() > 1 {
        return Err(format!(
            "{shown} has a second name (a hard link), so it may be the pid file of another program. \
             Remove it, then end the agent by hand if it runs."
        ));
    }
    match holder::holds(&file, pid) {
        Holds::Yes => {}
        Holds::No => {
            return Err(format!(
                "{shown} names process {pid}, but that process does not hold the file's lock, as an agent \
                 does: somebody else may have written the number. If it is the agent, end it by hand \
                 (kill {pid}); if not, remove the file."
            ))
        }
        Holds::Unknown => {
            let roots = file.uid() == 0 && file.mode() & 0o022 == 0;
            if Uid::effective().is_root() && !roots {
                return Err(format!(
                    "whether process {pid} holds the lock of {shown} can't be told, as /proc/locks can't \
                     be read, and others than root can write the file. Run the command as the file's \
                     owner, or mount /proc."
                ));
            }
        }
    }
    match holder::user(pid) {
        Some(user) if user != 0 && user != file.uid() => Err(format!(
            "process {pid}, which {shown} names, is neither root's nor that of the file's owner. If it is \
             the agent, end it by hand (kill {pid}); if not, remove the file."
        )),
        // If it has ended meanwhile, the signal itself will tell.
        _ => Ok(()),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Words {
    /// `PID` or `PID locked`: the lock decides.
    Locked,
    /// `PID` and other words: no lock was taken.
    Legacy,
}

fn read(file: &mut File) -> Option<String> {
    let mut content = String::new();
    file.take(MOST_BYTES).read_to_string(&mut content).ok()?;
    Some(content)
}

fn parse(content: &str) -> Option<(i32, Words)> {
    // Without the newline it is still being written.
    let line = content.split_once('\n')?.0;
    let mut words = line.split_ascii_whitespace();
    let pid = words.next()?.parse().ok().filter(|pid| *pid > 0)?;
    let rest: Vec<&str> = words.collect();
    match rest.as_slice() {
        [] | ["locked"] => Some((pid, Words::Locked)),
        _ => Some((pid, Words::Legacy)),
    }
}

/// Locks the pid file at `path` and writes this process's pid into it; to be called by the
/// process that will be the agent, after all forks. An unlocked file that a dead agent left
/// behind is taken over.
///
/// # Errors
/// [`Refused::Running`] if another process holds it, [`Refused::Io`] for all else.
pub fn acquire(path: &Path) -> Result<PidFile, Refused> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(pid) = running(path) {
            return Err(Refused::Running(pid));
        }
        let file = open(path).map_err(Refused::Io)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => {
                // The agent before us may have unlinked the file after we opened it. Our lock
                // would then stand on a file that nobody else can find.
                if is_at(&file, path) {
                    let mut held = PidFile {
                        path: path.to_owned(),
                        file,
                    };
                    return held.write().map(|()| held).map_err(Refused::Io);
                }
            }
            Err((_, Errno::EWOULDBLOCK)) => {}
            Err((_, errno)) => return Err(Refused::Io(errno.into())),
        }
        if Instant::now() >= deadline {
            return Err(Refused::Running(running(path).unwrap_or(0)));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o644)
        // Otherwise the target of a link would be emptied
        .custom_flags(TRAPS)
        .open(path)
}

fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(ours), Ok(there)) => ours.dev() == there.dev() && ours.ino() == there.ino(),
        _ => false,
    }
}

impl PidFile {
    fn write(&mut self) -> io::Result<()> {
        // The Python agent leaves 0755 behind; and the umask may have taken bits away.
        self.file
            .set_permissions(fs::Permissions::from_mode(0o644))
            .or_else(|error| match error.kind() {
                // A file that another user left in our directory.
                io::ErrorKind::PermissionDenied => Ok(()),
                _ => Err(error),
            })?;
        self.file.set_len(0)?;
        self.file
            .write_all(format!("{}\n", std::process::id()).as_bytes())?;
        self.file.sync_all()
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // First the name, then (by the field's own drop) the lock: the other way round a starting
        // agent's fresh file could be unlinked. And only if the name still leads to our file.
        if is_at(&self.file, &self.path) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes the pid file that a killed agent left behind. One that is locked stays.
pub fn remove_left_over(path: &Path) {
    if let Ok(file) = open_plain(path) {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) if is_at(&file, path) => drop(fs::remove_file(path)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);
    impl Folder {
        fn new() -> Self {
            let path =
                std::env::temp_dir().join(format!("pidfile-{}", crate::util::random::uuid4()));
            fs::create_dir(&path).unwrap();
            Folder(path)
        }
        fn pid_file(&self) -> PathBuf {
            self.0.join("agent.pid")
        }
    }
    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// A pid that no process has.
    fn dead_pid() -> i32 {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        i32::try_from(child.id()).unwrap()
    }

    #[test]
    fn every_content_that_an_old_agent_may_have_left() {
        let me = std::process::id();
        let dead = dead_pid();
        // (content, lock held, running), of contents that agents write or wrote, and some that only a
        // damaged disk does
        let table: Vec<(String, bool, bool)> = vec![
            (format!("{me}\n"), true, true),
            (format!("{me}\n"), false, false),
            (format!("{dead}\n"), false, false),
            (format!("{me} locked\n"), true, true),
            (format!("{me} locked\n"), false, false),
            (format!("{me} 12345.67 some words\n"), false, true),
            (format!("{dead} 12345.67 some words\n"), false, false),
            (
                "1 root process, answers EPERM to others\n".into(),
                false,
                true,
            ),
            (format!("{me}"), true, false),
            (String::new(), true, false),
            ("\n".into(), true, false),
            ("garbage\n".into(), true, false),
            ("-1\n".into(), true, false),
            ("0\n".into(), true, false),
            ("-1 old words\n".into(), false, false),
            ("99999999999999999999\n".into(), true, false),
            ("\0\0\0\0\n".into(), true, false),
            ("9".repeat(100_000), true, false),
        ];
        for (content, locked, expected) in table {
            let folder = Folder::new();
            let path = folder.pid_file();
            fs::write(&path, &content).unwrap();
            let _held = locked
                .then(|| Flock::lock(File::open(&path).unwrap(), FlockArg::LockExclusive).unwrap());
            assert_eq!(
                running(&path).is_some(),
                expected,
                "{content:?} locked={locked}"
            );
        }
        let folder = Folder::new();
        assert_eq!(running(&folder.pid_file()), None, "missing");
        fs::write(folder.pid_file(), b"\xff\xfe\n").unwrap();
        assert_eq!(running(&folder.pid_file()), None, "not UTF-8");
        fs::remove_file(folder.pid_file()).unwrap();
        nix::unistd::mkfifo(&folder.pid_file(), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(running(&folder.pid_file()), None, "a FIFO, and no writer");
    }

    #[test]
    fn taken_over_from_the_dead_refused_by_the_living_gone_at_the_end() {
        let folder = Folder::new();
        let path = folder.pid_file();
        fs::write(&path, "1 \nlonger than what will be written").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();

        let held = acquire(&path).unwrap();
        let me = std::process::id();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{me}\n"));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o644);
        assert_eq!(running(&path).map(|pid| pid as u32), Some(me));
        match acquire(&path) {
            Err(Refused::Running(pid)) => assert_eq!(pid as u32, me),
            other => panic!("{other:?}"),
        }
        remove_left_over(&path);
        assert!(path.exists(), "a living agent's file must stay");

        drop(held);
        assert!(!path.exists());
        acquire(&path).unwrap();
    }

    #[test]
    fn a_number_that_anybody_may_have_written_is_no_proof() {
        let folder = Folder::new();
        let path = folder.pid_file();
        let own = i32::try_from(std::process::id()).unwrap();
        let mut other = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let other_pid = i32::try_from(other.id()).unwrap();

        let held = acquire(&path).unwrap();
        prove(&path, own).unwrap();
        // This process holds the lock, and the file names another
        fs::write(&path, format!("{other_pid}\n")).unwrap();
        assert_eq!(running(&path), Some(other_pid));
        let why = prove(&path, other_pid).unwrap_err();
        assert!(why.contains("does not hold the file's lock"), "{why}");
        drop(held);
        // Python agents of long ago wrote this, and took no lock
        fs::write(&path, format!("{other_pid} some words\n")).unwrap();
        assert_eq!(running(&path), Some(other_pid));
        assert!(prove(&path, other_pid).is_err());
        other.kill().unwrap();
        other.wait().unwrap();
    }

    #[test]
    fn the_pid_file_of_another_service_is_not_taken_for_the_agent_s() {
        let folder = Folder::new();
        let theirs = folder.0.join("crond.pid");
        let held = acquire(&theirs).unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        std::os::unix::fs::symlink(&theirs, folder.pid_file()).unwrap();
        assert_eq!(running(&folder.pid_file()), None);
        assert!(prove(&folder.pid_file(), own).is_err());
        // Nor is what the link leads to written over
        let before = fs::read(&theirs).unwrap();
        assert!(matches!(acquire(&folder.pid_file()), Err(Refused::Io(_))));
        assert_eq!(fs::read(&theirs).unwrap(), before);
        fs::remove_file(folder.pid_file()).unwrap();
        fs::hard_link(&theirs, folder.pid_file()).unwrap();
        let why = prove(&folder.pid_file(), own).unwrap_err();
        assert!(why.contains("hard link"), "{why}");
        drop(held);
    }

    #[test]
    fn readers_do_not_make_a_start_fail() {
        let folder = Folder::new();
        let path = folder.pid_file();
        fs::write(&path, "1\n").unwrap();
        let reader = Flock::lock(File::open(&path).unwrap(), FlockArg::LockShared).unwrap();
        let release = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            drop(reader);
        });
        acquire(&path).unwrap();
        release.join().unwrap();
    }

    #[test]
    fn an_end_does_not_remove_the_file_of_a_successor() {
        let folder = Folder::new();
        let path = folder.pid_file();
        let old = acquire(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let new = acquire(&path).unwrap();
        drop(old);
        assert!(path.exists());
        drop(new);
        assert!(!path.exists());
    }
}
