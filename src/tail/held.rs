//! Which session of a worker has which file.
//!
//! The sessions of a worker share its files by the names of paths, and a rotation may give a file a
//! name that falls to another session. Without asking, that one would send the file a second time.

use super::identity::{self, FileId};
use super::ledger::{Birth, ContentKey, Stat};
use super::tailer::Tailer;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The files that the sessions of one worker have; one of these for all of them.
#[derive(Debug, Clone, Default)]
pub struct Held(Arc<Mutex<HashMap<FileId, Holder>>>);

#[derive(Debug)]
struct Holder {
    /// The index of the session.
    session: u64,
    /// The path of its log.
    path: PathBuf,
    /// When the file was created, where that is known: an inode alone may be another file's by now.
    birth: Option<Birth>,
}

impl Held {
    fn with<T>(&self, act: impl FnOnce(&mut HashMap<FileId, Holder>) -> T) -> T {
        // The map is whole at each moment, also if a thread died that had it
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Tailer {
    /// Whether several sessions share the worker's files.
    fn shares(&self) -> bool {
        self.settings.share.1 > 1
    }

    /// Makes it known in which file a content of this session is.
    pub(super) fn hold_file(
        &mut self,
        key: ContentKey,
        id: FileId,
        birth: Option<Birth>,
        path: &Path,
    ) {
        if !self.shares() {
            return;
        }
        if self
            .held_files
            .insert(key, id)
            .is_some_and(|before| before != id)
        {
            self.release_file(key);
            self.held_files.insert(key, id);
        }
        let holder = Holder {
            session: self.settings.share.0,
            path: path.to_path_buf(),
            birth,
        };
        self.settings.held.with(|all| all.insert(id, holder));
    }

    /// Makes it known that a content of this session is in no file any more.
    pub(super) fn release_file(&mut self, key: ContentKey) {
        let Some(id) = self.held_files.remove(&key) else {
            return;
        };
        let mine = self.settings.share.0;
        self.settings.held.with(|all| {
            if all.get(&id).is_some_and(|holder| holder.session == mine) {
                all.remove(&id);
            }
        });
    }

    /// Whether another session has the file that a path of this one shows, so that it is sent already.
    /// A file that still has the name under which the other session follows it is a link, and both do.
    pub(super) fn is_held_elsewhere(&self, stat: &Stat) -> bool {
        if !self.shares() {
            return false;
        }
        let mine = self.settings.share.0;
        let path = self.settings.held.with(|all| {
            let holder = all.get(&stat.id).filter(|holder| holder.session != mine)?;
            Birth::may_be_same(holder.birth, stat.birth).then(|| holder.path.clone())
        });
        path.is_some_and(|path| {
            !identity::stat(&path).is_ok_and(|meta| FileId::of(&meta) == stat.id)
        })
    }
}
