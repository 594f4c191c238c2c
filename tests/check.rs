//! `check`: what is well is said to be, what is not gets a verdict and an advice.

mod common;

use common::{Said, Site};
use receiver::Options;
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
N ok, N note, N failures"
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
