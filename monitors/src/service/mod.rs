//! The common part of the monitors of services: a connection with an end to all waiting, TLS, passwords.

// A build with only some of these monitors may need only a part of it
#![cfg_attr(
    not(feature = "application-monitors"),
    allow(dead_code, unused_imports)
)]

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
