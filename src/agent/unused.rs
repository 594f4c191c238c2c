//! The parts of a configuration that nothing acts on. `start`, `check`, agent.log and `status` tell of
//! them by this one list.

use crate::config::{Config, Place};
use std::borrow::Cow;
use std::fmt::{self, Write};

/// A sentence names no more than this; a count stands for the others.
const MOST_NAMES: usize = 4;

/// Parts that have no effect for the same reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unused {
    /// The parts and the reason, a phrase.
    pub what: String,
    /// The way out, a sentence.
    pub todo: &'static str,
}

impl fmt::Display for Unused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}. {}", self.what, self.todo)
    }
}

/// A kind while it is collected.
struct Kind<'a> {
    /// The names are those of these: `option`.
    noun: String,
    /// The predicate for one, and for several.
    verbs: (&'static str, &'static str),
    why: Cow<'a, str>,
    todo: &'static str,
    /// Each with the number of times that it is there.
    names: Vec<(String, usize)>,
    /// Of the first, if it is known.
    place: Option<&'a Place>,
}

const NO_EFFECT: (&str, &str) = ("has no effect", "have no effect");
const UNKNOWN: (&str, &str) = (
    "is not known and has no effect",
    "are not known and have no effect",
);

/// The parts of the configuration that nothing acts on, by kind. `plans` are those of its monitors.
pub fn unused<'a>(config: &'a Config, plans: &'a [monitors::Plan]) -> Vec<Unused> {
    let mut kinds: Vec<Kind<'a>> = Vec::new();
    let mut add = |kind: Kind<'a>| {
        let same =
            |k: &&mut Kind| (&k.noun, k.verbs, &k.why) == (&kind.noun, kind.verbs, &kind.why);
        let Some(known) = kinds.iter_mut().find(same) else {
            kinds.push(kind);
            return;
        };
        for (name, times) in kind.names {
            match known.names.iter_mut().find(|(other, _)| *other == name) {
                Some((_, all)) => *all += times,
                None => known.names.push((name, times)),
            }
        }
    };
    let plan_of = |module: &str, id: &str| plans.iter().find(|plan| plan.is_of(module, id));
    for entry in &config.monitors {
        if plan_of(&entry.module, &entry.id).is_none() {
            add(Kind {
                noun: "monitor".to_owned(),
                verbs: ("is not run", "are not run"),
                why: "not part of this build".into(),
                todo: "Keep the Python agent where that is needed, use a plug-in (docs/plugins.md), or \
                       remove the entry.",
                names: vec![(entry.short_name().to_owned(), 1)],
                place: entry.place(),
            });
        }
    }
    let journald = plans
        .iter()
        .any(|plan| plan.description().short_name() == "journald_monitor");
    if let Some(rule) = config.journald_logs.first().filter(|_| !journald) {
        add(Kind {
            noun: "option".to_owned(),
            verbs: NO_EFFECT,
            why: "no journald_monitor is among the monitors".into(),
            todo: "Add one to monitors, or remove the rules.",
            names: vec![("journald_logs".to_owned(), 1)],
            place: rule.entry.origin.place.as_ref(),
        });
    }
    for unused in config.warnings.iter().filter_map(|w| w.unused.as_ref()) {
        let known = !unused.why.is_empty();
        add(Kind {
            noun: "option".to_owned(),
            verbs: if known { NO_EFFECT } else { UNKNOWN },
            why: unused.why.as_str().into(),
            todo: match () {
                () if !known => "Correct the name, or remove it.",
                () if unused.is_missed => {
                    "Keep the Python agent where that is needed, or remove it."
                }
                () => "It can be removed.",
            },
            names: vec![(unused.name.clone(), 1)],
            place: Some(&unused.place),
        });
    }
    for entry in &config.monitors {
        let Some(plan) = plan_of(&entry.module, &entry.id) else {
            continue;
        };
        if let Some(why) = plan.hindrance() {
            add(Kind {
                noun: "monitor".to_owned(),
                verbs: ("can't run", "can't run"),
                why: why.into(),
                todo: "It is tried again and again.",
                names: vec![(entry.short_name().to_owned(), 1)],
                place: entry.place(),
            });
        }
        for (option, known) in plan.unused() {
            add(Kind {
                noun: format!("{} option", entry.short_name()),
                verbs: if known { NO_EFFECT } else { UNKNOWN },
                why: "".into(),
                todo: "Correct the name, or remove it.",
                names: vec![(option.to_owned(), 1)],
                place: entry.place(),
            });
        }
    }
    kinds.iter().map(sentence).collect()
}

fn sentence(kind: &Kind) -> Unused {
    let one = kind.names.len() == 1;
    let mut what = kind.noun.clone();
    what.push_str(if one { "" } else { "s" });
    for (at, (name, times)) in kind.names.iter().take(MOST_NAMES).enumerate() {
        what.push_str(if at == 0 { " " } else { ", " });
        what.push_str(name);
        if *times > 1 {
            // Writing to a String cannot fail
            let _ = write!(what, " ({times} times)");
        }
    }
    if kind.names.len() > MOST_NAMES {
        let _ = write!(what, " and {} more", kind.names.len() - MOST_NAMES);
    }
    what.push(' ');
    what.push_str(if one { kind.verbs.0 } else { kind.verbs.1 });
    if !kind.why.is_empty() {
        what.push_str(": ");
        what.push_str(&kind.why);
    }
    if let Some(place) = kind.place {
        let first = if one { "" } else { "first " };
        let _ = write!(what, " ({first}in {place})");
    }
    Unused {
        what,
        todo: kind.todo,
    }
}
