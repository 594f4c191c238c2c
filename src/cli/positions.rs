//! `positions` prints the position journal in words.

use super::setup::{absolute, Place, Setup};
use super::{err, exit, harmless, out};
use crate::config::Config;
use crate::tail::journal::NAME;
use crate::tail::sight::{Sight, State};
use crate::util::words::count;
use std::cell::Cell;
use std::fmt::{Display, Write};
use std::fs;
use std::path::{Path, PathBuf};

/// Runs the command.
pub(super) fn positions(setup: &Setup) -> i32 {
    let _ = setup.change_user("look at positions");
    let config = match Config::load(&setup.source) {
        Ok(config) => config,
        Err(error) => {
            err(format_args!("Failed to read the configuration: {error}"));
            return exit::FAILED;
        }
    };
    let place = Place::of(&config);
    let dir = &place.data_dir;
    let told = |unread: &crate::tail::Unread| {
        err(format_args!(
            "{} can't be read: {}",
            unread.path.display(),
            unread.why
        ));
    };
    let (sight, mut code) = match Sight::of(dir) {
        Ok((sight, damaged)) => {
            damaged.iter().for_each(told);
            let is_whole = damaged.is_empty();
            (sight, if is_whole { exit::OK } else { exit::FAILED })
        }
        Err(unread) => {
            unread.iter().for_each(told);
            return exit::FAILED;
        }
    };
    let wanted = setup.options.operands.iter();
    let wanted: Vec<PathBuf> = wanted.map(|path| absolute(Path::new(path))).collect();
    let found: Vec<Cell<bool>> = wanted.iter().map(|_| Cell::new(false)).collect();
    let wants = |path: &Path| {
        let mut is_wanted = wanted.is_empty();
        for (wanted, found) in wanted.iter().zip(&found) {
            if path.starts_with(wanted) {
                found.set(true);
                is_wanted = true;
            }
        }
        is_wanted
    };
    let mut text = Text::default();
    text.put(0, &dir.join(NAME).display());
    file(&mut text, &sight.state(), dir, place.running().is_some());
    if setup.options.records {
        text.head("Records");
        sight.records(wants, wanted.is_empty(), &mut |offset, (head, more)| {
            text.put(2, &format_args!("{offset:>8}  {head}"));
            for line in more {
                text.put(14, &line);
            }
        });
    } else {
        text.head("Logs");
        sight.logs(wants, &mut |log| {
            text.put(2, &log.path.display());
            if !matches!(log.worker, "" | "default") {
                text.put(4, &format_args!("worker {}", log.worker));
            }
            for line in log.facts {
                text.put(4, &line);
            }
            for (number, lines) in log.contents.iter().enumerate() {
                for (at, line) in lines.iter().enumerate() {
                    match at {
                        0 => text.put(4, &format_args!("{}. {line}", number + 1)),
                        _ => text.put(7, &line),
                    }
                }
            }
        });
        let mut streams = sight.streams().filter(|_| wanted.is_empty()).peekable();
        if streams.peek().is_some() {
            text.head("Streams of monitors");
        }
        for (stream, cursor) in streams {
            text.put(2, &stream);
            text.put(4, &cursor);
        }
    }
    out(text.0.trim_end());
    for (path, _) in wanted.iter().zip(&found).filter(|(_, found)| !found.get()) {
        err(format_args!("nothing is known of {}", path.display()));
        code = exit::FAILED;
    }
    code
}

/// Prints how the file is.
fn file(text: &mut Text, state: &State, dir: &Path, is_running: bool) {
    text.head("The file");
    let &State { length, sound, .. } = state;
    match (length, state.wrong) {
        (0, _) => text.put(2, &"there is none yet, or it is empty"),
        (_, None) => {
            text.put(
                2,
                &format_args!(
                    "{} in {}",
                    count(sound, "byte"),
                    count(state.records as u64, "record")
                ),
            );
            if length > sound {
                let zeros = length - sound;
                let zeros = count(zeros, "zero");
                text.put(2, &format_args!("{zeros} behind them: room for more"));
            }
        }
        (_, Some(why)) => {
            text.put(
                2,
                &format_args!("{}, of which {sound} are sound", count(length, "byte")),
            );
            text.put(2, &format_args!("damaged from byte {sound} on: {why}"));
            text.put(
                2,
                &"the next start sets the damage aside and goes on before it",
            );
        }
    }
    if let Some(start) = state.start {
        text.put(
            2,
            &format_args!("written by the start {start:08x} of an agent"),
        );
    }
    for name in aside(dir) {
        text.put(2, &format_args!("set aside: {name}"));
    }
    match (state.has_others, state.is_exported) {
        (true, _) => {
            text.put(
                2,
                &"another agent has written checkpoint files since: they win, and the",
            );
            text.put(2, &"next start takes them up; what follows is with them");
        }
        (false, true) => text.put(2, &"exported for the Python agent"),
        (false, false) => {}
    }
    text.put(
        2,
        &match is_running {
            true => "an agent is running and writes it",
            false => "no agent is running",
        },
    );
}

/// The names of damaged parts that earlier starts have kept.
fn aside(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let is_part = |name: &String| {
        let end = name.strip_prefix(NAME);
        end.is_some_and(|end| end.starts_with(".damaged-"))
    };
    let mut all: Vec<String> = names.filter(is_part).collect();
    crate::util::sort::plainly(&mut all);
    all
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn put(&mut self, indent: usize, line: &dyn Display) {
        // Writing to a String can't fail
        let _ = writeln!(self.0, "{:indent$}{}", "", harmless(line));
    }

    fn head(&mut self, title: &str) {
        self.0 += "\n";
        self.0 += title;
        self.0 += "\n";
    }
}
