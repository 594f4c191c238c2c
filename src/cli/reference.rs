//! The page `docs/cli.md`: what each command and option is beside that of the Python agent.

use super::commands::{self, COMMANDS};
use super::decl::{Command, Opt, Verdict, CONFIG_PROGRAM};
use super::options::CLASSIC;
use std::fmt::Write;

/// The page, made of the declarations.
pub fn reference() -> String {
    let mut page = String::from(
        "<!-- Generated: UPDATE_DOCS=1 cargo test --test cli_docs -->\n\n\
         # The command line\n\n\
         Each command has a `--help` that fits a screen. Packages bring manual pages and completions for bash, zsh and fish,\n\
         which come from the same declarations in the code as these tables. `generate bash|fish|zsh|man [PAGE]`, which older\n\
         scripts call and which is in no list, prints those files where they are installed; else it says where they would be,\n\
         with exit code 1.\n\n\
         *same*: works as in the Python agent. *better*: does what it does there, and this besides. *refused*: known by name\n\
         and answered with exit code 2 and this reason. *new*: not in the Python agent.\n\n\
         ## Commands\n\n| command | | beside the Python agent |\n|---|---|---|\n",
    );
    for command in COMMANDS {
        let operands = match command.operands.usage {
            "" => String::new(),
            usage => format!(" {usage}"),
        };
        let _ = writeln!(
            page,
            "| `{}{}` | {} | {} |",
            command.name,
            operands.replace('|', "\\|"),
            command.summary,
            verdict(command.verdict)
        );
    }
    page.push_str(
        "\n## Options of the agent\n\nThe Python agent's commands, but for `config`, take all of these, as there; the column \
         says which ones use them.\nThey may stand before and after the command, and unambiguous beginnings of long ones do.\n\n",
    );
    let mut known: Vec<&Opt> = CLASSIC.to_vec();
    table(&mut page, &known);
    page.push_str("\n## Further options\n\nThese are used by the commands that are named, and by no other.\n\n");
    let mut further: Vec<&Opt> = Vec::new();
    for command in COMMANDS.iter().filter(|c| **c != &commands::CONFIG) {
        for opt in command.options {
            if !known.iter().any(|other| std::ptr::eq(*other, *opt)) {
                known.push(opt);
                further.push(opt);
            }
        }
    }
    table(&mut page, &further);
    let _ = write!(
        page,
        "\n## Options of `config`\n\n`{CONFIG_PROGRAM}` is the same program under another name and the same as \
         `scalyr-agent-2 config`. Options\nare worked off in the order of the table. After an error nothing further is \
         done; the step that failed has changed nothing, or says what.\n\n\
         | option | | beside the Python agent |\n|---|---|---|\n"
    );
    for opt in commands::CONFIG.options {
        let _ = writeln!(
            page,
            "| {} | {} | {} |",
            names(opt),
            full(opt),
            verdict(opt.verdict)
        );
    }
    page.push_str("\n## Exit codes\n\n| command | code | |\n|---|---|---|\n");
    for command in COMMANDS {
        for (code, meaning) in command.exits {
            let _ = writeln!(page, "| `{}` | {code} | {meaning} |", command.name);
        }
    }
    page.push_str("| others | 0 | done |\n| others | 1 | failed |\n| any | 2 | usage error |\n");
    page
}

/// A table of options with the commands that use them.
fn table(page: &mut String, options: &[&Opt]) {
    page.push_str("| option | used by | | beside the Python agent |\n|---|---|---|---|\n");
    for opt in options {
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} |",
            names(opt),
            users(opt),
            full(opt),
            verdict(opt.verdict)
        );
    }
}

fn names(opt: &Opt) -> String {
    let value = opt
        .value()
        .map_or_else(String::new, |(name, _)| format!(" {name}"));
    match opt.short_text() {
        Some(short) => format!("`{short}`, `--{}{value}`", opt.long),
        None => format!("`--{}{value}`", opt.long),
    }
}

fn users(opt: &Opt) -> String {
    let uses = |command: &&Command| {
        **command != commands::CONFIG && command.options.iter().any(|own| std::ptr::eq(*own, opt))
    };
    let names: Vec<&str> = COMMANDS.into_iter().filter(uses).map(|c| c.name).collect();
    if names.len() + 1 == COMMANDS.len() {
        "all".to_owned()
    } else {
        names.join(", ")
    }
}

fn full(opt: &Opt) -> String {
    let text = format!("{} {}", opt.text, opt.more);
    text.trim().replace('*', "\\*")
}

fn verdict(verdict: Verdict) -> String {
    match verdict {
        Verdict::Same => "*same*".to_owned(),
        Verdict::Better(how) => format!("*better*: {how}"),
        Verdict::Refused(why) => format!("*refused*, because {why}"),
        Verdict::New => "*new*".to_owned(),
    }
}
