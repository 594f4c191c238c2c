//! Facts that tell whether the kernel can tell of a file: its file system, the links on its way, and mounts.

use super::fence::touch;
use super::source::is_gone;
use nix::sys::statfs::statfs;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// The most links on the way of a path: as the kernel bears.
const MOST_LINKS: usize = 40;

/// The file systems of which all changes are this kernel's: by `f_type` of statfs.
const TELLING: [u32; 17] = [
    0x0000_EF53, // ext2, ext3, ext4
    0x5846_5342, // xfs
    0x9123_683E, // btrfs
    0x0102_1994, // tmpfs
    0x8584_58F6, // ramfs
    0xF2F5_2010, // f2fs
    0x0000_72B6, // jffs2
    0x2405_1905, // ubifs
    0x5941_FF53, // yaffs2
    0x2FC1_2FC1, // zfs
    0xCA45_1A4E, // bcachefs
    0x3153_464A, // jfs
    0x5265_4973, // reiserfs
    0x0000_3434, // nilfs2
    0x0000_4D44, // vfat
    0x2011_BAB0, // exfat
    0x7366_746E, // ntfs3
];

/// The folder of a path.
pub fn parent_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

/// Whether the kernel tells of all changes in the file system of a path.
pub fn tells_all(path: &Path) -> bool {
    let kind = statfs(path).map(|at| at.filesystem_type().0 as u32);
    kind.is_ok_and(|kind| TELLING.contains(&kind))
}

/// The links on the way of a path, its last component included, and the first component that is not there.
pub fn steps_to(path: &Path) -> Vec<PathBuf> {
    let mut steps = Vec::new();
    let mut todo: Vec<Box<OsStr>> = names(path).rev().map(Into::into).collect();
    let mut at = PathBuf::from("/");
    while let Some(name) = todo.pop() {
        if *name == *".." {
            at.pop();
            continue;
        }
        at.push(&*name);
        let meta = touch(&at).and_then(|()| fs::symlink_metadata(&at));
        match meta {
            Ok(meta) if meta.is_symlink() && steps.len() < MOST_LINKS => {
                steps.push(at.clone());
                let Ok(target) = fs::read_link(&at) else {
                    return steps;
                };
                at.pop();
                if target.has_root() {
                    at = PathBuf::from("/");
                }
                todo.extend(names(&target).rev().map(Into::into));
            }
            Ok(_) => {}
            Err(e) => {
                if is_gone(&e) {
                    steps.push(at);
                }
                return steps;
            }
        }
    }
    steps
}

fn names(path: &Path) -> impl DoubleEndedIterator<Item = &OsStr> {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name),
        Component::ParentDir => Some(OsStr::new("..")),
        _ => None,
    })
}

/// Paths at which something is mounted: what is written there by another name is not told in their folder.
pub fn mounts() -> HashSet<PathBuf> {
    let text = fs::read("/proc/self/mountinfo").unwrap_or_default();
    let lines = text.split(|b| *b == b'\n');
    let points = lines.filter_map(|line| line.split(|b| *b == b' ').nth(4));
    points
        .map(|point| PathBuf::from(OsStr::from_bytes(&unescaped(point))))
        .collect()
}

/// Without the octal escapes of mountinfo.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        let digits = tail.get(..3).filter(|d| d.iter().all(u8::is_ascii_digit));
        match (first, digits) {
            (b'\\', Some(digits)) => {
                let value = digits
                    .iter()
                    .fold(0_u32, |n, d| n * 8 + u32::from(d - b'0'));
                out.push(value as u8);
                rest = &tail[3..];
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out
}
