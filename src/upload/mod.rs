//! The upload room: request bodies in, verdicts out.
//!
//! One thread per session ([`spawn`]) takes each [`Batch`](crate::wire::Batch), completes,
//! compresses and posts it, reads the answer, and gives the batch back with its [`Fate`]. A batch
//! that the server did not take stays here and is sent again, as often as it needs, so the tail
//! room hears of a batch once. The protocol is the Python agent's addEvents; docs/differences.md has
//! the exceptions.
//!
//! | file | subject |
//! |---|---|
//! | `settings` | what a session needs of the configuration |
//! | `session` | the thread: take, send, judge, wait |
//! | `http`, `connect`, `tls` | one POST over one kept connection |
//! | `compress` | the body's bytes on the wire |
//! | `response` | what an answer means |
//! | `pacing`, `limiter` | when the next request may go, and how large it may be |
//! | `stats` | what `status` tells about it |
//! | `check` | the question before the start: is the key good? |

mod check;
mod compress;
mod connect;
mod http;
mod limiter;
mod pacing;
mod response;
mod session;
mod settings;
mod stats;
#[cfg(feature = "tls")]
mod tls;

#[cfg(test)]
mod fake_server;
#[cfg(test)]
mod session_tests;
#[cfg(test)]
mod way_tests;

pub use crate::config::Compression;
pub use check::{check_server, probe_server, Check, Probe};
pub use pacing::Rules;
pub use response::{refuses_key, KEY_ADVICE};
pub use session::{spawn, Fate, Verdict};
pub use settings::{user_agent, UploadSettings};
pub use stats::{Snapshot, UploadStats};
