//! Regular expressions in the language of Python's `re`: a linear engine where that can do it, else the linear engine as
//! a filter and a backtracking one behind it.

mod backtrack;
mod pattern;
mod program;
mod translate;
mod tree;

pub use backtrack::Exceeded;
pub use pattern::Pattern;
pub use translate::Mistake;

use backtrack::Memory;
use program::Program;
use regex_automata::meta;
use regex_automata::util::captures::Captures;
use regex_automata::util::syntax;
use regex_automata::Input;
use tree::{Aim, Node};

/// Largest automaton of one expression in bytes.
const AUTOMATON: usize = 4 << 20;

/// Most memory of the linear engine's cache, per expression and thread.
const CACHE: usize = 1 << 20;

/// An expression, ready to search.
#[derive(Debug)]
pub struct Regex {
    linear: Option<meta::Regex>,
    /// The linear engine finds the same as Python's `re` would.
    exact: bool,
    /// ... in texts without a newline except at the end.
    one_line: bool,
    program: Option<Program>,
    /// Capturing groups, without the whole match.
    pub groups: usize,
    /// The named ones.
    pub names: Vec<(String, usize)>,
    /// Bytes before a match that may decide about it.
    pub behind: usize,
}

/// The memory in which one thread searches with one expression.
#[derive(Debug)]
pub struct Searcher {
    cache: Option<meta::Cache>,
    captures: Option<Captures>,
    memory: Memory,
}

/// Where the groups of a match are.
#[derive(Debug, Default)]
pub struct Groups(Vec<usize>);

impl Groups {
    /// The text range of a group, if it took part.
    pub fn get(&self, group: usize) -> Option<(usize, usize)> {
        match (self.0.get(group * 2), self.0.get(group * 2 + 1)) {
            (Some(&from), Some(&to)) if from <= to && to != usize::MAX => Some((from, to)),
            _ => None,
        }
    }
}

impl Regex {
    /// Compiles an expression in the language of Python's `re`.
    ///
    /// # Errors
    /// The mistake in the expression, and its place.
    pub fn new(pattern: &str) -> Result<Regex, Mistake> {
        let parsed = translate::parse(pattern)?;
        let at_once = |reason: String| Mistake {
            position: 0,
            reason,
        };
        let one_line = tree::any(&parsed.node, &|node| *node == Node::End);
        let exact = tree::write(&parsed.node, Aim::Exact).and_then(|p| linear(&p));
        let is_exact = exact.is_some();
        let filter = exact
            .or_else(|| tree::write(&parsed.node, Aim::Wider).and_then(|pattern| linear(&pattern)));
        let program = match is_exact && !one_line {
            true => None,
            false => Some(Program::new(&parsed.node, parsed.groups).map_err(at_once)?),
        };
        Ok(Regex {
            linear: filter,
            exact: is_exact,
            one_line,
            program,
            groups: parsed.groups,
            behind: tree::look_behind(&parsed.node) as usize * 4,
            names: parsed.names,
        })
    }

    /// A searcher for one thread.
    pub fn searcher(&self) -> Searcher {
        Searcher {
            cache: self.linear.as_ref().map(meta::Regex::create_cache),
            captures: self.linear.as_ref().map(meta::Regex::create_captures),
            memory: Memory::default(),
        }
    }

    /// Whether the linear engine's answer is the answer for this text.
    fn is_sure(&self, text: &str) -> bool {
        self.exact && (!self.one_line || !has_inner_newline(text))
    }

    /// Whether it is found anywhere in `text`. Steps are taken from `budget`.
    ///
    /// # Errors
    /// The budget is used up.
    pub fn is_match(
        &self,
        searcher: &mut Searcher,
        text: &str,
        budget: &mut u64,
    ) -> Result<bool, Exceeded> {
        let mut from = 0;
        if let (Some(linear), Some(cache)) = (&self.linear, &mut searcher.cache) {
            let input = Input::new(text).earliest(true);
            if linear.search_half_with(cache, &input).is_none() {
                return Ok(false);
            }
            if self.is_sure(text) {
                return Ok(true);
            }
            from = self.filtered(linear, cache, text, 0).unwrap_or(0);
        }
        match &self.program {
            Some(program) => Ok(program
                .find(&mut searcher.memory, text, from, budget)?
                .is_some()),
            None => Ok(false),
        }
    }

    /// Where the earliest candidate starts, at `from` or later.
    fn filtered(
        &self,
        linear: &meta::Regex,
        cache: &mut meta::Cache,
        text: &str,
        from: usize,
    ) -> Option<usize> {
        let mut low = from.saturating_sub(self.behind);
        while !text.is_char_boundary(low) {
            low -= 1;
        }
        let found = linear.search_with(cache, &Input::new(text).range(low..))?;
        Some(found.start().max(from))
    }

    /// The first match that starts at `from` or later, with its groups if there is a place for
    /// them.
    ///
    /// # Errors
    /// The budget is used up.
    pub fn find(
        &self,
        searcher: &mut Searcher,
        text: &str,
        from: usize,
        groups: Option<&mut Groups>,
        budget: &mut u64,
    ) -> Result<Option<(usize, usize)>, Exceeded> {
        let mut from = from;
        if let (Some(linear), Some(cache)) = (&self.linear, &mut searcher.cache) {
            if self.is_sure(text) {
                let input = Input::new(text).range(from..);
                let Some(groups) = groups else {
                    let found = linear.search_with(cache, &input);
                    return Ok(found.map(|found| (found.start(), found.end())));
                };
                let Some(captures) = &mut searcher.captures else {
                    return Ok(None);
                };
                linear.search_captures_with(cache, &input, captures);
                let Some(found) = captures.get_match() else {
                    return Ok(None);
                };
                groups.0.clear();
                for group in 0..=self.groups {
                    let span = captures.get_group(group);
                    let (from, to) = span.map_or((usize::MAX, usize::MAX), |s| (s.start, s.end));
                    groups.0.extend([from, to]);
                }
                return Ok(Some((found.start(), found.end())));
            }
            match self.filtered(linear, cache, text, from) {
                Some(start) => from = start,
                None => return Ok(None),
            }
        }
        let Some(program) = &self.program else {
            return Ok(None);
        };
        let found = program.find(&mut searcher.memory, text, from, budget)?;
        if let (Some(_), Some(groups)) = (found, groups) {
            groups.0.clone_from(&searcher.memory.slots);
        }
        Ok(found)
    }
}

/// Steps that searching a text of so many bytes may take.
pub fn budget(len: usize) -> u64 {
    1_000_000 + len as u64 * 16
}

fn has_inner_newline(text: &str) -> bool {
    let bytes = text.as_bytes();
    memchr::memchr(b'\n', bytes).is_some_and(|at| at + 1 < bytes.len())
}

fn linear(pattern: &str) -> Option<meta::Regex> {
    let config = meta::Config::new()
        .nfa_size_limit(Some(AUTOMATON))
        .onepass_size_limit(Some(256 << 10))
        .hybrid_cache_capacity(CACHE)
        .utf8_empty(true);
    meta::Builder::new()
        .configure(config)
        .syntax(syntax::Config::new().utf8(true).nest_limit(1000))
        .build(pattern)
        .ok()
}
