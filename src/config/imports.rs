//! `import_vars`: environment variables in the strings of a file.

use std::path::Path;
use std::sync::Arc;

use super::coerce;
use super::env::Env;
use super::error::{ConfigError, Place};
use super::json::{Json, Member, Node};

/// Replaces `$NAME` in every string of a file's values for the names that its `import_vars`
/// declares. One pass: what a variable's value holds is not looked at again. Other `$` stay.
pub(crate) fn substitute(
    file: &Arc<Path>,
    members: &mut [Member],
    env: &Env,
) -> Result<(), ConfigError> {
    let Some(list) = members.iter().find(|member| member.key == "import_vars") else {
        return Ok(());
    };
    let mut variables = declared(file, &list.value, env)?;
    // The longest name wins where several match.
    crate::util::sort::by_key(&mut variables, |(name, _)| std::cmp::Reverse(name.len()));
    for member in members {
        if member.key != "import_vars" {
            replace_in(&mut member.value, &variables);
        }
    }
    Ok(())
}

/// The names and values that `import_vars` declares. Empty counts as unset.
fn declared(
    file: &Arc<Path>,
    list: &Node,
    env: &Env,
) -> Result<Vec<(String, String)>, ConfigError> {
    let error = |code, at, option: String, message: String| {
        Err(ConfigError::new(code, message)
            .at(Place::At(Arc::clone(file), at))
            .option(option)
            .allowed("names of variables, and objects {var: \"NAME\", default: \"TEXT\"}"))
    };
    let Json::Array(elements) = &list.value else {
        let message = format!("this is {}", coerce::shown(&list.value));
        return error("notJsonArray", list.at, "import_vars".to_owned(), message);
    };
    let mut variables = Vec::new();
    for (index, element) in elements.iter().enumerate() {
        let option = format!("import_vars[{index}]");
        let (name, default) = match &element.value {
            Json::Text(name) => (name, String::new()),
            Json::Object(members) => {
                let member = |key: &str| members.iter().find(|m| m.key == key).map(|m| &m.value);
                let (Some(var), Some(default)) = (member("var"), member("default")) else {
                    let message = "\"var\" and \"default\" are both needed".to_owned();
                    return error("missingRequired", element.at, option, message);
                };
                let Json::Text(name) = &var.value else {
                    let message = format!("this is {}", coerce::shown(&var.value));
                    return error("notString", var.at, format!("{option}.var"), message);
                };
                let default = match coerce::text(&default.value) {
                    Ok(text) => text,
                    Err(wrong) => {
                        let option = format!("{option}.default");
                        return error(wrong.code, default.at, option, wrong.message);
                    }
                };
                (name, default)
            }
            other => {
                let message = format!("this is {}", coerce::shown(other));
                return error("wrongType", element.at, option, message);
            }
        };
        if name.is_empty() {
            let message = "the name is empty".to_owned();
            return error("invalidValue", element.at, option, message);
        }
        let value = env.get(name).filter(|value| !value.is_empty());
        variables.push((name.clone(), value.map_or(default, str::to_owned)));
    }
    Ok(variables)
}

fn replace_in(node: &mut Node, variables: &[(String, String)]) {
    match &mut node.value {
        Json::Text(text) if text.contains('$') => *text = replaced(text, variables),
        Json::Array(elements) => {
            for element in elements {
                replace_in(element, variables);
            }
        }
        Json::Object(members) => {
            for member in members {
                replace_in(&mut member.value, variables);
            }
        }
        _ => {}
    }
}

fn replaced(text: &str, variables: &[(String, String)]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut pieces = text.split('$');
    out.push_str(pieces.next().unwrap_or(""));
    for piece in pieces {
        let hit = variables
            .iter()
            .find_map(|(name, value)| Some((value, piece.strip_prefix(name.as_str())?)));
        match hit {
            Some((value, rest)) => {
                out.push_str(value);
                out.push_str(rest);
            }
            None => {
                out.push('$');
                out.push_str(piece);
            }
        }
    }
    out
}
