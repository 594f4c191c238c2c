//! Redaction: what matches is replaced, before anything is cut. A text that can't be redacted for
//! sure is never let through.

use super::template::Template;
use common::regex::Exceeded;
use common::regex::{Groups, Regex, Searcher};

/// A compiled redaction rule.
#[derive(Debug)]
pub(super) struct Redaction {
    pub(super) regex: Regex,
    pub(super) template: Template,
}

/// Buffers, reused.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    /// The result of the rules, if any matched.
    pub(super) done: String,
    spare: String,
    groups: Groups,
}

/// The result of the rules for a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// No match.
    Same,
    /// The result is in [`Buffers::done`], up to the given length.
    Changed(usize),
    /// A match spans the cut, from and to these places in the text that the `rule`-th rule saw.
    Straddles {
        rule: usize,
        from: usize,
        to: usize,
        /// That text's length.
        of: usize,
    },
}

/// A result may be this much longer than the text.
const GROWTH: usize = 1 << 20;

/// Applies all rules to `text`, each to the result of the one before it. With a `cut` smaller than
/// the text's length, only what stands before it is wanted, and the rest is there to be looked at.
pub(super) fn apply(
    rules: &[Redaction],
    searchers: &mut [Searcher],
    buffers: &mut Buffers,
    text: &str,
    cut: usize,
    budget: &mut u64,
) -> Result<Outcome, Exceeded> {
    let Buffers {
        done,
        spare,
        groups,
    } = buffers;
    let most = text.len() + GROWTH;
    let mut cut = cut;
    let mut changed = false;
    for (index, (rule, searcher)) in rules.iter().zip(searchers).enumerate() {
        let source: &str = if changed { done } else { text };
        let regex = &rule.regex;
        let whole = cut >= source.len();
        spare.clear();
        let mut copied = 0;
        let mut from = 0;
        let mut new_cut = None;
        let mut hit = false;
        let mut last_empty = None;
        loop {
            let wanted = rule.template.needs_groups().then_some(&mut *groups);
            let Some((start, end)) = regex.find(searcher, source, from, wanted, budget)? else {
                break;
            };
            // As Python does it: an empty match right after another is one, but not two at a place
            if start == end && last_empty == Some(start) {
                match source[start..].chars().next() {
                    Some(c) => from = start + c.len_utf8(),
                    None => break,
                }
                continue;
            }
            if !whole && new_cut.is_none() && end > cut {
                // Bytes before the match, up to the length of a look-behind, may decide about it
                if start.saturating_sub(regex.behind) < cut {
                    return Ok(Outcome::Straddles {
                        rule: index,
                        from: start.saturating_sub(regex.behind),
                        to: end,
                        of: source.len(),
                    });
                }
                new_cut = Some(spare.len() + (cut - copied));
            }
            hit = true;
            spare.push_str(&source[copied..start]);
            rule.template.expand(source, groups, spare);
            copied = end;
            from = end;
            last_empty = (start == end).then_some(end);
            if spare.len() > most {
                return Err(Exceeded);
            }
            *budget = budget.checked_sub(1).ok_or(Exceeded)?;
        }
        if hit {
            if !whole && new_cut.is_none() {
                new_cut = Some(spare.len() + (cut - copied));
            }
            spare.push_str(&source[copied..]);
            cut = new_cut.unwrap_or(spare.len());
            std::mem::swap(done, spare);
            changed = true;
        }
    }
    Ok(match changed {
        true => Outcome::Changed(cut.min(done.len())),
        false => Outcome::Same,
    })
}

impl Buffers {
    /// Gives back memory beyond `keep` bytes.
    pub(super) fn shrink(&mut self, keep: usize) {
        for buffer in [&mut self.done, &mut self.spare] {
            if buffer.capacity() > keep {
                buffer.clear();
                buffer.shrink_to(keep);
            }
        }
    }
}
