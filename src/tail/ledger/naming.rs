//! Names lead, they never prove: which log a file's name may be a rotation's name for, and which of two
//! such files is the older one.

use super::super::names::{self, Scheme};
use super::content::LogId;
use super::mutants::{self, Mutant};
use super::observe::Listed;
use crate::tail::counters::Skip;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// The configuration's claim to a name in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// It is the path of this log.
    Own(LogId),
    /// An entry excludes it, or it is another worker's.
    Others,
    /// No entry speaks of it.
    Nobody,
}

/// The configuration's claims to the names in a folder.
pub trait Policy {
    /// Of this name.
    fn claim(&self, name: &[u8]) -> Claim;
    /// Where a file is read from that is new at the path of its log. `first`: this is the first look.
    fn start(&self, log: LogId, file: &Listed, first: bool) -> Start;
}

/// Where a new content is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// From its first byte.
    Begin,
    /// From this offset, in bytes; why what is before it is not sent.
    At(u64, Option<Skip>),
    /// From the end of its last line.
    #[cfg(test)]
    End,
}

/// A name that a rotation of a log gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    /// The log.
    pub log: LogId,
    /// How the rotation names files.
    pub scheme: Scheme,
    /// The part that it added to the log's name.
    mark: Box<[u8]>,
}

impl Rotation {
    /// The configured log that a rotation may have given this name to: the one with the longest
    /// name. `app-1-20261123.log` is of `app-1.log` and not of `app.log`. Where a wildcard has `app.log.1`
    /// as a log of its own, `app.log.1.gz` is of `app.log` all the same.
    pub fn of_any(name: &[u8], policy: &dyn Policy) -> Option<Rotation> {
        let any = Rotation::any(name, policy).into_iter();
        let roots = any.filter(|(original, _)| Rotation::any(original, policy).is_empty());
        let longest = roots.max_by_key(|(original, _)| original.len());
        longest.map(|(_, rotation)| rotation)
    }

    /// With the names of the logs.
    fn any(name: &[u8], policy: &dyn Policy) -> Vec<(Vec<u8>, Rotation)> {
        let slash = name.iter().rposition(|b| *b == b'/').map_or(0, |at| at + 1);
        let (folder, file) = name.split_at(slash);
        // A rotation may have an `olddir` below the log's folder
        let above = folder.strip_suffix(b"/").map(|folder| {
            let slash = folder.iter().rposition(|b| *b == b'/');
            &folder[..slash.map_or(0, |at| at + 1)]
        });
        let above = above.filter(|_| !mutants::is(Mutant::FolderAboveIgnored));
        let mut found = Vec::new();
        for original in names::originals(OsStr::from_bytes(file)) {
            let Some(rotated) = names::rotated(original.as_bytes(), file) else {
                continue;
            };
            for folder in [Some(folder), above].into_iter().flatten() {
                let original = [folder, original.as_bytes()].concat();
                if let Claim::Own(log) = policy.claim(&original) {
                    let rotation = Rotation {
                        log,
                        mark: rotated.mark.into(),
                        scheme: rotated.scheme.clone(),
                    };
                    found.push((original, rotation));
                }
            }
        }
        found
    }

    /// The same of one log.
    pub fn of(log: LogId, name: &[u8], policy: &dyn Policy) -> Option<Rotation> {
        Rotation::of_any(name, policy).filter(|rotation| rotation.log == log)
    }

    /// Whether it was rotated away before the other, where both names follow one scheme: a counter grows
    /// with age, a date with youth.
    pub fn is_older_than(&self, other: &Rotation) -> Option<bool> {
        if self.scheme != other.scheme || self.log != other.log {
            return None;
        }
        let (a, b) = (self.parts(), other.parts());
        Some(match (&a[..], &b[..]) {
            ([a], [b]) if a.len() <= COUNTER && b.len() <= COUNTER => number(a) > number(b),
            _ => a.iter().map(|p| number(p)).lt(b.iter().map(|p| number(p))),
        })
    }

    /// By this the older one of two files comes first, where their names tell.
    pub fn age(&self) -> (LogId, &Scheme, Vec<i64>) {
        let parts = self.parts();
        let age = match &parts[..] {
            [counter] if counter.len() <= COUNTER => vec![-(number(counter) as i64)],
            dates => dates.iter().map(|part| number(part) as i64).collect(),
        };
        (self.log, &self.scheme, age)
    }

    /// The runs of digits in the mark.
    fn parts(&self) -> Vec<&[u8]> {
        let parts = self.mark.split(|b| !b.is_ascii_digit());
        parts.filter(|part| !part.is_empty()).collect()
    }
}

/// The most digits of a counter.
const COUNTER: usize = 5;

fn number(digits: &[u8]) -> u64 {
    digits.iter().fold(0u64, |n, digit| {
        n.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct App;

    impl Policy for App {
        fn claim(&self, name: &[u8]) -> Claim {
            match name {
                b"app.log" => Claim::Own(LogId(1)),
                _ => Claim::Nobody,
            }
        }

        fn start(&self, _: LogId, _: &Listed, _: bool) -> Start {
            Start::Begin
        }
    }

    #[test]
    fn age_is_read_from_names_of_one_scheme_only() {
        let of = |name: &str| Rotation::of(LogId(1), name.as_bytes(), &App).unwrap();
        let older = |a, b| of(a).is_older_than(&of(b));
        assert_eq!(older("app.log.10.gz", "app.log.9"), Some(true));
        assert_eq!(older("app.log.1", "app.log.2"), Some(false));
        assert_eq!(older("app.log-20261122", "app.log-20261123.gz"), Some(true));
        assert_eq!(
            older("app-20261123.2.log", "app-20261123.10.log"),
            Some(true)
        );
        assert_eq!(older("app.log-20261122", "app.log.1"), None);
        assert!(Rotation::of_any(b"app-1.log", &App).is_none());
    }
}
