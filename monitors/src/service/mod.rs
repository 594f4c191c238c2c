//! The common part of the monitors of services: a connection with an end to all waiting, TLS, passwords.

// A build may have a monitor that needs only a part of it.
#![allow(dead_code)]

mod link;
pub(crate) mod md5;
pub(crate) mod options;
mod secret;
mod security;
#[cfg(test)]
mod tests;

pub(crate) use link::{aside, Address, Deadline, Link};
pub(crate) use secret::Secret;
pub(crate) use security::{Security, Wanted};
