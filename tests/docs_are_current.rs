//! Generated pages in `docs/` are what the code says. `UPDATE_DOCS=1` rewrites them.

use std::path::Path;

fn docs() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")
}

fn is_current(name: &str, page: &str) {
    let path = docs().join(name);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, page).unwrap();
    }
    let stored = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        stored == page,
        "docs/{name} is not current; UPDATE_DOCS=1 cargo test --test docs_are_current rewrites it"
    );
}

#[test]
fn the_configuration_reference_says_what_the_code_does() {
    is_current("configuration.md", &scalyr_agent_2::config::reference());
}

#[test]
fn every_monitor_has_a_page_that_says_what_it_does() {
    use monitors::{reference, registry};
    std::fs::create_dir_all(docs().join("monitors")).unwrap();
    is_current("monitors/README.md", &reference::index(registry::ALL));
    let mut pages = vec!["README.md".to_owned()];
    for monitor in registry::ALL {
        let name = format!("{}.md", monitor.short_name());
        is_current(&format!("monitors/{name}"), &reference::page(monitor));
        pages.push(name);
    }
    for entry in std::fs::read_dir(docs().join("monitors")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(
            pages.contains(&name),
            "docs/monitors/{name} is of no monitor"
        );
    }
}
