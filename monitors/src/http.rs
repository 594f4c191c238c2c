//! HTTP requests of monitors: one deadline for all of it, bounded answers, no redirects unless they are
//! asked for. An answer comes as a whole ([`Client::fetch`]) or in blocks ([`Client::open`]).

#[cfg(feature = "openmetrics-monitor")]
mod stream;
#[cfg(feature = "status-page")]
mod way;

use crate::bounded::Bounded;
use common::stop::Stop;
use crossbeam_channel::{bounded, select, Receiver};
use nix::errno::Errno;
use std::fmt::Write as _;
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use ureq::config::ConfigBuilder;
use ureq::http::{self, HeaderMap, HeaderName, HeaderValue, Method, Uri};
use ureq::typestate::AgentScope;
use ureq::{Agent, Body, Proxy};

#[cfg(feature = "openmetrics-monitor")]
pub use stream::Answer;
#[cfg(feature = "status-page")]
pub use way::{Source, Way};

/// How long a request may take and how much may come back.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// From the question for the server's address to the last byte of the answer.
    pub timeout: Duration,
    /// At most this many bytes of the body are kept; further ones are read, counted and dropped.
    pub keep: usize,
    /// With more bytes than these the connection is closed.
    pub most: u64,
}

/// Which certificates of servers are trusted.
#[cfg_attr(
    not(any(feature = "openmetrics-monitor", feature = "status-page")),
    allow(dead_code)
)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Those that the system's root certificates vouch for.
    System,
    /// Those that the certificates of this PEM file vouch for.
    File(PathBuf),
    /// All.
    Anything,
}

impl Trust {
    /// Where a root certificate that is missing has to be added.
    fn place(&self) -> &'static str {
        match self {
            Trust::File(_) => "the file that ca_file names",
            Trust::System | Trust::Anything => "the root certificates of the system",
        }
    }
}

/// An HTTP request. [`Request::new`] sets the headers that all monitors send.
#[derive(Debug, Clone)]
pub struct Request {
    method: Method,
    url: String,
    headers: HeaderMap,
    body: Option<Vec<u8>>,
}

/// An HTTP answer.
#[derive(Debug, Clone)]
pub struct Response {
    /// 200 and so on; anything the server says is an answer, 404 and 302 too.
    pub status: u16,
    /// The body.
    pub body: Bounded,
    /// The body was longer than [`Limits::most`].
    pub broken_off: bool,
}

/// Why nothing came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The kind of reason.
    pub class: Class,
    /// The reason in the words that the Python agent has for it, as far as there are some.
    pub text: String,
}

/// Kinds of [`Failure`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// No connection: address, name, proxy, TLS, time-out.
    Url,
    /// The connection ended in the middle of the body.
    IncompleteRead,
    /// The server speaks no HTTP, or the request is none.
    Unknown,
    /// The monitor is to stop.
    Stopped,
}

impl Failure {
    fn url(reason: impl std::fmt::Display) -> Self {
        Failure {
            class: Class::Url,
            text: format!("<urlopen error {reason}>"),
        }
    }

    fn unknown(text: impl Into<String>) -> Self {
        Failure {
            class: Class::Unknown,
            text: text.into(),
        }
    }

    fn timed_out() -> Self {
        Failure::url("timed out")
    }
}

impl Request {
    /// A request with `User-Agent: scalyr-agent-<version>;monitor=<monitor>`, and nothing else that
    /// could be left out.
    ///
    /// # Errors
    /// The method is no HTTP token.
    pub fn new(
        method: &str,
        url: &str,
        (version, monitor): (&str, &str),
        body: Option<Vec<u8>>,
    ) -> Result<Request, String> {
        let method = Method::from_bytes(method.as_bytes())
            .map_err(|_| format!("\"{method}\" is no HTTP method"))?;
        let mut request = Request {
            method,
            url: url.to_owned(),
            headers: HeaderMap::new(),
            body,
        };
        let agent = format!("scalyr-agent-{version};monitor={monitor}");
        request.set("User-Agent", &agent)?;
        request.set("Accept-Encoding", "identity")?;
        let close = HeaderValue::from_static("close");
        request.headers.insert(http::header::CONNECTION, close);
        if request.body.is_some() {
            request.set("Content-Type", "application/x-www-form-urlencoded")?;
        }
        Ok(request)
    }

    /// Adds a header, in the place of one of the same name.
    ///
    /// # Errors
    /// The name or the value is not allowed in HTTP. The message does not show the value.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let header = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| format!("\"{name}\" is no name of an HTTP header"))?;
        let value = HeaderValue::from_bytes(value.as_bytes())
            .map_err(|_| format!("the value of HTTP header \"{name}\" is not allowed"))?;
        // The length follows from the body, and each connection is for one request.
        let ours = [http::header::CONTENT_LENGTH, http::header::CONNECTION];
        if !ours.contains(&header) {
            self.headers.insert(header, value);
        }
        Ok(())
    }
}

/// Whether requests to `url` need TLS.
pub fn is_https(url: &str) -> bool {
    url.get(..8)
        .is_some_and(|start| start.eq_ignore_ascii_case("https://"))
}

/// An error for addresses that this build can do nothing with, to be told at start.
///
/// # Errors
/// `url` wants TLS, which this build does not have.
pub fn check_scheme(url: &str) -> Result<(), String> {
    if is_https(url) && !cfg!(feature = "tls") {
        return Err("https is not part of this build (feature \"tls\")".to_owned());
    }
    Ok(())
}

/// Makes requests. Making one reads nothing; the root certificates and the proxy variables are read
/// at the first request, and when another host is asked than the last time.
#[derive(Debug)]
pub struct Client {
    limits: Limits,
    trust: Trust,
    /// At most this many redirects of one request are followed.
    #[cfg_attr(not(feature = "openmetrics-monitor"), allow(dead_code))]
    redirects: u32,
    #[cfg(feature = "status-page")]
    way: Option<Way>,
    /// The connection of the last request, and its scheme and host.
    agent: Option<(Agent, Uri)>,
}

impl Client {
    /// With these limits; it trusts the system's root certificates and follows no redirects.
    pub fn new(limits: Limits) -> Self {
        Client {
            limits,
            trust: Trust::System,
            redirects: 0,
            #[cfg(feature = "status-page")]
            way: None,
            agent: None,
        }
    }

    /// With other certificates than the system's.
    #[cfg_attr(
        not(any(feature = "openmetrics-monitor", feature = "status-page")),
        allow(dead_code)
    )]
    pub fn trusting(mut self, trust: Trust) -> Self {
        self.trust = trust;
        self
    }

    /// The connections for `uri`: those of the last request, if it was for the same scheme and host.
    fn agent(&mut self, uri: &Uri) -> Result<Agent, Failure> {
        if let Some((agent, of)) = &self.agent {
            if of.scheme() == uri.scheme() && of.host() == uri.host() {
                return Ok(agent.clone());
            }
        }
        #[cfg(not(feature = "status-page"))]
        let agent = agent(uri, &self.limits, &self.trust)?;
        #[cfg(feature = "status-page")]
        let agent = match &self.way {
            Some(way) => way.agent(uri, &self.limits, &self.trust)?,
            None => agent(uri, &self.limits, &self.trust)?,
        };
        self.agent = Some((agent.clone(), uri.clone()));
        Ok(agent)
    }

    /// Makes a request and waits for the whole answer, on a thread of its own: a name server that
    /// hangs cannot be interrupted otherwise.
    ///
    /// # Errors
    /// [`Failure`]. Within [`Limits::timeout`] and a little.
    pub fn fetch(&mut self, request: &Request, stop: &Stop) -> Result<Response, Failure> {
        let uri = parse(&request.url)?;
        let agent = self.agent(&uri)?;
        let deadline = Instant::now() + self.limits.timeout;
        let (limits, request) = (self.limits, request.clone());
        let roots = self.trust.place();
        let (tx, answer) = bounded(1);
        start(Box::new(move || {
            // Nobody waits any more after a request to stop.
            let _ = tx.send(exchange(&agent, uri, request, &limits, (deadline, roots)));
        }))?;
        // The request keeps its deadline itself; this is for a resolver that does not.
        let late = self.limits.timeout + Duration::from_secs(2);
        let answer = heard(&answer, stop, late);
        if answer.is_err() {
            // The file of root certificates may be mended by the next time.
            self.agent = None;
        }
        answer
    }
}

/// A message of the thread of a request. It is one type for answers that are waited for as a whole and for
/// those that come in blocks, as the code of a channel of another type has 10 KB.
type Message = Result<Response, Failure>;

/// Starts the thread of a request.
fn start(work: common::thread::Work<'static>) -> Result<(), Failure> {
    let started = common::thread::start("http", work);
    started.map_err(|e| Failure::unknown(format!("cannot make a thread: {e}")))
}

/// The next message of that thread, unless none comes within `late`, or the monitor is to stop.
fn heard(messages: &Receiver<Message>, stop: &Stop, late: Duration) -> Message {
    select! {
        recv(messages) -> message => message.unwrap_or_else(|_| {
            Err(Failure::unknown("the HTTP client failed"))
        }),
        recv(stop.channel()) -> _ => Err(Failure {
            class: Class::Stopped,
            text: "stopped".to_owned(),
        }),
        default(late) => Err(Failure::timed_out()),
    }
}

fn parse(url: &str) -> Result<Uri, Failure> {
    let url = url.trim();
    let scheme = url
        .split_once(':')
        .map(|(scheme, rest)| (scheme.to_ascii_lowercase(), rest));
    let scheme = scheme.filter(|(scheme, _)| !scheme.is_empty() && !scheme.contains('/'));
    let Some((scheme, rest)) = scheme else {
        return Err(Failure::unknown(format!("unknown url type: '{url}'")));
    };
    if !["http", "https"].contains(&scheme.as_str()) {
        return Err(Failure::url(format!("unknown url type: {scheme}")));
    }
    let rest = rest.strip_prefix("//").unwrap_or_default();
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if authority.is_empty() {
        return Err(Failure::url("no host given"));
    }
    if let Some(port) = wrong_port(authority) {
        return Err(Failure::unknown(format!("nonnumeric port: '{port}'")));
    }
    // These are no part of an address, but servers take them, and so did the Python agent.
    let mut sent = format!("{scheme}://{authority}");
    for c in path.chars() {
        match c {
            '"' | '<' | '>' | '`' => {
                // Writing into a String cannot fail.
                let _ = write!(sent, "%{:02X}", u32::from(c));
            }
            _ => sent.push(c),
        }
    }
    sent.parse()
        .map_err(|e| Failure::unknown(format!("invalid URL: {e}")))
}

/// The text in the place of the port, if it is not a port. The client would silently take the usual
/// port instead.
fn wrong_port(authority: &str) -> Option<&str> {
    let (_, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (_, behind) = host.rsplit_once(']').unwrap_or(("", host));
    let (_, port) = behind.rsplit_once(':')?;
    let is_port = port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok();
    (!port.is_empty() && !is_port).then_some(port)
}

fn environment(name: &str) -> Option<String> {
    // Tests talk to this machine, whatever proxy it has for the rest of the world
    match cfg!(test) {
        true => None,
        false => std::env::var(name).ok(),
    }
}

/// The settings that all requests have in common.
fn config(limits: &Limits) -> ConfigBuilder<AgentScope> {
    Agent::config_builder()
        .http_status_as_error(false)
        .allow_non_standard_methods(true)
        .timeout_global(Some(limits.timeout))
        .max_idle_connections(0)
        // An empty one is not sent.
        .accept("")
}

fn agent(uri: &Uri, limits: &Limits, trust: &Trust) -> Result<Agent, Failure> {
    let config = config(limits)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(proxy(uri, environment)?);
    Ok(secured(config, uri, trust)?.build().new_agent())
}

/// With the roots for a URL that needs TLS.
fn secured(
    config: ConfigBuilder<AgentScope>,
    uri: &Uri,
    trust: &Trust,
) -> Result<ConfigBuilder<AgentScope>, Failure> {
    #[cfg(feature = "tls")]
    if uri.scheme() == Some(&http::uri::Scheme::HTTPS) {
        let tls = ureq::tls::TlsConfig::builder();
        let roots = match trust {
            Trust::System => Some(roots()),
            Trust::File(path) => Some(common::roots::of(path)),
            Trust::Anything => None,
        };
        let tls = match roots {
            Some(roots) => {
                tls.root_certs(roots.map_err(|why| Failure::url(format!("[SSL] {why}")))?)
            }
            None => tls.disable_verification(true),
        };
        return Ok(config.tls_config(tls.build()));
    }
    #[cfg(not(feature = "tls"))]
    let _ = trust;
    #[cfg(not(feature = "tls"))]
    check_scheme(&uri.to_string()).map_err(Failure::url)?;
    Ok(config)
}

/// The system's root certificates, read once for all monitors.
#[cfg(feature = "tls")]
fn roots() -> Result<ureq::tls::RootCerts, String> {
    static ROOTS: std::sync::OnceLock<ureq::tls::RootCerts> = std::sync::OnceLock::new();
    if let Some(roots) = ROOTS.get() {
        return Ok(roots.clone());
    }
    let roots = common::roots::system()?;
    Ok(ROOTS.get_or_init(|| roots).clone())
}

/// `http_proxy` or `https_proxy`, whichever fits, unless `no_proxy` names the host; lower case
/// first. An error does not show the proxy: it may hold a password.
fn proxy(uri: &Uri, env: impl Fn(&str) -> Option<String>) -> Result<Option<Proxy>, Failure> {
    let either = |name: &str| env(name).or_else(|| env(&name.to_ascii_uppercase()));
    let name = format!("{}_proxy", uri.scheme_str().unwrap_or("http"));
    let Some(address) = either(&name).filter(|address| !address.is_empty()) else {
        return Ok(None);
    };
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    if either("no_proxy").is_some_and(|list| is_listed(host, &list)) {
        return Ok(None);
    }
    let address = if address.contains("://") {
        address
    } else {
        format!("http://{address}")
    };
    Proxy::new(&address)
        .map(Some)
        .map_err(|_| Failure::url(format!("{name} of the environment is no proxy address")))
}

/// Whether `no_proxy` names the host, a domain around it, or all.
fn is_listed(host: &str, list: &str) -> bool {
    list.split(',').any(|entry| {
        let entry = entry.trim();
        let entry = entry.strip_prefix('*').unwrap_or(entry);
        let name = entry.trim_start_matches('.').to_ascii_lowercase();
        let host = host.to_ascii_lowercase();
        if name.is_empty() {
            return entry.is_empty() && list.contains('*');
        }
        host.strip_suffix(name.as_str())
            .is_some_and(|before| before.is_empty() || before.ends_with('.'))
    })
}

fn exchange(
    agent: &Agent,
    uri: Uri,
    request: Request,
    limits: &Limits,
    (deadline, roots): (Instant, &str),
) -> Result<Response, Failure> {
    let mut message = http::Request::new(());
    *message.method_mut() = request.method;
    *message.uri_mut() = uri;
    *message.headers_mut() = request.headers;
    let (parts, ()) = message.into_parts();
    // Without any, the client would announce a body in chunks, which simple servers refuse.
    let has_body = [Method::POST, Method::PUT, Method::PATCH].contains(&parts.method);
    let body = request.body.or_else(|| has_body.then(Vec::new));
    let answer = match body {
        Some(body) => agent.run(http::Request::from_parts(parts, body)),
        None => agent.run(http::Request::from_parts(parts, ())),
    };
    let (parts, body) = answer.map_err(|e| failure(&e, roots))?.into_parts();
    let (body, broken_off) = read(body, limits, deadline)?;
    Ok(Response {
        status: parts.status.as_u16(),
        body,
        broken_off,
    })
}

fn read(body: Body, limits: &Limits, deadline: Instant) -> Result<(Bounded, bool), Failure> {
    let length = body.content_length();
    let mut reader = body.into_reader();
    let mut got = Bounded::default();
    let mut buffer = vec![0u8; 16 * 1024];
    loop {
        if Instant::now() >= deadline {
            return Err(Failure::timed_out());
        }
        match reader.read(&mut buffer) {
            Ok(0) => return Ok((got, false)),
            Ok(n) => got.push(&buffer[..n], limits.keep),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => {
                return Err(match ureq::Error::from(e) {
                    ureq::Error::Timeout(_) => Failure::timed_out(),
                    _ => incomplete(got.bytes, length),
                })
            }
        }
        if got.bytes > limits.most {
            return Ok((got, true));
        }
    }
}

fn incomplete(bytes: u64, length: Option<u64>) -> Failure {
    let text = match length {
        Some(length) => format!(
            "IncompleteRead({bytes} bytes read, {} more expected)",
            length.saturating_sub(bytes)
        ),
        None => format!("IncompleteRead({bytes} bytes read)"),
    };
    Failure {
        class: Class::IncompleteRead,
        text,
    }
}

/// Sorts what the client says into the classes. `roots` says where a root certificate is to be added.
fn failure(error: &ureq::Error, roots: &str) -> Failure {
    use ureq::Error as E;
    #[cfg(feature = "tls")]
    if let Some(trouble) = common::tls::trouble(error, roots) {
        let text = trouble.text;
        return Failure::url(match trouble.kind {
            common::tls::Kind::Handshake => format!("[SSL] {text}"),
            _ => format!("[SSL: CERTIFICATE_VERIFY_FAILED] {text}"),
        });
    }
    #[cfg(not(feature = "tls"))]
    let _ = roots;
    match error {
        E::Timeout(_) => Failure::timed_out(),
        E::HostNotFound => Failure::url("[Errno -2] Name or service not known"),
        E::Io(e) => io_failure(e),
        E::ConnectionFailed | E::ConnectProxyFailed(_) | E::InvalidProxyUrl => Failure::url(error),
        E::Tls(_) | E::TlsRequired => Failure::url(format!("[SSL] {error}")),
        #[cfg(feature = "tls")]
        E::Pem(e) => Failure::url(format!("[SSL] {e}")),
        _ => Failure::unknown(error.to_string()),
    }
}

fn io_failure(error: &io::Error) -> Failure {
    if let Some(number) = error.raw_os_error() {
        let text = format!("[Errno {number}] {}", Errno::from_raw(number).desc());
        return match error.kind() {
            // There was a connection.
            io::ErrorKind::ConnectionReset => Failure::unknown(text),
            _ => Failure::url(text),
        };
    }
    match error.kind() {
        io::ErrorKind::TimedOut => Failure::timed_out(),
        // In the middle of the handshake; the client itself has words for it.
        io::ErrorKind::UnexpectedEof if error.get_ref().is_none() => {
            Failure::url("[SSL: UNEXPECTED_EOF_WHILE_READING] no answer to the TLS handshake")
        }
        io::ErrorKind::UnexpectedEof => {
            Failure::unknown("Remote end closed connection without response")
        }
        // The resolver's error; this library gives it no number.
        _ if error.to_string().contains("lookup address") => {
            Failure::url("[Errno -2] Name or service not known")
        }
        _ => Failure::url(error),
    }
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
