use super::*;
use crate::emitter::captured::Lines;
use crate::monitor::Place;
use crate::options::Options;
use crate::status::MonitorStatus;
use crate::{Emitter, FollowedLogs};
use common::limit::WriteLimit;
use common::stop::{self, Stopper};
use common::testing::Scratch;
use serde_json::{json, Value as Json};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(40);

/// A plug-in that runs in a thread as the runner would have it.
struct Trial {
    stopper: Option<Stopper>,
    thread: Option<JoinHandle<Result<(), Error>>>,
    lines: Lines,
    status: Arc<MonitorStatus>,
    followed: Arc<FollowedLogs>,
    seen: String,
}

impl Trial {
    /// `entry` is the object of the configuration; sampled every 0.1 s.
    fn start(dir: &Path, entry: &Json) -> Trial {
        let mut place = Place::new("/", dir);
        place.plugin_dirs = vec![dir.to_owned()];
        place.sample_interval = 0.1;
        let module = entry["module"].as_str().unwrap();
        let id = entry["id"].as_str().unwrap_or_default();
        let description = or_built_in(module, id, &place.plugin_dirs).unwrap();
        let members = entry.as_object().unwrap().clone().into_iter();
        let options = Options::read(description.options, &members.collect::<Vec<_>>()).unwrap();
        let mut monitor = (description.make)(&Setup {
            options: &options,
            place: &place,
            module,
            id,
        })
        .unwrap();
        let (stopper, stop) = stop::pair();
        let lines = Lines::default();
        let name = format!("{}({id})", description.short_name());
        let status = Arc::new(MonitorStatus::new(name, description.module, id, None));
        let mut out = Emitter::new(
            Arc::clone(&status),
            description.module,
            Box::new(lines.clone()),
            WriteLimit::none(),
            Vec::new(),
            stop,
        );
        out.fix_clock(1_650_021_068_015);
        let thread = std::thread::spawn(move || {
            let result = monitor.gather(&mut out);
            out.flush();
            result
        });
        Trial {
            stopper: Some(stopper),
            thread: Some(thread),
            lines,
            status,
            followed: place.followed,
            seen: String::new(),
        }
    }

    fn counter(&self, name: &'static str) -> u64 {
        self.status
            .counter(name)
            .load(std::sync::atomic::Ordering::Relaxed)
    }

    #[track_caller]
    fn until(&mut self, what: &str, mut done: impl FnMut(&Trial) -> bool) {
        let began = Instant::now();
        loop {
            self.seen.push_str(&self.lines.take());
            if done(self) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{what}: {:?}", self.seen);
            if self.thread.as_ref().is_some_and(JoinHandle::is_finished) {
                let ended = self.thread.take().map(JoinHandle::join);
                self.seen.push_str(&self.lines.take());
                assert!(done(self), "{what}: ended with {ended:?}: {:?}", self.seen);
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[track_caller]
    fn until_seen(&mut self, text: &str) {
        self.until(text, |trial| trial.seen.contains(text));
    }

    /// Waits until `gather` returns by itself, and returns its result.
    #[track_caller]
    fn result(&mut self) -> Result<(), Error> {
        let thread = self.thread.take().unwrap();
        self.until("an end", |_| thread.is_finished());
        let result = thread.join().unwrap();
        self.seen.push_str(&self.lines.take());
        result
    }

    #[track_caller]
    fn stop(&mut self) -> Duration {
        let began = Instant::now();
        self.stopper = None;
        self.result().unwrap();
        began.elapsed()
    }
}

fn put(scratch: &Scratch, name: &str, mode: u32, text: &str) {
    let path = scratch.path(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Starts a shell script named `p` in the scratch directory, whose path is `$D`.
fn script(scratch: &Scratch, text: &str, more: &Json) -> Trial {
    let dir = scratch.path("");
    let text = format!("#!/bin/sh\nD='{}'\n{text}\n", dir.display());
    put(scratch, "p.sh", 0o755, &text);
    let mut entry = more.clone();
    entry["module"] = json!("p");
    Trial::start(&dir, &entry)
}

const HEAD: &str = "2022-04-15 11:11:08.015Z [p()] ";

#[test]
fn a_program_that_ends_well_is_run_once_an_interval() {
    let scratch = Scratch::new("plugin-sample");
    let text = r#"echo '{"metric":"m","value":1.50,"fields":{"b":"x y","a":true}}'"#;
    let mut trial = script(&scratch, text, &json!({}));
    trial.until("three runs", |trial| trial.seen.lines().count() >= 3);
    trial.stop();
    for line in trial.seen.lines() {
        assert_eq!(line, format!("{HEAD}m 1.5 a=true b=\"x y\""));
    }
    assert!(trial.counter("plugin_starts") >= 3);
    assert_eq!(trial.counter("plugin_failures"), 0);
    assert!(trial.status.snapshot().last_sample_ms.is_some());
}

#[test]
fn a_plugin_is_told_its_configuration_and_asked_to_end_by_the_end_of_its_stdin() {
    let scratch = Scratch::new("plugin-serve");
    let text = r#"
        IFS= read -r line; printf '%s' "$line" > "$D/told"
        echo '{"metric":"up","value":{"number":"4.20"},"timestamp":1650021068016}'
        cat > /dev/null
        printf '{"message":"bye\\nbye"}'"#;
    let entry = json!({"plugin_mode": "serve", "password": "s3", "list": [1, {"a": null}]});
    let mut trial = script(&scratch, text, &entry);
    trial.until_seen("up");
    // In time to say something: no signal has to come
    trial.stop();
    assert_eq!(
        trial.seen,
        format!("2022-04-15 11:11:08.016Z [p()] up 4.20\n{HEAD}bye bye\n")
    );
    assert_eq!(trial.counter("plugin_kills"), 0);
    let told: Json = serde_json::from_slice(&fs::read(scratch.path("told")).unwrap()).unwrap();
    let dir = scratch.path("");
    assert_eq!(
        told,
        json!({
            "protocol": 1,
            "agent_version": env!("CARGO_PKG_VERSION"),
            "name": "p()",
            "module": "p",
            "id": "",
            "sample_interval": 0.1,
            "data_dir": dir.to_str().unwrap(),
            "log_dir": dir.to_str().unwrap(),
            "options": {"password": "s3", "list": [1, {"a": null}]},
        })
    );
}

#[test]
fn garbage_is_counted_and_what_is_sound_among_it_is_kept() {
    let scratch = Scratch::new("plugin-garbage");
    let text = r#"
        printf 'hello\n{"metric":\n\377\376\000\n[]\n\n'
        head -c 1000000 /dev/zero; echo
        echo '{"metric":"good","value":1}'
        echo 'what a mess' >&2
        cat > /dev/null"#;
    let mut trial = script(&scratch, text, &json!({}));
    trial.until_seen("good 1\n");
    trial.until("stderr", |trial| trial.counter("plugin_stderr_lines") == 1);
    trial.stop();
    assert_eq!(trial.counter("plugin_bad_lines"), 5);
    assert_eq!(trial.seen, format!("{HEAD}good 1\n"));
}

#[test]
fn a_plugin_that_dies_at_once_is_a_failure_with_its_reason() {
    let scratch = Scratch::new("plugin-dies");
    for (text, entry, reason) in [
        ("exit 3", json!({}), "ended with status 3"),
        ("kill -9 $$", json!({}), "ended by signal 9 (SIGKILL)"),
        ("exit 0", json!({"plugin_mode": "serve"}), "ended by itself"),
        (
            "echo '{\"fatal\":\"no database\"}'; exit 3",
            json!({}),
            "no database",
        ),
    ] {
        let mut trial = script(&scratch, text, &entry);
        let error = trial.result().unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
        assert_eq!(trial.counter("plugin_failures"), 1);
    }
    put(&scratch, "p.sh", 0o755, "#!/nowhere/interpreter\n");
    let mut trial = Trial::start(&scratch.path(""), &json!({"module": "p"}));
    let error = trial.result().unwrap_err().to_string();
    assert!(
        error.contains("is the interpreter of its first line there"),
        "{error}"
    );
}

#[test]
fn a_plugin_that_ignores_every_request_to_end_is_killed_with_its_children() {
    let scratch = Scratch::new("plugin-deaf");
    let text = r#"
        trap '' TERM INT HUP
        sleep 1000 &
        echo "{\"metric\":\"child\",\"value\":$!}"
        while :; do sleep 1000; done"#;
    let mut trial = script(&scratch, text, &json!({}));
    trial.until_seen("child ");
    let took = trial.stop();
    assert!(took < PATIENCE, "{took:?}");
    assert_eq!(trial.counter("plugin_kills"), 1);
    let pid = trial.seen.trim().rsplit(' ').next().unwrap().to_owned();
    let gone = || match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat.contains(") Z ") || stat.contains(") X "),
        Err(_) => true,
    };
    trial.until("the child's end", |_| gone());
}

#[test]
fn a_sample_that_hangs_is_ended_at_its_time_out() {
    let scratch = Scratch::new("plugin-hangs");
    let entry = json!({"plugin_mode": "sample", "plugin_timeout": 0.2});
    let mut trial = script(&scratch, "sleep 1000", &entry);
    let error = trial.result().unwrap_err().to_string();
    assert!(error.contains("did not end within 0.2 s"), "{error}");
    assert_eq!(trial.counter("plugin_timeouts"), 1);
}

#[test]
fn a_plugin_that_never_reads_its_stdin_does_not_keep_the_agent_waiting() {
    let scratch = Scratch::new("plugin-reads-nothing");
    let text = r#"echo '{"metric":"m","value":1}'; exec sleep 1000"#;
    let mut trial = script(&scratch, text, &json!({"big": "x".repeat(1_000_000)}));
    trial.until_seen("m 1");
    // sleep does not look at stdin; SIGTERM ends it.
    assert!(trial.stop() < PATIENCE);
    assert_eq!(trial.counter("plugin_kills"), 0);
}

#[test]
fn an_endless_flood_is_read_no_faster_than_the_bound_and_can_be_stopped() {
    let scratch = Scratch::new("plugin-flood");
    let text = r#"exec yes '{"metric":"m","value":1}'"#;
    let began = Instant::now();
    let mut trial = script(&scratch, text, &json!({}));
    let share = child::READ_PER_SECOND as u64 / 25;
    trial.until("more than a second's share", |trial| {
        trial.status.snapshot().lines > share * 3 / 2
    });
    assert!(began.elapsed() > Duration::from_millis(900));
    assert!(trial.stop() < PATIENCE);
}

#[test]
fn a_plugin_that_closes_its_output_and_goes_on_is_ended() {
    let scratch = Scratch::new("plugin-mute");
    let mut trial = script(&scratch, "exec >&- 2>&-; exec sleep 1000", &json!({}));
    let error = trial.result().unwrap_err().to_string();
    assert!(error.contains("closed its stdout"), "{error}");
}

#[test]
fn a_plugin_that_closes_only_its_stdout_says_nothing_any_more_and_is_ended_too() {
    let scratch = Scratch::new("plugin-mute-out");
    let text = "exec >&-; while echo still here >&2; do sleep 0.2; done";
    let mut trial = script(&scratch, text, &json!({}));
    let error = trial.result().unwrap_err().to_string();
    assert!(error.contains("closed its stdout"), "{error}");
}

#[test]
fn a_plugin_may_give_a_line_another_id_which_cannot_break_the_line() {
    let scratch = Scratch::new("plugin-id");
    let text = r#"
        echo '{"metric":"m","value":1,"id":"one"}'
        printf '%s\n' '{"metric":"m","value":2,"id":"a\nb"}'
        echo '{"message":"text","id":"one"}'
        echo '{"metric":"m","value":3}'
        cat > /dev/null"#;
    let mut trial = script(&scratch, text, &json!({"id": "own"}));
    trial.until_seen(" m 3\n");
    trial.stop();
    let stamp = "2022-04-15 11:11:08.015Z";
    assert_eq!(
        trial.seen,
        format!("{stamp} [p(one)] m 1\n{stamp} [p(a_b)] m 2\n{stamp} [p(one)] text\n{stamp} [p(own)] m 3\n")
    );
}

#[test]
fn a_plugins_wishes_for_its_logs_reach_the_copier_and_wrong_ones_are_told() {
    let scratch = Scratch::new("plugin-wishes");
    let text = r#"
        echo '{"log_config":{"parser":"mine","attributes":{"tier":1}}}'
        echo '{"follow":{"path":"extra.log","parser":"extra"}}'
        echo '{"follow":{"path":"/other/../extra.log"}}'
        echo '{"metric":"m","value":1}'
        cat > /dev/null"#;
    let mut trial = script(&scratch, text, &json!({}));
    trial.until_seen(" m 1\n");
    let all = trial.followed.all();
    let seen: Vec<_> = all
        .iter()
        .map(|log| (log.path.clone(), log.parser.as_str()))
        .collect();
    assert_eq!(
        seen,
        [
            (scratch.path("p.log"), "mine"),
            (scratch.path("extra.log"), "extra")
        ]
    );
    assert_eq!(all[0].attributes, [("tier".to_owned(), json!(1))]);
    assert_eq!(trial.status.snapshot().errors, 1);
    trial.stop();
}

#[test]
fn a_plugin_whose_log_would_be_the_agents_own_is_refused() {
    let scratch = Scratch::new("plugin-agent");
    put(&scratch, "agent", 0o755, "");
    for module in ["agent", "my.agent"] {
        let error = or_built_in(module, "", &[scratch.path("")]).unwrap_err();
        assert!(error.to_string().contains("agent.log"), "{error}");
    }
}

#[cfg(not(feature = "python-plugins"))]
#[test]
fn a_build_without_python_plugins_says_so_before_it_starts() {
    let scratch = Scratch::new("plugin-without-python");
    put(&scratch, "p.py", 0o644, "");
    let error = or_built_in("p", "", &[scratch.path("")]).unwrap_err();
    assert!(
        error.to_string().contains("install the full build"),
        "{error}"
    );
    // A program in Python stays what it is
    put(&scratch, "q.py", 0o755, "#!/usr/bin/env python3\n");
    assert!(or_built_in("q", "", &[scratch.path("")]).is_ok());
}

#[test]
fn a_plugin_that_closed_its_output_has_its_time_to_end_well() {
    let scratch = Scratch::new("plugin-mute-end");
    let text = r#"
        trap 'sleep 0.2; touch "$D/ended"; exit 0' TERM
        exec >&- 2>&-
        while :; do sleep 0.1; done"#;
    let mut trial = script(&scratch, text, &json!({}));
    let error = trial.result().unwrap_err().to_string();
    assert!(error.contains("closed its stdout"), "{error}");
    assert!(scratch.path("ended").exists());
    assert_eq!(trial.counter("plugin_kills"), 0);
}

#[test]
fn a_plugin_that_fails_for_ever_new_reasons_does_not_flood_the_agents_log() {
    let scratch = Scratch::new("plugin-reasons");
    let text = r#"
        i=0; while [ $i -lt 500 ]; do i=$((i+1))
        echo "{\"sample\":\"failed\",\"text\":\"reason $i of a hundred bytes or so, which is what a usual message has, more or less\"}"
        echo "{\"follow\":{\"path\":\"../$i/a path of a hundred bytes or so, which is what many a path has, more or less\"}}"
        done
        cat > /dev/null"#;
    let mut trial = script(&scratch, text, &json!({}));
    trial.until("all", |trial| trial.status.snapshot().errors == 1000);
    trial.stop();
    let left_out = trial.counter("plugin_log_lines_left_out");
    assert!(left_out > 700, "{left_out}");
}

#[test]
fn a_trial_run_tells_the_plugin_absolute_directories() {
    let scratch = Scratch::new("plugin-relative");
    put(&scratch, "p.sh", 0o755, "#!/bin/sh\ncat >&2\n");
    let mut place = Place::new("/", ".");
    place.plugin_dirs = vec![scratch.path("")];
    let options = Options::read(OPTIONS, &[]).unwrap();
    let plugin = supervise::Plugin::new(&Setup {
        options: &options,
        place: &place,
        module: "p",
        id: "",
    });
    let told: Json = serde_json::from_slice(plugin.unwrap().hello()).unwrap();
    let here = std::env::current_dir().unwrap();
    assert_eq!(told["log_dir"], here.to_str().unwrap());
    assert_eq!(told["data_dir"], here.to_str().unwrap());
}

#[test]
fn wrong_options_refuse_the_configuration() {
    let scratch = Scratch::new("plugin-options");
    put(&scratch, "p.sh", 0o755, "#!/bin/sh\n");
    let mut place = Place::new("/", scratch.path(""));
    place.plugin_dirs = vec![scratch.path("")];
    let description = or_built_in("p", "", &place.plugin_dirs).unwrap();
    for (entry, reason) in [
        (
            json!({"plugin_mode": "often"}),
            "none of auto, sample, serve",
        ),
        (json!({"plugin_user": "nobody at all"}), "there is no user"),
        (json!({"plugin_timeout": -1}), "minimum is 0"),
    ] {
        let Err(error) = crate::testing::make(description, &entry, &place) else {
            panic!("{entry}");
        };
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[test]
fn an_unknown_monitor_is_an_error_that_names_where_it_was_looked_for() {
    let scratch = Scratch::new("plugin-unknown");
    let dirs = [scratch.path("local"), scratch.path("contrib")];
    let error = or_built_in("my.own", "2", &dirs).unwrap_err().to_string();
    assert!(error.contains("monitor my.own(2): "), "{error}");
    assert!(error.contains("there is no monitor \"my.own\""), "{error}");
    for dir in &dirs {
        assert!(error.contains(dir.to_str().unwrap()), "{error}");
    }
}

#[test]
fn reading_the_configuration_again_makes_no_second_description() {
    let scratch = Scratch::new("plugin-again");
    put(&scratch, "again", 0o755, "");
    let dirs = [scratch.path("")];
    let first = or_built_in("again", "", &dirs).unwrap();
    let second = or_built_in("again", "x", &dirs).unwrap();
    assert!(std::ptr::eq(first, second));
}

#[test]
fn a_plugin_takes_the_place_of_a_built_in_monitor_only_by_its_short_name() {
    let scratch = Scratch::new("plugin-shadow");
    put(&scratch, "linux_system_metrics", 0o755, "");
    let dirs = [scratch.path("")];
    let full = "scalyr_agent.builtin_monitors.linux_system_metrics";
    assert!(!or_built_in(full, "", &dirs).unwrap().open);
    assert!(or_built_in("linux_system_metrics", "", &dirs).unwrap().open);
    assert!(!or_built_in("linux_system_metrics", "", &[]).unwrap().open);
}

#[cfg(feature = "python-plugins")]
#[test]
fn a_missing_python_is_said_clearly() {
    let scratch = Scratch::new("plugin-no-python");
    put(&scratch, "p.py", 0o644, "");
    let entry = json!({"module": "p", "plugin_python": "python-that-is-not-there"});
    let mut trial = Trial::start(&scratch.path(""), &entry);
    let error = trial.result().unwrap_err().to_string();
    assert!(
        error.contains("is a Python plug-in, and there is no python-that-is-not-there"),
        "{error}"
    );
}

#[cfg(feature = "python-plugins")]
#[path = "python_tests.rs"]
mod python_plugins;

#[path = "contrib_tests.rs"]
mod contrib;
