//! A folder as a look sees it: one listing with what `stat` says of each name, and files opened on
//! demand. All I/O of a look is behind [`Disk`] and [`Eyes`].

use super::super::identity::{hash, FileId};
use super::content::{Birth, ContentKey, Stamp};
use super::evidence::Bytes;
use super::mutants::{self, Mutant};
use std::collections::BTreeSet;
use std::io;

/// The answer of `stat` about a regular file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Device and inode.
    pub id: FileId,
    /// Its creation.
    pub birth: Option<Birth>,
    /// Length in bytes, as on disk.
    pub length: u64,
    /// Of the length and the last change.
    pub stamp: Stamp,
}

/// One name of a folder.
#[derive(Debug, Clone)]
pub struct Listed {
    /// In the folder.
    pub name: Box<[u8]>,
    /// Of the file that it leads to, past links.
    pub stat: Stat,
    /// It is gzip by its name, and not the path of a log, as what a log holds is text.
    pub is_archive: bool,
}

impl Listed {
    /// Whether its text is compressed.
    pub fn is_archive(&self) -> bool {
        self.is_archive
    }

    /// The hash of it that a remembered listing keeps. Its name is not part of it, as each rotation gives
    /// another one to all that were rotated before. The inode alone may be the next archive's by the time
    /// of the next look.
    fn short(&self) -> u64 {
        let stat = &self.stat;
        let birth = stat.birth.map_or(0, |birth| birth.0.get());
        let parts = [
            stat.id.ino.to_le_bytes(),
            birth.to_le_bytes(),
            u64::from(stat.stamp.0).to_le_bytes(),
        ];
        hash(&parts.concat())
    }
}

/// A folder, as a look sees it.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Regular files, by name.
    pub files: Vec<Listed>,
    /// Names of which `stat` says nothing at the moment: whatever is lost may lie there.
    pub unclear: Vec<Box<[u8]>>,
    /// A folder could not be listed: nothing is known of the files in it but of those that are named.
    pub is_partial: bool,
    /// Not all folders below were listed. What is remembered of the files in them is kept.
    pub is_shallow: bool,
}

/// A folder of a file system.
#[cfg(test)]
pub trait Disk {
    /// The names in it.
    ///
    /// # Errors
    /// The error of the file system. A listing that breaks off is an error as well.
    fn list(&self) -> io::Result<Vec<Box<[u8]>>>;

    /// Of the file that a name leads to; `None` for one that is no regular file.
    ///
    /// # Errors
    /// The error of the file system.
    fn stat(&self, name: &[u8]) -> io::Result<Option<Stat>>;
}

/// Evidence on demand.
pub trait Eyes {
    /// The text of a listed file, of an archive what is compressed in it.
    ///
    /// # Errors
    /// The error of opening; `NotFound` if the name shows another file by now.
    fn open(&mut self, file: &Listed) -> io::Result<Box<dyn Bytes + '_>>;

    /// The file that an open descriptor of this content holds.
    fn held(&mut self, key: ContentKey) -> Option<(Stat, Box<dyn Bytes + '_>)>;
}

#[cfg(test)]
impl Snapshot {
    /// Lists the folder.
    ///
    /// # Errors
    /// The error of listing. Nothing may be concluded then: not that anything is gone, nor that it is new.
    pub fn take(disk: &dyn Disk) -> io::Result<Snapshot> {
        let mut names = disk.list()?;
        names.sort();
        let mut snapshot = Snapshot::default();
        for name in names {
            match disk.stat(&name) {
                Ok(Some(stat)) => snapshot.files.push(Listed {
                    is_archive: name.ends_with(b".gz"),
                    name,
                    stat,
                }),
                Ok(None) => {}
                // Renamed or deleted since the listing; where it is now was perhaps listed before
                Err(_) => snapshot.unclear.push(name),
            }
        }
        Ok(snapshot)
    }
}

/// The most names that are remembered of a folder: 160 kB.
const MOST: usize = 20_000;

/// The files that could be rotated ones of a log and that were there at an earlier look without being
/// followed. A file that is not among them came since then, whatever its dates say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remembered {
    names: BTreeSet<u64>,
    /// There were more; what is new can't be told any more.
    overflown: bool,
    /// See [`leave_open`](Remembered::leave_open).
    is_open: bool,
}

impl Remembered {
    /// Of a folder without such files.
    pub const fn none() -> Remembered {
        Remembered {
            names: BTreeSet::new(),
            overflown: false,
            is_open: false,
        }
    }

    /// Whether the file may have been there.
    pub fn has(&self, file: &Listed) -> bool {
        let is_known = self.overflown || self.names.contains(&file.short());
        is_known && !mutants::is(Mutant::Forgetful)
    }

    /// All that another one has: a look that could not see every file forgets none.
    pub fn keep(&mut self, other: &Remembered) {
        self.overflown |= other.overflown;
        for name in &other.names {
            if self.names.len() >= MOST {
                self.overflown = true;
                return;
            }
            self.names.insert(*name);
        }
    }

    /// As an earlier process has written it down: the hashes, and whether there were more files.
    pub fn restored(mut names: BTreeSet<u64>, overflown: bool) -> Remembered {
        let overflown = overflown || names.len() > MOST;
        while names.len() > MOST {
            names.pop_last();
        }
        Remembered {
            names,
            overflown,
            is_open: false,
        }
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && !self.overflown && !self.is_open
    }

    /// The hashes, in order.
    pub fn names(&self) -> impl Iterator<Item = u64> + '_ {
        self.names.iter().copied()
    }

    /// Whether there were more files than are remembered.
    pub fn is_overflown(&self) -> bool {
        self.overflown
    }

    /// The path of a log showed another content at a look that could not judge all new files: one that is judged
    /// later may have come then, whatever its file is named or compressed to by now.
    pub fn leave_open(&mut self) {
        self.is_open = !mutants::is(Mutant::PendingForgotten);
    }

    /// Whether it was left open so.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// One more.
    pub fn add(&mut self, file: &Listed) {
        if self.names.len() < MOST {
            self.names.insert(file.short());
        } else {
            self.overflown = true;
        }
    }
}
