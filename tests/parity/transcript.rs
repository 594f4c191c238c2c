//! The events that an agent delivered, as text by which two runs can be compared.
//!
//! ```text
//! server {"serverHost":"parity"}
//! file @LOGS@/a.log
//! attrs {"logfile":"@LOGS@/a.log"}
//! | a line\n
//! numbers 0..500
//! ```
//!
//! Files are in the order of their names, events in the order of arrival; an `attrs` line stands
//! before the first event and wherever the attributes (the log's with the event's own over them)
//! change. What differs from run to run (session, thread id, sequence id) is left out.

use crate::case::Compare;
use crate::text::escape;
use receiver::{Event, Request};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The numbered line that the step `numbers` writes.
pub fn numbered_line(n: u64) -> String {
    let padding = 20 + (n.wrapping_mul(2_654_435_761) >> 7) as usize % 40;
    format!("n={n:06} {} e={n:06}\n", "p".repeat(padding))
}

/// The number of a whole numbered line.
fn number_of(message: &[u8]) -> Option<u64> {
    let n = message.strip_prefix(b"n=")?.get(..6)?;
    let n = std::str::from_utf8(n).ok()?.parse().ok()?;
    (numbered_line(n).as_bytes() == message).then_some(n)
}

/// The transcript. `places` are folders and the placeholders to write for them.
pub fn transcript(
    requests: &[Request],
    events: &[Event],
    compare: &Compare,
    places: &[(String, &str)],
) -> String {
    let mut out = String::new();
    let mut servers: Vec<&Map<String, Value>> = Vec::new();
    let machine = nix::unistd::gethostname().unwrap();
    let machine = machine.to_str().unwrap();
    for info in requests.iter().filter_map(|r| r.session_info.as_ref()) {
        if !servers.contains(&info) {
            servers.push(info);
            let mut info = Map::clone(info);
            if info.get("serverHost").is_some_and(|host| *host == *machine) {
                info.insert("serverHost".into(), "@MACHINE@".into());
            }
            push_json(&mut out, "server", &info);
        }
    }
    let mut files: BTreeMap<String, Vec<&Event>> = BTreeMap::new();
    for event in events {
        let (mut name, _) = replaced(&event.path, places);
        if compare.show_keys {
            let request = requests.iter().find(|r| r.number == event.request);
            name.push_str(&format!(" key {}", request.map_or("?", |r| &r.token)));
        }
        files.entry(name).or_default().push(event);
    }
    for (file, mut events) in files {
        out.push_str(&format!("file {}\n", escape(file.as_bytes())));
        if compare.sort {
            events.sort_by(|a, b| a.message.cmp(&b.message));
        }
        push_events(&mut out, &events, compare, places);
    }
    // Once for the whole text: paths may also be in attributes and messages
    replaced(&out, places).0
}

fn push_events(out: &mut String, events: &[&Event], compare: &Compare, places: &[(String, &str)]) {
    let mut attrs: Option<Map<String, Value>> = None;
    let mut numbers: Option<(u64, u64)> = None;
    for event in events {
        let mut own = Map::clone(&event.attrs);
        own.retain(|name, _| !compare.drop.contains(name));
        let changed = attrs.as_ref() != Some(&own);
        let number = number_of(&event.message);
        match (&mut numbers, number) {
            (Some((_, end)), Some(n)) if *end == n && !changed => {
                *end += 1;
                continue;
            }
            _ => push_numbers(out, numbers.take()),
        }
        if changed {
            push_json(out, "attrs", &own);
            attrs = Some(own);
        }
        if compare.show_ts {
            out.push_str(&format!("ts {}\n", event.ts.unwrap_or_default()));
        }
        if compare.show_sn {
            out.push_str(&format!("sn {}\n", event.sn.unwrap_or_default()));
        }
        if let Some(rate) = event.sample_rate {
            out.push_str(&format!("sample_rate {rate}\n"));
        }
        match number {
            Some(n) if !compare.show_sn && !compare.show_ts => numbers = Some((n, n + 1)),
            _ => {
                let message = replaced_bytes(&event.message, places);
                out.push_str(&format!("| {}\n", escape(&message)));
            }
        }
    }
    push_numbers(out, numbers);
}

fn push_numbers(out: &mut String, numbers: Option<(u64, u64)>) {
    if let Some((from, to)) = numbers {
        out.push_str(&format!("numbers {from}..{to}\n"));
    }
}

fn push_json(out: &mut String, name: &str, map: &Map<String, Value>) {
    let json = serde_json::to_string(map).unwrap();
    out.push_str(&format!("{name} {json}\n"));
}

fn replaced(text: &str, places: &[(String, &str)]) -> (String, bool) {
    let mut out = text.to_owned();
    for (folder, placeholder) in places {
        out = out.replace(folder, placeholder);
    }
    let changed = out != text;
    (out, changed)
}

fn replaced_bytes(bytes: &[u8], places: &[(String, &str)]) -> Vec<u8> {
    match std::str::from_utf8(bytes) {
        Ok(text) => replaced(text, places).0.into_bytes(),
        Err(_) => bytes.to_vec(),
    }
}

/// How many events a transcript has, for each file as it stands there.
pub fn counts(transcript: &str) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    let mut file = String::new();
    for line in transcript.lines() {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let events = match word {
            "file" => {
                file = rest.split(" key ").next().unwrap_or_default().to_owned();
                0
            }
            "|" => 1,
            "numbers" => rest.split_once("..").map_or(0, |(from, to)| {
                let number = |text: &str| text.parse::<u64>().unwrap_or(0);
                number(to).saturating_sub(number(from))
            }),
            _ => continue,
        };
        *counts.entry(file.clone()).or_insert(0) += events;
    }
    counts
}
