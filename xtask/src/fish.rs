//! Completion for fish 3 and later.

use crate::MADE_BY;
use scalyr_agent_2::cli::{Complete, Opt, CLASSIC, COMMANDS, CONFIG_PROGRAM, PROGRAM};
use std::fmt::Write;

/// The script; it goes to `/usr/share/fish/vendor_completions.d/scalyr-agent-2.fish`.
pub fn script() -> String {
    let mut text = format!(
        "# Completion for {PROGRAM} and {CONFIG_PROGRAM}.\n# {MADE_BY}\n\n\
         complete -c {PROGRAM} -f\ncomplete -c {CONFIG_PROGRAM} -f\n"
    );
    let none = "-n __fish_use_subcommand";
    for command in COMMANDS {
        let _ = writeln!(
            text,
            "complete -c {PROGRAM} {none} -a {} -d {}",
            command.name,
            quoted(command.summary)
        );
    }
    for opt in CLASSIC {
        put(&mut text, PROGRAM, none, opt);
    }
    for command in COMMANDS {
        text.push('\n');
        let seen = format!("-n '__fish_seen_subcommand_from {}'", command.name);
        for opt in command.shown() {
            put(&mut text, PROGRAM, &seen, opt);
        }
        if command.operands.complete == Complete::RunMonitor {
            let _ = writeln!(
                text,
                "complete -c {PROGRAM} -n '__fish_seen_subcommand_from {0}; and not __fish_seen_subcommand_from run' \
                 -f -a run\ncomplete -c {PROGRAM} -n '__fish_seen_subcommand_from {0}; and __fish_seen_subcommand_from \
                 run' {1}",
                command.name,
                proposal(Complete::Monitor)
            );
        } else if command.operands.most > 0 {
            let _ = writeln!(
                text,
                "complete -c {PROGRAM} {seen} {}",
                proposal(command.operands.complete)
            );
        }
    }
    text.push('\n');
    for opt in crate::config().shown() {
        put(&mut text, CONFIG_PROGRAM, "", opt);
    }
    text
}

fn put(text: &mut String, program: &str, condition: &str, opt: &Opt) {
    let mut line = format!("complete -c {program}");
    if !condition.is_empty() {
        line = format!("{line} {condition}");
    }
    if let Some(short) = opt.short {
        let _ = write!(line, " -s {}", char::from(short));
    }
    let _ = write!(line, " -l {}", opt.long);
    if let Some((_, complete)) = opt.value() {
        let _ = write!(line, " -r {}", proposal(complete));
    }
    let _ = writeln!(text, "{line} -d {}", quoted(opt.text));
}

fn proposal(complete: Complete) -> String {
    match complete {
        Complete::Nothing => "-f".to_owned(),
        Complete::File => "-F".to_owned(),
        Complete::Dir => "-f -a '(__fish_complete_directories)'".to_owned(),
        Complete::User => "-f -a '(__fish_complete_users)'".to_owned(),
        Complete::Monitor | Complete::RunMonitor => format!("-f -a '{}'", crate::monitors()),
        Complete::Words(words) => format!("-f -a '{}'", words.join(" ")),
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}
