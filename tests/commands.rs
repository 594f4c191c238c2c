//! The command line as operators and init scripts use it, as whole processes: exit codes, streams
//! and texts. Nothing listens at the server's address; an agent that only tries is a
//! healthy one.

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const BINARY: &str = env!("CARGO_BIN_EXE_scalyr-agent-2");

/// A folder with a configuration of its own; the agent that is left in it is killed at the end.
struct Site(PathBuf);

impl Site {
    fn new() -> Site {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("commands-{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        for dir in ["", "log", "data"] {
            fs::create_dir(root.join(dir)).unwrap();
            // Another user has to get there in one of the tests, whatever the umask.
            fs::set_permissions(root.join(dir), fs::Permissions::from_mode(0o755)).unwrap();
        }
        let site = Site(root);
        site.configure("");
        site
    }

    /// Writes the configuration: the usual one and `more`, which ends in a comma if not empty.
    fn configure(&self, more: &str) {
        let text = format!(
            "{{\n  {more}\n  \"api_key\": \"secret-of-test\",\n  \"allow_http\": true,\n  \
             \"scalyr_server\": \"http://127.0.0.1:9\",\n  \
             \"implicit_metric_monitor\": false,\n  \
             \"implicit_agent_process_metrics_monitor\": false,\n  \
             \"agent_log_path\": \"{}\",\n  \"agent_data_path\": \"{}\"\n}}\n",
            self.path("log").display(),
            self.path("data").display()
        );
        self.write_configuration(&text);
    }

    fn write_configuration(&self, text: &str) {
        fs::write(self.path("agent.json"), text).unwrap();
        fs::set_permissions(self.path("agent.json"), fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = bare(arguments);
        command.arg("-c").arg(self.path("agent.json"));
        command
    }

    fn run(&self, arguments: &str) -> Said {
        said(self.command(arguments))
    }

    fn pid(&self) -> Option<i32> {
        let text = fs::read_to_string(self.path("log/agent.pid")).ok()?;
        text.strip_suffix('\n')?.parse().ok()
    }

    fn start(&self) -> i32 {
        let started = self.run("start --no-change-user");
        assert_eq!(started.code, 0, "{started:?}");
        self.pid().unwrap()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(pid) = self.pid() {
            if self.run("status --no-change-user").code == 0 {
                kill(pid, Signal::SIGKILL);
            }
        }
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[derive(Debug)]
struct Said {
    code: i32,
    out: String,
    err: String,
}

fn bare(arguments: &str) -> Command {
    let mut command = Command::new(BINARY);
    command.args(arguments.split_ascii_whitespace());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().to_uppercase().starts_with("SCALYR") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

fn said(mut command: Command) -> Said {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    Said {
        code: status.code().unwrap_or(-1),
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
    }
}

fn kill(pid: i32, signal: Signal) {
    nix::sys::signal::kill(Pid::from_raw(pid), signal).unwrap();
}

/// Waits for a condition that must come true.
fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn exists(pid: i32) -> bool {
    // A zombie whose parent is slow to notice has ended all the same.
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or("").starts_with(" Z"))
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

#[test]
fn version_is_told_without_any_configuration() {
    let told = said(bare("version -c /no/such/file"));
    assert_eq!(told.code, 0);
    let expected = format!(
        "The Scalyr Agent 2 version is {}\n",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(told.out, expected);
    assert_eq!(told.err, "");
}

#[test]
fn wrong_use_exits_2_and_help_exits_0() {
    for line in [
        "",
        "bogus",
        "start stop",
        "--version",
        "-v",
        "status --health-check",
        "start -c",
    ] {
        let told = said(bare(line));
        assert_eq!((told.code, told.out.as_str()), (2, ""), "{line}");
        assert!(
            told.err.starts_with("usage: scalyr-agent-2 "),
            "{line}: {told:?}"
        );
    }
    for (line, part) in [
        (
            "--help",
            "{start,stop,status,restart,condrestart,version,config",
        ),
        (
            "-h start",
            "(start|stop|status|restart|condrestart|version|config)",
        ),
        ("start -h", "usage: scalyr-agent-2 start [options]"),
        ("config --help", "--set-key-from-stdin"),
    ] {
        let told = said(bare(line));
        assert_eq!((told.code, told.err.as_str()), (0, ""), "{line}");
        assert!(told.out.contains(part), "{line}: {told:?}");
    }
}

#[test]
fn a_missing_configuration_file_is_named_by_every_command() {
    for command in [
        "start",
        "stop",
        "status",
        "status -v",
        "restart",
        "condrestart",
    ] {
        let told = said(bare(&format!("{command} -c /no/such/agent.json")));
        assert_eq!((told.code, told.out.as_str()), (1, ""), "{command}");
        let (first, rest) = told.err.split_once('\n').unwrap();
        assert_eq!(
            first,
            "[Errno 2] No such file or directory: '/no/such/agent.json'"
        );
        assert!(rest.contains("-c FILE"), "{rest}");
    }
}

#[test]
fn who_has_no_configuration_file_yet_or_mistypes_its_name_is_told_what_to_do() {
    let site = Site::new();
    for command in [
        "start",
        "check",
        "explain /x",
        "dry-run /x",
        "positions",
        "reload",
        "check --no-change-user",
        "explain /x --no-change-user",
        "start --no-change-user",
        "config --set-key K",
    ] {
        let told = said(bare(&format!(
            "{command} -c {}",
            site.path("new/agent.json").display()
        )));
        assert_eq!(told.code, 1, "{command}: {told:?}");
        let text = told.out + &told.err;
        assert!(text.contains("-c FILE"), "{command}: {text}");
        assert!(text.contains("api_key: "), "{command}: {text}");
        let told = said(bare(&format!(
            "{command} -c {}",
            site.path("agnet.json").display()
        )));
        let meant = format!("Did you mean {}?", site.path("agent.json").display());
        let text = told.out + &told.err;
        assert!(text.contains(&meant), "{command}: {text}");
    }
}

#[test]
fn a_word_that_is_none_of_the_choices_is_the_same_error_for_every_command() {
    for (line, meant) in [
        ("strat", "Did you mean start?"),
        ("generate zhs", "Did you mean zsh?"),
        (
            "generate man scalyr-agent2",
            "Did you mean man scalyr-agent-2?",
        ),
        ("monitors shel_monitor", "(did you mean shell_monitor?)"),
        ("monitor rnu shell_monitor", "choose from 'run'"),
        ("monitor run shel_monitor", "(did you mean shell_monitor?)"),
        ("monitor run shell_monitor -n 0", "argument -n/--samples"),
        ("monitor run shell_monitor -n some", "argument -n/--samples"),
        ("positions --recrods", "Did you mean --records?"),
    ] {
        let told = said(bare(line));
        assert_eq!((told.code, told.out.as_str()), (2, ""), "{line}: {told:?}");
        assert!(told.err.contains(meant), "{line}: {told:?}");
    }
    let told = said(bare("help"));
    assert_eq!((told.code, told.out), (0, said(bare("--help")).out));
}

#[test]
fn a_life_from_start_to_stop() {
    let site = Site::new();
    let told = site.run("status --no-change-user");
    assert_eq!(told.code, 4, "{told:?}");
    assert_eq!(told.out, "The agent does not appear to be running.\n");

    let told = site.run("start --no-change-user");
    assert_eq!(told.code, 0, "{told:?}");
    assert_eq!(
        told.out,
        "Configuration verified, starting agent in background.\n"
    );
    let pid = site.pid().unwrap();
    assert!(exists(pid));
    let mode = fs::metadata(site.path("log/agent.pid")).unwrap().mode();
    assert_eq!(mode & 0o777, 0o644);

    let told = site.run("status --no-change-user");
    assert_eq!(told.code, 0, "{told:?}");
    assert_eq!(
        told.out,
        "The agent is running. For details, use \"scalyr-agent-2 status -v\".\n"
    );

    let told = site.run("start --no-change-user");
    assert_eq!((told.code, told.out.as_str()), (4, ""));
    assert_eq!(
        told.err,
        format!(
            "Failed to start agent because it is already running.\nThe pidfile {} exists and \
             indicates it is running pid={pid}\n",
            site.path("log/agent.pid").display()
        )
    );

    let told = site.run("status -v --no-change-user");
    assert_eq!(told.code, 0, "{told:?}");
    assert!(
        told.out.starts_with("Scalyr Agent status.  See "),
        "{told:?}"
    );
    assert!(told
        .out
        .contains(&format!("\nMain process pid:        {pid}\n")));
    assert!(!told.out.contains("secret-of-test"));

    let told = site.run("status -v --format json --no-change-user");
    assert_eq!(told.code, 0, "{told:?}");
    assert_eq!(told.out.lines().count(), 1);
    let report: serde_json::Value = serde_json::from_str(&told.out).unwrap();
    assert_eq!(report["pid"], pid);

    let told = site.run("status -H --no-change-user");
    match told.code {
        // Nothing listens there, and no restart mends that
        0 => assert!(
            told.out
                .starts_with("Health check: Not delivering: nothing takes connections"),
            "{told:?}"
        ),
        3 => assert_eq!(told.out, "Cannot get health check result.\n"),
        _ => panic!("{told:?}"),
    }

    let told = site.run("status -v --format yaml --no-change-user");
    assert_eq!(told.code, 1);
    assert!(told.out.contains("\"text\"") && told.out.contains("\"json\""));

    let told = site.run("stop --no-change-user");
    assert_eq!(told.code, 0, "{told:?}");
    assert_eq!(
        told.out,
        "Sending signal to terminate agent.\nAgent has stopped.\n"
    );
    assert!(!exists(pid));
    assert!(!site.path("log/agent.pid").exists());

    let told = site.run("stop --no-change-user");
    assert_eq!((told.code, told.out.as_str()), (0, ""));
    assert_eq!(
        told.err,
        format!(
            "Failed to stop the agent because it does not appear to be running.\nThe pidfile {} \
             does not exist or listed process is not running.\n",
            site.path("log/agent.pid").display()
        )
    );
    for command in ["status -v", "status -H"] {
        let told = site.run(&format!("{command} --no-change-user"));
        assert_eq!((told.code, told.out.lines().count()), (1, 2), "{told:?}");
    }
}

#[test]
fn restart_replaces_the_agent_and_condrestart_starts_none() {
    let site = Site::new();
    let told = site.run("condrestart --no-change-user");
    assert_eq!(told.code, 0);
    assert_eq!(told.out, "Agent is not running, not restarting.\n");
    assert_eq!(site.run("condrestart -q --no-change-user").out, "");
    assert_eq!(site.pid(), None);

    let told = site.run("restart -q --no-change-user");
    assert_eq!((told.code, told.out.as_str()), (0, ""), "{told:?}");
    let first = site.pid().unwrap();
    let told = site.run("restart --no-change-user");
    assert_eq!(told.code, 0, "{told:?}");
    assert_eq!(
        told.out,
        "Agent is running, stopping it now.\nSending signal to terminate agent.\nAgent has \
         stopped.\nConfiguration verified, starting agent in background.\n"
    );
    let second = site.pid().unwrap();
    assert!(first != second && !exists(first) && exists(second));
    let told = site.run("condrestart --no-change-user");
    assert_eq!(told.code, 0, "{told:?}");
    assert!(told.out.starts_with("Agent is running, restarting now.\n"));

    // A configuration that got broken must not cost the running agent.
    let third = site.pid().unwrap();
    site.write_configuration("{ \"api_key\": ");
    assert_eq!(site.run("restart --no-change-user").code, 1);
    assert!(exists(third));
    // The pid file is where the broken configuration said; only -p tells.
    let pid_file = site.path("log/agent.pid");
    let told = site.run(&format!("stop --no-change-user -p {}", pid_file.display()));
    assert_eq!(told.code, 0, "{told:?}");
    assert!(told.err.contains("Could not parse configuration file at"));
    assert!(told
        .err
        .contains(&format!("Using pid file '{}'.", pid_file.display())));
    assert!(!exists(third));
}

#[test]
fn a_restart_that_could_not_start_again_leaves_the_agent_alone() {
    let site = Site::new();
    let pid = site.start();
    for (broken, told) in [
        (
            "\"logs\": [{\"path\": \"/l\", \"redaction_rules\": [{\"match_expression\": \"(\"}]}],",
            "match_expression",
        ),
        ("\"monitors\": [{\"module\": \"no_such\"}],", "no_such"),
        ("\"agent_data_path\": \"/no/such\",", "/no/such"),
    ] {
        site.configure(broken);
        if broken.contains("agent_data_path") {
            // The later of two settings counts
            let text = fs::read_to_string(site.path("agent.json")).unwrap();
            let usual = format!(
                ",\n  \"agent_data_path\": \"{}\"",
                site.path("data").display()
            );
            site.write_configuration(&text.replace(&usual, ""));
        }
        for command in ["restart", "condrestart"] {
            let said = site.run(&format!("{command} --no-change-user"));
            assert_eq!((said.code, said.out.as_str()), (1, ""), "{said:?}");
            assert!(said.err.contains(told), "{said:?}");
            assert!(
                said.err.contains("Nothing was stopped or started."),
                "{said:?}"
            );
            assert!(exists(pid), "{broken}");
        }
    }
}

#[test]
fn a_daemon_keeps_nothing_of_the_shell_that_started_it() {
    let site = Site::new();
    let config = site.path("agent.json");
    let script = format!(
        "exec 9</dev/zero; cd '{}' && umask 077 && '{BINARY}' start -q --no-change-user -c '{}'",
        site.0.display(),
        config.display()
    );
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).stdin(Stdio::null());
    let told = said(shell);
    assert_eq!((told.code, told.out.as_str()), (0, ""), "{told:?}");

    let pid = site.pid().unwrap();
    let proc = PathBuf::from(format!("/proc/{pid}"));
    assert_eq!(fs::read_link(proc.join("cwd")).unwrap(), Path::new("/"));
    for fd in fs::read_dir(proc.join("fd")).unwrap().flatten() {
        let target = fs::read_link(fd.path()).unwrap_or_default();
        assert_ne!(target, Path::new("/dev/zero"), "inherited");
        if ["0", "1", "2"].iter().any(|n| fd.file_name() == *n) {
            assert_eq!(target, Path::new("/dev/null"));
        }
    }
    let stat = fs::read_to_string(proc.join("stat")).unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    let (session, terminal) = (fields[3], fields[4]);
    assert_ne!(
        session,
        pid.to_string(),
        "a session leader can get a terminal"
    );
    assert_eq!(terminal, "0");
    // Alone the umask stays, where it is the stricter one
    let status = fs::read_to_string(proc.join("status")).unwrap();
    assert!(status.contains("Umask:\t0077"));
}

#[test]
fn a_pid_file_left_by_a_kill_does_not_hinder_the_next_start() {
    let site = Site::new();
    let first = site.start();
    kill(first, Signal::SIGKILL);
    // The lock goes with its last thread
    until("killed", || site.run("status --no-change-user").code == 4);
    assert_eq!(site.pid(), Some(first), "nobody was there to remove it");
    let told = site.run("stop --no-change-user");
    assert_eq!((told.code, told.out.as_str()), (0, ""));

    let second = site.start();
    assert_ne!(first, second);
    assert_eq!(site.run("status --no-change-user").code, 0);
}

#[test]
fn of_many_simultaneous_starts_one_wins() {
    let site = Site::new();
    let children: Vec<Child> = (0..5)
        .map(|_| {
            let mut command = site.command("start --no-change-user");
            command.stdout(Stdio::null()).stderr(Stdio::null());
            command.spawn().unwrap()
        })
        .collect();
    let mut codes: Vec<i32> = children
        .into_iter()
        .map(|mut child| child.wait().unwrap().code().unwrap())
        .collect();
    codes.sort_unstable();
    assert_eq!(codes, [0, 4, 4, 4, 4]);
}

#[test]
fn a_broken_configuration_ends_the_start_with_its_place() {
    let site = Site::new();
    site.write_configuration("{\n  \"api_key\": \"x\",\n  \"logs\": [ } ]\n}\n");
    for command in ["start", "start --no-fork", "restart", "condrestart"] {
        let told = site.run(&format!("{command} --no-change-user"));
        assert_eq!(
            (told.code, told.out.as_str()),
            (1, ""),
            "{command}: {told:?}"
        );
        assert!(
            told.err.contains("agent.json, line 3, column 13"),
            "{told:?}"
        );
        assert!(!told.err.contains("panicked"), "{told:?}");
    }
    site.configure("\"compression_type\": \"zip\",");
    let told = site.run("start --no-change-user");
    assert_eq!(told.code, 1);
    for part in [
        "agent.json, line 2, column",
        "compression_type",
        "deflate",
        "none",
    ] {
        assert!(told.err.contains(part), "{part}: {told:?}");
    }
    assert!(!site.path("log/agent.pid").exists());
}

#[test]
fn a_start_that_cannot_work_says_why_and_exits_1() {
    let site = Site::new();
    let log = site.path("log");
    fs::remove_dir(&log).unwrap();
    let told = site.run("start --no-change-user");
    assert_eq!((told.code, told.out.as_str()), (1, ""));
    assert!(told.err.contains(&format!(
        "The agent log directory '{}' does not exist.",
        log.display()
    )));
    fs::create_dir(&log).unwrap();
    fs::remove_dir(site.path("data")).unwrap();
    fs::write(site.path("data"), "").unwrap();
    let told = site.run("start --no-fork --no-change-user");
    assert_eq!(told.code, 1);
    assert!(told.err.contains("data' is not a directory."), "{told:?}");

    site.configure("\"ca_cert_path\": \"/no/such/ca.crt\",");
    let text = fs::read_to_string(site.path("agent.json")).unwrap();
    fs::remove_file(site.path("data")).unwrap();
    fs::create_dir(site.path("data")).unwrap();
    site.write_configuration(&text.replace("http://127", "https://127"));
    let told = site.run("start --no-change-user");
    assert_eq!(told.code, 1, "{told:?}");
    assert!(told
        .err
        .contains("Invalid path \"/no/such/ca.crt\" specified"));

    site.write_configuration(&text.replace("secret-of-test", "REPLACE_THIS"));
    let told = site.run("start --no-change-user");
    assert_eq!(told.code, 1);
    assert!(told.err.contains("REPLACE_THIS") && told.err.contains("agent.json"));
}

#[test]
fn a_failure_after_the_fork_reaches_the_caller() {
    let site = Site::new();
    fs::create_dir(site.path("log/agent.pid")).unwrap();
    let told = site.run("start --no-change-user");
    assert_eq!(told.code, 1, "{told:?}");
    assert!(told.err.contains("cannot write the pid file"), "{told:?}");
    assert_eq!(site.run("status --no-change-user").code, 4);
}

/// Answers each request with this status; the address.
fn server_that_says(status: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let (mut line, mut length) = (String::new(), 0);
            while stream.read_line(&mut line).is_ok_and(|n| n > 2) {
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                line.clear();
            }
            let mut body = vec![0; length];
            if stream.read_exact(&mut body).is_ok() {
                let answer = format!("{{\"status\": \"{status}\"}}");
                let _ = write!(
                    stream.get_mut(),
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{answer}",
                    answer.len()
                );
            }
        }
    });
    address
}

#[test]
fn the_server_is_tried_before_the_start_if_that_is_wanted() {
    let site = Site::new();
    let with_server = |address: &str| {
        site.configure("\"check_remote_if_no_tty\": true,");
        let text = fs::read_to_string(site.path("agent.json")).unwrap();
        site.write_configuration(&text.replace("127.0.0.1:9", address));
    };
    let begin = |options: &str| {
        let told = site.run(&format!("start --no-change-user {options}"));
        site.run("stop --no-change-user");
        told
    };
    let plain = "Configuration verified, starting agent in background.\n";

    with_server(&server_that_says("success"));
    let told = begin("");
    assert_eq!((told.code, told.err.as_str()), (0, ""), "{told:?}");
    assert_eq!(
        told.out,
        "Configuration and server connection verified, starting agent in background.\n"
    );

    with_server(&server_that_says("error/client/invalidApiKey"));
    let told = begin("");
    assert_eq!((told.code, told.out.as_str()), (1, ""), "{told:?}");
    assert!(told.err.contains("API key"), "{told:?}");
    assert!(!told.err.contains("secret-of-test"), "{told:?}");
    // The flag wins, whatever the configuration says.
    let told = begin("--no-check-remote-server");
    assert_eq!((told.code, told.out.as_str()), (0, plain), "{told:?}");

    with_server(&server_that_says("error/client/badClientClockSkew"));
    let told = begin("");
    assert_eq!((told.code, told.out.as_str()), (0, plain), "{told:?}");
    assert!(told.err.contains("clock"), "{told:?}");

    with_server("127.0.0.1:9");
    let told = begin("");
    assert_eq!((told.code, told.out.as_str()), (0, plain), "{told:?}");
    assert!(told.err.contains("--no-check-remote-server"), "{told:?}");
}

#[test]
fn parallel_reports_of_both_formats_are_whole() {
    let site = Site::new();
    site.start();
    let clients: Vec<(usize, Child)> = (0..6)
        .map(|k| {
            let format = ["text", "json"][k % 2];
            let mut command =
                site.command(&format!("status -v --no-change-user --format {format}"));
            command.stdout(Stdio::piped());
            (k, command.spawn().unwrap())
        })
        .collect();
    for (k, client) in clients {
        let output = client.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        let text = String::from_utf8(output.stdout).unwrap();
        if k % 2 == 0 {
            assert!(text.starts_with("Scalyr Agent status.  See "), "{text}");
            assert!(text.contains("\nLast changed observed: "), "{text}");
        } else {
            serde_json::from_str::<serde_json::Value>(&text).unwrap();
        }
    }
}

#[test]
fn signals_that_are_no_order_to_end_do_not_end_it() {
    let site = Site::new();
    let pid = site.start();
    for signal in [
        Signal::SIGHUP,
        Signal::SIGUSR2,
        Signal::SIGPIPE,
        Signal::SIGUSR1,
        Signal::SIGHUP,
    ] {
        kill(pid, signal);
    }
    let told = site.run("status -v --no-change-user");
    assert_eq!(told.code, 0, "{told:?}");
    assert_eq!(site.pid(), Some(pid));
    assert!(exists(pid));
}

#[test]
fn no_status_request_ends_an_agent_whose_configuration_got_broken() {
    let site = Site::new();
    let pid = site.start();
    site.write_configuration("{\n  \"api_key\": \"x\",\n  \"logs\": [ } ]\n}\n");
    kill(pid, Signal::SIGHUP);
    let ask = |format: &str| {
        // The client can't read the configuration either; the environment tells it the places.
        let mut command = site.command(&format!("status -v --no-change-user --format {format}"));
        command.env("SCALYR_AGENT_LOG_PATH", site.path("log"));
        command.env("SCALYR_AGENT_DATA_PATH", site.path("data"));
        let told = said(command);
        assert_eq!(told.code, 0, "{told:?}");
        told.out
    };
    let error = || {
        let report: serde_json::Value = serde_json::from_str(&ask("json")).unwrap();
        let config = &report["config_status"];
        config["last_error"].as_str().map(|error| {
            assert_eq!(config["status"], "Error, using last good configuration");
            error.to_owned()
        })
    };
    until("told", || error().is_some());
    assert!(error().unwrap().contains("line 3, column 13"));
    for _ in 0..20 {
        ask("json");
        let text = ask("text");
        assert!(text.contains("\nStatus:                Bad (could not parse"));
        assert!(text.contains("\nParsing error:         "));
    }
    assert_eq!(site.pid(), Some(pid));

    site.configure("");
    kill(pid, Signal::SIGHUP);
    until("good again", || error().is_none());
    assert!(exists(pid));
}

#[test]
fn in_the_foreground_it_ends_cleanly_by_term_and_by_ctrl_c() {
    let site = Site::new();
    for (signal, text) in [
        (Signal::SIGTERM, ""),
        (
            Signal::SIGINT,
            "Received CTRL+C, starting termination handler and exiting...\n",
        ),
    ] {
        let mut command = site.command("start --no-fork --no-change-user");
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut agent = command.spawn().unwrap();
        let pid = i32::try_from(agent.id()).unwrap();
        until("pid file", || site.pid() == Some(pid));
        let told = site.run("status -v --no-change-user");
        assert_eq!(told.code, 0, "{told:?}");
        kill(pid, signal);
        assert_eq!(agent.wait().unwrap().code(), Some(0));
        let mut said = String::new();
        agent
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut said)
            .unwrap();
        assert_eq!(said, text);
        assert!(!site.path("log/agent.pid").exists());
    }
}

#[test]
fn an_agent_started_by_root_runs_as_the_owner_of_its_configuration() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    const NOBODY: u32 = 65534;
    for path in ["agent.json", "log", "data"] {
        std::os::unix::fs::chown(site.path(path), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let told = site.run("start");
    assert_eq!(told.code, 0, "{told:?}");
    assert!(told.err.starts_with("Running as "), "{told:?}");
    let pid = site.pid().unwrap();
    assert_eq!(fs::metadata(format!("/proc/{pid}")).unwrap().uid(), NOBODY);
    let pid_file = fs::metadata(site.path("log/agent.pid")).unwrap();
    assert_eq!(pid_file.uid(), NOBODY);
    let told = site.run("status -v");
    assert_eq!(told.code, 0, "{told:?}");
    let told = site.run("stop");
    assert_eq!(told.code, 0, "{told:?}");
    assert!(told.out.ends_with("Agent has stopped.\n"));
}

#[test]
fn a_broken_configuration_hides_no_running_agent() {
    for broken in [
        "",
        "{ \"api_key\": ",
        "{\n  \"logs\": [ } ]\n}\n",
        "{\"api_key\": 5}",
        "[]",
    ] {
        let site = Site::new();
        let pid = site.start();
        site.write_configuration(broken);
        let told = site.run("status --no-change-user");
        assert_eq!(told.code, 0, "{broken}: {told:?}");
        let told = site.run("status -v --no-change-user");
        assert_eq!(told.code, 0, "{broken}: {told:?}");
        assert!(told
            .out
            .contains(&format!("Main process pid:        {pid}")));
        let told = site.run("reload --no-change-user");
        assert_eq!(told.code, 0, "{broken}: {told:?}");
        let told = site.run("restart --no-change-user");
        assert_eq!(told.code, 1, "{broken}: {told:?}");
        assert!(exists(pid));
        let told = site.run("stop --no-change-user");
        assert_eq!(told.code, 0, "{broken}: {told:?}");
        assert!(told.out.ends_with("Agent has stopped.\n"), "{told:?}");
        assert!(!exists(pid));
    }
}

#[test]
fn an_agent_is_found_by_each_name_of_its_configuration() {
    let site = Site::new();
    std::os::unix::fs::symlink("agent.json", site.path("link.json")).unwrap();
    let mut start = bare("start --no-change-user -c link.json");
    start.current_dir(&site.0);
    let told = said(start);
    assert_eq!(told.code, 0, "{told:?}");
    let pid = site.pid().unwrap();
    site.write_configuration("{");
    let told = site.run("stop --no-change-user");
    assert_eq!(told.code, 0, "{told:?}");
    assert!(!exists(pid));
}

#[test]
fn a_configuration_that_is_gone_hides_no_running_agent() {
    let site = Site::new();
    let pid = site.start();
    fs::remove_file(site.path("agent.json")).unwrap();
    let told = site.run("status");
    assert_eq!(told.code, 0, "{told:?}");
    let told = site.run("stop");
    assert_eq!(told.code, 0, "{told:?}");
    assert!(!exists(pid));
    assert_eq!(site.run("stop").code, 1);
}

#[test]
fn another_log_directory_in_the_file_hides_no_running_agent() {
    let site = Site::new();
    let pid = site.start();
    let text = fs::read_to_string(site.path("agent.json")).unwrap();
    for name in ["log", "data"] {
        fs::create_dir(site.path(&format!("new-{name}"))).unwrap();
    }
    let moved = |name: &str| site.path(&format!("new-{name}")).display().to_string();
    let text = text
        .replace(&site.path("log").display().to_string(), &moved("log"))
        .replace(&site.path("data").display().to_string(), &moved("data"));
    site.write_configuration(&text);
    assert_eq!(site.run("status --no-change-user").code, 0);
    let told = site.run("restart --no-change-user");
    assert_eq!(told.code, 0, "{told:?}");
    assert!(!exists(pid), "two agents would send everything twice");
    let new = fs::read_to_string(site.path("new-log/agent.pid")).unwrap();
    assert!(exists(new.trim().parse().unwrap()));
    let told = site.run("stop --no-change-user");
    assert_eq!(told.code, 0, "{told:?}");
}

#[test]
fn a_broken_configuration_stops_no_other_agent() {
    let (site, other) = (Site::new(), Site::new());
    let pid = other.start();
    site.write_configuration("{ \"api_key\": ");
    let told = site.run("stop --no-change-user");
    assert_eq!(told.code, if is_root() { 0 } else { told.code }, "{told:?}");
    assert!(
        told.err.contains("does not appear to be running"),
        "{told:?}"
    );
    assert_eq!(site.run("status --no-change-user").code, 4);
    assert!(exists(pid));
    assert_eq!(other.run("status --no-change-user").code, 0);
}

#[test]
fn a_process_of_others_is_not_taken_for_the_agent() {
    if !is_root() {
        return;
    }
    // The user nobody has files open and locked as an agent has them, which name root's configuration
    let site = Site::new();
    site.write_configuration("{ \"api_key\": ");
    let theirs = site.path("theirs");
    fs::create_dir(&theirs).unwrap();
    let note = format!("{}\n", site.path("agent.json").display());
    fs::write(theirs.join("agent.lock"), note).unwrap();
    fs::write(theirs.join("agent.pid"), "").unwrap();
    for path in [
        &theirs,
        &theirs.join("agent.lock"),
        &theirs.join("agent.pid"),
    ] {
        std::os::unix::fs::chown(path, Some(65534), Some(65534)).unwrap();
    }
    let script = format!(
        "cd '{}' && exec 8<>agent.lock 9<>agent.pid && flock -x 8 && flock -x 9 && echo $$ >&9 && echo ready && exec sleep 600",
        theirs.display()
    );
    let mut command = Command::new("sh");
    command.args(["-c", &script]).stdout(Stdio::piped());
    std::os::unix::process::CommandExt::uid(&mut command, 65534);
    let mut process = command.spawn().unwrap();
    let mut line = String::new();
    let mut out = BufReader::new(process.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    let told = site.run("stop");
    assert_eq!(told.code, 0, "{told:?}");
    assert!(
        told.err.contains("does not appear to be running"),
        "{told:?}"
    );
    assert!(exists(i32::try_from(process.id()).unwrap()));
    process.kill().unwrap();
    process.wait().unwrap();
}

#[test]
fn a_stop_that_can_t_tell_says_so_and_fails() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    let pid = site.start();
    site.write_configuration("{ \"api_key\": ");
    for path in ["", "agent.json"] {
        std::os::unix::fs::chown(site.path(path), Some(65534), Some(65534)).unwrap();
    }
    // Nobody may look into root's processes
    let mut command = site.command("stop");
    std::os::unix::process::CommandExt::uid(&mut command, 65534);
    let told = said(command);
    assert_eq!(told.code, 1, "{told:?}");
    assert!(
        told.err.contains("Whether the agent runs can't be told"),
        "{told:?}"
    );
    assert!(exists(pid));
    let told = site.run("stop --no-change-user");
    assert_eq!(told.code, 0, "{told:?}");
    assert!(!exists(pid));
}

#[test]
fn start_says_at_once_what_it_will_not_do() {
    let site = Site::new();
    site.configure(
        "\"monitors\": [{\"module\": \"scalyr_agent.builtin_monitors.docker_monitor\"}, \
         {\"module\": \"scalyr_agent.builtin_monitors.docker_monitor\", \"id\": \"b\"}],\n  \
         \"k8s_events_disable\": true, \"k8s_api_url\": \"x\",",
    );
    let told = site.run("start --no-change-user");
    assert_eq!(told.code, 0, "{told:?}");
    let lines = [
        "WARNING: monitor docker_monitor (2 times) is not run: not part of this build",
        "WARNING: options k8s_api_url, k8s_events_disable have no effect: Kubernetes",
    ];
    for line in lines {
        assert_eq!(told.err.matches(line).count(), 1, "{line}: {told:?}");
    }
    assert_eq!(told.err.lines().count(), 2, "{told:?}");
    // agent.log and the report say the same
    let log = fs::read_to_string(site.path("log/agent.log")).unwrap();
    let text = site.run("status -v --no-change-user").out;
    let json = site.run("status -v --no-change-user --format json").out;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let told = json["config_status"]["not_acted_on"].as_array().unwrap();
    assert_eq!(told.len(), 2);
    for (line, told) in lines.iter().zip(told) {
        let line = line.strip_prefix("WARNING: ").unwrap();
        assert!(told.as_str().unwrap().starts_with(line), "{told}");
        assert_eq!(log.matches(line).count(), 1, "{log}");
    }
    let from = text.find("Not acted on:\n").unwrap();
    let part: Vec<&str> = text[from..].lines().skip(1).collect();
    assert!(
        part[0].starts_with("  monitor docker_monitor (2 times) is not run:"),
        "{text}"
    );
    assert!(
        part.iter().take(6).all(|line| line.chars().count() < 80),
        "{text}"
    );
    // Once it is mended nothing is left of it
    site.configure("");
    kill(site.pid().unwrap(), Signal::SIGHUP);
    until("the list is empty", || {
        let json = site.run("status -v --no-change-user --format json").out;
        json.contains("\"not_acted_on\":[]")
    });
}

#[test]
fn a_key_from_a_file_with_a_line_end_is_the_key() {
    let site = Site::new();
    for (key, trimmed) in [
        ("secret-of-test\\n", true),
        ("  secret-of-test\\r\\n", true),
        ("secret of test", false),
        ("secret\\tof", false),
    ] {
        let text = fs::read_to_string(site.path("agent.json")).unwrap();
        let old = text.lines().find(|line| line.contains("api_key")).unwrap();
        site.write_configuration(&text.replace(old, &format!("  \"api_key\": \"{key}\",")));
        let told = site.run("start --no-change-user");
        assert_eq!(told.code, i32::from(!trimmed), "{key}: {told:?}");
        assert!(!told.err.contains("secret"), "{told:?}");
        if trimmed {
            assert!(
                told.err
                    .contains("the blanks and line ends around the key are left out"),
                "{told:?}"
            );
            assert_eq!(site.run("stop --no-change-user").code, 0);
        } else {
            assert!(
                told.err
                    .contains("the key has a character at place 7 that no key has"),
                "{told:?}"
            );
        }
    }
    // The broken one can be replaced
    let told = site.run("config --set-key another");
    assert_eq!(told.code, 0, "{told:?}");
}
