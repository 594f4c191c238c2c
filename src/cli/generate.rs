//! `generate`, for scripts that call it: prints a manual page or a completion. The program does not hold these texts;
//! packages and tarballs bring them as files.

use super::args::{did_you_mean, similar, Options};
use super::config::Decoder;
use super::decl::PROGRAM;
use super::{commands, err, exit, help};
use crate::config::Install;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};

/// The words that ask for a text, the name of its file in the folder `misc` of a tarball, and the places of packages.
type Text = (&'static str, &'static str, &'static [&'static str]);

static TEXTS: [Text; 7] = [
    (
        "bash",
        "scalyr-agent-2.bash",
        &["/usr/share/bash-completion/completions/scalyr-agent-2"],
    ),
    (
        "fish",
        "scalyr-agent-2.fish",
        &["/usr/share/fish/vendor_completions.d/scalyr-agent-2.fish"],
    ),
    (
        "zsh",
        "scalyr-agent-2.zsh",
        &[
            "/usr/share/zsh/vendor-completions/_scalyr-agent-2",
            "/usr/share/zsh/site-functions/_scalyr-agent-2",
        ],
    ),
    (
        "man scalyr-agent-2",
        "scalyr-agent-2.8",
        &["/usr/share/man/man8/scalyr-agent-2.8.gz"],
    ),
    (
        "man scalyr-agent-2-config",
        "scalyr-agent-2-config.8",
        &["/usr/share/man/man8/scalyr-agent-2-config.8.gz"],
    ),
    (
        "man agent.json",
        "agent.json.5",
        &["/usr/share/man/man5/agent.json.5.gz"],
    ),
    (
        "man scalyr-agent-2-monitors",
        "scalyr-agent-2-monitors.7",
        &["/usr/share/man/man7/scalyr-agent-2-monitors.7.gz"],
    ),
];

/// No text comes near to so many bytes.
const MOST_BYTES: u64 = 4 << 20;

/// Runs the command.
pub(super) fn generate(options: Options) -> i32 {
    let words: Vec<_> = options
        .operands
        .iter()
        .map(|w| w.to_string_lossy())
        .collect();
    let asked = match words.join(" ") {
        word if word == "man" => "man scalyr-agent-2".to_owned(),
        words => words,
    };
    let Some((_, name, installed)) = TEXTS.iter().find(|text| text.0 == asked) else {
        let known = TEXTS.map(|text| text.0);
        err(format_args!(
            "{}{PROGRAM}: error: there is no text \"{asked}\" (choose from '{}'){}",
            help::usage(Some(&commands::GENERATE), false),
            known.join("', '"),
            did_you_mean(&similar(&asked, known))
        ));
        return exit::USAGE;
    };
    let unpacked = Install::detect().root.join("misc").join(name);
    let mut places = vec![unpacked];
    for place in *installed {
        places.push(place.into());
        // Some distributions pack no pages
        places.extend(place.strip_suffix(".gz").map(PathBuf::from));
    }
    let text = match first(&places) {
        Ok(text) => text,
        Err(failures) => {
            err(format_args!(
                "The program does not hold this text; a package or tarball brings it as a file, and none can be \
                 read here:\n{failures}In the source it is packaging/generated/{name}."
            ));
            return exit::FAILED;
        }
    };
    let mut stdout = io::stdout();
    match stdout.write_all(&text).and_then(|()| stdout.flush()) {
        Ok(()) => exit::OK,
        // A package must not be made with half a page.
        Err(error) => {
            err(format_args!("Can't write to stdout: {error}"));
            exit::FAILED
        }
    }
}

/// The content of the first of these files that can be read; else a line on each of them.
fn first(places: &[PathBuf]) -> Result<Vec<u8>, String> {
    let mut failures = String::new();
    for place in places {
        match read(place) {
            // The shell has emptied it, if stdout was directed to this very file
            Ok(text) if text.is_empty() => {
                let _ = writeln!(failures, "  {}: it is empty", place.display());
            }
            Ok(text) => return Ok(text),
            Err(error) => {
                let _ = writeln!(failures, "  {}: {error}", place.display());
            }
        }
    }
    Err(failures)
}

fn read(place: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(place)?;
    let mut text = Vec::new();
    match place.extension().is_some_and(|extension| extension == "gz") {
        true => Decoder::new(file).take(MOST_BYTES).read_to_end(&mut text)?,
        false => file.take(MOST_BYTES).read_to_end(&mut text)?,
    };
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_packed_or_plain_and_an_emptied_or_damaged_file_is_passed_over() {
        let folder = std::env::temp_dir().join(format!("generate-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let place = |name: &str| folder.join(name);
        let packed = crate::cli::config::compress(b".TH PACKED 8\n");
        std::fs::write(place("empty"), "").unwrap();
        std::fs::write(place("damaged.gz"), &packed[..packed.len() - 3]).unwrap();
        let bad = [place("absent"), place("empty"), place("damaged.gz")];
        let told = first(&bad).unwrap_err();
        for (line, place) in told.lines().zip(&bad) {
            assert!(line.contains(&place.display().to_string()), "{told}");
        }
        assert!(told.contains("empty: it is empty\n"), "{told}");
        assert!(told.contains("damaged.gz: unexpected end"), "{told}");
        std::fs::write(place("page.8.gz"), packed).unwrap();
        std::fs::write(place("plain"), "complete\n").unwrap();
        let with = |name: &str| first(&[&bad[..], &[place(name)]].concat());
        assert_eq!(with("page.8.gz").unwrap(), b".TH PACKED 8\n");
        assert_eq!(with("plain").unwrap(), b"complete\n");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
