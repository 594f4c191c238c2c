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

#[cfg(feature = "apache-monitor")]
mod apache_monitor;
mod bounded;
pub mod children;
mod command;
mod cursors;
mod emitter;
mod error;
mod excerpt;
mod followed;
mod garbage_monitor;
mod graphite_monitor;
mod http;
mod journald_monitor;
pub mod line;
mod linux_process_metrics;
mod linux_system_metrics;
mod monitor;
#[cfg(feature = "mysql-monitor")]
mod mysql_monitor;
mod net;
#[cfg(feature = "nginx-monitor")]
mod nginx_monitor;
#[cfg(feature = "openmetrics-monitor")]
mod openmetrics_monitor;
pub mod options;
mod pickle;
mod plan;
mod plugin;
#[cfg(feature = "postgres-monitor")]
mod postgres_monitor;
mod procfs;
mod rates;
#[cfg(feature = "redis-monitor")]
mod redis_monitor;
pub mod reference;
pub mod registry;
mod runner;
#[cfg(any(
    feature = "apache-monitor",
    feature = "mysql-monitor",
    feature = "nginx-monitor",
    feature = "openmetrics-monitor",
    feature = "postgres-monitor",
    feature = "redis-monitor",
    feature = "snmp-monitor",
    feature = "tomcat-monitor"
))]
mod service;
mod shell_monitor;
pub mod sink;
#[cfg(feature = "snmp-monitor")]
mod snmp_monitor;
mod status;
#[cfg(feature = "status-page")]
mod status_page;
mod symlink_file_monitor;
mod syslog_monitor;
mod test_monitor;
#[cfg(test)]
mod testing;
#[cfg(feature = "tomcat-monitor")]
mod tomcat_monitor;
mod trial;
mod url_monitor;
mod wildcard;

pub use cursors::{Cursors, Keep};
pub use emitter::Emitter;
pub use error::Error;
pub use followed::FollowedLogs;
pub use monitor::{
    short_name, Cadence, Description, JournaldRule, Like, Log, LogRule, Make, Measure, MetricSpec,
    Monitor, MonitorLog, Place, Service, Setup,
};
pub use plan::{Host, Plan, PlanError};
pub use runner::{stop_all, Runner};
pub use status::{MonitorStatus, Snapshot};
pub use trial::{try_once, Trial};
