//! Where in the journal each monitor is: two streams of [`Cursors`] for each, and `journald-checkpoints.json` in the
//! agent's data directory for other agents, one JSON object of cursors by name, shared by all instances.
//!
//! One stream has the cursor before which all lines are synced. The other one has a newer cursor, up to which lines are
//! written; it counts as long as the system was not started anew, since no written line is lost until then. So a crash of the
//! agent repeats nothing, a loss of power repeats some entries and loses none, and nothing is synced for each batch.

use crate::cursors::Cursors;
use common::sha256;
use serde_json::{Map, Value as Json};
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Instances read and write the file in turn.
static FILE: Mutex<()> = Mutex::new(());
/// The stream that knows the files for other agents that we wrote or have taken over last: hashes of 16 bytes.
const EXPORTS: &str = "journald-checkpoints.json";

/// The cursor of one monitor.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    name: String,
    cursors: Arc<Cursors>,
    /// The id of this start of the system; empty if it is not known.
    boot: String,
    /// Up to here all is synced, and up to here all is written.
    synced: Option<String>,
    written: Option<String>,
    synced_at: Option<Instant>,
}

impl Checkpoint {
    /// For the monitor of that name. Reads nothing yet.
    pub fn new(data_dir: &Path, name: &str, cursors: Arc<Cursors>) -> Self {
        Checkpoint {
            path: data_dir.join("journald-checkpoints.json"),
            name: name.to_owned(),
            cursors,
            boot: String::new(),
            synced: None,
            written: None,
            synced_at: None,
        }
    }

    /// The cursor of last time, if there is one. A file that another agent has written since wins.
    ///
    /// # Errors
    /// There is none, and the file is there and cannot be read or understood.
    pub fn load(&mut self, boot: &str) -> Result<Option<String>, String> {
        boot.clone_into(&mut self.boot);
        let taken = self.take_over();
        let cursor = |stream: &str| {
            let cursor = String::from_utf8(self.cursors.get(stream)?).ok()?;
            Some(cursor).filter(|cursor| !cursor.is_empty())
        };
        let written = cursor(&unsynced(&self.name)).and_then(|both| {
            let (then, cursor) = both.split_once(' ')?;
            (then == boot && !boot.is_empty()).then(|| cursor.to_owned())
        });
        self.synced = cursor(&synced(&self.name));
        self.written = written.or_else(|| self.synced.clone());
        match self.written.clone().filter(|text| is_sound(text)) {
            None => taken
                .map(|()| None)
                .map_err(|error| format!("{}: {error}", self.path.display())),
            known => Ok(known),
        }
    }

    /// Takes over the cursors of a file that is neither ours nor taken over already.
    fn take_over(&self) -> io::Result<()> {
        let _turn = FILE.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(text) = read(&self.path)? else {
            return Ok(());
        };
        let known = self.cursors.get(EXPORTS).unwrap_or_default();
        let id = id_of(&text);
        if known.chunks(id.len()).any(|known| known == id) {
            return Ok(());
        }
        for (name, cursor) in parse(&text)? {
            if let Some(cursor) = cursor.as_str().filter(|text| is_sound(text)) {
                self.cursors.set(&synced(&name), cursor.as_bytes());
                self.forget_written(&name);
            }
        }
        self.cursors.set(EXPORTS, &id);
        Ok(())
    }

    fn forget_written(&self, name: &str) {
        let stream = unsynced(name);
        if self.cursors.get(&stream).is_some_and(|it| !it.is_empty()) {
            self.cursors.set(&stream, b"");
        }
    }

    /// All lines up to this cursor are written. `sync` has them outlive a loss of power; it is called once in a while, and
    /// with `at_once`.
    ///
    /// # Errors
    /// Of `sync`: after a loss of power more entries would come again.
    pub fn save(
        &mut self,
        cursor: &str,
        at_once: bool,
        sync: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        if self.synced.as_deref() == Some(cursor) {
            return Ok(());
        }
        let is_due = self.cursors.sync_each().is_some_and(|each| {
            let is_past = |then: Instant| then.elapsed() >= each;
            self.synced_at.is_none_or(is_past)
        });
        if at_once || is_due {
            self.synced_at = Some(Instant::now());
            let done = sync();
            if done.is_ok() {
                self.cursors.set(&synced(&self.name), cursor.as_bytes());
                self.forget_written(&self.name);
                self.synced = Some(cursor.to_owned());
                self.written.clone_from(&self.synced);
                return done;
            }
            self.note(cursor);
            return done;
        }
        self.note(cursor);
        Ok(())
    }

    fn note(&mut self, cursor: &str) {
        if self.written.as_deref() != Some(cursor) {
            let both = format!("{} {cursor}", self.boot);
            self.cursors.set(&unsynced(&self.name), both.as_bytes());
            self.written = Some(cursor.to_owned());
        }
    }

    /// Writes the file for other agents, if it lacks this cursor. The other monitors' stay as they are; a file that cannot be
    /// understood is replaced.
    ///
    /// # Errors
    /// With the path in its text.
    pub fn export(&self, cursor: &str) -> io::Result<()> {
        let _turn = FILE.lock().unwrap_or_else(PoisonError::into_inner);
        let all = read(&self.path).and_then(|text| text.map_or(Ok(Map::new()), |t| parse(&t)));
        let mut all = all.unwrap_or_default();
        if all.get(&self.name).and_then(Json::as_str) == Some(cursor) {
            return Ok(());
        }
        all.insert(self.name.clone(), cursor.into());
        let text = Json::Object(all).to_string();
        let mut known = id_of(text.as_bytes()).to_vec();
        // Both are known, as the agent may die before the new one is in its place
        known.extend(self.cursors.get(EXPORTS).unwrap_or_default());
        known.truncate(2 * id_of(b"").len());
        self.cursors.set(EXPORTS, &known);
        replace(&self.path, text.as_bytes())
            .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", self.path.display())))
    }
}

/// The stream of a monitor with the cursor before which all is synced.
fn synced(name: &str) -> String {
    format!("journald {name}")
}

/// The one with the cursor before which all is written, behind the id of the system's start and a blank.
fn unsynced(name: &str) -> String {
    format!("journald {name}, not synced")
}

/// Names a text.
fn id_of(text: &[u8]) -> [u8; 16] {
    let mut id = [0; 16];
    id.copy_from_slice(&sha256::digest(text)[..16]);
    id
}

/// The text of the file; `None` if there is none.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn parse(text: &[u8]) -> io::Result<Map<String, Json>> {
    match serde_json::from_slice(text)? {
        Json::Object(all) => Ok(all),
        _ => Err(io::Error::other("holds no JSON object")),
    }
}

fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push("~");
    let mut file = common::files::create(Path::new(&beside))?;
    file.write_all(text)?;
    file.sync_data()?;
    fs::rename(&beside, path)
}

/// Fit for a command line: a cursor is some `name=value` with semicolons between them.
fn is_sound(cursor: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'=' | b';' | b'-' | b'_');
    !cursor.is_empty() && cursor.len() <= 1024 && cursor.bytes().all(allowed)
}

/// An element of a cursor, such as `t`.
fn part(cursor: &str, name: char) -> Option<&str> {
    let mut parts = cursor.split(';');
    parts.find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
}

/// When the entry of a cursor was written, in microseconds since the epoch.
pub fn time_of(cursor: &str) -> Option<u64> {
    u64::from_str_radix(part(cursor, 't')?, 16).ok()
}

/// Whether two cursors are of one entry. The same entry may stand in several files of the journal,
/// each with numbers of its own.
pub fn same_entry(a: &str, b: &str) -> bool {
    let known = ['b', 'm', 't', 'x'];
    a == b
        || known
            .iter()
            .all(|&n| part(a, n).is_some() && part(a, n) == part(b, n))
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::testing::Scratch;
    use std::cell::Cell;
    use std::time::Duration;

    const CURSOR: &str = "s=71d8bddf;i=7d0;b=958b7e26;m=2dc2d8;t=65bfeda446098;x=3682e1a71196c02f";

    const BOOT: &str = "958b7e26df4c453aa0f9a8406cb508f2";

    struct Journal;

    impl crate::cursors::Keep for Journal {
        fn keep(&self, _: &str, _: &[u8]) {}

        fn generation(&self) -> u64 {
            0
        }
    }

    /// Cursors that are kept, of which all are synced within an hour.
    fn cursors() -> Arc<Cursors> {
        let cursors = Arc::new(Cursors::default());
        cursors.keep_by(Box::new(Journal), [], Duration::from_secs(3600));
        cursors
    }

    fn of(scratch: &Scratch, name: &str, cursors: &Arc<Cursors>) -> Checkpoint {
        Checkpoint::new(&scratch.path(""), name, cursors.clone())
    }

    #[test]
    fn a_crash_repeats_nothing_and_a_loss_of_power_goes_back_to_what_is_synced() {
        let scratch = Scratch::new("journal-power");
        let cursors = cursors();
        let mut a = of(&scratch, "j1", &cursors);
        assert_eq!(a.load(BOOT), Ok(None));
        let syncs = Cell::new(0);
        let sync = || {
            syncs.set(syncs.get() + 1);
            Ok(())
        };
        a.save("s=1", false, sync).unwrap();
        a.save("s=2", false, sync).unwrap();
        a.save("s=3", false, sync).unwrap();
        assert_eq!(syncs.get(), 1);
        let load = |boot: &str| of(&scratch, "j1", &cursors).load(boot).unwrap();
        assert_eq!(load(BOOT).as_deref(), Some("s=3"));
        assert_eq!(load("another").as_deref(), Some("s=1"));
        assert_eq!(load("").as_deref(), Some("s=1"));
        let full = || Err(io::ErrorKind::StorageFull.into());
        a.save("s=4", true, full).unwrap_err();
        assert_eq!(load(BOOT).as_deref(), Some("s=4"));
        assert_eq!(load("another").as_deref(), Some("s=1"));
        a.save("s=4", true, sync).unwrap();
        assert_eq!(load("another").as_deref(), Some("s=4"));
    }

    #[test]
    fn the_file_of_another_agent_wins_and_ours_does_not() {
        let scratch = Scratch::new("journal-checkpoints");
        let path = scratch.path("journald-checkpoints.json");
        fs::write(&path, r#"{"j1":"s=a;i=1","x":"s=x","y":5,"z":"a b"}"#).unwrap();
        let cursors = cursors();
        let mut a = of(&scratch, "j1", &cursors);
        let mut b = of(&scratch, "x", &cursors);
        assert_eq!(a.load(BOOT).unwrap().as_deref(), Some("s=a;i=1"));
        a.save("s=a;i=2", false, || Ok(())).unwrap();
        assert_eq!(b.load(BOOT).unwrap().as_deref(), Some("s=x"));
        for name in ["y", "z"] {
            assert_eq!(of(&scratch, name, &cursors).load(BOOT), Ok(None));
        }
        // It has not changed since
        assert_eq!(a.load(BOOT).unwrap().as_deref(), Some("s=a;i=2"));
        a.export("s=a;i=2").unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, r#"{"j1":"s=a;i=2","x":"s=x","y":5,"z":"a b"}"#);
        a.save("s=a;i=3", true, || Ok(())).unwrap();
        a.save("s=a;i=4", false, || Ok(())).unwrap();
        assert_eq!(a.load(BOOT).unwrap().as_deref(), Some("s=a;i=4"));
        // It can be in either state after a kill
        a.export("s=a;i=4").unwrap();
        fs::write(&path, &text).unwrap();
        assert_eq!(a.load(BOOT).unwrap().as_deref(), Some("s=a;i=4"));
        fs::write(&path, r#"{"j1":"s=python"}"#).unwrap();
        assert_eq!(a.load(BOOT).unwrap().as_deref(), Some("s=python"));
        let names: Vec<_> = fs::read_dir(scratch.path("")).unwrap().collect();
        assert_eq!(names.len(), 1, "no temporary file is left");
    }

    #[test]
    fn a_damaged_file_is_told_where_nothing_else_is_known_and_then_replaced() {
        let scratch = Scratch::new("journal-damaged");
        let path = scratch.path("journald-checkpoints.json");
        for text in ["", "{\"j1\": ", "[1]", "\u{0}\u{0}"] {
            fs::write(&path, text).unwrap();
            let mut a = of(&scratch, "j1", &cursors());
            let error = a.load(BOOT).unwrap_err();
            assert!(error.contains("journald-checkpoints.json: "), "{error}");
            a.save("s=1", false, || Ok(())).unwrap();
            assert_eq!(a.load(BOOT).unwrap().as_deref(), Some("s=1"));
            a.export("s=1").unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), r#"{"j1":"s=1"}"#);
        }
    }

    #[test]
    fn a_cursor_tells_its_entry_and_its_time() {
        assert_eq!(time_of(CURSOR), Some(1_790_000_001_999_000));
        assert_eq!(time_of("s=abc;i=3c"), None);
        let elsewhere = CURSOR.replace("s=71d8bddf;i=7d0", "s=0;i=1");
        assert!(same_entry(CURSOR, &elsewhere));
        assert!(!same_entry(CURSOR, &CURSOR.replace("x=3", "x=4")));
        assert!(same_entry("s=abc;i=3c", "s=abc;i=3c"));
        assert!(!same_entry("s=abc;i=3c", "s=abc;i=3d"));
    }
}
