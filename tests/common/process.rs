//! A process that ends with its owner, whose output goes to files.

use nix::sys::signal::{kill, Signal};
use nix::sys::wait::{waitid, Id, WaitPidFlag};
use nix::unistd::Pid;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{channel, Receiver};
use std::time::Duration;

/// A running process; killed when dropped.
pub struct Process {
    child: Child,
    pid: Pid,
    stdout: PathBuf,
    stderr: PathBuf,
    ended: Receiver<()>,
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts a program in a folder; `NAME.out` and `NAME.err` there take its output. No `SCALYR_`
    /// variable and no proxy's address reaches it.
    pub fn start(program: &OsStr, args: &[OsString], folder: &Path, name: &str) -> Process {
        let stdout = folder.join(format!("{name}.out"));
        let stderr = folder.join(format!("{name}.err"));
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            let upper = name.to_string_lossy().to_uppercase();
            if upper.starts_with("SCALYR") || upper.ends_with("_PROXY") {
                command.env_remove(name);
            }
        }
        let child = command
            .args(args)
            .current_dir(folder)
            .env("RUST_BACKTRACE", "1")
            .stdin(Stdio::null())
            .stdout(File::create(&stdout).unwrap())
            .stderr(File::create(&stderr).unwrap())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.to_string_lossy()));
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        let (end, ended) = channel();
        // It leaves the process to be reaped by the owner, so the id stays taken until then
        std::thread::spawn(move || {
            let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
            while waitid(Id::Pid(pid), flags) == Err(nix::errno::Errno::EINTR) {}
            let _ = end.send(());
        });
        Process {
            child,
            pid,
            stdout,
            stderr,
            ended,
            status: None,
        }
    }

    /// Its id.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Sends a signal, unless it was reaped.
    pub fn signal(&self, signal: Signal) {
        if self.status.is_none() {
            kill(self.pid, signal).unwrap();
        }
    }

    /// Waits for its end; none if it has not ended in time.
    pub fn wait_exit(&mut self, timeout: Duration) -> Option<ExitStatus> {
        if self.status.is_none() && self.ended.recv_timeout(timeout).is_ok() {
            self.status = Some(self.child.wait().unwrap());
        }
        self.status
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.wait_exit(Duration::ZERO).is_some()
    }

    /// Its standard output so far.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.stdout).unwrap_or_default()).into_owned()
    }

    /// Its standard error so far.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.stderr).unwrap_or_default()).into_owned()
    }

    /// The end of both, for a failure's report.
    pub fn output(&self) -> String {
        format!(
            "stdout, its end:\n{}stderr, its end:\n{}",
            super::last_lines(&self.stdout(), 10),
            super::last_lines(&self.stderr(), 20)
        )
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.status.is_none() {
            // Already ended is as good
            let _ = kill(self.pid, Signal::SIGKILL);
            let _ = self.child.wait();
        }
    }
}
