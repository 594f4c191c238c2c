//! The processes of the host with their command lines. One table for all monitors of an agent that
//! look at the same `/proc`: whoever needs a fresh one reads it, and the others find it read.

use super::reading::{self, Stat};
use std::collections::HashSet;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// At most this many bytes of a command line are looked at, as many as `ps` shows.
const MOST_OF_COMMAND: usize = 128 * 1024;

/// A process as the last pass saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: i32,
    /// Its parent's id.
    pub parent: i32,
    /// When it started, in ticks since boot: with the pid this names it for good.
    pub start: u64,
    command: Range<usize>,
}

/// All processes of one moment.
#[derive(Debug, Default)]
pub struct Table {
    /// By pid.
    processes: Vec<Process>,
    /// Their command lines, one behind the other.
    commands: String,
    taken: Option<Instant>,
    #[cfg(test)]
    passes: u64,
    path: String,
    buffer: Vec<u8>,
}

static TABLES: Mutex<Vec<(PathBuf, Weak<Mutex<Table>>)>> = Mutex::new(Vec::new());

/// The table of the host at `root`, which lives as long as someone holds it.
pub fn shared(root: &Path) -> Arc<Mutex<Table>> {
    let mut tables = lock(&TABLES);
    tables.retain(|(_, table)| table.strong_count() > 0);
    if let Some((_, table)) = tables.iter().find(|(known, _)| known == root) {
        if let Some(table) = table.upgrade() {
            return table;
        }
    }
    let table = Arc::default();
    tables.push((root.to_owned(), Arc::downgrade(&table)));
    table
}

/// A panic elsewhere leaves at worst a pass half done, which the next one begins anew.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Table {
    /// Makes sure that the table is no older than `max_age`. Processes that vanish meanwhile are
    /// left out, and so are those that have ended and only wait for their parent to notice.
    ///
    /// # Errors
    /// `/proc` itself cannot be listed.
    pub fn refresh(&mut self, root: &Path, max_age: Duration) -> io::Result<()> {
        if self.taken.is_some_and(|then| then.elapsed() <= max_age) {
            return Ok(());
        }
        self.taken = None;
        self.processes.clear();
        self.commands.clear();
        let proc = root.join("proc");
        let entries = fs::read_dir(&proc)
            .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", proc.display())))?;
        for entry in entries {
            let Ok(entry) = entry else { break };
            let name = entry.file_name();
            let Some(pid) = name.to_str().and_then(reading::pid) else {
                continue;
            };
            self.add(&proc, pid);
        }
        common::sort::by_key(&mut self.processes, |process| process.pid);
        self.taken = Some(Instant::now());
        #[cfg(test)]
        {
            self.passes += 1;
        }
        Ok(())
    }

    fn add(&mut self, proc: &Path, pid: i32) {
        let Self {
            processes,
            commands,
            path,
            buffer,
            ..
        } = self;
        reading::set_path(path, proc, pid, "stat");
        let Ok(text) = reading::read(path, buffer, MOST_OF_COMMAND) else {
            return;
        };
        let Some(stat) = Stat::parse(text).filter(|stat| !stat.has_ended()) else {
            return;
        };
        let (parent, start) = (stat.parent, stat.start);
        let from = commands.len();
        // A kernel thread has no command line; its name stands in brackets, as in `ps`.
        commands.push('[');
        append_text(stat.name, commands);
        commands.push(']');
        let name_ends = commands.len();
        reading::set_path(path, proc, pid, "cmdline");
        let Ok(raw) = reading::read(path, buffer, MOST_OF_COMMAND) else {
            commands.truncate(from);
            return;
        };
        append_text(raw, commands);
        let command = if commands.len() == name_ends {
            from..name_ends
        } else {
            name_ends..commands.len()
        };
        processes.push(Process {
            pid,
            parent,
            start,
            command,
        });
    }

    /// All of them, in the order of their pids.
    pub fn processes(&self) -> &[Process] {
        &self.processes
    }

    /// The command line: arguments with blanks between them.
    pub fn command(&self, process: &Process) -> &str {
        self.commands
            .get(process.command.clone())
            .unwrap_or_default()
    }

    /// Adds to `chosen` all that descend from one of them.
    pub fn add_descendants(&self, chosen: &mut Vec<Process>) {
        let mut family: HashSet<i32> = chosen.iter().map(|process| process.pid).collect();
        loop {
            let before = chosen.len();
            for process in &self.processes {
                if family.contains(&process.parent) && family.insert(process.pid) {
                    chosen.push(process.clone());
                }
            }
            if chosen.len() == before {
                return;
            }
        }
    }

    /// How often `/proc` was gone through.
    #[cfg(test)]
    pub fn passes(&self) -> u64 {
        self.passes
    }
}

/// Appends what `ps` would show: NUL as a blank, nothing for those at the end, `?` for other
/// control characters and for what is no UTF-8.
fn append_text(raw: &[u8], out: &mut String) {
    let end = raw.iter().rposition(|&b| b != 0).map_or(0, |at| at + 1);
    for chunk in raw[..end].utf8_chunks() {
        out.extend(chunk.valid().chars().map(|c| match c {
            '\0' => ' ',
            c if c.is_control() => '?',
            c => c,
        }));
        if !chunk.invalid().is_empty() {
            out.push('?');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_shown_as_ps_shows_it() {
        let text = |raw: &[u8]| {
            let mut out = String::new();
            append_text(raw, &mut out);
            out
        };
        assert_eq!(text(b"sh\0-c\0a  b\0\0\0"), "sh -c a  b");
        assert_eq!(text(b"x\0\0y\0"), "x  y");
        assert_eq!(text(b"a\nb\x1b[1m\0caf\xc3\xa9\0\xff\0"), "a?b?[1m café ?");
        assert_eq!(text(b"\0\0"), "");
    }
}
