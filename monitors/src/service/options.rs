//! The options that several monitors of services have, under one name and with one meaning.

use crate::options::{Default, Kind, OptionSpec};
use crate::Error;
use std::time::Duration;

/// `timeout`: [`time_out`] reads it.
pub(crate) const TIMEOUT: OptionSpec = OptionSpec::new(
    "timeout",
    Kind::Float,
    Default::Float(10.0),
    "Seconds that everything of one sample may take, from looking up the name to the last byte. More than 240 are taken as 240: a monitor that is busy for 300 s is taken for one that hangs.",
)
.at_least(0.1);

/// The longest `timeout` in seconds.
const LONGEST: f64 = 240.0;

/// `tls`: [`super::Security`] reads it and the three that follow.
pub(crate) const TLS: OptionSpec = OptionSpec::new(
    "tls",
    Kind::Text,
    Default::None,
    "TLS towards the server: off; prefer: if the server offers it, without a look at its certificate; require: always, without a look at its certificate; verify: always, with a certificate that ca_file, or else the system, knows and that is for this host. Default: off. A Unix socket never has TLS.",
);

/// `ca_file`
pub(crate) const CA_FILE: OptionSpec = OptionSpec::new(
    "ca_file",
    Kind::Text,
    Default::None,
    "A PEM file of the certificates that the server's is verified by, in place of the system's.",
);

/// `cert_file`
pub(crate) const CERT_FILE: OptionSpec = OptionSpec::new(
    "cert_file",
    Kind::Text,
    Default::None,
    "A PEM file with the certificate by which the agent shows the server who it is; key_file belongs to it.",
);

/// `key_file`
pub(crate) const KEY_FILE: OptionSpec = OptionSpec::new(
    "key_file",
    Kind::Text,
    Default::None,
    "A PEM file with the private key of cert_file.",
);

/// `unix_socket`
pub(crate) const UNIX_SOCKET: OptionSpec = OptionSpec::new(
    "unix_socket",
    Kind::Text,
    Default::None,
    "The path of a Unix socket of the server, in place of host and port.",
);

/// `password_file`: [`super::Secret`] reads it.
pub(crate) const PASSWORD_FILE: OptionSpec = OptionSpec::new(
    "password_file",
    Kind::Text,
    Default::None,
    "A file that holds the password, in place of the option for it; line ends around it do not count. It is read for each connection. Only the agent's user should be able to read it.",
);

/// `extra_metrics`
pub(crate) const EXTRA_METRICS: OptionSpec = OptionSpec::new(
    "extra_metrics",
    Kind::Bool,
    Default::Bool(false),
    "Adds the metrics that the Python agent's monitor does not have; the table says which.",
);

/// The value of `timeout`.
pub(crate) fn time_out(options: &crate::options::Options) -> Duration {
    Duration::from_secs_f64(options.float("timeout").unwrap_or(10.0).min(LONGEST))
}

/// A text option that is set and not empty.
pub(crate) fn set<'a>(options: &'a crate::options::Options, name: &str) -> Option<&'a str> {
    Some(options.text(name)).filter(|text| !text.is_empty())
}

/// An error about an option, which names it.
pub(crate) fn wrong(option: &str, why: impl std::fmt::Display) -> Error {
    Error::of_option(option, format!("{option}: {why}"))
}
