//! The process environment as configuration.

use super::decl::Decl;

/// Looks up variables; the last one of a name counts.
#[derive(Debug)]
pub(crate) struct Env<'a>(&'a [(String, String)]);

impl<'a> Env<'a> {
    pub(crate) fn new(variables: &'a [(String, String)]) -> Self {
        Env(variables)
    }

    /// The value of a variable by its exact name.
    pub(crate) fn get(&self, name: &str) -> Option<&'a str> {
        let found = self.0.iter().rev().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The value of a standard variable `SCALYR_<OPTION>`, upper case before lower case.
    pub(crate) fn option(&self, option: &str) -> Option<&'a str> {
        let name = format!("SCALYR_{}", option.to_ascii_uppercase());
        self.get(&name)
            .or_else(|| self.get(&name.to_ascii_lowercase()))
    }

    /// The variable that sets an option, and its value.
    pub(crate) fn of(&self, decl: &Decl) -> Option<(String, &'a str)> {
        decl.env_names()
            .into_iter()
            .find_map(|name| self.get(&name).map(|value| (name, value)))
    }
}
