use super::*;
use common::stop;

const LIMITS: Limits = Limits {
    timeout: Some(Duration::from_secs(20)),
    keep: 1000,
    most: 1_000_000,
};

fn sh(script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]);
    command
}

fn run_sh(script: &str, limits: Limits) -> Outcome {
    let (_stopper, stop) = stop::pair();
    run(sh(script), b"", &limits, &stop).unwrap()
}

fn within(seconds: u64) -> Limits {
    Limits {
        timeout: Some(Duration::from_secs(seconds)),
        ..LIMITS
    }
}

/// Whether a process of that number runs.
fn lives(pid: &str) -> bool {
    let pid: i32 = pid.trim().parse().unwrap();
    processes()
        .iter()
        .any(|p| p.pid.as_raw() == pid && !p.has_ended)
}

fn numbers(outcome: &Outcome) -> Vec<String> {
    let text = outcome.stdout.text();
    text.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn both_outputs_and_the_exit_status_arrive() {
    let outcome = run_sh("echo out; echo err >&2; exit 3", LIMITS);
    assert_eq!(outcome.stdout.kept, b"out\n");
    assert_eq!(outcome.stderr.kept, b"err\n");
    assert_eq!(outcome.code, Some(3));
    assert_eq!(outcome.cut_short, None);
    assert_eq!(run_sh("kill -9 $$", LIMITS).code, Some(-9));
    assert_eq!(run_sh("exec kill -TERM $$", LIMITS).code, Some(-15));
}

#[test]
fn a_command_reads_its_input_or_finds_it_empty() {
    let (_stopper, stop) = stop::pair();
    let input = "a line\n".repeat(50_000);
    let outcome = run(sh("wc -c"), input.as_bytes(), &LIMITS, &stop).unwrap();
    assert_eq!(outcome.stdout.text().trim(), "350000");
    // one that says nothing, but still reads all of it
    let silent = "exec >/dev/null 2>&1; sleep 0.2; [ $(wc -c) = 350000 ]";
    let outcome = run(sh(silent), input.as_bytes(), &LIMITS, &stop).unwrap();
    assert_eq!(outcome.code, Some(0));
    // one that does not want it
    let outcome = run(sh("echo x"), input.as_bytes(), &LIMITS, &stop).unwrap();
    assert_eq!((outcome.code, outcome.stdout.bytes), (Some(0), 2));
    let outcome = run_sh("wc -c", LIMITS);
    assert_eq!(outcome.stdout.text().trim(), "0");
}

#[test]
fn a_program_that_there_is_not_is_an_error() {
    let (_stopper, stop) = stop::pair();
    let error = run(Command::new("/no/such/program"), b"", &LIMITS, &stop).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}

#[test]
fn a_command_that_never_ends_is_killed_with_its_children() {
    let outcome = run_sh("sleep 600 & echo $$ $!; wait", within(1));
    assert_eq!(outcome.cut_short, Some(CutShort::TimedOut));
    assert_eq!(outcome.code, Some(-15));
    let pids = numbers(&outcome);
    assert_eq!(pids.len(), 2);
    assert!(pids.iter().all(|pid| !lives(pid)), "{pids:?}");
}

#[test]
fn a_command_that_ignores_sigterm_is_killed_a_second_later() {
    let script = "trap '' TERM; echo $$; while :; do sleep 0.1; done";
    let outcome = run_sh(script, within(1));
    assert_eq!(outcome.code, Some(-9));
    assert!(outcome.took < Duration::from_secs(60), "{:?}", outcome.took);
    assert!(!lives(&numbers(&outcome)[0]));
}

#[test]
fn a_command_may_clean_up_and_say_so_when_it_is_told_to_end() {
    let script = "trap 'echo parting; exit 7' TERM; while :; do sleep 0.05; done";
    let outcome = run_sh(script, within(1));
    assert_eq!(outcome.code, Some(7));
    assert_eq!(outcome.stdout.kept, b"parting\n");
}

#[test]
fn grandchildren_in_a_session_of_their_own_do_not_survive_the_time_out() {
    let script = "setsid sleep 600 & echo $!; sleep 602";
    let outcome = run_sh(script, within(1));
    assert_eq!(outcome.cut_short, Some(CutShort::TimedOut));
    let pids = numbers(&outcome);
    assert_eq!(pids.len(), 1);
    assert!(pids.iter().all(|pid| !lives(pid)), "{pids:?}");
}

#[test]
fn a_daemon_that_keeps_the_output_open_neither_hangs_the_caller_nor_dies_of_it() {
    let outcome = run_sh("sleep 600 & echo $!; exit 5", within(1));
    assert_eq!(outcome.cut_short, Some(CutShort::OutputHeld));
    assert_eq!(outcome.code, Some(5));
    let pid = &numbers(&outcome)[0];
    assert!(lives(pid));
    let pid = Pid::from_raw(pid.parse().unwrap());
    kill(pid, Signal::SIGKILL).unwrap();
}

#[test]
fn a_background_process_that_is_quiet_is_left_alone() {
    let outcome = run_sh("sleep 600 >/dev/null 2>&1 & echo $!", LIMITS);
    assert_eq!((outcome.cut_short, outcome.code), (None, Some(0)));
    let pid = &numbers(&outcome)[0];
    assert!(lives(pid));
    kill(Pid::from_raw(pid.parse().unwrap()), Signal::SIGKILL).unwrap();
}

#[test]
fn output_of_a_background_process_that_ends_in_time_is_waited_for() {
    let outcome = run_sh("(sleep 0.3; echo late) & echo early", LIMITS);
    assert_eq!(outcome.stdout.text(), "early\nlate\n");
    assert_eq!(outcome.cut_short, None);
}

#[test]
fn a_command_that_prints_for_ever_is_ended_at_once() {
    for script in [
        "yes",
        "yes >&2",
        "trap '' PIPE TERM; while :; do echo y; done",
    ] {
        let limits = Limits {
            most: 20_000,
            ..LIMITS
        };
        let outcome = run_sh(script, limits);
        assert_eq!(outcome.cut_short, Some(CutShort::TooMuchOutput), "{script}");
        for output in [&outcome.stdout, &outcome.stderr] {
            assert!(output.kept.len() <= LIMITS.keep);
            assert!(output.bytes <= limits.most + 16 * 1024);
        }
    }
}

#[test]
fn a_command_that_closes_its_output_and_lives_on_is_waited_for_until_the_time_is_over() {
    let outcome = run_sh("echo x; exec >/dev/null 2>&1; sleep 0.2; exit 4", LIMITS);
    assert_eq!((outcome.cut_short, outcome.code), (None, Some(4)));
    let outcome = run_sh("exec >/dev/null 2>&1; sleep 600", within(1));
    assert_eq!(outcome.cut_short, Some(CutShort::TimedOut));
    assert_eq!(outcome.code, Some(-15));
}

#[test]
fn a_request_to_stop_is_heard_within_a_second() {
    let (stopper, stop) = stop::pair();
    let started = Instant::now();
    let runner = std::thread::spawn(move || {
        let limits = Limits {
            timeout: None,
            ..LIMITS
        };
        run(sh("sleep 600"), b"", &limits, &stop).unwrap()
    });
    drop(stopper);
    let outcome = runner.join().unwrap();
    assert_eq!(outcome.cut_short, Some(CutShort::Stopped));
    assert!(started.elapsed() < Duration::from_secs(60));
}

#[test]
fn no_zombie_and_no_descriptor_is_left() {
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    run_sh("true", LIMITS);
    let before = open();
    for _ in 0..50 {
        run_sh("echo x", LIMITS);
    }
    // other tests run beside this one
    assert!(open() < before + 40, "{} and {before}", open());
}
