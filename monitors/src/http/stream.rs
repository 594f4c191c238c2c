//! An answer that is handed on in blocks while it arrives, and redirects.

use super::{failure, heard, incomplete, parse, start};
use super::{
    Bounded, Client, Failure, HeaderName, HeaderValue, Limits, Message, Request, Response, Trust,
};
use common::stop::Stop;
use crossbeam_channel::{bounded, Receiver, Sender};
use std::io::{self, Read as _};
use std::time::{Duration, Instant};
use ureq::http::{self, header, HeaderMap, Uri};
use ureq::{Agent, Body};

/// The size of a block in bytes.
const BLOCK: usize = 16 * 1024;
/// At most this many blocks wait for the monitor. Then the server has to wait.
const BLOCKS: usize = 2;
/// How much longer than the deadline a monitor waits for the thread to tell why there is no answer.
const LATE: Duration = Duration::from_secs(2);

/// An answer whose body is still on its way. Dropping it ends the request.
#[derive(Debug)]
pub struct Answer {
    /// 200 and so on; after redirects, the status of the last answer.
    pub status: u16,
    /// `Content-Type`; empty if there is none.
    pub content_type: String,
    /// `Content-Encoding`; empty if there is none.
    pub encoding: String,
    messages: Receiver<Message>,
    deadline: Instant,
    stop: Stop,
}

// The thread sends a `head`, then `block`s, then an `end`, or a failure instead of any.

/// Alone has a status. Its body is the type and the encoding, with a line break between them, which
/// neither can hold.
fn head(status: u16, content_type: &str, encoding: &str) -> Message {
    message(
        status,
        format!("{content_type}\n{encoding}").into_bytes(),
        false,
    )
}

fn block(bytes: &[u8]) -> Message {
    message(0, bytes.to_vec(), false)
}

fn end() -> Message {
    message(0, Vec::new(), true)
}

fn message(status: u16, kept: Vec<u8>, broken_off: bool) -> Message {
    let body = Bounded {
        kept,
        ..Bounded::default()
    };
    Ok(Response {
        status,
        body,
        broken_off,
    })
}

impl Request {
    /// As [`Request::set`], for a header that only the host of the request's own address gets: after a
    /// redirect to another one it is left out. Debug output does not show its value.
    ///
    /// # Errors
    /// As there.
    pub fn set_private(&mut self, name: &str, value: &str) -> Result<(), String> {
        self.set(name, value)?;
        let header = HeaderName::from_bytes(name.as_bytes());
        if let Some(value) = header.ok().and_then(|name| self.headers.get_mut(name)) {
            value.set_sensitive(true);
        }
        Ok(())
    }
}

impl Client {
    /// [`Client::open`] follows at most `most` redirects of a request: within http, within https, and
    /// from http to https.
    pub fn following(mut self, most: u32) -> Self {
        self.redirects = most;
        self
    }

    /// Makes a request on a thread of its own, and waits for the head of the answer. [`Limits::keep`]
    /// does not matter here; an answer of more than [`Limits::most`] bytes fails.
    ///
    /// # Errors
    /// [`Failure`]. Within [`Limits::timeout`] and a little.
    pub fn open(&mut self, request: &Request, stop: &Stop) -> Result<Answer, Failure> {
        let uri = parse(&request.url)?;
        let deadline = Instant::now() + self.limits.timeout;
        let hops = Hops {
            agent: self.agent(&uri)?,
            limits: self.limits,
            trust: self.trust.clone(),
            left: self.redirects,
            deadline,
        };
        let (tx, messages) = bounded(BLOCKS);
        let request = request.clone();
        start(Box::new(move || {
            let end = hops.run(uri, request, &tx).and_then(|()| end());
            // Nobody waits any more after a request to stop.
            let _ = tx.send(end);
        }))?;
        let mut answer = Answer {
            status: 0,
            content_type: String::new(),
            encoding: String::new(),
            messages,
            deadline,
            stop: stop.clone(),
        };
        let failure = match answer.message() {
            Ok(head) if head.status != 0 => {
                let text = head.body.text();
                let (content_type, encoding) = text.split_once('\n').unwrap_or_default();
                answer.content_type = content_type.to_owned();
                answer.encoding = encoding.to_owned();
                answer.status = head.status;
                return Ok(answer);
            }
            Ok(_) => Failure::unknown("the HTTP client failed"),
            Err(failure) => failure,
        };
        // The file of root certificates may be mended by the next time.
        self.agent = None;
        Err(failure)
    }
}

impl Answer {
    /// The next bytes of the body, at least one; `None` at its end.
    ///
    /// # Errors
    /// [`Failure`]: the body is incomplete, or too long, or the time is up.
    pub fn block(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        if Instant::now() >= self.deadline {
            return Err(Failure::timed_out());
        }
        let message = self.message()?;
        Ok((!message.broken_off).then_some(message.body.kept))
    }

    /// Whether [`Answer::block`] will say so: the time is up, or the monitor is to stop.
    pub fn is_late(&self) -> bool {
        Instant::now() >= self.deadline || self.stop.is_set()
    }

    fn message(&self) -> Message {
        let late = self.deadline.saturating_duration_since(Instant::now()) + LATE;
        heard(&self.messages, &self.stop, late)
    }
}

/// The thread's side of a request.
struct Hops {
    agent: Agent,
    limits: Limits,
    trust: Trust,
    left: u32,
    deadline: Instant,
}

impl Hops {
    fn run(mut self, uri: Uri, request: Request, tx: &Sender<Message>) -> Result<(), Failure> {
        let mut uri = uri;
        let mut headers = request.headers;
        let redirects = self.left;
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Failure::timed_out());
            }
            let mut message = http::Request::new(());
            *message.method_mut() = request.method.clone();
            *message.uri_mut() = uri.clone();
            *message.headers_mut() = headers.clone();
            let configured = self.agent.configure_request(message);
            let message = configured.timeout_global(Some(left)).build();
            let answer = self.agent.run(message);
            let answer = answer.map_err(|e| failure(&e, self.trust.place()))?;
            let (parts, body) = answer.into_parts();
            let location = parts.headers.get(header::LOCATION);
            if let (301 | 302 | 303 | 307 | 308, Some(location)) = (parts.status.as_u16(), location)
            {
                if self.left > 0 {
                    self.left -= 1;
                    let next = redirected(&uri, location)?;
                    if !is_same_place(&uri, &next) {
                        private_removed(&mut headers);
                    }
                    if (next.scheme(), next.host()) != (uri.scheme(), uri.host()) {
                        self.agent = super::agent(&next, &self.limits, &self.trust)?;
                    }
                    uri = next;
                    continue;
                }
                if redirects > 0 {
                    return Err(Failure::unknown("too many redirects"));
                }
            }
            let text = |name| {
                let value = parts.headers.get(name);
                value.and_then(|value: &HeaderValue| value.to_str().ok())
            };
            let head = head(
                parts.status.as_u16(),
                text(header::CONTENT_TYPE).unwrap_or_default(),
                text(header::CONTENT_ENCODING).unwrap_or_default(),
            );
            if tx.send(head).is_err() {
                return Ok(());
            }
            return self.body(body, tx);
        }
    }

    fn body(&self, body: Body, tx: &Sender<Message>) -> Result<(), Failure> {
        let length = body.content_length();
        let mut reader = body.into_reader();
        let mut bytes = 0;
        let mut buffer = vec![0u8; BLOCK];
        loop {
            if Instant::now() >= self.deadline {
                return Err(Failure::timed_out());
            }
            let n = match reader.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => {
                    return Err(match ureq::Error::from(e) {
                        ureq::Error::Timeout(_) => Failure::timed_out(),
                        _ => incomplete(bytes, length),
                    })
                }
            };
            bytes += n as u64;
            if bytes > self.limits.most {
                let most = self.limits.most;
                return Err(Failure::unknown(format!(
                    "the answer is longer than {most} bytes"
                )));
            }
            if tx.send(block(&buffer[..n])).is_err() {
                return Ok(());
            }
        }
    }
}

fn private_removed(headers: &mut HeaderMap) {
    let private: Vec<HeaderName> = headers
        .iter()
        .filter(|(_, value)| value.is_sensitive())
        .map(|(name, _)| name.clone())
        .collect();
    for name in private {
        headers.remove(name);
    }
}

/// Whether what is meant for the server of `from` may be told to that of `to`: the same host and port,
/// or the same host by https instead of http, both at their usual ports.
fn is_same_place(from: &Uri, to: &Uri) -> bool {
    let port = |uri: &Uri| {
        let usual = if uri.scheme_str() == Some("https") {
            443
        } else {
            80
        };
        uri.port_u16().unwrap_or(usual)
    };
    let host = |uri: &Uri| uri.host().map(str::to_ascii_lowercase);
    host(from) == host(to)
        && ((from.scheme() == to.scheme() && port(from) == port(to))
            || (port(from), port(to)) == (80, 443))
}

/// The address that an answer to `from` leads to.
///
/// # Errors
/// It is no address, or it leads from https to http.
fn redirected(from: &Uri, location: &HeaderValue) -> Result<Uri, Failure> {
    let location = String::from_utf8_lossy(location.as_bytes());
    let location = location.split('#').next().unwrap_or_default().trim();
    let scheme = from.scheme_str().unwrap_or("http");
    let authority = from.authority().map_or("", |authority| authority.as_str());
    let path = from.path();
    let end = location.find(['/', '?']).unwrap_or(location.len());
    let to = if location[..end].contains(':') {
        location.to_owned()
    } else if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else if location.starts_with('?') || location.is_empty() {
        format!("{scheme}://{authority}{path}{location}")
    } else {
        let folder = path.rfind('/').map_or("/", |at| &path[..=at]);
        format!("{scheme}://{authority}{folder}{location}")
    };
    let mut to = parse(&to)?;
    // A login in the address of the request is meant for the server, not for one page.
    if let (Some((login, _)), true) = (authority.rsplit_once('@'), is_same_place(from, &to)) {
        if let Some((scheme, rest)) = to.to_string().split_once("://") {
            if to.authority().is_some_and(|to| !to.as_str().contains('@')) {
                to = parse(&format!("{scheme}://{login}@{rest}"))?;
            }
        }
    }
    if scheme == "https" && to.scheme_str() != Some("https") {
        return Err(Failure::unknown(
            "the server redirects from https to http, which is not followed",
        ));
    }
    Ok(to)
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
