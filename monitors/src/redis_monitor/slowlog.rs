//! The slow log of a server: which of its entries are new, and the text of a command.

use super::resp::Reply;

/// One entry.
#[derive(Debug, PartialEq)]
pub struct Entry {
    /// Consecutive since the server's start.
    pub id: i64,
    /// When the command began, in seconds since the epoch.
    pub at: i64,
    /// How long it took, in microseconds.
    pub micros: i64,
    /// Its arguments with a blank between two, as bytes.
    pub command: Vec<u8>,
    /// The client's address; empty from a server before 4.0.
    pub client: Vec<u8>,
    /// The name that the client has given itself.
    pub client_name: Vec<u8>,
}

impl Entry {
    /// The entry that a reply is, if it is one.
    pub fn of(reply: &Reply) -> Option<Entry> {
        let Reply::List(parts) = reply else {
            return None;
        };
        let Reply::List(arguments) = parts.get(3)? else {
            return None;
        };
        let mut command = Vec::new();
        for (n, argument) in arguments.iter().enumerate() {
            if n > 0 {
                command.push(b' ');
            }
            whole_characters(&mut command, argument.bytes());
        }
        let text = |n: usize| {
            parts
                .get(n)
                .map_or(Vec::new(), |part| part.bytes().to_vec())
        };
        Some(Entry {
            id: parts[0].int()?,
            at: parts[1].int()?,
            micros: parts[2].int()?,
            command,
            client: text(4),
            client_name: text(5),
        })
    }
}

/// Appends an argument. The server cuts one after 128 bytes and appends `... (N more bytes)`; the
/// beginning of a character before that is left out.
fn whole_characters(out: &mut Vec<u8>, argument: &[u8]) {
    let (before, mark) = argument.split_at(mark(argument).unwrap_or(argument.len()));
    // At most three bytes: a character has four.
    let begun = before
        .iter()
        .rev()
        .take(4)
        .position(|byte| byte & 0xC0 != 0x80)
        .map_or(0, |n| n + 1);
    let tail = &before[before.len() - begun..];
    let cut = !mark.is_empty()
        && std::str::from_utf8(tail)
            .is_err_and(|e| e.valid_up_to() == 0 && e.error_len().is_none());
    out.extend_from_slice(&before[..before.len() - if cut { begun } else { 0 }]);
    out.extend_from_slice(mark);
}

/// Where `... (N more bytes)` begins at the end of an argument.
fn mark(argument: &[u8]) -> Option<usize> {
    let rest = argument.strip_suffix(b" more bytes)")?;
    let digits = rest.iter().rev().take_while(|b| b.is_ascii_digit()).count();
    let rest = rest[..rest.len() - digits].strip_suffix(b"... (")?;
    (digits > 0).then_some(rest.len())
}

/// The answer of the server when it is asked.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub enum Since {
    /// For the first time: nothing that is there already is new.
    First,
    /// By the same process as the last time, as far as is known: ids that are lower show another.
    Same,
    /// By a process that has started since then: all it has is new.
    Restarted,
    /// By another server, as after a failover: new is what is not older than the last entry.
    Other,
}

/// Which entries were seen.
#[derive(Debug)]
pub struct Seen {
    id: i64,
    at: i64,
}

/// New entries, and whether some are missing.
#[derive(Debug)]
pub struct New {
    /// Newest first.
    pub entries: Vec<Entry>,
    /// The oldest of them follows the last that was seen.
    pub gapless: bool,
    /// The server that answers.
    pub since: Since,
    done: bool,
    newest: Option<(i64, i64)>,
}

impl Seen {
    /// Nothing.
    pub const fn new() -> Self {
        Seen { id: -1, at: 0 }
    }

    /// Begins to look through an answer.
    pub fn begin(&self, since: Since) -> New {
        New {
            entries: Vec::new(),
            gapless: since == Since::Same,
            since,
            done: since == Since::First,
            newest: None,
        }
    }

    /// Takes the next entry of an answer, which has the newest first.
    pub fn take(&self, new: &mut New, entry: Entry) {
        if new.newest.is_none() {
            new.newest = Some((entry.id, entry.at));
            if new.since == Since::Same && entry.id < self.id {
                new.since = Since::Other;
            }
        }
        if new.done {
            return;
        }
        new.done = match new.since {
            Since::First => true,
            Since::Same => entry.id <= self.id,
            Since::Restarted => false,
            Since::Other => entry.at < self.at,
        };
        if !new.done {
            new.gapless = new.since == Since::Same && entry.id == self.id + 1;
            new.entries.push(entry);
        }
    }

    /// Remembers the answer.
    pub fn end(&mut self, new: &New) {
        match new.newest {
            Some((id, at)) => (self.id, self.at) = (id, at),
            // The next entry may have any id
            None if new.since != Since::Same => self.id = -1,
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: i64, at: i64) -> Entry {
        Entry {
            id,
            at,
            micros: 1,
            command: Vec::new(),
            client: Vec::new(),
            client_name: Vec::new(),
        }
    }

    /// The ids that are new in an answer, oldest first, and whether some are missing.
    fn ask(seen: &mut Seen, since: Since, answer: &[(i64, i64)]) -> (Vec<i64>, bool) {
        let mut new = seen.begin(since);
        for &(id, at) in answer {
            seen.take(&mut new, entry(id, at));
        }
        seen.end(&new);
        let ids = new.entries.iter().rev().map(|entry| entry.id).collect();
        (ids, !new.gapless)
    }

    #[test]
    fn the_first_entry_of_an_empty_slow_log_is_sent() {
        let mut seen = Seen::new();
        assert_eq!(ask(&mut seen, Since::First, &[]).0, [0i64; 0]);
        assert_eq!(ask(&mut seen, Since::Same, &[]), (vec![], false));
        assert_eq!(ask(&mut seen, Since::Same, &[(0, 5)]), (vec![0], false));
        assert_eq!(ask(&mut seen, Since::Same, &[(0, 5)]), (vec![], false));
    }

    #[test]
    fn old_entries_are_not_sent_and_lost_ones_are_told() {
        let mut seen = Seen::new();
        assert_eq!(ask(&mut seen, Since::First, &[(7, 5)]).0, [0i64; 0]);
        let answer = [(9, 6), (8, 6), (7, 5)];
        assert_eq!(ask(&mut seen, Since::Same, &answer), (vec![8, 9], false));
        let answer = [(13, 7), (12, 7)];
        assert_eq!(ask(&mut seen, Since::Same, &answer), (vec![12, 13], true));
        // SLOWLOG RESET empties the log, and ids go on
        assert_eq!(ask(&mut seen, Since::Same, &[]), (vec![], false));
        assert_eq!(ask(&mut seen, Since::Same, &[(14, 7)]), (vec![14], false));
    }

    #[test]
    fn a_restart_loses_no_entry_of_the_same_second_and_sends_none_twice() {
        let mut seen = Seen::new();
        ask(&mut seen, Since::First, &[(100, 50)]);
        assert_eq!(
            ask(&mut seen, Since::Restarted, &[(1, 50), (0, 49)]).0,
            [0, 1]
        );
        assert_eq!(ask(&mut seen, Since::Same, &[(2, 50), (1, 50)]).0, [2]);
        assert_eq!(ask(&mut seen, Since::Restarted, &[]).0, [0i64; 0]);
        assert_eq!(ask(&mut seen, Since::Same, &[(0, 60)]), (vec![0], false));
    }

    #[test]
    fn another_server_behind_the_address_does_not_send_its_past() {
        let mut seen = Seen::new();
        ask(&mut seen, Since::First, &[(100, 50)]);
        let answer = [(900, 51), (899, 50), (898, 49), (897, 52)];
        assert_eq!(ask(&mut seen, Since::Other, &answer).0, [899, 900]);
    }

    fn joined(arguments: &[&[u8]]) -> String {
        let arguments = arguments.iter().map(|a| Reply::Text(a.to_vec())).collect();
        let reply = Reply::List(vec![
            Reply::Int(1),
            Reply::Int(2),
            Reply::Int(3),
            Reply::List(arguments),
        ]);
        String::from_utf8_lossy(&Entry::of(&reply).unwrap().command).into_owned()
    }

    #[test]
    fn a_character_that_the_server_cut_is_left_out_and_a_whole_one_stays() {
        let cut = |bytes: &[u8]| joined(&[b"set", &[bytes, b"... (9 more bytes)"].concat()]);
        assert_eq!(cut("aé".as_bytes()), "set aé... (9 more bytes)");
        assert_eq!(cut(b"a\xC3"), "set a... (9 more bytes)");
        assert_eq!(cut(b"a\xF0\x9F\x98"), "set a... (9 more bytes)");
        assert_eq!(cut("😀".as_bytes()), "set 😀... (9 more bytes)");
        assert_eq!(cut(b""), "set ... (9 more bytes)");
        // No text at all: nothing of it is eaten
        let stray = cut(&[b"a".as_slice(), &[0x80; 9]].concat());
        assert_eq!(stray.matches('\u{FFFD}').count(), 9);
        assert_eq!(joined(&[b"a\xC3", b"b"]), "a\u{FFFD} b");
        let inner = joined(&[b"a\xC3... (9 more bytes)", b"b"]);
        assert_eq!(inner, "a... (9 more bytes) b");
        assert_eq!(mark(b"... ( more bytes)"), None);
        assert_eq!(mark(b"x more bytes)"), None);
    }

    #[test]
    fn what_is_no_entry_is_none() {
        assert_eq!(Entry::of(&Reply::Nil), None);
        assert_eq!(Entry::of(&Reply::List(vec![])), None);
        let texts = || Reply::Text(Vec::new());
        let list = vec![texts(), texts(), texts(), Reply::List(vec![])];
        assert_eq!(Entry::of(&Reply::List(list)), None);
    }
}
