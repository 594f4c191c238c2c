//! Bytes that may be anything: stored journals and random ones, with changes at random.
//!
//! `JOURNAL_INPUTS=10000000 cargo test --release --lib no_bytes` tries ten million; `JOURNAL_SEED` begins
//! elsewhere. `UPDATE_CORPUS=1 cargo test --lib stored_journals` makes the stored ones anew.

use super::*;
use crate::tail::journal::format::HEADER;
use crate::tail::ledger::LogId;
use crate::util::crc32;
use crate::util::varint::Reader;

const CORPUS: [(&str, &[u8]); 3] = [
    ("one.journal", include_bytes!("corpus/one.journal")),
    ("two.journal", include_bytes!("corpus/two.journal")),
    ("three.journal", include_bytes!("corpus/three.journal")),
];

#[test]
fn stored_journals_are_read_as_ever() {
    for (n, (name, bytes)) in CORPUS.into_iter().enumerate() {
        if std::env::var_os("UPDATE_CORPUS").is_some() {
            let (records, _) = history(&mut Dice(n as u64), 40 * (n + 1));
            let bytes = [&header(&[n as u8; 16])[..], &records.concat()].concat();
            let dir = path(env!("CARGO_MANIFEST_DIR")).join("src/tail/journal/tests/corpus");
            std::fs::write(dir.join(name), bytes).unwrap();
            continue;
        }
        let replayed = replay(bytes);
        assert_eq!(
            (replayed.sound, replayed.wrong),
            (bytes.len(), None),
            "{name}"
        );
        let contents = replayed.memory.saved.logs.values();
        assert!(contents.flat_map(|log| &log.contents).count() > 3);
    }
}

/// Gives each record the checksum that it should have, as far as records can be told.
fn seal(bytes: &mut [u8]) {
    let mut at = HEADER.min(bytes.len());
    loop {
        let mut from = Reader(&bytes[at..]);
        let Some(body) = from.bytes() else { return };
        let crc = crc32::of(body).to_le_bytes();
        let end = bytes.len() - from.0.len();
        let Some(place) = bytes.get_mut(end..end + 4) else {
            return;
        };
        place.copy_from_slice(&crc);
        at = end + 4;
    }
}

fn change(dice: &mut Dice, bytes: &mut Vec<u8>, other: &[u8]) {
    let at = dice.below(bytes.len() + 1);
    let to = (at + dice.below(40)).min(bytes.len());
    match dice.below(8) {
        0 | 1 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
        2 if at < bytes.len() => {
            let odd = [
                0, 1, 127, 128, 255, b'a', b'c', b'd', b'l', b's', b't', b'w',
            ];
            bytes[at] = odd[dice.below(odd.len())];
        }
        3 => drop(bytes.drain(at..to)),
        4 => {
            let part = bytes[at..to].to_vec();
            bytes.splice(at..at, part);
        }
        5 => {
            let from = dice.below(other.len());
            let part = &other[from..(from + dice.below(200)).min(other.len())];
            bytes.splice(at..to, part.iter().copied());
        }
        6 => {
            let huge = [&[0xFF; 9][..], &[1]].concat();
            let huge = &huge[dice.below(9)..];
            bytes.splice(at..to, huge.iter().copied());
        }
        _ => bytes.truncate(at),
    }
}

/// About how many bytes of memory it takes.
fn size(memory: &Memory) -> usize {
    let logs = memory.saved.logs.iter().map(|((worker, path), log)| {
        let name = worker.len() + path.as_os_str().len();
        let attributes = log.attributes.iter().map(|(key, _)| 72 + key.len());
        let contents = log.contents.iter();
        let contents =
            contents.map(|c| size_of::<SavedContent>() + c.name.as_ref().map_or(0, |n| n.len()));
        200 + name + 40 * log.schemes.len() + attributes.sum::<usize>() + contents.sum::<usize>()
    });
    let lists = memory
        .saved
        .remembered
        .values()
        .map(|l| 100 + 16 * l.names().count());
    let patterns = memory.watched.values().map(|(_, all)| 100 + 60 * all.len());
    let cursors = memory.cursors.values().map(|c| 100 + c.len());
    logs.chain(lists).chain(patterns).chain(cursors).sum()
}

fn check(bytes: &[u8]) {
    let replayed = replay(bytes);
    assert!(replayed.sound <= bytes.len());
    let memory = replayed.memory;
    assert!(
        size(&memory) <= 40 * bytes.len(),
        "{} of {}",
        size(&memory),
        bytes.len()
    );
    let mut keys = BTreeSet::new();
    for log in memory.saved.logs.values() {
        for content in &log.contents {
            assert!(keys.insert(content.key));
            assert!(content.settled <= content.length.min(content.numbered));
            assert!(content.numbered.max(content.length) <= i64::MAX as u64);
            // It can be taken up, compared and moved on
            let mut fresh = || SequenceId([0; 16]);
            let mut taken = content.content(ContentKey(1), LogId(1), b"a.log", &mut fresh);
            let text = b"a line\nand another one\n";
            let _ = taken.evidence.compare(&mut &text[..]).unwrap();
            taken.advance(b"", text);
        }
    }
    let short = [&header(&[1; 16])[..], memory.records().bytes()].concat();
    let again = replay(&short);
    assert_eq!((again.sound, again.wrong), (short.len(), None));
    assert_eq!(again.memory, memory);
}

#[test]
fn no_bytes_panic_the_reader_or_take_more_memory_than_a_few_times_their_length() {
    let seed = number("JOURNAL_SEED", 1);
    let inputs = number("JOURNAL_INPUTS", 6_000);
    let (mut sound, mut fresh) = (0, Vec::new());
    for n in seed..seed + inputs {
        let mut dice = Dice(n);
        if n % 50 == 0 || fresh.is_empty() {
            let (records, _) = history(&mut Dice(n / 50), 15);
            fresh = [&header(&[3; 16])[..], &records.concat()].concat();
        }
        let other = CORPUS[dice.below(3)].1;
        let mut bytes = match dice.once_in(8) {
            true => other.to_vec(),
            false => fresh.clone(),
        };
        for _ in 0..1 + dice.below(6) {
            change(&mut dice, &mut bytes, other);
        }
        if !dice.once_in(4) {
            seal(&mut bytes);
        }
        let caught = std::panic::catch_unwind(|| check(&bytes));
        assert!(caught.is_ok(), "JOURNAL_SEED={n} JOURNAL_INPUTS=1");
        sound += u64::from(replay(&bytes).sound > HEADER);
    }
    assert!(
        sound * 2 > inputs || inputs < 100,
        "only {sound} of {inputs} have a record"
    );
}
