//! `--export-config` and `--import-config`.

use super::files::{self, Rights, Staged};
use super::server::fragments_of;
use super::tar::{self, Kind, Look};
use super::{edit, gzip, Tool};
use crate::cli::{err, setup};
use crate::config::{json, Config, Json, Source};
use common::random;
use nix::unistd::{Gid, Group, Uid, User};
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// At most this many bytes are unpacked of an imported archive. A configuration has kilobytes.
const MOST_BYTES: u64 = 64 << 20;

/// How many files it may have.
const MOST_FILES: usize = 10_000;

/// The owner of the files in an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owners {
    /// Those on disk.
    Theirs,
    /// Root, as in a container image.
    Root,
}

/// Writes the main file and its fragments to a gzipped tar archive.
///
/// # Errors
/// Lines for stderr.
pub(super) fn export(tool: &Tool, to: &Path) -> Result<(), String> {
    deliver(to, &pack(tool, Owners::Theirs)?)
}

/// The archive.
pub(super) fn pack(tool: &Tool, owners: Owners) -> Result<Vec<u8>, String> {
    let config = tool.load()?;
    let folder = fragments_of(&config);
    let prefix = name_in_archive(&config.main_file, &folder);
    let mut archive = Vec::new();
    add(&mut archive, &config.main_file, Path::new(""), owners)?;
    // Not those of the extra directory, which come from elsewhere.
    for file in config
        .fragments
        .iter()
        .filter(|f| f.parent() == Some(&folder))
    {
        add(&mut archive, file, &prefix, owners)?;
    }
    tar::end(&mut archive).map_err(|error| error.to_string())?;
    Ok(gzip::compress(&archive))
}

fn add(archive: &mut Vec<u8>, file: &Path, prefix: &Path, owners: Owners) -> Result<(), String> {
    let failed = |error: io::Error| format!("Can't read \"{}\": {error}", file.display());
    let content = fs::read(file).map_err(failed)?;
    let meta = fs::metadata(file).map_err(failed)?;
    let (uid, gid) = match owners {
        Owners::Theirs => (meta.uid(), meta.gid()),
        Owners::Root => (0, 0),
    };
    let look = Look {
        mode: meta.mode() & 0o777,
        uid,
        gid,
        user: name_of(User::from_uid(Uid::from_raw(uid)).map(|user| user.map(|u| u.name))),
        group: name_of(Group::from_gid(Gid::from_raw(gid)).map(|group| group.map(|g| g.name))),
        modified: u64::try_from(meta.mtime()).unwrap_or(0),
    };
    let name = prefix.join(file.file_name().unwrap_or_default());
    tar::put(archive, &name, &look, &content).map_err(failed)
}

/// Unknown ones have no name.
fn name_of(name: Result<Option<String>, nix::errno::Errno>) -> String {
    name.ok().flatten().unwrap_or_default()
}

/// The folder of fragments as archives name it: relative to the main file, or just by its name if
/// it lies elsewhere.
fn name_in_archive(main_file: &Path, folder: &Path) -> PathBuf {
    let beside = main_file.parent().unwrap_or(Path::new("/"));
    match folder.strip_prefix(beside) {
        Ok(relative) => tar::safe_path(relative).unwrap_or_default(),
        Err(_) => folder.file_name().unwrap_or_default().into(),
    }
}

/// Writes an archive, which has the API key in it, to a file of mode 600 or, for `-`, to stdout.
///
/// # Errors
/// Lines for stderr.
pub(super) fn deliver(to: &Path, archive: &[u8]) -> Result<(), String> {
    if to == Path::new("-") {
        let mut stdout = io::stdout();
        if stdout.is_terminal() {
            return Err(
                "An archive is not written to a terminal. Name a file, or redirect stdout."
                    .to_owned(),
            );
        }
        return stdout
            .write_all(archive)
            .and_then(|()| stdout.flush())
            .map_err(|error| format!("Can't write to stdout: {error}"));
    }
    let to = setup::absolute(to);
    let kind = fs::metadata(&to).map(|meta| meta.file_type());
    if kind.is_ok_and(|kind| kind.is_fifo() || kind.is_char_device()) {
        return OpenOptions::new()
            .write(true)
            .open(&to)
            .and_then(|mut file| file.write_all(archive))
            .map_err(|error| files::failed(&to, &error));
    }
    let rights = Rights {
        uid: Uid::effective().as_raw(),
        gid: Gid::effective().as_raw(),
        mode: 0o600,
    };
    Staged::with_rights(&to, archive, rights)?.put()
}

/// Replaces the main file and all fragments by those of an archive. Everything is read and checked
/// before anything is changed; the present configuration may be broken.
///
/// # Errors
/// Lines for stderr.
pub(super) fn import(tool: &Tool, from: &Path) -> Result<(), String> {
    let stdin = io::stdin();
    let shown = from.display();
    let files = if from == Path::new("-") {
        if stdin.is_terminal() {
            return Err("An archive is not read from a terminal. Name a file.".to_owned());
        }
        unpack(stdin.lock())
    } else {
        File::open(from)
            .map_err(|error| error.to_string())
            .and_then(unpack)
    }
    .map_err(|error| format!("Can't import \"{shown}\": {error}\nNothing was changed."))?;
    let plan = Plan::new(&tool.source, files)
        .map_err(|error| format!("Can't import \"{shown}\": {error}\nNothing was changed."))?;
    plan.check(&tool.source).map_err(|error| {
        format!(
            "Can't import \"{shown}\": the configuration in it does not load: {error}\nNothing \
             was changed."
        )
    })?;
    plan.carry_out()
}

/// A file of an archive.
struct Member {
    mode: u32,
    content: Vec<u8>,
}

type Members = BTreeMap<PathBuf, Member>;

/// Reads all `*.json` of an archive into memory.
fn unpack(from: impl Read) -> Result<Members, String> {
    let mut reader = tar::Reader::new(gzip::Decoder::new(from).take(MOST_BYTES));
    let mut files = Members::new();
    let mut count = 0;
    while let Some(entry) = reader.next().map_err(told)? {
        count += 1;
        if count > MOST_FILES {
            return Err(format!("it has more than {MOST_FILES} entries"));
        }
        let shown = entry.name.display();
        let path = match tar::safe_path(&entry.name) {
            Some(path) => path,
            None if entry.kind == Kind::Folder => continue,
            None => return Err(format!("the name \"{shown}\" in it leads elsewhere")),
        };
        match entry.kind {
            Kind::Folder => continue,
            Kind::File => {}
            Kind::Link(_) | Kind::Other(_) => {
                return Err(format!("\"{shown}\" in it is not a regular file"));
            }
        }
        if path.extension().is_none_or(|extension| extension != "json") {
            err(format_args!(
                "Left out: \"{shown}\". Only *.json files are imported."
            ));
            continue;
        }
        let mut content = Vec::new();
        reader.read_to_end(&mut content).map_err(told)?;
        if content.len() as u64 != entry.size {
            return Err("it is cut short".to_owned());
        }
        files.insert(
            path,
            Member {
                mode: entry.mode,
                content,
            },
        );
    }
    Ok(files)
}

fn told(error: io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            format!(
                "it is cut short, or unpacks to more than {} MiB",
                MOST_BYTES >> 20
            )
        }
        _ => error.to_string(),
    }
}

/// Where what goes.
struct Plan {
    main_file: PathBuf,
    /// `None`: the archive has none, and the present one stays.
    main: Option<Member>,
    /// Folder of the fragments, and the value of `config_directory`.
    folder: PathBuf,
    configured: String,
    fragments: Vec<(PathBuf, Member)>,
    owner: Rights,
}

impl Plan {
    fn new(source: &Source, mut files: Members) -> Result<Plan, String> {
        let main_file = source.main_file.clone();
        let owner = Rights::of(&main_file).map_err(|error| {
            format!(
                "the owner of \"{}\" is to own the new files: {error}",
                main_file.display()
            )
        })?;
        if files.is_empty() {
            return Err("there is no *.json file in it".to_owned());
        }
        let own_name = Path::new(main_file.file_name().unwrap_or_default());
        let main = files
            .remove(own_name)
            .or_else(|| files.remove(Path::new("agent.json")));
        let text = match &main {
            Some(member) => String::from_utf8_lossy(&member.content).into_owned(),
            None => fs::read_to_string(&main_file)
                .map_err(|error| format!("\"{}\": {error}", main_file.display()))?,
        };
        let configured = json::parse(&text)
            .ok()
            .and_then(
                |root| match &edit::find(&root, &["config_directory"])?.value {
                    Json::Text(text) => Some(text.clone()),
                    _ => None,
                },
            )
            .unwrap_or_else(|| "agent.d".to_owned());
        let folder = main_file
            .parent()
            .unwrap_or(Path::new("/"))
            .join(&configured);
        let prefix = name_in_archive(&main_file, &folder);
        let mut fragments = Vec::new();
        for (path, member) in files {
            match path.strip_prefix(&prefix) {
                Ok(name) if name.components().count() == 1 && !prefix.as_os_str().is_empty() => {
                    fragments.push((name.to_owned(), member));
                }
                _ => {
                    return Err(format!(
                        "\"{}\" in it is neither the main file \"{}\" nor a fragment in \"{}\"",
                        path.display(),
                        own_name.display(),
                        prefix.display()
                    ));
                }
            }
        }
        Ok(Plan {
            main_file,
            main,
            folder,
            configured,
            fragments,
            owner,
        })
    }

    /// Whether the new configuration loads, from a folder where nobody else looks.
    fn check(&self, source: &Source) -> Result<(), String> {
        let beside = self.main_file.parent().unwrap_or(Path::new("/"));
        let staging = Staging::new(beside)?;
        let main_file = staging
            .0
            .join(self.main_file.file_name().unwrap_or_default());
        let write = |path: &Path, content: &[u8]| {
            fs::write(path, content).map_err(|error| files::failed(path, &error))
        };
        match &self.main {
            Some(member) => write(&main_file, &member.content)?,
            None => drop(
                fs::copy(&self.main_file, &main_file)
                    .map_err(|error| files::failed(&main_file, &error))?,
            ),
        }
        let inside = tar::safe_path(Path::new(&self.configured));
        let folder = staging
            .0
            .join(inside.as_deref().unwrap_or(Path::new("fragments")));
        fs::create_dir_all(&folder).map_err(|error| files::failed(&folder, &error))?;
        for (name, member) in &self.fragments {
            write(&folder.join(name), &member.content)?;
        }
        if inside.is_none() {
            // Loading it would read the present fragments, which are to go, from their folder
            // elsewhere. That each file can be read has to do.
            for file in [main_file].into_iter().chain(listed(&folder)) {
                syntax(&file)?;
            }
            return Ok(());
        }
        let staged = Source {
            main_file,
            ..source.clone()
        };
        Config::load(&staged).map(drop).map_err(|error| {
            // As if it were in its place
            let inside = staging.0.display().to_string();
            error
                .to_string()
                .replace(&inside, &beside.display().to_string())
        })
    }

    fn carry_out(self) -> Result<(), String> {
        if !self.folder.is_dir() && !self.fragments.is_empty() {
            DirBuilder::new()
                .mode(0o751)
                .create(&self.folder)
                .and_then(|()| {
                    let Rights { uid, gid, .. } = self.owner;
                    std::os::unix::fs::chown(&self.folder, Some(uid), Some(gid))
                })
                .map_err(|error| files::failed(&self.folder, &error))?;
        }
        let mut staged = Vec::new();
        let mut stage = |path: &Path, member: &Member| {
            let rights = Rights {
                // Keys may be in it: nobody else's to read, whatever the archive says.
                mode: Rights::of(path).map_or((member.mode & 0o640) | 0o600, |old| old.mode),
                ..self.owner
            };
            staged.push(Staged::with_rights(path, &member.content, rights)?);
            Ok::<(), String>(())
        };
        for (name, member) in &self.fragments {
            stage(&self.folder.join(name), member)?;
        }
        if let Some(main) = &self.main {
            stage(&self.main_file, main)?;
        }
        for file in staged {
            file.put()?;
        }
        for file in self.others() {
            fs::remove_file(&file).map_err(|error| {
                format!(
                    "The archive was imported, but \"{}\", which is not in it, could not be \
                     deleted: {error}",
                    file.display()
                )
            })?;
        }
        Ok(())
    }

    /// The fragments that are there and not in the archive.
    fn others(&self) -> Vec<PathBuf> {
        let is_new = |file: &Path| {
            let name = file.file_name().map(Path::new);
            self.fragments
                .iter()
                .any(|(own, _)| Some(own.as_path()) == name)
        };
        let mut files = listed(&self.folder);
        files.retain(|file| !is_new(file));
        files
    }
}

/// All `*.json` of a folder that are no folders themselves.
fn listed(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        })
        .filter(|path| !path.is_dir())
        .collect()
}

/// Whether a file is an object of the configuration's dialect.
fn syntax(file: &Path) -> Result<(), String> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let text = fs::read_to_string(file).map_err(|error| format!("\"{name}\": {error}"))?;
    match json::parse(&text).map(|node| node.value) {
        Ok(Json::Object(_)) => Ok(()),
        Ok(other) => Err(format!("\"{name}\" holds {}", other.kind())),
        Err(error) => Err(format!("\"{name}\", line {}: {error}", error.at.line)),
    }
}

/// A folder for as long as a check takes.
struct Staging(PathBuf);

impl Staging {
    fn new(beside: &Path) -> Result<Staging, String> {
        let path = beside.join(format!(".import.{}.tmp", random::uuid4()));
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(|error| files::failed(&path, &error))?;
        Ok(Staging(path))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
