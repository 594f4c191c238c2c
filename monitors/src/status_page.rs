//! The page on which a web server tells of itself, as `apache_monitor`, `nginx_monitor` and
//! `tomcat_monitor` fetch it: their common options, and in words what is wrong when it does not come.

use crate::http::{self, Class, Client, Failure, Limits, Request, Source, Trust, Way};
use crate::monitor::{short_name, Setup};
use crate::options::{Default, Kind, OptionSpec};
use crate::service::options::{
    set, time_out, wrong, CA_FILE, EXTRA_METRICS, PASSWORD_FILE, TIMEOUT, UNIX_SOCKET,
};
use crate::service::Secret;
use crate::{Emitter, Error};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Longer pages are refused. That of a Tomcat with 400 applications is shorter.
const MOST: usize = 1024 * 1024;

/// How many options [`options`] has.
pub(crate) const COUNT: usize = 10;

/// The options of each of these monitors; `url` is the one that names the page.
pub(crate) const fn options(url: OptionSpec) -> [OptionSpec; COUNT] {
    [
        url.url(),
        OptionSpec::new(
            "source_address",
            Kind::Text,
            Default::Text("127.0.0.1"),
            "The address that the connection comes from. The default holds for http to a server on this machine and has no effect otherwise; one that is set always holds. Empty: as the kernel chooses.",
        ),
        UNIX_SOCKET,
        OptionSpec::new(
            "monitor_user",
            Kind::Text,
            Default::None,
            "The user, where the page wants one (HTTP Basic authentication).",
        ),
        OptionSpec::new(
            "monitor_password",
            Kind::Text,
            Default::None,
            "The password of monitor_user. With http to another machine it goes over the network in clear.",
        ),
        PASSWORD_FILE,
        CA_FILE,
        OptionSpec::new(
            "verify_https",
            Kind::Bool,
            Default::Bool(true),
            "Whether the server's certificate is verified where there is no ca_file.",
        ),
        TIMEOUT,
        EXTRA_METRICS,
    ]
}

/// The texts that differ between the servers.
pub(crate) struct Server {
    /// Its name in messages.
    pub(crate) name: &'static str,
    /// The option that names the page.
    pub(crate) url: &'static str,
    /// Advice about 404: a sentence.
    pub(crate) missing: &'static str,
    /// Advice about 403: a sentence.
    pub(crate) denied: &'static str,
    /// Advice about a user that is refused: a sentence.
    pub(crate) user: &'static str,
    /// Advice about a page without anything known on it: a sentence.
    pub(crate) unknown: &'static str,
}

/// Fetches the page of one server.
pub(crate) struct StatusPage {
    server: &'static Server,
    url: String,
    /// The address in messages, without a password.
    shown: String,
    client: Client,
    request: Request,
    user: Option<String>,
    password: Secret,
    timeout: Duration,
}

impl StatusPage {
    /// By the options of [`options`]; `query` is added to the address.
    ///
    /// # Errors
    /// An option is wrong.
    pub(crate) fn new(
        setup: &Setup,
        server: &'static Server,
        query: &str,
    ) -> Result<StatusPage, Error> {
        let options = setup.options;
        let socket = set(options, "unix_socket").map(PathBuf::from);
        let mut url = options.text(server.url).trim().to_owned();
        let is_set = |name: &str| options.entry().iter().find(|(key, _)| key == name);
        let configured = is_set(server.url).and_then(|(_, url)| url.as_str());
        // allow_http_monitors is about what goes over a network.
        if socket.is_some() && !configured.is_some_and(http::is_https) {
            if let Some(rest) = url.strip_prefix("https://") {
                url = format!("http://{rest}");
            }
        }
        http::check_scheme(&url).map_err(|why| wrong(server.url, why))?;
        if !query.is_empty() {
            url.truncate(url.find('#').unwrap_or(url.len()));
            url.push(if url.contains('?') { '&' } else { '?' });
            url.push_str(query);
        }
        let user = set(options, "monitor_user").or(set(options, "monitor_username"));
        let user = user.map(str::to_owned);
        let password = Secret::read(options, "monitor_password", "password_file")?;
        match &user {
            Some(user) if user.contains(':') => {
                return Err(wrong("monitor_user", "a user's name has no colon"));
            }
            Some(_) if password == Secret::None => {
                return Err(wrong(
                    "monitor_user",
                    "set monitor_password or password_file too",
                ));
            }
            None if password != Secret::None => {
                return Err(wrong("monitor_password", "set monitor_user too"));
            }
            _ => {}
        }
        let source = match options.text("source_address").trim() {
            "" => Source::Any,
            "localhost" => Source::OnThisMachine(Ipv4Addr::LOCALHOST),
            text => match (text.parse(), is_set("source_address")) {
                (Ok(IpAddr::V4(ip)), None) if !http::is_https(&url) => Source::OnThisMachine(ip),
                (Ok(_), None) => Source::Any,
                (Ok(ip), Some(_)) => Source::Always(ip),
                (Err(_), _) => {
                    return Err(wrong(
                        "source_address",
                        format_args!("\"{text}\" is no IP address"),
                    ));
                }
            },
        };
        let timeout = time_out(options);
        let limits = Limits {
            timeout,
            keep: MOST,
            most: MOST as u64,
        };
        let mut shown = without_password(&url);
        if let Some(path) = &socket {
            shown.push_str(&format!(" (over {})", path.display()));
        }
        let way = Way { socket, source };
        let trust = match set(options, "ca_file") {
            Some(path) => Trust::File(PathBuf::from(path)),
            None if options.bool("verify_https") => Trust::System,
            None => Trust::Anything,
        };
        let names = (setup.place.agent_version, short_name(setup.module));
        let request = Request::new("GET", &url, names, None);
        Ok(StatusPage {
            server,
            request: request.map_err(|why| wrong(server.url, why))?,
            url,
            shown,
            client: Client::new(limits).by(way).trusting(trust),
            user,
            password,
            timeout,
        })
    }

    /// The text of the page.
    ///
    /// # Errors
    /// It does not come: a sentence that names the address, the reason and what to do.
    pub(crate) fn fetch(&mut self, out: &mut Emitter) -> Result<String, Error> {
        if let Some(user) = &self.user {
            let both = format!("{user}:{}", self.password.get(out)?);
            let header = format!("Basic {}", base64(both.as_bytes()));
            let set = self.request.set("Authorization", &header);
            set.map_err(|why| self.error(&why))?;
        }
        let answer = self.client.fetch(&self.request, out.stop());
        let text = match answer {
            Ok(answer) if answer.status != 200 => Err(self.refused(answer.status)),
            Ok(answer) if answer.broken_off => {
                let url = self.server.url;
                Err(self.error(&format_args!(
                    "the answer is longer than 1 MiB. Does {url} name the status page?"
                )))
            }
            Ok(answer) => Ok(answer.body.text().into_owned()),
            Err(failure) => Err(self.failed(&failure)),
        };
        if text.is_err() {
            out.counter("failed_requests").fetch_add(1, Relaxed);
        }
        text
    }

    /// The error about a page on which nothing is known.
    pub(crate) fn unknown(&self, out: &Emitter) -> Error {
        out.counter("unknown_pages").fetch_add(1, Relaxed);
        self.error(&format_args!(
            "what it answers is no such page. {}",
            self.server.unknown
        ))
    }

    fn error(&self, why: &dyn fmt::Display) -> Error {
        Error::new(format!("No status page from {}: {why}", self.shown))
    }

    fn refused(&self, status: u16) -> Error {
        let server = self.server;
        let why = match status {
            401 => match &self.user {
                Some(user) => format!("it refuses user \"{user}\" (401). {}", server.user),
                None => "it wants a user and a password (401). Set monitor_user and monitor_password."
                    .to_owned(),
            },
            403 => format!("it denies access (403). {}", server.denied),
            404 => format!("there is no such page (404). {}", server.missing),
            300..=399 => format!(
                "it redirects ({status}), which is not followed through a proxy. Name the address of the page in {}, or the host in no_proxy.",
                server.url
            ),
            _ => format!("it answers {status}. The log of {} says why.", server.name),
        };
        self.error(&why)
    }

    fn failed(&self, failure: &Failure) -> Error {
        let text = failure.text.as_str();
        let text = text.strip_prefix("<urlopen error ").unwrap_or(text);
        let text = text.strip_suffix('>').unwrap_or(text);
        let Server { name, url, .. } = self.server;
        let number = text
            .strip_prefix("[Errno ")
            .and_then(|text| text.split_once(']'))
            .map_or("", |(number, _)| number);
        let why = match (number, text) {
            ("111", _) => {
                format!("the connection is refused. Is {name} running, and does it listen there?")
            }
            ("2", _) => {
                format!("there is no such socket. Is {name} running, and does it listen there?")
            }
            ("13", _) => "the agent's user may not write to the socket.".to_owned(),
            ("22", _) => "there is no way from source_address to the server.".to_owned(),
            ("-2", _) => format!("the host is not known. Correct {url}."),
            (_, "timed out") => format!(
                "there is no answer within {} s. Is {name} overloaded, or is timeout too short?",
                self.timeout.as_secs_f64()
            ),
            (_, "too many redirects") => {
                format!("it redirects more than 3 times. Name the address of the page in {url}.")
            }
            _ if failure.class == Class::IncompleteRead => {
                "the connection ended in the middle of the answer.".to_owned()
            }
            _ => format!("{}.", text.replace(&self.url, "(url)").escape_debug()),
        };
        self.error(&why)
    }
}

/// An address as it may be shown: without user and password.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        // The whole may be one.
        return "(no address)".to_owned();
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (_, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    format!("{scheme}://{host}{path}")
        .escape_debug()
        .to_string()
}

/// Base64 with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, at| {
            bits << 8 | usize::from(three.get(at).copied().unwrap_or(0))
        });
        for at in 0..4 {
            text.push(match at <= three.len() {
                true => char::from(DIGITS[bits >> (18 - 6 * at) & 63]),
                false => '=',
            });
        }
    }
    text
}

#[cfg(all(test, feature = "nginx-monitor"))]
#[path = "status_page_tests.rs"]
mod tests;

#[cfg(all(
    test,
    feature = "apache-monitor",
    feature = "nginx-monitor",
    feature = "tomcat-monitor"
))]
#[path = "status_page_servers.rs"]
mod servers;
