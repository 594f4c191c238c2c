//! Manual pages in the `man` macros, as groff and mandoc read them.

use crate::pages::{CONFIGURATION, MONITORS};
use crate::MADE_BY;
use scalyr_agent_2::cli::{Command, Opt, CLASSIC, COMMANDS, CONFIG_PROGRAM, PROGRAM, VERSION};
use std::fmt::Write;

/// The day of a page in the repository. `packaging/package` puts that of the commit in its place.
const DAY: &str = "1970-01-01";

/// `scalyr-agent-2(8)`.
pub fn page() -> String {
    let mut text = head(PROGRAM, 8, "collect logs and metrics and send them");
    text.push_str(".SH SYNOPSIS\n");
    for (index, command) in COMMANDS.into_iter().enumerate() {
        if index > 0 {
            text.push_str(".br\n");
        }
        let _ = writeln!(text, ".B {} {}", escaped(PROGRAM), escaped(command.name));
        if command.options.len() > 1 {
            text.push_str(".RI [ options ]\n");
        }
        if !command.operands.usage.is_empty() {
            let _ = writeln!(text, ".I {}", escaped(command.operands.usage));
        }
    }
    text.push_str(
        ".SH DESCRIPTION\n\
         The agent follows log files, takes measurements, and sends both to an\n\
         ingest server. What it does is in its configuration file and in the\n\
         fragments beside it.\n\
         .PP\n\
         Options may stand before and after the command, as\n\
         .BI \\-\\-option= value\n\
         or\n\
         .BR \\-\\-option\n\
         .IR value ;\n\
         unambiguous beginnings of long options do.\n\
         .SH COMMANDS\n",
    );
    for command in COMMANDS {
        let _ = writeln!(text, ".SS {}", heading(command));
        if command == crate::config() {
            let _ = writeln!(
                text,
                "Edits the configuration. See\n.BR {} (8).",
                escaped(CONFIG_PROGRAM)
            );
            continue;
        }
        paragraphs(&mut text, command.about);
        let own: Vec<&Opt> = command
            .shown()
            .filter(|opt| !is_common(opt) && opt.long != "help")
            .collect();
        for opt in own {
            option(&mut text, opt);
        }
        exits(&mut text, command, ".PP\nExit codes:\n");
    }
    text.push_str(".SH COMMON OPTIONS\nOf most commands:\n");
    for opt in CLASSIC.into_iter().filter(|opt| is_common(opt)) {
        option(&mut text, opt);
    }
    text.push_str(
        ".PP\n\
         .BR start ,\n\
         .BR stop ,\n\
         .BR status ,\n\
         .BR restart ,\n\
         .BR condrestart\n\
         and\n\
         .B version\n\
         take each other\\(aqs options as well, without effect.\n\
         A usage error has exit code 2.\n",
    );
    text.push_str(
        ".SH ENVIRONMENT\n\
         Most options of the configuration can be given as variables\n\
         .BI SCALYR_ NAME\\fR;\n\
         a value in a file wins. Further:\n\
         .TP\n.B SCALYR_EXTRA_CONFIG_DIR\nIn place of\n.BR \\-\\-extra\\-config\\-dir .\n\
",
    );
    files(&mut text);
    text.push_str(
        ".SH SIGNALS\n\
         .TP\n.BR SIGTERM ,\\  SIGINT\nEnd cleanly, within 5 seconds.\n\
         .TP\n.B SIGHUP\nLook at the configuration now; else this is done every 30 seconds.\n\
         .TP\n.B SIGUSR1\nWrite the report that\n.B status\nasks for.\n",
    );
    see_also(
        &mut text,
        &[(CONFIG_PROGRAM, 8), (CONFIGURATION, 5), (MONITORS, 7)],
    );
    text
}

/// `scalyr-agent-2-config(8)`.
pub fn config_page() -> String {
    let command = crate::config();
    let mut text = head(
        CONFIG_PROGRAM,
        8,
        "edit the configuration of scalyr-agent-2",
    );
    for name in [CONFIG_PROGRAM.to_owned(), format!("{PROGRAM} config")] {
        if name == CONFIG_PROGRAM {
            text.push_str(".SH SYNOPSIS\n");
        } else {
            text.push_str(".br\n");
        }
        let _ = writeln!(text, ".B {}\n.RI [ options ]", escaped(&name));
    }
    text.push_str(".SH DESCRIPTION\n");
    paragraphs(&mut text, command.about);
    for opt in command.shown() {
        option(&mut text, opt);
    }
    text.push_str(
        ".SH EXIT STATUS\n\
         0: all was done. 1: a step failed; it has changed nothing, or says\n\
         what, and the ones after it were not begun. 2: usage error.\n\
         .SH EXAMPLES\n\
         Set the key without showing it to anybody:\n\
         .PP\n.nf\n",
    );
    let _ = write!(
        text,
        "{0} \\-\\-set\\-key\\-from\\-stdin </run/secrets/key\n.fi\n.PP\nTake the configuration to \
         another machine:\n.PP\n.nf\n{0} \\-\\-export\\-config \\- | ssh other {0} \
         \\-\\-import\\-config \\-\n.fi\n",
        escaped(CONFIG_PROGRAM)
    );
    files(&mut text);
    see_also(
        &mut text,
        &[(PROGRAM, 8), (CONFIGURATION, 5), (MONITORS, 7)],
    );
    text
}

/// The beginning of the page `name` of a section of the manual.
pub fn head(name: &str, section: u8, what: &str) -> String {
    format!(
        ".\\\" {MADE_BY}\n\
         .TH {} {section} {} \"{PROGRAM} {VERSION}\" \"System administration\"\n\
         .SH NAME\n{} \\- {}\n",
        escaped(&name.to_uppercase()),
        DAY,
        escaped(name),
        escaped(what)
    )
}

fn is_common(opt: &Opt) -> bool {
    ["config-file", "extra-config-dir", "no-change-user"].contains(&opt.long)
}

fn heading(command: &Command) -> String {
    let usage = match command.operands.usage {
        "" => String::new(),
        usage => format!(" {usage}"),
    };
    escaped(&format!("{}{usage}", command.name))
}

/// Running text; lines that begin with blanks stay lines.
fn paragraphs(text: &mut String, about: &str) {
    let mut is_kept = false;
    for line in about.lines() {
        let keep = line.starts_with(' ');
        if keep != is_kept {
            text.push_str(if keep { ".nf\n" } else { ".fi\n" });
            is_kept = keep;
        }
        if line.is_empty() {
            text.push_str(".PP\n");
        } else {
            let _ = writeln!(text, "{}", escaped(line));
        }
    }
    if is_kept {
        text.push_str(".fi\n");
    }
}

fn option(text: &mut String, opt: &Opt) {
    text.push_str(".TP\n");
    let value = opt
        .value()
        .map_or_else(String::new, |(name, _)| format!(" \" {name}\""));
    let macro_name = if value.is_empty() { ".B" } else { ".BI" };
    let names = match opt.short_text() {
        Some(short) => format!("{short}, --{}", opt.long),
        None => format!("--{}", opt.long),
    };
    let _ = writeln!(text, "{macro_name} \"{}\"{value}", escaped(&names));
    filled(text, &format!("{} {}", opt.text, opt.more));
}

/// Running text in lines of a length that everybody can read.
fn filled(text: &mut String, words: &str) {
    let mut line = String::new();
    for word in words.split_ascii_whitespace() {
        if line.len() + word.len() > 64 {
            let _ = writeln!(text, "{}", escaped(&line));
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    let _ = writeln!(text, "{}", escaped(&line));
}

fn exits(text: &mut String, command: &Command, heading: &str) {
    if command.exits.is_empty() {
        return;
    }
    text.push_str(heading);
    for (code, meaning) in command.exits {
        let _ = writeln!(text, ".TP\n.B {code}\n{}", escaped(meaning));
    }
}

fn files(text: &mut String) {
    text.push_str(".SH FILES\n");
    for (path, what) in [
        (
            "/etc/scalyr-agent-2/agent.json",
            "The main configuration file. Its owner is the user that the agent runs as.",
        ),
        (
            "/etc/scalyr-agent-2/agent.d/*.json",
            "Fragments of the configuration.",
        ),
        (
            "/var/log/scalyr-agent-2/",
            "The agent's log, agent.log, the monitors' logs, and the pid file, agent.pid.",
        ),
        (
            "/var/lib/scalyr-agent-2/positions.journal",
            "What was sent of which file; the command positions prints it.",
        ),
        (
            "/var/lib/scalyr-agent-2/checkpoints.json",
            "The same for the Python agent, should it take over.",
        ),
    ] {
        let _ = writeln!(text, ".TP\n.I {}", escaped(path));
        filled(text, what);
    }
    text.push_str(
        ".PP\nA program that lies in the folder\n.I bin\nof an unpacked tarball has\n.IR config ,\n\
         .I log\nand\n.I data\nbeside that folder.\n",
    );
}

pub fn see_also(text: &mut String, others: &[(&str, u8)]) {
    text.push_str(".SH SEE ALSO\n");
    for (n, (name, section)) in others.iter().enumerate() {
        let comma = if n + 1 < others.len() { " ," } else { "" };
        let _ = writeln!(text, ".BR {} ({section}){comma}", escaped(name));
    }
}

/// Text that is no macro and has hyphens that can be copied.
pub fn escaped(text: &str) -> String {
    let text = text
        .replace('\\', "\\e")
        .replace('-', "\\-")
        .replace('\'', "\\(aq")
        .replace('"', "\\(dq");
    if text.starts_with('.') {
        format!("\\&{text}")
    } else {
        text
    }
}
