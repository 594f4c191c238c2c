//! Whole bodies as the Python agent sends them, and properties that hold for any bytes.

use super::*;
use crate::relaxed::Malformed;
use serde_json::json;

const KEEP_ALIVE: &[u8] = b"{\"token\":\"0WRITEKEYexample-\",\"session\":\"q1BzZ0V4YW1wbGVTZXNzaW9uSWQ=\",\"threads\":[],\"sessionInfo\":{\"serverHost\":\"web-01\",\"tier\":\"prod\"}, events: [], logs: [], threads: [], client_time: 1700000000 }";

const THREE_LINES: &[u8] = b"{\"token\":\"0WRITEKEYexample-\",\"session\":\"q1BzZ0V4YW1wbGVTZXNzaW9uSWQ=\",\"threads\":[],\"sessionInfo\":{\"serverHost\":\"web-01\",\"tier\":\"prod\"}, events: [{thread:\"log_1\", log:\"log_1\", attrs:{\"parser\":\"accessLog\",\"logfile\":\"/srv/app/access.log\",message:`s\x00\x00\x00\x0aGET / 200\x0a},ts:\"1700000001000000001\",si:\"3f2b8c1e-0a4d-4f6b-9c55-7d1e2a90b001\",sn:10},{thread:\"log_1\", log:\"log_1\", attrs:{\"parser\":\"accessLog\",\"logfile\":\"/srv/app/access.log\",message:`s\x00\x00\x00\x13caf\xc3\xa9 \"ok\" \\ tab\x09\x0d\x0a},sd:19,ts:\"1700000001000000002\"},{thread:\"log_1\", log:\"log_1\", attrs:{\"parser\":\"accessLog\",\"logfile\":\"/srv/app/access.log\",message:`s\x00\x00\x00\x0anul\x00 bad\xff\x0a},sd:10,ts:\"1700000001000000003\"}], logs: [{\"id\":\"log_1\",\"attrs\":{\"parser\":\"accessLog\",\"logfile\":\"/srv/app/access.log\"}}], threads: [{\"id\":\"log_1\",\"name\":\"Lines for file /srv/app/access.log\"}], client_time: 1700000002 }";

const TWO_LOGS: &[u8] = b"{\"token\":\"0WRITEKEYexample-\",\"session\":\"q1BzZ0V4YW1wbGVTZXNzaW9uSWQ=\",\"threads\":[],\"sessionInfo\":{\"serverHost\":\"node-7\",\"cluster\":\"eu \xc3\xbc\"}, events: [{thread:\"log_1\", log:\"log_1\", attrs:{\"stream\":\"stdout\",\"raw_timestamp\":\"2023-11-14T22:13:20.5Z\",message:`s\x00\x00\x00\x08started\x0a},ts:\"1700000000500000000\",si:\"11111111-2222-4333-8444-555555555555\",sn:5081},{thread:\"log_1\", log:\"log_1\", attrs:{\"stream\":\"stderr\",\"team\":\"core\",message:`s\x00\x00\x00\x05oops\x0a},sd:39,ts:\"1700000003000000000\"},{thread:\"log_1\", log:\"log_1\", attrs:{message:`s\x00\x00\x00\x05same\x0a},sd:30,ts:\"1700000003000000001\"},{thread:\"log_2\", log:\"log_2\", attrs:{\"parser\":\"app\",\"port\":8080,\"logfile\":\"/srv/app/b.log\",message:`s\x00\x00\x00\x0dsampled line\x0a,sample_rate:0.25},ts:\"1700000003000000002\",si:\"aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee\",sn:900},{thread:\"log_2\", log:\"log_2\", attrs:{\"parser\":\"app\",\"port\":8080,\"logfile\":\"/srv/app/b.log\",message:`s\x00\x00\x00\x06plain\x0a},sd:6,ts:\"1700000003000000003\"},{thread:\"log_2\", log:\"log_2\", attrs:{\"parser\":\"app\",\"port\":8080,\"logfile\":\"/srv/app/b.log\",message:`s\x00\x00\x00\x06again\x0a,sample_rate:0.25},ts:\"1700000003000000004\",sd:6}], logs: [{\"id\":\"log_1\",\"attrs\":{\"parser\":\"dockerLog\",\"logfile\":\"/srv/pods/a.json\",\"team\":\"core\"}},{\"id\":\"log_2\",\"attrs\":{\"parser\":\"app\",\"port\":8080,\"logfile\":\"/srv/app/b.log\"}}], threads: [{\"id\":\"log_1\",\"name\":\"Lines for file /srv/pods/a.json\"},{\"id\":\"log_2\",\"name\":\"Lines for file /srv/app/b.log\"}], client_time: 1700000003 }";

fn events<'a, 'b>(body: &'b Body<'a>) -> &'b [RawEvent<'a>] {
    body.events.as_deref().unwrap()
}

fn name<'a>(body: &'a Body, index: NameIndex) -> &'a str {
    &body.names[index as usize]
}

fn own_attrs(event: &RawEvent) -> Value {
    let mut map = Map::new();
    merge_attrs(event.attrs, &mut map);
    Value::Object(map)
}

#[test]
fn the_keep_alive_is_an_empty_request() {
    assert_eq!(KEEP_ALIVE.len(), 196);
    let body = parse(KEEP_ALIVE).unwrap();
    assert_eq!(body.token.as_deref(), Some("0WRITEKEYexample-"));
    assert_eq!(
        body.session.as_deref(),
        Some("q1BzZ0V4YW1wbGVTZXNzaW9uSWQ=")
    );
    let info = Value::Object(body.session_info.clone().unwrap());
    assert_eq!(info, json!({"serverHost": "web-01", "tier": "prod"}));
    assert_eq!(body.client_time, Some(1_700_000_000));
    assert!(events(&body).is_empty());
    assert!(!body.strict);
    assert!(body.problems.is_empty());
}

#[test]
fn every_byte_of_the_messages_arrives() {
    assert_eq!(THREE_LINES.len(), 825);
    let body = parse(THREE_LINES).unwrap();
    let lines: Vec<&[u8]> = events(&body).iter().map(|e| e.message.as_ref()).collect();
    let expected: [&[u8]; 3] = [
        b"GET / 200\n",
        b"caf\xc3\xa9 \"ok\" \\ tab\t\r\n",
        b"nul\0 bad\xff\n",
    ];
    assert_eq!(lines, expected);
    let numbers: Vec<_> = events(&body).iter().map(|e| e.sn.unwrap()).collect();
    assert_eq!(numbers, [10, 29, 39]);
    for (event, ts) in events(&body).iter().zip(1_700_000_001_000_000_001u64..) {
        assert_eq!(event.ts, Some(ts));
        assert_eq!(
            name(&body, event.si),
            "3f2b8c1e-0a4d-4f6b-9c55-7d1e2a90b001"
        );
        assert_eq!(
            own_attrs(event),
            json!({"parser": "accessLog", "logfile": "/srv/app/access.log"})
        );
        let thread = &body.threads[&event.thread];
        assert_eq!(thread, "Lines for file /srv/app/access.log");
    }
    assert!(body.problems.is_empty(), "{:?}", body.problems);
}

#[test]
fn attributes_samples_and_sequence_switches_are_read() {
    assert_eq!(TWO_LOGS.len(), 1400);
    let body = parse(TWO_LOGS).unwrap();
    let events = events(&body);
    let numbers: Vec<_> = events.iter().map(|e| e.sn.unwrap()).collect();
    assert_eq!(numbers, [5081, 5120, 5150, 900, 906, 912]);
    let rates: Vec<_> = events.iter().map(|e| e.sample_rate).collect();
    assert_eq!(rates, [None, None, None, Some(0.25), None, Some(0.25)]);
    assert_eq!(
        own_attrs(&events[0]),
        json!({"stream": "stdout", "raw_timestamp": "2023-11-14T22:13:20.5Z"})
    );
    assert_eq!(own_attrs(&events[2]), json!({}));
    assert_eq!(
        own_attrs(&events[5]),
        json!({"parser": "app", "port": 8080, "logfile": "/srv/app/b.log"})
    );
    assert_eq!(body.logs[&events[1].log]["team"], "core");
    assert_eq!(
        body.threads[&events[4].thread],
        "Lines for file /srv/app/b.log"
    );
    assert!(body.problems.is_empty(), "{:?}", body.problems);
}

#[test]
fn strict_json_says_the_same() {
    let text = json!({
        "token": "t", "session": "s", "client_time": 5,
        "events": [
            {"thread": "log_1", "log": "log_1",
             "attrs": {"message": "GET \u{1F600}\t\u{0}/ 200\n", "b": [1, {"c": null}], "sample_rate": 0.5},
             "ts": "17", "si": "x", "sn": 10},
            {"thread": "log_1", "log": "log_1", "attrs": {"a": -1.5e3, "message": ""}, "ts": 18, "sd": 1},
        ],
        "logs": [{"id": "log_1", "attrs": {}}],
        "threads": [{"id": "log_1", "name": "n"}],
    })
    .to_string();
    // Escapes beyond those that serde_json writes
    let text = text.replace('\u{1F600}', "\\ud83d\\uDE00\\/");
    let body = parse(text.as_bytes()).unwrap();
    assert!(body.strict);
    assert!(body.problems.is_empty(), "{:?}", body.problems);
    let events = events(&body);
    assert_eq!(events[0].message, "GET \u{1F600}/\t\u{0}/ 200\n".as_bytes());
    assert_eq!(own_attrs(&events[0]), json!({"b": [1, {"c": null}]}));
    assert_eq!(events[0].sample_rate, Some(0.5));
    assert_eq!((events[1].ts, events[1].sn), (Some(18), Some(11)));
    assert_eq!(own_attrs(&events[1]), json!({"a": -1500.0}));
}

#[test]
fn what_strict_json_does_not_have_is_not_called_strict() {
    for text in [
        &b"{a:1}"[..],
        b"{\"a\":1,}",
        b"{\"a\":[1,]}",
        b"{\"a\":`s\0\0\0\x01x}",
        b"{\"a\":\"\n\"}",
        b"{\"a\":\"\xff\"}",
        b"{\"threads\":[],\"threads\":[]}",
    ] {
        assert!(!parse(text).unwrap().strict, "{text:?}");
    }
    assert!(parse(b" {\"a\" : [ ] } \n").unwrap().strict);
}

#[test]
fn a_body_that_is_none_says_where_it_breaks() {
    for (text, at) in [
        (&b""[..], 0),
        (b"[]", 0),
        (b"{", 1),
        (b"{\"a\"}", 4),
        (b"{\"a\":}", 5),
        (b"{\"a\":1 \"b\":2}", 7),
        (b"{\"a\":1} x", 8),
        (b"{\"a\":tru}", 5),
        (b"{\"a\":01}", 5),
        (b"{\"a\":1e999}", 5),
        (b"{\"a\":\"\\x\"}", 8),
        (b"{\"a\":\"\\ud83", 8),
        (b"{\"a\":`s\0\0\0\x09x}", 5),
        (b"{\"a\":`s\xff\0\0\x01x}", 5),
        (b"{\"a\":`t\0\0\0\x01x}", 5),
        (b"{\"token\":5}", 9),
        (b"{\"client_time\":-1}", 17),
        (b"{\"events\":{}}", 10),
        (b"{\"events\":[{\"ts\":\"x\"}]}", 17),
        (b"{\"logs\":[{}]}", 11),
    ] {
        let Malformed { at: found, why } = parse(text).unwrap_err();
        assert_eq!(found, at, "{:?}: {why}", String::from_utf8_lossy(text));
    }
    let deep = [b"{\"a\":".as_slice(), &b"[".repeat(100_000)].concat();
    assert!(parse(&deep).is_err());
}

#[test]
fn what_cannot_be_meant_so_is_found() {
    for (text, expected) in [
        (
            "{events:[{thread:\"a\",attrs:{message:\"m\"},ts:1,sd:1}],threads:[{id:\"a\"}]}",
            "none before it has sn",
        ),
        (
            "{events:[{thread:\"a\",attrs:{message:\"m\"},ts:1}],threads:[]}",
            "threads does not name a",
        ),
        (
            "{events:[{thread:\"a\",log:\"b\",attrs:{message:\"m\"},ts:1}],threads:[{id:\"a\"}]}",
            "logs does not name b",
        ),
        (
            "{events:[{thread:\"a\",attrs:{},ts:1}],threads:[{id:\"a\"}]}",
            "no message",
        ),
        (
            "{logs:[{id:\"a\"},{id:\"a\"}]}",
            "logs names a twice",
        ),
        (
            "{events:[{thread:\"a\",attrs:{message:\"m\"},ts:1,si:\"x\",sn:5},{thread:\"a\",attrs:{message:\"m\"},ts:1,si:\"y\",sd:5}],threads:[{id:\"a\"}]}",
            "none before it has sn",
        ),
    ] {
        let problems = parse(text.as_bytes()).unwrap().problems;
        assert!(
            problems.len() == 1 && problems[0].contains(expected),
            "{problems:?}"
        );
    }
}

/// Each golden body cut anywhere, and with any byte changed to some others, is read or refused.
#[test]
fn no_damage_makes_it_panic() {
    for golden in [KEEP_ALIVE, THREE_LINES, TWO_LOGS] {
        for cut in 0..golden.len() {
            assert!(parse(&golden[..cut]).is_err());
        }
        let mut damaged = golden.to_vec();
        for at in 0..golden.len() {
            for byte in [
                0, 0x7F, 0xFF, b'"', b'\\', b'{', b'}', b'[', b'`', b',', b'9',
            ] {
                damaged[at] = byte;
                if let Ok(body) = parse(&damaged) {
                    for event in events_or_none(&body) {
                        own_attrs(event);
                    }
                }
            }
            damaged[at] = golden[at];
        }
    }
}

fn events_or_none<'a, 'b>(body: &'b Body<'a>) -> &'b [RawEvent<'a>] {
    body.events.as_deref().unwrap_or(&[])
}
