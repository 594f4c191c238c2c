//! One validated entry of `monitors`: what a runner needs to know before it starts.

use crate::monitor::{Cadence, Description, Log, MonitorLog, Place, Setup};
use crate::options::Options;
use crate::plugin;
#[cfg(feature = "python-plugins")]
use crate::registry::ALL;
use crate::registry::{NotFound, UNKNOWN};
use crate::sink::{LogFiles, Nowhere, Sink};
use crate::Error;
use common::rotating::Rotation;
use serde_json::Value as Json;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The facts that all monitors of an agent share.
#[derive(Debug, Clone)]
pub struct Host {
    /// Their surroundings.
    pub place: Place,
    /// `global_monitor_sample_interval`, in seconds.
    pub sample_interval: f64,
    /// `global_monitor_sample_interval_enable_jitter`.
    pub jitter: bool,
    /// `calculate_rate_metric_names`: `module:metric[:field=value]`.
    pub rate_metrics: Arc<[String]>,
    /// `metric_functions_cleanup_interval`, in seconds; 0 for never.
    pub rate_cleanup: f64,
}

/// One validated monitor entry. Making it has no side effects.
#[derive(Debug, Clone)]
pub struct Plan {
    pub(crate) description: &'static Description,
    pub(crate) module: String,
    pub(crate) id: String,
    pub(crate) options: Options,
    pub(crate) interval: Duration,
    pub(crate) rotation: Rotation,
    pub(crate) place: Place,
    pub(crate) jitter: bool,
    pub(crate) rate_metrics: Arc<[String]>,
    pub(crate) rate_cleanup: f64,
    /// The log that the emitter's lines go to, and those that the monitor writes itself.
    pub(crate) log: Option<MonitorLog>,
    pub(crate) own_logs: Vec<MonitorLog>,
    /// Pause before the first restart, and the longest one.
    pub(crate) pauses: (Duration, Duration),
    /// The monitor ends after so many samples.
    pub(crate) most_samples: Option<u64>,
}

/// Why an entry cannot be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlanError {
    /// There is no such monitor (yet).
    NotFound(NotFound),
    /// Its options are wrong.
    Invalid {
        /// The module and the id of the entry, as `module(id)`.
        entry: String,
        /// The reason.
        error: Error,
    },
}

impl PlanError {
    /// Whether nothing goes by the name of the module, built in or plug-in.
    pub fn is_unknown(&self) -> bool {
        match self {
            PlanError::NotFound(_) => true,
            PlanError::Invalid { error, .. } => error.to_string().starts_with(UNKNOWN),
        }
    }
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            PlanError::NotFound(not_found) => not_found.fmt(f),
            PlanError::Invalid { entry, error } => write!(f, "monitor {entry}: {error}"),
        }
    }
}

impl std::error::Error for PlanError {}

/// Shorter intervals are taken as this many seconds.
const SHORTEST: f64 = 0.1;
/// Longer ones as this many, about 31 years.
const LONGEST: f64 = 1e9;

fn interval(seconds: f64) -> Duration {
    let seconds = if seconds.is_nan() { SHORTEST } else { seconds };
    Duration::from_secs_f64(seconds.clamp(SHORTEST, LONGEST))
}

impl Plan {
    /// Reads an entry of `monitors`: its module, its id (may be empty), all its keys.
    ///
    /// # Errors
    /// See [`PlanError`]; its text is fit for the operator.
    pub fn new(
        module: &str,
        id: &str,
        entry: &[(String, Json)],
        host: &Host,
    ) -> Result<Plan, PlanError> {
        let description = plugin::or_built_in(module, id, &host.place.plugin_dirs)?;
        Plan::of(description, (module, id), entry, host).map_err(|error| PlanError::Invalid {
            entry: format!("{module}({id})"),
            error,
        })
    }

    pub(crate) fn of(
        description: &'static Description,
        (module, id): (&str, &str),
        entry: &[(String, Json)],
        host: &Host,
    ) -> Result<Plan, Error> {
        let mut options = Options::read(description.options, entry)?;
        if !host.place.allow_http {
            options.force_https(description.options);
        }
        let setup = Setup {
            options: &options,
            place: &host.place,
            module,
            id,
        };
        // Its options are right if it can be made.
        (description.make)(&setup)?;
        let (log, own_logs) = match description.log {
            Log::Own(logs) => (None, logs(&setup)),
            Log::Metrics { parser, attributes } => {
                let attributes = attributes.and_then(|name| options.json(name).as_object());
                let log = MonitorLog {
                    path: host
                        .place
                        .log_dir
                        .join(format!("{}.log", description.short_name())),
                    parser: parser.to_owned(),
                    attributes: attributes
                        .map(|map| map.iter().map(|(k, v)| (k.clone(), v.clone())).collect())
                        .unwrap_or_default(),
                    like: None,
                    metrics: true,
                    sampled: description.cadence != Cadence::Serving,
                };
                (Some(log), Vec::new())
            }
        };
        let seconds = options
            .float("sample_interval")
            .unwrap_or(host.sample_interval);
        let bytes = options.int("log_rotation_max_bytes");
        let backups = options.int("log_rotation_backup_count");
        Ok(Plan {
            interval: interval(seconds),
            rotation: Rotation {
                max_bytes: bytes.map_or(host.place.rotation.max_bytes, |n| {
                    u64::try_from(n).unwrap_or(0)
                }),
                backups: backups.map_or(host.place.rotation.backups, |n| {
                    u32::try_from(n).unwrap_or(u32::MAX)
                }),
            },
            log,
            own_logs,
            module: module.to_owned(),
            description,
            // It becomes part of every line, and of the thread's name.
            id: id.replace(char::is_control, "_"),
            options,
            place: Place {
                sample_interval: interval(seconds).as_secs_f64(),
                ..host.place.clone()
            },
            jitter: host.jitter && description.cadence == Cadence::Sampled,
            rate_metrics: Arc::clone(&host.rate_metrics),
            rate_cleanup: host.rate_cleanup,
            pauses: (Duration::from_secs(1), Duration::from_secs(300)),
            most_samples: None,
        })
    }

    /// Has the monitor end by itself after so many samples, well or not. One that serves ends after
    /// so many lines. A plug-in's sample is a run that ends, or what it calls one by `sample`; of one
    /// that stays without calling any, what it writes in an interval, in mode `serve` also what it
    /// writes without a pause of half a second.
    pub fn end_after(&mut self, samples: u64) {
        self.most_samples = Some(samples);
    }

    /// Whether it is the plan of the entry with this module and id.
    pub fn is_of(&self, module: &str, id: &str) -> bool {
        self.module == module && self.id == id.replace(char::is_control, "_")
    }

    /// `shell_monitor(2)`: the tag of its lines, and its name in messages and status.
    pub fn name(&self) -> String {
        format!("{}({})", self.description.short_name(), self.id)
    }

    /// Whether the other one would run in just the same way.
    pub fn same_as(&self, other: &Plan) -> bool {
        std::ptr::eq(self.description, other.description)
            && self.module == other.module
            && self.id == other.id
            && self.options == other.options
            && self.interval == other.interval
            && self.rotation == other.rotation
            && self.place.same_as(&other.place)
            && self.jitter == other.jitter
            && self.rate_metrics == other.rate_metrics
            && self.rate_cleanup == other.rate_cleanup
    }

    /// The log of what it emits, if that goes into one.
    pub fn metric_log(&self) -> Option<&MonitorLog> {
        self.log.as_ref()
    }

    /// Has the copier leave the logs that the monitor named while it ran.
    pub fn forget_logs(&self) {
        self.place.followed.forget(&self.name());
    }

    /// Where its lines go by default.
    pub fn sink(&self, files: &LogFiles) -> Box<dyn Sink> {
        match &self.log {
            Some(log) => Box::new(files.get(&log.path, self.rotation)),
            None => Box::new(Nowhere),
        }
    }

    pub(crate) fn setup(&self) -> Setup<'_> {
        Setup {
            options: &self.options,
            place: &self.place,
            module: &self.module,
            id: &self.id,
        }
    }

    /// The monitor's description.
    pub fn description(&self) -> &'static Description {
        self.description
    }

    /// Its logs that are there from the start, for the copier.
    pub fn logs(&self) -> impl Iterator<Item = &MonitorLog> {
        self.log.iter().chain(&self.own_logs)
    }

    /// The logs that it may have followed while it runs, as far as its entry alone tells them. Those of
    /// message_log_template are not among them: an entry of `logs` matches each.
    pub fn later_logs(&self) -> Vec<MonitorLog> {
        match self.description.short_name() {
            "journald_monitor" => crate::journald_monitor::rule_logs(&self.place),
            _ => Vec::new(),
        }
    }

    /// Time between two samples.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// `stop_agent_on_failure`.
    pub fn stops_agent(&self) -> bool {
        self.options.bool("stop_agent_on_failure")
    }

    /// The options of the entry that have no effect, and whether they are known at all.
    pub fn unused(&self) -> impl Iterator<Item = (&str, bool)> {
        let unknown = self.options.unknown().iter();
        let unknown = unknown.filter(|_| !self.description.open);
        let unknown = unknown.map(|key| (key.as_str(), false));
        unknown.chain(self.options.idle().iter().map(|key| (*key, true)))
    }

    /// Why it can't do anything at present, though its entry is right, as a phrase with the way out.
    pub fn hindrance(&self) -> Option<String> {
        #[cfg(feature = "python-plugins")]
        if !ALL.iter().any(|d| d.module == self.description.module) {
            let python = self.options.text("plugin_python");
            return plugin::without_interpreter(&self.module, &self.place.plugin_dirs, python);
        }
        None
    }

    /// A sentence for each part of the entry that has an effect, but another one.
    pub fn warnings(&self) -> Vec<String> {
        let name = self.name();
        let short = self
            .options
            .float("sample_interval")
            .filter(|&seconds| seconds.max(SHORTEST) != seconds)
            .map(|seconds| {
                format!(
                    "Monitor {name}: sample_interval {seconds} is too short; {SHORTEST} is used."
                )
            });
        short.into_iter().collect()
    }
}
