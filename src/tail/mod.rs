//! Following files: paths to lines, and how far each file is settled.
//!
//! - [`glob`], [`expand`], `listing`, `names`: which paths there are; [`trust`]: which of them may be read
//! - `ledger`: which contents there are and whose; the one decision about files
//! - `tailer`, `log`, `source`: the rest of the state; `discover`, `look`, `family` and `eyes` look at the disk for the ledger, `turns`
//!   and `read` cut lines into batches (`compressed`, `zeros`: what is no line), `settle` takes in what the server said
//! - `restore`, `save`, `store`, `export`: what survives the process; `fence`: how a thread that hangs is kept from writing there
//! - [`journal`]: the position journal, which takes the place of the checkpoint files
//! - [`hints`], `watched`, `watchable`, `resting`: what the kernel tells of changes, and logs that wait for that
//! - [`insight`], [`outlook`], [`rehearse`]: what would happen, without doing it; `verdict`: the words for it
//!
//! Follows the Python agent; docs/differences.md has the exceptions.

mod compressed;
mod counters;
mod descriptors;
mod discover;
mod dynamic;
pub mod expand;
mod export;
mod eyes;
mod family;
mod fence;
pub mod glob;
mod gz;
mod held;
pub mod hints;
mod identity;
pub mod insight;
pub mod journal;
mod ledger;
mod listing;
mod log;
mod look;
mod memory;
mod names;
pub mod outlook;
pub mod positions;
mod read;
pub mod rehearse;
mod resting;
mod restore;
mod save;
mod sequence;
mod settings;
mod settle;
pub mod sight;
mod source;
mod status;
mod store;
mod successor;
mod tailer;
#[cfg(test)]
mod tests;
pub mod trust;
mod turns;
mod unreadable;
mod verdict;
mod watchable;
mod watched;
mod zeros;

pub use counters::{Counters, Skip};
pub use fence::Fence;
pub use held::Held;
pub use ledger::record::Saved;
pub use memory::Shelf;
pub use settings::{Entry, Rename, Settings};
pub use status::{LogStatus, TailStatus};
pub use store::{denied, ignore, Unread};
pub use successor::{Carried, EntryNamed};
pub use tailer::Tailer;
pub use unreadable::Unreadable;
pub use watched::HintStatus;
