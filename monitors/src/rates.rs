//! Derived metrics: per-second rates of counters.

use crate::line::{Field, Value};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::hash::{BuildHasher as _, RandomState};

/// Series that one monitor may have; further ones get no rate.
const MOST_SERIES: usize = 30_000;
/// Points further apart give no rate, in seconds.
const LONGEST_GAP: f64 = 660.0;
/// A series that has not been seen for so many seconds is forgotten when room is made.
const FORGOTTEN_AFTER: f64 = 1800.0;

/// Which metrics of one monitor get a rate, and the last point of each of their series.
#[derive(Debug)]
pub(crate) struct Rates {
    rules: Vec<Rule>,
    /// By the hash of metric and fields: fields may be long.
    series: HashMap<u64, Point>,
    hasher: RandomState,
    cleanup_secs: f64,
    last_cleanup: Option<f64>,
    /// The text that is being hashed.
    key: String,
}

#[derive(Debug, Clone, PartialEq)]
struct Rule {
    metric: String,
    /// Only with this field of this text.
    field: Option<(String, String)>,
}

#[derive(Debug, Clone, Copy)]
struct Point {
    at: f64,
    value: f64,
}

/// The rate of a value, or the reason why there is none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Rate {
    /// No rate is asked for, or there is none yet.
    None,
    /// Per second, rounded to 5 decimals.
    Of(f64),
    /// A rate is asked for, but the value is none that one can be made of.
    NoNumber,
    /// There are too many series.
    TooMany,
}

impl Rates {
    /// `global` has elements `module:metric[:field=value]`; `own`, the monitor's, may leave the
    /// module out. `module` is the short name. Series that were not seen are dropped every
    /// `cleanup_secs` seconds, never if that is 0.
    pub(crate) fn new(module: &str, global: &[String], own: &[String], cleanup_secs: f64) -> Self {
        let of_module = |text: &String| {
            let (name, rest) = text.split_once(':')?;
            (name == module).then(|| Rule::of(rest))
        };
        let mut rules: Vec<Rule> = global.iter().filter_map(of_module).collect();
        for text in own {
            let first_two: Vec<&str> = text.splitn(3, ':').collect();
            // `metric:field=value` is no module and metric: those have no `=`
            let bare = match first_two[..] {
                [_] => true,
                [_, second] => second.contains('='),
                _ => false,
            };
            if bare {
                rules.push(Rule::of(text));
            } else {
                rules.extend(of_module(text));
            }
        }
        Rates {
            rules,
            series: HashMap::new(),
            hasher: RandomState::new(),
            cleanup_secs,
            last_cleanup: None,
            key: String::new(),
        }
    }

    /// Takes note of a value at a moment in seconds. `name` is the metric's cleaned name.
    pub(crate) fn of(&mut self, name: &str, value: Value, fields: &[Field], at: f64) -> Rate {
        if !self.rules.iter().any(|rule| rule.covers(name, fields)) {
            return Rate::None;
        }
        let Some(value) = number(value) else {
            return Rate::NoNumber;
        };
        let key = self.key_of(name, fields);
        let Some(last) = self.series.get_mut(&key) else {
            if self.series.len() >= MOST_SERIES {
                // A look at all of them costs too much for each new one
                if self
                    .last_cleanup
                    .is_none_or(|then| (at - then).abs() >= 60.0)
                {
                    self.clean_up(at);
                }
                if self.series.len() >= MOST_SERIES {
                    return Rate::TooMany;
                }
            }
            self.series.insert(key, Point { at, value });
            return Rate::None;
        };
        if at <= last.at {
            // A value older than the last one gives no rate. After a clock was set back all values
            // are older for a while, so from a gap of [`LONGEST_GAP`] on the older one counts.
            if last.at - at >= LONGEST_GAP {
                *last = Point { at, value };
            }
            return Rate::None;
        }
        let before = std::mem::replace(last, Point { at, value });
        // A counter that went back was reset: the next rate counts from here
        if at - before.at >= LONGEST_GAP || value < before.value {
            return Rate::None;
        }
        let rate = round((value - before.value) / (at - before.at));
        let due = self
            .last_cleanup
            .is_none_or(|then| (at - then).abs() >= self.cleanup_secs);
        if self.cleanup_secs > 0.0 && due {
            self.clean_up(at);
        }
        Rate::Of(rate)
    }

    fn clean_up(&mut self, now: f64) {
        self.last_cleanup = Some(now);
        self.series
            .retain(|_, point| (now - point.at).abs() < FORGOTTEN_AFTER);
    }

    /// A series is its metric and its fields, but for one called `timestamp`.
    fn key_of(&mut self, name: &str, fields: &[Field]) -> u64 {
        self.key.clear();
        self.key.push_str(name);
        for (field, value) in fields.iter().filter(|(field, _)| *field != "timestamp") {
            // Writing into a String cannot fail.
            let _ = write!(self.key, "\0{field}={value:?}");
        }
        self.hasher.hash_one(&self.key)
    }
}

impl Rule {
    fn of(text: &str) -> Rule {
        let (metric, filter) = match text.split_once(':') {
            Some((metric, filter)) => (metric, Some(filter)),
            None => (text, None),
        };
        let field = filter.and_then(|filter| filter.split_once('='));
        Rule {
            metric: metric.to_owned(),
            field: field.map(|(name, value)| (name.to_owned(), value.to_owned())),
        }
    }

    fn covers(&self, metric: &str, fields: &[Field]) -> bool {
        self.metric == metric
            && self.field.as_ref().is_none_or(|(name, wanted)| {
                fields.iter().any(|(field, value)| {
                    field == name
                        && match value {
                            Value::Text(text) | Value::Raw(text) => text == wanted,
                            Value::Int(n) => n.to_string() == *wanted,
                            Value::UInt(n) => n.to_string() == *wanted,
                            Value::Bool(yes) => yes.to_string() == *wanted,
                            Value::Float(_) => false,
                        }
                })
            })
    }
}

fn number(value: Value) -> Option<f64> {
    match value {
        Value::Int(n) => Some(n as f64),
        Value::UInt(n) => Some(n as f64),
        Value::Float(x) => Some(x),
        Value::Bool(yes) => Some(f64::from(u8::from(yes))),
        Value::Raw(text) => text.parse().ok(),
        Value::Text(_) => None,
    }
    .filter(|x| x.is_finite())
}

/// To 5 decimals, as correctly as its text would be.
fn round(x: f64) -> f64 {
    format!("{x:.5}").parse().unwrap_or(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(global: &[&str], own: &[&str]) -> Rates {
        let owned = |list: &[&str]| list.iter().map(|&s| s.to_owned()).collect::<Vec<_>>();
        Rates::new("m", &owned(global), &owned(own), 1800.0)
    }

    #[test]
    fn the_recorded_sequence_and_a_reset() {
        let mut rates = rates(&["m:a"], &[]);
        let steps: Vec<Rate> = [
            (1000, 1),
            (1010, 11),
            (1020, 11),
            (1030, 5),
            // where Python waits for the old height, the count goes on from the reset
            (1040, 6),
            (1050, 30),
            (1050, 99),
            (1800, 31),
            (1803, 41),
        ]
        .map(|(at, value): (i64, i64)| rates.of("a", value.into(), &[], at as f64))
        .into();
        assert_eq!(
            steps,
            [
                Rate::None,
                Rate::Of(1.0),
                Rate::Of(0.0),
                Rate::None,
                Rate::Of(0.1),
                Rate::Of(2.4),
                Rate::None,
                Rate::None,
                Rate::Of(3.33333)
            ]
        );
    }

    #[test]
    fn only_what_is_asked_for_has_a_rate() {
        let mut rates = rates(&["other:a", "m:cpu:type=user"], &["b", "c:k=1", "m:d"]);
        let user: &[Field] = &[("app", "x".into()), ("type", "user".into())];
        let system: &[Field] = &[("app", "x".into()), ("type", "system".into())];
        let one: &[Field] = &[("k", 1.into())];
        let two: &[Field] = &[("k", 2.into())];
        let mut twice = |name: &str, fields: &[Field]| {
            rates.of(name, 1.into(), fields, 10.0);
            rates.of(name, 2.into(), fields, 11.0) == Rate::Of(1.0)
        };
        assert!(!twice("a", &[]));
        assert!(twice("cpu", user));
        assert!(!twice("cpu", system));
        // the filter of one metric says nothing about another
        assert!(!twice("mem", user));
        assert!(twice("b", system));
        assert!(twice("c", one));
        assert!(!twice("c", two));
        assert!(twice("d", &[]));
    }

    #[test]
    fn each_set_of_fields_is_a_series_but_a_time_stamp_makes_none() {
        let mut rates = rates(&[], &["a"]);
        let a: &[Field] = &[("mount", "/".into()), ("timestamp", 1.into())];
        let b: &[Field] = &[("mount", "/home".into()), ("timestamp", 2.into())];
        let later: &[Field] = &[("mount", "/".into()), ("timestamp", 3.into())];
        assert_eq!(rates.of("a", 1.into(), a, 1.0), Rate::None);
        assert_eq!(rates.of("a", 1.into(), b, 2.0), Rate::None);
        assert_eq!(rates.of("a", 5.into(), later, 3.0), Rate::Of(2.0));
    }

    #[test]
    fn a_clock_that_is_set_back_costs_one_rate() {
        let mut rates = rates(&[], &["a"]);
        let steps = [
            (50_000, 1),
            (50_010, 11),
            // Late, and no more than that
            (50_005, 5),
            (50_020, 31),
            // Ten hours back
            (14_030, 41),
            (14_040, 61),
        ]
        .map(|(at, value): (i64, i64)| rates.of("a", value.into(), &[], at as f64));
        let rate = Rate::Of;
        assert_eq!(
            steps,
            [
                Rate::None,
                rate(1.0),
                Rate::None,
                rate(2.0),
                Rate::None,
                rate(2.0)
            ]
        );
        // Points with times of the clock of before are removed in the end.
        let at = 50_000.0;
        rates.of("a", 1.into(), &[("n", 1.into())], at);
        rates.of("a", 1.into(), &[("n", 2.into())], 14_050.0);
        rates.clean_up(14_050.0);
        assert_eq!(rates.series.len(), 2);
    }

    #[test]
    fn what_is_no_number_has_no_rate() {
        let mut rates = rates(&[], &["a"]);
        assert_eq!(rates.of("a", "x".into(), &[], 1.0), Rate::NoNumber);
        assert_eq!(rates.of("a", f64::NAN.into(), &[], 1.0), Rate::NoNumber);
        assert_eq!(rates.of("a", Value::Raw("4.20"), &[], 1.0), Rate::None);
        assert_eq!(rates.of("a", Value::Raw("4.50"), &[], 2.0), Rate::Of(0.3));
    }

    #[test]
    fn series_that_come_and_go_stay_bounded() {
        let mut rates = rates(&[], &["a"]);
        let at = |n: usize| n as f64 / 100.0;
        for n in 0..2 * MOST_SERIES {
            let text = n.to_string();
            rates.of("a", 1.into(), &[("n", text.as_str().into())], at(n));
            assert!(rates.series.len() <= MOST_SERIES);
        }
        let late = at(2 * MOST_SERIES) + 2.0 * FORGOTTEN_AFTER;
        assert_eq!(rates.of("a", 1.into(), &[], late), Rate::None);
        assert!(rates.series.len() < 10);
    }
}
