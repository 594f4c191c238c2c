//! The agent as seen and handled from outside: its descriptors and memory, the state of its files,
//! pauses.

use super::{Numbers, Process, Site, DEADLINE};
use nix::sys::signal::Signal;
use receiver::Fault;
use serde_json::Value;
use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::ops::Range;
use std::os::unix::fs::{lchown, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The state of the agent while something happens to its logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agent {
    /// It does not get to run: for it all happens at once, between two looks.
    Blind,
    /// It runs and reads, and no delivery succeeds.
    ServerAway,
    /// It was stopped, and is started afterwards.
    Stopped,
    /// It was killed, and is started afterwards.
    Killed,
}

/// All of [`Agent`].
pub const ANY: [Agent; 4] = [
    Agent::Blind,
    Agent::ServerAway,
    Agent::Stopped,
    Agent::Killed,
];

impl Site {
    /// Writes `unsent` lines that the agent can't deliver in its state, then does something to the
    /// logs, and lets the agent go on.
    pub fn meanwhile(
        &mut self,
        agent: Agent,
        numbers: &mut Numbers,
        unsent: u64,
        change: impl FnOnce(&mut Numbers),
    ) {
        self.leave(agent);
        if unsent > 0 {
            let faulted = self.receiver.counts().faulted;
            numbers.write(unsent);
            if agent == Agent::ServerAway {
                self.until("it was read", |state| state.counts().faulted > faulted);
            }
        }
        change(numbers);
        self.come_back(agent);
    }

    /// Puts the agent into a state in which it delivers nothing.
    pub fn leave(&mut self, agent: Agent) {
        match agent {
            Agent::Blind => self.freeze(),
            Agent::ServerAway => {
                let fault = Fault::cut_before_storing().with_events_only();
                self.receiver.fault(fault.until_cleared());
            }
            Agent::Stopped => self.term(),
            Agent::Killed => self.kill9(),
        }
    }

    /// Ends that state.
    pub fn come_back(&mut self, agent: Agent) {
        match agent {
            Agent::Blind => self.thaw(),
            Agent::ServerAway => self.receiver.clear_faults(),
            Agent::Stopped | Agent::Killed => {
                self.start();
            }
        }
    }

    /// Holds the agent where it is, and waits until it stands still.
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
        self.until_seen("the agent stands still", || {
            let stat = fs::read_to_string(self.proc("stat")).unwrap();
            // The state follows the name, which ends with the last parenthesis
            stat[stat.rfind(')').unwrap()..].starts_with(") T")
        });
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Waits until the agent takes the signals that it is to take: a signal that comes before ends
    /// any process.
    pub(super) fn until_it_listens(&mut self) {
        const TERM: u64 = 1 << (Signal::SIGTERM as u64 - 1);
        let status = self.proc("status");
        let deadline = Instant::now() + DEADLINE;
        while !self.has_ended() && Instant::now() < deadline {
            let text = fs::read_to_string(&status).unwrap_or_default();
            let caught = text.lines().find_map(|l| l.strip_prefix("SigCgt:"));
            let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
            if caught.is_some_and(|mask| mask & TERM != 0) {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn proc(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.pid()))
    }

    /// Where the agent's descriptors lead, as the system shows them.
    pub fn descriptors(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.proc("fd")).unwrap();
        // One that was closed meanwhile is none
        let links = entries.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
        links.collect()
    }

    /// The descriptors of logs.
    pub fn open_logs(&self) -> Vec<PathBuf> {
        let logs = self.path("logs");
        let mut open = self.descriptors();
        open.retain(|path| path.starts_with(&logs));
        open
    }

    /// The agent's peak resident memory, in bytes.
    pub fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(self.proc("status")).unwrap();
        let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
        let kb = peak.unwrap().trim().trim_end_matches(" kB");
        kb.parse::<u64>().unwrap() * 1024
    }

    /// CPU time that the agent took up to now.
    pub fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(self.proc("stat")).unwrap();
        let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        // The unit of these fields is 1/100 s on every Linux
        Duration::from_millis(ticks * 10)
    }

    /// The entry of `status -v` for a log, as JSON.
    pub fn file_status(&self, name: &str) -> Option<Value> {
        let path = self.log_path(name);
        let status = self.status_json();
        let matchers = status["copying_manager_status"]["log_matchers"].as_array()?;
        let mut files = matchers.iter().flat_map(|matcher| {
            let files = matcher["log_processors_status"].as_array();
            files.cloned().unwrap_or_default()
        });
        files.find(|file| file["log_path"] == path.to_str().unwrap())
    }

    /// Waits until the agent's own log says `text` so many times.
    #[track_caller]
    pub fn until_logged_times(&self, text: &str, times: usize) {
        let what = format!("agent.log says {text:?} {times} times");
        self.until_seen(&what, || self.agent_log().matches(text).count() >= times);
    }

    /// Waits until all of `range` but `missing` arrived from a log, and asserts that nothing of
    /// `missing` did and that nothing came twice.
    #[track_caller]
    pub fn expect_all_but(&mut self, name: &str, range: Range<u64>, missing: Range<u64>) {
        let without = missing.end - missing.start;
        let wanted = range.end - range.start - without;
        let path = self.log_path(name);
        let path = path.to_str().unwrap().to_owned();
        let what = format!("{wanted} numbers of {name}");
        self.until(&what, |state| super::tally_of(state, &path).seen >= wanted);
        let tally = self.tally(name);
        let report = || format!("{name}\n{}", self.report());
        let gaps = tally.missing(range);
        assert!(gaps.iter().eq([&missing]), "{gaps:?} {}", report());
        assert_eq!(tally.seen, wanted, "{}", report());
        assert_eq!(tally.repeated, [] as [u64; 0], "{}", report());
        assert_eq!((tally.unsealed, tally.unnumbered), (0, 0), "{}", report());
        self.assert_well_formed();
    }

    /// Waits until the agent sent `requests` more: what was asked of it before is done.
    #[track_caller]
    pub fn until_requests(&mut self, requests: u64) {
        let from = self.receiver.counts().requests;
        self.until("more requests", |state| {
            state.counts().requests >= from + requests
        });
    }

    /// Starts the agent as a daemon; it is killed when the site goes away.
    pub fn start_daemon(&mut self) -> i32 {
        self.write_config();
        let said = self.run(&["start", "--no-change-user", "--no-check-remote-server"]);
        assert_eq!(said.code, 0, "{said:?}\n{}", self.report());
        self.adopt_daemon()
    }

    /// Has a daemon that was started otherwise killed when the site goes away; its process id.
    pub fn adopt_daemon(&mut self) -> i32 {
        let pid = self.daemon_pid().expect("a pid file");
        self.daemon = Some(pid);
        pid
    }

    /// The process id in the pid file.
    pub fn daemon_pid(&self) -> Option<i32> {
        let text = fs::read_to_string(self.path("log/agent.pid")).ok()?;
        text.lines().next()?.trim().parse().ok()
    }

    /// Kills the daemon, if it still is ours.
    pub(super) fn kill_daemon(&mut self) {
        let Some(pid) = self.daemon.take() else {
            return;
        };
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let config = self.config_path();
        let ours = config.to_str().unwrap().as_bytes();
        if command.windows(ours.len()).any(|part| part == ours) {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL);
        }
    }

    /// Stops the agent and asserts how long that takes at most.
    #[track_caller]
    pub fn stop_within(&mut self, signal: Signal, limit: Duration) {
        self.until_it_listens();
        let began = Instant::now();
        self.signal(signal);
        let status = self.wait_exit(DEADLINE);
        let took = began.elapsed();
        assert!(status.success(), "{status}\n{}", self.report());
        assert!(
            took <= limit,
            "the stop took {took:?}, not {limit:?}\n{}",
            self.report()
        );
    }

    /// Sets a variable of the environment that the agent and its commands get from now on.
    pub fn set_env(&mut self, name: &str, value: &str) {
        if self.wrapper.is_empty() {
            self.wrapper.push("env".into());
        }
        self.wrapper.push(format!("{name}={value}").into());
    }

    /// Has the agent run without root's right to read everything from now on; false if that does not
    /// work here. It stays the same user: another one might not get to the folder or the program.
    pub fn respect_modes(&mut self) -> bool {
        let words = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"];
        let secret = self.path("secret");
        fs::write(&secret, "").unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).unwrap();
        let probe = |program: &str| {
            let mut command = std::process::Command::new(words[0]);
            let command = command.args(&words[1..]).arg(program).arg(&secret);
            command.output().is_ok_and(|output| output.status.success())
        };
        let works = probe("ls") && !probe("cat");
        fs::remove_file(&secret).unwrap();
        if works {
            self.wrapper = words.iter().map(OsString::from).collect();
        }
        works
    }

    /// Has the agent run as `nobody` from now on, with a configuration and folders of its own. The
    /// folder of the logs stays as it is. Only root can do this.
    pub fn run_as_nobody(&mut self) {
        let root = self.path("");
        fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
        // The program's folder may be closed to other users
        let copy = self.path("program");
        fs::copy(&self.program, &copy).unwrap();
        self.program = copy.into();
        for folder in ["conf", "data", "log"] {
            give_to_nobody(&self.path(folder));
        }
        let words = ["setpriv", "--reuid=nobody", "--clear-groups"];
        self.wrapper = words.iter().map(OsString::from).collect();
    }

    /// Has the Python agent run instead of this one, with a Python that has the package scalyr-agent-2; this one
    /// again with `None`.
    pub fn run_python(&mut self, python: Option<&Path>) {
        (self.wrapper, self.program) = match python {
            Some(python) => (
                vec![python.into(), "-m".into()],
                "scalyr_agent.agent_main".into(),
            ),
            None => (Vec::new(), super::program()),
        };
    }

    /// Has these words begin the command line of the agent and its commands from now on.
    pub fn wrap(&mut self, words: &[&str]) {
        self.wrapper = words.iter().map(OsString::from).collect();
    }

    /// Leaves the agent to the caller, so that another one can be started beside it.
    pub fn leave_running(&mut self) -> Process {
        self.agent.take().expect("the agent was started")
    }

    /// Has the agent and its commands run with this umask from now on.
    pub fn set_umask(&mut self, umask: &str) {
        let script = format!("umask {umask}; exec \"$@\"");
        let words = ["sh", "-c", &script, "sh"];
        self.wrapper.extend(words.iter().map(OsString::from));
    }

    /// Whether the agent has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.agent.as_mut().is_none_or(Process::has_ended)
    }
}

/// Makes `nobody` the owner of a file, of a link itself, or of a folder and all in it.
pub fn give_to_nobody(path: &Path) {
    let nobody = nix::unistd::User::from_name("nobody").unwrap();
    let uid = nobody.expect("a user nobody").uid.as_raw();
    lchown(path, Some(uid), None).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    if fs::symlink_metadata(path).unwrap().is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give_to_nobody(&entry.unwrap().path());
        }
    }
}

/// Appends as much of `text` as there is room for.
pub fn append_some(path: &Path, text: &[u8]) {
    let file = fs::OpenOptions::new().create(true).append(true).open(path);
    if let Ok(mut file) = file {
        // A full disk is what this is for
        let _ = file.write_all(text);
    }
}

/// Runs a scenario for each case, all at the same time; panics with the names of those that
/// failed.
pub fn all_at_once<T: Copy + std::fmt::Debug + Send + Sync>(cases: &[T], run: impl Fn(T) + Sync) {
    let failed: Vec<T> = std::thread::scope(|scope| {
        let run = &run;
        let start = |&case| {
            // A panic's message names its thread
            let name = std::thread::Builder::new().name(format!("{case:?}"));
            (case, name.spawn_scoped(scope, move || run(case)).unwrap())
        };
        let threads: Vec<_> = cases.iter().map(start).collect();
        let ended = threads
            .into_iter()
            .map(|(case, thread)| (case, thread.join()));
        ended
            .filter(|(_, end)| end.is_err())
            .map(|(case, _)| case)
            .collect()
    });
    assert!(failed.is_empty(), "failed: {failed:?} (see above)");
}

/// Writes a gzip file with the content of `from`.
pub fn gzip(from: &Path, to: &Path) {
    use miniz_oxide::deflate::compress_to_vec;
    let content = fs::read(from).unwrap();
    let mut out = vec![0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3];
    out.extend(compress_to_vec(&content, 6));
    out.extend(crc32(&content).to_le_bytes());
    out.extend((content.len() as u32).to_le_bytes());
    let part = to.with_extension("part");
    fs::write(&part, out).unwrap();
    fs::rename(&part, to).unwrap();
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc: u32, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0xEDB8_8320 & 0u32.wrapping_sub(crc & 1))
        })
    })
}
