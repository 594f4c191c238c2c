//! The facts that every command needs first: the configuration, its owner, and the place of a
//! running agent.

use super::args::Options;
use super::decl::PROGRAM;
use super::{err, exit};
use crate::config::{likely_dirs, Config, Install, Place as ConfigPlace, Source};
use crate::process::found::{self, Search};
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
    /// `None` with `--no-change-user`, and where the file is missing.
    owner: Option<Owner>,
    /// The line for stderr that says that the file is missing.
    pub(super) missing: Option<String>,
}

/// Where a running agent is to be found.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) pid_file: PathBuf,
    pub(super) data_dir: PathBuf,
    pub(super) log_file: PathBuf,
    pub(super) status_timeout: Duration,
    /// Why an agent may run though none does there.
    doubt: Option<String>,
}

impl Setup {
    /// Finds the configuration file and its owner.
    pub(super) fn new(options: Options) -> Self {
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
        let (owner, missing) = match Owner::of(&main_file) {
            _ if options.no_change_user => (None, None),
            Ok(owner) => (Some(owner), None),
            Err(error) => {
                let line = errno_line(&error, &main_file);
                let todo = (error.kind() == io::ErrorKind::NotFound)
                    .then(|| format!("\n{}", missing(&main_file, &install.config_file)));
                (None, Some(line + &todo.unwrap_or_default()))
            }
        };
        Setup {
            options,
            source: Source {
                main_file,
                extra_dir,
                env,
                install,
            },
            owner,
            missing,
        }
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

    /// Returns advice to print after an error if the configuration file does not exist.
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
                    for warning in config.warnings.iter().filter(|w| w.unused.is_none()) {
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

    /// Where the agent of this configuration is: as that says, or where the running agent has its files,
    /// which may be elsewhere if the configuration is broken or was changed. Without an agent and
    /// without a configuration the answer is a guess; stderr says so. `with_data`: whether the data
    /// directory is of interest.
    pub(super) fn place(&self, with_data: bool) -> Place {
        let (place, error) = match Config::load(&self.source) {
            Ok(config) => return self.place_of(&config),
            Err(error) => (self.guess(), error),
        };
        err(format_args!(
            "Could not parse configuration file at '{}'",
            self.source.main_file.display()
        ));
        err(error);
        let file = place.pid_file.display();
        if self.options.pid_file.is_some() || place.running().is_some() {
            err(format_args!("Using pid file '{file}'."));
        } else {
            err(format_args!(
                "Assuming pid file is '{file}'.  Use --pid-file to override."
            ));
        }
        if with_data {
            let dir = place.data_dir.display();
            err(format_args!("Assuming agent data path is '{dir}'"));
        }
        place
    }

    /// As [`Setup::place`], with a configuration that was read.
    pub(super) fn place_of(&self, config: &Config) -> Place {
        let place = Place::of(config);
        let is_variable = matches!(
            config.origin("agent_log_path"),
            Some(ConfigPlace::Variable(_))
        );
        if place.running().is_some() || is_variable {
            return place;
        }
        match &self.search().agents[..] {
            [agent] => place.at(agent),
            _ => place,
        }
    }

    fn search(&self) -> Search {
        found::find(
            &absolute(&self.source.main_file),
            &self.source.install.config_file,
        )
    }

    /// Without a configuration, and silently.
    pub(super) fn guess(&self) -> Place {
        let places = likely_dirs(&self.source).into_iter().map(|dirs| Place {
            pid_file: dirs.log.join(pidfile::FILE),
            data_dir: dirs.data,
            log_file: dirs.log.join(LOG_FILE),
            status_timeout: STATUS_TIMEOUT,
            doubt: None,
        });
        let mut places: Vec<Place> = places.collect();
        let live = places.iter().position(|place| place.running().is_some());
        let mut place = places.swap_remove(live.unwrap_or(0));
        let search = self.search();
        if let Some(file) = &self.options.pid_file {
            place.pid_file = absolute(file);
            let this = search.agents.iter().find(|a| a.pid_file == place.pid_file);
            return match this {
                Some(agent) => place.at(agent),
                None => place,
            };
        }
        match (&search.agents[..], search.unseen) {
            ([agent], _) => return place.at(agent),
            ([], Some(0)) => {}
            ([], _) if live.is_some() => {}
            ([], _) => {
                let why = "this user may not look into all processes; run the command as root";
                place.doubt = Some(why.to_owned());
            }
            (several, _) => {
                let pids: Vec<_> = several.iter().map(|agent| agent.pid.to_string()).collect();
                let pids = pids.join(", ");
                place.doubt = Some(format!("processes {pids} have this configuration file"));
            }
        }
        place
    }
}

const LOG_FILE: &str = "agent.log";

impl Place {
    /// As [`Setup::place`]; nothing is said if the configuration can't be read.
    pub(super) fn of_setup(setup: &Setup) -> Place {
        match Config::load(&setup.source) {
            Ok(config) => setup.place_of(&config),
            Err(_) => setup.guess(),
        }
    }

    /// The same, but where a running agent has its files.
    fn at(self, agent: &found::Agent) -> Place {
        Place {
            pid_file: agent.pid_file.clone(),
            data_dir: agent.data_dir.clone().unwrap_or(self.data_dir),
            log_file: agent.pid_file.with_file_name(LOG_FILE),
            ..self
        }
    }

    /// As the configuration says.
    pub(super) fn of(config: &Config) -> Place {
        let options = &config.options;
        let log_dir = Path::new(&options.agent_log_path);
        Place {
            pid_file: log_dir.join(pidfile::FILE),
            data_dir: PathBuf::from(&options.agent_data_path),
            log_file: log_dir.join(LOG_FILE),
            status_timeout: u64::try_from(options.agent_status_timeout)
                .map_or(STATUS_TIMEOUT, Duration::from_secs),
            doubt: None,
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

    /// The line that says why it can't be told whether an agent runs, where none was found.
    pub(super) fn doubt_line(&self) -> Option<String> {
        let why = self.doubt.as_ref()?;
        Some(format!(
            "Whether the agent runs can't be told without its configuration: {why}, or name the \
             agent's pid file with --pid-file."
        ))
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

/// Returns the advice about a configuration file that does not exist: lines that follow the error.
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
