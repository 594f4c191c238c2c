//! The command line of the `receiver` program.

use crate::client::ask;
use crate::event::{Event, Query};
use crate::follow::incoming;
use crate::http::encode;
use crate::routes::query_from;
use crate::server::{Options, Receiver};
use crate::state::LogCounts;
use crate::store::{scan_folder, search_folder};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

const USAGE: &str = "\
usage:
  receiver serve [--listen ADDRESS:PORT] [--folder DIR] [--follow] [--numbered]
                 [--keep EVENTS] [--request-limit BYTES] [--token KEY]... [--strict-json]
      Listens (127.0.0.1 and a free port unless told), prints its address as a JSON line, and
      keeps what arrives in DIR/events.jsonl. --follow shows it as it arrives.
  receiver count DIR|URL
      How much arrived, of each log.
  receiver search DIR|URL [--text TEXT] [--attr KEY=VALUE]... [--path PATH] [--limit N] [--skip N]
      Events as JSON lines. PATH may have a * at either end.
  receiver requests URL [--limit N]
      The last requests.
  receiver fault URL JSON
      A fault for the requests to come, for example '{\"status\":503,\"times\":3}'.
  receiver clear URL
      Clears all faults.
";

/// Runs a command; the arguments are those after the program's name. Returns the exit code.
pub fn run(args: &[String]) -> i32 {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["serve", rest @ ..] => serve(rest),
        ["count", target] => count(target),
        ["search", target, rest @ ..] => search(target, rest),
        ["requests", url, rest @ ..] => {
            pairs(rest, &["limit"]).and_then(|p| get(url, &target("/requests", &p)))
        }
        ["fault", url, json] => post(url, "/control/fault", json),
        ["clear", url] => post(url, "/control/clear", ""),
        ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            return 0;
        }
        _ => {
            eprint!("{USAGE}");
            return 2;
        }
    };
    match done {
        Ok(()) => 0,
        Err(Failure::Usage(why)) => {
            eprint!("receiver: {why}\n{USAGE}");
            2
        }
        Err(Failure::Other(why)) => {
            eprintln!("receiver: {why}");
            1
        }
    }
}

enum Failure {
    Usage(String),
    Other(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Other(error.to_string())
    }
}

type Done = Result<(), Failure>;

fn serve(args: &[&str]) -> Done {
    let mut options = Options {
        keep_events: 10_000,
        ..Options::default()
    };
    let mut follow = false;
    let mut args = args.iter();
    while let Some(&arg) = args.next() {
        let mut value = || {
            let value = args.next().copied();
            value.ok_or_else(|| Failure::Usage(format!("{arg} needs a value")))
        };
        let bad = |what: &str, value: &str| Failure::Usage(format!("{arg} {value} is not {what}"));
        match arg {
            "--listen" => {
                let text = value()?;
                options.listen = text.parse().map_err(|_| bad("ADDRESS:PORT", text))?;
            }
            "--folder" => options.folder = Some(value()?.into()),
            "--follow" => follow = true,
            "--numbered" => options.numbered = true,
            "--strict-json" => options.strict_json = true,
            "--token" => options.tokens.push(value()?.to_owned()),
            "--keep" => {
                let text = value()?;
                options.keep_events = text.parse().map_err(|_| bad("a number", text))?;
            }
            "--request-limit" => {
                let text = value()?;
                options.request_limit = text.parse().map_err(|_| bad("a number", text))?;
            }
            _ => return Err(Failure::Usage(format!("{arg} is unknown"))),
        }
    }
    let arriving = follow.then(|| {
        let (observer, arriving) = incoming();
        options.observer = Some(observer);
        arriving
    });
    let receiver = Receiver::start(options)?;
    let mut out = io::stdout();
    writeln!(
        out,
        "{}",
        serde_json::json!({"url": receiver.url(), "port": receiver.port()})
    )?;
    out.flush()?;
    match arriving {
        Some(arriving) => Ok(arriving.show(&receiver, &mut out, 20, || false)?),
        None => loop {
            std::thread::park();
        },
    }
}

/// `--name value` pairs.
fn pairs(args: &[&str], known: &[&str]) -> Result<Vec<(String, String)>, Failure> {
    let mut pairs = Vec::new();
    for pair in args.chunks(2) {
        let name = pair[0].strip_prefix("--").unwrap_or("");
        match pair {
            [_, value] if known.contains(&name) => {
                pairs.push((name.to_owned(), (*value).to_owned()))
            }
            [arg] if known.contains(&name) => {
                return Err(Failure::Usage(format!("{arg} needs a value")))
            }
            _ => return Err(Failure::Usage(format!("{} is unknown", pair[0]))),
        }
    }
    Ok(pairs)
}

fn target(path: &str, pairs: &[(String, String)]) -> String {
    let pairs: Vec<String> = pairs
        .iter()
        .map(|(key, value)| format!("{key}={}", encode(value)))
        .collect();
    format!("{path}?{}", pairs.join("&"))
}

fn is_url(target: &str) -> bool {
    target.starts_with("http://")
}

fn count(target: &str) -> Done {
    if is_url(target) {
        return get(target, "/counts");
    }
    let mut logs: BTreeMap<String, LogCounts> = BTreeMap::new();
    let (mut events, mut bytes) = (0u64, 0u64);
    scan_folder(Path::new(target), |event| {
        let log = logs.entry(event.path.to_string()).or_default();
        log.events += 1;
        log.message_bytes += event.message.len() as u64;
        events += 1;
        bytes += event.message.len() as u64;
    })?;
    print(&serde_json::json!({"events": events, "message_bytes": bytes, "logs": logs}))
}

fn print(value: &serde_json::Value) -> Done {
    let text = serde_json::to_string_pretty(value).map_err(io::Error::from)?;
    Ok(writeln!(io::stdout(), "{text}")?)
}

fn search(place: &str, args: &[&str]) -> Done {
    let pairs = pairs(args, &["text", "attr", "path", "limit", "skip"])?;
    let query: Query = query_from(&pairs, false).map_err(Failure::Usage)?;
    let mut out = Vec::new();
    let matches = if is_url(place) {
        let answer = fetch(place, "GET", &target("/search", &pairs), b"")?;
        for event in answer["events"].as_array().into_iter().flatten() {
            out.extend_from_slice(event.to_string().as_bytes());
            out.push(b'\n');
        }
        answer["matches"].as_u64().unwrap_or(0)
    } else {
        let (matches, events) = search_folder(Path::new(place), &query)?;
        events
            .iter()
            .for_each(|event: &Event| event.write_line(&mut out));
        matches as u64
    };
    io::stdout().write_all(&out)?;
    eprintln!("{matches} events match");
    Ok(())
}

fn fetch(url: &str, method: &str, target: &str, body: &[u8]) -> Result<serde_json::Value, Failure> {
    let (status, answer) = ask(url, method, target, body)?;
    let value: serde_json::Value = serde_json::from_slice(&answer).map_err(io::Error::from)?;
    if status != 200 {
        let why = value["error"].as_str().unwrap_or("refused");
        return Err(Failure::Other(format!("{url}: {why}")));
    }
    Ok(value)
}

fn get(url: &str, target: &str) -> Done {
    print(&fetch(url, "GET", target, b"")?)
}

fn post(url: &str, target: &str, body: &str) -> Done {
    print(&fetch(url, "POST", target, body.as_bytes())?)
}
