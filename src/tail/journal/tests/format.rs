use super::*;
use crate::tail::journal::format::{self, read_header, COMMIT};
use crate::tail::ledger::Agreement;

fn file(records: &[u8]) -> Vec<u8> {
    [&header(&[9; 16])[..], records].concat()
}

#[test]
fn a_history_is_read_back_as_its_owners_know_it() {
    for seed in 1..100 {
        let mut dice = Dice(seed);
        let (records, owners) = history(&mut dice, 150);
        let memory = replay(&file(&records.concat())).memory;
        let saved = &memory.saved;
        let mut contents = 0;
        for ((worker, path), log) in &saved.logs {
            let mut is_first = true;
            for content in &log.contents {
                contents += 1;
                let key = content.key.unwrap().0;
                let known = &owners.contents[&key];
                assert_eq!((worker, path), (&known.log.0, &known.log.1));
                let mut expected = known.content.clone();
                // Commits carry the newest part of it
                assert_eq!(content.evidence.end(), expected.evidence.end());
                let text = text(key, 0..known.lines);
                let agreement = content.evidence.compare(&mut &text[..]).unwrap();
                let whole = match known.lines {
                    0 => Agreement::Unknown,
                    _ => Agreement::Whole,
                };
                assert_eq!(agreement, whole, "seed {seed}");
                assert_eq!(
                    content.evidence.is_distinct(),
                    expected.evidence.is_distinct()
                );
                expected.evidence = content.evidence.clone();
                assert_eq!(*content, expected, "seed {seed}");
                // The one that the path shows is the last
                assert!(
                    is_first
                        || content.phase != Phase::Shown
                        || Some(content) == log.contents.last()
                );
                is_first = false;
            }
        }
        assert_eq!(contents, owners.contents.len(), "seed {seed}");
        let listings = owners.listings.iter().filter(|(_, l)| !l.is_empty());
        assert!(saved.remembered.iter().eq(listings), "seed {seed}");
        assert_eq!(memory.cursors, owners.cursors);
        assert!(saved.logs.keys().eq(owners.logs.keys()), "seed {seed}");
        for (name, log) in &owners.logs {
            assert_eq!(saved.logs[name].schemes, log.schemes);
            assert_eq!(saved.logs[name].attributes, log.attributes);
        }
    }
}

#[test]
fn a_compacted_journal_remembers_the_same() {
    for seed in 1..100 {
        let (records, _) = history(&mut Dice(seed), 80);
        let long = file(&records.concat());
        let memory = replay(&long).memory;
        let short = file(memory.records().bytes());
        let again = replay(&short);
        assert_eq!((again.sound, again.wrong), (short.len(), None));
        assert_eq!(again.memory, memory, "seed {seed}");
        assert_eq!(file(again.memory.records().bytes()), short, "seed {seed}");
    }
}

fn content(key: u64, settled: u64) -> SavedContent {
    let mut owners = Owners::default();
    owners.born(&mut Dice(1));
    owners.advance(1, 900);
    let mut content = owners.contents.remove(&1).unwrap().content;
    content.key = Some(ContentKey(key));
    let moved = settled.saturating_sub(content.settled);
    for to in [
        &mut content.settled,
        &mut content.numbered,
        &mut content.length,
    ] {
        *to += moved;
    }
    if moved > 0 {
        let tail = text(1, 800..900);
        let lead = text(1, 700..800);
        content
            .evidence
            .advance(content.settled - tail.len() as u64, &lead, &tail);
    }
    content
}

#[test]
fn a_commit_takes_at_most_48_bytes_and_says_as_much_as_fits() {
    let log = ("default", path("/var/log/app.log"));
    for key in [1, 300, u64::from(u32::MAX), u64::MAX >> 1] {
        for settled in [0, 1 << 20, 1 << 34, (1 << 49) - (1 << 30)] {
            let mut before = content(key, settled);
            before.numbered = before.settled + (64 << 20);
            let mut written = None;
            let mut out = Records::default();
            out.changed(&mut written, Reason::Born, log, &before);
            let whole = out.bytes().len();
            let mut after = before.clone();
            let page = text(1, 900..910);
            after
                .evidence
                .advance(before.settled, &text(1, 800..900), &page);
            after.settled += page.len() as u64;
            after.length = after.settled + (1 << 20);
            after.sequence = after.sequence.map(|(id, at)| (id, at + page.len() as u64));
            out.clear();
            out.changed(&mut written, Reason::Evidence, log, &after);
            let size = out.bytes().len();
            if key < 1 << 28 {
                assert!(size <= COMMIT, "{key} {settled}: {size}, whole {whole}");
                let mut reading = format::Reading::of(out.bytes());
                let Some(format::Record::Commit(commit)) = reading.next() else {
                    panic!("a whole record");
                };
                assert!(commit.tip.unwrap().lines() >= 2);
                assert_eq!(
                    (commit.settled, commit.numbered, commit.length),
                    (after.settled, after.numbered, after.length)
                );
            } else {
                // Where no two lines have room, the whole is written
                assert!(size <= COMMIT || size >= whole - 20);
            }
        }
    }
}

#[test]
fn what_a_commit_cannot_carry_is_written_as_a_whole() {
    let log = ("default", path("/var/log/app.log"));
    let is_whole = |change: &dyn Fn(&mut SavedContent)| {
        let mut known = content(3, 0);
        let mut written = None;
        let mut out = Records::default();
        out.changed(&mut written, Reason::Born, log, &known);
        change(&mut known);
        out.clear();
        out.changed(&mut written, Reason::Edited, log, &known);
        let record = format::Reading::of(out.bytes()).next().unwrap();
        matches!(
            record,
            format::Record::Content {
                reason: Reason::Edited,
                ..
            }
        )
    };
    assert!(!is_whole(&|_| {}));
    assert!(!is_whole(&|c| c.length += 9));
    assert!(
        !is_whole(&|c| c.stamp = Some(Stamp(8))),
        "of a file that grows"
    );
    assert!(is_whole(&|c| c.name = Some((*b"x").into())));
    assert!(is_whole(&|c| c.place = SavedPlace::Nowhere));
    assert!(is_whole(&|c| c.phase = Phase::Draining));
    assert!(is_whole(
        &|c| c.sequence = c.sequence.map(|(id, at)| (id, at + 1))
    ));
    assert!(is_whole(
        &|c| c.evidence = Evidence::taken(500, &mut &text(1, 0..99)[..]).unwrap()
    ));
    assert!(
        is_whole(&|c| {
            for n in 0..30 {
                let (from, to) = (900 + n * 100, 1_000 + n * 100);
                let at = text(1, 0..from).len() as u64;
                c.evidence
                    .advance(at, &text(1, from - 90..from), &text(1, from..to));
            }
        }),
        "after 64 KiB"
    );
}

#[test]
fn a_name_more_in_a_folder_of_20_000_costs_no_more_than_itself() {
    let names: BTreeSet<u64> = (0..19_000).map(|n| n * 7_919).collect();
    let before = Remembered::restored(names.clone(), false);
    let now = Remembered::restored(names.into_iter().chain([1]).collect(), false);
    let folder = path("/var/log/app.log");
    let mut out = Records::default();
    out.listing(folder, Some(&before), &now);
    assert!(out.bytes().len() < 50);
    out.listing(folder, Some(&now), &now);
    assert!(out.bytes().len() < 50, "nothing has changed");
    let mut all = Records::default();
    all.listing(folder, None, &before);
    let bytes = file(&[all.bytes(), out.bytes()].concat());
    assert_eq!(replay(&bytes).memory.saved.remembered[folder], now);
}

#[test]
fn a_commit_or_an_end_of_what_nobody_knows_is_passed_over() {
    let mut owners = Owners::default();
    let key = owners.born(&mut Dice(3));
    let mut first = Records::default();
    owners.write(key, Reason::Born, &mut first);
    let mut commit = Records::default();
    owners.advance(key, 3);
    owners.write(key, Reason::Evidence, &mut commit);
    let mut out = Records::default();
    out.forget(ContentKey(77));
    out.forget_log(("nobody", path("/x")));
    let mut unknown = content(99, 1 << 20);
    unknown.evidence = Evidence::default();
    assert!(out.commit(&unknown));
    let replayed = replay(&file(out.bytes()));
    assert_eq!((replayed.memory, replayed.wrong), (Memory::default(), None));
    // Of a kind that a later version has added
    let crc = crate::util::crc32::of(b"?what").to_le_bytes();
    let bytes = [out.bytes(), b"\x05?what", &crc].concat();
    let replayed = replay(&file(&bytes));
    assert_eq!((replayed.sound, replayed.wrong), (file(&bytes).len(), None));
    // A record that the reader would refuse is not written: it would hide all that follows
    let impossible = SavedContent {
        numbered: u64::MAX,
        ..unknown
    };
    let before = out.bytes().len();
    out.content(Reason::Born, ("default", path("/a")), &impossible);
    assert_eq!(out.bytes().len(), before);
}

#[test]
fn zeros_at_the_end_are_the_end_and_all_else_is_damage() {
    let (records, _) = history(&mut Dice(5), 30);
    let states = states(&records);
    let sound = file(&records.concat());
    let padded = [&sound[..], &[0; 5_000]].concat();
    let replayed = replay(&padded);
    assert_eq!((replayed.sound, replayed.wrong), (sound.len(), None));
    assert_eq!(replayed.memory, states[records.len()]);
    // Each byte of the last records is noticed, and so is each place where the file ends
    let from = sound.len() - records[records.len() - 3..].concat().len();
    for at in from..sound.len() {
        let cut = replay(&sound[..at]);
        let is_between = cut.sound == at;
        assert_eq!(cut.wrong.is_some(), !is_between, "{at}");
        let mut damaged = padded.clone();
        damaged[at] ^= 0x10;
        let replayed = replay(&damaged);
        assert!(replayed.wrong.is_some() && replayed.sound <= at, "{at}");
        assert!(states.contains(&replayed.memory));
    }
    // Nothing behind damage in the middle counts
    let mut damaged = sound.clone();
    let middle = format::HEADER + records[0].len() + 2;
    damaged[middle] ^= 1;
    assert_eq!(replay(&damaged).memory, states[1]);
}

#[test]
fn a_file_that_is_no_journal_is_not_read() {
    let good = file(b"");
    assert_eq!(read_header(&good), Ok([9; 16]));
    for at in 0..good.len() {
        assert!(read_header(&good[..at]).is_err());
        let mut damaged = good.clone();
        damaged[at] ^= 1;
        let replayed = replay(&damaged);
        assert_eq!(
            (replayed.sound, replayed.wrong.is_some()),
            (0, true),
            "{at}"
        );
    }
    let empty = replay(&[]);
    assert!(empty.sound == 0 && empty.wrong.is_some());
    assert!(replay(&[0; 9_000]).wrong.is_some());
}

#[test]
fn contents_of_checkpoint_files_get_keys_that_differ() {
    let log = |keys: &[Option<u64>]| SavedLog {
        contents: keys
            .iter()
            .map(|key| SavedContent {
                key: key.map(ContentKey),
                ..content(1, 0)
            })
            .collect(),
        ..SavedLog::default()
    };
    let mut saved = crate::tail::Saved::default();
    let max = Some(u64::MAX);
    for (path, keys) in [
        ("/a", [Some(1), None, max]),
        ("/b", [Some(1), max, Some(0)]),
    ] {
        let name = ("default".to_owned(), PathBuf::from(path));
        saved.logs.insert(name, log(&keys));
    }
    saved.watched = Some(vec!["/*".into()]);
    saved.sessions = Some(3);
    let memory = Memory::of(saved);
    let all = memory.saved.logs.values().flat_map(|log| &log.contents);
    let keys: BTreeSet<u64> = all.map(|content| content.key.unwrap().0).collect();
    assert_eq!((keys.len(), keys.contains(&0)), (6, false));
    assert_eq!(replay(&file(memory.records().bytes())).memory, memory);
}

/// Run with `--nocapture` for the figures in docs/reference/positions.md.
#[test]
fn sizes() {
    let log = ("default", path("/var/log/app/access.log"));
    let mut owners = Owners::default();
    let key = owners.born(&mut Dice(1));
    let mut out = Records::default();
    owners.contents.get_mut(&key).unwrap().log = (log.0.to_owned(), log.1.to_owned());
    owners.write(key, Reason::Born, &mut out);
    let born = out.bytes().len();
    owners.advance(key, 50_000);
    out.clear();
    owners.write(key, Reason::Evidence, &mut out);
    let whole = out.bytes().len();
    owners.advance(key, 50);
    out.clear();
    owners.write(key, Reason::Evidence, &mut out);
    let commit = out.bytes().len();
    eprintln!("born {born}, whole {whole}, commit {commit} bytes");
    assert!(born < 120 && whole < 220 && commit <= COMMIT);
}
