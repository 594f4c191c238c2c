//! Where in the journal each monitor is: `journald-checkpoints.json` in the agent's data directory,
//! one JSON object of cursors by name, shared by all instances.

use serde_json::{Map, Value as Json};
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often a saved cursor is also forced to the disk. In between a power failure can cost the
/// newest ones, which means some entries twice; flash memory is spared in turn.
const FORCE_EVERY: Duration = Duration::from_secs(60);

/// Instances read and write the file in turn.
static FILE: Mutex<()> = Mutex::new(());

/// The file, and whose cursor is meant.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    name: String,
    saved: Option<String>,
    forced: Option<Instant>,
}

impl Checkpoint {
    /// For the monitor of that name. Reads nothing yet.
    pub fn new(data_dir: &Path, name: &str) -> Self {
        Checkpoint {
            path: data_dir.join("journald-checkpoints.json"),
            name: name.to_owned(),
            saved: None,
            forced: None,
        }
    }

    /// The cursor of last time, if there is one.
    ///
    /// # Errors
    /// The file is there and cannot be read or understood.
    pub fn load(&self) -> Result<Option<String>, String> {
        let _turn = FILE.lock().unwrap_or_else(PoisonError::into_inner);
        let all = read(&self.path).map_err(|error| format!("{}: {error}", self.path.display()))?;
        let cursor = all.get(&self.name).and_then(Json::as_str);
        Ok(cursor.filter(|text| is_sound(text)).map(str::to_owned))
    }

    /// Saves a cursor, if it is another than last time. The other monitors' stay as they are; a
    /// file that cannot be understood is replaced.
    ///
    /// # Errors
    /// With the path in its text.
    pub fn save(&mut self, cursor: &str, force: bool) -> io::Result<()> {
        let force = force || self.forced.is_none_or(|then| then.elapsed() >= FORCE_EVERY);
        if self.saved.as_deref() == Some(cursor) {
            return Ok(());
        }
        let _turn = FILE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = read(&self.path).unwrap_or_default();
        all.insert(self.name.clone(), cursor.into());
        replace(&self.path, Json::Object(all).to_string().as_bytes(), force)
            .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", self.path.display())))?;
        self.saved = Some(cursor.to_owned());
        if force {
            self.forced = Some(Instant::now());
        }
        Ok(())
    }
}

fn read(path: &Path) -> io::Result<Map<String, Json>> {
    match fs::read(path) {
        Ok(text) => match serde_json::from_slice(&text)? {
            Json::Object(all) => Ok(all),
            _ => Err(io::Error::other("holds no JSON object")),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Map::new()),
        Err(error) => Err(error),
    }
}

fn replace(path: &Path, text: &[u8], force: bool) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push("~");
    let mut file = common::files::create(Path::new(&beside))?;
    file.write_all(text)?;
    if force {
        file.sync_data()?;
    }
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

    const CURSOR: &str = "s=71d8bddf;i=7d0;b=958b7e26;m=2dc2d8;t=65bfeda446098;x=3682e1a71196c02f";

    #[test]
    fn instances_share_the_file_and_keep_each_others_places() {
        let scratch = Scratch::new("journal-checkpoints");
        let path = scratch.path("journald-checkpoints.json");
        let mut a = Checkpoint::new(&scratch.path(""), "j1");
        let mut b = Checkpoint::new(&scratch.path(""), "scalyr_agent.builtin_monitors.x");
        assert_eq!(a.load(), Ok(None));
        a.save("s=abc;i=3c", false).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), r#"{"j1":"s=abc;i=3c"}"#);
        b.save("s=b", true).unwrap();
        a.save("s=abc;i=3d", false).unwrap();
        assert_eq!(a.load().unwrap().as_deref(), Some("s=abc;i=3d"));
        assert_eq!(b.load().unwrap().as_deref(), Some("s=b"));
        let names: Vec<_> = fs::read_dir(scratch.path("")).unwrap().collect();
        assert_eq!(names.len(), 1, "no temporary file is left");
    }

    #[test]
    fn a_damaged_file_is_told_and_then_replaced() {
        let scratch = Scratch::new("journal-damaged");
        let path = scratch.path("journald-checkpoints.json");
        for text in ["", "{\"j1\": ", "[1]", "\u{0}\u{0}"] {
            fs::write(&path, text).unwrap();
            let mut a = Checkpoint::new(&scratch.path(""), "j1");
            let error = a.load().unwrap_err();
            assert!(error.contains("journald-checkpoints.json: "), "{error}");
            a.save("s=1", false).unwrap();
            assert_eq!(a.load().unwrap().as_deref(), Some("s=1"));
        }
        // A value of a wrong kind, or with text that is no cursor.
        for text in [r#"{"j1": 5}"#, r#"{"j1": ""}"#, r#"{"j1": "a b"}"#] {
            fs::write(&path, text).unwrap();
            assert_eq!(Checkpoint::new(&scratch.path(""), "j1").load(), Ok(None));
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
