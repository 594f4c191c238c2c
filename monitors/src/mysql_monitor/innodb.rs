//! The text that `SHOW ENGINE INNODB STATUS` gives, of which each server has other lines; what it no
//! longer has is taken from the server's status.

use super::facts::Facts;

/// A metric behind `mysql.innodb.`, and its field `type`; empty for none.
type Series = (&'static str, &'static str);

const MUTEX: &str = "mutex";
const SHARED: &str = "rw-shared";
const EXCLUSIVE: &str = "rw-exclusive";

/// The beginning of a line, in which `#` is a number, and the series of these numbers in their order;
/// an empty name for a number that nobody wants.
#[rustfmt::skip]
const LINES: &[(&str, &[Series])] = &[
    // Up to MySQL 5.5, and MariaDB of that age
    ("OS WAIT ARRAY INFO: reservation count #, signal count #", &[("oswait_array.reservation_count", ""), ("oswait_array.signal_count", "")]),
    ("Mutex spin waits #, rounds #, OS waits #", &[("locks.spin_waits", MUTEX), ("locks.rounds", MUTEX), ("locks.os_waits", MUTEX)]),
    ("RW-shared spins #, OS waits #; RW-excl spins #, OS waits #", &[("locks.spin_waits", SHARED), ("locks.os_waits", SHARED), ("locks.spin_waits", EXCLUSIVE), ("locks.os_waits", EXCLUSIVE)]),
    ("Ibuf: size #, free list len #, seg size #,", &[("ibuf.size", ""), ("ibuf.free_list_len", ""), ("ibuf.seg_size", "")]),
    ("# inserts, # merged recs, # merges", &[("ibuf.inserts", ""), ("ibuf.merged_recs", ""), ("ibuf.merges", "")]),
    ("# queries inside InnoDB, # queries in queue", &[("", ""), ("queries_queued", "")]),
    ("# read views open inside InnoDB", &[("opened_read_views", "")]),
    ("History list length #", &[("history_list_length", "")]),
    // From MySQL 5.6 on
    ("OS WAIT ARRAY INFO: reservation count #", &[("oswait_array.reservation_count", "")]),
    ("OS WAIT ARRAY INFO: signal count #", &[("oswait_array.signal_count", "")]),
    ("RW-shared spins #, rounds #, OS waits #", &[("locks.spin_waits", SHARED), ("locks.rounds", SHARED), ("locks.os_waits", SHARED)]),
    ("RW-excl spins #, rounds #, OS waits #", &[("locks.spin_waits", EXCLUSIVE), ("locks.rounds", EXCLUSIVE), ("locks.os_waits", EXCLUSIVE)]),
    ("Ibuf: size #, free list len #, seg size #, # merges", &[("", ""), ("", ""), ("", ""), ("ibuf.merges", "")]),
];

/// The operations that the lines behind [`MERGED`] count; they are those of `ibuf.merged_recs`.
const OPERATIONS: &str = " insert #, delete mark #, delete #";
const MERGED: &str = "merged operations:";

/// The series in the server's status: MariaDB and Percona Server have them there.
#[rustfmt::skip]
const STATUS: &[(Series, &str)] = &[
    (("locks.spin_waits", MUTEX), "innodb_mutex_spin_waits"),
    (("locks.rounds", MUTEX), "innodb_mutex_spin_rounds"),
    (("locks.os_waits", MUTEX), "innodb_mutex_os_waits"),
    (("locks.spin_waits", SHARED), "innodb_s_lock_spin_waits"),
    (("locks.rounds", SHARED), "innodb_s_lock_spin_rounds"),
    (("locks.os_waits", SHARED), "innodb_s_lock_os_waits"),
    (("locks.spin_waits", EXCLUSIVE), "innodb_x_lock_spin_waits"),
    (("locks.rounds", EXCLUSIVE), "innodb_x_lock_spin_rounds"),
    (("locks.os_waits", EXCLUSIVE), "innodb_x_lock_os_waits"),
    (("ibuf.size", ""), "innodb_ibuf_size"),
    (("ibuf.free_list_len", ""), "innodb_ibuf_free_list"),
    (("ibuf.seg_size", ""), "innodb_ibuf_segment_size"),
    (("ibuf.merged_recs", ""), ""),
    (("ibuf.merges", ""), "innodb_ibuf_merges"),
    (("history_list_length", ""), "innodb_history_list_length"),
];

/// The series of a sample: each is emitted once.
#[derive(Default)]
pub(super) struct Innodb(Vec<Series>);

impl Innodb {
    /// Emits what the text has, in its order.
    pub(super) fn text(&mut self, text: &str, emit: &mut dyn FnMut(Series, u64)) {
        let mut merged = false;
        for line in text.lines() {
            for (pattern, series) in LINES {
                let numbers = numbers(line, pattern);
                for (series, number) in series.iter().zip(numbers) {
                    self.once(*series, number, emit);
                }
            }
            if merged {
                let operations = numbers(line, OPERATIONS);
                if !operations.is_empty() {
                    let sum = operations.iter().fold(0, |a: u64, b| a.saturating_add(*b));
                    self.once(("ibuf.merged_recs", ""), sum, emit);
                }
            }
            merged = line == MERGED;
        }
    }

    /// Emits what the status has and the text had not.
    pub(super) fn status(&mut self, facts: &Facts, emit: &mut dyn FnMut(Series, u64)) {
        for (series, name) in STATUS {
            let value = match *name {
                "" => facts
                    .get("innodb_ibuf_merged_inserts")
                    .zip(facts.get("innodb_ibuf_merged_deletes"))
                    .zip(facts.get("innodb_ibuf_merged_delete_marks"))
                    .map(|((a, b), c)| a.saturating_add(b).saturating_add(c)),
                // MariaDB 10.11 reads these 32 bits with what is beside them as 64
                "innodb_ibuf_size" | "innodb_ibuf_free_list" | "innodb_ibuf_segment_size" => {
                    facts.get(name).map(|pages| pages & 0xFFFF_FFFF)
                }
                name => facts.get(name),
            };
            if let Some(value) = value.and_then(|value| u64::try_from(value).ok()) {
                self.once(*series, value, emit);
            }
        }
    }

    fn once(&mut self, series: Series, value: u64, emit: &mut dyn FnMut(Series, u64)) {
        if !series.0.is_empty() && !self.0.contains(&series) {
            self.0.push(series);
            emit(series, value);
        }
    }
}

/// The numbers of a line that begins as the pattern says; none if it begins otherwise, or if one of them
/// is too large to be a number of a server.
fn numbers(line: &str, pattern: &str) -> Vec<u64> {
    let mut rest = line;
    let mut numbers = Vec::new();
    for (at, fixed) in pattern.split('#').enumerate() {
        if at > 0 {
            let end = rest.find(|c: char| !c.is_ascii_digit());
            let (digits, tail) = rest.split_at(end.unwrap_or(rest.len()));
            let Ok(number) = digits.parse() else {
                return Vec::new();
            };
            numbers.push(number);
            rest = tail;
        }
        let Some(tail) = rest.strip_prefix(fixed) else {
            return Vec::new();
        };
        rest = tail;
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::Value;

    fn of(text: &str, status: &[(&str, i64)]) -> Vec<String> {
        let mut facts = Facts::default();
        for (name, value) in status {
            facts.note(name, Value::Int(*value));
        }
        let mut lines = Vec::new();
        let mut emit = |(name, kind): Series, value: u64| {
            lines.push(format!("{name} {value} {kind}").trim().to_owned());
        };
        let mut innodb = Innodb::default();
        innodb.text(text, &mut emit);
        innodb.status(&facts, &mut emit);
        lines
    }

    #[test]
    fn the_text_of_old_servers_gives_every_series_with_its_type() {
        let text = "SEMAPHORES\nOS WAIT ARRAY INFO: reservation count 11, signal count 12\nMutex spin waits 13, rounds 14, OS waits 15\nRW-shared spins 16, OS waits 17; RW-excl spins 18, OS waits 19\nHistory list length 20\nIbuf: size 21, free list len 22, seg size 23,\n24 inserts, 25 merged recs, 26 merges\n27 queries inside InnoDB, 28 queries in queue\n29 read views open inside InnoDB\n";
        assert_eq!(
            of(text, &[("innodb_history_list_length", 99)]),
            [
                "oswait_array.reservation_count 11",
                "oswait_array.signal_count 12",
                "locks.spin_waits 13 mutex",
                "locks.rounds 14 mutex",
                "locks.os_waits 15 mutex",
                "locks.spin_waits 16 rw-shared",
                "locks.os_waits 17 rw-shared",
                "locks.spin_waits 18 rw-exclusive",
                "locks.os_waits 19 rw-exclusive",
                "history_list_length 20",
                "ibuf.size 21",
                "ibuf.free_list_len 22",
                "ibuf.seg_size 23",
                "ibuf.inserts 24",
                "ibuf.merged_recs 25",
                "ibuf.merges 26",
                "queries_queued 28",
                "opened_read_views 29",
            ]
        );
    }

    #[test]
    fn the_text_of_todays_mysql_gives_the_same_series() {
        assert_eq!(
            of(MYSQL8, &[]),
            [
                "oswait_array.reservation_count 31",
                "oswait_array.signal_count 32",
                "locks.spin_waits 1 rw-shared",
                "locks.rounds 2 rw-shared",
                "locks.os_waits 3 rw-shared",
                "locks.spin_waits 4 rw-exclusive",
                "locks.rounds 5 rw-exclusive",
                "locks.os_waits 6 rw-exclusive",
                "history_list_length 7",
                "ibuf.size 1",
                "ibuf.free_list_len 8",
                "ibuf.seg_size 10",
                "ibuf.merges 9",
                "ibuf.merged_recs 6",
                "queries_queued 12",
                "opened_read_views 13",
            ]
        );
    }

    #[test]
    fn what_the_text_of_mariadb_lacks_comes_from_the_status() {
        let text = "History list length 5\n0 read views open inside InnoDB\n";
        let status = [
            ("innodb_history_list_length", 6),
            ("innodb_ibuf_size", 8_710_193_676_289),
            ("innodb_ibuf_segment_size", 1_103_806_595_074),
            ("innodb_ibuf_merges", 3),
            ("innodb_ibuf_merged_inserts", 1),
            ("innodb_ibuf_merged_deletes", 2),
            ("innodb_ibuf_merged_delete_marks", 4),
            ("innodb_s_lock_os_waits", -1),
        ];
        assert_eq!(
            of(text, &status),
            [
                "history_list_length 5",
                "opened_read_views 0",
                "ibuf.size 1",
                "ibuf.seg_size 2",
                "ibuf.merged_recs 7",
                "ibuf.merges 3",
            ]
        );
    }

    #[test]
    fn lines_that_only_look_like_it_give_nothing() {
        for line in [
            "x History list length 5",
            "History list length ",
            "History list length 99999999999999999999999",
            "OS WAIT ARRAY INFO: reservation count , signal count 1",
            " insert 1, delete mark 2, delete 3",
            "discarded operations:\n insert 1, delete mark 2, delete 3",
        ] {
            assert!(of(line, &[]).is_empty(), "{line}");
        }
    }

    const MYSQL8: &str = "
----------
SEMAPHORES
----------
OS WAIT ARRAY INFO: reservation count 31
OS WAIT ARRAY INFO: signal count 32
RW-shared spins 1, rounds 2, OS waits 3
RW-excl spins 4, rounds 5, OS waits 6
RW-sx spins 0, rounds 0, OS waits 0
Spin rounds per wait: 0.00 RW-shared, 0.00 RW-excl, 0.00 RW-sx
------------
TRANSACTIONS
------------
Trx id counter 1811
History list length 7
-------------------------------------
INSERT BUFFER AND ADAPTIVE HASH INDEX
-------------------------------------
Ibuf: size 1, free list len 8, seg size 10, 9 merges
merged operations:
 insert 1, delete mark 2, delete 3
discarded operations:
 insert 50, delete mark 60, delete 70
--------------
ROW OPERATIONS
--------------
11 queries inside InnoDB, 12 queries in queue
13 read views open inside InnoDB
";
}
