//! `metrics_in_memory`: metrics go over a bounded channel straight into requests, so that a device's
//! flash is not worn by log files that are read once.

use super::session::Lines;
use crossbeam_channel::{Sender, TrySendError};
use monitors::sink::{Lost, Sink};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Leads to the session that takes metrics. Sessions may be started anew; this stays.
#[derive(Clone, Default)]
pub struct Way(Arc<Mutex<Option<Sender<Lines>>>>);

impl Way {
    /// Leads to another session from now on, or nowhere.
    pub fn set(&self, to: Option<Sender<Lines>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = to;
    }

    /// The end of the way for one metric log.
    pub fn sink(&self, path: &Path) -> Box<dyn Sink> {
        Box::new(InMemory {
            way: self.clone(),
            path: path.into(),
        })
    }
}

struct InMemory {
    way: Way,
    path: Arc<Path>,
}

impl Sink for InMemory {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Lost> {
        let lines = Lines {
            path: self.path.clone(),
            bytes: bytes.to_vec(),
        };
        let to = self.way.0.lock().unwrap_or_else(PoisonError::into_inner);
        let why = match to.as_ref().map(|to| to.try_send(lines)) {
            Some(Ok(())) => return Ok(()),
            Some(Err(TrySendError::Full(_))) => {
                "the memory for metrics (metrics_memory_bytes) is full, the server does not take them fast enough"
            }
            Some(Err(TrySendError::Disconnected(_))) | None => {
                "no session is running that would take them"
            }
        };
        Err(Lost {
            lines: memchr::memchr_iter(b'\n', bytes).count() as u64,
            error: io::Error::other(why),
        })
    }
}
