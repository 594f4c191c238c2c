//! Sampling: which lines are kept. Decided by a hash of a seed and the line's place, so that the
//! same bytes read again give the same events.

use common::regex::{Regex, Searcher};

/// A compiled sampling rule.
#[derive(Debug)]
pub(super) struct Sampling {
    pub(super) regex: Regex,
    pub(super) rate: f64,
}

/// The decision about a line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Decision {
    /// Sent, with the rate if it is not 1.
    Keep(Option<f64>),
    Drop,
}

/// The first rule that is found decides. A rule that takes too long counts in `failed` and is not
/// found.
pub(super) fn decide(
    rules: &[Sampling],
    searchers: &mut [Searcher],
    text: &str,
    (seed, offset): (u64, u64),
    budget: &mut u64,
    failed: &mut u64,
) -> Decision {
    for (rule, searcher) in rules.iter().zip(searchers) {
        match rule.regex.is_match(searcher, text, budget) {
            Ok(false) => {}
            Ok(true) if rule.rate >= 1.0 => return Decision::Keep(None),
            Ok(true) if draw(seed, offset) < rule.rate => return Decision::Keep(Some(rule.rate)),
            Ok(true) => return Decision::Drop,
            Err(_) => {
                *failed += 1;
                return Decision::Keep(None);
            }
        }
    }
    Decision::Keep(None)
}

/// A number in `0.0..1.0`.
pub(super) fn draw(seed: u64, offset: u64) -> f64 {
    // splitmix64
    let mut z = seed ^ offset.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    for _ in 0..2 {
        z = z.wrapping_add(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
    }
    (z >> 11) as f64 / (1u64 << 53) as f64
}
