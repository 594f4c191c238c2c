//! Logs that come and go while monitors run: the files that `syslog_monitor` writes per sender and
//! `journald_monitor` per unit. The copier looks here.

use crate::monitor::MonitorLog;
use crossbeam_channel::{bounded, Receiver, Sender, TrySendError};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// The logs to follow beyond those that plans name. Shared by all monitors of an agent.
#[derive(Debug, Default)]
pub struct FollowedLogs {
    logs: Mutex<Vec<Followed>>,
    generation: AtomicU64,
    asked: AtomicU64,
    bells: Mutex<Vec<Sender<()>>>,
}

#[derive(Debug)]
struct Followed {
    owner: String,
    log: MonitorLog,
    delivered: Option<SystemTime>,
}

impl FollowedLogs {
    /// Has a log followed from its beginning. Call it before the file's first line is written.
    /// False if another owner has a log of that path, which stays as it is.
    pub fn follow(&self, owner: &str, log: MonitorLog) -> bool {
        let mut logs = self.lock();
        if let Some(known) = logs.iter_mut().find(|known| known.log.path == log.path) {
            if known.owner != owner {
                return false;
            }
            if known.log == log {
                return true;
            }
            known.log = log;
        } else {
            logs.push(Followed {
                owner: owner.to_owned(),
                log,
                delivered: None,
            });
        }
        drop(logs);
        self.generation.fetch_add(1, Ordering::Release);
        self.ring();
        true
    }

    /// Rings at each change and each question, for a copier that has nothing else to do.
    pub fn bell(&self) -> Receiver<()> {
        let (ring, bell) = bounded(1);
        self.bells().push(ring);
        bell
    }

    fn ring(&self) {
        let is_gone =
            |ring: &Sender<()>| matches!(ring.try_send(()), Err(TrySendError::Disconnected(())));
        self.bells().retain(|ring| !is_gone(ring));
    }

    fn bells(&self) -> MutexGuard<'_, Vec<Sender<()>>> {
        self.bells.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the following of one log: what is in it by now is still copied.
    pub fn unfollow(&self, owner: &str, path: &Path) {
        let mut logs = self.lock();
        let before = logs.len();
        logs.retain(|known| known.owner != owner || known.log.path != path);
        if logs.len() != before {
            drop(logs);
            self.generation.fetch_add(1, Ordering::Release);
            self.ring();
        }
    }

    /// Ends the following of all logs of an owner that has ended.
    pub fn forget(&self, owner: &str) {
        for path in self.of(owner) {
            self.unfollow(owner, &path);
        }
    }

    /// Grows with each change: one atomic load tells the copier that there is nothing new.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// All of them as they are now, in the order in which they came.
    pub fn all(&self) -> Vec<MonitorLog> {
        self.lock().iter().map(|known| known.log.clone()).collect()
    }

    /// The paths of one owner.
    pub fn of(&self, owner: &str) -> Vec<PathBuf> {
        let logs = self.lock();
        let own = logs.iter().filter(|known| known.owner == owner);
        own.map(|known| known.log.path.clone()).collect()
    }

    /// Asks the copier to tell what is delivered; it does so within seconds.
    pub fn ask_delivered(&self) {
        self.asked.fetch_add(1, Ordering::Release);
        self.ring();
    }

    /// Grows with each question.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Acquire)
    }

    /// The copier says that all that was in the files of these logs at that moment, the rotated ones included, has
    /// been acknowledged, or will never be sent.
    pub fn tell_delivered(&self, logs: impl Iterator<Item = (PathBuf, SystemTime)>) {
        let mut all = self.lock();
        for (path, at) in logs {
            if let Some(known) = all.iter_mut().find(|known| known.log.path == path) {
                known.delivered = Some(at);
            }
        }
    }

    /// The moment for which the copier has last said so of a log.
    pub fn delivered(&self, path: &Path) -> Option<SystemTime> {
        let logs = self.lock();
        logs.iter().find(|known| known.log.path == path)?.delivered
    }

    /// A panic elsewhere leaves nothing half done here.
    fn lock(&self) -> MutexGuard<'_, Vec<Followed>> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(path: &str, parser: &str) -> MonitorLog {
        MonitorLog {
            path: path.into(),
            parser: parser.to_owned(),
            attributes: Vec::new(),
            like: None,
            metrics: false,
            sampled: false,
        }
    }

    #[test]
    fn a_path_belongs_to_who_came_first() {
        let logs = FollowedLogs::default();
        assert!(logs.follow("a", log("/x", "p")));
        let generation = logs.generation();
        assert!(logs.follow("a", log("/x", "p")));
        assert!(!logs.follow("b", log("/x", "q")));
        assert_eq!(logs.generation(), generation);
        logs.unfollow("b", Path::new("/x"));
        assert_eq!(logs.all(), [log("/x", "p")]);
        assert!(logs.follow("a", log("/x", "q")));
        assert!(logs.generation() > generation);
        logs.unfollow("a", Path::new("/x"));
        assert!(logs.all().is_empty());
    }
}
