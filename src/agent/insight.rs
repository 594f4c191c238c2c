//! The effect of a configuration on single files, for `dry-run` and `explain`: nothing is sent,
//! written or followed. The plan is made by the code that the running agent uses.

use super::plan;
use crate::config::{Config, EntryKind, LogEntry, Worker};
use crate::tail::insight::{self, Fit};
use crate::tail::outlook::{self, Outlook};
use crate::tail::rehearse::{Rehearsal, Sink};
use crate::tail::{self, Saved};
use crate::upload::UploadSettings;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub use super::unused::unused;
pub use crate::shape::Counts;
pub use crate::tail::insight::{compressed, facts, originals, rotation, Facts, Label, Rotation};
pub use crate::tail::outlook::{Finding, Part, Remembered};
pub use crate::tail::rehearse::{Event, Head, Totals, Trouble};
pub use crate::tail::Unread;

/// Compiles every rule and plans every monitor.
///
/// # Errors
/// Why the agent would not start with it.
pub fn plan(config: &Config) -> Result<Vec<monitors::Plan>, String> {
    plan::shapes(config)?;
    plan::monitors(config, &plan::MonitorLogs::default())
}

/// A line for each kind of parts of the configuration that nothing acts on; none if the agent would not
/// start with it.
pub fn unused_lines(config: &Config) -> Vec<String> {
    let plans = plan::monitors(config, &plan::MonitorLogs::default());
    let unused = plans.map(|plans| unused(config, &plans));
    unused.iter().flatten().map(ToString::to_string).collect()
}

/// A configuration, made ready to be asked about files.
pub struct Insight {
    config: Config,
    shapes: plan::Shapes,
    monitor_logs: Vec<monitors::MonitorLog>,
    running: bool,
    checkpoints: Option<Checkpoints>,
    crews: Vec<Crew>,
    entries: Vec<Known>,
}

struct Checkpoints {
    saved: Option<Saved>,
    unread: Vec<Unread>,
}

/// A worker and its entries.
struct Crew {
    worker: Worker,
    entries: Vec<tail::Entry>,
    /// Where each of them is in the list of all.
    numbers: Vec<usize>,
    outlooks: HashMap<u32, Outlook>,
    rehearsal: Option<Rehearsal>,
}

/// An entry of any worker.
struct Known {
    crew: usize,
    /// Within the crew.
    at: usize,
    /// In `Config::logs`; none for what a monitor writes.
    log: Option<usize>,
}

/// The relation of an entry to a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// The path is copied as this entry says.
    Counts,
    /// It matches, but an earlier entry of the same worker does too; its number.
    Later {
        /// The entry that counts, from 0.
        than: usize,
        /// It names the path itself, so attributes that the other lacks are added.
        adds: bool,
    },
    /// Its pattern matches, but so does this pattern of its `exclude`.
    Excluded(usize, String),
    /// Its pattern does not match; a phrase that says why.
    Other(String),
}

/// An entry and what it is to a path.
pub struct Candidate<'a> {
    /// Where it stands, or whose it is.
    pub place: String,
    /// Its pattern.
    pub pattern: &'a Path,
    /// The worker that copies for it.
    pub worker: &'a str,
    /// The relation to the path.
    pub claim: Claim,
    /// The entry of the configuration; none for what a monitor writes.
    pub entry: Option<&'a LogEntry>,
}

/// The treatment of a path by a worker.
pub struct Following {
    /// Its id.
    pub worker: String,
    /// The session that the path falls to, and of how many.
    pub session: u32,
    /// See `session`.
    pub sessions: u32,
    /// The entry that counts, from 0 among all.
    pub entry: usize,
    /// The name and attributes under which it is sent.
    pub label: Label,
    /// The role of the path for the session.
    pub finding: Finding,
}

/// Options that say how a log is read and what becomes of it when it is rotated.
pub struct Reading {
    /// Longest message, in bytes.
    pub max_line: usize,
    /// How long an incomplete line waits.
    pub line_completion_wait: Duration,
    /// Whether copies are looked for after a truncation.
    pub copytruncate: bool,
    /// How long a rotated file is still followed.
    pub rotated_grace: Duration,
    /// How often new files are looked for.
    pub new_log_detection: Duration,
}

impl Insight {
    /// Compiles everything. `running`: an agent runs with this configuration.
    ///
    /// # Errors
    /// Why the agent would not start with it.
    pub fn new(config: Config, running: bool) -> Result<Insight, String> {
        let shapes = plan::shapes(&config)?;
        let plans = plan::monitors(&config, &plan::MonitorLogs::default())?;
        let logs_of = |plan: &monitors::Plan| {
            let logs: Vec<_> = plan.logs().cloned().chain(plan.later_logs()).collect();
            logs
        };
        let mut insight = Insight {
            monitor_logs: plans.iter().flat_map(logs_of).collect(),
            config,
            shapes,
            running,
            checkpoints: None,
            crews: Vec::new(),
            entries: Vec::new(),
        };
        for worker in &insight.config.workers.clone() {
            let logs = insight.config.logs.iter();
            let entries = insight.entries_of(worker);
            let own = logs.enumerate().filter(|(_, e)| e.worker_id == worker.id);
            let mut own = own.map(|(at, _)| at);
            for at in 0..entries.len() {
                insight.entries.push(Known {
                    crew: insight.crews.len(),
                    at,
                    log: own.next(),
                });
            }
            insight.crews.push(Crew {
                worker: worker.clone(),
                entries,
                numbers: Vec::new(),
                outlooks: HashMap::new(),
                rehearsal: None,
            });
        }
        // As they stand in the configuration, then the monitors'
        crate::util::sort::by_key(&mut insight.entries, |k| k.log.unwrap_or(usize::MAX));
        for (number, known) in insight.entries.iter().enumerate() {
            let numbers = &mut insight.crews[known.crew].numbers;
            // Within a crew the order is the same
            numbers.push(number);
        }
        Ok(insight)
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Whether an agent runs.
    pub fn is_running(&self) -> bool {
        self.running
    }

    fn entries_of(&self, worker: &Worker) -> Vec<tail::Entry> {
        plan::entries(&self.config, &self.shapes, worker, &self.monitor_logs, None)
    }

    /// Every entry and what it is to the path.
    pub fn candidates(&self, path: &Path) -> Vec<Candidate<'_>> {
        let winners: Vec<Option<usize>> = self
            .crews
            .iter()
            .map(|crew| crew.entries.iter().position(|e| e.covers(path)))
            .collect();
        let candidate = |known: &Known| {
            let crew = &self.crews[known.crew];
            let entry = &crew.entries[known.at];
            let log = known.log.map(|at| &self.config.logs[at]);
            let claim = match (insight::fit(entry, path), winners[known.crew]) {
                (Fit::Other(why), _) => Claim::Other(why),
                (Fit::Excluded(at), _) => {
                    Claim::Excluded(at, String::from_utf8_lossy(&entry.exclude[at]).into_owned())
                }
                (Fit::Covers, Some(first)) if first != known.at => Claim::Later {
                    than: crew.numbers[first],
                    adds: !entry.is_glob,
                },
                (Fit::Covers, _) => Claim::Counts,
            };
            Candidate {
                place: place(log),
                pattern: &entry.pattern,
                worker: &crew.worker.id,
                claim,
                entry: log,
            }
        };
        self.entries.iter().map(candidate).collect()
    }

    /// Reads the checkpoints, once; those that say nothing.
    pub fn read_checkpoints(&mut self) -> &[Unread] {
        let dir = &self.config.options.agent_data_path;
        let read = || {
            let (saved, unread) = outlook::checkpoints(Path::new(dir));
            Checkpoints { saved, unread }
        };
        &self.checkpoints.get_or_insert_with(read).unread
    }

    /// Prepares a crew for a path: which session it falls to.
    fn prepare(&mut self, crew: usize, path: &Path) -> u32 {
        let session = insight::session_of(path, self.crews[crew].worker.sessions);
        self.prepare_session(crew, session);
        session
    }

    fn prepare_session(&mut self, crew: usize, session: u32) {
        let worker = self.crews[crew].worker.clone();
        if self.crews[crew].outlooks.contains_key(&session) {
            return;
        }
        let (mut settings, envelope) = self.settings(&worker, session);
        // Nothing is followed, so nothing need be kept open
        settings.max_open_files = 0;
        let entries = self.entries_of(&worker);
        let saved = self.checkpoints.as_ref().and_then(|c| c.saved.as_ref());
        let outlook = Outlook::new(settings, entries, envelope, saved, self.running);
        self.crews[crew].outlooks.insert(session, outlook);
    }

    /// The role of a path for each session that has to do with it while no entry of its worker is about it, by the
    /// session's id; where none has, what it is to the first. Call [`Insight::read_checkpoints`] before.
    pub fn findings(&mut self, path: &Path) -> Vec<(String, Finding)> {
        let mut all = Vec::new();
        for at in 0..self.crews.len() {
            for session in 0..self.crews[at].worker.sessions {
                self.prepare_session(at, session);
                let crew = &mut self.crews[at];
                let id = format!("{}-{session}", crew.worker.id);
                let outlook = crew.outlooks.get_mut(&session);
                all.extend(outlook.map(|outlook| (id, outlook.at(path))));
            }
        }
        match all.iter().any(|(_, finding)| finding.is_concerned) {
            true => all.retain(|(_, finding)| finding.is_concerned),
            false => all.truncate(1),
        }
        all
    }

    fn settings(
        &self,
        worker: &Worker,
        session: u32,
    ) -> (tail::Settings, Arc<crate::wire::Envelope>) {
        let upload = UploadSettings::new(&self.config, worker);
        let envelope = Arc::new(plan::envelope(&self.config, worker, &upload));
        let max_request = upload.pacing.max_request_size;
        let settings = plan::tail_settings(&self.config, worker, session, max_request);
        (settings, envelope)
    }

    /// Each worker that copies the path, with its session, entry and position. Call
    /// [`Insight::read_checkpoints`] before.
    pub fn followings(&mut self, path: &Path) -> Vec<Following> {
        let mut all = Vec::new();
        for at in 0..self.crews.len() {
            let crew = &self.crews[at];
            let Some(first) = crew.entries.iter().position(|e| e.covers(path)) else {
                continue;
            };
            let Some(label) = insight::label(&crew.entries, path) else {
                continue;
            };
            let session = self.prepare(at, path);
            let crew = &mut self.crews[at];
            let Some(outlook) = crew.outlooks.get_mut(&session) else {
                continue;
            };
            all.push(Following {
                worker: crew.worker.id.clone(),
                session,
                sessions: crew.worker.sessions,
                entry: crew.numbers[first],
                label,
                finding: outlook.at(path),
            });
        }
        all
    }

    /// The options of reading.
    pub fn reading(&self) -> Option<Reading> {
        let worker = self.config.workers.first()?;
        let (settings, _) = self.settings(worker, 0);
        Some(Reading {
            max_line: settings.max_line_size,
            line_completion_wait: settings.line_completion_wait,
            copytruncate: settings.copytruncate,
            rotated_grace: settings.rotated_grace,
            new_log_detection: settings.new_log_detection,
        })
    }

    /// Gives the events of the file at `path` to `sink`, with the id of the worker that would send
    /// them: all of the file, or with `from_checkpoint` what is not settled yet (call
    /// [`Insight::read_checkpoints`] before). What was made of it by each worker; none if no entry
    /// is about the file.
    ///
    /// # Errors
    /// If a file can't be read; of the sink.
    pub fn rehearse(
        &mut self,
        path: &Path,
        from_checkpoint: bool,
        sink: &mut dyn FnMut(&str, &Head, &Event) -> std::io::Result<()>,
    ) -> Result<Vec<(String, Totals)>, Trouble> {
        let mut all = Vec::new();
        for at in 0..self.crews.len() {
            if !self.crews[at].entries.iter().any(|e| e.covers(path)) {
                continue;
            }
            let session = match from_checkpoint {
                true => self.prepare(at, path),
                false => 0,
            };
            let (settings, envelope) = self.settings(&self.crews[at].worker, session);
            let Crew {
                worker,
                entries,
                outlooks,
                rehearsal,
                ..
            } = &mut self.crews[at];
            let rehearsal =
                rehearsal.get_or_insert_with(|| Rehearsal::new(settings, entries, envelope));
            let mut with_worker = |head: &Head, event: &Event| sink(&worker.id, head, event);
            let with_worker: &mut Sink = &mut with_worker;
            let totals = match outlooks.get_mut(&session) {
                Some(outlook) if from_checkpoint => {
                    rehearsal.pending(outlook, path, with_worker)?
                }
                _ => rehearsal.whole(entries, path, with_worker)?,
            };
            // Nothing to follow is nothing to send
            all.push((worker.id.clone(), totals.unwrap_or_default()));
        }
        Ok(all)
    }
}

fn place(entry: Option<&LogEntry>) -> String {
    match entry {
        Some(entry) => match (&entry.origin.place, entry.kind) {
            (Some(place), _) => place.to_string(),
            (None, EntryKind::AgentLog) => "the agent's own log".to_owned(),
            (None, _) => "built in".to_owned(),
        },
        None => "a monitor's own log".to_owned(),
    }
}
