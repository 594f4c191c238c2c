//! What a plug-in gets of the agent's environment.

use std::ffi::OsString;

/// A variable whose name contains one of these, in whatever case, is kept from plug-ins.
const SECRET: [&str; 9] = [
    "API_KEY",
    "APIKEY",
    "ACCESS_KEY",
    "PRIVATE_KEY",
    "TOKEN",
    "SECRET",
    "PASSWORD",
    "PASSWD",
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

/// The variables that a plug-in gets: no secrets, no addresses of proxies with a password in them,
/// unless the configuration names them in `allowed`.
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
            || (upper.ends_with("_PROXY") && value.to_string_lossy().contains('@'));
        !secret && !OURS.contains(&upper.as_str())
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
                "HTTP_PROXY"
            ]
        );
    }
}
