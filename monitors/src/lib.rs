//! Monitors: what turns the host into metric lines.
//!
//! A monitor is one file: a [`Description`] (its name, its options and metrics as static tables)
//! and a type that implements [`Monitor`]. [`registry::ALL`] lists them. A [`Plan`] is one validated
//! entry of the configuration; [`Runner`] gives it a thread and hands its lines, made by
//! [`Emitter`] and [`line`], to a [`common::rotating::RotatingFile`] that the agent copies as any other log.
//!
//! The crate knows nothing of tailing, uploading or the command line.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod emitter;
mod error;
pub mod line;
mod linux_system_metrics;
mod monitor;
pub mod options;
mod procfs;
pub mod registry;
mod runner;
pub mod sink;
mod status;

pub use emitter::Emitter;
pub use error::Error;
pub use monitor::{short_name, Description, Make, Measure, MetricSpec, Monitor, Place};
pub use runner::{stop_all, Host, MonitorLog, Plan, PlanError, Runner};
pub use status::{MonitorStatus, Snapshot};
