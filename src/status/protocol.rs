//! How `status -v` asks the running agent and how that answers: three files in the data directory
//! and a USR1. The Python agent's programs use the same, in both roles. Where the files can't be
//! written the answer goes another way, see [`direct`].

use super::direct::{self, Ear};
use super::{json, text, Report};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::{access, AccessFlags};
use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// The answer.
const ANSWER: &str = "last_status";
/// The answer while it is being written.
const UNFINISHED: &str = "last_status.tmp";
/// The request: the name of a format.
const REQUEST: &str = "status_format";

/// How often the client looks for the answer.
const POLL: Duration = Duration::from_millis(30);

/// How long an agent is waited for that has to answer without the files.
const WITHOUT_FILES: Duration = Duration::from_secs(10);

/// The client may be root in a directory that belongs to the agent's user: it must neither follow
/// a link from there nor wait for the other end of a FIFO.
const NO_TRAPS: i32 = libc::O_NOFOLLOW | libc::O_NONBLOCK;

/// The form of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// As the Python agent writes it, with more.
    #[default]
    Text,
    /// The same in short, for people. An agent that does not know it answers with all of it.
    Short,
    /// For programs.
    Json,
}

impl Format {
    /// The format of this name.
    pub fn from_name(name: &str) -> Option<Format> {
        match name {
            "text" => Some(Format::Text),
            "short" => Some(Format::Short),
            "json" => Some(Format::Json),
            _ => None,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Format::Text => "text",
            Format::Short => "short",
            Format::Json => "json",
        }
    }

    /// Whether a report is of this format.
    fn is_of(self, report: &str) -> bool {
        report.trim_start().starts_with('{') == (self == Format::Json)
    }
}

/// The agent's side: writes reports and remembers how long that took.
#[derive(Debug)]
pub struct Responder {
    data_dir: PathBuf,
    /// Descriptors that are given up for the time of an answer. An agent that has none left has to say so.
    reserve: Vec<File>,
    durations: VecDeque<Duration>,
}

impl Responder {
    /// How many durations the average is made of.
    const REMEMBERED: usize = 100;

    /// Answers in the files of this data directory.
    pub fn new(data_dir: &Path) -> Self {
        Responder {
            data_dir: data_dir.to_owned(),
            reserve: reserve(),
            durations: VecDeque::new(),
        }
    }

    /// Mean seconds of the last reports, for `Report::avg_status_report_duration`; `None` before
    /// the first.
    pub fn average(&self) -> Option<f64> {
        let count = u32::try_from(self.durations.len())
            .ok()
            .filter(|n| *n > 0)?;
        let sum: Duration = self.durations.iter().sum();
        Some((sum.as_secs_f64() / f64::from(count) * 1e4).round() / 1e4)
    }

    /// Writes the report that `collect` makes in the requested format. To be called on USR1; can
    /// never end the agent: errors are one line in its log.
    pub fn answer(&mut self, collect: impl FnOnce() -> Report) {
        let began = Instant::now();
        let mut report = collect();
        self.reserve.clear();
        report.avg_status_report_duration = self.average();
        let requested = self.requested();
        let published = self.publish(&rendered(&report, requested.unwrap_or_default()));
        self.reserve = reserve();
        // A client that could not write its request has left none, or an empty one
        let failed = published.err();
        let is_published = failed.is_none();
        if requested.is_none() || !is_published {
            let answer = self.data_dir.join(ANSWER);
            let render =
                move |name: &str| rendered(&report, Format::from_name(name).unwrap_or_default());
            direct::answer(render, move |told| {
                let error = match told {
                    Ok(true) => return,
                    Ok(false) => failed,
                    Err(error) => Some(error),
                };
                if let Some(error) = error {
                    log::warn!(
                        "[error=\"failedStatus\"] Can't write the status report to {}: {error}",
                        answer.display()
                    );
                }
            });
        }
        if !is_published {
            return;
        }
        if self.durations.len() == Self::REMEMBERED {
            self.durations.pop_front();
        }
        self.durations.push_back(began.elapsed());
    }

    /// The format that a client has asked for; none if that can't be known.
    fn requested(&self) -> Option<Format> {
        let mut name = String::new();
        // The client's file: a few bytes; whatever it is, not more is read.
        let read = open_plain(&self.data_dir.join(REQUEST))
            .and_then(|file| file.take(16).read_to_string(&mut name));
        read.ok().and_then(|_| Format::from_name(name.trim()))
    }

    fn publish(&self, content: &str) -> io::Result<()> {
        let unfinished = self.data_dir.join(UNFINISHED);
        // Never write through what somebody may have put there, such as a link.
        match fs::remove_file(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(crate::util::files::MODE)
            .open(&unfinished)?;
        if let Err(error) = file.write_all(content.as_bytes()) {
            // On a full disk it would keep the last of the room
            let _ = fs::remove_file(&unfinished);
            return Err(error);
        }
        drop(file);
        fs::rename(&unfinished, self.data_dir.join(ANSWER))
    }
}

/// One for each file that is open at a time, and one that another thread may take in between.
fn reserve() -> Vec<File> {
    let all = std::iter::repeat_with(|| File::open("/dev/null"));
    all.take(2).flatten().collect()
}

fn rendered(report: &Report, format: Format) -> String {
    match format {
        Format::Text => text::render(report),
        Format::Short => text::render_short(report),
        Format::Json => json::render(report),
    }
}

fn read_answer(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    open_plain(path)?.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Opens a regular file; a link or a FIFO in its place is an error.
fn open_plain(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(NO_TRAPS)
        .open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::from(io::ErrorKind::InvalidInput))
    }
}

/// Why a client has no report.
#[derive(Debug)]
pub enum NoReport {
    /// The data directory is none.
    NoDataDir,
    /// This file exists and we may not write it.
    NotWritable(PathBuf),
    /// This file can't be read or written.
    Io(PathBuf, io::Error),
    /// The agent has ended.
    NotRunning,
    /// We may not send a signal to the agent.
    NotPermitted,
    /// No answer in time.
    TimedOut,
}

/// Asks the agent with this pid for a report; waits at most `patience`. `wake` sends USR1 to it, and has
/// seen to it that it is the agent; it may be called again and again.
///
/// # Errors
/// See [`NoReport`].
pub fn request(
    pid: i32,
    data_dir: &Path,
    wake: &dyn Fn() -> Result<(), Errno>,
    format: Format,
    patience: Duration,
) -> Result<String, NoReport> {
    let called = SystemTime::now();
    let began = Instant::now();
    let deadline = began + patience;
    if !data_dir.is_dir() {
        return Err(NoReport::NoDataDir);
    }
    // One after the other: all clients share the same files, and the next one would cut off or
    // replace the answer to the one before. Clients of the Python agent don't know this lock;
    // against them the checks below help. Half of the time is kept for the question itself: the
    // one whose turn it is may be stopped.
    let answer = data_dir.join(ANSWER);
    let others = || answer_to_another(data_dir, &answer, format, called);
    let _turn = match wait_for_turn(data_dir, began + patience / 2, others) {
        Turn::Answered(report) => return Ok(report),
        Turn::Ours(lock) => Some(lock),
        Turn::Unknown => None,
    };
    let ear = Ear::of(pid);
    let mut wrong_format = None;
    loop {
        if let Err(unwritten) = write_question(data_dir, &answer, format) {
            // The files hold the answer to another question
            return match ear.filter(|_| matches!(unwritten, NoReport::Io(..))) {
                Some(ear) => hear(&ear, wake, format, deadline)?.ok_or(unwritten),
                None => Err(unwritten),
            };
        }
        rouse(wake)?;
        match await_answer(&answer, ear.as_ref(), format, deadline)? {
            Answer::Good(report) => return Ok(report),
            // A request of another client has won. Ours is made again, if there is time.
            Answer::OtherFormat(report) => wrong_format = Some(report),
            Answer::None => return wrong_format.ok_or(NoReport::TimedOut),
        }
        std::thread::sleep(POLL);
    }
}

enum Answer {
    Good(String),
    OtherFormat(String),
    None,
}

enum Turn {
    Ours(Flock<File>),
    /// Somebody hangs, or there are no locks here: go on without.
    Unknown,
    /// No longer needed: somebody else was told the same.
    Answered(String),
}

fn wait_for_turn(data_dir: &Path, deadline: Instant, answer: impl Fn() -> Option<String>) -> Turn {
    let Ok(mut dir) = File::open(data_dir) else {
        return Turn::Unknown;
    };
    loop {
        if let Some(report) = answer() {
            return Turn::Answered(report);
        }
        match Flock::lock(dir, FlockArg::LockExclusiveNonblock) {
            Ok(locked) => return Turn::Ours(locked),
            Err((again, Errno::EWOULDBLOCK)) if Instant::now() < deadline => dir = again,
            Err(_) => return Turn::Unknown,
        }
        std::thread::sleep(POLL);
    }
}

/// The answer to somebody who asked the same after `called`: as good as one of our own. So many
/// who ask at once take no longer than two or three.
fn answer_to_another(
    data_dir: &Path,
    answer: &Path,
    format: Format,
    called: SystemTime,
) -> Option<String> {
    let request = open_plain(&data_dir.join(REQUEST)).ok()?;
    if request.metadata().ok()?.modified().ok()? <= called {
        return None;
    }
    let mut name = String::new();
    request.take(16).read_to_string(&mut name).ok()?;
    if name != format.name() {
        return None;
    }
    let mut file = open_plain(answer).ok()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).ok()?;
    // The next one to ask cuts it off, also while it is being read here.
    if bytes.is_empty() || file.metadata().ok()?.len() != bytes.len() as u64 {
        return None;
    }
    let report = String::from_utf8_lossy(&bytes).into_owned();
    format.is_of(&report).then_some(report)
}

/// Asks where the files can't be written; `None` if the agent does not answer that way.
fn hear(
    ear: &Ear,
    wake: &dyn Fn() -> Result<(), Errno>,
    format: Format,
    deadline: Instant,
) -> Result<Option<String>, NoReport> {
    let until = deadline.min(Instant::now() + WITHOUT_FILES);
    rouse(wake)?;
    while Instant::now() < until {
        if let Some(report) = ear.hear(format.name(), until) {
            return Ok(Some(report));
        }
        std::thread::sleep(POLL);
    }
    Ok(None)
}

fn rouse(wake: &dyn Fn() -> Result<(), Errno>) -> Result<(), NoReport> {
    match wake() {
        Ok(()) => Ok(()),
        Err(Errno::EPERM) => Err(NoReport::NotPermitted),
        Err(_) => Err(NoReport::NotRunning),
    }
}

/// Cuts the last answer off, and writes the question.
fn write_question(data_dir: &Path, answer: &Path, format: Format) -> Result<(), NoReport> {
    match OpenOptions::new()
        .write(true)
        .truncate(true)
        .custom_flags(NO_TRAPS)
        .open(answer)
    {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(_) if access(answer, AccessFlags::W_OK).is_err() => {
            return Err(NoReport::NotWritable(answer.to_owned()))
        }
        Err(error) => return Err(NoReport::Io(answer.to_owned(), error)),
    }
    let request = data_dir.join(REQUEST);
    write_request(&request, format).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => NoReport::NotWritable(request),
        _ => NoReport::Io(request, error),
    })
}

fn write_request(path: &Path, format: Format) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .custom_flags(NO_TRAPS)
        .mode(0o644)
        .open(path)?;
    // Whatever our umask: the agent may be another user. Fails if the file is another user's; then
    // that one's mode has to do.
    let _ = file.set_permissions(Permissions::from_mode(0o644));
    file.write_all(format.name().as_bytes())
}

fn await_answer(
    answer: &Path,
    ear: Option<&Ear>,
    format: Format,
    deadline: Instant,
) -> Result<Answer, NoReport> {
    // An agent with few files answers in a millisecond
    let mut nap = Duration::from_millis(1);
    loop {
        match read_answer(answer) {
            Ok(report) if !report.is_empty() => {
                return Ok(if format.is_of(&report) {
                    Answer::Good(report)
                } else {
                    Answer::OtherFormat(report)
                });
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(NoReport::Io(answer.to_owned(), error));
            }
            _ => {}
        }
        // It could not write its answer
        if let Some(report) = ear.and_then(|ear| ear.hear(format.name(), deadline)) {
            return Ok(Answer::Good(report));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(Answer::None);
        }
        std::thread::sleep(nap.min(left));
        nap = (nap * 2).min(POLL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);
    impl Folder {
        fn new() -> Self {
            let path =
                std::env::temp_dir().join(format!("status-{}", crate::util::random::uuid4()));
            fs::create_dir(&path).unwrap();
            Folder(path)
        }
    }
    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn read(folder: &Folder) -> String {
        fs::read_to_string(folder.0.join(ANSWER)).unwrap()
    }

    #[test]
    fn the_answer_has_the_requested_format_and_text_for_nonsense() {
        let folder = Folder::new();
        let mut responder = Responder::new(&folder.0);
        for (request, json) in [
            (None, false),
            (Some("json"), true),
            (Some("text"), false),
            (Some("json\n"), true),
            (Some("yaml"), false),
            (Some(""), false),
        ] {
            if let Some(request) = request {
                fs::write(folder.0.join(REQUEST), request).unwrap();
            }
            responder.answer(Report::default);
            assert_eq!(read(&folder).starts_with('{'), json, "{request:?}");
            assert!(!folder.0.join(UNFINISHED).exists());
        }
        let mode = fs::metadata(folder.0.join(ANSWER)).unwrap().permissions();
        // Others may read it if the umask lets them, and never write
        assert_eq!(mode.mode() & 0o733, 0o600);
    }

    #[test]
    fn the_average_time_appears_with_the_second_report() {
        let folder = Folder::new();
        let mut responder = Responder::new(&folder.0);
        responder.answer(Report::default);
        assert!(!read(&folder).contains("Average status time:"));
        for _ in 0..200 {
            responder.answer(Report::default);
        }
        assert!(read(&folder).contains("\nAverage status time:     0."));
        assert_eq!(responder.durations.len(), Responder::REMEMBERED);
    }

    #[test]
    fn a_trap_in_the_data_directory_is_not_written_through_and_blocks_nobody() {
        let folder = Folder::new();
        let victim = folder.0.join("victim");
        fs::write(&victim, "untouched").unwrap();
        std::os::unix::fs::symlink(&victim, folder.0.join(UNFINISHED)).unwrap();
        nix::unistd::mkfifo(&folder.0.join(REQUEST), nix::sys::stat::Mode::S_IRWXU).unwrap();
        Responder::new(&folder.0).answer(Report::default);
        assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
        assert!(read(&folder).starts_with("Scalyr Agent status."));
    }

    #[test]
    fn a_full_or_missing_data_directory_does_not_end_the_agent() {
        Responder::new(Path::new("/no/such/folder")).answer(Report::default);
    }

    #[test]
    fn a_client_says_why_it_has_no_report() {
        let folder = Folder::new();
        let missing = folder.0.join("missing");
        let soon = Duration::from_millis(50);
        let told = |dir: &Path, answer: Result<(), Errno>| {
            request(0, dir, &|| answer, Format::Json, soon).unwrap_err()
        };
        assert!(matches!(told(&missing, Ok(())), NoReport::NoDataDir));
        let gone = told(&folder.0, Err(Errno::ESRCH));
        assert!(matches!(gone, NoReport::NotRunning));
        let others = told(&folder.0, Err(Errno::EPERM));
        assert!(matches!(others, NoReport::NotPermitted));
        assert!(matches!(told(&folder.0, Ok(())), NoReport::TimedOut));
        assert_eq!(fs::read_to_string(folder.0.join(REQUEST)).unwrap(), "json");
    }

    #[test]
    fn a_client_that_is_stopped_does_not_take_the_answer_from_all_others() {
        let folder = Folder::new();
        let stopped = Flock::lock(File::open(&folder.0).unwrap(), FlockArg::LockExclusive).unwrap();
        let path = folder.0.clone();
        let answers = std::thread::spawn(move || {
            while !path.join(REQUEST).exists() {
                std::thread::sleep(Duration::from_millis(1));
            }
            Responder::new(&path).answer(Report::default);
        });
        let patience = Duration::from_secs(4);
        let report = request(0, &folder.0, &|| Ok(()), Format::Json, patience).unwrap();
        assert!(report.starts_with('{'));
        drop(stopped);
        answers.join().unwrap();
    }

    #[test]
    fn who_waited_takes_the_answer_to_the_same_question_and_no_older_one() {
        let folder = Folder::new();
        let answer = folder.0.join(ANSWER);
        let ask = |called| answer_to_another(&folder.0, &answer, Format::Json, called);
        let long_ago = SystemTime::UNIX_EPOCH;
        assert_eq!(ask(long_ago), None, "nobody has asked");
        fs::write(folder.0.join(REQUEST), "json").unwrap();
        assert_eq!(ask(long_ago), None, "no answer yet");
        fs::write(&answer, "").unwrap();
        assert_eq!(ask(long_ago), None, "nor now");
        fs::write(&answer, "Scalyr Agent status.").unwrap();
        assert_eq!(ask(long_ago), None, "another form");
        fs::write(&answer, "{}").unwrap();
        assert_eq!(ask(long_ago).as_deref(), Some("{}"));
        assert_eq!(ask(SystemTime::now() + Duration::from_secs(1)), None);
    }

    #[test]
    fn a_client_writes_through_no_link() {
        for name in [ANSWER, REQUEST] {
            let folder = Folder::new();
            let victim = folder.0.join("victim");
            fs::write(&victim, "untouched").unwrap();
            std::os::unix::fs::symlink(&victim, folder.0.join(name)).unwrap();
            assert!(matches!(
                request(0, &folder.0, &|| Ok(()), Format::Text, Duration::ZERO),
                Err(NoReport::Io(..))
            ));
            assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
        }
    }
}
