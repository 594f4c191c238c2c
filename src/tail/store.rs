//! Checkpoint files, with the Python agent's names: those that it has written, or an older version of this agent,
//! are read. For the way back there is [`super::export`].

use super::export::{name_of, CONSOLIDATED, CONSOLIDATED_COPY};
use super::journal;
use super::ledger::record::{self, Saved};
use crate::util::sort;
use crate::util::time;
use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// Sets the journal and all checkpoint files of a data directory aside, unread, under another name. Where each is now.
///
/// # Errors
/// The first that can't be.
pub fn ignore(dir: &Path) -> Result<Vec<PathBuf>, Unread> {
    let aside = |path: PathBuf| {
        set_aside(&path, "ignored").map_err(|e| Unread {
            why: format!("it can't be set aside: {e}"),
            path,
            is_damaged: false,
            aside: None,
        })
    };
    let all = files(dir)?.into_iter().chain(journal_of(dir));
    all.map(aside).collect()
}

/// The journal, the checkpoint files, or the directory, that are there and may not be read.
pub fn denied(dir: &Path) -> Vec<Unread> {
    let unread = |path: PathBuf| {
        let e = File::open(&path).err()?;
        let unread = Unread::of(&path, &e)?;
        (!unread.is_damaged).then_some(unread)
    };
    match files(dir) {
        Ok(mut files) => {
            // That is read only where the file that it is a copy of is damaged
            files.retain(|path| !path.ends_with(CONSOLIDATED_COPY));
            let all = files.into_iter().chain(journal_of(dir));
            all.filter_map(unread).collect()
        }
        Err(unread) => vec![unread],
    }
}

/// The names in a data directory that are checkpoints, copies included. None in one that is not there.
fn files(dir: &Path) -> Result<Vec<PathBuf>, Unread> {
    let all = || -> io::Result<Vec<PathBuf>> {
        fs::read_dir(dir)?.map(|e| e.map(|e| e.path())).collect()
    };
    let mut paths = match all() {
        Ok(paths) => paths,
        Err(e) if is_absent(&e) => return Ok(Vec::new()),
        Err(e) => {
            return Err(Unread {
                path: dir.to_path_buf(),
                why: e.to_string(),
                is_damaged: false,
                aside: None,
            })
        }
    };
    let name = |path: &PathBuf| path.file_name().and_then(|n| n.to_str()).map(str::to_owned);
    paths.retain(|path| {
        name(path).is_some_and(|name| {
            name == CONSOLIDATED || name == CONSOLIDATED_COPY || session_worker(&name).is_some()
        })
    });
    Ok(paths)
}

/// The position journal, if there is one.
fn journal_of(dir: &Path) -> Option<PathBuf> {
    let path = dir.join(journal::NAME);
    let is_absent = fs::symlink_metadata(&path).is_err_and(|e| is_absent(&e));
    (!is_absent).then_some(path)
}

/// Whether an error says that there is no such file. That it may not be looked at is something else.
fn is_absent(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// Gives a file another name in its folder; which.
fn set_aside(path: &Path, why: &str) -> io::Result<PathBuf> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".{why}-{}", time::now_secs() as u64));
    let aside = PathBuf::from(aside);
    fs::rename(path, &aside)?;
    Ok(aside)
}

/// Where a path has an entry of the default worker and one that names no worker (the Python agent's
/// consolidated file), the newer of them stays, as the default worker's.
fn name_workers(mut all: Saved) -> Saved {
    let unnamed: Vec<PathBuf> = all
        .logs
        .keys()
        .filter(|(worker, _)| worker.is_empty())
        .map(|(_, path)| path.clone())
        .collect();
    for path in unnamed {
        let default = ("default".to_owned(), path.clone());
        let Some(named) = all.logs.get(&default) else {
            continue;
        };
        let unnamed = (String::new(), path);
        let newer = all
            .logs
            .get(&unnamed)
            .is_some_and(|log| log.is_newer(named));
        if let Some(log) = all.logs.remove(&unnamed).filter(|_| newer) {
            all.logs.insert(default, log);
        }
    }
    all
}

struct SessionFile {
    path: PathBuf,
    worker: String,
    is_full: bool,
    saved: Saved,
}

/// The worker whose session wrote a file of this name: `checkpoints-worker-WORKER-SESSION.json`, with
/// `active-` before it, or `.previous` after it.
fn session_worker(name: &str) -> Option<&str> {
    let name = name.strip_prefix("active-").unwrap_or(name);
    let name = name.strip_prefix("checkpoints-worker-")?;
    let name = name.strip_suffix(".previous").unwrap_or(name);
    let session = name.strip_suffix(".json")?;
    Some(
        session
            .rsplit_once('-')
            .map_or(session, |(worker, _)| worker),
    )
}

/// Files that no worker is named for are the default one's.
pub fn is_default(worker: &str) -> bool {
    worker.is_empty() || worker == "default"
}

/// Removes from the consolidated file what sessions, whose full checkpoints are newer, followed no
/// more: files that are gone and done.
fn forget_retired(old: &mut Saved, sessions: &[SessionFile]) {
    let known = |worker: &str| {
        if is_default(worker) {
            "default"
        } else {
            worker
        }
        .to_owned()
    };
    // A worker has written what it follows when each of its sessions has: a kill may come in between
    let newer =
        |f: &&SessionFile| f.is_full && f.saved.watched.is_some() && f.saved.serial > old.serial;
    let mut wrote: HashMap<String, u64> = HashMap::new();
    for file in sessions.iter().filter(newer) {
        *wrote.entry(known(&file.worker)).or_default() += 1;
    }
    let writers: HashSet<String> = sessions
        .iter()
        .filter(newer)
        .map(|f| (known(&f.worker), f.saved.sessions.unwrap_or(u64::MAX)))
        .filter(|(worker, all)| wrote.get(worker).is_some_and(|have| have >= all))
        .map(|(worker, _)| worker)
        .collect();
    let followed: HashSet<(String, &PathBuf)> = sessions
        .iter()
        .flat_map(|f| f.saved.logs.keys())
        .map(|(worker, path)| (known(worker), path))
        .collect();
    old.logs.retain(|(worker, path), _| {
        !writers.contains(&known(worker)) || followed.contains(&(known(worker), path))
    });
}

/// Reads the checkpoint files among `paths`: the latest record of each log, and which of `paths` are
/// sessions' files. `load` returns none for a file that can't be used.
fn gather(
    paths: Vec<PathBuf>,
    may_use_copy: bool,
    mut load: impl FnMut(&Path, &str) -> Option<Saved>,
) -> (Option<Saved>, Vec<PathBuf>) {
    let mut sessions: Vec<SessionFile> = Vec::new();
    let mut consolidated = None;
    let mut unread = false;
    let mut read = Vec::new();
    for path in paths {
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or("");
        if name == CONSOLIDATED_COPY {
            continue;
        }
        let worker = session_worker(name);
        let is_full = name.starts_with("checkpoints-worker-") && name.ends_with(".json");
        let saved = load(&path, worker.unwrap_or(""));
        unread |= saved.is_none();
        match (worker, saved) {
            (Some(worker), Some(saved)) => {
                sessions.push(SessionFile {
                    path: path.clone(),
                    worker: worker.to_owned(),
                    is_full,
                    saved,
                });
                read.push(path);
            }
            (Some(_), None) => {}
            (None, saved) => {
                let copy = || load(&path.with_file_name(CONSOLIDATED_COPY), "");
                consolidated = saved.or_else(|| may_use_copy.then(copy).flatten());
            }
        }
    }
    // The previous full checkpoint serves where the last one does not
    let fulls: Vec<PathBuf> = sessions
        .iter()
        .filter(|f| f.is_full)
        .map(|f| f.path.clone())
        .collect();
    sessions.retain(|f| {
        f.path.extension() != Some("previous".as_ref())
            || !fulls.contains(&f.path.with_extension(""))
    });
    if let Some(old) = &mut consolidated {
        if !unread {
            forget_retired(old, &sessions);
        }
    }
    let files = sessions.into_iter().map(|file| file.saved);
    let mut files: Vec<Saved> = files.chain(consolidated).collect();
    sort::by_key(&mut files, |saved| saved.serial);
    let all = files.into_iter().reduce(merge).map(name_workers);
    (all, read)
}

/// A checkpoint file, or the folder of all, that says nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// Which one.
    pub path: PathBuf,
    /// The fault, a phrase.
    pub why: String,
    /// It makes no sense, or the disk does not give it back: an agent goes on without it. Otherwise
    /// it may not be read at the moment, and an agent does not start.
    pub is_damaged: bool,
    /// Where it was put.
    pub aside: Option<PathBuf>,
}

impl Unread {
    /// One that may not be read at the moment.
    pub fn denied(path: PathBuf, e: &io::Error) -> Unread {
        Unread {
            path,
            why: e.to_string(),
            is_damaged: false,
            aside: None,
        }
    }

    /// One that makes no sense.
    pub fn damaged(path: PathBuf, why: String, aside: Option<PathBuf>) -> Unread {
        Unread {
            path,
            why,
            is_damaged: true,
            aside,
        }
    }

    /// Says so in agent.log.
    pub fn tell(&self) {
        log::error!(
            "{}: {}. {}. What else is known is used instead: some lines may be sent again, with the sequence \
             numbers they had",
            self.path.display(),
            self.why,
            match &self.aside {
                Some(aside) => format!("It was set aside as {}", aside.display()),
                None => "It could not be set aside".to_owned(),
            }
        );
    }

    /// None if the file is not there.
    fn of(path: &Path, e: &io::Error) -> Option<Unread> {
        // The system lacks something at the moment; the file may be as good as ever
        let passes = matches!(
            e.raw_os_error(),
            Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ESTALE)
        );
        (!is_absent(e)).then(|| Unread {
            path: path.to_path_buf(),
            why: e.to_string(),
            is_damaged: e.kind() != io::ErrorKind::PermissionDenied && !passes,
            aside: None,
        })
    }
}

/// Reads a checkpoint file; what can't be read is added to `wrong`.
fn load(path: &Path, worker: &str, wrong: &mut Vec<Unread>) -> Option<Saved> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(e) => {
            wrong.extend(Unread::of(path, &e));
            return None;
        }
    };
    match record::parse(&text, worker) {
        Ok(saved) => Some(saved),
        Err(why) => {
            wrong.push(Unread {
                path: path.to_path_buf(),
                why: format!("it is damaged: {why}"),
                is_damaged: true,
                aside: None,
            });
            None
        }
    }
}

/// As [`CheckpointFiles::read`], but for looking on while an agent runs. A folder
/// that is not there has no checkpoints. Nothing is known where a file may not be read.
pub fn look(dir: &Path, known: &[[u8; 16]], is_first: bool) -> (Option<Saved>, Vec<Unread>) {
    let changed = || fs::metadata(dir).and_then(|m| m.modified()).ok();
    let mut tries = 0;
    loop {
        let before = changed();
        let mut wrong = Vec::new();
        let paths = match files(dir) {
            Ok(paths) => paths,
            Err(unread) => return (None, vec![unread]),
        };
        let (paths, _) = without_known(paths, known);
        let (saved, _) = gather(paths, is_first, |path, worker| {
            load(path, worker, &mut wrong)
        });
        tries += 1;
        // Each write of an agent renames a file: half before and half after one is no state
        if before == changed() || tries == 20 {
            let is_known = wrong.iter().all(|unread| unread.is_damaged);
            return (saved.filter(|_| is_known), wrong);
        }
    }
}

/// The checkpoint files that another agent has written.
#[derive(Debug)]
pub struct CheckpointFiles {
    /// Their content, if there are any.
    pub saved: Option<Saved>,
    /// The name of the consolidated one, if it is not known.
    pub consolidated: Option<[u8; 16]>,
    /// Those of sessions.
    sessions: Vec<PathBuf>,
    damaged: Vec<Unread>,
}

impl CheckpointFiles {
    /// Reads them, but for a consolidated file that has one of the `known` names. `is_first`: nothing else is known, so
    /// that the copy of a damaged one serves.
    ///
    /// # Errors
    /// The files, or the directory, that are there and may not be read.
    pub fn read(dir: &Path, known: &[[u8; 16]], is_first: bool) -> Result<Self, Vec<Unread>> {
        let mut wrong = Vec::new();
        let paths = files(dir).map_err(|unread| vec![unread])?;
        let (paths, consolidated) = without_known(paths, known);
        let load = |path: &Path, worker: &str| load(path, worker, &mut wrong);
        let (saved, sessions) = gather(paths, is_first, load);
        if wrong.iter().any(|unread| !unread.is_damaged) {
            wrong.retain(|unread| !unread.is_damaged);
            return Err(wrong);
        }
        Ok(CheckpointFiles {
            saved,
            consolidated,
            sessions,
            damaged: wrong,
        })
    }

    /// Gives damaged files another name, and says so; which they are.
    pub fn set_damaged_aside(&self) -> Vec<Unread> {
        let mut all = self.damaged.clone();
        for unread in &mut all {
            unread.aside = set_aside(&unread.path, "damaged").ok();
            unread.tell();
        }
        all
    }

    /// Removes those of sessions, which were taken over.
    pub fn remove_sessions(&self) {
        for path in &self.sessions {
            let _ = fs::remove_file(path);
        }
    }
}

/// Leaves out a consolidated file that has one of these names, with its copy. Also the name of one that has none.
fn without_known(paths: Vec<PathBuf>, known: &[[u8; 16]]) -> (Vec<PathBuf>, Option<[u8; 16]>) {
    let mut all = paths.iter();
    let consolidated = all.find(|path| path.ends_with(CONSOLIDATED));
    let name = consolidated.and_then(|path| Some(name_of(&fs::read(path).ok()?)));
    match name {
        Some(name) if known.contains(&name) => {
            let is_other = |path: &PathBuf| {
                !path.ends_with(CONSOLIDATED) && !path.ends_with(CONSOLIDATED_COPY)
            };
            (paths.into_iter().filter(is_other).collect(), None)
        }
        name => (paths, name),
    }
}

/// Of each path the entry that was written last, and the listing of `b`, which was written later.
fn merge(mut a: Saved, b: Saved) -> Saved {
    for (path, log) in b.logs {
        match a.logs.get(&path) {
            Some(have) if !log.is_newer(have) => {}
            _ => {
                a.logs.insert(path, log);
            }
        }
    }
    a.remembered.extend(b.remembered);
    a.time = a.time.max(b.time);
    a.serial = a.serial.max(b.serial);
    // Each session knows only its own worker's patterns
    match (&mut a.watched, b.watched) {
        (Some(all), Some(more)) => {
            for path in more {
                if !all.contains(&path) {
                    all.push(path);
                }
            }
        }
        (all, more) => *all = all.take().or(more),
    }
    a
}

#[cfg(test)]
mod tests {
    use super::super::export::next_serial;
    use super::super::ledger::record::Writer;
    use super::*;

    fn folder() -> PathBuf {
        let dir = std::env::temp_dir().join(format!("store-{}", crate::util::random::uuid4()));
        fs::create_dir(&dir).unwrap();
        dir
    }

    fn restored(dir: &Path) -> Saved {
        CheckpointFiles::read(dir, &[], true)
            .unwrap()
            .saved
            .unwrap()
    }

    fn text(time: f64, logs: &[(&str, f64)]) -> Vec<u8> {
        let mut text = Vec::new();
        let mut writer = Writer::new(&mut text, time, next_serial(), None);
        for (path, time) in logs {
            let log = record::SavedLog {
                time: *time,
                ..Default::default()
            };
            writer.saved(Path::new(path), &log);
        }
        writer.finish().unwrap();
        text
    }

    const FULL: &str = "checkpoints-worker-default-0.json";
    const ACTIVE: &str = "active-checkpoints-worker-default-0.json";

    #[test]
    fn what_was_taken_over_from_the_python_agent_does_not_win_over_what_came_since() {
        let dir = folder();
        let file = dir.join(CONSOLIDATED);
        let python =
            r#"{"time":1.0,"checkpoints":{"/a":{"position":0,"time":1.0,"pending_files":[]}}}"#;
        fs::write(&file, python).unwrap();
        fs::write(dir.join(FULL), text(2.0, &[("/a", 2.0)])).unwrap();
        let all = restored(&dir);
        let times: Vec<f64> = all.logs.values().map(|log| log.time).collect();
        assert_eq!(times, [2.0]);
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn the_latest_entry_of_each_path_wins_over_all_files() {
        let dir = folder();
        fs::write(
            dir.join(CONSOLIDATED),
            text(1.0, &[("/a", 1.0), ("/b", 1.0)]),
        )
        .unwrap();
        fs::write(dir.join(FULL), text(2.0, &[("/a", 2.0), ("/c", 2.0)])).unwrap();
        fs::write(dir.join(ACTIVE), text(3.0, &[("/a", 3.0)])).unwrap();
        let all = restored(&dir);
        let times: Vec<f64> = all.logs.values().map(|l| l.time).collect();
        assert_eq!(times, [3.0, 1.0, 2.0]);
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_file_that_was_there_before_is_not_new_after_two_restarts() {
        let dir = folder();
        let of = |serial, name| {
            let mut text = Vec::new();
            let mut writer = Writer::new(&mut text, 1.0, serial, Some(&[]));
            let names = std::collections::BTreeSet::from([name]);
            let listing = crate::tail::ledger::Remembered::restored(names, false);
            writer.remembered(Path::new("/a"), &listing);
            writer.finish().unwrap();
            text
        };
        fs::write(dir.join(CONSOLIDATED), of(1, 1)).unwrap();
        fs::write(dir.join(FULL), of(2, 2)).unwrap();
        let names: Vec<u64> = restored(&dir).remembered[Path::new("/a")].names().collect();
        assert_eq!(names, [2]);
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn looking_on_sees_what_a_start_would_take_up_and_leaves_it_alone() {
        let dir = folder();
        fs::write(dir.join(CONSOLIDATED), text(1.0, &[("/a", 1.0)])).unwrap();
        fs::write(dir.join(FULL), text(2.0, &[("/a", 2.0), ("/c", 2.0)])).unwrap();
        fs::write(dir.join("checkpoints-worker-x-0.json"), "{").unwrap();
        let names = || {
            let mut names: Vec<_> = fs::read_dir(&dir)
                .unwrap()
                .map(|e| e.unwrap().file_name())
                .collect();
            names.sort();
            names
        };
        let before = names();
        let (saved, unread) = look(&dir, &[], true);
        assert_eq!(before, names());
        assert_eq!(unread.len(), 1);
        assert!(unread[0].is_damaged);
        let taken = restored(&dir);
        assert_eq!(saved.unwrap().logs, taken.logs);
        assert_eq!(look(&dir.join("none"), &[], true), (None, Vec::new()));
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn power_lost_while_writing_falls_back_to_the_previous_one_and_says_so() {
        let dir = folder();
        let previous = format!("{FULL}.previous");
        fs::write(dir.join(previous), text(1.0, &[("/a", 1.0)])).unwrap();
        let half = text(2.0, &[("/a", 2.0)]);
        fs::write(
            dir.join("checkpoints-worker-default-0.json"),
            &half[..half.len() / 2],
        )
        .unwrap();
        fs::write(dir.join("active-checkpoints-worker-default-0.json"), "").unwrap();
        let files = CheckpointFiles::read(&dir, &[], true).unwrap();
        let damaged = files.set_damaged_aside();
        assert_eq!(
            files.saved.unwrap().logs[&("default".to_owned(), PathBuf::from("/a"))].time,
            1.0
        );
        assert_eq!(damaged.len(), 2);
        let is_aside = |unread: &Unread| unread.aside.as_ref().is_some_and(|p| p.exists());
        assert!(damaged.iter().all(is_aside));
        fs::remove_dir_all(dir).unwrap();
    }

    /// A folder stands for what the disk does not give back.
    #[test]
    fn what_the_disk_does_not_give_back_is_set_aside_and_the_rest_counts() {
        let dir = folder();
        fs::write(dir.join(FULL), text(1.0, &[("/a", 1.0)])).unwrap();
        let broken = dir.join("active-checkpoints-worker-default-0.json");
        fs::create_dir(&broken).unwrap();
        let (seen, unread) = look(&dir, &[], true);
        assert!(seen.is_some() && unread[0].is_damaged && unread[0].aside.is_none());
        assert_eq!(denied(&dir), []);
        let files = CheckpointFiles::read(&dir, &[], true).unwrap();
        let damaged = files.set_damaged_aside();
        assert_eq!(files.saved.unwrap().logs.len(), 1);
        assert_eq!(damaged.len(), 1);
        assert_eq!(damaged[0].path, broken);
        assert!(damaged[0].aside.as_ref().unwrap().is_dir() && !broken.exists());
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_lack_of_permission_is_neither_absence_nor_damage() {
        let of = |code| Unread::of(Path::new("/x"), &io::Error::from_raw_os_error(code));
        for absent in [libc::ENOENT, libc::ENOTDIR] {
            assert_eq!(of(absent), None);
        }
        for refused in [libc::EACCES, libc::EPERM, libc::EMFILE, libc::ENOMEM] {
            assert!(!of(refused).unwrap().is_damaged, "{refused}");
        }
        for damaged in [libc::EIO, libc::EISDIR, libc::ELOOP] {
            assert!(of(damaged).unwrap().is_damaged, "{damaged}");
        }
    }

    #[test]
    fn ignored_positions_are_kept_under_another_name() {
        let dir = folder();
        fs::write(dir.join(FULL), text(1.0, &[("/a", 1.0)])).unwrap();
        fs::write(dir.join(CONSOLIDATED), "{").unwrap();
        fs::write(dir.join(CONSOLIDATED_COPY), text(1.0, &[("/a", 1.0)])).unwrap();
        fs::write(dir.join("other.json"), "").unwrap();
        fs::write(dir.join(journal::NAME), "").unwrap();
        let aside = ignore(&dir).unwrap();
        assert_eq!(aside.len(), 4);
        assert!(aside.iter().all(|p| p.exists()));
        assert_eq!(CheckpointFiles::read(&dir, &[], true).unwrap().saved, None);
        assert!(dir.join("other.json").exists());
        assert_eq!(ignore(&dir.join("none")), Ok(Vec::new()));
        fs::remove_dir_all(dir).unwrap();
    }
}
