//! `check`: what is well is said to be, what is not gets a verdict and an advice.

mod common;

use common::{Said, Site};
use receiver::{Fault, Options};
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpListener;

/// Verdicts and advice, with what differs from run to run made alike.
fn shown(site: &Site, said: &Said) -> String {
    let mut text = said.out.clone();
    let uid = nix::unistd::geteuid();
    let user = nix::unistd::User::from_uid(uid).unwrap();
    // Not every user has a name
    let user = user.map_or_else(|| uid.to_string(), |user| user.name);
    for (from, to) in [
        (format!("checked as {user},"), "checked as USER,"),
        (site.path("").display().to_string(), "/SITE/"),
        (site.receiver.url(), "http://SERVER"),
        (site.receiver.port().to_string(), "PORT"),
    ] {
        text = text.replace(&from, to);
    }
    let number = |word: &str| {
        let bare = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        !bare.is_empty() && bare.bytes().all(|b| b.is_ascii_digit())
    };
    let mut lines = Vec::new();
    for line in text.lines() {
        let (indent, rest) = line.split_at(line.len() - line.trim_start().len());
        let words: Vec<String> = rest
            .split(' ')
            .map(|word| match number(word) {
                true => {
                    word.replace(|c: char| c.is_ascii_digit(), "")
                        .replace("()", "")
                        + "N"
                }
                false => word.to_owned(),
            })
            .collect();
        lines.push(format!("{indent}{}", words.join(" ")));
    }
    lines.join("\n")
}

fn check(site: &Site) -> Said {
    site.write_config();
    let mut mode = std::fs::metadata(site.config_path()).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut mode, 0o600);
    std::fs::set_permissions(site.config_path(), mode).unwrap();
    site.run(&["check"])
}

#[test]
fn a_sound_installation_gets_a_clean_bill() {
    let mut site = Site::new();
    site.append("a.log", "one\n");
    site.append("b.log", "two\n");
    site.copy("*.log");
    site.set(
        "monitors",
        json!([{"module": "test_monitor", "gauss_mean": 1}]),
    );
    // As few as any system allows
    site.set("max_open_files", 16);
    let said = check(&site);
    assert_eq!(
        shown(&site, &said),
        "\
Configuration
  ok    checked as USER, as whom the agent runs
  ok    /SITE/conf/agent.json and N fragments can be read
  ok    every rule and monitor makes sense; monitors: test_monitor()
This machine
  ok    log directory /SITE/log is writable, N MiB are free
  ok    data directory /SITE/data is writable, N MiB are free
Files
  ok    /SITE/logs/*.log: N files, readable
  ok    N files may be open, N match
Servers
  ok    the name 127.0.0.1 leads to 127.0.0.1 (N ms)
  ok    127.0.0.1:PORT takes connections (N ms)
  ok    this clock and the server's agree
  ok    http://SERVER takes requests with the API key (N ms)
The agent
  note  no agent runs
        -> scalyr-agent-2 start
N ok, N note, N warnings, N failures"
    );
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    // it is for reading and for scripts: no colours where there is no terminal
    assert!(!said.out.contains('\x1b'));
}

#[test]
fn what_is_wrong_is_named_with_what_to_do() {
    let mut site = Site::with(Options {
        tokens: vec!["another".to_owned()],
        ..Options::default()
    });
    nix::unistd::mkfifo(&site.log_path("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::os::unix::fs::symlink("nowhere", site.log_path("link.log")).unwrap();
    for path in ["pipe", "link.log", "none*", "later.log"] {
        site.copy(path);
    }
    let said = check(&site);
    assert_eq!(said.code, 1);
    for line in [
        "FAIL  {logs}/pipe can't be read: it is a FIFO, socket or device",
        "-> Leave it out with `exclude`; such files are never opened.",
        "FAIL  {logs}/link.log can't be read: No such file or directory",
        "-> A link leads nowhere; remove it or mend it.",
        "note  {logs}/none*: no file matches at the moment",
        "note  {logs}/later.log is not there yet",
        " refuses the API key: ",
        "-> It has to be a key that may write logs",
    ] {
        let line = line.replace("{logs}", site.path("logs").to_str().unwrap());
        assert!(said.out.contains(&line), "{line} is not in\n{}", said.out);
    }
    assert!(!said.out.contains("test-key"), "the key is a secret");
}

#[test]
fn a_server_out_of_reach_is_told_apart_from_a_name_that_leads_nowhere() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    for (server, told) in [
        (
            format!("http://127.0.0.1:{port}"),
            "FAIL  127.0.0.1 can't be reached: ",
        ),
        (
            "http://no-such-host.invalid".to_owned(),
            "FAIL  the name no-such-host.invalid ",
        ),
    ] {
        let mut site = Site::new();
        site.set("scalyr_server", server);
        let said = check(&site);
        assert_eq!(said.code, 1);
        assert!(said.out.contains(told), "{}", said.out);
        let after = said.out.split(told).nth(1).unwrap();
        let advice = after.lines().nth(1).unwrap();
        assert!(advice.trim_start().starts_with("-> Check "), "{advice}");
    }
}

#[test]
fn a_clock_that_is_off_is_seen_by_the_servers_date() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut site = Site::new();
    let address = server.local_addr().unwrap();
    site.set("scalyr_server", format!("http://{address}"));
    let thread = std::thread::spawn(move || {
        // The first connection only shows that there is somebody
        for stream in server.incoming().take(2) {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            if stream.read(&mut request).unwrap_or(0) == 0 {
                continue;
            }
            let answer = "{\"status\":\"success\"}";
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: {}\r\n\r\n{answer}",
                answer.len()
            );
        }
    });
    let said = check(&site);
    thread.join().unwrap();
    assert_eq!(said.code, 1);
    assert!(said.out.contains("FAIL  this clock is "), "{}", said.out);
    assert!(
        said.out.contains(" s ahead of the server's"),
        "{}",
        said.out
    );
}

#[test]
fn a_broken_configuration_is_the_whole_answer() {
    let site = Site::new();
    site.write_config_text("{ api_key: \"k\",\n  logs: [ { path: 5 \n");
    let said = site.run(&["check"]);
    assert_eq!(said.code, 1);
    assert!(said.out.contains("FAIL  "), "{}", said.out);
    assert!(said.out.contains("line "), "{}", said.out);
    assert!(said.out.contains("-> Correct it"), "{}", said.out);
}

#[test]
fn a_running_agent_is_asked_how_it_is() {
    let mut site = Site::new();
    site.append("a.log", "one\n");
    site.copy("a.log").start();
    site.until_lines("a.log", 1);
    let said = site.run(&["check"]);
    assert!(
        said.out
            .contains(&format!("it runs with the process id {}", site.pid())),
        "{}",
        said.out
    );
    assert!(
        said.out.contains("ok    it says that it is well"),
        "{}",
        said.out
    );
    site.term();
}

#[test]
fn an_entry_that_copies_nothing_for_another_comes_first_is_told() {
    let mut site = Site::new();
    site.append("a.log", "one\n");
    site.append("b.log", "two\n");
    for path in ["*.log", "a.log", "b*", "../logs"] {
        site.copy(path);
    }
    nix::unistd::mkfifo(
        &site.log_path("c\x1b[2J\nd.log"),
        nix::sys::stat::Mode::S_IRWXU,
    )
    .unwrap();
    std::os::unix::fs::symlink("loop.log", site.log_path("loop.log")).unwrap();
    let said = check(&site);
    let logs = site.path("logs").display().to_string();
    for line in [
        "note  {logs}/a.log: all that it matches is copied by the entry {logs}/*.log before it",
        "note  {logs}/b*: all that it matches is copied by the entry {logs}/*.log before it",
        "FAIL  {logs}/../logs is a directory",
        "FAIL  {logs}/c [2J d.log can't be read: it is a FIFO",
        "-> Links lead in a circle",
    ] {
        let line = line.replace("{logs}", &logs);
        assert!(said.out.contains(&line), "{line} is not in\n{}", said.out);
    }
}

#[test]
fn an_agent_that_is_stopped_is_told_apart_from_one_that_hangs() {
    let mut site = Site::new();
    site.set("agent_status_timeout", 1);
    site.copy("a.log").start();
    site.until_seen("it runs", || site.run(&["status", "-v"]).code == 0);
    let pid = site.pid();
    site.signal(nix::sys::signal::Signal::SIGSTOP);
    for (command, on_stdout) in [("check", true), ("status", false)] {
        let said = site.run(&[command, "-v"][..if on_stdout { 1 } else { 2 }]);
        assert_eq!(said.code, 1);
        let text = if on_stdout { &said.out } else { &said.err };
        assert!(
            text.contains("Failed to get status within 1 seconds."),
            "{text}"
        );
        assert!(text.contains(&format!("kill -CONT {pid}")), "{text}");
    }
    site.signal(nix::sys::signal::Signal::SIGCONT);
    site.term();
}

/// Each line that begins with a verdict, and its advice.
fn verdicts<'a>(said: &'a Said, verdict: &str) -> Vec<&'a str> {
    let lines = said.out.lines().map(str::trim_start);
    lines.filter(|line| line.starts_with(verdict)).collect()
}

#[test]
fn what_nothing_acts_on_is_a_warning_and_no_clean_bill() {
    let mut site = Site::new();
    site.append("a.log", "one\n");
    site.copy("a.log");
    site.set(
        "monitors",
        json!([
            {"module": "scalyr_agent.builtin_monitors.docker_monitor", "id": "a"},
            {"module": "scalyr_agent.builtin_monitors.docker_monitor", "id": "b"},
            {"module": "scalyr_agent.builtin_monitors.kubernetes_monitor"},
            {"module": "test_monitor", "gauss_mean": 1, "typo": 1, "id": "1"},
            {"module": "test_monitor", "gauss_mean": 1, "typo": 1, "id": "2"},
        ]),
    );
    site.set(
        "journald_logs",
        json!([{"journald_unit": "nginx.*", "parser": "x"}]),
    );
    for option in [
        "k8s_api_url",
        "k8s_kubelet_ca_cert",
        "k8s_ratelimit_strategy",
        "k8s_service_account_cert",
        "k8s_service_account_token",
    ] {
        site.set(option, "x");
    }
    site.set("k8s_logs", json!([{"k8s_pod_glob": "x*"}]));
    site.set("garbage_collect_interval", 5);
    site.set("compresion_type", "none");
    std::os::unix::fs::symlink("nowhere", site.path("conf/agent.d/gone.json")).unwrap();
    let said = check(&site);
    let told = verdicts(&said, "WARN");
    for parts in [
        "monitors docker_monitor (2 times), kubernetes_monitor are not run: not part of this build (first in ",
        "option journald_logs has no effect: no journald_monitor is among the monitors (in ",
        "options k8s_api_url, k8s_kubelet_ca_cert, k8s_service_account_cert, k8s_service_account_token and 2 more have no effect: Kubernetes",
        "option garbage_collect_interval has no effect: it concerns the Python program only (in ",
        "option compresion_type (did you mean \"compression_type\"?) is not known and has no effect (in ",
        "test_monitor option typo (2 times) is not known and has no effect (in ",
        "gone.json is not used: No such file",
    ] {
        let times = told.iter().filter(|line| line.contains(parts)).count();
        assert_eq!(times, 1, "{parts} is not once in\n{}", said.out);
    }
    assert_eq!(told.len(), 7, "{}", said.out);
    assert!(said.out.contains(" 7 warnings, 0 failures"), "{}", said.out);
    assert!(!said.out.contains("every rule and monitor makes sense"));
    for line in told {
        assert!(line.len() < 300, "{line}");
    }
}

#[test]
fn a_name_that_no_monitor_has_is_an_error_with_its_place() {
    let mut site = Site::new();
    site.set("monitors", json!([{"module": "my_own.thing"}]));
    let said = check(&site);
    let told = verdicts(&said, "FAIL");
    assert!(told[0].contains("agent.json, line "), "{}", said.out);
    assert!(told[0].contains("there is no monitor \"my_own.thing\""));
    assert!(told[0].len() < 500, "{}", told[0]);
}

#[test]
fn a_wrong_expression_is_named_with_file_line_and_column() {
    // Line and column of each are those of the mark, which is replaced by a wrong expression
    for (entry, option) in [
        (
            r#"logs: [{path: "/l", lineGroupers: [{start: MARK, haltWith: "a"}]}]"#,
            "lineGroupers[0].start",
        ),
        (
            r#"logs: [{path: "/l", lineGroupers: [{start: "a", haltWith: MARK}]}]"#,
            "lineGroupers[0].haltWith",
        ),
        (
            r#"logs: [{path: "/l", sampling_rules: [{match_expression: MARK, sampling_rate: 1}]}]"#,
            "sampling_rules[0].match_expression",
        ),
        (
            r#"logs: [{path: "/l", redaction_rules: [{match_expression: MARK}]}]"#,
            "redaction_rules[0].match_expression",
        ),
        (
            r#"logs: [{path: "/l", rename_logfile: {match: MARK, replacement: "x"}}]"#,
            "rename_logfile.match",
        ),
        (r#"journald_logs: [{journald_unit: MARK}]"#, "journald_unit"),
        (
            r#"monitors: [{module: "linux_process_metrics", id: "x", commandline: MARK}]"#,
            "commandline",
        ),
        (
            r#"monitors: [{module: "shell_monitor", command: "true", extract: MARK}]"#,
            "extract",
        ),
    ] {
        let site = Site::new();
        let text = site.config_text();
        let text = format!(
            "{},\n\n{entry}}}",
            text.trim_end()
                .trim_end_matches('}')
                .replace("\"logs\": []", "\"import_vars\": []")
        );
        let line = text[..text.find("MARK").unwrap()].matches('\n').count() + 1;
        let column = text.lines().nth(line - 1).unwrap().find("MARK").unwrap() + 1;
        site.write_config_text(&text.replace("MARK", "\"(a\""));
        let place = format!("agent.json, line {line}, column {column}: option ");
        for command in [
            &["check"][..],
            &["start", "--no-fork"],
            &["restart"],
            &["dry-run", "/l"],
            &["explain", "/l"],
        ] {
            let said = site.run(command);
            let told = format!("{}{}", said.out, said.err);
            assert_ne!(said.code, 0, "{command:?}: {told}");
            assert!(told.contains(&place), "{command:?}, {place}: {told}");
            assert!(
                told.contains(&format!("{option}\":")),
                "{command:?}, {option}: {told}"
            );
        }
    }
}

#[test]
fn http_that_becomes_https_is_said() {
    let mut site = Site::new();
    site.unset("allow_http")
        .set("scalyr_server", "http://127.0.0.1:9");
    site.set(
        "workers",
        json!([{"id": "other", "api_key": "k", "server_url": "http://127.0.0.1:8"}]),
    );
    let said = check(&site);
    let told = verdicts(&said, "WARN");
    assert!(
        told[0]
            .contains("\"scalyr_server\": http:// is asked for, but https://127.0.0.1:9 is used"),
        "{}",
        said.out
    );
    assert!(
        told[1].contains("\"workers[0].server_url\": http:// is asked for"),
        "{}",
        said.out
    );
    let said = site.run(&["config", "--set-scalyr-server", "http://127.0.0.1:7"]);
    assert!(
        said.err.contains("but https://127.0.0.1:7 is used"),
        "{said:?}"
    );
}

#[test]
fn a_broken_configuration_does_not_hide_the_agent_from_the_doctor() {
    let mut site = Site::new();
    site.copy("a.log").start();
    site.until_seen("it runs", || site.run(&["status"]).code == 0);
    site.write_config_text("{ api_key: ");
    let said = site.run(&["check"]);
    assert_eq!(said.code, 1);
    let pid = format!("it runs with the process id {}", site.pid());
    assert!(said.out.contains(&pid), "{}", said.out);
    site.term();
}

#[test]
fn a_refused_key_has_one_name_wherever_it_is_met() {
    let mut site = Site::with(Options {
        tokens: vec!["another".to_owned()],
        ..Options::default()
    });
    site.set("check_remote_if_no_tty", true);
    site.write_config();
    let refused = "refuses the API key: error/client/noPermission";
    let advice = "It has to be a key that may write logs, of an account on this server";
    let said = site.run(&["check"]);
    assert!(
        said.out.contains(refused) && said.out.contains(advice),
        "{said:?}"
    );
    let start = ["start", "--no-change-user"];
    let said = site.run(&start);
    assert_eq!(
        said.code, 0,
        "it may pass, as the Python agent has it: {said:?}"
    );
    assert!(
        said.err.contains(refused) && said.err.contains(advice),
        "{said:?}"
    );
    assert!(
        said.err.contains("The agent starts and keeps trying."),
        "{said:?}"
    );
    let log = || std::fs::read_to_string(site.path("log/agent.log")).unwrap_or_default();
    site.until_seen("agent.log tells", || {
        log().contains("the server refuses the API key")
    });
    let log = log();
    let line = log
        .lines()
        .find(|line| line.contains("refuses the API key"))
        .unwrap();
    assert!(
        line.contains("[error=\"error/client/noPermission\"]"),
        "{line}"
    );
    assert!(line.contains(refused) && line.contains(advice), "{line}");
    // The one answer after which the Python agent does not start
    site.receiver
        .fault(Fault::json("error/client/invalidApiKey").until_cleared());
    let pid = std::fs::read_to_string(site.path("log/agent.pid")).unwrap();
    let said = site.run(&["restart", "--no-change-user"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(
        said.err.contains("Nothing was stopped or started."),
        "{said:?}"
    );
    let now = std::fs::read_to_string(site.path("log/agent.pid")).unwrap();
    assert_eq!(
        now, pid,
        "a key that is refused must not cost the running agent"
    );
    assert_eq!(site.run(&["stop", "--no-change-user"]).code, 0);
    let said = site.run(&start);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(
        said.err
            .contains("refuses the API key: error/client/invalidApiKey"),
        "{said:?}"
    );
    assert!(said.err.contains("The agent was not started."), "{said:?}");
}

#[test]
fn root_certificates_that_can_t_be_read_are_said_and_others_count() {
    let mut site = Site::new();
    site.set("scalyr_server", "https://127.0.0.1:9");
    std::fs::write(site.path("empty.pem"), "").unwrap();
    for (file, why) in [
        ("no.pem", "No such file"),
        ("empty.pem", "holds no certificate"),
        ("logs", "Is a directory"),
    ] {
        let path = site.path(file).display().to_string();
        site.set_env("SSL_CERT_FILE", &path);
        let said = check(&site);
        let told = verdicts(&said, "WARN");
        assert_eq!(told.len(), 1, "{}", said.out);
        assert!(
            told[0].contains("SSL_CERT_FILE is not used: "),
            "{}",
            said.out
        );
        assert!(
            told[0].contains(&path) && told[0].contains(why),
            "{}",
            said.out
        );
        let said = site.run(&["start", "--no-change-user"]);
        assert_eq!(said.code, 0, "{said:?}");
        assert_eq!(
            said.err.matches("SSL_CERT_FILE is not used").count(),
            1,
            "{said:?}"
        );
        let log = || std::fs::read_to_string(site.path("log/agent.log")).unwrap_or_default();
        site.until_seen("a connection is tried", || {
            log().contains("connectionFailed")
        });
        let refused = log().contains("connectionFailedConnRefused");
        assert!(
            refused,
            "the certificates of the system are enough to try: {}",
            log()
        );
        assert!(log().contains("SSL_CERT_FILE is not used"), "{}", log());
        assert_eq!(site.run(&["stop", "--no-change-user"]).code, 0);
    }
}

#[test]
fn what_a_package_takes_over_and_does_not_do_is_said_at_its_installation() {
    let mut site = Site::new();
    site.set(
        "monitors",
        json!([{"module": "kubernetes_monitor"}, {"module": "kubernetes_monitor", "id": "2"}]),
    );
    site.set("k8s_api_url", "x");
    check(&site);
    let script = |takeover: &str| {
        let functions = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/packaging/scripts/functions.sh"
        );
        let script = format!(
            ". '{functions}'; program='{}'; etc='{}'; notes='{}'; {takeover} tell_unused",
            env!("CARGO_BIN_EXE_scalyr-agent-2"),
            site.path("conf").display(),
            site.path("notes").display()
        );
        let done = std::process::Command::new("sh")
            .args(["-euc", &script])
            .output()
            .unwrap();
        assert!(done.status.success() && done.stdout.is_empty(), "{done:?}");
        String::from_utf8(done.stderr).unwrap()
    };
    let told = script("note takeover;");
    for line in [
        "scalyr-agent-2: this configuration is taken over, but for:",
        "monitor kubernetes_monitor (2 times) is not run",
        "option k8s_api_url has no effect",
    ] {
        assert_eq!(told.matches(line).count(), 1, "{told}");
    }
    assert!(told.lines().count() <= 5, "{told}");
    std::fs::remove_dir_all(site.path("notes")).unwrap();
    assert_eq!(script(""), "", "another installation has nothing to tell");
}

#[test]
fn a_python_plug_in_without_its_interpreter_is_said() {
    let mut site = Site::new();
    std::fs::write(site.path("mine.py"), "class M(ScalyrMonitor):\n    pass\n").unwrap();
    site.set(
        "additional_monitor_module_paths",
        site.path("").display().to_string(),
    );
    let python = site.path("no-python").display().to_string();
    let entry = |id: &str| json!({"module": "mine", "id": id, "plugin_python": python});
    site.set("monitors", json!([entry("1"), entry("2")]));
    let said = check(&site);
    let told = verdicts(&said, "WARN");
    assert_eq!(told.len(), 1, "{}", said.out);
    assert!(
        told[0]
            .contains("monitor mine (2 times) can't run: it is a Python plug-in, and there is no"),
        "{}",
        said.out
    );
}
