//! Faults on demand: what a server can do wrong, applied to the requests to come.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// When a connection is cut without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cut {
    /// The request is not stored.
    Before,
    /// The request is stored, the client does not learn of it.
    After,
}

/// One fault. The fields are the members of the JSON object that `POST /control/fault` takes.
///
/// Which requests it meets: the next `times` of them (1 unless told), or all for `seconds`, or all
/// until it is cleared (`forever`). Where `events_only` is set, only requests that have events;
/// where `above` is set, only bodies of more bytes than that, uncompressed; the first `skip` of
/// those that it would meet go by.
///
/// Effects: `cut`, `silence` and `unread` give no answer. `status`, `json`, `body`, `empty`,
/// `garbage` and `huge` replace the answer, and then nothing is stored unless `store` says so. The
/// others change how the answer is given.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fault {
    /// For so many requests.
    pub times: Option<u64>,
    /// For so many seconds, counted from when it is first in the queue.
    pub seconds: Option<f64>,
    /// Until cleared.
    pub forever: bool,
    /// Only requests that have events.
    pub events_only: bool,
    /// Only requests with a body of more bytes, uncompressed.
    pub above: Option<usize>,
    /// Lets so many go by first.
    pub skip: u64,

    /// HTTP status; 200 for the others below.
    pub status: Option<u16>,
    /// Value of `status` in a JSON answer.
    pub json: Option<String>,
    /// Its `message`.
    pub message: Option<String>,
    /// The answer's body as it stands.
    pub body: Option<String>,
    /// An empty body.
    pub empty: bool,
    /// A body of so many random bytes.
    pub garbage: Option<usize>,
    /// A body of so many bytes, written piece by piece.
    pub huge: Option<u64>,
    /// More headers of the answer.
    pub headers: BTreeMap<String, String>,
    /// Whether the request is stored all the same.
    pub store: Option<bool>,

    /// Seconds before the answer is given (after storing).
    pub delay: f64,
    /// Seconds between the single bytes of the answer.
    pub drip: Option<f64>,
    /// Only the first half of the answer is given, then the connection is closed.
    pub half: bool,
    /// The answer says `Connection: close`, and so it is.
    pub close: bool,
    /// The connection is closed after the answer, which does not say so.
    pub close_silently: bool,
    /// The connection is closed without an answer.
    pub cut: Option<Cut>,
    /// No answer, and the connection stays open until the faults are cleared.
    pub silence: bool,
    /// As `silence`, and the request's body is not even read. Meets any request, whatever it has.
    pub unread: bool,
}

impl Fault {
    /// An HTTP status with a text body, as a proxy answers.
    pub fn status(status: u16) -> Fault {
        Fault {
            status: Some(status),
            body: Some(format!("<html><body>{status}</body></html>\n")),
            ..Fault::default()
        }
    }

    /// Status 200 with `{"status": ...}`.
    pub fn json(status: &str) -> Fault {
        Fault {
            json: Some(status.to_owned()),
            ..Fault::default()
        }
    }

    /// An HTTP status with a body as it stands.
    pub fn body(status: u16, body: &str) -> Fault {
        Fault {
            status: Some(status),
            body: Some(body.to_owned()),
            ..Fault::default()
        }
    }

    /// Status 200 without a body.
    pub fn empty() -> Fault {
        Fault {
            empty: true,
            ..Fault::default()
        }
    }

    /// Status 200 with so many random bytes.
    pub fn garbage(bytes: usize) -> Fault {
        Fault {
            garbage: Some(bytes),
            ..Fault::default()
        }
    }

    /// Status 200 with so many bytes that begin like an answer.
    pub fn huge(bytes: u64) -> Fault {
        Fault {
            huge: Some(bytes),
            ..Fault::default()
        }
    }

    /// 429 or 503 with `Retry-After`: seconds or a date.
    pub fn retry_after(status: u16, after: &str) -> Fault {
        Fault::status(status).header("Retry-After", after)
    }

    /// A redirect.
    pub fn redirect(status: u16, location: &str) -> Fault {
        Fault::status(status).header("Location", location)
    }

    /// `error/client/requestTooLarge` for every body of more bytes, uncompressed, until cleared.
    pub fn too_large_above(bytes: usize) -> Fault {
        Fault {
            above: Some(bytes),
            forever: true,
            ..Fault::json("error/client/requestTooLarge")
        }
    }

    /// The usual answer, late. The request is stored before the delay.
    pub fn delayed(delay: Duration) -> Fault {
        Fault::default().delay(delay)
    }

    /// The connection is cut and nothing stored.
    pub fn cut_before_storing() -> Fault {
        Fault {
            cut: Some(Cut::Before),
            ..Fault::default()
        }
    }

    /// The request is stored, then the connection is cut.
    pub fn cut_after_storing() -> Fault {
        Fault {
            cut: Some(Cut::After),
            ..Fault::default()
        }
    }

    /// The request is stored, and half of the answer given.
    pub fn half_answer() -> Fault {
        Fault {
            half: true,
            ..Fault::default()
        }
    }

    /// Nothing stored, no answer, for all requests until cleared.
    pub fn silence() -> Fault {
        Fault {
            silence: true,
            forever: true,
            ..Fault::default()
        }
    }

    /// For the next `times` requests.
    pub fn times(mut self, times: u64) -> Fault {
        self.times = Some(times);
        self.forever = false;
        self
    }

    /// For a while.
    pub fn lasting(mut self, time: Duration) -> Fault {
        self.seconds = Some(time.as_secs_f64());
        self.forever = false;
        self
    }

    /// Until cleared.
    pub fn until_cleared(mut self) -> Fault {
        self.forever = true;
        self
    }

    /// Only for requests that have events.
    pub fn with_events_only(mut self) -> Fault {
        self.events_only = true;
        self
    }

    /// Lets `requests` of those that it would meet go by first.
    pub fn after(mut self, requests: u64) -> Fault {
        self.skip = requests;
        self
    }

    /// Answers late.
    pub fn delay(mut self, delay: Duration) -> Fault {
        self.delay = delay.as_secs_f64();
        self
    }

    /// Adds a header to the answer.
    pub fn header(mut self, name: &str, value: &str) -> Fault {
        self.headers.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Stores the request whatever the answer is.
    pub fn storing(mut self) -> Fault {
        self.store = Some(true);
        self
    }

    /// Whether it gives an answer of its own.
    pub(crate) fn replaces_answer(&self) -> bool {
        self.status.is_some()
            || self.json.is_some()
            || self.body.is_some()
            || self.empty
            || self.garbage.is_some()
            || self.huge.is_some()
    }

    /// Whether the request is stored.
    pub(crate) fn stores(&self) -> bool {
        self.store.unwrap_or(match self.cut {
            Some(cut) => cut == Cut::After,
            None => !self.silence && !self.unread && !self.replaces_answer(),
        })
    }

    /// The mistake in it, if there is one: a time that is none, a header that would break the
    /// answer.
    pub fn check(&self) -> Result<(), &'static str> {
        let time = |secs: f64| (0.0..=86_400.0).contains(&secs);
        if !time(self.delay) || !self.drip.is_none_or(time) || !self.seconds.is_none_or(time) {
            return Err("a time must be between 0 and 86400 seconds");
        }
        if !self.status.is_none_or(|s| (200..=599).contains(&s)) {
            return Err("status must be between 200 and 599");
        }
        if self.garbage.is_some_and(|bytes| bytes > 1 << 30) {
            return Err("garbage is at most 1 GB; huge can be more");
        }
        let breaks = |text: &String| text.contains(['\r', '\n']);
        if self.headers.iter().any(|(k, v)| breaks(k) || breaks(v)) {
            return Err("a header has no line breaks");
        }
        Ok(())
    }
}

/// The queue of faults.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    queue: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    fault: Fault,
    left: u64,
    until: Option<Instant>,
}

impl Faults {
    pub fn add(&mut self, fault: Fault, now: Instant) {
        let left = match fault.times {
            Some(times) => times,
            None if fault.forever || fault.seconds.is_some() => u64::MAX,
            None => 1,
        };
        self.queue.push_back(Waiting {
            fault,
            left,
            until: None,
        });
        self.tidy(now);
    }

    pub fn clear(&mut self) {
        self.queue.clear();
    }

    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Removes what is over at the front, and starts the clock of the one that is then first.
    fn tidy(&mut self, now: Instant) {
        while let Some(first) = self.queue.front_mut() {
            if let (None, Some(secs)) = (first.until, first.fault.seconds) {
                first.until = Some(now + Duration::try_from_secs_f64(secs).unwrap_or_default());
            }
            if first.left > 0 && first.until.is_none_or(|until| now < until) {
                return;
            }
            self.queue.pop_front();
        }
    }

    /// The fault for a request, if any.
    pub fn take(&mut self, now: Instant, has_events: bool, size: usize) -> Option<Fault> {
        self.find(now, |fault| {
            !fault.unread
                && (has_events || !fault.events_only)
                && fault.above.is_none_or(|above| size > above)
        })
    }

    /// The fault for a request whose body was not read yet, if any.
    pub fn take_unread(&mut self, now: Instant) -> Option<Fault> {
        self.find(now, |fault| fault.unread)
    }

    fn find(&mut self, now: Instant, meets: impl Fn(&Fault) -> bool) -> Option<Fault> {
        self.tidy(now);
        for waiting in &mut self.queue {
            let over = waiting.left == 0 || waiting.until.is_some_and(|until| now >= until);
            if over || !meets(&waiting.fault) {
                continue;
            }
            if waiting.fault.skip > 0 {
                waiting.fault.skip -= 1;
                return None;
            }
            if waiting.left != u64::MAX {
                waiting.left -= 1;
            }
            let fault = waiting.fault.clone();
            self.tidy(now);
            return Some(fault);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(faults: &mut Faults, now: Instant, has_events: bool, size: usize) -> Option<u16> {
        faults.take(now, has_events, size).and_then(|f| f.status)
    }

    #[test]
    fn each_meets_its_requests_and_no_more() {
        let now = Instant::now();
        let mut faults = Faults::default();
        faults.add(Fault::status(500).times(2).with_events_only(), now);
        faults.add(Fault::status(503).lasting(Duration::from_secs(5)), now);
        faults.add(Fault::status(429).after(1), now);
        assert_eq!(taken(&mut faults, now, true, 1), Some(500));
        assert_eq!(taken(&mut faults, now, false, 1), Some(503));
        assert_eq!(taken(&mut faults, now, true, 1), Some(500));
        let later = now + Duration::from_secs(4);
        assert_eq!(taken(&mut faults, later, true, 1), Some(503));
        let over = now + Duration::from_secs(6);
        assert_eq!(taken(&mut faults, over, true, 1), None); // goes by
        assert_eq!(taken(&mut faults, over, true, 1), Some(429));
        assert_eq!(taken(&mut faults, over, true, 1), None);
        assert_eq!(faults.len(), 0);
    }

    #[test]
    fn a_size_limit_stays_until_cleared() {
        let now = Instant::now();
        let mut faults = Faults::default();
        faults.add(Fault::too_large_above(1000), now);
        assert!(faults.take(now, true, 1000).is_none());
        for _ in 0..3 {
            assert!(faults.take(now, true, 1001).is_some());
        }
        faults.clear();
        assert!(faults.take(now, true, 1001).is_none());
    }

    #[test]
    fn a_misspelt_fault_is_refused() {
        assert!(serde_json::from_str::<Fault>(r#"{"statsu":500}"#).is_err());
        let fault: Fault = serde_json::from_str(r#"{"cut":"after","delay":-1}"#).unwrap();
        assert!(fault.check().is_err());
        assert!(Fault::status(503).header("a", "b\r\nc").check().is_err());
    }
}
