//! A small server that speaks the ingest API, for the demo, the tests and trials.
//!
//! It takes `addEvents` in both wire forms, the reference's and strict JSON, keeps what it accepts,
//! drops what it has already by sequence id and number, and does wrong on demand all that a server
//! can do wrong. In a test:
//!
//! ```
//! use receiver::{Fault, Options, Receiver};
//! use std::time::Duration;
//!
//! let receiver = Receiver::start(Options::default())?;
//! receiver.fault(Fault::cut_after_storing().with_events_only());
//! // ... point an agent to receiver.url(), and then
//! let arrived = receiver.wait_until(Duration::from_millis(10), |state| {
//!     state.event_count("/var/log/app.log") == 1000
//! });
//! # assert!(!arrived);
//! # Ok::<(), std::io::Error>(())
//! ```

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod body;
mod client;
mod connection;
mod decode;
mod event;
mod fault;
mod follow;
mod http;
mod ledger;
mod relaxed;
mod routes;
mod sequence;
mod server;
mod state;
mod store;
mod verdict;

pub mod command;
pub mod plain;

pub use event::{Event, Observer, Query};
pub use fault::{Cut, Fault};
pub use follow::{incoming, Incoming};
pub use http::http_date;
pub use ledger::{Ledger, Tally};
pub use server::{Options, Receiver};
pub use state::{Counts, LogCounts, Request, State};
pub use store::{scan_folder, search_folder};

/// The messages of an uncompressed request body in either wire form, in order.
///
/// # Errors
/// A sentence that says what is wrong with the body.
pub fn messages(body: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let body = body::parse(body).map_err(|e| format!("{e:?}"))?;
    let events = body.events.unwrap_or_default();
    Ok(events.into_iter().map(|e| e.message.into_owned()).collect())
}
