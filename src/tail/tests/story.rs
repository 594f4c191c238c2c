//! Stories: histories of one log, of its agent and of the server's answers, in words and without
//! dice. The model test makes them of a seed and prints those that fail; `stories.rs` keeps some.
//!
//! The first line of a story says what is followed, the others are steps, one a line:
//!
//! ```text
//! a.log, requests of 2500 bytes
//! create
//! start
//! write 14 0 400
//! wait 700 ms
//! answer
//! rename
//! write 7 in the place of a.log.6
//! ```
//!
//! A number behind `write` is how much longer a line is than its number; a `g` behind it makes it the
//! first of three that belong together. Rotation moves the older files on by one and deletes the
//! seventh. Where a request is full also depends on how many digits a log's number has, which counts
//! up in a process: a story that hangs on that needs a size with room on both sides. A step that can't be taken (there is no file, no request is away) does nothing.
//!
//! Which inode a new file gets is a part of a story: `in the place of` names a deleted file by its last
//! name, and the new one gets that inode, or the story can't be played on this file system. No other
//! new file gets the inode of a deleted one.

use super::player::Player;
use std::fmt::{self, Display};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::Path;

/// How a history differs from others as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    pub pattern: String,
    /// The most bytes of a request.
    pub request: usize,
    /// Files stay open, so that what is deleted can be finished.
    pub holds: bool,
    pub grouped: bool,
    /// Dates tell what came before and what after a look.
    pub fine_clock: bool,
    /// The kernel tells of changes: some late, some twice, some wrong, and of some not.
    pub hints: bool,
}

/// A line to be written: how much longer it is than its number, and whether two more lines belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    pub filler: usize,
    pub group: bool,
}

/// One thing that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    // The writer and the rotation
    Create,
    /// Lines for a.log, after the end of one that was begun.
    Write(Vec<Line>),
    /// A line for a.log that has no end yet.
    Begin,
    /// A writer that has not noticed the rotation yet.
    WriteLate,
    Rename,
    CopyTruncate,
    Compress(String),
    Truncate,
    Delete(String),
    /// The clock was set by so many seconds: the dates of all files move by them. Their times of birth
    /// can't be moved.
    Dates(i64),
    /// The clock of the file system moves on.
    Tick,
    // The agent
    Start,
    /// Milliseconds go by, then it does what is due and sends.
    Wait(u64),
    /// It does what is due and sends nothing.
    Look,
    LookAtAll,
    Send,
    /// Too many files are open, or they have been idle for long.
    CloseFiles,
    Kill,
    KillTaken,
    Stop,
    StopTaken,
    StopAnswered,
    /// Another configuration is taken over, which changes nothing of its requests.
    Reload,
    // The server, or the network before it, decides about the oldest request
    Answer,
    Discard,
    /// An answer that says nothing.
    NoAnswer,
    NoAnswerTaken,
}

const PHRASES: [(&str, Step); 22] = [
    ("create", Step::Create),
    ("begin a line", Step::Begin),
    ("write late", Step::WriteLate),
    ("rename", Step::Rename),
    ("copytruncate", Step::CopyTruncate),
    ("truncate", Step::Truncate),
    ("tick", Step::Tick),
    ("start", Step::Start),
    ("look", Step::Look),
    ("look at all", Step::LookAtAll),
    ("send", Step::Send),
    ("close files", Step::CloseFiles),
    ("kill", Step::Kill),
    ("kill, request taken", Step::KillTaken),
    ("stop", Step::Stop),
    ("stop, request taken", Step::StopTaken),
    ("stop, request answered", Step::StopAnswered),
    ("reload", Step::Reload),
    ("answer", Step::Answer),
    ("discard", Step::Discard),
    ("no answer", Step::NoAnswer),
    ("no answer, request taken", Step::NoAnswerTaken),
];

const IN_PLACE: &str = " in the place of ";

/// A step, and the deleted file whose inode the file that it makes gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    pub step: Step,
    pub place: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Story {
    pub setting: Setting,
    pub turns: Vec<Turn>,
}

/// The reason why a story does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    Lost(u64),
    Twice(u64),
    Panic(String),
    /// The file system does not give an inode as the story has it.
    Unplayable(String),
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Lost(n) => write!(f, "line {n} is lost"),
            Failure::Twice(n) => write!(f, "line {n} came twice"),
            Failure::Panic(text) => write!(f, "a panic: {text}"),
            Failure::Unplayable(why) => write!(f, "can't be played here: {why}"),
        }
    }
}

impl Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.filler, if self.group { "g" } else { "" })
    }
}

impl Display for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.step {
            Step::Write(lines) => {
                write!(f, "write")?;
                lines.iter().try_for_each(|line| write!(f, " {line}"))?;
            }
            Step::Compress(name) => write!(f, "compress {name}")?,
            Step::Delete(name) => write!(f, "delete {name}")?,
            Step::Dates(seconds) => write!(f, "set the clock by {seconds} s")?,
            Step::Wait(millis) => write!(f, "wait {millis} ms")?,
            step => {
                let phrase = PHRASES.iter().find(|(_, s)| s == step);
                write!(f, "{}", phrase.expect("all others have a phrase").0)?;
            }
        }
        match &self.place {
            Some(name) => write!(f, "{IN_PLACE}{name}"),
            None => Ok(()),
        }
    }
}

impl Turn {
    fn parse(text: &str) -> Option<Self> {
        let (text, place) = match text.split_once(IN_PLACE) {
            Some((text, name)) => (text, Some(name.to_owned())),
            None => (text, None),
        };
        let step = match PHRASES.iter().find(|(phrase, _)| *phrase == text) {
            Some((_, step)) => step.clone(),
            None => Self::with_words(text)?,
        };
        Some(Turn { step, place })
    }

    fn with_words(text: &str) -> Option<Step> {
        let name = |verb: &str| text.strip_prefix(verb).map(str::to_owned);
        if let Some(name) = name("compress ") {
            return Some(Step::Compress(name));
        }
        if let Some(name) = name("delete ") {
            return Some(Step::Delete(name));
        }
        if let Some(rest) = text.strip_prefix("set the clock by ") {
            return rest.strip_suffix(" s")?.parse().ok().map(Step::Dates);
        }
        if let Some(rest) = text.strip_prefix("wait ") {
            return rest.strip_suffix(" ms")?.parse().ok().map(Step::Wait);
        }
        let lines = text.strip_prefix("write ")?.split_whitespace();
        let lines: Option<Vec<Line>> = lines
            .map(|word| {
                let number = word.strip_suffix('g');
                Some(Line {
                    filler: number.unwrap_or(word).parse().ok()?,
                    group: number.is_some(),
                })
            })
            .collect();
        lines.map(Step::Write)
    }
}

impl Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Setting {
            pattern, request, ..
        } = &self.setting;
        write!(f, "{pattern}, requests of {request} bytes")?;
        if !self.setting.holds {
            write!(f, ", no file stays open")?;
        }
        if self.setting.grouped {
            write!(f, ", groups")?;
        }
        if self.setting.fine_clock {
            write!(f, ", fine clock")?;
        }
        if self.setting.hints {
            write!(f, ", hints")?;
        }
        self.turns
            .iter()
            .try_for_each(|turn| write!(f, "\n        {turn}"))
    }
}

impl Story {
    /// A story in words; panics at a line that it does not understand.
    pub fn parse(text: &str) -> Self {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let mut words = lines.next().unwrap_or_default().split(", ");
        let mut setting = Setting {
            pattern: words.next().unwrap_or_default().to_owned(),
            request: 5_000,
            holds: true,
            grouped: false,
            fine_clock: false,
            hints: false,
        };
        for word in words {
            match word {
                "no file stays open" => setting.holds = false,
                "groups" => setting.grouped = true,
                "fine clock" => setting.fine_clock = true,
                "hints" => setting.hints = true,
                _ => {
                    let number = word.strip_prefix("requests of ");
                    let number = number.and_then(|w| w.strip_suffix(" bytes")?.parse().ok());
                    setting.request = number.unwrap_or_else(|| panic!("no setting: {word}"));
                }
            }
        }
        let turns = lines
            .map(|line| Turn::parse(line).unwrap_or_else(|| panic!("no step: {line}")))
            .collect();
        Story { setting, turns }
    }

    /// Tells it to an agent on real files.
    ///
    /// # Errors
    /// The line that is missing or came again.
    pub fn play(&self, folder: &Path) -> Result<(), Failure> {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let mut player = Player::new(folder, &self.setting, true);
            for turn in &self.turns {
                player.take(turn)?;
            }
            player.finish()
        }));
        outcome.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(Failure::Panic(text.unwrap_or_default().to_owned()))
        })
    }
}

#[test]
fn a_story_says_what_was_read() {
    let words = "*.log, requests of 70 bytes, no file stays open, groups, fine clock
        create in the place of a.log.2
        write 7 0g
        wait 30 ms
        set the clock by -5 s
        delete a.log.1.gz
        compress a.log.2
        stop, request taken";
    assert_eq!(Story::parse(words).to_string(), words);
}
