//! `monitors`: what monitors there are and what they can do. `monitor run`: one of them alone, its
//! lines on standard output.

use super::args::Options;
use super::decl::PROGRAM;
use super::{err, exit};
use crate::config::{json_value, Install};
use crate::process::signals::{Signal, Signals};
use monitors::sink::{Lost, Sink};
use monitors::{reference, registry, Host, Place, Plan, Runner};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How long a monitor has to end after a signal.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// Prints the list of monitors, or all about one.
pub(super) fn list(options: &Options) -> i32 {
    let name = options.operands.first().map(|name| name.to_string_lossy());
    let text = match name.as_deref().map(registry::find) {
        None => reference::list(registry::ALL),
        Some(Ok(monitor)) => reference::terminal(monitor),
        Some(Err(unknown)) => {
            err(unknown);
            return exit::USAGE;
        }
    };
    let _ = io::stdout().write_all(text.as_bytes());
    exit::OK
}

/// How `monitor run` is to run it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Asked {
    /// Its options, as an object in the configuration's own dialect; may hold `id`.
    pub(super) options: Option<String>,
    /// Seconds between samples where the options do not say.
    pub(super) interval: Option<f64>,
    /// Further directories with plug-ins.
    pub(super) plugin_dirs: Vec<PathBuf>,
    /// Where a monitor that writes files of its own does so; the present directory by default.
    pub(super) dir: Option<PathBuf>,
    /// End after so many samples.
    pub(super) samples: Option<u64>,
}

/// Runs one monitor until a signal comes or it has taken its samples.
pub(super) fn run(options: &Options) -> i32 {
    let run = &options.monitor;
    let [what, module] = &options.operands[..] else {
        return exit::USAGE;
    };
    if what != "run" {
        err(format_args!(
            "{}{PROGRAM}: error: argument run: invalid choice: '{}' (choose from 'run')",
            super::help::usage(Some(&super::commands::MONITOR), false),
            what.to_string_lossy()
        ));
        return exit::USAGE;
    }
    let members = match members(run.options.as_deref().unwrap_or("{}")) {
        Ok(members) => members,
        Err(why) => {
            err(format_args!("The monitor's options can't be read: {why}"));
            return exit::FAILED;
        }
    };
    let id = members.iter().find(|(key, _)| key == "id");
    let id = match id.map(|(_, id)| id) {
        None | Some(serde_json::Value::Null) => String::new(),
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    let mut plan = match Plan::new(&module.to_string_lossy(), &id, &members, &host(run)) {
        Ok(plan) => plan,
        Err(error) => {
            err(format_args!("Invalid monitor configuration: {error}"));
            return match error.is_unknown() {
                true => exit::USAGE,
                false => exit::FAILED,
            };
        }
    };
    if let Some(samples) = run.samples {
        plan.end_after(samples);
    }
    for (option, _) in plan.unused() {
        err(format_args!("WARNING: option \"{option}\" has no effect"));
    }
    for warning in plan.warnings() {
        err(format_args!("WARNING: {warning}"));
    }
    if plan.metric_log().is_none() {
        for log in plan.logs() {
            err(format_args!("It writes into {}", log.path.display()));
        }
    }
    let mut signals = match Signals::install(true) {
        Ok(signals) => signals,
        Err(error) => {
            err(format_args!("Signals can't be awaited: {error}"));
            return exit::FAILED;
        }
    };
    crate::logging::init_stderr();
    // Only one thing logs in this process, and only once
    if log::set_logger(&Stderr).is_ok() {
        log::set_max_level(log::LevelFilter::Info);
    }
    let asks_a_server = plan.description().service.is_some();
    let runner = match Runner::start_into(plan, Box::new(Stdout)) {
        Ok(runner) => runner,
        Err(error) => {
            err(format_args!(
                "The monitor's thread can't be started: {error}"
            ));
            return exit::FAILED;
        }
    };
    let status = Arc::clone(runner.status());
    let mut told = 0;
    loop {
        let done = runner.is_done() || runner.has_enough();
        let now = status.snapshot();
        if asks_a_server && now.samples > told {
            told = now.samples;
            err(format_args!(
                "Sample {told} took {} ms; lines so far: {}",
                now.last_took_ms, now.lines
            ));
        }
        if done {
            break;
        }
        if signals.wait(Duration::from_millis(50)) == Some(Signal::Stop) {
            err("Signal received, stopping monitor...");
            break;
        }
    }
    let mut runners = [runner];
    let late = monitors::stop_all(&mut runners, STOP_WITHIN);
    if !late.is_empty() {
        err("The monitor does not end; it is left to the system.");
    }
    let status = status.snapshot();
    let failed = status.last_error.is_some()
        && match status.samples {
            0 => status.last_sample_ms.is_none() && status.lines == 0,
            _ => status.good_samples == 0,
        };
    match failed || !late.is_empty() {
        true => exit::FAILED,
        false => exit::OK,
    }
}

fn members(text: &str) -> Result<Vec<(String, serde_json::Value)>, String> {
    match json_value(text)? {
        serde_json::Value::Object(map) => Ok(map.into_iter().collect()),
        _ => Err("it is no JSON object".to_owned()),
    }
}

fn host(run: &Asked) -> Host {
    let dir = run.dir.clone().unwrap_or_else(|| PathBuf::from("."));
    let mut place = Place::new("/", dir);
    let install = Install::detect().root;
    place.plugin_dirs = ["monitors/local", "monitors/contrib"]
        .map(|dir| install.join(dir))
        .into_iter()
        .chain(run.plugin_dirs.iter().cloned())
        .collect();
    Host {
        place,
        sample_interval: run.interval.unwrap_or(5.0),
        jitter: false,
        rate_metrics: Arc::default(),
        rate_cleanup: 1800.0,
    }
}

/// Where goes what would be in agent.log.
struct Stderr;

impl log::Log for Stderr {
    fn enabled(&self, _: &log::Metadata) -> bool {
        true
    }

    fn log(&self, record: &log::Record) {
        err(format_args!(
            "{} [{}] {}",
            record.level(),
            record.target(),
            record.args()
        ));
    }

    fn flush(&self) {}
}

/// Where the lines go.
struct Stdout;

impl Sink for Stdout {
    fn write(&mut self, lines: &[u8]) -> Result<(), Lost> {
        let mut stdout = io::stdout().lock();
        let result = stdout.write_all(lines).and_then(|()| stdout.flush());
        result.map_err(|error| Lost {
            lines: memchr::memchr_iter(b'\n', lines).count() as u64,
            error,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_each_monitors_page_is_an_entry_that_is_right() {
        let with_example = registry::ALL.iter().filter_map(|d| Some((d, d.service?)));
        for (description, service) in with_example {
            let members = members(service.entry).unwrap();
            let module = members.iter().find(|(key, _)| key == "module").unwrap();
            assert_eq!(module.1, description.module);
            let plan = Plan::new(description.module, "", &members, &host(&Asked::default()));
            let plan = plan.unwrap_or_else(|why| panic!("{}: {why}", service.entry));
            assert_eq!(plan.unused().count(), 0, "{}", service.entry);
            assert_eq!(plan.warnings(), Vec::<String>::new());
        }
    }
}
