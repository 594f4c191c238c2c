//! `status` tells the truth about delivery: an agent that delivers nothing never says that it is well, a probe
//! that restarts agents is not set off by an outage, and a monitoring system is.

mod common;

use common::{Said, Site};
use receiver::Fault;
use serde_json::{json, Value};
use std::fs::{self, Permissions};
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The health that a probe, a monitoring system and an operator are told.
fn health(site: &Site) -> (Said, Said) {
    let probe = site.run(&["status", "-H"]);
    let monitoring = site.run(&["status", "-H", "--delivery"]);
    (probe, monitoring)
}

/// All places say that nothing is delivered and why, and nobody is told to restart the agent.
#[track_caller]
fn is_told(site: &Site, words: &[&str], remedy: &str) {
    let mut seen = None;
    site.until_seen("it is told", || {
        let (probe, monitoring) = health(site);
        let first = probe.out.lines().next().unwrap_or_default().to_owned();
        let is_it = first.starts_with("Health check: Not delivering: ")
            && words.iter().all(|word| first.contains(word));
        let done = is_it && monitoring.code == 2;
        seen = Some((probe, monitoring));
        done
    });
    let (probe, monitoring) = seen.unwrap();
    assert_eq!(probe.code, 0, "no restart mends it: {probe:?}");
    assert_eq!(probe.out.lines().next(), monitoring.out.lines().next());
    let second = probe.out.lines().nth(1).unwrap();
    assert!(
        second.starts_with("Remedy: ") && second.contains(remedy),
        "{probe:?}"
    );
    let said = site.run(&["status", "-v"]);
    assert_eq!(said.code, 0, "{said:?}");
    let (_, glance) = said
        .out
        .split_once("At a glance:\n============\n\n")
        .unwrap();
    assert!(glance.starts_with("Problem:"), "{glance}");
    let flat: Vec<&str> = glance.split_whitespace().collect();
    let flat = flat.join(" ");
    for word in words.iter().chain([&remedy]) {
        assert!(flat.contains(word), "{word}: {glance}");
    }
    assert!(!said
        .out
        .contains("Health check:                              Good"));
    let whole = site.run(&["status", "-v", "--all", "--delivery"]);
    assert_eq!(whole.code, 2, "{whole:?}");
    let report = site.status_json();
    let problem = &report["at_a_glance"]["problems"][0];
    assert_eq!(problem["severity"], "bad", "{problem}");
    let text = problem["text"].as_str().unwrap();
    assert!(words.iter().all(|word| text.contains(word)), "{problem}");
    let told = &report["copying_manager_status"]["health_check_result"];
    assert!(
        told.as_str().unwrap().starts_with("Not delivering: "),
        "{told}"
    );
    // It asks the server too, which takes long if that is silent
    if remedy.is_empty() {
        return;
    }
    let said = site.run(&["check"]);
    assert!(!said.out.contains("it is well"), "{}", said.out);
    assert!(
        said.out.contains("it says: Not delivering: "),
        "{}",
        said.out
    );
    assert_ne!(said.code, 0);
}

/// The agent is well again, by itself.
#[track_caller]
fn is_over(site: &Site) {
    site.until_seen("it is over", || {
        let (probe, monitoring) = health(site);
        (&*probe.out, probe.code, monitoring.code) == ("Health check: Good\n", 0, 0)
    });
    let report = site.status_json();
    assert_eq!(report["at_a_glance"]["problems"], json!([]));
    assert_eq!(
        report["copying_manager_status"]["health_check_result"],
        "Good"
    );
}

/// An agent that has delivered the first line of `a.log`.
fn delivering() -> Site {
    let mut site = Site::new();
    site.append("a.log", "one\n");
    site.copy("a.log").start();
    site.until_lines("a.log", 1);
    is_over(&site);
    site
}

#[test]
fn a_key_that_the_server_begins_to_refuse_is_told_at_once_and_in_all_its_forms() {
    let mut site = delivering();
    for (fault, word) in [
        (
            Fault::json("error/client/badParam"),
            "error/client/badParam",
        ),
        (
            Fault::json("error/client/noPermission/missingPermission"),
            "error/client/noPermission",
        ),
        (Fault::status(401), "HTTP 401"),
        (Fault::status(403), "HTTP 403"),
        (
            Fault::body(
                401,
                r#"{"status": "error/client/noPermission/invalidApiKey"}"#,
            ),
            "invalidApiKey",
        ),
    ] {
        site.receiver.fault(fault.until_cleared());
        is_told(&site, &["API key", word], "config --set-key");
        site.receiver.clear_faults();
        is_over(&site);
    }
    site.term();
}

#[test]
fn a_server_that_only_answers_nonsense_is_bad_when_the_time_for_that_is_over() {
    let mut site = Site::new();
    site.set("healthy_max_time_without_delivery", 1);
    site.append("a.log", "one\n");
    site.copy("a.log").start();
    site.until_lines("a.log", 1);
    for (fault, word) in [
        (Fault::status(429), "too busy"),
        (Fault::retry_after(503, "1"), "HTTP 503"),
        (Fault::json("error/server/backoff"), "error/server"),
        (Fault::status(200), "not the ingest API"),
        (Fault::status(404), "not the ingest API"),
        (Fault::redirect(302, "/login"), "not the ingest API"),
        (Fault::empty(), "not the ingest API"),
        (Fault::silence(), "awaited"),
        (Fault::cut_before_storing(), "does not answer"),
    ] {
        site.receiver.fault(fault.until_cleared());
        site.append("a.log", "more\n");
        is_told(&site, &[word], "");
        site.receiver.clear_faults();
        is_over(&site);
    }
    site.term();
}

#[test]
fn a_short_outage_is_a_warning_and_sets_nobody_off() {
    let mut site = delivering();
    site.receiver.fault(Fault::status(503).until_cleared());
    let mut monitoring = None;
    site.until_seen("a warning", || {
        let said = site.run(&["status", "-H", "--delivery"]);
        let is_it = said.out.contains("\nWarning: ");
        monitoring = Some(said);
        is_it
    });
    let said = monitoring.unwrap();
    assert_eq!(said.code, 0, "{said:?}");
    let lines: Vec<&str> = said.out.lines().collect();
    let [first, warning, remedy] = lines[..] else {
        panic!("{said:?}");
    };
    assert_eq!(first, "Health check: Good");
    assert!(
        warning.contains("answers with errors (HTTP 503)"),
        "{warning}"
    );
    assert!(remedy.starts_with("Remedy: "), "{remedy}");
    let text = site.status_v();
    let (_, glance) = text.split_once("At a glance:\n============\n\n").unwrap();
    assert!(glance.starts_with("Warning:"), "{glance}");
    site.receiver.clear_faults();
    is_over(&site);
    site.term();
}

#[test]
fn an_agent_that_never_reached_its_server_says_so_although_little_time_is_over() {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr());
    let refused = format!("http://{}", free.unwrap());
    for (server, word, remedy) in [
        (&*refused, "nothing takes connections", "scalyr_server"),
        (
            "http://no-such-host.invalid",
            "can't be looked up",
            "resolv.conf",
        ),
    ] {
        let mut site = Site::new();
        site.append("a.log", "one\n");
        site.set("scalyr_server", server);
        site.copy("a.log").start();
        is_told(&site, &[word, server, "since the start"], remedy);
        site.term();
    }
}

#[test]
fn a_server_that_does_not_speak_tls_is_told() {
    let mut site = Site::new();
    site.append("a.log", "one\n");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = stream.and_then(|mut stream| {
                stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            });
        }
    });
    site.set("scalyr_server", format!("https://{address}"));
    site.copy("a.log").start();
    is_told(&site, &["no TLS connection"], "scalyr-agent-2 check");
    site.term();
}

#[test]
fn an_agent_that_was_told_to_send_nothing_does_not_pass_for_well() {
    let mut site = Site::new();
    site.set("disable_send_requests", true);
    site.append("a.log", "one\n");
    site.copy("a.log").start();
    site.until_seen("it is told", || {
        let (probe, monitoring) = health(&site);
        probe.out.contains("Not delivering: disable_send_requests") && monitoring.code == 2
    });
    site.term();
}

#[test]
fn files_that_are_named_and_can_not_be_read_are_told_with_the_reason() {
    let mut site = Site::new();
    if !site.respect_modes() {
        return;
    }
    let mode =
        |path: PathBuf, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    for name in [
        "open.log",
        "secret.log",
        "hidden.log",
        "some/a.log",
        "some/b.log",
    ] {
        fs::create_dir_all(site.log_path("some")).unwrap();
        site.append(name, "one\n");
    }
    fs::create_dir(site.log_path("folder")).unwrap();
    fs::create_dir(site.log_path("closed")).unwrap();
    site.append("closed/x.log", "one\n");
    site.copy("open.log").start();
    site.until_lines("open.log", 1);
    is_over(&site);

    for (entry, path, why) in [
        ("secret.log", "secret.log", "Permission denied"),
        ("folder", "folder", "it is a directory"),
        ("closed/x.log", "closed/x.log", "Permission denied"),
        (
            "closed/*.log",
            "closed",
            "it can't be listed: Permission denied",
        ),
        (
            "closed/**/*.log",
            "closed",
            "it can't be listed: Permission denied",
        ),
        ("hidden*", "hidden.log", "Permission denied"),
    ] {
        mode(site.log_path("secret.log"), 0o000);
        mode(site.log_path("hidden.log"), 0o000);
        mode(site.log_path("closed"), 0o000);
        site.clear_logs().copy("open.log").copy(entry);
        site.write_config();
        site.signal(nix::sys::signal::Signal::SIGHUP);
        let path = site.log_path(path);
        let path = path.to_str().unwrap();
        is_told(&site, &[path, why], "");
        let text = site.status_v();
        let (_, row) = text.split_once(&format!(" {path}:")).unwrap();
        let (row, beneath) = row.split_once("unreadable: ").unwrap();
        assert!(row.trim().starts_with("copied 0 bytes"), "{text}");
        assert!(beneath.starts_with(why), "{text}");
        let file = site.file_status(path).unwrap();
        assert_eq!(file["state"], "unreadable");
        assert!(file["last_error"].as_str().unwrap().contains(why), "{file}");
        if entry == "folder" {
            fs::remove_dir(site.log_path("folder")).unwrap();
        }
        mode(site.log_path("secret.log"), 0o644);
        mode(site.log_path("hidden.log"), 0o644);
        mode(site.log_path("closed"), 0o755);
        is_over(&site);
    }
    // Where others of the pattern are copied it is no more than a warning
    mode(site.log_path("some/b.log"), 0o000);
    site.clear_logs().copy("some/*.log");
    site.write_config();
    site.signal(nix::sys::signal::Signal::SIGHUP);
    site.until_seen("a warning", || {
        let said = site.run(&["status", "-H", "--delivery"]);
        said.code == 0 && said.out.contains("\nWarning: ") && said.out.contains("some/b.log is not")
    });
    site.term();
}

#[test]
fn a_server_that_is_silent_for_long_has_no_probe_restart_the_agent() {
    let mut site = Site::new();
    site.set("healthy_max_time_since_last_copy_attempt", 2)
        .set("healthy_max_time_without_delivery", 4);
    site.append("a.log", "one\n");
    site.copy("a.log").start();
    site.until_lines("a.log", 1);
    site.receiver.fault(Fault::silence());
    site.append("a.log", "two\n");
    site.until_seen("it is told", || {
        let (probe, monitoring) = health(&site);
        assert_eq!(probe.code, 0, "{probe:?}");
        monitoring.code == 2 && monitoring.out.contains("the answer is awaited")
    });
    site.receiver.clear_faults();
    is_over(&site);
    site.term();
}

#[test]
fn an_agent_that_sends_slowly_as_it_was_told_is_not_stuck() {
    let mut site = Site::new();
    site.set("healthy_max_time_since_last_copy_attempt", 2)
        .set("max_send_rate_enforcement", "100B/s")
        .set("max_allowed_request_size", 2_000)
        .set("min_allowed_request_size", 2_000);
    site.append("a.log", "all the same\n".repeat(2_000));
    site.copy("a.log").start();
    site.until_lines("a.log", 1);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(5) {
        let probe = site.run(&["status", "-H", "--delivery"]);
        assert_eq!(probe.code, 0, "{probe:?}");
    }
    site.kill9();
}

#[test]
fn an_agent_without_a_descriptor_left_still_says_so() {
    let mut site = Site::new();
    for n in 0..40 {
        site.append(&format!("{n}.log"), "one\n");
    }
    site.append("own.txt", "one\n");
    site.set_umask("022; ulimit -n 22");
    site.copy("*.log").copy("own.txt").start();
    let why = "Too many open files";
    site.until_seen("its health", || {
        site.run(&["status", "-H"]).out.contains(why)
    });
    let mut text = String::new();
    site.until_seen("its rows", || {
        text = site.status_v();
        text.contains(&format!("unreadable: {why}"))
    });
    assert!(text.contains("LimitNOFILE="), "{text}");
    let report = site.status_json();
    assert!(report["at_a_glance"]["problems"].to_string().contains(why));
    site.kill9();
}

#[test]
fn an_agent_that_stops_trying_is_still_one_that_a_restart_may_mend() {
    let mut site = delivering();
    site.set("healthy_max_time_since_last_copy_attempt", 0);
    site.write_config();
    site.signal(nix::sys::signal::Signal::SIGHUP);
    // With this limit any time without an attempt is too long
    let mut said = None;
    site.until_seen("it is stuck", || {
        let told = site.run(&["status", "-H"]);
        let is_it = told.code == 2;
        said = Some(told);
        is_it
    });
    let said = said.unwrap();
    let first = said.out.lines().next().unwrap();
    assert!(
        first.starts_with(
            "Health check: Worker session 'default-0' failed, max time since last copy attempt"
        ),
        "{said:?}"
    );
    assert!(
        said.out
            .lines()
            .nth(1)
            .unwrap()
            .contains("scalyr-agent-2 restart"),
        "{said:?}"
    );
    assert_eq!(site.run(&["status", "-v"]).code, 2);
    site.term();
}

#[test]
fn the_report_fits_a_terminal_and_the_whole_one_is_as_it_was() {
    let mut site = Site::new();
    let long = format!("{}.log", "long-name-".repeat(9));
    site.append("a.log", "one\n");
    site.append(&long, "one\ntwo\n");
    site.set("implicit_agent_log_collection", true)
        .set("implicit_agent_process_metrics_monitor", true);
    site.copy("a.log").copy("long*").copy("none.log").start();
    site.until_lines("a.log", 1);
    site.until_lines(&long, 2);
    let mut text = String::new();
    site.until_seen("both are acknowledged", || {
        text = site.status_v();
        text.matches(", 0 bytes pending").count() == 2
            && text.contains("\n2 files of the agent itself")
    });
    let long = site.log_path(&long);
    let long = long.to_str().unwrap();
    for line in text.lines() {
        let is_path = line.trim() == format!("{long}:");
        assert!(line.chars().count() <= 80 || is_path, "{line}\n{text}");
    }
    let path = site.log_path("a.log");
    let what = "copied 4 bytes (1 line), 0 bytes pending\n";
    let one = format!("Path {}: {what}", path.display());
    let two = format!("Path {}:\n  {what}", path.display());
    let row = match one.len() - 1 <= 80 {
        true => one,
        false => two,
    };
    assert!(text.contains(&row), "{text}");
    assert!(
        text.contains(&format!(
            "  {long}:\n    copied 8 bytes (2 lines), 0 bytes pending\n"
        )),
        "{text}"
    );
    assert!(
        text.contains("of the agent itself are well and not shown; status -v --all"),
        "{text}"
    );
    assert_eq!(text.matches("agent.log").count(), 1, "{text}");
    assert!(!text.contains("agent_process"), "{text}");

    let whole = site.run(&["status", "-v", "--all"]).out;
    let row = format!(
        "\nPath {}: copied 4 bytes (1 lines), 0 bytes pending, last checked ",
        path.display()
    );
    assert!(whole.contains(&row), "{whole}");
    assert!(whole.contains("agent.log: copied "), "{whole}");
    // A script that sends the signal by itself and reads the file finds the layout that it knows
    fs::write(site.path("data/last_status"), "").unwrap();
    let _ = fs::remove_file(site.path("data/status_format"));
    site.signal(nix::sys::signal::Signal::SIGUSR1);
    let read = || fs::read_to_string(site.path("data/last_status")).unwrap_or_default();
    site.until_seen("an answer", || !read().is_empty());
    assert!(read().contains(&row), "{}", read());
    site.term();
}

#[test]
fn the_level_of_compression_that_is_told_is_in_use() {
    let told = |options: &[(&str, Value)]| {
        let mut site = Site::new();
        for (name, value) in options {
            site.set(name, value.clone());
        }
        site.append("a.log", "all the same\n".repeat(100));
        site.copy("a.log").start();
        site.until_lines("a.log", 100);
        let level = site.status_json()["compression_level"].clone();
        let text = format!("\nCompression level:       {level}\n");
        assert!(site.status_v().contains(&text));
        site.term();
        level
    };
    assert_eq!(told(&[("compression_level", json!(4))]), 4);
    // One that sends much is told to hurry, and the level says so
    assert_eq!(told(&[]), 6);
    assert_eq!(
        told(&[
            ("compression_type", json!("none")),
            ("compression_level", json!(7))
        ]),
        0
    );
}
