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

/// The name that a heading has in addresses, as code hosts make it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept.chars().filter_map(|c| match c {
        ' ' => Some('-'),
        c if c.is_alphanumeric() || "-_".contains(c) => Some(c),
        _ => None,
    });
    kept.collect()
}

/// The lines of a page outside of fenced blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut is_inside = false;
    text.lines().filter(move |line| {
        let is_fence = line.starts_with("```");
        is_inside ^= is_fence;
        !is_inside && !is_fence
    })
}

#[test]
fn links_between_pages_lead_to_a_page_and_a_heading_that_exist() {
    let top = docs().join("..");
    let mut pages = vec![top.join("README.md"), top.join("CHANGELOG.md")];
    for folder in [docs(), docs().join("monitors"), docs().join("reference")] {
        let files = std::fs::read_dir(folder).unwrap();
        let files = files.map(|entry| entry.unwrap().path());
        pages.extend(files.filter(|path| path.extension().is_some_and(|e| e == "md")));
    }
    let mut dead = Vec::new();
    for page in &pages {
        let text = std::fs::read_to_string(page).unwrap();
        for link in prose(&text).flat_map(|line| line.split("](").skip(1)) {
            let link = link.split(')').next().unwrap_or_default();
            if link.contains("://") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => page.clone(),
                _ => page.parent().unwrap().join(file),
            };
            let exists = match std::fs::read_to_string(&target) {
                Ok(text) if !heading.is_empty() => prose(&text)
                    .filter(|line| line.starts_with('#'))
                    .any(|line| anchor(line.trim_start_matches('#')) == heading),
                Ok(_) => true,
                Err(_) => target.is_dir(),
            };
            if !exists {
                dead.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert_eq!(dead, [""; 0]);
}
