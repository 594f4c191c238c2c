//! The changes that a ledger has to write down, and the keys by which contents are known there.

use super::super::content::{ContentKey, LogId};
use super::super::observe::Remembered;
use super::super::record::Reason;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

/// The changes that were not written down yet.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// Contents, and why. One that the ledger does not know any more was forgotten.
    pub contents: BTreeMap<ContentKey, Reason>,
    /// Logs of which another kind of names is known.
    pub logs: BTreeSet<LogId>,
    /// By the root of its family, the remembered listing as it was written down last.
    pub listings: BTreeMap<LogId, Option<Remembered>>,
}

/// The last key that was given to a content in this process, whichever ledger has it: the contents of all sessions are
/// written down in one place.
static LAST_KEY: AtomicU64 = AtomicU64::new(0);

/// Keys above this one make no sense: no count comes that far, but a record may say anything.
pub(super) const GREATEST_KEY: u64 = 1 << 62;

/// No content gets the key of a `content` that is remembered. To be called before the first ledger is made.
pub fn keep_key(content: ContentKey) {
    if content.0 < GREATEST_KEY {
        LAST_KEY.fetch_max(content.0, Ordering::Relaxed);
    }
}

pub(super) fn next_key() -> ContentKey {
    ContentKey(1 + LAST_KEY.fetch_add(1, Ordering::Relaxed))
}
