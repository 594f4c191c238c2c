//! One POST after the other over one kept connection.

use super::connect::{Gate, Later, Ledger};
use super::settings::UploadSettings;
use crate::wire::Form;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;
use ureq::config::Config;
use ureq::http::{HeaderMap, Response};
use ureq::{Agent, Body, Error, Proxy};

/// No answer of this protocol is longer.
pub const LONGEST_RESPONSE: usize = 1024 * 1024;
/// The path of the only request.
pub const PATH: &str = "/addEvents";
/// Connecting never needs longer than this.
const LONGEST_CONNECT: Duration = Duration::from_secs(30);
/// An idle connection older than this is not used again: routers forget it without telling.
const LONGEST_IDLE: Duration = Duration::from_secs(120);
/// Bytes a second below which sending a body is given up, as long as it moves at all.
const SLOWEST_LINK: u64 = 4096;

/// The code for anything that TLS does not like.
const TLS_FAILED: &str = "client/connectionFailedSSLError";

/// Where a root certificate is to be added.
#[cfg(feature = "tls")]
const ROOTS: &str = "the file that ca_cert_path names";

/// How a request ended.
#[derive(Debug)]
pub enum Reply {
    /// With an answer, good or bad.
    Answer {
        /// The HTTP status.
        http: u16,
        /// The `Retry-After` header.
        retry_after: Option<String>,
        /// The `Date` header.
        date: Option<String>,
        /// The body.
        body: Vec<u8>,
        /// Whether that is all of the body.
        whole: bool,
    },
    /// No connection could be made.
    NotConnected {
        /// The error code.
        code: &'static str,
        /// In words.
        text: String,
    },
    /// On a connection, but without an answer.
    Broken {
        /// In words.
        text: String,
        /// A kept connection turned out to be closed by the peer: that says nothing about the
        /// server, and another connection may do at once.
        stale: bool,
    },
}

/// A session's HTTP client.
pub struct Http {
    settings: UploadSettings,
    url: String,
    agent: Option<Agent>,
    ledger: Arc<Ledger>,
}

impl Http {
    /// Connects with the first request.
    pub fn new(settings: UploadSettings) -> Self {
        let server = &settings.server;
        let scheme = if server.https { "https" } else { "http" };
        let default = if server.https { 443 } else { 80 };
        let host = if server.host.contains(':') && !server.host.starts_with('[') {
            format!("[{}]", server.host) // an IPv6 literal
        } else {
            server.host.clone()
        };
        let url = if server.port == default {
            format!("{scheme}://{host}{PATH}")
        } else {
            format!("{scheme}://{host}:{}{PATH}", server.port)
        };
        Http {
            settings,
            url,
            agent: None,
            ledger: Arc::default(),
        }
    }

    /// The time within which a request with a body of so many bytes has ended, well or not.
    pub fn longest(&self, body: usize) -> Duration {
        let deadline = deadline(&self.settings);
        // Looking the name up and connecting, then sending, waiting for the answer and reading it
        LONGEST_CONNECT * 2 + deadline * 8 + Duration::from_secs(body as u64 / SLOWEST_LINK)
    }

    /// Connections opened so far.
    pub fn connections(&self) -> u64 {
        self.ledger.opened()
    }

    /// Posts a body with its `Content-Encoding`. Blocks for as long as the deadlines allow.
    pub fn post(&mut self, body: &[u8], encoding: Option<&str>) -> Reply {
        let agent = match &self.agent {
            Some(agent) => agent,
            // Not kept if it fails: the certificate file may be there next time
            None => match build(&self.settings, &self.ledger) {
                Ok(agent) => self.agent.insert(agent),
                Err((code, text)) => return Reply::NotConnected { code, text },
            },
        };
        let (asked, opened) = (self.ledger.asked(), self.ledger.opened());
        let mut request = agent
            .post(&self.url)
            .header("Accept-Encoding", "identity")
            .header("Connection", "Keep-Alive")
            .header("Accept", "application/json");
        if let Some(encoding) = encoding {
            request = request.header("Content-Encoding", encoding);
        }
        if self.settings.form == Form::Json {
            request = request.header("Content-Type", "application/json");
        }
        let reply = match request.send(body) {
            Ok(response) => receive(response),
            Err(error) => Err(error),
        };
        reply.unwrap_or_else(|error| {
            let kept = self.ledger.asked() == asked;
            if !kept && self.ledger.opened() == opened {
                let (code, text) = not_connected(&error, self.settings.server.https);
                if code == TLS_FAILED {
                    // The root certificates may be newer next time
                    self.agent = None;
                }
                return Reply::NotConnected { code, text };
            }
            Reply::Broken {
                stale: kept && closed_by_peer(&error),
                text: describe(&error),
            }
        })
    }

    /// Gives the connection up: the next request opens one, perhaps to a healthier machine.
    pub fn disconnect(&mut self) {
        self.ledger.retire();
    }
}

fn deadline(settings: &UploadSettings) -> Duration {
    let (least, most) = (Duration::from_millis(1), Duration::from_secs(86_400));
    settings.request_deadline.clamp(least, most)
}

fn receive(mut response: Response<Body>) -> Result<Reply, Error> {
    let http = response.status().as_u16();
    let retry_after = header(response.headers(), "retry-after");
    let date = header(response.headers(), "date");
    let mut body = Vec::new();
    let most = LONGEST_RESPONSE as u64 + 1;
    response
        .body_mut()
        .as_reader()
        .take(most)
        .read_to_end(&mut body)?;
    let whole = body.len() <= LONGEST_RESPONSE;
    body.truncate(LONGEST_RESPONSE);
    Ok(Reply::Answer {
        http,
        retry_after,
        date,
        body,
        whole,
    })
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

fn build(settings: &UploadSettings, ledger: &Arc<Ledger>) -> Result<Agent, (&'static str, String)> {
    let deadline = deadline(settings);
    let most = settings.pacing.max_request_size as u64;
    let https = settings.server.https;
    let proxy = if https {
        ("https_proxy", &settings.https_proxy)
    } else {
        ("http_proxy", &settings.http_proxy)
    };
    let proxy = match proxy {
        (_, None) => None,
        (_, Some(address)) if address.is_empty() => None,
        (option, Some(address)) => Some(Proxy::new(address).map_err(|_| {
            // The address may hold a password and is not repeated
            let text = format!("the address in {option} cannot be understood");
            ("client/connectionFailed", text)
        })?),
    };
    // A silent server is cut off by the limits per read and write, so that a slow link may take
    // its time. The limits per phase bound a server that sends a byte now and then; as they are
    // longer, the socket's own timeout is set once per connection and not per call.
    let builder = Config::builder()
        .https_only(https)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(proxy)
        .no_delay(true)
        .user_agent(settings.user_agent.as_str())
        .max_idle_connections(1)
        .max_idle_connections_per_host(1)
        .max_idle_age(LONGEST_IDLE)
        .input_buffer_size(16 * 1024)
        .output_buffer_size(32 * 1024)
        .max_response_header_size(16 * 1024)
        .timeout_connect(Some(deadline.min(LONGEST_CONNECT)))
        .timeout_per_read(Some(deadline))
        .timeout_per_write(Some(deadline))
        .timeout_send_request(Some(deadline * 2))
        .timeout_send_body(Some(
            deadline * 2 + Duration::from_secs(most / SLOWEST_LINK),
        ))
        .timeout_recv_response(Some(deadline * 2))
        .timeout_recv_body(Some(deadline * 2));
    #[cfg(feature = "tls")]
    let builder = if https {
        let config = super::tls::config(settings).map_err(|text| (TLS_FAILED, text))?;
        builder.tls_config(config)
    } else {
        builder
    };
    #[cfg(not(feature = "tls"))]
    if https {
        return Err((
            TLS_FAILED,
            "this build has no TLS; it cannot reach an https server".to_owned(),
        ));
    }
    Ok(Agent::with_parts(
        builder.build(),
        Gate::new(ledger.clone()),
        Later,
    ))
}

/// The error code for a failed connection, and its words. The code is found by kind, not by number, as
/// "refused" has different numbers on different systems; the Python agent knows only macOS's.
fn not_connected(error: &Error, https: bool) -> (&'static str, String) {
    #[cfg(feature = "tls")]
    if let Some(trouble) = common::tls::trouble(error, ROOTS) {
        let code = match trouble.kind {
            common::tls::Kind::Name => "client/connectionFailedCertHostnameValidationFailed",
            _ => TLS_FAILED,
        };
        return (code, describe(error));
    }
    #[cfg(feature = "tls")]
    if let (Error::Io(e), true) = (error, https) {
        if let Some(text) = common::tls::hung_up(e) {
            return (TLS_FAILED, text.to_owned());
        }
    }
    let _ = https;
    let code = match error {
        Error::Io(e) if e.kind() == io::ErrorKind::ConnectionRefused => {
            "client/connectionFailedConnRefused"
        }
        Error::Tls(_) | Error::TlsRequired => TLS_FAILED,
        #[cfg(feature = "tls")]
        Error::Pem(_) => TLS_FAILED,
        _ => "client/connectionFailed",
    };
    (code, describe(error))
}

fn closed_by_peer(error: &Error) -> bool {
    matches!(error, Error::Io(e) if matches!(
        e.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::NotConnected
    ))
}

fn describe(error: &Error) -> String {
    #[cfg(feature = "tls")]
    if let Some(trouble) = common::tls::trouble(error, ROOTS) {
        return super::response::one_line(trouble.text.as_bytes(), 400);
    }
    let text = match error {
        Error::Timeout(ureq::Timeout::PerRead) => "the server was silent for too long".to_owned(),
        Error::Timeout(ureq::Timeout::PerWrite) => {
            "the server took no data for too long".to_owned()
        }
        Error::Timeout(what) => format!("timeout: {what}"),
        Error::Protocol(what) => {
            format!(
                "the answer is not HTTP, as from a port for https:// or something else ({what})"
            )
        }
        Error::Io(e) => e.to_string(),
        other => other.to_string(),
    };
    super::response::one_line(text.as_bytes(), 300)
}
