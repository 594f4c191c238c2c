//! The files of a package that an operator meets first: agent.json with its samples, and the words after installing.

mod common;

use common::Site;
use scalyr_agent_2::config::{Config, Install, Source};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

fn repository(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn installed() -> String {
    fs::read_to_string(repository("packaging/files/agent.json")).unwrap()
}

/// A line that begins with `//` and no blank, without these.
fn sample(line: &str) -> Option<String> {
    let sample = line.trim_start().strip_prefix("//")?;
    let is_sample = !sample.is_empty() && !sample.starts_with(' ');
    is_sample.then(|| sample.to_owned())
}

/// The installed file with those samples uncommented that `wanted` says.
fn with(wanted: impl Fn(&str) -> bool) -> String {
    let line = |line: &str| match sample(line) {
        Some(sample) if wanted(&sample) => sample,
        _ => line.to_owned(),
    };
    let lines: Vec<String> = installed().lines().map(line).collect();
    lines.join("\n") + "\n"
}

fn load(text: &str, folder: &Path) -> Config {
    let main_file = folder.join("agent.json");
    fs::write(&main_file, text).unwrap();
    fs::set_permissions(&main_file, fs::Permissions::from_mode(0o640)).unwrap();
    let source = Source {
        main_file,
        extra_dir: None,
        env: Vec::new(),
        install: Install::beneath(folder),
    };
    let config = Config::load(&source).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let warnings: Vec<&str> = config.warnings.iter().map(|w| w.text.as_str()).collect();
    assert!(warnings.is_empty(), "{warnings:?}\n{text}");
    config
}

#[test]
fn the_installed_configuration_loads_with_none_and_with_each_of_its_samples() {
    let site = Site::new();
    let text = installed();
    let plain = load(&text, &site.path("conf"));
    assert_eq!(plain.api_key.expose(), "REPLACE_THIS");
    let samples: Vec<String> = text.lines().filter_map(sample).collect();
    assert!(samples.len() > 10, "{samples:?}");
    for one in &samples {
        let config = load(&with(|sample| sample == one), &site.path("conf"));
        let differs = config.logs.len() != plain.logs.len()
            || config.monitors.len() != plain.monitors.len()
            || config.server_attributes != plain.server_attributes
            || format!("{:?}", config.server) != format!("{:?}", plain.server)
            || config.options.metrics_in_memory != plain.options.metrics_in_memory;
        // The region that is the default changes nothing
        assert!(differs || one.contains("//agent.scalyr.com"), "{one}");
    }
    for region in ["//agent.scalyr.com", "//upload.eu.scalyr.com"] {
        assert!(samples.iter().any(|sample| sample.contains(region)));
    }
}

#[test]
fn all_samples_of_the_installed_configuration_make_sense_together() {
    let site = Site::new();
    let text = with(|sample| !sample.starts_with("scalyr_server"));
    let server = format!(
        "REPLACE_THIS\"\nallow_http: true\nscalyr_server: \"{}",
        site.receiver.url()
    );
    let places = ["log", "data"].map(|name| format!("agent_{name}_path: {:?}\n", site.path(name)));
    let text = text.replacen("REPLACE_THIS", &server, 1);
    let text = text.replacen(
        "  // A \"log write\"",
        &format!("{}// A", places.concat()),
        1,
    );
    site.write_config_text(&text);
    let said = site.run(&["check"]);
    let sense = said
        .out
        .lines()
        .find(|line| line.contains("rule and monitor makes sense"));
    let sense = sense.unwrap_or_else(|| panic!("{}{}", said.out, said.err));
    for monitor in [
        "linux_process_metrics",
        "shell_monitor",
        "url_monitor",
        "syslog_monitor",
    ] {
        assert!(said.out.contains(monitor), "{sense}");
    }
}

/// Comments are words as well, and the generator gives rights for some words.
#[test]
fn the_samples_give_the_service_no_further_right() {
    let site = Site::new();
    let etc = site.path("conf");
    fs::write(etc.join("agent.json"), installed()).unwrap();
    let generator =
        fs::read_to_string(repository("init/systemd/scalyr-agent-2-generator")).unwrap();
    let moved = generator
        .replace(
            "etc=/etc/scalyr-agent-2\n",
            &format!("etc='{}'\n", etc.display()),
        )
        .replace("/etc/fstab", "/dev/null")
        .replace("owner=$(stat -L -c %u \"$main\")", "owner=0")
        .replace("version=$(", "version=235 # $(");
    assert!(!moved.contains("/etc/scalyr-agent-2\n"));
    let out = site.path("generated");
    let run = |script: &str| {
        let path = site.path("generator");
        fs::write(&path, script).unwrap();
        let status = Command::new("sh").arg(path).arg(&out).status().unwrap();
        assert!(status.success());
        out.join("scalyr-agent-2.service.d/50-configuration.conf")
            .exists()
    };
    assert!(!run(&moved));
    // The test would notice
    fs::write(
        etc.join("agent.json"),
        with(|sample| sample.contains("/tmp") || sample.contains("nginx: master")),
    )
    .unwrap();
    let is_root = nix::unistd::geteuid().is_root();
    assert_eq!(run(&moved), is_root);
}

/// The output of `next_steps` of the packages' scripts, with `more` defined after its functions.
fn next_steps(site: &Site, more: &str) -> String {
    let script = format!(
        ". '{}'\nrunning() {{ return 1; }}\nsystemd_runs() {{ return 0; }}\nnotes='{}'\netc='{}'\n{more}\nnext_steps\n",
        repository("packaging/scripts/functions.sh").display(),
        site.path("notes").display(),
        site.path("conf").display(),
    );
    let output = Command::new("sh").arg("-ec").arg(script).output().unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
    let _ = fs::remove_dir_all(site.path("notes"));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_first_installation_says_what_comes_next_and_an_upgrade_is_silent() {
    let site = Site::new();
    fs::write(site.config_path(), installed()).unwrap();
    let said = next_steps(&site, "note first");
    let etc = site.path("conf").display().to_string();
    assert_eq!(
        said.replace(&etc, "/etc/scalyr-agent-2"),
        "\
scalyr-agent-2 is installed, and not started yet. The next steps:
  1. Set the key:  scalyr-agent-2-config --set-key-from-stdin
     In the EU:    scalyr-agent-2-config --set-scalyr-server \\
                     https://upload.eu.scalyr.com
  2. Name a log:   in \"logs\" of /etc/scalyr-agent-2/agent.json; it has samples
  3. Start, check: systemctl start scalyr-agent-2; scalyr-agent-2 check
"
    );
    let said = next_steps(&site, "note first\nsystemd_runs() { return 1; }");
    assert!(
        said.contains("check: /etc/init.d/scalyr-agent-2 start; scalyr-agent-2 check\n"),
        "{said}"
    );
    for quiet in [
        "",
        "note first; note takeover",
        "note first\nrunning() { return 0; }",
    ] {
        assert_eq!(next_steps(&site, quiet), "", "{quiet}");
    }
    // A package of the operator's own brings the key
    fs::write(site.config_path(), "{ api_key: \"k\" }").unwrap();
    let said = next_steps(&site, "note first");
    assert!(
        !said.contains("key") && said.contains("systemctl start scalyr-agent-2"),
        "{said}"
    );
}
