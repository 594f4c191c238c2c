//! `mysql_monitor`: the state of a MySQL, MariaDB or Percona server, asked for in SQL over a connection
//! that is kept from sample to sample.

mod facts;
mod innodb;
mod login;
mod sample;
mod wire;

use crate::monitor::{Cadence, Description, Log, Measure, MetricSpec, Monitor, Service, Setup};
use crate::options::{Default, Kind, OptionSpec, Options};
use crate::service::options::{
    self, set, wrong, CA_FILE, CERT_FILE, EXTRA_METRICS, KEY_FILE, PASSWORD_FILE, TIMEOUT, TLS,
    UNIX_SOCKET,
};
use crate::service::{Address, Deadline, Link, Secret, Security, Wanted};
use crate::{Emitter, Error};
use login::{Account, Greeting};
use sample::{Extent, Stopped};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use wire::{Fault, Wire};

/// Its entry in the registry.
pub const DESCRIPTION: Description = Description {
    module: "scalyr_agent.builtin_monitors.mysql_monitor",
    text: "The state of a MySQL (5.1 to 9), MariaDB or Percona server: its status variables, InnoDB, replication, threads, and percentages made of these. The connection is kept from sample to sample; when the server restarts, the next sample makes another. A statement that the server refuses, or does not have, costs only its own metrics. Accounts may use mysql_native_password, caching_sha2_password or the name of the agent's user (auth_socket, unix_socket). A password itself is sent over TLS or a Unix socket only.",
    options: OPTIONS,
    metrics: METRICS,
    open: false,
    log: Log::METRICS,
    write_limit: Description::WRITE_LIMIT,
    cadence: Cadence::Sampled,
    service: Some(Service {
        entry: r#"{
  "module": "scalyr_agent.builtin_monitors.mysql_monitor",
  "id": "orders",
  "database_socket": "default",
  "database_username": "scalyr-agent-monitor",
  "password_file": "/etc/scalyr-agent-2/mysql.password"
}"#,
        grants: "An account of its own with one or two privileges is enough:\n\n    CREATE USER 'scalyr-agent-monitor'@'localhost' IDENTIFIED BY '...';\n    GRANT PROCESS ON *.* TO 'scalyr-agent-monitor'@'localhost';\n\nPROCESS shows the InnoDB status and the threads of other users. On a replica, or anywhere unless collect_replica_metrics is false, MySQL and MariaDB before 10.5 need\n\n    GRANT REPLICATION CLIENT ON *.* TO 'scalyr-agent-monitor'@'localhost';\n\nand MariaDB from 10.5 on needs\n\n    GRANT SLAVE MONITOR ON *.* TO 'scalyr-agent-monitor'@'localhost';",
    }),
    make: |setup| Ok(Box::new(Mysql::new(setup)?)),
};

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        "database_username",
        Kind::Text,
        Default::Required,
        "Account of the server.",
    ),
    OptionSpec::new(
        "database_password",
        Kind::Text,
        Default::None,
        "Its password, which may be empty. It or password_file has to be set.",
    ),
    PASSWORD_FILE,
    OptionSpec::new(
        "database_socket",
        Kind::Text,
        Default::None,
        "Path of the server's Unix socket; `default`: the first that exists of /tmp/mysql.sock, /var/lib/mysql/mysql.sock and /var/run/mysqld/mysqld.sock. It or database_hostport has to be set.",
    ),
    UNIX_SOCKET,
    OptionSpec::new(
        "database_hostport",
        Kind::Text,
        Default::None,
        "Address of the server: `host:port`, `host` (port 3306), a port of this machine (`3307`), `[::1]:3306`, or `default` for localhost:3306.",
    ),
    OptionSpec::new(
        "use_ssl",
        Kind::Bool,
        Default::Bool(false),
        "`true` is tls: require, or verify if ca_file is set: a server without TLS is an error. Unlike tls it also holds for a Unix socket, if the server offers TLS there, as the Python agent has it.",
    ),
    TLS,
    CA_FILE,
    CERT_FILE,
    KEY_FILE,
    TIMEOUT,
    OptionSpec::new(
        "collect_replica_metrics",
        Kind::Bool,
        Default::Bool(true),
        "Whether the state of replication is asked for, which takes a privilege of its own.",
    ),
    EXTRA_METRICS,
];

use Measure::{Counter, Gauge};
#[rustfmt::skip]
const METRICS: &[MetricSpec] = &[
    MetricSpec::new("mysql.vars.max_connections", Gauge, "", &[], "Connections that the server allows at once."),
    MetricSpec::new("mysql.vars.open_files_limit", Gauge, "", &[], "Files that the server may have open."),
    MetricSpec::new("mysql.vars.innodb_buffer_pool_size", Gauge, "bytes", &[], "Size of the InnoDB buffer pool. Only with extra_metrics, as the next two."),
    MetricSpec::new("mysql.vars.table_open_cache", Gauge, "", &[], "Tables that may be kept open."),
    MetricSpec::new("mysql.vars.thread_cache_size", Gauge, "", &[], "Threads that are kept for further connections."),
    MetricSpec::new("mysql.global.*", Counter, "", &[], "Each status variable of the server by its lower-case name; some are gauges, such as threads_connected, and some are text. Of those that begin with com_ there are com_select, com_update, com_delete, com_replace and com_insert; with extra_metrics also com_begin, com_commit and com_rollback."),
    MetricSpec::new("mysql.innodb.oswait_array.reservation_count", Counter, "", &[], "Slots of the sync array that were taken: how often InnoDB fell back to waits of the system. This and what follows is written as far as the server has it."),
    MetricSpec::new("mysql.innodb.oswait_array.signal_count", Counter, "", &[], "Threads that were signalled by the sync array."),
    MetricSpec::new("mysql.innodb.locks.spin_waits", Counter, "", &["type"], "Waits for a lock that began by spinning; type is mutex, rw-shared or rw-exclusive."),
    MetricSpec::new("mysql.innodb.locks.rounds", Counter, "", &["type"], "Rounds of these waits."),
    MetricSpec::new("mysql.innodb.locks.os_waits", Counter, "", &["type"], "Waits that gave up spinning and went to sleep."),
    MetricSpec::new("mysql.innodb.history_list_length", Gauge, "", &[], "Changes in undo logs that are not purged yet."),
    MetricSpec::new("mysql.innodb.opened_read_views", Gauge, "", &[], "Open read views."),
    MetricSpec::new("mysql.innodb.queries_queued", Gauge, "", &[], "Queries that wait to get into InnoDB."),
    MetricSpec::new("mysql.innodb.ibuf.size", Gauge, "pages", &[], "Size of the change buffer."),
    MetricSpec::new("mysql.innodb.ibuf.free_list_len", Gauge, "pages", &[], "Length of its free list."),
    MetricSpec::new("mysql.innodb.ibuf.seg_size", Gauge, "pages", &[], "Size of its segment."),
    MetricSpec::new("mysql.innodb.ibuf.inserts", Counter, "", &[], "Inserts into it."),
    MetricSpec::new("mysql.innodb.ibuf.merged_recs", Counter, "", &[], "Records merged from it."),
    MetricSpec::new("mysql.innodb.ibuf.merges", Counter, "", &[], "Merges."),
    MetricSpec::new("mysql.slave.seconds_behind_master", Gauge, "s", &[], "How far the replica lags behind. With extra_metrics each channel has its lines, a named one with the field channel; otherwise only the first has."),
    MetricSpec::new("mysql.slave.bytes_executed", Gauge, "bytes", &[], "Position within the source's present binlog file up to which the replica has executed."),
    MetricSpec::new("mysql.slave.bytes_relayed", Gauge, "bytes", &[], "Position within it up to which the replica has read."),
    MetricSpec::new("mysql.slave.thread_io_running", Gauge, "", &[], "1 if the receiving thread runs, otherwise 0."),
    MetricSpec::new("mysql.slave.thread_sql_running", Gauge, "", &[], "1 if the executing thread runs, otherwise 0."),
    MetricSpec::new("mysql.slave.relay_log_space", Gauge, "bytes", &[], "Size of all relay logs. Only with extra_metrics, as the next two."),
    MetricSpec::new("mysql.slave.last_io_errno", Gauge, "", &[], "Number of the last error of the receiving thread; 0 for none."),
    MetricSpec::new("mysql.slave.last_sql_errno", Gauge, "", &[], "Number of the last error of the executing thread; 0 for none."),
    MetricSpec::new("mysql.process.*", Gauge, "", &[], "Threads by the command that they are at, such as query, sleep and binlog_dump. Without the privilege PROCESS those of the account only."),
    MetricSpec::new("mysql.derived.slow_query_percentage", Gauge, "%", &[], "Slow queries of all queries. This and what follows is since the start of the server; one whose parts the server does not have is left out."),
    MetricSpec::new("mysql.derived.connections_used_percentage", Gauge, "%", &[], "Most connections so far of those allowed."),
    MetricSpec::new("mysql.derived.aborted_connections_percentage", Gauge, "%", &[], "Failed attempts to connect of all."),
    MetricSpec::new("mysql.derived.aborted_clients_percentage", Gauge, "%", &[], "Connections that the client did not close, of all."),
    MetricSpec::new("mysql.derived.read_percentage", Gauge, "%", &[], "Reading statements (select) of reading and writing ones."),
    MetricSpec::new("mysql.derived.write_percentage", Gauge, "%", &[], "Writing statements (delete, insert, update, replace) of reading and writing ones."),
    MetricSpec::new("mysql.derived.query_cache_efficiency", Gauge, "%", &[], "Queries that the query cache answered; 0 where there is none."),
    MetricSpec::new("mysql.derived.joins_without_indexes", Counter, "", &[], "Joins that used no index."),
    MetricSpec::new("mysql.derived.table_cache_hit_rate", Gauge, "%", &[], "Open tables of all that were ever opened."),
    MetricSpec::new("mysql.derived.open_file_percentage", Gauge, "%", &[], "Open files of those allowed."),
    MetricSpec::new("mysql.derived.immediate_table_lock_percentage", Gauge, "%", &[], "Table locks that were had at once."),
    MetricSpec::new("mysql.derived.thread_cache_hit_rate", Gauge, "%", &[], "Connections for which no thread had to be made."),
    MetricSpec::new("mysql.derived.tmp_disk_table_percentage", Gauge, "%", &[], "Internal temporary tables that were made on disk."),
    MetricSpec::new("mysql.derived.connections_open_percentage", Gauge, "%", &[], "Open connections of those allowed. Only with extra_metrics, as the next two."),
    MetricSpec::new("mysql.derived.buffer_pool_hit_rate", Gauge, "%", &[], "Reads of pages that the InnoDB buffer pool answered."),
    MetricSpec::new("mysql.derived.buffer_pool_used_percentage", Gauge, "%", &[], "Pages of the InnoDB buffer pool that hold data."),
];

const DAY: Duration = Duration::from_secs(24 * 3600);
const PORT: u16 = 3306;
/// Sockets of MySQL's own default, of RPM systems and of Debian.
const SOCKETS: [&str; 3] = [
    "/tmp/mysql.sock",
    "/var/lib/mysql/mysql.sock",
    "/var/run/mysqld/mysqld.sock",
];
/// After a connection that failed the next is not tried before this time, which doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The last packet of a connection may wait this long for room in the socket.
const LEAVE: Duration = Duration::from_millis(200);

/// The place of the server.
enum Target {
    At(Address),
    /// The first of [`SOCKETS`] that exists.
    DefaultSocket,
}

struct Mysql {
    target: Target,
    user: String,
    secret: Secret,
    security: Security,
    use_ssl: bool,
    timeout: Duration,
    extent: Extent,
    session: Option<Session>,
    failed: Option<Failed>,
}

/// A connection that is logged in.
struct Session {
    link: Link,
    address: Address,
    server: Server,
}

impl Drop for Session {
    /// Takes leave: otherwise the server counts an aborted client, and may write a warning to its log.
    fn drop(&mut self) {
        let (_stopper, stop) = common::stop::pair();
        self.link.set_deadline(&Deadline::new(LEAVE, &stop));
        let _ = Wire::new(&mut self.link, 0).send(&[1]);
    }
}

/// The server at the other end of a connection.
struct Server {
    /// Its first two numbers; 0.0 if its version is in another form.
    version: (u32, u32),
    mariadb: bool,
    /// The server does not know the newer word for the state of a replica, or neither.
    replica_words: usize,
}

/// The last attempt to connect.
struct Failed {
    error: Error,
    pause: Duration,
    until: Instant,
}

fn target(options: &Options) -> Result<Target, Error> {
    let given = |name: &'static str| {
        let is_set = options.entry().iter().any(|(key, _)| key == name);
        is_set.then(|| (name, options.text(name).trim()))
    };
    let socket = match (given("database_socket"), given("unix_socket")) {
        (Some(_), Some((name, _))) => {
            return Err(wrong(
                name,
                "database_socket is set too; remove one of the two",
            ))
        }
        (one, other) => one.or(other),
    };
    let (name, text) = match (socket, given("database_hostport")) {
        (Some((socket, _)), Some((name, _))) => {
            let why = format!("{socket} is set too; remove one of the two");
            return Err(wrong(name, why));
        }
        (one, other) => one.or(other).ok_or_else(|| {
            let why = "it or database_hostport has to be set";
            wrong("database_socket", why)
        })?,
    };
    let is_default = text.eq_ignore_ascii_case("default");
    if text.is_empty() {
        let why = "it is empty; \"default\" stands for the usual place";
        return Err(wrong(name, why));
    }
    if name != "database_hostport" {
        return Ok(match is_default {
            true => Target::DefaultSocket,
            false => Target::At(Address::Unix(PathBuf::from(text))),
        });
    }
    let text = match text.bytes().all(|b| b.is_ascii_digit()) {
        _ if is_default => "localhost".to_owned(),
        true => format!("localhost:{text}"),
        false => text.to_owned(),
    };
    match Address::tcp(&text, PORT) {
        Ok(address) => Ok(Target::At(address)),
        Err(why) => Err(wrong(name, why)),
    }
}

impl Mysql {
    fn new(setup: &Setup) -> Result<Mysql, Error> {
        let options = setup.options;
        let has = |name: &str| options.entry().iter().any(|(key, _)| key == name);
        if !has("database_password") && !has("password_file") {
            return Err(wrong(
                "database_password",
                "it (it may be empty) or password_file has to be set",
            ));
        }
        let use_ssl = options.bool("use_ssl");
        Ok(Mysql {
            target: target(options)?,
            user: options.text("database_username").to_owned(),
            secret: Secret::read(options, "database_password", "password_file")?,
            security: Security::read(options, use_ssl)?,
            use_ssl: use_ssl && set(options, "tls").is_none(),
            timeout: options::time_out(options),
            extent: Extent {
                replica: options.bool("collect_replica_metrics"),
                extra: options.bool("extra_metrics"),
            },
            session: None,
            failed: None,
        })
    }

    fn address(&self) -> Result<Address, Error> {
        if let Target::At(address) = &self.target {
            return Ok(address.clone());
        }
        let is_socket = |path: &&&str| {
            let about = std::fs::metadata(Path::new(**path));
            about.is_ok_and(|about| about.file_type().is_socket())
        };
        match SOCKETS.iter().find(is_socket) {
            Some(path) => Ok(Address::Unix(PathBuf::from(path))),
            None => Err(Error::new(format!(
                "There is no MySQL socket at {}: is the server running? If its socket is elsewhere, set \
                 database_socket",
                SOCKETS.join(", ")
            ))),
        }
    }

    /// A new connection, unless the last attempt is too short a time ago.
    fn connect(&mut self, out: &mut Emitter, deadline: &Deadline) -> Result<Session, Error> {
        let now = Instant::now();
        if let Some(failed) = self.failed.as_ref().filter(|failed| now < failed.until) {
            return Err(failed.error.clone());
        }
        match self.log_in(out, deadline) {
            Ok(session) => {
                self.failed = None;
                Ok(session)
            }
            Err(error) => {
                let last = self.failed.take().map(|failed| failed.pause);
                let pause = last.map_or(FIRST_PAUSE, |pause| (2 * pause).min(LONGEST_PAUSE));
                self.failed = Some(Failed {
                    error: error.clone(),
                    pause,
                    until: Instant::now() + pause,
                });
                Err(error)
            }
        }
    }

    fn log_in(&self, out: &mut Emitter, deadline: &Deadline) -> Result<Session, Error> {
        let address = self.address()?;
        let password = self.secret.get(out)?;
        let (host, wanted) = match &address {
            Address::Tcp(host, _) => (host.as_str(), self.security.wanted()),
            Address::Unix(_) if self.use_ssl => ("localhost", Wanted::IfOffered),
            Address::Unix(_) => ("localhost", Wanted::No),
        };
        let failed = |fault| refusal(&address, &self.user, &fault);
        let mut link = Link::connect(&address, deadline)?;
        let mut wire = Wire::new(&mut link, 0);
        let greeting = Greeting::receive(&mut wire).map_err(failed)?;
        let tls = wanted != Wanted::No && greeting.offers_tls();
        if wanted == Wanted::Yes && !tls {
            return Err(Error::new(format!(
                "The MySQL server at {address} offers no TLS, which tls (or use_ssl) wants: give it a certificate \
                 (ssl_cert, ssl_key), or set tls to \"off\""
            )));
        }
        if tls {
            greeting.ask_for_tls(&mut wire).map_err(failed)?;
            if self.security.is_blind() && out.once_in(DAY, "blind") {
                out.warn(format_args!(
                    "The certificate of the MySQL server at {address} is not verified: set ca_file, and tls to \
                     \"verify\" unless use_ssl is set."
                ));
            }
            link = link.secure(&self.security, host)?;
        }
        let account = Account {
            user: &self.user,
            password: &password,
            tls,
            private: link.is_private(),
        };
        let mut wire = Wire::new(&mut link, if tls { 2 } else { 1 });
        greeting.log_in(&mut wire, &account).map_err(failed)?;
        Ok(Session {
            link,
            address,
            server: Server::new(&greeting.version),
        })
    }
}

impl Server {
    fn new(version: &str) -> Server {
        let mut numbers = version.split(|c: char| !c.is_ascii_digit());
        let mut number = || numbers.next().and_then(|digits| digits.parse().ok());
        Server {
            version: number().zip(number()).unwrap_or_default(),
            mariadb: version.contains("MariaDB"),
            replica_words: 0,
        }
    }
}

/// Why there is no login, and what to do.
fn refusal(address: &Address, user: &str, fault: &Fault) -> Error {
    let advice = match fault {
        Fault::Server(1040 | 1203 | 1226, _) => {
            ". All connections are in use: see max_connections of the server"
        }
        Fault::Server(1044 | 1045 | 1698, _) => {
            ". Check database_username and the password, and that the account may come from this host"
        }
        Fault::Server(1129, _) => ". Run FLUSH HOSTS on the server",
        Fault::Server(1130, _) => ". The server has no account for this host: create one",
        Fault::Server(3159 | 1835, _) => ". Set tls to \"verify\" or \"require\"",
        Fault::Io(_) | Fault::Protocol(_) => {
            ". Is it a MySQL server, and the port that for clients?"
        }
        _ => "",
    };
    Error::new(format!(
        "No login to the MySQL server at {address} as \"{user}\": {fault}{advice}"
    ))
}

impl Monitor for Mysql {
    fn gather(&mut self, out: &mut Emitter) -> Result<(), Error> {
        let deadline = Deadline::new(self.timeout, out.stop());
        let kept = self.session.take();
        let was_kept = kept.is_some();
        let mut session = match kept {
            Some(mut session) => {
                session.link.set_deadline(&deadline);
                session
            }
            None => self.connect(out, &deadline)?,
        };
        let mut done = sample::take(&mut session.link, &mut session.server, self.extent, out);
        // Nothing was written yet: the server ended the connection since the last sample
        let is_stale = |stopped: &Stopped| was_kept && !stopped.begun && !stopped.fault.is_late();
        if done.as_ref().is_err_and(is_stale) {
            out.counter("reconnections").fetch_add(1, Relaxed);
            session = self.connect(out, &deadline)?;
            done = sample::take(&mut session.link, &mut session.server, self.extent, out);
        }
        match done {
            Ok(()) => {
                self.session = Some(session);
                Ok(())
            }
            Err(stopped) => Err(Error::new(format!(
                "The MySQL server at {} gave no full sample: {}",
                session.address, stopped.fault
            ))),
        }
    }
}

#[cfg(test)]
mod fake;
#[cfg(test)]
mod server_tests;
#[cfg(test)]
mod tests;
