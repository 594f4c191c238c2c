//! The agent as a Unix process: the pid file, the lock of the data directory, daemonising, the switch
//! to the configuration's owner, and signals. Knows nothing of the agent's work.

pub mod daemon;
pub mod datalock;
pub mod found;
mod holder;
pub mod notify;
pub mod pidfile;
pub mod signals;
pub mod target;
pub mod user;
