//! Names that log rotation gives to files, and the schemes that they follow.
//!
//! A name never proves which log a file came from: `app-1.log` and `access_8080.log` are logs of
//! their own, and `app.1.log` may be. So a file whose content is unknown is taken for a log's only
//! if its name follows the [`Scheme`] of a file that holds a known content of that log.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// How a rotation names files: where it puts its mark, and the mark's form. `app.log.1` and
/// `app.log.2` follow one scheme; `app.1.log` and `app.log-20261123` follow two others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scheme {
    /// The mark stands before the log's extension, not at the end of the name.
    before_extension: bool,
    /// The mark with `0` for each digit of a date and `N` for a counter of any length.
    form: Vec<u8>,
}

impl Scheme {
    /// For a checkpoint: `*` stands for the log's name, or for its parts around the mark. `*.N` is the scheme
    /// of `app.log.1`, `*.N*` that of `app.1.log`.
    pub fn to_text(&self) -> String {
        let form = String::from_utf8_lossy(&self.form);
        let end = if self.before_extension { "*" } else { "" };
        format!("*{form}{end}")
    }

    /// From that text; `None` where no name follows such a scheme.
    pub fn from_text(text: &str) -> Option<Scheme> {
        let rest = text.strip_prefix('*')?;
        let (mark, before_extension) = match rest.strip_suffix('*') {
            Some(mark) => (mark, true),
            None => (rest, false),
        };
        // A mark of this form has it
        let example = mark.replace('N', "1").into_bytes();
        let is_form = match mark {
            "" => !before_extension,
            _ => form(&example).as_deref() == Some(mark.as_bytes()),
        };
        is_form.then(|| Scheme {
            before_extension,
            form: mark.into(),
        })
    }
}

/// A name that a rotation of a certain log gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated<'a> {
    /// How the rotation names files; compression does not change that.
    pub scheme: Scheme,
    /// The counter or date that was added to the log's name, without `.gz`.
    pub mark: &'a [u8],
    /// Whether the name ends with `.gz`.
    pub gz: bool,
}

/// The most digits of a counter, and of a separate part at the end of a date that counts.
const COUNTER: usize = 5;
/// The fewest digits of a date: `202611`.
const DATE: usize = 6;

/// The parts of `name`, if it is a name that a rotation gives to `log`: a counter after a dot or a
/// date after any separator, at the end of the name (`app.log.1`, `app.log-20261123`) or before its
/// extension (`app.1.log`, `app-20261123.log`), each also with `.gz`, or the log's name with `.gz`
/// alone.
pub fn rotated<'a>(log: &[u8], name: &'a [u8]) -> Option<Rotated<'a>> {
    let (plain, gz) = match name.strip_suffix(b".gz") {
        Some(plain) => (plain, true),
        None => (name, false),
    };
    let dot = log.iter().rposition(|&b| b == b'.').filter(|&at| at > 0);
    let (stem, extension) = log.split_at(dot.unwrap_or(log.len()));
    let before = |plain: &'a [u8]| plain.strip_prefix(stem)?.strip_suffix(extension);
    let (mark, before_extension) = match plain.strip_prefix(log) {
        Some(mark) => (mark, false),
        None => (before(plain)?, true),
    };
    let form = match mark {
        [] if gz => Vec::new(),
        _ => form(mark)?,
    };
    Some(Rotated {
        scheme: Scheme {
            before_extension,
            form,
        },
        mark,
        gz,
    })
}

/// The form of a mark, if it is a counter or a date.
fn form(mark: &[u8]) -> Option<Vec<u8>> {
    let separator = *mark.first().filter(|b| is_separator(**b))?;
    if !mark.iter().all(|b| b.is_ascii_digit() || is_of_date(*b)) {
        return None;
    }
    let digits = |part: &[u8]| part.iter().filter(|b| b.is_ascii_digit()).count();
    let ends_with_digits = mark.iter().rev().take_while(|b| b.is_ascii_digit()).count();
    let (date, end) = mark.split_at(mark.len() - ends_with_digits);
    let counts = (1..=COUNTER).contains(&end.len());
    let masked = |part: &[u8]| -> Vec<u8> {
        let mask = |b: &u8| if b.is_ascii_digit() { b'0' } else { *b };
        part.iter().map(mask).collect()
    };
    if separator == b'.' && date.len() == 1 && counts {
        return Some(b".N".to_vec());
    }
    if digits(date) >= DATE && counts && date.last().is_some_and(|b| is_separator(*b)) {
        return Some([&masked(date)[..], b"N"].concat());
    }
    (digits(mark) >= DATE).then(|| masked(mark))
}

fn is_separator(byte: u8) -> bool {
    matches!(byte, b'.' | b'-' | b'_')
}

fn is_of_date(byte: u8) -> bool {
    is_separator(byte) || matches!(byte, b':' | b'T' | b'Z' | b'+')
}

/// The names of the logs that a rotated file's name may have been made of: `app.log` for
/// `app.log.1`, `app.log-20261123` and `app-20261123.log`. None for a name that no rotation gives.
pub fn originals(name: &OsStr) -> Vec<OsString> {
    let name = name.as_bytes();
    let plain = name.strip_suffix(b".gz").unwrap_or(name);
    let mut found: Vec<OsString> = Vec::new();
    let mut offer = |log: &[u8]| {
        let new = !found.iter().any(|f| f.as_bytes() == log);
        if new && !log.is_empty() && rotated(log, name).is_some() {
            found.push(OsStr::from_bytes(log).to_owned());
        }
    };
    if plain.len() < name.len() {
        offer(plain);
    }
    // A mark begins with a separator; what comes after it are digits and separators up to the end
    // of the name or to its extension.
    for at in separators_in_mark(plain) {
        offer(&plain[..at]);
    }
    if let Some(dot) = plain.iter().rposition(|b| *b == b'.') {
        let (stem, extension) = plain.split_at(dot);
        for at in separators_in_mark(stem) {
            offer(&[&stem[..at], extension].concat());
        }
    }
    found
}

/// Where in the digits and date signs that a name ends with a mark may begin.
fn separators_in_mark(name: &[u8]) -> impl Iterator<Item = usize> + '_ {
    let mark = |b: &u8| b.is_ascii_digit() || is_of_date(*b);
    let begin = name.iter().rposition(|b| !mark(b)).map_or(0, |at| at + 1);
    let places = (begin..name.len()).rev();
    places.filter(|at| is_separator(name[*at]))
}

/// The part of a path that all names which a rotation gives to a file have in common: the path
/// without `.gz`, without digits and date signs at its end, and without a date before the extension.
/// Fewer than six digits there are a number of the log itself: `worker-1.log` and `worker-2.log` are
/// two logs.
pub fn family(path: &[u8]) -> Vec<u8> {
    let path = path.strip_suffix(b".gz").unwrap_or(path);
    let start = path.iter().rposition(|&b| b == b'/').map_or(0, |at| at + 1);
    let mark = |b: &u8| b.is_ascii_digit() || is_of_date(*b);
    let without_end = |name: &[u8]| name.iter().rposition(|b| !mark(b)).map_or(0, |at| at + 1);
    let name = &path[start..];
    let end = without_end(name);
    if end > 0 && end < name.len() {
        return path[..start + end].to_vec();
    }
    if let Some(dot) = name.iter().rposition(|b| *b == b'.') {
        let (stem, extension) = name.split_at(dot);
        let end = without_end(stem);
        let digits = stem[end..].iter().filter(|b| b.is_ascii_digit()).count();
        if digits >= DATE && end > 0 {
            return [&path[..start + end], extension].concat();
        }
    }
    path.to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scheme(log: &str, name: &str) -> Option<Scheme> {
        rotated(log.as_bytes(), name.as_bytes()).map(|r| r.scheme)
    }

    #[test]
    fn names_that_rotation_gives() {
        for name in [
            "app.log.1",
            "app.log.12",
            "app.log-20261123",
            "app.log-20261123-1200",
            "app.log-1764000000",
            "app.1.log",
            "app-20261123.log",
            "app-2026-11-23.log",
            "app.log.1.gz",
            "app.log-20261123.gz",
            "app.log.2026-11-23",
            "app.2026-11-23.1.log",
            "app.log.gz",
        ] {
            assert!(scheme("app.log", name).is_some(), "{name}");
        }
        assert!(scheme("messages", "messages.1").is_some());
        assert!(scheme("messages", "messages-20261123").is_some());
    }

    #[test]
    fn numbers_that_are_part_of_a_name_are_no_rotation() {
        for name in [
            "app.log",
            "app.log.old",
            "appx.log.1",
            "app.log.1.bz2",
            "other.log.1",
            "app.log.bak",
            "app-1.log",
            "app-2.log",
            "app_8080.log",
            "app.log-1",
            "app.log_8080",
            "app.log.123456.7.old",
            "app_8080.log-20261123",
        ] {
            assert_eq!(scheme("app.log", name), None, "{name}");
        }
        assert_eq!(scheme("messages", "messages-1"), None);
    }

    #[test]
    fn one_rotation_names_files_by_one_scheme() {
        for same in [
            ["app.log.1", "app.log.12"],
            ["app.log.1", "app.log.2.gz"],
            ["app.log-20261123", "app.log-20270101.gz"],
            ["app-2026-11-23.1.log", "app-2026-11-24.12.log"],
            ["app.log.2026-11-23", "app.log.2026-12-01"],
        ] {
            let [a, b] = same.map(|name| scheme("app.log", name));
            assert!(a.is_some() && a == b, "{same:?}");
        }
        for other in [
            ["app.log.1", "app.1.log"],
            ["app.log.1", "app.log-20261123"],
            ["app.log-20261123", "app-20261123.log"],
            ["app.log-20261123", "app.log-2026-11-23"],
            ["app.log-20261123", "app.log-1764000000"],
        ] {
            let [a, b] = other.map(|name| scheme("app.log", name));
            assert!(a.is_some() && b.is_some() && a != b, "{other:?}");
        }
    }

    #[test]
    fn a_scheme_is_read_back_as_it_was_written_down() {
        for (name, text) in [
            ("app.log.1", "*.N"),
            ("app.log.gz", "*"),
            ("app.1.log", "*.N*"),
            ("app.log-20261123.gz", "*-00000000"),
            ("app-20261123.log", "*-00000000*"),
            ("app.2026-11-23.1.log", "*.0000-00-00.N*"),
            ("app.log-2026-11-23T12:00:00Z", "*-0000-00-00T00:00:00Z"),
        ] {
            let scheme = scheme("app.log", name);
            assert_eq!(scheme.as_ref().map(Scheme::to_text).as_deref(), Some(text));
            assert_eq!(Scheme::from_text(text), scheme);
        }
        for text in ["", ".N", "**", "*N", "*.1", "*.old", "*.N.*", "*é", "*-0"] {
            assert_eq!(Scheme::from_text(text), None, "{text}");
        }
    }

    #[test]
    fn the_log_is_known_by_the_names_of_its_rotated_files() {
        let of = |name: &str| {
            let names = originals(OsStr::new(name)).into_iter();
            names.map(|n| n.into_string().unwrap()).collect::<Vec<_>>()
        };
        for name in [
            "app.log.1",
            "app.log.2.gz",
            "app.log-20261123",
            "app.1.log",
            "app.log-20261123-1200",
        ] {
            assert!(of(name).contains(&"app.log".to_owned()), "{name}");
        }
        assert_eq!(of("messages.1"), ["messages"]);
        assert_eq!(of("worker-1.log.2"), ["worker-1.log"]);
        assert_eq!(of("messages1.1"), ["messages1"]);
        assert_eq!(of("app.log"), [""; 0]);
        assert_eq!(of("app-2.log"), [""; 0]);
        assert_eq!(of("2026"), [""; 0]);
    }

    #[test]
    fn rotated_names_fall_to_one_session_and_numbered_logs_do_not() {
        let same = |a: &str, b: &str| family(a.as_bytes()) == family(b.as_bytes());
        for name in [
            "/x/app.log.1",
            "/x/app.log.12.gz",
            "/x/app.log-20261123",
            "/x/app-20261123.log",
        ] {
            assert!(same("/x/app.log", name), "{name}");
        }
        assert!(!same("/x/worker-1.log", "/x/worker-2.log"));
        assert!(!same("/x/1.log", "/x/2.log"));
        assert!(!same("/x/app.log", "/y/app.log"));
    }
}
