//! A password that nobody else reads.

use super::options::{set, wrong};
use crate::options::Options;
use crate::{Emitter, Error};
use std::fmt;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Duration;

/// Longer files are refused: they hold something else.
const LONGEST: u64 = 64 * 1024;
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A password of the configuration, or of a file that is read for each connection.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Secret {
    None,
    Text(String),
    File(PathBuf),
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Secret::None => "None",
            _ => "(hidden)",
        })
    }
}

impl Secret {
    /// From the option `text` or the option `file`.
    ///
    /// # Errors
    /// Both are set.
    pub(crate) fn read(options: &Options, text: &str, file: &str) -> Result<Secret, Error> {
        match (set(options, text), set(options, file)) {
            (Some(_), Some(_)) => Err(wrong(
                file,
                format_args!("{text} is set too; remove one of the two"),
            )),
            (Some(password), None) => Ok(Secret::Text(password.to_owned())),
            (None, Some(path)) => Ok(Secret::File(PathBuf::from(path))),
            (None, None) => Ok(Secret::None),
        }
    }

    /// The password; empty if there is none. A file that every user may read is a warning, once a day.
    ///
    /// # Errors
    /// The file can't be read, or is no text of at most 64 KiB. The message does not show what it holds.
    pub(crate) fn get(&self, out: &mut Emitter) -> Result<String, Error> {
        let path = match self {
            Secret::None => return Ok(String::new()),
            Secret::Text(text) => return Ok(text.clone()),
            Secret::File(path) => path,
        };
        let failed = |why: &dyn fmt::Display| {
            Error::new(format!(
                "The password can't be read from {}: {why}",
                path.display()
            ))
        };
        let file = std::fs::File::open(path).map_err(|error| failed(&error))?;
        let about = file.metadata().map_err(|error| failed(&error))?;
        if !about.is_file() {
            return Err(failed(&"it is no file"));
        }
        if about.mode() & 0o004 != 0 && out.once_in(DAY, "password file") {
            out.warn(format_args!(
                "Every user of this machine may read the password in {0}. Take that away: chmod o-r {0}",
                path.display()
            ));
        }
        let mut text = String::new();
        let read = file.take(LONGEST + 1).read_to_string(&mut text);
        read.map_err(|error| failed(&error.kind()))?;
        if text.len() as u64 > LONGEST {
            return Err(failed(&"it is longer than 64 KiB"));
        }
        Ok(text.trim_matches(['\r', '\n']).to_owned())
    }
}
