//! Pages that people write, compared with the source: troubleshooting has every code that there is, receiver every member
//! of a fault. Links among the pages lead somewhere, also in a package.

use receiver::Fault;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn page(name: &str) -> String {
    fs::read_to_string(repository().join("docs").join(name)).unwrap()
}

/// Files below a folder of the repository whose names end so.
fn files(folder: &str, end: &str) -> Vec<PathBuf> {
    let mut all = Vec::new();
    let mut folders = vec![repository().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(end) {
                all.push(path);
            }
        }
    }
    all.sort();
    all
}

/// The Rust source of a folder by its path in the repository, without tests and comments.
fn source(folder: &str) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for path in files(folder, ".rs") {
        let name = path.strip_prefix(repository()).unwrap();
        let name = name.to_str().unwrap().to_owned();
        if name.contains("test") || name.contains("fixture") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let is_body = |part: &&str| part.lines().next().is_some_and(|line| line.ends_with('{'));
        let parts: Vec<&str> = text.split("#[cfg(test)]\nmod ").collect();
        let rest = parts[1..].iter().take_while(|part| !is_body(part));
        let text = parts[0].to_owned() + &rest.copied().collect::<String>();
        let is_no_comment = |line: &&str| !line.trim_start().starts_with("//");
        let lines: Vec<&str> = text.lines().filter(is_no_comment).collect();
        all.insert(name, lines.join("\n"));
    }
    assert!(!all.is_empty(), "{folder}");
    all
}

/// The string literals of a text that look like codes, each with what stands before it.
fn words(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let pieces: Vec<(usize, &str)> = text.match_indices('"').collect();
    let between: Vec<(usize, usize)> = pieces.windows(2).map(|w| (w[0].0, w[1].0)).collect();
    between.into_iter().filter_map(|(from, to)| {
        let word = &text[from + 1..to];
        is_code(word).then(|| (text[..from].trim_end(), word))
    })
}

/// `camelCase`, or parts with a slash between them of which the last is camelCase.
fn is_code(word: &str) -> bool {
    let is_part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_lowercase())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let last = word.rsplit('/').next().unwrap_or("");
    word.split('/').all(is_part)
        && (last.contains(|c: char| c.is_ascii_uppercase()) || word.contains("client/"))
}

/// The first cell of each row of the tables in the part of a page between two headings, without backticks.
fn rows(page: &str, heading: &str) -> BTreeSet<String> {
    let part = page
        .split_once(heading)
        .unwrap_or_else(|| panic!("no {heading}"));
    let level = heading.split(' ').next().unwrap().len();
    let mut all = BTreeSet::new();
    for line in part.1.lines() {
        if line.starts_with('#') && line.split(' ').next().unwrap().len() <= level {
            break;
        }
        if let Some((cell, _)) = line
            .strip_prefix("| `")
            .and_then(|rest| rest.split_once("` |"))
        {
            assert!(all.insert(cell.to_owned()), "{cell} is there twice");
        }
    }
    all
}

#[track_caller]
fn are_equal(page: &BTreeSet<String>, source: &BTreeSet<String>) {
    let missing: Vec<_> = source.difference(page).collect();
    let invented: Vec<_> = page.difference(source).collect();
    assert!(missing.is_empty(), "not on the page: {missing:?}");
    assert!(
        invented.is_empty(),
        "on the page, but not in the source: {invented:?}"
    );
}

#[test]
fn every_error_code_of_agent_log_has_its_remedy_on_the_page() {
    let mut codes = BTreeSet::new();
    // These write `[error="{code}"]`; the codes are literals in the folder, or begin with the module's name
    let given = ["src/upload/session.rs", "monitors/src/graphite_monitor.rs"];
    for folder in ["src", "common/src", "monitors/src"] {
        for (name, text) in source(folder) {
            for part in text.split("[error=").skip(1) {
                let word = part.trim_start_matches(['\\', '"']);
                let word = word.split(['\\', '"', ']']).next().unwrap();
                if word.starts_with('{') {
                    assert!(
                        given.contains(&name.as_str()),
                        "{name}: teach this test the codes of {word}"
                    );
                } else {
                    codes.insert(word.to_owned());
                }
            }
            for (before, word) in words(&text) {
                // A status of the server's is asked for by `contains`
                let is_own = name.starts_with("src/upload/") && !before.ends_with("contains(");
                if is_own || word.starts_with("graphite_monitor/") {
                    codes.insert(word.to_owned());
                }
            }
        }
    }
    assert!(
        codes.len() > 20 && codes.contains("emptyResponse"),
        "{codes:?}"
    );
    are_equal(
        &rows(&page("troubleshooting.md"), "## Codes in agent.log"),
        &codes,
    );
}

#[test]
fn every_error_code_of_a_configuration_is_on_the_page() {
    // Words of the configuration language and not codes
    let names = [
        "lineGroupers",
        "continueThrough",
        "continuePast",
        "haltBefore",
        "haltWith",
        "serverHost",
        "scalyrAgentLog",
    ];
    let mut codes = BTreeSet::new();
    for (name, text) in source("src/config").into_iter().chain(source("src/agent")) {
        for (before, word) in words(&text) {
            let is_here = name.starts_with("src/config/") || before.ends_with("option,");
            if is_here && !names.contains(&word) {
                codes.insert(word.to_owned());
            }
        }
    }
    assert!(
        codes.len() > 20 && codes.contains("badDebugLevel"),
        "{codes:?}"
    );
    let heading = "## Codes of mistakes in the configuration";
    are_equal(&rows(&page("troubleshooting.md"), heading), &codes);
}

#[test]
fn every_member_of_a_fault_is_on_the_page_and_in_an_example() {
    let keys = |fault: &Fault| match serde_json::to_value(fault) {
        Ok(Value::Object(members)) => members,
        other => panic!("{other:?}"),
    };
    let members: BTreeSet<String> = keys(&Fault::default())
        .into_iter()
        .map(|(key, _)| key)
        .collect();
    let page = page("receiver.md");
    are_equal(&rows(&page, "## Faults"), &members);
    let examples = page.split_once("### Examples").unwrap().1;
    let mut shown = BTreeSet::new();
    for line in examples.lines().filter(|line| line.starts_with('{')) {
        let fault: Fault =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        fault
            .check()
            .unwrap_or_else(|error| panic!("{line}: {error}"));
        let Ok(Value::Object(given)) = serde_json::from_str(line) else {
            panic!("{line}");
        };
        shown.extend(given.into_iter().map(|(key, _)| key));
    }
    are_equal(&shown, &members);
}

#[test]
fn the_page_of_the_receiver_has_its_usage_and_all_its_addresses() {
    let page = page("receiver.md");
    let source = source("receiver/src");
    let command = &source["receiver/src/command.rs"];
    let usage = command.split_once("const USAGE: &str = \"\\\n").unwrap().1;
    assert!(page.contains(usage.split_once("\";").unwrap().0));
    let mut addresses: BTreeSet<String> = ["POST /addEvents".to_owned()].into();
    for method in ["GET", "POST"] {
        let head = format!("(\"{method}\", \"");
        let paths = source["receiver/src/routes.rs"].split(&head).skip(1);
        addresses.extend(paths.map(|rest| format!("{method} {}", rest.split('"').next().unwrap())));
    }
    are_equal(&rows(&page, "## Addresses"), &addresses);
}

/// The targets of a page's links to files.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1);
    let targets = targets.filter_map(|rest| rest.split_once(')').map(|(target, _)| target));
    targets.filter(|target| {
        !target.contains("://") && !target.contains(' ') && !target.starts_with('#')
    })
}

#[test]
fn links_of_the_pages_lead_to_files() {
    let pages = files("docs", ".md");
    for page in pages.iter().chain(&files("examples", ".md")) {
        let text = fs::read_to_string(page).unwrap();
        for link in links(&text) {
            let target = link.split('#').next().unwrap();
            assert!(
                page.with_file_name(target).exists(),
                "{}: {link}",
                page.display()
            );
        }
    }
}

#[test]
fn every_monitor_of_the_python_agent_is_in_the_table_for_those_who_come_from_it() {
    let registry = &source("monitors/src")["monitors/src/registry.rs"];
    let missing = registry
        .split_once("const NOT_YET: &[&str] = &[")
        .unwrap()
        .1;
    let missing = missing
        .split_once("];")
        .unwrap()
        .0
        .split('"')
        .skip(1)
        .step_by(2);
    let there = monitors::registry::ALL
        .iter()
        .map(|monitor| monitor.short_name());
    let all = there.chain(missing).map(str::to_owned).collect();
    are_equal(&rows(&page("migration.md"), "## Monitors"), &all);
}

/// Configurations on pages, as fragments beside a main file that has the key alone.
#[test]
fn the_configurations_on_the_pages_load_without_a_warning() {
    use scalyr_agent_2::config::{Config, Install, Source};
    let root = std::env::temp_dir().join(format!("pages-{}", std::process::id()));
    fs::create_dir_all(root.join("agent.d")).unwrap();
    let write = |name: &str, text: &str| {
        let file = root.join(name);
        fs::write(&file, text).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(&file, mode).unwrap();
    };
    let mut count = 0;
    for name in ["small-devices.md", "receiver.md"] {
        let page = page(name);
        let blocks = page.split("```\n").skip(1).step_by(2);
        for block in blocks.filter(|block| block.starts_with("{\n") || block.contains("api_key")) {
            let has_key = block.contains("api_key");
            write(
                "agent.json",
                if has_key { "{}" } else { "{ api_key: \"k\" }" },
            );
            write("agent.d/page.json", block);
            let source = Source {
                main_file: root.join("agent.json"),
                extra_dir: None,
                env: Vec::new(),
                install: Install::beneath(&root),
            };
            let config = Config::load(&source).unwrap_or_else(|error| panic!("{name}: {error}"));
            let warnings: Vec<_> = config.warnings.iter().map(|w| &w.text).collect();
            assert!(warnings.is_empty(), "{name}: {warnings:?}");
            count += 1;
        }
    }
    fs::remove_dir_all(root).unwrap();
    assert_eq!(count, 2);
}

/// The commands of the first block below a heading.
fn commands<'a>(page: &'a str, heading: &str) -> &'a str {
    let part = page.split_once(heading).unwrap().1;
    part.split("```\n").nth(1).unwrap()
}

/// The commands are run in a folder like an unpacked tarball, with another root in place of `/`.
#[test]
fn the_commands_for_small_devices_install_what_runs() {
    let page = page("small-devices.md");
    for (heading, script, config) in [
        ("### Alpine\n", "etc/init.d/scalyr-agent-2", 1),
        ("### OpenWrt\n", "etc/agent.d/openwrt.json", 2),
    ] {
        let root =
            std::env::temp_dir().join(format!("small-{}-{}", std::process::id(), &heading[4..8]));
        let tarball = root.join("tarball");
        for folder in [
            "tarball/bin",
            "tarball/config",
            "usr/sbin",
            "etc/init.d",
            "etc/conf.d",
        ] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        let binary = env!("CARGO_BIN_EXE_scalyr-agent-2");
        std::os::unix::fs::symlink(binary, tarball.join("bin/scalyr-agent-2")).unwrap();
        fs::copy(
            repository().join("packaging/files/agent.json"),
            tarball.join("config/agent.json"),
        )
        .unwrap();
        std::os::unix::fs::symlink(repository().join("init"), tarball.join("init")).unwrap();
        let mut script_text = String::from("set -e\n");
        for line in commands(&page, heading).lines() {
            // The device's own
            if !line.starts_with("rc-") && !line.starts_with("/etc/init.d/") {
                let line = line.replace(" /", &format!(" {}/", root.display()));
                script_text.push_str(&line);
                script_text.push('\n');
            }
        }
        let output = Command::new("sh")
            .arg("-c")
            .arg(&script_text)
            .current_dir(&tarball)
            .output()
            .unwrap();
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{script_text}{output:?}"
        );
        let script = root.join(script.replace("etc/agent.d", "etc/scalyr-agent-2/agent.d"));
        assert!(script.exists(), "{}", script.display());
        let main = root.join("etc/scalyr-agent-2/agent.json");
        let program = root.join("usr/sbin/scalyr-agent-2-config");
        let output = Command::new(program)
            .args(["--set-key", "k", "-c"])
            .arg(&main)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let source = scalyr_agent_2::config::Source {
            main_file: main,
            extra_dir: None,
            env: Vec::new(),
            install: scalyr_agent_2::config::Install::beneath(&root),
        };
        let loaded = scalyr_agent_2::config::Config::load(&source).unwrap();
        assert_eq!(loaded.fragments.len() + 1, config);
        fs::remove_dir_all(root).unwrap();
    }
}
