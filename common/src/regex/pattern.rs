//! An expression with what one thread needs to search with it.

use super::{budget, Groups, Mistake, Regex, Searcher};

/// A [`Regex`] that is owned and used by one thread, for searches that are not on the path of log
/// lines. A search that takes more steps than its budget counts as no match.
#[derive(Debug)]
pub struct Pattern {
    regex: Regex,
    searcher: Searcher,
    groups: Groups,
}

impl Pattern {
    /// Compiles an expression in the language of Python's `re`.
    ///
    /// # Errors
    /// The mistake in the expression, and its place.
    pub fn new(pattern: &str) -> Result<Pattern, Mistake> {
        let regex = Regex::new(pattern)?;
        Ok(Pattern {
            searcher: regex.searcher(),
            groups: Groups::default(),
            regex,
        })
    }

    /// How many capturing groups it has.
    pub fn groups(&self) -> usize {
        self.regex.groups
    }

    /// Whether it is found anywhere in `text`.
    pub fn is_match(&mut self, text: &str) -> bool {
        let found = self
            .regex
            .is_match(&mut self.searcher, text, &mut budget(text.len()));
        found.unwrap_or(false)
    }

    /// The span in bytes of the first match anywhere in `text`; [`Pattern::group`] then gives its
    /// groups.
    pub fn find(&mut self, text: &str) -> Option<(usize, usize)> {
        self.find_at(text, 0)
    }

    /// [`Pattern::find`] from a byte on, which must be a character's first.
    pub fn find_at(&mut self, text: &str, from: usize) -> Option<(usize, usize)> {
        let groups = Some(&mut self.groups);
        let mut steps = budget(text.len());
        self.regex
            .find(&mut self.searcher, text, from, groups, &mut steps)
            .unwrap_or(None)
    }

    /// A group of the last match that was found in `text`, if it took part; 0 is all of it.
    pub fn group<'t>(&self, group: usize, text: &'t str) -> Option<&'t str> {
        let (from, to) = self.groups.get(group)?;
        text.get(from..to)
    }

    /// A group's number by its name.
    pub fn named(&self, name: &str) -> Option<usize> {
        let found = self.regex.names.iter().find(|(given, _)| given == name);
        found.map(|(_, group)| *group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_those_of_the_last_match() {
        let mut pattern = Pattern::new(r"(?P<key>\w+)=(\d+)?(?!x)").unwrap();
        let text = "a=1 b=x c=";
        assert_eq!(pattern.find(text), Some((0, 3)));
        assert_eq!(pattern.group(2, text), Some("1"));
        let (_, end) = pattern.find_at(text, 7).unwrap();
        assert_eq!(end, text.len());
        let key = pattern.named("key").unwrap();
        assert_eq!(pattern.group(key, text), Some("c"));
        assert_eq!(pattern.group(2, text), None);
        assert!(Pattern::new("(").is_err());
    }
}
