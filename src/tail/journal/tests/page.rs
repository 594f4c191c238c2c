//! docs/reference/positions.md has an example, byte by byte: it must be what this code writes and reads.

use super::*;
use crate::tail::journal::format::{self, Record};

const PAGE: &str = include_str!("../../../../docs/reference/positions.md");

/// The example of the page: a log of three lines, of which two and then the third are acknowledged.
fn example() -> (Vec<u8>, SavedContent) {
    let start = std::array::from_fn(|n| n as u8);
    let mut out = Records::default();
    out.clock(1_764_557_000.0, Some(7));
    let log = ("default", path("/var/log/app.log"));
    let mut content = SavedContent {
        key: Some(ContentKey(3)),
        place: SavedPlace::At(SavedFile {
            id: FileId {
                dev: 66_306,
                ino: 131,
            },
            birth: None,
        }),
        name: None,
        stamp: Some(Stamp(0x1234_5678)),
        settled: 8,
        numbered: 8,
        length: 14,
        evidence: Evidence::default(),
        phase: Phase::Shown,
        was_vague: false,
        sequence: Some((SequenceId([0xAA; 16]), 8)),
    };
    content.evidence.advance(0, b"", b"one\ntwo\n");
    let mut written = None;
    out.changed(&mut written, Reason::Born, log, &content);
    content.evidence.advance(8, b"one\ntwo\n", b"three\n");
    content.settled = 14;
    content.numbered = 14;
    content.sequence = content.sequence.map(|(id, _)| (id, 14));
    out.changed(&mut written, Reason::Evidence, log, &content);
    ([&header(&start)[..], out.bytes()].concat(), content)
}

#[test]
fn the_example_on_the_page_is_what_the_agent_writes() {
    let (bytes, content) = example();
    let rows = PAGE.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split("` |");
        Some((cells.next()?, cells.next()?.trim().strip_prefix("`")?))
    });
    let mut read = Vec::new();
    for (offset, hex) in rows {
        assert_eq!(
            usize::from_str_radix(offset, 16),
            Ok(read.len()),
            "at {offset}"
        );
        for pair in hex.split(' ') {
            let byte = u8::from_str_radix(pair, 16);
            read.push(byte.unwrap_or_else(|e| panic!("{pair} at {offset}: {e}")));
        }
    }
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|b| format!("{b:02x} ")).collect() };
    assert_eq!(hex(&read), hex(&bytes));
    let memory = replay(&read).memory;
    let name = ("default".to_owned(), PathBuf::from("/var/log/app.log"));
    assert_eq!(memory.saved.logs[&name].contents, [content]);
}

#[test]
fn each_kind_of_record_and_each_limit_is_on_the_page() {
    let own = include_str!("../format.rs");
    let kinds = own
        .split("    /// `")
        .skip(1)
        .filter_map(|rest| rest.chars().next());
    let kinds: Vec<char> = kinds.collect();
    assert!(kinds.len() >= 10, "{kinds:?}");
    for kind in kinds {
        let letter = format!("`{kind}`");
        assert!(PAGE.contains(&format!("### {letter} ")), "{letter}");
        // The reader knows it
        let record = format::record(&[kind as u8]);
        assert!(!matches!(record, Some(Record::Other(_))), "{letter}");
    }
    for reason in format::Reason::ALL {
        let letter = reason as u8 as char;
        assert!(PAGE.contains(&format!("`{letter}` ")), "{letter}");
    }
}
