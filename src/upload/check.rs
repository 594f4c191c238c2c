//! The start-up check: one empty request, to tell a wrong key at once. The Python agent does the
//! same.

use super::compress::Packer;
use super::http::{Http, Reply};
use super::response::{http_date, judge, refuses_key, Action};
use super::settings::UploadSettings;
use crate::util::time;
use crate::wire::{Batch, Envelope};

/// The server's answer to an empty request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// It takes requests with this key.
    Good,
    /// This machine's clock is too far off; the text is the server's status.
    BadClock(String),
    /// The server refuses the key; the text is its status. See [`Check::forbids_start`].
    BadKey(String),
    /// Anything else, in words; the agent starts and keeps trying.
    Trouble(String),
}

impl Check {
    /// Whether the agent does not start after it: for `invalidApiKey` alone, as the Python agent. Any
    /// other answer may pass, also one that refuses the key.
    pub fn forbids_start(&self) -> bool {
        matches!(self, Check::BadKey(status) if status.contains("invalidApiKey"))
    }
}

/// The results of an empty request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The server's word.
    pub check: Check,
    /// The server's clock when it answered, in seconds since the epoch, if it told.
    pub server_time: Option<u64>,
}

/// Asks the server once, with a connection of its own. `envelope` is one without `sessionInfo` and
/// with a session id of its own. Blocks for as long as the deadlines allow.
pub fn check_server(settings: &UploadSettings, envelope: &Envelope) -> Check {
    match settings.disable_send {
        true => Check::Good,
        false => probe_server(settings, envelope).check,
    }
}

/// [`check_server`], whatever the options say, and with all that the answer tells.
pub fn probe_server(settings: &UploadSettings, envelope: &Envelope) -> Probe {
    let mut server_time = None;
    let check = ask(settings, envelope, &mut server_time);
    Probe { check, server_time }
}

fn ask(settings: &UploadSettings, envelope: &Envelope, server_time: &mut Option<u64>) -> Check {
    let mut batch = Batch::new();
    batch.start(envelope, settings.pacing.max_request_size);
    let mut packer = Packer::new(settings.compression, settings.level);
    let (body, encoding) = packer.pack(batch.complete(time::now_secs() as u64), false);
    let mut http = Http::new(settings.clone());
    match http.post(body, encoding) {
        Reply::Answer {
            http,
            body,
            whole,
            date,
            ..
        } => {
            *server_time = date.and_then(|date| http_date(&date));
            let judgement = judge(http, &body, whole);
            if judgement.action == Action::Commit {
                Check::Good
            } else if judgement.status.contains("badClientClockSkew") {
                Check::BadClock(judgement.status)
            } else if refuses_key(&judgement.status) {
                Check::BadKey(judgement.status)
            } else {
                Check::Trouble(judgement.complaint.map_or(judgement.status, |c| c.text))
            }
        }
        Reply::NotConnected { code, text } => {
            Check::Trouble(format!("cannot connect ({code}): {text}"))
        }
        Reply::Broken { text, .. } => Check::Trouble(format!("no answer: {text}")),
    }
}
