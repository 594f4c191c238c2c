use super::*;

fn parsed(line: &str) -> Parsed {
    parse(line.split_ascii_whitespace().map(OsString::from))
}

fn run(line: &str) -> (&'static str, Options) {
    match parsed(line) {
        Parsed::Run(command, options) => (command.name, *options),
        other => panic!("{line}: {other:?}"),
    }
}

fn usage(line: &str) -> String {
    match parsed(line) {
        Parsed::Usage(text) => text,
        other => panic!("{line}: {other:?}"),
    }
}

fn help(line: &str) -> String {
    match parsed(line) {
        Parsed::Help(text) => text,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn options_are_found_wherever_and_however_they_stand() {
    let expected = run("-c /a/b.json -v --format json status");
    assert_eq!(expected.0, "status");
    assert_eq!(expected.1.config_file, Some("/a/b.json".into()));
    for same in [
        "status -v -c /a/b.json --format json",
        "status --config-file=/a/b.json --verbose --format=json",
        "-vc/a/b.json status --form json",
        "-v --conf /a/b.json --format=json -- status",
        "-v -c=/a/b.json status --format json",
    ] {
        assert_eq!(run(same), expected, "{same}");
    }
    assert!(run("status --health").1.health_check);
    assert!(run("status -H").1.health_check);
    let (_, both) = run("start -qv --no-f --no-change --no-check");
    assert!(both.quiet && both.verbose && both.no_fork);
    assert!(both.no_change_user && both.no_check_remote_server);
    assert_eq!(run("status -c= --format=").1.format.as_deref(), Some(""));
}

#[test]
fn what_does_not_fit_is_a_usage_error_that_names_it() {
    // In the words of Python's argparse
    for (line, part) in [
        ("", "required: command"),
        ("-v", "required: command"),
        ("--version", "unrecognized arguments: --version"),
        (
            "bogus",
            "invalid choice: 'bogus' (choose from 'start', 'stop'",
        ),
        ("start stop", "unrecognized arguments: stop"),
        ("status --health-check", "--health-check"),
        (
            "start --no",
            "--no-fork, --no-check-remote-server, --no-change-user",
        ),
        ("start -c", "-c/--config-file: expected one argument"),
        (
            "-c --no-fork start",
            "-c/--config-file: expected one argument",
        ),
        ("start --no-fork=yes", "--no-fork: takes no value"),
        ("start -x", "unrecognized arguments: -x"),
        ("status --stats-capture-interval soon", "'soon'"),
        (
            "status --stats-capture-interval -1",
            "expected one argument",
        ),
        ("status --stats-capture-interval=0", "'0'"),
        ("dry-run --quiet x", "unrecognized arguments: --quiet"),
        ("-v dry-run x", "\"dry-run\" has no such option"),
        ("start --from-checkpoint", "unrecognized"),
        ("stop --ignore-positions", "unrecognized"),
        ("start --ignore", "unrecognized"),
        ("--from-checkpoint start", "\"start\" has no such option"),
    ] {
        let text = usage(line);
        assert!(text.starts_with("usage: scalyr-agent-2 "), "{line}: {text}");
        assert!(text.contains(part), "{line}: {text}");
    }
}

#[test]
fn who_mistypes_is_told_what_was_meant_and_who_types_nothing_what_there_is() {
    for (line, meant) in [
        ("strat", "start"),
        ("Status", "status"),
        ("stat", "status"),
        ("sta", "start or status"),
        ("dryrun x", "dry-run"),
        ("monitr run x", "monitor"),
        ("help explian", "explain"),
        ("status --verbos --fromat json", "--format"),
        ("status --health-check", "--health_check"),
        ("start --nofork", "--no-fork"),
        ("dry-run --from-checkpiont x", "--from-checkpoint"),
        ("config --set-kye=SECRET", "--set-key"),
        ("--version", "version"),
        ("-V", "version"),
    ] {
        let text = usage(line);
        let last = text.lines().last().unwrap();
        assert_eq!(last, format!("Did you mean {meant}?"), "{line}: {text}");
        assert!(!text.contains("SECRET"), "{text}");
    }
    for line in ["", "-v", "-c /etc/x.json"] {
        let text = usage(line);
        for command in COMMANDS {
            assert!(text.contains(&format!("\n  {} ", command.name)), "{text}");
        }
    }
    for line in ["xyzzy", "start --xyzzy", "start -x", "start stop"] {
        let text = usage(line);
        assert!(!text.contains("Did you mean"), "{text}");
    }
}

#[test]
fn help_is_a_word_too() {
    assert_eq!(help("help"), help("--help"));
    assert_eq!(help("help start"), help("start --help"));
    assert_eq!(help("-v help config"), help("config --help"));
    assert!(usage("help start stop").contains("unrecognized arguments: stop"));
    // Where a file or a module may stand it is one
    assert_eq!(run("explain help").1.operands, ["help"]);
}

#[test]
fn the_old_commands_take_all_old_options_because_scripts_pass_them() {
    for command in [
        "start",
        "stop",
        "status",
        "restart",
        "condrestart",
        "version",
    ] {
        let line = format!(
            "{command} -q -v -H --debug --no-fork --no-check-remote-server --no-change-user \
             -p /p --format json --extra-config-dir /d --stats-capture-interval 2.5"
        );
        let (name, options) = run(&line);
        assert_eq!(name, command);
        assert_eq!(
            options.stats_capture_interval,
            Some(Duration::from_millis(2500))
        );
    }
}

#[test]
fn the_configuration_tool_is_a_command_and_a_name_of_the_program() {
    let expected = run("config --set-key K -c FILE");
    assert_eq!(expected.0, "config");
    assert_eq!(run("-c FILE config --set-key K"), expected);
    assert_eq!(run("-c FILE config --set-key=K"), expected);
    let by_name = parse_config(["-c", "FILE", "--set-key", "K"].map(OsString::from));
    let Parsed::Run(command, options) = by_name else {
        panic!("{by_name:?}")
    };
    assert_eq!((command.name, *options), expected);
    assert_eq!(run("config").1, Options::default());

    for (line, part) in [
        ("config start", "unrecognized arguments"),
        ("config --no-fork", "unrecognized arguments: --no-fork"),
        ("-v config", "\"config\" has no such option"),
        ("config --upgrade-windows", "refused: it is for Windows"),
        ("config --k8s-create-custom-dockerfile=x", "refused: "),
        ("config --set-python ruby", "invalid choice: 'ruby'"),
        ("config --set-key", "expected one argument"),
        (
            "config --set-k",
            "could match --set-key-from-stdin, --set-key",
        ),
    ] {
        let text = usage(line);
        assert!(text.starts_with("usage: scalyr-agent-2 config "), "{text}");
        assert!(text.contains(part), "{line}: {text}");
    }
}

#[test]
fn a_key_in_the_wrong_place_is_not_repeated_by_the_error() {
    for line in [
        "config --set-key-from-stdin=SECRET",
        "config --set-key-from-stdin SECRET",
        "config --set-keys=SECRET",
        "config --set-key-from-stdin -SECRET",
    ] {
        let text = usage(line);
        assert!(!text.contains("SECRET"), "{text}");
    }
    let shown = format!("{:?}", run("config --set-key SECRET"));
    assert!(!shown.contains("SECRET"), "{shown}");
}

#[test]
fn files_go_to_the_commands_that_take_them() {
    let (name, options) = run("-c /a.json dry-run x --from-checkpoint y -- -z");
    assert_eq!(name, "dry-run");
    assert!(options.from_checkpoint);
    assert_eq!(options.operands, ["x", "y", "-z"]);
    assert!(run("--from-checkpoint dry-run x").1.from_checkpoint);
    assert_eq!(run("explain /a/b").1.operands, ["/a/b"]);
    assert!(usage("explain").contains("required: a file"));
    assert!(usage("dry-run").contains("required: a file"));
    assert!(usage("explain a b").contains("unrecognized arguments: b"));
}

/// Lines on a screen of 80 columns.
fn rows(text: &str) -> usize {
    text.lines()
        .map(|line| line.chars().count().div_ceil(80).max(1))
        .sum()
}

#[test]
fn the_help_of_each_command_fits_a_screen_and_names_its_options() {
    for command in COMMANDS {
        let text = help(&format!("{} --help", command.name));
        let start = format!("usage: scalyr-agent-2 {}", command.name);
        assert!(text.starts_with(&start), "{text}");
        // A line is left for the prompt.
        assert!(rows(&text) <= 23, "{} rows\n{text}", rows(&text));
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        for opt in command.shown() {
            assert!(text.contains(&format!("--{}", opt.long)), "{text}");
        }
    }
    let Parsed::Help(text) = parse_config([OsString::from("-h")]) else {
        panic!()
    };
    assert!(text.starts_with("usage: scalyr-agent-2-config [options]\n"));
}

#[test]
fn the_help_of_all_fits_a_screen_and_has_what_scripts_look_for() {
    let text = help("--help");
    assert!(text.starts_with(
        "usage: scalyr-agent-2 [options] (start|stop|status|restart|condrestart|version|config)\n"
    ));
    assert!(text.contains("{start,stop,status,restart,condrestart,version,config"));
    assert!(rows(&text) <= 23, "{} rows\n{text}", rows(&text));
    for command in COMMANDS {
        assert!(text.contains(&format!("\n  {} ", command.name)), "{text}");
    }
    assert_eq!(help("-h status"), text);
}

#[test]
fn declarations_contradict_neither_each_other_nor_themselves() {
    for command in COMMANDS {
        let mut all = command.options.to_vec();
        if command.classic {
            all.extend(CLASSIC.iter().filter(|opt| !takes_itself(command, opt)));
        }
        for (index, opt) in all.iter().enumerate() {
            for other in &all[..index] {
                assert_ne!(opt.long, other.long, "{}", command.name);
                assert!(
                    opt.short.is_none() || opt.short != other.short,
                    "{opt:?}",
                    opt = opt.long
                );
            }
            assert_eq!(
                matches!(opt.action, Refused),
                matches!(opt.verdict, Verdict::Refused(_)),
                "{}",
                opt.long
            );
        }
        assert!(command.summary.len() <= 55, "{}", command.name);
        assert!(command.operands.least <= command.operands.most);
    }
}

fn takes_itself(command: &Command, option: &Opt) -> bool {
    command.options.iter().any(|own| std::ptr::eq(*own, option))
}

#[test]
fn a_path_may_be_any_bytes() {
    let path = OsString::from_vec(b"/tmp/\xff.json".to_vec());
    match parse([OsString::from("stop"), "-c".into(), path.clone()]) {
        Parsed::Run(_, options) => assert_eq!(options.config_file, Some(path.into())),
        other => panic!("{other:?}"),
    }
}
