//! `metrics_in_memory`: metrics go over a bounded channel straight into requests, so that a device's
//! flash is not worn by log files that are read once.

use crate::tail::Shelf;
use crossbeam_channel::{bounded, Receiver, Sender};
use monitors::sink::{Lost, Sink};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// How many blocks of lines are on the way at the most.
const BLOCKS: usize = 16;

/// Lines of a metric log on their way to the session.
pub struct Lines {
    /// The file that they would be in.
    pub path: Arc<Path>,
    /// Whole lines.
    pub bytes: Vec<u8>,
}

impl Lines {
    fn count(&self) -> u64 {
        memchr::memchr_iter(b'\n', &self.bytes).count() as u64
    }
}

/// Leads from the monitors to the session that takes metrics. It outlives both: what is on it while
/// sessions are started anew waits for the next one.
#[derive(Clone)]
pub struct Way(Arc<Ends>);

struct Ends {
    to: Sender<Lines>,
    from: Receiver<Lines>,
    /// Lines that sessions have taken.
    shelf: Shelf,
}

impl Default for Way {
    fn default() -> Self {
        let (to, from) = bounded(BLOCKS);
        let shelf = Shelf::default();
        Way(Arc::new(Ends { to, from, shelf }))
    }
}

impl Way {
    /// The end of the way for one metric log.
    pub fn sink(&self, path: &Path) -> Box<dyn Sink> {
        Box::new(InMemory {
            way: self.clone(),
            path: path.into(),
        })
    }

    /// The other end, for the one session that takes metrics.
    pub fn lines(&self) -> Receiver<Lines> {
        self.0.from.clone()
    }

    /// Where sessions keep the lines that they take until they are delivered.
    pub fn shelf(&self) -> Shelf {
        self.0.shelf.clone()
    }

    /// Lines that earlier sessions had taken and not delivered when they ended or were given up; they are older
    /// than all that are on the way.
    pub fn take_left(&self) -> impl Iterator<Item = Lines> {
        let left = self.0.shelf.take_left().into_iter();
        left.map(|(path, bytes)| Lines {
            path: path.into(),
            bytes,
        })
    }

    /// Gives up all that nobody will take any more. How many lines that are.
    pub fn give_up(&self) -> u64 {
        self.take_left()
            .chain(self.0.from.try_iter())
            .map(|lines| lines.count())
            .sum()
    }
}

struct InMemory {
    way: Way,
    path: Arc<Path>,
}

impl Sink for InMemory {
    fn of(&self, path: &Path) -> Option<Box<dyn Sink>> {
        Some(self.way.sink(path))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Lost> {
        let lines = Lines {
            path: self.path.clone(),
            bytes: bytes.to_vec(),
        };
        self.way.0.to.try_send(lines).map_err(|refused| Lost {
            lines: refused.into_inner().count(),
            error: io::Error::other(
                "the memory for metrics (metrics_memory_bytes) is full, the server does not take them fast enough",
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_while_no_session_runs_waits_for_the_next_one_within_bounds() {
        let way = Way::default();
        let mut sink = way.sink(Path::new("/m.log"));
        for _ in 0..BLOCKS {
            sink.write(b"b\nc\n").unwrap();
        }
        let lost = sink.write(b"d\ne\n").unwrap_err();
        assert_eq!(lost.lines, 2);
        assert_eq!(way.lines().try_recv().unwrap().bytes, b"b\nc\n");
        assert_eq!(way.give_up(), 2 * (BLOCKS as u64 - 1));
        assert_eq!(way.give_up(), 0);
    }
}
