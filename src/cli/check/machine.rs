//! Directories, disk space, open files, the clock.

use super::report::Report;
use crate::agent::positions;
use crate::config::Config;
use crate::util::time::now_secs;
use crate::util::words::count;
use nix::sys::resource::{getrlimit, Resource};
use nix::sys::statvfs::statvfs;
use nix::unistd::{access, AccessFlags};
use std::path::Path;

/// Less space than this may end before somebody looks.
const LITTLE_SPACE: u64 = 64 << 20;
/// Free inodes.
const FEW_INODES: u64 = 1_000;
/// 2024-01-01: no clock that is set stands before it.
const CLOCK_IS_SET: f64 = 1_704_067_200.0;

pub(super) fn check(report: &mut Report, config: &Config) {
    let options = &config.options;
    for (what, dir) in [
        ("log directory", &options.agent_log_path),
        ("data directory", &options.agent_data_path),
    ] {
        directory(report, what, Path::new(dir));
    }
    if let Err(why) = positions::check(Path::new(&options.agent_data_path)) {
        report.bad(why, "The agent does not start like this.");
    }
    if now_secs() < CLOCK_IS_SET {
        report.bad(
            "the clock stands before 2024",
            "Set it, or let chrony, ntpd or systemd-timesyncd do it: events carry its time.",
        );
    }
}

fn directory(report: &mut Report, what: &str, dir: &Path) {
    let shown = dir.display();
    match access(
        dir,
        AccessFlags::R_OK | AccessFlags::W_OK | AccessFlags::X_OK,
    ) {
        Ok(()) => {}
        Err(e) => {
            report.bad(
                format_args!("{what} {shown}: {}", e.desc()),
                "Make it, or give it to the owner of the configuration file.",
            );
            return;
        }
    }
    let Ok(space) = statvfs(dir) else {
        report.doubt(
            format_args!("{what} {shown}: its free space can't be told"),
            "",
        );
        return;
    };
    // The types differ between systems
    #[allow(clippy::unnecessary_cast)]
    let free = space.blocks_available() as u64 * space.fragment_size() as u64;
    #[allow(clippy::unnecessary_cast)]
    let (inodes, has_inodes) = (space.files_available() as u64, space.files() as u64 > 0);
    if free < LITTLE_SPACE {
        report.bad(
            format_args!("{what} {shown}: only {} MiB are free", free >> 20),
            "Make room: without it checkpoints can't be written, and lines are sent twice after a restart.",
        );
    } else if has_inodes && inodes < FEW_INODES {
        report.bad(
            format_args!("{what} {shown}: only {} left", count(inodes, "free inode")),
            "Remove small files: without inodes checkpoints can't be written.",
        );
    } else {
        report.good(format_args!(
            "{what} {shown} is writable, {} MiB are free",
            free >> 20
        ));
    }
}

/// Whether so many followed files can be open at once.
pub(super) fn open_files(report: &mut Report, config: &Config, files: usize) {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return;
    };
    // The agent takes as many as it may without asking, up to a bound of its own
    #[allow(clippy::unnecessary_cast)]
    let most = (hard as u64).min(65_536).max(soft as u64);
    let wanted = config.options.max_open_files.max(8) as u64;
    if most < wanted + 64 {
        report.doubt(
            format_args!("the system allows {most} open files, and max_open_files is {wanted}"),
            "Raise the limit (LimitNOFILE= of the unit, ulimit -n) or lower max_open_files.",
        );
    } else if files as u64 > wanted {
        report.good(format_args!(
            "{files} files match and {wanted} are kept open at a time (max_open_files); the others take turns"
        ));
    } else {
        let verb = if files == 1 { "matches" } else { "match" };
        report.good(format_args!("{most} files may be open, {files} {verb}"));
    }
}
