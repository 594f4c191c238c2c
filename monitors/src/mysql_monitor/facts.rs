//! Values as the monitor writes them, and the numbers of a sample that others are made of.

use crate::line::Value;

/// Longer texts are cut: the longest that servers have is a public key of 800 bytes.
const TEXT: usize = 4000;

/// The value of a variable: a float if it has a dot, else an integer, else text.
pub(super) fn value(text: &str) -> Value<'_> {
    let number = text.trim();
    if number.contains('.') {
        if let Some(x) = number.parse().ok().filter(|x: &f64| x.is_finite()) {
            return Value::Float(x);
        }
    } else if let Ok(n) = number.parse() {
        return Value::Int(n);
    } else if let Ok(n) = number.parse() {
        return Value::UInt(n);
    }
    Value::Text(match text.char_indices().nth(TEXT) {
        Some((end, _)) => &text[..end],
        None => text,
    })
}

/// Numbers of the server's status by their lower-case names, and variables by theirs behind `vars.`:
/// those that [`derived`] and [`super::innodb`] ask for.
#[derive(Default)]
pub(super) struct Facts(Vec<(&'static str, i64)>);

#[rustfmt::skip]
const KEPT: &[&str] = &[
    "vars.max_connections", "vars.open_files_limit",
    "questions", "slow_queries", "max_used_connections", "connections", "aborted_connects", "aborted_clients",
    "com_select", "com_delete", "com_insert", "com_update", "com_replace", "qcache_hits", "select_range_check",
    "select_full_join", "open_tables", "opened_tables", "open_files", "table_locks_immediate", "table_locks_waited",
    "threads_created", "threads_connected", "created_tmp_tables", "created_tmp_disk_tables",
    "innodb_buffer_pool_read_requests", "innodb_buffer_pool_reads", "innodb_buffer_pool_pages_data",
    "innodb_buffer_pool_pages_total",
    "innodb_history_list_length", "innodb_ibuf_size", "innodb_ibuf_free_list", "innodb_ibuf_segment_size",
    "innodb_ibuf_merges", "innodb_ibuf_merged_inserts", "innodb_ibuf_merged_deletes",
    "innodb_ibuf_merged_delete_marks", "innodb_mutex_spin_waits", "innodb_mutex_spin_rounds",
    "innodb_mutex_os_waits", "innodb_s_lock_spin_waits", "innodb_s_lock_spin_rounds", "innodb_s_lock_os_waits",
    "innodb_x_lock_spin_waits", "innodb_x_lock_spin_rounds", "innodb_x_lock_os_waits",
];

impl Facts {
    /// Keeps a value if it is one that others are made of.
    pub(super) fn note(&mut self, name: &str, value: Value) {
        let number = match value {
            Value::Int(n) => n,
            Value::UInt(n) => i64::try_from(n).unwrap_or(i64::MAX),
            _ => return,
        };
        if let Some(&kept) = KEPT.iter().find(|&&kept| kept == name) {
            // A server that says a name twice means the last
            self.0.retain(|(name, _)| *name != kept);
            self.0.push((kept, number));
        }
    }

    /// Takes in what another sample of names has.
    pub(super) fn join(&mut self, other: Facts) {
        self.0.extend(other.0);
    }

    /// The value of that name, if the server has it.
    pub(super) fn get(&self, name: &str) -> Option<i64> {
        debug_assert!(KEPT.contains(&name), "{name}");
        let found = self.0.iter().find(|(kept, _)| *kept == name);
        found.map(|(_, value)| *value)
    }

    /// The sum of values, if the server has all of them.
    fn sum(&self, names: &[&str]) -> Option<i64> {
        names
            .iter()
            .try_fold(0i64, |sum, name| Some(sum.saturating_add(self.get(name)?)))
    }
}

/// A derived value: `part` of `whole` in percent, or `otherwise` where the whole is nothing.
struct Share {
    name: &'static str,
    part: &'static [&'static str],
    whole: &'static [&'static str],
    otherwise: f64,
    /// The value is the rest of the whole, without the part.
    rest: bool,
    extra: bool,
}

const fn share(
    name: &'static str,
    part: &'static [&'static str],
    whole: &'static [&'static str],
    otherwise: f64,
) -> Share {
    Share {
        name,
        part,
        whole,
        otherwise,
        rest: false,
        extra: false,
    }
}

const READS: &[&str] = &["com_select"];
const WRITES: &[&str] = &["com_delete", "com_insert", "com_update", "com_replace"];
#[rustfmt::skip]
const STATEMENTS: &[&str] = &["com_delete", "com_insert", "com_update", "com_replace", "com_select"];

/// In the order of the lines. Without any part it is a count, `joins_without_indexes`.
#[rustfmt::skip]
const SHARES: &[Share] = &[
    share("mysql.derived.slow_query_percentage", &["slow_queries"], &["questions"], 0.0),
    share("mysql.derived.connections_used_percentage", &["max_used_connections"], &["vars.max_connections"], f64::NAN),
    share("mysql.derived.aborted_connections_percentage", &["aborted_connects"], &["connections"], 0.0),
    share("mysql.derived.aborted_clients_percentage", &["aborted_clients"], &["connections"], 0.0),
    share("mysql.derived.read_percentage", READS, STATEMENTS, 0.0),
    share("mysql.derived.write_percentage", WRITES, STATEMENTS, 0.0),
    share("mysql.derived.query_cache_efficiency", &["qcache_hits"], &["com_select", "qcache_hits"], 0.0),
    share("mysql.derived.joins_without_indexes", &[], &["select_range_check", "select_full_join"], 0.0),
    share("mysql.derived.table_cache_hit_rate", &["open_tables"], &["opened_tables"], 100.0),
    share("mysql.derived.open_file_percentage", &["open_files"], &["vars.open_files_limit"], 0.0),
    share("mysql.derived.immediate_table_lock_percentage", &["table_locks_immediate"], &["table_locks_waited", "table_locks_immediate"], 100.0),
    Share { rest: true, ..share("mysql.derived.thread_cache_hit_rate", &["threads_created"], &["connections"], 100.0) },
    share("mysql.derived.tmp_disk_table_percentage", &["created_tmp_disk_tables"], &["created_tmp_tables"], 0.0),
    Share { extra: true, ..share("mysql.derived.connections_open_percentage", &["threads_connected"], &["vars.max_connections"], f64::NAN) },
    Share { extra: true, rest: true, ..share("mysql.derived.buffer_pool_hit_rate", &["innodb_buffer_pool_reads"], &["innodb_buffer_pool_read_requests"], 100.0) },
    Share { extra: true, ..share("mysql.derived.buffer_pool_used_percentage", &["innodb_buffer_pool_pages_data"], &["innodb_buffer_pool_pages_total"], f64::NAN) },
];

/// The values that the server's numbers make, each for itself: one that lacks a number is left out.
pub(super) fn derived(facts: &Facts, extra: bool, emit: &mut dyn FnMut(&str, Value)) {
    for share in SHARES.iter().filter(|share| extra || !share.extra) {
        if let Some(value) = share.of(facts) {
            emit(share.name, value);
        }
    }
}

impl Share {
    fn of(&self, facts: &Facts) -> Option<Value<'static>> {
        let whole = facts.sum(self.whole);
        if self.part.is_empty() {
            return whole.map(Value::Int);
        }
        // A server without a query cache
        if whole.is_none() && self.name.ends_with("query_cache_efficiency") {
            return Some(Value::Float(0.0));
        }
        let whole = whole?;
        let share = match whole {
            ..=0 => self.otherwise,
            _ => 100.0 * self.quotient(facts.sum(self.part)? as f64 / whole as f64),
        };
        let most = if self.name.ends_with("connections_used_percentage") {
            100.0
        } else {
            f64::INFINITY
        };
        Some(Value::Float(share.min(most))).filter(|_| !share.is_nan())
    }

    fn quotient(&self, part: f64) -> f64 {
        if self.rest {
            1.0 - part
        } else {
            part
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(list: &[(&str, i64)]) -> Facts {
        let mut facts = Facts::default();
        for (name, value) in list {
            facts.note(name, Value::Int(*value));
        }
        facts
    }

    fn lines(facts: &Facts, extra: bool) -> Vec<String> {
        let mut lines = Vec::new();
        derived(facts, extra, &mut |name, value| {
            let name = name.strip_prefix("mysql.derived.").unwrap();
            let value = match value {
                Value::Float(x) => format!("{x:?}"),
                Value::Int(n) => n.to_string(),
                other => panic!("{other:?}"),
            };
            lines.push(format!("{name} {value}"));
        });
        lines
    }

    #[test]
    fn values_are_numbers_where_the_python_agent_makes_them_numbers() {
        for (text, wanted) in [
            ("12", Value::Int(12)),
            ("-1", Value::Int(-1)),
            (
                "18446744073709551615",
                Value::UInt(18_446_744_073_709_551_615),
            ),
            ("0.047624", Value::Float(0.047624)),
            ("1.", Value::Float(1.0)),
            ("1e5", Value::Text("1e5")),
            ("8.0.40", Value::Text("8.0.40")),
            ("", Value::Text("")),
            ("OFF", Value::Text("OFF")),
            ("NULL", Value::Text("NULL")),
            ("inf", Value::Text("inf")),
            ("9.9e999", Value::Text("9.9e999")),
        ] {
            assert_eq!(value(text), wanted, "{text}");
        }
        let long = "\u{e9}".repeat(TEXT + 1);
        assert_eq!(value(&long), Value::Text(&long[..2 * TEXT]));
    }

    #[test]
    fn derived_values_are_those_of_the_golden_sample() {
        let facts = facts(&[
            ("vars.max_connections", 151),
            ("vars.open_files_limit", 20000),
            ("questions", 15),
            ("slow_queries", 0),
            ("max_used_connections", 1),
            ("connections", 4),
            ("aborted_connects", 0),
            ("aborted_clients", 0),
            ("com_select", 3),
            ("com_insert", 1),
            ("com_delete", 0),
            ("com_update", 0),
            ("com_replace", 0),
            ("qcache_hits", 0),
            ("select_range_check", 0),
            ("select_full_join", 0),
            ("open_tables", 14),
            ("opened_tables", 21),
            ("open_files", 29),
            ("table_locks_immediate", 38),
            ("table_locks_waited", 0),
            ("threads_created", 1),
            ("created_tmp_tables", 2),
            ("created_tmp_disk_tables", 0),
        ]);
        assert_eq!(
            lines(&facts, false),
            [
                "slow_query_percentage 0.0",
                "connections_used_percentage 0.6622516556291391",
                "aborted_connections_percentage 0.0",
                "aborted_clients_percentage 0.0",
                "read_percentage 75.0",
                "write_percentage 25.0",
                "query_cache_efficiency 0.0",
                "joins_without_indexes 0",
                "table_cache_hit_rate 66.66666666666666",
                "open_file_percentage 0.145",
                "immediate_table_lock_percentage 100.0",
                "thread_cache_hit_rate 75.0",
                "tmp_disk_table_percentage 0.0",
            ]
        );
    }

    #[test]
    fn a_number_that_the_server_lacks_costs_only_what_is_made_of_it() {
        let some = facts(&[
            ("questions", 4),
            ("slow_queries", 1),
            ("com_select", 0),
            ("vars.max_connections", 0),
            ("max_used_connections", 3),
            ("select_full_join", 2),
        ]);
        assert_eq!(
            lines(&some, true),
            ["slow_query_percentage 25.0", "query_cache_efficiency 0.0"]
        );
        assert_eq!(lines(&facts(&[]), false), ["query_cache_efficiency 0.0"]);
    }

    #[test]
    fn no_numbers_of_a_server_make_a_value_that_is_none() {
        for n in [0, -1, i64::MAX, i64::MIN] {
            let mut facts = Facts::default();
            for name in KEPT {
                facts.note(name, Value::Int(n));
            }
            for line in lines(&facts, true) {
                assert!(!line.contains("NaN") && !line.contains("inf"), "{line}");
            }
        }
    }
}
