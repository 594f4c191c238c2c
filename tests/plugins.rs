//! Plug-ins with the whole agent as a process: what they write arrives, and they end with the agent.

mod common;

use common::{Site, STOP};
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Instant;

fn put(site: &Site, name: &str, mode: u32, text: &str) {
    let path = site.path(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
}

fn with_plugins(entries: serde_json::Value) -> Site {
    let mut site = Site::new();
    let dir = site.path("plugins");
    fs::create_dir_all(&dir).unwrap();
    site.set("additional_monitor_module_paths", dir.to_str().unwrap());
    site.set("monitors", entries);
    site
}

/// Waits for a line of one of the agent's own logs that contains `text`.
fn arrived(site: &mut Site, log: &str, text: &str) -> String {
    let path = site.path("log").join(log);
    let path = path.to_str().unwrap();
    let find = |lines: Vec<String>| lines.into_iter().find(|line| line.contains(text));
    site.until(text, |state| find(state.lines_of(path)).is_some());
    find(site.receiver.lines_of(path)).unwrap()
}

fn has_ended(pid: &str) -> bool {
    match fs::read_to_string(Path::new("/proc").join(pid).join("stat")) {
        Ok(stat) => stat.contains(") Z ") || stat.contains(") X "),
        Err(_) => true,
    }
}

#[test]
fn what_a_plugin_writes_arrives_and_it_ends_with_the_agent() {
    let mut site = with_plugins(json!([{"module": "mine", "word": "spoken"}]));
    let script = r#"#!/bin/sh
read -r told
word=$(printf '%s' "$told" | sed 's/.*"word":"\([a-z]*\)".*/\1/')
echo "{\"metric\":\"pid\",\"value\":$$,\"fields\":{\"word\":\"$word\",\"key\":\"$SCALYR_API_KEY\"}}"
echo 'a complaint' >&2
cat > /dev/null
"#;
    put(&site, "plugins/mine.sh", 0o755, script);
    site.start();
    let line = arrived(&mut site, "mine.log", "[mine()] pid ");
    assert!(line.contains(" key=\"\" word=\"spoken\""), "{line}");
    site.until_logged("stderr: a complaint");
    let pid = line
        .split("pid ")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap()
        .to_owned();
    assert!(!has_ended(&pid));
    site.term();
    assert!(has_ended(&pid));
}

#[test]
fn a_plugin_ends_by_itself_when_the_agent_is_killed() {
    let mut site = with_plugins(json!([{"module": "mine"}]));
    let script = "#!/bin/sh\necho $$ > \"$(dirname \"$0\")/pid\"\nexec cat > /dev/null\n";
    put(&site, "plugins/mine.sh", 0o755, script);
    site.start();
    let read = || fs::read_to_string(site.path("plugins/pid")).unwrap_or_default();
    site.until_seen("the plug-in", || read().ends_with('\n'));
    let pid = read().trim().to_owned();
    site.kill9();
    site.until_seen("its end", || has_ended(&pid));
}

#[test]
fn a_plugin_that_ignores_every_request_to_end_does_not_outlive_the_agent() {
    let mut site = with_plugins(json!([{"module": "mine"}]));
    let script = "#!/bin/sh\ntrap '' TERM INT HUP PIPE\necho $$ > \"$(dirname \"$0\")/pid\"\nwhile :; do sleep 1000; done\n";
    put(&site, "plugins/mine.sh", 0o755, script);
    site.start();
    let read = || fs::read_to_string(site.path("plugins/pid")).unwrap_or_default();
    site.until_seen("the plug-in", || read().ends_with('\n'));
    let pid = read().trim().to_owned();
    let began = Instant::now();
    site.term();
    assert!(has_ended(&pid));
    assert!(began.elapsed() < STOP);
}

#[test]
fn an_agent_with_a_plugin_that_anyone_may_change_does_not_start() {
    let site = with_plugins(json!([{"module": "mine"}]));
    put(&site, "plugins/mine.sh", 0o777, "#!/bin/sh\n");
    site.write_config();
    let config = site.config_path();
    let said = site.run_with(&config, &["start", "--no-fork", "--no-change-user"]);
    assert!(said.code > 0, "{}", said.code);
    let text = format!("{}{}", said.out, said.err);
    assert!(text.contains("anyone may write to it"), "{text}");
}

/// A plug-in that names its log, has another one copied and gives both labels.
const WISHES: &str = r#"#!/bin/sh
echo '{"log_config":{"path":"renamed.log","parser":"mine","attributes":{"tier":"gold"}}}'
read -r told
logs=$(printf '%s' "$told" | sed 's/.*"log_dir":"\([^"]*\)".*/\1/')
echo '{"follow":{"path":"extra.log","parser":"extra"}}'
echo '{"metric":"up","value":1,"id":"another"}'
echo "a line of its own" >> "$logs/extra.log"
"#;

fn wishes_are_followed(in_memory: bool) {
    let mut site = with_plugins(json!([
        {"module": "mine", "sample_interval": 0.2, "plugin_mode": "sample"},
    ]));
    site.set("metrics_in_memory", in_memory);
    put(&site, "plugins/mine.sh", 0o755, WISHES);
    site.start();
    let path = |name: &str| site.path("log").join(name).to_str().unwrap().to_owned();
    let (renamed, extra) = (path("renamed.log"), path("extra.log"));
    let labelled = |state: &receiver::State, path: &str, parser: &str, text: &str| {
        let mut events = state.events().filter(|event| *event.path == *path);
        events.any(|event| event.attrs["parser"] == parser && event.text().contains(text))
    };
    site.until("both logs with their labels", |state| {
        labelled(state, &renamed, "mine", "[mine(another)] up 1")
            && labelled(state, &extra, "extra", "a line of its own")
    });
    let tier = |state: &receiver::State| {
        let mut events = state.events().filter(|event| *event.path == *renamed);
        events.all(|event| event.attrs["tier"] == "gold" && event.attrs["parser"] == "mine")
    };
    site.until("labels on each line", |state| tier(state));
    assert_eq!(std::path::Path::new(&renamed).exists(), !in_memory);
    site.term();
}

#[test]
fn a_plugin_names_its_log_and_has_another_one_copied() {
    wishes_are_followed(false);
}

#[test]
fn a_plugin_names_its_log_also_where_metrics_are_in_no_file() {
    wishes_are_followed(true);
}

#[test]
fn the_operators_entry_for_the_log_comes_before_what_a_plugin_wishes() {
    let mut site = with_plugins(json!([
        {"module": "mine", "sample_interval": 0.2, "plugin_mode": "sample"},
    ]));
    let path = site.path("log/renamed.log");
    site.log(json!({"path": path.to_str().unwrap(), "attributes": {"parser": "operators"}}));
    put(&site, "plugins/mine.sh", 0o755, WISHES);
    site.start();
    site.until("the line", |state| {
        let mut events = state.events();
        events
            .any(|e| e.text().contains("[mine(another)] up 1") && e.attrs["parser"] == "operators")
    });
    site.term();
}

#[test]
#[ignore = "needs the Python agent (SCALYR_TEST_PYTHON)"]
fn a_monitor_of_the_python_agent_delivers_through_this_one() {
    let python = std::env::var("SCALYR_TEST_PYTHON").unwrap();
    let find = "import os,scalyr_agent;print(os.path.dirname(scalyr_agent.__file__))";
    let found = std::process::Command::new(&python)
        .args(["-c", find])
        .output()
        .unwrap();
    let package = String::from_utf8(found.stdout).unwrap();
    let source = Path::new(package.trim()).join("builtin_monitors/shell_monitor.py");
    let mut site = with_plugins(json!([{
        "module": "their.shell_monitor",
        "id": "x",
        "command": "echo hello",
        "sample_interval": 1,
        "plugin_python": python,
    }]));
    put(
        &site,
        "plugins/shell_monitor.py",
        0o644,
        &fs::read_to_string(source).unwrap(),
    );
    site.start();
    let line = arrived(&mut site, "shell_monitor.log", "[shell_monitor(x)] output ");
    assert!(
        line.contains("output \"hello\" command=\"echo hello\""),
        "{line}"
    );
    site.term();
}
