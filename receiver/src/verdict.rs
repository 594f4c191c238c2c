//! The decision about a request: its fault, whether it is stored, its answer.

use crate::body::Body;
use crate::fault::{Cut, Fault};
use crate::http::Answer;
use crate::server::Shared;
use crate::state::{Request, State};
use std::time::Instant;

/// Why a body was not read.
pub(crate) enum Unreadable {
    Encoding,
    Body(String),
}

impl Shared {
    /// Decides what becomes of a request and remembers it.
    pub fn settle(
        &self,
        request: &mut Request,
        body: Result<Body, Unreadable>,
    ) -> (Option<Fault>, Answer) {
        let mut state = self.state();
        let counts = state.counts_mut();
        counts.requests += 1;
        counts.wire_bytes += request.wire_bytes as u64;
        counts.body_bytes += request.body_bytes as u64;
        request.number = counts.requests;
        if let Ok(body) = &body {
            request.decoded = true;
            request.strict_json = body.strict;
            request.events = body.event_count();
            request.token = body.token.as_deref().unwrap_or("").to_owned();
            request.session = body.session.as_deref().unwrap_or("").to_owned();
            request.session_info = body.session_info.clone();
            request.client_time = body.client_time;
            counts.requests_with_events += u64::from(request.events > 0);
            for problem in &body.problems {
                state.problem(format!("request {}: {problem}", request.number));
            }
        }
        let has_events = request.events > 0;
        let fault = state
            .faults
            .take(Instant::now(), has_events, request.body_bytes);
        let mut answer = None;
        if fault.as_ref().is_none_or(Fault::stores) {
            answer = Some(self.accept_body(&mut state, request, body));
        } else if let Err(unreadable) = body {
            // It is a finding even where a fault hides it
            unreadable.answer(&mut state, request);
        }
        if let Some(fault) = &fault {
            state.counts_mut().faulted += 1;
            let name = serde_json::to_string(fault).unwrap_or_default();
            request.note = format!("{} fault {name}", request.note).trim().to_owned();
            if fault.replaces_answer() {
                answer = Some(answer_of(fault));
            }
            if fault.cut == Some(Cut::Before) {
                answer = None;
            }
        }
        let silent = fault
            .as_ref()
            .is_some_and(|fault| fault.silence || fault.cut.is_some());
        let mut answer = answer.unwrap_or_else(|| Answer::status(200, "success", None));
        if let Some(fault) = &fault {
            let more = fault.headers.iter();
            let more = more.map(|(name, value)| (name.clone(), value.clone()));
            answer.headers.extend(more);
        }
        request.answer = if silent { 0 } else { answer.status };
        state.add_request(std::mem::take(request));
        (fault, answer)
    }

    fn accept_body(
        &self,
        state: &mut State,
        request: &mut Request,
        body: Result<Body, Unreadable>,
    ) -> Answer {
        let body = match body {
            Ok(body) => body,
            Err(unreadable) => return unreadable.answer(state, request),
        };
        // Without a valid token the answer is 401, without one of the other members 400
        let token = body.token.as_deref().unwrap_or("");
        let refused = if token.is_empty() {
            Some((401, "error/client/badParam", "there is no token"))
        } else if !self.tokens.is_empty() && !self.tokens.iter().any(|t| t == token) {
            Some((401, "error/client/noPermission", "the token is not known"))
        } else if body.session.is_none() {
            Some((400, "error/client/badParam", "there is no session"))
        } else if body.events.is_none() {
            Some((400, "error/client/badParam", "there are no events"))
        } else if request.body_bytes > self.request_limit {
            let status = "error/client/requestTooLarge";
            Some((413, status, "the body is above the limit"))
        } else {
            None
        };
        if let Some((http, status, message)) = refused {
            state.counts_mut().refused += 1;
            request.note = message.to_owned();
            return Answer::status(http, status, Some(message));
        }
        match state.store(&body, request.number, request.at) {
            Ok(duplicates) => {
                request.stored = true;
                request.duplicates = duplicates;
                state.counts_mut().accepted += 1;
                let charged = request.body_bytes;
                Answer::json(
                    200,
                    &serde_json::json!({"status": "success", "bytesCharged": charged}),
                )
            }
            Err(error) => {
                request.note = error.to_string();
                Answer::status(500, "error/server/backoff", Some(&request.note))
            }
        }
    }
}

impl Unreadable {
    fn answer(self, state: &mut State, request: &mut Request) -> Answer {
        const BAD: &str = "error/client/badParam";
        match self {
            Unreadable::Encoding => {
                state.counts_mut().refused += 1;
                request.note = format!("Content-Encoding {} is unknown", request.encoding);
                Answer::status(415, BAD, Some(&request.note))
            }
            Unreadable::Body(why) => {
                state.counts_mut().malformed += 1;
                state.problem(format!("request {}: malformed: {why}", request.number));
                request.note = format!("malformed: {why}");
                Answer::status(400, BAD, Some(&request.note))
            }
        }
    }
}

fn answer_of(fault: &Fault) -> Answer {
    let http = fault.status.unwrap_or(200);
    if let Some(status) = &fault.json {
        return Answer::status(http, status, fault.message.as_deref());
    }
    let body = match (&fault.body, fault.garbage) {
        (Some(body), _) => body.clone().into_bytes(),
        (None, Some(length)) => garbage(length),
        (None, None) => Vec::new(),
    };
    Answer {
        status: http,
        content_type: "text/html",
        headers: Vec::new(),
        body,
        close: false,
    }
}

fn garbage(length: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(|_| next()).collect()
}
