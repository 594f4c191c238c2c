//! Noticing changes, and the checks before a configuration is taken.

use super::fixture::Fixture;
use super::*;

#[test]
fn only_effective_differences_count_at_a_reload() {
    let fixture = Fixture::with(
        "max_line_size: 49900, debug_level: 0, monitors: [{module: \"a.b\", x: [1, {y: 2}]}]",
    );
    let before = fixture.load();
    for (members, same) in [
        (
            "// a comment\n\n debug_level: 3, monitors: [ {x: [1, {y: 2}], module: \"a.b\"} ]",
            true,
        ),
        (
            "/* c */ debug_level: 3\n monitors: [\n{module: \"a.b\"\n x: [1, {y: 2}]} ]",
            true,
        ),
        (
            "max_line_size: \"49900\", monitors: [{module: \"a.b\", x: [1, {y: 2}]}], zzz: 5",
            true,
        ),
        ("monitors: [{module: \"a.b\", x: [1, {y: 3}]}]", false),
        ("monitors: []", false),
        (
            "max_line_size: 49901, monitors: [{module: \"a.b\", x: [1, {y: 2}]}]",
            false,
        ),
        (
            "monitors: [{module: \"a.b\", x: [1, {y: 2}]}], logs: [{path: \"/a\"}]",
            false,
        ),
        (
            "monitors: [{module: \"a.b\", x: [1, {y: 2}]}], server_attributes: {a: 1}",
            false,
        ),
    ] {
        fixture.write(
            "agent.json",
            format!("{{api_key: \"k\"\n{members}}}").as_bytes(),
        );
        let after = fixture.load();
        assert_eq!(after.same_as(&before), same, "{members}");
        let monitors_alone = after.monitors != before.monitors;
        assert_eq!(
            after.copies_as(&before),
            same || monitors_alone,
            "{members}"
        );
    }
    fixture.write(
        "agent.json",
        b"{api_key: \"k\", max_line_size: 5, monitors: []}",
    );
    let after = fixture.load();
    let changed = after.changed_settings(&before);
    assert_eq!(changed, [("max_line_size".to_owned(), "5".to_owned())]);
    assert_eq!(
        after.origin("max_line_size").unwrap().to_string(),
        format!(
            "{}, line 1, column 31",
            fixture.path("agent.json").display()
        )
    );
}

#[test]
fn a_changed_file_is_noticed_without_loading_it() {
    let fixture = Fixture::with("").fragment("f.json", "{}");
    let look = || fingerprint(&fixture.source);
    let mut last = look();
    assert_eq!(look(), last);
    let mut changed = |what: &str| {
        let now = look();
        assert_ne!(now, last, "{what}");
        last = now;
    };
    fixture.write("agent.json", b"{api_key: \"m\"\n\n}");
    changed("main file of the same size");
    fixture.write("agent.d/f.json", b"{ }");
    changed("fragment");
    fixture.write("agent.d/g.json", b"{}");
    changed("new fragment");
    std::fs::remove_file(fixture.path("agent.d/g.json")).unwrap();
    changed("removed fragment");
    std::fs::create_dir(fixture.path("other.d")).unwrap();
    fixture.write(
        "agent.json",
        b"{api_key: \"m\", config_directory: \"other.d\"}",
    );
    changed("other directory");
    fixture.write("other.d/o.json", b"{}");
    changed("fragment in the other directory");
    fixture.write("agent.json", b"{api_key: ");
    changed("broken main file");
    std::fs::remove_file(fixture.path("agent.json")).unwrap();
    changed("no main file");
}

#[test]
fn the_checks_of_the_start_name_what_is_wrong() {
    let fixture = Fixture::new("{api_key: \"REPLACE_THIS\"}");
    let error = fixture.load().check_start().unwrap_err();
    assert_eq!(error.code(), "emptyApiKey");
    assert!(
        error
            .to_string()
            .contains("agent.json, line 1, column 11: "),
        "{error}"
    );

    let fixture = Fixture::with("ca_cert_path: \"missing.pem\"");
    let error = fixture.load().check_start().unwrap_err();
    assert!(error.to_string().contains("missing.pem"), "{error}");
    let fixture = Fixture::with("ca_cert_path: \"missing.pem\", verify_server_certificate: false");
    let error = fixture.load().check_start().unwrap_err();
    assert_eq!(error.field(), Some("agent_log_path"));
    std::fs::create_dir(fixture.path("log")).unwrap();
    std::fs::write(fixture.path("data"), "").unwrap();
    let error = fixture.load().check_start().unwrap_err();
    assert_eq!(error.field(), Some("agent_data_path"));
    std::fs::remove_file(fixture.path("data")).unwrap();
    std::fs::create_dir(fixture.path("data")).unwrap();
    assert_eq!(fixture.load().check_start(), Ok(()));
}

#[test]
fn an_entry_that_only_moved_within_its_file_is_no_change() {
    let fixture = Fixture::with("logs: [{path: \"/a\", attributes: {n: 1}}]");
    let before = fixture.load();
    let write = |members: &str| {
        let text = format!("{{api_key: \"k\"\n{members}}}");
        fixture.write("agent.json", text.as_bytes());
        fixture.load()
    };
    let moved = write("// more to say\n\nlogs: [\n  {path: \"/a\", attributes: {n: 1}}\n]");
    assert!(moved.same_as(&before));
    let places = [&before, &moved].map(|c| c.logs[0].origin.place.as_ref().map(|p| p.to_string()));
    assert_ne!(places[0], places[1]);
    let changed = write("logs: [{path: \"/a\", attributes: {n: 2}}]");
    assert!(!changed.same_as(&before));
}
