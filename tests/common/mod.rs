//! A harness for tests of the whole agent: a [`Site`] is a temporary folder with a configuration,
//! logs, a receiver to deliver to, and the agent as a process of its own.
//!
//! Environment: `KEEP_SITE=1` leaves the folders in place; `SITE_AGENT=/path/of/program` runs
//! another build of the agent.

#![allow(dead_code)] // each test file uses a part of it

pub mod numbers;
pub mod outside;
pub mod process;
pub mod told;

use nix::sys::signal::Signal;
use process::Process;
use receiver::{Options, Receiver, State, Tally};
use serde_json::{json, Map, Value};
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

#[allow(unused_imports)]
pub use numbers::{Load, Numbers};
#[allow(unused_imports)]
pub use outside::{all_at_once, append_some, give_to_nobody, gzip, Agent, ANY};
#[allow(unused_imports)]
pub use told::{lines, Told};

/// How long anything may take that must happen. Machines that build elsewhere at the same time are
/// slow; a test that succeeds does not wait for it.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// How long a stop may take. The agent gives itself 4.5 s; the rest is for a machine that
/// does much else. One that waits for a server that hangs takes a minute.
pub const STOP: Duration = Duration::from_secs(20);

/// The command that starts an agent that stays a child of its caller.
pub const START: &[&str] = &[
    "start",
    "--no-fork",
    "--no-change-user",
    "--no-check-remote-server",
];

/// A folder for one agent, with all that belongs to it.
pub struct Site {
    root: PathBuf,
    /// The server that the agent sends to.
    pub receiver: Receiver,
    options: Map<String, Value>,
    logs: Vec<Value>,
    agent: Option<Process>,
    daemon: Option<i32>,
    /// Words that the agent's command line begins with.
    wrapper: Vec<OsString>,
    /// The agent's executable.
    program: OsString,
    starts: u32,
}

impl Site {
    /// With a receiver that keeps events and a ledger, and a configuration that makes the agent
    /// quick: see [`Site::unset`] for the stock behaviour.
    pub fn new() -> Site {
        Site::with(Options {
            numbered: true,
            ..Options::default()
        })
    }

    /// With a receiver of other options.
    pub fn with(options: Options) -> Site {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("agent-site-{}-{number}", std::process::id());
        let root = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&root);
        for dir in ["conf/agent.d", "data", "log", "logs"] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        let receiver = Receiver::start(options).unwrap();
        let settings = json!({
            "api_key": "test-key",
            "scalyr_server": receiver.url(),
            "allow_http": true,
            "agent_data_path": root.join("data"),
            "agent_log_path": root.join("log"),
            "server_attributes": {"serverHost": "test-host"},
            "implicit_agent_log_collection": false,
            "implicit_metric_monitor": false,
            "implicit_agent_process_metrics_monitor": false,
            // The options below are for quick tests only
            "max_request_spacing_interval": 0.2,
            "max_error_request_spacing_interval": 0.5,
            "max_new_log_detection_time": 0.2,
            "min_poll_interval": 0.02,
            "max_poll_interval": 0.1,
            "keep_alive_interval": 1.0,
            "config_change_check_interval": 0.2,
        });
        Site {
            root,
            receiver,
            options: settings.as_object().unwrap().clone(),
            logs: Vec::new(),
            agent: None,
            daemon: None,
            wrapper: Vec::new(),
            program: program(),
            starts: 0,
        }
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// A path in the folder of the logs.
    pub fn log_path(&self, name: &str) -> PathBuf {
        self.root.join("logs").join(name)
    }

    /// The configuration file.
    pub fn config_path(&self) -> PathBuf {
        self.path("conf/agent.json")
    }

    /// Sets an option of the configuration; it is written by [`Site::start`] or
    /// [`Site::write_config`].
    pub fn set(&mut self, option: &str, value: impl Into<Value>) -> &mut Site {
        self.options.insert(option.to_owned(), value.into());
        self
    }

    /// Leaves an option to its default.
    pub fn unset(&mut self, option: &str) -> &mut Site {
        self.options.remove(option);
        self
    }

    /// Copies what matches `pattern` in the folder of the logs, from the start of each file.
    pub fn copy(&mut self, pattern: &str) -> &mut Site {
        let path = self.log_path(pattern);
        self.log(json!({
            "path": path, "copy_from_start": true, "attributes": {"parser": "numbers"},
        }))
    }

    /// Adds an entry to `logs`.
    pub fn log(&mut self, entry: Value) -> &mut Site {
        self.logs.push(entry);
        self
    }

    /// Removes all entries of `logs`.
    pub fn clear_logs(&mut self) -> &mut Site {
        self.logs.clear();
        self
    }

    /// The configuration's text as set up to now.
    pub fn config_text(&self) -> String {
        let mut options = self.options.clone();
        options.insert("logs".into(), Value::Array(self.logs.clone()));
        serde_json::to_string_pretty(&options).unwrap()
    }

    /// Writes the configuration as an editor does: a new file in the place of the old one.
    pub fn write_config(&self) {
        self.write_config_text(&self.config_text());
    }

    /// Writes a configuration of any text.
    pub fn write_config_text(&self, text: &str) {
        let new = self.path("conf/agent.json.new");
        fs::write(&new, text).unwrap();
        fs::rename(&new, self.config_path()).unwrap();
    }

    /// Writes a fragment into `agent.d`.
    pub fn write_fragment(&self, name: &str, text: &str) {
        fs::write(self.path("conf/agent.d").join(name), text).unwrap();
    }

    /// Writes the configuration and starts the agent.
    pub fn start(&mut self) -> &mut Site {
        self.write_config();
        self.start_as_configured()
    }

    /// Starts the agent with the configuration as it is on disk.
    pub fn start_as_configured(&mut self) -> &mut Site {
        self.start_with(&[])
    }

    /// The same with more words on the command line.
    pub fn start_with(&mut self, more: &[&str]) -> &mut Site {
        assert!(self.agent.is_none(), "the agent runs already");
        self.starts += 1;
        let agent = self.process(
            &self.config_path(),
            &[START, more].concat(),
            &format!("agent-{}", self.starts),
        );
        self.agent = Some(agent);
        self
    }

    fn process(&self, config: &Path, args: &[&str], name: &str) -> Process {
        let mut words = self.wrapper.clone();
        words.push(self.program.clone());
        words.extend(args.iter().map(OsString::from));
        words.push("-c".into());
        words.push(config.into());
        Process::start(&words[0], &words[1..], &self.root, name)
    }

    /// Runs a command of the agent to its end; its exit code and output.
    pub fn run(&self, args: &[&str]) -> Said {
        self.run_with(&self.config_path(), args)
    }

    /// Runs commands of the agent at the same time, each to its end.
    pub fn run_at_once(&self, commands: &[&[&str]]) -> Vec<Said> {
        let config = self.config_path();
        let start =
            |(n, args): (usize, &&[&str])| self.process(&config, args, &format!("at-once-{n}"));
        let running: Vec<_> = commands.iter().enumerate().map(start).collect();
        let end = |mut process: Process| {
            let status = process.wait_exit(DEADLINE);
            Said {
                code: status.and_then(|s| s.code()).unwrap_or(-1),
                out: process.stdout(),
                err: process.stderr(),
            }
        };
        running.into_iter().map(end).collect()
    }

    /// The same with another configuration file.
    pub fn run_with(&self, config: &Path, args: &[&str]) -> Said {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let mut process = self.process(config, args, &format!("command-{number}"));
        let Some(status) = process.wait_exit(DEADLINE) else {
            panic!("{args:?} does not end\n{}", process.output());
        };
        Said {
            code: status.code().unwrap_or(-1),
            out: process.stdout(),
            err: process.stderr(),
        }
    }

    /// The text of `status -v`.
    pub fn status_v(&self) -> String {
        self.run(&["status", "-v"]).out
    }

    /// `status -v` as JSON.
    pub fn status_json(&self) -> Value {
        let said = self.run(&["status", "-v", "--format", "json"]);
        serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {said:?}"))
    }

    /// The agent's process id.
    pub fn pid(&self) -> i32 {
        self.agent.as_ref().expect("the agent was started").pid()
    }

    /// Sends the agent a signal.
    pub fn signal(&self, signal: Signal) {
        let agent = self.agent.as_ref().expect("the agent was started");
        agent.signal(signal);
    }

    /// Stops the agent with TERM and asserts that it ends well and in time.
    pub fn term(&mut self) {
        self.until_it_listens();
        self.signal(Signal::SIGTERM);
        let status = self.wait_exit(DEADLINE);
        assert!(status.success(), "{status}\n{}", self.report());
    }

    /// Kills the agent with KILL and waits until it is gone.
    pub fn kill9(&mut self) {
        self.signal(Signal::SIGKILL);
        self.wait_exit(DEADLINE);
    }

    /// Waits for the agent's end.
    pub fn wait_exit(&mut self, timeout: Duration) -> ExitStatus {
        let mut agent = self.agent.take().expect("the agent was started");
        match agent.wait_exit(timeout) {
            Some(status) => status,
            None => {
                self.agent = Some(agent);
                panic!(
                    "the agent does not end within {timeout:?}\n{}",
                    self.report()
                );
            }
        }
    }

    /// Appends to a log.
    pub fn append(&self, name: &str, text: impl AsRef<[u8]>) {
        append(&self.log_path(name), text.as_ref());
    }

    /// A writer of numbered lines to a log, from 0.
    pub fn numbers(&self, name: &str) -> Numbers {
        Numbers::new(self.log_path(name))
    }

    /// Waits until the receiver's state fulfils `condition`; fails early if the agent ends.
    #[track_caller]
    pub fn until(&mut self, what: &str, mut condition: impl FnMut(&State) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let slice = Duration::from_millis(250);
            if self.receiver.wait_until(slice, &mut condition) {
                return;
            }
            let ended = self.agent.as_mut().is_some_and(Process::has_ended);
            // Requests that it sent before its end may have come after the last look
            if ended && !self.receiver.with(&mut condition) {
                panic!("the agent ended before this: {what}\n{}", self.report());
            }
            if Instant::now() > deadline {
                panic!("not within {DEADLINE:?}: {what}\n{}", self.report());
            }
        }
    }

    /// Waits for a condition that only looking again can tell: of a file, of the agent's status.
    #[track_caller]
    pub fn until_seen(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !condition() {
            if Instant::now() > deadline {
                panic!("not within {DEADLINE:?}: {what}\n{}", self.report());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The agent's own log.
    pub fn agent_log(&self) -> String {
        let text = fs::read(self.path("log/agent.log")).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Waits until the agent's own log says `text`.
    #[track_caller]
    pub fn until_logged(&self, text: &str) {
        let what = format!("agent.log says {text:?}");
        self.until_seen(&what, || self.agent_log().contains(text));
    }

    /// Waits until `lines` lines of a log are stored.
    #[track_caller]
    pub fn until_lines(&mut self, name: &str, lines: u64) {
        let path = self.log_path(name);
        let path = path.to_str().unwrap().to_owned();
        let what = format!("{lines} lines of {name}");
        self.until(&what, |state| state.event_count(&path) >= lines);
    }

    /// Messages of a log, in the order in which they arrived.
    pub fn lines_of(&self, name: &str) -> Vec<String> {
        self.receiver
            .lines_of(self.log_path(name).to_str().unwrap())
    }

    /// The numbers that arrived from a log; of all logs whose names begin so, if `name` ends in a
    /// `*`.
    pub fn tally(&self, name: &str) -> Tally {
        let path = self.log_path(name);
        let path = path.to_str().unwrap();
        self.receiver.with(|state| tally_of(state, path))
    }

    /// Waits until each number of `range` arrived from a log (or all logs whose names begin so, if
    /// `name` ends in a `*`), and asserts that each came exactly once, whole, and that the receiver
    /// found nothing wrong. Resends that it could tell by sequence id are not counted.
    #[track_caller]
    pub fn expect_exactly_once(&mut self, name: &str, range: Range<u64>) {
        let path = self.log_path(name);
        let path = path.to_str().unwrap().to_owned();
        let wanted = range.end - range.start;
        let deadline = Instant::now() + DEADLINE;
        let complete = |state: &State| {
            // The cheap question first: it is asked for every request
            state.counts().events >= wanted && {
                let tally = tally_of(state, &path);
                tally.seen >= wanted && tally.missing(range.clone()).is_empty()
            }
        };
        // Not `until`: where lines are lost it shall say which
        while !self
            .receiver
            .wait_until(Duration::from_millis(250), complete)
        {
            let ended = self.agent.as_mut().is_some_and(Process::has_ended);
            if ended || Instant::now() > deadline {
                break;
            }
        }
        self.assert_exactly_once(name, range);
    }

    /// Asserts without waiting that each number came exactly once, as
    /// [`Site::expect_exactly_once`] does.
    #[track_caller]
    pub fn assert_exactly_once(&self, name: &str, range: Range<u64>) {
        let tally = self.tally(name);
        if let Err(wrong) = tally.exactly_once(range.clone()) {
            panic!("{name} {range:?}: {wrong}\n{}", self.report());
        }
        assert_eq!(
            tally.unsealed,
            0,
            "{name}: lines were torn\n{}",
            self.report()
        );
        self.assert_well_formed();
    }

    /// Asserts that the numbers of a log came in order.
    #[track_caller]
    pub fn assert_in_order(&self, name: &str) {
        let tally = self.tally(name);
        assert_eq!(
            tally.backwards,
            0,
            "{name} is not in order\n{}",
            self.report()
        );
    }

    /// Asserts that every request could be read and means something.
    #[track_caller]
    pub fn assert_well_formed(&self) {
        let counts = self.receiver.counts();
        if counts.malformed + counts.refused + counts.problems > 0 {
            panic!("requests are not as they should be\n{}", self.report());
        }
    }

    /// Facts that help to understand a failure.
    pub fn report(&self) -> String {
        let mut text = String::new();
        self.receiver.with(|state| {
            let mut counts = state.counts().clone();
            if counts.logs.len() > 10 {
                counts.logs.clear();
            }
            text.push_str(&format!("receiver: {counts:?}\n"));
            for problem in state.problems().take(5) {
                text.push_str(&format!("receiver: {problem}\n"));
            }
        });
        if let Some(agent) = &self.agent {
            text.push_str(&agent.output());
        }
        text.push_str("agent.log, its end:\n");
        text.push_str(&last_lines(&self.agent_log(), 40));
        text
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // Ends with the agent's process
        self.agent = None;
        self.kill_daemon();
        if std::env::var_os("KEEP_SITE").is_some() {
            eprintln!("kept: {}", self.root.display());
        } else {
            let _ = fs::remove_dir_all(&self.root);
        }
    }
}

/// Output and exit code of a command.
#[derive(Debug)]
pub struct Said {
    /// Exit code; -1 for a signal.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

/// The agent's executable.
pub fn program() -> OsString {
    std::env::var_os("SITE_AGENT")
        .unwrap_or_else(|| OsString::from(env!("CARGO_BIN_EXE_scalyr-agent-2")))
}

fn tally_of(state: &State, path: &str) -> Tally {
    match path.strip_suffix('*') {
        Some(begin) => state.ledger().together(|path| path.starts_with(begin)),
        None => state.ledger().path(path).cloned().unwrap_or_default(),
    }
}

/// Appends to a file, creating it if need be.
pub fn append(path: &Path, text: &[u8]) {
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.unwrap().write_all(text).unwrap();
}

pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(count);
    lines[from..]
        .iter()
        .map(|line| format!("  {line}\n"))
        .collect()
}
