//! `status --debug`: what an operator is told of an agent that does not answer.

use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const BINARY: &str = env!("CARGO_BIN_EXE_scalyr-agent-2");

/// An agent in a folder of its own; both go at the end.
struct Stopped {
    root: PathBuf,
    agent: Child,
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = self.agent.kill();
        let _ = self.agent.wait();
        let _ = fs::remove_dir_all(&self.root);
    }
}

fn command(root: &std::path::Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().to_uppercase().starts_with("SCALYR") {
            command.env_remove(name);
        }
    }
    command.args(arguments).arg("--no-change-user").arg("-c");
    command.arg(root.join("agent.json")).stdin(Stdio::null());
    command
}

#[test]
fn an_agent_that_hangs_is_described_and_not_waited_for() {
    let root = std::env::temp_dir().join(format!("cli-status-{}", std::process::id()));
    let _ = fs::remove_dir_all(&root);
    for dir in ["log", "data"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    let config = format!(
        "{{api_key: \"secret-of-test\", allow_http: true, scalyr_server: \"http://127.0.0.1:9\",\n\
         implicit_metric_monitor: false, implicit_agent_process_metrics_monitor: false,\n\
         agent_status_timeout: 1, agent_log_path: \"{0}/log\", agent_data_path: \"{0}/data\"}}",
        root.display()
    );
    fs::write(root.join("agent.json"), config).unwrap();
    let agent = command(&root, &["start", "--no-fork"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let pid = i32::try_from(agent.id()).unwrap();
    let site = Stopped { root, agent };
    let deadline = Instant::now() + Duration::from_secs(60);
    while command(&site.root, &["status", "-v"])
        .output()
        .unwrap()
        .status
        .code()
        != Some(0)
    {
        assert!(Instant::now() < deadline, "it never ran");
        std::thread::sleep(Duration::from_millis(20));
    }
    kill(Pid::from_raw(pid), Signal::SIGSTOP).unwrap();

    for (arguments, samples) in [
        (&["status", "-v"][..], 0),
        (&["status", "-H", "--debug"], 1),
        (
            &[
                "status",
                "-v",
                "--debug",
                "--stats-capture-interval",
                "0.05",
            ],
            10,
        ),
    ] {
        let output = command(&site.root, arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(
            text.starts_with("Failed to get status within 1 seconds."),
            "{text}"
        );
        assert!(!text.contains("secret-of-test"), "{text}");
        let seen = text
            .lines()
            .find_map(|line| line.strip_prefix("Debug stats: "));
        if samples == 0 {
            assert_eq!(seen, None);
            continue;
        }
        let seen: serde_json::Value = serde_json::from_str(seen.unwrap()).unwrap();
        let seen = seen.as_array().unwrap();
        // A busy machine may be late.
        assert!(seen.len() > samples / 2, "{seen:?}");
        let last = &seen[seen.len() - 1];
        assert_eq!(last["agent_process"]["pid"], pid);
        assert_eq!(last["agent_process"]["state"], "T");
        assert!(last["status_file_info"]["data_root_file_stats"].is_array());
    }
    kill(Pid::from_raw(pid), Signal::SIGCONT).unwrap();
}
