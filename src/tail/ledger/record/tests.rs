use super::super::evidence::{line_end, Agreement};
use super::*;
use crate::tail::names::rotated;
use std::collections::BTreeSet;
use std::path::Path;

const PATH: &str = "/srv/app/app.log";
const NAME: &[u8] = b"app.log";

fn text() -> Vec<u8> {
    let lines = (0..400).map(|n| format!("line {n:09} ends so\n"));
    lines.collect::<String>().into_bytes()
}

fn log_of<'a>(saved: &'a Saved, worker: &str, path: &str) -> &'a SavedLog {
    &saved.logs[&(worker.to_owned(), PathBuf::from(path))]
}

fn no_sequence() -> SequenceId {
    panic!("the record has none")
}

fn compare(content: &SavedContent, text: &[u8]) -> Agreement {
    let mut bytes = text;
    content.evidence.compare(&mut bytes).unwrap()
}

/// One of each kind of place and phase.
fn contents() -> Vec<Content> {
    let text = text();
    let at = |name: &[u8], ino| At {
        name: name.into(),
        id: FileId { dev: 66_310, ino },
        birth: std::num::NonZeroI64::new(1_795_386_404_123_456_789).map(Birth),
    };
    let since = Moment(5);
    let places = [
        Place::InArchive(at(b"app.log.3.gz", 3)),
        Place::Nowhere {
            since,
            name: NAME.into(),
        },
        Place::Unlinked(at(NAME, 4)),
        Place::InMemory,
        Place::At(At {
            birth: None,
            ..at(b"app-\xff\"x\".1", u64::MAX)
        }),
        Place::At(at(NAME, 5)),
    ];
    let phases = [Phase::Finished, Phase::Draining, Phase::Shown];
    let mut all = Vec::new();
    for (place, phase) in places
        .iter()
        .flat_map(|place| phases.map(|phase| (place, phase)))
    {
        let n = all.len() as u64 + 1;
        let settled = line_end(&text[..500 * n as usize]) as u64;
        let mut evidence = Evidence::default();
        evidence.advance(0, b"", &text[..settled as usize]);
        all.push(Content {
            key: ContentKey(u64::MAX - n),
            log: LogId(1),
            stamp: Stamp(u32::MAX - n as u32),
            numbers: Numbers {
                sequence: SequenceId([0xA0 + n as u8; 16]),
                base: u64::MAX - 3 * n,
            },
            settled,
            read: settled,
            numbered: settled + n % 3,
            reserved: settled + n % 3,
            evidence,
            length: settled + n,
            place: place.clone(),
            phase,
            trust: Trust::Verified,
            edition: 0,
            edited_at: 0,
            was_vague: false,
            written: None,
        });
    }
    all
}

fn saved_log(contents: &[Content]) -> SavedLog {
    let schemes = ["app.log.1", "app-20261123.log"];
    let schemes = schemes.map(|name| rotated(NAME, name.as_bytes()).unwrap().scheme);
    SavedLog {
        time: 11.25,
        serial: Some(6),
        contents: contents
            .iter()
            .map(|content| SavedContent::of(content, NAME))
            .collect(),
        schemes: schemes.into(),
        attributes: vec![
            ("host".into(), AttrValue::Text("a \"b\" é".into())),
            ("port".into(), AttrValue::Number("601".into())),
        ],
    }
}

fn file(log: &SavedLog) -> Vec<u8> {
    let watched = vec![PathBuf::from("/srv/*.log")];
    let mut text = Vec::new();
    let mut writer = Writer::new(&mut text, 12.5, 7, Some(&watched));
    writer.saved(Path::new(PATH), log);
    writer.saved(Path::new("/empty"), &SavedLog::default());
    writer.of_worker("two", Path::new(PATH), log, true);
    writer.of_worker("two", Path::new("/own"), log, false);
    let names = BTreeSet::from([0, 7, u64::MAX]);
    writer.remembered(
        Path::new("/srv/app"),
        &Remembered::restored(names.clone(), false),
    );
    writer.remembered(
        &crate::tail::glob::path(b"/srv/\xff"),
        &Remembered::restored(names, true),
    );
    writer.export([7; 16]);
    writer.finish().unwrap();
    text
}

#[test]
fn a_content_is_read_back_in_every_place_and_phase() {
    let all = contents();
    let log = saved_log(&all);
    let saved = parse(&file(&log), "default").unwrap();
    assert_eq!(saved.logs.len(), 4);
    assert_eq!(*log_of(&saved, "default", "/empty"), SavedLog::default());
    for (worker, path) in [("default", PATH), ("two", PATH), ("two", "/own")] {
        let mut read = log_of(&saved, worker, path).clone();
        read.contents
            .sort_by_key(|content| std::cmp::Reverse(content.key));
        assert_eq!(read, log);
    }
    for (then, saved) in all.iter().zip(&log.contents) {
        let now = saved.content(ContentKey(1), then.log, NAME, &mut no_sequence);
        let place = match &then.place {
            place @ (Place::InMemory | Place::Nowhere { .. }) => Place::Nowhere {
                since: Moment(0),
                name: place.last_name().into(),
            },
            place => place.clone(),
        };
        assert_eq!((now.place, now.phase), (place, then.phase));
        assert_eq!((now.key, now.stamp), (then.key, then.stamp));
        assert_eq!(
            (now.read, now.settled, now.length),
            (then.settled, then.settled, then.length)
        );
        assert_eq!((now.numbered, now.numbers), (then.numbered, then.numbers));
        assert_eq!(now.trust, Trust::Restored);
        assert_eq!(now.evidence, then.evidence);
    }
}

#[test]
fn the_rest_of_a_file_is_read_back() {
    let saved = parse(&file(&SavedLog::default()), "default").unwrap();
    assert_eq!(
        (saved.time, saved.serial, saved.export),
        (12.5, Some(7), Some(vec![7; 16]))
    );
    assert_eq!(saved.watched, Some(vec![PathBuf::from("/srv/*.log")]));
    let folders: Vec<_> = saved.remembered.iter().collect();
    let [(plain, known), (odd, overflown)] = folders[..] else {
        panic!("{folders:?}")
    };
    assert_eq!(plain, Path::new("/srv/app"));
    assert_eq!(*odd, crate::tail::glob::path(b"/srv/\xff"));
    for names in [known, overflown] {
        assert_eq!(names.names().collect::<Vec<_>>(), [0, 7, u64::MAX]);
    }
    assert!(!known.is_overflown() && overflown.is_overflown());
}

#[test]
fn of_a_damaged_listing_every_file_may_have_been_there() {
    for names in [
        "\"0\"",
        "\"00000000000000000\"",
        "\"x000000000000000\"",
        "7",
    ] {
        let text = format!("{{\"checkpoints\":{{}},\"remembered\":{{\"/a\":{names}}}}}");
        let saved = parse(text.as_bytes(), "").unwrap();
        assert!(saved.remembered[Path::new("/a")].is_overflown(), "{names}");
    }
}

#[test]
fn the_python_agent_finds_its_members_and_no_position_in_an_archive() {
    let all = contents();
    let text = file(&saved_log(&all));
    let text = String::from_utf8(text).unwrap().replace("\\udcff", "?");
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let entry = &json["checkpoints"][PATH];
    let files = entry["pending_files"].as_array().unwrap();
    let plain = all.iter().filter(|content| {
        matches!(content.place, Place::At(_)) && content.phase != Phase::Finished
    });
    assert_eq!(files.len(), plain.clone().count());
    // File offset = position - position_start, in reading order, what the path shows last
    let mut begin = 0;
    let mut plain: Vec<_> = plain.collect();
    plain.sort_by_key(|content| content.phase == Phase::Shown);
    for (file, content) in files.iter().zip(plain) {
        let start = file["position_start"].as_i64().unwrap();
        assert_eq!(begin - start, content.settled as i64);
        let end = file["position_end"].as_i64().unwrap();
        assert_eq!(end - start, content.length as i64);
        assert_eq!(file["last_known_size"], content.length);
        assert_eq!(file["is_log_file"], content.phase == Phase::Shown);
        assert_eq!(file["inode"], content.place.location().unwrap().ino);
        begin = end;
    }
    assert_eq!(entry["position"], 0);
    assert_eq!(entry["sequence_id"], files[0]["sequence_id"]);
    assert_eq!(entry["sequence_number"], files[0]["sequence_number"]);
}

/// Written by the Python agent.
const PYTHONS: &str = r#"{"time":1795386406.0750365,"checkpoints":{"/srv/app/app.log":{"position":0,"pending_files":[{"position_start":-6464,"position_end":0,"last_known_size":6464,"is_log_file":true,"inode":10331409}],"sequence_id":"b00d64aa-464c-4c37-81b8-36ce979a9e33","sequence_number":7464,"time":1795386404.7664752}}}"#;

#[test]
fn a_python_checkpoint_says_inode_and_position() {
    let saved = parse(PYTHONS.as_bytes(), "w").unwrap();
    assert_eq!((&saved.watched, saved.serial), (&None, None));
    let log = log_of(&saved, "w", PATH);
    assert_eq!(log.time, 1_795_386_404.766_475_2);
    let [content] = &log.contents[..] else {
        panic!("{log:?}")
    };
    let id = FileId {
        dev: 0,
        ino: 10_331_409,
    };
    assert_eq!(content.place, SavedPlace::At(SavedFile { id, birth: None }));
    assert_eq!((content.settled, content.length), (6_464, 6_464));
    assert_eq!(
        (content.phase, &content.name, content.key),
        (Phase::Shown, &None, None)
    );
    assert_eq!(compare(content, &text()), Agreement::Unknown);
    let content = content.content(ContentKey(9), LogId(1), NAME, &mut no_sequence);
    assert_eq!((content.key, content.numbers.base), (ContentKey(9), 1_000));
    assert_eq!(content.numbers.at(6_464), 7_464);
    assert_eq!(content.numbers.sequence.0[..4], [0xB0, 0x0D, 0x64, 0xAA]);
    assert_eq!(content.place.last_name(), NAME);
}

#[test]
fn a_python_checkpoint_in_the_middle_of_a_rotation_keeps_both_files() {
    // 100 of 150 bytes of the rotated file are done; the new file has 30
    let text = r#"{"time":1.5,"checkpoints":{"/a":{"position":0,"pending_files":[
            {"position_start":-100,"position_end":50,"last_known_size":150,"is_log_file":false,"inode":7},
            {"position_start":50,"position_end":80,"last_known_size":30,"is_log_file":true,"inode":8}],
            "sequence_id":"b00d64aa-464c-4c37-81b8-36ce979a9e33","sequence_number":1000}}}"#;
    let saved = parse(text.as_bytes(), "").unwrap();
    let log = log_of(&saved, "", "/a");
    assert_eq!(log.time, 1.5, "an entry without time has its file's");
    let [a, b] = &log.contents[..] else {
        panic!("{log:?}")
    };
    assert_eq!((a.settled, a.length, a.numbered), (100, 150, 150));
    assert_eq!(a.sequence.unwrap().1, 1_000);
    assert_eq!(a.phase, Phase::Draining);
    assert_eq!(a.name.as_deref(), Some(&b""[..]), "it is not known");
    assert_eq!((b.settled, b.length, b.sequence), (0, 30, None));
    let fresh = SequenceId([1; 16]);
    let b = b.content(ContentKey(2), LogId(1), b"a", &mut || fresh);
    assert_eq!((b.numbers.sequence, b.numbers.at(0)), (fresh, 0));
}

/// As an older version has written it: a rotated content that was read to its end, one that was not, an absent one,
/// and the path's.
const OLDER: &str = r#"{"time":12.500000,"serial":7,"watched":[],"checkpoints":{"/srv/app/app.log":{"position":0,"pending_files":[{"position_start":-1200,"position_end":300,"last_known_size":1500,"is_log_file":false,"inode":2,"device":3,"committed":1200,"signature":"1024:a19caa2974c427e7","mark":"d68b89119c4a9a66","birth":1795386404.123457,"sequence_id":"b00d64aa-464c-4c37-81b8-36ce979a9e02","sequence_number":1205},{"position_start":-4700,"position_end":400,"last_known_size":5100,"is_log_file":false,"inode":0,"device":0,"committed":5000,"signature":"1024:a19caa2974c427e7","mark":"2dbd19e87e657092","sequence_id":"b00d64aa-464c-4c37-81b8-36ce979a9e03","sequence_number":5005},{"position_start":376,"position_end":4376,"last_known_size":4000,"is_log_file":true,"inode":4,"device":3,"committed":24,"signature":"1024:a19caa2974c427e7","mark":"0065a3227624b225","birth":1795386404.123457,"verified":1795386410.250000,"sequence_id":"b00d64aa-464c-4c37-81b8-36ce979a9e04","sequence_number":29}],"finished_files":[{"position_start":0,"position_end":0,"last_known_size":70,"is_log_file":false,"inode":1,"device":3,"committed":70,"signature":"69:18c5b44faac536ae","mark":"c56cf18e231f2199","birth":1795386404.123457,"sequence_id":"b00d64aa-464c-4c37-81b8-36ce979a9e01","sequence_number":75}],"sequence_id":"b00d64aa-464c-4c37-81b8-36ce979a9e02","sequence_number":1205,"serial":6,"time":11.250000}}}"#;

#[test]
fn what_an_older_version_has_written_is_taken_over() {
    // Inode, position, length
    let then = [
        (1, 70, 70),
        (2, 1_200, 1_500),
        (0, 5_000, 5_100),
        (4, 24, 4_000),
    ];
    let saved = parse(OLDER.as_bytes(), "").unwrap();
    assert_eq!((saved.serial, &saved.watched), (Some(7), &Some(Vec::new())));
    let log = log_of(&saved, "default", PATH);
    assert_eq!(log.contents.len(), 4);
    let text = text();
    let phases = [
        Phase::Finished,
        Phase::Draining,
        Phase::Draining,
        Phase::Shown,
    ];
    for (((ino, settled, length), now), phase) in then.into_iter().zip(&log.contents).zip(phases) {
        assert_eq!((now.settled, now.length), (settled, length));
        assert_eq!((now.phase, now.numbered), (phase, length));
        assert_eq!(now.sequence.map(|(_, number)| number), Some(settled + 5));
        let SavedPlace::At(file) = now.place else {
            assert_eq!((now.place, ino), (SavedPlace::Nowhere, 0));
            continue;
        };
        assert_eq!(file.id, FileId { dev: 3, ino });
        let exact = std::num::NonZeroI64::new(1_795_386_404_123_456_789).map(Birth);
        assert!(file.birth.unwrap().same(exact.unwrap()));
        let later = std::num::NonZeroI64::new(1_795_386_404_123_459_789).map(Birth);
        assert!(!file.birth.unwrap().same(later.unwrap()));
    }
    for content in &log.contents {
        let settled = content.settled as usize;
        assert_eq!(compare(content, &text), Agreement::Whole, "{settled}");
        let begins_alike = [&text[..settled - 10], &b"x".repeat(9_000)].concat();
        let ends_alike = [&b"X"[..], &text[1..]].concat();
        for other in [&begins_alike[..], &ends_alike, &text[..settled - 1], b""] {
            assert_eq!(compare(content, other), Agreement::Not, "{settled}");
        }
    }
}

#[test]
fn what_was_taken_over_once_is_taken_over_again() {
    let saved = parse(OLDER.as_bytes(), "").unwrap();
    let log = log_of(&saved, "default", PATH);
    let again = parse(&file(log), "").unwrap();
    let again = log_of(&again, "default", PATH);
    assert_eq!(again.contents.len(), log.contents.len());
    for content in &again.contents {
        assert!(log.contents.contains(content), "{content:?}");
    }
}

#[test]
fn an_empty_file_of_an_older_version_has_no_evidence() {
    let text = r#"{"time":12.5,"serial":7,"checkpoints":{"/srv/app/app.log":{"position":0,"pending_files":[
        {"position_start":0,"position_end":0,"last_known_size":0,"is_log_file":true,"inode":1,"device":3,
        "committed":0,"signature":"0:cbf29ce484222325","mark":"cbf29ce484222325"}]}}}"#;
    let saved = parse(text.as_bytes(), "").unwrap();
    let content = &log_of(&saved, "default", PATH).contents[0];
    assert!(content.evidence.is_empty());
    assert_eq!(compare(content, &self::text()), Agreement::Unknown);
}

#[test]
fn what_the_python_agent_writes_after_us_is_its_own_form() {
    let text = file(&saved_log(&contents()));
    let text = String::from_utf8(text).unwrap().replace("\\udcff", "?");
    let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
    // It reads its members, and writes no others
    let keep = |value: &mut serde_json::Value, known: &[&str]| {
        let members = value.as_object_mut().unwrap();
        members.retain(|key, _| known.contains(&key.as_str()));
    };
    keep(&mut json, &["time", "checkpoints"]);
    for entry in json["checkpoints"].as_object_mut().unwrap().values_mut() {
        let known = [
            "position",
            "pending_files",
            "sequence_id",
            "sequence_number",
            "time",
        ];
        keep(entry, &known);
        for content in entry["pending_files"].as_array_mut().unwrap() {
            let known = [
                "position_start",
                "position_end",
                "last_known_size",
                "is_log_file",
                "inode",
            ];
            keep(content, &known);
        }
    }
    let saved = parse(json.to_string().as_bytes(), "w").unwrap();
    assert!(saved.watched.is_none() && saved.remembered.is_empty());
    let log = log_of(&saved, "w", PATH);
    assert!(log.schemes.is_empty());
    let [first, .., last] = &log.contents[..] else {
        panic!("{log:?}")
    };
    let all = contents();
    let by_ino = |content: &SavedContent| {
        let SavedPlace::At(file) = content.place else {
            panic!("{content:?}")
        };
        assert_eq!((file.id.dev, file.birth), (0, None));
        assert!(content.evidence.is_empty() && content.key.is_none());
        let same = |c: &&Content| {
            c.place.location().map(|id| id.ino) == Some(file.id.ino) && c.phase == content.phase
        };
        all.iter().find(same).unwrap()
    };
    let then = by_ino(first);
    assert_eq!((first.settled, first.length), (then.settled, then.length));
    assert_eq!(
        first.sequence,
        Some((then.numbers.sequence, then.numbers.at(then.settled)))
    );
    assert_eq!(
        (last.phase, last.length),
        (Phase::Shown, by_ino(last).length)
    );
}

#[test]
fn the_later_write_counts_also_after_the_clock_was_set_back() {
    let of = |serial, time| SavedLog {
        time,
        serial,
        ..SavedLog::default()
    };
    assert!(of(Some(8), 1.0).is_newer(&of(Some(7), 99.0)));
    assert!(!of(Some(7), 99.0).is_newer(&of(Some(8), 1.0)));
    // The Python agent counts nothing
    assert!(of(None, 2.0).is_newer(&of(Some(7), 1.0)));
}

#[test]
fn an_entry_without_sense_does_not_spoil_the_others() {
    let text = r#"{"serial":1,"checkpoints":{
            "/far":{"pending_files":[{"position_start":9223372036854775807,"position_end":-9223372036854775808,"inode":1},
                {"position_start":0,"position_end":0,"inode":2,"committed":18446744073709551615},
                {"position_start":0,"position_end":0},
                {"position_start":0,"position_end":0,"inode":3,"committed":8,"signature":"1:zz","mark":"","birth":1e300},
                {"position_start":0,"position_end":0,"inode":4,"committed":9,"evidence":"2","name":"zz","born":0}]},
            "/null":{"pending_files":null},"/number":5,
            "/good":{"position":0,"pending_files":[],"schemes":["*.N","x","*"]}}}"#;
    let saved = parse(text.as_bytes(), "").unwrap();
    assert_eq!(saved.logs.len(), 2);
    let far = log_of(&saved, "default", "/far");
    let settled: Vec<u64> = far.contents.iter().map(|c| c.settled).collect();
    assert_eq!(settled, [0, 8, 9]);
    assert!(far.contents.iter().all(|c| c.evidence.is_empty()));
    assert_eq!(log_of(&saved, "default", "/good").schemes.len(), 2);
}

#[test]
fn garbage_is_an_error_or_a_record_and_no_accident() {
    let log = saved_log(&contents()[9..]);
    let mut ours = Vec::new();
    let mut writer = Writer::new(&mut ours, 12.5, 7, Some(&[]));
    writer.saved(Path::new(PATH), &log);
    let names = BTreeSet::from([7]);
    let names = Remembered::restored(names, false);
    writer.remembered(Path::new("/srv"), &names);
    writer.finish().unwrap();
    let text = text();
    let read = |damaged: &[u8]| {
        let Ok(saved) = parse(damaged, "") else {
            return false;
        };
        for content in saved.logs.values().flat_map(|log| &log.contents) {
            compare(content, &text);
            let fresh = &mut || SequenceId([0; 16]);
            let mut content = content.content(ContentKey(1), LogId(1), NAME, fresh);
            content.evidence.advance(content.read, b"lead\n", b"page\n");
        }
        true
    };
    for valid in [&ours[..], OLDER.as_bytes(), PYTHONS.as_bytes()] {
        assert!(read(valid));
        for at in 0..valid.len() {
            assert!(!read(&valid[..at]), "cut at {at}");
            let mut damaged = valid.to_vec();
            for flipped in [0x01, 0x10, 0x80] {
                damaged[at] = valid[at] ^ flipped;
                read(&damaged);
            }
        }
    }
    assert!(!read(b"[]") && !read(b"{\"time\":1}") && !read(b"\xff\xfe"));
}

#[test]
fn a_log_with_one_content_takes_at_most_720_bytes() {
    let text = text().repeat(100);
    let mut evidence = Evidence::default();
    for at in (0..text.len()).step_by(24 * 40) {
        let end = (at + 24 * 40).min(text.len());
        evidence.advance(at as u64, &text[..at], &text[at..end]);
    }
    let mut content = contents().pop().unwrap();
    let Place::At(at) = &mut content.place else {
        panic!("{content:?}")
    };
    at.id.ino = 10_331_409;
    content.key = ContentKey(12_345);
    content.evidence = evidence;
    content.numbers.base = 0;
    content.settled = 1_000_000_000;
    content.numbered = 1_000_100_000;
    content.length = 1_000_200_000;
    let mut log = saved_log(&[content]);
    log.schemes.pop();
    log.attributes.clear();
    let (mut empty, mut with_log) = (Vec::new(), Vec::new());
    Writer::new(&mut empty, 12.5, 7, None).finish().unwrap();
    let mut writer = Writer::new(&mut with_log, 12.5, 7, None);
    writer.saved(Path::new("/"), &log);
    writer.finish().unwrap();
    let size = with_log.len() - empty.len();
    // The path's own length comes on top
    assert!(size <= 720, "{size} bytes");
}
