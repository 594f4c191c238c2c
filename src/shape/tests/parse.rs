//! Lines in the formats of container runtimes.

use super::*;

#[test]
fn json_lines_become_messages_times_and_attributes() {
    const TS: u64 = 1_795_386_436_500_000_000;
    let rows: &[(&str, &str, Option<&str>, Option<u64>)] = &[
        (
            r#"{"log":"hi\n","stream":"stdout","time":"2026-11-22T22:27:16.5Z"}"#,
            "hi\n",
            Some(r#""stream":"stdout","raw_timestamp":"2026-11-22T22:27:16.5Z""#),
            Some(TS),
        ),
        (r#"{"log":"a"}"#, "a", None, None),
        (r#"{"log":"caf\u00e9 \"x\""}"#, "café \"x\"", None, None),
        (
            r#"{"log":"a","b":[1,{"c":null}],"d":true,"e":-1.5e3}"#,
            "a",
            Some(r#""b":[1,{"c":null}],"d":true,"e":-1.5e3"#),
            None,
        ),
        (
            r#"{"log":"a","time":"yesterday"}"#,
            "a",
            Some(r#""raw_timestamp":"yesterday""#),
            None,
        ),
        (r#"{"log":"a","time":""}"#, "a", None, None),
        (r#"{"log":"a","time":null}"#, "a", None, None),
        (
            r#"{"log":"a","time":"2026-11-22T22:27:16.5Z","raw_timestamp":1}"#,
            "a",
            Some(r#""raw_timestamp":1"#),
            Some(TS),
        ),
        (r#"{"log":"a","parser":"p","n":1.0}"#, "a", Some(""), None),
        (
            r#"{"log":"a","parser":"p","n":2}"#,
            "a",
            Some(r#""parser":"p","n":2"#),
            None,
        ),
        (r#"{"l\u006fg":"a"}"#, "a", None, None),
        // As they are
        ("{\"log\":1}\n", "{\"log\":1}\n", None, None),
        (
            "{\"log\":\"a\",\"time\":5}\n",
            "{\"log\":\"a\",\"time\":5}\n",
            None,
            None,
        ),
        ("{\"x\":\"a\"}\n", "{\"x\":\"a\"}\n", None, None),
        ("{\"log\":null}\n", "{\"log\":null}\n", None, None),
        ("plain\n", "plain\n", None, None),
        ("[]\n", "[]\n", None, None),
        ("\n", "\n", None, None),
    ];
    for (line, message, attrs, ts) in rows {
        let (entry, options) = json(false);
        let mut reader = Reader::new(&entry, &options);
        let input = format!("{}\n", line.trim_end_matches('\n'));
        let events = reader.read(input.as_bytes(), false);
        assert_eq!(texts(&events), [*message], "{line}");
        assert_eq!(events[0].attrs.as_deref(), *attrs, "{line}");
        assert_eq!(events[0].ts, *ts, "{line}");
    }
    let (entry, options) = json(false);
    let mut reader = Reader::new(&entry, &options);
    let events = reader.read(b"{\"log\":\"\xff\",\"a\":\"\xfe\"}\n", false);
    assert_eq!(text(&events[0]), "\u{FFFD}");
    assert_eq!(events[0].attrs.as_deref(), Some("\"a\":\"\u{FFFD}\""));
    // A line without a text is an event nevertheless: it may have attributes
    let empty = b"{\"log\":\"\xff\",\"a\":\"\xfe\"}\n{\"log\":\"\"}\n";
    let events = reader.read(empty, false);
    assert_eq!(texts(&events), [""]);
}

#[test]
fn dockers_parts_are_merged_and_no_line_is_swallowed() {
    let (entry, options) = json(true);
    let part = "{\"log\":\"a\",\"s\":1}\n{\"log\":\"b\",\"s\":2}\n";
    let input = format!("{part}{{\"log\":\"c\\n\",\"s\":3}}\n{{\"log\":\"d\\n\"}}\n");
    let mut reader = Reader::new(&entry, &options);
    let events = reader.read(input.as_bytes(), false);
    assert_eq!(texts(&events), ["abc\n", "d\n"]);
    assert_eq!(events[0].attrs.as_deref(), Some("\"s\":1"));
    assert_eq!(events[0].number, input.len() as u64 - 14);

    let mut reader = Reader::new(&entry, &options);
    assert!(reader.read(part.as_bytes(), false).is_empty());
    assert_eq!(reader.at, 0);
    assert_eq!(texts(&reader.read(part.as_bytes(), true)), ["ab"]);

    // A line that does not continue the text is an event of its own; the Python agent swallows it
    for intruder in ["plain\n", "{\"x\":1}\n"] {
        let input = format!("{part}{intruder}");
        let mut reader = Reader::new(&entry, &options);
        assert_eq!(
            texts(&reader.read(input.as_bytes(), false)),
            ["ab", intruder]
        );
    }
}

#[test]
fn long_json_lines_are_cut_behind_parsing() {
    let (entry, options) = json(false);
    let long = |n: usize| format!("{{\"log\":\"{}\\n\",\"k\":\"v\"}}\n", "x".repeat(n));
    let input = long(60_000);
    let mut reader = Reader::new(&entry, &options);
    let events = reader.read(input.as_bytes(), false);
    let lengths: Vec<_> = events.iter().map(|e| e.message.len()).collect();
    assert_eq!(lengths, [49_900, 10_101]);
    assert!(events
        .iter()
        .all(|e| e.attrs.as_deref() == Some("\"k\":\"v\"")));
    for with_rules in [false, true] {
        let mut entry = entry.clone();
        if with_rules {
            entry.redaction_rules = vec![redaction("secret", "")];
        }
        let input = format!("{}\n", &long(80_000)[..70_012]);
        let mut reader = Reader::new(&entry, &options);
        let events = reader.read(input.as_bytes(), false);
        let lengths: Vec<_> = events.iter().map(|e| e.message.len()).collect();
        assert_eq!(lengths, [49_900, 15_636, 4_477]);
        assert_eq!(reader.total.parse_failures, 2);
    }
}

#[test]
fn container_lines_are_joined_by_stream() {
    let t = "2026-11-22T22:27:16.5Z";
    let nanos = 1_795_386_436_500_000_000u64;
    let entry = LogEntry {
        parse_format: ParseFormat::Cri,
        ..entry()
    };
    let input = format!(
        "{t} stdout F one\n{t} stdout P two \n1970-01-01T00:00:00Z stderr P err \r\n\
         {t} stdout F three\n{t} stderr F or\r\nnot of the format\n{t} stdout P four"
    );
    let mut reader = Reader::new(&entry, &options(1000));
    let events = reader.read(input.as_bytes(), false);
    assert_eq!(
        texts(&events),
        ["one\n", "two three\n", "err or\n", "not of the format\n"]
    );
    let out = format!("\"stream\":\"stdout\",\"raw_timestamp\":{nanos}");
    assert_eq!(events[0].attrs.as_deref(), Some(&*out));
    assert_eq!(events[0].ts, Some(nanos));
    assert_eq!(events[2].ts, Some(0));
    assert_eq!(
        events[2].attrs.as_deref(),
        Some("\"stream\":\"stderr\",\"raw_timestamp\":0")
    );
    assert_eq!((events[3].attrs.as_deref(), events[3].ts), (None, None));
    // An incomplete text is not consumed, so a crash cannot lose it
    assert_eq!(reader.at, input.rfind("2026").unwrap());
    assert_eq!(texts(&reader.read(input.as_bytes(), true)), ["four\n"]);
    assert_eq!(reader.total.parse_failures, 1);
}

#[test]
fn a_container_line_that_never_ends_is_sent_in_parts() {
    let entry = LogEntry {
        parse_format: ParseFormat::Cri,
        ..entry()
    };
    let part = format!("1970-01-01T00:00:00Z stdout P {}\n", "x".repeat(1000));
    let input = part.repeat(2000);
    let mut reader = Reader::new(&entry, &options(49_900));
    let events = reader.read(input.as_bytes(), true);
    let total: usize = events.iter().map(|e| text(e).matches('x').count()).sum();
    assert_eq!(total, 2_000_000);
}
