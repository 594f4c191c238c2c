//! Which metrics and labels are written: shell patterns for names and for the values of labels.

use super::text::Label;
use crate::monitor::Setup;
use crate::wildcard::matches;
use crate::Error;
use serde_json::Value as Json;

/// The rules of one monitor.
#[derive(Debug)]
pub struct Rules {
    include: Vec<String>,
    exclude: Vec<String>,
    include_values: Vec<ValueRule>,
    exclude_values: Vec<ValueRule>,
    labels: Vec<String>,
    no_labels: Vec<String>,
}

/// Patterns for the values of one metric's labels.
#[derive(Debug)]
struct ValueRule {
    /// The name of the metric, or `*` for those without a rule of their own.
    metric: String,
    labels: Vec<(String, Vec<String>)>,
}

impl Rules {
    /// By the options.
    ///
    /// # Errors
    /// An option is not of its form.
    pub fn new(setup: &Setup) -> Result<Self, Error> {
        let list = |name| setup.options.strings(name).to_vec();
        let values = |name| value_rules(name, setup.options.json(name));
        Ok(Rules {
            include: list("metric_name_include_list"),
            exclude: list("metric_name_exclude_list"),
            include_values: values("metric_component_value_include_list")?,
            exclude_values: values("metric_component_value_exclude_list")?,
            labels: list("label_include_list"),
            no_labels: list("label_exclude_list"),
        })
    }

    /// Whether a metric of this name, as it is written, is wanted. As in the Python agent, excluded
    /// names come first; a label's value that is included outweighs the included names.
    pub fn wants(&self, name: &str, labels: &[Label]) -> bool {
        !any(&self.exclude, name)
            && !any_value(&self.exclude_values, name, labels)
            && (any_value(&self.include_values, name, labels) || any(&self.include, name))
    }

    /// Whether a label of this name is written.
    pub fn wants_label(&self, name: &str) -> bool {
        any(&self.labels, name) && !any(&self.no_labels, name)
    }
}

fn any(patterns: &[String], text: &str) -> bool {
    patterns.iter().any(|pattern| matches(pattern, text))
}

fn any_value(rules: &[ValueRule], name: &str, labels: &[Label]) -> bool {
    let of = |metric: &str| rules.iter().find(|rule| rule.metric == metric);
    of(name).or_else(|| of("*")).is_some_and(|rule| {
        rule.labels.iter().any(|(label, patterns)| {
            let found = labels.iter().rev().find(|(name, _)| name == label);
            any(patterns, found.map_or("", |(_, value)| value))
        })
    })
}

fn value_rules(option: &'static str, json: &Json) -> Result<Vec<ValueRule>, Error> {
    let wrong = || {
        Error::of_option(
            option,
            format!("Field \"{option}\" must be an object such as {{\"metric or *\": {{\"label\": [\"pattern\"]}}}}"),
        )
    };
    let Json::Object(metrics) = json else {
        return if json.is_null() {
            Ok(Vec::new())
        } else {
            Err(wrong())
        };
    };
    let mut rules = Vec::new();
    for (metric, labels) in metrics {
        let mut rule = ValueRule {
            metric: metric.clone(),
            labels: Vec::new(),
        };
        for (label, patterns) in labels.as_object().ok_or_else(wrong)? {
            let patterns = patterns.as_array().ok_or_else(wrong)?;
            let patterns = patterns
                .iter()
                .map(|pattern| pattern.as_str().map(str::to_owned));
            let patterns: Option<Vec<String>> = patterns.collect();
            rule.labels
                .push((label.clone(), patterns.ok_or_else(wrong)?));
        }
        rules.push(rule);
    }
    Ok(rules)
}
