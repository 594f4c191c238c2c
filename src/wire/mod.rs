//! The wire form of `addEvents` requests: what a line costs in bytes is decided here.
//!
//! [`Envelope`] is what all requests of a session share, [`Label`] what all events of a log share,
//! [`Batch`] one request body being filled and sent. The form is the Python agent's;
//! `docs/differences.md` has the exceptions.

mod batch;
mod label;
mod split;
mod stamp;

pub use batch::{Batch, Event, Push, Span};
pub use label::Label;
pub use stamp::Stamp;

use crate::config::{json_members, AttrValue};
use crate::util::escape::json_str;

/// Which of the two forms that the ingest API reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// The reference's: unquoted keys and length-prefixed messages. Any byte passes untouched.
    #[default]
    Scalyr,
    /// Strict JSON, for servers that read nothing else. Invalid UTF-8 becomes U+FFFD.
    Json,
}

/// The beginning of every request of a session, and the form of its events.
#[derive(Debug, Clone)]
pub struct Envelope {
    form: Form,
    repeat_log_attributes: bool,
    without_logs: bool,
    head: Vec<u8>,
}

/// The choices of an [`Envelope`].
#[derive(Debug, Clone, Copy)]
pub struct EnvelopeSpec<'a> {
    /// The wire form.
    pub form: Form,
    /// The API key.
    pub token: &'a str,
    /// The session id; see [`crate::util::random::session_id`].
    pub session: &'a str,
    /// `sessionInfo`; absent in the start-up check.
    pub session_info: Option<&'a [(String, AttrValue)]>,
    /// Write each log's attributes into each of its events as well, and the empty `threads` array
    /// into the head: byte for byte what the reference sends.
    pub repeat_log_attributes: bool,
    /// `disable_logfile_addevents_format`: no `logs` array, attributes in the events instead.
    pub without_logs: bool,
}

impl Envelope {
    /// Serialises the head once.
    pub fn new(spec: EnvelopeSpec) -> Self {
        let mut head = b"{\"token\":".to_vec();
        json_str(&mut head, spec.token);
        head.extend_from_slice(b",\"session\":");
        json_str(&mut head, spec.session);
        if spec.repeat_log_attributes && spec.form == Form::Scalyr {
            head.extend_from_slice(b",\"threads\":[]");
        }
        if let Some(info) = spec.session_info {
            head.extend_from_slice(b",\"sessionInfo\":{");
            json_members(&mut head, info);
            head.push(b'}');
        }
        head.extend_from_slice(match spec.form {
            Form::Scalyr => b", events: [",
            Form::Json => b",\"events\":[",
        });
        Envelope {
            form: spec.form,
            repeat_log_attributes: spec.repeat_log_attributes || spec.without_logs,
            without_logs: spec.without_logs,
            head,
        }
    }

    /// The wire form.
    pub fn form(&self) -> Form {
        self.form
    }
}
