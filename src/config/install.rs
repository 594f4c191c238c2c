//! Where things lie by default, by kind of installation.

use std::path::{Path, PathBuf};

/// The default places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Install {
    /// Directory of what came with the program.
    pub root: PathBuf,
    /// Default of `agent_log_path`.
    pub log_dir: PathBuf,
    /// Default of `agent_data_path`.
    pub data_dir: PathBuf,
    /// Default main file.
    pub config_file: PathBuf,
}

impl Install {
    /// From the real path of the running executable; see [`Install::of`].
    pub fn detect() -> Install {
        let executable = std::env::current_exe()
            .and_then(|path| path.canonicalize())
            .unwrap_or_default();
        Install::of(&executable, |path| path.is_dir())
    }

    /// A tarball's layout if the executable is `ROOT/bin/NAME` outside of `/usr` with a
    /// `ROOT/config` directory; else that of a package.
    pub fn of(executable: &Path, is_dir: impl Fn(&Path) -> bool) -> Install {
        let bin = executable.parent();
        if let Some(root) = bin
            .filter(|bin| bin.ends_with("bin") && !bin.starts_with("/usr"))
            .and_then(Path::parent)
            .filter(|root| is_dir(&root.join("config")))
        {
            return Install::beneath(root);
        }
        Install {
            root: "/usr/share/scalyr-agent-2".into(),
            log_dir: "/var/log/scalyr-agent-2".into(),
            data_dir: "/var/lib/scalyr-agent-2".into(),
            config_file: "/etc/scalyr-agent-2/agent.json".into(),
        }
    }

    /// Everything below one directory: a tarball's layout, and that of a development tree in
    /// `~/scalyr-agent-dev`.
    pub fn beneath(root: &Path) -> Install {
        Install {
            root: root.to_owned(),
            log_dir: root.join("log"),
            data_dir: root.join("data"),
            config_file: root.join("config/agent.json"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_follows_from_where_the_program_lies() {
        let config_of = |executable: &str, root: &str| {
            Install::of(Path::new(executable), |path| {
                path == Path::new(root).join("config")
            })
            .config_file
        };
        let package = Path::new("/etc/scalyr-agent-2/agent.json");
        assert_eq!(config_of("/usr/sbin/scalyr-agent-2", "/usr"), package);
        assert_eq!(
            config_of("/usr/local/bin/scalyr-agent-2", "/usr/local"),
            package
        );
        assert_eq!(
            config_of("/opt/a/target/debug/scalyr-agent-2", "/opt/a"),
            package
        );
        assert_eq!(
            config_of("/opt/a/bin/scalyr-agent-2", "/elsewhere"),
            package
        );
        assert_eq!(
            config_of("/opt/a/bin/scalyr-agent-2", "/opt/a"),
            Path::new("/opt/a/config/agent.json")
        );
        assert_eq!(config_of("", ""), package);
        let tarball = Install::beneath(Path::new("/opt/a"));
        assert_eq!(tarball.log_dir, Path::new("/opt/a/log"));
        assert_eq!(tarball.data_dir, Path::new("/opt/a/data"));
    }
}
