//! `dry-run`: the events that would be sent for some files, as JSON lines on stdout.

use super::explain::{by_entry, entries, left_out};
use super::setup::{absolute, Place, Setup};
use super::{err, exit, harmless};
use crate::agent::insight::{
    compressed, facts, Claim, Counts, Event, Head, Insight, Totals, Trouble,
};
use crate::config::{json_members, AttrValue, Config};
use crate::util::escape::{json_bytes_lossy, json_str};
use crate::util::words::count;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::Deserializer;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::io::{self, BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Runs the command.
pub(super) fn dry_run(setup: &Setup) -> i32 {
    let mut insight = match insight(setup) {
        Ok(insight) => insight,
        Err(code) => return code,
    };
    let from_checkpoint = setup.options.from_checkpoint;
    let mut code = exit::OK;
    if from_checkpoint {
        for unread in insight.read_checkpoints() {
            err(format_args!(
                "checkpoints can't be read: {}: {}",
                unread.path.display(),
                unread.why
            ));
            code = exit::FAILED;
            if !unread.is_damaged {
                // Without those checkpoints the positions are not known, and the agent's answer
                // would be another
                return code;
            }
        }
    }
    let mut out = BufWriter::with_capacity(64 << 10, io::stdout().lock());
    let mut summary = String::new();
    let mut sum = Totals::default();
    let mut summed = 0;
    for file in &setup.options.operands {
        let path = absolute(Path::new(file));
        announce(&insight, &path, from_checkpoint);
        let mut lines = Lines::new(&path, &mut out);
        let result = insight.rehearse(&path, from_checkpoint, &mut |worker, head, event| {
            lines.put(worker, head, event)
        });
        match result {
            Ok(all) if all.is_empty() => {
                code = exit::FAILED;
                err(entries(&insight, &path).trim_end());
            }
            Ok(all) => {
                for (worker, totals) in all {
                    let name = match worker.as_str() {
                        "default" => path.display().to_string(),
                        _ => format!("{} (worker {worker})", path.display()),
                    };
                    tell(&mut summary, &name, &totals);
                    sum.counts.add(&totals.counts);
                    sum.before += totals.before;
                    summed += 1;
                }
            }
            Err(Trouble::Read(error)) => {
                code = exit::FAILED;
                err(format_args!("{}: {error}", path.display()));
            }
            // Nobody reads any more
            Err(Trouble::Sink(error)) if error.kind() == io::ErrorKind::BrokenPipe => return code,
            Err(Trouble::Sink(error)) => {
                err(format_args!("can't write the events: {error}"));
                return exit::FAILED;
            }
        }
    }
    match out.flush() {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            err(format_args!("can't write the events: {error}"));
            code = exit::FAILED;
        }
        _ => {}
    }
    if summed > 1 {
        tell(&mut summary, "together", &sum);
    }
    if !summary.is_empty() {
        err(summary.trim_end());
    }
    code
}

/// Says on stderr, before any event, what becomes of the file.
fn announce(insight: &Insight, path: &Path, from_checkpoint: bool) {
    let candidates = insight.candidates(path);
    let counts = candidates.iter().enumerate();
    let counts = counts.filter(|(_, candidate)| candidate.claim == Claim::Counts);
    let by: Vec<String> = counts.map(|(at, _)| by_entry(insight, path, at)).collect();
    let what = match (by.is_empty(), from_checkpoint) {
        (true, _) => match left_out(insight, path) {
            Some(why) => format!("no entry copies it: {why}"),
            None => "no entry copies it".to_owned(),
        },
        (false, true) => format!("copied {}; what is not sent yet follows", by.join(" and ")),
        (false, false) => match unfit(path) {
            Some(why) => format!(
                "nothing to send, as {why}; it would be copied {}",
                by.join(" and ")
            ),
            None => format!("copied {}; all of it follows", by.join(" and ")),
        },
    };
    err(harmless(format_args!("{}: {what}", path.display())));
    if let Some(meant) = super::similar::followed(insight, path) {
        err(harmless(meant));
    }
}

/// Why there is nothing to send of a file, whichever entry copies it.
fn unfit(path: &Path) -> Option<String> {
    match facts(path) {
        Err(why) => Some(why),
        Ok(facts) => facts.signature.err().or_else(|| compressed(path)),
    }
}

/// Reads the configuration as the agent would, as the user that it would run as if that can be.
pub(super) fn insight(setup: &Setup) -> Result<Insight, i32> {
    // A user who may not change to the agent's user looks with his own rights
    let _ = setup.change_user("look at files");
    let config = match Config::load(&setup.source) {
        Ok(config) => config,
        Err(error) => {
            err(format_args!("Failed to read the configuration: {error}"));
            if let Some(hint) = setup.hint_if_missing() {
                err(hint);
            }
            return Err(exit::FAILED);
        }
    };
    let running = Place::of(&config).running().is_some();
    Insight::new(config, running).map_err(|error| {
        err(format_args!("Failed to read the configuration: {error}"));
        exit::FAILED
    })
}

/// Writes events as JSON lines.
struct Lines<'a, W: Write> {
    out: &'a mut W,
    /// `{"path":"...",`
    begin: Vec<u8>,
    /// The log's attributes as members, for events without any of their own.
    members: Vec<u8>,
    /// The log to which the members belong.
    of: Option<(String, String)>,
    line: Vec<u8>,
}

impl<'a, W: Write> Lines<'a, W> {
    fn new(path: &Path, out: &'a mut W) -> Self {
        let mut begin = b"{\"path\":".to_vec();
        json_bytes_lossy(&mut begin, path.as_os_str().as_bytes());
        Lines {
            out,
            begin,
            members: Vec::new(),
            of: None,
            line: Vec::new(),
        }
    }

    fn put(&mut self, worker: &str, head: &Head, event: &Event) -> io::Result<()> {
        let of = self.of.as_ref();
        if of.is_none_or(|(w, name)| w != worker || *name != head.reported) {
            self.of = Some((worker.to_owned(), head.reported.clone()));
            self.members.clear();
            json_members(&mut self.members, &head.attributes);
        }
        let line = &mut self.line;
        line.clear();
        line.extend_from_slice(&self.begin);
        line.extend_from_slice(b",\"logfile\":");
        json_str(line, &head.reported);
        match event.ts {
            Some(ts) => {
                let _ = write!(line, ",\"ts\":\"{ts}\"");
            }
            None => line.extend_from_slice(b",\"ts\":null"),
        }
        line.extend_from_slice(b",\"attrs\":{");
        match event.attrs.filter(|own| !own.is_empty()) {
            None => line.extend_from_slice(&self.members),
            Some(own) => merge(line, &head.attributes, own),
        }
        line.extend_from_slice(b"},\"message\":");
        json_bytes_lossy(line, event.message);
        if let Some(rate) = event.sample_rate {
            let _ = write!(line, ",\"sample_rate\":{rate:?}");
        }
        let _ = write!(line, ",\"sequence_number\":{}", event.number);
        if worker != "default" {
            line.extend_from_slice(b",\"worker\":");
            json_str(line, worker);
        }
        line.extend_from_slice(b"}\n");
        self.out.write_all(line)
    }
}

/// The log's attributes, those that the event has itself in its own words.
fn merge(out: &mut Vec<u8>, log: &[(String, AttrValue)], own: &[u8]) {
    let keys = keys(own);
    let mut rest: Vec<(String, AttrValue)> = log.to_vec();
    rest.retain(|(key, _)| !keys.contains(key));
    json_members(out, &rest);
    if !rest.is_empty() {
        out.push(b',');
    }
    out.extend_from_slice(own);
}

/// The keys of `"k":v,"k":v`.
fn keys(members: &[u8]) -> HashSet<String> {
    struct Keys(HashSet<String>);
    impl<'de> Visitor<'de> for Keys {
        type Value = HashSet<String>;
        fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self::Value, A::Error> {
            while let Some((key, IgnoredAny)) = map.next_entry()? {
                self.0.insert(key);
            }
            Ok(self.0)
        }
    }
    let object = [b"{", members, b"}"].concat();
    serde_json::Deserializer::from_slice(&object)
        .deserialize_map(Keys(HashSet::new()))
        .unwrap_or_default()
}

/// A line of the summary.
fn tell(text: &mut String, name: &str, totals: &Totals) {
    let Counts {
        lines,
        bytes,
        events,
        event_bytes,
        grouped_lines,
        sampled_out_lines,
        redacted_lines,
        cut_lines,
        ..
    } = totals.counts;
    // Writing to a String can't fail.
    let _ = write!(
        text,
        "{name}: {} ({}) read, {grouped_lines} joined to the line before, \
         {sampled_out_lines} sampled out, {redacted_lines} redacted, {cut_lines} cut; {} ({})",
        count(lines, "line"),
        count(bytes, "byte"),
        count(events, "event"),
        count(event_bytes, "byte")
    );
    let counts = &totals.counts;
    for (count, what) in [
        (totals.before, "bytes before the start"),
        (counts.zero_bytes, "bytes of zeros between lines"),
        (counts.parse_failures, "lines that are not of the format"),
        (counts.missing_messages, "JSON lines without a message"),
        (counts.bad_times, "times that can't be read"),
        (counts.withheld_lines, "lines withheld"),
        (counts.empty_lines, "empty events dropped"),
        (
            counts.no_room_lines,
            "events dropped as attributes leave no room",
        ),
        (counts.failed_searches, "searches given up"),
    ] {
        if count > 0 {
            let _ = write!(text, "; {what}: {count}");
        }
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_s_own_attributes_take_the_place_of_the_log_s() {
        let log = [
            ("parser".to_owned(), AttrValue::Text("p".to_owned())),
            ("n".to_owned(), AttrValue::Number("1".to_owned())),
        ];
        let merged = |own: &str| {
            let mut out = Vec::new();
            merge(&mut out, &log, own.as_bytes());
            String::from_utf8(out).unwrap()
        };
        assert_eq!(merged(r#""x":[1]"#), r#""parser":"p","n":1,"x":[1]"#);
        assert_eq!(merged(r#""\u006e":2"#), r#""parser":"p","\u006e":2"#);
        assert_eq!(merged(r#""n":2,"parser":{}"#), r#""n":2,"parser":{}"#);
    }
}
