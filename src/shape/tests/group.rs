//! Lines that become groups.

use super::*;

#[test]
fn groups_are_those_of_the_worked_examples() {
    // Each row: groupers, longest line in bytes, input, events at once, events after the wait
    let past = || vec![grouper(r"\\$", GroupEnd::ContinuePast(r"\\$".into()))];
    let before = || vec![grouper("^--begin", GroupEnd::HaltBefore("^--begin".into()))];
    let with = || vec![grouper("^BEGIN", GroupEnd::HaltWith("^END".into()))];
    let chain = || {
        vec![
            grouper("^A", GroupEnd::ContinueThrough("^ ".into())),
            grouper("^AB", GroupEnd::HaltWith("^Z".into())),
        ]
    };
    let years = || vec![grouper(r"^\d{4}-", GroupEnd::HaltBefore(r"^\d{4}-".into()))];
    type Row<'a> = (
        Vec<LineGrouper>,
        usize,
        &'a str,
        &'a [&'a str],
        &'a [&'a str],
    );
    let rows: &[Row] = &[
        (
            through(),
            100,
            "E1\n at a\n at b\nE2\n",
            &["E1\n at a\n at b\n"],
            &["E2\n"],
        ),
        (
            through(),
            100,
            "  orphan\nE1\nE2\n at x\nE3\n",
            &["  orphan\n", "E1\n", "E2\n at x\n"],
            &["E3\n"],
        ),
        (
            through(),
            100,
            "E1\n at a\n\n at b\nE2\n",
            &["E1\n at a\n", "\n", " at b\n"],
            &["E2\n"],
        ),
        (
            through(),
            30,
            "E1\n at aaaaaaaaaaaaaaaaaa\n at bbbbbbbbbbbbbbbbbbbb\nE2\n",
            &["E1\n at aaaaaaaaaaaaaaaaaa\n at ", "bbbbbbbbbbbbbbbbbbbb\n"],
            &["E2\n"],
        ),
        (
            past(),
            100,
            "a \\\nb \\\nc\nd\n",
            &["a \\\nb \\\nc\n", "d\n"],
            &[],
        ),
        (past(), 100, "a \\\n", &[], &["a \\\n"]),
        (
            before(),
            100,
            "--begin\nx\ny\n--begin\nz\n",
            &["--begin\nx\ny\n"],
            &["--begin\nz\n"],
        ),
        (
            with(),
            100,
            "BEGIN\nx\nEND\nafter\n",
            &["BEGIN\nx\nEND\n", "after\n"],
            &[],
        ),
        (with(), 100, "BEGIN\nx\n", &[], &["BEGIN\nx\n"]),
        (
            with(),
            30,
            "BEGIN\nxxxxxxxxxxxxxxxxxxxx\nyyyyyyyyyyyyyyyyyyyy\nEND\nz\n",
            &[
                "BEGIN\nxxxxxxxxxxxxxxxxxxxx\nyyy",
                "yyyyyyyyyyyyyyyyy\n",
                "END\n",
                "z\n",
            ],
            &[],
        ),
        (
            chain(),
            100,
            "AB\n x\nZ\nq\n",
            &["AB\n x\n", "Z\n", "q\n"],
            &[],
        ),
        (chain(), 100, "AB\nx\nZ\nq\n", &["AB\nx\nZ\n", "q\n"], &[]),
        // `haltBefore` swallows no line after a group of one line, as the Python agent's does
        (
            years(),
            100,
            "2026-1 one\n2026-1 two\n2026-1 three\n trace\n2026-1 four\n2026-1 five\n2026-1 six\n",
            &[
                "2026-1 one\n",
                "2026-1 two\n",
                "2026-1 three\n trace\n",
                "2026-1 four\n",
                "2026-1 five\n",
            ],
            &["2026-1 six\n"],
        ),
        (before(), 100, "x\n--beg", &["x\n"], &["--beg"]),
        (before(), 100, "--begin\nab", &[], &["--begin\n", "ab"]),
    ];
    for (groupers, max_line, input, at_once, later) in rows {
        let entry = LogEntry {
            line_groupers: groupers.clone(),
            ..entry()
        };
        let mut reader = Reader::new(&entry, &options(*max_line));
        assert_eq!(
            &texts(&reader.read(input.as_bytes(), false)),
            at_once,
            "{input:?}"
        );
        assert_eq!(
            &texts(&reader.read(input.as_bytes(), true)),
            later,
            "{input:?}"
        );
    }
}

#[test]
fn a_late_line_joins_its_group_and_a_too_late_one_does_not() {
    let entry = LogEntry {
        line_groupers: through(),
        ..entry()
    };
    let mut reader = Reader::new(&entry, &options(100));
    assert!(reader.read(b"E1\n", false).is_empty());
    assert!(reader.read(b"E1\n at late\n", false).is_empty());
    assert_eq!(
        texts(&reader.read(b"E1\n at late\n", true)),
        ["E1\n at late\n"]
    );
    let all = b"E1\n at late\n at too late\n";
    assert_eq!(texts(&reader.read(all, false)), [" at too late\n"]);
}
