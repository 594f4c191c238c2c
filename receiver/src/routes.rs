//! The receiver's answers beside `addEvents`: counts, search, control.

use crate::event::{Event, Query};
use crate::fault::Fault;
use crate::http::{Answer, Head};
use crate::server::Shared;
use serde_json::{json, Value};
use std::sync::Arc;
use std::time::Duration;

const USAGE: &str = "GET /counts, /search?text=&attr=key:value&path=&limit=&skip=, \
/events?path=&limit=, /requests?limit=, /problems, /ledger?path=&from=&to=; \
POST /control/fault, /control/clear, /control/reset, /control/down?seconds=";

pub(crate) fn answer(shared: &Arc<Shared>, head: &Head, body: &[u8]) -> Answer {
    let query = head.query();
    let answered = match (head.method.as_str(), head.path()) {
        ("GET", "/") => Ok(Answer::json(200, &json!({ "usage": USAGE }))),
        ("GET", "/counts") => Ok(Answer::json(200, shared.state().counts())),
        ("GET", "/search") => search(shared, &query, false),
        ("GET", "/events") => search(shared, &query, true),
        ("GET", "/requests") => requests(shared, &query),
        ("GET", "/problems") => {
            let problems: Vec<String> = shared.state().problems().map(str::to_owned).collect();
            Ok(Answer::json(200, &problems))
        }
        ("GET", "/ledger") => ledger(shared, &query),
        ("POST", "/control/fault") => fault(shared, body),
        ("POST", "/control/clear") => {
            shared.clear_faults();
            Ok(done())
        }
        ("POST", "/control/reset") => {
            shared.state().reset();
            Ok(done())
        }
        ("POST", "/control/down") => down(shared, &query),
        _ => return Answer::json(404, &json!({ "error": "unknown", "usage": USAGE })),
    };
    answered.unwrap_or_else(|why| Answer::json(400, &json!({ "error": why })))
}

fn done() -> Answer {
    Answer::json(200, &json!({ "done": true }))
}

type Answered = Result<Answer, String>;
type Pairs = [(String, String)];

fn number<T: std::str::FromStr>(query: &Pairs, name: &str, default: T) -> Result<T, String> {
    match query.iter().find(|(key, _)| key == name) {
        None => Ok(default),
        Some((_, value)) => value
            .parse()
            .map_err(|_| format!("{name}={value} is not a number in range")),
    }
}

/// A [`Query`] from the names and values of a URL's query or of a command line.
pub(crate) fn query_from(pairs: &Pairs, newest: bool) -> Result<Query, String> {
    let mut query = Query {
        limit: number(pairs, "limit", 100)?,
        skip: number(pairs, "skip", 0)?,
        newest,
        ..Query::default()
    };
    for (key, value) in pairs {
        match key.as_str() {
            "text" => query.text = Some(value.clone()),
            "path" => query.path = Some(value.clone()),
            "attr" if !query.add_attr(value) => {
                return Err(format!("attr={value} is not key:value"));
            }
            "attr" | "limit" | "skip" => {}
            _ => return Err(format!("{key} is unknown")),
        }
    }
    Ok(query)
}

fn search(shared: &Shared, pairs: &Pairs, newest: bool) -> Answered {
    let query = query_from(pairs, newest)?;
    let (matches, events) = shared.search(&query).map_err(|error| error.to_string())?;
    let mut body = format!("{{\"matches\":{matches},\"events\":[").into_bytes();
    for (i, event) in events.iter().enumerate() {
        if i > 0 {
            body.push(b',');
        }
        Event::write_line(event, &mut body);
    }
    body.extend_from_slice(b"]}");
    let mut answer = done();
    answer.body = body;
    Ok(answer)
}

fn requests(shared: &Shared, query: &Pairs) -> Answered {
    let limit = number(query, "limit", 100usize)?;
    let state = shared.state();
    let requests = state.requests();
    let skip = requests.len().saturating_sub(limit);
    let last: Vec<_> = requests.skip(skip).collect();
    Ok(Answer::json(200, &last))
}

fn ledger(shared: &Shared, query: &Pairs) -> Answered {
    const MOST: u64 = 1 << 28;
    let (from, to) = (number(query, "from", 0)?, number(query, "to", 0u64)?);
    let path = query.iter().find(|(key, _)| key == "path");
    let state = shared.state();
    let tally = match path {
        Some((_, path)) => state.ledger().path(path).cloned().unwrap_or_default(),
        None => state.ledger().together(|_| true),
    };
    drop(state);
    let gaps: Vec<Value> = tally
        .missing(from..to.min(MOST))
        .iter()
        .take(1000)
        .map(|gap| json!([gap.start, gap.end]))
        .collect();
    let value = json!({
        "seen": tally.seen, "repeats": tally.repeats, "repeated": tally.repeated,
        "backwards": tally.backwards, "unnumbered": tally.unnumbered, "missing": gaps,
    });
    Ok(Answer::json(200, &value))
}

/// One fault, or an array of them.
fn fault(shared: &Shared, body: &[u8]) -> Answered {
    let value: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let list = match value {
        Value::Array(list) => list,
        one => vec![one],
    };
    let mut faults = Vec::new();
    for value in list {
        let fault: Fault = serde_json::from_value(value).map_err(|error| error.to_string())?;
        fault.check()?;
        faults.push(fault);
    }
    for fault in faults {
        shared.add_fault(fault);
    }
    let waiting = shared.state().faults_waiting();
    Ok(Answer::json(200, &json!({ "waiting": waiting })))
}

fn down(shared: &Arc<Shared>, query: &Pairs) -> Answered {
    let secs: f64 = number(query, "seconds", 5.0)?;
    if !(0.0..=86_400.0).contains(&secs) {
        return Err("seconds must be between 0 and 86400".into());
    }
    let time = Duration::try_from_secs_f64(secs).map_err(|error| error.to_string())?;
    shared.leave_for(time).map_err(|error| error.to_string())?;
    Ok(done())
}
