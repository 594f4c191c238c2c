//! Which monitors there are, by name.

use crate::monitor::{short_name, Description};
use std::fmt;

const PREFIX: &str = "scalyr_agent.builtin_monitors.";

/// The monitors of this build, sorted by name.
pub const ALL: &[&Description] = &[
    #[cfg(feature = "apache-monitor")]
    &crate::apache_monitor::DESCRIPTION,
    &crate::garbage_monitor::DESCRIPTION,
    &crate::graphite_monitor::DESCRIPTION,
    &crate::journald_monitor::DESCRIPTION,
    &crate::linux_process_metrics::DESCRIPTION,
    &crate::linux_system_metrics::DESCRIPTION,
    #[cfg(feature = "mysql-monitor")]
    &crate::mysql_monitor::DESCRIPTION,
    #[cfg(feature = "nginx-monitor")]
    &crate::nginx_monitor::DESCRIPTION,
    #[cfg(feature = "openmetrics-monitor")]
    &crate::openmetrics_monitor::DESCRIPTION,
    #[cfg(feature = "postgres-monitor")]
    &crate::postgres_monitor::DESCRIPTION,
    #[cfg(feature = "redis-monitor")]
    &crate::redis_monitor::DESCRIPTION,
    &crate::shell_monitor::DESCRIPTION,
    #[cfg(feature = "snmp-monitor")]
    &crate::snmp_monitor::DESCRIPTION,
    &crate::symlink_file_monitor::DESCRIPTION,
    &crate::syslog_monitor::DESCRIPTION,
    &crate::test_monitor::DESCRIPTION,
    #[cfg(feature = "tomcat-monitor")]
    &crate::tomcat_monitor::DESCRIPTION,
    &crate::url_monitor::DESCRIPTION,
];

/// Monitors that the Python agent brings along and this version, or a build without their cargo
/// features, does not have. A configuration that names them stays valid.
const NOT_YET: &[&str] = &[
    "apache_monitor",
    "docker_monitor",
    "kubernetes_events_monitor",
    "kubernetes_monitor",
    "kubernetes_openmetrics_monitor",
    "mysql_monitor",
    "nginx_monitor",
    "openmetrics_monitor",
    "postgres_monitor",
    "redis_monitor",
    "snmp_monitor",
    "tomcat_monitor",
];

/// The beginning of the text about a name that nothing goes by.
pub(crate) const UNKNOWN: &str = "there is no monitor";

/// Why there is no monitor of that name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotFound {
    /// The name is a known one, but this build cannot run it. Worth a warning, not a refusal.
    NotYet(String),
    /// Nothing goes by that name.
    Unknown(String),
}

impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            NotFound::NotYet(module) => {
                write!(f, "monitor \"{module}\" is not part of this build")?;
            }
            NotFound::Unknown(module) => {
                write!(f, "{UNKNOWN} \"{module}\"")?;
                let names = ALL.iter().flat_map(|d| [d.module, d.short_name()]);
                if let Some(near) = common::words::nearest(module, names) {
                    write!(f, " (did you mean {near}?)")?;
                }
            }
        }
        f.write_str("; `scalyr-agent-2 monitors` lists those that there are")
    }
}

impl std::error::Error for NotFound {}

/// The monitor of a name, which may be the full module name or its last part.
///
/// # Errors
/// [`NotFound`], whose text names those that there are.
pub fn find(name: &str) -> Result<&'static Description, NotFound> {
    if let Some(found) = ALL
        .iter()
        .find(|d| d.module == name || d.short_name() == name)
    {
        return Ok(found);
    }
    let known =
        NOT_YET.contains(&short_name(name)) && (!name.contains('.') || name.starts_with(PREFIX));
    Err(if known {
        NotFound::NotYet(name.to_owned())
    } else {
        NotFound::Unknown(name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_monitor_is_found_by_its_full_and_its_short_name() {
        for name in [
            "linux_system_metrics",
            "scalyr_agent.builtin_monitors.linux_system_metrics",
        ] {
            assert_eq!(find(name).unwrap().short_name(), "linux_system_metrics");
        }
    }

    #[test]
    fn a_misspelt_name_is_told_apart_from_one_that_is_still_to_come() {
        let error = find("linux_systm_metrics").unwrap_err();
        assert_eq!(error, NotFound::Unknown("linux_systm_metrics".to_owned()));
        let text = error.to_string();
        assert!(text.contains("(did you mean linux_system_metrics?)"));
        assert!(text.contains("scalyr-agent-2 monitors"));
        let module = "scalyr_agent.builtin_monitors.docker_monitor";
        assert_eq!(
            find(module).unwrap_err(),
            NotFound::NotYet(module.to_owned())
        );
        assert!(matches!(
            find("my.own.docker_monitor"),
            Err(NotFound::Unknown(_))
        ));
    }

    #[test]
    fn every_declaration_is_sound() {
        for description in ALL {
            let mut names: Vec<_> = description.options.iter().map(|o| o.name).collect();
            names.sort_unstable();
            assert!(names.windows(2).all(|w| w[0] != w[1]), "{names:?}");
            for option in description.options.iter().chain(crate::options::COMMON) {
                assert!(!option.text.is_empty(), "{}", option.name);
            }
            for metric in description.metrics {
                assert!(!metric.text.is_empty(), "{}", metric.name);
            }
        }
    }
}
