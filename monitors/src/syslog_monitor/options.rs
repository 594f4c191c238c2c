//! The options of the monitor, and those that are ours.

use crate::options::{Default as D, Kind, OptionSpec};
use crate::Error;

const DOCKER: &str = "Accepted for compatibility; there is no docker mode.";

/// All of them, in the order of the reference page.
pub const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        "protocols",
        Kind::Text,
        D::Text("tcp"),
        "Where to listen: a list such as \"tcp:601, udp:514\". Without a number, or with 0, tcp is port 601 and udp is port 514.",
    ),
    OptionSpec::new(
        "accept_remote_connections",
        Kind::Bool,
        D::Bool(false),
        "Whether other hosts may send. By default the ports are open on 127.0.0.1 only, with true on all IPv4 interfaces. Senders are not authenticated: allow it only where a firewall or the network decides who can reach the port.",
    ),
    OptionSpec::new(
        "listen_address",
        Kind::Text,
        D::None,
        "The IP address to listen on instead, IPv6 included (\"::\" for all interfaces, IPv6 and IPv4). One that is not loopback needs accept_remote_connections.",
    ),
    OptionSpec::new(
        "message_log",
        Kind::Text,
        D::Text("agent_syslog.log"),
        "The file that messages are written to, relative to agent_log_path.",
    ),
    OptionSpec::new(
        "message_log_template",
        Kind::Text,
        D::None,
        "Writes messages to different files, e.g. \"syslog-$HOSTNAME-$APPNAME.log\", relative to agent_log_path. Variables: $PROTO, $SRCIP, $DESTPORT, $HOSTNAME, $APPNAME, also as ${NAME}; $$ is a dollar. An entry of logs has to match the path, e.g. with * for each variable; it gives the file its parser, attributes and rules. Messages for other files go to message_log. What comes from the network is made harmless: such names cannot leave their directory.",
    ),
    OptionSpec::new(
        "parser",
        Kind::Text,
        D::Text("agentSyslog"),
        "The server's parser for message_log, and for files of message_log_template whose entry of logs names none.",
    ),
    OptionSpec::new(
        "attributes",
        Kind::Object,
        D::EmptyObject,
        "Attributes of the files of message_log_template; those of the entry of logs come on top.",
    ),
    OptionSpec::new(
        "tcp_buffer_size",
        Kind::Int,
        D::Int(8192),
        "Longest TCP message in bytes; longer ones are written in pieces of this size.",
    )
    .at_least(1.0)
    .at_most(67_108_864.0),
    OptionSpec::new(
        "message_size_can_exceed_tcp_buffer",
        Kind::Bool,
        D::Bool(false),
        "Allows TCP messages of up to max_message_size with the parser \"default\", too.",
    ),
    OptionSpec::new(
        "max_message_size",
        Kind::Int,
        D::Int(1_048_576),
        "Longest TCP message in bytes where tcp_buffer_size does not count: with the parsers \"batch\" and \"raw\" and with message_size_can_exceed_tcp_buffer. A larger number in front of a message is not taken for its length.",
    )
    .at_least(1024.0)
    .at_most(67_108_864.0),
    OptionSpec::new(
        "tcp_request_parser",
        Kind::Text,
        D::Text("default"),
        "\"default\": a message ends at a line break or after the number of bytes in front of it (RFC 6587), and is trimmed. \"batch\": the same with tcp_message_delimiter, trimming only the beginning and the end of what was read at once. \"raw\": bytes are written as they come, in whole lines.",
    ),
    OptionSpec::new(
        "tcp_framing",
        Kind::Text,
        D::Text("auto"),
        "How TCP messages are told apart. \"auto\": a number in front is a length if \"<\" follows, or if a message of that length fits there; otherwise a message ends at the delimiter, and with the parser \"default\" also at a NUL that \"<\" and a digit follow, or nothing for a second. \"octet-counted\": all have a number. \"newline\": none has.",
    ),
    OptionSpec::new(
        "tcp_message_delimiter",
        Kind::Text,
        D::Text("\\n"),
        "What ends a message with the parser \"batch\"; backslash escapes such as \\n, \\x1e or \\000 are decoded.",
    ),
    OptionSpec::new(
        "tcp_incomplete_frame_timeout",
        Kind::Int,
        D::Int(5),
        "Seconds after which the parser \"batch\" writes a message that is not complete; 0 for never.",
    )
    .at_least(0.0)
    .at_most(600.0),
    OptionSpec::new(
        "max_connections",
        Kind::Int,
        D::Int(1024),
        "TCP connections at one time on all ports; further ones are closed at once. At most half of the limit of open files, of which the last eighth, at least 16, is left to the rest of the agent.",
    )
    .at_least(1.0)
    .at_most(100_000.0),
    OptionSpec::new(
        "max_buffered_bytes",
        Kind::Int,
        D::Int(16_777_216),
        "Most memory for incomplete messages of all connections; beyond it they are written as they are.",
    )
    .at_least(65536.0),
    OptionSpec::new(
        "connection_idle_timeout",
        Kind::Float,
        D::Float(0.0),
        "Seconds without a complete message after which a TCP connection is closed; 0 for never. Connections of hosts that vanished end after some minutes in any case.",
    )
    .at_least(0.0)
    .at_most(1e9),
    OptionSpec::new(
        "udp_receive_buffer",
        Kind::Int,
        D::None,
        "The kernel's receive buffer for UDP in bytes, against losses in bursts; default: the system's (net.core.rmem_default). More than net.core.rmem_max needs CAP_NET_ADMIN.",
    )
    .at_least(1024.0)
    .at_most(1_073_741_824.0),
    OptionSpec::new(
        "max_log_size",
        Kind::Int,
        D::None,
        "Size in bytes at which a file is rotated, 0 for never; default: log_rotation_max_bytes.",
    )
    .at_least(0.0),
    OptionSpec::new(
        "max_log_rotations",
        Kind::Int,
        D::None,
        "How many rotated files are kept; default: log_rotation_backup_count. With 0 files are not rotated and grow without bound.",
    )
    .at_least(0.0),
    OptionSpec::new(
        "log_flush_delay",
        Kind::Float,
        D::Float(1.0),
        "Longest time in seconds that messages are held back to be written together; 0: not at all. It holds for all files.",
    )
    .at_least(0.0)
    .at_most(3600.0),
    OptionSpec::new(
        "unique_file_log_rotation",
        Kind::Bool,
        D::Bool(false),
        "Rotates message_log without renaming: message_log.0, .1, … are written in turn, as many as max_log_rotations says. Needs both limits to be more than 0.",
    ),
    OptionSpec::new(
        "expire_log",
        Kind::Int,
        D::Int(300),
        "Seconds without a message after which a file of message_log_template is closed and no longer watched.",
    )
    .at_least(1.0)
    .at_most(1e9),
    OptionSpec::new(
        "max_log_files",
        Kind::Int,
        D::Int(1000),
        "Files of message_log_template that may be open at one time; ten times as many may exist. Messages for further files go to message_log and are counted as messages_without_room. At most a quarter of the limit of open files.",
    )
    .at_least(0.0)
    .at_most(1e6),
    OptionSpec::new(
        "max_total_log_size",
        Kind::Int,
        D::Int(536_870_912),
        "Bytes of all files of message_log_template together, rotated ones included; 0 for no bound. From three quarters of it on, rotated and closed files are deleted, the oldest first, but only those whose lines are all delivered. Where that does not suffice, as in a long outage, nothing is deleted: messages go to message_log and are counted as messages_without_room. Files that were closed before the agent was last started are deleted by age only.",
    )
    .at_least(0.0),
    OptionSpec::new(
        "check_for_unused_logs_mins",
        Kind::Int,
        D::Int(60),
        "Minutes between two searches for files to delete.",
    )
    .at_least(0.0)
    .at_most(1e6),
    OptionSpec::new(
        "delete_unused_logs_hours",
        Kind::Int,
        D::Int(24),
        "Files of message_log_template that were not written for so many hours are deleted, but only those that this monitor made.",
    )
    .at_least(0.0)
    .at_most(1e6),
    OptionSpec::new(
        "check_rotated_timestamps",
        Kind::Bool,
        D::Bool(true),
        "Whether rotated files are deleted by their own age; false: together with the file that they come from.",
    ),
    OptionSpec::new(
        "unknown_value",
        Kind::Text,
        D::Text("None"),
        "What stands in file names for a $HOSTNAME or $APPNAME that a message does not have.",
    ),
    OptionSpec::new(
        "only_template_attributes",
        Kind::Bool,
        D::Bool(false),
        "Gives a file of message_log_template only those of the attributes proto, srcip, destport, hostname and appname whose variables are in the template. Otherwise the others are those of the first message that the file got.",
    ),
    OptionSpec::new(
        "strict_rfc3164",
        Kind::Bool,
        D::Bool(false),
        "Looks for host and program only in RFC 3164 headers of messages of up to 1024 bytes, as the Python agent did; messages with RFC 5424 headers then have neither.",
    ),
    OptionSpec::new(
        "mode",
        Kind::Text,
        D::Text("syslog"),
        "Only \"syslog\". Instead of \"docker\" use message_log_template with $APPNAME, or follow docker's json-file logs as logs with parse_format.",
    ),
    OptionSpec::new("docker_regex", Kind::Any, D::None, DOCKER).not_yet(),
    OptionSpec::new("docker_regex_full", Kind::Any, D::None, DOCKER).not_yet(),
    OptionSpec::new("docker_expire_log", Kind::Any, D::None, DOCKER).not_yet(),
    OptionSpec::new("docker_accept_ips", Kind::Any, D::None, DOCKER).not_yet(),
    OptionSpec::new("docker_api_socket", Kind::Any, D::None, DOCKER).not_yet(),
    OptionSpec::new("docker_api_version", Kind::Any, D::None, DOCKER).not_yet(),
    OptionSpec::new("docker_logfile_template", Kind::Any, D::None, DOCKER).not_yet(),
    OptionSpec::new("docker_cid_cache_lifetime_secs", Kind::Any, D::None, DOCKER).not_yet(),
    OptionSpec::new("docker_cid_clean_time_secs", Kind::Any, D::None, DOCKER).not_yet(),
    OptionSpec::new("docker_use_daemon_to_resolve", Kind::Any, D::None, DOCKER).not_yet(),
    OptionSpec::new("docker_check_for_unused_logs_mins", Kind::Any, D::None, DOCKER).not_yet(),
    OptionSpec::new("docker_delete_unused_logs_hours", Kind::Any, D::None, DOCKER).not_yet(),
    OptionSpec::new("docker_check_rotated_timestamps", Kind::Any, D::None, DOCKER).not_yet(),
];

/// Decodes `\n`, `\t`, `\r`, `\0` and other octal ones, `\xHH`, `\\` and quotes.
pub fn unescape(text: &str) -> Result<Vec<u8>, Error> {
    let wrong = |what: &str| {
        Err(Error::of_option(
            "tcp_message_delimiter",
            format!("Field \"tcp_message_delimiter\": {what}"),
        ))
    };
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        let Some((&kind, behind)) = rest.split_first() else {
            return wrong("there is nothing behind the last backslash");
        };
        rest = behind;
        let byte = match kind {
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'a' => 7,
            b'b' => 8,
            b'f' => 12,
            b'v' => 11,
            b'\\' | b'\'' | b'"' => kind,
            b'0'..=b'7' => {
                let mut value = u32::from(kind - b'0');
                for _ in 0..2 {
                    match rest.split_first() {
                        Some((&digit @ b'0'..=b'7', behind)) => {
                            value = value * 8 + u32::from(digit - b'0');
                            rest = behind;
                        }
                        _ => break,
                    }
                }
                match u8::try_from(value) {
                    Ok(byte) => byte,
                    Err(_) => return wrong("an octal escape is larger than \\377"),
                }
            }
            b'x' => {
                let hex = rest.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
                match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
                    Some(byte) => {
                        rest = &rest[2..];
                        byte
                    }
                    None => return wrong("\\x needs two hexadecimal digits"),
                }
            }
            // As it stands.
            other => {
                bytes.push(b'\\');
                other
            }
        };
        bytes.push(byte);
    }
    if bytes.is_empty() {
        return wrong("must not be empty");
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delimiters_are_decoded_as_they_were() {
        for (text, bytes) in [
            (r"\n", &b"\n"[..]),
            (r"\000", b"\0"),
            (r"\0|", b"\0|"),
            (r"\x1e\r\\", b"\x1e\r\\"),
            ("||", b"||"),
            (r"\q", b"\\q"),
        ] {
            assert_eq!(unescape(text).unwrap(), bytes, "{text}");
        }
        for text in ["", "\\", r"\x1", r"\xgg", r"\777"] {
            assert!(unescape(text).is_err(), "{text}");
        }
    }
}
