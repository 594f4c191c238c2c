//! The programs that will really send.

use super::*;
use std::process::{Child, Command, Stdio};

/// Looks where Debian has daemons, too.
fn command(name: &str) -> Command {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new(
        std::env::split_paths(&format!("{path}:/usr/sbin:/sbin"))
            .map(|dir| dir.join(name))
            .find(|file| file.exists())
            .unwrap_or_else(|| panic!("there is no {name}")),
    );
    command.stdin(Stdio::null());
    command
}

fn logger(address: SocketAddr, options: &[&str], text: &str) {
    let status = command("logger")
        .args(["--server", "127.0.0.1", "--port"])
        .arg(address.port().to_string())
        .args(["-t", "myapp", "-p", "user.notice"])
        .args(options)
        .args(["--", text])
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
#[ignore = "needs logger"]
fn what_logger_sends_in_every_way_arrives_and_is_sorted() {
    let scratch = Scratch::new("syslog-logger");
    let rules = [rule(scratch.path("t-*"), &[])];
    let entry = json!({"protocols": "tcp,udp", "message_log_template": "t-$PROTO-$APPNAME.log"});
    let running = start(&scratch, &entry, &rules);
    let text = "say \"é ☃\" [x] 5 <13>";
    for (port, proto) in [(0, "tcp"), (1, "udp")] {
        let file = format!("t-{proto}-myapp.log");
        let mut lines = 0;
        for header in ["--rfc3164", "--rfc5424"] {
            for counted in [&["--octet-count"][..], &[]] {
                let mut options = vec![header];
                options.push(if port == 0 { "--tcp" } else { "--udp" });
                if port == 0 {
                    options.extend(counted);
                }
                logger(running.addresses[port], &options, text);
                lines += 1;
                running.wait(|| running.read(&file).lines().count() == lines);
            }
        }
        for line in running.read(&file).lines() {
            assert!(line.starts_with("<13>") && line.ends_with(text), "{line}");
        }
    }
    assert_eq!(running.read("agent_syslog.log"), "");
    assert_eq!(running.count("messages_malformed"), 0);
}

#[test]
#[ignore = "needs python3"]
fn what_pythons_sysloghandler_sends_arrives_message_by_message() {
    let scratch = Scratch::new("syslog-python");
    let running = start(&scratch, &json!({"protocols": "tcp,udp"}), &[]);
    let script = r#"
import logging.handlers, socket, sys
for port, kind in zip(sys.argv[1:], (socket.SOCK_STREAM, socket.SOCK_DGRAM)):
    handler = logging.handlers.SysLogHandler(("127.0.0.1", int(port)), socktype=kind)
    handler.ident = "prog[1]: "
    log = logging.Logger(port)
    log.addHandler(handler)
    log.warning("one")
    log.error("two \u00e9\nlines")
    handler.close()
"#;
    let status = command("python3")
        .args(["-c", script])
        .args(running.addresses.iter().map(|a| a.port().to_string()))
        .status()
        .unwrap();
    assert!(status.success());
    let lines = ["<11>prog[1]: two é", "<12>prog[1]: one", "lines"];
    // Nothing says which port is read first.
    running.wait(|| {
        let text = running.read("agent_syslog.log");
        let mut found: Vec<_> = text.lines().collect();
        found.sort_unstable();
        found == lines.map(|line| [line; 2]).concat()
    });
}

/// A process that ends with the test.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn rsyslogd(scratch: &Scratch, actions: &str, socket: &std::path::Path) -> Daemon {
    let config = scratch.path("rsyslog.conf");
    let text = format!(
        "global(workDirectory=\"{}\")\nmodule(load=\"imuxsock\" SysSock.Use=\"off\")\ninput(type=\"imuxsock\" Socket=\"{}\" CreatePath=\"off\" UseSysTimeStamp=\"off\")\n{actions}",
        scratch.path("").display(),
        socket.display()
    );
    fs::write(&config, text).unwrap();
    let child = command("rsyslogd")
        .args(["-n", "-iNONE", "-f"])
        .arg(&config)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    Daemon(child)
}

#[test]
#[ignore = "needs rsyslogd and logger"]
fn what_rsyslog_forwards_arrives_complete_and_in_order() {
    let scratch = Scratch::new("syslog-rsyslog");
    let entry = json!({
        "protocols": "tcp,udp",
        "message_log_template": "t-$PROTO-$APPNAME.log",
        "udp_receive_buffer": 4_194_304
    });
    let running = start(&scratch, &entry, &[rule(scratch.path("t-*"), &[])]);
    for (kind, file, action) in [
        (
            "plain",
            "t-tcp-plain.log",
            "Protocol=\"tcp\" TCP_Framing=\"traditional\" template=\"RSYSLOG_ForwardFormat\"",
        ),
        (
            "counted",
            "t-tcp-counted.log",
            "Protocol=\"tcp\" TCP_Framing=\"octet-counted\" template=\"RSYSLOG_SyslogProtocol23Format\"",
        ),
        (
            "datagrams",
            "t-udp-datagrams.log",
            "Protocol=\"udp\" template=\"RSYSLOG_TraditionalForwardFormat\"",
        ),
    ] {
        let address = running.addresses[usize::from(kind == "datagrams")];
        let action = format!(
            "action(type=\"omfwd\" Target=\"127.0.0.1\" Port=\"{}\" {action})\n",
            address.port()
        );
        let socket = scratch.path(&format!("{kind}.sock"));
        let _daemon = rsyslogd(&scratch, &action, &socket);
        running.wait(|| socket.exists());
        let text: String = (0..500).map(|n| format!("2026 message {n} of {kind}\n")).collect();
        fs::write(scratch.path("input"), text).unwrap();
        let status = command("logger")
            .arg("--socket")
            .arg(&socket)
            .args(["-t", kind, "-f"])
            .arg(scratch.path("input"))
            .status()
            .unwrap();
        assert!(status.success());
        running.wait(|| running.read(file).lines().count() >= 500);
        for (n, line) in running.read(file).lines().enumerate() {
            let end = format!("2026 message {n} of {kind}");
            assert!(line.starts_with("<13>") && line.ends_with(&end), "{line}");
        }
    }
    assert_eq!(running.count("messages_malformed"), 0);
    assert_eq!(running.count("messages_truncated"), 0);
}
