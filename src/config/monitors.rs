//! Entries of `monitors[]`: which monitors run, their ids, and their own
//! options untouched, for the monitor to read.

use super::error::{ConfigError, Place, Warnings, Wrong};
use super::fields::Fields;
use super::json::{Json, Pos};
use super::options::Options;
use super::{coerce, error};

/// One monitor to run.
#[derive(Debug, Clone)]
pub struct MonitorEntry {
    /// The dotted name of its module.
    pub module: String,
    /// The instance; empty for the only one of its kind without an id of its own.
    pub id: String,
    /// Every member of the entry as it stands in the file, `module` and `id` included.
    pub options: Vec<(String, Json)>,
    /// True if the operator did not ask for it by name.
    pub implicit: bool,
    /// The agent stops when this monitor dies.
    pub stop_agent_on_failure: bool,
    place: Option<Place>,
    places: Vec<Pos>,
}

/// The same monitor with the same options, wherever it stands.
impl PartialEq for MonitorEntry {
    fn eq(&self, other: &Self) -> bool {
        let sorted = |entry: &Self| {
            let mut options = entry.options.clone();
            crate::util::sort::by(&mut options, |a, b| a.0.cmp(&b.0));
            options
        };
        self.module == other.module
            && self.id == other.id
            && sorted(self) == sorted(other)
            && self.implicit == other.implicit
            && self.stop_agent_on_failure == other.stop_agent_on_failure
    }
}

impl MonitorEntry {
    /// The last component of the module: `linux_system_metrics`.
    pub fn short_name(&self) -> &str {
        self.module.rsplit('.').next().unwrap_or(&self.module)
    }

    /// `short_name(id)`, or the short name alone: how logs and reports call it.
    pub fn label(&self) -> String {
        if self.id.is_empty() {
            self.short_name().to_owned()
        } else {
            format!("{}({})", self.short_name(), self.id)
        }
    }

    /// Where it stands; none for an implicit one.
    pub fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    /// The raw value of an option.
    pub fn get(&self, option: &str) -> Option<&Json> {
        self.options
            .iter()
            .find(|(name, _)| name == option)
            .map(|(_, value)| value)
    }

    /// An error about one of its options, with the place in the file. `message` is a phrase.
    pub fn error(&self, option: &str, code: &'static str, message: &str) -> ConfigError {
        let error = ConfigError::new(code, format!("monitor {}: {message}", self.label()));
        let error = error.option(option);
        let at = self.options.iter().position(|(name, _)| name == option);
        match (&self.place, at.and_then(|index| self.places.get(index))) {
            (Some(Place::At(file, _)), Some(at)) => error.at(Place::At(file.clone(), *at)),
            (Some(place), _) => error.at(place.clone()),
            (None, _) => error,
        }
    }

    fn implicit(module: &str, id: &str, options: &[(&str, &str)]) -> Self {
        let text = |value: &str| Json::Text(value.to_owned());
        MonitorEntry {
            module: format!("scalyr_agent.builtin_monitors.{module}"),
            id: id.to_owned(),
            options: options
                .iter()
                .map(|(name, value)| ((*name).to_owned(), text(value)))
                .collect(),
            implicit: true,
            stop_agent_on_failure: false,
            place: None,
            places: Vec::new(),
        }
    }
}

/// Reads an entry of `monitors`.
pub(crate) fn monitor(fields: &Fields) -> Result<MonitorEntry, ConfigError> {
    let module = fields.required("module")?;
    if module.rsplit('.').next().is_none_or(str::is_empty) || module.contains('\0') {
        let message = format!("{} is no module", coerce::quoted(&module));
        return Err(fields.error("module", Wrong::new("invalidValue", message)));
    }
    Ok(MonitorEntry {
        module,
        id: fields.text("id")?.unwrap_or_default(),
        options: fields
            .members
            .iter()
            .map(|member| (member.key.clone(), member.value.value.clone()))
            .collect(),
        implicit: false,
        stop_agent_on_failure: fields.boolean("stop_agent_on_failure")?.unwrap_or(false),
        place: Some(fields.place("")),
        places: fields
            .members
            .iter()
            .map(|member| member.value.at)
            .collect(),
    })
}

/// Adds the implicit monitors and fills in the ids: an instance without one gets its number among
/// those of its short name, unless it is the only one.
pub(crate) fn complete(
    mut monitors: Vec<MonitorEntry>,
    options: &Options,
    warnings: &mut Warnings,
) -> Vec<MonitorEntry> {
    // Two of them would only tell the same twice
    let has_own = monitors
        .iter()
        .any(|m| m.short_name() == "linux_system_metrics");
    if options.implicit_metric_monitor && !has_own {
        monitors.push(MonitorEntry::implicit("linux_system_metrics", "", &[]));
    }
    if options.implicit_agent_process_metrics_monitor {
        monitors.push(MonitorEntry::implicit(
            "linux_process_metrics",
            "agent",
            &[("pid", "$$"), ("id", "agent")],
        ));
    }
    let names: Vec<String> = monitors.iter().map(|m| m.short_name().to_owned()).collect();
    for (index, monitor) in monitors.iter_mut().enumerate() {
        let same = |others: &[String]| others.iter().filter(|o| **o == names[index]).count();
        if monitor.id.is_empty() && same(&names) > 1 {
            monitor.id = (same(&names[..index]) + 1).to_string();
        }
    }
    for (index, monitor) in monitors.iter().enumerate() {
        let twin = |m: &MonitorEntry| m.module == monitor.module && m.id == monitor.id;
        if monitors[..index].iter().any(twin) {
            let label = monitor.label();
            warnings.daily(
                format!("twin {label}"),
                format!("two monitors are called {label}: their metrics can't be told apart"),
            );
        }
    }
    monitors
}

/// Conversions of a monitor's raw options, which differ from those of top-level
/// options. The error is a code and a phrase for [`MonitorEntry::error`].
pub mod convert {
    use super::{coerce, error, Json};

    type Result<T> = std::result::Result<T, (&'static str, String)>;

    fn illegal<T>(wanted: &str, value: &Json) -> Result<T> {
        let message = format!("{wanted} is expected, and this is {}", coerce::shown(value));
        Err(("illegalConversion", message))
    }

    fn plain(wrong: error::Wrong) -> (&'static str, String) {
        (wrong.code, wrong.message)
    }

    /// A string: numbers become their text, bools `True` and `False`.
    pub fn text(value: &Json) -> Result<String> {
        match value {
            Json::Bool(true) => Ok("True".to_owned()),
            Json::Bool(false) => Ok("False".to_owned()),
            _ => coerce::text(value).or_else(|_| illegal("a string", value)),
        }
    }

    /// An integer: floats lose their fraction; a text has to be a decimal integer.
    pub fn int(value: &Json) -> Result<i64> {
        match value {
            Json::Text(text) => coerce::env_int(text).map_err(plain),
            _ => coerce::int(value).or_else(|_| illegal("a whole number", value)),
        }
    }

    /// A float, always finite.
    pub fn float(value: &Json) -> Result<f64> {
        match value {
            Json::Text(text) => coerce::env_float(text).map_err(plain),
            _ => coerce::float(value).or_else(|_| illegal("a number", value)),
        }
    }

    /// A bool: a text is true if it is `true` in any case.
    pub fn boolean(value: &Json) -> Result<bool> {
        match value {
            Json::Bool(b) => Ok(*b),
            Json::Text(text) => Ok(coerce::env_boolean(text)),
            _ => illegal("true or false", value),
        }
    }

    /// A list of strings: an array of strings, or a text with commas.
    pub fn strings(value: &Json) -> Result<Vec<String>> {
        match value {
            Json::Text(text) => Ok(coerce::env_strings(text, true)),
            _ => coerce::strings(value).or_else(|_| illegal("a list of strings", value)),
        }
    }
}
