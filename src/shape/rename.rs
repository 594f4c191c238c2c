//! `rename_logfile` with a regular expression.

use super::redact::{self, Buffers, Outcome, Redaction};
use super::template::Template;
use super::ShapeError;
use common::regex::Regex;
use common::regex::{budget, Exceeded};

/// A compiled `{match, replacement}`.
#[derive(Debug)]
pub struct Renamer(Redaction);

impl Renamer {
    /// Compiles it.
    ///
    /// # Errors
    /// If the expression or the replacement can't be taken.
    pub fn new(pattern: &str, replacement: &str) -> Result<Renamer, ShapeError> {
        let regex = Regex::new(pattern).map_err(|mistake| {
            ShapeError::new(
                "notRegexp",
                "rename_logfile.match".to_owned(),
                pattern,
                mistake,
            )
        })?;
        // Python knows no hashes here: they are a bad escape
        let template = Template::plain(replacement, &regex).map_err(|mistake| {
            let rule = "rename_logfile.replacement".to_owned();
            ShapeError::new("invalidReplacement", rule, replacement, mistake)
        })?;
        Ok(Renamer(Redaction { regex, template }))
    }

    /// The path with every match replaced; `None` where the path itself stays, because nothing
    /// matches, nothing is left, or the search takes too long.
    pub fn apply(&self, path: &str) -> Option<String> {
        let mut buffers = Buffers::default();
        let outcome: Result<Outcome, Exceeded> = redact::apply(
            std::slice::from_ref(&self.0),
            &mut [self.0.regex.searcher()],
            &mut buffers,
            path,
            path.len(),
            &mut budget(path.len()),
        );
        match outcome {
            Ok(Outcome::Changed(_)) if !buffers.done.is_empty() && buffers.done != path => {
                Some(buffers.done)
            }
            _ => None,
        }
    }
}
