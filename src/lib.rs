//! A log and metric collecting daemon for small VMs and embedded Linux boxes.
//!
//! The rooms, from the ground up (a room knows only rooms below it, see `docs/architecture.md`):
//! `util`, `config`, `wire`, then `tail` and `upload` side by side, then `agent` and `status`,
//! and `cli` on top.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod agent;
pub mod cli;
pub mod config;
pub mod logging;
pub mod process;
pub mod shape;
pub mod status;
pub mod tail;
pub mod upload;
pub mod util;
pub mod wire;
