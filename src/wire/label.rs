//! The parts of a request that all events of one log share, serialised once.

use super::{Envelope, Form};
use crate::config::{json_members, AttrValue};
use crate::util::escape::{json_bytes_lossy, json_str};

/// A log as the server sees it: its id, thread name and attributes.
#[derive(Debug)]
pub struct Label {
    pub(super) id: String,
    /// `{thread:"log_1", log:"log_1", attrs:{`
    pub(super) event_head: Vec<u8>,
    /// The log's attributes as `"k":v,"k":v`.
    pub(super) attrs: Vec<u8>,
    /// Their element of the `logs` array.
    pub(super) log_entry: Vec<u8>,
    /// Their element of the `threads` array.
    pub(super) thread_entry: Vec<u8>,
    /// The batch that has the two entries already.
    pub(super) in_batch: u64,
}

impl Label {
    /// `id` is `log_<n>`, `path` names the thread, `attributes` already contain `logfile`.
    pub fn new(
        envelope: &Envelope,
        id: String,
        path: &[u8],
        attributes: &[(String, AttrValue)],
    ) -> Self {
        let mut quoted = Vec::new();
        json_str(&mut quoted, &id);
        let mut attrs = Vec::new();
        json_members(&mut attrs, attributes);

        let mut log_entry = b"{\"id\":".to_vec();
        log_entry.extend_from_slice(&quoted);
        log_entry.extend_from_slice(b",\"attrs\":{");
        log_entry.extend_from_slice(&attrs);
        log_entry.extend_from_slice(b"}}");

        let mut name = b"Lines for file ".to_vec();
        name.extend_from_slice(path);
        let mut thread_entry = b"{\"id\":".to_vec();
        thread_entry.extend_from_slice(&quoted);
        thread_entry.extend_from_slice(b",\"name\":");
        json_bytes_lossy(&mut thread_entry, &name);
        thread_entry.push(b'}');

        let (thread, log, open): (&[u8], &[u8], &[u8]) = match envelope.form {
            Form::Scalyr => (b"{thread:", b", log:", b", attrs:{"),
            Form::Json => (b"{\"thread\":", b",\"log\":", b",\"attrs\":{"),
        };
        let mut event_head = thread.to_vec();
        event_head.extend_from_slice(&quoted);
        if !envelope.without_logs {
            event_head.extend_from_slice(log);
            event_head.extend_from_slice(&quoted);
        }
        event_head.extend_from_slice(open);
        Label {
            id,
            event_head,
            attrs,
            log_entry,
            thread_entry,
            in_batch: 0,
        }
    }

    /// `log_<n>`.
    pub fn id(&self) -> &str {
        &self.id
    }
}
