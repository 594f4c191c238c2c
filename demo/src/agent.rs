//! The agent's process.

use crate::site::Site;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const NAME: &str = "scalyr-agent-2";

/// Time for a clean end; Ctrl-C has to be through within two seconds.
const PATIENCE: Duration = Duration::from_millis(1500);

/// Whether this process was started to be the agent.
pub fn is_wanted() -> bool {
    let name = std::env::args_os().next().unwrap_or_default();
    Path::new(&name).file_name() == Some(OsStr::new(NAME))
}

/// Is the agent.
pub fn be() -> ! {
    // A demo that was killed takes the agent with it. Where that fails nothing else is lost.
    let _ = set_pdeathsig(Signal::SIGTERM);
    std::process::exit(scalyr_agent_2::cli::main())
}

/// The agent, running. Killed when dropped.
pub struct Agent {
    child: Child,
    output: PathBuf,
    ended: bool,
}

impl Agent {
    /// Starts this program once more, as the agent.
    pub fn start(site: &Site) -> io::Result<Agent> {
        let output = site.path("agent.out");
        let file = File::create(&output)?;
        let mut command = Command::new(std::env::current_exe()?);
        for (name, _) in std::env::vars_os() {
            // They would reconfigure it
            if name.to_string_lossy().to_uppercase().starts_with("SCALYR") {
                command.env_remove(name);
            }
        }
        let child = command
            .arg0(NAME)
            .args(["start", "--no-fork", "--no-change-user", "--config-file"])
            .arg(site.config_file())
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            // Ctrl-C is the demo's; the agent gets its TERM from there
            .process_group(0)
            .spawn()?;
        Ok(Agent {
            child,
            output,
            ended: false,
        })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.ended = self.ended || !matches!(self.child.try_wait(), Ok(None));
        self.ended
    }

    /// Ends it. True if it ended in time and well.
    pub fn stop(&mut self, signal: Signal) -> bool {
        if !self.has_ended() {
            self.signal(signal);
        }
        let deadline = Instant::now() + PATIENCE;
        while !self.has_ended() {
            if Instant::now() > deadline {
                self.signal(Signal::SIGKILL);
                let _ = self.child.wait();
                self.ended = true;
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.child.wait().is_ok_and(|status| status.success())
    }

    fn signal(&self, signal: Signal) {
        if let Ok(pid) = i32::try_from(self.pid()) {
            // It may have gone meanwhile
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }

    /// Resident memory in KiB and CPU time, as the kernel tells.
    pub fn usage(&self) -> Option<(u64, f64)> {
        let folder = PathBuf::from(format!("/proc/{}", self.pid()));
        let status = fs::read_to_string(folder.join("status")).ok()?;
        let memory = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))?;
        let memory = memory.trim().trim_end_matches(" kB").parse().ok()?;
        let stat = fs::read_to_string(folder.join("stat")).ok()?;
        // Behind the name in parentheses; in ticks, of which Linux shows 100 a second
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
        Some((memory, (ticks(11)? + ticks(12)?) as f64 / 100.0))
    }

    /// The last of what it wrote on its terminal.
    pub fn said(&self) -> String {
        let text = fs::read(&self.output).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if !self.has_ended() {
            self.signal(Signal::SIGKILL);
            let _ = self.child.wait();
        }
    }
}
