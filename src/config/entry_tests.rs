//! Entries of the lists: logs, workers, monitors.

use super::fixture::{text, Fixture};
use super::*;

/// The first log entry of a file whose only entry has these members.
fn log(members: &str) -> LogEntry {
    let fixture = Fixture::with(&format!("logs: [{{path: \"/l\", {members}}}]"));
    fixture.load().logs.remove(0)
}

fn log_refused(members: &str) -> (&'static str, String) {
    Fixture::with(&format!("logs: [{{path: \"/ok\"}}, {{{members}}}]")).refused()
}

#[test]
fn converted_values_are_the_ones_that_act() {
    let entry = log(
        r#"copy_from_start: "false", ignore_stale_files: "no", staleness_threshold_secs: "100"
        minimum_scan_interval: 2.9, path: 5"#,
    );
    assert!(!entry.copy_from_start && !entry.ignore_stale_files);
    assert_eq!(entry.staleness_threshold_secs, 100.0);
    assert_eq!(entry.minimum_scan_interval, Some(2));
    assert!(entry.path.ends_with("log/5"));
    assert_eq!(
        log("parse_lines_as_json: \"false\", parse_format: \"json\"").parse_format,
        ParseFormat::Raw
    );
    assert_eq!(
        log("parse_lines_as_json: true").parse_format,
        ParseFormat::Json
    );
}

#[test]
fn an_entry_has_its_defaults_and_its_attributes() {
    let entry = log("");
    assert_eq!(entry, LogEntry::new("/l".into(), EntryKind::Configured));
    assert!(!entry.is_glob && !entry.copy_from_start && entry.worker_id == "default");
    for path in ["/a*", "/a?", "/[a]"] {
        assert!(LogEntry::new(path.into(), EntryKind::Configured).is_glob);
    }
    let entry = log(r#"attributes: {parser: "old", n: 5}, parser: "new", exclude: ["*/x.log"]"#);
    let number = AttrValue::Number("5".to_owned());
    assert_eq!(
        entry.attributes,
        [("parser".to_owned(), text("new")), ("n".to_owned(), number)]
    );
    assert_eq!(entry.exclude, ["*/x.log"]);
    let global = Fixture::with("minimum_scan_interval: 7, logs: [{path: \"/a\"}]").load();
    assert_eq!(global.logs[0].minimum_scan_interval, Some(7));
}

#[test]
fn an_entry_decides_on_foreign_links_and_the_global_option_where_it_does_not() {
    let logs = "logs: [{path: \"/a*\"}, {path: \"/b*\", follow_foreign_links: false}, \
                {path: \"/c*\", follow_foreign_links: true}]";
    for (global, follow) in [
        ("", [false, false, true]),
        ("follow_foreign_links: true, ", [true, false, true]),
    ] {
        let config = Fixture::with(&format!("{global}{logs}")).load();
        let entries = &config.logs[..3];
        let got: Vec<bool> = entries.iter().map(|e| e.follow_foreign_links).collect();
        assert_eq!(got, follow, "{global}");
    }
}

#[test]
fn a_wrong_entry_is_refused_with_its_place() {
    for (members, code, option) in [
        ("", "missingRequired", "logs[1].path"),
        ("path: null", "missingRequired", "logs[1].path"),
        ("path: \"\"", "invalidValue", "logs[1].path"),
        ("path: true", "notString", "logs[1].path"),
        (
            "path: \"/a\", exclude: \"x\"",
            "notJsonArray",
            "logs[1].exclude",
        ),
        (
            "path: \"/a\", exclude: [5]",
            "notStringOrUnicode",
            "logs[1].exclude",
        ),
        (
            "path: \"/a\", attributes: []",
            "notJsonObject",
            "logs[1].attributes",
        ),
        (
            "path: \"/a\", attributes: {a: false}",
            "notString",
            "logs[1].attributes",
        ),
        ("path: \"/a\", parser: []", "notString", "logs[1].parser"),
        (
            "path: \"/a\", copy_from_start: \"x\"",
            "notBoolean",
            "logs[1].copy_from_start",
        ),
        (
            "path: \"/a\", ignore_stale_files: 2",
            "notBoolean",
            "logs[1].ignore_stale_files",
        ),
        (
            "path: \"/a\", staleness_threshold_secs: \"x\"",
            "notFloat",
            "logs[1].staleness_threshold_secs",
        ),
        (
            "path: \"/a\", staleness_threshold_secs: -1",
            "invalidValue",
            "logs[1].staleness_threshold_secs",
        ),
        (
            "path: \"/a\", minimum_scan_interval: \"x\"",
            "notInt",
            "logs[1].minimum_scan_interval",
        ),
        (
            "path: \"/a\", parse_format: \"xml\"",
            "invalidValue",
            "logs[1].parse_format",
        ),
        (
            "path: \"/a\", parse_lines_as_json: []",
            "notBoolean",
            "logs[1].parse_lines_as_json",
        ),
        (
            "path: \"/a\", rename_logfile: 5",
            "wrongType",
            "logs[1].rename_logfile",
        ),
        (
            "path: \"/a\", rename_logfile: {match: \"x\"}",
            "missingRequired",
            "logs[1].rename_logfile",
        ),
        (
            "path: \"/a\", worker_id: \"w\"",
            "invalidWorkerReference",
            "logs[1].worker_id",
        ),
        (
            "path: \"/a\", lineGroupers: {}",
            "notJsonArray",
            "logs[1].lineGroupers",
        ),
        (
            "path: \"/a\", lineGroupers: [5]",
            "notJsonObject",
            "logs[1].lineGroupers[0]",
        ),
        (
            "path: \"/a\", lineGroupers: [{haltWith: \"x\"}]",
            "missingRequired",
            "logs[1].lineGroupers[0].start",
        ),
        (
            "path: \"/a\", lineGroupers: [{start: \"x\"}]",
            "missingRequired",
            "logs[1].lineGroupers[0].start",
        ),
        (
            "path: \"/a\", lineGroupers: [{start: \"x\", haltWith: \"x\", haltBefore: \"y\"}]",
            "missingRequired",
            "logs[1].lineGroupers[0].start",
        ),
        (
            "path: \"/a\", lineGroupers: [{start: \"x\", haltWith: []}]",
            "notString",
            "logs[1].lineGroupers[0].haltWith",
        ),
        (
            "path: \"/a\", sampling_rules: [{sampling_rate: 1}]",
            "missingRequired",
            "logs[1].sampling_rules[0].match_expression",
        ),
        (
            "path: \"/a\", sampling_rules: [{match_expression: \"x\"}]",
            "missingRequired",
            "logs[1].sampling_rules[0].sampling_rate",
        ),
        (
            "path: \"/a\", sampling_rules: [{match_expression: [], sampling_rate: 1}]",
            "notRegexp",
            "logs[1].sampling_rules[0].match_expression",
        ),
        (
            "path: \"/a\", sampling_rules: [{match_expression: \"x\", sampling_rate: 1.1}]",
            "notPercentage",
            "logs[1].sampling_rules[0].sampling_rate",
        ),
        (
            "path: \"/a\", sampling_rules: [{match_expression: \"x\", sampling_rate: \"nan\"}]",
            "notNumber",
            "logs[1].sampling_rules[0].sampling_rate",
        ),
        (
            "path: \"/a\", redaction_rules: [{replacement: \"x\"}]",
            "missingRequired",
            "logs[1].redaction_rules[0].match_expression",
        ),
        (
            "path: \"/a\", redaction_rules: [{match_expression: \"x\", replacement: []}]",
            "notString",
            "logs[1].redaction_rules[0].replacement",
        ),
    ] {
        let (got, message) = log_refused(members);
        assert_eq!(got, code, "{members}: {message}");
        assert!(
            message.starts_with("agent.json, line 2, column "),
            "{message}"
        );
        assert!(
            message.contains(&format!("option \"{option}\"")),
            "{message}"
        );
    }
}

#[test]
fn rules_are_kept_for_the_rooms_above() {
    let config = Fixture::with(
        r#"logs: [{path: "/l", parse_format: "cri"
            rename_logfile: {match: "a", replacement: "b"}
            lineGroupers: [{start: "s", haltBefore: "h"}]
            sampling_rules: [{match_expression: 5, sampling_rate: "0.5"}]
            redaction_rules: [{match_expression: "", hash_salt: 7}]}]"#,
    )
    .load();
    let entry = &config.logs[0];
    assert_eq!(entry.parse_format, ParseFormat::Cri);
    let end = GroupEnd::HaltBefore("h".to_owned());
    assert_eq!(
        entry.line_groupers,
        [LineGrouper {
            start: "s".to_owned(),
            end
        }]
    );
    assert_eq!(entry.sampling_rules[0].match_expression, "5");
    assert_eq!(entry.sampling_rules[0].sampling_rate, 0.5);
    assert_eq!(entry.redaction_rules[0].hash_salt, "7");
    assert!(!config.warns(&["not acted on"]));
    assert_eq!(entry.rename_logfile.as_ref().unwrap().apply("/a"), None);
}

#[test]
fn a_rename_template_acts_and_a_slip_in_it_keeps_the_name() {
    let entry = log("rename_logfile: \"/x/$PATH2/$BASENAME\"");
    let renamed = entry.rename_logfile.unwrap().apply("/var/log/a.log");
    assert_eq!(renamed.as_deref(), Some("/x/log/a.log"));
    for template in ["", "$basename", "$"] {
        let config = Fixture::with(&format!(
            "logs: [{{path: \"/l\", rename_logfile: \"{template}\"}}]"
        ))
        .load();
        assert_eq!(config.logs[0].rename_logfile, None);
        assert!(
            config.warns(&["logs[0].rename_logfile", "has no effect"]),
            "{template}"
        );
    }
}

#[test]
fn a_misspelt_member_is_warned_about() {
    let config = Fixture::with("logs: [{path: \"/l\", atributes: {}, api_key: \"x\"}]").load();
    assert!(config.warns(&["logs[0].atributes", "did you mean \"attributes\"?"]));
    assert!(config.warns(&["logs[0].api_key", "no effect"]));
}

#[test]
fn the_older_name_of_a_worker_reference_counts() {
    let config = Fixture::with(
        "workers: [{id: \"w\", api_key: \"x\"}], logs: [{path: \"/l\", api_key_id: \"w\"}]",
    )
    .load();
    assert_eq!(config.logs[0].worker_id, "w");
    assert!(config.warns(&["api_key_id", "worker_id"]));
}

#[test]
fn the_operators_entry_for_agent_log_comes_first() {
    let config = Fixture::with("logs: [{path: \"agent.log\", parser: \"mine\"}]").load();
    assert_eq!(config.logs[0].path, config.logs[1].path);
    assert_eq!(config.logs[0].kind, EntryKind::Configured);
    assert_eq!(
        config.logs[0].attributes,
        [("parser".to_owned(), text("mine"))]
    );
    assert_eq!(
        config.logs[2].exclude,
        ["*agent-worker-session-*_debug.log"]
    );
    let none = Fixture::with("implicit_agent_log_collection: false").load();
    assert!(none.logs.is_empty());
}

#[test]
fn workers_are_completed_and_checked() {
    let config = Fixture::with(
        r#"scalyr_server: "s.com", default_sessions_per_worker: 2
           workers: [{id: "a_1", api_key: "ka", server_url: "HTTP://other", sessions: "3"}
                     {id: "DEFAULT", api_key: "k", workers: 2.7}]"#,
    )
    .load();
    let seen: Vec<_> = config
        .workers
        .iter()
        .map(|w| {
            (
                w.id.as_str(),
                w.api_key.expose(),
                w.server.to_string(),
                w.sessions,
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("default", "k", "https://s.com".to_owned(), 2),
            ("a_1", "ka", "https://other".to_owned(), 3),
            ("DEFAULT", "k", "https://s.com".to_owned(), 2),
        ]
    );
    assert!(!config.warns(&["not acted on"]), "sessions do act");
    assert!(config.warns(&["\"workers\" of a worker", "sessions"]));

    let processes = Fixture::with("use_multiprocess_workers: true").load();
    assert!(processes.warns(&["use_multiprocess_workers", "threads"]));
    let threads = Fixture::with("use_multiprocess_workers: false").load();
    assert!(!threads.warns(&["use_multiprocess_workers"]));

    let listed =
        Fixture::with("workers: [{id: \"a\", api_key: \"x\"}, {id: \"default\", api_key: \"k\"}]")
            .load();
    assert_eq!(listed.workers[1].id, "default");
    assert_eq!(
        Fixture::with("workers: [{id: \"default\"}]")
            .load()
            .workers
            .len(),
        1
    );
    let plain = Fixture::with(
        "allow_http: true, workers: [{id: \"a\", api_key: \"x\", server_url: \"http://h\"}]",
    )
    .load();
    assert!(!plain.workers[1].server.https && plain.workers[0].server.https);

    for (entries, code) in [
        ("[{api_key: \"x\"}]", "missingRequired"),
        ("[{id: \"a\"}]", "missingRequired"),
        ("[{id: \"a\", api_key: \"\"}]", "emptyApiKey"),
        ("[{id: \"\", api_key: \"x\"}]", "invalidWorkerId"),
        ("[{id: \"a-b\", api_key: \"x\"}]", "invalidWorkerId"),
        ("[{id: \"é\", api_key: \"x\"}]", "invalidWorkerId"),
        (
            "[{id: \"a\", api_key: \"x\"}, {id: \"a\", api_key: \"y\"}]",
            "workerIdDuplication",
        ),
        ("[{id: \"default\", api_key: \"x\"}]", "wrongDefaultWorker"),
        ("[{id: \"a\", api_key: \"x\", sessions: 0}]", "invalidValue"),
        (
            "[{id: \"a\", api_key: \"x\", sessions: -1}]",
            "invalidValue",
        ),
        ("[{id: \"a\", api_key: \"x\", sessions: \"x\"}]", "notInt"),
        (
            "[{id: \"a\", api_key: \"x\", sessions: 1, workers: 1}]",
            "multipleKeys",
        ),
        (
            "[{id: \"a\", api_key: \"x\", server_url: \"ftp://x\"}]",
            "invalidValue",
        ),
        ("[{id: \"a\", api_key: [\"x\"]}]", "notString"),
    ] {
        let (got, message) = Fixture::with(&format!("workers: {entries}")).refused();
        assert_eq!(got, code, "{message}");
    }
    for list in [
        "logs: [{path: \"/a\", worker_id: \"b\"}]",
        "journald_logs: [{journald_unit: \"u\", worker_id: \"b\"}]",
        "k8s_logs: [{worker_id: \"b\"}]",
    ] {
        let fixture =
            Fixture::with("workers: [{id: \"z\", api_key: \"x\"}, {id: \"a\", api_key: \"x\"}]")
                .fragment("f.json", &format!("{{{list}}}"));
        let (code, message) = fixture.refused();
        assert_eq!(code, "invalidWorkerReference");
        assert!(message.contains("allowed: a, default, z"), "{message}");
    }
    Fixture::with("logs: [{path: \"/a\", worker_id: \"b\"}]")
        .fragment("f.json", "{workers: [{id: \"b\", api_key: \"x\"}]}")
        .load();
}

#[test]
fn journal_and_container_rules_are_kept() {
    let config = Fixture::with(
        "journald_logs: [{journald_globs: {A: \"x*\", B: 5}, parser: \"p\"}], k8s_logs: [{k8s_pod_glob: \"p*\"}]",
    )
    .load();
    let globs = &config.journald_logs[0].globs;
    assert_eq!(globs[1], ("B".to_owned(), "5".to_owned()));
    assert_eq!(config.k8s_logs[0].pod_glob, "p*");
    assert_eq!(config.k8s_logs[0].container_glob, "*");
    let both = Fixture::with("journald_logs: [{journald_unit: \"u\", journald_globs: {}}]");
    assert_eq!(both.refused().0, "invalidConfigError");
}

#[test]
fn monitors_get_their_ids_and_keep_their_options() {
    let config = Fixture::with(
        r#"monitors: [
            {module: "a.test_monitor", id: "first", x: {y: [1, "2"]}}
            {module: "b.test_monitor", stop_agent_on_failure: "yes"}
            {module: "lonely"}
            {module: "scalyr_agent.builtin_monitors.linux_system_metrics"}
            {module: "twin", id: 5}, {module: "twin", id: "5"}
        ]"#,
    )
    .load();
    let labels: Vec<_> = config.monitors.iter().map(MonitorEntry::label).collect();
    assert_eq!(
        labels,
        [
            "test_monitor(first)",
            "test_monitor(2)",
            "lonely",
            // The implicit one is not wanted beside it
            "linux_system_metrics",
            "twin(5)",
            "twin(5)",
            "linux_process_metrics(agent)"
        ]
    );
    assert!(config.warns(&["twin(5)"]));
    let implicit: Vec<_> = config.monitors.iter().map(|m| m.implicit).collect();
    assert_eq!(implicit[5..], [false, true]);
    assert!(config.monitors[1].stop_agent_on_failure && !config.monitors[0].stop_agent_on_failure);
    let value = config.monitors[0].get("x").unwrap();
    assert!(matches!(value, Json::Object(members) if members[0].key == "y"));
    let error = config.monitors[0].error("x", "illegalConversion", "no");
    assert!(
        error.to_string().contains(
            "agent.json, line 3, column 56: option \"x\": monitor test_monitor(first): no"
        ),
        "{error}"
    );
    let pid = config.monitors[6].get("pid");
    assert_eq!(pid, Some(&Json::Text("$$".to_owned())));

    for (entry, code) in [
        ("{}", "missingRequired"),
        ("{module: []}", "notString"),
        ("{module: \"\"}", "invalidValue"),
        ("{module: \"a.\"}", "invalidValue"),
        ("{module: \"m\", stop_agent_on_failure: 2}", "notBoolean"),
    ] {
        let (got, message) = Fixture::with(&format!("monitors: [{entry}]")).refused();
        assert_eq!(got, code, "{message}");
    }
    let none =
        Fixture::with("implicit_metric_monitor: false, implicit_agent_process_metrics_monitor: 0")
            .load();
    assert!(none.monitors.is_empty());
}

#[test]
fn options_of_monitors_convert_by_their_own_table() {
    // Literal, as string, int, float, bool, list
    let e = "illegalConversion";
    #[rustfmt::skip]
    let table: &[(&str, &str, &str, &str, &str, &str)] = &[
        ("\"x,y\"", "\"x,y\"", "notNumber", "notNumber", "false", "[\"x\", \"y\"]"),
        ("\"1.5\"", "\"1.5\"", "notNumber", "1.5", "false", "[\"1.5\"]"),
        ("\"12\"", "\"12\"", "12", "12.0", "false", "[\"12\"]"),
        ("\"True\"", "\"True\"", "notNumber", "notNumber", "true", "[\"True\"]"),
        ("5", "\"5\"", "5", "5.0", e, e),
        ("1.9", "\"1.9\"", "1", "1.9", e, e),
        ("true", "\"True\"", e, e, "true", e),
        ("[\"a\"]", e, e, e, e, "[\"a\"]"),
        ("[1]", e, e, e, e, e),
        ("{}", e, e, e, e, e),
    ];
    fn shown<T: std::fmt::Debug>(result: Result<T, (&'static str, String)>) -> String {
        result.map_or_else(|(code, _)| code.to_owned(), |value| format!("{value:?}"))
    }
    for (literal, s, i, f, b, l) in table {
        let value = json::parse(literal).unwrap().value;
        assert_eq!(shown(convert::text(&value)), *s, "{literal} as string");
        assert_eq!(shown(convert::int(&value)), *i, "{literal} as int");
        assert_eq!(shown(convert::float(&value)), *f, "{literal} as float");
        assert_eq!(shown(convert::boolean(&value)), *b, "{literal} as bool");
        assert_eq!(shown(convert::strings(&value)), *l, "{literal} as list");
    }
}

#[test]
fn the_host_attribute_is_added_unless_given() {
    let host = host_name();
    assert_eq!(
        Fixture::with("").load().attribute("serverHost"),
        Some(&text(&host))
    );
    let cut = Fixture::with("strip_domain_from_default_server_host: true").load();
    let short = host.split('.').next().unwrap();
    assert_eq!(cut.attribute("serverHost"), Some(&text(short)));
    let own = Fixture::with("server_attributes: {serverHost: \"\"}").load();
    assert_eq!(own.attribute("serverHost"), Some(&text("")));
}
