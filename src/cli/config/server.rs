//! `--set-scalyr-server` and `--set-server-host`.

use super::files::{self, Rights};
use super::{edit, Tool};
use crate::cli::err;
use crate::config::{json, Config, ServerUrl};
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Sets where to send to.
///
/// # Errors
/// Lines for stderr; nothing is changed then.
pub(super) fn set_server(tool: &Tool, url: &str) -> Result<(), String> {
    let config = tool.load()?;
    let url = url.trim();
    let server = ServerUrl::parse(url, config.options.allow_http).map_err(|why| {
        format!(
            "This is no address of a server: {why}. It has the form https://HOST or \
             https://HOST:PORT. Nothing was changed."
        )
    })?;
    if server.forced(url) && url.contains("://") {
        err(format_args!("Note: {}.", server.forced_note()));
    }
    Setting {
        way: &["scalyr_server"],
        fragment: "scalyr_server.json",
        comment: "// Written by scalyr-agent-2-config --set-scalyr-server.",
    }
    .set(tool, &config, url)
}

/// Sets the name that this machine has for the server.
///
/// # Errors
/// Lines for stderr; nothing is changed then.
pub(super) fn set_host(tool: &Tool, name: &str) -> Result<(), String> {
    let config = tool.load()?;
    let name = name.trim();
    if name.is_empty() || name.contains(char::is_control) {
        return Err("A server host needs a name of one line. Nothing was changed.".to_owned());
    }
    Setting {
        way: &["server_attributes", "serverHost"],
        fragment: "server_host.json",
        comment: "// Written by scalyr-agent-2-config --set-server-host.",
    }
    .set(tool, &config, name)
}

/// A setting that has a fragment of its own if no file has it.
struct Setting {
    way: &'static [&'static str],
    fragment: &'static str,
    comment: &'static str,
}

impl Setting {
    fn set(&self, tool: &Tool, config: &Config, value: &str) -> Result<(), String> {
        let mut edits: Vec<Edit> = Vec::new();
        for file in std::iter::once(&config.main_file).chain(&config.fragments) {
            let text = read(file)?;
            let sets_it =
                json::parse(&text).is_ok_and(|root| edit::find(&root, self.way).is_some());
            if sets_it {
                edits.push(self.edit(file.clone(), text, value)?);
            }
        }
        if edits.is_empty() {
            edits.push(self.in_fragment(config, value)?);
        }
        // All are on disk before the first is in force.
        let mut staged = Vec::new();
        for edit in &edits {
            staged.push(files::Staged::write(
                &edit.file,
                edit.new.as_bytes(),
                edit.rights,
            )?);
        }
        for file in staged {
            file.put()?;
        }
        tool.load().map(drop).map_err(|error| {
            for edit in &edits {
                edit.undo();
            }
            format!("With this value the configuration is not valid.\n{error}")
        })
    }

    fn edit(&self, file: PathBuf, old: String, value: &str) -> Result<Edit, String> {
        let new = edit::set(&old, self.way, value).ok_or_else(|| {
            format!(
                "\"{}\" can't be edited: {} is something else there. Nothing was changed.",
                file.display(),
                self.way.join(".")
            )
        })?;
        let rights = Rights::of(&file).map_err(|error| files::failed(&file, &error))?;
        Ok(Edit {
            file,
            old: Some(old),
            new,
            rights,
        })
    }

    /// The fragment, or what is to be added to it.
    fn in_fragment(&self, config: &Config, value: &str) -> Result<Edit, String> {
        let folder = folder_of_fragments(config)?;
        let file = folder.join(self.fragment);
        if file.exists() {
            let text = read(&file)?;
            return self.edit(file, text, value);
        }
        let mut object = edit::quoted(value);
        for key in self.way.iter().rev() {
            object = format!("{{{}:{object}}}", edit::quoted(key));
        }
        // As the folder's owner, who also is to read it.
        let folder = Rights::of(&folder).map_err(|error| files::failed(&file, &error))?;
        Ok(Edit {
            file,
            old: None,
            new: format!("{}\n{object}\n", self.comment),
            rights: Rights {
                mode: 0o640,
                ..folder
            },
        })
    }
}

struct Edit {
    file: PathBuf,
    /// `None`: there was no file.
    old: Option<String>,
    new: String,
    rights: Rights,
}

impl Edit {
    /// Back to what was. If that fails, the error that led here tells of a broken configuration.
    fn undo(&self) {
        let _ = match &self.old {
            Some(old) => files::replace(&self.file, old.as_bytes(), self.rights),
            None => fs::remove_file(&self.file).map_err(|error| error.to_string()),
        };
    }
}

/// Where fragments lie. A folder that is missing is made, with the main file's owner.
fn folder_of_fragments(config: &Config) -> Result<PathBuf, String> {
    let folder = fragments_of(config);
    if !folder.is_dir() {
        let owner = Rights::of(&config.main_file)
            .map_err(|error| files::failed(&config.main_file, &error))?;
        fs::DirBuilder::new()
            .mode(0o751)
            .create(&folder)
            .and_then(|()| std::os::unix::fs::chown(&folder, Some(owner.uid), Some(owner.gid)))
            .map_err(|error| files::failed(&folder, &error))?;
    }
    Ok(folder)
}

/// The folder of `config_directory`.
pub(super) fn fragments_of(config: &Config) -> PathBuf {
    config
        .main_file
        .parent()
        .unwrap_or(Path::new("/"))
        .join(&config.options.config_directory)
}

fn read(file: &Path) -> Result<String, String> {
    fs::read_to_string(file).map_err(|error| format!("Can't read \"{}\": {error}", file.display()))
}
