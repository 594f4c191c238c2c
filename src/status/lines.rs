//! The text of a report as it grows, line by line.

use std::fmt::{Display, Write};

/// The columns of a terminal that nobody has made wider.
pub(super) const COLUMNS: usize = 80;
/// The indent of what stands beneath a line because it has no room in it.
const BENEATH: usize = 2;

/// A growing text. Writing to a `String` can't fail, so nothing here returns errors.
pub(super) struct Text {
    out: String,
    /// Where the present line begins.
    line: usize,
    /// Whether longer lines are wrapped at [`COLUMNS`].
    wraps: bool,
}

impl Text {
    pub(super) fn new(wraps: bool) -> Text {
        Text {
            out: String::with_capacity(4096),
            line: 0,
            wraps,
        }
    }

    pub(super) fn wraps(&self) -> bool {
        self.wraps
    }

    pub(super) fn finish(self) -> String {
        self.out
    }

    /// A part of a line. Names of files and answers of servers are somebody else's: what in them
    /// would break the line or move a terminal's cursor becomes a blank.
    pub(super) fn part(&mut self, content: impl Display) {
        self.append(&content);
    }

    /// Of each type that is shown there is one copy of what calls this, so that is short.
    fn append(&mut self, content: &dyn Display) {
        let start = self.out.len();
        let _ = write!(self.out, "{content}");
        if self.out[start..].contains(char::is_control) {
            let harmless = self.out[start..].replace(char::is_control, " ");
            self.out.truncate(start);
            self.out.push_str(&harmless);
        }
    }

    pub(super) fn line(&mut self, content: impl Display) {
        self.append(&content);
        self.end();
    }

    /// Ends a line, which may be empty.
    pub(super) fn end(&mut self) {
        let line = &self.out[self.line..];
        let indent = line.len() - line.trim_start().len();
        self.end_with(indent, indent + BENEATH);
    }

    /// Ends a line as it is, however long: a path must stay in one piece to be found by grep.
    pub(super) fn end_whole(&mut self) {
        self.out.push('\n');
        self.line = self.out.len();
    }

    /// A label padded to `width`, and its value, which begins in the same line: programs look for it there.
    pub(super) fn pair(&mut self, width: usize, label: &str, value: impl Display) {
        self.labelled(width, label, &value);
    }

    fn labelled(&mut self, width: usize, label: &str, value: &dyn Display) {
        self.append(&format_args!("{label:width$}"));
        let begin = self.out.len() - self.line;
        self.append(value);
        self.end_with(begin, begin);
    }

    /// The same for sentences: those that have no room in the line stand beneath, over the whole width.
    pub(super) fn prose(&mut self, width: usize, label: &str, value: &str) {
        let start = self.out.len();
        self.append(&format_args!("{label:width$}{value}"));
        if self.is_full() {
            let value = self.out.split_off(start + label.len().max(width));
            self.out.truncate(start + label.len());
            self.end_whole();
            self.out.push_str(&" ".repeat(BENEATH));
            self.out.push_str(&value);
        }
        self.end_with(BENEATH.min(self.out.len() - self.line), BENEATH);
    }

    fn is_full(&self) -> bool {
        self.wraps && self.out[self.line..].chars().count() > COLUMNS
    }

    /// Ends a line whose first `begin` bytes, of a label, are not to be broken; what has no room
    /// follows on lines that are indented by `hang`.
    fn end_with(&mut self, begin: usize, hang: usize) {
        if self.is_full() {
            let line = self.out.split_off(self.line);
            wrap(&mut self.out, &line, begin, hang);
        }
        self.end_whole();
    }
}

fn wrap(out: &mut String, line: &str, begin: usize, hang: usize) {
    let (label, mut rest) = line.split_at(begin);
    out.push_str(label);
    let mut column = label.chars().count();
    let mut is_first = true;
    while !rest.is_empty() {
        let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
        rest = after;
        let length = word.chars().count();
        let blank = usize::from(!is_first);
        if column + blank + length > COLUMNS {
            // One that has no room there either begins further left
            let indent = match hang + length > COLUMNS {
                true => BENEATH.min(hang),
                false => hang,
            };
            if column > indent {
                out.truncate(out.trim_end_matches(' ').len());
                out.push('\n');
                out.push_str(&" ".repeat(indent));
                column = indent;
            }
            is_first = true;
        }
        if !is_first {
            out.push(' ');
            column += 1;
        }
        let is_path = word.contains('/') && !word.contains(['<', '{']);
        for (n, c) in word.chars().enumerate() {
            if column >= COLUMNS && !is_path && n > 0 {
                out.push('\n');
                out.push_str(&" ".repeat(BENEATH));
                column = BENEATH;
            }
            out.push(c);
            column += 1;
        }
        is_first = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl Fn(&mut Text)) -> String {
        let mut text = Text::new(true);
        write(&mut text);
        text.finish()
    }

    #[test]
    fn a_line_that_fits_is_as_it_was_and_a_longer_one_goes_on_beneath() {
        let fits = "x".repeat(80);
        assert_eq!(written(|t| t.line(&fits)), format!("{fits}\n"));
        let words = "  ".to_owned() + &"word ".repeat(30);
        let text = written(|t| t.line(&words));
        assert_eq!(text.matches("word").count(), 30);
        for (n, line) in text.lines().enumerate() {
            assert!(line.len() <= 80 && line.len() > 30, "{text}");
            assert!(line.starts_with(if n == 0 { "  word" } else { "    word" }));
            assert!(!line.ends_with(' '), "{text}");
        }
        assert_eq!(written(|t| t.line("")), "\n");
    }

    #[test]
    fn a_value_goes_on_under_its_beginning_and_a_text_beneath_its_label() {
        let value = "1000 = 651 copied + 40 sampled out + 281 by which rules shorten + 3 failed";
        let text = written(|t| t.pair(23, "Bytes taken:", value));
        assert_eq!(
            text,
            "Bytes taken:           1000 = 651 copied + 40 sampled out + 281 by which rules\n\
             \x20                      shorten + 3 failed\n"
        );
        let prose = "all of it ".repeat(15);
        let text = written(|t| t.prose(23, "Remedy:", &prose));
        assert!(text.starts_with("Remedy:\n  all of it all"), "{text}");
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
    }

    #[test]
    fn a_path_is_never_broken_and_noise_is() {
        let path = format!("/{}", "folder/".repeat(15));
        for text in [
            written(|t| t.pair(23, "Hangs at:", &path)),
            written(|t| t.prose(23, "Hangs at:", &path)),
        ] {
            assert_eq!(text, format!("Hangs at:\n  {path}\n"));
        }
        for noise in ["x".repeat(300), format!("<a/>{}", "é".repeat(300))] {
            let text = written(|t| t.pair(43, "Last copy response:", &noise));
            assert!(
                text.lines().all(|line| line.chars().count() <= 80),
                "{text}"
            );
            let all: String = text.split_whitespace().collect();
            assert!(all.ends_with(&noise), "{text}");
        }
    }

    #[test]
    fn without_wrapping_nothing_is_broken() {
        let mut text = Text::new(false);
        let long = "word ".repeat(50);
        text.pair(10, "L:", &long);
        assert_eq!(text.finish(), format!("L:        {long}\n"));
    }
}
