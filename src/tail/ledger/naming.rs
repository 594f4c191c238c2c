//! Names lead, they never prove: which log a file's name may be a rotation's name for, and which of two
//! such files is the older one.

use super::super::names::{self, Scheme};
use super::content::LogId;
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

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
    /// Whether logs that are there at the very first look are read from their end on.
    fn starts_at_end(&self) -> bool;
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
        let originals = names::originals(OsStr::from_bytes(name)).into_iter();
        let of = |original: std::ffi::OsString| match policy.claim(original.as_bytes()) {
            Claim::Own(log) => {
                let rotated = names::rotated(original.as_bytes(), name)?;
                let rotation = Rotation {
                    log,
                    mark: rotated.mark.into(),
                    scheme: rotated.scheme,
                };
                Some((original.into_vec(), rotation))
            }
            Claim::Others | Claim::Nobody => None,
        };
        originals.filter_map(of).collect()
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

        fn starts_at_end(&self) -> bool {
            true
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
