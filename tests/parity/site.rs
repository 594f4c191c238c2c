//! One run of a case: a folder with a configuration and logs, a receiver, and an agent in between.

use crate::case::{Agent, Case, Step};
use crate::transcript::{counts, numbered_line, transcript};
use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;
use receiver::{Options, Receiver};
use std::ffi::OsString;
use std::fs::{self, File, FileTimes, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{symlink, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// How long anything may take that must happen.
const DEADLINE: Duration = Duration::from_secs(40);
/// How long to watch for events that must not come.
const SURPLUS: Duration = Duration::from_millis(1000);
/// Silence after which everything has come, where it is not known how much will.
const QUIET: Duration = Duration::from_secs(5);

/// Options that a case has unless it sets them. They make both agents quick, and leave out what the
/// package's files are missing for.
const BASE: &[(&str, &str)] = &[
    ("api_key", "\"parity-key\""),
    ("scalyr_server", "\"@SERVER@\""),
    ("allow_http", "true"),
    ("agent_data_path", "\"@ROOT@/data\""),
    ("agent_log_path", "\"@ROOT@/log\""),
    ("server_attributes", "{ serverHost: \"parity\" }"),
    ("implicit_metric_monitor", "false"),
    ("implicit_agent_process_metrics_monitor", "false"),
    ("implicit_agent_log_collection", "false"),
    ("disable_max_send_rate_enforcement_overrides", "true"),
    ("min_request_spacing_interval", "0.1"),
    ("max_request_spacing_interval", "0.3"),
    ("max_new_log_detection_time", "0.3"),
    ("line_completion_wait_time", "1.0"),
    ("config_change_check_interval", "0.3"),
];

/// Options that only our agent knows.
const BASE_OURS: &[(&str, &str)] = &[
    ("keep_alive_interval", "1.0"),
    ("min_poll_interval", "0.02"),
    ("max_poll_interval", "0.1"),
];

/// The result of a run.
pub struct Outcome {
    pub transcript: String,
    /// Trouble that the transcript does not show.
    pub problems: Vec<String>,
    /// For the report of a failure.
    pub agent_log: String,
}

/// How to start the Python agent; see [`crate::python`].
pub type Python = PathBuf;

/// A run.
pub struct Site<'a> {
    case: &'a Case,
    root: PathBuf,
    receiver: Receiver,
    python: Option<&'a Python>,
    subject: Agent,
    running: Option<Child>,
    /// Requests seen when the agent was last started.
    requests_before: u64,
    /// Starts of our agent that its log must tell of.
    starts: usize,
    launches: usize,
    problems: Vec<String>,
}

/// Runs a case to its end. `record`: what will be delivered is not known.
pub fn run(case: &Case, subject: Agent, python: Option<&Python>, record: bool) -> Outcome {
    let mut site = Site::new(case, subject, python);
    for step in &case.steps {
        if step.only.is_some_and(|only| only != site.subject) {
            continue;
        }
        if let Err(error) = site.step(step) {
            let line = format!(
                "line {}, {} {:?}: {error}",
                step.line, step.verb, step.words
            );
            site.problems.push(line);
        }
    }
    let expected = case.expected(subject).filter(|_| !record);
    site.finish(expected)
}

impl<'a> Site<'a> {
    fn new(case: &'a Case, subject: Agent, python: Option<&'a Python>) -> Site<'a> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let mut root = std::env::temp_dir();
        root.push(format!("parity-{}", std::process::id()));
        root.push(format!("{}.{}.{number}", case.name, subject.name()));
        let _ = fs::remove_dir_all(&root);
        for dir in ["conf/agent.d", "data", "log", "logs"] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        Site {
            case,
            root,
            receiver: Receiver::start(Options::default()).unwrap(),
            python,
            subject,
            running: None,
            requests_before: 0,
            starts: 0,
            launches: 0,
            problems: Vec::new(),
        }
    }

    fn filled(&self, text: &str) -> String {
        let root = self.root.to_str().unwrap();
        // Components of the root, so that a case can name those below it
        let depth = self.root.components().count() - 1;
        let text = (1..4).fold(text.to_owned(), |text, n| {
            text.replace(&format!("@PATH{n}@"), &format!("PATH{}", depth + n))
        });
        text.replace("@LOGS@", "@ROOT@/logs")
            .replace("@ROOT@", root)
            .replace("@SERVER@", &self.receiver.url())
    }

    fn write_config(&self) -> std::io::Result<()> {
        let own = |name: &str| {
            let mut lines = self.case.config.lines().map(str::trim_start);
            lines.any(|line| {
                let line = line.trim_start_matches('"');
                let rest = line.strip_prefix(name).unwrap_or("");
                rest.trim_start_matches('"').trim_start().starts_with(':')
            })
        };
        let unset = |name: &str| {
            let mut lines = self.case.config.lines();
            lines.any(|line| line.trim() == format!("// unset {name}"))
        };
        let ours = match self.subject {
            Agent::Ours => BASE_OURS,
            Agent::Python => &[],
        };
        let mut text = String::from("{\n");
        for (name, value) in BASE.iter().chain(ours) {
            if !own(name) && !unset(name) {
                text.push_str(&format!("  {name}: {value},\n"));
            }
        }
        text.push_str(&self.case.config);
        text.push_str("}\n");
        write_secret(&self.root.join("conf/agent.json"), &self.filled(&text))?;
        for (name, text) in &self.case.fragments {
            self.write_fragment(name, text)?;
        }
        Ok(())
    }

    fn write_fragment(&self, name: &str, text: &str) -> std::io::Result<()> {
        let path = self.root.join("conf/agent.d").join(name);
        write_secret(&path, &self.filled(text))
    }

    fn launch(&mut self, agent: Option<Agent>) -> std::io::Result<()> {
        assert!(self.running.is_none(), "the agent runs already");
        self.subject = agent.unwrap_or(self.subject);
        if self.launches == 0 || agent.is_some() {
            self.write_config()?;
        }
        self.launches += 1;
        self.requests_before = self.receiver.counts().requests;
        let (program, module): (OsString, &[&str]) = match self.subject {
            Agent::Ours => (env!("CARGO_BIN_EXE_scalyr-agent-2").into(), &[]),
            Agent::Python => {
                self.starts = 0;
                let python = self.python.expect("only started where there is one");
                (python.into(), &["-m", "scalyr_agent.agent_main"])
            }
        };
        if self.subject == Agent::Ours {
            self.starts = self.copying_started() + 1;
        }
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().to_uppercase().starts_with("SCALYR") {
                command.env_remove(name);
            }
        }
        for (name, value) in &self.case.env {
            command.env(name, self.filled(value));
        }
        let output = |kind: &str| File::create(self.root.join(format!("{}.{kind}", self.launches)));
        let child = command
            .args(module)
            .args(["start", "--no-fork", "--no-change-user"])
            .args(["--no-check-remote-server", "-c"])
            .arg(self.root.join("conf/agent.json"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("RUST_BACKTRACE", "1")
            .current_dir(&self.root)
            .stdin(Stdio::null())
            .stdout(output("out")?)
            .stderr(output("err")?)
            .spawn()?;
        self.running = Some(child);
        Ok(())
    }

    fn copying_started(&self) -> usize {
        self.agent_log().matches(" Copying started. ").count()
    }

    /// Waits until the agent has looked at its files after it was started.
    fn wait_started(&mut self) -> Result<(), String> {
        match self.subject {
            // It begins to look at files in its second turn, and each turn is a request
            Agent::Python => self.wait_requests(self.requests_before + 3),
            Agent::Ours => {
                let starts = self.starts;
                self.until("the agent to begin", |site| {
                    site.copying_started() >= starts
                })?;
                std::thread::sleep(Duration::from_millis(200));
                Ok(())
            }
        }
    }

    fn wait_requests(&mut self, count: u64) -> Result<(), String> {
        self.until("requests", |site| site.receiver.counts().requests >= count)
    }

    fn until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) -> Result<(), String> {
        let deadline = Instant::now() + DEADLINE;
        while !done(self) {
            let ended = self.running.as_mut().map(|child| child.try_wait());
            if let Some(Ok(Some(status))) = ended {
                return Err(format!("waiting for {what}: the agent ended: {status}"));
            }
            if Instant::now() > deadline {
                return Err(format!("waited {DEADLINE:?} for {what}"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<(), String> {
        let child = self.running.as_ref().ok_or("the agent does not run")?;
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        kill(pid, signal).map_err(text_of)
    }

    fn end(&mut self, signal: Signal) -> Result<(), String> {
        self.signal(signal)?;
        let mut child = self.running.take().ok_or("the agent does not run")?;
        let deadline = Instant::now() + DEADLINE;
        loop {
            match child.try_wait().map_err(|error| error.to_string())? {
                Some(status) if signal == Signal::SIGTERM && !status.success() => {
                    return Err(format!("the agent ended with {status}"));
                }
                Some(_) => return Ok(()),
                None if Instant::now() > deadline => {
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(format!("the agent does not end within {DEADLINE:?}"));
                }
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        let name = self.filled(name);
        self.root.join("logs").join(name)
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        let mut words = step.words.iter().map(String::as_str);
        let mut word = || words.next().ok_or("a word is missing");
        match step.verb.as_str() {
            "start" => {
                self.launch(step.named_agent()).map_err(text_of)?;
                self.wait_started()
            }
            "launch" => self.launch(step.named_agent()).map_err(text_of),
            "stop" => self.end(Signal::SIGTERM),
            "freeze" => self.signal(Signal::SIGSTOP),
            "thaw" => self.signal(Signal::SIGCONT),
            "down" => {
                self.receiver.down();
                Ok(())
            }
            "up" => self.receiver.up().map_err(text_of),
            "kill" => self.end(Signal::SIGKILL),
            "restart" => {
                self.end(Signal::SIGTERM)?;
                self.launch(None).map_err(text_of)?;
                self.wait_started()
            }
            "wait" => {
                let path = self.path(word()?).to_str().unwrap().to_owned();
                let count = word()?.parse::<u64>().map_err(text_of)?;
                let waited = self.until("events", |site| {
                    site.receiver.with(|state| state.event_count(&path)) >= count
                });
                let came = self.receiver.with(|state| state.event_count(&path));
                waited.map_err(|error| format!("{error}, {came} came"))
            }
            "wait-requests" => {
                let count: u64 = word()?.parse().map_err(text_of)?;
                self.wait_requests(self.requests_before + count)
            }
            "wait-log" => {
                let text = self.filled(&step.words.join(" "));
                self.until(&text, |site| site.agent_log().contains(&text))
            }
            "look" => {
                let requests = self.receiver.counts().requests;
                match self.subject {
                    Agent::Python => self.wait_requests(requests + 3),
                    Agent::Ours => {
                        std::thread::sleep(Duration::from_millis(500));
                        Ok(())
                    }
                }
            }
            "pause" => {
                let seconds = word()?.parse().map_err(text_of)?;
                std::thread::sleep(Duration::from_secs_f64(seconds));
                Ok(())
            }
            "fragment" => {
                let text = String::from_utf8_lossy(step.text.as_deref().unwrap_or_default());
                self.write_fragment(word()?, &text).map_err(text_of)
            }
            _ => self.file_step(step),
        }
    }

    /// A step that changes files of the folder of logs.
    fn file_step(&self, step: &Step) -> Result<(), String> {
        let mut words = step.words.iter();
        let mut word = || words.next().ok_or("a word is missing");
        let text = step.text.as_deref().unwrap_or_default();
        let text = match std::str::from_utf8(text) {
            Ok(text) => self.filled(text).into_bytes(),
            Err(_) => text.to_vec(),
        };
        let name = word()?;
        let path = self.path(name);
        let done = match step.verb.as_str() {
            "append" => append(&path, &text),
            "write" => fs::write(&path, &text),
            "numbers" => {
                let range = word()?.split_once("..").ok_or("not a range")?;
                let from: u64 = range.0.parse().map_err(text_of)?;
                let to: u64 = range.1.parse().map_err(text_of)?;
                let lines: String = (from..to).map(numbered_line).collect();
                append(&path, lines.as_bytes())
            }
            "rename" => fs::rename(&path, self.path(word()?)),
            "copy" => fs::copy(&path, self.path(word()?)).map(drop),
            "copytruncate" => {
                let copied = fs::copy(&path, self.path(word()?));
                copied.and_then(|_| truncate(&path, 0))
            }
            "truncate" => {
                let size = step.words.get(1).map_or(Ok(0), |size| size.parse());
                truncate(&path, size.map_err(text_of)?)
            }
            "delete" => fs::remove_file(&path),
            "mkdir" => fs::create_dir_all(&path),
            // The second word is the link; a link of this name is replaced at once
            "symlink" => {
                let link = self.path(word()?);
                let new = self.root.join("link");
                symlink(&path, &new).and_then(|()| fs::rename(&new, &link))
            }
            "gzip" => fs::read(&path).and_then(|bytes| {
                let to = format!("{}.gz", path.to_str().unwrap());
                fs::write(to, gzip(&bytes))?;
                // Not deleted: its inode number stays taken, whatever the file system does
                fs::rename(&path, self.root.join(format!("{name}.plain")))
            }),
            // The second word is the age in seconds
            "age" => {
                let age = Duration::from_secs_f64(word()?.parse().map_err(text_of)?);
                let time = SystemTime::now() - age;
                let file = OpenOptions::new().append(true).open(&path);
                file.and_then(|file| file.set_times(FileTimes::new().set_modified(time)))
            }
            other => return Err(format!("no such step: {other}")),
        };
        done.map_err(text_of)
    }

    fn agent_log(&self) -> String {
        let text = fs::read(self.root.join("log/agent.log")).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    }

    fn events(&self) -> u64 {
        self.receiver.counts().events
    }

    /// Waits for all that is to come, ends the agent, and tells what came.
    fn finish(mut self, expected: Option<&str>) -> Outcome {
        match expected {
            Some(expected) => {
                let wanted = counts(expected).values().sum();
                let deadline = Instant::now() + DEADLINE;
                while self.events() < wanted && Instant::now() < deadline {
                    std::thread::sleep(Duration::from_millis(20));
                }
                std::thread::sleep(SURPLUS);
            }
            None => {
                let mut before = None;
                while before != Some(self.events()) {
                    before = Some(self.events());
                    std::thread::sleep(QUIET);
                }
            }
        }
        if self.running.is_some() {
            let signal = match self.subject {
                Agent::Ours => Signal::SIGTERM,
                Agent::Python => Signal::SIGKILL,
            };
            if let Err(error) = self.end(signal) {
                self.problems.push(format!("at the end: {error}"));
            }
        }
        let root = self.root.to_str().unwrap().to_owned();
        let places = [(format!("{root}/logs"), "@LOGS@"), (root, "@ROOT@")];
        let mut text = transcript(
            &self.receiver.requests(),
            &self.receiver.events(),
            &self.case.compare,
            &places,
        );
        let counts = self.receiver.counts();
        if counts.malformed + counts.refused > 0 {
            text.push_str("some requests could not be read\n");
        }
        // Only an agent that was killed or lost its connection may not know what it has delivered
        let excused = |step: &Step| ["kill", "down"].contains(&step.verb.as_str());
        if counts.duplicates > 0 && !self.case.steps.iter().any(excused) {
            text.push_str("some events came again, with the sequence numbers they had\n");
        }
        let problems = self.receiver.with(|state| {
            let problems = state.problems().take(5);
            problems.map(str::to_owned).collect::<Vec<_>>()
        });
        if self.subject == Agent::Ours {
            self.problems.extend(problems);
        }
        Outcome {
            transcript: text,
            problems: std::mem::take(&mut self.problems),
            agent_log: self.agent_log() + &self.last_error_output(),
        }
    }

    fn last_error_output(&self) -> String {
        let name = format!("{}.err", self.launches);
        fs::read_to_string(self.root.join(name)).unwrap_or_default()
    }
}

impl Drop for Site<'_> {
    fn drop(&mut self) {
        if let Some(mut child) = self.running.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::env::var_os("PARITY_KEEP").is_none() {
            let _ = fs::remove_dir_all(&self.root);
            // The last one takes the common folder along
            let _ = fs::remove_dir(self.root.parent().unwrap());
        }
    }
}

fn text_of(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn write_secret(path: &Path, text: &str) -> std::io::Result<()> {
    fs::write(path, text)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))
}

fn append(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let file = OpenOptions::new().create(true).append(true).open(path);
    file?.write_all(text)
}

fn truncate(path: &Path, size: u64) -> std::io::Result<()> {
    OpenOptions::new().write(true).open(path)?.set_len(size)
}

/// A gzip member whose content is stored, not compressed: readers can't tell.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = b"\x1f\x8b\x08\0\0\0\0\0\0\x03".to_vec();
    let mut chunks = bytes.chunks(0xffff).peekable();
    if chunks.peek().is_none() {
        out.extend_from_slice(b"\x01\0\0\xff\xff");
    }
    while let Some(chunk) = chunks.next() {
        let length = chunk.len() as u16;
        out.push(u8::from(chunks.peek().is_none()));
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&(!length).to_le_bytes());
        out.extend_from_slice(chunk);
    }
    let mut crc = !0u32;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & 0u32.wrapping_sub(crc & 1));
        }
    }
    out.extend_from_slice(&(!crc).to_le_bytes());
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out
}
