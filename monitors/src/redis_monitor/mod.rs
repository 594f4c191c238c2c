//! `redis_monitor`: the slow log of Redis and Valkey servers, their replication, and what `INFO` tells.

mod host;
mod info;
mod resp;
mod slowlog;

use crate::monitor::{Cadence, Description, Log, Measure, MetricSpec, Monitor, Service, Setup};
use crate::options::{Default, Kind, OptionSpec, Options};
use crate::service::options::{
    CA_FILE, CERT_FILE, EXTRA_METRICS, KEY_FILE, PASSWORD_FILE, TLS, UNIX_SOCKET,
};
use crate::{Emitter, Error};
use host::Host;
use serde_json::Value as Json;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Its entry in the registry.
pub const DESCRIPTION: Description = Description {
    module: "scalyr_agent.builtin_monitors.redis_monitor",
    text: "Forwards the slow log of Redis and Valkey servers, on request also a record of a master's replication and, with extra_metrics, what INFO tells. Each entry of the slow log is sent once; what was there before the agent's start is not sent, nor are the commands of the monitor itself (its connections are named scalyr-agent-2). A connection is kept from sample to sample.",
    options: OPTIONS,
    metrics: METRICS,
    open: false,
    log: Log::METRICS,
    write_limit: Description::WRITE_LIMIT,
    cadence: Cadence::Sampled,
    service: Some(Service {
        entry: r#"{ module: "scalyr_agent.builtin_monitors.redis_monitor", hosts: [ { host: "localhost", port: 6379, username: "scalyr", password_file: "/etc/scalyr-agent-2/redis.password" } ] }"#,
        grants: "None of its own on a server without ACLs: requirepass's password, if there is one. With ACLs (Redis 6 and later, Valkey) this user is enough: `ACL SETUSER scalyr on >PASSWORD resetkeys -@all +info +slowlog|get +client|setname`",
    }),
    make: |setup| Ok(Box::new(RedisMonitor::new(setup)?)),
};

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        "hosts",
        Kind::Array,
        Default::None,
        "The servers: a list of objects with host (default localhost), port (6379), password, username (of an ACL user) and, for this server alone, unix_socket, password_file, tls, ca_file, cert_file and key_file. Default: one server at localhost:6379.",
    ),
    OptionSpec::new(
        "log_cluster_replication_info",
        Kind::Any,
        Default::None,
        "Whether each master that replicates writes a record of its replication.",
    ),
    OptionSpec::new(
        "lines_to_fetch",
        Kind::Int,
        Default::Int(500),
        "How many entries of the slow log are asked for at once. The server's slowlog-max-len should be at least as much.",
    )
    .at_least(10.0)
    .at_most(5000.0),
    OptionSpec::new(
        "connection_timeout",
        Kind::Int,
        Default::Int(5),
        "Seconds that a server has for everything of one sample. 0 stands for 60.",
    )
    .at_least(0.0)
    .at_most(60.0),
    OptionSpec::new(
        "connection_error_repeat_interval",
        Kind::Int,
        Default::Int(300),
        "Seconds after which the error of a server that can't be asked is written again.",
    )
    .at_least(10.0)
    .at_most(6000.0),
    OptionSpec::new(
        "utf8_warning_interval",
        Kind::Int,
        Default::Int(600),
        "Seconds after which a warning about commands that are no UTF-8 is written again; 0: there is none.",
    )
    .at_least(0.0)
    .at_most(6000.0),
    UNIX_SOCKET,
    PASSWORD_FILE,
    TLS,
    CA_FILE,
    CERT_FILE,
    KEY_FILE,
    EXTRA_METRICS,
];

/// The options of a member of `hosts`; those that the monitor has too are taken from it.
const HOST_OPTIONS: &[OptionSpec] = &[
    OptionSpec::new("host", Kind::Text, Default::Text("localhost"), ""),
    OptionSpec::new("port", Kind::Int, Default::Int(6379), "")
        .at_least(1.0)
        .at_most(65535.0),
    OptionSpec::new("username", Kind::Text, Default::None, ""),
    OptionSpec::new("password", Kind::Text, Default::None, ""),
    UNIX_SOCKET,
    PASSWORD_FILE,
    TLS,
    CA_FILE,
    CERT_FILE,
    KEY_FILE,
];

use Measure::{Counter, Gauge};

const HOST: &[&str] = &["host"];
const TYPE: &[&str] = &["host", "type"];
const REPLICA: &[&str] = &["host", "replica"];
const DB: &[&str] = &["db", "host"];

#[rustfmt::skip]
const METRICS: &[MetricSpec] = &[
    MetricSpec::new("redis", Gauge, "", &["client", "clientName", "command", "exectime", "host", "ts"],
        "\"slowlog\": an entry of the slow log. command: its arguments, as far as the server keeps them; exectime: microseconds; ts: when it began; client and clientName: with extra_metrics."),
    MetricSpec::new("redis", Gauge, "", &["connectedReplicas", "host", "masterId", "masterOffset", "masterOffsetDiffPerSec", "maxReplicaOffset", "offsetDiff", "replicaLagSecs", "ts"],
        "\"replication\", with log_cluster_replication_info, from the second sample on: a master's offset and that of the foremost replica in bytes, and how many seconds it is behind at the present rate (left out if the master stands still and the replica is behind)."),
    MetricSpec::new("redis.uptime", Gauge, "s", HOST, "Time since the server's start. This and all that follow: with extra_metrics."),
    MetricSpec::new("redis.clients", Gauge, "", TYPE, "Clients: connected, blocked, and the most that may be (max)."),
    MetricSpec::new("redis.connections", Counter, "", TYPE, "Connections: received, and rejected because of maxclients."),
    MetricSpec::new("redis.commands", Counter, "", HOST, "Commands processed."),
    MetricSpec::new("redis.errors", Counter, "", HOST, "Commands that were answered with an error."),
    MetricSpec::new("redis.network.bytes", Counter, "bytes", &["direction", "host"], "Traffic, in and out."),
    MetricSpec::new("redis.memory", Gauge, "bytes", TYPE, "Memory: used, rss, peak, dataset, and maxmemory (max; 0: no bound)."),
    MetricSpec::new("redis.memory.fragmentation", Gauge, "", HOST, "rss divided by used."),
    MetricSpec::new("redis.keyspace", Counter, "", &["host", "result"], "Keys that were looked up: hits and misses."),
    MetricSpec::new("redis.keys.removed", Counter, "", &["host", "reason"], "Keys that were expired or evicted."),
    MetricSpec::new("redis.cpu", Counter, "s", TYPE, "CPU time: user and system."),
    MetricSpec::new("redis.fork_time", Gauge, "us", HOST, "How long the last fork took."),
    MetricSpec::new("redis.loading", Gauge, "", HOST, "1 while the server loads its data."),
    MetricSpec::new("redis.persistence.unsaved_changes", Gauge, "", HOST, "Changes since the last dump."),
    MetricSpec::new("redis.persistence.last_save", Gauge, "s", HOST, "When the last dump was made, since the epoch."),
    MetricSpec::new("redis.persistence.ok", Gauge, "", TYPE, "1 if the last dump (rdb) or write to the append-only file (aof) went well, otherwise 0."),
    MetricSpec::new("redis.replication.replicas", Gauge, "", HOST, "Replicas that are connected."),
    MetricSpec::new("redis.replication.link_up", Gauge, "", HOST, "Of a replica: 1 if it is connected to its master."),
    MetricSpec::new("redis.replication.silence", Gauge, "s", HOST, "Of a replica: time since the master was heard of; -1 without a connection."),
    MetricSpec::new("redis.replication.offset", Counter, "bytes", &["host", "role"], "The server's own offset; role: master or replica."),
    MetricSpec::new("redis.replica.behind", Gauge, "bytes", REPLICA, "How far a replica is behind its master, for at most 100 replicas."),
    MetricSpec::new("redis.replica.lag", Gauge, "s", REPLICA, "Time since a replica was heard of."),
    MetricSpec::new("redis.replica.online", Gauge, "", REPLICA, "1 if a replica is in step, 0 while it is being filled."),
    MetricSpec::new("redis.db.keys", Gauge, "", DB, "Keys of a database, for at most 100 databases."),
    MetricSpec::new("redis.db.expires", Gauge, "", DB, "Keys of it that expire."),
    MetricSpec::new("redis.db.avg_ttl", Gauge, "ms", DB, "How long these have to live on average."),
];

/// The options that hold for all servers.
struct Shared {
    timeout: Duration,
    repeat: Duration,
    utf8: Duration,
    lines: i64,
    replication: bool,
    extra: bool,
    has_several: bool,
}

struct RedisMonitor {
    shared: Shared,
    hosts: Vec<Host>,
    /// Keys of `hosts` that nothing reads, to be warned about.
    unknown: Vec<String>,
}

impl RedisMonitor {
    fn new(setup: &Setup) -> Result<Self, Error> {
        let options = setup.options;
        let no_hosts = Vec::new();
        let listed = options.json("hosts").as_array().unwrap_or(&no_hosts);
        let default = Json::Object(serde_json::Map::new());
        let listed = if listed.is_empty() {
            std::slice::from_ref(&default)
        } else {
            listed
        };
        let (mut hosts, mut unknown) = (Vec::new(), Vec::new());
        for (n, host) in listed.iter().enumerate() {
            let wrong = |why: &dyn std::fmt::Display| {
                Error::of_option(
                    "hosts",
                    format!("Field \"hosts\", element {}: {why}", n + 1),
                )
            };
            let members = host.as_object().ok_or_else(|| wrong(&"it is no object"))?;
            let is_in = |specs: &[OptionSpec], key: &str| specs.iter().any(|spec| spec.name == key);
            let common = options.entry().iter().map(|(key, value)| (key, value));
            // The last of a name counts
            let entry: Vec<(String, Json)> = common
                .filter(|(key, _)| {
                    // A member's own password, and its own place, are in place of the monitor's
                    let has = |own| members.contains_key(own);
                    is_in(OPTIONS, key)
                        && !(*key == "password_file" && has("password"))
                        && !(*key == "unix_socket" && (has("host") || has("port")))
                })
                .chain(members)
                .filter(|(key, value)| is_in(HOST_OPTIONS, key) && !value.is_null())
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
            unknown.extend(
                members
                    .keys()
                    .filter(|key| !is_in(HOST_OPTIONS, key))
                    .cloned(),
            );
            let read = Options::read(HOST_OPTIONS, &entry).map_err(|e| wrong(&e))?;
            hosts.push(Host::new(&read).map_err(|e| wrong(&e))?);
        }
        let seconds = |name| {
            let seconds = options.int(name).and_then(|n| u64::try_from(n).ok());
            Duration::from_secs(seconds.unwrap_or(0))
        };
        let timeout = seconds("connection_timeout");
        Ok(RedisMonitor {
            shared: Shared {
                timeout: if timeout.is_zero() {
                    Duration::from_secs(60)
                } else {
                    timeout
                },
                repeat: seconds("connection_error_repeat_interval"),
                utf8: seconds("utf8_warning_interval"),
                lines: options.int("lines_to_fetch").unwrap_or(500),
                replication: is_true(options.json("log_cluster_replication_info")),
                extra: options.bool("extra_metrics"),
                has_several: hosts.len() > 1,
            },
            hosts,
            unknown,
        })
    }
}

/// The Python agent takes this option as it stands.
fn is_true(value: &Json) -> bool {
    match value {
        Json::Bool(yes) => *yes,
        Json::Number(n) => n.as_f64() != Some(0.0),
        Json::String(text) => text.eq_ignore_ascii_case("true"),
        _ => false,
    }
}

/// `2026-11-22 22:21:49Z`
fn moment(epoch_secs: i64) -> String {
    let mut text = common::time::date(u64::try_from(epoch_secs).unwrap_or(0));
    text.truncate(text.len() - " UTC".len());
    text.push('Z');
    text
}

impl Monitor for RedisMonitor {
    fn gather(&mut self, out: &mut Emitter) -> Result<(), Error> {
        for key in self.unknown.drain(..) {
            out.counter("unknown_keys").fetch_add(1, Relaxed);
            out.warn(format_args!(
                "Nothing reads \"{}\" in a member of \"hosts\". It is ignored.",
                key.escape_debug()
            ));
        }
        let mut failed = Vec::new();
        for host in &mut self.hosts {
            if out.stop().is_set() {
                break;
            }
            if let Err(text) = host.sample(&self.shared, out) {
                failed.push(text);
            }
        }
        if failed.is_empty() {
            return Ok(());
        }
        Err(Error::new(failed.join(" ")))
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_real;
