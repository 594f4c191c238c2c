//! Lines become events here: group, parse, sample, redact, cut. Pure: no files, no clock, no threads.
//!
//! A [`Pipeline`] is compiled once for a log entry. [`Pipeline::next`] takes the next unit of a
//! file's bytes (a line, a group, or the lines that a container's runtime cut a line into) and
//! puts its events into a [`Unit`]. Units start and end at the same places however the bytes
//! arrive, so bytes that are read again give the same events. Time and memory are bounded for any
//! pattern and any input.

mod cri;
mod cut;
mod group;
mod json;
mod md5;
mod parse;
mod pipeline;
mod redact;
mod rename;
mod sample;
mod template;
mod time;
mod unit;
mod work;

#[cfg(test)]
mod tests;

pub use pipeline::Pipeline;
pub use rename::Renamer;
pub use unit::{Counts, Input, Piece, State, Step, Unit};
pub use work::WITHHELD;

use std::fmt;

/// A rule that can't be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShapeError {
    /// Error code, as configuration errors have them.
    pub code: &'static str,
    /// Which one within the log entry, such as `redaction_rules[1].match_expression`.
    pub rule: String,
    /// The regular expression, or the replacement.
    pub pattern: String,
    /// Where in it, in characters from 0.
    pub position: usize,
    /// The mistake, a phrase.
    pub reason: String,
}

impl ShapeError {
    /// Of a rule whose text is `pattern`.
    pub fn new(
        code: &'static str,
        rule: String,
        pattern: &str,
        mistake: common::regex::Mistake,
    ) -> ShapeError {
        ShapeError {
            code,
            rule,
            pattern: pattern.to_owned(),
            position: mistake.position,
            reason: mistake.reason,
        }
    }
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(
            f,
            "{} at character {} of `{}`",
            self.reason,
            self.position + 1,
            self.pattern
        )
    }
}

impl std::error::Error for ShapeError {}
