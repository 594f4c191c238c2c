use super::*;

// Made by Python 3's pickle.dumps(object, protocol) and by Python 2's pickle and cPickle.
pub const PROTOCOL_0: &[u8] = b"(lp0\n(Vpk.one\np1\n(I1700000001\nF7.5\ntp2\ntp3\na(lp4\nVpk.two\np5\na(lp6\nI1700000002\naI8\naaa(Vcaf\xe9.\\u2603.\\U0001d11e'\\u005c\np7\n(F1700000003.25\nL-1099511627776L\ntp8\ntp9\na(Vbig\np10\n(L9223372036854775808L\nI-1\ntp11\ntp12\na(Vsame\np13\n(I1\nI2\ntp14\ntp15\nag15\na(Vt\np16\n(I01\nNtp17\ntp18\na.";
pub const PROTOCOL_1: &[u8] = b"]q\x00((X\x06\x00\x00\x00pk.oneq\x01(J\x01\xf1SeG@\x1e\x00\x00\x00\x00\x00\x00tq\x02tq\x03]q\x04(X\x06\x00\x00\x00pk.twoq\x05]q\x06(J\x02\xf1SeK\x08ee(X\x10\x00\x00\x00caf\xc3\xa9.\xe2\x98\x83.\xf0\x9d\x84\x9e'\\q\x07(GA\xd9T\xfc@\xd0\x00\x00L-1099511627776L\ntq\x08tq\x09(X\x03\x00\x00\x00bigq\n(L9223372036854775808L\nJ\xff\xff\xff\xfftq\x0btq\x0c(X\x04\x00\x00\x00sameq\x0d(K\x01K\x02tq\x0etq\x0fh\x0f(X\x01\x00\x00\x00tq\x10(I01\nNtq\x11tq\x12e.";
pub const PROTOCOL_2: &[u8] = b"\x80\x02]q\x00(X\x06\x00\x00\x00pk.oneq\x01J\x01\xf1SeG@\x1e\x00\x00\x00\x00\x00\x00\x86q\x02\x86q\x03]q\x04(X\x06\x00\x00\x00pk.twoq\x05]q\x06(J\x02\xf1SeK\x08eeX\x10\x00\x00\x00caf\xc3\xa9.\xe2\x98\x83.\xf0\x9d\x84\x9e'\\q\x07GA\xd9T\xfc@\xd0\x00\x00\x8a\x06\x00\x00\x00\x00\x00\xff\x86q\x08\x86q\x09X\x03\x00\x00\x00bigq\n\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x80\x00J\xff\xff\xff\xff\x86q\x0b\x86q\x0cX\x04\x00\x00\x00sameq\x0dK\x01K\x02\x86q\x0e\x86q\x0fh\x0fX\x01\x00\x00\x00tq\x10\x88N\x86q\x11\x86q\x12e.";
pub const PROTOCOL_3: &[u8] = b"\x80\x03]q\x00(X\x06\x00\x00\x00pk.oneq\x01J\x01\xf1SeG@\x1e\x00\x00\x00\x00\x00\x00\x86q\x02\x86q\x03]q\x04(X\x06\x00\x00\x00pk.twoq\x05]q\x06(J\x02\xf1SeK\x08eeX\x10\x00\x00\x00caf\xc3\xa9.\xe2\x98\x83.\xf0\x9d\x84\x9e'\\q\x07GA\xd9T\xfc@\xd0\x00\x00\x8a\x06\x00\x00\x00\x00\x00\xff\x86q\x08\x86q\x09X\x03\x00\x00\x00bigq\n\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x80\x00J\xff\xff\xff\xff\x86q\x0b\x86q\x0cX\x04\x00\x00\x00sameq\x0dK\x01K\x02\x86q\x0e\x86q\x0fh\x0fX\x01\x00\x00\x00tq\x10\x88N\x86q\x11\x86q\x12e.";
pub const PROTOCOL_4: &[u8] = b"\x80\x04\x95\x95\x00\x00\x00\x00\x00\x00\x00]\x94(\x8c\x06pk.one\x94J\x01\xf1SeG@\x1e\x00\x00\x00\x00\x00\x00\x86\x94\x86\x94]\x94(\x8c\x06pk.two\x94]\x94(J\x02\xf1SeK\x08ee\x8c\x10caf\xc3\xa9.\xe2\x98\x83.\xf0\x9d\x84\x9e'\\\x94GA\xd9T\xfc@\xd0\x00\x00\x8a\x06\x00\x00\x00\x00\x00\xff\x86\x94\x86\x94\x8c\x03big\x94\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x80\x00J\xff\xff\xff\xff\x86\x94\x86\x94\x8c\x04same\x94K\x01K\x02\x86\x94\x86\x94h\x0f\x8c\x01t\x94\x88N\x86\x94\x86\x94e.";
pub const PROTOCOL_5: &[u8] = b"\x80\x05\x95\x95\x00\x00\x00\x00\x00\x00\x00]\x94(\x8c\x06pk.one\x94J\x01\xf1SeG@\x1e\x00\x00\x00\x00\x00\x00\x86\x94\x86\x94]\x94(\x8c\x06pk.two\x94]\x94(J\x02\xf1SeK\x08ee\x8c\x10caf\xc3\xa9.\xe2\x98\x83.\xf0\x9d\x84\x9e'\\\x94GA\xd9T\xfc@\xd0\x00\x00\x8a\x06\x00\x00\x00\x00\x00\xff\x86\x94\x86\x94\x8c\x03big\x94\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x80\x00J\xff\xff\xff\xff\x86\x94\x86\x94\x8c\x04same\x94K\x01K\x02\x86\x94\x86\x94h\x0f\x8c\x01t\x94\x88N\x86\x94\x86\x94e.";
/// As carbon's older clients send it: Python 2's `pickle` of byte strings, by hand.
const PYTHON_2: &[u8] =
    b"(lp0\n(S'a.b\\'c\\x41\\101\\t'\np1\n(I1700000001\nF7.5\ntp2\ntp3\na(g1\n(L12L\nI01\ntp4\ntp5\na.";

#[rustfmt::skip]
const OBJECT: &[(&str, f64, Option<f64>)] = &[
    ("pk.one", 1_700_000_001.0, Some(7.5)),
    ("pk.two", 1_700_000_002.0, Some(8.0)),
    ("café.☃.𝄞'\\", 1_700_000_003.25, Some(-1_099_511_627_776.0)),
    ("big", 9_223_372_036_854_775_808.0, Some(-1.0)),
    ("same", 1.0, Some(2.0)),
    ("same", 1.0, Some(2.0)),
    ("t", 1.0, None),
];

fn items(pickle: &Pickle) -> Vec<(&str, f64, Option<f64>)> {
    let items = pickle.root().items().unwrap();
    items
        .map(|item| {
            let (path, point) = item.pair().unwrap();
            let (time, value) = point.pair().unwrap();
            (path.text().unwrap(), time.number().unwrap(), value.number())
        })
        .collect()
}

const ALL: [&[u8]; 6] = [
    PROTOCOL_0, PROTOCOL_1, PROTOCOL_2, PROTOCOL_3, PROTOCOL_4, PROTOCOL_5,
];

#[test]
fn pickles_of_every_protocol_are_read() {
    for (protocol, bytes) in ALL.iter().enumerate() {
        let pickle = read(bytes).unwrap_or_else(|e| panic!("protocol {protocol}: {e}"));
        assert_eq!(items(&pickle), OBJECT, "protocol {protocol}");
    }
    let old = read(PYTHON_2).unwrap();
    assert_eq!(
        items(&old),
        [
            ("a.b'cAA\t", 1_700_000_001.0, Some(7.5)),
            ("a.b'cAA\t", 12.0, Some(1.0))
        ]
    );
}

#[test]
fn a_pickle_cut_anywhere_is_an_error_and_no_panic() {
    for bytes in ALL.iter().chain(&[PYTHON_2]) {
        for end in 0..bytes.len() {
            assert!(read(&bytes[..end]).is_err(), "{end}");
        }
    }
}

#[test]
fn damaged_pickles_do_no_harm() {
    let mut seed = 0x9E37_79B9_7F4A_7C15u64;
    let mut random = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed as usize
    };
    for round in 0..30_000 {
        let mut bytes = ALL[round % ALL.len()].to_vec();
        for _ in 0..1 + random() % 4 {
            let at = random() % bytes.len();
            bytes[at] = random() as u8;
        }
        if let Ok(pickle) = read(&bytes) {
            let _ = pickle.root().items().map(Iterator::count);
        }
    }
}

#[test]
fn nothing_that_runs_or_builds_is_read() {
    for bytes in [
        // os.system("touch /tmp/x") in protocols 0, 2 and 4
        b"cposix\nsystem\n(S'touch /tmp/x'\ntR.".as_slice(),
        b"\x80\x02cposix\nsystem\nX\x01\x00\x00\x00x\x85R.",
        b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x01x\x85R.",
        // INST, OBJ, NEWOBJ, BUILD, EXT1, PERSID, BINPERSID, dictionaries, sets, buffers
        b"(S'x'\niposix\nsystem\n.",
        b"(cposix\nsystem\nS'x'\no.",
        b"]]\x81.",
        b"]]b.",
        b"\x82\x01.",
        b"Pid\n.",
        b"]Q.",
        b"}.",
        b"(d.",
        b"\x8f.",
        b"(\x91.",
        b"\x96\x01\0\0\0\0\0\0\0x.",
        b"\x97.",
    ] {
        assert!(
            matches!(read(bytes), Err(Mistake::Forbidden(_))),
            "{bytes:?}: {:?}",
            read(bytes)
        );
    }
}

#[test]
fn bombs_stay_small() {
    // depth: no stack is used for it, neither in reading nor in dropping
    let mut deep = b"(".repeat(100_000);
    deep.extend(b"t".repeat(100_000));
    deep.push(b'.');
    assert!(read(&deep).is_ok());
    // a list within itself
    let own = read(b"]q\x00h\x00a.").unwrap();
    let inner = own.root().items().unwrap().next().unwrap();
    assert_eq!(inner.items().unwrap().len(), 1);
    // lists that double: only their places are copied
    let mut laughs = b"]q\x00".to_vec();
    for _ in 0..5000 {
        laughs.extend_from_slice(b"](h\x00h\x00eq\x00");
    }
    laughs.push(b'.');
    assert!(read(&laughs).is_ok());
    // too many of anything
    for flood in [b")", b"(", b"]", b"N"] {
        let bytes = flood.repeat(2 * MOST_VALUES);
        assert_eq!(read(&bytes).unwrap_err(), Mistake::TooManyValues);
    }
    assert_eq!(
        read(&[b")".as_slice(), &b"2".repeat(3 * MOST_VALUES)].concat()).unwrap_err(),
        Mistake::TooManyValues
    );
    // lengths that are lies
    for lie in [
        b"X\xff\xff\xff\xffabc.".as_slice(),
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffabc.",
        b"\x8b\xff\xff\xff\x7fabc.",
        b"U\xffabc.",
    ] {
        assert_eq!(read(lie).unwrap_err(), Mistake::Short);
    }
}

#[test]
fn parts_that_do_not_fit_are_told() {
    for bytes in [
        b".".as_slice(),
        b"t.",
        b"a.",
        b"]a.",
        b"(.",
        b"](.",
        b"]\x86.",
        b"NNa.",
        b"h\x07.",
        b"gx\n.",
        b"q\x00.",
        b"Ix\n.",
        b"Sabc\n.",
        b"S'abc\n.",
        b"S'\\x4'\n.",
        b"V\\u12\n.",
        b"\x80\x06N.",
    ] {
        assert!(
            matches!(read(bytes), Err(Mistake::Malformed(_))),
            "{bytes:?}: {:?}",
            read(bytes)
        );
    }
}

#[test]
fn numbers_of_all_sizes_are_read() {
    for (bytes, want) in [
        (b"\x8a\x00.".as_slice(), 0.0),
        (b"\x8a\x01\xff.", -1.0),
        (b"\x8a\x02\x00\x80.", -32_768.0),
        (b"\x8a\x02\xff\x00.", 255.0),
        (
            b"\x8a\x11\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01.",
            2f64.powi(128),
        ),
        (
            b"\x8a\x11\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xff.",
            -(2f64.powi(128)),
        ),
        (b"J\xff\xff\xff\xff.", -1.0),
        (b"M\x01\x02.", 513.0),
        (b"I00\n.", 0.0),
        (b"I01\n.", 1.0),
        (b"L-12L\n.", -12.0),
        (b"F1e3\n.", 1000.0),
        (b"G\x3f\xf8\0\0\0\0\0\0.", 1.5),
    ] {
        assert_eq!(
            read(bytes).unwrap().root().number(),
            Some(want),
            "{bytes:?}"
        );
    }
    assert!(read(b"Fnan\n.").unwrap().root().number().unwrap().is_nan());
    let huge = [b"\x8b\x00\x10\x00\x00".as_slice(), &[0x7f; 0x1000], b"."].concat();
    assert_eq!(read(&huge).unwrap().root().number(), Some(f64::INFINITY));
}
