//! Tail threads that hang at a path and were left behind: shut out from the checkpoints, watched until
//! they end.

use crate::tail::{Carried, Fence};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// At most this many tail threads are left behind: each holds its files and up to 12 MB of memory.
pub const MOST: usize = 4;
/// How long the end of a write of a checkpoint is waited for. It is the disk of the data directory
/// then that does not answer, not a log's.
const WRITE_WITHIN: Duration = Duration::from_millis(200);

/// One such thread.
pub struct LeftBehind {
    session: String,
    at: PathBuf,
    /// Other threads leave it out: the path, or the mount that does not answer as a whole.
    out: PathBuf,
    since: Instant,
    fence: Arc<Fence>,
    thread: JoinHandle<Option<Carried>>,
}

impl LeftBehind {
    /// Gives up a thread.
    pub fn new(session: String, fence: Arc<Fence>, thread: JoinHandle<Option<Carried>>) -> Self {
        let at = fence.at();
        let mounts = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
        let left = LeftBehind {
            out: mount_of(&at, &mounts).unwrap_or_else(|| at.clone()),
            at,
            since: Instant::now(),
            session,
            fence,
            thread,
        };
        let is_shut = left.is_shut_out();
        log::error!(
            "[error=\"leftBehind\"] The thread of session {} hangs at {} and is left behind; it can write no \
             checkpoint any more{}. {} is left out until it ends",
            left.session,
            left.at.display(),
            match is_shut {
                true => "",
                false => ", as soon as the write that it has begun is over",
            },
            left.out.display()
        );
        left
    }

    /// Whether no write of it is under way. None can follow.
    fn is_shut_out(&self) -> bool {
        self.fence.give_up(Instant::now() + WRITE_WITHIN)
    }
}

/// All of them.
#[derive(Default)]
pub struct AllLeftBehind(Vec<LeftBehind>);

impl AllLeftBehind {
    /// Takes one up.
    pub fn add(&mut self, left: LeftBehind) {
        self.0.push(left);
    }

    /// How many there are; forgets those that have ended.
    pub fn count(&mut self) -> usize {
        let all = std::mem::take(&mut self.0).into_iter();
        let (ended, left) = all.partition(|left| left.thread.is_finished());
        self.0 = left;
        let ended: Vec<LeftBehind> = ended;
        for left in ended {
            log::info!(
                "The thread of session {} that hung at {} and was left behind has ended after {} s",
                left.session,
                left.at.display(),
                left.since.elapsed().as_secs()
            );
            if let Err(panic) = left.thread.join() {
                log::error!("it had died: {}", super::panic_text(&*panic));
            }
        }
        self.0.len()
    }

    /// The paths that other threads must leave out.
    pub fn paths(&self) -> Vec<PathBuf> {
        let paths = self.0.iter().map(|left| left.out.clone());
        paths.filter(|path| path.parent().is_some()).collect()
    }

    /// Whether all are shut out, so that others may take up the checkpoints.
    ///
    /// # Errors
    /// Which one still writes.
    pub fn shut_out(&self) -> Result<(), String> {
        match self.0.iter().find(|left| !left.is_shut_out()) {
            None => Ok(()),
            Some(left) => Err(format!(
                "session {}, which was left behind, still writes a checkpoint: the disk of agent_data_path does \
                 not answer",
                left.session
            )),
        }
    }

    /// A line for each, for the status report.
    pub fn lines(&self) -> impl Iterator<Item = String> + '_ {
        self.0.iter().map(|left| {
            format!(
                "{} (a thread of session {}, left behind {} s ago; {} is left out)",
                left.at.display(),
                left.session,
                left.since.elapsed().as_secs(),
                left.out.display()
            )
        })
    }
}

/// The mount that a path is on by its name, if that is of a kind that does not answer as a whole.
/// `mounts` is the system's list of them.
fn mount_of(path: &Path, mounts: &[u8]) -> Option<PathBuf> {
    let mut found = None;
    let mut longest = 0;
    for line in mounts.split(|b| *b == b'\n') {
        let mut words = line.split(|b| *b == b' ');
        let point = PathBuf::from(unescaped(words.nth(4).unwrap_or_default()));
        let kind = words.skip_while(|word| *word != b"-").nth(1);
        let depth = point.components().count();
        // Of several mounts at one place the last is seen
        if let Some(kind) = kind.filter(|_| path.starts_with(&point) && depth >= longest) {
            longest = depth;
            found = is_remote(kind).then_some(point);
        }
    }
    found
}

/// Whether a kind of file system is another machine's, or another process's.
fn is_remote(kind: &[u8]) -> bool {
    let others: [&[u8]; 8] = [
        b"9p",
        b"afs",
        b"autofs",
        b"ceph",
        b"cifs",
        b"lustre",
        b"smb3",
        b"virtiofs",
    ];
    kind.starts_with(b"nfs") || kind.starts_with(b"fuse") || others.contains(&kind)
}

/// A name in the list of mounts: blanks and the like are `\040`.
fn unescaped(name: &[u8]) -> OsString {
    let mut out = Vec::new();
    let mut rest = name;
    while let [first, more @ ..] = rest {
        let octal = more.get(..3).filter(|_| *first == b'\\');
        let octal = octal.and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = &more[3..];
            }
            None => {
                out.push(*first);
                rest = more;
            }
        }
    }
    OsString::from_vec(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_file_system_hangs_as_a_whole_and_a_disk_does_not() {
        let mounts = b"22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
            40 22 0:50 / /mnt/my\\040logs rw shared:9 master:1 - nfs4 server:/export rw\n\
            41 40 8:2 / /mnt/my\\040logs/disk rw - ext4 /dev/sdb1 rw\n\
            42 22 0:51 / /srv rw - fuse.sshfs host:/ rw\n\
            43 22 8:3 / /srv rw - xfs /dev/sdc1 rw\n";
        let of = |path: &str| mount_of(Path::new(path), mounts);
        assert_eq!(of("/mnt/my logs/a.log"), Some("/mnt/my logs".into()));
        assert_eq!(of("/mnt/my logs/disk/a.log"), None);
        assert_eq!(of("/mnt/my logs 2/a.log"), None);
        assert_eq!(of("/var/log/a.log"), None);
        assert_eq!(of("/srv/a.log"), None);
    }
}
