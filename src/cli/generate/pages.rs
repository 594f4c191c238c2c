//! The reference pages as manual pages: `agent.json(5)` and `scalyr-agent-2-monitors(7)`. Their text is that of
//! `docs/configuration.md` and `docs/monitors/`, which the declarations give in Markdown.

use super::man::{escaped, head, see_also};
use crate::cli::decl::{CONFIG_PROGRAM, PROGRAM};
use monitors::{reference, registry};
use std::fmt::Write;

pub(super) const CONFIGURATION: &str = "agent.json";
pub(super) const MONITORS: &str = "scalyr-agent-2-monitors";

/// `agent.json(5)`.
pub(super) fn configuration() -> String {
    let mut text = head(CONFIGURATION, 5, "configuration of scalyr-agent-2");
    text.push_str(".SH DESCRIPTION\nThe options, with type, default, and the variable of the environment that can stand for each.\n");
    from_markdown(&mut text, &crate::config::reference(), 0);
    see_also(
        &mut text,
        &[(PROGRAM, 8), (CONFIG_PROGRAM, 8), (MONITORS, 7)],
    );
    text
}

/// `scalyr-agent-2-monitors(7)`.
pub(super) fn monitors() -> String {
    let mut text = head(MONITORS, 7, "monitors of scalyr-agent-2");
    text.push_str(".SH DESCRIPTION\n");
    from_markdown(&mut text, &reference::index(registry::ALL), 0);
    for monitor in registry::ALL {
        let _ = writeln!(text, ".SH {}", escaped(monitor.short_name()));
        from_markdown(&mut text, &reference::page(monitor), 1);
    }
    see_also(&mut text, &[(PROGRAM, 8), (CONFIGURATION, 5)]);
    text
}

/// Appends a reference page without its title and without the paragraph that says how it is made. Headings
/// are sections, or subsections with a `level` of 1. A row of a table is a tagged paragraph: the first cell
/// is the tag, the last one the text, and those between stand before it with the names of their columns.
fn from_markdown(text: &mut String, page: &str, level: usize) {
    let mut header: Vec<String> = Vec::new();
    let lines = page
        .lines()
        .skip_while(|line| !line.starts_with("This page"));
    let mut is_kept = false;
    // A paragraph begins here; right behind a heading that goes without saying
    let (mut is_new, mut is_first) = (false, true);
    for line in lines.skip_while(|line| !line.is_empty()) {
        if line.is_empty() {
            header.clear();
            is_new = !is_first;
            continue;
        }
        let title = line.strip_prefix("## ");
        let item = line.strip_prefix("- ");
        let is_row = line.starts_with('|');
        if is_new && !is_kept && title.or(item).is_none() && !is_row {
            text.push_str(".PP\n");
        }
        (is_new, is_first) = (false, title.is_some());
        if line.starts_with("```") {
            is_kept = !is_kept;
            text.push_str(if is_kept { ".nf\n" } else { ".fi\n" });
        } else if is_kept {
            let _ = writeln!(text, "{}", escaped(line));
        } else if let Some(title) = title {
            let _ = writeln!(text, "{} {}", [".SH", ".SS"][level], plain(title));
        } else if is_row {
            row(text, &mut header, line);
        } else if let Some(item) = item {
            let _ = writeln!(text, ".IP \\(bu 2\n{}", marked(item));
        } else if !line.starts_with('<') {
            let _ = writeln!(text, "{}", marked(line));
        }
    }
}

/// A line of a table. `header` has the names of the columns once the first line was seen.
fn row(text: &mut String, header: &mut Vec<String>, line: &str) {
    let line = line.replace("\\|", "\u{1}");
    let cells = line.trim_matches('|').split('|');
    let cells: Vec<String> = cells
        .map(|cell| cell.trim().replace('\u{1}', "|"))
        .collect();
    if header.is_empty() {
        *header = cells;
        return;
    }
    if cells[0].starts_with("---") {
        return;
    }
    let _ = writeln!(text, ".TP\n{}", marked(&cells[0]).replace("\\fI", "\\fB"));
    let last = cells.len() - 1;
    for (name, cell) in header.iter().zip(&cells).take(last).skip(1) {
        if !cell.is_empty() {
            let _ = writeln!(text, "{}: {}.", plain(name), marked(cell));
        }
    }
    if last > 1 {
        text.push_str(".br\n");
    }
    let meaning = match cells[last].split_once("*No effect:") {
        Some((before, why)) => format!("{before}No effect:{}", why.trim_end_matches('*')),
        None => cells[last].clone(),
    };
    let _ = writeln!(text, "{}", marked(&meaning));
}

/// Text without marks of Markdown.
fn plain(text: &str) -> String {
    escaped(&text.replace('`', ""))
}

/// Text whose `code` is in italics; a link is its text alone.
fn marked(text: &str) -> String {
    let mut out = String::new();
    for (n, part) in text.split('`').enumerate() {
        if n % 2 == 1 {
            let _ = write!(out, "\\fI{}\\fR", escaped(part));
            continue;
        }
        let mut rest = part;
        while let Some((before, link)) = rest.split_once("](") {
            let _ = write!(out, "{}", escaped(&before.replacen('[', "", 1)));
            rest = link.split_once(')').map_or("", |(_, after)| after);
        }
        out.push_str(&escaped(rest));
    }
    out
}
