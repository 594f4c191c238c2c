//! The files of a configuration: which there are, reading them, and noticing that they changed.

use std::collections::hash_map::DefaultHasher;
use std::ffi::OsString;
use std::fs::{self, File};
use std::hash::{Hash, Hasher};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::env::Env;
use super::error::{ConfigError, Place, Warnings};
use super::json::{self, Json, Member};
use super::{imports, Source};

/// A larger file is no configuration.
const MOST_BYTES: u64 = 32 << 20;

/// A file that was read: an object's members, `$NAME`s replaced.
#[derive(Debug)]
pub(crate) struct Doc {
    pub(crate) file: Arc<Path>,
    pub(crate) members: Vec<Member>,
}

/// All files of a configuration, in order: main file, fragments, fragments of the extra directory.
#[derive(Debug)]
pub(crate) struct Docs {
    pub(crate) main: Doc,
    pub(crate) fragments: Vec<Doc>,
}

/// Reads everything.
pub(crate) fn read_all(
    source: &Source,
    env: &Env,
    warnings: &mut Warnings,
) -> Result<Docs, ConfigError> {
    let main_file = absolute(&source.main_file);
    let main = read(&main_file, env, "fileParseError", warnings)?;
    let directory = main
        .members
        .iter()
        .find(|member| member.key == "config_directory")
        .map(|member| &member.value.value);
    let directory = match directory {
        // Refused with its place when the options are checked; until then it names no directory.
        Some(value) => super::coerce::text(value).unwrap_or_default(),
        None => env
            .option("config_directory")
            .unwrap_or("agent.d")
            .to_owned(),
    };
    let mut fragments = Vec::new();
    for directory in directories(&main_file, &directory, source) {
        check_directory(&directory, &main_file, warnings);
        for file in list(&directory, warnings) {
            fragments.push(read(&file, env, "fileParseError", warnings)?);
        }
    }
    Ok(Docs { main, fragments })
}

/// The directories that fragments are looked for in; `configured` is `config_directory`'s value.
fn directories(main_file: &Path, configured: &str, source: &Source) -> Vec<PathBuf> {
    let beside = main_file.parent().unwrap_or(Path::new("/"));
    let mut directories = Vec::new();
    if !configured.trim().is_empty() {
        directories.push(beside.join(configured));
    }
    if let Some(extra) = &source.extra_dir {
        directories.push(beside.join(extra));
    }
    directories
}

/// The fragments in a directory: regular files `*.json`, by name. None if it can't be read.
fn list(directory: &Path, warnings: &mut Warnings) -> Vec<PathBuf> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) => {
            if error.kind() != std::io::ErrorKind::NotFound {
                let shown = directory.display();
                let text = format!(
                    "the files of the configuration directory {shown} are not used: {error}"
                );
                warnings.daily(format!("directory {shown}"), text);
            }
            return Vec::new();
        }
    };
    let mut names: Vec<OsString> = entries
        .filter_map(|entry| Some(entry.ok()?.file_name()))
        .filter(|name| name.as_encoded_bytes().ends_with(b".json"))
        .collect();
    crate::util::sort::plainly(&mut names);
    names
        .into_iter()
        .map(|name| directory.join(name))
        .filter(|file| match fs::metadata(file) {
            Ok(metadata) if metadata.is_file() => true,
            other => {
                let why = other
                    .err()
                    .map_or("not a file".to_owned(), |e| e.to_string());
                let shown = file.display();
                let text = format!("the configuration file {shown} is not used: {why}");
                warnings.daily(format!("no file {shown}"), text);
                false
            }
        })
        .collect()
}

/// A path from the working directory, if it is relative.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn read(
    path: &Path,
    env: &Env,
    code: &'static str,
    warnings: &mut Warnings,
) -> Result<Doc, ConfigError> {
    let file: Arc<Path> = path.into();
    let failed =
        |message: String| ConfigError::new(code, message).at(Place::File(Arc::clone(&file)));
    let text = read_text(path, warnings).map_err(failed)?;
    let node = json::parse(&text).map_err(|e| {
        ConfigError::new(code, format!("JSON parsing error: {e}"))
            .at(Place::At(Arc::clone(&file), e.at))
    })?;
    let Json::Object(mut members) = node.value else {
        return Err(ConfigError::new(
            "invalidConfigFragmentType",
            format!("the file holds {}", node.value.kind()),
        )
        .at(Place::At(file, node.at))
        .allowed("an object, { ... }"));
    };
    imports::substitute(&file, &mut members, env)?;
    Ok(Doc { file, members })
}

/// Reads a file as text with LF as line breaks; the error is a phrase.
fn read_text(path: &Path, warnings: &mut Warnings) -> Result<String, String> {
    let denied = "the current user may not read this file; is its owner right?";
    let reason = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::NotFound => "this file does not exist".to_owned(),
        std::io::ErrorKind::PermissionDenied => denied.to_owned(),
        _ => format!("this file can't be read: {e}"),
    };
    // Not blocking: opening a FIFO would wait for a writer before its type can be seen.
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .map_err(reason)?;
    let metadata = file.metadata().map_err(reason)?;
    if !metadata.is_file() {
        return Err("this is not a regular file".to_owned());
    }
    check_mode(path, metadata.permissions().mode(), warnings);
    let mut bytes = Vec::new();
    file.take(MOST_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(reason)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(format!("this file has more than {MOST_BYTES} bytes"));
    }
    let text = String::from_utf8(bytes).map_err(|e| {
        let good = &e.as_bytes()[..e.utf8_error().valid_up_to()];
        let line = 1 + good.iter().filter(|b| **b == b'\n').count();
        format!("this file is not valid UTF-8: the first bad byte is in line {line}")
    })?;
    Ok(if text.contains('\r') {
        text.replace("\r\n", "\n").replace('\r', "\n")
    } else {
        text
    })
}

/// Others reading a file with keys in it, or writing one that says what the agent runs.
fn check_mode(path: &Path, mode: u32, warnings: &mut Warnings) {
    if mode & 0o006 != 0 {
        warnings.daily(
            format!("mode {}", path.display()),
            format!(
                "the configuration file {} can be read or written by all users (mode {:03o}); \
                 o-rw is recommended",
                path.display(),
                mode & 0o777
            ),
        );
    }
}

fn check_directory(directory: &Path, main_file: &Path, warnings: &mut Warnings) {
    let (Ok(metadata), Ok(main)) = (fs::metadata(directory), fs::metadata(main_file)) else {
        return;
    };
    if metadata.mode() & 0o002 != 0 {
        warnings.daily(
            format!("mode {}", directory.display()),
            format!(
                "all users can add configuration files to {} (mode {:03o}); o-w is recommended",
                directory.display(),
                metadata.mode() & 0o777
            ),
        );
    }
    if metadata.uid() != main.uid() && metadata.uid() != 0 {
        warnings.daily(
            format!("owner {}", directory.display()),
            format!(
                "the configuration directory {} belongs to user {}, the main file to user {}",
                directory.display(),
                metadata.uid(),
                main.uid()
            ),
        );
    }
}

/// The files of a configuration as seen from outside. Two equal fingerprints mean that nothing
/// changed; taking one costs one `stat` per file and reading the main file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint(u64);

/// Takes a fingerprint: names, sizes, times, inodes and modes of all files, the content of the main
/// file, and the host name (which is in `serverHost`). Never fails; missing files are part of it.
pub fn fingerprint(source: &Source) -> Fingerprint {
    let mut hasher = DefaultHasher::new();
    let main_file = absolute(&source.main_file);
    super::host_name().hash(&mut hasher);
    look(&main_file, &mut hasher);
    // Only the main file (or the environment) says where the fragments are.
    let text = read_text(&main_file, &mut Warnings::default()).unwrap_or_default();
    text.hash(&mut hasher);
    let env = Env::new(&source.env);
    let configured = match json::parse(&text).map(|node| node.value) {
        Ok(Json::Object(mut members)) => {
            let substituted = imports::substitute(&main_file.as_path().into(), &mut members, &env);
            members
                .iter()
                .find(|member| member.key == "config_directory")
                .filter(|_| substituted.is_ok())
                .and_then(|member| super::coerce::text(&member.value.value).ok())
        }
        _ => None,
    };
    let configured = configured
        .or_else(|| env.option("config_directory").map(str::to_owned))
        .unwrap_or_else(|| "agent.d".to_owned());
    for directory in directories(&main_file, &configured, source) {
        for file in list(&directory, &mut Warnings::default()) {
            look(&file, &mut hasher);
        }
    }
    Fingerprint(hasher.finish())
}

fn look(path: &Path, hasher: &mut DefaultHasher) {
    path.hash(hasher);
    if let Ok(m) = fs::metadata(path) {
        (m.dev(), m.ino(), m.size(), m.mode(), m.uid()).hash(hasher);
        (m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec()).hash(hasher);
    }
}
