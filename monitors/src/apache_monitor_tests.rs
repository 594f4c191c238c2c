use super::*;
use crate::testing::capture;

/// Of Apache 2.4.71 with the event MPM.
const EVENT: &str = "127.0.0.1
ServerVersion: Apache/2.4.71 (Debian)
ServerMPM: event
Server Built: 2026-11-12T08:58:41
CurrentTime: Tuesday, 01-Dec-2026 10:59:49 UTC
RestartTime: Tuesday, 01-Dec-2026 10:59:47 UTC
ParentServerConfigGeneration: 1
ParentServerMPMGeneration: 0
ServerUptimeSeconds: 3723
ServerUptime: 1 hour 2 minutes 3 seconds
Load1: 7.42
Load5: 4.76
Load15: 2.24
Total Accesses: 4711
Total kBytes: 815
Total Duration: 9052
CPUUser: 1.5
CPUSystem: .25
CPUChildrenUser: 0
CPUChildrenSystem: 0
CPULoad: .047
Uptime: 3723
ReqPerSec: 1.265
BytesPerSec: 224.2
BytesPerReq: 177.2
DurationPerReq: 1.92
BusyWorkers: 1
GracefulWorkers: 0
IdleWorkers: 3
Processes: 1
Stopping: 0
ConnsTotal: 12
ConnsAsyncWaitIO: 1
ConnsAsyncWriting: 2
ConnsAsyncKeepAlive: 5
ConnsAsyncClosing: 4
Scoreboard: __W_KKR....
";

/// The lines of a sample, without what is the same in each.
fn lines(page: &str, extra: bool) -> Vec<String> {
    let (mut out, lines) = capture("apache_monitor(a1)");
    let (words, scoreboard) = parse(page);
    write(&words, scoreboard.filter(|_| extra), extra, &mut out);
    out.flush();
    let head = "2022-04-15 11:11:08.015Z [apache_monitor(a1)] apache.";
    let lines = lines.take();
    let lines = lines.lines().map(|line| line.strip_prefix(head).unwrap());
    lines.map(str::to_owned).collect()
}

const BASIC: [&str; 6] = [
    "workers.active 1",
    "workers.idle 3",
    "connections.active 12",
    "connections.writing 2",
    "connections.idle 5",
    "connections.closing 4",
];

#[test]
fn the_metrics_and_their_order_are_those_of_the_python_agent() {
    assert_eq!(lines(EVENT, false), BASIC);
    // The Python agent passes empty lines over.
    assert_eq!(lines(&format!("\n\n{EVENT}"), false), BASIC);
    assert_eq!(lines(&EVENT.replace('\n', "\r\n"), false), BASIC);
    // Other MPMs have no such connections.
    let prefork: Vec<&str> = EVENT
        .lines()
        .filter(|line| !line.starts_with("Conns"))
        .collect();
    assert_eq!(lines(&prefork.join("\n"), false), BASIC[..2]);
}

#[test]
fn extra_metrics_come_behind_the_others() {
    let lines = lines(EVENT, true);
    assert_eq!(lines[..6], BASIC);
    assert_eq!(
        lines[6..],
        [
            "connections.wait_io 1",
            "workers.graceful 0",
            "processes 1",
            "processes.stopping 0",
            "accesses 4711",
            "bytes 834560",
            "duration 9052",
            "uptime 3723",
            "cpu 1.5 type=\"user\"",
            "cpu 0.25 type=\"system\"",
            "cpu 0.0 type=\"children_user\"",
            "cpu 0.0 type=\"children_system\"",
            "scoreboard 3 state=\"waiting\"",
            "scoreboard 0 state=\"starting\"",
            "scoreboard 1 state=\"reading\"",
            "scoreboard 1 state=\"sending\"",
            "scoreboard 2 state=\"keepalive\"",
            "scoreboard 0 state=\"dns\"",
            "scoreboard 0 state=\"closing\"",
            "scoreboard 0 state=\"logging\"",
            "scoreboard 0 state=\"finishing\"",
            "scoreboard 0 state=\"cleanup\"",
            "scoreboard 4 state=\"open\"",
        ]
    );
}

#[test]
fn every_metric_that_is_written_is_declared() {
    for (_, metric, ..) in ROWS {
        assert!(METRICS.iter().any(|spec| spec.name == *metric), "{metric}");
    }
}

#[test]
fn what_is_no_number_is_left_out_and_the_rest_comes() {
    let page = EVENT
        .replace("BusyWorkers: 1", "BusyWorkers: many")
        .replace("IdleWorkers: 3", "IdleWorkers:")
        .replace("ConnsTotal: 12", "ConnsTotal: -1");
    assert_eq!(lines(&page, false), BASIC[3..]);
    let page = EVENT
        .replace("Total kBytes: 815", "Total kBytes: 18446744073709551615")
        .replace("CPUUser: 1.5", "CPUUser: nan");
    let lines = lines(&page, true);
    assert!(lines.contains(&"bytes 18446744073709551615".to_owned()));
    assert!(!lines.iter().any(|line| line.contains("type=\"user\"")));
    // A later line wins, as with the Python agent.
    assert_eq!(parse("BusyWorkers: 1\nBusyWorkers: 2\n").0[0], Some("2"));
}

#[test]
fn the_page_of_apache_survives_mutations() {
    crate::testing::mutate(&[EVENT.as_bytes()], |page| {
        let (mut out, _) = capture("m");
        let page = String::from_utf8_lossy(page);
        let (words, scoreboard) = parse(&page);
        write(&words, scoreboard, true, &mut out);
    });
}
