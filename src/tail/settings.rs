//! The part of the configuration that tailing needs.

use super::fence::Fence;
use super::glob;
use super::held::Held;
use super::hints;
use super::journal::Journal;
use super::memory::Shelf;
use crate::config::AttrValue;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Gives a path its reported name; `None` leaves it as it is.
pub type Rename = std::sync::Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// One element of `logs`, ready for use.
#[derive(Clone)]
pub struct Entry {
    /// Absolute path or pattern.
    pub pattern: PathBuf,
    /// Whether it has wildcards.
    pub is_glob: bool,
    /// Whole-path patterns of files to leave out.
    pub exclude: Vec<Vec<u8>>,
    /// The entry's attributes, `parser` included.
    pub attributes: Vec<(String, AttrValue)>,
    /// How its lines are shaped; `None`: not at all.
    pub pipeline: Option<std::sync::Arc<crate::shape::Pipeline>>,
    /// `rename_logfile`.
    pub rename: Option<Rename>,
    /// Begin at byte 0 where there is no checkpoint.
    pub copy_from_start: bool,
    /// `staleness_threshold_secs`, if `ignore_stale_files`.
    pub stale_after: Option<f64>,
    /// Least time between looks.
    pub minimum_scan_interval: Duration,
    /// Where the first start begins for a file that the agent itself writes: the size that it had
    /// before the agent's first line.
    pub start_offset: Option<u64>,
    /// `follow_foreign_links`
    pub follow_foreign_links: bool,
    /// A monitor has named it while we run: its attributes are nowhere in the configuration.
    pub named: bool,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "Entry({})", self.pattern.display())
    }
}

impl Entry {
    /// An entry for one pattern with the defaults of everything else.
    pub fn new(pattern: PathBuf) -> Self {
        Entry {
            is_glob: glob::is_pattern(pattern.as_os_str().as_bytes()),
            pattern,
            exclude: Vec::new(),
            attributes: Vec::new(),
            pipeline: None,
            rename: None,
            copy_from_start: false,
            stale_after: None,
            minimum_scan_interval: Duration::ZERO,
            start_offset: None,
            follow_foreign_links: false,
            named: false,
        }
    }

    /// The attributes that a checkpoint has to keep, as the configuration does not have them.
    pub fn named_attributes(&self) -> &[(String, AttrValue)] {
        match self.named {
            true => &self.attributes,
            false => &[],
        }
    }

    /// Whether links that lead to what its wildcards match must be trustworthy ([`super::trust`]).
    pub fn examines_links(&self) -> bool {
        self.is_glob && !self.follow_foreign_links
    }

    /// Whether the path is left out.
    pub fn excludes(&self, path: &Path) -> bool {
        let path = path.as_os_str().as_bytes();
        self.exclude.iter().any(|p| glob::crosses(p, path))
    }

    /// Whether the entry's path or pattern leads to this path, be it excluded or not.
    pub fn matches(&self, path: &Path) -> bool {
        match self.is_glob {
            true => glob::matches(&self.pattern, path),
            false => self.pattern == path,
        }
    }

    /// Whether the entry is about this path, which need not exist.
    pub fn covers(&self, path: &Path) -> bool {
        self.matches(path) && !self.excludes(path)
    }

    /// The reported name, if it is not the path.
    pub fn renamed(&self, path: &str) -> Option<String> {
        self.rename.as_ref().and_then(|rename| rename(path))
    }
}

/// Options of tailing, most of them one of the configuration's, which `docs/configuration.md`
/// describes. Sizes are bytes.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `default-0`
    pub session: String,
    /// The worker that the session belongs to.
    pub worker: String,
    /// By which the agent sees where the session's thread is, and shuts it out.
    pub fence: Arc<Fence>,
    /// Which part of the worker's files: index and number of its sessions.
    pub share: (u64, u64),
    /// Which files the sessions of the worker have; the same for all of them.
    pub held: Held,
    /// Where lines that are in no file outlive the thread.
    pub shelf: Shelf,
    /// The entries of other workers: files that they match are not this worker's.
    pub elsewhere: Vec<Entry>,
    /// `max_allowed_request_size`
    pub max_request: usize,
    /// `agent_data_path`, where checkpoints are.
    pub data_dir: PathBuf,
    /// `max_line_size`
    pub max_line_size: usize,
    /// `read_page_size`
    pub read_page_size: usize,
    /// `line_completion_wait_time`
    pub line_completion_wait: Duration,
    /// `max_new_log_detection_time`
    pub new_log_detection: Duration,
    /// `log_deletion_delay`
    pub deletion_delay: Duration,
    /// `rotated_file_grace`
    pub rotated_grace: Duration,
    /// `close_old_files_duration_in_seconds`; `None` if it is 0.
    pub close_old_files: Option<Duration>,
    /// `enable_copy_truncate_log_rotation_support`
    pub copytruncate: bool,
    /// `max_log_offset_size`
    pub max_new_offset: Option<u64>,
    /// `max_existing_log_offset_size`
    pub max_existing_offset: Option<u64>,
    /// `copy_staleness_threshold`
    pub staleness: Option<Duration>,
    /// `max_allowed_checkpoint_age`, in seconds.
    pub max_checkpoint_age: Option<f64>,
    /// `ignore_checkpoints_on_startup_path_globs`
    pub ignore_checkpoints: Vec<Vec<u8>>,
    /// Where positions are written down; `None`: nowhere.
    pub journal: Option<Journal>,
    /// Where hints from the kernel come from; `None`: there are none.
    pub hints: Option<hints::Source>,
    /// `max_sequence_number`: beyond it a new sequence begins.
    pub max_sequence_number: u64,
    /// `enforce_monotonic_timestamps`
    pub monotonic: bool,
    /// `max_open_files`, less where the system grants fewer descriptors.
    pub max_open_files: usize,
    /// `min_poll_interval`
    pub min_poll: Duration,
    /// `max_poll_interval`, not below `min_poll`.
    pub max_poll: Duration,
    /// How much earlier than our last look a file may have been created and still count as created
    /// since, in seconds: other machines' file systems have their own clocks. No option.
    pub clock_slack: f64,
    /// `keep_alive_interval`, not above half of what the health check bears.
    pub keep_alive: Duration,
}

impl Settings {
    /// The usual [`Settings::clock_slack`].
    pub const CLOCK_SLACK: f64 = 2.0;

    /// The defaults of docs/configuration.md, for a data directory.
    pub fn new(data_dir: PathBuf) -> Self {
        Settings {
            session: "default-0".into(),
            worker: "default".into(),
            fence: Arc::default(),
            share: (0, 1),
            held: Held::default(),
            shelf: Shelf::default(),
            elsewhere: Vec::new(),
            max_request: 5_900_000,
            data_dir,
            max_line_size: 49_900,
            read_page_size: 65_536,
            line_completion_wait: Duration::from_secs(5),
            new_log_detection: Duration::from_secs(60),
            deletion_delay: Duration::from_secs(600),
            rotated_grace: Duration::from_secs(300),
            close_old_files: Some(Duration::from_secs(3600)),
            copytruncate: true,
            max_new_offset: None,
            max_existing_offset: None,
            staleness: None,
            max_checkpoint_age: None,
            ignore_checkpoints: Vec::new(),
            journal: None,
            hints: None,
            max_sequence_number: 1024u64.pow(4),
            monotonic: false,
            max_open_files: 256,
            min_poll: Duration::from_millis(250),
            max_poll: Duration::from_secs(5),
            clock_slack: Settings::CLOCK_SLACK,
            keep_alive: Duration::from_secs(60),
        }
    }
}
