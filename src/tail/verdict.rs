//! The words for what looks conclude about files, and for questions that evidence leaves open. agent.log, `status`
//! and `explain` take them from here.

use super::ledger::{Doubt, LogId, Verdict};
use std::path::Path;

impl Verdict {
    /// The verdict as a sentence about "it", the file, without a full stop. `log` is the path of the log that it
    /// is about, if any.
    pub fn words(self, log: &Path) -> String {
        let log = log.display();
        match self {
            Verdict::Holds(_) => format!("it holds text of {log}"),
            Verdict::New(_) => format!("it is new, and is copied as {log}"),
            Verdict::Unseen(_) => format!(
                "{log} was rotated more than once since the last look, and it came in between: it is copied from its \
                 start as that log"
            ),
            Verdict::CopyOf(_) => format!(
                "it has the text of {log}, which lies elsewhere: it is a copy, perhaps in the making, and is not sent"
            ),
            Verdict::Waits(_) => "it begins as another followed log does and may be a copy in the making: if that log \
                                  is not truncated within two seconds after its last growth, it is copied as a log \
                                  of its own"
                .to_owned(),
            Verdict::Old(_) => format!(
                "it is not copied: it may be a rotated file of {log}, but it was there before that log was followed, \
                 or was left alone at an earlier look"
            ),
            Verdict::UnknownScheme(_) => format!(
                "it is not copied: it may be a rotated file of {log}, but no known content of that log has a name of \
                 this kind"
            ),
            Verdict::OutOfOrder(_) => format!(
                "it is not copied: it may be a rotated file of {log}, but by its name it is older than what is known \
                 of that log"
            ),
            Verdict::NotRenewed(_) => format!(
                "it is not copied: it may be a rotated file of {log}, but that log was not rotated since the last look"
            ),
            Verdict::Unreadable => "it, or what could prove its name, can't be read at the moment: nothing is \
                                    concluded until that can be read"
                .to_owned(),
            Verdict::Others => {
                "it is no log of this session: an entry excludes it, or it is another session's or worker's".to_owned()
            }
            Verdict::Nobodys => {
                "it is not copied: no entry is about it, and its name is none that a rotation gives to a followed log"
                    .to_owned()
            }
        }
    }

    /// The advice to the operator about a file that is left alone because of its name.
    pub fn advice(self) -> Option<&'static str> {
        let is_refused = matches!(
            self,
            Verdict::Old(_)
                | Verdict::UnknownScheme(_)
                | Verdict::OutOfOrder(_)
                | Verdict::NotRenewed(_)
        );
        is_refused.then_some("If it is a log of its own, add an entry for it to `logs`")
    }

    /// The log that it is about; of a known content the ledger knows that.
    pub fn log(self) -> Option<LogId> {
        match self {
            Verdict::New(log)
            | Verdict::Unseen(log)
            | Verdict::CopyOf(log)
            | Verdict::Waits(log)
            | Verdict::Old(log)
            | Verdict::UnknownScheme(log)
            | Verdict::OutOfOrder(log)
            | Verdict::NotRenewed(log) => Some(log),
            Verdict::Holds(_) | Verdict::Unreadable | Verdict::Others | Verdict::Nobodys => None,
        }
    }

    /// Whether something of it is sent, or was.
    pub fn is_copied(self) -> bool {
        matches!(
            self,
            Verdict::Holds(_) | Verdict::New(_) | Verdict::Unseen(_)
        )
    }
}

impl Doubt {
    /// The question, and what was decided.
    pub fn words(self) -> &'static str {
        match self {
            Doubt::SeveralCopies => "several files had the text of one; the first was taken for it",
            Doubt::NothingToCompare => {
                "a file that had been empty may be under a strange name; that one was left alone"
            }
            Doubt::TookForOwn => {
                "a file began as another log did, and was taken for a log of its own; it may be sent twice"
            }
            Doubt::RefusedByName => {
                "a file may be a rotated one, but was left alone because of its name"
            }
        }
    }
}

/// The same of a folder with more files than are remembered.
pub const OVERFLOWN: &str =
    "a log has over 20000 files with names of rotated ones; an archive that is new there is left alone";
