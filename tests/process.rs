//! The agent among other processes and users: one for each data directory, signals for no process but
//! the agent, and files that not everybody may read.

mod common;

use common::{program, Site};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;
use serde_json::json;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const IN_FOREGROUND: [&str; 4] = [
    "start",
    "--no-fork",
    "--no-change-user",
    "--no-check-remote-server",
];

/// A configuration beside the site's, with the same data directory and another log directory.
fn twin(site: &Site) -> PathBuf {
    let mut config: serde_json::Value = serde_json::from_str(&site.config_text()).unwrap();
    config["agent_log_path"] = json!(site.path("log2"));
    fs::create_dir_all(site.path("log2")).unwrap();
    fs::create_dir_all(site.path("twin")).unwrap();
    let path = site.path("twin/agent.json");
    fs::write(&path, config.to_string()).unwrap();
    path
}

fn is_free(lock: &Path) -> bool {
    let file = File::open(lock).unwrap();
    Flock::lock(file, FlockArg::LockExclusiveNonblock).is_ok()
}

#[test]
fn two_agents_with_one_data_directory_do_not_both_run() {
    let mut site = Site::new();
    site.append("app.log", "a line\n");
    site.copy("app.log").start();
    site.until_lines("app.log", 1);
    let twin = twin(&site);
    for background in [false, true] {
        let words = IN_FOREGROUND.into_iter();
        let words: Vec<_> = words
            .filter(|word| !background || *word != "--no-fork")
            .collect();
        let said = site.run_with(&twin, &words);
        assert_eq!(said.code, 1, "{said:?}");
        let directory = site.path("data").display().to_string();
        let holder = format!("pid={}.", site.pid());
        for part in [&directory, &holder, "agent_data_path"] {
            assert!(said.err.contains(part), "{part}: {said:?}");
        }
        assert!(!site.path("log2/agent.pid").exists());
    }
    // Those that only look
    let log = site.log_path("app.log").display().to_string();
    for (words, code) in [
        (vec!["dry-run", "--from-checkpoint", &log], 0),
        (vec!["explain", &log], 0),
        (vec!["status"], 4),
    ] {
        let said = site.run_with(&twin, &words);
        assert_eq!(said.code, code, "{words:?}: {said:?}");
    }
    assert_eq!(site.receiver.counts().duplicates, 0);
    site.term();
    assert!(is_free(&site.path("data/agent.lock")));
}

#[test]
fn a_child_program_that_outlives_a_killed_agent_does_not_keep_the_directory() {
    let mut site = Site::new();
    let note = site.path("child");
    let command = format!("echo $$ > {}; exec sleep 600", note.display());
    site.set(
        "monitors",
        json!([{"module": "scalyr_agent.builtin_monitors.shell_monitor", "id": "x", "command": command}]),
    );
    site.start();
    site.until_seen("the command runs", || {
        fs::read_to_string(&note).is_ok_and(|text| text.ends_with('\n'))
    });
    let child: i32 = fs::read_to_string(&note).unwrap().trim().parse().unwrap();
    site.kill9();
    assert!(kill(Pid::from_raw(child), None).is_ok(), "it is to outlive");
    site.set("monitors", json!([])).start();
    site.until_logged_times("Copying started", 2);
    kill(Pid::from_raw(child), Signal::SIGKILL).unwrap();
    site.term();
}

#[test]
fn a_reload_into_the_directory_of_another_agent_is_refused() {
    let mut first = Site::new();
    let mut second = Site::new();
    for site in [&mut first, &mut second] {
        site.append("app.log", "a line\n");
        site.copy("app.log").start();
        site.until_lines("app.log", 1);
    }
    second.set("agent_data_path", json!(first.path("data")));
    second.write_config();
    second.until_logged("is in use by another agent");
    let own = second.path("data/agent.lock");
    assert!(!is_free(&own));

    fs::create_dir(second.path("other")).unwrap();
    second.set("agent_data_path", json!(second.path("other")));
    second.write_config();
    second.until_logged("agent_data_path changed");
    second.until_seen("the old directory is free", || is_free(&own));
    assert!(!is_free(&second.path("other/agent.lock")));
    // The same by another path is no other
    std::os::unix::fs::symlink(second.path("other"), second.path("link")).unwrap();
    second.set("agent_data_path", json!(second.path("link")));
    second.write_config();
    second.until_logged_times("agent_data_path changed", 2);
    assert!(!is_free(&second.path("other/agent.lock")));
    second.append("app.log", "another\n");
    second.until_lines("app.log", 2);
}

/// A process that any signal ends.
struct Victim(Child);

impl Victim {
    fn new() -> Victim {
        Victim(Command::new("sleep").arg("600").spawn().unwrap())
    }
    fn lives(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn what_somebody_wrote_into_the_pid_file_ends_no_process() {
    let site = Site::new();
    site.write_config();
    let mut victim = Victim::new();
    let pid_file = site.path("log/agent.pid");
    for locked in [false, true] {
        let words = if locked { "" } else { " some words" };
        fs::write(&pid_file, format!("{}{words}\n", victim.0.id())).unwrap();
        // By this process, not by the victim
        let held = locked
            .then(|| Flock::lock(File::open(&pid_file).unwrap(), FlockArg::LockExclusive).unwrap());
        for command in [
            "stop",
            "status -v",
            "status -H",
            "restart",
            "condrestart",
            "reload",
            "check",
        ] {
            let mut words: Vec<&str> = command.split(' ').collect();
            words.push("--no-change-user");
            let said = site.run(&words);
            assert!(victim.lives(), "{command}, locked: {locked}: {said:?}");
            assert_eq!(said.code, 1, "{command}: {said:?}");
            let all = said.out + &said.err;
            assert!(all.contains("No signal was sent: "), "{command}: {all}");
        }
        drop(held);
    }
    fs::remove_file(pid_file).unwrap();
}

#[test]
fn an_agent_whose_program_was_replaced_is_asked_and_stopped() {
    let mut site = Site::new();
    site.write_config();
    let copy = site.path("scalyr-agent-2");
    fs::copy(program(), &copy).unwrap();
    let started = Command::new(&copy)
        .args([
            "start",
            "--no-change-user",
            "--no-check-remote-server",
            "-c",
        ])
        .arg(site.config_path())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(started.success());
    site.adopt_daemon();
    fs::remove_file(copy).unwrap();
    for (command, text) in [
        ("status -v", "Scalyr Agent status."),
        ("reload", ""),
        ("stop", "Agent has stopped."),
    ] {
        let mut words: Vec<&str> = command.split(' ').collect();
        words.push("--no-change-user");
        let said = site.run(&words);
        assert_eq!(said.code, 0, "{command}: {said:?}");
        assert!(said.out.contains(text), "{command}: {said:?}");
    }
    site.until_logged("Received signal to reload the configuration.");
    assert_eq!(site.run(&["reload", "--no-change-user"]).code, 4);
}

#[test]
fn a_report_that_moves_the_cursor_does_not_reach_the_terminal() {
    let mut site = Site::new();
    site.start();
    site.until_seen("it answers", || site.run(&["status", "-v"]).code == 0);
    // The agent's user writes the answer in the agent's place
    site.signal(Signal::SIGSTOP);
    let request = site.path("data/status_format");
    fs::remove_file(&request).unwrap();
    let answer = site.path("data/last_status");
    let forger = std::thread::spawn(move || {
        while !fs::read(&request).is_ok_and(|name| !name.is_empty()) {
            std::thread::yield_now();
        }
        fs::write(
            answer,
            "Scalyr Agent status.\x1b]0;title\x07 \u{9b}2J\r\n\tok\n",
        )
        .unwrap();
    });
    let said = site.run(&["status", "-v", "--no-change-user"]);
    forger.join().unwrap();
    site.signal(Signal::SIGCONT);
    assert_eq!(
        said.out, "Scalyr Agent status. ]0;title   2J \n\tok\n\n",
        "{said:?}"
    );
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

/// Starts the agent as a daemon under a umask; its process id.
fn daemon_under(umask: &str, site: &mut Site) -> i32 {
    site.write_config();
    let script = format!("umask {umask}; exec \"$0\" \"$@\"");
    let started = Command::new("sh")
        .args(["-c", &script])
        .arg(program())
        .args([
            "start",
            "--no-change-user",
            "--no-check-remote-server",
            "-c",
        ])
        .arg(site.config_path())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(started.success(), "{}", site.report());
    site.adopt_daemon()
}

#[test]
fn what_monitors_take_in_is_not_for_every_user_to_read() {
    let mut site = Site::new();
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    drop(socket);
    site.set(
        "monitors",
        json!([
            {"module": "scalyr_agent.builtin_monitors.syslog_monitor", "protocols": format!("udp:{port}")},
            {"module": "scalyr_agent.builtin_monitors.shell_monitor", "id": "x", "command": "echo 1"},
        ]),
    );
    // A file that exists keeps its mode
    let old = site.path("log/agent.log");
    fs::write(&old, "").unwrap();
    fs::set_permissions(&old, fs::Permissions::from_mode(0o644)).unwrap();
    let pid = daemon_under("0", &mut site);
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(status.contains("Umask:\t0022\n"), "{status}");
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"));
    let words: Vec<&str> = core.unwrap().split_ascii_whitespace().collect();
    assert_eq!(words[4], "0", "{limits}");

    let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let log = site.path("log/agent_syslog.log");
    site.until_seen("a message is in the log", || {
        let _ = sender.send_to(
            b"<86>Oct 11 22:14:15 h sshd[1]: hunter2",
            ("127.0.0.1", port),
        );
        fs::read_to_string(&log).is_ok_and(|text| text.contains("hunter2"))
    });
    assert_eq!(site.run(&["status", "-v", "--no-change-user"]).code, 0);
    let stopped = site.run(&["stop", "--no-change-user"]);
    assert_eq!(stopped.code, 0, "{stopped:?}");
    let mut seen = Vec::new();
    for folder in ["log", "data"] {
        for entry in fs::read_dir(site.path(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let expected = match name.as_str() {
                "agent.log" => 0o644,
                // The client's, who may be another user than the agent
                "status_format" => 0o644,
                _ => 0o640,
            };
            assert_eq!(mode(&path), expected, "{name}");
            seen.push(name);
        }
    }
    for name in [
        "agent_syslog.log",
        "shell_monitor.log",
        "checkpoints.json",
        "last_status",
        "agent.lock",
    ] {
        assert!(seen.iter().any(|seen| seen == name), "{name}: {seen:?}");
    }
}

#[test]
fn a_stricter_umask_stays() {
    let mut site = Site::new();
    let pid = daemon_under("077", &mut site);
    assert_eq!(mode(&site.path("log/agent.log")), 0o600);
    assert_eq!(mode(&site.path("log/agent.pid")), 0o644);
    let stopped = site.run(&["stop", "--no-change-user"]);
    assert_eq!(stopped.code, 0, "{stopped:?}");
    site.until_seen("it is gone", || kill(Pid::from_raw(pid), None).is_err());
}

/// The children of a process that have ended and of whose end it has not taken note.
fn zombies_of(parent: i32) -> usize {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let stats = all.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
    let is_one = |stat: &String| {
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let mut fields = fields.split_ascii_whitespace();
        fields.next() == Some("Z") && fields.next() == Some(&parent.to_string())
    };
    stats.filter(is_one).count()
}

/// Has a command that leaves a process behind at each sample.
fn leaves_orphans(site: &mut Site) {
    let command = "sleep 0.2 >/dev/null 2>&1 & echo it works; exit 3";
    let monitor = serde_json::json!([{
        "module": "shell_monitor", "id": "parent", "command": command, "sample_interval": 0.5,
    }]);
    site.set("monitors", monitor);
}

#[track_caller]
fn orphans_end_and_its_exit_status_is_heard(site: &mut Site, agent: i32, at_least: usize) {
    site.until_seen("orphans have ended", || zombies_of(agent) >= at_least);
    let most = zombies_of(agent);
    site.until_seen("they are gone", || zombies_of(agent) < most);
    let heard = |state: &receiver::State| {
        state
            .events()
            .filter(|e| e.text().contains("exit_code=3"))
            .count()
            > 3
    };
    site.until("its exit status", heard);
}

#[test]
fn processes_that_a_wrapper_leaves_to_the_agent_do_not_stay_as_zombies() {
    let mut site = Site::new();
    leaves_orphans(&mut site);
    site.wrap(&["sh", "-c", "sleep 1 & sleep 1 & exec \"$@\"", "sh"]);
    site.start();
    let agent = site.pid();
    orphans_end_and_its_exit_status_is_heard(&mut site, agent, 2);
    site.term();
}

/// As in a container: there is no init that would do it.
#[test]
#[ignore = "needs to run as root"]
fn as_process_1_the_agent_reaps_orphans_and_steals_no_exit_status() {
    let mut site = Site::new();
    leaves_orphans(&mut site);
    site.wrap(&["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]);
    site.start();
    let outer = site.pid();
    let children = format!("/proc/{outer}/task/{outer}/children");
    let mut agent = 0;
    site.until_seen("the agent runs", || {
        let text = std::fs::read_to_string(&children).unwrap_or_default();
        agent = text.trim().parse().unwrap_or(0);
        agent > 0
    });
    orphans_end_and_its_exit_status_is_heard(&mut site, agent, 3);
    // Process 1 gets no signal that it does not handle
    let agent = nix::unistd::Pid::from_raw(agent);
    nix::sys::signal::kill(agent, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert!(site.wait_exit(common::STOP).success(), "{}", site.report());
}
