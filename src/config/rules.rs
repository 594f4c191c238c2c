//! Rules within log entries: line groupers, sampling, redaction. They are
//! validated and kept. Regular expressions are compiled by the shape room: there is no engine below
//! this one.

use super::coerce;
use super::error::{ConfigError, Warnings, Wrong};
use super::fields::Fields;
use super::json::Json;

/// How a group of lines goes on after its first line; each holds a regular expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupEnd {
    /// With all directly following lines that match.
    ContinueThrough(String),
    /// With all directly following lines that match, and one more.
    ContinuePast(String),
    /// With all lines before the first that matches.
    HaltBefore(String),
    /// With all lines up to and including the first that matches.
    HaltWith(String),
}

/// Joins lines to one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineGrouper {
    /// Regular expression for the first line.
    pub start: String,
    /// How it goes on.
    pub end: GroupEnd,
}

/// Keeps a part of the lines that match.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplingRule {
    /// Regular expression for the lines.
    pub match_expression: String,
    /// How many of them are kept, 0 to 1.
    pub sampling_rate: f64,
}

/// Replaces what matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedactionRule {
    /// Regular expression for what is replaced.
    pub match_expression: String,
    /// The text in its place.
    pub replacement: String,
    /// Salt of hashed groups.
    pub hash_salt: String,
}

pub(crate) fn line_groupers(
    fields: &Fields,
    warnings: &mut Warnings,
) -> Result<Vec<LineGrouper>, ConfigError> {
    type Wrap = fn(String) -> GroupEnd;
    const ENDS: [(&str, Wrap); 4] = [
        ("continueThrough", GroupEnd::ContinueThrough),
        ("continuePast", GroupEnd::ContinuePast),
        ("haltBefore", GroupEnd::HaltBefore),
        ("haltWith", GroupEnd::HaltWith),
    ];
    let mut groupers = Vec::new();
    for rule in fields.children("lineGroupers")? {
        let known = ["start"].into_iter().chain(ENDS.map(|(name, _)| name));
        rule.warn_unknown(&known.collect::<Vec<_>>(), warnings);
        let start = rule.required("start")?;
        let mut ends = Vec::new();
        for (name, wrap) in ENDS {
            ends.extend(rule.text(name)?.map(wrap));
        }
        let end = match (ends.pop(), ends.is_empty()) {
            (Some(end), true) => end,
            _ => {
                let message =
                    "exactly one of continueThrough, continuePast, haltBefore, haltWith is needed";
                return Err(rule.error("start", Wrong::new("missingRequired", message)));
            }
        };
        groupers.push(LineGrouper { start, end });
    }
    Ok(groupers)
}

pub(crate) fn sampling(
    fields: &Fields,
    warnings: &mut Warnings,
) -> Result<Vec<SamplingRule>, ConfigError> {
    let mut rules = Vec::new();
    for rule in fields.children("sampling_rules")? {
        rule.warn_unknown(&["match_expression", "sampling_rate"], warnings);
        let match_expression = expression(&rule)?;
        let Some(rate) = rule.get("sampling_rate") else {
            return Err(rule.missing("sampling_rate"));
        };
        let sampling_rate = percentage(&rate.value)
            .map_err(|wrong| rule.error("sampling_rate", wrong).allowed("0 to 1"))?;
        rules.push(SamplingRule {
            match_expression,
            sampling_rate,
        });
    }
    Ok(rules)
}

pub(crate) fn redaction(
    fields: &Fields,
    warnings: &mut Warnings,
) -> Result<Vec<RedactionRule>, ConfigError> {
    let mut rules = Vec::new();
    for rule in fields.children("redaction_rules")? {
        rule.warn_unknown(&["match_expression", "replacement", "hash_salt"], warnings);
        rules.push(RedactionRule {
            match_expression: expression(&rule)?,
            replacement: rule.text("replacement")?.unwrap_or_default(),
            hash_salt: rule.text("hash_salt")?.unwrap_or_default(),
        });
    }
    Ok(rules)
}

/// A number is taken as its text; anything else that is no string is no expression.
fn expression(rule: &Fields) -> Result<String, ConfigError> {
    let name = "match_expression";
    match rule.get(name) {
        None => Err(rule.missing(name)),
        Some(node) => coerce::text(&node.value).map_err(|wrong| {
            let message = wrong.message;
            rule.error(name, Wrong::new("notRegexp", message))
                .allowed("a regular expression in a string")
        }),
    }
}

fn percentage(value: &Json) -> Result<f64, Wrong> {
    let number = coerce::float(value).map_err(|wrong| Wrong::new("notNumber", wrong.message))?;
    if (0.0..=1.0).contains(&number) {
        return Ok(number);
    }
    Err(Wrong::new(
        "notPercentage",
        format!("{number} is not between 0 and 1"),
    ))
}
