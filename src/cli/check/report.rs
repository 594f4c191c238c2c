//! Verdicts on the terminal: one line each as soon as it is there, and under it what to do.

use crate::cli::{harmless, out};
use crate::util::words::count;
use std::fmt::Display;
use std::io::{IsTerminal, Write};

/// The findings so far. Each verdict is printed at once.
pub(super) struct Report {
    colours: bool,
    /// Waiting is shown.
    live: bool,
    /// Only warnings and failures are.
    quiet: bool,
    good: u32,
    doubtful: u32,
    warnings: u32,
    bad: u32,
}

impl Report {
    /// Colours on a terminal that has some, unless `NO_COLOR` is set.
    pub(super) fn new(quiet: bool) -> Report {
        let live = std::io::stdout().is_terminal();
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Report {
            colours: live && !dumb && !set("NO_COLOR"),
            live: live && !dumb,
            quiet,
            good: 0,
            doubtful: 0,
            warnings: 0,
            bad: 0,
        }
    }

    pub(super) fn section(&self, title: &str) {
        if !self.quiet {
            out(format_args!("{}", self.painted("1", title)));
        }
    }

    pub(super) fn good(&mut self, what: impl Display) {
        self.good += 1;
        if self.quiet {
            return;
        }
        out(format_args!(
            "  {}    {}",
            self.painted("32", "ok"),
            harmless(what)
        ));
    }

    /// It works, but perhaps not as it is meant. `todo` may be empty.
    pub(super) fn doubt(&mut self, what: impl Display, todo: &str) {
        self.doubtful += 1;
        if self.quiet {
            return;
        }
        out(format_args!(
            "  {}  {}",
            self.painted("33", "note"),
            harmless(what)
        ));
        self.todo(todo);
    }

    /// A part of it does not do what the operator asked for. `todo` may be empty.
    pub(super) fn warn(&mut self, what: impl Display, todo: &str) {
        self.warnings += 1;
        out(format_args!(
            "  {}  {}",
            self.painted("33", "WARN"),
            harmless(what)
        ));
        self.todo(todo);
    }

    /// It does not work.
    pub(super) fn bad(&mut self, what: impl Display, todo: &str) {
        self.bad += 1;
        out(format_args!(
            "  {}  {}",
            self.painted("31", "FAIL"),
            harmless(what)
        ));
        self.todo(todo);
    }

    fn todo(&self, todo: &str) {
        if !todo.is_empty() {
            out(format_args!("        -> {}", harmless(todo)));
        }
    }

    /// Does something that takes its time, and says so while it does.
    pub(super) fn wait<T>(&self, what: &str, work: impl FnOnce() -> T) -> T {
        if self.live {
            // Without line wrap, so that a narrow terminal has one line to erase
            print!("\x1b[?7l  ...   {}\x1b[?7h\r", harmless(what));
            let _ = std::io::stdout().flush();
        }
        let result = work();
        if self.live {
            // Erases the line
            print!("\x1b[2K");
        }
        result
    }

    pub(super) fn failures(&self) -> u32 {
        self.bad
    }

    pub(super) fn sum(&self) {
        if self.quiet {
            return;
        }
        let text = format!(
            "{} ok, {}, {}, {}",
            self.good,
            count(self.doubtful.into(), "note"),
            count(self.warnings.into(), "warning"),
            count(self.bad.into(), "failure")
        );
        let colour = match (self.bad, self.doubtful + self.warnings) {
            (0, 0) => "32",
            (0, _) => "33",
            _ => "31",
        };
        out(format_args!("{}", self.painted(colour, &text)));
    }

    fn painted(&self, colour: &str, text: &str) -> String {
        match self.colours {
            true => format!("\x1b[{colour}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }
}
