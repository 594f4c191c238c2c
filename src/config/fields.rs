//! Reading the members of one entry of a list, with the place of each for errors.

use std::path::Path;
use std::sync::Arc;

use super::attr::AttrValue;
use super::coerce;
use super::error::{ConfigError, Place, Warnings, Wrong};
use super::json::{Json, Member, Node, Pos};
use crate::util::words::nearest;

/// An object in a list of a file.
#[derive(Debug, Clone)]
pub(crate) struct Fields<'a> {
    /// The way to it: `logs[2]`, counted within its file.
    pub(crate) path: String,
    file: &'a Arc<Path>,
    at: Pos,
    pub(crate) members: &'a [Member],
}

impl<'a> Fields<'a> {
    /// The objects of an array; `path` is the way to the array.
    pub(crate) fn list(
        file: &'a Arc<Path>,
        path: &str,
        node: &'a Node,
    ) -> Result<Vec<Fields<'a>>, ConfigError> {
        let place = |at| Place::At(Arc::clone(file), at);
        let Json::Array(elements) = &node.value else {
            let message = format!("this is {}", coerce::shown(&node.value));
            return Err(ConfigError::new("notJsonArray", message)
                .at(place(node.at))
                .option(path)
                .allowed("an array of objects, [ { ... } ]"));
        };
        elements
            .iter()
            .enumerate()
            .map(|(index, element)| match &element.value {
                Json::Object(members) => Ok(Fields {
                    path: format!("{path}[{index}]"),
                    file,
                    at: element.at,
                    members,
                }),
                other => {
                    let message = format!("this is {}", coerce::shown(other));
                    Err(ConfigError::new("notJsonObject", message)
                        .at(place(element.at))
                        .option(format!("{path}[{index}]"))
                        .allowed("an object, { ... }"))
                }
            })
            .collect()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&'a Node> {
        self.members
            .iter()
            .find(|member| member.key == name)
            .map(|member| &member.value)
    }

    /// Where a member's value stands, or the entry if there is no such member.
    pub(crate) fn place(&self, name: &str) -> Place {
        let at = self.get(name).map_or(self.at, |node| node.at);
        Place::At(Arc::clone(self.file), at)
    }

    /// An error about a member.
    pub(crate) fn error(&self, name: &str, wrong: Wrong) -> ConfigError {
        wrong.at(self.place(name), format!("{}.{name}", self.path))
    }

    fn read<T>(
        &self,
        name: &str,
        convert: impl Fn(&Json) -> Result<T, Wrong>,
        expected: &str,
    ) -> Result<Option<T>, ConfigError> {
        match self.get(name) {
            None => Ok(None),
            Some(node) => convert(&node.value)
                .map(Some)
                .map_err(|wrong| self.error(name, wrong).allowed(expected)),
        }
    }

    pub(crate) fn text(&self, name: &str) -> Result<Option<String>, ConfigError> {
        self.read(name, coerce::text, "a string")
    }

    pub(crate) fn boolean(&self, name: &str) -> Result<Option<bool>, ConfigError> {
        self.read(name, coerce::boolean, "true, false")
    }

    pub(crate) fn strings(&self, name: &str) -> Result<Vec<String>, ConfigError> {
        Ok(self
            .read(name, coerce::strings, "an array of strings")?
            .unwrap_or_default())
    }

    pub(crate) fn attributes(&self, name: &str) -> Result<Vec<(String, AttrValue)>, ConfigError> {
        Ok(self
            .read(name, coerce::attributes, "an object of strings and numbers")?
            .unwrap_or_default())
    }

    pub(crate) fn int(&self, name: &str, min: i64, max: i64) -> Result<Option<i64>, ConfigError> {
        let allowed = format!("a whole number, {min} to {max}");
        let bounded = |value: &Json| {
            let number = coerce::int(value)?;
            if (min..=max).contains(&number) {
                return Ok(number);
            }
            let side = if number < min { "small" } else { "large" };
            Err(Wrong::new(
                "invalidValue",
                format!("{number} is too {side}"),
            ))
        };
        self.read(name, bounded, &allowed)
    }

    /// A float that is not negative.
    pub(crate) fn float(&self, name: &str) -> Result<Option<f64>, ConfigError> {
        let bounded = |value: &Json| match coerce::float(value)? {
            number if number >= 0.0 => Ok(number),
            number => Err(Wrong::new("invalidValue", format!("{number} is too small"))),
        };
        self.read(name, bounded, "a number, 0 or more")
    }

    /// A string that has to be there.
    pub(crate) fn required(&self, name: &str) -> Result<String, ConfigError> {
        match self.text(name)? {
            Some(text) => Ok(text),
            None => Err(self.missing(name)),
        }
    }

    pub(crate) fn missing(&self, name: &str) -> ConfigError {
        let message = format!("\"{name}\" is missing in this entry");
        self.error(name, Wrong::new("missingRequired", message))
    }

    /// The objects of an array member; none if it is absent.
    pub(crate) fn children(&self, name: &str) -> Result<Vec<Fields<'a>>, ConfigError> {
        match self.get(name) {
            None => Ok(Vec::new()),
            Some(node) => Fields::list(self.file, &format!("{}.{name}", self.path), node),
        }
    }

    /// Warns about members that nobody knows.
    pub(crate) fn warn_unknown(&self, known: &[&str], warnings: &mut Warnings) {
        for member in self.members {
            if known.contains(&member.key.as_str()) || warnings.full() {
                continue;
            }
            let place = Place::At(Arc::clone(self.file), member.key_at);
            let option = format!("{}.{}", self.path, member.key);
            let known = known.iter().copied();
            warnings.unknown(place, &option, nearest(&member.key, known));
        }
    }
}
