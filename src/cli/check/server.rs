//! The way to each server: name, proxy, connection, certificate, clock, key.

use super::report::Report;
use crate::config::{Config, Worker};
use crate::upload::{probe_server, Check, UploadSettings, KEY_ADVICE};
use crate::util::random;
use crate::util::time::now_secs;
use crate::wire::{Envelope, EnvelopeSpec};
use crossbeam_channel::bounded;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

const CONNECT_ADVICE: &str =
    "Check the address, the firewall between here and there, and whether a proxy is \
                              needed (https_proxy).";
const DNS_WITHIN: Duration = Duration::from_secs(10);
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// Seconds by which clocks may differ before it is worth a word, and before it fails.
const CLOCKS: (f64, f64) = (5.0, 300.0);

pub(super) fn check(report: &mut Report, config: &Config) {
    if config.options.disable_send_requests {
        report.doubt(
            "disable_send_requests is set: nothing is sent",
            "Remove it from the configuration.",
        );
        return;
    }
    let mut done: Vec<&Worker> = Vec::new();
    for worker in &config.workers {
        let same = |other: &&Worker| {
            other.server == worker.server && other.api_key.expose() == worker.api_key.expose()
        };
        if !done.iter().any(same) {
            one(report, config, worker);
            done.push(worker);
        }
    }
}

fn one(report: &mut Report, config: &Config, worker: &Worker) {
    let settings = UploadSettings::new(config, worker);
    let server = &settings.server;
    if let Some(problem) = settings.roots_problem() {
        report.warn(problem, "");
    }
    let proxy = match server.https {
        true => &settings.https_proxy,
        false => &settings.http_proxy,
    };
    let proxy = proxy.as_deref().filter(|address| !address.is_empty());
    let (host, port) = match proxy.map(proxy_address) {
        None => (server.host.clone(), server.port),
        Some(Some((host, port))) => {
            report.good(format_args!(
                "{server} is reached by the proxy {host}:{port}"
            ));
            (host, port)
        }
        Some(None) => {
            let option = if server.https {
                "https_proxy"
            } else {
                "http_proxy"
            };
            report.bad(
                format_args!("the address in {option} cannot be understood"),
                "Write it as http://host:port.",
            );
            return;
        }
    };
    let Some(addresses) = resolve(report, &host, port) else {
        return;
    };
    if !connect(report, &host, &addresses) {
        return;
    }
    if server.https && !settings.verify {
        report.doubt(
            "the server's certificate is not checked (verify_server_certificate is false)",
            "Remove the option; with roots of your own name their file in ca_cert_path.",
        );
    }
    ask(report, config, worker, &settings);
}

/// Host and port of a proxy's address, without the user and password that it may hold.
fn proxy_address(address: &str) -> Option<(String, u16)> {
    let (scheme, rest) = address.split_once("://").unwrap_or(("http", address));
    let authority = rest.split('/').next()?;
    let host_port = authority.rsplit('@').next()?;
    let default = match scheme {
        "https" => 443,
        s if s.starts_with("socks") => 1080,
        _ => 80,
    };
    let (host, port) = match host_port.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
        _ => (host_port, default),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

fn resolve(report: &mut Report, host: &str, port: u16) -> Option<Vec<SocketAddr>> {
    let started = Instant::now();
    let found = report.wait(&format!("looking up {host}"), || {
        let (tx, rx) = bounded(1);
        let name = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let thread = std::thread::Builder::new().name("resolve".to_owned());
        // The lookup can't be interrupted; a late answer is dropped
        let spawned = thread.spawn(move || {
            let found = (name.as_str(), port).to_socket_addrs();
            let _ = tx.send(found.map(Iterator::collect::<Vec<_>>));
        });
        spawned.ok().and_then(|_| rx.recv_timeout(DNS_WITHIN).ok())
    });
    let took = started.elapsed().as_millis();
    match found {
        Some(Ok(addresses)) if !addresses.is_empty() => {
            let ips: Vec<String> = addresses.iter().map(|a| a.ip().to_string()).collect();
            report.good(format_args!(
                "the name {host} leads to {} ({took} ms)",
                ips.join(", ")
            ));
            Some(addresses)
        }
        Some(Ok(_)) => {
            report.bad(
                format_args!("the name {host} leads to no address"),
                "Check scalyr_server.",
            );
            None
        }
        Some(Err(e)) => {
            let todo = "Check the name, /etc/resolv.conf, and that the name server can be reached.";
            report.bad(
                format_args!("the name {host} can't be looked up: {e}"),
                todo,
            );
            None
        }
        None => {
            let todo = "Check /etc/resolv.conf: the name server does not answer.";
            report.bad(
                format_args!(
                    "no answer about the name {host} within {} s",
                    DNS_WITHIN.as_secs()
                ),
                todo,
            );
            None
        }
    }
}

fn connect(report: &mut Report, host: &str, addresses: &[SocketAddr]) -> bool {
    let mut why = String::new();
    for address in addresses {
        let started = Instant::now();
        let result = report.wait(&format!("connecting to {address}"), || {
            TcpStream::connect_timeout(address, CONNECT_WITHIN)
        });
        match result {
            Ok(_) => {
                let took = started.elapsed().as_millis();
                report.good(format_args!("{address} takes connections ({took} ms)"));
                return true;
            }
            Err(e) => why = format!("{address}: {e}"),
        }
    }
    report.bad(
        format_args!("{host} can't be reached: {why}"),
        CONNECT_ADVICE,
    );
    false
}

fn ask(report: &mut Report, config: &Config, worker: &Worker, settings: &UploadSettings) {
    let session = random::session_id();
    let envelope = Envelope::new(EnvelopeSpec {
        form: settings.form,
        token: worker.api_key.expose(),
        session: &session,
        session_info: None,
        repeat_log_attributes: config.options.repeat_log_attributes,
        without_logs: config.options.disable_logfile_addevents_format,
    });
    let server = &settings.server;
    let started = Instant::now();
    let probe = report.wait(&format!("an empty request to {server}"), || {
        probe_server(settings, &envelope)
    });
    let took = started.elapsed();
    if let Some(server_time) = probe.server_time {
        clock(
            report,
            server_time as f64 - (now_secs() - took.as_secs_f64() / 2.0),
        );
    }
    let whose = match config.workers.len() {
        1 => "the API key".to_owned(),
        _ => format!("the API key of worker {}", worker.id),
    };
    match probe.check {
        Check::Good => report.good(format_args!(
            "{server} takes requests with {whose} ({} ms)",
            took.as_millis()
        )),
        Check::BadKey(text) => {
            report.bad(format_args!("{server} refuses {whose}: {text}"), KEY_ADVICE);
        }
        Check::BadClock(text) => report.bad(
            format_args!("{server} says that this clock is wrong: {text}"),
            "Set the clock, or let chrony, ntpd or systemd-timesyncd do it.",
        ),
        Check::Trouble(text) => report.bad(format_args!("{server}: {text}"), advice(&text)),
    }
}

fn clock(report: &mut Report, ahead: f64) {
    let off = ahead.abs();
    let way = if ahead > 0.0 { "behind" } else { "ahead of" };
    let todo =
        "Set the clock, or let chrony, ntpd or systemd-timesyncd do it: events carry its time.";
    if off > CLOCKS.1 {
        report.bad(
            format_args!("this clock is {off:.0} s {way} the server's"),
            todo,
        );
    } else if off > CLOCKS.0 {
        report.doubt(
            format_args!("this clock is {off:.0} s {way} the server's"),
            todo,
        );
    } else {
        report.good("this clock and the server's agree");
    }
}

/// Advice for a failed request, by its error: the code first, and for TLS the words of the library,
/// which has one code for all.
pub(in crate::cli) fn advice(text: &str) -> &'static str {
    const CA_FILE: &str =
        "Mend ca_cert_path: it names a file of certificates in PEM form that the agent's \
                           user may read.";
    const ADVICE: [(&str, &str); 14] = [
        (
            "hostnamevalidation",
            "The certificate is another host's: check scalyr_server, and what intercepts TLS in between.",
        ),
        (
            "expired",
            "The certificate is too old: it has to be renewed on the server; or this machine's clock is ahead.",
        ),
        (
            "not valid yet",
            "Set the clock, or let chrony, ntpd or systemd-timesyncd do it; if it is right, that of who made the \
             certificate was ahead.",
        ),
        (
            "root certificates from",
            CA_FILE,
        ),
        (
            "holds no certificate",
            CA_FILE,
        ),
        (
            "ca:true",
            "The server shows the certificate of an authority as its own: it needs one for its name that is \
             no authority (CA:FALSE), signed by a root in ca_cert_path.",
        ),
        (
            "does not speak tls",
            "Check the port and http:// or https:// in scalyr_server, and that https_proxy is a proxy.",
        ),
        (
            " tls ",
            "Look which versions and ciphers of TLS the server allows, whether it wants a client certificate, and \
             whether a proxy is needed (https_proxy).",
        ),
        (
            "sslerror",
            "The certificate is not trusted: update the system's root certificates (package ca-certificates), \
             or name your own roots in ca_cert_path. If those are right, the server does not send its intermediate certificates.",
        ),
        (
            "perhaps the api key",
            KEY_ADVICE,
        ),
        (
            "http 401",
            KEY_ADVICE,
        ),
        (
            "http 403",
            "Something between here and there, such as a proxy or a firewall, forbids the request; or \
             scalyr_server is not the ingest address.",
        ),
        (
            "connect",
            CONNECT_ADVICE,
        ),
        (
            "no answer",
            "Something between here and there swallows the request: a firewall, a proxy that is needed or one \
             that is not. Or the port is one for https://.",
        ),
    ];
    let text = text.to_lowercase();
    let fits = ADVICE.iter().find(|(word, _)| text.contains(word));
    fits.map_or("", |(_, advice)| advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxys_password_is_left_out() {
        for (address, host, port) in [
            ("http://user:secret@proxy.local:3128", "proxy.local", 3128),
            ("proxy.local", "proxy.local", 80),
            ("socks5://10.0.0.1", "10.0.0.1", 1080),
            ("http://[::1]:8080/", "::1", 8080),
            ("https://u:p@h", "h", 443),
        ] {
            assert_eq!(proxy_address(address), Some((host.to_owned(), port)));
        }
        assert_eq!(proxy_address("http://"), None);
        assert_eq!(proxy_address("http://h:port"), None);
    }

    #[test]
    fn each_failure_of_tls_has_an_advice_of_its_own() {
        let failed = "cannot connect (client/connectionFailedSSLError): ";
        for (why, word) in [
            (
                "a certificate of the server expired on 2011-02-03",
                "too old",
            ),
            ("a certificate of the server has expired;", "too old"),
            (
                "a certificate of the server is not valid yet, but",
                "Set the clock",
            ),
            (
                "signed by no authority that this machine trusts",
                "not trusted",
            ),
            (
                "the certificate of an authority (CA:TRUE) as its own",
                "no authority",
            ),
            (
                "what answers at this port does not speak TLS: it is",
                "Check the port",
            ),
            ("the server refused the TLS handshake", "which versions"),
            ("closed during the TLS handshake", "which versions"),
            ("has no TLS version (1.2 or 1.3)", "which versions"),
            (
                "cannot read root certificates from /x: Permission denied",
                "ca_cert_path",
            ),
            ("/etc/passwd holds no certificate", "Mend ca_cert_path"),
        ] {
            let told = advice(&format!("{failed}{why}"));
            assert!(told.contains(word), "{why}: {told}");
        }
        assert!(advice("HTTP 500").is_empty());
        for (text, word) in [
            (
                "cannot connect (client/connectionFailed): timeout: connect",
                "firewall",
            ),
            (
                "cannot connect (client/connectionFailedConnRefused): Connection refused",
                "firewall",
            ),
            ("no answer: the server was silent for too long", "swallows"),
            (
                "the server's answer (HTTP 403) is not a JSON object",
                "forbids",
            ),
            ("the server's answer (HTTP 401) is empty", "write logs"),
            (
                "the server refuses the request, perhaps the API key is wrong",
                "write logs",
            ),
        ] {
            let told = advice(text);
            assert!(told.contains(word), "{text}: {told}");
        }
    }
}
