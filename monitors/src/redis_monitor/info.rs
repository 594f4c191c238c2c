//! The answer to `INFO`: metrics of a server, and the record of its replication.

use crate::line::{Field, Value};
use crate::Emitter;
use std::time::Instant;

/// At most this many databases, and replicas, of a server are told of.
const MOST: usize = 100;

/// The text behind `key:`.
pub fn get<'a>(info: &'a str, key: &str) -> Option<&'a str> {
    info.lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))
        .map(str::trim_end)
}

/// An integer behind `key:`.
pub fn int(info: &str, key: &str) -> Option<i64> {
    get(info, key)?.parse().ok()
}

/// A member of `a=1,b=2`.
fn member<'a>(list: &'a str, name: &str) -> Option<&'a str> {
    list.split(',')
        .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

/// The number that a text is, in its own digits.
fn number(text: &str) -> Option<Value<'_>> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    (plain && text.parse::<f64>().is_ok()).then_some(Value::Raw(text))
}

/// A key of `INFO`, the metric that it becomes, a field and its value if it has one, and the text
/// for which the metric is 1 and otherwise 0, if it is no number.
type Row = (
    &'static str,
    &'static str,
    (&'static str, &'static str),
    &'static str,
);

const NONE: (&str, &str) = ("", "");

const ROWS: &[Row] = &[
    ("uptime_in_seconds", "redis.uptime", NONE, ""),
    (
        "connected_clients",
        "redis.clients",
        ("type", "connected"),
        "",
    ),
    ("blocked_clients", "redis.clients", ("type", "blocked"), ""),
    ("maxclients", "redis.clients", ("type", "max"), ""),
    (
        "total_connections_received",
        "redis.connections",
        ("type", "received"),
        "",
    ),
    (
        "rejected_connections",
        "redis.connections",
        ("type", "rejected"),
        "",
    ),
    ("total_commands_processed", "redis.commands", NONE, ""),
    ("total_error_replies", "redis.errors", NONE, ""),
    (
        "total_net_input_bytes",
        "redis.network.bytes",
        ("direction", "in"),
        "",
    ),
    (
        "total_net_output_bytes",
        "redis.network.bytes",
        ("direction", "out"),
        "",
    ),
    ("used_memory", "redis.memory", ("type", "used"), ""),
    ("used_memory_rss", "redis.memory", ("type", "rss"), ""),
    ("used_memory_peak", "redis.memory", ("type", "peak"), ""),
    (
        "used_memory_dataset",
        "redis.memory",
        ("type", "dataset"),
        "",
    ),
    ("maxmemory", "redis.memory", ("type", "max"), ""),
    (
        "mem_fragmentation_ratio",
        "redis.memory.fragmentation",
        NONE,
        "",
    ),
    ("keyspace_hits", "redis.keyspace", ("result", "hits"), ""),
    (
        "keyspace_misses",
        "redis.keyspace",
        ("result", "misses"),
        "",
    ),
    (
        "expired_keys",
        "redis.keys.removed",
        ("reason", "expired"),
        "",
    ),
    (
        "evicted_keys",
        "redis.keys.removed",
        ("reason", "evicted"),
        "",
    ),
    ("used_cpu_user", "redis.cpu", ("type", "user"), ""),
    ("used_cpu_sys", "redis.cpu", ("type", "system"), ""),
    ("latest_fork_usec", "redis.fork_time", NONE, ""),
    ("loading", "redis.loading", NONE, ""),
    (
        "rdb_changes_since_last_save",
        "redis.persistence.unsaved_changes",
        NONE,
        "",
    ),
    (
        "rdb_last_save_time",
        "redis.persistence.last_save",
        NONE,
        "",
    ),
    (
        "rdb_last_bgsave_status",
        "redis.persistence.ok",
        ("type", "rdb"),
        "ok",
    ),
    (
        "aof_last_write_status",
        "redis.persistence.ok",
        ("type", "aof"),
        "ok",
    ),
    ("connected_slaves", "redis.replication.replicas", NONE, ""),
    (
        "master_link_status",
        "redis.replication.link_up",
        NONE,
        "up",
    ),
    (
        "master_last_io_seconds_ago",
        "redis.replication.silence",
        NONE,
        "",
    ),
];

/// Emits what `extra_metrics` adds.
pub fn emit(info: &str, host: &str, out: &mut Emitter) {
    let host: Field = ("host", host.into());
    for &(key, metric, (field, text), is) in ROWS {
        let Some(found) = get(info, key) else {
            continue;
        };
        let value = match is {
            "" => number(found),
            _ => Some(i32::from(found == is).into()),
        };
        let Some(value) = value else {
            continue;
        };
        let fields = [host, (field, text.into())];
        out.emit(metric, value, &fields[..1 + usize::from(!field.is_empty())]);
    }
    let role = get(info, "role").unwrap_or_default();
    let key = match role {
        "slave" => "slave_repl_offset",
        _ => "master_repl_offset",
    };
    let own = int(info, key);
    if let Some(offset) = own {
        let role = if role == "slave" { "replica" } else { role };
        let fields = [host, ("role", role.into())];
        out.emit("redis.replication.offset", offset, &fields);
    }
    for replica in replicas(info).take(MOST) {
        let member = |name| member(replica, name);
        let (Some(ip), Some(port)) = (member("ip"), member("port")) else {
            continue;
        };
        let name = format!("{ip}:{port}");
        let fields = [host, ("replica", name.as_str().into())];
        if let (Some(own), Some(offset)) = (own, member("offset").and_then(|n| n.parse().ok())) {
            out.emit("redis.replica.behind", own.saturating_sub(offset), &fields);
        }
        if let Some(lag) = member("lag").and_then(number) {
            out.emit("redis.replica.lag", lag, &fields);
        }
        let online = i32::from(member("state") == Some("online"));
        out.emit("redis.replica.online", online, &fields);
    }
    for (db, counts) in numbered(info, "db").take(MOST) {
        let fields = [host, ("db", db.into())];
        for (name, metric) in [
            ("keys", "redis.db.keys"),
            ("expires", "redis.db.expires"),
            ("avg_ttl", "redis.db.avg_ttl"),
        ] {
            if let Some(value) = member(counts, name).and_then(number) {
                out.emit(metric, value, &fields);
            }
        }
    }
}

/// The lines `<name><number>:<text>`: what stands before the colon and behind it.
fn numbered<'a>(info: &'a str, name: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    info.lines().filter_map(move |line| {
        let (key, text) = line.trim_end().split_once(':')?;
        let digits = key.strip_prefix(name)?;
        let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        is_number.then_some((key, text))
    })
}

fn replicas(info: &str) -> impl Iterator<Item = &str> {
    numbered(info, "slave").map(|(_, text)| text)
}

/// Remembers a master's offset from sample to sample.
#[derive(Debug, Default)]
pub struct Replication {
    last: Option<(i64, Instant)>,
    id: String,
}

impl Replication {
    /// Emits the record of a master that replicates. The first sample, and the first after a change
    /// of the history, only gives what the next is compared with.
    pub fn emit(&mut self, info: &str, host: &str, out: &mut Emitter) {
        let (Some("master"), Some(offset)) = (get(info, "role"), int(info, "master_repl_offset"))
        else {
            self.last = None;
            return;
        };
        if offset == 0 {
            return;
        }
        let id = get(info, "master_replid").unwrap_or_default();
        let now = Instant::now();
        let last = self.last.replace((offset, now));
        let same = self.id == id;
        if !same {
            id.clone_into(&mut self.id);
        }
        let Some((last, then)) = last.filter(|&(last, _)| same && last <= offset) else {
            return;
        };
        let best = replicas(info)
            .filter_map(|replica| member(replica, "offset")?.parse::<i64>().ok())
            .fold(0, i64::max);
        let behind = offset.saturating_sub(best);
        let seconds = now.duration_since(then).as_secs_f64().max(0.001);
        let rate = ((offset - last) as f64 / seconds) as i64;
        let ts = super::moment(common::time::now_secs() as i64);
        let mut fields: Vec<Field> = vec![
            ("host", host.into()),
            ("ts", ts.as_str().into()),
            ("masterId", id.into()),
            ("masterOffset", offset.into()),
            (
                "connectedReplicas",
                int(info, "connected_slaves").unwrap_or(0).into(),
            ),
            ("maxReplicaOffset", best.into()),
            ("offsetDiff", behind.into()),
            ("masterOffsetDiffPerSec", rate.into()),
        ];
        if let Some(lag) = behind.checked_div(rate).or((behind == 0).then_some(0)) {
            fields.push(("replicaLagSecs", lag.into()));
        }
        out.emit("redis", "replication", &fields);
    }
}
