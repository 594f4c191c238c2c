//! The words for a TLS connection that did not come about: what is wrong, with dates and names, and
//! what to do.

use crate::time::date;
use rustls::{AlertDescription as Alert, CertificateError as Bad, Error};
use std::io;

/// Why there is no TLS connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The kind of reason.
    pub kind: Kind,
    /// One sentence, without a full stop.
    pub text: String,
}

/// Kinds of [`Trouble`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The certificate is another host's.
    Name,
    /// The certificate can't be trusted for another reason.
    Certificate,
    /// The two sides do not agree, or one of them does not speak TLS.
    Handshake,
}

/// At most this many names of a certificate are told.
const NAMES: usize = 4;

/// The reason, if the error is one of TLS. `roots` says where a root certificate is to be added.
pub fn trouble(error: &ureq::Error, roots: &str) -> Option<Trouble> {
    let error = match error {
        ureq::Error::Rustls(error) => error,
        // Errors of a handshake come wrapped
        ureq::Error::Io(error) => error.get_ref()?.downcast_ref()?,
        _ => return None,
    };
    Some(reason(error, roots))
}

/// The words for a connection that ends before the handshake does, which TLS itself has no error for.
pub fn hung_up(error: &io::Error) -> Option<&'static str> {
    match error.kind() {
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe => Some(
            "the connection was closed during the TLS handshake: the server refuses it, or what is between \
             here and there does; or the port is not one for https://",
        ),
        _ => None,
    }
}

/// The reason of an error of TLS itself.
pub fn reason(error: &Error, roots: &str) -> Trouble {
    let (kind, text) = match error {
        Error::InvalidCertificate(bad) => certificate(bad, roots),
        Error::InvalidMessage(_) | Error::InappropriateMessage { .. } => (
            Kind::Handshake,
            "what answers at this port does not speak TLS: it is one for http://, or for something else"
                .to_owned(),
        ),
        Error::AlertReceived(alert) => (
            Kind::Handshake,
            format!("the server refused the TLS handshake{} (alert {alert:?})", refusal(*alert)),
        ),
        Error::PeerIncompatible(what) => (
            Kind::Handshake,
            format!("the server has no TLS version (1.2 or 1.3) or cipher in common with this agent ({what:?})"),
        ),
        other => (Kind::Handshake, format!("TLS failed: {other}")),
    };
    Trouble { kind, text }
}

fn refusal(alert: Alert) -> &'static str {
    match alert {
        Alert::ProtocolVersion => ": it speaks neither TLS 1.2 nor 1.3",
        Alert::HandshakeFailure | Alert::InsufficientSecurity => {
            ": it has no cipher in common with this agent, or wants a client certificate, which this agent has not"
        }
        Alert::CertificateRequired | Alert::NoCertificate => {
            ": it wants a client certificate, which this agent has not"
        }
        Alert::UnrecognisedName | Alert::AccessDenied => ": it serves no host of this name",
        _ => "",
    }
}

fn certificate(bad: &Bad, roots: &str) -> (Kind, String) {
    let text = match bad {
        Bad::NotValidForNameContext {
            expected,
            presented,
        } => {
            return (
                Kind::Name,
                format!(
                    "the certificate of the server is not for {}: {}",
                    expected.to_str(),
                    names(presented)
                ),
            )
        }
        Bad::NotValidForName => {
            let text = "the certificate of the server is for another name";
            return (Kind::Name, text.to_owned());
        }
        Bad::ExpiredContext { time, not_after } => format!(
            "a certificate of the server expired on {}; the clock of this machine says {}",
            date(not_after.as_secs()),
            date(time.as_secs())
        ),
        Bad::NotValidYetContext { time, not_before } => format!(
            "a certificate of the server is not valid yet, but from {} on; the clock of this machine says {}, and is \
             probably wrong: set it",
            date(not_before.as_secs()),
            date(time.as_secs())
        ),
        // Where the dates themselves contradict each other
        Bad::Expired => {
            let now = crate::time::now_secs() as u64;
            format!(
                "a certificate of the server has expired; the clock of this machine says {}",
                date(now)
            )
        }
        Bad::UnknownIssuer => format!(
            "the certificate of the server is signed by no authority that this machine trusts: add the certificate of \
             its authority, or itself if it is self-signed, to {roots}"
        ),
        Bad::BadSignature => format!(
            "the certificate of the server is not signed by the authority that it names: {roots} may have an older \
             certificate of that authority"
        ),
        // It comes in a type of a library below
        other if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            "the server shows the certificate of an authority (CA:TRUE) as its own, as self-signed ones often are: \
             it needs one that is made with CA:FALSE"
                .to_owned()
        }
        other => format!("the certificate of the server cannot be used: {other}"),
    };
    (Kind::Certificate, text)
}

/// The names of a certificate, which the library gives as `DnsName("a.example")`.
fn names(presented: &[String]) -> String {
    if presented.is_empty() {
        return "it names no host (it has no subjectAltName)".to_owned();
    }
    let bare = |name: &String| {
        let inside = name.split_once('(').map_or(name.as_str(), |(_, rest)| rest);
        inside.trim_end_matches(')').trim_matches('"').to_owned()
    };
    let shown: Vec<String> = presented.iter().take(NAMES).map(bare).collect();
    let more = presented.len().saturating_sub(NAMES);
    let more = match more {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("it names {}{more}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(error: Error) -> String {
        let wrapped = ureq::Error::Io(io::Error::new(io::ErrorKind::InvalidData, error.clone()));
        let told = trouble(&wrapped, "ca_cert_path").unwrap();
        assert_eq!(
            trouble(&ureq::Error::Rustls(error), "ca_cert_path").unwrap(),
            told
        );
        assert!(told.text.len() <= 300, "{}", told.text.len());
        // Escaped in the log of url_monitor
        assert!(!told.text.contains('\''), "{}", told.text);
        told.text
    }

    /// Only the library can make a `ServerName`'s or a time's error, so the rest is shown by tests
    /// with a server.
    #[test]
    fn no_failure_of_tls_is_told_in_the_words_of_the_library() {
        for (error, part) in [
            (
                Error::InvalidCertificate(Bad::UnknownIssuer),
                "to ca_cert_path",
            ),
            (
                Error::InvalidCertificate(Bad::BadSignature),
                "ca_cert_path may have",
            ),
            (
                Error::InvalidCertificate(Bad::Expired),
                "has expired; the clock of this machine says 2",
            ),
            (
                Error::InvalidCertificate(Bad::NotValidForName),
                "another name",
            ),
            (
                Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType),
                "does not speak TLS: it is one for http://",
            ),
            (
                Error::AlertReceived(Alert::ProtocolVersion),
                "neither TLS 1.2 nor 1.3",
            ),
            (
                Error::AlertReceived(Alert::HandshakeFailure),
                "refused the TLS handshake",
            ),
            (
                Error::AlertReceived(Alert::CertificateRequired),
                "client certificate",
            ),
            (
                Error::AlertReceived(Alert::InternalError),
                "(alert InternalError)",
            ),
            (
                Error::PeerIncompatible(rustls::PeerIncompatible::ServerDoesNotSupportTls12Or13),
                "no TLS version (1.2 or 1.3)",
            ),
        ] {
            let text = words(error);
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn an_error_that_is_not_of_tls_is_left_to_others() {
        for error in [
            io::Error::from(io::ErrorKind::ConnectionRefused),
            io::Error::other("no TLS"),
        ] {
            assert_eq!(trouble(&ureq::Error::Io(error), ""), None);
        }
        assert_eq!(trouble(&ureq::Error::HostNotFound, ""), None);
    }

    #[test]
    fn a_certificate_s_names_are_told_as_one_writes_them_and_not_a_thousand_of_them() {
        let dns = |n: usize| format!("DnsName(\"h{n}.example\")");
        assert_eq!(names(&[]), "it names no host (it has no subjectAltName)");
        assert_eq!(
            names(&[dns(1), "IpAddress(127.0.0.1)".to_owned()]),
            "it names h1.example, 127.0.0.1"
        );
        let many: Vec<String> = (0..1000).map(dns).collect();
        assert!(names(&many).ends_with("h3.example and 996 more"));
    }
}
