//! Lines of text, and the log under whose name each must arrive.

use super::process::Process;
use super::{append, Site, DEADLINE};
use receiver::State;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// Name of a log and text of a line, with the number of times that the line is in the log.
type Lines = BTreeMap<(String, String), u64>;

/// Remembers what was written to logs, and compares it with what arrived.
#[derive(Debug, Clone, Default)]
pub struct Told {
    lines: Lines,
}

impl Told {
    /// Nothing yet.
    pub fn new() -> Told {
        Told::default()
    }

    /// Appends lines to a log, which is created if need be. They must arrive under its name.
    pub fn append(&mut self, site: &Site, name: &str, lines: &[impl AsRef<str>]) {
        append(&site.log_path(name), text(lines).as_bytes());
        self.wants(name, lines);
    }

    /// Truncates a log and writes lines to it. They must arrive under its name.
    pub fn rewrite(&mut self, site: &Site, name: &str, lines: &[impl AsRef<str>]) {
        fs::write(site.log_path(name), text(lines)).unwrap();
        self.wants(name, lines);
    }

    /// Lines that something else writes must arrive under a name.
    pub fn wants(&mut self, name: &str, lines: &[impl AsRef<str>]) {
        for line in lines {
            let key = (name.to_owned(), line.as_ref().to_owned());
            *self.lines.entry(key).or_default() += 1;
        }
    }

    /// Waits until all lines arrived, and asserts that each came under its own name as often as it
    /// was written, and nothing else did. Resends that the receiver could tell by sequence id are
    /// not counted.
    #[track_caller]
    pub fn expect(&self, site: &mut Site) {
        self.expect_within(site, DEADLINE);
    }

    /// The same in a given time.
    #[track_caller]
    pub fn expect_within(&self, site: &mut Site, limit: Duration) {
        let logs = site.path("logs");
        let over = |state: &State| {
            let arrived = arrived(state, &logs);
            least(&self.lines, &arrived) || !least(&arrived, &self.lines)
        };
        wait(site, limit, over);
        let arrived = site.receiver.with(|state| arrived(state, &logs));
        assert!(
            arrived == self.lines,
            "lines are not where they belong\n{}{}",
            difference(&self.lines, &arrived),
            site.report()
        );
        site.assert_well_formed();
    }

    /// Waits until all lines arrived, each at least as often as it was written, and asserts that
    /// nothing came that was not written.
    #[track_caller]
    pub fn expect_perhaps_repeated(&self, site: &mut Site, limit: Duration) {
        let logs = site.path("logs");
        wait(site, limit, |state| {
            least(&self.lines, &arrived(state, &logs))
        });
        let arrived = site.receiver.with(|state| arrived(state, &logs));
        let foreign = arrived.keys().find(|key| !self.lines.contains_key(key));
        assert!(
            least(&self.lines, &arrived) && foreign.is_none(),
            "lines are not where they belong\n{}{}",
            difference(&self.lines, &arrived),
            site.report()
        );
        site.assert_well_formed();
    }

    /// Asserts as [`Told::expect`], again after some requests more, and again after a restart.
    #[track_caller]
    pub fn expect_for_good(&self, site: &mut Site) {
        self.expect(site);
        site.until_requests(2);
        self.expect(site);
        site.term();
        site.start();
        site.until_requests(2);
        self.expect(site);
    }
}

/// Makes `count` different lines.
pub fn lines(what: &str, count: usize) -> Vec<String> {
    (1..=count)
        .map(|n| format!("{what}, line {n} of {count}"))
        .collect()
}

fn text(lines: &[impl AsRef<str>]) -> String {
    lines
        .iter()
        .flat_map(|line| [line.as_ref(), "\n"])
        .collect()
}

/// Takes the stored lines from the receiver, by names in the folder of the logs.
fn arrived(state: &State, logs: &Path) -> Lines {
    let mut lines = Lines::new();
    for event in state.events() {
        let path = Path::new(&*event.path);
        let name = path.strip_prefix(logs).unwrap_or(path);
        let name = name.to_str().unwrap().to_owned();
        let line = event.text().trim_end_matches('\n').to_owned();
        *lines.entry((name, line)).or_default() += 1;
    }
    lines
}

/// Whether `all` has each of `some`, as often.
fn least(some: &Lines, all: &Lines) -> bool {
    some.iter()
        .all(|(key, count)| all.get(key).is_some_and(|found| found >= count))
}

/// Waits for a condition of the receiver's; no longer than the agent runs.
fn wait(site: &mut Site, limit: Duration, mut condition: impl FnMut(&State) -> bool) {
    let deadline = Instant::now() + limit;
    while !site
        .receiver
        .wait_until(Duration::from_millis(250), &mut condition)
    {
        let ended = site.agent.as_mut().is_some_and(Process::has_ended);
        if ended || Instant::now() > deadline {
            break;
        }
    }
}

/// For a failure's report: what is missing and what is too much, some of each.
fn difference(wanted: &Lines, arrived: &Lines) -> String {
    let more = |a: &Lines, b: &Lines, word: &str| {
        let surplus = a.iter().filter_map(|(key, count)| {
            let other = b.get(key).copied().unwrap_or(0);
            (*count > other).then(|| (key, count - other))
        });
        let found: Vec<_> = surplus.collect();
        let mut text = format!("{} {word}\n", found.len());
        for ((name, line), count) in found.iter().take(4) {
            text.push_str(&format!("  {name}: {line:.100?} ({count} times)\n"));
        }
        text
    };
    more(wanted, arrived, "missing") + &more(arrived, wanted, "too often or not of this log")
}
