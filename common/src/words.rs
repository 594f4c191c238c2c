//! Words of messages: numbers with their nouns, and names that may have been meant.

use std::fmt;

/// `1 byte`, `2 bytes`: a number with its noun, which gets an `s` unless there is one of it.
pub fn count(number: u64, noun: &str) -> Count<'_> {
    Count(number, noun)
}

/// See [`count`].
#[derive(Debug, Clone, Copy)]
pub struct Count<'a>(u64, &'a str);

impl fmt::Display for Count<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Count(number, noun) = self;
        write!(f, "{number} {noun}")?;
        match number {
            1 => Ok(()),
            _ => f.write_str("s"),
        }
    }
}

/// The known name nearest to a misspelt one, if one is near enough to be meant.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_ascii_lowercase();
    // A longer text is no slip of the fingers, and the distance costs length times length.
    if name.len() > 100 {
        return None;
    }
    let most = (name.chars().count() / 3).clamp(1, 4);
    known
        .into_iter()
        .map(|candidate| (distance(&name, &candidate.to_ascii_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edits between two words: insert, delete, replace, swap of neighbours.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let mut previous = None;
    for (i, ca) in a.chars().enumerate() {
        let mut row = vec![i + 1];
        for (j, &cb) in b.iter().enumerate() {
            let mut best = (last[j] + usize::from(ca != cb))
                .min(last[j + 1] + 1)
                .min(row[j] + 1);
            if j > 0 && previous == Some(cb) && b[j - 1] == ca {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
        previous = Some(ca);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_finds_its_neighbour() {
        let known = ["compression_type", "compression_level", "logs", "api_key"];
        assert_eq!(nearest("compresion_type", known), Some("compression_type"));
        assert_eq!(
            nearest("Compression_Level", known),
            Some("compression_level")
        );
        assert_eq!(nearest("lgos", known), Some("logs"));
        assert_eq!(nearest("log", known), Some("logs"));
        assert_eq!(nearest("apikey", known), Some("api_key"));
        assert_eq!(nearest("something_else", known), None);
        assert_eq!(nearest("x", known), None);
        assert_eq!(nearest("", known), None);
        assert_eq!(nearest(&"k".repeat(1_000_000), known), None);
    }

    #[test]
    fn one_of_a_thing_is_not_told_in_the_plural() {
        let told = |n| count(n, "further file").to_string();
        assert_eq!(told(0), "0 further files");
        assert_eq!(told(1), "1 further file");
        assert_eq!(told(2), "2 further files");
    }
}
