//! Health: an agent is well while it keeps *trying*. That the server can't be reached
//! or answers with errors is not the agent's illness.

use serde::Deserialize;

/// The value of every part that is well.
pub const GOOD: &str = "Good";

/// Health of one session: `None` before its first attempt. All in seconds, `limit` is
/// `healthy_max_time_since_last_copy_attempt`.
pub fn session(id: &str, last_attempt: Option<f64>, now: f64, limit: f64) -> Option<String> {
    last_attempt.map(|last| {
        if now - last <= limit {
            return GOOD.to_owned();
        }
        format!(
            "Worker session '{id}' failed, max time since last copy attempt ({limit:?} seconds) exceeded"
        )
    })
}

/// Health of the scan for new files: `None` before the first.
pub fn scan(last_scan: Option<f64>, now: f64, limit: f64) -> Option<String> {
    last_scan.map(|last| {
        if now - last <= limit {
            return GOOD.to_owned();
        }
        format!("Failed, max time since last scan attempt ({limit:?} seconds) exceeded")
    })
}

/// Health of all sessions. One: its own value. Several: good if all are.
pub fn sessions<'a>(each: impl IntoIterator<Item = Option<&'a str>>) -> Option<String> {
    let each: Vec<Option<&str>> = each.into_iter().collect();
    match each.as_slice() {
        [] => None,
        [one] => one.map(str::to_owned),
        several if several.iter().all(|health| *health == Some(GOOD)) => Some(GOOD.to_owned()),
        _ => Some("Some workers have failed.".to_owned()),
    }
}

/// Scan and sessions as one line: the bad parts, else good, else (one of them not known yet) none.
pub fn combined(scan: Option<&str>, sessions: Option<&str>) -> Option<String> {
    let parts = [scan, sessions];
    if parts == [Some(GOOD), Some(GOOD)] {
        return Some(GOOD.to_owned());
    }
    let bad: Vec<&str> = parts
        .into_iter()
        .flatten()
        .filter(|part| *part != GOOD)
        .collect();
    (!bad.is_empty()).then(|| bad.join(", "))
}

/// The health that a report of either format tells, whichever agent wrote it.
///
/// The Python agent's JSON has one of scan and sessions in `health_check_result`, and which one
/// depends on their number; so both keys are looked at here.
pub fn of_report(report: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Top {
        copying_manager_status: Option<Copying>,
    }
    #[derive(Deserialize)]
    struct Copying {
        health_check_result: Option<String>,
        worker_sessions_health_check: Option<String>,
    }
    if let Ok(top) = serde_json::from_str::<Top>(report) {
        let copying = top.copying_manager_status?;
        let main = copying.health_check_result;
        let sessions = copying.worker_sessions_health_check;
        return match (main, sessions) {
            (Some(main), Some(sessions)) if is_good(&main) => Some(sessions),
            (Some(main), Some(sessions)) if !is_good(&sessions) && !main.contains(&sessions) => {
                Some(format!("{main}, {sessions}"))
            }
            (Some(main), _) => Some(main),
            (None, sessions) => sessions,
        };
    }
    report.lines().find_map(|line| {
        let rest = line
            .strip_prefix("Health check:")
            .or_else(|| line.strip_prefix("Overall health check:"))?;
        let value = rest.trim_start();
        (value.len() < rest.len() && !value.is_empty()).then(|| value.trim_end().to_owned())
    })
}

/// The warnings of a JSON report about an agent that is well: each a phrase.
pub fn warnings(report: &str) -> Vec<String> {
    #[derive(Deserialize)]
    struct Top {
        at_a_glance: Glance,
    }
    #[derive(Deserialize)]
    struct Glance {
        #[serde(default)]
        checkpoints: Vec<String>,
    }
    let Ok(top) = serde_json::from_str::<Top>(report) else {
        return Vec::new();
    };
    let notes = top.at_a_glance.checkpoints.into_iter();
    notes.filter(|note| note.starts_with(DEGRADED)).collect()
}

/// The first word of a note that says that positions can't be written down.
pub const DEGRADED: &str = "degraded";

/// Whether a health text means well; any letter case.
pub fn is_good(health: &str) -> bool {
    health.trim().eq_ignore_ascii_case(GOOD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trying_is_healthy_and_being_stuck_is_not() {
        assert_eq!(session("default-0", None, 1000.0, 60.0), None);
        assert_eq!(
            session("default-0", Some(950.0), 1000.0, 60.0).unwrap(),
            GOOD
        );
        assert_eq!(
            session("default-0", Some(900.0), 1000.0, 60.0).unwrap(),
            "Worker session 'default-0' failed, max time since last copy attempt (60.0 seconds) exceeded"
        );
        // a clock that was set back
        assert_eq!(session("x", Some(2000.0), 1000.0, 60.0).unwrap(), GOOD);
        assert_eq!(
            scan(Some(0.0), 1000.0, 90.5).unwrap(),
            "Failed, max time since last scan attempt (90.5 seconds) exceeded"
        );
    }

    #[test]
    fn one_stuck_part_is_enough_to_be_seen() {
        let some = "Some workers have failed.";
        assert_eq!(sessions([]), None);
        assert_eq!(sessions([None]), None);
        assert_eq!(sessions([Some("bad")]).unwrap(), "bad");
        assert_eq!(sessions([Some(GOOD), Some(GOOD)]).unwrap(), GOOD);
        assert_eq!(sessions([Some(GOOD), None]).unwrap(), some);
        assert_eq!(sessions([Some(GOOD), Some("bad")]).unwrap(), some);

        assert_eq!(combined(Some(GOOD), Some(GOOD)).unwrap(), GOOD);
        assert_eq!(combined(Some(GOOD), None), None);
        assert_eq!(combined(None, None), None);
        assert_eq!(combined(Some("a"), Some("b")).unwrap(), "a, b");
        assert_eq!(combined(Some(GOOD), Some("b")).unwrap(), "b");
        assert_eq!(combined(Some("a"), None).unwrap(), "a");
    }

    #[test]
    fn health_is_found_in_the_reports_of_both_agents() {
        let json = |main: &str, sessions: &str| {
            of_report(&format!(
                "{{\"x\": 1, \"copying_manager_status\": {{\"health_check_result\": {main}, \"worker_sessions_health_check\": {sessions}}}}}"
            ))
        };
        assert_eq!(json("\"Good\"", "\"Good\"").unwrap(), "Good");
        assert_eq!(json("\"Good\"", "\"sick\"").unwrap(), "sick");
        assert_eq!(json("\"slow\"", "\"Good\"").unwrap(), "slow");
        assert_eq!(json("\"slow\"", "\"sick\"").unwrap(), "slow, sick");
        assert_eq!(json("\"slow, sick\"", "\"sick\"").unwrap(), "slow, sick");
        assert_eq!(json("null", "null"), None);
        assert_eq!(of_report("{\"copying_manager_status\": null}"), None);

        for (text, expected) in [
            (
                "a\nHealth check:                              Good\nb",
                Some("Good"),
            ),
            (
                "Overall health check:   Some workers have failed.\n",
                Some("Some workers have failed."),
            ),
            ("  Health check:  Good\n", None),
            ("Health check:\n", None),
            ("", None),
            ("Total bytes uploaded: 1\n", None),
        ] {
            assert_eq!(of_report(text).as_deref(), expected, "{text}");
        }
        assert!(is_good("good") && is_good("GOOD") && !is_good("Good enough"));
    }
}
