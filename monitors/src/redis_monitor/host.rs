//! One server: its connection, and what was seen of it.

use super::info::{self, Replication};
use super::resp::{self, Replies, Reply};
use super::slowlog::{Entry, New, Seen, Since};
use super::{moment, Shared};
use crate::options::Options;
use crate::service::{Address, Deadline, Link, Secret, Security, Wanted};
use crate::{Emitter, Error};
use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write as _};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Bytes of all answers of one sample. 5000 entries of the slow log have at most 21 MB.
const MOST_BYTES: usize = 32 << 20;
/// The name that this client gives itself, by which its own commands are known in the slow log.
const NAME: &[u8] = b"scalyr-agent-2";
const HOUR: Duration = Duration::from_secs(3600);
/// A server that does not answer in time is left alone for at most this many samples, so that the
/// others of the same monitor are not late.
const LONGEST_PAUSE: u32 = 10;
/// Bytes of a command that a warning shows.
const SHOWN: usize = 200;

/// A server and what was seen of it.
pub struct Host {
    address: Address,
    /// `host:port`, or the path of the socket.
    shown: String,
    username: String,
    password: Secret,
    security: Security,
    link: Option<Link>,
    /// `tls` is "prefer" and the server has none.
    is_plain: bool,
    seen: Seen,
    /// The `run_id` of the process that answered the last time, and when that was.
    run: Option<(String, Instant)>,
    replication: Replication,
    trouble: Trouble,
}

/// The samples in a row that failed.
#[derive(Default)]
struct Trouble {
    samples: u32,
    why: String,
    /// How many there were when it was told the last time, and when that was.
    told: Option<(u32, Instant)>,
    /// Samples that are still to be left out.
    pause: u32,
}

/// Why there is no sample.
struct Failure {
    text: String,
    /// The connection may have been closed while it was idle.
    lost: bool,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind as K;
        let lost = matches!(
            error.kind(),
            K::UnexpectedEof | K::ConnectionReset | K::ConnectionAborted | K::BrokenPipe
        );
        Failure {
            text: match error.kind() {
                K::TimedOut => "it does not answer within connection_timeout".to_owned(),
                _ if lost => {
                    "it closed the connection: is it starting or ending, or does it want \"tls\"?"
                        .to_owned()
                }
                _ => error.to_string(),
            },
            lost,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure {
            text: error.to_string(),
            lost: false,
        }
    }
}

/// An error of the server's in its own words, cut, with advice where there is some.
fn refused(text: &str) -> Failure {
    let advice = match text.split(' ').next().unwrap_or_default() {
        "NOAUTH" => ". Set \"password\", and \"username\" for an ACL user",
        "WRONGPASS" => ". Correct \"username\" and \"password\"",
        "DENIED" => ". Give the server a password, or ask it at 127.0.0.1",
        "NOPERM" => ". Grant it: ACL SETUSER <user> +info +slowlog|get +client|setname",
        _ => "",
    };
    let text: String = text
        .chars()
        .take(SHOWN)
        .flat_map(char::escape_debug)
        .collect();
    Failure {
        text: format!("it says \"{text}\"{advice}"),
        lost: false,
    }
}

impl Host {
    /// From the options of one member of `hosts`.
    pub fn new(options: &Options) -> Result<Host, Error> {
        let address = match options.text("unix_socket") {
            "" => {
                let port = options
                    .int("port")
                    .and_then(|port| u16::try_from(port).ok());
                Address::Tcp(options.text("host").to_owned(), port.unwrap_or(6379))
            }
            path => Address::Unix(path.into()),
        };
        let shown = address.to_string();
        Ok(Host {
            address,
            shown,
            username: options.text("username").to_owned(),
            password: Secret::read(options, "password", "password_file")?,
            security: Security::read(options, false)?,
            link: None,
            is_plain: false,
            seen: Seen::new(),
            run: None,
            replication: Replication::default(),
            trouble: Trouble::default(),
        })
    }

    /// Takes a sample of this server.
    ///
    /// # Errors
    /// It can't be asked. The text stays the same until `connection_error_repeat_interval` is over.
    pub fn sample(&mut self, shared: &Shared, out: &mut Emitter) -> Result<(), String> {
        if self.trouble.pause > 0 {
            self.trouble.pause -= 1;
            return Err(self.told(None, shared));
        }
        let began = Instant::now();
        let was_open = self.link.is_some();
        let result = match self.ask(shared, out) {
            // The server was restarted, or closes what is idle: it may welcome a new connection
            Err(failure) if was_open && failure.lost => self.ask(shared, out),
            other => other,
        };
        match result {
            Ok(()) => {
                if self.trouble.samples > 0 {
                    out.info(format_args!("{} answers again.", self.shown));
                    self.trouble = Trouble::default();
                }
                Ok(())
            }
            Err(failure) => {
                self.is_plain = false;
                let is_late = began.elapsed() >= shared.timeout.mul_f32(0.9);
                if is_late && shared.has_several {
                    self.trouble.pause = self.trouble.samples.min(LONGEST_PAUSE);
                }
                Err(self.told(Some(failure.text), shared))
            }
        }
    }

    fn told(&mut self, why: Option<String>, shared: &Shared) -> String {
        let trouble = &mut self.trouble;
        trouble.samples = trouble.samples.saturating_add(1);
        if let Some(why) = why.filter(|why| *why != trouble.why) {
            (trouble.why, trouble.told) = (why, None);
        }
        let now = Instant::now();
        let (samples, _) = match trouble.told {
            Some(told) if now.duration_since(told.1) < shared.repeat => told,
            _ => *trouble.told.insert((trouble.samples, now)),
        };
        let text = match trouble.why.contains(&self.shown) {
            true => trouble.why.trim_end_matches('.').to_owned(),
            false => format!("{} can't be asked: {}", self.shown, trouble.why),
        };
        match samples {
            1 => format!("{text}."),
            n => format!("{text} ({n} samples in a row)."),
        }
    }

    fn connect(
        &mut self,
        deadline: &Deadline,
        shared: &Shared,
        out: &Emitter,
    ) -> Result<Link, Failure> {
        let Address::Tcp(host, _) = &self.address else {
            return Ok(Link::connect(&self.address, deadline)?);
        };
        let wanted = self.security.wanted();
        if matches!(wanted, Wanted::No) || self.is_plain {
            return Ok(Link::connect(&self.address, deadline)?);
        }
        if matches!(wanted, Wanted::Yes) {
            let link = Link::connect(&self.address, deadline)?;
            return Ok(link.secure(&self.security, host)?);
        }
        // A server without TLS may wait for the end of what it takes for a command
        let short = Deadline::new(shared.timeout / 3, out.stop());
        let link = Link::connect(&self.address, &short)?;
        if let Ok(mut link) = link.secure(&self.security, host) {
            link.set_deadline(deadline);
            return Ok(link);
        }
        self.is_plain = true;
        Ok(Link::connect(&self.address, deadline)?)
    }

    fn ask(&mut self, shared: &Shared, out: &mut Emitter) -> Result<(), Failure> {
        let deadline = Deadline::new(shared.timeout, out.stop());
        let mut request = Vec::new();
        let kept = self.link.take();
        let is_new = kept.is_none();
        let mut has_password = false;
        let mut link = match kept {
            Some(mut link) => {
                link.set_deadline(&deadline);
                link
            }
            None => {
                let link = self.connect(&deadline, shared, out)?;
                let password = self.password.get(out)?;
                has_password = !password.is_empty();
                let (user, password) = (self.username.as_bytes(), password.as_bytes());
                match (has_password, user.is_empty()) {
                    (false, _) => {}
                    (true, true) => resp::command(&mut request, &[b"AUTH", password]),
                    (true, false) => resp::command(&mut request, &[b"AUTH", user, password]),
                }
                resp::command(&mut request, &[b"CLIENT", b"SETNAME", NAME]);
                link
            }
        };
        let lines = if self.run.is_some() { shared.lines } else { 1 };
        resp::command(&mut request, &[b"INFO"]);
        let lines = lines.to_string();
        resp::command(&mut request, &[b"SLOWLOG", b"GET", lines.as_bytes()]);
        link.write_all(&request)?;
        link.flush()?;

        let mut no_password = false;
        let mut replies = Replies::new(&mut link, MOST_BYTES);
        if has_password {
            if let Reply::Error(text) = replies.reply()? {
                // Redis 6 and later, and those before
                let needs_none = ["without any password", "no password is set"];
                if !needs_none.iter().any(|words| text.contains(words)) {
                    return Err(refused(&text));
                }
                no_password = true;
            }
        }
        if is_new {
            match replies.reply()? {
                // A name is not needed, but what else the server may have to say decides
                Reply::Error(text)
                    if !["NOPERM", "ERR unknown"]
                        .iter()
                        .any(|w| text.starts_with(w)) =>
                {
                    return Err(refused(&text));
                }
                _ => {}
            }
        }
        let info = match replies.reply()? {
            Reply::Text(text) => Ok(String::from_utf8_lossy(&text).into_owned()),
            Reply::Error(text) => Err(refused(&text)),
            _ => Err(refused("no answer to INFO")),
        };
        if no_password {
            let text =
                "the server wants no password: remove \"password\", or set requirepass there.";
            self.warn(out, "password", format_args!("{text}"));
        }
        let mut new = self
            .seen
            .begin(self.since(info.as_deref().unwrap_or_default()));
        let slow = match replies.list()? {
            Ok(count) => {
                for _ in 0..count {
                    if let Some(entry) = Entry::of(&replies.reply()?) {
                        self.seen.take(&mut new, entry);
                    }
                }
                Ok(())
            }
            Err(text) => Err(refused(&text)),
        };
        if !replies.has_more() {
            self.link = Some(link);
        }
        let info = match (info, &slow) {
            (Ok(info), _) => info,
            (Err(failure), Err(_)) => return Err(failure),
            (Err(failure), Ok(())) => {
                self.missing("what INFO tells", &failure, out);
                String::new()
            }
        };
        match slow {
            Ok(()) => self.slow_log(&new, shared, out),
            Err(failure) => self.missing("the slow log", &failure, out),
        }
        let run = info::get(&info, "run_id").unwrap_or_default();
        self.run = Some((run.to_owned(), Instant::now()));
        if shared.replication {
            self.replication.emit(&info, &self.shown, out);
        }
        if shared.extra {
            info::emit(&info, &self.shown, out);
        }
        Ok(())
    }

    /// Compares the server that answers with that of the last time.
    fn since(&self, info: &str) -> Since {
        let Some((run, then)) = &self.run else {
            return Since::First;
        };
        let now = info::get(info, "run_id").unwrap_or_default();
        if now == run || now.is_empty() || run.is_empty() {
            return Since::Same;
        }
        let up = info::int(info, "uptime_in_seconds").and_then(|n| u64::try_from(n).ok());
        match up {
            Some(up) if up <= then.elapsed().as_secs() + 1 => Since::Restarted,
            _ => Since::Other,
        }
    }

    fn slow_log(&mut self, new: &New, shared: &Shared, out: &mut Emitter) {
        self.seen.end(new);
        if !new.gapless && self.run.is_some() {
            out.counter("slowlog_gaps").fetch_add(1, Relaxed);
            match new.since {
                Since::Same => self.warn(out, "gap", format_args!(
                    "Too many log messages since last query. Some log lines may have been dropped. Raise lines_to_fetch and the server's slowlog-max-len, or lower sample_interval."
                )),
                _ => self.warn(out, "reset", format_args!(
                    "Redis server reset detected for {}. Some log lines may have been dropped.",
                    self.shown
                )),
            }
        }
        for entry in new
            .entries
            .iter()
            .rev()
            .filter(|entry| entry.client_name != NAME)
        {
            self.emit(entry, shared, out);
        }
    }

    fn emit(&self, entry: &Entry, shared: &Shared, out: &mut Emitter) {
        let command = String::from_utf8_lossy(&entry.command);
        if matches!(command, Cow::Owned(_)) {
            out.counter("invalid_utf8").fetch_add(1, Relaxed);
            let key = format!("utf8 {}", self.shown);
            if !shared.utf8.is_zero() && out.once_in(shared.utf8, &key) {
                let begin = &entry.command[..entry.command.len().min(SHOWN)];
                out.warn(format_args!(
                    "{}: a command of the slow log holds invalid UTF-8, which is replaced: {}",
                    self.shown,
                    begin.escape_ascii()
                ));
            }
        }
        let ts = moment(entry.at);
        let client = String::from_utf8_lossy(&entry.client);
        let name = String::from_utf8_lossy(&entry.client_name);
        let fields = [
            ("command", command.as_ref().into()),
            ("exectime", entry.micros.into()),
            ("host", self.shown.as_str().into()),
            ("ts", ts.as_str().into()),
            ("client", client.as_ref().into()),
            ("clientName", name.as_ref().into()),
        ];
        let count = if shared.extra { 6 } else { 4 };
        out.emit("redis", "slowlog", &fields[..count]);
    }

    fn missing(&self, what: &str, failure: &Failure, out: &mut Emitter) {
        out.counter("refused_commands").fetch_add(1, Relaxed);
        self.warn(
            out,
            what,
            format_args!("{what} can't be read: {}", failure.text),
        );
    }

    fn warn(&self, out: &mut Emitter, key: &str, text: fmt::Arguments) {
        if out.once_in(HOUR, &format!("{key} {}", self.shown)) {
            out.warn(format_args!("{}: {text}", self.shown));
        }
    }
}
