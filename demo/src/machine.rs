//! Which log files this machine has to show.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const LOGS: &str = "/var/log";

/// At most this many files are followed.
const MOST: usize = 30;

/// A larger file is followed from its end: its history would bury everything else.
const WHOLE: u64 = 4_000_000;

/// A log file that the agent is told to follow.
pub struct Followed {
    /// Absolute.
    pub path: PathBuf,
    /// Whether what is in it already is copied too.
    pub from_start: bool,
}

impl Followed {
    /// One whose present content is copied too.
    pub fn whole(path: PathBuf) -> Followed {
        Followed {
            path,
            from_start: true,
        }
    }
}

/// The readable text files under `/var/log`, down to the second level.
pub fn logs() -> Vec<Followed> {
    let mut found = Vec::new();
    gather(Path::new(LOGS), 1, &mut found);
    found.truncate(MOST);
    found
}

fn gather(folder: &Path, deeper: u32, found: &mut Vec<Followed>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        // Not of the link's target: what lies elsewhere is not ours to show
        let Ok(meta) = fs::symlink_metadata(&path) else {
            continue;
        };
        if meta.is_dir() && deeper > 0 {
            gather(&path, deeper - 1, found);
        } else if meta.is_file() && meta.len() > 0 && is_text(&path) {
            found.push(Followed {
                from_start: meta.len() <= WHOLE,
                path,
            });
        }
    }
}

/// Readable, named as a log that is being written, and without a NUL at its start.
fn is_text(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let packed = [".gz", ".xz", ".bz2", ".zst", ".zip"];
    if packed.iter().any(|end| name.ends_with(end)) {
        return false;
    }
    let mut start = Vec::new();
    File::open(path)
        .and_then(|file| file.take(512).read_to_end(&mut start))
        .is_ok_and(|_| !start.contains(&0))
}

/// The files in one line.
pub fn describe(logs: &[Followed]) -> String {
    let names: Vec<String> = logs
        .iter()
        .take(4)
        .map(|log| log.path.display().to_string())
        .collect();
    let more = logs.len() - names.len();
    let mut text = names.join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

/// Writes a log itself, where the machine has none to read.
pub struct Writer {
    file: File,
    next: Instant,
    lines: u64,
}

impl Writer {
    /// Creates the file.
    pub fn create(path: &Path) -> io::Result<Writer> {
        Ok(Writer {
            file: File::create(path)?,
            next: Instant::now(),
            lines: 0,
        })
    }

    /// Writes a line if one is due: two a second.
    pub fn write_due(&mut self) -> io::Result<()> {
        if Instant::now() < self.next {
            return Ok(());
        }
        self.next += Duration::from_millis(500);
        self.lines += 1;
        let lines = self.lines;
        writeln!(
            self.file,
            "demo line {lines}: there is no readable file under {LOGS}, so this is written for you"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_and_packed_files_are_not_shown_as_logs() {
        let folder = std::env::temp_dir().join(format!("demo-machine-{}", std::process::id()));
        fs::create_dir_all(folder.join("deep/deeper")).unwrap();
        for (name, text) in [
            ("app.log", "a line\n"),
            ("app.log.2.gz", "a line\n"),
            ("empty", ""),
            ("wtmp", "\x07\0\0\0"),
            ("deep/messages", "a line\n"),
            ("deep/deeper/no", "a line\n"),
        ] {
            fs::write(folder.join(name), text).unwrap();
        }
        let mut found = Vec::new();
        gather(&folder, 1, &mut found);
        fs::remove_dir_all(&folder).unwrap();
        let names: Vec<&str> = found
            .iter()
            .map(|log| log.path.strip_prefix(&folder).unwrap().to_str().unwrap())
            .collect();
        assert_eq!(names, ["app.log", "deep/messages"]);
    }
}
