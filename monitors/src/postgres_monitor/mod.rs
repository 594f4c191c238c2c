//! `postgres_monitor`: the statistics of a PostgreSQL database.

mod scram;
mod session;
mod statements;
mod wire;

use crate::monitor::{Cadence, Description, Log, Measure, MetricSpec, Monitor, Service, Setup};
use crate::options::{Default, Kind, OptionSpec};
use crate::service::options::{
    time_out, CA_FILE, CERT_FILE, EXTRA_METRICS, KEY_FILE, PASSWORD_FILE, TIMEOUT, TLS, UNIX_SOCKET,
};
use crate::service::{Address, Deadline, Secret, Security};
use crate::{Emitter, Error};
use scram::Salted;
use session::{Failure, Login, Session};
use statements::Statement;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use wire::Fault;

/// Its entry in the registry.
pub const DESCRIPTION: Description = Description {
    module: "scalyr_agent.builtin_monitors.postgres_monitor",
    text: "Writes the statistics of one PostgreSQL database (versions 12 to 18) and, with extra_metrics, those of its server: sessions by state, checkpoints, input and output, replication and slots. Each sample connects anew, logs in (SCRAM-SHA-256, MD5, or without a password), sends all statements at once, which commit by themselves, and ends the session, so that it hinders neither DROP DATABASE nor CREATE DATABASE with a template. A column that the server does not have, or that is null, is left out. A password in clear text is sent only with TLS, by a Unix socket or within the machine.",
    options: OPTIONS,
    metrics: METRICS,
    open: false,
    log: Log::METRICS,
    write_limit: Description::WRITE_LIMIT,
    cadence: Cadence::Sampled,
    service: Some(Service {
        entry: r#"{ module: "scalyr_agent.builtin_monitors.postgres_monitor", id: "shop", database_name: "shop", database_username: "scalyr", password_file: "/etc/scalyr-agent-2/postgres.password", extra_metrics: true }"#,
        grants: "A user that may connect to the database is enough: `CREATE USER scalyr PASSWORD '...'`. With extra_metrics, what other users' sessions and replicas do is seen with `GRANT pg_monitor TO scalyr`.",
    }),
    make: |setup| Ok(Box::new(PostgresMonitor::new(setup)?)),
};

const GRANT: &str = "GRANT pg_monitor TO <database_username>;";

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        "database_name",
        Kind::Text,
        Default::Required,
        "The database to connect to, of which the statistics are.",
    ),
    OptionSpec::new(
        "database_username",
        Kind::Text,
        Default::Required,
        "The user to log in as.",
    ),
    OptionSpec::new(
        "database_password",
        Kind::Text,
        Default::None,
        "The user's password. Not needed where the server lets the user in without.",
    ),
    PASSWORD_FILE,
    OptionSpec::new(
        "database_host",
        Kind::Text,
        Default::Text("localhost"),
        "The server's name or address; a path is the directory of its Unix socket.",
    ),
    OptionSpec::new(
        "database_port",
        Kind::Int,
        Default::Int(5432),
        "The server's port.",
    )
    .at_least(1.0)
    .at_most(65535.0),
    OptionSpec::new(
        "use_ssl",
        Kind::Bool,
        Default::Bool(false),
        "true is tls: \"require\", and \"verify\" with a ca_file; tls wins.",
    ),
    UNIX_SOCKET,
    TLS,
    CA_FILE,
    CERT_FILE,
    KEY_FILE,
    TIMEOUT,
    EXTRA_METRICS,
];

use Measure::{Counter, Gauge};

const IO: &[&str] = &["backend", "context", "object", "op"];
const REPLICA: &[&str] = &["application", "client"];
const SLOT: &[&str] = &["slot", "type"];

#[rustfmt::skip]
const METRICS: &[MetricSpec] = &[
    MetricSpec::new("postgres.database.size", Gauge, "bytes", &[], "Size of the database."),
    MetricSpec::new("postgres.database.connections", Gauge, "", &[], "Sessions of the database, the monitor's own included."),
    MetricSpec::new("postgres.database.transactions", Counter, "", &["result"], "Transactions that were committed and rolledback."),
    MetricSpec::new("postgres.database.disk_blocks", Counter, "", &["type"], "Blocks that were asked for: read from the disk (or the system's cache), or hit in the server's buffers."),
    MetricSpec::new("postgres.database.query_rows", Counter, "", &["op"], "Rows that statements have returned, fetched, inserted, updated and deleted."),
    MetricSpec::new("postgres.database.temp_files", Counter, "", &[], "Temporary files that statements have made."),
    MetricSpec::new("postgres.database.temp_bytes", Counter, "bytes", &[], "Bytes that were written to them."),
    MetricSpec::new("postgres.database.deadlocks", Counter, "", &[], "Deadlocks."),
    MetricSpec::new("postgres.database.blocks_op_time", Counter, "ms", &["op"], "Time that went into read and write of blocks; 0 unless the server has track_io_timing."),
    MetricSpec::new("postgres.database.stats_reset", Gauge, "ms", &[], "When the database's statistics were reset, since the epoch; left out if they never were."),
    MetricSpec::new("postgres.activity", Gauge, "", &["state"], "Sessions of clients by state; unknown: those that the user may not see. This and all that follow are of the whole server, and need extra_metrics."),
    MetricSpec::new("postgres.activity.waiting", Gauge, "", &[], "Of them those that wait for a lock."),
    MetricSpec::new("postgres.activity.longest_transaction", Gauge, "s", &[], "Age of the oldest open transaction."),
    MetricSpec::new("postgres.activity.max_connections", Gauge, "", &[], "How many sessions the server allows."),
    MetricSpec::new("postgres.checkpoints", Counter, "", &["type"], "Checkpoints by cause (timed, requested); since version 17 also restart_timed, restart_requested and restart_done of a standby, since 18 done."),
    MetricSpec::new("postgres.checkpoint_time", Counter, "ms", &["op"], "Time that they took to write and to sync."),
    MetricSpec::new("postgres.buffers_written", Counter, "", &["by"], "Buffers written by checkpointer, bgwriter and, up to version 16, backends."),
    MetricSpec::new("postgres.buffers_allocated", Counter, "", &[], "Buffers allocated."),
    MetricSpec::new("postgres.bgwriter_halts", Counter, "", &[], "How often the background writer ended a round because it had written enough (bgwriter_lru_maxpages)."),
    MetricSpec::new("postgres.io", Counter, "", IO, "Operations of pg_stat_io (version 16 and later), as far as they are not 0: read, write, writeback, extend, hit, evict, reuse, fsync."),
    MetricSpec::new("postgres.io.bytes", Counter, "bytes", IO, "Bytes of them (version 18 and later)."),
    MetricSpec::new("postgres.io.time", Counter, "ms", IO, "Time that they took, with track_io_timing."),
    MetricSpec::new("postgres.replica.streaming", Gauge, "", REPLICA, "1 if a replica follows, 0 while it catches up; for at most 100 replicas."),
    MetricSpec::new("postgres.replica.behind", Gauge, "bytes", &["application", "client", "stage"], "Log that a replica was not sent, and that it has not replayed."),
    MetricSpec::new("postgres.replica.lag", Gauge, "s", REPLICA, "How late it replayed what was written last; left out once it is idle."),
    MetricSpec::new("postgres.standby", Gauge, "", &[], "1 if the server is a standby, otherwise 0."),
    MetricSpec::new("postgres.standby.delay", Gauge, "s", &[], "Age of the last transaction that a standby has replayed, 0 if nothing is left to replay."),
    MetricSpec::new("postgres.standby.behind", Gauge, "bytes", &[], "Log that it has received and not replayed."),
    MetricSpec::new("postgres.slot.active", Gauge, "", SLOT, "1 if a replication slot is in use; for at most 100 slots."),
    MetricSpec::new("postgres.slot.retained", Gauge, "bytes", SLOT, "Log that is kept for it."),
    MetricSpec::new("postgres.slot.safe", Gauge, "bytes", SLOT, "Log that can still be written before it is lost, with max_slot_wal_keep_size."),
    MetricSpec::new("postgres.slot.lost", Gauge, "", SLOT, "1 if log that it needs is gone."),
];

const HOUR: Duration = Duration::from_secs(3600);

struct PostgresMonitor {
    host: String,
    port: u16,
    socket: String,
    database: String,
    user: String,
    password: Secret,
    security: Security,
    timeout: Duration,
    extra: bool,
    salted: Salted,
    /// The last sample failed.
    failed: bool,
}

impl PostgresMonitor {
    fn new(setup: &Setup) -> Result<Self, Error> {
        let options = setup.options;
        let port = options
            .int("database_port")
            .and_then(|port| u16::try_from(port).ok());
        let host = options.text("database_host");
        let socket = match options.text("unix_socket") {
            "" if host.starts_with('/') => host,
            path => path,
        };
        for name in ["database_name", "database_username"] {
            // A zero byte would end the text within the message
            if options.text(name).contains('\0') {
                return Err(Error::of_option(
                    name,
                    format!("{name}: it holds a zero byte"),
                ));
            }
        }
        Ok(PostgresMonitor {
            host: host.to_owned(),
            port: port.unwrap_or(5432),
            socket: socket.to_owned(),
            database: options.text("database_name").to_owned(),
            user: options.text("database_username").to_owned(),
            password: Secret::read(options, "database_password", "password_file")?,
            security: Security::read(options, options.bool("use_ssl"))?,
            timeout: time_out(options),
            extra: options.bool("extra_metrics"),
            salted: Salted::default(),
            failed: false,
        })
    }

    fn address(&self) -> Address {
        let path = Path::new(&self.socket);
        match self.socket.as_str() {
            "" => Address::Tcp(self.host.clone(), self.port),
            _ if path.is_dir() => Address::Unix(path.join(format!(".s.PGSQL.{}", self.port))),
            _ => Address::Unix(path.to_owned()),
        }
    }

    fn ask(&mut self, address: &Address, out: &mut Emitter) -> Result<(), Failure> {
        let deadline = Deadline::new(self.timeout, out.stop());
        let password = self.password.get(out)?;
        let login = Login {
            address,
            host: &self.host,
            security: &self.security,
            user: &self.user,
            password: &password,
            database: &self.database,
            deadline: &deadline,
        };
        let mut session = Session::open(&login, &mut self.salted)?;
        let major = session.major;
        let asked: Vec<&Statement> = statements::ALL
            .iter()
            .filter(|one| (self.extra || !one.is_extra) && one.since <= major)
            .collect();
        // A statement must not go on at the server when nobody waits for it any more, and one that is
        // late is not to take the others along
        let late = self.timeout.as_millis() * 3 / 4;
        let sent: Vec<String> = asked
            .iter()
            .map(|one| format!("SET LOCAL statement_timeout = {late}; {}", one.sql))
            .collect();
        session.send(&sent)?;
        for one in asked {
            match session.result()? {
                Ok(table) => (one.emit)(&table, out),
                Err(fault) => refused(one, &fault, out),
            }
        }
        session.close();
        if self.extra && (1..16).contains(&major) && out.once_in(Duration::MAX, "old") {
            out.info(format_args!(
                "PostgreSQL {major} has no pg_stat_io (16 and later have): its metrics are left out."
            ));
        }
        Ok(())
    }
}

/// A statement that failed costs its own metrics.
fn refused(one: &Statement, fault: &Fault, out: &mut Emitter) {
    out.counter("refused_statements").fetch_add(1, Relaxed);
    if out.once_in(HOUR, one.what) {
        let advice = match fault.code.as_str() {
            "42501" => GRANT,
            "57014" => "It took too long: raise timeout.",
            _ => "",
        };
        out.warn(format_args!(
            "{} can't be read: {} ({}). Its metrics are left out. {advice}",
            one.what, fault.text, fault.code
        ));
    }
}

/// Advice for the errors that end a log-in, by the beginning of their SQLSTATE.
const ADVICE: &[(&str, &str)] = &[
    ("28P01", "correct database_username and the password"),
    (
        "28",
        "look at the user's lines in the server's pg_hba.conf, and at database_username",
    ),
    ("3D000", "correct database_name"),
    (
        "42501",
        "GRANT CONNECT ON DATABASE <database_name> TO <database_username>;",
    ),
    (
        "53300",
        "raise max_connections, or reserve some for pg_use_reserved_connections",
    ),
    (
        "57P",
        "it starts, ends or recovers: the next sample tries again",
    ),
];

impl Monitor for PostgresMonitor {
    fn gather(&mut self, out: &mut Emitter) -> Result<(), Error> {
        let address = self.address();
        let result = self.ask(&address, out);
        let was_failed = std::mem::replace(&mut self.failed, result.is_err());
        let text = match result {
            Ok(()) => {
                if was_failed {
                    out.info(format_args!("PostgreSQL at {address} answers again."));
                }
                return Ok(());
            }
            Err(Failure::Other(text)) => text,
            Err(Failure::Told(fault)) => {
                let advice = ADVICE.iter().find(|(code, _)| fault.code.starts_with(code));
                let advice = advice.map_or("", |(_, advice)| advice);
                format!("it says \"{}\" ({}): {advice}", fault.text, fault.code)
            }
        };
        Err(Error::new(format!("PostgreSQL at {address}: {text}")))
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_real;
