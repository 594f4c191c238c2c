//! Errors and warnings about a configuration, with their places.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::json::Pos;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A file as a whole.
    File(Arc<Path>),
    /// A line and column of a file.
    At(Arc<Path>, Pos),
    /// An environment variable.
    Variable(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File(file) => write!(f, "{}", file.display()),
            Place::At(file, at) => write!(
                f,
                "{}, line {}, column {}",
                file.display(),
                at.line,
                at.column
            ),
            Place::Variable(name) => write!(f, "environment variable {name}"),
        }
    }
}

/// A configuration that can't be used. Its text is one line that names file, line,
/// column, option and allowed values as far as they apply, and ends with the machine-readable
/// `[[badField="F" errorCode="C"]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError(Box<Detail>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Detail {
    code: &'static str,
    message: String,
    place: Option<Place>,
    option: Option<String>,
    allowed: Option<String>,
}

impl ConfigError {
    /// An error with one of the Python agent's codes (`fileParseError`, `notInt` ...). `message` is a
    /// phrase without a full stop.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        ConfigError(Box::new(Detail {
            code,
            message: message.into(),
            place: None,
            option: None,
            allowed: None,
        }))
    }

    /// Where the offending value stands.
    pub fn at(mut self, place: Place) -> Self {
        self.0.place = Some(place);
        self
    }

    /// The option, with the way to it: `compression_type`, `logs[0].path`.
    pub fn option(mut self, path: impl Into<String>) -> Self {
        self.0.option = Some(path.into());
        self
    }

    /// The allowed values, in words.
    pub fn allowed(mut self, allowed: impl Into<String>) -> Self {
        self.0.allowed = Some(allowed.into());
        self
    }

    /// The machine-readable code.
    pub fn code(&self) -> &'static str {
        self.0.code
    }

    /// Where the offending value stands, if it is known.
    pub fn place(&self) -> Option<&Place> {
        self.0.place.as_ref()
    }

    /// The last part of the option's path.
    pub fn field(&self) -> Option<&str> {
        let path = self.0.option.as_deref()?;
        let name = path.rsplit('.').next().unwrap_or(path);
        Some(name.split('[').next().unwrap_or(name))
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let detail = &self.0;
        if let Some(place) = &detail.place {
            write!(f, "{place}: ")?;
        }
        if let Some(option) = &detail.option {
            write!(f, "option \"{option}\": ")?;
        }
        f.write_str(&one_line(&detail.message))?;
        if let Some(allowed) = &detail.allowed {
            write!(f, "; allowed: {allowed}")?;
        }
        f.write_str(" [[")?;
        if let Some(field) = self.field() {
            write!(f, "badField=\"{field}\" ")?;
        }
        write!(f, "errorCode=\"{}\"]]", detail.code)
    }
}

impl std::error::Error for ConfigError {}

/// Values quoted in messages may hold line breaks; a record in agent.log may not.
fn one_line(text: &str) -> String {
    text.replace('\n', "\\n").replace('\r', "\\r")
}

/// Something an operator should know about a configuration that is used all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Key for [`crate::util::throttle::Throttle`].
    pub key: String,
    /// Say it at most once in so many seconds.
    pub period_secs: u64,
    /// The text, one line.
    pub text: String,
    /// For a part of the configuration that nothing acts on.
    pub unused: Option<Unused>,
}

/// A part of the configuration that nothing acts on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unused {
    /// The option, with the way to it.
    pub name: String,
    /// Where it stands.
    pub place: Place,
    /// The reason, a phrase; empty for a name that is not known.
    pub why: String,
    /// The Python agent acts on it, and somebody may miss that.
    pub is_missed: bool,
}

/// Collects warnings while a configuration is read.
#[derive(Debug, Default)]
pub(crate) struct Warnings(pub(crate) Vec<Warning>);

/// Warnings past this number say nothing new, and a file of a million slips must not cost a million
/// of them.
const MOST_WARNINGS: usize = 200;

/// A day: for what only an edit of the configuration changes.
const DAY: u64 = 86_400;

impl Warnings {
    /// At most once a day per key.
    pub(crate) fn daily(&mut self, key: impl Into<String>, text: impl AsRef<str>) {
        self.push(key.into(), DAY, text.as_ref(), None);
    }

    /// An option that nothing acts on, at most once a day.
    pub(crate) fn unused(&mut self, unused: Unused) {
        let Unused {
            name, place, why, ..
        } = &unused;
        let text = format!("{place}: option \"{name}\" has no effect: {why}");
        self.push(format!("no effect {name}"), DAY, &text, Some(unused));
    }

    /// An option whose name is not known, at most once a day. `near` is a name like it.
    pub(crate) fn unknown(&mut self, place: Place, option: &str, near: Option<&str>) {
        let hint = |before: &str, after: &str| {
            near.map_or_else(String::new, |near| {
                format!("{before}did you mean \"{near}\"?{after}")
            })
        };
        let text = format!(
            "{place}: option \"{option}\" is not known and has no effect{}",
            hint("; ", "")
        );
        let unused = Unused {
            name: format!("{option}{}", hint(" (", ")")),
            place,
            why: String::new(),
            is_missed: false,
        };
        self.push(format!("unknown {option}"), DAY, &text, Some(unused));
    }

    /// At most once in five minutes per key.
    pub(crate) fn often(&mut self, key: impl Into<String>, text: impl AsRef<str>) {
        self.push(key.into(), 300, text.as_ref(), None);
    }

    /// True if no more are taken.
    pub(crate) fn full(&self) -> bool {
        self.0.len() >= MOST_WARNINGS
    }

    fn push(&mut self, key: String, period_secs: u64, text: &str, unused: Option<Unused>) {
        if !self.full() && self.0.iter().all(|w| w.key != key || w.text != text) {
            self.0.push(Warning {
                key,
                period_secs,
                text: one_line(text),
                unused,
            });
        }
    }
}

/// A value that does not fit: what a conversion says before option and place are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

impl Wrong {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Wrong {
            code,
            message: message.into(),
        }
    }

    pub(crate) fn at(self, place: Place, option: impl Into<String>) -> ConfigError {
        ConfigError::new(self.code, self.message)
            .at(place)
            .option(option)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_everything_in_one_line() {
        let file: Arc<Path> = Path::new("/etc/a.json").into();
        let error = ConfigError::new("notString", "this is\nan array")
            .at(Place::At(file, Pos { line: 3, column: 9 }))
            .option("logs[2].rules[0].path")
            .allowed("a string");
        assert_eq!(
            error.to_string(),
            "/etc/a.json, line 3, column 9: option \"logs[2].rules[0].path\": this is\\nan array; \
             allowed: a string [[badField=\"path\" errorCode=\"notString\"]]"
        );
        assert_eq!(
            ConfigError::new("fileParseError", "no").to_string(),
            "no [[errorCode=\"fileParseError\"]]"
        );
    }
}
