//! The reference pages of monitors, from their declarations: `docs/monitors/*.md`, and in plainer
//! dress what `scalyr-agent-2 monitors` prints.

use crate::monitor::{Cadence, Description, Log, Measure, MetricSpec};
use crate::options::{Default, Kind, OptionSpec, COMMON};
use std::fmt::Write as _;

/// The page of one monitor, in Markdown.
pub fn page(monitor: &Description) -> String {
    let mut text = format!(
        "# {}\n\nThis page is generated from the declarations of the monitor; `UPDATE_DOCS=1 cargo test --test\n\
         docs_are_current` rewrites it.\n\n{}\n\n- Module: `{}`\n- Log: {}\n- {}\n\n## Options\n\n",
        monitor.short_name(),
        monitor.text,
        monitor.module,
        log(monitor),
        cadence(monitor),
    );
    if !monitor.options.iter().any(|option| option.acted_on) {
        text.push_str("None of its own.\n");
    } else {
        text.push_str("| Option | Type | Default | Meaning |\n|---|---|---|---|\n");
        for option in monitor.options.iter().filter(|option| option.acted_on) {
            row(&mut text, option);
        }
    }
    text.push_str("\nBesides these it has [the options of all monitors](README.md#options-of-all-monitors).\n");
    if let Some(service) = monitor.service {
        let _ = write!(
            text,
            "\n## Example\n\n```\nmonitors: [ {} ]\n```\n\n## Rights\n\n{}\n",
            service.entry, service.grants
        );
    }
    if !monitor.metrics.is_empty() {
        text.push_str(
            "\n## Metrics\n\n| Metric | Fields | Kind | Unit | Meaning |\n|---|---|---|---|---|\n",
        );
        for metric in monitor.metrics {
            let _ = writeln!(
                text,
                "| `{}` | {} | {} | {} | {} |",
                metric.name,
                fields(metric),
                measure(metric),
                metric.unit,
                escape(metric.text)
            );
        }
    }
    let idle = monitor.options.iter().filter(|option| !option.acted_on);
    let rows: String = idle
        .map(|option| format!("| `{}` | {} |\n", option.name, escape(option.text)))
        .collect();
    if !rows.is_empty() {
        let _ = write!(
            text,
            "\n## Options without effect\n\nThese options of the Python agent's monitor are accepted, so that its files keep \
             working.\n\n<details>\n<summary>Options without effect</summary>\n\n| Option | Meaning |\n|---|---|\n{rows}\n\
             </details>\n"
        );
    }
    text
}

/// The page that leads to those of `all`, with the options that they share.
pub fn index(all: &[&Description]) -> String {
    let mut text = String::from(
        "# Monitors\n\nThis page is generated; `UPDATE_DOCS=1 cargo test --test docs_are_current` rewrites it.\n\n\
         An element of `monitors` in the configuration names its module, in full or by the last part of the name:\n\n\
         ```\nmonitors: [ { module: \"shell_monitor\", id: \"users\", command: \"who | wc -l\", sample_interval: 60 } ]\n```\n\n\
         | Monitor | What it does |\n|---|---|\n",
    );
    for monitor in all {
        let name = monitor.short_name();
        let first = first_sentence(monitor.text);
        let _ = writeln!(text, "| [{name}]({name}.md) | {} |", escape(first));
    }
    text.push_str(
        "\nA module that is none of these is looked for among the [plug-ins](../plugins.md).\n\n## Options of all \
         monitors\n\n| Option | Type | Default | Meaning |\n|---|---|---|---|\n| `module` | string | required | Which \
         monitor it is. |\n| `id` | string | its number, if there are several | The name of the instance: \
         `shell_monitor(users)`. |\n",
    );
    for option in COMMON {
        row(&mut text, option);
    }
    text
}

/// Each monitor and what it does, for a terminal of 80 columns.
pub fn list(all: &[&Description]) -> String {
    let width = all.iter().map(|m| m.short_name().len()).max().unwrap_or(0);
    let mut text = String::new();
    for monitor in all {
        let at = text.len();
        wrap(&mut text, width + 2, first_sentence(monitor.text));
        // Over the blanks of its first line
        let name = monitor.short_name();
        text.replace_range(at..at + name.len(), name);
    }
    text
}

/// All about one monitor, for a terminal of 80 columns.
pub fn terminal(monitor: &Description) -> String {
    shown(monitor, COMMON)
}

/// The same without the options that all monitors have.
pub fn terminal_alone(monitor: &Description) -> String {
    shown(monitor, &[])
}

/// The options that all monitors have, for a terminal of 80 columns.
pub fn common() -> String {
    let mut text = String::new();
    options(&mut text, COMMON);
    text
}

fn options(text: &mut String, options: &[OptionSpec]) {
    for option in options {
        let _ = writeln!(
            text,
            "  {} ({}{}; default: {})",
            option.name,
            kind(option.kind),
            bounds(option),
            default(&option.default)
        );
        wrap(text, 6, &meaning(option));
    }
}

fn shown(monitor: &Description, common: &[OptionSpec]) -> String {
    let mut text = String::new();
    wrap(&mut text, 0, monitor.text);
    let _ = writeln!(
        text,
        "\nModule: {}\nLog: {}",
        monitor.module,
        log(monitor).replace('`', "")
    );
    wrap(&mut text, 0, &cadence(monitor));
    for (title, list) in [
        ("\nOptions\n", monitor.options),
        ("\nOptions of all monitors\n", common),
    ] {
        if !list.is_empty() {
            text.push_str(title);
            options(&mut text, list);
        }
    }
    if let Some(service) = monitor.service {
        text.push_str("\nExample\n");
        wrap(&mut text, 2, service.entry);
        text.push_str("\nRights\n");
        wrap(&mut text, 2, service.grants);
    }
    if !monitor.metrics.is_empty() {
        text.push_str("\nMetrics\n");
        for metric in monitor.metrics {
            let unit = if metric.unit.is_empty() { "" } else { ", " };
            let _ = writeln!(
                text,
                "  {}{} ({}{unit}{})",
                metric.name,
                metric
                    .fields
                    .iter()
                    .map(|f| format!(" {f}"))
                    .collect::<String>(),
                measure(metric),
                metric.unit
            );
            wrap(&mut text, 6, metric.text);
        }
    }
    text
}

fn log(monitor: &Description) -> String {
    match monitor.log {
        Log::Metrics { parser, .. } => {
            format!("`{}.log`, parser `{parser}`", monitor.short_name())
        }
        Log::Own(_) => "files of its own, see its options".to_owned(),
    }
}

fn cadence(monitor: &Description) -> String {
    let limit = match monitor.write_limit {
        (rate, burst) if rate >= 0 && burst >= 0 => {
            format!(
                "Its log takes {rate} bytes per second and {burst} at once, unless set otherwise."
            )
        }
        _ => "What it writes is not limited, unless set otherwise.".to_owned(),
    };
    let when = match monitor.cadence {
        Cadence::Sampled => {
            "It samples once per `sample_interval`, first after a random part of it."
        }
        Cadence::AtOnce => "It samples once per `sample_interval`, first at the start.",
        Cadence::Serving => "It runs all the time.",
    };
    format!("{when} {limit}")
}

fn row(text: &mut String, option: &OptionSpec) {
    let _ = writeln!(
        text,
        "| `{}` | {}{} | {} | {} |",
        option.name,
        kind(option.kind),
        bounds(option),
        escape(&default(&option.default)),
        escape(&meaning(option))
    );
}

fn meaning(option: &OptionSpec) -> String {
    match option.acted_on {
        true => option.text.to_owned(),
        false => format!("{} It has no effect here.", option.text),
    }
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "string",
        Kind::Bool => "bool",
        Kind::Int => "int",
        Kind::Float => "float",
        Kind::Strings => "strings",
        Kind::Array => "array",
        Kind::Object => "object",
        Kind::Any => "any",
    }
}

fn bounds(option: &OptionSpec) -> String {
    match (option.min, option.max) {
        (Some(min), Some(max)) => format!(", {min} to {max}"),
        (Some(min), None) => format!(", {min} or more"),
        (None, Some(max)) => format!(", {max} at most"),
        (None, None) => String::new(),
    }
}

fn default(default: &Default) -> String {
    match default {
        Default::Required => "required".to_owned(),
        Default::None => "unset".to_owned(),
        Default::Text(text) => serde_json::Value::from(*text).to_string(),
        Default::Bool(yes) => yes.to_string(),
        Default::Int(n) => n.to_string(),
        Default::Float(x) => x.to_string(),
        Default::Strings(list) => serde_json::Value::from(list.to_vec()).to_string(),
        Default::EmptyObject => "{}".to_owned(),
    }
}

fn measure(metric: &MetricSpec) -> &'static str {
    match metric.measure {
        Measure::Gauge => "gauge",
        Measure::Counter => "counter",
    }
}

fn fields(metric: &MetricSpec) -> String {
    let quoted: Vec<String> = metric.fields.iter().map(|f| format!("`{f}`")).collect();
    quoted.join(", ")
}

/// A table's cell ends at `|`.
fn escape(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

fn first_sentence(text: &str) -> &str {
    text.find(". ").map_or(text, |at| &text[..=at])
}

/// Appends words in lines of at most 78 columns.
fn wrap(text: &mut String, indent: usize, words: &str) {
    let mut column = 0;
    for word in words.split_whitespace() {
        let length = word.chars().count();
        if column == 0 {
            let _ = write!(text, "{:indent$}{word}", "");
            column = indent + length;
        } else if column + 1 + length > 78 {
            let _ = write!(text, "\n{:indent$}{word}", "");
            column = indent + length;
        } else {
            let _ = write!(text, " {word}");
            column += 1 + length;
        }
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_fits_the_terminal_and_names_each_monitor_first() {
        let shown = list(crate::registry::ALL);
        assert!(
            shown.lines().all(|line| line.chars().count() <= 78),
            "{shown}"
        );
        for monitor in crate::registry::ALL {
            let begins = |line: &str| line.starts_with(&format!("{} ", monitor.short_name()));
            assert_eq!(
                shown.lines().filter(|line| begins(line)).count(),
                1,
                "{shown}"
            );
        }
    }

    #[test]
    fn every_option_and_metric_is_on_the_page_and_fits_the_terminal() {
        for monitor in crate::registry::ALL {
            let page = page(monitor);
            let shown = terminal(monitor);
            for option in monitor.options {
                assert!(page.contains(&format!("| `{}` |", option.name)));
                assert!(shown.contains(option.name));
            }
            for metric in monitor.metrics {
                assert!(page.contains(&format!("| `{}` |", metric.name)));
            }
            // a name or default that is too long by itself may stand out
            let wide = shown.lines().filter(|l| l.starts_with("      "));
            for line in wide.filter(|l| l.trim().contains(' ')) {
                assert!(line.chars().count() <= 78, "{line}");
            }
        }
        assert!(
            index(crate::registry::ALL).contains("[linux_system_metrics](linux_system_metrics.md)")
        );
    }
}
