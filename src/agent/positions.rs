//! The start finds here how far files were sent, and is refused if it may not look.

use super::cursors::Kept;
use super::sessions::STEP;
use super::Agent;
use crate::process::signals::Signals;
use crate::process::user::Owner;
use crate::status::health::DEGRADED;
use crate::tail::journal::{Health, Journal, PATIENCE};
use crate::tail::positions::Positions;
use crate::tail::{self, Saved, Unread};
use crossbeam_channel::RecvTimeoutError;
use std::path::Path;
use std::time::{Duration, Instant};

impl Agent {
    /// All that is remembered of files: from the disk, and later from the journal that is open since.
    ///
    /// Nothing if a signal to stop comes while the disk is waited for.
    ///
    /// # Errors
    /// Why the agent must not start: something is remembered, and what it is can't be known.
    pub(super) fn recall(&mut self, signals: &mut Signals) -> Result<Option<Saved>, String> {
        if let Some(answer) = self.journal.as_ref().map(Journal::memory) {
            let until = Instant::now() + PATIENCE;
            loop {
                match answer.recv_timeout(STEP) {
                    Ok(memory) => return Ok(Some(memory.saved)),
                    Err(_) if self.attend(signals) => return Ok(None),
                    Err(RecvTimeoutError::Timeout) if Instant::now() < until => {}
                    Err(_) => {
                        return Err("the position journal can't be read: the disk of agent_data_path does not answer".to_owned())
                    }
                }
            }
        }
        let options = &self.config.options;
        let Positions {
            journal,
            memory,
            damaged,
        } = tail::positions::open(
            &self.data_dir,
            seconds(options.position_sync_interval),
            seconds(options.full_checkpoint_interval_in_seconds as f64),
        )
        .map_err(|unread| refusal(&unread))?;
        self.checkpoint_notes.extend(damaged.iter().map(line));
        self.monitor_logs.cursors.keep_by(
            Box::new(Kept(journal.clone())),
            memory.cursors.clone(),
            seconds(options.position_sync_interval),
        );
        self.journal = Some(journal);
        Ok((!memory.is_empty()).then_some(memory.saved))
    }

    /// Closes the journal, which leaves checkpoint files for the Python agent. After all sessions have ended.
    pub(super) fn close_journal(&mut self, within: Duration) -> Result<(), String> {
        match self.journal.take() {
            Some(journal) if !journal.stop(within) => {
                Err("the disk of agent_data_path does not answer, or fails".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// The fault of the journal, for the status report.
    pub(super) fn journal_trouble(&self) -> Option<String> {
        match self.journal.as_ref().map(Journal::figures)?.health {
            Health::Degraded { why, .. } => Some(format!(
                "{DEGRADED}: after a crash these contents may be sent again under other numbers: the position journal \
                 can't be written: {why}"
            )),
            Health::Lost => {
                Some("another start of the agent writes the position journal now".to_owned())
            }
            Health::Good | Health::Stopped => None,
        }
    }
}

fn seconds(secs: f64) -> Duration {
    Duration::try_from_secs_f64(secs).unwrap_or(Duration::MAX)
}
/// Sets all checkpoints aside; for each a line for the status report.
///
/// # Errors
/// Why that can't be done.
pub(super) fn ignore(dir: &Path) -> Result<Vec<String>, String> {
    let aside = tail::ignore(dir).map_err(|unread| {
        format!(
            "{}: {}. Remove the checkpoint files by hand, or start without --ignore-positions.",
            unread.path.display(),
            unread.why
        )
    })?;
    let line = |path: &std::path::PathBuf| format!("set aside unread as {}", path.display());
    let lines: Vec<String> = aside.iter().map(line).collect();
    for line in &lines {
        log::warn!("--ignore-positions: a checkpoint was {line}");
    }
    Ok(lines)
}

/// Makes sure that all checkpoints may be read. Opens them only, as the daemon inherits this process.
///
/// # Errors
/// As [`Agent::recall`].
pub fn check(dir: &Path) -> Result<(), String> {
    match tail::denied(dir) {
        unread if unread.is_empty() => Ok(()),
        unread => Err(refusal(&unread)),
    }
}

fn refusal(unread: &[Unread]) -> String {
    let each = unread.iter();
    let each = each.map(|u| format!("{} can't be read: {}", u.path.display(), u.why));
    format!(
        "{}. It holds how far files were sent; without it lines would be left out or sent twice. Let the \
         user {} read it, or give it up with `start --ignore-positions`: files are then copied from \
         where a first start would begin.",
        each.collect::<Vec<_>>().join("; "),
        Owner::current().name
    )
}

fn line(damaged: &Unread) -> String {
    let path = damaged.path.display();
    match &damaged.aside {
        Some(aside) => format!(
            "{path} ({}) was set aside as {}",
            damaged.why,
            aside.display()
        ),
        None => format!("{path} ({}) could not be set aside", damaged.why),
    }
}
