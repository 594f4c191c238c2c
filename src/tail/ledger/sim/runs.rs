//! Many histories on all cores, and what they were excused for.

use super::{shrink, steps, tried, without_numbers};
use crate::tail::ledger::decide::Doubt;
use crate::tail::ledger::mutants::{self, Mutant};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// Reasons that say that two disks with equal evidence exist: all that is known of an empty file is its inode, of one line
/// the line, of an edit within a tick of the clock nothing, and of a new file that begins as another one does that it
/// was no copy in time. The others say that no look could have seen
/// the bytes, or that the server, a death or the very first look decided.
const AMBIGUOUS: [&str; 8] = [
    "a copy of a few lines, whose original grew after it",
    "a copy stood beside its original for long",
    "a line or none when last seen, and of a strange name since",
    "edited after what is known on disk, before a death",
    "edited without a trace in length and date",
    "its original was written anew without a trace",
    "moved away, and all but its last two lines is what its log begins with since",
    "written anew without a trace in length and date",
];

/// The sum of many histories.
#[derive(Default)]
struct Total {
    lines: usize,
    excused: BTreeMap<&'static str, u32>,
    doubts: BTreeMap<Doubt, u64>,
    /// Seeds, in rising order.
    failed: Vec<u64>,
}

impl Total {
    fn add(&mut self, other: Total) {
        self.lines += other.lines;
        for (why, count) in other.excused {
            *self.excused.entry(why).or_default() += count;
        }
        for (doubt, count) in other.doubts {
            *self.doubts.entry(doubt).or_default() += count;
        }
        self.failed.extend(other.failed);
        self.failed.sort_unstable();
    }

    /// Prints how many lines were excused, by reason with the share of 10,000, and the share that is ambiguous.
    fn report(&self) {
        let mut ambiguous = 0;
        for (why, count) in &self.excused {
            let is_ambiguous = AMBIGUOUS.contains(why);
            ambiguous += if is_ambiguous { *count } else { 0 };
            let mark = if is_ambiguous { '?' } else { ' ' };
            let share = f64::from(*count) * 1e4 / self.lines.max(1) as f64;
            eprintln!("{count:>9} {mark} {share:>8.2} {why}");
        }
        let all: u32 = self.excused.values().sum();
        let of = |count: u32, n: f64| f64::from(count) * n / self.lines.max(1) as f64;
        eprintln!(
            "{:>9}   lines in all; {:.1} % excused; ambiguous (?) {:.2} of 10,000; doubts {:?}",
            self.lines,
            of(all, 100.0),
            of(ambiguous, 10_000.0),
            self.doubts
        );
    }
}

/// Runs these histories on all cores, or only as far as the first one that fails.
fn run_all(first: u64, count: u64, mutant: Option<Mutant>, until_failure: bool) -> Total {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let (next, end) = (AtomicU64::new(first), AtomicU64::new(first + count));
    let work = || {
        mutants::set(mutant);
        let mut total = Total::default();
        loop {
            let seed = next.fetch_add(1, SeqCst);
            if seed >= end.load(SeqCst) {
                return total;
            }
            let outcome = tried(seed, &steps(seed));
            let is_wrong = outcome.wrong.is_some();
            if is_wrong && until_failure {
                // Earlier ones are under way, and one of them may fail as well
                end.fetch_min(seed, SeqCst);
            }
            total.add(match is_wrong {
                true => Total {
                    failed: vec![seed],
                    ..Total::default()
                },
                false => Total {
                    lines: outcome.lines,
                    excused: outcome.excused,
                    doubts: outcome.doubts,
                    failed: Vec::new(),
                },
            });
        }
    };
    let mut total = Total::default();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            total.add(thread.join().unwrap());
        }
    });
    total
}

fn number(name: &str, default: u64) -> u64 {
    let value = std::env::var(name).ok();
    value.and_then(|v| v.parse().ok()).unwrap_or(default)
}

#[test]
#[ignore = "needs LEDGER_MUTANTS: minutes of a release build"]
fn each_way_to_break_the_decision_is_found() {
    let most = number("LEDGER_EPISODES", 20_000);
    let mut missed = Vec::new();
    let only = std::env::var("LEDGER_MUTANT").ok();
    let asked = |mutant: &Mutant| {
        only.as_ref()
            .is_none_or(|only| format!("{mutant:?}") == *only)
    };
    for mutant in mutants::ALL.into_iter().filter(asked) {
        match run_all(1, most, Some(mutant), true).failed.first() {
            Some(count) => eprintln!("{mutant:?} is found by history {count}"),
            None => missed.push(mutant),
        }
    }
    assert!(
        missed.is_empty(),
        "not found by {most} histories: {missed:?}"
    );
}

#[test]
fn no_history_of_contents_loses_repeats_or_misplaces_a_line() {
    let first = number("LEDGER_SEED", 1);
    let total = run_all(first, number("LEDGER_EPISODES", 2_000), None, false);
    for seed in total
        .failed
        .iter()
        .take(number("LEDGER_STORIES", 3) as usize)
    {
        let wrong = tried(*seed, &steps(*seed)).wrong.unwrap_or_default();
        let shortest = shrink(*seed, steps(*seed), &without_numbers(&wrong));
        let outcome = tried(*seed, &shortest);
        eprintln!(
            "seed {seed}: {:?}\n  {}\n",
            outcome.wrong,
            outcome.story.join("\n  ")
        );
    }
    total.report();
    assert!(
        total.failed.is_empty(),
        "{} failed: {:?}",
        total.failed.len(),
        &total.failed[..total.failed.len().min(40)]
    );
}
