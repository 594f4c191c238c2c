//! Asking a monitor's thread to end.

use crossbeam_channel::{bounded, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::convert::Infallible;
use std::time::{Duration, Instant};

/// Keeps the holders of the matching [`Stop`] running; dropping it asks them to end.
#[derive(Debug)]
pub struct Stopper(#[allow(dead_code)] Sender<Infallible>);

/// A channel on which nothing is ever sent: that it is disconnected is the message.
#[derive(Debug, Clone)]
pub struct Stop(Receiver<Infallible>);

/// A connected [`Stopper`] and [`Stop`].
pub fn pair() -> (Stopper, Stop) {
    let (sender, receiver) = bounded(0);
    (Stopper(sender), Stop(receiver))
}

impl Stop {
    /// Whether the end was asked for.
    pub fn is_set(&self) -> bool {
        matches!(self.0.try_recv(), Err(TryRecvError::Disconnected))
    }

    /// Sleeps, but not past the request to end. True if that came.
    pub fn sleep(&self, time: Duration) -> bool {
        matches!(
            self.0.recv_timeout(time),
            Err(RecvTimeoutError::Disconnected)
        )
    }

    /// [`Stop::sleep`] up to a moment.
    pub fn sleep_until(&self, moment: Instant) -> bool {
        self.sleep(moment.saturating_duration_since(Instant::now()))
    }

    /// For `select!`: becomes ready (disconnected) when the end is asked for.
    pub fn channel(&self) -> &Receiver<Infallible> {
        &self.0
    }
}
