use super::super::export::Parser;
use super::*;
use common::testing::Scratch;
use serde_json::json;
use std::fs::File;

fn rule(unit: Option<&str>, globs: &[(&str, &str)]) -> JournaldRule {
    JournaldRule {
        unit: unit.map(str::to_owned),
        globs: globs
            .iter()
            .map(|&(name, glob)| (name.to_owned(), glob.to_owned()))
            .collect(),
        attributes: vec![
            ("service".to_owned(), json!("x")),
            ("parser".to_owned(), json!("xParser")),
        ],
        raw_details: true,
        detect_escaped: false,
    }
}

fn place(dir: &Path, rules: Vec<JournaldRule>) -> Place {
    let mut place = Place::new("/", dir);
    place.journald_rules = rules.into();
    place
}

const ROTATION: Rotation = Rotation {
    max_bytes: 0,
    backups: 2,
};

fn made(place: &Place) -> (Outputs, Fields) {
    let mut fields = Fields::new(None, "").unwrap();
    let outputs = Outputs::new(place, &mut fields, ROTATION).unwrap();
    (outputs, fields)
}

fn add(outputs: &mut Outputs, fields: &Fields, entry: &str) {
    let mut parser = Parser::new(fields.wanted().to_vec());
    let each = |entry: &Entry| outputs.add(entry, fields, 0);
    parser
        .feed(format!("{entry}\n\n").as_bytes(), each)
        .unwrap();
}

/// The file's name and its messages.
fn contents(dir: &Path) -> Vec<String> {
    let mut found: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            let words = text.lines().map(|line| line.split(' ').nth(4).unwrap());
            let name = path.file_name().unwrap().to_str().unwrap();
            format!("{name}: {}", words.collect::<Vec<_>>().join(" "))
        })
        .collect();
    found.sort();
    found
}

#[test]
fn the_first_rule_that_matches_takes_an_entry_and_its_file_keeps_its_name() {
    let scratch = Scratch::new("journal-rules");
    let rules = vec![
        rule(Some("ssh"), &[]),
        rule(None, &[("unit", "cron*"), ("_UID", "0")]),
        rule(None, &[("_SYSTEMD_UNIT", "cron*")]),
        rule(Some("never"), &[]),
    ];
    let place = place(&scratch.path(""), rules);
    let (mut outputs, fields) = made(&place);
    for (unit, more, message) in [
        ("ssh.service", "", "a"),
        ("openssh.service", "", "b"),
        ("cron.service", "_UID=0\n", "c"),
        ("cron.service", "_UID=5\n", "d"),
        ("cron.service", "", "e"),
        ("ssh@1.service", "_UID=0\n", "f"),
    ] {
        let entry = format!("_SYSTEMD_UNIT={unit}\n{more}MESSAGE={message}");
        add(&mut outputs, &fields, &entry);
    }
    add(&mut outputs, &fields, "_PID=5");
    outputs.flush(&place.followed).unwrap();
    let name = |rule: usize| file_name(&key(&place.journald_rules[rule]).unwrap());
    let mut expected = [
        format!("{}: a f", name(0)),
        format!("{}: c", name(1)),
        format!("{}: d e", name(2)),
        // The last has no message and is quoted there.
        "journald_monitor.log: \"b\" \"\"".to_owned(),
    ];
    expected.sort();
    assert_eq!(contents(&scratch.path("")), expected);
    // Names are a promise: files of earlier starts are found again.
    assert_eq!(name(0), "journald_8ee645b76a121ebb.log");
    // The copier was told of those that were used, and only of those.
    let mut logs = place.followed.all();
    logs.sort_by_key(|log| log.like.map(|like| format!("{like:?}")));
    let likes: Vec<_> = logs.iter().map(|log| log.like.unwrap()).collect();
    assert_eq!(likes, [0, 1, 2].map(Like::Journald));
    assert_eq!(logs[0].parser, "xParser");
    assert_eq!(logs[0].attributes, [("service".to_owned(), json!("x"))]);
    assert_eq!(logs[0].path, scratch.path(&name(0)));
    drop(outputs);
    assert!(place.followed.all().is_empty());
}

#[test]
fn a_rule_for_everything_writes_to_the_common_file() {
    let scratch = Scratch::new("journal-any");
    for any in [rule(Some(".*"), &[]), rule(None, &[])] {
        let rules = vec![rule(Some("ssh"), &[]), any];
        let place = place(&scratch.path(""), rules);
        let log = common_log(&place);
        assert_eq!(log.like, Some(Like::Journald(1)));
        assert_eq!(log.parser, "xParser");
        let (mut outputs, fields) = made(&place);
        add(&mut outputs, &fields, "MESSAGE=raw");
        outputs.flush(&place.followed).unwrap();
        assert_eq!(contents(&scratch.path("")), ["journald_monitor.log: raw"]);
        fs::remove_file(scratch.path(COMMON)).unwrap();
    }
    let log = common_log(&place(&scratch.path(""), Vec::new()));
    assert_eq!((log.like, log.parser.as_str()), (None, "journald"));
}

#[test]
fn wrong_rules_are_refused_with_their_place() {
    let dir = std::env::temp_dir();
    for (rule, part) in [
        (rule(Some("("), &[]), "journald_unit \"(\""),
        (rule(Some("a"), &[("unit", "b")]), "both"),
    ] {
        let place = place(&dir, vec![rule]);
        let mut fields = Fields::new(None, "").unwrap();
        let error = Outputs::new(&place, &mut fields, ROTATION).unwrap_err();
        assert!(error.starts_with("journald_logs: "), "{error}");
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn two_instances_share_a_file_and_it_is_followed_until_the_last_one_ends() {
    let scratch = Scratch::new("journal-two");
    let place = place(&scratch.path(""), vec![rule(Some("ssh"), &[])]);
    let (mut a, fields) = made(&place);
    let (mut b, _) = made(&place);
    for message in 1..=3 {
        let outputs = if message == 2 { &mut b } else { &mut a };
        let entry = format!("_SYSTEMD_UNIT=ssh\nMESSAGE={message}");
        add(outputs, &fields, &entry);
        outputs.flush(&place.followed).unwrap();
    }
    assert!(contents(&scratch.path(""))[0].ends_with(".log: 1 2 3"));
    drop(a);
    assert_eq!(place.followed.all().len(), 1);
    drop(b);
    assert_eq!(place.followed.all().len(), 0);
    // The rest of the file is followed again at the next start, before any entry comes.
    let (mut next, _) = made(&place);
    next.follow_known(&place.followed);
    assert_eq!(place.followed.all().len(), 1);
}

#[test]
fn lines_that_cannot_be_written_are_kept_and_written_once() {
    let scratch = Scratch::new("journal-full");
    let place = place(&scratch.path(""), Vec::new());
    let (mut outputs, fields) = made(&place);
    let blocked = scratch.path(COMMON);
    fs::create_dir(&blocked).unwrap();
    for round in 0..3 {
        add(&mut outputs, &fields, &format!("MESSAGE={round}"));
        let error = outputs.flush(&place.followed).unwrap_err();
        assert!(
            error.contains("journald_monitor.log cannot be written: "),
            "{error}"
        );
    }
    let kept = outputs.pending();
    fs::remove_dir(&blocked).unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    // The file is tried again after a second.
    while outputs.flush(&place.followed).is_err() {
        assert!(std::time::Instant::now() < deadline);
        assert_eq!(outputs.pending(), kept);
        std::thread::yield_now();
    }
    let expected = "journald_monitor.log: \"0\" \"1\" \"2\"";
    assert_eq!(contents(&scratch.path("")), [expected]);
}

#[test]
fn what_was_written_of_a_block_is_known_by_the_lines_that_are_lost() {
    let text = b"a\nbb\nccc\n";
    assert_eq!(written_before(text, 0), text.len());
    assert_eq!(written_before(text, 1), 5);
    assert_eq!(written_before(text, 2), 2);
    assert_eq!(written_before(text, 3), 0);
    assert_eq!(written_before(text, u64::MAX), 0);
}

#[test]
fn only_old_files_of_the_python_agent_are_removed() {
    let scratch = Scratch::new("journal-orphans");
    let dir = scratch.path("");
    let place = place(&dir, vec![rule(Some("ssh"), &[])]);
    let own = file_name(&key(&place.journald_rules[0]).unwrap());
    let (outputs, _) = made(&place);
    let orphans = [
        "journald_-8327109938749837.log",
        "journald_8543523187083110335.log",
        "journald_5.log.1",
    ];
    let others = [
        own.as_str(),
        "journald_monitor.log",
        "journald_monitor.log.1",
        "journald_99999999999999999999.log",
        "journald_5.log.old",
        "journald_5.txt",
        "journald_.log",
        "agent.log",
    ];
    for name in orphans.iter().chain(&others) {
        fs::write(scratch.path(name), "12345").unwrap();
    }
    let now = SystemTime::now();
    assert_eq!(outputs.remove_orphans(&dir, now), (0, 0));
    let long_ago = now - LEFT_ALONE - Duration::from_secs(60);
    for name in orphans.iter().chain(&others) {
        let file = File::options().append(true).open(scratch.path(name));
        file.unwrap().set_modified(long_ago).unwrap();
    }
    assert_eq!(outputs.remove_orphans(&dir, now), (15, 3));
    for name in others {
        assert!(scratch.path(name).exists(), "{name}");
    }
}
