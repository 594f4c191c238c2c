//! Ways to break the decision, for a test that the simulation finds each of them. The program has none:
//! [`is`] is a constant there.

#[cfg(test)]
use std::cell::Cell;

/// A rule that is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// The head of a file that has grown is not compared.
    HeadUnchecked,
    /// The block before the position is not compared.
    LeadUnchecked,
    /// Batches leave before the ledger is on disk.
    Unsynced,
    /// The remembered listing is forgotten.
    Forgetful,
    /// The order of names counts for nothing.
    OrderIgnored,
    /// Any kind of name is a rotation's.
    SchemeIgnored,
    /// No rotation moves files to a folder below.
    FolderAboveIgnored,
    /// Contents that no listing shows are forgotten at once.
    AbsentForgotten,
    /// One file may hold two contents.
    Shared,
    /// Numbers are not raised at an edit.
    BaseKept,
    /// A copy in the making is a log of its own at once.
    CopiesNotAwaited,
    /// A batch from before an edit settles the text after it.
    EditionIgnored,
    /// A restart trusts the place of each content.
    RestoredTrusted,
    /// Nothing is read again that may not have arrived before a death.
    #[cfg(test)]
    SentIsSettled,
    /// Positions move with the first part of a batch that was too large.
    #[cfg(test)]
    PartSettles,
    /// A log whose entry is taken out is forgotten.
    #[cfg(test)]
    LeftForgotten,
    /// A reload forgets what the looks before have found.
    ReloadForgets,
    /// An archive's inode is believed.
    ArchiveInodeBelieved,
    /// Any inode is believed.
    InodeBelieved,
    /// A file's birth is not compared.
    BirthIgnored,
    /// A path that shows what it did counts as renewed.
    AlwaysRenewed,
    /// An error hides nothing.
    ErrorsConclude,
    /// Files that could not be judged are judged by the next look alone.
    PendingForgotten,
    /// A banner proves the order of names.
    BannerProves,
    /// Files of the very first look are read from their start.
    FirstLookSends,
    /// A content takes the log of each path that shows it.
    LogFollowsName,
    /// A banner in common is an edit.
    PartIsEdit,
}

/// All that random histories have to find. [`Mutant::HeadUnchecked`] is found by a story of `sim/roots.rs` alone: each
/// line that the histories write is unique, so the block before the position tells texts apart that only their heads
/// would otherwise.
#[cfg(test)]
pub const ALL: [Mutant; 26] = [
    Mutant::LeadUnchecked,
    Mutant::Unsynced,
    Mutant::Forgetful,
    Mutant::OrderIgnored,
    Mutant::SchemeIgnored,
    Mutant::FolderAboveIgnored,
    Mutant::AbsentForgotten,
    Mutant::Shared,
    Mutant::BaseKept,
    Mutant::CopiesNotAwaited,
    Mutant::EditionIgnored,
    Mutant::RestoredTrusted,
    Mutant::SentIsSettled,
    Mutant::PartSettles,
    Mutant::LeftForgotten,
    Mutant::ReloadForgets,
    Mutant::ArchiveInodeBelieved,
    Mutant::InodeBelieved,
    Mutant::BirthIgnored,
    Mutant::AlwaysRenewed,
    Mutant::ErrorsConclude,
    Mutant::PendingForgotten,
    Mutant::BannerProves,
    Mutant::FirstLookSends,
    Mutant::LogFollowsName,
    Mutant::PartIsEdit,
];

#[cfg(test)]
thread_local! {
    static NOW: Cell<Option<Mutant>> = const { Cell::new(None) };
}

/// Whether this rule is left out.
#[cfg(test)]
pub fn is(mutant: Mutant) -> bool {
    NOW.with(Cell::get) == Some(mutant)
}

/// Whether this rule is left out: never.
#[cfg(not(test))]
pub const fn is(_: Mutant) -> bool {
    false
}

/// Leaves a rule out in this thread from now on.
#[cfg(test)]
pub fn set(mutant: Option<Mutant>) {
    NOW.with(|now| now.set(mutant));
}
