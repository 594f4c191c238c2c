//! Configuration files in a directory of their own, for tests.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// Removed when dropped. Files are readable by their owner only.
pub(crate) struct Fixture {
    pub(crate) dir: PathBuf,
    pub(crate) source: Source,
}

impl Fixture {
    /// A directory with `agent.json` in it.
    pub(crate) fn new(main: &str) -> Fixture {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("config-{}-{number}", std::process::id()));
        std::fs::create_dir_all(dir.join("agent.d")).unwrap();
        let source = Source {
            main_file: dir.join("agent.json"),
            extra_dir: None,
            env: Vec::new(),
            install: Install::beneath(&dir),
        };
        let fixture = Fixture { dir, source };
        fixture.write("agent.json", main.as_bytes());
        fixture
    }

    /// The smallest main file, with more members after the key.
    pub(crate) fn with(members: &str) -> Fixture {
        Fixture::new(&format!("{{api_key: \"k\"\n{members}\n}}"))
    }

    pub(crate) fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.dir.join(name);
        std::fs::write(&path, content).unwrap();
        self.mode(name, 0o600);
        path
    }

    pub(crate) fn fragment(self, name: &str, text: &str) -> Fixture {
        self.write(&format!("agent.d/{name}"), text.as_bytes());
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Fixture {
        self.source.env.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn mode(&self, name: &str, mode: u32) {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(self.dir.join(name), permissions).unwrap();
    }

    pub(crate) fn load(&self) -> Config {
        Config::load(&self.source).unwrap_or_else(|e| panic!("{e}"))
    }

    pub(crate) fn error(&self) -> ConfigError {
        Config::load(&self.source).expect_err("this configuration should be refused")
    }

    /// The code of the error, and its text after the fixture's directory.
    pub(crate) fn refused(&self) -> (&'static str, String) {
        let error = self.error();
        let dir = format!("{}/", self.dir.display());
        (error.code(), error.to_string().replace(&dir, ""))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

impl Config {
    /// True if a warning holds all of these words.
    pub(crate) fn warns(&self, words: &[&str]) -> bool {
        let all = |w: &Warning| words.iter().all(|word| w.text.contains(word));
        self.warnings.iter().any(all)
    }

    pub(crate) fn attribute(&self, name: &str) -> Option<&AttrValue> {
        let found = self.server_attributes.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value)
    }
}

/// A text attribute.
pub(crate) fn text(value: &str) -> AttrValue {
    AttrValue::Text(value.to_owned())
}

/// The names of files in a list.
pub(crate) fn file_names(paths: &[PathBuf]) -> Vec<&str> {
    let name = |path: &'_ Path| -> Option<String> { Some(path.file_name()?.to_str()?.to_owned()) };
    assert!(paths.iter().all(|path| name(path).is_some()));
    paths
        .iter()
        .filter_map(|path| path.file_name()?.to_str())
        .collect()
}
