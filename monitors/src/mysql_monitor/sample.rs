//! The statements of a sample, and the lines that their answers make.

use super::facts::{self, Facts};
use super::innodb::Innodb;
use super::wire::{Fault, Row, Stream, Wire};
use super::Server;
use crate::line::{Field, Value};
use crate::Emitter;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

/// The variables that are written, the last three with `extra_metrics`. The others, some 1000, need not
/// be sent.
const VARIABLES: [&str; 5] = [
    "max_connections",
    "open_files_limit",
    "innodb_buffer_pool_size",
    "table_open_cache",
    "thread_cache_size",
];
const ASK_VARIABLES: [&str; 2] = [
    "SHOW /*!50000 GLOBAL */ VARIABLES WHERE Variable_name IN ('max_connections', 'open_files_limit')",
    "SHOW /*!50000 GLOBAL */ VARIABLES WHERE Variable_name IN ('max_connections', 'open_files_limit', \
     'innodb_buffer_pool_size', 'table_open_cache', 'thread_cache_size')",
];
/// Status names that begin with `com_` are some 150, one for each kind of statement: these are written,
/// the last three with `extra_metrics`.
const COMMANDS: [&str; 8] = [
    "com_select",
    "com_update",
    "com_delete",
    "com_replace",
    "com_insert",
    "com_begin",
    "com_commit",
    "com_rollback",
];
/// MySQL 8.4 has lost the old word; MySQL before 8.0.22 and MariaDB before 10.5 have not got the new one.
const REPLICA: [&str; 2] = ["SHOW REPLICA STATUS", "SHOW SLAVE STATUS"];
/// All channels, which MySQL gives anyway.
const MARIADB_CHANNELS: [&str; 2] = ["SHOW ALL REPLICAS STATUS", "SHOW ALL SLAVES STATUS"];
/// Longer names are of no server.
const LONGEST_NAME: usize = 200;
/// Different commands that threads can be at; servers have about 35.
const MOST_COMMANDS: usize = 100;
/// Channels of a replica; servers allow 256.
const MOST_CHANNELS: usize = 256;

/// Why a sample came to its end too soon.
pub(super) struct Stopped {
    pub(super) fault: Fault,
    /// Lines may have been written.
    pub(super) begun: bool,
}

/// A statement of a sample, and the metrics that it is for.
struct Block {
    statement: &'static str,
    metrics: &'static str,
    privilege: &'static str,
}

/// The options that say what is asked for.
#[derive(Clone, Copy)]
pub(super) struct Extent {
    pub(super) replica: bool,
    pub(super) extra: bool,
}

impl Block {
    /// The line about its refusal; `account` if a privilege is missing.
    fn told(&self, fault: &Fault, account: Option<&str>) -> String {
        let mut told = format!(
            "{} is refused ({fault}), so {} is left out; the other metrics come. This is told once an hour.",
            self.statement, self.metrics
        );
        if let Some(account) = account {
            told += &format!(
                " Run on the server: GRANT {} ON *.* TO {account};",
                self.privilege
            );
        }
        told
    }
}

/// Takes a sample over a connection that is logged in.
pub(super) fn take(
    stream: &mut dyn Stream,
    server: &mut Server,
    extent: Extent,
    out: &mut Emitter,
) -> Result<(), Stopped> {
    let mut begun = false;
    let mut sampler = Sampler {
        wire: Wire::new(stream, 0),
        server,
        facts: Facts::default(),
        has_status: false,
        has_innodb: false,
    };
    let taken = sampler.all(extent, out, &mut begun);
    taken.map_err(|fault| Stopped { fault, begun })
}

struct Sampler<'a> {
    wire: Wire<'a>,
    server: &'a mut Server,
    facts: Facts,
    has_status: bool,
    has_innodb: bool,
}

impl Sampler<'_> {
    fn all(
        &mut self,
        Extent { replica, extra }: Extent,
        out: &mut Emitter,
        begun: &mut bool,
    ) -> Result<(), Fault> {
        let variables = self.variables(extra, out)?;
        *begun = true;
        let status = self.status(extra, out)?;
        if let (Some(refused), Some(_)) = (variables, status) {
            // An account that may do nothing, as with a password that has expired
            return Err(refused);
        }
        if self.has_innodb {
            self.innodb(out)?;
        }
        if replica {
            self.replica(extra, out)?;
        }
        self.threads(out)?;
        if self.has_status {
            facts::derived(&self.facts, extra, &mut |name, value| {
                out.emit(name, value, &[]);
            });
        }
        Ok(())
    }

    /// Has a statement done. `Some` is the server's refusal, of which the operator is told once an hour.
    ///
    /// # Errors
    /// The connection can't be used any more.
    fn ask(
        &mut self,
        block: &Block,
        out: &mut Emitter,
        row: &mut dyn FnMut(&mut Emitter, &[String], &Row),
    ) -> Result<Option<Fault>, Fault> {
        let asked = self
            .wire
            .query(block.statement, &mut |names, cells| row(out, names, cells));
        match asked {
            Ok(()) => Ok(None),
            Err(fault) if fault.ends_connection() => Err(fault),
            Err(fault) => {
                self.refused(block, &fault, out)?;
                Ok(Some(fault))
            }
        }
    }

    fn refused(&mut self, block: &Block, fault: &Fault, out: &mut Emitter) -> Result<(), Fault> {
        out.counter("statements_refused").fetch_add(1, Relaxed);
        if !out.once_in(HOUR, block.metrics) {
            return Ok(());
        }
        let account = match fault {
            Fault::Server(1044 | 1045 | 1142 | 1143 | 1227, _) => Some(self.account()?),
            _ => None,
        };
        out.warn(format_args!("{}", block.told(fault, account.as_deref())));
        Ok(())
    }

    /// The account as `GRANT` wants it.
    fn account(&mut self) -> Result<String, Fault> {
        let mut account = String::new();
        let asked = self.wire.query("SELECT CURRENT_USER()", &mut |_, cells| {
            account = text(cells, 0).unwrap_or_default();
        });
        match asked {
            Err(fault) if fault.ends_connection() => return Err(fault),
            _ => {}
        }
        Ok(quoted(&account))
    }

    fn variables(&mut self, extra: bool, out: &mut Emitter) -> Result<Option<Fault>, Fault> {
        let block = Block {
            statement: ASK_VARIABLES[usize::from(extra)],
            metrics: "mysql.vars.*",
            privilege: "PROCESS",
        };
        // Written at the end only: until then the sample can be begun anew on another connection
        let wanted = &VARIABLES[..if extra { 5 } else { 2 }];
        let mut rows = Vec::new();
        let refused = self.ask(&block, out, &mut |_, _, cells| {
            let is_new = |name: &str| rows.iter().all(|(known, _)| known != name);
            let found =
                variable(cells).filter(|(name, _)| wanted.contains(&name.as_str()) && is_new(name));
            rows.extend(found);
        })?;
        for (name, shown) in &rows {
            let name = format!("vars.{name}");
            let value = facts::value(shown);
            self.facts.note(&name, value);
            out.emit(&format!("mysql.{name}"), value, &[]);
        }
        Ok(refused)
    }

    fn status(&mut self, extra: bool, out: &mut Emitter) -> Result<Option<Fault>, Fault> {
        if self.server.version < (5, 1) {
            if out.once_in(HOUR, "old") {
                out.info(format_args!(
                    "The status of a server before MySQL 5.1, or of unknown version, is not asked for: it would hold up everything else there."
                ));
            }
            return Ok(None);
        }
        let block = Block {
            statement: "SHOW /*!50000 GLOBAL */ STATUS",
            metrics: "mysql.global.*",
            privilege: "PROCESS",
        };
        let commands = &COMMANDS[..if extra { 8 } else { 5 }];
        let (mut facts, mut has_innodb) = (Facts::default(), false);
        let refused = self.ask(&block, out, &mut |out, _, cells| {
            let Some((name, shown)) = variable(cells) else {
                return;
            };
            if name.starts_with("com_") && !commands.contains(&name.as_str()) {
                return;
            }
            has_innodb |= name.starts_with("innodb");
            let value = facts::value(&shown);
            facts.note(&name, value);
            out.emit(&format!("mysql.global.{name}"), value, &[]);
        })?;
        self.facts.join(facts);
        self.has_status = refused.is_none();
        self.has_innodb = has_innodb;
        Ok(refused)
    }

    fn innodb(&mut self, out: &mut Emitter) -> Result<(), Fault> {
        let block = Block {
            statement: "SHOW ENGINE INNODB STATUS",
            metrics: "a part of mysql.innodb.*",
            privilege: "PROCESS",
        };
        let mut innodb = Innodb::default();
        self.ask(&block, out, &mut |out, _, cells| {
            if let Some(text) = text(cells, 2) {
                innodb.text(&text, &mut |series, n| emit_innodb(out, series, n));
            }
        })?;
        innodb.status(&self.facts, &mut |series, n| emit_innodb(out, series, n));
        Ok(())
    }

    fn replica(&mut self, extra: bool, out: &mut Emitter) -> Result<(), Fault> {
        let words = match extra && self.server.mariadb {
            true => MARIADB_CHANNELS,
            false => REPLICA,
        };
        let new_privileges = self.server.mariadb && self.server.version >= (10, 5);
        while let Some(&statement) = words.get(self.server.replica_words) {
            let block = Block {
                statement,
                metrics: "mysql.slave.*",
                privilege: match new_privileges {
                    true => "SLAVE MONITOR",
                    false => "REPLICATION CLIENT",
                },
            };
            let mut channels = 0;
            let asked = self.wire.query(statement, &mut |names, cells| {
                channels += 1;
                if channels == 1 || (extra && channels <= MOST_CHANNELS) {
                    emit_replica(out, extra, &Columns { names, cells });
                }
            });
            match asked {
                Ok(()) => return Ok(()),
                // It does not know the words, now and as long as this connection lasts
                Err(Fault::Server(1064, _)) => self.server.replica_words += 1,
                Err(fault) if fault.ends_connection() => return Err(fault),
                Err(fault) => return self.refused(&block, &fault, out),
            }
            if self.server.replica_words == words.len() && out.once_in(HOUR, "no replica") {
                out.info(format_args!(
                    "The server knows no statement for the state of a replica, so mysql.slave.* is left out."
                ));
            }
        }
        Ok(())
    }

    fn threads(&mut self, out: &mut Emitter) -> Result<(), Fault> {
        let block = Block {
            statement: "SHOW PROCESSLIST",
            metrics: "mysql.process.*",
            privilege: "PROCESS",
        };
        let mut threads: Vec<(String, u64)> = Vec::new();
        self.ask(&block, out, &mut |_, _, cells| {
            let Some(command) = text(cells, 4).filter(|name| name.len() <= LONGEST_NAME) else {
                return;
            };
            if let Some((_, count)) = threads.iter_mut().find(|(name, _)| *name == command) {
                *count += 1;
            } else if threads.len() < MOST_COMMANDS {
                threads.push((command, 1));
            }
        })?;
        for (command, count) in &threads {
            let command = command.to_lowercase().replace(' ', "_");
            out.emit(&format!("mysql.process.{command}"), *count, &[]);
        }
        Ok(())
    }
}

/// An account such as `name@host` as `GRANT` wants it.
fn quoted(account: &str) -> String {
    let part = |text: &str| text.replace('\'', "''").replace(char::is_control, " ");
    match account.rsplit_once('@') {
        Some((user, host)) => format!("'{}'@'{}'", part(user), part(host)),
        None => "this account".to_owned(),
    }
}

/// A cell as text; `None` where it is NULL or where there is none.
fn text(cells: &Row, at: usize) -> Option<String> {
    let cell = (*cells.get(at)?)?;
    Some(String::from_utf8_lossy(cell).into_owned())
}

/// A row of variables: its lower-case name and its value.
fn variable(cells: &Row) -> Option<(String, String)> {
    let name = text(cells, 0).filter(|name| (1..=LONGEST_NAME).contains(&name.len()))?;
    Some((name.to_lowercase(), text(cells, 1)?))
}

fn emit_innodb(out: &mut Emitter, (name, kind): (&str, &str), value: u64) {
    let fields: &[Field] = &[("type", kind.into())];
    let fields = if kind.is_empty() { &[] } else { fields };
    out.emit(&format!("mysql.innodb.{name}"), value, fields);
}

/// A row whose cells are found by name.
struct Columns<'a> {
    names: &'a [String],
    cells: &'a Row<'a>,
}

impl Columns<'_> {
    /// The cell of the first of these names that there is.
    fn get(&self, names: &[&str]) -> Option<String> {
        let at = self
            .names
            .iter()
            .position(|name| names.iter().any(|n| name.eq_ignore_ascii_case(n)))?;
        text(self.cells, at)
    }
}

/// A metric behind `mysql.slave.`: its column by its old and its new name, whether it says Yes or No,
/// and whether it is an extra.
type Replicated = (&'static str, [&'static str; 2], bool, bool);

#[rustfmt::skip]
const REPLICATED: [Replicated; 8] = [
    ("seconds_behind_master", ["Seconds_Behind_Master", "Seconds_Behind_Source"], false, false),
    ("bytes_executed", ["Exec_Master_Log_Pos", "Exec_Source_Log_Pos"], false, false),
    ("bytes_relayed", ["Read_Master_Log_Pos", "Read_Source_Log_Pos"], false, false),
    ("thread_io_running", ["Slave_IO_Running", "Replica_IO_Running"], true, false),
    ("thread_sql_running", ["Slave_SQL_Running", "Replica_SQL_Running"], true, false),
    ("relay_log_space", ["Relay_Log_Space", "Relay_Log_Space"], false, true),
    ("last_io_errno", ["Last_IO_Errno", "Last_IO_Errno"], false, true),
    ("last_sql_errno", ["Last_SQL_Errno", "Last_SQL_Errno"], false, true),
];

fn emit_replica(out: &mut Emitter, extra: bool, row: &Columns) {
    let source = row.get(&["Master_Host", "Source_Host"]).unwrap_or_default();
    if source.is_empty() || source == "None" {
        return;
    }
    let channel = match extra {
        true => row.get(&["Channel_Name", "Connection_name"]),
        false => None,
    }
    .filter(|name| !name.is_empty() && name.len() <= LONGEST_NAME);
    let fields: Vec<Field> = channel
        .iter()
        .map(|name| ("channel", Value::Text(name)))
        .collect();
    for (name, columns, is_answer, is_extra) in REPLICATED {
        let Some(shown) = row.get(&columns).filter(|_| extra || !is_extra) else {
            continue;
        };
        let value = match is_answer {
            true => Value::Int(i64::from(shown.eq_ignore_ascii_case("yes"))),
            false => facts::value(&shown),
        };
        if !matches!(value, Value::Text(_)) {
            out.emit(&format!("mysql.slave.{name}"), value, &fields);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_privilege_is_told_with_the_statement_that_gives_it() {
        let block = Block {
            statement: "SHOW REPLICA STATUS",
            metrics: "mysql.slave.*",
            privilege: "REPLICATION CLIENT",
        };
        let fault = Fault::Server(1227, "Access denied".to_owned());
        let account = quoted("o'neil@10.0.0.%");
        assert_eq!(
            block.told(&fault, Some(&account)),
            "SHOW REPLICA STATUS is refused (1227: Access denied), so mysql.slave.* is left out; the other metrics \
             come. This is told once an hour. Run on the server: GRANT REPLICATION CLIENT ON *.* TO \
             'o''neil'@'10.0.0.%';"
        );
        assert!(block.told(&fault, None).ends_with("told once an hour."));
        assert_eq!(quoted(""), "this account");
    }
}
