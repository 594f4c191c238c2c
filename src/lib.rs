//! A log and metric collecting daemon for small VMs and embedded Linux boxes.
//!
//! Each module is a room that knows only rooms on the floors below it; `docs/architecture.md` has
//! the plan of the house.

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
