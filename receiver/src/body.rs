//! The meaning of request bodies: what an `addEvents` says.

use crate::relaxed::{Malformed, Reader};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::HashMap;

/// An index into [`Body::names`], or [`NONE`].
pub(crate) type NameIndex = u32;
/// No name.
pub(crate) const NONE: NameIndex = NameIndex::MAX;

/// At most so many findings are kept of one body.
const MAX_PROBLEMS: usize = 20;

/// One event, mostly slices of the body.
#[derive(Debug)]
pub(crate) struct RawEvent<'a> {
    pub thread: NameIndex,
    pub log: NameIndex,
    /// Members of `attrs` other than the message, unparsed: `"k":v,"k":v,`.
    pub attrs: &'a [u8],
    pub message: Cow<'a, [u8]>,
    pub sample_rate: Option<f64>,
    pub ts: Option<u64>,
    pub si: NameIndex,
    /// Absolute, differences already added up.
    pub sn: Option<u64>,
}

/// A request body, read.
#[derive(Debug, Default)]
pub(crate) struct Body<'a> {
    pub token: Option<Cow<'a, str>>,
    pub session: Option<Cow<'a, str>>,
    pub session_info: Option<Map<String, Value>>,
    pub client_time: Option<u64>,
    /// Absent is not the same as empty.
    pub events: Option<Vec<RawEvent<'a>>>,
    pub logs: HashMap<NameIndex, Map<String, Value>>,
    /// Log id to thread name.
    pub threads: HashMap<NameIndex, String>,
    pub names: Vec<Cow<'a, str>>,
    /// Whether the whole of it is strict JSON.
    pub strict: bool,
    /// Sentences about parts that are well-formed and yet cannot be meant so.
    pub problems: Vec<String>,
}

impl Body<'_> {
    /// How many events it has.
    pub fn event_count(&self) -> usize {
        self.events.as_ref().map_or(0, Vec::len)
    }
}

/// Reads a body.
pub(crate) fn parse(text: &[u8]) -> Result<Body<'_>, Malformed> {
    let mut body = Body::default();
    let mut names = Names::default();
    let mut problems = Problems::default();
    let mut reader = Reader::new(text);
    let mut threads_given = false;
    reader.members(|r, key| {
        match key {
            b"token" => body.token = Some(r.string()?),
            b"session" => body.session = Some(r.string()?),
            b"sessionInfo" => body.session_info = Some(r.map()?),
            b"client_time" => {
                let at = r.integer()?;
                let Ok(at) = u64::try_from(at) else {
                    return r.fail("client_time is out of range");
                };
                body.client_time = Some(at);
            }
            b"events" => {
                let list = body.events.get_or_insert_with(Vec::new);
                let mut sequence = Sequence::default();
                r.elements(|r| {
                    let event = event(r, &mut names, &mut sequence, &mut problems)?;
                    list.push(event);
                    Ok(())
                })?;
            }
            b"logs" => r.elements(|r| {
                let (mut id, mut attrs) = (NONE, Map::new());
                r.members(|r, key| {
                    match key {
                        b"id" => id = names.index(r.string()?),
                        b"attrs" => attrs = r.map()?,
                        _ => r.skip()?,
                    }
                    Ok(())
                })?;
                if id == NONE {
                    return r.fail("an element of logs has no id");
                }
                if body.logs.insert(id, attrs).is_some() {
                    problems.add(|| format!("logs names {} twice", names.get(id)));
                }
                Ok(())
            })?,
            b"threads" => {
                // The reference sends an empty one first; repeated keys are not strict JSON
                if std::mem::replace(&mut threads_given, true) {
                    r.strict = false;
                }
                r.elements(|r| {
                    let (mut id, mut name) = (NONE, String::new());
                    r.members(|r, key| {
                        match key {
                            b"id" => id = names.index(r.string()?),
                            b"name" => name = r.string()?.into_owned(),
                            _ => r.skip()?,
                        }
                        Ok(())
                    })?;
                    if id == NONE {
                        return r.fail("an element of threads has no id");
                    }
                    if body.threads.insert(id, name).is_some() {
                        problems.add(|| format!("threads names {} twice", names.get(id)));
                    }
                    Ok(())
                })?;
            }
            _ => r.skip()?,
        }
        Ok(())
    })?;
    reader.end()?;
    body.strict = reader.strict && std::str::from_utf8(text).is_ok();
    check_references(&body, &names, &mut problems);
    body.problems = problems.list;
    body.names = names.list;
    Ok(body)
}

fn event<'a>(
    r: &mut Reader<'a>,
    names: &mut Names<'a>,
    sequence: &mut Sequence,
    problems: &mut Problems,
) -> Result<RawEvent<'a>, Malformed> {
    let mut event = RawEvent {
        thread: NONE,
        log: NONE,
        attrs: b"",
        message: Cow::Borrowed(b""),
        sample_rate: None,
        ts: None,
        si: NONE,
        sn: None,
    };
    let (mut sn, mut sd) = (None, None);
    let mut has_message = false;
    r.members(|r, key| {
        match key {
            b"thread" => event.thread = names.index(r.string()?),
            b"log" => event.log = names.index(r.string()?),
            b"ts" => {
                let Ok(ts) = u64::try_from(r.integer()?) else {
                    return r.fail("ts is out of range");
                };
                event.ts = Some(ts);
            }
            b"si" => event.si = names.index(r.string()?),
            b"sn" => sn = Some(r.integer()?),
            b"sd" => sd = Some(r.integer()?),
            b"attrs" => {
                // `[from, to)` spans all members, the message too where it is not the last.
                let (mut from, mut to, mut others, mut closed) = (0, 0, false, false);
                r.members(|r, key| {
                    if from == 0 {
                        from = r.key_at;
                    }
                    let key_at = r.key_at;
                    match key {
                        b"message" => {
                            event.message = r.bytes()?;
                            has_message = true;
                            to = key_at;
                            closed = true;
                        }
                        b"sample_rate" => {
                            event.sample_rate = r.value()?.as_f64();
                            if !closed {
                                to = r.at();
                            }
                        }
                        _ => {
                            r.skip()?;
                            to = r.at();
                            others = true;
                        }
                    }
                    Ok(())
                })?;
                event.attrs = if others { r.slice(from, to) } else { b"" };
            }
            _ => r.skip()?,
        }
        Ok(())
    })?;
    if !has_message {
        problems.add(|| "an event has no message".to_owned());
    }
    if event.ts.is_none() {
        problems.add(|| "an event has no ts".to_owned());
    }
    sequence.resolve(&mut event, sn, sd, problems);
    Ok(event)
}

/// The members of an event's `attrs` other than message and sample_rate, into `map`.
pub(crate) fn merge_attrs(text: &[u8], map: &mut Map<String, Value>) {
    // It was read before, so it can't fail now
    let _ = Reader::new(text).bare_members(|r, key| {
        if matches!(key, b"message" | b"sample_rate") {
            return r.skip();
        }
        let value = r.value()?;
        map.insert(String::from_utf8_lossy(key).into_owned(), value);
        Ok(())
    });
}

fn check_references(body: &Body, names: &Names, problems: &mut Problems) {
    let mut last = (NONE, NONE);
    for event in body.events.iter().flatten() {
        let pair = (event.thread, event.log);
        if pair == last {
            continue;
        }
        last = pair;
        if event.thread == NONE {
            problems.add(|| "an event has no thread".to_owned());
        } else if !body.threads.contains_key(&event.thread) {
            problems.add(|| format!("threads does not name {}", names.get(event.thread)));
        }
        if event.log != NONE && !body.logs.contains_key(&event.log) {
            problems.add(|| format!("logs does not name {}", names.get(event.log)));
        }
    }
}

/// The sequence id and number of the event before: an event without `si` has the same id, and `sd`
/// is the difference of its number to that.
struct Sequence {
    id: NameIndex,
    number: Option<u64>,
}

impl Default for Sequence {
    fn default() -> Self {
        Sequence {
            id: NONE,
            number: None,
        }
    }
}

impl Sequence {
    fn resolve(
        &mut self,
        event: &mut RawEvent,
        sn: Option<i128>,
        sd: Option<i128>,
        problems: &mut Problems,
    ) {
        if event.si != NONE && event.si != self.id {
            self.id = event.si;
            self.number = None;
        }
        let number = match (sn, sd) {
            (Some(sn), None) => Some(sn),
            (Some(sn), Some(_)) => {
                problems.add(|| "an event has both sn and sd".to_owned());
                Some(sn)
            }
            (None, Some(sd)) => match self.number {
                Some(last) => Some(i128::from(last) + sd),
                None => {
                    problems.add(|| "an event has sd but none before it has sn".to_owned());
                    return;
                }
            },
            (None, None) => {
                if event.si != NONE {
                    problems.add(|| "an event has si but no sn".to_owned());
                }
                return;
            }
        };
        match number.and_then(|n| u64::try_from(n).ok()) {
            Some(number) if self.id != NONE => {
                self.number = Some(number);
                event.si = self.id;
                event.sn = Some(number);
            }
            Some(_) => problems.add(|| "an event has a number but no si before it".to_owned()),
            None => problems.add(|| "a sequence number is out of range".to_owned()),
        }
    }
}

/// Names, each kept once.
#[derive(Default)]
struct Names<'a> {
    list: Vec<Cow<'a, str>>,
    known: HashMap<String, NameIndex>,
    /// The two names used last: thread and log are mostly those of the event before.
    recent: [NameIndex; 2],
}

impl<'a> Names<'a> {
    fn index(&mut self, name: Cow<'a, str>) -> NameIndex {
        for &index in &self.recent {
            if self.list.get(index as usize) == Some(&name) {
                return index;
            }
        }
        let next = self.list.len() as NameIndex;
        let index = match self.known.get(name.as_ref()) {
            Some(&index) => index,
            None => {
                self.known.insert(name.clone().into_owned(), next);
                self.list.push(name);
                next
            }
        };
        self.recent = [self.recent[1], index];
        index
    }

    fn get(&self, index: NameIndex) -> &str {
        self.list.get(index as usize).map_or("", |name| name)
    }
}

#[derive(Default)]
struct Problems {
    list: Vec<String>,
}

impl Problems {
    fn add(&mut self, what: impl FnOnce() -> String) {
        if self.list.len() < MAX_PROBLEMS {
            self.list.push(what());
        }
    }
}

#[cfg(test)]
#[path = "body_tests.rs"]
mod tests;
