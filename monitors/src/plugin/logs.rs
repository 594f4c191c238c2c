//! A plug-in's requests to the copier: a name and labels for the log of its metrics, and logs that
//! it writes itself.

use super::protocol::LogConfig;
use crate::monitor::{MonitorLog, Place};
use crate::{Emitter, FollowedLogs};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// Logs that one plug-in may have copied at the same time.
const MOST: usize = 256;
/// The agent's own logs, which are none of a plug-in's.
const AGENTS: [&str; 2] = ["agent.log", "agent_debug.log"];

/// The logs of one plug-in.
#[derive(Debug)]
pub struct Logs {
    owner: String,
    dir: PathBuf,
    /// The log of its metrics, unless it names another one.
    default: PathBuf,
    /// The log of its metrics.
    current: PathBuf,
    /// It has fewer rights than the agent, which must not read or write for it.
    confined: bool,
    followed: Arc<FollowedLogs>,
    /// Paths that the operator has entries for.
    configured: Vec<PathBuf>,
}

impl Logs {
    /// The logs of the plug-in that the agent calls `owner`, `short` without its id; `confined` if
    /// it runs as another user. `dir` is the absolute directory of the agent's logs.
    pub fn new(owner: &str, short: &str, confined: bool, dir: &Path, place: &Place) -> Self {
        let default = dir.join(format!("{short}.log"));
        Logs {
            owner: owner.to_owned(),
            dir: dir.to_owned(),
            current: default.clone(),
            default,
            confined,
            followed: Arc::clone(&place.followed),
            configured: place.log_rules.iter().map(|r| r.path.clone()).collect(),
        }
    }

    /// Gives the log of its metrics and messages this name and these labels.
    ///
    /// # Errors
    /// A phrase that says what cannot be done; nothing has changed then.
    pub fn own(&mut self, config: LogConfig, out: &mut Emitter) -> Result<(), String> {
        let path = match &config.path {
            Some(path) => self.resolve(path)?,
            None => self.current.clone(),
        };
        if path != self.default {
            if self.confined {
                return Err("with plugin_user set it may not name the file of its log".to_owned());
            }
            if !path.starts_with(&self.dir) {
                return Err(format!(
                    "its log {} would not be below agent_log_path ({}), where alone the agent writes",
                    path.display(),
                    self.dir.display()
                ));
            }
        }
        // Labels first: they hold from the file's first line on
        self.copy(path.clone(), config, true)?;
        if path != self.current {
            self.followed.unfollow(&self.owner, &self.current);
            out.set_log(&path);
            self.current = path;
        }
        Ok(())
    }

    /// Has a log copied that the plug-in writes itself. Its path, if that is something new.
    ///
    /// # Errors
    /// As of [`Logs::own`].
    pub fn follow(&self, config: LogConfig) -> Result<Option<PathBuf>, String> {
        if self.confined {
            return Err(
                "with plugin_user set it may not have logs copied: the agent reads more than that user may"
                    .to_owned(),
            );
        }
        let path = self.resolve(config.path.as_deref().unwrap_or_default())?;
        let metrics = path == self.current;
        let known = self.followed.of(&self.owner).contains(&path);
        self.copy(path.clone(), config, metrics)?;
        Ok(Some(path).filter(|_| !known))
    }

    /// Ends the copying of such a log: what is in it by now still is.
    ///
    /// # Errors
    /// The path is none.
    pub fn unfollow(&self, path: &str) -> Result<(), String> {
        let path = self.resolve(path)?;
        self.followed.unfollow(&self.owner, &path);
        Ok(())
    }

    fn copy(&self, path: PathBuf, config: LogConfig, metrics: bool) -> Result<(), String> {
        if self.configured.contains(&path) {
            // The operator's entry for just this path says how
            return Ok(());
        }
        if !self.followed.of(&self.owner).contains(&path) {
            self.make_room()?;
        }
        let mut log = MonitorLog {
            attributes: config.attributes,
            metrics,
            ..MonitorLog::metrics(&path)
        };
        if let Some(parser) = config.parser {
            log.parser = parser;
        }
        if self.followed.follow(&self.owner, log.clone()) {
            return Ok(());
        }
        // Another instance of it has named the same log
        let same = |other: &MonitorLog| {
            other.path == log.path
                && other.parser == log.parser
                && other.attributes == log.attributes
        };
        match self.followed.all().iter().any(same) {
            true => Ok(()),
            false => Err(format!(
                "another monitor has {} copied with a parser and attributes of its own",
                log.path.display()
            )),
        }
    }

    fn make_room(&self) -> Result<(), String> {
        let paths = self.followed.of(&self.owner);
        if paths.len() < MOST {
            return Ok(());
        }
        let gone: Vec<&PathBuf> = paths.iter().filter(|path| !path.exists()).collect();
        for path in &gone {
            self.followed.unfollow(&self.owner, path);
        }
        match gone.is_empty() {
            true => Err(format!("it has {MOST} logs copied already")),
            false => Ok(()),
        }
    }

    /// Without looking at the file system.
    fn resolve(&self, path: &str) -> Result<PathBuf, String> {
        let name = Path::new(path);
        if path.is_empty() || path.contains('\0') || name.file_name().is_none() {
            return Err(format!("{path:?} is no path of a log"));
        }
        if path.contains(['*', '?', '[']) {
            return Err(format!(
                "{path:?} is a pattern; those are for entries of `logs`"
            ));
        }
        if name.components().any(|part| part == Component::ParentDir) {
            return Err(format!("the path {path:?} leads upwards"));
        }
        // Takes single dots and repeated slashes out
        let path: PathBuf = self.dir.join(name).components().collect();
        if AGENTS.iter().any(|log| path == self.dir.join(log)) {
            return Err(format!("{} is the agent's own log", path.display()));
        }
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emitter::captured::emitter;
    use crate::monitor::LogRule;
    use common::limit::WriteLimit;

    fn config(path: &str, parser: &str) -> LogConfig {
        LogConfig {
            path: Some(path.to_owned()),
            parser: Some(parser.to_owned()),
            attributes: vec![("a".to_owned(), 1.into())],
        }
    }

    fn logs(confined: bool) -> Logs {
        let mut place = Place::new("/", "/log");
        place.log_rules = [LogRule {
            path: "/log/mine.log".into(),
            attributes: Vec::new(),
        }]
        .into();
        Logs::new("p(x)", "p", confined, Path::new("/log"), &place)
    }

    #[test]
    fn labels_go_with_the_log_that_has_them_and_the_operators_own_come_first() {
        let mut logs = logs(false);
        let (mut out, _) = emitter("p(x)", WriteLimit::none(), &[]);
        logs.own(config("p.log", "one"), &mut out).unwrap();
        let all = logs.followed.all();
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].path, Path::new("/log/p.log"));
        assert_eq!(all[0].parser, "one");
        assert!(all[0].metrics);
        // Only the second of two names is copied
        logs.own(config("./sub//q.log", "two"), &mut out).unwrap();
        assert_eq!(logs.followed.of("p(x)"), [Path::new("/log/sub/q.log")]);
        logs.follow(config("/var/other.log", "three")).unwrap();
        assert_eq!(logs.followed.all().len(), 2);
        assert!(!logs.followed.all()[1].metrics);
        logs.follow(config("mine.log", "three")).unwrap();
        assert_eq!(logs.followed.all().len(), 2);
        logs.unfollow("/var/other.log").unwrap();
        assert_eq!(logs.followed.all().len(), 1);
    }

    #[test]
    fn a_path_that_is_none_of_a_plugins_is_refused() {
        let mut logs = logs(false);
        let (mut out, _) = emitter("p(x)", WriteLimit::none(), &[]);
        for (path, reason) in [
            ("", "no path"),
            ("/", "no path"),
            ("a\0b", "no path"),
            ("../etc/cron.d/x", "upwards"),
            ("/log/../etc/x", "upwards"),
            ("/etc/cron.d/x", "agent_log_path"),
            ("/logs/x", "agent_log_path"),
            ("agent.log", "agent's own"),
            ("/log/./agent.log", "agent's own"),
            ("*.log", "pattern"),
        ] {
            let error = logs.own(config(path, "p"), &mut out).unwrap_err();
            assert!(error.contains(reason), "{path}: {error}");
        }
        assert!(logs.followed.all().is_empty());
    }

    #[test]
    fn a_plugin_with_a_user_of_its_own_has_the_agent_neither_read_nor_write_for_it() {
        let mut logs = logs(true);
        let (mut out, _) = emitter("p(x)", WriteLimit::none(), &[]);
        assert!(logs.follow(config("/etc/shadow", "p")).is_err());
        assert!(logs.own(config("other.log", "p"), &mut out).is_err());
        assert!(logs.followed.all().is_empty());
        // Labels alone do no harm
        logs.own(config("p.log", "one"), &mut out).unwrap();
        assert_eq!(logs.followed.all().len(), 1);
    }

    #[test]
    fn a_plugin_that_names_ever_new_logs_is_bounded_and_those_that_are_gone_make_room() {
        let scratch = common::testing::Scratch::new("plugin-logs");
        let logs = logs(false);
        for n in 0..MOST {
            let path = scratch.path(&n.to_string());
            std::fs::write(&path, "").unwrap();
            logs.follow(config(path.to_str().unwrap(), "p")).unwrap();
        }
        let further = scratch.path("further");
        let further = further.to_str().unwrap();
        assert!(logs.follow(config(further, "p")).is_err());
        std::fs::remove_file(scratch.path("7")).unwrap();
        logs.follow(config(further, "p")).unwrap();
        assert_eq!(logs.followed.all().len(), MOST);
    }
}
