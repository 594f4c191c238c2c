//! Main file and fragments become one: what may stand where, and who wins.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::attr::AttrValue;
use super::coerce;
use super::error::{ConfigError, Place, Warnings};
use super::fields::Fields;
use super::files::{Doc, Docs};
use super::json::{Member, Node};
use super::names;
use crate::util::words::nearest;

/// The value of a single option and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Found<'a> {
    pub(crate) file: &'a Arc<Path>,
    pub(crate) node: &'a Node,
    /// Counted from the main file, which is 0.
    pub(crate) file_number: usize,
}

impl Found<'_> {
    pub(crate) fn place(&self) -> Place {
        Place::At(Arc::clone(self.file), self.node.at)
    }
}

/// All files in one.
#[derive(Debug, Default)]
pub(crate) struct Merged<'a> {
    /// By current name.
    pub(crate) singles: HashMap<&'a str, Found<'a>>,
    pub(crate) logs: Vec<Fields<'a>>,
    pub(crate) journald_logs: Vec<Fields<'a>>,
    pub(crate) k8s_logs: Vec<Fields<'a>>,
    pub(crate) monitors: Vec<Fields<'a>>,
    pub(crate) workers: Vec<Fields<'a>>,
    /// None if no file sets them.
    pub(crate) server_attributes: Option<Vec<(String, AttrValue)>>,
}

/// Merges in order.
pub(crate) fn merge<'a>(
    docs: &'a Docs,
    warnings: &mut Warnings,
) -> Result<Merged<'a>, ConfigError> {
    let mut merged = Merged::default();
    let all = std::iter::once(&docs.main).chain(&docs.fragments);
    for (file_number, doc) in all.enumerate() {
        one(file_number, doc, &mut merged, warnings)?;
    }
    Ok(merged)
}

fn one<'a>(
    file_number: usize,
    doc: &'a Doc,
    merged: &mut Merged<'a>,
    warnings: &mut Warnings,
) -> Result<(), ConfigError> {
    let file = &doc.file;
    for member in &doc.members {
        let key = member.key.as_str();
        let name = current_name(key);
        if name != key {
            deprecated(file, member, name, warnings);
            if let Some(twin) = doc.members.iter().find(|other| other.key == name) {
                return Err(twice(name, file, member, file, twin.key_at.line));
            }
        }
        match name {
            "import_vars" => {}
            "logs" | "journald_logs" | "k8s_logs" | "monitors" | "workers" => {
                let list = match name {
                    "logs" => &mut merged.logs,
                    "journald_logs" => &mut merged.journald_logs,
                    "k8s_logs" => &mut merged.k8s_logs,
                    "monitors" => &mut merged.monitors,
                    _ => &mut merged.workers,
                };
                list.extend(Fields::list(file, key, &member.value)?);
            }
            "server_attributes" => {
                let attributes = coerce::attributes(&member.value.value).map_err(|wrong| {
                    wrong
                        .at(Place::At(Arc::clone(file), member.value.at), name)
                        .allowed("an object of strings and numbers")
                })?;
                let all = merged.server_attributes.get_or_insert_default();
                for (key, value) in attributes {
                    match all.iter_mut().find(|(other, _)| *other == key) {
                        Some((_, old)) => *old = value,
                        None => all.push((key, value)),
                    }
                }
            }
            _ => {
                if !known_names().any(|known| known == name) && !warnings.full() {
                    let place = Place::At(Arc::clone(file), member.key_at);
                    let near = nearest(key, known_names());
                    warnings.unknown(place, key, near);
                }
                let found = Found {
                    file,
                    node: &member.value,
                    file_number,
                };
                if let Some(first) = merged.singles.insert(name, found) {
                    let line = first.node.at.line;
                    return Err(twice(name, file, member, first.file, line));
                }
            }
        }
    }
    Ok(())
}

/// In the order of the declarations, so that of two equally near names always the same is meant.
fn known_names() -> impl Iterator<Item = &'static str> {
    names::all().map(|decl| decl.name)
}

/// The name that an option has today.
fn current_name(key: &str) -> &str {
    if key == "api_keys" {
        return "workers";
    }
    names::all()
        .find(|decl| decl.old_name == Some(key))
        .map_or(key, |decl| decl.name)
}

fn deprecated(file: &Arc<Path>, member: &Member, name: &str, warnings: &mut Warnings) {
    let place = Place::At(Arc::clone(file), member.key_at);
    let key = &member.key;
    warnings.daily(
        format!("deprecated {key}"),
        format!("{place}: option \"{key}\" is now called \"{name}\""),
    );
}

fn twice(name: &str, file: &Arc<Path>, member: &Member, first: &Path, line: u32) -> ConfigError {
    ConfigError::new(
        "multipleKeys",
        format!(
            "it is set here and in {}, line {line}, and may be set only once in all files",
            first.display()
        ),
    )
    .at(Place::At(Arc::clone(file), member.key_at))
    .option(name)
}
