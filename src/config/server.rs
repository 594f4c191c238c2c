//! Server addresses, read strictly: what decides between TLS and
//! plain text must not depend on how a colon or a capital letter is taken.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Where to send to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServerUrl {
    /// TLS. False only where `allow_http` was set and the address asks for it.
    pub https: bool,
    /// Host name in lower case, or IP address; IPv6 without its brackets.
    pub host: String,
    /// Port; 443 or 80 unless given.
    pub port: u16,
}

impl ServerUrl {
    /// Reads an address: `[http://|https://]HOST[:PORT][/]` in any case. Without `allow_http` the
    /// result is always TLS. With it an address without a scheme is plain, as in the reference.
    /// The error is a phrase.
    pub fn parse(text: &str, allow_http: bool) -> Result<ServerUrl, String> {
        let lower = text.trim().to_ascii_lowercase();
        let (https, rest) = if let Some(rest) = lower.strip_prefix("https://") {
            (true, rest)
        } else if let Some(rest) = lower.strip_prefix("http://") {
            (!allow_http, rest)
        } else if lower.contains("://") || lower.starts_with("//") {
            return Err("the scheme is neither https:// nor http://".to_owned());
        } else {
            (!allow_http, lower.as_str())
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains('@') {
            return Err("user names and passwords have no place in it".to_owned());
        }
        if authority.contains(['/', '?', '#']) {
            return Err("it must end after host and port".to_owned());
        }
        let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
            let Some((address, after)) = rest.split_once(']') else {
                return Err("the ] after the IPv6 address is missing".to_owned());
            };
            let address: Ipv6Addr = address
                .parse()
                .map_err(|_| "what is in brackets is no IPv6 address".to_owned())?;
            let port = match after.strip_prefix(':') {
                Some(port) => Some(port),
                None if after.is_empty() => None,
                None => return Err("after ] only a colon and a port can follow".to_owned()),
            };
            (address.to_string(), port)
        } else {
            match authority.split_once(':') {
                Some((_, port)) if port.contains(':') => {
                    return Err("IPv6 addresses need brackets: https://[ADDRESS]:PORT".to_owned())
                }
                Some((host, port)) => (host.to_owned(), Some(port)),
                None => (authority.to_owned(), None),
            }
        };
        if authority.starts_with('[') || is_host(&host) {
            let default = if https { 443 } else { 80 };
            let port = port.map_or(Some(default), |digits| {
                let plain = digits.bytes().all(|b| b.is_ascii_digit());
                digits.parse().ok().filter(|&port| plain && port > 0)
            });
            return match port {
                Some(port) => Ok(ServerUrl { https, host, port }),
                None => Err("the port is not a number from 1 to 65535".to_owned()),
            };
        }
        Err(if host.is_empty() {
            "the host is missing".to_owned()
        } else {
            "the host may hold letters, digits, dots, - and _ only".to_owned()
        })
    }

    /// True if the operator's text asks for plain http, openly or by leaving the scheme out, and
    /// TLS is used all the same.
    pub fn forced(&self, text: &str) -> bool {
        let text = text.trim();
        let head = text.get(..8).unwrap_or(text);
        self.https && !head.eq_ignore_ascii_case("https://")
    }

    /// The consequence of [`ServerUrl::forced`], and the way out.
    pub fn forced_note(&self) -> String {
        format!(
            "http:// is asked for, but {self} is used: without \"allow_http\": true it is always \
             https. Write https://, or set allow_http if keys and logs may go unencrypted"
        )
    }
}

/// A name or IPv4 address in lower case.
fn is_host(host: &str) -> bool {
    let fine = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
    let label = |label: &str| !label.is_empty() && label.len() <= 63 && label.bytes().all(fine);
    let name = host.strip_suffix('.').unwrap_or(host);
    // Numbers with dots that are no IPv4 address are a slip, not a name.
    let numeric = name.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    name.len() <= 253
        && name.split('.').all(label)
        && (!numeric || name.parse::<Ipv4Addr>().is_ok())
}

/// `https://host`, with the port unless it is the scheme's own.
impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, usual) = if self.https {
            ("https", 443)
        } else {
            ("http", 80)
        };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]", self.host)?;
        } else {
            write!(f, "{scheme}://{}", self.host)?;
        }
        if self.port != usual {
            write!(f, ":{}", self.port)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_plain_text_without_allow_http() {
        for (text, url) in [
            ("agent.x.com", "https://agent.x.com"),
            (" http://a ", "https://a"),
            ("HTTP://a", "https://a"),
            ("http://a:80/", "https://a:80"),
            ("127.0.0.1:80", "https://127.0.0.1:80"),
            ("localhost:8080", "https://localhost:8080"),
            ("a.b:443", "https://a.b"),
            ("HTTPS://H:99", "https://h:99"),
            ("https://[::1]:443", "https://[::1]"),
            ("[FE80::1]:8443/", "https://[fe80::1]:8443"),
            ("h.", "https://h."),
            ("my_host", "https://my_host"),
        ] {
            let parsed = ServerUrl::parse(text, false).unwrap();
            assert!(parsed.https, "{text}");
            assert_eq!(parsed.to_string(), url, "{text}");
        }
    }

    #[test]
    fn with_allow_http_the_address_decides() {
        for (text, url) in [
            ("http://a", "http://a"),
            ("HTTP://A:8080/", "http://a:8080"),
            ("localhost:8080", "http://localhost:8080"),
            ("https://a", "https://a"),
            ("http://[::1]:8080", "http://[::1]:8080"),
        ] {
            let parsed = ServerUrl::parse(text, true).unwrap();
            assert_eq!(parsed.to_string(), url, "{text}");
            assert!(!parsed.forced(text));
        }
        let forced = |text: &str| ServerUrl::parse(text, false).unwrap().forced(text);
        assert!(forced("http://a") && forced("a") && forced(" HTTP://a") && forced("localhost:80"));
        assert!(!forced("https://a") && !forced(" HTTPS://a:443 "));
    }

    #[test]
    fn an_address_that_could_be_taken_two_ways_is_refused() {
        for text in [
            "",
            " ",
            "https://",
            "//a",
            "ftp://a",
            "https:///",
            "https://a/b",
            "https://a?b",
            "https://u:p@a",
            "https://a:0",
            "https://a:65536",
            "https://a:",
            "https://a:+1",
            "https://a:b",
            "::1",
            "[::1",
            "[::1]x",
            "[a]",
            "https://a b",
            "https://é",
            "a..b",
            "https://http://a",
            "1.2.3",
            "256.1.1.1",
            "a\nb",
            "http:a",
            "https:/a",
        ] {
            assert!(ServerUrl::parse(text, false).is_err(), "{text}");
            assert!(ServerUrl::parse(text, true).is_err(), "{text}");
        }
        assert!(ServerUrl::parse(&"a".repeat(64), false).is_err());
    }
}
