//! The part of the agent's environment that plug-ins get.

use std::ffi::OsString;
use std::path::Path;

/// A variable whose name contains one of these, in whatever case, is kept from plug-ins.
const SECRET: [&str; 12] = [
    "API_KEY",
    "APIKEY",
    "ACCESS_KEY",
    "PRIVATE_KEY",
    "TOKEN",
    "SECRET",
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "_PASS",
    "_PWD",
    "CREDENTIAL",
];

/// Between the agent and its service manager.
const OURS: [&str; 6] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
];

/// The variables that a plug-in gets: no secrets, no addresses of proxies, databases and the like with
/// a password in them, unless the configuration names them in `allowed`.
pub fn for_plugin(
    all: impl Iterator<Item = (OsString, OsString)>,
    allowed: &[String],
) -> Vec<(OsString, OsString)> {
    all.filter(|(name, value)| {
        if allowed.iter().any(|allowed| name == allowed.as_str()) {
            return true;
        }
        let upper = name.to_string_lossy().to_ascii_uppercase();
        let secret = SECRET.iter().any(|part| upper.contains(part))
            || has_password(&value.to_string_lossy())
            || (upper.ends_with("_PROXY") && value.to_string_lossy().contains('@'));
        !secret && !OURS.contains(&upper.as_str())
    })
    .collect()
}

/// Makes the environment that of another user.
pub fn of_user(environment: &mut Vec<(OsString, OsString)>, name: &str, home: &Path) {
    environment.retain(|(key, _)| !["HOME", "USER", "LOGNAME"].iter().any(|own| key == own));
    environment.push(("HOME".into(), home.into()));
    environment.push(("USER".into(), name.into()));
    environment.push(("LOGNAME".into(), name.into()));
}

/// Whether there is an address of the form `scheme://user:password@host` in it.
fn has_password(value: &str) -> bool {
    value.split("://").skip(1).any(|rest| {
        let authority = rest.split(['/', '?', '#', ' ']).next().unwrap_or_default();
        authority
            .rsplit_once('@')
            .is_some_and(|(user, _)| user.contains(':'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_with_another_user_does_not_look_into_roots_home() {
        let mut all = vec![
            ("HOME".into(), "/root".into()),
            ("USER".into(), "root".into()),
            ("PATH".into(), "/bin".into()),
        ];
        of_user(&mut all, "nobody", Path::new("/nonexistent"));
        let pair = |k: &str, v: &str| (OsString::from(k), OsString::from(v));
        assert_eq!(
            all,
            [
                pair("PATH", "/bin"),
                pair("HOME", "/nonexistent"),
                pair("USER", "nobody"),
                pair("LOGNAME", "nobody"),
            ]
        );
    }

    #[test]
    fn secrets_stay_with_the_agent_unless_they_are_named() {
        let all = [
            ("PATH", "/bin"),
            ("SCALYR_API_KEY", "k"),
            ("scalyr_api_key", "k"),
            ("SCALYR_SERVER", "s"),
            ("SCALYR_REDIS_PASSWORD", "p"),
            ("GITHUB_TOKEN", "t"),
            ("AWS_SECRET_ACCESS_KEY", "t"),
            ("https_proxy", "http://u:p@proxy:1"),
            ("HTTP_PROXY", "http://proxy:1"),
            ("NOTIFY_SOCKET", "/run/x"),
            ("PWD", "/"),
            ("MYSQL_PWD", "p"),
            ("DB_PASS", "p"),
            ("DATABASE_URL", "postgres://u:p@db/x"),
            ("HOME_PAGE", "https://example.com/a:b@c"),
        ];
        let kept = for_plugin(
            all.iter().map(|(k, v)| (k.into(), v.into())),
            &["SCALYR_REDIS_PASSWORD".to_owned()],
        );
        let names: Vec<_> = kept.iter().map(|(k, _)| k.to_str().unwrap()).collect();
        assert_eq!(
            names,
            [
                "PATH",
                "SCALYR_SERVER",
                "SCALYR_REDIS_PASSWORD",
                "HTTP_PROXY",
                "PWD",
                "HOME_PAGE"
            ]
        );
    }
}
