//! A running agent's report: as data, as text and as JSON, its health, and the files through which
//! `status -v` asks for it.

pub mod data;
mod direct;
pub mod environment;
pub mod health;
pub mod json;
mod lines;
pub mod protocol;
mod rows;
pub mod text;

pub use data::Report;
pub use protocol::Format;

#[cfg(test)]
mod golden_tests;
#[cfg(test)]
mod short_tests;
