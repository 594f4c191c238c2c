//! Completion for bash 4 and later.

use crate::MADE_BY;
use scalyr_agent_2::cli::{Complete, Opt, CLASSIC, COMMANDS, CONFIG_PROGRAM, PROGRAM};
use std::fmt::Write;

/// The script; it goes to `/usr/share/bash-completion/completions/scalyr-agent-2` or into
/// `.bashrc`.
pub fn script() -> String {
    let names: Vec<&str> = COMMANDS.iter().map(|command| command.name).collect();
    let with_value: Vec<String> = CLASSIC
        .iter()
        .filter(|opt| opt.value().is_some())
        .map(|opt| pattern(opt).replace('|', " | "))
        .collect();
    let mut options = String::new();
    let mut values = String::new();
    put_values(&mut values, "", CLASSIC.into_iter());
    for command in COMMANDS {
        put(&mut options, command.name, &words(command.shown()));
        put_values(&mut values, command.name, command.shown());
    }
    let mut operands = String::new();
    for command in COMMANDS.iter().filter(|command| command.operands.most > 0) {
        let _ = writeln!(
            operands,
            "        {}) {} ;;",
            command.name,
            proposal(command.operands.complete)
        );
    }
    format!(
        r#"# Completion for {PROGRAM} and {CONFIG_PROGRAM}.
# {MADE_BY}

_scalyr_agent_2_words() {{
    mapfile -t COMPREPLY < <(compgen "$@" -- "$cur")
}}

_scalyr_agent_2_files() {{
    compopt -o filenames 2>/dev/null
    _scalyr_agent_2_words "$@"
}}

_scalyr_agent_2() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} prev='' command='' options='' at=1
    ((COMP_CWORD)) && prev=${{COMP_WORDS[COMP_CWORD - 1]}}
    COMPREPLY=()
    # --format=json is three words here
    if [[ $cur == = ]]; then
        cur=
    elif [[ $prev == = ]]; then
        prev=${{COMP_WORDS[COMP_CWORD - 2]}}
    fi
    [[ ${{COMP_WORDS[0]##*/}} == {CONFIG_PROGRAM} ]] && command=config
    while [[ -z $command ]] && ((at < COMP_CWORD)); do
        case ${{COMP_WORDS[at]}} in
        {with_value})
            [[ ${{COMP_WORDS[at + 1]-}} == = ]] && ((at++))
            ((at++))
            ;;
        -*) ;;
        *) command=${{COMP_WORDS[at]}} ;;
        esac
        ((at++))
    done
    case $command in
{options}        "") options="{classic}" ;;
    esac
    case $command:$prev in
{values}    esac
    if [[ $cur == -* ]]; then
        _scalyr_agent_2_words -W "$options"
        return
    fi
    case $command in
        "") _scalyr_agent_2_words -W "{names}" ;;
{operands}    esac
}}

complete -F _scalyr_agent_2 {PROGRAM} {CONFIG_PROGRAM}
"#,
        with_value = with_value.join(" | "),
        classic = words(CLASSIC.into_iter()),
        names = names.join(" "),
    )
}

/// Writes the words that are proposed behind each option that takes a value.
fn put_values<'a>(values: &mut String, command: &str, options: impl Iterator<Item = &'a Opt>) {
    for opt in options {
        if let Some((_, complete)) = opt.value() {
            let patterns: Vec<String> = pattern(opt)
                .split('|')
                .map(|name| format!("{command}:{name}"))
                .collect();
            let _ = writeln!(
                values,
                "        {})\n            {}\n            return\n            ;;",
                patterns.join(" | "),
                proposal(complete)
            );
        }
    }
}

fn put(options: &mut String, name: &str, words: &str) {
    let _ = writeln!(options, "        {name}) options=\"{words}\" ;;");
}

fn words<'a>(options: impl Iterator<Item = &'a Opt>) -> String {
    let mut words = Vec::new();
    for opt in options {
        words.extend(opt.short_text());
        words.push(format!("--{}", opt.long));
    }
    words.join(" ")
}

/// `-c|--config-file`
fn pattern(opt: &Opt) -> String {
    match opt.short_text() {
        Some(short) => format!("{short}|--{}", opt.long),
        None => format!("--{}", opt.long),
    }
}

fn proposal(complete: Complete) -> String {
    match complete {
        Complete::Nothing => ":".to_owned(),
        Complete::File => "_scalyr_agent_2_files -f".to_owned(),
        Complete::Dir => "_scalyr_agent_2_files -d".to_owned(),
        Complete::User => "_scalyr_agent_2_words -u".to_owned(),
        Complete::Monitor => format!("_scalyr_agent_2_words -W \"{}\"", crate::monitors()),
        Complete::RunMonitor => format!(
            "_scalyr_agent_2_words -W \"$([[ \" ${{COMP_WORDS[*]:0:COMP_CWORD}} \" == *' run '* ]] && \
             echo '{}' || echo run)\"",
            crate::monitors()
        ),
        Complete::Words(words) => format!("_scalyr_agent_2_words -W \"{}\"", words.join(" ")),
    }
}
