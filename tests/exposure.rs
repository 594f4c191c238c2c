//! Other users of the machine, or another agent, could misuse the agent: to read files or end
//! processes that are not theirs, or to keep it from its work. None of this succeeds.

mod common;

use common::process::Process;
use common::{append, give_to_nobody, Site, Told, START, STOP};
use nix::sys::signal::Signal;
use serde_json::json;
use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::{symlink, PermissionsExt as _};
use std::time::Duration;

/// A line may take this long to arrive while the agent looks through folders.
const SOON: Duration = Duration::from_secs(5);

/// Secrets of root's, and a folder of `nobody`'s that a pattern covers, with a link to the first one
/// that `nobody` made, and a link to the second one that root made.
fn linked(entry: serde_json::Value) -> (Site, Told) {
    let mut site = Site::new();
    let mut told = Told::new();
    for secret in ["theirs", "roots"] {
        let path = site.path(secret);
        append(&path, format!("a secret that is {secret}\n").as_bytes());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    symlink(site.path("theirs"), site.log_path("theirs.log")).unwrap();
    told.append(&site, "plain.log", &["a line of a file"]);
    give_to_nobody(&site.path("logs"));
    symlink(site.path("roots"), site.log_path("roots.log")).unwrap();
    told.wants("roots.log", &["a secret that is roots"]);
    let mut all = json!({"path": site.log_path("*.log"), "copy_from_start": true});
    let members = all.as_object_mut().unwrap();
    members.extend(entry.as_object().unwrap().clone());
    site.log(all).start();
    (site, told)
}

#[test]
#[ignore = "needs to run as root"]
fn a_link_that_another_user_made_has_no_file_sent() {
    let (mut site, told) = linked(json!({}));
    told.expect_for_good(&mut site);
    let log = site.agent_log();
    let path = site.log_path("theirs.log");
    assert!(log.contains(path.to_str().unwrap()), "{log}");
}

/// Found while running, and in the place of a log that was followed.
#[test]
#[ignore = "needs to run as root"]
fn a_log_that_another_user_replaces_by_a_link_has_no_file_sent() {
    let (mut site, mut told) = linked(json!({}));
    told.expect(&mut site);
    for name in ["plain.log", "late.log"] {
        let link = site.log_path("link");
        symlink(site.path("theirs"), &link).unwrap();
        give_to_nobody(&link);
        fs::rename(&link, site.log_path(name)).unwrap();
    }
    told.append(&site, "witness.log", &["a line after it"]);
    told.expect_for_good(&mut site);
}

#[test]
#[ignore = "needs to run as root"]
fn links_of_others_are_followed_if_the_entry_says_so() {
    let (mut site, mut told) = linked(json!({"follow_foreign_links": true}));
    told.wants("theirs.log", &["a secret that is theirs"]);
    told.expect_for_good(&mut site);
}

/// As under systemd: the configuration is root's, the pid file's folder is the agent's user's.
#[test]
#[ignore = "needs to run as root"]
fn a_pid_file_that_the_agents_user_forged_ends_no_other_process() {
    for text in ["", " some words", " /usr/bin/scalyr-agent-2"] {
        for command in [&["stop"][..], &["status", "-v"]] {
            let site = Site::new();
            let args = ["1000".into()];
            let mut victim = Process::start("sleep".as_ref(), &args, &site.path(""), "victim");
            give_to_nobody(&site.path("log"));
            give_to_nobody(&site.path("data"));
            let pid_file = site.path("log/agent.pid");
            fs::write(&pid_file, format!("{}{text}\n", victim.pid())).unwrap();
            give_to_nobody(&pid_file);
            site.write_config();
            let said = site.run(command);
            assert!(
                victim.wait_exit(Duration::from_millis(200)).is_none(),
                "{command:?} ended a process that the pid file named {text:?}: {said:?}"
            );
        }
    }
}

#[test]
fn what_syslog_brings_is_readable_by_no_other_user() {
    let mut site = Site::new();
    // As init systems without umask of their own start it
    site.set_umask("022");
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    // Bound for a moment only, to learn of a free port
    let port = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    let port = port.unwrap();
    site.set(
        "monitors",
        json!([{
            "module": "syslog_monitor",
            "protocols": format!("udp:{}", port.port()),
            "log_flush_delay": 0.02,
        }]),
    );
    site.start_daemon();
    let log = site.path("log/agent_syslog.log");
    site.until_seen("a message is written", || {
        let message = "<86>Oct 11 22:14:15 host sshd[1]: the password is hunter2";
        // Refused until the port is open
        let _ = udp.send_to(message.as_bytes(), port);
        fs::read_to_string(&log).is_ok_and(|text| text.contains("hunter2"))
    });
    let mode = fs::metadata(&log).unwrap().permissions().mode();
    assert_eq!(mode & 0o007, 0, "{mode:o}");
}

/// An agent that was root and is `nobody` now, and was left a checkpoint that only root can read. A
/// line was written meanwhile.
fn with_a_checkpoint_of_roots() -> (Site, Told) {
    let mut site = Site::new();
    let mut told = Told::new();
    let path = site.log_path("app.log");
    append(&path, b"before the first start\n");
    site.log(json!({"path": path})).start();
    site.until_logged("Copying started");
    told.append(&site, "app.log", &["sent as root"]);
    told.expect(&mut site);
    site.term();
    site.run_as_nobody();
    for_each_checkpoint(&site, |path| {
        std::os::unix::fs::chown(path, Some(0), Some(0)).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    });
    (site, told)
}

fn for_each_checkpoint(site: &Site, change: impl Fn(&std::path::Path)) {
    let mut found = 0;
    for entry in fs::read_dir(site.path("data")).unwrap() {
        let path = entry.unwrap().path();
        if path.to_str().unwrap().contains("checkpoints") {
            change(&path);
            found += 1;
        }
    }
    assert!(found > 0, "no checkpoint");
}

#[test]
#[ignore = "needs to run as root"]
fn a_checkpoint_that_cant_be_read_refuses_the_start_and_loses_nothing() {
    let (mut site, mut told) = with_a_checkpoint_of_roots();
    told.append(&site, "app.log", &["written while it was down"]);
    let said = site.run(START);
    assert!(said.code > 0, "{said:?}");
    let all = format!("{}{}", said.out, said.err);
    assert!(all.contains("--ignore-positions"), "{said:?}");
    assert!(all.contains("checkpoints"), "{said:?}");
    // As the operator mends it
    for_each_checkpoint(&site, give_to_nobody);
    site.start();
    told.append(&site, "app.log", &["after the start"]);
    told.expect_for_good(&mut site);
}

#[test]
#[ignore = "needs to run as root"]
fn a_checkpoint_that_cant_be_read_can_be_ignored() {
    let (mut site, mut told) = with_a_checkpoint_of_roots();
    append(&site.log_path("app.log"), b"written while it was down\n");
    site.start_with(&["--ignore-positions"]);
    site.until_logged_times("Copying started", 2);
    told.append(&site, "app.log", &["after the start"]);
    told.expect(&mut site);
    site.term();
}

/// Links in a circle: the paths through `N` folders are as many as `N` factorial.
#[test]
fn folders_that_link_to_each_other_keep_no_line_from_arriving() {
    let mut site = Site::new();
    let mut told = Told::new();
    told.append(&site, "app.log", &["before"]);
    site.copy("**/*.log").start();
    told.expect(&mut site);
    let name = |n: u32| site.log_path(&format!("circle/{n}"));
    let folders = 1..=9;
    for n in folders.clone() {
        fs::create_dir_all(name(n)).unwrap();
    }
    for n in folders.clone() {
        for other in folders.clone().filter(|other| *other != n) {
            symlink(format!("../{other}"), name(n).join(other.to_string())).unwrap();
        }
    }
    // For several scans
    for round in 1..=4 {
        told.append(&site, "app.log", &[format!("round {round}")]);
        told.expect_within(&mut site, SOON);
    }
    site.stop_within(Signal::SIGTERM, STOP);
}

#[test]
fn a_second_agent_on_one_data_folder_is_refused() {
    let mut site = Site::new();
    let mut told = Told::new();
    told.append(&site, "app.log", &["first"]);
    site.copy("*.log").start();
    told.expect(&mut site);
    // Another folder for its log and its pid file
    let other = site.path("other");
    fs::create_dir_all(other.join("log")).unwrap();
    let text = site.config_text();
    let own = site.path("log");
    let text = text.replace(own.to_str().unwrap(), other.join("log").to_str().unwrap());
    let config = other.join("agent.json");
    fs::write(&config, text).unwrap();
    let said = site.run_with(&config, START);
    assert!(said.code > 0, "{said:?}");
    let all = format!("{}{}", said.out, said.err);
    assert!(
        all.contains(site.path("data").to_str().unwrap()),
        "{said:?}"
    );
    // The first one is none the worse, and what is left of a killed one bars no start
    told.append(&site, "app.log", &["second"]);
    told.expect(&mut site);
    site.kill9();
    told.append(&site, "app.log", &["third"]);
    told.expect_for_good({
        site.start();
        &mut site
    });
}
