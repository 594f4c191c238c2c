//! The text report, in two forms. In the whole one the lines of the Python agent are as there, byte for
//! byte, since scripts look for them, and our own facts are lines of their own in between. The short one
//! is for people: 80 columns, a row for each file, and beneath it what is to be said of it.

use super::data::{ConfigStatus, CopyingStatus, MonitorStatus, Report, SessionStatus};
use super::health::{Problem, Severity};
use super::lines::Text;
use super::rows;
use crate::util::time::human;
use crate::util::words::count;
use std::fmt::{Display, Write};

/// The response text in the report is cut to this many characters.
const MOST_RESPONSE_CHARS: usize = 1000;

/// The whole report, ending in a newline.
pub fn render(report: &Report) -> String {
    written(Text::new(false), report)
}

/// The report for people, of 80 columns, ending in a newline.
pub fn render_short(report: &Report) -> String {
    written(Text::new(true), report)
}

fn written(mut text: Text, report: &Report) -> String {
    head(&mut text, report);
    glance(&mut text, report);
    configuration(&mut text, report);
    if let Some(copying) = &report.copying_manager_status {
        transmission(&mut text, report, copying);
    }
    if let Some(monitors) = &report.monitor_manager_status {
        heading(&mut text, "Monitors:", '=');
        period(&mut text, report);
        self::monitors(&mut text, &monitors.monitors_status);
    }
    text.finish()
}

fn heading(text: &mut Text, title: &str, underline: char) {
    text.end();
    text.end();
    text.line(title);
    text.line(underline.to_string().repeat(title.len()));
    text.end();
}

fn period(text: &mut Text, report: &Report) {
    let from = human(Some(report.config_status.last_good_read));
    text.line(format_args!(
        "(these statistics cover the period from {from})"
    ));
    text.end();
}

fn head(text: &mut Text, report: &Report) {
    text.line("Scalyr Agent status.  See https://www.scalyr.com/help/scalyr-agent-2 for help");
    text.end();
    let pairs: [(&str, &dyn Display); 11] = [
        ("Current time:", &human(Some(report.now))),
        ("Agent started at:", &human(Some(report.launch_time))),
        ("Main process pid:", &report.pid),
        ("Version:", &report.version),
        ("VCS revision:", &report.revision),
        ("Python version:", &report.python_version),
        ("Agent running as:", &report.user),
        ("Agent log:", &report.log_path),
        ("ServerHost:", &report.server_host),
        ("Compression algorithm:", &report.compression_type),
        ("Compression level:", &report.compression_level),
    ];
    for (label, value) in pairs {
        text.pair(25, label, value);
    }
    if let Some(seconds) = report.avg_status_report_duration {
        text.pair(
            25,
            "Average status time:",
            format_args!("{} sec.", rounded(seconds)),
        );
    }
    text.end();
    text.part("View data from this agent at:");
    match text.wraps() {
        true => {
            text.end();
            text.part("  ");
        }
        false => text.part(" "),
    }
    text.part(format_args!(
        "{}/events?filter=$serverHost%3D%27{}%27",
        view_server(&report.scalyr_server),
        form_encoded(&report.server_host)
    ));
    text.end_whole();
}

/// Four decimals at most, as Python writes a rounded float: `0.0011`, `0.5`, `2.0`.
fn rounded(seconds: f64) -> String {
    format!("{:?}", (seconds * 1e4).round() / 1e4)
}

/// The web interface's address for a server's.
fn view_server(server: &str) -> String {
    for name in ["agent", "log", "upload", "app"] {
        if let Some(rest) = server.strip_prefix(&format!("https://{name}.")) {
            return format!("https://www.{rest}");
        }
    }
    server.to_owned()
}

fn form_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-' | b'~' => {
                out.push(char::from(byte));
            }
            b' ' => out.push('+'),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

/// Figures that the Python agent's report lacks: how far behind, for how long still, at what cost.
fn glance(text: &mut Text, report: &Report) {
    const WIDTH: usize = 23;
    let glance = &report.at_a_glance;
    heading(text, "At a glance:", '=');
    for problem in &glance.problems {
        text.prose(WIDTH, label_of(problem), &problem.text);
        text.prose(WIDTH, "Remedy:", problem.remedy);
    }
    let speed = glance
        .bytes_per_second
        .map_or_else(String::new, |speed| format!(", {}/s", size(speed)));
    let drain = glance
        .drain_secs
        .map_or_else(String::new, |secs| format!(", gone in {}", span(secs)));
    text.pair(
        WIDTH,
        "Backlog:",
        format_args!("{}{drain}{speed}", size(glance.backlog_bytes as f64)),
    );
    let age = glance.last_success_age;
    text.pair(
        WIDTH,
        "Last good request:",
        age.map_or_else(
            || "none yet".to_owned(),
            |secs| format!("{} ago", span(secs)),
        ),
    );
    let a = &glance.account;
    let lost = match a.unaccounted {
        0 => String::new(),
        bytes => format!(", {bytes} unaccounted for"),
    };
    text.pair(
        WIDTH,
        "Bytes taken:",
        format_args!(
            "{} = {} copied + {} sampled out + {} by which rules shorten + {} skipped + {} failed{lost}",
            a.settled, a.copied, a.sampled_out, a.shortened, a.skipped, a.failed
        ),
    );
    let cpu = glance.cpu_percent.map_or_else(
        || format!("{:.2} s of CPU", glance.cpu_secs),
        |percent| format!("{percent:.2} % of a CPU"),
    );
    let memory = glance.resident_bytes.map_or_else(String::new, |bytes| {
        format!(", {} of memory", size(bytes as f64))
    });
    let threads = glance
        .threads
        .map_or_else(String::new, |n| format!(", {}", count(n, "thread")));
    text.pair(
        WIDTH,
        "The agent takes:",
        format_args!(
            "{cpu}{memory}{threads}, {}",
            count(glance.open_log_files, "open log file")
        ),
    );
    let told = |note: &&String| !glance.problems.iter().any(|problem| problem.text == **note);
    for note in glance.checkpoints.iter().filter(told) {
        text.prose(WIDTH, "Checkpoints:", note);
    }
    for path in &glance.hanging {
        text.pair(WIDTH, "Hangs at:", path);
    }
    let (folders, without) = match &glance.hints {
        Some(hints) => (hints.folders, Some(&hints.without)),
        None => (0, None),
    };
    text.prose(
        WIDTH,
        "The kernel tells of:",
        &format!("changes in {}", count(folders, "folder")),
    );
    for (reason, folders) in without.into_iter().flatten() {
        let folders = count(*folders, "folder");
        text.prose(WIDTH, "and not of:", &format!("{folders}: {reason}"));
    }
    for (reason, count) in &glance.ambiguities {
        let times = if *count == 1 { "time" } else { "times" };
        text.prose(WIDTH, "Ambiguous:", &format!("{count} {times}: {reason}"));
    }
}

fn label_of(problem: &Problem) -> &'static str {
    match problem.severity {
        Severity::Warning => "Warning:",
        Severity::Stuck | Severity::Bad => "Problem:",
    }
}

/// `0 bytes`, `900 bytes`, `1.5 kB`, `12 MB`.
fn size(bytes: f64) -> String {
    let mut value = bytes;
    for unit in ["bytes", "kB", "MB", "GB"] {
        if value < 1000.0 {
            let digits = usize::from(unit != "bytes" && value < 10.0);
            if bytes == 1.0 {
                return "1 byte".to_owned();
            }
            return format!("{value:.digits$} {unit}");
        }
        value /= 1000.0;
    }
    format!("{value:.1} TB")
}

/// `12 s`, `5 min`, `3.5 h`, `2.1 days`.
pub(super) fn span(secs: f64) -> String {
    match secs {
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7_200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3_600.0),
        s => format!("{:.1} days", s / 86_400.0),
    }
}

fn configuration(text: &mut Text, report: &Report) {
    const WIDTH: usize = 23;
    heading(text, "Agent configuration:", '=');
    let config = &report.config_status;
    let label = if config.additional_paths.is_empty() {
        "Configuration file:"
    } else {
        "Configuration files:"
    };
    text.pair(WIDTH, label, &config.path);
    for path in &config.additional_paths {
        text.pair(WIDTH, "", path);
    }
    let bad = config.status != ConfigStatus::GOOD;
    text.pair(
        WIDTH,
        "Status:",
        if bad {
            "Bad (could not parse, using last good version)"
        } else {
            "Good (files parsed successfully)"
        },
    );
    if let (true, Some(error)) = (bad, &config.last_error) {
        text.pair(WIDTH, "Parsing error:", error);
    }
    not_acted_on(text, config);
    text.pair(WIDTH, "Last checked:", human(config.last_check_time));
    text.pair(
        WIDTH,
        "Last changed observed:",
        human(Some(config.last_read_time)),
    );
    text.end();
    for (k, (name, value)) in report.environment.iter().enumerate() {
        text.pair(
            WIDTH,
            if k == 0 { "Environment variables:" } else { "" },
            format_args!("{name} = {}", value.as_deref().unwrap_or("<Missing>")),
        );
    }
}

/// The parts of the configuration that nothing acts on, in 79 columns.
fn not_acted_on(text: &mut Text, config: &ConfigStatus) {
    if !config.not_acted_on.is_empty() {
        text.line("Not acted on:");
    }
    for sentence in &config.not_acted_on {
        let mut line = String::from(" ");
        for word in sentence.split(' ') {
            if line.chars().count() + 1 + word.chars().count() > 79 {
                text.line(&line);
                line = String::from("   ");
            }
            line.push(' ');
            line.push_str(word);
        }
        text.line(&line);
    }
}

fn transmission(text: &mut Text, report: &Report, copying: &CopyingStatus) {
    heading(text, "Log transmission:", '=');
    period(text, report);
    match copying.only_session() {
        Some(session) => {
            let health = copying.health(&report.at_a_glance.problems);
            session_lines(text, "", session, health, report);
            text.end();
        }
        None => several_sessions(text, report, copying),
    }
    rows::files(text, copying);
}

fn session_lines(
    text: &mut Text,
    indent: &str,
    session: &SessionStatus,
    health: Option<String>,
    report: &Report,
) {
    const WIDTH: usize = 43;
    let text_wraps = text.wraps();
    let mut pair = |label: &str, value: &dyn Display| {
        text.part(format_args!("{indent}"));
        text.pair(WIDTH, label, value);
    };
    pair(
        "Bytes uploaded successfully:",
        &session.total_bytes_uploaded,
    );
    pair(
        "Last successful communication with Scalyr:",
        &human(session.last_success_time),
    );
    pair("Last attempt:", &human(session.last_attempt_time));
    if let Some(size) = session.last_attempt_size {
        pair("Last copy request size:", &size);
    }
    if let Some(status) = &session.last_response_status {
        // Where no response came, the Python agent has an empty one.
        let response = session.last_response.as_deref().unwrap_or_default();
        pair("Last copy response size:", &response.chars().count());
        pair("Last copy response status:", status);
        // Where no response came, only scripts expect the line
        if status != "success" && !(text_wraps && response.is_empty()) {
            pair("Last copy response:", &cut(response));
        }
    }
    if let Some(error) = &session.last_error {
        pair("Last error:", &cut(error));
    }
    if let Some(time) = session.next_retry_time {
        pair("Next retry:", &human(Some(time)));
    }
    if session.total_errors > 0 {
        pair(
            "Total responses with errors:",
            &format_args!(
                "{} (see '{}' for details)",
                session.total_errors, report.log_path
            ),
        );
    }
    if let Some(health) = health {
        text.part(indent);
        text.pair(WIDTH, "Health check:", health);
    }
}

pub(super) fn cut(text: &str) -> String {
    text.chars().take(MOST_RESPONSE_CHARS).collect()
}

fn several_sessions(text: &mut Text, report: &Report, copying: &CopyingStatus) {
    const WIDTH: usize = 49;
    text.pair(WIDTH, "Total bytes uploaded:", copying.total_bytes_uploaded);
    if let Some(health) = copying.health(&report.at_a_glance.problems) {
        text.pair(WIDTH, "Overall health check:", health);
    }
    if copying.total_errors > 0 {
        text.pair(WIDTH, "Total errors occurred:", copying.total_errors);
    }
    text.end();
    text.line("Uploads statistics by worker:");
    for worker in &copying.workers {
        text.line(format_args!(" Worker {}:", worker.worker_id));
        for session in &worker.sessions {
            text.line(format_args!("    Session {}:", session.session_id));
            let health = session.health_check_result.clone();
            session_lines(text, "      ", session, health, report);
            text.end();
        }
    }
    if text.wraps() {
        // Each file has its row below
        return;
    }
    text.line(" Log files associated with workers:");
    for worker in &copying.workers {
        let with_files = |session: &&SessionStatus| !session.log_processors.is_empty();
        if !worker.sessions.iter().any(|session| with_files(&session)) {
            continue;
        }
        text.line(format_args!("  Worker {}:", worker.worker_id));
        for session in worker.sessions.iter().filter(with_files) {
            if worker.sessions.len() > 1 {
                text.line(format_args!("    Session {}:", session.session_id));
            }
            for file in &session.log_processors {
                text.line(format_args!("        {}", file.log_path));
            }
        }
    }
    text.end();
}

fn monitors(text: &mut Text, monitors: &[MonitorStatus]) {
    let (alive, dead): (Vec<_>, Vec<_>) = monitors.iter().partition(|monitor| monitor.is_alive);
    let indent = if dead.is_empty() { "" } else { "  " };
    if !dead.is_empty() {
        text.line("Running monitors:");
    }
    for monitor in alive {
        text.line(format_args!(
            "{indent}{}: {}{}",
            monitor.monitor_name,
            emitted(text, monitor),
            if monitor.stop_agent_on_failure {
                ", stop_agent_on_failure=true"
            } else {
                ""
            }
        ));
        details(text, &format!("{indent}  "), monitor);
    }
    if !dead.is_empty() {
        text.end();
        text.line("Failed monitors:");
        for monitor in dead {
            text.line(format_args!(
                "  {} {}",
                monitor.monitor_name,
                emitted(text, monitor)
            ));
            details(text, "    ", monitor);
        }
    }
}

fn emitted(text: &Text, monitor: &MonitorStatus) -> String {
    let (lines, errors) = (monitor.reported_lines, monitor.errors);
    match text.wraps() {
        true => format!(
            "{} emitted, {}",
            count(lines, "line"),
            count(errors, "error")
        ),
        false => format!("{lines} lines emitted, {errors} errors"),
    }
}

/// Figures of a monitor that the Python agent's report lacks; lines with nothing in them are left
/// out.
fn details(text: &mut Text, indent: &str, monitor: &MonitorStatus) {
    if monitor.last_sample.is_some() {
        text.line(format_args!(
            "{indent}last sample: {}",
            human(monitor.last_sample)
        ));
    }
    if let Some(secs) = monitor.busy_secs.filter(|secs| *secs >= 5.0) {
        text.line(format_args!("{indent}busy with a sample for {secs:.0} s"));
    }
    for (number, what, fate) in [
        (monitor.dropped_lines, "line", " dropped by its write limit"),
        (monitor.lost_lines, "line", " that could not be written"),
        (monitor.restarts, "restart", ""),
    ] {
        if number > 0 {
            text.line(format_args!("{indent}{}{fate}", count(number, what)));
        }
    }
    for (name, count) in monitor.counters.iter().filter(|(_, count)| **count > 0) {
        text.line(format_args!("{indent}{}: {count}", name.replace('_', " ")));
    }
    if let Some(error) = &monitor.last_error {
        text.line(format_args!(
            "{indent}last error: {} ({})",
            cut(error),
            human(monitor.last_error_time)
        ));
    }
}
