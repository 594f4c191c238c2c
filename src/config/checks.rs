//! Checks beyond the files' content that an agent makes before it runs with a configuration.

use std::fs::File;
use std::path::Path;

use nix::unistd::{access, AccessFlags};

use super::error::ConfigError;
use super::{Config, Place};

impl Config {
    /// Checks of the start: the key is no placeholder, the CA file can be read if it is used, log
    /// and data directory are there and writable.
    pub fn check_start(&self) -> Result<(), ConfigError> {
        if self.api_key.expose() == "REPLACE_THIS" {
            return Err(self.about(
                "api_key",
                "emptyApiKey",
                "this is the placeholder; put the account's write logs key in its place",
            ));
        }
        let used = self.options.verify_server_certificate
            && self.workers.iter().any(|worker| worker.server.https);
        if let Some(path) = self.options.ca_cert_path.as_deref().filter(|_| used) {
            if let Err(e) = File::open(path) {
                let message = format!("the file {path} can't be read: {e}");
                return Err(self.about("ca_cert_path", "invalidValue", &message));
            }
        }
        self.check_directories()
    }

    /// Log and data directory exist, are directories and can be written by this user. To be checked
    /// before a changed configuration is taken, too.
    pub fn check_directories(&self) -> Result<(), ConfigError> {
        let o = &self.options;
        for (name, path) in [
            ("agent_log_path", &o.agent_log_path),
            ("agent_data_path", &o.agent_data_path),
        ] {
            let problem = match std::fs::metadata(path) {
                Err(e) => Some(format!("the directory {path} can't be used: {e}")),
                Ok(m) if !m.is_dir() => Some(format!("{path} is not a directory")),
                Ok(_) => access(Path::new(path), AccessFlags::W_OK | AccessFlags::X_OK)
                    .err()
                    .map(|e| format!("the directory {path} can't be written: {}", e.desc())),
            };
            if let Some(problem) = problem {
                return Err(self.about(name, "invalidValue", &problem));
            }
        }
        Ok(())
    }

    /// An error about an option, placed where it was set.
    pub fn about(&self, option: &str, code: &'static str, message: &str) -> ConfigError {
        let place = self.origins.get(option).cloned();
        ConfigError::new(code, message)
            .option(option)
            .at(place.unwrap_or_else(|| Place::File(self.main_file.as_path().into())))
    }
}
