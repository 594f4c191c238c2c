//! Monitors that write metrics, in the running agent and alone: what they take from outside arrives,
//! rates, black lists and limits hold, and one that dies ends the agent where that is asked for.

mod common;

use common::{Site, DEADLINE};
use serde_json::{json, Value};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};

/// A folder for plug-ins, with one in it that says `lines` and stays.
fn plugin(site: &mut Site, name: &str, script: &str) {
    let dir = site.path("plugins");
    fs::create_dir_all(&dir).unwrap();
    let path = dir.join(name);
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    site.set("additional_monitor_module_paths", dir.to_str().unwrap());
}

fn says(lines: &[Value]) -> String {
    let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
    format!("#!/bin/sh\ncat <<'END'\n{lines}END\ncat > /dev/null\n")
}

/// The lines of a monitor's log that arrived, without the stamp.
fn lines(site: &Site, log: &str) -> Vec<String> {
    let path = site.path("log").join(log);
    let lines = site.receiver.lines_of(path.to_str().unwrap());
    let bare = |line: String| line.trim_end().get(25..).unwrap_or_default().to_owned();
    lines.into_iter().map(bare).collect()
}

#[track_caller]
fn until_line(site: &mut Site, log: &str, text: &str) {
    let path = site.path("log").join(log);
    site.until(&format!("{text:?} in {log}"), |state| {
        let lines = state.lines_of(path.to_str().unwrap());
        lines.iter().any(|line| line.contains(text))
    });
}

fn monitor(site: &Site, name: &str) -> Value {
    // Nothing is known before it runs
    let said = site.run(&["status", "-v", "--format", "json"]);
    let status: Value = serde_json::from_str(&said.out).unwrap_or_default();
    let all = &status["monitor_manager_status"]["monitors_status"];
    let mut all = all.as_array().into_iter().flatten();
    let found = all.find(|monitor| monitor["monitor_name"] == name);
    found.cloned().unwrap_or_default()
}

#[test]
fn rates_and_black_lists_hold_for_what_the_agent_and_the_entry_name() {
    let mut site = Site::new();
    let at = |second: u64, metric: &str, value: f64, dir: &str| {
        json!({
            "metric": metric, "value": value, "fields": {"dir": dir},
            "timestamp": 1_600_000_000_000u64 + second * 1000,
        })
    };
    let script = says(&[
        at(0, "requests", 10.0, "in"),
        at(0, "bytes", 1000.0, "in"),
        at(0, "bytes", 5000.0, "out"),
        at(0, "other", 1.0, "in"),
        at(0, "secret", 1.0, "in"),
        at(10, "requests", 25.0, "in"),
        at(10, "bytes", 3000.0, "in"),
        at(10, "bytes", 6000.0, "out"),
        at(10, "other", 9.0, "in"),
        // A counter that began anew has no rate, and one again after that
        at(20, "requests", 5.0, "in"),
        at(30, "requests", 6.0, "in"),
        at(30, "end", 1.0, "in"),
    ]);
    plugin(&mut site, "mine.sh", &script);
    site.set("calculate_rate_metric_names", json!(["mine:requests"]));
    site.set(
        "monitors",
        json!([{
            "module": "mine",
            "calculate_rate_metric_names": ["mine:bytes:dir=out"],
            "metric_name_blacklist": ["secret"],
        }]),
    );
    site.start();
    until_line(&mut site, "mine.log", " end ");
    let wanted = [
        "requests 10.0 dir=\"in\"",
        "bytes 1000.0 dir=\"in\"",
        "bytes 5000.0 dir=\"out\"",
        "other 1.0 dir=\"in\"",
        "requests 25.0 dir=\"in\"",
        "requests_rate 1.5 dir=\"in\"",
        "bytes 3000.0 dir=\"in\"",
        "bytes 6000.0 dir=\"out\"",
        "bytes_rate 100.0 dir=\"out\"",
        "other 9.0 dir=\"in\"",
        "requests 5.0 dir=\"in\"",
        "requests 6.0 dir=\"in\"",
        "requests_rate 0.1 dir=\"in\"",
        "end 1.0 dir=\"in\"",
    ];
    assert_eq!(
        lines(&site, "mine.log"),
        wanted.map(|line| format!("[mine()] {line}"))
    );
    site.until_logged("Metric \"secret\" is blacklisted so the value wont be reported to Scalyr.");
    site.term();
}

#[test]
fn what_the_write_limit_drops_is_told_in_the_log_and_counted_in_status() {
    let mut site = Site::new();
    let many: Vec<Value> = (0..100)
        .map(|n| json!({"metric": "m", "value": n, "fields": {"text": "x".repeat(60)}}))
        .collect();
    // The bucket fills while it waits for a word
    let script = format!(
        "{}while [ ! -e \"$(dirname \"$0\")/go\" ]; do sleep 0.05; done\necho '{}'\n{}",
        says(&many).replace("cat > /dev/null\n", ""),
        json!({"metric": "last", "value": 1}),
        "cat > /dev/null\n"
    );
    plugin(&mut site, "mine.sh", &script);
    site.set(
        "monitors",
        json!([{
            "module": "mine", "monitor_log_write_rate": 2000, "monitor_log_max_write_burst": 1000,
        }]),
    );
    site.start();
    let mut status = Value::Null;
    site.until_seen("all is said", || {
        status = monitor(&site, "mine()");
        status["reported_lines"] == 100
    });
    let dropped = status["dropped_lines"].as_u64().unwrap();
    assert!((50..95).contains(&dropped), "{status}");
    let text = format!("{dropped} lines dropped by its write limit");
    assert!(site.status_v().contains(&text));
    fs::write(site.path("plugins/go"), "").unwrap();
    until_line(&mut site, "mine.log", " last 1");
    let path = site.path("log/mine.log");
    let arrived = site.receiver.lines_of(path.to_str().unwrap());
    let marker = "Warning, skipped writing ";
    let told: u64 = arrived
        .iter()
        .filter_map(|line| line.strip_prefix(".... ")?.strip_prefix(marker))
        .map(|rest| {
            let (count, rest) = rest.split_once(' ').unwrap();
            let limit = "log lines due to limit set by `monitor_log_write_rate` option...\n";
            assert_eq!(rest, limit);
            count.parse::<u64>().unwrap()
        })
        .sum();
    assert_eq!(told, dropped, "{arrived:?}");
    let written = arrived.iter().filter(|line| line.contains(" m ")).count();
    assert_eq!(written as u64, 100 - dropped);
    site.term();
}

#[test]
fn commands_addresses_and_graphite_arrive_as_metrics() {
    let mut site = Site::new();
    // A server of one page
    let pages = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/health", pages.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in pages.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = String::new();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            while reader.read_line(&mut request).is_ok() && !request.ends_with("\r\n\r\n") {}
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n";
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    site.set(
        "monitors",
        json!([
            {"module": "shell_monitor", "id": "greeting", "command": "echo hello; exit 3"},
            {"module": "scalyr_agent.builtin_monitors.url_monitor", "id": "web", "url": address},
            {"module": "graphite_monitor", "plaintext_port": port, "accept_pickle": false},
        ]),
    );
    site.set("global_monitor_sample_interval", 0.2);
    site.start();
    let shell = "[shell_monitor(greeting)] output \"hello\" command=\"echo hello; exit 3\" duration=0 exit_code=3 length=6";
    until_line(&mut site, "shell_monitor.log", shell);
    let url = format!(
        "[url_monitor(web)] response \"ok\" length=3 request_method=\"GET\" status=200 url=\"{address}\""
    );
    until_line(&mut site, "url_monitor.log", &url);
    // Another program had the port when the monitor started
    drop(taken);
    let mut stream = None;
    site.until_seen("the port is open", || {
        stream = TcpStream::connect(("127.0.0.1", port)).ok();
        stream.is_some()
    });
    let text = "requests.500.host1 1.03 123456789\nnonsense\ncpu.load 42 1700000000\n";
    stream.unwrap().write_all(text.as_bytes()).unwrap();
    until_line(&mut site, "graphite_monitor.log", "cpu.load");
    assert_eq!(
        lines(&site, "graphite_monitor.log"),
        [
            "[graphite_monitor()] requests.500.host1 1.03 orig_time=123456789.0",
            "[graphite_monitor()] cpu.load 42.0 orig_time=1700000000.0",
        ]
    );
    assert_eq!(
        monitor(&site, "graphite_monitor()")["counters"]["bad_lines"],
        1
    );
    let events = site.receiver.events();
    let of_shell = events
        .iter()
        .find(|e| e.path.ends_with("shell_monitor.log"));
    let attrs = &of_shell.unwrap().attrs;
    assert_eq!(attrs["parser"], "agent-metrics");
    site.term();
    site.assert_well_formed();
}

#[test]
fn a_plugin_that_dies_ends_the_agent_if_that_is_asked_for_and_only_then() {
    for asked in [false, true] {
        let mut site = Site::new();
        let script = "#!/bin/sh\nread -r told\necho '{\"metric\":\"a\",\"value\":1}'\n\
                      echo '{\"fatal\":\"the database is gone\"}'\nexit 1\n";
        plugin(&mut site, "mine.sh", script);
        site.set(
            "monitors",
            json!([{"module": "mine", "plugin_mode": "serve", "stop_agent_on_failure": asked}]),
        );
        site.start();
        until_line(&mut site, "mine.log", "] a 1");
        site.until_logged("the database is gone");
        if asked {
            let status = site.wait_exit(DEADLINE);
            assert_eq!(status.code(), Some(1), "{}", site.report());
            let log = site.agent_log();
            assert!(log.contains("[error=\"failedAgentMain\"] monitor mine() has died"));
        } else {
            // It is started again and again
            site.until_seen("a second life", || {
                monitor(&site, "mine()")["counters"]["plugin_starts"].as_u64() > Some(1)
            });
            site.term();
        }
    }
}

/// `monitor run` with these words.
fn alone(site: &Site, words: &[&str]) -> Child {
    let program = std::env::var_os("SITE_AGENT")
        .unwrap_or_else(|| env!("CARGO_BIN_EXE_scalyr-agent-2").into());
    Command::new(program)
        .args(["monitor", "run"])
        .args(words)
        .current_dir(site.path(""))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn one_monitor_alone_shows_its_samples_and_says_what_is_wrong() {
    let site = Site::new();
    let output = |words: &[&str]| {
        let output = alone(&site, words).wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        )
    };
    let hello = "{command: \"echo hello\", sample_interval: 0.1, id: \"x\"}";
    let (code, out, err) = output(&["shell_monitor", "-c", hello, "-n", "2"]);
    assert_eq!(code, Some(0), "{err}");
    let line = "[shell_monitor(x)] output \"hello\" command=\"echo hello\" duration=0 exit_code=0 length=6";
    let lines: Vec<&str> = out.lines().map(|line| &line[25..]).collect();
    assert_eq!(lines, [line; 2], "{err}");
    for (words, part) in [
        (
            &["shell_monitor", "-c", "{}"][..],
            "Missing required field \"command\"",
        ),
        (&["shell_monitor", "-c", "{command: "], "can't be read"),
        (&["shell_monitor", "-c", "[1]"], "it is no JSON object"),
        (
            &[
                "shell_monitor",
                "-c",
                "{command: \"x\", sample_interval: \"often\"}",
            ],
            "sample_interval",
        ),
    ] {
        let (code, out, err) = output(words);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{words:?}: {err}");
        assert!(err.contains(part), "{words:?}: {err}");
    }
    let (code, _, err) = output(&["shell_monitor", "-n", "many"]);
    assert_eq!(code, Some(2), "{err}");
    for name in ["shell_monitr", "no.such_monitor"] {
        let (code, out, err) = output(&[name, "-c", "{}", "-n", "1"]);
        assert_eq!((code, out.as_str()), (Some(2), ""), "a usage error: {err}");
        assert!(err.contains(name), "{err}");
    }
}

#[test]
fn a_monitor_alone_ends_by_a_signal_and_takes_its_command_along() {
    let site = Site::new();
    // The second command hangs, and says who it is
    let command = "[ -e began ] && echo $$ > pid && exec sleep 1000; touch began; echo hello";
    let options = json!({"command": command, "sample_interval": 0.1}).to_string();
    let mut child = alone(&site, &["shell_monitor", "-c", &options]);
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert!(line.contains("] output \"hello\" "), "{line}");
    let pid = || fs::read_to_string(site.path("pid")).unwrap_or_default();
    site.until_seen("the second command", || pid().ends_with('\n'));
    let id = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGTERM).unwrap();
    let mut err = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut err)
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{err}");
    assert!(
        err.contains("Signal received, stopping monitor..."),
        "{err}"
    );
    let proc = format!("/proc/{}", pid().trim());
    site.until_seen("the command is gone", || {
        let stat = fs::read_to_string(format!("{proc}/stat")).unwrap_or_default();
        stat.is_empty() || stat.contains(") Z ")
    });
}

#[test]
fn the_list_of_monitors_names_each_and_tells_all_about_one() {
    let site = Site::new();
    let run = |words: &[&str]| {
        let program = env!("CARGO_BIN_EXE_scalyr-agent-2");
        let output = Command::new(program).args(words).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        )
    };
    let (code, list, _) = run(&["monitors"]);
    assert_eq!(code, Some(0));
    for name in ["shell_monitor", "syslog_monitor", "linux_system_metrics"] {
        assert!(list.contains(name), "{list}");
        let (code, page, _) = run(&["monitors", name]);
        assert_eq!(code, Some(0));
        assert!(page.contains(&format!("scalyr_agent.builtin_monitors.{name}")));
    }
    let (_, page, _) = run(&["monitors", "scalyr_agent.builtin_monitors.url_monitor"]);
    assert!(page.contains("request_headers"), "{page}");
    let (code, out, err) = run(&["monitors", "shell"]);
    assert_eq!((code, out.as_str()), (Some(2), ""), "a usage error");
    assert!(
        err.contains("\"shell\"") || err.contains("shell_monitor"),
        "{err}"
    );
    drop(site);
}
