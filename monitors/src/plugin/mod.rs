//! Plug-ins: monitors that are not part of the agent. docs/plugins.md tells how to write one.
//!
//! [`lookup`] finds the file of a module name and [`trust`] refuses what others could have put
//! there. A plug-in is a process: [`child`] starts, watches and ends it, [`protocol`] is what it
//! says, [`supervise`] makes metrics, messages and counters of that, and [`logs`] hands on what it
//! wants of the copier. Python plug-ins of the Python agent run under a host script (`python`, a
//! feature of its own) that speaks the same protocol.

mod child;
mod environment;
mod logs;
mod lookup;
mod protocol;
#[cfg(feature = "python-plugins")]
mod python;
mod supervise;
mod trust;

use crate::monitor::{short_name, Cadence, Description, Log, Monitor, Setup};
use crate::options::{Default, Kind, OptionSpec};
use crate::registry::{self, NotFound};
use crate::{Error, PlanError};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// The options that every plug-in has beside its own, which it gets as they stand in the entry.
pub const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        "plugin_mode",
        Kind::Text,
        Default::Text("auto"),
        "When the plug-in is run. `sample`: once an interval; it ends by itself. `serve`: all the time; an end of its own is a failure. `auto`: it is started, and if it ends with status 0, started again at the next interval.",
    ),
    OptionSpec::new(
        "plugin_timeout",
        Kind::Float,
        Default::None,
        "Seconds after which a run is ended as hung; 0: never. Default: sample_interval, at least 1, if plugin_mode is `sample`, otherwise 0.",
    )
    .at_least(0.0)
    .at_most(1e9),
    OptionSpec::new(
        "plugin_user",
        Kind::Text,
        Default::Text(""),
        "The user, by name, with whose rights alone the plug-in runs. Default: the agent's own. Another one needs an agent that runs as root.",
    ),
    OptionSpec::new(
        "plugin_env",
        Kind::Strings,
        Default::Strings(&[]),
        "Names of environment variables that are handed to the plug-in although they look like secrets (their names contain TOKEN, PASSWORD, API_KEY and the like).",
    ),
    OptionSpec::new(
        "plugin_python",
        Kind::Text,
        Default::Text("python3"),
        "The Python interpreter (3.6 or later) of a plug-in written for the Python agent: a name that is looked for in PATH, or an absolute path.",
    ),
];

/// The monitor of a name: one that is built in by its full name, a plug-in, or one that is built in
/// by its short name.
///
/// # Errors
/// There is none, or the plug-in must not be run.
pub fn or_built_in(
    module: &str,
    id: &str,
    dirs: &[PathBuf],
) -> Result<&'static Description, PlanError> {
    let invalid = |error: Error| PlanError::Invalid {
        entry: format!("{module}({id})"),
        error: Error::of_option("module", error.to_string()),
    };
    if let Some(found) = registry::ALL.iter().find(|d| d.module == module) {
        return Ok(found);
    }
    if let Some(found) = lookup::find(module, dirs).map_err(invalid)? {
        runnable(&found, module).map_err(invalid)?;
        return Ok(description(module));
    }
    registry::find(module).map_err(|missing| match missing {
        NotFound::Unknown(_) if !dirs.is_empty() => {
            let dirs: Vec<_> = dirs.iter().map(|d| d.display().to_string()).collect();
            let dirs = dirs.join(", ");
            invalid(Error::new(format!(
                "{missing}; and there is no plug-in of that name in {dirs}"
            )))
        }
        _ => PlanError::NotFound(missing),
    })
}

/// Whether a plug-in that was found can be run at all.
fn runnable(found: &lookup::Found, module: &str) -> Result<(), Error> {
    let short = short_name(module);
    if ["agent", "agent_debug"].contains(&short) {
        return Err(Error::new(format!(
            "a plug-in must not be called \"{short}\": its log would be the agent's own, {short}.log; rename {}",
            found.path.display()
        )));
    }
    match found.kind {
        #[cfg(not(feature = "python-plugins"))]
        lookup::Kind::Python { .. } => Err(without_python(&found.path)),
        _ => Ok(()),
    }
}

/// Why a plug-in of the Python agent can't be run though its file is there: the interpreter is missing.
#[cfg(feature = "python-plugins")]
pub(crate) fn without_interpreter(module: &str, dirs: &[PathBuf], python: &str) -> Option<String> {
    let found = lookup::find(module, dirs).ok()??;
    let lookup::Kind::Python { .. } = found.kind else {
        return None;
    };
    let path = std::env::var_os("PATH");
    let error = python::command(python, path.as_deref(), "").err()?;
    Some(error.to_string())
}

#[cfg(not(feature = "python-plugins"))]
fn without_python(path: &std::path::Path) -> Error {
    Error::new(format!(
        "{} is a Python plug-in, and this is a build without them (without the feature python-plugins, as the profile `embedded` is); install the full build, or make it a program that speaks the protocol of docs/plugins.md",
        path.display()
    ))
}

/// One description for each module name, however often the configuration is read.
fn description(module: &str) -> &'static Description {
    static KNOWN: Mutex<Vec<&'static Description>> = Mutex::new(Vec::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(description) = known.iter().find(|known| known.module == module) {
        return description;
    }
    let module: &'static str = Box::leak(module.into());
    let description: &'static Description = Box::leak(Box::new(Description {
        module,
        text: "A plug-in: see docs/plugins.md.",
        options: OPTIONS,
        metrics: &[],
        open: true,
        log: Log::METRICS,
        write_limit: Description::WRITE_LIMIT,
        cadence: Cadence::Serving,
        service: None,
        make,
    }));
    known.push(description);
    description
}

fn make(setup: &Setup) -> Result<Box<dyn Monitor>, Error> {
    Ok(Box::new(supervise::Plugin::new(setup)?))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
