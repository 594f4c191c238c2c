//! From the configuration to what threads are made of.

use super::flash::Way;
use super::heirs::Target;
use super::session::{Dynamic, EntryOf, Memory, Plan};
use crate::config::{AttrValue, Config, JournaldLog, LogEntry, Rename, Worker};
use crate::shape::{Pipeline, Renamer, ShapeError};
use crate::tail::journal::Journal;
use crate::tail::{self, Saved};
use crate::upload::UploadSettings;
use crate::util::random;
use crate::wire::{Envelope, EnvelopeSpec};
use common::regex::Pattern;
use common::rotating::Rotation;
use monitors::registry::NotFound;
use monitors::{FollowedLogs, JournaldRule};
use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The compiled rules of the entries of `logs` and `journald_logs`, entry by entry.
pub struct Shapes {
    logs: Vec<Shape>,
    journald: Vec<Shape>,
}

struct Shape {
    pipeline: Option<Arc<Pipeline>>,
    rename: Option<tail::Rename>,
}

/// Compiles all rules.
///
/// # Errors
/// File, line, column and option, the pattern and the place in it.
pub fn shapes(config: &Config) -> Result<Shapes, String> {
    let shape = |entry: &LogEntry| -> Result<Shape, String> {
        let wrong = |e: ShapeError| {
            let error = entry.origin.error(&e.rule, e.code, &e.to_string());
            error.to_string()
        };
        let pipeline = Pipeline::compile(entry, &config.options).map_err(wrong)?;
        let rename: Option<tail::Rename> = match entry.rename_logfile.clone() {
            None => None,
            Some(Rename::Regex {
                pattern,
                replacement,
            }) => {
                let renamer = Renamer::new(&pattern, &replacement).map_err(wrong)?;
                Some(Arc::new(move |path: &str| renamer.apply(path)))
            }
            Some(template) => Some(Arc::new(move |path: &str| template.apply(path))),
        };
        Ok(Shape {
            pipeline: pipeline.map(Arc::new),
            rename,
        })
    };
    Ok(Shapes {
        logs: config.logs.iter().map(shape).collect::<Result<_, _>>()?,
        journald: config
            .journald_logs
            .iter()
            .map(|rule| unit(rule).and_then(|()| shape(&rule.entry)))
            .collect::<Result<_, _>>()?,
    })
}

/// The monitor compiles it too, but only where there is one, and it does not know the place.
fn unit(rule: &JournaldLog) -> Result<(), String> {
    let unit = rule.unit.as_deref().unwrap_or_default();
    let compiled = Pattern::new(unit).map(drop);
    compiled.map_err(|mistake| {
        let e = ShapeError::new("notRegexp", "journald_unit".to_owned(), unit, mistake);
        let error = rule.entry.origin.error(&e.rule, e.code, &e.to_string());
        error.to_string()
    })
}

/// The logs and positions of monitors.
#[derive(Default)]
pub struct MonitorLogs {
    /// Those that are there from the start.
    pub fixed: Vec<monitors::MonitorLog>,
    /// Those that come and go.
    pub followed: Arc<FollowedLogs>,
    /// Where monitors have read their streams to.
    pub cursors: Arc<monitors::Cursors>,
    /// The way of metrics that are in no file.
    pub way: Way,
}

/// The plans of all sessions of all workers. No path of a log is touched. `left_out` are paths at which
/// threads hang, `agent_log_start` is the size that agent.log had before our first line.
pub fn sessions(
    config: &Config,
    shapes: &Shapes,
    saved: Option<&Arc<Saved>>,
    journal: Option<&Journal>,
    left_out: &[PathBuf],
    monitor_logs: &MonitorLogs,
    agent_log_start: Option<u64>,
) -> Vec<Plan> {
    let mut plans = Vec::new();
    for worker in &config.workers {
        let held = tail::Held::default();
        for index in 0..worker.sessions {
            let upload = UploadSettings::new(config, worker);
            let envelope = Arc::new(envelope(config, worker, &upload));
            let fixed = &monitor_logs.fixed;
            let entries = entries(config, shapes, worker, fixed, agent_log_start);
            let mut settings = tail_settings(config, worker, index, upload.pacing.max_request_size);
            settings.held = held.clone();
            settings.shelf = monitor_logs.way.shelf();
            settings.journal = journal.cloned();
            settings.fence = Arc::new(tail::Fence::leaving_out(left_out.to_vec()));
            plans.push(Plan {
                id: settings.session.clone(),
                worker: worker.id.clone(),
                tail: settings,
                entries,
                saved: saved.cloned(),
                carried: Vec::new(),
                target: Target::of(config, worker),
                upload,
                envelope,
                waker: None,
                dynamic: Dynamic {
                    logs: monitor_logs.followed.clone(),
                    entries: templates(config, shapes, worker),
                    seen: 0,
                    answered: 0,
                },
                memory: (config.options.metrics_in_memory && plans.is_empty()).then(|| Memory {
                    entries: memory_entries(config, shapes, fixed),
                    most: usize::try_from(config.options.metrics_memory_bytes).unwrap_or(0),
                    way: monitor_logs.way.clone(),
                }),
            });
        }
    }
    plans
}

/// The head of a worker's requests.
pub fn envelope(config: &Config, worker: &Worker, upload: &UploadSettings) -> Envelope {
    Envelope::new(EnvelopeSpec {
        form: upload.form,
        token: worker.api_key.expose(),
        session: &random::session_id(),
        session_info: Some(&config.server_attributes),
        repeat_log_attributes: config.options.repeat_log_attributes,
        without_logs: config.options.disable_logfile_addevents_format,
    })
}

/// The options of tailing of one of a worker's sessions.
pub fn tail_settings(
    config: &Config,
    worker: &Worker,
    index: u32,
    max_request: usize,
) -> tail::Settings {
    let options = &config.options;
    let bytes = |n: i64| usize::try_from(n).unwrap_or(usize::MAX);
    tail::Settings {
        session: format!("{}-{index}", worker.id),
        worker: worker.id.clone(),
        fence: Arc::default(),
        share: (u64::from(index), u64::from(worker.sessions)),
        held: tail::Held::default(),
        shelf: tail::Shelf::default(),
        elsewhere: config
            .logs
            .iter()
            .filter(|entry| entry.worker_id != worker.id)
            .map(|entry| tail::Entry::new(entry.path.clone()))
            .collect(),
        max_request,
        data_dir: PathBuf::from(&options.agent_data_path),
        max_line_size: bytes(options.max_line_size),
        read_page_size: bytes(options.read_page_size),
        line_completion_wait: seconds(options.line_completion_wait_time),
        new_log_detection: seconds(options.max_new_log_detection_time),
        deletion_delay: seconds(options.log_deletion_delay),
        rotated_grace: seconds(options.rotated_file_grace),
        close_old_files: (options.close_old_files_duration_in_seconds > 0)
            .then(|| seconds(options.close_old_files_duration_in_seconds as f64)),
        copytruncate: options.enable_copy_truncate_log_rotation_support,
        max_new_offset: options
            .max_log_offset_size
            .and_then(|n| u64::try_from(n).ok()),
        max_existing_offset: options
            .max_existing_log_offset_size
            .and_then(|n| u64::try_from(n).ok()),
        staleness: options.copy_staleness_threshold.map(seconds),
        max_checkpoint_age: options.max_allowed_checkpoint_age.map(|n| n as f64),
        ignore_checkpoints: options
            .ignore_checkpoints_on_startup_path_globs
            .iter()
            .map(|p| p.clone().into_bytes())
            .collect(),
        journal: None,
        hints: None,
        max_sequence_number: u64::try_from(options.max_sequence_number).unwrap_or(u64::MAX),
        monotonic: options.enforce_monotonic_timestamps,
        max_open_files: bytes(options.max_open_files),
        min_poll: seconds(options.min_poll_interval),
        max_poll: seconds(options.max_poll_interval.max(options.min_poll_interval)),
        // Trying is what the health check looks for, so twice within its limit
        keep_alive: seconds(
            options
                .keep_alive_interval
                .min(options.healthy_max_time_since_last_copy_attempt / 2.0)
                .max(1.0),
        ),
        clock_slack: tail::Settings::CLOCK_SLACK,
    }
}

/// The largest time that arithmetic with [`std::time::Instant`] surely bears.
const LONGEST: f64 = 1e9;

/// A configured time; negative and absurd values are cut to what can be waited for.
pub fn seconds(value: f64) -> Duration {
    Duration::from_secs_f64(if value.is_nan() {
        0.0
    } else {
        value.clamp(0.0, LONGEST)
    })
}

/// The entries of `logs` that fall to a worker, in order, then, for the default one, the logs of
/// monitors.
pub fn entries(
    config: &Config,
    shapes: &Shapes,
    worker: &Worker,
    monitor_logs: &[monitors::MonitorLog],
    agent_log_start: Option<u64>,
) -> Vec<tail::Entry> {
    let agent_log = Path::new(&config.options.agent_log_path).join("agent.log");
    let mut entries: Vec<tail::Entry> = config
        .logs
        .iter()
        .zip(&shapes.logs)
        .filter(|(entry, _)| entry.worker_id == worker.id)
        .map(|(entry, shape)| tail_entry(config, entry, shape, &agent_log, agent_log_start))
        .collect();
    // A monitor's own log, unless the operator has an entry for just this path. The rules of
    // journald_logs hold for the one that is there from the start as for those that come later.
    let template = templates(config, shapes, worker);
    for log in monitor_logs {
        let named = config.logs.iter().any(|e| !e.is_glob && e.path == log.path);
        if named || entries.iter().any(|e| e.pattern == log.path) {
            continue;
        }
        let Some(mut entry) = template(log) else {
            continue;
        };
        if log.sampled {
            entry.minimum_scan_interval = seconds(config.options.max_poll_interval);
        }
        entries.push(entry);
    }
    entries
}

/// The entry of a monitor's log. What `like` does not say is as usual.
pub fn monitor_entry(log: &monitors::MonitorLog, like: Option<&tail::Entry>) -> tail::Entry {
    let mut entry = like
        .cloned()
        .unwrap_or_else(|| tail::Entry::new(log.path.clone()));
    entry.pattern = log.path.clone();
    entry.is_glob = false;
    entry.exclude.clear();
    // It is written from now on, and nothing else writes it
    entry.copy_from_start = false;
    entry.attributes = vec![("parser".into(), AttrValue::Text(log.parser.clone()))];
    for (key, value) in log.attributes.iter().filter(|(key, _)| key != "parser") {
        let value = match value {
            serde_json::Value::Number(n) => AttrValue::Number(n.to_string()),
            serde_json::Value::String(s) => AttrValue::Text(s.clone()),
            other => AttrValue::Text(other.to_string()),
        };
        entry.attributes.push((key.clone(), value));
    }
    entry
}

/// Makes the entries of logs that monitors name while they run; `None` for those of other workers.
fn templates(config: &Config, shapes: &Shapes, worker: &Worker) -> EntryOf {
    let nowhere = Path::new("");
    let one = |(entry, shape): (&LogEntry, &Shape)| {
        (
            entry.worker_id == worker.id,
            tail_entry(config, entry, shape, nowhere, None),
        )
    };
    let logs: Vec<_> = config.logs.iter().zip(&shapes.logs).map(one).collect();
    let journald: Vec<_> = config
        .journald_logs
        .iter()
        .map(|rule| &rule.entry)
        .zip(&shapes.journald)
        .map(one)
        .collect();
    let is_default = worker.id == "default";
    let in_memory = config.options.metrics_in_memory;
    Arc::new(move |log| {
        // Its lines come another way
        if in_memory && log.metrics {
            return None;
        }
        let like = match log.like {
            Some(monitors::Like::Logs(at)) => logs.get(at),
            Some(monitors::Like::Journald(at)) => journald.get(at),
            None => None,
        };
        let mine = like.map_or(is_default, |(mine, _)| *mine);
        mine.then(|| monitor_entry(log, like.map(|(_, entry)| entry)))
    })
}

/// The entries of the metric logs that are in no file.
fn memory_entries(
    config: &Config,
    shapes: &Shapes,
    monitor_logs: &[monitors::MonitorLog],
) -> HashMap<PathBuf, tail::Entry> {
    let entry = |log: &monitors::MonitorLog| (log.path.clone(), monitor_entry(log, None));
    // Also for logs that a plug-in may name while it runs
    let configured = config.logs.iter().zip(&shapes.logs);
    let configured = configured
        .filter(|(entry, _)| !entry.is_glob)
        .rev()
        .map(|(entry, shape)| {
            let path = entry.path.clone();
            (path, tail_entry(config, entry, shape, Path::new(""), None))
        });
    let metrics = monitor_logs.iter().filter(|log| log.metrics);
    metrics.map(entry).chain(configured).collect()
}

fn tail_entry(
    config: &Config,
    from: &LogEntry,
    shape: &Shape,
    agent_log: &Path,
    agent_log_start: Option<u64>,
) -> tail::Entry {
    let mut entry = tail::Entry::new(from.path.clone());
    entry.is_glob = from.is_glob;
    entry.exclude = from
        .exclude
        .iter()
        .map(|p| p.clone().into_bytes())
        .collect();
    entry.attributes = from.attributes.clone();
    entry.pipeline = shape.pipeline.clone();
    entry.rename = shape.rename.clone();
    entry.copy_from_start = from.copy_from_start;
    entry.follow_foreign_links = from.follow_foreign_links;
    entry.stale_after = from
        .ignore_stale_files
        .then_some(from.staleness_threshold_secs);
    let scan_interval = from
        .minimum_scan_interval
        .or(config.options.minimum_scan_interval);
    // Logs that the agent writes itself must not keep an idle machine awake
    let usual = if from.path == agent_log {
        config.options.max_poll_interval
    } else {
        0.0
    };
    entry.minimum_scan_interval = seconds(scan_interval.map_or(usual, |n| n as f64));
    if from.path == agent_log {
        entry.start_offset = agent_log_start;
    }
    entry
}

/// Plans for the monitors that this build has. One that it does not have yet is left out; any other
/// mistake is an error.
///
/// # Errors
/// The monitor and what is wrong with its entry.
pub fn monitors(config: &Config, logs: &MonitorLogs) -> Result<Vec<monitors::Plan>, String> {
    let host = monitors::Host {
        place: place(config, logs),
        sample_interval: config.options.global_monitor_sample_interval,
        jitter: config.options.global_monitor_sample_interval_enable_jitter,
        rate_metrics: config.options.calculate_rate_metric_names.clone().into(),
        rate_cleanup: config.options.metric_functions_cleanup_interval as f64,
    };
    let mut plans: Vec<monitors::Plan> = Vec::new();
    for entry in &config.monitors {
        let options: Vec<(String, serde_json::Value)> = entry
            .options
            .iter()
            .map(|(key, value)| (key.clone(), value.into()))
            .collect();
        match monitors::Plan::new(&entry.module, &entry.id, &options, &host) {
            Ok(plan) => plans.push(plan),
            // `unused` tells of it
            Err(monitors::PlanError::NotFound(NotFound::NotYet(_))) => {}
            Err(monitors::PlanError::NotFound(missing)) => {
                let why = entry.error("module", "invalidMonitorConfig", &missing.to_string());
                return Err(why.to_string());
            }
            Err(monitors::PlanError::Invalid { error, .. }) => {
                let option = error.option().unwrap_or("module");
                let why = entry.error(option, "invalidMonitorConfig", &error.to_string());
                return Err(why.to_string());
            }
        }
    }
    Ok(plans)
}

/// The host as monitors see it.
fn place(config: &Config, logs: &MonitorLogs) -> monitors::Place {
    let options = &config.options;
    let further = options.additional_monitor_module_paths.split(':');
    let plugin_dirs = ["monitors/local", "monitors/contrib"]
        .map(|dir| config.install_root.join(dir))
        .into_iter()
        .chain(further.filter(|dir| !dir.is_empty()).map(PathBuf::from));
    let journald = config.journald_logs.iter().map(|rule| JournaldRule {
        unit: rule.unit.clone(),
        globs: rule.globs.clone(),
        attributes: attributes(&rule.entry.attributes),
        raw_details: rule.emit_raw_details,
        detect_escaped: rule.detect_escaped_strings,
    });
    let rules = config.logs.iter().map(|entry| monitors::LogRule {
        path: entry.path.clone(),
        attributes: attributes(&entry.attributes),
    });
    monitors::Place {
        data_dir: PathBuf::from(&options.agent_data_path),
        rotation: Rotation {
            max_bytes: u64::try_from(options.log_rotation_max_bytes).unwrap_or(0),
            backups: u32::try_from(options.log_rotation_backup_count).unwrap_or(0),
        },
        allow_http: options.allow_http_monitors,
        plugin_dirs: plugin_dirs.collect(),
        followed: logs.followed.clone(),
        cursors: logs.cursors.clone(),
        log_rules: rules.collect(),
        journald_rules: journald.collect(),
        ..monitors::Place::new("/", &options.agent_log_path)
    }
}

fn attributes(from: &[(String, AttrValue)]) -> Vec<(String, serde_json::Value)> {
    let value = |value: &AttrValue| match value {
        AttrValue::Text(text) => serde_json::Value::String(text.clone()),
        AttrValue::Number(digits) => serde_json::from_str(digits).unwrap_or_default(),
    };
    from.iter().map(|(k, v)| (k.clone(), value(v))).collect()
}

/// A path for messages.
pub fn shown(path: &Path) -> String {
    String::from_utf8_lossy(path.as_os_str().as_bytes()).into_owned()
}
