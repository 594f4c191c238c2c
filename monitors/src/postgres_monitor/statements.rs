//! The statements of a sample, and the metrics that their results become.

use super::wire::Table;
use crate::line::{Field, Value};
use crate::Emitter;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

/// A statement and what becomes of its result.
pub struct Statement {
    /// The name for messages.
    pub what: &'static str,
    /// The first major version that has what it asks for; 0 for all.
    pub since: u32,
    /// Only with `extra_metrics`.
    pub is_extra: bool,
    pub sql: &'static str,
    pub emit: fn(&Table, &mut Emitter),
}

/// How far the server's own log reaches, or of a standby what it has replayed.
macro_rules! here {
    () => {
        "CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END"
    };
}

/// All of them, in the order of their lines.
pub const ALL: &[Statement] = &[
    Statement {
        what: "pg_database_size()",
        since: 0,
        is_extra: false,
        sql: "SELECT pg_database_size(current_database()) AS size",
        emit: |table, out| columns(table, 0, &[("size", "postgres.database.size", NONE)], &[], out),
    },
    Statement {
        what: "pg_stat_database",
        since: 0,
        is_extra: false,
        sql: "SELECT *, extract(epoch FROM stats_reset) * 1000 AS stats_reset_ms FROM pg_stat_database WHERE datname = current_database()",
        emit: |table, out| columns(table, 0, DATABASE, &[], out),
    },
    Statement {
        what: "pg_stat_activity",
        since: 10,
        is_extra: true,
        sql: "SELECT state, count(*) AS n, count(*) FILTER (WHERE wait_event_type = 'Lock') AS waiting, \
              max(extract(epoch FROM clock_timestamp() - xact_start)) AS longest, \
              current_setting('max_connections') AS most, \
              pg_has_role('pg_read_all_stats', 'usage') AS sees_all FROM pg_stat_activity \
              WHERE coalesce(backend_type, 'client backend') = 'client backend' GROUP BY state LIMIT 20",
        emit: activity,
    },
    Statement {
        what: "pg_stat_bgwriter",
        since: 10,
        is_extra: true,
        sql: "SELECT * FROM pg_stat_bgwriter",
        emit: |table, out| columns(table, 0, WRITER, &[], out),
    },
    Statement {
        what: "pg_stat_checkpointer",
        since: 17,
        is_extra: true,
        sql: "SELECT * FROM pg_stat_checkpointer",
        emit: |table, out| columns(table, 0, CHECKPOINTER, &[], out),
    },
    Statement {
        what: "pg_stat_io",
        since: 16,
        is_extra: true,
        sql: "SELECT * FROM pg_stat_io LIMIT 500",
        emit: io,
    },
    Statement {
        what: "pg_stat_replication",
        since: 10,
        is_extra: true,
        sql: concat!(
            "SELECT application_name, host(client_addr) AS client, state = 'streaming' AS streaming, \
             pg_wal_lsn_diff(here, sent_lsn) AS sent, pg_wal_lsn_diff(here, replay_lsn) AS replayed, \
             extract(epoch FROM replay_lag) AS lag FROM (SELECT *, ", here!(), " AS here FROM pg_stat_replication) r LIMIT 100"
        ),
        emit: replicas,
    },
    Statement {
        what: "the state of the standby",
        since: 10,
        is_extra: true,
        sql: "SELECT pg_is_in_recovery() AS standby, \
              CASE WHEN NOT pg_is_in_recovery() THEN NULL \
              WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0.0 \
              ELSE extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) END AS delay, \
              CASE WHEN pg_is_in_recovery() THEN pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) END AS behind",
        emit: |table, out| columns(table, 0, STANDBY, &[], out),
    },
    Statement {
        what: "pg_replication_slots",
        since: 10,
        is_extra: true,
        sql: concat!(
            "SELECT *, pg_wal_lsn_diff(", here!(), ", restart_lsn) AS retained FROM pg_replication_slots LIMIT 100"
        ),
        emit: slots,
    },
];

/// A column, its metric, and a field with its value if the metric has one.
type Column = (&'static str, &'static str, (&'static str, &'static str));

const NONE: (&str, &str) = ("", "");

#[rustfmt::skip]
const DATABASE: &[Column] = &[
    ("numbackends", "postgres.database.connections", NONE),
    ("xact_commit", "postgres.database.transactions", ("result", "committed")),
    ("xact_rollback", "postgres.database.transactions", ("result", "rolledback")),
    ("blks_read", "postgres.database.disk_blocks", ("type", "read")),
    ("blks_hit", "postgres.database.disk_blocks", ("type", "hit")),
    ("tup_returned", "postgres.database.query_rows", ("op", "returned")),
    ("tup_fetched", "postgres.database.query_rows", ("op", "fetched")),
    ("tup_inserted", "postgres.database.query_rows", ("op", "inserted")),
    ("tup_updated", "postgres.database.query_rows", ("op", "updated")),
    ("tup_deleted", "postgres.database.query_rows", ("op", "deleted")),
    ("temp_files", "postgres.database.temp_files", NONE),
    ("temp_bytes", "postgres.database.temp_bytes", NONE),
    ("deadlocks", "postgres.database.deadlocks", NONE),
    ("blk_read_time", "postgres.database.blocks_op_time", ("op", "read")),
    ("blk_write_time", "postgres.database.blocks_op_time", ("op", "write")),
    ("stats_reset_ms", "postgres.database.stats_reset", NONE),
];

/// Of `pg_stat_bgwriter`; up to version 16 it has the checkpointer's too.
#[rustfmt::skip]
const WRITER: &[Column] = &[
    ("checkpoints_timed", "postgres.checkpoints", ("type", "timed")),
    ("checkpoints_req", "postgres.checkpoints", ("type", "requested")),
    ("checkpoint_write_time", "postgres.checkpoint_time", ("op", "write")),
    ("checkpoint_sync_time", "postgres.checkpoint_time", ("op", "sync")),
    ("buffers_checkpoint", "postgres.buffers_written", ("by", "checkpointer")),
    ("buffers_clean", "postgres.buffers_written", ("by", "bgwriter")),
    ("buffers_backend", "postgres.buffers_written", ("by", "backends")),
    ("buffers_alloc", "postgres.buffers_allocated", NONE),
    ("maxwritten_clean", "postgres.bgwriter_halts", NONE),
];

#[rustfmt::skip]
const CHECKPOINTER: &[Column] = &[
    ("num_timed", "postgres.checkpoints", ("type", "timed")),
    ("num_requested", "postgres.checkpoints", ("type", "requested")),
    ("num_done", "postgres.checkpoints", ("type", "done")),
    ("restartpoints_timed", "postgres.checkpoints", ("type", "restart_timed")),
    ("restartpoints_req", "postgres.checkpoints", ("type", "restart_requested")),
    ("restartpoints_done", "postgres.checkpoints", ("type", "restart_done")),
    ("write_time", "postgres.checkpoint_time", ("op", "write")),
    ("sync_time", "postgres.checkpoint_time", ("op", "sync")),
    ("buffers_written", "postgres.buffers_written", ("by", "checkpointer")),
];

#[rustfmt::skip]
const IO: &[Column] = &[
    ("reads", "postgres.io", ("op", "read")),
    ("writes", "postgres.io", ("op", "write")),
    ("writebacks", "postgres.io", ("op", "writeback")),
    ("extends", "postgres.io", ("op", "extend")),
    ("hits", "postgres.io", ("op", "hit")),
    ("evictions", "postgres.io", ("op", "evict")),
    ("reuses", "postgres.io", ("op", "reuse")),
    ("fsyncs", "postgres.io", ("op", "fsync")),
    ("read_bytes", "postgres.io.bytes", ("op", "read")),
    ("write_bytes", "postgres.io.bytes", ("op", "write")),
    ("extend_bytes", "postgres.io.bytes", ("op", "extend")),
    ("read_time", "postgres.io.time", ("op", "read")),
    ("write_time", "postgres.io.time", ("op", "write")),
    ("writeback_time", "postgres.io.time", ("op", "writeback")),
    ("extend_time", "postgres.io.time", ("op", "extend")),
    ("fsync_time", "postgres.io.time", ("op", "fsync")),
];

const REPLICA: &[Column] = &[
    ("streaming", "postgres.replica.streaming", NONE),
    ("sent", "postgres.replica.behind", ("stage", "sent")),
    ("replayed", "postgres.replica.behind", ("stage", "replayed")),
    ("lag", "postgres.replica.lag", NONE),
];

const STANDBY: &[Column] = &[
    ("standby", "postgres.standby", NONE),
    ("delay", "postgres.standby.delay", NONE),
    ("behind", "postgres.standby.behind", NONE),
];

const SLOT: &[Column] = &[
    ("active", "postgres.slot.active", NONE),
    ("retained", "postgres.slot.retained", NONE),
    ("safe_wal_size", "postgres.slot.safe", NONE),
];

/// The number in a cell: a float if its type is one or if it has a fraction; 1 and 0 for booleans.
fn number((text, is_float): (&str, bool)) -> Option<Value<'_>> {
    match text {
        "t" => return Some(1.into()),
        "f" => return Some(0.into()),
        _ => {}
    }
    if !is_float && !text.contains('.') {
        if let Ok(n) = text.parse::<i64>() {
            return Some(n.into());
        }
    }
    // NaN and Infinity are no numbers for the server that gets them
    let x = text.parse::<f64>().ok().filter(|x| x.is_finite())?;
    Some(x.into())
}

/// Emits a row's columns; those that are null or that this version has not are left out.
fn columns(table: &Table, row: usize, list: &[Column], of: &[Field], out: &mut Emitter) {
    for &(column, metric, (field, text)) in list {
        let Some(value) = table.cell(row, column).and_then(number) else {
            continue;
        };
        let mut fields = of.to_vec();
        if !field.is_empty() {
            fields.push((field, text.into()));
        }
        out.emit(metric, value, &fields);
    }
}

/// States that are told of even if no session is in one.
const STATES: [&str; 4] = [
    "active",
    "idle",
    "idle in transaction",
    "idle in transaction (aborted)",
];

fn activity(table: &Table, out: &mut Emitter) {
    let (mut waiting, mut longest) = (0, 0.0f64);
    let rows = 0..table.rows();
    for state in STATES {
        if !rows.clone().any(|row| table.text(row, "state") == state) {
            out.emit("postgres.activity", 0, &[("state", state.into())]);
        }
    }
    for row in rows {
        let state = table.cell(row, "state").map_or("unknown", |(text, _)| text);
        if let Some(n) = table.cell(row, "n").and_then(number) {
            out.emit("postgres.activity", n, &[("state", state.into())]);
        }
        waiting += table.text(row, "waiting").parse().unwrap_or(0i64);
        longest = longest.max(table.text(row, "longest").parse().unwrap_or(0.0));
    }
    out.emit("postgres.activity.waiting", waiting, &[]);
    out.emit("postgres.activity.longest_transaction", longest, &[]);
    if let Some(most) = table.cell(0, "most").and_then(number) {
        out.emit("postgres.activity.max_connections", most, &[]);
    }
    if table.text(0, "sees_all") == "f" && out.once_in(HOUR, "pg_monitor") {
        out.warn(format_args!(
            "What other users' sessions and replicas do is hidden from this user. Let it see that: {}",
            super::GRANT
        ));
    }
}

fn io(table: &Table, out: &mut Emitter) {
    for row in 0..table.rows() {
        let text = |column| Value::Text(table.text(row, column));
        let fields = [
            ("backend", text("backend_type")),
            ("context", text("context")),
            ("object", text("object")),
        ];
        // Most of some 500 numbers never move
        let is_used = |column: &&Column| {
            let cell = table.cell(row, column.0);
            cell.is_some_and(|(text, _)| text != "0")
        };
        for column in IO.iter().filter(is_used) {
            columns(table, row, &[*column], &fields, out);
        }
    }
}

fn replicas(table: &Table, out: &mut Emitter) {
    for row in 0..table.rows() {
        let fields = [
            ("application", table.text(row, "application_name").into()),
            ("client", table.text(row, "client").into()),
        ];
        columns(table, row, REPLICA, &fields, out);
    }
}

fn slots(table: &Table, out: &mut Emitter) {
    for row in 0..table.rows() {
        let fields = [
            ("slot", table.text(row, "slot_name").into()),
            ("type", table.text(row, "slot_type").into()),
        ];
        columns(table, row, SLOT, &fields, out);
        if let Some((status, _)) = table.cell(row, "wal_status") {
            out.emit("postgres.slot.lost", i32::from(status == "lost"), &fields);
        }
    }
}
