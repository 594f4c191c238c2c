//! Entries of `logs[]`, `journald_logs[]` and `k8s_logs[]`.

use std::path::{Path, PathBuf};

use super::attr::AttrValue;
use super::error::{ConfigError, Place, Unused, Warnings, Wrong};
use super::fields::Fields;
use super::json::{Json, Member, Node, Pos};
use super::rename::{Rename, Template};
use super::rules::{self, LineGrouper, RedactionRule, SamplingRule};

/// The origin of the log that an entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// The operator's.
    Configured,
    /// One of the agent's own logs.
    AgentLog,
    /// A log that a monitor writes.
    MonitorLog,
}

/// How the lines of a log are parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ParseFormat {
    /// Not at all.
    #[default]
    Raw,
    /// Each line is a JSON object.
    Json,
    /// The Kubernetes line format.
    Cri,
}

/// Where an entry stands, and each text of its rules. No part of what it says: an entry that moved
/// within its file is the same entry.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// The entry; none for one that nobody wrote.
    pub place: Option<Place>,
    /// The way to it: `logs[2]`.
    path: String,
    /// Texts by their way within the entry, such as `redaction_rules[1].match_expression`.
    texts: Vec<(String, Pos)>,
}

impl Origin {
    fn of(fields: &Fields) -> Result<Origin, ConfigError> {
        let mut texts = Vec::new();
        let note = |texts: &mut Vec<(String, Pos)>, list: &str, members: &[Member]| {
            let at = |member: &Member| (format!("{list}.{}", member.key), member.value.at);
            texts.extend(members.iter().map(at));
        };
        for list in ["lineGroupers", "sampling_rules", "redaction_rules"] {
            for (index, rule) in fields.children(list)?.iter().enumerate() {
                note(&mut texts, &format!("{list}[{index}]"), rule.members);
            }
        }
        for name in ["rename_logfile", "journald_unit"] {
            match fields.get(name) {
                Some(Node {
                    value: Json::Object(members),
                    ..
                }) => note(&mut texts, name, members),
                Some(node) => texts.push((name.to_owned(), node.at)),
                None => {}
            }
        }
        Ok(Origin {
            place: Some(fields.place("")),
            path: fields.path.clone(),
            texts,
        })
    }

    /// An error about a text of the entry's rules, such as `redaction_rules[1].match_expression`.
    /// `message` is a phrase.
    pub fn error(&self, text: &str, code: &'static str, message: &str) -> ConfigError {
        let error = ConfigError::new(code, message).option(format!("{}.{text}", self.path));
        let known = self.texts.iter().find(|(name, _)| name == text);
        match (&self.place, known) {
            (Some(Place::At(file, _)), Some((_, at))) => error.at(Place::At(file.clone(), *at)),
            (Some(place), _) => error.at(place.clone()),
            (None, _) => error,
        }
    }
}

impl PartialEq for Origin {
    fn eq(&self, _: &Origin) -> bool {
        true
    }
}

/// One validated entry: which files to copy, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct LogEntry {
    /// Absolute path or glob pattern.
    pub path: PathBuf,
    /// True if the path holds `*`, `?` or `[`.
    pub is_glob: bool,
    /// Shell patterns; a file whose full path matches one is left out.
    pub exclude: Vec<String>,
    /// Sent with every event of the file; holds `parser` if one is set.
    pub attributes: Vec<(String, AttrValue)>,
    /// The name to report in place of the path.
    pub rename_logfile: Option<Rename>,
    /// A file without a checkpoint is read from its first byte.
    pub copy_from_start: bool,
    /// Leave files out that were not modified recently.
    pub ignore_stale_files: bool,
    /// The age in seconds from which on a file is not recent.
    pub staleness_threshold_secs: f64,
    /// Least seconds between two looks at a file; the global option unless set here.
    pub minimum_scan_interval: Option<i64>,
    /// Links that wildcards match are followed whoever made them; the global option unless set here.
    pub follow_foreign_links: bool,
    /// The worker that uploads the file; always one that exists.
    pub worker_id: String,
    /// The origin of the log.
    pub kind: EntryKind,
    /// Where it stands.
    pub origin: Origin,
    /// Format of the lines.
    pub parse_format: ParseFormat,
    /// Member with the text in the `json` format.
    pub json_message_field: String,
    /// Member with the time in the `json` format.
    pub json_timestamp_field: String,
    /// Multi-line grouping.
    pub line_groupers: Vec<LineGrouper>,
    /// Sampling.
    pub sampling_rules: Vec<SamplingRule>,
    /// Redaction.
    pub redaction_rules: Vec<RedactionRule>,
}

impl LogEntry {
    /// An entry with every option at its default.
    pub fn new(path: PathBuf, kind: EntryKind) -> Self {
        let is_glob = path
            .as_os_str()
            .as_encoded_bytes()
            .iter()
            .any(|b| matches!(b, b'*' | b'?' | b'['));
        LogEntry {
            path,
            is_glob,
            exclude: Vec::new(),
            attributes: Vec::new(),
            rename_logfile: None,
            copy_from_start: false,
            ignore_stale_files: false,
            staleness_threshold_secs: 300.0,
            minimum_scan_interval: None,
            follow_foreign_links: false,
            worker_id: "default".to_owned(),
            kind,
            origin: Origin::default(),
            parse_format: ParseFormat::Raw,
            json_message_field: "log".to_owned(),
            json_timestamp_field: "time".to_owned(),
            line_groupers: Vec::new(),
            sampling_rules: Vec::new(),
            redaction_rules: Vec::new(),
        }
    }

    /// Sets the `parser` attribute.
    pub fn with_parser(mut self, parser: &str) -> Self {
        let value = AttrValue::Text(parser.to_owned());
        match self.attributes.iter_mut().find(|(key, _)| key == "parser") {
            Some((_, old)) => *old = value,
            None => self.attributes.push(("parser".to_owned(), value)),
        }
        self
    }
}

/// An entry of `journald_logs`.
#[derive(Debug, Clone, PartialEq)]
pub struct JournaldLog {
    /// Regular expression for the start of the unit's name.
    pub unit: Option<String>,
    /// Journal fields and the shell patterns that they have to match.
    pub globs: Vec<(String, String)>,
    /// The text of an entry stands unquoted in its line.
    pub emit_raw_details: bool,
    /// Texts that are in quotes already get no further ones.
    pub detect_escaped_strings: bool,
    /// The members that it shares with `logs`; the path says nothing.
    pub entry: LogEntry,
}

/// An entry of `k8s_logs`. Kept, not acted on.
#[derive(Debug, Clone, PartialEq)]
pub struct K8sLog {
    /// Shell pattern for the pod.
    pub pod_glob: String,
    /// Shell pattern for the namespace.
    pub namespace_glob: String,
    /// Shell pattern for the container.
    pub container_glob: String,
    /// The members that it shares with `logs`; the path says nothing.
    pub entry: LogEntry,
}

/// The parts of the configuration on which entries depend.
pub(crate) struct Context<'a> {
    pub(crate) log_dir: &'a Path,
    pub(crate) minimum_scan_interval: Option<i64>,
    pub(crate) follow_foreign_links: bool,
    pub(crate) worker_ids: &'a [&'a str],
}

/// Name, type, default and meaning of a member of an entry, for the reference page.
pub(crate) type MemberDoc = (&'static str, &'static str, &'static str, &'static str);

/// The members that the three kinds of entries share.
pub(crate) const SHARED: &[MemberDoc] = &[
    ("exclude", "strings", "[]", "Shell patterns; files whose full path matches one are left out. `*` also matches `/` here."),
    ("attributes", "object", "{}", "Strings and numbers to send with every event of the file."),
    ("parser", "string", "unset", "The `parser` attribute; wins over one in `attributes`."),
    ("rename_logfile", "string or object", "unset", "Name to report in place of the path: a template with `$PATH1`, `$PATH2`, ..., `$BASENAME`, `$BASENAME_NO_EXT` and `$$`; or `{match, replacement}`, a regular expression."),
    ("copy_from_start", "bool", "false", "Read a file without a checkpoint from its first byte; else from its end."),
    ("ignore_stale_files", "bool", "false", "Leave files out that were not modified recently."),
    ("staleness_threshold_secs", "float, 0 or more", "300.0", "What \"recently\" means."),
    ("minimum_scan_interval", "int, 0 to 86400", "the global option", "Least seconds between two looks at a file."),
    ("follow_foreign_links", "bool", "the global option", "Follow links that wildcards of the path lead to, whoever made them."),
    ("parse_format", "raw, json, cri", "raw", "Format of the lines: as they are, one JSON object each, or that of Kubernetes' container runtimes."),
    ("parse_lines_as_json", "bool", "unset", "Older switch: true is `json`, false is `raw`."),
    ("json_message_field", "string", "log", "Member that holds the text in the `json` format."),
    ("json_timestamp_field", "string", "time", "Member that holds the time in the `json` format."),
    ("lineGroupers", "array", "[]", "Objects with `start` and exactly one of `continueThrough`, `continuePast`, `haltBefore`, `haltWith`."),
    ("redaction_rules", "array", "[]", "Objects with `match_expression`, `replacement` and `hash_salt`."),
    ("sampling_rules", "array", "[]", "Objects with `match_expression` and `sampling_rate` (0 to 1)."),
    ("worker_id", "string", "default", "The worker that uploads the file. Older name: `api_key_id`."),
];

/// Their names alone: a program that makes no page does not hold the rest.
static SHARED_NAMES: [&str; SHARED.len()] = {
    let mut names = [""; SHARED.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = SHARED[at].0;
        at += 1;
    }
    names
};

/// Members without a line on the reference page.
const SILENT: &[&str] = &["api_key_id", "rename_no_original"];

fn known<'a>(own: &[&'a str]) -> Vec<&'a str> {
    own.iter()
        .copied()
        .chain(SHARED_NAMES.iter().copied())
        .chain(SILENT.iter().copied())
        .collect()
}

/// Reads an entry of `logs`.
pub(crate) fn log(
    fields: &Fields,
    context: &Context,
    warnings: &mut Warnings,
) -> Result<LogEntry, ConfigError> {
    fields.warn_unknown(&known(&["path"]), warnings);
    let path = fields.required("path")?;
    if path.trim().is_empty() || path.contains('\0') {
        let wrong = Wrong::new("invalidValue", "the path is empty or holds a NUL");
        return Err(fields.error("path", wrong));
    }
    shared(fields, context.log_dir.join(path), context, warnings)
}

/// Reads an entry of `journald_logs`.
pub(crate) fn journald(
    fields: &Fields,
    context: &Context,
    warnings: &mut Warnings,
) -> Result<JournaldLog, ConfigError> {
    const OWN: &[&str] = &[
        "journald_unit",
        "journald_globs",
        "emit_raw_details",
        "detect_escaped_strings",
    ];
    fields.warn_unknown(&known(OWN), warnings);
    let unit = fields.text("journald_unit")?;
    let globs: Vec<_> = fields
        .attributes("journald_globs")?
        .into_iter()
        .map(|(field, glob)| match glob {
            AttrValue::Text(text) | AttrValue::Number(text) => (field, text),
        })
        .collect();
    if unit.is_some() && fields.get("journald_globs").is_some() {
        let message = "\"journald_unit\" and \"journald_globs\" exclude each other";
        return Err(fields.error("journald_globs", Wrong::new("invalidConfigError", message)));
    }
    let path = context.log_dir.join("journald_monitor.log");
    Ok(JournaldLog {
        unit,
        globs,
        emit_raw_details: fields.boolean("emit_raw_details")?.unwrap_or(false),
        detect_escaped_strings: fields.boolean("detect_escaped_strings")?.unwrap_or(false),
        entry: shared(fields, path, context, warnings)?,
    })
}

/// Reads an entry of `k8s_logs`.
pub(crate) fn k8s(
    fields: &Fields,
    context: &Context,
    warnings: &mut Warnings,
) -> Result<K8sLog, ConfigError> {
    const GLOBS: &[&str] = &["k8s_pod_glob", "k8s_namespace_glob", "k8s_container_glob"];
    fields.warn_unknown(&known(GLOBS), warnings);
    let glob = |name| Ok(fields.text(name)?.unwrap_or_else(|| "*".to_owned()));
    Ok(K8sLog {
        pod_glob: glob(GLOBS[0])?,
        namespace_glob: glob(GLOBS[1])?,
        container_glob: glob(GLOBS[2])?,
        entry: shared(fields, PathBuf::new(), context, warnings)?,
    })
}

fn shared(
    fields: &Fields,
    path: PathBuf,
    context: &Context,
    warnings: &mut Warnings,
) -> Result<LogEntry, ConfigError> {
    let mut entry = LogEntry::new(path, EntryKind::Configured);
    entry.exclude = fields.strings("exclude")?;
    entry.attributes = fields.attributes("attributes")?;
    if let Some(parser) = fields.text("parser")? {
        entry = entry.with_parser(&parser);
    }
    entry.rename_logfile = rename(fields, warnings)?;
    entry.copy_from_start = fields.boolean("copy_from_start")?.unwrap_or(false);
    entry.ignore_stale_files = fields.boolean("ignore_stale_files")?.unwrap_or(false);
    if let Some(seconds) = fields.float("staleness_threshold_secs")? {
        entry.staleness_threshold_secs = seconds;
    }
    entry.minimum_scan_interval = fields
        .int("minimum_scan_interval", 0, 86_400)?
        .or(context.minimum_scan_interval);
    entry.follow_foreign_links = fields
        .boolean("follow_foreign_links")?
        .unwrap_or(context.follow_foreign_links);
    entry.parse_format = parse_format(fields)?;
    if let Some(name) = fields.text("json_message_field")? {
        entry.json_message_field = name;
    }
    if let Some(name) = fields.text("json_timestamp_field")? {
        entry.json_timestamp_field = name;
    }
    entry.line_groupers = rules::line_groupers(fields, warnings)?;
    entry.sampling_rules = rules::sampling(fields, warnings)?;
    entry.redaction_rules = rules::redaction(fields, warnings)?;
    entry.worker_id = worker_id(fields, context, warnings)?;
    entry.origin = Origin::of(fields)?;
    Ok(entry)
}

fn rename(fields: &Fields, warnings: &mut Warnings) -> Result<Option<Rename>, ConfigError> {
    let Some(node) = fields.get("rename_logfile") else {
        return Ok(None);
    };
    match &node.value {
        Json::Text(text) => match Template::new(text) {
            Ok(_) if text.is_empty() => {
                rename_ignored(fields, "it is empty", warnings);
                Ok(None)
            }
            Ok(template) => Ok(Some(Rename::Template(template))),
            // No error: such files keep their own name in the reference.
            Err(message) => {
                rename_ignored(fields, &message, warnings);
                Ok(None)
            }
        },
        Json::Object(members) => {
            let text = |name: &str| match members.iter().find(|m| m.key == name) {
                None => Ok(None),
                Some(member) => super::coerce::text(&member.value.value)
                    .map(Some)
                    .map_err(|wrong| fields.error("rename_logfile", wrong)),
            };
            let (Some(pattern), Some(replacement)) = (text("match")?, text("replacement")?) else {
                let message = "\"match\" and \"replacement\" are both needed";
                return Err(fields.error("rename_logfile", Wrong::new("missingRequired", message)));
            };
            Ok(Some(Rename::Regex {
                pattern,
                replacement,
            }))
        }
        other => {
            let message = format!("this is {}", super::coerce::shown(other));
            Err(fields
                .error("rename_logfile", Wrong::new("wrongType", message))
                .allowed("a template string, or an object with match and replacement"))
        }
    }
}

fn rename_ignored(fields: &Fields, why: &str, warnings: &mut Warnings) {
    let place = fields.place("rename_logfile");
    warnings.unused(Unused {
        name: format!("{}.rename_logfile", fields.path),
        place,
        why: why.to_owned(),
        is_missed: false,
    });
}

fn parse_format(fields: &Fields) -> Result<ParseFormat, ConfigError> {
    let named = match fields.text("parse_format")?.as_deref() {
        None | Some("raw") => ParseFormat::Raw,
        Some("json") => ParseFormat::Json,
        Some("cri") => ParseFormat::Cri,
        Some(other) => {
            let message = format!("{} is not a format", super::coerce::quoted(other));
            return Err(fields
                .error("parse_format", Wrong::new("invalidValue", message))
                .allowed("raw, json, cri"));
        }
    };
    Ok(match fields.boolean("parse_lines_as_json")? {
        Some(true) => ParseFormat::Json,
        Some(false) => ParseFormat::Raw,
        None => named,
    })
}

fn worker_id(
    fields: &Fields,
    context: &Context,
    warnings: &mut Warnings,
) -> Result<String, ConfigError> {
    let mut name = "worker_id";
    if fields.get(name).is_none() && fields.get("api_key_id").is_some() {
        name = "api_key_id";
        let place = fields.place(name);
        warnings.daily(
            "deprecated api_key_id",
            format!("{place}: option \"api_key_id\" is now called \"worker_id\""),
        );
    }
    let id = fields.text(name)?.unwrap_or_else(|| "default".to_owned());
    if context.worker_ids.contains(&id.as_str()) {
        return Ok(id);
    }
    let mut known = context.worker_ids.to_vec();
    crate::util::sort::plainly(&mut known);
    let message = format!("there is no worker {}", super::coerce::quoted(&id));
    Err(fields
        .error(name, Wrong::new("invalidWorkerReference", message))
        .allowed(known.join(", ")))
}

/// The entries for the agent's own logs, which come after the operator's.
pub(crate) fn implicit(context: &Context) -> Vec<LogEntry> {
    let entry = |name: &str| LogEntry {
        minimum_scan_interval: context.minimum_scan_interval,
        ..LogEntry::new(context.log_dir.join(name), EntryKind::AgentLog)
            .with_parser("scalyrAgentLog")
    };
    vec![
        entry("agent.log"),
        LogEntry {
            exclude: vec!["*agent-worker-session-*_debug.log".to_owned()],
            ..entry("agent-worker-session-*.log")
        },
    ]
}
