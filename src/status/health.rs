//! Health, decided here and nowhere else. There are two questions: whether a restart could mend the agent,
//! which is the Python agent's health and the exit code of `status -H`, and whether lines are delivered,
//! which is what `status` says. A probe that restarts an agent because its server is down mends nothing,
//! and in an outage it would restart all of them at once.

use super::data::{FileState, MatcherStatus};
use super::text::span;
use serde::Serialize;
use serde_json::{Map, Value};
use std::time::Duration;

/// The value of every part that is well.
pub const GOOD: &str = "Good";
/// The start of a health text about lines that are not delivered, which no restart mends.
const NOT_DELIVERING: &str = "Not delivering:";

/// The weight of a [`Problem`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// A part of the agent does nothing any more; a restart may mend it.
    Stuck,
    /// Lines are not delivered; a restart does not mend it.
    Bad,
    /// All is delivered up to now.
    Warning,
}

/// A fault that an operator should know of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// A name for programs, such as `keyRefused`.
    pub code: &'static str,
    /// Its weight.
    pub severity: Severity,
    /// The fault, in one sentence without a full stop.
    pub text: String,
    /// The way out, in whole sentences.
    pub remedy: &'static str,
}

impl Problem {
    /// A fault that all the rest goes on with.
    pub fn warning(code: &'static str, text: String, remedy: &'static str) -> Problem {
        Problem {
            code,
            severity: Severity::Warning,
            text,
            remedy,
        }
    }
}

/// Problems in the order of their weight, else as they were.
pub fn sorted(mut problems: Vec<Problem>) -> Vec<Problem> {
    crate::util::sort::by_key(&mut problems, |problem| problem.severity);
    problems
}

/// The health of a part that is well, stuck or unknown by itself, and has these problems.
pub fn told(own: Option<String>, problems: &[Problem]) -> Option<String> {
    let bad = problems.iter().find(|p| p.severity == Severity::Bad);
    match (&own, bad) {
        (Some(stuck), _) if !is_good(stuck) => own,
        (_, Some(bad)) => Some(format!("{NOT_DELIVERING} {}", bad.text)),
        (_, None) => own,
    }
}

/// The problem of a session or scan that is stuck; `own` is the health of both together.
pub fn stuck(own: Option<&str>) -> Option<Problem> {
    let text = own.filter(|own| !is_good(own))?;
    Some(Problem {
        code: "stuck",
        severity: Severity::Stuck,
        text: text.to_owned(),
        remedy: "If it stays so, restart the agent: scalyr-agent-2 restart. Its log tells more.",
    })
}

/// The state of a session's delivery.
#[derive(Debug, Clone, Copy, Default)]
pub struct Delivery<'a> {
    /// The server's address.
    pub server: &'a str,
    /// The status of the last answer, or the code of the last failure.
    pub status: &'a str,
    /// The HTTP status of the last answer, if there was one.
    pub http: Option<u16>,
    /// The last failure in words.
    pub error: &'a str,
    /// Requests that failed since the last one that was acknowledged.
    pub failures: u64,
    /// How long ago the first request began of those that were not acknowledged since.
    pub waits: Option<Duration>,
    /// Whether the server has acknowledged any request.
    pub has_delivered: bool,
}

/// A kind of failed delivery.
struct Kind {
    code: &'static str,
    /// The server said it itself, or it can't pass by itself: there is nothing to wait for.
    is_told: bool,
    /// A sentence, in which `{server}` stands for the address and `{why}` for the error.
    text: &'static str,
    remedy: &'static str,
}

/// A row of the table below.
const fn kind(code: &'static str, is_told: bool, text: &'static str, remedy: &'static str) -> Kind {
    Kind {
        code,
        is_told,
        text,
        remedy,
    }
}

/// The system's words for a full table of open files, of the process or of all.
const NO_DESCRIPTORS: &str = "oo many open files";
const MORE_DESCRIPTORS: &str =
    "Raise the limit of open files (LimitNOFILE= of the unit, ulimit -n), or lower max_open_files.";

const WAY: &str =
    "Check scalyr_server, the firewall between here and there, and whether a proxy is needed \
                   (https_proxy). scalyr-agent-2 check looks at each step.";

static CLOCK: Kind = kind(
    "clockRefused",
    true,
    "{server} says that this machine's clock is wrong ({why})",
    "Set the clock, or let chrony, ntpd or systemd-timesyncd do it.",
);
const SET_KEY: &str = "Set a key that may write logs, of an account on this server: \
                       scalyr-agent-2-config --set-key-from-stdin. The running agent takes it up by itself.";
static KEY: Kind = kind(
    "keyRefused",
    true,
    "{server} refuses the API key ({why})",
    SET_KEY,
);
static PARAMETER: Kind = kind(
    "keyRefused",
    true,
    "{server} refuses the request, perhaps the API key is wrong ({why})",
    SET_KEY,
);
static FORBIDDEN: Kind = kind(
    "keyRefused",
    true,
    "{server} refuses the API key, or something on the way forbids the request ({why})",
    "Set a key that may write logs, of an account on this server: scalyr-agent-2-config \
     --set-key-from-stdin. If the key is right, check scalyr_server and the proxy.",
);
static PROXY: Kind = kind(
    "proxyRefuses",
    true,
    "the proxy on the way to {server} wants a user and a password ({why})",
    "Write them into https_proxy: http://USER:PASSWORD@HOST:PORT.",
);
static REFUSED: Kind = kind(
    "requestRefused",
    true,
    "{server} refuses the requests ({why})",
    "The agent's log has the whole answer.",
);
static BUSY: Kind = kind(
    "serverTooBusy",
    false,
    "{server} is too busy ({why})",
    "Requests are repeated until it takes them. If that lasts, send less or ask whoever runs the server.",
);
static FAILS: Kind = kind(
    "serverFails",
    false,
    "{server} answers with errors ({why})",
    "Requests are repeated until it takes them. If that lasts, ask whoever runs the server or the proxy before it.",
);
static STRANGER: Kind = kind(
    "notTheServer",
    false,
    "what answers at {server} is not the ingest API ({why})",
    "Check scalyr_server, and the proxy or portal on the way. The agent's log has the answer.",
);
static REFUSED_CONNECTION: Kind = kind(
    "connectionRefused",
    false,
    "nothing takes connections at {server}: {why}",
    WAY,
);
static TLS: Kind = kind(
    "tlsFailed",
    false,
    "no TLS connection to {server}: {why}",
    "scalyr-agent-2 check says what is wrong with the certificate and what to do.",
);
static NAME: Kind = kind(
    "nameUnknown",
    false,
    "the name of {server} can't be looked up: {why}",
    "Check the name in scalyr_server, /etc/resolv.conf, and that the name server can be reached.",
);
static UNREACHABLE: Kind = kind(
    "serverUnreachable",
    false,
    "{server} can't be reached: {why}",
    WAY,
);
static DESCRIPTORS: Kind = kind(
    "noDescriptors",
    false,
    "no descriptor is left for a connection to {server}: {why}",
    MORE_DESCRIPTORS,
);
static SILENT: Kind = kind(
    "noAnswer",
    false,
    "{server} does not answer requests: {why}",
    "Something on the way may swallow them: a firewall, a proxy that is needed, or a port that is for another \
     protocol. scalyr-agent-2 check looks at each step.",
);

fn kind_of(status: &str, http: Option<u16>, error: &str) -> &'static Kind {
    let has = |words: &[&str]| words.iter().any(|word| status.contains(word));
    let is_name = |error: &str| {
        let words = [
            "lookup",
            "look up",
            "host not found",
            "resolve",
            "Name or service",
        ];
        words.iter().any(|word| error.contains(word))
    };
    match http {
        _ if has(&["ClockSkew"]) => &CLOCK,
        _ if crate::upload::refuses_key(status) => &KEY,
        // Also said of a request without a key, and of other mistakes in one
        _ if has(&["client/badParam"]) => &PARAMETER,
        Some(401) => &KEY,
        Some(403) => &FORBIDDEN,
        Some(407) => &PROXY,
        Some(429) => &BUSY,
        _ if has(&["serverTooBusy"]) => &BUSY,
        Some(500..) => &FAILS,
        // These are about single lines, and the next request may do
        _ if has(&["requestTooLarge", "discardBuffer"]) => &FAILS,
        _ if has(&["error/client"]) => &REFUSED,
        _ if has(&["error/"]) => &FAILS,
        Some(_) => &STRANGER,
        None if has(&["ConnRefused"]) => &REFUSED_CONNECTION,
        None if has(&["SSLError", "CertHostname"]) => &TLS,
        None if error.contains(NO_DESCRIPTORS) => &DESCRIPTORS,
        None if has(&["connectionFailed"]) && is_name(error) => &NAME,
        None if has(&["connectionFailed"]) => &UNREACHABLE,
        None => &SILENT,
    }
}

/// When the first answer of all takes longer it is worth a word.
const FIRST_ANSWER: Duration = Duration::from_secs(10);

/// The problem of a session's delivery, if it has one. `limit` is `healthy_max_time_without_delivery`, in
/// seconds: failures that may pass are a warning up to then. A refusal that the server told is bad at once,
/// and so is any failure of an agent that has delivered nothing yet: it was never set up rightly.
pub fn delivery(state: &Delivery, limit: f64) -> Option<Problem> {
    let waits = state.waits?;
    let is_late = waits.as_secs_f64() > limit;
    let is_slow = !state.has_delivered && waits > FIRST_ANSWER;
    if state.failures == 0 && !is_late && !is_slow {
        return None;
    }
    let (kind, why) = match state.failures {
        0 => (&SILENT, "the answer is awaited".to_owned()),
        _ => {
            let kind = kind_of(state.status, state.http, state.error);
            (kind, why(state))
        }
    };
    let never_worked = state.failures > 0 && !state.has_delivered;
    let severity = match kind.is_told || is_late || never_worked {
        true => Severity::Bad,
        false => Severity::Warning,
    };
    let text = kind.text.replace("{server}", state.server);
    let text = text.replace("{why}", &why);
    let since = match state.has_delivered {
        true => format!("for {}", span(waits.as_secs_f64())),
        false => "since the start".to_owned(),
    };
    Some(Problem {
        code: kind.code,
        severity,
        text: format!("{text}; no request has been acknowledged {since}"),
        remedy: kind.remedy,
    })
}

/// The cause of the last failure, in a few words.
fn why(state: &Delivery) -> String {
    match state.http {
        // Our own codes say nothing that the sentence does not
        Some(http) if !state.status.contains('/') => format!("HTTP {http}"),
        Some(_) => state.status.to_owned(),
        None => {
            let error = state.error;
            let error = error
                .strip_prefix("cannot connect to the server: ")
                .or_else(|| error.strip_prefix("no answer to the request: "))
                .unwrap_or(error);
            let error = error.strip_suffix("; will send it again").unwrap_or(error);
            error.to_owned()
        }
    }
}

/// The problems of all sessions, given with their ids: each kind once, with the session's id where others do
/// not have it.
pub fn deliveries<'a>(each: impl IntoIterator<Item = (&'a str, Option<Problem>)>) -> Vec<Problem> {
    let each: Vec<(&str, Option<Problem>)> = each.into_iter().collect();
    let mut all: Vec<Problem> = Vec::new();
    for (id, problem) in &each {
        let Some(problem) = problem else { continue };
        let is_it =
            |other: &Problem| (other.code, other.severity) == (problem.code, problem.severity);
        if all.iter().any(is_it) {
            continue;
        }
        let mut problem = problem.clone();
        let same = each.iter().filter_map(|(_, other)| other.as_ref());
        if same.filter(|other| is_it(other)).count() < each.len() {
            problem.text = format!("session {id}: {}", problem.text);
        }
        all.push(problem);
    }
    all
}

/// The problems of files: what an entry names or matches and is not copied.
pub fn files(matchers: &[MatcherStatus]) -> Vec<Problem> {
    let (mut bad, mut some) = (Vec::new(), Vec::new());
    for matcher in matchers {
        let files = &matcher.log_processors_status;
        let unread: Vec<(&str, &str)> = files
            .iter()
            .filter(|file| file.state == FileState::Unreadable)
            .filter_map(|file| Some((&*file.log_path, file.last_error.as_deref()?)))
            // A pattern may meet what is never copied; whoever names it wants it copied
            .filter(|(_, why)| !matcher.is_glob || !is_by_nature(why))
            .collect();
        match !matcher.is_glob || unread.len() == files.len() {
            true => bad.extend(unread),
            false => some.extend(unread),
        }
    }
    let of = |severity, unread: &[(&str, &str)]| {
        let [(path, why), others @ ..] = unread else {
            return None;
        };
        let others = match others.len() {
            0 => String::new(),
            1 => ", nor is 1 other".to_owned(),
            n => format!(", nor are {n} others"),
        };
        Some(Problem {
            code: "fileUnreadable",
            severity,
            text: format!("{path} is not copied: {why}{others}"),
            remedy: file_remedy(why),
        })
    };
    let bad = of(Severity::Bad, &bad);
    bad.into_iter()
        .chain(of(Severity::Warning, &some))
        .collect()
}

/// Whether nothing is wrong with a file that is not copied for this reason.
fn is_by_nature(why: &str) -> bool {
    why.starts_with("it is compressed") || why.starts_with("it is a FIFO")
}

fn file_remedy(why: &str) -> &'static str {
    const REMEDIES: [(&str, &str); 6] = [
        (
            "ermission denied",
            "Let the user that the agent runs as read it and enter the folders above it, by its group or setfacl.",
        ),
        (
            "it is a directory",
            "Name its files in the path, for example by /* at the end.",
        ),
        (
            NO_DESCRIPTORS,
            MORE_DESCRIPTORS,
        ),
        (
            "hangs",
            "Look after the mount or the scanner that does not answer. The file is taken up again by itself.",
        ),
        (
            "it is compressed",
            "Name the log as it is before it is compressed.",
        ),
        (
            "leads to more than",
            "Use a narrower pattern, or several.",
        ),
    ];
    let fits = REMEDIES.iter().find(|(word, _)| why.contains(word));
    fits.map_or("scalyr-agent-2 explain PATH tells more.", |(_, remedy)| {
        remedy
    })
}

/// The problem of paths at which threads hang.
pub fn hanging(paths: &[String]) -> Option<Problem> {
    let first = paths.first()?;
    let others = match paths.len() {
        1 => String::new(),
        2 => ", and 1 other".to_owned(),
        n => format!(", and {} others", n - 1),
    };
    Some(Problem {
        code: "pathHangs",
        severity: Severity::Bad,
        text: format!("a look at a path does not come back: {first}{others}"),
        remedy: file_remedy("hangs"),
    })
}

/// The problem of an agent that sends nothing because it was told so.
pub fn sends_nothing() -> Problem {
    Problem {
        code: "sendingDisabled",
        severity: Severity::Bad,
        text: "disable_send_requests is set: nothing is sent, and all counts as delivered"
            .to_owned(),
        remedy: "Remove it from the configuration.",
    }
}

/// Health of one session: `None` before its first attempt. All in seconds, `limit` is
/// `healthy_max_time_since_last_copy_attempt`.
pub fn session(id: &str, last_attempt: Option<f64>, now: f64, limit: f64) -> Option<String> {
    last_attempt.map(|last| {
        if now - last <= limit {
            return GOOD.to_owned();
        }
        format!(
            "Worker session '{id}' failed, max time since last copy attempt ({limit:?} seconds) exceeded"
        )
    })
}

/// Health of the scan for new files: `None` before the first.
pub fn scan(last_scan: Option<f64>, now: f64, limit: f64) -> Option<String> {
    last_scan.map(|last| {
        if now - last <= limit {
            return GOOD.to_owned();
        }
        format!("Failed, max time since last scan attempt ({limit:?} seconds) exceeded")
    })
}

/// Health of all sessions. One: its own value. Several: good if all are.
pub fn sessions<'a>(each: impl IntoIterator<Item = Option<&'a str>>) -> Option<String> {
    let each: Vec<Option<&str>> = each.into_iter().collect();
    match each.as_slice() {
        [] => None,
        [one] => one.map(str::to_owned),
        several if several.iter().all(|health| *health == Some(GOOD)) => Some(GOOD.to_owned()),
        _ => Some("Some workers have failed.".to_owned()),
    }
}

/// Scan and sessions as one line: the bad parts, else good, else (one of them not known yet) none.
pub fn combined(scan: Option<&str>, sessions: Option<&str>) -> Option<String> {
    let parts = [scan, sessions];
    if parts == [Some(GOOD), Some(GOOD)] {
        return Some(GOOD.to_owned());
    }
    let bad: Vec<&str> = parts
        .into_iter()
        .flatten()
        .filter(|part| *part != GOOD)
        .collect();
    (!bad.is_empty()).then(|| bad.join(", "))
}

/// The health that a report of either format tells, whichever agent wrote it.
///
/// The Python agent's JSON has one of scan and sessions in `health_check_result`, and which one
/// depends on their number; so both keys are looked at here.
pub fn of_report(report: &str) -> Option<String> {
    match serde_json::from_str(report) {
        Ok(Value::Object(top)) => of_json(&top),
        _ => of_text(report),
    }
}

fn of_json(top: &Map<String, Value>) -> Option<String> {
    let copying = top.get("copying_manager_status")?;
    let text = |name: &str| copying.get(name).and_then(Value::as_str);
    let main = text("health_check_result");
    let sessions = text("worker_sessions_health_check");
    match (main, sessions) {
        (Some(main), Some(sessions)) if is_good(main) => Some(sessions.to_owned()),
        (Some(main), Some(sessions)) if !is_good(sessions) && !main.contains(sessions) => {
            Some(format!("{main}, {sessions}"))
        }
        _ => main.or(sessions).map(str::to_owned),
    }
}

fn of_text(report: &str) -> Option<String> {
    report.lines().find_map(|line| {
        let rest = line
            .strip_prefix("Health check:")
            .or_else(|| line.strip_prefix("Overall health check:"))?;
        let value = rest.trim_start();
        (value.len() < rest.len() && !value.is_empty()).then(|| value.trim_end().to_owned())
    })
}

/// A report's health, as a client is told it.
#[derive(Debug, Default)]
pub struct Judgement {
    /// The health; none if it is not known yet.
    pub health: Option<String>,
    /// The problems, the heaviest first. None from the Python agent.
    pub problems: Vec<Heard>,
}

/// A problem in a JSON report.
#[derive(Debug)]
pub struct Heard {
    /// Its weight.
    pub severity: Severity,
    /// The fault.
    pub text: String,
    /// The way out.
    pub remedy: String,
}

/// Judges a report in JSON, whichever agent wrote it.
pub fn judge(report: &str) -> Judgement {
    let Ok(Value::Object(top)) = serde_json::from_str(report) else {
        return Judgement {
            health: of_text(report),
            problems: Vec::new(),
        };
    };
    let problems = top.get("at_a_glance").and_then(|g| g.get("problems"));
    let problems = problems.and_then(Value::as_array);
    Judgement {
        health: of_json(&top),
        problems: problems.into_iter().flatten().filter_map(heard).collect(),
    }
}

fn heard(problem: &Value) -> Option<Heard> {
    let text = |name: &str| problem.get(name).and_then(Value::as_str);
    Some(Heard {
        severity: match text("severity")? {
            "stuck" => Severity::Stuck,
            "bad" => Severity::Bad,
            "warning" => Severity::Warning,
            _ => return None,
        },
        text: text("text")?.to_owned(),
        remedy: text("remedy")?.to_owned(),
    })
}

/// Whether a health text asks for the exit code of the bad: for a probe that restarts the agent, what a
/// restart may mend; with `delivery` all that is bad.
pub fn is_bad(health: &str, delivery: bool) -> bool {
    !is_good(health) && (delivery || !health.starts_with(NOT_DELIVERING))
}

/// The first word of a note that says that positions can't be written down.
pub const DEGRADED: &str = "degraded";

/// Whether a health text means well; any letter case.
pub fn is_good(health: &str) -> bool {
    health.trim().eq_ignore_ascii_case(GOOD)
}

#[cfg(test)]
mod tests {
    use super::super::data::FileStatus;
    use super::*;

    #[test]
    fn trying_is_healthy_and_being_stuck_is_not() {
        assert_eq!(session("default-0", None, 1000.0, 60.0), None);
        assert_eq!(
            session("default-0", Some(950.0), 1000.0, 60.0).unwrap(),
            GOOD
        );
        assert_eq!(
            session("default-0", Some(900.0), 1000.0, 60.0).unwrap(),
            "Worker session 'default-0' failed, max time since last copy attempt (60.0 seconds) exceeded"
        );
        // a clock that was set back
        assert_eq!(session("x", Some(2000.0), 1000.0, 60.0).unwrap(), GOOD);
        assert_eq!(
            scan(Some(0.0), 1000.0, 90.5).unwrap(),
            "Failed, max time since last scan attempt (90.5 seconds) exceeded"
        );
    }

    fn failing(status: &str, http: Option<u16>, error: &str, secs: u64) -> Problem {
        let state = Delivery {
            server: "https://s",
            status,
            http,
            error,
            failures: 2,
            waits: Some(Duration::from_secs(secs)),
            has_delivered: true,
        };
        delivery(&state, 300.0).unwrap()
    }

    #[test]
    fn a_refusal_counts_at_once_and_what_may_pass_when_it_has_not() {
        for (status, http, error, code, is_told) in [
            ("error/client/badParam", Some(200), "", "keyRefused", true),
            ("error/client/noPermission/x", Some(401), "", "keyRefused", true),
            ("error/client/invalidApiKey", Some(200), "", "keyRefused", true),
            ("parseResponseFailed", Some(401), "", "keyRefused", true),
            ("emptyResponse", Some(403), "", "keyRefused", true),
            ("parseResponseFailed", Some(407), "", "proxyRefuses", true),
            ("error/client/badClientClockSkew", Some(200), "", "clockRefused", true),
            ("error/client/other", Some(400), "", "requestRefused", true),
            ("error/client/requestTooLarge", Some(200), "", "serverFails", false),
            ("error/server/discardBuffer", Some(200), "", "serverFails", false),
            ("error/server/backoff", Some(200), "", "serverFails", false),
            ("serverTooBusy", Some(429), "", "serverTooBusy", false),
            ("error/server/serverTooBusy", Some(200), "", "serverTooBusy", false),
            ("parseResponseFailed", Some(502), "", "serverFails", false),
            ("emptyResponse", Some(500), "", "serverFails", false),
            ("parseResponseFailed", Some(200), "", "notTheServer", false),
            ("parseResponseFailed", Some(404), "", "notTheServer", false),
            ("unexpectedHttpStatus", Some(302), "", "notTheServer", false),
            ("client/connectionFailedConnRefused", None, "", "connectionRefused", false),
            ("client/connectionFailedSSLError", None, "", "tlsFailed", false),
            (
                "client/connectionFailedCertHostnameValidationFailed",
                None,
                "",
                "tlsFailed",
                false,
            ),
            (
                "client/connectionFailed",
                None,
                "cannot connect to the server: failed to lookup address information: Name or service not known",
                "nameUnknown",
                false,
            ),
            (
                "client/connectionFailed",
                None,
                "cannot connect to the server: timeout: connect",
                "serverUnreachable",
                false,
            ),
            ("requestFailed", None, "no answer to the request: x; will send it again", "noAnswer", false),
        ] {
            let soon = failing(status, http, error, 20);
            assert_eq!(soon.code, code, "{status} {http:?} {error}");
            let severity = match is_told {
                true => Severity::Bad,
                false => Severity::Warning,
            };
            assert_eq!(soon.severity, severity, "{status} {http:?}");
            assert_eq!(failing(status, http, error, 301).severity, Severity::Bad);
            assert!(soon.text.contains("https://s") && !soon.text.contains(['{', '}']));
            assert!(soon.text.ends_with("; no request has been acknowledged for 20 s"), "{}", soon.text);
            assert!(!soon.text.contains("to the server:") && !soon.text.contains("will send"));
            assert!(soon.remedy.ends_with('.'), "{}", soon.remedy);
        }
    }

    /// The page that explains them has them all.
    #[test]
    fn every_code_is_documented() {
        let sources = [
            include_str!("health.rs"),
            include_str!("../agent/report.rs"),
        ];
        let page = include_str!("../../docs/commands.md");
        let is_code = |word: &&str| {
            let has_hump = word.contains(|c: char| c.is_ascii_uppercase());
            let is_word = word.chars().all(|c| c.is_ascii_alphabetic());
            is_word
                && (has_hump || *word == "stuck")
                && word.starts_with(|c: char| c.is_lowercase())
        };
        let (_, table) = page.split_once("| `code` in JSON |").unwrap();
        let mut codes = std::collections::BTreeSet::new();
        for source in sources {
            let source = source.split("#[cfg(test)]").next().unwrap();
            for line in source.lines().map(str::trim) {
                let word = line.strip_prefix("code: ").unwrap_or(line);
                let word = word
                    .strip_prefix('"')
                    .and_then(|word| word.strip_suffix("\","));
                for code in word.iter().copied().filter(is_code) {
                    codes.insert(code);
                    assert!(table.contains(&format!("\n| `{code}` |")), "{code}");
                }
            }
        }
        assert_eq!(codes.len(), table.matches("\n| `").count(), "{codes:?}");
    }

    #[test]
    fn a_delivery_that_is_awaited_is_no_fault_until_it_is_late() {
        let mut state = Delivery {
            has_delivered: true,
            ..Delivery::default()
        };
        assert_eq!(delivery(&state, 300.0), None, "nothing waits");
        state.waits = Some(Duration::from_secs(299));
        assert_eq!(delivery(&state, 300.0), None, "a slow answer");
        state.waits = Some(Duration::from_secs(301));
        let late = delivery(&state, 300.0).unwrap();
        assert_eq!((late.code, late.severity), ("noAnswer", Severity::Bad));
        state.has_delivered = false;
        state.waits = Some(Duration::from_secs(9));
        assert_eq!(delivery(&state, 300.0), None, "the first answer");
        state.waits = Some(Duration::from_secs(11));
        let slow = delivery(&state, 300.0).unwrap();
        assert_eq!((slow.code, slow.severity), ("noAnswer", Severity::Warning));
        // A server that never answered need not be given time
        state.waits = Some(Duration::from_secs(1));
        (state.failures, state.has_delivered) = (1, false);
        let first = delivery(&state, 300.0).unwrap();
        assert_eq!(first.severity, Severity::Bad);
        assert!(first.text.ends_with("since the start"));
    }

    #[test]
    fn no_restart_is_asked_for_where_it_would_mend_nothing() {
        let refused = failing("error/client/badParam", Some(200), "", 5);
        let bad = told(Some(GOOD.to_owned()), std::slice::from_ref(&refused)).unwrap();
        assert!(
            bad.starts_with("Not delivering: https://s refuses the request, perhaps the API key")
        );
        assert!(!is_bad(&bad, false) && is_bad(&bad, true));
        let own = session("default-0", Some(0.0), 1000.0, 60.0);
        let both = told(own, &[refused]).unwrap();
        assert!(is_bad(&both, false) && is_bad(&both, true), "{both}");
        let warned = failing("serverTooBusy", Some(429), "", 5);
        assert_eq!(told(Some(GOOD.to_owned()), &[warned]).unwrap(), GOOD);
        assert!(!is_bad(GOOD, true));
    }

    #[test]
    fn a_fault_of_all_sessions_is_told_once() {
        let refused = || Some(failing("error/client/badParam", Some(200), "", 5));
        let all = deliveries([("a-0", refused()), ("b-0", refused())]);
        assert_eq!(all.len(), 1);
        assert!(all[0].text.starts_with("https"), "{all:?}");
        let busy = Some(failing("serverTooBusy", Some(429), "", 5));
        let all = sorted(deliveries([
            ("a-0", busy),
            ("b-0", None),
            ("b-1", refused()),
        ]));
        assert_eq!(all.len(), 2);
        assert!(all[0].text.starts_with("session b-1: https"), "{all:?}");
    }

    #[test]
    fn a_file_that_is_named_counts_more_than_one_that_a_pattern_meets() {
        let file = |path: &str, why: Option<&str>| FileStatus {
            log_path: path.to_owned(),
            state: match why {
                Some(_) => FileState::Unreadable,
                None => FileState::Waiting,
            },
            last_error: why.map(str::to_owned),
            ..FileStatus::default()
        };
        let entry = |is_glob, files: &[(&str, Option<&str>)]| MatcherStatus {
            is_glob,
            log_processors_status: files.iter().map(|(path, why)| file(path, *why)).collect(),
            ..MatcherStatus::default()
        };
        let denied = Some("Permission denied (os error 13)");
        let gzip = Some("it is compressed (gzip by its first bytes), and only text is copied");
        let of = |entries: &[MatcherStatus]| {
            let all = files(entries).into_iter();
            all.map(|p| (p.severity, p.text)).collect::<Vec<_>>()
        };
        let why = "is not copied: Permission denied (os error 13)";
        assert_eq!(of(&[entry(false, &[]), entry(true, &[])]), []);
        assert_eq!(of(&[entry(true, &[("/a.gz", gzip), ("/b", None)])]), []);
        assert_eq!(of(&[entry(true, &[("/a.gz", gzip)])]), []);
        assert_eq!(
            of(&[entry(true, &[("/a", denied), ("/b", None)])]),
            [(Severity::Warning, format!("/a {why}"))]
        );
        assert_eq!(
            of(&[
                entry(true, &[("/a", denied), ("/b", denied)]),
                entry(false, &[("/c", denied)])
            ]),
            [(Severity::Bad, format!("/a {why}, nor are 2 others"))]
        );
        assert_eq!(of(&[entry(false, &[("/a.gz", gzip)])])[0].0, Severity::Bad);
    }

    #[test]
    fn one_stuck_part_is_enough_to_be_seen() {
        let some = "Some workers have failed.";
        assert_eq!(sessions([]), None);
        assert_eq!(sessions([None]), None);
        assert_eq!(sessions([Some("bad")]).unwrap(), "bad");
        assert_eq!(sessions([Some(GOOD), Some(GOOD)]).unwrap(), GOOD);
        assert_eq!(sessions([Some(GOOD), None]).unwrap(), some);
        assert_eq!(sessions([Some(GOOD), Some("bad")]).unwrap(), some);

        assert_eq!(combined(Some(GOOD), Some(GOOD)).unwrap(), GOOD);
        assert_eq!(combined(Some(GOOD), None), None);
        assert_eq!(combined(None, None), None);
        assert_eq!(combined(Some("a"), Some("b")).unwrap(), "a, b");
        assert_eq!(combined(Some(GOOD), Some("b")).unwrap(), "b");
        assert_eq!(combined(Some("a"), None).unwrap(), "a");
    }

    #[test]
    fn health_is_found_in_the_reports_of_both_agents() {
        let json = |main: &str, sessions: &str| {
            of_report(&format!(
                "{{\"x\": 1, \"copying_manager_status\": {{\"health_check_result\": {main}, \"worker_sessions_health_check\": {sessions}}}}}"
            ))
        };
        assert_eq!(json("\"Good\"", "\"Good\"").unwrap(), "Good");
        assert_eq!(json("\"Good\"", "\"sick\"").unwrap(), "sick");
        assert_eq!(json("\"slow\"", "\"Good\"").unwrap(), "slow");
        assert_eq!(json("\"slow\"", "\"sick\"").unwrap(), "slow, sick");
        assert_eq!(json("\"slow, sick\"", "\"sick\"").unwrap(), "slow, sick");
        assert_eq!(json("null", "null"), None);
        assert_eq!(of_report("{\"copying_manager_status\": null}"), None);

        for (text, expected) in [
            (
                "a\nHealth check:                              Good\nb",
                Some("Good"),
            ),
            (
                "Overall health check:   Some workers have failed.\n",
                Some("Some workers have failed."),
            ),
            ("  Health check:  Good\n", None),
            ("Health check:\n", None),
            ("", None),
            ("Total bytes uploaded: 1\n", None),
        ] {
            assert_eq!(of_report(text).as_deref(), expected, "{text}");
        }
        assert!(is_good("good") && is_good("GOOD") && !is_good("Good enough"));
    }
}
