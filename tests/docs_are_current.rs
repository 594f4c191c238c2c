//! Generated pages in `docs/` are what the code says. `UPDATE_DOCS=1` rewrites them.

#[test]
fn the_configuration_reference_says_what_the_code_does() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
    let page = scalyr_agent_2::config::reference();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let stored = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        stored == page,
        "docs/configuration.md is not current; UPDATE_DOCS=1 cargo test --test docs_are_current rewrites it"
    );
}
