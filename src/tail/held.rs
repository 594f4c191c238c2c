//! Which session of a worker has which file.
//!
//! The sessions of a worker share its files by the names of paths, and a rotation may give a file a
//! name that falls to another session. Without asking, that one would send the file a second time.

use super::identity::{self, FileId};
use super::tailer::Tailer;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

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
    birth: Option<f64>,
    /// When another session last found it under a path of its own.
    seen: Option<Instant>,
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

    /// Makes it known that a log of this session has a file.
    pub(super) fn hold_file(&self, id: FileId, birth: Option<f64>, path: &Path) {
        if self.shares() && id.ino != 0 {
            let holder = Holder {
                session: self.settings.share.0,
                path: path.to_path_buf(),
                birth,
                seen: None,
            };
            self.settings.held.with(|all| all.insert(id, holder));
        }
    }

    /// Makes it known that no log of this session has the file any more.
    pub(super) fn release_file(&self, id: FileId) {
        if self.shares() {
            let mine = self.settings.share.0;
            self.settings.held.with(|all| {
                if all.get(&id).is_some_and(|holder| holder.session == mine) {
                    all.remove(&id);
                }
            });
        }
    }

    /// Whether another session has the file that a path of this one shows, so that it is sent already.
    /// A file that still has the name under which the other session follows it is a link, and both do.
    pub(super) fn is_held_elsewhere(&self, id: FileId, birth: Option<f64>, now: Instant) -> bool {
        if !self.shares() {
            return false;
        }
        let mine = self.settings.share.0;
        let path = self.settings.held.with(|all| {
            let holder = all.get_mut(&id).filter(|holder| holder.session != mine)?;
            let same = match (holder.birth, birth) {
                (Some(then), Some(now)) => identity::same_birth(then, now),
                _ => true,
            };
            same.then(|| {
                holder.seen = Some(now);
                holder.path.clone()
            })
        });
        path.is_some_and(|path| !identity::stat(&path).is_ok_and(|meta| FileId::of(&meta) == id))
    }

    /// Whether another session has lately found a file of this one under a path of its own, or had no
    /// time to look for it since then: were it forgotten here, that one would send it from its start.
    pub(super) fn is_seen_elsewhere(&self, id: FileId, since: Instant, now: Instant) -> bool {
        // Scans are late where much is to be done
        let lately = self.settings.new_log_detection * 3 + Duration::from_secs(10);
        let is_lately = |at: Instant| now.saturating_duration_since(at) < lately;
        self.shares()
            && (is_lately(since)
                || self.settings.held.with(|all| {
                    let seen = all.get(&id).and_then(|holder| holder.seen);
                    seen.is_some_and(is_lately)
                }))
    }
}
