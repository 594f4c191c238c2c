//! `--upgrade-tarball` with installations that are unpacked for real: the old one
//! runs this program, the new one a script that says what it was asked.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const BINARY: &str = env!("CARGO_BIN_EXE_scalyr-agent-2");

const CONFIG: &str = "{ // ours
  api_key: \"k\", allow_http: true, scalyr_server: \"http://127.0.0.1:9\",
  implicit_metric_monitor: false, implicit_agent_process_metrics_monitor: false
}
";

/// The new program. It writes down how it was called.
const NEW: &str = "#!/bin/sh
root=$(cd \"$(dirname \"$0\")/..\" && pwd)
echo \"$*\" >>\"$root/calls\"
case $1 in
version) echo The Scalyr Agent 2 version is 9.9.9 ;;
--upgrade-tarball) [ ! -e \"$root/refuse\" ] || { echo not from this one >&2; exit 1; } ;;
start) [ ! -e \"$root/lame\" ] || { echo lame >&2; exit 1; } ;;
esac
";

struct Site(PathBuf);

impl Site {
    fn new(name: &str) -> Site {
        let root = std::env::temp_dir().join(format!("cli-tarball-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        let install = root.join("scalyr-agent-2");
        for folder in ["bin", "config/agent.d", "log", "data", "certs"] {
            fs::create_dir_all(install.join(folder)).unwrap();
        }
        let program = install.join("bin/scalyr-agent-2");
        fs::hard_link(BINARY, &program)
            .or_else(|_| fs::copy(BINARY, &program).map(drop))
            .unwrap();
        fs::write(install.join("config/agent.json"), CONFIG).unwrap();
        fs::write(install.join("data/mine"), "data").unwrap();
        fs::write(install.join("certs/old.pem"), "old").unwrap();
        let site = Site(root);
        site.pack("scalyr-agent-2.9.9.9", &[]);
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn install(&self, name: &str) -> PathBuf {
        self.path("scalyr-agent-2").join(name)
    }

    /// Makes a tarball with these files besides the program.
    fn pack(&self, name: &str, files: &[&str]) {
        let tree = self.path("tree").join(name);
        for folder in ["bin", "config/agent.d", "log", "data", "certs"] {
            fs::create_dir_all(tree.join(folder)).unwrap();
        }
        fs::write(tree.join("bin/scalyr-agent-2"), NEW).unwrap();
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(tree.join("bin/scalyr-agent-2"), mode).unwrap();
        let link = tree.join("bin/scalyr-agent-2-config");
        std::os::unix::fs::symlink("scalyr-agent-2", link).unwrap();
        fs::write(
            tree.join("config/agent.json"),
            "{api_key: \"REPLACE_THIS\"}",
        )
        .unwrap();
        fs::write(tree.join("certs/new.pem"), "new").unwrap();
        for file in files {
            fs::write(tree.join(file), "").unwrap();
        }
        let made = Command::new("tar")
            .arg("-czf")
            .arg(self.path(&format!("{name}.tar.gz")))
            .arg("-C")
            .arg(self.path("tree"))
            .arg(name)
            .status()
            .unwrap();
        assert!(made.success());
        fs::remove_dir_all(self.path("tree")).unwrap();
    }

    fn call(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(self.install("bin/scalyr-agent-2"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().to_uppercase().starts_with("SCALYR") {
                command.env_remove(name);
            }
        }
        let output = command
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (
            output.status.code().unwrap_or(-1),
            text(output.stdout),
            text(output.stderr),
        )
    }

    fn upgrade(&self, tarball: &str, more: &[&str]) -> (i32, String, String) {
        let tarball = self.path(tarball);
        let mut arguments = vec!["config", "--upgrade-tarball", tarball.to_str().unwrap()];
        arguments.extend(more);
        self.call(&arguments)
    }

    fn refused(&self, tarball: &str, why: &str) {
        let before = names(&self.0);
        let (code, out, err) = self.upgrade(tarball, &[]);
        assert_eq!((code, out.as_str()), (1, ""), "{err}");
        let start = "\nThe upgrade failed due to the following reason: ";
        assert!(err.starts_with(start) && err.contains(why), "{err}");
        assert_eq!(names(&self.0), before);
        assert_eq!(self.call(&["version"]).0, 0);
        assert!(self.install("certs/old.pem").exists());
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if self.install("log/agent.pid").exists() {
            self.call(&["stop"]);
        }
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
#[ignore = "needs tar"]
fn a_running_agent_is_replaced_and_its_configuration_and_data_stay() {
    let site = Site::new("runs");
    assert_eq!(site.call(&["start"]).0, 0);
    let (code, out, err) = site.upgrade("scalyr-agent-2.9.9.9.tar.gz", &[]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(
        out,
        "New agent installed.\nAgent has successfully restarted.\n  You may execute the following \
         command for status details:  scalyr-agent-2 status -v\n"
    );
    let calls = fs::read_to_string(site.install("calls")).unwrap();
    let calls: Vec<&str> = calls.lines().collect();
    assert_eq!(calls.len(), 3, "{calls:?}");
    assert_eq!((calls[0], calls[2]), ("version", "start"));
    let old = site.path("scalyr-agent-2");
    assert!(calls[1].starts_with(&format!("--upgrade-tarball {}:", old.display())));

    assert_eq!(
        fs::read_to_string(site.install("config/agent.json")).unwrap(),
        CONFIG
    );
    assert_eq!(
        fs::read_to_string(site.install("data/mine")).unwrap(),
        "data"
    );
    assert!(site.install("log/agent.log").exists());
    assert!(site.install("certs/new.pem").exists());
    assert!(!site.install("certs/old.pem").exists());
    assert_eq!(
        names(&site.0),
        ["scalyr-agent-2", "scalyr-agent-2.9.9.9.tar.gz"]
    );
}

#[test]
#[ignore = "needs tar"]
fn the_old_installation_can_be_kept_and_an_agent_that_did_not_run_is_not_started() {
    let site = Site::new("keep");
    let (code, out, err) = site.upgrade("scalyr-agent-2.9.9.9.tar.gz", &["--preserve-old-install"]);
    assert_eq!((code, err.as_str()), (0, ""));
    let old = out
        .lines()
        .find_map(|line| line.strip_prefix("The old installation is in "));
    let old = PathBuf::from(old.unwrap().trim_end_matches('.'));
    assert!(old.join("bin/scalyr-agent-2").exists() && old.join("certs/old.pem").exists());
    assert_eq!(
        fs::read_to_string(old.join("config/agent.json")).unwrap(),
        CONFIG
    );
    assert!(out.ends_with("New agent installed.\n"), "{out}");
    let calls = fs::read_to_string(site.install("calls")).unwrap();
    assert!(!calls.contains("start"), "{calls}");
}

#[test]
#[ignore = "needs tar"]
fn what_can_t_work_is_refused_before_anything_is_touched() {
    let site = Site::new("refused");
    site.refused("scalyr-agent-2.no.tar.gz", "does not exist");
    fs::write(site.path("other.tar.gz"), "").unwrap();
    site.refused("other.tar.gz", "\"other.tar.gz\"");
    fs::write(site.path("scalyr-agent-2.1.tar.gz"), "rubbish").unwrap();
    site.refused("scalyr-agent-2.1.tar.gz", "no gzip file");
    site.pack("scalyr-agent-2.2", &["refuse"]);
    site.refused("scalyr-agent-2.2.tar.gz", "not from this one");

    let config = CONFIG.replace("api_key", "agent_data_path: \"/var/tmp\", api_key");
    fs::write(site.install("config/agent.json"), config).unwrap();
    site.refused(
        "scalyr-agent-2.9.9.9.tar.gz",
        "agent_data_path is \"/var/tmp\"",
    );
    fs::write(site.install("config/agent.json"), "{").unwrap();
    site.refused("scalyr-agent-2.9.9.9.tar.gz", "configuration is broken");

    // The hook of the new version
    let both = format!("{0}:{0}", site.0.display());
    let (code, out, err) = site.call(&["config", "--upgrade-tarball", &both]);
    assert_eq!((code, out.as_str(), err.as_str()), (0, "", ""));
}

#[test]
#[ignore = "needs tar"]
fn a_new_agent_that_does_not_start_is_told() {
    let site = Site::new("lame");
    site.pack("scalyr-agent-2.3", &["lame"]);
    assert_eq!(site.call(&["start"]).0, 0);
    let (code, out, err) = site.upgrade("scalyr-agent-2.3.tar.gz", &[]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(
        out.ends_with("Warning: the agent was running and could not be started again: lame\n"),
        "{out}"
    );
}
