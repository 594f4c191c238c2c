//! `cargo xtask`: writes the manual pages and completions to `packaging/generated`, from the declarations
//! of commands, options and monitors. The files are in the repository, so that whoever packages a ready program
//! needs neither cargo nor a machine that can run it; a test fails when they are not current.

#![forbid(unsafe_code)]

mod bash;
mod fish;
mod man;
mod pages;
mod zsh;

use monitors::registry::ALL;
use scalyr_agent_2::cli::{Command, COMMANDS, CONFIG_PROGRAM, PROGRAM};
use std::path::Path;

/// The line that tells readers of a generated file where it comes from.
const MADE_BY: &str = "Made by: cargo xtask";

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/generated");

/// Every generated file: its name and its content.
fn files() -> Vec<(String, String)> {
    vec![
        (format!("{PROGRAM}.8"), man::page()),
        (format!("{CONFIG_PROGRAM}.8"), man::config_page()),
        (
            format!("{}.5", pages::CONFIGURATION),
            pages::configuration(),
        ),
        (format!("{}.7", pages::MONITORS), pages::monitors()),
        (format!("{PROGRAM}.bash"), bash::script()),
        (format!("{PROGRAM}.zsh"), zsh::script()),
        (format!("{PROGRAM}.fish"), fish::script()),
    ]
}

/// The short names of all monitors.
fn monitors() -> String {
    let names: Vec<&str> = ALL.iter().map(|monitor| monitor.short_name()).collect();
    names.join(" ")
}

/// The command that has a program name of its own.
fn config() -> &'static Command {
    let found = COMMANDS
        .into_iter()
        .find(|command| command.name == "config");
    // The table is part of this build
    found.expect("the table of commands has \"config\"")
}

fn write(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for (name, text) in files() {
        std::fs::write(folder.join(name), text)?;
    }
    Ok(())
}

fn main() {
    let folder = match std::env::args_os().nth(1) {
        Some(folder) if folder.as_encoded_bytes().starts_with(b"-") => {
            eprintln!("usage: cargo xtask [FOLDER]\nWrites manual pages and completions to FOLDER, by default packaging/generated.");
            std::process::exit(2);
        }
        Some(folder) => folder.into(),
        None => Path::new(FOLDER).to_owned(),
    };
    if let Err(error) = write(&folder) {
        eprintln!("Can't write to {}: {error}", folder.display());
        std::process::exit(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn what_packages_carry_says_what_the_code_does() {
        let folder = Path::new(FOLDER);
        let mut stored = BTreeMap::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            stored.insert(name, std::fs::read_to_string(path).unwrap());
        }
        for (name, text) in files() {
            assert!(
                stored.remove(&name) == Some(text),
                "packaging/generated/{name} is not current; `cargo xtask` rewrites it"
            );
        }
        assert_eq!(
            stored.keys().collect::<Vec<_>>(),
            [""; 0],
            "no code makes these"
        );
    }
}
