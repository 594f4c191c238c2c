//! The demo as a user meets it.

use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A folder for the demo's folder.
struct Temp(PathBuf);

impl Temp {
    fn new(name: &str) -> Temp {
        let path = std::env::temp_dir().join(format!("demo-test-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Temp(path)
    }

    fn demo(&self, args: &[&str]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_demo"))
            .args(args)
            .env("TMPDIR", &self.0)
            // Would send it elsewhere, if it were heeded
            .env("SCALYR_SERVER", "https://192.0.2.1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn is_empty(&self) -> bool {
        fs::read_dir(&self.0).unwrap().next().is_none()
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn wait(child: &mut Child, time: Duration) -> ExitStatus {
    let deadline = Instant::now() + time;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("the demo did not end within {time:?}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn it_delivers_and_ends_by_itself_and_leaves_nothing() {
    let temp = Temp::new("seconds");
    let mut demo = temp.demo(&["--seconds", "5"]);
    let mut out = String::new();
    let mut pipe = demo.stdout.take().unwrap();
    pipe.read_to_string(&mut out).unwrap();
    let status = wait(&mut demo, Duration::from_secs(30));
    assert!(status.success(), "{out}");
    assert!(out.contains("linux_system_metrics.log"), "{out}");
    assert!(out.contains("agent.log"), "{out}");
    assert!(temp.is_empty(), "{out}");
}

#[test]
fn ctrl_c_ends_demo_and_agent_soon() {
    let temp = Temp::new("ctrl-c");
    let mut demo = temp.demo(&[]);
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    let mut agent = None;
    for line in lines.by_ref() {
        let line = line.unwrap();
        if let Some(rest) = line.strip_prefix("agent     pid ") {
            agent = Some(rest.split(',').next().unwrap().to_owned());
        }
        if line.starts_with("==") {
            break;
        }
    }
    let agent = agent.expect("the demo says the agent's pid");
    let asked = Instant::now();
    let pid = Pid::from_raw(i32::try_from(demo.id()).unwrap());
    kill(pid, Signal::SIGINT).unwrap();
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    let status = wait(&mut demo, Duration::from_secs(30));
    let took = asked.elapsed();
    assert!(status.success(), "{rest:?}");
    // Two seconds are promised, where the machine has not much else to do
    assert!(took < Duration::from_secs(20), "{took:?}");
    assert!(!Path::new("/proc").join(agent).exists());
    assert!(temp.is_empty());
}
