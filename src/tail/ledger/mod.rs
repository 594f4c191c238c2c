//! The ledger of contents: what each log's contents are, where they lie, and how far they were read.
//!
//! It grows here beside the code that the agent runs, and nothing in the program uses it yet. A look at
//! a folder has three steps, and the first scan and a restart are such looks as well:
//!
//! - [`observe`]: a listing of the folder, and evidence asked for lazily. All I/O is behind its traits.
//! - [`decide`]: one pure function from what is known and seen to changes. Only this says "the same
//!   content", by [`evidence`] and never by a name ([`naming`]) or a date; [`fresh`] says whose a file is that holds nothing known.
//! - [`apply`]: the one writer of [`content`]s.
//!
//! [`sim`] has random histories on a fake disk, and a checker that knows each line.

mod apply;
mod content;
mod decide;
mod evidence;
mod fresh;
mod naming;
mod observe;
mod seek;
#[cfg(test)]
mod sim;
