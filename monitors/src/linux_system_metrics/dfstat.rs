//! Filesystems.

use super::mounts::{select, Mount, Rules};
use super::prober::Prober;
pub(super) use super::prober::{Space, StatFs};
use super::turn::Turn;
use crate::line::Value;
use crate::procfs::{ProcFile, Until};
use std::hash::{DefaultHasher, Hasher as _};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

pub(super) struct DfStat {
    mountinfo: ProcFile,
    rules: Rules,
    /// Hash of the table from which `mounts` was selected.
    hash: Option<u64>,
    mounts: Arc<[Mount]>,
    prober: Prober,
}

impl DfStat {
    pub fn new(root: &Path, rules: Rules, statfs: StatFs) -> Self {
        DfStat {
            mountinfo: ProcFile::new(root.join("proc/self/mountinfo"), Until::End),
            rules,
            hash: None,
            mounts: Arc::new([]),
            prober: Prober::new(statfs),
        }
    }

    /// Has the filesystems asked, while other things are collected.
    pub fn begin(&mut self, turn: &mut Turn) {
        let DfStat {
            mountinfo,
            rules,
            hash,
            mounts,
            prober,
        } = self;
        turn.file(mountinfo, |text, _, _| {
            let mut hasher = DefaultHasher::new();
            hasher.write(text);
            let now = Some(hasher.finish());
            if *hash != now {
                *mounts = select(text, rules).into();
                *hash = now;
            }
        });
        if let Err(error) = prober.begin(mounts) {
            turn.missing(&format_args!("filesystems cannot be asked: {error}"));
        }
    }

    /// Emits what they have answered; waits for those that have not, each for a limited time.
    pub fn finish(&mut self, turn: &mut Turn) {
        let answers = self.prober.finish(&self.mounts, turn.out.stop());
        let mut spaces: Vec<Option<Space>> = Vec::with_capacity(answers.len());
        for (mount, answer) in self.mounts.iter().zip(answers) {
            spaces.push(match answer {
                // No size, no report.
                Some(Ok(space)) => Some(space).filter(|space| space.blocks > 0),
                Some(Err(error)) => {
                    // A filesystem that the agent may not see, or that has gone, is not reported as
                    // missing.
                    let expected = [ErrorKind::PermissionDenied, ErrorKind::NotFound];
                    if !expected.contains(&error.kind()) {
                        turn.missing(&format_args!("filesystem at {:?}: {error}", mount.field));
                    }
                    None
                }
                None => None,
            });
        }
        let found = || {
            let pairs = self.mounts.iter().zip(&spaces);
            pairs.filter_map(|(mount, space)| Some((mount, space.as_ref()?)))
        };
        let mut emit = |metric: &str, value: i64, mount: &Mount| {
            let fields = [
                ("mount", Value::Text(&mount.field)),
                ("fstype", Value::Text(&mount.fstype)),
            ];
            turn.out.emit_in_order(metric, value, &fields);
        };
        for (mount, space) in found().filter(|(mount, _)| mount.blocks) {
            emit("df.1kblocks.total", space.kib(space.blocks), mount);
            emit(
                "df.1kblocks.used",
                space.kib(space.blocks.saturating_sub(space.unused)),
                mount,
            );
            emit("df.1kblocks.free", space.kib(space.available), mount);
        }
        for (mount, space) in found().filter(|(_, space)| space.files >= 0) {
            emit("df.inodes.total", space.files, mount);
            let used = space.files.saturating_sub(space.files_unused);
            emit("df.inodes.used", used, mount);
            emit("df.inodes.free", space.files_unused, mount);
        }
        for text in self.prober.news() {
            turn.missing(&text);
        }
    }
}
