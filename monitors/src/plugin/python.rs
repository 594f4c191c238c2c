//! Plug-ins written for the Python agent: they run in a process of their own under a host script,
//! which offers them the modules that they import and speaks the protocol of all plug-ins.

use super::lookup::Found;
use super::trust;
use crate::Error;
use serde_json::{json, Map, Value as Json};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

macro_rules! sources {
    ($($name:literal: $file:literal,)*) => {
        &[$(($name, include_str!(concat!("python/", $file)))),*]
    };
}

pub const HOST: &str = include_str!("python/host.py");

/// The modules that plug-ins may import beside Python's own.
pub const MODULES: &[(&str, &str)] = sources! {
    "scalyr_agent": "package.py",
    "scalyr_agent.__scalyr__": "release.py",
    "scalyr_agent.builtin_monitors": "builtin_monitors.py",
    "scalyr_agent.compat": "compat.py",
    "scalyr_agent.config_util": "config_util.py",
    "scalyr_agent.configuration": "configuration.py",
    "scalyr_agent.date_parsing_utils": "date_parsing_utils.py",
    "scalyr_agent.json_lib": "json_lib.py",
    "scalyr_agent.json_lib.exceptions": "json_lib_exceptions.py",
    "scalyr_agent.json_lib.objects": "json_lib_objects.py",
    "scalyr_agent.json_lib.parser": "json_lib_parser.py",
    "scalyr_agent.monitor_utils": "monitor_utils.py",
    "scalyr_agent.monitor_utils.auto_flushing_rotating_file": "auto_flushing_rotating_file.py",
    "scalyr_agent.monitor_utils.server_processors": "server_processors.py",
    "scalyr_agent.scalyr_logging": "scalyr_logging.py",
    "scalyr_agent.scalyr_monitor": "scalyr_monitor.py",
    "scalyr_agent.util": "util.py",
    "six": "six.py",
};

/// Reads the first line of stdin, which holds the host and its modules, and leaves the rest of it
/// to the host. Understood by each Python that there is, which says so if it is too old.
pub const BOOT: &str = "import sys,json\nif sys.version_info<(3,6):\n sys.stdout.write(json.dumps({'fatal':'Python plug-ins need Python 3.6 or later; this is '+sys.version.split()[0]+' ('+str(sys.executable)+'); set plugin_python'})+'\\n')\n sys.stdout.flush()\n sys.exit(3)\nbundle=json.loads(sys.stdin.buffer.readline().decode('utf-8'))\nexec(compile(bundle['host'],'<plug-in host>','exec'))";

/// The line that [`BOOT`] reads, its end included.
pub fn bundle(found: &Found, dotted: bool, dirs: &[PathBuf]) -> Vec<u8> {
    let modules = MODULES.iter();
    let modules: Map<String, Json> = common::sort::gathered(
        modules.map(|(name, source)| ((*name).to_owned(), Json::from(*source))),
    );
    let dirs: Vec<_> = dirs
        .iter()
        .filter_map(|dir| std::path::absolute(dir).ok())
        // Imported files are run, so their directory must be as well kept as the plug-in's
        .filter(|dir| trust::is_kept(dir))
        .map(|dir| dir.to_string_lossy().into_owned())
        .collect();
    let line = json!({
        "host": HOST,
        "modules": modules,
        "path": found.path.to_string_lossy(),
        "dotted": dotted,
        "dirs": dirs,
    });
    format!("{line}\n").into_bytes()
}

/// The interpreter with the host, ready to be started. `name` is shown by `ps`.
///
/// # Errors
/// There is no such interpreter.
pub fn command(python: &str, path: Option<&OsStr>, name: &str) -> Result<Command, Error> {
    let Some(program) = in_path(python, path) else {
        let place = match path {
            _ if python.starts_with('/') => String::new(),
            _ if python.contains('/') => ", which would have to be an absolute path".to_owned(),
            Some(path) => format!(" in {}", path.to_string_lossy()),
            None => " because PATH is not set".to_owned(),
        };
        return Err(Error::new(format!(
            "it is a Python plug-in, and there is no {python}{place}; install Python 3.6 or later, or set plugin_python to its path",
        )));
    };
    let mut command = Command::new(program);
    command.args(["-B", "-c", BOOT, name]);
    Ok(command)
}

/// The executable of that name.
fn in_path(name: &str, path: Option<&OsStr>) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|path| path.is_absolute() && path.is_file());
    }
    path?
        .as_bytes()
        .split(|&b| b == b':')
        .map(|dir| Path::new(OsStr::from_bytes(dir)).join(name))
        // Relative directories would be those of the agent's working directory.
        .find(|file| file.is_absolute() && file.is_file())
}
