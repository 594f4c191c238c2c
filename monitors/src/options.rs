//! Options of monitors: declared once in a static table, from which come parsing, conversion,
//! bounds, defaults and the reference page.

use crate::Error;
use serde_json::Value as Json;
use std::fmt;

/// The type that an option is converted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    Text,
    Bool,
    Int,
    Float,
    /// A list of strings: a JSON array of strings, or text such as `a,b` or `[a, 'b', "c"]`.
    Strings,
    /// A JSON array.
    Array,
    /// A JSON object.
    Object,
    /// As found.
    Any,
}

/// The value of an option that the entry does not set.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(missing_docs)]
pub enum Default {
    /// It has to be set.
    Required,
    /// Unset.
    None,
    Text(&'static str),
    Bool(bool),
    Int(i64),
    Float(f64),
    Strings(&'static [&'static str]),
    EmptyObject,
}

/// One declared option.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OptionSpec {
    /// Its name in the entry.
    pub name: &'static str,
    /// The type that it is converted to.
    pub kind: Kind,
    /// Its value where the entry has none.
    pub default: Default,
    /// Inclusive bounds of a number.
    pub min: Option<f64>,
    /// See `min`.
    pub max: Option<f64>,
    /// False for an option that is read and checked, but that nothing acts on.
    pub acted_on: bool,
    /// A web address: without `allow_http_monitors` it is always `https`.
    pub is_url: bool,
    /// Purpose and unit: one or two sentences of the reference page.
    pub text: &'static str,
}

impl OptionSpec {
    /// An option without bounds.
    pub const fn new(name: &'static str, kind: Kind, default: Default, text: &'static str) -> Self {
        OptionSpec {
            name,
            kind,
            default,
            min: None,
            max: None,
            acted_on: true,
            is_url: false,
            text,
        }
    }

    /// With an inclusive lower bound.
    pub const fn at_least(mut self, min: f64) -> Self {
        self.min = Some(min);
        self
    }

    /// With an inclusive upper bound.
    pub const fn at_most(mut self, max: f64) -> Self {
        self.max = Some(max);
        self
    }

    /// A web address: without `allow_http_monitors` it is always `https`.
    pub const fn url(mut self) -> Self {
        self.is_url = true;
        self
    }

    /// Accepted for compatibility without an effect, about which the operator is warned by name.
    pub const fn not_yet(mut self) -> Self {
        self.acted_on = false;
        self
    }
}

/// The options that every monitor has. `None` defaults come from the global configuration or from
/// the monitor's [`crate::Description`].
pub const COMMON: &[OptionSpec] = &[
    OptionSpec::new(
        "sample_interval",
        Kind::Float,
        Default::None,
        "Seconds between two samples; default: global_monitor_sample_interval. Less than 0.1 is taken as 0.1.",
    ),
    OptionSpec::new(
        "monitor_log_write_rate",
        Kind::Int,
        Default::None,
        "Bytes per second that may be written to the monitor's log in the long run; negative: no limit.",
    ),
    OptionSpec::new(
        "monitor_log_max_write_burst",
        Kind::Int,
        Default::None,
        "Bytes that may be written at once, saved up at monitor_log_write_rate; negative: no limit.",
    ),
    OptionSpec::new(
        "monitor_log_flush_delay",
        Kind::Float,
        Default::Float(0.0),
        "Accepted for compatibility: the lines of a sample are always written together at its end.",
    )
    .at_least(0.0),
    OptionSpec::new(
        "metric_name_blacklist",
        Kind::Strings,
        Default::Strings(&[]),
        "Names of metrics that are not written.",
    ),
    OptionSpec::new(
        "calculate_rate_metric_names",
        Kind::Strings,
        Default::Strings(&[]),
        "Metrics for which a per-second rate is written as well, as NAME_rate; each as metric or metric:field=value.",
    ),
    OptionSpec::new(
        "log_rotation_backup_count",
        Kind::Int,
        Default::None,
        "How many rotated files of the monitor's log are kept; default: the global option of this name.",
    )
    .at_least(0.0),
    OptionSpec::new(
        "log_rotation_max_bytes",
        Kind::Int,
        Default::None,
        "Size in bytes at which the monitor's log is rotated, 0 for never; default: the global option of this name.",
    )
    .at_least(0.0),
    OptionSpec::new(
        "stop_agent_on_failure",
        Kind::Bool,
        Default::Bool(false),
        "Whether the agent ends when this monitor fails: when it panics or hangs, or when the process of a plug-in fails whose plugin_mode is not sample.",
    ),
];

/// Keys of an entry that are no options.
const NOT_OPTIONS: [&str; 2] = ["module", "id"];

/// One monitor entry's options after conversion.
#[derive(Debug, Clone, PartialEq, std::default::Default)]
pub struct Options {
    /// In the order of the declarations, each name once.
    values: Vec<(&'static str, Setting)>,
    entry: Vec<(String, Json)>,
    unknown: Vec<String>,
    idle: Vec<&'static str>,
}

#[derive(Debug, Clone, PartialEq)]
enum Setting {
    Text(String),
    Bool(bool),
    Int(i64),
    Float(f64),
    Strings(Vec<String>),
    Json(Json),
}

impl Options {
    /// Reads `entry` by the declarations of `specs` and [`COMMON`].
    ///
    /// # Errors
    /// The first option that is missing, of a type that does not convert, or out of its bounds.
    pub fn read(specs: &[OptionSpec], entry: &[(String, Json)]) -> Result<Options, Error> {
        let mut options = Options::default();
        // A monitor's own declaration of a common option comes first and stays.
        for spec in specs.iter().chain(COMMON) {
            if options.value(spec.name).is_some() {
                continue;
            }
            let found = entry.iter().rev().find(|(key, _)| key == spec.name);
            let setting = match found {
                Some((_, json)) => {
                    if !spec.acted_on {
                        options.idle.push(spec.name);
                    }
                    convert(spec.kind, json).map_err(|why| {
                        Error::of_option(spec.name, format!("Field \"{}\": {why}", spec.name))
                    })?
                }
                None => match spec.default {
                    Default::Required => {
                        return Err(Error::of_option(
                            spec.name,
                            format!("Missing required field \"{}\"", spec.name),
                        ))
                    }
                    Default::None => continue,
                    Default::Text(text) if spec.kind == Kind::Any => {
                        Setting::Json(Json::String(text.to_owned()))
                    }
                    Default::Text(text) => Setting::Text(text.to_owned()),
                    Default::Bool(yes) => Setting::Bool(yes),
                    Default::Int(n) => Setting::Int(n),
                    Default::Float(x) => Setting::Float(x),
                    Default::Strings(list) => {
                        Setting::Strings(list.iter().map(|&s| s.to_owned()).collect())
                    }
                    Default::EmptyObject => Setting::Json(Json::Object(serde_json::Map::new())),
                },
            };
            check_bounds(spec, &setting)?;
            options.values.push((spec.name, setting));
        }
        let declared = |key: &str| {
            specs.iter().chain(COMMON).any(|s| s.name == key) || NOT_OPTIONS.contains(&key)
        };
        options.unknown = entry
            .iter()
            .map(|(key, _)| key)
            .filter(|key| !declared(key))
            .cloned()
            .collect();
        options.entry = entry.to_vec();
        Ok(options)
    }

    /// Makes addresses without TLS such with it, as `allow_http_monitors: false` wants it.
    pub(crate) fn force_https(&mut self, specs: &[OptionSpec]) {
        for spec in specs.iter().filter(|spec| spec.is_url) {
            let mut values = self.values.iter_mut();
            let Some((_, Setting::Text(url))) = values.find(|(name, _)| *name == spec.name) else {
                continue;
            };
            match url.split_once("://") {
                None => url.insert_str(0, "https://"),
                Some((scheme, rest)) if scheme.trim().eq_ignore_ascii_case("http") => {
                    *url = format!("https://{rest}");
                }
                Some(_) => {}
            }
        }
    }

    /// All members of the entry as they stand in the configuration, `module` and `id` included.
    pub fn entry(&self) -> &[(String, Json)] {
        &self.entry
    }

    /// Keys of the entry that nothing declares; they are ignored.
    pub fn unknown(&self) -> &[String] {
        &self.unknown
    }

    /// Options that the entry sets and that nothing acts on yet.
    pub fn idle(&self) -> &[&'static str] {
        &self.idle
    }

    fn value(&self, name: &str) -> Option<&Setting> {
        let mut values = self.values.iter();
        values.find(|(n, _)| *n == name).map(|(_, value)| value)
    }

    /// A text option; empty if it is unset.
    pub fn text(&self, name: &str) -> &str {
        match self.value(name) {
            Some(Setting::Text(text)) => text,
            other => absent(name, other, ""),
        }
    }

    /// A switch; false if it is unset.
    pub fn bool(&self, name: &str) -> bool {
        match self.value(name) {
            Some(Setting::Bool(yes)) => *yes,
            other => absent(name, other, false),
        }
    }

    /// An integer, if it is set or has a default.
    pub fn int(&self, name: &str) -> Option<i64> {
        match self.value(name) {
            Some(Setting::Int(n)) => Some(*n),
            other => absent(name, other, None),
        }
    }

    /// A float, if it is set or has a default.
    pub fn float(&self, name: &str) -> Option<f64> {
        match self.value(name) {
            Some(Setting::Float(x)) => Some(*x),
            other => absent(name, other, None),
        }
    }

    /// A list of strings; empty if it is unset.
    pub fn strings(&self, name: &str) -> &[String] {
        match self.value(name) {
            Some(Setting::Strings(list)) => list,
            other => absent(name, other, &[]),
        }
    }

    /// An array, an object, or an option that is taken as found; null if it is unset.
    pub fn json(&self, name: &str) -> &Json {
        match self.value(name) {
            Some(Setting::Json(json)) => json,
            other => absent(name, other, &Json::Null),
        }
    }
}

/// A getter that does not fit the declaration is a mistake in a monitor, which its test shows.
fn absent<T>(name: &str, found: Option<&Setting>, instead: T) -> T {
    debug_assert!(found.is_none(), "option {name} is of another type");
    instead
}

fn check_bounds(spec: &OptionSpec, setting: &Setting) -> Result<(), Error> {
    let number = match setting {
        Setting::Int(n) => *n as f64,
        Setting::Float(x) => *x,
        _ => return Ok(()),
    };
    let shown: &dyn fmt::Display = match setting {
        Setting::Int(n) => n,
        _ => &number,
    };
    let invalid = |bound: &str, at: f64| {
        let text = format!(
            "Value of {shown} in field \"{}\" is invalid; {bound} is {at}",
            spec.name
        );
        Err(Error::of_option(spec.name, text))
    };
    match (spec.min, spec.max) {
        (_, Some(max)) if number > max => invalid("maximum", max),
        (Some(min), _) if number < min => invalid("minimum", min),
        // NaN is within no bounds.
        (Some(bound), _) | (_, Some(bound)) if number.is_nan() => invalid("bound", bound),
        _ => Ok(()),
    }
}

fn kind_of(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "bool",
        Json::Number(n) if n.is_f64() => "float",
        Json::Number(_) => "int",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
    }
}

/// Converts a value of the configuration to the type of an option. A pair of types that the Python
/// agent refuses is refused here too, in its words ("prohibited conversion from ... to ...").
fn convert(kind: Kind, json: &Json) -> Result<Setting, String> {
    let prohibited = |to: &str| {
        Err(format!(
            "prohibited conversion from {} to {to}",
            kind_of(json)
        ))
    };
    match (kind, json) {
        (Kind::Any, _) | (Kind::Array, Json::Array(_)) | (Kind::Object, Json::Object(_)) => {
            Ok(Setting::Json(json.clone()))
        }
        (Kind::Text, Json::String(text)) => Ok(Setting::Text(text.clone())),
        (Kind::Text, Json::Bool(true)) => Ok(Setting::Text("True".to_owned())),
        (Kind::Text, Json::Bool(false)) => Ok(Setting::Text("False".to_owned())),
        (Kind::Text, Json::Null) => prohibited("string"),
        (Kind::Text, _) => Ok(Setting::Text(json.to_string())),
        (Kind::Bool, Json::Bool(yes)) => Ok(Setting::Bool(*yes)),
        (Kind::Bool, Json::String(text)) => Ok(Setting::Bool(text.eq_ignore_ascii_case("true"))),
        (Kind::Bool, _) => prohibited("bool"),
        (Kind::Int, Json::Number(n)) => match n.as_i64() {
            Some(n) => Ok(Setting::Int(n)),
            // A cast from float cuts the fraction off and stays within the bounds.
            None => Ok(Setting::Int(n.as_f64().unwrap_or(f64::INFINITY) as i64)),
        },
        (Kind::Int, Json::String(text)) => match text.trim().parse() {
            Ok(n) => Ok(Setting::Int(n)),
            Err(_) => Err(format!("\"{text}\" is not an integer")),
        },
        (Kind::Int, _) => prohibited("int"),
        (Kind::Float, Json::Number(n)) => Ok(Setting::Float(n.as_f64().unwrap_or(f64::MAX))),
        (Kind::Float, Json::String(text)) => match text.trim().parse() {
            Ok(x) => Ok(Setting::Float(x)),
            Err(_) => Err(format!("\"{text}\" is not a number")),
        },
        (Kind::Float, _) => prohibited("float"),
        (Kind::Strings, Json::String(text)) => Ok(Setting::Strings(split_list(text))),
        (Kind::Strings, Json::Array(items)) => items
            .iter()
            .map(|item| item.as_str().map(str::to_owned))
            .collect::<Option<_>>()
            .map(Setting::Strings)
            .ok_or_else(|| "every element of the list must be a string".to_owned()),
        (Kind::Strings, _) => prohibited("list of strings"),
        (Kind::Object, Json::String(text)) if text.trim().is_empty() => {
            Ok(Setting::Json(Json::Object(serde_json::Map::new())))
        }
        (Kind::Array | Kind::Object, Json::String(text)) => {
            let parsed: Json = serde_json::from_str(text).map_err(|e| format!("bad JSON: {e}"))?;
            match (kind, &parsed) {
                (Kind::Array, Json::Array(_)) | (Kind::Object, Json::Object(_)) => {
                    Ok(Setting::Json(parsed))
                }
                (Kind::Array, _) => Err("the text holds no JSON array".to_owned()),
                _ => Err("the text holds no JSON object".to_owned()),
            }
        }
        (Kind::Array, _) => prohibited("array"),
        (Kind::Object, _) => prohibited("object"),
    }
}

/// `a,b` or `[a, 'b', "c"]`: brackets and quotes around are stripped, blanks trimmed, empty items
/// dropped.
fn split_list(text: &str) -> Vec<String> {
    let text = text.trim();
    let text = text.strip_prefix('[').unwrap_or(text);
    let text = text.strip_suffix(']').unwrap_or(text);
    text.split(',')
        .map(|item| {
            let item = item.trim();
            ['"', '\'']
                .iter()
                .find_map(|&q| item.strip_prefix(q)?.strip_suffix(q))
                .unwrap_or(item)
        })
        .filter(|item| !item.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_one(spec: OptionSpec, json: &str) -> Result<Options, String> {
        let entry = [(spec.name.to_owned(), serde_json::from_str(json).unwrap())];
        Options::read(&[spec], &entry).map_err(|e| e.to_string())
    }

    fn spec(kind: Kind) -> OptionSpec {
        OptionSpec::new("o", kind, Default::None, "")
    }

    #[test]
    fn options_convert_as_the_matrix_says() {
        for (json, text) in [
            ("\"a\"", "a"),
            ("true", "True"),
            ("false", "False"),
            ("-3", "-3"),
            ("2.5", "2.5"),
            ("[1]", "[1]"),
        ] {
            assert_eq!(read_one(spec(Kind::Text), json).unwrap().text("o"), text);
        }
        for (json, yes) in [
            ("\"TRUE\"", true),
            ("\"yes\"", false),
            ("\"\"", false),
            ("true", true),
        ] {
            assert_eq!(read_one(spec(Kind::Bool), json).unwrap().bool("o"), yes);
        }
        for (json, n) in [("2.7", 2), ("-2.7", -2), ("\" 5 \"", 5), ("7", 7)] {
            assert_eq!(read_one(spec(Kind::Int), json).unwrap().int("o"), Some(n));
        }
        for (json, x) in [("2", 2.0), ("\"2.5\"", 2.5), ("1e3", 1000.0)] {
            assert_eq!(
                read_one(spec(Kind::Float), json).unwrap().float("o"),
                Some(x)
            );
        }
        for json in ["\"a,b\"", "\"[ a, 'b',, ]\"", "[\"a\",\"b\"]"] {
            assert_eq!(
                read_one(spec(Kind::Strings), json).unwrap().strings("o"),
                ["a", "b"]
            );
        }
        let object = read_one(spec(Kind::Object), "\"{\\\"k\\\": 1}\"").unwrap();
        assert_eq!(object.json("o")["k"], 1);
        let empty = read_one(spec(Kind::Object), "\"\"").unwrap();
        assert!(empty.json("o").as_object().unwrap().is_empty());
    }

    #[test]
    fn a_wrong_type_is_an_error_that_names_the_field() {
        for (kind, json) in [
            (Kind::Bool, "1"),
            (Kind::Int, "true"),
            (Kind::Int, "\"x\""),
            (Kind::Int, "\"\""),
            (Kind::Float, "[]"),
            (Kind::Strings, "[1]"),
            (Kind::Strings, "1"),
            (Kind::Array, "{}"),
            (Kind::Object, "[]"),
            (Kind::Object, "\"[]\""),
            (Kind::Text, "null"),
        ] {
            let error = read_one(spec(kind), json).unwrap_err();
            assert!(error.contains("\"o\""), "{error}");
        }
        assert_eq!(
            read_one(spec(Kind::Int), "true").unwrap_err(),
            "Field \"o\": prohibited conversion from bool to int"
        );
    }

    #[test]
    fn bounds_and_required_options_speak_as_before() {
        let bounded = spec(Kind::Int).at_least(1.0).at_most(5.0);
        assert_eq!(
            read_one(bounded, "6").unwrap_err(),
            "Value of 6 in field \"o\" is invalid; maximum is 5"
        );
        assert_eq!(
            read_one(bounded, "0").unwrap_err(),
            "Value of 0 in field \"o\" is invalid; minimum is 1"
        );
        assert!(read_one(spec(Kind::Float).at_least(0.0), "\"nan\"").is_err());
        let required = OptionSpec::new("o", Kind::Text, Default::Required, "");
        assert_eq!(
            Options::read(&[required], &[]).unwrap_err().to_string(),
            "Missing required field \"o\""
        );
    }

    #[test]
    fn keys_that_nothing_reads_are_named() {
        let entry: Vec<_> = ["module", "id", "sample_interval", "tpyo", "o"]
            .map(|key| (key.to_owned(), Json::String("1".to_owned())))
            .into();
        let options = Options::read(&[spec(Kind::Int).not_yet()], &entry).unwrap();
        assert_eq!(options.unknown(), ["tpyo"]);
        assert_eq!(options.idle(), ["o"]);
        assert_eq!(options.float("sample_interval"), Some(1.0));
    }
}
