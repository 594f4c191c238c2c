//! Where an agent may have its files whose configuration can't be used as a whole.

use super::env::Env;
use super::Source;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Bytes of the main file that are looked at.
const MOST_BYTES: u64 = 1 << 20;

/// A log and a data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dirs {
    /// Of the pid file.
    pub log: PathBuf,
    /// Of the status files.
    pub data: PathBuf,
}

/// The directories that the main file's text seems to name, then those without it; at least the
/// latter. It may be any text, so an answer is no more than a place to look at.
pub fn likely_dirs(source: &Source) -> Vec<Dirs> {
    let env = Env::new(&source.env);
    let given = |name: &str, default: &Path| {
        let value = env.option(name).filter(|value| !value.is_empty());
        value.map_or_else(|| default.to_owned(), PathBuf::from)
    };
    let usual = Dirs {
        log: given("agent_log_path", &source.install.log_dir),
        data: given("agent_data_path", &source.install.data_dir),
    };
    let text = text(&source.main_file);
    let beside = source.main_file.parent().unwrap_or(Path::new("/"));
    let (log, data) = (
        value(&text, "agent_log_path"),
        value(&text, "agent_data_path"),
    );
    let named = (log.is_some() || data.is_some()).then(|| Dirs {
        log: log.map_or_else(|| usual.log.clone(), |dir| beside.join(dir)),
        data: data.map_or_else(|| usual.data.clone(), |dir| beside.join(dir)),
    });
    named.into_iter().chain([usual]).collect()
}

fn text(file: &Path) -> String {
    let mut bytes = Vec::new();
    // A FIFO has no length and is not opened
    if file.is_file() {
        if let Ok(file) = File::open(file) {
            // A part that was read before an error is as good as nothing
            let _ = file.take(MOST_BYTES).read_to_end(&mut bytes);
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The string behind the first `name:` that is not in a comment of its own line.
fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (before, after) = line.split_once(name)?;
        if before.contains("//") || before.ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            return None;
        }
        let after = after.strip_prefix('"').unwrap_or(after).trim_start();
        let after = after.strip_prefix(':')?.trim_start();
        let (value, _) = after.strip_prefix('"')?.split_once('"')?;
        (!value.is_empty() && !value.contains(['\\', '$'])).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_read_off_a_text_that_is_no_configuration() {
        let text = "{ api_key: \n // agent_log_path: \"/old\"\n \"my_agent_log_path\": \"/no\",\n\
                    \"agent_log_path\" : \"/log\", agent_data_path:\"data\" ]";
        assert_eq!(value(text, "agent_log_path"), Some("/log"));
        assert_eq!(value(text, "agent_data_path"), Some("data"));
        for other in [
            "agent_log_path",
            "agent_log_path: 5",
            "agent_log_path: \"$DIR\"",
            "",
        ] {
            assert_eq!(value(other, "agent_log_path"), None, "{other}");
        }
    }
}
