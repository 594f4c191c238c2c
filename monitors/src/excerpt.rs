//! The part of a text that `shell_monitor` and `url_monitor` write: the match of an expression, the
//! first line or everything, cut to a number of characters.

use crate::monitor::Setup;
use crate::options::{Default, Kind, OptionSpec};
use crate::Error;
use common::regex::Pattern;
use serde_json::Value as Json;

/// `extract`
pub const EXTRACT: OptionSpec = OptionSpec::new(
    "extract",
    Kind::Text,
    Default::Text(""),
    "A regular expression, searched for in the whole text. Where it is found, its first group stands for the text, so it must have one: `load=(\\S+)`. Default: the text as it is.",
);

/// `log_all_lines`
pub const LOG_ALL_LINES: OptionSpec = OptionSpec::new(
    "log_all_lines",
    Kind::Any,
    Default::None,
    "Writes all lines of the text instead of its first one that is not empty. Default: false. Any text but the empty one switches it on.",
);

/// `max_characters`
pub const MAX_CHARACTERS: OptionSpec = OptionSpec::new(
    "max_characters",
    Kind::Int,
    Default::Int(200),
    "So many characters are written at the most; `...` stands for the rest.",
)
.at_least(0.0)
.at_most(10_000.0);

/// The rules of one monitor.
#[derive(Debug)]
pub struct Excerpt {
    extract: Option<Pattern>,
    all_lines: bool,
    max_characters: usize,
}

/// The part of a text that is written.
#[derive(Debug, PartialEq, Eq)]
pub struct Picked {
    /// The value.
    pub text: String,
    /// Characters before the first line was picked and cut.
    pub length: u64,
}

impl Excerpt {
    /// By the options above.
    ///
    /// # Errors
    /// `extract` has no group or is no regular expression.
    pub fn new(setup: &Setup) -> Result<Self, Error> {
        let options = setup.options;
        let extract = match options.text("extract") {
            "" => None,
            // A pattern that has only an escaped one fails at each match, as it always did.
            text if !text.contains('(') => {
                return Err(Error::of_option(
                    "extract",
                    format!(
                        "extract \"{text}\" has no group: put the part that is wanted into ( )"
                    ),
                ))
            }
            text => Some(Pattern::new(text).map_err(|mistake| {
                Error::of_option(
                    "extract",
                    format!("extract \"{text}\" is no regular expression: {mistake}"),
                )
            })?),
        };
        Ok(Excerpt {
            extract,
            all_lines: is_true(options.json("log_all_lines")),
            max_characters: options
                .int("max_characters")
                .and_then(|n| usize::try_from(n).ok())
                .unwrap_or(200),
        })
    }

    /// Applies them to `text`, behind which `dropped` more characters were not kept.
    ///
    /// # Errors
    /// `extract` is found, but its group takes no part in that.
    pub fn pick(&mut self, text: &str, dropped: u64) -> Result<Picked, Error> {
        let mut part = text;
        let mut dropped = dropped;
        if let Some(pattern) = &mut self.extract {
            if pattern.find(text).is_some() {
                part = pattern.group(1, text).ok_or_else(|| {
                    Error::new("extract is found in the text, but its first group takes no part")
                })?;
                dropped = 0;
            }
        }
        let length = part.chars().count() as u64 + dropped;
        let shown = if self.all_lines {
            part
        } else {
            let breaks = ['\r', '\n'];
            let line = part.split(breaks).find(|line| !line.is_empty());
            line.unwrap_or("").trim_matches(is_blank)
        };
        let end = shown.char_indices().nth(self.max_characters);
        let text = match end {
            Some((end, _)) => format!("{}...", &shown[..end]),
            None => shown.to_owned(),
        };
        Ok(Picked { text, length })
    }
}

/// Whether Python's `strip` removes this character.
fn is_blank(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

/// An option without a type is a switch by Python's idea of truth: any text but the empty one is
/// on, `"false"` too.
fn is_true(json: &Json) -> bool {
    match json {
        Json::Null => false,
        Json::Bool(yes) => *yes,
        Json::Number(n) => n.as_f64() != Some(0.0),
        Json::String(text) => !text.is_empty(),
        Json::Array(items) => !items.is_empty(),
        Json::Object(map) => !map.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;
    use crate::Place;
    use serde_json::json;

    fn excerpt(entry: &Json) -> Result<Excerpt, Error> {
        let members: Vec<_> = entry.as_object().unwrap().clone().into_iter().collect();
        let options = Options::read(&[EXTRACT, LOG_ALL_LINES, MAX_CHARACTERS], &members)?;
        Excerpt::new(&Setup {
            options: &options,
            place: &Place::new("/", "/"),
            module: "m",
            id: "",
        })
    }

    fn pick(entry: Json, text: &str) -> (String, u64) {
        let picked = excerpt(&entry).unwrap().pick(text, 0).unwrap();
        (picked.text, picked.length)
    }

    #[test]
    fn the_first_line_with_something_in_it_is_trimmed_and_cut() {
        for (text, want, length) in [
            ("", "", 0),
            ("\r\n\n  a b \u{1f}\r\nc", "a b", 13),
            // blanks are something, too
            ("  \nx", "", 4),
            ("é☃", "é☃", 2),
        ] {
            assert_eq!(pick(json!({}), text), (want.to_owned(), length), "{text:?}");
        }
    }

    #[test]
    fn the_cut_is_at_characters_and_at_each_bound() {
        let long = "é".repeat(20_000);
        for (max, kept) in [(0, 0), (200, 200), (10_000, 10_000)] {
            let (text, length) = pick(json!({"max_characters": max}), &long);
            assert_eq!(text, format!("{}...", "é".repeat(kept)));
            assert_eq!(length, 20_000);
        }
        let exactly = "x".repeat(200);
        assert_eq!(pick(json!({}), &exactly), (exactly.clone(), 200));
        assert_eq!(pick(json!({"max_characters": 0}), ""), (String::new(), 0));
        for bad in [-1, 10_001] {
            assert!(excerpt(&json!({"max_characters": bad})).is_err());
        }
    }

    #[test]
    fn what_was_not_kept_counts_unless_a_part_was_extracted() {
        let mut plain = excerpt(&json!({})).unwrap();
        assert_eq!(plain.pick("abc", 7).unwrap().length, 10);
        let mut part = excerpt(&json!({"extract": "(b)"})).unwrap();
        assert_eq!(part.pick("abc", 7).unwrap().length, 1);
        assert_eq!(part.pick("xyz", 7).unwrap().length, 10);
    }

    #[test]
    fn extract_takes_its_group_or_leaves_the_text() {
        assert_eq!(
            pick(json!({"extract": "load=(\\S+)"}), "a\nload=0.42 x"),
            ("0.42".to_owned(), 4)
        );
        assert_eq!(
            pick(json!({"extract": "load=(\\S+)"}), "no"),
            ("no".to_owned(), 2)
        );
        assert_eq!(pick(json!({"extract": "a()"}), "a"), (String::new(), 0));
        // a match without the group, and a group that is none
        for pattern in ["a|(b)", r"a\("] {
            let mut excerpt = excerpt(&json!({ "extract": pattern })).unwrap();
            assert!(excerpt.pick("a(", 0).is_err(), "{pattern}");
            assert!(excerpt.pick("", 0).is_ok());
        }
        for bad in ["no group", "(", "(?P<n>"] {
            assert!(excerpt(&json!({ "extract": bad })).is_err(), "{bad}");
        }
    }

    #[test]
    fn all_lines_are_wanted_by_any_text_that_is_not_empty() {
        for yes in [json!(true), json!("false"), json!(1)] {
            assert_eq!(pick(json!({"log_all_lines": yes}), " a\nb\n").0, " a\nb\n");
        }
        for no in [json!(false), json!(""), json!(null), json!(0)] {
            assert_eq!(pick(json!({"log_all_lines": no}), " a\nb\n").0, "a");
        }
    }
}
