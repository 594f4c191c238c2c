//! Configuration: files and environment in, one validated immutable value out.

mod attr;
pub use attr::{json_members, AttrValue};
