//! Which numbered lines arrived: the proof that each came exactly once.
//!
//! A numbered line says `n=` and decimal digits, at its start or after a space. A line that also
//! ends in ` e=` and the same digits is *sealed*: it arrived whole.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// Numbers above this are not taken, which bounds a tally to 32 MB.
const MAX_NUMBER: u64 = 1 << 28;
/// At most so many repeated numbers are kept by name.
const MAX_REPEATED: usize = 1000;

/// The numbers that came, each marked with one bit.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    bits: Vec<u64>,
    /// How many different numbers came.
    pub seen: u64,
    /// How many came that had come before.
    pub repeats: u64,
    /// The first of those.
    pub repeated: Vec<u64>,
    /// How many came right after a larger one.
    pub backwards: u64,
    /// Lines without a number.
    pub unnumbered: u64,
    /// Lines with a number and no seal.
    pub unsealed: u64,
    last: Option<u64>,
}

impl Tally {
    /// Marks a line.
    pub fn add_line(&mut self, message: &[u8]) {
        match number_of(message) {
            Some((number, sealed)) => {
                self.unsealed += u64::from(!sealed);
                self.add(number);
            }
            None => self.unnumbered += 1,
        }
    }

    /// Marks a number.
    pub fn add(&mut self, number: u64) {
        self.backwards += u64::from(self.last.is_some_and(|last| last > number));
        self.last = Some(number);
        let (word, bit) = ((number / 64) as usize, 1u64 << (number % 64));
        if word >= self.bits.len() {
            self.bits.resize(word + 1, 0);
        }
        if self.bits[word] & bit == 0 {
            self.bits[word] |= bit;
            self.seen += 1;
        } else {
            self.repeats += 1;
            if self.repeated.len() < MAX_REPEATED {
                self.repeated.push(number);
            }
        }
    }

    /// Whether a number came.
    pub fn has(&self, number: u64) -> bool {
        let word = self.bits.get((number / 64) as usize);
        word.is_some_and(|word| word & (1 << (number % 64)) != 0)
    }

    /// The parts of `range` that did not come.
    pub fn missing(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let mut gaps: Vec<Range<u64>> = Vec::new();
        for number in range.filter(|&n| !self.has(n)) {
            match gaps.last_mut() {
                Some(gap) if gap.end == number => gap.end += 1,
                _ => gaps.push(number..number + 1),
            }
        }
        gaps
    }

    /// Adds what another tally has, as if its lines had come after these.
    pub fn merge(&mut self, other: &Tally) {
        let backwards = self.backwards + other.backwards;
        let last = other.last.or(self.last);
        for (word, &bits) in other.bits.iter().enumerate() {
            let mut bits = bits;
            while bits != 0 {
                self.add(word as u64 * 64 + u64::from(bits.trailing_zeros()));
                bits &= bits - 1;
            }
        }
        self.backwards = backwards;
        self.last = last;
        self.repeats += other.repeats;
        let room = MAX_REPEATED - self.repeated.len().min(MAX_REPEATED);
        self.repeated.extend(other.repeated.iter().take(room));
        self.unnumbered += other.unnumbered;
        self.unsealed += other.unsealed;
    }

    /// Whether each number of `range` came exactly once, and no other line. The error says what
    /// is wrong in one line.
    pub fn exactly_once(&self, range: Range<u64>) -> Result<(), String> {
        let mut wrong = Vec::new();
        let missing = self.missing(range.clone());
        if !missing.is_empty() {
            let count: u64 = missing.iter().map(|gap| gap.end - gap.start).sum();
            wrong.push(format!("{count} missing: {}", shown(&missing)));
        }
        if self.repeats > 0 {
            let some = &self.repeated[..self.repeated.len().min(10)];
            wrong.push(format!("{} came again: {some:?}", self.repeats));
        }
        let inside = range.end.saturating_sub(range.start)
            - missing.iter().map(|gap| gap.end - gap.start).sum::<u64>();
        if self.seen > inside {
            wrong.push(format!("{} outside {range:?}", self.seen - inside));
        }
        if self.unnumbered > 0 {
            wrong.push(format!("{} lines without a number", self.unnumbered));
        }
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(wrong.join("; "))
        }
    }
}

fn shown(gaps: &[Range<u64>]) -> String {
    let mut text: Vec<String> = gaps
        .iter()
        .take(10)
        .map(|gap| match gap.end - gap.start {
            1 => gap.start.to_string(),
            _ => format!("{}..={}", gap.start, gap.end - 1),
        })
        .collect();
    if gaps.len() > 10 {
        text.push(format!("and {} more ranges", gaps.len() - 10));
    }
    text.join(", ")
}

/// A tally for each log path.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    paths: HashMap<Arc<str>, Tally>,
}

impl Ledger {
    /// Marks a line of a log.
    pub fn add_line(&mut self, path: &Arc<str>, message: &[u8]) {
        match self.paths.get_mut(path) {
            Some(tally) => tally.add_line(message),
            None => {
                let mut tally = Tally::default();
                tally.add_line(message);
                self.paths.insert(Arc::clone(path), tally);
            }
        }
    }

    /// The tally of a path; none if no line of it came.
    pub fn path(&self, path: &str) -> Option<&Tally> {
        self.paths.get(path)
    }

    /// The paths that lines came from.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.paths.keys().map(|path| &**path)
    }

    /// All paths whose name `wanted` takes, as one: a number that came from two of them came
    /// again.
    pub fn together(&self, wanted: impl Fn(&str) -> bool) -> Tally {
        let mut all = Tally::default();
        for (path, tally) in &self.paths {
            if wanted(path) {
                all.merge(tally);
            }
        }
        all
    }
}

/// The number of a line, and whether it is sealed.
fn number_of(message: &[u8]) -> Option<(u64, bool)> {
    let mut from = 0;
    let digits = loop {
        let rest = message.get(from..)?;
        let at = rest.windows(2).position(|pair| pair == b"n=")? + from;
        let digits = &message[at + 2..];
        let count = digits.iter().take_while(|b| b.is_ascii_digit()).count();
        let begins = at == 0 || matches!(message[at - 1], b' ' | b'\t');
        if begins && count > 0 {
            break &digits[..count];
        }
        from = at + 2;
    };
    let number = std::str::from_utf8(digits).ok()?.parse::<u64>().ok()?;
    if number >= MAX_NUMBER {
        return None;
    }
    let line = message.strip_suffix(b"\n").unwrap_or(message);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let sealed = line
        .strip_suffix(digits)
        .is_some_and(|line| line.ends_with(b" e="));
    Some((number, sealed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_number_of_a_line() {
        for (line, expected) in [
            (&b"n=000123 text"[..], Some((123, false))),
            (b"2026 INFO n=7\n", Some((7, false))),
            (b"len=5 n=6 text", Some((6, false))),
            (b"n=12 xxxx e=12\r\n", Some((12, true))),
            (b"n=12 xxxx e=1", Some((12, false))),
            (b"n=000012 e=12\n", Some((12, false))),
            (b"n= x", None),
            (b"len=5", None),
            (b"n=99999999999999999999999", None),
            (b"", None),
            (b"n", None),
        ] {
            assert_eq!(number_of(line), expected, "{line:?}");
        }
    }

    #[test]
    fn says_what_is_missing_and_what_came_twice() {
        let mut tally = Tally::default();
        for n in (0..100).filter(|n| !(40..45).contains(n) && *n != 77) {
            tally.add(n);
        }
        tally.add(3);
        assert_eq!(tally.missing(0..100), [40..45, 77..78]);
        assert_eq!(tally.repeated, [3]);
        assert_eq!(tally.backwards, 1);
        let wrong = tally.exactly_once(0..100).unwrap_err();
        assert!(
            wrong.contains("6 missing: 40..=44, 77") && wrong.contains("1 came again: [3]"),
            "{wrong}"
        );
        assert!(tally
            .exactly_once(0..40)
            .unwrap_err()
            .contains("54 outside"));
    }

    #[test]
    fn a_number_that_came_from_two_files_came_twice() {
        let mut ledger = Ledger::default();
        for n in 0..10 {
            ledger.add_line(&"/a".into(), format!("n={n}").as_bytes());
        }
        for n in 9..20 {
            ledger.add_line(&"/a.1".into(), format!("n={n}").as_bytes());
        }
        assert!(ledger.path("/a").unwrap().exactly_once(0..10).is_ok());
        let both = ledger.together(|path| path.starts_with("/a"));
        assert_eq!(both.repeated, [9]);
        assert_eq!((both.seen, both.repeats), (20, 1));
        assert_eq!(both.missing(0..20), []);
    }
}
