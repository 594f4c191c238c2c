//! `docs/cli.md` is what the code says, and says something about every option that the Python
//! agent has. `UPDATE_DOCS=1` rewrites it.

/// The options of version 2.2.22, with those of Windows only and those of its `run_monitor`.
const PYTHON_OPTIONS: &str = "
    -h --help -c --config-file --extra-config-dir -q --quiet -v --verbose -H --health_check --debug
    --stats-capture-interval --format --no-fork --no-check-remote-server -p --pid-file
    --no-change-user --set-python --report-python-version --systemd-managed --set-key-from-stdin
    --set-key --set-scalyr-server --set-server-host --set-user --upgrade-tarball
    --preserve-old-install --export-config --import-config --docker-create-custom-dockerfile
    --k8s-create-custom-dockerfile --upgrade-windows --release-track --upgrade-without-ui
    --init-config --no-error-if-config-exists --mark-conditional-restart --conditional-restart
    --fix-config-permissions --monitor-python-path --monitor-config --agent-config --debug-level
    --monitor-sample-interval";

#[test]
fn the_page_about_the_command_line_says_what_the_code_does() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/cli.md");
    let page = scalyr_agent_2::cli::reference();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let stored = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        stored == page,
        "docs/cli.md is not current; UPDATE_DOCS=1 cargo test --test cli_docs rewrites it"
    );
}

#[test]
fn no_option_of_the_python_agent_is_forgotten() {
    let page = scalyr_agent_2::cli::reference();
    for option in PYTHON_OPTIONS.split_ascii_whitespace() {
        let line = page.lines().find(|line| {
            line.starts_with('|')
                && (line.contains(&format!("`{option}`")) || line.contains(&format!("`{option} ")))
        });
        let line = line.unwrap_or_else(|| panic!("{option} is not in the table"));
        assert!(
            ["*same*", "*better*: ", "*refused*, because "]
                .iter()
                .any(|verdict| line.contains(verdict)),
            "{line}"
        );
    }
}
