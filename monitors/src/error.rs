//! Why a sample or a whole monitor failed.

use std::fmt;

/// A message for the operator, in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    text: String,
    option: Option<String>,
}

impl Error {
    /// Says what failed and why.
    pub fn new(text: impl Into<String>) -> Self {
        Error {
            text: text.into(),
            option: None,
        }
    }

    /// Says what is wrong with an option, so that its place in the file can be told.
    pub fn of_option(option: &str, text: impl Into<String>) -> Self {
        Error {
            text: text.into(),
            option: Some(option.to_owned()),
        }
    }

    /// The option that it is about, if it is about one.
    pub fn option(&self) -> Option<&str> {
        self.option.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Error::new(error.to_string())
    }
}
