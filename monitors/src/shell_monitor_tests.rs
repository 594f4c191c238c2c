use super::*;
use crate::emitter::captured::stopper;
use crate::testing::{capture, make, sample};
use crate::Place;
use serde_json::{json, Value as Json};
use std::time::Instant;

fn run(name: &str, entry: Json) -> Result<String, Error> {
    let mut monitor = make(&DESCRIPTION, &entry, &Place::new("/", "/"))?;
    sample(&mut *monitor, name)
}

/// The line behind its stamp.
fn line(name: &str, entry: Json) -> String {
    let line = run(name, entry).unwrap();
    let line = line.strip_prefix("2022-04-15 11:11:08.015Z ").unwrap();
    // a second may begin meanwhile
    line.replace("duration=1 ", "duration=0 ")
}

#[test]
fn lines_are_as_recorded() {
    for (name, entry, want) in [
        (
            "shell_monitor(kernel-version)",
            json!({"command": "echo 6.18.44-fc-v669 #"}),
            r#"output "6.18.44-fc-v669" command="echo 6.18.44-fc-v669 #" duration=0 exit_code=0 length=16"#,
        ),
        (
            "shell_monitor(multi)",
            json!({"command": "echo out1; echo out2; echo err1 >&2; exit 3", "log_all_lines": true}),
            r#"output "err1\n\nout1\nout2\n" command="echo out1; echo out2; echo err1 >&2; exit 3" duration=0 exit_code=3 length=16"#,
        ),
        (
            "shell_monitor(multi)",
            json!({"command": "echo out1; echo out2; echo err1 >&2; exit 3"}),
            r#"output "err1" command="echo out1; echo out2; echo err1 >&2; exit 3" duration=0 exit_code=3 length=16"#,
        ),
        (
            "shell_monitor(ex)",
            json!({"command": "echo load=0.42 tab\there é ☃ quote\\\"q", "extract": "load=(\\S+)"}),
            r#"output "0.42" command="echo load=0.42 tab\there é ☃ quote\\\"q" duration=0 exit_code=0 length=4"#,
        ),
        (
            "shell_monitor(trunc)",
            json!({"command": "echo 0123456789; kill -9 $$", "max_characters": 4}),
            r#"output "0123..." command="echo 0123456789; kill -9 $$" duration=0 exit_code=-9 length=11"#,
        ),
        (
            "shell_monitor(uni)",
            json!({"command": r#"printf "caf\303\251 \342\230\203 \001\tq\"uote\\\\""#}),
            r#"output "café ☃ \u0001\tq\"uote\\" command="printf \"caf\\303\\251 \\342\\230\\203 \\001\\tq\\\"uote\\\\\\\\\"" duration=0 exit_code=0 length=16"#,
        ),
    ] {
        assert_eq!(line(name, entry), format!("[{name}] {want}\n"));
    }
}

#[test]
fn an_unknown_command_is_a_line_with_status_127() {
    let line = line("shell_monitor(nf)", json!({"command": "nosuchcmd123"}));
    assert!(
        line.contains("nosuchcmd123: not found\" command="),
        "{line}"
    );
    assert!(line.contains(" exit_code=127 "), "{line}");
}

#[test]
fn a_command_that_never_ends_gets_a_line_that_says_so() {
    let entry = json!({"command": "echo first; sleep 600", "timeout": 0.3});
    assert_eq!(
        line("shell_monitor()", entry),
        "[shell_monitor()] output \"first\" command=\"echo first; sleep 600\" duration=0 error=\"timed out after 0.3 s\" exit_code=-15 length=6\n"
    );
}

#[test]
fn a_process_left_in_the_background_with_the_output_does_not_hang_the_monitor() {
    let entry = json!({"command": "sleep 30 & echo x", "timeout": 0.3});
    let mut monitor = make(&DESCRIPTION, &entry, &Place::new("/", "/")).unwrap();
    let (mut out, lines) = capture("shell_monitor()");
    monitor.gather(&mut out).unwrap();
    out.flush();
    let line = lines.take();
    assert!(
        line.contains(
            "error=\"a background process held the output for 0.3 s\" exit_code=0 length=2"
        ),
        "{line}"
    );
    // The command itself was in time.
    assert_eq!(out.counter("commands_timed_out").load(Relaxed), 0);
    assert_eq!(out.counter("outputs_held").load(Relaxed), 1);
}

#[test]
fn a_command_that_prints_for_ever_is_ended_and_its_memory_is_bounded() {
    let entry = json!({"command": "yes", "kept_output_bytes": 1024, "max_output_bytes": 100_000});
    let line = line("shell_monitor()", entry);
    assert!(line.starts_with("[shell_monitor()] output \"y\" command=\"yes\""));
    assert!(
        line.contains("error=\"more than 100000 bytes of output\" exit_code="),
        "{line}"
    );
    let length: u64 = line.trim_end().rsplit('=').next().unwrap().parse().unwrap();
    assert!((100_000..=120_000).contains(&length), "{line}");
}

#[test]
fn a_long_output_has_its_true_length_although_little_of_it_is_kept() {
    let entry = json!({"command": "yes é | head -n 50000", "kept_output_bytes": 1024});
    let line = line("shell_monitor()", entry);
    assert!(line.ends_with(" exit_code=0 length=100000\n"), "{line}");
}

#[test]
fn binary_output_is_written_lossily() {
    let entry = json!({"command": r"printf 'a\377\000b'", "log_all_lines": true});
    assert!(line("shell_monitor()", entry).contains("output \"a\u{fffd}\\u0000b\" "));
}

#[test]
fn standard_output_alone_can_be_asked_for() {
    let entry = json!({"command": "echo err >&2; echo out", "stdout_only": true});
    let line = line("shell_monitor()", entry);
    assert!(line.contains("output \"out\" "), "{line}");
    assert!(line.ends_with("length=4\n"));
}

#[test]
fn a_duration_with_decimals_can_be_asked_for() {
    let entry = json!({"command": "sleep 0.2", "precise_duration": true});
    let line = run("shell_monitor()", entry).unwrap();
    let duration = line.split("duration=").nth(1).unwrap();
    let duration: f64 = duration.split(' ').next().unwrap().parse().unwrap();
    assert!((0.2..30.0).contains(&duration));
}

#[test]
fn wrong_options_are_refused() {
    for entry in [
        json!({}),
        json!({"command": "x", "extract": "no group"}),
        json!({"command": "x", "timeout": -1}),
        json!({"command": "x", "max_characters": 10_001}),
        json!({"command": "a\u{0}b"}),
    ] {
        assert!(
            make(&DESCRIPTION, &entry, &Place::new("/", "/")).is_err(),
            "{entry}"
        );
    }
}

#[test]
fn the_monitor_ends_soon_when_the_agent_stops() {
    let entry = json!({"command": "sleep 600", "timeout": 0});
    let mut monitor = make(&DESCRIPTION, &entry, &Place::new("/", "/")).unwrap();
    let (mut out, lines) = capture("shell_monitor()");
    let stopper = stopper(&mut out);
    let started = Instant::now();
    let thread = std::thread::spawn(move || {
        let result = monitor.gather(&mut out);
        out.flush();
        result
    });
    drop(stopper);
    thread.join().unwrap().unwrap();
    assert_eq!(lines.take(), "");
    assert!(started.elapsed() < Duration::from_secs(60));
}
