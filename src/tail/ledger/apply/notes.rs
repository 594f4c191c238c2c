//! The ledger tells of changes by notes, and is told of batches by spans.

use super::super::content::{ContentKey, LogId};
use crate::tail::counters::Skip;

/// Something that a look has changed, for those who count, log and open files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// A new content.
    Born {
        /// The content.
        key: ContentKey,
        /// Whose.
        log: LogId,
        /// Bytes before the position that will not be sent, and why.
        skipped: Option<(Skip, u64)>,
        /// It may be another log's text, which is sent a second time then.
        may_repeat: bool,
    },
    /// A content lies elsewhere, has grown or was confirmed.
    Seen {
        /// The content.
        key: ContentKey,
        /// It lies in another file or has another name than before.
        moved: bool,
    },
    /// A content's text is not where it was; so many bytes of it were not read.
    Lost {
        /// The content.
        key: ContentKey,
        /// Bytes.
        bytes: u64,
        /// Its file has other text by now.
        overwritten: bool,
    },
    /// A content is not known any more.
    Forgotten {
        /// The content.
        key: ContentKey,
    },
    /// A content that was never sent is this log's now.
    Owned {
        /// The content.
        key: ContentKey,
        /// Whose.
        log: LogId,
    },
    /// A content was edited below its position and goes on from there.
    Edited {
        /// The content.
        key: ContentKey,
        /// The position, in bytes.
        from: u64,
    },
}

/// A part of a content that went into a batch.
#[derive(Debug, Clone)]
pub struct Span {
    /// Of this content.
    pub key: ContentKey,
    /// Where it ends, in bytes.
    pub to: u64,
    /// The content's, when it was read.
    pub edition: u16,
}
