//! Which process holds the exclusive `flock` on a file, as /proc tells it.

use nix::sys::stat::{major, minor};
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;

/// Whether a process holds a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    Yes,
    No,
    /// There is no /proc, or not the part of it that tells.
    Unknown,
}

/// Whether the process `pid` holds the exclusive `flock` on the file.
///
/// On btrfs and some overlays /proc/locks shows another device than `stat` does. There the inode's
/// number alone must not do: it could be that of a lock elsewhere. So the process must have the file
/// open, which root can see. Who is not root may be unable to look, and can signal none but its own
/// processes.
pub(super) fn holds(file: &Metadata, pid: i32) -> Holds {
    let Ok(locks) = fs::read_to_string("/proc/locks") else {
        return match has_open(file, pid) {
            Some(true) => Holds::Yes,
            Some(false) => Holds::No,
            None => Holds::Unknown,
        };
    };
    let found = parse(&locks, file);
    let mut own = found.iter().filter(|holder| holder.pid == pid);
    let open = || has_open(file, pid).unwrap_or(!nix::unistd::Uid::effective().is_root());
    match own.any(|holder| holder.same_device || open()) {
        true => Holds::Yes,
        false => Holds::No,
    }
}

/// The process that holds the exclusive `flock` on the file. `None`: nobody, or it can't be told:
/// without /proc, or from another container.
pub(super) fn find(file: &Metadata) -> Option<i32> {
    let found = parse(&fs::read_to_string("/proc/locks").ok()?, file);
    let mut sure = found.iter().filter(|holder| holder.same_device);
    sure.next().or(found.first()).map(|holder| holder.pid)
}

/// The effective user of a process, in number.
pub(super) fn user(pid: i32) -> Option<u32> {
    // Not the owner of /proc/PID: that is root where a process has changed its user.
    let status = fs::read(format!("/proc/{pid}/status")).ok()?;
    let status = String::from_utf8_lossy(&status);
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Whether a process has the file open; `None` if we may not see that.
fn has_open(file: &Metadata, pid: i32) -> Option<bool> {
    let mut open = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
    Some(open.any(|entry| {
        fs::metadata(entry.path())
            .is_ok_and(|other| (other.dev(), other.ino()) == (file.dev(), file.ino()))
    }))
}

#[derive(Debug, PartialEq, Eq)]
struct Holder {
    pid: i32,
    same_device: bool,
}

/// Of proc_locks(5) who has an exclusive `flock` on this inode. Those that wait for one have an
/// arrow in the second field.
fn parse(locks: &str, file: &Metadata) -> Vec<Holder> {
    let device = format!("{:02x}:{:02x}", major(file.dev()), minor(file.dev()));
    let inode = file.ino().to_string();
    let holder = |line: &str| -> Option<Holder> {
        let mut fields = line.split_ascii_whitespace().skip(1);
        if (fields.next()?, fields.nth(1)?) != ("FLOCK", "WRITE") {
            return None;
        }
        let pid = fields.next()?.parse().ok()?;
        let (there, number) = fields.next()?.rsplit_once(':')?;
        (number == inode).then(|| Holder {
            pid,
            same_device: there == device,
        })
    };
    locks.lines().filter_map(holder).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exclusive_locks_on_this_inode_count() {
        let path = std::env::current_exe().unwrap();
        let file = fs::metadata(path).unwrap();
        let ino = file.ino();
        let dev = format!("{:02x}:{:02x}", major(file.dev()), minor(file.dev()));
        let locks = format!(
            "1: FLOCK  ADVISORY  WRITE 11 {dev}:{ino} 0 EOF\n\
             1: -> FLOCK  ADVISORY  WRITE 12 {dev}:{ino} 0 EOF\n\
             2: FLOCK  ADVISORY  READ 13 {dev}:{ino} 0 EOF\n\
             3: POSIX  ADVISORY  WRITE 14 {dev}:{ino} 0 EOF\n\
             4: FLOCK  ADVISORY  WRITE 15 {dev}:{ino}0 0 EOF\n\
             5: FLOCK  ADVISORY  WRITE 16 ff:ff:{ino} 0 EOF\n\
             6: FLOCK\n\n7"
        );
        let pids: Vec<_> = parse(&locks, &file)
            .into_iter()
            .map(|holder| (holder.pid, holder.same_device))
            .collect();
        assert_eq!(pids, [(11, true), (16, false)]);
    }

    #[test]
    fn a_process_s_user_is_the_effective_one() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert_eq!(user(own), Some(nix::unistd::geteuid().as_raw()));
        assert_eq!(user(-1), None);
    }
}
