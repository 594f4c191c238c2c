//! `generate`: man pages and completions, from the same declarations as the command line itself.

mod bash;
mod fish;
mod man;
mod zsh;

use super::args::Options;
use super::decl::{CONFIG_PROGRAM, PROGRAM};
use super::{err, exit};
use std::io::Write;

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
        ["man", other] => {
            err(format_args!(
                "There is no page \"{other}\"; there are {PROGRAM} and {CONFIG_PROGRAM}."
            ));
            return exit::USAGE;
        }
        _ => {
            err(format_args!(
                "\"{}\" can't be generated: bash, fish, zsh, man, or man PAGE.",
                words.join(" ")
            ));
            return exit::USAGE;
        }
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
