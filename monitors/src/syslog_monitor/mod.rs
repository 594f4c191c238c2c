//! Receives syslog messages over TCP and UDP and writes them to files.
//!
//! One thread does all of it. `net` brings bytes, [`framing`] cuts them into messages, [`header`]
//! and [`template`] tell which file one goes to, [`files`] writes.

mod files;
mod framing;
mod header;
mod made;
mod options;
mod ring;
mod room;
mod server;
mod template;

use crate::monitor::{Cadence, Description, Log, Monitor, MonitorLog, Place, Setup};
use crate::net::{self, Limits, Port, Transport};
use crate::options::Options;
use crate::sink::Sink;
use crate::{Emitter, Error};
use common::rotating::Rotation;
use files::{Files, Settings};
use framing::{Framing, Rules};
use nix::sys::resource::{getrlimit, Resource};
use options::{unescape, OPTIONS};
use ring::Ring;
use serde_json::Value as Json;
use server::{Parser, Server, Setting};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use template::Template;

/// Everything about the monitor.
pub const DESCRIPTION: Description = Description {
    module: "scalyr_agent.builtin_monitors.syslog_monitor",
    text: "Receives syslog messages over TCP and UDP and writes them, one a line and otherwise as they are, to a file that the agent copies, or to a file for each host, program or sender. Its status counts messages, and those that were malformed, truncated, incomplete or lost.",
    options: OPTIONS,
    metrics: &[],
    open: false,
    log: Log::Own(logs),
    write_limit: (-1, -1),
    cadence: Cadence::Serving,
    service: None,
    make,
};

struct SyslogMonitor {
    ports: Vec<Port>,
    limits: Limits,
    setting: Setting,
    settings: Settings,
    /// How many files of how many bytes: `unique_file_log_rotation`.
    ring: Option<(u32, u64)>,
    /// For tests: where it listens.
    listening: Option<crossbeam_channel::Sender<(usize, SocketAddr)>>,
}

impl Monitor for SyslogMonitor {
    fn gather(&mut self, out: &mut Emitter) -> Result<(), Error> {
        let mut limits = self.limits.clone();
        let mut settings = self.settings.clone();
        // The rest of the agent needs files as well.
        if let Ok((soft, _)) = getrlimit(Resource::RLIMIT_NOFILE) {
            let soft = usize::try_from(soft).unwrap_or(usize::MAX);
            let wanted = (limits.connections, settings.most);
            limits.connections = limits.connections.min((soft / 2).max(1));
            settings.most = settings.most.min(soft / 4);
            let templates = self.setting.template.is_some();
            if limits.connections < wanted.0 || (templates && settings.most < wanted.1) {
                out.info(format_args!(
                    "The limit of open files is {soft}, so there can be {} connections (max_connections) and {} files (max_log_files).",
                    limits.connections, settings.most
                ));
            }
        }
        let base = self.ring.map(|(files, max_bytes)| {
            Box::new(Ring::new(&settings.base, files, max_bytes)) as Box<dyn Sink>
        });
        let files = Files::new(settings, base, out);
        let mut server = Server::new(self.setting.clone(), &self.ports, files, out);
        server.listening = self.listening.clone();
        let result = net::serve(&mut server, &self.ports, &limits, out);
        server.close(out);
        result
    }
}

fn make(setup: &Setup) -> Result<Box<dyn Monitor>, Error> {
    Ok(Box::new(build(setup)?))
}

fn build(setup: &Setup) -> Result<SyslogMonitor, Error> {
    let Setup { options, place, .. } = *setup;
    match options.text("mode") {
        "syslog" => {}
        "docker" => {
            return Err(Error::of_option(
                "mode",
                "mode \"docker\" is not offered. Use message_log_template with $APPNAME (and docker's syslog driver with --log-opt tag={{.Name}}), or follow docker's own files, /var/lib/docker/containers/*/*.log, as an entry of logs with \"parse_format\": \"json\".",
            ))
        }
        other => {
            return Err(Error::of_option("mode", format!(
                "Field \"mode\": \"{other}\" is unknown; there is \"syslog\""
            )))
        }
    }
    // None of them may be negative; some may be more than 32 bits hold.
    let number = |name| {
        let n = options.int(name)?;
        Some(usize::try_from(n).unwrap_or(usize::MAX))
    };
    let parser = match options.text("tcp_request_parser") {
        "default" => Parser::Default,
        "batch" => Parser::Batch,
        "raw" => Parser::Raw,
        other => {
            return Err(Error::of_option("tcp_request_parser", format!(
                "Field \"tcp_request_parser\": \"{other}\" is unknown; there are \"default\", \"batch\" and \"raw\""
            )))
        }
    };
    let framing = match options.text("tcp_framing") {
        "auto" => Framing::Auto,
        "octet-counted" => Framing::Counted,
        "newline" => Framing::Delimited,
        other => {
            return Err(Error::of_option("tcp_framing", format!(
                "Field \"tcp_framing\": \"{other}\" is unknown; there are \"auto\", \"octet-counted\" and \"newline\""
            )))
        }
    };
    let delimiter = match parser {
        Parser::Batch => unescape(options.text("tcp_message_delimiter"))?,
        _ => b"\n".to_vec(),
    };
    let buffer = number("tcp_buffer_size").unwrap_or(8192).max(1);
    let largest = number("max_message_size").unwrap_or(1 << 20).max(buffer);
    let short = parser == Parser::Default && !options.bool("message_size_can_exceed_tcp_buffer");
    let limit = if short { buffer } else { largest };
    let template = match options.text("message_log_template") {
        "" => None,
        text => Some(
            Template::new(text, options.text("unknown_value")).map_err(|why| {
                Error::of_option(
                    "message_log_template",
                    format!("Field \"message_log_template\" {why}"),
                )
            })?,
        ),
    };
    let seconds = |name| Duration::from_secs_f64(options.float(name).unwrap_or(0.0));
    let flush_delay = seconds("log_flush_delay");
    let idle = seconds("connection_idle_timeout");
    let incomplete = match parser {
        Parser::Default => Some(Duration::from_secs(1)),
        Parser::Raw => Some(flush_delay.max(Duration::from_millis(100))),
        Parser::Batch => number("tcp_incomplete_frame_timeout")
            .filter(|&seconds| seconds > 0)
            .map(|seconds| Duration::from_secs(seconds as u64)),
    };
    let whole = |name: &str, unit: u64| {
        let n = options.int(name).and_then(|n| u64::try_from(n).ok());
        Duration::from_secs(n.unwrap_or(0).saturating_mul(unit))
    };
    let attributes = options.json("attributes").as_object();
    let attributes = attributes.map(|map| map.iter().map(|(k, v)| (k.clone(), v.clone())));
    let id: String = setup
        .id
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    Ok(SyslogMonitor {
        ports: ports(options)?,
        limits: Limits {
            connections: number("max_connections").unwrap_or(1024),
            // The number in front of a message does not count.
            buffered: limit.saturating_add(64),
            total: number("max_buffered_bytes").unwrap_or(16 << 20),
            idle: (!idle.is_zero()).then_some(idle),
            incomplete,
            receive_buffer: number("udp_receive_buffer"),
            root: place.root.clone(),
            spare_from: net::spare_descriptors(),
        },
        setting: Setting {
            parser,
            rules: Rules {
                framing,
                delimiter,
                nul: parser == Parser::Default && framing == Framing::Auto,
                limit,
                largest,
            },
            template,
            strict: options.bool("strict_rfc3164"),
            only_in_template: options.bool("only_template_attributes"),
        },
        settings: Settings {
            log_dir: place.log_dir.clone(),
            base: base(options, place)?,
            rotation: rotation(options, place),
            flush_delay,
            expire: whole("expire_log", 1),
            most: number("max_log_files").unwrap_or(1000),
            most_bytes: options
                .int("max_total_log_size")
                .and_then(|bytes| u64::try_from(bytes).ok())
                .unwrap_or(0),
            check_every: whole("check_for_unused_logs_mins", 60).max(Duration::from_secs(1)),
            delete_after: whole("delete_unused_logs_hours", 3600),
            check_rotated: options.bool("check_rotated_timestamps"),
            list: place
                .data_dir
                .join(format!("syslog_monitor-{id}-files.json")),
            owner: format!("syslog_monitor({})", setup.id),
            parser: options.text("parser").to_owned(),
            attributes: attributes.map(Iterator::collect).unwrap_or_default(),
            rules: place.log_rules.clone(),
            followed: place.followed.clone(),
        },
        ring: ring(options, place),
        listening: None,
    })
}

/// The logs that are there from the start.
fn logs(setup: &Setup) -> Vec<MonitorLog> {
    let Ok(base) = base(setup.options, setup.place) else {
        return Vec::new();
    };
    let log = |path| MonitorLog {
        path,
        parser: setup.options.text("parser").to_owned(),
        attributes: vec![("monitor".to_owned(), Json::from("agentSyslog"))],
        like: None,
        metrics: false,
        sampled: false,
    };
    match ring(setup.options, setup.place) {
        Some((files, _)) => Ring::names(&base, files).map(log).collect(),
        None => vec![log(base)],
    }
}

fn base(options: &Options, place: &Place) -> Result<PathBuf, Error> {
    match options.text("message_log") {
        name if name.is_empty() || name.ends_with('/') => Err(Error::new(
            "Field \"message_log\" does not name a file".to_owned(),
        )),
        name => Ok(place.log_dir.join(name)),
    }
}

fn rotation(options: &Options, place: &Place) -> Rotation {
    let first = |names: [&str; 2]| names.into_iter().find_map(|name| options.int(name));
    Rotation {
        max_bytes: first(["max_log_size", "log_rotation_max_bytes"])
            .map_or(place.rotation.max_bytes, |n| u64::try_from(n).unwrap_or(0)),
        backups: first(["max_log_rotations", "log_rotation_backup_count"])
            .map_or(place.rotation.backups, |n| {
                u32::try_from(n).unwrap_or(u32::MAX)
            }),
    }
}

/// Most files of one ring.
const MOST_IN_RING: u32 = 1000;

fn ring(options: &Options, place: &Place) -> Option<(u32, u64)> {
    let Rotation { max_bytes, backups } = rotation(options, place);
    let wanted = options.bool("unique_file_log_rotation") && max_bytes > 0 && backups > 0;
    wanted.then_some((backups.min(MOST_IN_RING), max_bytes))
}

/// `protocols` and the address.
fn ports(options: &Options) -> Result<Vec<Port>, Error> {
    let remote = options.bool("accept_remote_connections");
    let address = match options.text("listen_address") {
        "" if remote => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        "" => Ipv4Addr::LOCALHOST.into(),
        text => {
            let address: IpAddr = text.trim().parse().map_err(|_| {
                Error::of_option(
                    "listen_address",
                    format!("Field \"listen_address\": \"{text}\" is not an IP address"),
                )
            })?;
            if !address.is_loopback() && !remote {
                return Err(Error::of_option("listen_address", format!(
                    "Field \"listen_address\": {address} can be reached by other hosts; set accept_remote_connections if that is what you want"
                )));
            }
            address
        }
    };
    let mut ports = Vec::new();
    for part in options.text("protocols").split(',') {
        let part = part.trim().to_lowercase();
        let unknown = || {
            Error::of_option(
                "protocols",
                format!("Unknown value '{part}' specified for SyslogServer 'protocol'."),
            )
        };
        let (name, number) = match part.split_once(':') {
            Some((name, number)) => (name.trim(), Some(number.trim())),
            None => (part.as_str(), None),
        };
        let (transport, default) = match name {
            "tcp" => (Transport::Tcp, 601),
            "udp" => (Transport::Udp, 514),
            _ => return Err(unknown()),
        };
        let number = match number {
            None => default,
            Some(text) => match text.parse::<i64>().map_err(|_| unknown())? {
                0 => default,
                n => u16::try_from(n).map_err(|_| {
                    Error::of_option(
                        "protocols",
                        format!(
                        "Field \"protocols\": port {n} in \"{part}\" is not between 1 and 65535"
                    ),
                    )
                })?,
            },
        };
        let port = Port {
            transport,
            address: SocketAddr::new(address, number),
        };
        if !ports.contains(&port) {
            ports.push(port);
        }
    }
    Ok(ports)
}

#[cfg(test)]
mod tests;
