//! The ledger of contents: what each log's contents are, where they lie, and how far they were read.
//!
//! A look at the files of a family has three steps, and the first scan and a restart are such looks as well:
//!
//! - [`observe`]: a listing of the folder, and evidence asked for lazily. All I/O is behind its traits.
//! - [`decide`]: one pure function from what is known and seen to changes. Only this says "the same
//!   content", by [`evidence`] and never by a name ([`naming`]) or a date; [`fresh`] says whose a file is that holds nothing known.
//! - [`apply`]: the one writer of [`content`]s. [`record`] is the text form of what it knows.
//!
//! [`sim`] has random histories on a fake disk, and a checker that knows each line.

mod apply;
mod content;
mod decide;
mod evidence;
mod fresh;
mod mutants;
mod naming;
mod observe;
pub mod record;
mod sample;
mod seek;
#[cfg(test)]
mod sim;

pub use apply::{keep_key, Changes, Doubts, Ledger, Note, Part, Scope, Span};
pub use content::{
    At, Birth, Content, ContentKey, LogId, Moment, Numbers, Phase, Place, SequenceId, Stamp, Trust,
};
pub use decide::{decide, glance, Decision, Doubt, Glance, Verdict};
pub use evidence::{before, Agreement, Bytes, Comparison, Evidence, Tip, BLOCK, HEAD};
pub use naming::{Claim, Policy, Start};
pub use observe::{Eyes, Listed, Remembered, Snapshot, Stat};

#[cfg(test)]
#[test]
fn each_type_that_others_see_stands_on_the_page_of_the_architecture() {
    let page = include_str!("../../../docs/architecture.md");
    let own = include_str!("mod.rs");
    let exported = own.split("pub use ").skip(1);
    let exported = exported.flat_map(|list| {
        let list = list.split(';').next().unwrap_or_default();
        list.split(|c: char| !c.is_alphanumeric())
    });
    let is_type = |name: &&str| {
        name.starts_with(|c: char| c.is_uppercase()) && name.contains(|c: char| c.is_lowercase())
    };
    for name in exported.filter(is_type) {
        assert!(page.contains(&format!("`{name}`")), "{name}");
    }
}
