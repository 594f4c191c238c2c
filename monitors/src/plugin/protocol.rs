//! The protocol between the agent and a plug-in: one JSON object a line, UTF-8 (docs/plugins.md).

use crate::line::Value;
use crate::options::OptionSpec;
use log::Level;
use serde_json::{json, Map, Value as Json};
use std::path::Path;

/// The number of this protocol; grows only if old plug-ins could not understand it.
pub const VERSION: u64 = 1;

/// One line of a plug-in.
#[derive(Debug, Clone, PartialEq)]
pub enum Line {
    /// A metric.
    Metric {
        /// Its name, cleaned when it is written.
        name: String,
        /// Its value.
        value: Scalar,
        /// Its fields.
        fields: Vec<(String, Scalar)>,
        /// Milliseconds since the epoch, if not the time of its arrival.
        timestamp: Option<u64>,
        /// The id that its line bears, if not the monitor's own.
        id: Option<String>,
    },
    /// Free text for the monitor's log.
    Message {
        /// The text.
        text: String,
        /// As of a metric.
        id: Option<String>,
    },
    /// Path, labels and rules for the log of its metrics and messages.
    OwnLog(LogConfig),
    /// A log that it writes itself shall be copied.
    Follow(LogConfig),
    /// It shall be copied no longer.
    Unfollow(String),
    /// A line for agent.log.
    Log(Level, String),
    /// A sample was taken; the text says why it failed, if it did.
    Sample(Option<String>),
    /// The plug-in cannot go on and is about to end.
    Fatal(String),
}

/// How a log is to be copied.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LogConfig {
    /// As it was given; relative to the directory of the agent's logs.
    pub path: Option<String>,
    /// The server's parser for it.
    pub parser: Option<String>,
    /// Further attributes: texts, numbers and truth values.
    pub attributes: Vec<(String, Json)>,
}

/// A value of a metric or a field.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    /// A JSON number, string, truth value, or null for "not a number".
    Json(Json),
    /// A number in digits that are kept as they are: `{"number": "4.20"}`.
    Digits(String),
}

impl Scalar {
    fn read(json: Json) -> Result<Scalar, &'static str> {
        match json {
            Json::Object(mut map) => match (map.remove("number"), map.len()) {
                (Some(Json::String(digits)), 0) if is_number(&digits) => Ok(Scalar::Digits(digits)),
                _ => Err("an object as a value must be {\"number\": \"<digits>\"}"),
            },
            Json::Array(_) => Err("a list is no value"),
            other => Ok(Scalar::Json(other)),
        }
    }

    /// As the line wants it.
    pub fn value(&self) -> Value<'_> {
        match self {
            Scalar::Digits(digits) => Value::Raw(digits),
            Scalar::Json(Json::String(text)) => Value::Text(text),
            Scalar::Json(Json::Bool(yes)) => Value::Bool(*yes),
            Scalar::Json(Json::Number(number)) => {
                let whole = number.as_i64().map(Value::Int);
                let whole = whole.or_else(|| number.as_u64().map(Value::UInt));
                whole.unwrap_or(Value::Float(number.as_f64().unwrap_or(f64::NAN)))
            }
            Scalar::Json(_) => Value::Float(f64::NAN),
        }
    }
}

/// A number in the grammar of JSON.
fn is_number(text: &str) -> bool {
    // Its parser knows the grammar; blanks around are its only addition.
    !text.contains(|c: char| c.is_ascii_whitespace())
        && matches!(text.as_bytes().first(), Some(b'-' | b'0'..=b'9'))
        && match serde_json::from_str(text) {
            Ok(Json::Number(_)) => true,
            Err(error) => error.to_string().starts_with("number out of range"),
            Ok(_) => false,
        }
}

const KINDS: &str = "\"metric\", \"message\", \"log\", \"sample\", \"fatal\", \"log_config\", \"follow\", \"unfollow\"";

/// Reads one line.
///
/// # Errors
/// A phrase that says why the line is refused.
pub fn read(line: &[u8]) -> Result<Line, String> {
    let text = std::str::from_utf8(line).map_err(|_| "it is not UTF-8".to_owned())?;
    let json: Json = serde_json::from_str(text).map_err(|e| format!("it is not JSON: {e}"))?;
    let Json::Object(mut map) = json else {
        return Err("it is no JSON object".to_owned());
    };
    let line = if let Some(name) = map.remove("metric") {
        metric(name, &mut map)?
    } else if let Some(text) = map.remove("message") {
        let text = string("message", text)?;
        Line::Message {
            text,
            id: id(&mut map)?,
        }
    } else if let Some(level) = map.remove("log") {
        let level = string("log", level)?;
        let text = map.remove("text").ok_or("\"text\" is missing")?;
        Line::Log(severity(&level)?, string("text", text)?)
    } else if let Some(sample) = map.remove("sample") {
        let why = map.remove("text").map(|text| string("text", text));
        match (sample.as_str(), why.transpose()?) {
            (Some("ok"), None) => Line::Sample(None),
            (Some("failed"), Some(text)) => Line::Sample(Some(text)),
            _ => return Err("\"sample\" is \"ok\", or \"failed\" with a \"text\"".to_owned()),
        }
    } else if let Some(text) = map.remove("fatal") {
        Line::Fatal(string("fatal", text)?)
    } else if let Some(config) = map.remove("log_config") {
        Line::OwnLog(log_config("log_config", config)?)
    } else if let Some(config) = map.remove("follow") {
        match log_config("follow", config)? {
            LogConfig { path: None, .. } => return Err("\"follow\" has no \"path\"".to_owned()),
            config => Line::Follow(config),
        }
    } else if let Some(path) = map.remove("unfollow") {
        Line::Unfollow(string("unfollow", path)?)
    } else {
        return Err(format!("it has none of {KINDS}"));
    };
    match map.keys().next() {
        Some(key) => Err(format!("\"{key}\" is not known beside that")),
        None => Ok(line),
    }
}

fn metric(name: Json, map: &mut Map<String, Json>) -> Result<Line, String> {
    let name = string("metric", name)?;
    let value = map.remove("value").ok_or("\"value\" is missing")?;
    let value = Scalar::read(value).map_err(|why| format!("\"value\": {why}"))?;
    let fields = match map.remove("fields") {
        None | Some(Json::Null) => Vec::new(),
        Some(Json::Object(fields)) => fields
            .into_iter()
            .map(|(field, json)| match Scalar::read(json) {
                Ok(scalar) => Ok((field, scalar)),
                Err(why) => Err(format!("field \"{field}\": {why}")),
            })
            .collect::<Result<_, _>>()?,
        Some(_) => return Err("\"fields\" is no object".to_owned()),
    };
    let timestamp = match map.remove("timestamp") {
        None | Some(Json::Null) => None,
        Some(json) => Some(milliseconds(&json)?),
    };
    Ok(Line::Metric {
        name,
        value,
        fields,
        timestamp,
        id: id(map)?,
    })
}

fn id(map: &mut Map<String, Json>) -> Result<Option<String>, String> {
    match map.remove("id") {
        None | Some(Json::Null) => Ok(None),
        Some(id) => string("id", id).map(Some),
    }
}

fn log_config(key: &str, json: Json) -> Result<LogConfig, String> {
    let Json::Object(map) = json else {
        return Err(format!("\"{key}\" is no object"));
    };
    let mut config = LogConfig::default();
    for (member, json) in map {
        match (member.as_str(), json) {
            ("path", path) => config.path = Some(string("path", path)?),
            ("parser", parser) => config.parser = Some(string("parser", parser)?),
            ("attributes", Json::Object(attributes)) => {
                for (name, value) in attributes {
                    if value.is_object() || value.is_array() || value.is_null() {
                        return Err(format!(
                            "attribute \"{name}\" is no text, number or truth value"
                        ));
                    }
                    config.attributes.push((name, value));
                }
            }
            ("attributes", _) => return Err("\"attributes\" is no object".to_owned()),
            (other, _) => return Err(format!("\"{other}\" is not known in \"{key}\"")),
        }
    }
    Ok(config)
}

/// The last millisecond of the year 9999: what a stamp can show.
const LAST_STAMP: u64 = 253_402_300_799_999;

fn milliseconds(json: &Json) -> Result<u64, String> {
    let ms = json.as_u64().or_else(|| {
        let ms = json.as_f64()?;
        // Truncated, as stamps are.
        (ms >= 0.0).then_some(ms as u64)
    });
    ms.filter(|ms| *ms <= LAST_STAMP)
        .ok_or_else(|| "\"timestamp\" is no number of milliseconds since 1970".to_owned())
}

fn string(key: &str, json: Json) -> Result<String, String> {
    match json {
        Json::String(text) => Ok(text),
        _ => Err(format!("\"{key}\" is no string")),
    }
}

fn severity(text: &str) -> Result<Level, String> {
    match text.to_ascii_lowercase().as_str() {
        "debug" => Ok(Level::Debug),
        "info" => Ok(Level::Info),
        "warn" | "warning" => Ok(Level::Warn),
        "error" => Ok(Level::Error),
        _ => Err("\"log\" is one of debug, info, warn, error".to_owned()),
    }
}

/// The first line that the agent sends to a plug-in.
#[derive(Debug)]
pub struct Hello<'a> {
    /// `name(id)`
    pub name: &'a str,
    /// The full module name.
    pub module: &'a str,
    /// Empty for the only instance.
    pub id: &'a str,
    /// Seconds.
    pub sample_interval: f64,
    /// All members of its entry.
    pub entry: &'a [(String, Json)],
    /// The agent's version.
    pub version: &'a str,
    /// Where it may keep files.
    pub data_dir: &'a Path,
    /// Where the agent writes logs.
    pub log_dir: &'a Path,
}

impl Hello<'_> {
    /// The line, its end included. The options `own` are the agent's business and left out, as are
    /// `module` and `id`, which have places of their own.
    pub fn line(&self, own: &[OptionSpec]) -> Vec<u8> {
        let kept = |key: &str| {
            key != "module" && key != "id" && !own.iter().any(|option| option.name == key)
        };
        let options = self.entry.iter().filter(|(key, _)| kept(key));
        let options: Map<String, Json> = common::sort::gathered(options.cloned());
        let line = json!({
            "protocol": VERSION,
            "agent_version": self.version,
            "name": self.name,
            "module": self.module,
            "id": self.id,
            "sample_interval": self.sample_interval,
            "data_dir": self.data_dir.to_string_lossy(),
            "log_dir": self.log_dir.to_string_lossy(),
            "options": options,
        });
        format!("{line}\n").into_bytes()
    }
}

/// A line that is too long was skipped.
#[derive(Debug, PartialEq, Eq)]
pub struct TooLong;

/// Puts chunks together to lines.
#[derive(Debug)]
pub struct Lines {
    most: usize,
    begun: Vec<u8>,
    skipping: bool,
}

impl Lines {
    /// Lines of at most `most` bytes, their ends not counted.
    pub fn new(most: usize) -> Self {
        Lines {
            most,
            begun: Vec::new(),
            skipping: false,
        }
    }

    /// Calls `each` for every line that `chunk` completes, without its `\n` or `\r\n`. Of one that
    /// is too long nothing is kept.
    pub fn feed(&mut self, chunk: &[u8], mut each: impl FnMut(Result<&[u8], TooLong>)) {
        let mut rest = chunk;
        while let Some(end) = rest.iter().position(|&b| b == b'\n') {
            let (line, after) = (&rest[..end], &rest[end + 1..]);
            rest = after;
            if std::mem::take(&mut self.skipping) {
                continue;
            }
            if self.begun.len() + line.len() > self.most {
                self.begun.clear();
                each(Err(TooLong));
            } else if self.begun.is_empty() {
                each(Ok(without_return(line)));
            } else {
                self.begun.extend_from_slice(line);
                each(Ok(without_return(&self.begun)));
                self.begun.clear();
            }
        }
        if self.skipping || rest.is_empty() {
            return;
        }
        if self.begun.len() + rest.len() > self.most {
            self.skipping = true;
            self.begun = Vec::new();
            each(Err(TooLong));
        } else {
            self.begun.extend_from_slice(rest);
        }
    }

    /// The last line, if it has no end.
    pub fn finish(&mut self) -> Option<Vec<u8>> {
        self.skipping = false;
        let rest = std::mem::take(&mut self.begun);
        (!rest.is_empty()).then_some(rest)
    }
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric(text: &str) -> Line {
        read(text.as_bytes()).unwrap()
    }

    #[test]
    fn values_keep_their_kind_and_their_digits() {
        for (json, value) in [
            ("1", Value::Int(1)),
            ("-7", Value::Int(-7)),
            ("18446744073709551615", Value::UInt(u64::MAX)),
            ("2.5", Value::Float(2.5)),
            ("true", Value::Bool(true)),
            ("\"a b\"", Value::Text("a b")),
            ("{\"number\": \"4.20\"}", Value::Raw("4.20")),
            (
                "{\"number\": \"1180591620717411303424\"}",
                Value::Raw("1180591620717411303424"),
            ),
            ("{\"number\": \"1e999\"}", Value::Raw("1e999")),
        ] {
            let line = metric(&format!("{{\"metric\":\"m\",\"value\":{json}}}"));
            let Line::Metric { value: found, .. } = line else {
                panic!("{line:?}");
            };
            assert_eq!(found.value(), value, "{json}");
        }
        let Line::Metric { value, .. } = metric("{\"metric\":\"m\",\"value\":null}") else {
            panic!();
        };
        assert!(matches!(value.value(), Value::Float(x) if x.is_nan()));
    }

    #[test]
    fn every_other_kind_of_line_is_understood() {
        assert_eq!(
            metric("{\"message\":\"hi\"}"),
            Line::Message {
                text: "hi".to_owned(),
                id: None
            }
        );
        assert_eq!(
            metric("{\"log\":\"Warning\",\"text\":\"t\"}"),
            Line::Log(Level::Warn, "t".to_owned())
        );
        assert_eq!(metric("{\"sample\":\"ok\"}"), Line::Sample(None));
        assert_eq!(
            metric("{\"sample\":\"failed\",\"text\":\"t\"}"),
            Line::Sample(Some("t".to_owned()))
        );
        assert_eq!(metric("{\"fatal\":\"t\"}"), Line::Fatal("t".to_owned()));
        assert_eq!(
            metric("{\"metric\":\"m\",\"value\":1,\"fields\":{\"a\":\"b\"},\"timestamp\":1650021068015.9}"),
            Line::Metric {
                name: "m".to_owned(),
                value: Scalar::Json(1.into()),
                fields: vec![("a".to_owned(), Scalar::Json("b".into()))],
                timestamp: Some(1_650_021_068_015),
                id: None,
            }
        );
        let line = metric("{\"metric\":\"m\",\"value\":1,\"id\":\"other\"}");
        assert!(matches!(line, Line::Metric { id: Some(id), .. } if id == "other"));
        let config = LogConfig {
            path: Some("a.log".to_owned()),
            parser: Some("p".to_owned()),
            attributes: vec![("n".to_owned(), 5.into()), ("yes".to_owned(), true.into())],
        };
        let text = r#"{"path":"a.log","parser":"p","attributes":{"n":5,"yes":true}}"#;
        assert_eq!(
            metric(&format!("{{\"follow\":{text}}}")),
            Line::Follow(config.clone())
        );
        assert_eq!(
            metric(&format!("{{\"log_config\":{text}}}")),
            Line::OwnLog(config)
        );
        assert_eq!(
            metric("{\"unfollow\":\"a.log\"}"),
            Line::Unfollow("a.log".to_owned())
        );
    }

    #[test]
    fn garbage_is_refused_with_its_reason() {
        for (text, reason) in [
            ("", "not JSON"),
            ("hello", "not JSON"),
            ("[1]", "no JSON object"),
            ("{}", "none of"),
            ("{\"metric\":\"m\"}", "\"value\" is missing"),
            ("{\"metric\":1,\"value\":1}", "\"metric\" is no string"),
            ("{\"metric\":\"m\",\"value\":[1]}", "a list"),
            ("{\"metric\":\"m\",\"value\":{\"a\":1}}", "an object"),
            (
                "{\"metric\":\"m\",\"value\":{\"number\":\"1 x\"}}",
                "an object",
            ),
            (
                "{\"metric\":\"m\",\"value\":{\"number\":\"01\"}}",
                "an object",
            ),
            (
                "{\"metric\":\"m\",\"value\":{\"number\":\"\"}}",
                "an object",
            ),
            ("{\"metric\":\"m\",\"value\":1,\"fields\":[]}", "no object"),
            (
                "{\"metric\":\"m\",\"value\":1,\"fields\":{\"f\":[]}}",
                "\"f\"",
            ),
            (
                "{\"metric\":\"m\",\"value\":1,\"timestamp\":-1}",
                "timestamp",
            ),
            (
                "{\"metric\":\"m\",\"value\":1,\"timestamp\":1e300}",
                "timestamp",
            ),
            ("{\"metric\":\"m\",\"value\":1,\"feilds\":{}}", "feilds"),
            ("{\"log\":\"loud\",\"text\":\"\"}", "one of"),
            ("{\"log\":\"info\"}", "\"text\" is missing"),
            ("{\"sample\":\"failed\"}", "with a \"text\""),
            (
                "{\"metric\":\"m\",\"value\":1,\"id\":1}",
                "\"id\" is no string",
            ),
            ("{\"metric\":\"m\",\"value\":NaN}", "not JSON"),
            ("{\"metric\":\"m\",\"value\":1e999}", "not JSON"),
            ("{\"follow\":{\"parser\":\"p\"}}", "no \"path\""),
            ("{\"follow\":\"a.log\"}", "no object"),
            (
                "{\"follow\":{\"path\":\"a\",\"attributes\":{\"x\":[]}}}",
                "attribute \"x\"",
            ),
            (
                "{\"log_config\":{\"sampling_rules\":[]}}",
                "\"sampling_rules\" is not known",
            ),
        ] {
            let error = read(text.as_bytes()).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
        assert!(read(b"{\"message\":\"\xff\"}")
            .unwrap_err()
            .contains("UTF-8"));
        let deep = "[".repeat(100_000);
        assert!(read(deep.as_bytes()).is_err());
    }

    #[test]
    fn lines_are_put_together_and_endless_ones_skipped() {
        let mut lines = Lines::new(5);
        let mut seen = Vec::new();
        for chunk in ["ab", "c\r\nd\n\n", "123456", "789", "0\nok\n12345\n", "x"] {
            lines.feed(chunk.as_bytes(), |line| {
                seen.push(line.map(|line| String::from_utf8_lossy(line).into_owned()));
            });
        }
        let ok = |text: &str| Ok(text.to_owned());
        assert_eq!(
            seen,
            [
                ok("abc"),
                ok("d"),
                ok(""),
                Err(TooLong),
                ok("ok"),
                ok("12345")
            ]
        );
        assert_eq!(lines.finish(), Some(b"x".to_vec()));
        assert_eq!(lines.finish(), None);
    }
}
