//! Whole bodies as the Python agent sends them, and properties that hold for any body.

use super::*;
use crate::config::AttrValue;
use crate::wire::EnvelopeSpec;

fn text(key: &str, value: &str) -> (String, AttrValue) {
    (key.into(), AttrValue::Text(value.into()))
}

fn envelope(form: Form, repeat: bool, info: &[(String, AttrValue)]) -> Envelope {
    Envelope::new(EnvelopeSpec {
        form,
        token: "0WRITEKEYexample-",
        session: "q1BzZ0V4YW1wbGVTZXNzaW9uSWQ=",
        session_info: Some(info),
        repeat_log_attributes: repeat,
        without_logs: false,
    })
}

fn web01() -> Vec<(String, AttrValue)> {
    vec![text("serverHost", "web-01"), text("tier", "prod")]
}

/// Removes what our default form leaves out: the second `threads`.
fn without_second_threads(golden: &[u8]) -> Vec<u8> {
    let cut = b",\"threads\":[]";
    let at = golden.windows(cut.len()).position(|w| w == cut).unwrap();
    [&golden[..at], &golden[at + cut.len()..]].concat()
}

fn event<'a>(message: &'a [u8], source: u64, id: &'a str, number: u64) -> Event<'a> {
    Event {
        message,
        attrs: None,
        sample_rate: None,
        source,
        sequence_id: id,
        sequence_number: number,
    }
}

#[test]
fn keep_alive_is_the_references() {
    let golden: &[u8] = b"{\"token\":\"0WRITEKEYexample-\",\"session\":\"q1BzZ0V4YW1wbGVTZXNzaW9uSWQ=\",\"threads\":[],\"sessionInfo\":{\"serverHost\":\"web-01\",\"tier\":\"prod\"}, events: [], logs: [], threads: [], client_time: 1700000000 }";
    assert_eq!(golden.len(), 196);
    let mut batch = Batch::new();
    batch.start(&envelope(Form::Scalyr, true, &web01()), 5_900_000);
    assert_eq!(batch.complete(1_700_000_000), golden);
    batch.start(&envelope(Form::Scalyr, false, &web01()), 5_900_000);
    assert_eq!(
        batch.complete(1_700_000_000),
        without_second_threads(golden)
    );
}

const LINES: [(&[u8], u64); 3] = [
    (b"GET / 200\n", 10),
    (b"caf\xc3\xa9 \"ok\" \\ tab\t\r\n", 29),
    (b"nul\0 bad\xff\n", 39),
];

fn three_lines(form: Form, repeat: bool) -> Batch {
    let envelope = envelope(form, repeat, &web01());
    let attrs = [
        text("parser", "accessLog"),
        text("logfile", "/srv/app/access.log"),
    ];
    let mut label = Label::new(&envelope, "log_1".into(), b"/srv/app/access.log", &attrs);
    let mut batch = Batch::new();
    batch.start(&envelope, 5_900_000);
    let mut stamp = Stamp::new(1_700_000_001_000_000_001);
    for (line, number) in LINES {
        let id = "3f2b8c1e-0a4d-4f6b-9c55-7d1e2a90b001";
        let pushed = batch.push(&envelope, &mut label, &stamp, event(line, 7, id, number));
        assert_eq!(pushed, Push::Done);
        stamp.next();
    }
    batch
}

#[test]
fn three_lines_with_repeated_attributes_are_the_references() {
    let golden = b"{\"token\":\"0WRITEKEYexample-\",\"session\":\"q1BzZ0V4YW1wbGVTZXNzaW9uSWQ=\",\"threads\":[],\"sessionInfo\":{\"serverHost\":\"web-01\",\"tier\":\"prod\"}, events: [{thread:\"log_1\", log:\"log_1\", attrs:{\"parser\":\"accessLog\",\"logfile\":\"/srv/app/access.log\",message:`s\x00\x00\x00\x0aGET / 200\x0a},ts:\"1700000001000000001\",si:\"3f2b8c1e-0a4d-4f6b-9c55-7d1e2a90b001\",sn:10},{thread:\"log_1\", log:\"log_1\", attrs:{\"parser\":\"accessLog\",\"logfile\":\"/srv/app/access.log\",message:`s\x00\x00\x00\x13caf\xc3\xa9 \"ok\" \\ tab\x09\x0d\x0a},sd:19,ts:\"1700000001000000002\"},{thread:\"log_1\", log:\"log_1\", attrs:{\"parser\":\"accessLog\",\"logfile\":\"/srv/app/access.log\",message:`s\x00\x00\x00\x0anul\x00 bad\xff\x0a},sd:10,ts:\"1700000001000000003\"}], logs: [{\"id\":\"log_1\",\"attrs\":{\"parser\":\"accessLog\",\"logfile\":\"/srv/app/access.log\"}}], threads: [{\"id\":\"log_1\",\"name\":\"Lines for file /srv/app/access.log\"}], client_time: 1700000002 }";
    assert_eq!(golden.len(), 825);
    let mut batch = three_lines(Form::Scalyr, true);
    assert_eq!(batch.complete(1_700_000_002), golden);

    // Our default differs in just two things: attributes once, threads once.
    let repeated = b"\"parser\":\"accessLog\",\"logfile\":\"/srv/app/access.log\",message";
    let mut lean = without_second_threads(golden);
    while let Some(at) = lean.windows(repeated.len()).position(|w| w == repeated) {
        lean.drain(at..at + repeated.len() - "message".len());
    }
    assert_eq!(
        three_lines(Form::Scalyr, false).complete(1_700_000_002),
        lean
    );
}

#[test]
fn strict_json_is_json_and_says_the_same() {
    let mut batch = three_lines(Form::Json, false);
    let body: serde_json::Value = serde_json::from_slice(batch.complete(1_700_000_002)).unwrap();
    assert_eq!(body["events"][0]["attrs"]["message"], "GET / 200\n");
    assert_eq!(body["events"][0]["sn"], 10);
    assert_eq!(body["events"][1]["sd"], 19);
    assert_eq!(body["events"][2]["attrs"]["message"], "nul\0 bad\u{FFFD}\n");
    assert_eq!(body["events"][2]["ts"], "1700000001000000003");
    assert_eq!(body["logs"][0]["attrs"]["parser"], "accessLog");
    assert_eq!(
        body["threads"][0]["name"],
        "Lines for file /srv/app/access.log"
    );
    assert_eq!(body["client_time"], 1_700_000_002);
}

#[test]
fn two_logs_own_attributes_sampling_and_a_switch_of_sequence_are_the_references() {
    let golden = b"{\"token\":\"0WRITEKEYexample-\",\"session\":\"q1BzZ0V4YW1wbGVTZXNzaW9uSWQ=\",\"threads\":[],\"sessionInfo\":{\"serverHost\":\"node-7\",\"cluster\":\"eu \xc3\xbc\"}, events: [{thread:\"log_1\", log:\"log_1\", attrs:{\"stream\":\"stdout\",\"raw_timestamp\":\"2023-11-14T22:13:20.5Z\",message:`s\x00\x00\x00\x08started\x0a},ts:\"1700000000500000000\",si:\"11111111-2222-4333-8444-555555555555\",sn:5081},{thread:\"log_1\", log:\"log_1\", attrs:{\"stream\":\"stderr\",\"team\":\"core\",message:`s\x00\x00\x00\x05oops\x0a},sd:39,ts:\"1700000003000000000\"},{thread:\"log_1\", log:\"log_1\", attrs:{message:`s\x00\x00\x00\x05same\x0a},sd:30,ts:\"1700000003000000001\"},{thread:\"log_2\", log:\"log_2\", attrs:{\"parser\":\"app\",\"port\":8080,\"logfile\":\"/srv/app/b.log\",message:`s\x00\x00\x00\x0dsampled line\x0a,sample_rate:0.25},ts:\"1700000003000000002\",si:\"aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee\",sn:900},{thread:\"log_2\", log:\"log_2\", attrs:{\"parser\":\"app\",\"port\":8080,\"logfile\":\"/srv/app/b.log\",message:`s\x00\x00\x00\x06plain\x0a},sd:6,ts:\"1700000003000000003\"},{thread:\"log_2\", log:\"log_2\", attrs:{\"parser\":\"app\",\"port\":8080,\"logfile\":\"/srv/app/b.log\",message:`s\x00\x00\x00\x06again\x0a,sample_rate:0.25},ts:\"1700000003000000004\",sd:6}], logs: [{\"id\":\"log_1\",\"attrs\":{\"parser\":\"dockerLog\",\"logfile\":\"/srv/pods/a.json\",\"team\":\"core\"}},{\"id\":\"log_2\",\"attrs\":{\"parser\":\"app\",\"port\":8080,\"logfile\":\"/srv/app/b.log\"}}], threads: [{\"id\":\"log_1\",\"name\":\"Lines for file /srv/pods/a.json\"},{\"id\":\"log_2\",\"name\":\"Lines for file /srv/app/b.log\"}], client_time: 1700000003 }";
    assert_eq!(golden.len(), 1400);
    let info = [text("serverHost", "node-7"), text("cluster", "eu ü")];
    let envelope = envelope(Form::Scalyr, true, &info);
    let one = [
        text("parser", "dockerLog"),
        text("logfile", "/srv/pods/a.json"),
        text("team", "core"),
    ];
    let two = [
        text("parser", "app"),
        ("port".to_owned(), AttrValue::Number("8080".into())),
        text("logfile", "/srv/app/b.log"),
    ];
    let mut one = Label::new(&envelope, "log_1".into(), b"/srv/pods/a.json", &one);
    let mut two = Label::new(&envelope, "log_2".into(), b"/srv/app/b.log", &two);
    let id1 = "11111111-2222-4333-8444-555555555555";
    let id2 = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee";
    let mut batch = Batch::new();
    batch.start(&envelope, 5_900_000);
    let mut push = |label: &mut Label, ts, e: Event| {
        assert_eq!(batch.push(&envelope, label, &Stamp::new(ts), e), Push::Done);
    };
    let own: &[u8] = b"\"stream\":\"stdout\",\"raw_timestamp\":\"2023-11-14T22:13:20.5Z\"";
    push(
        &mut one,
        1_700_000_000_500_000_000,
        Event {
            attrs: Some(own),
            ..event(b"started\n", 1, id1, 5081)
        },
    );
    let own: &[u8] = b"\"stream\":\"stderr\",\"team\":\"core\"";
    push(
        &mut one,
        1_700_000_003_000_000_000,
        Event {
            attrs: Some(own),
            ..event(b"oops\n", 1, id1, 5120)
        },
    );
    push(
        &mut one,
        1_700_000_003_000_000_001,
        Event {
            attrs: Some(b""),
            ..event(b"same\n", 1, id1, 5150)
        },
    );
    push(
        &mut two,
        1_700_000_003_000_000_002,
        Event {
            sample_rate: Some(0.25),
            ..event(b"sampled line\n", 2, id2, 900)
        },
    );
    push(
        &mut two,
        1_700_000_003_000_000_003,
        event(b"plain\n", 2, id2, 906),
    );
    push(
        &mut two,
        1_700_000_003_000_000_004,
        Event {
            sample_rate: Some(0.25),
            ..event(b"again\n", 2, id2, 912)
        },
    );
    assert_eq!(batch.complete(1_700_000_003), golden);
    // A retry differs in the time alone.
    let again = batch.complete(1_700_000_033).to_vec();
    let start = golden.len() - "1700000003 }".len();
    assert_eq!(&again[..start], &golden[..start]);
    assert_eq!(&again[start..], b"1700000033 }");
}

#[test]
fn words_of_the_grammar_in_a_path_do_not_break_the_body() {
    // The Python agent makes the end of a body by replacing such words in it
    let envelope = envelope(Form::Json, false, &web01());
    let path = "/var/log/TIMESTAMP/THREADS/LOGS \"quoted\" \u{e9}.log";
    let mut label = Label::new(
        &envelope,
        "log_1".into(),
        path.as_bytes(),
        &[text("logfile", path)],
    );
    let mut batch = Batch::new();
    batch.start(&envelope, 10_000);
    batch.push(
        &envelope,
        &mut label,
        &Stamp::new(1),
        event(b"x\n", 1, "id", 2),
    );
    let body: serde_json::Value = serde_json::from_slice(batch.complete(1)).unwrap();
    assert_eq!(body["logs"][0]["attrs"]["logfile"], path);
    assert_eq!(body["threads"][0]["name"], format!("Lines for file {path}"));
}

#[test]
fn no_body_exceeds_its_limit_in_bytes() {
    // Names with characters of several bytes: the limit is in bytes
    let envelope = envelope(Form::Scalyr, false, &web01());
    let path = "/é".repeat(40);
    for limit in 600..900 {
        let mut label = Label::new(
            &envelope,
            "log_1".into(),
            path.as_bytes(),
            &[text("logfile", &path)],
        );
        let mut batch = Batch::new();
        batch.start(&envelope, limit);
        let mut number = 0;
        let last = loop {
            number += 6;
            match batch.push(
                &envelope,
                &mut label,
                &Stamp::new(1),
                event(b"hello\n", 1, "id", number),
            ) {
                Push::Done => {}
                other => break other,
            }
        };
        assert_eq!(last == Push::NeverFits, batch.is_empty());
        assert!(batch.complete(1_700_000_000).len() <= limit);
    }
}

#[test]
fn what_room_for_message_promises_fits() {
    for form in [Form::Scalyr, Form::Json] {
        let envelope = envelope(form, true, &web01());
        let mut label = Label::new(&envelope, "log_1".into(), b"/a", &[text("logfile", "/a")]);
        let room = Batch::room_for_message(&envelope, &label, 2_000, 0);
        let message = vec![1u8; room];
        let mut batch = Batch::new();
        batch.start(&envelope, 2_000);
        let id = "3f2b8c1e-0a4d-4f6b-9c55-7d1e2a90b001";
        let pushed = batch.push(
            &envelope,
            &mut label,
            &Stamp::new(u64::MAX),
            event(&message, 1, id, u64::MAX),
        );
        assert_eq!(pushed, Push::Done);
        assert!(batch.complete(u64::MAX).len() <= 2_000);
    }
}

/// splitmix64: the same bytes for the same seed.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[test]
fn whatever_bytes_a_line_has_the_server_reads_them_back() {
    let seed = crate::util::time::now_nanos();
    println!("seed {seed}");
    let mut state = seed;
    for form in [Form::Scalyr, Form::Json] {
        for _ in 0..300 {
            let lines: Vec<Vec<u8>> = (0..random(&mut state) % 6 + 1)
                .map(|_| {
                    let len = random(&mut state) % 60;
                    (0..len)
                        .map(|_| match random(&mut state) % 3 {
                            0 => b"\"\\`s\x00\n\r\t{}[],:'/"[random(&mut state) as usize % 16],
                            1 => random(&mut state) as u8,
                            _ => b'a' + (random(&mut state) % 26) as u8,
                        })
                        .collect()
                })
                .collect();
            let envelope = envelope(form, false, &web01());
            let mut label = Label::new(&envelope, "log_1".into(), b"/a", &[]);
            let mut batch = Batch::new();
            batch.start(&envelope, 1_000_000);
            let mut number = 0;
            for line in &lines {
                number += line.len() as u64 + 1;
                let event = event(line, 1, "id", number);
                assert_eq!(
                    batch.push(&envelope, &mut label, &Stamp::new(1), event),
                    Push::Done
                );
            }
            let read = receiver::messages(batch.complete(1)).unwrap();
            let lossy = |l: &Vec<u8>| String::from_utf8_lossy(l).into_owned().into_bytes();
            let expected: Vec<Vec<u8>> = match form {
                Form::Scalyr => lines,
                Form::Json => lines.iter().map(lossy).collect(),
            };
            assert_eq!(read, expected, "seed {seed}");
        }
    }
}

/// Events of every shape: two logs, two sequences, own attributes, sampled ones, messages that look
/// like the grammar around them.
fn many_shapes(form: Form, without_logs: bool) -> Batch {
    let envelope = Envelope::new(EnvelopeSpec {
        form,
        token: "key",
        session: "s",
        session_info: Some(&web01()),
        repeat_log_attributes: false,
        without_logs,
    });
    let mut labels = [1, 2].map(|n| {
        let attributes = [text("logfile", &format!("/x/\"{n}\"`s}}].log"))];
        Label::new(&envelope, format!("log_{n}"), b"/x", &attributes)
    });
    let mut batch = Batch::new();
    batch.start(&envelope, 5_900_000);
    let mut stamp = Stamp::new(1_700_000_001_000_000_001);
    let messages: [&[u8]; 7] = [
        b"plain\n",
        b"",
        b"\"},ts:\"1\",si:\"x\",sn:5}\n",
        b"`s\0\0\0\xFF{[\\\n",
        b"\\\"\\\\\"\n",
        b"{\"message\":\"inner\",\"sd\":7}\n",
        b"\x01\xC3\xA9\x7F\n",
    ];
    for n in 0..60_u64 {
        let source = n / 7 % 2 + 1;
        let event = Event {
            message: messages[n as usize % 7],
            attrs: (n % 3 == 0).then_some(b"\"stream\":\"std,out}\",\"n\":{\"a\":[1,2]}"),
            sample_rate: (n % 5 == 0).then_some(0.25),
            source,
            sequence_id: ["aaaa", "bbbb"][source as usize - 1],
            sequence_number: 1_000 * source + n,
        };
        let label = &mut labels[n as usize % 2];
        assert_eq!(batch.push(&envelope, label, &stamp, event), Push::Done);
        stamp.next();
    }
    batch
}

/// Sequence id, number and message length of each event.
fn told(body: &[u8], head_len: usize, form: Form) -> Vec<(Vec<u8>, u64, u64)> {
    let (mut id, mut number) = (Vec::new(), 0);
    let mut all = Vec::new();
    for found in split::events(body, head_len, body.len(), form) {
        if let Some(at) = found.sequence {
            id = body[at].to_vec();
        }
        number = match found.number {
            Number::Is(n) => n,
            Number::Adds(n) => number + n,
        };
        all.push((id.clone(), number, found.message_bytes));
    }
    all
}

#[test]
fn parts_of_a_request_have_all_its_events_with_their_numbers() {
    for (form, without_logs) in [
        (Form::Scalyr, false),
        (Form::Json, false),
        (Form::Scalyr, true),
        (Form::Json, true),
    ] {
        let mut batch = many_shapes(form, without_logs);
        let whole = batch.complete(7).to_vec();
        let head = batch.head_len;
        let expected = told(&whole, head, form);
        assert_eq!(expected.len(), 60);
        assert!(expected.iter().enumerate().all(|(n, (id, number, _))| {
            let source = n as u64 / 7 % 2 + 1;
            *number == 1_000 * source + n as u64 && id == [b"aaaa", b"bbbb"][source as usize - 1]
        }));
        let mut part = Vec::new();
        assert!(batch.part(0..60, 7, &mut part).is_some());
        assert_eq!(part, whole);
        for size in [1, 2, 7, 13, 59] {
            let mut got = Vec::new();
            for begin in (0..60).step_by(size) {
                let events = begin..(begin + size as u64).min(60);
                let bytes = batch.part(events.clone(), 7, &mut part).unwrap();
                let of_part = told(&part, head, form);
                assert_eq!(of_part.len() as u64, events.end - events.start);
                assert_eq!(bytes, of_part.iter().map(|(.., bytes)| bytes).sum::<u64>());
                got.extend(of_part);
                if form == Form::Json {
                    serde_json::from_slice::<serde_json::Value>(&part).unwrap();
                }
            }
            assert_eq!(got, expected, "{form:?}, {size} a part");
        }
        assert_eq!(batch.part(30..61, 7, &mut part), None);
    }
}

#[test]
fn refused_events_are_counted_in_the_spans_that_they_are_of() {
    let mut batch = many_shapes(Form::Scalyr, false);
    let span = |source, lines, message_bytes| Span {
        source,
        from: 0,
        to: 0,
        lines,
        message_bytes,
        refused_lines: 0,
        refused_bytes: 0,
        edition: 0,
        counts: Default::default(),
    };
    let body = batch.complete(7).to_vec();
    let sizes: Vec<u64> = told(&body, batch.head_len, Form::Scalyr)
        .iter()
        .map(|(.., bytes)| *bytes)
        .collect();
    let sum = |range: std::ops::Range<usize>| sizes[range].iter().sum::<u64>();
    batch.spans = vec![
        span(1, 20, sum(0..20)),
        span(2, 0, 0),
        span(3, 40, sum(20..60)),
    ];
    batch.refuse(10..30);
    let refused: Vec<_> = batch
        .spans
        .iter()
        .map(|s| (s.refused_lines, s.refused_bytes))
        .collect();
    assert_eq!(refused, [(10, sum(10..20)), (0, 0), (10, sum(20..30))]);
    batch.refuse(30..60);
    assert_eq!(batch.spans[2].refused_lines, 40);
    assert_eq!(batch.spans[2].refused_bytes, sum(20..60));
}
