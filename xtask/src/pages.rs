//! The reference as manual pages: `agent.json(5)` and `scalyr-agent-2-monitors(7)`. The words are those that the
//! declarations have for `docs/` and for the command `monitors`; nothing is there twice.

use crate::man::{escaped, head, see_also};
use monitors::{reference, registry};
use scalyr_agent_2::cli::{CONFIG_PROGRAM, PROGRAM};
use scalyr_agent_2::config::reference as config;

pub const CONFIGURATION: &str = "agent.json";
pub const MONITORS: &str = "scalyr-agent-2-monitors";

/// `agent.json(5)`.
pub fn configuration() -> String {
    let mut text = head(CONFIGURATION, 5, "configuration of scalyr-agent-2");
    text.push_str(".SH DESCRIPTION\n");
    for line in config::FILES.lines() {
        paragraph(&mut text, line);
    }
    config::entries(&mut |title, name, facts, meaning| match name {
        "" => section(&mut text, ".SH", title),
        _ => tagged(&mut text, name, facts, meaning),
    });
    see_also(
        &mut text,
        &[(PROGRAM, 8), (CONFIG_PROGRAM, 8), (MONITORS, 7)],
    );
    text
}

/// `scalyr-agent-2-monitors(7)`.
pub fn monitors() -> String {
    let mut text = head(MONITORS, 7, "monitors of scalyr-agent-2");
    text.push_str(
        ".SH DESCRIPTION\n\
         An element of the list\n.I monitors\nof the configuration names its module, in full or by the last part of the name.\n",
    );
    section(&mut text, ".SH", "Options of all monitors");
    from_terminal(&mut text, &reference::common());
    for monitor in registry::ALL {
        section(&mut text, ".SH", monitor.short_name());
        from_terminal(&mut text, &reference::terminal_alone(monitor));
    }
    see_also(&mut text, &[(PROGRAM, 8), (CONFIGURATION, 5)]);
    text
}

fn section(text: &mut String, request: &str, title: &str) {
    text.push_str(request);
    text.push(' ');
    text.push_str(&escaped(&title.replace('`', "")));
    text.push('\n');
}

/// A line of running text; an empty one ends a paragraph.
fn paragraph(text: &mut String, line: &str) {
    if line.is_empty() {
        text.push_str(".PP");
    }
    mark(text, line);
    text.push('\n');
}

/// A name with facts in parentheses, and below it its meaning.
fn tagged(text: &mut String, name: &str, facts: &str, meaning: &str) {
    text.push_str(".TP\n\\fB");
    mark(text, name);
    text.push_str("\\fR ");
    paragraph(text, facts);
    if !meaning.is_empty() {
        paragraph(text, meaning);
    }
}

/// The text for a terminal: what is named stands two blanks in, its meaning six.
fn from_terminal(text: &mut String, shown: &str) {
    let mut is_own_line = false;
    for line in shown.lines() {
        let bare = line.trim_start();
        match line.len() - bare.len() {
            _ if bare.is_empty() => {}
            0 if matches!(bare, "Options" | "Metrics") => section(text, ".SS", bare),
            2 => {
                let (name, facts) = bare.split_once(' ').unwrap_or((bare, ""));
                tagged(text, name, facts, "");
            }
            _ => {
                let is_fact = bare.starts_with("Module: ") || bare.starts_with("Log: ");
                if is_fact || is_own_line {
                    text.push_str(".br\n");
                }
                is_own_line = is_fact;
                paragraph(text, bare);
            }
        }
    }
}

/// Appends words whose `code` is to be in italics.
fn mark(text: &mut String, words: &str) {
    for (n, part) in words.split('`').enumerate() {
        if n > 0 {
            text.push_str(["\\fR", "\\fI"][n % 2]);
        }
        text.push_str(&escaped(part));
    }
}
