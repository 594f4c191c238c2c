//! `--upgrade-tarball`: replaces an installation that was unpacked from a
//! tarball by a newer one. `config`, `log` and `data` move on.

use super::tar::{self, Kind};
use super::{files, gzip};
use crate::cli::decl::{CONFIG_PROGRAM, PROGRAM};
use crate::cli::{err, exit, out};
use crate::config::{Config, Install, Source};
use common::random;
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{symlink, DirBuilderExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// At most this many bytes are unpacked of an installation; the Python agent's has 60 MB.
const MOST_BYTES: u64 = 1 << 30;

/// How many files it may have.
const MOST_FILES: usize = 100_000;

/// Folders that stay over an upgrade.
const KEPT: [&str; 3] = ["config", "log", "data"];

/// Runs the upgrade; the exit code. `OLD:NEW`, two folders, is how the *new* version is asked
/// whether it has something to prepare, and it has not.
///
/// # Errors
/// Lines for stderr.
pub(super) fn upgrade(source: &Source, what: &OsStr, preserve: bool) -> Result<i32, String> {
    if let Some((old, new)) = what.to_str().and_then(|what| what.split_once(':')) {
        if Path::new(old).is_dir() && Path::new(new).is_dir() {
            return Ok(exit::OK);
        }
    }
    Upgrade::new(source, Path::new(what))
        .and_then(|upgrade| upgrade.run(preserve))
        .map(|()| exit::OK)
        .map_err(|error| format!("\nThe upgrade failed due to the following reason: {error}"))
}

struct Upgrade<'a> {
    tarball: PathBuf,
    /// The installation, which is replaced.
    install: &'a Path,
    /// Beside it, so that all that has to be done later is renaming.
    work: Work,
}

impl<'a> Upgrade<'a> {
    /// Checks what can be checked before anything is touched.
    fn new(source: &'a Source, tarball: &Path) -> Result<Upgrade<'a>, String> {
        let install = &source.install;
        let root = install.root.as_path();
        if *install != Install::beneath(root) {
            return Err(
                "This agent was not installed from a tarball; upgrade its package instead."
                    .to_owned(),
            );
        }
        if root.file_name() != Some(OsStr::new(PROGRAM)) {
            return Err(format!(
                "The folder of the installation, \"{}\", must be called \"{PROGRAM}\".",
                root.display()
            ));
        }
        let config = Config::load(source)
            .map_err(|error| format!("The configuration is broken: {error}"))?;
        for (what, is, usual) in [
            (
                "The configuration file",
                &config.main_file,
                &install.config_file,
            ),
            (
                "agent_data_path",
                &config.data_dir().to_owned(),
                &install.data_dir,
            ),
            (
                "agent_log_path",
                &config.log_dir().to_owned(),
                &install.log_dir,
            ),
        ] {
            if is != usual {
                return Err(format!(
                    "{what} is \"{}\"; an upgrade is possible only with \"{}\". Unpack the \
                     tarball elsewhere and move the configuration by hand.",
                    is.display(),
                    usual.display()
                ));
            }
        }
        if !tarball.is_file() {
            return Err(format!(
                "The tarball file \"{}\" does not exist.",
                tarball.display()
            ));
        }
        let name = tarball.file_name().unwrap_or_default().to_string_lossy();
        if !name.starts_with("scalyr-agent-2.") || !name.ends_with(".tar.gz") {
            return Err(format!(
                "The file name \"{name}\" is not that of a tarball of this agent, \
                 scalyr-agent-2.VERSION.tar.gz."
            ));
        }
        Ok(Upgrade {
            tarball: tarball.to_owned(),
            install: root,
            work: Work::new(root)?,
        })
    }

    fn run(&self, preserve: bool) -> Result<(), String> {
        let new = self.work.0.join("new");
        unpack(&self.tarball, &new).map_err(|error| {
            format!("\"{}\" can't be unpacked: {error}", self.tarball.display())
        })?;
        let new = only_folder(&new)?;
        self.try_out(&new)?;
        let old_program = self.install.join("bin").join(PROGRAM);
        let stopped = call(&old_program, &[OsStr::new("stop")])?;
        // Whatever version it is, this is what it says.
        let ran = String::from_utf8_lossy(&stopped.stdout).contains("Agent has stopped");
        if !stopped.status.success() {
            return Err(format!(
                "The running agent can't be stopped: {}",
                said(&stopped)
            ));
        }
        let result = self.swap(&new, preserve);
        let restarted = ran.then(|| call(&old_program, &[OsStr::new("start")]));
        match (&result, restarted) {
            (Ok(()), None) => out("New agent installed."),
            (Ok(()), Some(Ok(output))) if output.status.success() => {
                out("New agent installed.");
                out("Agent has successfully restarted.");
                out(format_args!(
                    "  You may execute the following command for status details:  {PROGRAM} \
                     status -v"
                ));
            }
            (Ok(()), Some(output)) => {
                out("New agent installed.");
                out(format_args!(
                    "Warning: the agent was running and could not be started again: {}",
                    output.as_ref().map_or_else(Clone::clone, said)
                ));
            }
            (Err(_), Some(Ok(output))) if output.status.success() => {
                err("The former agent runs again.");
            }
            (Err(_), Some(_)) => err("The former agent could not be started again."),
            (Err(_), None) => {}
        }
        result
    }

    /// Whether the new program runs here at all and takes over what the old one leaves.
    fn try_out(&self, new: &Path) -> Result<(), String> {
        let bin = new.join("bin");
        let version = call(&bin.join(PROGRAM), &[OsStr::new("version")])?;
        if !version.status.success() {
            return Err(format!("The new program does not run: {}", said(&version)));
        }
        let mut both = OsString::from(self.install);
        both.push(":");
        both.push(new);
        let hook = call(
            &bin.join(CONFIG_PROGRAM),
            &[OsStr::new("--upgrade-tarball"), &both],
        )?;
        if !hook.status.success() {
            return Err(format!(
                "The new version refuses the upgrade: {}",
                said(&hook)
            ));
        }
        Ok(())
    }

    /// Puts the new installation in the place of the old one; undone if a step fails.
    fn swap(&self, new: &Path, preserve: bool) -> Result<(), String> {
        let old = self.work.0.join("old");
        let mut done: Vec<(PathBuf, PathBuf)> = Vec::new();
        let mut steps: Vec<(PathBuf, PathBuf)> = Vec::new();
        for name in KEPT {
            // The tarball's own folders of these names are for fresh installations.
            steps.push((new.join(name), self.work.0.join(format!("fresh-{name}"))));
            steps.push((self.install.join(name), new.join(name)));
        }
        steps.push((self.install.to_owned(), old.clone()));
        steps.push((new.to_owned(), self.install.to_owned()));
        for (from, to) in steps {
            if !from.exists() {
                continue;
            }
            if let Err(error) = fs::rename(&from, &to) {
                for (from, to) in done.iter().rev() {
                    if let Err(error) = fs::rename(to, from) {
                        // The folder has the files that a repair by hand needs.
                        self.work.keep();
                        err(format_args!(
                            "Can't move \"{}\" back to \"{}\": {error}",
                            to.display(),
                            from.display()
                        ));
                    }
                }
                return Err(format!(
                    "Can't move \"{}\" to \"{}\": {error}",
                    from.display(),
                    to.display()
                ));
            }
            done.push((from, to));
        }
        files::sync_folder(self.install);
        if preserve {
            // As it was, but for logs and data, which are the new one's
            let copied = copy_tree(&self.install.join("config"), &old.join("config"));
            self.work.keep();
            out(format_args!(
                "The old installation is in {}.",
                old.display()
            ));
            if let Err(error) = copied {
                err(format_args!(
                    "Its configuration could not be copied: {error}"
                ));
            }
        }
        Ok(())
    }
}

/// A folder for the time of the upgrade.
struct Work(PathBuf, std::cell::Cell<bool>);

impl Work {
    fn new(install: &Path) -> Result<Work, String> {
        let beside = install.parent().unwrap_or(Path::new("/"));
        let path = beside.join(format!("scalyr-agent-2-upgrade.{}", random::uuid4()));
        // Another user's agent may have to get at the programs in it.
        DirBuilder::new()
            .mode(0o755)
            .create(&path)
            .map_err(|error| files::failed(&path, &error))?;
        Ok(Work(path, false.into()))
    }

    fn keep(&self) {
        self.1.set(true);
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if !self.1.get() {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

/// Unpacks files, folders and links that stay within; anything else is refused.
fn unpack(tarball: &Path, to: &Path) -> Result<(), String> {
    let file = File::open(tarball).map_err(|error| error.to_string())?;
    let told = |error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof => format!(
            "it is cut short, or unpacks to more than {} MiB",
            MOST_BYTES >> 20
        ),
        _ => error.to_string(),
    };
    let mut reader = tar::Reader::new(gzip::Decoder::new(file).take(MOST_BYTES));
    fs::create_dir(to).map_err(told)?;
    let mut links = Vec::new();
    let mut count = 0;
    while let Some(entry) = reader.next().map_err(told)? {
        count += 1;
        if count > MOST_FILES {
            return Err(format!("it has more than {MOST_FILES} entries"));
        }
        let shown = entry.name.display();
        let Some(name) = tar::safe_path(&entry.name) else {
            if entry.kind == Kind::Folder {
                continue;
            }
            return Err(format!("the name \"{shown}\" in it leads elsewhere"));
        };
        let path = to.join(&name);
        match entry.kind {
            Kind::Folder => fs::create_dir_all(&path).map_err(told)?,
            Kind::File => {
                if let Some(folder) = path.parent() {
                    fs::create_dir_all(folder).map_err(told)?;
                }
                let mut file = OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .mode(entry.mode & 0o755)
                    .open(&path)
                    .map_err(|error| format!("\"{shown}\": {error}"))?;
                let copied = io::copy(&mut reader, &mut file).map_err(told)?;
                if copied != entry.size {
                    return Err("it is cut short".to_owned());
                }
            }
            // Made at the end, so that nothing is written through one.
            Kind::Link(target) if stays_within(&name, &target) => links.push((path, target)),
            Kind::Link(_) | Kind::Other(_) => {
                return Err(format!(
                    "\"{shown}\" in it is neither file nor folder nor a link to one of them"
                ));
            }
        }
    }
    for (path, target) in links {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(told)?;
        }
        symlink(&target, &path).map_err(|error| format!("\"{}\": {error}", path.display()))?;
    }
    Ok(())
}

/// Whether a link leads to somewhere in the archive's first folder.
fn stays_within(name: &Path, target: &Path) -> bool {
    let mut depth = name.components().count().saturating_sub(2);
    for component in target.components() {
        match component {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir if depth > 0 => depth -= 1,
            _ => return false,
        }
    }
    !target.as_os_str().as_bytes().is_empty()
}

/// The one folder that a tarball has at its top.
fn only_folder(unpacked: &Path) -> Result<PathBuf, String> {
    let mut entries = fs::read_dir(unpacked)
        .map_err(|error| error.to_string())?
        .flatten()
        .map(|entry| entry.path());
    match (entries.next(), entries.next()) {
        (Some(folder), None) if folder.join("bin").join(PROGRAM).is_file() => Ok(folder),
        _ => Err(format!(
            "The tarball is not one of this agent: it should have one folder, with bin/{PROGRAM}."
        )),
    }
}

fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

fn call(program: &Path, arguments: &[&OsStr]) -> Result<Output, String> {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("\"{}\" can't be run: {error}", program.display()))
}

/// The error text of a program that failed, or else its exit status.
fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    match text.trim() {
        "" => output.status.to_string(),
        text => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_may_not_lead_out_of_the_installation() {
        let within = |name: &str, target: &str| stays_within(Path::new(name), Path::new(target));
        assert!(within("a/bin/x", "y"));
        assert!(within("a/bin/x", "../share/y"));
        assert!(within("a/b/c/x", "../../y"));
        for (name, target) in [
            ("a/bin/x", "/etc/passwd"),
            ("a/bin/x", "../../y"),
            ("a/x", "../y"),
            ("x", "y/../.."),
            ("a/bin/x", ""),
        ] {
            assert!(!within(name, target), "{name} -> {target}");
        }
    }
}
