//! The facts that every command needs first: the configuration, its owner, and the place of a
//! running agent.

use super::args::Options;
use super::decl::PROGRAM;
use super::{err, exit};
use crate::config::{Config, ConfigError, Install, Source};
use crate::process::pidfile;
use crate::process::target::Target;
use crate::process::user::{switch_to, Owner};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// `agent_status_timeout` where the configuration can't be read.
const STATUS_TIMEOUT: Duration = Duration::from_secs(30);

/// The options, where the configuration is, and whose it is.
#[derive(Debug)]
pub(super) struct Setup {
    pub(super) options: Options,
    pub(super) source: Source,
    /// `None` with `--no-change-user`.
    owner: Option<Owner>,
}

/// Where a running agent is to be found.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) pid_file: PathBuf,
    pub(super) data_dir: PathBuf,
    pub(super) log_file: PathBuf,
    pub(super) status_timeout: Duration,
}

impl Setup {
    /// Finds the configuration file and its owner.
    ///
    /// # Errors
    /// The line for stderr: the file is missing.
    pub(super) fn new(options: Options) -> Result<Self, String> {
        let install = Install::detect();
        let main_file = match &options.config_file {
            Some(file) => absolute(file),
            None => install.config_file.clone(),
        };
        let env: Vec<(String, String)> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let folder = main_file.parent().unwrap_or(Path::new("/"));
        let extra_dir = options
            .extra_config_dir
            .clone()
            .or_else(|| variable(&env, "SCALYR_EXTRA_CONFIG_DIR").map(PathBuf::from))
            .map(|dir| folder.join(dir));
        let owner = if options.no_change_user {
            None
        } else {
            Some(Owner::of(&main_file).map_err(|error| {
                let line = errno_line(&error, &main_file);
                match error.kind() {
                    io::ErrorKind::NotFound => {
                        format!("{line}\n{}", missing(&main_file, &install.config_file))
                    }
                    _ => line,
                }
            })?)
        };
        Ok(Setup {
            options,
            source: Source {
                main_file,
                extra_dir,
                env,
                install,
            },
            owner,
        })
    }

    /// Becomes the owner of the configuration file, if that is somebody else. `task`
    /// completes "cannot ...".
    ///
    /// # Errors
    /// The line for stderr.
    pub(super) fn change_user(&self, task: &str) -> Result<(), String> {
        match &self.owner {
            Some(owner) if owner.differs() => {
                switch_to(owner, task)?;
                err(format_args!("Running as {}", owner.name));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// What to do about the configuration file, if it is not there.
    pub(super) fn hint_if_missing(&self) -> Option<String> {
        let file = absolute(&self.source.main_file);
        let is_missing = matches!(file.try_exists(), Ok(false));
        is_missing.then(|| missing(&file, &self.source.install.config_file))
    }

    /// Reads the configuration for a start; its warnings go to stderr. `consequence` is the line
    /// below the reason if it can't be read.
    ///
    /// # Errors
    /// The exit code; the reason is on stderr.
    pub(super) fn load(&self, consequence: &str) -> Result<Config, i32> {
        match Config::load(&self.source) {
            Ok(config) => {
                // In the foreground the agent itself shows them, with the rest of its log.
                if !self.options.no_fork {
                    for warning in &config.warnings {
                        err(format_args!("WARNING: {}", warning.text));
                    }
                }
                Ok(config)
            }
            Err(error) => {
                err(format_args!("Failed to read the configuration: {error}"));
                if let Some(hint) = self.hint_if_missing() {
                    err(hint);
                }
                err(consequence);
                Err(exit::FAILED)
            }
        }
    }

    /// Where the agent of this configuration is. If that can't be read, the answer is a guess and
    /// stderr says so; `with_data`: whether the data directory is of interest.
    pub(super) fn place(&self, with_data: bool) -> Place {
        match Config::load(&self.source) {
            Ok(config) => Place::of(&config),
            Err(error) => self.guess(&error, with_data),
        }
    }

    fn guess(&self, error: &ConfigError, with_data: bool) -> Place {
        let install = &self.source.install;
        let dir = |name: &str, default: &PathBuf| {
            variable(&self.source.env, name).map_or_else(|| default.clone(), PathBuf::from)
        };
        let log_dir = dir("SCALYR_AGENT_LOG_PATH", &install.log_dir);
        let data_dir = dir("SCALYR_AGENT_DATA_PATH", &install.data_dir);
        err(format_args!(
            "Could not parse configuration file at '{}'",
            self.source.main_file.display()
        ));
        err(error);
        let pid_file = match &self.options.pid_file {
            Some(file) => {
                let file = absolute(file);
                err(format_args!("Using pid file '{}'.", file.display()));
                file
            }
            None => {
                let file = log_dir.join(PID_FILE);
                err(format_args!(
                    "Assuming pid file is '{}'.  Use --pid-file to override.",
                    file.display()
                ));
                file
            }
        };
        if with_data {
            err(format_args!(
                "Assuming agent data path is '{}'",
                data_dir.display()
            ));
        }
        Place {
            pid_file,
            data_dir,
            log_file: log_dir.join(LOG_FILE),
            status_timeout: STATUS_TIMEOUT,
        }
    }
}

const PID_FILE: &str = "agent.pid";
const LOG_FILE: &str = "agent.log";

impl Place {
    /// As the configuration says, if it can be read; nothing is said if it can't.
    pub(super) fn of_setup(setup: &Setup) -> Option<Place> {
        Config::load(&setup.source).ok().as_ref().map(Place::of)
    }

    /// As the configuration says.
    pub(super) fn of(config: &Config) -> Place {
        let options = &config.options;
        let log_dir = Path::new(&options.agent_log_path);
        Place {
            pid_file: log_dir.join(PID_FILE),
            data_dir: PathBuf::from(&options.agent_data_path),
            log_file: log_dir.join(LOG_FILE),
            status_timeout: u64::try_from(options.agent_status_timeout)
                .map_or(STATUS_TIMEOUT, Duration::from_secs),
        }
    }

    /// The pid of the agent that runs there.
    pub(super) fn running(&self) -> Option<i32> {
        pidfile::running(&self.pid_file)
    }

    /// The process that may be signalled as the agent with this pid.
    ///
    /// # Errors
    /// The line for stderr: why that process must not get a signal, and what to do.
    pub(super) fn target(&self, pid: i32) -> Result<Target, String> {
        // First its start time, so that no later process with this pid is taken for it.
        let target = Target::new(pid);
        pidfile::prove(&self.pid_file, pid)
            .map(|()| target)
            .map_err(|why| format!("No signal was sent: {why}"))
    }

    /// The line that says where it was looked for in vain.
    pub(super) fn not_running_line(&self) -> String {
        format!(
            "The pidfile {} does not exist or listed process is not running.",
            self.pid_file.display()
        )
    }
}

fn variable<'a>(env: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let (_, value) = env.iter().find(|(n, _)| n == name)?;
    (!value.is_empty()).then_some(value.as_str())
}

/// A path that still means the same after `chdir`.
pub(super) fn absolute(path: &Path) -> PathBuf {
    // Fails for an empty path and where the working directory is gone; opening it will tell.
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// What to do about a configuration file that is not there: lines that follow the error.
fn missing(file: &Path, usual: &Path) -> String {
    let is_json = |path: &Path| path.extension().is_some_and(|ending| ending == "json");
    let meant = match super::similar::file(file, &is_json) {
        Some(meant) => Some(meant),
        None => Some(usual.to_owned()).filter(|usual| usual != file && usual.is_file()),
    };
    match meant {
        Some(meant) => format!("Did you mean {}? -c FILE names another configuration file.", meant.display()),
        None => format!(
            "There is no configuration file there. Name yours with -c FILE; or make one that holds \
             {{api_key: \"...\", scalyr_server: \"...\", logs: [{{path: \"/var/log/syslog\"}}]}}, then \
             `{PROGRAM} check` says what is wrong with it.",
        ),
    }
}

/// An I/O error as the reference prints it.
fn errno_line(error: &io::Error, path: &Path) -> String {
    match error.raw_os_error() {
        Some(number) => {
            let what = nix::errno::Errno::from_raw(number).desc();
            format!("[Errno {number}] {what}: '{}'", path.display())
        }
        None => format!("{error}: '{}'", path.display()),
    }
}
