//! Tail threads that hang at a path and were left behind: shut out from the checkpoints, watched until
//! they end.

use crate::tail::Fence;
use std::path::PathBuf;
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
    since: Instant,
    fence: Arc<Fence>,
    thread: JoinHandle<()>,
}

impl LeftBehind {
    /// Gives up a thread.
    pub fn new(session: String, fence: Arc<Fence>, thread: JoinHandle<()>) -> Self {
        let left = LeftBehind {
            at: fence.at(),
            since: Instant::now(),
            session,
            fence,
            thread,
        };
        let is_shut = left.is_shut_out();
        log::error!(
            "[error=\"leftBehind\"] The thread of session {} hangs at {} and is left behind; it can write no \
             checkpoint any more{}",
            left.session,
            left.at.display(),
            match is_shut {
                true => "",
                false => ", as soon as the write that it has begun is over",
            }
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
                "{} (a thread of session {}, left behind {} s ago)",
                left.at.display(),
                left.session,
                left.since.elapsed().as_secs()
            )
        })
    }
}
