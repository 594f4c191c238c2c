//! `--set-key`.

use super::files::{self, Rights};
use super::{edit, Tool};
use crate::cli::err;
use crate::config::json::{self, Json};
use crate::config::{Config, Place, Secret};
use std::fs;

/// Replaces the API key in the main file. The present one must stand there exactly once, wherever:
/// a file that was laid out otherwise is left to a person.
///
/// # Errors
/// Lines for stderr; the file is unchanged then.
pub(super) fn set(tool: &Tool, new: &Secret) -> Result<(), String> {
    let clean = check(new)?;
    if clean != *new {
        err("The blanks and line ends around the new API key are left out.");
    }
    let new = clean.expose();
    let file = &tool.source.main_file;
    let shown = file.display();
    let mut broken = false;
    let (current, origin) = match Config::load(&tool.source) {
        Ok(config) => (
            config.api_key.expose().to_owned(),
            config.origin("api_key").cloned(),
        ),
        // Nothing else is wrong with it, and this is what mends it.
        Err(error) if error.code() == "emptyApiKey" => (String::new(), None),
        Err(error) if error.code() == "invalidApiKey" => {
            broken = true;
            (String::new(), error.place().cloned())
        }
        Err(error) => return Err(tool.unreadable(&error)),
    };
    let text =
        fs::read_to_string(file).map_err(|error| format!("Can't read \"{shown}\": {error}"))?;
    if !current.is_empty() {
        let lines = lines_with(&text, &current);
        if lines.len() > 1 {
            return Err(format!(
                "The present API key stands more than once in \"{shown}\" (lines {}), so it is \
                 not clear what to replace.\nNothing was changed. Edit the file by hand.",
                lines.join(", ")
            ));
        }
    }
    let in_file = json::parse(&text).ok().is_some_and(|root| {
        // A key in use has been trimmed
        let value = edit::find(&root, &["api_key"]).map(|node| &node.value);
        match value {
            Some(Json::Text(text)) => match Secret::new(text).trimmed() {
                Ok(key) => key.expose() == current,
                Err(_) => broken,
            },
            _ => false,
        }
    });
    if !in_file {
        return Err(not_here(&shown.to_string(), origin.as_ref(), &current));
    }
    let Some(edited) = edit::set(&text, &["api_key"], new) else {
        return Err(not_here(&shown.to_string(), None, &current));
    };
    // The file exists: its own rights stay.
    let rights = Rights::of(file).map_err(|error| files::failed(file, &error))?;
    files::replace(file, edited.as_bytes(), rights)
}

/// The lines in which the key's text begins, each as often as it does.
fn lines_with(text: &str, key: &str) -> Vec<String> {
    text.match_indices(key)
        .map(|(at, _)| (1 + text[..at].matches('\n').count()).to_string())
        .collect()
}

fn check(key: &Secret) -> Result<Secret, String> {
    match key.trimmed() {
        Ok(key) if key.expose().is_empty() => {
            Err("The new API key is empty. Nothing was changed.".to_owned())
        }
        Ok(key) => Ok(key),
        Err(why) => Err(format!("New API key: {why}. Nothing was changed.")),
    }
}

fn not_here(file: &str, origin: Option<&Place>, current: &str) -> String {
    let place = match origin {
        None if current.is_empty() => "no file sets it: put a line api_key: \"\" in".to_owned(),
        Some(Place::At(other, _)) if other.display().to_string() == file => {
            "it comes from a variable named there".to_owned()
        }
        Some(other) => format!("it is set in {other}"),
        None => "it is not written there as one string".to_owned(),
    };
    format!("The API key could not be found in \"{file}\": {place}. Nothing was changed.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_can_t_be_right_are_refused_without_showing_them() {
        for bad in ["", "with blank", "tab\tin", "umläut", "line\nbreak"] {
            let error = check(&Secret::new(bad)).unwrap_err();
            assert!(bad.is_empty() || !error.contains(bad), "{error}");
        }
        let padded = Secret::new("\u{feff} 0aB-_/+==\r\n");
        assert_eq!(check(&padded).unwrap().expose(), "0aB-_/+==");
    }

    #[test]
    fn lines_are_counted_from_one() {
        assert_eq!(lines_with("a\nxKx KK\nK", "K"), ["2", "2", "2", "3"]);
        assert!(lines_with("none", "K").is_empty());
    }
}
