//! Asking threads to end.
//!
//! A [`Stop`] is a channel on which nothing is ever sent: that it is disconnected is the message,
//! so a thread can wait for it together with its other channels in one `select!`.

use crossbeam_channel::{bounded, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::convert::Infallible;
use std::time::{Duration, Instant};

/// Keeps the holders of the matching [`Stop`] running; dropping it asks them to end.
#[derive(Debug)]
pub struct Stopper(#[allow(dead_code)] Sender<Infallible>);

/// The receiving side; clones all hear the same request.
#[derive(Debug, Clone)]
pub struct Stop(Receiver<Infallible>);

/// A connected [`Stopper`] and [`Stop`].
pub fn pair() -> (Stopper, Stop) {
    let (tx, rx) = bounded(0);
    (Stopper(tx), Stop(rx))
}

impl Stop {
    /// Whether the end was asked for. Costs an atomic load or two; fit for loops, not for lines.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropping_the_stopper_wakes_a_sleeper_at_once() {
        let (stopper, stop) = pair();
        assert!(!stop.is_set());
        let other = stop.clone();
        let sleeper = std::thread::spawn(move || other.sleep(Duration::from_secs(60)));
        drop(stopper);
        assert!(sleeper.join().unwrap());
        assert!(stop.is_set());
    }
}
