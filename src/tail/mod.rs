//! Following files: paths to lines, and how far each file is settled.
//!
//! - [`glob`], [`expand`], `siblings`, `names`: which paths there are; [`trust`]: which of them may be read; `identity`: which
//!   content a path shows
//! - `unseen`, `copies`: whose a file is that nobody has read; everything that guesses is there
//! - `generation`, `log`, `tailer`: the state; `discover`, `poll` and `replaced` change it as the disk changes,
//!   `turns` and `read` cut lines into batches (`compressed`, `zeros`: what is no line), `settle` takes in what the server said
//! - `checkpoint`, `store`: what survives the process; `fence`: how a thread that hangs is kept from writing there
//! - [`insight`], [`rehearse`]: what would happen, without doing it
//! - [`session`]: the thread that does it all and talks to the uploader
//!
//! Follows the Python agent; docs/differences.md has the exceptions.

mod checkpoint;
mod compressed;
mod copies;
mod counters;
mod descriptors;
mod discover;
mod dynamic;
pub mod expand;
mod fence;
mod generation;
pub mod glob;
mod gz;
mod held;
mod identity;
pub mod insight;
#[cfg(test)]
mod ledger;
mod log;
mod memory;
mod names;
mod owners;
mod poll;
mod read;
pub mod rehearse;
mod replaced;
mod restore;
mod save;
mod settings;
mod settle;
mod siblings;
mod status;
mod store;
mod tailer;
#[cfg(test)]
mod tests;
pub mod trust;
mod turns;
mod unreadable;
mod unseen;
mod zeros;

pub use checkpoint::Saved;
pub use counters::{Counters, Skip};
pub use fence::Fence;
pub use held::Held;
pub use settings::{Entry, Rename, Settings};
pub use status::{LogStatus, TailStatus};
pub use store::{consolidate, denied, ignore, Unread};
pub use tailer::Tailer;
pub use unreadable::Unreadable;
