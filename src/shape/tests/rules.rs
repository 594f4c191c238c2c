//! Sampling, redaction, and the cut of long lines under them.

use super::*;

#[test]
fn an_entry_that_asks_for_nothing_has_no_pipeline() {
    assert!(Pipeline::compile(&entry(), &options(100))
        .unwrap()
        .is_none());
}

#[test]
fn lines_are_sampled_by_the_first_rule_that_is_found() {
    let rule = |pattern: &str, rate| SamplingRule {
        match_expression: pattern.to_owned(),
        sampling_rate: rate,
    };
    let entry = LogEntry {
        sampling_rules: vec![
            rule("never", 0.0),
            rule("always", 1.0),
            rule("some|never", 0.25),
        ],
        ..entry()
    };
    let mut input = String::new();
    for i in 0..4000 {
        input.push_str(["never\n", "always\n", "some\n", "other\n"][i % 4]);
    }
    let mut reader = Reader::new(&entry, &options(100));
    let events = reader.read(input.as_bytes(), false);
    let count = |word: &str| texts(&events).iter().filter(|t| t.trim() == word).count();
    assert_eq!(
        (count("never"), count("always"), count("other")),
        (0, 1000, 1000)
    );
    assert!((200..300).contains(&count("some")), "{}", count("some"));
    assert!(events
        .iter()
        .all(|e| e.rate == (text(e) == "some\n").then_some(0.25)));
    assert_eq!(reader.total.sampled_out_lines, 4000 - events.len() as u64);
    // Read again: the same
    let mut again = Reader::new(&entry, &options(100));
    assert_eq!(again.read(input.as_bytes(), false), events);
    again.at = 0;
    again.seed = 2;
    assert_ne!(again.read(input.as_bytes(), false), events);
}

#[test]
fn rules_see_the_whole_line_and_each_others_results() {
    let entry = LogEntry {
        redaction_rules: vec![
            redaction("a", "b"),
            redaction("b", "c"),
            redaction("gone.*", ""),
        ],
        ..entry()
    };
    let mut reader = Reader::new(&entry, &options(8));
    let input = "ab\nxgone 1\ngone\n\u{e9}\n12345678901\n".as_bytes();
    let events = reader.read(input, false);
    let expected = ["cc\n", "x\n", "\n", "\u{e9}\n", "12345678", "901\n"];
    assert_eq!(texts(&events), expected);
    assert_eq!(reader.total.redacted_lines, 3);
    // Nothing left is nothing sent; a cut hides nothing
    let entry = LogEntry {
        redaction_rules: vec![redaction(r"(?s)^drop.*|\d{9}", "")],
        ..entry
    };
    let mut reader = Reader::new(&entry, &options(8));
    let events = reader.read(b"drop\nxxxx123456789yyyy\n\xff123456789\n", false);
    assert_eq!(texts(&events), ["xxxxyyyy", "\n", "\u{FFFD}\n"]);
    assert_eq!(reader.total.empty_lines, 1);
}

#[test]
fn attributes_are_redacted_too() {
    let (mut entry, options) = json(false);
    entry.redaction_rules = vec![redaction(r"\d{4,}|se\ncret", "#")];
    let line = r#"{"log":"x","a":"n 12345 \u0041","b":{"c":["1234",12345,12,"se\ncret"],"99999":1},"time":"2026-11-22T22:27:16Z"}"#;
    let mut reader = Reader::new(&entry, &options);
    let events = reader.read(format!("{line}\n").as_bytes(), false);
    assert_eq!(
        events[0].attrs.as_deref(),
        Some(
            r##""a":"n # A","b":{"c":["#","#",12,"#"],"99999":1},"raw_timestamp":"2026-11-22T22:27:16Z""##
        )
    );
}

#[test]
fn a_line_that_can_not_be_redacted_in_time_is_withheld() {
    let entry = LogEntry {
        redaction_rules: vec![redaction(r"(x+x+)+(?<!x)y", "")],
        ..entry()
    };
    let input = format!("fine\n{}y\nfine\n", "x".repeat(60));
    let mut reader = Reader::new(&entry, &options(1000));
    let events = reader.read(input.as_bytes(), false);
    assert_eq!(texts(&events), ["fine\n", WITHHELD, "fine\n"]);
    assert_eq!(reader.total.withheld_lines, 1);
}

#[test]
fn a_line_without_end_is_withheld_where_no_cut_is_safe() {
    let entry = LogEntry {
        redaction_rules: vec![redaction(r"token=\w+", "token=#")],
        ..entry()
    };
    let options = options(49_900);
    let mut input = "a".repeat(100_000) + " token=" + &"s".repeat(3_000_000) + " end\nnext\n";
    let mut reader = Reader::new(&entry, &options);
    let events = reader.read(input.as_bytes(), false);
    assert!(events
        .iter()
        .all(|e| !text(e).contains('s') || text(e) == WITHHELD));
    assert_eq!(texts(&events).last().unwrap(), "next\n");
    assert_eq!(reader.total.withheld_lines, 1);
    assert!(reader.total.withheld_bytes > 2_500_000);
    // One that can be seen whole is replaced, wherever it stands
    for shift in 0..40 {
        input = "a ".repeat(98_000 / 2 + shift * 50) + "token=" + &"s".repeat(3000) + " ";
        input += &"b ".repeat(200_000);
        input.push('\n');
        let mut reader = Reader::new(&entry, &options);
        let events = reader.read(input.as_bytes(), false);
        assert_eq!(
            texts(&events).concat(),
            input.replace(&"s".repeat(3000), "#")
        );
    }
}

#[test]
fn uncut_lines_are_cut_where_the_reference_cuts() {
    for with_rules in [false, true] {
        let mut entry = entry();
        match with_rules {
            false => entry.line_groupers = through(),
            true => entry.redaction_rules = vec![redaction("secret", "")],
        }
        for (n, expected) in [
            (120_000, vec![49_900, 49_900, 20_201]),
            (49_900, vec![49_900, 1]),
            (49_899, vec![49_900]),
            (500_000, [vec![49_900; 10], vec![1001]].concat()),
        ] {
            let mut reader = Reader::new(&entry, &options(49_900));
            let events = reader.read((" ".repeat(n) + "\n").as_bytes(), true);
            let lengths: Vec<_> = events.iter().map(|e| e.message.len()).collect();
            assert_eq!(lengths, expected, "{n} {with_rules}");
        }
    }
}

#[test]
fn a_rule_that_can_not_be_taken_is_named() {
    let entry = LogEntry {
        redaction_rules: vec![redaction("a", ""), redaction("(a)", r"\2")],
        ..entry()
    };
    let error = Pipeline::compile(&entry, &options(100)).unwrap_err();
    assert_eq!(
        (error.code, &*error.rule),
        ("invalidReplacement", "redaction_rules[1].replacement")
    );
    let entry = LogEntry {
        line_groupers: vec![grouper("a", GroupEnd::HaltWith("a(".into()))],
        ..entry
    };
    let error = Pipeline::compile(&entry, &options(100)).unwrap_err();
    assert_eq!(
        (error.code, &*error.rule),
        ("notRegexp", "lineGroupers[0].haltWith")
    );
    assert_eq!(error.position, 1);
}
