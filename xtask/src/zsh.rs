//! Completion for zsh.

use crate::MADE_BY;
use scalyr_agent_2::cli::{Command, Complete, Opt, CLASSIC, COMMANDS, CONFIG_PROGRAM, PROGRAM};
use std::fmt::Write;

/// The script; it goes to `/usr/share/zsh/vendor-completions/_scalyr-agent-2`.
pub fn script() -> String {
    let mut commands = String::new();
    let mut cases = String::new();
    for command in COMMANDS {
        let _ = writeln!(
            commands,
            "            {}",
            quoted(&format!("{}:{}", command.name, command.summary))
        );
        let _ = writeln!(
            cases,
            "        {})\n            _arguments -s{}\n            ;;",
            command.name,
            arguments(command)
        );
    }
    let mut classic = String::new();
    for opt in CLASSIC {
        put(&mut classic, opt);
    }
    format!(
        r#"#compdef {PROGRAM} {CONFIG_PROGRAM}
# {MADE_BY}

_scalyr_agent_2() {{
    local curcontext=$curcontext state line ret=1
    typeset -A opt_args
    if [[ $service == {CONFIG_PROGRAM} ]]; then
        _arguments -s{config}
        return
    fi
    _arguments -s -C{classic} \
        '1:command:->command' \
        '*::argument:->argument' && ret=0
    case $state in
    command)
        local -a commands=(
{commands}        )
        _describe -t commands command commands && ret=0
        ;;
    argument)
        curcontext=${{curcontext%:*:*}}:{PROGRAM}-$words[1]:
        case $words[1] in
{cases}        esac && ret=0
        ;;
    esac
    return ret
}}

# As a file in $fpath it is the function; otherwise it was sourced.
if [[ $funcstack[1] == _{PROGRAM} ]]; then
    _scalyr_agent_2 "$@"
else
    compdef _scalyr_agent_2 {PROGRAM} {CONFIG_PROGRAM}
fi
"#,
        config = arguments(crate::config()),
    )
}

fn arguments(command: &Command) -> String {
    let mut text = String::new();
    for opt in command.shown() {
        put(&mut text, opt);
    }
    let operands = &command.operands;
    if operands.complete == Complete::RunMonitor {
        let monitor = proposal(Complete::Monitor);
        let _ = write!(text, " \\\n            '1:run:(run)' '2:monitor:{monitor}'");
    } else if operands.most > 0 {
        let many = if operands.most == 1 { "1" } else { "*" };
        // Two colons would make the words a message
        let what = match operands.what {
            "" => " ",
            what => what,
        };
        let spec = format!("{many}:{what}:{}", proposal(operands.complete));
        let _ = write!(text, " \\\n            {}", quoted(&spec));
    }
    text
}

fn put(text: &mut String, opt: &Opt) {
    let mut spec = format!("[{}]", escaped(opt.text));
    if let Some((name, complete)) = opt.value() {
        let _ = write!(spec, ":{name}:{}", proposal(complete));
    }
    let _ = write!(text, " \\\n            ");
    let _ = match opt.short_text() {
        Some(short) => write!(
            text,
            "'({short} --{0})'{{{short},--{0}}}{1}",
            opt.long,
            quoted(&spec)
        ),
        None => write!(text, "{}", quoted(&format!("--{}{spec}", opt.long))),
    };
}

fn proposal(complete: Complete) -> String {
    match complete {
        Complete::Nothing => " ".to_owned(),
        Complete::File => "_files".to_owned(),
        Complete::Dir => "_files -/".to_owned(),
        Complete::User => "_users".to_owned(),
        Complete::Monitor | Complete::RunMonitor => format!("({})", crate::monitors()),
        Complete::Words(words) => format!("({})", words.join(" ")),
    }
}

/// Escapes the characters that mean something to `_arguments`.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace(':', "\\:")
        .replace('[', "\\[")
        .replace(']', "\\]")
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}
