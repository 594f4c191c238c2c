//! Level names of the option `stdout_severity`.

/// From which records on stdout gets a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// All.
    NotSet,
    /// All that `debug_level` lets through.
    Debug,
    /// INFO and above.
    Info,
    /// WARNING and above.
    Warning,
    /// ERROR and above.
    Error,
    /// None: no record of this agent is above ERROR.
    Critical,
}

impl Severity {
    /// The severity of a name in any case: `NOTSET`, `DEBUG`, `INFO`, `WARN`, `WARNING`, `ERROR`,
    /// `CRITICAL`, `FATAL`.
    pub fn parse(name: &str) -> Option<Severity> {
        let named = [
            ("NOTSET", Severity::NotSet),
            ("DEBUG", Severity::Debug),
            ("INFO", Severity::Info),
            ("WARN", Severity::Warning),
            ("WARNING", Severity::Warning),
            ("ERROR", Severity::Error),
            ("CRITICAL", Severity::Critical),
            ("FATAL", Severity::Critical),
        ];
        named
            .into_iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, severity)| severity)
    }

    /// Whether records of `level` are shown.
    pub(super) fn shows(self, level: log::Level) -> bool {
        let of_record = match level {
            log::Level::Error => Severity::Error,
            log::Level::Warn => Severity::Warning,
            log::Level::Info => Severity::Info,
            log::Level::Debug | log::Level::Trace => Severity::Debug,
        };
        of_record >= self
    }
}
