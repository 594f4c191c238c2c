//! The start-up check (protocol.md §18): one empty request, to tell a wrong key at once.

use super::compress::Packer;
use super::http::{Http, Reply};
use super::response::{judge, Action};
use super::settings::UploadSettings;
use crate::util::time;
use crate::wire::{Batch, Envelope};

/// What the server said to an empty request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// It takes requests with this key.
    Good,
    /// This machine's clock is too far off; the text is the server's status.
    BadClock(String),
    /// The key is not valid: the start fails with exit code 1.
    BadKey(String),
    /// Anything else, in words; the agent starts and keeps trying.
    Trouble(String),
}

/// Asks the server once, with a connection of its own. `envelope` is one without `sessionInfo` and
/// with a session id of its own. Blocks for as long as the deadlines allow.
pub fn check_server(settings: &UploadSettings, envelope: &Envelope) -> Check {
    if settings.disable_send {
        return Check::Good;
    }
    let mut batch = Batch::new();
    batch.start(envelope, settings.pacing.max_request_size);
    let mut packer = Packer::new(settings.compression, settings.level);
    let (body, encoding) = packer.pack(batch.complete(time::now_secs() as u64), false);
    let mut http = Http::new(settings.clone());
    match http.post(body, encoding) {
        Reply::Answer {
            http, body, whole, ..
        } => {
            let judgement = judge(http, &body, whole);
            if judgement.action == Action::Commit {
                Check::Good
            } else if judgement.status.contains("badClientClockSkew") {
                Check::BadClock(judgement.status)
            } else if judgement.status.contains("invalidApiKey") {
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
