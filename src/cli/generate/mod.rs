//! `generate`: man pages and completions, from the same declarations as the command line itself.

mod bash;
mod fish;
mod man;
mod pages;
mod zsh;

use super::args::{did_you_mean, similar, Options};
use super::decl::{CONFIG_PROGRAM, PROGRAM};
use super::{commands, err, exit, help};
use monitors::registry::ALL;
use std::io::Write;

/// The manual pages.
const PAGES: &[&str] = &[
    PROGRAM,
    CONFIG_PROGRAM,
    pages::CONFIGURATION,
    pages::MONITORS,
];

/// The short names of all monitors.
fn monitors() -> String {
    let names: Vec<&str> = ALL.iter().map(|monitor| monitor.short_name()).collect();
    names.join(" ")
}

/// The error about a word that is none of these.
fn refuse(word: &str, choices: &[&'static str]) -> i32 {
    let names: Vec<String> = choices.iter().map(|name| format!("'{name}'")).collect();
    err(format_args!(
        "{}{PROGRAM}: error: \"{word}\" can't be generated (choose from {}){}",
        help::usage(Some(&commands::GENERATE), false),
        names.join(", "),
        did_you_mean(&similar(word, choices.iter().copied()))
    ));
    exit::USAGE
}

/// Runs the command.
pub(super) fn generate(options: Options) -> i32 {
    let words: Vec<String> = options
        .operands
        .iter()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let text = match words[..] {
        ["bash"] => bash::script(),
        ["fish"] => fish::script(),
        ["zsh"] => zsh::script(),
        ["man"] | ["man", PROGRAM] => man::page(),
        ["man", CONFIG_PROGRAM] => man::config_page(),
        ["man", pages::CONFIGURATION] => pages::configuration(),
        ["man", pages::MONITORS] => pages::monitors(),
        ["man", other] => return refuse(other, PAGES),
        [what] => return refuse(what, &["bash", "fish", "zsh", "man"]),
        _ => return refuse(&words.join(" "), &["bash", "fish", "zsh", "man [PAGE]"]),
    };
    let mut stdout = std::io::stdout();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Ok(()) => exit::OK,
        // A package must not be made with half a page.
        Err(error) => {
            err(format_args!("Can't write to stdout: {error}"));
            exit::FAILED
        }
    }
}
