//! Python plug-ins. Those of the Python agent's own package are run unmodified from where it is
//! installed; none of them is part of this project.

use super::*;

fn python(scratch: &Scratch, text: &str, more: &Json) -> Trial {
    put(scratch, "p.py", 0o644, text);
    let mut entry = more.clone();
    entry["module"] = json!("p");
    Trial::start(&scratch.path(""), &entry)
}

#[test]
#[ignore = "needs python3"]
fn a_plugin_without_the_name_of_its_monitor_is_told_the_line_that_is_missing() {
    let import = "from scalyr_agent import ScalyrMonitor, define_config_option\n";
    let class = "class Mine(ScalyrMonitor):\n    def gather_sample(self):\n        pass\n";
    let declared = "define_config_option(__monitor__, 'a', 'A', default=1)\n";
    let ended = |name: &str, text: &str| {
        let scratch = Scratch::new(name);
        let mut trial = python(&scratch, text, &json!({}));
        trial.result().unwrap_err().to_string()
    };
    let error = ended("no-monitor", &format!("{import}{declared}{class}"));
    assert!(error.contains("write `__monitor__ = __name__`"), "{error}");
    assert!(error.contains("p.py, line 2"), "{error}");
    // A program whose mode was forgotten is taken for such a plug-in
    let error = ended("no-class", "print('{\"metric\": \"m\", \"value\": 1}')\n");
    assert!(
        error.contains("chmod 755") && error.contains("file_age.py"),
        "{error}"
    );
}

const EVERYTHING: &str = r#"
import os, subprocess, sys
from scalyr_agent import ScalyrMonitor, define_config_option, define_metric, define_log_field
from scalyr_agent import BadMonitorConfiguration, UnsupportedSystem, StoppableThread
from scalyr_agent.json_lib import JsonObject, ArrayOfStrings
import scalyr_agent.scalyr_logging as scalyr_logging
import scalyr_agent.util as scalyr_util
import six
import six.moves.urllib.parse
from six.moves import range

__monitor__ = __name__
define_config_option(__monitor__, "count", "How many", convert_to=int, default=3, min_value=1, max_value=9)
define_config_option(__monitor__, "names", "Names", convert_to=ArrayOfStrings)
define_config_option(__monitor__, "must", "Required", required_option=True, convert_to=six.text_type)
define_metric(__monitor__, "m", "A metric", extra_fields={"f": ""})
define_log_field(__monitor__, "metric", "A field")
log = scalyr_logging.getLogger(__name__)

class Mine(ScalyrMonitor):
    """Mine."""
    def _initialize(self):
        self.count = self._config.get("count")
        self.log_config["parser"] = "agent-metrics"
        self.samples = 0

    def gather_sample(self):
        self.samples += 1
        print("a print that must not hurt")
        subprocess.call(["sh", "-c", "echo nor this; cat"])
        if self.samples == 2:
            raise ValueError("a bad day")
        if self.samples > 3:
            return
        self._logger.emit_value("count", self.count, {"must": self._config.get("must")})
        self._logger.emit_value("names", ",".join(self._config.get("names")))
        self._logger.emit_value("big", 2 ** 70, timestamp=1650021068016)
        self._logger.emit_value("nan", float("nan"))
        self._logger.emit_value("interval", self._sample_interval_secs)
        self._logger.emit_value("nested", self._config.get("object").get_int("a"))
        self._logger.emit_value("quoted", six.moves.urllib.parse.quote("a b"))
        self._logger.info("into the log", emit_to_metric_log=True)
        self._logger.warn("once", limit_once_per_x_secs=60, limit_key="k")
        for _ in range(2):
            self._logger.error("bad %s", "thing", error_code="mine", limit_once_per_x_secs=60, limit_key="e")
        try:
            self._logger.emit_value("none", None)
        except scalyr_logging.UnsupportedValueType as error:
            self._logger.emit_value("refused", True)
"#;

#[test]
#[ignore = "needs python3"]
fn what_a_python_plugin_may_use_works() {
    let scratch = Scratch::new("python-api");
    let entry = json!({"must": 7, "names": "a, b", "object": {"a": 5}});
    let mut trial = python(&scratch, EVERYTHING, &entry);
    trial.until("a second good sample", |trial| {
        trial.seen.matches("refused").count() == 2
    });
    // It ends with its input, well before anybody loses patience
    trial.stop();
    assert_eq!(trial.counter("plugin_kills"), 0);
    let first = trial.seen.split_inclusive('\n').take(9).collect::<String>();
    assert_eq!(
        first.replace(HEAD, "> "),
        "> count 3 must=\"7\"\n\
         > names \"a,b\"\n\
         2022-04-15 11:11:08.016Z [p()] big 1180591620717411303424\n\
         > nan null\n\
         > interval 0.1\n\
         > nested 5\n\
         > quoted \"a%20b\"\n\
         > into the log\n\
         > refused true\n"
    );
    // The failed sample, and the message once.
    assert_eq!(trial.status.snapshot().errors, 2);
    assert_eq!(trial.counter("plugin_bad_lines"), 0);
    // The default, said again, is no wish
    assert!(trial.followed.all().is_empty());
}

const LOGS: &str = r#"
import logging, os
from scalyr_agent import ScalyrMonitor, AutoFlushingRotatingFileHandler
from scalyr_agent.json_lib import JsonObject

class Mine(ScalyrMonitor):
    def _initialize(self):
        self.log_config = {
            "path": "renamed.log",
            "parser": "mine",
            "attributes": JsonObject({"tier": 1, "nested": JsonObject({"a": [1]})}),
            "sampling_rules": [],
        }

    def set_log_watcher(self, watcher):
        self.watcher = watcher

    def run(self):
        assert os.path.isabs(self.log_config["path"]), self.log_config
        assert self.log_config["attributes"]["parser"] == "mine"
        config = self.watcher.add_log_config(self.module_name, {"path": "own.log", "attributes": {"parser": "theirs"}})
        handler = AutoFlushingRotatingFileHandler(config["path"], maxBytes=1000, backupCount=1, flushDelay=0.01)
        handler.emit(logging.makeLogRecord({"msg": "a line"}))
        gone = self.watcher.add_log_config(self.module_name, {"path": "/var/gone.log"})
        self.watcher.remove_log_path(self.module_name, gone["path"])
        self._logger.emit_value("m", 1, monitor_id_override="container a")
        self._logger.info("text", emit_to_metric_log=True, monitor_id_override="b")
        self._logger.emit_value("m", 2)
        self._sleep_but_awaken_if_stopped(60)
        handler.close()
"#;

#[test]
#[ignore = "needs python3"]
fn a_python_plugin_names_its_log_has_others_copied_and_writes_for_other_ids() {
    let scratch = Scratch::new("python-logs");
    let mut trial = python(&scratch, LOGS, &json!({}));
    trial.until_seen(" m 2\n");
    let own = scratch.path("own.log");
    trial.until("the line of the handler", |_| {
        fs::read_to_string(&own).is_ok_and(|text| text == "a line\n")
    });
    trial.stop();
    let stamp = "2022-04-15 11:11:08.015Z";
    assert_eq!(
        trial.seen,
        format!("{stamp} [p(container a)] m 1\n{stamp} [p(b)] text\n{stamp} [p()] m 2\n")
    );
    let all = trial.followed.all();
    assert_eq!(all.len(), 2, "{all:?}");
    assert_eq!(
        (&all[0].path, all[0].metrics),
        (&scratch.path("renamed.log"), true)
    );
    assert_eq!(all[0].parser, "mine");
    let attributes = [
        ("nested".to_owned(), json!("{\"a\": [1]}")),
        ("tier".to_owned(), json!(1)),
    ];
    assert_eq!(all[0].attributes, attributes);
    assert_eq!((&all[1].path, all[1].metrics), (&own, false));
    assert_eq!(all[1].parser, "theirs");
    assert_eq!(trial.counter("plugin_bad_lines"), 0);
    assert_eq!(trial.status.snapshot().errors, 0);
}

#[test]
#[ignore = "needs python3"]
fn a_python_plugin_that_writes_its_log_itself_has_it_copied() {
    let scratch = Scratch::new("python-own-log");
    let text = r#"
from scalyr_agent import ScalyrMonitor
class Mine(ScalyrMonitor):
    def _initialize(self):
        self.log_config = {"path": "mine.log", "parser": "p"}
    def open_metric_log(self):
        self.log = open(self.log_config["path"], "a")
        return True
    def gather_sample(self):
        self.log.write("a line\n")
        self.log.flush()
"#;
    let mut trial = python(&scratch, text, &json!({}));
    trial.until("its log", |trial| trial.followed.all().len() == 1);
    let log = &trial.followed.all()[0];
    assert_eq!((&log.path, log.metrics), (&scratch.path("mine.log"), false));
    trial.stop();
}

#[test]
#[ignore = "needs python3"]
fn the_host_needs_no_python_newer_than_3_6() {
    let sources: Vec<&str> = python::MODULES.iter().map(|(_, text)| *text).collect();
    let sources = json!([sources, [python::HOST, python::BOOT]]).to_string();
    let check = "import ast,json,sys\nfor s in sum(json.loads(sys.stdin.read()),[]): ast.parse(s,feature_version=(3,6))";
    let mut child = std::process::Command::new("python3")
        .args(["-c", check])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), sources.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
#[ignore = "needs python3"]
fn a_file_name_that_is_no_utf8_loses_its_bad_bytes_and_not_the_metric() {
    let scratch = Scratch::new("python-bytes");
    let text = r#"
import os
from scalyr_agent import ScalyrMonitor
class Mine(ScalyrMonitor):
    def gather_sample(self):
        self._logger.emit_value("size", 1, {"file": os.fsdecode(b"a\xffb\xc3\xa4")})
"#;
    let mut trial = python(&scratch, text, &json!({}));
    trial.until("a line", |trial| {
        !trial.seen.is_empty() || trial.counter("plugin_bad_lines") > 0
    });
    trial.stop();
    assert!(
        trial
            .seen
            .starts_with(&format!("{HEAD}size 1 file=\"a?b\u{e4}\"\n")),
        "{}",
        trial.seen
    );
}

#[test]
#[ignore = "needs python3"]
fn a_python_that_is_too_old_says_so() {
    let scratch = Scratch::new("python-old");
    let text = "#!/bin/sh\nexec python3 -c \"import sys\nsys.version_info=(2,7,18)\nsys.version='2.7.18 (old)'\n$3\"\n";
    put(&scratch, "python2", 0o755, text);
    let entry = json!({"plugin_python": scratch.path("python2").to_str().unwrap()});
    let mut trial = python(&scratch, "", &entry);
    let error = trial.result().unwrap_err().to_string();
    assert!(
        error.contains("need Python 3.6 or later; this is 2.7.18"),
        "{error}"
    );
}

#[test]
#[ignore = "needs python3"]
fn a_wrong_python_plugin_says_what_is_wrong() {
    let scratch = Scratch::new("python-wrong");
    let base = "from scalyr_agent import *\nfrom scalyr_agent import define_config_option\n";
    let option = "define_config_option(__name__, 'n', '', required_option=True, convert_to=int, max_value=5)\n";
    let class = "class A(ScalyrMonitor):\n    def gather_sample(self):\n        pass\n";
    for (text, entry, reason) in [
        ("print 'python 2'".to_owned(), json!({}), "SyntaxError"),
        ("import nowhere_to_be_found".to_owned(), json!({}), "No module named"),
        (
            "import scalyr_agent.copying_manager".to_owned(),
            json!({}),
            "not among the modules that the plug-in host offers",
        ),
        (
            "from scalyr_agent.util import ScriptEscalator".to_owned(),
            json!({}),
            "it is not offered by the plug-in host",
        ),
        (
            "import scalyr_agent.util as u\nu.ScriptEscalator".to_owned(),
            json!({}),
            "scalyr_agent.util.ScriptEscalator is not offered by the plug-in host",
        ),
        (
            "import scalyr_agent.monitor_utils.k8s".to_owned(),
            json!({}),
            "scalyr_agent.monitor_utils.k8s is not among the modules",
        ),
        (base.to_owned(), json!({}), "no class that is derived from ScalyrMonitor"),
        (format!("{base}{option}{class}"), json!({}), "Missing required field \"n\""),
        (
            format!("{base}{option}{class}"),
            json!({"n": "6"}),
            "Value of 6 in field \"n\" is invalid; maximum is 5",
        ),
        (format!("{base}{option}{class}"), json!({"n": true}), "Prohibited conversion"),
        (
            format!("{base}class A(ScalyrMonitor):\n    def run(self):\n        raise KeyError('x')\n"),
            json!({}),
            "Monitor died: KeyError: 'x'",
        ),
        (
            format!("{base}class A(ScalyrMonitor):\n    def run(self):\n        pass\n"),
            json!({}),
            "returned although it was not stopped",
        ),
        (
            format!("{base}class A(ScalyrMonitor):\n    def _initialize(self):\n        raise UnsupportedSystem('a', 'no such system')\n"),
            json!({}),
            "no such system",
        ),
    ] {
        let mut trial = python(&scratch, &text, &entry);
        let error = trial.result().unwrap_err().to_string();
        assert!(error.contains(reason), "{text}: {error}");
    }
}

#[test]
#[ignore = "needs python3"]
fn a_python_plugin_in_a_package_can_import_its_neighbours() {
    let scratch = Scratch::new("python-package");
    fs::create_dir_all(scratch.path("my/pkg")).unwrap();
    put(&scratch, "my/pkg/__init__.py", 0o644, "");
    put(&scratch, "my/pkg/near.py", 0o644, "VALUE = 5\n");
    put(&scratch, "top.py", 0o644, "VALUE = 6\n");
    put(
        &scratch,
        "my/pkg/mon.py",
        0o644,
        "from scalyr_agent import ScalyrMonitor\nfrom .near import VALUE\nimport top\nclass A(ScalyrMonitor):\n    def gather_sample(self):\n        self._logger.emit_value('v', VALUE + top.VALUE)\n",
    );
    let mut trial = Trial::start(&scratch.path(""), &json!({"module": "my.pkg.mon"}));
    trial.until_seen("[mon()] v 11\n");
    trial.stop();
}

/// Where the monitors of the Python agent's package are, and the Python that has it.
fn their_monitors() -> Option<(String, std::path::PathBuf)> {
    let python = std::env::var("SCALYR_TEST_PYTHON").ok()?;
    let find = "import os,scalyr_agent;print(os.path.dirname(scalyr_agent.__file__))";
    let found = std::process::Command::new(&python)
        .args(["-c", find])
        .output()
        .unwrap();
    let package = String::from_utf8(found.stdout).unwrap();
    Some((python, Path::new(package.trim()).join("builtin_monitors")))
}

/// Copies one of them into the scratch directory.
fn theirs(scratch: &Scratch, name: &str) -> Option<String> {
    let (python, dir) = their_monitors()?;
    put(
        scratch,
        name,
        0o644,
        &fs::read_to_string(dir.join(name)).unwrap(),
    );
    // The package itself is not in the way of the host's own.
    Some(python)
}

fn run_theirs(name: &str, entry: Json, enough: impl FnMut(&Trial) -> bool) -> Option<Trial> {
    let scratch = Scratch::new(&format!("theirs-{name}"));
    let python = theirs(&scratch, &format!("{name}.py"))?;
    let mut entry = entry;
    // As an entry for the Python agent has it.
    entry["module"] = json!(format!("custom.{name}"));
    entry["plugin_python"] = json!(python);
    let mut trial = Trial::start(&scratch.path(""), &entry);
    trial.until(name, enough);
    trial.stop();
    assert_eq!(trial.counter("plugin_bad_lines"), 0, "{}", trial.seen);
    assert_eq!(trial.status.snapshot().errors, 0, "{:?}", trial.status);
    Some(trial)
}

#[test]
#[ignore = "needs the Python agent (SCALYR_TEST_PYTHON)"]
fn their_shell_monitor_runs_unmodified() {
    let entry = json!({"command": "echo out; echo err >&2; exit 0", "extract": "(?s)(\\w+)$"});
    let trial = run_theirs("shell_monitor", entry.clone(), |t| t.seen.contains('\n')).unwrap();
    let line = trial.seen.lines().next().unwrap();
    let head = "2022-04-15 11:11:08.015Z [shell_monitor()] output ";
    assert!(line.starts_with(head), "{line}");
    assert!(
        line.contains("command=\"echo out; echo err >&2; exit 0\""),
        "{line}"
    );
}

#[test]
#[ignore = "needs the Python agent (SCALYR_TEST_PYTHON)"]
fn their_url_monitor_runs_unmodified() {
    let url = serve("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    let entry = json!({"url": url, "request_headers": [{"header": "X-A", "value": "b"}]});
    let trial = run_theirs("url_monitor", entry, |t| t.seen.contains('\n')).unwrap();
    let line = trial.seen.lines().next().unwrap();
    assert!(
        line.contains("[url_monitor()] response \"hello\""),
        "{line}"
    );
    assert!(line.contains("status=200"), "{line}");
}

#[test]
#[ignore = "needs the Python agent (SCALYR_TEST_PYTHON)"]
fn their_test_monitor_runs_unmodified() {
    let entry = json!({"gauss_mean": 0.5, "gauss_stddev": 0.25});
    let trial = run_theirs("test_monitor", entry, |t| t.seen.contains("gauss")).unwrap();
    assert!(
        trial.seen.contains("[test_monitor()] uniform 0."),
        "{}",
        trial.seen
    );
    assert!(trial.seen.contains(" count=1"), "{}", trial.seen);
}

#[test]
#[ignore = "needs the Python agent (SCALYR_TEST_PYTHON)"]
fn their_process_monitor_runs_unmodified() {
    let entry = json!({"id": "me", "pid": std::process::id().to_string()});
    let trial = run_theirs("linux_process_metrics", entry, |t| {
        t.seen.contains("app.mem.bytes")
    })
    .unwrap();
    assert!(trial.seen.contains("app.threads"), "{}", trial.seen);
    assert!(trial.seen.contains("app=\"me\""), "{}", trial.seen);
}

#[test]
#[ignore = "needs the Python agent (SCALYR_TEST_PYTHON)"]
fn their_nginx_monitor_runs_unmodified() {
    let status = "Active connections: 3 \nserver accepts handled requests\n 10 10 30 \nReading: 1 Writing: 2 Waiting: 0 \n";
    let url = serve(&format!(
        "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{status}",
        status.len()
    ));
    let trial = run_theirs("nginx_monitor", json!({"status_url": url}), |t| {
        t.seen.contains("nginx.connections.waiting")
    })
    .unwrap();
    assert!(
        trial.seen.contains("nginx.connections.active 3"),
        "{}",
        trial.seen
    );
}

#[test]
#[ignore = "needs the Python agent (SCALYR_TEST_PYTHON)"]
fn their_apache_monitor_runs_unmodified() {
    let status = "Total Accesses: 12\nTotal kBytes: 4\nUptime: 99\nReqPerSec: .5\nBytesPerSec: 1\nBytesPerReq: 2\nBusyWorkers: 1\nIdleWorkers: 5\nScoreboard: _W_\n";
    let url = serve(&format!(
        "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{status}",
        status.len()
    ));
    let trial = run_theirs("apache_monitor", json!({"status_url": url}), |t| {
        t.seen.contains("apache.workers.idle")
    })
    .unwrap();
    assert!(
        trial.seen.contains("apache.workers.active 1"),
        "{}",
        trial.seen
    );
}

#[test]
#[ignore = "needs the Python agent (SCALYR_TEST_PYTHON)"]
fn their_graphite_monitor_runs_unmodified() {
    use std::io::Write as _;
    // A port that nobody else has at the moment.
    let probe = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = probe.local_addr().unwrap().port();
    drop(probe);
    let entry = json!({"plaintext_port": port, "accept_pickle": false});
    let mut client = None;
    let trial = run_theirs("graphite_monitor", entry, |t| {
        if client.is_none() {
            client = std::net::TcpStream::connect(("127.0.0.1", port)).ok();
            if let Some(client) = &mut client {
                client.write_all(b"a.b 5 100\nc;d=e 6.5 101\n").unwrap();
            }
        }
        t.seen.contains("6.5")
    })
    .unwrap();
    let head = "2022-04-15 11:11:08.015Z [graphite_monitor()] ";
    assert_eq!(
        trial.seen.replace(head, "> "),
        "> a.b 5.0 orig_time=100.0\n> c_d_e 6.5 orig_time=101.0\n"
    );
}

#[test]
#[ignore = "needs the Python agent (SCALYR_TEST_PYTHON)"]
fn their_garbage_and_symlink_monitors_run_unmodified() {
    run_theirs("garbage_monitor", json!({}), |t| {
        t.status.snapshot().last_sample_ms.is_some()
    })
    .unwrap();
    let scratch = Scratch::new("symlinks");
    put(&scratch, "a.log", 0o644, "");
    let entry = json!({
        "input_path_glob": scratch.path("*.log").to_str().unwrap(),
        "symlink_file_name_format": "link-{file_name}-{index}",
    });
    run_theirs("symlink_file_monitor", entry, |_| {
        fs::symlink_metadata(scratch.path("link-a.log-0")).is_ok()
    })
    .unwrap();
}

/// Every monitor of the package is loaded, or what it lacks is said by name.
#[test]
#[ignore = "needs the Python agent (SCALYR_TEST_PYTHON)"]
fn each_of_their_monitors_is_loaded_or_refused_by_name() {
    let (python, dir) = their_monitors().unwrap();
    let scratch = Scratch::new("theirs-all");
    for file in fs::read_dir(dir).unwrap().flatten() {
        if file.path().extension().is_some_and(|ending| ending == "py") {
            let name = file.file_name().into_string().unwrap();
            put(
                &scratch,
                &name,
                0o644,
                &fs::read_to_string(file.path()).unwrap(),
            );
        }
    }
    fs::remove_file(scratch.path("__init__.py")).unwrap();
    let offered = "is not among the modules that the plug-in host offers";
    let library = "No module named '";
    // The first error of an entry without options; it depends on whether the libraries are
    // installed.
    for (name, first) in [
        ("docker_monitor", &[library, offered][..]),
        (
            "journald_monitor",
            &[
                "ImportError: Python systemd library",
                "journald_log_configs",
            ],
        ),
        ("kubernetes_events_monitor", &[offered]),
        ("kubernetes_monitor", &[library, offered]),
        ("kubernetes_openmetrics_monitor", &[library, offered]),
        ("linux_process_metrics", &["Missing required field \"id\""]),
        ("linux_system_metrics", &[offered]),
        ("mysql_monitor", &[library, "Missing required field"]),
        ("openmetrics_monitor", &[library, "Missing required field"]),
        ("postgres_monitor", &[library, "Missing required field"]),
        ("redis_monitor", &[library, "cannot be started"]),
        ("shell_monitor", &["Missing required field \"command\""]),
        ("snmp_monitor", &[library, "Missing required field"]),
        (
            "syslog_monitor",
            &[library, offered, "does not know the global option"],
        ),
        (
            "tomcat_monitor",
            &["Missing required field \"monitor_url\""],
        ),
        ("url_monitor", &["Missing required field \"url\""]),
        ("windows_event_log_monitor", &[library]),
        ("windows_process_metrics", &["psutil"]),
        ("windows_system_metrics", &["psutil"]),
    ] {
        let entry = json!({"module": format!("custom.{name}"), "plugin_python": python});
        let mut trial = Trial::start(&scratch.path(""), &entry);
        let error = trial.result().unwrap_err().to_string();
        assert!(
            first.iter().any(|text| error.contains(text)),
            "{name}: {error}"
        );
    }
}

/// The address of a server that gives this answer to every request, until the test program ends.
fn serve(answer: &str) -> String {
    use std::io::{Read as _, Write as _};
    let answer = answer.to_owned();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    format!("http://{address}/status")
}
