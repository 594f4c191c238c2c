//! Messages sorted into files by `message_log_template`.

use super::*;
use crate::monitor::Like;

const TEMPLATE: &str = "syslog-$PROTO-$HOSTNAME-$APPNAME.log";
const ROUTED: [(&str, &str); 6] = [
    (
        "<34>Oct 11 22:14:15 alpha su: 'su root' failed",
        "tcp-alpha-su",
    ),
    (
        "<34>Oct 11 22:14:15 alpha sshd[123]: hello",
        "tcp-alpha-sshd",
    ),
    (
        "<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - BOM",
        "tcp-mymachine.example.com-su",
    ),
    (
        "<13>Feb  5 17:32:18 10.0.0.99 Use the BFG!",
        "tcp-10.0.0.99-Use",
    ),
    ("<13>Feb  5 17:32:18 host nocolonbutspace", "tcp-host-None"),
    (
        "<34>Oct 11 22:14:15 ../../etc /x: traversal",
        "tcp-.._.._etc-_x",
    ),
];

#[test]
fn each_message_goes_to_the_file_of_its_host_and_program() {
    let scratch = Scratch::new("syslog-template");
    let rules = [
        rule(scratch.path("other*"), &[]),
        rule(
            scratch.path("syslog-*.log"),
            &[("source", "tmpl"), ("parser", "syslogTemplated")],
        ),
    ];
    let entry = json!({
        "protocols": "tcp,udp",
        "message_log_template": TEMPLATE,
        "attributes": {"a1": "v1"}
    });
    let running = start(&scratch, &entry, &rules);
    // All in one write: the way of each is its own.
    let all: String = ROUTED.map(|(message, _)| format!("{message}\n")).concat();
    running.tcp(all.as_bytes());
    for (message, name) in ROUTED {
        running.expect(&format!("syslog-{name}.log"), &format!("{message}\n"));
    }
    running.udp(1, b"<34>Oct 11 22:14:15 beta cron[1]: udp templ");
    running.expect(
        "syslog-udp-beta-cron.log",
        "<34>Oct 11 22:14:15 beta cron[1]: udp templ\n",
    );
    assert_eq!(running.read("agent_syslog.log"), "");
    let logs = running.followed.all();
    assert_eq!(logs.len(), 7);
    assert_eq!(logs[0].parser, "syslogTemplated");
    assert_eq!(logs[0].like, Some(Like::Logs(1)));
    let port = running.addresses[0].port();
    // The port of the test is chosen by the kernel, the option has the default.
    assert_ne!(port, 601);
    let attributes = json!({
        "a1": "v1", "monitor": "agentSyslog", "source": "tmpl", "proto": "tcp",
        "srcip": "127.0.0.1", "destport": 0, "hostname": "alpha", "appname": "su"
    });
    let found: serde_json::Map<_, _> = logs[0].attributes.clone().into_iter().collect();
    assert_eq!(Json::Object(found), attributes);
    let order: Vec<_> = logs[0].attributes.iter().map(|(k, _)| k.as_str()).collect();
    assert_eq!(
        order,
        ["a1", "monitor", "source", "proto", "srcip", "destport", "hostname", "appname"]
    );
}

#[test]
fn messages_are_sorted_as_the_python_agent_did_if_that_is_wanted() {
    let scratch = Scratch::new("syslog-strict");
    let rules = [rule(scratch.path("syslog-*.log"), &[])];
    let entry = json!({
        "message_log_template": TEMPLATE,
        "strict_rfc3164": true,
        "only_template_attributes": true
    });
    let running = start(&scratch, &entry, &rules);
    running.tcp(ROUTED[2].0.as_bytes());
    running.expect("syslog-tcp-None-None.log", &format!("{}\n", ROUTED[2].0));
    let log = &running.followed.all()[0];
    let names: Vec<_> = log.attributes.iter().map(|(k, _)| k.as_str()).collect();
    assert_eq!(names, ["monitor", "proto"]);
    assert_eq!(log.parser, "agentSyslog");
    assert_eq!(running.count("messages_without_header"), 1);
}

#[test]
fn names_that_nothing_asks_for_or_that_are_taken_go_to_the_base_file() {
    let scratch = Scratch::new("syslog-refused");
    let rules = [rule(scratch.path("*"), &[])];
    let entry = json!({"message_log_template": "$APPNAME.log"});
    fs::create_dir(scratch.path("dir.log")).unwrap();
    fs::write(scratch.path("agent.log"), "mine\n").unwrap();
    let running = start(&scratch, &entry, &rules);
    let mut expected = String::new();
    for app in ["agent", "linux_system_metrics", "agent_syslog", "dir"] {
        let message = format!("<34>Oct 11 22:14:15 h {app}: x\n");
        running.tcp(message.as_bytes());
        expected.push_str(&message);
        running.expect("agent_syslog.log", &expected);
    }
    assert_eq!(running.read("agent.log"), "mine\n");
    assert!(running.followed.all().is_empty());
    drop(running);
    let scratch = Scratch::new("syslog-no-rule");
    let running = start(&scratch, &entry, &[]);
    running.tcp(b"<34>Oct 11 22:14:15 h app: x\n");
    running.expect("agent_syslog.log", "<34>Oct 11 22:14:15 h app: x\n");
}

#[test]
fn there_are_never_more_files_than_allowed_and_idle_ones_are_closed_by_the_clock() {
    let scratch = Scratch::new("syslog-many");
    let rules = [rule(scratch.path("sub/*.log"), &[])];
    let entry = json!({
        "message_log_template": "sub/$HOSTNAME/$APPNAME.log",
        "max_log_files": 3,
        "expire_log": 1
    });
    let running = start(&scratch, &entry, &rules);
    let mut client = running.connect();
    for n in 0..10 {
        client
            .write_all(format!("<34>Oct 11 22:14:15 h{n} app: x\n").as_bytes())
            .unwrap();
    }
    running.wait(|| running.read("agent_syslog.log").lines().count() == 7);
    assert_eq!(running.read("sub/h2/app.log").lines().count(), 1);
    assert_eq!(running.count("template_files_open"), 3);
    assert_eq!(running.count("messages_without_room"), 7);
    assert_eq!(running.followed.all().len(), 3);
    // Nothing more comes in.
    running.wait(|| running.count("template_files_open") == 0);
    assert!(running.followed.all().is_empty());
    client
        .write_all(b"<34>Oct 11 22:14:15 h9 app: x\n")
        .unwrap();
    running.wait(|| running.read("sub/h9/app.log").lines().count() == 1);
}

/// The name of each program is a new one, and each file is far below its own bound.
#[test]
fn a_sender_that_varies_names_does_not_fill_the_disk_and_loses_nothing() {
    let scratch = Scratch::new("syslog-room");
    let rules = [rule(scratch.path("sub/*.log"), &[])];
    let entry = json!({
        "message_log_template": "sub/$APPNAME.log",
        "max_total_log_size": 5_000,
        "expire_log": 1
    });
    let running = start(&scratch, &entry, &rules);
    let mut client = running.connect();
    let mut say = |name: &str| {
        let message = format!("<34>Oct 11 22:14:15 h {name}: {}\n", "x".repeat(100));
        client.write_all(message.as_bytes()).unwrap();
        message.len()
    };
    let mut length = 0;
    for n in 100..200 {
        length = say(&format!("app{n}"));
    }
    let in_files = || {
        let files = fs::read_dir(scratch.path("sub"))
            .into_iter()
            .flatten()
            .flatten();
        let bytes = files.map(|file| fs::read(file.path()).unwrap().len());
        bytes.collect::<Vec<_>>()
    };
    let refused = || running.read("agent_syslog.log").lines().count();
    running.wait(|| refused() + in_files().iter().sum::<usize>() / length == 100);
    let total: usize = in_files().iter().sum();
    assert!((4_500..5_000 + length).contains(&total), "{total}");
    assert_eq!(running.count("messages_without_room"), refused() as u64);
    running.wait(|| running.count("template_bytes") == total as u64);
    // No empty ones either
    assert!(in_files().iter().all(|bytes| *bytes == length));
    // The copier has all of it, and says so while the files are open
    let later = std::time::SystemTime::now() + Duration::from_secs(60);
    let paths = running.followed.all().into_iter().map(|log| log.path);
    running
        .followed
        .tell_delivered(paths.map(|path| (path, later)));
    running.wait(|| running.count("template_files_deleted") > 0);
    let before = refused();
    say("app500");
    running.wait(|| running.read("sub/app500.log").lines().count() == 1);
    assert_eq!(refused(), before);
}

#[test]
fn old_files_are_deleted_after_a_restart_but_no_foreign_one() {
    let scratch = Scratch::new("syslog-delete");
    let rules = [rule(scratch.path("*.log"), &[])];
    let entry = json!({
        "message_log_template": "$HOSTNAME.log",
        "check_for_unused_logs_mins": 0,
        "delete_unused_logs_hours": 1
    });
    let old = std::time::SystemTime::now() - Duration::from_secs(7200);
    let age = |name: &str| {
        let file = fs::File::options().append(true).open(scratch.path(name));
        file.unwrap().set_modified(old).unwrap();
    };
    fs::write(scratch.path("foreign.log"), "x\n").unwrap();
    age("foreign.log");
    let mut running = start(&scratch, &entry, &rules);
    running.tcp(b"<34>Oct 11 22:14:15 made app: x\n<34>Oct 11 22:14:15 foreign app: x\n");
    running.wait(|| running.read("made.log").len() > 10 && running.read("foreign.log").len() > 10);
    running.stop();
    age("made.log");
    age("foreign.log");
    let running = start(&scratch, &entry, &rules);
    running.wait(|| running.count("template_files_deleted") == 1);
    assert!(!scratch.path("made.log").exists());
    assert!(scratch.path("foreign.log").exists());
}
