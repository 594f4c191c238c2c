//! `--systemd-managed`: from the init script to systemd.

use super::files::{self, Rights};
use crate::cli::decl::PROGRAM;
use crate::cli::out;
use crate::config::Source;
use nix::unistd::{access, AccessFlags, Uid};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where things are.
#[derive(Debug, Clone)]
pub(super) struct Places {
    /// The folder that absolute paths of the system are relative to; `/` outside of tests.
    root: PathBuf,
    /// Folders of programs, separated by `:`.
    path: String,
    /// The agent itself.
    program: PathBuf,
    /// The main configuration file.
    main_file: PathBuf,
    is_root: bool,
}

/// Where units lie, those of the operator first.
const UNIT_FOLDERS: [&str; 3] = [
    "etc/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
];

impl Places {
    /// Those of this machine.
    pub(super) fn of(source: &Source) -> Places {
        Places {
            root: "/".into(),
            path: "/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
            program: std::env::current_exe().unwrap_or_else(|_| "/usr/sbin/scalyr-agent-2".into()),
            main_file: source.main_file.clone(),
            is_root: Uid::effective().is_root(),
        }
    }

    fn program(&self, name: &str) -> Option<PathBuf> {
        self.path
            .split(':')
            .map(|folder| Path::new(folder).join(name))
            .find(|file| file.is_file() && access(file, AccessFlags::X_OK).is_ok())
    }

    fn unit_name() -> String {
        format!("{PROGRAM}.service")
    }

    /// The unit that systemd would use.
    fn unit(&self) -> Option<PathBuf> {
        UNIT_FOLDERS
            .iter()
            .map(|folder| self.root.join(folder).join(Places::unit_name()))
            .find(|unit| unit.exists())
    }

    fn marker(&self) -> PathBuf {
        self.root.join("etc/scalyr-agent-2/systemd_managed")
    }
}

/// Leaves starting and stopping to systemd. Doing it twice does no harm.
///
/// # Errors
/// Lines for stderr: not root, no systemd, or a step failed.
pub(super) fn manage(places: &Places) -> Result<(), String> {
    if !places.is_root {
        return Err("Only root may have systemd manage the agent.".to_owned());
    }
    let Some(systemctl) = places.program("systemctl") else {
        return Err("There is no systemctl here: this machine does not run systemd.".to_owned());
    };
    let unit = match places.unit() {
        Some(unit) => unit,
        None => {
            let unit = places.root.join(UNIT_FOLDERS[0]).join(Places::unit_name());
            files::replace(&unit, own_unit(places).as_bytes(), ROOTS)?;
            unit
        }
    };
    leave_runlevels(places)?;
    files::replace(&places.marker(), b"", ROOTS)?;
    run(&systemctl, &["daemon-reload"])?;
    out(format_args!(
        "The agent is managed by systemd now; its unit is {}.\n\
         It is neither enabled nor started by this. To do so, and for later:\n\n\
         \x20 systemctl enable --now {PROGRAM}     start it now and at each boot\n\
         \x20 systemctl status {PROGRAM}           and: stop, start, restart, reload\n\
         \x20 journalctl -f -u {PROGRAM}           what it says\n\n\
         An agent that was started by the init script is to be stopped first:\n\n\
         \x20 {PROGRAM} stop\n\n\
         To go back: systemctl disable --now {PROGRAM}, delete {} and install the package again.",
        unit.display(),
        places.marker().display(),
    ));
    Ok(())
}

const ROOTS: Rights = Rights {
    uid: 0,
    gid: 0,
    mode: 0o644,
};

/// For installations that bring along no unit. The agent becomes the owner of its configuration
/// by itself, as with the init script.
fn own_unit(places: &Places) -> String {
    format!(
        "# Written by scalyr-agent-2-config --systemd-managed.\n\
         [Unit]\n\
         Description=Scalyr agent: sends logs and metrics of this machine\n\
         Wants=network-online.target\n\
         After=network-online.target\n\
         \n\
         [Service]\n\
         Type=simple\n\
         ExecStart={} start --no-fork -c {}\n\
         ExecReload=/bin/kill -HUP $MAINPID\n\
         Restart=on-failure\n\
         RestartSec=5\n\
         TimeoutStopSec=15\n\
         KillMode=mixed\n\
         UMask=0027\n\
         ProtectSystem=yes\n\
         \n\
         [Install]\n\
         WantedBy=multi-user.target\n",
        word(&places.program),
        word(&places.main_file)
    )
}

/// A path as one word of a unit's command line.
fn word(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if text.chars().all(plain) {
        return text.into_owned();
    }
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '%' => quoted.push_str("%%"),
            '$' => quoted.push_str("$$"),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Removes the init script's links from the runlevels, with the tool that made them.
fn leave_runlevels(places: &Places) -> Result<(), String> {
    if let Some(chkconfig) = places.program("chkconfig") {
        return run(&chkconfig, &["--del", PROGRAM]);
    }
    if let Some(update_rc_d) = places.program("update-rc.d") {
        return run(&update_rc_d, &["-f", PROGRAM, "remove"]);
    }
    for level in ["0", "1", "2", "3", "4", "5", "6", "S"] {
        for folder in [format!("etc/rc{level}.d"), format!("etc/rc.d/rc{level}.d")] {
            let entries = fs::read_dir(places.root.join(folder));
            for entry in entries.into_iter().flatten().flatten() {
                let name = entry.file_name();
                // S98scalyr-agent-2
                let is_ours = name.to_str().is_some_and(|name| {
                    name.starts_with(['S', 'K']) && name.get(3..) == Some(PROGRAM)
                });
                if is_ours {
                    fs::remove_file(entry.path())
                        .map_err(|error| files::failed(&entry.path(), &error))?;
                }
            }
        }
    }
    Ok(())
}

fn run(program: &Path, arguments: &[&str]) -> Result<(), String> {
    let shown = format!("{} {}", program.display(), arguments.join(" "));
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("\"{shown}\" can't be run: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "\"{shown}\" failed ({}): {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::testing::Scratch;
    use std::os::unix::fs::PermissionsExt;

    /// A machine with these programs, which only write down how they were called.
    fn machine(scratch: &Scratch, programs: &[&str]) -> Places {
        let bin = scratch.path("bin");
        for folder in [
            "bin",
            "etc/scalyr-agent-2",
            "etc/systemd/system",
            "etc/rc3.d",
        ] {
            fs::create_dir_all(scratch.path(folder)).unwrap();
        }
        for name in programs {
            let text = format!(
                "#!/bin/sh\necho {name} \"$@\" >>{}\n",
                scratch.path("calls").display()
            );
            fs::write(bin.join(name), text).unwrap();
            fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        Places {
            root: scratch.path(""),
            path: bin.to_str().unwrap().to_owned(),
            program: "/usr/sbin/scalyr-agent-2".into(),
            main_file: "/etc/scalyr agent/agent.json".into(),
            is_root: true,
        }
    }

    fn root() -> bool {
        Uid::effective().is_root()
    }

    #[test]
    fn it_leaves_the_runlevels_and_a_marker_and_does_so_twice() {
        if !root() {
            return;
        }
        let scratch = Scratch::new("systemd-twice");
        let places = machine(&scratch, &["systemctl", "update-rc.d"]);
        manage(&places).unwrap();
        manage(&places).unwrap();
        let unit = scratch.path("etc/systemd/system/scalyr-agent-2.service");
        let text = fs::read_to_string(unit).unwrap();
        assert!(text.contains(
            "ExecStart=/usr/sbin/scalyr-agent-2 start --no-fork -c \"/etc/scalyr agent/agent.json\"\n"
        ));
        assert!(places.marker().exists());
        let calls = fs::read_to_string(scratch.path("calls")).unwrap();
        let once = "update-rc.d -f scalyr-agent-2 remove\nsystemctl daemon-reload\n";
        assert_eq!(calls, once.repeat(2));
    }

    #[test]
    fn a_unit_that_is_there_is_used_and_links_go_also_without_a_tool() {
        if !root() {
            return;
        }
        let scratch = Scratch::new("systemd-unit");
        let places = machine(&scratch, &["systemctl"]);
        let installed = scratch.path("usr/lib/systemd/system/scalyr-agent-2.service");
        fs::create_dir_all(installed.parent().unwrap()).unwrap();
        fs::write(&installed, "the package's").unwrap();
        for name in [
            "S98scalyr-agent-2",
            "K02scalyr-agent-2",
            "S98scalyr-agent-20",
        ] {
            fs::write(scratch.path("etc/rc3.d").join(name), "").unwrap();
        }
        manage(&places).unwrap();
        assert_eq!(places.unit(), Some(installed));
        let left: Vec<_> = fs::read_dir(scratch.path("etc/rc3.d"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(left, ["S98scalyr-agent-20"]);
    }

    #[test]
    fn without_root_or_systemd_nothing_is_touched() {
        let scratch = Scratch::new("systemd-none");
        let mut places = machine(&scratch, &["update-rc.d"]);
        let error = manage(&places).unwrap_err();
        assert!(error.contains("systemctl"), "{error}");
        places.is_root = false;
        let error = manage(&places).unwrap_err();
        assert!(error.contains("root"), "{error}");
        assert!(!places.marker().exists() && !scratch.path("calls").exists());
    }
}
