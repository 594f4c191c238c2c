//! Files, merging, environment, top-level options.

use super::fixture::{file_names, text, Fixture};
use super::*;

#[test]
fn the_smallest_file_has_every_default() {
    let fixture = Fixture::new("{api_key: \"k\"}");
    let config = fixture.load();
    let o = &config.options;
    assert_eq!(config.api_key.expose(), "k");
    assert_eq!(config.server.to_string(), "https://agent.scalyr.com");
    assert!(!config.https_forced);
    // The six that the reference overrides, and what nothing may be skipped by.
    assert_eq!(o.max_allowed_request_size, 5_900_000);
    assert_eq!(o.pipeline_threshold, 0.0);
    assert_eq!(o.min_request_spacing_interval, 0.0);
    assert_eq!(o.max_request_spacing_interval, 5.0);
    assert_eq!(o.max_log_offset_size, None);
    assert_eq!(o.max_existing_log_offset_size, None);
    assert_eq!(o.copy_staleness_threshold, None);
    assert_eq!(o.max_allowed_checkpoint_age, None);
    assert_eq!(o.compression_level, None);
    assert_eq!(o.internal_parse_max_line_size, 65_536);
    assert_eq!(config.rate_limit, None);
    assert_eq!(config.log_dir(), fixture.path("log"));
    assert_eq!(config.data_dir(), fixture.path("data"));
    let paths: Vec<_> = config.logs.iter().map(|log| log.path.clone()).collect();
    let logs = ["log/agent.log", "log/agent-worker-session-*.log"].map(|name| fixture.path(name));
    assert_eq!(paths, logs);
    assert!(config
        .logs
        .iter()
        .all(|log| log.kind == EntryKind::AgentLog));
    let parser = ("parser".to_owned(), text("scalyrAgentLog"));
    assert_eq!(config.logs[0].attributes, [parser]);
    assert_eq!(config.workers.len(), 1);
    assert_eq!(config.workers[0].id, "default");
    assert_eq!(config.workers[0].sessions, 1);
    let names: Vec<_> = config
        .server_attributes
        .iter()
        .map(|(key, _)| key.as_str())
        .collect();
    assert_eq!(names, ["serverHost"]);
    let labels: Vec<_> = config.monitors.iter().map(MonitorEntry::label).collect();
    assert_eq!(
        labels,
        ["linux_system_metrics", "linux_process_metrics(agent)"]
    );
    assert_eq!(config.warnings, []);
    assert!(config.is_set("api_key") && !config.is_set("debug_level"));
}

#[test]
fn fragments_are_read_in_order_and_merged() {
    let fixture = Fixture::with(r#"logs: [{path: "/m"}], server_attributes: {a: "main", b: 1}"#)
        .fragment(
            "b.json",
            r#"{logs: [{path: "/b"}], server_attributes: {a: "b"}}"#,
        )
        .fragment(
            "A.json",
            r#"{logs: [{path: "/A"}], server_attributes: {a: "A", c: "A"}}"#,
        )
        .fragment("9.json", r#"{logs: [{path: "/9"}], max_line_size: 1000}"#)
        .fragment(
            "10.json",
            r#"{logs: [{path: "/10"}], api_keys: [{id: "w", api_key: "w"}]}"#,
        )
        .fragment(".h.json", r#"{logs: [{path: "/h"}]}"#)
        .fragment("x.JSON", "no")
        .fragment("x.json.bak", "no");
    std::fs::create_dir(fixture.path("agent.d/dir.json")).unwrap();
    std::os::unix::fs::symlink("/nowhere", fixture.path("agent.d/gone.json")).unwrap();
    let config = fixture.load();
    let names = file_names(&config.fragments);
    assert_eq!(names, [".h.json", "10.json", "9.json", "A.json", "b.json"]);
    let paths: Vec<_> = config
        .logs
        .iter()
        .map(|l| l.path.to_str().unwrap())
        .collect();
    assert_eq!(paths[..6], ["/m", "/h", "/10", "/9", "/A", "/b"]);
    assert_eq!(config.options.max_line_size, 1000);
    assert_eq!(config.attribute("a"), Some(&text("b")));
    assert_eq!(
        config.attribute("b"),
        Some(&AttrValue::Number("1".to_owned()))
    );
    assert_eq!(config.attribute("c"), Some(&text("A")));
    let ids: Vec<_> = config.workers.iter().map(|w| w.id.as_str()).collect();
    assert_eq!(ids, ["default", "w"]);
    assert!(config.warns(&["10.json", "api_keys", "workers"]));
}

#[test]
fn the_extra_directory_comes_last_and_may_be_missing() {
    let mut fixture = Fixture::with("").fragment("z.json", r#"{logs: [{path: "/z"}]}"#);
    std::fs::create_dir(fixture.path("extra")).unwrap();
    fixture.write("extra/a.json", br#"{logs: [{path: "/extra"}]}"#);
    fixture.source.extra_dir = Some("extra".into());
    assert_eq!(file_names(&fixture.load().fragments), ["z.json", "a.json"]);
    fixture.source.extra_dir = Some("missing".into());
    assert_eq!(file_names(&fixture.load().fragments), ["z.json"]);
    std::fs::remove_dir_all(fixture.path("agent.d")).unwrap();
    assert!(fixture.load().fragments.is_empty());
}

#[test]
fn an_option_in_two_files_is_refused() {
    for (main, fragment) in [
        ("max_line_size: 5", "{\n  max_line_size: 5}"),
        ("unknown: 5", "{\n  unknown: 6}"),
        (
            "default_sessions_per_worker: 1",
            "{\n  default_workers_per_api_key: 1}",
        ),
    ] {
        let fixture = Fixture::with(main).fragment("f.json", fragment);
        let (code, message) = fixture.refused();
        assert_eq!(code, "multipleKeys");
        assert!(
            message.starts_with("agent.d/f.json, line 2, column 3: "),
            "{message}"
        );
        assert!(message.contains("agent.json, line 2"), "{message}");
    }
    let (code, _) = Fixture::with("workers: [], api_keys: []").refused();
    assert_eq!(code, "multipleKeys");
    // Absent once more where it is null.
    Fixture::with("max_line_size: 5")
        .fragment("f.json", "{max_line_size: null}")
        .load();
}

#[test]
fn files_that_are_no_configuration_are_named_with_the_place() {
    for (text, code, words) in [
        (
            "[1]",
            "invalidConfigFragmentType",
            "f.json, line 1, column 1: the file holds an array",
        ),
        (
            "\n null",
            "invalidConfigFragmentType",
            "f.json, line 2, column 2: the file holds null",
        ),
        (
            "",
            "fileParseError",
            "f.json, line 1, column 1: JSON parsing error: there is nothing",
        ),
        (
            "{\n  a: 1 b: 2\n}",
            "fileParseError",
            "f.json, line 2, column 8: JSON parsing error: a comma",
        ),
        (
            "{\r\n\r\n  a: \"\\u12xy\"}",
            "fileParseError",
            "f.json, line 3, column 8: JSON parsing error",
        ),
    ] {
        let (got, message) = Fixture::with("").fragment("f.json", text).refused();
        assert_eq!(got, code, "{message}");
        assert!(message.contains(words), "{message}");
    }
    assert_eq!(Fixture::new("[]").refused().0, "invalidConfigFragmentType");
    assert_eq!(
        Fixture::new("\u{feff}{api_key: 5}").load().api_key.expose(),
        "5"
    );

    let fixture = Fixture::with("");
    fixture.write("agent.d/f.json", b"{\n a: \"\xff\"}");
    let (code, message) = fixture.refused();
    assert_eq!(code, "fileParseError");
    assert!(
        message.contains("not valid UTF-8: the first bad byte is in line 2"),
        "{message}"
    );

    let mut fixture = Fixture::with("");
    fixture.source.main_file = fixture.path("missing.json");
    let (code, message) = fixture.refused();
    assert_eq!(code, "fileParseError");
    assert!(
        message.contains("missing.json: this file does not exist"),
        "{message}"
    );
    fixture.source.main_file = fixture.path("agent.d");
    assert!(fixture.refused().1.contains("not a regular file"));
    let fifo = fixture.path("fifo.json");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR).unwrap();
    fixture.source.main_file = fifo;
    assert!(fixture.refused().1.contains("not a regular file"));
}

#[test]
fn type_and_bound_errors_say_what_is_allowed() {
    for (member, words) in [
        ("max_line_size: true", "option \"max_line_size\": a whole number is expected, and this is true; allowed: a whole number, 1 to 50000000 [[badField=\"max_line_size\" errorCode=\"notInt\"]]"),
        ("compression_type: \"gzip\"", "\"gzip\" is not an allowed value; allowed: deflate, bz2, none, lz4, zstandard [[badField=\"compression_type\" errorCode=\"invalidValue\"]]"),
        ("compression_type: \"Deflate\"", "errorCode=\"invalidValue\""),
        ("win32_max_open_fds: 511", "511 is too small; allowed: a whole number, 512 to 2048"),
        ("win32_max_open_fds: 2049", "2049 is too large"),
        ("debug_level: 6", "errorCode=\"badDebugLevel\""),
        ("debug_level: -1", "errorCode=\"badDebugLevel\""),
        ("stdout_severity: \"loud\"", "errorCode=\"badStdoutSeverity\""),
        ("default_sessions_per_worker: 0", "errorCode=\"invalidValue\""),
        ("config_change_check_interval: -5", "too small; allowed: a number, 0.1 to 86400.0"),
        ("config_directory: \"\"", "the value is empty"),
        ("agent_log_path: \" \"", "the value is empty"),
        ("scalyr_server: \"\"", "the value is empty"),
        ("allow_http: \"maybe\"", "allowed: true, false [[badField=\"allow_http\" errorCode=\"notBoolean\"]]"),
        ("debug_level_logger_names: \"a,b\"", "errorCode=\"notJsonArray\""),
        ("server_attributes: {a: true}", "errorCode=\"notString\""),
        ("logs: {}", "errorCode=\"notJsonArray\""),
        ("monitors: [{module: \"m\"}, 5]", "option \"monitors[1]\": this is 5"),
        ("max_send_rate_enforcement: 5", "errorCode=\"notDataRate\""),
        ("min_request_spacing_interval: 3, max_request_spacing_interval: 2", "at most 2"),
        ("min_allowed_request_size: 9000000, max_allowed_request_size: 8000000", "at most 8000000"),
        ("scalyr_server: \"https://h/path\"", "it must end after host and port; allowed: https://HOST or https://HOST:PORT [[badField=\"scalyr_server\" errorCode=\"invalidValue\"]]"),
    ] {
        let (_, message) = Fixture::with(member).refused();
        assert!(message.starts_with("agent.json, line 2, column "), "{message}");
        assert!(message.contains(words), "{message}");
    }
    for (main, words) in [
        ("{}", "agent.json: option \"api_key\": no API key is set"),
        (
            "{api_key: \"\"}",
            "[[badField=\"api_key\" errorCode=\"emptyApiKey\"]]",
        ),
        (
            "{api_key: \"  \"}",
            "[[badField=\"api_key\" errorCode=\"emptyApiKey\"]]",
        ),
        (
            "{api_key: null}",
            "[[badField=\"api_key\" errorCode=\"emptyApiKey\"]]",
        ),
    ] {
        let (_, message) = Fixture::new(main).refused();
        assert!(message.contains(words), "{message}");
    }
    // If only one of a pair is set, the other gives way.
    let config = Fixture::with("max_allowed_request_size: 50000").load();
    assert_eq!(config.options.min_allowed_request_size, 50_000);
    assert_eq!(
        Fixture::with("stdout_severity: \"warn\"")
            .load()
            .options
            .stdout_severity,
        "WARN"
    );
}

#[test]
fn secrets_are_in_no_error_setting_or_debug_print() {
    let (_, message) = Fixture::new("{api_key: [\"sesame\"]}").refused();
    assert!(!message.contains("sesame"), "{message}");
    let config = Fixture::new(
        r#"{api_key: "sesame", http_proxy: "http://user:sesame@proxy:3128"
            workers: [{id: "w", api_key: "sesame2"}]}"#,
    )
    .env("SCALYR_API_KEY", "sesame3")
    .load();
    let shown: Vec<String> = super::options::CORE
        .iter()
        .map(|decl| decl.show(&config.options))
        .collect();
    let everything = format!(
        "{config:?} {:?} {shown:?} {:?}",
        config.settings(),
        config.warnings
    );
    assert!(!everything.contains("sesame"), "{everything}");
    assert!(everything.contains("@proxy:3128"));
    let last = config.settings().pop().unwrap();
    assert_eq!(last.0, "sanitized_worker_configs");
    assert!(
        last.1.contains("id: w") && last.1.contains("MASKED"),
        "{}",
        last.1
    );
}

#[test]
fn a_file_wins_over_the_environment_whatever_the_number_of_files() {
    // Main file, fragment, a second fragment, the result
    for (main, first, second, result) in [
        (Some("1"), None, None, 1),
        (Some("1"), Some(None), None, 1),
        (None, Some(Some("2")), None, 2),
        (None, Some(Some("2")), Some(()), 2),
        (None, None, None, 3),
    ] {
        let line = |value: &str| format!("debug_level: {value}");
        let mut fixture =
            Fixture::with(&main.map(line).unwrap_or_default()).env("SCALYR_DEBUG_LEVEL", "3");
        if let Some(value) = first {
            fixture = fixture.fragment(
                "a.json",
                &format!("{{{}}}", value.map(line).unwrap_or_default()),
            );
        }
        if second.is_some() {
            fixture = fixture.fragment("b.json", "{}");
        }
        let config = fixture.load();
        assert_eq!(config.options.debug_level, result);
        let ignored = config.warns(&["debug_level", "SCALYR_DEBUG_LEVEL", "ignored"]);
        assert_eq!(ignored, result != 3, "{:?}", config.warnings);
    }
    let main =
        Fixture::with("server_attributes: {a: 1}").env("SCALYR_SERVER_ATTRIBUTES", "{a: 9, b: 2}");
    for fixture in [
        main,
        Fixture::with("")
            .fragment("a.json", "{server_attributes: {a: 1}}")
            .env("SCALYR_SERVER_ATTRIBUTES", "{a: 9, b: 2}"),
    ] {
        let config = fixture.load();
        assert_eq!(
            config.attribute("a"),
            Some(&AttrValue::Number("1".to_owned()))
        );
        assert_eq!(config.attribute("b"), None);
        assert!(config.warns(&["server_attributes", "ignored"]));
    }
    let fixture = Fixture::new("{}")
        .fragment("key.json", "{api_key: \"F\", scalyr_server: \"https://f\"}")
        .env("SCALYR_API_KEY", "E")
        .env("SCALYR_SERVER", "https://e");
    let config = fixture.load();
    assert_eq!(config.api_key.expose(), "F");
    assert_eq!(config.server.host, "f");
    assert!(config.warns(&["api_key", "SCALYR_API_KEY"]));
}

#[test]
fn variables_are_found_by_their_names() {
    let config = Fixture::new("{}")
        .env("scalyr_api_key", "low")
        .env("SCALYR_SERVER", "e.com")
        .env("SCALYR_SCALYR_SERVER", "https://wrong")
        .env("scalyr_debug_level", "1")
        .env("SCALYR_DEBUG_LEVEL", "2")
        .env("Scalyr_Max_Line_Size", "7")
        .env("SCALYR_AGENT_STATUS_TIMEOUT", "7")
        .env("SCALYR_DEFAULT_WORKERS_PER_API_KEY", "2")
        .env("SCALYR_MAX_ERROR_REQUEST_SPACING_INTERVAL", " 1e1 ")
        .env("SCALYR_DEBUG_LEVEL_LOGGER_NAMES", "a b,c")
        .env("SCALYR_VERIFY_SERVER_CERTIFICATE", "1")
        .env("SCALYR_HTTPS_PROXY", "")
        .env("HTTPS_PROXY", "http://other")
        .load();
    let o = &config.options;
    assert_eq!(config.api_key.expose(), "low");
    assert_eq!(config.server.to_string(), "https://e.com");
    assert!(config.https_forced);
    assert_eq!(o.debug_level, 2);
    assert_eq!(o.max_line_size, 49_900);
    assert_eq!(o.agent_status_timeout, 30);
    assert_eq!(o.default_sessions_per_worker, 2);
    assert_eq!(o.max_error_request_spacing_interval, 10.0);
    assert_eq!(o.debug_level_logger_names, ["a", "b", "c"]);
    assert!(!o.verify_server_certificate);
    assert!(config.warns(&["SCALYR_VERIFY_SERVER_CERTIFICATE", "counts as false"]));
    assert_eq!(o.https_proxy, None);
    assert!(config.is_set("https_proxy"));

    let upper_and_empty = Fixture::with("")
        .env("SCALYR_COMPRESSION_TYPE", "none")
        .env("scalyr_http_proxy", "p")
        .env("SCALYR_HTTP_PROXY", "");
    assert_eq!(upper_and_empty.load().options.http_proxy, None);
}

#[test]
fn a_variable_that_can_not_be_read_is_an_error_even_where_a_file_wins() {
    for (name, value, code) in [
        ("SCALYR_MAX_LINE_SIZE", "", "notNumber"),
        ("SCALYR_MAX_LINE_SIZE", "ten", "notNumber"),
        ("SCALYR_REQUEST_DEADLINE", "inf", "notNumber"),
        ("SCALYR_SERVER_ATTRIBUTES", "[]", "notJsonObject"),
    ] {
        let fixture = Fixture::with("max_line_size: 5").env(name, value);
        let (got, message) = fixture.refused();
        assert_eq!(got, code, "{message}");
        assert!(
            message.contains(&format!("environment variable {name}: ")),
            "{message}"
        );
    }
    // A value out of bounds counts only where it would be used.
    Fixture::with("debug_level: 1")
        .env("SCALYR_DEBUG_LEVEL", "9")
        .load();
    let fixture = Fixture::with("").env("SCALYR_DEBUG_LEVEL", "9");
    assert_eq!(fixture.refused().0, "badDebugLevel");
}

#[test]
fn imported_variables_fill_strings_of_their_file() {
    let fixture = Fixture::new(
        r#"{
        import_vars: ["FOO", "FOO_BAR", {var: "UNSET", default: "d1"}, {var: "EMPTY", default: "$FOO"}, "NONE", "OTHER"]
        api_key: "$FOO"
        debug_level: "$LVL$FOO_NO"
        logs: [{path: "/$FOO_BAR/$FOOX/$DIR/$UNSET/$EMPTY/$NONE/$$FOO/${FOO}", exclude: ["$OTHER"]}]
        server_attributes: {"$FOO": "$OTHER"}
    }"#
        .replace("$LVL$FOO_NO", "2").as_str(),
    )
    .fragment("f.json", r#"{logs: [{path: "/$FOO"}]}"#)
    .env("FOO", "foo")
    .env("FOO_BAR", "foobar")
    .env("EMPTY", "")
    .env("OTHER", "$FOO");
    let config = fixture.load();
    assert_eq!(config.api_key.expose(), "foo");
    assert_eq!(
        config.logs[0].path.to_str().unwrap(),
        "/foobar/fooX/$DIR/d1/$FOO//$foo/${FOO}"
    );
    // One pass: what a variable holds is not looked at again.
    assert_eq!(config.logs[0].exclude, ["$FOO"]);
    assert_eq!(config.attribute("$FOO"), Some(&text("$FOO")));
    assert_eq!(config.logs[1].path.to_str().unwrap(), "/$FOO");

    let number = Fixture::with("import_vars: [{var: \"L\", default: 4}], debug_level: \"$L\"");
    assert_eq!(number.load().options.debug_level, 4);
    for (list, code) in [
        ("\"FOO\"", "notJsonArray"),
        ("[5]", "wrongType"),
        ("[{var: \"A\"}]", "missingRequired"),
        ("[{var: \"A\", default: null}]", "missingRequired"),
        ("[{var: 5, default: \"\"}]", "notString"),
        ("[{var: \"A\", default: true}]", "notString"),
        ("[\"\"]", "invalidValue"),
    ] {
        let (got, message) = Fixture::with(&format!("import_vars: {list}")).refused();
        assert_eq!(got, code, "{message}");
        assert!(message.starts_with("agent.json, line 2, "), "{message}");
    }
}

#[test]
fn the_cautious_defaults_of_old_apply_on_request_and_explicit_values_always() {
    for member in [
        "max_send_rate_enforcement: \"legacy\"",
        "disable_max_send_rate_enforcement_overrides: true",
    ] {
        let o = Fixture::with(member).load().options;
        assert_eq!(o.max_allowed_request_size, 1_048_576);
        assert_eq!(o.min_request_spacing_interval, 1.0);
        assert_eq!(o.max_log_offset_size, None);
    }
    let explicit = "max_allowed_request_size: 2000000, max_log_offset_size: 5242880";
    for more in [
        "",
        ", max_send_rate_enforcement: \"legacy\"",
        ", max_send_rate_enforcement: \"2MB/s\"",
    ] {
        let config = Fixture::with(&format!("{explicit}{more}")).load();
        assert_eq!(config.options.max_allowed_request_size, 2_000_000);
        assert_eq!(config.options.max_log_offset_size, Some(5_242_880));
        let capped = more.contains("2MB").then_some(2e6);
        assert_eq!(config.rate_limit, capped);
    }
}

#[test]
fn names_that_nobody_knows_are_warned_about() {
    let config = Fixture::with("compresion_type: \"none\", zzz: 1").load();
    assert!(config.warns(&[
        "agent.json, line 2, column 1",
        "compresion_type",
        "did you mean \"compression_type\""
    ]));
    assert!(config.warns(&["\"zzz\"", "not known"]));
    assert_eq!(config.options.compression_type, "deflate");
}

#[test]
fn options_without_effect_are_warned_about_by_name() {
    let config = Fixture::with("json_library: \"json\", k8s_api_url: \"https://k\", enable_profiling: true, k8s_logs: [{}]")
        .env("SCALYR_USE_REQUESTS_LIB", "true")
        .load();
    for name in [
        "json_library",
        "k8s_api_url",
        "enable_profiling",
        "use_requests_lib",
        "k8s_logs",
    ] {
        assert!(config.warns(&[name]), "{name}: {:?}", config.warnings);
    }
    let (code, _) = Fixture::with("k8s_cache_expiry_secs: \"abc\"").refused();
    assert_eq!(code, "notInt");
}

#[test]
fn a_file_that_others_can_read_is_warned_about() {
    let fixture = Fixture::with("").fragment("f.json", "{}");
    for (mode, warns) in [
        (0o600, false),
        (0o640, false),
        (0o604, true),
        (0o642, true),
        (0o644, true),
    ] {
        for name in ["agent.json", "agent.d/f.json"] {
            fixture.mode(name, mode);
            let config = fixture.load();
            let file = fixture.path(name);
            assert_eq!(
                config.warns(&[file.to_str().unwrap(), &format!("{mode:03o}")]),
                warns,
                "{name} {mode:o}"
            );
            fixture.mode(name, 0o600);
        }
    }
}

#[test]
fn relative_paths_start_at_the_main_file() {
    let fixture = Fixture::with("agent_log_path: \"l\", agent_data_path: \"/abs\", logs: [{path: \"a.log\"}, {path: \"~/b\"}]")
        .fragment("f.json", "{ca_cert_path: \"ca.pem\"}");
    let config = fixture.load();
    assert_eq!(config.log_dir(), fixture.path("l"));
    assert_eq!(config.data_dir(), Path::new("/abs"));
    assert_eq!(
        config.options.ca_cert_path.as_deref(),
        fixture.path("ca.pem").to_str()
    );
    assert_eq!(config.logs[0].path, fixture.path("l/a.log"));
    assert_eq!(config.logs[1].path, fixture.path("l/~/b"));
    assert_eq!(config.logs[2].path, fixture.path("l/agent.log"));
    // Also where a fragment moves the directory that the main file's entries are relative to.
    let fixture = Fixture::with("logs: [{path: \"a.log\"}]")
        .fragment("f.json", "{agent_log_path: \"/moved\"}");
    assert_eq!(fixture.load().logs[0].path, Path::new("/moved/a.log"));
}

#[test]
fn every_option_is_declared_once_and_completely() {
    let mut names: Vec<_> = names::all().map(|decl| decl.name).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    let defaults = Options::default();
    for (decl, (_, meaning)) in options::CORE.iter().zip(options::CORE_WORDS) {
        assert!(!meaning.trim().is_empty(), "{}", decl.name);
        let val = (decl.get)(&defaults);
        if decl.not_empty || matches!(val, decl::Val::Unset) {
            continue;
        }
        assert_eq!(decl.checked(val.clone()), Ok(val), "{}", decl.name);
    }
}

#[test]
fn no_file_makes_loading_panic() {
    // Every option set to a value of every kind.
    for decl in names::all() {
        for value in [
            "true",
            "0",
            "-1",
            "1e300",
            "99999999999999999999",
            "\"\"",
            "\"x\"",
            "[]",
            "[1]",
            "[{}]",
            "{}",
            "{a: {}}",
        ] {
            let fixture = Fixture::new(
                &format!("{{api_key: \"k\"\n{}: {value}}}", decl.name)
                    .replace("api_key: \"k\"\napi_key", "api_key"),
            );
            let _ = Config::load(&fixture.source);
        }
    }
}

#[test]
fn a_key_is_what_stands_between_blanks_and_line_ends() {
    let from_env = Fixture::new("{}")
        .env("SCALYR_API_KEY", "\u{feff}abc\r\n")
        .load();
    assert_eq!(from_env.api_key.expose(), "abc");
    assert!(from_env.warns(&[
        "environment variable SCALYR_API_KEY",
        "\"api_key\"",
        "are left out"
    ]));
    let imported = Fixture::new("{import_vars: [\"KEY\"], api_key: \"$KEY\"}")
        .env("KEY", "abc\n")
        .load();
    assert_eq!(imported.api_key.expose(), "abc");
    let workers = Fixture::with("workers: [{id: \"a\", api_key: \" abc\t\"}]").load();
    assert_eq!(workers.workers[1].api_key.expose(), "abc");
    assert!(workers.warns(&["\"workers[0].api_key\"", "are left out"]));
    let default =
        Fixture::new("{api_key: \"abc\\n\", workers: [{id: \"default\", api_key: \"abc\"}]}")
            .load();
    assert_eq!(default.workers[0].api_key.expose(), "abc");
    assert!(!Fixture::with("").load().warns(&["are left out"]));
    for (main, place) in [
        (
            "{api_key: \"ses ame\"}",
            "agent.json, line 1, column 11: option \"api_key\"",
        ),
        (
            "{api_key: \"ses\\name\"}",
            "agent.json, line 1, column 11: option \"api_key\"",
        ),
        (
            "{api_key: \"k\", workers: [{id: \"a\", api_key: \"ses\\u0000ame\"}]}",
            "option \"workers[0].api_key\"",
        ),
    ] {
        let (code, message) = Fixture::new(main).refused();
        assert_eq!(code, "invalidApiKey");
        assert!(message.contains(place), "{message}");
        assert!(message.contains("at place 4 that no key has"), "{message}");
        assert!(
            !message.contains("ses") && !message.contains("ame\""),
            "{message}"
        );
    }
}

#[test]
fn fragments_that_can_t_be_read_off_their_folder_are_named() {
    let fixture = Fixture::with("config_directory: \"file\"");
    fixture.write("file", b"");
    assert!(fixture.load().warns(&["/file are not used: "]));
    assert_eq!(
        Fixture::with("config_directory: \"gone\"").load().warnings,
        []
    );
    let fixture = Fixture::with("");
    std::fs::create_dir(fixture.path("agent.d/folder.json")).unwrap();
    assert!(fixture
        .load()
        .warns(&["agent.d/folder.json is not used: not a file"]));
}
