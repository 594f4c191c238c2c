//! Usage lines and help, made of the declarations so that each fits a screen of 24 lines and 80
//! columns.

use super::commands::COMMANDS;
use super::decl::{Command, Opt, CONFIG_PROGRAM, PROGRAM};
use std::fmt::Write;

/// The first lines of the help and of a usage error. `by_name`: the program runs as the
/// configuration tool.
pub(super) fn usage(command: Option<&Command>, by_name: bool) -> String {
    match command {
        // Scripts look for this line.
        None => format!(
            "usage: {PROGRAM} [options] ({})\n",
            classic_names().join("|")
        ),
        Some(_) if by_name => format!("usage: {CONFIG_PROGRAM} [options]\n"),
        Some(command) => {
            let mut line = format!("usage: {PROGRAM} {}", command.name);
            if command.options.len() > 1 {
                line.push_str(" [options]");
            }
            if !command.operands.usage.is_empty() {
                line.push(' ');
                line.push_str(command.operands.usage);
            }
            line.push('\n');
            line
        }
    }
}

/// The commands of the Python agent.
pub(super) fn classic_names() -> Vec<&'static str> {
    COMMANDS[..7].iter().map(|command| command.name).collect()
}

/// The help for a command, or about all.
pub(super) fn text(command: Option<&Command>, by_name: bool) -> String {
    let mut text = usage(command, by_name);
    // Writing to a String can't fail.
    match command {
        None => {
            // The rest of the names stands below
            let _ = write!(
                text,
                "Collects log files and metrics and sends them to the ingest server.\n\n\
                 {{{},...}}:\n",
                classic_names().join(",")
            );
            for command in COMMANDS {
                let _ = writeln!(text, "  {:<20} {}", synopsis(command), command.summary);
            }
            let _ = write!(
                text,
                "\noptions of most commands; {PROGRAM} COMMAND --help tells all:\n"
            );
            put_options(&mut text, [&super::options::CONFIG_FILE].into_iter());
        }
        Some(command) => {
            let _ = write!(text, "\n{}\n\n", command.about);
            put_options(&mut text, command.shown());
            if !command.exits.is_empty() {
                text.push_str("\nexit codes:\n");
                for (code, meaning) in command.exits {
                    let _ = writeln!(text, "  {code}  {meaning}");
                }
            }
        }
    }
    text
}

fn synopsis(command: &Command) -> String {
    let operands = match command.operands.usage {
        // The long one has its own help.
        usage if usage.len() > 10 => "...",
        usage => usage,
    };
    format!("{} {operands}", command.name)
}

fn put_options<'a>(text: &mut String, options: impl Iterator<Item = &'a Opt>) {
    let rows: Vec<(String, &str)> = options.map(|opt| (left(opt), opt.text)).collect();
    // One option with a long name does not push all the texts to the right.
    let width = rows
        .iter()
        .map(|(left, _)| left.len())
        .filter(|len| *len <= 38)
        .max()
        .unwrap_or(0);
    for (left, right) in rows {
        let _ = writeln!(text, "  {left:<width$}  {right}");
    }
}

fn left(opt: &Opt) -> String {
    let short = opt
        .short_text()
        .map_or_else(|| "    ".to_owned(), |short| format!("{short}, "));
    let value = opt
        .value()
        .map_or_else(String::new, |(name, _)| format!(" {name}"));
    format!("{short}--{}{value}", opt.long)
}
