//! The meaning of a server's answer. Success needs both the word and HTTP 2xx; the Python agent looks
//! at the word alone. After an answer that is not the API's JSON the batch is kept and sent again.

use super::pacing::LONGEST_RETRY_AFTER;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// The consequence for the batch that was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The server has it.
    Commit,
    /// The server wants it dropped.
    Discard,
    /// It is cut at events and sent in parts.
    Shrink,
    /// The same bytes are sent again later.
    Retry,
}

/// An answer, judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// `success`, the server's error status, or ours; one line, cut to 200 bytes.
    pub status: String,
    /// The consequence for the batch.
    pub action: Action,
    /// The line for agent.log, for a failure.
    pub complaint: Option<Complaint>,
}

/// A line for agent.log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// Its level.
    pub level: log::Level,
    /// Its error code: the server's status, or ours.
    pub code: Cow<'static, str>,
    /// In words.
    pub text: String,
}

/// The members of a response object that mean something to us.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Answer {
    status: Member,
    message: Member,
}

#[derive(Default)]
enum Member {
    #[default]
    Absent,
    Text(String),
    Other,
}

/// Judges a response: its HTTP status and its body, `whole` if all of it was read.
pub fn judge(http: u16, body: &[u8], whole: bool) -> Judgement {
    // Somebody on the way said it, and not the ingest API: a load balancer, a proxy, a portal. It says
    // nothing about the lines, which may be in no file any more, so the batch is kept. Only 413 speaks
    // for itself, whoever said it.
    let (action, what) = match http {
        413 => (Action::Shrink, "it is sent in smaller requests"),
        _ => (Action::Retry, "will send the same again"),
    };
    let unparsable = |why: &str| {
        failure(
            "parseResponseFailed",
            action,
            log::Level::Warn,
            "parseResponseFailed",
            format!(
                "the server's answer (HTTP {http}) {why}; {what}: {}",
                one_line(body, 1000)
            ),
        )
    };
    if http == 429 {
        return failure(
            "serverTooBusy",
            Action::Retry,
            log::Level::Warn,
            "serverTooBusy",
            "the server is too busy (HTTP 429); will try again".to_owned(),
        );
    }
    if !whole {
        return unparsable("is longer than any answer should be");
    }
    if body.is_empty() {
        return failure(
            "emptyResponse",
            action,
            log::Level::Warn,
            "emptyResponse",
            format!("the server's answer (HTTP {http}) is empty; {what}"),
        );
    }
    // Only an object: the derived reader would take an array's elements for the members
    if body.iter().find(|b| !b.is_ascii_whitespace()) != Some(&b'{') {
        return unparsable("is not a JSON object");
    }
    let Ok(answer) = serde_json::from_slice::<Answer>(body) else {
        return unparsable("is not valid JSON");
    };
    let status = match answer.status {
        Member::Text(status) => status,
        Member::Other => return unparsable("has a status that is not a string"),
        Member::Absent => {
            return failure(
                "unknownError",
                action,
                log::Level::Error,
                "unknownError",
                format!(
                    "the server's answer (HTTP {http}) has no status; {what}: {}",
                    one_line(body, 1000)
                ),
            )
        }
    };
    let said = match &answer.message {
        Member::Text(message) => format!(": {}", one_line(message.as_bytes(), 500)),
        _ => String::new(),
    };
    let shown = one_line(status.as_bytes(), 200);
    if status == "success" {
        if (200..300).contains(&http) {
            return Judgement {
                status,
                action: Action::Commit,
                complaint: None,
            };
        }
        return failure(
            "unexpectedHttpStatus",
            Action::Retry,
            log::Level::Warn,
            "requestFailed",
            format!("the server says success but with HTTP status {http}; will try again"),
        );
    }
    let (action, what) = if status.contains("discardBuffer") {
        (Action::Discard, "the request is dropped as it asks")
    } else if status.contains("requestTooLarge") {
        (Action::Shrink, "it is sent in smaller requests")
    } else {
        (Action::Retry, "will try again")
    };
    let text = if status == "error/client/badParam" {
        format!("the server refuses the request, perhaps the API key is wrong; {what}{said}")
    } else if refuses_key(&status) {
        format!("the server refuses the API key: {shown} (HTTP {http}); {what}{said}. {KEY_ADVICE}")
    } else {
        format!("the server answers \"{shown}\" (HTTP {http}); {what}{said}")
    };
    // It stands between quotation marks
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/_-.".contains(&b);
    let code = match status.bytes().all(plain) && status == shown {
        true => Cow::from(status),
        false => Cow::from("unknownError"),
    };
    failure(&shown, action, log::Level::Error, code, text)
}

/// The remedy for a key that the server refuses.
pub const KEY_ADVICE: &str =
    "It has to be a key that may write logs, of an account on this server (scalyr_server).";

/// Whether a server's status means that it does not know the API key, or that the key may not write
/// logs.
pub fn refuses_key(status: &str) -> bool {
    status.contains("noPermission") || status.contains("apiKey") || status.contains("ApiKey")
}

fn failure(
    status: &str,
    action: Action,
    level: log::Level,
    code: impl Into<Cow<'static, str>>,
    text: String,
) -> Judgement {
    let code = code.into();
    Judgement {
        status: status.to_owned(),
        action,
        complaint: Some(Complaint { level, code, text }),
    }
}

/// Text of someone else's making on one line and at most `most` bytes of it (three times that if
/// it is not UTF-8).
pub fn one_line(text: &[u8], most: usize) -> String {
    let cut = &text[..text.len().min(most)];
    let mut line: String = String::from_utf8_lossy(cut)
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if cut.len() < text.len() {
        line.push_str("...");
    }
    line
}

/// The wait that a `Retry-After` header asks for, in seconds or as an HTTP date, seen from `now` in
/// seconds since the epoch. At most ten minutes.
pub fn retry_after(value: &str, now: u64) -> Option<Duration> {
    let value = value.trim();
    let seconds = if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        value.parse().unwrap_or(u64::MAX)
    } else {
        http_date(value)?.saturating_sub(now)
    };
    Some(Duration::from_secs(seconds).min(LONGEST_RETRY_AFTER))
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` as seconds since the epoch.
pub(super) fn http_date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (_, date) = text.split_once(", ")?;
    let mut words = date.split(' ');
    let mut word = || words.next();
    let number = |text: &str, least: u64, most: u64| -> Option<u64> {
        text.parse().ok().filter(|n| (least..=most).contains(n))
    };
    let day = number(word()?, 1, 31)?;
    let month_name = word()?;
    let month = 1 + MONTHS.iter().position(|m| *m == month_name)? as u64;
    let year = number(word()?, 1970, 9999)?;
    let mut clock = word()?.split(':');
    let hour = number(clock.next()?, 0, 23)?;
    let minute = number(clock.next()?, 0, 59)?;
    let second = number(clock.next()?, 0, 60)?;
    if word()? != "GMT" {
        return None;
    }
    // Days before the year, counting years from March so that leap days come last
    let (y, m) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1;
    let since_epoch = days.checked_sub(719_468)?;
    Some(since_epoch * 86_400 + hour * 3600 + minute * 60 + second)
}

impl<'de> Deserialize<'de> for Member {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MemberVisitor)
    }
}

/// Keeps strings and walks over anything else without storing it.
struct MemberVisitor;

impl<'de> Visitor<'de> for MemberVisitor {
    type Value = Member;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("any value")
    }
    fn visit_str<E>(self, text: &str) -> Result<Member, E> {
        Ok(Member::Text(text.to_owned()))
    }
    fn visit_bool<E>(self, _: bool) -> Result<Member, E> {
        Ok(Member::Other)
    }
    fn visit_i64<E>(self, _: i64) -> Result<Member, E> {
        Ok(Member::Other)
    }
    fn visit_u64<E>(self, _: u64) -> Result<Member, E> {
        Ok(Member::Other)
    }
    fn visit_f64<E>(self, _: f64) -> Result<Member, E> {
        Ok(Member::Other)
    }
    fn visit_unit<E>(self) -> Result<Member, E> {
        Ok(Member::Other)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Member, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Member::Other)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Member, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Member::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_of_the_spec_has_its_required_action() {
        // (kind of answer, HTTP status, body, status, action); the number of the kind is only for the
        // message of a failure
        let table: &[(u32, u16, &str, &str, Action)] = &[
            (
                1,
                200,
                r#"{"status":"success","bytesCharged":42}"#,
                "success",
                Action::Commit,
            ),
            (
                1,
                200,
                " \r\n{\"status\": \"success\"}\n",
                "success",
                Action::Commit,
            ),
            (1, 202, r#"{"status":"success"}"#, "success", Action::Commit),
            (
                4,
                200,
                r#"{"status":"error/server/discardBuffer"}"#,
                "error/server/discardBuffer",
                Action::Discard,
            ),
            (
                5,
                200,
                r#"{"status":"error/client/requestTooLarge"}"#,
                "error/client/requestTooLarge",
                Action::Shrink,
            ),
            (
                6,
                200,
                r#"{"status":"error/server/backoff"}"#,
                "error/server/backoff",
                Action::Retry,
            ),
            (
                7,
                200,
                r#"{"status":"error/client/badParam","message":"m"}"#,
                "error/client/badParam",
                Action::Retry,
            ),
            (
                7,
                401,
                r#"{"status":"error/client/badParam","message":{"a":[1,null]}}"#,
                "error/client/badParam",
                Action::Retry,
            ),
            (
                8,
                401,
                r#"{"status":"error/client/noPermission"}"#,
                "error/client/noPermission",
                Action::Retry,
            ),
            (
                9,
                429,
                r#"{"status":"success"}"#,
                "serverTooBusy",
                Action::Retry,
            ),
            (9, 429, "", "serverTooBusy", Action::Retry),
            (9, 429, "<html>", "serverTooBusy", Action::Retry),
            (
                10,
                500,
                r#"{"status":"success"}"#,
                "unexpectedHttpStatus",
                Action::Retry,
            ),
            (
                10,
                301,
                r#"{"status":"success"}"#,
                "unexpectedHttpStatus",
                Action::Retry,
            ),
            (
                11,
                503,
                "<html>busy</html>",
                "parseResponseFailed",
                Action::Retry,
            ),
            (11, 502, "bad gateway", "parseResponseFailed", Action::Retry),
            (11, 504, "", "emptyResponse", Action::Retry),
            (
                11,
                403,
                "<html>WAF</html>",
                "parseResponseFailed",
                Action::Retry,
            ),
            (11, 401, "<html>", "parseResponseFailed", Action::Retry),
            (11, 400, "<html>", "parseResponseFailed", Action::Retry),
            (11, 413, "too large", "parseResponseFailed", Action::Shrink),
            (11, 413, "", "emptyResponse", Action::Shrink),
            (
                11,
                413,
                r#"{"error":"big"}"#,
                "unknownError",
                Action::Shrink,
            ),
            (11, 301, "moved", "parseResponseFailed", Action::Retry),
            (11, 200, "hello", "parseResponseFailed", Action::Retry),
            (
                11,
                200,
                r#"{"status":"success"} trailing"#,
                "parseResponseFailed",
                Action::Retry,
            ),
            (
                11,
                200,
                r#"{"status":"succ"#,
                "parseResponseFailed",
                Action::Retry,
            ),
            (12, 200, "", "emptyResponse", Action::Retry),
            (12, 204, "", "emptyResponse", Action::Retry),
            (13, 200, r#"{"foo":1}"#, "unknownError", Action::Retry),
            // The server's own word for it, in JSON
            (
                11,
                200,
                r#"{"status":"parseResponseFailed"}"#,
                "parseResponseFailed",
                Action::Retry,
            ),
            // The Python agent tells [1] from ["status"]; to us neither is an object
            (13, 200, "[1]", "parseResponseFailed", Action::Retry),
            (
                14,
                200,
                r#"["status"]"#,
                "parseResponseFailed",
                Action::Retry,
            ),
            (
                14,
                200,
                r#"["success"]"#,
                "parseResponseFailed",
                Action::Retry,
            ),
            (14, 200, r#""status""#, "parseResponseFailed", Action::Retry),
            (14, 200, "5", "parseResponseFailed", Action::Retry),
            (14, 200, "null", "parseResponseFailed", Action::Retry),
            (
                14,
                200,
                r#"{"status":null}"#,
                "parseResponseFailed",
                Action::Retry,
            ),
            (
                14,
                200,
                r#"{"status":5}"#,
                "parseResponseFailed",
                Action::Retry,
            ),
            (
                14,
                200,
                r#"{"status":{"a":[1,{}]}}"#,
                "parseResponseFailed",
                Action::Retry,
            ),
        ];
        for (row, http, body, status, action) in table {
            let got = judge(*http, body.as_bytes(), true);
            assert_eq!(
                (got.status.as_str(), got.action),
                (*status, *action),
                "row {row}: HTTP {http} {body}"
            );
            assert_eq!(
                got.complaint.is_none(),
                *action == Action::Commit,
                "row {row}"
            );
        }
    }

    #[test]
    fn the_operator_reads_what_the_server_said() {
        let got = judge(
            200,
            br#"{"status":"error/client/badParam","message":"no\nsuch key"}"#,
            true,
        );
        let complaint = got.complaint.unwrap();
        assert_eq!(complaint.level, log::Level::Error);
        assert_eq!(complaint.code, "error/client/badParam");
        assert!(complaint.text.contains("API key") && complaint.text.ends_with("no such key"));
    }

    #[test]
    fn a_lying_server_cannot_flood_or_split_the_log() {
        let mut body = b"\r\n2026 ERROR forged line\x1b[2J\n".repeat(1000);
        let got = judge(200, &body, true).complaint.unwrap().text;
        assert!(got.len() < 1200 && !got.chars().any(char::is_control));
        body = vec![0xff; 100_000];
        assert!(judge(200, &body, true).complaint.unwrap().text.len() < 4000);
        let long = format!("{{\"status\":\"{}\"}}", "x\\n".repeat(100_000));
        let got = judge(200, long.as_bytes(), true);
        assert!(got.status.len() < 250 && !got.status.contains('\n'));
        // deeper than any parser should follow
        let deep = format!("{{\"a\":{}", "[".repeat(100_000));
        assert_eq!(
            judge(200, deep.as_bytes(), true).status,
            "parseResponseFailed"
        );
        // and cut off, it is not trusted even if it parses
        let got = judge(200, br#"{"status":"success"}"#, false);
        assert_eq!(got.action, Action::Retry);
    }

    #[test]
    fn retry_after_in_either_form() {
        let now = 784_111_777; // Sun, 06 Nov 1994 08:49:37 GMT
        let seconds = |value| retry_after(value, now).map(|d| d.as_secs());
        assert_eq!(seconds("120"), Some(120));
        assert_eq!(seconds(" 0 "), Some(0));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:50:37 GMT"), Some(60));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0));
        assert_eq!(seconds("Tue, 29 Feb 2028 12:00:00 GMT"), Some(600));
        assert_eq!(seconds("99999999999999999999999"), Some(600));
        for nonsense in [
            "",
            "-5",
            "soon",
            "1.5",
            "Sun, 06 Nov 1994 25:00:00 GMT",
            "Sun, 06",
        ] {
            assert_eq!(seconds(nonsense), None, "{nonsense}");
        }
        assert_eq!(http_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(now));
        assert_eq!(http_date("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(
            http_date("Tue, 29 Feb 2000 00:00:00 GMT"),
            Some(951_782_400)
        );
    }
}
