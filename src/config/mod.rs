//! Configuration: files and environment in, one validated immutable value out.
//!
//! The way of a value: [`json`] reads a file, `imports` fills in `$NAME`s, `files` says which files
//! there are, `merge` makes one of them, `resolve` gives each option its value by the declarations
//! in [`decl`], [`options`] and [`names`], and `logs`, `workers`, `monitors` read the lists. Only
//! [`Config`] is seen by the rooms above.

use std::path::{Path, PathBuf};

mod attr;
mod checks;
mod coerce;
mod compression;
pub mod decl;
mod effective;
mod env;
mod error;
mod fields;
mod files;
mod imports;
mod install;
pub mod json;
mod logs;
mod merge;
mod monitors;
pub mod names;
pub mod options;
mod rate;
mod raw;
pub mod reference;
mod rename;
mod resolve;
mod rules;
pub mod secret;
mod server;
mod value;
mod workers;

#[cfg(test)]
mod entry_tests;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod load_tests;
#[cfg(test)]
mod reload_tests;

pub use attr::{json_members, AttrValue};
pub use compression::Compression;
pub use error::{ConfigError, Place, Unused, Warning};
pub use files::{fingerprint, Fingerprint};
pub use install::Install;
pub use json::{Json, Pos};
pub use logs::{EntryKind, JournaldLog, K8sLog, LogEntry, Origin, ParseFormat};
pub use monitors::{convert, MonitorEntry};
pub use options::Options;
pub use rate::parse as parse_rate;
pub use raw::likely_dirs;
pub use reference::reference;
pub use rename::{Rename, Template};
pub use rules::{GroupEnd, LineGrouper, RedactionRule, SamplingRule};
pub use secret::Secret;
pub use server::ServerUrl;
pub use workers::Worker;

use env::Env;
use error::Warnings;
use fields::Fields;
use merge::Merged;
use resolve::Origins;

/// Where a configuration is read from.
#[derive(Debug, Clone)]
pub struct Source {
    /// The main file; a relative path is taken from the working directory.
    pub main_file: PathBuf,
    /// A second directory of fragments (`--extra-config-dir`, `SCALYR_EXTRA_CONFIG_DIR`), relative
    /// to the main file's directory.
    pub extra_dir: Option<PathBuf>,
    /// The process environment.
    pub env: Vec<(String, String)>,
    /// The default places.
    pub install: Install,
}

/// A whole validated configuration. Nothing in it changes after it was loaded.
#[derive(Debug, Clone)]
pub struct Config {
    /// Directory of what came with the program.
    pub install_root: PathBuf,
    /// The main file, absolute.
    pub main_file: PathBuf,
    /// The fragments that were read, in order.
    pub fragments: Vec<PathBuf>,
    /// Every scalar option.
    pub options: Options,
    /// The write key; never empty.
    pub api_key: Secret,
    /// Where to send to.
    pub server: ServerUrl,
    /// `scalyr_server` as the operator wrote it.
    pub raw_server: String,
    /// True if TLS is used though `scalyr_server` does not say `https://`: worth an INFO line that
    /// names `allow_http`.
    pub https_forced: bool,
    /// Attributes of the upload session, `serverHost` included.
    pub server_attributes: Vec<(String, AttrValue)>,
    /// The operator's entries in order, then the agent's own logs. The first that matches a file
    /// counts.
    pub logs: Vec<LogEntry>,
    /// Rules for lines of the systemd journal.
    pub journald_logs: Vec<JournaldLog>,
    /// Rules for logs of containers; nothing here acts on them.
    pub k8s_logs: Vec<K8sLog>,
    /// The operator's monitors in order, then the implicit ones.
    pub monitors: Vec<MonitorEntry>,
    /// At least the default worker.
    pub workers: Vec<Worker>,
    /// Cap of each session in bytes per second.
    pub rate_limit: Option<f64>,
    /// Warnings for the operator.
    pub warnings: Vec<Warning>,
    origins: Origins,
}

impl Config {
    /// Reads and validates everything; the first problem is the error.
    pub fn load(source: &Source) -> Result<Config, ConfigError> {
        let env = Env::new(&source.env);
        let mut warnings = Warnings::default();
        let docs = files::read_all(source, &env, &mut warnings)?;
        let merged = merge::merge(&docs, &mut warnings)?;
        let (mut options, origins) = resolve::options(&merged, &env, &mut warnings)?;
        let main_file = &docs.main.file;
        resolve::derive(
            &mut options,
            &origins,
            main_file,
            &source.install,
            &mut warnings,
        )?;
        let rate_limit = resolve::rate(&options, &origins)?;
        let place = origins.get("api_key").cloned();
        let place = place.unwrap_or_else(|| Place::File(main_file.clone()));
        let key = workers::key(&options.api_key, &place, "api_key", &mut warnings)?;
        options.api_key = key;
        if options.api_key.expose().is_empty() {
            let message = "no API key is set, neither in a file nor by SCALYR_API_KEY";
            return Err(ConfigError::new("emptyApiKey", message)
                .at(Place::File(main_file.clone()))
                .option("api_key"));
        }
        let server =
            ServerUrl::parse(&options.scalyr_server, options.allow_http).map_err(|why| {
                let place = origins.get("scalyr_server").cloned();
                let message = format!("this is no address of a server: {why}");
                ConfigError::new("invalidValue", message)
                    .at(place.unwrap_or_else(|| Place::File(main_file.clone())))
                    .option("scalyr_server")
                    .allowed("https://HOST or https://HOST:PORT")
            })?;
        let defaults = workers::Defaults {
            api_key: &options.api_key,
            server: &server,
            sessions: options.default_sessions_per_worker,
            allow_http: options.allow_http,
        };
        let forced = server.forced(&options.scalyr_server);
        if forced && options.scalyr_server.contains("://") {
            let place = origins.get("scalyr_server");
            let place = place.map_or_else(String::new, |place| format!("{place}: "));
            let text = format!("{place}option \"scalyr_server\": {}", server.forced_note());
            warnings.daily("https forced", text);
        }
        let workers = workers::workers(&merged.workers, &defaults, &mut warnings)?;
        let worker_ids: Vec<&str> = workers.iter().map(|worker| worker.id.as_str()).collect();
        let context = logs::Context {
            log_dir: Path::new(&options.agent_log_path),
            minimum_scan_interval: options.minimum_scan_interval,
            follow_foreign_links: options.follow_foreign_links,
            worker_ids: &worker_ids,
        };
        let mut logs = each(&merged.logs, |f| logs::log(f, &context, &mut warnings))?;
        if options.implicit_agent_log_collection {
            logs.extend(logs::implicit(&context));
        }
        let journald_logs = each(&merged.journald_logs, |f| {
            logs::journald(f, &context, &mut warnings)
        })?;
        let k8s_logs = each(&merged.k8s_logs, |f| logs::k8s(f, &context, &mut warnings))?;
        if let Some(first) = merged.k8s_logs.first() {
            warnings.unused(Unused {
                name: "k8s_logs".to_owned(),
                place: first.place(""),
                why: names::K8S.to_owned(),
                is_missed: true,
            });
        }
        let monitors = each(&merged.monitors, monitors::monitor)?;
        let monitors = monitors::complete(monitors, &options, &mut warnings);
        let server_attributes = server_attributes(&merged, &env, &options, &mut warnings)?;
        Ok(Config {
            install_root: source.install.root.clone(),
            main_file: main_file.to_path_buf(),
            fragments: docs
                .fragments
                .iter()
                .map(|doc| doc.file.to_path_buf())
                .collect(),
            api_key: options.api_key.clone(),
            raw_server: options.scalyr_server.clone(),
            https_forced: forced,
            server,
            server_attributes,
            logs,
            journald_logs,
            k8s_logs,
            monitors,
            workers,
            rate_limit,
            warnings: warnings.0,
            options,
            origins,
        })
    }

    /// True if a file or a variable sets the option, to whatever value.
    pub fn is_set(&self, option: &str) -> bool {
        self.origins.has(option)
    }

    /// Where an option was set; `None` for defaults.
    pub fn origin(&self, option: &str) -> Option<&Place> {
        self.origins.get(option)
    }

    /// Directory of agent.log, metric logs and the pid file. Absolute.
    pub fn log_dir(&self) -> &Path {
        Path::new(&self.options.agent_log_path)
    }

    /// Directory of checkpoints and status files. Absolute.
    pub fn data_dir(&self) -> &Path {
        Path::new(&self.options.agent_data_path)
    }

    /// True if an agent that runs with `other` has nothing to restart: the same effective values.
    /// Layout, comments, places, warnings and `debug_level` don't count.
    pub fn same_as(&self, other: &Config) -> bool {
        self.copies_as(other) && self.monitors == other.monitors
    }

    /// True if sessions that run with `other` have nothing to restart: as [`Config::same_as`], but
    /// for the options of monitors.
    pub fn copies_as(&self, other: &Config) -> bool {
        let same_options = options::CORE
            .iter()
            .filter(|decl| decl.name != "debug_level")
            .all(|decl| (decl.get)(&self.options) == (decl.get)(&other.options));
        same_options
            && self.main_file == other.main_file
            && self.server == other.server
            && self.server_attributes == other.server_attributes
            && self.logs == other.logs
            && self.journald_logs == other.journald_logs
            && self.k8s_logs == other.k8s_logs
            && self.workers == other.workers
    }
}

fn each<'a, T>(
    entries: &[Fields<'a>],
    read: impl FnMut(&Fields<'a>) -> Result<T, ConfigError>,
) -> Result<Vec<T>, ConfigError> {
    entries.iter().map(read).collect()
}

/// The attributes of the files, else those of the environment as a whole, and `serverHost`.
fn server_attributes(
    merged: &Merged,
    env: &Env,
    options: &Options,
    warnings: &mut Warnings,
) -> Result<Vec<(String, AttrValue)>, ConfigError> {
    let name = "server_attributes";
    let mut from_env = None;
    if let Some(decl) = names::STRUCTURED.iter().find(|decl| decl.name == name) {
        if let Some((variable, text)) = env.of(decl) {
            let attributes = coerce::env_attributes(text)
                .map_err(|wrong| wrong.at(Place::Variable(variable.clone()), name))?;
            from_env = Some((variable, attributes));
        }
    }
    let mut attributes = match (&merged.server_attributes, from_env) {
        (Some(files), Some((variable, other))) => {
            if *files != other {
                warnings.often(
                    format!("conflict {name}"),
                    format!(
                        "conflicting values (global) of option \"{name}\": the files win, the \
                         environment variable {variable} is ignored"
                    ),
                );
            }
            files.clone()
        }
        (Some(files), None) => files.clone(),
        (None, Some((_, attributes))) => attributes,
        (None, None) => Vec::new(),
    };
    if attributes.iter().all(|(key, _)| key != "serverHost") {
        let mut host = host_name();
        if options.strip_domain_from_default_server_host {
            host.truncate(host.find('.').unwrap_or(host.len()));
        }
        attributes.push(("serverHost".to_owned(), AttrValue::Text(host)));
    }
    Ok(attributes)
}

/// The operating system's name for this machine.
pub(crate) fn host_name() -> String {
    nix::unistd::gethostname()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// A text in the dialect of configuration files.
///
/// # Errors
/// A sentence that says what is wrong, and where.
pub fn json_value(text: &str) -> Result<serde_json::Value, String> {
    let node = json::parse(text).map_err(|error| error.to_string())?;
    Ok((&node.value).into())
}
