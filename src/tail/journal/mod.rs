//! The position journal: one file, `positions.journal` in the data directory, to which all sessions append
//! what changes of the logs and contents that they remember.
//!
//! - [`format`]: the bytes, which docs/reference/positions.md explains; [`replay`]: what they remember
//! - [`file`]: the open file, on a [`disk`]; [`thread`]: the thread that writes and syncs it
//! - [`words`]: what a person reads of it
//!
//! A journal is a sequence of changes to a [`Saved`](super::Saved), and reading one gives a `Saved`.

pub mod disk;
pub mod file;
pub mod format;
pub mod replay;
#[cfg(test)]
mod tests;
pub mod thread;
pub mod words;

pub use file::Damage;
pub use file::NAME;
pub use format::{Reason, Records, Written};
pub use replay::Memory;
pub use thread::{Appended, Durable, Export, Figures, Health, Journal, PATIENCE};

/// Reads the bytes of a journal, up to the first that make no sense.
pub fn replay(bytes: &[u8]) -> replay::Replayed {
    replay::replay(bytes)
}
