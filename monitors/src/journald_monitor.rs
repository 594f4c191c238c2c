//! `journald_monitor`: the systemd journal as log lines.
//!
//! The journal is read through a `journalctl --follow` that stays. The other way, one that is
//! started every five seconds, costs some 13 ms of CPU each time with 40 archived files, most of it
//! for opening them: 0.25 % of a processor on a host where nothing happens. The one that stays costs
//! nothing then, and about 1 MB of memory; the rest that it shows is the journal's own pages. It also
//! sees rotations and new files by itself.
//!
//! We look at its output once per `journal_poll_interval` until it has no more; in between it fills
//! the pipe and waits. Lines are written, then the cursor is saved: after a loss of power some entries
//! come twice, none is missing. What cannot be written is held back, and the journal waits for us.

mod checkpoint;
mod export;
mod lines;
mod outputs;
mod process;

use crate::monitor::{Cadence, Description, Log, Measure, MetricSpec, Monitor, Place, Setup};
use crate::options::{Default, Kind, OptionSpec};
use crate::{Emitter, Error};
use checkpoint::Checkpoint;
use common::rotating::Rotation;
use common::stamp;
use export::{Entry, Parser};
use lines::Fields;
pub use outputs::rule_logs;
use outputs::Outputs;
use process::{Journalctl, Progress};
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime};

/// Its entry in the registry.
pub const DESCRIPTION: Description = Description {
    module: "scalyr_agent.builtin_monitors.journald_monitor",
    text: "The entries of the systemd journal, one line each. It needs journalctl, and the right to read the journal: root, or a member of the group systemd-journal. Entries go to journald_monitor.log, or to files of their own by the rules of journald_logs. Where it has read to is kept in the agent's position journal, and written to journald-checkpoints.json in agent_data_path at the stop, for other agents.",
    options: OPTIONS,
    metrics: &[MetricSpec {
        name: "details",
        measure: Measure::Gauge,
        unit: "",
        fields: &["boot_id", "machine_id", "monitor_id", "pid", "timestamp", "unit"],
        text: "Not a metric: the message of an entry. Its fields are those of journal_fields; monitor_id is there if the entry has an id.",
    }],
    open: false,
    log: Log::Own(|setup| vec![outputs::common_log(setup.place)]),
    write_limit: (-1, -1),
    cadence: Cadence::Serving,
    service: None,
    make: |setup| Ok(Box::new(JournaldMonitor::new(setup)?)),
};

const DEFAULT_PATH: &str = "/var/log/journal";

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        "id",
        Kind::Text,
        Default::None,
        "Name of this instance: the field monitor_id of its lines, and the name of its place in the journal. Needed where several instances read with different options.",
    ),
    OptionSpec::new(
        "journal_path",
        Kind::Text,
        Default::Text(DEFAULT_PATH),
        "Directory of the journal. Empty: where journalctl looks by itself, which includes the journal in memory (/run/log/journal); so it is also if this option is not set and its default does not exist.",
    ),
    OptionSpec::new(
        "journal_poll_interval",
        Kind::Float,
        Default::Float(5.0),
        "Seconds between two looks at what is new; at least 0.1. It takes the place of sample_interval.",
    ),
    OptionSpec::new(
        "journal_fields",
        Kind::Object,
        Default::None,
        "Fields of the journal that are written, each with the name that it gets. Default: {\"_SYSTEMD_UNIT\": \"unit\", \"_PID\": \"pid\", \"_MACHINE_ID\": \"machine_id\", \"_BOOT_ID\": \"boot_id\", \"_SOURCE_REALTIME_TIMESTAMP\": \"timestamp\"}.",
    ),
    OptionSpec::new(
        "journal_matches",
        Kind::Strings,
        Default::Strings(&[]),
        "Which entries are taken, each FIELD=value: those of one field are alternatives, different fields must all match.",
    ),
    OptionSpec::new(
        "staleness_threshold_secs",
        Kind::Int,
        Default::Int(600),
        "Seconds: if the last entry that was read is older when the agent starts, reading begins with new entries instead of where it ended.",
    ),
    OptionSpec::new(
        "previous_boots",
        Kind::Bool,
        Default::Bool(false),
        "Takes entries from before the last boot as well, such as the last words of a host that went down. With an empty journal_path also those that other hosts have sent.",
    ),
    OptionSpec::new(
        "max_log_rotations",
        Kind::Int,
        Default::Int(2),
        "How many rotated files are kept of each log.",
    )
    .at_least(0.0),
    OptionSpec::new(
        "max_log_size",
        Kind::Int,
        Default::Int(20 * 1024 * 1024),
        "Size in bytes at which a log is rotated.",
    )
    .at_least(0.0),
    OptionSpec::new(
        "journalctl_path",
        Kind::Text,
        Default::Text("journalctl"),
        "The program that reads the journal; a name without slash is looked for in the PATH.",
    ),
];

const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);
/// Lines are written at the latest when so many bytes of them have gathered.
const BLOCK: usize = 256 * 1024;
/// Time in which journalctl can go on writing before we take its output for read.
const BREATH: Duration = Duration::from_millis(5);

struct JournaldMonitor {
    place: Place,
    program: String,
    path: String,
    /// The path is in the configuration, so it has to exist.
    path_is_set: bool,
    poll: Duration,
    matches: Vec<String>,
    staleness: u64,
    previous_boots: bool,
    fields: Fields,
    outputs: Outputs,
    checkpoint: Checkpoint,
    /// None before the checkpoint was read.
    position: Option<Position>,
    /// Older ones do not have --output-fields (systemd before 236).
    no_output_fields: bool,
    buffer: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Position {
    /// Only what comes from now on.
    End,
    /// Behind the entry with this cursor.
    After(String),
}

/// Position, boot and clocks at the moment when a journalctl was started.
struct Began {
    position: Position,
    boot: String,
    /// Clocks, in microseconds.
    monotonic: u64,
    realtime: u64,
    /// The first entry is still to come.
    first: bool,
}

/// Why reading stopped, if not by an error.
enum Ended {
    /// The agent wants it.
    Asked,
    /// It would not have it so; started in another way it may do better.
    Again,
}

impl JournaldMonitor {
    fn new(setup: &Setup) -> Result<Self, Error> {
        let options = setup.options;
        let wrong = |option: &str, why: String| {
            Error::of_option(option, format!("Field \"{option}\": {why}"))
        };
        let map = options.json("journal_fields").as_object();
        let mut fields = Fields::new(map, setup.id).map_err(|why| wrong("journal_fields", why))?;
        let matches = options.strings("journal_matches").to_vec();
        for text in &matches {
            let name = text.split_once('=').map_or("", |(name, _)| name);
            let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
            if name.is_empty() || !name.bytes().all(legal) || text.contains('\0') {
                let why = format!("{text:?} is not of the form FIELD=value");
                return Err(wrong("journal_matches", why));
            }
        }
        let number = |name: &str| options.int(name).and_then(|n| u64::try_from(n).ok());
        let rotation = Rotation {
            max_bytes: number("max_log_size").unwrap_or(0),
            backups: number("max_log_rotations")
                .and_then(|n| u32::try_from(n).ok())
                .unwrap_or(2),
        };
        let outputs = Outputs::new(setup.place, &mut fields, rotation).map_err(Error::new)?;
        let seconds = options.float("journal_poll_interval").unwrap_or(5.0);
        let name = if setup.id.is_empty() {
            setup.module
        } else {
            setup.id
        };
        Ok(JournaldMonitor {
            program: options.text("journalctl_path").to_owned(),
            path: options.text("journal_path").to_owned(),
            path_is_set: options.entry().iter().any(|(key, _)| key == "journal_path"),
            poll: Duration::from_secs_f64(if seconds >= 0.1 {
                seconds.min(3600.0)
            } else {
                0.1
            }),
            matches,
            staleness: number("staleness_threshold_secs").unwrap_or(0),
            previous_boots: options.bool("previous_boots"),
            fields,
            outputs,
            checkpoint: Checkpoint::new(&setup.place.data_dir, name, setup.place.cursors.clone()),
            position: None,
            no_output_fields: false,
            buffer: Vec::new(),
            place: setup.place.clone(),
        })
    }

    /// Before the first journalctl.
    fn begin(&mut self, out: &mut Emitter) -> Position {
        self.outputs.follow_known(&self.place.followed);
        let (bytes, count) = self
            .outputs
            .remove_orphans(&self.place.log_dir, SystemTime::now());
        if count > 0 {
            out.info(format_args!(
                "Removed {count} old files journald_<number>.log of the Python agent, {bytes} bytes, which nothing would have read any more."
            ));
        }
        match self.checkpoint.load(&boot_id(&self.place.root)) {
            Ok(Some(cursor)) => {
                let age = checkpoint::time_of(&cursor)
                    .map(|micros| stamp::now_ms().saturating_sub(micros / 1000) / 1000);
                match age {
                    Some(age) if age <= self.staleness => return Position::After(cursor),
                    Some(age) => out.info(format_args!(
                        "The last entry that was read is {age} seconds old, more than staleness_threshold_secs ({}): reading begins with new entries.",
                        self.staleness
                    )),
                    None => out.warn(format_args!(
                        "The cursor {cursor} tells no time: reading begins with new entries."
                    )),
                }
            }
            Ok(None) => {}
            Err(why) => out.warn(format_args!("Reading begins with new entries: {why}.")),
        }
        Position::End
    }

    fn arguments(&self, began: &Began) -> Result<Vec<String>, Error> {
        let mut args: Vec<String> = ["--output=export", "--no-pager", "--quiet", "--follow"]
            .map(str::to_owned)
            .into();
        // --follow alone means the last boot in the journal, which need not be the present one.
        args.push("--merge".to_owned());
        let path = Path::new(&self.path);
        if !self.path.is_empty() {
            match path.metadata() {
                Ok(meta) if meta.is_file() => args.push(format!("--file={}", self.path)),
                Ok(_) => args.push(format!("--directory={}", self.path)),
                Err(error) if self.path_is_set => {
                    return Err(Error::new(format!(
                        "Cannot read the journal: journal_path {}: {error}.",
                        self.path
                    )))
                }
                Err(_) => {}
            }
        }
        match &began.position {
            Position::End => args.push("--lines=1".to_owned()),
            // The entry itself comes first and is passed over. --after-cursor would pass over
            // another one if it is no longer there.
            Position::After(cursor) => {
                args.push("--no-tail".to_owned());
                args.push(format!("--cursor={cursor}"));
            }
        }
        if !self.no_output_fields {
            // Those with two underscores come in any case.
            let names = self.fields.wanted().iter().map(String::as_str);
            let names: Vec<&str> = names.filter(|name| !name.starts_with("__")).collect();
            args.push(format!("--output-fields={}", names.join(",")));
        }
        if !self.previous_boots && !began.boot.is_empty() {
            args.push(format!("_BOOT_ID={}", began.boot));
        }
        args.extend(self.matches.iter().cloned());
        Ok(args)
    }

    /// One life of a journalctl.
    fn follow(&mut self, out: &mut Emitter) -> Result<Ended, Error> {
        let position = match &self.position {
            Some(position) => position.clone(),
            None => self.begin(out),
        };
        self.position = Some(position.clone());
        let mut began = Began::now(position, &self.place.root);
        let args = self.arguments(&began)?;
        let mut journalctl = Journalctl::start(&self.program, &args)?;
        let mut parser = Parser::new(self.fields.wanted().to_vec());
        let mut entries = 0;
        let result = self.read(&mut journalctl, &mut parser, &mut began, &mut entries, out);
        // Whatever was complete is kept.
        let flushed = self.flush(out);
        match result {
            Ok(true) => {
                drop(journalctl);
                if !flushed {
                    out.warn(format_args!(
                        "Some entries could not be written; they are read again at the next start."
                    ));
                }
                return Ok(Ended::Asked);
            }
            Ok(false) => {}
            Err(error) => return Err(error),
        }
        let (status, said) = journalctl.end();
        if entries == 0 && !self.no_output_fields && said.contains("output-fields") {
            self.no_output_fields = true;
            return Ok(Ended::Again);
        }
        if entries == 0 && began.first && said.contains("cursor") {
            if let Position::After(cursor) = &began.position {
                out.warn(format_args!(
                    "The journal does not know the cursor {cursor}: reading begins with new entries."
                ));
                self.position = Some(Position::End);
                return Ok(Ended::Again);
            }
        }
        let said = match said.trim_end_matches('.') {
            "" => "without a word",
            said => said,
        };
        Err(Error::new(format!(
            "{} ended ({status}): {said}. It is started again where it stopped.",
            self.program
        )))
    }

    /// Reads until the agent stops (true) or journalctl does (false).
    fn read(
        &mut self,
        journalctl: &mut Journalctl,
        parser: &mut Parser,
        began: &mut Began,
        entries: &mut u64,
        out: &mut Emitter,
    ) -> Result<bool, Error> {
        self.buffer.resize(64 * 1024, 0);
        let mut buffer = std::mem::take(&mut self.buffer);
        let result = loop {
            match self.drain(&mut buffer, journalctl, parser, (began, entries), out) {
                Ok(true) => {}
                Ok(false) => break Ok(false),
                Err(error) => break Err(error),
            }
            self.flush(out);
            out.alive();
            if journalctl.has_news() && out.once_in(MINUTE, "complaints") {
                let said = journalctl.news();
                if !said.is_empty() && out.once_in(HOUR, &said) {
                    out.warn(format_args!("{} says: {said}", self.program));
                }
            }
            if out.stop().sleep(self.poll) {
                break Ok(true);
            }
        };
        self.buffer = buffer;
        result
    }

    /// Takes all that is there. False at the end of the output.
    fn drain(
        &mut self,
        buffer: &mut [u8],
        journalctl: &mut Journalctl,
        parser: &mut Parser,
        (began, entries): (&mut Began, &mut u64),
        out: &mut Emitter,
    ) -> Result<bool, Error> {
        let mut waited = true;
        let mut saved = Instant::now();
        // As long as lines cannot be written no more are read.
        while self.outputs.pending() < BLOCK && !out.stop().is_set() {
            match journalctl.read(buffer)? {
                Progress::Data(n) => {
                    waited = false;
                    let before = *entries;
                    let mut cut = 0;
                    let fed = parser.feed(&buffer[..n], |entry| {
                        cut += entry.cut;
                        *entries += u64::from(self.take(entry, began));
                    });
                    out.count_lines(*entries - before);
                    if cut > 0 {
                        out.counter("values_cut_off").fetch_add(cut, Relaxed);
                    }
                    if fed.is_err() {
                        return Err(Error::new(format!(
                            "{} does not write the export format of journals; it is started again.",
                            self.program
                        )));
                    }
                    if self.outputs.pending() >= BLOCK || saved.elapsed() > self.poll {
                        self.flush(out);
                        saved = Instant::now();
                    }
                }
                Progress::Nothing if waited => break,
                Progress::Nothing => {
                    out.stop().sleep(BREATH);
                    waited = true;
                }
                Progress::End => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Takes an entry; false if it is one from before.
    fn take(&mut self, entry: &Entry, began: &mut Began) -> bool {
        let first = std::mem::replace(&mut began.first, false);
        let is_new = !first || began.is_new(entry);
        if is_new {
            self.outputs.add(entry, &self.fields, stamp::now_ms());
        }
        if let Some(Ok(cursor)) = entry.get(lines::CURSOR).map(std::str::from_utf8) {
            match &mut self.position {
                Some(Position::After(last)) => {
                    last.clear();
                    last.push_str(cursor);
                }
                position => *position = Some(Position::After(cursor.to_owned())),
            }
        }
        is_new
    }

    /// Writes the lines, then the cursor. False if something could not be written.
    fn flush(&mut self, out: &mut Emitter) -> bool {
        if let Err(why) = self.outputs.flush(&self.place.followed) {
            if out.once_in(HOUR, &why) {
                out.error(format_args!(
                    "{why}. Reading the journal waits until it can be."
                ));
            }
            return false;
        }
        if let Some(Position::After(cursor)) = &self.position {
            let is_end = out.stop().is_set();
            let outputs = &self.outputs;
            let saved = self.checkpoint.save(cursor, is_end, || outputs.sync());
            if let Err(error) = saved {
                if out.once_in(HOUR, "checkpoint") {
                    out.warn(format_args!(
                        "The lines cannot be synced to the disk: {error}. After a loss of power some entries would come again."
                    ));
                }
            }
            if is_end {
                if let Err(error) = self.checkpoint.export(cursor) {
                    out.warn(format_args!(
                        "The place in the journal cannot be told to other agents: {error}."
                    ));
                }
            }
        }
        true
    }
}

impl Monitor for JournaldMonitor {
    fn gather(&mut self, out: &mut Emitter) -> Result<(), Error> {
        let lives = out.counter("journalctl_starts");
        loop {
            lives.fetch_add(1, Relaxed);
            match self.follow(out)? {
                Ended::Asked => return Ok(()),
                // Each of its reasons can come only once in a row.
                Ended::Again => {}
            }
        }
    }
}

/// The id of this start of the system, as the journal has it; empty if it can't be read.
fn boot_id(root: &Path) -> String {
    let boot = std::fs::read_to_string(root.join("proc/sys/kernel/random/boot_id"));
    let mut boot = boot.unwrap_or_default();
    boot.retain(|c| c.is_ascii_hexdigit());
    boot
}

impl Began {
    fn now(position: Position, root: &Path) -> Self {
        use nix::time::{clock_gettime, ClockId};
        let monotonic = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |time| {
            i128::from(time.tv_sec()) * 1_000_000 + i128::from(time.tv_nsec()) / 1000
        });
        Began {
            position,
            boot: boot_id(root),
            monotonic: u64::try_from(monotonic).unwrap_or(0),
            realtime: stamp::now_ms() * 1000,
            first: true,
        }
    }

    /// Whether the first entry that is read has not been read before. From the end of the journal,
    /// it is new if it came since we looked: the wall clock may have been set meanwhile, so within
    /// this boot the other one decides.
    fn is_new(&self, entry: &Entry) -> bool {
        let text = |number| {
            entry
                .get(number)
                .and_then(|raw| std::str::from_utf8(raw).ok())
        };
        let number = |field| text(field).and_then(|text| text.parse::<u64>().ok());
        match &self.position {
            Position::After(last) => {
                !text(lines::CURSOR).is_some_and(|cursor| checkpoint::same_entry(last, cursor))
            }
            Position::End => {
                let is_of_this_boot = text(lines::BOOT) == Some(&self.boot);
                match (number(lines::MONOTONIC), number(lines::REALTIME)) {
                    (Some(monotonic), _) if is_of_this_boot => monotonic >= self.monotonic,
                    (_, Some(realtime)) if !is_of_this_boot && self.boot.is_empty() => {
                        realtime >= self.realtime
                    }
                    _ => false,
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "journald_monitor_tests.rs"]
mod tests;
